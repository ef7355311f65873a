//! What nodes tell by themselves (spec: nodes section 7, v4 sections 11.3 and 11.4): events, and what they have besides
//! commands. What there is no use for here is answered as not handled, never as done.

use super::{Call, Gateway, events};
use crate::dialect::nodes::{self as shapes, Told};
use crate::error::{InvokeError, RequestError};
use crate::frame::Payload;
use crate::id::ConnId;
use crate::methods::Params;
use crate::output::{Output, Reply};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// `node.event`.
pub(crate) fn event(gateway: &mut Gateway, mut call: Call, out: &mut Vec<Output>) {
    let Params::NodeEvent(told) = core::mem::replace(&mut call.params, Params::None) else { return };
    let Some(dialect) = gateway.peers.session(call.conn).map(|session| session.dialect) else { return };
    let outcome = if gateway.awaits_approval(call.conn).is_some() {
        match shapes::event_unapproved(dialect) {
            Some(error) => return gateway.fail(call.conn, call.id, &error, out),
            None => Told::Unsupported,
        }
    } else {
        let payload = told.payload.unwrap_or_default();
        match told.event.as_str() {
            "node.host.stats" => host_stats(gateway, &call, &payload, out),
            "node.presence.alive" => alive(gateway, &call, &payload),
            "chat.subscribe" => subscribe(gateway, call.conn, &payload, true),
            "chat.unsubscribe" => subscribe(gateway, call.conn, &payload, false),
            _ => Told::Unsupported,
        }
    };
    let answer = shapes::event_told(dialect, &told.event, outcome);
    reply(gateway, call, answer, out);
}

/// `node.pluginTools.update`: what the node offers besides commands, as far as its commands were approved.
pub(crate) fn plugin_tools(gateway: &mut Gateway, mut call: Call, out: &mut Vec<Output>) {
    let Params::Object(mut params) = core::mem::replace(&mut call.params, Params::None) else { return };
    let Some(Value::Array(mut tools)) = params.remove("tools") else { return };
    tools.truncate(gateway.config.limits.node_declared_max);
    let Some(node_id) = gateway.peers.session(call.conn).and_then(|session| session.device_id.clone()) else {
        return;
    };
    let approved = gateway.devices.content().nodes.get(&node_id).map(|entry| entry.surface.clone());
    let Some(node) = gateway.peers.session_mut(call.conn).and_then(|session| session.declared.as_mut())
    else {
        return;
    };
    node.tools = tools.into();
    let offered = node.surface.within(&approved.clone().unwrap_or_default());
    let shown = shapes::tools(&node.tools, approved.is_some().then_some(&offered.commands[..]));
    let answer = json!({"nodeId": node_id, "tools": shown});
    reply(gateway, call, answer, out);
}

/// `node.skills.update`: there is no agent here that would take any.
pub(crate) fn skills(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let answer = json!({"nodeId": session.device_id, "skills": []});
    reply(gateway, call, answer, out);
}

/// `node.runnerInventory.update`: nothing runs on nodes from here, so it is only said whether the node may offer anything.
pub(crate) fn runner_inventory(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    if let Some(Some(request_id)) = gateway.awaits_approval(call.conn) {
        let error = RequestError::from(InvokeError::AwaitsApproval { request_id });
        return gateway.fail(call.conn, call.id, &error, out);
    }
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let answer = json!({"nodeId": session.device_id});
    reply(gateway, call, answer, out);
}

/// How busy a node is: shown beside it, and told to those who may see nodes, but not each time to everybody.
fn host_stats(gateway: &mut Gateway, call: &Call, payload: &Value, out: &mut Vec<Output>) -> Told {
    let Some(stats) = read_stats(payload, call.now.wall.0) else { return Told::Invalid };
    let interval_ms = gateway.config.limits.node_stats_interval_ms;
    let Some(session) = gateway.peers.session_mut(call.conn) else { return Told::Unsupported };
    let (Some(node), Some(node_id)) = (session.declared.as_mut(), &session.device_id) else {
        return Told::Unsupported;
    };
    let is_due = node.stats_told.is_none_or(|told| call.now.mono.millis_since(told) >= interval_ms);
    let payload = is_due.then(|| json!({"nodeId": node_id, "hostStats": stats}).to_string());
    node.host_stats = Some(stats);
    if let Some(payload) = payload {
        node.stats_told = Some(call.now.mono);
        gateway.broadcast(&events::NODE_STATS, [None, Some(Bytes::from(payload))], out);
    }
    Told::Updated
}

