//! Everything two connections could disagree about: who is signed in, what each may call, who receives what.
//! Never sees raw bytes; short decisions only.

mod admit;
pub(crate) mod approvals;
mod canvas;
mod census;
pub(crate) mod channels;
pub(crate) mod config;
mod control_ui;
pub(crate) mod devices;
pub(crate) mod diagnostics;
pub(crate) mod events;
mod files;
mod guesses;
pub(crate) mod handlers;
pub(crate) mod health;
pub(crate) mod invoke;
mod limiter;
pub(crate) mod logs;
mod memory;
mod metrics;
pub(crate) mod node_events;
pub(crate) mod node_pending;
mod node_policy;
pub(crate) mod nodes;
pub(crate) mod pair;
mod peers;
pub(crate) mod presence;
pub(crate) mod reads;
pub(crate) mod relay;
mod reload;
mod replies;
mod rivals;
pub(crate) mod setup;
pub(crate) mod surfaces;
pub(crate) mod suspend;
#[cfg(test)]
mod tests;
mod timers;
pub(crate) mod upgrades;
pub(crate) mod users;
pub(crate) mod voice;
mod vouched;
mod web;
pub(crate) mod wizards;
mod writes;

use crate::budget::Budget;
use crate::config::Config;
use crate::conn::Connection;
use crate::dialect::{self, Dialect};
use crate::error::RequestError;
use crate::frame::{CloseFrame, EventFrame, StateVersion};
use crate::host::config::ConfigTrouble;
use crate::host::{HostAnswer, HostRequest};
use crate::http::HttpRequest;
use crate::id::{ConnId, Ticket};
use crate::input::{End, Input};
use crate::log::{Level, Record};
use crate::methods::{Answer, Params};
use crate::net::ClientAddress;
use crate::output::{Order, Output, Reply};
use crate::pending::Pending;
use crate::request::{MethodRef, ParamsFault, Request};
use crate::scope::Role;
use crate::seed::{Random, Seed};
use crate::time::{Mono, Now};
use crate::tls;
use approvals::Approvals;
use bytes::Bytes;
pub use census::Census;
use core::net::{IpAddr, SocketAddr};
use devices::DeviceStore;
use diagnostics::Refusal;
use diagnostics::Stats;
use events::Event;
use health::Health;
use invoke::Invokes;
use limiter::Limiters;
use pair::Key;
use peers::{Handshake, Peers, Phase};
use presence::Presence;
use relay::Relayed;
use replies::{Replies, ReplyKey, Seen};
use rivals::Rivals;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use suspend::Suspension;
use timers::{Timer, Timers};
use voice::VoiceWake;
use vouched::Whois;
use writes::{Allowance, WriteKey, Writes};

/// The shared state machine of the process.
#[derive(Debug)]
pub struct Gateway {
    config: Arc<Config>,
    random: Random,
    /// This process.
    instance_id: String,
    budget: Budget,
    last_conn: u64,
    last_ticket: u64,
    peers: Peers,
    limiters: Limiters,
    presence: Presence,
    presence_flush: Flush,
    /// Presence keys of sessions that ended during this input.
    left: Vec<String>,
    setups: setup::Setups,
    upgrades: upgrades::Upgrades,
    devices: DeviceStore<Key>,
    health: Health,
    health_flush: Flush,
    timers: Timers,
    tickets: BTreeMap<Ticket, Purpose>,
    /// Who asked for `system.info`. One question to the host answers them all: others wait for that host as well, and
    /// a peer could ask it more than it can answer.
    relays: relay::Relays,
    setup: Option<wizards::Setup>,
    system_events: VecDeque<String>,
    /// `status`, encoded, for others and for admins. Empty when what it tells has changed.
    status: [Option<Bytes>; 2],
    /// The numbers that go with it.
    told: Option<diagnostics::Told>,
    log_level: Level,
    approvals: Approvals,
    invokes: Invokes,
    rivals: Rivals,
    pending: Pending,
    /// Settings that changed and wait for a restart, for people: not more than are worth reading.
    restart_needed: Vec<String>,
    /// What keeps the configuration file from counting.
    config_fault: Option<ConfigTrouble>,
    config_look: config::Look,
    memory: memory::MemoryLook,
    /// How often another secret, or another way in, came into force.
    auth_generation: u64,
    /// Between two signs of life; none after the first when it is missing.
    beat_every_ms: Option<u64>,
    replies: Replies,
    writes: Writes,
    voice: VoiceWake,
    whois: Whois,
    suspension: Suspension,
    stats: Stats,
    surfaces: surfaces::Surfaces,
    reload: reload::Reload,
    accepting: bool,
    stopping: bool,
    started: bool,
}

/// A request that passed role and scope checks.
#[derive(Debug)]
pub struct Call {
    /// When.
    pub now: Now,
    /// Who.
    pub conn: ConnId,
    /// The request's id.
    pub id: Box<str>,
    /// Parsed params.
    pub params: Params,
}

/// The two ends of an accepted socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's address.
    pub remote: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
}

