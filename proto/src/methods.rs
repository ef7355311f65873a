//! The method table: one row a method. Who may call it, how its params are read, who answers it.
//!
//! Rows stand in files by area, sorted by name in each. Methods that this gateway does not have are no rows: they are
//! one list with one answer, [`unavailable`]. A name on neither is unknown.

pub(crate) mod access;
mod agents;
pub(crate) mod approval_params;
mod approval_shapes;
mod approvals;
mod channels;
pub(crate) mod config;
mod devices;
pub mod invoke_params;
pub(crate) mod params;
mod sessions;
pub(crate) mod shapes;
mod system;
pub mod system_params;
pub mod unavailable;
mod users;

pub use access::Access;

use crate::approvals::Draft;
use crate::dialect::Dialect;
use crate::dialect::lists::Text;
use crate::gateway::{Call, Gateway};
use crate::host::config::ConfigOp;
use crate::output::Output;
use crate::request::ParamsFault;
use crate::scope;
use crate::validate::Shape;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

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
    /// Whether it changes how the gateway works, and so is held against a budget.
    pub control_write: bool,
    /// How its params are read.
    pub(crate) parse: Parse,
    /// Where its answer comes from.
    pub(crate) answer: Answer,
}

impl Method {
    /// Reads params, outside the gateway's lock.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(&self, raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
        match self.parse {
            Parse::With(parse) => parse(raw),
            Parse::Closed(shape) => params::object(shape, raw),
        }
    }

    /// Who may make this call.
    pub fn access(&self, raw: Option<&RawValue>) -> Access {
        match self.access {
            Access::ByParams => access::by_params(self.name, raw),
            access @ (Access::Anyone
            | Access::AnyOperator
            | Access::Operator(_)
            | Access::Either(_)
            | Access::Both(_)
            | Access::Node) => access,
        }
    }
}

impl core::fmt::Debug for Method {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Method").field(&self.name).finish()
    }
}

/// How params are read.
#[derive(Clone, Copy)]
pub(crate) enum Parse {
    /// By a function of their own.
    With(fn(Option<&RawValue>) -> Result<Params, ParamsFault>),
    /// A closed object, kept as [`Params::Object`].
    Closed(&'static Shape),
}

/// Where an answer comes from.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// A handler, under the lock.
    By(fn(&mut Gateway, Call, &mut Vec<Output>)),
    /// A text in which a few words are filled in.
    Text(Text),
}

/// Parsed params.
#[derive(Debug)]
pub enum Params {
    /// None are wanted.
    None,
    /// Checked against the shape of its row.
    Object(Map<String, Value>),
    /// `system-event`.
    SystemEvent(Box<SystemEvent>),
    /// `set-heartbeats`.
    Enabled(bool),
    /// `device.pair.approve`, `device.pair.reject`, `exec.approval.waitDecision`, `plugin.approval.waitDecision`.
    RequestId(String),
    /// `device.pair.remove`.
    DeviceId(String),
    /// `node.describe`, `node.pair.remove`.
    NodeId(String),
    /// `device.token.revoke`, and `device.token.rotate` with the scopes asked for.
    DeviceRole {
        /// Whose token.
        device_id: String,
        /// For which role; any text is well-formed.
        role: String,
        /// Only rotate has them.
        scopes: Option<Vec<String>>,
    },
    /// `logs.tail`.
    LogsTail(system_params::LogsTail),
    /// `voicewake.set`: the words, normalised.
    Triggers(Vec<String>),
    /// `talk.mode`.
    TalkMode {
        /// Whether it talks.
        enabled: bool,
        /// What it does just now; any text.
        phase: Option<String>,
    },
    /// `wake`.
    Wake(system_params::Wake),
    /// `gateway.suspend.prepare`.
    SuspendPrepare(system_params::SuspendPrepare),
    /// `gateway.suspend.resume`, `gateway.suspend.status`.
    SuspensionId(String),
    /// `gateway.restart.request`.
    Restart {
        /// For the log.
        reason: String,
    },
    /// `config.*`.
    Config(Box<ConfigOp>),
    /// `exec.approval.request`, `plugin.approval.request`, `question.request`.
    Ask(Box<Draft>),
    /// `node.invoke`.
    Invoke(Box<invoke_params::InvokeCall>),
    /// `node.invoke.result`.
    NodeResult(Box<invoke_params::NodeResult>),
    /// `node.event`.
    NodeEvent(Box<invoke_params::NodeEvent>),
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
    let row = AREAS.iter().find_map(|rows| {
        let at = rows.binary_search_by(|row| row.name.cmp(name)).ok()?;
        rows.get(at)
    })?;
    row.dialects.contains(&dialect).then_some(row)
}

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Method> {
    AREAS.iter().copied().flatten()
}

