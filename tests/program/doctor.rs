//! `doctor` and `security audit`: nothing is found in a clean installation, and what is wrong is named with what to do.
//! That they only look is the row `doctor-looks` of `docs/compatibility.md`.

use crate::RUNTIMES;
use crate::shell::{Ran, configured, run, start, stop, unconfigured, with_text};
use clawgate_support::{Settings, TestClient, client, secrets};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

/// The states of the steps, by id, or the severities of the findings.
fn states(ran: &Ran, list: &str, state: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = ran.json()[list].as_array().cloned().unwrap_or_else(|| panic!("no {list} in {ran:?}"));
    list.iter().map(|entry| (text(&entry["id"]), text(&entry[state]))).collect()
}

fn has(states: &[(String, String)], id: &str, state: &str) -> bool {
    states.iter().any(|(have, is)| have == id && is == state)
}

/// Runs a command that finds something: exit code 1, everything on standard output.
fn finds(settings: &Settings, line: &str) -> Ran {
    let ran = run(settings, line);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{ran:?}");
    ran
}

#[test]
fn a_clean_installation_is_fine_before_its_first_start_while_it_runs_and_afterwards() {
    for runtime in RUNTIMES {
        let settings = unconfigured(runtime);
        let before = run(&settings, "doctor");
        assert!(before.done().contains("a gateway would start: loopback, port "), "{before:?}");
        assert!(!settings.state_dir().exists(), "looking makes nothing");
        run(&settings, "security audit").done();

        let gateway = start(&settings);
        let looked = run(&settings, "doctor --json");
        looked.done();
        let steps = states(&looked, "checks", "state");
        for id in ["config", "start", "disk", "gateway", "login", "pairing", "security"] {
            assert!(has(&steps, id, "ok"), "{id}: {looked:?}");
        }
        let said = run(&settings, "doctor");
        assert!(said.done().contains("this shell gets in with gateway.auth.token in "), "{said:?}");
        assert!(said.out.contains("1 device is paired"), "{said:?}");
        // A wrong secret beside the right device token still gets in, and is not hidden by that.
        let shell = settings.clone().env("OPENCLAW_GATEWAY_TOKEN", secrets::chosen("of-another-gateway"));
        let said = finds(&shell, "doctor");
        let want = "with this machine's device token only: the environment variable OPENCLAW_GATEWAY_TOKEN was refused";
        assert!(said.out.contains(want), "{said:?}");
        let deep = run(&settings, "security audit --deep");
        assert_eq!(deep.done(), "nothing found\n");
        stop(gateway);

        let after = run(&settings, "doctor");
        assert!(after.done().contains("none runs at ws://127.0.0.1:"), "{after:?}");
        let deep = run(&settings, "security audit --deep");
        assert!(deep.done().contains("live.unasked"), "{deep:?}");
    }
}

#[test]
fn files_that_others_can_read_are_found_and_closed_when_asked() {
    let settings = configured(RUNTIMES[0]);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(settings.state_dir(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(settings.config_path(), Permissions::from_mode(0o644)).unwrap();
    let found = states(&finds(&settings, "security audit --json"), "findings", "severity");
    assert!(
        has(&found, "files.readable", "critical") && has(&found, "files.folder-open", "warn"),
        "{found:?}"
    );
    let said = finds(&settings, "security audit");
    for want in ["it holds secrets, and others can read it (mode 644)", "-> chmod 600 ", "--fix changes the"]
    {
        assert!(said.out.contains(want), "{want} not in {said:?}");
    }
    assert!(has(&states(&finds(&settings, "doctor --json"), "checks", "state"), "security", "critical"));
    assert_eq!(mode(&settings.config_path()), 0o644, "nothing is changed unasked");

    let fixed = run(&settings, "doctor --fix --non-interactive");
    assert!(fixed.done().contains("mended    chmod 600 "), "{fixed:?}");
    assert_eq!((mode(&settings.config_path()), mode(&settings.state_dir())), (0o600, 0o700));
    assert_eq!(run(&settings, "security audit").done(), "nothing found\n");
}

#[test]
fn a_shell_with_another_token_is_told_where_it_has_it_from() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let shell = settings.clone().env("OPENCLAW_GATEWAY_TOKEN", secrets::chosen("of-another-gateway"));
        let said = finds(&shell, "doctor");
        for want in [
            "this shell does not get in with the environment variable OPENCLAW_GATEWAY_TOKEN",
            "AUTH_TOKEN_MISMATCH",
            "secrets.two-sources  OPENCLAW_GATEWAY_TOKEN",
            "-> unset OPENCLAW_GATEWAY_TOKEN",
        ] {
            assert!(said.out.contains(want), "{want} not in {said:?}");
        }
        run(&shell, "health")
            .failed(4, &["What was shown to it came from the environment variable OPENCLAW_GATEWAY_TOKEN."]);
        stop(gateway);
    }
}

