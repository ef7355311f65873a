//! Failed credentials, counted per address and kind of secret (spec: auth section 9).
//!
//! Two instances: one for pages (an `Origin` was sent), which never spares loopback, since any page in the user's browser
//! comes from there; one for everybody else. Every failed secret counts, whatever else was sent beside it.

use crate::config::RateLimit;
use crate::time::Mono;
use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

/// Which kind of secret was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SecretKind {
    /// The shared token or password.
    Shared,
    /// A device token.
    Device,
}

/// One limiter.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: RateLimit,
    keys: BTreeMap<(SecretKind, Option<IpAddr>), Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    at: VecDeque<Mono>,
    locked_until: Option<Mono>,
}

impl Limiter {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, keys: BTreeMap::new() }
    }

    /// Other numbers from now on. A lock that is in force runs out as it was set.
    pub(super) fn set_limit(&mut self, limit: RateLimit) {
        self.limit = limit;
    }

    /// `Err` with the remaining lock in milliseconds.
    pub(super) fn check(&mut self, now: Mono, kind: SecretKind, ip: Option<IpAddr>) -> Result<(), u64> {
        let Some(failures) = self.keys.get_mut(&(kind, ip)) else { return Ok(()) };
        match failures.locked_until {
            Some(until) if until > now => Err(until.millis_since(now).max(1)),
            Some(_) => {
                self.keys.remove(&(kind, ip));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Counts a failure; the last one allowed locks the key.
    pub(super) fn failed(&mut self, now: Mono, kind: SecretKind, ip: Option<IpAddr>) {
        if !self.keys.contains_key(&(kind, ip)) && self.keys.len() >= KEYS_MAX {
            self.sweep(now);
        }
        let window_ms = self.limit.window_ms;
        let failures = self.keys.entry((kind, ip)).or_default();
        if failures.locked_until.is_some_and(|until| until > now) {
            return;
        }
        while failures.at.front().is_some_and(|at| now.millis_since(*at) > window_ms) {
            failures.at.pop_front();
        }
        failures.at.push_back(now);
        if failures.at.len() >= self.limit.attempts_max.max(1) as usize {
            failures.at.clear();
            failures.locked_until = Some(now.plus_millis(self.limit.lockout_ms));
        }
    }

    /// Forgets the failures of a key that proved itself.
    pub(super) fn succeeded(&mut self, kind: SecretKind, ip: Option<IpAddr>) {
        self.keys.remove(&(kind, ip));
    }

    /// Drops what has run out, then, if an attacker with many addresses filled the table, the unlocked rest.
    fn sweep(&mut self, now: Mono) {
        let window_ms = self.limit.window_ms;
        self.keys.retain(|_, failures| match failures.locked_until {
            Some(until) => until > now,
            None => failures.at.back().is_some_and(|at| now.millis_since(*at) <= window_ms),
        });
        if self.keys.len() >= KEYS_MAX {
            self.keys.retain(|_, failures| failures.locked_until.is_some());
        }
        if self.keys.len() >= KEYS_MAX {
            self.keys.pop_first();
        }
    }
}

/// Keys one limiter remembers.
const KEYS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    const IP: Option<IpAddr> = Some(IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1)));

    fn at(ms: u64) -> Mono {
        Mono::default().plus_millis(ms)
    }

    #[test]
    fn the_last_failure_locks_and_the_lock_ends() {
        let mut limiter =
            Limiter::new(RateLimit { attempts_max: 3, lockout_ms: 5_000, ..RateLimit::default() });
        for ms in 0..3 {
            assert_eq!(limiter.check(at(ms), SecretKind::Shared, IP), Ok(()));
            limiter.failed(at(ms), SecretKind::Shared, IP);
        }
        assert_eq!(limiter.check(at(3), SecretKind::Shared, IP), Err(4_999));
        assert_eq!(limiter.check(at(3), SecretKind::Device, IP), Ok(()), "kinds are apart");
        assert_eq!(limiter.check(at(5_002), SecretKind::Shared, IP), Ok(()));
    }

    #[test]
    fn old_failures_leave_the_window() {
        let mut limiter = Limiter::new(RateLimit { attempts_max: 2, window_ms: 100, ..RateLimit::default() });
        limiter.failed(at(0), SecretKind::Shared, IP);
        limiter.failed(at(200), SecretKind::Shared, IP);
        assert_eq!(limiter.check(at(201), SecretKind::Shared, IP), Ok(()));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut limiter = Limiter::new(RateLimit { attempts_max: 1, ..RateLimit::default() });
        for n in 0..2 * KEYS_MAX as u32 {
            limiter.failed(at(1), SecretKind::Shared, Some(IpAddr::V4(n.into())));
        }
        assert!(limiter.keys.len() <= KEYS_MAX);
    }
}
