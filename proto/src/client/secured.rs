//! TLS below a client's connection. Nothing falls back: where it was asked for and fails, nothing is said.

use super::{Client, ClosedBy, Phase};
use crate::time::Now;
use crate::tls::{Fault, Layer};

impl Client {
    pub(super) fn receive_sealed(&mut self, now: Now, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.phase != Phase::Closed {
            let Some(tls) = &mut self.tls else { return };
            match tls.receive(bytes) {
                Ok(0) => return self.fail_below(Fault::Protocol),
                Ok(taken) => bytes = &bytes[taken..],
                Err(fault) => return self.fail_below(fault),
            }
            let mut clear = Vec::new();
            while tls.unread() > 0 && tls.read(|chunk| keep(&mut clear, chunk)) > 0 {}
            let is_over = tls.peer_has_closed();
            if !clear.is_empty() {
                self.receive_clear(now, &clear);
            }
            if is_over {
                return self.receive_end(now);
            }
        }
    }

    pub(super) fn take_sealed(&mut self, wire: &mut Vec<u8>) {
        let Some(tls) = &mut self.tls else { return };
        tls.take_own(wire);
        if !tls.is_handshaking() && tls.fault().is_none() {
            tls.seal(&core::mem::take(&mut self.wire), wire);
            if self.phase == Phase::Closed {
                tls.close(wire);
            }
        }
        // Nobody asks here what is written.
        tls.wrote(usize::MAX);
    }

    /// Whether there are bytes to be written; `clear` says it of the connection above.
    pub(super) fn wants_sealed_write(tls: &Layer, clear: bool, is_over: bool) -> bool {
        let may_speak = !tls.is_handshaking() && tls.fault().is_none();
        tls.wants_write() || (may_speak && (clear || (is_over && !tls.is_closed())))
    }

    pub(super) fn fail_below(&mut self, fault: Fault) {
        self.tls_fault = Some(fault);
        // What a pinning client of the reference says.
        let code = if fault == Fault::Pin { 1008 } else { 1006 };
        if self.phase != Phase::Closed {
            self.closed(code, fault.to_string(), ClosedBy::Transport);
        }
    }
}

fn keep(clear: &mut Vec<u8>, chunk: &[u8]) -> usize {
    clear.extend_from_slice(chunk);
    chunk.len()
}
