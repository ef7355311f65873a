//! Who hears what, in which order, with which numbers.

use super::{PROTOCOLS, admin, asking, event_names, speaking};
use clawgate_support::{Place, Stage};
use serde_json::{Value, json};

pub(crate) fn the_numbers_have_no_gap(place: Place) {
    for protocol in PROTOCOLS {
        // The stage itself holds every client to 1, 2, 3 and so on.
        let mut stage = Stage::with(place, |config| {
            if place.is_real() {
                config.limits.tick_interval_ms = 1_000;
            }
        });
        let actor = admin(&mut stage, protocol);
        let first = stage.event(actor, if protocol == 3 { "health" } else { "presence" });
        assert_eq!(first.seq, Some(1));
        let version = first.state_version.unwrap();
        let other = admin(&mut stage, 7 - protocol);
        stage.call(actor, "system-event", json!({"text": "somebody is here", "deviceId": "x"})).unwrap();
        let presence = stage.event(actor, "presence");
        assert!(presence.state_version.unwrap().presence > version.presence);
        stage.call(actor, "health", json!({})).unwrap();
        assert!(stage.event(actor, "health").seq.unwrap() > 1);
        let tick = stage.event(actor, "tick");
        assert!(tick.value()["ts"].is_u64() && tick.state_version.is_none());
        stage.event(other, "tick");
        stage.drain(actor);
        stage.drain(other);
    }
}

pub(crate) fn who_may_not_read_hears_nothing_of_presence(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let key = stage.key();
        let config = asking(&[], speaking(protocol, stage.client(Some(key))));
        let (blind, hello) = stage.admit(config);
        assert_eq!(hello.0["snapshot"]["presence"], json!([]));
        let reader = admin(&mut stage, protocol);
        stage.call(reader, "system-event", json!({"text": "look", "deviceId": "x"})).unwrap();
        stage.event(reader, "presence");
        stage.pass(200);
        let heard = stage.drain(blind);
        assert!(!event_names(&heard).contains(&"presence"), "{heard:?}");
        assert!(!event_names(&heard).iter().any(|name| name.starts_with("device.")), "{heard:?}");
    }
}

pub(crate) fn status_tells_what_has_changed(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let key = stage.key();
        let config = asking(&["operator.read"], speaking(protocol, stage.client(Some(key))));
        let (reader, _) = stage.admit(config);
        let mut status = |actor| {
            let mut status = stage.call(actor, "status", json!({})).unwrap();
            // The numbers count these very requests.
            assert!(status["gateway"].take().is_object());
            status
        };
        let (before, other) = (status(operator), status(reader));
        assert_ne!(before["sessions"]["paths"], other["sessions"]["paths"], "paths are for admins");
        assert_eq!((status(operator), status(reader)), (before.clone(), other));
        assert_eq!(before["queuedSystemEvents"], json!([]));
        assert_eq!(before["heartbeat"]["agents"][0]["enabled"], json!(true));
        stage.call(operator, "system-event", json!({"text": "it rains"})).unwrap();
        stage.call(operator, "set-heartbeats", json!({"enabled": false})).unwrap();
        for actor in [operator, reader] {
            let after = stage.call(actor, "status", json!({})).unwrap();
            assert_eq!(after["queuedSystemEvents"], json!(["it rains"]));
            assert_eq!(after["heartbeat"]["agents"][0]["enabled"], json!(false));
        }
    }
}

pub(crate) fn each_protocol_sees_the_other_in_its_own_shape(place: Place) {
    let mut stage = Stage::new(place);
    let (old, new) = (admin(&mut stage, 3), admin(&mut stage, 4));
    let key = stage.key();
    let mut config = stage.client_as("openclaw-tui", "ui", Some(key.clone()));
    config.client.time_zone = Some("UTC".to_owned());
    stage.admit(config);
    let entry = |list: &Value| {
        let rows = list.as_array().unwrap();
        rows.iter().find(|row| row["deviceId"] == json!(key.device_id())).cloned().unwrap()
    };
    let seen_by_old = entry(&stage.call(old, "system-presence", json!({})).unwrap());
    let seen_by_new = entry(&stage.call(new, "system-presence", json!({})).unwrap());
    assert_eq!((seen_by_new.get("timeZone"), seen_by_old.get("timeZone")), (Some(&json!("UTC")), None));
    assert!(seen_by_new["onlineSince"].is_u64() && seen_by_old.get("onlineSince").is_none());
    assert_eq!(seen_by_old["instanceId"], json!(key.device_id()));
    assert_eq!(seen_by_old["text"], seen_by_new["text"]);
}

pub(crate) fn a_stop_is_told_and_closes_everybody(place: Place) {
    let mut stage = Stage::new(place);
    let (old, new) = (admin(&mut stage, 3), admin(&mut stage, 4));
    stage.stop();
    let told = stage.event(old, "shutdown").value();
    assert_eq!(told, json!({"reason": "gateway stopping", "restartExpectedMs": null}));
    assert_eq!(stage.event(new, "shutdown").value(), json!({"reason": "gateway stopping"}));
    for actor in [old, new] {
        let (code, reason) = stage.closed(actor);
        assert_eq!((code, reason.as_str()), (1012, "service restart"));
    }
    assert!(stage.has_stopped());
}
