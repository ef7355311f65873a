//! Suspension and restart (spec: v4 sections 2, 7.1, 9.4 and 17): a caller has the gateway take no new work, learns
//! when nothing is in progress, and lets it go on; or has it end and start again.
//!
//! A suspension is a lease: who holds it renews it with the same `requestId`, and it ends by itself when nobody does.
//! Sockets stay open and new ones come in meanwhile, or nobody could call it off; only requests are turned away, but
//! for those that ask how things are.

use super::timers::Timer;
use super::{Call, Gateway, Purpose, events};
use crate::error::RequestError;
use crate::frame::Payload;
use crate::host::{HostAnswer, HostRequest};
use crate::id::ConnId;
use crate::log::{Level, Record};
use crate::methods::Params;
use crate::output::{Output, Reply};
use crate::request::MethodRef;
use crate::time::{Mono, Now};
use bytes::Bytes;
use serde_json::{Value, json};

/// Whether new work is taken.
#[derive(Debug, Default)]
pub(super) struct Suspension {
    held: Option<Held>,
    /// A restart is asked of the host, or near.
    pub(super) restarting: bool,
}

#[derive(Debug)]
struct Held {
    id: String,
    request_id: String,
    expires: Mono,
    expires_at_ms: u64,
    is_ready: bool,
}

impl Suspension {
    /// As `gateway.suspension` and hello-ok call it.
    pub(super) fn phase(&self) -> &'static str {
        match &self.held {
            None => "accepting",
            Some(Held { is_ready: false, .. }) => "draining",
            Some(Held { is_ready: true, .. }) => "prepared",
        }
    }

    /// Whether requests are turned away.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether a request is answered now. A name that nobody knows is refused for that.
    ///
    /// # Errors
    /// It has to wait for the end of the suspension.
    pub(super) fn admits(&self, method: &MethodRef) -> Result<(), RequestError> {
        match method {
            MethodRef::Known(row) if self.is_held() && !ANSWERED_MEANWHILE.contains(&row.name) => {
                Err(RequestError::Suspended { method: row.name.to_owned(), phase: self.phase() })
            }
            MethodRef::Known(_) | MethodRef::Unavailable(_) | MethodRef::Unknown(_) => Ok(()),
        }
    }
}

/// `gateway.suspend.prepare`.
pub(crate) fn prepare(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::SuspendPrepare(wanted) = &call.params else { return };
    let (now, drain, request_id) = (call.now, wanted.drain, wanted.request_id.clone());
    let active = gateway.active_work();
    let is_own = gateway.suspension.held.as_ref().map(|held| held.request_id == request_id);
    let busy = |reason: &str| {
        let mut answer = with_blockers(json!({"status": "busy", "reason": reason}), active);
        answer["retryAfterMs"] = json!(RETRY_AFTER_MS);
        answer
    };
    let answer = match is_own {
        _ if gateway.stopping || gateway.suspension.restarting => busy("gateway-draining"),
        Some(false) => busy("gateway-draining"),
        None if active > 0 && !drain => busy("active-work"),
        Some(true) | None => {
            let before = gateway.suspension.phase();
            let lease_ms = gateway.config.limits.suspend_lease_ms;
            let id = match gateway.suspension.held.take() {
                Some(held) => held.id,
                None => gateway.random.uuid(),
            };
            let expires = now.mono.plus_millis(lease_ms);
            let expires_at_ms = now.wall.0.saturating_add(lease_ms);
            gateway.suspension.held =
                Some(Held { id: id.clone(), request_id, expires, expires_at_ms, is_ready: active == 0 });
            gateway.timers.set(Timer::Suspension, expires);
            if before != gateway.suspension.phase() {
                gateway.tell_suspension(out);
            }
            let mut answer = json!({"status": "ready", "suspensionId": id, "expiresAtMs": expires_at_ms});
            if active > 0 {
                answer["status"] = json!("draining");
                answer["retryAfterMs"] = json!(RETRY_AFTER_MS);
            }
            with_blockers(answer, active)
        }
    };
    reply(gateway, call, answer, out);
}

/// `gateway.suspend.status`.
pub(crate) fn status(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::SuspensionId(id) = &call.params else { return };
    let active = gateway.active_work();
    let answer = match &gateway.suspension.held {
        None => json!({"status": "running"}),
        Some(held) if held.id != *id => return other_suspension(gateway, call, out),
        Some(held) if held.is_ready => json!({"status": "ready", "expiresAtMs": held.expires_at_ms}),
        Some(held) => with_blockers(
            json!({
                "status": "draining", "expiresAtMs": held.expires_at_ms, "retryAfterMs": RETRY_AFTER_MS,
            }),
            active,
        ),
    };
    reply(gateway, call, answer, out);
}

/// `gateway.suspend.resume`.
pub(crate) fn resume(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::SuspensionId(id) = &call.params else { return };
    let resumed = match &gateway.suspension.held {
        None => false,
        Some(held) if held.id != *id => return other_suspension(gateway, call, out),
        Some(_) => {
            gateway.end_suspension("resumed", out);
            true
        }
    };
    reply(gateway, call, json!({"ok": true, "status": "running", "resumed": resumed}), out);
}

/// `gateway.restart.preflight`: what a restart would interrupt.
pub(crate) fn restart_preflight(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let answer = gateway.restart_preflight();
    reply(gateway, call, answer, out);
}

