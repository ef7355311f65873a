//! One socket's bytes: HTTP heads and bodies, the WebSocket upgrade, frames, JSON, limits, keepalive, closes.
//! Knows nothing of any other connection and runs outside the gateway's lock.

#[allow(dead_code, reason = "until every phase of the connection is written")]
pub(crate) mod body;
#[allow(dead_code, reason = "until every phase of the connection is written")]
pub(crate) mod buffer;
#[allow(dead_code, unused_imports, reason = "until every phase of the connection is written")]
pub(crate) mod http;
mod outbox;
#[allow(dead_code, reason = "until every phase of the connection is written")]
pub(crate) mod upgrade;
pub mod ws;

use crate::budget::Budget;
use crate::config::Config;
use crate::id::ConnId;
use crate::input::Input;
use crate::output::Order;
use crate::seed::Seed;
use crate::time::{Mono, Now};
use std::sync::Arc;

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

/// The state machine of one socket.
#[derive(Debug)]
pub struct Connection {
    id: ConnId,
}

impl Connection {
    /// A fresh socket. `seed` makes its nonce.
    pub fn new(id: ConnId, seed: Seed, config: Arc<Config>, budget: Budget, now: Now) -> Self {
        let _ = (seed, config, budget, now);
        Self { id }
    }

    /// Which socket this is.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Takes as many bytes as limits allow and says how many; the caller keeps the rest and stops reading
    /// until [`Connection::wants_read`] is true again.
    pub fn receive(&mut self, now: Now, bytes: &[u8]) -> usize {
        let _ = (now, bytes);
        todo!()
    }

    /// The peer will send no more (end of stream), or reading failed.
    pub fn receive_end(&mut self, now: Now) {
        let _ = now;
        todo!()
    }

    /// The next fact. Call until it gives [`Next::NeedData`] or [`Next::Paused`].
    pub fn next_event(&mut self, now: Now) -> Next {
        let _ = now;
        todo!()
    }

    /// Carries out an order of the gateway.
    pub fn apply(&mut self, now: Now, order: Order) {
        let _ = (now, order);
        todo!()
    }

    /// A deadline passed. Harmless when none did.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
        todo!()
    }

    /// Appends pending wire bytes, about 64 KiB at most; call again once they are written.
    pub fn take_wire(&mut self, now: Now, wire: &mut Vec<u8>) {
        let _ = (now, wire);
        todo!()
    }

    /// The driver wrote this many of the bytes it took.
    pub fn wrote(&mut self, now: Now, bytes: usize) {
        let _ = (now, bytes);
        todo!()
    }

    /// Whether there are wire bytes to take.
    pub fn wants_write(&self) -> bool {
        todo!()
    }

    /// Whether the driver should read from the socket.
    pub fn wants_read(&self) -> bool {
        todo!()
    }

    /// Everything is said and taken: shut the socket and report [`Input::Closed`].
    pub fn is_finished(&self) -> bool {
        todo!()
    }

    /// When [`Connection::handle_timeout`] would change anything.
    pub fn next_deadline(&self) -> Option<Mono> {
        todo!()
    }
}
