//! No descriptor left: the listeners wait and go on. In a process of its own, which the limit is for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::{Server, eventually, get, roomy};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;

#[test]
fn a_full_table_of_descriptors_is_survived() {
    let server = Server::start(roomy());
    let mut inside = server.connect();
    assert_eq!(inside.get("/healthz"), 200);
    let mut leaving = server.connect();
    assert_eq!(leaving.get("/healthz"), 200);
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(48), ..before }).unwrap();
    let mut fill: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(64).collect();
    assert!(fill.pop().is_some(), "no descriptor was free at all");
    // Takes that one; the server finds none for its side.
    let mut outside = server.connect();
    outside.send(get("/healthz"));
    eventually("the failure is logged", || server.host.logged("accept.failed") > 0);
    assert_eq!(inside.get("/healthz"), 200);
    drop(leaving);
    assert_eq!(outside.response(), 200);
    assert_eq!(server.host.logged("accept.failed"), 1, "one record for one shortage");
    drop(fill);
    setrlimit(Resource::Nofile, before).unwrap();
    server.end();
}
