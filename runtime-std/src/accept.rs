//! Accepts sockets: one thread for all listeners, in one `poll`. It keeps on whatever happens: it never dies of a
//! full file table, and never spins on one.

use crate::driver::{Cause, Driver};
use crate::reader;
use crate::wake::Wake;
use clawgate_proto::Peer;
use clawgate_proto::log::{Level, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether to accept, and how the accepting thread learns that this has changed.
#[derive(Debug)]
pub(crate) struct Gate {
    wake: Wake,
    open: AtomicBool,
    ended: AtomicBool,
}

/// After the gateway refused a socket, or the host could not carry one.
const PAUSE_REFUSED: Duration = Duration::from_millis(20);
/// After the host ran out of file descriptors or memory.
const PAUSE_EXHAUSTED: Duration = Duration::from_millis(100);
/// Sockets taken from one listener before the others have their turn.
const BATCH: usize = 32;

impl Gate {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { wake: Wake::new()?, open: AtomicBool::new(true), ended: AtomicBool::new(false) })
    }

    /// Opens or shuts the gate. Says whether the thread must be woken.
    pub(crate) fn set(&self, open: bool) -> bool {
        self.open.swap(open, Ordering::AcqRel) != open
    }

    pub(crate) fn wake(&self) {
        self.wake.wake();
    }

    /// No socket is ever accepted again.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake.wake();
    }
}

/// Accepts until the gate ends.
pub(crate) fn accept(driver: &Arc<Driver>, listeners: &[TcpListener]) {
    let mut pause = None;
    let mut is_exhausted = false;
    loop {
        let open = driver.gate.open.load(Ordering::Acquire) && pause.is_none();
        let mut fds = vec![PollFd::new(&driver.gate.wake, PollFlags::IN)];
        if open {
            fds.extend(listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        }
        let timeout =
            pause.take().map(|pause: Duration| Timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => {
                std::thread::sleep(PAUSE_EXHAUSTED);
                continue;
            }
        }
        if !fds[0].revents().is_empty() {
            driver.gate.wake.clear();
        }
        if driver.gate.ended.load(Ordering::Acquire) {
            return;
        }
        for (fd, listener) in fds[1..].iter().zip(listeners) {
            if fd.revents().is_empty() {
                continue;
            }
            match accept_batch(driver, listener) {
                Ok(Batch::Accepted) => is_exhausted = false,
                Ok(Batch::Refused) => pause = Some(PAUSE_REFUSED),
                Err(error) => {
                    if !is_exhausted {
                        let record = Record::new(Level::Error, "accept.failed");
                        driver.log(&record.field("error", error));
                    }
                    is_exhausted = true;
                    pause = Some(PAUSE_EXHAUSTED);
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Batch {
    Accepted,
    Refused,
}

fn accept_batch(driver: &Arc<Driver>, listener: &TcpListener) -> io::Result<Batch> {
    for _ in 0..BATCH {
        if !driver.gate.open.load(Ordering::Acquire) {
            break;
        }
        let (stream, remote) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // It was gone again before we came, or a signal: the next one may be fine.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let Ok(local) = stream.local_addr() else { continue };
        if prepare(&stream).is_err() {
            continue; // reset already
        }
        if !start(driver, stream, Peer { remote, local }) {
            return Ok(Batch::Refused);
        }
    }
    Ok(Batch::Accepted)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Elsewhere an accepted socket inherits the listener's mode.
    if cfg!(not(target_os = "linux")) {
        stream.set_nonblocking(false)?;
    }
    stream.set_nodelay(true)
}

/// Opens a connection and starts its reader. False when that was refused; then the socket is closed.
fn start(driver: &Arc<Driver>, stream: TcpStream, peer: Peer) -> bool {
    let mut scratch = driver.shelf.take(driver.clock.now());
    let is_started = match driver.open(&mut scratch, stream, peer) {
        Err(_) => false,
        Ok(slot) => {
            let reading = driver.work(&mut scratch, &slot, Cause::Mail); // arms its first deadline
            let (task, own) = (Arc::clone(driver), Arc::clone(&slot));
            let read = move || reader::read(&task, &own, reading);
            let spawned = driver.threads.spawn("clawgate-conn", reader::STACK_BYTES, read);
            if let Err(error) = &spawned {
                let record = Record::new(Level::Error, "reader.missing").conn(slot.id);
                driver.log(&record.field("error", error));
                driver.close(&mut scratch, &slot);
            }
            spawned.is_ok()
        }
    };
    driver.visit(&mut scratch);
    driver.shelf.give(scratch);
    is_started
}

/// Makes listeners fit for [`accept`]: a peer that is gone between `poll` and `accept` must not block it.
pub(crate) fn prepare_listeners(listeners: &[TcpListener]) -> io::Result<()> {
    listeners.iter().try_for_each(|listener| listener.set_nonblocking(true))
}
