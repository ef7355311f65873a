//! The other half: who is there? A few questions, and what the answers add up to. Everything that is remembered is
//! bounded, and nothing of it is believed for more than to be shown to a person.

use super::budget::{Budget, Purpose};
use super::conflict::address;
use super::intake::Intake;
use super::limits::{
    ADDRESSES_MAX, BEACONS_MAX, FOLLOW_UP_MS, HOSTS_MAX, LINKS_MAX, QUERIES_MAX, RECORD_INTERVAL_MS,
    SHARED_DELAY_MAX_MS, SHARED_DELAY_MIN_MS, TEXTS_MAX,
};
use super::link::{Link, LinkId};
use super::message;
use super::records::name;
use super::{Fact, Family, Order, PORT, PortId, SERVICE_TYPE};
use crate::seed::{Random, Seed};
use crate::time::Mono;
use core::net::{IpAddr, SocketAddr};
use simple_dns::rdata::{PTR, RData, TXT};
use simple_dns::{CLASS, Name, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};
use std::collections::BTreeMap;

/// Looks for gateways. It takes the same facts and gives the same orders as a [`Responder`](super::Responder), and never
/// answers anybody.
#[derive(Debug)]
pub struct Browser {
    random: Random,
    is_over: bool,
    has_looked: bool,
    links: BTreeMap<LinkId, Link>,
    ports: BTreeMap<PortId, Asking>,
    /// By the label of the instance.
    instances: BTreeMap<String, Instance>,
    /// By name, in lower case.
    hosts: BTreeMap<String, Vec<IpAddr>>,
    /// What was read lately.
    intake: Intake,
}

/// How far it is with one port.
#[derive(Debug)]
struct Asking {
    /// Questions that were sent.
    sent: u32,
    last: Option<Mono>,
    next: Option<Mono>,
    budget: Budget,
}

#[derive(Clone, Debug, Default)]
struct Instance {
    label: Vec<u8>,
    /// Host, and port.
    place: Option<(String, u16)>,
    texts: Option<BTreeMap<String, String>>,
}

/// A gateway that says it is there. All of it is what somebody on the network said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// The name of the service, such as `studio (OpenClaw)`.
    pub instance: String,
    /// The name of its host, such as `openclaw.local`; where it is, as far as somebody said so.
    pub place: Option<(String, u16)>,
    /// The addresses of that host, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// What its TXT record says.
    pub texts: BTreeMap<String, String>,
}

impl Browser {
    /// One that has asked nobody yet.
    pub fn new(seed: Seed, now: Mono) -> Self {
        Self {
            random: Random::new(seed),
            is_over: false,
            has_looked: false,
            links: BTreeMap::new(),
            ports: BTreeMap::new(),
            instances: BTreeMap::new(),
            hosts: BTreeMap::new(),
            intake: Intake::new(now),
        }
    }

    /// Takes a fact, and appends what is to be done about it.
    pub fn handle(&mut self, now: Mono, fact: Fact<'_>, out: &mut Vec<Order>) {
        if self.is_over {
            return;
        }
        match fact {
            Fact::Links(links) => self.links(now, links, out),
            Fact::Failed(port, _) => {
                self.ports.remove(&port);
            }
            Fact::Datagram { port, source, bytes } => self.datagram(now, port, source, bytes),
            Fact::Service(_) | Fact::Tick => {}
            Fact::Stop => {
                self.is_over = true;
                out.extend(self.ports.keys().map(|port| Order::Close(*port)));
                return out.push(Order::Stopped);
            }
        }
        self.tick(now, out);
    }

    /// Earliest moment at which [`Fact::Tick`] would change anything.
    pub fn next_deadline(&self) -> Option<Mono> {
        let questions = self.ports.values().filter_map(|asking| asking.next);
        let first = (!self.has_looked).then_some(Mono(0));
        questions.chain(self.intake.opens_at()).chain(first).min()
    }

    /// Whether datagrams are to be read now; there were too many lately, otherwise.
    pub fn wants_datagrams(&self) -> bool {
        self.intake.is_open()
    }

