//! One socket's bytes, below which there may be TLS (`secured.rs`): HTTP heads and bodies, the WebSocket upgrade, frames, JSON, limits, keepalive, closes.
//! Knows nothing of any other connection and runs outside the gateway's lock. All transitions are here, those of HTTP in `serve.rs`:
//!
//! ```text
//! Http (peer's turn <-> gateway's turn) --Order::Upgrade--> Open: Challenged --connect--> Connecting
//!   |                                                         |        |                     | Order::Admit
//!   |                                                         |        |                  Admitted
//!   +---- fault, timeout, last answer ---> Closing <----------+--------+---------------------+
//!                                             |                          (keepalive, abort: straight to Closed)
//!                                             +---> Closed
//! ```
//!
//! Invariants:
//! - At most one fact waits. Bytes are taken only while it is fetched, so what a peer can make us hold is one
//!   message, a head, and what waits behind `connect`.
//! - While [`Clear::wants_read`] is true, [`Clear::receive`] takes at least one byte.
//! - What comes out depends on the bytes and orders alone, not on how the bytes were cut.
//! - [`Input::Ending`] is told once; after it only [`Input::Drained`] follows.

pub(crate) mod body;
pub(crate) mod buffer;
mod encode;
mod handshake;
pub(crate) mod http;
mod keepalive;
mod outbox;
mod phase;
mod requests;
#[cfg(feature = "tls")]
mod secured;
mod serve;
#[cfg(test)]
mod tests;
pub(crate) mod upgrade;
pub mod ws;

use crate::admission::Admission;
use crate::budget::Budget;
use crate::config::Config;
use crate::frame::CloseFrame;
use crate::id::ConnId;
use crate::input::{End, Input};
use crate::output::{Order, Reply};
use crate::seed::Seed;
use crate::time::{Mono, Now};
use bytes::Bytes;
use core::fmt;
use handshake::First;
use keepalive::Due;
use outbox::{Item, Outbox};
use phase::{After, Closing, Http, Phase, Stage, Turn};
use requests::Judged;
use std::sync::Arc;
use ws::{Fault, Message, Opcode, Received};

#[cfg(not(feature = "tls"))]
pub use self::Clear as Connection;
#[cfg(feature = "tls")]
pub use secured::Connection;

/// What a connection has to say.
#[derive(Debug)]
pub enum Next {
    /// A fact for the gateway.
    Event(Input),
    /// Nothing until more bytes, an order or a deadline come.
    NeedData,
    /// Nothing until the gateway answers: do not read.
    Paused,
}

/// The state machine of one socket, as far as it is in the clear.
pub struct Clear {
    id: ConnId,
    config: Arc<Config>,
    budget: Budget,
    phase: Phase,
    outbox: Outbox,
    /// Bytes that came with the upgrade request and belong to the WebSocket.
    residue: Vec<u8>,
    fact: Option<Input>,
    ending: Ending,
    /// Cost of orders that are carried out, not yet told to the gateway.
    drained: usize,
    report_drained: bool,
    /// Whether the next report is due as soon as everything is written.
    confirms: bool,
    may_read: bool,
    at_end: bool,
    /// Everything was said and written when it ended.
    ended_well: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    Begun(End),
    Told,
}

impl Clear {
    /// A fresh socket. `seed` makes its nonce.
    pub fn new(id: ConnId, seed: Seed, config: Arc<Config>, budget: Budget, now: Now) -> Self {
        let phase = Phase::Http(Box::new(Http::new(&config.limits, seed, now.mono)));
        Self {
            id,
            config,
            budget,
            phase,
            outbox: Outbox::default(),
            residue: Vec::new(),
            fact: None,
            ending: Ending::No,
            drained: 0,
            report_drained: false,
            confirms: false,
            may_read: true,
            at_end: false,
            ended_well: false,
        }
    }