/// `gateway.restart.request`: answered when the host is ready for it.
pub(crate) fn restart_request(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Restart { reason } = &call.params else { return };
    if gateway.stopping || gateway.suspension.restarting {
        let answer = gateway.restart_answer(reason, true);
        return reply(gateway, call, answer, out);
    }
    gateway.suspension.restarting = true;
    out.push(Output::Log(
        Record::new(Level::Info, "gateway.restart-requested").conn(call.conn).field("reason", reason),
    ));
    let purpose = Purpose::Restart { conn: call.conn, id: call.id, reason: reason.clone() };
    gateway.ask_host(call.now, HostRequest::PrepareRestart, purpose, out);
}

impl Gateway {
    /// Requests that are being answered: their answers, or what they store, would be lost. Reading the log is no work:
    /// who follows it asks every second, and there would be no end of it.
    fn active_work(&self) -> usize {
        let relayed: usize = self.relays.values().map(Vec::len).sum();
        self.devices.waiting()
            + self.voice.waiting()
            + self.exec_approvals_waiting()
            + self.config_ops()
            + self.invokes.len()
            + relayed
    }

    /// Work has ended: a suspension that waits for it may be ready.
    pub(super) fn settle_suspension(&mut self, out: &mut Vec<Output>) {
        if self.suspension.held.as_ref().is_none_or(|held| held.is_ready) || self.active_work() > 0 {
            return;
        }
        if let Some(held) = &mut self.suspension.held {
            held.is_ready = true;
        }
        self.tell_suspension(out);
    }

    /// The lease has run out, unless it was renewed.
    pub(super) fn suspension_due(&mut self, now: Now, out: &mut Vec<Output>) {
        match &self.suspension.held {
            Some(held) if held.expires > now.mono => self.timers.set(Timer::Suspension, held.expires),
            Some(_) => self.end_suspension("expired", out),
            None => {}
        }
    }

    fn end_suspension(&mut self, why: &'static str, out: &mut Vec<Output>) {
        self.suspension.held = None;
        self.timers.clear(Timer::Suspension);
        out.push(Output::Log(Record::new(Level::Info, "gateway.suspension-ended").field("why", why)));
        self.tell_suspension(out);
    }

    fn tell_suspension(&mut self, out: &mut Vec<Output>) {
        let record = Record::new(Level::Info, "gateway.suspension").field("phase", self.suspension.phase());
        out.push(Output::Log(record));
        let payload = Bytes::from(json!({"phase": self.suspension.phase()}).to_string());
        self.broadcast(&events::SUSPENSION, [None, Some(payload)], out);
    }

    pub(super) fn restart_prepared(
        &mut self,
        now: Now,
        (conn, id, reason): (ConnId, Box<str>, &str),
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
        let why = match answer {
            Some(HostAnswer::Restart(Ok(()))) => {
                let answer = self.restart_answer(reason, false);
                self.respond(conn, id, Reply::Ok(Payload::Value(Box::new(answer))), out);
                let at = now.mono.plus_millis(self.config.limits.restart_delay_ms);
                return self.timers.set(Timer::Restart, at);
            }
            Some(HostAnswer::Restart(Err(fault))) => fault.0,
            Some(_) | None => "this host does not answer".to_owned(),
        };
        self.suspension.restarting = false;
        let message = format!("the gateway cannot restart itself: {why}");
        let error = RequestError::Unavailable { message, reason: "restart-unavailable", retryable: false };
        self.fail(conn, id, &error, out);
    }

    fn restart_preflight(&self) -> Value {
        let active = self.active_work();
        let summary = match active {
            0 => "safe to restart now".to_owned(),
            _ => format!("{} first", text_of(active)),
        };
        let answer = json!({
            "safe": active == 0,
            "counts": {
                "queueSize": active, "pendingReplies": 0, "embeddedRuns": 0, "activeTasks": 0, "totalActive": active,
            },
            "summary": summary,
        });
        with_blockers(answer, active)
    }

    fn restart_answer(&self, reason: &str, coalesced: bool) -> Value {
        json!({
            "ok": true,
            "status": if coalesced { "coalesced" } else { "scheduled" },
            "preflight": self.restart_preflight(),
            "restart": {
                "ok": true, "delayMs": self.config.limits.restart_delay_ms, "reason": reason, "mode": "emit",
                "coalesced": coalesced, "cooldownMsApplied": 0,
            },
        })
    }
}

fn other_suspension(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let error = RequestError::Invalid("suspensionId does not match the active suspension".to_owned());
    gateway.fail(call.conn, call.id, &error, out);
}

fn reply(gateway: &mut Gateway, call: Call, answer: Value, out: &mut Vec<Output>) {
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Value(Box::new(answer))), out);
}

/// `activeCount` and `blockers`, as the schema wants them.
fn with_blockers(mut answer: Value, active: usize) -> Value {
    answer["activeCount"] = json!(active);
    answer["blockers"] = match active {
        0 => json!([]),
        _ => json!([{"kind": "root-request", "count": active, "message": text_of(active)}]),
    };
    answer
}

fn text_of(active: usize) -> String {
    format!("{active} request(s) being answered")
}

/// What is answered while suspended: nothing of it is work, or it is the end of some.
const ANSWERED_MEANWHILE: [&str; 13] = [
    "health",
    "status",
    "system-presence",
    "gateway.identity.get",
    "gateway.suspend.prepare",
    "gateway.suspend.resume",
    "gateway.suspend.status",
    "gateway.restart.preflight",
    "gateway.restart.request",
    "diagnostics.lanes",
    "logs.tail",
    "node.invoke.progress",
    "node.invoke.result",
];
const RETRY_AFTER_MS: u64 = 1_000;
