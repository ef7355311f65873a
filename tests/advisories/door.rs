//! Before anybody is known: what is answered, what is counted, and how much is read.

use super::{PROTOCOLS, get, http, operator, silent, speaking};
use clawgate_proto::client::{ClientConfig, ClientEvent};
use clawgate_support::stage::{ANSWER_MS, shared_token};
use clawgate_support::{Actor, Place, Stage};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

const FILE: &str = "{gateway: {mode: 'local', auth: {token: 'cLaWmArKeR-in-the-file'}}}";
const NOT_FIRST: &str = "invalid handshake: first request must be connect";

/// Upgraded, with the params it would answer the challenge with.
fn challenged(stage: &mut Stage, config: ClientConfig) -> (Actor, Value) {
    let actor = stage.open(ClientConfig { answers_challenge: false, ..config.clone() });
    match stage.next(actor, ANSWER_MS) {
        Some(ClientEvent::Challenge { nonce, ts_ms }) => {
            (actor, config.connect_params(&nonce, ts_ms.unwrap()))
        }
        other => panic!("no challenge: {other:?}"),
    }
}

/// CVE-2026-25593 (GHSA-g55j-c2v4-pjcg): a program of this host called `config.apply` without having shown anything,
/// and what it wrote was carried out.
pub(crate) fn nothing_is_done_before_hello(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        stage.host().edit_config(Some(FILE));
        let admin = operator(&mut stage, protocol, &[super::ADMIN]);
        let hash = stage.call(admin, "config.get", json!({})).unwrap()["hash"].clone();
        let change = json!({"raw": "{gateway: {mode: 'local', port: 1}}", "baseHash": hash});
        let apply = json!({"type": "req", "id": "a", "method": "config.apply", "params": change}).to_string();
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key)));

        // As the first thing said.
        let (actor, _) = challenged(&mut stage, config.clone());
        stage.with_client(actor, |client| client.send_text_raw(&apply)).unwrap();
        stage.pass(100);
        assert_eq!(stage.host().config_text().as_deref(), Some(FILE), "it was carried out");
        assert_eq!(stage.closed(actor), (1008, NOT_FIRST.to_owned()));
        // Nor is it a `connect` because its params look like one.
        let (actor, params) = challenged(&mut stage, config.clone());
        let disguised = json!({"type": "req", "id": "a", "method": "config.apply", "params": params});
        stage.with_client(actor, |client| client.send_text_raw(&disguised.to_string())).unwrap();
        assert_eq!(stage.closed(actor), (1008, NOT_FIRST.to_owned()));
        // Behind a `connect` that fails.
        let (actor, params) = challenged(&mut stage, super::with_shared("cLaWmArKeR-guess", config.clone()));
        stage.with_client(actor, |client| {
            client.send_connect(params).unwrap();
            client.send_text_raw(&apply).unwrap();
        });
        assert_eq!(stage.closed(actor).0, 1008);
        assert_eq!(stage.host().config_text().as_deref(), Some(FILE));

        // Behind one that succeeds it is carried out.
        let (actor, params) = challenged(&mut stage, config);
        stage.with_client(actor, |client| {
            client.send_connect(params).unwrap();
            client.send_text_raw(&apply).unwrap();
        });
        assert!(stage.answer(actor, "a").unwrap().ok);
        assert!(stage.host().config_text().unwrap().contains("port"));
    }
}

/// CVE-2026-41399: sockets could be upgraded without end before anybody was known.
pub(crate) fn sockets_before_hello_are_counted(place: Place) {
    let mut stage = Stage::with(place, |config| config.limits.preauth_sockets_max = 40);
    let (stranger, another) = (Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 4));
    for _ in 0..32 {
        silent(&mut stage, stranger).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(silent(&mut stage, stranger).map(|_| ()), Err(503), "one address has 32");
    }
    // Nobody else pays for it.
    let key = stage.key();
    let config = stage.client(Some(key));
    let (good, _) = stage.admit(config.clone());
    for _ in 0..8 {
        silent(&mut stage, another).unwrap();
    }
    assert_eq!(silent(&mut stage, another).map(|_| ()), Err(503), "all together have 40");
    assert!(stage.call(good, "status", json!({})).is_ok(), "who is in stays in");
}

