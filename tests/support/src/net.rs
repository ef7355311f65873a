//! What a scenario needs of a network with one gateway on it, so that the same scenario plays in memory and on
//! sockets: [`World`] is one, [`crate::loopback::Loopback`] is the other.

use crate::host::MemoryHost;
use crate::world::World;
use clawgate_proto::Peer;
use clawgate_proto::config::Config;
use clawgate_proto::id::ConnId;
use clawgate_proto::time::{Mono, Now};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A network, the gateway on it, and the time there.
pub trait Net {
    /// The time.
    fn now(&self) -> Now;

    /// Connects a socket from this address; `None` when the gateway does not take it.
    fn connect(&mut self, from: Ipv4Addr) -> Option<Line>;

    /// Sends bytes, sooner or later.
    fn send(&mut self, line: Line, bytes: &[u8]);

    /// Appends what has arrived; says whether more may come.
    fn receive(&mut self, line: Line, bytes: &mut Vec<u8>) -> bool;

    /// Sends bytes, in one piece with the end behind them; still reads.
    fn send_last(&mut self, line: Line, bytes: &[u8]);

    /// Shuts a socket.
    fn shut(&mut self, line: Line);

    /// Lets time pass until something may have arrived, `until` at the latest.
    fn wait(&mut self, until: Mono);

    /// The host below the gateway.
    fn host(&self) -> &Arc<MemoryHost>;

    /// What the gateway was told.
    fn config(&self) -> &Config;

    /// Whether the host keeps everybody waiting.
    fn hold_host(&mut self, is_held: bool);

    /// Tells the gateway that the configuration file may have been changed.
    fn touch_config(&mut self);

    /// Asks the gateway to stop.
    fn stop(&mut self);

    /// Whether it has.
    fn is_stopped(&self) -> bool;
}

/// One socket, as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line(pub(crate) u64);

/// A [`World`] as a network.
#[derive(Debug)]
pub struct Simulated {
    world: World,
    config: Config,
    last_port: u16,
}

impl Simulated {
    /// A gateway with this configuration.
    pub fn new(config: Config, host: Arc<MemoryHost>, seed: [u8; 32]) -> Self {
        Self { world: World::new(config.clone(), host, seed), config, last_port: 40_000 }
    }

    /// The world itself.
    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Net for Simulated {
    fn now(&self) -> Now {
        self.world.now()
    }

    fn connect(&mut self, from: Ipv4Addr) -> Option<Line> {
        self.last_port = self.last_port.checked_add(1).unwrap_or(40_000);
        let remote = SocketAddr::from((from, self.last_port));
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, self.config.port));
        self.world.accept(Peer { remote, local }).map(|conn| Line(conn.0))
    }

    fn send(&mut self, line: Line, bytes: &[u8]) {
        self.world.send(ConnId(line.0), bytes);
    }

    fn receive(&mut self, line: Line, bytes: &mut Vec<u8>) -> bool {
        self.world.run();
        bytes.append(&mut self.world.receive(ConnId(line.0)));
        self.world.is_open(ConnId(line.0))
    }

    fn send_last(&mut self, line: Line, bytes: &[u8]) {
        self.send(line, bytes);
        self.world.end(ConnId(line.0));
    }

    fn shut(&mut self, line: Line) {
        self.world.reset(ConnId(line.0));
        self.world.run();
    }

    fn wait(&mut self, until: Mono) {
        let at = self.world.next_deadline().map_or(until, |at| at.min(until));
        // A deadline of this very moment must not stop the clock.
        self.world.advance(at.max(Mono(self.world.now().mono.0 + 1)));
    }

    fn host(&self) -> &Arc<MemoryHost> {
        self.world.host()
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn hold_host(&mut self, is_held: bool) {
        self.world.hold_jobs(is_held);
    }

    fn touch_config(&mut self) {
        self.world.touch_config();
    }

    fn stop(&mut self) {
        self.world.stop();
        self.world.run();
    }

    fn is_stopped(&self) -> bool {
        self.world.is_stopped()
    }
}
