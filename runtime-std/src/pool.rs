//! Performs host requests: a queue, and a thread or two that exist only while there is something in it.

use crate::driver::Driver;
use clawgate_proto::host::{HostRequest, perform};
use clawgate_proto::id::Ticket;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::{Host, Input};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Requests in order, and who works on them. The lock is a leaf. The core bounds the number of tickets in flight.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Ticket, HostRequest)>,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

/// One for the disk, and one so that a question does not wait for an fsync.
const THREADS_MAX: usize = 2;
/// Host code parses and renders documents, and is the program's own: not to be cramped. Virtual, not resident.
const STACK_BYTES: usize = 1024 * 1024;
/// How long a thread waits for more before it ends.
const IDLE: Duration = Duration::from_secs(2);

impl Pool {
    /// Adds a request, in the order of the gateway's outputs. Call [`Pool::staff`] after the lock is released.
    pub(crate) fn push(&self, ticket: Ticket, request: HostRequest) {
        let mut state = self.lock();
        if !state.is_closed {
            state.queue.push_back((ticket, request));
        }
    }

    /// Sees to it that somebody works on the queue.
    pub(crate) fn staff<H: Host>(driver: &Arc<Driver<H>>) {
        let mut state = driver.pool.lock();
        let is_short = state.queue.len() > state.idle && state.threads < THREADS_MAX;
        let is_idle = state.idle > 0 && !state.queue.is_empty();
        state.threads += usize::from(is_short);
        drop(state);
        if is_idle {
            driver.pool.more.notify_all();
        }
        if !is_short {
            return;
        }
        let worker = Arc::clone(driver);
        let Err(error) = driver.threads.spawn("clawgate-host", STACK_BYTES, move || run(&worker)) else {
            return;
        };
        driver.log(&Record::new(Level::Error, "host.thread-missing").field("error", error));
        let mut state = driver.pool.lock();
        state.threads -= 1;
        // Without anybody to do them, the requests wait for the next call, and the core's own deadline for
        // tickets gives them up if there is none.
    }

    /// Drops what waits and ends the threads.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        drop(queue);
        self.more.notify_all();
    }

    /// The next request; `None` when this thread should end, which it is counted as from then on.
    fn next(&self) -> Option<(Ticket, HostRequest)> {
        let mut state = self.lock();
        if state.queue.is_empty() && !state.is_closed {
            state.idle += 1;
            let waited =
                self.more.wait_timeout_while(state, IDLE, |state| state.queue.is_empty() && !state.is_closed);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
        let next = state.queue.pop_front();
        if next.is_none() {
            state.threads -= 1;
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run<H: Host>(driver: &Arc<Driver<H>>) {
    while let Some((ticket, request)) = driver.pool.next() {
        let fault = request.fault("the host's code panicked");
        let answer =
            catch_unwind(AssertUnwindSafe(|| perform(&*driver.host, request))).unwrap_or_else(|_| {
                driver.log(&Record::new(Level::Error, "host.panicked").field("ticket", ticket.0));
                fault
            });
        let mut scratch = driver.shelf.take(driver.clock.now());
        scratch.inputs.push(Input::Answered { ticket, answer });
        driver.apply(&mut scratch, None);
        driver.visit(&mut scratch);
        driver.shelf.give(scratch);
    }
}
