//! Where scenarios play: one gateway and any number of clients, in memory or on a real driver.
//!
//! A scenario is ordinary code over a [`Stage`]; it does not know where it plays. Waits end at a bound that is
//! virtual time in memory and real time on a driver, and that only a failing scenario reaches.

use crate::client::{Closed, Refusal};
use crate::host::MemoryHost;
use crate::loopback::{Driver, Loopback};
use crate::net::{Line, Net, Simulated};
use crate::program::keep_output;
#[cfg(feature = "tls")]
use crate::sealed;
use crate::secrets;
use crate::world::Cuts;
use clawgate_proto::client::{
    Client, ClientConfig, ClientEvent, DeviceKey, EventMessage, Hello, Response, ResponseError,
};
use clawgate_proto::config::{About, AuthConfig, AuthMode, Config, Reach};
use clawgate_proto::connect::ClientInfo;
use clawgate_proto::host::Load;
use clawgate_proto::secret::Secret;
use clawgate_proto::seed::{Random, Seed};
use clawgate_proto::time::Now;
use serde_json::Value;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Where a scenario plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In memory, in virtual time.
    Simulated,
    /// In memory, with every message in pieces of 1 to 7 bytes.
    Crumbled,
    /// On `runtime-std`.
    Std,
    /// On `runtime-smol`.
    Smol,
    /// In memory, with TLS, in pieces of 1 to 7 bytes.
    #[cfg(feature = "tls")]
    SealedCrumbled,
    /// On `runtime-std`, with TLS.
    #[cfg(feature = "tls")]
    SealedStd,
    /// On `runtime-smol`, with TLS.
    #[cfg(feature = "tls")]
    SealedSmol,
}

/// A gateway with clients.
pub struct Stage {
    place: Place,
    net: Box<dyn Net>,
    seats: Vec<Seat>,
    random: Random,
    /// Whether the last raw exchange by TLS ended with a farewell.
    #[cfg(feature = "tls")]
    ended_cleanly: bool,
}

/// One client of a [`Stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor(usize);

struct Seat {
    /// `None` once the socket is gone.
    line: Option<Line>,
    client: Client,
    /// Arrived while something else was waited for.
    kept: VecDeque<ClientEvent>,
    /// The number of the latest event.
    seq: Option<u64>,
}

impl Place {
    /// Whether time is real here, and a scenario should ask for short limits.
    pub fn is_real(self) -> bool {
        match self {
            Self::Simulated | Self::Crumbled => false,
            Self::Std | Self::Smol => true,
            #[cfg(feature = "tls")]
            Self::SealedCrumbled => false,
            #[cfg(feature = "tls")]
            Self::SealedStd | Self::SealedSmol => true,
        }
    }

    /// Whether everything goes by TLS here.
    #[cfg(feature = "tls")]
    pub fn is_sealed(self) -> bool {
        matches!(self, Self::SealedCrumbled | Self::SealedStd | Self::SealedSmol)
    }

    /// The scheme of pages here.
    pub fn http(self) -> &'static str {
        if self == self.in_the_clear() { "http" } else { "https" }
    }

    /// The same without TLS.
    fn in_the_clear(self) -> Self {
        match self {
            #[cfg(feature = "tls")]
            Self::SealedCrumbled => Self::Crumbled,
            #[cfg(feature = "tls")]
            Self::SealedStd => Self::Std,
            #[cfg(feature = "tls")]
            Self::SealedSmol => Self::Smol,
            other @ (Self::Simulated | Self::Crumbled | Self::Std | Self::Smol) => other,
        }
    }
}

/// What the gateway logged is output like any other: it is searched for secrets after the tests.
impl Drop for Stage {
    fn drop(&mut self) {
        let lines: Vec<String> = self.host().records().iter().map(|record| format!("{record:?}\n")).collect();
        keep_output("stages", &lines.concat());
    }
}

impl Stage {
    /// A gateway of token mode with an empty store and default limits.
    pub fn new(place: Place) -> Self {
        Self::with(place, |_| {})
    }

