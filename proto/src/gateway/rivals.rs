//! One node, one connection: the latest wins, and the one before is closed and told why (spec: nodes section 1, v4 section
//! 19). Two machines with one identity would turn each other out for ever, as each comes back when it is turned out; so
//! after a few such turns the one that is here stays for a while, and the other is refused and told why.

use super::Gateway;
use crate::error::ConnectError;
use crate::frame::CloseFrame;
use crate::id::ConnId;
use crate::limits::Limits;
use crate::log::{Level, Record};
use crate::output::Output;
use crate::scope::Role;
use crate::time::{Mono, Now};
use std::collections::BTreeMap;

/// Nodes whose connection was replaced lately.
#[derive(Debug, Default)]
pub(super) struct Rivals(BTreeMap<String, Turns>);

#[derive(Clone, Copy, Debug)]
struct Turns {
    /// How often in a row.
    count: u32,
    /// Until when nobody takes the place of the one that is here.
    held_until: Mono,
    /// When it is as if it had never been.
    forgotten_at: Mono,
}

impl Rivals {
    /// Another connection of a node takes the place of the one that is here.
    ///
    /// # Errors
    /// It may not yet: so many milliseconds are left.
    fn replace(&mut self, now: Mono, node_id: &str, limits: &Limits) -> Result<u32, u64> {
        self.0.retain(|_, turns| turns.forgotten_at > now);
        let before = self.0.get(node_id).copied();
        if let Some(turns) = before.filter(|turns| turns.held_until > now) {
            return Err(turns.held_until.millis_since(now).max(1));
        }
        if before.is_none() && self.0.len() >= limits.node_rivals_max {
            // Those that matter are far from being forgotten.
            let oldest = self.0.iter().min_by_key(|(_, turns)| turns.forgotten_at);
            if let Some(oldest) = oldest.map(|(node_id, _)| node_id.clone()) {
                self.0.remove(&oldest);
            }
        }
        let count = before.map_or(0, |turns| turns.count) + 1;
        let held_ms = match count.checked_sub(limits.node_replaced_free_max) {
            None => 0,
            Some(over) => {
                (limits.node_replaced_hold_ms << over.min(16)).min(limits.node_replaced_hold_max_ms)
            }
        };
        let held_until = now.plus_millis(held_ms);
        let forgotten_at = held_until.plus_millis(limits.node_replaced_window_ms);
        self.0.insert(node_id.to_owned(), Turns { count, held_until, forgotten_at });
        Ok(count)
    }
}

impl Gateway {
    /// A node is about to be admitted over this connection. Gives the connections whose place it takes.
    ///
    /// # Errors
    /// The one that is here stays.
    pub(super) fn replaces_node(
        &mut self,
        now: Now,
        conn: ConnId,
        node_id: &str,
        out: &mut Vec<Output>,
    ) -> Result<Vec<ConnId>, ConnectError> {
        let is_node =
            |conn: &ConnId| self.peers.session(*conn).is_some_and(|session| session.role == Role::Node);
        let here: Vec<ConnId> = self.peers.of_device(node_id).into_iter().filter(is_node).collect();
        if here.is_empty() {
            return Ok(here);
        }
        let record = |what: &'static str| {
            let from = |conn: ConnId| {
                self.peers.get(conn).map(|slot| slot.peer.remote.ip().to_string()).unwrap_or_default()
            };
            let others: Vec<String> = here.iter().map(|conn| from(*conn)).collect();
            let record = Record::new(Level::Warn, what).conn(conn).field("node", node_id);
            record.field("from", from(conn)).field("other", others.join(","))
        };
        let (replaced, refused) = (record("node.replaced"), record("node.rival-refused"));
        match self.rivals.replace(now.mono, node_id, &self.config.limits) {
            Ok(count) => {
                out.push(Output::Log(replaced.field("in-a-row", count)));
                Ok(here)
            }
            Err(retry_after_ms) => {
                let hint = "two machines use one identity: give each its own state folder";
                out.push(Output::Log(refused.field("hint", hint)));
                Err(ConnectError::NodeElsewhere { retry_after_ms })
            }
        }
    }

    /// Their place is taken.
    pub(super) fn close_replaced(&mut self, replaced: Vec<ConnId>, out: &mut Vec<Output>) {
        for conn in replaced {
            self.close(conn, CloseFrame::new(4001, REPLACED), out);
        }
    }
}

/// What the one before is told.
const REPLACED: &str = "node replaced: another connection with this identity took its place";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::default().plus_millis(seconds * 1_000)
    }

    #[test]
    fn a_few_turns_are_free_then_the_one_that_is_here_stays_longer_each_time() {
        let (mut rivals, limits) = (Rivals::default(), Limits::default());
        for turn in 1..3 {
            assert_eq!(rivals.replace(at(turn), "n", &limits), Ok(turn as u32));
        }
        assert_eq!(rivals.replace(at(3), "n", &limits), Ok(3));
        assert_eq!(rivals.replace(at(4), "n", &limits), Err(29_000));
        assert_eq!(rivals.replace(at(4), "other", &limits), Ok(1), "each node for itself");
        assert_eq!(rivals.replace(at(33), "n", &limits), Ok(4));
        assert_eq!(rivals.replace(at(34), "n", &limits), Err(59_000));
        let mut now = 93;
        for turn in 5..40 {
            assert_eq!(rivals.replace(at(now), "n", &limits), Ok(turn), "at {now}");
            let left = rivals.replace(at(now), "n", &limits).unwrap_err();
            assert!(left <= limits.node_replaced_hold_max_ms, "{left}");
            now += left.div_ceil(1_000);
        }
        assert_eq!(rivals.replace(at(now), "n", &limits), Ok(40));
        // Peace for a while, and it is forgotten.
        now += 600 + 60;
        assert_eq!(rivals.replace(at(now), "n", &limits), Ok(1));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let limits = Limits { node_rivals_max: 3, ..Limits::default() };
        let mut rivals = Rivals::default();
        for n in 0..10 {
            assert_eq!(rivals.replace(at(n), &n.to_string(), &limits), Ok(1));
            assert!(rivals.0.len() <= 3);
        }
    }
}
