//! One run: a heap of events ordered by time and then by the order in which they were made, a world that carries them
//! out, and the model that watches. Nothing here reads a clock, and nothing is random that does not come from the
//! plan's seed.

mod acts;
mod disk;
mod end;
mod look;

use crate::model::{Model, Said};
use crate::peer::Peer;
use crate::plan::{Dice, Ending, HostManner, Kind, Plan, Sabotage, Timed};
use crate::transcript::{Hashes, Transcript};
use clawgate_proto::Mono;
use clawgate_proto::client::{ClientEvent, ClosedBy, DeviceKey};
use clawgate_proto::config::{About, AuthConfig, AuthMode, Config, Reach};
use clawgate_proto::host::{HostAnswer, HostRequest, Load};
use clawgate_proto::id::{ConnId, Ticket};
use clawgate_proto::secret::Secret;
use clawgate_support::{MemoryHost, World};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

pub use look::Look;

/// How a run went.
#[derive(Debug)]
pub struct Report {
    /// What is wrong, if anything is.
    pub violation: Option<String>,
    /// When, since the start.
    pub ended_at: Mono,
    /// Of everything that happened.
    pub hashes: Hashes,
    /// The lines, when they were to be kept.
    pub lines: Vec<String>,
    /// How many lines there are.
    pub line_count: u64,
    /// How many events the heap gave.
    pub events: u64,
    /// What was reached, and how often.
    pub reached: BTreeMap<String, u64>,
    /// Tokens made on the way: no output may show them.
    pub secrets: Vec<String>,
    /// What the gateway held when somebody counted.
    pub looks: Vec<Look>,
}

/// Plays a plan to its end.
pub fn play(plan: &Plan, keeps_lines: bool) -> Report {
    let mut engine = Engine::new(plan, keeps_lines);
    engine.run();
    engine.report()
}

#[derive(Debug)]
enum Event {
    /// The act of this number.
    Act(usize),
    /// The gateway's deadline.
    Tick,
    /// A driver looks after a socket.
    Turn(ConnId),
    /// Something of a peer arrives at the gateway.
    Arrive(usize, Cargo),
    /// Something of the gateway arrives at a peer.
    Reach(usize, Cargo),
    /// A peer's deadline, and which.
    Timer(usize, Mono),
    /// The host does what it was asked.
    Perform(Ticket, HostManner),
    /// The host's answer arrives.
    Answer(Ticket, HostAnswer),
    /// The next stage of the end.
    End(Stage),
}

#[derive(Debug)]
enum Cargo {
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// How a run comes to its end.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Faults stop.
    Calm,
    /// What was on its way has arrived: an honest client comes in.
    Visit,
    /// It asks for the devices.
    Ask,
    /// It is served; then everybody leaves, or the gateway is stopped.
    Leave,
    /// The gateway is stopped, if it is not yet.
    Stop,
    /// Everything must be over.
    Over,
    /// Nobody looks any more.
    Unwatched,
}

struct Engine<'a> {
    plan: &'a Plan,
    world: World,
    model: Rc<RefCell<Model>>,
    host: Arc<MemoryHost>,
    /// Ordered by time, then by the number under which they were made.
    heap: BTreeMap<(Mono, u64), Event>,
    made: u64,
    events: u64,
    dice: Dice,
    keys: Vec<DeviceKey>,
    /// Device tokens, by device and role.
    tokens: BTreeMap<(String, String), String>,
    peers: BTreeMap<usize, Peer>,
    by_conn: BTreeMap<ConnId, usize>,
    turns: BTreeMap<ConnId, Mono>,
    tick_at: Option<Mono>,
    /// How the host answers so many of the next questions.
    manner: (HostManner, u8),
    jobs: BTreeMap<Ticket, HostRequest>,
    /// A file as it was before it was broken.
    spared: Option<Vec<u8>>,
    has_stopped: bool,
    last_port: u16,
    /// Pieces that reached peers.
    pieces: u64,
    writes: u64,
    counts: look::Counts,
    looks: Vec<Look>,
}