    /// The same, with changes to what the gateway is told.
    pub fn with(place: Place, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        #[cfg(feature = "tls")]
        if place.is_sealed() {
            config.tls = Some(sealed::acceptor());
        }
        change(&mut config);
        let host = Arc::new(MemoryHost::new());
        host.set_load(Load { cpu_ms: 1, resident_bytes: 1 << 20 });
        let seed = [7; 32];
        let net: Box<dyn Net> = match place.in_the_clear() {
            Place::Simulated => Box::new(Simulated::new(config, host, seed)),
            Place::Crumbled => {
                let mut net = Simulated::new(config, host, seed);
                let random = Box::new(Random::new(Seed::new([8; 32])));
                net.world().set_cuts(Cuts::Random { random, bytes_max: 7 });
                Box::new(net)
            }
            Place::Std => Box::new(Loopback::start(Driver::Std, config, host, seed)),
            Place::Smol => Box::new(Loopback::start(Driver::Smol, config, host, seed)),
            #[cfg(feature = "tls")]
            Place::SealedCrumbled | Place::SealedStd | Place::SealedSmol => unreachable!("mapped away"),
        };
        Self {
            place,
            net,
            seats: Vec::new(),
            random: Random::new(Seed::new([9; 32])),
            #[cfg(feature = "tls")]
            ended_cleanly: false,
        }
    }

    /// Where this plays.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The host below the gateway.
    pub fn host(&self) -> &MemoryHost {
        self.net.host()
    }

    /// The time there.
    pub fn now(&self) -> Now {
        self.net.now()
    }

    /// What the gateway was told.
    pub fn config(&self) -> &Config {
        self.net.config()
    }

    /// The origin of the gateway's own pages.
    pub fn origin(&self) -> String {
        format!("{}://127.0.0.1:{}", self.place.http(), self.config().port)
    }

    /// A key nobody else has.
    pub fn key(&mut self) -> DeviceKey {
        let key = DeviceKey::from_seed(&self.random.bytes());
        secrets::record_key(&key);
        key
    }

    /// The settings of a client that knows the shared token: id and mode `test`, version 1.0.0 on Linux.
    pub fn client(&self, identity: Option<DeviceKey>) -> ClientConfig {
        self.client_as("test", "test", identity)
    }

    /// The same with another client id and mode.
    pub fn client_as(&self, id: &str, mode: &str, identity: Option<DeviceKey>) -> ClientConfig {
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
        let mut config = ClientConfig::new(format!("127.0.0.1:{}", self.net.config().port), client);
        config.auth.token = Some(shared_token());
        config.identity = identity;
        #[cfg(feature = "tls")]
        if self.place.is_sealed() {
            config.tls = Some(sealed::connector());
        }
        config
    }

    /// A client connects its socket and asks for the upgrade.
    ///
    /// # Panics
    /// When the gateway takes no more sockets.
    pub fn open(&mut self, config: ClientConfig) -> Actor {
        self.open_from(Ipv4Addr::LOCALHOST, config)
    }

    /// The same from another address of this host.
    ///
    /// # Panics
    /// When the gateway takes no more sockets.
    pub fn open_from(&mut self, from: Ipv4Addr, config: ClientConfig) -> Actor {
        let line = self.net.connect(from).expect("the gateway takes sockets");
        let client = Client::new(config, self.random.seed(), self.net.now());
        self.seats.push(Seat { line: Some(line), client, kept: VecDeque::new(), seq: None });
        let actor = Actor(self.seats.len() - 1);
        self.pump(actor.0);
        actor
    }

    /// A client connects as far as hello-ok.
    ///
    /// # Errors
    /// What came instead.
    pub fn try_admit(&mut self, config: ClientConfig) -> Result<(Actor, Hello), Box<Refusal>> {
        let actor = self.open(config);
        self.admission(actor).map(|hello| (actor, hello))
    }

    /// A client connects and must be let in.
    ///
    /// # Panics
    /// When it is not.
    pub fn admit(&mut self, config: ClientConfig) -> (Actor, Hello) {
        match self.try_admit(config) {
            Ok(admitted) => admitted,
            Err(refusal) => panic!("not admitted: {refusal:?}"),
        }
    }

    /// Waits for the answer to `connect`, and for the close that follows a refusal.
    ///
    /// # Errors
    /// What came instead of hello-ok.
    pub fn admission(&mut self, actor: Actor) -> Result<Hello, Box<Refusal>> {
        let mut refusal = Refusal::default();
        let mut kept = VecDeque::new();
        let hello = loop {
            match self.next(actor, ANSWER_MS) {
                None => break None,
                Some(ClientEvent::HelloOk(hello)) => break Some(hello),
                Some(ClientEvent::ConnectRefused(error)) => refusal.error = Some(error),
                Some(ClientEvent::HttpRefused { status, body }) => {
                    refusal.http = Some((status, String::from_utf8_lossy(&body).into_owned()));
                }
                Some(ClientEvent::Closed { code, reason, by }) => {
                    refusal.closed = Some(Closed { code, reason, by });
                    break None;
                }
                Some(
                    event @ (ClientEvent::Challenge { .. }
                    | ClientEvent::Response(_)
                    | ClientEvent::Event(_)
                    | ClientEvent::Gap { .. }
                    | ClientEvent::Unrecognised(_)),
                ) => kept.push_back(event),
            }
        };
        kept.append(&mut self.seats[actor.0].kept);
        self.seats[actor.0].kept = kept;
        hello.ok_or_else(|| Box::new(refusal))
    }

