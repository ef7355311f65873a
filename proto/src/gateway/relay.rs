//! Requests whose answer is the host's. All that want the same wait for one question: the device store's questions
//! stand in the same queue, and a peer that asks a thousand times must not hold them up.

use super::{Call, Gateway, Purpose, channels};
use crate::error::RequestError;
use crate::frame::Payload;
use crate::host::{HostAnswer, HostFault, HostRequest};
use crate::id::ConnId;
use crate::output::{Output, Reply};
use crate::time::Now;
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;

/// What the host is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relayed {
    /// `system.info`.
    SystemInfo,
    /// `exec.approvals.get`.
    ExecApprovals,
    /// `channels.status`.
    Channels,
    /// `diagnostics.stability`.
    Stability,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) conn: ConnId,
    pub(super) id: Box<str>,
    /// `channels.status`: the only channel that is wanted.
    pub(super) channel: Option<String>,
}

/// Everybody who waits, by question. A question without anybody is not there.
pub(super) type Relays = BTreeMap<Relayed, Vec<Waiting>>;

impl Relayed {
    /// How many there are.
    pub(super) const KINDS: usize = Self::Stability as usize + 1;

    fn request(self) -> HostRequest {
        match self {
            Self::SystemInfo => HostRequest::SystemInfo,
            Self::ExecApprovals => HostRequest::ExecApprovals,
            Self::Channels => HostRequest::Channels,
            Self::Stability => HostRequest::Load,
        }
    }
}

impl Gateway {
    /// Has a request answered by the host.
    pub(super) fn relay(
        &mut self,
        relayed: Relayed,
        call: Call,
        channel: Option<String>,
        out: &mut Vec<Output>,
    ) {
        let waiting = self.relays.entry(relayed).or_default();
        if waiting.len() >= self.config.limits.relay_waiting_max {
            return self.fail(call.conn, call.id, &RequestError::Busy, out);
        }
        waiting.push(Waiting { conn: call.conn, id: call.id, channel });
        if waiting.len() == 1 {
            self.ask_host(call.now, relayed.request(), Purpose::Relay(relayed), out);
        }
    }

    /// The host has answered, or was silent.
    pub(super) fn relayed(
        &mut self,
        now: Now,
        relayed: Relayed,
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
        let waiting = self.relays.remove(&relayed).unwrap_or_default();
        let json = |bytes: Bytes| Reply::Ok(Payload::Json(bytes));
        let value = |value: Value| Reply::Ok(Payload::Value(Box::new(value)));
        let reply: Box<dyn Fn(&Waiting) -> Reply> = match (relayed, answer) {
            (Relayed::SystemInfo, Some(HostAnswer::SystemInfo(Ok(info)))) => {
                Box::new(move |_| json(info.clone()))
            }
            (Relayed::ExecApprovals, Some(HostAnswer::ExecApprovals(Ok(file)))) => {
                Box::new(move |_| json(file.clone()))
            }
            (Relayed::Channels, Some(HostAnswer::Channels(Ok(accounts)))) => {
                Box::new(move |waiting| value(channels::render(now, &accounts, waiting.channel.as_deref())))
            }
            (Relayed::Stability, Some(HostAnswer::Load(load))) => {
                let numbers = self.stability_numbers(now.wall.0, load.ok().as_ref());
                Box::new(move |_| value(numbers.clone()))
            }
            (_, answer) => {
                let message = match answer {
                    Some(
                        HostAnswer::ExecApprovals(Err(HostFault(why)))
                        | HostAnswer::Channels(Err(HostFault(why))),
                    ) => why,
                    Some(_) | None => "this host does not tell about itself; try again".to_owned(),
                };
                let error =
                    RequestError::Unavailable { message, reason: "host-unavailable", retryable: true };
                for Waiting { conn, id, .. } in waiting {
                    self.fail(conn, id, &error, out);
                }
                return;
            }
        };
        for waiting in waiting {
            let reply = reply(&waiting);
            self.respond(waiting.conn, waiting.id, reply, out);
        }
    }
}
