//! Where a peer comes from: one address in one form, believed only as far as trusted hops tell, and never enough.

use super::credentials::{assert_locked_out, behind_a_proxy};
use super::{
    ADMIN, PROTOCOLS, PROXY, asking, forwarded, get, http, knock, operator, refused, request_id, speaking,
    turned_away, with_shared,
};
use clawgate_proto::client::ClientConfig;
use clawgate_proto::config::RateLimit;
use clawgate_proto::net::Cidr;
use clawgate_support::stage::shared_token;
use clawgate_support::{Place, Stage, secrets};
use serde_json::json;

/// Five wrong secrets, and that was it.
const FIVE: Option<RateLimit> =
    Some(RateLimit { attempts_max: 5, window_ms: 60_000, lockout_ms: 300_000, exempt_loopback: true });

/// GHSA-5847-rm3g-23mw: `1.2.3.4` and `::ffff:1.2.3.4` were counted apart, so that there were twice as many guesses.
pub(crate) fn one_address_has_one_counter_however_it_is_spelt(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = behind_a_proxy(place, FIVE);
        let config = speaking(protocol, stage.client_as("cli", "cli", None));
        let spellings = [
            "203.0.113.7",
            "::ffff:203.0.113.7",
            "::ffff:cb00:7107",
            "[::ffff:203.0.113.7]:4711",
            "203.0.113.7:4711",
        ];
        for (n, spelling) in spellings.iter().enumerate() {
            let guess = secrets::chosen(&format!("guess-{n}"));
            let refusal =
                turned_away(&mut stage, PROXY, forwarded(spelling, with_shared(&guess, config.clone())));
            assert_eq!(refusal.detail_code(), Some("AUTH_TOKEN_MISMATCH"), "{spelling}");
        }
        for spelling in spellings {
            assert_locked_out(&mut stage, PROXY, forwarded(spelling, config.clone()));
        }
        // A neighbour is not locked out with it.
        assert!(knock(&mut stage, PROXY, forwarded("203.0.113.8", config)).is_ok());
    }
}

/// CVE-2026-35656: hops that the client itself had put into `X-Forwarded-For` were believed. It was on loopback then,
/// and somebody new with each guess.
pub(crate) fn hops_that_a_client_invented_make_it_neither_local_nor_new(place: Place) {
    for protocol in PROTOCOLS {
        // The proxy puts the address that it saw behind what came.
        let mut stage = behind_a_proxy(place, FIVE);
        for invented in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.1, 127.0.0.1", "localhost", ""] {
            let key = stage.key();
            let config = speaking(protocol, stage.client(Some(key)));
            let config = forwarded(&format!("{invented}, 203.0.113.7"), config);
            let refusal = turned_away(&mut stage, PROXY, config.clone());
            assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"), "{invented}");
            let request = get("/readyz", &format!("X-Forwarded-For: {invented}, 203.0.113.7\r\n"));
            assert!(!http(&mut stage, PROXY, &request).1.contains("uptimeMs"), "{invented}");
        }
        let config = speaking(protocol, stage.client_as("cli", "cli", None));
        for n in 0..5 {
            let guess = with_shared(&secrets::chosen(&format!("guess-{n}")), config.clone());
            turned_away(&mut stage, PROXY, forwarded(&format!("198.51.100.{n}, 203.0.113.7"), guess));
        }
        assert_locked_out(&mut stage, PROXY, forwarded("198.51.100.9, 203.0.113.7", config.clone()));
        // Who is not that client comes in, whatever it says before.
        assert!(knock(&mut stage, PROXY, forwarded("203.0.113.7, 203.0.113.8", config)).is_ok());

        // A peer that is no trusted proxy is not believed at all: having forwarded makes it remote, and no more.
        let mut stage = Stage::new(place);
        for header in ["X-Forwarded-For", "X-Real-IP", "X-Forwarded-Host", "Forwarded"] {
            let key = stage.key();
            let mut config = speaking(protocol, stage.client(Some(key)));
            config.headers.push((header.to_owned(), "127.0.0.1".to_owned()));
            assert_eq!(refused(&mut stage, config).detail_code(), Some("PAIRING_REQUIRED"), "{header}");
        }
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key)));
        stage.admit(config);
    }
}

