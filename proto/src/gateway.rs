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
mod requests;
mod rivals;
mod sending;
pub(crate) mod setup;
mod sockets;
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
use crate::dialect::{self, Dialect};
use crate::frame::CloseFrame;
use crate::host::HostRequest;
use crate::host::config::ConfigTrouble;
use crate::id::{ConnId, Ticket};
use crate::input::Input;
use crate::log::{Level, Record};
use crate::methods::Params;
use crate::output::{Order, Output};
use crate::pending::Pending;
use crate::seed::{Random, Seed};
use crate::time::{Mono, Now};
use approvals::Approvals;
use bytes::Bytes;
pub use census::Census;
use core::net::{IpAddr, SocketAddr};
use devices::DeviceStore;
use diagnostics::Stats;
use health::Health;
use invoke::Invokes;
use limiter::Limiters;
use pair::Key;
use peers::{Peers, Phase};
use presence::Presence;
use relay::Relayed;
use replies::Replies;
use rivals::Rivals;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use suspend::Suspension;
use timers::{Timer, Timers};
use voice::VoiceWake;
use vouched::Whois;
use writes::Writes;

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

/// Since the process started: the driver's monotonic clock began with it.
fn uptime_ms(now: Now) -> u64 {
    now.mono.0 / 1_000
}
