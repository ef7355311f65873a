//! What a node fetches when it wakes, without I/O and in memory only (spec: nodes section 5): work that operators leave for
//! it, and commands that a phone could not carry out in the background.
//!
//! Invariants: a node has one piece of work of each kind, and so many commands, the oldest of which go first; what is too
//! old is given to nobody; commands hold no more than a bound in all. A fetch takes nothing away: phones fetch twice, and
//! tell what they did.

use crate::limits::Limits;
use crate::time::Now;
use bytes::Bytes;
use core::fmt;
use std::collections::{BTreeMap, VecDeque};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Tell how it is.
    Status,
    /// Tell where it is.
    Location,
}

impl Kind {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status.request",
            Self::Location => "location.request",
        }
    }

    /// Parses the wire name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Status, Self::Location].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How soon. The first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Before others.
    High,
    /// As usual.
    Normal,
    /// When there is nothing else.
    Default,
}

impl Priority {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Default => "default",
        }
    }
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Its name.
    pub id: String,
    /// What.
    pub kind: Kind,
    /// How soon.
    pub priority: Priority,
    /// Since when, Unix milliseconds.
    pub created_at_ms: u64,
    /// Until when.
    pub expires_at_ms: Option<u64>,
}

/// A command that waits until a phone is looked at.
#[derive(Clone)]
pub struct Action {
    /// Its name.
    pub id: String,
    /// What.
    pub command: String,
    /// With what, as a JSON string that holds JSON.
    pub params: Option<Bytes>,
    /// For the node to tell repetitions by.
    pub idempotency_key: Option<Box<str>>,
    /// Since when, Unix milliseconds.
    pub enqueued_at_ms: u64,
}

impl Action {
    fn size(&self) -> usize {
        let key = self.idempotency_key.as_ref().map_or(0, |key| key.len());
        ACTION_BYTES + self.command.len() + key + self.params.as_ref().map_or(0, Bytes::len)
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action").field("id", &self.id).field("command", &self.command).finish_non_exhaustive()
    }
}

/// What a node fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Grows with each change.
    pub revision: u64,
    /// The work, the most urgent first.
    pub items: Vec<Work>,
    /// Whether there is more.
    pub has_more: bool,
}

/// What waits, by node.
#[derive(Debug, Default)]
pub struct Pending {
    nodes: BTreeMap<String, Queue>,
    /// Of all commands.
    bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    revision: u64,
    work: Vec<Work>,
    actions: VecDeque<Action>,
    touched_ms: u64,
}

impl Pending {
    /// Leaves work for a node. One piece of each kind is enough: another one is the one that is there. Gives the node's
    /// revision, the work, and whether it is new.
    pub fn leave(&mut self, now: Now, node_id: &str, work: Work, limits: &Limits) -> (u64, Work, bool) {
        let queue = self.queue(now, node_id, limits);
        queue.prune(now, limits);
        let found = queue.work.iter().find(|item| item.kind == work.kind).cloned();
        match found {
            Some(item) => (queue.revision, item, false),
            None => {
                queue.revision += 1;
                queue.work.push(work.clone());
                (queue.revision, work, true)
            }
        }
    }

    /// The most urgent work of a node. Whoever fetches tells how it is, also when nobody asked for that.
    pub fn fetch(&mut self, now: Now, node_id: &str, items_max: usize, limits: &Limits) -> Fetched {
        let baseline = Work {
            id: "baseline-status".to_owned(),
            kind: Kind::Status,
            priority: Priority::Default,
            created_at_ms: now.wall.0,
            expires_at_ms: None,
        };
        let Some(queue) = self.nodes.get_mut(node_id) else {
            return Fetched { items: vec![baseline], ..Fetched::default() };
        };
        queue.prune(now, limits);
        let mut items = queue.work.clone();
        items.sort_by(|one, other| {
            (one.priority, one.created_at_ms, &one.id).cmp(&(other.priority, other.created_at_ms, &other.id))
        });
        let has_more = items.len() > items_max;
        let asks_for_status = items.iter().any(|item| item.kind == Kind::Status);
        items.truncate(items_max);
        if !asks_for_status && items.len() < items_max {
            items.push(baseline);
        }
        Fetched { revision: queue.revision, items, has_more }
    }

