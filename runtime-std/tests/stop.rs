//! The end: whatever sockets are doing, `run` returns, and leaves neither threads nor sockets. One test, in a
//! process of its own, because it counts the process's threads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use clawgate_proto::limits::Limits;
use clawgate_runtime_std::Stop;
use harness::{Server, ShakyHost, eventually, get, listener, roomy};
use std::io::Write as _;
use std::net::TcpStream;

#[test]
fn stopping_ends_everything() {
    for round in 0..30 {
        let server = Server::start(Limits { drain_timeout_ms: 300, close_timeout_ms: 100, ..roomy() });
        let mut silent: Vec<_> = (0..round % 4).map(|_| server.connect()).collect();
        let mut upgraded: Vec<_> = (0..round % 5).map(|_| server.connect()).collect();
        upgraded.iter_mut().for_each(|peer| assert!(peer.upgrade().contains("challenge")));
        let mut stalled = (round % 3 == 0).then(|| server.connect());
        if let Some(peer) = &mut stalled {
            peer.0.set_nonblocking(true).unwrap();
            let requests = get("/healthz").repeat(200);
            // As much as goes in at once; half a request may be the end of it.
            while peer.0.write(requests.as_bytes()).is_ok() {}
            peer.0.set_nonblocking(false).unwrap();
        }
        let addr = server.addr;
        server.end();
        assert!(TcpStream::connect(addr).is_err(), "the listener is gone");
        for peer in &mut upgraded {
            let (opcode, payload) = peer.frame();
            assert_eq!((opcode, &payload[..2]), (8, &1012_u16.to_be_bytes()[..]));
            peer.read_to_end();
        }
        silent.iter_mut().for_each(harness::Peer::read_to_end);
        stalled.iter_mut().for_each(harness::Peer::read_to_end);
    }
    let stop = Stop::new();
    stop.stop();
    Server::start_on(listener(), roomy(), ShakyHost::default(), stop).wait();
    if cfg!(target_os = "linux") {
        // The last instructions of a thread come after it is counted as ended.
        eventually("no thread is left", || own_threads().is_empty());
    }
}

fn own_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("clawgate-")).collect()
}
