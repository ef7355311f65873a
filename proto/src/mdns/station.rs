//! A responder or a browser with the sockets it asked for: carries out the orders of one through a [`Network`], so that
//! a driver has only to wait. It opens nothing itself.

use super::limits::DATAGRAM_BYTES_MAX;
use super::link::Link;
use super::{Browser, Fact, Family, Order, PORT, PortId, Responder, Service};
use crate::log::Record;
use crate::time::Mono;
use core::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::collections::BTreeMap;

/// What the program offers: the machine's links, and sockets on them. Nothing of it blocks.
pub trait Network {
    /// A UDP socket.
    type Socket;

    /// The links as they are now; `None` when that cannot be found out, and those that were known stay.
    fn look(&mut self) -> Option<Vec<Link>>;

    /// What there is to say of the service now, asked whenever the links are; `None` when that does not change.
    fn service(&mut self) -> Option<Service>;

    /// A socket as [`Order::Open`] describes it.
    ///
    /// # Errors
    /// The system refuses; a sentence for a person.
    fn open(&mut self, link: &Link, family: Family) -> Result<Self::Socket, String>;

    /// Sends a datagram. One that cannot be sent is lost, as any may be.
    fn send(&mut self, socket: &Self::Socket, to: SocketAddr, bytes: &[u8]);

    /// The next datagram that has come: how many bytes of the buffer it takes, and from whom it is.
    fn receive(&mut self, socket: &Self::Socket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)>;

    /// Writes a line of the log.
    fn log(&mut self, record: &Record);
}

impl<N: Network + ?Sized> Network for Box<N> {
    type Socket = N::Socket;

    fn look(&mut self) -> Option<Vec<Link>> {
        (**self).look()
    }

    fn service(&mut self) -> Option<Service> {
        (**self).service()
    }

    fn open(&mut self, link: &Link, family: Family) -> Result<Self::Socket, String> {
        (**self).open(link, family)
    }

    fn send(&mut self, socket: &Self::Socket, to: SocketAddr, bytes: &[u8]) {
        (**self).send(socket, to, bytes);
    }

    fn receive(&mut self, socket: &Self::Socket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        (**self).receive(socket, buffer)
    }

    fn log(&mut self, record: &Record) {
        (**self).log(record);
    }
}

/// One of the two state machines.
pub trait Speaker {
    /// Takes a fact, and appends what is to be done about it.
    fn handle(&mut self, now: Mono, fact: Fact<'_>, out: &mut Vec<Order>);
    /// Earliest moment at which [`Fact::Tick`] would change anything.
    fn next_deadline(&self) -> Option<Mono>;
    /// Whether datagrams are to be read now.
    fn wants_datagrams(&self) -> bool;
}

impl Speaker for Responder {
    fn handle(&mut self, now: Mono, fact: Fact<'_>, out: &mut Vec<Order>) {
        self.handle(now, fact, out);
    }

    fn next_deadline(&self) -> Option<Mono> {
        self.next_deadline()
    }

    fn wants_datagrams(&self) -> bool {
        self.wants_datagrams()
    }
}

impl Speaker for Browser {
    fn handle(&mut self, now: Mono, fact: Fact<'_>, out: &mut Vec<Order>) {
        self.handle(now, fact, out);
    }

    fn next_deadline(&self) -> Option<Mono> {
        self.next_deadline()
    }

    fn wants_datagrams(&self) -> bool {
        self.wants_datagrams()
    }
}

/// A state machine on a network.
#[derive(Debug)]
pub struct Station<S, N: Network> {
    speaker: S,
    network: N,
    sockets: BTreeMap<PortId, N::Socket>,
    orders: Vec<Order>,
    buffer: Box<[u8]>,
    is_over: bool,
}

impl<S: Speaker, N: Network> Station<S, N> {
    /// Nothing is opened yet.
    pub fn new(speaker: S, network: N) -> Self {
        // One byte more than is read: a longer datagram is seen to be one.
        let buffer = vec![0; DATAGRAM_BYTES_MAX + 1].into_boxed_slice();
        Self { speaker, network, sockets: BTreeMap::new(), orders: Vec::new(), buffer, is_over: false }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Mono) {
        self.tell(now, Fact::Tick);
    }

    /// Reads what has come to a socket, up to a number: the others have their turn then.
    pub fn read(&mut self, now: Mono, port: PortId) {
        for _ in 0..DATAGRAMS_IN_A_ROW {
            let Some(socket) = self.sockets.get(&port).filter(|_| self.speaker.wants_datagrams()) else {
                return;
            };
            let Some((length, source)) = self.network.receive(socket, &mut self.buffer) else { return };
            let bytes = self.buffer.get(..length).unwrap_or_default();
            self.speaker.handle(now, Fact::Datagram { port, source, bytes }, &mut self.orders);
            self.carry_out(now);
        }
    }

    /// Ends it: what has to be said at the end is sent, and all sockets are closed.
    pub fn stop(&mut self, now: Mono) {
        self.tell(now, Fact::Stop);
        self.sockets.clear();
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The sockets to wait for: none while nothing is to be read.
    pub fn sockets(&self) -> impl Iterator<Item = (PortId, &N::Socket)> {
        let wants = self.speaker.wants_datagrams();
        self.sockets.iter().filter(move |_| wants).map(|(id, socket)| (*id, socket))
    }

    /// When to call [`Self::tick`].
    pub fn next_deadline(&self) -> Option<Mono> {
        self.speaker.next_deadline()
    }

    /// The network.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// The state machine.
    pub fn speaker(&self) -> &S {
        &self.speaker
    }

    fn tell(&mut self, now: Mono, fact: Fact<'_>) {
        self.speaker.handle(now, fact, &mut self.orders);
        self.carry_out(now);
    }

    /// In the order in which they came; what follows from one of them comes behind the others.
    fn carry_out(&mut self, now: Mono) {
        while !self.orders.is_empty() {
            for order in std::mem::take(&mut self.orders) {
                match order {
                    Order::Look => {
                        if let Some(service) = self.network.service() {
                            self.speaker.handle(now, Fact::Service(service), &mut self.orders);
                        }
                        if let Some(links) = self.network.look() {
                            self.speaker.handle(now, Fact::Links(links), &mut self.orders);
                        }
                    }
                    Order::Open(link, family) => {
                        let port = PortId { link: link.id, family };
                        match self.network.open(&link, family) {
                            Ok(socket) => {
                                self.sockets.insert(port, socket);
                            }
                            Err(why) => self.speaker.handle(now, Fact::Failed(port, why), &mut self.orders),
                        }
                    }
                    Order::Close(port) => {
                        self.sockets.remove(&port);
                    }
                    Order::Send { port, to, bytes } => {
                        if let Some(socket) = self.sockets.get(&port) {
                            self.network.send(socket, to.unwrap_or_else(|| group(port)), &bytes);
                        }
                    }
                    Order::Log(record) => self.network.log(&record),
                    Order::Stopped => self.is_over = true,
                }
            }
        }
    }
}

/// The group of a port; with IPv6 it is said on which link.
fn group(port: PortId) -> SocketAddr {
    match port.family.group() {
        IpAddr::V4(group) => SocketAddr::V4(SocketAddrV4::new(group, PORT)),
        IpAddr::V6(group) => SocketAddr::V6(SocketAddrV6::new(group, PORT, 0, port.link.0)),
    }
}

/// Datagrams of one socket before the others.
const DATAGRAMS_IN_A_ROW: usize = 16;
