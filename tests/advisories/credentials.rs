//! What a peer shows and what it says: only what was verified counts, each time anew, and each wrong secret once.

use super::{
    ADMIN, PROTOCOLS, PROXY, asking, assert_powerless, forwarded, get, http, knock, operator, refused,
    speaking, turned_away, with_device_token, with_password, with_shared,
};
use clawgate_proto::client::{ClientConfig, ClientEvent};
use clawgate_proto::config::{AuthConfig, AuthMode, Config, RateLimit};
use clawgate_proto::host::config::LiveConfig;
use clawgate_proto::log::Level;
use clawgate_proto::net::Cidr;
use clawgate_proto::secret::Secret;
use clawgate_support::stage::{ANSWER_MS, shared_token};
use clawgate_support::{Place, Stage, secrets};
use serde_json::json;
use std::net::Ipv4Addr;

/// CVE-2026-28472: the device was not asked for when a token was *present*, right or not.
pub(crate) fn a_secret_that_is_only_present_replaces_no_device(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let wrong = secrets::chosen("wrong");
        for (id, mode) in [("cli", "cli"), ("gateway-client", "backend"), ("test", "test")] {
            let bare = speaking(protocol, stage.client_as(id, mode, None));
            let mut none = bare.clone();
            none.auth.token = None;
            assert_eq!(refused(&mut stage, none.clone()).detail_code(), Some("DEVICE_IDENTITY_REQUIRED"));
            let shown = with_shared(&wrong, none.clone());
            assert_eq!(refused(&mut stage, shown).detail_code(), Some("AUTH_TOKEN_MISMATCH"));
            let shown = with_password(&wrong, none.clone());
            assert_eq!(refused(&mut stage, shown).detail_code(), Some("AUTH_TOKEN_MISSING"));
            let shown = with_device_token(&wrong, none.clone());
            assert_eq!(refused(&mut stage, shown).detail_code(), Some("DEVICE_IDENTITY_REQUIRED"));
            let mut shown = none;
            shown.auth.bootstrap_token = Some(wrong.clone());
            assert_eq!(refused(&mut stage, shown).detail_code(), Some("DEVICE_IDENTITY_REQUIRED"));
            // A node has a device, whatever it knows.
            let node = ClientConfig { role: "node".to_owned(), ..bare.clone() };
            assert_eq!(refused(&mut stage, node).detail_code(), Some("DEVICE_IDENTITY_REQUIRED"));
            stage.admit(bare);
        }
        // Nor does the right secret replace the proof of a device that is claimed.
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key)));
        let actor = stage.open(ClientConfig { answers_challenge: false, ..config.clone() });
        let Some(ClientEvent::Challenge { nonce, ts_ms }) = stage.next(actor, ANSWER_MS) else {
            panic!("no challenge")
        };
        let mut params = config.connect_params(&nonce, ts_ms.unwrap());
        params["scopes"] = json!([ADMIN, "operator.talk"]); // signed were others
        stage.with_client(actor, |client| client.send_connect(params)).unwrap();
        assert_eq!(stage.closed(actor), (1008, "device signature invalid".to_owned()));
        stage.admit(config);
    }
}

/// GHSA-rqpp-rjj8-7wv8: whoever knew the shared secret was given the scopes that they asked for.
pub(crate) fn the_shared_secret_grants_no_scope_that_is_only_asked_for(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        for (id, mode) in [("test", "test"), ("openclaw-macos", "ui"), ("openclaw-probe", "probe")] {
            let config = asking(
                &[ADMIN, "operator.read", "operator.pairing"],
                speaking(protocol, stage.client_as(id, mode, None)),
            );
            let (bare, _) = stage.admit(config.clone());
            assert_powerless(&mut stage, bare);
            // A device that is known gets what was approved for it.
            let key = stage.key();
            let (device, _) = stage.admit(ClientConfig { identity: Some(key), ..config });
            assert!(stage.call(device, "device.pair.list", json!({})).is_ok());
        }
    }
}

/// CVE-2026-41299: what a client said about itself decided where it came from, and so what it might do.
pub(crate) fn what_a_client_says_it_is_proves_nothing(place: Place) {
    for protocol in PROTOCOLS {
        for (id, mode) in [("gateway-client", "backend"), ("cli", "cli")] {
            let mut stage = Stage::new(place);
            let local = speaking(protocol, stage.client_as(id, mode, None));
            let origin = format!("http://127.0.0.1:{}", stage.config().port);
            let abroad = [
                forwarded("203.0.113.7", local.clone()),
                ClientConfig { host: "gateway.example".to_owned(), ..local.clone() },
                ClientConfig { origin: Some(origin), ..local.clone() },
            ];
            for config in abroad {
                let (bare, _) = stage.admit(config.clone());
                assert_powerless(&mut stage, bare);
                // With a device it waits for a person like everybody else.
                let key = stage.key();
                let refusal = refused(&mut stage, ClientConfig { identity: Some(key), ..config });
                assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"), "{id}");
            }
            // Names of apps that are only claimed move nobody either.
            let key = stage.key();
            let mut claimed = forwarded("203.0.113.7", stage.client_as("openclaw-macos", "ui", Some(key)));
            claimed.client.device_family = Some("Mac".to_owned());
            claimed.client.instance_id = Some("127.0.0.1".to_owned());
            assert_eq!(refused(&mut stage, claimed).detail_code(), Some("PAIRING_REQUIRED"));
            let (here, _) = stage.admit(local);
            assert!(stage.call(here, "device.pair.list", json!({})).is_ok());
        }
    }
}

