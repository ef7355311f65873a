//! One gateway in memory: the real [`Gateway`], real [`Connection`]s, virtual time, and a [`MemoryHost`].
//!
//! It stands where a driver stands and does what both drivers do, one step at a time and in a fixed order: equal
//! seeds and calls give equal bytes. Time stands still until [`World::advance`]. How bytes are cut on their way,
//! when the host answers and when sockets break is the caller's choice, so that tests and the simulator can be
//! unkind.

use crate::host::MemoryHost;
use clawgate_proto::config::Config;
use clawgate_proto::host::{self, HostAnswer, HostRequest};
use clawgate_proto::id::{ConnId, Ticket};
use clawgate_proto::seed::{Random, Seed};
use clawgate_proto::time::{Mono, Now, Wall};
use clawgate_proto::{Connection, Gateway, Host as _, Input, Next, Order, Output, Peer};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// A gateway with its sockets.
#[derive(Debug)]
pub struct World {
    now: Now,
    gateway: Gateway,
    host: Arc<MemoryHost>,
    sockets: BTreeMap<ConnId, Socket>,
    jobs: VecDeque<(Ticket, HostRequest)>,
    holds_jobs: bool,
    cuts: Cuts,
    outputs: Vec<Output>,
    /// Sockets that were given orders since somebody asked.
    woken: BTreeSet<ConnId>,
    watch: Option<Rc<RefCell<dyn Watch>>>,
    accepting: bool,
    stopped: bool,
}

/// Sees everything that passes between the gateway and the rest, in order.
pub trait Watch: fmt::Debug {
    /// A socket was accepted; what the gateway orders because of it follows.
    fn opened(&mut self, now: Now, conn: ConnId, peer: Peer);
    /// The gateway is about to be told this; what it orders because of it follows.
    fn input(&mut self, now: Now, input: &Input);
    /// The gateway ordered this.
    fn output(&mut self, now: Now, output: &Output);
    /// That was all it ordered.
    fn done(&mut self, now: Now, gateway: &Gateway);
}

/// How bytes are cut on their way, in both directions.
#[derive(Debug)]
pub enum Cuts {
    /// Not at all.
    Whole,
    /// Into pieces of this many bytes.
    Every(usize),
    /// Into pieces of 1 to `bytes_max` bytes.
    Random {
        /// Where the sizes come from.
        random: Box<Random>,
        /// The largest piece.
        bytes_max: usize,
    },
}

/// One accepted socket.
#[derive(Debug)]
struct Socket {
    /// `None` once the gateway has shut it; the peer may still read what was sent.
    connection: Option<Connection>,
    mailbox: Vec<Order>,
    /// On its way to the gateway.
    inbound: VecDeque<u8>,
    /// Taken from the connection, but not by the network yet.
    wire: VecDeque<u8>,
    /// On its way to the peer.
    outbound: Vec<u8>,
    /// Bytes the network holds for a peer that does not read.
    window: usize,
    /// The peer sends no more.
    ended: bool,
    /// The connection knows it.
    end_told: bool,
    /// The peer is gone: nothing can be written.
    broken: bool,
}

impl World {
    /// A gateway that has just started, at the same time of the same day in every world.
    pub fn new(config: Config, host: Arc<MemoryHost>, seed: [u8; 32]) -> Self {
        let mut world = Self::unstarted(config, host, seed, START);
        world.tell(Input::Tick);
        world.run();
        world
    }

    /// A gateway that nobody has told the time yet, at this time of day: the caller does everything, [`World::tick`]
    /// first.
    pub fn unstarted(config: Config, host: Arc<MemoryHost>, seed: [u8; 32], wall: Wall) -> Self {
        let now = Now { mono: Mono(0), wall };
        Self {
            now,
            gateway: Gateway::new(config, Seed::new(seed), now),
            host,
            sockets: BTreeMap::new(),
            jobs: VecDeque::new(),
            holds_jobs: false,
            cuts: Cuts::Whole,
            outputs: Vec::new(),
            woken: BTreeSet::new(),
            watch: None,
            accepting: true,
            stopped: false,
        }
    }

