//! `clawgate setup`: a few questions, and a configuration file with which both programs start. The questions are the
//! core's ([`clawgate_proto::wizard`]); here they are shown on a terminal, or answered by flags where there is none.

mod terminal;

use super::args::BindArg;
use super::{Failure, print, print_json, render};
use crate::config::first_run::{Author, generate_token};
use crate::config::own;
use crate::config::settings::Setting;
use crate::config::shape::Shape;
use crate::config::start::{BIND_VARIABLE, Flags};
use crate::config::startable::{self, Beside, Startable};
use crate::config::write::backup_of;
use crate::config::{self, Node, Opened, Settings};
use crate::environment::Environment;
use crate::listen::Place;
use crate::storage::{RealDisk, Storage, explain};
use crate::{instances, interfaces, profile};
use clap::{Args, ValueEnum};
use clawgate_config::service::variables_of;
use clawgate_proto::config::AuthMode;
use clawgate_proto::secret::Secret;
use clawgate_proto::wizard::{Auth, Bind, Draft, Wizard};
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// `clawgate setup`. `Debug` shows no secret.
#[derive(Clone, Default, Args)]
pub struct SetupArgs {
    /// Port to listen on
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Who may reach it
    #[arg(long, value_name = "MODE")]
    pub bind: Option<BindArg>,
    /// Address to listen on, with --bind custom
    #[arg(long, value_name = "IPV4")]
    pub custom_bind_host: Option<String>,
    /// How clients prove that they may come in
    #[arg(long, value_name = "MODE")]
    pub auth: Option<SetupAuth>,
    /// Shared token [default: the one there is, or a new one]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Read the shared password from a file
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Make this machine a gateway although its file is that of a client (gateway.mode "remote")
    #[arg(long)]
    pub local: bool,
    /// Ask nothing, although there is a terminal
    #[arg(long)]
    pub non_interactive: bool,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

impl fmt::Debug for SetupArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetupArgs")
            .field("port", &self.port)
            .field("bind", &self.bind)
            .finish_non_exhaustive()
    }
}

/// Values of `setup --auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SetupAuth {
    /// A shared token
    Token,
    /// A shared password
    Password,
}

impl SetupAuth {
    /// The name on the command line, and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Password => "password",
        }
    }
}

