//! What waits to be written to one peer, in order, each with the cost the gateway counted for it.
//!
//! Items stay small and shared until they are taken: a broadcast's body is copied once, into the caller's buffer.
//! Control frames go ahead of messages that wait, never into the middle of one, and never ahead of HTTP. Nothing follows a close frame.
//! Empty, the outbox holds no memory.

use super::encode;
use super::ws::{Opcode, Outgoing, close_payload, control_frame, small_text_frame};
use crate::admission::Admission;
use crate::dialect::Dialect;
use crate::frame::{CloseFrame, EventFrame, Payload};
use crate::output::Reply;
use crate::seed::Random;
use bytes::Bytes;
use std::collections::VecDeque;

/// One thing to write.
#[derive(Debug)]
pub(crate) enum Item {
    /// Bytes outside any frame: HTTP.
    Plain { head: Vec<u8>, body: Bytes },
    /// A message, ready made.
    Message { opcode: Opcode, body: Bytes },
    /// An event; its payload is shared.
    Event(EventFrame),
    /// A response, encoded when taken.
    Response { id: Box<str>, reply: Reply, dialect: Dialect },
    /// hello-ok, rendered when taken.
    Admission(Box<Admission>),
    /// The last frame.
    Close(Option<CloseFrame>),
}

/// The queue towards one peer.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    control: Vec<u8>,
    queue: VecDeque<Queued>,
    /// An item taken in part.
    current: Option<Box<Current>>,
    /// Items taken and not yet written: where each ends in the stream, and its cost.
    taken: VecDeque<(u64, usize)>,
    taken_bytes: u64,
    written_bytes: u64,
    /// Bytes waiting that the gateway does not count: what the connection says of its own accord.
    own_bytes: usize,
    is_closed: bool,
    masks: Option<Box<Random>>,
}

#[derive(Debug)]
struct Queued {
    item: Item,
    cost: usize,
    own_bytes: usize,
}

#[derive(Debug)]
struct Current {
    outgoing: Outgoing,
    cost: usize,
    own_bytes: usize,
}

impl Outbox {
    /// An empty one. Frames are masked when there are `masks` to draw from.
    pub(crate) fn new(masks: Option<Random>) -> Self {
        Self { masks: masks.map(Box::new), ..Self::default() }
    }

    /// Queues an item that the gateway counts as `cost` bytes. Dropped when a close is queued already.
    pub(crate) fn push(&mut self, item: Item, cost: usize) {
        self.push_queued(Queued { item, cost, own_bytes: 0 });
    }

    /// Queues a text message that the gateway does not know of.
    pub(crate) fn push_own(&mut self, text: Vec<u8>) {
        let own_bytes = text.len();
        self.push_queued(Queued {
            item: Item::Message { opcode: Opcode::Text, body: text.into() },
            cost: 0,
            own_bytes,
        });
    }

    /// Queues bytes outside any frame that the gateway does not know of.
    pub(crate) fn push_own_plain(&mut self, head: Vec<u8>) {
        let own_bytes = head.len();
        self.push_queued(Queued { item: Item::Plain { head, body: Bytes::new() }, cost: 0, own_bytes });
    }

    /// Queues a control frame ahead of all messages. Where it will end in the stream.
    pub(crate) fn control(&mut self, opcode: Opcode, payload: &[u8]) -> u64 {
        if !self.is_closed {
            let mask = self.mask();
            let before = self.control.len();
            control_frame(opcode, payload, mask, &mut self.control);
            self.own_bytes += self.control.len() - before;
        }
        let current = self.current.as_ref().map_or(0, |current| current.outgoing.left());
        let plain: usize = self.plain_ahead().sum();
        self.taken_bytes + (current + plain + self.control.len()) as u64
    }

