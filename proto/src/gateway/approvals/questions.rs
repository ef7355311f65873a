//! `question.*`: questions of an agent to a person (spec: v4 sections 17 and 18). Whoever has `operator.questions` sees
//! and answers all of them; with `operator.sessions.write` alone, those that were asked on the same device.

use super::super::{Call, Gateway, events};
use super::{asker, cannot_wait, decider, reply, word};
use crate::approvals::{Due, EndFault, Entry, OpenFault, Outcome, Settled, WaitFault, Waiter, Wants};
use crate::dialect::approvals as shapes;
use crate::error::RequestError;
use crate::gateway::peers::Session;
use crate::id::ConnId;
use crate::log::{Level, Record};
use crate::methods::Params;
use crate::output::Output;
use crate::scope::{self, Role};
use crate::time::Now;
use serde_json::{Value, json};

/// `question.request`: answered at once; the answers are waited for with another call.
pub(crate) fn request(gateway: &mut Gateway, mut call: Call, out: &mut Vec<Output>) {
    let Params::Ask(mut draft) = core::mem::replace(&mut call.params, Params::None) else { return };
    let Some(asker) = asker(gateway, call.conn) else { return };
    let id = draft.id.take().unwrap_or_else(|| gateway.random.uuid());
    let limits = &gateway.config.limits;
    let number = match gateway.approvals.questions.open(call.now, id, *draft, asker, limits) {
        Ok(number) => number,
        Err(fault) => return gateway.fail(call.conn, call.id, &not_taken(fault), out),
    };
    let Some(entry) = gateway.approvals.questions.entry(number) else { return };
    let answer = json!({"id": entry.id, "expiresAtMs": entry.expires_ms});
    let payload = shapes::question(entry);
    out.push(Output::Log(Record::new(Level::Info, "question.requested").field("id", &entry.id)));
    tell(gateway, number, [&events::QUESTION_REQUESTED, &events::QUESTION_REQUESTED_OWN], &payload, out);
    reply(gateway, call.conn, call.id, answer, out);
}

/// `question.get`.
pub(crate) fn get(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    match seen(gateway, &call).map(shapes::question) {
        Some(question) => reply(gateway, call.conn, call.id, json!({"question": question}), out),
        None => gateway.fail(call.conn, call.id, &unknown(), out),
    }
}

/// `question.list`: those that wait for an answer.
pub(crate) fn list(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let pending = gateway.approvals.questions.pending();
    let seen = pending.filter(|entry| may_see(session, call.conn, entry));
    let shown: Vec<Value> = seen.map(shapes::question).collect();
    reply(gateway, call.conn, call.id, json!({"questions": shown}), out);
}

/// `question.waitAnswer`: until there is one, or for as long as the caller says.
pub(crate) fn wait(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    // A shape let it in, so it is whole; it may be written `5.0`.
    let patience_ms = params.get("timeoutMs").and_then(Value::as_f64).map(|ms| ms as u64);
    let Some(entry) = seen(gateway, &call) else {
        return gateway.fail(call.conn, call.id, &unknown(), out);
    };
    if !entry.is_pending() {
        let is_own = is_asker(gateway, call.conn, entry);
        let answer = shapes::answer(entry, is_own);
        return reply(gateway, call.conn, call.id, answer, out);
    }
    let number = entry.number;
    let waiter = (call.conn, call.id.clone(), Wants::Answer);
    let limits = &gateway.config.limits;
    let waits = gateway.approvals.questions.wait(call.now.mono, number, waiter, patience_ms, limits);
    match waits {
        Ok(()) => {}
        Err(WaitFault::Unknown) => gateway.fail(call.conn, call.id, &unknown(), out),
        Err(fault @ WaitFault::TooMany) => gateway.fail(call.conn, call.id, &cannot_wait(fault), out),
    }
}

/// `question.resolve`: with answers, or with the word that there will be none.
pub(crate) fn resolve(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let Some(entry) = seen(gateway, &call) else {
        return gateway.fail(call.conn, call.id, &unknown(), out);
    };
    let number = entry.number;
    let outcome = match params.get("answers") {
        None => Outcome::Cancelled,
        Some(answers) => match check(entry, answers) {
            Ok(()) => Outcome::Answered(answers.clone()),
            Err(message) => {
                return gateway.fail(call.conn, call.id, &RequestError::Invalid(message), out);
            }
        },
    };
    let by = decider(gateway, call.conn);
    let limits = &gateway.config.limits;
    let waiters = match gateway.approvals.questions.end(call.now, number, outcome, by, limits) {
        Ok(Settled::Before) => Vec::new(),
        Ok(Settled::Now(waiters)) => {
            tell_end(gateway, number, out);
            waiters
        }
        Err(EndFault::Unknown) => return gateway.fail(call.conn, call.id, &unknown(), out),
        Err(EndFault::Already | EndFault::NotAllowed) => {
            let message = "question already resolved".to_owned();
            let details = json!({"reason": "QUESTION_ALREADY_RESOLVED"});
            return gateway.fail(call.conn, call.id, &RequestError::Named { message, details }, out);
        }
    };
    // Whoever gave the answers may be shown them.
    let Some(entry) = gateway.approvals.questions.entry(number) else { return };
    let answer = shapes::answer(entry, true);
    reply(gateway, call.conn, call.id, answer, out);
    tell_waiters(gateway, number, waiters, out);
}

