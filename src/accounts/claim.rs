//! The claim of one gateway on one account: when to try for its lock, when to look whether it still holds, and what
//! of it is news. Knows no clock and no file: moments and outcomes go in.
//!
//! The lock itself decides who owns the account. This decides how long nobody does after an owner has died: never
//! longer than [`RETRY_MAX_MS`], by whoever waits.

use crate::lock::Owner;

/// A claim.
#[derive(Debug)]
pub struct Claim {
    state: State,
    /// What was last told of it.
    told: Option<Standing>,
    due_ms: u64,
}

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This gateway owns the account.
    Ours,
    /// Another process does; which, when it has said so.
    Others(Option<Owner>),
    /// It cannot be locked; a sentence for a person.
    Fault(String),
}

/// What to do when the moment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Try for the lock, and say what came of it with [`Claim::tried`].
    Try,
    /// Look whether the lock is still in place, and say so with [`Claim::looked`].
    Look,
}

#[derive(Debug)]
enum State {
    Waiting { delay_ms: u64 },
    Owning,
}

impl Claim {
    /// A claim that is tried for at once.
    pub fn new(now_ms: u64) -> Self {
        Self { state: State::Waiting { delay_ms: RETRY_MIN_MS }, told: None, due_ms: now_ms }
    }

    /// When there is something to do.
    pub fn next_deadline(&self) -> u64 {
        self.due_ms
    }

    /// What there is to do.
    pub fn next_step(&self, now_ms: u64) -> Option<Step> {
        if now_ms < self.due_ms {
            return None;
        }
        Some(match self.state {
            State::Waiting { .. } => Step::Try,
            State::Owning => Step::Look,
        })
    }

    /// The lock was tried for. Gives how it stands, when that is news.
    pub fn tried(&mut self, now_ms: u64, outcome: Standing) -> Option<&Standing> {
        match (&outcome, &mut self.state) {
            (Standing::Ours, state) => {
                *state = State::Owning;
                self.due_ms = now_ms.saturating_add(LOOK_MS);
            }
            (Standing::Others(_) | Standing::Fault(_), State::Waiting { delay_ms }) => {
                self.due_ms = now_ms.saturating_add(*delay_ms);
                *delay_ms = delay_ms.saturating_mul(2).min(RETRY_MAX_MS);
            }
            (Standing::Others(_) | Standing::Fault(_), state @ State::Owning) => {
                *state = State::Waiting { delay_ms: RETRY_MIN_MS };
                self.due_ms = now_ms.saturating_add(RETRY_MIN_MS);
            }
        }
        // An owner who has not said who it is yet may be the one that is known, or the next.
        let is_news = match (&self.told, &outcome) {
            (Some(Standing::Others(Some(_))), Standing::Others(None)) => false,
            (told, outcome) => told.as_ref() != Some(outcome),
        };
        if !is_news {
            return None;
        }
        self.told = Some(outcome);
        self.told.as_ref()
    }

    /// It was looked whether the lock is in place. When it is not, the account has to be taken anew, and at once.
    pub fn looked(&mut self, now_ms: u64, is_in_place: bool) {
        if is_in_place {
            self.due_ms = now_ms.saturating_add(LOOK_MS);
        } else {
            self.state = State::Waiting { delay_ms: RETRY_MIN_MS };
            self.told = None;
            self.due_ms = now_ms;
        }
    }
}

