//! Requests that a person decides, as a state machine without I/O: approvals and questions, from the asking to the
//! decision and its use (spec: v4 section 13, methods section 8, nodes section 6).
//!
//! Invariants: a request ends once, and nothing changes how; what ended never waits again; every request that is not
//! ended has a deadline; an id that is known is never given to another request, since a person decides what was shown
//! under it; an allowance for one use is used by one claim. Who may see and decide is not known here.

pub mod claim;

use crate::frame::value_size;
use crate::id::ConnId;
use crate::limits::Limits;
use crate::time::{Mono, Now};
pub use claim::{Binding, Claim, ClaimFault};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To run a command.
    Exec,
    /// Something a plugin wants to do.
    Plugin,
    /// An answer to questions.
    Question,
}

/// A person's word about a command or a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This time.
    AllowOnce,
    /// From now on.
    AllowAlways,
    /// No.
    Deny,
}

impl Decision {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::AllowOnce, Self::AllowAlways, Self::Deny];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowOnce => "allow-once",
            Self::AllowAlways => "allow-always",
            Self::Deny => "deny",
        }
    }

    /// Parses the wire name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|decision| decision.as_str() == text)
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Over which connection.
    pub conn: ConnId,
    /// On which device, when it showed one.
    pub device_id: Option<String>,
}

/// Who decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decider {
    /// Its name for people.
    pub name: String,
    /// Its device, when it showed one.
    pub device_id: Option<String>,
}

/// A request as it is made.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Chosen by the asker, or nothing.
    pub id: Option<String>,
    /// What is asked for.
    pub kind: Kind,
    /// What people are shown, and what is told of it.
    pub request: Value,
    /// Decisions that may be taken.
    pub allowed: Vec<Decision>,
    /// Devices, besides the asker's own, whose people may see and decide it.
    pub reviewers: BTreeSet<String>,
    /// What a claim to have been allowed must agree with.
    pub binding: Option<Binding>,
    /// How long the asker would wait.
    pub timeout_ms: Option<u64>,
    /// Whether the asker is told at once that a person is asked.
    pub two_phase: bool,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Somebody decided.
    Decided(Decision),
    /// Somebody answered the questions.
    Answered(Value),
    /// Somebody will not answer them.
    Cancelled,
    /// Nobody was there to be asked.
    NoRoute,
    /// Nobody decided in time.
    Expired,
}

/// The end of a request.
#[derive(Clone, Debug)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// Who, when it was somebody.
    pub by: Option<Decider>,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// Until when it can be claimed.
    usable_until: Mono,
    /// Whether an allowance for one use was used.
    is_used: bool,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Entry {
    /// In the order of asking.
    pub number: u64,
    /// Its id.
    pub id: String,
    /// What is asked for.
    pub kind: Kind,
    /// Who asks.
    pub asker: Asker,
    /// What people are shown.
    pub request: Value,
    /// Decisions that may be taken.
    pub allowed: Vec<Decision>,
    /// Devices whose people may see and decide it, besides the asker's.
    pub reviewers: BTreeSet<String>,
    /// When it was asked, in Unix milliseconds.
    pub created_ms: u64,
    /// When it ends by itself, in Unix milliseconds.
    pub expires_ms: u64,
    /// Its end.
    pub end: Option<End>,
    binding: Option<Binding>,
    deadline: Mono,
    ended_at: Mono,
    waiters: Vec<Waiter>,
    bytes: usize,
}

impl Entry {
    /// The decision, when there is one.
    pub fn decision(&self) -> Option<Decision> {
        match &self.end.as_ref()?.outcome {
            Outcome::Decided(decision) => Some(*decision),
            Outcome::Answered(_) | Outcome::Cancelled | Outcome::NoRoute | Outcome::Expired => None,
        }
    }

    /// What a claim to have been allowed must agree with.
    pub fn binding(&self) -> Option<&Binding> {
        self.binding.as_ref()
    }

    /// Whether it waits for somebody.
    pub fn is_pending(&self) -> bool {
        self.end.is_none()
    }

    /// Whether this connection, or one of the same device, asked.
    pub fn is_of(&self, conn: ConnId, device_id: Option<&str>) -> bool {
        self.asker.conn == conn || (device_id.is_some() && self.asker.device_id.as_deref() == device_id)
    }
}

