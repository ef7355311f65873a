//! The shapes of protocol frames that the gateway makes: responses, errors, events, closes.

use crate::store::nodes::Surface;
use crate::store::{DeviceView, PairedDevice};
use bytes::Bytes;
use core::fmt;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A response's payload. Big ones are shared or rendered by the connection, outside the gateway's lock. `Debug`
/// shows no content: some carry device tokens.
#[derive(Clone)]
pub enum Payload {
    /// Already encoded JSON.
    Json(Bytes),
    /// A small value, encoded by the connection.
    Value(Box<Value>),
    /// The device store, rendered by the connection as `device.pair.list` wants it.
    Devices(Arc<DeviceView>),
    /// Nodes in the device store, rendered by the connection.
    Nodes(Arc<NodeView>),
    /// What a node answered.
    Invoked(Box<Invoked>),
}

/// The answer of a node to a command: `{"ok":true,"nodeId":..,"command":..` and the rest, which may be large.
#[derive(Clone)]
pub struct Invoked {
    /// Who.
    pub node_id: String,
    /// To what.
    pub command: String,
    /// The other members, from a comma to the brace.
    pub rest: Bytes,
}

/// The nodes at one moment. `connected` names those with an open socket of that role.
#[derive(Debug)]
pub struct NodeView {
    /// When, in Unix milliseconds.
    pub ts: u64,
    /// The store.
    pub devices: DeviceView,
    /// Those that are here, by id.
    pub live: BTreeMap<String, LiveNode>,
    /// What of it is wanted.
    pub list: NodeList,
}

/// A node that is connected.
#[derive(Debug)]
pub struct LiveNode {
    /// What it declared.
    pub surface: Surface,
    /// Of its client.
    pub version: Option<String>,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// Where it finds programs.
    pub path_env: Option<String>,
    /// What it offers besides, as it said so.
    pub tools: Arc<[Value]>,
    /// How busy it is.
    pub host_stats: Option<Value>,
}

impl LiveNode {
    /// About how many bytes more it makes of a row.
    fn size(&self) -> usize {
        let tools: usize = self.tools.iter().map(value_size).sum();
        tools + self.path_env.as_ref().map_or(0, String::len) + self.host_stats.as_ref().map_or(0, value_size)
    }
}

/// Which answer is made of a [`NodeView`].
#[derive(Debug)]
pub enum NodeList {
    /// `node.list`.
    All,
    /// `node.describe`.
    One(Arc<PairedDevice>),
    /// `node.pair.list`.
    Pairs,
}

impl Payload {
    /// About how many bytes this will be on the wire.
    pub fn size(&self) -> usize {
        match self {
            Self::Json(json) => json.len(),
            Self::Value(value) => value_size(value),
            Self::Devices(view) => view.size(),
            Self::Nodes(view) => view.devices.size() + view.live.values().map(LiveNode::size).sum::<usize>(),
            Self::Invoked(answer) => 64 + answer.node_id.len() + answer.command.len() + answer.rest.len(),
        }
    }
}

/// About how many bytes a value of our own making takes, as a tree or as text. Its depth is ours too.
pub(crate) fn value_size(value: &Value) -> usize {
    const NODE: usize = 32;
    NODE + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value_size).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + value_size(value)).sum(),
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Json(_) => "Json",
            Self::Value(_) => "Value",
            Self::Devices(_) => "Devices",
            Self::Nodes(_) => "Nodes",
            Self::Invoked(_) => "Invoked",
        };
        f.debug_struct(kind).field("bytes", &self.size()).finish_non_exhaustive()
    }
}

/// The `error` member of a failed response.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorShape {
    /// Top-level code.
    pub code: &'static str,
    /// For a person. Never empty: clients drop a response with an empty one.
    pub message: String,
    /// Machine-readable facts; `details.code` or `details.reason` are stable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether the same request may succeed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// When to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// An event on its way to one peer. The payload is shared among all peers of a dialect.
#[derive(Clone, Debug)]
pub struct EventFrame {
    /// Event name.
    pub name: &'static str,
    /// Encoded payload.
    pub payload: Bytes,
    /// This connection's number for it; absent on directed events.
    pub seq: Option<u64>,
    /// Versions of presence and health, on those two events.
    pub state_version: Option<StateVersion>,
}

/// Counters that tell a client which of two snapshots is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StateVersion {
    /// Of presence.
    pub presence: u64,
    /// Of health.
    pub health: u64,
}

/// A WebSocket close code with its reason (RFC 6455 section 7.4; the reason is cut to 123 bytes when sent).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Close code.
    pub code: u16,
    /// For logs and for the client's decision to come back.
    pub reason: Cow<'static, str>,
}

impl CloseFrame {
    /// A close with a constant reason.
    pub const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }
}
