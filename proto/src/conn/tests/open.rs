//! An admitted peer: requests, answers, events, flow, closing.

use super::*;
use crate::conn::phase::Open;

#[test]
fn requests_reach_the_gateway_with_their_params() {
    let mut lab = Lab::admitted(Limits::default());
    lab.text(&request("r1", "health", json!({})));
    lab.text(&request("r2", "no.such.method", json!({"a": 1})));
    lab.text(&request("r3", "device.pair.remove", json!({"deviceId": 5})));
    lab.text(&request("r4", "system.info", Value::Null));
    let facts = lab.take_facts();
    assert_eq!(facts[..2], ["request r1 health", "request r2 no.such.method"]);
    assert!(facts[2].starts_with("request r3 device.pair.remove at /deviceId: must be string"), "{facts:?}");
    assert_eq!(facts[3], "request r4 system.info");
}

#[test]
fn a_method_of_the_other_dialect_is_unknown() {
    let mut lab = Lab::connecting(Limits::default());
    let admission = Admission { dialect: Dialect::V3, ..admission(&lab.conn.config) };
    lab.apply(Order::Admit(Box::new(admission)));
    lab.take_facts();
    lab.rest = frame(0x81, request("r1", "system.info", json!({})).as_bytes());
    let taken = lab.conn.receive(lab.now, &lab.rest);
    assert_eq!(taken, lab.rest.len());
    let Next::Event(Input::Drained { .. }) = lab.conn.next_event(lab.now) else {
        panic!("hello-ok was written")
    };
    let Next::Event(Input::Request { request, .. }) = lab.conn.next_event(lab.now) else {
        panic!("no request")
    };
    assert!(matches!(request.method, crate::request::MethodRef::Unknown(name) if &*name == "system.info"));
}

