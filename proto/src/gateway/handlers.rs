//! The answers of the core's own methods (spec: methods section 3). Each runs after role, scope and params were
//! checked.

use super::health::Health;
use super::presence::Facts;
use super::relay::Relayed;
use super::{Call, Gateway};
use crate::dialect;
use crate::error::RequestError;
use crate::frame::Payload;
use crate::methods::{Params, SystemEvent};
use crate::output::{Output, Reply};
use crate::scope;
use bytes::Bytes;
use serde_json::{Value, json};

/// `connect` once more.
pub(crate) fn connect_again(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let error = RequestError::Invalid("connect is only valid as the first request".to_owned());
    gateway.fail(call.conn, call.id, &error, out);
}

/// `health`: the snapshot at hand, and a fresh one to everybody soon after.
pub(crate) fn health(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let snapshot = gateway.health.encoded(session.dialect, Health::shows_paths(&session.scopes));
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Json(snapshot)), out);
    gateway.health_flush.dirty = [true, true];
}

/// `status`.
pub(crate) fn status(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let admin = session.scopes.satisfies(scope::ADMIN);
    let status = match &gateway.status[usize::from(admin)] {
        Some(status) => status.clone(),
        None => {
            let about = &gateway.config.about;
            let path = format!("{}/agents/main/sessions/sessions.json", about.state_dir);
            let events: Vec<String> = gateway.system_events.iter().cloned().collect();
            let status = dialect::status(&about.version, &path, gateway.health.heartbeats, &events, admin);
            let status = Bytes::from(status.to_string());
            gateway.status[usize::from(admin)] = Some(status.clone());
            status
        }
    };
    let numbers = gateway.numbers_text(call.now);
    let latest = admin.then(|| gateway.stats.latest_refusals());
    let status = dialect::status_with(&status, &numbers, latest.as_ref());
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Json(status)), out);
}

/// `system-presence`.
pub(crate) fn system_presence(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let list = gateway.presence.list(call.now, session.dialect);
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Json(list)), out);
}

/// `system-event`: a line for the agent, and what it tells about who is here.
pub(crate) fn system_event(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::SystemEvent(event) = &call.params else { return };
    let facts = event_facts(event);
    let key =
        [&facts.device_id, &facts.instance_id, &facts.host, &facts.ip].into_iter().flatten().next().cloned();
    let key = key.unwrap_or_else(|| event.text.chars().take(64).collect());
    gateway.presence.told(call.now, &key.trim().to_lowercase(), facts);
    gateway.presence_flush.dirty = [true, true];
    // Beacons of nodes tell about presence only.
    if !event.text.starts_with("Node:") {
        keep_for_agent(gateway, &event.text);
    }
    reply_value(gateway, call, json!({"ok": true}), out);
}

/// `wake`: a line for the agent. No agent runs here, so nothing beats at once: the line waits, and `status` shows it.
pub(crate) fn wake(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Wake(wake) = &call.params else { return };
    let is_said = !wake.text.is_empty();
    if is_said {
        keep_for_agent(gateway, &wake.text);
    }
    reply_value(gateway, call, json!({"ok": is_said}), out);
}

fn keep_for_agent(gateway: &mut Gateway, text: &str) {
    if gateway.system_events.len() == SYSTEM_EVENTS_MAX {
        gateway.system_events.pop_front();
    }
    gateway.status = [None, None];
    gateway.system_events.push_back(text.chars().take(SYSTEM_EVENT_CHARS_MAX).collect());
}

/// `last-heartbeat`: no agent runs here, so there was none.
pub(crate) fn last_heartbeat(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Json(Bytes::from_static(b"null"))), out);
}

/// `set-heartbeats`.
pub(crate) fn set_heartbeats(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Enabled(enabled) = call.params else { return };
    gateway.health.heartbeats = enabled;
    gateway.status = [None, None];
    reply_value(gateway, call, json!({"ok": true, "enabled": enabled}), out);
}

/// `gateway.identity.get`.
pub(crate) fn identity(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let about = &gateway.config.about;
    let identity = json!({"deviceId": about.device_id, "publicKey": about.public_key});
    reply_value(gateway, call, identity, out);
}

/// `system.info`.
pub(crate) fn system_info(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    gateway.relay(Relayed::SystemInfo, call, None, out);
}

/// `exec.approvals.get`.
pub(crate) fn exec_approvals(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    gateway.relay(Relayed::ExecApprovals, call, None, out);
}

fn reply_value(gateway: &mut Gateway, call: Call, value: Value, out: &mut Vec<Output>) {
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Value(Box::new(value))), out);
}

/// What an event says, with what its text says where a member is missing:
/// `Node: HOST (IP) · app VERSION · last input Ns ago · mode MODE · reason REASON`.
fn event_facts(event: &SystemEvent) -> Facts {
    let mut facts = Facts {
        host: event.host.clone(),
        ip: event.ip.clone(),
        version: event.version.clone(),
        platform: event.platform.clone(),
        device_family: event.device_family.clone(),
        model_identifier: event.model_identifier.clone(),
        mode: event.mode.clone(),
        last_input_seconds: event.last_input_seconds,
        reason: event.reason.clone(),
        tags: event.tags.clone(),
        text: Some(event.text.clone()),
        device_id: event.device_id.clone(),
        roles: event.roles.clone(),
        scopes: event.scopes.clone(),
        instance_id: event.instance_id.clone(),
        ..Facts::default()
    };
    let Some(line) = event.text.strip_prefix("Node:") else { return facts };
    let mut parts = line.split('·').map(str::trim);
    if let Some(who) = parts.next() {
        let (host, ip) = match who.rsplit_once('(') {
            Some((host, ip)) => (host.trim(), ip.strip_suffix(')')),
            None => (who, None),
        };
        facts.host = facts.host.or_else(|| some_text(host));
        facts.ip = facts.ip.or_else(|| ip.and_then(some_text));
    }
    for part in parts {
        if let Some(version) = part.strip_prefix("app ") {
            facts.version = facts.version.or_else(|| some_text(version));
        } else if let Some(mode) = part.strip_prefix("mode ") {
            facts.mode = facts.mode.or_else(|| some_text(mode));
        } else if let Some(reason) = part.strip_prefix("reason ") {
            facts.reason = facts.reason.or_else(|| some_text(reason));
        } else if let Some(ago) = part.strip_prefix("last input ") {
            let seconds = ago.strip_suffix("s ago").and_then(|text| text.parse().ok());
            facts.last_input_seconds = facts.last_input_seconds.or(seconds);
        }
    }
    facts
}

fn some_text(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// System events kept until an agent reads them.
const SYSTEM_EVENTS_MAX: usize = 20;
/// Length of one of them.
const SYSTEM_EVENT_CHARS_MAX: usize = 2_000;
