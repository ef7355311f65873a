//! Several responders on one network that repeats, delays, splits, and has liars on it. Whatever happens, nobody sends
//! more than the limits say, and in the end everybody has a name of their own or has given up.

use super::{ask, foreign_host, foreign_service, host, instance, kind, link, service};
use crate::mdns::limits::{CONTESTS_MAX, PACKETS_PER_MINUTE_MAX, PACKETS_PER_SECOND_MAX};
use crate::mdns::{Fact, Family, LinkId, Order, PortId, Responder, message};
use crate::seed::{Random, Seed};
use crate::time::Mono;
use core::net::SocketAddr;
use proptest::prelude::*;
use simple_dns::{Packet, QTYPE};
use std::collections::{BTreeMap, BTreeSet};

const PORT: PortId = PortId { link: LinkId(1), family: Family::V4 };

/// A network, and its time in microseconds.
struct Lan {
    hosts: Vec<Responder>,
    /// Which side each host is on.
    sides: Vec<u8>,
    /// By time and order: to whom, from whom, what.
    air: BTreeMap<(u64, u64), (usize, SocketAddr, Vec<u8>)>,
    random: Random,
    now: u64,
    count: u64,
    /// When each host sent something.
    sent: Vec<Vec<u64>>,
    /// How much of what is sent arrives, in percent; some of it arrives twice.
    arrives: u64,
}

impl Lan {
    fn new(suffixes: &[&str], seed: u8) -> Self {
        let hosts = suffixes.iter().enumerate();
        let hosts = hosts.map(|(n, suffix)| {
            let n = u8::try_from(n).unwrap();
            Responder::new(service(suffix), Seed::new([seed ^ n.wrapping_mul(37); 32]), Mono(0))
        });
        Self {
            hosts: hosts.collect(),
            sides: vec![0; suffixes.len()],
            air: BTreeMap::new(),
            random: Random::new(Seed::new([seed; 32])),
            now: 0,
            count: 0,
            sent: vec![Vec::new(); suffixes.len()],
            arrives: 100,
        }
    }

    fn address(n: usize) -> String {
        format!("10.0.0.{}", n + 1)
    }

    fn start(&mut self, n: usize) {
        self.tell(n, Fact::Links(vec![link(&Self::address(n))]));
    }

    fn tell(&mut self, n: usize, fact: Fact<'_>) {
        let mut out = Vec::new();
        self.hosts[n].handle(Mono(self.now), fact, &mut out);
        for order in out {
            if let Order::Send { to, bytes, .. } = order {
                self.sent[n].push(self.now / 1_000);
                let source: SocketAddr = format!("{}:5353", Self::address(n)).parse().unwrap();
                for to in (0..self.hosts.len()).filter(|other| {
                    to.is_none_or(|to| to.to_string() == format!("{}:5353", Self::address(*other)))
                }) {
                    if self.sides[to] == self.sides[n] {
                        self.deliver(to, source, &bytes);
                    }
                }
            }
        }
    }

    fn deliver(&mut self, to: usize, source: SocketAddr, bytes: &[u8]) {
        let copies = match self.random.below(100) {
            roll if roll >= self.arrives => 0,
            0..5 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let at = self.now + self.random.below(5_000);
            self.count += 1;
            self.air.insert((at, self.count), (to, source, bytes.to_vec()));
        }
    }

