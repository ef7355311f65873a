//! WebSocket frames (RFC 6455), both roles, without sockets: bytes to messages and messages to bytes.
//!
//! Frame heads are parsed and formatted by tungstenite; everything behind the head is ours: payloads, masks,
//! fragments, UTF-8, control frames, closes. tungstenite's own `WebSocketContext` is not used because it reports
//! an oversize frame only after the payload came, reserves a frame's declared length at once, and never
//! gives memory back; a gateway for small boards can afford none of the three.
//!
//! Invariants:
//! - Nothing is kept between messages: an idle connection holds no buffer at all.
//! - A message too long is refused from a frame's head, before any of its payload is kept (1009).
//! - A message being assembled takes memory as its bytes arrive. What it takes beyond 64 KiB comes out of the
//!   process-wide [`Budget`] first (1013 when there is none).
//! - Bad UTF-8 in a text message is refused at the first byte that cannot be right, even inside a frame (1007).
//! - No extension is ever negotiated: a reserved bit is a fault (1002).

mod frame;
mod reader;
#[cfg(test)]
mod tests;

pub(crate) use frame::{Opcode, Outgoing, close_payload, control_frame, small_text_frame};
pub(crate) use reader::Reader;

use crate::budget::Budget;
use crate::conn::outbox::{Item, Outbox};
use crate::frame::CloseFrame;
use crate::seed::{Random, Seed};
use bytes::Bytes;
use core::fmt;

/// Which end of the connection this is. It decides who masks (RFC 6455 section 5.1).
#[derive(Debug)]
pub enum Role {
    /// Reads masked frames, writes unmasked ones.
    Server,
    /// Reads unmasked frames; masks what it writes, with keys drawn from this seed.
    Client(Seed),
}

/// A whole message, fragments joined.
pub struct Message {
    data: Data,
    held: Held,
}

/// What a message holds.
pub enum Data {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

/// What [`WebSocket::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(Message),
    /// The peer closed. Our own close frame is on its way, or was sent before.
    Closed(Option<CloseFrame>),
    /// The peer broke a rule. A close frame that says so is on its way; later bytes are dropped.
    Fault(Fault),
}

/// What a peer did wrong, or what we could not do for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// RFC 6455 does not allow this.
    Protocol(&'static str),
    /// Text that is not UTF-8.
    Utf8,
    /// A message above the limit.
    TooBig,
    /// The process-wide byte budget has no room for this message.
    Memory,
}

/// A WebSocket after the upgrade, over memory. Answers pings and closes by itself.
pub struct WebSocket {
    reader: Reader,
    outbox: Outbox,
    closed_by_peer: bool,
}

impl WebSocket {
    /// An open WebSocket whose peer may send messages of at most `message_bytes_max` bytes.
    pub fn new(role: Role, message_bytes_max: usize, budget: Budget) -> Self {
        let (is_server, masks) = match role {
            Role::Server => (true, None),
            Role::Client(seed) => (false, Some(Random::new(seed))),
        };
        Self {
            reader: Reader::new(is_server, message_bytes_max, budget),
            outbox: Outbox::new(masks),
            closed_by_peer: false,
        }
    }

    /// Changes the longest message the peer may send, from the next frame on.
    pub fn set_message_bytes_max(&mut self, message_bytes_max: usize) {
        self.reader.set_message_bytes_max(message_bytes_max);
    }

    /// Takes bytes from the front, up to the end of the first thing worth saying, and tells how many it took.
    /// Call again with the rest.
    pub fn receive(&mut self, bytes: &[u8]) -> (usize, Option<Received>) {
        let (taken, received) = self.reader.receive(bytes, &mut self.outbox);
        if matches!(received, Some(Received::Closed(_))) {
            self.closed_by_peer = true;
        }
        (taken, received)
    }

    /// Queues a text message.
    pub fn send_text(&mut self, text: impl Into<Bytes>) {
        self.outbox.push(Item::Message { opcode: Opcode::Text, body: text.into() }, 0);
    }

    /// Queues a binary message.
    pub fn send_binary(&mut self, bytes: impl Into<Bytes>) {
        self.outbox.push(Item::Message { opcode: Opcode::Binary, body: bytes.into() }, 0);
    }

    /// Queues a ping without payload, ahead of messages that wait.
    pub fn ping(&mut self) {
        let _ = self.outbox.control(Opcode::Ping, &[]);
    }

    /// Sends what is queued, then a close frame; messages of the peer are dropped from now on.
    pub fn close(&mut self, close: CloseFrame) {
        self.reader.stop_reading_messages();
        self.outbox.push(Item::Close(Some(close)), 0);
    }

    /// Appends pending wire bytes, about 64 KiB at most.
    pub fn take_wire(&mut self, wire: &mut Vec<u8>) {
        self.outbox.take(wire);
    }

    /// Whether there are wire bytes to take.
    pub fn wants_write(&self) -> bool {
        self.outbox.wants_write()
    }

    /// Whether both sides have sent their close frames and ours is taken.
    pub fn is_finished(&self) -> bool {
        self.closed_by_peer && !self.outbox.wants_write()
    }
}

impl Message {
    /// Its data.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Its data, without the claim on the budget that came with it.
    pub fn into_data(self) -> Data {
        self.data
    }

    /// The message as text. The gateway protocol takes binary messages that are UTF-8 for text.
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            Data::Binary(bytes) => core::str::from_utf8(bytes).ok(),
        }
    }

    /// Payload bytes.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it has no payload.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the process-wide budget it holds until dropped.
    pub fn budget_bytes(&self) -> usize {
        self.held.bytes
    }
}

impl Fault {
    /// The close code that tells the peer (RFC 6455 section 7.4.1).
    pub fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Utf8 => 1007,
            Self::TooBig => 1009,
            Self::Memory => 1013,
        }
    }

    /// The close frame that tells the peer. Reasons are empty, as clients know them from other servers.
    pub fn close_frame(self) -> CloseFrame {
        CloseFrame::new(self.code(), "")
    }
}

/// Messages may hold tokens and passwords: only their sizes are shown.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.data.fmt(f)
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("closed_by_peer", &self.closed_by_peer).finish_non_exhaustive()
    }
}

/// A claim on the process-wide budget, given back when dropped.
#[derive(Debug)]
struct Held {
    budget: Budget,
    bytes: usize,
}

impl Held {
    fn none(budget: Budget) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Raises the claim to what a buffer of `capacity` bytes needs.
    #[must_use]
    fn cover(&mut self, capacity: usize) -> bool {
        let wanted = capacity.saturating_sub(FREE_BYTES);
        let more = wanted.saturating_sub(self.bytes);
        if more > 0 && !self.budget.take_spare(more) {
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give(self.bytes);
        }
    }
}

/// What a message may take without asking the budget.
const FREE_BYTES: usize = 64 * 1024;
