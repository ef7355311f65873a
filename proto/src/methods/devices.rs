//! Devices and nodes: rows of the method table.

use super::access::Access;
use super::{
    ADMIN, Method, PAIRING, READ, V3, V4, WRITE, closed, hidden, invoke_params, params, row, shapes,
    system_params, told,
};
use crate::dialect::{BOTH, lists};
use crate::gateway::{
    invoke, node_events, node_pending, nodes, pair, reads, setup, surfaces, upgrades, voice,
};

pub(super) const ROWS: &[Method] = &[
    told("computer.status", V4, READ, &shapes::NOTHING, lists::COMPUTER),
    row("device.pair.approve", BOTH, PAIRING, params::request_id, pair::approve),
    row("device.pair.list", BOTH, PAIRING, params::none_closed, pair::list),
    row("device.pair.reject", BOTH, PAIRING, params::request_id, pair::reject),
    row("device.pair.remove", BOTH, PAIRING, params::device_id, pair::remove),
    closed("device.pair.rename", V4, PAIRING, &shapes::DEVICE_RENAME, pair::rename),
    hidden(closed("device.pair.setupCode", V4, ADMIN, &shapes::SETUP_CODE, setup::setup_code)),
    hidden(closed("device.pair.setupStatus", V4, ADMIN, &shapes::SETUP_STATUS, setup::setup_status)),
    closed("device.scopes.requestUpgrade", V4, Access::AnyOperator, &shapes::UPGRADE, upgrades::request),
    closed("device.scopes.waitUpgrade", V4, Access::AnyOperator, &shapes::UPGRADE_WAIT, upgrades::wait),
    row("device.token.revoke", BOTH, PAIRING, params::device_role, pair::revoke),
    row("device.token.rotate", BOTH, PAIRING, params::device_role_scopes, pair::rotate),
    closed("node.canvas.capability.refresh", V3, Access::Node, &shapes::NOTHING, surfaces::refresh_canvas),
    row("node.describe", BOTH, READ, params::node_id, nodes::describe),
    row("node.event", BOTH, Access::Node, invoke_params::event, node_events::event),
    row("node.invoke", BOTH, Access::ByParams, invoke_params::invoke, invoke::invoke),
    closed("node.invoke.progress", V4, Access::Node, &shapes::NODE_PROGRESS, invoke::progress),
    row("node.invoke.result", BOTH, Access::Node, invoke_params::result, invoke::result),
    row("node.list", BOTH, READ, params::none_closed, nodes::list),
    row("node.pair.approve", BOTH, PAIRING, params::request_id, nodes::approve),
    row("node.pair.list", BOTH, PAIRING, params::none_closed, nodes::pairs),
    row("node.pair.reject", BOTH, PAIRING, params::request_id, nodes::reject),
    row("node.pair.remove", V4, PAIRING, params::node_id, nodes::remove),
    closed("node.pair.request", V3, PAIRING, &shapes::NODE_REQUEST, nodes::request),
    closed("node.pair.verify", V3, PAIRING, &shapes::NODE_VERIFY, nodes::verify),
    closed("node.pending.ack", BOTH, Access::Node, &shapes::NODE_ACK, node_pending::ack),
    closed("node.pending.drain", BOTH, Access::Node, &shapes::NODE_DRAIN, node_pending::drain),
    closed("node.pending.enqueue", BOTH, WRITE, &shapes::NODE_ENQUEUE, node_pending::enqueue),
    closed("node.pending.pull", BOTH, Access::Node, &shapes::NOTHING, node_pending::pull),
    closed("node.pluginSurface.refresh", V4, Access::Node, &shapes::SURFACE, surfaces::refresh),
    closed("node.pluginTools.update", V4, Access::Node, &shapes::NODE_TOOLS, node_events::plugin_tools),
    closed("node.rename", BOTH, PAIRING, &shapes::NODE_RENAME, nodes::rename),
    hidden(row("node.runnerInventory.update", V4, Access::Node, params::open, node_events::runner_inventory)),
    closed("node.skills.update", V4, Access::Node, &shapes::NODE_SKILLS, node_events::skills),
    closed("plugin.surface.refresh", V4, READ, &shapes::SURFACE, surfaces::refresh),
    closed("push.web.preferences.get", V4, READ, &shapes::PUSH_ENDPOINT, reads::push_preferences),
    row("voicewake.get", BOTH, READ, params::none_open, voice::get),
    row("voicewake.routing.get", V4, READ, params::none_open, voice::routing),
    row("voicewake.set", BOTH, WRITE, system_params::voicewake_set, voice::set),
];
