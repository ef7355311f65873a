//! All randomness of the core: a ChaCha20 stream from a 32-byte seed that the driver draws once.
//!
//! The generator is named because transcripts depend on it. Children get seeds drawn from their parent.
//! A seed predicts every token, so neither type shows its state in `Debug`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use core::fmt;

/// 32 bytes from the operating system's generator.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Wraps bytes that the driver drew.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A deterministic stream of random bytes.
pub struct Random(ChaCha20Rng);

impl Random {
    /// Starts the stream of `seed`.
    pub fn new(seed: Seed) -> Self {
        Self(ChaCha20Rng::from_seed(seed.0))
    }

    /// Fills an array.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.0.fill_bytes(&mut out);
        out
    }

    /// A seed for a child.
    pub fn seed(&mut self) -> Seed {
        Seed(self.bytes())
    }

    /// A shared token as both programs make them: 24 random bytes, 48 hex digits in lower case.
    pub fn hex_token(&mut self) -> String {
        let bytes: [u8; 24] = self.bytes();
        let digits = |byte: u8| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        bytes.into_iter().flat_map(digits).map(char::from).collect()
    }

    /// A random (version 4) UUID in lower case, RFC 9562 section 5.4.
    pub fn uuid(&mut self) -> String {
        let mut b: [u8; 16] = self.bytes();
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let mut out = String::with_capacity(36);
        for (i, byte) in b.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                out.push('-');
            }
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
        out
    }

    /// 32 random bytes as base64url without padding: 43 characters, the form of every device token.
    pub fn token(&mut self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }

    /// A number below `bound` (which must not be zero), for spreading work; not free of bias.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
