//! What is sent to peers: orders and what they queue, answers, events, and what waits a moment before it is told (spec:
//! handshake sections 12 and 13).

use super::events::Event;
use super::health::Health;
use super::peers::Phase;
use super::presence::Presence;
use super::timers::Timer;
use super::{Flush, Gateway, events};
use crate::dialect;
use crate::dialect::Dialect;
use crate::error::RequestError;
use crate::frame::{CloseFrame, EventFrame, StateVersion};
use crate::id::ConnId;
use crate::log::{Level, Record};
use crate::output::{Order, Output, Reply};
use crate::scope::Role;
use crate::time::Now;
use bytes::Bytes;

impl Gateway {
    /// Gives a connection an order, counting what it queues.
    pub(super) fn order(&mut self, conn: ConnId, order: Order, out: &mut Vec<Output>) {
        let Some(slot) = self.peers.get_mut(conn) else { return };
        let cost = order.cost();
        if cost > 0 {
            if !self.budget.take(cost) {
                // There is no memory left for any peer: this answer is the one that does not fit.
                out.push(Output::Log(
                    Record::new(Level::Error, "budget.exhausted").conn(conn).field("bytes", cost),
                ));
                return self.close(conn, CloseFrame::new(1013, "gateway out of memory budget"), out);
            }
            slot.queued += cost;
        }
        out.push(Output::To(conn, order));
        if !slot.paused && slot.queued > self.config.limits.queued_bytes_high {
            slot.paused = true;
            out.push(Output::To(conn, Order::Read(false)));
        }
    }

    pub(super) fn respond(&mut self, conn: ConnId, id: Box<str>, reply: Reply, out: &mut Vec<Output>) {
        for (conn, id) in self.replies.finish(conn, &id, &reply, &self.config.limits) {
            self.answer(conn, Order::Respond { id, reply: reply.clone() }, out);
        }
        self.answer(conn, Order::Respond { id, reply }, out);
    }

    /// A socket that is ending is told nothing more.
    pub(super) fn answer(&mut self, conn: ConnId, order: Order, out: &mut Vec<Output>) {
        if self.peers.get(conn).is_some_and(|slot| !matches!(slot.phase, Phase::Ending)) {
            self.order(conn, order, out);
        }
    }

    /// Answers a request with an error, in the peer's dialect.
    pub(super) fn fail(&mut self, conn: ConnId, id: Box<str>, error: &RequestError, out: &mut Vec<Output>) {
        // A socket that is gone still has its answer remembered, for those who sent the same key.
        let dialect = self.peers.session(conn).map_or(Dialect::V4, |session| session.dialect);
        let shape = dialect::request_error(dialect, error);
        self.stats.failed(error.kind(), self.config.limits.counted_reasons_max);
        self.respond(conn, id, Reply::Err(Box::new(shape)), out);
    }

    /// Sends an event to everyone who may see it. Each payload was encoded once, for all peers of a dialect.
    pub(super) fn broadcast(
        &mut self,
        event: &'static Event,
        payload: [Option<Bytes>; 2],
        out: &mut Vec<Output>,
    ) {
        let state_version = event
            .versioned
            .then_some(StateVersion { presence: self.presence.version, health: self.health.version });
        let conns: Vec<ConnId> = self.peers.open().collect();
        for conn in conns {
            self.send_event(conn, event, &payload, state_version, out);
        }
    }

    /// Sends the health snapshot to peers of these dialects: with paths of this machine to readers only.
    pub(super) fn tell_health(&mut self, dirty: [bool; 2], out: &mut Vec<Output>) {
        let payloads = [false, true].map(|paths| {
            [Dialect::V3, Dialect::V4]
                .map(|dialect| dirty[dialect.index()].then(|| self.health.encoded(dialect, paths)))
        });
        let state_version = StateVersion { presence: self.presence.version, health: self.health.version };
        let conns: Vec<ConnId> = self.peers.open().collect();
        for conn in conns {
            let Some(session) = self.peers.session(conn) else { continue };
            let payload = &payloads[usize::from(Health::shows_paths(&session.scopes))];
            self.send_event(conn, &events::HEALTH, payload, Some(state_version), out);
        }
    }

