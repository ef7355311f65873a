//! The HTTP phase of a connection: requests in order, one at a time, their answers, their time limits, and the step
//! to a WebSocket.

use super::Clear;
use super::encode;
use super::http::response::ResponseEnd;
use super::http::{HttpFault, HttpNext, HttpPhase, ReplyTo, write_continue, write_head};
use super::keepalive::Keepalive;
use super::outbox::Item;
use super::phase::{After, Closing, Open, Phase, Stage, Turn};
use super::upgrade::Upgrade;
use super::ws;
use crate::http::HttpResponse;
use crate::input::{End, Input};
use crate::seed::Random;
use crate::time::Now;
use bytes::Bytes;

impl Clear {
    /// Reads on, until a request is complete or bytes are missing.
    pub(super) fn advance_http(&mut self, now: Now) {
        let Phase::Http(http) = &mut self.phase else { return };
        loop {
            match http.reader.next() {
                Ok(HttpNext::NeedData) if self.at_end => {
                    let why = if http.reader.is_idle() { End::PeerClosed } else { End::PeerGone };
                    self.close_http(now, why);
                    return;
                }
                Ok(HttpNext::NeedData) => break,
                Ok(HttpNext::Continue) => {
                    let mut head = Vec::new();
                    write_continue(&mut head);
                    self.outbox.push_own_plain(head);
                }
                Ok(HttpNext::Request { request, reply }) => {
                    let conn = self.id;
                    match Upgrade::check(&request, reply) {
                        // A handshake that lost its Upgrade on the way, as behind a proxy that was not told: it
                        // is better told so than shown a page.
                        Ok(None) if request.header("sec-websocket-key").is_some() => {
                            let fault = HttpFault::UpgradeRequired;
                            return self.fail_http(now, fault, End::HttpFault(fault.status()));
                        }
                        Ok(None) => {
                            http.turn = Turn::Answer(reply);
                            self.fact = Some(Input::Http { conn, request });
                        }
                        Ok(Some(upgrade)) => {
                            http.turn = Turn::Upgrade(reply, upgrade);
                            self.fact = Some(Input::Upgrade { conn, request });
                        }
                        Err(fault) => return self.fail_http(now, fault, End::HttpFault(fault.status())),
                    }
                    break;
                }
                Err(fault) => return self.fail_http(now, fault, End::HttpFault(fault.status())),
            }
        }
        http.note_phase(&self.config.limits, now.mono);
    }

    pub(super) fn answer(&mut self, now: Now, mut response: HttpResponse, cost: usize) {
        let Phase::Http(http) = &mut self.phase else { return };
        let reply = match core::mem::replace(&mut http.turn, Turn::Peer) {
            Turn::Answer(reply) => reply,
            Turn::Upgrade(reply, _) => {
                response.close = true;
                reply
            }
            other @ (Turn::Peer | Turn::Body { .. }) => {
                http.turn = other;
                self.drained += cost;
                return;
            }
        };
        let why = if response.close { End::Ordered } else { End::PeerClosed };
        let rest = response.rest;
        let end = self.write_http(now, response, reply, cost);
        let Phase::Http(http) = &mut self.phase else { return };
        if end.has_body && rest > 0 {
            http.turn = Turn::Body { left: rest, closes: end.closes };
        } else if end.closes {
            return self.close_http(now, why);
        }
        // The time for taking the answer runs from now on, though nothing more is read before it is taken.
        let Phase::Http(http) = &mut self.phase else { return };
        http.note_phase(&self.config.limits, now.mono);
    }

    /// The next piece of a body. What was not announced is not sent.
    pub(super) fn body(&mut self, now: Now, bytes: Bytes, cost: usize) {
        let Phase::Http(http) = &mut self.phase else { return };
        let Turn::Body { left, closes } = &mut http.turn else {
            self.drained += cost;
            return;
        };
        let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= taken as u64;
        let (is_last, closes) = (*left == 0, *closes);
        // While it had everything it owed us nothing; its time for this begins now.
        http.has_written |= self.outbox.is_written();
        self.outbox.push(Item::Plain { head: Vec::new(), body: bytes.slice(..taken) }, cost);
        if is_last {
            http.turn = Turn::Peer;
            if closes {
                return self.close_http(now, End::PeerClosed);
            }
            http.note_phase(&self.config.limits, now.mono);
        }
    }

