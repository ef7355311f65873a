//! The thread that announces the gateway on its network, when it is to be announced: it waits, and carries bytes. A fault
//! of its own, even a panic, ends the announcement and nothing else.

use crate::clock::Clock;
use crate::keeper::timeout;
use crate::wake::Wake;
use clawgate_proto::mdns::{Network, PortId, Responder, Station};
use core::fmt;
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// How the thread learns that the gateway has ended.
#[derive(Debug)]
pub(crate) struct Bell {
    wake: Wake,
    rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { wake: Wake::new()?, rung: AtomicBool::new(false) })
    }

    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.wake.wake();
    }
}

/// Announces until the bell rings, and takes it back then.
pub(crate) fn announce(announcer: Announcer, clock: Clock, bell: &Bell) {
    let mut station = Station::new(announcer.responder, announcer.network);
    while !bell.rung.load(Ordering::Acquire) {
        station.tick(clock.now().mono);
        for port in wait(&station, clock, bell) {
            station.read(clock.now().mono, port);
        }
    }
    station.stop(clock.now().mono);
}

type Speaking = Station<Responder, Box<dyn Network<Socket = UdpSocket> + Send>>;

/// Sleeps until something has come, is due, or the bell rings.
fn wait(station: &Speaking, clock: Clock, bell: &Bell) -> Vec<PortId> {
    let sockets: Vec<(PortId, &UdpSocket)> = station.sockets().collect();
    let mut fds = vec![PollFd::new(&bell.wake, PollFlags::IN)];
    fds.extend(sockets.iter().map(|(_, socket)| PollFd::new(*socket, PollFlags::IN)));
    let patience = station.next_deadline().map(|at| timeout(clock.now().mono, at));
    if let Err(why) = poll(&mut fds, patience.as_ref()) {
        // A signal, or no memory for the kernel's copy of the list: it may come back, spinning would not help it.
        if why != rustix::io::Errno::INTR {
            std::thread::sleep(PAUSE);
        }
        return Vec::new();
    }
    if !fds[0].revents().is_empty() {
        bell.wake.clear();
    }
    let ready = fds[1..].iter().zip(&sockets).filter(|(fd, _)| !fd.revents().is_empty());
    ready.map(|(_, (port, _))| *port).collect()
}

const PAUSE: Duration = Duration::from_millis(10);
/// It takes datagrams apart, and asks the kernel for the machine's links.
pub(crate) const STACK_BYTES: usize = 256 * 1024;
