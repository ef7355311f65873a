//! `clawgate setup`: a few questions, and a configuration file with which both programs start. The questions are the
//! core's ([`clawgate_proto::wizard`]); here they are shown on a terminal, or answered by flags where there is none.

use super::args::SetupArgs;
use super::{Failure, print, render};
use crate::config::first_run::{Author, generate_token};
use crate::config::settings::Setting;
use crate::config::startable::DEFAULT_PORT;
use crate::config::write::backup_of;
use crate::config::{self, Node, Opened, Settings};
use crate::entropy;
use crate::environment::Environment;
use crate::storage::{RealDisk, Storage, explain};
use crate::{instances, interfaces, profile};
use clawgate_proto::config::AuthMode;
use clawgate_proto::secret::Secret;
use clawgate_proto::wizard::{Auth, Bind, Draft, Wizard};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// Asks, or takes the flags, and writes.
///
/// # Errors
/// An answer or a flag makes no sense, or the file cannot be written.
pub fn run(args: &SetupArgs, environment: &Environment) -> Result<(), Failure> {
    let storage = Storage::new(RealDisk, u64::from_ne_bytes(entropy::bytes()));
    let Opened { mut file, settings, places, environment, .. } =
        config::open(&storage, environment).map_err(Failure::Failed)?;
    let root = file.found.as_ref().map(|found| &found.root);
    let bind = root.and_then(|root| root.get("gateway")?.get("bind")?.as_text()).and_then(Bind::named);
    let mut wizard = Wizard::new(draft(&settings, bind));
    let is_asked = !args.non_interactive && io::stdin().is_terminal() && io::stderr().is_terminal();
    let given = answers(args, &environment)?;
    while let Some(step) = wizard.step() {
        let id = step["id"].as_str().unwrap_or_default();
        let answer = given.iter().find(|(name, _)| *name == id).map(|(_, answer)| answer.clone());
        if is_asked && answer.is_none() {
            ask(&mut wizard, &step)?;
        } else {
            wizard
                .answer(answer.as_ref())
                .map_err(|why| Failure::Usage(format!("--{}: {why}", flag_of(id))))?;
        }
    }
    let draft = wizard.draft();
    let generated = draft.wants_token().then(generate_token);
    let is_new = file.found.is_none();
    let changes: Vec<(&[&str], Node)> = draft
        .settings(generated.as_ref())
        .into_iter()
        .map(|setting| (setting.path, Node::from_json(&setting.value)))
        .collect();
    let by = Author { state_dir: &places.state_dir, name: "clawgate setup" };
    file.set(&storage, by, &changes, &mut |_| Ok(())).map_err(Failure::Failed)?;
    let reach = format!("ws://{}:{}", address(draft), draft.port);
    if args.json {
        let said = json!({
            "ok": true, "config": file.path, "created": is_new, "url": reach, "bind": draft.bind.as_str(),
            "port": draft.port, "auth": draft.auth.as_str(), "generatedToken": generated.is_some(),
        });
        return print(&format!("{said:#}\n"));
    }
    let program = profile::program(&environment, &places.state_dir);
    let mut text = format!("wrote {}\n", file.path.display());
    if !is_new {
        text += &format!("the file before is {}\n", backup_of(&file.path).display());
    }
    if generated.is_some() {
        text += &format!("made a token; `{program} token` shows it\n");
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
    if draft.bind == Bind::Lan
        && let Some(there) = interfaces::lan_address()
    {
        text += &format!("from another machine: ws://{there}:{}\n", draft.port);
    }
    print(&text)
}

/// What is suggested: what is configured, else what is safe.
fn draft(settings: &Settings, bind: Option<Bind>) -> Draft {
    let is_password = settings.auth_mode == Some(Setting::Known(AuthMode::Password));
    Draft {
        port: settings.port.unwrap_or(DEFAULT_PORT),
        bind: bind.unwrap_or(Bind::Loopback),
        custom_host: settings.custom_bind_host.as_deref().and_then(|host| host.trim().parse().ok()),
        auth: if is_password { Auth::Password } else { Auth::Token },
        secret: None,
        has_token: settings.token.is_some(),
        has_password: settings.password.is_some(),
    }
}

/// The answers that the flags give, by question. A secret may come from the environment, as for the gateway.
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
    put("token", args.token.as_ref().map(|token| json!(token)));
    put("password", password.map(|text| json!(text.trim())));
    Ok(answers)
}

