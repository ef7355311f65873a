//! One node, one connection.
//!
//! The row of `docs/compatibility.md` that is held here: `node-rivals`.

use super::invoke::{approve, ask, asked, failed, offering, says};
use super::{PROTOCOLS, admin, refused};
use clawgate_support::{Place, Stage};
use serde_json::json;

pub(crate) fn the_latest_connection_of_a_node_is_the_node(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let key = stage.key();
        let config = offering(&stage, protocol, &key, &["system.which"]);
        let (first, _) = stage.admit(config.clone());
        approve(&mut stage, operator, key.device_id());
        let params = ask(key.device_id(), "system.which", json!({}));
        let id = stage.send(operator, "node.invoke", params.clone());
        asked(&mut stage, first);
        let (second, _) = stage.admit(config);
        let (code, reason) = stage.closed(first);
        let told = "node replaced: another connection with this identity took its place";
        assert_eq!((code, reason.as_str()), (4001, told));
        assert_eq!(failed(&mut stage, operator, &id).message, "Error: node disconnected (system.which)");
        // The end of the first takes nothing from the second.
        stage.pass(100);
        let row = stage.call(operator, "node.describe", json!({"nodeId": key.device_id()})).unwrap();
        assert_eq!((&row["connected"], &row["commands"]), (&json!(true), &json!(["system.which"])));
        let presence = stage.call(operator, "system-presence", json!({})).unwrap();
        let rows = presence.as_array().unwrap();
        let row = rows.iter().find(|row| row["deviceId"] == key.device_id()).unwrap();
        assert_eq!(row["reason"], "connect");
        let id = stage.send(operator, "node.invoke", params);
        let request = asked(&mut stage, second);
        says(&mut stage, second, &request, json!({"ok": true}));
        assert!(stage.answer(operator, &id).unwrap().into_result().is_ok());
    }
}

/// Two machines with one identity that come back whenever they are turned out.
pub(crate) fn two_machines_with_one_identity_do_not_go_on_for_ever(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let key = stage.key();
        let config = offering(&stage, protocol, &key, &["system.which"]);
        let (mut here, _) = stage.admit(config.clone());
        approve(&mut stage, operator, key.device_id());
        for _ in 0..3 {
            let (next, _) = stage.admit(config.clone());
            assert_eq!(stage.closed(here).0, 4001);
            here = next;
        }
        for _ in 0..2 {
            let refusal = refused(&mut stage, config.clone());
            let error = refusal.error.unwrap();
            assert_eq!(
                (error.code.as_str(), error.detail("code")),
                ("UNAVAILABLE", Some("NODE_CONNECTED_ELSEWHERE"))
            );
            assert!(error.message.contains("two machines use one identity"), "{}", error.message);
            assert!((1..=30_000).contains(&error.retry_after_ms.unwrap()) && error.retryable == Some(true));
            let closed = refusal.closed.unwrap();
            assert_eq!((closed.code, closed.reason.as_str()), (1013, "node connected from elsewhere"));
        }
        // The one that is here works.
        let id = stage.send(operator, "node.invoke", ask(key.device_id(), "system.which", json!({})));
        let request = asked(&mut stage, here);
        says(&mut stage, here, &request, json!({"ok": true}));
        assert!(stage.answer(operator, &id).unwrap().into_result().is_ok());
        // Once it leaves, nobody stands in the way.
        stage.close(here);
        stage.admit(config);
    }
}

/// The operator on the same device is another peer.
pub(crate) fn an_operator_of_the_same_device_is_no_rival(place: Place) {
    let mut stage = Stage::new(place);
    let key = stage.key();
    let (node, _) = stage.admit(offering(&stage, 4, &key, &["system.which"]));
    let config = super::asking(&[super::ADMIN], super::speaking(4, stage.client(Some(key))));
    let (one, _) = stage.admit(config.clone());
    let (two, _) = stage.admit(config);
    for actor in [node, one, two] {
        stage.call(actor, "health", json!({})).unwrap();
    }
}
