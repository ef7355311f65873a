//! A disk that fails: the caller is told, and nothing is half true.

use super::{PROTOCOLS, admin, device, device_ids, refused, speaking, with_token};
use clawgate_proto::host::Document;
use clawgate_support::{Place, Stage};
use serde_json::{Value, json};

pub(crate) fn a_failed_write_keeps_a_new_device_out(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key.clone())));
        let before = stage.host().content(Document::DevicesPaired);
        stage.host().fail_next_write("no space left on device");
        let refusal = refused(&mut stage, config.clone());
        assert_eq!(refusal.code(), Some("UNAVAILABLE"));
        assert_eq!(refusal.error.as_ref().unwrap().retryable, Some(true));
        assert_eq!(refusal.close().unwrap().0, 1013);
        assert_eq!(stage.host().content(Document::DevicesPaired), before);
        let list = stage.call(operator, "device.pair.list", json!({})).unwrap();
        assert!(!device_ids(&list, "paired").contains(&key.device_id()));
        // Once there is room again, it is as if nothing had been.
        stage.admit(config);
    }
}

pub(crate) fn a_failed_write_leaves_a_removal_undone(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let key = stage.key();
        let (socket, _) = device(&mut stage, protocol, &key);
        stage.host().set_read_only(true);
        let error =
            stage.call(operator, "device.pair.remove", json!({"deviceId": key.device_id()})).unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), ("UNAVAILABLE", Some(true)));
        assert!(stage.call(socket, "health", json!({})).is_ok(), "its socket lives");
        let list = stage.call(operator, "device.pair.list", json!({})).unwrap();
        assert!(device_ids(&list, "paired").contains(&key.device_id()));
        stage.host().set_read_only(false);
        stage.call(operator, "device.pair.remove", json!({"deviceId": key.device_id()})).unwrap();
        assert_eq!(stage.closed(socket).0, 4001);
    }
}

pub(crate) fn a_failed_write_leaves_the_token_in_force(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 4);
    let key = stage.key();
    let (socket, hello) = device(&mut stage, 4, &key);
    let token = hello.device_token().unwrap().to_owned();
    let params = json!({"deviceId": key.device_id(), "role": "operator"});
    for method in ["device.token.rotate", "device.token.revoke"] {
        stage.host().fail_next_write("input/output error");
        let error = stage.call(operator, method, params.clone()).unwrap_err();
        assert_eq!(error.code, "UNAVAILABLE", "{method}");
        assert!(stage.call(socket, "health", json!({})).is_ok());
        let config = with_token(&token, stage.client(Some(key.clone())));
        let (again, hello) = stage.admit(config);
        assert_eq!(hello.device_token(), Some(token.as_str()));
        stage.close(again);
    }
}

pub(crate) fn what_somebody_else_wrote_is_merged(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 4);
    let (kept, gone) = (stage.key(), stage.key());
    device(&mut stage, 4, &kept);
    let (socket, hello) = device(&mut stage, 4, &gone);
    // The reference's command line removes a device, and leaves a note of its own on another.
    let text = stage.host().content(Document::DevicesPaired).unwrap();
    let mut paired: Value = serde_json::from_slice(&text).unwrap();
    paired.as_object_mut().unwrap().remove(gone.device_id());
    paired[kept.device_id()]["note"] = json!("mine");
    stage.host().edit(Document::DevicesPaired, paired.to_string());

    let list = stage.call(operator, "device.pair.list", json!({})).unwrap();
    assert!(!device_ids(&list, "paired").contains(&gone.device_id()));
    assert_eq!(stage.closed(socket).0, 4001, "what the list no longer names has no socket");
    let token = hello.device_token().unwrap();
    let back = with_token(token, stage.client(Some(gone)));
    assert_eq!(refused(&mut stage, back).detail_code(), Some("AUTH_DEVICE_TOKEN_MISMATCH"));
    // A change of ours keeps the note.
    let third = stage.key();
    device(&mut stage, 4, &third);
    let text = stage.host().content(Document::DevicesPaired).unwrap();
    let paired: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(paired[kept.device_id()]["note"], json!("mine"));
    assert!(paired.get(third.device_id()).is_some());
}
