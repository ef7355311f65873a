//! `install` and `uninstall`: writes the files of a service, has the service manager take them, and takes them away.

use super::control::{init, journal};
use super::{InstallArgs, Manager, ManagerArg, Named, Refusal, Report, ServiceArgs, is_here, shown_service};
use crate::cli::args::RunArgs;
use crate::cli::plan::Plan;
use crate::cli::{Failure, print, print_json};
use crate::config::startable;
use crate::environment::Environment;
use crate::service::files::{self, Found, Looked, Wanted};
use crate::service::recipe::{self, Recipe};
use crate::service::systemctl::{Scope, Systemctl};
use crate::service::users::{self, User};
use crate::service::{scripts, units};
use crate::storage::{RealDisk, Storage, explain};
use serde_json::{Value, json};
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};

/// `clawgate gateway install`.
///
/// # Errors
/// Nothing, or not all, was done.
pub fn install(args: &InstallArgs, environment: &Environment) -> Result<(), Failure> {
    let json = args.service.json;
    let user = user_of(args, environment).map_err(|refusal| refusal.fail("install", json))?;
    let theirs = environment_of(user.as_ref(), environment);
    let named = Named::find(args.service.scope(), &theirs)?;
    let made = make(args, &named, user, &theirs).and_then(|recipe| {
        let manager = match args.manager {
            Some(ManagerArg::Openrc) => return Ok(Made::Text(scripts::openrc(&recipe))),
            Some(ManagerArg::Runit) => return Ok(Made::Text(scripts::runit(&recipe))),
            Some(ManagerArg::Procd) if args.dry_run => None,
            Some(ManagerArg::Systemd) if args.dry_run => None,
            Some(ManagerArg::Procd) => Some(Manager::Procd),
            Some(ManagerArg::Systemd) | None => Some(found(&named, &recipe)?),
        };
        let is_procd = match &manager {
            Some(Manager::Procd) => true,
            Some(Manager::Systemd(_)) => false,
            None => args.manager == Some(ManagerArg::Procd),
        };
        let wanted = if is_procd { of_procd(&named, &recipe) } else { of_systemd(&named, &recipe) };
        if args.dry_run {
            return Ok(Made::Files(wanted));
        }
        if let Some(user) = &recipe.user {
            make_state_folder(&named.state_dir, user)?;
        }
        let report = match manager {
            Some(Manager::Systemd(systemctl)) => by_systemd(args, &named, systemctl, &wanted),
            Some(Manager::Procd) | None => by_procd(args, &named, &wanted),
        }?;
        Ok(Made::Report(report))
    });
    match made.map_err(|refusal| refusal.fail("install", json))? {
        Made::Report(mut report) => {
            report.warnings.extend(warnings(&named, environment));
            report.print(json)
        }
        Made::Text(text) if json => {
            print_json(&json!({ "action": "install", "ok": true, "result": "printed", "text": text }))
        }
        Made::Text(text) => print(&text),
        Made::Files(wanted) => show(&wanted, json),
    }
}

/// What comes of an installation.
enum Made {
    Report(Report),
    /// Only printed.
    Text(String),
    /// What would be written.
    Files(Vec<Wanted>),
}

/// Who the gateway is to be, where that is not whoever installs it.
fn user_of(args: &InstallArgs, environment: &Environment) -> Result<Option<User>, Refusal> {
    if !args.service.system {
        return Ok(None);
    }
    let by_sudo = environment.get("SUDO_USER").filter(|_| rustix::process::getuid().is_root());
    let Some(name) = args.user.as_deref().or(by_sudo) else { return Ok(None) };
    let found = users::checked(name).and_then(|name| users::find(|user| user.name == name));
    found.map(Some).ok_or_else(|| {
        Refusal::new("FAILED", format!("there is no user {name:?} in /etc/passwd"))
            .hint("Make the user first, or name another one with --user.")
    })
}

/// The environment that the service will have: none of the variables of this shell but those that are written into it.
fn environment_of(user: Option<&User>, environment: &Environment) -> Environment {
    let is_kept = |name: &str| {
        matches!(name, "HOME" | "PATH" | "USER" | "LOGNAME" | "LANG")
            || name.starts_with("XDG_")
            || recipe::PASSED.contains(&name)
            || ["OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH", "OPENCLAW_PROFILE"].contains(&name)
    };
    let mut kept = Environment::new(environment.all().filter(|(name, _)| is_kept(name)));
    if let Some(user) = user {
        kept.set("HOME", &user.home.to_string_lossy());
    }
    // Under the name of an earlier release as well.
    if let Some(port) = startable::port_of_environment(environment).ok().flatten() {
        kept.set("OPENCLAW_GATEWAY_PORT", &port.to_string());
    }
    kept
}