    /// Shows everything that passes from now on to `watch`.
    pub fn set_watch(&mut self, watch: Rc<RefCell<dyn Watch>>) {
        self.watch = Some(watch);
    }

    /// The time.
    pub fn now(&self) -> Now {
        self.now
    }

    /// The host.
    pub fn host(&self) -> &Arc<MemoryHost> {
        &self.host
    }

    /// Cuts bytes like this from now on.
    pub fn set_cuts(&mut self, cuts: Cuts) {
        self.cuts = cuts;
    }

    /// A peer connects. `None` when the gateway takes no more sockets.
    pub fn accept(&mut self, peer: Peer) -> Option<ConnId> {
        if !self.accepting {
            return None;
        }
        let opened = self.gateway.open(self.now, peer, &mut self.outputs);
        if let (Some(watch), Ok(connection)) = (&self.watch, &opened) {
            watch.borrow_mut().opened(self.now, connection.id(), peer);
        }
        self.post();
        let connection = opened.ok()?;
        let conn = connection.id();
        let socket = Socket {
            connection: Some(connection),
            mailbox: Vec::new(),
            inbound: VecDeque::new(),
            wire: VecDeque::new(),
            outbound: Vec::new(),
            window: WINDOW_BYTES,
            ended: false,
            end_told: false,
            broken: false,
        };
        self.sockets.insert(conn, socket);
        Some(conn)
    }

