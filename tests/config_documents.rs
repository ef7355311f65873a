//! Ten thousand random configuration files, from valid to hostile: none makes the program panic, hang or lose a member.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clawgate::config::live;
use clawgate::config::open::load;
use clawgate::environment::Environment;
use clawgate::storage::{RealDisk, Storage};
use clawgate_config::Node;
use clawgate_config::service::{self, Change, Context};
use clawgate_proto::host::config::ConfigWrite;
use clawgate_proto::seed::{Random, Seed};
use clawgate_support::fuzz_targets::config_json5;
use clawgate_support::temp_dir;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Draws from one seed.
struct Dice(Random);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.below(bound as u64)).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const SECTIONS: [&str; 10] =
    ["gateway", "channels", "agents", "env", "hooks", "session", "plugins", "models", "ui", "meta"];
const NAMES: [&str; 14] = [
    "port",
    "mode",
    "auth",
    "token",
    "bind",
    "id",
    "list",
    "$include",
    "x",
    "'a b'",
    "\"q\\u0041\"",
    "__proto__",
    "vars",
    "controlUi",
];
const SCALARS: [&str; 22] = [
    "1",
    "0x1F",
    "-1.5e3",
    ".5",
    "Infinity",
    "-NaN",
    "true",
    "null",
    "'local'",
    "'lan'",
    "\"te\\\"xt\"",
    "'${A}'",
    "'$${A}'",
    "'line\\\nnext'",
    "'__OPENCLAW_REDACTED__'",
    "'self'",
    "'other'",
    "18789",
    "''",
    "'\u{1f980}'",
    "'wss://u:p@h/'",
    "'x'",
];

fn value(dice: &mut Dice, out: &mut String, depth: usize) {
    match if depth == 0 { 0 } else { dice.below(5) } {
        0..=2 => out.push_str(dice.one(&SCALARS)),
        3 => {
            out.push('[');
            for _ in 0..dice.below(4) {
                value(dice, out, depth - 1);
                out.push(',');
            }
            out.push(']');
        }
        _ => object(dice, out, depth - 1, &NAMES),
    }
}

fn object(dice: &mut Dice, out: &mut String, depth: usize, names: &[&str]) {
    out.push('{');
    for _ in 0..dice.below(5) {
        if dice.below(8) == 0 {
            out.push_str(dice.one(&["// note\n", "/* note */", "\u{feff}", " "]));
        }
        let _ = write!(out, "{}:", dice.one(names));
        value(dice, out, depth);
        out.push(',');
    }
    out.push('}');
}

/// Valid by construction, so that members are really there to lose.
fn valid(dice: &mut Dice) -> String {
    let mut out = "{gateway: {mode: 'local'".to_owned();
    if dice.below(2) == 0 {
        let _ = write!(out, ", port: {}, auth: {{token: 's{}'}}", 1 + dice.below(65_000), dice.below(9));
    }
    out.push_str("}, channels: ");
    object(dice, &mut out, 4, &["a", "b", "token", "list", "id", "'c d'", "password"]);
    out.push_str(", plugins: ");
    object(dice, &mut out, 3, &["a", "apiKey", "z"]);
    out.push('}');
    out
}

/// A valid text with a few bytes changed.
fn nearly(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = valid(dice).into_bytes();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(3) {
            0 => bytes[at] = dice.below(256) as u8,
            1 => {
                bytes.remove(at);
            }
            _ => bytes.insert(at, b"{}[],:'\"\\$/*"[dice.below(12)]),
        }
    }
    bytes
}

