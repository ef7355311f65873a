//! `devices`: a device that comes from elsewhere waits, is approved or turned away, and loses its tokens.

use crate::RUNTIMES;
use crate::shell::{configured, run, run_showing, start, stop, unconfigured};
use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_support::{Program, Refusal, Settings, TestClient, client, secrets};
use serde_json::{Value, json};
use std::time::Duration;

/// A client that a proxy nobody trusts brings: it counts as remote, and is paired only by a person.
fn remote(gateway: &Program, key: &DeviceKey, device_token: Option<&str>) -> ClientConfig {
    let shared = gateway.token();
    let mut config = client::config(gateway.addr(), Some(&shared), Some(key.clone()));
    config.scopes = vec!["operator.read".to_owned(), "operator.write".to_owned()];
    config.headers.push(("X-Forwarded-For".to_owned(), "203.0.113.7".to_owned()));
    if let Some(token) = device_token {
        config.auth.token = None;
        config.auth.device_token = Some(token.to_owned());
    }
    config
}

/// Asking for less.
fn narrow(config: ClientConfig) -> ClientConfig {
    ClientConfig { scopes: vec!["operator.read".to_owned()], ..config }
}

fn knock(gateway: &Program, config: ClientConfig) -> Result<TestClient, Box<Refusal>> {
    TestClient::connect(gateway.addr(), config)
}

/// Asks to be let in, and returns the id of the request that now waits.
fn ask(gateway: &Program, key: &DeviceKey) -> String {
    let refusal = knock(gateway, remote(gateway, key, None)).map(drop).unwrap_err();
    assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"), "{refusal:?}");
    refusal.error.unwrap().detail("requestId").unwrap().to_owned()
}

fn list(settings: &Settings) -> Value {
    let list = run(settings, "devices list --json");
    list.done();
    list.json()
}

fn paired_ids(settings: &Settings) -> Vec<Value> {
    list(settings)["paired"].as_array().unwrap().iter().map(|device| device["deviceId"].clone()).collect()
}

#[test]
fn a_device_is_approved_rotated_revoked_and_removed() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let key = client::fresh_key();
        let device = key.device_id();
        let request = ask(&gateway, &key);
        assert_eq!(ask(&gateway, &key), request, "asking again is the same request");

        let waiting = run(&settings, "devices list");
        for want in
            ["waiting for approval", "REQUEST", &request, device, "operator.read, operator.write", "paired\n"]
        {
            assert!(waiting.done().contains(want), "{want} not in {waiting:?}");
        }
        assert_eq!(list(&settings)["pending"][0]["requestId"], json!(request));
        let approved = run(&settings, &format!("devices approve {request}"));
        assert_eq!(approved.done(), format!("approved {device}, test (linux)\n"));
        assert_eq!(list(&settings)["pending"], json!([]));
        assert!(paired_ids(&settings).contains(&json!(device)));

        let mut admitted = knock(&gateway, remote(&gateway, &key, None)).unwrap();
        let first = admitted.device_token().unwrap().to_owned();
        // A token is shown to the device it belongs to, and to nobody else.
        let rotated =
            run(&settings, &format!("devices rotate --device {device} --scope operator.read --json"));
        rotated.done();
        assert_eq!(rotated.json()["scopes"], json!(["operator.read"]));
        assert_eq!(rotated.json()["tokenDelivery"], json!("withheld-cross-device"));
        assert!(admitted.wait_closed(BOUND).is_some(), "a token that is replaced ends what it opened");
        let rotated = run(&settings, &format!("devices rotate --device {device} --scope operator.read"));
        assert!(
            rotated.done().contains("it gets the new one when it connects with the gateway's own"),
            "{rotated:?}"
        );
        let refusal = knock(&gateway, narrow(remote(&gateway, &key, Some(&first)))).map(drop).unwrap_err();
        assert_eq!(refusal.detail_code(), Some("AUTH_DEVICE_TOKEN_MISMATCH"), "{refusal:?}");
        let admitted = knock(&gateway, narrow(remote(&gateway, &key, None))).unwrap();
        let second = admitted.device_token().unwrap().to_owned();
        assert_ne!(first, second);
        admitted.close(1000, "");
        knock(&gateway, narrow(remote(&gateway, &key, Some(&second)))).unwrap().close(1000, "");

        let revoked = run(&settings, &format!("devices revoke --device {device}"));
        assert_eq!(revoked.done(), format!("revoked the operator token of {device}\n"));
        assert!(run(&settings, "devices list").done().contains("operator (revoked)"));
        let refusal = knock(&gateway, narrow(remote(&gateway, &key, Some(&second)))).map(drop).unwrap_err();
        assert_eq!(refusal.detail_code(), Some("AUTH_DEVICE_TOKEN_MISMATCH"), "{refusal:?}");

        let mut admitted = knock(&gateway, remote(&gateway, &key, None)).unwrap();
        let removed = run(&settings, &format!("devices remove {device}"));
        assert_eq!(removed.done(), format!("removed {device}\n"));
        assert_eq!(admitted.wait_closed(BOUND).map(|closed| closed.code), Some(4001));
        assert!(!paired_ids(&settings).contains(&json!(device)));
        run(&settings, &format!("devices remove {device}")).failed(5, &["Gateway call failed: "]);
        run(&settings, &format!("devices revoke --device {device}")).failed(5, &["Gateway call failed: "]);
        stop(gateway);
    }
}