    /// Lets so many milliseconds pass.
    fn run(&mut self, ms: u64) {
        let end = self.now + ms * 1_000;
        loop {
            let deadlines = self.hosts.iter().map(Responder::next_deadline).enumerate();
            let due = deadlines.filter_map(|(n, at)| Some((at?.0, n))).min();
            let arrival = self.air.keys().next().copied();
            match (due, arrival) {
                (due, Some((at, key))) if at <= end && due.is_none_or(|(due, _)| at <= due) => {
                    self.now = at.max(self.now);
                    let (to, source, bytes) = self.air.remove(&(at, key)).unwrap();
                    self.tell(to, Fact::Datagram { port: PORT, source, bytes: &bytes });
                }
                (Some((at, n)), _) if at <= end => {
                    self.now = at.max(self.now);
                    self.tell(n, Fact::Tick);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// No host sent more than it may. The last word of one that ends comes on top.
    fn check_bounds(&self) {
        for (n, times) in self.sent.iter().enumerate() {
            for (window, most) in [(1_000, PACKETS_PER_SECOND_MAX), (60_000, PACKETS_PER_MINUTE_MAX)] {
                for (i, from) in times.iter().enumerate() {
                    let inside = times[i..].iter().take_while(|at| **at < from + window).count();
                    assert!(inside <= most + 1, "host {n} sent {inside} in {window} ms");
                }
            }
        }
    }

    /// Everybody who has not given up has names that nobody else on the same side has.
    fn check_names(&self) {
        let mut names = BTreeSet::new();
        for (n, responder) in self.hosts.iter().enumerate() {
            if responder.has_given_up() {
                continue;
            }
            assert!(responder.is_settled(), "host {n} is not at rest");
            let (instance, host) = responder.names();
            assert!(names.insert((self.sides[n], "instance", instance.to_owned())), "{instance} twice");
            assert!(names.insert((self.sides[n], "host", host.to_owned())), "{host} twice");
        }
    }

    fn check_silence(&mut self) {
        let before: Vec<usize> = self.sent.iter().map(Vec::len).collect();
        self.run(120_000);
        let after: Vec<usize> = self.sent.iter().map(Vec::len).collect();
        assert_eq!(before, after, "nobody asks, and yet somebody talks");
    }
}

#[test]
fn hosts_of_one_name_get_names_of_their_own() {
    for seed in 0..24 {
        let mut lan = Lan::new(&["aaa111", "bbb222", "ccc333", "ddd444"], seed);
        lan.arrives = if seed % 2 == 0 { 100 } else { 90 };
        for n in 0..lan.hosts.len() {
            lan.start(n);
            // At the same time, or one after the other.
            lan.run(u64::from(seed % 4) * 400);
        }
        lan.run(60_000);
        lan.check_bounds();
        if seed % 2 == 0 {
            lan.check_names();
            assert!(lan.hosts.iter().all(|responder| !responder.has_given_up()));
            lan.check_silence();
        }
    }
}

#[test]
fn two_of_one_device_id_do_not_go_on_for_ever() {
    for seed in 0..20 {
        let mut lan = Lan::new(&["same00", "same00", "same00"], seed);
        (0..3).for_each(|n| lan.start(n));
        lan.run(120_000);
        lan.check_bounds();
        lan.check_names();
        assert_eq!(lan.hosts.iter().filter(|responder| responder.has_given_up()).count(), 1, "{seed}");
        lan.check_silence();
    }
}

#[test]
fn a_network_that_was_split_comes_to_rest_again() {
    for seed in 0..20 {
        let mut lan = Lan::new(&["aaa111", "bbb222", "ccc333"], seed);
        lan.sides = vec![0, 1, 0];
        (0..3).for_each(|n| lan.start(n));
        lan.run(30_000);
        lan.check_names();
        lan.sides = vec![0, 0, 0];
        // Somebody asks, and both answer: that is how they meet.
        let question = message::query(vec![ask(kind(), QTYPE::ANY, false)], Vec::new());
        for n in 0..3 {
            lan.deliver(n, "10.0.0.99:5353".parse().unwrap(), &question);
        }
        lan.run(120_000);
        lan.check_bounds();
        lan.check_names();
        assert!(lan.hosts.iter().all(|responder| !responder.has_given_up()));
        lan.check_silence();
    }
}

#[test]
fn a_storm_of_everything_is_survived_within_the_limits() {
    for seed in 0..2 {
        let mut lan = Lan::new(&["aaa111", "bbb222"], seed);
        lan.start(0);
        lan.start(1);
        for round in 0..600_u64 {
            let mut rival = Packet::new_query(0);
            rival.questions = vec![ask(host("openclaw"), QTYPE::ANY, true)];
            rival.name_servers = vec![foreign_host("openclaw", "10.0.0.99")];
            let storm = [
                message::query(vec![ask(kind(), QTYPE::ANY, round % 2 == 0)], Vec::new()),
                message::query(vec![ask(host("openclaw"), QTYPE::ANY, true)], Vec::new()),
                message::goodbye(vec![foreign_host("openclaw", "10.0.0.1")]),
                rival.build_bytes_vec_compressed().unwrap(),
            ];
            for n in 0..2 {
                for bytes in &storm {
                    let port = if lan.random.below(2) == 0 { 5_353 } else { 40_000 };
                    let source = format!("10.0.0.{}:{port}", 50 + lan.random.below(100)).parse().unwrap();
                    lan.deliver(n, source, bytes);
                }
            }
            lan.run(20);
        }
        lan.check_bounds();
        let busiest = lan.sent.iter().map(Vec::len).max().unwrap();
        assert!(busiest > 10, "the storm was answered at all: {busiest}");
        lan.run(60_000);
        lan.check_names();
        lan.check_silence();
    }
}

#[test]
fn a_liar_who_claims_every_name_ends_it_soon() {
    let mut lan = Lan::new(&["aaa111"], 1);
    lan.start(0);
    lan.run(10_000);
    let mut claims = 0;
    while !lan.hosts[0].has_given_up() {
        let (instance, host) = lan.hosts[0].names();
        let lies = [foreign_service(instance, 1), foreign_host(host, "10.0.0.99")];
        let bytes = message::response(lies.to_vec(), Vec::new());
        lan.tell(0, Fact::Datagram { port: PORT, source: "10.0.0.99:5353".parse().unwrap(), bytes: &bytes });
        lan.run(5_000);
        claims += 1;
        assert!(claims <= 2 * (CONTESTS_MAX + 1), "it never ends");
    }
    lan.check_bounds();
    lan.check_silence();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No bytes break it, and none make it talk.
    #[test]
    fn arbitrary_bytes_are_survived(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..40)) {
        let mut lan = Lan::new(&["aaa111"], 3);
        lan.start(0);
        for bytes in &datagrams {
            lan.tell(0, Fact::Datagram { port: PORT, source: "10.0.0.9:5353".parse().unwrap(), bytes });
            lan.run(100);
        }
        lan.run(30_000);
        lan.check_bounds();
        lan.check_names();
    }

    /// Real messages with wrong bytes in them, which get further.
    #[test]
    fn damaged_messages_are_survived(
        damage in prop::collection::vec((0..4_usize, any::<u16>(), any::<u8>(), any::<u16>()), 0..60),
        port in prop::sample::select(vec![5_353_u16, 40_000]),
    ) {
        let whole = [
            message::query(vec![ask(kind(), QTYPE::ANY, true), ask(host("openclaw"), QTYPE::ANY, false)], Vec::new()),
            message::response(
                vec![foreign_service("studio (OpenClaw)", 9), foreign_host("openclaw", "10.0.0.9")],
                vec![foreign_host("openclaw", "10.0.0.8")],
            ),
            message::probe([&instance("studio (OpenClaw)"), &host("openclaw")], vec![foreign_host("openclaw", "10.0.0.9")]),
            message::goodbye(vec![foreign_host("openclaw", "10.0.0.1")]),
        ];
        let mut lan = Lan::new(&["aaa111"], 4);
        lan.start(0);
        let source = SocketAddr::from(([10, 0, 0, 9], port));
        for (which, at, value, end) in damage {
            let mut bytes = whole[which].clone();
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
            bytes.truncate((usize::from(end) % (2 * bytes.len())).max(1));
            lan.tell(0, Fact::Datagram { port: PORT, source, bytes: &bytes });
            lan.run(100);
        }
        lan.run(60_000);
        lan.check_bounds();
        lan.check_names();
        lan.check_silence();
    }
}
