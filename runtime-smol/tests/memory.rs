//! What an idle connection costs. A measurement, so only on demand, alone and in a release build:
//! `cargo test --release -p clawgate-runtime-smol --test memory -- --ignored --nocapture`
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use clawgate_proto::limits::Limits;
use harness::Server;

#[test]
#[ignore = "a measurement"]
fn resident_memory_per_idle_upgraded_connection() {
    const COUNT: usize = 1_000;
    const BUDGET_BYTES: usize = 8 * 1024;
    let server = Server::start(Limits {
        preauth_sockets_per_address_max: COUNT * 2,
        preauth_sockets_max: COUNT * 2,
        headless_sockets_per_address_max: COUNT * 2,
        headless_sockets_max: COUNT * 2,
        handshake_timeout_ms: 600_000,
        ..Limits::default()
    });
    let mut held: Vec<_> = (0..10).map(|_| server.connect()).collect();
    held.iter_mut().for_each(|client| drop(client.upgrade()));
    held.reserve(COUNT);
    let before = resident_bytes();
    for _ in 0..COUNT {
        let mut client = server.connect();
        client.upgrade();
        held.push(client);
    }
    let each = (resident_bytes() - before) / COUNT;
    println!("resident before: {} KiB; each of {COUNT} idle connections: {each} bytes", before / 1024);
    assert!(each <= BUDGET_BYTES, "{each} bytes");
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