/// The accept limit is reached, or the gateway is stopping: drop the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// What a host request in flight is for.
#[derive(Debug)]
enum Purpose {
    /// The device store.
    Devices,
    /// The health snapshot.
    Load,
    /// Answers that are the host's, to all who wait for one.
    Relay(Relayed),
    /// An answer to `config.*`.
    Config { conn: ConnId, id: Box<str> },
    /// A look at the configuration file.
    ConfigCheck,
    /// A restart that a changed configuration file asks for.
    ConfigRestart,
    /// A look at the memory of the process.
    Memory,
    /// What a set-up begins with.
    WizardStart { conn: ConnId, id: Box<str> },
    /// What a set-up came to.
    WizardWrite { conn: ConnId, id: Box<str> },
    /// A change of the file of exec approvals.
    ExecApprovals { conn: ConnId, id: Box<str> },
    /// An answer to `logs.tail`.
    LogsTail { conn: ConnId, id: Box<str> },
    /// Who an address of the tailnet is.
    WhoIs { ip: IpAddr },
    /// The first in line for the wake words.
    VoiceWake,
    /// The beginning of a file.
    File { conn: ConnId },
    /// Its next piece.
    FilePiece { conn: ConnId },
    /// A look at the files of pages that load themselves again.
    FilesLook,
    /// An answer to `gateway.restart.request`.
    Restart { conn: ConnId, id: Box<str>, reason: String },
}

impl Purpose {
    /// Which methods wait for it, by the first part of their names.
    fn family(&self) -> Option<&'static str> {
        match self {
            Self::Devices => Some("device"),
            Self::Config { .. } => Some("config"),
            Self::WizardStart { .. } | Self::WizardWrite { .. } => Some("wizard"),
            Self::ExecApprovals { .. } => Some("exec"),
            Self::LogsTail { .. } => Some("logs"),
            Self::VoiceWake => Some("voicewake"),
            Self::Restart { .. } => Some("gateway"),
            Self::Load
            | Self::Relay(_)
            | Self::ConfigCheck
            | Self::ConfigRestart
            | Self::Memory
            | Self::WhoIs { .. }
            | Self::File { .. }
            | Self::FilePiece { .. }
            | Self::FilesLook => None,
        }
    }
}

/// What comes after the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Nothing.
    ForGood,
    /// The same gateway, soon.
    ToRestart,
}

/// A broadcast that waits a moment for more causes.
#[derive(Debug, Default)]
struct Flush {
    /// Dialects with something to tell.
    dirty: [bool; 2],
    last: Option<Mono>,
}

impl Gateway {
    /// An empty gateway. It asks the host for its stores at the first [`Input::Tick`].
    pub fn new(config: Config, seed: Seed, now: Now) -> Self {
        let config = Arc::new(config);
        let mut random = Random::new(seed);
        let instance_id = random.uuid();
        let mut timers = Timers::default();
        timers.set(Timer::Tick, now.mono.plus_millis(config.limits.tick_interval_ms));
        timers.set(Timer::Health, now.mono);
        if config.limits.config_check_ms > 0 {
            timers.set(Timer::Config, now.mono.plus_millis(config.limits.config_check_ms));
        }
        Self {
            budget: Budget::new(config.limits.process_bytes_max),
            last_conn: 0,
            last_ticket: 0,
            peers: Peers::default(),
            limiters: Limiters::new(&config),
            presence: Presence::new(Arc::clone(&config), &instance_id),
            instance_id,
            presence_flush: Flush::default(),
            left: Vec::new(),
            setups: setup::Setups::default(),
            upgrades: upgrades::Upgrades::default(),
            devices: DeviceStore::new(&config.limits),
            health: Health::new(Arc::clone(&config), now),
            health_flush: Flush::default(),
            timers,
            tickets: BTreeMap::new(),
            relays: relay::Relays::new(),
            setup: None,
            system_events: VecDeque::new(),
            status: [None, None],
            told: None,
            log_level: Level::Trace,
            approvals: Approvals::default(),
            invokes: Invokes::default(),
            rivals: Rivals::default(),
            pending: Pending::default(),
            restart_needed: Vec::new(),
            config_fault: None,
            config_look: config::Look::default(),
            memory: memory::MemoryLook::default(),
            auth_generation: 0,
            beat_every_ms: None,
            replies: Replies::default(),
            writes: Writes::default(),
            voice: VoiceWake::new(),
            whois: Whois::default(),
            suspension: Suspension::default(),
            stats: Stats::default(),
            surfaces: surfaces::Surfaces::default(),
            reload: reload::Reload::default(),
            accepting: true,
            stopping: false,
            started: false,
            random,
            config,
        }
    }

    /// Records that matter less are not made: one a request costs more than many a request.
    pub fn set_log_level(&mut self, level: Level) {
        self.log_level = level;
    }

    /// Asks for signs of life ([`Output::Beat`]): one at the first [`Input::Tick`], when the gateway is being driven, then
    /// one every so many milliseconds until it has stopped, or no other. Whoever drives a gateway that is stuck, or cannot
    /// come to it, gets none.
    pub fn set_beats(&mut self, now: Now, every_ms: Option<u64>) {
        self.beat_every_ms = every_ms.map(|ms| ms.max(1));
        self.timers.set(Timer::Beat, now.mono);
    }

