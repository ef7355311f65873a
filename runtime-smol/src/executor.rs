//! Runs tasks on one thread while that keeps up, and on helpers when it does not.
//!
//! The lead thread polls the reactor and runs what that wakes. An executor that wakes any idle thread for each task
//! moves a request from thread to thread instead: measured here, six times the round trip. So a helper is woken
//! only for a task that would wait: behind another one, or while the lead is busy.

use crate::mailbox::lock;
use async_task::Runnable;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// A handle; clones share the tasks.
#[derive(Clone)]
pub(crate) struct Executor(Arc<Pool>);

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    helpers: Condvar,
}

#[derive(Default)]
struct State {
    runnable: VecDeque<Runnable>,
    /// All tasks that have not ended, to be able to end them.
    tasks: HashMap<u64, Waker>,
    last_task: u64,
    /// Set while the lead sleeps in the reactor.
    lead: Option<Waker>,
    /// Helpers that sleep and are not called yet.
    idle: usize,
    /// Calls that no helper has heard yet.
    calls: usize,
    ended: bool,
}

impl Executor {
    /// Without tasks.
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Adds a task. Once the executor has ended it is dropped instead.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Unpin + Send + 'static) {
        let id = {
            let mut state = lock(&self.0.state);
            state.last_task += 1;
            state.last_task
        };
        let pool = Arc::clone(&self.0);
        let task = Spawned { future, _entry: Entry { id, pool: Arc::clone(&pool) } };
        let (runnable, handle) = async_task::spawn(task, move |runnable| pool.schedule(runnable));
        handle.detach();
        let is_alive = {
            let mut state = lock(&self.0.state);
            if !state.ended {
                state.tasks.insert(id, runnable.waker());
            }
            !state.ended
        };
        if is_alive {
            runnable.schedule();
        }
    }

    /// For the lead: runs a task, then lets the reactor have its turn. Always pending.
    ///
    /// One, not several: async-io's own thread takes the reactor over when nobody has looked at it for 50 microseconds,
    /// which is what a few dozen requests take. Then two threads drive it in turns, and pass each other at every batch.
    pub(crate) fn poll_run(&self, cx: &Context<'_>) {
        let next = {
            let mut state = lock(&self.0.state);
            let next = state.runnable.pop_front();
            state.lead = next.is_none().then(|| cx.waker().clone());
            next
        };
        if let Some(runnable) = next {
            work_on(runnable);
            cx.waker().wake_by_ref();
        }
    }

    /// For a helper: runs what waits when called. Returns when the executor ends.
    pub(crate) fn help(&self) {
        let mut state = lock(&self.0.state);
        while !state.ended {
            if let Some(runnable) = state.runnable.pop_front() {
                drop(state);
                work_on(runnable);
                state = lock(&self.0.state);
                continue;
            }
            state.idle += 1;
            let called = self.0.helpers.wait_while(state, |state| state.calls == 0 && !state.ended);
            state = called.unwrap_or_else(PoisonError::into_inner);
            // Whoever called has counted this thread as busy already.
            state.calls = state.calls.saturating_sub(1);
        }
    }

    /// Sends the helpers home; from now on what is woken is dropped.
    pub(crate) fn end(&self) {
        lock(&self.0.state).ended = true;
        self.0.helpers.notify_all();
    }

    /// Drops all tasks, after the end and when no thread runs one any more.
    pub(crate) fn clear(&self) {
        let (runnable, tasks) = {
            let mut state = lock(&self.0.state);
            (std::mem::take(&mut state.runnable), std::mem::take(&mut state.tasks))
        };
        drop(runnable);
        // Waking schedules, and scheduling drops.
        tasks.into_values().for_each(Waker::wake);
    }
}

