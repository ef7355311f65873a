//! The handle that asks a running driver to stop.

use crate::wake::Wake;
use clawgate_proto::Input;
use std::sync::{Arc, Mutex, PoisonError};

/// Asks the driver to stop; what that means is the gateway's decision. Clones are one handle.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What was asked for first.
    asked: Option<Ask>,
    taken: bool,
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

    fn ask(&self, ask: Ask) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.get_or_insert(ask);
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

    /// What to tell the gateway: once, after it was used.
    pub(crate) fn take(&self) -> Option<Input> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
}
