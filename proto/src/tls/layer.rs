//! The TLS records of one connection, over rustls: wire bytes to plaintext and back, and how much of the plaintext is
//! written once so many wire bytes are.
//!
//! Invariants:
//! - Wire bytes are taken while no plaintext waits, so rustls holds one record at most that nobody has read, and one
//!   that is not complete. A handshake message has its own bound there, 64 KiB.
//! - Plaintext is sealed when it is about to be written, so rustls never queues any: what is queued towards a peer is
//!   counted, in plaintext, by those who queue it.

use super::Fault;
use core::fmt;
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection,
};
use std::collections::VecDeque;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

/// How a gateway takes connections: its certificate, and which versions it speaks.
#[derive(Clone)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// From a finished configuration.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(config)
    }

    pub(crate) fn layer(&self) -> Option<Layer> {
        let session = ServerConnection::new(Arc::clone(&self.0)).ok()?;
        Some(Layer::new(session.into()))
    }
}

/// It leads to a private key.
impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// How a client makes connections: whom it trusts, and under which name the gateway is known.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Connector {
    /// From a finished configuration, whose verifier decides which certificate is the gateway's.
    pub fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        Self { config, name }
    }

    pub(crate) fn layer(&self) -> Option<Layer> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone()).ok()?;
        Some(Layer::new(session.into()))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}

/// TLS of one connection.
pub(crate) struct Layer {
    session: rustls::Connection,
    /// Plaintext that waits to be read, in bytes.
    unread: usize,
    /// Wire bytes that may be held: those since plaintext came last, and those that came with it.
    sealed: usize,
    /// Taken wire bytes that are not written yet, with the plaintext in them.
    marks: VecDeque<Mark>,
    has_heard: bool,
    /// The peer said that nothing follows.
    peer_has_closed: bool,
    /// We said so, or failed.
    is_closed: bool,
    fault: Option<Fault>,
}

/// A record on its way.
struct Mark {
    wire: usize,
    clear: usize,
}

impl Layer {
    fn new(mut session: rustls::Connection) -> Self {
        session.set_buffer_limit(Some(QUEUED_BYTES_MAX));
        Self {
            session,
            unread: 0,
            sealed: 0,
            marks: VecDeque::new(),
            has_heard: false,
            peer_has_closed: false,
            is_closed: false,
            fault: None,
        }
    }

    /// Whether any byte came yet.
    pub(crate) fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// Takes wire bytes, one at least, up to about one record, and says how many. Read what they say before the next
    /// call.
    ///
    /// # Errors
    /// What is wrong with them. The alert that says so waits to be written, and nothing else is taken or sealed.
    pub(crate) fn receive(&mut self, mut bytes: &[u8]) -> Result<usize, Fault> {
        let before = bytes.len();
        self.has_heard |= before > 0;
        if self.fault.is_some() || self.peer_has_closed {
            return Ok(before);
        }
        // It fails when a handshake message is larger than any that makes sense.
        let read = self.session.read_tls(&mut bytes).map_err(|_| Fault::Protocol);
        let state = read.and_then(|_| self.session.process_new_packets().map_err(|why| fault(&why)));
        match state {
            Ok(state) => {
                self.unread = state.plaintext_bytes_to_read();
                self.peer_has_closed = state.peer_has_closed();
                let taken = before - bytes.len();
                self.sealed = if self.unread > 0 { taken } else { self.sealed + taken };
                Ok(if self.peer_has_closed { before } else { taken })
            }
            Err(fault) => {
                self.fault = Some(fault);
                self.is_closed = true;
                // Nobody reads it any more, but it is held until the connection is gone.
                self.sealed += self.unread;
                self.unread = 0;
                Err(fault)
            }
        }
    }

    /// Plaintext that waits to be read, in bytes.
    pub(crate) fn unread(&self) -> usize {
        self.unread
    }

    /// What is held of what the peer sent, at most, beyond the small buffer that is always there. That grows to a record and
    /// stays so until less is read. Of records without plaintext nothing is kept, but they cannot be told from parts of a
    /// message that is not whole yet, of which rustls keeps no more than [`HELD_BYTES_MAX`].
    pub(crate) fn held_bytes(&self) -> usize {
        self.unread + self.sealed.saturating_sub(READ_BYTES).min(HELD_BYTES_MAX)
    }

    /// Offers plaintext to whoever takes some of it, and says how much that was.
    pub(crate) fn read(&mut self, take: impl FnOnce(&[u8]) -> usize) -> usize {
        let mut reader = self.session.reader();
        let Ok(chunk) = reader.fill_buf() else {
            self.unread = 0;
            return 0;
        };
        let taken = take(chunk);
        reader.consume(taken);
        self.unread = self.unread.saturating_sub(taken);
        taken
    }

    /// Appends what TLS has to say by itself: handshake, alerts, new keys.
    pub(crate) fn take_own(&mut self, wire: &mut Vec<u8>) {
        let before = wire.len();
        self.drain(wire);
        self.mark(wire.len() - before, 0);
    }

    /// Appends plaintext as records. Nothing, before the handshake is complete and after the end.
    pub(crate) fn seal(&mut self, clear: &[u8], wire: &mut Vec<u8>) {
        if self.is_handshaking() || self.is_closed {
            return;
        }
        for piece in clear.chunks(RECORD_BYTES) {
            let before = wire.len();
            // A queue that is empty takes a record.
            let _ = self.session.writer().write_all(piece);
            self.drain(wire);
            self.mark(wire.len() - before, piece.len());
        }
    }

