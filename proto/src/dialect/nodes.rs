//! Nodes as lists and events show them (spec: nodes section 2, v4 sections 11.1 and 11.4, pairing section 9): paired
//! devices with the role `node`, and what they may offer.
//!
//! A node's token is shown once, by protocol 3's answer to its approval; lists do not show it.

use super::Dialect;
use crate::error::{InvokeError, RequestError};
use crate::frame::{LiveNode, NodeList, NodeView};
use crate::gateway::devices::nodes::required_scopes;
use crate::pending::{Action, Work};
use crate::store::nodes::{NodeAbout, NodeEntry, Surface};
use crate::store::{PairedDevice, Seen};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<u64>,
    node_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_family: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_ip: Option<&'a str>,
    caps: Vec<String>,
    commands: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_env: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_plugin_tools: Option<Vec<&'a Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_stats: Option<&'a Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    permissions: BTreeMap<String, bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_host: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_declared_caps: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_declared_commands: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_declared_permissions: Option<&'a BTreeMap<String, bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_reason: Option<&'a str>,
    paired: bool,
    connected: bool,
}

/// Renders `node.list`, `node.describe` or `node.pair.list`. Runs outside the gateway's lock.
pub(crate) fn nodes(dialect: Dialect, view: &NodeView) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        ts: u64,
        nodes: Vec<Row<'a>>,
    }
    let encoded = match &view.list {
        NodeList::All => serde_json::to_vec(&List { ts: view.ts, nodes: rows(dialect, view) }),
        NodeList::One(device) => serde_json::to_vec(&Row { ts: Some(view.ts), ..row(dialect, view, device) }),
        NodeList::Pairs => serde_json::to_vec(&pairs(dialect, view)),
    };
    encoded.expect("rows have only string keys")
}

/// Connected ones first, then by name.
fn rows<'a>(dialect: Dialect, view: &'a NodeView) -> Vec<Row<'a>> {
    let devices = view.devices.devices.paired.values();
    let mut rows: Vec<Row<'a>> =
        devices.filter(|device| is_node(device)).map(|device| row(dialect, view, device)).collect();
    rows.sort_by_cached_key(|row| {
        let name = row.display_name.unwrap_or(row.node_id).to_lowercase();
        (!row.connected, name, row.node_id)
    });
    rows
}

fn row<'a>(dialect: Dialect, view: &'a NodeView, device: &'a PairedDevice) -> Row<'a> {
    let store = &view.devices.devices;
    let entry = store.nodes.get(&device.device_id);
    let live = view.live.get(&device.device_id);
    let waiting = store.node_requests.values().find(|request| request.node_id == device.device_id);
    let surface = match (live, entry) {
        (Some(live), Some(entry)) => live.surface.within(&entry.surface),
        (Some(_) | None, None) => Surface::default(),
        // Who is away is shown with what it may offer; protocol 3 shows none of it.
        (None, Some(entry)) => match dialect {
            Dialect::V3 => Surface::default(),
            Dialect::V4 => entry.surface.clone(),
        },
    };
    let offered = surface.commands.clone();
    let row = Row {
        node_id: &device.device_id,
        display_name: device.name(),
        platform: device.platform.as_deref(),
        version: live.and_then(|live| live.version.as_deref()),
        device_family: device.device_family.as_deref(),
        remote_ip: device.remote_ip.as_deref(),
        caps: surface.caps,
        commands: surface.commands,
        path_env: live.and_then(|live| live.path_env.as_deref()),
        permissions: surface.permissions,
        connected_at_ms: live.map(|live: &LiveNode| live.since_ms),
        paired: true,
        connected: live.is_some(),
        ..Row::default()
    };
    match dialect {
        Dialect::V3 => row,
        Dialect::V4 => {
            let seen = view.devices.seen.get(&device.device_id);
            let state = match (waiting, entry) {
                (None, _) => "approved",
                (Some(_), None) => "pending-approval",
                (Some(_), Some(_)) => "pending-reapproval",
            };
            let asked = waiting.map(|request| &request.surface);
            Row {
                version: row.version.or_else(|| entry.and_then(|entry| entry.about.version.as_deref())),
                client_id: device.client_id.as_deref(),
                client_mode: device.client_mode.as_deref(),
                session_host: Some(false),
                node_plugin_tools: live.map(|live| tools(&live.tools, entry.map(|_| &offered[..]))),
                host_stats: live.and_then(|live| live.host_stats.as_ref()),
                approval_state: Some(state),
                pending_request_id: waiting.and_then(|request| request.request_id.as_deref()),
                pending_declared_caps: asked.map(|surface| &surface.caps[..]),
                pending_declared_commands: asked.map(|surface| &surface.commands[..]),
                pending_declared_permissions: asked
                    .map(|surface| &surface.permissions)
                    .filter(|permissions| !permissions.is_empty()),
                approved_at_ms: Some(device.approved_at_ms),
                last_seen_at_ms: seen.map(|seen| seen.at_ms),
                last_seen_reason: seen.map(|seen| seen.reason),
                ..row
            }
        }
    }
}

