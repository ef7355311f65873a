//! Reads both clocks once per wake-up; nothing else in this crate looks at time.

use clawgate_proto::{Mono, Now, Wall};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Counts from its start for timers, and asks the system for the date.
///
/// The date is read anew each time: a board without a battery learns it minutes after the gateway has started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Both clocks. A date before 1970 counts as 1970.
    pub fn now(&self) -> Now {
        let mono = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: Mono(mono), wall: Wall(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)) }
    }
}