    /// Which socket this is.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Takes bytes up to the next fact, or as many as limits allow, and says how many. Fetch the facts, then offer
    /// the rest as soon as [`Clear::wants_read`] is true; read nothing more until then.
    pub fn receive(&mut self, now: Now, bytes: &[u8]) -> usize {
        self.process_residue(now);
        if !self.wants_read() || bytes.is_empty() {
            return 0;
        }
        if let Phase::Open(open) = &mut self.phase {
            open.keepalive.heard(now.mono);
        }
        let taken = self.feed(now, bytes);
        self.note_pause(now);
        taken
    }

    /// The peer will send no more (end of stream), or reading failed.
    pub fn receive_end(&mut self, now: Now) {
        self.at_end = true;
        match &mut self.phase {
            // It may have ended its side only, and still wait for an answer.
            Phase::Http(http) if !matches!(http.turn, Turn::Peer) => {}
            Phase::Http(_) => self.advance_http(now),
            Phase::Open(_) => self.cut(End::PeerGone),
            Phase::Closing(closing) => {
                closing.after = After::Nothing;
                self.settle(now);
            }
            Phase::Closed => {}
        }
    }

    /// The next fact. Call until it gives [`Next::NeedData`] or [`Next::Paused`].
    pub fn next_event(&mut self, now: Now) -> Next {
        if self.ending == Ending::Told && self.drained == 0 {
            return Next::NeedData;
        }
        self.process_residue(now);
        self.note_pause(now);
        let has_more = self.fact.is_some() || matches!(self.ending, Ending::Begun(_));
        let is_awaited = (!self.may_read || self.confirms) && self.outbox.is_written();
        let is_due = has_more
            || is_awaited
            || self.report_drained
            || self.drained >= self.config.limits.drained_report_bytes;
        if self.drained > 0 && is_due {
            self.report_drained = false;
            self.confirms &= !self.outbox.is_written();
            return Next::Event(Input::Drained { conn: self.id, bytes: core::mem::take(&mut self.drained) });
        }
        if let Some(fact) = self.fact.take() {
            return Next::Event(fact);
        }
        if let Ending::Begun(why) = self.ending {
            self.ending = Ending::Told;
            return Next::Event(Input::Ending { conn: self.id, why });
        }
        if self.is_paused() { Next::Paused } else { Next::NeedData }
    }

    /// Carries out an order of the gateway.
    pub fn apply(&mut self, now: Now, order: Order) {
        let cost = order.cost();
        match (order, &mut self.phase) {
            (Order::Abort, _) => self.cut(End::Ordered),
            (Order::Read(may_read), _) => self.may_read = may_read,
            (_, Phase::Closing(_) | Phase::Closed) => self.drained += cost,
            (Order::Upgrade, Phase::Http(_)) => self.upgrade(now, false),
            (Order::Watch, Phase::Http(_)) => self.upgrade(now, true),
            (Order::Http(response), Phase::Http(_)) => self.answer(now, *response, cost),
            (Order::Body(bytes), Phase::Http(_)) => self.body(now, bytes, cost),
            (Order::Reload, Phase::Open(_)) => {
                let body = Bytes::from_static(RELOAD.as_bytes());
                self.outbox.push(Item::Message { opcode: Opcode::Text, body }, cost);
            }
            (Order::Admit(admission), Phase::Open(_)) => self.admit(admission, cost),
            (Order::Respond { id, reply }, Phase::Open(open)) => {
                let dialect = open.answered(matches!(reply, Reply::Accepted(_)));
                self.outbox.push(Item::Response { id, reply, dialect }, cost);
            }
            (Order::Event(event), Phase::Open(_)) => self.outbox.push(Item::Event(event), cost),
            (Order::Close(close), Phase::Open(_)) => {
                self.fact = None;
                self.outbox.push(Item::Close(Some(close)), cost);
                self.close_socket(now, After::PeerClose, End::Ordered);
            }
            (Order::Close(_), Phase::Http(_)) => self.close_http(now, End::Ordered),
            (Order::Upgrade | Order::Watch | Order::Http(_) | Order::Body(_), Phase::Open(_))
            | (Order::Admit(_) | Order::Respond { .. } | Order::Event(_) | Order::Reload, Phase::Http(_)) => {
                self.drained += cost;
            }
        }
        self.process_residue(now);
        self.note_pause(now);
    }

