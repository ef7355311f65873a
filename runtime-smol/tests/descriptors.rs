//! Running out of descriptors. A process of its own, since the limit is the process's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use clawgate_proto::limits::Limits;
use harness::{Server, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn without_descriptors_the_server_waits_and_goes_on() {
    let server = Server::start(Limits::default());
    let mut first = server.connect();
    assert_eq!(first.get("/healthz"), 200);
    let mut waiting: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut waiting {
        assert_eq!(client.get("/healthz"), 200);
    }
    // Room for the client's end of one more connection, but not for the server's.
    let before = getrlimit(Resource::Nofile);
    let highest = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().unwrap().parse::<u64>().ok())
        .max()
        .unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(highest + 1), ..before }).unwrap();
    let mut late = server.connect();
    late.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("the failure is logged", || server.host.logged("accept.failed") == 1);
    // Who is in is still served.
    assert_eq!(first.get("/healthz"), 200);
    drop(waiting);
    assert_eq!(late.response().0, 200);
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(server.connect().get("/healthz"), 200);
}
