//! One connection's task: it owns the socket and the [`Connection`], and moves bytes, facts and orders.
//!
//! Reading and writing are plain calls on a non-blocking socket, through buffers of the thread. Only when a
//! round moved nothing does the task ask to be woken: by the socket, its mailbox, or its deadline.

use crate::driver::Driver;
use crate::mailbox::Mailbox;
use crate::scratch::{self, Scratch};
use async_io::{Async, Timer};
use clawgate_proto::id::ConnId;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::{Connection, Input, Mono, Next, Now};
use std::future::Future;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Serves one socket until it is gone, then reports that.
pub(crate) fn run(
    driver: Arc<Driver>,
    conn: Connection,
    mailbox: Arc<Mailbox>,
    socket: Async<TcpStream>,
) -> impl Future<Output = ()> + Unpin + Send {
    let slot = Slot { id: conn.id(), driver };
    Task {
        conn,
        socket,
        mailbox,
        unread: Vec::new(),
        unsent: Vec::new(),
        sent: 0,
        timer: Timer::never(),
        armed: None,
        readable: true,
        writable: true,
        at_end: false,
        shut: false,
        broken: false,
        slot,
    }
}

struct Task {
    conn: Connection,
    socket: Async<TcpStream>,
    mailbox: Arc<Mailbox>,
    /// Read, but not taken by the connection yet; nothing more is read meanwhile.
    unread: Vec<u8>,
    /// Taken from the connection, but not by the socket yet, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    timer: Timer,
    /// When the timer goes off: at the deadline or earlier.
    armed: Option<Mono>,
    /// The socket may have something to read; known not to when `false`.
    readable: bool,
    /// The socket may have room; known not to when `false`.
    writable: bool,
    /// The peer sends no more.
    at_end: bool,
    /// We send no more.
    shut: bool,
    /// Writing failed.
    broken: bool,
    /// Last, so that the socket is gone when this reports it.
    slot: Slot,
}

/// Reports `Input::Closed` when it goes: after the end, a panic, or never having run.
struct Slot {
    id: ConnId,
    driver: Arc<Driver>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.driver.close(self.id);
    }
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let polled = AssertUnwindSafe(|| scratch::with(|scratch| this.advance(cx, scratch)));
        catch_unwind(polled).unwrap_or_else(|_panic| {
            // The panic hook has said where. The state is not looked at again.
            let record = Record::new(Level::Error, "connection.panicked").conn(this.slot.id);
            this.slot.driver.log(record);
            Poll::Ready(())
        })
    }
}

