//! The client against a scripted gateway made of bytes in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod upgrade;

use super::*;
use crate::conn::upgrade::accept_key;
use crate::connect::{ConnectParams, Proof, proof};
use crate::time::Wall;
use proptest::prelude::*;
use serde_json::value::RawValue;

const NONCE: &str = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
const TS_MS: u64 = 1_795_336_353_595;
const TOKEN: &str = "cLaWmArKeR-shared";
const DEVICE_TOKEN: &str = "cLaWmArKeR-device";

fn at(ms: u64) -> Now {
    Now { mono: Mono::default().plus_millis(ms), wall: Wall(TS_MS + ms) }
}

fn config() -> ClientConfig {
    ClientConfig { identity: Some(DeviceKey::from_seed(&[7; 32])), ..plain() }
}

/// Without a device: its arithmetic takes most of the time of a test that replays often.
fn plain() -> ClientConfig {
    let client = ClientInfo {
        id: "test".to_owned(),
        mode: "test".to_owned(),
        version: "1.0.0".to_owned(),
        platform: " Linux ".to_owned(),
        display_name: None,
        device_family: Some("Linux".to_owned()),
        model_identifier: None,
        instance_id: None,
        build_id: None,
        time_zone: None,
    };
    let mut config = ClientConfig::new("127.0.0.1:18789", client);
    config.auth.token = Some(TOKEN.to_owned());
    config
}

/// The other side, and everything it ever said.
struct Gateway {
    socket: WebSocket,
    heard: Vec<u8>,
    upgraded: bool,
    said: Vec<u8>,
}

impl Gateway {
    fn new() -> Self {
        let socket = WebSocket::new(Role::Server, 1 << 20, Budget::new(usize::MAX));
        Self { socket, heard: Vec::new(), upgraded: false, said: Vec::new() }
    }

    /// Reads what the client wrote; answers the upgrade; gives the messages.
    fn hear(&mut self, client: &mut Client) -> Vec<Value> {
        client.take_wire(&mut self.heard);
        if !self.upgraded {
            let end = self.heard.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let head = String::from_utf8(self.heard.drain(..end).collect()).unwrap();
            self.said.extend_from_slice(switching(&head).as_bytes());
            self.upgraded = true;
        }
        let mut messages = Vec::new();
        let bytes = core::mem::take(&mut self.heard);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (taken, received) = self.socket.receive(rest);
            rest = &rest[taken..];
            match received {
                None => assert!(taken > 0, "bytes of no frame"),
                Some(Received::Message(message)) => {
                    messages.push(serde_json::from_str(message.text().unwrap()).unwrap());
                }
                Some(Received::Closed(_)) => {}
                Some(Received::Fault(fault)) => panic!("the client broke a rule: {fault:?}"),
            }
        }
        messages
    }

    fn say(&mut self, frame: &Value) {
        self.socket.send_text(frame.to_string());
    }

    /// Everything that was not given yet.
    fn wire(&mut self, sent: &mut usize) -> Vec<u8> {
        while self.socket.wants_write() {
            self.socket.take_wire(&mut self.said);
        }
        let new = self.said[*sent..].to_vec();
        *sent = self.said.len();
        new
    }
}

/// A client and its gateway.
struct Pair {
    client: Client,
    gateway: Gateway,
    sent: usize,
}

impl Pair {
    fn new(config: ClientConfig) -> Self {
        let client = Client::new(config, Seed::new([1; 32]), at(0));
        Self { client, gateway: Gateway::new(), sent: 0 }
    }

    /// The client's messages, then the gateway's bytes into the client.
    fn turn(&mut self, now: Now) -> Vec<Value> {
        let messages = self.gateway.hear(&mut self.client);
        let bytes = self.gateway.wire(&mut self.sent);
        if !bytes.is_empty() {
            self.client.receive(now, &bytes);
        }
        messages
    }

