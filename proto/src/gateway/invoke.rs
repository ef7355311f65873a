//! Calling nodes: an operator asks, the node is sent an event, its answer is the operator's (spec: nodes section 4, v4
//! section 11.4). What is in flight is [`crate::invokes`]'s; here is who may ask what of whom.
//!
//! Authority: a command runs when its scope was there, the node is here, somebody approved that it offers the command, the
//! policy allows it now, and, for a program that claims to have been allowed, an approval of exactly that is used up.
//! The last is done last, so that nothing else can fail once it is used.

use super::node_policy::{self, Verdict};
use super::timers::Timer;
use super::{Call, Gateway, events};
use crate::approvals::Claim;
use crate::approvals::claim::Run;
use crate::dialect::invoke as shapes;
use crate::error::{InvokeError, RequestError};
use crate::frame::{Invoked, Payload, value_size};
use crate::id::ConnId;
use crate::invokes::{Answered, Book, Caller, Draft, Full, Invoke, Wants};
use crate::log::{Level, Record};
use crate::methods::Params;
use crate::methods::invoke_params::{InvokeParams, NodeError, NodePayload, NodeResult};
use crate::output::{Output, Reply};
use crate::scope::Role;
use crate::system_run::{RunFault, SystemRun};
use crate::time::{Mono, Now};
use bytes::Bytes;
use serde_json::Value;

/// Commands on their way to nodes.
#[derive(Debug, Default)]
pub(super) struct Invokes {
    book: Book,
    /// The moment for which the timer is set.
    due: Option<Mono>,
    /// Commands whose node left during this input.
    unanswered: Vec<Invoke>,
    /// Commands whose caller did.
    unwanted: Vec<Invoke>,
}

impl Invokes {
    /// How many are in flight.
    pub(super) fn len(&self) -> usize {
        self.book.len()
    }

    /// Recounts everything.
    ///
    /// # Panics
    /// When a count or an index is wrong.
    pub(super) fn check(&self) {
        self.book.check();
    }
}

/// What is asked of a node.
pub(super) struct Ask {
    pub(super) node_id: String,
    pub(super) command: String,
    pub(super) params: InvokeParams,
    pub(super) timeout_ms: Option<u64>,
    pub(super) idempotency_key: Option<Box<str>>,
    pub(super) wants: Wants,
}

/// `node.invoke`.
pub(crate) fn invoke(gateway: &mut Gateway, mut call: Call, out: &mut Vec<Output>) {
    let Params::Invoke(asked) = core::mem::replace(&mut call.params, Params::None) else { return };
    let asked = *asked;
    if asked.node_id.is_empty() || asked.command.is_empty() {
        let error = RequestError::Invalid("nodeId and command required".to_owned());
        return gateway.fail(call.conn, call.id, &error, out);
    }
    if asked.command.starts_with(EXEC_APPROVALS) {
        let error = RequestError::Invoke(Box::new(InvokeError::Approvals { command: asked.command }));
        return gateway.fail(call.conn, call.id, &error, out);
    }
    let ask = Ask {
        node_id: asked.node_id,
        command: asked.command,
        params: asked.params,
        timeout_ms: asked.timeout_ms,
        idempotency_key: Some(asked.idempotency_key),
        wants: Wants::Whole,
    };
    gateway.ask_node(call, ask, out);
}