    /// The client itself, for what has no method here.
    pub fn with_client<T>(&mut self, actor: Actor, act: impl FnOnce(&mut Client) -> T) -> T {
        let outcome = act(&mut self.seats[actor.0].client);
        self.pump(actor.0);
        outcome
    }

    /// Sends a request and gives its id.
    ///
    /// # Panics
    /// When the connection is closed.
    pub fn send(&mut self, actor: Actor, method: &str, params: Value) -> String {
        self.with_client(actor, |client| client.request(method, params).expect("the connection is open"))
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The gateway answered `ok: false`.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn call(&mut self, actor: Actor, method: &str, params: Value) -> Result<Value, ResponseError> {
        let id = self.send(actor, method, params);
        match self.answer(actor, &id) {
            Ok(response) => response.into_result(),
            Err(instead) => panic!("no answer to {method}: {instead}"),
        }
    }

    /// Waits for the answer to a request.
    ///
    /// # Errors
    /// What else had come when the bound was reached or the connection closed.
    pub fn answer(&mut self, actor: Actor, id: &str) -> Result<Response, String> {
        let is_it = |event: &ClientEvent| matches!(event, ClientEvent::Response(answer) if answer.id == id);
        match self.wait_for(actor, ANSWER_MS, is_it) {
            Some(ClientEvent::Response(response)) => Ok(response),
            _ => Err(format!("{:?}", self.seats[actor.0].kept)),
        }
    }

    /// Waits for an event of that name, one that arrived earlier included.
    ///
    /// # Panics
    /// When none comes.
    pub fn event(&mut self, actor: Actor, name: &str) -> EventMessage {
        let is_it = |event: &ClientEvent| matches!(event, ClientEvent::Event(event) if event.name == name);
        match self.wait_for(actor, EVENT_MS, is_it) {
            Some(ClientEvent::Event(event)) => event,
            _ => panic!("no {name} event; instead: {:?}", self.seats[actor.0].kept),
        }
    }

    /// Waits for the end of the connection.
    ///
    /// # Panics
    /// When it does not end.
    pub fn closed(&mut self, actor: Actor) -> (u16, String) {
        match self.wait_for(actor, EVENT_MS, |event| matches!(event, ClientEvent::Closed { .. })) {
            Some(ClientEvent::Closed { code, reason, .. }) => (code, reason),
            _ => panic!("the connection did not close; instead: {:?}", self.seats[actor.0].kept),
        }
    }

    /// Everything that arrived for this client and was not waited for: after a round trip, so that nothing sent
    /// before is missed.
    ///
    /// # Panics
    /// When the connection is not open.
    pub fn drain(&mut self, actor: Actor) -> Vec<ClientEvent> {
        self.call(actor, "health", Value::Null).expect("health is for everybody");
        self.seats[actor.0].kept.drain(..).collect()
    }

    /// Closes and waits for the end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn close(&mut self, actor: Actor) -> (u16, String) {
        let now = self.net.now();
        self.with_client(actor, |client| client.close(now, 1000, ""));
        self.closed(actor)
    }

    /// The client's socket goes away without a word.
    pub fn vanish(&mut self, actor: Actor) {
        if let Some(line) = self.seats[actor.0].line.take() {
            self.net.shut(line);
        }
    }

    /// The client does something, and sends nothing after it: its end follows at once, in one piece with it.
    pub fn last_words(&mut self, actor: Actor, act: impl FnOnce(&mut Client)) {
        let seat = &mut self.seats[actor.0];
        act(&mut seat.client);
        if let Some(line) = seat.line {
            let mut wire = Vec::new();
            seat.client.take_wire(&mut wire);
            self.net.send_last(line, &wire);
        }
    }

