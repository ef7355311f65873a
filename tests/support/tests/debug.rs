//! `Debug` shows no secret: everything that passes between a client, a connection, the gateway and the host, and
//! these themselves, are formatted at every step while secrets go through them in pieces of seven bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clawgate_proto::client::{Client, ClientConfig, ClientEvent, DeviceKey};
use clawgate_proto::config::{CanvasHost, Config};
use clawgate_proto::host::perform;
use clawgate_proto::seed::Seed;
use clawgate_proto::{Connection, Gateway, Input, Mono, Next, Now, Output, Peer, Wall};
use clawgate_support::client::config_as;
use clawgate_support::needles::Needles;
use clawgate_support::{MemoryHost, secrets, stage};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;

const NOW: Now = Now { mono: Mono(1_000_000), wall: Wall(1_795_336_353_595) };
const PIECE: usize = 7;

/// What must not be seen, and where it was.
#[derive(Default)]
struct Watch {
    needles: RefCell<Needles>,
    seen: RefCell<BTreeSet<String>>,
}

impl Watch {
    fn secret(&self, whose: &str, secret: &str) {
        self.needles.borrow_mut().add(whose, secret);
    }

    fn look(&self, at: &str, value: &dyn Debug) {
        let text = format!("{value:?}");
        for (_, what) in self.needles.borrow().find(text.as_bytes()) {
            self.seen.borrow_mut().insert(format!("{at}: {what}"));
        }
    }
}

struct Bench {
    gateway: Gateway,
    host: MemoryHost,
    watch: Watch,
}

struct Line {
    client: Client,
    connection: Connection,
    events: Vec<ClientEvent>,
}

impl Bench {
    fn new() -> Self {
        let watch = Watch::default();
        watch.secret("the marker", secrets::MARKER);
        let config = Config { canvas: Some(CanvasHost { live_reload: true }), ..stage::config() };
        watch.look("Config", &config);
        let mut bench =
            Self { gateway: Gateway::new(config, Seed::new([9; 32]), NOW), host: MemoryHost::new(), watch };
        bench.tell(Input::Tick, None);
        bench
    }

    fn line(&mut self, config: ClientConfig) -> Line {
        self.watch.look("ClientConfig", &config);
        if let Some(key) = &config.identity {
            key.private_pem().lines().filter(|line| !line.starts_with('-')).for_each(|line| {
                self.watch.secret("a private key", line);
            });
            self.watch.look("DeviceKey", key);
        }
        let peer = Peer { remote: ([127, 0, 0, 1], 50_000).into(), local: ([127, 0, 0, 1], 18_789).into() };
        let mut out = Vec::new();
        let connection = self.gateway.open(NOW, peer, &mut out).unwrap();
        let client = Client::new(config, Seed::new([5; 32]), NOW);
        let mut line = Line { client, connection, events: Vec::new() };
        self.carry_out(out, Some(&mut line));
        self.pump(&mut line);
        line
    }

    fn pump(&mut self, line: &mut Line) {
        loop {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            self.watch.look("Client", &line.client);
            line.client.take_wire(&mut up);
            for mut piece in up.chunks(PIECE) {
                while !piece.is_empty() {
                    let taken = line.connection.receive(NOW, piece);
                    self.watch.look("Connection", &line.connection);
                    self.drain(line);
                    piece = &piece[taken..];
                }
            }
            self.watch.look("Connection", &line.connection);
            line.connection.take_wire(NOW, &mut down);
            line.connection.wrote(NOW, down.len());
            self.drain(line);
            for piece in down.chunks(PIECE) {
                line.client.receive(NOW, piece);
                self.watch.look("Client", &line.client);
            }
            if up.is_empty() && down.is_empty() {
                break;
            }
        }
        while let Some(event) = line.client.next_event() {
            if let ClientEvent::HelloOk(hello) = &event {
                hello.device_token().into_iter().for_each(|token| self.watch.secret("a device token", token));
                let url = hello.0["pluginSurfaceUrls"]["canvas"].as_str();
                url.and_then(secrets::capability).into_iter().for_each(|token| {
                    self.watch.secret("a capability", token);
                });
            }
            self.watch.look("ClientEvent", &event);
            line.events.push(event);
        }
    }

