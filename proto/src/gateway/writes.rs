//! Budgets of calls: so many a fixed window, counted before anything is done, so that failing calls count too. One is for
//! control-plane writes (spec: methods section 1.1, v4 section 8), one for requests for more scopes.

use crate::id::ConnId;
use crate::time::Mono;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

/// Whose window, for what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WriteKey {
    /// A method, or nothing for the ones that share a window.
    pub(super) method: &'static str,
    pub(super) device_id: Option<String>,
    pub(super) ip: Option<IpAddr>,
    /// Only when neither device nor address is known.
    pub(super) conn: Option<ConnId>,
}

/// What one window takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Calls.
    pub(super) max: u32,
    /// How long it lasts; the same for all windows of one [`Writes`].
    pub(super) window_ms: u64,
    /// Windows that are remembered; the oldest go first.
    pub(super) windows_max: usize,
}

/// Windows that are open.
#[derive(Debug, Default)]
pub(super) struct Writes {
    windows: BTreeMap<WriteKey, Window>,
    /// Oldest first.
    order: BTreeSet<(Mono, WriteKey)>,
}

#[derive(Debug)]
struct Window {
    from: Mono,
    used: u32,
}

impl Writes {
    /// Takes one out of a window. `Err` with the milliseconds until it ends.
    pub(super) fn take(&mut self, now: Mono, key: WriteKey, allowance: Allowance) -> Result<(), u64> {
        let Allowance { max, window_ms, windows_max } = allowance;
        while let Some((from, old)) = self.order.first() {
            let is_over = now.millis_since(*from) >= window_ms;
            let is_excess = self.windows.len() >= windows_max.max(1) && !self.windows.contains_key(&key);
            if !is_over && !is_excess {
                break;
            }
            self.windows.remove(old);
            self.order.pop_first();
        }
        if let Some(window) = self.windows.get_mut(&key) {
            if window.used >= max {
                return Err(window_ms.saturating_sub(now.millis_since(window.from)).max(1));
            }
            window.used += 1;
            return Ok(());
        }
        self.order.insert((now, key.clone()));
        self.windows.insert(key, Window { from: now, used: 1 });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(method: &'static str, n: u8) -> WriteKey {
        WriteKey { method, device_id: None, ip: Some(IpAddr::from([192, 0, 2, n])), conn: None }
    }

    fn at(ms: u64) -> Mono {
        Mono::default().plus_millis(ms)
    }

    #[test]
    fn a_window_is_fixed_and_ends() {
        let mut writes = Writes::default();
        let allowance = Allowance { max: 3, window_ms: 60_000, windows_max: 1_024 };
        for ms in [0, 10, 59_000] {
            assert_eq!(writes.take(at(ms), key("m", 1), allowance), Ok(()));
        }
        assert_eq!(writes.take(at(59_500), key("m", 1), allowance), Err(500));
        assert_eq!(writes.take(at(59_500), key("m", 2), allowance), Ok(()), "another address");
        assert_eq!(writes.take(at(59_500), key("n", 1), allowance), Ok(()), "another method");
        assert_eq!(writes.take(at(60_000), key("m", 1), allowance), Ok(()), "the window is over");
    }

    #[test]
    fn windows_are_bounded_and_the_oldest_go() {
        let mut writes = Writes::default();
        let allowance = Allowance { max: 1, window_ms: 60_000, windows_max: 4 };
        for n in 0..20 {
            assert_eq!(writes.take(at(n.into()), key("m", n), allowance), Ok(()));
            assert!(writes.windows.len() <= 4 && writes.order.len() == writes.windows.len());
        }
        assert!(writes.take(at(20), key("m", 19), allowance).is_err());
        writes.take(at(70_000), key("m", 0), allowance).unwrap_or_default();
        assert_eq!((writes.windows.len(), writes.order.len()), (1, 1), "what is over is forgotten");
    }
}
