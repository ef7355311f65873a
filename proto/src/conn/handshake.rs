//! The first message of a WebSocket: a `connect`, or the refusal that says why it is none
//! (spec: handshake section 5, v4 section 5).

use super::encode;
use crate::connect::{ConnectParams, ConnectRequest, proof};
use crate::frame::CloseFrame;
use crate::inbound::{self, Inbound, RequestFrame};
use crate::time::Wall;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What a first message comes to.
#[derive(Debug)]
pub(crate) enum First {
    /// A well-formed `connect`, its device proof judged.
    Connect(Box<ConnectRequest>),
    /// An answer, if the frame had an id to answer, and the close that follows.
    Refused { response: Option<Vec<u8>>, close: CloseFrame },
}

/// Judges a first message. `nonce` is the one this connection was challenged with.
pub(crate) fn judge(text: &str, nonce: &str, now: Wall, skew_ms: u64) -> First {
    let frame = match inbound::parse(text) {
        Inbound::Request(frame) => frame,
        Inbound::NotJson | Inbound::Invalid { .. } => {
            let close = CloseFrame::new(1008, "invalid request frame");
            return First::Refused { response: None, close };
        }
    };
    if frame.method != "connect" {
        return refused(&frame, Cow::Borrowed("invalid handshake: first request must be connect"));
    }
    let parsed = ConnectParams::parse(frame.params);
    let claims_worker = match &parsed {
        Ok(params) => is_worker(params.role.as_deref(), Some(&params.client.id), Some(&params.client.mode)),
        // Whoever claims to be a worker learns nothing here, not even what is wrong with its params.
        Err(_) => claims_worker(frame.params),
    };
    if claims_worker {
        let close = CloseFrame::new(1008, "invalid-handshake");
        return First::Refused { response: None, close };
    }
    match parsed {
        Err(errors) => refused(&frame, Cow::Owned(format!("invalid connect params: {errors}"))),
        Ok(params) => {
            let proof = proof::check(&params, nonce, now, skew_ms);
            First::Connect(Box::new(ConnectRequest { id: frame.id.into(), params, proof }))
        }
    }
}

fn refused(frame: &RequestFrame<'_>, message: Cow<'static, str>) -> First {
    let mut id = Vec::new();
    encode::write_json(&mut id, frame.id.as_ref());
    First::Refused {
        response: Some(encode::refusal(&id, message.clone().into_owned(), None)),
        close: CloseFrame { code: 1008, reason: message },
    }
}

fn claims_worker(params: Option<&RawValue>) -> bool {
    let Some(params) = params.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()) else {
        return false;
    };
    let text = |pointer| params.pointer(pointer).and_then(Value::as_str);
    is_worker(text("/role"), text("/client/id"), text("/client/mode"))
}

/// Workers have an endpoint of their own, which this gateway does not offer.
fn is_worker(role: Option<&str>, id: Option<&str>, mode: Option<&str>) -> bool {
    role == Some("worker") || id == Some("openclaw-worker") || mode == Some("worker")
}
