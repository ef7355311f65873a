//! Peers that mean no good, against the built program on both drivers: sockets from many addresses that never finish
//! their handshake, one peer that asks without pause, one that never reads what it asked for, messages that never
//! end. A good client gets in all the same, memory stays inside a bound, and when they leave nothing is kept.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_proto::client::DeviceKey;
use clawgate_support::client::{Credential, device, fresh_key};
use clawgate_support::siege::{Flooder, Siege, Stalled, address, connect_from};
use clawgate_support::usage::{descriptors, raise_descriptor_limit, settled, usage};
use clawgate_support::wire::{read_head, text_frame, upgrade_request};
use clawgate_support::{Program, Settings, TestClient, Wire};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const HALF_OPEN: usize = 1_000;
/// `preauthSocketsPerAddressMax`, as it is by default.
const CAP: usize = 32;
/// Upgrades that one address asks for.
const UPGRADES: usize = 10_000;
/// So many of them at a time: fewer than the sockets without a head that one address may have, or older ones are cut.
const BATCH: usize = 50;
/// `endingSocketsMax`, as it is by default: refused sockets that their peers do not close.
const LINGERING: usize = 256;
/// What one half-open socket may cost, its thread included where it has one. Unoptimised code needs far more stack.
const SOCKET_BYTES: u64 = if cfg!(debug_assertions) { 64 * 1024 } else { 24 * 1024 };
/// What the flooder, the stalled reader and the good client may cost together: two queues at their mark (1 MiB
/// each), and what the allocator keeps for the next time.
const OTHERS_BYTES: u64 = 16 * 1024 * 1024;
/// Longest wait for anything that should come at once.
const BOUND: Duration = Duration::from_secs(30);

/// One flood at a time: two of ten thousand sockets need more descriptors than a process may have.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(settings: &Settings) -> Program {
    assert!(
        raise_descriptor_limit((UPGRADES + 4 * HALF_OPEN) as u64) >= (UPGRADES + 2 * HALF_OPEN) as u64,
        "too few descriptors allowed"
    );
    settings.start().unwrap_or_else(|why| panic!("{why}"))
}

fn good_client(program: &Program, key: &DeviceKey) -> TestClient {
    let config = device(program.addr(), key, Credential::Shared(&program.token()));
    TestClient::connect(program.addr(), config).unwrap()
}

/// Waits until it holds; what is asked for must come true by itself.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < end, "it never came true that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks for an upgrade and falls silent: the first line of the answer, and the socket.
fn upgrade(program: &Program, from: Ipv4Addr) -> (String, TcpStream) {
    let stream = ask_upgrade(program, from);
    (status_line(&stream), stream)
}

fn ask_upgrade(program: &Program, from: Ipv4Addr) -> TcpStream {
    let mut stream = connect_from(from, program.addr()).unwrap();
    stream.write_all(upgrade_request(&stream).unwrap().as_bytes()).unwrap();
    stream
}

fn status_line(stream: &TcpStream) -> String {
    let (head, _) = read_head(stream).unwrap();
    head.lines().next().unwrap_or_default().to_owned()
}

