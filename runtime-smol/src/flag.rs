//! A condition that tasks wait for: stop was asked, accepting is allowed, the core has stopped.

use crate::mailbox::lock;
use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

/// Up or down, and who waits for it to be up.
pub(crate) struct Flag(Mutex<State>);

struct State {
    up: bool,
    waiting: Vec<Waker>,
}

impl Flag {
    /// A flag in that position.
    pub(crate) fn new(up: bool) -> Self {
        Self(Mutex::new(State { up, waiting: Vec::new() }))
    }

    /// Raises the flag. The caller wakes who waited, once it holds no lock.
    #[must_use]
    pub(crate) fn raise(&self) -> Vec<Waker> {
        let mut state = lock(&self.0);
        state.up = true;
        std::mem::take(&mut state.waiting)
    }

    /// Lowers the flag.
    pub(crate) fn lower(&self) {
        lock(&self.0).up = false;
    }

    /// Ready when the flag is up; else the task is woken when it is raised.
    pub(crate) fn poll_raised(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.up {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until the flag is up.
    pub(crate) async fn raised(&self) {
        poll_fn(|cx| self.poll_raised(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;

    struct Sleeper;

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_waiter_is_kept_once_and_given_out_once() {
        let flag = Flag::new(false);
        let waker = Waker::from(Arc::new(Sleeper));
        let cx = Context::from_waker(&waker);
        assert!(flag.poll_raised(&cx).is_pending());
        assert!(flag.poll_raised(&cx).is_pending());
        assert_eq!(flag.raise().len(), 1);
        assert!(flag.poll_raised(&cx).is_ready());
        assert!(flag.raise().is_empty());
        flag.lower();
        assert!(flag.poll_raised(&cx).is_pending());
    }
}