    fn drain(&mut self, line: &mut Line) {
        while let Next::Event(input) = line.connection.next_event(NOW) {
            self.tell(input, Some(line));
        }
    }

    fn tell(&mut self, input: Input, line: Option<&mut Line>) {
        self.watch.look("Input", &input);
        let mut out = Vec::new();
        self.gateway.handle(NOW, input, &mut out);
        self.watch.look("Gateway", &self.gateway);
        self.carry_out(out, line);
    }

    fn carry_out(&mut self, out: Vec<Output>, mut line: Option<&mut Line>) {
        for output in out {
            self.learn(&output);
            self.watch.look("Output", &output);
            match output {
                Output::To(conn, order) => {
                    if let Some(line) = line.as_deref_mut().filter(|line| line.connection.id() == conn) {
                        line.connection.apply(NOW, order);
                    }
                }
                Output::Host(ticket, request) => {
                    let answer = perform(&self.host, request);
                    self.watch.look("HostAnswer", &answer);
                    self.tell(Input::Answered { ticket, answer }, line.as_deref_mut());
                }
                Output::Log(_) | Output::Accept(_) | Output::Beat | Output::Stopped => {}
            }
        }
    }

    /// The tokens in the store: from the moment when the host is to write them.
    fn learn(&self, output: &Output) {
        use clawgate_proto::host::HostRequest;
        if let Output::Host(_, HostRequest::StoreDevices { devices, .. }) = output {
            for device in devices.paired.values() {
                for token in device.tokens.iter().flat_map(|tokens| tokens.values()) {
                    self.watch.secret("a device token", &token.token);
                }
            }
        }
    }

    /// A plain request from elsewhere, and its answer.
    fn fetch(&mut self, target: &str) -> String {
        let peer = Peer { remote: ([127, 0, 0, 1], 50_001).into(), local: ([127, 0, 0, 1], 18_789).into() };
        let connection = self.gateway.open(NOW, peer, &mut Vec::new()).unwrap();
        let client = Client::new(config(9), Seed::new([5; 32]), NOW);
        let mut line = Line { client, connection, events: Vec::new() };
        let head = format!("GET {target} HTTP/1.1\r\nHost: gw.example\r\n\r\n");
        for piece in head.as_bytes().chunks(PIECE) {
            line.connection.receive(NOW, piece);
            self.watch.look("Connection", &line.connection);
            self.drain(&mut line);
        }
        let mut wire = Vec::new();
        line.connection.take_wire(NOW, &mut wire);
        String::from_utf8(wire).unwrap()
    }

    fn call(&mut self, line: &mut Line, method: &str, params: Value) -> Option<Value> {
        let id = line.client.request(method, params).unwrap();
        self.pump(line);
        line.events.drain(..).find_map(|event| {
            let ClientEvent::Response(response) = event else { return None };
            (response.id == id).then(|| response.into_result().ok()).flatten()
        })
    }
}

fn config(key: u8) -> ClientConfig {
    let addr = ([127, 0, 0, 1], 18_789).into();
    let mut config = config_as(addr, "cli", "cli", None, Some(DeviceKey::from_seed(&[key; 32])));
    // Nobody has to put secrets here, but people do.
    config.path = format!("/?token={}", secrets::chosen("in-a-path"));
    config.headers.push(("Authorization".into(), format!("Bearer {}", secrets::chosen("in-a-header"))));
    config.headers.push(("Cookie".into(), secrets::chosen("in-a-cookie")));
    config
}

