//! The question to ordinary DNS: against servers in memory that answer, are silent, lie and break.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use proptest::prelude::*;
use simple_dns::rdata::{A, CNAME, SRV, TXT};

const DOMAIN: &str = "openclaw.internal";
const KIND: &str = "_openclaw-gw._tcp.openclaw.internal";

fn lookup(servers: usize) -> Lookup {
    Lookup::new(DOMAIN, servers, Seed::new([7; 32])).unwrap()
}

fn record(owner: &str, data: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(Name::new(owner).unwrap().into_owned(), CLASS::IN, 60, data)
}

fn named(text: &str) -> Name<'static> {
    Name::new(text).unwrap().into_owned()
}

fn ptr(owner: &str, target: &str) -> ResourceRecord<'static> {
    record(owner, RData::PTR(PTR(named(target))))
}

fn srv(owner: &str, priority: u16, port: u16, target: &str) -> ResourceRecord<'static> {
    record(owner, RData::SRV(SRV { priority, weight: 0, port, target: named(target) }))
}

fn txt(owner: &str, texts: &[&str]) -> ResourceRecord<'static> {
    let mut data = TXT::new();
    for text in texts {
        data.add_string(text).unwrap();
    }
    record(owner, RData::TXT(data.into_owned()))
}

/// An answer to this query with these records, and others that nobody asked for.
fn answer(
    query: &[u8],
    answers: Vec<ResourceRecord<'static>>,
    more: Vec<ResourceRecord<'static>>,
) -> Vec<u8> {
    let mut packet = Packet::parse(query).unwrap().into_reply();
    packet.set_flags(PacketFlag::RESPONSE);
    packet.answers = answers;
    packet.additional_records = more;
    packet.build_bytes_vec_compressed().unwrap()
}

/// A server that says of its zone what is asked for.
fn serve(zone: &[ResourceRecord<'static>], query: &[u8]) -> Vec<u8> {
    let packet = Packet::parse(query).unwrap();
    let question = &packet.questions[0];
    let asked = |record: &&ResourceRecord<'_>| {
        record.name == question.qname && QTYPE::TYPE(record.rdata.type_code()) == question.qtype
    };
    answer(query, zone.iter().filter(asked).cloned().collect(), Vec::new())
}

fn zone() -> Vec<ResourceRecord<'static>> {
    let studio = format!("studio-gateway.{KIND}");
    vec![
        ptr(KIND, &studio),
        srv(&studio, 0, 18_789, "studio.openclaw.internal"),
        txt(&studio, &["displayName=studio", "role=gateway", "gatewayTls=1", "role=other"]),
    ]
}