    /// Keeps a command for a node; one that is there under its idempotency key is enough. Gives its name, or nothing when
    /// it does not fit.
    pub fn keep(&mut self, now: Now, node_id: &str, action: Action, limits: &Limits) -> Option<String> {
        self.pull(now, node_id, limits);
        let size = action.size();
        let queue = self.queue(now, node_id, limits);
        let is_same =
            |kept: &&Action| kept.idempotency_key.is_some() && kept.idempotency_key == action.idempotency_key;
        if let Some(kept) = queue.actions.iter().find(is_same) {
            return Some(kept.id.clone());
        }
        let oldest =
            (queue.actions.len() >= limits.pending_actions_max).then(|| queue.actions.pop_front()).flatten();
        self.bytes -= oldest.as_ref().map_or(0, Action::size);
        if self.bytes + size > limits.pending_bytes_max {
            return None;
        }
        self.bytes += size;
        let id = action.id.clone();
        self.queue(now, node_id, limits).actions.push_back(action);
        Some(id)
    }

    /// The commands that wait for a node, the oldest first.
    pub fn pull(&mut self, now: Now, node_id: &str, limits: &Limits) -> Vec<Action> {
        let Some(queue) = self.nodes.get_mut(node_id) else { return Vec::new() };
        let old = |action: &Action| {
            action.enqueued_at_ms.saturating_add(limits.pending_action_life_ms) <= now.wall.0
        };
        let freed: usize = queue.actions.iter().filter(|action| old(action)).map(Action::size).sum();
        queue.actions.retain(|action| !old(action));
        self.bytes -= freed;
        queue.actions.iter().cloned().collect()
    }

    /// A node has carried these out. Gives how many are left.
    pub fn done(&mut self, now: Now, node_id: &str, ids: &[String], limits: &Limits) -> usize {
        self.pull(now, node_id, limits);
        let Some(queue) = self.nodes.get_mut(node_id) else { return 0 };
        let is_done = |action: &Action| ids.contains(&action.id);
        let freed: usize = queue.actions.iter().filter(|action| is_done(action)).map(Action::size).sum();
        queue.actions.retain(|action| !is_done(action));
        self.bytes -= freed;
        queue.actions.len()
    }

    /// A node is none any more.
    pub fn forget(&mut self, node_id: &str) {
        if let Some(queue) = self.nodes.remove(node_id) {
            self.bytes -= queue.actions.iter().map(Action::size).sum::<usize>();
        }
    }

    /// How many nodes have something waiting, or had it.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Recounts everything.
    ///
    /// # Panics
    /// When a count is wrong.
    pub fn check(&self) {
        let actions = self.nodes.values().flat_map(|queue| &queue.actions);
        assert_eq!(self.bytes, actions.map(Action::size).sum::<usize>(), "bytes of what waits for nodes");
    }

    fn queue(&mut self, now: Now, node_id: &str, limits: &Limits) -> &mut Queue {
        if !self.nodes.contains_key(node_id) && self.nodes.len() >= limits.pending_nodes_max {
            let oldest = self.nodes.iter().min_by_key(|(_, queue)| queue.touched_ms);
            if let Some(oldest) = oldest.map(|(node_id, _)| node_id.clone()) {
                self.forget(&oldest);
            }
        }
        let queue = self.nodes.entry(node_id.to_owned()).or_default();
        queue.touched_ms = now.wall.0;
        queue
    }
}

impl Queue {
    fn prune(&mut self, now: Now, limits: &Limits) {
        let before = self.work.len();
        // What has no end has one all the same, or it would be there for ever.
        let end = |item: &Work| {
            item.expires_at_ms
                .unwrap_or_else(|| item.created_at_ms.saturating_add(limits.pending_work_life_ms))
        };
        self.work.retain(|item| end(item) > now.wall.0);
        if self.work.len() != before {
            self.revision += 1;
        }
    }
}

