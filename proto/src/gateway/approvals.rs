//! Approvals at the gateway: who is asked, who may decide, and who is told (spec: v4 sections 9.2 and 13, methods
//! section 8). What an approval is, and how it ends, is [`crate::approvals`]'s.
//!
//! Authority is one rule for both protocols: whoever has `operator.approvals` sees and decides what was asked on its own
//! device or names its device as a reviewer's; an admin sees and decides everything. Who of those is asked is another
//! matter: a client says by its id or a capability that it shows requests, and the asker's own connection is not
//! asked; nor does it allow what it asked for, which it may only take back. Protocol 3 has no such word, and asks the
//! asker too (see [`crate::dialect::Exceptions`]).

pub(crate) mod file;
pub(crate) mod questions;
pub(crate) mod remote;

use super::peers::Session;
use super::timers::Timer;
use super::{Call, Gateway, events};
use crate::approvals::{
    Asker, Book, Decider, Decision, Draft, Due, EndFault, Entry, Kind, OpenFault, Outcome, Settled,
    WaitFault, Waiter, Wants,
};
use crate::connect::ConnectParams;
use crate::dialect::{Dialect, approvals as shapes};
use crate::error::RequestError;
use crate::frame::Payload;
use crate::id::ConnId;
use crate::log::{Level, Record};
use crate::methods::Params;
use crate::output::{Order, Output, Reply};
use crate::scope::{self, Role};
use crate::time::{Mono, Now};
use bytes::Bytes;
use events::Event;
use serde_json::{Value, json};

/// What is known of approvals and questions.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    /// Of commands and plugins.
    book: Book,
    /// Questions.
    questions: Book,
    /// The moment for which the timer is set.
    due: Option<Mono>,
}

impl Approvals {
    /// Request frames that wait for an end.
    pub(super) fn waiting(&self) -> usize {
        self.book.waiting() + self.questions.waiting()
    }

    /// Requests of commands and plugins.
    pub(super) fn commands(&mut self) -> &mut Book {
        &mut self.book
    }

    /// Recounts everything.
    ///
    /// # Panics
    /// When a count or an index is wrong.
    pub(super) fn check(&self) {
        self.book.check();
        self.questions.check();
    }
}

/// Which requests a client says that it shows to people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shows {
    exec: bool,
    plugin: bool,
}

impl Shows {
    /// From what a client says about itself: this decides whom we ask, and never what anybody may do.
    pub(super) fn of(params: &ConnectParams) -> Self {
        let is = |ids: &[&str]| ids.contains(&params.client.id.as_str());
        let says = |cap: &str| params.caps.iter().any(|said| said == cap);
        let both = is(&["openclaw-control-ui"]) || says("approvals");
        let exec = is(&["openclaw-macos", "openclaw-ios", "openclaw-android"]) || says("exec-approvals");
        let plugin = is(&["openclaw-tui"]) || says("plugin-approvals");
        Self { exec: both || exec, plugin: both || plugin }
    }

    fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Exec => self.exec,
            Kind::Plugin => self.plugin,
            Kind::Question => false,
        }
    }
}

