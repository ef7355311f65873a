//! Failed credentials, counted per address and kind of secret (spec: auth section 9).
//!
//! Two instances: one for the WebSockets of pages (an `Origin` was sent), which never spares loopback, since any page in
//! the user's browser comes from there; one for everybody else. Which secrets count is [`super::guesses`]'s to say.

use crate::config::{Config, RateLimit};
use crate::net::{self, ClientAddress};
use crate::time::Mono;
use core::net::{IpAddr, Ipv4Addr};
use std::collections::{BTreeMap, VecDeque};

/// Which kind of secret was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SecretKind {
    /// The shared token or password.
    Shared,
    /// A device token.
    Device,
    /// A setup code.
    Setup,
}

/// Whose failures are counted together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    /// A page sent it: an `Origin` was there.
    page: bool,
    ip: Option<IpAddr>,
    /// Nothing says that somebody forwarded it.
    direct: bool,
}

impl Source {
    pub(super) fn of(address: &ClientAddress, page: bool) -> Self {
        Self { page, ip: address.ip.map(net::holder), direct: !address.forwarded }
    }

    /// Whoever shows a bearer token in a plain request. Programs of this machine need none; what comes from loopback and
    /// is not taken for one of them, such as a page whose name leads here, is not spared.
    pub(super) fn of_request(address: &ClientAddress) -> Self {
        Self { page: false, ip: address.ip.map(net::holder), direct: false }
    }
}

/// The limiters, one for pages and one for everybody else.
#[derive(Debug)]
pub(super) struct Limiters {
    pages: Limiter,
    others: Limiter,
    /// Whether programs of this machine are never throttled, unless somebody forwards for them.
    spares_loopback: bool,
}

impl Limiters {
    pub(super) fn new(config: &Config) -> Self {
        let numbers = config.auth.rate_limit.unwrap_or_default();
        Self {
            pages: Limiter::new(numbers),
            others: Limiter::new(numbers),
            spares_loopback: numbers.exempt_loopback,
        }
    }

    /// Takes other numbers; what was counted stays.
    pub(super) fn follow(&mut self, config: &Config) {
        let numbers = config.auth.rate_limit.unwrap_or_default();
        self.pages.set_limit(numbers);
        self.others.set_limit(numbers);
        self.spares_loopback = numbers.exempt_loopback;
    }

    /// The limiter and the key for a peer; none when it is spared.
    fn of(&mut self, source: Source) -> Option<(&mut Limiter, Option<IpAddr>)> {
        let is_loopback = source.ip.is_some_and(|ip| ip.is_loopback());
        if source.page {
            // All pages in the browsers of this host share one key; it is a documentation address (RFC 2544).
            let shared = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
            return Some((&mut self.pages, if is_loopback { Some(shared) } else { source.ip }));
        }
        // Behind a proxy of this machine that nobody trusts, everybody comes from loopback.
        let is_spared = self.spares_loopback && is_loopback && source.direct;
        (!is_spared).then_some((&mut self.others, source.ip))
    }

    /// Milliseconds for which this peer's secrets of that kind are not looked at.
    pub(super) fn locked(&mut self, now: Mono, source: Source, kind: SecretKind) -> Option<u64> {
        let (limiter, ip) = self.of(source)?;
        limiter.check(now, kind, ip).err()
    }

    /// Counts a wrong secret.
    pub(super) fn failed(&mut self, now: Mono, source: Source, kind: SecretKind) {
        if let Some((limiter, ip)) = self.of(source) {
            limiter.failed(now, kind, ip);
        }
    }

    /// Forgets wrong secrets after a right one.
    pub(super) fn succeeded(&mut self, source: Source, kind: SecretKind) {
        if let Some((limiter, ip)) = self.of(source) {
            limiter.succeeded(kind, ip);
        }
    }
}

/// One limiter.
#[derive(Debug)]
struct Limiter {
    limit: RateLimit,
    keys: BTreeMap<(SecretKind, Option<IpAddr>), Failures>,
    /// When what has run out was last dropped.
    swept: Mono,
}

#[derive(Debug, Default)]
struct Failures {
    at: VecDeque<Mono>,
    locked_until: Option<Mono>,
}

impl Limiter {
    fn new(limit: RateLimit) -> Self {
        Self { limit, keys: BTreeMap::new(), swept: Mono::default() }
    }

    /// Other numbers from now on. A lock that is in force runs out as it was set.
    fn set_limit(&mut self, limit: RateLimit) {
        self.limit = limit;
    }

