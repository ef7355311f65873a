//! Searches the output of the tests for secrets: `secret_scan [--all-kinds] BOOK PATH...`, files or folders.
//!
//! Looks for the marker that every secret chosen by a test carries, and for every line of the book of secrets,
//! each raw, in base64 (either alphabet, at any offset inside a longer text), percent-encoded, in hex and as a list
//! of numbers. The book itself is not searched. Exit code 0: nothing found; 1: a leak; 2: nothing to search, or
//! nothing to search for; with `--all-kinds` also when the book lacks a kind of secret that a run of all tests
//! makes. Findings name the place and the form, never the secret.
//!
//! `secret_scan --leak FORM` is the deliberate leak: it makes a secret as a test would, writes it down in the book
//! and prints it in that form, so that the search can be seen to fail. `--leak nothing` prints something harmless.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use clawgate_support::needles::{NEEDLE_BYTES_MIN, Needles, hex, percent};
use clawgate_support::secrets::{self, Kind, MARKER};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--leak", form] => leak(form),
        ["--all-kinds", book, paths @ ..] if !paths.is_empty() => search(book, paths, true),
        [book, paths @ ..] if !book.starts_with('-') && !paths.is_empty() => search(book, paths, false),
        _ => fail("usage: secret_scan [--all-kinds] BOOK PATH..., or secret_scan --leak FORM"),
    }
}

fn search(book: &str, paths: &[&str], all_kinds: bool) -> ExitCode {
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    match scan(Path::new(book), &paths) {
        Ok(report) => match report.missing().filter(|_| all_kinds) {
            Some(kind) => fail(&format!("the tests wrote no {} down", kind.as_str())),
            None => report.print(),
        },
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("secret_scan: {why}");
    ExitCode::from(2)
}

/// What was searched, and what was found.
#[derive(Debug, Default)]
struct Report {
    secrets: BTreeMap<Kind, usize>,
    files: usize,
    bytes: u64,
    leaks: Vec<String>,
}

impl Report {
    /// A kind that every run of all tests makes, and this one did not.
    fn missing(&self) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind != Kind::Other && !self.secrets.contains_key(kind))
    }

    fn print(&self) -> ExitCode {
        let Self { secrets, files, bytes, leaks } = self;
        for leak in leaks {
            println!("LEAK: {leak}");
        }
        let (found, count) = (leaks.len(), secrets.values().sum::<usize>());
        let kinds: Vec<String> =
            secrets.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
        println!(
            "searched {bytes} bytes in {files} files for the marker and {count} secrets ({}): {found} leaks",
            kinds.join(", ")
        );
        if leaks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Searches every file below `paths`.
fn scan(book: &Path, paths: &[PathBuf]) -> Result<Report, String> {
    let text = std::fs::read_to_string(book).map_err(|why| format!("the book of secrets: {why}"))?;
    let lines: Vec<(Kind, &str)> =
        text.lines().map(secrets::parse_line).filter(|(_, secret)| !secret.is_empty()).collect();
    if lines.is_empty() {
        return Err("the book of secrets is empty: the tests wrote nothing down".to_owned());
    }
    if let Some(short) = lines.iter().position(|(_, secret)| secret.len() < NEEDLE_BYTES_MIN) {
        return Err(format!("line {} of the book of secrets is too short to be searched for", short + 1));
    }
    let mut needles = Needles::default();
    needles.add("the marker", MARKER);
    // Several processes write down the same secret, and not all of them know what it is.
    let mut known: BTreeMap<&str, Kind> = BTreeMap::new();
    for (number, (kind, secret)) in lines.iter().enumerate() {
        match known.get(secret) {
            None => needles.add(&format!("line {} of the book ({})", number + 1, kind.as_str()), secret),
            Some(Kind::Other) => {}
            Some(_) => continue,
        }
        known.insert(secret, *kind);
    }
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    let book = book.canonicalize().map_err(|why| format!("the book of secrets: {why}"))?;
    let mut report = Report::default();
    for kind in known.values() {
        *report.secrets.entry(*kind).or_default() += 1;
    }
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

/// Makes a secret as a test would, and lets it out.
fn leak(form: &str) -> ExitCode {
    // Made at run time, so without the marker; different every time.
    let secret: String = (0..3).fold(String::from("leak+"), |mut text, round| {
        let number = (u64::from(std::process::id()) + round).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        write!(text, "{number:016x}").expect("a string takes text");
        text
    });
    secrets::record_as(Kind::DeviceToken, &secret);
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
        "numbers" => println!("Vec({:?})", secret.as_bytes()),
        "hex" => println!("{}", secret.bytes().map(|byte| hex(byte, false)).collect::<String>()),
        _ => return fail("no such form"),
    }
    ExitCode::SUCCESS
}
