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

/// The day in UTC: `2026-11-25` (the civil calendar of RFC 3339, counted in eras of 400 years).
pub(crate) fn date(wall: Wall) -> String {
    let days = wall.0 / 86_400_000 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years of this calendar begin in March, so that a leap day is the last of its year.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        const DAY_MS: u64 = 86_400_000;
        for (day, text) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (789, "1972-02-29"),
            (790, "1972-03-01"),
            (11_016, "2000-02-29"),
            (20_782, "2026-11-25"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(Wall(day * DAY_MS)), text);
            assert_eq!(date(Wall(day * DAY_MS + DAY_MS - 1)), text);
        }
    }
}