/// Has everything answered by the zone, and says the most questions that were open at once.
fn run(lookup: &mut Lookup, zone: &[ResourceRecord<'static>]) -> usize {
    let mut out = Vec::new();
    lookup.tick(Mono(0), &mut out);
    let (mut open, mut most) = (0_usize, 0);
    while !out.is_empty() {
        for ask in std::mem::take(&mut out) {
            match ask {
                Ask::Send { exchange, bytes, .. } => {
                    open += 1;
                    most = most.max(open);
                    lookup.answer(Mono(1), exchange, &serve(zone, &bytes), &mut out);
                }
                Ask::Close(_) => open -= 1,
            }
        }
    }
    assert!(lookup.is_done() && open == 0);
    most
}

/// The first question, as it is sent.
fn first(lookup: &mut Lookup) -> (ExchangeId, Vec<u8>) {
    let mut out = Vec::new();
    lookup.tick(Mono(0), &mut out);
    let [Ask::Send { exchange, server: 0, over: Transport::Udp, bytes }] = &out[..] else {
        panic!("{out:?}")
    };
    (*exchange, bytes.clone())
}

#[test]
fn a_domain_s_gateways_are_found_with_everything_they_say() {
    let mut lookup = lookup(1);
    run(&mut lookup, &zone());
    let [beacon] = &lookup.beacons()[..] else { panic!("{:?}", lookup.beacons()) };
    assert_eq!(beacon.instance, "studio-gateway");
    assert_eq!(beacon.place, Some(("studio.openclaw.internal".to_owned(), 18_789)));
    assert_eq!((beacon.texts["displayName"].as_str(), beacon.texts["role"].as_str()), ("studio", "gateway"));
    assert!(beacon.addresses.is_empty() && lookup.silence().is_none());
    // Whoever writes the names with other letters names the same.
    let mut lookup = self::lookup(1);
    let (id, query) = first(&mut lookup);
    let mut out = Vec::new();
    let loud =
        answer(&query, vec![ptr(&KIND.to_uppercase(), &format!("A.{}", KIND.to_uppercase()))], Vec::new());
    lookup.answer(Mono(1), id, &loud, &mut out);
    assert_eq!(lookup.beacons()[0].instance, "A");
    assert_eq!(out.len(), 3, "one is closed, two are asked: {out:?}");
}

#[test]
fn a_domain_that_is_not_there_has_none_and_that_is_an_answer() {
    let mut lookup = lookup(2);
    let (id, query) = first(&mut lookup);
    let mut no = answer(&query, Vec::new(), Vec::new());
    no[3] |= RCODE_NO_SUCH_NAME;
    lookup.answer(Mono(1), id, &no, &mut Vec::new());
    assert!(lookup.is_done() && lookup.beacons().is_empty() && lookup.silence().is_none());
}

#[test]
fn a_silent_server_is_followed_by_the_next_and_after_some_attempts_by_nobody() {
    let mut lookup = lookup(2);
    let (mut out, mut sent, mut now) = (Vec::new(), Vec::new(), Mono(0));
    for _ in 0..100 {
        lookup.tick(now, &mut out);
        for ask in out.drain(..) {
            if let Ask::Send { server, bytes, .. } = ask {
                sent.push((now.0 / 1_000, server, bytes));
            }
        }
        let Some(next) = lookup.next_deadline() else { break };
        assert!(lookup.silence() == Some(Silence::NoAnswer) || sent.len() == 1);
        now = next;
    }
    let when: Vec<(u64, usize)> = sent.iter().map(|(at, server, _)| (*at, *server)).collect();
    assert_eq!(when, [(0, 0), (500, 1), (1_000, 0), (2_000, 1), (3_000, 0), (5_000, 1)]);
    let mut ids: Vec<&[u8]> = sent.iter().map(|(_, _, bytes)| &bytes[..2]).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() > 1, "an id is new each time");
    assert_eq!((lookup.is_done(), lookup.silence()), (true, Some(Silence::NoAnswer)));
}

#[test]
fn a_server_that_would_not_say_or_cannot_be_read_is_followed_by_the_next_at_once() {
    let mut lookup = lookup(2);
    let (id, query) = first(&mut lookup);
    let mut out = Vec::new();
    let mut refused = answer(&query, zone(), Vec::new());
    refused[3] |= 5;
    lookup.answer(Mono(1), id, &refused, &mut out);
    let Some(Ask::Send { exchange, server: 1, bytes, .. }) = out.last().cloned() else { panic!("{out:?}") };
    assert_eq!(lookup.silence(), Some(Silence::Refused(5)));
    let mut broken = answer(&bytes, zone(), Vec::new());
    broken.truncate(broken.len() - 3);
    lookup.answer(Mono(1), exchange, &broken, &mut out);
    assert_eq!(lookup.silence(), Some(Silence::Unreadable));
    let Some(Ask::Send { exchange, server: 0, bytes, .. }) = out.last().cloned() else { panic!("{out:?}") };
    lookup.answer(Mono(1), exchange, &answer(&bytes, zone(), Vec::new()), &mut out);
    assert_eq!((lookup.beacons().len(), lookup.silence()), (1, None));
}

#[test]
fn what_did_not_fit_is_asked_for_once_more_over_tcp() {
    let mut lookup = lookup(1);
    let (id, query) = first(&mut lookup);
    let mut out = Vec::new();
    let mut cut = answer(&query, Vec::new(), Vec::new());
    cut[2] |= 0x02;
    lookup.answer(Mono(1), id, &cut, &mut out);
    let [Ask::Close(closed), Ask::Send { exchange, server: 0, over: Transport::Tcp, bytes }] = &out[..]
    else {
        panic!("{out:?}")
    };
    assert_eq!(*closed, id);
    let whole = answer(bytes, zone(), Vec::new());
    let exchange = *exchange;
    lookup.answer(Mono(1), exchange, &whole, &mut out);
    assert_eq!(lookup.beacons().len(), 1);
}

