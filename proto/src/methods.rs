//! The method table: one row a method. Who may call it, how its params are parsed, who answers it.

pub(crate) mod config;
pub(crate) mod params;

use crate::dialect::{BOTH, Dialect};
use crate::gateway::{Call, Gateway, config as configuration, handlers, pair};
use crate::host::config::ConfigOp;
use crate::output::Output;
use crate::request::ParamsFault;
use crate::scope;
use serde_json::value::RawValue;

/// One row.
pub struct Method {
    /// Wire name.
    pub name: &'static str,
    /// The dialects that have it.
    pub dialects: &'static [Dialect],
    /// Who may call it.
    pub access: Access,
    /// Whether hello-ok's `features.methods` names it.
    pub advertised: bool,
    /// Whether a repeated `idempotencyKey` gets the first answer again.
    pub idempotent: bool,
    /// Parses params, outside the gateway's lock.
    pub parse: fn(Option<&RawValue>) -> Result<Params, ParamsFault>,
    /// Answers, under the lock.
    pub handler: fn(&mut Gateway, Call, &mut Vec<Output>),
}

impl core::fmt::Debug for Method {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Method").field(&self.name).finish()
    }
}

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every admitted peer, of any role.
    Anyone,
    /// Operators whose scopes satisfy this one.
    Operator(&'static str),
    /// Nodes.
    Node,
}

/// Parsed params.
#[derive(Debug)]
pub enum Params {
    /// None are wanted.
    None,
    /// `system-event`.
    SystemEvent(Box<SystemEvent>),
    /// `set-heartbeats`.
    Enabled(bool),
    /// `device.pair.approve`, `device.pair.reject`.
    RequestId(String),
    /// `device.pair.remove`.
    DeviceId(String),
    /// `device.token.revoke`, and `device.token.rotate` with the scopes asked for.
    DeviceRole {
        /// Whose token.
        device_id: String,
        /// For which role; any text is well-formed.
        role: String,
        /// Only rotate has them.
        scopes: Option<Vec<String>>,
    },
    /// `config.*`.
    Config(Box<ConfigOp>),
}

/// `system-event` params; members of a wrong type are dropped, not refused.
#[derive(Clone, Debug, Default)]
pub struct SystemEvent {
    /// The text, trimmed.
    pub text: String,
    /// Presence members to set.
    pub device_id: Option<String>,
    /// Presence member.
    pub instance_id: Option<String>,
    /// Presence member.
    pub host: Option<String>,
    /// Presence member.
    pub ip: Option<String>,
    /// Presence member.
    pub mode: Option<String>,
    /// Presence member.
    pub version: Option<String>,
    /// Presence member.
    pub platform: Option<String>,
    /// Presence member.
    pub device_family: Option<String>,
    /// Presence member.
    pub model_identifier: Option<String>,
    /// Presence member.
    pub last_input_seconds: Option<u64>,
    /// Presence member.
    pub reason: Option<String>,
    /// Presence member.
    pub roles: Vec<String>,
    /// Presence member.
    pub scopes: Vec<String>,
    /// Presence member.
    pub tags: Vec<String>,
}

/// The row of that name, in that dialect.
pub fn find(name: &str, dialect: Dialect) -> Option<&'static Method> {
    TABLE.iter().find(|row| row.name == name && row.dialects.contains(&dialect))
}

/// Every method, in the order in which hello-ok advertises them.
pub static TABLE: &[Method] = &[
    row("health", BOTH, Access::Anyone, params::none_open, handlers::health),
    row("status", BOTH, Access::Operator(scope::READ), params::none_open, handlers::status),
    row("last-heartbeat", BOTH, Access::Operator(scope::READ), params::none_open, handlers::last_heartbeat),
    row(
        "set-heartbeats",
        BOTH,
        Access::Operator(scope::ADMIN),
        params::set_heartbeats,
        handlers::set_heartbeats,
    ),
    row("device.pair.list", BOTH, PAIRING, params::none_closed, pair::list),
    row("device.pair.approve", BOTH, PAIRING, params::request_id, pair::approve),
    row("device.pair.reject", BOTH, PAIRING, params::request_id, pair::reject),
    row("device.pair.remove", BOTH, PAIRING, params::device_id, pair::remove),
    row("device.token.rotate", BOTH, PAIRING, params::device_role_scopes, pair::rotate),
    row("device.token.revoke", BOTH, PAIRING, params::device_role, pair::revoke),
    row("gateway.identity.get", BOTH, Access::Operator(scope::READ), params::none_open, handlers::identity),
    row("system-presence", BOTH, Access::Operator(scope::READ), params::none_open, handlers::system_presence),
    row("system-event", BOTH, Access::Operator(scope::ADMIN), params::system_event, handlers::system_event),
    row(
        "system.info",
        &[Dialect::V4],
        Access::Operator(scope::READ),
        params::none_closed,
        handlers::system_info,
    ),
    row("config.get", BOTH, Access::Operator(scope::READ), config::get, configuration::ask),
    row("config.set", BOTH, Access::Operator(scope::ADMIN), config::set, configuration::ask),
    row("config.apply", BOTH, Access::Operator(scope::ADMIN), config::apply, configuration::ask),
    row("config.patch", BOTH, Access::Operator(scope::ADMIN), config::patch, configuration::ask),
    row("config.schema", BOTH, Access::Operator(scope::READ), config::schema, configuration::ask),
    row("config.schema.lookup", BOTH, Access::Operator(scope::READ), config::lookup, configuration::ask),
    Method {
        advertised: false,
        ..row("connect", BOTH, Access::Operator(scope::ADMIN), params::none_open, handlers::connect_again)
    },
];

const PAIRING: Access = Access::Operator(scope::PAIRING);

type Parse = fn(Option<&RawValue>) -> Result<Params, ParamsFault>;
type Handler = fn(&mut Gateway, Call, &mut Vec<Output>);

const fn row(
    name: &'static str,
    dialects: &'static [Dialect],
    access: Access,
    parse: Parse,
    handler: Handler,
) -> Method {
    Method { name, dialects, access, advertised: true, idempotent: false, parse, handler }
}
