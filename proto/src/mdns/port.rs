//! One family on one link: how far it has come in claiming its names, what it is about to say, and how often it may.

use super::budget::{Budget, Purpose};
use super::limits::{
    ANNOUNCEMENTS, DEFENCE_INTERVAL_MS, HELD_MAX, HELD_MAX_MS, HELD_MIN_MS, PROBE_INTERVAL_MS, PROBES,
    RECORD_INTERVAL_MS, SHARED_DELAY_MAX_MS, SHARED_DELAY_MIN_MS,
};
use super::link::Link;
use super::message;
use super::records::{Claim, Set, Zone, follow_ups};
use super::{Order, PORT, PortId};
use crate::seed::Random;
use crate::time::Mono;
use core::net::SocketAddr;
use simple_dns::{Packet, PacketFlag, Question, ResourceRecord};
use std::collections::{BTreeMap, BTreeSet};

/// What a port says under which names, for the time of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice<'a> {
    pub(super) id: PortId,
    pub(super) zone: &'a Zone,
    pub(super) link: &'a Link,
}

/// A socket's worth of state.
#[derive(Debug)]
pub(super) struct Port {
    phase: Phase,
    /// What is to be said to the group, and when.
    due: BTreeMap<Set, Mono>,
    /// What of it somebody wants for himself.
    defended: BTreeSet<Set>,
    /// What was said to the group, and when last.
    said: BTreeMap<Set, Mono>,
    held: Vec<Held>,
    budget: Budget,
    /// Something has been announced that may have to be taken back.
    pub(super) is_known: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// So many probes were sent; the next step is at that time.
    Probing { sent: u8, at: Mono },
    /// So many announcements were.
    Announcing { sent: u8, at: Mono },
    /// The names are ours.
    Settled,
}

/// A question that has more known answers than one datagram holds.
#[derive(Debug)]
struct Held {
    source: SocketAddr,
    at: Mono,
    wanted: BTreeSet<Set>,
}

impl Port {
    /// Begins to claim its names.
    pub(super) fn new(now: Mono, random: &mut Random) -> Self {
        Self {
            phase: first_probe(now, random),
            due: BTreeMap::new(),
            defended: BTreeSet::new(),
            said: BTreeMap::new(),
            held: Vec::new(),
            budget: Budget::default(),
            is_known: false,
        }
    }

    /// Claims its names anew, after a while.
    pub(super) fn probe_again(&mut self, now: Mono, wait_ms: u64, random: &mut Random) {
        self.phase = match wait_ms {
            0 => first_probe(now, random),
            _ => Phase::Probing { sent: 0, at: now.plus_millis(wait_ms) },
        };
        self.due.clear();
        self.defended.clear();
        self.held.clear();
    }

    /// What it says has changed.
    pub(super) fn announce_again(&mut self, now: Mono) {
        match self.phase {
            Phase::Probing { .. } => {}
            Phase::Announcing { .. } | Phase::Settled => self.phase = Phase::Announcing { sent: 0, at: now },
        }
    }

    /// Whether the names are not ours yet.
    pub(super) fn is_probing(&self) -> bool {
        matches!(self.phase, Phase::Probing { .. })
    }

    /// Whether all is said.
    pub(super) fn is_settled(&self) -> bool {
        self.phase == Phase::Settled
    }

