//! Datagrams: which of them are read at all, and how ours are written.

use super::limits::{DATAGRAM_BYTES_MAX, LEGACY_TTL_S, QUESTIONS_MAX, RECORDS_MAX};
use simple_dns::{Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord};

/// How many questions and records a message says that it has; `None` when it is none, or has more than may be: then it is
/// not read.
pub(super) fn counts(bytes: &[u8]) -> Option<(usize, usize)> {
    let count = |at: usize| Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    let (questions, records) = (count(4)?, count(6)? + count(8)? + count(10)?);
    let may_be = bytes.len() <= DATAGRAM_BYTES_MAX && questions <= QUESTIONS_MAX && records <= RECORDS_MAX;
    may_be.then_some((questions, records))
}

/// A message, if it is one that this side understands. The numbers in its head are looked at first: memory is reserved by
/// them.
pub(super) fn read(bytes: &[u8]) -> Option<Packet<'_>> {
    counts(bytes)?;
    let packet = Packet::parse(bytes).ok()?;
    // RFC 6762 sections 18.3 and 18.11: anything else is ignored in silence.
    (packet.opcode() == OPCODE::StandardQuery && packet.rcode() == RCODE::NoError).then_some(packet)
}

/// An answer (RFC 6762 section 18): no id, no question.
pub(super) fn response(
    answers: Vec<ResourceRecord<'static>>,
    additional: Vec<ResourceRecord<'static>>,
) -> Vec<u8> {
    let mut packet = Packet::new_reply(0);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    packet.answers = answers;
    packet.additional_records = additional;
    bytes(&packet)
}

/// An answer for who does not speak multicast DNS (RFC 6762 section 6.7): with the question and its id, for a short time,
/// and without the bit that such a one would take for a class.
pub(super) fn legacy(
    id: u16,
    questions: Vec<Question<'_>>,
    answers: Vec<ResourceRecord<'static>>,
    additional: Vec<ResourceRecord<'static>>,
) -> Vec<u8> {
    let plain = |mut record: ResourceRecord<'static>| {
        record.ttl = record.ttl.min(LEGACY_TTL_S);
        record.with_cache_flush(false)
    };
    let mut packet = Packet::new_reply(id);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    packet.questions = questions;
    packet.answers = answers.into_iter().map(plain).collect();
    packet.additional_records = additional.into_iter().map(plain).collect();
    bytes(&packet)
}

/// Whether anybody has these names, which are to have these records (RFC 6762 section 8.1).
pub(super) fn probe(names: [&Name<'static>; 2], proposed: Vec<ResourceRecord<'static>>) -> Vec<u8> {
    let mut packet = Packet::new_query(0);
    let ask = |name: &Name<'static>| {
        Question::new(name.clone(), QTYPE::ANY, QCLASS::CLASS(simple_dns::CLASS::IN), true)
    };
    packet.questions = names.into_iter().map(ask).collect();
    packet.name_servers = proposed.into_iter().map(|record| record.with_cache_flush(false)).collect();
    bytes(&packet)
}

/// A question, and what is known already.
pub(super) fn query(questions: Vec<Question<'static>>, known: Vec<ResourceRecord<'static>>) -> Vec<u8> {
    let mut packet = Packet::new_query(0);
    packet.questions = questions;
    packet.answers = known;
    bytes(&packet)
}

/// These records are gone (RFC 6762 section 10.1).
pub(super) fn goodbye(records: Vec<ResourceRecord<'static>>) -> Vec<u8> {
    let gone = |mut record: ResourceRecord<'static>| {
        record.ttl = 0;
        record
    };
    response(records.into_iter().map(gone).collect(), Vec::new())
}

/// The content of a record as it is compared (RFC 6762 section 8.2): without compression. Written as a message of nothing
/// but this record, whose head of 12 bytes, owner and fixed fields come before.
pub(super) fn content(record: &ResourceRecord<'_>) -> Vec<u8> {
    let mut packet = Packet::new_reply(0);
    let root = Name::new_with_labels(&[]);
    packet.answers = vec![ResourceRecord::new(root, record.class, 0, record.rdata.clone())];
    let bytes = packet.build_bytes_vec().unwrap_or_default();
    bytes.get(12 + 1 + 10..).unwrap_or_default().to_vec()
}

/// What cannot be written is no message: only a label or a text that is too long could be the reason, and ours are not.
fn bytes(packet: &Packet<'_>) -> Vec<u8> {
    packet.build_bytes_vec_compressed().unwrap_or_default()
}
