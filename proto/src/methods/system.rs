//! The system, its configuration and its health: rows of the method table.

use super::access::Access;
use super::system_params as own;
use super::{
    ADMIN, Method, READ, V4, WRITE, config, control_write, hidden, params, row, shapes, told, told_open,
};
use crate::dialect::{BOTH, lists};
use crate::gateway::{config as configuration, diagnostics, handlers, logs, suspend};

pub(super) const ROWS: &[Method] = &[
    told("audit.activity.list", V4, READ, &shapes::AUDIT_ACTIVITY, lists::AUDIT),
    told("audit.list", V4, READ, &shapes::AUDIT, lists::AUDIT),
    control_write(row("config.apply", BOTH, ADMIN, config::apply, configuration::ask)),
    row("config.get", BOTH, READ, config::get, configuration::ask),
    control_write(row("config.patch", BOTH, ADMIN, config::patch, configuration::ask)),
    row("config.schema", BOTH, READ, config::schema, configuration::ask),
    row("config.schema.lookup", BOTH, READ, config::lookup, configuration::ask),
    row("config.set", BOTH, ADMIN, config::set, configuration::ask),
    hidden(row("connect", BOTH, ADMIN, params::none_open, handlers::connect_again)),
    row("diagnostics.lanes", V4, READ, params::none_open, diagnostics::lanes),
    row("diagnostics.stability", V4, READ, params::none_open, diagnostics::stability),
    told_open("doctor.memory.status", BOTH, READ, lists::MEMORY),
    row("gateway.identity.get", BOTH, READ, params::none_open, handlers::identity),
    row("gateway.restart.preflight", V4, READ, params::none_open, suspend::restart_preflight),
    control_write(row("gateway.restart.request", V4, ADMIN, own::restart_request, suspend::restart_request)),
    control_write(row("gateway.suspend.prepare", V4, ADMIN, own::suspend_prepare, suspend::prepare)),
    row("gateway.suspend.resume", V4, ADMIN, own::suspension_id, suspend::resume),
    row("gateway.suspend.status", V4, READ, own::suspension_id, suspend::status),
    row("health", BOTH, Access::Anyone, params::none_open, handlers::health),
    told("hooks.status", V4, READ, &shapes::AGENT_ONLY, lists::HOOKS),
    row("last-heartbeat", BOTH, READ, params::none_open, handlers::last_heartbeat),
    row("logs.tail", BOTH, READ, own::logs_tail, logs::tail),
    row("secrets.reload", BOTH, ADMIN, config::reload, configuration::ask),
    told("secrets.store.list", V4, ADMIN, &shapes::NOTHING, lists::SECRETS),
    row("set-heartbeats", BOTH, ADMIN, params::set_heartbeats, handlers::set_heartbeats),
    row("status", BOTH, READ, params::none_open, handlers::status),
    row("system-event", BOTH, ADMIN, params::system_event, handlers::system_event),
    row("system-presence", BOTH, READ, params::none_open, handlers::system_presence),
    row("system.info", V4, READ, params::none_closed, handlers::system_info),
    told("update.status", V4, ADMIN, &shapes::UPDATE_STATUS, lists::UPDATES),
    told_open("usage.cost", BOTH, READ, lists::COST),
    told_open("usage.status", BOTH, READ, lists::USAGE),
    row("wake", BOTH, WRITE, own::wake, handlers::wake),
];
