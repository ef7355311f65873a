//! HTTP/1.1, server side: received bytes to requests, one at a time (RFC 9112).
//!
//! Invariants: each byte is read once, however it is cut; what comes out depends on the bytes alone; at most one
//! head and one body are held; after the first fault nothing more is read.

pub(crate) mod fault;
pub(crate) mod head;
pub(crate) mod response;
pub(crate) mod scan;
#[cfg(test)]
mod tests;

pub(crate) use fault::HttpFault;
#[cfg(test)]
pub(crate) use response::write_response;
pub(crate) use response::{write_continue, write_head};

use super::body::BodyReader;
use super::buffer::Residue;
use crate::http::HttpRequest;
use crate::limits::Limits;
use head::Head;
use scan::Scan;

/// What an answer to a request must obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyTo {
    /// The method was HEAD: no body is sent.
    pub(crate) head_only: bool,
    /// The peer wants the connection to persist.
    pub(crate) keep_alive: bool,
    /// The peer speaks HTTP/1.1; an upgrade is possible.
    pub(crate) http11: bool,
}

impl ReplyTo {
    /// For an answer that belongs to no complete request: a fault, a timeout.
    pub(crate) const FAULT: Self = Self { head_only: false, keep_alive: false, http11: true };
}

/// What the reader has to say.
#[derive(Debug)]
pub(crate) enum HttpNext {
    /// Nothing until more bytes come.
    NeedData,
    /// The peer sends the body only after an interim answer: write [`write_continue`] once, then ask again.
    Continue,
    /// A complete request. Ask again only when it is answered: what follows it waits.
    Request {
        /// With its body.
        request: Box<HttpRequest>,
        /// How to answer it.
        reply: ReplyTo,
    },
}

/// What the reader waits for; each has its own time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpPhase {
    /// The first byte of a request.
    Idle,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// Our own answer to the request it gave.
    Answer,
    /// The rest of that answer, which is sent piece by piece.
    Sending,
    /// Nothing: the last request was given, or a fault was found.
    Ended,
}

/// The bounds of one reader, out of [`Limits`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpLimits {
    pub(crate) head_bytes_max: usize,
    pub(crate) target_bytes_max: usize,
    pub(crate) header_count_max: usize,
    pub(crate) body_bytes_max: usize,
    pub(crate) chunk_line_bytes_max: usize,
}

/// Reads the requests of one connection.
#[derive(Debug)]
pub(crate) struct HttpReader {
    limits: HttpLimits,
    residue: Residue,
    state: State,
}

#[derive(Debug)]
enum State {
    Head(Scan),
    Body {
        head: Box<Head>,
        body: BodyReader,
    },
    /// A request was given; whether another may follow.
    Answer {
        keep_alive: bool,
    },
    /// No further request will be read.
    Last,
    Fault(HttpFault),
}

impl HttpReader {
    /// A reader at the start of a connection. Takes no memory before the first byte.
    pub(crate) fn new(limits: &Limits) -> Self {
        let limits = HttpLimits {
            head_bytes_max: limits.head_bytes_max,
            target_bytes_max: limits.target_bytes_max,
            header_count_max: limits.header_count_max,
            body_bytes_max: limits.body_bytes_max,
            chunk_line_bytes_max: limits.chunk_line_bytes_max,
        };
        // Room for the longest thing that must be held whole, so that a full residue is always a fault or an end.
        let held_max = limits.head_bytes_max.max(limits.chunk_line_bytes_max + 2) + 1;
        Self { limits, residue: Residue::new(held_max), state: State::Head(Scan::head()) }
    }

    /// Takes as many bytes as there is room for and says how many; the caller keeps the rest until
    /// [`HttpReader::next`] has made room. Behind the last request, or a fault, bytes are taken and dropped.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> usize {
        match self.state {
            State::Last | State::Fault(_) => bytes.len(),
            State::Head(_) | State::Body { .. } | State::Answer { .. } => self.residue.push(bytes),
        }
    }

    /// Whether [`HttpReader::receive`] would take a byte.
    #[cfg(test)]
    pub(crate) fn has_room(&self) -> bool {
        match self.state {
            State::Last | State::Fault(_) => true,
            State::Head(_) | State::Body { .. } | State::Answer { .. } => self.residue.room() > 0,
        }
    }

    /// The next thing to do. Asking again after a request says that it was answered.
    ///
    /// # Errors
    /// The first fault, and the same one ever after.
    pub(crate) fn next(&mut self) -> Result<HttpNext, HttpFault> {
        let next = self.advance();
        if let Err(fault) = next {
            self.stop(State::Fault(fault));
        }
        next
    }

    fn advance(&mut self) -> Result<HttpNext, HttpFault> {
        loop {
            match &mut self.state {
                State::Head(scan) => {
                    let fresh = self.residue.unseen().len();
                    let Some(end) = scan.read(self.limits, self.residue.unseen())? else {
                        self.residue.mark_seen(fresh);
                        return Ok(HttpNext::NeedData);
                    };
                    let end = self.residue.unread().len() - fresh + end;
                    let bytes = &self.residue.unread()[scan.skip()..end];
                    let head = Head::parse(self.limits, bytes, scan.fields())?;
                    self.residue.consume(end);
                    let expects_continue = head.expects_continue;
                    let body = BodyReader::new(head.body);
                    self.state = State::Body { head: Box::new(head), body };
                    if expects_continue {
                        return Ok(HttpNext::Continue);
                    }
                }
                State::Body { head, body } => {
                    let Some(data) = body.read(self.limits, &mut self.residue)? else {
                        return Ok(HttpNext::NeedData);
                    };
                    let reply = head.reply;
                    let mut request = core::mem::take(&mut head.request);
                    request.body = data;
                    self.state = State::Answer { keep_alive: reply.keep_alive };
                    return Ok(HttpNext::Request { request, reply });
                }
                State::Answer { keep_alive: true } => self.state = State::Head(Scan::head()),
                State::Answer { keep_alive: false } => self.stop(State::Last),
                State::Last => return Ok(HttpNext::NeedData),
                State::Fault(fault) => return Err(*fault),
            }
        }
    }

    /// Ends reading and lets the memory go.
    fn stop(&mut self, state: State) {
        self.residue = Residue::new(0);
        self.state = state;
    }

    /// What it waits for.
    pub(crate) fn phase(&self) -> HttpPhase {
        match &self.state {
            State::Head(_) if self.residue.is_empty() => HttpPhase::Idle,
            State::Head(_) => HttpPhase::Head,
            State::Body { .. } => HttpPhase::Body,
            State::Answer { .. } => HttpPhase::Answer,
            State::Last | State::Fault(_) => HttpPhase::Ended,
        }
    }

    /// Whether not a byte of a next request has come.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase() == HttpPhase::Idle
    }

    /// Whether a head is complete and its body is not.
    #[cfg(test)]
    pub(crate) fn in_body(&self) -> bool {
        self.phase() == HttpPhase::Body
    }

    /// The bytes behind the request it gave last, for the protocol that takes over after an upgrade. Call it
    /// before asking for the next request.
    pub(crate) fn into_residue(self) -> Vec<u8> {
        self.residue.into_unread()
    }
}

/// RFC 9110 5.6.2: a byte of a token, such as a method or a field name.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a comma-separated list has that item, in any case.
pub(crate) fn has_token(list: &str, wanted: &str) -> bool {
    list.split(',').any(|item| item.trim_matches([' ', '\t']).eq_ignore_ascii_case(wanted))
}