    /// Who has been found, in the order of names. Who said where he is comes first.
    pub fn beacons(&self) -> Vec<Beacon> {
        let mut beacons: Vec<Beacon> = self
            .instances
            .values()
            .map(|instance| {
                let host = instance.place.as_ref().map(|(host, _)| host.to_ascii_lowercase());
                let mut addresses = host.and_then(|host| self.hosts.get(&host).cloned()).unwrap_or_default();
                addresses.sort();
                Beacon {
                    instance: String::from_utf8_lossy(&instance.label).into_owned(),
                    place: instance.place.clone(),
                    addresses,
                    texts: instance.texts.clone().unwrap_or_default(),
                }
            })
            .collect();
        beacons.sort_by_key(|beacon| beacon.place.is_none());
        beacons
    }

    fn links(&mut self, now: Mono, links: Vec<Link>, out: &mut Vec<Order>) {
        for link in links.into_iter().take(LINKS_MAX) {
            for family in [Family::V4, Family::V6] {
                let port = PortId { link: link.id, family };
                if link.speaks(family) && !self.ports.contains_key(&port) {
                    // RFC 6762 section 5.2: a little later, in case many ask the same at once.
                    let wait_ms = self.random.below(SHARED_DELAY_MAX_MS - SHARED_DELAY_MIN_MS);
                    let next = Some(now.plus_millis(SHARED_DELAY_MIN_MS + wait_ms));
                    self.ports.insert(port, Asking { sent: 0, last: None, next, budget: Budget::default() });
                    out.push(Order::Open(link.clone(), family));
                }
            }
            self.links.insert(link.id, link);
        }
    }