/// `exec.approval.request`, `plugin.approval.request`.
pub(crate) fn request(gateway: &mut Gateway, mut call: Call, out: &mut Vec<Output>) {
    let Params::Ask(mut draft) = core::mem::replace(&mut call.params, Params::None) else { return };
    let Some(asker) = asker(gateway, call.conn) else { return };
    let (kind, two_phase) = (draft.kind, draft.two_phase);
    // A plugin's ids are the gateway's to choose, so that they are never those of commands.
    let chosen = draft.id.take().filter(|_| kind == Kind::Exec);
    let id = chosen.unwrap_or_else(|| {
        let id = gateway.random.uuid();
        if kind == Kind::Plugin { format!("plugin:{id}") } else { id }
    });
    let number = match open(gateway, &call, id, *draft, asker) {
        Ok(number) => number,
        Err(error) => return gateway.fail(call.conn, call.id, &error, out),
    };
    let limits = &gateway.config.limits;
    let audience = audience(gateway, number);
    if audience.is_empty() {
        let _ = gateway.approvals.book.end(call.now, number, Outcome::NoRoute, None, limits);
        log(gateway, number, "approval.unrouted", out);
        return tell_end(gateway, number, (call.conn, call.id, Wants::Asked), out);
    }
    let waiter = (call.conn, call.id.clone(), Wants::Asked);
    let waits = gateway.approvals.book.wait(call.now.mono, number, waiter, None, limits);
    debug_assert_eq!(waits, Ok(()), "there was room to wait");
    log(gateway, number, "approval.requested", out);
    let Some(entry) = gateway.approvals.book.entry(number) else { return };
    let payload = payload(kind, |dialect| shapes::requested(dialect, entry));
    let accepted = two_phase.then(|| {
        let dialect = gateway.peers.session(call.conn).map_or(Dialect::V4, |session| session.dialect);
        shapes::accepted(dialect, entry)
    });
    let event = if kind == Kind::Plugin { &events::PLUGIN_REQUESTED } else { &events::EXEC_REQUESTED };
    gateway.tell(&audience, event, payload, out);
    if let Some(accepted) = accepted {
        let reply = Reply::Accepted(Payload::Value(Box::new(accepted)));
        gateway.answer(call.conn, Order::Respond { id: call.id, reply }, out);
    }
}

/// `exec.approval.waitDecision`.
pub(crate) fn wait_exec(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    wait(gateway, call, Kind::Exec, out);
}

/// `plugin.approval.waitDecision`.
pub(crate) fn wait_plugin(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    wait(gateway, call, Kind::Plugin, out);
}

fn wait(gateway: &mut Gateway, call: Call, kind: Kind, out: &mut Vec<Output>) {
    let Params::RequestId(id) = &call.params else { return };
    let found = seen(gateway, call.conn, id).filter(|entry| entry.kind == kind);
    let Some((number, is_pending)) = found.map(|entry| (entry.number, entry.is_pending())) else {
        let error = unknown("approval expired or not found");
        return gateway.fail(call.conn, call.id, &error, out);
    };
    let waiter = (call.conn, call.id, Wants::Decision);
    if !is_pending {
        return tell_end(gateway, number, waiter, out);
    }
    let (conn, id) = (waiter.0, waiter.1.clone());
    let limits = &gateway.config.limits;
    if let Err(fault) = gateway.approvals.book.wait(call.now.mono, number, waiter, None, limits) {
        gateway.fail(conn, id, &cannot_wait(fault), out);
    }
}

/// `exec.approval.resolve`.
pub(crate) fn resolve_exec(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    resolve_by_prefix(gateway, call, Kind::Exec, out);
}

/// `plugin.approval.resolve`.
pub(crate) fn resolve_plugin(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    resolve_by_prefix(gateway, call, Kind::Plugin, out);
}

