//! What a peer may cost the others: sockets, memory, guesses.
use super::super::*;
use crate::admission::Admission;
use crate::config::{About, AuthConfig, AuthMode, RateLimit};
use crate::connect::{ConnectParams, ConnectRequest, Proof, ProofFault};
use crate::host::HostAnswer;
use crate::host::{DevicesCheck, DevicesVersion, HostFault, Version};
use crate::http::HttpRequest;
use crate::input::End;
use crate::limits::Limits;
use crate::output::Reply;
use crate::request::{MethodRef, Request};
use crate::secret::Secret;
use crate::time::Wall;
use serde_json::Value;
use serde_json::value::to_raw_value;

/// A gateway whose password is `open`, with a disk that takes everything.
struct Lab {
    gateway: Gateway,
    now: Now,
    orders: Vec<(ConnId, Order)>,
    /// Whether the next devices fail to prove their key.
    is_proof_bad: bool,
}

impl Lab {
    fn new(limits: Limits) -> Self {
        let rate_limit = RateLimit { attempts_max: 2, exempt_loopback: false, ..RateLimit::default() };
        let config = Config {
            limits,
            about: About { config_path: "/c".to_owned(), ..About::default() },
            ..Config::new(
                AuthConfig {
                    password: Secret::new("open"),
                    rate_limit: Some(rate_limit),
                    ..AuthConfig::new(AuthMode::Password)
                },
                18789,
            )
        };
        let now = Now { mono: Mono(0), wall: Wall(1_700_000_000_000) };
        let gateway = Gateway::new(config, Seed::new([7; 32]), now);
        let mut lab = Self { gateway, now, orders: Vec::new(), is_proof_bad: false };
        lab.tell(Input::Tick);
        lab
    }

    fn open(&mut self) -> ConnId {
        let peer = Peer { remote: ([127, 0, 0, 1], 1).into(), local: ([127, 0, 0, 1], 2).into() };
        let mut out = Vec::new();
        let conn = self.gateway.open(self.now, peer, &mut out).unwrap().id();
        self.carry(out);
        conn
    }

    fn tell(&mut self, input: Input) {
        let mut out = Vec::new();
        self.gateway.handle(self.now, input, &mut out);
        self.carry(out);
    }

    fn carry(&mut self, out: Vec<Output>) {
        let version = DevicesVersion {
            paired: Some(Version([1; 4])),
            pending: Some(Version([1; 4])),
            ..Default::default()
        };
        for output in out {
            let answer = match output {
                Output::To(conn, order) => {
                    self.orders.push((conn, order));
                    continue;
                }
                Output::Host(ticket, HostRequest::CheckDevices { known }) => {
                    let fresh = DevicesCheck::Changed { devices: Arc::default(), version: Box::new(version) };
                    let check = if known == version { DevicesCheck::Unchanged } else { fresh };
                    (ticket, HostAnswer::Devices(Ok(check)))
                }
                Output::Host(ticket, HostRequest::StoreDevices { .. }) => {
                    (ticket, HostAnswer::Stored(Ok(Box::new(version))))
                }
                Output::Host(ticket, request) => (ticket, request.fault("not here")),
                Output::Log(_) | Output::Accept(_) | Output::Beat | Output::Stopped => continue,
            };
            self.tell(Input::Answered { ticket: answer.0, answer: answer.1 });
        }
    }

    fn upgrade(&mut self) -> ConnId {
        let conn = self.open();
        let headers = vec![("host".to_owned(), "localhost".to_owned())];
        let request = Box::new(HttpRequest { headers, ..HttpRequest::default() });
        self.tell(Input::Upgrade { conn, request });
        conn
    }

