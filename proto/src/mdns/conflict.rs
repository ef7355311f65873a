//! Whether somebody else claims a name of ours: pure comparisons (RFC 6762 sections 8 and 9).

use super::link::Link;
use super::message::content;
use super::records::{Claim, Set, Zone};
use core::cmp::Ordering;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Packet, ResourceRecord, TYPE};
use std::collections::BTreeSet;

/// The names of ours under which a message has something else than we have. `own` are this machine's addresses on all
/// links: the same host may be heard on two of them. What was said `before` a change was said here.
pub(super) fn contradicted(
    zone: &Zone,
    before: Option<&Zone>,
    link: &Link,
    packet: &Packet<'_>,
    own: &BTreeSet<IpAddr>,
) -> BTreeSet<Claim> {
    let mut claims = BTreeSet::new();
    for record in packet.answers.iter().chain(&packet.additional_records) {
        // Who says that a record is gone claims nothing.
        if record.class != CLASS::IN || record.ttl == 0 {
            continue;
        }
        for claim in [Claim::Instance, Claim::Host] {
            let contradicts = record.name == *zone.name(claim)
                && is_claimed(claim, record)
                && zone.same_as(record, link).is_none()
                && before.is_none_or(|before| before.same_as(record, link).is_none())
                && address(record).is_none_or(|address| !own.contains(&address));
            if contradicts {
                claims.insert(claim);
            }
        }
    }
    claims
}

/// The names for which somebody else is probing at the same time, with records that go before ours (RFC 6762 section
/// 8.2): he may have them.
///
/// A machine that is on one network by several links hears itself: that is nobody else.
pub(super) fn lost_ties(
    zone: &Zone,
    link: &Link,
    packet: &Packet<'_>,
    own: &BTreeSet<IpAddr>,
) -> BTreeSet<Claim> {
    let loses = |claim: &Claim| {
        let name = zone.name(*claim);
        if !packet.questions.iter().any(|question| question.qname == *name) {
            return false;
        }
        let theirs: Vec<_> = packet.name_servers.iter().filter(|record| record.name == *name).collect();
        let is_own =
            |record: &&ResourceRecord<'_>| address(record).is_some_and(|address| own.contains(&address));
        if *claim == Claim::Host && theirs.iter().all(is_own) {
            return false;
        }
        let theirs = in_order(theirs.into_iter());
        let ours = zone.all(&Zone::claimed(*claim), link);
        !theirs.is_empty() && in_order(ours.iter()).cmp(&theirs) == Ordering::Less
    };
    [Claim::Instance, Claim::Host].into_iter().filter(loses).collect()
}

/// By class, type, and content as bytes.
fn in_order<'a>(records: impl Iterator<Item = &'a ResourceRecord<'a>>) -> Vec<(u16, u16, Vec<u8>)> {
    let key = |record: &ResourceRecord<'_>| {
        (u16::from(record.class), u16::from(record.rdata.type_code()), content(record))
    };
    let mut keys: Vec<_> = records.map(key).collect();
    keys.sort();
    keys
}

/// Whether nobody else may have a record of that type under that name.
fn is_claimed(claim: Claim, record: &ResourceRecord<'_>) -> bool {
    let kind = record.rdata.type_code();
    match claim {
        Claim::Instance => kind == TYPE::SRV || kind == TYPE::TXT,
        Claim::Host => kind == TYPE::A || kind == TYPE::AAAA,
    }
}

/// The address that a record gives.
pub(super) fn address(record: &ResourceRecord<'_>) -> Option<IpAddr> {
    if let RData::A(a) = &record.rdata {
        return Some(IpAddr::V4(Ipv4Addr::from(a.address)));
    }
    if let RData::AAAA(aaaa) = &record.rdata {
        return Some(IpAddr::V6(Ipv6Addr::from(aaaa.address)));
    }
    None
}

/// Records of ours that somebody else says, too: to be said again when he says that they are gone or almost (RFC 6762
/// section 6.6), and those that he said as well as we would.
pub(super) fn repeated(zone: &Zone, link: &Link, packet: &Packet<'_>) -> (BTreeSet<Set>, BTreeSet<Set>) {
    let (mut again, mut said) = (BTreeSet::new(), BTreeSet::new());
    for record in packet.answers.iter().chain(&packet.additional_records) {
        if let Some(set) = zone.same_as(record, link) {
            let is_short = u64::from(record.ttl) * 2 < u64::from(set.ttl_s());
            if is_short {
                again.insert(set)
            } else {
                said.insert(set)
            };
        }
    }
    // Addresses are a set of several: who repeats one of them has not said all.
    said.retain(|set| zone.records(*set, link).len() == 1);
    (again, said)
}