impl Gateway {
    /// Nobody answered in time, or somebody waited long enough.
    pub(super) fn questions_due(&mut self, now: Now, out: &mut Vec<Output>) {
        let Due { expired, impatient } = self.approvals.questions.due(now, &self.config.limits);
        for (_, Waiter { conn, id, .. }) in impatient {
            reply(self, conn, id, json!({"status": "pending"}), out);
        }
        for (number, waiters) in expired {
            tell_end(self, number, out);
            tell_waiters(self, number, waiters, out);
        }
    }
}

fn tell_end(gateway: &mut Gateway, number: u64, out: &mut Vec<Output>) {
    let Some(entry) = gateway.approvals.questions.entry(number) else { return };
    let payload = shapes::question_resolved(entry);
    out.push(Output::Log(Record::new(Level::Info, "question.resolved").field("id", &entry.id)));
    tell(gateway, number, [&events::QUESTION_RESOLVED, &events::QUESTION_RESOLVED_OWN], &payload, out);
}

fn tell_waiters(gateway: &mut Gateway, number: u64, waiters: Vec<Waiter>, out: &mut Vec<Output>) {
    for Waiter { conn, id, .. } in waiters {
        let Some(entry) = gateway.approvals.questions.entry(number) else { return };
        let answer = shapes::answer(entry, is_asker(gateway, conn, entry));
        reply(gateway, conn, id, answer, out);
    }
}

/// Tells whoever may see it: those who answer questions, and the asker's own device.
fn tell(
    gateway: &mut Gateway,
    number: u64,
    [to_all, to_own]: [&'static events::Event; 2],
    payload: &Value,
    out: &mut Vec<Output>,
) {
    let Some(entry) = gateway.approvals.questions.entry(number) else { return };
    let sees =
        |conn: &ConnId| gateway.peers.session(*conn).is_some_and(|session| may_see(session, *conn, entry));
    let answers = |conn: &ConnId| {
        gateway.peers.session(*conn).is_some_and(|session| session.scopes.satisfies(scope::QUESTIONS))
    };
    let (all, own): (Vec<ConnId>, Vec<ConnId>) = gateway.peers.open().filter(sees).partition(answers);
    gateway.tell(&all, to_all, shapes::newer(payload), out);
    gateway.tell(&own, to_own, shapes::newer(payload), out);
}

fn may_see(session: &Session, conn: ConnId, entry: &Entry) -> bool {
    let is_own = entry.is_of(conn, session.device_id.as_deref());
    session.role == Role::Operator
        && (session.scopes.satisfies(scope::QUESTIONS)
            || (is_own && session.scopes.satisfies(scope::SESSIONS_WRITE)))
}

fn is_asker(gateway: &Gateway, conn: ConnId, entry: &Entry) -> bool {
    let session = gateway.peers.session(conn);
    session.is_some_and(|session| entry.is_of(conn, session.device_id.as_deref()))
}

fn seen<'a>(gateway: &'a Gateway, call: &Call) -> Option<&'a Entry> {
    let session = gateway.peers.session(call.conn)?;
    let entry = gateway.approvals.questions.find(word(call, "id")?)?;
    may_see(session, call.conn, entry).then_some(entry)
}

/// Answers are to what was asked, and as many as were wanted.
fn check(entry: &Entry, answers: &Value) -> Result<(), String> {
    let questions = entry.request["questions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (id, given) in answers["answers"].as_object().into_iter().flatten() {
        let Some(question) = questions.iter().find(|question| question["questionId"] == **id) else {
            return Err(format!("invalid question.resolve params: nobody asked {id:?}"));
        };
        if question["multiSelect"] != true && given.as_array().is_some_and(|given| given.len() > 1) {
            return Err(format!("invalid question.resolve params: {id:?} takes one answer"));
        }
    }
    Ok(())
}

fn not_taken(fault: OpenFault) -> RequestError {
    let named = |message: &str, reason: &str| RequestError::Named {
        message: message.to_owned(),
        details: json!({"reason": reason}),
    };
    match fault {
        OpenFault::Pending => named("question id already pending", "QUESTION_ID_USED"),
        OpenFault::Used => named("question id already used; ask under a new one", "QUESTION_ID_USED"),
        OpenFault::Full => RequestError::Unavailable {
            message: "too many questions wait for an answer; answer some, or try again later".to_owned(),
            reason: "questions-full",
            retryable: true,
        },
    }
}

fn unknown() -> RequestError {
    let message = "unknown or expired question id".to_owned();
    RequestError::Named { message, details: json!({"reason": "QUESTION_NOT_FOUND"}) }
}
