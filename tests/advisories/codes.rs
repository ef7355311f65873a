//! Setup codes: read off a screen, perhaps by somebody else too. What one holds, how often it works, and what it opens.

use super::{
    ADMIN, PROTOCOLS, asking, forwarded, get, http, operator, refused, request_id, speaking,
    with_device_token, with_password, with_shared,
};
use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_support::stage::shared_token;
use clawgate_support::{Actor, Place, Stage, secrets};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

const SPENT: Option<&str> = Some("AUTH_BOOTSTRAP_TOKEN_INVALID");

/// A code of this profile: what it says.
fn code(stage: &mut Stage, admin: Actor, profile: Option<&str>) -> Value {
    let mut params = json!({"publicUrl": "wss://gw.example"});
    if let Some(profile) = profile {
        params["bootstrapProfile"] = json!(profile);
    }
    let answer = stage.call(admin, "device.pair.setupCode", params).unwrap();
    let text = answer["setupCode"].as_str().unwrap();
    secrets::record(text);
    let code: Value = serde_json::from_slice(&secrets::decoded(text).unwrap()).unwrap();
    secrets::record(code["bootstrapToken"].as_str().unwrap());
    code
}

/// A node host on another machine, with this code and nothing else.
fn node_with(stage: &Stage, protocol: u64, key: &DeviceKey, code: &Value) -> ClientConfig {
    let config = speaking(protocol, stage.client_as("node-host", "node", Some(key.clone())));
    let mut config = forwarded("203.0.113.7", asking(&[], config));
    config.role = "node".to_owned();
    config.auth.token = None;
    config.auth.bootstrap_token = Some(code["bootstrapToken"].as_str().unwrap().to_owned());
    config
}

/// A phone there.
fn phone_with(stage: &Stage, protocol: u64, key: &DeviceKey, code: &Value) -> ClientConfig {
    let mut config = node_with(stage, protocol, key, code);
    config.client.id = "openclaw-ios".to_owned();
    config.client.platform = "iOS 18.4".to_owned();
    config.client.device_family = Some("iPhone".to_owned());
    config
}

/// The same device as an operator that asks for this.
fn as_operator(scopes: &[&str], config: &ClientConfig) -> ClientConfig {
    ClientConfig { role: "operator".to_owned(), ..asking(scopes, config.clone()) }
}

/// GHSA-7h7g-x2px-94hj: the code, and the picture of it, held the gateway's own token: whoever saw one was in for good.
pub(crate) fn a_setup_code_holds_nothing_that_lasts(place: Place) {
    for protocol in PROTOCOLS {
        let ttl_ms = if place.is_real() { 3_000 } else { 600_000 };
        let mut stage = Stage::with(place, |config| config.limits.setup_ttl_ms = ttl_ms);
        let admin = operator(&mut stage, 4, &[ADMIN]);
        let late = code(&mut stage, admin, Some("node"));
        let seen = code(&mut stage, admin, Some("node"));
        assert!(!seen.to_string().contains(&shared_token()));
        let token = seen["bootstrapToken"].as_str().unwrap().to_owned();
        // It is no token of any other kind.
        let key = stage.key();
        let mut bare = speaking(protocol, stage.client(Some(key.clone())));
        bare.auth.token = None;
        for config in [with_shared(&token, bare.clone()), with_device_token(&token, bare.clone())] {
            assert!(refused(&mut stage, config).detail_code().unwrap().starts_with("AUTH_"));
        }
        assert!(refused(&mut stage, with_password(&token, bare)).detail_code().unwrap().starts_with("AUTH_"));
        let fields = format!("Host: gateway.example\r\nAuthorization: Bearer {token}\r\n");
        let (_, answer) = http(&mut stage, Ipv4Addr::LOCALHOST, &get("/readyz", &fields));
        assert!(!answer.contains("uptimeMs"));
        // It does what it is for, while it lasts.
        let node = node_with(&stage, protocol, &key, &seen);
        stage.admit(node);
        stage.pass(ttl_ms + 100);
        let key = stage.key();
        let node = node_with(&stage, protocol, &key, &late);
        assert_eq!(refused(&mut stage, node).detail_code(), SPENT);
    }
}