    /// A local operator connects; what it was told.
    fn connect(&mut self, protocol: u64, more: Value) -> (ConnId, Order) {
        let conn = self.upgrade();
        let mut params = json!({
            "minProtocol": protocol, "maxProtocol": protocol, "scopes": ["operator.read"],
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
        });
        for (name, value) in more.as_object().unwrap() {
            params[name] = value.clone();
        }
        let params = ConnectParams::parse(Some(&to_raw_value(&params).unwrap())).unwrap();
        let proof = match &params.device {
            Some(_) if self.is_proof_bad => Proof::Bad(ProofFault::Signature),
            Some(_) => Proof::Good { public_key: "key".to_owned() },
            None => Proof::Absent,
        };
        self.orders.clear();
        let request = Box::new(ConnectRequest { id: "c".into(), params, proof });
        self.tell(Input::Connect { conn, request });
        let at = self.orders.iter().position(|(to, _)| *to == conn).unwrap();
        self.orders.swap_remove(at)
    }

    fn admitted(&mut self, more: Value) -> (ConnId, Box<Admission>) {
        match self.connect(4, more) {
            (conn, Order::Admit(admission)) => (conn, admission),
            (_, other) => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, more: Value) -> String {
        match self.connect(4, more) {
            (_, Order::Respond { reply: Reply::Err(error), .. }) => {
                error.details.unwrap()["code"].as_str().unwrap().to_owned()
            }
            (_, other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn sockets_between_two_http_requests_are_counted_and_the_oldest_is_cut() {
    let limits = Limits { headless_sockets_per_address_max: 3, ..Limits::default() };
    let mut lab = Lab::new(limits);
    let conns: Vec<ConnId> = (0..5)
        .map(|_| {
            let conn = lab.open();
            lab.tell(Input::Http { conn, request: Box::default() });
            conn
        })
        .collect();
    let cut: Vec<ConnId> =
        lab.orders.iter().filter(|(_, order)| matches!(order, Order::Abort)).map(|(conn, _)| *conn).collect();
    assert_eq!(cut, conns[..2]);
    // One that became a WebSocket is counted as that, and no longer as this.
    lab.orders.clear();
    let upgraded = lab.upgrade();
    lab.open();
    assert!(
        matches!(lab.orders[..], [(cut, Order::Abort), (conn, Order::Upgrade)] if cut == conns[2] && conn == upgraded),
        "{:?}",
        lab.orders
    );
}

#[test]
fn refused_sockets_that_stay_are_cut_the_oldest_first() {
    let limits = Limits { ending_sockets_max: 2, preauth_sockets_per_address_max: 1, ..Limits::default() };
    let mut lab = Lab::new(limits);
    let good = lab.admitted(json!({"auth": {"password": "open"}})).0;
    let waiting = lab.upgrade();
    lab.orders.clear();
    let refused: Vec<ConnId> = (0..5)
        .map(|_| {
            let conn = lab.upgrade();
            lab.tell(Input::Ending { conn, why: End::Ordered });
            conn
        })
        .collect();
    let cut = |lab: &Lab| -> Vec<ConnId> {
        let aborts = lab.orders.iter().filter(|(_, order)| matches!(order, Order::Abort));
        aborts.map(|(conn, _)| *conn).collect()
    };
    assert_eq!(cut(&lab), refused[..3]);
    // Who closes makes room; who is in, or was, is not counted.
    lab.tell(Input::Closed { conn: refused[4] });
    lab.tell(Input::Ending { conn: waiting, why: End::HandshakeTimeout });
    lab.tell(Input::Ending { conn: good, why: End::PeerClosed });
    assert_eq!(cut(&lab), refused[..3]);
    assert_eq!(lab.gateway.census().unadmitted, 2);
}

#[test]
fn long_names_do_not_make_a_long_presence() {
    let mut lab = Lab::new(Limits::default());
    let long = "ä".repeat(20_000);
    let client = json!({
        "id": "test", "version": long, "platform": long, "mode": "ui", "displayName": long, "instanceId": long,
    });
    let (conn, _) = lab.admitted(json!({"client": client, "auth": {"password": "open"}}));
    let list = lab.gateway.presence.list(lab.now, Dialect::V4);
    assert!((1_000..5_000).contains(&list.len()), "{}", list.len());
    lab.tell(Input::Closed { conn });
    let list = lab.gateway.presence.list(lab.now, Dialect::V4);
    assert!(String::from_utf8_lossy(&list).contains("\"reason\":\"disconnect\""), "found under its cut key");
}

#[test]
fn what_some_peers_hold_leaves_room_for_answers_to_others() {
    let mut lab = Lab::new(Limits { process_bytes_max: 1_000_000, ..Limits::default() });
    let (conn, _) = lab.admitted(json!({"auth": {"password": "open"}}));
    let mut hog = 0;
    while lab.gateway.budget.take_spare(10) {
        hog += 10;
    }
    assert!((700_000..=750_000).contains(&hog));
    lab.orders.clear();
    lab.now.mono = lab.now.mono.plus_millis(120_000);
    lab.tell(Input::Tick);
    assert!(lab.orders.is_empty(), "events may be missed: {:?}", lab.orders);
    let method = MethodRef::Known(crate::methods::find("status", Dialect::V4).unwrap());
    let request = Request::new("r".into(), method, None, None);
    lab.tell(Input::Request { conn, request });
    assert!(matches!(lab.orders[..], [(_, Order::Respond { reply: Reply::Ok(_), .. })]), "{:?}", lab.orders);
}

#[test]
fn many_who_ask_about_the_host_ask_it_once() {
    let method = || MethodRef::Known(crate::methods::find("system.info", Dialect::V4).unwrap());
    let mut lab = Lab::new(Limits { relay_waiting_max: 3, ..Limits::default() });
    let (one, _) = lab.admitted(json!({"auth": {"password": "open"}}));
    let (two, _) = lab.admitted(json!({"auth": {"password": "open"}}));
    let mut out = Vec::new();
    for (conn, id) in [(one, "a"), (two, "b"), (one, "c"), (two, "d")] {
        let request = Request::new(id.into(), method(), None, None);
        lab.gateway.handle(lab.now, Input::Request { conn, request }, &mut out);
    }
    let asked = |out: &[Output]| {
        let tickets = out.iter().filter_map(|output| match output {
            Output::Host(ticket, HostRequest::SystemInfo) => Some(*ticket),
            Output::Host(..)
            | Output::To(..)
            | Output::Log(_)
            | Output::Accept(_)
            | Output::Beat
            | Output::Stopped => None,
        });
        tickets.collect::<Vec<_>>()
    };
    let [ticket] = asked(&out)[..] else { panic!("{out:?}") };
    let answered = |out: &[Output]| {
        let mut answered = Vec::new();
        for output in out {
            if let Output::To(conn, Order::Respond { id, reply }) = output {
                answered.push((*conn, id.to_string(), matches!(reply, Reply::Ok(_))));
            }
        }
        answered
    };
    assert_eq!(answered(&out), [(two, "d".to_owned(), false)]);
    out.clear();
    lab.tell(Input::Closed { conn: two });
    let answer = HostAnswer::SystemInfo(Ok(Bytes::from_static(b"{}")));
    lab.gateway.handle(lab.now, Input::Answered { ticket, answer }, &mut out);
    assert_eq!(answered(&out), [(one, "a".to_owned(), true), (one, "c".to_owned(), true)]);
    out.clear();
    let request = Request::new("e".into(), method(), None, None);
    lab.gateway.handle(lab.now, Input::Request { conn: one, request }, &mut out);
    let [ticket] = asked(&out)[..] else { panic!("the next one asks anew: {out:?}") };
    let answer = HostAnswer::SystemInfo(Err(HostFault("no".to_owned())));
    out.clear();
    lab.gateway.handle(lab.now, Input::Answered { ticket, answer }, &mut out);
    assert_eq!(answered(&out), [(one, "e".to_owned(), false)]);
}

#[test]
fn a_good_device_token_does_not_make_guesses_free() {
    let mut lab = Lab::new(Limits::default());
    let device = json!({"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"});
    let (_, first) = lab.admitted(json!({"device": device, "auth": {"password": "open"}}));
    let token = first.token.unwrap().token;
    // What clients send is no guess, however often.
    for _ in 0..5 {
        lab.admitted(json!({"device": device, "auth": {"token": token, "deviceToken": token}}));
    }
    lab.admitted(json!({"auth": {"password": "open"}}));
    for guess in ["a", "b"] {
        lab.admitted(json!({"device": device, "auth": {"password": guess, "deviceToken": token}}));
    }
    assert_eq!(lab.refused(json!({"auth": {"password": "open"}})), "AUTH_RATE_LIMITED");
    lab.admitted(json!({"device": device, "auth": {"deviceToken": token}}));
}

#[test]
fn a_good_device_token_for_something_else_does_not_make_guesses_free() {
    let device = json!({"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"});
    let client = json!({"id": "cli", "version": "1", "platform": "win32", "mode": "cli"});
    // The token does not reach so far; or it does, but a person must look at the device again.
    let more = [
        (json!({"scopes": ["operator.admin"]}), "AUTH_SCOPE_MISMATCH"),
        (json!({"role": "node"}), "AUTH_SCOPE_MISMATCH"),
        (json!({"client": client}), "PAIRING_REQUIRED"),
    ];
    for (more, code) in more {
        let mut lab = Lab::new(Limits::default());
        let (_, first) = lab.admitted(json!({"device": device, "auth": {"password": "open"}}));
        let token = first.token.unwrap().token;
        let with = |auth: Value| {
            let mut params = more.clone();
            (params["device"], params["auth"]) = (device.clone(), auth);
            params
        };
        for _ in 0..5 {
            assert_eq!(lab.refused(with(json!({"token": token, "deviceToken": token}))), code, "no guess");
        }
        lab.admitted(json!({"auth": {"password": "open"}}));
        for guess in ["a", "b"] {
            assert_eq!(lab.refused(with(json!({"password": guess, "deviceToken": token}))), code);
        }
        assert_eq!(lab.refused(json!({"auth": {"password": "open"}})), "AUTH_RATE_LIMITED", "{code}");
    }
}

#[test]
fn a_locked_device_token_does_not_make_guesses_free() {
    let device = json!({"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"});
    let guesses = [
        |guess: &str| json!({"password": guess, "deviceToken": "x"}),
        |guess: &str| json!({"token": guess, "deviceToken": guess}),
        |guess: &str| json!({"token": guess}),
    ];
    for guess in guesses {
        let mut lab = Lab::new(Limits::default());
        for _ in 0..2 {
            let auth = json!({"deviceToken": "made up"});
            assert_eq!(lab.refused(json!({"device": device, "auth": auth})), "AUTH_DEVICE_TOKEN_MISMATCH");
        }
        for text in ["a", "b", "open"] {
            let params = json!({"device": device, "auth": guess(text)});
            assert_eq!(lab.refused(params), "AUTH_RATE_LIMITED", "{text}");
        }
    }
}

#[test]
fn without_a_proof_no_secret_is_looked_at() {
    // Or a right one, which forgives the wrong ones before it, would show among many that are not counted.
    let mut lab = Lab::new(Limits::default());
    assert_eq!(lab.refused(json!({"auth": {"password": "a"}})), "AUTH_PASSWORD_MISMATCH");
    lab.is_proof_bad = true;
    let device = json!({"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"});
    for text in ["b", "c", "open"] {
        let params = json!({"device": device, "auth": {"password": text, "deviceToken": "x"}});
        assert_eq!(lab.refused(params), "DEVICE_AUTH_SIGNATURE_INVALID");
    }
    lab.is_proof_bad = false;
    assert_eq!(lab.refused(json!({"auth": {"password": "d"}})), "AUTH_PASSWORD_MISMATCH");
    assert_eq!(lab.refused(json!({"auth": {"password": "open"}})), "AUTH_RATE_LIMITED");
}

#[test]
fn paths_are_for_admins_in_either_protocol() {
    let mut lab = Lab::new(Limits::default());
    for protocol in [3, 4] {
        for (scope, shown) in [("operator.read", false), ("operator.admin", true)] {
            let more = json!({"scopes": [scope], "auth": {"password": "open"}});
            let (_, Order::Admit(admission)) = lab.connect(protocol, more) else { panic!("refused") };
            let hello: Value = serde_json::from_slice(&dialect::hello_ok(&admission)).unwrap();
            assert_eq!(hello["snapshot"]["configPath"].is_string(), shown, "{protocol} {scope}");
            assert_eq!(hello["snapshot"]["authMode"].is_string(), shown);
        }
    }
}

impl Lab {
    fn ask(&mut self, conn: ConnId, id: &str, method: &str, params: &Value) {
        let row = crate::methods::find(method, Dialect::V4).unwrap();
        let request =
            Request::new(id.into(), MethodRef::Known(row), Some(&to_raw_value(params).unwrap()), None);
        self.orders.clear();
        self.tell(Input::Request { conn, request });
    }

    fn answers_to(&self, id: &str) -> Vec<&Reply> {
        let reply =
            |(_, order): &'_ (ConnId, Order)| matches!(order, Order::Respond { id: of, .. } if &**of == id);
        let found = self.orders.iter().filter(|order| reply(order));
        found
            .filter_map(
                |(_, order)| if let Order::Respond { reply, .. } = order { Some(reply) } else { None },
            )
            .collect()
    }

    fn reason_of(&self, id: &str) -> Option<&str> {
        match self.answers_to(id)[..] {
            [Reply::Err(error)] => error.details.as_ref()?["reason"].as_str(),
            _ => None,
        }
    }

    /// An operator, and a node whose command `system.notify` was approved with its device.
    fn pair(&mut self) -> (ConnId, ConnId) {
        let open = json!({"password": "open"});
        let scopes = json!(["operator.admin"]);
        let operator = self.admitted(json!({"auth": open, "scopes": scopes})).0;
        let device = json!({"id": "n", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"});
        let client = json!({"id": "node-host", "version": "1", "platform": "linux", "mode": "node"});
        let node = self.connect(
            3,
            json!({
                "auth": open, "role": "node", "scopes": [], "commands": ["system.notify"], "device": device,
                "client": client,
            }),
        );
        assert!(matches!(node.1, Order::Admit(_)), "{:?}", node.1);
        (operator, node.0)
    }
}

/// A command as large as these bytes, more or less.
fn command(bytes: usize) -> Value {
    json!({
        "nodeId": "n", "command": "system.notify", "params": "x".repeat(bytes), "idempotencyKey": "k",
        "timeoutMs": 60_000,
    })
}

#[test]
fn a_node_that_does_not_read_is_sent_so_much_and_no_more() {
    let limits = Limits { node_queued_bytes_max: 64 * 1024, ..Limits::default() };
    let mut lab = Lab::new(limits);
    let (operator, node) = lab.pair();
    let mut sent = 0;
    for at in 0..20 {
        let id = at.to_string();
        lab.ask(operator, &id, "node.invoke", &command(10_000));
        if lab.answers_to(&id).is_empty() {
            sent += 1;
        } else {
            assert_eq!(lab.reason_of(&id), Some("node-slow"), "{:?}", lab.orders);
        }
    }
    let queued = lab.gateway.peers.get(node).map(|slot| slot.queued).unwrap();
    assert!(sent == 6 && queued <= 64 * 1024, "{sent} commands, {queued} bytes");
    assert_eq!(lab.gateway.census().invokes, 6);
    // It reads, and is sent more.
    lab.tell(Input::Drained { conn: node, bytes: queued });
    lab.ask(operator, "more", "node.invoke", &command(10_000));
    assert!(lab.answers_to("more").is_empty());
    // It goes: each that waits is answered, in the same step.
    lab.orders.clear();
    lab.tell(Input::Closed { conn: node });
    for at in 0..6 {
        assert!(matches!(lab.answers_to(&at.to_string())[..], [Reply::Err(_)]));
    }
    assert_eq!(lab.gateway.census().invokes, 0);
}

#[test]
fn a_command_for_which_there_is_no_memory_costs_nobody_a_connection() {
    let limits = Limits { process_bytes_max: 64 * 1024, ..Limits::default() };
    let mut lab = Lab::new(limits);
    let (operator, node) = lab.pair();
    lab.ask(operator, "large", "node.invoke", &command(100_000));
    let [Reply::Err(error)] = lab.answers_to("large")[..] else { panic!("{:?}", lab.orders) };
    assert_eq!(error.retryable, Some(true));
    assert!(lab.gateway.peers.session(node).is_some() && lab.gateway.peers.session(operator).is_some());
    assert_eq!(lab.gateway.census().invokes, 0);
}

/// A node's first try that was too early, up to the moment of the second.
fn asked_again(lab: &mut Lab, operator: ConnId, node: ConnId, between: impl FnOnce(&mut Lab)) {
    lab.ask(operator, "first", "node.invoke", &command(9_000));
    let name = lab.orders.iter().find_map(|(_, order)| {
        let Order::Event(event) = order else { return None };
        let payload: Value = serde_json::from_slice(&event.payload).unwrap();
        payload["id"].as_str().map(str::to_owned)
    });
    let not_ready = json!({
        "id": name.unwrap(), "nodeId": "n", "ok": false, "error": {"code": "NODE_NOT_READY", "message": "m"},
    });
    lab.ask(node, "said", "node.invoke.result", &not_ready);
    assert!(lab.answers_to("first").is_empty());
    between(lab);
    lab.now.mono = lab.gateway.next_deadline().unwrap().max(lab.now.mono.plus_millis(250));
    lab.orders.clear();
    lab.tell(Input::Tick);
}

#[test]
fn a_node_that_is_asked_again_and_does_not_read_ends_the_command() {
    let limits = Limits { node_queued_bytes_max: 16 * 1024, ..Limits::default() };
    let mut lab = Lab::new(limits);
    let (operator, node) = lab.pair();
    asked_again(&mut lab, operator, node, |_| {});
    let [Reply::Err(error)] = lab.answers_to("first")[..] else { panic!("{:?}", lab.orders) };
    assert_eq!(error.message, "UNAVAILABLE: failed to send invoke to node");
    assert_eq!(lab.gateway.census().invokes, 0);
}

#[test]
fn what_was_forbidden_meanwhile_is_not_asked_for_again() {
    for is_forbidden in [false, true] {
        let mut lab = Lab::new(Limits::default());
        let (operator, node) = lab.pair();
        asked_again(&mut lab, operator, node, |lab| {
            if is_forbidden {
                let mut config = (*lab.gateway.config).clone();
                config.node_commands.deny.insert("system.notify".to_owned());
                lab.gateway.config = Arc::new(config);
            }
        });
        let is_asked = lab.orders.iter().any(|(to, order)| {
            *to == node && matches!(order, Order::Event(event) if event.name == "node.invoke.request")
        });
        assert_eq!(is_asked, !is_forbidden);
        match lab.answers_to("first")[..] {
            [] => assert!(!is_forbidden),
            [Reply::Err(error)] if is_forbidden => {
                assert!(error.message.starts_with("node command not allowed"), "{}", error.message);
            }
            _ => panic!("{:?}", lab.orders),
        }
    }
}
