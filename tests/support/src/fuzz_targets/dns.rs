//! The target `dns`: whatever comes out of a network, to who announces, to who looks around, and to who asks a domain.

use super::source::Source;
use clawgate_proto::Mono;
use clawgate_proto::mdns::limits::{
    BEACONS_MAX, DATAGRAM_BYTES_MAX, LABEL_BYTES_MAX, LOOKUP_ATTEMPTS_MAX, LOOKUP_SERVERS_MAX,
    LOOKUPS_AT_ONCE, PACKETS_PER_MINUTE_MAX, PACKETS_PER_SECOND_MAX, QUERIES_MAX, TEXTS_MAX,
};
use clawgate_proto::mdns::{
    Ask, Beacon, Browser, Detail, ExchangeId, Fact, Family, Link, LinkId, Lookup, Order, PortId, Responder,
    Service, Subnet,
};
use clawgate_proto::seed::Seed;
use std::net::SocketAddr;

const PORT: PortId = PortId { link: LinkId(1), family: Family::V4 };
/// Things that happen in one input.
const STEPS_MAX: usize = 64;
/// How much time passes between two of them, in milliseconds.
const PAUSES_MS: [u64; 8] = [0, 1, 20, 130, 450, 1_000, 5_000, 60_000];
/// Ticks until whatever was begun is over, at most.
const TICKS_MAX: usize = 10_000;

/// The target `dns`. The first byte says who hears; then come steps: a byte for the time that passes, one for what happens,
/// and what comes.
pub fn dns(data: &[u8]) {
    let mut source = Source(data);
    match source.below(3) {
        0 => responder(source),
        1 => browser(source),
        _ => lookup(source),
    }
}

/// One who is driven: what they say, and when.
struct Heard {
    ms: u64,
    said: Vec<(u64, Vec<u8>)>,
}

impl Heard {
    fn now(&self) -> Mono {
        Mono(self.ms * 1_000)
    }

    fn note(&mut self, orders: Vec<Order>) -> bool {
        let mut is_over = false;
        for order in orders {
            match order {
                Order::Send { port, bytes, .. } => {
                    assert_eq!(port, PORT, "that is the only socket");
                    assert!(bytes.len() <= DATAGRAM_BYTES_MAX && bytes.len() > HEADER_BYTES);
                    self.said.push((self.ms, bytes));
                }
                Order::Stopped => is_over = true,
                Order::Look | Order::Open(..) | Order::Close(_) | Order::Log(_) => {}
            }
        }
        is_over
    }

    /// A datagram: anything, or something that was said with a few bytes changed.
    fn datagram(&self, source: &mut Source<'_>) -> Vec<u8> {
        if source.flip() || self.said.is_empty() {
            let most = usize::from(source.word()) % (DATAGRAM_BYTES_MAX + 2);
            return source.take(most).to_vec();
        }
        let at = usize::from(source.byte()) % self.said.len();
        changed(self.said.get(at).map(|(_, bytes)| &bytes[..]).unwrap_or_default(), source)
    }

    /// Nothing that a network says makes anybody say more than this.
    fn check_rate(&self) {
        for (span_ms, most) in [(1_000, PACKETS_PER_SECOND_MAX), (60_000, PACKETS_PER_MINUTE_MAX)] {
            for (n, (at, _)) in self.said.iter().enumerate() {
                let within = self.said.iter().skip(n).take_while(|(later, _)| later - at < span_ms).count();
                assert!(within <= most, "{within} datagrams within {span_ms} ms");
            }
        }
    }
}

/// Up to eight bytes of it are others, and perhaps its end is missing.
fn changed(bytes: &[u8], source: &mut Source<'_>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..source.below(9) {
        let (at, value) = (usize::from(source.word()), source.byte());
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
    }
    if source.flip() {
        bytes.truncate(usize::from(source.word()));
    }
    bytes
}

fn links() -> Vec<Link> {
    let address = [10, 0, 0, 1].into();
    let subnets = vec![Subnet { address, prefix: 24 }];
    vec![Link { id: LinkId(1), name: "eth0".to_owned(), subnets, addresses: vec![address] }]
}

/// From this network, from another one, or from this machine.
fn peer(source: &mut Source<'_>) -> SocketAddr {
    let host = source.pick(&[[10, 0, 0, 2], [10, 0, 0, 3], [192, 0, 2, 1], [10, 0, 0, 1]]);
    (host, source.pick(&[5_353, 5_353, 40_000])).into()
}

