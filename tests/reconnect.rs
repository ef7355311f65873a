//! Five hundred nodes whose gateway was killed come back at once, against the built program on both drivers: from
//! addresses of their own, and all from one, where 503 is a reason to back off. All are back, none twice, the memory is
//! what it was, and an operator that read nothing meanwhile is still there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_proto::client::policy::{Decision, Means, Reconnect};
use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_support::client::{Credential, config_as, device, fresh_key};
use clawgate_support::siege::{address, connect_from};
use clawgate_support::usage::{Usage, raise_descriptor_limit, settled};
use clawgate_support::{Program, TestClient};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const NODES: usize = 500;
/// Fewer than `preauthSocketsPerAddressMax`, 32.
const PER_ADDRESS: usize = 25;
/// How much more memory may be resident when all are back, in percent of what was before. Unoptimised code needs far more
/// stack, and the C library keeps those of threads that have ended, such as those that refused a socket.
const GROWTH_PERCENT_MAX: u64 = if cfg!(debug_assertions) { 20 } else { 10 };
/// Longest wait for all to be back: several times the longest delay between two attempts (30 s).
const BACK_BOUND: Duration = Duration::from_secs(150);
/// Longest wait for anything else.
const BOUND: Duration = Duration::from_secs(30);
/// What the tests' threads need: a connection, its buffers on the heap.
const STACK_BYTES: usize = 512 * 1024;

/// Where a node connects from.
#[derive(Clone, Copy)]
enum From {
    /// A few nodes from each address.
    Many,
    /// All from 127.0.0.1.
    One,
}

impl From {
    fn address(self, n: usize) -> Ipv4Addr {
        match self {
            Self::Many => address(n / PER_ADDRESS),
            Self::One => Ipv4Addr::LOCALHOST,
        }
    }
}

/// What all nodes of a fleet tell.
#[derive(Default)]
struct Told {
    stop: AtomicBool,
    connected: AtomicUsize,
    refused_with_503: AtomicUsize,
}

/// Nodes that connect, and come back whenever their connection ends, until they are dropped.
struct Fleet {
    told: Arc<Told>,
    threads: Vec<JoinHandle<()>>,
}

impl Fleet {
    fn set_out(program: &Program, keys: &[DeviceKey], from: From) -> Self {
        let told = Arc::new(Told::default());
        let (addr, token) = (program.addr(), program.token());
        let threads = keys.iter().enumerate().map(|(n, key)| {
            let (told, config, from) = (Arc::clone(&told), node(addr, key, &token), from.address(n));
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn(move || live(&told, addr, from, &config)).unwrap()
        });
        Self { threads: threads.collect(), told }
    }

    fn connected(&self) -> usize {
        self.told.connected.load(Ordering::SeqCst)
    }