    /// Sends bytes over a socket of their own and gives what comes back until the gateway closes it, or has made a
    /// WebSocket of it.
    ///
    /// # Panics
    /// When the gateway takes no more sockets.
    pub fn exchange(&mut self, bytes: &[u8], bound_ms: u64) -> Vec<u8> {
        self.exchange_from(Ipv4Addr::LOCALHOST, bytes, bound_ms)
    }

    /// The same from another address of this host.
    ///
    /// # Panics
    /// When the gateway takes no more sockets.
    pub fn exchange_from(&mut self, from: Ipv4Addr, bytes: &[u8], bound_ms: u64) -> Vec<u8> {
        let line = self.net.connect(from).expect("the gateway takes sockets");
        #[cfg(feature = "tls")]
        if self.place.is_sealed() {
            return self.exchange_sealed(line, bytes, bound_ms);
        }
        self.net.send(line, bytes);
        let until = self.net.now().mono.plus_millis(bound_ms);
        let mut answer = Vec::new();
        while self.net.receive(line, &mut answer) && !is_websocket(&answer) && self.net.now().mono < until {
            self.pump_all();
            self.wait(until);
        }
        self.net.shut(line);
        answer
    }

    /// Sends bytes as they are, although everything goes by TLS here, and gives what comes back until the gateway closes.
    ///
    /// # Panics
    /// When the gateway takes no more sockets.
    #[cfg(feature = "tls")]
    pub fn exchange_in_the_clear(&mut self, bytes: &[u8], bound_ms: u64) -> Vec<u8> {
        let place = self.place;
        self.place = place.in_the_clear();
        let answer = self.exchange(bytes, bound_ms);
        self.place = place;
        answer
    }

    #[cfg(feature = "tls")]
    fn exchange_sealed(&mut self, line: Line, bytes: &[u8], bound_ms: u64) -> Vec<u8> {
        let mut pipe = sealed::Pipe::new(bytes);
        let until = self.net.now().mono.plus_millis(bound_ms);
        let mut answer = Vec::new();
        loop {
            let wire = pipe.take();
            if !wire.is_empty() {
                self.net.send(line, &wire);
            }
            let mut came = Vec::new();
            let more = self.net.receive(line, &mut came) & pipe.receive(&came, &mut answer);
            if !more || is_websocket(&answer) || self.net.now().mono >= until {
                break;
            }
            self.pump_all();
            if came.is_empty() {
                self.wait(until);
            }
        }
        self.ended_cleanly = pipe.said_farewell();
        self.net.shut(line);
        answer
    }

    /// Whether the last raw exchange by TLS ended with the gateway's word that nothing follows.
    #[cfg(feature = "tls")]
    pub fn has_ended_cleanly(&self) -> bool {
        self.ended_cleanly
    }

    /// Lets this much time pass for everybody.
    pub fn pass(&mut self, ms: u64) {
        let until = self.net.now().mono.plus_millis(ms);
        while self.net.now().mono < until {
            self.pump_all();
            self.wait(until);
        }
        self.pump_all();
    }

    /// Whether the host keeps everybody waiting from now on.
    pub fn hold_host(&mut self, is_held: bool) {
        self.net.hold_host(is_held);
    }

    /// Tells the gateway that the configuration file may have been changed.
    pub fn touch_config(&mut self) {
        self.net.touch_config();
    }

    /// Asks the gateway to stop.
    pub fn stop(&mut self) {
        self.net.stop();
    }

    /// Waits until the gateway has stopped. Says whether it did.
    pub fn has_stopped(&mut self) -> bool {
        let until = self.net.now().mono.plus_millis(EVENT_MS);
        while !self.net.is_stopped() && self.net.now().mono < until {
            self.pump_all();
            self.wait(until);
        }
        self.net.is_stopped()
    }

    /// The next thing that happens to a client, within so many milliseconds.
    pub fn next(&mut self, actor: Actor, bound_ms: u64) -> Option<ClientEvent> {
        if let Some(event) = self.seats[actor.0].kept.pop_front() {
            return Some(event);
        }
        self.next_live(actor, bound_ms)
    }

    /// The first thing that `is_it`, kept or within so many milliseconds. Everything else is kept.
    pub fn wait_for(
        &mut self,
        actor: Actor,
        bound_ms: u64,
        is_it: impl Fn(&ClientEvent) -> bool,
    ) -> Option<ClientEvent> {
        if let Some(at) = self.seats[actor.0].kept.iter().position(&is_it) {
            return self.seats[actor.0].kept.remove(at);
        }
        let until = self.net.now().mono.plus_millis(bound_ms);
        loop {
            let left_ms = until.millis_since(self.net.now().mono);
            let event = self.next_live(actor, left_ms)?;
            if is_it(&event) {
                return Some(event);
            }
            let is_end = matches!(event, ClientEvent::Closed { .. });
            self.seats[actor.0].kept.push_back(event);
            if is_end {
                return None;
            }
        }
    }

