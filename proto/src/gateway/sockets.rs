//! The life of a socket at the gateway: what it asks for first, what it may be, and how it ends (spec: handshake section 2,
//! design rule R7). Every end of a session goes through here.

use super::diagnostics::Refusal;
use super::peers::{Handshake, Phase};
use super::{Gateway, Peer, Refused, admit, canvas, uptime_ms, web};
use crate::conn::Connection;
use crate::frame::CloseFrame;
use crate::http::HttpRequest;
use crate::id::ConnId;
use crate::input::End;
use crate::log::{Level, Record};
use crate::net::ClientAddress;
use crate::output::{Order, Output};
use crate::time::Now;
use crate::tls;
use std::sync::Arc;

impl Gateway {
    /// A socket was accepted. The driver owns the connection from here on.
    ///
    /// # Errors
    /// [`Refused`] when there are too many sockets.
    pub fn open(&mut self, now: Now, peer: Peer, out: &mut Vec<Output>) -> Result<Connection, Refused> {
        let sockets_max = self.config.limits.sockets_max;
        if self.stopping || self.peers.len() >= sockets_max {
            return Err(Refused);
        }
        self.last_conn += 1;
        self.stats.accepted += 1;
        let conn = ConnId(self.last_conn);
        for cut in self.peers.insert(conn, peer, &self.config) {
            out.push(Output::Log(
                Record::new(Level::Warn, "peer.cut").conn(cut).field("why", "too many open heads"),
            ));
            self.order(cut, Order::Abort, out);
            self.peers.set_phase(cut, Phase::Ending);
            self.peers.has_been_cut(cut);
            self.stats.cut += 1;
        }
        if self.peers.len() >= sockets_max && self.accepting {
            self.accepting = false;
            out.push(Output::Log(
                Record::new(Level::Warn, "accept.paused").field("sockets", self.peers.len()),
            ));
            out.push(Output::Accept(false));
        }
        let seed = self.random.seed();
        Ok(Connection::new(conn, seed, Arc::clone(&self.config), self.budget.clone(), now))
    }

    pub(super) fn upgrade(&mut self, now: Now, conn: ConnId, request: HttpRequest, out: &mut Vec<Output>) {
        let Some(slot) = self.peers.get(conn) else { return };
        if matches!(slot.phase, Phase::Ending) {
            return;
        }
        let remote = slot.peer.remote.ip();
        let address = ClientAddress::resolve(remote, &request, &self.config);
        let has_memory = self.has_memory(now, out);
        let mut refused = |code: &str| {
            let what = Refusal { code: code.into(), address: address.told(), client_id: None };
            self.stats.refused(now.wall, what, &self.config.limits);
        };
        let refusal = if self.stopping {
            refused("admission-closed");
            Some(web::admission_closed())
        } else if !self.peers.has_preauth_room(address.ip, &self.config) {
            out.push(Output::Log(
                Record::new(Level::Warn, "upgrade.refused")
                    .conn(conn)
                    .field("why", "too many unauthenticated sockets")
                    .field("peer", remote),
            ));
            refused("too-many-unauthenticated-sockets");
            Some(web::too_many_sockets())
        } else if !has_memory {
            refused("memory-ceiling");
            Some(web::memory_ceiling())
        } else {
            None
        };
        if refusal.is_none() && self.reload_upgrade(now, conn, &request, &address, out) {
            return;
        }
        let Some(slot) = self.peers.get(conn) else { return };
        if let Some(response) = refusal {
            self.peers.set_phase(conn, Phase::Http);
            self.order(conn, Order::Http(Box::new(response)), out);
            return;
        }
        if address.untrusted_proxy {
            self.stats.untrusted_proxies += 1;
            out.push(Output::Log(
                Record::new(Level::Warn, "peer.proxied-untrusted")
                    .conn(conn)
                    .field("peer", slot.peer.remote.ip())
                    .field(
                        "hint",
                        "add this proxy to gateway.trustedProxies, or the client counts as remote",
                    ),
            ));
        }
        if address.ip.is_none() {
            // Such a proxy makes all its clients one; such a program is taken for one of them.
            out.push(Output::Log(
                Record::new(Level::Warn, "peer.proxy-silent")
                    .conn(conn)
                    .field("peer", slot.peer.remote.ip())
                    .field(
                        "hint",
                        "it comes from a trusted proxy's address, and no client is named: have the proxy send \
                         X-Forwarded-For, and use an address that other programs do not",
                    ),
            ));
        }
        let handshake = Handshake { address, request, deciding: false, client_id: None };
        self.peers.set_phase(conn, Phase::Handshake(Box::new(handshake)));
        self.stats.upgraded += 1;
        self.order(conn, Order::Upgrade, out);
    }