/// What hello-ok's `features.methods` names.
pub fn advertised(dialect: Dialect) -> impl Iterator<Item = &'static str> {
    rows().filter(move |row| row.advertised && row.dialects.contains(&dialect)).map(|row| row.name)
}

static AREAS: [&[Method]; 7] =
    [system::ROWS, devices::ROWS, approvals::ROWS, sessions::ROWS, agents::ROWS, channels::ROWS, users::ROWS];

type Read = fn(Option<&RawValue>) -> Result<Params, ParamsFault>;
type Handler = fn(&mut Gateway, Call, &mut Vec<Output>);

/// A row with a handler.
const fn row(
    name: &'static str,
    dialects: &'static [Dialect],
    access: Access,
    parse: Read,
    handler: Handler,
) -> Method {
    entry(name, dialects, access, Parse::With(parse), Answer::By(handler))
}

/// A row whose params are a closed object, with a handler.
const fn closed(
    name: &'static str,
    dialects: &'static [Dialect],
    access: Access,
    shape: &'static Shape,
    handler: Handler,
) -> Method {
    entry(name, dialects, access, Parse::Closed(shape), Answer::By(handler))
}

/// A row whose params are a closed object, answered with a text.
const fn told(
    name: &'static str,
    dialects: &'static [Dialect],
    access: Access,
    shape: &'static Shape,
    text: Text,
) -> Method {
    entry(name, dialects, access, Parse::Closed(shape), Answer::Text(text))
}

/// A row whose params are not looked at but for the words of its text.
const fn told_open(name: &'static str, dialects: &'static [Dialect], access: Access, text: Text) -> Method {
    entry(name, dialects, access, Parse::With(params::open), Answer::Text(text))
}

const fn entry(
    name: &'static str,
    dialects: &'static [Dialect],
    access: Access,
    parse: Parse,
    answer: Answer,
) -> Method {
    Method {
        name,
        dialects,
        access,
        advertised: true,
        idempotent: false,
        control_write: false,
        parse,
        answer,
    }
}

/// A row that hello-ok does not name.
const fn hidden(row: Method) -> Method {
    Method { advertised: false, ..row }
}

/// A row that is held against the budget of control-plane writes.
const fn control_write(row: Method) -> Method {
    Method { control_write: true, ..row }
}

const ADMIN: Access = Access::Operator(scope::ADMIN);
const APPROVALS: Access = Access::Operator(scope::APPROVALS);
const PAIRING: Access = Access::Operator(scope::PAIRING);
const READ: Access = Access::Operator(scope::READ);
const TALK: Access = Access::Operator(scope::TALK);
const WRITE: Access = Access::Operator(scope::WRITE);
/// The dialects of a method that protocol 4 has no more.
const V3: &[Dialect] = &[Dialect::V3];
/// The dialects of a method that came with protocol 4.
const V4: &[Dialect] = &[Dialect::V4];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::BOTH;

    #[test]
    fn rows_are_sorted_in_their_area_and_found_by_name() {
        for rows in AREAS {
            for pair in rows.windows(2) {
                assert!(pair[0].name < pair[1].name, "{} stands before {}", pair[0].name, pair[1].name);
            }
        }
        for row in rows() {
            for dialect in BOTH {
                let found = find(row.name, *dialect);
                assert_eq!(found.map(|found| found.name), row.dialects.contains(dialect).then_some(row.name));
                assert!(found.is_none_or(|found| core::ptr::eq(found, row)), "{} stands twice", row.name);
            }
        }
    }
}
