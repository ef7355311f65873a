//! Who must receive a broadcast, and when one is due.
//!
//! A broadcast is a wave: one event for one socket after the other, in the order of their ids. When it has passed,
//! everybody who was entitled has it, but for those whose queue was full.

use super::{Model, Phase, Session};
use clawgate_proto::id::ConnId;
use clawgate_proto::limits::Limits;
use clawgate_proto::{Mono, Now, Order};
use std::collections::{BTreeMap, BTreeSet};

/// A broadcast that is passing.
#[derive(Debug)]
pub(super) struct Wave {
    name: &'static str,
    last: ConnId,
    cost: usize,
    /// Which dialects it went to.
    dialects: [bool; 2],
    reached: BTreeSet<ConnId>,
    /// Closed instead, because they are slow or there is no memory.
    closed: BTreeSet<ConnId>,
    /// Entitled when it began, with what was queued for them then.
    entitled: BTreeMap<ConnId, (usize, usize)>,
}

/// What must be told, and since when.
#[derive(Debug)]
pub(super) struct Dues {
    tick_at: Mono,
    /// Names that must pass before the gateway is done with this fact.
    now: Vec<&'static str>,
    /// Per event and dialect: since when there is something to tell.
    since: BTreeMap<(&'static str, usize), Mono>,
}

impl Dues {
    pub(super) fn new(limits: &Limits) -> Self {
        let tick_at = Mono(0).plus_millis(limits.tick_interval_ms);
        Self { tick_at, now: Vec::new(), since: BTreeMap::new() }
    }

    /// This event must pass now, to all.
    pub(super) fn expect(&mut self, name: &'static str) {
        self.now.push(name);
    }

    /// There is something to tell, to these dialects.
    pub(super) fn cause(&mut self, name: &'static str, dialects: [bool; 2], now: Mono) {
        for (dialect, _) in dialects.iter().enumerate().filter(|(_, wanted)| **wanted) {
            self.since.entry((name, dialect)).or_insert(now);
        }
    }

    /// A deadline passed: is it time for a `tick`?
    pub(super) fn ticked(&mut self, now: Mono, limits: &Limits) {
        if now >= self.tick_at {
            self.tick_at = now.plus_millis(limits.tick_interval_ms);
            self.now.push("tick");
        }
    }
}

impl Model {
    /// An order for this socket: part of the wave, or its end.
    pub(super) fn wave_goes_on(&mut self, now: Now, conn: ConnId, order: &Order) {
        let is_instead = |reason: &str| matches!(reason, "slow consumer" | "gateway out of memory budget");
        let is_slow = matches!(order, Order::Close(close) if is_instead(&close.reason));
        match order {
            Order::Read(_) => {}
            Order::Event(event) if event.seq.is_none() => {
                self.wave_ends(now);
                if !self.session(conn).is_some_and(|session| session.is_told(event.name)) {
                    self.accuse(now, format!("{conn} is told {}, which is not for it", event.name));
                }
            }
            Order::Event(event) => {
                let fits = |wave: &Wave| wave.name == event.name && wave.last < conn;
                if !self.wave.as_ref().is_some_and(fits) {
                    self.wave_ends(now);
                    self.wave_begins(event.name, conn, order.cost());
                }
                let dialect = self.session(conn).map(|session| session.dialect.index());
                let may = self.session(conn).is_some_and(|session| session.may_hear(event.name));
                if !may {
                    self.accuse(now, format!("{conn} may not hear {}", event.name));
                }
                let Some(wave) = &mut self.wave else { return };
                wave.last = conn;
                wave.cost = order.cost();
                wave.reached.insert(conn);
                if let Some(dialect) = dialect {
                    wave.dialects[dialect] = true;
                }
            }
            Order::Close(_) if is_slow => {
                if let Some(wave) = self.wave.as_mut().filter(|wave| wave.last < conn) {
                    wave.last = conn;
                    wave.closed.insert(conn);
                }
            }
            Order::Upgrade
            | Order::Watch
            | Order::Reload
            | Order::Body(_)
            | Order::Http(_)
            | Order::Admit(_)
            | Order::Respond { .. }
            | Order::Close(_)
            | Order::Abort => self.wave_ends(now),
        }
    }

    fn wave_begins(&mut self, name: &'static str, first: ConnId, cost: usize) {
        let entitled = self.conns.iter().filter_map(|(conn, book)| match &book.phase {
            Phase::Open(session) if session.may_hear(name) => {
                Some((*conn, (session.dialect.index(), book.queued)))
            }
            Phase::Open(_) | Phase::Headless | Phase::Http | Phase::Handshake | Phase::Ending => None,
        });
        let wave = Wave {
            name,
            last: ConnId(first.0 - 1),
            cost,
            dialects: [false, false],
            reached: BTreeSet::new(),
            closed: BTreeSet::new(),
            entitled: entitled.collect(),
        };
        self.wave = Some(wave);
    }

