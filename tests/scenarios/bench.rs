//! The core alone with TLS, without a driver: a gateway and its connections at one instant.

use clawgate_proto::host::perform;
use clawgate_proto::id::ConnId;
use clawgate_proto::input::End;
use clawgate_proto::limits::Limits;
use clawgate_proto::seed::Seed;
use clawgate_proto::{Connection, Gateway, Input, Mono, Next, Now, Output, Peer, Wall};
use clawgate_support::{MemoryHost, sealed, stage};
use std::collections::BTreeMap;

/// The instant.
pub(crate) const NOW: Now = Now { mono: Mono(1_000_000), wall: Wall(1_795_336_353_595) };

/// A gateway of token mode, and its connections.
pub(crate) struct Bench {
    pub(crate) gateway: Gateway,
    host: MemoryHost,
    lines: BTreeMap<ConnId, Line>,
}

struct Line {
    connection: Connection,
    /// Why it ended, once it has said so.
    ended: Option<End>,
}

impl Bench {
    pub(crate) fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let mut config = stage::config();
        config.tls = Some(sealed::acceptor());
        change(&mut config.limits);
        let gateway = Gateway::new(config, Seed::new([9; 32]), NOW);
        let mut bench = Self { gateway, host: MemoryHost::new(), lines: BTreeMap::new() };
        bench.handle(Input::Tick);
        bench
    }

    /// Another connection.
    pub(crate) fn open(&mut self) -> ConnId {
        let port = 50_000 + u16::try_from(self.lines.len()).unwrap();
        let peer = Peer { remote: ([127, 0, 0, 1], port).into(), local: ([127, 0, 0, 1], 18_789).into() };
        let mut out = Vec::new();
        let connection = self.gateway.open(NOW, peer, &mut out).unwrap();
        let id = connection.id();
        self.lines.insert(id, Line { connection, ended: None });
        self.carry_out(out);
        self.pump(id);
        id
    }

    /// The connection itself.
    pub(crate) fn line(&mut self, id: ConnId) -> &mut Connection {
        &mut self.lines.get_mut(&id).unwrap().connection
    }

    /// Why it ended, once it has.
    pub(crate) fn ended(&self, id: ConnId) -> Option<End> {
        self.lines[&id].ended
    }

    /// Its socket is gone.
    pub(crate) fn close(&mut self, id: ConnId) {
        self.lines.remove(&id);
        self.handle(Input::Closed { conn: id });
    }

    /// Facts in, orders out, until this connection has nothing to say: the bytes that came of it.
    pub(crate) fn pump(&mut self, id: ConnId) -> Vec<u8> {
        let mut wire = Vec::new();
        loop {
            let before = wire.len();
            let line = self.lines.get_mut(&id).unwrap();
            line.connection.take_wire(NOW, &mut wire);
            line.connection.wrote(NOW, wire.len() - before);
            let mut is_over = wire.len() == before;
            while let Next::Event(input) = self.line(id).next_event(NOW) {
                is_over = false;
                if let Input::Ending { why, .. } = &input {
                    self.lines.get_mut(&id).unwrap().ended = Some(*why);
                }
                self.handle(input);
            }
            if is_over {
                return wire;
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let mut out = Vec::new();
        self.gateway.handle(NOW, input, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::To(id, order) => {
                    if let Some(line) = self.lines.get_mut(&id) {
                        line.connection.apply(NOW, order);
                    }
                }
                Output::Host(ticket, request) => {
                    let answer = perform(&self.host, request);
                    self.handle(Input::Answered { ticket, answer });
                }
                Output::Log(record) => clawgate_proto::Host::log(&self.host, &record),
                Output::Accept(_) | Output::Beat | Output::Stopped => {}
            }
        }
    }
}
