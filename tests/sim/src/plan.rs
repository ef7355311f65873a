//! What will happen in a run, decided before it begins: a list of acts, each at its time. A shorter list is a run of
//! its own, since no act draws from another's randomness.

pub mod day;
mod random;

use clawgate_proto::Wall;
use clawgate_proto::config::{AuthMode, RateLimit};
use clawgate_proto::limits::Limits;
use clawgate_proto::seed::{Random, Seed};

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Feeds everything random.
    pub seed: u64,
    /// The clock on the wall when the run starts.
    pub start: Wall,
    /// What the gateway is told.
    pub setup: Setup,
    /// What happens, in order of time.
    pub acts: Vec<Timed>,
    /// How it ends.
    pub ending: Ending,
    /// How many devices there are.
    pub devices: u8,
    /// By how much a driver may be late: for a socket, and many times that for a deadline of the gateway.
    pub jitter_us: u64,
    /// What is secretly done wrong, to see whether anybody notices.
    pub sabotage: Option<Sabotage>,
}

/// An act and when.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Since the start.
    pub at_us: u64,
    /// What.
    pub act: Act,
}

/// How a run ends, once faults have stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everybody leaves; then the gateway is stopped.
    AllLeave,
    /// The gateway is stopped while everybody is there.
    Stop,
    /// So many milliseconds after the last act nobody looks any more.
    Watch(u64),
}

/// A fault that no gateway could be excused for: the model must see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A piece of what the gateway sends is lost.
    LosePiece,
    /// A write that is acknowledged does not last.
    LoseWrite,
}

/// The gateway's settings.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its bounds.
    pub limits: Limits,
    /// Its auth mode.
    pub mode: AuthMode,
    /// Its limiter.
    pub rate_limit: Option<RateLimit>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Act {
    /// A peer connects.
    Open(Opening),
    /// A peer calls a method.
    Call(usize, Call),
    /// A peer sends what no client would.
    Raw(usize, Raw),
    /// A peer closes as it should.
    Close(usize),
    /// A peer's TCP breaks, whatever was on its way.
    Reset(usize),
    /// A peer ends its sending half and goes on reading.
    HalfClose(usize),
    /// A peer stops reading.
    Stall(usize),
    /// It reads again.
    Resume(usize),
    /// A peer loses its power: nothing more comes or goes, and nobody is told.
    Mute(usize),
    /// The store misbehaves.
    Disk(Disk),
    /// The host answers so many of the next questions like this.
    Host(HostManner, u8),
    /// Somebody else edits the store.
    Edit(Edit),
    /// Somebody sets the clock on the wall, by milliseconds.
    Wall(i64),
    /// The process is asked to stop.
    Stop,
    /// Faults stop, and everybody is cut whose number is not below this one.
    Clear(usize),
    /// Somebody counts what the gateway holds.
    Look,
}

/// A peer that connects.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Its number, to be named by later acts.
    pub peer: usize,
    /// What it is.
    pub kind: Kind,
    /// Its address: 0 and 1 are loopback, others are not.
    pub from: u8,
    /// Largest piece in which its bytes travel, either way.
    pub piece_bytes_max: u64,
    /// Longest time a piece takes, either way.
    pub delay_us_max: u64,
    /// What the network holds for it while it does not read.
    pub window_bytes: usize,
}

/// What a peer is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A client of the protocol.
    Client(Box<Spec>),
    /// Sends nothing.
    Silent,
    /// Sends these bytes and waits.
    Bytes(Vec<u8>),
    /// Becomes a WebSocket and says nothing more.
    Upgraded,
}

/// A client.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What it says it is.
    pub who: Who,
    /// Lowest and highest protocol.
    pub protocol: (u64, u64),
    /// Asked scopes.
    pub scopes: &'static [&'static str],
    /// Which device it is.
    pub device: Option<u8>,
    /// What it shows.
    pub credential: Credential,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
    /// Requests sent right behind `connect`.
    pub eager: u8,
    /// Its `Origin`.
    pub origin: Option<&'static str>,
    /// Its platform.
    pub platform: &'static str,
}

/// What a client says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The command line.
    Cli,
    /// A service.
    Backend,
    /// Some tool.
    Test,
    /// A node host.
    Node,
    /// The control page.
    Page,
    /// A phone.
    Phone,
}

/// What a client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// The shared secret.
    Shared,
    /// The device token it was given, or the shared secret when it has none.
    Device,
    /// A wrong secret.
    Wrong,
}

/// What is wrong with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It signs something else.
    Signature,
    /// It signs another nonce.
    Nonce,
    /// It signed long ago.
    Stale,
    /// Its device id is another one.
    DeviceId,
    /// It speaks no protocol of ours.
    Protocol,
    /// Its first request is no `connect`.
    NotConnect,
    /// Its first message is no JSON.
    NotJson,
    /// `connect` has a member too many.
    ExtraMember,
    /// Its first message is too long.
    TooLong,
}

