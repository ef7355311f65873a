//! Whether the peer still lives: a ping at every interval, and silence after it (RFC 6455 sections 5.5.2, 5.5.3).
//!
//! Any byte that arrives counts as life. The wait for one begins when the ping has left: behind a large message on a
//! slow link, progress in writing moves it. It stands still while we owe the peer an answer. While the peer does not
//! read, and so is not read either, only progress in writing counts as life: or a stalled peer would stay for ever.

use crate::limits::Limits;
use crate::time::Mono;

/// The clock of one WebSocket.
#[derive(Debug)]
pub(crate) struct Keepalive {
    state: State,
    paused_since: Option<Mono>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next ping is due.
    Ping { at: Mono },
    /// A ping was queued, and ends there in the stream of bytes. Without a sign of life the peer is dead then.
    Pong { dead_at: Mono, next_ping_at: Mono, ping_end: u64 },
}

/// What a deadline comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    Dead,
}

impl Keepalive {
    pub(crate) fn new(limits: &Limits, now: Mono) -> Self {
        Self { state: State::Ping { at: now.plus_millis(limits.ping_interval_ms) }, paused_since: None }
    }

    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        match (self.paused_since, self.state) {
            (Some(_), _) => None,
            (None, State::Ping { at } | State::Pong { dead_at: at, .. }) => Some(at),
        }
    }

    pub(crate) fn due(&self, now: Mono) -> Due {
        match self.state {
            _ if self.deadline().is_none_or(|deadline| now < deadline) => Due::Nothing,
            State::Ping { .. } => Due::Ping,
            State::Pong { .. } => Due::Dead,
        }
    }

    /// A ping was queued.
    pub(crate) fn pinged(&mut self, limits: &Limits, now: Mono, ping_end: u64) {
        self.state = State::Pong {
            dead_at: now.plus_millis(limits.pong_timeout_ms),
            next_ping_at: now.plus_millis(limits.ping_interval_ms),
            ping_end,
        };
    }

    /// A byte arrived.
    pub(crate) fn heard(&mut self, now: Mono) {
        if let State::Pong { next_ping_at, .. } = self.state {
            self.state = State::Ping { at: next_ping_at.max(now) };
        }
    }

    /// Bytes were written; `written_to` says whether the stream is written up to a point.
    pub(crate) fn wrote(&mut self, limits: &Limits, now: Mono, written_to: impl Fn(u64) -> bool) {
        // A ping is short: the write that takes its last byte began before it.
        if let State::Pong { dead_at, ping_end, .. } = &mut self.state
            && *ping_end != WRITTEN
        {
            *dead_at = now.plus_millis(limits.pong_timeout_ms);
            if written_to(*ping_end) {
                *ping_end = WRITTEN;
            }
        }
    }

    /// Whether the reader is paused by us, from now on.
    pub(crate) fn set_paused(&mut self, paused: bool, now: Mono) {
        match (self.paused_since, paused) {
            (None, true) => self.paused_since = Some(now),
            (Some(since), false) => {
                self.paused_since = None;
                let lost_us = now.0.saturating_sub(since.0);
                match &mut self.state {
                    State::Ping { at } => at.0 = at.0.saturating_add(lost_us),
                    State::Pong { dead_at, next_ping_at, .. } => {
                        dead_at.0 = dead_at.0.saturating_add(lost_us);
                        next_ping_at.0 = next_ping_at.0.saturating_add(lost_us);
                    }
                }
            }
            (None, false) | (Some(_), true) => {}
        }
    }
}

/// In place of the ping's end: it has left.
const WRITTEN: u64 = 0;