#[test]
fn no_value_shows_a_secret() {
    let mut bench = Bench::new();
    // Let in with the shared secret; a rotation whose answer is kept for a repeat, and a secret as a param.
    let mut shared = config(1);
    shared.auth.token = Some(stage::shared_token());
    let first = bench.line(shared);
    let token = first.events.iter().find_map(|event| {
        let ClientEvent::HelloOk(hello) = event else { return None };
        hello.device_token().map(str::to_owned)
    });
    let token = token.expect("it is let in");
    let mut by_token = config(1);
    by_token.auth.device_token = Some(token);
    let mut second = bench.line(by_token);
    let hidden = json!({ "token": secrets::chosen("in-params"), "text": "not a secret", "requestId": "1" });
    for method in ["health", "system-event", "no.such.method", "device.pair.approve"] {
        bench.call(&mut second, method, hidden.clone());
    }
    // A file by an address that carries its own right, before its path and behind it.
    let asked = bench.call(&mut second, "plugin.surface.refresh", json!({ "surface": "canvas" })).unwrap();
    let url = asked["pluginSurfaceUrls"]["canvas"].as_str().unwrap().to_owned();
    let token = secrets::capability(&url).unwrap();
    bench.watch.secret("a capability", token);
    let before = format!("/__openclaw__/cap/{token}/__openclaw__/canvas/");
    for target in [before, format!("/__openclaw__/canvas/?oc_cap={token}")] {
        assert!(bench.fetch(&target).starts_with("HTTP/1.1 200 "));
    }
    let id = DeviceKey::from_seed(&[1; 32]).device_id().to_owned();
    let rotated =
        bench.call(&mut second, "device.token.rotate", json!({ "deviceId": id, "role": "operator" }));
    assert!(rotated.unwrap()["token"].is_string(), "the device is shown its new token");

    // Refused in each way in which something is quoted or remembered.
    for (key, password, device_token, extra) in [
        (2, Some("wrong-password"), None, None),
        (3, None, Some("wrong-device-token"), None),
        (4, None, None, Some("extra")),
    ] {
        let mut config = config(key);
        config.auth.token = Some(secrets::chosen("wrong"));
        config.auth.password = password.map(secrets::chosen);
        config.auth.device_token = device_token.map(secrets::chosen);
        config.answers_challenge = extra.is_none();
        let mut line = bench.line(config);
        if extra.is_some() {
            let secret = secrets::chosen("of-a-wrong-type");
            let params = json!({ "minProtocol": secret, "auth": { "token": [secret], "password": secret } });
            let _ = line.client.send_connect(params);
            bench.pump(&mut line);
        }
        let is_in = line.events.iter().any(|event| matches!(event, ClientEvent::HelloOk(_)));
        assert!(!is_in);
    }
    for raw in
        ["{\"type\":\"req\",\"id\":\"1\",\"method\":7,\"params\":\"SECRET\"}", "{ \"auth\": \"SECRET\""]
    {
        let mut config = config(5);
        config.answers_challenge = false;
        let mut line = bench.line(config);
        line.client.send_text_raw(&raw.replace("SECRET", &secrets::chosen("in-a-bad-frame"))).unwrap();
        bench.pump(&mut line);
    }
    for record in bench.host.records() {
        bench.watch.look("Record", &record);
    }
    let seen = bench.watch.seen.borrow();
    assert!(seen.is_empty(), "{seen:#?}");
}

/// If nothing could be seen, the test above would prove nothing.
#[test]
fn a_value_that_shows_one_is_seen() {
    let watch = Watch::default();
    watch.secret("it", "hunter22-hunter22");
    watch.look("text", &Some("hunter22-hunter22"));
    watch.look("bytes", &b"a hunter22-hunter22".to_vec());
    let seen: Vec<String> = watch.seen.into_inner().into_iter().collect();
    assert_eq!(seen, ["bytes: it, numbers", "text: it, raw"]);
}