/// What an action takes besides its texts.
const ACTION_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::time::{Mono, Wall};

    fn at(ms: u64) -> Now {
        Now { mono: Mono(ms * 1_000), wall: Wall(1_000_000 + ms) }
    }

    fn work(id: &str, kind: Kind, priority: Priority, now: Now, life_ms: Option<u64>) -> Work {
        let created_at_ms = now.wall.0;
        let expires_at_ms = life_ms.map(|ms| created_at_ms + ms);
        Work { id: id.to_owned(), kind, priority, created_at_ms, expires_at_ms }
    }

    fn action(id: &str, key: Option<&str>, now: Now) -> Action {
        Action {
            id: id.to_owned(),
            command: "camera.snap".to_owned(),
            params: None,
            idempotency_key: key.map(Into::into),
            enqueued_at_ms: now.wall.0,
        }
    }

    #[test]
    fn work_is_one_of_a_kind_sorted_and_ends() {
        let (mut pending, limits) = (Pending::default(), Limits::default());
        let ids = |fetched: &Fetched| fetched.items.iter().map(|item| item.id.clone()).collect::<Vec<_>>();
        let none = pending.fetch(at(0), "n", 4, &limits);
        assert_eq!((none.revision, ids(&none)), (0, vec!["baseline-status".to_owned()]));
        let location = work("l", Kind::Location, Priority::Normal, at(0), Some(1_000));
        assert_eq!(pending.leave(at(0), "n", location.clone(), &limits), (1, location.clone(), true));
        let again = work("l2", Kind::Location, Priority::High, at(1), None);
        assert_eq!(pending.leave(at(1), "n", again, &limits), (1, location, false));
        let fetched = pending.fetch(at(2), "n", 4, &limits);
        assert_eq!(
            (ids(&fetched), fetched.has_more),
            (vec!["l".to_owned(), "baseline-status".to_owned()], false)
        );
        pending.leave(at(3), "n", work("s", Kind::Status, Priority::High, at(3), None), &limits);
        let fetched = pending.fetch(at(4), "n", 1, &limits);
        assert_eq!((ids(&fetched), fetched.has_more, fetched.revision), (vec!["s".to_owned()], true, 2));
        assert_eq!(
            pending.fetch(at(4), "n", 4, &limits),
            pending.fetch(at(4), "n", 4, &limits),
            "nothing is taken"
        );
        let fetched = pending.fetch(at(1_000), "n", 4, &limits);
        assert_eq!((ids(&fetched), fetched.revision), (vec!["s".to_owned()], 3));
        let fetched = pending.fetch(at(3 + limits.pending_work_life_ms), "n", 4, &limits);
        assert_eq!(ids(&fetched), ["baseline-status"]);
    }

    #[test]
    fn commands_wait_bounded_by_number_bytes_and_time() {
        let limits = Limits { pending_actions_max: 3, pending_nodes_max: 2, ..Limits::default() };
        let mut pending = Pending::default();
        for n in 0..5 {
            let id = n.to_string();
            assert_eq!(pending.keep(at(n), "n", action(&id, Some(&id), at(n)), &limits), Some(id));
            pending.check();
        }
        let ids = |actions: Vec<Action>| actions.into_iter().map(|action| action.id).collect::<Vec<_>>();
        assert_eq!(ids(pending.pull(at(5), "n", &limits)), ["2", "3", "4"]);
        assert_eq!(pending.keep(at(5), "n", action("9", Some("4"), at(5)), &limits), Some("4".to_owned()));
        assert_eq!(pending.done(at(6), "n", &["3".to_owned(), "x".to_owned()], &limits), 2);
        assert_eq!(ids(pending.pull(at(2 + limits.pending_action_life_ms), "n", &limits)), ["4"]);
        let small = Limits { pending_bytes_max: pending.bytes, ..limits.clone() };
        assert_eq!(pending.keep(at(7), "n", action("a", None, at(7)), &small), None);
        for (n, node_id) in ["a", "b", "c"].into_iter().enumerate() {
            pending.keep(at(10 + n as u64), node_id, action("x", None, at(10)), &limits).unwrap();
            assert!(pending.len() <= 2);
            pending.check();
        }
        pending.forget("c");
        pending.forget("b");
        assert_eq!((pending.bytes, pending.is_empty()), (0, true));
    }
}
