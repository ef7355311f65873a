//! `exec.approvals.set`: the file of what each agent may run, changed as a whole by an admin, on top of what was read
//! (spec: methods section 8). It is answered once it is durable.

use super::super::{Call, Gateway, Purpose};
use crate::error::RequestError;
use crate::frame::Payload;
use crate::host::{ExecApprovalsFault, HostAnswer, HostRequest};
use crate::id::ConnId;
use crate::log::{Level, Record};
use crate::methods::Params;
use crate::output::{Output, Reply};
use serde_json::Value;
use std::sync::Arc;

/// `exec.approvals.set`.
pub(crate) fn set(gateway: &mut Gateway, mut call: Call, out: &mut Vec<Output>) {
    let Params::Object(mut params) = core::mem::replace(&mut call.params, Params::None) else { return };
    if gateway.exec_approvals_waiting() >= gateway.config.limits.exec_approvals_queue_max {
        let message = "too many changes of the exec approvals wait for the disk; try again".to_owned();
        let error = RequestError::Unavailable { message, reason: "store-busy", retryable: true };
        return gateway.fail(call.conn, call.id, &error, out);
    }
    let request = HostRequest::StoreExecApprovals {
        file: Arc::new(params.remove("file").unwrap_or_default()),
        base_hash: params.get("baseHash").and_then(Value::as_str).map(str::to_owned),
        seed: gateway.random.seed(),
    };
    let purpose = Purpose::ExecApprovals { conn: call.conn, id: call.id };
    gateway.ask_host(call.now, request, purpose, out);
}

impl Gateway {
    /// Changes on their way to the disk.
    pub(in crate::gateway) fn exec_approvals_waiting(&self) -> usize {
        self.tickets.values().filter(|purpose| matches!(purpose, Purpose::ExecApprovals { .. })).count()
    }

    /// The change is on the disk, or is not.
    pub(in crate::gateway) fn exec_approvals_stored(
        &mut self,
        (conn, id): (ConnId, Box<str>),
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
        let error = match answer {
            Some(HostAnswer::ExecApprovalsStored(Ok(file))) => {
                out.push(Output::Log(Record::new(Level::Info, "exec-approvals.changed").conn(conn)));
                return self.respond(conn, id, Reply::Ok(Payload::Json(file)), out);
            }
            Some(HostAnswer::ExecApprovalsStored(Err(ExecApprovalsFault::Refused(why)))) => {
                RequestError::Invalid(why)
            }
            Some(HostAnswer::ExecApprovalsStored(Err(ExecApprovalsFault::Failed(why)))) => unavailable(why),
            Some(_) | None => unavailable("the host did not answer in time; read the file again".to_owned()),
        };
        self.fail(conn, id, &error, out);
    }
}

fn unavailable(message: String) -> RequestError {
    RequestError::Unavailable { message, reason: "store-unavailable", retryable: true }
}