    /// Sends an event to one peer, if it may see it.
    pub(super) fn send_event(
        &mut self,
        conn: ConnId,
        event: &'static Event,
        payload: &[Option<Bytes>; 2],
        state_version: Option<StateVersion>,
        out: &mut Vec<Output>,
    ) {
        let Some(session) = self.peers.session(conn) else { return };
        let Some(payload) = payload[session.dialect.index()].clone() else { return };
        let entitled =
            event.scope.is_none_or(|scope| session.role == Role::Operator && session.scopes.satisfies(scope));
        if !entitled {
            return;
        }
        let Some(slot) = self.peers.get_mut(conn) else { return };
        slot.seq += 1;
        let frame = EventFrame { name: event.name, payload, seq: Some(slot.seq), state_version };
        let order = Order::Event(frame);
        let cost = order.cost();
        let slow = slot.queued + cost > self.config.limits.queued_bytes_max;
        if event.drop_if_slow && (slow || !self.budget.has_spare(cost)) {
            self.stats.missed_events += 1;
            return; // one slow reader must not cost the others anything, and a few must not cost them all
        }
        if slow {
            out.push(Output::Log(
                Record::new(Level::Warn, "peer.slow").conn(conn).field("event", event.name),
            ));
            self.stats.cut += 1;
            return self.close(conn, CloseFrame::new(1008, "slow consumer"), out);
        }
        self.stats.counters.events_sent += 1;
        self.order(conn, order, out);
    }

    /// Sends what waits, when it has waited long enough.
    pub(super) fn flush(&mut self, now: Now, out: &mut Vec<Output>) {
        self.tell_undelivered(now, out);
        self.cut_orphans(out);
        self.tell_invokes_left(out);
        for key in core::mem::take(&mut self.left) {
            self.presence.disconnected(now, &key);
            self.presence_flush.dirty = [true, true];
        }
        let due = |flush: &Flush, wait_ms: u64| flush.last.map_or(now.mono, |last| last.plus_millis(wait_ms));
        let wait_ms = self.config.limits.coalesce_ms;
        if self.health_flush.dirty != [false, false] {
            let at = due(&self.health_flush, wait_ms);
            if at <= now.mono {
                let dirty = core::mem::take(&mut self.health_flush.dirty);
                self.health_flush.last = Some(now.mono);
                self.timers.clear(Timer::HealthFlush);
                self.health.refresh(now);
                self.tell_health(dirty, out);
            } else {
                self.timers.set_once(Timer::HealthFlush, at);
            }
        }
        if self.presence_flush.dirty != [false, false] {
            let at = due(&self.presence_flush, wait_ms);
            if at <= now.mono {
                let dirty = core::mem::take(&mut self.presence_flush.dirty);
                self.presence_flush.last = Some(now.mono);
                self.timers.clear(Timer::PresenceFlush);
                let payload = [Dialect::V3, Dialect::V4].map(|dialect| {
                    dirty[dialect.index()].then(|| presence_payload(&mut self.presence, now, dialect))
                });
                self.broadcast(&events::PRESENCE, payload, out);
            } else {
                self.timers.set_once(Timer::PresenceFlush, at);
            }
        }
        self.tell_invokes_left(out);
        if !self.left.is_empty() {
            // Whoever was closed by these very broadcasts is told of with the next ones.
            self.timers.set_once(Timer::PresenceFlush, now.mono.plus_millis(wait_ms));
        }
    }
}

fn presence_payload(presence: &mut Presence, now: Now, dialect: Dialect) -> Bytes {
    let list = presence.list(now, dialect);
    let mut out = Vec::with_capacity(list.len() + 16);
    out.extend_from_slice(b"{\"presence\":");
    out.extend_from_slice(&list);
    out.push(b'}');
    Bytes::from(out)
}