/// Until the pairing was finished a code could be used again, by anybody.
pub(crate) fn a_setup_code_is_for_the_first_device_that_shows_it(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let admin = operator(&mut stage, 4, &[ADMIN]);
        // Let in at once.
        let first = code(&mut stage, admin, Some("node"));
        let (key, thief) = (stage.key(), stage.key());
        let node = node_with(&stage, protocol, &key, &first);
        let (socket, hello) = stage.admit(node.clone());
        let own = hello.device_token().unwrap().to_owned();
        stage.close(socket);
        for key in [&thief, &key] {
            let again = node_with(&stage, protocol, key, &first);
            assert_eq!(refused(&mut stage, again).detail_code(), SPENT);
        }
        let mut back = with_device_token(&own, node);
        back.auth.bootstrap_token = None;
        stage.admit(back);
        // Waiting for a person, whom somebody else does not wait for with the same code. A node host does not fit what
        // this one is made for.
        let second = code(&mut stage, admin, None);
        let key = stage.key();
        let node = node_with(&stage, protocol, &key, &second);
        let waits = refused(&mut stage, node.clone());
        assert_eq!(waits.detail_code(), Some("PAIRING_REQUIRED"));
        let stolen = phone_with(&stage, protocol, &thief, &second);
        assert_eq!(refused(&mut stage, stolen).detail_code(), SPENT);
        stage.call(admin, "device.pair.approve", json!({"requestId": request_id(&waits)})).unwrap();
        stage.admit(node.clone());
        assert_eq!(refused(&mut stage, node).detail_code(), SPENT);
    }
}

/// CVE-2026-41386: a code was bound to no role and to no scopes, so that whoever used it asked for what they liked.
pub(crate) fn a_setup_code_opens_what_it_was_made_for(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let admin = operator(&mut stage, 4, &[ADMIN]);
        // For a node: nobody becomes an operator with it.
        let for_node = code(&mut stage, admin, Some("node"));
        let key = stage.key();
        let node = node_with(&stage, protocol, &key, &for_node);
        for scopes in [&[ADMIN][..], &["operator.read"], &[]] {
            assert_eq!(refused(&mut stage, as_operator(scopes, &node)).detail_code(), SPENT, "{scopes:?}");
        }
        stage.admit(node);
        // For a phone without admin.
        let limited = code(&mut stage, admin, Some("limited"));
        let key = stage.key();
        let phone = phone_with(&stage, protocol, &key, &limited);
        for scopes in [&[ADMIN][..], &["operator.read", "operator.pairing"]] {
            assert_eq!(refused(&mut stage, as_operator(scopes, &phone)).detail_code(), SPENT, "{scopes:?}");
        }
        let (_, hello) = stage.admit(phone.clone());
        if protocol == 4 {
            let handed = &hello.0["auth"]["deviceTokens"][0];
            let token = handed["deviceToken"].as_str().unwrap();
            secrets::record(token);
            let mut phone = with_device_token(token, phone);
            phone.auth.bootstrap_token = None;
            let wider = as_operator(&[ADMIN], &phone);
            assert_eq!(refused(&mut stage, wider).detail_code(), Some("AUTH_SCOPE_MISMATCH"));
            let (socket, _) = stage.admit(as_operator(&["operator.write"], &phone));
            assert!(stage.call(socket, "status", json!({})).is_ok());
        }
        // A page waits for a person, whatever it has read.
        let seen = code(&mut stage, admin, Some("limited"));
        let key = stage.key();
        let origin = format!("http://127.0.0.1:{}", stage.config().port);
        let page = ClientConfig { origin: Some(origin), ..phone_with(&stage, protocol, &key, &seen) };
        assert!(refused(&mut stage, page).detail_code().is_some());
    }
}
