//! A queue with a thread or two that exist only while there is something in it. There are two of them: one performs
//! host requests, which block; one works on the bytes of peers that say little, on stacks that few threads share.

use crate::driver::{Cause, Driver};
use crate::slot::Slot;
use clawgate_proto::Input;
use clawgate_proto::host::{HostRequest, perform};
use clawgate_proto::id::Ticket;
use clawgate_proto::log::{Level, Record};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Jobs in order, and who works on them. The lock is a leaf.
#[derive(Debug)]
pub(crate) struct Pool<J> {
    state: Mutex<State<J>>,
    more: Condvar,
}

#[derive(Debug)]
struct State<J> {
    queue: VecDeque<J>,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

/// What a pool's threads do.
pub(crate) trait Job: Sized + Send + 'static {
    /// The threads' name.
    const NAME: &'static str;
    /// Where a driver keeps them.
    fn pool(driver: &Driver) -> &Pool<Self>;
    /// Does it.
    fn run(self, driver: &Arc<Driver>);
}

/// A request for the host. The core bounds how many are in flight.
#[derive(Debug)]
pub(crate) struct Call(pub(crate) Ticket, pub(crate) HostRequest);

/// A slot with bytes deposited on it. There is one for each reader at most.
#[derive(Debug)]
pub(crate) struct Guest(pub(crate) Arc<Slot>);

/// Two: for the host, so that a question does not wait for an fsync; for guests, because they keep a core busy.
const THREADS_MAX: usize = 2;
/// Virtual. Few threads share what becomes resident; the host's code is the program's own and not to be cramped.
const STACK_BYTES: usize = 1024 * 1024;
/// How long a thread waits for more before it ends.
const IDLE: Duration = Duration::from_secs(2);

impl<J: Job> Pool<J> {
    pub(crate) fn new() -> Self {
        let state = State { queue: VecDeque::new(), threads: 0, idle: 0, is_closed: false };
        Self { state: Mutex::new(state), more: Condvar::new() }
    }

    /// Adds a job. Call [`Pool::staff`] when no lock is held.
    pub(crate) fn push(&self, job: J) {
        let mut state = self.lock();
        if !state.is_closed {
            state.queue.push_back(job);
        }
    }

    /// Sees to it that somebody works on the queue. False when there is nobody, and no thread could be started;
    /// the jobs wait then for the next call.
    pub(crate) fn staff(driver: &Arc<Driver>) -> bool {
        let pool = J::pool(driver);
        let mut state = pool.lock();
        let is_short = state.queue.len() > state.idle && state.threads < THREADS_MAX;
        let is_idle = state.idle > 0 && !state.queue.is_empty();
        state.threads += usize::from(is_short);
        drop(state);
        if is_idle {
            pool.more.notify_all();
        }
        if !is_short {
            return true;
        }
        let worker = Arc::clone(driver);
        let work = move || {
            while let Some(job) = J::pool(&worker).next() {
                job.run(&worker);
            }
        };
        let Err(error) = driver.threads.spawn(J::NAME, STACK_BYTES, work) else { return true };
        let mut state = pool.lock();
        state.threads -= 1;
        let is_staffed = state.threads > 0;
        drop(state);
        let record = Record::new(Level::Error, "worker.missing").field("name", J::NAME);
        driver.log(&record.field("error", error));
        is_staffed
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

    /// The next job; `None` when this thread should end, which it is counted as from then on.
    fn next(&self) -> Option<J> {
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

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job for Call {
    const NAME: &'static str = "clawgate-host";

    fn pool(driver: &Driver) -> &Pool<Self> {
        &driver.calls
    }

    fn run(self, driver: &Arc<Driver>) {
        let Self(ticket, request) = self;
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

impl Job for Guest {
    const NAME: &'static str = "clawgate-guest";

    fn pool(driver: &Driver) -> &Pool<Self> {
        &driver.guests
    }

    fn run(self, driver: &Arc<Driver>) {
        let mut scratch = driver.shelf.take(driver.clock.now());
        driver.work(&mut scratch, &self.0, Cause::Mail);
        driver.shelf.give(scratch);
    }
}
