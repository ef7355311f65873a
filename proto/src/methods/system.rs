//! The system, its configuration and its health: rows of the method table.

use super::access::Access;
use super::{Method, V4, hidden, params, row};
use crate::dialect::BOTH;
use crate::gateway::handlers;
use crate::scope;

pub(super) const ROWS: &[Method] = &[
    hidden(row("connect", BOTH, Access::Operator(scope::ADMIN), params::none_open, handlers::connect_again)),
    row("gateway.identity.get", BOTH, Access::Operator(scope::READ), params::none_open, handlers::identity),
    row("health", BOTH, Access::Anyone, params::none_open, handlers::health),
    row("last-heartbeat", BOTH, Access::Operator(scope::READ), params::none_open, handlers::last_heartbeat),
    row(
        "set-heartbeats",
        BOTH,
        Access::Operator(scope::ADMIN),
        params::set_heartbeats,
        handlers::set_heartbeats,
    ),
    row("status", BOTH, Access::Operator(scope::READ), params::none_open, handlers::status),
    row("system-event", BOTH, Access::Operator(scope::ADMIN), params::system_event, handlers::system_event),
    row("system-presence", BOTH, Access::Operator(scope::READ), params::none_open, handlers::system_presence),
    row("system.info", V4, Access::Operator(scope::READ), params::none_closed, handlers::system_info),
];