#[test]
fn frames_that_are_no_requests() {
    let mut lab = Lab::admitted(Limits::default());
    lab.text("not json");
    lab.text("");
    assert!(lab.take_messages().is_empty());
    for (text, id, errors) in [
        (r#"{"type":"req","id":5,"method":"health"}"#, json!(5), "at /id: must be string"),
        (r#"{"type":"req","method":"health"}"#, json!("invalid"), "must have required property 'id'"),
        (r#"{"type":"req","id":{"a":[1]},"method":"health"}"#, json!({"a": [1]}), "at /id: must be string"),
        ("[]", json!("invalid"), "must be object"),
        (r#"{"type":"req","id":"a","method":"b","x":1}"#, json!("a"), "at root: unexpected property 'x'"),
    ] {
        lab.text(text);
        let error = json!({"code": "INVALID_REQUEST", "message": format!("invalid request frame: {errors}")});
        assert_eq!(
            lab.take_messages(),
            [json!({"type": "res", "id": id, "ok": false, "error": error})],
            "{text}"
        );
    }
    assert!(lab.take_facts().is_empty() && lab.conn.wants_read());
}

#[test]
fn long_names_are_not_kept_or_repeated() {
    let mut lab = Lab::admitted(Limits::default());
    let long = "x".repeat(1025);
    lab.text(&request(&long, "health", json!({})));
    lab.text(&request("r1", &long, json!({})));
    lab.text(&json!({"type": "req", "id": [&long], "method": "health"}).to_string());
    for message in lab.take_messages() {
        assert_eq!(
            (&message["id"], &message["error"]["code"]),
            (&json!("invalid"), &json!("INVALID_REQUEST"))
        );
    }
    assert!(lab.take_facts().is_empty());
}

#[test]
fn no_profile_is_the_expected_one() {
    let mut lab = Lab::admitted(Limits::default());
    lab.text(&json!({"type": "req", "id": "r1", "method": "health", "expectedProfileId": "p"}).to_string());
    let messages = lab.take_messages();
    assert_eq!(messages[0]["id"], "r1");
    let details = json!({"reason": "EXPECTED_PROFILE_MISMATCH", "execution": "not_started"});
    assert_eq!(messages[0]["error"]["details"], details);
}

#[test]
fn answers_and_events_have_their_members_in_order() {
    let mut lab = Lab::admitted(Limits::default());
    let payload = Bytes::from_static(br#"{"ts":1}"#);
    let version = StateVersion { presence: 2, health: 3 };
    let plain = EventFrame { name: "tick", payload: payload.clone(), seq: Some(7), state_version: None };
    lab.apply(Order::Event(EventFrame { state_version: Some(version), name: "health", ..plain.clone() }));
    lab.apply(Order::Event(EventFrame { seq: None, ..plain.clone() }));
    lab.apply(Order::Event(plain));
    lab.apply(Order::Respond { id: "é\"".into(), reply: Reply::Ok(Payload::Json(payload)) });
    lab.apply(Order::Respond { id: "v".into(), reply: Reply::Ok(Payload::Value(Box::new(json!(null)))) });
    let wire = lab.take_wire();
    let texts: Vec<_> = frames(&wire).into_iter().map(|(_, text)| String::from_utf8(text).unwrap()).collect();
    assert_eq!(
        texts,
        [
            r#"{"type":"event","event":"health","payload":{"ts":1},"seq":7,"stateVersion":{"presence":2,"health":3}}"#,
            r#"{"type":"event","event":"tick","payload":{"ts":1}}"#,
            r#"{"type":"event","event":"tick","payload":{"ts":1},"seq":7}"#,
            r#"{"type":"res","id":"é\"","ok":true,"payload":{"ts":1}}"#,
            r#"{"type":"res","id":"v","ok":true,"payload":null}"#,
        ]
    );
}

#[test]
fn requests_in_flight_are_bounded() {
    let mut lab = Lab::admitted(Limits { requests_in_flight_max: 2, ..Limits::default() });
    for n in 0..4 {
        lab.text(&request(&n.to_string(), "health", json!({})));
    }
    assert_eq!(lab.take_facts(), ["request 0 health", "request 1 health"]);
    assert!(!lab.conn.wants_read() && !lab.rest.is_empty());
    lab.respond("1");
    assert_eq!(lab.take_facts().last().unwrap(), "request 2 health");
    lab.respond("0");
    lab.respond("2");
    assert_eq!(lab.take_facts().last().unwrap(), "request 3 health");
    assert!(lab.rest.is_empty());
}

#[test]
fn a_request_that_another_answer_follows_is_still_in_flight() {
    let mut lab = Lab::admitted(Limits { requests_in_flight_max: 1, ..Limits::default() });
    lab.text(&request("a", "health", json!({})));
    lab.text(&request("b", "health", json!({})));
    assert_eq!(lab.take_facts(), ["request a health"]);
    let payload = Payload::Value(Box::new(json!({"status": "accepted"})));
    lab.apply(Order::Respond { id: "a".into(), reply: Reply::Accepted(payload) });
    let told = json!({"type": "res", "id": "a", "ok": true, "payload": {"status": "accepted"}});
    assert_eq!(lab.take_messages(), [told]);
    assert!(lab.take_facts().iter().all(|fact| !fact.starts_with("request")));
    lab.respond("a");
    assert_eq!(lab.take_facts().last().unwrap(), "request b health");
}

#[test]
fn waiting_frames_obey_the_bound_too() {
    let mut lab = Lab::connecting(Limits { requests_in_flight_max: 2, ..Limits::default() });
    for n in 0..5 {
        lab.text(&request(&n.to_string(), "health", json!({})));
    }
    lab.admit();
    let count = |lab: &mut Lab| lab.take_facts().iter().filter(|fact| fact.starts_with("request")).count();
    assert_eq!(count(&mut lab), 2);
    lab.text(&request("late", "health", json!({})));
    for expected in [1, 1, 1, 1, 0] {
        lab.respond("any");
        assert_eq!(count(&mut lab), expected);
    }
}

#[test]
fn a_peer_that_does_not_read_its_refusals_is_not_read() {
    let mut lab = Lab::admitted(Limits::default());
    let flood = [frame(0x81, b"{}"), frame(0x89, b"ping")].concat().repeat(5_000);
    let mut rest = &flood[..];
    while lab.conn.wants_read() && !rest.is_empty() {
        let taken = lab.conn.receive(lab.now, rest);
        rest = &rest[taken..];
    }
    assert!(!rest.is_empty());
    assert!(lab.conn.outbox.own_bytes() < OWN_BYTES_MAX + 1_024);
    // It is its own fault: the clock runs on.
    assert!(lab.conn.next_deadline().is_some());
    lab.rest = rest.to_vec();
    lab.run();
    assert!(lab.rest.is_empty());
    assert_eq!(lab.take_messages().len(), 10_000);
}

#[test]
fn drained_bytes_are_reported_with_other_facts_or_in_lumps() {
    let mut lab = Lab::admitted(Limits { drained_report_bytes: 1_000, ..Limits::default() });
    let event = |len| {
        let payload = Bytes::from(format!("\"{}\"", "x".repeat(len)));
        Order::Event(EventFrame { name: "tick", payload, seq: None, state_version: None })
    };
    let cost = event(98).cost();
    assert_eq!(cost, 164);
    lab.apply(event(98));
    assert!(lab.take_all_facts().is_empty(), "small amounts wait");
    lab.text(&request("r1", "health", json!({})));
    let facts = lab.take_all_facts();
    assert_eq!(facts[1..], ["request r1 health"]);
    let first: usize = facts[0].strip_prefix("drained ").unwrap().parse().unwrap();
    assert!(first >= cost, "what hello-ok cost came along");
    lab.apply(event(898));
    assert!(lab.take_all_facts().is_empty());
    lab.apply(event(98));
    assert_eq!(lab.take_all_facts(), ["drained 1128"]);

    // Paused for its queue: told as soon as the queue is empty.
    lab.conn.apply(lab.now, event(98));
    lab.conn.apply(lab.now, Order::Read(false));
    assert!(matches!(lab.conn.next_event(lab.now), Next::Paused));
    lab.run();
    assert_eq!(lab.take_all_facts(), ["drained 164"]);

    // And now and then.
    lab.apply(Order::Read(true));
    lab.apply(event(98));
    assert!(lab.take_all_facts().is_empty());
    lab.wait_deadline();
    assert_eq!(lab.take_all_facts(), ["drained 164"]);
}

#[test]
fn only_written_bytes_count_as_drained() {
    let mut lab = Lab::admitted(Limits { drained_report_bytes: 1, ..Limits::default() });
    let payload = Bytes::from(vec![b'1'; 100_000]);
    lab.conn
        .apply(lab.now, Order::Event(EventFrame { name: "tick", payload, seq: None, state_version: None }));
    let mut wire = Vec::new();
    while lab.conn.wants_write() {
        lab.conn.take_wire(lab.now, &mut wire);
    }
    lab.conn.wrote(lab.now, wire.len() - 1);
    assert!(matches!(lab.conn.next_event(lab.now), Next::NeedData));
    lab.conn.wrote(lab.now, 1);
    assert!(matches!(lab.conn.next_event(lab.now), Next::Event(Input::Drained { bytes: 100_064, .. })));
}

#[test]
fn an_ordered_close_flushes_and_waits_for_the_answer() {
    for (answer, why) in [(true, "ending Ordered"), (false, "ending CloseTimeout")] {
        let mut lab = Lab::admitted(Limits::default());
        lab.respond("r1");
        lab.apply(Order::Close(CloseFrame::new(1012, "service restart")));
        lab.respond("dropped");
        let messages = lab.take_messages();
        assert_eq!((messages.len(), &messages[1]), (2, &json!("close 1012 service restart")));
        lab.text(&request("ignored", "health", json!({})));
        assert!(!lab.conn.is_finished());
        if answer {
            lab.send(close(1012));
        } else {
            assert_eq!(lab.wait_deadline(), 2_000);
        }
        assert_eq!(lab.take_facts().last().unwrap(), why);
        assert!(lab.conn.is_finished() && lab.conn.next_deadline().is_none());
    }
}

#[test]
fn a_peer_that_does_not_read_cannot_hold_a_close_open() {
    let mut lab = Lab::admitted(Limits::default());
    let payload = Bytes::from(vec![b'1'; 1_000_000]);
    lab.conn
        .apply(lab.now, Order::Event(EventFrame { name: "tick", payload, seq: None, state_version: None }));
    lab.conn.apply(lab.now, Order::Close(CloseFrame::new(1008, "slow consumer")));
    // It reads a byte now and then, but not for ever.
    let mut wire = Vec::new();
    lab.conn.take_wire(lab.now, &mut wire);
    let start = lab.now.mono;
    for _ in 0..20 {
        if lab.conn.is_finished() {
            break;
        }
        lab.now.mono = lab.conn.next_deadline().unwrap();
        if lab.now.mono.millis_since(start) < 9_000 {
            lab.now.mono = Mono(lab.now.mono.0 - 1);
            lab.conn.wrote(lab.now, 1);
        }
        lab.conn.handle_timeout(lab.now);
        while let Next::Event(input) = lab.conn.next_event(lab.now) {
            lab.facts.push(shown(&input));
        }
    }
    assert!(lab.conn.is_finished());
    assert_eq!(lab.take_facts().last().unwrap(), "ending CloseTimeout");
    assert!((9_000..=10_000).contains(&lab.now.mono.millis_since(start)));
}

#[test]
fn the_peers_close_is_echoed() {
    for code in [1000, 1001, 4000] {
        let mut lab = Lab::admitted(Limits::default());
        lab.send([close(code), frame(0x81, b"after the end")].concat());
        assert_eq!(lab.take_messages(), [json!(format!("close {code}"))]);
        assert_eq!(lab.take_facts().last().unwrap(), "ending PeerClosed");
        assert!(lab.conn.is_finished());
    }
}

#[test]
fn a_lost_peer_and_an_abort_end_at_once() {
    let mut lab = Lab::admitted(Limits::default());
    lab.end();
    assert_eq!(lab.take_facts().last().unwrap(), "ending PeerGone");
    assert!(lab.conn.is_finished());

    let mut lab = Lab::admitted(Limits::default());
    lab.apply(Order::Abort);
    assert_eq!(lab.take_facts().last().unwrap(), "ending Ordered");
    assert!(lab.conn.is_finished() && lab.wire.is_empty());
}

#[test]
fn a_fault_closes_and_does_not_wait_for_the_rest_of_a_frame() {
    let mut lab = Lab::admitted(Limits::default());
    lab.send(&frame(0xc1, &[b'x'; 1_000])[..500]);
    assert_eq!(lab.take_messages(), [json!("close 1002")]);
    assert_eq!(lab.take_facts().last().unwrap(), "ending WebSocketFault(1002)");
    assert!(lab.conn.wants_shutdown());
    lab.end();
    assert!(lab.conn.is_finished());
}

#[test]
fn an_idle_peer_holds_little() {
    let mut lab = Lab::admitted(Limits::default());
    lab.text(&request("r1", "health", json!({"pad": "x".repeat(100_000)})));
    lab.respond("r1");
    let event =
        EventFrame { name: "tick", payload: Bytes::from_static(b"{}"), seq: Some(1), state_version: None };
    lab.apply(Order::Event(event));
    assert_eq!(lab.conn.residue.capacity(), 0);
    assert_eq!(lab.conn.outbox.heap_bytes(), 0);
    assert_eq!(lab.conn.budget.used(), 0);
    let Phase::Open(_) = &lab.conn.phase else { panic!("not open") };
    let bytes = size_of::<Clear>() + size_of::<Open>();
    assert!(bytes <= 768, "{bytes} bytes");
}
