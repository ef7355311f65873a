//! Commands on their way to nodes, as a state machine without I/O: from the sending to the one answer (spec: nodes
//! section 4, v4 section 11.4). Whether a command may run at all is not known here.
//!
//! Invariants: whatever happens (an answer, a deadline, either side gone), an invoke leaves this book exactly once, and
//! whoever takes it out answers its caller; an answer counts only over the connection that was asked, and only under the
//! name it was asked by last, so what is late, repeated or somebody else's finds nothing; every invoke has a deadline.

use crate::id::ConnId;
use crate::limits::Limits;
use crate::time::Mono;
use bytes::Bytes;
use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

/// Who asks for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Over which connection.
    pub conn: ConnId,
    /// The request to be answered.
    pub id: Box<str>,
    /// On which device, when it showed one.
    pub device_id: Option<String>,
}

/// What of a node's answer the caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// All, with who answered what.
    Whole,
    /// The payload.
    Payload,
}

/// A command as it is asked for.
#[derive(Clone)]
pub struct Draft {
    /// The node's connection.
    pub node: ConnId,
    /// The node.
    pub node_id: String,
    /// What it should do.
    pub command: String,
    /// Who asks.
    pub caller: Caller,
    /// With what, as a JSON string that holds JSON.
    pub params: Option<Bytes>,
    /// How long the caller waits, when it said so.
    pub timeout_ms: Option<u64>,
    /// The caller's, for the node to tell repetitions by.
    pub idempotency_key: Option<Box<str>>,
    /// What the caller gets.
    pub wants: Wants,
}

impl Draft {
    /// What it takes in memory.
    fn size(&self) -> usize {
        let Self { node_id, command, caller, params, idempotency_key, .. } = self;
        let texts = node_id.len() + command.len() + caller.id.len();
        let others = [caller.device_id.as_deref(), idempotency_key.as_deref()];
        let others = others.into_iter().flatten().map(str::len).sum::<usize>();
        INVOKE_BYTES + texts + others + params.as_ref().map_or(0, Bytes::len)
    }
}

/// Params may hold what people type, and what nodes are told to run.
impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("node", &self.node)
            .field("command", &self.command)
            .field("caller", &self.caller.conn)
            .finish_non_exhaustive()
    }
}

/// A command in flight.
#[derive(Clone, Debug)]
pub struct Invoke {
    /// In the order of asking.
    pub number: u64,
    /// What was asked for.
    pub asked: Draft,
    /// The name under which the node was asked; `None` while another try waits.
    pub id: Option<String>,
    /// When it is over.
    pub deadline: Mono,
    /// When the node is asked once more.
    again_at: Option<Mono>,
    tries: u32,
    /// Whether the node has begun.
    has_progress: bool,
    bytes: usize,
}

/// Why a command is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The gateway has as many as it may.
    Gateway,
    /// The node has.
    Node,
    /// The caller has.
    Caller,
    /// Their params take as much memory as they may.
    Bytes,
}

/// What a node's answer came to.
#[derive(Debug)]
pub enum Answered {
    /// It answers nothing that waits.
    Unknown,
    /// The node is asked once more, later.
    Later,
    /// It is the answer.
    Now(Box<Invoke>),
}

/// What the end of a connection brought about.
#[derive(Debug, Default)]
pub struct Left {
    /// Commands that nobody will answer.
    pub unanswered: Vec<Invoke>,
    /// Commands that nobody waits for.
    pub unwanted: Vec<Invoke>,
}

/// What time did.
#[derive(Debug, Default)]
pub struct Due {
    /// Commands whose time is over.
    pub expired: Vec<Invoke>,
    /// Commands of which the node is to be asked once more, by their numbers.
    pub again: Vec<u64>,
}

/// All commands in flight.
#[derive(Debug, Default)]
pub struct Book {
    invokes: BTreeMap<u64, Invoke>,
    by_id: BTreeMap<String, u64>,
    /// Of both sides.
    by_conn: BTreeMap<ConnId, BTreeSet<u64>>,
    /// Ends, and further tries.
    deadlines: BTreeSet<(Mono, u64)>,
    bytes: usize,
    last: u64,
}

impl Book {
    /// How many are in flight.
    pub fn len(&self) -> usize {
        self.invokes.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.invokes.is_empty()
    }

    /// Whether one more may be taken, once it has params of that size.
    ///
    /// # Errors
    /// Which bound is in the way.
    pub fn room(&self, asked: &Draft, params_bytes: usize, limits: &Limits) -> Result<(), Full> {
        let of = |conn: ConnId| self.by_conn.get(&conn).map_or(0, BTreeSet::len);
        let is_of_caller = |invoke: &Invoke| {
            let (one, other) = (&invoke.asked.caller, &asked.caller);
            one.conn == other.conn || (other.device_id.is_some() && one.device_id == other.device_id)
        };
        if self.invokes.len() >= limits.invokes_max {
            Err(Full::Gateway)
        } else if of(asked.node) >= limits.invokes_per_node_max {
            Err(Full::Node)
        } else if self.invokes.values().filter(|invoke| is_of_caller(invoke)).count()
            >= limits.invokes_per_caller_max
        {
            Err(Full::Caller)
        } else if self.bytes + asked.size() + params_bytes > limits.invokes_bytes_max {
            Err(Full::Bytes)
        } else {
            Ok(())
        }
    }

