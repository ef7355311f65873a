//! Orders from the gateway. The driver carries each to the named connection or to the host, in order.

use crate::admission::Admission;
use crate::frame::{CloseFrame, ErrorShape, EventFrame, Payload, value_size};
use crate::host::HostRequest;
use crate::http::HttpResponse;
use crate::id::{ConnId, Ticket};
use crate::log::Record;
use bytes::Bytes;

/// One order.
#[derive(Debug)]
pub enum Output {
    /// For one connection: post it to that connection's mailbox, in this order.
    To(ConnId, Order),
    /// For the host: perform it off the lock and feed the answer back as [`crate::Input::Answered`].
    Host(Ticket, HostRequest),
    /// For the log.
    Log(Record),
    /// Whether the listeners should accept.
    Accept(bool),
    /// The gateway lives ([`crate::Gateway::set_beats`]): tell the host, once the lock is given back.
    Beat,
    /// Shutdown is complete: cut what is left and end.
    Stopped,
}

/// What one connection should do; the driver hands it to [`crate::Connection::apply`].
#[derive(Debug)]
pub enum Order {
    /// Complete the WebSocket upgrade and send the challenge.
    Upgrade,
    /// Complete the WebSocket upgrade of a page that waits to be told when to load itself again.
    Watch,
    /// Tell that page.
    Reload,
    /// Answer the HTTP request (or refuse the upgrade).
    Http(Box<HttpResponse>),
    /// More of the body that the answer announced ([`HttpResponse::rest`]).
    Body(Bytes),
    /// The peer is in: send hello-ok, raise the limits, and answer what waited behind `connect`.
    Admit(Box<Admission>),
    /// Answer a request.
    Respond {
        /// The request's id.
        id: Box<str>,
        /// What to say.
        reply: Reply,
    },
    /// Send an event.
    Event(EventFrame),
    /// Whether to read further requests.
    Read(bool),
    /// Send what is queued, then close with this code and reason.
    Close(CloseFrame),
    /// Drop the TCP connection now.
    Abort,
}

/// The outcome of a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// `ok: true`.
    Ok(Payload),
    /// `ok: true`, and another answer to the same request will follow.
    Accepted(Payload),
    /// `ok: false`.
    Err(Box<ErrorShape>),
}

impl Reply {
    /// About how many bytes this will be on the wire.
    pub fn size(&self) -> usize {
        match self {
            Self::Ok(payload) | Self::Accepted(payload) => payload.size(),
            Self::Err(error) => 192 + error.message.len() + error.details.as_ref().map_or(0, value_size),
        }
    }
}

impl Order {
    /// What this order counts for in the peer's queue, in bytes: near its encoded size; zero when it queues nothing.
    pub fn cost(&self) -> usize {
        const HEAD: usize = 64;
        match self {
            Self::Upgrade | Self::Watch | Self::Read(_) | Self::Close(_) | Self::Abort => 0,
            Self::Reload => HEAD,
            Self::Http(response) => HEAD + response.body.len(),
            Self::Body(bytes) => bytes.len(),
            Self::Admit(admission) => 4 * HEAD + admission.size(),
            Self::Respond { id, reply } => HEAD + id.len() + reply.size(),
            Self::Event(event) => HEAD + event.payload.len(),
        }
    }
}
