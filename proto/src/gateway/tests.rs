//! What the simulator found, and what else is easiest said to the gateway directly.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod approvals;
mod beats;
mod costs;
mod files;
mod probes;

use super::*;
use crate::config::{About, AuthConfig, AuthMode};
use crate::connect::{ConnectParams, ConnectRequest, Proof};
use crate::host::{DevicesCheck, DevicesVersion, HostAnswer, HostFault, Version};
use crate::http::HttpRequest;
use crate::input::End;
use crate::limits::Limits;
use crate::output::Reply;
use crate::request::{MethodRef, Request};
use crate::scope;
use crate::time::Wall;
use serde_json::value::to_raw_value;

struct Rig {
    gateway: Gateway,
    now: Now,
    conns: u64,
}

impl Rig {
    fn new(limits: Limits) -> Self {
        let now = Now { mono: Mono(0), wall: Wall(1_800_000_000_000) };
        let auth = AuthConfig::new(AuthMode::None);
        let config = Config { limits, ..Config::new(auth, 18_789) };
        Self { gateway: Gateway::new(config, Seed::new([7; 32]), now), now, conns: 0 }
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.gateway.handle(self.now, input, &mut out);
        out
    }

    fn open(&mut self) -> ConnId {
        self.open_from([127, 0, 0, 1])
    }

    fn open_from(&mut self, address: [u8; 4]) -> ConnId {
        let local = SocketAddr::from(([127, 0, 0, 1], 18_789));
        let remote = SocketAddr::from((address, 40_000 + self.conns as u16));
        self.conns += 1;
        self.gateway.open(self.now, Peer { remote, local }, &mut Vec::new()).unwrap().id()
    }

    fn upgrade(&mut self) -> ConnId {
        self.upgrade_from([127, 0, 0, 1])
    }

    fn upgrade_from(&mut self, address: [u8; 4]) -> ConnId {
        let conn = self.open_from(address);
        let headers = vec![("host".to_owned(), "127.0.0.1:18789".to_owned())];
        let request =
            HttpRequest { method: "GET".into(), path: "/".into(), headers, ..HttpRequest::default() };
        let out = self.handle(Input::Upgrade { conn, request: Box::new(request) });
        assert!(matches!(out[..], [Output::To(_, Order::Upgrade)]), "{out:?}");
        conn
    }

    fn connect(&mut self, conn: ConnId, client: &str, mode: &str, proof: Proof) -> Vec<Output> {
        let mut params = json!({
            "minProtocol": 4, "maxProtocol": 4, "scopes": ["operator.read"],
            "client": {"id": client, "mode": mode, "version": "1", "platform": "linux"},
        });
        if proof != Proof::Absent {
            let device = json!({"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"});
            params["device"] = device;
        }
        let raw = to_raw_value(&params).unwrap();
        let params = ConnectParams::parse(Some(&raw)).unwrap();
        self.handle(Input::Connect {
            conn,
            request: Box::new(ConnectRequest { id: "1".into(), params, proof }),
        })
    }

    /// An operator on this machine: needs no device when no secret is wanted.
    fn admit(&mut self) -> ConnId {
        let conn = self.upgrade();
        let out = self.connect(conn, "gateway-client", "backend", Proof::Absent);
        assert!(out.iter().any(|output| matches!(output, Output::To(_, Order::Admit(_)))), "{out:?}");
        conn
    }

    fn request(&mut self, conn: ConnId, method: &str) -> Vec<Output> {
        let row = crate::methods::find(method, Dialect::V4).unwrap();
        let request = Request::new("2".into(), MethodRef::Known(row), None, None);
        self.handle(Input::Request { conn, request })
    }
}

fn closes(out: &[Output], conn: ConnId) -> Vec<u16> {
    let mut codes = Vec::new();
    for output in out {
        if let Output::To(to, Order::Close(close)) = output
            && *to == conn
        {
            codes.push(close.code);
        }
    }
    codes
}