    fn write_http(
        &mut self,
        now: Now,
        mut response: HttpResponse,
        reply: ReplyTo,
        cost: usize,
    ) -> ResponseEnd {
        if let Some(policy) = &self.config.strict_transport_security {
            response.headers.push(("Strict-Transport-Security", policy.to_string().into()));
        }
        let mut head = Vec::with_capacity(HTTP_HEAD_BYTES);
        let end = write_head(&response, reply, now, &mut head);
        let body = if end.has_body { response.body } else { Bytes::new() };
        self.outbox.push(Item::Plain { head, body }, cost);
        end
    }

    fn fail_http(&mut self, now: Now, fault: HttpFault, why: End) {
        self.write_http(now, fault.response(), ReplyTo::FAULT, 0);
        self.close_http(now, why);
    }

    /// Plain HTTP came to a gateway that speaks TLS. Nothing it asked for is looked at. RFC 6797 section 7.2: no policy
    /// goes out in the clear.
    #[cfg(feature = "tls")]
    pub(super) fn ask_for_tls(&mut self, now: Now) {
        let response = HttpFault::NeedsTls.response();
        let mut head = Vec::with_capacity(HTTP_HEAD_BYTES);
        write_head(&response, ReplyTo::FAULT, now, &mut head);
        self.outbox.push(Item::Plain { head, body: response.body }, 0);
        self.close_http(now, End::HttpFault(HttpFault::NeedsTls.status()));
    }

    pub(super) fn http_timeout(&mut self, now: Now) {
        let Phase::Http(http) = &mut self.phase else { return };
        match http.waits_for {
            HttpPhase::Body => self.fail_http(now, HttpFault::BodyTimeout, End::BodyTimeout),
            HttpPhase::Head => self.fail_http(now, HttpFault::HeadTimeout, End::HeadTimeout),
            HttpPhase::Idle if http.is_first => {
                self.fail_http(now, HttpFault::HeadTimeout, End::HeadTimeout);
            }
            // It is not idle while it still reads our answer.
            HttpPhase::Idle if http.has_written && !self.outbox.is_written() => {
                http.has_written = false;
                http.deadline = Some(now.mono.plus_millis(self.config.limits.http_idle_timeout_ms));
            }
            HttpPhase::Idle => self.close_http(now, End::HttpIdle),
            // It is not stalled while it reads, nor while we have nothing for it.
            HttpPhase::Sending if http.has_written || self.outbox.is_written() => {
                http.has_written = false;
                http.deadline = Some(now.mono.plus_millis(self.config.limits.body_stall_timeout_ms));
            }
            HttpPhase::Sending => self.cut(End::SendTimeout),
            HttpPhase::Answer | HttpPhase::Ended => http.deadline = None,
        }
    }

    pub(super) fn close_http(&mut self, now: Now, why: End) {
        let after = if self.at_end { After::Nothing } else { After::PeerEnd };
        self.begin_end(why);
        let closing = Closing::new(None, after, why, &self.config.limits, now.mono);
        self.phase = Phase::Closing(Box::new(closing));
        self.settle(now);
    }

    /// Becomes a WebSocket: of a peer that is challenged, or of a page that only listens.
    pub(super) fn upgrade(&mut self, now: Now, listens: bool) {
        let Phase::Http(http) = &mut self.phase else { return };
        let Turn::Upgrade(_, upgrade) = &http.turn else { return };
        if self.at_end {
            return self.cut(End::PeerGone);
        }
        let mut head = Vec::with_capacity(HTTP_HEAD_BYTES);
        upgrade.write(&mut head);
        self.outbox.push_own_plain(head);
        let limits = &self.config.limits;
        let reader = ws::Reader::new(true, limits.preauth_message_bytes_max, self.budget.clone());
        let stage = if listens {
            Stage::Watching
        } else {
            let nonce = Random::new(http.seed.clone()).uuid();
            self.outbox.push_own(encode::challenge(&nonce, now.wall));
            let deadline = now.mono.plus_millis(limits.handshake_timeout_ms);
            Stage::Challenged { nonce: nonce.into(), deadline }
        };
        let keepalive = Keepalive::new(limits, now.mono);
        let open = Phase::Open(Box::new(Open { reader, keepalive, stage }));
        if let Phase::Http(http) = core::mem::replace(&mut self.phase, open) {
            let residue = http.reader.into_residue();
            self.residue = if residue.is_empty() { Vec::new() } else { residue };
        }
    }
}

/// Room for a response head.
const HTTP_HEAD_BYTES: usize = 512;
