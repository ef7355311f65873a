//! From the upgrade to hello-ok.

use super::*;

#[test]
fn the_challenge_follows_the_101() {
    let mut lab = Lab::with(Limits::default());
    lab.send(UPGRADE);
    lab.apply(Order::Upgrade);
    let wire = lab.take_wire();
    let end = wire.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(wire.starts_with(b"HTTP/1.1 101 "));
    let (first, payload) = frames(&wire[end..]).remove(0);
    let text = String::from_utf8(payload).unwrap();
    let nonce =
        serde_json::from_str::<Value>(&text).unwrap()["payload"]["nonce"].as_str().unwrap().to_owned();
    assert_eq!(nonce.len(), 36);
    assert_eq!(first, 0x81);
    assert_eq!(
        text,
        format!(
            r#"{{"type":"event","event":"connect.challenge","payload":{{"nonce":"{nonce}","ts":1700000000000}}}}"#
        )
    );
}

#[test]
fn bytes_behind_the_upgrade_are_not_lost() {
    let mut lab = Lab::new();
    lab.send([UPGRADE.as_bytes(), &frame(0x81, connect("early").as_bytes()), &frame(0x89, b"hey")].concat());
    assert_eq!(lab.take_facts(), ["upgrade /"]);
    lab.apply(Order::Upgrade);
    assert_eq!(lab.take_facts(), ["connect early"]);
    let wire = lab.take_wire();
    assert!(wire.starts_with(b"HTTP/1.1 101 "), "no frame overtakes the answer");
    assert!(wire.windows(5).any(|window| window == b"\x8a\x03hey"), "the ping was answered");
}

#[test]
fn hello_ok_answers_connect() {
    let mut lab = Lab::connecting(Limits::default());
    lab.admit();
    let messages = lab.take_messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(
        (&messages[0]["type"], &messages[0]["id"], &messages[0]["ok"]),
        (&json!("res"), &json!("c1"), &json!(true))
    );
    assert_eq!(messages[0]["payload"]["type"], "hello-ok");
}

