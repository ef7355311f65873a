//! What a start decides, by files, flags and variables in folders of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::cli::args::{Cli, Command};
use crate::config::start::BIND_VARIABLE;
use crate::scratch::Folder;
use clap::Parser as _;

/// Makes a plan in a folder with this configuration, this command line and these variables.
fn plan(folder: &Folder, config: Option<&str>, line: &str, more: &[(&str, &str)]) -> Result<Plan, Failure> {
    if let Some(config) = config {
        std::fs::write(folder.path().join("openclaw.json"), config).unwrap();
    }
    let words = ["clawgate", "gateway"].into_iter().chain(line.split_whitespace());
    let Command::Gateway(gateway) = Cli::try_parse_from(words).unwrap().command else { panic!("{line}") };
    let state = [("OPENCLAW_STATE_DIR", folder.path().to_str().unwrap())];
    let environment = Environment::new(state.into_iter().chain(more.iter().copied()));
    Plan::make(&gateway.run, &environment, None, &mut |_| Ok(()))
}

fn text(folder: &Folder) -> String {
    std::fs::read_to_string(folder.path().join("openclaw.json")).unwrap()
}

fn token_of(plan: &Plan) -> String {
    plan.auth.token.as_ref().unwrap().secret.expose().to_owned()
}

#[test]
fn a_rehearsal_refuses_what_a_start_refuses_and_writes_nothing() {
    let folder = Folder::new();
    let rehearse = |text: Option<&str>| {
        if let Some(text) = text {
            std::fs::write(folder.path().join("openclaw.json"), text).unwrap();
        }
        let environment = Environment::new([("OPENCLAW_STATE_DIR", folder.path().to_str().unwrap())]);
        Plan::rehearse(&RunArgs::default(), &environment)
    };
    rehearse(None).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let fault = rehearse(Some("{gateway: {mode: 'local', bind: 'lan', auth: {mode: 'none'}}}")).unwrap_err();
    assert!(fault.message().starts_with("Refusing to bind gateway to lan without auth."));
    rehearse(Some("{gateway: {mode: 'local'}}")).unwrap();
    std::fs::write(folder.path().join("clawgate.json"), "{limit: 1}").unwrap();
    assert!(rehearse(None).unwrap_err().message().contains("limit: unknown"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn the_first_start_makes_a_token_and_the_second_uses_it() {
    let folder = Folder::new();
    let first = plan(&folder, None, "", &[]).unwrap();
    assert_eq!((first.place, first.port, first.auth.mode), (Place::Loopback, 18_789, AuthMode::Token));
    assert!(first.wrote.as_ref().is_some_and(|wrote| !wrote.contains(&token_of(&first))));
    let second = plan(&folder, None, "", &[]).unwrap();
    assert_eq!(token_of(&first), token_of(&second));
    assert!(second.wrote.is_none());
    assert_eq!(first.identity.key.device_id(), second.identity.key.device_id());
}

#[test]
fn a_first_start_with_a_secret_of_its_own_stores_no_token() {
    for (line, more) in [
        ("--token t", &[][..]),
        ("--auth none", &[]),
        ("--password p", &[]),
        ("", &[("OPENCLAW_GATEWAY_TOKEN", "t")]),
    ] {
        let folder = Folder::new();
        plan(&folder, None, line, more).unwrap();
        assert_eq!(text(&folder), "{\n  \"gateway\": {\n    \"mode\": \"local\"\n  }\n}\n", "{line}");
    }
}

#[test]
fn a_file_without_a_token_gets_one() {
    let folder = Folder::new();
    let made = plan(&folder, Some("{agents: {x: 1}, gateway: {mode: 'local'}}"), "", &[]).unwrap();
    assert!(
        made.wrote.as_ref().unwrap().starts_with("Gateway auth token was missing. Generated a new token")
    );
    assert!(text(&folder).starts_with("{\n  \"agents\": {\n    \"x\": 1"));
    assert!(text(&folder).contains("\"mode\": \"token\"") && text(&folder).contains(&token_of(&made)));
}

#[test]
fn a_token_that_a_variable_holds_is_not_replaced_where_the_variable_is_missing() {
    let folder = Folder::new();
    let config = "{gateway: {mode: 'local', auth: {mode: 'token', token: '${TOK}'}}}";
    let fault = plan(&folder, Some(config), "", &[]).unwrap_err();
    assert!(fault.message().contains("environment variable TOK, which is not set"), "{}", fault.message());
    assert_eq!(text(&folder), config);
    assert_eq!(token_of(&plan(&folder, Some(config), "", &[("TOK", "there")]).unwrap()), "there");
    assert_eq!(token_of(&plan(&folder, Some(config), "--token t", &[]).unwrap()), "t");
    assert_eq!(text(&folder), config);
}

#[test]
fn a_mode_of_the_command_line_is_not_written_down() {
    let folder = Folder::new();
    let made = plan(&folder, Some("{gateway: {mode: 'local'}}"), "--auth token", &[]).unwrap();
    assert!(text(&folder).contains(&token_of(&made)) && !text(&folder).contains("\"mode\": \"token\""));
    let folder = Folder::new();
    let config = "{gateway: {mode: 'local', auth: {password: 'p'}}}";
    let fault = plan(&folder, Some(config), "--auth token", &[]).unwrap_err();
    assert!(fault.message().starts_with("Gateway auth is set to token by --auth, but no token"));
    assert_eq!(text(&folder), config);
}

#[test]
fn a_file_that_is_not_for_a_local_gateway_is_refused_unless_asked() {
    for (config, current) in [("{}", "unset"), ("{gateway: {mode: 'remote'}}", "remote")] {
        let folder = Folder::new();
        let fault = plan(&folder, Some(config), "", &[]).unwrap_err();
        let want = format!(
            "Gateway start blocked: set gateway.mode=local (current: {current}) or pass --allow-unconfigured."
        );
        assert_eq!((fault.message(), fault.exit_code()), (want, 1));
        assert_eq!(text(&folder), config, "a refused start writes nothing");
        let allowed = plan(&folder, Some(config), "--allow-unconfigured", &[]).unwrap();
        assert_eq!(allowed.auth.mode, AuthMode::Token);
    }
}

#[test]
fn refusals_leave_no_file_behind() {
    for (line, want) in [
        ("--password p --password-file /p", "Use either --password or --password-file."),
        ("--bind lan --auth none", "Refusing to bind gateway to lan without auth."),
        ("--auth password", "Gateway auth is set to password, but no password is configured."),
        ("--password-file /nonexistent/p", "cannot read /nonexistent/p"),
    ] {
        let folder = Folder::new();
        let fault = plan(&folder, None, line, &[]).unwrap_err();
        assert!(fault.message().starts_with(want), "{line}: {}", fault.message());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{line}");
    }
}

#[test]
fn a_hint_names_the_port_only_where_the_commands_would_miss_it() {
    let folder = Folder::new();
    let config = "{gateway: {mode: 'local', port: 5}}";
    let hint = |line: &str, variables: &[(&str, &str)], bound: u16| {
        plan(&folder, Some(config), line, variables).unwrap().program(Some(bound))
    };
    assert_eq!(hint("", &[], 5), "clawgate");
    assert_eq!(hint("--port 7", &[], 7), "OPENCLAW_GATEWAY_PORT=7 clawgate");
    assert_eq!(hint("--port 0", &[], 4_711), "OPENCLAW_GATEWAY_PORT=4711 clawgate");
    assert_eq!(hint("--port 7", &[("OPENCLAW_GATEWAY_PORT", "7")], 7), "clawgate");
}

#[test]
fn port_and_bind_follow_flag_variable_file_default() {
    let folder = Folder::new();
    let config = "{gateway: {mode: 'local', port: 5, bind: 'lan'}}";
    let variable = [("OPENCLAW_GATEWAY_PORT", "6")];
    let chosen = |plan: Plan| (plan.port, plan.place);
    assert_eq!(chosen(plan(&folder, Some(config), "", &[]).unwrap()), (5, Place::Lan));
    assert_eq!(chosen(plan(&folder, Some(config), "", &variable).unwrap()), (6, Place::Lan));
    assert_eq!(
        chosen(plan(&folder, Some(config), "--port 7 --bind loopback", &variable).unwrap()),
        (7, Place::Loopback)
    );
    // Compatibility row bind-variable.
    let variable = [(BIND_VARIABLE, "tailnet")];
    assert_eq!(plan(&folder, Some(config), "", &variable).unwrap().place, Place::Tailnet);
    assert_eq!(plan(&folder, Some(config), "--bind auto", &variable).unwrap().place, Place::Loopback);
    let fault = plan(&folder, Some(config), "", &[(BIND_VARIABLE, "0.0.0.0")]).unwrap_err();
    assert!(fault.message().starts_with("Invalid bind: OPENCLAW_GATEWAY_BIND is \"0.0.0.0\""));
}

#[test]
fn a_gateway_knows_its_own_names() {
    let logger = Logger::new(None, false);
    let names = |config: &str, variables: &[(&str, &str)], address: &str| {
        let folder = Folder::new();
        let config = format!("{{gateway: {{mode: 'local', {config}}}}}");
        let plan = plan(&folder, Some(&config), "", variables).unwrap();
        plan.own_origins("Board.example", &[address.parse().unwrap()], &logger)
    };
    assert!(names("port: 5", &[], "127.0.0.1:5").is_empty(), "loopback pages are known without a list");
    let custom = "bind: 'custom', customBindHost: '192.0.2.7'";
    let want = ["http://192.0.2.7:5", "http://board.local:5", "http://pi.local:5"];
    let said = names(custom, &[("OPENCLAW_MDNS_HOSTNAME", "pi.local")], "192.0.2.7:5");
    assert_eq!(said[..3], want);
    // The name that it takes when the first one is somebody else's.
    assert!(
        said.len() == 4 && said[3].starts_with("http://pi-") && said[3].ends_with(".local:5"),
        "{said:?}"
    );
    let want = ["http://192.0.2.7", "http://board.local", "http://openclaw.local"];
    assert_eq!(names(custom, &[], "192.0.2.7:80")[..3], want);
    // What is not announced has no such names.
    let off = [("OPENCLAW_DISABLE_BONJOUR", "1")];
    assert_eq!(names(custom, &off, "192.0.2.7:80"), ["http://192.0.2.7", "http://board.local"]);
    let every = names("bind: 'lan'", &[], "0.0.0.0:5");
    assert!(every.contains(&"http://board.local:5".to_owned()), "{every:?}");
    assert!(!every.iter().any(|origin| origin.contains("0.0.0.0") || origin.contains("127.")), "{every:?}");
    let tailnet = [("OPENCLAW_TAILNET_DNS", "pi.tail1.ts.net")];
    assert_eq!(names("tailscale: {mode: 'serve'}", &tailnet, "127.0.0.1:5"), ["https://pi.tail1.ts.net"]);
    let want = ["http://100.64.0.7:5", "http://board.local:5", "http://pi.tail1.ts.net:5"];
    assert_eq!(names("bind: 'tailnet'", &tailnet, "100.64.0.7:5"), want);
}

#[test]
fn a_custom_bind_needs_an_ipv4_address() {
    let folder = Folder::new();
    let with = |host: &str| {
        let config = format!("{{gateway: {{mode: 'local', bind: 'custom'{host}}}}}");
        plan(&folder, Some(&config), "", &[])
    };
    assert_eq!(
        with(", customBindHost: '127.0.0.2'").unwrap().place,
        Place::Custom(std::net::Ipv4Addr::new(127, 0, 0, 2))
    );
    for host in ["", ", customBindHost: ' '"] {
        let fault = with(host).unwrap_err().message();
        assert!(fault.starts_with("gateway.bind=custom requires gateway.customBindHost\n"), "{fault}");
    }
    for host in ["::1", "localhost", "1.2.3", "01.2.3.4", "1.2.3.4:5"] {
        let fault = with(&format!(", customBindHost: '{host}'")).unwrap_err().message();
        let want = format!("gateway.bind=custom requires a valid IPv4 customBindHost (got {host})");
        assert_eq!(fault, want);
    }
}

#[test]
fn beyond_loopback_nobody_starts_without_a_secret() {
    let folder = Folder::new();
    for bind in ["lan", "tailnet", "custom"] {
        let config = "{gateway: {mode: 'local', customBindHost: '10.0.0.1'}}";
        let fault = plan(&folder, Some(config), &format!("--auth none --bind {bind}"), &[]).unwrap_err();
        let want =
            format!("Refusing to bind gateway to {bind} without auth.\nSet gateway.auth.token/password ");
        assert!(fault.message().starts_with(&want), "{}", fault.message());
    }
}

#[test]
fn a_config_file_that_others_can_read_is_warned_of() {
    let folder = Folder::new();
    plan(&folder, None, "", &[]).unwrap();
    let path = folder.path().join("openclaw.json");
    assert!(plan(&folder, None, "", &[]).unwrap().warnings.is_empty());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = plan(&folder, None, "", &[]).unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("chmod 600"), "{warnings:?}");
}

#[test]
fn the_bridge_of_old_gets_one_sentence_and_nothing_listens_for_it() {
    for (line, more, name) in [
        ("--bridge", &[][..], "--bridge"),
        ("--bridge-port 18790", &[], "--bridge"),
        ("--bridge-host 0.0.0.0", &[], "--bridge"),
        ("", &[("OPENCLAW_BRIDGE_PORT", "18790")], "OPENCLAW_BRIDGE_PORT"),
        ("", &[("CLAWDBOT_BRIDGE_ENABLED", "1")], "CLAWDBOT_BRIDGE_ENABLED"),
    ] {
        let folder = Folder::new();
        let made = plan(&folder, None, line, more).unwrap();
        let sentence = format!("{name}: the TCP bridge is gone");
        assert!(made.warnings.len() == 1 && made.warnings[0].starts_with(&sentence), "{:?}", made.warnings);
        assert_eq!(made.place, Place::Loopback);
    }
}

#[test]
fn a_gateway_that_is_locked_out_writes_nothing() {
    let folder = Folder::new();
    let Command::Gateway(gateway) = Cli::try_parse_from(["clawgate", "gateway"]).unwrap().command else {
        panic!()
    };
    let environment = Environment::new([("OPENCLAW_STATE_DIR", folder.path().to_str().unwrap())]);
    let fault = Plan::make(&gateway.run, &environment, None, &mut |Spot { places, port, .. }| {
        assert_eq!((places.state_dir.as_path(), *port), (folder.path(), 18_789));
        Err(Failure::Locked("taken".to_owned()))
    });
    assert!(matches!(fault, Err(Failure::Locked(_))));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