fn a_good_client_gets_in(runtime: &str) {
    let program = start(&Settings::new(env!("CARGO_BIN_EXE_clawgate"), runtime));
    let key = fresh_key();
    // What is needed once is not the attackers' doing.
    assert!(good_client(&program, &key).call("status", json!({})).is_ok());
    let before = settled(program.pid(), BOUND).unwrap();
    let files = descriptors(program.pid()).unwrap();

    let stalled = Stalled::start(program.addr(), &program.token()).unwrap();
    assert!(stalled.asked_bytes > 0 && stalled.is_connected());
    let siege = Siege::lay(program.addr(), HALF_OPEN, 4).unwrap();
    let flooder = Flooder::start(program.addr(), &program.token()).unwrap();
    until("the siege stands", || descriptors(program.pid()).unwrap() > files + HALF_OPEN * 9 / 10);
    for _ in 0..10 {
        let mut client = good_client(&program, &key);
        assert!(client.call("status", json!({})).is_ok());
    }
    until("the flooder floods", || flooder.answers() > 1_000);
    let during = usage(program.pid()).unwrap();
    let growth = during.resident_bytes.saturating_sub(before.resident_bytes);
    println!("{runtime}: {growth} bytes more, {} threads, of {}", during.threads, before.resident_bytes);
    assert!(growth < HALF_OPEN as u64 * SOCKET_BYTES + OTHERS_BYTES, "{growth} bytes more");

    drop((siege, flooder, stalled));
    until("their sockets are closed", || descriptors(program.pid()).unwrap() <= files);
    until("their threads have ended", || usage(program.pid()).unwrap().threads <= before.threads);
    assert!(good_client(&program, &key).call("status", json!({})).is_ok());
}

/// One address asks for upgrades without end and lets go of nothing, not even of what was refused, while a siege from
/// others stands; the good client comes from an address of its own.
fn ten_thousand_upgrades_keep_nobody_out(runtime: &str) {
    let settings = Settings::new(env!("CARGO_BIN_EXE_clawgate"), runtime);
    // Nobody's time runs out on the way, however slow this machine is.
    let limits = json!({ "limits": {
        "headTimeoutMs": 3_600_000, "handshakeTimeoutMs": 3_600_000, "pingIntervalMs": 3_600_000
    } });
    std::fs::write(settings.state_dir().join("clawgate.json"), limits.to_string()).unwrap();
    let program = start(&settings);
    let key = fresh_key();
    assert!(good_client(&program, &key).call("status", json!({})).is_ok());
    let before = settled(program.pid(), BOUND).unwrap();
    let files = descriptors(program.pid()).unwrap();
    let siege = Siege::lay(program.addr(), HALF_OPEN, 4).unwrap();
    let attacker = address(60_002);
    let mut held = Vec::new();
    let mut answers = BTreeMap::<String, usize>::new();
    let mut peak = before.resident_bytes;
    for batch in 0..UPGRADES / BATCH {
        let asked: Vec<TcpStream> = (0..BATCH).map(|_| ask_upgrade(&program, attacker)).collect();
        for stream in &asked {
            *answers.entry(status_line(stream)).or_default() += 1;
        }
        held.extend(asked);
        if batch % 10 == 0 {
            assert!(
                good_client(&program, &key).call("status", json!({})).is_ok(),
                "after {} upgrades",
                held.len()
            );
            peak = peak.max(usage(program.pid()).unwrap().resident_bytes);
        }
    }
    let (let_in, refused) = ("HTTP/1.1 101 Switching Protocols", "HTTP/1.1 503 Service Unavailable");
    let wanted = [(let_in.to_owned(), CAP), (refused.to_owned(), UPGRADES - CAP)];
    assert_eq!(answers, BTreeMap::from(wanted));
    assert!(siege.standing() > HALF_OPEN * 9 / 10, "one address does not push others out");
    let growth = peak - before.resident_bytes;
    println!("{runtime}: {growth} bytes more at most, of {}", before.resident_bytes);
    let sockets = (HALF_OPEN + CAP + LINGERING) as u64;
    assert!(growth < sockets * SOCKET_BYTES + OTHERS_BYTES, "{growth} bytes more");

    drop((siege, held));
    until("their sockets are closed", || descriptors(program.pid()).unwrap() <= files);
    until("their threads have ended", || usage(program.pid()).unwrap().threads <= before.threads);
    assert!(good_client(&program, &key).call("status", json!({})).is_ok());
}

