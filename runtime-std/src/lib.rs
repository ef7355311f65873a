//! Runs the clawgate core on blocking threads: for small and embedded hosts.
//!
//! The driver carries values between sockets, host and core, and decides nothing. Its threads:
//!
//! - the one that called [`run`], the *keeper*: timers, sockets whose buffer is full, the end;
//! - one that accepts, for all listeners;
//! - one reader per socket, blocked in `recv`. Whoever caused bytes for a socket writes them, without blocking;
//!   what the kernel does not take waits for the keeper;
//! - one that announces the gateway on its network, where it is to be announced;
//! - up to two that perform host requests, and up to two that work on what peers say who say little, while there is
//!   any.
#![forbid(unsafe_code)]

mod accept;
mod clock;
mod driver;
mod keeper;
mod mdns;
mod pool;
mod reader;
mod scratch;
mod slot;
mod stop;
mod threads;
mod timers;
mod wake;

pub use clock::Clock;
pub use mdns::Announcer;
pub use stop::Stop;

use clawgate_proto::log::{Level, Record};
use clawgate_proto::{Gateway, Host, Input};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// What [`run`] needs.
pub struct Setup {
    /// Bound and listening. They are made non-blocking, and closed at the end.
    pub listeners: Vec<TcpListener>,
    /// The core, made at `clock.now()`.
    pub gateway: Gateway,
    /// Where host requests go.
    pub host: Arc<dyn Host>,
    /// The clock that made the gateway's first `Now`.
    pub clock: Clock,
    /// Ends it.
    pub stop: Stop,
    /// Announces it, if it is to be announced.
    pub announcer: Option<Announcer>,
}

/// Threads are given this long to end after all sockets are cut: only host code can take it.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// As deep as a reader goes, since it works on the same connections.
const ACCEPT_STACK_BYTES: usize = reader::STACK_BYTES;

/// Serves until the gateway says that it has stopped, which it does some time after [`Stop::stop`]. No thread and
/// no socket is left then.
///
/// A panic in the gateway ends the process; one in a connection ends that connection.
///
/// # Errors
/// There are no descriptors or threads to start with.
pub fn run(setup: Setup) -> io::Result<()> {
    let Setup { listeners, gateway, host, clock, stop, announcer } = setup;
    accept::prepare_listeners(&listeners)?;
    let wake = Arc::new(wake::Wake::new()?);
    stop.attach(Arc::clone(&wake));
    let keeper = keeper::Keeper::new(wake);
    let driver = Arc::new(driver::Driver::new(host, clock, gateway, keeper, accept::Gate::new()?));

    let mut scratch = driver.shelf.take(clock.now());
    scratch.inputs.push(Input::Tick);
    keeper::feed(&driver, &mut scratch);
    driver.shelf.give(scratch);

    let acceptor = Arc::clone(&driver);
    let started = driver
        .threads
        .spawn("clawgate-accept", ACCEPT_STACK_BYTES, move || accept::accept(&acceptor, &listeners));
    let bell = announcer.and_then(|announcer| announce(&driver, announcer, clock));
    if started.is_ok() {
        keeper::keep(&driver, &stop);
    }
    if let Some(bell) = bell {
        bell.ring();
    }
    end(&driver);
    started
}

/// Starts the announcement. A gateway that nobody is told of serves all the same.
fn announce(driver: &driver::Driver, announcer: Announcer, clock: Clock) -> Option<Arc<mdns::Bell>> {
    let started = mdns::Bell::new().map(Arc::new).and_then(|bell| {
        let theirs = Arc::clone(&bell);
        let announce = move || mdns::announce(announcer, clock, &theirs);
        driver.threads.spawn("clawgate-mdns", mdns::STACK_BYTES, announce).map(|()| bell)
    });
    started.map_err(|error| driver.log(&Record::new(Level::Warn, "mdns.missing").field("error", error))).ok()
}

/// Cuts what is left and waits for the threads.
fn end(driver: &Arc<driver::Driver>) {
    driver.gate.end();
    driver.calls.close();
    driver.guests.close();
    // A socket may have been accepted just now: look until nobody is left who could be cut.
    let mut alive = usize::MAX;
    for _ in 0..END_PATIENCE.as_millis() / END_ROUND.as_millis() {
        for slot in driver.slots() {
            let mut session = slot.lock();
            session.finished = true;
            slot.notify(&session);
            drop(session);
            slot.shutdown();
        }
        alive = driver.threads.wait(END_ROUND);
        if alive == 0 {
            return;
        }
    }
    driver.log(&Record::new(Level::Error, "threads.left").field("threads", alive));
}

/// Between two looks for sockets to cut.
const END_ROUND: Duration = Duration::from_millis(50);
