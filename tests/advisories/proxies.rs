//! Behind a proxy that knows its users and names them: its word counts when it is its word, and says who, not what.

use super::{
    ADMIN, PROTOCOLS, PROXY, asking, assert_powerless, forwarded, knock, operator, request_id, speaking,
    turned_away,
};
use clawgate_proto::client::ClientConfig;
use clawgate_proto::config::{AuthMode, TrustedProxy};
use clawgate_proto::net::Cidr;
use clawgate_proto::secret::Secret;
use clawgate_support::{Actor, Place, Stage, secrets};
use serde_json::json;
use std::net::Ipv4Addr;

/// A gateway behind a proxy at [`PROXY`], which proves itself.
fn behind_it(place: Place) -> Stage {
    Stage::with(place, |config| {
        config.auth.mode = AuthMode::TrustedProxy;
        config.trusted_proxies = vec![Cidr::parse("127.0.0.0/8").unwrap()];
        config.allowed_origins = vec!["https://desk.example".to_owned()];
        config.auth.trusted_proxy = Some(TrustedProxy {
            user_header: "x-forwarded-user".to_owned(),
            required_headers: Vec::new(),
            allow_users: vec!["ada@example".to_owned()],
            proof: Secret::new(&proof()).map(|proof| ("x-proof".to_owned(), proof)),
            trusts_loopback: false,
        });
    })
}

fn proof() -> String {
    secrets::chosen("proxy-proof")
}

/// What the proxy sends for its user, from 203.0.113.7.
fn vouched(proof: Option<&str>, config: ClientConfig) -> ClientConfig {
    let mut config = forwarded("203.0.113.7", config);
    config.auth.token = None;
    config.headers.push(("X-Forwarded-User".to_owned(), "ada@example".to_owned()));
    if let Some(proof) = proof {
        config.headers.push(("X-Proof".to_owned(), proof.to_owned()));
    }
    config
}

/// The page of the proxy's user, which keeps its scopes.
fn page(stage: &mut Stage, protocol: u64) -> Actor {
    let config = ClientConfig {
        origin: Some("https://desk.example".to_owned()),
        ..stage.client_as("openclaw-control-ui", "webchat", None)
    };
    let config = asking(&[ADMIN], vouched(Some(&proof()), speaking(protocol, config)));
    knock(stage, PROXY, config).unwrap().0
}

/// CVE-2026-53832: a program of the host sent the header that names the user, from loopback, where the proxy sat too.
pub(crate) fn a_program_of_this_host_is_not_the_proxy(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = behind_it(place);
        let wrong = secrets::chosen("wrong-proof");
        for from in [Ipv4Addr::LOCALHOST, PROXY] {
            for proof in [None, Some(wrong.as_str()), Some("")] {
                for (id, mode) in [("openclaw-control-ui", "webchat"), ("cli", "cli"), ("test", "test")] {
                    let key = stage.key();
                    let config = ClientConfig {
                        origin: (mode == "webchat").then(|| "https://desk.example".to_owned()),
                        ..speaking(protocol, stage.client_as(id, mode, Some(key)))
                    };
                    let refusal = turned_away(&mut stage, from, vouched(proof, config));
                    assert_eq!(refusal.detail_code(), Some("AUTH_UNAUTHORIZED"), "{id} {proof:?}");
                }
            }
        }
        let page = page(&mut stage, protocol);
        assert!(stage.call(page, "device.pair.list", json!({})).is_ok());
    }
}

/// CVE-2026-53821 (GHSA-qjpc-qf9m-xwmr): behind a trusted proxy the scopes of a page came from a header that its client
/// could write.
pub(crate) fn a_header_gives_nobody_scopes(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = behind_it(place);
        let admin = page(&mut stage, protocol);
        let scopes = ("X-OpenClaw-Scopes".to_owned(), ADMIN.to_owned());
        // Without a device.
        let mut bare = vouched(Some(&proof()), speaking(protocol, stage.client_as("cli", "cli", None)));
        bare.headers.push(scopes.clone());
        let (bare, _) = knock(&mut stage, PROXY, bare).unwrap();
        assert_powerless(&mut stage, bare);
        // With one that was approved for less.
        let key = stage.key();
        let config = vouched(Some(&proof()), speaking(protocol, stage.client(Some(key))));
        let mut reader = asking(&["operator.read"], config.clone());
        reader.headers.push(scopes.clone());
        let waits = turned_away(&mut stage, PROXY, reader.clone());
        stage.call(admin, "device.pair.approve", json!({"requestId": request_id(&waits)})).unwrap();
        let (actor, _) = knock(&mut stage, PROXY, reader).unwrap();
        let error = stage.call(actor, "device.pair.list", json!({})).unwrap_err();
        assert_eq!(error.message, "missing scope: operator.pairing");
        assert!(stage.call(actor, "status", json!({})).is_ok());
        let mut more = asking(&["operator.read", ADMIN], config);
        more.headers.push(scopes.clone());
        assert_eq!(turned_away(&mut stage, PROXY, more).detail_code(), Some("PAIRING_REQUIRED"));
        // Nor in any other mode.
        let mut stage = Stage::new(place);
        let mut bare = speaking(protocol, stage.client(None));
        bare.headers.push(scopes);
        let (bare, _) = stage.admit(bare);
        assert_powerless(&mut stage, bare);
        let admin = operator(&mut stage, protocol, &[ADMIN]);
        assert!(stage.call(admin, "device.pair.list", json!({})).is_ok());
    }
}
