//! Fewer acts that still fail. Cheap rather than perfect: the tail goes first, then ever smaller parts, as long as
//! the budget of runs lasts.

use crate::engine::{Report, play};
use crate::plan::Plan;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A plan that fails.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What happens.
    pub plan: Plan,
    /// What is wrong then.
    pub what: String,
}

/// Plays a plan; a panic of the core is a failure like any other.
///
/// # Errors
/// What is wrong.
pub fn try_play(plan: &Plan, keeps_lines: bool) -> Result<Report, Box<Failure>> {
    let failure = |what| Box::new(Failure { plan: plan.clone(), what });
    match catch_unwind(AssertUnwindSafe(|| play(plan, keeps_lines))) {
        Ok(Report { violation: Some(what), .. }) => Err(failure(what)),
        Ok(report) => Ok(report),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(failure(format!("panic: {text}")))
        }
    }
}

/// The shortest failing plan that a bounded number of runs finds. Any failure counts.
pub fn shortest(failure: Box<Failure>) -> Box<Failure> {
    let mut best = failure;
    let mut runs = RUNS_MAX;
    let mut size = best.plan.acts.len().div_ceil(2);
    while size > 0 && runs > 0 {
        let mut end = best.plan.acts.len();
        while end > 0 && runs > 0 {
            let start = end.saturating_sub(size);
            let mut plan = best.plan.clone();
            plan.acts.drain(start..end);
            runs -= 1;
            if let Err(shorter) = try_play(&plan, false) {
                best = shorter;
            }
            end = start;
        }
        size /= 2;
    }
    best
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.plan.seed, self.what)?;
        writeln!(f, "{:?}, {} acts, {:?}:", self.plan.setup.mode, self.plan.acts.len(), self.plan.ending)?;
        for timed in &self.plan.acts {
            writeln!(f, "  @{}us {:?}", timed.at_us, timed.act)?;
        }
        Ok(())
    }
}

const RUNS_MAX: u32 = 300;
