//! What is known of a gateway, fact by fact: the method that tells it, the events after which it is asked again, and when it
//! is. The same facts as the control page shows (`src/web/control/model.js`).

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One question to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fact {
    Status,
    Health,
    System,
    Presence,
    Nodes,
    NodePairs,
    Devices,
    ExecApprovals,
    PluginApprovals,
    /// Asked only while somebody looks at it.
    Log,
}

impl Fact {
    /// What is asked for at the start; the log is not.
    pub(super) const ALL: [Self; 9] = [
        Self::Status,
        Self::Health,
        Self::System,
        Self::Presence,
        Self::Nodes,
        Self::NodePairs,
        Self::Devices,
        Self::ExecApprovals,
        Self::PluginApprovals,
    ];

    /// The method that tells it.
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Health => "health",
            Self::System => "system.info",
            Self::Presence => "system-presence",
            Self::Nodes => "node.list",
            Self::NodePairs => "node.pair.list",
            Self::Devices => "device.pair.list",
            Self::ExecApprovals => "exec.approval.list",
            Self::PluginApprovals => "plugin.approval.list",
            Self::Log => "logs.tail",
        }
    }

    /// Its params; `cursor` is where the log was read to.
    pub(super) fn params(self, cursor: Option<u64>) -> Value {
        match (self, cursor) {
            (Self::Log, Some(cursor)) => json!({ "cursor": cursor, "limit": super::model::LOG_LINES_MAX }),
            (Self::Log, None) => json!({ "limit": LOG_LINES_FIRST }),
            (
                Self::Status
                | Self::Health
                | Self::System
                | Self::Presence
                | Self::Nodes
                | Self::NodePairs
                | Self::Devices
                | Self::ExecApprovals
                | Self::PluginApprovals,
                _,
            ) => json!({}),
        }
    }

    /// The facts that an event of this name makes old.
    pub(super) fn aged_by(event: &str) -> impl Iterator<Item = Self> {
        AGED_BY
            .iter()
            .filter(move |(start, _)| event.starts_with(start))
            .flat_map(|(_, facts)| facts.iter().copied())
    }
}

/// By the beginning of an event's name.
const AGED_BY: &[(&str, &[Fact])] = &[
    ("presence", &[Fact::Nodes, Fact::Devices, Fact::Status]),
    ("health", &[Fact::Status]),
    ("device.pair.", &[Fact::Devices, Fact::Nodes, Fact::Status]),
    ("node.pair.", &[Fact::NodePairs, Fact::Nodes]),
    ("node.", &[Fact::Nodes]),
    ("exec.approval.", &[Fact::ExecApprovals]),
    ("plugin.approval.", &[Fact::PluginApprovals]),
];

/// When each fact is asked for: soon after it has become old, and never twice at once. Times are milliseconds of any one
/// clock that does not go back.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BTreeMap<Fact, u64>,
    asking: BTreeSet<Fact>,
    /// Not for this connection: its scopes do not allow it.
    refused: BTreeSet<Fact>,
    /// When each was last asked for.
    taken: BTreeMap<Fact, u64>,
    is_log_wanted: bool,
}

impl Schedule {
    /// A new connection: everything at once.
    pub(super) fn restart(&mut self, now_ms: u64) {
        self.asking.clear();
        self.refused.clear();
        self.due = Fact::ALL.into_iter().map(|fact| (fact, now_ms)).collect();
        if self.is_log_wanted {
            self.due.insert(Fact::Log, now_ms);
        }
    }

    /// The connection is gone: nothing is asked.
    pub(super) fn stop(&mut self) {
        self.asking.clear();
        self.due.clear();
    }

    /// These have become old. Several events of one act come close together: one question answers them all.
    pub(super) fn age(&mut self, facts: impl IntoIterator<Item = Fact>, now_ms: u64) {
        for fact in facts {
            self.due_at(fact, now_ms.saturating_add(SETTLE_MS));
        }
    }

    /// An event of this name came. Whoever comes and goes all the time does not make everybody ask all the time.
    pub(super) fn aged_by(&mut self, event: &str, now_ms: u64) {
        for fact in Fact::aged_by(event) {
            let next = self.taken.get(&fact).map_or(0, |taken| taken.saturating_add(PRESENCE_EVERY_MS));
            let next = if event.starts_with("presence") { next } else { 0 };
            self.due_at(fact, now_ms.saturating_add(SETTLE_MS).max(next));
        }
    }

    fn due_at(&mut self, fact: Fact, at_ms: u64) {
        if !self.refused.contains(&fact) {
            let due = self.due.entry(fact).or_insert(u64::MAX);
            *due = (*due).min(at_ms);
        }
    }

    /// The gateway does not tell this connection: it is not asked for that any more.
    pub(super) fn refused(&mut self, fact: Fact) {
        self.refused.insert(fact);
        self.asking.remove(&fact);
        self.due.remove(&fact);
    }

