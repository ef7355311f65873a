//! Searches the output of the tests for secrets: `secret_scan BOOK PATH...`, files or folders.
//!
//! Looks for the marker that every secret chosen by a test carries, and for every line of the book of secrets,
//! each raw, in base64 (either alphabet, at any offset inside a longer text), percent-encoded and in hex. The book itself is not
//! searched. Exit code 0: nothing found; 1: a leak; 2: nothing to search, or nothing to search for.
//! Findings name the place and the form, never the secret.
//!
//! `secret_scan --leak FORM` is the deliberate leak: it makes a secret as a test would, writes it down in the book
//! and prints it in that form, so that the search can be seen to fail. `--leak nothing` prints something harmless.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use clawgate_support::secrets::{self, MARKER};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--leak", form] => leak(form),
        [book, paths @ ..] if !book.starts_with('-') && !paths.is_empty() => {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            match scan(Path::new(book), &paths) {
                Ok(report) => report.print(),
                Err(why) => fail(&why),
            }
        }
        _ => fail("usage: secret_scan BOOK PATH..., or secret_scan --leak FORM"),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("secret_scan: {why}");
    ExitCode::from(2)
}

/// What was searched, and what was found.
#[derive(Debug, Default)]
struct Report {
    secrets: usize,
    files: usize,
    bytes: u64,
    leaks: Vec<String>,
}

impl Report {
    fn print(&self) -> ExitCode {
        let Self { secrets, files, bytes, leaks } = self;
        for leak in leaks {
            println!("LEAK: {leak}");
        }
        let found = leaks.len();
        println!(
            "searched {bytes} bytes in {files} files for the marker and {secrets} secrets: {found} leaks"
        );
        if leaks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Searches every file below `paths`.
fn scan(book: &Path, paths: &[PathBuf]) -> Result<Report, String> {
    let text = std::fs::read_to_string(book).map_err(|why| format!("the book of secrets: {why}"))?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return Err("the book of secrets is empty: the tests wrote nothing down".to_owned());
    }
    if let Some(short) = lines.iter().position(|line| line.len() < NEEDLE_BYTES_MIN) {
        return Err(format!("line {} of the book of secrets is too short to be searched for", short + 1));
    }
    let mut needles = Needles::default();
    needles.add("the marker", MARKER);
    for (number, secret) in lines.iter().enumerate() {
        needles.add(&format!("line {} of the book", number + 1), secret);
    }
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    let book = book.canonicalize().map_err(|why| format!("the book of secrets: {why}"))?;
    let mut report = Report { secrets: lines.len(), ..Report::default() };
    for file in files {
        if file.canonicalize().is_ok_and(|path| path == book) {
            continue;
        }
        let content = std::fs::read(&file).map_err(|why| format!("{}: {why}", file.display()))?;
        report.files += 1;
        report.bytes += content.len() as u64;
        // One line a secret, form and file: a log that leaks tends to leak often.
        let mut places: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (offset, what) in needles.find(&content) {
            places.entry(what).or_insert((offset, 0)).1 += 1;
        }
        for (what, (offset, times)) in places {
            let line = 1 + content[..offset].iter().filter(|byte| **byte == b'\n').count();
            let at = format!("{}:{line}: {what}, {times} times", file.display());
            report.leaks.push(at);
        }
    }
    if report.bytes == 0 {
        return Err("no output to search".to_owned());
    }
    Ok(report)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let said = |why: std::io::Error| format!("{}: {why}", path.display());
    let meta = std::fs::symlink_metadata(path).map_err(said)?;
    if meta.is_dir() {
        let mut entries: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(path).map_err(said)? {
            entries.push(entry.map_err(said)?.path());
        }
        entries.sort();
        for entry in entries {
            collect(&entry, files)?;
        }
    } else if meta.is_file() {
        files.push(path.to_owned());
    }
    Ok(())
}

/// Everything that is searched for, by its first bytes.
#[derive(Debug, Default)]
struct Needles {
    by_head: HashMap<[u8; NEEDLE_BYTES_MIN], Vec<(Vec<u8>, String)>>,
}

impl Needles {
    /// Adds every form of a secret.
    fn add(&mut self, whose: &str, secret: &str) {
        for (form, needle) in forms(secret.as_bytes()) {
            let head = needle.get(..NEEDLE_BYTES_MIN).and_then(|head| head.try_into().ok());
            let head = head.expect("no form is shorter than the secret");
            let entry: &mut Vec<(Vec<u8>, String)> = self.by_head.entry(head).or_default();
            if entry.iter().all(|(have, _)| *have != needle) {
                entry.push((needle, format!("{whose}, {form}")));
            }
        }
    }

    /// Every place where one begins.
    fn find<'a>(&'a self, content: &'a [u8]) -> impl Iterator<Item = (usize, &'a str)> {
        content.windows(NEEDLE_BYTES_MIN).enumerate().flat_map(move |(offset, window)| {
            let head: [u8; NEEDLE_BYTES_MIN] = window.try_into().expect("a window has that size");
            let candidates = self.by_head.get(&head).map(Vec::as_slice).unwrap_or_default();
            candidates
                .iter()
                .filter(move |(needle, _)| content[offset..].starts_with(needle))
                .map(move |(_, what)| (offset, what.as_str()))
        })
    }
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
    forms
}

/// Percent-encoding (RFC 3986 section 2.1) of every byte, or of all but the unreserved ones.
fn percent(secret: &[u8], upper: bool, every: bool) -> String {
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

fn hex(byte: u8, upper: bool) -> String {
    if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }
}

/// Makes a secret as a test would, and lets it out.
fn leak(form: &str) -> ExitCode {
    // Made at run time, so without the marker; different every time.
    let secret: String = (0..3).fold(String::from("leak+"), |mut text, round| {
        let number = (u64::from(std::process::id()) + round).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        write!(text, "{number:016x}").expect("a string takes text");
        text
    });
    secrets::record(&secret);
    let around = format!("{{\"auth\":\"{secret}\"}}");
    match form {
        "nothing" => println!("a line of a log without a secret"),
        "marker" => println!("token {}", secrets::chosen("self-test")),
        "raw" => println!("token {secret}"),
        "base64" => println!("Basic {}", BASE64_STANDARD_NO_PAD.encode(&secret)),
        "base64-inside" => println!("Basic {}", BASE64_STANDARD_NO_PAD.encode(&around)),
        "base64url-inside" => println!("Basic {}", BASE64_URL_SAFE_NO_PAD.encode(format!("u{around}"))),
        "percent" => println!("/?token={}", percent(secret.as_bytes(), true, false)),
        "percent-every" => println!("/?token={}", percent(secret.as_bytes(), false, true)),
        "hex" => println!("{}", secret.bytes().map(|byte| hex(byte, false)).collect::<String>()),
        _ => return fail("no such form"),
    }
    ExitCode::SUCCESS
}

/// Shorter texts occur by chance.
const NEEDLE_BYTES_MIN: usize = 8;

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
        assert!(found(secret, "p?s~w/r d=+ and nothing else").is_empty());
    }
}