    fn next_live(&mut self, actor: Actor, bound_ms: u64) -> Option<ClientEvent> {
        let until = self.net.now().mono.plus_millis(bound_ms);
        loop {
            self.pump_all();
            if let Some(event) = self.seats[actor.0].client.next_event() {
                self.seats[actor.0].note(&event);
                return Some(event);
            }
            if self.seats[actor.0].line.is_none() || self.net.now().mono >= until {
                return None;
            }
            self.wait(until);
        }
    }

    fn wait(&mut self, until: clawgate_proto::Mono) {
        let open = self.seats.iter().filter(|seat| seat.line.is_some());
        let deadline = open.filter_map(|seat| seat.client.next_deadline()).min();
        self.net.wait(deadline.map_or(until, |deadline| deadline.min(until)));
    }

    fn pump_all(&mut self) {
        for at in 0..self.seats.len() {
            self.pump(at);
        }
    }

    /// Moves bytes between a client and its socket.
    fn pump(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        let Some(line) = seat.line else { return };
        let now = self.net.now();
        seat.client.handle_timeout(now);
        seat.flush(&mut *self.net, line);
        let mut bytes = Vec::new();
        let more = self.net.receive(line, &mut bytes);
        if !bytes.is_empty() {
            seat.client.receive(now, &bytes);
        }
        if !more {
            seat.client.receive_end(now);
        }
        seat.flush(&mut *self.net, line);
        if !more || seat.client.is_finished() {
            self.net.shut(line);
            seat.line = None;
        }
    }
}

impl Seat {
    fn flush(&mut self, net: &mut dyn Net, line: Line) {
        let mut wire = Vec::new();
        self.client.take_wire(&mut wire);
        if !wire.is_empty() {
            net.send(line, &wire);
        }
    }

    /// Writes down secrets, and holds every client to the numbering: 1, 2, 3, without a gap.
    fn note(&mut self, event: &ClientEvent) {
        match event {
            ClientEvent::HelloOk(hello) => secrets::record_tokens(&hello.0),
            ClientEvent::Response(response) => {
                let payload =
                    response.payload.as_deref().and_then(|raw| serde_json::from_str(raw.get()).ok());
                secrets::record_tokens(&payload.unwrap_or(Value::Null));
            }
            ClientEvent::Event(event) => {
                if let Some(seq) = event.seq {
                    let expected = self.seq.unwrap_or(0) + 1;
                    assert_eq!(seq, expected, "the number of a {} event", event.name);
                    self.seq = Some(seq);
                }
            }
            ClientEvent::Gap { expected, got } => panic!("event {got} came where {expected} was due"),
            ClientEvent::Challenge { .. }
            | ClientEvent::ConnectRefused(_)
            | ClientEvent::Unrecognised(_)
            | ClientEvent::HttpRefused { .. }
            | ClientEvent::Closed { .. } => {}
        }
    }
}

fn is_websocket(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 101 ") && answer.windows(4).any(|four| four == b"\r\n\r\n")
}

/// The shared token of every stage.
pub fn shared_token() -> String {
    secrets::chosen("gateway-token")
}

/// A gateway of token mode, on the default port, about a host that does not exist.
pub fn config() -> Config {
    Config {
        about: About {
            version: "0.1.0".to_owned(),
            host: "gw-host".to_owned(),
            ip: "192.0.2.2".to_owned(),
            platform: "linux 6.18.0".to_owned(),
            device_family: "Linux".to_owned(),
            model_identifier: "x64".to_owned(),
            config_path: "/home/gw/.openclaw/openclaw.json".to_owned(),
            state_dir: "/home/gw/.openclaw".to_owned(),
            device_id: "0".repeat(64),
            public_key: "A".repeat(43),
            reach: Reach::default(),
        },
        ..Config::new(
            AuthConfig { token: Secret::new(&shared_token()), ..AuthConfig::new(AuthMode::Token) },
            18_789,
        )
    }
}

/// For an answer to a request.
pub const ANSWER_MS: u64 = 20_000;
/// For an event: longer than any interval.
pub const EVENT_MS: u64 = 90_000;