#[test]
fn first_frames_that_are_no_connect() {
    let plain = json!("close 1008 invalid request frame");
    for text in
        ["", "nonsense", "[]", "null", r#"{"type":"req","id":"","method":"connect"}"#, r#"{"type":"event"}"#]
    {
        let mut lab = Lab::open(Limits::default());
        lab.text(text);
        assert_eq!(lab.take_messages(), core::slice::from_ref(&plain), "{text}");
        assert_eq!(lab.take_facts(), ["ending HandshakeFault"]);
        lab.send(close(1008));
        assert!(lab.conn.is_finished() && lab.take_facts().is_empty());
    }
    let mut lab = Lab::open(Limits::default());
    lab.text(&request("r\"1", "health", json!({})));
    let text = "invalid handshake: first request must be connect";
    let error = json!({"code": "INVALID_REQUEST", "message": text});
    assert_eq!(
        lab.take_messages(),
        [
            json!({"type": "res", "id": "r\"1", "ok": false, "error": error}),
            json!(format!("close 1008 {text}"))
        ]
    );
    assert_eq!(lab.take_facts(), ["ending HandshakeFault"]);
}

#[test]
fn bad_connect_params_are_told_and_cut_in_the_reason() {
    let mut lab = Lab::open(Limits::default());
    let mut params = connect_params();
    params["é".repeat(60)] = json!(1);
    lab.text(&request("c1", "connect", params));
    let messages = lab.take_messages();
    let message = messages[0]["error"]["message"].as_str().unwrap();
    assert_eq!(message, format!("invalid connect params: at root: unexpected property '{}'", "é".repeat(60)));
    let reason = messages[1].as_str().unwrap().strip_prefix("close 1008 ").unwrap();
    assert!(message.starts_with(reason) && (122..=123).contains(&reason.len()), "{reason}");
}

#[test]
fn binary_messages_count_as_text() {
    let mut lab = Lab::open(Limits::default());
    lab.send(frame(0x82, connect("c1").as_bytes()));
    assert_eq!(lab.take_facts(), ["connect c1"]);
    let mut lab = Lab::open(Limits::default());
    lab.send(frame(0x82, b"\xff"));
    assert_eq!(lab.take_messages(), [json!("close 1007")]);
    assert_eq!(lab.take_facts(), ["ending WebSocketFault(1007)"]);
}

#[test]
fn workers_are_turned_away_without_a_word() {
    for (pointer, value) in
        [("/role", "worker"), ("/client/id", "openclaw-worker"), ("/client/mode", "worker")]
    {
        for broken in [false, true] {
            let mut params = connect_params();
            params["role"] = json!("operator");
            *params.pointer_mut(pointer).unwrap() = json!(value);
            if broken {
                params["minProtocol"] = json!("x");
            }
            let mut lab = Lab::open(Limits::default());
            lab.text(&request("c1", "connect", params));
            assert_eq!(lab.take_messages(), [json!("close 1008 invalid-handshake")], "{pointer} {broken}");
            assert_eq!(lab.take_facts(), ["ending HandshakeFault"]);
        }
    }
}

#[test]
fn silence_ends_in_a_handshake_timeout() {
    let mut lab = Lab::open(Limits::default());
    lab.wait(10_000);
    lab.send(frame(0x89, b""));
    assert_eq!(lab.take_messages(), [json!("pong")]);
    assert_eq!(lab.wait_deadline(), 5_000, "only a connect stops the clock");
    assert_eq!(lab.take_messages(), [json!("close 1008 handshake timeout")]);
    assert_eq!(lab.take_facts(), ["ending HandshakeTimeout"]);
    assert_eq!(lab.wait_deadline(), 2_000);
    assert!(lab.conn.is_finished());
}

#[test]
fn a_connect_stops_the_handshake_clock() {
    let lab = Lab::connecting(Limits::default());
    assert_eq!(
        lab.conn.next_deadline().unwrap().millis_since(lab.now.mono),
        25_000,
        "only the keepalive is left"
    );
}

#[test]
fn the_size_limit_before_and_after_hello() {
    let mut limits = Limits { message_bytes_max: 100_000, ..Limits::default() };
    let padded = |len: usize| {
        let mut text = connect("c1");
        text.extend(core::iter::repeat_n(' ', len - text.len()));
        text
    };
    let mut lab = Lab::open(limits.clone());
    lab.text(&padded(65_536));
    assert_eq!(lab.take_facts(), ["connect c1"]);
    let mut lab = Lab::open(limits.clone());
    lab.text(&padded(65_537));
    assert_eq!(lab.take_messages(), [json!("close 1009")]);
    assert_eq!(lab.take_facts(), ["ending WebSocketFault(1009)"]);

    limits.process_bytes_max = 50_000;
    let mut lab = Lab::admitted(limits);
    let long = |len: usize| {
        let text = request("r1", "health", json!({}));
        " ".repeat(len - text.len()) + &text
    };
    lab.text(&long(100_000));
    assert_eq!(lab.take_facts(), ["request r1 health"]);
    lab.text(&long(100_001));
    assert_eq!(lab.take_messages(), [json!("close 1009")]);

    let limits = Limits { process_bytes_max: 50_000, ..Limits::default() };
    let mut lab = Lab::admitted(limits);
    lab.text(&long(200_000));
    assert_eq!(lab.take_messages(), [json!("close 1013")]);
    assert_eq!(lab.take_facts(), ["ending MemoryBudget"]);
}

#[test]
fn frames_behind_connect_wait_for_hello() {
    let mut lab = Lab::connecting(Limits::default());
    for n in 0..15 {
        lab.text(&request(&n.to_string(), "health", json!({})));
    }
    assert!(lab.take_facts().is_empty());
    lab.admit();
    let facts = lab.take_facts();
    let requests: Vec<_> = facts.iter().filter(|fact| fact.starts_with("request")).collect();
    assert_eq!(requests.len(), 15);
    assert_eq!((requests[0].as_str(), requests[14].as_str()), ("request 0 health", "request 14 health"));
}

#[test]
fn a_sixteenth_frame_behind_connect_is_too_many() {
    let mut lab = Lab::connecting(Limits::default());
    for _ in 0..16 {
        lab.text("{}");
    }
    assert_eq!(lab.take_messages(), [json!("close 1008 too many pending handshake frames")]);
    assert_eq!(lab.take_facts(), ["ending HandshakeFault"]);
}

#[test]
fn bytes_behind_connect_are_bounded_by_not_reading() {
    let mut lab = Lab::connecting(Limits::default());
    let long = format!("{:40000}", request("r", "health", json!({})));
    for _ in 0..3 {
        lab.text(&long);
    }
    assert!(!lab.conn.wants_read() && lab.take_facts().is_empty());
    assert!(lab.rest.len() > 3 * 40_000 - 65_536);
    assert!(matches!(lab.conn.next_event(lab.now), Next::Paused));
    assert!(lab.conn.next_deadline().is_none(), "while the gateway decides, no clock runs against the peer");
    lab.admit();
    let facts = lab.take_facts();
    assert_eq!(facts.iter().filter(|fact| fact.starts_with("request")).count(), 3);
    assert!(lab.rest.is_empty());
}

#[test]
fn a_refusal_by_the_gateway_is_written_before_its_close() {
    let mut lab = Lab::connecting(Limits::default());
    let error = ErrorShape {
        code: "NOT_PAIRED",
        message: "pairing required".to_owned(),
        details: Some(json!({"code": "PAIRING_REQUIRED"})),
        retryable: Some(false),
        retry_after_ms: None,
    };
    lab.apply(Order::Respond { id: "c1".into(), reply: Reply::Err(Box::new(error)) });
    lab.apply(Order::Close(CloseFrame::new(1008, "pairing required")));
    let wire = lab.take_wire();
    let text = String::from_utf8(frames(&wire)[0].1.clone()).unwrap();
    assert_eq!(
        text,
        r#"{"type":"res","id":"c1","ok":false,"error":{"code":"NOT_PAIRED","message":"pairing required","details":{"code":"PAIRING_REQUIRED"},"retryable":false}}"#
    );
    assert_eq!(frames(&wire)[1].0, 0x88);
}