    fn challenged(config: ClientConfig) -> (Self, Value) {
        let mut pair = Self::new(config);
        pair.turn(at(0));
        pair.gateway.say(&json!({ "type": "event", "event": "connect.challenge",
            "payload": { "nonce": NONCE, "ts": TS_MS } }));
        pair.turn(at(1));
        let mut messages = pair.turn(at(1));
        assert_eq!(messages.len(), 1);
        (pair, messages.remove(0))
    }

    fn open(config: ClientConfig) -> Self {
        let (mut pair, connect) = Self::challenged(config);
        pair.gateway.say(&json!({ "type": "res", "id": connect["id"], "ok": true, "payload": hello() }));
        pair.turn(at(2));
        assert!(pair.client.is_open());
        pair.events();
        pair
    }

    fn events(&mut self) -> Vec<ClientEvent> {
        core::iter::from_fn(|| self.client.next_event()).collect()
    }

    fn only_event(&mut self) -> ClientEvent {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    fn assert_closed(&mut self, code: u16, reason: &str, by: ClosedBy) {
        let expected = format!("{:?}", ClientEvent::Closed { code, reason: reason.to_owned(), by });
        assert_eq!(format!("{:?}", self.only_event()), expected);
    }
}

fn hello() -> Value {
    json!({ "type": "hello-ok", "protocol": 4, "server": { "version": "x", "connId": "c1" },
        "auth": { "role": "operator", "scopes": ["operator.read"], "deviceToken": DEVICE_TOKEN },
        "policy": { "maxPayload": 26_214_400, "maxBufferedBytes": 52_428_800, "tickIntervalMs": 1_000 } })
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap()
}

fn switching(request: &str) -> String {
    let accept = accept_key(header(request, "Sec-WebSocket-Key"));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

#[test]
fn connect_is_well_formed_and_its_proof_holds() {
    let (_, frame) = Pair::challenged(config());
    assert_eq!((&frame["type"], &frame["method"]), (&json!("req"), &json!("connect")));
    let raw = RawValue::from_string(frame["params"].to_string()).unwrap();
    let params = ConnectParams::parse(Some(&raw)).unwrap();
    assert_eq!((params.min_protocol, params.max_protocol), (3, 4));
    assert_eq!(params.device.as_ref().unwrap().signed_at, TS_MS);
    let key = DeviceKey::from_seed(&[7; 32]).public_key_base64url();
    assert_eq!(proof::check(&params, NONCE, Wall(TS_MS), 0), Proof::Good { public_key: key });
}

#[test]
fn what_is_not_set_is_not_sent() {
    let mut config = config();
    config.auth = Credentials::default();
    config.identity = None;
    let params = config.connect_params(NONCE, TS_MS);
    let keys: Vec<&str> = params.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["caps", "client", "maxProtocol", "minProtocol", "role", "scopes"]);
    config.path_env = Some("/usr/bin:/bin".to_owned());
    assert_eq!(config.connect_params(NONCE, TS_MS)["pathEnv"], "/usr/bin:/bin");
}

#[test]
fn hello_in_either_dialect_opens_the_connection() {
    for protocol in [3, 4] {
        let (mut pair, connect) = Pair::challenged(config());
        let mut payload = hello();
        payload["protocol"] = json!(protocol);
        if protocol == 3 {
            payload.as_object_mut().unwrap().remove("auth");
        }
        pair.gateway.say(&json!({ "type": "res", "id": connect["id"], "ok": true, "payload": payload }));
        pair.turn(at(2));
        let events = pair.events();
        let [ClientEvent::Challenge { nonce, ts_ms }, ClientEvent::HelloOk(hello)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((nonce.as_str(), *ts_ms), (NONCE, Some(TS_MS)));
        assert_eq!(hello.protocol(), Some(protocol));
        assert_eq!(hello.device_token(), (protocol == 4).then_some(DEVICE_TOKEN));
        assert!(pair.client.is_open());
    }
}

#[test]
fn a_refused_connect_is_told_and_the_gateways_close_waited_for() {
    let (mut pair, connect) = Pair::challenged(config());
    pair.events();
    pair.gateway.say(&json!({ "type": "res", "id": connect["id"], "ok": false,
        "error": { "code": "INVALID_REQUEST", "message": "no", "details": { "code": "AUTH_TOKEN_MISMATCH" } } }));
    pair.turn(at(5));
    let ClientEvent::ConnectRefused(error) = pair.only_event() else { panic!() };
    assert_eq!(error.detail("code"), Some("AUTH_TOKEN_MISMATCH"));
    pair.gateway.socket.close(CloseFrame::new(1008, "no"));
    pair.turn(at(6));
    pair.assert_closed(1008, "no", ClosedBy::Peer);
    assert!(!pair.client.is_finished(), "the answer to the close frame is still to be written");
    pair.turn(at(6));
    assert!(pair.client.is_finished());
    assert!(pair.gateway.socket.is_finished());
}

#[test]
fn a_gateway_that_refuses_and_does_not_close_is_closed() {
    let (mut pair, connect) = Pair::challenged(config());
    let error = json!({ "code": "INVALID_REQUEST", "message": "no" });
    pair.gateway.say(&json!({ "type": "res", "id": connect["id"], "ok": false, "error": error }));
    pair.turn(at(5));
    pair.events();
    pair.client.handle_timeout(at(5 + 1_999));
    assert!(!pair.client.wants_write());
    pair.client.handle_timeout(at(5 + 2_000));
    pair.turn(at(5 + 2_000));
    pair.turn(at(5 + 2_000));
    pair.assert_closed(1008, "connect failed", ClosedBy::Us);
}

#[test]
fn requests_and_answers_carry_the_same_id() {
    let mut pair = Pair::open(config());
    let first = pair.client.request("health", json!({})).unwrap();
    let second = pair.client.request("status", json!({ "a": [1] })).unwrap();
    let sent = pair.turn(at(3));
    assert_eq!(sent[1], json!({ "type": "req", "id": second, "method": "status", "params": { "a": [1] } }));
    assert_ne!(first, second);
    let error = json!({ "code": "UNAVAILABLE", "message": "busy", "retryAfterMs": 5 });
    pair.gateway.say(&json!({ "type": "res", "id": second, "ok": false, "error": error }));
    pair.gateway.say(&json!({ "type": "res", "id": first, "ok": true, "payload": { "n": 1 } }));
    pair.turn(at(4));
    let mut answers = pair.events().into_iter().map(|event| {
        let ClientEvent::Response(response) = event else { panic!("{event:?}") };
        (response.id.clone(), response.into_result())
    });
    let (id, result) = answers.next().unwrap();
    assert_eq!((id, result.unwrap_err().retry_after_ms), (second, Some(5)));
    assert_eq!(answers.next().unwrap(), (first, Ok(json!({ "n": 1 }))));
}

#[test]
fn requests_need_an_open_socket() {
    let mut client = Client::new(config(), Seed::new([1; 32]), at(0));
    assert_eq!(client.request("health", json!({})), Err(NotOpen));
    let mut pair = Pair::open(config());
    pair.client.close(at(3), 1000, "done");
    assert_eq!(pair.client.request("health", json!({})), Err(NotOpen));
    assert_eq!(pair.client.send_text_raw("x"), Err(NotOpen));
}

#[test]
fn a_missing_number_is_a_gap_and_a_missing_seq_is_none() {
    let mut pair = Pair::open(config());
    for seq in [json!(4), json!(5), Value::Null, json!(8), json!(9)] {
        pair.gateway.say(&json!({ "type": "event", "event": "tick", "payload": { "ts": 1 }, "seq": seq }));
    }
    pair.turn(at(3));
    let told: Vec<String> = pair
        .events()
        .iter()
        .map(|event| match event {
            ClientEvent::Event(event) => format!("{:?}", event.seq),
            ClientEvent::Gap { expected, got } => format!("gap {expected} {got}"),
            ClientEvent::Challenge { .. }
            | ClientEvent::HelloOk(_)
            | ClientEvent::ConnectRefused(_)
            | ClientEvent::Response(_)
            | ClientEvent::Unrecognised(_)
            | ClientEvent::HttpRefused { .. }
            | ClientEvent::Closed { .. } => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(told, ["Some(4)", "Some(5)", "None", "gap 6 8", "Some(8)", "Some(9)"]);
}

#[test]
fn messages_that_are_no_frames_are_told_and_survived() {
    let deep =
        format!("{{\"type\":\"event\",\"event\":\"x\",\"payload\":{}{}}}", "[".repeat(500), "]".repeat(500));
    let cases = [
        "",
        "reload",
        "[]",
        "null",
        r#"{"type":"req","id":"1","method":"m"}"#,
        r#"{"type":"res","id":5,"ok":true}"#,
        r#"{"type":"res","id":"5"}"#,
        r#"{"type":"res","id":"5","ok":false,"error":{"code":"FORBIDDEN","message":""}}"#,
        r#"{"type":"res","id":"5","ok":false,"error":"no"}"#,
        r#"{"type":"event","event":""}"#,
        r#"{"type":"event","event":"tick","seq":-1}"#,
    ];
    let mut pair = Pair::open(config());
    for text in cases {
        pair.gateway.socket.send_text(text.to_owned());
        pair.turn(at(3));
        let ClientEvent::Unrecognised(Unrecognised(got)) = pair.only_event() else { panic!("{text}") };
        assert_eq!(&*got, text);
    }
    pair.gateway.socket.send_text(deep);
    pair.turn(at(3));
    let ClientEvent::Event(event) = pair.only_event() else { panic!() };
    assert_eq!(event.value(), Value::Null);
    assert!(pair.client.is_open());
}

#[test]
fn a_silent_gateway_is_closed_after_two_tick_intervals() {
    let mut pair = Pair::open(config());
    assert_eq!(pair.client.next_deadline(), Some(at(2 + 2_000).mono));
    pair.gateway.socket.ping();
    pair.turn(at(1_000));
    assert_eq!(pair.client.next_deadline(), Some(at(1_000 + 2_000).mono), "any byte is life");
    pair.client.handle_timeout(at(2_999));
    assert!(pair.client.is_open());
    pair.client.handle_timeout(at(3_000));
    assert!(!pair.client.is_open());
    assert_eq!(pair.client.next_deadline(), Some(at(5_000).mono));
    assert!(pair.events().is_empty());
    pair.client.handle_timeout(at(5_000));
    pair.assert_closed(4000, "tick timeout", ClosedBy::Us);
    assert_eq!(pair.client.next_deadline(), None);
    pair.client.handle_timeout(at(50_000));
    assert!(pair.events().is_empty());
}

#[test]
fn an_absurd_tick_interval_is_bounded() {
    for (told, used) in [(json!(0), 200), (json!(u64::MAX), 7_200_000), (json!("x"), 60_000)] {
        let (mut pair, connect) = Pair::challenged(config());
        let mut payload = hello();
        payload["policy"]["tickIntervalMs"] = told;
        pair.gateway.say(&json!({ "type": "res", "id": connect["id"], "ok": true, "payload": payload }));
        pair.turn(at(2));
        assert_eq!(pair.client.next_deadline(), Some(at(2 + used).mono));
    }
}

#[test]
fn each_step_of_the_handshake_has_its_deadline() {
    let mut pair = Pair::new(config());
    pair.client.handle_timeout(at(14_999));
    assert!(pair.events().is_empty());
    pair.client.handle_timeout(at(15_000));
    pair.assert_closed(1006, "connect timeout", ClosedBy::Transport);
    assert!(pair.client.is_finished());

    let mut pair = Pair::new(config());
    pair.turn(at(10));
    assert_eq!(pair.client.next_deadline(), Some(at(15_010).mono));
    pair.client.handle_timeout(at(15_010));
    pair.client.handle_timeout(at(17_010));
    pair.assert_closed(1008, "connect challenge timeout", ClosedBy::Us);

    let (mut pair, _) = Pair::challenged(config());
    pair.events();
    pair.client.handle_timeout(at(15_001));
    pair.client.handle_timeout(at(17_001));
    pair.assert_closed(4000, "connect timeout", ClosedBy::Us);
}

#[test]
fn a_challenge_without_nonce_or_time_is_not_answered() {
    let without_time = json!({ "nonce": NONCE });
    for (payload, reason) in [
        (json!({ "nonce": " ", "ts": 1 }), "connect challenge missing nonce"),
        (json!({ "ts": 1 }), "connect challenge missing nonce"),
        (without_time, "connect challenge timestamp invalid"),
        (json!({ "nonce": NONCE, "ts": -1 }), "connect challenge timestamp invalid"),
    ] {
        let mut pair = Pair::new(config());
        pair.turn(at(0));
        pair.gateway.say(&json!({ "type": "event", "event": "connect.challenge", "payload": payload }));
        pair.turn(at(1));
        pair.events();
        pair.turn(at(1));
        pair.turn(at(1));
        pair.assert_closed(1008, reason, ClosedBy::Us);
    }
}

#[test]
fn a_caller_may_say_something_else_first() {
    let mut config = config();
    config.answers_challenge = false;
    let mut pair = Pair::new(config);
    pair.turn(at(0));
    pair.gateway.say(&json!({ "type": "event", "event": "connect.challenge", "payload": {} }));
    pair.turn(at(1));
    assert!(matches!(pair.only_event(), ClientEvent::Challenge { .. }));
    assert_eq!(pair.client.next_deadline(), None);
    pair.client.send_text_raw(r#"{"odd":1}"#).unwrap();
    let id = pair.client.send_connect(json!({})).unwrap();
    assert_eq!(pair.turn(at(1))[0], json!({ "odd": 1 }));
    pair.gateway.say(&json!({ "type": "res", "id": id, "ok": true, "payload": hello() }));
    pair.turn(at(1));
    assert!(pair.client.is_open());
}

#[test]
fn raw_bytes_go_out_in_order() {
    let mut pair = Pair::open(config());
    pair.client.send_text_raw("1").unwrap();
    pair.client.send_frame_raw(&[0x81, 0x80, 0, 0, 0, 0]);
    pair.client.send_text_raw("2").unwrap();
    let mut wire = Vec::new();
    pair.client.take_wire(&mut wire);
    assert_eq!(wire.len(), 7 + 6 + 7);
    assert_eq!(wire[7..13], [0x81, 0x80, 0, 0, 0, 0]);
}

#[test]
fn a_socket_that_goes_away_is_1006_unless_we_were_closing() {
    let mut pair = Pair::open(config());
    pair.client.receive_end(at(3));
    pair.assert_closed(1006, "", ClosedBy::Transport);
    assert!(pair.client.is_finished());
    let mut pair = Pair::open(config());
    pair.client.close(at(3), 1000, "done");
    pair.client.receive_end(at(3));
    pair.assert_closed(1000, "done", ClosedBy::Us);
}

#[test]
fn a_gateway_that_masks_its_frames_breaks_a_rule() {
    let mut pair = Pair::open(config());
    pair.client.receive(at(3), &[0x81, 0x80, 1, 2, 3, 4]);
    let ClientEvent::Closed { code, by, .. } = pair.only_event() else { panic!() };
    assert_eq!((code, by), (1002, ClosedBy::Us));
    assert!(!pair.client.is_finished(), "our close frame is still to be written");
}

#[test]
fn masks_differ_and_come_from_the_seed() {
    let masks = |seed: u8| {
        let mut client = Client::new(config(), Seed::new([seed; 32]), at(0));
        let mut wire = Vec::new();
        client.take_wire(&mut wire);
        client.receive(at(0), switching(core::str::from_utf8(&wire).unwrap()).as_bytes());
        wire.clear();
        for _ in 0..20 {
            client.send_text_raw("x").unwrap();
        }
        client.take_wire(&mut wire);
        wire.chunks(7).map(|frame| <[u8; 4]>::try_from(&frame[2..6]).unwrap()).collect::<Vec<_>>()
    };
    let first = masks(1);
    let mut distinct = first.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 20);
    assert_eq!(first, masks(1));
    assert_ne!(first, masks(2));
}

#[test]
fn nothing_secret_is_in_debug_texts() {
    let (mut pair, connect) = Pair::challenged(config());
    pair.gateway.say(&json!({ "type": "res", "id": connect["id"], "ok": true, "payload": hello() }));
    pair.gateway.say(&json!({ "type": "res", "id": "9", "ok": true, "payload": { "token": DEVICE_TOKEN } }));
    pair.gateway.say(&json!({ "type": "event", "event": "x", "payload": { "token": DEVICE_TOKEN } }));
    pair.gateway.say(&json!({ "odd": DEVICE_TOKEN }));
    pair.turn(at(2));
    let whole = format!("{:?} {:?}", pair.client, pair.client.config());
    let events = format!("{:?}", pair.events());
    for text in [whole, events] {
        assert!(!text.contains("cLaWmArKeR"), "{text}");
    }
}

/// Everything a gateway says in one long conversation, made against this very seed.
fn conversation() -> Vec<u8> {
    let mut pair = Pair::open(plain());
    for seq in [1, 2, 5] {
        pair.gateway.say(&json!({ "type": "event", "event": "tick", "payload": { "ts": seq }, "seq": seq }));
    }
    pair.gateway.socket.ping();
    pair.gateway.say(&json!({ "type": "res", "id": "7", "ok": true, "payload": "ü".repeat(200) }));
    pair.gateway.socket.send_text("not JSON");
    pair.gateway.socket.close(CloseFrame::new(1012, "service restart"));
    pair.turn(at(3));
    pair.gateway.said
}

/// The events and the wire of a fresh client that hears `pieces`.
fn replay<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Vec<u8>) {
    let mut client = Client::new(plain(), Seed::new([1; 32]), at(0));
    let (mut events, mut wire) = (Vec::new(), Vec::new());
    for piece in pieces {
        client.receive(at(0), piece);
        events.extend(core::iter::from_fn(|| client.next_event()).map(|event| format!("{event:?}")));
    }
    client.take_wire(&mut wire);
    (events, wire)
}

#[test]
fn the_cuts_do_not_matter() {
    let bytes = conversation();
    let whole = replay([&bytes[..]].into_iter());
    assert_eq!(whole.0.len(), 2 + 4 + 1 + 1 + 1, "{:?}", whole.0);
    for size in 1..64 {
        assert_eq!(replay(bytes.chunks(size)), whole, "in pieces of {size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cut_anywhere_does_not_matter(cut in 0_usize..1_000) {
        let bytes = conversation();
        let (head, tail) = bytes.split_at(cut.min(bytes.len()));
        prop_assert_eq!(replay([head, tail].into_iter()), replay([&bytes[..]].into_iter()));
    }

    #[test]
    fn no_bytes_make_it_panic(noise in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..600) {
        let mut bytes = conversation();
        bytes.truncate(cut);
        bytes.extend(noise);
        let (events, _) = replay([&bytes[..]].into_iter());
        prop_assert!(events.iter().filter(|event| event.starts_with("Closed")).count() <= 1);
    }

    #[test]
    fn no_text_makes_it_panic(text in r#"\{"type":"(res|event)","(id|event)":("[a-z]{0,3}"|[0-9]{1,3}|null),"(ok|seq|error|payload)":(true|false|null|[0-9e.-]{1,6}|"x"|\{\}|\[\])\}"#) {
        let mut pair = Pair::open(plain());
        pair.gateway.socket.send_text(text);
        pair.turn(at(3));
        prop_assert!(pair.client.is_open());
    }
}
