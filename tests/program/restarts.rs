//! A restart does not end a gateway: neither one that could not work, nor one that somebody gets in the way of.

use crate::RUNTIMES;
use crate::shell::{configured, run, start, stop};
use clawgate_support::client::{Credential, device, fresh_key};
use clawgate_support::{Program, TestClient};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn until(what: &str, holds: impl Fn() -> bool) {
    let bound = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < bound, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn admin(gateway: &Program) -> TestClient {
    let config = device(gateway.addr(), &fresh_key(), Credential::Shared(&gateway.token()));
    TestClient::connect(gateway.addr(), config).unwrap()
}

/// Has the file say `bind: "custom"` with this address.
fn bind_to(gateway: &Program, host: &str) {
    let path = gateway.settings().config_path();
    let mut document: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    document["gateway"]["bind"] = json!("custom");
    document["gateway"]["customBindHost"] = json!(host);
    fs::write(&path, document.to_string()).unwrap();
}

#[test]
fn a_restart_that_could_not_listen_is_refused_before_anything_is_given_up() {
    for runtime in RUNTIMES {
        let gateway = start(&configured(runtime));
        let port = gateway.addr().port();
        let mut client = admin(&gateway);
        let second = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
        let theirs = TcpListener::bind(second).unwrap();
        for (host, why, count) in
            [("203.0.113.7", "No interface of this machine", 1), ("127.0.0.2", "already listening", 2)]
        {
            bind_to(&gateway, host);
            let fault = client.call("gateway.restart.request", json!({})).unwrap_err();
            assert!(fault.to_string().contains(why), "{fault}");
            gateway.signal(Signal::USR1);
            until("a refusal", || gateway_says(&gateway, "restart.refused", count));
            assert!(gateway.output().contains(why));
            assert_eq!(client.call("health", json!({})).unwrap()["ok"], true);
        }
        drop(theirs);
        assert_eq!(client.call("gateway.restart.request", json!({})).unwrap()["status"], "scheduled");
        until("a gateway at its new address", || TcpStream::connect(second).is_ok());
        stop(gateway);
    }
}

#[test]
fn over_the_wire_nobody_sends_a_gateway_where_it_cannot_listen() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let mut client = admin(&gateway);
        let theirs = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), gateway.addr().port())).unwrap();
        for (host, why) in
            [("203.0.113.7", "No interface of this machine"), ("127.0.0.2", "already listening")]
        {
            let hash = client.call("config.get", json!({})).unwrap()["hash"].clone();
            let raw = json!({"gateway": {"bind": "custom", "customBindHost": host}}).to_string();
            let fault = client.call("config.patch", json!({"raw": raw, "baseHash": hash})).unwrap_err();
            assert!(fault.to_string().contains(why), "{fault}");
        }
        drop(theirs);
        // On the machine itself an address that it lacks is refused too; a port may be free later, and is told.
        run(&settings, "config set gateway {mode:\"local\",bind:\"custom\",customBindHost:\"203.0.113.7\"}")
            .failed(1, &["No gateway would start with that", "No interface of this machine"]);
        stop(gateway);
    }
}

#[test]
fn who_takes_the_port_at_the_last_moment_does_not_end_the_gateway() {
    for runtime in RUNTIMES {
        let mut gateway = start(&configured(runtime));
        let (pid, port) = (gateway.pid(), gateway.addr().port());
        let mut client = admin(&gateway);
        bind_to(&gateway, "127.0.0.2");
        assert_eq!(client.call("gateway.restart.request", json!({})).unwrap()["status"], "scheduled");
        // Between the answer and the restart.
        let theirs = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).unwrap();
        until("a restart that failed", || gateway_says(&gateway, "restart.failed", 1));
        until("a gateway where it was", || gateway_says(&gateway, "listening on ws://127.0.0.1:", 2));
        assert!(!gateway.has_ended() && gateway.pid() == pid);
        assert_eq!(admin(&gateway).call("health", json!({})).unwrap()["ok"], true);
        // When the way is free, it goes there.
        drop(theirs);
        gateway.signal(Signal::USR1);
        until("a gateway at its new address", || {
            TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port)).is_ok()
        });
        stop(gateway);
    }
}

fn gateway_says(gateway: &Program, what: &str, count: usize) -> bool {
    gateway.output().matches(what).count() == count
}
