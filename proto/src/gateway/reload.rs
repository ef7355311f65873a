//! Pages that load themselves again when a file has changed (spec: http section 5). The files are only looked at while
//! there is such a page.

use super::canvas::{Address, Target};
use super::peers::Phase;
use super::timers::Timer;
use super::{Gateway, Purpose};
use crate::host::files::FileRoot;
use crate::host::{HostAnswer, HostRequest};
use crate::http::{HttpRequest, HttpResponse};
use crate::id::ConnId;
use crate::log::{Level, Record};
use crate::net::ClientAddress;
use crate::output::{Order, Output};
use crate::time::Now;

/// The looks at the files.
#[derive(Debug, Default)]
pub(super) struct Reload {
    /// Somebody looks, or will.
    is_on: bool,
    /// Looks that found something new since pages were told.
    news: u32,
}

impl Gateway {
    /// Takes a page that wants to be told; says whether the request was of one.
    pub(super) fn reload_upgrade(
        &mut self,
        now: Now,
        conn: ConnId,
        request: &HttpRequest,
        client: &ClientAddress,
        out: &mut Vec<Output>,
    ) -> bool {
        let Ok(address) = Address::of(request) else {
            let response = super::canvas::Malformed::response().closing();
            self.answer_http(conn, response, out);
            return true;
        };
        if !self.reloads_pages() || address.target() != Some(Target::Socket) {
            return false;
        }
        let by = match self.canvas_access(now, request, client, address.capability) {
            Ok(by) => by,
            Err(response) => {
                self.answer_http(conn, response.closing(), out);
                return true;
            }
        };
        if !self.is_canvas_page(client, request) {
            let response = HttpResponse::text(403, "This page may not listen to the canvas").closing();
            self.answer_http(conn, response, out);
            return true;
        }
        if self.peers.watching().len() >= self.config.limits.reload_sockets_max {
            let response =
                HttpResponse::text(503, "Too many pages listen to the canvas (limits.reloadSocketsMax)");
            self.answer_http(conn, response.with("Retry-After", "5").closing(), out);
            return true;
        }
        self.peers.set_phase(conn, Phase::Watching(by));
        self.order(conn, Order::Watch, out);
        if !self.reload.is_on {
            self.reload = Reload { is_on: true, news: 0 };
            self.look_at_files(now, out);
        }
        true
    }

    /// Looks once more, as long as there is somebody to tell.
    pub(super) fn look_at_files(&mut self, now: Now, out: &mut Vec<Output>) {
        let request = if self.peers.watching().is_empty() {
            self.reload = Reload::default();
            HostRequest::LeaveFiles(FileRoot::Canvas)
        } else {
            HostRequest::LookAtFiles(FileRoot::Canvas)
        };
        self.ask_host(now, request, Purpose::FilesLook, out);
    }

    /// The host has looked. What changed is told when it has come to rest: who writes one file writes others.
    pub(super) fn files_looked_at(&mut self, now: Now, answer: Option<HostAnswer>, out: &mut Vec<Output>) {
        if !self.reload.is_on {
            return;
        }
        match answer {
            Some(HostAnswer::FilesChanged(Ok(true))) => self.reload.news += 1,
            Some(HostAnswer::FilesChanged(Ok(false))) if self.reload.news > 0 => {
                self.reload.news = self.config.limits.reload_looks_max;
            }
            Some(HostAnswer::FilesChanged(Ok(false))) => {}
            Some(HostAnswer::FilesChanged(Err(fault))) => {
                // The next page tries again.
                self.reload = Reload::default();
                let record = Record::new(Level::Warn, "canvas.not-watched").field("why", fault.0);
                return out.push(Output::Log(record));
            }
            // Busy, perhaps: it is asked again.
            Some(_) | None => {}
        }
        if self.reload.news >= self.config.limits.reload_looks_max {
            self.reload.news = 0;
            let pages: Vec<ConnId> = self.peers.watching().iter().copied().collect();
            // One that does not read what it was told before need not be told again. So much may have left already.
            let queued_max = 2 * self.config.limits.drained_report_bytes;
            for conn in pages {
                if self.peers.get(conn).is_some_and(|slot| slot.queued <= queued_max) {
                    self.order(conn, Order::Reload, out);
                }
            }
        }
        self.timers.set(Timer::Reload, now.mono.plus_millis(self.config.limits.reload_look_ms));
    }
}