/// What the service is made of. A gateway that would not start is not installed.
fn make(
    args: &InstallArgs,
    named: &Named,
    user: Option<User>,
    environment: &Environment,
) -> Result<Recipe, Refusal> {
    let run = RunArgs { port: args.port, runtime: args.runtime, ..RunArgs::default() };
    let (place, port) = Plan::rehearse(&run, environment).map_err(|why| {
        Refusal::new(
            "WOULD_NOT_START",
            format!("this gateway would not start as a service: {}", why.message()),
        )
        .hint(format!(
            "A service has none of the variables of this shell; what it needs belongs into {}.",
            named.state_dir.join(".env").display()
        ))
    })?;
    let program = std::env::current_exe()
        .map_err(|why| Refusal::new("FAILED", format!("this program does not find itself: {why}")))?;
    let mut words = vec!["gateway".to_owned(), "run".to_owned()];
    if let Some(port) = args.port {
        words.extend(["--port".to_owned(), port.to_string()]);
    }
    if let Some(runtime) = args.runtime {
        words.extend(["--runtime".to_owned(), runtime.as_str().to_owned()]);
    }
    let passed =
        recipe::PASSED.iter().filter(|name| args.port.is_none() || **name != "OPENCLAW_GATEWAY_PORT");
    let passed = passed.filter_map(|name| Some((*name, environment.get(name)?.to_owned()))).collect();
    let recipe = Recipe {
        name: named.name.clone(),
        profile: named.profile.clone(),
        program,
        args: words,
        state_dir: named.state_dir.clone(),
        config: named.config.clone(),
        passed,
        home: environment.get("HOME").map(PathBuf::from),
        listen: recipe::listen_at(place, port),
        user: match (named.scope, user) {
            (Scope::User, _) => None,
            (Scope::System, Some(user)) => Some(user.name),
            (Scope::System, None) => Some(owner_of(&named.state_dir)),
        },
    };
    recipe.check().map_err(|why| Refusal::new("FAILED", why))?;
    Ok(recipe)
}

/// The service manager that answers. Where there is none, the refusal brings what to write by hand.
fn found(named: &Named, recipe: &Recipe) -> Result<Manager, Refusal> {
    Manager::find(named.scope).map_err(|mut refusal| {
        refusal.more.push((
            "recipes",
            json!({ "runit": scripts::runit(recipe), "openrc": scripts::openrc(recipe) }),
        ));
        refusal
            .hint(format!(
                "For runit, /etc/sv/{}/run:\n\n{}\nFor OpenRC, /etc/init.d/{}:\n\n{}",
                named.name,
                scripts::runit(recipe),
                named.name,
                scripts::openrc(recipe)
            ))
            .hint("For another one: have it run that command, with these variables, and start it again when it ends.")
    })
}

fn of_systemd(named: &Named, recipe: &Recipe) -> Vec<Wanted> {
    let file = |unit: String, text: String| Wanted { path: named.folder.join(unit), text, mode: 0o644 };
    let service = file(named.service_unit(), units::service(recipe));
    let socket = units::socket(recipe).map(|text| file(named.socket_unit(), text));
    core::iter::once(service).chain(socket).collect()
}

fn of_procd(named: &Named, recipe: &Recipe) -> Vec<Wanted> {
    vec![Wanted { path: named.init_script(), text: scripts::procd(recipe), mode: 0o755 }]
}

