//! A blocking client for tests: [`clawgate_proto::client`] over one `TcpStream`.
//!
//! Every wait ends at a bound. What arrives while a test waits for something else is kept, in order. Device
//! tokens and private keys that pass through are written into the book of secrets.

use crate::secrets;
use clawgate_proto::client::{
    Client, ClientConfig, ClientEvent, ClosedBy, DeviceKey, EventMessage, Hello, Response, ResponseError,
};
use clawgate_proto::connect::ClientInfo;
use clawgate_proto::seed::Seed;
use clawgate_proto::time::{Mono, Now, Wall};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A client on a socket.
#[derive(Debug)]
pub struct TestClient {
    stream: TcpStream,
    client: Client,
    started: Instant,
    kept: VecDeque<ClientEvent>,
    hello: Option<Hello>,
    closed: Option<Closed>,
    wire: Vec<u8>,
    buffer: Box<[u8]>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Close code; 1006 when there was no close frame.
    pub code: u16,
    /// Its reason.
    pub reason: String,
    /// Who closed.
    pub by: ClosedBy,
}

/// Why there was no hello-ok. Holds what there was to be seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Refusal {
    /// The answer to `connect`.
    pub error: Option<ResponseError>,
    /// A plain response to the upgrade: status and body.
    pub http: Option<(u16, String)>,
    /// How the connection ended; `None` when it did not within the bound.
    pub closed: Option<Closed>,
    /// The socket could not be connected.
    pub io: Option<ErrorKind>,
}

impl Refusal {
    /// `error.code`, or nothing.
    pub fn code(&self) -> Option<&str> {
        self.error.as_ref().map(|error| error.code.as_str())
    }

    /// `error.details.code`, or nothing.
    pub fn detail_code(&self) -> Option<&str> {
        self.error.as_ref()?.detail("code")
    }

    /// Code and reason of the close frame, or nothing.
    pub fn close(&self) -> Option<(u16, &str)> {
        self.closed.as_ref().map(|closed| (closed.code, closed.reason.as_str()))
    }
}

/// The settings of a test client: client id and mode `test`, operator, `operator.admin`, protocols 3 to 4.
pub fn config(addr: SocketAddr, token: Option<&str>, identity: Option<DeviceKey>) -> ClientConfig {
    config_as(addr, "test", "test", token, identity)
}

/// The same with another client id and mode.
pub fn config_as(
    addr: SocketAddr,
    id: &str,
    mode: &str,
    token: Option<&str>,
    identity: Option<DeviceKey>,
) -> ClientConfig {
    let client = ClientInfo {
        id: id.to_owned(),
        mode: mode.to_owned(),
        version: "1.0.0".to_owned(),
        platform: "linux".to_owned(),
        display_name: None,
        device_family: None,
        model_identifier: None,
        instance_id: None,
        build_id: None,
        time_zone: None,
    };
    let mut config = ClientConfig::new(addr.to_string(), client);
    config.auth.token = token.map(str::to_owned);
    config.identity = identity;
    config
}

/// The settings of a device that comes back with its own token, or shows the gateway's (`clientName: "cli"`).
pub fn device(addr: SocketAddr, key: &DeviceKey, credential: Credential<'_>) -> ClientConfig {
    let mut config = config_as(addr, "cli", "cli", None, Some(key.clone()));
    match credential {
        Credential::Shared(token) => config.auth.token = Some(token.to_owned()),
        Credential::Device(token) => config.auth.device_token = Some(token.to_owned()),
    }
    config
}

