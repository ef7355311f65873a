//! What a search for secrets looks for: every form in which a secret could leak, found at any offset.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use std::collections::HashMap;

/// Everything that is searched for, by its first bytes.
// `Debug` is left out: it is made of secrets.
#[derive(Default)]
#[allow(missing_debug_implementations, reason = "made of secrets")]
pub struct Needles {
    by_head: HashMap<[u8; NEEDLE_BYTES_MIN], Vec<(Vec<u8>, String)>>,
    /// A bit for each three bytes with which one begins: most places are told apart by it alone.
    starts: Vec<u64>,
}

impl Needles {
    /// Adds every form of a secret; `whose` names it in what is found.
    ///
    /// # Panics
    /// When it is shorter than [`NEEDLE_BYTES_MIN`].
    pub fn add(&mut self, whose: &str, secret: &str) {
        for (form, needle) in forms(secret.as_bytes()) {
            let head = needle.get(..NEEDLE_BYTES_MIN).and_then(|head| head.try_into().ok());
            let head: [u8; NEEDLE_BYTES_MIN] = head.expect("no form is shorter than the secret");
            let (word, bit) = place(&head);
            self.starts.resize(STARTS_WORDS, 0);
            self.starts[word] |= bit;
            let entry: &mut Vec<(Vec<u8>, String)> = self.by_head.entry(head).or_default();
            if entry.iter().all(|(have, _)| *have != needle) {
                entry.push((needle, format!("{whose}, {form}")));
            }
        }
    }

    /// Every place where one begins.
    pub fn find<'a>(&'a self, content: &'a [u8]) -> impl Iterator<Item = (usize, &'a str)> {
        let may_start = |window: &[u8]| {
            let (word, bit) = place(window);
            self.starts.get(word).is_some_and(|bits| bits & bit != 0)
        };
        let windows = content.windows(NEEDLE_BYTES_MIN).enumerate();
        windows.filter(move |(_, window)| may_start(window)).flat_map(move |(offset, window)| {
            let head: [u8; NEEDLE_BYTES_MIN] = window.try_into().expect("a window has that size");
            let candidates = self.by_head.get(&head).map(Vec::as_slice).unwrap_or_default();
            candidates
                .iter()
                .filter(move |(needle, _)| content[offset..].starts_with(needle))
                .map(move |(_, what)| (offset, what.as_str()))
        })
    }
}

/// Where the first three bytes have their bit.
fn place(head: &[u8]) -> (usize, u64) {
    let number = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    (number / 64, 1 << (number % 64))
}

/// The forms in which a secret could leak.
fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("raw", secret.to_vec())];
    for engine in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
        for before in 0..3 {
            // Only the characters that no neighbour has a share in.
            let padded = [&[0; 2][..before], secret].concat();
            let text = engine.encode(&padded);
            let (first, last) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
            forms.push(("base64", text.as_bytes()[first..last].to_vec()));
        }
    }
    for (upper, every) in [(true, true), (false, true), (true, false), (false, false)] {
        forms.push(("percent-encoded", percent(secret, upper, every).into_bytes()));
    }
    for upper in [true, false] {
        forms.push(("hex", secret.iter().map(|byte| hex(*byte, upper)).collect::<String>().into_bytes()));
    }
    // How `Debug` and JSON show a byte buffer.
    for between in [", ", ","] {
        let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
        forms.push(("numbers", numbers.join(between).into_bytes()));
    }
    forms
}

/// Percent-encoding (RFC 3986 section 2.1) of every byte, or of all but the unreserved ones.
pub fn percent(secret: &[u8], upper: bool, every: bool) -> String {
    let mut out = String::new();
    for byte in secret {
        if !every && (byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
            out.push(char::from(*byte));
        } else {
            out.push('%');
            out.push_str(&hex(*byte, upper));
        }
    }
    out
}

/// Two hex digits.
pub fn hex(byte: u8, upper: bool) -> String {
    if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }
}

/// Shorter texts occur by chance.
pub const NEEDLE_BYTES_MIN: usize = 8;
/// One bit for each three bytes there are.
const STARTS_WORDS: usize = (1 << 24) / 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// What is found in `text` when `secret` was written down.
    fn found(secret: &str, text: &str) -> Vec<String> {
        let mut needles = Needles::default();
        needles.add("it", secret);
        needles.find(text.as_bytes()).map(|(_, what)| what.to_owned()).collect()
    }

    #[test]
    fn every_form_is_found_at_any_offset() {
        let secret = "p?s~w/r d=+%";
        for before in ["", "x", "xy", "xyz"] {
            for after in ["", "x", "xy"] {
                let around = format!("{before}{secret}{after}");
                assert_eq!(found(secret, &around), ["it, raw"]);
                for text in [BASE64_STANDARD_NO_PAD.encode(&around), BASE64_URL_SAFE_NO_PAD.encode(&around)] {
                    assert_eq!(found(secret, &format!("a {text}.")), ["it, base64"], "{text}");
                }
            }
        }
        for text in [percent(secret.as_bytes(), true, false), percent(secret.as_bytes(), false, true)] {
            assert_eq!(found(secret, &text), ["it, percent-encoded"], "{text}");
        }
        assert_eq!(found(secret, &format!("{:?}", secret.as_bytes())), ["it, numbers"]);
        assert!(found(secret, "p?s~w/r d=+ and nothing else").is_empty());
    }
}