/// Pull request #57647: guesses at the secret were not counted when an invented `deviceToken` stood beside them.
pub(crate) fn a_bogus_device_token_does_not_hide_a_wrong_password(place: Place) {
    for protocol in PROTOCOLS {
        let right = secrets::chosen("password");
        let mut stage = Stage::with(place, |config| {
            config.auth.mode = AuthMode::Password;
            config.auth.password = Secret::new(&right);
            config.auth.rate_limit =
                Some(RateLimit { attempts_max: 3, exempt_loopback: false, ..RateLimit::default() });
        });
        let key = stage.key();
        let good = with_password(&right, speaking(protocol, stage.client(Some(key))));
        let mut beside = good.clone();
        beside.auth.device_token = Some(secrets::chosen("bogus"));
        // The right password is not harmed by what stands beside it.
        for config in [good.clone(), beside.clone()] {
            let (actor, _) = stage.admit(config);
            stage.close(actor);
        }
        for n in 0..3 {
            beside.auth.password = Some(secrets::chosen(&format!("guess-{n}")));
            assert_eq!(refused(&mut stage, beside.clone()).detail_code(), Some("AUTH_DEVICE_TOKEN_MISMATCH"));
        }
        assert_eq!(refused(&mut stage, good.clone()).detail_code(), Some("AUTH_RATE_LIMITED"));
        // Somebody else's guesses.
        assert!(knock(&mut stage, Ipv4Addr::new(127, 0, 0, 5), good).is_ok());
    }
}

/// GHSA-m8wm-r5vq-qjpg: the secret was read once, at the start: who held the old one still came in after it was changed.
pub(crate) fn a_rotated_secret_counts_from_the_next_request(place: Place) {
    const NEW: &str = "cLaWmArKeR-rotated";
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        stage.host().edit_config(Some("{gateway: {mode: 'local'}}"));
        let admin = operator(&mut stage, protocol, &[ADMIN]);
        // Not of this machine, so that only the secret shows the details.
        let ready = |stage: &mut Stage, token: &str| {
            let fields = format!("Host: gateway.example\r\nAuthorization: Bearer {token}\r\n");
            http(stage, Ipv4Addr::LOCALHOST, &get("/readyz", &fields)).1.contains("uptimeMs")
        };
        assert!(ready(&mut stage, &shared_token()) && !ready(&mut stage, NEW));
        let config = stage.config().clone();
        stage.host().set_live_config(LiveConfig {
            config: Box::new(Config {
                auth: AuthConfig { token: Secret::new(NEW), ..config.auth.clone() },
                ..config
            }),
            log_level: Level::Trace,
        });
        let hash = stage.call(admin, "config.get", json!({})).unwrap()["hash"].clone();
        let raw = format!("{{gateway: {{auth: {{token: '{NEW}'}}}}}}");
        stage.call(admin, "config.patch", json!({"raw": raw, "baseHash": hash})).unwrap();
        assert_eq!(stage.closed(admin), (4001, "gateway auth changed".to_owned()));
        assert!(!ready(&mut stage, &shared_token()) && ready(&mut stage, NEW));
        let key = stage.key();
        let old = speaking(protocol, stage.client(Some(key)));
        assert_eq!(refused(&mut stage, old.clone()).detail_code(), Some("AUTH_TOKEN_MISMATCH"));
        stage.admit(with_shared(NEW, old));
    }
}

/// #66773: the new token of a device was sent to whoever had it rotated.
pub(crate) fn a_rotated_token_is_shown_to_its_own_device_only(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let admin = operator(&mut stage, protocol, &[ADMIN]);
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key.clone())));
        let (device, hello) = stage.admit(config.clone());
        let first = hello.device_token().unwrap().to_owned();
        let rotate = json!({"deviceId": key.device_id(), "role": "operator"});
        let rotated = stage.call(admin, "device.token.rotate", rotate.clone()).unwrap();
        assert_eq!(stage.closed(device).0, 4001);
        let (device, hello) = stage.admit(config.clone());
        let second = hello.device_token().unwrap().to_owned();
        assert_ne!(first, second);
        let list = stage.call(admin, "device.pair.list", json!({})).unwrap();
        let told = format!("{rotated} {list} {:?}", stage.drain(admin));
        assert!(!told.contains(&second), "it was told to somebody else");
        // The device itself, in on that very token, gets the next one.
        stage.close(device);
        let (device, _) = stage.admit(with_device_token(&second, config.clone()));
        let rotated = stage.call(device, "device.token.rotate", rotate).unwrap();
        let third = rotated["token"].as_str().unwrap().to_owned();
        stage.admit(with_device_token(&third, config.clone()));
        assert!(refused(&mut stage, with_device_token(&second, config)).detail_code().is_some());
    }
}

/// A gateway that trusts the hop at [`PROXY`].
pub(crate) fn behind_a_proxy(place: Place, rate_limit: Option<RateLimit>) -> Stage {
    Stage::with(place, |config| {
        config.trusted_proxies = vec![Cidr::parse(&PROXY.to_string()).unwrap()];
        config.auth.rate_limit = rate_limit;
    })
}

/// Asserts that a secret, right or wrong, is not looked at from there.
pub(crate) fn assert_locked_out(stage: &mut Stage, from: Ipv4Addr, config: ClientConfig) {
    let refusal = turned_away(stage, from, config);
    assert_eq!(refusal.detail_code(), Some("AUTH_RATE_LIMITED"));
}
