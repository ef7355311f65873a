//! The end of a run: nothing of it is left.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use clawgate_proto::limits::Limits;
use clawgate_runtime_smol::Stop;
use harness::{Server, eventually};
use std::net::TcpStream;
use std::sync::Arc;

/// Tests of this file run one after the other: they count threads and descriptors of the process.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn stop_ends_idle_busy_and_stalled_connections() {
    let _alone = alone();
    let limits = Limits { drain_timeout_ms: 300, close_timeout_ms: 100, ..Limits::default() };
    let mut server = Server::start(limits);
    let addr = server.addr;
    let mut idle = server.connect();
    let mut upgraded = server.connect();
    upgraded.upgrade();
    let mut half = server.connect();
    half.send("GET /healthz HT");
    let mut probed = server.connect();
    assert_eq!(probed.get("/healthz"), 200);
    server.stop.stop();
    server.stop.clone().stop();
    server.join();
    for client in [&mut idle, &mut upgraded, &mut half, &mut probed] {
        client.drain();
    }
    assert!(TcpStream::connect(addr).is_err(), "the listener is closed");
}

#[test]
fn a_run_that_was_stopped_before_it_began_ends_at_once() {
    let _alone = alone();
    let stop = Stop::new();
    stop.stop();
    Server::start_with(Limits::default(), stop).join();
}

#[test]
fn runs_leave_nothing_behind() {
    let _alone = alone();
    let limits = Limits { drain_timeout_ms: 100, close_timeout_ms: 50, ..Limits::default() };
    let round = || {
        let server = Server::start(limits.clone());
        let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.upgrade();
        }
        let host = server.end();
        assert_eq!(Arc::strong_count(&host), 1, "somebody still holds the host");
    };
    // The reactor comes with the first run and stays.
    round();
    let descriptors = count("/proc/self/fd");
    let threads = count("/proc/self/task");
    for _ in 0..25 {
        round();
    }
    assert_eq!(count("/proc/self/fd"), descriptors);
    eventually("all threads of the runs have ended", || count("/proc/self/task") <= threads);
}

/// Entries of a folder of the proc file system; nothing to compare where there is none.
fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}
