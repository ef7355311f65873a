//! Runs the core on smol's tasks and async-io: one task per connection, a few threads for all of them.
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
mod executor;
mod flag;
mod jobs;
mod mailbox;
mod mdns;
mod peer;
mod scratch;
mod stop;

pub use clock::Clock;
pub use mdns::Announcer;
pub use stop::Stop;

use crate::driver::Driver;
use crate::executor::Executor;
use async_io::Async;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::{Gateway, Host, Input};
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

/// What a run is made of.
pub struct Setup {
    /// Bound, listening sockets.
    pub listeners: Vec<TcpListener>,
    /// The core, made with a time of `clock`.
    pub gateway: Gateway,
    /// The machine below the core.
    pub host: Arc<dyn Host>,
    /// The clock of the whole run.
    pub clock: Clock,
    /// How to ask for the end.
    pub stop: Stop,
    /// Announces it, if it is to be announced.
    pub announcer: Option<Announcer>,
}

/// Serves until the core says that it has stopped. The calling thread is the lead among the workers; give it
/// 512 KiB of stack.
///
/// When it returns, all sockets are closed and all threads of the run have ended. async-io's own thread stays,
/// it belongs to the process; so does a host call that is still blocked two seconds after the stop.
///
/// # Errors
/// A listener could not be watched.
pub fn run(setup: Setup) -> io::Result<()> {
    let Setup { listeners, gateway, host, clock, stop, announcer } = setup;
    let listeners = listeners.into_iter().map(Async::new).collect::<io::Result<Vec<_>>>()?;
    let driver = Arc::new(Driver::new(gateway, host, clock));
    let executor = Executor::new();

    driver.tell(Input::Tick);
    executor.spawn(Box::pin(alarm::run(Arc::clone(&driver))));
    executor.spawn(Box::pin(stop::watch(stop.clone(), Arc::clone(&driver))));
    executor.spawn(Box::pin(stop::run(stop, Arc::clone(&driver))));
    let announcing = announcer.map(|announcer| mdns::Announcing::new(announcer, clock));
    if let Some(announcing) = &announcing {
        executor.spawn(Box::pin(Arc::clone(announcing).run()));
    }
    for listener in listeners {
        executor.spawn(Box::pin(accept::run(listener, Arc::clone(&driver), executor.clone())));
    }

    let mut helpers = Vec::new();
    for n in 1..worker_count() {
        let (shared, tasks) = (Arc::clone(&driver), executor.clone());
        let helper = thread::Builder::new().name(format!("clawgate-smol-{n}")).stack_size(STACK_BYTES);
        match helper.spawn(move || guarded(&shared, || tasks.help())) {
            Ok(handle) => helpers.push(handle),
            // The lead is enough to serve everybody, only slower.
            Err(error) => driver.log(Record::new(Level::Warn, "worker.missing").field("error", error)),
        }
    }
    guarded(&driver, || {
        async_io::block_on(poll_fn(|cx| {
            executor.poll_run(cx);
            driver.stopped.poll_raised(cx)
        }));
    });

    if let Some(announcing) = announcing {
        announcing.stop();
    }
    executor.end();
    for helper in helpers {
        if helper.join().is_err() {
            driver.fail("a helper thread panicked");
        }
    }
    // With the tasks go their sockets.
    executor.clear();
    driver.end_jobs();
    Ok(())
}

/// Connections catch their own panics, so what comes up here was an accept loop or a timer: nobody would be served.
fn guarded(driver: &Driver, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
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
