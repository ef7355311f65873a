//! What panics cost, and how turns share a slot.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::reader;
use crate::wake::Wake;
use clawgate_proto::config::{AuthConfig, AuthMode, Config};
use clawgate_proto::seed::Seed;
use clawgate_support::MemoryHost;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_panicking_connection_costs_that_connection() {
    let host = Arc::new(MemoryHost::new());
    let driver = driver_of(Arc::clone(&host));
    let (first, mut first_peer) = serve(&driver);
    let (_second, mut second_peer) = serve(&driver);
    first.lock().trap = true;
    first_peer.write_all(b"G").unwrap();
    assert_eq!(first_peer.read(&mut [0; 16]).unwrap_or(0), 0, "its socket is shut");
    second_peer.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    second_peer.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(second_peer);
    assert_eq!(driver.threads.wait(LONG), 0, "guests and readers end");
    assert!(driver.slots().is_empty(), "both were reported closed");
    let panics = host.records().iter().filter(|record| record.event == "connection.panicked").count();
    assert_eq!(panics, 1);
}

#[test]
fn a_panicking_gateway_ends_the_process() {
    const AS_VICTIM: &str = "CLAWGATE_TEST_VICTIM";
    if std::env::var_os(AS_VICTIM).is_some() {
        driver().with_gateway(&mut Scratch::default(), None, |_, _| panic!("on purpose"));
        return; // status 0, if it comes to that
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "driver::tests::a_panicking_gateway_ends_the_process"])
        .env(AS_VICTIM, "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(EXIT_SOFTWARE));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the gateway panicked"));
}

#[test]
fn a_visitor_leaves_a_busy_slot_to_the_thread_at_work() {
    let driver = driver();
    let (ours, mut theirs, peer) = pair();
    let mut scratch = Scratch::default();
    let slot = driver.open(&mut scratch, ours, peer).unwrap();
    slot.lock().busy = true;
    slot.post(clawgate_proto::Order::Abort);
    driver.work(&mut scratch, &slot, Cause::Mail);
    assert!(slot.lock().again && !slot.lock().finished);
    slot.lock().busy = false;
    assert_eq!(driver.work(&mut scratch, &slot, Cause::Mail), Reading::Over);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_clock_never_goes_back_for_the_gateway() {
    let driver = driver();
    let mut scratch = Scratch::default();
    scratch.now.mono = Mono(5_000_000);
    driver.with_gateway(&mut scratch, None, |_, _| ());
    scratch.now.mono = Mono(4_000_000);
    driver.with_gateway(&mut scratch, None, |_, scratch| assert_eq!(scratch.now.mono, Mono(5_000_000)));
}

#[test]
fn whoever_cannot_come_to_the_gateway_gives_no_sign_of_life() {
    let host = Arc::new(MemoryHost::new());
    let driver = driver_of(Arc::clone(&host));
    driver.with_gateway(&mut Scratch::default(), None, |shared, scratch| {
        shared.gateway.set_beats(scratch.now, None);
    });
    let (held, is_held) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let stuck = Arc::clone(&driver);
    let stuck = std::thread::spawn(move || {
        stuck.with_gateway(&mut Scratch::default(), None, |_, _| {
            held.send(()).unwrap();
            released.recv().unwrap();
        });
    });
    is_held.recv().unwrap();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let ticking = Arc::clone(&driver);
    let ticking = std::thread::spawn(move || {
        let mut scratch = ticking.shelf.take(ticking.clock.now());
        scratch.inputs.push(Input::Tick);
        begun.send(()).unwrap();
        ticking.apply(&mut scratch, None);
    });
    has_begun.recv().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(host.beats(), 0, "the gateway is held by another thread");
    release.send(()).unwrap();
    stuck.join().unwrap();
    ticking.join().unwrap();
    assert_eq!(host.beats(), 1);
}

const LONG: Duration = Duration::from_secs(60);

/// A driver without its own threads.
pub(crate) fn driver() -> Arc<Driver> {
    driver_of(Arc::new(MemoryHost::new()))
}

/// The same with this host.
fn driver_of(host: Arc<MemoryHost>) -> Arc<Driver> {
    let config = Config::new(AuthConfig::new(AuthMode::None), 1);
    let clock = Clock::start();
    let gateway = Gateway::new(config, Seed::new([3; 32]), clock.now());
    let keeper = Keeper::new(Arc::new(Wake::new().unwrap()));
    Arc::new(Driver::new(host, clock, gateway, keeper, Gate::new().unwrap()))
}

/// Two ends of a connection: ours and theirs.
pub(crate) fn pair() -> (TcpStream, TcpStream, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    theirs.set_read_timeout(Some(LONG)).unwrap();
    let (ours, remote) = listener.accept().unwrap();
    let local = ours.local_addr().unwrap();
    (ours, theirs, Peer { remote, local })
}

/// Opens a slot with a reader.
fn serve(driver: &Arc<Driver>) -> (Arc<Slot>, TcpStream) {
    let (ours, theirs, peer) = pair();
    let mut scratch = Scratch::default();
    let slot = driver.open(&mut scratch, ours, peer).unwrap();
    let reading = driver.work(&mut scratch, &slot, Cause::Mail);
    let (task, own) = (Arc::clone(driver), Arc::clone(&slot));
    driver.threads.spawn("reader", reader::STACK_BYTES, move || reader::read(&task, &own, reading)).unwrap();
    (slot, theirs)
}
