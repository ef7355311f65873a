//! From a request to its handler, and from the host's answer back to who asked (spec: v4 section 8).

use super::replies::{ReplyKey, Seen};
use super::timers::Timer;
use super::writes::{Allowance, WriteKey};
use super::{Call, Gateway, Purpose, reads};
use crate::error::RequestError;
use crate::frame::CloseFrame;
use crate::host::{HostAnswer, HostRequest};
use crate::id::{ConnId, Ticket};
use crate::log::{Level, Record};
use crate::methods::{Answer, Params};
use crate::output::Output;
use crate::request::{MethodRef, ParamsFault, Request};
use crate::time::Now;

impl Gateway {
    /// Role, then scope, then the budget of writes, then params, then the handler (spec: v4 section 8).
    pub(super) fn dispatch(&mut self, now: Now, conn: ConnId, request: Request, out: &mut Vec<Output>) {
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

    pub(super) fn run(&mut self, answer: Answer, call: Call, out: &mut Vec<Output>) {
        match answer {
            Answer::By(handler) => handler(self, call, out),
            Answer::Text(text) => reads::text(self, call, text, out),
        }
    }

    /// Takes a control-plane write out of its window.
    pub(super) fn write_budget(
        &mut self,
        now: Now,
        conn: ConnId,
        method: &MethodRef,
    ) -> Result<(), RequestError> {
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
    pub(super) fn seen_before(
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

    pub(super) fn ask_host(
        &mut self,
        now: Now,
        request: HostRequest,
        purpose: Purpose,
        out: &mut Vec<Output>,
    ) {
        self.ask_host_for(now, self.config.limits.host_timeout_ms, request, purpose, out);
    }

    /// The same with a bound of its own.
    pub(super) fn ask_host_for(
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
    pub(super) fn answered(&mut self, now: Now, ticket: Ticket, answer: HostAnswer, out: &mut Vec<Output>) {
        // A late or repeated answer finds no ticket.
        let Some(purpose) = self.tickets.remove(&ticket) else { return };
        self.timers.clear(Timer::Host(ticket));
        self.stats.counters.disk_writes += u64::from(answer.has_written());
        self.settle(now, purpose, Some(answer), out);
        self.settle_suspension(out);
        self.finish_stop(out);
    }

    /// Ends a host request: with its answer, or without one when the host was silent for too long.
    pub(super) fn settle(
        &mut self,
        now: Now,
        purpose: Purpose,
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
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
