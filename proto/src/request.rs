//! A request from an admitted peer: method and params, parsed once, outside the gateway's lock.

use crate::methods::unavailable::Unavailable;
use crate::methods::{Access, Method, Params, access};
use serde_json::value::RawValue;

/// One request.
#[derive(Debug)]
pub struct Request {
    /// Echoed in the response.
    pub id: Box<str>,
    /// Which method.
    pub method: MethodRef,
    /// Who may make this very call; never [`Access::ByParams`].
    pub access: Access,
    /// Parsed params, or the validation errors to answer once role and scope have been checked.
    pub params: Result<Params, ParamsFault>,
    /// The key under which a repetition gets the same answer; only for methods that want one.
    pub idempotency_key: Option<Box<str>>,
}

impl Request {
    /// Reads params as the method wants them.
    pub fn new(
        id: Box<str>,
        method: MethodRef,
        params: Option<&RawValue>,
        idempotency_key: Option<Box<str>>,
    ) -> Self {
        let (access, params) = match &method {
            MethodRef::Known(row) => (row.access(params), row.parse(params)),
            MethodRef::Unavailable(missing) => match missing.access {
                Access::ByParams => (access::by_params(missing.name, params), Ok(Params::None)),
                access @ (Access::Anyone
                | Access::AnyOperator
                | Access::Operator(_)
                | Access::Either(_)
                | Access::Both(_)
                | Access::Node) => (access, Ok(Params::None)),
            },
            MethodRef::Unknown(_) => (access::UNKNOWN, Ok(Params::None)),
        };
        Self { id, method, access, params, idempotency_key }
    }
}

/// Why params were not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamsFault {
    /// Validation texts, joined; the answer puts `invalid <method> params: ` before them.
    Invalid(Box<str>),
    /// The whole message of the answer.
    Message(Box<str>),
    /// The same, with a name for programs.
    Coded {
        /// `details.code`.
        code: &'static str,
        /// The whole message of the answer.
        message: &'static str,
    },
}

/// A method as named by the peer.
#[derive(Clone, Debug)]
pub enum MethodRef {
    /// A row of the method table.
    Known(&'static Method),
    /// Not on this gateway.
    Unavailable(Unavailable),
    /// No such row.
    Unknown(Box<str>),
}

impl MethodRef {
    /// The name the peer used.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(method) => method.name,
            Self::Unavailable(method) => method.name,
            Self::Unknown(name) => name,
        }
    }
}
