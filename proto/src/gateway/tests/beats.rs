//! Signs of life: when they are given, and when not.

use super::*;

impl Rig {
    /// Lets time pass to the deadlines, one by one, and counts the signs of life on the way.
    fn beats_within(&mut self, ms: u64) -> usize {
        let end = self.now.mono.plus_millis(ms);
        let mut beats = 0;
        for _ in 0..10_000 {
            match self.gateway.next_deadline().filter(|at| *at <= end) {
                Some(at) => self.now.mono = self.now.mono.max(at),
                None => break,
            }
            beats += self.handle(Input::Tick).iter().filter(|output| matches!(output, Output::Beat)).count();
        }
        self.now.mono = end;
        beats
    }
}

#[test]
fn nobody_who_does_not_ask_is_told_that_it_lives() {
    let mut rig = Rig::new(Limits::default());
    assert_eq!(rig.beats_within(120_000), 0);
}

#[test]
fn the_first_tick_is_the_first_beat_and_may_be_the_only_one() {
    let mut rig = Rig::new(Limits::default());
    rig.gateway.set_beats(rig.now, None);
    assert_eq!(rig.beats_within(0), 1);
    assert_eq!(rig.beats_within(120_000), 0);
}

#[test]
fn beats_follow_each_other_and_missed_ones_are_not_made_up_for() {
    let mut rig = Rig::new(Limits::default());
    rig.gateway.set_beats(rig.now, Some(500));
    assert_eq!(rig.beats_within(10_000), 21);
    // It was stuck for a minute: nobody claims afterwards that it lived meanwhile.
    rig.now.mono = rig.now.mono.plus_millis(60_000);
    let out = rig.handle(Input::Tick);
    assert_eq!(out.iter().filter(|output| matches!(output, Output::Beat)).count(), 1);
}

#[test]
fn a_gateway_that_drains_still_lives() {
    let mut rig = Rig::new(Limits::default());
    rig.gateway.set_beats(rig.now, Some(500));
    rig.admit();
    let drain_ms = rig.gateway.config.limits.drain_timeout_ms;
    let out = rig.handle(Input::Stop);
    assert!(!out.iter().any(|output| matches!(output, Output::Stopped)), "somebody is still here");
    assert!(drain_ms > 1_000 && rig.beats_within(drain_ms - 1) >= 2);
}
