//! How much of what a network sends is read: within any second so much, counted by the work that it makes.

use super::limits::DATAGRAMS_PER_SECOND_MAX;
use super::message;
use crate::time::Mono;

/// What was taken in lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intake {
    since: Mono,
    /// In parts of an ordinary datagram.
    parts: usize,
}

impl Intake {
    /// Of nothing yet.
    pub(super) fn new(now: Mono) -> Self {
        Self { since: now, parts: 0 }
    }

    /// Time has passed.
    pub(super) fn go_on(&mut self, now: Mono) {
        if self.since.plus_millis(SECOND_MS) <= now {
            *self = Self::new(now);
        }
    }

    /// Whether there is room for more.
    pub(super) fn is_open(&self) -> bool {
        self.parts < DATAGRAMS_PER_SECOND_MAX * PARTS
    }

    /// When there is again, unless there is now.
    pub(super) fn opens_at(&self) -> Option<Mono> {
        (!self.is_open()).then(|| self.since.plus_millis(SECOND_MS))
    }

    /// A datagram that is of another link or network is looked at no further. A socket gets those of each link of the
    /// machine, so there may be many for one.
    pub(super) fn elsewhere(&mut self) {
        self.parts += 1;
    }

    /// One that is read. A name may lead through the whole of what comes before it, and a record has up to three: few bytes
    /// can be much work.
    pub(super) fn here(&mut self, bytes: &[u8]) {
        let (questions, records) = message::counts(bytes).unwrap_or_default();
        // A pointer takes two bytes.
        let steps = (questions + NAMES_OF_A_RECORD * records) * (bytes.len() / 2);
        self.parts += PARTS * (1 + steps / ORDINARY_STEPS);
    }
}

/// Parts of an ordinary datagram; one from elsewhere is one of them.
const PARTS: usize = 16;
/// As much as a datagram of fifty records in 200 bytes could make: more than what gateways and printers say.
const ORDINARY_STEPS: usize = 16_384;
/// Its owner, and two in its content (RP, SOA, MINFO).
const NAMES_OF_A_RECORD: usize = 3;
const SECOND_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mdns::limits::{DATAGRAM_BYTES_MAX, RECORDS_MAX};

    /// How many of these are taken in within a second.
    fn taken(mut one: impl FnMut(&mut Intake)) -> usize {
        let mut intake = Intake::new(Mono(0));
        let mut count = 0;
        while intake.is_open() {
            one(&mut intake);
            count += 1;
        }
        assert_eq!(intake.opens_at(), Some(Mono(1_000_000)));
        intake.go_on(Mono(999_999));
        assert!(!intake.is_open());
        intake.go_on(Mono(1_000_000));
        assert!(intake.is_open() && intake.opens_at().is_none());
        count
    }

    fn datagram(records: usize, bytes: usize) -> Vec<u8> {
        let mut datagram = vec![0; bytes];
        datagram[6..8].copy_from_slice(&u16::try_from(records).unwrap_or(u16::MAX).to_be_bytes());
        datagram
    }

    #[test]
    fn what_makes_much_work_counts_for_many() {
        assert_eq!(taken(|intake| intake.here(b"nonsense")), DATAGRAMS_PER_SECOND_MAX);
        let announcement = datagram(8, 500);
        assert_eq!(taken(|intake| intake.here(&announcement)), DATAGRAMS_PER_SECOND_MAX);
        let crafted = datagram(RECORDS_MAX, DATAGRAM_BYTES_MAX);
        assert!(taken(|intake| intake.here(&crafted)) <= 3);
    }

    #[test]
    fn what_is_of_another_link_takes_little_of_the_room() {
        assert_eq!(taken(Intake::elsewhere), PARTS * DATAGRAMS_PER_SECOND_MAX);
    }
}
