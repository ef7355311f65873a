//! `node.pending.*`: operators leave work for a node that is away, and a phone fetches what it could not do in the
//! background (spec: nodes sections 4, 5 and 8). Nothing wakes a phone from here, which the answers say.

use super::{Call, Gateway};
use crate::dialect::nodes as shapes;
use crate::dialect::nodes::is_node;
use crate::error::{InvokeError, RequestError};
use crate::frame::Payload;
use crate::invokes::Draft;
use crate::methods::Params;
use crate::methods::invoke_params::NodeError;
use crate::output::{Output, Reply};
use crate::pending::{Action, Kind, Priority, Work};
use crate::time::Now;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// `node.pending.enqueue`.
pub(crate) fn enqueue(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let node_id = text(params, "nodeId").trim().to_owned();
    let Some(kind) = Kind::parse(text(params, "type")) else { return };
    if !gateway.devices.content().paired.get(&node_id).is_some_and(|device| is_node(device)) {
        let error = RequestError::Invalid("unknown nodeId".to_owned());
        return gateway.fail(call.conn, call.id, &error, out);
    }
    let life_ms = number(params, "expiresInMs");
    let created_at_ms = call.now.wall.0;
    let work = Work {
        id: gateway.random.uuid(),
        kind,
        priority: if text(params, "priority") == "high" { Priority::High } else { Priority::Normal },
        created_at_ms,
        expires_at_ms: life_ms.map(|ms| created_at_ms.saturating_add(ms)),
    };
    let limits = &gateway.config.limits;
    let (revision, queued, _) = gateway.pending.leave(call.now, &node_id, work, limits);
    let answer = json!({
        "nodeId": node_id, "revision": revision, "queued": shapes::work(&queued), "wakeTriggered": false,
    });
    reply(gateway, call, answer, out);
}

/// `node.pending.drain`.
pub(crate) fn drain(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let items_max = number(params, "maxItems").map_or(DRAIN_ITEMS, |max| max as usize);
    let Some(node_id) = own_id(gateway, &call) else { return };
    let fetched = gateway.pending.fetch(call.now, &node_id, items_max, &gateway.config.limits);
    let items: Vec<Value> = fetched.items.iter().map(shapes::work).collect();
    let answer = json!({
        "nodeId": node_id, "revision": fetched.revision, "items": items, "hasMore": fetched.has_more,
    });
    reply(gateway, call, answer, out);
}

/// `node.pending.pull`: what may still run.
pub(crate) fn pull(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(node_id) = own_id(gateway, &call) else { return };
    let mut actions = gateway.pending.pull(call.now, &node_id, &gateway.config.limits);
    actions.retain(|action| gateway.may_run(call.conn, &node_id, &action.command).is_ok());
    let answer = shapes::actions(&node_id, &actions);
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Json(answer)), out);
}

/// `node.pending.ack`.
pub(crate) fn ack(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let ids = params.get("ids").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut acked: Vec<String> = Vec::new();
    for id in ids.map(str::trim).filter(|id| !id.is_empty()) {
        if !acked.iter().any(|seen| seen == id) {
            acked.push(id.to_owned());
        }
    }
    let Some(node_id) = own_id(gateway, &call) else { return };
    let left = gateway.pending.done(call.now, &node_id, &acked, &gateway.config.limits);
    reply(gateway, call, json!({"nodeId": node_id, "ackedIds": acked, "remainingCount": left}), out);
}

impl Gateway {
    /// Keeps a command that a phone cannot carry out in the background, until it fetches it. Gives what the caller is
    /// told instead of the node's refusal; nothing, when that stands.
    pub(super) fn keep_for_foreground(
        &mut self,
        now: Now,
        asked: &Draft,
        error: &NodeError,
    ) -> Option<InvokeError> {
        let session = self.peers.session(asked.node)?;
        let platform = session.declared.as_ref()?.about.platform.clone()?.trim().to_ascii_lowercase();
        let is_ios = platform.starts_with("ios") || platform.starts_with("ipados");
        let needs_screen = FOREGROUND.iter().any(|prefix| asked.command.starts_with(prefix));
        let says_so = error.code.as_deref() == Some("NODE_BACKGROUND_UNAVAILABLE")
            || error.message.as_deref().is_some_and(|text| text.contains("BACKGROUND_UNAVAILABLE"));
        if !(is_ios && needs_screen && says_so) {
            return None;
        }
        let action = Action {
            id: self.random.uuid(),
            command: asked.command.clone(),
            params: asked.params.clone(),
            idempotency_key: asked.idempotency_key.clone(),
            enqueued_at_ms: now.wall.0,
        };
        let action_id = self.pending.keep(now, &asked.node_id, action, &self.config.limits)?;
        let (node_id, command) = (asked.node_id.clone(), asked.command.clone());
        Some(InvokeError::Kept { action_id, node_id, command, error: error.clone() })
    }
}

fn own_id(gateway: &Gateway, call: &Call) -> Option<String> {
    gateway.peers.session(call.conn)?.device_id.clone()
}

fn text<'p>(params: &'p Map<String, Value>, name: &str) -> &'p str {
    params.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A shape let it in, so it is whole; it may be written `5.0`.
fn number(params: &Map<String, Value>, name: &str) -> Option<u64> {
    params.get(name).and_then(Value::as_f64).map(|number| number as u64)
}

fn reply(gateway: &mut Gateway, call: Call, answer: Value, out: &mut Vec<Output>) {
    let answer = Payload::Json(Bytes::from(answer.to_string()));
    gateway.respond(call.conn, call.id, Reply::Ok(answer), out);
}

/// Commands that need somebody to look at the screen.
const FOREGROUND: [&str; 4] = ["canvas.", "camera.", "screen.", "talk."];
/// As many as one fetch gives when nobody says.
const DRAIN_ITEMS: usize = 4;