impl<'a> Engine<'a> {
    fn new(plan: &'a Plan, keeps_lines: bool) -> Self {
        let mut dice = Dice::new(plan.seed, "engine");
        let config = config(plan);
        let host = Arc::new(MemoryHost::new());
        host.set_load(Load { cpu_ms: 1, resident_bytes: 1 << 20 });
        host.set_system_info(r#"{"machine":"sim"}"#);
        let mut transcript = Transcript::new(plan.start, keeps_lines);
        let mut key_dice = Dice::new(plan.seed, "keys");
        let keys: Vec<DeviceKey> = (0..plan.devices)
            .map(|at| {
                let key = DeviceKey::from_seed(&key_dice.random().bytes());
                transcript.name(key.device_id(), &format!("d{}", at + 1));
                transcript.name(&key.device_id()[..12], &format!("d{}", at + 1));
                transcript.name(&key.public_key_base64url(), &format!("k{}", at + 1));
                key
            })
            .collect();
        let shared = shared_secret();
        transcript.name(&shared, "shared");
        let gateway_seed = dice.random().bytes();
        let mut world = World::unstarted(config.clone(), Arc::clone(&host), gateway_seed, plan.start);
        world.hold_jobs(true);
        let model =
            Model::new(config, &shared, Arc::clone(&host), plan.jitter_us * TICK_LATENESS, transcript);
        let model = Rc::new(RefCell::new(model));
        world.set_watch(Rc::clone(&model) as Rc<RefCell<dyn clawgate_support::world::Watch>>);
        Self {
            plan,
            world,
            model,
            host,
            heap: BTreeMap::new(),
            made: 0,
            events: 0,
            dice,
            keys,
            tokens: BTreeMap::new(),
            peers: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            turns: BTreeMap::new(),
            tick_at: None,
            manner: (HostManner::Prompt, 0),
            jobs: BTreeMap::new(),
            spared: None,
            has_stopped: false,
            last_port: 40_000,
            pieces: 0,
            writes: 0,
            counts: look::Counts::default(),
            looks: Vec::new(),
        }
    }

    fn run(&mut self) {
        self.world.tick();
        self.settle();
        for (at, Timed { at_us, .. }) in self.plan.acts.iter().enumerate() {
            self.at(Mono(*at_us), Event::Act(at));
        }
        let last = self.plan.acts.last().map_or(0, |timed| timed.at_us);
        match self.plan.ending {
            Ending::AllLeave | Ending::Stop => self.at(Mono(last + 1_000), Event::End(Stage::Calm)),
            Ending::Watch(ms) => self.at(Mono(last).plus_millis(ms), Event::End(Stage::Unwatched)),
        }
        while let Some(((at, _), event)) = self.heap.pop_first() {
            self.events += 1;
            self.world.set_time(at);
            if matches!(event, Event::End(Stage::Unwatched)) {
                return;
            }
            if matches!(event, Event::End(Stage::Over)) {
                return self.check_over();
            }
            self.handle(event);
            self.settle();
            if self.model.borrow().violation().is_some() {
                return;
            }
            if self.events > EVENTS_MAX {
                return self.accuse("there is no end to it");
            }
        }
    }

    fn report(self) -> Report {
        let model = self.model.borrow();
        Report {
            violation: model.violation().map(str::to_owned),
            ended_at: self.world.now().mono,
            hashes: model.transcript.hashes(),
            lines: model.transcript.lines().to_vec(),
            line_count: model.transcript.line_count(),
            events: self.events,
            reached: model.reached().clone(),
            secrets: self.tokens.values().cloned().collect(),
            looks: self.looks.clone(),
        }
    }

    // ---- the heap ----

    fn at(&mut self, at: Mono, event: Event) {
        self.made += 1;
        self.heap.insert((at.max(self.world.now().mono), self.made), event);
    }

    fn after(&mut self, us: u64, event: Event) {
        self.at(Mono(self.world.now().mono.0 + us), event);
    }

    /// A driver will look after this socket, not later than then.
    fn turn_at(&mut self, conn: ConnId, at: Mono) {
        let at = at.max(self.world.now().mono);
        if self.turns.get(&conn).is_none_or(|have| at < *have) {
            self.turns.insert(conn, at);
            self.at(at, Event::Turn(conn));
        }
    }

    fn turn_soon(&mut self, conn: ConnId) {
        let jitter_us = self.dice.below(self.plan.jitter_us);
        self.turn_at(conn, Mono(self.world.now().mono.0 + jitter_us));
    }

    /// Whatever the last event led to is put on the heap.
    fn settle(&mut self) {
        for conn in self.world.take_woken() {
            self.turn_soon(conn);
        }
        while let Some((ticket, request)) = self.world.take_job() {
            self.ask_host(ticket, request);
        }
        let deadline = self.world.gateway().next_deadline();
        if deadline != self.tick_at {
            self.tick_at = deadline;
            if let Some(at) = deadline {
                let late_us = self.dice.below(self.plan.jitter_us * TICK_LATENESS);
                self.at(Mono(at.0 + late_us), Event::Tick);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Act(at) => {
                let act = self.plan.acts[at].act.clone();
                self.act(act);
            }
            Event::Tick => {
                // An older entry for a deadline that moved finds nothing due.
                if self.world.gateway().next_deadline().is_some_and(|at| at <= self.world.now().mono) {
                    self.tick_at = None;
                    self.counts.wakes += 1;
                    self.world.tick();
                }
            }
            Event::Turn(conn) => self.turn(conn),
            Event::Arrive(at, cargo) => self.arrive(at, cargo),
            Event::Reach(at, cargo) => self.reach(at, cargo),
            Event::Timer(at, deadline) => {
                let now = self.world.now();
                let Some(peer) = self.peers.get_mut(&at) else { return };
                // One that has moved since: to set it again would double the timers of a long run, and double them again.
                if peer.timer != Some(deadline) {
                    return;
                }
                peer.timer = None;
                if !peer.is_mute && !peer.is_gone {
                    let events = peer.handle_timeout(now);
                    self.hear(at, events);
                }
            }
            Event::Perform(ticket, manner) => self.perform(ticket, manner),
            Event::Answer(ticket, answer) => self.world.answer(ticket, answer),
            Event::End(stage) => self.end(stage),
        }
    }

    // ---- sockets ----

    fn turn(&mut self, conn: ConnId) {
        self.counts.turns += 1;
        if self.turns.get(&conn).is_some_and(|at| *at <= self.world.now().mono) {
            self.turns.remove(&conn);
        }
        if self.world.turn(conn) {
            self.turn_soon(conn);
        }
        self.pull(conn);
        if let Some(at) = self.world.deadline_of(conn) {
            self.turn_at(conn, at);
        }
    }

    /// What the gateway wrote goes on its way, unless the peer does not read.
    fn pull(&mut self, conn: ConnId) {
        let Some(&at) = self.by_conn.get(&conn) else { return };
        let now = self.world.now();
        let Some(peer) = self.peers.get_mut(&at) else { return };
        if peer.is_stalled && !peer.is_gone {
            return;
        }
        let bytes = self.world.receive(conn);
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (size, delay_us) = peer.piece(rest.len());
            let (piece, tail) = rest.split_at(size);
            peer.reaches_at = peer.reaches_at.max(Mono(now.mono.0 + delay_us));
            pieces.push((peer.reaches_at, Cargo::Bytes(piece.to_vec())));
            rest = tail;
        }
        if self.world.has_ended(conn) && !peer.end_told {
            peer.end_told = true;
            pieces.push((peer.reaches_at.max(now.mono), Cargo::End));
        }
        let has_room = !bytes.is_empty();
        for (when, cargo) in pieces {
            self.at(when, Event::Reach(at, cargo));
        }
        if has_room {
            self.turn_soon(conn);
        }
    }

    fn arrive(&mut self, at: usize, cargo: Cargo) {
        let now = self.world.now();
        let Some(peer) = self.peers.get(&at) else { return };
        let conn = peer.conn;
        match cargo {
            Cargo::Bytes(bytes) => {
                self.model.borrow_mut().transcript.bytes(now, format!("{conn} >"), &bytes);
                self.world.send(conn, &bytes);
            }
            Cargo::End => self.world.end(conn),
            Cargo::Reset => self.world.reset(conn),
        }
        self.turn_soon(conn);
    }

    fn reach(&mut self, at: usize, cargo: Cargo) {
        let now = self.world.now();
        let Some(peer) = self.peers.get_mut(&at) else { return };
        if peer.is_gone || peer.is_mute {
            return;
        }
        let conn = peer.conn;
        let events = match cargo {
            Cargo::Bytes(bytes) => {
                self.pieces += 1;
                if self.plan.sabotage == Some(Sabotage::LosePiece) && self.pieces == LOST_PIECE {
                    return;
                }
                let mut model = self.model.borrow_mut();
                model.transcript.bytes(now, format!("{conn} <"), &bytes);
                for status_line in peer.take_status_lines(&bytes) {
                    model.transcript.line(now, conn, '<', &status_line);
                }
                drop(model);
                peer.receive(now, &bytes)
            }
            Cargo::End | Cargo::Reset => {
                self.model.borrow_mut().transcript.line(now, conn, '<', "end");
                let events = peer.receive_end(now);
                if peer.client.is_none() {
                    self.shut(at);
                }
                events
            }
        };
        self.hear(at, events);
    }

    /// What a client makes of what arrived, held against what the gateway ordered.
    fn hear(&mut self, at: usize, events: Vec<ClientEvent>) {
        for event in events {
            self.hear_one(at, event);
        }
        self.flush(at);
    }

    fn hear_one(&mut self, at: usize, event: ClientEvent) {
        let now = self.world.now();
        let Some(peer) = self.peers.get_mut(&at) else { return };
        let conn = peer.conn;
        let mut model = self.model.borrow_mut();
        match event {
            ClientEvent::Challenge { nonce, ts_ms } => {
                model.transcript.line(now, conn, '<', &format!("challenge {nonce}"));
                if !peer.has_ended && matches!(peer.opening.kind, Kind::Client(_)) {
                    if peer.client.as_ref().is_some_and(|client| client.config().answers_challenge) {
                        model.transcript.line(now, conn, '>', "connect");
                    }
                    let said = peer.answer_challenge(&nonce, ts_ms.unwrap_or(0), &self.plan.setup.limits);
                    for said in said {
                        model.transcript.line(now, conn, '>', &said);
                    }
                }
            }
            ClientEvent::HelloOk(hello) => {
                peer.is_admitted = true;
                model.transcript.line(now, conn, '<', &format!("hello-ok {}", hello.0));
                model.heard(now, conn, &Said::Hello);
                let config = peer.client.as_ref().map(|client| client.config());
                if let (Some(token), Some(config)) = (hello.device_token(), config)
                    && let Some(key) = &config.identity
                {
                    let whose = (key.device_id().to_owned(), config.role.clone());
                    self.tokens.insert(whose, token.to_owned());
                }
            }
            ClientEvent::ConnectRefused(error) => {
                let shown = serde_json::to_string(&error).unwrap_or_default();
                model.transcript.line(now, conn, '<', &format!("refused {shown}"));
                // A connection refuses what is no connect by itself, and the gateway never hears of it.
                let id = connect_id(&model.unheard(conn));
                if let Some(id) = id {
                    model.heard(now, conn, &Said::Response { id, ok: false });
                }
            }
            ClientEvent::Response(response) => {
                let outcome = match (&response.payload, &response.error) {
                    (Some(payload), _) => format!("ok {}", payload.get()),
                    (None, error) => format!("error {}", serde_json::to_string(error).unwrap_or_default()),
                };
                model.transcript.line(now, conn, '<', &format!("#{} {outcome}", response.id));
                peer.asked.remove(&response.id);
                // A device that rotates its own token is given the new one.
                let payload = response.payload.as_ref().map(|raw| raw.get()).unwrap_or_default();
                if payload.contains("\"token\"")
                    && let Ok(value) = serde_json::from_str::<serde_json::Value>(payload)
                    && let [Some(token), Some(device), Some(role)] =
                        ["token", "deviceId", "role"].map(|name| value[name].as_str().map(str::to_owned))
                {
                    self.tokens.insert((device, role), token);
                }
                let is_own = !response.ok && peer.is_odd && !model.is_due_response(conn, &response.id);
                let is_first = !peer.is_admitted && !model.is_due_response(conn, &response.id);
                if !is_own && !is_first {
                    model.heard(now, conn, &Said::Response { id: response.id, ok: response.ok });
                }
            }
            ClientEvent::Event(event) => {
                let payload = event.payload.as_ref().map_or("", |payload| payload.get());
                let seq = event.seq.unwrap_or(0);
                model.transcript.line(now, conn, '<', &format!("event {} {seq} {payload}", event.name));
                if !peer.is_admitted {
                    model.accuse(now, format!("{conn} hears {} before hello-ok", event.name));
                }
                model.heard(now, conn, &Said::Event { name: event.name.clone(), seq });
                if event.name == "node.invoke.request" && !peer.has_ended {
                    for said in peer.serve(&event.value()) {
                        model.transcript.line(now, conn, '>', &said);
                    }
                }
            }
            ClientEvent::Gap { expected, got } => {
                model.transcript.line(now, conn, '<', &format!("gap {expected} {got}"));
                model.reach("gap");
            }
            ClientEvent::Unrecognised(_) if peer.is_odd => {
                // The answer to a request whose id is no text.
                model.transcript.line(now, conn, '<', "something odd");
            }
            ClientEvent::Unrecognised(_) => model.accuse(now, format!("{conn} hears what no client knows")),
            ClientEvent::HttpRefused { status, .. } => {
                model.transcript.line(now, conn, '<', &format!("http {status}"));
            }
            ClientEvent::Closed { code, reason, by } => {
                model.transcript.line(now, conn, '<', &format!("closed {code} {reason:?} by {by:?}"));
                model.reach(format!("client closed {code}"));
                if by == ClosedBy::Us && matches!(code, 1002 | 1007 | 1009) {
                    model.accuse(now, format!("{conn} cannot read what it is sent: {reason}"));
                }
                let unheard = model.unheard(conn);
                let is_told = by == ClosedBy::Peer;
                if is_told && let Some(said @ Said::Close(due)) = unheard.first() {
                    if *due == code {
                        model.heard(now, conn, said);
                    } else {
                        model.accuse(now, format!("{conn} is closed with {code}, ordered was {due}"));
                    }
                }
            }
        }
    }

    /// What a peer has to say goes on its way.
    fn flush(&mut self, at: usize) {
        let now = self.world.now();
        let Some(peer) = self.peers.get_mut(&at) else { return };
        if peer.is_mute || peer.is_gone {
            return;
        }
        let wire = if peer.has_ended { Vec::new() } else { peer.take_wire() };
        let mut rest = &wire[..];
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (size, delay_us) = peer.piece(rest.len());
            let (piece, tail) = rest.split_at(size);
            peer.arrives_at = peer.arrives_at.max(Mono(now.mono.0 + delay_us));
            pieces.push((peer.arrives_at, Cargo::Bytes(piece.to_vec())));
            rest = tail;
        }
        let is_finished = peer.client.as_ref().is_some_and(|client| client.is_finished());
        let deadline = peer.client.as_ref().and_then(|client| client.next_deadline());
        let timer = deadline.filter(|at| peer.timer != Some(*at));
        if let Some(timer) = timer {
            peer.timer = Some(timer);
        }
        for (when, cargo) in pieces {
            self.at(when, Event::Arrive(at, cargo));
        }
        if let Some(timer) = timer {
            // A client that counts whole milliseconds must not be woken a little early for ever.
            self.at(Mono(timer.0.max(now.mono.0 + 1)), Event::Timer(at, timer));
        }
        if is_finished {
            self.shut(at);
        }
    }

