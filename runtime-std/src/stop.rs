//! The handle by which the program reaches a running driver: to stop it, and to have it look at the configuration file.

use crate::wake::Wake;
use clawgate_proto::Input;
use std::sync::{Arc, Mutex, PoisonError};

/// Asks the driver to stop, or to look at the configuration file; what that means is the gateway's decision. Clones are
/// one handle.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What was asked for first.
    asked: Option<Ask>,
    taken: bool,
    /// The configuration file may have been changed, and the gateway has not heard of it.
    is_config_touched: bool,
    wake: Option<Arc<Wake>>,
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Stop,
    Restart,
}

impl Stop {
    /// A handle nobody has used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks once; later calls change nothing. Works before [`crate::run`] is called, too.
    pub fn stop(&self) {
        self.ask(Ask::Stop);
    }

    /// The same, and clients are told that the gateway comes back.
    pub fn restart(&self) {
        self.ask(Ask::Restart);
    }

    /// Tells the gateway that the configuration file may have been changed. Any number of times.
    pub fn config_touched(&self) {
        self.wake_with(|state| state.is_config_touched = true);
    }

    fn ask(&self, ask: Ask) {
        self.wake_with(|state| {
            state.asked.get_or_insert(ask);
        });
    }

    fn wake_with(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let wake = state.wake.clone();
        drop(state);
        if let Some(wake) = wake {
            wake.wake();
        }
    }

    /// Whom to wake when it is used.
    pub(crate) fn attach(&self, wake: Arc<Wake>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wake = Some(wake);
    }

    /// What to tell the gateway: an end once, after it was asked for; a touched file once each time.
    pub(crate) fn take(&self) -> Option<Input> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.is_config_touched) {
            return Some(Input::ConfigTouched);
        }
        let asked = state.asked.filter(|_| !state.taken)?;
        state.taken = true;
        Some(match asked {
            Ask::Stop => Input::Stop,
            Ask::Restart => Input::Restart,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_taken_once_even_when_asked_early_and_twice() {
        let stop = Stop::new();
        assert!(stop.take().is_none());
        stop.clone().stop();
        stop.restart();
        assert!(matches!(stop.take(), Some(Input::Stop)));
        stop.stop();
        assert!(stop.take().is_none());
        let stop = Stop::new();
        stop.restart();
        assert!(matches!(stop.take(), Some(Input::Restart)));
    }

    #[test]
    fn a_touched_file_is_told_once_each_time_and_keeps_no_end_away() {
        let stop = Stop::new();
        stop.config_touched();
        stop.config_touched();
        stop.stop();
        assert!(matches!(stop.take(), Some(Input::ConfigTouched)));
        assert!(matches!(stop.take(), Some(Input::Stop)));
        assert!(stop.take().is_none());
        stop.config_touched();
        assert!(matches!(stop.take(), Some(Input::ConfigTouched)));
    }
}