    /// Whether the host watches the configuration file and a change comes into force by itself (`configReload` in the
    /// health snapshot). It does not until this is said; [`ConfigNews`](crate::host::config::ConfigNews) says it anew.
    pub fn set_hot_reload(&mut self, now: Now, is_active: bool) {
        if self.health.hot_reload != is_active {
            self.health.hot_reload = is_active;
            self.health.refresh(now);
        }
    }

    /// A socket was accepted. The driver owns the connection from here on.
    ///
    /// # Errors
    /// [`Refused`] when there are too many sockets.
    pub fn open(&mut self, now: Now, peer: Peer, out: &mut Vec<Output>) -> Result<Connection, Refused> {
        let sockets_max = self.config.limits.sockets_max;
        if self.stopping || self.peers.len() >= sockets_max {
            return Err(Refused);
        }
        self.last_conn += 1;
        self.stats.accepted += 1;
        let conn = ConnId(self.last_conn);
        for cut in self.peers.insert(conn, peer, &self.config) {
            out.push(Output::Log(
                Record::new(Level::Warn, "peer.cut").conn(cut).field("why", "too many open heads"),
            ));
            self.order(cut, Order::Abort, out);
            self.peers.set_phase(cut, Phase::Ending);
            self.peers.has_been_cut(cut);
            self.stats.cut += 1;
        }
        if self.peers.len() >= sockets_max && self.accepting {
            self.accepting = false;
            out.push(Output::Log(
                Record::new(Level::Warn, "accept.paused").field("sockets", self.peers.len()),
            ));
            out.push(Output::Accept(false));
        }
        let seed = self.random.seed();
        Ok(Connection::new(conn, seed, Arc::clone(&self.config), self.budget.clone(), now))
    }