    /// The peer sends bytes.
    pub fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(socket) = self.sockets.get_mut(&conn).filter(|socket| !socket.ended) {
            socket.inbound.extend(bytes);
        }
    }

    /// The peer sends no more, but still reads.
    pub fn end(&mut self, conn: ConnId) {
        if let Some(socket) = self.sockets.get_mut(&conn) {
            socket.ended = true;
        }
    }

    /// The peer is gone: what it sent and did not arrive is lost, and so is what it did not read.
    pub fn reset(&mut self, conn: ConnId) {
        if let Some(socket) = self.sockets.get_mut(&conn) {
            socket.ended = true;
            socket.broken = true;
            socket.inbound.clear();
            socket.outbound.clear();
        }
    }

    /// How many bytes the network holds for a peer that does not read them.
    pub fn set_window(&mut self, conn: ConnId, bytes: usize) {
        if let Some(socket) = self.sockets.get_mut(&conn) {
            socket.window = bytes;
        }
    }

    /// The peer reads what has arrived.
    pub fn receive(&mut self, conn: ConnId) -> Vec<u8> {
        let Some(socket) = self.sockets.get_mut(&conn) else { return Vec::new() };
        let bytes = std::mem::take(&mut socket.outbound);
        if socket.connection.is_none() {
            self.sockets.remove(&conn);
        }
        bytes
    }

    /// Whether there is more to read, now or later.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.sockets.contains_key(&conn)
    }

    /// Sockets the gateway has.
    pub fn socket_count(&self) -> usize {
        self.sockets.values().filter(|socket| socket.connection.is_some()).count()
    }

    /// Does everything that can be done at this moment.
    ///
    /// # Panics
    /// When there is no end to it: the core goes round in circles.
    pub fn run(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if !self.round() {
                return;
            }
        }
        panic!("the core does not come to rest at {:?}", self.now);
    }

    /// The earliest moment at which anything would happen by itself.
    pub fn next_deadline(&self) -> Option<Mono> {
        let connections = self.sockets.values().filter_map(|socket| socket.connection.as_ref());
        let sockets = connections.filter_map(Connection::next_deadline);
        sockets.chain(self.gateway.next_deadline()).min()
    }

    /// Lets time pass until `at`, stopping at every deadline on the way.
    pub fn advance(&mut self, at: Mono) {
        loop {
            self.run();
            let next = self.next_deadline().unwrap_or(at).max(Mono(self.now.mono.0 + 1));
            if at <= self.now.mono {
                return;
            }
            self.set_mono(next.min(at));
        }
    }

    /// Somebody sets the clock on the wall.
    pub fn set_wall(&mut self, wall: Wall) {
        self.now.wall = wall;
    }

    /// The configuration file may have been changed.
    pub fn touch_config(&mut self) {
        self.tell(Input::ConfigTouched);
    }

    /// The process is asked to stop.
    pub fn stop(&mut self) {
        self.tell(Input::Stop);
    }

    /// Whether the gateway said that it has stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the gateway takes sockets.
    pub fn is_accepting(&self) -> bool {
        self.accepting
    }

    /// Keeps host requests from being answered; see [`World::take_job`].
    pub fn hold_jobs(&mut self, hold: bool) {
        self.holds_jobs = hold;
    }

    /// The oldest host request that nobody has answered. It is the caller's to answer now.
    pub fn take_job(&mut self) -> Option<(Ticket, HostRequest)> {
        self.jobs.pop_front()
    }

    /// Performs a host request on the host and gives the answer, without telling it.
    pub fn perform(&self, request: HostRequest) -> HostAnswer {
        host::perform(&*self.host, request)
    }

    /// Tells the gateway an answer: in time, late, or twice.
    pub fn answer(&mut self, ticket: Ticket, answer: HostAnswer) {
        self.tell(Input::Answered { ticket, answer });
    }

    /// Moves time on without doing anything that is due.
    pub fn set_time(&mut self, at: Mono) {
        self.set_mono(at.max(self.now.mono));
    }

    /// Tells the gateway that a deadline passed, whether or not one did.
    pub fn tick(&mut self) {
        self.tell(Input::Tick);
    }

    /// Sockets that were given orders since the last call: they want a [`World::turn`].
    pub fn take_woken(&mut self) -> BTreeSet<ConnId> {
        std::mem::take(&mut self.woken)
    }

    /// When a socket wants a [`World::turn`] by itself.
    pub fn deadline_of(&self, conn: ConnId) -> Option<Mono> {
        self.sockets.get(&conn)?.connection.as_ref()?.next_deadline()
    }

    /// Whether the gateway's side of a socket says no more, now or later, once [`World::receive`] gave the rest.
    pub fn has_ended(&self, conn: ConnId) -> bool {
        self.sockets.get(&conn).is_none_or(|socket| {
            socket.connection.as_ref().is_none_or(|connection| {
                socket.wire.is_empty() && (connection.wants_shutdown() || connection.is_finished())
            })
        })
    }

    /// The connections of the sockets that the gateway has.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.sockets.values().filter_map(|socket| socket.connection.as_ref())
    }

    /// The gateway itself.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    fn set_mono(&mut self, at: Mono) {
        let before = self.now.mono;
        self.now.mono = at;
        // The two clocks run at the same speed; what is less than a millisecond is not lost.
        self.now.wall = self.now.wall + (at.0 / 1_000 - before.0 / 1_000);
    }

    /// One turn for everybody. Says whether anything moved.
    fn round(&mut self) -> bool {
        let mut moved = false;
        if self.gateway.next_deadline().is_some_and(|at| at <= self.now.mono) {
            self.tell(Input::Tick);
            moved = true;
        }
        let conns: Vec<ConnId> = self.sockets.keys().copied().collect();
        for conn in conns {
            moved |= self.turn(conn);
        }
        if !self.holds_jobs
            && let Some((ticket, request)) = self.jobs.pop_front()
        {
            let answer = self.perform(request);
            self.answer(ticket, answer);
            moved = true;
        }
        moved
    }

    /// What a driver does for one socket when it wakes up. Says whether anything moved, so that more may.
    pub fn turn(&mut self, conn: ConnId) -> bool {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(&conn) else { return false };
        let mut inputs = Vec::new();
        let mut moved = socket.listen(now, &mut self.cuts, &mut inputs);
        for input in inputs {
            self.tell(input);
        }
        let Some(socket) = self.sockets.get_mut(&conn) else { return moved };
        moved |= socket.speak(now, &mut self.cuts);
        if socket.is_over() {
            socket.connection = None;
            if socket.broken || socket.outbound.is_empty() {
                self.sockets.remove(&conn);
            }
            self.tell(Input::Closed { conn });
            moved = true;
        }
        moved
    }

    /// Hands a fact to the gateway and posts what it orders.
    fn tell(&mut self, input: Input) {
        if let Some(watch) = &self.watch {
            watch.borrow_mut().input(self.now, &input);
        }
        self.gateway.handle(self.now, input, &mut self.outputs);
        self.post();
    }

    fn post(&mut self) {
        for output in self.outputs.drain(..) {
            if let Some(watch) = &self.watch {
                watch.borrow_mut().output(self.now, &output);
            }
            match output {
                Output::To(conn, order) => {
                    // Gone already: its `Closed` was handled.
                    if let Some(socket) = self.sockets.get_mut(&conn) {
                        socket.mailbox.push(order);
                        self.woken.insert(conn);
                    }
                }
                Output::Host(ticket, request) => self.jobs.push_back((ticket, request)),
                Output::Log(record) => self.host.log(&record),
                Output::Accept(open) => self.accepting = open,
                Output::Beat => self.host.beat(),
                Output::Stopped => self.stopped = true,
            }
        }
        if let Some(watch) = &self.watch {
            watch.borrow_mut().done(self.now, &self.gateway);
        }
    }
}

