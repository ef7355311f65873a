//! What an idle WebSocket costs. A measurement, so on demand, and meaningful only when optimised:
//! `cargo test --release -p clawgate-runtime-std --test memory -- --ignored --nocapture`
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::{Server, roomy};

#[test]
#[ignore = "a measurement"]
fn resident_memory_of_an_idle_upgraded_connection() {
    const COUNT: usize = 1_000;
    const BUDGET_BYTES: usize = 24 * 1024;
    let server = Server::start(clawgate_proto::limits::Limits { handshake_timeout_ms: 600_000, ..roomy() });
    let mut peers = Vec::with_capacity(COUNT + 10);
    let mut add = |count| {
        for _ in 0..count {
            let mut peer = server.connect();
            peer.upgrade();
            peers.push(peer);
        }
    };
    add(10);
    let before = resident_bytes();
    add(COUNT);
    let each = (resident_bytes() - before) / COUNT;
    println!("{} KiB before; {each} bytes for each of {COUNT} idle connections", before / 1024);
    assert!(each <= BUDGET_BYTES, "{each} bytes");
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