/// Asks, or takes the flags, and writes.
///
/// # Errors
/// An answer or a flag makes no sense, no gateway would start with what they come to, or the file cannot be written.
pub fn run(args: &SetupArgs, environment: &Environment) -> Result<(), Failure> {
    let storage = Storage::on_disk();
    let Opened { mut file, settings, places, environment, base, .. } =
        config::open(&storage, environment).map_err(Failure::Failed)?;
    let is_asked = !args.non_interactive && io::stdin().is_terminal() && io::stderr().is_terminal();
    if is_asked {
        terminal::give_back_when_interrupted()?;
    }
    let was_remote = settings.mode.as_deref() == Some("remote");
    if was_remote && !args.local {
        agree_to_local(is_asked)?;
    }
    let root = file.found.as_ref().map(|found| &found.root);
    let bind = root.and_then(|root| root.get("gateway")?.get("bind")?.as_text()).and_then(Bind::named);
    let kept = environment.get(TOKEN_VARIABLE).and_then(Secret::new).filter(|_| settings.token.is_none());
    let mut start = draft(&settings, bind, kept.is_some(), &environment)?;
    let mut given = answers(args, &environment)?;
    let path = file.path.clone();
    let judge =
        Judge { storage: &storage, path: &path, own: places.own_config(), base: &base, settings: &settings };
    let mut made = None;
    let (draft, changes, startable) = loop {
        let draft = fill(start, &given, is_asked)?;
        // A token of the environment is one that there is; what is made is made once.
        let wants = draft.auth == Auth::Token && draft.secret.is_none() && settings.token.is_none();
        let token =
            wants.then(|| kept.clone().unwrap_or_else(|| made.get_or_insert_with(generate_token).clone()));
        let changes: Vec<(&[&str], Node)> = draft
            .settings(token.as_ref())
            .into_iter()
            .map(|setting| (setting.path, Node::from_json(&setting.value)))
            .collect();
        match judge.of(&file.with(&changes).render()) {
            Ok(startable) => break (draft, changes, startable),
            Err(why) if is_asked => {
                let why = clean_lines(&why);
                let _ = writeln!(io::stderr(), "\nNo gateway would start with that: {why}\nOnce more:");
                (start, given) = (Draft { secret: None, ..draft }, Vec::new());
            }
            Err(why) => {
                let why = clean_lines(&why);
                return Err(Failure::Failed(format!(
                    "No gateway would start with that: {why}\nNothing was written."
                )));
            }
        }
    };
    let has_made = made.is_some() && draft.auth == Auth::Token && draft.secret.is_none();
    let is_new = file.found.is_none();
    let by = Author { state_dir: &places.state_dir, name: "clawgate setup" };
    file.set(&storage, by, &changes, &mut |text| judge.of(text).map(|_| ())).map_err(Failure::Failed)?;
    let port = startable.port;
    let scheme = if settings.tls.enabled { "wss" } else { "ws" };
    let reach = format!("{scheme}://{}:{port}", address(startable.decided.place));
    let notes = notes(&draft, &startable, &settings, &environment, was_remote);
    if args.json {
        let said = json!({
            "ok": true, "config": file.path, "created": is_new, "url": reach, "bind": draft.bind.as_str(),
            "port": port, "auth": draft.auth.as_str(), "generatedToken": has_made, "notes": notes,
        });
        return print_json(&said);
    }
    let program = profile::program(&environment, &places.state_dir);
    let mut text = format!("wrote {}\n", file.path.display());
    if !is_new {
        text += &format!("the file before is {}\n", backup_of(&file.path).display());
    }
    if has_made {
        text += &format!("made a token; `{program} token` shows it\n");
    }
    for note in notes {
        text += &format!("{note}\n");
    }
    let running = instances::others(&environment);
    match running.iter().find(|other| other.config.as_deref() == file.path.to_str()) {
        Some(other) => {
            let pid = other.pid;
            text += &format!(
                "the gateway that runs (pid {pid}) takes a new port or bind when it restarts: kill -USR1 {pid}\n"
            );
            text += &format!("clients then connect to {reach}\n");
        }
        None => text += &format!("start it with `{program} gateway`; clients connect to {reach}\n"),
    }
    if matches!(draft.bind, Bind::Tailnet | Bind::Custom) {
        text += "this machine is a device like any other there: where it is not paired yet, pair it on loopback first\n";
        text += &format!(
            "(OPENCLAW_GATEWAY_BIND=loopback {program} gateway, and beside it OPENCLAW_GATEWAY_BIND=loopback {program} \
             status)\n"
        );
    }
    if startable.decided.place == Place::Lan
        && let Some(there) = interfaces::lan_address()
    {
        text += &format!("from another machine: {scheme}://{there}:{port}\n");
    }
    print(&text)
}

/// A file of the reference's remote mode belongs to a client, and is not made a gateway's by the way.
fn agree_to_local(is_asked: bool) -> Result<(), Failure> {
    let what = "gateway.mode is \"remote\": this file is that of a client of a gateway elsewhere. A set-up makes it \"local\": a \
                gateway of its own runs here, and commands here go to that one and no longer to gateway.remote.url";
    if !is_asked {
        return Err(Failure::Usage(format!("{what}.\nPass --local if that is meant. Nothing was written.")));
    }
    let mut err = io::stderr();
    let _ = write!(err, "{what}.\nIs that meant? [no]: ").and_then(|()| err.flush());
    match terminal::read_line(false)?.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Failed("gateway.mode stays \"remote\"; nothing was written".to_owned())),
    }
}

