//! The reference model: it sees every fact and every order, keeps books of its own by the rules of the
//! specification, and says what is wrong as soon as something is.
//!
//! It knows nothing of how the gateway works inside. What an order must never do is checked when it is given; what
//! must have happened by then, when the gateway has finished with a fact.

mod admission;
mod invoke;
mod store;
mod watch;
mod wave;

use crate::transcript::Transcript;
use clawgate_proto::config::Config;
use clawgate_proto::connect::ConnectRequest;
use clawgate_proto::dialect::Dialect;
use clawgate_proto::id::{ConnId, Ticket};
use clawgate_proto::methods::Params;
use clawgate_proto::output::Reply;
use clawgate_proto::request::{MethodRef, Request};
use clawgate_proto::scope::Role;
use clawgate_proto::{Gateway, Mono, Now, Order, Peer};
use clawgate_support::MemoryHost;
use invoke::{InvokeBook, Wanted};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use store::StoreBook;
use wave::{Dues, Wave};

/// The books.
#[derive(Debug)]
pub(crate) struct Model {
    /// What happened so far.
    pub(crate) transcript: Transcript,
    config: Config,
    secret: String,
    conns: BTreeMap<ConnId, Conn>,
    store: StoreBook,
    invokes: InvokeBook,
    wave: Option<Wave>,
    dues: Dues,
    /// How late the simulated driver may tick.
    lateness_us: u64,
    /// Tokens that were handed out: no log line may show one.
    tokens: BTreeSet<String>,
    /// Sockets that must have been told to close when the gateway is done with this fact.
    must_close: Vec<ConnId>,
    /// What is taken of the process-wide budget, as far as can be seen from here: as it was when the gateway last was
    /// done, and what was queued since.
    budget_bytes: usize,
    input: &'static str,
    stopping: bool,
    stopped: bool,
    violation: Option<String>,
    reached: BTreeMap<String, u64>,
}

/// One accepted socket.
#[derive(Debug)]
struct Conn {
    peer: Peer,
    phase: Phase,
    /// Why this peer must never be let in.
    ban: Option<&'static str>,
    upgrade: Upgrade,
    asked: Option<Asked>,
    queued: usize,
    paused: bool,
    seq: u64,
    /// Events that may have been left out because the peer is slow.
    gaps_max: u64,
    /// When its queue was last so full that an event may not have fitted.
    slow_at: Option<Mono>,
    /// Requests without an answer.
    open: BTreeMap<String, Op>,
    /// What the peer must hear, in this order.
    said: VecDeque<Said>,
}

#[derive(Debug)]
enum Phase {
    Headless,
    Http,
    Handshake,
    Open(Session),
    Ending,
}

/// What the upgrade request said.
#[derive(Debug, Default)]
struct Upgrade {
    is_local: bool,
    has_origin: bool,
}

/// What a `connect` asked for.
#[derive(Debug)]
struct Asked {
    request: ConnectRequestFacts,
}

#[derive(Debug)]
struct ConnectRequestFacts {
    id: String,
    protocol: (u64, u64),
    role: Option<String>,
    scopes: BTreeSet<String>,
    who: (String, String),
    device: Option<String>,
    is_proved: bool,
    secrets: Vec<String>,
    device_token: Option<String>,
}

/// An admitted peer.
#[derive(Debug)]
struct Session {
    dialect: Dialect,
    role: Role,
    scopes: BTreeSet<String>,
    device: Option<String>,
    is_tracked: bool,
    since: Mono,
}

/// What a request in flight is about.
#[derive(Clone, Debug)]
struct Op {
    method: String,
    is_allowed: bool,
    /// The device it is about, when it changes the store.
    device: Option<String>,
    params: OpParams,
}

#[derive(Clone, Debug)]
enum OpParams {
    None,
    Request(String),
    Device(String),
    DeviceRole(String, String),
    /// A node, to be one no more.
    Node(String),
    /// A request of a node.
    NodeRequest(String),
    /// A command of a node.
    Invoke(Wanted),
}

/// Something a peer must hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// hello-ok.
    Hello,
    /// The answer to a request.
    Response {
        /// Of this id.
        id: String,
        /// Whether it succeeded.
        ok: bool,
    },
    /// An event.
    Event {
        /// Its name.
        name: String,
        /// Its number.
        seq: u64,
    },
    /// A close frame of the gateway.
    Close(u16),
}

