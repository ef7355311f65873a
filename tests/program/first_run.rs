//! What a start does to the configuration file: makes it, completes it, leaves it alone, refuses it.

use crate::RUNTIMES;
use crate::shell::{config_text, configured, run, run_showing, start, stop, unconfigured, with_text};
use clawgate_support::secrets;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_start_makes_a_private_file_with_a_token_and_the_second_keeps_it() {
    for runtime in RUNTIMES {
        let settings = unconfigured(runtime);
        run(&settings, "token").failed(1, &["there is no token yet", "clawgate gateway"]);
        let path = settings.config_path();
        assert!(!path.exists(), "only a gateway makes the file");

        let said = stop(start(&settings));
        let text = config_text(&settings);
        let config: Value = serde_json::from_str(&text).unwrap();
        let token = config["gateway"]["auth"]["token"].as_str().unwrap();
        assert!(token.len() == 48 && token.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        let modes = [&config["gateway"]["mode"], &config["gateway"]["auth"]["mode"]];
        assert_eq!(modes, ["local", "token"]);
        assert_eq!((mode(&path), mode(&settings.state_dir())), (0o600, 0o700));
        let url = format!("ws://{}", settings.addr());
        let wrote = format!("there was no config file; wrote {} with a new token", path.display());
        for want in [
            wrote.as_str(),
            url.as_str(),
            *runtime,
            "clawgate status",
            "clawgate token",
            "openclaw gateway status",
        ] {
            assert!(said.contains(want), "{want} not in {said}");
        }

        let shown = run_showing(&settings, "token");
        assert_eq!((shown.code, shown.out.trim_end()), (0, token));
        assert!(shown.err.contains(&format!("gateway.auth.token in {}", path.display())), "{shown:?}");
        let shown = run_showing(&settings, "token --json").json();
        assert_eq!([&shown["token"], &shown["mode"]], [token, "token"]);

        let said = stop(start(&settings));
        assert!(!said.contains("wrote"), "{said}");
        assert_eq!(config_text(&settings), text);
    }
}

#[test]
fn a_first_start_that_fails_still_says_what_it_wrote() {
    let settings = unconfigured(RUNTIMES[0]);
    let taken = std::net::TcpListener::bind(settings.addr()).unwrap();
    let ran = run(&settings, &format!("gateway --port {}", settings.addr().port()));
    drop(taken);
    ran.failed(1, &["another gateway instance is already listening on ws://127.0.0.1:", "--port", "wrote"]);
    assert!(settings.config_path().exists());
}

#[test]
fn a_file_for_another_mode_is_refused_and_left_alone() {
    for (text, current) in
        [("{}", "unset"), ("", "unset"), ("{gateway: {mode: 'remote', port: 5}}", "remote")]
    {
        let settings = with_text(RUNTIMES[0], text);
        let sentence = format!(
            "Gateway start blocked: set gateway.mode=local (current: {current}) or pass --allow-unconfigured.\n"
        );
        let ran = run(&settings, "gateway");
        ran.failed(1, &[]);
        assert_eq!(ran.err, sentence);
        assert_eq!(config_text(&settings), text);
    }
}

#[test]
fn allow_unconfigured_passes_and_changes_nothing_else() {
    for runtime in RUNTIMES {
        let token = secrets::chosen("remote");
        let text = format!("{{gateway: {{mode: 'remote', auth: {{token: '{token}'}}}}, agents: {{x: 1}}}}");
        let settings = with_text(runtime, &text);
        let said = stop(start(&settings.clone().arg("--allow-unconfigured")));
        assert!(said.contains("auth     token, from gateway.auth.token in "), "{said}");
        assert_eq!(config_text(&settings), text);
    }
    // Every other refusal stands.
    let settings = with_text(RUNTIMES[0], "{gateway: {mode: 'remote'}}");
    run(&settings, "gateway --allow-unconfigured --bind lan --auth none")
        .failed(1, &["Refusing to bind gateway to lan without auth."]);
}

#[test]
fn a_file_without_a_token_gets_one_and_keeps_everything_else() {
    let old = "// by hand\n{channels: {z: [1, {deep: true}]}, gateway: {port: 5, mode: 'local', nodes: {}}, plugins: {a: 'last'}}";
    let settings = with_text(RUNTIMES[0], old);
    let said = stop(start(&settings));
    assert!(said.contains("Gateway auth token was missing. Generated a new token and saved it"), "{said}");
    let text = config_text(&settings);
    let token = serde_json::from_str::<Value>(&text).unwrap()["gateway"]["auth"]["token"].clone();
    let places = [
        "\"z\"",
        "\"deep\"",
        "\"port\": 5",
        "\"mode\": \"local\"",
        "\"nodes\"",
        "\"auth\"",
        "\"a\": \"last\"",
    ];
    let places: Vec<usize> =
        places.iter().map(|name| text.find(name).unwrap_or_else(|| panic!("{name} in {text}"))).collect();
    assert!(token.as_str().is_some_and(|token| token.len() == 48) && places.is_sorted(), "{text}");
    let backup = settings.config_path().with_file_name("openclaw.json.bak");
    assert_eq!(fs::read_to_string(&backup).unwrap(), old);
    assert_eq!((mode(&backup), mode(&settings.config_path())), (0o600, 0o600));
}

#[test]
fn a_file_that_makes_no_sense_is_named_and_nothing_of_it_shown() {
    let secret = secrets::chosen("broken");
    let deep = "[".repeat(200_000);
    for (text, said) in [
        (format!("{{\n  token: '{secret}' oops\n}}"), "- line 2, column "),
        (format!("{{gateway: {{auth: {{token: '{secret}"), "not valid JSON5"),
        (deep.clone(), "- it nests deeper than 128 levels"),
        (format!("{{x: '{secret}', y: {}", "{a:".repeat(200_000)), "- it nests deeper than 128 levels"),
        ("[]".to_owned(), "- <root>: the file holds a list, expected an object"),
    ] {
        let settings = with_text(RUNTIMES[0], &text);
        let place = format!("Invalid config at {}.\n", settings.config_path().display());
        for line in ["gateway", "status", "token"] {
            run(&settings, line).failed(1, &[&place, said]);
        }
        assert_eq!(config_text(&settings), text);
    }
    let settings = configured(RUNTIMES[0]);
    fs::write(settings.state_dir().join("clawgate.json"), &deep).unwrap();
    run(&settings, "gateway").failed(1, &["clawgate.json.\n- it nests deeper than 128 levels"]);
}

#[test]
fn every_bad_value_is_named_with_its_path_and_what_is_allowed() {
    let text =
        "{gateway: {mode: 'local', port: 70000, bind: 'everywhere', auth: {mode: 'magic', token: 42}}}";
    run(&with_text(RUNTIMES[0], text), "gateway").failed(
        1,
        &[
            "- gateway.port: found 70000, expected a whole number from 1 to 65535",
            "- gateway.bind: found \"everywhere\", expected one of \"loopback\", \"lan\"",
            "- gateway.auth.mode: found a text of 5 characters, expected one of \"none\", \"token\", \"password\"",
            "- gateway.auth.token: found a number, expected a text",
        ],
    );
    let settings = configured(RUNTIMES[0]);
    fs::write(settings.state_dir().join("clawgate.json"), "{limits: {socketsMax: 1, socketMax: 9}}").unwrap();
    run(&settings, "gateway").failed(
        1,
        &[
            "- limits.socketMax: unknown; known are ",
            "- limits.socketsMax: found 1, expected a whole number from 4",
        ],
    );
}
