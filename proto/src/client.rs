//! The client side of one connection, without a socket: the upgrade, the challenge, `connect`, requests, events,
//! the watchdog and the close (spec: v4 sections 2 to 9 and 15; handshake section 17; RFC 6455).
//!
//! The caller moves bytes and tells the time, exactly as a driver does for the server side: feed what arrived to
//! [`Client::receive`], drain [`Client::next_event`], write what [`Client::take_wire`] gives, and call
//! [`Client::handle_timeout`] at [`Client::next_deadline`]. Masks and keys come from the seed, so equal seeds and
//! inputs give equal bytes. When and with what to connect again is [`policy`]'s business.

pub mod event;
mod handshake;
pub mod identity;
pub mod policy;
#[cfg(feature = "tls")]
mod secured;

pub use event::{ClientEvent, ClosedBy, EventMessage, Hello, Response, ResponseError};
pub use identity::DeviceKey;

use crate::budget::Budget;
use crate::conn::ws::{Fault, Message, Received, Role, WebSocket};
use crate::connect::{ClientInfo, Credentials};
use crate::frame::CloseFrame;
use crate::limits::Limits;
use crate::seed::{Random, Seed};
use crate::time::{Mono, Now};
use crate::tls;
use core::fmt;
use event::{Frame, Unrecognised};
use handshake::{Answer, Upgrade};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// What a client says about itself, and how long it waits. `Debug` shows what it is, not what it knows.
#[derive(Clone)]
pub struct ClientConfig {
    /// The `Host` header: name and port of the gateway.
    pub host: String,
    /// The request target. The gateway takes any path.
    pub path: String,
    /// The `Origin` header, as a page would send it.
    pub origin: Option<String>,
    /// Further header fields of the upgrade request.
    pub headers: Vec<(String, String)>,
    /// Lowest protocol we speak.
    pub min_protocol: u64,
    /// Highest protocol we speak.
    pub max_protocol: u64,
    /// `connect.params.client`.
    pub client: ClientInfo,
    /// TLS below the connection, as for a `wss://` address.
    pub tls: Option<tls::Connector>,
    /// Asked role.
    pub role: String,
    /// Asked scopes.
    pub scopes: Vec<String>,
    /// Declared capabilities.
    pub caps: Vec<String>,
    /// Commands a node offers.
    pub commands: Vec<String>,
    /// Where a node looks for programs, as a `PATH`.
    pub path_env: Option<String>,
    /// `connect.params.auth`, as it goes out; [`policy::credentials`] puts it together.
    pub auth: Credentials,
    /// The key to prove; without one the client is device-less.
    pub identity: Option<DeviceKey>,
    /// Whether the challenge is answered with `connect` at once. A test that says something else first turns
    /// this off; then neither the challenge nor hello-ok is waited for with a deadline.
    pub answers_challenge: bool,
    /// Longest message taken from the gateway.
    pub message_bytes_max: usize,
    /// From the start to the challenge, and again from there to hello-ok.
    pub connect_timeout_ms: u64,
    /// From our close frame to the gateway's.
    pub close_timeout_ms: u64,
}

impl ClientConfig {
    /// An operator of protocol 3 or 4 that asks for `operator.admin`, as the reference client does.
    pub fn new(host: impl Into<String>, client: ClientInfo) -> Self {
        let limits = Limits::default();
        Self {
            host: host.into(),
            path: "/".to_owned(),
            origin: None,
            headers: Vec::new(),
            min_protocol: 3,
            max_protocol: 4,
            client,
            tls: None,
            role: "operator".to_owned(),
            scopes: vec![crate::scope::ADMIN.to_owned()],
            caps: Vec::new(),
            commands: Vec::new(),
            path_env: None,
            auth: Credentials::default(),
            identity: None,
            answers_challenge: true,
            message_bytes_max: limits.message_bytes_max,
            connect_timeout_ms: 15_000,
            close_timeout_ms: limits.close_timeout_ms,
        }
    }
}