/// A whole id, or as much of one as is enough to tell it from the others that wait.
fn resolve_by_prefix(gateway: &mut Gateway, call: Call, kind: Kind, out: &mut Vec<Output>) {
    let (Some(id), Some(decision)) = (word(&call, "id"), word(&call, "decision")) else { return };
    let Some(decision) = Decision::parse(decision) else {
        let error = RequestError::Invalid("invalid decision".to_owned());
        return gateway.fail(call.conn, call.id, &error, out);
    };
    let number = match find(gateway, call.conn, id.trim(), kind) {
        Ok(number) => number,
        Err(error) => return gateway.fail(call.conn, call.id, &error, out),
    };
    match settle(gateway, &call, number, decision, out) {
        Ok(waiters) => {
            let ok = Reply::Ok(Payload::Json(Bytes::from_static(br#"{"ok":true}"#)));
            gateway.respond(call.conn, call.id, ok, out);
            tell_waiters(gateway, number, waiters, out);
        }
        Err(error) => gateway.fail(call.conn, call.id, &error, out),
    }
}

/// `approval.resolve`: what counts is told to whoever comes late, too.
pub(crate) fn resolve(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let words = (word(&call, "id"), word(&call, "kind"), word(&call, "decision"));
    let (Some(id), Some(kind), Some(decision)) = words else { return };
    let kind = kind_of(kind);
    let found = seen(gateway, call.conn, id).filter(|entry| Some(entry.kind) == kind);
    let (Some(entry), Some(decision)) = (found, Decision::parse(decision)) else {
        return gateway.fail(call.conn, call.id, &unknown(UNKNOWN_ID), out);
    };
    let (number, applied) = (entry.number, entry.is_pending());
    let waiters = if applied {
        match settle(gateway, &call, number, decision, out) {
            Ok(waiters) => waiters,
            Err(error) => return gateway.fail(call.conn, call.id, &error, out),
        }
    } else {
        Vec::new()
    };
    let Some(entry) = gateway.approvals.book.entry(number) else { return };
    let shown = json!({"applied": applied, "approval": shapes::snapshot(entry)});
    reply(gateway, call.conn, call.id, shown, out);
    tell_waiters(gateway, number, waiters, out);
}

/// `approval.get`.
pub(crate) fn get(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(id) = word(&call, "id") else { return };
    match seen(gateway, call.conn, id).map(shapes::snapshot) {
        Some(approval) => reply(gateway, call.conn, call.id, json!({"approval": approval}), out),
        None => gateway.fail(call.conn, call.id, &unknown(UNKNOWN_ID), out),
    }
}

/// `approval.history`: the latest asked come first.
pub(crate) fn history(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    gateway.approvals.book.prune(call.now.mono, &gateway.config.limits);
    let before = match params.get("cursor").and_then(Value::as_str) {
        None => u64::MAX,
        Some(cursor) => match cursor.parse() {
            Ok(number) => number,
            Err(_) => {
                let error = RequestError::Invalid(
                    "unknown cursor of approval.history; start again without one".to_owned(),
                );
                return gateway.fail(call.conn, call.id, &error, out);
            }
        },
    };
    // A shape let it in, so it is whole; it may be written `5.0`.
    let limit = params.get("limit").and_then(Value::as_f64).map_or(HISTORY_PAGE, |limit| limit as usize);
    let kind = params.get("kind").and_then(Value::as_str);
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let is_wanted = |entry: &&Entry| {
        kind.is_none_or(|kind| Some(entry.kind) == kind_of(kind)) && may_see(session, call.conn, entry)
    };
    // One more than the page has says whether there is another page.
    let found = gateway.approvals.book.ended_before(before).filter(is_wanted);
    let found: Vec<&Entry> = found.take(limit + 1).collect();
    let page = &found[..found.len().min(limit)];
    let mut shown = json!({"items": page.iter().map(|entry| shapes::snapshot(entry)).collect::<Vec<_>>()});
    if let Some(last) = page.last().filter(|_| found.len() > limit) {
        shown["nextCursor"] = json!(last.number.to_string());
    }
    reply(gateway, call.conn, call.id, shown, out);
}

/// `exec.approval.get`: what waits for a decision.
pub(crate) fn get_exec(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(id) = word(&call, "id") else { return };
    let found = seen(gateway, call.conn, id).filter(|entry| entry.kind == Kind::Exec && entry.is_pending());
    match found.map(shapes::details) {
        Some(details) => reply(gateway, call.conn, call.id, details, out),
        None => gateway.fail(call.conn, call.id, &unknown(UNKNOWN_ID), out),
    }
}

/// `exec.approval.list`.
pub(crate) fn list_exec(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    list(gateway, call, Kind::Exec, out);
}

/// `plugin.approval.list`.
pub(crate) fn list_plugin(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    list(gateway, call, Kind::Plugin, out);
}

fn list(gateway: &mut Gateway, call: Call, kind: Kind, out: &mut Vec<Output>) {
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let pending = gateway.approvals.book.pending().filter(|entry| entry.kind == kind);
    let seen = pending.filter(|entry| may_see(session, call.conn, entry));
    let shown: Vec<Value> = seen.map(|entry| shapes::requested(session.dialect, entry)).collect();
    reply(gateway, call.conn, call.id, Value::from(shown), out);
}

/// `exec.approval.grants.revoke`: nothing here grants for longer than one request, so there is nothing to take back.
pub(crate) fn revoke_grant(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    reply(gateway, call.conn, call.id, json!({"outcome": "not-found"}), out);
}

impl Gateway {
    /// A connection is gone.
    pub(super) fn approvals_left(&mut self, conn: ConnId) {
        self.approvals.book.left(conn);
        self.approvals.questions.left(conn);
    }

    /// Keeps the timer at the earliest deadline.
    pub(super) fn set_approvals_timer(&mut self) {
        let deadlines = [self.approvals.book.next_deadline(), self.approvals.questions.next_deadline()];
        let due = deadlines.into_iter().flatten().min();
        if due == self.approvals.due {
            return;
        }
        self.approvals.due = due;
        match due {
            Some(at) => self.timers.set(Timer::Approvals, at),
            None => self.timers.clear(Timer::Approvals),
        }
    }

    /// Nobody decided in time.
    pub(super) fn approvals_due(&mut self, now: Now, out: &mut Vec<Output>) {
        self.approvals.due = None;
        let Due { expired, impatient } = self.approvals.book.due(now, &self.config.limits);
        debug_assert!(impatient.is_empty(), "whoever waits for a decision waits to the end");
        for (number, waiters) in expired {
            log(self, number, "approval.expired", out);
            tell_waiters(self, number, waiters, out);
        }
        self.questions_due(now, out);
    }

    /// Sends an event to these peers, those of them that may hear it.
    fn tell(
        &mut self,
        audience: &[ConnId],
        event: &'static Event,
        payload: [Option<Bytes>; 2],
        out: &mut Vec<Output>,
    ) {
        for conn in audience {
            self.send_event(*conn, event, &payload, None, out);
        }
    }
}

fn asker(gateway: &Gateway, conn: ConnId) -> Option<Asker> {
    let session = gateway.peers.session(conn)?;
    Some(Asker { conn, device_id: session.device_id.clone() })
}

/// Takes a request, when its asker may wait for the end of it.
fn open(
    gateway: &mut Gateway,
    call: &Call,
    id: String,
    draft: Draft,
    asker: Asker,
) -> Result<u64, RequestError> {
    let limits = &gateway.config.limits;
    let book = &mut gateway.approvals.book;
    if !book.has_room_to_wait(call.conn, limits) {
        return Err(cannot_wait(WaitFault::TooMany));
    }
    book.open(call.now, id, draft, asker, limits).map_err(|fault| match fault {
        OpenFault::Pending => RequestError::Invalid("approval id already pending".to_owned()),
        OpenFault::Used => {
            let message = "approval id already used; a new request needs a new id".to_owned();
            RequestError::Named { message, details: json!({"reason": "APPROVAL_ID_USED"}) }
        }
        OpenFault::Full => {
            let message =
                "too many approvals wait for a decision; decide some, or try again later".to_owned();
            RequestError::Unavailable { message, reason: "approvals-full", retryable: true }
        }
    })
}

/// Who is asked and told: those who may decide, and show such requests to a person.
fn audience(gateway: &Gateway, number: u64) -> Vec<ConnId> {
    let Some(entry) = gateway.approvals.book.entry(number) else { return Vec::new() };
    let is_asked = |conn: &ConnId| {
        let Some(session) = gateway.peers.session(*conn) else { return false };
        let is_told = session.dialect.exceptions().asks_every_approver && entry.kind == Kind::Exec;
        let is_asked = is_told || (session.shows.has(entry.kind) && *conn != entry.asker.conn);
        is_asked && may_see(session, *conn, entry)
    };
    gateway.peers.open().filter(is_asked).collect()
}

/// Who may see and decide.
fn may_see(session: &Session, conn: ConnId, entry: &Entry) -> bool {
    let device_id = session.device_id.as_deref();
    let is_reviewer = || device_id.is_some_and(|device_id| entry.reviewers.contains(device_id));
    session.role == Role::Operator
        && session.scopes.satisfies(scope::APPROVALS)
        && (session.scopes.satisfies(scope::ADMIN) || entry.is_of(conn, device_id) || is_reviewer())
}

/// An approval of that id, for whoever may see it; to others there is none.
fn seen<'a>(gateway: &'a Gateway, conn: ConnId, id: &str) -> Option<&'a Entry> {
    let session = gateway.peers.session(conn)?;
    gateway.approvals.book.find(id).filter(|entry| may_see(session, conn, entry))
}

fn find(gateway: &Gateway, conn: ConnId, id: &str, kind: Kind) -> Result<u64, RequestError> {
    if let Some(entry) = seen(gateway, conn, id).filter(|entry| entry.kind == kind) {
        return Ok(entry.number);
    }
    let Some(session) = gateway.peers.session(conn) else { return Err(unknown(UNKNOWN_ID)) };
    let wanted = id.to_lowercase();
    let pending = gateway.approvals.book.pending().filter(|entry| entry.kind == kind);
    let matches: Vec<&Entry> = pending
        .filter(|entry| !wanted.is_empty() && entry.id.to_lowercase().starts_with(&wanted))
        .filter(|entry| may_see(session, conn, entry))
        .collect();
    match &matches[..] {
        [] => Err(unknown(UNKNOWN_ID)),
        [entry] => Ok(entry.number),
        [..] => {
            let names: Vec<&str> = matches.iter().take(3).map(|entry| entry.id.as_str()).collect();
            let more = match matches.len().saturating_sub(names.len()) {
                0 => String::new(),
                more => format!(" (+{more} more)"),
            };
            let names = names.join(", ");
            let message = format!("ambiguous approval id prefix; matches: {names}{more}. Use the full id.");
            Err(RequestError::Invalid(message))
        }
    }
}

/// Decides, and tells of it. Gives who waits for the decision: the caller is answered before them.
fn settle(
    gateway: &mut Gateway,
    call: &Call,
    number: u64,
    decision: Decision,
    out: &mut Vec<Output>,
) -> Result<Vec<Waiter>, RequestError> {
    if decision != Decision::Deny && asked_itself(gateway, call.conn, number) {
        let message =
            "who asks does not allow: another client must decide, and this one may only deny".to_owned();
        return Err(RequestError::Named { message, details: json!({"reason": "APPROVAL_OWN_REQUEST"}) });
    }
    let by = decider(gateway, call.conn);
    let outcome = Outcome::Decided(decision);
    let limits = &gateway.config.limits;
    match gateway.approvals.book.end(call.now, number, outcome, by, limits) {
        Ok(Settled::Before) => Ok(Vec::new()),
        Ok(Settled::Now(waiters)) => {
            log(gateway, number, "approval.resolved", out);
            let audience = audience(gateway, number);
            if let Some(entry) = gateway.approvals.book.entry(number) {
                let (event, kind) = match entry.kind {
                    Kind::Plugin => (&events::PLUGIN_RESOLVED, Kind::Plugin),
                    Kind::Exec | Kind::Question => (&events::EXEC_RESOLVED, Kind::Exec),
                };
                let payload = payload(kind, |dialect| shapes::resolved(dialect, entry));
                gateway.tell(&audience, event, payload, out);
            }
            Ok(waiters)
        }
        Err(EndFault::Unknown) => Err(unknown(UNKNOWN_ID)),
        Err(EndFault::Already) => Err(RequestError::Named {
            message: "approval already resolved".to_owned(),
            details: json!({"reason": "APPROVAL_ALREADY_RESOLVED"}),
        }),
        Err(EndFault::NotAllowed) => {
            let message =
                format!("{} is not offered by this request; see its allowedDecisions", decision.as_str());
            let details = json!({"reason": "APPROVAL_DECISION_NOT_ALLOWED"});
            Err(RequestError::Named { message, details })
        }
    }
}

/// Whether this connection would decide about what it asked for itself, where that is not allowed.
fn asked_itself(gateway: &Gateway, conn: ConnId, number: u64) -> bool {
    let Some(session) = gateway.peers.session(conn) else { return false };
    let entry = gateway.approvals.book.entry(number).filter(|entry| entry.is_pending());
    entry.is_some_and(|entry| {
        let may = session.dialect.exceptions().asker_allows && entry.kind == Kind::Exec;
        entry.asker.conn == conn && !may
    })
}

fn decider(gateway: &Gateway, conn: ConnId) -> Option<Decider> {
    let session = gateway.peers.session(conn)?;
    Some(Decider { name: session.name.to_string(), device_id: session.device_id.clone() })
}

fn tell_waiters(gateway: &mut Gateway, number: u64, waiters: Vec<Waiter>, out: &mut Vec<Output>) {
    for Waiter { conn, id, wants, .. } in waiters {
        tell_end(gateway, number, (conn, id, wants), out);
    }
}

fn tell_end(
    gateway: &mut Gateway,
    number: u64,
    (conn, id, wants): (ConnId, Box<str>, Wants),
    out: &mut Vec<Output>,
) {
    let Some(dialect) = gateway.peers.session(conn).map(|session| session.dialect) else { return };
    let Some(entry) = gateway.approvals.book.entry(number) else { return };
    let shown = shapes::ended(dialect, entry, wants);
    reply(gateway, conn, id, shown, out);
}

fn payload(kind: Kind, shape: impl Fn(Dialect) -> Value) -> [Option<Bytes>; 2] {
    match kind {
        Kind::Exec => shapes::both(shape),
        // Protocol 3 has approvals of commands only.
        Kind::Plugin | Kind::Question => shapes::newer(&shape(Dialect::V4)),
    }
}

/// Names and codes; what was to run is nobody's business but theirs who decide.
fn log(gateway: &Gateway, number: u64, event: &'static str, out: &mut Vec<Output>) {
    let Some(entry) = gateway.approvals.book.entry(number) else { return };
    let mut record = Record::new(Level::Info, event).field("id", &entry.id).field("asker", entry.asker.conn);
    if let Some(decision) = entry.decision() {
        record = record.field("decision", decision.as_str());
    }
    if let Some(by) = entry.end.as_ref().and_then(|end| end.by.as_ref()) {
        record = record.field("by", &by.name);
    }
    out.push(Output::Log(record));
}

fn unknown(message: &str) -> RequestError {
    let details = json!({"reason": "APPROVAL_NOT_FOUND", "remediation": REMEDIATION});
    RequestError::Named { message: message.to_owned(), details }
}

fn cannot_wait(fault: WaitFault) -> RequestError {
    match fault {
        WaitFault::Unknown => unknown("approval expired or not found"),
        WaitFault::TooMany => RequestError::Unavailable {
            message: "this connection waits for too many answers; let some arrive first".to_owned(),
            reason: "approvals-waiting",
            retryable: true,
        },
    }
}

fn kind_of(name: &str) -> Option<Kind> {
    match name {
        "exec" => Some(Kind::Exec),
        "plugin" => Some(Kind::Plugin),
        _ => None,
    }
}

fn word<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    let Params::Object(params) = &call.params else { return None };
    params.get(name)?.as_str()
}

fn reply(gateway: &mut Gateway, conn: ConnId, id: Box<str>, shown: Value, out: &mut Vec<Output>) {
    gateway.respond(conn, id, Reply::Ok(Payload::Value(Box::new(shown))), out);
}

const UNKNOWN_ID: &str = "unknown or expired approval id";
const REMEDIATION: &str =
    "It may have ended, or the gateway was restarted meanwhile; list what waits for a decision.";
/// As many as one page of the history has when nobody says.
const HISTORY_PAGE: usize = 50;