    /// `Err` with the remaining lock in milliseconds.
    fn check(&mut self, now: Mono, kind: SecretKind, ip: Option<IpAddr>) -> Result<(), u64> {
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
    fn failed(&mut self, now: Mono, kind: SecretKind, ip: Option<IpAddr>) {
        let window_ms = self.limit.window_ms;
        let is_time = self.keys.len() >= KEYS_MAX || now.millis_since(self.swept) > window_ms;
        if is_time && !self.keys.contains_key(&(kind, ip)) {
            self.sweep(now);
        }
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
    fn succeeded(&mut self, kind: SecretKind, ip: Option<IpAddr>) {
        self.keys.remove(&(kind, ip));
    }

    /// Drops what has run out, then, if an attacker with many addresses filled the table, the unlocked rest.
    fn sweep(&mut self, now: Mono) {
        self.swept = now;
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

    const IP: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));

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
    fn who_has_not_come_back_is_forgotten() {
        let limit = RateLimit { attempts_max: 2, window_ms: 100, lockout_ms: 1_000, ..RateLimit::default() };
        let mut limiter = Limiter::new(limit);
        let ip = |n: u32| Some(IpAddr::V4(n.into()));
        for n in 0..50 {
            limiter.failed(at(1), SecretKind::Shared, ip(n));
        }
        for _ in 0..2 {
            limiter.failed(at(1), SecretKind::Shared, ip(50));
        }
        limiter.failed(at(500), SecretKind::Shared, ip(60));
        assert_eq!(limiter.keys.len(), 2, "the one that is locked, and the new one");
        assert!(limiter.check(at(501), SecretKind::Shared, ip(50)).is_err());
        limiter.failed(at(2_000), SecretKind::Shared, ip(61));
        assert_eq!(limiter.keys.len(), 1);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut limiter = Limiter::new(RateLimit { attempts_max: 1, ..RateLimit::default() });
        for n in 0..2 * KEYS_MAX as u32 {
            limiter.failed(at(1), SecretKind::Shared, Some(IpAddr::V4(n.into())));
        }
        assert!(limiter.keys.len() <= KEYS_MAX);
    }

    fn limiters(exempt_loopback: bool) -> Limiters {
        let limit = RateLimit { attempts_max: 2, exempt_loopback, ..RateLimit::default() };
        Limiters { pages: Limiter::new(limit), others: Limiter::new(limit), spares_loopback: exempt_loopback }
    }

    fn from(ip: &str, page: bool, direct: bool) -> Source {
        let ip = ip.parse().ok().map(net::holder);
        Source { page, ip, direct }
    }

    #[test]
    fn one_party_is_one_whatever_its_address_looks_like() {
        for (first, second, is_one) in [
            ("192.0.2.1", "::ffff:192.0.2.1", true), // GHSA-5847-rm3g-23mw
            ("2001:db8::1", "2001:db8::ffff:0:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            let mut limiters = limiters(true);
            for ip in [first, second] {
                limiters.failed(at(1), from(ip, false, true), SecretKind::Shared);
            }
            let locked = limiters.locked(at(2), from(first, false, true), SecretKind::Shared);
            assert_eq!(locked.is_some(), is_one, "{first} {second}");
        }
    }

    #[test]
    fn loopback_is_spared_only_without_an_origin_and_without_a_proxy() {
        for (ip, page, direct, exempt, counts) in [
            ("127.0.0.1", false, true, true, false),
            ("::1", false, true, true, false),
            ("127.0.0.1", false, true, false, true),
            ("127.0.0.1", true, true, true, true),
            ("127.0.0.1", false, false, true, true),
            ("192.0.2.1", false, true, true, true),
        ] {
            let mut limiters = limiters(exempt);
            let source = from(ip, page, direct);
            for _ in 0..2 {
                limiters.failed(at(1), source, SecretKind::Shared);
            }
            let locked = limiters.locked(at(2), source, SecretKind::Shared);
            assert_eq!(locked.is_some(), counts, "{ip} page {page} direct {direct} exempt {exempt}");
        }
        // Every page on this machine's loopback is the same party.
        let mut limiters = limiters(true);
        for ip in ["127.0.0.1", "::1"] {
            limiters.failed(at(1), from(ip, true, true), SecretKind::Shared);
        }
        assert!(limiters.locked(at(2), from("127.0.0.2", true, true), SecretKind::Shared).is_some());
    }
}