#[test]
fn what_is_no_answer_to_the_question_is_not_heard() {
    let mut lookup = lookup(1);
    let (id, query) = first(&mut lookup);
    let good = answer(&query, zone(), Vec::new());
    let damaged = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    let mut others = self::lookup(1);
    others.random = Random::new(Seed::new([8; 32]));
    let (_, other_query) = first(&mut others);
    let cases = [
        ("another id", answer(&other_query, zone(), Vec::new())),
        ("a question", damaged(2, good[2] & 0x7f)),
        ("a notification", damaged(2, good[2] | 0x20)),
        ("two questions", damaged(5, 2)),
        ("no question", damaged(5, 0)),
        ("another name", damaged(14, b'x')),
        ("another type", damaged(query.len() - 3, 33)),
        ("another class", damaged(query.len() - 1, 3)),
        ("nothing", Vec::new()),
        ("half of it", query[..query.len() - 1].to_vec()),
        ("itself", query.clone()),
    ];
    let mut out = Vec::new();
    for (what, bytes) in cases {
        lookup.answer(Mono(1), id, &bytes, &mut out);
        assert!(out.is_empty() && lookup.beacons().is_empty(), "{what}");
    }
    lookup.answer(Mono(1), ExchangeId(99), &good, &mut out);
    assert!(out.is_empty(), "nobody is there any more");
    lookup.answer(Mono(1), id, &good, &mut out);
    assert_eq!(lookup.beacons().len(), 1, "the question was open all the while");
}

#[test]
fn nothing_unasked_counts_and_no_other_name_is_followed() {
    let mut lookup = lookup(1);
    let (id, query) = first(&mut lookup);
    let studio = format!("studio.{KIND}");
    let answers = vec![
        ptr("_other._tcp.openclaw.internal", &format!("other.{KIND}")),
        ptr(KIND, "elsewhere._openclaw-gw._tcp.evil.example"),
        ptr(KIND, &format!("two.labels.{KIND}")),
        ptr(KIND, KIND),
        record(KIND, RData::CNAME(CNAME(named("_openclaw-gw._tcp.evil.example")))),
        ptr(KIND, &studio),
        ptr(KIND, &studio),
    ];
    let more = vec![srv(&studio, 0, 1, "evil.example"), record("evil.example", RData::A(A { address: 1 }))];
    let mut out = Vec::new();
    lookup.answer(Mono(1), id, &answer(&query, answers, more), &mut out);
    let beacons = lookup.beacons();
    assert_eq!((beacons.len(), beacons[0].instance.as_str(), &beacons[0].place), (1, "studio", &None));
    for ask in std::mem::take(&mut out) {
        let Ask::Send { exchange, bytes, .. } = ask else { continue };
        let answers = vec![
            record(&studio, RData::CNAME(CNAME(named("evil.example")))),
            srv("evil.example", 0, 7, "evil.example"),
            srv(&studio, 1, 8, "second.openclaw.internal"),
            srv(&studio, 0, 0, "no-port.openclaw.internal"),
            ResourceRecord::new(
                named(&studio),
                CLASS::IN,
                60,
                RData::SRV(SRV { priority: 0, weight: 0, port: 9, target: Name::new_with_labels(&[]) }),
            ),
        ];
        lookup.answer(Mono(1), exchange, &answer(&bytes, answers, zone()), &mut Vec::new());
    }
    let beacons = lookup.beacons();
    assert_eq!(beacons[0].place, Some(("second.openclaw.internal".to_owned(), 8)));
    assert!(beacons[0].texts.is_empty(), "{beacons:?}");
}

