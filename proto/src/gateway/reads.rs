//! Answers that are a text with a few words filled in: lists that are empty because there is nothing to list.

use super::{Call, Gateway};
use crate::frame::Payload;
use crate::output::{Output, Reply};
use bytes::Bytes;

/// Answers with the text of the peer's dialect.
pub(super) fn text(gateway: &mut Gateway, call: Call, texts: [&'static str; 2], out: &mut Vec<Output>) {
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let text = texts[session.dialect.index()];
    let reply = Reply::Ok(Payload::Json(Bytes::from_static(text.as_bytes())));
    gateway.respond(call.conn, call.id, reply, out);
}