    /// A deadline passed. Harmless when none did.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.next_deadline().is_none_or(|deadline| now.mono < deadline) {
            return;
        }
        match &mut self.phase {
            Phase::Http(_) => self.http_timeout(now),
            Phase::Open(open) => match (&open.stage, open.keepalive.due(now.mono)) {
                (_, Due::Dead) => self.cut(End::KeepaliveTimeout),
                (Stage::Challenged { deadline, .. }, _) if *deadline <= now.mono => {
                    self.refuse(now, CloseFrame::new(1008, "handshake timeout"), End::HandshakeTimeout);
                }
                (_, Due::Ping) => {
                    let end = self.outbox.control(Opcode::Ping, &[]);
                    open.keepalive.pinged(&self.config.limits, now.mono, end);
                    // Once in a while is often enough for what nothing waits for.
                    self.report_drained = true;
                }
                (_, Due::Nothing) => {}
            },
            Phase::Closing(closing) => {
                if closing.why == End::Ordered && closing.reader.is_some() {
                    closing.why = End::CloseTimeout;
                }
                let why = closing.why;
                self.cut(why);
            }
            Phase::Closed => {}
        }
    }

    /// Appends pending wire bytes, about 64 KiB at most; call again once they are written.
    pub fn take_wire(&mut self, now: Now, wire: &mut Vec<u8>) {
        self.outbox.take(wire);
        self.note_pause(now);
    }

    /// The driver wrote this many of the bytes it took.
    pub fn wrote(&mut self, now: Now, bytes: usize) {
        self.drained += self.outbox.wrote(bytes);
        let limits = &self.config.limits;
        match &mut self.phase {
            _ if bytes == 0 => {}
            Phase::Http(http) => http.has_written = true,
            Phase::Open(open) => {
                open.keepalive.wrote(limits, now.mono, |end| self.outbox.is_written_to(end));
                if !self.may_read {
                    open.keepalive.heard(now.mono);
                }
            }
            Phase::Closing(closing) => {
                if !closing.is_written {
                    closing.deadline = now.mono.plus_millis(limits.close_timeout_ms).min(closing.latest);
                }
                self.settle(now);
            }
            Phase::Closed => {}
        }
    }

    /// Whether there are wire bytes to take.
    pub fn wants_write(&self) -> bool {
        self.outbox.wants_write()
    }

    /// Whether the driver should read from the socket.
    pub fn wants_read(&self) -> bool {
        self.residue.is_empty() && self.takes_bytes()
    }

    /// Whether our side has said its last words and they are written: end the writing half of the socket, and go on
    /// reading until [`Clear::is_finished`].
    pub fn wants_shutdown(&self) -> bool {
        match &self.phase {
            Phase::Closing(closing) => closing.is_written && closing.after == After::PeerEnd,
            Phase::Http(_) | Phase::Open(_) | Phase::Closed => false,
        }
    }

    /// Everything is said and taken: shut the socket and report [`Input::Closed`].
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Closed) && self.ending == Ending::Told && self.fact.is_none()
    }

    /// When [`Clear::handle_timeout`] would change anything.
    pub fn next_deadline(&self) -> Option<Mono> {
        match &self.phase {
            Phase::Http(http) => http.deadline,
            Phase::Open(open) => match (&open.stage, open.keepalive.deadline()) {
                // No gateway is waited for here, so it runs even while the keepalive stands still.
                (Stage::Challenged { deadline, .. }, Some(other)) => Some(other.min(*deadline)),
                (Stage::Challenged { deadline, .. }, None) => Some(*deadline),
                (Stage::Connecting { .. } | Stage::Watching | Stage::Admitted { .. }, other) => other,
            },
            Phase::Closing(closing) => Some(closing.deadline),
            Phase::Closed => None,
        }
    }

    // ---- bytes ----

    /// Whether the present phase takes bytes.
    fn takes_bytes(&self) -> bool {
        if self.at_end {
            return false;
        }
        match &self.phase {
            Phase::Http(http) => {
                self.may_read
                    && self.fact.is_none()
                    && matches!(http.turn, Turn::Peer)
                    && self.outbox.is_written()
            }
            Phase::Open(open) => {
                self.may_read
                    && self.fact.is_none()
                    && self.outbox.own_bytes() < OWN_BYTES_MAX
                    && open.room(&self.config.limits) > 0
            }
            Phase::Closing(_) => true,
            Phase::Closed => false,
        }
    }

    /// Whether the gateway's answer is waited for, and reading with it.
    fn is_paused(&self) -> bool {
        match &self.phase {
            Phase::Http(http) => !self.may_read || !matches!(http.turn, Turn::Peer),
            Phase::Open(open) => !self.may_read || open.room(&self.config.limits) == 0,
            Phase::Closing(_) | Phase::Closed => false,
        }
    }

    /// The keepalive stands still while the gateway owes an answer. It runs on while the *peer* owes us its reading:
    /// then progress in writing is its sign of life.
    fn note_pause(&mut self, now: Now) {
        if let Phase::Open(open) = &mut self.phase {
            let paused = open.room(&self.config.limits) == 0;
            open.keepalive.set_paused(paused, now.mono);
        }
    }

    /// Works on what has been received before, as far as orders allow.
    fn process_residue(&mut self, now: Now) {
        if self.fact.is_some() || !self.may_read {
            return;
        }
        match &mut self.phase {
            Phase::Http(http) => {
                // Nobody is known here yet: the next request waits until the answer before it has left, so that
                // a peer that asks and does not read makes us hold one answer, not all of them.
                if matches!(http.turn, Turn::Peer) && self.outbox.is_written() {
                    self.advance_http(now);
                }
            }
            Phase::Open(_) => {
                self.process_waiting(now);
                if !self.residue.is_empty() && self.takes_bytes() {
                    let residue = core::mem::take(&mut self.residue);
                    let taken = self.feed(now, &residue);
                    self.residue = residue[taken..].to_vec();
                }
            }
            Phase::Closing(_) | Phase::Closed => self.residue = Vec::new(),
        }
    }

    fn feed(&mut self, now: Now, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && self.takes_bytes() {
            let rest = &bytes[taken..];
            taken += match &mut self.phase {
                Phase::Http(http) => {
                    let n = http.reader.receive(rest);
                    self.advance_http(now);
                    n
                }
                Phase::Open(open) => {
                    let room = open.room(&self.config.limits);
                    let (n, received) = open.reader.receive(&rest[..rest.len().min(room)], &mut self.outbox);
                    self.received(now, received);
                    n
                }
                Phase::Closing(closing) => {
                    let Some(reader) = &mut closing.reader else { return bytes.len() };
                    let (n, received) = reader.receive(rest, &mut self.outbox);
                    if matches!(received, Some(Received::Closed(_))) {
                        closing.after = After::Nothing;
                        self.settle(now);
                    }
                    n
                }
                Phase::Closed => break,
            };
        }
        taken
    }

    // ---- WebSocket ----

    fn received(&mut self, now: Now, received: Option<Received>) {
        match received {
            None => {}
            Some(Received::Message(message)) => self.message(now, message),
            // Its answer is queued already.
            Some(Received::Closed(_)) => self.close_socket(now, After::Nothing, End::PeerClosed),
            Some(Received::Fault(fault)) => self.fault(now, fault),
        }
    }

    fn message(&mut self, now: Now, message: Message) {
        let Phase::Open(open) = &mut self.phase else { return };
        let Some(text) = message.text() else {
            self.outbox.push(Item::Close(Some(Fault::Utf8.close_frame())), 0);
            return self.fault(now, Fault::Utf8);
        };
        let limits = &self.config.limits;
        match &mut open.stage {
            Stage::Challenged { nonce, .. } => {
                match handshake::judge(text, nonce, now.wall, limits.signature_skew_ms) {
                    First::Connect(request) => {
                        open.stage = Stage::Connecting { waiting: Box::default() };
                        self.fact = Some(Input::Connect { conn: self.id, request });
                    }
                    First::Refused { response, close } => {
                        if let Some(response) = response {
                            self.outbox.push_own(response);
                        }
                        self.refuse(now, close, End::HandshakeFault);
                    }
                }
            }
            Stage::Connecting { waiting } => {
                if waiting.messages.len() >= limits.handshake_frames_max {
                    let close = CloseFrame::new(1008, "too many pending handshake frames");
                    return self.refuse(now, close, End::HandshakeFault);
                }
                waiting.bytes += message.len();
                waiting.messages.push_back(message);
            }
            // It has nothing to say.
            Stage::Watching => {}
            Stage::Admitted { dialect, in_flight, .. } => match requests::judge(text, *dialect) {
                Judged::Ignored => {}
                Judged::Refused(answer) => self.outbox.push_own(answer),
                Judged::Request(request) => {
                    *in_flight += 1;
                    self.fact = Some(Input::Request { conn: self.id, request });
                }
            },
        }
    }

    fn admit(&mut self, admission: Box<Admission>, cost: usize) {
        let Phase::Open(open) = &mut self.phase else { return };
        let Stage::Connecting { waiting } = &mut open.stage else {
            self.drained += cost;
            return;
        };
        let waiting = core::mem::take(waiting);
        let waiting = (!waiting.messages.is_empty()).then_some(waiting);
        open.stage = Stage::Admitted { dialect: admission.dialect, in_flight: 0, waiting };
        open.reader.set_message_bytes_max(self.config.limits.message_bytes_max);
        self.confirms = admission.confirm;
        self.outbox.push(Item::Admission(admission), cost);
    }

    /// Goes through what waited behind `connect`, as far as the number of requests in flight allows.
    fn process_waiting(&mut self, now: Now) {
        while self.fact.is_none() && self.outbox.own_bytes() < OWN_BYTES_MAX {
            let Phase::Open(open) = &mut self.phase else { return };
            let Stage::Admitted { in_flight, waiting, .. } = &mut open.stage else { return };
            if *in_flight >= self.config.limits.requests_in_flight_max {
                return;
            }
            let Some(message) = waiting.as_mut().and_then(|waiting| waiting.messages.pop_front()) else {
                *waiting = None;
                return;
            };
            self.message(now, message);
        }
    }

    fn fault(&mut self, now: Now, fault: Fault) {
        let why = match fault {
            Fault::Memory => End::MemoryBudget,
            Fault::Protocol(_) | Fault::Utf8 | Fault::TooBig => End::WebSocketFault(fault.code()),
        };
        // The peer may be in the middle of a frame that never ends, and may never see reason to answer.
        self.close_socket(now, After::PeerEnd, why);
    }

    /// Closes for a reason of the connection's own.
    fn refuse(&mut self, now: Now, close: CloseFrame, why: End) {
        self.outbox.push(Item::Close(Some(close)), 0);
        self.close_socket(now, After::PeerClose, why);
    }

    /// The close frame is queued: flushes, and waits for what comes `after`.
    fn close_socket(&mut self, now: Now, after: After, why: End) {
        // An order's outcome shows only later: whether the peer answered.
        if why != End::Ordered {
            self.begin_end(why);
        }
        if let Phase::Open(open) = core::mem::replace(&mut self.phase, Phase::Closed) {
            let mut reader = open.reader;
            reader.stop_reading_messages();
            let closing = Closing::new(Some(reader), after, why, &self.config.limits, now.mono);
            self.phase = Phase::Closing(Box::new(closing));
        }
        self.settle(now);
    }

    // ---- TLS below ----

    /// A byte came, if only a part of something.
    #[cfg(feature = "tls")]
    fn heard(&mut self, now: Now) {
        if let Phase::Open(open) = &mut self.phase {
            open.keepalive.heard(now.mono);
        }
    }

    /// TLS failed: what waits cannot be said any more. The alert that says so can, so the peer's end is waited for.
    #[cfg(feature = "tls")]
    fn fail_below(&mut self, now: Now, fault: crate::tls::Fault) {
        if matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            return self.cut(End::TlsFault(fault));
        }
        let why = End::TlsFault(fault);
        self.begin_end(why);
        self.outbox.clear();
        self.residue = Vec::new();
        let closing = Closing::new(None, After::PeerEnd, why, &self.config.limits, now.mono);
        self.phase = Phase::Closing(Box::new(closing));
        self.settle(now);
    }

    /// Ends now, unless it has ended; nothing was said that could be lost.
    #[cfg(feature = "tls")]
    fn abandon(&mut self, why: End) {
        if !matches!(self.phase, Phase::Closed) {
            self.cut(why);
        }
    }

    /// Whether the last words are on their way, or were said.
    #[cfg(feature = "tls")]
    fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing(_) | Phase::Closed)
    }

    /// Whether nothing more will be said, and nothing was left out.
    #[cfg(feature = "tls")]
    fn is_silent(&self) -> bool {
        match &self.phase {
            Phase::Http(_) | Phase::Open(_) => false,
            Phase::Closing(closing) => closing.after != After::PeerClose && !self.outbox.wants_write(),
            Phase::Closed => self.ended_well,
        }
    }

    /// Whether the peer will send no more.
    #[cfg(feature = "tls")]
    fn is_at_end(&self) -> bool {
        self.at_end
    }

    // ---- the end ----

    fn begin_end(&mut self, why: End) {
        if self.ending == Ending::No {
            self.ending = Ending::Begun(why);
        }
    }

    /// Moves on when the last words are written, and ends when nothing is waited for after them.
    fn settle(&mut self, now: Now) {
        let Phase::Closing(closing) = &mut self.phase else { return };
        if !self.outbox.is_written() {
            return;
        }
        if !closing.is_written {
            closing.is_written = true;
            closing.deadline = now.mono.plus_millis(self.config.limits.close_timeout_ms);
        }
        if closing.after == After::Nothing {
            let why = closing.why;
            self.ended_well = true;
            self.cut(why);
        }
    }

    /// Ends now. What is not written is lost.
    fn cut(&mut self, why: End) {
        self.begin_end(why);
        self.outbox.clear();
        self.residue = Vec::new();
        self.phase = Phase::Closed;
        if why == End::Ordered {
            self.fact = None;
        }
    }
}

/// The parts hold what peers sent, tokens among it: only the outline is shown.
impl fmt::Debug for Clear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match &self.phase {
            Phase::Http(_) => "http",
            Phase::Open(open) => match &open.stage {
                Stage::Challenged { .. } => "challenged",
                Stage::Connecting { .. } => "connecting",
                Stage::Watching => "watching",
                Stage::Admitted { .. } => "admitted",
            },
            Phase::Closing(_) => "closing",
            Phase::Closed => "closed",
        };
        f.debug_struct("Clear").field("id", &self.id).field("phase", &phase).finish_non_exhaustive()
    }
}

/// What a page is told when its files have changed.
const RELOAD: &str = "reload";

/// Unread answers that we gave of our own accord (pongs, refused frames) at which a peer is not read any more. The
/// gateway does not count them.
const OWN_BYTES_MAX: usize = 64 * 1024;