    /// A peer shuts its socket: what it sent arrives, what comes is not read.
    fn shut(&mut self, at: usize) {
        let Some(peer) = self.peers.get_mut(&at) else { return };
        if !peer.is_gone {
            peer.is_gone = true;
            let when = peer.arrives_at.max(self.world.now().mono);
            self.at(when, Event::Arrive(at, Cargo::End));
        }
    }
}

/// The id of the answer that a `connect` waits for.
fn connect_id(unheard: &[Said]) -> Option<String> {
    match unheard.first() {
        Some(Said::Response { id, ok: false }) => Some(id.clone()),
        Some(Said::Response { .. } | Said::Hello | Said::Event { .. } | Said::Close(_)) | None => None,
    }
}

fn address(from: u8) -> IpAddr {
    match from {
        0 => Ipv4Addr::LOCALHOST.into(),
        1 => Ipv6Addr::LOCALHOST.into(),
        other => Ipv4Addr::new(192, 0, 2, other).into(),
    }
}

fn shared_secret() -> String {
    clawgate_support::secrets::chosen("sim")
}

fn config(plan: &Plan) -> Config {
    let setup = &plan.setup;
    let secret = |wanted| if setup.mode == wanted { Secret::new(&shared_secret()) } else { None };
    Config {
        limits: setup.limits.clone(),
        about: About {
            version: "0.0.0-sim".to_owned(),
            host: "gw-host".to_owned(),
            ip: "192.0.2.1".to_owned(),
            platform: "linux 6.18.0".to_owned(),
            device_family: "Linux".to_owned(),
            model_identifier: "x64".to_owned(),
            config_path: "/home/gw/.openclaw/openclaw.json".to_owned(),
            state_dir: "/home/gw/.openclaw".to_owned(),
            device_id: "gateway".to_owned(),
            public_key: "gateway".to_owned(),
            reach: Reach::default(),
        },
        ..Config::new(
            AuthConfig {
                token: secret(AuthMode::Token),
                password: secret(AuthMode::Password),
                rate_limit: setup.rate_limit,
                ..AuthConfig::new(setup.mode)
            },
            PORT,
        )
    }
}

const PORT: u16 = 18_789;
/// How many times later than for a socket a driver may be for a deadline of the gateway.
const TICK_LATENESS: u64 = 12;
/// What the network still takes for a peer that has stopped reading.
const STALLED_WINDOW_BYTES: usize = 256;
/// What [`Sabotage`] loses.
const LOST_PIECE: u64 = 40;
const LOST_WRITE: u64 = 2;
/// A run has an end.
const EVENTS_MAX: u64 = 5_000_000;