fn one_address_is_capped(runtime: &str) {
    let program = start(&Settings::new(env!("CARGO_BIN_EXE_clawgate"), runtime));
    let key = fresh_key();
    drop(good_client(&program, &key));
    let files = descriptors(program.pid()).unwrap();
    for _ in 0..2 {
        let held: Vec<_> = (0..CAP).map(|_| upgrade(&program, address(7))).collect();
        assert!(held.iter().all(|(line, _)| line == "HTTP/1.1 101 Switching Protocols"), "{held:?}");
        let (line, _) = upgrade(&program, address(7));
        assert_eq!(line, "HTTP/1.1 503 Service Unavailable");
        // Nobody else pays for it, this machine's own address neither.
        assert!(upgrade(&program, address(8)).0.starts_with("HTTP/1.1 101 "));
        assert!(good_client(&program, &key).call("health", json!({})).is_ok());
        drop(held);
        // Their places are free again, once the gateway has seen them go.
        until("there is room again", || upgrade(&program, address(7)).0.starts_with("HTTP/1.1 101 "));
        until("they are all gone", || descriptors(program.pid()).unwrap() <= files);
    }
}

fn an_endless_message_gives_its_memory_back(runtime: &str) {
    let settings = Settings::new(env!("CARGO_BIN_EXE_clawgate"), runtime);
    let limits = json!({ "limits": { "processBytesMax": 32 * MIB } });
    std::fs::write(settings.state_dir().join("clawgate.json"), limits.to_string()).unwrap();
    let program = start(&settings);
    let key = fresh_key();
    let admitted = || {
        let config = device(program.addr(), &key, Credential::Shared(&program.token()));
        Wire::admitted(TcpStream::connect(program.addr()).unwrap(), config).unwrap()
    };
    let filler = "x".repeat(20 * MIB);
    let big = text_frame(&format!(
        r#"{{"type":"req","id":"big","method":"last-heartbeat","params":{{"filler":"{filler}"}}}}"#
    ));
    let asks = |wire: &mut Wire| {
        // A gateway that refuses does not take all of it.
        let _ = wire.send(&big);
        let mut buffer = vec![0; MIB];
        let mut answer = None;
        while answer.is_none() {
            let read = wire.read(&mut buffer, |opcode, payload| {
                if opcode == CLOSE {
                    answer = Some(Err(u16::from_be_bytes([payload[0], payload[1]])));
                } else if payload.starts_with(br#"{"type":"res","id":"big","#) {
                    answer = Some(Ok(String::from_utf8_lossy(payload).into_owned()));
                }
            });
            if let Err(why) = read {
                panic!("no answer: {why}");
            }
        }
        answer.unwrap()
    };
    for _ in 0..2 {
        until("the budget is taken", || {
            let (greedy, mut other) = (admitted(), admitted());
            // One of the two is refused. When it is this one, they try again.
            let _ = greedy.send(&big[..big.len() - 1]);
            std::thread::sleep(Duration::from_millis(100));
            let answer = asks(&mut other);
            assert!(answer.as_ref().err().is_none_or(|code| *code == 1013), "{answer:?}");
            let small = good_client(&program, &key).call("status", json!({}));
            assert!(small.is_ok(), "small things go on: {small:?}");
            answer.is_err()
        });
        // All of it is there again, or the second round would find none.
        until("the budget is given back", || {
            let answer = asks(&mut admitted());
            assert!(answer.as_ref().err().is_none_or(|code| *code == 1013), "{answer:?}");
            answer.is_ok()
        });
    }
}

const MIB: usize = 1024 * 1024;
const CLOSE: u8 = 0x8;

macro_rules! on_both {
    ($($test:ident)*) => {
        #[cfg(feature = "std")]
        mod on_std {
            $(#[test] fn $test() { let _alone = super::alone(); super::$test("std"); })*
        }
        #[cfg(feature = "smol")]
        mod on_smol {
            $(#[test] fn $test() { let _alone = super::alone(); super::$test("smol"); })*
        }
    };
}

on_both! {
    a_good_client_gets_in
    ten_thousand_upgrades_keep_nobody_out
    one_address_is_capped
    an_endless_message_gives_its_memory_back
}