#[derive(Serialize)]
struct Pairs<'a> {
    pending: Vec<Entry<'a>>,
    paired: Vec<Entry<'a>>,
}

/// A node, or a request of one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    node_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(flatten)]
    about: NodeAbout,
    caps: &'a [String],
    commands: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    required_approve_scopes: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    permissions: &'a BTreeMap<String, bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_repair: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_reason: Option<&'a str>,
}

/// The latest first. What no device stands behind is not shown.
fn pairs(dialect: Dialect, view: &NodeView) -> Pairs<'_> {
    let store = &view.devices.devices;
    let is_there = |node_id: &str| store.paired.get(node_id).is_some_and(|device| is_node(device));
    let mut pending: Vec<Entry<'_>> = store
        .node_requests
        .values()
        .filter(|request| is_there(&request.node_id))
        .map(|request| entry(dialect, request, None))
        .collect();
    pending.sort_by_key(|entry| core::cmp::Reverse(entry.ts));
    let mut paired: Vec<Entry<'_>> = store
        .nodes
        .iter()
        .filter(|(node_id, _)| is_there(node_id))
        .map(|(node_id, node)| {
            let mut entry = entry(dialect, node, view.devices.seen.get(node_id));
            if let Some(label) = store.paired.get(node_id).and_then(|device| device.label.as_ref()) {
                entry.about.display_name = Some(label.clone());
            }
            entry
        })
        .collect();
    paired.sort_by_key(|entry| core::cmp::Reverse(entry.approved_at_ms));
    Pairs { pending, paired }
}

fn entry<'a>(dialect: Dialect, entry: &'a NodeEntry, seen: Option<&'a Seen>) -> Entry<'a> {
    let is_request = entry.request_id.is_some();
    let mut about = entry.about.clone();
    let shown = Entry {
        request_id: entry.request_id.as_deref(),
        node_id: &entry.node_id,
        token: None,
        about: NodeAbout::default(),
        caps: &entry.surface.caps,
        commands: &entry.surface.commands,
        required_approve_scopes: None,
        permissions: &entry.surface.permissions,
        remote_ip: entry.remote_ip.as_deref(),
        silent: entry.silent,
        is_repair: None,
        ts: entry.ts,
        created_at_ms: entry.created_at_ms,
        approved_at_ms: entry.approved_at_ms,
        last_seen_at_ms: None,
        last_seen_reason: None,
    };
    match dialect {
        Dialect::V3 => {
            (about.client_id, about.client_mode) = (None, None);
            Entry { about, is_repair: entry.is_repair.filter(|_| is_request), ..shown }
        }
        Dialect::V4 => {
            (about.core_version, about.ui_version) = (None, None);
            Entry {
                about,
                required_approve_scopes: is_request.then(|| required_scopes(&entry.surface.commands)),
                last_seen_at_ms: seen.map(|seen| seen.at_ms),
                last_seen_reason: seen.map(|seen| seen.reason),
                ..shown
            }
        }
    }
}

fn value(shown: &Entry<'_>) -> Value {
    serde_json::to_value(shown).expect("a row has only string keys")
}

/// The payload of `node.pair.requested`.
pub(crate) fn requested(dialect: Dialect, request: &NodeEntry) -> Value {
    value(&entry(dialect, request, None))
}

