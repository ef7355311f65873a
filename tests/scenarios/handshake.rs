//! What a peer may do before hello-ok: how many sockets, how many frames, how large.

use super::speaking;
use clawgate_proto::client::{ClientConfig, ClientEvent};
use clawgate_support::stage::ANSWER_MS;
use clawgate_support::{Actor, Place, Stage};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// Upgraded, and silent from there on.
fn silent(stage: &mut Stage, from: Ipv4Addr) -> Result<Actor, u16> {
    let config = ClientConfig { answers_challenge: false, ..stage.client(None) };
    let actor = stage.open_from(from, config);
    match stage.next(actor, ANSWER_MS) {
        Some(ClientEvent::Challenge { .. }) => Ok(actor),
        Some(ClientEvent::HttpRefused { status, .. }) => Err(status),
        other => panic!("neither challenge nor refusal: {other:?}"),
    }
}

/// Upgraded, with the params it would answer the challenge with.
fn challenged(stage: &mut Stage, protocol: u64) -> (Actor, Value) {
    let key = stage.key();
    let config = ClientConfig { answers_challenge: false, ..speaking(protocol, stage.client(Some(key))) };
    let actor = stage.open(config.clone());
    match stage.next(actor, ANSWER_MS) {
        Some(ClientEvent::Challenge { nonce, ts_ms }) => {
            (actor, config.connect_params(&nonce, ts_ms.unwrap()))
        }
        other => panic!("no challenge: {other:?}"),
    }
}

pub(crate) fn an_address_gets_32_sockets_before_hello(place: Place) {
    let mut stage = Stage::new(place);
    let sockets: Vec<Actor> = (0..32).map(|_| silent(&mut stage, Ipv4Addr::LOCALHOST).unwrap()).collect();
    assert_eq!(silent(&mut stage, Ipv4Addr::LOCALHOST), Err(503));
    assert!(stage.host().has_logged("upgrade.refused"));
    assert!(silent(&mut stage, Ipv4Addr::new(127, 0, 0, 2)).is_ok(), "another address is not concerned");
    // Who goes makes room.
    assert_eq!(stage.close(sockets[0]).0, 1000);
    let room = silent(&mut stage, Ipv4Addr::LOCALHOST);
    assert!(room.is_ok(), "{room:?}");
}

pub(crate) fn frames_behind_connect_are_answered_after_hello(place: Place) {
    for protocol in super::PROTOCOLS {
        let mut stage = Stage::new(place);
        let (actor, params) = challenged(&mut stage, protocol);
        stage.hold_host(true);
        let sent = stage.with_client(actor, |client| {
            client.send_connect(params).unwrap();
            (0..15).map(|_| client.request("health", json!({})).unwrap()).collect::<Vec<_>>()
        });
        stage.hold_host(false);
        let mut answered = Vec::new();
        let mut is_admitted = false;
        while answered.len() < sent.len() {
            match stage.next(actor, ANSWER_MS).expect("an answer") {
                ClientEvent::HelloOk(_) => is_admitted = true,
                ClientEvent::Response(response) => {
                    assert!(is_admitted && response.ok, "nothing is answered before hello-ok");
                    answered.push(response.id);
                }
                ClientEvent::Event(_) => assert!(is_admitted, "no event precedes hello-ok"),
                other @ (ClientEvent::Challenge { .. }
                | ClientEvent::ConnectRefused(_)
                | ClientEvent::Gap { .. }
                | ClientEvent::Unrecognised(_)
                | ClientEvent::HttpRefused { .. }
                | ClientEvent::Closed { .. }) => panic!("{other:?}"),
            }
        }
        assert_eq!(answered, sent, "in the order they came");
    }
}

pub(crate) fn sixteen_frames_behind_connect_are_too_many(place: Place) {
    let mut stage = Stage::new(place);
    let (actor, params) = challenged(&mut stage, 4);
    stage.hold_host(true);
    stage.with_client(actor, |client| {
        client.send_connect(params).unwrap();
        for _ in 0..16 {
            client.request("health", json!({})).unwrap();
        }
    });
    let (code, reason) = stage.closed(actor);
    assert_eq!((code, reason.as_str()), (1008, "too many pending handshake frames"));
    stage.hold_host(false);
}

/// A `connect` of exactly so many bytes.
fn connect_of(params: &Value, bytes: usize) -> String {
    let mut frame = json!({"type": "req", "id": "c", "method": "connect", "params": params});
    frame["params"]["userAgent"] = json!("");
    let room = bytes - frame.to_string().len();
    frame["params"]["userAgent"] = json!("x".repeat(room));
    let text = frame.to_string();
    assert_eq!(text.len(), bytes);
    text
}

pub(crate) fn a_message_before_hello_may_have_64_kib(place: Place) {
    let mut stage = Stage::new(place);
    let (actor, params) = challenged(&mut stage, 4);
    let text = connect_of(&params, 64 * 1024);
    stage.with_client(actor, |client| client.send_text_raw(&text)).unwrap();
    assert!(stage.answer(actor, "c").unwrap().ok);
    // After hello-ok there is room for more.
    let large = json!({"type": "req", "id": "l", "method": "health", "params": {"x": "x".repeat(1 << 20)}});
    stage.with_client(actor, |client| client.send_text_raw(&large.to_string())).unwrap();
    assert!(stage.answer(actor, "l").unwrap().ok);
}

pub(crate) fn nobody_reads_a_message_of_more_before_hello(place: Place) {
    let mut stage = Stage::new(place);
    let (actor, params) = challenged(&mut stage, 4);
    let text = connect_of(&params, 64 * 1024 + 1);
    stage.with_client(actor, |client| client.send_text_raw(&text)).unwrap();
    assert_eq!(stage.closed(actor).0, 1009);
}
