//! The task that announces the gateway on its network, when it is to be announced: it waits, and carries bytes. A fault
//! of its own, even a panic, ends the announcement and nothing else.

use crate::clock::Clock;
use crate::mailbox::lock;
use async_io::{Async, Timer};
use clawgate_proto::log::Record;
use clawgate_proto::mdns::{Family, Link, Network, PortId, Responder, Service, Station};
use core::fmt;
use std::future::{Future as _, poll_fn};
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// What announces a gateway.
pub struct Announcer {
    /// Made at the clock of the run.
    pub responder: Responder,
    /// The machine's network.
    pub network: Box<dyn Network<Socket = UdpSocket> + Send>,
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer").field("responder", &self.responder).finish_non_exhaustive()
    }
}

/// An announcement in progress: the task works on it, and the end of the run takes it back.
pub(crate) struct Announcing {
    station: Mutex<Station<Responder, Watched>>,
    clock: Clock,
}

impl Announcing {
    pub(crate) fn new(announcer: Announcer, clock: Clock) -> Arc<Self> {
        let station = Station::new(announcer.responder, Watched(announcer.network));
        Arc::new(Self { station: Mutex::new(station), clock })
    }

    /// Takes it back.
    pub(crate) fn stop(&self) {
        lock(&self.station).stop(self.clock.now().mono);
    }

    /// Announces until it is stopped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut timer = Timer::never();
        poll_fn(|cx| {
            // After a panic there is nobody who speaks; the gateway does not need him.
            catch_unwind(AssertUnwindSafe(|| self.poll(&mut timer, cx))).unwrap_or(Poll::Ready(()))
        })
        .await;
    }

    fn poll(&self, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS_IN_A_ROW {
            let now = self.clock.now().mono;
            let mut station = lock(&self.station);
            if station.is_over() {
                return Poll::Ready(());
            }
            station.tick(now);
            let mut is_ready = |socket: &Async<UdpSocket>| socket.poll_readable(cx).is_ready();
            let ready: Vec<PortId> =
                station.sockets().filter(|(_, socket)| is_ready(socket)).map(|(port, _)| port).collect();
            for port in &ready {
                station.read(now, *port);
            }
            match station.next_deadline() {
                Some(at) => timer.set_at(self.clock.instant(at.max(now.plus_millis(1)))),
                None => *timer = Timer::never(),
            }
            drop(station);
            if Pin::new(&mut *timer).poll(cx).is_pending() && ready.is_empty() {
                return Poll::Pending;
            }
        }
        // A talkative network must not keep a worker from everybody else.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The program's network, with sockets that the reactor watches.
struct Watched(Box<dyn Network<Socket = UdpSocket> + Send>);

impl Network for Watched {
    type Socket = Async<UdpSocket>;

    fn look(&mut self) -> Option<Vec<Link>> {
        self.0.look()
    }

    fn service(&mut self) -> Option<Service> {
        self.0.service()
    }

    fn open(&mut self, link: &Link, family: Family) -> Result<Self::Socket, String> {
        Async::new(self.0.open(link, family)?).map_err(|why| format!("it cannot be watched: {why}"))
    }

    fn send(&mut self, socket: &Self::Socket, to: SocketAddr, bytes: &[u8]) {
        self.0.send(socket.get_ref(), to, bytes);
    }

    fn receive(&mut self, socket: &Self::Socket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.0.receive(socket.get_ref(), buffer)
    }

    fn log(&mut self, record: &Record) {
        self.0.log(record);
    }
}

const ROUNDS_IN_A_ROW: usize = 8;
