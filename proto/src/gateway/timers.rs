//! The ordered set of deadlines behind `next_deadline`: one moment a timer.

use crate::id::Ticket;
use crate::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A sign of life for whoever watches this process.
    Beat,
    /// The `tick` event.
    Tick,
    /// A look at the host's load, and a new health snapshot.
    Health,
    /// A look at the configuration file.
    Config,
    /// A broadcast of presence that waits for more changes.
    PresenceFlush,
    /// A broadcast of health that waits for more causes.
    HealthFlush,
    /// A host request that is not answered.
    Host(Ticket),
    /// The end of a wait for more scopes.
    Upgrades,
    /// The end of a suspension that nobody renews.
    Suspension,
    /// The earliest end of a request that a person decides, or of somebody's patience.
    Approvals,
    /// A look at the files of pages that load themselves again.
    Reload,
    /// The earliest end of a command's time, or its next try.
    Invokes,
    /// The stop before a restart.
    Restart,
    /// The end of the drain at shutdown.
    Drain,
}

/// Deadlines in order.
#[derive(Debug, Default)]
pub(super) struct Timers {
    at: BTreeMap<Timer, Mono>,
    order: BTreeSet<(Mono, Timer)>,
}

impl Timers {
    /// Sets a timer, moving it when it was set.
    pub(super) fn set(&mut self, timer: Timer, at: Mono) {
        if let Some(old) = self.at.insert(timer, at) {
            self.order.remove(&(old, timer));
        }
        self.order.insert((at, timer));
    }

    /// Sets a timer unless it is set already.
    pub(super) fn set_once(&mut self, timer: Timer, at: Mono) {
        if !self.at.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    /// Forgets a timer.
    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Mono> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the earliest timer that is due, with its moment.
    pub(super) fn pop(&mut self, now: Mono) -> Option<(Mono, Timer)> {
        let (at, timer) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.order.pop_first();
        self.at.remove(&timer);
        Some((at, timer))
    }
}