    /// The wave has passed: everybody has it who should.
    pub(super) fn wave_ends(&mut self, now: Now) {
        let Some(wave) = self.wave.take() else { return };
        self.reach(format!("event {}", wave.name));
        self.dues.now.retain(|name| *name != wave.name);
        for dialect in 0..2 {
            if wave.dialects[dialect] {
                self.dues.since.remove(&(wave.name, dialect));
            }
        }
        // Presence and health may be told to one dialect alone; everything else goes to both.
        let goes_to_one = matches!(wave.name, "presence" | "health");
        for (conn, (dialect, queued)) in &wave.entitled {
            if wave.reached.contains(conn) || wave.closed.contains(conn) {
                continue;
            }
            // Payloads of the two dialects differ in size; the margin covers that.
            let is_slow = queued + wave.cost + MARGIN_BYTES > self.config.limits.queued_bytes_max
                || self.is_budget_short();
            let was_spared = goes_to_one && !wave.dialects[*dialect];
            if is_slow && let Some(book) = self.conns.get_mut(conn) {
                book.gaps_max += 1;
            } else if !was_spared {
                self.accuse(now, format!("{conn} does not get {}", wave.name));
            }
        }
    }

    /// A broadcast that reaches nobody is not seen, though it uses up numbers of those who are slow.
    pub(super) fn allow_gaps(&mut self, now: Mono) {
        let max = self.config.limits.queued_bytes_max;
        let is_short = self.is_budget_short();
        for book in self.conns.values_mut().filter(|book| is_short || book.queued + EVENT_BYTES_MAX > max) {
            book.gaps_max += UNSEEN_WAVES_MAX;
            book.slow_at = Some(now);
        }
    }

    /// A quarter of the budget is for answers; events are left out before that. What connections hold of messages
    /// that are arriving is not seen from here, so with a small budget everything may be left out.
    fn is_budget_short(&self) -> bool {
        let max = self.config.limits.process_bytes_max;
        max < SEEN_BUDGET_BYTES || self.budget_bytes + EVENT_BYTES_MAX > max - max / 4
    }

    /// Nothing is overdue.
    pub(super) fn check_dues(&mut self, now: Now) {
        let open = |model: &Self, name: &str, dialect: Option<usize>, since: Mono| {
            model.conns.iter().find_map(|(conn, book)| match &book.phase {
                Phase::Open(session) => {
                    let is_meant = session.may_hear(name)
                        && dialect.is_none_or(|dialect| dialect == session.dialect.index())
                        && session.since <= since;
                    let was_slow = book.slow_at.is_some_and(|at| at >= since);
                    (is_meant && !was_slow).then_some(*conn)
                }
                Phase::Headless | Phase::Http | Phase::Handshake | Phase::Ending => None,
            })
        };
        for name in core::mem::take(&mut self.dues.now) {
            // Whoever a stop has closed meanwhile is not open any more, and nobody else was.
            if let Some(conn) = open(self, name, None, now.mono) {
                self.accuse(now, format!("{conn} waits for {name}, which is due"));
            }
        }
        let wait_us = self.config.limits.coalesce_ms * 1_000 + self.lateness_us;
        let overdue = |since: Mono| now.mono.0 > since.0 + wait_us;
        let overdue: Vec<(&'static str, usize, Mono)> = self
            .dues
            .since
            .iter()
            .filter(|(_, since)| overdue(**since))
            .map(|((name, dialect), since)| (*name, *dialect, *since))
            .collect();
        for (name, dialect, since) in overdue {
            if let Some(conn) = open(self, name, Some(dialect), since) {
                let what = format!("{conn} waits for {name} since {}", crate::transcript::show(since));
                self.accuse(now, what);
            }
            self.dues.since.remove(&(name, dialect));
        }
    }

    fn session(&self, conn: ConnId) -> Option<&Session> {
        match &self.conns.get(&conn)?.phase {
            Phase::Open(session) => Some(session),
            Phase::Headless | Phase::Http | Phase::Handshake | Phase::Ending => None,
        }
    }
}

/// By how much an event may be longer in the other dialect.
const MARGIN_BYTES: usize = 2_048;
/// With less than this in all, one message that is arriving can be what is missing.
const SEEN_BUDGET_BYTES: usize = 64 * 1024;
/// Longer than any event of these runs.
const EVENT_BYTES_MAX: usize = 4_096;
/// Broadcasts that one fact leads to: health, presence, tick.
const UNSEEN_WAVES_MAX: u64 = 3;
