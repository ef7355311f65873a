//! What an idle peer costs: resident memory of a process that holds nothing but the server. A measurement, so on
//! demand, and meaningful only when optimised:
//! `cargo test --release -p clawgate-runtime-std --test memory -- --ignored --exact --nocapture idle_peers`
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use clawgate_proto::client::DeviceKey;
use clawgate_proto::limits::Limits;
use clawgate_support::client::{TestClient, config, fresh_key};
use harness::{Peer, Server, roomy};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

const COUNT: usize = 1_000;
const BUDGET_BYTES: usize = 24 * 1024;

#[test]
#[ignore = "a measurement"]
fn idle_peers() {
    let silent = measure("silent", |addr| TcpStream::connect(addr).unwrap());
    let upgraded = measure("upgraded", |addr| {
        let mut peer = Peer(TcpStream::connect(addr).unwrap());
        peer.upgrade();
        peer
    });
    let admitted = measure("admitted", admit);
    let calling = measure("admitted, after 20 requests", |addr| call(addr, 20));
    // These leave the guests: printed, but not what the budget is about.
    measure("admitted, after 100 requests in a row", |addr| call(addr, 100));
    for each in [silent, upgraded, admitted, calling] {
        assert!(each <= BUDGET_BYTES, "{each} bytes");
    }
}

/// All with one device: a thousand paired devices would be measured with their store and its copies in the host.
fn admit(addr: SocketAddr) -> TestClient {
    static KEY: LazyLock<DeviceKey> = LazyLock::new(fresh_key);
    TestClient::connect(addr, config(addr, None, Some(KEY.clone()))).unwrap()
}

fn call(addr: SocketAddr, count: usize) -> TestClient {
    let mut client = admit(addr);
    for _ in 0..count {
        client.call("health", json!({})).unwrap();
    }
    client
}

fn measure<T>(what: &str, open: impl Fn(SocketAddr) -> T) -> usize {
    let (mut server, output, addr) = start();
    let mut peers: Vec<T> = (0..10).map(|_| open(addr)).collect();
    let before = resident_bytes(&server);
    peers.extend((0..COUNT).map(|_| open(addr)));
    let after = resident_bytes(&server);
    let each = (after - before) / COUNT;
    println!("{what}: {each} bytes for each of {COUNT}; {} KiB before", before / 1024);
    drop(server.stdin.take());
    server.wait().unwrap();
    drop((peers, output));
    each
}

fn start() -> (Child, BufReader<ChildStdout>, SocketAddr) {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "server"])
        .env(AS_SERVER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    let mut lines = output.by_ref().lines().map_while(Result::ok);
    let addr = lines.find_map(|line| line.split_once("addr=")?.1.parse().ok()).unwrap();
    (server, output, addr)
}

/// Not a test but the other process.
#[test]
#[ignore = "the measured process"]
fn server() {
    if std::env::var_os(AS_SERVER).is_none() {
        return;
    }
    // The peers of this measurement read nothing: no deadline passes, and no broadcast is made.
    let server = Server::start(Limits {
        handshake_timeout_ms: 600_000,
        head_timeout_ms: 600_000,
        coalesce_ms: 600_000,
        ..roomy()
    });
    println!("addr={}", server.addr);
    let _ = std::io::stdin().read(&mut [0]);
    server.end();
}

const AS_SERVER: &str = "CLAWGATE_MEMORY_SERVER";

fn resident_bytes(server: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