    pub(super) fn http(&mut self, now: Now, conn: ConnId, request: &HttpRequest, out: &mut Vec<Output>) {
        let Some(slot) = self.peers.get(conn) else { return };
        if matches!(slot.phase, Phase::Ending) {
            return;
        }
        let client = ClientAddress::resolve(slot.peer.remote.ip(), request, &self.config);
        let Ok(address) = canvas::Address::of(request) else {
            return self.answer_http(conn, canvas::Malformed::response(), out);
        };
        if self.canvas_request(now, conn, request, &client, address, out) {
            return;
        }
        if self.metrics_request(now, conn, request, &client, address.path, out) {
            return;
        }
        if !web::is_probe(address.path) && self.control_ui_request(now, conn, request, &client, address, out)
        {
            return;
        }
        let facts = web::ProbeFacts {
            draining: self.stopping || self.suspension.is_held(),
            store_loaded: self.devices.is_loaded(),
            uptime_ms: uptime_ms(now),
            version: &self.config.about.version,
            event_loop: self.health.event_loop(),
        };
        let config = &self.config;
        // Only the details are for those who may know: the probes themselves answer everybody.
        let limiters = &mut self.limiters;
        let bearer = || {
            if client.local {
                return admit::Bearer::Proved;
            }
            admit::http_bearer(config, limiters, now.mono, &client, request)
        };
        let response = web::respond(&request.method, address.path, &facts, bearer);
        self.answer_http(conn, response, out);
    }

    pub(super) fn drained(&mut self, now: Now, conn: ConnId, bytes: usize, out: &mut Vec<Output>) {
        let Some(slot) = self.peers.get_mut(conn) else { return };
        let bytes = bytes.min(slot.queued);
        slot.queued -= bytes;
        self.budget.give(bytes);
        if slot.paused && slot.queued <= self.config.limits.queued_bytes_low {
            slot.paused = false;
            out.push(Output::To(conn, Order::Read(true)));
        }
        self.setup_delivered(now, conn, bytes, out);
        self.feed(now, conn, out);
    }

    pub(super) fn ending(&mut self, conn: ConnId, why: End, out: &mut Vec<Output>) {
        let Some(slot) = self.peers.get(conn) else { return };
        let (level, phase) = match (&slot.phase, why) {
            // Whoever wonders why a phone does not connect looks here.
            (Phase::Headless, End::TlsFault(tls::Fault::Refused | tls::Fault::Incompatible)) => {
                (Level::Info, "tls")
            }
            (Phase::Headless | Phase::Http, _) => (Level::Debug, "http"),
            (Phase::Serving(_), _) => (Level::Debug, "file"),
            (Phase::Watching(_), _) => (Level::Debug, "canvas"),
            (Phase::Handshake(_), End::PeerClosed) => (Level::Info, "handshake"),
            (Phase::Handshake(_), _) => (Level::Warn, "handshake"),
            (Phase::Open(_), End::PeerClosed) => (Level::Info, "open"),
            (Phase::Open(_), _) => (Level::Warn, "open"),
            (Phase::Ending, _) => (Level::Debug, "ending"),
        };
        let mut record =
            Record::new(level, "peer.ending").conn(conn).field("why", why.as_str()).field("in", phase);
        self.stats.ended(why);
        if let End::HttpFault(code) | End::WebSocketFault(code) = why {
            record = record.field("code", code);
        }
        if let End::TlsFault(fault) = why {
            record = record.field("fault", fault.as_str());
        }
        out.push(Output::Log(record));
        self.end_session(conn);
        self.peers.set_phase(conn, Phase::Ending);
        self.cut_unadmitted(out);
    }

    /// R7: who was refused and stays holds a socket like any other, so only so many may. The rest is cut, the oldest
    /// first; a stop has a bound of its own.
    pub(super) fn cut_unadmitted(&mut self, out: &mut Vec<Output>) {
        while !self.stopping
            && let Some(conn) = self.peers.pop_unadmitted(&self.config)
        {
            out.push(Output::Log(
                Record::new(Level::Debug, "peer.cut").conn(conn).field("why", "too many ending sockets"),
            ));
            self.order(conn, Order::Abort, out);
            self.stats.cut += 1;
        }
    }

    pub(super) fn closed(&mut self, conn: ConnId, out: &mut Vec<Output>) {
        self.end_session(conn);
        let Some(slot) = self.peers.remove(conn) else { return };
        self.budget.give(slot.queued);
        out.push(Output::Log(
            Record::new(Level::Debug, "peer.closed").conn(conn).field("peer", slot.peer.remote.ip()),
        ));
        self.accept_again(out);
        self.finish_stop(out);
    }

    /// Lets the driver accept again, where there is room by now.
    pub(super) fn accept_again(&mut self, out: &mut Vec<Output>) {
        if !self.accepting && !self.stopping && self.peers.len() < self.config.limits.sockets_max {
            self.accepting = true;
            out.push(Output::Accept(true));
        }
    }

    /// Takes a socket out of everything that only admitted peers are in. Whom to tell is for [`Self::flush`].
    pub(super) fn end_session(&mut self, conn: ConnId) {
        let Some(session) = self.peers.session_mut(conn) else { return };
        self.left.extend(session.presence_key.take());
        self.setups.undelivered.extend(session.delivery.take().map(|delivery| delivery.redeemed));
        self.approvals_left(conn);
        self.surfaces.left(conn);
        self.invokes_left(conn);
        self.peers.set_phase(conn, Phase::Ending);
    }

    /// Orders a close and ends the session at once: nothing more is delivered, nothing more is accepted.
    pub(super) fn close(&mut self, conn: ConnId, close: CloseFrame, out: &mut Vec<Output>) {
        if self.peers.get(conn).is_none_or(|slot| matches!(slot.phase, Phase::Ending)) {
            return;
        }
        self.end_session(conn);
        self.peers.set_phase(conn, Phase::Ending);
        self.order(conn, Order::Close(close), out);
        self.cut_unadmitted(out);
    }
}
