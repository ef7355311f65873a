//! A secret string: compared in constant time, never shown.

use core::fmt;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A shared token, a password or a device token.
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

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
