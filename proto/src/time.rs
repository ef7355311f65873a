//! Instants and dates as plain numbers: comparable, printable in transcripts, made without a clock.

use core::ops::Add;

/// Monotonic time in microseconds since the driver started. Drives every timer; never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

/// Wall-clock time in Unix milliseconds. May jump; used only for what peers and files see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

/// Both clocks, read once per wake-up by the driver; the core never looks at one itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub mono: Mono,
    /// For timestamps on the wire and on disk, and for the freshness of signatures.
    pub wall: Wall,
}

impl Mono {
    /// Whole milliseconds from `earlier` until this instant; zero when `earlier` is later.
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }

    /// The instant `ms` milliseconds later.
    pub fn plus_millis(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }
}

impl Add<u64> for Wall {
    type Output = Self;

    /// Adds milliseconds.
    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}
