//! Real sockets against a whole run: what peers see, and that nobody's trouble is anybody else's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use clawgate_proto::limits::Limits;
use harness::{Server, UPGRADE, eventually};
use std::io::{ErrorKind, Write as _};
use std::thread;

fn roomy() -> Limits {
    Limits {
        preauth_sockets_per_address_max: 10_000,
        preauth_sockets_max: 10_000,
        headless_sockets_per_address_max: 10_000,
        headless_sockets_max: 10_000,
        ..Limits::default()
    }
}

#[test]
fn a_health_probe_is_answered_and_the_connection_kept() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    assert_eq!(client.get("/healthz"), 200);
    assert_eq!(client.get("/healthz"), 200);
    assert_eq!(client.get("/nothing"), 404);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    let one =
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(one.repeat(500));
    for _ in 0..500 {
        assert_eq!(client.response().0, 200);
        assert_eq!(client.response().0, 404);
    }
}

#[test]
fn an_upgrade_is_answered_with_a_challenge() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    let challenge = client.upgrade();
    assert!(challenge.contains("connect.challenge"), "{challenge}");
    // Host calls of the start are answered, or the store would never be loaded.
    eventually("the device store is loaded", || server.connect().get("/readyz") == 200);
}

#[test]
fn a_deadline_of_the_connection_is_kept() {
    let server = Server::start(Limits { handshake_timeout_ms: 50, ..Limits::default() });
    let mut client = server.connect();
    client.upgrade();
    let (opcode, payload) = client.frame();
    assert_eq!((opcode, &payload[..2]), (8, &1008u16.to_be_bytes()[..]));
}

#[test]
fn deep_json_fits_the_stack() {
    let server = Server::start(Limits { close_timeout_ms: 50, ..Limits::default() });
    for depth in [100, 120, 127, 128, 1_000, 20_000] {
        let mut client = server.connect();
        client.upgrade();
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        client
            .text(&format!(r#"{{"type":"req","id":"1","method":"connect","params":{{"x":{open}{close}}}}}"#));
        client.drain();
    }
    assert_eq!(server.connect().get("/healthz"), 200);
    assert_eq!(server.host.logged("connection.panicked"), 0);
}

#[test]
fn many_connections_open_and_close() {
    // Room for fewer than come in all: a slot that was not given back would be missed.
    let server = Server::start(Limits { sockets_max: 250, ..roomy() });
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let mut clients: Vec<_> = (0..25).map(|_| server.connect()).collect();
                    for (n, client) in clients.iter_mut().enumerate() {
                        if n % 2 == 0 {
                            client.upgrade();
                        } else {
                            assert_eq!(client.get("/healthz"), 200);
                        }
                    }
                }
            });
        }
    });
    eventually("each connection is reported as closed", || server.host.logged("peer.closed") == 800);
    assert_eq!(server.connect().get("/healthz"), 200);
}

#[test]
fn a_stalled_reader_blocks_nobody() {
    let server = Server::start(roomy());
    let mut stalled: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut stalled {
        // Until neither side takes more.
        client.stream.set_nonblocking(true).unwrap();
        let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000);
        let (mut refused, mut sent) = (0, 0);
        while refused < 20 {
            match client.stream.write(&request.as_bytes()[sent..]) {
                Ok(count) => {
                    refused = 0;
                    sent = (sent + count) % request.len();
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    refused += 1;
                    assert_eq!(server.connect().get("/healthz"), 200);
                }
            }
        }
    }
    for _ in 0..50 {
        server.connect().upgrade();
    }
    // One of them reads on: everything it asked for whole is answered.
    let mut client = stalled.pop().unwrap();
    client.stream.set_nonblocking(false).unwrap();
    for _ in 0..1_000 {
        assert_eq!(client.response().0, 200);
    }
}

#[test]
fn endless_input_leaves_room_for_others() {
    let server = Server::start(roomy());
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            let (mut writer, done) = (server.connect(), &done);
            let mut reader = harness::Client { stream: writer.stream.try_clone().unwrap() };
            scope.spawn(move || {
                let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    writer.send(&request);
                }
                writer.stream.shutdown(std::net::Shutdown::Write).unwrap();
            });
            scope.spawn(move || reader.drain());
        }
        for _ in 0..20 {
            server.connect().upgrade();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn above_the_accept_limit_a_socket_waits_for_its_turn() {
    let server = Server::start(Limits { sockets_max: 2, ..roomy() });
    let mut first = server.connect();
    let mut second = server.connect();
    assert_eq!((first.get("/healthz"), second.get("/healthz")), (200, 200));
    let mut third = server.connect();
    third.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(second.get("/healthz"), 200);
    drop(first);
    assert_eq!(third.response().0, 200);
    assert_eq!(server.host.logged("accept.paused"), 2);
}

#[test]
fn sockets_killed_at_random_are_forgotten() {
    let server = Server::start(roomy());
    let script = [UPGRADE.as_bytes(), &[0x81, 0x85, 0, 0, 0, 0, b'h', b'e', b'l', b'l', b'o']].concat();
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % 1_000_003).unwrap() % below
    };
    for _ in 0..500 {
        let mut client = server.connect();
        let mut sent = 0;
        for _ in 0..next(4) {
            let more = next(script.len() - sent + 1);
            // The server may have cut the socket already: that is part of the game.
            let _ = client.stream.write_all(&script[sent..sent + more]);
            sent += more;
        }
        if next(3) == 0 {
            let _ = client.stream.shutdown(std::net::Shutdown::Write);
        }
        // With the challenge unread the kernel resets; without, it says goodbye.
        drop(client);
    }
    eventually("each is reported as closed", || server.host.logged("peer.closed") == 500);
    assert_eq!(server.connect().get("/healthz"), 200);
    assert_eq!(server.host.logged("connection.panicked"), 0);
}

#[test]
fn a_panic_in_one_connection_costs_only_that_one() {
    let server = Server::start(Limits::default());
    let mut witness = server.connect();
    assert_eq!(witness.get("/healthz"), 200);
    *server.host.panic_at.lock().unwrap() = Some("peer.proxied-untrusted");
    let mut victim = server.connect();
    victim.send(UPGRADE.replace("Upgrade: websocket", "X-Forwarded-For: 192.0.2.1\r\nUpgrade: websocket"));
    victim.drain();
    eventually("the panic is logged", || server.host.logged("connection.panicked") == 1);
    eventually("the socket is reported as closed", || server.host.logged("peer.closed") == 1);
    assert_eq!(witness.get("/healthz"), 200);
    assert_eq!(server.connect().get("/healthz"), 200);
}
