//! Messages of an admitted peer: a request, or the answer that says why it is none
//! (spec: handshake section 15.1, v4 sections 2.2 and 8).

use super::encode;
use crate::dialect::Dialect;
use crate::inbound::{self, Inbound};
use crate::methods;
use crate::request::{MethodRef, Request};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What a message comes to.
#[derive(Debug)]
pub(crate) enum Judged {
    /// Not JSON: nothing is said about it.
    Ignored,
    /// An answer; the connection stays.
    Refused(Vec<u8>),
    /// For the gateway.
    Request(Request),
}

/// Judges one message.
pub(crate) fn judge(text: &str, dialect: Dialect) -> Judged {
    let frame = match inbound::parse(text) {
        Inbound::NotJson => return Judged::Ignored,
        Inbound::Invalid { id, errors } => {
            let id = id.map_or(NO_ID, |id| id.get().as_bytes());
            return refused(id, format!("invalid request frame: {errors}"), None);
        }
        Inbound::Request(frame) => frame,
    };
    for (name, text) in [("id", &frame.id), ("method", &frame.method)] {
        if text.len() > NAME_BYTES_MAX {
            let message =
                format!("invalid request frame: at /{name}: must not have more than {NAME_BYTES_MAX} bytes");
            return refused(NO_ID, message, None);
        }
    }
    if frame.expected_profile.is_some() {
        // There are no user profiles here, so none can be the expected one.
        let mut id = Vec::new();
        encode::write_json(&mut id, frame.id.as_ref());
        let details = json!({"reason": "EXPECTED_PROFILE_MISMATCH", "execution": "not_started"});
        return refused(&id, "expected profile does not match".to_owned(), Some(details));
    }
    let (method, idempotency_key) = match methods::find(&frame.method, dialect) {
        Some(row) => {
            let key = if row.idempotent { idempotency_key(frame.params) } else { None };
            (MethodRef::Known(row), key)
        }
        None => match methods::unavailable::find(&frame.method, dialect) {
            Some(missing) => (MethodRef::Unavailable(missing), None),
            None => (MethodRef::Unknown(frame.method.into()), None),
        },
    };
    Judged::Request(Request::new(frame.id.into(), method, frame.params, idempotency_key))
}

/// The key of a request that may be repeated. An empty or overlong one is none; whether it may be missing is for the
/// method's params to say.
fn idempotency_key(params: Option<&RawValue>) -> Option<Box<str>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Key {
        idempotency_key: Option<Box<str>>,
    }
    let Key { idempotency_key } = serde_json::from_str(params?.get()).ok()?;
    idempotency_key.filter(|key| !key.is_empty() && key.len() <= NAME_BYTES_MAX)
}

/// `id` is JSON; one that is too long to be repeated is not.
fn refused(id: &[u8], message: String, details: Option<Value>) -> Judged {
    let id = if id.len() > NAME_BYTES_MAX { NO_ID } else { id };
    Judged::Refused(encode::refusal(id, message, details))
}

/// Stands for the id of a frame that has none.
const NO_ID: &[u8] = br#""invalid""#;

/// Longest id or method name. They are kept while a request is in flight and repeated in its answer, so their
/// length must not be the peer's to choose; ids are UUIDs in practice.
const NAME_BYTES_MAX: usize = 1024;