/// Whether a gateway would start with a text.
struct Judge<'a> {
    storage: &'a Storage<RealDisk>,
    path: &'a Path,
    own: PathBuf,
    base: &'a Environment,
    settings: &'a Settings,
}

impl Judge<'_> {
    fn of(&self, text: &str) -> Result<Startable, String> {
        // A variable that only the gateway's own surroundings set is taken for a good secret: it is told, not refused.
        let mut environment = self.base.clone();
        let unset = self.settings.unset_variables();
        environment.complete(unset.map(|name| (name.to_owned(), generate_token().expose().to_owned())));
        let loaded = config::open::load(self.path, Some(text.as_bytes()), &environment);
        let mut completed = environment.clone();
        completed.complete(variables_of(&loaded.source));
        let proxy = own::read(self.storage, &self.own, &completed)?.proxy;
        let flags = Flags { proxy, ..Flags::default() };
        Startable::judge(
            &Beside { path: self.path, flags: &flags, port: None, environment: &environment },
            true,
            &loaded,
        )
    }
}

/// What the person should know about what was written.
fn notes(
    draft: &Draft,
    startable: &Startable,
    settings: &Settings,
    environment: &Environment,
    was_remote: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    if was_remote {
        notes.push("gateway.mode was \"remote\" and is \"local\" now: commands here go to the gateway of this machine".to_owned());
    }
    if startable.port != draft.port
        && let Some((name, value)) = environment.first(&PORT_VARIABLES)
    {
        let port = draft.port;
        notes.push(format!(
            "{name} is {value} and stronger than gateway.port {port} in the file: a gateway started from here listens on {value}"
        ));
    }
    if let Some(value) = environment.get(BIND_VARIABLE).filter(|value| *value != draft.bind.as_str()) {
        let bind = draft.bind.as_str();
        notes.push(format!("{BIND_VARIABLE} is {value} and stronger than gateway.bind {bind} in the file"));
    }
    let unset: Vec<&str> = settings.unset_variables().collect();
    if draft.secret.is_none() && !unset.is_empty() {
        notes.push(format!(
            "the secret comes from the environment ({}), which is not set here: the gateway needs it at its start",
            unset.join(", ")
        ));
    }
    let is_running = !instances::others(environment).is_empty();
    if let Err(why) = startable.is_free(&[])
        && !is_running
    {
        notes.push(format!("a gateway could not start now: {}", clean_lines(&why)));
    }
    notes
}

/// What is suggested: what is configured, else what is safe. The port is the one that a gateway started from here takes.
fn draft(
    settings: &Settings,
    bind: Option<Bind>,
    has_token: bool,
    environment: &Environment,
) -> Result<Draft, Failure> {
    let is_password = settings.auth_mode == Some(Setting::Known(AuthMode::Password));
    Ok(Draft {
        port: startable::port(None, environment, settings).map_err(Failure::Failed)?,
        bind: bind.unwrap_or(Bind::Loopback),
        custom_host: settings.custom_bind_host.as_deref().and_then(|host| host.trim().parse().ok()),
        auth: if is_password { Auth::Password } else { Auth::Token },
        secret: None,
        has_token: has_token || settings.token.is_some(),
        has_password: settings.password.is_some(),
    })
}

