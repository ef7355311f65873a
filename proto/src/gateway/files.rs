//! Files on their way to peers: one piece after the other, each asked for when the one before has left. Which file, and
//! whether at all, is decided elsewhere.

use super::canvas::By;
use super::peers::Phase;
use super::{Gateway, Purpose};
use crate::host::{HostAnswer, HostRequest};
use crate::http::HttpResponse;
use crate::id::ConnId;
use crate::log::{Level, Record};
use crate::output::{Order, Output};
use crate::time::Now;

impl Gateway {
    /// The host has found a file, or not.
    pub(super) fn file_found(
        &mut self,
        now: Now,
        conn: ConnId,
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
        let stopping = self.stopping;
        let Some(slot) = self.peers.get_mut(conn) else { return };
        let Phase::Serving(serving) = &mut slot.phase else { return };
        let Some(HostAnswer::File(Ok(reply))) = answer else {
            let response = HttpResponse::text(503, "This host does not answer").with("Retry-After", "5");
            return self.answer_http(conn, response, out);
        };
        let mut reply = *reply;
        if let Some(query) = &serving.query {
            let places = reply.response.headers.iter_mut().filter(|(name, _)| *name == "Location");
            places.for_each(|(_, place)| *place = format!("{place}?{}", query.expose()).into());
        }
        if let Some(why) = reply.fault {
            out.push(Output::Log(Record::new(Level::Warn, "file.unreadable").conn(conn).field("why", why)));
        }
        let Some(rest) = reply.rest else { return self.answer_http(conn, reply.response, out) };
        serving.rest = Some(rest);
        serving.asked = false;
        reply.response.close |= stopping;
        self.order(conn, Order::Http(Box::new(reply.response)), out);
        self.feed(now, conn, out);
    }

    /// Asks for the next piece, if there is one and room for it.
    pub(super) fn feed(&mut self, now: Now, conn: ConnId, out: &mut Vec<Output>) {
        let limits = &self.config.limits;
        let piece_bytes = limits.file_piece_bytes;
        // What has left is not told at once when it is little.
        let ahead_max = piece_bytes.max(limits.drained_report_bytes);
        let Some(slot) = self.peers.get_mut(conn) else { return };
        let Phase::Serving(serving) = &mut slot.phase else { return };
        let Some(rest) = serving.rest.as_ref().filter(|_| !serving.asked && slot.queued <= ahead_max) else {
            return;
        };
        let request = HostRequest::FilePiece { rest: rest.clone(), bytes: piece_bytes };
        serving.asked = true;
        self.ask_host(now, request, Purpose::FilePiece { conn }, out);
    }

    /// The host has read a piece, or not.
    pub(super) fn piece_read(
        &mut self,
        now: Now,
        conn: ConnId,
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
        let Some(slot) = self.peers.get_mut(conn) else { return };
        let Phase::Serving(serving) = &mut slot.phase else { return };
        let Some(rest) = &mut serving.rest else { return };
        let why = match answer {
            Some(HostAnswer::FilePiece(Ok(bytes))) if !bytes.is_empty() => {
                serving.asked = false;
                let is_over = rest.advance(bytes.len() as u64);
                if is_over {
                    self.peers.set_phase(conn, Phase::Http);
                }
                self.order(conn, Order::Body(bytes), out);
                return self.feed(now, conn, out);
            }
            Some(HostAnswer::FilePiece(Err(fault))) => fault.0,
            Some(_) | None => "this host does not answer".to_owned(),
        };
        // So much was promised: only the end of the connection says that it will not come.
        out.push(Output::Log(Record::new(Level::Info, "file.cut").conn(conn).field("why", why)));
        self.cut(conn, out);
    }

    /// Ends what was begun in the name of connections that are gone.
    pub(super) fn cut_orphans(&mut self, out: &mut Vec<Output>) {
        let gone = self.surfaces.take_gone();
        if gone.is_empty() {
            return;
        }
        let is_orphan = |by: &By| matches!(by, By::Capability(conn) if gone.contains(conn));
        let orphans = self.peers.all().filter(|(_, slot)| match &slot.phase {
            Phase::Serving(serving) => is_orphan(&serving.by),
            Phase::Watching(by) => is_orphan(by),
            Phase::Headless | Phase::Http | Phase::Handshake(_) | Phase::Open(_) | Phase::Ending => false,
        });
        let orphans: Vec<ConnId> = orphans.map(|(conn, _)| conn).collect();
        for conn in orphans {
            self.cut(conn, out);
        }
    }

    fn cut(&mut self, conn: ConnId, out: &mut Vec<Output>) {
        self.peers.set_phase(conn, Phase::Ending);
        self.peers.has_been_cut(conn);
        self.order(conn, Order::Abort, out);
    }
}
