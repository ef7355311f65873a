//! What a connection remembers in each phase of its life. The transitions are in `conn.rs`.

use super::http::{HttpPhase, HttpReader, ReplyTo};
use super::keepalive::Keepalive;
use super::upgrade::Upgrade;
use super::ws;
use crate::dialect::Dialect;
use crate::input::End;
use crate::limits::Limits;
use crate::seed::Seed;
use crate::time::Mono;
use std::collections::VecDeque;

/// Where a connection stands. Boxed, so that one that is idle pays only for the phase it is in.
pub(crate) enum Phase {
    /// HTTP: heads, bodies, answers.
    Http(Box<Http>),
    /// A WebSocket.
    Open(Box<Open>),
    /// The last words are on their way, or were said.
    Closing(Box<Closing>),
    /// Nothing is left to do.
    Closed,
}

pub(crate) struct Http {
    pub(crate) reader: HttpReader,
    pub(crate) turn: Turn,
    /// What the reader waited for when `deadline` was set.
    pub(crate) waits_for: HttpPhase,
    pub(crate) deadline: Option<Mono>,
    /// The first head has not come yet: then even silence counts against the head's time.
    pub(crate) is_first: bool,
    /// Bytes were written since the deadline was set.
    pub(crate) has_written: bool,
    /// Makes the nonce.
    pub(crate) seed: Seed,
}

/// Whose turn it is.
pub(crate) enum Turn {
    /// The peer's: a request.
    Peer,
    /// The gateway's: an answer.
    Answer(ReplyTo),
    /// The gateway's: the rest of an answer.
    Body {
        /// Bytes that are still to come.
        left: u64,
        /// Whether the connection ends behind them.
        closes: bool,
    },
    /// The gateway's: whether to upgrade.
    Upgrade(ReplyTo, Upgrade),
}

pub(crate) struct Open {
    pub(crate) reader: ws::Reader,
    pub(crate) keepalive: Keepalive,
    pub(crate) stage: Stage,
}

/// How far a WebSocket's peer has come.
pub(crate) enum Stage {
    /// It was challenged.
    Challenged { nonce: Box<str>, deadline: Mono },
    /// Its `connect` is with the gateway; what it sent behind it waits.
    Connecting { waiting: Box<Waiting> },
    /// A page that is told when to load itself again; what it says itself is not listened to.
    Watching,
    /// It is in. What waited behind `connect` comes first.
    Admitted { dialect: Dialect, in_flight: usize, waiting: Option<Box<Waiting>> },
}

/// Messages behind `connect`.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) messages: VecDeque<ws::Message>,
    pub(crate) bytes: usize,
}

pub(crate) struct Closing {
    /// Looks for the peer's close frame, on a WebSocket.
    pub(crate) reader: Option<ws::Reader>,
    pub(crate) after: After,
    pub(crate) deadline: Mono,
    /// Progress in writing moves the deadline, but not beyond this.
    pub(crate) latest: Mono,
    pub(crate) is_written: bool,
    /// Reported when it is over, unless a reason was reported when it began.
    pub(crate) why: End,
}

/// What to wait for once the last words are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    /// RFC 6455 section 7.1.1: the closing handshake.
    PeerClose,
    /// RFC 9112 section 9.6: closing over unread bytes would reset the connection, and the peer might lose our
    /// last words. So our side ends first, and what still comes is dropped until the peer's side ends.
    PeerEnd,
}

impl Http {
    pub(crate) fn new(limits: &Limits, seed: Seed, now: Mono) -> Self {
        Self {
            reader: HttpReader::new(limits),
            turn: Turn::Peer,
            waits_for: HttpPhase::Idle,
            deadline: Some(now.plus_millis(limits.head_timeout_ms)),
            is_first: true,
            has_written: false,
            seed,
        }
    }

    /// Sets the deadline anew when the reader waits for something else than before.
    pub(crate) fn note_phase(&mut self, limits: &Limits, now: Mono) {
        let waits_for = match self.turn {
            Turn::Peer => match self.reader.phase() {
                // It was answered; the reader learns that when it is asked for the next one.
                HttpPhase::Answer | HttpPhase::Sending => HttpPhase::Idle,
                other @ (HttpPhase::Idle | HttpPhase::Head | HttpPhase::Body | HttpPhase::Ended) => other,
            },
            Turn::Answer(_) | Turn::Upgrade(..) => HttpPhase::Answer,
            Turn::Body { .. } => HttpPhase::Sending,
        };
        if waits_for == self.waits_for {
            return;
        }
        self.waits_for = waits_for;
        self.has_written = false;
        let timeout_ms = match waits_for {
            // The first head's time began with the connection.
            HttpPhase::Head if self.is_first => return,
            HttpPhase::Idle => Some(limits.http_idle_timeout_ms),
            HttpPhase::Head => Some(limits.head_timeout_ms),
            HttpPhase::Body => Some(limits.body_timeout_ms),
            HttpPhase::Sending => Some(limits.body_stall_timeout_ms),
            HttpPhase::Answer | HttpPhase::Ended => None,
        };
        self.is_first = false;
        self.deadline = timeout_ms.map(|ms| now.plus_millis(ms));
    }
}

impl Open {
    /// How many bytes may be taken before the gateway has answered something.
    pub(super) fn room(&self, limits: &Limits) -> usize {
        match &self.stage {
            Stage::Challenged { .. } | Stage::Watching => usize::MAX,
            Stage::Connecting { waiting } => {
                limits.preauth_message_bytes_max.saturating_sub(waiting.bytes + self.reader.held_bytes())
            }
            Stage::Admitted { in_flight, waiting, .. } => {
                let is_free = waiting.is_none() && *in_flight < limits.requests_in_flight_max;
                if is_free { usize::MAX } else { 0 }
            }
        }
    }

    /// Counts an answer, unless another one follows, and gives the dialect to say it in.
    pub(super) fn answered(&mut self, is_followed: bool) -> Dialect {
        match &mut self.stage {
            Stage::Challenged { .. } | Stage::Connecting { .. } | Stage::Watching => Dialect::V4,
            Stage::Admitted { dialect, in_flight, .. } => {
                *in_flight = in_flight.saturating_sub(usize::from(!is_followed));
                *dialect
            }
        }
    }
}

impl Closing {
    pub(crate) fn new(
        reader: Option<ws::Reader>,
        after: After,
        why: End,
        limits: &Limits,
        now: Mono,
    ) -> Self {
        Self {
            reader,
            after,
            deadline: now.plus_millis(limits.close_timeout_ms),
            latest: now.plus_millis(limits.close_timeout_ms.saturating_mul(FLUSH_TIMEOUTS_MAX)),
            is_written: false,
            why,
        }
    }
}

/// A peer that keeps reading, however slowly, has so many times the close timeout for what is queued.
const FLUSH_TIMEOUTS_MAX: u64 = 5;