/// GHSA-mfg5-7q5g-f37j: sockets that had not begun could stay for ever, in any number.
pub(crate) fn who_never_says_hello_is_sent_away(place: Place) {
    let ms = if place.is_real() { 2_000 } else { 15_000 };
    let mut stage = Stage::with(place, |config| {
        config.limits.handshake_timeout_ms = ms;
        config.limits.head_timeout_ms = ms;
    });
    let key = stage.key();
    let config = stage.client(Some(key));
    let (good, _) = stage.admit(config);
    let upgraded = silent(&mut stage, Ipv4Addr::LOCALHOST).unwrap();
    // The time runs out for a whole head and for half a one, and for none at all.
    for begun in ["GET / HTTP/1.1\r\nHost: 127", ""] {
        let answer = stage.exchange(begun.as_bytes(), 10 * ms);
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{begun:?}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(stage.closed(upgraded), (1008, "handshake timeout".to_owned()));
    assert!(stage.call(good, "status", json!({})).is_ok(), "who said it in time stays");
}

/// CVE-2024-37890 and CVE-2026-48779 (GHSA-96hv-2xvq-fx4p), in a library for WebSockets: a head of many fields ended the
/// process, and so did another input to its parser.
pub(crate) fn a_head_of_many_fields_is_refused(place: Place) {
    let mut stage = Stage::new(place);
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut ask = |fields: usize| {
        let many: String = (0..fields).map(|n| format!("x-{n}: y\r\n")).collect();
        let head = get("/", &format!("{upgrade}{many}")).replace("Connection: close", "Connection: Upgrade");
        // Who is upgraded stays until the handshake times out: what came first is enough.
        let answer = stage.exchange(head.as_bytes(), 1_000);
        String::from_utf8_lossy(&answer).get(9..12).map(str::to_owned)
    };
    assert_eq!(ask(200).as_deref(), Some("431"), "too many");
    assert_eq!(ask(10_000).as_deref(), Some("431"), "and too long");
    assert_eq!(ask(40).as_deref(), Some("101"));
    // A frame that announces more than there is memory costs nobody anything.
    let endless = [0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    let actor = silent(&mut stage, Ipv4Addr::LOCALHOST).unwrap();
    stage.with_client(actor, |client| client.send_frame_raw(&endless));
    assert_eq!(stage.closed(actor).0, 1009);
    let config = stage.client_as("cli", "cli", None);
    stage.admit(config);
}

/// GHSA-rm59-992w-x2mv: the body of a request was collected before anybody asked who sent it.
pub(crate) fn a_body_is_bounded_before_anything_is_known(place: Place) {
    let mut stage = Stage::new(place);
    let post = |fields: &str, body: &str| {
        format!("POST /hooks/wake HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{fields}\r\n\r\n{body}")
    };
    // Refused for what it announces, before a byte of it came.
    for length in ["65537", "1073741824", "18446744073709551615"] {
        let request = post(&format!("Content-Length: {length}"), "");
        assert_eq!(http(&mut stage, Ipv4Addr::LOCALHOST, &request).0, 413, "{length}");
    }
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let request = post("Transfer-Encoding: chunked", &format!("{chunk}{chunk}8000\r\n"));
    assert_eq!(http(&mut stage, Ipv4Addr::LOCALHOST, &request).0, 413);
    // What fits is read, and answered.
    let request = post("Transfer-Encoding: chunked", &format!("{chunk}0\r\n\r\n"));
    assert_eq!(http(&mut stage, Ipv4Addr::LOCALHOST, &request).0, 404);
    let request = post("Content-Length: 4", "body");
    assert_eq!(http(&mut stage, Ipv4Addr::LOCALHOST, &request).0, 404);
}

/// GHSA-v865-p3gq-hw6m: a path that was encoded more than once was one thing to the filter that asks for credentials, and
/// another to whoever answered.
pub(crate) fn a_path_has_one_spelling(place: Place) {
    let mut stage = Stage::new(place);
    let bearer = format!("Authorization: Bearer {}\r\n", shared_token());
    for spelling in [
        "/%72eadyz",
        "/%2572eadyz",
        "/%252572eadyz",
        "//readyz",
        "/./readyz",
        "/x/../readyz",
        "/x/%2e%2e/readyz",
        "/readyz/",
        "/READYZ",
        "/readyz;x",
        "/readyz%00",
        "/readyz%2f",
    ] {
        let (status, answer) = http(&mut stage, Ipv4Addr::LOCALHOST, &get(spelling, &bearer));
        assert_eq!(status, 404, "{spelling}");
        assert!(!answer.contains("uptimeMs"), "{spelling}: {answer}");
    }
    // A separator to some readers, and none to others.
    for doubtful in ["/x\\..\\readyz", "/readyz#x", "readyz", "http://other.example/readyz"] {
        assert_eq!(http(&mut stage, Ipv4Addr::LOCALHOST, &get(doubtful, &bearer)).0, 400, "{doubtful}");
    }
    let (status, answer) = http(&mut stage, Ipv4Addr::LOCALHOST, &get("/readyz?x=1", &bearer));
    assert!(status == 200 && answer.contains("uptimeMs"), "{answer}");
}

/// GHSA-943q-mwmv-hhvh: an endpoint for tools offered whatever was not forbidden.
pub(crate) fn what_no_table_names_is_an_admins_business(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let scopes = ["operator.write", "operator.approvals", "operator.pairing"];
        let writer = operator(&mut stage, protocol, &scopes);
        let admin = operator(&mut stage, protocol, &[super::ADMIN]);
        for method in ["sessions.spawn.hidden", "tools.invoke.any", "device.pair.approveAll", "x"] {
            let error = stage.call(writer, method, json!({})).unwrap_err();
            assert_eq!(error.message, "missing scope: operator.admin", "{method}");
            let error = stage.call(admin, method, json!({})).unwrap_err();
            assert_eq!(error.message, format!("unknown method: {method}"));
        }
        assert!(stage.call(writer, "device.pair.list", json!({})).is_ok());
        // An endpoint that nobody switched on is not there, whoever asks.
        let bearer = format!("Authorization: Bearer {}\r\nContent-Length: 2\r\n", shared_token());
        for path in ["/tools/invoke", "/v1/chat/completions", "/v1/responses", "/hooks/agent"] {
            let request = get(path, &bearer).replacen("GET", "POST", 1) + "{}";
            assert_eq!(http(&mut stage, Ipv4Addr::LOCALHOST, &request).0, 404, "{path}");
        }
    }
}