#[test]
fn a_domain_full_of_names_is_no_burden() {
    let mut lookup = lookup(1);
    let names = (0..200).map(|n| ptr(KIND, &format!("g{n}.{KIND}"))).collect::<Vec<_>>();
    assert_eq!(run(&mut lookup, &names), LOOKUPS_AT_ONCE);
    assert_eq!(lookup.beacons().len(), BEACONS_MAX);
    // More records than may be in one message are not even read.
    let mut lookup = self::lookup(1);
    let (id, query) = first(&mut lookup);
    let mut many = answer(&query, names, Vec::new());
    many[6..8].copy_from_slice(&[0xff, 0xff]);
    lookup.answer(Mono(1), id, &many, &mut Vec::new());
    assert_eq!(lookup.silence(), Some(Silence::Unreadable));
}

#[test]
fn what_is_no_domain_is_not_asked_for() {
    let seed = || Seed::new([1; 32]);
    assert!(Lookup::new("openclaw.internal.", 1, seed()).is_some());
    let long = ["a"; 120].join(".");
    let label = "a".repeat(64);
    for domain in ["", ".", "a..b", &long, &label] {
        assert!(Lookup::new(domain, 1, seed()).is_none(), "{domain}");
    }
    assert!(Lookup::new(DOMAIN, 0, seed()).is_none());
}

/// Whose records may come, and where they may lead.
const POOL: [&str; 5] = [
    KIND,
    "a._openclaw-gw._tcp.openclaw.internal",
    "b._openclaw-gw._tcp.openclaw.internal",
    "a.b._openclaw-gw._tcp.openclaw.internal",
    "a._openclaw-gw._tcp.evil.example",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, by whoever guessed as much of the question as they like: nothing breaks.
    #[test]
    fn any_message_is_survived(
        known in 0_usize..80,
        junk in prop::collection::vec(any::<u8>(), 0..300),
        damage in prop::collection::vec((any::<u16>(), any::<u8>()), 0..8),
    ) {
        let mut lookup = lookup(2);
        let (id, query) = first(&mut lookup);
        let good = answer(&query, zone(), zone());
        let mut bytes = good[..known.min(good.len())].to_vec();
        bytes.extend(&junk);
        for (at, value) in damage {
            let at = usize::from(at) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let mut out = Vec::new();
        lookup.answer(Mono(1), id, &bytes, &mut out);
        let is_to_it = bytes.len() > query.len() && bytes[..2] == query[..2];
        prop_assert!(is_to_it || (out.is_empty() && lookup.beacons().is_empty()));
        for beacon in lookup.beacons() {
            prop_assert!(beacon.place.is_none() && beacon.texts.is_empty(), "nobody was asked for that");
        }
        // Whatever is asked next is asked below the domain.
        for ask in &out {
            if let Ask::Send { bytes, .. } = ask {
                let packet = Packet::parse(bytes).unwrap();
                let labels = packet.questions[0].qname.get_labels();
                prop_assert!(labels.len() >= 4 && is_same(&labels[labels.len() - 4..], named(KIND).get_labels()));
            }
        }
    }

    /// Of any records only those count that were asked for.
    #[test]
    fn only_what_was_asked_for_counts(
        records in prop::collection::vec((0..POOL.len(), 0..3_u8, 0..POOL.len()), 0..20),
    ) {
        let mut lookup = lookup(1);
        let (id, query) = first(&mut lookup);
        let made = records.iter().map(|(owner, kind, target)| match kind {
            0 => ptr(POOL[*owner], POOL[*target]),
            1 => srv(POOL[*owner], 0, 1, POOL[*target]),
            _ => record(POOL[*owner], RData::CNAME(CNAME(named(POOL[*target])))),
        });
        lookup.answer(Mono(1), id, &answer(&query, made.collect(), Vec::new()), &mut Vec::new());
        let mut want: Vec<&str> = records
            .iter()
            .filter(|(owner, kind, target)| *owner == 0 && *kind == 0 && (1..3).contains(target))
            .map(|(_, _, target)| &POOL[*target][..1])
            .collect();
        want.sort_unstable();
        want.dedup();
        let found: Vec<String> = lookup.beacons().into_iter().map(|beacon| beacon.instance).collect();
        prop_assert_eq!(found, want);
    }
}
