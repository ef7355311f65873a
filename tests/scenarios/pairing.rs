//! Devices that come for the first time, come back, change, and wait for a person.

use super::{
    ADMIN, PROTOCOLS, admin, asking, device_ids, from_afar, refused, request_id, speaking, with_token,
};
use clawgate_proto::client::{ClientConfig, DeviceKey, Hello};
use clawgate_proto::config::AuthMode;
use clawgate_proto::net::Cidr;
use clawgate_support::client::Refusal;
use clawgate_support::{Actor, Place, Stage};
use serde_json::json;
use std::net::Ipv4Addr;

pub(crate) fn a_new_device_is_paired_silently_and_comes_back_with_its_token(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let watcher = admin(&mut stage, protocol);
        let key = stage.key();
        let config = asking(&["operator.read"], speaking(protocol, stage.client(Some(key.clone()))));
        let (first, hello) = stage.admit(config.clone());
        let token = hello.device_token().unwrap().to_owned();
        assert_eq!(token.len(), 43);
        let resolved = stage.event(watcher, "device.pair.resolved").value();
        assert_eq!(
            (&resolved["deviceId"], &resolved["decision"]),
            (&json!(key.device_id()), &json!("approved"))
        );
        stage.close(first);

        // The token alone is enough, in either member, and stays the same.
        let writes = stage.host().writes();
        let (again, hello) = stage.admit(with_token(&token, config.clone()));
        assert_eq!(hello.device_token(), Some(token.as_str()));
        assert_eq!(stage.call(again, "status", json!({})).map(|_| ()), Ok(()));
        let mut as_token = config.clone();
        as_token.auth.token = Some(token.clone());
        let (_, hello) = stage.admit(as_token);
        assert_eq!(hello.device_token(), Some(token.as_str()));
        assert_eq!(stage.host().writes(), writes, "coming back writes nothing");

        // A token is nothing in the hands of another device, and grants no more than it was given.
        let other = stage.key();
        let stolen = with_token(&token, speaking(protocol, stage.client(Some(other))));
        assert_eq!(refused(&mut stage, stolen).detail_code(), Some("AUTH_DEVICE_TOKEN_MISMATCH"));
        let wider = asking(&["operator.read", ADMIN], with_token(&token, config));
        assert_eq!(refused(&mut stage, wider).detail_code(), Some("AUTH_SCOPE_MISMATCH"));
    }
}

pub(crate) fn a_changed_platform_asks_again(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key)));
        let (first, _) = stage.admit(config.clone());
        stage.close(first);
        let mut moved = config.clone();
        moved.client.platform = "win32".to_owned();
        let refusal = refused(&mut stage, moved.clone());
        assert_eq!((refusal.code(), refusal.detail_code()), (Some("NOT_PAIRED"), Some("PAIRING_REQUIRED")));
        assert_eq!(refusal.error.as_ref().unwrap().detail("reason"), Some("metadata-upgrade"));
        // As it was before, it is still welcome; as it is now, after somebody said yes.
        stage.admit(config);
        let approver = admin(&mut stage, protocol);
        stage.call(approver, "device.pair.approve", json!({"requestId": request_id(&refusal)})).unwrap();
        stage.admit(moved);
    }
}

/// Compatibility row `metadata-secret`: the id of an app is only said, so it stands for nothing by itself.
pub(crate) fn who_only_says_that_it_is_an_app_asks_for_another_platform(place: Place) {
    for protocol in PROTOCOLS {
        for local_pairs in [true, false] {
            let mut stage = Stage::with(place, |config| config.auth.pairing.local = local_pairs);
            let tool = asking(&[ADMIN], speaking(protocol, stage.client_as("cli", "cli", None)));
            let (admin, _) = stage.admit(tool);
            let key = stage.key();
            let config = asking(&["operator.read"], speaking(protocol, stage.client(Some(key.clone()))));
            if !local_pairs {
                let waits = request_id(&refused(&mut stage, config.clone()));
                stage.call(admin, "device.pair.approve", json!({"requestId": waits})).unwrap();
            }
            let (_, hello) = stage.admit(config.clone());
            // What a person turned down does not come in under another name.
            let mut moved = config.clone();
            moved.client.platform = "win32".to_owned();
            let waits = request_id(&refused(&mut stage, moved.clone()));
            stage.call(admin, "device.pair.reject", json!({"requestId": waits})).unwrap();
            let mut app = asking(
                &["operator.read"],
                speaking(protocol, stage.client_as("openclaw-macos", "ui", Some(key))),
            );
            app.client.platform = "win32".to_owned();
            app.client.device_family = Some("Other".to_owned());
            let refusal = refused(&mut stage, with_token(hello.device_token().unwrap(), app.clone()));
            assert_eq!(refusal.error.as_ref().unwrap().detail("reason"), Some("metadata-upgrade"));
            let list = stage.call(admin, "device.pair.list", json!({})).unwrap();
            assert_ne!(list["paired"][0]["platform"], json!("win32"));
            stage.call(admin, "device.pair.reject", json!({"requestId": request_id(&refusal)})).unwrap();
            // With the shared secret it is as good as a new device of this machine, where those need nobody.
            match stage.try_admit(app) {
                Ok(_) => assert!(local_pairs),
                Err(refusal) => {
                    assert!(!local_pairs);
                    assert_eq!(refusal.error.as_ref().unwrap().detail("reason"), Some("metadata-upgrade"));
                }
            }
        }
    }
}

