//! One socket in the driver: its mailbox, its connection, and what the kernel has not taken yet.
//!
//! Two locks. The mailbox is a leaf: orders are posted to it under the gateway's lock. The session guards the
//! connection; it is held while bytes are parsed or encoded, never during a system call. Work that spans both
//! (draw facts, tell the gateway, carry out its orders, write) is a *turn*; `busy` keeps it to one thread at a
//! time, so that facts and bytes keep their order.

use crate::scratch::Scratch;
use clawgate_proto::id::ConnId;
use clawgate_proto::{Connection, Mono, Next, Now, Order};
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What everybody who deals with one socket shares.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: ConnId,
    pub(crate) stream: TcpStream,
    mailbox: Mutex<Vec<Order>>,
    session: Mutex<Session>,
    changed: Condvar,
}

/// The connection and where its driver stands.
#[derive(Debug)]
pub(crate) struct Session {
    /// `None` once the socket is closed, or when the connection panicked.
    pub(crate) connection: Option<Connection>,
    /// Bytes the reader left for another thread to hand to the connection.
    pub(crate) deposit: Vec<u8>,
    /// Bytes the connection gave and the kernel did not take.
    wire: Vec<u8>,
    /// Bytes the kernel took and the connection was not told of.
    wrote: usize,
    /// A thread is at work on this slot.
    pub(crate) busy: bool,
    /// Somebody found it busy: look again before leaving.
    pub(crate) again: bool,
    /// A deadline has passed.
    pub(crate) due: bool,
    /// The peer will send no more, to be told to the connection.
    pub(crate) ended: bool,
    /// Writing failed: nothing can be said to the peer any more.
    broken: bool,
    /// The kernel's buffer is full; the keeper waits until it is not.
    pub(crate) blocked: bool,
    /// It lies in the keeper's inbox.
    pub(crate) queued: bool,
    /// The keeper waits for room on it.
    pub(crate) watched: bool,
    /// The reader waits on `changed`.
    waiting: bool,
    /// The connection wants bytes.
    pub(crate) readable: bool,
    /// The connection wants the writing half shut.
    pub(crate) last_words_said: bool,
    /// The writing half was shut.
    pub(crate) half_shut: bool,
    /// The socket must go.
    pub(crate) finished: bool,
    /// The socket was shut down.
    pub(crate) shut: bool,
    /// When the connection wants to be looked at.
    pub(crate) deadline: Option<Mono>,
    /// The entry in the timers, not later than `deadline`.
    pub(crate) armed: Option<Mono>,
    /// Latest time the connection has seen: threads may arrive with older readings.
    last: Mono,
    /// Makes the next step panic.
    #[cfg(test)]
    pub(crate) trap: bool,
}

/// What a thread at work on a slot must do next, without the session's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Hand `scratch.inputs` to the gateway.
    Deliver,
    /// Write `scratch.wire` to the socket.
    Send,
    /// Nothing.
    Quiet,
}

/// Facts handed to the gateway under one lock.
const INPUTS_MAX: usize = 32;

impl Slot {
    pub(crate) fn new(connection: Connection, stream: TcpStream) -> Self {
        let session = Session {
            connection: None,
            deposit: Vec::new(),
            wire: Vec::new(),
            wrote: 0,
            busy: false,
            again: false,
            due: false,
            ended: false,
            broken: false,
            blocked: false,
            queued: false,
            watched: false,
            waiting: false,
            readable: false,
            last_words_said: false,
            half_shut: false,
            finished: false,
            shut: false,
            deadline: None,
            armed: None,
            last: Mono(0),
            #[cfg(test)]
            trap: false,
        };
        Self {
            id: connection.id(),
            stream,
            mailbox: Mutex::new(Vec::new()),
            session: Mutex::new(Session { connection: Some(connection), ..session }),
            changed: Condvar::new(),
        }
    }