/// A method call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `health`.
    Health,
    /// `status`.
    Status,
    /// `system-presence`.
    Presence,
    /// `system-event`.
    SystemEvent,
    /// `last-heartbeat`.
    LastHeartbeat,
    /// `set-heartbeats`.
    SetHeartbeats,
    /// `gateway.identity.get`.
    Identity,
    /// `system.info`.
    SystemInfo,
    /// `device.pair.list`.
    PairList,
    /// `device.pair.approve`, of one of the pending requests.
    Approve(u8),
    /// `device.pair.reject`, of one of the pending requests.
    Reject(u8),
    /// `device.pair.remove`.
    Remove(u8),
    /// `device.token.rotate`, to `operator.read` alone or to what it was.
    Rotate(u8, &'static str, bool),
    /// `device.token.revoke`.
    Revoke(u8, &'static str),
    /// `node.pair.approve`, of one of the requests of nodes.
    ApproveNode(u8),
    /// `node.pair.remove`.
    RemoveNode(u8),
    /// `device.pair.setupCode`, which nobody uses.
    SetupCode,
    /// `node.invoke`, with so much time.
    Invoke(u8, u64),
    /// A method that does not exist.
    Unknown,
    /// `connect` once more.
    ConnectAgain,
    /// `device.pair.approve` with params that do not fit.
    BadParams,
}

/// What no client would send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw {
    /// A frame without a mask.
    Unmasked,
    /// A frame of a reserved kind.
    Reserved,
    /// Text that is no UTF-8.
    BadUtf8,
    /// The head of a frame that is too long.
    Oversize,
    /// The beginning of a frame, and nothing after it.
    HalfFrame,
    /// A message that is no JSON.
    NotJson,
    /// A message that is no request.
    NotRequest,
    /// A long fragmented message that never ends.
    Fragments,
    /// So many pings.
    Pings(u8),
    /// So many requests at once.
    Flood(u8),
}

/// How the store misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The next write fails.
    FailWrite,
    /// The next write finds that somebody was faster.
    Conflict,
    /// The next write puts one of two documents in place, then fails.
    FailHalfway,
    /// Every write fails, or none.
    ReadOnly(bool),
    /// Reading fails, or does not.
    Unreadable(bool),
}

/// How the host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostManner {
    /// Soon, once.
    Prompt,
    /// After a while, but in time.
    Slow,
    /// Too late.
    Late,
    /// Twice.
    Twice,
    /// Not at all, though it does what it is asked.
    Mute,
    /// Not at all, and it does nothing.
    Dead,
}

/// An edit by somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The same content, written again.
    Touch,
    /// A device is removed.
    Remove(u8),
    /// All tokens of a device are revoked.
    Revoke(u8),
    /// A device's approval shrinks to `operator.read`.
    Narrow(u8),
    /// All pending requests are dropped.
    DropPending,
    /// A file is broken.
    Corrupt,
    /// It is put back as it was, if it is broken.
    Repair,
}

/// A stream of random choices for one purpose.
#[derive(Debug)]
pub struct Dice(Random);

impl Dice {
    /// The stream of this purpose. Streams of different purposes have nothing to do with each other.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let name = purpose.as_bytes();
        let len = name.len().min(24);
        bytes[8..8 + len].copy_from_slice(&name[..len]);
        Self(Random::new(Seed::new(bytes)))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// True in so many cases of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }

    /// The stream itself.
    pub fn random(&mut self) -> &mut Random {
        &mut self.0
    }
}

/// The defaults with short times, so that a run sees all of them pass.
pub fn roomy() -> Limits {
    Limits {
        head_timeout_ms: 2_000,
        body_timeout_ms: 2_000,
        http_idle_timeout_ms: 1_500,
        handshake_timeout_ms: 3_000,
        message_bytes_max: 128 * 1024,
        ping_interval_ms: 4_000,
        pong_timeout_ms: 3_000,
        close_timeout_ms: 500,
        tick_interval_ms: 2_000,
        health_interval_ms: 5_000,
        presence_ttl_ms: 5_000,
        pairing_ttl_ms: 20_000,
        host_timeout_ms: 1_000,
        drain_timeout_ms: 2_000,
        ..Limits::default()
    }
}

/// Limits that a run of a dozen peers reaches.
pub fn tight() -> Limits {
    Limits {
        head_bytes_max: 2 * 1024,
        target_bytes_max: 256,
        header_count_max: 16,
        body_bytes_max: 1024,
        preauth_message_bytes_max: 4 * 1024,
        message_bytes_max: 16 * 1024,
        handshake_frames_max: 2,
        queued_bytes_max: 24 * 1024,
        queued_bytes_high: 12 * 1024,
        queued_bytes_low: 4 * 1024,
        process_bytes_max: 256 * 1024,
        requests_in_flight_max: 3,
        preauth_sockets_per_address_max: 3,
        preauth_sockets_max: 5,
        headless_sockets_per_address_max: 3,
        headless_sockets_max: 5,
        ending_sockets_max: 3,
        sockets_max: 12,
        presence_entries_max: 4,
        pairing_pending_max: 2,
        pairing_scopes_max: 4,
        devices_paired_max: 3,
        store_queue_max: 5,
        invokes_max: 4,
        invokes_per_node_max: 2,
        invokes_per_caller_max: 2,
        node_message_bytes_max: 1024,
        node_queued_bytes_max: 8 * 1024,
        unauthorized_in_a_row_max: 3,
        replies_entries_max: 4,
        drained_report_bytes: 1024,
        ..roomy()
    }
}

/// The same, with queues that a peer fills as soon as it stops reading.
pub fn narrow() -> Limits {
    Limits {
        queued_bytes_max: 5 * 1024,
        queued_bytes_high: 3 * 1024,
        queued_bytes_low: 1024,
        health_interval_ms: 300,
        message_bytes_max: 4 * 1024,
        ..tight()
    }
}

/// Devices that plans know.
pub const DEVICES: u8 = 4;
/// The gateway's own origin.
pub const OWN_ORIGIN: &str = "http://127.0.0.1:18789";