    fn all_are_in(&self) {
        until("all nodes are in", BACK_BOUND, || self.connected() == NODES);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.told.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One node's life.
fn live(told: &Told, addr: SocketAddr, from: Ipv4Addr, config: &ClientConfig) {
    let mut reconnect = Reconnect::new();
    while !told.stop.load(Ordering::SeqCst) {
        let attempt =
            connect_from(from, addr).map(|stream| TestClient::over(stream, config.clone()).admitted());
        let refusal = match attempt {
            Ok(Ok(mut client)) => {
                reconnect.connected();
                told.connected.fetch_add(1, Ordering::SeqCst);
                while client.wait_closed(Duration::from_millis(100)).is_none() {
                    // What arrived is of no interest, and is not kept.
                    while client.next(Duration::ZERO).is_some() {}
                    if told.stop.load(Ordering::SeqCst) {
                        return;
                    }
                }
                told.connected.fetch_sub(1, Ordering::SeqCst);
                None
            }
            Ok(Err(refusal)) => {
                if refusal.http.as_ref().is_some_and(|(status, _)| *status == 503) {
                    told.refused_with_503.fetch_add(1, Ordering::SeqCst);
                }
                refusal.error
            }
            Err(_) => None,
        };
        match reconnect.ended(refusal.as_ref(), Means::default()) {
            Decision::Retry { after_ms } => sleep(told, Duration::from_millis(after_ms)),
            Decision::Stop => panic!("a node gave up: {refusal:?}"),
        }
    }
}

fn sleep(told: &Told, delay: Duration) {
    let end = Instant::now() + delay;
    while Instant::now() < end && !told.stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn node(addr: SocketAddr, key: &DeviceKey, token: &str) -> ClientConfig {
    let mut config = config_as(addr, "node-host", "node", Some(token), Some(key.clone()));
    "node".clone_into(&mut config.role);
    config.scopes.clear();
    config.caps = vec!["system".to_owned()];
    config.commands = vec!["system.which".to_owned()];
    config
}

fn until(what: &str, bound: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + bound;
    while !holds() {
        assert!(Instant::now() < end, "it never came true that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn operator(program: &Program, key: &DeviceKey) -> TestClient {
    let config = device(program.addr(), key, Credential::Shared(&program.token()));
    TestClient::connect(program.addr(), config).unwrap()
}

/// Every node is listed once, as connected.
fn all_are_listed(operator: &mut TestClient) {
    let listed = operator.call("node.list", json!({})).unwrap();
    let nodes = listed["nodes"].as_array().unwrap();
    let ids: BTreeSet<&str> = nodes.iter().filter_map(|node| node["nodeId"].as_str()).collect();
    assert_eq!((nodes.len(), ids.len()), (NODES, NODES));
    assert!(nodes.iter().all(|node| node["connected"] == true), "some are not connected");
    // The list of who is here is bounded, so not all are in it; but none is in it twice, or as one that has left.
    let present = operator.call("system-presence", json!({})).unwrap();
    let nodes: Vec<&Value> =
        present.as_array().unwrap().iter().filter(|entry| entry["mode"] == "node").collect();
    let ids: BTreeSet<&str> = nodes.iter().filter_map(|node| node["deviceId"].as_str()).collect();
    assert!(nodes.len() > 100 && ids.len() == nodes.len(), "{} of {}", ids.len(), nodes.len());
    assert!(nodes.iter().all(|node| node["reason"] != "disconnect"), "some have left");
}

fn is_within(after: &Usage, before: &Usage) -> bool {
    after.resident_bytes <= before.resident_bytes * (100 + GROWTH_PERCENT_MAX) / 100
}

fn nodes_come_back(runtime: &str) {
    assert!(raise_descriptor_limit(8 * NODES as u64) >= 4 * NODES as u64, "too few descriptors allowed");
    let mut program = Program::start(env!("CARGO_BIN_EXE_clawgate"), runtime);
    let keys: Vec<DeviceKey> = (0..NODES).map(|_| fresh_key()).collect();
    let operator_key = fresh_key();
    let fleet = Fleet::set_out(&program, &keys, From::Many);
    fleet.all_are_in();
    // The level is that of a gateway that knows them: pairing is over.
    drop(fleet);
    program.kill();
    program.start_again().unwrap();
    let fleet = Fleet::set_out(&program, &keys, From::Many);
    fleet.all_are_in();
    all_are_listed(&mut operator(&program, &operator_key));
    let before = settled(program.pid(), BOUND).unwrap();

    // They notice that it is gone, and try again as soon and as often as they like.
    program.kill();
    until("all have noticed", BOUND, || fleet.connected() == 0);
    program.start_again().unwrap();
    let mut idle = operator(&program, &operator_key);
    fleet.all_are_in();
    all_are_listed(&mut idle);
    let after = settled(program.pid(), BOUND).unwrap();
    println!("{runtime}: {} bytes, before {}", after.resident_bytes, before.resident_bytes);
    assert!(is_within(&after, &before), "{after:?}, before {before:?}");
    drop((idle, fleet));

    program.kill();
    program.start_again().unwrap();
    let mut idle = operator(&program, &operator_key);
    let fleet = Fleet::set_out(&program, &keys, From::One);
    fleet.all_are_in();
    all_are_listed(&mut idle);
    let after = settled(program.pid(), BOUND).unwrap();
    let refused = fleet.told.refused_with_503.load(Ordering::SeqCst);
    println!("{runtime}, one address: {} bytes; {refused} times 503", after.resident_bytes);
    assert!(is_within(&after, &before), "{after:?}, before {before:?}");
}

#[test]
fn five_hundred_nodes_come_back_on_std() {
    nodes_come_back("std");
}

#[test]
fn five_hundred_nodes_come_back_on_smol() {
    nodes_come_back("smol");
}
