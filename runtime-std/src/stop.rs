//! The handle that asks a running driver to stop.

use crate::wake::Wake;
use std::sync::{Arc, Mutex, PoisonError};

/// Asks the driver to stop; what that means is the gateway's decision. Clones are one handle.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    asked: bool,
    taken: bool,
    wake: Option<Arc<Wake>>,
}

impl Stop {
    /// A handle nobody has used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks once; later calls change nothing. Works before [`crate::run`] is called, too.
    pub fn stop(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked = true;
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

    /// True once, after it was used.
    pub(crate) fn take(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = state.asked && !state.taken;
        state.taken |= fresh;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_taken_once_even_when_asked_early_and_twice() {
        let stop = Stop::new();
        assert!(!stop.take());
        stop.clone().stop();
        stop.stop();
        assert!(stop.take());
        stop.stop();
        assert!(!stop.take());
    }
}
