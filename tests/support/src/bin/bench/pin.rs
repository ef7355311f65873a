//! Keeps the present thread, and every process it starts, on one processor.
//!
//! Where two processes answer each other, the kernel puts them on one processor or on two as it likes, which changes
//! a round trip three times over and stays so for seconds. On one, the ratio of two times is the ratio of the work.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;

/// Lets the thread go again when dropped.
pub(crate) struct Pinned(CpuSet);

impl Pinned {
    /// Chooses the last of the processors that are allowed.
    pub(crate) fn here() -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| before.is_set(*cpu));
        let mut one = CpuSet::new();
        one.set(last.ok_or_else(|| io::Error::other("no processor is allowed"))?);
        sched_setaffinity(None, &one)?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn it_is_one_processor_for_a_while() {
        let before = sched_getaffinity(None).unwrap().count();
        let pinned = Pinned::here().unwrap();
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        drop(pinned);
        assert_eq!(sched_getaffinity(None).unwrap().count(), before);
    }
}
