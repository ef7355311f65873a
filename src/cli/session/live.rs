//! A connection beside other things that are waited for: the caller polls its socket, and nothing here blocks for longer
//! than it takes to hand a request to the kernel.

use super::{READ_BYTES, Session, closed};
use crate::cli::Failure;
use clawgate_proto::client::{ClientEvent, EventMessage, Response};
use rustix::net::{RecvFlags, recv};
use serde_json::Value;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// What has come on a connection.
#[derive(Debug)]
pub enum Heard {
    /// An answer to a request.
    Answer(Response),
    /// An event.
    Event(EventMessage),
    /// Events were lost.
    Gap,
}

impl Session {
    /// Sends a request and gives its id; [`Session::hear`] gives the answer.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send(&mut self, method: &str, params: Value, timeout_ms: u64) -> Result<String, Failure> {
        let gone = || Failure::Unreachable("the gateway closed the connection".to_owned());
        let id = self.link.client.request(method, params).map_err(|_| gone())?;
        self.renew(timeout_ms);
        self.link.flush().map_err(|_| gone())?;
        Ok(id)
    }

    /// What has come so far, in order, and answers what the gateway asks meanwhile. Call it when the socket can be read,
    /// and when [`Session::wait_at_most`] is over.
    ///
    /// # Errors
    /// The connection has ended. What came before that is in `heard`.
    pub fn hear(&mut self, heard: &mut Vec<Heard>) -> Result<(), Failure> {
        let mut buffer = vec![0; READ_BYTES];
        // A gateway that talks without a pause does not keep the caller from its other business.
        for _ in 0..READS_MAX {
            let link = &mut self.link;
            let is_over = match recv(&link.stream, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => {
                    link.client.receive_end(link.now());
                    true
                }
                Ok((_, count)) => {
                    link.client.receive(link.now(), &buffer[..count]);
                    false
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => true,
                Err(_) => {
                    link.client.receive_end(link.now());
                    true
                }
            };
            link.client.handle_timeout(link.now());
            // A gateway that has closed its end may still have said why.
            let _ = link.flush();
            while let Some(event) = link.client.next_event() {
                match event {
                    ClientEvent::Response(response) => heard.push(Heard::Answer(response)),
                    ClientEvent::Event(event) => heard.push(Heard::Event(event)),
                    ClientEvent::Gap { .. } => heard.push(Heard::Gap),
                    ClientEvent::Closed { code, reason, .. } => {
                        let _ = link.flush();
                        return Err(closed(code, &reason));
                    }
                    ClientEvent::Challenge { .. }
                    | ClientEvent::HelloOk(_)
                    | ClientEvent::ConnectRefused(_)
                    | ClientEvent::Unrecognised(_)
                    | ClientEvent::HttpRefused { .. } => {}
                }
            }
            if is_over {
                break;
            }
        }
        Ok(())
    }

    /// How long the connection needs nobody, as long as nothing comes.
    pub fn wait_at_most(&self) -> Option<Duration> {
        self.link.client.next_deadline().map(|at| self.link.clock.until(at))
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.stream.as_fd()
    }
}

/// Reads in a row, at most.
const READS_MAX: usize = 32;
