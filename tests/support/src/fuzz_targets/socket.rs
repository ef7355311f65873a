//! One connection with a gateway that answers every fact at once, always alike and with one order; and the target
//! `chunking`: the same bytes, whole and cut, must give the same facts and the same wire. (With two orders, a
//! connection may go on with bytes it holds between them, and what a fault cuts off depends on that.)

use super::source::Source;
use crate::frame::raw_frame;
use bytes::Bytes;
use clawgate_proto::admission::Admission;
use clawgate_proto::budget::Budget;
use clawgate_proto::config::{AuthConfig, AuthMode, Config};
use clawgate_proto::dialect::Dialect;
use clawgate_proto::frame::{CloseFrame, ErrorShape, Payload, StateVersion};
use clawgate_proto::http::{HttpRequest, HttpResponse};
use clawgate_proto::id::ConnId;
use clawgate_proto::limits::Limits;
use clawgate_proto::output::{Order, Reply};
use clawgate_proto::scope::{Role, Scopes};
use clawgate_proto::seed::Seed;
use clawgate_proto::{Connection, Input, Mono, Next, Now, Wall};
use serde_json::json;
use std::sync::Arc;

/// The configuration of the byte targets: small bounds, so that short inputs reach them.
pub(super) fn config(limits: Limits) -> Config {
    Config { limits, ..Config::new(AuthConfig::new(AuthMode::None), 18789) }
}

/// Small bounds, so that short inputs reach them.
pub(super) fn small_limits() -> Limits {
    Limits {
        head_bytes_max: 512,
        target_bytes_max: 128,
        header_count_max: 12,
        body_bytes_max: 256,
        chunk_line_bytes_max: 24,
        preauth_message_bytes_max: 600,
        message_bytes_max: 2_000,
        handshake_frames_max: 3,
        requests_in_flight_max: 4,
        drained_report_bytes: 100,
        ..Limits::default()
    }
}

/// A connection, everything it said, and the clock, which stands still.
#[derive(Debug)]
pub(super) struct Socket {
    conn: Connection,
    config: Arc<Config>,
    now: Now,
    /// Facts but `Drained`, as text.
    pub(super) facts: Vec<String>,
    /// The requests that were complete.
    pub(super) requests: Vec<HttpRequest>,
    /// Everything written.
    pub(super) wire: Vec<u8>,
    /// What orders cost, and what was reported as drained of it.
    cost: usize,
    drained: usize,
    has_ended: bool,
    /// Bytes a write takes at most.
    write_max: usize,
}