#[test]
fn a_request_is_rejected_and_the_latest_is_approved() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let keys = [client::fresh_key(), client::fresh_key()];
        let requests = keys.each_ref().map(|key| ask(&gateway, key));
        let rejected = run(&settings, &format!("devices reject {}", requests[0]));
        assert_eq!(rejected.done(), format!("rejected {}\n", keys[0].device_id()));
        run(&settings, &format!("devices approve {}", requests[0])).failed(5, &["unknown requestId"]);
        let approved = run(&settings, "devices approve --latest --json");
        approved.done();
        assert_eq!(approved.json()["device"]["deviceId"], json!(keys[1].device_id()));
        assert_eq!((list(&settings)["pending"].clone(), paired_ids(&settings).len()), (json!([]), 2));
        knock(&gateway, remote(&gateway, &keys[1], None)).unwrap();
        stop(gateway);
    }
}

/// This machine's own token is rotated over a connection that it opened: the next command uses the new one.
#[test]
fn a_command_line_that_rotates_its_own_token_holds_the_new_one() {
    let token = secrets::chosen("flag");
    let settings = unconfigured(RUNTIMES[0]);
    let gateway = start(&settings.clone().arg("--token").arg(&token));
    run(&settings, "status").failed(4, &["AUTH_TOKEN_MISSING", "The gateway asks for its token.", "--token"]);
    run(&settings, &format!("status --token {token}")).done();
    let held = || {
        let text = std::fs::read(settings.state_dir().join("identity/device-auth.json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()
    };
    let (before, device) = (held(), held()["deviceId"].as_str().unwrap().to_owned());
    secrets::record_tokens(&before);
    // Nothing but the device token lets these in.
    let rotated = run(&settings, &format!("devices rotate --device {device}"));
    assert!(
        rotated.done().starts_with(&format!("rotated the operator token of {device} (scopes: "))
            && rotated.out.lines().count() == 1,
        "{rotated:?}"
    );
    assert_ne!(held()["tokens"]["operator"]["token"], before["tokens"]["operator"]["token"]);
    run(&settings, "status").done();
    let rotated = run_showing(&settings, &format!("devices rotate --device {device} --json"));
    assert_eq!((rotated.code, &rotated.json()["token"]), (0, &held()["tokens"]["operator"]["token"]));
    // Without its token it is told so.
    run(&settings, &format!("devices revoke --device {device}")).done();
    run(&settings, "status").failed(4, &["AUTH_DEVICE_TOKEN_MISMATCH", "replaced or revoked", "--token"]);
    run(&settings, &format!("status --token {token}")).done();
    run(&settings, "status").done();
    stop(gateway);
}

const BOUND: Duration = Duration::from_secs(10);
