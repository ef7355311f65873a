//! `device.scopes.requestUpgrade` and `device.scopes.waitUpgrade` (spec: v4 section 6.9): a device that is in asks for
//! more, and waits until somebody decides, or until the request ends.
//!
//! The request itself is an ordinary pending one, in the device store; here is only who waits for it. A wait never
//! lasts longer than a request lives, and the token goes to the device it belongs to and to nobody else. The socket
//! keeps the scopes it came with.

use super::devices::Op;
use super::pair::Key;
use super::timers::Timer;
use super::writes::{Allowance, WriteKey, Writes};
use super::{Call, Gateway};
use crate::error::RequestError;
use crate::frame::Payload;
use crate::id::ConnId;
use crate::methods::Params;
use crate::output::{Output, Reply};
use crate::scope::Scopes;
use crate::time::{Mono, Now};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Requests for more scopes, by id.
#[derive(Debug, Default)]
pub(super) struct Upgrades {
    filed: BTreeMap<String, Filed>,
    /// How often each device asked: every new request is shown to whoever decides.
    asked: Writes,
}

#[derive(Debug)]
struct Filed {
    device_id: String,
    /// What was asked for, when it was asked here.
    wanted: Vec<String>,
    /// When the request ends; and, as long again, when its outcome is forgotten.
    until: Mono,
    outcome: Option<Outcome>,
    waiting: Vec<(ConnId, Box<str>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Approved,
    Rejected,
    Expired,
}

/// Requests of one device that wait for the same outcome.
const WAITING_MAX: usize = 8;

/// `device.scopes.requestUpgrade`.
pub(crate) fn request(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let scopes = params.get("scopes").and_then(Value::as_array).into_iter().flatten();
    let scopes = Scopes::new(scopes.filter_map(Value::as_str));
    let Some(device_id) = gateway.peers.session(call.conn).and_then(|session| session.device_id.clone())
    else {
        return gateway.fail(call.conn, call.id, &no_device(), out);
    };
    if let Err(error) = gateway.upgrade_budget(call.now, &device_id, &scopes) {
        return gateway.fail(call.conn, call.id, &error, out);
    }
    let key = Key::Upgrade { conn: call.conn, id: call.id, wanted: scopes.as_slice().to_vec() };
    gateway.submit(call.now, Op::RequestUpgrade { device_id, scopes }, key, out);
}

/// `device.scopes.waitUpgrade`.
pub(crate) fn wait(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let wanted = params.get("requestId").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(device_id) = gateway.peers.session(call.conn).and_then(|session| session.device_id.clone())
    else {
        return gateway.fail(call.conn, call.id, &no_device(), out);
    };
    gateway.recall_upgrade(call.now, &wanted);
    let filed = gateway.upgrades.filed.get_mut(&wanted).filter(|filed| filed.device_id == device_id);
    let Some(filed) = filed else {
        return gateway.fail(call.conn, call.id, &RequestError::Invalid("unknown requestId".to_owned()), out);
    };
    let peers = &gateway.peers;
    filed.waiting.retain(|(conn, _)| peers.session(*conn).is_some());
    if filed.outcome.is_none() && filed.waiting.len() >= WAITING_MAX {
        return gateway.fail(call.conn, call.id, &RequestError::Busy, out);
    }
    filed.waiting.push((call.conn, call.id));
    gateway.answer_upgrade(&wanted, out);
}

fn no_device() -> RequestError {
    RequestError::Invalid("device identity required".to_owned())
}

impl Gateway {
    /// Takes a request out of its device's budget, unless the same waits already.
    fn upgrade_budget(&mut self, now: Now, device_id: &str, wanted: &Scopes) -> Result<(), RequestError> {
        let mut pending = self.devices.content().pending.values();
        let is_waiting = pending.any(|request| {
            let is_asked = |scope: &String| request.scopes.iter().flatten().any(|asked| asked == scope);
            request.device_id == device_id && wanted.as_slice().iter().all(is_asked)
        });
        if is_waiting {
            return Ok(());
        }
        let limits = &self.config.limits;
        let (max, window_ms) = (limits.upgrade_requests_max, limits.upgrade_requests_window_ms);
        let allowance = Allowance { max, window_ms, windows_max: limits.control_writes_windows_max };
        let key = WriteKey { method: REQUEST, device_id: Some(device_id.to_owned()), ip: None, conn: None };
        let taken = self.upgrades.asked.take(now.mono, key, allowance);
        taken.map_err(|retry_after_ms| RequestError::WriteBudget {
            method: REQUEST,
            retry_after_ms,
            max,
            window_ms,
        })
    }