#[test]
fn a_peer_for_whom_there_is_no_memory_is_out_at_once() {
    let mut rig = Rig::new(Limits { process_bytes_max: 8 * 1024, ..Limits::default() });
    let (slow, other) = (rig.admit(), rig.admit());
    let closed = (0..100).find_map(|_| {
        let out = rig.request(slow, "status");
        (!closes(&out, slow).is_empty()).then_some(out)
    });
    assert_eq!(closes(&closed.unwrap(), slow), [1013]);
    let census = rig.gateway.census();
    assert_eq!((census.sockets, census.open), (2, 1));
    assert_eq!(census.budget_bytes, census.queued_bytes);

    // Its presence entry changes, and nothing more is said to it.
    rig.handle(Input::Drained { conn: other, bytes: 8 * 1024 });
    rig.handle(Input::Closed { conn: slow });
    rig.now.mono = rig.now.mono.plus_millis(60_000);
    let out = rig.handle(Input::Tick);
    let told = |conn, name| {
        out.iter().any(|output| matches!(output, Output::To(to, Order::Event(event)) if *to == conn && event.name == name))
    };
    assert!(told(other, "presence") && told(other, "tick") && !told(slow, "tick"), "{out:?}");
    assert_eq!(rig.request(slow, "status").len(), 0);
}

#[test]
fn a_socket_that_is_cut_at_a_stop_is_not_counted_any_more() {
    let mut rig = Rig::new(Limits::default());
    let headless = rig.open();
    let out = rig.handle(Input::Stop);
    assert!(out.iter().any(|output| matches!(output, Output::To(to, Order::Abort) if *to == headless)));
    assert_eq!(rig.gateway.census().headless, 0);
    let request = Box::new(HttpRequest::default());
    assert_eq!(rig.handle(Input::Upgrade { conn: headless, request }).len(), 0);
}

#[test]
fn a_peer_that_left_while_the_store_was_asked_is_not_refused() {
    let mut rig = Rig::new(Limits::default());
    let conn = rig.upgrade();
    let out = rig.connect(conn, "test", "test", Proof::Good { public_key: "k".into() });
    let Some(&Output::Host(ticket, _)) = out.iter().find(|output| matches!(output, Output::Host(..))) else {
        panic!("the store is not asked: {out:?}");
    };
    rig.handle(Input::Ending { conn, why: End::PeerGone });
    let answer = HostAnswer::Devices(Err(HostFault("no disk".into())));
    let out = rig.handle(Input::Answered { ticket, answer });
    assert!(out.iter().all(|output| !matches!(output, Output::To(..))), "{out:?}");
    assert!(
        out.iter().all(|output| !matches!(output, Output::Log(record) if record.event == "peer.refused"))
    );
    rig.handle(Input::Closed { conn });
    assert_eq!(rig.gateway.census().sockets, 0);
}

/// What the host is asked, answered by a disk that takes everything; what it was asked to store.
fn settle(rig: &mut Rig, mut out: Vec<Output>) -> (Vec<Output>, Option<Arc<crate::store::Devices>>) {
    let version = DevicesVersion {
        paired: Some(Version([1; 4])),
        pending: Some(Version([1; 4])),
        ..Default::default()
    };
    let (mut seen, mut stored) = (Vec::new(), None);
    while !out.is_empty() {
        let mut next = Vec::new();
        for output in out {
            let (ticket, answer) = match output {
                Output::Host(ticket, HostRequest::CheckDevices { known }) if known == version => {
                    (ticket, HostAnswer::Devices(Ok(DevicesCheck::Unchanged)))
                }
                Output::Host(ticket, HostRequest::CheckDevices { .. }) => {
                    let devices = Arc::default();
                    (
                        ticket,
                        HostAnswer::Devices(Ok(DevicesCheck::Changed {
                            devices,
                            version: Box::new(version),
                        })),
                    )
                }
                Output::Host(ticket, HostRequest::StoreDevices { devices, .. }) => {
                    stored = Some(devices);
                    (ticket, HostAnswer::Stored(Ok(Box::new(version))))
                }
                other @ (Output::To(..)
                | Output::Host(..)
                | Output::Log(_)
                | Output::Accept(_)
                | Output::Beat
                | Output::Stopped) => {
                    seen.push(other);
                    continue;
                }
            };
            next.extend(rig.handle(Input::Answered { ticket, answer }));
        }
        out = next;
    }
    (seen, stored)
}

