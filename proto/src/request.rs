//! A request from an admitted peer: method and params, parsed once, outside the gateway's lock.

use crate::methods::{Method, Params};

/// One request.
#[derive(Debug)]
pub struct Request {
    /// Echoed in the response.
    pub id: Box<str>,
    /// Which method.
    pub method: MethodRef,
    /// Parsed params, or the validation errors to answer once role and scope have been checked.
    pub params: Result<Params, ParamsFault>,
    /// The key under which a repetition gets the same answer; only for methods that want one.
    pub idempotency_key: Option<Box<str>>,
}

/// Why params were not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamsFault {
    /// Validation texts, joined; the answer puts `invalid <method> params: ` before them.
    Invalid(Box<str>),
    /// The whole message of the answer.
    Message(Box<str>),
}

/// A method as named by the peer.
#[derive(Clone, Debug)]
pub enum MethodRef {
    /// A row of the method table.
    Known(&'static Method),
    /// No such row.
    Unknown(Box<str>),
}

impl MethodRef {
    /// The name the peer used.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(method) => method.name,
            Self::Unknown(name) => name,
        }
    }
}
