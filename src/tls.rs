//! TLS of this program: the gateway's certificate, and whom a client trusts. The records themselves are the core's.
//!
//! A certificate is known by its fingerprint: the SHA-256 of its DER form, as 64 lowercase hexadecimal digits.

mod explain;
pub mod files;

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod pair;
#[cfg(feature = "tls")]
mod serve;

pub use explain::explain;

#[cfg(not(feature = "tls"))]
pub use absent::{Prepared, Secure, Served, prepare, renew, secure, shown};
#[cfg(feature = "tls")]
pub use client::{Secure, secure};
#[cfg(feature = "tls")]
pub use serve::{Prepared, Served, prepare, renew, shown};

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Which versions a gateway speaks (`tls.minVersion` in `clawgate.json`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oldest {
    /// TLS 1.3 alone.
    #[default]
    Tls13,
    /// TLS 1.2, too.
    Tls12,
}

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// SHA-256 of it.
    pub fingerprint: String,
    /// From when it is valid, in milliseconds of the wall clock.
    pub not_before_ms: u64,
    /// Until when.
    pub not_after_ms: u64,
    /// Whether nobody else has signed it.
    pub signs_itself: bool,
}

impl Shown {
    /// The fingerprint as bytes.
    pub fn digest(&self) -> Option<[u8; 32]> {
        digest(&self.fingerprint)
    }
}

fn digest(fingerprint: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    for (byte, two) in digest.iter_mut().zip(fingerprint.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Whom a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The one certificate with this fingerprint, whoever signed it.
    Pin(String),
    /// Certificates for the name of the gateway, from whom this machine trusts.
    System,
}

/// Which certificate a client met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Its fingerprint; `None` before the gateway has shown one.
    pub fingerprint: Option<String>,
    /// Why it is not trusted; for a person.
    pub why_not: Option<String>,
}

/// The fingerprint in what somebody wrote: with colons, spaces or a name before it, in any case. `None` when it is none.
pub fn fingerprint(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let bare = ["sha256", "sha-256"].iter().find_map(|name| lower.strip_prefix(name)).unwrap_or(&lower);
    let is_between = |c: char| c.is_ascii_whitespace() || matches!(c, ':' | '-' | '=');
    let digits: String = bare.chars().filter(|c| !is_between(*c)).collect();
    (digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(digits)
}

/// The fingerprint of a certificate.
pub fn fingerprint_of(der: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(der) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What a build without TLS says where it is asked for.
#[cfg_attr(feature = "tls", expect(dead_code, reason = "it is for builds without TLS"))]
const ABSENT: &str = "this build has no TLS: take one with the feature `tls`, or put a TLS proxy in front of a gateway \
                      on loopback";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_known_in_every_spelling() {
        let plain = "0123456789abcdef".repeat(4);
        let colons: Vec<String> =
            plain.as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two).to_uppercase()).collect();
        for text in [
            plain.clone(),
            format!(" {} \n", plain.to_uppercase()),
            colons.join(":"),
            format!("SHA256:{plain}"),
            format!("sha-256 {}", colons.join(" ")),
            format!("sha256 fingerprint={plain}").replace(" fingerprint", ""),
        ] {
            assert_eq!(fingerprint(&text).as_ref(), Some(&plain), "{text}");
        }
        for text in ["", "sha256:", &plain[1..], &format!("{plain}0"), &plain.replace('0', "g")] {
            assert_eq!(fingerprint(text), None, "{text}");
        }
        let shown = Shown {
            fingerprint: fingerprint_of(b"x"),
            not_before_ms: 0,
            not_after_ms: 0,
            signs_itself: true,
        };
        assert_eq!(shown.digest(), Some(Sha256::digest(b"x").into()));
        assert_eq!(fingerprint_of(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
