//! How many datagrams may still be sent: two windows that slide, so that no minute and no second, wherever it begins, has
//! more than its number.

use super::limits::{PACKETS_OWN, PACKETS_PER_MINUTE_MAX, PACKETS_PER_SECOND_MAX};
use crate::time::Mono;
use std::collections::VecDeque;

/// When the last datagrams were sent: at most a minute's number of moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(VecDeque<Mono>);

/// What a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Others asked. Some of the budget is kept from it.
    Answer,
    /// A name of ours is to be kept from somebody who asks for it (RFC 6762 section 8.1): of what is kept, half.
    Defence,
    /// It has to be said to be found at all.
    Own,
}

impl Budget {
    /// Counts one datagram, unless there were too many.
    pub(super) fn take(&mut self, now: Mono, purpose: Purpose) -> bool {
        while self.0.front().is_some_and(|at| now.millis_since(*at) >= MINUTE_MS) {
            self.0.pop_front();
        }
        let kept = match purpose {
            Purpose::Answer => PACKETS_OWN,
            Purpose::Defence => PACKETS_OWN / 2,
            Purpose::Own => 0,
        };
        let in_second = self.0.iter().rev().take_while(|at| now.millis_since(**at) < SECOND_MS).count();
        let has_room =
            self.0.len() + kept < PACKETS_PER_MINUTE_MAX && in_second + kept < PACKETS_PER_SECOND_MAX;
        if has_room {
            self.0.push_back(now);
        }
        has_room
    }
}

const MINUTE_MS: u64 = 60_000;
const SECOND_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_and_no_minute_has_more_than_its_number() {
        let mut budget = Budget::default();
        let mut sent = Vec::new();
        for ms in 0..180_000 {
            let purpose = if ms % 3 == 0 { Purpose::Own } else { Purpose::Answer };
            let now = Mono(ms * 1_000);
            if budget.take(now, purpose) {
                sent.push(ms);
            }
        }
        let most = |window: u64| {
            sent.iter().map(|from| sent.iter().filter(|at| (*from..from + window).contains(at)).count()).max()
        };
        assert_eq!(most(1_000), Some(PACKETS_PER_SECOND_MAX));
        assert_eq!(most(60_000), Some(PACKETS_PER_MINUTE_MAX));
    }

    #[test]
    fn answers_leave_room_for_what_must_be_said() {
        let mut budget = Budget::default();
        let answers = (0..100).filter(|_| budget.take(Mono(0), Purpose::Answer)).count();
        let own = (0..100).filter(|_| budget.take(Mono(0), Purpose::Own)).count();
        assert_eq!((answers, own), (PACKETS_PER_SECOND_MAX - PACKETS_OWN, PACKETS_OWN));
    }
}
