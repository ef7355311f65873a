//! When the keeper thread must wake: the gateway's deadline and every connection's, in one ordered map.
//!
//! The alternative, a receive timeout on every socket, would cost a system call whenever a deadline moves and a
//! thread's wake-up whenever one passes, and it could not end a connection whose reader is paused. Here a
//! deadline that moves later costs nothing: the entry stays, fires early, and is armed again.
//!
//! The lock is a leaf: nothing else is locked while it is held.

use clawgate_proto::Mono;
use clawgate_proto::id::ConnId;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Deadlines; `T` is what is handed back when a connection's deadline has passed.
#[derive(Debug)]
pub(crate) struct Timers<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    due: BTreeMap<(Mono, ConnId), T>,
    gateway: Option<Mono>,
    sleep: Sleep,
}

/// What the keeper is doing.
#[derive(Clone, Copy, Debug)]
enum Sleep {
    /// It will look at the map before it sleeps.
    Awake,
    /// It must be woken for anything before this instant.
    Until(Mono),
    /// It must be woken for anything.
    Forever,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        let state = State { due: BTreeMap::new(), gateway: None, sleep: Sleep::Awake };
        Self(Mutex::new(state))
    }

    /// Adds a deadline, in place of `old` if there was one. Says whether the keeper must be woken.
    #[must_use]
    pub(crate) fn arm(&self, id: ConnId, old: Option<Mono>, at: Mono, target: T) -> bool {
        let mut state = self.lock();
        if let Some(old) = old {
            state.due.remove(&(old, id));
        }
        state.due.insert((at, id), target);
        state.must_wake(at)
    }

    /// Takes a deadline out again.
    pub(crate) fn disarm(&self, id: ConnId, at: Mono) {
        let target = self.lock().due.remove(&(at, id));
        drop(target); // may be the last handle of a connection: not under the lock
    }

    /// The gateway's deadline is now this. Says whether the keeper must be woken.
    #[must_use]
    pub(crate) fn set_gateway(&self, at: Option<Mono>) -> bool {
        let mut state = self.lock();
        state.gateway = at;
        at.is_some_and(|at| state.must_wake(at))
    }

    /// The keeper is awake: moves what is due to `fired`, and says whether the gateway's deadline has passed.
    pub(crate) fn take_due(&self, now: Mono, fired: &mut Vec<T>) -> bool {
        let mut state = self.lock();
        state.sleep = Sleep::Awake;
        while let Some(entry) = state.due.first_entry() {
            if entry.key().0 > now {
                break;
            }
            fired.push(entry.remove());
        }
        state.gateway.is_some_and(|at| at <= now)
    }

    /// The keeper goes to sleep, until the instant given.
    pub(crate) fn sleep(&self) -> Option<Mono> {
        let mut state = self.lock();
        let first = state.due.first_key_value().map(|((at, _), _)| *at);
        let until = match (first, state.gateway) {
            (Some(first), Some(gateway)) => Some(first.min(gateway)),
            (first, gateway) => first.or(gateway),
        };
        state.sleep = until.map_or(Sleep::Forever, Sleep::Until);
        until
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn must_wake(&self, at: Mono) -> bool {
        match self.sleep {
            Sleep::Awake => false,
            Sleep::Until(until) => at < until,
            Sleep::Forever => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(timers: &Timers<u8>, now: u64) -> (Vec<u8>, bool) {
        let mut fired = Vec::new();
        let gateway = timers.take_due(Mono(now), &mut fired);
        (fired, gateway)
    }

    #[test]
    fn deadlines_fire_in_order_and_once() {
        let timers = Timers::new();
        for (id, at) in [(1, 30), (2, 10), (3, 20), (4, 20)] {
            assert!(!timers.arm(ConnId(id), None, Mono(at), id as u8));
        }
        assert_eq!(timers.sleep(), Some(Mono(10)));
        assert_eq!(due(&timers, 9).0, [] as [u8; 0]);
        assert_eq!(due(&timers, 20).0, [2, 3, 4]);
        assert_eq!(timers.sleep(), Some(Mono(30)));
        assert_eq!(due(&timers, 30).0, [1]);
        assert_eq!(timers.sleep(), None);
    }

    #[test]
    fn arming_again_replaces_and_disarming_removes() {
        let timers = Timers::new();
        let _ = timers.arm(ConnId(1), None, Mono(50), 1);
        let _ = timers.arm(ConnId(1), Some(Mono(50)), Mono(5), 1);
        let _ = timers.arm(ConnId(2), None, Mono(7), 2);
        timers.disarm(ConnId(2), Mono(7));
        assert_eq!(due(&timers, 100).0, [1]);
    }

    #[test]
    fn a_sleeper_is_woken_only_for_something_earlier() {
        let timers = Timers::new();
        assert_eq!(timers.sleep(), None);
        assert!(timers.arm(ConnId(1), None, Mono(100), 1), "asleep for ever");
        assert_eq!(timers.sleep(), Some(Mono(100)));
        assert!(!timers.arm(ConnId(2), None, Mono(100), 2), "wakes then anyway");
        assert!(timers.arm(ConnId(3), None, Mono(99), 3));
        assert!(!timers.set_gateway(Some(Mono(500))));
        assert!(timers.set_gateway(Some(Mono(50))));
        assert_eq!(due(&timers, 50), (vec![], true));
        assert!(!timers.set_gateway(Some(Mono(40))), "awake: it will look");
        assert!(!timers.set_gateway(None));
        assert_eq!(timers.sleep(), Some(Mono(99)));
    }
}
