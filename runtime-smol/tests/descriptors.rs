//! Running out of descriptors. A process of its own, since the limit is the process's.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use clawgate_proto::limits::Limits;
use harness::{Server, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;

#[test]
fn without_descriptors_the_server_waits_and_goes_on() {
    let server = Server::start(Limits::default());
    let mut first = server.connect();
    assert_eq!(first.get("/healthz"), 200);
    let mut waiting: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut waiting {
        assert_eq!(client.get("/healthz"), 200);
    }
    // Takes what is left, then leaves room for the client's end of one more connection, but not for the server's.
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..before }).unwrap();
    let mut fill: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(64).collect();
    assert!(fill.pop().is_some(), "more than 64 descriptors were open already");
    let mut late = server.connect();
    late.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("the failure is logged", || server.host.logged("accept.failed") == 1);
    // Who is in is still served.
    assert_eq!(first.get("/healthz"), 200);
    drop(waiting);
    assert_eq!(late.response().0, 200);
    drop(fill);
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(server.connect().get("/healthz"), 200);
}
