//! Somebody else edits the device store under a running program, as the reference's command line does when it
//! works on the files by itself: what they wrote is noticed, what they wrote stays, and whoever lost their ground
//! by it is cut off.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_proto::client::DeviceKey;
use clawgate_proto::host::Document::{DevicesPaired, DevicesPending};
use clawgate_support::client::{Credential, device, fresh_key};
use clawgate_support::secrets;
use clawgate_support::{Program, TestClient, state};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(20);

struct Stage {
    program: Program,
    dir: PathBuf,
    /// Somebody who asks for things; never edited away.
    asker: TestClient,
}

impl Stage {
    fn new(runtime: &str) -> Self {
        let program = Program::start(env!("CARGO_BIN_EXE_clawgate"), runtime);
        let dir = program.settings().state_dir();
        let config = device(program.addr(), &fresh_key(), Credential::Shared(&program.token()));
        let asker = TestClient::connect(program.addr(), config).unwrap();
        Self { program, dir, asker }
    }

    /// A device that is paired and connected, with its token.
    fn paired(&self) -> (DeviceKey, String, TestClient) {
        let key = fresh_key();
        let config = device(self.program.addr(), &key, Credential::Shared(&self.program.token()));
        let client = TestClient::connect(self.program.addr(), config).unwrap();
        let token = client.device_token().unwrap().to_owned();
        (key, token, client)
    }

    /// Connects with a device token: `Ok`, or the refusal's `details.code`.
    fn comes_in(&self, key: &DeviceKey, token: &str) -> Result<(), String> {
        let config = device(self.program.addr(), key, Credential::Device(token));
        match TestClient::connect(self.program.addr(), config) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal.detail_code().unwrap_or("none").to_owned()),
        }
    }

    /// Pairs a device, which has the gateway write the store.
    fn write(&self) {
        drop(self.paired());
    }

    fn list(&mut self) -> Value {
        self.asker.call("device.pair.list", json!({})).unwrap()
    }

    fn lists(&mut self, kind: &str, member: &str, value: &str) -> bool {
        self.list()[kind].as_array().unwrap().iter().any(|row| row[member] == value)
    }
}

fn removed_and_revoked(runtime: &str) {
    let mut stage = Stage::new(runtime);
    let (removed, removed_token, mut removed_client) = stage.paired();
    let (revoked, revoked_token, mut revoked_client) = stage.paired();
    let (_, _, mut bystander) = stage.paired();
    state::edit(&stage.dir, DevicesPaired, |paired| {
        paired.as_object_mut().unwrap().remove(removed.device_id());
        paired[revoked.device_id()]["tokens"]["operator"]["revokedAtMs"] = json!(1_795_336_353_595_u64);
    });
    // Whatever looks at the store next notices.
    assert!(!stage.lists("paired", "deviceId", removed.device_id()));
    for client in [&mut removed_client, &mut revoked_client] {
        let closed = client.wait_closed(BOUND).expect("the socket is still open");
        assert_eq!((closed.code, closed.reason.as_str()), (4001, "device removed"));
    }
    assert_eq!(bystander.call("health", json!({})).unwrap()["ok"], true);
    for (key, token) in [(&removed, &removed_token), (&revoked, &revoked_token)] {
        assert_eq!(stage.comes_in(key, token), Err("AUTH_DEVICE_TOKEN_MISMATCH".to_owned()));
    }
    // What they wrote stays.
    stage.write();
    let found = state::devices(&stage.dir).unwrap();
    assert!(!found.paired.contains_key(removed.device_id()));
    let tokens = found.paired[revoked.device_id()].tokens.as_ref().unwrap();
    assert_eq!(tokens["operator"].revoked_at_ms, Some(1_795_336_353_595));
}

fn added_and_unknown(runtime: &str) {
    let stage = Stage::new(runtime);
    let (known, known_token, _client) = stage.paired();
    let (newcomer, token) = (fresh_key(), secrets::chosen("theirs"));
    state::edit(&stage.dir, DevicesPaired, |paired| {
        paired[known.device_id()]["theirField"] = json!({ "kept": [1, 2] });
        paired[known.device_id()]["displayName"] = json!("named by them");
        paired[newcomer.device_id()] = json!({
            "deviceId": newcomer.device_id(),
            "publicKey": newcomer.public_key_base64url(),
            "platform": "linux",
            "clientId": "cli",
            "clientMode": "cli",
            "role": "operator",
            "roles": ["operator"],
            "scopes": ["operator.admin"],
            "approvedScopes": ["operator.admin"],
            "tokens": { "operator": {
                "token": token,
                "role": "operator",
                "scopes": ["operator.admin"],
                "createdAtMs": 1,
                "theirs": true,
            } },
            "createdAtMs": 1,
            "approvedAtMs": 1,
        });
    });
    // The device they added comes in with the token they gave it, and nothing of theirs is lost by our next write.
    assert_eq!(stage.comes_in(&newcomer, &token), Ok(()));
    stage.write();
    assert_eq!(stage.comes_in(&newcomer, &token), Ok(()));
    assert_eq!(stage.comes_in(&known, &known_token), Ok(()));
    let paired = state::json(&stage.dir, DevicesPaired);
    assert_eq!(paired[known.device_id()]["theirField"], json!({ "kept": [1, 2] }));
    assert_eq!(paired[known.device_id()]["displayName"], "named by them");
    assert_eq!(paired[newcomer.device_id()]["tokens"]["operator"]["theirs"], true);
}

