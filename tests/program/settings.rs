//! Where a gateway listens and what it asks for, when flags, environment and file disagree.

use crate::RUNTIMES;
use crate::shell::{configured, run, run_showing, start, stop, unconfigured, with_text};
use clawgate_support::{free_port, secrets};
use serde_json::json;
use std::fs;
use std::net::TcpListener;

#[test]
fn the_port_comes_from_the_flag_else_the_environment_else_the_file() {
    let held: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let [of_file, of_environment] = [0, 1].map(|i| held[i].local_addr().unwrap().port());
    let taken = |port| format!("another gateway instance is already listening on ws://127.0.0.1:{port}\n");
    let text = format!("{{gateway: {{mode: 'local', port: {of_file}, auth: {{mode: 'none'}}}}}}");
    let blank = with_text(RUNTIMES[0], &text).env("OPENCLAW_GATEWAY_PORT", " ");
    run(&blank, "gateway").failed(1, &[&taken(of_file), "choose another port with --port"]);
    let settings = with_text(RUNTIMES[0], &text).env("OPENCLAW_GATEWAY_PORT", of_environment.to_string());
    run(&settings, "gateway").failed(1, &[&taken(of_environment)]);
    // `start` passes --port, and waits for an answer there.
    stop(start(&settings));
    let wrong = configured(RUNTIMES[0]).env("OPENCLAW_GATEWAY_PORT", "0x50");
    run(&wrong, "gateway").failed(1, &["Invalid port: OPENCLAW_GATEWAY_PORT is \"0x50\""]);
    run(&wrong, "status").failed(1, &["Invalid port: OPENCLAW_GATEWAY_PORT"]);
}

#[test]
fn beyond_loopback_only_with_a_secret() {
    let helps = "Set gateway.auth.token/password (or OPENCLAW_GATEWAY_TOKEN/OPENCLAW_GATEWAY_PASSWORD) or pass \
                 --token/--password.";
    let port = free_port();
    for (settings, line) in [
        (unconfigured(RUNTIMES[0]), "gateway --bind lan --auth none --port"),
        (
            with_text(RUNTIMES[0], "{gateway: {mode: 'local', bind: 'lan', auth: {mode: 'none'}}}"),
            "gateway --port",
        ),
    ] {
        run(&settings, &format!("{line} {port}"))
            .failed(1, &["Refusing to bind gateway to lan without auth.\n", helps]);
    }
}

#[test]
fn a_token_and_a_password_need_a_mode() {
    let (token, password) = (secrets::chosen("token"), secrets::chosen("password"));
    let auth = |mode: &str| {
        format!("{{gateway: {{mode: 'local', auth: {{{mode} token: '{token}', password: '{password}'}}}}}}")
    };
    let settings = with_text(RUNTIMES[0], &auth(""));
    run(&settings, "gateway").failed(
        1,
        &[
            "gateway.auth.token and gateway.auth.password are both configured, but gateway.auth.mode is unset",
            "Set gateway.auth.mode to token or password.",
        ],
    );
    for mode in ["token", "password"] {
        let said = stop(start(&with_text(RUNTIMES[0], &auth(&format!("mode: '{mode}',")))));
        assert!(said.contains(&format!("auth     {mode}, from gateway.auth.{mode} in ")), "{said}");
        stop(start(&settings.clone().arg("--auth").arg(mode)));
    }
}

#[test]
fn without_a_shared_secret_devices_are_still_paired() {
    for runtime in RUNTIMES {
        let settings = unconfigured(runtime).arg("--auth").arg("none");
        let gateway = start(&settings);
        let paired = run(&settings, "devices list --json").json()["paired"].clone();
        assert_eq!((paired.as_array().map(Vec::len), &paired[0]["clientId"]), (Some(1), &json!("cli")));
        let said = stop(gateway);
        assert!(said.contains("auth is none: every program on this machine may connect"), "{said}");
        run(&settings, "token").failed(1, &["there is no token yet"]);
    }
}

#[test]
fn a_password_comes_from_a_file_and_a_wrong_one_is_told_what_to_do() {
    for runtime in RUNTIMES {
        let settings = unconfigured(runtime);
        let (file, password) = (settings.state_dir().with_file_name("password"), secrets::chosen("password"));
        fs::write(&file, format!("{password}\n")).unwrap();
        let gateway =
            start(&settings.clone().arg("--auth").arg("password").arg("--password-file").arg(&file));
        let url = format!("--url ws://{}", settings.addr());
        run(&settings, &format!("health {url} --password {password}")).done();
        run(&settings.clone().env("OPENCLAW_GATEWAY_PASSWORD", &password), "health").done();
        run(&settings, &format!("health {url} --password wrong"))
            .failed(4, &["AUTH_PASSWORD_MISMATCH", "--password or OPENCLAW_GATEWAY_PASSWORD"]);
        let said = stop(gateway);
        assert!(said.contains(&format!("auth     password, from the file {}", file.display())), "{said}");
    }
}

#[test]
fn passwords_that_are_missing_are_named() {
    let settings = unconfigured(RUNTIMES[0]);
    let empty = settings.state_dir().with_file_name("empty");
    fs::write(&empty, " \n").unwrap();
    let empty = empty.display();
    run(&settings, "gateway --auth password")
        .failed(1, &["Gateway auth is set to password, but no password is configured.", "pass --password"]);
    run(&settings, "gateway --password x --password-file y")
        .failed(2, &["Use either --password or --password-file."]);
    run(&settings, "gateway --password-file /nonexistent/p").failed(1, &["cannot read /nonexistent/p"]);
    run(&settings, &format!("gateway --password-file {empty}")).failed(1, &["the password file", "is empty"]);
    assert!(!settings.state_dir().exists(), "a refused start leaves nothing behind");
}

#[test]
fn the_token_shown_is_the_one_in_force() {
    let settings = configured(RUNTIMES[0]).env("OPENCLAW_GATEWAY_TOKEN", secrets::chosen("environment"));
    let shown = run_showing(&settings, "token");
    assert!(shown.err.contains("gateway.auth.token in "), "for the gateway the file beats the environment");
    assert_eq!(shown.out.trim_end(), secrets::chosen("gateway-token"));
    let settings = unconfigured(RUNTIMES[0]).env("OPENCLAW_GATEWAY_TOKEN", secrets::chosen("environment"));
    let shown = run_showing(&settings, "token");
    assert!(shown.err.contains("the environment variable OPENCLAW_GATEWAY_TOKEN"), "{shown:?}");
    assert_eq!(shown.out.trim_end(), secrets::chosen("environment"));
}
