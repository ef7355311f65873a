//! What peers are shown of the device store: records without secrets (spec: pairing sections 2 and 8).
//!
//! Rows name every member they show. A member that others wrote into a record is kept on disk, but not shown:
//! it may be a secret.

use super::nodes::NodeEntry;
use super::{DeviceToken, DeviceView, PairedDevice, PendingRequest};
use serde::Serialize;
use std::collections::BTreeMap;

/// A paired device as shown: no token secrets, no baseline.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairedRow<'a> {
    device_id: &'a str,
    public_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_family: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_via: Option<&'static str>,
    created_at_ms: u64,
    approved_at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<TokenRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_node_surface: Option<AskedSurface<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_surface: Option<ApprovedSurface<'a>>,
}

/// What a node may offer, beside its device.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApprovedSurface<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    caps: &'a [String],
    commands: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_at_ms: Option<u64>,
    session_host: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_connected_at_ms: Option<u64>,
}

/// What a node asks to offer, beside its device. Whatever changes in it makes another request, so its id is its
/// revision too.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AskedSurface<'a> {
    request_id: &'a str,
    revision: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_family: Option<&'a str>,
    caps: &'a [String],
    commands: &'a [String],
    silent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<u64>,
}

/// A device token as shown: everything but the token.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRow<'a> {
    role: &'a str,
    scopes: &'a [String],
    created_at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at_ms: Option<u64>,
}

/// A pending request as shown, in full.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingRow<'a> {
    request_id: &'a str,
    device_id: &'a str,
    public_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_family: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_ip: Option<&'a str>,
    silent: bool,
    is_repair: bool,
    ts: u64,
}

/// One paired device, without what only a live process knows: the shape of protocol 3 lists and of approvals.
pub fn paired_row(device: &PairedDevice) -> PairedRow<'_> {
    // The map is ordered, so the rows are sorted by role.
    let tokens = device.tokens.iter().flatten().map(|(role, token)| token_row(role, token)).collect();
    PairedRow {
        device_id: &device.device_id,
        public_key: &device.public_key,
        display_name: device.name(),
        platform: device.platform.as_deref(),
        device_family: device.device_family.as_deref(),
        client_id: device.client_id.as_deref(),
        client_mode: device.client_mode.as_deref(),
        role: device.role.as_deref(),
        roles: device.roles.as_deref(),
        scopes: device.scopes.as_deref(),
        remote_ip: device.remote_ip.as_deref(),
        approved_via: None,
        created_at_ms: device.created_at_ms,
        approved_at_ms: device.approved_at_ms,
        last_seen_at_ms: None,
        last_seen_reason: None,
        connected: None,
        tokens,
        pending_node_surface: None,
        node_surface: None,
    }
}

/// Every paired device, the latest approval first.
pub fn paired_rows(view: &DeviceView) -> Vec<PairedRow<'_>> {
    let mut devices: Vec<_> = view.devices.paired.values().collect();
    devices.sort_by_key(|device| core::cmp::Reverse(device.approved_at_ms));
    devices.into_iter().map(|device| paired_row(device)).collect()
}

/// Every paired device with what this process knows of it: the rows of protocol 4 lists.
pub fn paired_rows_with_presence(view: &DeviceView) -> Vec<PairedRow<'_>> {
    let mut rows = paired_rows(view);
    let requests = view.devices.node_requests.values();
    let mut asked: BTreeMap<&str, &NodeEntry> =
        requests.map(|request| (request.node_id.as_str(), &**request)).collect();
    for row in &mut rows {
        row.pending_node_surface = asked.remove(row.device_id).map(asked_surface);
        let approved = view.devices.nodes.get(row.device_id);
        row.node_surface = approved.map(|node| approved_surface(node, row.display_name, view));
        row.connected = Some(view.connected.contains(row.device_id));
        if let Some(seen) = view.seen.get(row.device_id) {
            row.approved_via = seen.silent.then_some("silent");
            row.last_seen_at_ms = Some(seen.at_ms);
            row.last_seen_reason = Some(seen.reason);
        }
    }
    rows
}

fn asked_surface(request: &NodeEntry) -> AskedSurface<'_> {
    let id = request.request_id.as_deref().unwrap_or_default();
    AskedSurface {
        request_id: id,
        revision: id,
        display_name: request.about.display_name.as_deref(),
        platform: request.about.platform.as_deref(),
        version: request.about.version.as_deref(),
        device_family: request.about.device_family.as_deref(),
        caps: &request.surface.caps,
        commands: &request.surface.commands,
        silent: request.silent.unwrap_or_default(),
        ts: request.ts,
    }
}

fn approved_surface<'a>(
    node: &'a NodeEntry,
    name: Option<&'a str>,
    view: &DeviceView,
) -> ApprovedSurface<'a> {
    ApprovedSurface {
        display_name: name.or(node.about.display_name.as_deref()),
        version: node.about.version.as_deref(),
        caps: &node.surface.caps,
        commands: &node.surface.commands,
        created_at_ms: node.created_at_ms,
        approved_at_ms: node.approved_at_ms,
        session_host: false,
        last_connected_at_ms: view.seen.get(&node.node_id).map(|seen| seen.at_ms),
    }
}

/// One pending request.
pub fn pending_row(request: &PendingRequest) -> PendingRow<'_> {
    PendingRow {
        request_id: &request.request_id,
        device_id: &request.device_id,
        public_key: &request.public_key,
        display_name: request.display_name.as_deref(),
        platform: request.platform.as_deref(),
        device_family: request.device_family.as_deref(),
        client_id: request.client_id.as_deref(),
        client_mode: request.client_mode.as_deref(),
        role: request.role.as_deref(),
        roles: request.roles.as_deref(),
        scopes: request.scopes.as_deref(),
        remote_ip: request.remote_ip.as_deref(),
        silent: request.silent,
        is_repair: request.is_repair,
        ts: request.ts,
    }
}

/// Every pending request, the latest first.
pub fn pending_rows(view: &DeviceView) -> Vec<PendingRow<'_>> {
    let mut requests: Vec<_> = view.devices.pending.values().collect();
    requests.sort_by_key(|request| core::cmp::Reverse(request.ts));
    requests.into_iter().map(|request| pending_row(request)).collect()
}

fn token_row<'a>(role: &'a str, token: &'a DeviceToken) -> TokenRow<'a> {
    TokenRow {
        role,
        scopes: &token.scopes,
        created_at_ms: token.created_at_ms,
        rotated_at_ms: token.rotated_at_ms,
        revoked_at_ms: token.revoked_at_ms,
        last_used_at_ms: token.last_used_at_ms,
    }
}
