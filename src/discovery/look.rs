//! A look for gateways on the local network: asks, waits, and tells who answered.

use super::network::Machine;
use crate::entropy;
use clawgate_proto::Mono;
use clawgate_proto::mdns::{Beacon, Browser, PortId, Station};
use clawgate_proto::seed::Seed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// By name.
    pub beacons: Vec<Beacon>,
    /// What could not be asked, one sentence each.
    pub warnings: Vec<String>,
}

/// Looks for so long.
///
/// # Errors
/// Nobody could be asked; a sentence for a person.
pub fn look(patience: Duration) -> Result<Found, String> {
    let start = Instant::now();
    let now = || Mono(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    let browser = Browser::new(Seed::new(entropy::bytes()), now());
    let mut station = Station::new(browser, Machine::for_looking());
    station.tick(now());
    let machine = station.network();
    if !machine.has_networks {
        return Err("this machine is on no network that could be asked: no interface that is up knows multicast and has \
                    an address (ip addr shows them)"
            .to_owned());
    }
    if station.sockets().next().is_none() {
        return Err(format!("no network could be asked: {}", machine.faults.join("; ")));
    }
    let end = Mono(u64::try_from(patience.as_micros()).unwrap_or(u64::MAX));
    while now() < end {
        station.tick(now());
        let until = station.next_deadline().unwrap_or(end).min(end);
        for port in wait(&station, now(), until) {
            station.read(now(), port);
        }
    }
    let found = Found { beacons: station.speaker().beacons(), warnings: station.network().faults.clone() };
    station.stop(now());
    Ok(found)
}

fn wait(station: &Station<Browser, Machine>, now: Mono, until: Mono) -> Vec<PortId> {
    let sockets: Vec<(PortId, &UdpSocket)> = station.sockets().collect();
    let mut fds: Vec<PollFd<'_>> =
        sockets.iter().map(|(_, socket)| PollFd::new(*socket, PollFlags::IN)).collect();
    // A millisecond at least: a deadline that does not move must not make it spin.
    let patience = Duration::from_micros(until.0.saturating_sub(now.0).max(1_000));
    let patience = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&patience)) {
        Ok(_) => {}
        Err(Errno::INTR) => return Vec::new(),
        Err(_) => {
            std::thread::sleep(Duration::from_millis(10));
            return Vec::new();
        }
    }
    let ready = fds.iter().zip(&sockets).filter(|(fd, _)| !fd.revents().is_empty());
    ready.map(|(_, (port, _))| *port).collect()
}