/// The first retry, and the longest time between two.
pub const RETRY_MIN_MS: u64 = 100;
/// The longest time between two retries: an account whose owner died has a new one within it.
pub const RETRY_MAX_MS: u64 = 1_000;
/// Between two looks whether somebody has removed the folder, and with it the lock.
pub const LOOK_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;

    fn owner(pid: u32) -> Owner {
        Owner { pid, start_time: Some(1), profile: None, port: None, config: None, state_dir: None }
    }

    fn others(pid: u32) -> Standing {
        Standing::Others(Some(owner(pid)))
    }

    #[test]
    fn it_is_tried_for_at_once_and_then_ever_more_seldom() {
        let mut claim = Claim::new(10);
        assert_eq!((claim.next_step(9), claim.next_step(10)), (None, Some(Step::Try)));
        let (mut now, mut waits) = (10, Vec::new());
        for _ in 0..7 {
            claim.tried(now, others(1));
            waits.push(claim.next_deadline() - now);
            now = claim.next_deadline();
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_000, 1_000, 1_000]);
        assert_eq!(claim.tried(now, Standing::Ours), Some(&Standing::Ours));
        assert_eq!(claim.next_step(now + LOOK_MS - 1), None);
        assert_eq!(claim.next_step(now + LOOK_MS), Some(Step::Look));
    }

    #[test]
    fn news_is_told_once() {
        let mut claim = Claim::new(0);
        assert_eq!(claim.tried(0, Standing::Others(None)), Some(&Standing::Others(None)));
        assert_eq!(claim.tried(0, others(1)), Some(&others(1)));
        assert_eq!(claim.tried(0, others(1)), None);
        assert_eq!(claim.tried(0, Standing::Others(None)), None);
        assert_eq!(claim.tried(0, others(2)), Some(&others(2)));
        let fault = Standing::Fault("no space".into());
        assert_eq!(claim.tried(0, fault.clone()), Some(&fault));
        assert_eq!(claim.tried(0, fault), None);
        assert_eq!(claim.tried(0, Standing::Ours), Some(&Standing::Ours));
    }

    #[test]
    fn a_lock_that_was_taken_away_is_taken_anew_at_once() {
        let mut claim = Claim::new(0);
        claim.tried(0, Standing::Ours);
        claim.looked(5_000, true);
        assert_eq!(claim.next_deadline(), 10_000);
        claim.looked(10_000, false);
        assert_eq!(claim.next_step(10_000), Some(Step::Try));
        assert_eq!(claim.tried(10_000, Standing::Ours), Some(&Standing::Ours), "it is news again");
    }

    proptest! {
        /// Gateways that come, die and wait, on one lock that behaves as the kernel's: it has one owner at a time, and
        /// is without one no longer than one retry while somebody waits.
        #[test]
        fn never_two_owners_and_never_none_for_longer_than_one_retry(
            acts in prop::collection::vec((0..4usize, 1..3_000u64, any::<bool>()), 1..60),
        ) {
            let mut gateways: Vec<Option<Claim>> = (0..4).map(|_| None).collect();
            let (mut lock, mut free_since, mut now): (Option<usize>, Option<u64>, u64) = (None, None, 0);
            for (who, wait, lives) in acts {
                let until = now + wait;
                // Everything that falls due before the next act.
                loop {
                    let due = |claim: &Option<Claim>| claim.as_ref().map(Claim::next_deadline);
                    let next = gateways.iter().enumerate().filter_map(|(i, claim)| Some((due(claim)?, i))).min();
                    let Some((at, i)) = next.filter(|(at, _)| *at <= until) else { break };
                    now = now.max(at);
                    let claim = gateways[i].as_mut().unwrap();
                    match claim.next_step(now).unwrap() {
                        Step::Try => {
                            let outcome = match lock {
                                None => Standing::Ours,
                                Some(holder) => {
                                    prop_assert!(holder != i, "it tries for what it has");
                                    others(holder as u32)
                                }
                            };
                            if outcome == Standing::Ours {
                                if let Some(since) = free_since.take() {
                                    prop_assert!(now - since <= RETRY_MAX_MS, "free for {} ms", now - since);
                                }
                                lock = Some(i);
                            }
                            claim.tried(now, outcome);
                        }
                        Step::Look => claim.looked(now, true),
                    }
                }
                now = until;
                if let Some(since) = free_since {
                    prop_assert!(now - since <= RETRY_MAX_MS, "free for {} ms", now - since);
                }
                gateways[who] = lives.then(|| Claim::new(now));
                if lock == Some(who) {
                    lock = None;
                    free_since = Some(now);
                }
                if gateways.iter().all(Option::is_none) {
                    free_since = None;
                } else if lock.is_none() && free_since.is_none() {
                    free_since = Some(now);
                }
            }
        }
    }
}