/// A request frame that is answered when a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Whose.
    pub conn: ConnId,
    /// The frame's id.
    pub id: Box<str>,
    /// What it is answered.
    pub wants: Wants,
    number: u64,
    until: Option<Mono>,
}

/// What an end means to whoever waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// The answer to the asking itself.
    Asked,
    /// The decision.
    Decision,
    /// The answers.
    Answer,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFault {
    /// That id waits for somebody.
    Pending,
    /// That id had its turn.
    Used,
    /// Too many wait: all, or those of this asker.
    Full,
}

/// What an attempt to end a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It ended, and these are to be told.
    Now(Vec<Waiter>),
    /// It had ended just so before.
    Before,
}

/// Why a request does not end so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndFault {
    /// There is no such request.
    Unknown,
    /// It ended otherwise.
    Already,
    /// That decision is not among those that may be taken.
    NotAllowed,
}

/// Why nobody can wait for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFault {
    /// There is no such request.
    Unknown,
    /// The connection waits for too many already.
    TooMany,
}

/// What time did.
#[derive(Debug, Default)]
pub struct Due {
    /// Requests that ended, by their numbers, and who is to be told.
    pub expired: Vec<(u64, Vec<Waiter>)>,
    /// Who waited as long as it would, for which request.
    pub impatient: Vec<(u64, Waiter)>,
}

/// All requests of one family: those that wait, and the latest that ended.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<u64, Entry>,
    by_id: BTreeMap<String, u64>,
    /// Requests and waiters with a deadline; zero stands for the request itself.
    deadlines: BTreeSet<(Mono, u64, u64)>,
    /// Those that ended, the oldest first.
    ended: VecDeque<u64>,
    waits: BTreeMap<ConnId, usize>,
    bytes: usize,
    last: u64,
    last_waiter: u64,
}

impl Book {
    /// Takes a request, under the id it chose or under `id`.
    ///
    /// # Errors
    /// Its id is known, or there are too many.
    pub fn open(
        &mut self,
        now: Now,
        id: String,
        draft: Draft,
        asker: Asker,
        limits: &Limits,
    ) -> Result<u64, OpenFault> {
        self.prune(now.mono, limits);
        let Draft { kind, request, allowed, reviewers, binding, timeout_ms, .. } = draft;
        if let Some(known) = self.by_id.get(&id).and_then(|number| self.entries.get(number)) {
            return Err(if known.is_pending() { OpenFault::Pending } else { OpenFault::Used });
        }
        // The beginning of an id is enough to decide about it, so nobody may take the beginning of another one as theirs.
        let shorter = id.to_lowercase();
        let mut pending = self.entries.values().filter(|entry| entry.is_pending() && entry.kind == kind);
        if pending.any(|entry| entry.id.to_lowercase().starts_with(&shorter)) {
            return Err(OpenFault::Pending);
        }
        let bytes = ENTRY_BYTES
            + id.len()
            + value_size(&request)
            + reviewers.iter().map(String::len).sum::<usize>()
            + binding.as_ref().map_or(0, Binding::size);
        let pending = || self.entries.values().filter(|entry| entry.is_pending());
        let of_asker = pending().filter(|entry| entry.is_of(asker.conn, asker.device_id.as_deref())).count();
        let pending_bytes: usize = pending().map(|entry| entry.bytes).sum();
        if pending().count() >= limits.approvals_pending_max
            || of_asker >= limits.approvals_pending_per_device_max
            || pending_bytes + bytes > limits.approvals_bytes_max
        {
            return Err(OpenFault::Full);
        }
        while self.bytes + bytes > limits.approvals_bytes_max && self.forget_oldest() {}
        let timeout_ms = timeout_ms.unwrap_or(match kind {
            Kind::Exec | Kind::Plugin => limits.approval_timeout_ms,
            Kind::Question => limits.question_timeout_ms,
        });
        let timeout_ms = timeout_ms.min(limits.approval_timeout_max_ms);
        self.last += 1;
        let number = self.last;
        let deadline = now.mono.plus_millis(timeout_ms);
        let entry = Entry {
            number,
            id: id.clone(),
            kind,
            asker,
            request,
            allowed,
            reviewers,
            created_ms: now.wall.0,
            expires_ms: now.wall.0.saturating_add(timeout_ms),
            end: None,
            binding,
            deadline,
            ended_at: now.mono,
            waiters: Vec::new(),
            bytes,
        };
        self.bytes += bytes;
        self.deadlines.insert((deadline, number, 0));
        self.by_id.insert(id, number);
        self.entries.insert(number, entry);
        Ok(number)
    }