/// The flag that answers a question.
fn flag_of(id: &str) -> &str {
    match id {
        "customBindHost" => "custom-bind-host",
        "password" => "password-file",
        other => other,
    }
}

/// Shows a question until it is answered well.
fn ask(wizard: &mut Wizard, step: &Value) -> Result<(), Failure> {
    let text = |name: &str| step[name].as_str().unwrap_or_default();
    let mut err = io::stderr();
    let broken = |why: io::Error| Failure::Failed(format!("the terminal cannot be used: {why}"));
    if text("type") == "note" {
        writeln!(err, "\n{}:\n{}\n", text("title"), text("message")).map_err(broken)?;
        return wizard.answer(None).map_err(Failure::Failed);
    }
    writeln!(err, "\n{}", text("message")).map_err(broken)?;
    for option in step["options"].as_array().into_iter().flatten() {
        let part = |name: &str| option[name].as_str().unwrap_or_default();
        writeln!(err, "  {:<9} {}: {}", part("value"), part("label"), part("hint")).map_err(broken)?;
    }
    loop {
        let usual = text("initialValue");
        let hint = if usual.is_empty() { String::new() } else { format!(" [{usual}]") };
        write!(err, "{}{hint}: ", text("title")).and_then(|()| err.flush()).map_err(broken)?;
        let line = read_line(step["sensitive"] == true)?;
        match wizard.answer(Some(&json!(line))) {
            Ok(()) => return Ok(()),
            Err(why) => writeln!(err, "{}", render::clean(&why)).map_err(broken)?,
        }
    }
}

/// One line; without echo for a secret.
fn read_line(is_secret: bool) -> Result<String, Failure> {
    let stdin = io::stdin();
    let before = if is_secret { tcgetattr(&stdin).ok() } else { None };
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(&stdin, OptionalActions::Flush, &silent);
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(before) = &before {
        let _ = tcsetattr(&stdin, OptionalActions::Flush, before);
        let _ = writeln!(io::stderr());
    }
    match read {
        Ok(0) => {
            Err(Failure::Failed("the set-up ended before all was answered; nothing was written".to_owned()))
        }
        Ok(_) => Ok(line.trim().to_owned()),
        Err(why) => Err(Failure::Failed(format!("the answer cannot be read: {why}"))),
    }
}

/// Where a client on this machine finds it.
fn address(draft: &Draft) -> String {
    match (draft.bind, draft.custom_host) {
        (Bind::Custom, Some(host)) => host.to_string(),
        (Bind::Tailnet, _) => "TAILNET-ADDRESS".to_owned(),
        (Bind::Loopback | Bind::Lan | Bind::Auto | Bind::Custom, _) => "127.0.0.1".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::args::{Cli, Command};
    use super::*;
    use crate::scratch::Folder;
    use clap::Parser as _;

    fn setup(folder: &Folder, line: &str) -> Result<String, Failure> {
        let words =
            ["clawgate", "setup", "--non-interactive", "--json"].into_iter().chain(line.split_whitespace());
        let Command::Setup(args) = Cli::try_parse_from(words).unwrap().command else { panic!("{line}") };
        let state = [("OPENCLAW_STATE_DIR", folder.path().to_str().unwrap())];
        run(&args, &Environment::new(state))?;
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
        let text = setup(&folder, "--port 19001 --bind custom --custom-bind-host 192.0.2.7").unwrap();
        let root: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&root["channels"]["y"], &root["gateway"]["tls"]["enabled"]), (&json!(1), &json!(false)));
        assert_eq!((&root["gateway"]["port"], &root["gateway"]["bind"]), (&json!(19_001), &json!("custom")));
        assert_eq!(root["gateway"]["customBindHost"], "192.0.2.7");
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
