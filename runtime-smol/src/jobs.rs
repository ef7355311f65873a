//! Host requests in flight: a queue and a few threads that may block.
//!
//! Threads of our own rather than the `blocking` crate: these have small stacks, end soon when there is nothing
//! to do (an idle gateway wakes nobody), and are waited for when the run ends.

use crate::STACK_BYTES;
use crate::driver::Driver;
use crate::mailbox::lock;
use clawgate_proto::Input;
use clawgate_proto::host::{self, HostRequest};
use clawgate_proto::id::Ticket;
use clawgate_proto::log::{Level, Record};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The pool. The core bounds how much waits here, and gives up on what takes too long.
#[derive(Default)]
pub(crate) struct Jobs {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Ticket, HostRequest)>,
    /// Threads that will still look at what waits.
    threads: usize,
    /// Those of them that wait for something to do.
    idle: usize,
    /// Threads that still hold the driver.
    alive: usize,
    ended: bool,
}

impl Jobs {
    /// Adds a request; never blocks. [`Jobs::start`] follows once the gateway's lock is free.
    pub(crate) fn add(&self, ticket: Ticket, request: HostRequest) {
        let mut state = lock(&self.state);
        if !state.ended {
            state.waiting.push_back((ticket, request));
        }
    }

    /// Sees to it that somebody works.
    pub(crate) fn start(self: &Arc<Self>, driver: &Arc<Driver>) {
        self.changed.notify_all();
        {
            let mut state = lock(&self.state);
            if state.ended || state.threads >= THREADS_MAX || state.waiting.len() <= state.idle {
                return;
            }
            state.threads += 1;
            state.alive += 1;
        }
        let (jobs, shared) = (Arc::clone(self), Arc::clone(driver));
        let thread = thread::Builder::new().name("clawgate-host".into()).stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(move || jobs.work(shared)) {
            let mut state = lock(&self.state);
            state.threads -= 1;
            state.alive -= 1;
            drop(state);
            // Those that run take it later; if there is none, the core's own deadline answers the caller.
            driver.log(Record::new(Level::Error, "host.thread-missing").field("error", error));
        }
    }

    /// Forgets what waits and gives running calls a moment to finish.
    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.waiting.clear();
        self.changed.notify_all();
        let ended = self.changed.wait_timeout_while(state, GRACE, |state| state.alive > 0);
        drop(ended.unwrap_or_else(PoisonError::into_inner));
    }

    fn work(&self, driver: Arc<Driver>) {
        while let Some((ticket, request)) = self.next() {
            let fault = request.fault("the host panicked");
            let performed = catch_unwind(AssertUnwindSafe(|| host::perform(&*driver.host, request)));
            let answer = performed.unwrap_or_else(|_panic| {
                driver.log(Record::new(Level::Error, "host.panicked").field("ticket", ticket.0));
                fault
            });
            // What can panic here is the log, or the gateway: then the next lock ends the process.
            let _ = catch_unwind(AssertUnwindSafe(|| driver.tell(Input::Answered { ticket, answer })));
        }
        drop(driver);
        lock(&self.state).alive -= 1;
        self.changed.notify_all();
    }

    /// The next request; nothing when it is time to go.
    fn next(&self) -> Option<(Ticket, HostRequest)> {
        let mut state = lock(&self.state);
        if state.waiting.is_empty() && !state.ended {
            state.idle += 1;
            let slept = self
                .changed
                .wait_timeout_while(state, LINGER, |state| state.waiting.is_empty() && !state.ended);
            state = slept.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
        let job = state.waiting.pop_front();
        if job.is_none() {
            // In the same step as the look: what is added from now on finds one thread less and starts another.
            state.threads -= 1;
        }
        job
    }
}

/// Disks do little better in parallel, and a slow call must not hold up all others.
const THREADS_MAX: usize = 3;

/// How long a thread waits for more to do.
const LINGER: Duration = Duration::from_secs(1);

/// How long the end of a run waits for calls that are still blocked.
const GRACE: Duration = Duration::from_secs(2);