    /// A request is filed, or joined.
    pub(super) fn upgrade_filed(
        &mut self,
        now: Now,
        (conn, id): (ConnId, Box<str>),
        filed: (String, String, Vec<String>),
        out: &mut Vec<Output>,
    ) {
        let (request_id, device_id, wanted) = filed;
        if !self.make_room_for_upgrade() {
            return self.fail(conn, id, &RequestError::Busy, out);
        }
        let until = now.mono.plus_millis(self.config.limits.pairing_ttl_ms);
        let filed = self.upgrades.filed.entry(request_id.clone()).or_insert(Filed {
            device_id,
            wanted: Vec::new(),
            until,
            outcome: None,
            waiting: Vec::new(),
        });
        // It waits now, whatever became of an earlier wait for it.
        (filed.wanted, filed.until, filed.outcome) = (wanted, until, None);
        self.set_upgrade_timer();
        let result = json!({ "requestId": request_id });
        self.respond(conn, id, Reply::Ok(Payload::Value(Box::new(result))), out);
    }

    /// A request that waits in the store, although nobody here knows of it any more: the gateway began anew.
    fn recall_upgrade(&mut self, now: Now, request_id: &str) {
        if self.upgrades.filed.contains_key(request_id) || !self.make_room_for_upgrade() {
            return;
        }
        let Some(request) = self.devices.content().pending.get(request_id) else { return };
        let age_ms = now.wall.0.saturating_sub(request.ts);
        let left_ms = self.config.limits.pairing_ttl_ms.saturating_sub(age_ms);
        let filed = Filed {
            device_id: request.device_id.clone(),
            wanted: Vec::new(),
            until: now.mono.plus_millis(left_ms),
            outcome: None,
            waiting: Vec::new(),
        };
        self.upgrades.filed.insert(request_id.to_owned(), filed);
        self.set_upgrade_timer();
    }

    /// Forgets what nobody waits for, the oldest first. Whether there is room then.
    fn make_room_for_upgrade(&mut self) -> bool {
        let max = self.config.limits.upgrade_waits_max;
        while self.upgrades.filed.len() >= max {
            let idle = self.upgrades.filed.iter().filter(|(_, filed)| filed.waiting.is_empty());
            let Some(oldest) = idle.min_by_key(|(_, filed)| filed.until).map(|(id, _)| id.clone()) else {
                return false;
            };
            self.upgrades.filed.remove(&oldest);
        }
        true
    }

    /// Somebody decided about a pending request.
    pub(super) fn upgrade_resolved(&mut self, request_id: &str, approved: bool, out: &mut Vec<Output>) {
        if let Some(filed) = self.upgrades.filed.get_mut(request_id) {
            filed.outcome = Some(if approved { Outcome::Approved } else { Outcome::Rejected });
            self.answer_upgrade(request_id, out);
        }
    }

    /// Tells those who wait, when there is something to tell.
    fn answer_upgrade(&mut self, request_id: &str, out: &mut Vec<Output>) {
        let Some(filed) = self.upgrades.filed.get_mut(request_id) else { return };
        let Some(outcome) = filed.outcome else { return };
        let (waiting, wanted) = (core::mem::take(&mut filed.waiting), filed.wanted.clone());
        let device_id = filed.device_id.clone();
        let token = self.devices.content().paired.get(&device_id).and_then(|device| {
            let token = device.tokens.as_ref()?.get("operator")?;
            token.revoked_at_ms.is_none().then_some(token)
        });
        let answer = match (outcome, token) {
            (Outcome::Approved, Some(token)) => {
                // The schema has room for eight; what was asked for is what the token was made for.
                let fits = (1..=SCOPES_MAX).contains(&token.scopes.len());
                let scopes = if fits { token.scopes.clone() } else { wanted };
                json!({
                    "status": "approved", "requestId": request_id, "deviceToken": token.token, "scopes": scopes,
                })
            }
            // Approved, and revoked before anybody asked.
            (Outcome::Approved | Outcome::Rejected, _) => {
                json!({"status": "rejected", "requestId": request_id})
            }
            (Outcome::Expired, _) => json!({"status": "expired", "requestId": request_id}),
        };
        for (conn, id) in waiting {
            let is_theirs = self
                .peers
                .session(conn)
                .is_some_and(|session| session.device_id.as_ref() == Some(&device_id));
            if is_theirs {
                self.respond(conn, id, Reply::Ok(Payload::Value(Box::new(answer.clone()))), out);
            }
        }
    }

    /// A wait ends.
    pub(super) fn upgrades_due(&mut self, now: Now, out: &mut Vec<Output>) {
        let ttl_ms = self.config.limits.pairing_ttl_ms;
        let due: Vec<String> = self
            .upgrades
            .filed
            .iter()
            .filter(|(_, filed)| filed.until <= now.mono)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let Some(filed) = self.upgrades.filed.get_mut(&id) else { continue };
            if filed.outcome.is_some() {
                self.upgrades.filed.remove(&id);
                continue;
            }
            filed.outcome = Some(Outcome::Expired);
            filed.until = now.mono.plus_millis(ttl_ms);
            self.answer_upgrade(&id, out);
        }
        self.set_upgrade_timer();
    }

    fn set_upgrade_timer(&mut self) {
        match self.upgrades.filed.values().map(|filed| filed.until).min() {
            Some(at) => self.timers.set(Timer::Upgrades, at),
            None => self.timers.clear(Timer::Upgrades),
        }
    }
}

const REQUEST: &str = "device.scopes.requestUpgrade";
/// Most scopes that one upgrade may be about.
const SCOPES_MAX: usize = 8;