    /// Whether somebody looks at the log.
    pub(super) fn want_log(&mut self, is_wanted: bool, now_ms: u64) {
        if is_wanted && !self.is_log_wanted {
            self.due_at(Fact::Log, now_ms);
        } else if !is_wanted {
            self.due.remove(&Fact::Log);
        }
        self.is_log_wanted = is_wanted;
    }

    /// What is to be asked now.
    pub(super) fn take(&mut self, now_ms: u64) -> Vec<Fact> {
        let is_due =
            |(fact, at): (&Fact, &u64)| (*at <= now_ms && !self.asking.contains(fact)).then_some(*fact);
        let facts: Vec<Fact> = self.due.iter().filter_map(is_due).collect();
        for fact in &facts {
            self.due.remove(fact);
            self.asking.insert(*fact);
            self.taken.insert(*fact, now_ms);
        }
        facts
    }

    /// An answer came, or will not come any more. Some facts change without an event.
    pub(super) fn answered(&mut self, fact: Fact, now_ms: u64) {
        self.asking.remove(&fact);
        let again = match fact {
            Fact::Status => Some(STATUS_EVERY_MS),
            Fact::Log if self.is_log_wanted => Some(LOG_EVERY_MS),
            Fact::Log
            | Fact::Health
            | Fact::System
            | Fact::Presence
            | Fact::Nodes
            | Fact::NodePairs
            | Fact::Devices
            | Fact::ExecApprovals
            | Fact::PluginApprovals => None,
        };
        if let Some(after_ms) = again {
            self.due_at(fact, now_ms.saturating_add(after_ms));
        }
    }

    /// When [`Schedule::take`] would give something.
    pub(super) fn next(&self) -> Option<u64> {
        self.due.iter().filter(|(fact, _)| !self.asking.contains(fact)).map(|(_, at)| *at).min()
    }
}

const SETTLE_MS: u64 = 120;
/// Between two questions that follow from who is there.
const PRESENCE_EVERY_MS: u64 = 1_000;
const STATUS_EVERY_MS: u64 = 5_000;
const LOG_EVERY_MS: u64 = 2_000;
/// Lines of the log when it is first looked at.
const LOG_LINES_FIRST: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_asked_soon_once_and_not_twice_at_a_time() {
        let mut schedule = Schedule::default();
        schedule.restart(0);
        assert_eq!(schedule.take(0), Fact::ALL);
        assert_eq!((schedule.take(0), schedule.next()), (vec![], None));
        schedule.age(Fact::aged_by("exec.approval.requested"), 10);
        schedule.age(Fact::aged_by("exec.approval.resolved"), 100);
        assert_eq!((schedule.take(10_000), schedule.next()), (vec![], None), "it is asked already");
        schedule.answered(Fact::ExecApprovals, 20);
        assert_eq!(schedule.next(), Some(10 + SETTLE_MS));
        assert_eq!(schedule.take(10 + SETTLE_MS), [Fact::ExecApprovals]);
        schedule.answered(Fact::Status, 1_000);
        assert_eq!(schedule.next(), Some(1_000 + STATUS_EVERY_MS));
        schedule.stop();
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn presence_asks_once_a_second_and_a_refusal_is_the_last_word() {
        let mut schedule = Schedule::default();
        schedule.restart(0);
        schedule.take(0);
        Fact::ALL.into_iter().for_each(|fact| schedule.answered(fact, 1));
        schedule.aged_by("presence", 10);
        assert_eq!(schedule.next(), Some(PRESENCE_EVERY_MS));
        schedule.aged_by("node.pair.requested", 10);
        assert_eq!(schedule.take(10 + SETTLE_MS), [Fact::Nodes, Fact::NodePairs], "others are asked at once");
        schedule.refused(Fact::NodePairs);
        schedule.answered(Fact::Nodes, 200);
        schedule.age([Fact::NodePairs], 300);
        schedule.aged_by("node.pair.requested", 300);
        assert_eq!(schedule.take(900), [Fact::Nodes]);
        schedule.refused(Fact::Log);
        schedule.want_log(true, 910);
        assert_eq!(schedule.take(910), []);
        schedule.restart(2_000);
        assert!(schedule.take(2_000).contains(&Fact::NodePairs), "another connection may have the scope");
    }

    #[test]
    fn the_log_is_asked_for_while_somebody_looks() {
        let mut schedule = Schedule::default();
        schedule.want_log(true, 5);
        assert_eq!(schedule.take(5), [Fact::Log]);
        schedule.answered(Fact::Log, 6);
        assert_eq!(schedule.next(), Some(6 + LOG_EVERY_MS));
        schedule.want_log(false, 7);
        assert_eq!(schedule.next(), None);
        schedule.answered(Fact::Log, 8);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn events_make_the_facts_old_that_the_page_asks_for() {
        let aged = |event| Fact::aged_by(event).collect::<Vec<_>>();
        assert_eq!(aged("node.pair.requested"), [Fact::NodePairs, Fact::Nodes, Fact::Nodes]);
        assert_eq!(aged("device.pair.resolved"), [Fact::Devices, Fact::Nodes, Fact::Status]);
        assert_eq!(aged("tick"), []);
    }
}
