//! Protocol frames as JSON text, members in the order the protocol shows them (spec: v4 section 2.2). Each is a
//! head, a body that may be shared, and a tail.

use crate::admission::Admission;
use crate::dialect::{self, Dialect};
use crate::frame::{ErrorShape, EventFrame, Payload};
use crate::output::Reply;
use crate::time::Wall;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

/// Head, body and tail of a text message.
pub(crate) type Parts = (Vec<u8>, Bytes, Vec<u8>);

/// `{"type":"event","event":NAME,"payload":BODY[,"seq":N][,"stateVersion":{..}]}`.
pub(crate) fn event(event: EventFrame) -> Parts {
    let mut head = Vec::with_capacity(64);
    write_event_head(&mut head, &event);
    let mut tail = Vec::with_capacity(64);
    write_event_tail(&mut tail, &event);
    (head, event.payload, tail)
}

/// The same in one piece.
pub(crate) fn write_event(out: &mut Vec<u8>, event: &EventFrame) {
    write_event_head(out, event);
    out.extend_from_slice(&event.payload);
    write_event_tail(out, event);
}

fn write_event_head(out: &mut Vec<u8>, event: &EventFrame) {
    out.extend_from_slice(br#"{"type":"event","event":""#);
    out.extend_from_slice(event.name.as_bytes());
    out.extend_from_slice(br#"","payload":"#);
}

fn write_event_tail(out: &mut Vec<u8>, event: &EventFrame) {
    if let Some(seq) = event.seq {
        out.extend_from_slice(br#","seq":"#);
        write_json(out, &seq);
    }
    if let Some(version) = event.state_version {
        out.extend_from_slice(br#","stateVersion":"#);
        write_json(out, &version);
    }
    out.push(b'}');
}

/// `{"type":"res","id":ID,"ok":true,"payload":BODY}`, or `{..,"ok":false,"error":{..}}`.
pub(crate) fn response(id: &str, reply: Reply, dialect: Dialect) -> Parts {
    let mut head = Vec::with_capacity(256);
    write_response_head(&mut head, id);
    match reply {
        Reply::Err(error) => {
            write_error(&mut head, &error);
            (head, Bytes::new(), Vec::new())
        }
        Reply::Ok(payload) | Reply::Accepted(payload) => {
            head.extend_from_slice(OK);
            let body = match payload {
                Payload::Json(json) => json,
                Payload::Devices(view) => dialect::device_list(dialect, &view).into(),
                Payload::Nodes(view) => dialect::nodes::nodes(dialect, &view).into(),
                Payload::Invoked(answer) => {
                    head.extend_from_slice(br#"{"ok":true,"nodeId":"#);
                    write_json(&mut head, &answer.node_id);
                    head.extend_from_slice(br#","command":"#);
                    write_json(&mut head, &answer.command);
                    answer.rest
                }
                Payload::Value(value) => {
                    write_json(&mut head, &value);
                    Bytes::new()
                }
            };
            (head, body, b"}".to_vec())
        }
    }
}

/// A good response in one piece.
pub(crate) fn write_response(out: &mut Vec<u8>, id: &str, payload: &Bytes) {
    write_response_head(out, id);
    out.extend_from_slice(OK);
    out.extend_from_slice(payload);
    out.push(b'}');
}

fn write_response_head(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(br#"{"type":"res","id":"#);
    write_json(out, id);
}

/// hello-ok, as the answer to `connect`.
pub(crate) fn admission(admission: &Admission) -> Parts {
    let hello = Payload::Json(dialect::hello_ok(admission).into());
    response(&admission.request_id, Reply::Ok(hello), admission.dialect)
}

/// The first frame on every WebSocket.
pub(crate) fn challenge(nonce: &str, now: Wall) -> Vec<u8> {
    let ts = now.0;
    format!(r#"{{"type":"event","event":"connect.challenge","payload":{{"nonce":"{nonce}","ts":{ts}}}}}"#)
        .into_bytes()
}

/// A refusal by the connection itself. `id` is JSON already: a peer may have sent one of any type.
pub(crate) fn refusal(id: &[u8], message: String, details: Option<Value>) -> Vec<u8> {
    let error =
        ErrorShape { code: "INVALID_REQUEST", message, details, retryable: None, retry_after_ms: None };
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(br#"{"type":"res","id":"#);
    out.extend_from_slice(id);
    write_error(&mut out, &error);
    out
}

const OK: &[u8] = br#","ok":true,"payload":"#;

fn write_error(out: &mut Vec<u8>, error: &ErrorShape) {
    out.extend_from_slice(br#","ok":false,"error":"#);
    write_json(out, error);
    out.push(b'}');
}

pub(crate) fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("plain data with string keys, into memory");
}