#[test]
fn a_gateway_that_listens_and_says_nothing_is_found() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        gateway.signal(Signal::STOP);
        let said = finds(&settings, "doctor --timeout 300");
        assert!(
            said.out.contains(" takes connections, and the gateway of this configuration (pid "),
            "{said:?}"
        );
        gateway.signal(Signal::CONT);
        stop(gateway);
    }
}

#[test]
fn somebody_who_guesses_is_seen_by_a_deep_look() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        for path in [settings.config_path(), settings.state_dir()] {
            let mode = if path.is_dir() { 0o700 } else { 0o600 };
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let gateway = start(&settings);
        assert_eq!(run(&settings, "security audit --deep").done(), "nothing found\n");
        let wrong = secrets::chosen("guess");
        for _ in 0..20 {
            let config = client::config(gateway.addr(), Some(&wrong), Some(client::fresh_key()));
            assert!(TestClient::connect(gateway.addr(), config).is_err());
        }
        let said = finds(&settings, "security audit --deep");
        assert!(
            said.out.contains("live.guessing") && said.out.contains("it refused 20 wrong secrets"),
            "{said:?}"
        );
        assert_eq!(run(&settings, "security audit").done(), "nothing found\n");
        stop(gateway);
    }
}

#[test]
fn what_is_in_the_way_of_a_start_is_said_as_the_start_says_it() {
    let open = with_text(RUNTIMES[0], "{gateway: {mode: 'local', bind: 'lan', auth: {mode: 'none'}}}");
    let said = finds(&open, "doctor");
    assert!(said.out.contains("Refusing to bind gateway to lan without auth."), "{said:?}");
    let found = states(&finds(&open, "security audit --json"), "findings", "severity");
    assert!(has(&found, "bind.open", "critical") && has(&found, "bind.clear-text", "warn"), "{found:?}");
    let broken = with_text(RUNTIMES[0], "{gateway: {mode: 'local',\n port: }}");
    let said = finds(&broken, "doctor");
    assert!(said.out.contains("line 2, column 8: not valid JSON5"), "{said:?}");
}

#[test]
fn what_was_pasted_by_mistake_is_not_sent() {
    let settings = configured(RUNTIMES[0]);
    run(&settings, "health --token oc-pair://abc")
        .failed(2, &["is a setup code, and no token", "Nothing was sent."]);
    let shell = settings.clone().env("OPENCLAW_GATEWAY_TOKEN", "${OTHER}");
    run(&shell, "health").failed(
        1,
        &["what the environment variable OPENCLAW_GATEWAY_TOKEN says is the name of a variable that nobody replaced"],
    );
    let gateway = start(&settings);
    let quoted =
        settings.clone().env("OPENCLAW_GATEWAY_TOKEN", format!("\"{}\"", secrets::chosen("gateway-token")));
    run(&quoted, "health")
        .failed(4, &["note: what the environment variable", "quotation marks", "AUTH_TOKEN_MISMATCH"]);
    stop(gateway);
}
