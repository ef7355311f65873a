//! `/metrics`: the numbers of this gateway in the text format that Prometheus reads (version 0.0.4). Off unless its owner
//! asks for it, and for those who prove the shared secret: how many are here and who was refused is nobody else's.
//!
//! Every set of labels is bounded: families come from the method table, reasons are counted up to a bound, the rest are
//! closed lists.

use super::admit::{self, Bearer};
use super::{Gateway, canvas, uptime_ms, web};
use crate::config::AuthMode;
use crate::dialect::Dialect;
use crate::http::{HttpRequest, HttpResponse};
use crate::id::ConnId;
use crate::net::ClientAddress;
use crate::output::Output;
use crate::request::MethodRef;
use crate::scope::Role;
use crate::time::Now;
use core::fmt::{Display, Write as _};
use std::collections::BTreeMap;

/// Where it is.
pub(super) const PATH: &str = "/metrics";

/// Counts that only this page tells.
#[derive(Debug, Default)]
pub(super) struct Counters {
    families: BTreeMap<&'static str, Family>,
    /// Events handed to a connection, each time.
    pub(super) events_sent: u64,
    /// Documents that the host has made durable.
    pub(super) disk_writes: u64,
    /// The family of what is being worked on.
    at_work: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Family {
    requests: u64,
    errors: u64,
}

impl Counters {
    /// A request is looked at.
    pub(super) fn begin_request(&mut self, method: &MethodRef) {
        let family = family(method);
        self.families.entry(family).or_default().requests += 1;
        self.at_work = Some(family);
    }

    /// From now on it is the business of this family, or of none.
    pub(super) fn work_on(&mut self, family: Option<&'static str>) {
        self.at_work = family;
    }

    /// A request is answered with an error.
    pub(super) fn failed(&mut self) {
        self.families.entry(self.at_work.unwrap_or(OTHER)).or_default().errors += 1;
    }
}

/// What stands before the first dot of a method's name; names that nobody knows are one family.
fn family(method: &MethodRef) -> &'static str {
    let name: &'static str = match method {
        MethodRef::Known(row) => row.name,
        MethodRef::Unavailable(missing) => missing.name,
        MethodRef::Unknown(_) => return "unknown",
    };
    name.split('.').next().unwrap_or(name)
}

/// For answers that come when their request is no longer at hand.
const OTHER: &str = "other";

impl Gateway {
    /// Answers a request for the page; says whether it was one.
    pub(super) fn metrics_request(
        &mut self,
        now: Now,
        conn: ConnId,
        request: &HttpRequest,
        client: &ClientAddress,
        path: &str,
        out: &mut Vec<Output>,
    ) -> bool {
        if !self.config.metrics || path != PATH {
            return false;
        }
        let response = if !matches!(request.method.as_str(), "GET" | "HEAD") {
            HttpResponse::text(405, "Method Not Allowed").with("Allow", "GET, HEAD")
        } else {
            match self.may_see_metrics(now, client, request) {
                Bearer::Proved => HttpResponse::json(200, self.metrics(now))
                    .typed("text/plain; version=0.0.4; charset=utf-8")
                    .with("Cache-Control", "no-store"),
                Bearer::Unproved => canvas::unauthorized("Unauthorized", None),
                Bearer::Locked(retry_after_ms) => web::too_many_guesses(retry_after_ms),
            }
        };
        self.answer_http(conn, response, out);
        true
    }

    /// Where there is no secret to prove, programs of this machine may: they may connect as well.
    fn may_see_metrics(&mut self, now: Now, client: &ClientAddress, request: &HttpRequest) -> Bearer {
        if self.config.auth.mode == AuthMode::None && client.local {
            return Bearer::Proved;
        }
        admit::http_bearer(&self.config, &mut self.limiters, now.mono, client, request)
    }