    /// Applies one fact and appends what should be done about it, in order.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        self.stats.counters.work_on(None);
        match input {
            Input::Upgrade { conn, request } => self.upgrade(now, conn, *request, out),
            Input::Http { conn, request } => self.http(now, conn, &request, out),
            Input::Connect { conn, request } => self.connect(now, conn, *request, out),
            Input::Request { conn, request } => self.dispatch(now, conn, request, out),
            Input::Drained { conn, bytes } => self.drained(now, conn, bytes, out),
            Input::Ending { conn, why } => self.ending(conn, why, out),
            Input::Closed { conn } => self.closed(conn, out),
            Input::Answered { ticket, answer } => self.answered(now, ticket, answer, out),
            Input::ConfigTouched => self.config_touched(now),
            Input::Stop => self.stop(now, Stopping::ForGood, out),
            Input::Restart => self.stop(now, Stopping::ToRestart, out),
            Input::Tick => self.tick(now, out),
        }
        self.flush(now, out);
        self.set_approvals_timer();
        self.set_invokes_timer();
    }

    /// The earliest moment at which [`Input::Tick`] would change anything.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    // ---- sockets ----

    fn upgrade(&mut self, now: Now, conn: ConnId, request: HttpRequest, out: &mut Vec<Output>) {
        let Some(slot) = self.peers.get(conn) else { return };
        if matches!(slot.phase, Phase::Ending) {
            return;
        }
        let remote = slot.peer.remote.ip();
        let address = ClientAddress::resolve(remote, &request, &self.config);
        let has_memory = self.has_memory(now, out);
        let mut refused = |code: &str| {
            let what = Refusal { code: code.into(), address: address.told(), client_id: None };
            self.stats.refused(now.wall, what, &self.config.limits);
        };
        let refusal = if self.stopping {
            refused("admission-closed");
            Some(web::admission_closed())
        } else if !self.peers.has_preauth_room(address.ip, &self.config) {
            out.push(Output::Log(
                Record::new(Level::Warn, "upgrade.refused")
                    .conn(conn)
                    .field("why", "too many unauthenticated sockets")
                    .field("peer", remote),
            ));
            refused("too-many-unauthenticated-sockets");
            Some(web::too_many_sockets())
        } else if !has_memory {
            refused("memory-ceiling");
            Some(web::memory_ceiling())
        } else {
            None
        };
        if refusal.is_none() && self.reload_upgrade(now, conn, &request, &address, out) {
            return;
        }
        let Some(slot) = self.peers.get(conn) else { return };
        if let Some(response) = refusal {
            self.peers.set_phase(conn, Phase::Http);
            self.order(conn, Order::Http(Box::new(response)), out);
            return;
        }
        if address.untrusted_proxy {
            self.stats.untrusted_proxies += 1;
            out.push(Output::Log(
                Record::new(Level::Warn, "peer.proxied-untrusted")
                    .conn(conn)
                    .field("peer", slot.peer.remote.ip())
                    .field(
                        "hint",
                        "add this proxy to gateway.trustedProxies, or the client counts as remote",
                    ),
            ));
        }
        if address.ip.is_none() {
            // Such a proxy makes all its clients one; such a program is taken for one of them.
            out.push(Output::Log(
                Record::new(Level::Warn, "peer.proxy-silent")
                    .conn(conn)
                    .field("peer", slot.peer.remote.ip())
                    .field(
                        "hint",
                        "it comes from a trusted proxy's address, and no client is named: have the proxy send \
                         X-Forwarded-For, and use an address that other programs do not",
                    ),
            ));
        }
        let handshake = Handshake { address, request, deciding: false, client_id: None };
        self.peers.set_phase(conn, Phase::Handshake(Box::new(handshake)));
        self.stats.upgraded += 1;
        self.order(conn, Order::Upgrade, out);
    }

    fn http(&mut self, now: Now, conn: ConnId, request: &HttpRequest, out: &mut Vec<Output>) {
        let Some(slot) = self.peers.get(conn) else { return };
        if matches!(slot.phase, Phase::Ending) {
            return;
        }
        let client = ClientAddress::resolve(slot.peer.remote.ip(), request, &self.config);
        let Ok(address) = canvas::Address::of(request) else {
            return self.answer_http(conn, canvas::Malformed::response(), out);
        };
        if self.canvas_request(now, conn, request, &client, address, out) {
            return;
        }
        if self.metrics_request(now, conn, request, &client, address.path, out) {
            return;
        }
        if !web::is_probe(address.path) && self.control_ui_request(now, conn, request, &client, address, out)
        {
            return;
        }
        let facts = web::ProbeFacts {
            draining: self.stopping || self.suspension.is_held(),
            store_loaded: self.devices.is_loaded(),
            uptime_ms: uptime_ms(now),
            version: &self.config.about.version,
            event_loop: self.health.event_loop(),
        };
        let config = &self.config;
        // Only the details are for those who may know: the probes themselves answer everybody.
        let limiters = &mut self.limiters;
        let bearer = || {
            if client.local {
                return admit::Bearer::Proved;
            }
            admit::http_bearer(config, limiters, now.mono, &client, request)
        };
        let response = web::respond(&request.method, address.path, &facts, bearer);
        self.answer_http(conn, response, out);
    }

    fn drained(&mut self, now: Now, conn: ConnId, bytes: usize, out: &mut Vec<Output>) {
        let Some(slot) = self.peers.get_mut(conn) else { return };
        let bytes = bytes.min(slot.queued);
        slot.queued -= bytes;
        self.budget.give(bytes);
        if slot.paused && slot.queued <= self.config.limits.queued_bytes_low {
            slot.paused = false;
            out.push(Output::To(conn, Order::Read(true)));
        }
        self.setup_delivered(now, conn, bytes, out);
        self.feed(now, conn, out);
    }

    fn ending(&mut self, conn: ConnId, why: End, out: &mut Vec<Output>) {
        let Some(slot) = self.peers.get(conn) else { return };
        let (level, phase) = match (&slot.phase, why) {
            // Whoever wonders why a phone does not connect looks here.
            (Phase::Headless, End::TlsFault(tls::Fault::Refused | tls::Fault::Incompatible)) => {
                (Level::Info, "tls")
            }
            (Phase::Headless | Phase::Http, _) => (Level::Debug, "http"),
            (Phase::Serving(_), _) => (Level::Debug, "file"),
            (Phase::Watching(_), _) => (Level::Debug, "canvas"),
            (Phase::Handshake(_), End::PeerClosed) => (Level::Info, "handshake"),
            (Phase::Handshake(_), _) => (Level::Warn, "handshake"),
            (Phase::Open(_), End::PeerClosed) => (Level::Info, "open"),
            (Phase::Open(_), _) => (Level::Warn, "open"),
            (Phase::Ending, _) => (Level::Debug, "ending"),
        };
        let mut record =
            Record::new(level, "peer.ending").conn(conn).field("why", why.as_str()).field("in", phase);
        self.stats.ended(why);
        if let End::HttpFault(code) | End::WebSocketFault(code) = why {
            record = record.field("code", code);
        }
        if let End::TlsFault(fault) = why {
            record = record.field("fault", fault.as_str());
        }
        out.push(Output::Log(record));
        self.end_session(conn);
        self.peers.set_phase(conn, Phase::Ending);
        self.cut_unadmitted(out);
    }

    /// R7: who was refused and stays holds a socket like any other, so only so many may. The rest is cut, the oldest
    /// first; a stop has a bound of its own.
    fn cut_unadmitted(&mut self, out: &mut Vec<Output>) {
        while !self.stopping
            && let Some(conn) = self.peers.pop_unadmitted(&self.config)
        {
            out.push(Output::Log(
                Record::new(Level::Debug, "peer.cut").conn(conn).field("why", "too many ending sockets"),
            ));
            self.order(conn, Order::Abort, out);
            self.stats.cut += 1;
        }
    }

    fn closed(&mut self, conn: ConnId, out: &mut Vec<Output>) {
        self.end_session(conn);
        let Some(slot) = self.peers.remove(conn) else { return };
        self.budget.give(slot.queued);
        out.push(Output::Log(
            Record::new(Level::Debug, "peer.closed").conn(conn).field("peer", slot.peer.remote.ip()),
        ));
        self.accept_again(out);
        self.finish_stop(out);
    }

    /// Lets the driver accept again, where there is room by now.
    fn accept_again(&mut self, out: &mut Vec<Output>) {
        if !self.accepting && !self.stopping && self.peers.len() < self.config.limits.sockets_max {
            self.accepting = true;
            out.push(Output::Accept(true));
        }
    }

    /// Takes a socket out of everything that only admitted peers are in. Whom to tell is for [`Self::flush`].
    fn end_session(&mut self, conn: ConnId) {
        let Some(session) = self.peers.session_mut(conn) else { return };
        self.left.extend(session.presence_key.take());
        self.setups.undelivered.extend(session.delivery.take().map(|delivery| delivery.redeemed));
        self.approvals_left(conn);
        self.surfaces.left(conn);
        self.invokes_left(conn);
        self.peers.set_phase(conn, Phase::Ending);
    }

    /// Orders a close and ends the session at once: nothing more is delivered, nothing more is accepted.
    fn close(&mut self, conn: ConnId, close: CloseFrame, out: &mut Vec<Output>) {
        if self.peers.get(conn).is_none_or(|slot| matches!(slot.phase, Phase::Ending)) {
            return;
        }
        self.end_session(conn);
        self.peers.set_phase(conn, Phase::Ending);
        self.order(conn, Order::Close(close), out);
        self.cut_unadmitted(out);
    }

    // ---- queues ----

    /// Gives a connection an order, counting what it queues.
    fn order(&mut self, conn: ConnId, order: Order, out: &mut Vec<Output>) {
        let Some(slot) = self.peers.get_mut(conn) else { return };
        let cost = order.cost();
        if cost > 0 {
            if !self.budget.take(cost) {
                // There is no memory left for any peer: this answer is the one that does not fit.
                out.push(Output::Log(
                    Record::new(Level::Error, "budget.exhausted").conn(conn).field("bytes", cost),
                ));
                return self.close(conn, CloseFrame::new(1013, "gateway out of memory budget"), out);
            }
            slot.queued += cost;
        }
        out.push(Output::To(conn, order));
        if !slot.paused && slot.queued > self.config.limits.queued_bytes_high {
            slot.paused = true;
            out.push(Output::To(conn, Order::Read(false)));
        }
    }

    fn respond(&mut self, conn: ConnId, id: Box<str>, reply: Reply, out: &mut Vec<Output>) {
        for (conn, id) in self.replies.finish(conn, &id, &reply, &self.config.limits) {
            self.answer(conn, Order::Respond { id, reply: reply.clone() }, out);
        }
        self.answer(conn, Order::Respond { id, reply }, out);
    }

    /// A socket that is ending is told nothing more.
    fn answer(&mut self, conn: ConnId, order: Order, out: &mut Vec<Output>) {
        if self.peers.get(conn).is_some_and(|slot| !matches!(slot.phase, Phase::Ending)) {
            self.order(conn, order, out);
        }
    }

    /// Answers a request with an error, in the peer's dialect.
    fn fail(&mut self, conn: ConnId, id: Box<str>, error: &RequestError, out: &mut Vec<Output>) {
        // A socket that is gone still has its answer remembered, for those who sent the same key.
        let dialect = self.peers.session(conn).map_or(Dialect::V4, |session| session.dialect);
        let shape = dialect::request_error(dialect, error);
        self.stats.failed(error.kind(), self.config.limits.counted_reasons_max);
        self.respond(conn, id, Reply::Err(Box::new(shape)), out);
    }

    /// Sends an event to everyone who may see it. Each payload was encoded once, for all peers of a dialect.
    fn broadcast(&mut self, event: &'static Event, payload: [Option<Bytes>; 2], out: &mut Vec<Output>) {
        let state_version = event
            .versioned
            .then_some(StateVersion { presence: self.presence.version, health: self.health.version });
        let conns: Vec<ConnId> = self.peers.open().collect();
        for conn in conns {
            self.send_event(conn, event, &payload, state_version, out);
        }
    }

    /// Sends the health snapshot to peers of these dialects: with paths of this machine to readers only.
    fn tell_health(&mut self, dirty: [bool; 2], out: &mut Vec<Output>) {
        let payloads = [false, true].map(|paths| {
            [Dialect::V3, Dialect::V4]
                .map(|dialect| dirty[dialect.index()].then(|| self.health.encoded(dialect, paths)))
        });
        let state_version = StateVersion { presence: self.presence.version, health: self.health.version };
        let conns: Vec<ConnId> = self.peers.open().collect();
        for conn in conns {
            let Some(session) = self.peers.session(conn) else { continue };
            let payload = &payloads[usize::from(Health::shows_paths(&session.scopes))];
            self.send_event(conn, &events::HEALTH, payload, Some(state_version), out);
        }
    }

    /// Sends an event to one peer, if it may see it.
    fn send_event(
        &mut self,
        conn: ConnId,
        event: &'static Event,
        payload: &[Option<Bytes>; 2],
        state_version: Option<StateVersion>,
        out: &mut Vec<Output>,
    ) {
        let Some(session) = self.peers.session(conn) else { return };
        let Some(payload) = payload[session.dialect.index()].clone() else { return };
        let entitled =
            event.scope.is_none_or(|scope| session.role == Role::Operator && session.scopes.satisfies(scope));
        if !entitled {
            return;
        }
        let Some(slot) = self.peers.get_mut(conn) else { return };
        slot.seq += 1;
        let frame = EventFrame { name: event.name, payload, seq: Some(slot.seq), state_version };
        let order = Order::Event(frame);
        let cost = order.cost();
        let slow = slot.queued + cost > self.config.limits.queued_bytes_max;
        if event.drop_if_slow && (slow || !self.budget.has_spare(cost)) {
            self.stats.missed_events += 1;
            return; // one slow reader must not cost the others anything, and a few must not cost them all
        }
        if slow {
            out.push(Output::Log(
                Record::new(Level::Warn, "peer.slow").conn(conn).field("event", event.name),
            ));
            self.stats.cut += 1;
            return self.close(conn, CloseFrame::new(1008, "slow consumer"), out);
        }
        self.stats.counters.events_sent += 1;
        self.order(conn, order, out);
    }

    /// Sends what waits, when it has waited long enough.
    fn flush(&mut self, now: Now, out: &mut Vec<Output>) {
        self.tell_undelivered(now, out);
        self.cut_orphans(out);
        self.tell_invokes_left(out);
        for key in core::mem::take(&mut self.left) {
            self.presence.disconnected(now, &key);
            self.presence_flush.dirty = [true, true];
        }
        let due = |flush: &Flush, wait_ms: u64| flush.last.map_or(now.mono, |last| last.plus_millis(wait_ms));
        let wait_ms = self.config.limits.coalesce_ms;
        if self.health_flush.dirty != [false, false] {
            let at = due(&self.health_flush, wait_ms);
            if at <= now.mono {
                let dirty = core::mem::take(&mut self.health_flush.dirty);
                self.health_flush.last = Some(now.mono);
                self.timers.clear(Timer::HealthFlush);
                self.health.refresh(now);
                self.tell_health(dirty, out);
            } else {
                self.timers.set_once(Timer::HealthFlush, at);
            }
        }
        if self.presence_flush.dirty != [false, false] {
            let at = due(&self.presence_flush, wait_ms);
            if at <= now.mono {
                let dirty = core::mem::take(&mut self.presence_flush.dirty);
                self.presence_flush.last = Some(now.mono);
                self.timers.clear(Timer::PresenceFlush);
                let payload = [Dialect::V3, Dialect::V4].map(|dialect| {
                    dirty[dialect.index()].then(|| presence_payload(&mut self.presence, now, dialect))
                });
                self.broadcast(&events::PRESENCE, payload, out);
            } else {
                self.timers.set_once(Timer::PresenceFlush, at);
            }
        }
        self.tell_invokes_left(out);
        if !self.left.is_empty() {
            // Whoever was closed by these very broadcasts is told of with the next ones.
            self.timers.set_once(Timer::PresenceFlush, now.mono.plus_millis(wait_ms));
        }
    }

    // ---- requests ----

    /// Role, then scope, then the budget of writes, then params, then the handler (spec: v4 section 8).
    fn dispatch(&mut self, now: Now, conn: ConnId, request: Request, out: &mut Vec<Output>) {
        let Some(session) = self.peers.session(conn) else { return };
        let Request { id, method, access, params, idempotency_key } = request;
        if self.log_level >= Level::Debug {
            let record = Record::new(Level::Debug, "request");
            out.push(Output::Log(record.conn(conn).field("method", method.name())));
        }
        self.stats.requests += 1;
        self.stats.counters.begin_request(&method);
        let outcome = access
            .check(session.role, &session.scopes)
            .and_then(|()| self.suspension.admits(&method))
            .and_then(|()| self.write_budget(now, conn, &method))
            .and_then(|()| answer_of(&method, params));
        let wrong_role = matches!(outcome, Err(RequestError::UnauthorizedRole(_)));
        let mut wrong_in_a_row = 0;
        if let Some(slot) = self.peers.get_mut(conn) {
            slot.wrong_role = if wrong_role { slot.wrong_role + 1 } else { 0 };
            wrong_in_a_row = slot.wrong_role;
        }
        match outcome {
            Ok((answer, params)) => match self.seen_before(now, conn, &id, &method, idempotency_key) {
                Seen::First => self.run(answer, Call { now, conn, id, params }, out),
                Seen::Joined => {}
                Seen::Replay(reply) => self.respond(conn, id, reply, out),
            },
            Err(error) => self.fail(conn, id, &error, out),
        }
        if wrong_in_a_row > self.config.limits.unauthorized_in_a_row_max {
            self.close(conn, CloseFrame::new(1008, "repeated unauthorized calls"), out);
        }
    }

    fn run(&mut self, answer: Answer, call: Call, out: &mut Vec<Output>) {
        match answer {
            Answer::By(handler) => handler(self, call, out),
            Answer::Text(text) => reads::text(self, call, text, out),
        }
    }

    /// Takes a control-plane write out of its window.
    fn write_budget(&mut self, now: Now, conn: ConnId, method: &MethodRef) -> Result<(), RequestError> {
        let name = match method {
            MethodRef::Known(row) if row.control_write => row.name,
            MethodRef::Unavailable(missing) if missing.control_write => missing.name,
            MethodRef::Known(_) | MethodRef::Unavailable(_) | MethodRef::Unknown(_) => return Ok(()),
        };
        let Some(session) = self.peers.session(conn) else { return Ok(()) };
        let exceptions = session.dialect.exceptions();
        let limits = &self.config.limits;
        let (method, max) = if exceptions.shared_writes.contains(&name) {
            ("", exceptions.shared_writes_max)
        } else {
            (name, limits.control_writes_max)
        };
        let (device_id, ip) = (session.device_id.clone(), session.ip);
        let conn = (device_id.is_none() && ip.is_none()).then_some(conn);
        let key = WriteKey { method, device_id, ip, conn };
        let window_ms = limits.control_writes_window_ms;
        let allowance = Allowance { max, window_ms, windows_max: limits.control_writes_windows_max };
        let taken = self.writes.take(now.mono, key, allowance);
        taken.map_err(|retry_after_ms| RequestError::WriteBudget {
            method: name,
            retry_after_ms,
            max,
            window_ms,
        })
    }

    /// Whether this request repeats an earlier one. Validation errors come before this and are not remembered.
    fn seen_before(
        &mut self,
        now: Now,
        conn: ConnId,
        id: &str,
        method: &MethodRef,
        key: Option<Box<str>>,
    ) -> Seen {
        let (MethodRef::Known(row), Some(key)) = (method, key) else { return Seen::First };
        let device = self.peers.session(conn).and_then(|session| session.device_id.clone());
        let owner = device.unwrap_or_else(|| conn.to_string());
        let key = ReplyKey { owner, method: row.name, key };
        self.replies.begin(now.mono, key, conn, id, &self.config.limits)
    }

    // ---- host ----

    fn ask_host(&mut self, now: Now, request: HostRequest, purpose: Purpose, out: &mut Vec<Output>) {
        self.ask_host_for(now, self.config.limits.host_timeout_ms, request, purpose, out);
    }

    /// The same with a bound of its own.
    fn ask_host_for(
        &mut self,
        now: Now,
        timeout_ms: u64,
        request: HostRequest,
        purpose: Purpose,
        out: &mut Vec<Output>,
    ) {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.tickets.insert(ticket, purpose);
        self.timers.set(Timer::Host(ticket), now.mono.plus_millis(timeout_ms));
        out.push(Output::Host(ticket, request));
    }

    /// Whether so much waits for the host that no peer may add to it.
    fn answered(&mut self, now: Now, ticket: Ticket, answer: HostAnswer, out: &mut Vec<Output>) {
        // A late or repeated answer finds no ticket.
        let Some(purpose) = self.tickets.remove(&ticket) else { return };
        self.timers.clear(Timer::Host(ticket));
        self.stats.counters.disk_writes += u64::from(answer.has_written());
        self.settle(now, purpose, Some(answer), out);
        self.settle_suspension(out);
        self.finish_stop(out);
    }

    /// Ends a host request: with its answer, or without one when the host was silent for too long.
    fn settle(&mut self, now: Now, purpose: Purpose, answer: Option<HostAnswer>, out: &mut Vec<Output>) {
        self.stats.counters.work_on(purpose.family());
        match purpose {
            Purpose::Devices => match answer {
                Some(answer) => self.store_answered(now, answer, out),
                None => self.store_silent(now, out),
            },
            Purpose::Load => {
                if let Some(HostAnswer::Load(Ok(load))) = answer {
                    self.health.loaded(now, load);
                }
                self.health_flush.dirty = [true, true];
            }
            Purpose::Config { conn, id } => self.config_answered(now, (conn, id), answer, out),
            Purpose::ConfigCheck => self.config_checked(now, answer, out),
            Purpose::ConfigRestart => self.config_restart_prepared(now, answer, out),
            Purpose::Memory => self.memory_looked(answer, out),
            Purpose::WizardStart { conn, id } => self.wizard_started(now, (conn, id), answer, out),
            Purpose::WizardWrite { conn, id } => self.wizard_written(now, (conn, id), answer, out),
            Purpose::ExecApprovals { conn, id } => self.exec_approvals_stored((conn, id), answer, out),
            Purpose::LogsTail { conn, id } => self.log_read(conn, id, answer, out),
            Purpose::File { conn } => self.file_found(now, conn, answer, out),
            Purpose::FilePiece { conn } => self.piece_read(now, conn, answer, out),
            Purpose::FilesLook => self.files_looked_at(now, answer, out),
            Purpose::WhoIs { ip } => self.whois_answered(now, ip, answer, out),
            Purpose::VoiceWake => self.voicewake_answered(now, answer, out),
            Purpose::Restart { conn, id, reason } => {
                self.restart_prepared(now, (conn, id, &reason), answer, out);
            }
            Purpose::Relay(relayed) => self.relayed(now, relayed, answer, out),
        }
    }

    // ---- time ----

    fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.started {
            self.started = true;
            self.load_store(now, out);
            self.load_voicewake(now, out);
        }
        while let Some((due, timer)) = self.timers.pop(now.mono) {
            self.health.late(now.mono.0 - due.0);
            match timer {
                Timer::Beat => {
                    out.push(Output::Beat);
                    if let Some(every_ms) = self.beat_every_ms {
                        self.timers.set(Timer::Beat, now.mono.plus_millis(every_ms));
                    }
                }
                Timer::Tick => {
                    self.timers.set(Timer::Tick, now.mono.plus_millis(self.config.limits.tick_interval_ms));
                    let payload = Bytes::from(json!({"ts": now.wall.0}).to_string());
                    self.broadcast(&events::TICK, [Some(payload.clone()), Some(payload)], out);
                    // Nobody may ask for anything for hours; a device that somebody else removed must not stay.
                    self.load_store(now, out);
                }
                Timer::Health => {
                    self.timers
                        .set(Timer::Health, now.mono.plus_millis(self.config.limits.health_interval_ms));
                    self.ask_host(now, HostRequest::Load, Purpose::Load, out);
                }
                Timer::Config => self.check_config(now, out),
                // Both are sent by `flush`, at the end of every input.
                Timer::PresenceFlush | Timer::HealthFlush => {}
                Timer::Host(ticket) => {
                    if let Some(purpose) = self.tickets.remove(&ticket) {
                        out.push(Output::Log(Record::new(Level::Error, "host.silent")));
                        self.settle(now, purpose, None, out);
                        self.settle_suspension(out);
                        self.finish_stop(out);
                    }
                }
                Timer::Approvals => self.approvals_due(now, out),
                Timer::Invokes => self.invokes_due(now, out),
                Timer::Upgrades => self.upgrades_due(now, out),
                Timer::Suspension => self.suspension_due(now, out),
                Timer::Reload => self.look_at_files(now, out),
                Timer::Restart => self.stop(now, Stopping::ToRestart, out),
                Timer::Drain => {
                    let left: Vec<ConnId> = self.peers.all().map(|(conn, _)| conn).collect();
                    for conn in left {
                        self.peers.set_phase(conn, Phase::Ending);
                        self.order(conn, Order::Abort, out);
                    }
                    out.push(Output::Stopped);
                }
            }
        }
    }

    fn stop(&mut self, now: Now, why: Stopping, out: &mut Vec<Output>) {
        if self.stopping {
            if why == Stopping::ForGood {
                out.push(Output::Stopped);
            }
            return;
        }
        self.stopping = true;
        self.accepting = false;
        out.push(Output::Accept(false));
        out.push(Output::Log(
            Record::new(Level::Info, "gateway.stopping")
                .field("sockets", self.peers.len())
                .field("restarts", why == Stopping::ToRestart),
        ));
        let payload = [Dialect::V3, Dialect::V4].map(|dialect| Some(dialect::shutdown(dialect, why)));
        self.broadcast(&events::SHUTDOWN, payload, out);
        let all: Vec<(ConnId, bool)> =
            self.peers.all().map(|(conn, slot)| (conn, matches!(slot.phase, Phase::Headless))).collect();
        for (conn, headless) in all {
            if headless {
                self.peers.set_phase(conn, Phase::Ending);
                self.order(conn, Order::Abort, out);
            } else {
                self.close(conn, CloseFrame::new(1012, "service restart"), out);
            }
        }
        self.timers.set(Timer::Drain, now.mono.plus_millis(self.config.limits.drain_timeout_ms));
        self.finish_stop(out);
    }

    /// The drain is over when nobody is left and nothing promised is still on its way to the disk.
    fn finish_stop(&mut self, out: &mut Vec<Output>) {
        let promised = self.devices.waiting()
            + self.voice.waiting()
            + self.exec_approvals_waiting()
            + usize::from(self.is_config_busy());
        if self.stopping && self.peers.len() == 0 && promised == 0 {
            self.timers.clear(Timer::Drain);
            out.push(Output::Stopped);
        }
    }
}

