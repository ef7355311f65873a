//! Nodes: lists of them, and what they may offer. All of it is the device store's: a node is a paired device with that
//! role, and there is no second store that could say something else.

use super::devices::Op;
use super::pair::Key;
use super::peers::NodeSession;
use super::{Call, Gateway, events, node_policy};
use crate::config::Config;
use crate::connect::ConnectParams;
use crate::dialect::nodes::is_node;
use crate::error::RequestError;
use crate::frame::{EventFrame, LiveNode, NodeList, NodeView, Payload};
use crate::id::ConnId;
use crate::methods::Params;
use crate::output::{Order, Output, Reply};
use crate::scope::Role;
use crate::secret::Secret;
use crate::store::nodes::{NodeAbout, NodeEntry, Surface};
use crate::time::Now;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is asked about nodes.
#[derive(Debug)]
pub(super) enum NodeQuery {
    All,
    One(String),
    Pairs,
}

/// `node.list`.
pub(crate) fn list(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    ask(gateway, call, NodeQuery::All, out);
}

/// `node.describe`.
pub(crate) fn describe(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::NodeId(node_id) = &call.params else { return };
    let query = NodeQuery::One(node_id.clone());
    ask(gateway, call, query, out);
}

/// `node.pair.list`.
pub(crate) fn pairs(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    ask(gateway, call, NodeQuery::Pairs, out);
}

fn ask(gateway: &mut Gateway, call: Call, query: NodeQuery, out: &mut Vec<Output>) {
    let key = Key::Nodes { conn: call.conn, id: call.id, query };
    gateway.submit(call.now, Op::List, key, out);
}

impl Gateway {
    /// The store was read.
    pub(super) fn nodes_listed(
        &mut self,
        now: Now,
        conn: ConnId,
        id: Box<str>,
        query: NodeQuery,
        out: &mut Vec<Output>,
    ) {
        let sessions = self.peers.open().filter_map(|conn| self.peers.session(conn));
        let live: BTreeMap<String, LiveNode> = sessions
            .filter_map(|session| {
                let node = session.declared.as_ref()?;
                let live = LiveNode {
                    surface: node.surface.clone(),
                    version: node.about.version.clone(),
                    since_ms: node.since_ms,
                    path_env: node.path_env.clone(),
                    tools: Arc::clone(&node.tools),
                    host_stats: node.host_stats.clone(),
                };
                Some((session.device_id.clone()?, live))
            })
            .collect();
        let connected: BTreeSet<String> = live.keys().cloned().collect();
        let devices = self.devices.view(connected);
        let list = match query {
            NodeQuery::All => NodeList::All,
            NodeQuery::Pairs => NodeList::Pairs,
            NodeQuery::One(node_id) => {
                let device = devices.devices.paired.get(node_id.trim());
                match device.filter(|device| is_node(device)) {
                    Some(device) => NodeList::One(Arc::clone(device)),
                    None => {
                        let error = RequestError::Invalid("unknown nodeId".to_owned());
                        return self.fail(conn, id, &error, out);
                    }
                }
            }
        };
        let view = NodeView { ts: now.wall.0, devices, live, list };
        self.respond(conn, id, Reply::Ok(Payload::Nodes(Arc::new(view))), out);
    }

    /// What a node asked for was decided: told to those who may pair, and to the node itself.
    pub(super) fn node_resolved(
        &mut self,
        node_id: &str,
        decision: &str,
        payload: Bytes,
        out: &mut Vec<Output>,
    ) {
        match decision {
            "removed" => self.pending.forget(node_id),
            "approved" => {
                let changed = Bytes::from(serde_json::json!({"nodeId": node_id}).to_string());
                self.broadcast(&events::RUNNERS_CHANGED, [None, Some(changed)], out);
            }
            _ => {}
        }
        self.broadcast(&events::NODE_RESOLVED, [Some(payload.clone()), Some(payload.clone())], out);
        for conn in self.peers.of_device(node_id) {
            if self.peers.session(conn).is_some_and(|session| session.role == Role::Node) {
                let frame = EventFrame {
                    name: events::NODE_RESOLVED.name,
                    payload: payload.clone(),
                    seq: None,
                    state_version: None,
                };
                self.order(conn, Order::Event(frame), out);
            }
        }
    }
}

