//! The thread that called [`crate::run`]: it sleeps in one `poll` until a deadline passes, a full socket has room
//! again, or somebody wakes it, and does then what no other thread is there to do.

use crate::driver::{Cause, Driver};
use crate::scratch::Scratch;
use crate::slot::Slot;
use crate::stop::Stop;
use crate::wake::Wake;
use clawgate_proto::{Input, Mono};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A touched file and an end.
const TOLD_AT_ONCE: usize = 2;

/// How others reach the keeper. The inbox is a leaf lock.
#[derive(Debug)]
pub(crate) struct Keeper {
    wake: Arc<Wake>,
    inbox: Mutex<Vec<Arc<Slot>>>,
    ended: AtomicBool,
}

impl Keeper {
    pub(crate) fn new(wake: Arc<Wake>) -> Self {
        Self { wake, inbox: Mutex::new(Vec::new()), ended: AtomicBool::new(false) }
    }

    /// Hands over a slot whose socket is full, or on which there is more to do. Wake it afterwards.
    pub(crate) fn push(&self, slot: Arc<Slot>) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }

    pub(crate) fn wake(&self) {
        self.wake.wake();
    }

    /// The gateway has stopped.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake.wake();
    }

    fn take(&self) -> Vec<Arc<Slot>> {
        std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs until the gateway has stopped.
pub(crate) fn keep(driver: &Arc<Driver>, stop: &Stop) {
    let mut watched: Vec<Arc<Slot>> = Vec::new();
    let mut fired = Vec::new();
    loop {
        let mut scratch = driver.shelf.take(driver.clock.now());
        if driver.timers.take_due(scratch.now.mono, &mut fired) {
            scratch.inputs.push(Input::Tick);
        }
        scratch.inputs.extend(std::iter::from_fn(|| stop.take()).take(TOLD_AT_ONCE));
        feed(driver, &mut scratch);
        for slot in fired.drain(..) {
            driver.work(&mut scratch, &slot, Cause::Due);
        }
        for slot in driver.keeper.take() {
            let mut session = slot.lock();
            session.queued = false;
            let is_unwatched = session.blocked && !session.watched;
            session.watched |= is_unwatched;
            drop(session);
            if is_unwatched {
                watched.push(Arc::clone(&slot));
            }
            driver.work(&mut scratch, &slot, Cause::Mail);
        }
        driver.shelf.give(scratch);
        if driver.keeper.ended.load(Ordering::Acquire) {
            return;
        }
        let until = driver.timers.sleep();
        wait(driver, &mut watched, until);
    }
}

/// Hands `scratch.inputs` to the gateway, if there are any, and carries the orders out.
pub(crate) fn feed(driver: &Arc<Driver>, scratch: &mut Scratch) {
    if !scratch.inputs.is_empty() {
        driver.apply(scratch, None);
        driver.visit(scratch);
    }
}

/// Sleeps, and goes on writing where there is room.
fn wait(driver: &Arc<Driver>, watched: &mut Vec<Arc<Slot>>, until: Option<Mono>) {
    let timeout = until.map(|until| timeout(driver.clock.now().mono, until));
    let mut fds = Vec::with_capacity(1 + watched.len());
    fds.push(PollFd::new(&*driver.keeper.wake, PollFlags::IN));
    fds.extend(watched.iter().map(|slot| PollFd::new(&slot.stream, PollFlags::OUT)));
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return,
        Err(_) => {
            // No memory for the kernel's copy of the list: it may come back, spinning would not help it.
            std::thread::sleep(Duration::from_millis(10));
            return;
        }
    }
    if !fds[0].revents().is_empty() {
        driver.keeper.wake.clear();
    }
    let mut is_ready = fds[1..].iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
    let mut ready = Vec::new();
    watched.retain(|slot| {
        let is_ready = is_ready.next().unwrap_or(false);
        if is_ready {
            ready.push(Arc::clone(slot));
        }
        !is_ready
    });
    if ready.is_empty() {
        return;
    }
    let mut scratch = driver.shelf.take(driver.clock.now());
    for slot in ready {
        driver.work(&mut scratch, &slot, Cause::Writable);
    }
    driver.shelf.give(scratch);
}

/// From now until then, a millisecond at least: a deadline that does not move must not make us spin.
pub(crate) fn timeout(now: Mono, until: Mono) -> Timespec {
    let micros = until.0.saturating_sub(now.0).max(1_000);
    Timespec {
        tv_sec: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
        tv_nsec: (micros % 1_000_000 * 1_000) as _,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_a_millisecond_at_least() {
        for (now, until, sec, nsec) in [
            (5, 4, 0, 1_000_000),
            (5, 5, 0, 1_000_000),
            (0, 1_500, 0, 1_500_000),
            (1_000_000, 4_250_000, 3, 250_000_000),
        ] {
            let timeout = timeout(Mono(now), Mono(until));
            assert_eq!((timeout.tv_sec, timeout.tv_nsec), (sec, nsec));
        }
    }
}
