//! The system, its configuration and its health: rows of the method table.

use super::access::Access;
use super::{ADMIN, Method, READ, V4, hidden, params, row, shapes, told, told_open};
use crate::dialect::{BOTH, lists};
use crate::gateway::handlers;

pub(super) const ROWS: &[Method] = &[
    told("audit.activity.list", V4, READ, &shapes::AUDIT_ACTIVITY, lists::AUDIT),
    told("audit.list", V4, READ, &shapes::AUDIT, lists::AUDIT),
    hidden(row("connect", BOTH, ADMIN, params::none_open, handlers::connect_again)),
    told_open("doctor.memory.status", BOTH, READ, lists::MEMORY),
    row("gateway.identity.get", BOTH, READ, params::none_open, handlers::identity),
    row("health", BOTH, Access::Anyone, params::none_open, handlers::health),
    row("last-heartbeat", BOTH, READ, params::none_open, handlers::last_heartbeat),
    told("secrets.store.list", V4, ADMIN, &shapes::NOTHING, lists::SECRETS),
    row("set-heartbeats", BOTH, ADMIN, params::set_heartbeats, handlers::set_heartbeats),
    row("status", BOTH, READ, params::none_open, handlers::status),
    row("system-event", BOTH, ADMIN, params::system_event, handlers::system_event),
    row("system-presence", BOTH, READ, params::none_open, handlers::system_presence),
    row("system.info", V4, READ, params::none_closed, handlers::system_info),
    told("update.status", V4, ADMIN, &shapes::UPDATE_STATUS, lists::UPDATES),
    told_open("usage.cost", BOTH, READ, lists::COST),
    told_open("usage.status", BOTH, READ, lists::USAGE),
];