    /// Appends about 64 KiB at most.
    pub(crate) fn take(&mut self, wire: &mut Vec<u8>) {
        let start = wire.len();
        let mut room = CHUNK_BYTES;
        while room > 0 {
            let before = wire.len();
            if room >= SMALL_ROOM && self.take_small(wire) {
                room -= wire.len() - before;
                continue;
            }
            let Some(mut current) = self.next() else { break };
            let is_done = current.outgoing.take(wire, room);
            let more = wire.len() - before;
            room -= more;
            self.taken_bytes += more as u64;
            if !is_done {
                self.current = Some(Box::new(current));
                break;
            }
            self.own_bytes -= current.own_bytes;
            if current.cost > 0 {
                self.taken.push_back((self.taken_bytes, current.cost));
            }
        }
        debug_assert!(wire.len() - start <= CHUNK_BYTES);
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    /// Appends the next item without a detour, if it is a small message that needs no mask: most are.
    fn take_small(&mut self, wire: &mut Vec<u8>) -> bool {
        if self.current.is_some() || !self.control.is_empty() || self.masks.is_some() {
            return false;
        }
        let before = wire.len();
        match self.queue.front().map(|queued| &queued.item) {
            Some(Item::Event(event)) if event.payload.len() <= SMALL_BYTES_MAX => {
                small_text_frame(wire, |wire| encode::write_event(wire, event));
            }
            Some(Item::Response { id, reply: Reply::Ok(Payload::Json(json)), .. })
                if id.len() + json.len() <= SMALL_BYTES_MAX =>
            {
                small_text_frame(wire, |wire| encode::write_response(wire, id, json));
            }
            Some(
                Item::Plain { .. }
                | Item::Message { .. }
                | Item::Event(_)
                | Item::Response { .. }
                | Item::Admission(_)
                | Item::Close(_),
            )
            | None => return false,
        }
        let Some(Queued { cost, own_bytes, .. }) = self.queue.pop_front() else { return false };
        self.taken_bytes += (wire.len() - before) as u64;
        self.own_bytes -= own_bytes;
        if cost > 0 {
            self.taken.push_back((self.taken_bytes, cost));
        }
        true
    }

    /// Notes that so many of the taken bytes were written, and gives the cost of the items that are written whole.
    pub(crate) fn wrote(&mut self, bytes: usize) -> usize {
        self.written_bytes += bytes as u64;
        let mut drained = 0;
        while let Some((end, cost)) = self.taken.front().copied() {
            if end > self.written_bytes {
                return drained;
            }
            self.taken.pop_front();
            drained += cost;
        }
        self.taken = VecDeque::new();
        drained
    }

    /// Whether there is something to take.
    pub(crate) fn wants_write(&self) -> bool {
        !self.control.is_empty() || self.current.is_some() || !self.queue.is_empty()
    }

    /// Whether the stream is written up to this point.
    pub(crate) fn is_written_to(&self, end: u64) -> bool {
        self.written_bytes >= end
    }

    /// Whether all that was ever queued is written.
    pub(crate) fn is_written(&self) -> bool {
        !self.wants_write() && self.written_bytes >= self.taken_bytes
    }

    /// Bytes waiting that the connection said of its own accord.
    pub(crate) fn own_bytes(&self) -> usize {
        self.own_bytes
    }

    /// Drops everything that waits; what was taken is gone.
    pub(crate) fn clear(&mut self) {
        *self = Self { taken_bytes: self.taken_bytes, written_bytes: self.taken_bytes, ..Self::default() };
        self.is_closed = true;
    }

    fn push_queued(&mut self, queued: Queued) {
        if self.is_closed {
            return;
        }
        self.is_closed = matches!(queued.item, Item::Close(_));
        self.own_bytes += queued.own_bytes;
        self.queue.push_back(queued);
    }

    /// Sizes of what no frame may overtake: HTTP comes before any frame.
    fn plain_ahead(&self) -> impl Iterator<Item = usize> {
        self.queue.iter().map_while(|queued| match &queued.item {
            Item::Plain { head, body } => Some(head.len() + body.len()),
            Item::Message { .. }
            | Item::Event(_)
            | Item::Response { .. }
            | Item::Admission(_)
            | Item::Close(_) => None,
        })
    }

    /// What to take next: the rest of the current item, control frames, then the queue.
    fn next(&mut self) -> Option<Current> {
        if let Some(current) = self.current.take() {
            return Some(*current);
        }
        if !self.control.is_empty() && self.plain_ahead().next().is_none() {
            let bytes = core::mem::take(&mut self.control);
            let own_bytes = bytes.len();
            let outgoing = Outgoing::plain(bytes, Bytes::new());
            return Some(Current { outgoing, cost: 0, own_bytes });
        }
        let Queued { item, cost, own_bytes } = self.queue.pop_front()?;
        Some(Current { outgoing: self.outgoing(item), cost, own_bytes })
    }

    fn outgoing(&mut self, item: Item) -> Outgoing {
        let (opcode, (head, body, tail)) = match item {
            Item::Plain { head, body } => return Outgoing::plain(head, body),
            Item::Message { opcode, body } => (opcode, (Vec::new(), body, Vec::new())),
            Item::Event(event) => (Opcode::Text, encode::event(event)),
            Item::Response { id, reply, dialect } => (Opcode::Text, encode::response(&id, reply, dialect)),
            Item::Admission(admission) => (Opcode::Text, encode::admission(&admission)),
            Item::Close(close) => (Opcode::Close, (close_payload(close.as_ref()), Bytes::new(), Vec::new())),
        };
        Outgoing::frame(opcode, head, body, tail, self.mask())
    }

    fn mask(&mut self) -> Option<[u8; 4]> {
        self.masks.as_mut().map(|masks| masks.bytes())
    }
}

/// What one call of [`Outbox::take`] appends at most.
const CHUNK_BYTES: usize = 64 * 1024;
/// A message no longer than this is written in one piece.
const SMALL_BYTES_MAX: usize = 4 * 1024;
/// What it may take at most: every character of an id may need six in JSON.
const SMALL_ROOM: usize = 6 * SMALL_BYTES_MAX + 1024;

#[cfg(test)]
impl Outbox {
    /// Heap memory held.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.control.capacity()
            + self.queue.capacity()
            + self.taken.capacity()
            + usize::from(self.current.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::conn::ws::{Received, Role, WebSocket};
    use crate::frame::StateVersion;
    use crate::seed::Seed;

    /// What a client finds in the frames: it checks them as a peer would.
    fn texts(mut wire: &[u8]) -> Vec<String> {
        let mut reader = WebSocket::new(Role::Client(Seed::new([1; 32])), 1 << 20, Budget::new(1 << 20));
        let mut texts = Vec::new();
        while !wire.is_empty() {
            let (taken, received) = reader.receive(wire);
            wire = &wire[taken..];
            match received {
                Some(Received::Message(message)) => texts.push(message.text().unwrap_or_default().to_owned()),
                Some(other @ (Received::Closed(_) | Received::Fault(_))) => panic!("{other:?}"),
                None => {}
            }
        }
        texts
    }

    #[test]
    fn a_message_is_the_same_whether_it_is_small_or_not() {
        let id: Box<str> = "a\"b\u{1}".into();
        let version = StateVersion { presence: 3, health: 4 };
        for len in
            (0..200).chain([SMALL_BYTES_MAX - 10, SMALL_BYTES_MAX, SMALL_BYTES_MAX + 1, 3 * CHUNK_BYTES])
        {
            let payload = Bytes::from(format!("\"{}\"", "x".repeat(len)));
            let reply = Reply::Ok(Payload::Json(payload.clone()));
            let response = Item::Response { id: id.clone(), reply, dialect: Dialect::V4 };
            let event = EventFrame { name: "e", payload, seq: Some(7), state_version: Some(version) };
            let whole = |(head, body, tail): encode::Parts| {
                String::from_utf8([&head[..], &body, &tail].concat()).unwrap_or_default()
            };
            let expected = [
                whole(encode::response(&id, Reply::Ok(Payload::Json(event.payload.clone())), Dialect::V4)),
                whole(encode::event(event.clone())),
            ];
            let mut outbox = Outbox::default();
            outbox.push(response, 10);
            outbox.push(Item::Event(event), 20);
            let (mut wire, mut drained) = (Vec::new(), 0);
            while outbox.wants_write() {
                let before = wire.len();
                outbox.take(&mut wire);
                drained += outbox.wrote(wire.len() - before);
            }
            assert_eq!(texts(&wire), expected);
            assert_eq!((drained, outbox.heap_bytes()), (30, 0));
        }
    }
}
