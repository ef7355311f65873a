//! The vectors a thread needs while it works, lent from a small stack so that a sleeping thread holds none.

use crate::slot::Slot;
use clawgate_proto::log::Record;
use clawgate_proto::{Input, Now, Output};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// One thread's working memory. All of it is empty between two uses, except `now`.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Read once per wake-up.
    pub(crate) now: Now,
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) logs: Vec<Record>,
    pub(crate) wire: Vec<u8>,
    /// Slots that got their first order from this thread: it visits them when it is done with its own.
    pub(crate) visits: VecDeque<Arc<Slot>>,
}

/// Working memory not in use.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<Vec<Scratch>>);

/// Kept for the next thread; more than the cores of a small board are rarely at work at once.
const KEPT_MAX: usize = 4;
/// Larger buffers go back to the allocator.
const KEPT_WIRE_BYTES_MAX: usize = 16 * 1024;
/// Longer vectors go back to the allocator.
const KEPT_ENTRIES_MAX: usize = 256;

impl Shelf {
    pub(crate) fn take(&self, now: Now) -> Scratch {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = kept.unwrap_or_default();
        scratch.now = now;
        scratch
    }

    pub(crate) fn give(&self, mut scratch: Scratch) {
        scratch.trim();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(scratch);
        }
    }
}

impl Scratch {
    fn trim(&mut self) {
        let Self { now: _, inputs, outputs, logs, wire, visits } = self;
        debug_assert!(inputs.is_empty() && outputs.is_empty() && logs.is_empty());
        debug_assert!(wire.is_empty() && visits.is_empty());
        inputs.shrink_to(KEPT_ENTRIES_MAX);
        outputs.shrink_to(KEPT_ENTRIES_MAX);
        logs.shrink_to(KEPT_ENTRIES_MAX);
        wire.shrink_to(KEPT_WIRE_BYTES_MAX);
        visits.shrink_to(KEPT_ENTRIES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_are_not_kept() {
        let shelf = Shelf::default();
        let mut scratch = shelf.take(Now::default());
        scratch.wire = Vec::with_capacity(1 << 20);
        scratch.inputs.reserve(10_000);
        shelf.give(scratch);
        let scratch = shelf.take(Now::default());
        assert!(scratch.wire.capacity() <= KEPT_WIRE_BYTES_MAX);
        assert!(scratch.inputs.capacity() <= KEPT_ENTRIES_MAX);
    }

    #[test]
    fn only_a_few_are_kept() {
        let shelf = Shelf::default();
        let many: Vec<_> = (0..KEPT_MAX + 3).map(|_| shelf.take(Now::default())).collect();
        many.into_iter().for_each(|scratch| shelf.give(scratch));
        assert_eq!(shelf.0.lock().map(|kept| kept.len()).ok(), Some(KEPT_MAX));
    }
}
