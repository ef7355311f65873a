//! What this gateway has done and holds, in numbers: for `status`, `diagnostics.stability` and `diagnostics.lanes`.
//!
//! Counting costs a few words at places that are rare anyway. Reasons come from our own texts, and are bounded all
//! the same.

use super::metrics::Counters;
use super::relay::Relayed;
use super::{Call, Gateway, Purpose};
use crate::frame::Payload;
use crate::host::Load;
use crate::input::End;
use crate::limits::Limits;
use crate::output::{Output, Reply};
use crate::time::{Mono, Now, Wall};
use bytes::Bytes;
use core::net::IpAddr;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Counts since the process started.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) accepted: u64,
    pub(super) upgraded: u64,
    pub(super) admitted: u64,
    pub(super) requests: u64,
    /// Events that a slow peer missed.
    pub(super) missed_events: u64,
    /// Peers closed or cut because they were slow, or one too many.
    pub(super) cut: u64,
    /// Sockets that came through a proxy that is not among the trusted ones.
    pub(super) untrusted_proxies: u64,
    /// Sockets and connects turned away, by `details.code` or our own word.
    refused: Reasons,
    /// The latest of these, the newest last.
    latest: VecDeque<Refusals>,
    /// Requests that failed, by `details.code`, `details.reason` or code.
    failed: Reasons,
    /// Connections that ended by themselves, by reason.
    ended: BTreeMap<&'static str, u64>,
    pub(super) counters: Counters,
}

#[derive(Debug, Default)]
struct Reasons(BTreeMap<Box<str>, u64>);

/// Somebody who was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `details.code`, or our own word.
    pub(super) code: Box<str>,
    /// Where it came from, as far as that is known.
    pub(super) address: IpAddr,
    /// What it called itself; a name of the closed list.
    pub(super) client_id: Option<Box<str>>,
}

/// The same refusal, however often.
#[derive(Debug)]
struct Refusals {
    what: Refusal,
    last: Wall,
    count: u64,
}

/// The numbers as text, with what they were made from. A peer that asks without a pause gets one text for a moment:
/// making it costs several times what all the rest of such a request does.
#[derive(Debug)]
pub(super) struct Told {
    at: Mono,
    state: State,
    text: Bytes,
}

/// What changes rarely, and shows at once; requests and memory may be told a moment late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    events: u64,
    sockets: [usize; 4],
    waiting: usize,
    phase: &'static str,
}

impl Reasons {
    fn count(&mut self, reason: &str, reasons_max: usize) {
        let is_new = !self.0.contains_key(reason);
        let reason = if is_new && self.0.len() >= reasons_max { "other" } else { reason };
        *self.0.entry(reason.into()).or_default() += 1;
    }
}

impl Stats {
    pub(super) fn refused(&mut self, at: Wall, what: Refusal, limits: &Limits) {
        self.refused.count(&what.code, limits.counted_reasons_max);
        // Who keeps trying must not push everybody else out.
        let before = self.latest.iter().position(|refusals| refusals.what == what);
        let count = before.and_then(|at| self.latest.remove(at)).map_or(0, |refusals| refusals.count);
        while self.latest.len() >= limits.recent_refusals_max.max(1) {
            self.latest.pop_front();
        }
        self.latest.push_back(Refusals { what, last: at, count: count + 1 });
    }

    /// The latest refusals, the newest first.
    pub(super) fn latest_refusals(&self) -> Value {
        let told = self.latest.iter().rev().map(|refusals| {
            let Refusal { code, address, client_id } = &refusals.what;
            let mut told = json!({
                "ts": refusals.last.0, "code": code, "address": address, "count": refusals.count,
            });
            if let Some(client_id) = client_id {
                told["clientId"] = json!(client_id);
            }
            told
        });
        told.collect()
    }

    pub(super) fn failed(&mut self, reason: &str, reasons_max: usize) {
        self.counters.failed();
        self.failed.count(reason, reasons_max);
    }

    pub(super) fn ended(&mut self, why: End) {
        *self.ended.entry(why.as_str()).or_default() += 1;
    }

    /// Who was turned away, by reason.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&str, u64)> {
        self.refused.0.iter().map(|(reason, count)| (&**reason, *count))
    }

    /// Why connections ended by themselves.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.ended.iter().map(|(reason, count)| (*reason, *count))
    }

    /// Everything that was counted but requests, together.
    fn events(&self) -> u64 {
        let reasons = self.refused.0.values().chain(self.failed.0.values()).chain(self.ended.values());
        let plain = [
            self.accepted,
            self.upgraded,
            self.admitted,
            self.missed_events,
            self.cut,
            self.untrusted_proxies,
        ];
        plain.iter().chain(reasons).sum()
    }
}

/// `diagnostics.stability`: the numbers, with memory as it is now. There is no recorder of events, and none is
/// pretended.
pub(crate) fn stability(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    gateway.relay(Relayed::Stability, call, None, out);
}