impl Model {
    /// The books of a run that begins.
    pub(crate) fn new(
        config: Config,
        secret: &str,
        host: Arc<MemoryHost>,
        lateness_us: u64,
        transcript: Transcript,
    ) -> Self {
        let dues = Dues::new(&config.limits);
        Self {
            transcript,
            config,
            secret: secret.to_owned(),
            conns: BTreeMap::new(),
            store: StoreBook::new(host),
            invokes: InvokeBook::default(),
            wave: None,
            dues,
            lateness_us,
            tokens: BTreeSet::new(),
            must_close: Vec::new(),
            budget_bytes: 0,
            input: "nothing",
            stopping: false,
            stopped: false,
            violation: None,
            reached: BTreeMap::new(),
        }
    }

    /// What is wrong, if anything is.
    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// Says that something is wrong. The first time counts.
    pub(crate) fn accuse(&mut self, now: Now, what: impl Into<String>) {
        if self.violation.is_none() {
            let what =
                format!("at {}, in {}: {}", crate::transcript::show(now.mono), self.input, what.into());
            self.violation = Some(what);
        }
    }

    /// Notes that a run got this far.
    pub(crate) fn reach(&mut self, what: impl Into<String>) {
        *self.reached.entry(what.into()).or_default() += 1;
    }

    /// What was reached, and how often.
    pub(crate) fn reached(&self) -> &BTreeMap<String, u64> {
        &self.reached
    }

