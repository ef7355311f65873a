//! Pings, and peers that are gone.

use super::*;

#[test]
fn every_peer_is_pinged_after_the_upgrade() {
    let limits = Limits { handshake_timeout_ms: 1_000_000, ..Limits::default() };
    for mut lab in [Lab::open(limits), Lab::connecting(Limits::default()), Lab::admitted(Limits::default())] {
        for _ in 0..3 {
            assert_eq!(lab.wait_deadline(), 25_000);
            assert_eq!(lab.take_messages(), [json!("ping")]);
            lab.send(frame(0x8a, b""));
        }
    }
}

#[test]
fn any_byte_counts_as_life() {
    let mut lab = Lab::admitted(Limits::default());
    lab.wait_deadline();
    lab.wait(24_000);
    lab.send([0x81]);
    assert_eq!(lab.wait_deadline(), 1_000, "the next ping has its time from the last one");
    assert_eq!(lab.take_messages(), [json!("ping"), json!("ping")]);
}

#[test]
fn a_silent_peer_is_cut_without_a_close_frame() {
    let mut lab = Lab::admitted(Limits::default());
    lab.wait_deadline();
    lab.take_facts();
    assert_eq!(lab.take_messages(), [json!("ping")]);
    assert_eq!(lab.wait_deadline(), 25_000);
    assert_eq!(lab.take_facts(), ["ending KeepaliveTimeout"]);
    assert!(lab.wire.is_empty() && lab.conn.is_finished());
}

#[test]
fn the_clock_stands_still_while_we_owe_an_answer() {
    let mut lab = Lab::admitted(Limits { requests_in_flight_max: 1, ..Limits::default() });
    lab.wait_deadline();
    lab.text(&request("r1", "health", json!({})));
    assert_eq!(lab.conn.next_deadline(), None);
    lab.wait(1_000_000);
    assert!(!lab.conn.is_finished());
    lab.respond("r1");
    assert_eq!(lab.wait_deadline(), 25_000);
    assert_eq!(lab.wait_deadline(), 25_000);
    assert_eq!(lab.take_facts().last().unwrap(), "ending KeepaliveTimeout");
}

#[test]
fn a_peer_that_stops_reading_is_cut_unless_it_goes_on() {
    let mut lab = Lab::admitted(Limits::default());
    let payload = Bytes::from(vec![b'1'; 2_000_000]);
    lab.conn
        .apply(lab.now, Order::Event(EventFrame { name: "tick", payload, seq: None, state_version: None }));
    lab.conn.apply(lab.now, Order::Read(false));
    let mut wire = Vec::new();
    lab.conn.take_wire(lab.now, &mut wire);
    // Slow, but alive: a byte now and then is enough, for as long as it takes.
    for _ in 0..10 {
        lab.now.mono = lab.conn.next_deadline().unwrap();
        lab.conn.handle_timeout(lab.now);
        lab.conn.wrote(lab.now, 1);
    }
    // A ping, and silence after it.
    for _ in 0..2 {
        assert!(!lab.conn.is_finished());
        lab.now.mono = lab.conn.next_deadline().unwrap();
        lab.conn.handle_timeout(lab.now);
    }
    let mut facts = Vec::new();
    while let Next::Event(input) = lab.conn.next_event(lab.now) {
        facts.push(shown(&input));
    }
    assert_eq!(facts.last().unwrap(), "ending KeepaliveTimeout");
}

#[test]
fn a_ping_behind_a_large_message_waits_for_its_own_writing() {
    let mut lab = Lab::admitted(Limits::default());
    let payload = Bytes::from(vec![b'1'; 200_000]);
    lab.conn
        .apply(lab.now, Order::Event(EventFrame { name: "tick", payload, seq: None, state_version: None }));
    let mut wire = Vec::new();
    lab.conn.take_wire(lab.now, &mut wire);
    let mut step = |lab: &mut Lab, ms: u64, bytes: usize| {
        lab.now.mono = lab.now.mono.plus_millis(ms);
        lab.conn.handle_timeout(lab.now);
        lab.conn.wrote(lab.now, bytes);
        lab.conn.take_wire(lab.now, &mut wire);
        lab.conn.next_deadline().map(|deadline| deadline.millis_since(lab.now.mono))
    };
    assert_eq!(step(&mut lab, 25_000, 1_000), Some(25_000), "pinged");
    assert_eq!(step(&mut lab, 20_000, 1_000), Some(25_000), "a slow link makes progress");
    assert_eq!(step(&mut lab, 20_000, 300_000), Some(25_000), "now the ping has left");
    assert_eq!(step(&mut lab, 20_000, 1), Some(5_000), "other bytes do not help any more");
    assert_eq!(step(&mut lab, 5_000, 0), None);
    assert!(matches!(lab.conn.next_event(lab.now), Next::Event(Input::Drained { .. })));
    assert!(matches!(
        lab.conn.next_event(lab.now),
        Next::Event(Input::Ending { why: End::KeepaliveTimeout, .. })
    ));
}
