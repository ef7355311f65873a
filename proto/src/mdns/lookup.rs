//! The same question to ordinary DNS (RFC 6763 over RFC 1035): which gateways has a domain? One question for their names,
//! then two for each. An answer counts when it is to the question that was asked, as it was asked, with its id; of it
//! counts what was asked for and nothing that comes along, and no other name is followed (CNAME). Everything is bounded.

use super::SERVICE_TYPE;
use super::browser::{Beacon, texts_of};
use super::limits::{
    BEACONS_MAX, LABEL_BYTES_MAX, LOOKUP_ATTEMPTS_MAX, LOOKUP_BYTES_MAX, LOOKUP_SERVERS_MAX, LOOKUP_WAIT_MS,
    LOOKUPS_AT_ONCE, RECORDS_MAX,
};
use super::records::name;
use crate::seed::{Random, Seed};
use crate::time::Mono;
use simple_dns::rdata::{PTR, RData};
use simple_dns::{
    CLASS, Label, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
};
use std::collections::{BTreeMap, VecDeque};

/// Looks for gateways in a domain. Facts go in, [`Ask`] comes out; whoever carries it out opens a new socket for each.
#[derive(Debug)]
pub struct Lookup {
    random: Random,
    servers: usize,
    kind: Name<'static>,
    waiting: VecDeque<Wanted>,
    open: BTreeMap<ExchangeId, Exchange>,
    asked: u32,
    /// By the label of the instance, in lower case.
    instances: BTreeMap<Vec<u8>, Instance>,
    silence: Option<Silence>,
}

/// One question to one server. No two have the same in one lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExchangeId(u32);

/// How a question travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram, from a port that nobody can foresee.
    Udp,
    /// With its length in two bytes before it (RFC 1035 section 4.2.2): the answer did not fit into a datagram.
    Tcp,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Open a socket that hears this server only, and send.
    Send {
        /// Of this question.
        exchange: ExchangeId,
        /// Which of the servers, from 0.
        server: usize,
        /// How.
        over: Transport,
        /// The question.
        bytes: Vec<u8>,
    },
    /// Close its socket: nothing is waited for there any more.
    Close(ExchangeId),
}

/// Why nothing is known of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nobody answered.
    NoAnswer,
    /// No server would say; the latest code (RFC 1035 section 4.1.1).
    Refused(u8),
    /// What came was no message that can be read.
    Unreadable,
}

#[derive(Clone, Debug)]
struct Wanted {
    what: What,
    attempts: u32,
    over: Transport,
    why: Silence,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// Which there are.
    Names,
    /// Where this one is.
    Place(Vec<u8>),
    /// What it says of itself.
    Texts(Vec<u8>),
}

#[derive(Debug)]
struct Exchange {
    wanted: Wanted,
    query: Vec<u8>,
    until: Mono,
}

#[derive(Debug, Default)]
struct Instance {
    label: Vec<u8>,
    place: Option<(String, u16)>,
    texts: BTreeMap<String, String>,
}

/// What a message is to a question.
enum Reply<'a> {
    /// None at all: somebody else's, or nobody's.
    NotOurs,
    Truncated,
    No(Silence),
    Records(Vec<ResourceRecord<'a>>),
}

impl Lookup {
    /// One that has asked nobody yet; with or without a dot behind the domain. `None` when it cannot be asked for: there is
    /// no server, or it is no name.
    pub fn new(domain: &str, servers: usize, seed: Seed) -> Option<Self> {
        let [kind, transport, _] = SERVICE_TYPE;
        let labels: Vec<&str> =
            [kind, transport].into_iter().chain(domain.trim_end_matches('.').split('.')).collect();
        let kind = name(&labels);
        let bytes: usize = labels.iter().map(|label| label.len() + 1).sum();
        let is_name = labels.iter().all(|label| (1..=LABEL_BYTES_MAX).contains(&label.len()))
            && bytes <= KIND_BYTES_MAX;
        if servers == 0 || !is_name {
            return None;
        }
        let first = Wanted::new(What::Names);
        Some(Self {
            random: Random::new(seed),
            servers: servers.min(LOOKUP_SERVERS_MAX),
            kind,
            waiting: VecDeque::from([first]),
            open: BTreeMap::new(),
            asked: 0,
            instances: BTreeMap::new(),
            silence: None,
        })
    }

    /// Time has passed. To be called first, and at [`Lookup::next_deadline`].
    pub fn tick(&mut self, now: Mono, out: &mut Vec<Ask>) {
        let late: Vec<ExchangeId> =
            self.open.iter().filter(|(_, open)| open.until <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.again(id, Silence::NoAnswer, out);
        }
        self.ask(now, out);
    }