/// Asks what the flags do not answer, or takes what is suggested for it.
fn fill(start: Draft, given: &[(&'static str, Value)], is_asked: bool) -> Result<Draft, Failure> {
    let mut wizard = Wizard::new(start);
    let mut used = Vec::new();
    while let Some(step) = wizard.step() {
        let id = step["id"].as_str().unwrap_or_default();
        let answer = given.iter().find(|(name, _)| *name == id);
        used.extend(answer.map(|(name, _)| *name));
        let answer = answer.map(|(_, answer)| answer.clone());
        if is_asked && answer.is_none() {
            terminal::ask(&mut wizard, &step)?;
        } else {
            wizard
                .answer(answer.as_ref())
                .map_err(|why| Failure::Usage(format!("--{}: {why}", flag_of(id))))?;
        }
    }
    let draft = wizard.draft();
    if let Some((id, _)) = given.iter().find(|(id, _)| !used.contains(id)) {
        let because = match *id {
            "customBindHost" => format!("bind {}; it belongs to --bind custom", draft.bind.as_str()),
            "token" => format!("auth {}; it belongs to --auth token", draft.auth.as_str()),
            _ => format!("auth {}; it belongs to --auth password", draft.auth.as_str()),
        };
        return Err(Failure::Usage(format!(
            "--{} has no effect with {because}\nNothing was written.",
            flag_of(id)
        )));
    }
    Ok(draft.clone())
}

/// The answers that the flags give, by question.
fn answers(args: &SetupArgs, environment: &Environment) -> Result<Vec<(&'static str, Value)>, Failure> {
    let mut answers = Vec::new();
    let mut put = |id, answer: Option<Value>| answers.extend(answer.map(|answer| (id, answer)));
    put("port", args.port.map(|port| json!(port.to_string())));
    put("bind", args.bind.map(|bind| json!(bind.as_str())));
    put("customBindHost", args.custom_bind_host.as_ref().map(|host| json!(host)));
    put("auth", args.auth.map(|auth| json!(auth.as_str())));
    let password = match &args.password_file {
        Some(path) => {
            let path = environment.path(&path.to_string_lossy());
            let text = std::fs::read_to_string(&path)
                .map_err(|why| Failure::Failed(explain("read", &path, &why)))?;
            if Secret::new(&text).is_none() {
                return Err(Failure::Failed(format!("the password file {} is empty", path.display())));
            }
            Some(text)
        }
        None => None,
    };
    let password = password.as_deref().map(str::trim);
    for (id, text) in [("token", args.token.as_deref()), ("password", password)] {
        if let Some(why) = text.and_then(|text| no_secret(id, text)) {
            return Err(Failure::Usage(format!("what --{} says {why}\nNothing was written.", flag_of(id))));
        }
        put(id, text.map(|text| json!(text)));
    }
    Ok(answers)
}

/// Why a text was not meant as the answer to this question, when it is certain that it was not: no client would send such
/// a token. A password is of somebody's choice.
fn no_secret(id: &str, text: &str) -> Option<&'static str> {
    let shape = Shape::of(text).filter(|shape| shape.is_certain())?;
    let is_wrong = match id {
        "token" => true,
        "password" => matches!(shape, Shape::Mark | Shape::Broken),
        _ => false,
    };
    is_wrong.then(|| shape.sentence())
}

/// The flag that answers a question.
fn flag_of(id: &str) -> &str {
    match id {
        "customBindHost" => "custom-bind-host",
        "password" => "password-file",
        other => other,
    }
}

/// Where a client on this machine finds it.
fn address(place: Place) -> String {
    match place {
        Place::Custom(host) if !host.is_unspecified() => host.to_string(),
        Place::Tailnet => interfaces::tailnet_address()
            .map_or_else(|| "TAILNET-ADDRESS".to_owned(), |address| address.to_string()),
        Place::Loopback | Place::Lan | Place::Custom(_) => "127.0.0.1".to_owned(),
    }
}

/// Each line without what a terminal would obey.
fn clean_lines(text: &str) -> String {
    text.lines().map(render::clean).collect::<Vec<_>>().join("\n")
}

const TOKEN_VARIABLE: &str = "OPENCLAW_GATEWAY_TOKEN";
const PORT_VARIABLES: [&str; 2] = ["OPENCLAW_GATEWAY_PORT", "CLAWDBOT_GATEWAY_PORT"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::args::{Cli, Command};
    use super::*;
    use crate::config::settings::SecretAt;
    use crate::scratch::Folder;
    use clap::Parser as _;

    fn setup(folder: &Folder, line: &str) -> Result<String, Failure> {
        setup_with(folder, line, &[])
    }

    fn setup_with(folder: &Folder, line: &str, more: &[(&str, &str)]) -> Result<String, Failure> {
        let words =
            ["clawgate", "setup", "--non-interactive", "--json"].into_iter().chain(line.split_whitespace());
        let Command::Setup(args) = Cli::try_parse_from(words).unwrap().command else { panic!("{line}") };
        let state = [("OPENCLAW_STATE_DIR", folder.path().to_str().unwrap())];
        run(&args, &Environment::new(state.into_iter().chain(more.iter().copied())))?;
        Ok(std::fs::read_to_string(folder.path().join("openclaw.json")).unwrap())
    }

    #[test]
    fn without_a_terminal_the_default_is_written() {
        let folder = Folder::new();
        let text = setup(&folder, "").unwrap();
        let root: Value = serde_json::from_str(&text).unwrap();
        let gateway = &root["gateway"];
        assert_eq!((&gateway["mode"], &gateway["port"]), (&json!("local"), &json!(18_789)));
        assert_eq!((&gateway["bind"], &gateway["auth"]["mode"]), (&json!("loopback"), &json!("token")));
        assert_eq!(gateway["auth"]["token"].as_str().unwrap().len(), 48);
        assert_eq!(setup(&folder, "").unwrap(), text, "once more changes nothing");
    }

    #[test]
    fn flags_answer_and_everything_else_stays() {
        let folder = Folder::new();
        let path = folder.path().join("openclaw.json");
        std::fs::write(&path, "{channels: {y: 1}, gateway: {auth: {token: 'kept'}, tls: {enabled: false}}}")
            .unwrap();
        let text = setup(&folder, "--port 19001 --bind custom --custom-bind-host 127.0.0.2").unwrap();
        let root: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&root["channels"]["y"], &root["gateway"]["tls"]["enabled"]), (&json!(1), &json!(false)));
        assert_eq!((&root["gateway"]["port"], &root["gateway"]["bind"]), (&json!(19_001), &json!("custom")));
        assert_eq!(root["gateway"]["customBindHost"], "127.0.0.2");
        assert_eq!(root["gateway"]["auth"]["token"], "kept");
        assert!(backup_of(&path).exists());
    }

    #[test]
    fn a_token_that_a_variable_holds_stays() {
        let folder = Folder::new();
        let path = folder.path().join("openclaw.json");
        std::fs::write(&path, "{gateway: {mode: 'local', auth: {mode: 'token', token: '${TOK}'}}}").unwrap();
        let root: Value = serde_json::from_str(&setup(&folder, "--port 19001").unwrap()).unwrap();
        assert_eq!(
            (&root["gateway"]["port"], &root["gateway"]["auth"]["token"]),
            (&json!(19_001), &json!("${TOK}"))
        );
    }

    #[test]
    fn what_no_gateway_starts_with_is_not_written() {
        for (line, want) in [
            ("--bind lan --token changeme", "with a secret that anybody would try"),
            ("--bind custom --custom-bind-host 203.0.113.7", "No interface of this machine"),
        ] {
            let folder = Folder::new();
            let failure = setup(&folder, line).unwrap_err();
            assert!(
                failure.message().starts_with("No gateway would start with that: "),
                "{}",
                failure.message()
            );
            assert!(failure.message().contains(want) && failure.exit_code() == 1, "{}", failure.message());
            assert!(!folder.path().join("openclaw.json").exists());
        }
    }

    #[test]
    fn a_flag_without_effect_and_what_is_no_secret_are_mistakes() {
        let folder = Folder::new();
        let file = folder.path().join("password");
        std::fs::write(&file, "correct horse\n").unwrap();
        let file = file.display();
        for (line, want) in [
            (
                "--custom-bind-host 127.0.0.2".to_owned(),
                "--custom-bind-host has no effect with bind loopback",
            ),
            (
                format!("--auth password --password-file {file} --token t"),
                "--token has no effect with auth password",
            ),
            (format!("--auth token --password-file {file}"), "--password-file has no effect with auth token"),
            (
                "--token __OPENCLAW_REDACTED__".to_owned(),
                "what --token says is what is shown in place of a secret",
            ),
            ("--token ${TOK}".to_owned(), "what --token says is the name of a variable"),
        ] {
            let failure = setup(&folder, &line).unwrap_err();
            assert!(failure.message().starts_with(want), "{}", failure.message());
            assert_eq!(failure.exit_code(), 2);
            assert!(!folder.path().join("openclaw.json").exists());
        }
    }

    #[test]
    fn a_password_is_what_its_file_says() {
        let folder = Folder::new();
        let file = folder.path().join("password");
        std::fs::write(&file, "pa${HOME}ss${X}\n").unwrap();
        setup_with(&folder, &format!("--auth password --password-file {}", file.display()), &[("X", "y")])
            .unwrap();
        let environment = Environment::new([
            ("OPENCLAW_STATE_DIR", folder.path().to_str().unwrap()),
            ("X", "y"),
            ("HOME", "/h"),
        ]);
        let settings = config::open(&Storage::new(RealDisk, 1), &environment).unwrap().settings;
        let Some(Setting::Known(SecretAt::Here(password))) = settings.password else { panic!("no password") };
        assert_eq!(password.expose(), "pa${HOME}ss${X}");
    }

    #[test]
    fn the_environment_counts_as_it_does_for_a_gateway() {
        let folder = Folder::new();
        let env = [("OPENCLAW_GATEWAY_PORT", "19001"), ("OPENCLAW_GATEWAY_TOKEN", "of-the-environment")];
        let root: Value = serde_json::from_str(&setup_with(&folder, "", &env).unwrap()).unwrap();
        assert_eq!(
            (&root["gateway"]["port"], &root["gateway"]["auth"]["token"]),
            (&json!(19_001), &json!(env[1].1))
        );
        // One that is configured stays; a port in the file that the environment beats is written, and told.
        let root: Value = serde_json::from_str(
            &setup_with(&folder, "--port 5", &[("OPENCLAW_GATEWAY_TOKEN", "another")]).unwrap(),
        )
        .unwrap();
        assert_eq!(
            (&root["gateway"]["port"], &root["gateway"]["auth"]["token"]),
            (&json!(5), &json!(env[1].1))
        );
        assert!(
            setup_with(&folder, "", &[("OPENCLAW_GATEWAY_PORT", "abc")])
                .unwrap_err()
                .message()
                .contains("Invalid port")
        );
    }

    #[test]
    fn a_clients_file_is_made_a_gateways_only_when_that_is_meant() {
        let folder = Folder::new();
        let text = "{gateway: {mode: 'remote', remote: {url: 'ws://127.0.0.1:5'}}}";
        std::fs::write(folder.path().join("openclaw.json"), text).unwrap();
        let failure = setup(&folder, "").unwrap_err();
        assert!(failure.message().contains("Pass --local if that is meant") && failure.exit_code() == 2);
        assert_eq!(std::fs::read_to_string(folder.path().join("openclaw.json")).unwrap(), text);
        let root: Value = serde_json::from_str(&setup(&folder, "--local").unwrap()).unwrap();
        assert_eq!(
            (&root["gateway"]["mode"], &root["gateway"]["remote"]["url"]),
            (&json!("local"), &json!("ws://127.0.0.1:5"))
        );
    }

    #[test]
    fn what_is_missing_is_named_by_its_flag_and_nothing_is_written() {
        for (line, want) in [
            ("--bind custom", "--custom-bind-host: an IPv4 address is needed"),
            ("--bind custom --custom-bind-host ::1", "--custom-bind-host: \"::1\""),
            ("--auth password", "--password-file: a password is needed"),
        ] {
            let folder = Folder::new();
            let failure = setup(&folder, line).unwrap_err();
            assert!(failure.message().starts_with(want), "{}", failure.message());
            assert_eq!(failure.exit_code(), 2);
            assert!(!folder.path().join("openclaw.json").exists());
        }
    }
}
