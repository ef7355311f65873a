//! A connection with TLS below it, where the gateway has a certificate: the driver moves bytes as it does without.
//!
//! Everything that is said in the clear is [`Clear`]'s; here are the order of the two, and the ends:
//! - bytes of the peer feed its liveness as they arrive, also where no record is complete yet;
//! - the handshake is part of the head: its time, its place in the limits; what is not known by then is cut;
//! - nothing falls back: who does not speak TLS is told so in the clear, and nothing else is ever said in the clear;
//! - a clean end says so (RFC 8446 section 6.1); one that loses bytes does not;
//! - what the peer said before its end is listened to before the end, also where TLS still holds it.

use super::{Clear, Next};
use crate::budget::Budget;
use crate::config::Config;
use crate::id::ConnId;
use crate::input::End;
use crate::limits::TLS_CONNECTION_BYTES;
use crate::output::Order;
use crate::seed::Seed;
use crate::time::{Mono, Now};
use crate::tls::{Fault, Layer};
use core::fmt;
use std::sync::Arc;

/// The state machine of one socket.
pub struct Connection {
    clear: Clear,
    tls: Option<Box<Layer>>,
    /// What TLS holds.
    claim: Claim,
    /// No more wire bytes come.
    at_end: bool,
}

impl Connection {
    /// A fresh socket. `seed` makes its nonce.
    pub fn new(id: ConnId, seed: Seed, config: Arc<Config>, budget: Budget, now: Now) -> Self {
        let acceptor = config.tls.clone();
        let mut claim = Claim { budget: budget.clone(), bytes: 0 };
        let mut clear = Clear::new(id, seed, config, budget, now);
        let Some(acceptor) = acceptor else { return Self { clear, tls: None, claim, at_end: false } };
        let tls = claim.begin().then(|| acceptor.layer()).flatten();
        if tls.is_none() {
            let why = if claim.bytes > 0 { End::TlsFault(Fault::Protocol) } else { End::MemoryBudget };
            clear.abandon(why);
        }
        Self { clear, tls: tls.map(Box::new), claim, at_end: false }
    }

    /// Which socket this is.
    pub fn id(&self) -> ConnId {
        self.clear.id()
    }

    /// Takes bytes up to the next fact, or as many as limits allow, and says how many. Fetch the facts, then offer
    /// the rest as soon as [`Connection::wants_read`] is true; read nothing more until then.
    pub fn receive(&mut self, now: Now, bytes: &[u8]) -> usize {
        let Some(tls) = &mut self.tls else { return self.clear.receive(now, bytes) };
        // A record begins with a number below 32, a request with its method.
        if !tls.has_heard() && bytes.first().is_some_and(u8::is_ascii_alphabetic) {
            self.tls = None;
            self.claim.set(0);
            self.clear.ask_for_tls(now);
            return self.clear.receive(now, bytes);
        }
        let taken = self.receive_sealed(now, bytes);
        self.count();
        taken
    }

    fn receive_sealed(&mut self, now: Now, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && self.wants_read() {
            let Some(tls) = &mut self.tls else { break };
            self.clear.heard(now);
            let fault = match tls.receive(&bytes[taken..]) {
                Ok(more @ 1..) => {
                    taken += more;
                    self.pass_on(now);
                    continue;
                }
                Ok(0) => Fault::Protocol,
                Err(fault) => fault,
            };
            self.clear.fail_below(now, fault);
            return bytes.len();
        }
        taken
    }

    /// The peer will send no more (end of stream), or reading failed. That it did not say so before, as TLS would have
    /// it, changes nothing: what is cut off is not complete, and what is not complete is not done.
    pub fn receive_end(&mut self, now: Now) {
        if self.tls.as_ref().is_some_and(|tls| tls.is_handshaking() && tls.fault().is_none()) {
            return self.clear.abandon(End::PeerGone);
        }
        self.at_end = true;
        if self.tls.is_none() {
            return self.clear.receive_end(now);
        }
        self.pass_on(now);
    }