/// The query of the path and the values of headers may be secrets.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("host", &self.host)
            .field("protocols", &(self.min_protocol..=self.max_protocol))
            .field("client", &self.client)
            .field("role", &self.role)
            .field("scopes", &self.scopes)
            .field("auth", &self.auth)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The connection is not open for messages: not yet, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOpen;

impl fmt::Display for NotOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is not open")
    }
}

impl core::error::Error for NotOpen {}

/// The state machine of one client connection.
pub struct Client {
    config: ClientConfig,
    phase: Phase,
    upgrade: Upgrade,
    socket: WebSocket,
    wire: Vec<u8>,
    events: VecDeque<ClientEvent>,
    requests_made: u64,
    connect_id: Option<String>,
    seq_last: Option<u64>,
    tick_timeout_ms: u64,
    heard_at: Mono,
    deadline: Option<Mono>,
    #[cfg(feature = "tls")]
    tls: Option<Box<tls::Layer>>,
    tls_fault: Option<tls::Fault>,
}

/// Bytes on their way in or out may be secrets: only their number is shown.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.config)
            .field("phase", &self.phase)
            .field("wire_bytes", &self.wire.len())
            .field("events", &self.events.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The upgrade was asked for.
    Upgrading,
    /// A WebSocket; no challenge yet.
    Challenge,
    /// `connect` is out, or is the caller's to send.
    Connecting,
    /// `connect` was refused; the gateway should close.
    Refused,
    /// hello-ok arrived.
    Open,
    /// Our close frame is out.
    Closing { code: u16, reason: String },
    /// The last event is made.
    Closed,
}

impl Client {
    /// Starts: the upgrade request is ready to be written.
    pub fn new(config: ClientConfig, seed: Seed, now: Now) -> Self {
        let mut random = Random::new(seed);
        let mut wire = Vec::new();
        let upgrade = Upgrade::start(&config, &mut random, &mut wire);
        let budget = Budget::new(usize::MAX);
        let socket = WebSocket::new(Role::Client(random.seed()), config.message_bytes_max, budget);
        let deadline = Some(now.mono.plus_millis(config.connect_timeout_ms));
        #[cfg(feature = "tls")]
        let (wants_tls, tls) =
            (config.tls.is_some(), config.tls.as_ref().and_then(|connector| connector.layer()).map(Box::new));
        #[cfg(feature = "tls")]
        let cannot = wants_tls && tls.is_none();
        let client = Self {
            config,
            phase: Phase::Upgrading,
            upgrade,
            socket,
            wire,
            events: VecDeque::new(),
            requests_made: 0,
            connect_id: None,
            seq_last: None,
            tick_timeout_ms: 0,
            heard_at: now.mono,
            deadline,
            #[cfg(feature = "tls")]
            tls,
            tls_fault: None,
        };
        #[cfg(feature = "tls")]
        if cannot {
            let mut client = client;
            client.fail_below(tls::Fault::Protocol);
            return client;
        }
        client
    }

