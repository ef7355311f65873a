//! TLS below a connection, behind the feature `tls` (RFC 8446): who may ask for it, and what can go wrong with it.
//!
//! The program hands in a finished configuration of rustls: certificates, versions, whom to trust. rustls draws entropy
//! and reads the clock by itself, so this is the one part of the core that is not pure; where no configuration is handed
//! in, nothing of it runs. It opens no socket and no file like the rest: bytes in, bytes out.

use core::fmt;

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod layer;

#[cfg(not(feature = "tls"))]
pub use absent::{Acceptor, Connector};
#[cfg(feature = "tls")]
pub(crate) use layer::Layer;
#[cfg(feature = "tls")]
pub use layer::{Acceptor, Connector};

/// Why TLS failed on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What the peer sent is no TLS.
    NotTls,
    /// It speaks no version, or none of the algorithms, that this side does.
    Incompatible,
    /// This side does not trust the peer's certificate.
    Certificate,
    /// The peer's certificate is not the one that was pinned.
    Pin,
    /// The peer does not trust this side's certificate.
    Refused,
    /// The peer gave up for another reason.
    Alert,
    /// The peer broke the protocol.
    Protocol,
}

impl Fault {
    /// A stable name for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotTls => "not-tls",
            Self::Incompatible => "incompatible",
            Self::Certificate => "certificate",
            Self::Pin => "pin",
            Self::Refused => "certificate-refused",
            Self::Alert => "alert",
            Self::Protocol => "protocol",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTls => "the other side does not speak TLS",
            Self::Incompatible => "the other side speaks no version of TLS that is spoken here",
            Self::Certificate => "the gateway's certificate is not trusted",
            Self::Pin => "gateway tls fingerprint mismatch",
            Self::Refused => "the other side does not trust the certificate",
            Self::Alert => "the other side gave up",
            Self::Protocol => "the other side broke the TLS protocol",
        })
    }
}
