//! Runs the core on smol's executor and async-io: one task per connection, a few threads for all of them.
//!
//! The driver decides nothing. It binds clocks, sockets and host to the core's values: bytes go into a
//! [`Connection`](clawgate_proto::Connection), its facts into the one [`Gateway`], the gateway's orders into
//! mailboxes, and host requests onto a small pool.
//!
//! What holds everywhere in this crate:
//! - One mutex guards the gateway and the mailbox table. Nothing awaits, blocks, wakes, logs or calls the host
//!   while it is held; orders are posted under it, so that two threads cannot swap messages to one peer.
//! - Every other mutex is a leaf: no second lock is taken below it.
//! - A connection is owned by its task and needs no lock. An idle task keeps no buffer.
//! - A panic in a connection's task costs that connection. One in the gateway ends the process.

mod accept;
mod alarm;
mod clock;
mod driver;
mod flag;
mod jobs;
mod mailbox;
mod peer;
mod scratch;
mod stop;

pub use clock::Clock;
pub use stop::Stop;

use crate::driver::Driver;
use async_executor::Executor;
use async_io::Async;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::{Gateway, Host, Input};
use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

/// What a run is made of.
pub struct Setup<H> {
    /// Bound, listening sockets.
    pub listeners: Vec<TcpListener>,
    /// The core, made with a time of `clock`.
    pub gateway: Gateway,
    /// The machine below the core.
    pub host: Arc<H>,
    /// The clock of the whole run.
    pub clock: Clock,
    /// How to ask for the end.
    pub stop: Stop,
}

/// Serves until the core says that it has stopped. The calling thread is one of the workers.
///
/// When it returns, all sockets are closed and all threads of the run have ended. async-io's own thread stays,
/// it belongs to the process; so does a host call that is still blocked two seconds after the stop.
///
/// # Errors
/// A listener could not be watched.
pub fn run<H: Host>(setup: Setup<H>) -> io::Result<()> {
    let Setup { listeners, gateway, host, clock, stop } = setup;
    let listeners = listeners.into_iter().map(Async::new).collect::<io::Result<Vec<_>>>()?;
    let driver = Arc::new(Driver::new(gateway, host, clock));
    let executor = Arc::new(Executor::new());

    driver.tell(Input::Tick);
    executor.spawn(alarm::run(Arc::clone(&driver))).detach();
    executor.spawn(stop::run(stop, Arc::clone(&driver))).detach();
    for listener in listeners {
        executor.spawn(accept::run(listener, Arc::clone(&driver), Arc::downgrade(&executor))).detach();
    }

    let mut workers = Vec::new();
    for n in 1..worker_count() {
        let (shared, tasks) = (Arc::clone(&driver), Arc::clone(&executor));
        let worker = thread::Builder::new().name(format!("clawgate-smol-{n}")).stack_size(STACK_BYTES);
        match worker.spawn(move || work(&shared, &tasks)) {
            Ok(handle) => workers.push(handle),
            // One worker is enough to serve everybody, only slower.
            Err(error) => driver.log(Record::new(Level::Warn, "worker.missing").field("error", error)),
        }
    }
    work(&driver, &executor);
    for worker in workers {
        if worker.join().is_err() {
            driver.fail("a worker thread panicked");
        }
    }
    // Cancels every task that is left, and with it closes its socket.
    drop(executor);
    driver.end_jobs();
    Ok(())
}

/// Polls tasks and the reactor until the core has stopped.
fn work<H: Host>(driver: &Driver<H>, executor: &Executor<'static>) {
    let ended = AssertUnwindSafe(|| async_io::block_on(executor.run(driver.stopped.raised())));
    if catch_unwind(ended).is_err() {
        // Connections catch their own panics, so this was an accept loop or a timer: nobody would be served.
        driver.fail("a driver task panicked");
    }
}

fn worker_count() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get).min(WORKERS_MAX)
}

/// More would only wait for the gateway's lock.
const WORKERS_MAX: usize = 4;

/// Address space of a thread that may parse JSON 128 levels deep or check a signature, in a debug build too. Only
/// what is touched becomes resident.
const STACK_BYTES: usize = 512 * 1024;