impl Task {
    fn advance(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<()> {
        for _ in 0..ROUNDS_MAX {
            let now = self.slot.driver.clock.now();
            let moved = self.round(now, scratch);
            if self.broken || self.conn.is_finished() {
                // The executor drops the task, and with it the socket.
                return Poll::Ready(());
            }
            if !moved && !self.arm(now, cx) {
                return Poll::Pending;
            }
        }
        // Others want this thread too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves what can be moved now; says whether anything was.
    fn round(&mut self, now: Now, scratch: &mut Scratch) -> bool {
        let mut moved = self.take_orders(now);
        if self.conn.next_deadline().is_some_and(|at| at <= now.mono) {
            self.conn.handle_timeout(now);
        }
        moved |= self.read(now, scratch);
        if self.tell(now, scratch) {
            moved = true;
            // Most answers are there at once.
            self.take_orders(now);
        }
        moved |= self.write(now, scratch);
        if !self.shut && self.conn.wants_shutdown() {
            self.shut = true;
            self.broken |= self.socket.get_ref().shutdown(Shutdown::Write).is_err();
        }
        if self.broken {
            // Lets the connection say that it ends.
            if !self.at_end {
                self.end(now);
            }
            self.gather(now, &[], &mut scratch.inputs);
            self.tell(now, scratch);
        }
        moved
    }

    fn take_orders(&mut self, now: Now) -> bool {
        let orders = self.mailbox.take();
        let moved = !orders.is_empty();
        for order in orders {
            self.conn.apply(now, order);
        }
        moved
    }

    /// Gathers facts, from bytes that were left over or from those of one read.
    fn read(&mut self, now: Now, scratch: &mut Scratch) -> bool {
        if !self.unread.is_empty() {
            let unread = std::mem::take(&mut self.unread);
            let taken = self.gather(now, &unread, &mut scratch.inputs);
            self.keep(unread, taken);
            return taken > 0;
        }
        if !self.readable || self.at_end || !self.conn.wants_read() {
            self.gather(now, &[], &mut scratch.inputs);
            return false;
        }
        let count = match self.socket.get_ref().read(&mut scratch.read) {
            Ok(0) => {
                self.end(now);
                0
            }
            Ok(count) => {
                // A short read emptied the socket; what came since then shows when we ask to be woken.
                self.readable = count == scratch.read.len();
                count
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                self.gather(now, &[], &mut scratch.inputs);
                return false;
            }
            Err(_) => {
                self.end(now);
                0
            }
        };
        let taken = self.gather(now, &scratch.read[..count], &mut scratch.inputs);
        self.unread.extend_from_slice(&scratch.read[taken..count]);
        true
    }

    /// Offers `bytes` and collects facts, until all are taken, no more are wanted, or it is time to tell. Says how
    /// many bytes were taken.
    fn gather(&mut self, now: Now, bytes: &[u8], inputs: &mut Vec<Input>) -> usize {
        let mut taken = 0;
        loop {
            while inputs.len() < INPUTS_MAX {
                match self.conn.next_event(now) {
                    Next::Event(input) => inputs.push(input),
                    Next::NeedData | Next::Paused => break,
                }
            }
            if taken == bytes.len() || inputs.len() >= INPUTS_MAX || !self.conn.wants_read() {
                return taken;
            }
            let more = self.conn.receive(now, &bytes[taken..]);
            if more == 0 {
                return taken;
            }
            taken += more;
        }
    }

    fn keep(&mut self, mut unread: Vec<u8>, taken: usize) {
        if taken < unread.len() {
            unread.drain(..taken);
            self.unread = unread;
        }
    }

    fn end(&mut self, now: Now) {
        self.at_end = true;
        self.conn.receive_end(now);
    }

    /// Carries the facts to the gateway.
    fn tell(&mut self, now: Now, scratch: &mut Scratch) -> bool {
        if scratch.inputs.is_empty() {
            return false;
        }
        self.slot.driver.apply(now, &mut scratch.inputs, &mut scratch.mail);
        true
    }

    fn write(&mut self, now: Now, scratch: &mut Scratch) -> bool {
        let mut moved = false;
        for _ in 0..WRITES_MAX {
            if !self.writable || self.broken {
                break;
            }
            if self.unsent.is_empty() {
                if !self.conn.wants_write() {
                    break;
                }
                self.unsent = std::mem::take(&mut scratch.wire);
                self.conn.take_wire(now, &mut self.unsent);
            }
            moved |= self.send(now);
            if self.sent == self.unsent.len() {
                self.sent = 0;
                scratch.wire = std::mem::take(&mut self.unsent);
                scratch.wire.clear();
            }
        }
        if self.sent > 0 || self.unsent.capacity() > 2 * self.unsent.len() {
            // Waiting: keep what is left, and not the room of a large buffer.
            let left = self.unsent[self.sent..].to_vec();
            scratch.wire = std::mem::replace(&mut self.unsent, left);
            scratch.wire.clear();
            self.sent = 0;
        }
        moved
    }

    fn send(&mut self, now: Now) -> bool {
        let bytes = &self.unsent[self.sent..];
        if bytes.is_empty() {
            return false;
        }
        match self.socket.get_ref().write(bytes) {
            Ok(count) => {
                self.writable = count == bytes.len();
                self.sent += count;
                self.conn.wrote(now, count);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                false
            }
            Err(_) => {
                self.broken = true;
                false
            }
        }
    }

    /// Asks to be woken by whatever this connection waits for. `true` when some of it is there already.
    fn arm(&mut self, now: Now, cx: &mut Context<'_>) -> bool {
        let mut ready = false;
        if !self.at_end && self.unread.is_empty() && self.conn.wants_read() {
            // An error shows in the read.
            self.readable = self.readable || self.socket.poll_readable(cx).is_ready();
            ready |= self.readable;
        }
        if !self.writable && (!self.unsent.is_empty() || self.conn.wants_write()) {
            self.writable = self.socket.poll_writable(cx).is_ready();
            ready |= self.writable;
        }
        ready |= self.arm_timer(now, cx);
        ready | !self.mailbox.sleep(cx.waker())
    }

    fn arm_timer(&mut self, now: Now, cx: &mut Context<'_>) -> bool {
        if let Some(at) = self.conn.next_deadline() {
            // Not at once: a deadline that stays in the past must not become a busy loop.
            let at = at.max(now.mono.plus_millis(1));
            // Deadlines mostly move away, with every byte. Then the old alarm goes off once and is set anew,
            // which is far cheaper than telling the reactor each time.
            if self.armed.is_none_or(|armed| at < armed) {
                self.timer.set_at(self.slot.driver.clock.instant(at));
                self.armed = Some(at);
            }
        }
        let rang = self.armed.is_some() && Pin::new(&mut self.timer).poll(cx).is_ready();
        if rang {
            self.armed = None;
        }
        rang
    }
}

/// Rounds before a busy connection lets others run.
const ROUNDS_MAX: usize = 4;

/// Facts told under one lock, beyond which more wait for the next round. Each round is a lock and a write of its own, so
/// a peer with a few dozen small requests on its way should need only one.
const INPUTS_MAX: usize = 128;

/// Writes in one round.
const WRITES_MAX: usize = 4;