/// `node.invoke.result`.
pub(crate) fn result(gateway: &mut Gateway, mut call: Call, out: &mut Vec<Output>) {
    let Params::NodeResult(result) = core::mem::replace(&mut call.params, Params::None) else { return };
    let NodeResult { id, node_id, outcome } = *result;
    if !is_own(gateway, &call, &node_id, out) {
        return;
    }
    let is_not_ready = matches!(&outcome, Err(NodeError { code: Some(code), .. }) if code == NODE_NOT_READY);
    let (call_now, limits) = (call.now, &gateway.config.limits);
    match gateway.invokes.book.answered(call.now.mono, call.conn, &id, is_not_ready, limits) {
        Answered::Unknown => reply(gateway, call, br#"{"ok":true,"ignored":true}"#, out),
        Answered::Later => reply(gateway, call, br#"{"ok":true}"#, out),
        Answered::Now(invoke) => {
            reply(gateway, call, br#"{"ok":true}"#, out);
            gateway.invoke_answered(call_now, *invoke, outcome, out);
        }
    }
}

/// `node.invoke.progress`: that a node has begun is noted; there is nobody here to whom its chunks would go.
pub(crate) fn progress(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
    let (id, node_id) = (text("invokeId").to_owned(), text("nodeId").to_owned());
    if is_own(gateway, &call, &node_id, out) {
        gateway.invokes.book.progressed(call.conn, &id);
        reply(gateway, call, br#"{"ok":true,"ignored":true}"#, out);
    }
}

/// Whether a node speaks for itself. If not, it is told so.
fn is_own(gateway: &mut Gateway, call: &Call, node_id: &str, out: &mut Vec<Output>) -> bool {
    let Some(session) = gateway.peers.session(call.conn) else { return false };
    let is_own = session.device_id.as_deref() == Some(node_id);
    if !is_own {
        let error = RequestError::Invalid("nodeId mismatch".to_owned());
        gateway.fail(call.conn, call.id.clone(), &error, out);
    }
    is_own
}

fn reply(gateway: &mut Gateway, call: Call, json: &'static [u8], out: &mut Vec<Output>) {
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Json(Bytes::from_static(json))), out);
}

impl Gateway {
    /// Asks a node, or tells the caller why not.
    pub(super) fn ask_node(&mut self, call: Call, ask: Ask, out: &mut Vec<Output>) {
        if let Err(error) = self.try_ask_node(&call, ask, out) {
            self.fail(call.conn, call.id, &error, out);
        }
    }

    fn try_ask_node(&mut self, call: &Call, ask: Ask, out: &mut Vec<Output>) -> Result<(), RequestError> {
        let Ask { node_id, command, params, timeout_ms, idempotency_key, wants } = ask;
        let node = self.node_conn(&node_id).ok_or(InvokeError::Away)?;
        self.may_run(node, &node_id, &command)?;
        let Some(session) = self.peers.session(call.conn) else { return Ok(()) };
        let caller = Caller { conn: call.conn, id: call.id.clone(), device_id: session.device_id.clone() };
        let size = match &params {
            InvokeParams::None => 0,
            InvokeParams::Json(json) => json.len(),
            // What was shown may stand in its place, twice.
            InvokeParams::Run(run) => {
                let shown = run.run_id.as_ref().and_then(|id| self.approvals.commands().find(id));
                run.size() + shown.map_or(0, |entry| 4 * value_size(&entry.request["systemRunPlan"]))
            }
        };
        let mut draft =
            Draft { node, node_id, command, caller, params: None, timeout_ms, idempotency_key, wants };
        self.has_room(&draft, size)?;
        if timeout_ms == Some(0) {
            // Whoever waits for nothing hears nothing of what it began.
            return Err(InvokeError::Timeout { is_sent: false }.into());
        }
        draft.params = match params {
            InvokeParams::None => None,
            InvokeParams::Json(json) => Some(json),
            InvokeParams::Run(run) => Some(self.run_params(call, *run, &draft.node_id, out)?),
        };
        let id = self.random.uuid();
        let invoke = self.invokes.book.open(call.now.mono, id, draft, &self.config.limits).map_err(full)?;
        let number = invoke.number;
        self.send_invoke(call.now.mono, number, out);
        Ok(())
    }

    /// The connection of a node that is here: the latest, if there are several.
    pub(super) fn node_conn(&self, node_id: &str) -> Option<ConnId> {
        let is_node =
            |conn: &ConnId| self.peers.session(*conn).is_some_and(|session| session.role == Role::Node);
        self.peers.of_device(node_id).into_iter().rev().find(is_node)
    }

    /// Whether a node offers a command, somebody approved that, and the policy allows it now.
    pub(super) fn may_run(&self, node: ConnId, node_id: &str, command: &str) -> Result<(), InvokeError> {
        let declared = self.peers.session(node).and_then(|session| session.declared.as_ref());
        let declared = declared.ok_or(InvokeError::Away)?;
        let command = command.to_owned();
        let approved = match self.devices.content().nodes.get(node_id) {
            Some(entry) => &entry.surface.commands,
            None => return Err(InvokeError::Unapproved { command }),
        };
        let (about, surface) = (&declared.about, &declared.surface);
        let platform = about.platform.clone().filter(|name| !name.trim().is_empty());
        let platform_name = platform.clone().unwrap_or_else(|| "unknown".to_owned());
        let of = (platform.as_deref().unwrap_or_default(), about.device_family.as_deref());
        match node_policy::verdict(of, &surface.caps, &command, &self.config.node_commands) {
            Verdict::Allowed => {}
            Verdict::Dangerous => return Err(InvokeError::Dangerous { command, platform: platform_name }),
            Verdict::NotListed => return Err(InvokeError::NotListed { command, platform: platform_name }),
        }
        if surface.commands.contains(&command) && approved.contains(&command) {
            Ok(())
        } else {
            Err(InvokeError::NotOffered { command, platform: platform_name })
        }
    }

    /// Whether a command fits: into one message to the node, into the queue towards it, and among those in flight.
    fn has_room(&self, draft: &Draft, params_bytes: usize) -> Result<(), RequestError> {
        let limits = &self.config.limits;
        let key_bytes = draft.idempotency_key.as_ref().map_or(0, |key| key.len());
        let bytes = params_bytes + MESSAGE_BYTES + draft.command.len() + key_bytes;
        if bytes > limits.node_message_bytes_max {
            let message = format!(
                "{} is too large for a node: {bytes} bytes, and a message to one may have {} \
                 (limits.nodeMessageBytesMax); send less at a time",
                draft.command, limits.node_message_bytes_max
            );
            return Err(RequestError::Unavailable {
                message,
                reason: "node-message-too-large",
                retryable: false,
            });
        }
        let queued = self.peers.get(draft.node).map_or(0, |slot| slot.queued);
        if queued + bytes > limits.node_queued_bytes_max {
            let message = format!(
                "the node reads too slowly: {queued} bytes wait for it (limits.nodeQueuedBytesMax is {}); try again later",
                limits.node_queued_bytes_max
            );
            return Err(RequestError::Unavailable { message, reason: "node-slow", retryable: true });
        }
        if !self.budget.has_spare(bytes) {
            return Err(RequestError::Busy);
        }
        self.invokes.book.room(draft, params_bytes, limits).map_err(full)
    }

    /// What a node is told to run.
    fn run_params(
        &mut self,
        call: &Call,
        run: SystemRun,
        node_id: &str,
        out: &mut Vec<Output>,
    ) -> Result<Bytes, InvokeError> {
        if !run.claims {
            return Ok(run.unclaimed()?);
        }
        let run_id = run.run_id.clone().ok_or(RunFault::MISSING_RUN_ID)?;
        let Some(session) = self.peers.session(call.conn) else { return Err(InvokeError::Unsent) };
        let device_id = session.device_id.clone();
        let book = self.approvals.commands();
        let shown = book
            .find(&run_id)
            .map(|entry| (entry.binding().cloned(), entry.request["systemRunPlan"].clone()));
        let (binding, plan) = shown.unwrap_or_default();
        let said = run.run(binding.as_ref().map_or(&Run::default(), |binding| &binding.run));
        let claim =
            Claim { node_id: Some(node_id), run: &said, conn: call.conn, device_id: device_id.as_deref() };
        let decision =
            book.claim(call.now.mono, &run_id, &claim).map_err(|fault| RunFault::of_claim(fault, &run_id))?;
        out.push(Output::Log(
            Record::new(Level::Info, "approval.used")
                .conn(call.conn)
                .field("id", &run_id)
                .field("node", node_id),
        ));
        Ok(run.allowed(&plan, &binding.unwrap_or_default(), decision))
    }

    fn send_invoke(&mut self, now: Mono, number: u64, out: &mut Vec<Output>) {
        let Some(invoke) = self.invokes.book.get(number) else { return };
        let node = invoke.asked.node;
        let Some(session) = self.peers.session(node) else { return };
        let payload = shapes::request(session.dialect, invoke, now);
        if self.log_level >= Level::Debug {
            let record = Record::new(Level::Debug, "node.asked").conn(invoke.asked.caller.conn);
            out.push(Output::Log(record.field("node", node).field("command", &invoke.asked.command)));
        }
        self.direct(node, events::INVOKE_REQUEST, payload, out);
    }

    /// A node has answered.
    fn invoke_answered(
        &mut self,
        now: Now,
        invoke: Invoke,
        outcome: Result<NodePayload, NodeError>,
        out: &mut Vec<Output>,
    ) {
        let kept =
            outcome.as_ref().err().and_then(|error| self.keep_for_foreground(now, &invoke.asked, error));
        let Draft { node_id, command, caller, wants, .. } = invoke.asked;
        let payload = match (outcome, wants) {
            (Err(error), _) => {
                let error = kept.unwrap_or(InvokeError::Refused(error));
                return self.invoke_failed(caller, error.into(), out);
            }
            (Ok(payload), Wants::Payload) => Payload::Json(payload.payload()),
            (Ok(payload), Wants::Whole) => {
                Payload::Invoked(Box::new(Invoked { node_id, command: command.clone(), rest: payload.rest }))
            }
        };
        let limits = &self.config.limits;
        let (bytes, bytes_max) = (payload.size() + MESSAGE_BYTES, limits.message_bytes_max);
        let queued = self.peers.get(caller.conn).map_or(0, |slot| slot.queued);
        let (message, reason) = if bytes > bytes_max {
            let message = format!(
                "{command} was carried out, and its answer is too large to be sent on: {bytes} bytes, and a message may \
                 have {bytes_max} (limits.messageBytesMax); ask for less at a time"
            );
            (message, "node-answer-too-large")
        } else if queued + bytes > limits.queued_bytes_max {
            let message = format!(
                "{command} was carried out, and too much waits for this client already: {queued} bytes \
                 (limits.queuedBytesMax is {}); read faster, or ask for less at a time",
                limits.queued_bytes_max
            );
            (message, "slow-consumer")
        } else {
            self.respond(caller.conn, caller.id, Reply::Ok(payload), out);
            return self.settle_suspension(out);
        };
        let error = RequestError::Unavailable { message, reason, retryable: false };
        self.invoke_failed(caller, error, out);
    }

    fn invoke_failed(&mut self, caller: Caller, error: RequestError, out: &mut Vec<Output>) {
        self.fail(caller.conn, caller.id, &error, out);
        self.settle_suspension(out);
    }

    /// Has a node stop what nobody waits for, where it understands that.
    fn cancel_invoke(&mut self, invoke: &Invoke, out: &mut Vec<Output>) {
        let Some(session) = self.peers.session(invoke.asked.node) else { return };
        if let Some(payload) = shapes::cancel(session.dialect, invoke) {
            self.direct(invoke.asked.node, events::INVOKE_CANCEL, payload, out);
        }
    }

    /// A connection is gone: who has to be told is told at the end of this input.
    pub(super) fn invokes_left(&mut self, conn: ConnId) {
        let left = self.invokes.book.left(conn);
        self.invokes.unanswered.extend(left.unanswered);
        self.invokes.unwanted.extend(left.unwanted);
    }

    /// Tells the callers of nodes that are gone, and the nodes of callers that are. To be told may cost somebody its
    /// connection too.
    pub(super) fn tell_invokes_left(&mut self, out: &mut Vec<Output>) {
        while !self.invokes.unanswered.is_empty() || !self.invokes.unwanted.is_empty() {
            for invoke in core::mem::take(&mut self.invokes.unanswered) {
                let Draft { command, caller, .. } = invoke.asked;
                self.invoke_failed(caller, InvokeError::Gone { command }.into(), out);
            }
            for invoke in core::mem::take(&mut self.invokes.unwanted) {
                self.cancel_invoke(&invoke, out);
                self.settle_suspension(out);
            }
        }
    }

    /// Keeps the timer at the earliest deadline.
    pub(super) fn set_invokes_timer(&mut self) {
        let due = self.invokes.book.next_deadline();
        if due == self.invokes.due {
            return;
        }
        self.invokes.due = due;
        match due {
            Some(at) => self.timers.set(Timer::Invokes, at),
            None => self.timers.clear(Timer::Invokes),
        }
    }

    /// Time is over, or a node is asked once more.
    pub(super) fn invokes_due(&mut self, now: Now, out: &mut Vec<Output>) {
        self.invokes.due = None;
        let due = self.invokes.book.due(now.mono);
        for invoke in due.expired {
            self.cancel_invoke(&invoke, out);
            self.invoke_failed(invoke.asked.caller, InvokeError::Timeout { is_sent: true }.into(), out);
        }
        for number in due.again {
            let id = self.random.uuid();
            let Some(invoke) = self.invokes.book.asked_again(number, id) else { continue };
            let Draft { node, node_id, command, params, .. } = &invoke.asked;
            let bytes = params.as_ref().map_or(0, Bytes::len) + MESSAGE_BYTES;
            let queued = self.peers.get(*node).map_or(0, |slot| slot.queued);
            let fits =
                queued + bytes <= self.config.limits.node_queued_bytes_max && self.budget.has_spare(bytes);
            // What was allowed a moment ago may be no more.
            let (node, node_id, command) = (*node, node_id.clone(), command.clone());
            let may = self.may_run(node, &node_id, &command);
            let error = match may.and(if fits { Ok(()) } else { Err(InvokeError::Unsent) }) {
                Ok(()) => {
                    self.send_invoke(now.mono, number, out);
                    continue;
                }
                Err(error) => error,
            };
            if let Some(invoke) = self.invokes.book.end(number) {
                self.invoke_failed(invoke.asked.caller, error.into(), out);
            }
        }
    }
}

fn full(full: Full) -> RequestError {
    let (whose, setting, reason) = match full {
        Full::Gateway => ("this gateway", "limits.invokesMax", "invokes-full"),
        Full::Node => ("this node", "limits.invokesPerNodeMax", "node-invokes-full"),
        Full::Caller => ("this client", "limits.invokesPerCallerMax", "caller-invokes-full"),
        Full::Bytes => ("this gateway, by their size", "limits.invokesBytesMax", "invokes-full"),
    };
    let message =
        format!("too many commands in flight for {whose} ({setting}); wait until some are answered");
    RequestError::Unavailable { message, reason, retryable: true }
}

impl From<InvokeError> for RequestError {
    fn from(error: InvokeError) -> Self {
        Self::Invoke(Box::new(error))
    }
}

impl From<RunFault> for InvokeError {
    fn from(fault: RunFault) -> Self {
        Self::Run { code: fault.code, message: fault.message, details: fault.details }
    }
}

/// Commands with methods of their own.
const EXEC_APPROVALS: &str = "system.execApprovals.";
/// By which a node says that it could not begin yet.
const NODE_NOT_READY: &str = "NODE_NOT_READY";
/// What a message has besides params.
const MESSAGE_BYTES: usize = 512;
