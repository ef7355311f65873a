//! A secret string: compared in constant time, never shown. Nothing else compares secrets; a test reads the sources.

use core::fmt;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A shared token, a password or a device token.
///
/// There is no `==` for it, which would tell by its time how much of a guess was right:
///
/// ```compile_fail,E0369
/// use clawgate_proto::secret::Secret;
/// assert!(Secret::new("guess") == Secret::new("guess"));
/// ```
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Trims the text; a blank one is no secret.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// Whether `candidate`, once trimmed, is this secret. Both sides are hashed, so that neither length nor
    /// content shows in the time taken.
    pub fn matches(&self, candidate: &str) -> bool {
        let ours = Sha256::digest(self.0.as_bytes());
        let theirs = Sha256::digest(candidate.trim().as_bytes());
        ours.as_slice().ct_eq(theirs.as_slice()).into()
    }

    /// The text itself, for the one place that must write it down.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Whether two secrets that are kept as text are the same. Only their length shows in the time taken.
pub fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
