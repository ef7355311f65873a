//! The configuration of a running gateway: `clawgate config`, `config.*` over the wire, and files that others change.

use crate::RUNTIMES;
use crate::shell::{configured, run, start, stop, with_text};
use clawgate_support::TestClient;
use clawgate_support::client::{Credential, device, fresh_key};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let bound = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < bound, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_running_gateway_follows_its_file_and_a_bad_one_changes_nothing() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let path = settings.config_path();
        let shown = run(&settings, "call config.get");
        let shown: Value = serde_json::from_str(shown.done()).unwrap();
        assert_eq!((&shown["valid"], &shown["path"]), (&json!(true), &json!(path.to_str().unwrap())));
        // Over the wire: durable, with a backup, and what must wait for a restart is told.
        let raw = "{gateway: {reload: {mode: 'hot'}, tailscale: {mode: 'serve'}}}";
        let params = json!({"raw": raw, "baseHash": shown["hash"]});
        let line = format!("call config.patch --params {}", params.to_string().replace(' ', ""));
        let patched: Value = serde_json::from_str(run(&settings, &line).done()).unwrap();
        assert_eq!(patched["restart"]["required"], json!(["gateway.tailscale.mode"]));
        assert_eq!(patched["restart"]["ok"], false, "nothing restarts by itself in that mode");
        assert!(fs::read_to_string(&path).unwrap().contains("\"mode\": \"serve\""));
        assert!(path.with_file_name("openclaw.json.bak").exists());
        let config = device(gateway.addr(), &fresh_key(), Credential::Shared(&gateway.token()));
        let mut client = TestClient::connect(gateway.addr(), config).unwrap();
        // A file that cannot be used: the gateway goes on, and the log names the fault.
        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, "{gateway: {mode: 'local', prot: 1}}").unwrap();
        let fault = run(&settings, "config validate");
        fault.failed(1, &["gateway: Unrecognized key: \"prot\"; did you mean \"port\"?"]);
        until("the log to name the fault", || gateway.output().contains("config.invalid"));
        let mut told = || client.call("status", json!({})).unwrap()["gateway"]["configFault"].clone();
        until("status to name it too", || !told().is_null());
        let fault = told();
        assert_eq!((&fault["line"], &fault["key"]), (&json!(1), &json!("gateway")));
        assert!(fault["file"] == json!(path) && fault["message"].to_string().contains("prot"), "{fault}");
        fs::write(&path, &good).unwrap();
        until("a mended file", || gateway.output().contains("mended=true"));
        run(&settings, "health").done();
        // What is changed by the command line is taken over at once.
        run(&settings, "config set gateway.controlUi.allowedOrigins [\"https://desk.example\"]").done();
        until("what is in force", || gateway.output().contains("config.in-force"));
        let said = stop(gateway);
        assert!(said.contains("config.invalid") && said.contains("did you mean"), "{said}");
        assert!(said.contains("config.in-force"), "{said}");
    }
}

#[test]
fn what_a_start_would_warn_of_is_told_of_a_file_that_it_would_take() {
    let settings = with_text(RUNTIMES[0], "{gateway: {mode: 'local', trustedProxies: ['foo']}}");
    let said = run(&settings, "config validate");
    assert!(said.done().starts_with("Config valid: "), "{said:?}");
    assert_eq!(said.out.matches("- warning: gateway.trustedProxies").count(), 1, "{said:?}");
    let shown = run(&settings, "config validate --json").json();
    assert_eq!(
        (&shown["valid"], &shown["warnings"][0]["path"]),
        (&json!(true), &json!("gateway.trustedProxies"))
    );
    // And of one that it would not take, as the file of a client, which this is not.
    let settings = with_text(RUNTIMES[0], "{gateway: {mode: 'remote'}}");
    let ran = run(&settings, "config validate --json");
    assert_eq!((ran.code, &ran.json()["issues"][0]["path"]), (1, &json!("gateway.mode")), "{ran:?}");
}

#[test]
fn a_clients_file_leads_to_its_gateway() {
    for runtime in RUNTIMES {
        let gateway = start(&configured(runtime));
        let remote = json!({"url": format!("ws://{}", gateway.addr()), "token": gateway.token()});
        let config = json!({"gateway": {"mode": "remote", "remote": remote}});
        let settings = with_text(runtime, &config.to_string());
        assert_eq!(run(&settings, "health --json").json()["ok"], true);
        // The secret is for that address only.
        let elsewhere = settings.clone().env("OPENCLAW_GATEWAY_URL", format!("ws://{}", gateway.addr()));
        assert_ne!(run(&elsewhere, "health").code, 0);
        stop(gateway);
    }
}