    /// A request by its number.
    pub fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// A request by its whole id.
    pub fn find(&self, id: &str) -> Option<&Entry> {
        self.entries.get(self.by_id.get(id)?)
    }

    /// Those that wait, in the order of asking.
    pub fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.is_pending())
    }

    /// Those that ended before the one of that number was asked; the latest asked come first.
    pub fn ended_before(&self, number: u64) -> impl Iterator<Item = &Entry> {
        self.entries.range(..number).rev().map(|(_, entry)| entry).filter(|entry| !entry.is_pending())
    }

    /// Ends a request.
    ///
    /// # Errors
    /// There is none, it ended otherwise, or it may not end so.
    pub fn end(
        &mut self,
        now: Now,
        number: u64,
        outcome: Outcome,
        by: Option<Decider>,
        limits: &Limits,
    ) -> Result<Settled, EndFault> {
        let entry = self.entries.get_mut(&number).ok_or(EndFault::Unknown)?;
        if let Some(end) = &entry.end {
            return if end.outcome == outcome { Ok(Settled::Before) } else { Err(EndFault::Already) };
        }
        if let Outcome::Decided(decision) = &outcome
            && !entry.allowed.contains(decision)
        {
            return Err(EndFault::NotAllowed);
        }
        if let Outcome::Answered(answers) = &outcome {
            let bytes = value_size(answers);
            entry.bytes += bytes;
            self.bytes += bytes;
        }
        let usable_until = now.mono.plus_millis(limits.approval_usable_ms);
        entry.end = Some(End { outcome, by, at_ms: now.wall.0, usable_until, is_used: false });
        entry.ended_at = now.mono;
        self.deadlines.remove(&(entry.deadline, number, 0));
        let waiters = core::mem::take(&mut entry.waiters);
        for waiter in &waiters {
            self.waited(number, waiter);
        }
        self.ended.push_back(number);
        self.prune(now.mono, limits);
        Ok(Settled::Now(waiters))
    }

    /// Has a frame answered when the request ends, or at its end of patience. Whether it has to wait at all is seen from
    /// the request.
    ///
    /// # Errors
    /// There is no such request, or that connection waits for too many.
    pub fn wait(
        &mut self,
        now: Mono,
        number: u64,
        (conn, id, wants): (ConnId, Box<str>, Wants),
        patience_ms: Option<u64>,
        limits: &Limits,
    ) -> Result<(), WaitFault> {
        let entry = self.entries.get_mut(&number).filter(|entry| entry.is_pending());
        let entry = entry.ok_or(WaitFault::Unknown)?;
        let waits = self.waits.entry(conn).or_default();
        if *waits >= limits.approval_waits_per_peer_max {
            return Err(WaitFault::TooMany);
        }
        *waits += 1;
        self.last_waiter += 1;
        let until = patience_ms.map(|ms| now.plus_millis(ms.min(limits.approval_timeout_max_ms)));
        if let Some(until) = until {
            self.deadlines.insert((until, number, self.last_waiter));
        }
        entry.waiters.push(Waiter { conn, id, wants, number: self.last_waiter, until });
        Ok(())
    }

    /// Whether a connection may wait for one more.
    pub fn has_room_to_wait(&self, conn: ConnId, limits: &Limits) -> bool {
        self.waits.get(&conn).is_none_or(|waits| *waits < limits.approval_waits_per_peer_max)
    }

    /// Frames that wait for an end.
    pub fn waiting(&self) -> usize {
        self.waits.values().sum()
    }

    /// A connection is gone: it waits for nothing. What it asked for goes on, since it may come back.
    pub fn left(&mut self, conn: ConnId) {
        if !self.waits.contains_key(&conn) {
            return;
        }
        let mut gone = Vec::new();
        for (number, entry) in &mut self.entries {
            entry.waiters.retain(|waiter| {
                let stays = waiter.conn != conn;
                if !stays {
                    gone.push((*number, waiter.clone()));
                }
                stays
            });
        }
        for (number, waiter) in &gone {
            self.waited(*number, waiter);
        }
        debug_assert!(!self.waits.contains_key(&conn), "{conn} waits for something that is not here");
    }

    /// The earliest moment at which [`Self::due`] would do anything.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|(at, ..)| *at)
    }

    /// Ends what nobody decided in time.
    pub fn due(&mut self, now: Now, limits: &Limits) -> Due {
        let mut due = Due::default();
        while let Some((at, number, waiter)) = self.deadlines.first().copied() {
            if at > now.mono {
                break;
            }
            if waiter == 0 {
                match self.end(now, number, Outcome::Expired, None, limits) {
                    Ok(Settled::Now(waiters)) => due.expired.push((number, waiters)),
                    Ok(Settled::Before) | Err(_) => {
                        debug_assert!(false, "only what waits has a deadline");
                        self.deadlines.pop_first();
                    }
                }
                continue;
            }
            self.deadlines.pop_first();
            let Some(entry) = self.entries.get_mut(&number) else { continue };
            let Some(at) = entry.waiters.iter().position(|one| one.number == waiter) else { continue };
            let waiter = entry.waiters.remove(at);
            self.waited(number, &waiter);
            due.impatient.push((number, waiter));
        }
        due
    }

    /// Claims that a request was allowed, once its command is about to run.
    ///
    /// # Errors
    /// It was not, or not this, or not for this caller, or it was used.
    pub fn claim(&mut self, now: Mono, id: &str, claim: &Claim<'_>) -> Result<Decision, ClaimFault> {
        let number = *self.by_id.get(id).ok_or(ClaimFault::UnknownId)?;
        let entry = self.entries.get_mut(&number).ok_or(ClaimFault::UnknownId)?;
        claim::claim(entry, now, claim)
    }

    /// Recounts everything.
    ///
    /// # Panics
    /// When a count or an index is wrong.
    pub fn check(&self) {
        let mut waits = BTreeMap::new();
        let mut deadlines = BTreeSet::new();
        for (number, entry) in &self.entries {
            assert_eq!(self.by_id.get(&entry.id), Some(number), "every request is found by its id");
            if entry.is_pending() {
                deadlines.insert((entry.deadline, *number, 0));
            } else {
                assert!(entry.waiters.is_empty(), "nobody waits for what has ended");
                assert!(self.ended.contains(number), "what has ended can be forgotten");
            }
            for waiter in &entry.waiters {
                *waits.entry(waiter.conn).or_default() += 1;
                deadlines.extend(waiter.until.map(|until| (until, *number, waiter.number)));
            }
        }
        assert_eq!(self.by_id.len(), self.entries.len());
        assert_eq!(self.waits, waits, "who waits");
        assert_eq!(self.deadlines, deadlines, "what has a deadline");
        assert_eq!(self.bytes, self.entries.values().map(|entry| entry.bytes).sum::<usize>());
    }

    /// Forgets what ended long ago, and the oldest of too many.
    pub fn prune(&mut self, now: Mono, limits: &Limits) {
        while let Some(entry) = self.ended.front().and_then(|number| self.entries.get(number)) {
            let is_old = entry.ended_at.plus_millis(limits.approvals_kept_ms) <= now;
            let is_over =
                self.ended.len() > limits.approvals_kept_max || self.bytes > limits.approvals_bytes_max;
            // Whoever ended the latest is about to tell of it.
            let is_spare = is_over && self.ended.len() > 1;
            if !is_old && !is_spare {
                return;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(entry) = self.ended.pop_front().and_then(|number| self.entries.remove(&number)) else {
            return false;
        };
        self.by_id.remove(&entry.id);
        self.bytes -= entry.bytes;
        true
    }

    /// Somebody waits no longer.
    fn waited(&mut self, number: u64, waiter: &Waiter) {
        if let Some(until) = waiter.until {
            self.deadlines.remove(&(until, number, waiter.number));
        }
        if let Some(waits) = self.waits.get_mut(&waiter.conn) {
            *waits -= 1;
            if *waits == 0 {
                self.waits.remove(&waiter.conn);
            }
        }
    }
}

/// What an entry takes besides its texts.
const ENTRY_BYTES: usize = 512;

#[cfg(test)]
mod tests;