    /// Takes a command, which the node is asked for under the name `id`.
    ///
    /// # Errors
    /// Which bound is in the way.
    pub fn open(&mut self, now: Mono, id: String, asked: Draft, limits: &Limits) -> Result<&Invoke, Full> {
        self.room(&asked, 0, limits)?;
        let timeout_ms = asked.timeout_ms.unwrap_or(limits.invoke_timeout_ms);
        let deadline = now.plus_millis(timeout_ms.min(limits.invoke_timeout_max_ms));
        self.last += 1;
        let (number, bytes) = (self.last, asked.size());
        for conn in [asked.node, asked.caller.conn] {
            self.by_conn.entry(conn).or_default().insert(number);
        }
        self.bytes += bytes;
        self.deadlines.insert((deadline, number));
        self.by_id.insert(id.clone(), number);
        let invoke = Invoke {
            number,
            asked,
            id: Some(id),
            deadline,
            again_at: None,
            tries: 1,
            has_progress: false,
            bytes,
        };
        Ok(self.invokes.entry(number).or_insert(invoke))
    }

    /// One of them.
    pub fn get(&self, number: u64) -> Option<&Invoke> {
        self.invokes.get(&number)
    }

    /// A node answers, over this connection; `is_not_ready` says that it could not begin yet.
    pub fn answered(
        &mut self,
        now: Mono,
        conn: ConnId,
        id: &str,
        is_not_ready: bool,
        limits: &Limits,
    ) -> Answered {
        let Some(invoke) = self.asked_over(conn, id) else { return Answered::Unknown };
        let number = invoke.number;
        if is_not_ready && !invoke.has_progress && invoke.tries <= limits.invoke_retries_max {
            let wait_ms = limits.invoke_retry_delay_ms << (invoke.tries - 1).min(16);
            let at = now.plus_millis(wait_ms);
            // Without time for another try, this is the answer.
            if at < invoke.deadline {
                invoke.again_at = Some(at);
                invoke.tries += 1;
                if let Some(id) = invoke.id.take() {
                    self.by_id.remove(&id);
                }
                self.deadlines.insert((at, number));
                return Answered::Later;
            }
        }
        match self.end(number) {
            Some(invoke) => Answered::Now(Box::new(invoke)),
            None => Answered::Unknown,
        }
    }

    /// A node has begun with a command. Says whether one of that name waits for it.
    pub fn progressed(&mut self, conn: ConnId, id: &str) -> bool {
        match self.asked_over(conn, id) {
            Some(invoke) => {
                invoke.has_progress = true;
                true
            }
            None => false,
        }
    }

    /// The node is asked once more, under another name.
    pub fn asked_again(&mut self, number: u64, id: String) -> Option<&Invoke> {
        let invoke = self.invokes.get_mut(&number)?;
        debug_assert!(invoke.id.is_none() && invoke.again_at.is_none(), "a try was due");
        self.by_id.insert(id.clone(), number);
        invoke.id = Some(id);
        Some(invoke)
    }

    /// Takes one out. Whoever does answers its caller.
    pub fn end(&mut self, number: u64) -> Option<Invoke> {
        let invoke = self.invokes.remove(&number)?;
        for conn in [invoke.asked.node, invoke.asked.caller.conn] {
            if let Some(numbers) = self.by_conn.get_mut(&conn) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.by_conn.remove(&conn);
                }
            }
        }
        if let Some(id) = &invoke.id {
            self.by_id.remove(id);
        }
        for at in [Some(invoke.deadline), invoke.again_at].into_iter().flatten() {
            self.deadlines.remove(&(at, number));
        }
        self.bytes -= invoke.bytes;
        Some(invoke)
    }

    /// A connection is gone.
    pub fn left(&mut self, conn: ConnId) -> Left {
        let mut left = Left::default();
        for number in self.by_conn.get(&conn).cloned().unwrap_or_default() {
            let Some(invoke) = self.end(number) else { continue };
            if invoke.asked.node == conn { &mut left.unanswered } else { &mut left.unwanted }.push(invoke);
        }
        left
    }

    /// The earliest moment at which [`Self::due`] would do anything.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Ends what nobody answered in time, and names what is to be tried again.
    pub fn due(&mut self, now: Mono) -> Due {
        let mut due = Due::default();
        while let Some((at, number)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.pop_first();
            let Some(invoke) = self.invokes.get_mut(&number) else { continue };
            if invoke.again_at == Some(at) && invoke.deadline > now {
                invoke.again_at = None;
                due.again.push(number);
            } else {
                due.expired.extend(self.end(number));
            }
        }
        due
    }

    /// Recounts everything.
    ///
    /// # Panics
    /// When a count or an index is wrong.
    pub fn check(&self) {
        let (mut by_id, mut deadlines) = (BTreeMap::new(), BTreeSet::new());
        let mut by_conn = BTreeMap::<_, BTreeSet<_>>::new();
        for (number, invoke) in &self.invokes {
            by_id.extend(invoke.id.clone().map(|id| (id, *number)));
            deadlines.insert((invoke.deadline, *number));
            deadlines.extend(invoke.again_at.map(|at| (at, *number)));
            for conn in [invoke.asked.node, invoke.asked.caller.conn] {
                by_conn.entry(conn).or_default().insert(*number);
            }
            assert!(invoke.id.is_some() != invoke.again_at.is_some(), "asked, or about to be asked");
        }
        assert_eq!(self.by_id, by_id, "commands by the names that nodes know");
        assert_eq!(self.by_conn, by_conn, "commands by connection");
        assert_eq!(self.deadlines, deadlines, "what has a deadline");
        assert_eq!(self.bytes, self.invokes.values().map(|invoke| invoke.bytes).sum::<usize>());
    }

    fn asked_over(&mut self, conn: ConnId, id: &str) -> Option<&mut Invoke> {
        let number = self.by_id.get(id)?;
        self.invokes.get_mut(number).filter(|invoke| invoke.asked.node == conn)
    }
}

/// What an invoke takes besides its texts.
const INVOKE_BYTES: usize = 512;

#[cfg(test)]
mod tests;
