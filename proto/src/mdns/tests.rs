//! A responder driven by hand: what it sends, when, and to whom. `lan` has several of them on a network that loses,
//! repeats and lies.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lan;

use super::limits::*;
use super::message::{self, query};
use super::records::name;
use super::*;
use crate::seed::Seed;
use crate::time::Mono;
use simple_dns::rdata::{A, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

const V4: PortId = PortId { link: LinkId(1), family: Family::V4 };
const PEER: &str = "10.0.0.99:5353";

pub(super) fn service(suffix: &str) -> Service {
    Service {
        display_name: "studio".to_owned(),
        host: "openclaw".to_owned(),
        port: 18_789,
        suffix: suffix.to_owned(),
        tls: None,
        canvas_port: None,
        tailnet_dns: None,
        detail: Detail::Minimal,
    }
}

pub(super) fn link(address: &str) -> Link {
    let address: IpAddr = address.parse().unwrap();
    Link {
        id: LinkId(1),
        name: "eth0".to_owned(),
        subnets: vec![Subnet { address, prefix: 24 }],
        addresses: vec![address],
    }
}

/// A responder and its time.
struct Bench {
    responder: Responder,
    ms: u64,
    /// Everything sent, with its time: to the group, or to one.
    sent: Vec<(u64, Option<SocketAddr>, Vec<u8>)>,
    orders: Vec<Order>,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            responder: Responder::new(service("a1b2c3"), Seed::new([7; 32]), Mono(0)),
            ms: 0,
            sent: Vec::new(),
            orders: Vec::new(),
        };
        bench.tell(Fact::Tick);
        assert_eq!(bench.orders, [Order::Look]);
        bench.tell(Fact::Links(vec![link("10.0.0.1")]));
        bench
    }

    /// One whose names are its own, and of whom nothing was heard lately.
    fn settled() -> Self {
        let mut bench = Self::new();
        bench.run(10_000);
        assert!(bench.responder.is_settled());
        bench.sent.clear();
        bench
    }

    fn now(&self) -> Mono {
        Mono(self.ms * 1_000)
    }

    fn tell(&mut self, fact: Fact<'_>) {
        let mut out = Vec::new();
        self.responder.handle(self.now(), fact, &mut out);
        for order in out {
            if let Order::Send { to, bytes, .. } = order {
                self.sent.push((self.ms, to, bytes));
            } else {
                self.orders.push(order);
            }
        }
    }

    fn hear(&mut self, source: &str, bytes: &[u8]) {
        self.tell(Fact::Datagram { port: V4, source: source.parse().unwrap(), bytes });
    }

    /// Lets so much time pass, and the responder do what it wants to meanwhile.
    fn run(&mut self, ms: u64) {
        let end = self.ms + ms;
        while let Some(at) = self.responder.next_deadline().filter(|at| at.0.div_ceil(1_000) <= end) {
            let at = at.0.div_ceil(1_000);
            assert!(at > self.ms || self.responder.next_deadline() <= Some(self.now()), "time goes on");
            self.ms = at.max(self.ms);
            let before = self.responder.next_deadline();
            self.tell(Fact::Tick);
            assert!(self.responder.next_deadline() > before, "a tick at its deadline moves it");
        }
        self.ms = end;
    }

    fn told(&self, event: &str) -> bool {
        self.orders.iter().any(|order| matches!(order, Order::Log(record) if record.event == event))
    }
}

fn kind() -> Name<'static> {
    name(&SERVICE_TYPE)
}

fn instance(label: &str) -> Name<'static> {
    name(&[label, SERVICE_TYPE[0], SERVICE_TYPE[1], SERVICE_TYPE[2]])
}

fn host(label: &str) -> Name<'static> {
    name(&[label, "local"])
}

pub(super) fn ask(name: Name<'static>, kind: QTYPE, wants_unicast: bool) -> Question<'static> {
    Question::new(name, kind, QCLASS::CLASS(CLASS::IN), wants_unicast)
}

fn browse(wants_unicast: bool) -> Vec<u8> {
    query(vec![ask(kind(), QTYPE::TYPE(TYPE::PTR), wants_unicast)], Vec::new())
}

pub(super) fn foreign_host(label: &str, address: &str) -> ResourceRecord<'static> {
    let IpAddr::V4(address) = address.parse().unwrap() else { panic!("an IPv4 address") };
    ResourceRecord::new(host(label), CLASS::IN, 120, RData::A(A::from(address)))
}