    /// The page.
    fn metrics(&self, now: Now) -> String {
        let mut page = Page::default();
        let (stats, limits) = (&self.stats, &self.config.limits);
        let version = [("version", self.config.about.version.as_str())];
        page.gauge("build_info", "The version of this gateway.").row(&version, 1);
        page.gauge("uptime_seconds", "Time since the process began.").plain(Seconds(uptime_ms(now)));
        if let Some(load) = self.health.load() {
            page.gauge("resident_memory_bytes", "Memory of the process, when it was last looked at.")
                .plain(load.resident_bytes);
            page.counter("cpu_seconds_total", "Processor time of the process, when it was last looked at.")
                .plain(Seconds(load.cpu_ms));
        }
        if limits.memory_bytes_max > 0 {
            page.gauge(
                "memory_ceiling_bytes",
                "Memory of the process above which no more sockets are let in.",
            )
            .plain(limits.memory_bytes_max);
        }
        page.gauge(
            "budget_used_bytes",
            "Bytes held for peers: queues, and messages that are being received.",
        )
        .plain(self.budget.used());
        page.gauge("budget_bytes", "The bound of clawgate_budget_used_bytes.")
            .plain(limits.process_bytes_max);
        self.sockets(&mut page);
        let queued: usize = self.peers.all().map(|(_, slot)| slot.queued).sum();
        page.gauge("queued_bytes", "Bytes that wait to be sent to peers.").plain(queued);
        page.gauge("host_requests", "Questions to the host without an answer.").plain(self.tickets.len());
        page.gauge("store_operations", "Changes that wait for the disk.")
            .plain(self.devices.waiting() + self.voice.waiting());
        page.gauge("node_invokes", "Commands in flight to nodes.").plain(self.invokes.len());
        page.gauge("remembered_replies", "Answers kept for repeated requests.").plain(self.replies.len());
        page.counter("sockets_accepted_total", "Sockets accepted.").plain(stats.accepted);
        page.counter("sockets_upgraded_total", "Sockets that became a WebSocket.").plain(stats.upgraded);
        page.counter("connections_admitted_total", "Connections that got hello-ok.").plain(stats.admitted);
        page.counter("peers_cut_total", "Peers closed because they were slow, or one too many.")
            .plain(stats.cut);
        let refused = page.counter("refused_total", "Sockets and connects turned away, by reason.");
        for (reason, count) in stats.refusals() {
            refused.row(&[("reason", reason)], count);
        }
        let ended =
            page.counter("connections_ended_total", "Connections that ended by themselves, by reason.");
        for (reason, count) in stats.ends() {
            ended.row(&[("reason", reason)], count);
        }
        let families = &stats.counters.families;
        let requests = page.counter("requests_total", "Requests, by the first part of their method's name.");
        for (name, family) in families {
            requests.row(&[("family", name)], family.requests);
        }
        let errors = page.counter("request_errors_total", "Requests answered with an error, likewise.");
        for (name, family) in families {
            errors.row(&[("family", name)], family.errors);
        }
        page.counter("events_sent_total", "Events sent, to each peer.").plain(stats.counters.events_sent);
        page.counter("events_missed_total", "Events that a slow peer missed.").plain(stats.missed_events);
        page.counter("disk_writes_total", "Changes of documents that were made durable.")
            .plain(stats.counters.disk_writes);
        page.gauge("config_valid", "Whether the configuration files could be used when they last changed.")
            .plain(u8::from(self.config_fault.is_none()));
        page.gauge("config_restart_needed", "Settings that changed and wait for a restart.")
            .plain(self.restart_needed.len());
        page.text
    }

    fn sockets(&self, page: &mut Page) {
        let (total, http, handshake, open) =
            (self.peers.len(), self.peers.headless_len(), self.peers.preauth_len(), self.peers.open_len());
        let sockets = page.gauge("sockets", "Sockets, by how far they have come.");
        let rest = total.saturating_sub(http + handshake + open);
        for (state, count) in [("http", http), ("handshake", handshake), ("open", open), ("other", rest)] {
            sockets.row(&[("state", state)], count);
        }
        page.gauge("sockets_max", "The bound of clawgate_sockets, all together.")
            .plain(self.config.limits.sockets_max);
        let mut counts = [[0_usize; 2]; 2];
        let mut nodes = 0;
        for conn in self.peers.open() {
            let Some(session) = self.peers.session(conn) else { continue };
            counts[usize::from(session.role == Role::Node)][session.dialect.index()] += 1;
            nodes += usize::from(session.role == Role::Node);
        }
        let connections = page.gauge("connections", "Admitted connections, by role and protocol.");
        for (role, row) in [Role::Operator, Role::Node].iter().zip(counts) {
            for dialect in [Dialect::V3, Dialect::V4] {
                let protocol = match dialect {
                    Dialect::V3 => "3",
                    Dialect::V4 => "4",
                };
                let labels = [("role", role.as_str()), ("protocol", protocol)];
                connections.row(&labels, row[dialect.index()]);
            }
        }
        page.gauge("nodes_connected", "Nodes that are here.").plain(nodes);
    }
}

/// Milliseconds, written as seconds.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// A page that is being written.
#[derive(Default)]
struct Page {
    text: String,
    /// The metric whose rows follow.
    name: &'static str,
}

impl Page {
    fn gauge(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.begin(name, "gauge", help)
    }

    fn counter(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.begin(name, "counter", help)
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) -> &mut Self {
        self.name = name;
        let _ = writeln!(self.text, "# HELP clawgate_{name} {help}\n# TYPE clawgate_{name} {kind}");
        self
    }

    fn plain(&mut self, value: impl Display) {
        self.row(&[], value);
    }

    fn row(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "clawgate_{}", self.name);
        for (at, (name, label)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"", if at == 0 { '{' } else { ',' });
            for c in label.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_times_are_seconds() {
        let mut page = Page::default();
        page.counter("a_total", "Help.").row(&[("x", "a\"b\\c\nd"), ("y", "")], Seconds(1_050));
        let want = "# HELP clawgate_a_total Help.\n# TYPE clawgate_a_total counter\n\
                    clawgate_a_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 1.050\n";
        assert_eq!(page.text, want);
    }
}