/// What runs a call that may be made, or why nothing does.
fn answer_of(
    method: &MethodRef,
    params: Result<Params, ParamsFault>,
) -> Result<(Answer, Params), RequestError> {
    let row = match method {
        MethodRef::Known(row) => row,
        MethodRef::Unavailable(missing) => return Err(RequestError::NotHere(missing.name)),
        MethodRef::Unknown(name) => return Err(RequestError::UnknownMethod(name.to_string())),
    };
    match params {
        Ok(params) => Ok((row.answer, params)),
        Err(ParamsFault::Message(message)) => Err(RequestError::Invalid(message.into())),
        Err(ParamsFault::Coded { code, message }) => {
            Err(RequestError::Coded { code, message: message.to_owned() })
        }
        Err(ParamsFault::Invalid(errors)) => {
            Err(RequestError::InvalidParams { method: row.name.to_owned(), errors: errors.into() })
        }
    }
}

/// Since the process started: the driver's monotonic clock began with it.
fn uptime_ms(now: Now) -> u64 {
    now.mono.0 / 1_000
}

fn presence_payload(presence: &mut Presence, now: Now, dialect: Dialect) -> Bytes {
    let list = presence.list(now, dialect);
    let mut out = Vec::with_capacity(list.len() + 16);
    out.extend_from_slice(b"{\"presence\":");
    out.extend_from_slice(&list);
    out.push(b'}');
    Bytes::from(out)
}
