//! Who may give what to whom: nobody more than they hold themselves, and what is taken away is gone at once.

use super::{
    ADMIN, PROTOCOLS, asking, forwarded, operator, refused, request_id, speaking, with_device_token,
};
use clawgate_support::{Place, Stage};
use serde_json::json;

const PAIRER: [&str; 2] = ["operator.pairing", "operator.read"];

/// GHSA-4jpw-hj22-2xmc: `device.token.rotate` made a token with more scopes than the one who called it had.
pub(crate) fn who_rotates_a_token_gives_no_more_than_they_have(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let admin = operator(&mut stage, protocol, &[ADMIN]);
        let pairer = operator(&mut stage, protocol, &PAIRER);
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key.clone())));
        let (device, hello) = stage.admit(config.clone());
        let token = hello.device_token().unwrap().to_owned();
        let rotate = |scopes: Option<&[&str]>| {
            let mut params = json!({"deviceId": key.device_id(), "role": "operator"});
            if let Some(scopes) = scopes {
                params["scopes"] = json!(scopes);
            }
            params
        };
        for scopes in [Some(&[ADMIN][..]), Some(&["operator.read", "operator.write"][..]), None] {
            let error = stage.call(pairer, "device.token.rotate", rotate(scopes)).unwrap_err();
            assert!(error.message.starts_with("missing scope: operator."), "{}", error.message);
        }
        // Nothing came of it.
        assert!(stage.call(device, "config.get", json!({})).is_err(), "this host has no configuration");
        stage.close(device);
        let (device, _) = stage.admit(with_device_token(&token, config.clone()));
        // What the caller has, it may give; and an admin all of it.
        stage.call(pairer, "device.token.rotate", rotate(Some(&["operator.read"]))).unwrap();
        assert_eq!(stage.closed(device).0, 4001);
        stage.call(admin, "device.token.rotate", rotate(Some(&[ADMIN]))).unwrap();
        assert!(refused(&mut stage, with_device_token(&token, config)).detail_code().is_some());
    }
}

/// CVE-2026-33579: with `operator.pairing` alone one could approve an admin.
pub(crate) fn who_approves_a_device_gives_no_more_than_they_have(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let admin = operator(&mut stage, protocol, &[ADMIN]);
        let pairer = operator(&mut stage, protocol, &PAIRER);
        for (role, scopes) in [("operator", &[ADMIN][..]), ("operator", &["operator.write"]), ("node", &[])] {
            let key = stage.key();
            let mut config = forwarded("203.0.113.7", speaking(protocol, stage.client(Some(key))));
            config.role = role.to_owned();
            let config = asking(scopes, config);
            let approve = json!({"requestId": request_id(&refused(&mut stage, config.clone()))});
            let error = stage.call(pairer, "device.pair.approve", approve.clone()).unwrap_err();
            assert!(error.message.starts_with("missing scope: operator."), "{}", error.message);
            assert_eq!(refused(&mut stage, config.clone()).detail_code(), Some("PAIRING_REQUIRED"));
            stage.call(admin, "device.pair.approve", approve).unwrap();
            stage.admit(config);
        }
        let key = stage.key();
        let config = forwarded("203.0.113.7", speaking(protocol, stage.client(Some(key))));
        let config = asking(&["operator.read"], config);
        let approve = json!({"requestId": request_id(&refused(&mut stage, config.clone()))});
        stage.call(pairer, "device.pair.approve", approve).unwrap();
        stage.admit(config);
    }
}

/// CVE-2026-34503: a device that was removed or revoked kept the socket that it had.
pub(crate) fn who_is_revoked_is_gone_at_once(place: Place) {
    for protocol in PROTOCOLS {
        for method in ["device.token.revoke", "device.token.rotate", "device.pair.remove"] {
            let mut stage = Stage::new(place);
            let admin = operator(&mut stage, protocol, &[ADMIN]);
            let (key, other) = (stage.key(), stage.key());
            let config = speaking(protocol, stage.client(Some(key.clone())));
            let (first, hello) = stage.admit(config.clone());
            let token = hello.device_token().unwrap().to_owned();
            let (second, _) = stage.admit(with_device_token(&token, config.clone()));
            let bystander = speaking(protocol, stage.client(Some(other)));
            let (bystander, _) = stage.admit(bystander);
            let mut params = json!({"deviceId": key.device_id()});
            if method != "device.pair.remove" {
                params["role"] = json!("operator");
            }
            stage.call(admin, method, params).unwrap();
            for socket in [first, second] {
                assert_eq!(stage.closed(socket), (4001, "device removed".to_owned()), "{method}");
            }
            let refusal = refused(&mut stage, with_device_token(&token, config));
            assert_eq!(refusal.detail_code(), Some("AUTH_DEVICE_TOKEN_MISMATCH"), "{method}");
            assert!(stage.call(bystander, "status", json!({})).is_ok(), "{method}");
        }
    }
}