fn by_systemd(
    args: &InstallArgs,
    named: &Named,
    systemctl: Systemctl,
    wanted: &[Wanted],
) -> Result<Report, Refusal> {
    let failed = |why| Refusal::new("SERVICE_FAILED", why).hint(journal(named, &systemctl));
    let (storage, looked) = look(args, wanted)?;
    let (service, socket) = (named.service_unit(), named.socket_unit());
    // A gateway that no longer has a known address has no sockets either.
    let leftover = named.installed().into_iter().find(|path| !wanted.iter().any(|file| file.path == *path));
    let unit = systemctl.show(&service).map_err(failed)?;
    let is_same = looked.iter().all(|looked| looked.found == Found::Same) && leftover.is_none();
    if is_same && unit.is_enabled() && unit.is_active() {
        let message = format!("{service} is installed already, and runs");
        let mut report = Report::new("install", "already-installed", message);
        report.service = Some(shown_service("systemd", true));
        return Ok(report);
    }
    // Sockets cannot be opened anew while the service has them, and an old one must not stay.
    if is_here(&unit) && !is_same {
        let mut old = vec![service.clone()];
        if systemctl.show(&socket).is_ok_and(|unit| unit.is_loaded()) {
            old.push(socket.clone());
        }
        systemctl.act("stop", &old).map_err(failed)?;
    }
    if let Some(path) = leftover {
        systemctl.act("disable", core::slice::from_ref(&socket)).map_err(failed)?;
        files::remove(&path).map_err(|why| Refusal::new("FAILED", why))?;
    }
    write(&storage, wanted, &looked)?;
    systemctl.act("daemon-reload", &[]).map_err(failed)?;
    let units: Vec<String> =
        if wanted.len() > 1 { vec![socket, service.clone()] } else { vec![service.clone()] };
    systemctl.act("enable", &units).map_err(failed)?;
    let paths: Vec<String> = wanted.iter().map(|file| file.path.display().to_string()).collect();
    let paths = paths.join(" and ");
    let message = if units.len() > 1 {
        systemctl.act("start", &units).map_err(failed)?;
        format!("wrote {paths}; {service} runs, and starts by itself")
    } else {
        // It is ready when its address is there, which may take as long as it likes.
        systemctl.act("start", &["--no-block".to_owned(), service.clone()]).map_err(failed)?;
        format!("wrote {paths}; {service} starts by itself, and serves as soon as its address is there")
    };
    let mut report = Report::new("install", "installed", message);
    report.service = Some(shown_service("systemd", true));
    report.hints.push(format!("{} gateway status shows how it is", named.program));
    Ok(report)
}

fn by_procd(args: &InstallArgs, named: &Named, wanted: &[Wanted]) -> Result<Report, Refusal> {
    let (storage, looked) = look(args, wanted)?;
    let script = named.init_script();
    let is_same = looked.iter().all(|looked| looked.found == Found::Same);
    write(&storage, wanted, &looked)?;
    init(&script, "enable")?;
    init(&script, if is_same { "start" } else { "restart" })?;
    let result = if is_same { "already-installed" } else { "installed" };
    let mut report = Report::new("install", result, format!("{} runs, and starts at boot", script.display()));
    report.service = Some(shown_service("procd", true));
    Ok(report)
}

/// What lies there. What somebody changed is theirs, unless they say otherwise.
fn look(args: &InstallArgs, wanted: &[Wanted]) -> Result<(Storage<RealDisk>, Vec<Looked>), Refusal> {
    let storage = Storage::on_disk();
    let looked: Result<Vec<Looked>, String> = wanted.iter().map(|file| files::look(&storage, file)).collect();
    let looked = looked.map_err(|why| Refusal::new("FAILED", why))?;
    for (file, looked) in wanted.iter().zip(&looked) {
        let path = file.path.display();
        let why = match looked.found {
            Found::Missing | Found::Same | Found::Older => continue,
            Found::Edited => format!("{path} was changed after clawgate wrote it; nothing was written"),
            Found::Foreign => format!("{path} is there, and clawgate did not write it; nothing was written"),
        };
        if !args.force {
            let refusal = Refusal::new("UNIT_EDITED", why);
            return Err(refusal.hint(format!(
                "--force replaces it and keeps the old text in {}; --dry-run prints what would be written. Changes of your \
                 own are better kept apart: `systemctl edit` writes them into a file beside it.",
                files::backup_of(&file.path).display()
            )));
        }
    }
    Ok((storage, looked))
}

fn write(storage: &Storage<RealDisk>, wanted: &[Wanted], looked: &[Looked]) -> Result<(), Refusal> {
    let changed = wanted.iter().zip(looked).filter(|(_, looked)| looked.found != Found::Same);
    for (file, looked) in changed {
        files::write(storage, file, looked).map_err(|why| Refusal::new("FAILED", why))?;
    }
    Ok(())
}

fn show(wanted: &[Wanted], json: bool) -> Result<(), Failure> {
    if json {
        let file = |file: &Wanted| -> Value {
            json!({ "path": file.path.display().to_string(), "text": files::seal(&file.text) })
        };
        let files: Vec<Value> = wanted.iter().map(file).collect();
        return print_json(&json!({ "action": "install", "ok": true, "result": "printed", "files": files }));
    }
    let texts: Vec<String> =
        wanted.iter().map(|file| format!("# {}\n{}", file.path.display(), files::seal(&file.text))).collect();
    print(&texts.join("\n"))
}