fn decided_for_us(runtime: &str) {
    let mut stage = Stage::new(runtime);
    // A node asks for more than it may have by itself, so that somebody must decide.
    let keys = [fresh_key(), fresh_key()];
    let ids = keys.each_ref().map(|key| {
        let mut config = device(stage.program.addr(), key, Credential::Shared(&stage.program.token()));
        config.headers.push(("X-Forwarded-For".to_owned(), "192.0.2.1".to_owned()));
        let refusal = TestClient::connect(stage.program.addr(), config).unwrap_err();
        let error = refusal.error.as_ref().unwrap();
        assert_eq!(error.code, "NOT_PAIRED", "{error}");
        error.detail("requestId").unwrap().to_owned()
    });
    assert!(ids.iter().all(|id| state::devices(&stage.dir).unwrap().pending.contains_key(id)));
    // They approve the first by hand and turn the second away.
    let request = state::json(&stage.dir, DevicesPending)[&ids[0]].clone();
    let token = secrets::chosen("approved-by-them");
    state::edit(&stage.dir, DevicesPending, |pending| {
        ids.iter().for_each(|id| drop(pending.as_object_mut().unwrap().remove(id)));
    });
    state::edit(&stage.dir, DevicesPaired, |paired| {
        let mut record = json!({ "createdAtMs": 2, "approvedAtMs": 2, "approvedScopes": request["scopes"] });
        for member in
            ["deviceId", "publicKey", "platform", "clientId", "clientMode", "role", "roles", "scopes"]
        {
            record[member] = request[member].clone();
        }
        record["tokens"] = json!({ "operator": {
            "token": token, "role": "operator", "scopes": request["scopes"], "createdAtMs": 2,
        } });
        paired[keys[0].device_id()] = record;
    });
    for id in &ids {
        assert!(!stage.lists("pending", "requestId", id));
        let fault = stage.asker.call("device.pair.approve", json!({ "requestId": id })).unwrap_err();
        assert_eq!(fault["code"], "INVALID_REQUEST", "{fault}");
    }
    assert_eq!(stage.comes_in(&keys[0], &token), Ok(()));
    stage.write();
    let found = state::devices(&stage.dir).unwrap();
    assert!(
        found.paired.contains_key(keys[0].device_id()) && !found.paired.contains_key(keys[1].device_id())
    );
    assert!(ids.iter().all(|id| !found.pending.contains_key(id)));
}

/// A store that cannot be read decides nothing and is left as it is, until somebody repairs it.
fn broken_and_repaired(runtime: &str) {
    let mut stage = Stage::new(runtime);
    let (key, token, mut client) = stage.paired();
    let good = std::fs::read(state::path(&stage.dir, DevicesPaired)).unwrap();
    let half = &good[..good.len() / 2];
    state::replace(&stage.dir, DevicesPaired, half);
    let fault = stage.asker.call("device.pair.list", json!({})).unwrap_err();
    assert_eq!(fault["code"], "UNAVAILABLE", "{fault}");
    let said = fault["message"].as_str().unwrap();
    assert!(said.contains("devices/paired.json") && said.contains("left as it is"), "{said}");
    let config = device(stage.program.addr(), &fresh_key(), Credential::Shared(&stage.program.token()));
    let refusal = TestClient::connect(stage.program.addr(), config).unwrap_err();
    assert_eq!(refusal.code(), Some("UNAVAILABLE"), "{refusal:?}");
    assert_eq!(std::fs::read(state::path(&stage.dir, DevicesPaired)).unwrap(), half, "it was overwritten");
    // Sockets that are open go on.
    assert_eq!(client.call("health", json!({})).unwrap()["ok"], true);
    state::replace(&stage.dir, DevicesPaired, &good);
    assert_eq!(stage.comes_in(&key, &token), Ok(()));
    stage.write();
    assert!(state::devices(&stage.dir).unwrap().paired.contains_key(key.device_id()));
}

/// Both write in turns, many times: nobody's devices are lost. (Neither takes a lock, so edits made in the very
/// moment between the other's look and its rename are outside of what anybody can promise.)
fn in_turns(runtime: &str) {
    let stage = Stage::new(runtime);
    let mut ours = Vec::new();
    for number in 0..10 {
        let (key, token, _) = stage.paired();
        ours.push((key, token));
        state::edit(&stage.dir, DevicesPaired, |paired| {
            let id = format!("theirs-{number}");
            paired[&id] = json!({ "deviceId": id, "publicKey": "", "createdAtMs": 1, "approvedAtMs": 1 });
        });
    }
    stage.write();
    let found = state::devices(&stage.dir).unwrap();
    assert!((0..10).all(|number| found.paired.contains_key(&format!("theirs-{number}"))));
    for (key, token) in &ours {
        assert_eq!(stage.comes_in(key, token), Ok(()));
    }
}

macro_rules! on_both {
    ($($test:ident: $scenario:ident,)*) => {
        #[cfg(feature = "std")]
        mod std_driver {
            $(#[test] fn $test() { super::$scenario("std"); })*
        }
        #[cfg(feature = "smol")]
        mod smol_driver {
            $(#[test] fn $test() { super::$scenario("smol"); })*
        }
    };
}

on_both! {
    a_removed_and_a_revoked_device_are_cut_off: removed_and_revoked,
    added_devices_and_unknown_fields_are_kept: added_and_unknown,
    requests_decided_by_somebody_else_are_decided: decided_for_us,
    a_broken_store_decides_nothing_and_is_left_alone: broken_and_repaired,
    writing_in_turns_loses_nothing: in_turns,
}
