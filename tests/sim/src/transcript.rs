//! What happened, as text that a person can read and a machine can compare.
//!
//! Lines are relative to the start of a run: its wall-clock times are shown as `@+5ms`, and what is random is shown by
//! name (`d1` a device, `t2` a token, `u3` a UUID), in the order in which it first appears. So equal runs give equal
//! lines whenever they start, and no line shows a secret. Beside the lines, the hash of all bytes on the wire is kept:
//! it does depend on the start.

use clawgate_proto::{Mono, Now, Wall};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// The lines of one run, and two hashes.
pub struct Transcript {
    start: Wall,
    names: BTreeMap<String, String>,
    counts: BTreeMap<char, u32>,
    keeps_lines: bool,
    lines: Vec<String>,
    count: u64,
    hash: Sha256,
    wire: Sha256,
}

/// The two hashes of a run, in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// Of the lines, with nothing left out: the same at every start time.
    pub transcript: String,
    /// Of every byte that arrived anywhere, and when.
    pub wire: String,
}

impl Transcript {
    /// An empty one of a run that starts at `start`.
    pub fn new(start: Wall, keeps_lines: bool) -> Self {
        Self {
            start,
            names: BTreeMap::new(),
            counts: BTreeMap::new(),
            keeps_lines,
            lines: Vec::new(),
            count: 0,
            hash: Sha256::new(),
            wire: Sha256::new(),
        }
    }

    /// Shows `text` as `name` from now on.
    pub fn name(&mut self, text: &str, name: &str) {
        self.names.insert(text.to_owned(), name.to_owned());
    }

    /// Adds a line: who, a mark for what kind of thing it is, and what.
    pub fn line(&mut self, now: Now, who: impl fmt::Display, mark: char, text: &str) {
        let text = self.relative(text);
        let time = show(now.mono);
        self.count += 1;
        self.hash.update(format!("@{time} {who} {mark} {text}\n").as_bytes());
        if self.keeps_lines {
            let shown = if text.len() > LINE_CHARS { shorten(&text) } else { text };
            self.lines.push(format!("@{time} {who} {mark} {shown}"));
        }
    }

    /// Notes bytes that arrived.
    pub fn bytes(&mut self, now: Now, who: impl fmt::Display, bytes: &[u8]) {
        self.wire.update(format!("{} {who} {}\n", now.mono.0, bytes.len()).as_bytes());
        self.wire.update(bytes);
    }

    /// The lines so far, when they are kept.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// How many lines there are, kept or not.
    pub fn line_count(&self) -> u64 {
        self.count
    }

    /// Both hashes.
    pub fn hashes(&self) -> Hashes {
        Hashes { transcript: hex(self.hash.clone()), wire: hex(self.wire.clone()) }
    }

    /// Text with everything that differs from run to run shown by name.
    fn relative(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(is_word) {
            out.push_str(&rest[..start]);
            rest = &rest[start..];
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            match self.rename(word) {
                Some(name) => out.push_str(&name),
                None => out.push_str(word),
            }
            rest = tail;
        }
        out.push_str(rest);
        out
    }

    fn rename(&mut self, word: &str) -> Option<String> {
        if let Some(name) = self.names.get(word) {
            return Some(name.clone());
        }
        let is = |len: usize, of: fn(u8) -> bool| word.len() == len && word.bytes().all(of);
        let kind = if is(13, |b| b.is_ascii_digit()) {
            let at: u64 = word.parse().ok()?;
            let off = i128::from(at) - i128::from(self.start.0);
            return (off.unsigned_abs() < NEAR_MS).then(|| format!("@{off:+}ms"));
        } else if is(36, |b| b.is_ascii_hexdigit() || b == b'-') {
            'u'
        } else if is(64, |b| b.is_ascii_hexdigit()) {
            'x'
        } else if is(43, |_| true) {
            't'
        } else if is(86, |_| true) {
            return Some("sig".to_owned());
        } else {
            return None;
        };
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let name = format!("{kind}{count}");
        self.names.insert(word.to_owned(), name.clone());
        Some(name)
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcript").field("lines", &self.count).finish_non_exhaustive()
    }
}

