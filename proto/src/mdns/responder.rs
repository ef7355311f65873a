//! The responder as a whole: which links it serves, under which names, and when it gives up.
//!
//! Its names are the same on all links. When somebody else has one of them, it takes that name's second form, once; when
//! that is taken too, it stops and says so. It never goes through a row of names.

use super::conflict::{address, contradicted, lost_ties, repeated};
use super::intake::Intake;
use super::limits::{
    ADDRESSES_MAX, CONTEST_MEMORY_MS, CONTESTS_MAX, LINKS_MAX, LOOK_MS, RETRY_MS, TIE_WAIT_MS,
};
use super::link::{Link, LinkId};
use super::message;
use super::port::{Port, Voice};
use super::records::{Claim, Zone};
use super::service::Service;
use super::{Fact, Family, Order, PORT, PortId};
use crate::log::{Level, Record};
use crate::seed::{Random, Seed};
use crate::time::Mono;
use core::net::{IpAddr, SocketAddr};
use simple_dns::PacketFlag;
use std::collections::{BTreeMap, BTreeSet};

/// Announces one service, and answers for it.
#[derive(Debug)]
pub struct Responder {
    service: Service,
    random: Random,
    life: Life,
    zone: Zone,
    /// What it said before the latest change, and until when that may still be heard.
    said_before: Option<(Zone, Mono)>,
    /// Names that go by their second form.
    seconds: BTreeSet<Claim>,
    contests: BTreeMap<Claim, Contests>,
    links: BTreeMap<LinkId, Link>,
    ports: BTreeMap<PortId, Port>,
    /// Sockets that could not be had, and when to try again.
    failed: BTreeMap<PortId, Mono>,
    look_at: Mono,
    intake: Intake,
    /// What was last told to people.
    told: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// Its names are taken.
    GivenUp,
    Stopped,
}

/// How often a name was contested lately.
#[derive(Clone, Copy, Debug)]
struct Contests {
    count: u32,
    last: Mono,
}

impl Responder {
    /// Nothing is said before the first [`Fact::Links`].
    pub fn new(service: Service, seed: Seed, now: Mono) -> Self {
        let zone = Zone::new(&service, &BTreeSet::new());
        Self {
            service,
            random: Random::new(seed),
            life: Life::Running,
            zone,
            said_before: None,
            seconds: BTreeSet::new(),
            contests: BTreeMap::new(),
            links: BTreeMap::new(),
            ports: BTreeMap::new(),
            failed: BTreeMap::new(),
            look_at: now,
            intake: Intake::new(now),
            told: None,
        }
    }

    /// Takes a fact, and appends what is to be done about it.
    pub fn handle(&mut self, now: Mono, fact: Fact<'_>, out: &mut Vec<Order>) {
        match (self.life, fact) {
            (Life::Stopped, _)
            | (Life::GivenUp, Fact::Service(_) | Fact::Links(_) | Fact::Failed(..) | Fact::Datagram { .. }) =>
                {}
            (Life::Running | Life::GivenUp, Fact::Stop) => self.stop(out),
            (Life::GivenUp, Fact::Tick) => {}
            (Life::Running, Fact::Service(service)) => self.say(now, service, out),
            (Life::Running, Fact::Links(links)) => self.links(now, links, out),
            (Life::Running, Fact::Failed(port, why)) => self.failed(now, port, &why, out),
            (Life::Running, Fact::Datagram { port, source, bytes }) => {
                self.datagram(now, port, source, bytes, out);
            }
            (Life::Running, Fact::Tick) => {}
        }
        if self.life == Life::Running {
            self.tick(now, out);
        }
    }