    /// The peer behind this socket must never be let in.
    pub(crate) fn ban(&mut self, conn: ConnId, why: &'static str) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.ban = Some(why);
        }
    }

    /// A peer heard something.
    pub(crate) fn heard(&mut self, now: Now, conn: ConnId, heard: &Said) {
        let Some(book) = self.conns.get_mut(&conn) else { return };
        match book.said.front() {
            Some(said) if said == heard => drop(book.said.pop_front()),
            Some(said) => {
                let what = format!("{conn} heard {heard:?} where {said:?} was due");
                self.accuse(now, what);
            }
            None => self.accuse(now, format!("{conn} heard {heard:?}, which nobody ordered")),
        }
    }

    /// What a peer has not heard yet.
    pub(crate) fn unheard(&self, conn: ConnId) -> Vec<Said> {
        self.conns.get(&conn).map(|book| book.said.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether this is an answer that the gateway gave, rather than the connection by itself.
    pub(crate) fn is_due_response(&self, conn: ConnId, id: &str) -> bool {
        let said = |said: &Said| matches!(said, Said::Response { id: have, .. } if have == id);
        self.conns.get(&conn).is_some_and(|book| book.said.front().is_some_and(said))
    }

    /// Admitted sockets whose requests nobody answered.
    pub(crate) fn unanswered(&self) -> Vec<(ConnId, Vec<String>)> {
        let open = |book: &Conn| match book.phase {
            Phase::Open(_) if !book.open.is_empty() => Some(book.open.keys().cloned().collect()),
            Phase::Open(_) | Phase::Headless | Phase::Http | Phase::Handshake | Phase::Ending => None,
        };
        self.conns.iter().filter_map(|(conn, book)| Some((*conn, open(book)?))).collect()
    }

    /// Somebody else changed the store, or may have.
    pub(crate) fn disk_moved(&mut self) {
        self.store.moved();
    }

    /// The host looks at the store for this ticket, now.
    pub(crate) fn host_looks(&mut self, ticket: Ticket) {
        self.store.looked(ticket);
    }

    /// Admitted devices that the store does not know.
    pub(crate) fn strangers(&self) -> Vec<String> {
        let paired = self.store.paired();
        let known = |device: &String| paired.as_ref().is_some_and(|paired| paired.contains_key(device));
        let open = self.conns.values().filter_map(|book| match &book.phase {
            // Services on this machine need no pairing.
            Phase::Open(session) if !book.is_exempt(&self.config, &self.secret) => session.device.clone(),
            Phase::Open(_) | Phase::Headless | Phase::Http | Phase::Handshake | Phase::Ending => None,
        });
        open.filter(|device| !known(device)).collect()
    }

    /// Pending requests that the store holds, by id.
    pub(crate) fn pending(&self) -> Vec<String> {
        self.store.pending().map(|pending| pending.into_keys().collect()).unwrap_or_default()
    }

    /// Requests of nodes that the store holds, by id.
    pub(crate) fn node_requests(&self) -> Vec<String> {
        self.store.node_requests().map(|requests| requests.into_keys().collect()).unwrap_or_default()
    }

    // ---- facts ----

    fn connect(&mut self, now: Now, conn: ConnId, request: &ConnectRequest) {
        let asked = Asked { request: admission::facts(request) };
        let Some(book) = self.conns.get_mut(&conn) else { return };
        if let Some(device) = &asked.request.device {
            self.store.begins(device);
            if book.upgrade.is_local && asked.request.is_proved {
                self.store.may_approve(device);
            }
        }
        if !matches!(book.phase, Phase::Handshake | Phase::Ending) {
            return self.accuse(now, format!("{conn} sends connect when it cannot"));
        }
        book.asked = Some(asked);
    }

    fn request(&mut self, now: Now, conn: ConnId, request: &Request) {
        let Some(book) = self.conns.get_mut(&conn) else { return };
        let session = match &book.phase {
            Phase::Open(session) => session,
            Phase::Ending => return,
            Phase::Headless | Phase::Http | Phase::Handshake => {
                return self.accuse(now, format!("{conn} makes a request before it is admitted"));
            }
        };
        let is_known = matches!(request.method, MethodRef::Known(_));
        let is_allowed = is_known && session.may_call(request.method.name());
        let params = match &request.params {
            Ok(Params::RequestId(id)) if request.method.name().starts_with("node.") => {
                OpParams::NodeRequest(id.clone())
            }
            Ok(Params::RequestId(id)) => OpParams::Request(id.clone()),
            Ok(Params::NodeId(node)) => OpParams::Node(node.clone()),
            Ok(Params::Invoke(call)) => OpParams::Invoke(Wanted::new(now, call)),
            Ok(Params::DeviceId(device)) => OpParams::Device(device.clone()),
            Ok(Params::DeviceRole { device_id, role, .. }) => {
                OpParams::DeviceRole(device_id.clone(), role.clone())
            }
            Ok(
                Params::None
                | Params::Object(_)
                | Params::Enabled(_)
                | Params::SystemEvent(_)
                | Params::LogsTail(_)
                | Params::Triggers(_)
                | Params::TalkMode { .. }
                | Params::Wake(_)
                | Params::SuspendPrepare(_)
                | Params::SuspensionId(_)
                | Params::Restart { .. }
                | Params::Config(_)
                | Params::Ask(_)
                | Params::NodeResult(_)
                | Params::NodeEvent(_),
            )
            | Err(_) => OpParams::None,
        };
        let device = match &params {
            OpParams::None | OpParams::NodeRequest(_) | OpParams::Invoke(_) => None,
            OpParams::Request(id) => self.store.device_of_request(id),
            OpParams::Device(device) | OpParams::DeviceRole(device, _) | OpParams::Node(device) => {
                Some(device.clone())
            }
        };
        match (&device, &params) {
            (Some(device), OpParams::Request(_)) if is_allowed => {
                self.store.begins(device);
                self.store.may_approve(device);
            }
            (Some(device), _) if is_allowed => self.store.begins(device),
            (None, OpParams::Request(_)) if is_allowed => self.store.begins_somewhere(),
            _ => {}
        }
        let method = request.method.name().to_owned();
        if is_allowed && method == "health" {
            self.dues.cause("health", [true, true], now.mono);
        }
        if is_allowed && method == "system-event" && request.params.is_ok() {
            self.dues.cause("presence", [true, true], now.mono);
        }
        let said = match &request.params {
            Ok(Params::NodeResult(result)) if is_allowed => Some(result),
            Ok(_) | Err(_) => None,
        };
        let op = Op { method, is_allowed, device, params };
        let is_twice = book.open.insert(request.id.to_string(), op).is_some();
        if is_twice || book.open.len() > self.config.limits.requests_in_flight_max {
            let what = format!("{conn} has {} requests in flight, {is_twice}", book.open.len());
            self.accuse(now, what);
        }
        if let Some(said) = said {
            self.node_said(conn, said);
        }
    }

    fn ends(&mut self, now: Now, conn: ConnId) {
        let Some(book) = self.conns.get_mut(&conn) else { return };
        if let Phase::Open(session) = &book.phase
            && session.is_tracked
        {
            self.dues.cause("presence", [true, true], now.mono);
        }
        book.phase = Phase::Ending;
    }

    // ---- orders ----

    fn order(&mut self, now: Now, conn: ConnId, order: &Order) {
        self.wave_goes_on(now, conn, order);
        let Some(book) = self.conns.get_mut(&conn) else {
            return self.accuse(now, format!("{} for {conn}, which is closed", kind(order)));
        };
        let cost = order.cost();
        book.queued += cost;
        self.budget_bytes += cost;
        let is_ending = matches!(book.phase, Phase::Ending);
        match order {
            Order::Upgrade if matches!(book.phase, Phase::Headless | Phase::Http) => {
                book.phase = Phase::Handshake;
                self.check_preauth(now, conn);
            }
            Order::Http(response) if matches!(book.phase, Phase::Headless | Phase::Http) => {
                book.phase = Phase::Http;
                self.reach(format!("http {}", response.status));
            }
            Order::Admit(admission) if matches!(book.phase, Phase::Handshake) => {
                book.said.push_back(Said::Hello);
                if let Some(token) = &admission.token {
                    self.tokens.insert(token.token.clone());
                }
                self.admitted(now, conn, admission);
            }
            Order::Respond { id, reply } if matches!(book.phase, Phase::Handshake | Phase::Open(_)) => {
                let ok = matches!(reply, Reply::Ok(_) | Reply::Accepted(_));
                book.said.push_back(Said::Response { id: id.to_string(), ok });
                self.responded(now, conn, id, reply);
            }
            Order::Event(event) if matches!(book.phase, Phase::Open(_)) => {
                let seq = event.seq.unwrap_or_default();
                book.said.push_back(Said::Event { name: event.name.to_owned(), seq });
                if event.seq.is_none() {
                    return match event.name {
                        "node.invoke.request" => self.node_asked(now, conn, &event.payload),
                        "node.invoke.cancel" => self.node_told_off(now, conn, &event.payload),
                        _ => {}
                    };
                }
                let missing = seq.wrapping_sub(book.seq + 1);
                if missing > book.gaps_max {
                    let what = format!("{conn}: event {} has number {seq} after {}", event.name, book.seq);
                    return self.accuse(now, what);
                }
                if missing > 0 {
                    self.reach("events left out");
                }
                let Some(book) = self.conns.get_mut(&conn) else { return };
                book.seq = seq;
                book.gaps_max -= missing;
                if book.queued > self.config.limits.queued_bytes_max {
                    let what = format!("{conn}: an event fills its queue to {} bytes", book.queued);
                    self.accuse(now, what);
                }
            }
            Order::Read(allowed) => {
                let limits = &self.config.limits;
                let is_right = if *allowed {
                    book.paused && book.queued <= limits.queued_bytes_low
                } else {
                    !book.paused && book.queued > limits.queued_bytes_high
                };
                book.paused = !allowed;
                if !is_right {
                    let what = format!("{conn}: {order:?} at {} queued bytes", book.queued);
                    return self.accuse(now, what);
                }
                self.reach(if *allowed { "reading goes on" } else { "reading paused" });
            }
            Order::Close(close) if !is_ending => {
                if matches!(book.phase, Phase::Handshake | Phase::Open(_)) {
                    book.said.push_back(Said::Close(close.code));
                }
                let reason = close.reason.split(['(', ':']).next().unwrap_or_default().trim().to_owned();
                self.reach(format!("close {} {reason}", close.code));
                self.ends(now, conn);
            }
            Order::Abort => self.ends(now, conn),
            // No canvas is served here.
            Order::Watch
            | Order::Reload
            | Order::Body(_)
            | Order::Upgrade
            | Order::Http(_)
            | Order::Admit(_)
            | Order::Respond { .. }
            | Order::Event(_)
            | Order::Close(_) => {
                let what = format!("{} for {conn} in phase {:?}", kind(order), book.phase);
                self.accuse(now, what);
            }
        }
    }

    /// R7: so many sockets of an address, and in all, between upgrade and hello-ok.
    fn check_preauth(&mut self, now: Now, conn: ConnId) {
        let address = |book: &Conn| book.peer.remote.ip().to_canonical();
        let waits = |book: &&Conn| matches!(book.phase, Phase::Handshake);
        let Some(own) = self.conns.get(&conn).map(address) else { return };
        let of_address = self.conns.values().filter(waits).filter(|book| address(book) == own).count();
        let in_all = self.conns.values().filter(waits).count();
        let limits = &self.config.limits;
        if of_address > limits.preauth_sockets_per_address_max || in_all > limits.preauth_sockets_max {
            self.accuse(now, format!("{of_address} sockets of {own}, {in_all} in all, are let upgrade"));
        }
    }

    fn responded(&mut self, now: Now, conn: ConnId, id: &str, reply: &Reply) {
        if let Reply::Err(error) = reply {
            let code = error.details.as_ref().and_then(|details| details["code"].as_str());
            let reached = format!("error {}", code.unwrap_or(error.code));
            self.reach(reached);
        }
        let Some(book) = self.conns.get_mut(&conn) else { return };
        if matches!(book.phase, Phase::Handshake) {
            return self.refused(now, conn, id, reply);
        }
        let Some(op) = book.open.remove(id) else {
            return self.accuse(now, format!("{conn}: an answer to {id}, which nobody asked"));
        };
        if matches!(op.params, OpParams::Invoke(_)) {
            self.invoke_answered(now, conn, id, reply);
        }
        match reply {
            Reply::Accepted(_) => {
                self.accuse(now, format!("{conn}: half an answer to {}, which is answered whole", op.method));
            }
            Reply::Ok(_) if !op.is_allowed => {
                self.accuse(now, format!("{conn} may not call {}, and is answered", op.method));
            }
            Reply::Ok(payload) => self.op_done(now, conn, &op, payload),
            Reply::Err(error) => {
                let is_denied = matches!(error.code, "FORBIDDEN" | "INVALID_REQUEST");
                let denies = |words: &str| is_denied && error.message.starts_with(words);
                let is_denial = denies("missing scope") || denies("unauthorized role");
                // Whom to grant what is the store's decision, and looks the same.
                let is_op = op.device.is_some();
                if op.is_allowed && is_denial && !is_op {
                    self.accuse(now, format!("{conn} may call {}, and is denied it", op.method));
                }
                if let Some(device) = op.device.as_ref().filter(|_| op.is_allowed) {
                    self.store.failed(device);
                }
            }
        }
    }

    fn done_with_input(&mut self, now: Now, gateway: &Gateway) {
        self.wave_ends(now);
        self.allow_gaps(now.mono);
        self.check_invokes(now);
        self.check_dues(now);
        for conn in core::mem::take(&mut self.must_close) {
            let is_open = |book: &Conn| matches!(book.phase, Phase::Open(_));
            if self.conns.get(&conn).is_some_and(is_open) {
                self.accuse(now, format!("{conn} is still open though its device lost its ground"));
            }
        }
        let census = gateway.census();
        self.budget_bytes = census.budget_bytes;
        if census.store_waiting == 0 {
            self.store.rests();
        }
        if self.stopping && !self.stopped && census.sockets == 0 && census.store_waiting == 0 {
            self.accuse(now, "nobody is left and nothing is on its way, but it does not stop");
        }
        let count = |of: fn(&Phase) -> bool| self.conns.values().filter(|book| of(&book.phase)).count();
        let queued: usize = self.conns.values().map(|book| book.queued).sum();
        let (have, want) = (
            [census.sockets, census.headless, census.preauth, census.open, census.queued_bytes],
            [
                self.conns.len(),
                count(|phase| matches!(phase, Phase::Headless | Phase::Http)),
                count(|phase| matches!(phase, Phase::Handshake)),
                count(|phase| matches!(phase, Phase::Open(_))),
                queued,
            ],
        );
        if have != want {
            self.accuse(
                now,
                format!("sockets, headless, preauth, open, queued bytes are {have:?}, not {want:?}"),
            );
        }
        let limits = &self.config.limits;
        // A stop turns everybody away at once, and has a bound of its own in time.
        let ending_max = if self.stopping { limits.sockets_max } else { limits.ending_sockets_max };
        let bounds = [
            ("sockets", census.sockets, limits.sockets_max),
            ("headless sockets", census.headless, limits.headless_sockets_max),
            ("ending sockets", census.unadmitted, ending_max),
            ("budget", census.budget_bytes, limits.process_bytes_max),
            ("store queue", census.store_waiting, limits.store_queue_max),
            ("commands", census.invokes, limits.invokes_max),
            ("presence", census.presence_entries + 1, limits.presence_entries_max.max(1)),
        ];
        for (what, have, max) in bounds {
            if have > max {
                return self.accuse(now, format!("{what}: {have}, more than {max}"));
            }
        }
        if census.budget_bytes < queued {
            let what = format!("{queued} bytes are queued, the budget says {}", census.budget_bytes);
            return self.accuse(now, what);
        }
        if gateway.next_deadline().is_some_and(|at| at <= now.mono) && self.input == "a tick" {
            self.accuse(now, "a deadline does not move when it passes");
        }
        let limits = &self.config.limits;
        let paused = |book: &Conn| book.paused != (book.queued > limits.queued_bytes_high) && !book.paused;
        if let Some((conn, book)) = self.conns.iter().find(|(_, book)| paused(book)) {
            let what = format!("{conn} is read although {} bytes wait for it", book.queued);
            self.accuse(now, what);
        }
    }
}

impl Session {
    /// Roles and scopes by the table of protocol 4 (spec: v4 section 10).
    fn may_call(&self, method: &str) -> bool {
        let scope = match method {
            "health" => return true,
            "status" | "last-heartbeat" | "gateway.identity.get" | "system-presence" => "operator.read",
            "system.info" | "channels.status" => "operator.read",
            "set-heartbeats" | "system-event" => "operator.admin",
            "device.pair.setupCode" => "operator.admin",
            "node.invoke" => "operator.write",
            "node.invoke.result" | "node.invoke.progress" => return self.role == Role::Node,
            name if name.starts_with("device.") || name.starts_with("node.pair.") => "operator.pairing",
            _ => return false,
        };
        self.role == Role::Operator && satisfies(&self.scopes, scope)
    }

    /// What is told to one peer, without a number: nodes hear of wake words.
    fn is_told(&self, event: &str) -> bool {
        let is_theirs = match event {
            "voicewake.changed" | "node.pair.resolved" | "node.invoke.request" => true,
            "voicewake.routing.changed" | "node.invoke.cancel" => self.dialect == Dialect::V4,
            _ => false,
        };
        self.role == Role::Node && is_theirs
    }

    /// Who may hear of what (spec: v4 section 9.2).
    fn may_hear(&self, event: &str) -> bool {
        let scope = match event {
            "tick" | "health" | "shutdown" => return true,
            "presence" => "operator.read",
            "node.runnerInventory.changed" if self.dialect == Dialect::V4 => "operator.read",
            "device.pair.requested" | "device.pair.resolved" => "operator.pairing",
            "node.pair.requested" | "node.pair.resolved" => "operator.pairing",
            _ => return false,
        };
        self.role == Role::Operator && satisfies(&self.scopes, scope)
    }
}

/// Which scope an operator's scopes include.
fn satisfies(have: &BTreeSet<String>, scope: &str) -> bool {
    let has = |scope: &str| have.contains(scope);
    has(scope)
        || (scope.starts_with("operator.") && has("operator.admin"))
        || (scope == "operator.read" && has("operator.write"))
}

/// What an order is, without what it says: that may be a secret.
fn kind(order: &Order) -> &'static str {
    match order {
        Order::Upgrade => "an upgrade",
        Order::Watch => "an upgrade of a page",
        Order::Reload => "news for a page",
        Order::Body(_) => "more of an HTTP response",
        Order::Http(_) => "an HTTP response",
        Order::Admit(_) => "an admission",
        Order::Respond { .. } => "an answer",
        Order::Event(_) => "an event",
        Order::Read(_) => "an order to read or not",
        Order::Close(_) => "a close",
        Order::Abort => "an abort",
    }
}
