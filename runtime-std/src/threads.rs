//! Counts the threads of one running gateway, so that the end can wait for the last one.
//!
//! A counter, not join handles: a handle that nobody joins keeps the dead thread's stack.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Threads that are alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Threads(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    alive: Mutex<usize>,
    ended: Condvar,
}

struct Alive(Threads);

impl Threads {
    /// Starts a counted thread.
    pub(crate) fn spawn(
        &self,
        name: &str,
        stack_bytes: usize,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let alive = Alive::new(self.clone());
        let body = move || {
            let _alive = alive;
            body();
        };
        thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(body).map(drop)
    }

    /// Waits until all have ended, but not longer than `patience`. Gives the number of those still alive.
    pub(crate) fn wait(&self, patience: Duration) -> usize {
        let alive = self.0.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.0.ended.wait_timeout_while(alive, patience, |alive| *alive > 0);
        *result.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Alive {
    fn new(threads: Threads) -> Self {
        *threads.0.alive.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(threads)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let count = &self.0.0;
        let mut alive = count.alive.lock().unwrap_or_else(PoisonError::into_inner);
        *alive -= 1;
        if *alive == 0 {
            count.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use std::sync::mpsc;

    const FOREVER: Duration = Duration::from_secs(60);

    #[test]
    fn waits_for_all_even_for_one_that_panics() {
        let threads = Threads::default();
        let (go, gate) = mpsc::channel::<()>();
        threads.spawn("waits", 65_536, move || assert!(gate.recv().is_err())).unwrap();
        threads.spawn("panics", 65_536, || std::panic::panic_any("on purpose")).unwrap();
        assert!(threads.wait(Duration::from_millis(1)) > 0);
        drop(go);
        assert_eq!(threads.wait(FOREVER), 0);
    }

    #[test]
    fn a_thread_that_could_not_start_is_not_counted() {
        let threads = Threads::default();
        assert!(threads.spawn("huge", usize::MAX / 4, || ()).is_err());
        assert_eq!(threads.wait(Duration::ZERO), 0);
    }
}
