//! Devices and nodes: rows of the method table.

use super::{Method, PAIRING, READ, V4, WRITE, params, row, system_params};
use crate::dialect::BOTH;
use crate::gateway::{nodes, pair, voice};

pub(super) const ROWS: &[Method] = &[
    row("device.pair.approve", BOTH, PAIRING, params::request_id, pair::approve),
    row("device.pair.list", BOTH, PAIRING, params::none_closed, pair::list),
    row("device.pair.reject", BOTH, PAIRING, params::request_id, pair::reject),
    row("device.pair.remove", BOTH, PAIRING, params::device_id, pair::remove),
    row("device.token.revoke", BOTH, PAIRING, params::device_role, pair::revoke),
    row("device.token.rotate", BOTH, PAIRING, params::device_role_scopes, pair::rotate),
    row("node.describe", BOTH, READ, params::node_id, nodes::describe),
    row("node.list", BOTH, READ, params::none_closed, nodes::list),
    row("node.pair.list", BOTH, PAIRING, params::none_closed, nodes::pairs),
    row("voicewake.get", BOTH, READ, params::none_open, voice::get),
    row("voicewake.routing.get", V4, READ, params::none_open, voice::routing),
    row("voicewake.set", BOTH, WRITE, system_params::voicewake_set, voice::set),
];
