//! The client core and the gateway core of this very project understand each other: no sockets, no clock, a host
//! in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clawgate_proto::client::{Client, ClientConfig, ClientEvent, DeviceKey, policy};
use clawgate_proto::config::{AuthConfig, AuthMode, Config};
use clawgate_proto::connect::Credentials;
use clawgate_proto::host::{Document, perform};
use clawgate_proto::secret::Secret;
use clawgate_proto::seed::Seed;
use clawgate_proto::{Connection, Gateway, Host as _, Input, Mono, Next, Now, Output, Peer, Wall};
use clawgate_support::client::config_as;
use clawgate_support::{MemoryHost, secrets};
use core::net::SocketAddr;
use serde_json::{Value, json};

const NOW: Now = Now { mono: Mono(1_000_000), wall: Wall(1_795_336_353_595) };

/// A gateway that does all its work at one instant.
struct Bench {
    gateway: Gateway,
    host: MemoryHost,
}

/// One client and its connection.
struct Line {
    client: Client,
    connection: Connection,
}

impl Bench {
    fn new() -> Self {
        let token = Secret::new(&secrets::chosen("shared"));
        let auth = AuthConfig { token, ..AuthConfig::new(AuthMode::Token) };
        let config = Config::new(auth, 18_789);
        let mut bench =
            Self { gateway: Gateway::new(config, Seed::new([9; 32]), NOW), host: MemoryHost::new() };
        bench.handle(Input::Tick, None);
        bench
    }

    fn line(&mut self, config: ClientConfig) -> Line {
        let (remote, local) = (addr(50_000), addr(18_789));
        let mut out = Vec::new();
        let connection = self.gateway.open(NOW, Peer { remote, local }, &mut out).unwrap();
        let mut line = Line { client: Client::new(config, Seed::new([5; 32]), NOW), connection };
        self.carry_out(out, Some(&mut line));
        self.pump(&mut line);
        line
    }

    /// Moves bytes until neither side has anything to say.
    fn pump(&mut self, line: &mut Line) {
        loop {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            line.client.take_wire(&mut up);
            self.feed(line, &up);
            line.connection.take_wire(NOW, &mut down);
            line.connection.wrote(NOW, down.len());
            self.drain(line);
            if !down.is_empty() {
                line.client.receive(NOW, &down);
            }
            if up.is_empty() && down.is_empty() {
                return;
            }
        }
    }

    fn feed(&mut self, line: &mut Line, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = line.connection.receive(NOW, bytes);
            self.drain(line);
            assert!(taken > 0 || line.connection.wants_read(), "the connection is stuck");
            bytes = &bytes[taken..];
        }
    }

    fn drain(&mut self, line: &mut Line) {
        while let Next::Event(input) = line.connection.next_event(NOW) {
            self.handle(input, Some(line));
        }
    }

    fn handle(&mut self, input: Input, line: Option<&mut Line>) {
        let mut out = Vec::new();
        self.gateway.handle(NOW, input, &mut out);
        self.carry_out(out, line);
    }

    fn carry_out(&mut self, out: Vec<Output>, mut line: Option<&mut Line>) {
        for output in out {
            match output {
                Output::To(conn, order) => {
                    // What goes to a client that no test looks at any more is dropped.
                    if let Some(line) = line.as_deref_mut().filter(|line| line.connection.id() == conn) {
                        line.connection.apply(NOW, order);
                    }
                }
                Output::Host(ticket, request) => {
                    let answer = perform(&self.host, request);
                    self.handle(Input::Answered { ticket, answer }, line.as_deref_mut());
                }
                Output::Log(record) => self.host.log(&record),
                Output::Accept(_) | Output::Beat | Output::Stopped => {}
            }
        }
    }

    fn call(&mut self, line: &mut Line, method: &str, params: Value) -> Result<Value, Value> {
        let id = line.client.request(method, params).unwrap();
        self.pump(line);
        let answer = line.events().into_iter().find_map(|event| {
            let ClientEvent::Response(response) = event else { return None };
            (response.id == id).then_some(response)
        });
        answer.unwrap().into_result().map_err(|error| serde_json::to_value(error).unwrap())
    }
}

impl Line {
    /// What happened since the last call.
    fn events(&mut self) -> Vec<ClientEvent> {
        core::iter::from_fn(|| self.client.next_event()).collect()
    }

    fn hello(&mut self) -> Value {
        let events = self.events();
        let hello = events.iter().find_map(|event| {
            let ClientEvent::HelloOk(hello) = event else { return None };
            Some(hello.0.clone())
        });
        hello.unwrap_or_else(|| panic!("no hello-ok in {events:?}"))
    }
}

fn addr(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn config(protocol: u64, auth: Credentials) -> ClientConfig {
    let identity = Some(DeviceKey::from_seed(&[3; 32]));
    let config = config_as(addr(18_789), "cli", "cli", None, identity);
    ClientConfig { min_protocol: protocol, max_protocol: protocol, auth, ..config }
}

fn shared() -> Credentials {
    Credentials { token: Some(secrets::chosen("shared")), ..Credentials::default() }
}

#[test]
fn a_device_is_paired_and_comes_back_with_its_token_in_either_dialect() {
    for protocol in [3, 4] {
        let mut bench = Bench::new();
        let mut line = bench.line(config(protocol, shared()));
        let hello = line.hello();
        assert_eq!(hello["protocol"], protocol);
        let token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
        let paired = bench.host.content(Document::DevicesPaired).unwrap();
        assert!(String::from_utf8(paired).unwrap().contains(&token), "durable before hello-ok");
        assert_eq!(bench.call(&mut line, "health", json!({})).unwrap()["ok"], true);
        let list = bench.call(&mut line, "device.pair.list", json!({})).unwrap();
        assert_eq!(list["paired"].as_array().unwrap().len(), 1);

        let stored = policy::credentials(&Credentials::default(), Some(&token), false);
        let mut again = bench.line(config(protocol, stored));
        assert_eq!(again.hello()["protocol"], protocol);
    }
}

#[test]
fn a_refusal_carries_what_the_reconnect_policy_needs() {
    let mut bench = Bench::new();
    let wrong = Credentials { token: Some(secrets::chosen("wrong")), ..Credentials::default() };
    let mut line = bench.line(config(4, wrong));
    let events = line.events();
    let [
        ClientEvent::Challenge { .. },
        ClientEvent::ConnectRefused(error),
        ClientEvent::Closed { code: 1008, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(error.detail("code"), Some("AUTH_TOKEN_MISMATCH"));
    let means = policy::Means { stored_device_token: true, trusted_endpoint: true };
    let mut reconnect = policy::Reconnect::new();
    assert_eq!(reconnect.ended(Some(error), means), policy::Decision::Retry { after_ms: 250 });
    assert_eq!(reconnect.ended(Some(error), means), policy::Decision::Stop);
}

#[test]
fn a_disk_that_refuses_refuses_the_pairing() {
    let mut bench = Bench::new();
    bench.host.set_read_only(true);
    let mut line = bench.line(config(4, shared()));
    let events = line.events();
    assert!(events.iter().any(|event| matches!(event, ClientEvent::ConnectRefused(_))), "{events:?}");
    assert_eq!(bench.host.content(Document::DevicesPaired), None);
    bench.host.set_read_only(false);
    assert_eq!(bench.line(config(4, shared())).hello()["protocol"], 4);
}
