//! The client commands, help and completions: what people and programs get, and the exit codes.

use crate::RUNTIMES;
use crate::shell::{configured, run, start, stop};
use clawgate_support::secrets;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

#[test]
fn a_running_gateway_is_asked_for_people_and_for_programs() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let url = format!("ws://{}/", settings.addr());
        for prefix in ["", "gateway "] {
            let status = run(&settings, &format!("{prefix}status"));
            assert!(
                status.done().contains(&format!("running at {url}, ")) && status.out.contains("protocol 4\n"),
                "{status:?}"
            );
            let status = run(&settings, &format!("{prefix}status --json"));
            status.done();
            assert_eq!((&status.json()["ok"], &status.json()["gateway"]["url"]), (&json!(true), &json!(url)));
            assert!(run(&settings, &format!("{prefix}health")).done().contains("healthy   yes\n"));
            let health = run(&settings, &format!("{prefix}health --json"));
            health.done();
            assert_eq!((&health.json()["ok"], health.json()["ts"].is_u64()), (&json!(true), true));
            let called =
                run(&settings, &format!("{prefix}call set-heartbeats --params {{\"enabled\":false}}"));
            called.done();
            assert_eq!(called.json(), json!({ "ok": true, "enabled": false }));
        }
        let said = stop(gateway);
        assert!(said.contains("gateway.listening") || said.contains("listening on"), "{said}");
    }
}

#[test]
fn every_failure_has_its_exit_code_and_its_json() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let url = format!("--url ws://{}", settings.addr());
        let check = |line: &str, code: i32, name: &str, said: &[&str]| {
            run(&settings, line).failed(code, said);
            let ran = run(&settings, &format!("{line} --json"));
            assert_eq!((ran.code, &ran.json()["error"]["code"]), (code, &json!(name)), "{ran:?}");
            ran.json()["error"].clone()
        };
        check("devices approve --latest", 1, "FAILED", &["no device waits for approval"]);
        check("call health --params [1]", 2, "USAGE", &["--params must be a JSON object"]);
        check("call health --params {", 2, "USAGE", &["--params is not JSON (line 1, column "]);
        check(&format!("status {url}"), 2, "USAGE", &["gateway url override requires explicit credentials"]);
        check("status --url ws://192.0.2.1:1 --token x", 2, "USAGE", &["is not this machine", "SSH tunnel"]);
        let wss = "status --url wss://127.0.0.1:1 --token x";
        if cfg!(feature = "tls") {
            check(wss, 3, "UNREACHABLE", &["can be reached at wss://"]);
        } else {
            check(wss, 2, "USAGE", &["this build has no TLS"]);
        }
        let wrong = secrets::chosen("wrong");
        let refused = check(
            &format!("status {url} --token {wrong}"),
            4,
            "INVALID_REQUEST",
            &["unauthorized: gateway token mismatch", "AUTH_TOKEN_MISMATCH", "clawgate token"],
        );
        assert_eq!(refused["details"]["code"], "AUTH_TOKEN_MISMATCH");
        check(
            "call no.such.method",
            5,
            "INVALID_REQUEST",
            &["Gateway call failed: INVALID_REQUEST: unknown method"],
        );
        check(
            "devices approve no-such-request",
            5,
            "INVALID_REQUEST",
            &["unknown requestId", "devices list"],
        );
        check("devices approve", 2, "USAGE", &["which request?", "devices list", "--latest"]);
        check(
            "approvals allow no-such-request",
            5,
            "INVALID_REQUEST",
            &["unknown or expired approval id", "approvals list"],
        );
        let moved = run(&settings.clone().env("OPENCLAW_GATEWAY_PORT", "1"), "status");
        let port = settings.addr().port().to_string();
        moved.failed(3, &["ws://127.0.0.1:1/", &format!("listens on port {port} (pid {}):", gateway.pid())]);
        let text = format!("gateway --port {}", settings.addr().port());
        run(&settings, &text)
            .failed(1, &["gateway already running (pid ", "lock timeout after 5000ms\n", "--profile"]);
        stop(gateway);
        check(
            "status",
            3,
            "UNREACHABLE",
            &["no gateway can be reached at ws://127.0.0.1:", "clawgate gateway", "--url"],
        );
    }
}

/// Something listens, but it is no gateway, or never answers.
#[test]
fn what_is_no_gateway_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = configured(RUNTIMES[0])
        .env("OPENCLAW_GATEWAY_PORT", listener.local_addr().unwrap().port().to_string());
    run(&settings, "status --timeout 300").failed(3, &["did not answer in time (see --timeout)"]);
    let answering = std::thread::spawn(move || {
        // Connections of the command above wait here as well, and are answered in vain.
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\n\x1b[2Jgone");
        }
    });
    run(&settings, "status").failed(3, &["answered HTTP 404", "gone"]);
    answering.join().unwrap();
}

#[test]
fn help_has_examples_and_names_the_exit_codes() {
    let settings = configured(RUNTIMES[0]);
    for line in [
        "--help",
        "gateway --help",
        "gateway run --help",
        "gateway install --help",
        "call --help",
        "devices approve --help",
        "approvals allow --help",
        "completions --help",
        "doctor --help",
        "security audit --help",
    ] {
        let help = run(&settings, line);
        assert!(help.done().contains("Usage: clawgate") && help.out.contains("Example"), "{help:?}");
    }
    let help = run(&settings, "--help").out;
    let codes: Vec<&str> = help.lines().skip_while(|line| *line != "Exit codes:").skip(1).take(9).collect();
    let named = ["0", "1", "2", "3", "4", "5", "6", "70", "130, 143"];
    assert!(
        codes.iter().zip(named).all(|(line, code)| line.starts_with(&format!("  {code}  "))),
        "{codes:?}"
    );
    let version = run(&settings, "--version");
    assert_eq!(version.done(), format!("clawgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_line_that_makes_no_sense_is_explained() {
    let settings = configured(RUNTIMES[0]);
    for (line, said) in [
        ("", "Usage: clawgate [OPTIONS] <COMMAND>"),
        ("gatway", "a similar subcommand exists: 'gateway'"),
        ("gateway --port 65536", "65536 is not in 0..=65535"),
        ("gateway --bind everywhere", "[possible values: loopback, lan, tailnet, auto, custom]"),
        ("gateway --runtime tokio", "possible values"),
        ("devices approve", "which request?"),
        ("devices rotate", "--device <DEVICE>"),
        ("status --timeout 0", "0 is not in 1..=86400000"),
    ] {
        run(&settings, line).failed(2, &[said]);
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    let settings = configured(RUNTIMES[0]);
    for (shell, sign) in [
        ("bash", "complete -F _clawgate"),
        ("zsh", "#compdef clawgate"),
        ("fish", "complete -c clawgate"),
        ("elvish", "edit:completion:arg-completer[clawgate]"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = run(&settings, &format!("completions {shell}"));
        assert!(
            script.done().contains(sign) && script.out.contains("allow-unconfigured"),
            "{shell}: {}",
            script.out
        );
    }
    run(&settings, "completions csh").failed(2, &["possible values"]);
}
