//! The device store as on disk: `devices/*.json` and `nodes/*.json` (spec: pairing section 2).
//!
//! Fields this program does not know survive a rewrite. Records are shared, so that a copy of the store for a
//! transaction costs a few words per device.

pub mod approvals;
pub mod nodes;
pub mod render;
pub mod setup;
pub mod voicewake;

use crate::secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use setup::SetupTokens;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The documents, one state machine behind them all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devices {
    /// By device id.
    pub paired: Paired,
    /// By request id.
    pub pending: Pending,
    /// Setup codes that nobody has used yet.
    pub setup: SetupTokens,
    /// What nodes may offer, by device id.
    pub nodes: nodes::Nodes,
    /// What nodes ask to offer, by request id.
    pub node_requests: nodes::Nodes,
    /// Why one of the latter three cannot be read; a sentence for a person. It is left as it is, and what needs it is
    /// refused: nobody is kept out by it who comes without.
    pub damage: Option<String>,
}

/// `devices/paired.json`.
pub type Paired = BTreeMap<String, Arc<PairedDevice>>;
/// `devices/pending.json`.
pub type Pending = BTreeMap<String, Arc<PendingRequest>>;

/// One paired device.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PairedDevice {
    /// Hex SHA-256 of the key.
    pub device_id: String,
    /// Canonical base64url.
    pub public_key: String,
    /// Name for people, as the device calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Name for people, as a person calls it; stands before the device's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Pinned platform, as first approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Pinned device family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Client id last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Client mode last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// Role last connected or approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Every approved role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Approved and connected-with scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The baseline: changes only on approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_scopes: Option<Vec<String>>,
    /// Address last seen, when it was not local.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// By role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<BTreeMap<String, DeviceToken>>,
    /// First approval, Unix milliseconds.
    pub created_at_ms: u64,
    /// Latest approval.
    pub approved_at_ms: u64,
    /// What others wrote here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl PairedDevice {
    /// The name to show: a person's word stands before the device's own.
    pub fn name(&self) -> Option<&str> {
        self.label.as_deref().or(self.display_name.as_deref())
    }
}

// By hand, like those below: members that others wrote may be secrets, so they are never shown.
impl core::fmt::Debug for PairedDevice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PairedDevice")
            .field("device_id", &self.device_id)
            .field("roles", &self.roles)
            .field("scopes", &self.scopes)
            .field("approved_scopes", &self.approved_scopes)
            .field("tokens", &self.tokens)
            .field("approved_at_ms", &self.approved_at_ms)
            .finish_non_exhaustive()
    }
}

impl core::fmt::Debug for PendingRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PendingRequest")
            .field("request_id", &self.request_id)
            .field("device_id", &self.device_id)
            .field("roles", &self.roles)
            .field("scopes", &self.scopes)
            .field("silent", &self.silent)
            .field("ts", &self.ts)
            .finish_non_exhaustive()
    }
}

/// One device token.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceToken {
    /// The secret: 43 characters of base64url.
    pub token: String,
    /// Role it is for.
    pub role: String,
    /// Sorted scopes.
    pub scopes: Vec<String>,
    /// Kept across rotation.
    pub created_at_ms: u64,
    /// Latest rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_at_ms: Option<u64>,
    /// Set when revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<u64>,
    /// Latest use; not written through on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<u64>,
    /// What others wrote here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

// By hand: the token is compared in constant time.
impl PartialEq for DeviceToken {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            token,
            role,
            scopes,
            created_at_ms,
            rotated_at_ms,
            revoked_at_ms,
            last_used_at_ms,
            other: more,
        } = self;
        secret::same(token, &other.token)
            && *role == other.role
            && *scopes == other.scopes
            && *created_at_ms == other.created_at_ms
            && *rotated_at_ms == other.rotated_at_ms
            && *revoked_at_ms == other.revoked_at_ms
            && *last_used_at_ms == other.last_used_at_ms
            && *more == other.other
    }
}

impl core::fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DeviceToken")
            .field("role", &self.role)
            .field("scopes", &self.scopes)
            .field("revoked_at_ms", &self.revoked_at_ms)
            .finish_non_exhaustive()
    }
}

/// One pending pairing request.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PendingRequest {
    /// UUID.
    pub request_id: String,
    /// Hex SHA-256 of the key.
    pub device_id: String,
    /// Canonical base64url.
    pub public_key: String,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Client id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Client mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// Role of the first request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Every asked role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Every asked scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Where it came from, when not local.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Whether it may be approved without a person.
    pub silent: bool,
    /// Whether the device was already paired.
    pub is_repair: bool,
    /// Unix milliseconds, refreshed by each merge.
    pub ts: u64,
    /// What others wrote here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A snapshot for `device.pair.list`: the store and what only memory knows.
#[derive(Clone, Debug, Default)]
pub struct DeviceView {
    /// The store.
    pub devices: Arc<Devices>,
    /// Devices with an open socket.
    pub connected: BTreeSet<String>,
    /// When and how each device was last seen by this process.
    pub seen: Arc<BTreeMap<String, Seen>>,
}

/// What this process remembers of a device; never written to disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Unix milliseconds.
    pub at_ms: u64,
    /// `connect`, or what a node said.
    pub reason: &'static str,
    /// Whether its latest approval needed no person.
    pub silent: bool,
}

impl DeviceView {
    /// About how many bytes the list takes on the wire.
    pub fn size(&self) -> usize {
        let Devices { paired, pending, nodes, node_requests, .. } = &*self.devices;
        64 + 512 * (paired.len() + pending.len() + nodes.len() + node_requests.len())
    }
}

/// Parses `devices/paired.json`.
///
/// # Errors
/// The text is not the expected JSON; for a person.
pub fn parse_paired(bytes: &[u8]) -> Result<Paired, String> {
    parse(bytes)
}

/// Parses `devices/pending.json`.
///
/// # Errors
/// The text is not the expected JSON; for a person.
pub fn parse_pending(bytes: &[u8]) -> Result<Pending, String> {
    parse(bytes)
}

/// Renders `devices/paired.json`: two-space indent, no final newline, as the reference writes it.
pub fn render_paired(paired: &Paired) -> Vec<u8> {
    serde_json::to_vec_pretty(paired).expect("maps with string keys always encode")
}

/// Renders `devices/pending.json`.
pub fn render_pending(pending: &Pending) -> Vec<u8> {
    serde_json::to_vec_pretty(pending).expect("maps with string keys always encode")
}

/// Parses `devices/bootstrap.json`.
///
/// # Errors
/// The text is not the expected JSON; for a person.
pub fn parse_setup(bytes: &[u8]) -> Result<SetupTokens, String> {
    parse(bytes)
}

/// Renders `devices/bootstrap.json`.
pub fn render_setup(setup: &SetupTokens) -> Vec<u8> {
    serde_json::to_vec_pretty(setup).expect("maps with string keys always encode")
}

/// Parses `nodes/paired.json` and `nodes/pending.json`.
///
/// # Errors
/// The text is not the expected JSON; for a person.
pub fn parse_nodes(bytes: &[u8]) -> Result<nodes::Nodes, String> {
    parse(bytes)
}

/// Renders `nodes/paired.json` and `nodes/pending.json`.
pub fn render_nodes(nodes: &nodes::Nodes) -> Vec<u8> {
    serde_json::to_vec_pretty(nodes).expect("maps with string keys always encode")
}

fn parse<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, String> {
    // Only the position: a message of the parser may quote a value, and a value may be a secret.
    serde_json::from_slice(bytes)
        .map_err(|why| format!("line {} column {}: not the expected JSON", why.line(), why.column()))
}