impl Pool {
    fn schedule(&self, runnable: Runnable) {
        let mut state = lock(&self.state);
        if state.ended {
            drop(state);
            drop(runnable);
            return;
        }
        state.runnable.push_back(runnable);
        if WORKING.get() && state.runnable.len() == 1 {
            // This thread looks again when its present task is done.
            return;
        }
        if let Some(lead) = state.lead.take() {
            drop(state);
            lead.wake();
        } else if state.idle > 0 {
            state.idle -= 1;
            state.calls += 1;
            drop(state);
            self.helpers.notify_one();
        }
    }
}

/// A future that strikes itself off the list when it goes.
struct Spawned<F> {
    future: F,
    /// Behind the future, so that this goes last.
    _entry: Entry,
}

impl<F: Future<Output = ()> + Unpin> Future for Spawned<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.future).poll(cx)
    }
}

struct Entry {
    id: u64,
    pool: Arc<Pool>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let waker = lock(&self.pool.state).tasks.remove(&self.id);
        drop(waker);
    }
}

fn work_on(runnable: Runnable) {
    WORKING.set(true);
    runnable.run();
    WORKING.set(false);
}

thread_local! {
    /// This thread is running a task, and will look for more.
    static WORKING: Cell<bool> = const { Cell::new(false) };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use std::future::poll_fn;
    use std::sync::mpsc::channel;
    use std::thread;

    /// Runs the executor with so many helpers until `done` has said all there is to say.
    fn run(executor: &Executor, helpers: usize, until: impl FnOnce() + Send) {
        let stopped = crate::flag::Flag::new(false);
        thread::scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(|| executor.help());
            }
            scope.spawn(|| {
                until();
                stopped.raise().into_iter().for_each(Waker::wake);
            });
            async_io::block_on(poll_fn(|cx| {
                executor.poll_run(cx);
                stopped.poll_raised(cx)
            }));
            executor.end();
        });
        executor.clear();
    }

    #[test]
    fn every_task_runs_to_its_end() {
        for helpers in 0..3 {
            let executor = Executor::new();
            let (say, heard) = channel();
            for n in 0..1_000 {
                let (say, mut left) = (say.clone(), 5);
                executor.spawn(poll_fn(move |cx| {
                    if left == 0 {
                        say.send(n).unwrap();
                        return Poll::Ready(());
                    }
                    left -= 1;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }));
            }
            run(&executor, helpers, move || {
                let mut all: Vec<_> = heard.iter().take(1_000).collect();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..1_000));
            });
            assert!(lock(&executor.0.state).tasks.is_empty());
        }
    }

    #[test]
    fn a_task_that_takes_long_holds_nobody_up() {
        let executor = Executor::new();
        let (say, heard) = channel();
        let (release, held) = channel::<()>();
        let (begin, began) = channel();
        executor.spawn(poll_fn(move |_| {
            begin.send(()).unwrap();
            held.recv().unwrap();
            Poll::Ready(())
        }));
        let late = executor.clone();
        run(&executor, 1, move || {
            // One thread is taken for as long as the other task has not run.
            began.recv().unwrap();
            late.spawn(poll_fn(move |_| {
                say.send(()).unwrap();
                Poll::Ready(())
            }));
            heard.recv().unwrap();
            release.send(()).unwrap();
        });
    }

    #[test]
    fn what_has_not_ended_is_dropped_at_the_end() {
        let executor = Executor::new();
        let witness = Arc::new(());
        for n in 0..100 {
            let held = Arc::clone(&witness);
            executor.spawn(poll_fn(move |_| {
                let _ = &held;
                if n % 2 == 0 { Poll::Ready(()) } else { Poll::Pending }
            }));
        }
        run(&executor, 1, || {});
        assert_eq!(Arc::strong_count(&witness), 1);
        let held = Arc::clone(&witness);
        executor.spawn(poll_fn(move |_| {
            let _ = &held;
            Poll::Pending
        }));
        assert_eq!(Arc::strong_count(&witness), 1, "a late task is dropped");
        assert_eq!(Arc::strong_count(&executor.0), 1, "nothing holds the executor");
    }
}