/// A node that comes in.
pub(super) fn session(params: &ConnectParams, config: &Config, now: Now) -> NodeSession {
    let (about, surface) = declared(params, config);
    let path_env = params.path_env.clone().filter(|path| !path.is_empty() && path.len() <= PATH_BYTES_MAX);
    NodeSession {
        about,
        surface,
        since_ms: now.wall.0,
        path_env,
        tools: Arc::default(),
        host_stats: None,
        stats_told: None,
        chats: BTreeSet::new(),
    }
}

/// Longest list of folders that is kept as long as its node is here.
const PATH_BYTES_MAX: usize = 4_096;

/// What a node declares at connect, as far as its platform may.
pub(super) fn declared(params: &ConnectParams, config: &Config) -> (NodeAbout, Surface) {
    let client = &params.client;
    let about = NodeAbout {
        client_id: Some(client.id.clone()),
        client_mode: Some(client.mode.clone()),
        display_name: client.display_name.clone(),
        platform: Some(client.platform.clone()),
        version: Some(client.version.clone()),
        device_family: client
            .device_family
            .clone()
            .or_else(|| node_policy::family(&client.platform).map(str::to_owned)),
        model_identifier: client.model_identifier.clone(),
        ..NodeAbout::default()
    };
    let surface = node_policy::surface(
        (&client.platform, client.device_family.as_deref()),
        &params.caps,
        &params.commands,
        &params.permissions,
        (&config.node_commands, config.limits.node_declared_max),
    );
    (about, surface)
}

fn submit(gateway: &mut Gateway, call: Call, op: Op, out: &mut Vec<Output>) {
    gateway.submit(call.now, op, Key::Method { conn: call.conn, id: call.id }, out);
}

fn text<'p>(params: &'p Map<String, Value>, name: &str) -> &'p str {
    params.get(name).and_then(Value::as_str).unwrap_or_default().trim()
}

/// `node.pair.approve`.
pub(crate) fn approve(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::RequestId(request_id) = &call.params else { return };
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let op = Op::ApproveNode { request_id: request_id.clone(), approver: session.scopes.clone() };
    submit(gateway, call, op, out);
}

/// `node.pair.reject`.
pub(crate) fn reject(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::RequestId(request_id) = &call.params else { return };
    let op = Op::RejectNode { request_id: request_id.clone() };
    submit(gateway, call, op, out);
}

/// `node.pair.remove`.
pub(crate) fn remove(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::NodeId(node_id) = &call.params else { return };
    let op = Op::RemoveNode { node_id: node_id.trim().to_owned() };
    submit(gateway, call, op, out);
}

/// `node.rename`.
pub(crate) fn rename(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let (node_id, name) = (text(params, "nodeId").to_owned(), text(params, "displayName").to_owned());
    if name.is_empty() {
        let error = RequestError::Invalid("displayName required".to_owned());
        return gateway.fail(call.conn, call.id, &error, out);
    }
    submit(gateway, call, Op::RenameNode { node_id, name }, out);
}

/// `node.pair.request`.
pub(crate) fn request(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let some = |name: &str| Some(text(params, name)).filter(|text| !text.is_empty()).map(str::to_owned);
    let list = |name: &str| -> Vec<String> {
        let items = params.get(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (platform, family) = (text(params, "platform"), some("deviceFamily"));
    let asked = NodeEntry {
        node_id: text(params, "nodeId").to_owned(),
        surface: node_policy::surface(
            (platform, family.as_deref()),
            &list("caps"),
            &list("commands"),
            &BTreeMap::new(),
            (&gateway.config.node_commands, gateway.config.limits.node_declared_max),
        ),
        about: NodeAbout {
            display_name: some("displayName"),
            platform: some("platform"),
            version: some("version"),
            core_version: some("coreVersion"),
            ui_version: some("uiVersion"),
            device_family: family,
            model_identifier: some("modelIdentifier"),
            ..NodeAbout::default()
        },
        remote_ip: some("remoteIp"),
        silent: params.get("silent").and_then(Value::as_bool),
        ..NodeEntry::default()
    };
    submit(gateway, call, Op::AskNode(Box::new(asked)), out);
}

/// `node.pair.verify`.
pub(crate) fn verify(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let node_id = text(params, "nodeId").to_owned();
    match Secret::new(text(params, "token")) {
        Some(token) => submit(gateway, call, Op::VerifyNode { node_id, token }, out),
        None => {
            let answer = Payload::Value(Box::new(crate::dialect::nodes::verified(None)));
            gateway.respond(call.conn, call.id, Reply::Ok(answer), out);
        }
    }
}
