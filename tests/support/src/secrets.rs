//! Secrets in tests. What a test chooses carries [`MARKER`]; what is made at run time is written down, so that a
//! search over all output of the tests knows what to look for.

use clawgate_proto::client::DeviceKey;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

/// Part of every secret a test chooses.
pub const MARKER: &str = "cLaWmArKeR";

/// Names the file that secrets made at run time are appended to, one a line. Without it nothing is written.
pub const BOOK: &str = "CLAWGATE_TEST_SECRETS";

/// A secret for a test: the marker and a name.
pub fn chosen(name: &str) -> String {
    format!("{MARKER}-{name}")
}

/// Writes down a secret that was made at run time. Repeats are dropped.
///
/// # Panics
/// When the book cannot be written: a secret that is not in it would not be searched for.
pub fn record(secret: &str) {
    let Some(book) = std::env::var_os(BOOK) else { return };
    record_in(Path::new(&book), secret);
}

/// Writes down the private half of a key, in the forms in which it could leak.
pub fn record_key(key: &DeviceKey) {
    key.private_pem().lines().filter(|line| !line.starts_with('-')).for_each(record);
}

/// Writes down every device token and shared token in a payload: the string members of these names, at any depth.
pub fn record_tokens(payload: &Value) {
    match payload {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if matches!(key.as_str(), "token" | "deviceToken") => record(text),
                    Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
                    Value::Array(_) | Value::Object(_) => record_tokens(value),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(record_tokens),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn record_in(book: &Path, secret: &str) {
    static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let secret = secret.trim();
    // Short strings occur everywhere by chance.
    if secret.len() < SECRET_BYTES_MIN || secret.contains('\n') {
        return;
    }
    let mut known = KNOWN.lock().expect("nobody panics while holding it");
    if !known.insert(format!("{}\0{secret}", book.display())) {
        return;
    }
    let file = std::fs::OpenOptions::new().create(true).append(true).open(book);
    // One write a line: several processes append to the same file.
    let line = format!("{secret}\n");
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
            record_in(&book, secret);
        }
        let text = std::fs::read_to_string(&book).expect("the book was written");
        assert_eq!(text, "first-secret\nsecond-secret\n");
    }

    #[test]
    fn a_chosen_secret_carries_the_marker() {
        assert!(chosen("token").contains(MARKER));
    }
}
