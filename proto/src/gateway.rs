//! Everything two connections could disagree about: who is signed in, what each may call, who receives what.
//! Never sees raw bytes; short decisions only.

#[allow(dead_code, reason = "wired by the dispatcher, which is written beside it")]
pub(crate) mod devices;

use crate::config::Config;
use crate::conn::Connection;
use crate::id::ConnId;
use crate::input::Input;
use crate::methods::Params;
use crate::output::Output;
use crate::seed::Seed;
use crate::time::{Mono, Now};
use core::net::SocketAddr;
use std::sync::Arc;

/// The shared state machine of the process.
#[derive(Debug)]
pub struct Gateway {
    config: Arc<Config>,
}

/// A request that passed role and scope checks.
#[derive(Debug)]
pub struct Call {
    /// When.
    pub now: Now,
    /// Who.
    pub conn: ConnId,
    /// The request's id.
    pub id: Box<str>,
    /// Parsed params.
    pub params: Params,
}

/// The two ends of an accepted socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's address.
    pub remote: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
}

/// The accept limit is reached: drop the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl Gateway {
    /// An empty gateway. It asks the host for its stores at the first [`Input::Tick`].
    pub fn new(config: Config, seed: Seed, now: Now) -> Self {
        let _ = (seed, now);
        Self { config: Arc::new(config) }
    }

    /// A socket was accepted. The driver owns the connection from here on.
    ///
    /// # Errors
    /// [`Refused`] when there are too many sockets.
    pub fn open(&mut self, now: Now, peer: Peer, out: &mut Vec<Output>) -> Result<Connection, Refused> {
        let _ = (now, peer, out);
        todo!()
    }

    /// Applies one fact and appends what should be done about it, in order.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        let _ = (now, input, out);
        todo!()
    }

    /// The earliest moment at which [`Input::Tick`] would change anything.
    pub fn next_deadline(&self) -> Option<Mono> {
        todo!()
    }
}
