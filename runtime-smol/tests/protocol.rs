//! Whole clients over a run: what crosses the mailboxes, the host pool and the timers comes out right.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use clawgate_proto::limits::Limits;
use clawgate_support::client::{TestClient, config, fresh_key};
use harness::Server;
use serde_json::json;
use std::thread;
use std::time::Duration;

/// Far beyond what anything takes.
const BOUND: Duration = Duration::from_secs(60);

#[test]
fn clients_are_paired_and_served_side_by_side() {
    let server = Server::start(Limits::default());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client =
                    TestClient::connect(server.addr, config(server.addr, None, Some(fresh_key()))).unwrap();
                // Comes only after the host has stored the pairing.
                assert!(client.device_token().is_some());
                for _ in 0..50 {
                    client.call("health", json!({})).unwrap();
                    client.call("system-presence", json!({})).unwrap();
                }
                let ids: Vec<_> = (0..50).map(|_| client.send("status", json!({}))).collect();
                for id in ids.iter().rev() {
                    client.answer(id);
                }
            });
        }
    });
    assert_eq!(server.host.logged("connection.panicked"), 0);
}

#[test]
fn the_cores_timers_run_without_traffic() {
    let server = Server::start(Limits { tick_interval_ms: 200, ..Limits::default() });
    let mut client = TestClient::connect(server.addr, config(server.addr, None, Some(fresh_key()))).unwrap();
    for _ in 0..3 {
        assert!(client.wait_event("tick", BOUND).is_some());
    }
}

#[test]
fn an_event_reaches_everybody_in_sequence() {
    const ROUNDS: usize = 5;
    let server = Server::start(Limits { coalesce_ms: 1, ..Limits::default() });
    let key = fresh_key();
    let connect = || TestClient::connect(server.addr, config(server.addr, None, Some(key.clone()))).unwrap();
    let mut clients: Vec<_> = (0..20).map(|_| connect()).collect();
    let mut speaker = connect();
    for round in 0..ROUNDS {
        speaker.call("system-event", json!({ "text": format!("Node: round {round}") })).unwrap();
        let is_told = |text: &str| text.contains(&format!("round {round}"));
        while !is_told(&speaker.wait_event("presence", BOUND).unwrap().value().to_string()) {}
    }
    for client in &mut clients {
        let mut before = None;
        let mut rounds = 0;
        while rounds < ROUNDS {
            let event = client.wait_event("presence", BOUND).unwrap();
            assert!(event.seq > before, "{:?} after {before:?}", event.seq);
            before = event.seq;
            if event.value().to_string().contains(&format!("round {rounds}")) {
                rounds += 1;
            }
        }
    }
}