    /// What this client says about itself.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Takes bytes from the socket. Drain [`Client::next_event`] before the next call: what is not drained is kept.
    pub fn receive(&mut self, now: Now, bytes: &[u8]) {
        self.heard_at = now.mono;
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return self.receive_sealed(now, bytes);
        }
        self.receive_clear(now, bytes);
    }

    fn receive_clear(&mut self, now: Now, bytes: &[u8]) {
        match self.phase {
            Phase::Upgrading => {
                let was_refused = self.upgrade.is_refused();
                let answer = self.upgrade.receive(bytes);
                if !was_refused && self.upgrade.is_refused() {
                    self.deadline = Some(now.mono.plus_millis(REFUSAL_BODY_TIMEOUT_MS));
                }
                self.upgrade_answered(now, answer);
            }
            Phase::Challenge | Phase::Connecting | Phase::Refused | Phase::Open | Phase::Closing { .. } => {
                self.receive_frames(now, bytes);
            }
            Phase::Closed => {}
        }
    }

    /// The gateway will send no more (end of stream), or the socket failed.
    pub fn receive_end(&mut self, now: Now) {
        match &self.phase {
            Phase::Upgrading => {
                let answer = self.upgrade.end();
                self.upgrade_answered(now, answer);
            }
            Phase::Challenge | Phase::Connecting | Phase::Refused | Phase::Open => {
                self.closed(1006, String::new(), ClosedBy::Transport);
            }
            Phase::Closing { code, reason } => {
                let (code, reason) = (*code, reason.clone());
                self.closed(code, reason, ClosedBy::Us);
            }
            Phase::Closed => {}
        }
    }

    /// The next event, until there is none.
    pub fn next_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Sends a request and gives its id. The answer is a [`ClientEvent::Response`] with the same id; how long to
    /// wait for it is the caller's business.
    ///
    /// # Errors
    /// [`NotOpen`] before the upgrade is complete, and after a close.
    pub fn request(&mut self, method: &str, params: Value) -> Result<String, NotOpen> {
        self.check_open()?;
        let id = self.next_id();
        let frame = json!({ "type": "req", "id": id, "method": method, "params": params });
        self.socket.send_text(frame.to_string());
        Ok(id)
    }

    /// Sends `connect` with these params, and takes the answer to it for hello-ok or a refusal. Only for callers
    /// that turned [`ClientConfig::answers_challenge`] off; see [`ClientConfig::connect_params`].
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn send_connect(&mut self, params: Value) -> Result<String, NotOpen> {
        let id = self.request("connect", params)?;
        self.connect_id = Some(id.clone());
        Ok(id)
    }

    /// Sends a text message as it is.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn send_text_raw(&mut self, text: &str) -> Result<(), NotOpen> {
        self.check_open()?;
        self.socket.send_text(text.to_owned());
        Ok(())
    }

    /// Sends bytes as they are, behind everything sent so far: a frame made elsewhere, a part of one, or none.
    pub fn send_frame_raw(&mut self, frame: &[u8]) {
        self.drain_socket();
        self.wire.extend_from_slice(frame);
    }

    /// Closes: sends what waits, then a close frame, and gives the gateway a moment to answer it.
    pub fn close(&mut self, now: Now, code: u16, reason: &str) {
        match self.phase {
            Phase::Upgrading => self.closed(code, reason.to_owned(), ClosedBy::Us),
            Phase::Challenge | Phase::Connecting | Phase::Refused | Phase::Open => {
                self.socket.close(CloseFrame { code, reason: reason.to_owned().into() });
                self.phase = Phase::Closing { code, reason: reason.to_owned() };
                self.deadline = Some(now.mono.plus_millis(self.config.close_timeout_ms));
            }
            Phase::Closing { .. } | Phase::Closed => {}
        }
    }

    /// Appends the bytes to be written.
    pub fn take_wire(&mut self, wire: &mut Vec<u8>) {
        self.drain_socket();
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return self.take_sealed(wire);
        }
        wire.append(&mut self.wire);
    }

    /// Whether there are bytes to be written.
    pub fn wants_write(&self) -> bool {
        let wants = !self.wire.is_empty() || self.socket.wants_write();
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Self::wants_sealed_write(tls, wants, self.phase == Phase::Closed);
        }
        wants
    }

    /// Why TLS failed, if it did.
    pub fn tls_fault(&self) -> Option<tls::Fault> {
        self.tls_fault
    }

    /// Whether the upgrade is answered with a WebSocket, so that messages can be sent.
    pub fn is_upgraded(&self) -> bool {
        self.check_open().is_ok()
    }

    /// Whether hello-ok arrived and neither side has closed since.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether everything is said and written: drain the last events and shut the socket.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Closed && !self.wants_write()
    }

    /// When [`Client::handle_timeout`] would change anything.
    pub fn next_deadline(&self) -> Option<Mono> {
        match self.phase {
            Phase::Open => Some(self.heard_at.plus_millis(self.tick_timeout_ms)),
            Phase::Upgrading
            | Phase::Challenge
            | Phase::Connecting
            | Phase::Refused
            | Phase::Closing { .. }
            | Phase::Closed => self.deadline,
        }
    }

    /// A deadline passed. Harmless when none did.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.next_deadline().is_none_or(|deadline| now.mono < deadline) {
            return;
        }
        match &self.phase {
            Phase::Upgrading if self.upgrade.is_refused() => {
                let answer = self.upgrade.end();
                self.upgrade_answered(now, answer);
            }
            Phase::Upgrading => self.closed(1006, "connect timeout".to_owned(), ClosedBy::Transport),
            Phase::Challenge => self.close(now, 1008, "connect challenge timeout"),
            Phase::Connecting => self.close(now, 4000, "connect timeout"),
            Phase::Refused => self.close(now, 1008, "connect failed"),
            Phase::Open => self.close(now, 4000, "tick timeout"),
            Phase::Closing { code, reason } => {
                let (code, reason) = (*code, reason.clone());
                self.closed(code, reason, ClosedBy::Us);
            }
            Phase::Closed => {}
        }
    }

    fn upgrade_answered(&mut self, now: Now, answer: Answer) {
        match answer {
            Answer::Partial => {}
            Answer::Upgraded { rest } => {
                self.phase = Phase::Challenge;
                self.wait_for_gateway(now);
                self.receive_frames(now, &rest);
            }
            Answer::Refused { status, body } => {
                self.events.push_back(ClientEvent::HttpRefused { status, body });
                self.closed(1006, "upgrade refused".to_owned(), ClosedBy::Transport);
            }
            Answer::Broken(why) => self.closed(1006, why.to_owned(), ClosedBy::Transport),
        }
    }

    fn receive_frames(&mut self, now: Now, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.phase != Phase::Closed {
            let (taken, received) = self.socket.receive(bytes);
            bytes = &bytes[taken..];
            match received {
                None if taken == 0 => return,
                None => {}
                Some(Received::Message(message)) => self.message_came(now, &message),
                Some(Received::Closed(close)) => self.peer_closed(close),
                Some(Received::Fault(fault)) => self.peer_failed(fault),
            }
        }
    }

    fn peer_closed(&mut self, close: Option<CloseFrame>) {
        match &self.phase {
            Phase::Closing { code, reason } => {
                let (code, reason) = (*code, reason.clone());
                self.closed(code, reason, ClosedBy::Us);
            }
            Phase::Upgrading
            | Phase::Challenge
            | Phase::Connecting
            | Phase::Refused
            | Phase::Open
            | Phase::Closed => {
                let (code, reason) =
                    close.map_or((1005, String::new()), |close| (close.code, close.reason.into_owned()));
                self.closed(code, reason, ClosedBy::Peer);
            }
        }
    }

    fn peer_failed(&mut self, fault: Fault) {
        self.closed(fault.code(), format!("{fault:?}"), ClosedBy::Us);
    }

    fn closed(&mut self, code: u16, reason: String, by: ClosedBy) {
        self.events.push_back(ClientEvent::Closed { code, reason, by });
        self.phase = Phase::Closed;
        self.deadline = None;
        if by == ClosedBy::Transport {
            // Nobody is there to read it.
            self.drain_socket();
            self.wire = Vec::new();
            #[cfg(feature = "tls")]
            if let Some(tls) = &mut self.tls {
                tls.abandon();
            }
        }
    }

    fn message_came(&mut self, now: Now, message: &Message) {
        let Some(text) = message.text() else {
            let lossy = format!("binary message of {} bytes", message.len());
            return self.events.push_back(ClientEvent::Unrecognised(Unrecognised(lossy.into())));
        };
        match event::parse(text) {
            Some(Frame::Event(event)) => self.event_came(now, event),
            Some(Frame::Response(response)) => self.response_came(now, response),
            None => self.events.push_back(ClientEvent::Unrecognised(Unrecognised(text.into()))),
        }
    }

    fn event_came(&mut self, now: Now, event: EventMessage) {
        if event.name == "connect.challenge" {
            return self.challenge_came(now, &event);
        }
        if let Some(got) = event.seq {
            // The first number is taken as it is: protocol 3 of the reference counts for all its clients together.
            let expected = self.seq_last.map(|last| last.saturating_add(1));
            if let Some(expected) = expected.filter(|expected| got > *expected) {
                self.events.push_back(ClientEvent::Gap { expected, got });
            }
            self.seq_last = Some(got);
        }
        self.events.push_back(ClientEvent::Event(event));
    }

    fn challenge_came(&mut self, now: Now, event: &EventMessage) {
        let payload = event.value();
        let nonce = payload["nonce"].as_str().unwrap_or_default().to_owned();
        let ts_ms = payload["ts"].as_u64();
        self.events.push_back(ClientEvent::Challenge { nonce: nonce.clone(), ts_ms });
        if self.phase != Phase::Challenge {
            return;
        }
        self.phase = Phase::Connecting;
        self.wait_for_gateway(now);
        if !self.config.answers_challenge {
            return;
        }
        if nonce.trim().is_empty() {
            return self.close(now, 1008, "connect challenge missing nonce");
        }
        let signed_at_ms = match (ts_ms, &self.config.identity) {
            (Some(ts_ms), _) => ts_ms,
            (None, None) => 0,
            (None, Some(_)) => return self.close(now, 1008, "connect challenge timestamp invalid"),
        };
        let params = self.config.connect_params(&nonce, signed_at_ms);
        self.send_connect(params).expect("the phase is open for messages");
    }

    fn response_came(&mut self, now: Now, response: Response) {
        let handshaking = matches!(self.phase, Phase::Challenge | Phase::Connecting);
        if !handshaking || self.connect_id.as_ref() != Some(&response.id) {
            return self.events.push_back(ClientEvent::Response(response));
        }
        self.connect_id = None;
        match response.into_result() {
            Ok(payload) => {
                let hello = Hello(payload);
                let tick_interval_ms = hello.tick_interval_ms().unwrap_or(TICK_INTERVAL_DEFAULT_MS);
                let sane = tick_interval_ms.clamp(TICK_INTERVAL_MIN_MS, TICK_INTERVAL_MAX_MS);
                self.tick_timeout_ms = 2 * sane;
                self.phase = Phase::Open;
                self.events.push_back(ClientEvent::HelloOk(hello));
            }
            Err(error) => {
                self.phase = Phase::Refused;
                // The gateway closes, and its code and reason are worth having.
                self.deadline = Some(now.mono.plus_millis(self.config.close_timeout_ms));
                self.events.push_back(ClientEvent::ConnectRefused(error));
            }
        }
    }

    fn wait_for_gateway(&mut self, now: Now) {
        let waits = self.config.answers_challenge;
        self.deadline = waits.then(|| now.mono.plus_millis(self.config.connect_timeout_ms));
    }

    fn check_open(&self) -> Result<(), NotOpen> {
        match self.phase {
            Phase::Challenge | Phase::Connecting | Phase::Refused | Phase::Open => Ok(()),
            Phase::Upgrading | Phase::Closing { .. } | Phase::Closed => Err(NotOpen),
        }
    }

    fn next_id(&mut self) -> String {
        self.requests_made += 1;
        self.requests_made.to_string()
    }

    fn drain_socket(&mut self) {
        while self.socket.wants_write() {
            self.socket.take_wire(&mut self.wire);
        }
    }
}

/// When hello-ok names none.
const TICK_INTERVAL_DEFAULT_MS: u64 = 30_000;
/// A gateway's word is taken between these.
const TICK_INTERVAL_MIN_MS: u64 = 100;
const TICK_INTERVAL_MAX_MS: u64 = 3_600_000;
/// How long the body of a refusal is waited for, from its head on.
const REFUSAL_BODY_TIMEOUT_MS: u64 = 1_000;

#[cfg(test)]
mod tests;
