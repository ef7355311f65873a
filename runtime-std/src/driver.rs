//! What all threads of one running gateway share, and the two things they do with it: `apply` hands facts to the
//! gateway under its lock, `turn` works on one slot.
//!
//! Lock order: a thread holds the gateway's lock or one session's, never both. Mailboxes, timers, queues and
//! shelves are leaves. No lock is held during a system call. Only a slot's own reader ever waits for that slot,
//! and it holds nothing then; so nobody waits for a thread that waits.

use crate::accept::Gate;
use crate::clock::Clock;
use crate::keeper::Keeper;
use crate::pool::{Call, Guest, Pool};
use crate::scratch::{Scratch, Shelf};
use crate::slot::{Session, Slot, Step};
use crate::threads::Threads;
use crate::timers::Timers;
use clawgate_proto::id::ConnId;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::{Gateway, Host, Input, Mono, Output, Peer, Refused};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// Everything that is shared.
pub(crate) struct Driver {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) clock: Clock,
    shared: Mutex<Shared>,
    pub(crate) timers: Timers<Arc<Slot>>,
    pub(crate) keeper: Keeper,
    pub(crate) gate: Gate,
    pub(crate) calls: Pool<Call>,
    pub(crate) guests: Pool<Guest>,
    pub(crate) shelf: Shelf,
    pub(crate) threads: Threads,
}

/// What the gateway's lock guards.
struct Shared {
    gateway: Gateway,
    slots: BTreeMap<ConnId, Arc<Slot>>,
    /// The gateway's deadline as the timers know it.
    deadline: Option<Mono>,
    /// Latest time the gateway has seen: threads may arrive with older readings.
    last: Mono,
}

/// Why a thread comes to a slot.
#[derive(Debug)]
pub(crate) enum Cause<'bytes, 'left> {
    /// There may be orders in its mailbox.
    Mail,
    /// Its deadline has passed.
    Due,
    /// The kernel has room for its bytes again.
    Writable,
    /// Its reader got these bytes; what is left of them was not taken. Waits its turn, as no other cause does.
    Bytes(&'left mut &'bytes [u8]),
    /// Its reader got the end of the stream.
    Ended,
}

/// What a reader may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Read.
    Open,
    /// Wait: the connection wants no bytes now.
    Paused,
    /// End.
    Over,
}

/// Steps in one turn. A thread that visits somebody else's slot must come back: what is left after so many
/// steps goes to the keeper.
const STEPS_MAX: usize = 64;

impl Driver {
    pub(crate) fn new(
        host: Arc<dyn Host>,
        clock: Clock,
        gateway: Gateway,
        keeper: Keeper,
        gate: Gate,
    ) -> Self {
        let shared = Shared { gateway, slots: BTreeMap::new(), deadline: None, last: Mono(0) };
        Self {
            host,
            clock,
            shared: Mutex::new(shared),
            timers: Timers::new(),
            keeper,
            gate,
            calls: Pool::new(),
            guests: Pool::new(),
            shelf: Shelf::default(),
            threads: Threads::default(),
        }
    }

    /// A socket was accepted.
    pub(crate) fn open(
        self: &Arc<Self>,
        scratch: &mut Scratch,
        stream: TcpStream,
        peer: Peer,
    ) -> Result<Arc<Slot>, Refused> {
        let mut opened = Err(Refused);
        self.with_gateway(scratch, None, |shared, scratch| {
            let now = scratch.now;
            opened = shared.gateway.open(now, peer, &mut scratch.outputs).map(|connection| {
                let slot = Arc::new(Slot::new(connection, stream));
                shared.slots.insert(slot.id, Arc::clone(&slot));
                slot
            });
        });
        opened
    }

    /// Hands `scratch.inputs` to the gateway and posts what it orders; slots with new mail are added to
    /// `scratch.visits`, except `own`, whose turn the caller has.
    pub(crate) fn apply(self: &Arc<Self>, scratch: &mut Scratch, own: Option<ConnId>) {
        self.with_gateway(scratch, own, |shared, scratch| {
            for input in scratch.inputs.drain(..) {
                let closed = if let Input::Closed { conn } = &input { Some(*conn) } else { None };
                shared.gateway.handle(scratch.now, input, &mut scratch.outputs);
                if let Some(conn) = closed {
                    shared.slots.remove(&conn);
                }
            }
        });
    }