/// CVE-2026-3690 (GHSA-vvjh-f6p9-5vcf, ZDI-CAN-29311): whoever shared an address with somebody who was in, was in. The
/// rule is for everything that asks who somebody is; the canvas itself is in `canvas.rs`.
pub(crate) fn an_address_shared_with_somebody_who_is_in_opens_nothing(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = behind_a_proxy(place, None);
        let admin = operator(&mut stage, protocol, &[ADMIN]);
        let key = stage.key();
        let config = forwarded("203.0.113.7", speaking(protocol, stage.client(Some(key))));
        let waits = turned_away(&mut stage, PROXY, config.clone());
        stage.call(admin, "device.pair.approve", json!({"requestId": request_id(&waits)})).unwrap();
        let (insider, _) = knock(&mut stage, PROXY, config).unwrap();
        assert!(stage.call(insider, "status", json!({})).is_ok());

        // The same house, another person.
        let fields = "X-Forwarded-For: 203.0.113.7\r\n";
        assert!(!http(&mut stage, PROXY, &get("/readyz", fields)).1.contains("uptimeMs"));
        let key = stage.key();
        let stranger = forwarded("203.0.113.7", speaking(protocol, stage.client(Some(key))));
        let mut unknowing = stranger.clone();
        unknowing.auth.token = None;
        assert_eq!(turned_away(&mut stage, PROXY, unknowing).detail_code(), Some("AUTH_TOKEN_MISSING"));
        assert_eq!(turned_away(&mut stage, PROXY, stranger).detail_code(), Some("PAIRING_REQUIRED"));
        // Who proves the secret is shown what it is worth.
        let fields = format!("{fields}Authorization: Bearer {}\r\n", shared_token());
        assert!(http(&mut stage, PROXY, &get("/readyz", &fields)).1.contains("uptimeMs"));
    }
}

/// GHSA-cjv3-m589-v3rx: without `X-Forwarded-For` the proxy's own address was taken for the client's, which made
/// everybody behind it local.
pub(crate) fn a_trusted_hop_that_names_nobody_is_not_the_client(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = behind_a_proxy(place, None);
        for chain in [None, Some(""), Some("unknown"), Some("127.0.0.9"), Some("_hidden, 127.0.0.9")] {
            let key = stage.key();
            let mut config = speaking(protocol, stage.client(Some(key)));
            if let Some(chain) = chain {
                config = forwarded(chain, config);
            }
            let refusal = turned_away(&mut stage, PROXY, config);
            assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"), "{chain:?}");
            let field = chain.map(|chain| format!("X-Forwarded-For: {chain}\r\n")).unwrap_or_default();
            assert!(!http(&mut stage, PROXY, &get("/readyz", &field)).1.contains("uptimeMs"), "{chain:?}");
        }
        // Who comes directly from this host is paired, and one that somebody approved comes in behind the proxy too.
        let admin = operator(&mut stage, protocol, &[ADMIN]);
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key)));
        let waits = turned_away(&mut stage, PROXY, config.clone());
        stage.call(admin, "device.pair.approve", json!({"requestId": request_id(&waits)})).unwrap();
        assert!(knock(&mut stage, PROXY, config).is_ok());
    }
}

/// The review of pull request #42507: `127.evil.com` was taken for loopback, since it begins like it.
pub(crate) fn a_name_that_begins_like_loopback_is_not_loopback(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let port = stage.config().port;
        for name in
            ["127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "2130706433"]
        {
            // A name that was pointed at this machine (DNS rebinding) makes nobody local.
            let key = stage.key();
            let config = ClientConfig {
                host: format!("{name}:{port}"),
                ..speaking(protocol, stage.client(Some(key.clone())))
            };
            let refusal = refused(&mut stage, config.clone());
            assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"), "{name}");
            // Nor is a page there one of ours.
            let page = ClientConfig { origin: Some(format!("http://{name}:{port}")), ..config };
            let refusal = refused(&mut stage, page);
            assert_eq!(refusal.detail_code(), Some("CONTROL_UI_ORIGIN_NOT_ALLOWED"), "{name}");
            // And it is no range that a proxy could be in.
            assert!(Cidr::parse(name).is_none() || name == "0.0.0.0");
        }
        for name in ["127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST", "[::1]"] {
            let key = stage.key();
            let config = ClientConfig {
                host: format!("{name}:{port}"),
                ..speaking(protocol, stage.client(Some(key)))
            };
            let (actor, _) = stage.admit(asking(&["operator.read"], config));
            stage.close(actor);
        }
    }
}