    /// Earliest moment at which [`Fact::Tick`] would change anything.
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.life != Life::Running {
            return None;
        }
        let ports = self.ports.values().filter_map(Port::next_deadline);
        ports.chain(self.intake.opens_at()).chain([self.look_at]).min()
    }

    /// Whether datagrams are to be read now; there were too many lately, otherwise.
    pub fn wants_datagrams(&self) -> bool {
        self.intake.is_open()
    }

    /// The label of the service and that of its host, as they are now.
    pub fn names(&self) -> (&str, &str) {
        (&self.zone.instance_label, &self.zone.host_label)
    }

    /// Whether the names are taken, and nothing is announced any more.
    pub fn has_given_up(&self) -> bool {
        self.life == Life::GivenUp
    }

    /// Whether everything is announced everywhere.
    pub fn is_settled(&self) -> bool {
        self.life == Life::Running && !self.ports.is_empty() && self.ports.values().all(Port::is_settled)
    }

    /// Whether a name is in question.
    #[cfg(test)]
    pub(super) fn is_probing(&self) -> bool {
        self.ports.values().any(Port::is_probing)
    }

    fn tick(&mut self, now: Mono, out: &mut Vec<Order>) {
        self.intake.go_on(now);
        if self.look_at <= now {
            self.look_at = now.plus_millis(LOOK_MS);
            out.push(Order::Look);
        }
        for (id, port) in &mut self.ports {
            let Some(link) = self.links.get(&id.link) else { continue };
            port.tick(now, Voice { id: *id, zone: &self.zone, link }, out);
        }
        self.tell(out);
    }

    /// Says once what is announced where, whenever that has changed.
    fn tell(&mut self, out: &mut Vec<Order>) {
        let places: BTreeSet<&str> = self
            .ports
            .iter()
            .filter(|(_, port)| port.is_known && !port.is_probing())
            .filter_map(|(id, _)| Some(self.links.get(&id.link)?.name.as_str()))
            .collect();
        if places.is_empty() || !self.ports.values().all(|port| port.is_known && !port.is_probing()) {
            return;
        }
        let places: Vec<&str> = places.into_iter().collect();
        let addresses = self.links.values().flat_map(|link| &link.addresses);
        let addresses: BTreeSet<String> = addresses.map(ToString::to_string).collect();
        let addresses: Vec<String> = addresses.into_iter().collect();
        let (instance, host) = self.names();
        let record = Record::new(Level::Info, "mdns.announced")
            .field("name", instance)
            .field("host", format!("{host}.local"))
            .field("port", self.service.port)
            .field("on", places.join(","))
            .field("addresses", addresses.join(","));
        let said = format!("{:?}", record.fields);
        if self.told.as_ref() != Some(&said) {
            self.told = Some(said);
            out.push(Order::Log(record));
        }
    }

    /// Something else is to be said. Under the same names it is told at once, in the place of what was (RFC 6762 section
    /// 8.4); other names have to be won, and the old ones are given back.
    fn say(&mut self, now: Mono, service: Service, out: &mut Vec<Order>) {
        if service == self.service {
            return;
        }
        let has_other_names = [false, true].into_iter().any(|is_second| {
            service.instance(is_second) != self.service.instance(is_second)
                || service.host(is_second) != self.service.host(is_second)
        });
        if has_other_names {
            for (id, port) in &mut self.ports {
                let Some(link) = self.links.get(&id.link) else { continue };
                port.goodbye(Voice { id: *id, zone: &self.zone, link }, None, out);
            }
            self.seconds.clear();
            self.contests.clear();
        }
        let zone = Zone::new(&service, &self.seconds);
        self.said_before = Some((std::mem::replace(&mut self.zone, zone), now.plus_millis(ECHO_MS)));
        self.service = service;
        for port in self.ports.values_mut() {
            if has_other_names {
                port.probe_again(now, 0, &mut self.random);
            } else {
                port.announce_again(now);
            }
        }
        let (instance, host) = self.names();
        let record = Record::new(Level::Info, "mdns.changed").field("name", instance);
        out.push(Order::Log(record.field("host", format!("{host}.local"))));
    }

    fn links(&mut self, now: Mono, links: Vec<Link>, out: &mut Vec<Order>) {
        let mut found = BTreeMap::new();
        for mut link in links.into_iter().filter(|link| !link.addresses.is_empty()).take(LINKS_MAX) {
            link.addresses.truncate(ADDRESSES_MAX);
            link.subnets.truncate(ADDRESSES_MAX);
            found.insert(link.id, link);
        }
        let wanted: BTreeSet<PortId> = found
            .values()
            .flat_map(|link| [Family::V4, Family::V6].map(|family| (link, family)))
            .filter(|(link, family)| link.speaks(*family))
            .map(|(link, family)| PortId { link: link.id, family })
            .collect();
        // A link whose name has changed is another one, with the number of one that is gone.
        let is_same = |id: &LinkId| match (self.links.get(id), found.get(id)) {
            (Some(old), Some(new)) => old.name == new.name,
            (_, None) | (None, _) => false,
        };
        let gone: Vec<PortId> =
            self.ports.keys().filter(|id| !wanted.contains(id) || !is_same(&id.link)).copied().collect();
        for id in gone {
            self.ports.remove(&id);
            out.push(Order::Close(id));
        }
        self.failed.retain(|id, _| wanted.contains(id));
        for id in wanted {
            let Some(link) = found.get(&id.link) else { continue };
            if let Some(port) = self.ports.get_mut(&id) {
                if self.links.get(&id.link).is_some_and(|old| old.addresses != link.addresses) {
                    port.announce_again(now);
                }
            } else if self.failed.get(&id).is_none_or(|again| *again <= now) {
                self.ports.insert(id, Port::new(now, &mut self.random));
                out.push(Order::Open(link.clone(), id.family));
            }
        }
        self.links = found;
    }

    fn failed(&mut self, now: Mono, id: PortId, why: &str, out: &mut Vec<Order>) {
        if self.ports.remove(&id).is_none() {
            return;
        }
        let is_new = self.failed.insert(id, now.plus_millis(RETRY_MS)).is_none();
        if is_new {
            let name = self.links.get(&id.link).map_or("", |link| link.name.as_str());
            let family = match id.family {
                Family::V4 => "IPv4",
                Family::V6 => "IPv6",
            };
            let record =
                Record::new(Level::Warn, "mdns.socket-failed").field("on", name).field("family", family);
            let hint =
                "the gateway works all the same, but is not found there; discovery.mdns.mode off ends this";
            out.push(Order::Log(record.field("why", why).field("hint", hint)));
        }
    }

    fn datagram(&mut self, now: Mono, id: PortId, source: SocketAddr, bytes: &[u8], out: &mut Vec<Order>) {
        self.intake.go_on(now);
        if !self.wants_datagrams() {
            return;
        }
        let (Some(link), Some(port)) = (self.links.get(&id.link), self.ports.get_mut(&id)) else { return };
        if !link.is_here(source) {
            return self.intake.elsewhere();
        }
        self.intake.here(bytes);
        let Some(packet) = message::read(bytes) else { return };
        let own: BTreeSet<IpAddr> = self
            .links
            .values()
            .flat_map(|link| link.addresses.iter().copied().chain(link.subnets.iter().map(|net| net.address)))
            .collect();
        let voice = Voice { id, zone: &self.zone, link };
        if !packet.has_flags(PacketFlag::RESPONSE) {
            let lost =
                if port.is_probing() { lost_ties(&self.zone, link, &packet, &own) } else { BTreeSet::new() };
            port.query(now, voice, source, &packet, &mut self.random, out);
            if !lost.is_empty() {
                port.probe_again(now, TIE_WAIT_MS, &mut self.random);
                lost.into_iter().for_each(|claim| self.contest(now, id, claim, out));
            }
            return;
        }
        // RFC 6762 section 6: what comes from another port is no answer.
        if source.port() != PORT {
            return;
        }
        let before = self.said_before.as_ref().filter(|(_, until)| now < *until).map(|(zone, _)| zone);
        let lost = contradicted(&self.zone, before, link, &packet, &own);
        if lost.is_empty() {
            return port.heard(now, repeated(&self.zone, link, &packet), &mut self.random);
        }
        let was_probing = port.is_probing();
        let theirs = packet.answers.iter().chain(&packet.additional_records).find_map(address);
        let holder = theirs.unwrap_or(source.ip());
        for claim in lost {
            if was_probing {
                self.lose(now, id, claim, Some(holder), out);
            } else {
                // RFC 6762 section 9: it is found out anew who has the name.
                self.ports.values_mut().for_each(|port| port.probe_again(now, 0, &mut self.random));
                self.contest(now, id, claim, out);
            }
        }
    }

    /// A name was contested; too often means lost.
    fn contest(&mut self, now: Mono, id: PortId, claim: Claim, out: &mut Vec<Order>) {
        let contests = self.contests.entry(claim).or_insert(Contests { count: 0, last: now });
        if now.millis_since(contests.last) >= CONTEST_MEMORY_MS {
            contests.count = 0;
        }
        contests.count += 1;
        contests.last = now;
        if contests.count > CONTESTS_MAX {
            self.lose(now, id, claim, None, out);
        }
    }

    /// Somebody else on that link has a name of ours.
    fn lose(&mut self, now: Mono, id: PortId, claim: Claim, holder: Option<IpAddr>, out: &mut Vec<Order>) {
        if self.life != Life::Running {
            return;
        }
        let is_last = !self.seconds.insert(claim);
        // Where nobody else has the name it must not go on leading here.
        for (other, port) in &mut self.ports {
            let Some(link) = self.links.get(&other.link) else { continue };
            let lost = (other.link == id.link).then_some(claim);
            if is_last || lost.is_none() {
                port.goodbye(Voice { id: *other, zone: &self.zone, link }, lost, out);
            }
        }
        let taken = match claim {
            Claim::Instance => self.zone.instance_label.clone(),
            Claim::Host => format!("{}.local", self.zone.host_label),
        };
        let holder = holder.map_or_else(|| "somebody who does not give in".to_owned(), |ip| ip.to_string());
        let record = |event| Record::new(Level::Warn, event).field("name", &taken).field("holder", &holder);
        if is_last {
            self.life = Life::GivenUp;
            let hint = "the gateway works all the same, but is not announced until it is started again; give this machine \
                        another name with OPENCLAW_MDNS_HOSTNAME, or set discovery.mdns.mode to off";
            out.push(Order::Log(record("mdns.gave-up").field("hint", hint)));
            out.extend(self.ports.keys().map(|id| Order::Close(*id)));
            self.ports.clear();
            return;
        }
        self.zone = Zone::new(&self.service, &self.seconds);
        self.contests.remove(&claim);
        let now_called = match claim {
            Claim::Instance => self.zone.instance_label.clone(),
            Claim::Host => format!("{}.local", self.zone.host_label),
        };
        out.push(Order::Log(record("mdns.renamed").field("now", now_called)));
        self.ports.values_mut().for_each(|port| port.probe_again(now, 0, &mut self.random));
    }

    fn stop(&mut self, out: &mut Vec<Order>) {
        self.life = Life::Stopped;
        for (id, port) in &mut self.ports {
            if let Some(link) = self.links.get(&id.link) {
                port.goodbye(Voice { id: *id, zone: &self.zone, link }, None, out);
            }
            out.push(Order::Close(*id));
        }
        self.ports.clear();
        out.push(Order::Stopped);
    }
}

/// For so long after a change this side may still hear what it said itself before it: from its own sockets, or by another
/// link of the same network, whose access point holds it back.
const ECHO_MS: u64 = 2_000;
