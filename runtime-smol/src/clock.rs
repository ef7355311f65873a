//! The two clocks of a run, read once per wake-up and handed to the core as numbers.

use clawgate_proto::{Mono, Now, Wall};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time since a start, and the wall clock as it is. Copies share the start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Monotonic time begins here.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Both clocks now. The wall clock is asked each time: it may be set, and a sleeping machine must not make
    /// signatures look old for ever.
    pub fn now(&self) -> Now {
        let mono = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Now { mono: Mono(mono), wall: Wall(u64::try_from(wall).unwrap_or(u64::MAX)) }
    }

    /// The instant at which monotonic time is `at`; far future when that cannot be said.
    pub(crate) fn instant(&self, at: Mono) -> Instant {
        self.start.checked_add(Duration::from_micros(at.0)).unwrap_or(self.start + FAR)
    }
}

/// About 30 years.
const FAR: Duration = Duration::from_secs(1_000_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_where_its_monotonic_time_says() {
        let clock = Clock::start();
        let at = clock.now().mono.plus_millis(1);
        while Instant::now() < clock.instant(at) {
            std::hint::spin_loop();
        }
        assert!(clock.now().mono >= at);
        assert!(clock.instant(Mono(u64::MAX)) > clock.instant(at));
    }

    #[test]
    fn wall_time_is_the_systems() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Clock::start().now().wall;
        assert!(u128::from(wall.0) >= before.as_millis());
    }
}
