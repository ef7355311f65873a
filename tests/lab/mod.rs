//! A gateway, its clients and the program's own host over a simulated disk, in one thread and without a socket:
//! the test decides when the host answers.

mod cuts;

use crate::disk::SimulatedDisk;
use crate::host_on;
use clawgate::host::StateHost;
use clawgate_proto::client::{Client, ClientConfig, ClientEvent, DeviceKey};
use clawgate_proto::config::{AuthConfig, AuthMode, Config};
use clawgate_proto::connect::Credentials;
use clawgate_proto::host::{self, HostRequest};
use clawgate_proto::id::{ConnId, Ticket};
use clawgate_proto::secret::Secret;
use clawgate_proto::seed::Seed;
use clawgate_proto::{Connection, Gateway, Input, Mono, Next, Now, Output, Peer, Wall};
use clawgate_support::{client, secrets};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// One gateway process, from its start to its end.
pub(crate) struct Lab {
    gateway: Gateway,
    host: StateHost<SimulatedDisk>,
    lines: BTreeMap<ConnId, Line>,
    asked: VecDeque<(Ticket, HostRequest)>,
    now: Now,
}

/// A client and the connection it talks to.
struct Line {
    client: Client,
    connection: Connection,
}

impl Lab {
    /// Starts a gateway on a disk, as far as its first look at the store.
    pub(crate) fn start(disk: SimulatedDisk, seed: u64) -> Self {
        let auth = AuthConfig { token: Secret::new(&shared_token()), ..AuthConfig::new(AuthMode::Token) };
        let config = Config::new(auth, 18_789);
        let now = Now { mono: Mono(1_000_000), wall: Wall(1_795_336_353_595) };
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut lab = Self {
            gateway: Gateway::new(config, Seed::new(bytes), now),
            host: host_on(disk),
            lines: BTreeMap::new(),
            asked: VecDeque::new(),
            now,
        };
        lab.handle(Input::Tick);
        lab.settle();
        lab
    }

    /// A client connects from this address; what comes of it is in [`Lab::events`].
    pub(crate) fn connect(&mut self, remote: &str, config: ClientConfig) -> ConnId {
        self.now.mono.0 += 1_000;
        self.now.wall.0 += 1;
        let remote: SocketAddr = remote.parse().unwrap();
        let local = SocketAddr::new(remote.ip(), 18_789);
        let mut out = Vec::new();
        let connection = self.gateway.open(self.now, Peer { remote, local }, &mut out).unwrap();
        let conn = connection.id();
        let mut seed = [5; 32];
        seed[..8].copy_from_slice(&conn.0.to_le_bytes());
        let client = Client::new(config, Seed::new(seed), self.now);
        self.lines.insert(conn, Line { client, connection });
        self.carry_out(out);
        self.pump();
        conn
    }

    /// Sends a request; `None` when the connection is not open.
    pub(crate) fn request(&mut self, conn: ConnId, method: &str, params: Value) -> Option<String> {
        let id = self.lines.get_mut(&conn)?.client.request(method, params).ok()?;
        self.pump();
        Some(id)
    }

    /// What a client heard since the last call.
    pub(crate) fn events(&mut self, conn: ConnId) -> Vec<ClientEvent> {
        let Some(line) = self.lines.get_mut(&conn) else { return Vec::new() };
        std::iter::from_fn(|| line.client.next_event()).collect()
    }

    /// The client goes away without a word.
    pub(crate) fn drop_line(&mut self, conn: ConnId) {
        if self.lines.remove(&conn).is_some() {
            self.handle(Input::Closed { conn });
            self.pump();
        }
    }

    /// Performs the oldest request to the host; false when there is none. The gateway does not know yet.
    pub(crate) fn perform(&mut self) -> Option<Input> {
        let (ticket, request) = self.asked.pop_front()?;
        Some(Input::Answered { ticket, answer: host::perform(&self.host, request) })
    }

    /// Tells the gateway something, and lets bytes flow until nobody has anything to say.
    pub(crate) fn tell(&mut self, input: Input) {
        self.handle(input);
        self.pump();
    }

    /// Answers the gateway's requests to the host until there is none.
    pub(crate) fn settle(&mut self) {
        while let Some(answer) = self.perform() {
            self.tell(answer);
        }
    }

    fn pump(&mut self) {
        let mut busy = true;
        while busy {
            busy = false;
            let conns: Vec<ConnId> = self.lines.keys().copied().collect();
            for conn in conns {
                // Out of the map, since what one connection says becomes orders for others.
                let Some(mut line) = self.lines.remove(&conn) else { continue };
                let mut inputs = Vec::new();
                busy |= line.turn(self.now, &mut inputs);
                self.lines.insert(conn, line);
                busy |= !inputs.is_empty();
                inputs.into_iter().for_each(|input| self.handle(input));
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let mut out = Vec::new();
        self.gateway.handle(self.now, input, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::To(conn, order) => {
                    if let Some(line) = self.lines.get_mut(&conn) {
                        line.connection.apply(self.now, order);
                    }
                }
                Output::Host(ticket, request) => self.asked.push_back((ticket, request)),
                Output::Log(_) | Output::Accept(_) | Output::Beat | Output::Stopped => {}
            }
        }
    }
}

impl Line {
    /// Moves bytes once in each direction; whether there were any.
    fn turn(&mut self, now: Now, inputs: &mut Vec<Input>) -> bool {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        self.client.take_wire(&mut up);
        let mut rest = &up[..];
        while !rest.is_empty() {
            let taken = self.connection.receive(now, rest);
            self.facts(now, inputs);
            if taken == 0 {
                assert!(!self.connection.wants_read(), "the connection is stuck");
                break;
            }
            rest = &rest[taken..];
        }
        self.connection.take_wire(now, &mut down);
        self.connection.wrote(now, down.len());
        self.facts(now, inputs);
        if !down.is_empty() {
            self.client.receive(now, &down);
        }
        !up.is_empty() || !down.is_empty()
    }

    fn facts(&mut self, now: Now, inputs: &mut Vec<Input>) {
        while let Next::Event(input) = self.connection.next_event(now) {
            inputs.push(input);
        }
    }
}

/// The shared token of every [`Lab`].
pub(crate) fn shared_token() -> String {
    secrets::chosen("lab")
}

/// A device that shows the shared token, or its own.
pub(crate) fn device(key: &DeviceKey, token: Option<&str>) -> ClientConfig {
    let addr = ([127, 0, 0, 1], 18_789).into();
    let config = client::config_as(addr, "cli", "cli", None, Some(key.clone()));
    let auth = match token {
        Some(token) => Credentials { device_token: Some(token.to_owned()), ..Credentials::default() },
        None => Credentials { token: Some(shared_token()), ..Credentials::default() },
    };
    ClientConfig { auth, ..config }
}
