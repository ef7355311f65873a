//! Secrets in tests. What a test chooses carries [`MARKER`]; what is made at run time is written down, so that a
//! search over all output of the tests knows what to look for.

use crate::needles::hex;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use clawgate_proto::client::DeviceKey;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

/// Part of every secret a test chooses.
pub const MARKER: &str = "cLaWmArKeR";

/// Names the file that secrets made at run time are appended to, one a line behind its kind. Without it nothing is written.
pub const BOOK: &str = "CLAWGATE_TEST_SECRETS";

/// What a secret is, so that a search can say what it looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Chosen by a test: carries [`MARKER`].
    Chosen,
    /// A device token.
    DeviceToken,
    /// A shared token that a gateway made at its first start.
    GatewayToken,
    /// The private half of a device key.
    PrivateKey,
    /// Anything else.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Chosen, Self::DeviceToken, Self::GatewayToken, Self::PrivateKey, Self::Other];

    /// Its name in the book.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::DeviceToken => "device-token",
            Self::GatewayToken => "gateway-token",
            Self::PrivateKey => "private-key",
            Self::Other => "other",
        }
    }
}

/// A secret for a test: the marker and a name.
pub fn chosen(name: &str) -> String {
    let secret = format!("{MARKER}-{name}");
    record_as(Kind::Chosen, &secret);
    secret
}

/// Writes down a secret that was made at run time. Repeats are dropped.
///
/// # Panics
/// As [`record_as`].
pub fn record(secret: &str) {
    record_as(Kind::Other, secret);
}

const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// The same for a secret of a known kind.
///
/// # Panics
/// When the book cannot be written: a secret that is not in it would not be searched for.
pub fn record_as(kind: Kind, secret: &str) {
    // What `config.get` shows in a secret's place is none.
    if secret == REDACTED {
        return;
    }
    let Some(book) = std::env::var_os(BOOK) else { return };
    let kind = if secret.contains(MARKER) { Kind::Chosen } else { kind };
    record_in(Path::new(&book), kind, secret);
}

/// Writes down the private half of a key, in the forms in which it could leak: as the file holds it, and bare.
pub fn record_key(key: &DeviceKey) {
    record_pem(&key.private_pem());
}

/// The same for the PEM text of a private key.
pub fn record_pem(pem: &str) {
    for line in pem.lines().filter(|line| !line.starts_with('-')) {
        record_as(Kind::PrivateKey, line);
        let Ok(der) = BASE64_STANDARD.decode(line.trim()) else { continue };
        // PKCS #8 of an Ed25519 key: the 32 bytes of the key are the last ones (RFC 8410).
        let Some(seed) = der.last_chunk::<32>() else { continue };
        record_as(Kind::PrivateKey, &BASE64_STANDARD_NO_PAD.encode(seed));
        record_as(Kind::PrivateKey, &BASE64_URL_SAFE_NO_PAD.encode(seed));
        record_as(Kind::PrivateKey, &seed.iter().fold(String::new(), |text, byte| text + &hex(*byte, false)));
        record_as(Kind::PrivateKey, &seed.map(|byte| byte.to_string()).join(", "));
    }
}

/// The capability in an address of the canvas.
pub fn capability(url: &str) -> Option<&str> {
    url.split_once("/__openclaw__/cap/")?.1.split('/').next()
}

/// Writes down every device token and shared token in a payload, the string members of these names, at any depth, and
/// the capability in every address.
pub fn record_tokens(payload: &Value) {
    match payload {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if matches!(key.as_str(), "token" | "deviceToken") => {
                        record_as(Kind::DeviceToken, text);
                    }
                    Value::String(text) => capability(text).into_iter().for_each(record),
                    Value::Null | Value::Bool(_) | Value::Number(_) => {}
                    Value::Array(_) | Value::Object(_) => record_tokens(value),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(record_tokens),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The bytes behind a text of base64url without padding, such as a setup code.
pub fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

/// One line of the book: the kind and the secret.
pub fn parse_line(line: &str) -> (Kind, &str) {
    let named = line.split_once('\t').and_then(|(name, secret)| {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name).map(|kind| (kind, secret))
    });
    named.unwrap_or((Kind::Other, line))
}

fn record_in(book: &Path, kind: Kind, secret: &str) {
    static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let secret = secret.trim();
    // Short strings occur everywhere by chance.
    if secret.len() < SECRET_BYTES_MIN || secret.contains(['\n', '\t']) {
        return;
    }
    let mut known = KNOWN.lock().expect("nobody panics while holding it");
    if !known.insert(format!("{}\0{secret}", book.display())) {
        return;
    }
    let file = std::fs::OpenOptions::new().create(true).append(true).open(book);
    // One write a line: several processes append to the same file.
    let line = format!("{}\t{secret}\n", kind.as_str());
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the book of secrets can be written");
}

const SECRET_BYTES_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::temp_dir;

    #[test]
    fn the_book_holds_each_secret_once() {
        let folder = temp_dir();
        let book = folder.path().join("book");
        for secret in ["first-secret", "second-secret", " first-secret\n", "short", "two\nlines of it"] {
            record_in(&book, Kind::Other, secret);
        }
        let text = std::fs::read_to_string(&book).expect("the book was written");
        assert_eq!(text, "other\tfirst-secret\nother\tsecond-secret\n");
        let lines: Vec<_> = text.lines().map(parse_line).collect();
        assert_eq!(lines, [(Kind::Other, "first-secret"), (Kind::Other, "second-secret")]);
        assert_eq!(parse_line("bare"), (Kind::Other, "bare"));
        assert_eq!(parse_line("private-key\tx"), (Kind::PrivateKey, "x"));
    }

    #[test]
    fn a_chosen_secret_carries_the_marker() {
        assert!(chosen("token").contains(MARKER));
    }
}
