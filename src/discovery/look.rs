//! A look for gateways, on the local network and in a domain of ordinary DNS: asks, waits, and tells who answered.

use super::network::Machine;
use super::wide_area::{self, WideArea};
use crate::entropy;
use clawgate_proto::Mono;
use clawgate_proto::mdns::{Beacon, Browser, PortId, Station};
use clawgate_proto::seed::Seed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// By name.
    pub gateways: Vec<Seen>,
    /// What could not be asked, one sentence each.
    pub warnings: Vec<String>,
}

/// A gateway, and where somebody said that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `local.`, or a domain of ordinary DNS with its last dot.
    pub domain: String,
    /// What was said.
    pub beacon: Beacon,
}

/// Looks for so long on the local network, if it is to, and in a domain, if there is one.
///
/// # Errors
/// Nobody could be asked; a sentence for a person.
pub fn look(patience: Duration, is_local: bool, wide: Option<&WideArea>) -> Result<Found, String> {
    let (near, far) = thread::scope(|scope| {
        let far = wide.map(|wide| scope.spawn(move || wide_area::look(wide, patience)));
        let near = is_local.then(|| look_around(patience));
        (near, far.and_then(|far| far.join().ok()))
    });
    let mut found = Found { gateways: Vec::new(), warnings: Vec::new() };
    match near {
        Some(Ok((beacons, warnings))) => {
            found.warnings = warnings;
            found.add(LOCAL, beacons);
        }
        Some(Err(why)) if far.is_none() => return Err(why),
        Some(Err(why)) => found.warnings.push(why),
        None => {}
    }
    if let (Some(wide), Some((beacons, warning))) = (wide, far) {
        found.warnings.extend(warning);
        found.add(&format!("{}.", wide.domain), beacons);
    }
    found.gateways.sort_by_cached_key(|seen| seen.name().to_lowercase());
    Ok(found)
}

impl Found {
    fn add(&mut self, domain: &str, beacons: Vec<Beacon>) {
        for beacon in beacons {
            let seen = Seen { domain: domain.to_owned(), beacon };
            if !self.gateways.contains(&seen) {
                self.gateways.push(seen);
            }
        }
    }
}

impl Seen {
    /// The name for people: what it says, else that of the service.
    pub fn name(&self) -> &str {
        let said = self.beacon.texts.get("displayName").filter(|name| !name.is_empty());
        said.map_or_else(|| self.beacon.instance.trim_end_matches(" (OpenClaw)"), String::as_str)
    }
}

/// The domain of multicast DNS.
pub const LOCAL: &str = "local.";

fn look_around(patience: Duration) -> Result<(Vec<Beacon>, Vec<String>), String> {
    let start = Instant::now();
    let now = || Mono(micros(start.elapsed()));
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
    let end = Mono(micros(patience));
    while now() < end {
        station.tick(now());
        let until = station.next_deadline().unwrap_or(end).min(end);
        for port in ports_to_read(&station, now(), until) {
            station.read(now(), port);
        }
    }
    let found = (station.speaker().beacons(), station.network().faults.clone());
    station.stop(now());
    Ok(found)
}

fn ports_to_read(station: &Station<Browser, Machine>, now: Mono, until: Mono) -> Vec<PortId> {
    let sockets: Vec<(PortId, &UdpSocket)> = station.sockets().collect();
    ready(&sockets, now, until)
}

/// Which of these sockets can be read by then; waits until one of them can.
pub(super) fn ready<K: Copy>(sockets: &[(K, &UdpSocket)], now: Mono, until: Mono) -> Vec<K> {
    let mut fds: Vec<PollFd<'_>> =
        sockets.iter().map(|(_, socket)| PollFd::new(*socket, PollFlags::IN)).collect();
    // A millisecond at least: a deadline that does not move must not make it spin.
    let patience = Duration::from_micros(until.0.saturating_sub(now.0).max(1_000));
    match poll(&mut fds, Timespec::try_from(patience).ok().as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Vec::new(),
        Err(_) => {
            thread::sleep(Duration::from_millis(10));
            return Vec::new();
        }
    }
    let ready = fds.iter().zip(sockets).filter(|(fd, _)| !fd.revents().is_empty());
    ready.map(|(_, (name, _))| *name).collect()
}

/// A span in microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