pub(crate) fn an_operator_approves_what_another_asked_for(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let approver = admin(&mut stage, protocol);
        let key = stage.key();
        let config = from_afar(speaking(protocol, stage.client(Some(key.clone()))));
        let refusal = refused(&mut stage, config.clone());
        let request_id = request_id(&refusal);
        let message = match protocol {
            3 => "pairing required".to_owned(),
            _ => format!("pairing required: device is not approved yet (requestId: {request_id})"),
        };
        assert_eq!(refusal.close(), Some((1008, message.as_str())));
        let requested = stage.event(approver, "device.pair.requested").value();
        assert_eq!(requested["requestId"], json!(request_id));

        // The same question again is the same request, and nobody is told twice.
        assert_eq!(super::request_id(&refused(&mut stage, config.clone())), request_id);
        let list = stage.call(approver, "device.pair.list", json!({})).unwrap();
        assert_eq!(device_ids(&list, "pending"), [key.device_id()]);

        let approved = stage.call(approver, "device.pair.approve", json!({"requestId": request_id})).unwrap();
        assert_eq!(approved["requestId"], json!(request_id));
        assert_eq!(approved["device"]["deviceId"], json!(key.device_id()));
        assert!(!approved.to_string().contains("\"token\""), "an approver does not see tokens");
        let resolved = stage.event(approver, "device.pair.resolved").value();
        assert_eq!((&resolved["requestId"], &resolved["decision"]), (&json!(request_id), &json!("approved")));
        let (_, hello) = stage.admit(config);
        assert!(hello.device_token().is_some());
        let again =
            stage.call(approver, "device.pair.approve", json!({"requestId": request_id})).unwrap_err();
        assert_eq!((again.code.as_str(), again.message.as_str()), ("INVALID_REQUEST", "unknown requestId"));
        let events = stage.drain(approver);
        assert!(!super::event_names(&events).contains(&"device.pair.requested"));
    }
}

pub(crate) fn an_operator_rejects_what_another_asked_for(place: Place) {
    let mut stage = Stage::new(place);
    let approver = admin(&mut stage, 4);
    let key = stage.key();
    let config = from_afar(stage.client(Some(key.clone())));
    let request_id = request_id(&refused(&mut stage, config.clone()));
    // Pairing is not enough to grant what one does not have.
    let pairer = stage.key();
    let pairer = asking(&["operator.pairing"], stage.client(Some(pairer)));
    let (pairer, _) = stage.admit(pairer);
    let beyond = stage.call(pairer, "device.pair.approve", json!({"requestId": request_id})).unwrap_err();
    assert_eq!((beyond.code.as_str(), beyond.detail("code")), ("FORBIDDEN", Some("MISSING_SCOPE")));
    let rejected = stage.call(pairer, "device.pair.reject", json!({"requestId": request_id})).unwrap();
    assert_eq!(rejected, json!({"requestId": request_id, "deviceId": key.device_id()}));
    assert_eq!(stage.event(approver, "device.pair.resolved").value()["decision"], json!("approved"));
    assert_eq!(stage.event(approver, "device.pair.resolved").value()["decision"], json!("rejected"));
    let next = super::request_id(&refused(&mut stage, config));
    assert_ne!(next, request_id, "what was rejected is asked anew");
}

pub(crate) fn a_command_line_without_a_device_keeps_its_scopes(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let config = speaking(protocol, stage.client_as("cli", "cli", None));
        let (cli, hello) = stage.admit(config.clone());
        assert_eq!(hello.device_token(), None);
        stage.call(cli, "device.pair.list", json!({})).unwrap();
        // From afar, or as anybody else, the secret opens the door and grants nothing.
        for config in [from_afar(config), speaking(protocol, stage.client(None))] {
            let (other, _) = stage.admit(config);
            let error = stage.call(other, "status", json!({})).unwrap_err();
            assert_eq!(error.message, "missing scope: operator.read");
            stage.call(other, "health", json!({})).unwrap();
        }
    }
}