#[test]
fn an_approval_behind_the_removal_of_its_own_device_is_none() {
    let mut rig = Rig::new(Limits::default());
    let pair = |rig: &mut Rig, id: &str, address: [u8; 4]| {
        let conn = rig.upgrade_from(address);
        let params = json!({
            "minProtocol": 4, "maxProtocol": 4, "scopes": ["operator.admin"],
            "client": {"id": "test", "mode": "test", "version": "1", "platform": "linux"},
            "device": {"id": id, "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"},
        });
        let params = ConnectParams::parse(Some(&to_raw_value(&params).unwrap())).unwrap();
        let proof = Proof::Good { public_key: format!("key of {id}") };
        let request = Box::new(ConnectRequest { id: "1".into(), params, proof });
        let out = rig.handle(Input::Connect { conn, request });
        (conn, settle(rig, out).1.unwrap())
    };
    let (boss, _) = pair(&mut rig, "boss", [127, 0, 0, 1]);
    let (fallen, _) = pair(&mut rig, "fallen", [127, 0, 0, 1]);
    let (_, stored) = pair(&mut rig, "friend", [192, 0, 2, 1]);
    let request_id = stored.pending.keys().next().unwrap().clone();

    let call = |conn, method, params| {
        let row = crate::methods::find(method, Dialect::V4).unwrap();
        let request = Request {
            id: "2".into(),
            access: row.access(None),
            method: MethodRef::Known(row),
            params: Ok(params),
            idempotency_key: None,
        };
        Input::Request { conn, request }
    };
    let mut out = rig.handle(call(boss, "device.pair.remove", Params::DeviceId("fallen".to_owned())));
    out.extend(rig.handle(call(fallen, "device.pair.approve", Params::RequestId(request_id.clone()))));
    let (seen, stored) = settle(&mut rig, out);
    assert_eq!(closes(&seen, fallen), [4001]);
    let stored = stored.unwrap();
    assert_eq!(stored.paired.keys().collect::<Vec<_>>(), ["boss"]);
    assert!(stored.pending.contains_key(&request_id));
}

#[test]
fn a_host_that_never_answers_does_not_hold_up_a_stop() {
    let mut rig = Rig::new(Limits { host_timeout_ms: 1_000, drain_timeout_ms: 60_000, ..Limits::default() });
    let conn = rig.upgrade();
    rig.connect(conn, "test", "test", Proof::Good { public_key: "k".into() });
    rig.handle(Input::Stop);
    let out = rig.handle(Input::Closed { conn });
    assert!(
        !out.iter().any(|output| matches!(output, Output::Stopped)),
        "something may be on its way to the disk"
    );
    rig.now.mono = rig.now.mono.plus_millis(1_000);
    let out = rig.handle(Input::Tick);
    assert!(out.iter().any(|output| matches!(output, Output::Stopped)), "{out:?}");
}

#[test]
fn what_does_not_fit_into_the_hosts_queue_is_told_to_come_again() {
    let mut rig = Rig::new(Limits { relay_waiting_max: 2, ..Limits::default() });
    let conn = rig.admit();
    for n in 0..4 {
        let out = rig.request(conn, "system.info");
        let error = out.iter().find_map(|output| {
            let Output::To(_, Order::Respond { reply: Reply::Err(error), .. }) = output else { return None };
            Some(error)
        });
        assert_eq!(error.is_some(), n >= 2, "{out:?}");
        let Some(error) = error else { continue };
        assert_eq!((error.code, error.retryable), ("UNAVAILABLE", Some(true)));
        assert_eq!(error.message, "The server is busy. Please try again in a moment.");
    }
}

#[test]
fn a_slow_peer_misses_events_and_a_stop_that_does_not_fit_closes_it() {
    let mut rig =
        Rig::new(Limits { queued_bytes_max: 4 * 1024, queued_bytes_high: 1 << 20, ..Limits::default() });
    let slow = rig.admit();
    let told =
        |out: &[Output]| out.iter().any(|o| matches!(o, Output::To(to, Order::Event(_)) if *to == slow));
    let mut missed = 0;
    for _ in 0..200 {
        rig.now.mono = rig.now.mono.plus_millis(30_000);
        missed += u32::from(!told(&rig.handle(Input::Tick)));
    }
    assert!(missed > 0, "its queue is full");
    assert_eq!(rig.gateway.census().open, 1, "and it stays");
    let out = rig.handle(Input::Stop);
    assert!(!told(&out) && closes(&out, slow) == [1008], "{out:?}");
}
