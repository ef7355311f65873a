//! What an idle connection costs. A measurement, so only on demand, in a release build, and each in a process of
//! its own (freed memory of the one would serve the other):
//! `cargo test --release -p clawgate-runtime-smol --test memory -- --ignored --nocapture NAME`
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use clawgate_proto::limits::Limits;
use clawgate_support::client::{TestClient, config, fresh_key};
use harness::Server;
use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

#[test]
#[ignore = "a measurement"]
fn resident_memory_per_idle_upgraded_connection() {
    let server = Server::start(limits());
    measure("upgraded", || {
        let mut client = server.connect();
        client.upgrade();
        client.stream
    });
}

#[test]
#[ignore = "a measurement"]
fn resident_memory_per_idle_authenticated_connection() {
    let server = Server::start(limits());
    let addr = server.addr;
    let key = fresh_key();
    measure("authenticated", || {
        let client = TestClient::connect(addr, config(addr, None, Some(key.clone()))).unwrap();
        client.stream().try_clone().unwrap()
    });
}

fn limits() -> Limits {
    Limits {
        preauth_sockets_per_address_max: COUNT * 2,
        preauth_sockets_max: COUNT * 2,
        headless_sockets_per_address_max: COUNT * 2,
        headless_sockets_max: COUNT * 2,
        handshake_timeout_ms: 600_000,
        ..Limits::default()
    }
}

fn measure(what: &str, connect: impl Fn() -> TcpStream) {
    let mut held = Vec::with_capacity(COUNT + WARM);
    held.extend((0..WARM).map(|_| connect()));
    settle(&mut held);
    let before = resident_bytes();
    for n in 0..COUNT {
        held.push(connect());
        if n % 50 == 0 {
            drain(&mut held);
        }
    }
    settle(&mut held);
    let each = resident_bytes().saturating_sub(before) / COUNT;
    println!(
        "{what}: resident before: {} KiB; each of {COUNT} idle connections: {each} bytes",
        before / 1024
    );
    assert!(each <= BUDGET_BYTES, "{each} bytes");
}

/// Reads what events there are until it has been quiet for a while: what a client leaves unread, the server keeps.
fn settle(held: &mut [TcpStream]) {
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(100));
        drain(held);
    }
}

fn drain(held: &mut [TcpStream]) {
    let mut buffer = vec![0; 64 * 1024];
    for stream in held {
        stream.set_nonblocking(true).unwrap();
        loop {
            match stream.read(&mut buffer) {
                Ok(count) => assert!(count > 0, "the server closed the connection"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
    }
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

const COUNT: usize = 1_000;

/// Connections made before, so that what the process takes once is not counted.
const WARM: usize = 50;

/// The budget of the design for an idle, authenticated connection on a plain socket.
const BUDGET_BYTES: usize = 8 * 1024;