/// A moment since the start: `5ms`, or `5.25ms`.
pub fn show(at: Mono) -> String {
    let (ms, us) = (at.0 / 1_000, at.0 % 1_000);
    if us == 0 { format!("{ms}ms") } else { format!("{ms}.{us:03}ms") }
}

/// Bytes as text, as far as they are, and not too many of them.
pub fn quote(bytes: &[u8]) -> String {
    let shown: Vec<u8> = bytes.iter().copied().take(48).collect();
    let dots = if shown.len() < bytes.len() { ".." } else { "" };
    format!("\"{}{dots}\" ({} bytes)", shown.escape_ascii(), bytes.len())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The beginning of a line, with the JSON in it cut to its outline.
fn shorten(text: &str) -> String {
    let Some(at) = text.find('{') else { return text.chars().take(LINE_CHARS).collect::<String>() + ".." };
    let (head, json) = text.split_at(at);
    // Times have lost their JSON form.
    let json = quote_times(json);
    match serde_json::from_str::<Value>(&json) {
        Ok(value) => format!("{head}{}", outline(&value, 0)),
        Err(_) => text.chars().take(LINE_CHARS).collect::<String>() + "..",
    }
}

/// Puts quotes around bare times such as `@+5ms`.
fn quote_times(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut in_text = false;
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' && in_text {
            out.push(c);
            out.extend(chars.next());
            continue;
        }
        in_text ^= c == '"';
        if c == '@' && !in_text {
            out.push('"');
            out.push(c);
            while let Some(next) = chars.next_if(|next| matches!(next, '+' | '-' | 'm' | 's' | '0'..='9')) {
                out.push(next);
            }
            out.push('"');
        } else {
            out.push(c);
        }
    }
    out
}

fn outline(value: &Value, depth: u32) -> String {
    match value {
        Value::Object(members) if depth >= 2 && !members.is_empty() => format!("{{{}}}", members.len()),
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("\"{key}\":{}", outline(value, depth + 1)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) if items.len() > 3 || items.iter().any(Value::is_object) => {
            format!("[{}]", items.len())
        }
        Value::String(text) if text.starts_with('@') => text.clone(),
        Value::String(text) if text.len() > 64 => {
            Value::from(text.chars().take(60).collect::<String>() + "..").to_string()
        }
        Value::Array(_) | Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {
            value.to_string()
        }
    }
}

/// Longer lines are shown in outline.
const LINE_CHARS: usize = 150;
/// Times further away from the start are none: about a day.
const NEAR_MS: u128 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(start: u64, text: &str) -> (String, Hashes) {
        let mut transcript = Transcript::new(Wall(start), true);
        transcript.line(Now::default(), "c1", '<', text);
        (transcript.lines()[0].clone(), transcript.hashes())
    }

    #[test]
    fn times_and_random_values_are_shown_by_name() {
        let uuid = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
        let (shown, hashes) =
            line(1_800_000_000_000, &format!(r#"a {{"ts":1800000000005,"id":"{uuid}"}} {uuid}"#));
        assert_eq!(shown, r#"@0ms c1 < a {"ts":@+5ms,"id":"u1"} u1"#);
        let (_, shifted) =
            line(1_700_000_000_000, &format!(r#"a {{"ts":1700000000005,"id":"{uuid}"}} {uuid}"#));
        assert_eq!(hashes.transcript, shifted.transcript);
        let (_, other) =
            line(1_800_000_000_000, &format!(r#"a {{"ts":1800000000006,"id":"{uuid}"}} {uuid}"#));
        assert_ne!(hashes.transcript, other.transcript);
    }

    #[test]
    fn long_lines_are_shown_in_outline_and_hashed_whole() {
        let text =
            |n| format!(r#"ok {{"ts":1800000000005,"list":[1,2,3,4,{n}],"text":"{}"}}"#, "y ".repeat(90));
        let (shown, one) = line(1_800_000_000_000, &text(5));
        let (same, two) = line(1_800_000_000_000, &text(6));
        assert_eq!(shown, same);
        assert!(shown.contains(r#""list":[5]"#) && shown.contains(r#""ts":@+5ms"#), "{shown}");
        assert_ne!(one.transcript, two.transcript);
    }
}
