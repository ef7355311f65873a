//! TLS below everything: what is said to whom, and how it ends. That the rest is the same by TLS is what all the other
//! scenarios show when they play there.

use crate::admin;
use clawgate_proto::client::{ClientEvent, ClosedBy};
use clawgate_proto::config::{CanvasHost, ControlUi};
use clawgate_proto::tls::Fault;
use clawgate_support::sealed::{self, TLS12, TLS13};
use clawgate_support::{Place, Stage};

use serde_json::json;

const SEALED: [Place; 3] = [Place::SealedCrumbled, Place::SealedStd, Place::SealedSmol];

#[test]
fn who_speaks_plain_http_is_told_to_use_tls_and_nothing_else() {
    for place in SEALED {
        let mut stage = Stage::with(place, |config| {
            config.strict_transport_security = Some("max-age=1".into());
        });
        for request in ["GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "POST", "g"] {
            let answer = stage.exchange_in_the_clear(request.as_bytes(), 20_000);
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 "), "{place:?}: {answer}");
            assert!(
                answer.ends_with("This port speaks TLS: use https:// or wss:// instead of http:// or ws://.")
            );
            assert!(answer.contains("\r\nConnection: close\r\n") && !answer.contains("Strict-Transport"));
        }
    }
}

#[test]
fn what_is_neither_tls_nor_http_gets_an_alert() {
    for place in SEALED {
        let mut stage = Stage::new(place);
        for bytes in
            [&b"\x16\x03\x01\x00\x06c\x00\x00\x02hi"[..], b"\x00\x01\x02\x03\x04\x05\x06\x07", &[0x80; 300]]
        {
            let answer = stage.exchange_in_the_clear(bytes, 20_000);
            // RFC 8446 section 6: record type 21, and two bytes, of which the first says that it is fatal.
            assert!(matches!(answer.as_slice(), [21, 3, _, 0, 2, 2, _]), "{place:?}: {answer:?}");
        }
    }
}

#[test]
fn who_says_nothing_is_cut_when_the_heads_time_is_over() {
    for place in SEALED {
        let mut stage = Stage::with(place, |config| config.limits.head_timeout_ms = 300);
        for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
            assert_eq!(stage.exchange_in_the_clear(bytes, 20_000), b"", "{place:?}");
        }
        let ended = stage.host().records().iter().filter(|record| record.event == "peer.ending").count();
        assert_eq!(ended, 2, "{place:?}");
        let reasons = stage.host().records();
        assert!(reasons.iter().any(|record| format!("{record:?}").contains("head-timeout")), "{place:?}");
    }
}

#[test]
fn a_clean_end_says_so() {
    for place in SEALED {
        let mut stage = Stage::new(place);
        let close = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert!(stage.exchange(close, 20_000).starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(stage.has_ended_cleanly(), "{place:?}");
        // A fault is an answer like any other.
        assert!(stage.exchange(b"BAD\r\n\r\n", 20_000).starts_with(b"HTTP/1.1 400 "));
        assert!(stage.has_ended_cleanly(), "{place:?}");
    }
}

#[test]
fn both_versions_carry_a_session_with_large_messages() {
    for place in SEALED {
        for version in [&TLS13, &TLS12] {
            let mut stage = Stage::new(place);
            let (key, mut config) = (stage.key(), stage.client(None));
            config.identity = Some(key);
            config.tls = Some(sealed::connector_of(version));
            let (actor, _) = stage.admit(config);
            // Several records each way.
            let size = if place == Place::SealedCrumbled { 40_000 } else { 600_000 };
            let answer = stage.call(actor, "health", json!({ "x": "y".repeat(size) }));
            assert!(answer.is_ok() || answer.is_err_and(|error| error.code == "INVALID_REQUEST"));
            assert_eq!(stage.close(actor).0, 1000);
        }
    }
}

#[test]
fn who_does_not_trust_the_certificate_sends_nothing_and_the_log_says_so() {
    for place in SEALED {
        let mut stage = Stage::new(place);
        let mut config = stage.client(None);
        config.tls = Some(sealed::distrustful());
        let actor = stage.open(config);
        let event = stage.next(actor, 20_000);
        let Some(ClientEvent::Closed { code: 1006, by: ClosedBy::Transport, .. }) = event else {
            panic!("{place:?}: {event:?}");
        };
        assert_eq!(stage.with_client(actor, |client| client.tls_fault()), Some(Fault::Certificate));
        if !place.is_real() {
            // Here a socket that is shut takes with it what was on its way.
            continue;
        }
        // Somebody who does trust it has the gateway look at what came before.
        admin(&mut stage, 4);
        let records = stage.host().records();
        let told = records.iter().any(|record| {
            record.event == "peer.ending" && format!("{record:?}").contains("certificate-refused")
        });
        assert!(told, "{place:?}: {records:?}");
    }
}

#[test]
fn a_client_of_tls_at_a_gateway_without_it_knows_why() {
    for place in [Place::Simulated, Place::Crumbled, Place::Std, Place::Smol] {
        let mut stage = Stage::new(place);
        let mut config = stage.client(None);
        config.tls = Some(sealed::connector());
        let actor = stage.open(config);
        let event = stage.next(actor, 20_000);
        assert!(matches!(event, Some(ClientEvent::Closed { code: 1006, .. })), "{place:?}: {event:?}");
        assert_eq!(stage.with_client(actor, |client| client.tls_fault()), Some(Fault::NotTls), "{place:?}");
    }
}

#[test]
fn addresses_of_its_own_say_that_it_is_encrypted() {
    for place in SEALED {
        let mut stage = Stage::with(place, |config| {
            config.about.reach.public_url = Some("pi.local:18789".to_owned());
            config.canvas = Some(CanvasHost { live_reload: false });
            config.control_ui = Some(ControlUi { built_in: true, base_path: String::new() });
        });
        let key = stage.key();
        let (_, hello) = stage.admit(crate::speaking(3, stage.client(Some(key))));
        let url = hello.0["canvasHostUrl"].as_str().unwrap_or_default();
        assert!(url.starts_with("https://127.0.0.1:"), "{place:?}: {url}");
        let actor = admin(&mut stage, 4);
        let answer = stage.call(actor, "device.pair.setupCode", json!({})).unwrap();
        assert_eq!(answer["gatewayUrl"], "wss://pi.local:18789");
        let page = json!({ "bootstrapProfile": "control-ui-owner" });
        let answer = stage.call(actor, "device.pair.setupCode", page).unwrap();
        assert!(answer["gatewayUrl"].as_str().is_some_and(|url| url.starts_with("wss://127.0.0.1:")));
    }
}
