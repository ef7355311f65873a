//! What happens to open sockets when their device loses its rights.

use super::{PROTOCOLS, admin, asking, device, device_ids, refused, request_id, speaking, with_token};
use clawgate_proto::client::ClientConfig;
use clawgate_support::{Place, Stage};
use serde_json::json;

const REMOVED: (u16, &str) = (4001, "device removed");

pub(crate) fn a_removed_device_loses_its_sockets_and_its_token(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let key = stage.key();
        let (first, hello) = device(&mut stage, protocol, &key);
        let (second, _) = device(&mut stage, 7 - protocol, &key);
        let removed = stage.call(operator, "device.pair.remove", json!({"deviceId": key.device_id()}));
        assert_eq!(removed, Ok(json!({"deviceId": key.device_id()})));
        for socket in [first, second] {
            let (code, reason) = stage.closed(socket);
            assert_eq!((code, reason.as_str()), REMOVED);
        }
        let list = stage.call(operator, "device.pair.list", json!({})).unwrap();
        assert!(!device_ids(&list, "paired").contains(&key.device_id()));
        let token = hello.device_token().unwrap();
        let back = with_token(token, speaking(protocol, stage.client(Some(key.clone()))));
        assert_eq!(refused(&mut stage, back).detail_code(), Some("AUTH_DEVICE_TOKEN_MISMATCH"));
        let again = stage.call(operator, "device.pair.remove", json!({"deviceId": key.device_id()}));
        assert_eq!(again.unwrap_err().message, "unknown deviceId");
    }
}

/// Compatibility row `device-removed`: what a device asked for before it was removed cannot be granted afterwards.
pub(crate) fn a_removed_device_asks_for_nothing_any_more(place: Place) {
    for protocol in PROTOCOLS {
        for (method, param, gone) in [
            ("device.pair.remove", "deviceId", "unknown deviceId"),
            ("node.pair.remove", "nodeId", "unknown nodeId"),
        ] {
            if protocol == 3 && param == "nodeId" {
                continue; // not a method there
            }
            let mut stage = Stage::new(place);
            let operator = admin(&mut stage, protocol);
            let key = stage.key();
            let config = if param == "nodeId" {
                ClientConfig {
                    role: "node".to_owned(),
                    ..stage.client_as("node-host", "node", Some(key.clone()))
                }
            } else {
                stage.client(Some(key.clone()))
            };
            let config = asking(&[], speaking(protocol, config));
            stage.admit(config.clone());
            let mut moved = config;
            moved.client.platform = "win32".to_owned();
            let request_id = request_id(&refused(&mut stage, moved));
            stage.drain(operator);
            stage.call(operator, method, json!({param: key.device_id()})).unwrap();
            let resolved = stage.event(operator, "device.pair.resolved").value();
            assert_eq!(resolved["decision"], "rejected");
            assert_eq!(
                (&resolved["requestId"], &resolved["deviceId"]),
                (&json!(request_id), &json!(key.device_id()))
            );
            let list = stage.call(operator, "device.pair.list", json!({})).unwrap();
            assert!(device_ids(&list, "pending").is_empty(), "{list}");
            let late =
                stage.call(operator, "device.pair.approve", json!({"requestId": request_id})).unwrap_err();
            assert_eq!(late.message, "unknown requestId");
            let again = stage.call(operator, method, json!({param: key.device_id()})).unwrap_err();
            assert_eq!(again.message, gone);
        }
    }
}

pub(crate) fn a_rotated_token_closes_its_sockets(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let key = stage.key();
        let (socket, hello) = device(&mut stage, protocol, &key);
        let old = hello.device_token().unwrap().to_owned();
        let params = json!({"deviceId": key.device_id(), "role": "operator"});
        let rotated = stage.call(operator, "device.token.rotate", params).unwrap();
        assert_eq!(rotated["role"], json!("operator"));
        assert_eq!(rotated.get("token"), None, "the new token is not for whoever rotates");
        let delivery = rotated.get("tokenDelivery").and_then(|text| text.as_str());
        assert_eq!(delivery, (protocol == 4).then_some("withheld-cross-device"));
        let (code, reason) = stage.closed(socket);
        assert_eq!((code, reason.as_str()), REMOVED);
        let config = speaking(protocol, stage.client(Some(key.clone())));
        let refusal = refused(&mut stage, with_token(&old, config.clone()));
        assert_eq!(refusal.detail_code(), Some("AUTH_DEVICE_TOKEN_MISMATCH"));
        let (_, hello) = stage.admit(config);
        assert_ne!(hello.device_token().unwrap(), old);
    }
}

pub(crate) fn a_revoked_token_closes_its_sockets(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let key = stage.key();
        let (socket, hello) = device(&mut stage, protocol, &key);
        let old = hello.device_token().unwrap().to_owned();
        let params = json!({"deviceId": key.device_id(), "role": "operator"});
        let revoked = stage.call(operator, "device.token.revoke", params.clone()).unwrap();
        assert!(revoked["revokedAtMs"].is_u64());
        let (code, reason) = stage.closed(socket);
        assert_eq!((code, reason.as_str()), REMOVED);
        let back = with_token(&old, speaking(protocol, stage.client(Some(key.clone()))));
        assert_eq!(refused(&mut stage, back).detail_code(), Some("AUTH_DEVICE_TOKEN_MISMATCH"));
        let wrong = json!({"deviceId": key.device_id(), "role": "node"});
        let wrong = stage.call(operator, "device.token.revoke", wrong).unwrap_err();
        assert_eq!(
            (wrong.code.as_str(), wrong.message.as_str()),
            ("INVALID_REQUEST", "unknown deviceId/role")
        );
    }
}