fn responder(mut source: Source<'_>) {
    let service = Service {
        display_name: "studio".to_owned(),
        host: "openclaw".to_owned(),
        port: 18_789,
        suffix: "a1b2c3".to_owned(),
        tls: None,
        canvas_port: Some(18_789),
        tailnet_dns: None,
        detail: Detail::Minimal,
    };
    let mut responder = Responder::new(service, Seed::new([7; 32]), Mono(0));
    let mut heard = Heard { ms: 0, said: Vec::new() };
    let mut out = Vec::new();
    responder.handle(heard.now(), Fact::Links(links()), &mut out);
    for _ in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        let end = heard.ms + source.pick(&PAUSES_MS);
        let mut ticks = 0;
        while let Some(at) = responder.next_deadline().filter(|at| at.0 <= end * 1_000) {
            heard.ms = heard.ms.max(at.0.div_ceil(1_000));
            responder.handle(heard.now(), Fact::Tick, &mut out);
            assert!(!heard.note(std::mem::take(&mut out)), "nobody said stop");
            ticks += 1;
            assert!(ticks < TICKS_MAX, "a tick at its deadline moves it");
        }
        heard.ms = heard.ms.max(end);
        let (from, bytes) = (peer(&mut source), heard.datagram(&mut source));
        responder.handle(heard.now(), Fact::Datagram { port: PORT, source: from, bytes: &bytes }, &mut out);
        assert!(!heard.note(std::mem::take(&mut out)), "nobody said stop");
        let (instance, host) = responder.names();
        for label in [instance, host] {
            assert!((1..=LABEL_BYTES_MAX).contains(&label.len()), "{label:?}");
        }
    }
    responder.handle(heard.now(), Fact::Stop, &mut out);
    let mut is_over = heard.note(std::mem::take(&mut out));
    for _ in 0..TICKS_MAX {
        let Some(at) = responder.next_deadline().filter(|_| !is_over) else { break };
        heard.ms = heard.ms.max(at.0.div_ceil(1_000));
        responder.handle(heard.now(), Fact::Tick, &mut out);
        is_over = heard.note(std::mem::take(&mut out));
    }
    assert!(is_over, "whoever is told to stop does");
    heard.check_rate();
}

fn browser(mut source: Source<'_>) {
    let mut browser = Browser::new(Seed::new([7; 32]), Mono(0));
    let mut heard = Heard { ms: 0, said: Vec::new() };
    let mut out = Vec::new();
    browser.handle(heard.now(), Fact::Links(links()), &mut out);
    for _ in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        heard.ms += source.pick(&PAUSES_MS);
        browser.handle(heard.now(), Fact::Tick, &mut out);
        let (from, bytes) = (peer(&mut source), heard.datagram(&mut source));
        browser.handle(heard.now(), Fact::Datagram { port: PORT, source: from, bytes: &bytes }, &mut out);
        heard.note(std::mem::take(&mut out));
        check_beacons(&browser.beacons());
    }
    assert!(heard.said.len() <= QUERIES_MAX as usize, "who looks around is not loud");
    heard.check_rate();
    browser.handle(heard.now(), Fact::Stop, &mut out);
    assert!(heard.note(out), "whoever is told to stop does");
}

fn lookup(mut source: Source<'_>) {
    let servers = usize::from(source.below(5));
    let made = Lookup::new("openclaw.internal", servers, Seed::new([7; 32]));
    let Some(mut lookup) = made else { return assert_eq!(servers, 0) };
    let mut open: Vec<(ExchangeId, Vec<u8>)> = Vec::new();
    let (mut now, mut asked) = (Mono(0), 0);
    let mut out = Vec::new();
    lookup.tick(now, &mut out);
    for _ in 0..TICKS_MAX {
        for ask in out.drain(..) {
            match ask {
                Ask::Send { exchange, server, bytes, .. } => {
                    assert!(server < servers.min(LOOKUP_SERVERS_MAX) && bytes.len() > HEADER_BYTES);
                    open.push((exchange, bytes));
                    asked += 1;
                }
                Ask::Close(exchange) => {
                    let before = open.len();
                    open.retain(|(id, _)| *id != exchange);
                    assert_eq!(open.len() + 1, before, "only what is open is closed");
                }
            }
        }
        assert!(open.len() <= LOOKUPS_AT_ONCE && asked <= QUESTIONS_MAX * LOOKUP_ATTEMPTS_MAX as usize);
        check_beacons(&lookup.beacons());
        let Some(deadline) = lookup.next_deadline() else { break };
        let at = usize::from(source.byte()) % open.len().max(1);
        let Some((id, query)) = open.get(at).cloned() else { unreachable!("what is waited for is open") };
        match source.below(4) {
            0 => {
                now = now.max(deadline);
                lookup.tick(now, &mut out);
            }
            1 => lookup.failed(now, id, &mut out),
            // What belongs to the question: its number and what was asked, as an answer.
            2 => {
                let mut bytes = query;
                let counts = [source.byte(), source.byte(), source.byte()];
                for (at, count) in [7, 9, 11].into_iter().zip(counts) {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = count;
                    }
                }
                if let Some(flags) = bytes.get_mut(2) {
                    *flags |= 0x80;
                }
                let most = usize::from(source.word()) % 8_192;
                bytes.extend_from_slice(source.take(most));
                lookup.answer(now, id, &bytes, &mut out);
            }
            _ => {
                let bytes = changed(&query, &mut source);
                lookup.answer(now, id, &bytes, &mut out);
            }
        }
        if source.is_empty() {
            now = now.max(deadline);
            lookup.tick(now, &mut out);
        }
    }
    assert!(lookup.is_done() && lookup.next_deadline().is_none(), "every question has an end");
}

fn check_beacons(beacons: &[Beacon]) {
    assert!(beacons.len() <= BEACONS_MAX);
    for beacon in beacons {
        assert!(!beacon.instance.is_empty() && beacon.texts.len() <= TEXTS_MAX, "{beacon:?}");
    }
}

/// A message begins with it (RFC 1035 section 4.1.1).
const HEADER_BYTES: usize = 12;
/// Which gateways there are, and of each where it is and what it says.
const QUESTIONS_MAX: usize = 1 + 2 * BEACONS_MAX;