    /// Appends that nothing follows (RFC 8446 section 6.1). It counts as part of what stands before it.
    pub(crate) fn close(&mut self, wire: &mut Vec<u8>) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        self.session.send_close_notify();
        let before = wire.len();
        self.drain(wire);
        let bytes = wire.len() - before;
        match self.marks.back_mut() {
            Some(mark) => mark.wire += bytes,
            None => self.mark(bytes, 0),
        }
    }

    /// Nothing more is sealed, not even a farewell: the transport is gone.
    pub(crate) fn abandon(&mut self) {
        self.is_closed = true;
    }

    /// So many of the taken wire bytes are written: how much of the plaintext that is. A part of a record counts as
    /// progress, but its last byte only counts when all of it is written.
    pub(crate) fn wrote(&mut self, mut bytes: usize) -> usize {
        let mut clear = 0;
        while let Some(mark) = self.marks.front_mut() {
            if bytes < mark.wire {
                mark.wire -= bytes;
                let part = bytes.min(mark.clear.saturating_sub(1));
                mark.clear -= part;
                return clear + part;
            }
            bytes -= mark.wire;
            clear += mark.clear;
            self.marks.pop_front();
        }
        self.marks = VecDeque::new();
        clear
    }

    /// Whether TLS has something to say by itself.
    pub(crate) fn wants_write(&self) -> bool {
        self.session.wants_write()
    }

    /// Whether everything that was taken is written, and nothing more waits.
    pub(crate) fn is_written(&self) -> bool {
        self.marks.is_empty() && !self.wants_write()
    }

    /// Whether the peers do not know each other yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Whether the peer said that nothing follows.
    pub(crate) fn peer_has_closed(&self) -> bool {
        self.peer_has_closed
    }

    /// Whether we have said the last of it.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Why it failed.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    fn drain(&mut self, wire: &mut Vec<u8>) {
        while self.session.wants_write() {
            // Writing into memory does not fail.
            if self.session.write_tls(wire).is_err() {
                return;
            }
        }
    }

    fn mark(&mut self, wire: usize, clear: usize) {
        if wire > 0 {
            self.marks.push_back(Mark { wire, clear });
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "rustls adds to them, and the rest all break the protocol")]
fn fault(why: &Error) -> Fault {
    match why {
        Error::InvalidMessage(_) => Fault::NotTls,
        Error::PeerIncompatible(_) => Fault::Incompatible,
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => Fault::Pin,
        Error::InvalidCertificate(_) => Fault::Certificate,
        Error::AlertReceived(alert) if REFUSALS.contains(alert) => Fault::Refused,
        Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol,
        ) => Fault::Incompatible,
        Error::AlertReceived(_) => Fault::Alert,
        _ => Fault::Protocol,
    }
}

/// By these a peer says that it does not trust a certificate.
const REFUSALS: [AlertDescription; 6] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
];

/// Plaintext in one record (RFC 8446 section 5.1).
const RECORD_BYTES: usize = 16 * 1024;
/// What rustls reads at once, unless a record is on its way that is longer.
const READ_BYTES: usize = 4 * 1024;
/// A handshake message may be so long (see above); a record is shorter.
const HELD_BYTES_MAX: usize = 64 * 1024;
/// What rustls may keep that is not written: one record, and what TLS says by itself.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A session that never says anything, for what does not depend on one.
    fn layer() -> Option<Layer> {
        let provider = rustls::crypto::ring::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        Connector::new(config.into(), ServerName::try_from("a").ok()?).layer()
    }

    #[test]
    fn records_that_say_nothing_do_not_add_up() {
        let mut layer = layer().expect("a session");
        layer.sealed = 1 << 30;
        assert_eq!(layer.held_bytes(), HELD_BYTES_MAX);
        layer.unread = 7;
        assert_eq!(layer.held_bytes(), HELD_BYTES_MAX + 7);
    }

    #[test]
    fn what_is_written_of_a_record_is_progress_and_all_of_it_is_all() {
        let mut layer = layer().expect("a session");
        for (wire, clear) in [(100, 0), (122, 100), (22, 1), (50, 0)] {
            layer.mark(wire, clear);
        }
        // The handshake carries nothing; of a record, its last byte comes with its end.
        assert_eq!([layer.wrote(60), layer.wrote(40)], [0, 0]);
        assert_eq!([layer.wrote(1), layer.wrote(0), layer.wrote(120)], [1, 0, 98]);
        assert_eq!(layer.wrote(1), 1);
        assert_eq!([layer.wrote(21), layer.wrote(1)], [0, 1]);
        assert!(!layer.marks.is_empty());
        assert_eq!(layer.wrote(usize::MAX), 0);
        assert!(layer.marks.is_empty() && layer.marks.capacity() == 0);
    }

    #[test]
    fn nothing_is_sealed_before_the_peers_know_each_other_or_after_the_end() {
        let mut layer = layer().expect("a session");
        let mut wire = Vec::new();
        layer.seal(b"secret", &mut wire);
        assert!(wire.is_empty());
        layer.take_own(&mut wire);
        assert!(wire.len() > 100 && wire[0] == 22, "a ClientHello");
        assert_eq!(layer.receive(b"HTTP/1.1 400 Bad Request\r\n"), Err(Fault::NotTls));
        let before = wire.len();
        layer.seal(b"secret", &mut wire);
        layer.close(&mut wire);
        assert_eq!(wire.len(), before);
        layer.take_own(&mut wire);
        assert_eq!(wire[before], 21, "an alert");
        assert_eq!(layer.receive(b"more"), Ok(4), "and what still comes is dropped");
    }
}
