#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cuts;
mod handshake;
mod http;
mod keepalive;
mod open;

use super::*;
use crate::config::{AuthConfig, AuthMode};
use crate::dialect::Dialect;
use crate::frame::{ErrorShape, EventFrame, Payload, StateVersion};
use crate::http::HttpResponse;
use crate::limits::Limits;
use crate::output::Reply;
use crate::request::ParamsFault;
use crate::scope::{Role, Scopes};
use crate::time::Wall;
use bytes::Bytes;
use serde_json::{Value, json};

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A connection with virtual time, whose facts are kept as short texts and whose bytes are all written at once.
struct Lab {
    conn: Clear,
    now: Now,
    wire: Vec<u8>,
    facts: Vec<String>,
    /// Bytes the connection did not take yet.
    rest: Vec<u8>,
}

fn config(limits: Limits) -> Arc<Config> {
    Arc::new(Config { limits, ..Config::new(AuthConfig::new(AuthMode::None), 18789) })
}

impl Lab {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let now = Now { mono: Mono(5_000_000), wall: Wall(1_700_000_000_000) };
        let budget = Budget::new(limits.process_bytes_max);
        let conn = Clear::new(ConnId(1), Seed::new([7; 32]), config(limits), budget, now);
        Self { conn, now, wire: Vec::new(), facts: Vec::new(), rest: Vec::new() }
    }

    /// Upgraded and challenged; what was said so far is forgotten.
    fn open(limits: Limits) -> Self {
        let mut lab = Self::with(limits);
        lab.send(UPGRADE);
        assert_eq!(lab.take_facts(), ["upgrade /"]);
        lab.apply(Order::Upgrade);
        lab.take_wire();
        lab
    }

    /// Its `connect` is with the gateway.
    fn connecting(limits: Limits) -> Self {
        let mut lab = Self::open(limits);
        lab.text(&connect("c1"));
        assert_eq!(lab.take_facts(), ["connect c1"]);
        lab
    }

    fn admitted(limits: Limits) -> Self {
        let mut lab = Self::connecting(limits);
        lab.admit();
        assert_eq!(lab.take_messages().len(), 1);
        lab.take_facts();
        lab
    }

    fn admit(&mut self) {
        self.apply(Order::Admit(Box::new(admission(&self.conn.config))));
    }

    /// The peer sends these bytes.
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.rest.extend_from_slice(bytes.as_ref());
        self.run();
    }

    /// The peer sends a text message.
    fn text(&mut self, text: &str) {
        self.send(frame(0x81, text.as_bytes()));
    }

    fn end(&mut self) {
        self.conn.receive_end(self.now);
        self.run();
    }

    fn apply(&mut self, order: Order) {
        self.conn.apply(self.now, order);
        self.run();
    }

    fn respond(&mut self, id: &str) {
        let reply = Reply::Ok(Payload::Value(Box::new(json!({}))));
        self.apply(Order::Respond { id: id.into(), reply });
    }

    fn respond_http(&mut self, body: &'static str) {
        self.apply(Order::Http(Box::new(HttpResponse::text(200, body))));
    }

    fn wait(&mut self, ms: u64) {
        self.now.mono = self.now.mono.plus_millis(ms);
        self.now.wall = self.now.wall + ms;
        self.conn.handle_timeout(self.now);
        self.run();
    }

    /// Waits until the next deadline and says how long that took.
    fn wait_deadline(&mut self) -> u64 {
        let deadline = self.conn.next_deadline().unwrap();
        let ms = deadline.millis_since(self.now.mono);
        self.wait(ms);
        let moved = self.conn.next_deadline();
        assert!(moved.is_none_or(|next| next > self.now.mono), "a deadline that passed must move on");
        ms
    }

    fn run(&mut self) {
        loop {
            let mut moved = false;
            if !self.rest.is_empty() && self.conn.wants_read() {
                let taken = self.conn.receive(self.now, &self.rest);
                assert!(taken > 0, "a connection that wants bytes takes one");
                self.rest.drain(..taken);
                moved = true;
            }
            while let Next::Event(input) = self.conn.next_event(self.now) {
                self.facts.push(shown(&input));
                moved = true;
            }
            while self.conn.wants_write() {
                let before = self.wire.len();
                self.conn.take_wire(self.now, &mut self.wire);
                let taken = self.wire.len() - before;
                assert!((1..=64 * 1024).contains(&taken));
                self.conn.wrote(self.now, taken);
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    /// Facts other than drained bytes.
    fn take_facts(&mut self) -> Vec<String> {
        let mut facts = self.take_all_facts();
        facts.retain(|fact| !fact.starts_with("drained"));
        facts
    }

    fn take_all_facts(&mut self) -> Vec<String> {
        core::mem::take(&mut self.facts)
    }

    fn take_wire(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.wire)
    }

    /// What was written, as JSON messages and other frames in words.
    fn take_messages(&mut self) -> Vec<Value> {
        let wire = self.take_wire();
        frames(&wire)
            .into_iter()
            .map(|(first, payload)| match first {
                0x81 => serde_json::from_slice(&payload).unwrap(),
                0x88 if payload.is_empty() => json!("close"),
                0x88 => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    json!(format!("close {code} {}", core::str::from_utf8(&payload[2..]).unwrap()).trim_end())
                }
                0x89 => json!("ping"),
                0x8a => json!(format!("pong {}", String::from_utf8_lossy(&payload)).trim_end()),
                other => panic!("frame {other:#x}"),
            })
            .collect()
    }

    fn http(&mut self) -> String {
        String::from_utf8(self.take_wire()).unwrap()
    }
}