    /// A message came, from the server of this exchange.
    pub fn answer(&mut self, now: Mono, id: ExchangeId, bytes: &[u8], out: &mut Vec<Ask>) {
        let Some(open) = self.open.get(&id) else { return };
        match read(bytes, &open.query, open.wanted.over) {
            Reply::NotOurs => return,
            Reply::Truncated => {
                let Some(open) = self.close(id, out) else { return };
                // The server is there, and this is no failure.
                self.waiting.push_front(Wanted { over: Transport::Tcp, ..open.wanted });
            }
            Reply::No(why) => self.again(id, why, out),
            Reply::Records(records) => {
                let Some(open) = self.close(id, out) else { return };
                self.take(&open.wanted.what, &records);
            }
        }
        self.ask(now, out);
    }

    /// The server of this exchange cannot be asked, or said no more.
    pub fn failed(&mut self, now: Mono, id: ExchangeId, out: &mut Vec<Ask>) {
        self.again(id, Silence::NoAnswer, out);
        self.ask(now, out);
    }

    /// Earliest moment at which [`Lookup::tick`] would change anything; none when all is known.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.open.values().map(|open| open.until).min()
    }

    /// Whether nothing is to be asked any more.
    pub fn is_done(&self) -> bool {
        self.open.is_empty() && self.waiting.is_empty()
    }

    /// Why it is not even known which gateways there are.
    pub fn silence(&self) -> Option<Silence> {
        let is_open = self.waiting.iter().chain(self.open.values().map(|open| &open.wanted));
        let unanswered = is_open.filter(|wanted| wanted.what == What::Names).map(|wanted| wanted.why).next();
        self.silence.or(unanswered)
    }

    /// Who was found until now, in the order of names. Their addresses are not asked for: the names of their hosts are of the
    /// same DNS.
    pub fn beacons(&self) -> Vec<Beacon> {
        let beacon = |instance: &Instance| Beacon {
            instance: String::from_utf8_lossy(&instance.label).into_owned(),
            place: instance.place.clone(),
            addresses: Vec::new(),
            texts: instance.texts.clone(),
        };
        self.instances.values().map(beacon).collect()
    }

    /// Asks as many at once as may be.
    fn ask(&mut self, now: Mono, out: &mut Vec<Ask>) {
        while self.open.len() < LOOKUPS_AT_ONCE
            && let Some(wanted) = self.waiting.pop_front()
        {
            let query = self.query(&wanted.what);
            if query.is_empty() {
                continue;
            }
            self.asked += 1;
            let exchange = ExchangeId(self.asked);
            let attempt = usize::try_from(wanted.attempts).unwrap_or(usize::MAX);
            let (round, server) = (attempt / self.servers, attempt % self.servers);
            out.push(Ask::Send { exchange, server, over: wanted.over, bytes: query.clone() });
            let until = now.plus_millis(LOOKUP_WAIT_MS << round.min(4));
            self.open.insert(exchange, Exchange { wanted, query, until });
        }
    }

    fn query(&mut self, what: &What) -> Vec<u8> {
        let of = |label: &Vec<u8>| {
            let mut labels = vec![Label::new_unchecked(label.clone())];
            labels.extend(self.kind.get_labels().iter().cloned());
            Name::new_with_labels(&labels)
        };
        let (name, kind) = match what {
            What::Names => (self.kind.clone(), TYPE::PTR),
            What::Place(label) => (of(label), TYPE::SRV),
            What::Texts(label) => (of(label), TYPE::TXT),
        };
        let mut packet = Packet::new_query(u16::from_be_bytes(self.random.bytes()));
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions = vec![Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false)];
        packet.build_bytes_vec().unwrap_or_default()
    }

    fn close(&mut self, id: ExchangeId, out: &mut Vec<Ask>) -> Option<Exchange> {
        let open = self.open.remove(&id)?;
        out.push(Ask::Close(id));
        Some(open)
    }

    /// The next server, while there are attempts left.
    fn again(&mut self, id: ExchangeId, why: Silence, out: &mut Vec<Ask>) {
        let Some(Exchange { wanted, .. }) = self.close(id, out) else { return };
        let attempts = wanted.attempts + 1;
        if attempts < LOOKUP_ATTEMPTS_MAX {
            self.waiting.push_front(Wanted { attempts, why, over: Transport::Udp, ..wanted });
        } else if wanted.what == What::Names {
            self.silence = Some(why);
        }
    }

    fn take(&mut self, what: &What, records: &[ResourceRecord<'_>]) {
        match what {
            What::Names => {
                for record in records {
                    let RData::PTR(PTR(target)) = &record.rdata else { continue };
                    let Some(label) = label_below(target, &self.kind) else { continue };
                    let key = label.to_ascii_lowercase();
                    if self.instances.contains_key(&key) || self.instances.len() >= BEACONS_MAX {
                        continue;
                    }
                    self.waiting.push_back(Wanted::new(What::Place(label.to_vec())));
                    self.waiting.push_back(Wanted::new(What::Texts(label.to_vec())));
                    self.instances.insert(key, Instance { label: label.to_vec(), ..Instance::default() });
                }
            }
            What::Place(label) => {
                let Some(instance) = self.instances.get_mut(&label.to_ascii_lowercase()) else { return };
                let places = records
                    .iter()
                    .filter_map(|record| if let RData::SRV(srv) = &record.rdata { Some(srv) } else { None });
                // RFC 2782: the root as target says that there is no such service.
                let places = places.filter(|srv| srv.port > 0 && !srv.target.get_labels().is_empty());
                let first = places.min_by_key(|srv| srv.priority);
                instance.place = first.map(|srv| (srv.target.to_string(), srv.port));
            }
            What::Texts(label) => {
                let Some(instance) = self.instances.get_mut(&label.to_ascii_lowercase()) else { return };
                let texts = records.iter().find_map(|record| {
                    if let RData::TXT(txt) = &record.rdata { Some(texts_of(txt)) } else { None }
                });
                instance.texts = texts.unwrap_or_default();
            }
        }
    }
}