/// The payload of `node.pair.resolved`.
pub(crate) fn resolved(request_id: &str, node_id: &str, decision: &str, ts: u64) -> Value {
    json!({"requestId": request_id, "nodeId": node_id, "decision": decision, "ts": ts})
}

/// The result of `node.pair.approve`.
pub(crate) fn approved(dialect: Dialect, request_id: &str, node: &NodeEntry, seen: Option<&Seen>) -> Value {
    let shown = match dialect {
        Dialect::V3 => Entry { token: node.token.as_deref(), ..entry(dialect, node, None) },
        Dialect::V4 => entry(dialect, node, seen),
    };
    json!({"requestId": request_id, "node": value(&shown)})
}

/// The result of `node.pair.request`.
pub(crate) fn asked(request: &NodeEntry, created: bool) -> Value {
    json!({"status": "pending", "request": requested(Dialect::V3, request), "created": created})
}

/// The result of `node.pair.verify`.
pub(crate) fn verified(node: Option<&NodeEntry>) -> Value {
    match node {
        None => json!({"ok": false}),
        Some(node) => {
            let shown = Entry { token: node.token.as_deref(), ..entry(Dialect::V3, node, None) };
            json!({"ok": true, "node": value(&shown)})
        }
    }
}

/// What a node offers besides commands: what goes by a command, as far as that was approved; nothing, while nothing was.
pub(crate) fn tools<'a>(tools: &'a [Value], approved: Option<&[String]>) -> Vec<&'a Value> {
    let is_shown = |tool: &&Value| match (approved, tool.get("command").and_then(Value::as_str)) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(commands), Some(command)) => commands.iter().any(|offered| offered == command),
    };
    tools.iter().filter(is_shown).collect()
}

/// What became of an event of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is noted.
    Updated,
    /// There is no use for it here.
    Unsupported,
    /// It does not say what it should.
    Invalid,
    /// There is no room for it.
    Full,
}

/// The answer to an event.
pub(crate) fn event_told(dialect: Dialect, event: &str, told: Told) -> Value {
    let (handled, reason) = match told {
        Told::Updated => (true, "updated"),
        Told::Unsupported => (false, "unsupported_event"),
        Told::Invalid => (false, "invalid_payload"),
        Told::Full => (false, "limit"),
    };
    match dialect {
        Dialect::V3 => json!({"ok": true}),
        Dialect::V4 => json!({"ok": true, "event": event, "handled": handled, "reason": reason}),
    }
}

/// Why an event of a node does not count of which nothing was approved; protocol 3 has no word for it.
pub(crate) fn event_unapproved(dialect: Dialect) -> Option<RequestError> {
    match dialect {
        Dialect::V3 => None,
        Dialect::V4 => Some(InvokeError::Away.into()),
    }
}

/// Work that waits for a node.
pub(crate) fn work(work: &Work) -> Value {
    json!({
        "id": work.id, "type": work.kind.as_str(), "priority": work.priority.as_str(),
        "createdAtMs": work.created_at_ms, "expiresAtMs": work.expires_at_ms,
    })
}

/// The answer to `node.pending.pull`.
pub(crate) fn actions(node_id: &str, actions: &[Action]) -> Bytes {
    let mut out = json!({"nodeId": node_id}).to_string().into_bytes();
    out.pop();
    out.extend_from_slice(br#","actions":["#);
    for (at, action) in actions.iter().enumerate() {
        let shown = json!({
            "id": action.id, "command": action.command, "enqueuedAtMs": action.enqueued_at_ms,
        });
        let mut shown = shown.to_string();
        shown.pop();
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(shown.as_bytes());
        out.extend_from_slice(br#","paramsJSON":"#);
        out.extend_from_slice(action.params.as_deref().unwrap_or(b"null"));
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Bytes::from(out)
}

/// Whether a paired device may be a node.
pub(crate) fn is_node(device: &PairedDevice) -> bool {
    let roles = device.roles.iter().flatten();
    let only = device.role.iter().filter(|_| device.roles.is_none());
    roles.chain(only).any(|role| role == "node")
}