impl Socket {
    pub(super) fn new(limits: Limits, write_max: usize) -> Self {
        let now = Now { mono: Mono(1_000_000), wall: Wall(1_700_000_000_000) };
        let budget = Budget::new(limits.process_bytes_max);
        let config = Arc::new(config(limits));
        let conn = Connection::new(ConnId(1), Seed::new([7; 32]), Arc::clone(&config), budget, now);
        Self {
            conn,
            config,
            now,
            facts: Vec::new(),
            requests: Vec::new(),
            wire: Vec::new(),
            cost: 0,
            drained: 0,
            has_ended: false,
            write_max,
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_finished(&self) -> bool {
        self.conn.is_finished()
    }

    /// Offers bytes until they are taken or the connection takes none any more. How many it took.
    pub(super) fn offer(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        self.settle();
        while taken < bytes.len() && self.conn.wants_read() {
            let more = self.conn.receive(self.now, &bytes[taken..]);
            assert!(more > 0, "a connection that wants bytes takes one");
            assert!(more <= bytes.len() - taken, "it takes what there is");
            taken += more;
            self.settle();
        }
        taken
    }

    /// The peer sends no more. Whatever waits for the clock is let go.
    pub(super) fn end(&mut self) {
        self.conn.receive_end(self.now);
        self.settle();
        for _ in 0..8 {
            let Some(deadline) = self.conn.next_deadline().filter(|_| !self.is_finished()) else { break };
            self.now.mono = self.now.mono.max(deadline);
            self.conn.handle_timeout(self.now);
            self.settle();
        }
        assert!(self.is_finished(), "the end of the stream ends a connection: {:?}", self.conn);
        assert!(!self.conn.wants_write() && !self.conn.wants_read());
    }

    /// Facts out, orders in, bytes out, until nothing moves.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Next::Event(input) = self.conn.next_event(self.now) {
                moved = true;
                self.fact(input);
            }
            while self.conn.wants_write() {
                moved = true;
                let before = self.wire.len();
                self.conn.take_wire(self.now, &mut self.wire);
                let mut written = self.wire.len() - before;
                assert!(written > 0, "a connection that wants to write has something to say");
                while written > 0 {
                    let part = written.min(self.write_max);
                    self.conn.wrote(self.now, part);
                    written -= part;
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn fact(&mut self, input: Input) {
        if let Input::Drained { bytes, .. } = input {
            self.drained += bytes;
            assert!(self.drained <= self.cost, "more came back than was given");
            return;
        }
        assert!(!self.has_ended, "a fact after the end: {input:?}");
        self.facts.push(format!("{input:?}"));
        match input {
            Input::Upgrade { request, .. } => {
                self.requests.push(*request);
                self.order(Order::Upgrade);
            }
            Input::Http { request, .. } => {
                // Some answers come in pieces.
                let rest = if request.query.is_some() { 5 } else { 0 };
                let response = HttpResponse { rest, ..HttpResponse::text(200, "seen") };
                self.requests.push(*request);
                self.order(Order::Http(Box::new(response)));
                if rest > 0 {
                    self.order(Order::Body(Bytes::from_static(b"and ")));
                    self.order(Order::Body(Bytes::from_static(b"more")));
                }
            }
            Input::Connect { request, .. } => {
                match Dialect::choose(request.params.min_protocol, request.params.max_protocol) {
                    Some(dialect) => {
                        let admission = self.admission(request.id, dialect);
                        self.order(Order::Admit(Box::new(admission)));
                    }
                    None => self.order(Order::Close(CloseFrame::new(1002, "protocol mismatch"))),
                }
            }
            Input::Request { request, .. } => {
                let payload = Payload::Value(Box::new(json!({ "method": request.method.name() })));
                let reply = match request.params {
                    Ok(_) => Reply::Ok(payload),
                    Err(_) => Reply::Err(Box::new(error())),
                };
                self.order(Order::Respond { id: request.id, reply });
            }
            Input::Ending { .. } => self.has_ended = true,
            Input::Drained { .. }
            | Input::Closed { .. }
            | Input::Answered { .. }
            | Input::ConfigTouched
            | Input::Stop
            | Input::Restart
            | Input::Tick => panic!("no connection says this"),
        }
    }

    fn order(&mut self, order: Order) {
        self.cost += order.cost();
        self.conn.apply(self.now, order);
    }

    fn admission(&self, request_id: Box<str>, dialect: Dialect) -> Admission {
        Admission {
            suspension: "accepting",
            request_id,
            dialect,
            conn_id: "c".to_owned(),
            role: Role::Operator,
            scopes: Scopes::new(["operator.admin"]),
            token: None,
            handoff: Vec::new(),
            confirm: false,
            presence: Bytes::from_static(b"[]"),
            health: Bytes::from_static(b"{}"),
            state_version: StateVersion::default(),
            uptime_ms: 1,
            surface: None,
            config: Arc::clone(&self.config),
        }
    }
}

fn error() -> ErrorShape {
    ErrorShape {
        code: "INVALID_REQUEST",
        message: "no".to_owned(),
        details: None,
        retryable: None,
        retry_after_ms: None,
    }
}

/// The target `chunking`. The first byte chooses where the stream begins, the second how it is cut; the rest is the stream.
pub fn chunking(data: &[u8]) {
    let mut source = Source(data);
    let stage = source.below(4);
    let cut = source.byte();
    let stream = stream(stage, &mut source);
    let whole = run(&stream, |rest| rest, usize::MAX);
    let bytewise = run(&stream, |_| 1, 1);
    check_same(&whole, &bytewise, "byte by byte");
    let mut turn = usize::from(cut);
    let cut_up = run(
        &stream,
        |rest| {
            turn = turn.wrapping_mul(31).wrapping_add(7);
            (1 + turn % (1 + usize::from(cut))).min(rest)
        },
        1 + usize::from(cut),
    );
    check_same(&whole, &cut_up, "cut up");
}

fn check_same(one: &Said, other: &Said, how: &str) {
    assert_eq!(one.0, other.0, "other facts, {how}");
    assert_eq!(in_words(&one.1), in_words(&other.1), "another wire, {how}");
}

/// A wire as text: what is said over HTTP, the messages, and the control frames. These go ahead of messages that
/// wait, so where they stand among them depends on when the peer reads, and only their own order counts.
fn in_words(wire: &[u8]) -> (String, Vec<String>, Vec<String>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let upgraded = wire.windows(SWITCHING.len()).position(|window| window == SWITCHING);
    let head =
        upgraded.and_then(|at| Some(at + 4 + wire[at..].windows(4).position(|end| end == b"\r\n\r\n")?));
    let (http, mut frames) = wire.split_at(head.unwrap_or(wire.len()));
    let (mut messages, mut controls) = (Vec::new(), Vec::new());
    while let [first, second, rest @ ..] = frames {
        let (length, rest) = match (second, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [0, 0, 0, 0, a, b, c, d, rest @ ..]) => {
                (u32::from_be_bytes([*a, *b, *c, *d]) as usize, rest)
            }
            (length, rest) => (usize::from(*length), rest),
        };
        assert!(*first & 0x70 == 0 && length <= rest.len(), "a server's frame that is none");
        let shown = format!("{first:02x} {}", text(&rest[..length]));
        if first & 8 == 0 {
            messages.push(shown)
        } else {
            controls.push(shown)
        }
        frames = &rest[length..];
    }
    (text(http), messages, controls)
}

/// Plain HTTP; frames behind an upgrade; or messages behind an upgrade, and behind hello-ok.
fn stream(stage: u8, source: &mut Source<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    if stage > 0 {
        stream.extend_from_slice(UPGRADE);
    }
    if stage == 3 {
        stream.extend(raw_frame(0x81, Some(MASK), CONNECT.as_bytes()));
    }
    if stage < 2 {
        stream.extend_from_slice(source.0);
        return stream;
    }
    while !source.is_empty() {
        let first = source.pick(&[0x81, 0x81, 0x81, 0x82, 0x01, 0x80, 0x89, 0x8a, 0x88]);
        let length = usize::from(source.byte());
        stream.extend(raw_frame(first, Some(MASK), source.take(length)));
    }
    stream
}

type Said = (Vec<String>, Vec<u8>);

/// Gives a stream in pieces and says what came of it.
fn run(stream: &[u8], mut piece: impl FnMut(usize) -> usize, write_max: usize) -> Said {
    let mut socket = Socket::new(small_limits(), write_max);
    let mut at = 0;
    while at < stream.len() {
        let end = at + piece(stream.len() - at).max(1);
        let taken = socket.offer(&stream[at..end]);
        at += taken;
        if at < end {
            break; // it will never take more: nobody is left to answer anything
        }
    }
    socket.end();
    (socket.facts, socket.wire)
}

pub(super) const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const CONNECT: &str = r#"{"type":"req","id":"c","method":"connect","params":{"minProtocol":3,"maxProtocol":4,"client":{"id":"test","version":"1","platform":"linux","mode":"test"}}}"#;
