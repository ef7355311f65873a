//! Roles, scopes and pages: who may call what, and which page may come in.

use super::{PROTOCOLS, asking, refused, speaking};
use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_proto::config::AuthMode;
use clawgate_support::{Actor, Place, Stage};
use serde_json::json;

fn node(stage: &mut Stage, protocol: u64) -> Actor {
    let key = stage.key();
    let config = asking(&[], speaking(protocol, stage.client_as("node-host", "node", Some(key))));
    stage.admit(ClientConfig { role: "node".to_owned(), ..config }).0
}

pub(crate) fn a_node_may_not_call_what_is_for_operators(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let node = node(&mut stage, protocol);
        for method in ["status", "system-presence", "device.pair.list", "no.such.method"] {
            let error = stage.call(node, method, json!({})).unwrap_err();
            assert_eq!(error.code, "INVALID_REQUEST", "{method}");
            assert_eq!(error.message, "unauthorized role: node", "{method}");
        }
        assert!(stage.call(node, "health", json!({})).is_ok());
    }
}

pub(crate) fn an_unknown_method_is_an_admins_business(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key)));
        let (reader, _) = stage.admit(asking(&["operator.write"], config));
        // Write implies read, and nothing else.
        assert!(stage.call(reader, "status", json!({})).is_ok());
        for (method, missing) in [
            ("no.such.method", "operator.admin"),
            ("device.pair.list", "operator.pairing"),
            ("system-event", "operator.admin"),
        ] {
            let error = stage.call(reader, method, json!({})).unwrap_err();
            assert_eq!(error.message, format!("missing scope: {missing}"));
            let expected = match protocol {
                3 => ("INVALID_REQUEST", None),
                _ => ("FORBIDDEN", Some("MISSING_SCOPE")),
            };
            assert_eq!((error.code.as_str(), error.detail("code")), expected);
        }
        let writer = super::admin(&mut stage, protocol);
        let error = stage.call(writer, "no.such.method", json!({})).unwrap_err();
        assert_eq!(error.message, "unknown method: no.such.method");
    }
}

pub(crate) fn wrong_role_calls_are_borne_ten_times(place: Place) {
    let mut stage = Stage::new(place);
    let patient = node(&mut stage, 4);
    for _ in 0..10 {
        stage.call(patient, "status", json!({})).unwrap_err();
    }
    // Any other answer forgives.
    stage.call(patient, "health", json!({})).unwrap();
    let flood = stage.with_client(patient, |client| {
        (0..12).map(|_| client.request("status", json!({})).unwrap()).collect::<Vec<_>>()
    });
    let (code, reason) = stage.closed(patient);
    assert_eq!((code, reason.as_str()), (1008, "repeated unauthorized calls"));
    let answered = flood.iter().filter(|id| stage.answer(patient, id).is_ok()).count();
    assert_eq!(answered, 11);
}

/// A page of the bundled Control UI, as its browser would send it.
fn page(stage: &Stage, origin: &str, key: DeviceKey) -> ClientConfig {
    let origin =
        origin.replace("PORT", &stage.config().port.to_string()).replace("HTTP", stage.place().http());
    ClientConfig { origin: Some(origin), ..stage.client_as("openclaw-control-ui", "webchat", Some(key)) }
}

pub(crate) fn a_foreign_page_is_refused_in_every_mode(place: Place) {
    for mode in [AuthMode::None, AuthMode::Token] {
        for protocol in PROTOCOLS {
            let mut stage = Stage::with(place, |config| {
                config.auth.mode = mode;
                config.allowed_origins = vec!["https://desk.example".to_owned()];
            });
            for origin in ["http://evil.example", "null", "http://127.0.0.1.evil.example:PORT"] {
                let key = stage.key();
                let config = speaking(protocol, page(&stage, origin, key));
                let refusal = refused(&mut stage, config);
                assert_eq!(refusal.detail_code(), Some("CONTROL_UI_ORIGIN_NOT_ALLOWED"), "{origin}");
                assert_eq!(refusal.close().unwrap().0, 1008);
            }
            // A tool that says it is none of a page's business is a page all the same, once it has an origin.
            let key = stage.key();
            let tool = ClientConfig {
                origin: Some("http://evil.example".to_owned()),
                ..stage.client_as("cli", "cli", Some(key))
            };
            let refusal = refused(&mut stage, tool);
            assert_eq!(refusal.detail_code(), Some("CONTROL_UI_ORIGIN_NOT_ALLOWED"));
            // A page must have an origin.
            let key = stage.key();
            let config = ClientConfig { origin: None, ..page(&stage, "", key) };
            assert_eq!(refused(&mut stage, config).detail_code(), Some("CONTROL_UI_ORIGIN_NOT_ALLOWED"));
            // One that is listed may come, and asks a person for the rest.
            let key = stage.key();
            let config = page(&stage, "https://desk.example", key);
            assert_eq!(refused(&mut stage, config).detail_code(), Some("PAIRING_REQUIRED"));
        }
    }
}

pub(crate) fn the_gateways_own_page_pairs_silently_with_the_secret_only(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        for origin in ["HTTP://127.0.0.1:PORT", "HTTP://localhost:PORT"] {
            let key = stage.key();
            let config = speaking(protocol, page(&stage, origin, key.clone()));
            let mut wrong = config.clone();
            wrong.auth.token = Some("cLaWmArKeR-guess".to_owned());
            assert_eq!(refused(&mut stage, wrong).detail_code(), Some("AUTH_TOKEN_MISMATCH"));
            let (socket, hello) = stage.admit(config.clone());
            assert!(hello.device_token().is_some());
            stage.close(socket);
        }
        let mut stage = Stage::with(place, |config| config.auth.mode = AuthMode::None);
        let key = stage.key();
        let config = speaking(protocol, page(&stage, "HTTP://127.0.0.1:PORT", key));
        assert_eq!(refused(&mut stage, config).detail_code(), Some("PAIRING_REQUIRED"));
    }
}

pub(crate) fn a_page_of_another_local_server_asks(place: Place) {
    let mut stage = Stage::new(place);
    let key = stage.key();
    let config = page(&stage, "http://127.0.0.1:1", key);
    let refusal = refused(&mut stage, config);
    let error = refusal.error.as_ref().unwrap();
    assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"));
    // The page waits for the person who sits before it.
    assert_eq!(error.detail("recommendedNextStep"), Some("wait_then_retry"));
    assert_eq!(error.detail_value("pauseReconnect"), Some(&json!(false)));
}

pub(crate) fn a_command_line_with_an_origin_asks(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let key = stage.key();
        let origin = stage.origin();
        let config = speaking(protocol, stage.client_as("cli", "cli", Some(key)));
        let refusal = refused(&mut stage, ClientConfig { origin: Some(origin.clone()), ..config.clone() });
        assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"));
        // Nor does it keep its scopes without a device.
        let bare = ClientConfig { identity: None, origin: Some(origin), ..config };
        let (bare, _) = stage.admit(bare);
        let error = stage.call(bare, "status", json!({})).unwrap_err();
        assert_eq!(error.message, "missing scope: operator.read");
    }
}