#[test]
fn ten_thousand_random_documents_never_panic_never_hang_and_never_lose_a_member() {
    let mut dice = Dice(Random::new(Seed::new([42; 32])));
    let (mut usable, mut slowest) = (0, Duration::ZERO);
    for n in 0..10_000 {
        let mut data = match n % 4 {
            0 | 1 => valid(&mut dice).into_bytes(),
            2 => nearly(&mut dice),
            _ => {
                let mut text = String::new();
                object(&mut dice, &mut text, 5, &SECTIONS);
                text.into_bytes()
            }
        };
        if dice.below(4) == 0 {
            data.push(0);
            let mut patch = String::new();
            object(&mut dice, &mut patch, 3, &["channels", "gateway", "plugins"]);
            data.extend(patch.as_bytes());
        }
        let started = Instant::now();
        config_json5(&data);
        slowest = slowest.max(started.elapsed());
        let text = data.split(|byte| *byte == 0).next().unwrap();
        usable += usize::from(Node::parse(&String::from_utf8_lossy(text)).is_ok());
    }
    assert!(usable > 5_000, "only {usable} were JSON5 at all: the generator has lost its way");
    assert!(slowest < Duration::from_secs(5), "one took {slowest:?}");
}

#[test]
fn hostile_documents_are_refused_at_once() {
    let levels = 200_000;
    for text in [
        "[".repeat(levels),
        "{a:".repeat(levels),
        "/*".repeat(levels),
        "'\\".repeat(levels),
        "{a:[".repeat(levels),
    ] {
        let started = Instant::now();
        config_json5(text.as_bytes());
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    // As many members as are allowed, all in one object; a walk that searches them once a member would take hours.
    let wide: String = (0..90_000).fold("{channels: {".to_owned(), |mut text, n| {
        let _ = write!(text, "k{n}:1,");
        text
    }) + "}}";
    let started = Instant::now();
    let context = Context {
        path: "/c",
        files: &clawgate_config::include::NoFiles,
        variables: &|_| None,
        now: "now",
        secrets: &[],
    };
    let write = ConfigWrite {
        raw: wide.clone(),
        base_hash: Some(service::hash(wide.as_bytes())),
        ..ConfigWrite::default()
    };
    let edited = service::change(Change::Patch, &write, Some(wide.as_bytes()), &context).unwrap();
    assert_eq!(edited.loaded.written.at(&["channels"]).unwrap().members().unwrap().len(), 90_000);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn files_of_50_megabytes_are_refused_without_being_read() {
    let scratch = temp_dir();
    let path = scratch.path().join("openclaw.json");
    for start in ["", "{", "// ", "['", "{a: '"] {
        let mut text = start.as_bytes().to_vec();
        text.resize(50 << 20, b' ');
        std::fs::write(&path, &text).unwrap();
        let started = Instant::now();
        let fault = live::read(&Storage::new(RealDisk, 1), &path).unwrap_err();
        assert!(fault.contains("larger than 2097152 bytes"), "{fault}");
        config_json5(&text);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn files_that_include_each_other_end() {
    let scratch = temp_dir();
    let file = |name: &str, text: &str| std::fs::write(scratch.path().join(name), text).unwrap();
    file("openclaw.json", "{channels: {$include: 'a.json'}}");
    file("a.json", "{x: {$include: ['b.json', 'b.json']}}");
    file("b.json", "{y: {$include: 'a.json'}}");
    let path = scratch.path().join("openclaw.json");
    let text = std::fs::read(&path).unwrap();
    let loaded = load(&path, Some(&text), &Environment::default());
    assert!(loaded.issues[0].message.starts_with("Circular include detected: "), "{:?}", loaded.issues);
    // Twice as many at each level: a file counts each time.
    for n in 0..10 {
        let next = n + 1;
        file(
            &format!("w{n}.json"),
            &format!("{{a: {{$include: 'w{next}.json'}}, b: {{$include: 'w{next}.json'}}}}"),
        );
    }
    file("w10.json", "{}");
    file("openclaw.json", "{channels: {$include: 'w0.json'}}");
    let started = Instant::now();
    let loaded = load(&path, Some(&std::fs::read(&path).unwrap()), &Environment::default());
    assert!(!loaded.is_valid() && started.elapsed() < Duration::from_secs(5), "{:?}", loaded.issues);
}
