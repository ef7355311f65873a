//! Nodes as lists show them (spec: nodes section 2, v4 sections 11.1 and 11.4): paired devices with the role `node`.
//!
//! What a node offers is nobody's to use yet: its capabilities and commands are shown as what they are here, none.

use super::Dialect;
use crate::frame::{NodeList, NodeView};
use crate::store::PairedDevice;
use serde::Serialize;

#[derive(Serialize)]
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
    device_family: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_ip: Option<&'a str>,
    caps: [&'static str; 0],
    commands: [&'static str; 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paired: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<bool>,
}

/// Renders `node.list`, `node.describe` or `node.pair.list`. Runs outside the gateway's lock.
pub(crate) fn nodes(dialect: Dialect, view: &NodeView) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        ts: u64,
        nodes: Vec<Row<'a>>,
    }
    #[derive(Serialize)]
    struct Pairs<'a> {
        pending: [(); 0],
        paired: Vec<Row<'a>>,
    }
    let encoded = match &view.list {
        NodeList::All => serde_json::to_vec(&List { ts: view.ts, nodes: rows(dialect, view) }),
        NodeList::One(device) => serde_json::to_vec(&Row { ts: Some(view.ts), ..row(dialect, view, device) }),
        // Protocol 3 keeps these in a store of their own, which this gateway does not have.
        NodeList::Pairs => {
            let paired = match dialect {
                Dialect::V3 => Vec::new(),
                Dialect::V4 => rows(dialect, view).into_iter().map(pair).collect(),
            };
            serde_json::to_vec(&Pairs { pending: [], paired })
        }
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
        (row.connected != Some(true), name, row.node_id)
    });
    rows
}

fn row<'a>(dialect: Dialect, view: &'a NodeView, device: &'a PairedDevice) -> Row<'a> {
    let row = Row {
        ts: None,
        node_id: &device.device_id,
        display_name: device.display_name.as_deref(),
        platform: device.platform.as_deref(),
        device_family: device.device_family.as_deref(),
        client_id: None,
        client_mode: None,
        remote_ip: device.remote_ip.as_deref(),
        caps: [],
        commands: [],
        approved_at_ms: None,
        last_seen_at_ms: None,
        last_seen_reason: None,
        paired: Some(true),
        connected: Some(view.devices.connected.contains(&device.device_id)),
    };
    match dialect {
        Dialect::V3 => row,
        Dialect::V4 => {
            let seen = view.devices.seen.get(&device.device_id);
            Row {
                client_id: device.client_id.as_deref(),
                client_mode: device.client_mode.as_deref(),
                approved_at_ms: Some(device.approved_at_ms),
                last_seen_at_ms: seen.map(|seen| seen.at_ms),
                last_seen_reason: seen.map(|seen| seen.reason),
                ..row
            }
        }
    }
}

fn pair(row: Row<'_>) -> Row<'_> {
    Row { paired: None, connected: None, ..row }
}

/// Whether a paired device may be a node.
pub(crate) fn is_node(device: &PairedDevice) -> bool {
    let roles = device.roles.iter().flatten().chain(&device.role);
    roles.into_iter().any(|role| role == "node")
}