impl Socket {
    /// Orders, a deadline, bytes: gives the facts they lead to. Says whether anything moved.
    fn listen(&mut self, now: Now, cuts: &mut Cuts, inputs: &mut Vec<Input>) -> bool {
        let mut moved = self.take_orders(now);
        let Some(connection) = &mut self.connection else { return false };
        if connection.next_deadline().is_some_and(|at| at <= now.mono) {
            connection.handle_timeout(now);
            moved = true;
        }
        if connection.wants_read() && !self.inbound.is_empty() {
            let bytes = cuts.next(self.inbound.len());
            let piece = &self.inbound.make_contiguous()[..bytes];
            let taken = connection.receive(now, piece);
            self.inbound.drain(..taken);
            moved |= taken > 0;
        } else if self.broken || (connection.wants_read() && self.ended) {
            moved |= !self.end_told;
            if !std::mem::replace(&mut self.end_told, true) {
                connection.receive_end(now);
            }
        }
        while let Next::Event(input) = connection.next_event(now) {
            inputs.push(input);
        }
        moved || !inputs.is_empty()
    }

    /// The orders the facts led to, and the bytes those led to. Says whether anything moved.
    fn speak(&mut self, now: Now, cuts: &mut Cuts) -> bool {
        let mut moved = self.take_orders(now);
        let Some(connection) = &mut self.connection else { return false };
        if self.broken {
            return moved;
        }
        if self.wire.is_empty() && connection.wants_write() {
            let mut wire = Vec::new();
            connection.take_wire(now, &mut wire);
            moved |= !wire.is_empty();
            self.wire = wire.into();
        }
        let room = self.window.saturating_sub(self.outbound.len());
        let bytes = cuts.next(self.wire.len().min(room));
        if bytes > 0 {
            self.outbound.extend(self.wire.drain(..bytes));
            connection.wrote(now, bytes);
            moved = true;
        }
        moved
    }

    fn take_orders(&mut self, now: Now) -> bool {
        let orders = std::mem::take(&mut self.mailbox);
        let Some(connection) = &mut self.connection else { return false };
        let moved = !orders.is_empty();
        for order in orders {
            connection.apply(now, order);
        }
        moved
    }

