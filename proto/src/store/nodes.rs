//! `nodes/paired.json` and `nodes/pending.json`: what nodes may offer, and what they ask to offer (spec: pairing
//! section 9, v4 section 11.1). A node is a paired device with that role; these say nothing about who may connect.

use crate::secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One of the two documents: by node id, or by request id.
pub type Nodes = BTreeMap<String, Arc<NodeEntry>>;

/// A node, or a request of one.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeEntry {
    /// Of a request: UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The device's id.
    pub node_id: String,
    /// Of a node: a secret that opens nothing but `node.pair.verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What it says about itself.
    #[serde(flatten)]
    pub about: NodeAbout,
    /// What it offers.
    #[serde(flatten)]
    pub surface: Surface,
    /// Where a request came from, when not local.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Of a request: whether the device itself was approved without a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
    /// Of a request: whether something was approved before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_repair: Option<bool>,
    /// Of a request: when, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<u64>,
    /// Of a node: first approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at_ms: Option<u64>,
    /// Of a node: latest approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_at_ms: Option<u64>,
    /// What others wrote here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

// By hand: the token is compared in constant time.
impl PartialEq for NodeEntry {
    fn eq(&self, other: &Self) -> bool {
        let Self { request_id, node_id, about, surface, remote_ip, silent, is_repair, ts, .. } = self;
        let is_same_token = match (&self.token, &other.token) {
            (Some(token), Some(other)) => secret::same(token, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        is_same_token
            && (request_id, node_id, about, surface)
                == (&other.request_id, &other.node_id, &other.about, &other.surface)
            && (remote_ip, silent, is_repair, ts)
                == (&other.remote_ip, &other.silent, &other.is_repair, &other.ts)
            && (self.created_at_ms, self.approved_at_ms) == (other.created_at_ms, other.approved_at_ms)
            && self.other == other.other
    }
}

/// What a node says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAbout {
    /// Client id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Client mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Protocol 3 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_version: Option<String>,
    /// Protocol 3 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ui_version: Option<String>,
    /// As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Hardware model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
}

/// What a node offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Surface {
    /// Sorted, without repeats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<String>,
    /// Sorted, without repeats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// By name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub permissions: BTreeMap<String, bool>,
}

impl core::fmt::Debug for NodeEntry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NodeEntry")
            .field("request_id", &self.request_id)
            .field("node_id", &self.node_id)
            .field("surface", &self.surface)
            .field("approved_at_ms", &self.approved_at_ms)
            .finish_non_exhaustive()
    }
}

impl Surface {
    /// Whether it has nothing.
    pub fn is_empty(&self) -> bool {
        self.caps.is_empty() && self.commands.is_empty() && self.permissions.is_empty()
    }

    /// Whether all of it was approved.
    pub fn is_within(&self, approved: &Self) -> bool {
        let granted = |name: &str| approved.permissions.get(name) == Some(&true);
        self.caps.iter().all(|cap| approved.caps.contains(cap))
            && self.commands.iter().all(|command| approved.commands.contains(command))
            && self.permissions.iter().all(|(name, on)| !on || granted(name))
    }

    /// What of it was approved.
    pub fn within(&self, approved: &Self) -> Self {
        let kept = |all: &[String], of: &[String]| {
            all.iter().filter(|name| of.contains(name)).cloned().collect::<Vec<_>>()
        };
        let granted = |name: &String| approved.permissions.get(name) == Some(&true);
        Self {
            caps: kept(&self.caps, &approved.caps),
            commands: kept(&self.commands, &approved.commands),
            permissions: self
                .permissions
                .iter()
                .map(|(name, on)| (name.clone(), *on && granted(name)))
                .collect(),
        }
    }
}
