//! The process-wide byte budget: what every connection's assembling messages and queues hold together.
//!
//! A shared counter rather than a message to the gateway, because a connection must know before it takes
//! memory, and it must not wait for the lock to know it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A handle on the budget; clones share one counter.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    used: AtomicUsize,
    bytes_max: AtomicUsize,
}

impl Budget {
    /// A budget of that many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shared { used: AtomicUsize::new(0), bytes_max: AtomicUsize::new(bytes_max) }))
    }

    /// Takes `bytes` when there is room.
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        self.take_below(bytes, self.bytes_max())
    }

    fn take_below(&self, bytes: usize, bytes_max: usize) -> bool {
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= bytes_max)
            })
            .is_ok()
    }

    /// Takes `bytes` when a quarter of the whole stays free. For what peers send us and what they may miss: the rest
    /// is for answers, or a few peers that hold much could cut off all others.
    #[must_use]
    pub fn take_spare(&self, bytes: usize) -> bool {
        self.take_below(bytes, self.spare_max())
    }

    /// Whether [`Budget::take_spare`] would take so many.
    pub fn has_spare(&self, bytes: usize) -> bool {
        self.used().checked_add(bytes).is_some_and(|sum| sum <= self.spare_max())
    }

    /// Counts `bytes` that are there whether or not there is room: for what is bounded elsewhere and cannot be refused.
    /// Others find less room then.
    pub fn add(&self, bytes: usize) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives `bytes` back.
    pub fn give(&self, bytes: usize) {
        let before = self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "gave back more than was taken");
    }

    /// Another bound from now on. What is held above it is not taken back; nothing is added until it is below.
    pub fn set_max(&self, bytes_max: usize) {
        self.0.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    fn bytes_max(&self) -> usize {
        self.0.bytes_max.load(Ordering::Relaxed)
    }

    /// What [`Budget::take_spare`] fills at most.
    fn spare_max(&self) -> usize {
        let bytes_max = self.bytes_max();
        bytes_max - bytes_max / 4
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}
