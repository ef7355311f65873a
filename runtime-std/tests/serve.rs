//! Peers on real sockets: they are served, in order, and nobody's trouble is anybody else's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use clawgate_proto::limits::Limits;
use clawgate_runtime_std::Stop;
use clawgate_support::client::{TestClient, config, fresh_key};
use harness::{Server, ShakyHost, UPGRADE, eventually, get, listener, roomy};
use rustix::net::sockopt::{set_socket_linger, set_socket_send_buffer_size};
use serde_json::json;
use std::io::{ErrorKind, Write as _};
use std::net::{Shutdown, TcpListener};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

#[test]
fn a_probe_is_answered_and_the_connection_stays() {
    let server = Server::start(Limits::default());
    let mut peer = server.connect();
    assert_eq!(peer.get("/healthz"), 200);
    assert_eq!(peer.get("/nothing"), 404);
    assert_eq!(peer.get("/healthz"), 200);
    server.end();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(Limits::default());
    let mut peer = server.connect();
    let mut writer = peer.0.try_clone().unwrap();
    let both = format!("{}{}", get("/healthz"), get("/nothing"));
    let writer = thread::spawn(move || (0..3_000).for_each(|_| writer.write_all(both.as_bytes()).unwrap()));
    for _ in 0..3_000 {
        assert_eq!(peer.response(), 200);
        assert_eq!(peer.response(), 404);
    }
    writer.join().unwrap();
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let server = Server::start(Limits::default());
    let mut peer = server.connect();
    for byte in get("/healthz").bytes() {
        peer.send([byte]);
    }
    assert_eq!(peer.response(), 200);
}

#[test]
fn a_peer_that_ends_its_side_still_gets_its_answer() {
    let server = Server::start(Limits::default());
    let mut peer = server.connect();
    peer.send(get("/healthz"));
    peer.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.response(), 200);
    peer.read_to_end();
}

#[test]
fn a_refusal_arrives_although_more_is_being_sent() {
    let server = Server::start(Limits::default());
    let mut peer = server.connect();
    let mut writer = peer.0.try_clone().unwrap();
    peer.send(format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000)));
    let writer = thread::spawn(move || while writer.write_all(&[b'y'; 4096]).is_ok() {});
    assert_eq!(peer.response(), 414);
    peer.read_to_end();
    writer.join().unwrap();
}

#[test]
fn an_upgrade_brings_the_challenge_and_the_store_is_loaded() {
    let server = Server::start(Limits::default());
    assert!(server.connect().upgrade().contains("connect.challenge"));
    eventually("the store is loaded", || server.connect().get("/readyz") == 200);
    server.end();
}

#[test]
fn deadlines_of_a_connection_are_kept() {
    let server = Server::start(Limits { handshake_timeout_ms: 80, head_timeout_ms: 40, ..Limits::default() });
    let mut socket = server.connect();
    socket.upgrade();
    let mut silent = server.connect();
    silent.read_to_end();
    let (opcode, payload) = socket.frame();
    assert_eq!((opcode, &payload[..2]), (8, &1008_u16.to_be_bytes()[..]));
}

#[test]
fn json_as_deep_as_it_gets_fits_the_stack_for_guests() {
    let server = Server::start(Limits { close_timeout_ms: 20, ..roomy() });
    for depth in DEPTHS {
        for params in deep(depth) {
            let mut peer = server.connect();
            peer.upgrade();
            peer.say(&format!(r#"{{"type":"req","id":"1","method":"connect","params":{params}}}"#));
            peer.read_to_end();
        }
    }
    assert_eq!(server.host.logged("connection.panicked"), 0);
    server.end();
}

#[test]
fn json_as_deep_as_it_gets_fits_the_stack_of_a_reader() {
    let server = Server::start(roomy());
    let mut client = TestClient::connect(server.addr, config(server.addr, None, Some(fresh_key()))).unwrap();
    // Enough to be no guest any more.
    for _ in 0..10 {
        client.call("system-event", json!({ "text": "x".repeat(1_000) })).unwrap();
    }
    for depth in DEPTHS {
        for params in deep(depth) {
            // What the answer is, is not this crate's concern.
            client.send_text_raw(&format!(
                r#"{{"type":"req","id":"d","method":"system-event","params":{params}}}"#
            ));
            client
                .send_text_raw(&format!(r#"{{"type":"req","id":"d","method":"health","params":{params}}}"#));
            client.send_text_raw(&params);
        }
    }
    client.call("health", json!({})).unwrap();
    server.end();
}

/// Around the bound of the JSON parser, and far beyond.
const DEPTHS: [usize; 8] = [64, 120, 125, 126, 127, 128, 129, 10_000];

fn deep(depth: usize) -> [String; 2] {
    let arrays = format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    [arrays, objects]
}

#[test]
fn many_connections_come_and_go() {
    // Fewer at a time than in all: a socket that is not given back would be missed.
    let server = Server::start(Limits { sockets_max: 220, ..roomy() });
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let mut peers: Vec<_> = (0..50).map(|_| server.connect()).collect();
                    for (n, peer) in peers.iter_mut().enumerate() {
                        if n % 2 == 0 {
                            peer.upgrade();
                        } else {
                            assert_eq!(peer.get("/healthz"), 200);
                        }
                    }
                }
            });
        }
    });
    eventually("each is reported closed, once", || server.host.logged("peer.closed") == 800);
    assert_eq!(server.connect().get("/healthz"), 200);
    server.end();
}