    /// Everything is said and written, or nobody is there any more.
    fn is_over(&self) -> bool {
        let Some(connection) = &self.connection else { return false };
        if self.broken { self.end_told } else { connection.is_finished() && self.wire.is_empty() }
    }
}

impl Cuts {
    /// How many of these bytes go next: at least one, when there are any.
    fn next(&mut self, bytes: usize) -> usize {
        match self {
            Self::Whole => bytes,
            Self::Every(size) => bytes.min((*size).max(1)),
            Self::Random { random, bytes_max } => {
                let size = 1 + random.below((*bytes_max).max(1) as u64) as usize;
                // A long queue moves in larger pieces, or it would take for ever.
                bytes.min(size.max(bytes / LONG_QUEUE_PIECES))
            }
        }
    }
}

/// A day in 2027, in Unix milliseconds.
const START: Wall = Wall(1_800_000_000_000);
/// About what a kernel holds for a peer that does not read.
const WINDOW_BYTES: usize = 1 << 20;
/// Pieces of a queue that is longer than so many pieces.
const LONG_QUEUE_PIECES: usize = 4_096;
/// Far beyond what any scenario needs.
const ROUNDS_MAX: usize = 100_000_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::stage;

    fn world() -> World {
        World::new(stage::config(), Arc::new(MemoryHost::new()), [1; 32])
    }

    fn peer() -> Peer {
        Peer { remote: ([127, 0, 0, 1], 40_000).into(), local: ([127, 0, 0, 1], 18_789).into() }
    }

    const UPGRADE: &[u8] =
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

    #[test]
    fn equal_seeds_and_calls_give_equal_bytes_however_they_are_cut() {
        let run = |cuts: Cuts| {
            let mut world = world();
            world.set_cuts(cuts);
            let conn = world.accept(peer()).unwrap();
            world.send(conn, UPGRADE);
            world.run();
            world.receive(conn)
        };
        let whole = run(Cuts::Whole);
        assert!(whole.starts_with(b"HTTP/1.1 101 "));
        assert_eq!(run(Cuts::Every(1)), whole);
        let random = Box::new(Random::new(Seed::new([2; 32])));
        assert_eq!(run(Cuts::Random { random, bytes_max: 5 }), whole);
    }

    #[test]
    fn time_stops_at_every_deadline_and_both_clocks_run_together() {
        let mut world = world();
        let conn = world.accept(peer()).unwrap();
        world.send(conn, UPGRADE);
        world.advance(Mono(14_999_000));
        world.receive(conn);
        assert!(world.is_open(conn));
        world.advance(Mono(20_000_000));
        assert!(world.receive(conn).ends_with(b"handshake timeout"));
        assert_eq!(world.now(), Now { mono: Mono(20_000_000), wall: START + 20_000 });
        assert_eq!(world.socket_count(), 0);
    }

    #[test]
    fn a_peer_that_does_not_read_gets_no_more_than_its_window() {
        let mut world = world();
        let conn = world.accept(peer()).unwrap();
        world.set_window(conn, 10);
        world.send(conn, UPGRADE);
        world.run();
        assert_eq!(world.receive(conn), b"HTTP/1.1 1");
        world.run();
        assert_eq!(world.receive(conn).len(), 10);
        world.reset(conn);
        world.run();
        assert!(!world.is_open(conn));
        assert_eq!(world.socket_count(), 0);
    }

    #[test]
    fn a_held_host_answers_when_it_is_told_to() {
        let mut world = world();
        world.hold_jobs(true);
        world.advance(Mono(60_000_000));
        let (ticket, request) = world.take_job().unwrap();
        let answer = world.perform(request);
        world.answer(ticket, answer.clone());
        // Late and twice: nobody minds.
        world.answer(ticket, answer);
        world.hold_jobs(false);
        world.stop();
        world.run();
        assert!(world.is_stopped() && !world.is_accepting());
        assert_eq!(world.accept(peer()), None);
    }
}