/// A masked frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=65535 => {
            out.push(0xfe);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0xff);
            out.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [3, 1, 4, 1];
    out.extend(mask);
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    out
}

fn close(code: u16) -> Vec<u8> {
    frame(0x88, &code.to_be_bytes())
}

/// Unmasked frames taken apart.
fn frames(mut wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut out = Vec::new();
    while !wire.is_empty() {
        let (head, len) = match wire[1] {
            126 => (4, usize::from(u16::from_be_bytes([wire[2], wire[3]]))),
            127 => (10, u64::from_be_bytes(wire[2..10].try_into().unwrap()) as usize),
            len => (2, usize::from(len)),
        };
        out.push((wire[0], wire[head..head + len].to_vec()));
        wire = &wire[head + len..];
    }
    out
}

fn connect(id: &str) -> String {
    request(id, "connect", connect_params())
}

fn connect_params() -> Value {
    let client = json!({"id": "cli", "version": "1", "platform": "linux", "mode": "cli"});
    json!({"minProtocol": 4, "maxProtocol": 4, "client": client})
}

fn request(id: &str, method: &str, params: Value) -> String {
    json!({"type": "req", "id": id, "method": method, "params": params}).to_string()
}

fn admission(config: &Arc<Config>) -> Admission {
    Admission {
        request_id: "c1".into(),
        suspension: "accepting",
        dialect: Dialect::V4,
        conn_id: "1".to_owned(),
        role: Role::Operator,
        scopes: Scopes::new(["operator.read"]),
        token: None,
        handoff: Vec::new(),
        confirm: false,
        presence: Bytes::from_static(b"[]"),
        health: Bytes::from_static(b"{}"),
        state_version: StateVersion::default(),
        surface: None,
        uptime_ms: 0,
        config: Arc::clone(config),
    }
}

fn shown(input: &Input) -> String {
    match input {
        Input::Upgrade { request, .. } => format!("upgrade {}", request.path),
        Input::Http { request, .. } => {
            format!("http {} {} {}", request.method, request.path, String::from_utf8_lossy(&request.body))
                .trim_end()
                .to_owned()
        }
        Input::Connect { request, .. } => format!("connect {}", request.id),
        Input::Request { request, .. } => match &request.params {
            Ok(_) => format!("request {} {}", request.id, request.method.name()),
            Err(ParamsFault::Invalid(text) | ParamsFault::Message(text)) => {
                format!("request {} {} {text}", request.id, request.method.name())
            }
            Err(ParamsFault::Coded { message, .. }) => {
                format!("request {} {} {message}", request.id, request.method.name())
            }
        },
        Input::Drained { bytes, .. } => format!("drained {bytes}"),
        Input::Ending { why, .. } => format!("ending {why:?}"),
        Input::Closed { .. }
        | Input::Answered { .. }
        | Input::ConfigTouched
        | Input::Stop
        | Input::Restart
        | Input::Tick => {
            panic!("not a connection's to say: {input:?}")
        }
    }
}