/// What a person should know about a service that was installed.
fn warnings(named: &Named, environment: &Environment) -> Vec<String> {
    let mut warnings = Vec::new();
    for variable in ["OPENCLAW_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_PASSWORD"] {
        if environment.get(variable).is_some() {
            warnings.push(format!(
                "{variable} is set here, and no secret is written into a service: put it into {} or the configuration",
                named.state_dir.join(".env").display()
            ));
        }
    }
    let other = named.name.replacen("clawgate-", "openclaw-", 1);
    let reference = named.folder.join(format!("{other}.service"));
    if reference.exists() {
        warnings.push(format!(
            "{} starts another gateway for the same installation: stop it with `systemctl{} disable --now {other}`",
            reference.display(),
            if named.scope == Scope::User { " --user" } else { "" }
        ));
    }
    let user =
        environment.first(&["USER", "LOGNAME"]).map(|(_, user)| user).filter(|user| !user.contains('/'));
    if let Some(user) = user
        && named.scope == Scope::User
        && named.installed().iter().any(|path| path.extension().is_some_and(|end| end == "service"))
        && !Path::new("/var/lib/systemd/linger").join(user).exists()
    {
        warnings.push(format!(
            "this user's services end with the login: `loginctl enable-linger {user}` keeps them"
        ));
    }
    warnings
}

/// A unit of the machine may write in folders that are there, and makes none: the state folder is made for it.
fn make_state_folder(folder: &Path, user: &str) -> Result<(), Refusal> {
    let failed = |why: &std::io::Error| Refusal::new("FAILED", explain("make", folder, why));
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(why) => return Err(failed(&why)),
    }
    match users::find(|known| known.name == user) {
        Some(known) => chown(folder, Some(known.uid), Some(known.gid)).map_err(|why| failed(&why)),
        None => Ok(()),
    }
}

/// Whose folder this is, or would be: a name where the system knows one, else a number.
fn owner_of(folder: &Path) -> String {
    let uid =
        std::fs::metadata(folder).map_or_else(|_| rustix::process::getuid().as_raw(), |meta| meta.uid());
    users::find(|user| user.uid == uid).map_or_else(|| uid.to_string(), |user| user.name)
}

/// `clawgate gateway uninstall`.
///
/// # Errors
/// Not all of it is gone.
pub fn uninstall(args: &ServiceArgs, environment: &Environment) -> Result<(), Failure> {
    let named = Named::find(args.scope(), environment)?;
    let done = match Manager::find(named.scope) {
        Ok(Manager::Systemd(systemctl)) => away_from_systemd(&named, systemctl),
        Ok(Manager::Procd) => away_from_procd(&named),
        Err(refusal) => Err(refusal),
    };
    done.map_err(|refusal| refusal.fail("uninstall", args.json))?.print(args.json)
}

fn away_from_systemd(named: &Named, systemctl: Systemctl) -> Result<Report, Refusal> {
    let paths = named.installed();
    if paths.is_empty() {
        let mut report =
            Report::new("uninstall", "not-loaded", format!("there is no service {}", named.name));
        report.service = Some(shown_service("systemd", false));
        return Ok(report);
    }
    keep_changed(&paths)?;
    let units: Vec<String> = paths
        .iter()
        .filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        .collect();
    let failed = |why| Refusal::new("SERVICE_FAILED", why).hint(journal(named, &systemctl));
    systemctl.act("stop", &units).map_err(failed)?;
    systemctl.act("disable", &units).map_err(failed)?;
    for path in &paths {
        files::remove(path).map_err(|why| Refusal::new("FAILED", why))?;
    }
    systemctl.act("daemon-reload", &[]).map_err(failed)?;
    let mut report =
        Report::new("uninstall", "uninstalled", format!("stopped and removed {}", units.join(" and ")));
    report.service = Some(shown_service("systemd", false));
    report.hints.push(format!("configuration and state in {} are still there", named.state_dir.display()));
    Ok(report)
}

fn away_from_procd(named: &Named) -> Result<Report, Refusal> {
    let script = named.init_script();
    if !script.exists() {
        let mut report = Report::new("uninstall", "not-loaded", format!("there is no {}", script.display()));
        report.service = Some(shown_service("procd", false));
        return Ok(report);
    }
    keep_changed(core::slice::from_ref(&script))?;
    init(&script, "stop")?;
    init(&script, "disable")?;
    files::remove(&script).map_err(|why| Refusal::new("FAILED", why))?;
    let mut report =
        Report::new("uninstall", "uninstalled", format!("stopped and removed {}", script.display()));
    report.service = Some(shown_service("procd", false));
    Ok(report)
}

/// What somebody wrote is kept beside it when the file goes.
fn keep_changed(paths: &[PathBuf]) -> Result<(), Refusal> {
    let storage = Storage::on_disk();
    for path in paths {
        files::keep_if_changed(&storage, path).map_err(|why| Refusal::new("FAILED", why))?;
    }
    Ok(())
}