    fn tick(&mut self, now: Mono, out: &mut Vec<Order>) {
        self.intake.go_on(now);
        if !std::mem::replace(&mut self.has_looked, true) {
            out.push(Order::Look);
        }
        let due: Vec<PortId> = self
            .ports
            .iter()
            .filter(|(_, asking)| asking.next.is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        if due.is_empty() {
            return;
        }
        let bytes = self.question();
        for id in due {
            let Some(asking) = self.ports.get_mut(&id) else { continue };
            if asking.budget.take(now, Purpose::Own) && !bytes.is_empty() {
                out.push(Order::Send { port: id, to: None, bytes: bytes.clone() });
            }
            // RFC 6762 section 5.2: after a second, then after twice as long each time.
            let wait_ms = RECORD_INTERVAL_MS << asking.sent.min(10);
            asking.sent += 1;
            asking.last = Some(now);
            asking.next = (asking.sent < QUERIES_MAX).then(|| now.plus_millis(wait_ms));
        }
    }

    /// Who is there, besides those who are known; and what is not known of them yet.
    fn question(&self) -> Vec<u8> {
        let ask = |name, kind| Question::new(name, kind, QCLASS::CLASS(CLASS::IN), false);
        let mut questions = vec![ask(kind(), QTYPE::TYPE(TYPE::PTR))];
        let mut known = Vec::new();
        for instance in self.instances.values() {
            let owner = instance_name(&instance.label);
            if instance.place.is_none() || instance.texts.is_none() {
                questions.push(ask(owner.clone(), QTYPE::ANY));
            }
            if let Some((host, _)) = &instance.place
                && !self.hosts.contains_key(&host.to_ascii_lowercase())
                && let Ok(host) = Name::new(host)
            {
                questions.push(ask(host.into_owned(), QTYPE::ANY));
            }
            known.push(ResourceRecord::new(kind(), CLASS::IN, KNOWN_TTL_S, RData::PTR(PTR(owner))));
        }
        questions.truncate(QUESTIONS_AT_ONCE);
        known.truncate(QUESTIONS_AT_ONCE);
        message::query(questions, known)
    }

    fn datagram(&mut self, now: Mono, id: PortId, source: SocketAddr, bytes: &[u8]) {
        self.intake.go_on(now);
        if !self.wants_datagrams() {
            return;
        }
        // RFC 6762 section 11: only from this link; section 6: only from that port.
        if source.port() != PORT || !self.links.get(&id.link).is_some_and(|link| link.is_here(source)) {
            return self.intake.elsewhere();
        }
        self.intake.here(bytes);
        let Some(packet) = message::read(bytes) else { return };
        if !packet.has_flags(PacketFlag::RESPONSE) {
            return;
        }
        let records: Vec<&ResourceRecord<'_>> =
            packet.answers.iter().chain(&packet.additional_records).collect();
        // Who first, then where: an answer may have them in any order.
        records.iter().for_each(|record| self.instance(record));
        records.iter().for_each(|record| self.detail(record));
        records.iter().for_each(|record| self.host(record));
        let is_incomplete = self.instances.values().any(|instance| {
            let host = instance.place.as_ref().map(|(host, _)| host.to_ascii_lowercase());
            instance.texts.is_none() || host.is_none_or(|host| !self.hosts.contains_key(&host))
        });
        if let Some(asking) =
            self.ports.get_mut(&id).filter(|asking| is_incomplete && asking.sent < QUERIES_MAX)
        {
            let soonest = asking.last.map_or(now, |last| last.plus_millis(FOLLOW_UP_MS)).max(now);
            asking.next = Some(asking.next.map_or(soonest, |next| next.min(soonest)));
        }
    }

    fn instance(&mut self, record: &ResourceRecord<'_>) {
        let RData::PTR(PTR(target)) = &record.rdata else { return };
        let Some(label) = label_of(target) else { return };
        if record.name != kind() {
            return;
        }
        if record.ttl == 0 {
            self.instances.remove(&key(label));
        } else if self.instances.contains_key(&key(label)) || self.instances.len() < BEACONS_MAX {
            self.instances.entry(key(label)).or_default().label = label.to_vec();
        }
    }

    fn detail(&mut self, record: &ResourceRecord<'_>) {
        let Some(label) = label_of(&record.name) else { return };
        let Some(instance) = self.instances.get_mut(&key(label)) else { return };
        if record.ttl == 0 {
            return;
        }
        if let RData::SRV(srv) = &record.rdata {
            instance.place = Some((srv.target.to_string(), srv.port));
        } else if let RData::TXT(txt) = &record.rdata {
            instance.texts = Some(texts_of(txt));
        }
    }

    fn host(&mut self, record: &ResourceRecord<'_>) {
        let Some(found) = address(record) else { return };
        let host = record.name.to_string().to_ascii_lowercase();
        let is_wanted = self.instances.values().any(|instance| {
            instance.place.as_ref().is_some_and(|(name, _)| name.eq_ignore_ascii_case(&host))
        });
        if !is_wanted || (!self.hosts.contains_key(&host) && self.hosts.len() >= HOSTS_MAX) {
            return;
        }
        let addresses = self.hosts.entry(host).or_default();
        if record.ttl == 0 {
            addresses.retain(|address| *address != found);
        } else if !addresses.contains(&found) && addresses.len() < ADDRESSES_MAX {
            addresses.push(found);
        }
    }
}

/// What a TXT record says, as far as it is remembered.
pub(super) fn texts_of(txt: &TXT<'_>) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for (name, value) in txt.iter_raw().take(TEXTS_MAX) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // RFC 6763 section 6.4: of two with one name the first counts.
        texts.entry(text(name)).or_insert_with(|| value.map(text).unwrap_or_default());
    }
    texts
}

fn kind() -> Name<'static> {
    name(&SERVICE_TYPE)
}

fn instance_name(label: &[u8]) -> Name<'static> {
    let mut labels = vec![simple_dns::Label::new_unchecked(label.to_vec())];
    labels.extend(kind().get_labels().iter().cloned());
    Name::new_with_labels(&labels)
}

/// The first label of the name of a service of our kind.
fn label_of<'a>(name: &'a Name<'_>) -> Option<&'a [u8]> {
    let label = name.get_labels().first()?;
    name.without(&kind()).filter(|rest| rest.get_labels().len() == 1)?;
    Some(label.as_ref())
}