/// What a device shows beside its proof. `Debug` is left out: both are secrets.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "made of secrets")]
pub enum Credential<'a> {
    /// The gateway's token.
    Shared(&'a str),
    /// The device's own token.
    Device(&'a str),
}

/// A device key nobody else in this process has, written into the book of secrets.
pub fn fresh_key() -> DeviceKey {
    let key = DeviceKey::from_seed(&unique_bytes());
    secrets::record_key(&key);
    key
}

impl TestClient {
    /// Connects as far as hello-ok.
    ///
    /// # Errors
    /// What came instead; the connection's end is waited for.
    pub fn connect(addr: SocketAddr, config: ClientConfig) -> Result<Self, Box<Refusal>> {
        match Self::open(addr, config) {
            Ok(client) => client.admitted(),
            Err(why) => Err(Box::new(Refusal { io: Some(why), ..Refusal::default() })),
        }
    }

    /// Goes on as far as hello-ok.
    ///
    /// # Errors
    /// What came instead; the connection's end is waited for.
    pub fn admitted(self) -> Result<Self, Box<Refusal>> {
        let (mut client, mut refusal) = (self, Box::new(Refusal::default()));
        let bound = Instant::now() + CONNECT_BOUND;
        loop {
            match client.next_live(bound) {
                None => return Err(refusal),
                Some(ClientEvent::HelloOk(hello)) => {
                    client.hello = Some(hello);
                    return Ok(client);
                }
                Some(ClientEvent::ConnectRefused(error)) => refusal.error = Some(error),
                Some(ClientEvent::HttpRefused { status, body }) => {
                    refusal.http = Some((status, String::from_utf8_lossy(&body).into_owned()));
                }
                Some(ClientEvent::Closed { .. }) => {
                    refusal.closed.clone_from(&client.closed);
                    return Err(refusal);
                }
                Some(
                    event @ (ClientEvent::Challenge { .. }
                    | ClientEvent::Response(_)
                    | ClientEvent::Event(_)
                    | ClientEvent::Gap { .. }
                    | ClientEvent::Unrecognised(_)),
                ) => client.kept.push_back(event),
            }
        }
    }

    /// Connects the socket and writes the upgrade request, no more: for tests of what comes before hello-ok. Set
    /// [`ClientConfig::answers_challenge`] to false to keep `connect` from being sent.
    ///
    /// # Errors
    /// The socket could not be connected.
    pub fn open(addr: SocketAddr, config: ClientConfig) -> Result<Self, ErrorKind> {
        let stream = TcpStream::connect_timeout(&addr, ANSWER_BOUND).map_err(|why| why.kind())?;
        Ok(Self::over(stream, config))
    }

    /// The same over a socket that is connected already, such as one bound to another loopback address.
    ///
    /// # Panics
    /// When the socket refuses a timeout.
    pub fn over(stream: TcpStream, config: ClientConfig) -> Self {
        stream.set_nodelay(true).expect("a socket takes options");
        stream.set_write_timeout(Some(ANSWER_BOUND)).expect("a socket takes options");
        if let Some(key) = &config.identity {
            secrets::record_key(key);
        }
        let started = Instant::now();
        let client = Client::new(config, Seed::new(unique_bytes()), now(started));
        Self {
            stream,
            client,
            started,
            kept: VecDeque::new(),
            hello: None,
            closed: None,
            wire: Vec::new(),
            buffer: vec![0; 64 * 1024].into(),
        }
    }

    /// The hello-ok payload.
    ///
    /// # Panics
    /// On a client made with [`TestClient::open`].
    pub fn hello(&self) -> &Value {
        &self.hello.as_ref().expect("the client got no hello-ok").0
    }

    /// The device token of hello-ok.
    pub fn device_token(&self) -> Option<&str> {
        self.hello.as_ref()?.device_token()
    }

    /// Calls a method: the payload, or the `error` object.
    ///
    /// # Errors
    /// The gateway answered `ok: false`.
    ///
    /// # Panics
    /// When there is no answer within the bound; with the close frame when the connection ended.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.send(method, params);
        self.answer(&id).into_result().map_err(|error| serde_json::to_value(error).expect("an error is JSON"))
    }

    /// Sends a request and gives its id, for several at a time.
    ///
    /// # Panics
    /// When the connection is not open.
    pub fn send(&mut self, method: &str, params: Value) -> String {
        let id = self.client.request(method, params).expect("the connection is open");
        self.flush();
        id
    }

    /// Waits for the answer to a request; other things that arrive are kept.
    ///
    /// # Panics
    /// When there is none within the bound.
    pub fn answer(&mut self, id: &str) -> Response {
        let is_it =
            |event: &ClientEvent| matches!(event, ClientEvent::Response(response) if response.id == id);
        match self.wait_for(ANSWER_BOUND, is_it) {
            Some(ClientEvent::Response(response)) => response,
            _ => panic!("no answer to request {id}; closed: {:?}; kept: {:?}", self.closed, self.kept),
        }
    }

    /// The next event of that name, one that was kept or one that arrives within `bound`.
    pub fn wait_event(&mut self, name: &str, bound: Duration) -> Option<EventMessage> {
        let is_it = |event: &ClientEvent| matches!(event, ClientEvent::Event(event) if event.name == name);
        let ClientEvent::Event(event) = self.wait_for(bound, is_it)? else { return None };
        Some(event)
    }

    /// The first event that `is_it`, kept or arriving within `bound`.
    pub fn wait_for(&mut self, bound: Duration, is_it: impl Fn(&ClientEvent) -> bool) -> Option<ClientEvent> {
        if let Some(at) = self.kept.iter().position(&is_it) {
            return self.kept.remove(at);
        }
        let bound = Instant::now() + bound;
        loop {
            let event = self.next_live(bound)?;
            if is_it(&event) {
                return Some(event);
            }
            self.kept.push_back(event);
        }
    }

    /// The next thing that happened, kept or arriving within `bound`.
    pub fn next(&mut self, bound: Duration) -> Option<ClientEvent> {
        self.kept.pop_front().or_else(|| self.next_live(Instant::now() + bound))
    }

    /// Waits for the end of the connection. What arrives until then is kept.
    pub fn wait_closed(&mut self, bound: Duration) -> Option<Closed> {
        let bound = Instant::now() + bound;
        while self.closed.is_none() {
            let event = self.next_live(bound)?;
            self.kept.push_back(event);
        }
        self.closed.clone()
    }

    /// Closes and waits for the gateway's close frame.
    pub fn close(mut self, code: u16, reason: &str) -> Option<Closed> {
        self.client.close(now(self.started), code, reason);
        self.wait_closed(ANSWER_BOUND)
    }

    /// Sends a text message as it is. Waits for the upgrade first.
    ///
    /// # Panics
    /// When the connection is not open.
    pub fn send_text_raw(&mut self, text: &str) {
        self.until_upgraded();
        self.client.send_text_raw(text).expect("the connection is open");
        self.flush();
    }

    /// Sends `connect` with these params, for a client that does not answer the challenge by itself.
    ///
    /// # Panics
    /// When the connection is not open.
    pub fn send_connect(&mut self, params: Value) -> String {
        self.until_upgraded();
        let id = self.client.send_connect(params).expect("the connection is open");
        self.flush();
        id
    }

    /// Sends bytes as they are, behind everything sent so far; see [`crate::raw_frame`].
    pub fn send_frame_raw(&mut self, frame: &[u8]) {
        self.until_upgraded();
        self.client.send_frame_raw(frame);
        self.flush();
    }

    /// The challenge: nonce and time.
    ///
    /// # Panics
    /// When none comes.
    pub fn challenge(&mut self) -> (String, u64) {
        match self.wait_for(ANSWER_BOUND, |event| matches!(event, ClientEvent::Challenge { .. })) {
            Some(ClientEvent::Challenge { nonce, ts_ms: Some(ts_ms) }) => (nonce, ts_ms),
            _ => panic!("no challenge; closed: {:?}", self.closed),
        }
    }

    /// The socket, for a test that stops reading or cuts it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits for the answer to the upgrade; what comes with it is kept.
    fn until_upgraded(&mut self) {
        let bound = Instant::now() + ANSWER_BOUND;
        while !self.client.is_upgraded() && self.closed.is_none() && Instant::now() < bound {
            if let Some(event) = self.step(bound) {
                self.kept.push_back(event);
            }
        }
    }

    /// The next event from the socket.
    fn next_live(&mut self, bound: Instant) -> Option<ClientEvent> {
        loop {
            if let Some(event) = self.step(bound) {
                return Some(event);
            }
            if Instant::now() >= bound || self.closed.is_some() {
                return None;
            }
        }
    }

    /// One event, or one read of the socket that gives none.
    fn step(&mut self, bound: Instant) -> Option<ClientEvent> {
        if let Some(event) = self.take_event() {
            return Some(event);
        }
        if self.closed.is_some() {
            return None;
        }
        self.client.handle_timeout(now(self.started));
        self.flush();
        let until = bound.saturating_duration_since(Instant::now());
        let at = now(self.started).mono;
        let deadline = self
            .client
            .next_deadline()
            .map(|deadline| Duration::from_micros(deadline.0.saturating_sub(at.0)));
        let wait = deadline.map_or(until, |deadline| deadline.min(until)).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(wait)).expect("a socket takes options");
        match self.stream.read(&mut self.buffer) {
            Ok(0) => self.client.receive_end(now(self.started)),
            Ok(bytes) => self.client.receive(now(self.started), &self.buffer[..bytes]),
            Err(why)
                if matches!(
                    why.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(_) => self.client.receive_end(now(self.started)),
        }
        self.flush();
        self.take_event()
    }

    fn take_event(&mut self) -> Option<ClientEvent> {
        let event = self.client.next_event()?;
        match &event {
            ClientEvent::HelloOk(hello) => secrets::record_tokens(&hello.0),
            ClientEvent::Response(response) => {
                let payload =
                    response.payload.as_deref().and_then(|raw| serde_json::from_str(raw.get()).ok());
                secrets::record_tokens(&payload.unwrap_or(Value::Null));
            }
            ClientEvent::Event(event) => secrets::record_tokens(&event.value()),
            ClientEvent::Closed { code, reason, by } => {
                self.closed = Some(Closed { code: *code, reason: reason.clone(), by: *by });
            }
            ClientEvent::Challenge { .. }
            | ClientEvent::ConnectRefused(_)
            | ClientEvent::Gap { .. }
            | ClientEvent::Unrecognised(_)
            | ClientEvent::HttpRefused { .. } => {}
        }
        Some(event)
    }

    /// A gateway that is gone shows when it is read from.
    fn flush(&mut self) {
        self.client.take_wire(&mut self.wire);
        let _ = self.stream.write_all(&self.wire);
        self.wire.clear();
    }
}

pub(crate) fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    Now { mono: Mono(started.elapsed().as_micros() as u64), wall: Wall(wall) }
}

/// Different in every call of every process: masks and keys of a test need no more.
pub(crate) fn unique_bytes() -> [u8; 32] {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&since.to_le_bytes());
    bytes[16..24].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    bytes[24..28].copy_from_slice(&std::process::id().to_le_bytes());
    bytes
}

/// Longest wait for anything that should come at once.
pub const ANSWER_BOUND: Duration = Duration::from_secs(20);
/// Longest wait for hello-ok, or for the end of a refused connection.
const CONNECT_BOUND: Duration = Duration::from_secs(40);

#[cfg(test)]
mod tests;