/// `diagnostics.lanes`: what waits for whom, in the members that the Control UI shows.
pub(crate) fn lanes(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let draining = gateway.stopping;
    let lane = |name: &str, active: usize, waiting: usize, at_once: usize| {
        json!({
            "lane": name, "queuedCount": waiting - active, "activeCount": active, "maxConcurrent": at_once,
            "draining": draining, "generation": 0, "blockedBy": null,
        })
    };
    // The host is asked once for all who want the same.
    let asked = gateway.relays.len();
    let asking = gateway.relays.values().map(Vec::len).sum();
    let logs = gateway.tickets.values().filter(|purpose| matches!(purpose, Purpose::LogsTail { .. })).count();
    let (devices, voice) = (gateway.devices.waiting(), gateway.voice.waiting());
    let answer = json!({
        "ts": call.now.wall.0,
        "lanes": [
            lane("host", asked, asking, Relayed::KINDS),
            lane("logs", logs, logs, gateway.config.limits.log_tails_max),
            lane("devices", devices.min(1), devices, 1),
            lane("voicewake", voice.min(1), voice, 1),
        ],
        "dynamic": null,
    });
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Value(Box::new(answer))), out);
}

impl Gateway {
    /// The answer to `diagnostics.stability`.
    pub(super) fn stability_numbers(&self, wall_ms: u64, load: Option<&Load>) -> Value {
        let queued: usize = self.peers.all().map(|(_, slot)| slot.queued).sum();
        let mut numbers = self.numbers(load);
        numbers["queues"]["queuedBytes"] = json!(queued);
        json!({
            "ts": wall_ms, "capacity": 0, "count": 0, "dropped": 0, "events": [],
            "summary": {"byType": {}}, "gateway": numbers,
        })
    }

    /// The numbers for `status`, as text.
    pub(super) fn numbers_text(&mut self, now: Now) -> Bytes {
        let state = State {
            events: self.stats.events(),
            sockets: [
                self.peers.len(),
                self.peers.headless_len(),
                self.peers.preauth_len(),
                self.peers.open_len(),
            ],
            waiting: self.tickets.len() + self.devices.waiting() + self.voice.waiting(),
            phase: self.phase(),
        };
        let told_ms = self.config.limits.coalesce_ms;
        if let Some(told) = &self.told
            && told.state == state
            && now.mono < told.at.plus_millis(told_ms)
        {
            return told.text.clone();
        }
        let text = Bytes::from(self.numbers(self.health.load()).to_string());
        self.told = Some(Told { at: now.mono, state, text: text.clone() });
        text
    }

    /// What is not in [`State`] has changed.
    pub(super) fn forget_numbers(&mut self) {
        self.told = None;
    }

    fn phase(&self) -> &'static str {
        if self.stopping { "stopping" } else { self.suspension.phase() }
    }

    /// The numbers. Every one of them is at hand: no socket is looked at.
    pub(super) fn numbers(&self, load: Option<&Load>) -> Value {
        let (limits, stats) = (&self.config.limits, &self.stats);
        json!({
            "phase": self.phase(),
            "memory": {
                "residentBytes": load.map(|load| load.resident_bytes),
                "budgetUsedBytes": self.budget.used(),
                "budgetMaxBytes": limits.process_bytes_max,
            },
            "sockets": {
                "total": self.peers.len(),
                "http": self.peers.headless_len(),
                "handshake": self.peers.preauth_len(),
                "open": self.peers.open_len(),
                "max": limits.sockets_max,
                "accepting": self.accepting,
            },
            "queues": {
                "hostRequests": self.tickets.len(),
                "storeOperations": self.devices.waiting() + self.voice.waiting(),
                "rememberedReplies": self.replies.len(),
            },
            "counts": {
                "accepted": stats.accepted,
                "upgraded": stats.upgraded,
                "admitted": stats.admitted,
                "requests": stats.requests,
                "missedEvents": stats.missed_events,
                "cut": stats.cut,
            },
            "proxies": {
                "state": match (stats.untrusted_proxies, self.config.trusted_proxies.len()) {
                    (1.., _) => "proxied-untrusted",
                    (0, 0) => "none",
                    (0, _) => "trusted",
                },
                "untrusted": stats.untrusted_proxies,
                "setting": "gateway.trustedProxies",
            },
            "refused": stats.refused.0,
            "failed": stats.failed.0,
            "ended": stats.ended,
            "restartNeeded": self.restart_needed,
            "configFault": self.config_fault.as_ref().map(|fault| {
                json!({"file": fault.file, "line": fault.line, "key": fault.key, "message": fault.message})
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_beyond_the_bound_are_counted_together() {
        let mut reasons = Reasons::default();
        for reason in ["a", "b", "c", "d", "a", "c"] {
            reasons.count(reason, 2);
        }
        let counts: Vec<(&str, u64)> = reasons.0.iter().map(|(reason, count)| (&**reason, *count)).collect();
        assert_eq!(counts, [("a", 2), ("b", 1), ("other", 3)]);
    }
}