#[test]
fn above_the_limit_sockets_wait_until_one_closes() {
    let server = Server::start(Limits { sockets_max: 3, ..roomy() });
    let mut peers: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for peer in &mut peers {
        assert_eq!(peer.get("/healthz"), 200);
    }
    let mut late = server.connect();
    late.send(get("/healthz"));
    late.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(late.0.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    late.0.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    peers.pop();
    assert_eq!(late.response(), 200);
}

#[test]
fn a_peer_that_reads_nothing_delays_nobody_and_loses_nothing() {
    // However long the test takes, no idle timeout ends what it looks at.
    let limits = Limits { head_timeout_ms: 600_000, http_idle_timeout_ms: 600_000, ..roomy() };
    let server = Server::start_on(small_listener(), limits, ShakyHost::default(), Stop::new());
    let mut other = server.connect();
    let mut stalled: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let mut asked = Vec::new();
    for peer in &mut stalled {
        set_socket_send_buffer_size(&peer.0, 64 * 1024).unwrap();
        // Until neither side takes any more, for longer than the server can need for what it has.
        peer.0.set_nonblocking(true).unwrap();
        let requests = get("/healthz").repeat(500);
        let (mut sent, mut refusals) = (0, 0);
        while refusals < 50 {
            match peer.0.write(&requests.as_bytes()[sent % requests.len()..]) {
                Ok(bytes) => (sent, refusals) = (sent + bytes, 0),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    refusals += 1;
                    assert_eq!(other.get("/healthz"), 200);
                    thread::sleep(Duration::from_millis(2));
                }
            }
        }
        peer.0.set_nonblocking(false).unwrap();
        let half = sent % get("/healthz").len();
        let rest = if half == 0 { String::new() } else { get("/healthz")[half..].to_owned() };
        asked.push((sent.div_ceil(get("/healthz").len()), rest));
    }
    assert_eq!(other.get("/healthz"), 200);
    for (peer, (count, rest)) in stalled.iter_mut().zip(asked) {
        let mut writer = peer.0.try_clone().unwrap();
        let writer = thread::spawn(move || writer.write_all(rest.as_bytes()).unwrap());
        for n in 0..count {
            assert_eq!(peer.response(), 200, "answer {n} of {count}");
        }
        writer.join().unwrap();
        assert_eq!(peer.get("/nothing"), 404);
    }
    server.end();
}

/// Its sockets inherit buffers that are full soon.
fn small_listener() -> TcpListener {
    let listener = listener();
    set_socket_send_buffer_size(&listener, 64 * 1024).unwrap();
    listener
}

#[test]
fn sockets_killed_at_any_moment_are_all_reported() {
    let server = Server::start(roomy());
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut peers = Vec::new();
    let mut opened = 0;
    for _ in 0..2_000 {
        if peers.len() < 20 || draw(3) == 0 {
            peers.push(server.connect());
            opened += 1;
            continue;
        }
        let n = draw(peers.len());
        let peer: &mut harness::Peer = &mut peers[n];
        match draw(5) {
            // What was sent to a socket that is refused by now fails: that is the point.
            0 => drop(peer.0.write_all(UPGRADE.as_bytes())),
            1 => drop(peer.0.write_all(get("/healthz").repeat(20).as_bytes())),
            2 => drop(peer.0.write_all(&UPGRADE.as_bytes()[..draw(UPGRADE.len())])),
            3 => drop(peers.swap_remove(n)),
            _ => {
                // A reset instead of an orderly end.
                set_socket_linger(&peer.0, Some(Duration::ZERO)).unwrap();
                drop(peers.swap_remove(n));
            }
        }
    }
    drop(peers);
    // A socket that is gone before it is accepted is never heard of.
    assert_eq!(server.connect().get("/healthz"), 200);
    eventually("every socket is reported closed", || server.host.logged("peer.closed") >= opened);
    server.end();
}

#[test]
fn a_host_that_panics_costs_one_answer() {
    let host = ShakyHost::default();
    host.is_broken.store(true, Ordering::SeqCst);
    let server = Server::start_on(listener(), Limits::default(), host, Stop::new());
    eventually("the panic is noticed", || server.host.logged("host.panicked") > 0);
    assert_eq!(server.connect().get("/readyz"), 503);
    assert_eq!(server.connect().get("/healthz"), 200);
    server.host.is_broken.store(false, Ordering::SeqCst);
    assert!(server.connect().upgrade().contains("connect.challenge"));
    server.end();
}
