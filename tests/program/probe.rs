//! `clawgate probe`: which gateway it goes to, and on which way. `.ci/remote` does it through a real SSH server.

use crate::RUNTIMES;
#[cfg(feature = "tls")]
use crate::shell::config_text;
use crate::shell::{configured, run, start, stop, with_text};
use clawgate_support::{Program, Settings};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

/// A program of the name `ssh` that writes down how it is called and then does this, in front of PATH.
fn with_ssh(settings: Settings, then: &str) -> Settings {
    let folder = settings.temporary_dir().join("bin");
    fs::create_dir_all(&folder).unwrap();
    let told = settings.temporary_dir().join("told");
    let program = folder.join("ssh");
    fs::write(&program, format!("#!/bin/bash\necho \"$@\" >> '{}'\n{then}\n", told.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    settings.env("PATH", format!("{}:{path}", folder.display()))
}

/// What `ssh -W HOST:PORT` does.
const CARRIES: &str = "while [ $# -gt 0 ]; do [ \"$1\" = -W ] && far=$2; shift; done\n\
                       exec 3<> \"/dev/tcp/${far%:*}/${far##*:}\" || exit 255\ncat <&3 &\nexec cat >&3";

fn told(settings: &Settings) -> String {
    fs::read_to_string(settings.temporary_dir().join("told")).unwrap_or_default()
}

/// The settings of a client of this gateway, `remote` beside its address and token.
fn client_of(gateway: &Program, scheme: &str, remote: &Value, ssh: &str) -> Settings {
    let mut members = json!({ "url": format!("{scheme}://{}", gateway.addr()), "token": gateway.token() });
    members.as_object_mut().unwrap().extend(remote.as_object().unwrap().clone());
    client(&members, ssh)
}

fn client(remote: &Value, ssh: &str) -> Settings {
    let config = json!({ "gateway": { "mode": "remote", "remote": remote } });
    with_ssh(with_text(RUNTIMES[0], &config.to_string()), ssh)
}

/// A gateway behind TLS, and the fingerprint of its certificate.
#[cfg(feature = "tls")]
fn start_with_tls(runtime: &str) -> (Program, String) {
    let settings = configured(runtime);
    let mut document: Value = serde_json::from_str(&config_text(&settings)).unwrap();
    document["gateway"]["tls"] = json!({ "enabled": true });
    fs::write(settings.config_path(), document.to_string()).unwrap();
    let gateway = start(&settings);
    let shown = run(&settings, "gateway tls --json").json()["sha256"].as_str().unwrap().to_owned();
    (gateway, shown)
}

/// What an `ssh` does that is not let in.
const FAILS: &str = "echo 'Host key verification failed.' >&2; exit 255";

#[test]
fn a_remote_gateway_is_looked_at_through_its_ssh_server() {
    for runtime in RUNTIMES {
        let gateway = start(&configured(runtime));
        let (port, ssh) =
            (gateway.addr().port(), json!({ "sshTarget": "me@far.example:2222", "sshIdentity": "/k" }));
        let settings = client_of(&gateway, "ws", &ssh, CARRIES);
        for line in ["gateway probe --json", "gateway probe --json --ssh"] {
            let ran = run(&settings, line);
            ran.done();
            let report = ran.json();
            assert_eq!(report["primaryTargetId"], "sshTunnel", "{report}");
            let tunnel = &report["targets"][0]["tunnel"];
            assert_eq!(
                (&tunnel["target"], &tunnel["remote"]),
                (&json!("me@far.example:2222"), &json!(format!("127.0.0.1:{port}")))
            );
        }
        let calls = told(&settings);
        assert_eq!(calls.lines().count(), 2, "{calls}");
        for call in calls.lines() {
            assert!(
                call.ends_with(&format!("-i /k -p 2222 -W 127.0.0.1:{port} -- me@far.example")),
                "{call}"
            );
        }
        // Compatibility row probe-targets: who names an address means that one, and who says that the way is direct means that.
        let direct = json!({ "sshTarget": "me@far.example", "transport": "direct" });
        let settings = client_of(&gateway, "ws", &direct, CARRIES);
        assert_eq!(run(&settings, "gateway probe --json").json()["primaryTargetId"], "configRemote");
        let settings = settings.env("OPENCLAW_GATEWAY_URL", format!("ws://{}", gateway.addr()));
        let named =
            run(&settings.env("OPENCLAW_GATEWAY_TOKEN", gateway.token()), "gateway probe --json").json();
        assert_eq!((&named["primaryTargetId"], &named["ok"]), (&json!("explicit"), &json!(true)));
        stop(gateway);
    }
}

#[cfg(feature = "tls")]
#[test]
fn where_no_ssh_server_leads_there_it_is_looked_at_without_and_that_is_said() {
    let (gateway, shown) = start_with_tls(RUNTIMES[0]);
    let remote = json!({ "sshTarget": "far.example", "tlsFingerprint": shown });
    let settings = client_of(&gateway, "wss", &remote, FAILS);
    let ran = run(&settings, "gateway probe --json");
    let report = ran.json();
    assert_eq!((ran.code, &report["primaryTargetId"]), (0, &json!("configRemote")), "{ran:?}");
    assert_eq!(report["targets"].as_array().map(Vec::len), Some(1));
    let warning = &report["warnings"][0];
    assert_eq!(warning["code"], "ssh_tunnel_failed");
    assert!(warning["message"].as_str().unwrap().ends_with("Host key verification failed."), "{warning}");
    let ran = run(&settings, "probe");
    assert!(ran.code == 0 && ran.out.starts_with("reachable at wss://127.0.0.1:"), "{ran:?}");
    assert!(ran.err.contains("Host key verification failed.; looked without it"), "{ran:?}");
    // Who wants the tunnel is not taken another way.
    run(&settings, "probe --ssh").failed(1, &["ssh far.example: Host key verification failed."]);
    stop(gateway);
}

#[cfg(feature = "tls")]
#[test]
fn settings_that_lead_through_no_ssh_server_are_as_one_that_does_not_answer() {
    let (gateway, shown) = start_with_tls(RUNTIMES[0]);
    let url = format!("wss://{}", gateway.addr());
    for (remote, is_let_in, said) in [
        (json!({ "sshTarget": "me@pi x", "token": gateway.token() }), true, "me@pi x is no SSH destination"),
        (json!({ "sshTarget": "far.example" }), false, "set gateway.remote.token"),
    ] {
        let mut remote = remote;
        remote["url"] = json!(url);
        remote["tlsFingerprint"] = json!(shown);
        let settings = client(&remote, CARRIES);
        let ran = run(&settings, "gateway probe --json");
        let report = ran.json();
        assert_eq!((ran.code == 0, &report["ok"]), (is_let_in, &json!(is_let_in)), "{ran:?}");
        assert_eq!(report["targets"][0]["id"], "configRemote", "{report}");
        let warning = &report["warnings"][0];
        assert_eq!(warning["code"], "ssh_tunnel_failed", "{report}");
        assert!(warning["message"].as_str().unwrap().contains(said), "{warning}");
        run(&settings, "probe --ssh").failed(2, &[said]);
        assert_eq!(told(&settings), "");
    }
    stop(gateway);
}

#[test]
fn what_is_for_a_gateway_behind_an_ssh_server_is_not_shown_to_a_port_of_this_machine() {
    let here = TcpListener::bind("127.0.0.1:0").unwrap();
    here.set_nonblocking(true).unwrap();
    let url = format!("ws://{}", here.local_addr().unwrap());
    for (remote, said) in [
        (
            json!({ "sshTarget": "far.example", "token": "shown-there-only-0123" }),
            "Host key verification failed.",
        ),
        (json!({ "sshTarget": "-x", "token": "shown-there-only-0123" }), "-x is no SSH destination"),
        (json!({ "sshTarget": "far.example" }), "set gateway.remote.token"),
    ] {
        let mut remote = remote;
        remote["url"] = json!(url);
        let settings = client(&remote, FAILS);
        let ran = run(&settings, "gateway probe --json");
        let report = ran.json();
        assert_eq!((ran.code, &report["ok"], &report["primaryTargetId"]), (1, &json!(false), &Value::Null));
        assert_eq!(report["targets"][0]["id"], "sshTunnel", "{report}");
        assert_eq!(report["warnings"][0]["code"], "ssh_tunnel_failed", "{report}");
        assert!(report["warnings"][0]["message"].as_str().unwrap().contains(said), "{report}");
        let ran = run(&settings, "probe");
        ran.failed(1, &[said]);
        assert!(!ran.err.contains("looked without it"), "{ran:?}");
        assert_eq!(here.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody came");
    }
}

#[cfg(feature = "tls")]
#[test]
fn the_certificate_that_is_pinned_is_the_one_behind_the_tunnel_too() {
    for runtime in RUNTIMES {
        let (gateway, shown) = start_with_tls(runtime);
        let with = |fingerprint: &str| {
            let remote = json!({ "sshTarget": "far.example", "tlsFingerprint": fingerprint });
            client_of(&gateway, "wss", &remote, CARRIES)
        };
        for line in ["gateway probe --json", "gateway probe --json --ssh"] {
            let report = run(&with(&shown), line).json();
            assert_eq!(
                (&report["ok"], &report["primaryTargetId"]),
                (&json!(true), &json!("sshTunnel")),
                "{report}"
            );
            assert!(
                report["targets"][0]["url"].as_str().unwrap().starts_with("wss://127.0.0.1:"),
                "{report}"
            );
            let other = with(&"ab".repeat(32));
            let ran = run(&other, line);
            assert_eq!(ran.code, 1, "{ran:?}");
            let error = ran.json()["targets"][0]["connect"]["error"].to_string();
            assert!(error.contains("certificate"), "{error}");
            assert_eq!(ran.json()["targets"][0]["connect"]["ok"], false);
        }
        stop(gateway);
    }
}