/// Names differ by more than the case of letters.
fn key(label: &[u8]) -> String {
    label.iter().map(|byte| format!("{:02x}", byte.to_ascii_lowercase())).collect()
}

/// So that the question is not answered again by who is known; more than half of what they say.
const KNOWN_TTL_S: u32 = 4_500;
/// What is asked in one datagram, and said to be known: they must fit into one.
const QUESTIONS_AT_ONCE: usize = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::mdns::tests::{link, service};
    use crate::mdns::{Detail, Responder, Service};
    use proptest::prelude::*;

    const ID: PortId = PortId { link: LinkId(1), family: Family::V4 };

    /// Some gateways and somebody who looks for them, on one network, for so long.
    fn found(services: &[Service], ms: u64, strangers: &[(u64, Vec<u8>)]) -> (Vec<Beacon>, usize) {
        let mut random = Random::new(Seed::new([9; 32]));
        let mut gateways: Vec<Responder> =
            services.iter().map(|service| Responder::new(service.clone(), random.seed(), Mono(0))).collect();
        let mut browser = Browser::new(random.seed(), Mono(0));
        let (mut asked, mut air) = (0, Vec::<(usize, Vec<u8>)>::new());
        let start = 10_000;
        for at in 0..start + ms {
            let now = Mono(at * 1_000);
            let heard = std::mem::take(&mut air);
            let me = gateways.len();
            for n in 0..=me {
                if n == me && at < start {
                    continue;
                }
                let mut out = Vec::new();
                let mut tell = |fact: Fact<'_>, out: &mut Vec<Order>| match gateways.get_mut(n) {
                    Some(gateway) => gateway.handle(now, fact, out),
                    None => browser.handle(now, fact, out),
                };
                if (n < me && at == 0) || (n == me && at == start) {
                    tell(Fact::Links(vec![link(&format!("10.0.0.{}", n + 1))]), &mut out);
                }
                for (from, bytes) in &heard {
                    let source: SocketAddr = format!("10.0.0.{}:5353", from + 1).parse().unwrap();
                    tell(Fact::Datagram { port: ID, source, bytes }, &mut out);
                }
                for (_, bytes) in strangers.iter().filter(|(when, _)| n == me && start + when == at) {
                    let source: SocketAddr = "10.0.0.77:5353".parse().unwrap();
                    tell(Fact::Datagram { port: ID, source, bytes }, &mut out);
                }
                tell(Fact::Tick, &mut out);
                for order in out {
                    if let Order::Send { bytes, .. } = order {
                        asked += usize::from(n == me);
                        air.push((n, bytes));
                    }
                }
            }
        }
        (browser.beacons(), asked)
    }

    #[test]
    fn gateways_are_found_with_everything_they_say() {
        let full = Detail::Full { cli_path: Some("/bin/clawgate".to_owned()), ssh_port: 22 };
        let services = [
            Service { display_name: "a.b 東京".to_owned(), host: "one".to_owned(), ..service("1") },
            Service { detail: full, port: 9, host: "two".to_owned(), ..service("2") },
        ];
        let (beacons, asked) = found(&services, 3_000, &[]);
        let shown: Vec<_> =
            beacons.iter().map(|beacon| (beacon.instance.as_str(), beacon.place.clone())).collect();
        assert_eq!(
            shown,
            [
                ("a.b 東京 (OpenClaw)", Some(("one.local".to_owned(), 18_789))),
                ("studio (OpenClaw)", Some(("two.local".to_owned(), 9))),
            ]
        );
        assert_eq!(beacons[0].addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(beacons[1].texts["cliPath"], "/bin/clawgate");
        assert_eq!(beacons[1].texts["lanHost"], "two.local");
        assert!((2..=3).contains(&asked), "{asked}");
    }

    #[test]
    fn what_is_missing_is_asked_for_a_few_times_only() {
        let pointer = RData::PTR(PTR(instance_name(b"ghost")));
        let record = ResourceRecord::new(kind(), CLASS::IN, 120, pointer);
        let ghost = message::response(vec![record], Vec::new());
        let again: Vec<_> = (0..3_000).map(|at| (at, ghost.clone())).collect();
        let (beacons, asked) = found(&[], 3_000, &again);
        assert_eq!((beacons.len(), beacons[0].place.clone()), (1, None));
        assert_eq!(asked, usize::try_from(QUERIES_MAX).unwrap());
    }

    #[test]
    fn a_network_full_of_names_is_no_burden() {
        let many = |n: u64| {
            let records = (0..40).map(|m| {
                let label = format!("{n} {m}");
                ResourceRecord::new(kind(), CLASS::IN, 120, RData::PTR(PTR(instance_name(label.as_bytes()))))
            });
            (n, message::response(records.collect(), Vec::new()))
        };
        let storm: Vec<_> = (1..500).map(many).collect();
        let (beacons, _) = found(&[], 1_000, &storm);
        assert_eq!(beacons.len(), BEACONS_MAX);
    }

    #[test]
    fn who_says_goodbye_is_gone_and_strangers_are_not_heard() {
        let record = |ttl| ResourceRecord::new(kind(), CLASS::IN, ttl, RData::PTR(PTR(instance_name(b"x"))));
        let hello = message::response(vec![record(120)], Vec::new());
        let bye = message::response(vec![record(0)], Vec::new());
        assert_eq!(found(&[], 50, &[(10, hello.clone())]).0.len(), 1);
        assert_eq!(found(&[], 50, &[(10, hello.clone()), (20, bye)]).0.len(), 0);
        let mut browser = Browser::new(Seed::new([1; 32]), Mono(0));
        let mut out = Vec::new();
        browser.handle(Mono(0), Fact::Links(vec![link("10.0.0.1")]), &mut out);
        for source in ["10.0.1.7:5353", "10.0.0.7:5354"] {
            let source = source.parse().unwrap();
            browser.handle(Mono(0), Fact::Datagram { port: ID, source, bytes: &hello }, &mut out);
        }
        assert!(browser.beacons().is_empty());
        browser.handle(Mono(0), Fact::Stop, &mut out);
        assert_eq!(out[out.len() - 2..], [Order::Close(ID), Order::Stopped]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Answers with wrong bytes in them break nothing, and are remembered within the limits.
        #[test]
        fn damaged_answers_are_survived(
            damage in prop::collection::vec((any::<u16>(), any::<u8>(), any::<u16>()), 0..60),
        ) {
            let mut gateway = Responder::new(service("1"), Seed::new([1; 32]), Mono(0));
            let mut out = Vec::new();
            gateway.handle(Mono(0), Fact::Links(vec![link("10.0.0.1")]), &mut out);
            for ms in (0..2_000).step_by(10) {
                gateway.handle(Mono(ms * 1_000), Fact::Tick, &mut out);
            }
            let said = out.iter().rev().find_map(|order| {
                if let Order::Send { bytes, .. } = order { Some(bytes.clone()) } else { None }
            });
            let whole = said.expect("an announcement");
            let mut browser = Browser::new(Seed::new([2; 32]), Mono(0));
            browser.handle(Mono(0), Fact::Links(vec![link("10.0.0.9")]), &mut out);
            let source: SocketAddr = "10.0.0.1:5353".parse().unwrap();
            let mut now = Mono(0);
            for (at, value, end) in damage {
                // One that looks like much work takes the room of many.
                now = now.plus_millis(100);
                let mut bytes = whole.clone();
                let at = usize::from(at) % bytes.len();
                bytes[at] = value;
                bytes.truncate((usize::from(end) % (2 * bytes.len())).max(1));
                browser.handle(now, Fact::Datagram { port: ID, source, bytes: &bytes }, &mut out);
                browser.beacons();
            }
            browser.handle(now.plus_millis(1_000), Fact::Datagram { port: ID, source, bytes: &whole }, &mut out);
            prop_assert!(browser.beacons().iter().any(|beacon| beacon.instance == "studio (OpenClaw)"));
        }
    }
}