    /// The next fact. Call until it gives [`Next::NeedData`] or [`Next::Paused`].
    pub fn next_event(&mut self, now: Now) -> Next {
        self.pass_on(now);
        self.count();
        self.clear.next_event(now)
    }

    /// Carries out an order of the gateway.
    pub fn apply(&mut self, now: Now, order: Order) {
        self.clear.apply(now, order);
        // Nothing can be said to somebody who is not known, a farewell neither.
        if self.clear.is_closing() && self.is_handshaking() {
            self.clear.abandon(End::Ordered);
        }
    }

    /// A deadline passed. Harmless when none did.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.is_handshaking() && self.next_deadline().is_some_and(|deadline| deadline <= now.mono) {
            return self.clear.abandon(End::HeadTimeout);
        }
        self.clear.handle_timeout(now);
    }

    /// Appends pending wire bytes, about 64 KiB at most; call again once they are written.
    pub fn take_wire(&mut self, now: Now, wire: &mut Vec<u8>) {
        let Some(tls) = &mut self.tls else { return self.clear.take_wire(now, wire) };
        tls.take_own(wire);
        if tls.fault().is_some() || tls.is_handshaking() {
            return;
        }
        let mut bytes = Vec::new();
        self.clear.take_wire(now, &mut bytes);
        tls.seal(&bytes, wire);
        if self.clear.is_silent() {
            tls.close(wire);
        }
    }

    /// The driver wrote this many of the bytes it took.
    pub fn wrote(&mut self, now: Now, bytes: usize) {
        let clear = self.tls.as_mut().map_or(bytes, |tls| tls.wrote(bytes));
        self.clear.wrote(now, clear);
    }

    /// Whether there are wire bytes to take.
    pub fn wants_write(&self) -> bool {
        let Some(tls) = &self.tls else { return self.clear.wants_write() };
        if tls.fault().is_some() || tls.is_handshaking() {
            return tls.wants_write();
        }
        let farewell = self.clear.is_silent() && !tls.is_closed();
        tls.wants_write() || self.clear.wants_write() || farewell
    }

    /// Whether the driver should read from the socket.
    pub fn wants_read(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.unread() == 0) && self.clear.wants_read()
    }

    /// Whether our side has said its last words and they are written: end the writing half of the socket, and go on
    /// reading until [`Connection::is_finished`].
    pub fn wants_shutdown(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.is_closed() && tls.is_written()) && self.clear.wants_shutdown()
    }

    /// Everything is said and taken: shut the socket and report [`crate::Input::Closed`].
    pub fn is_finished(&self) -> bool {
        self.clear.is_finished()
    }

    /// When [`Connection::handle_timeout`] would change anything.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.clear.next_deadline()
    }

    fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Counts what TLS holds now.
    fn count(&mut self) {
        if let Some(tls) = &self.tls {
            self.claim.set(TLS_CONNECTION_BYTES + tls.held_bytes());
        }
    }

    /// Hands on what the peer said, as far as it is listened to.
    fn pass_on(&mut self, now: Now) {
        let Some(tls) = &mut self.tls else { return };
        while tls.unread() > 0 && self.clear.wants_read() {
            if tls.read(|bytes| self.clear.receive(now, bytes)) == 0 {
                break;
            }
        }
        if tls.unread() == 0 && (self.at_end || tls.peer_has_closed()) && !self.clear.is_at_end() {
            self.clear.receive_end(now);
        }
    }
}

/// What TLS holds of the process-wide budget, given back when dropped.
struct Claim {
    budget: Budget,
    bytes: usize,
}

impl Claim {
    /// For a connection that begins, if there is room for it.
    fn begin(&mut self) -> bool {
        let fits = self.budget.take(TLS_CONNECTION_BYTES);
        self.bytes = if fits { TLS_CONNECTION_BYTES } else { 0 };
        fits
    }

    /// So much it is by now. It is bounded by rustls, and who is here already is not sent away for it.
    fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.add(bytes - self.bytes);
        } else if bytes < self.bytes {
            self.budget.give(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The parts hold what peers sent, tokens among it: only the outline is shown.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("clear", &self.clear)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}