impl Wanted {
    fn new(what: What) -> Self {
        Self { what, attempts: 0, over: Transport::Udp, why: Silence::NoAnswer }
    }
}

/// Judges a message by the question that it should answer. Its head and its question are looked at first, as they are: what
/// is not to the question is not even read.
fn read<'a>(bytes: &'a [u8], query: &[u8], over: Transport) -> Reply<'a> {
    let is_to_it = bytes.len() >= query.len()
        && bytes.len() <= LOOKUP_BYTES_MAX
        && bytes[..2] == query[..2]
        // QR, and the kind of question: a response to an ordinary one.
        && bytes[2] & 0xf8 == 0x80
        && bytes[4..6] == [0, 1]
        // No byte of a length is a letter, nor is one of type and class.
        && bytes[HEAD_BYTES..query.len()].eq_ignore_ascii_case(&query[HEAD_BYTES..]);
    if !is_to_it {
        return Reply::NotOurs;
    }
    if bytes[2] & 0x02 != 0 && over == Transport::Udp {
        return Reply::Truncated;
    }
    let code = bytes[3] & 0x0f;
    if code == RCODE_NO_SUCH_NAME {
        return Reply::Records(Vec::new());
    }
    if code != 0 {
        return Reply::No(Silence::Refused(code));
    }
    let count = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    if count(6) + count(8) + count(10) > RECORDS_MAX {
        return Reply::No(Silence::Unreadable);
    }
    let Ok(packet) = Packet::parse(bytes) else { return Reply::No(Silence::Unreadable) };
    if packet.rcode() != RCODE::NoError {
        return Reply::No(Silence::Refused(code));
    }
    let Some(question) = packet.questions.first() else { return Reply::NotOurs };
    let (asked, kind) = (question.qname.clone(), question.qtype);
    let is_asked = |record: &ResourceRecord<'_>| {
        record.class == CLASS::IN
            && QTYPE::TYPE(record.rdata.type_code()) == kind
            && is_same(record.name.get_labels(), asked.get_labels())
    };
    Reply::Records(packet.answers.into_iter().filter(is_asked).collect())
}

/// The one label that a name has more than another.
fn label_below<'a>(name: &'a Name<'_>, kind: &Name<'_>) -> Option<&'a [u8]> {
    let (label, rest) = name.get_labels().split_first()?;
    is_same(rest, kind.get_labels()).then(|| label.as_ref())
}

/// Names differ by more than the case of letters.
fn is_same(one: &[Label<'_>], other: &[Label<'_>]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one.as_ref().eq_ignore_ascii_case(other.as_ref()))
}

const HEAD_BYTES: usize = 12;
/// RFC 1035 section 4.1.1: NXDOMAIN.
const RCODE_NO_SUCH_NAME: u8 = 3;
/// A name is 255 bytes at most, and one with the longest label below it must be one, too.
const KIND_BYTES_MAX: usize = 255 - 1 - (LABEL_BYTES_MAX + 1);

#[cfg(test)]
mod tests;