/// The numbers that are known, and when they were told.
fn read_stats(payload: &Value, now_ms: u64) -> Option<Value> {
    let given = payload.as_object()?;
    let mut stats = Map::new();
    for name in STATS {
        let number = given.get(name).and_then(Value::as_f64).filter(|number| *number >= 0.0);
        stats.extend(number.and(given.get(name).cloned()).map(|number| (name.to_owned(), number)));
    }
    let load = given.get("loadAverage").and_then(Value::as_array).into_iter().flatten();
    let load: Vec<&Value> = load.filter(|number| number.is_number()).take(3).collect();
    if !load.is_empty() {
        stats.insert("loadAverage".to_owned(), json!(load));
    }
    if stats.is_empty() {
        return None;
    }
    stats.insert("updatedAtMs".to_owned(), now_ms.into());
    Some(Value::Object(stats))
}

/// A node says that it lives.
fn alive(gateway: &mut Gateway, call: &Call, payload: &Value) -> Told {
    let trigger = payload.get("trigger").and_then(Value::as_str);
    let reason = TRIGGERS.into_iter().find(|name| Some(*name) == trigger);
    let node_id = gateway.peers.session(call.conn).and_then(|session| session.device_id.clone());
    let (Some(reason), Some(node_id)) = (reason, node_id) else { return Told::Invalid };
    gateway.devices.saw(&node_id, call.now.wall.0, reason);
    Told::Updated
}

/// Which chats a node wants to follow.
fn subscribe(gateway: &mut Gateway, conn: ConnId, payload: &Value, wants: bool) -> Told {
    let key = payload.get("sessionKey").and_then(Value::as_str).map(str::trim);
    let Some(key) = key.filter(|key| !key.is_empty() && key.len() <= KEY_BYTES_MAX) else {
        return Told::Invalid;
    };
    let chats_max = gateway.config.limits.node_chats_max;
    let Some(node) = gateway.peers.session_mut(conn).and_then(|session| session.declared.as_mut()) else {
        return Told::Unsupported;
    };
    if !wants {
        node.chats.remove(key);
    } else if node.chats.len() < chats_max || node.chats.contains(key) {
        node.chats.insert(key.to_owned());
    } else {
        return Told::Full;
    }
    Told::Updated
}

impl Gateway {
    /// Whether a node waits for somebody to approve anything of what it offers: under which request, if there is one.
    pub(super) fn awaits_approval(&self, conn: ConnId) -> Option<Option<String>> {
        let session = self.peers.session(conn)?;
        let (node_id, node) = (session.device_id.as_ref()?, session.declared.as_ref()?);
        let store = self.devices.content();
        if node.surface.is_empty() || store.nodes.contains_key(node_id) {
            return None;
        }
        let request = store.node_requests.values().find(|request| request.node_id == *node_id);
        Some(request.and_then(|request| request.request_id.clone()))
    }

    /// Chats that nodes follow.
    pub(super) fn node_chats(&self) -> usize {
        let sessions = self.peers.open().filter_map(|conn| self.peers.session(conn));
        sessions.filter_map(|session| session.declared.as_ref()).map(|node| node.chats.len()).sum()
    }
}

fn reply(gateway: &mut Gateway, call: Call, answer: Value, out: &mut Vec<Output>) {
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Value(Box::new(answer))), out);
}

/// Numbers of `node.host.stats`.
const STATS: [&str; 5] =
    ["cpuCount", "memoryTotalBytes", "memoryFreeBytes", "diskTotalBytes", "diskAvailableBytes"];
/// Why a node says that it lives.
const TRIGGERS: [&str; 6] =
    ["background", "silent_push", "bg_app_refresh", "significant_location", "manual", "connect"];
/// Longer than any session key.
const KEY_BYTES_MAX: usize = 512;