pub(super) fn foreign_service(label: &str, port: u16) -> ResourceRecord<'static> {
    let data = RData::SRV(SRV { priority: 0, weight: 0, port, target: host("other") });
    ResourceRecord::new(instance(label), CLASS::IN, 120, data)
}

fn types(records: &[ResourceRecord<'_>]) -> Vec<TYPE> {
    records.iter().map(|record| record.rdata.type_code()).collect()
}

#[test]
fn it_probes_three_times_then_announces_three_times_then_is_silent() {
    let mut bench = Bench::new();
    assert!(matches!(&bench.orders[1], Order::Open(link, Family::V4) if link.name == "eth0"));
    bench.run(60_000);
    let times: Vec<u64> = bench.sent.iter().map(|(at, _, _)| *at).collect();
    let first = times[0];
    assert!(first <= PROBE_INTERVAL_MS);
    let want = [0, 250, 500, 750, 1_750, 3_750].map(|after| first + after);
    assert_eq!(times, want);
    for (at, to, bytes) in &bench.sent {
        let packet = Packet::parse(bytes).unwrap();
        assert!(to.is_none());
        if *at < first + 750 {
            assert!(!packet.has_flags(PacketFlag::RESPONSE));
            assert_eq!(packet.questions.len(), 2);
            assert!(packet.questions.iter().all(|q| q.unicast_response && q.qtype == QTYPE::ANY));
            assert_eq!(types(&packet.name_servers), [TYPE::SRV, TYPE::TXT, TYPE::A]);
            assert!(packet.name_servers.iter().all(|record| !record.cache_flush));
        } else {
            assert!(packet.has_flags(PacketFlag::RESPONSE | PacketFlag::AUTHORITATIVE_ANSWER));
            assert!(packet.questions.is_empty());
            assert_eq!(types(&packet.answers), [TYPE::PTR, TYPE::PTR, TYPE::SRV, TYPE::TXT, TYPE::A]);
            let facts: Vec<_> =
                packet.answers.iter().map(|record| (record.ttl, record.cache_flush)).collect();
            assert_eq!(facts, [(4_500, false), (4_500, false), (120, true), (4_500, true), (120, true)]);
            assert_eq!(packet.answers[1].name, kind());
            assert_eq!(packet.answers[2].name, instance("studio (OpenClaw)"));
            assert_eq!(packet.answers[4].name, host("openclaw"));
        }
    }
    assert!(bench.told("mdns.announced"));
}

#[test]
fn nothing_is_answered_while_the_names_are_not_its_own() {
    let mut bench = Bench::new();
    bench.hear(PEER, &browse(false));
    bench.hear("10.0.0.99:40000", &browse(false));
    bench.run(200);
    assert!(
        bench.sent.iter().all(|(_, _, bytes)| !Packet::parse(bytes).unwrap().has_flags(PacketFlag::RESPONSE))
    );
}

#[test]
fn a_question_for_services_is_answered_to_all_after_a_short_while() {
    let mut bench = Bench::settled();
    bench.hear(PEER, &browse(false));
    assert!(bench.sent.is_empty());
    let asked = bench.ms;
    bench.run(5_000);
    let [(at, None, bytes)] = &bench.sent[..] else { panic!("{:?}", bench.sent) };
    assert!((SHARED_DELAY_MIN_MS..=SHARED_DELAY_MAX_MS).contains(&(at - asked)), "{}", at - asked);
    let packet = Packet::parse(bytes).unwrap();
    assert_eq!(types(&packet.answers), [TYPE::PTR]);
    assert_eq!(types(&packet.additional_records), [TYPE::SRV, TYPE::TXT, TYPE::A]);
    assert!(packet.additional_records.iter().all(|record| record.cache_flush));
}

#[test]
fn what_is_known_is_not_said_again() {
    let known = |ttl| {
        let data = RData::PTR(simple_dns::rdata::PTR(instance("Studio (openclaw)")));
        vec![ResourceRecord::new(kind(), CLASS::IN, ttl, data)]
    };
    let question = || vec![ask(kind(), QTYPE::TYPE(TYPE::PTR), false)];
    for (ttl, answers) in [(4_500, 0), (2_250, 0), (2_249, 1), (0, 1)] {
        let mut bench = Bench::settled();
        bench.hear(PEER, &query(question(), known(ttl)));
        bench.run(1_000);
        assert_eq!(bench.sent.len(), answers, "{ttl}");
    }
    // A list that goes on in another datagram (RFC 6762 section 7.2).
    for (source, answers) in [(PEER, 0), ("10.0.0.98:5353", 1)] {
        let mut bench = Bench::settled();
        let mut truncated = Packet::new_query(0);
        truncated.set_flags(PacketFlag::TRUNCATION);
        truncated.questions = question();
        bench.hear(PEER, &truncated.build_bytes_vec().unwrap());
        bench.run(100);
        bench.hear(source, &query(Vec::new(), known(4_500)));
        bench.run(HELD_MAX_MS);
        assert_eq!(bench.sent.len(), answers, "{source}");
    }
    let mut bench = Bench::settled();
    let mut truncated = Packet::new_query(0);
    truncated.set_flags(PacketFlag::TRUNCATION);
    truncated.questions = question();
    for peer in 0..u16::try_from(HELD_MAX).unwrap() + 1 {
        bench.hear(&format!("10.0.0.{}:5353", 20 + peer), &truncated.build_bytes_vec().unwrap());
    }
    bench.run(SHARED_DELAY_MAX_MS);
    assert_eq!(bench.sent.len(), 1, "the one too many is answered at once");
}

#[test]
fn unique_records_are_told_at_once_and_no_record_twice_a_second() {
    let mut bench = Bench::settled();
    let question = query(vec![ask(host("OPENCLAW"), QTYPE::TYPE(TYPE::A), false)], Vec::new());
    let asked = bench.ms;
    for _ in 0..100 {
        bench.hear(PEER, &question);
        bench.run(25);
    }
    let times: Vec<u64> = bench.sent.iter().map(|(at, _, _)| at - asked).collect();
    assert_eq!(times, [0, 1_000, 2_000]);
}

#[test]
fn who_asks_alone_is_answered_alone_if_the_group_heard_it_lately() {
    let mut bench = Bench::settled();
    bench.hear(PEER, &browse(true));
    let [(_, Some(to), bytes)] = &bench.sent[..] else { panic!("{:?}", bench.sent) };
    assert_eq!(to.to_string(), PEER);
    assert!(Packet::parse(bytes).unwrap().answers[0].ttl == OTHER_TTL_S);
    // An address, whose quarter of a life is over: all are told.
    bench.run(40_000);
    bench.sent.clear();
    bench.hear(PEER, &query(vec![ask(host("openclaw"), QTYPE::ANY, true)], Vec::new()));
    assert!(matches!(&bench.sent[..], [(_, None, _)]), "{:?}", bench.sent);
}

#[test]
fn who_does_not_speak_multicast_dns_gets_an_answer_of_its_own_kind() {
    let mut bench = Bench::settled();
    let mut packet = Packet::new_query(0x1234);
    packet.questions = vec![
        ask(kind(), QTYPE::TYPE(TYPE::PTR), false),
        ask(host("somebody-else"), QTYPE::TYPE(TYPE::A), false),
    ];
    bench.hear("10.0.0.99:40000", &packet.build_bytes_vec().unwrap());
    let [(_, Some(to), bytes)] = &bench.sent[..] else { panic!("{:?}", bench.sent) };
    assert_eq!(to.to_string(), "10.0.0.99:40000");
    let packet = Packet::parse(bytes).unwrap();
    assert_eq!((packet.id(), packet.questions.len()), (0x1234, 1));
    let records = packet.answers.iter().chain(&packet.additional_records);
    assert!(records.clone().all(|record| record.ttl <= LEGACY_TTL_S && !record.cache_flush));
    assert_eq!(records.count(), 4);
}

#[test]
fn only_neighbours_are_heard() {
    let mut bench = Bench::settled();
    for stranger in ["192.0.2.1:5353", "192.0.2.1:40000", "10.0.1.5:5353", "[2001:db8::1]:5353"] {
        bench.hear(stranger, &browse(false));
        bench.hear(stranger, &browse(true));
        bench.hear(stranger, &message::response(vec![foreign_host("openclaw", "192.0.2.1")], Vec::new()));
    }
    // An answer that does not come from port 5353 is none.
    let lie = message::response(vec![foreign_host("openclaw", "10.0.0.99")], Vec::new());
    bench.hear("10.0.0.99:40000", &lie);
    bench.run(4_000);
    assert!(bench.sent.is_empty(), "{:?}", bench.sent);
    assert_eq!(bench.responder.names(), ("studio (OpenClaw)", "openclaw"));
}

#[test]
fn what_its_names_do_not_have_is_said_too() {
    for (question, has) in [
        (ask(host("openclaw"), QTYPE::TYPE(TYPE::AAAA), false), vec![TYPE::A]),
        (ask(instance("studio (OpenClaw)"), QTYPE::TYPE(TYPE::A), false), vec![TYPE::TXT, TYPE::SRV]),
    ] {
        let mut bench = Bench::settled();
        bench.hear(PEER, &query(vec![question], Vec::new()));
        let [(_, None, bytes)] = &bench.sent[..] else { panic!("{:?}", bench.sent) };
        let packet = Packet::parse(bytes).unwrap();
        let RData::NSEC(nothing) = &packet.answers[0].rdata else { panic!("{packet:?}") };
        assert_eq!(nothing.types().collect::<Vec<_>>(), has);
        assert!(packet.answers[0].cache_flush);
    }
}

#[test]
fn a_name_that_is_taken_is_given_up_for_one_of_its_own() {
    let mut bench = Bench::new();
    bench.run(300);
    bench.hear(PEER, &message::response(vec![foreign_host("OpenClaw", "10.0.0.99")], Vec::new()));
    bench.run(10_000);
    // The instance was nobody else's, and stays.
    assert_eq!(bench.responder.names(), ("studio (OpenClaw)", "openclaw-a1b2c3"));
    assert!(bench.told("mdns.renamed") && bench.responder.is_settled());
    let (_, _, last) = bench.sent.last().unwrap();
    let last = Packet::parse(last).unwrap();
    // Compatibility row mdns-names.
    let RData::TXT(txt) = &last.answers[3].rdata else { panic!("{last:?}") };
    let texts: Vec<_> =
        txt.iter_raw().map(|(name, value)| (name.to_vec(), value.unwrap().to_vec())).collect();
    assert!(texts.contains(&(b"lanHost".to_vec(), b"openclaw-a1b2c3.local".to_vec())), "{last:?}");
}

#[test]
fn when_the_second_name_is_taken_too_it_stops_for_good() {
    let mut bench = Bench::new();
    bench.run(300);
    bench.hear(PEER, &message::response(vec![foreign_service("studio (OpenClaw)", 1)], Vec::new()));
    bench.run(300);
    assert_eq!(bench.responder.names().0, "studio (OpenClaw) a1b2c3");
    bench.hear(PEER, &message::response(vec![foreign_service("studio (OpenClaw) a1b2c3", 1)], Vec::new()));
    assert!(bench.told("mdns.gave-up") && bench.responder.has_given_up());
    assert_eq!(bench.orders.last(), Some(&Order::Close(V4)));
    let sent = bench.sent.len();
    bench.hear(PEER, &browse(false));
    bench.tell(Fact::Links(vec![link("10.0.0.2")]));
    assert_eq!(bench.responder.next_deadline(), None);
    assert_eq!(bench.sent.len(), sent);
    bench.tell(Fact::Stop);
    assert_eq!(bench.orders.last(), Some(&Order::Stopped));
}

#[test]
fn a_settled_name_that_is_contested_is_asked_for_again_and_kept_if_nobody_has_it() {
    let mut bench = Bench::settled();
    bench.hear(PEER, &message::response(vec![foreign_service("studio (OpenClaw)", 1)], Vec::new()));
    bench.run(10_000);
    assert_eq!(bench.responder.names().0, "studio (OpenClaw)");
    let probes = bench
        .sent
        .iter()
        .filter(|(_, _, bytes)| !Packet::parse(bytes).unwrap().has_flags(PacketFlag::RESPONSE));
    assert_eq!(probes.count(), usize::from(PROBES));
    // Whoever only contests, and never ends, gets the name.
    for _ in 0..CONTESTS_MAX {
        bench.hear(PEER, &message::response(vec![foreign_service("studio (OpenClaw)", 1)], Vec::new()));
        bench.run(10_000);
    }
    assert_eq!(bench.responder.names().0, "studio (OpenClaw) a1b2c3");
}

#[test]
fn of_two_that_probe_at_once_the_later_records_win() {
    for (address, waits) in [("10.0.0.2", true), ("10.0.0.0", false), ("10.0.0.1", false)] {
        let mut bench = Bench::new();
        bench.run(300);
        let mut rival = Packet::new_query(0);
        rival.questions = vec![ask(host("openclaw"), QTYPE::ANY, true)];
        rival.name_servers = vec![foreign_host("openclaw", address)];
        bench.hear(PEER, &rival.build_bytes_vec_compressed().unwrap());
        let before = bench.sent.len();
        bench.run(TIE_WAIT_MS - 1);
        assert_eq!(bench.sent.len() == before, waits, "{address}");
        bench.run(10_000);
        assert_eq!(bench.responder.names().1, "openclaw");
    }
}

#[test]
fn a_probe_for_its_name_is_answered_before_all_and_at_once() {
    let mut bench = Bench::settled();
    let mut rival = Packet::new_query(0);
    rival.questions = vec![ask(host("openclaw"), QTYPE::ANY, true)];
    rival.name_servers = vec![foreign_host("openclaw", "10.0.0.99")];
    let rival = rival.build_bytes_vec_compressed().unwrap();
    let asked = bench.ms;
    for _ in 0..3 {
        bench.hear(PEER, &rival);
        bench.run(250);
    }
    let times: Vec<u64> = bench.sent.iter().map(|(at, _, _)| at - asked).collect();
    assert_eq!(times, [0, 250, 500]);
    assert!(bench.sent.iter().all(|(_, to, _)| to.is_none()));
}

#[test]
fn the_end_takes_everything_back() {
    let mut bench = Bench::settled();
    bench.tell(Fact::Stop);
    let [(_, None, bytes)] = &bench.sent[..] else { panic!("{:?}", bench.sent) };
    let packet = Packet::parse(bytes).unwrap();
    assert_eq!(types(&packet.answers), [TYPE::PTR, TYPE::SRV, TYPE::TXT, TYPE::A]);
    assert!(packet.answers.iter().all(|record| record.ttl == 0));
    assert_eq!(bench.orders[bench.orders.len() - 2..], [Order::Close(V4), Order::Stopped]);
    // One that has said nothing has nothing to take back.
    let mut bench = Bench::new();
    bench.tell(Fact::Stop);
    assert!(bench.sent.is_empty());
}

#[test]
fn a_record_that_somebody_else_takes_back_is_said_again() {
    let mut bench = Bench::settled();
    bench.hear(PEER, &message::goodbye(vec![foreign_host("openclaw", "10.0.0.1")]));
    bench.run(200);
    let [(_, None, bytes)] = &bench.sent[..] else { panic!("{:?}", bench.sent) };
    assert_eq!(types(&Packet::parse(bytes).unwrap().answers), [TYPE::A]);
}

#[test]
fn links_come_go_and_change() {
    let mut bench = Bench::settled();
    bench.tell(Fact::Links(vec![link("10.0.0.1")]));
    bench.run(10_000);
    assert!(bench.sent.is_empty(), "nothing has changed");
    bench.tell(Fact::Links(vec![link("10.0.0.7")]));
    bench.run(10_000);
    assert_eq!(bench.sent.len(), usize::from(ANNOUNCEMENTS));
    let packet = Packet::parse(&bench.sent[0].2).unwrap();
    assert_eq!(conflict::address(&packet.answers[4]), Some("10.0.0.7".parse().unwrap()));
    bench.orders.clear();
    let both = Link {
        id: LinkId(2),
        name: "wlan0".to_owned(),
        subnets: vec![
            Subnet { address: "10.1.0.1".parse().unwrap(), prefix: 24 },
            Subnet { address: "fe80::1".parse().unwrap(), prefix: 64 },
        ],
        addresses: vec!["10.1.0.1".parse().unwrap()],
    };
    bench.tell(Fact::Links(vec![both.clone()]));
    assert_eq!(
        bench.orders,
        [Order::Close(V4), Order::Open(both.clone(), Family::V4), Order::Open(both.clone(), Family::V6)]
    );
    // A socket that cannot be had is said once, and tried again later.
    bench.orders.clear();
    let id = PortId { link: LinkId(2), family: Family::V6 };
    bench.tell(Fact::Failed(id, "no".to_owned()));
    bench.tell(Fact::Links(vec![both.clone()]));
    assert!(matches!(&bench.orders[..], [Order::Log(record)] if record.event == "mdns.socket-failed"));
    bench.run(RETRY_MS);
    bench.orders.clear();
    bench.tell(Fact::Links(vec![both.clone()]));
    assert_eq!(bench.orders, [Order::Open(both.clone(), Family::V6)]);
    bench.tell(Fact::Failed(id, "no".to_owned()));
    assert_eq!(bench.orders.len(), 1, "said once");
    // There are limits.
    let many = |n: u32| Link {
        id: LinkId(n),
        name: format!("eth{n}"),
        addresses: vec!["10.0.0.1".parse().unwrap(); 99],
        ..both.clone()
    };
    bench.tell(Fact::Links((1..100).map(many).collect()));
    bench.orders.clear();
    bench.run(1_000);
    let biggest = bench.sent.iter().map(|(_, _, bytes)| bytes.len()).max();
    assert!(biggest < Some(1_400), "{biggest:?}");
    bench.orders.clear();
    bench.tell(Fact::Links(Vec::new()));
    let closed = bench.orders.iter().filter(|order| matches!(order, Order::Close(_))).count();
    assert_eq!(closed, 2 * LINKS_MAX - 1, "one has no socket");
}

#[test]
fn too_many_datagrams_are_not_read() {
    let mut bench = Bench::settled();
    bench.run(5_000);
    for _ in 0..DATAGRAMS_PER_SECOND_MAX {
        assert!(bench.responder.wants_datagrams());
        bench.hear(PEER, b"nonsense");
    }
    assert!(!bench.responder.wants_datagrams());
    bench.hear("10.0.0.99:40000", &browse(false));
    assert!(bench.sent.is_empty());
    let again = bench.responder.next_deadline().unwrap();
    assert!(again.millis_since(bench.now()) <= 1_000);
    bench.run(1_000);
    assert!(bench.responder.wants_datagrams());
}

#[test]
fn heads_that_promise_too_much_are_not_believed() {
    let mut bytes = browse(false);
    assert!(message::read(&bytes).is_some());
    for (at, many) in [(4, QUESTIONS_MAX + 1), (6, RECORDS_MAX + 1), (8, RECORDS_MAX + 1), (10, 65_535)] {
        let mut lie = bytes.clone();
        lie[at..at + 2].copy_from_slice(&u16::try_from(many).unwrap().to_be_bytes());
        assert!(message::read(&lie).is_none());
    }
    bytes.resize(DATAGRAM_BYTES_MAX + 1, 0);
    assert!(message::read(&bytes).is_none());
}

#[test]
fn what_is_to_be_said_changes_at_once_and_what_does_not_change_is_not_said_again() {
    let mut bench = Bench::settled();
    bench.tell(Fact::Service(service("a1b2c3")));
    bench.run(5_000);
    assert!(bench.sent.is_empty() && !bench.told("mdns.changed"), "{:?}", bench.sent);
    let from = bench.ms;
    bench.tell(Fact::Service(Service { canvas_port: Some(18_793), ..service("a1b2c3") }));
    bench.run(10_000);
    let times: Vec<u64> = bench.sent.iter().map(|(at, _, _)| at - from).collect();
    assert_eq!(times, [0, 1_000, 3_000], "announced, under names that are its own");
    for (_, to, bytes) in &bench.sent {
        let packet = Packet::parse(bytes).unwrap();
        assert!(to.is_none() && packet.has_flags(PacketFlag::RESPONSE));
        assert!(packet.answers.iter().all(|record| record.ttl > 0));
        let texts: Vec<_> = packet
            .answers
            .iter()
            .filter_map(|record| {
                let RData::TXT(txt) = &record.rdata else { return None };
                Some((record.cache_flush, browser::texts_of(txt)))
            })
            .collect();
        let [(true, texts)] = &texts[..] else { panic!("{texts:?}") };
        assert_eq!((texts["canvasPort"].as_str(), texts["displayName"].as_str()), ("18793", "studio"));
    }
    assert!(bench.told("mdns.changed"));
}

#[test]
fn what_it_said_itself_before_a_change_is_no_rival() {
    let mut bench = Bench::settled();
    bench.hear("10.0.0.99:5353", &browse(false));
    bench.run(1_000);
    let (_, _, before) = bench.sent.pop().unwrap();
    bench.tell(Fact::Service(Service { canvas_port: Some(18_793), ..service("a1b2c3") }));
    // Its own socket hears it, and so does another link of the same network, from another address.
    for source in ["10.0.0.1:5353", "10.0.0.2:5353"] {
        bench.hear(source, &before);
    }
    bench.run(500);
    assert!(bench.responder.names() == ("studio (OpenClaw)", "openclaw") && !bench.responder.is_probing());
    // Much later it is somebody else's word.
    bench.run(10_000);
    bench.hear("10.0.0.2:5353", &before);
    assert!(bench.responder.is_probing());
}

#[test]
fn a_name_is_defended_although_everybody_asks() {
    let mut bench = Bench::settled();
    bench.run(60_000);
    for n in 0..40 {
        bench.hear(&format!("10.0.0.99:{}", 40_000 + n), &browse(false));
    }
    let asked = bench.sent.len();
    assert_eq!(asked, PACKETS_PER_SECOND_MAX - PACKETS_OWN, "the room for answers is used up");
    let theirs = foreign_service("studio (OpenClaw)", 5);
    let mut probe = Packet::new_query(0);
    probe.questions.push(ask(instance("studio (OpenClaw)"), QTYPE::ANY, true));
    probe.name_servers.push(theirs);
    bench.hear(PEER, &probe.build_bytes_vec().unwrap());
    bench.run(10);
    assert_eq!(bench.sent.len(), asked + 1, "whoever wants the name is told whose it is");
}

#[test]
fn what_changes_before_the_names_are_its_own_is_said_with_them() {
    let mut bench = Bench::new();
    bench.run(300);
    bench.tell(Fact::Service(Service { canvas_port: Some(9), ..service("a1b2c3") }));
    bench.run(10_000);
    let answers = bench.sent.iter().map(|(_, _, bytes)| Packet::parse(bytes).unwrap());
    let announced: Vec<_> = answers.filter(|packet| packet.has_flags(PacketFlag::RESPONSE)).collect();
    assert_eq!((bench.sent.len(), announced.len()), (6, 3), "no probe more than otherwise");
    for packet in announced {
        let said = format!("{:?}", packet.answers);
        assert!(
            packet.answers.iter().any(|record| matches!(&record.rdata, RData::TXT(txt)
            if browser::texts_of(txt)["canvasPort"] == "9")),
            "{said}"
        );
    }
}

#[test]
fn other_names_are_won_first_and_the_old_ones_given_back() {
    let mut bench = Bench::settled();
    let from = bench.ms;
    bench.tell(Fact::Service(Service { display_name: "attic".to_owned(), ..service("a1b2c3") }));
    bench.run(10_000);
    let packets: Vec<_> =
        bench.sent.iter().map(|(at, _, bytes)| (at - from, Packet::parse(bytes).unwrap())).collect();
    let (at, goodbye) = &packets[0];
    assert_eq!(*at, 0);
    assert!(goodbye.answers.iter().all(|record| record.ttl == 0));
    assert!(goodbye.answers.iter().any(|record| record.name == instance("studio (OpenClaw)")));
    let probes = &packets[1..=3];
    assert!(probes.iter().all(|(_, packet)| !packet.has_flags(PacketFlag::RESPONSE)
        && packet.questions.iter().any(|question| question.qname == instance("attic (OpenClaw)"))));
    assert!(packets[4..].iter().all(|(_, packet)| packet.answers[2].name == instance("attic (OpenClaw)")));
    assert_eq!((packets.len(), bench.responder.names()), (7, ("attic (OpenClaw)", "openclaw")));
}

#[test]
fn who_changes_without_end_sends_no_more_than_may_be_sent() {
    let mut bench = Bench::settled();
    for n in 0..60_u16 {
        let (display_name, canvas_port) = (format!("studio {}", n / 2), Some(n + 1));
        bench.tell(Fact::Service(Service { display_name, canvas_port, ..service("a1b2c3") }));
        bench.run(1_000);
    }
    // What is taken back is beside the budget, once for each name.
    let own = bench.sent.iter().filter(|(_, _, bytes)| {
        let packet = Packet::parse(bytes).unwrap();
        !packet.has_flags(PacketFlag::RESPONSE) || packet.answers.iter().any(|record| record.ttl > 0)
    });
    assert!(own.count() <= PACKETS_PER_MINUTE_MAX);
}