    /// When it has something to do.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let step = match self.phase {
            Phase::Probing { at, .. } | Phase::Announcing { at, .. } => Some(at),
            Phase::Settled => None,
        };
        step.into_iter().chain(self.due.values().copied()).chain(self.held.iter().map(|held| held.at)).min()
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Mono, voice: Voice<'_>, out: &mut Vec<Order>) {
        self.step(now, voice, out);
        let mut wanted = BTreeSet::new();
        self.held.retain_mut(|held| {
            let is_due = held.at <= now;
            if is_due {
                wanted.append(&mut held.wanted);
            }
            !is_due
        });
        self.schedule(now, &wanted, 0, RECORD_INTERVAL_MS);
        let due: BTreeSet<Set> = self.due.iter().filter(|(_, at)| **at <= now).map(|(set, _)| *set).collect();
        if due.is_empty() {
            return;
        }
        self.due.retain(|set, _| !due.contains(set));
        let purpose = if self.defended.is_disjoint(&due) { Purpose::Answer } else { Purpose::Defence };
        self.defended.retain(|set| !due.contains(set));
        // Who asked will ask again.
        if self.answers() && self.budget.take(now, purpose) {
            let next = follow_ups(&due);
            let bytes =
                message::response(voice.zone.all(&due, voice.link), voice.zone.all(&next, voice.link));
            self.note(now, due.iter().chain(&next));
            send(voice, None, bytes, out);
        }
    }

    fn step(&mut self, now: Mono, voice: Voice<'_>, out: &mut Vec<Order>) {
        if let Phase::Probing { sent: PROBES, at } = self.phase
            && at <= now
        {
            self.phase = Phase::Announcing { sent: 0, at };
        }
        match self.phase {
            Phase::Probing { sent, at } if at <= now => {
                if !self.budget.take(now, Purpose::Own) {
                    self.phase = Phase::Probing { sent, at: now.plus_millis(RECORD_INTERVAL_MS) };
                    return;
                }
                let names = [voice.zone.name(Claim::Instance), voice.zone.name(Claim::Host)];
                let claimed = [Claim::Instance, Claim::Host].into_iter().flat_map(Zone::claimed);
                let claimed: Vec<Set> = claimed.collect();
                send(voice, None, message::probe(names, voice.zone.all(&claimed, voice.link)), out);
                self.phase = Phase::Probing { sent: sent + 1, at: now.plus_millis(PROBE_INTERVAL_MS) };
            }
            Phase::Announcing { sent, at } if at <= now => {
                if !self.budget.take(now, Purpose::Own) {
                    self.phase = Phase::Announcing { sent, at: now.plus_millis(RECORD_INTERVAL_MS) };
                    return;
                }
                let all = voice.zone.all(&Set::ANNOUNCED, voice.link);
                send(voice, None, message::response(all, Vec::new()), out);
                self.note(now, &Set::ANNOUNCED);
                self.is_known = true;
                let sent = sent + 1;
                let wait_ms = RECORD_INTERVAL_MS << (sent - 1).min(4);
                self.phase = if sent >= ANNOUNCEMENTS {
                    Phase::Settled
                } else {
                    Phase::Announcing { sent, at: now.plus_millis(wait_ms) }
                };
            }
            Phase::Probing { .. } | Phase::Announcing { .. } | Phase::Settled => {}
        }
    }

    /// Somebody asks.
    pub(super) fn query(
        &mut self,
        now: Mono,
        voice: Voice<'_>,
        source: SocketAddr,
        packet: &Packet<'_>,
        random: &mut Random,
        out: &mut Vec<Order>,
    ) {
        if !self.answers() {
            return;
        }
        let Voice { zone, link, .. } = voice;
        if source.port() != PORT {
            return self.answer_legacy(now, voice, source, packet, out);
        }
        for held in self.held.iter_mut().filter(|held| held.source == source) {
            held.wanted.retain(|set| !zone.is_known(*set, &packet.answers, link));
        }
        let is_probe = !packet.name_servers.is_empty();
        let (mut to_group, mut to_one) = (BTreeSet::new(), BTreeSet::new());
        for question in &packet.questions {
            let wanted = zone.wanted(question, link);
            let wanted = wanted.into_iter().filter(|set| !zone.is_known(*set, &packet.answers, link));
            for set in wanted {
                // RFC 6762 section 5.4: who would rather be told alone is, if the group was told not long ago. A name is
                // defended before everybody.
                if question.unicast_response && !is_probe && self.was_said_lately(now, set) {
                    to_one.insert(set);
                } else {
                    to_group.insert(set);
                }
            }
        }
        if packet.has_flags(PacketFlag::TRUNCATION) && self.held.len() < HELD_MAX {
            to_group.append(&mut to_one);
            if !to_group.is_empty() {
                let wait_ms = HELD_MIN_MS + random.below(HELD_MAX_MS - HELD_MIN_MS + 1);
                self.held.push(Held { source, at: now.plus_millis(wait_ms), wanted: to_group });
            }
            return;
        }
        if !to_one.is_empty() && self.budget.take(now, Purpose::Answer) {
            let next = follow_ups(&to_one);
            send(voice, Some(source), message::response(zone.all(&to_one, link), zone.all(&next, link)), out);
        }
        if is_probe {
            self.defended.extend(&to_group);
        }
        let is_shared = to_group.iter().any(|set| set.is_shared());
        let delay_ms = if is_shared && !is_probe { shared_delay_ms(random) } else { 0 };
        self.schedule(
            now,
            &to_group,
            delay_ms,
            if is_probe { DEFENCE_INTERVAL_MS } else { RECORD_INTERVAL_MS },
        );
    }

    /// Somebody else answers: what he said need not be said again, and what he takes back is not gone while we are here.
    pub(super) fn heard(
        &mut self,
        now: Mono,
        (again, said): (BTreeSet<Set>, BTreeSet<Set>),
        random: &mut Random,
    ) {
        if !self.answers() {
            return;
        }
        for set in &said {
            self.defended.remove(set);
            if self.due.remove(set).is_some() {
                self.said.insert(*set, now);
            }
        }
        self.schedule(now, &again, shared_delay_ms(random), RECORD_INTERVAL_MS);
    }

    /// Takes back what was announced, but for what belongs to a name that was lost. Once, and whatever the budget.
    pub(super) fn goodbye(&mut self, voice: Voice<'_>, lost: Option<Claim>, out: &mut Vec<Order>) {
        if !std::mem::take(&mut self.is_known) {
            return;
        }
        let is_ours = |set: &&Set| match lost {
            None => true,
            Some(Claim::Instance) => matches!(set, Set::V4 | Set::V6),
            Some(Claim::Host) => !matches!(set, Set::V4 | Set::V6),
        };
        let records = voice.zone.all(Set::TAKEN_BACK.iter().filter(is_ours), voice.link);
        if !records.is_empty() {
            send(voice, None, message::goodbye(records), out);
        }
    }

    fn answer_legacy(
        &mut self,
        now: Mono,
        voice: Voice<'_>,
        source: SocketAddr,
        packet: &Packet<'_>,
        out: &mut Vec<Order>,
    ) {
        let Voice { zone, link, .. } = voice;
        let mut wanted = BTreeSet::new();
        let mut questions: Vec<Question<'_>> = Vec::new();
        for question in &packet.questions {
            let mut sets = zone.wanted(question, link);
            if !sets.is_empty() {
                questions.push(Question { unicast_response: false, ..question.clone() });
                wanted.append(&mut sets);
            }
        }
        if wanted.is_empty() || !self.budget.take(now, Purpose::Answer) {
            return;
        }
        let (answers, next) = (zone.all(&wanted, link), follow_ups(&wanted));
        let additional: Vec<ResourceRecord<'static>> = zone.all(&next, link);
        send(voice, Some(source), message::legacy(packet.id(), questions, answers, additional), out);
    }

    /// Says these to the group after a delay, but not sooner than `interval_ms` after they were said last.
    fn schedule(&mut self, now: Mono, sets: &BTreeSet<Set>, delay_ms: u64, interval_ms: u64) {
        for set in sets {
            let soonest = self.said.get(set).map_or(Mono(0), |at| at.plus_millis(interval_ms));
            let at = now.plus_millis(delay_ms).max(soonest);
            let due = self.due.entry(*set).or_insert(at);
            *due = at.min(*due);
        }
    }

    fn was_said_lately(&self, now: Mono, set: Set) -> bool {
        self.said.get(&set).is_some_and(|at| now.millis_since(*at) < u64::from(set.ttl_s()) * 1_000 / 4)
    }

    /// Names that are not ours yet answer nothing.
    fn answers(&self) -> bool {
        match self.phase {
            Phase::Probing { .. } => false,
            Phase::Announcing { sent, .. } => sent > 0 || self.is_known,
            Phase::Settled => true,
        }
    }

    fn note<'a>(&mut self, now: Mono, sets: impl IntoIterator<Item = &'a Set>) {
        self.said.extend(sets.into_iter().map(|set| (*set, now)));
    }
}

/// RFC 6762 section 8.1: at a random time, so that all hosts that wake at once do not ask at once.
fn first_probe(now: Mono, random: &mut Random) -> Phase {
    Phase::Probing { sent: 0, at: now.plus_millis(random.below(PROBE_INTERVAL_MS + 1)) }
}

fn shared_delay_ms(random: &mut Random) -> u64 {
    SHARED_DELAY_MIN_MS + random.below(SHARED_DELAY_MAX_MS - SHARED_DELAY_MIN_MS + 1)
}

fn send(voice: Voice<'_>, to: Option<SocketAddr>, bytes: Vec<u8>, out: &mut Vec<Order>) {
    if !bytes.is_empty() {
        out.push(Order::Send { port: voice.id, to, bytes });
    }
}