/// A proxy that is trusted, at another address of this machine than everybody else.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// Comes through the proxy, from this address.
fn through(stage: &mut Stage, from: &str, mut config: ClientConfig) -> Result<(Actor, Hello), Box<Refusal>> {
    config.headers.push(("X-Forwarded-For".to_owned(), from.to_owned()));
    let actor = stage.open_from(PROXY, config);
    stage.admission(actor).map(|hello| (actor, hello))
}

fn node(stage: &Stage, protocol: u64, key: &DeviceKey) -> ClientConfig {
    let config = speaking(protocol, stage.client_as("node-host", "node", Some(key.clone())));
    ClientConfig {
        role: "node".to_owned(),
        scopes: Vec::new(),
        commands: vec!["system.which".to_owned()],
        ..config
    }
}

/// `node-pairing`.
pub(crate) fn new_nodes_of_a_named_network_are_paired_without_a_person(place: Place) {
    let named = |config: &mut clawgate_proto::config::Config| {
        config.trusted_proxies = vec![Cidr::parse("127.0.0.9").unwrap()];
        config.allowed_origins = vec!["https://desk.example".to_owned()];
        config.auth.pairing.node_ranges = vec![Cidr::parse("192.0.2.0/24").unwrap()];
    };
    let (inside, outside) = ("192.0.2.7", "203.0.113.7");
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, named);
        let operator = admin(&mut stage, 4);
        let waits = |came: Result<(Actor, Hello), Box<Refusal>>| {
            assert_eq!(came.map(|_| ()).unwrap_err().detail_code(), Some("PAIRING_REQUIRED"));
        };
        let key = stage.key();
        let config = node(&stage, protocol, &key);
        let (socket, hello) = through(&mut stage, inside, config.clone()).unwrap();
        assert!(hello.device_token().is_some());
        // What it offers waits for a person, now and when it comes back, by either protocol.
        for again in [false, true] {
            if again {
                stage.close(socket);
                let older = node(&stage, 7 - protocol, &key);
                through(&mut stage, inside, older).unwrap();
            }
            let shown = stage.call(operator, "node.describe", json!({"nodeId": key.device_id()})).unwrap();
            assert_eq!(
                (&shown["commands"], &shown["approvalState"]),
                (&json!([]), &json!("pending-approval"))
            );
        }
        // Nobody else is let in by it.
        let key = stage.key();
        let config = node(&stage, protocol, &key);
        waits(through(&mut stage, outside, config.clone()));
        waits(through(&mut stage, inside, config));
        for change in [
            (|config| asking(&["operator.read"], config)) as fn(ClientConfig) -> ClientConfig,
            |config| ClientConfig { role: "operator".to_owned(), commands: Vec::new(), ..config },
            |config| ClientConfig { origin: Some("https://desk.example".to_owned()), ..config },
        ] {
            let key = stage.key();
            let config = change(node(&stage, protocol, &key));
            waits(through(&mut stage, inside, config));
        }
        let key = stage.key();
        let mut guess = node(&stage, protocol, &key);
        guess.auth.token = Some("cLaWmArKeR-guess".to_owned());
        assert!(through(&mut stage, inside, guess).is_err());
        // Whose word nobody takes.
        let mut claims = node(&stage, protocol, &key);
        claims.headers.push(("X-Forwarded-For".to_owned(), inside.to_owned()));
        assert_eq!(refused(&mut stage, claims).detail_code(), Some("PAIRING_REQUIRED"));
        // A device that somebody knows as something else.
        let known = stage.key();
        stage.admit(speaking(protocol, stage.client(Some(known.clone()))));
        let config = node(&stage, protocol, &known);
        waits(through(&mut stage, inside, config));
        // An address alone lets nobody in.
        let mut open = Stage::with(place, |config| {
            named(config);
            config.auth.mode = AuthMode::None;
        });
        let key = open.key();
        let config = node(&open, protocol, &key);
        waits(through(&mut open, inside, config));
    }
}

/// `node-pairing`.
pub(crate) fn programs_of_this_machine_wait_where_their_owner_says_so(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| config.auth.pairing.local = false);
        let (key, other) = (stage.key(), stage.key());
        let config = asking(&["operator.read"], speaking(protocol, stage.client(Some(key))));
        let refusal = refused(&mut stage, config.clone());
        assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"));
        let host = node(&stage, protocol, &other);
        assert_eq!(refused(&mut stage, host).detail_code(), Some("PAIRING_REQUIRED"));
        // The command line has no device, and can say yes.
        let tool = asking(&[ADMIN], speaking(protocol, stage.client_as("cli", "cli", None)));
        let (tool, _) = stage.admit(tool);
        stage.call(tool, "device.pair.approve", json!({"requestId": request_id(&refusal)})).unwrap();
        stage.admit(config.clone());
        let wider = asking(&["operator.read", "operator.write"], config);
        assert_eq!(refused(&mut stage, wider).detail_code(), Some("PAIRING_REQUIRED"));
    }
}
