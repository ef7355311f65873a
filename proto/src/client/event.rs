//! What a client hears: typed events, and the JSON of a frame taken apart as far as a client needs it
//! (spec: v4 sections 2.2, 8 and 9). Payloads stay raw until somebody wants them, and `Debug` shows their sizes
//! only, because some carry device tokens.

use crate::frame::StateVersion;
use core::fmt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// One thing that happened on a client's connection.
#[derive(Debug)]
pub enum ClientEvent {
    /// The gateway asks for proof.
    Challenge {
        /// Goes into the signature.
        nonce: String,
        /// The gateway's clock, Unix milliseconds.
        ts_ms: Option<u64>,
    },
    /// The gateway let us in.
    HelloOk(Hello),
    /// The gateway refused `connect`; it closes next.
    ConnectRefused(ResponseError),
    /// An answer to a request.
    Response(Response),
    /// An event.
    Event(EventMessage),
    /// Events were lost: the next one has a higher number than expected.
    Gap {
        /// The number that should have come.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// A message that is no frame a client knows. The connection goes on.
    Unrecognised(Unrecognised),
    /// The upgrade was answered with a plain HTTP response. The connection is over.
    HttpRefused {
        /// Status code.
        status: u16,
        /// The beginning of the body, 2,048 bytes at most.
        body: Vec<u8>,
    },
    /// The connection is over. The last event.
    Closed {
        /// Close code of RFC 6455 section 7.4: 1005 for a close frame without one, 1006 for none at all.
        code: u16,
        /// The reason that came, or that we sent.
        reason: String,
        /// Who ended it.
        by: ClosedBy,
    },
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The gateway sent a close frame.
    Peer,
    /// We did.
    Us,
    /// Nobody: the socket went away, or never became a WebSocket.
    Transport,
}

/// The hello-ok payload. `Debug` hides it: it may hold a device token.
#[derive(Clone, PartialEq)]
pub struct Hello(pub Value);

impl Hello {
    /// The protocol the gateway will speak.
    pub fn protocol(&self) -> Option<u64> {
        self.0["protocol"].as_u64()
    }

    /// The device token of the role, to be stored. A secret.
    pub fn device_token(&self) -> Option<&str> {
        self.0["auth"]["deviceToken"].as_str()
    }

    /// The scopes named in `auth`: of the socket in protocol 4, of the token in protocol 3.
    pub fn scopes(&self) -> Vec<&str> {
        self.0["auth"]["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The announced tick interval.
    pub fn tick_interval_ms(&self) -> Option<u64> {
        self.0["policy"]["tickIntervalMs"].as_u64()
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello").field("protocol", &self.protocol()).finish_non_exhaustive()
    }
}

/// One `res` frame.
pub struct Response {
    /// The request's id.
    pub id: String,
    /// Whether it succeeded.
    pub ok: bool,
    /// What it gave; a failure may have one too.
    pub payload: Option<Box<RawValue>>,
    /// Why it failed.
    pub error: Option<ResponseError>,
}

impl Response {
    /// The payload (`null` when there is none), or why there is none.
    ///
    /// # Errors
    /// The gateway answered `ok: false`.
    pub fn into_result(self) -> Result<Value, ResponseError> {
        if self.ok {
            return value_of(self.payload.as_deref())
                .ok_or_else(|| unavailable("the payload cannot be read"));
        }
        Err(self.error.unwrap_or_else(|| unavailable("the gateway gave no reason")))
    }
}

fn unavailable(message: &str) -> ResponseError {
    ResponseError {
        code: "UNAVAILABLE".to_owned(),
        message: message.to_owned(),
        details: None,
        retryable: None,
        retry_after_ms: None,
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("id", &self.id)
            .field("ok", &self.ok)
            .field("payload_bytes", &self.payload.as_ref().map(|raw| raw.get().len()))
            .field("error", &self.error)
            .finish()
    }
}

/// The `error` of a response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseError {
    /// Top-level code.
    pub code: String,
    /// For a person.
    pub message: String,
    /// Machine-readable facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether the same request may succeed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// When to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ResponseError {
    /// A string of `details`.
    pub fn detail(&self, key: &str) -> Option<&str> {
        self.detail_value(key)?.as_str()
    }

    /// A member of `details`.
    pub fn detail_value(&self, key: &str) -> Option<&Value> {
        self.details.as_ref()?.get(key)
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl core::error::Error for ResponseError {}

/// One `event` frame.
pub struct EventMessage {
    /// Event name.
    pub name: String,
    /// What it says.
    pub payload: Option<Box<RawValue>>,
    /// This connection's number for it.
    pub seq: Option<u64>,
    /// Versions of presence and health.
    pub state_version: Option<StateVersion>,
}

impl EventMessage {
    /// The payload; `null` when there is none, or when it nests deeper than a parser should follow.
    pub fn value(&self) -> Value {
        value_of(self.payload.as_deref()).unwrap_or(Value::Null)
    }
}

impl fmt::Debug for EventMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventMessage")
            .field("name", &self.name)
            .field("seq", &self.seq)
            .field("state_version", &self.state_version)
            .field("payload_bytes", &self.payload.as_ref().map(|raw| raw.get().len()))
            .finish()
    }
}

/// The text of a message that is no known frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Unrecognised(pub Box<str>);

impl fmt::Debug for Unrecognised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unrecognised({} bytes)", self.0.len())
    }
}

/// A frame from the gateway.
pub(super) enum Frame {
    Response(Response),
    Event(EventMessage),
}

/// Takes a message apart. `None` for what the reference client would drop too: no known type, an id that is no
/// string, an error without code or message, an event without a name, a `seq` that is no whole number.
pub(super) fn parse(text: &str) -> Option<Frame> {
    let wire: Wire = serde_json::from_str(text).ok()?;
    match wire.kind.as_str() {
        "res" => {
            let error = match wire.error {
                None => None,
                Some(raw) => Some(serde_json::from_str::<ResponseError>(raw.get()).ok()?),
            };
            if error.as_ref().is_some_and(|error| error.code.is_empty() || error.message.is_empty()) {
                return None;
            }
            Some(Frame::Response(Response { id: wire.id?, ok: wire.ok?, payload: wire.payload, error }))
        }
        "event" => Some(Frame::Event(EventMessage {
            name: wire.event.filter(|name| !name.is_empty())?,
            payload: wire.payload,
            seq: wire.seq,
            state_version: wire
                .state_version
                .map(|v| StateVersion { presence: v.presence, health: v.health }),
        })),
        _ => None,
    }
}

/// `null` when there is none. A raw value was only skipped over when its frame was parsed: it may still nest too
/// deep, or hold a number beyond all bounds, and then there is nothing to give.
pub(super) fn value_of(raw: Option<&RawValue>) -> Option<Value> {
    raw.map_or(Some(Value::Null), |raw| serde_json::from_str(raw.get()).ok())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    ok: Option<bool>,
    payload: Option<Box<RawValue>>,
    error: Option<Box<RawValue>>,
    event: Option<String>,
    seq: Option<u64>,
    state_version: Option<WireVersion>,
}

#[derive(Deserialize)]
struct WireVersion {
    presence: u64,
    health: u64,
}