    /// All slots, for the end.
    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).slots.values().cloned().collect()
    }

    /// One visit of the gateway: the only place that locks it. A panic inside ends the process, since nothing
    /// is known of its state any more.
    fn with_gateway(
        self: &Arc<Self>,
        scratch: &mut Scratch,
        own: Option<ConnId>,
        visit: impl FnOnce(&mut Shared, &mut Scratch),
    ) {
        let mut todo = Todo::default();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut guard = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            let shared = &mut *guard;
            scratch.now.mono = scratch.now.mono.max(shared.last);
            shared.last = scratch.now.mono;
            visit(shared, scratch);
            let Scratch { outputs, logs, visits, .. } = scratch;
            for output in outputs.drain(..) {
                match output {
                    Output::To(conn, order) => {
                        // Gone already: its `Closed` is on the way, or was handled.
                        let Some(slot) = shared.slots.get(&conn) else { continue };
                        if slot.post(order) && own != Some(conn) {
                            visits.push_back(Arc::clone(slot));
                        }
                    }
                    Output::Host(ticket, request) => {
                        self.calls.push(Call(ticket, request));
                        todo.host = true;
                    }
                    Output::Log(record) => logs.push(record),
                    Output::Accept(open) => todo.gate |= self.gate.set(open),
                    Output::Beat => todo.beat = true,
                    Output::Stopped => todo.stopped = true,
                }
            }
            let deadline = shared.gateway.next_deadline();
            if deadline != shared.deadline {
                shared.deadline = deadline;
                todo.keeper = self.timers.set_gateway(deadline);
            }
        }));
        if result.is_err() {
            self.fail("the gateway panicked; its state cannot be trusted");
        }
        for record in scratch.logs.drain(..) {
            self.log(&record);
        }
        if todo.beat {
            let _ = catch_unwind(AssertUnwindSafe(|| self.host.beat()));
        }
        if todo.host {
            // Without anybody to perform it, the core gives a request up after a time.
            Pool::<Call>::staff(self);
        }
        if todo.gate {
            self.gate.wake();
        }
        if todo.stopped {
            self.keeper.end();
        } else if todo.keeper {
            self.keeper.wake();
        }
    }

    /// Works on a slot, then on every slot that got mail by it.
    pub(crate) fn work(
        self: &Arc<Self>,
        scratch: &mut Scratch,
        slot: &Arc<Slot>,
        cause: Cause<'_, '_>,
    ) -> Reading {
        let reading = self.turn(scratch, slot, cause);
        self.visit(scratch);
        reading
    }

    /// Works on every slot that got mail.
    pub(crate) fn visit(self: &Arc<Self>, scratch: &mut Scratch) {
        while let Some(slot) = scratch.visits.pop_front() {
            self.turn(scratch, &slot, Cause::Mail);
        }
    }

    // Inlined into its callers it would cost each of them its frame even where they do not call it.
    /// Works on a slot until nothing is left to do, unless another thread does.
    #[inline(never)]
    fn turn(self: &Arc<Self>, scratch: &mut Scratch, slot: &Arc<Slot>, cause: Cause<'_, '_>) -> Reading {
        let mut nothing: &[u8] = &[];
        let mut session = slot.lock();
        let fresh = match cause {
            Cause::Mail => &mut nothing,
            Cause::Due => {
                session.due = true;
                session.armed = None;
                &mut nothing
            }
            Cause::Writable => {
                session.blocked = false;
                session.watched = false;
                &mut nothing
            }
            Cause::Ended => {
                session.ended = true;
                &mut nothing
            }
            Cause::Bytes(fresh) => {
                if session.busy || !session.readable {
                    session = slot.wait_while(session, |session| {
                        !session.finished && (session.busy || !session.readable)
                    });
                    scratch.now = self.clock.now();
                }
                fresh
            }
        };
        if session.busy {
            session.again = true;
            return session.reading();
        }
        if session.connection.is_none() {
            return Reading::Over;
        }
        session.busy = true;
        let mut steps = 0;
        let is_done = loop {
            session.again = false;
            let step = catch_unwind(AssertUnwindSafe(|| slot.step(&mut session, fresh, scratch)));
            match step {
                Ok(Step::Deliver) => {
                    drop(session);
                    self.apply(scratch, Some(slot.id));
                    session = slot.lock();
                }
                Ok(Step::Send) => {
                    drop(session);
                    let sent = send_some(&slot.stream, &scratch.wire);
                    session = slot.lock();
                    match sent {
                        Ok(bytes) => session.sent(bytes, &mut scratch.wire),
                        Err(_) => session.send_failed(&mut scratch.wire),
                    }
                }
                Ok(Step::Quiet) if session.again => {}
                Ok(Step::Quiet) => break true,
                Err(_) => {
                    session.condemn();
                    scratch.inputs.clear();
                    scratch.wire.clear();
                    drop(session);
                    self.log(&Record::new(Level::Error, "connection.panicked").conn(slot.id));
                    session = slot.lock();
                    break true;
                }
            }
            steps += 1;
            if steps == STEPS_MAX {
                break false;
            }
        };
        session.busy = false;
        // A reader with bytes in its hands comes back by itself.
        let is_left = !is_done && fresh.is_empty();
        self.leave(scratch, slot, session, is_left)
    }

    /// The end of a turn: arms the deadline, calls the keeper if there is work for it, lets the reader go on.
    fn leave(
        &self,
        scratch: &Scratch,
        slot: &Arc<Slot>,
        mut session: std::sync::MutexGuard<'_, Session>,
        is_left: bool,
    ) -> Reading {
        let mut wake = false;
        if let Some(deadline) = session.deadline
            && !session.finished
        {
            // Never at once: a deadline that does not move must not make the keeper spin.
            let at = deadline.max(scratch.now.mono.plus_millis(1));
            if session.armed.is_none_or(|armed| at < armed) {
                wake = self.timers.arm(slot.id, session.armed, at, Arc::clone(slot));
                session.armed = Some(at);
            }
        }
        let is_unwatched = session.blocked && !session.watched;
        if (is_unwatched || is_left) && !session.queued && !session.finished {
            session.queued = true;
            self.keeper.push(Arc::clone(slot));
            wake = true;
        }
        let shut = session.finished && !session.shut;
        session.shut |= shut;
        let half_shut = session.last_words_said && !session.half_shut && !session.shut;
        session.half_shut |= half_shut;
        if session.finished || session.readable {
            slot.notify(&session);
        }
        let reading = session.reading();
        drop(session);
        if wake {
            self.keeper.wake();
        }
        if half_shut {
            slot.shutdown_write();
        }
        if shut {
            slot.shutdown();
        }
        reading
    }

    /// The socket is gone: told to the gateway exactly once, by the slot's reader (or by whoever could not start it).
    pub(crate) fn close(self: &Arc<Self>, scratch: &mut Scratch, slot: &Arc<Slot>) {
        let mut session = slot.lock();
        session.finished = true;
        session = slot.wait_while(session, |session| session.busy);
        let armed = session.armed.take();
        session.condemn();
        let shut = !session.shut;
        session.shut = true;
        drop(session);
        if let Some(armed) = armed {
            self.timers.disarm(slot.id, armed);
        }
        if shut {
            slot.shutdown();
        }
        scratch.now = self.clock.now();
        scratch.inputs.push(Input::Closed { conn: slot.id });
        self.apply(scratch, None);
        self.visit(scratch);
    }

    /// Ends the process: its supervisor starts it again from what is on disk.
    fn fail(&self, why: &'static str) -> ! {
        self.log(&Record::new(Level::Error, "gateway.failed").field("why", why));
        eprintln!("clawgate: {why}; ending the process");
        std::process::exit(EXIT_SOFTWARE)
    }

    /// Writes to the log; a host that panics there costs nobody else anything.
    pub(crate) fn log(&self, record: &Record) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.host.log(record)));
    }
}

/// What to do once the gateway's lock is released.
#[derive(Debug, Default)]
struct Todo {
    host: bool,
    gate: bool,
    keeper: bool,
    beat: bool,
    stopped: bool,
}

impl Session {
    fn reading(&self) -> Reading {
        if self.finished {
            Reading::Over
        } else if self.readable {
            Reading::Open
        } else {
            Reading::Paused
        }
    }
}

/// Writes what the kernel takes without waiting. Leaves the socket's mode alone, because the reader blocks on it.
pub(crate) fn send_some(stream: &TcpStream, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match send(stream, bytes, SEND) {
            Ok(sent) => return Ok(sent),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            Err(error) => return Err(error),
        }
    }
}

/// Where there is no such flag, the standard library has set the socket option of that name.
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::DONTWAIT;
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// `EX_SOFTWARE` of `sysexits.h`.
const EXIT_SOFTWARE: i32 = 70;

#[cfg(test)]
pub(crate) mod tests;
