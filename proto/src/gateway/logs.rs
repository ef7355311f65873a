//! `logs.tail`: the host reads, off the lock; here it is decided how many may ask at once.

use super::{Call, Gateway, Purpose};
use crate::error::RequestError;
use crate::frame::Payload;
use crate::host::{HostAnswer, HostRequest};
use crate::id::ConnId;
use crate::methods::Params;
use crate::output::{Output, Reply};

/// `logs.tail`.
pub(crate) fn tail(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::LogsTail(wanted) = call.params else { return };
    let waiting =
        gateway.tickets.values().filter(|purpose| matches!(purpose, Purpose::LogsTail { .. })).count();
    if waiting >= gateway.config.limits.log_tails_max {
        let message = "log read failed: too many readers at once; try again".to_owned();
        let error = RequestError::Unavailable { message, reason: "log-busy", retryable: true };
        return gateway.fail(call.conn, call.id, &error, out);
    }
    let purpose = Purpose::LogsTail { conn: call.conn, id: call.id };
    gateway.ask_host(call.now, HostRequest::LogsTail(wanted), purpose, out);
}

impl Gateway {
    pub(super) fn log_read(
        &mut self,
        conn: ConnId,
        id: Box<str>,
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
        let why = match answer {
            Some(HostAnswer::LogsTail(Ok(json))) => {
                return self.respond(conn, id, Reply::Ok(Payload::Json(json)), out);
            }
            Some(HostAnswer::LogsTail(Err(fault))) => fault.0,
            Some(_) | None => "this host does not answer".to_owned(),
        };
        let message = format!("log read failed: {why}");
        let error = RequestError::Unavailable { message, reason: "log-unavailable", retryable: true };
        self.fail(conn, id, &error, out);
    }
}