    /// Appends an order. True when the mailbox was empty: then nobody has been sent here yet.
    pub(crate) fn post(&self, order: Order) -> bool {
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        mailbox.push(order);
        mailbox.len() == 1
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the reader: sleeps while `wait` holds.
    pub(crate) fn wait_while<'a>(
        &self,
        mut session: MutexGuard<'a, Session>,
        wait: impl Fn(&Session) -> bool,
    ) -> MutexGuard<'a, Session> {
        while wait(&session) {
            session.waiting = true;
            session = self.changed.wait(session).unwrap_or_else(PoisonError::into_inner);
        }
        session.waiting = false;
        session
    }

    /// Lets the reader look again. Costs a system call only when it waits.
    pub(crate) fn notify(&self, session: &Session) {
        if session.waiting {
            self.changed.notify_all();
        }
    }

    /// One step of a turn: tells the connection what happened, carries out its orders, draws its facts and its
    /// bytes, until there is something to do without the lock.
    pub(crate) fn step(&self, session: &mut Session, fresh: &mut &[u8], scratch: &mut Scratch) -> Step {
        let now = Now { mono: scratch.now.mono.max(session.last), wall: scratch.now.wall };
        session.last = now.mono;
        let orders = std::mem::take(&mut *self.mailbox.lock().unwrap_or_else(PoisonError::into_inner));
        if session.deposit.is_empty() {
            return session.step(now, orders, fresh, scratch);
        }
        let deposit = std::mem::take(&mut session.deposit);
        let mut rest = &deposit[..];
        let step = session.step(now, orders, &mut rest, scratch);
        session.deposit = rest.to_vec();
        step
    }

    /// Tells the peer that nothing follows, and leaves its own half open.
    pub(crate) fn shutdown_write(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection in both directions, which also frees a reader blocked in the kernel.
    pub(crate) fn shutdown(&self) {
        // Fails when the peer was faster.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Session {
    fn step(&mut self, now: Now, orders: Vec<Order>, fresh: &mut &[u8], scratch: &mut Scratch) -> Step {
        let Some(connection) = &mut self.connection else { return Step::Quiet };
        #[cfg(test)]
        assert!(!self.trap, "on purpose");
        if self.wrote > 0 {
            connection.wrote(now, std::mem::take(&mut self.wrote));
        }
        if std::mem::take(&mut self.due) {
            connection.handle_timeout(now);
        }
        for order in orders {
            connection.apply(now, order);
        }
        if std::mem::take(&mut self.ended) {
            connection.receive_end(now);
        }
        // The connection takes bytes up to the next fact: many small requests of one read go under one lock.
        loop {
            while scratch.inputs.len() < INPUTS_MAX {
                match connection.next_event(now) {
                    Next::Event(input) => scratch.inputs.push(input),
                    Next::NeedData | Next::Paused => break,
                }
            }
            if fresh.is_empty() || !connection.wants_read() || scratch.inputs.len() >= INPUTS_MAX {
                break;
            }
            let took = connection.receive(now, fresh);
            *fresh = &fresh[took..];
            if took == 0 {
                break;
            }
        }
        if !scratch.inputs.is_empty() {
            return Step::Deliver;
        }
        if self.broken {
            self.wire = Vec::new();
        } else if !self.blocked {
            if self.wire.is_empty() {
                connection.take_wire(now, &mut scratch.wire);
            } else {
                scratch.wire = std::mem::take(&mut self.wire);
            }
            if !scratch.wire.is_empty() {
                return Step::Send;
            }
        }
        self.readable = connection.wants_read();
        self.deadline = connection.next_deadline();
        self.last_words_said |= connection.wants_shutdown();
        self.finished |= self.broken || connection.is_finished();
        Step::Quiet
    }

    /// The kernel took `bytes` of `wire`; the rest waits until the keeper sees room.
    pub(crate) fn sent(&mut self, bytes: usize, wire: &mut Vec<u8>) {
        self.wrote += bytes;
        if bytes < wire.len() {
            self.wire.extend_from_slice(&wire[bytes..]);
            self.blocked = true;
        }
        wire.clear();
    }

    /// The kernel refused to write.
    pub(crate) fn send_failed(&mut self, wire: &mut Vec<u8>) {
        wire.clear();
        self.broken = true;
        self.ended = true;
    }

    /// Never touch the connection again.
    pub(crate) fn condemn(&mut self) {
        self.connection = None;
        self.deposit = Vec::new();
        self.wire = Vec::new();
        self.readable = false;
        self.finished = true;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::driver::tests::{driver, pair};
    use std::sync::Arc;

    #[test]
    fn only_the_first_order_sends_somebody_to_the_slot() {
        let (slot, _peer) = slot();
        assert!(slot.post(Order::Read(true)));
        assert!(!slot.post(Order::Read(true)));
        let mut scratch = Scratch::default();
        slot.step(&mut slot.lock(), &mut &[][..], &mut scratch);
        assert!(slot.post(Order::Read(true)), "a step empties the mailbox");
    }

    #[test]
    fn what_the_kernel_does_not_take_is_kept_in_order_and_sent_first() {
        let (slot, _peer) = slot();
        let mut session = slot.lock();
        let mut scratch = Scratch::default();
        scratch.wire.extend_from_slice(b"abcdef");
        session.sent(2, &mut scratch.wire);
        assert!(session.blocked && scratch.wire.is_empty());
        assert_eq!(slot.step(&mut session, &mut &[][..], &mut scratch), Step::Quiet);
        session.blocked = false;
        assert_eq!(slot.step(&mut session, &mut &[][..], &mut scratch), Step::Send);
        assert_eq!(scratch.wire, b"cdef");
        session.sent(4, &mut scratch.wire);
        assert!(!session.blocked);
        assert_eq!(slot.step(&mut session, &mut &[][..], &mut scratch), Step::Quiet);
    }

    #[test]
    fn an_order_to_abort_ends_it_although_bytes_wait() {
        let (slot, _peer) = slot();
        let mut session = slot.lock();
        let mut scratch = Scratch::default();
        scratch.wire.extend_from_slice(b"abcdef");
        session.sent(0, &mut scratch.wire);
        slot.post(Order::Abort);
        assert_eq!(slot.step(&mut session, &mut &[][..], &mut scratch), Step::Deliver);
        scratch.inputs.clear();
        assert_eq!(slot.step(&mut session, &mut &[][..], &mut scratch), Step::Quiet);
        assert!(session.finished);
    }

    fn slot() -> (Arc<Slot>, TcpStream) {
        let driver = driver();
        let (ours, theirs, peer) = pair();
        let mut scratch = Scratch::default();
        (driver.open(&mut scratch, ours, peer).unwrap(), theirs)
    }
}
