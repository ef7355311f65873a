//! One command of the program, run to its end, as a shell sees it. Whatever a command prints is searched for every
//! secret of its state folder, and for terminal escapes: its output is no terminal.

use clawgate_support::program::OUTPUT_DIR;
use clawgate_support::{Program, Settings, secrets};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl Ran {
    /// Its standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    /// Standard output of a command that did what was asked.
    pub(crate) fn done(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        &self.out
    }

    /// Asserts that it failed with this code, said this on standard error, and printed nothing.
    pub(crate) fn failed(&self, code: i32, said: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{self:?}");
        for said in said {
            assert!(self.err.contains(said), "{said:?} not in {self:?}");
        }
    }
}

/// The built program's settings for a driver, with a token of the test's choice in the configuration.
pub(crate) fn configured(runtime: &str) -> Settings {
    Settings::new(EXE, runtime)
}

/// The same without a configuration file.
pub(crate) fn unconfigured(runtime: &str) -> Settings {
    Settings::unconfigured(EXE, runtime)
}

/// The same with this text as configuration file.
pub(crate) fn with_text(runtime: &str, text: &str) -> Settings {
    let settings = unconfigured(runtime);
    fs::create_dir_all(settings.state_dir()).unwrap();
    fs::write(settings.config_path(), text).unwrap();
    settings
}

/// The text of the configuration file.
pub(crate) fn config_text(settings: &Settings) -> String {
    fs::read_to_string(settings.config_path()).unwrap()
}

/// Runs a command of the program.
pub(crate) fn run(settings: &Settings, line: &str) -> Ran {
    let ran = execute(settings, &mut settings.command(line.split_whitespace()));
    for text in [&ran.out, &ran.err] {
        assert_shows_nothing(settings, text);
    }
    keep(&[&ran.out, &ran.err]);
    ran
}

/// Runs a command with a text on its standard input.
pub(crate) fn run_with(settings: &Settings, line: &str, input: &str) -> Ran {
    let path = fresh(settings.state_dir().parent().unwrap());
    fs::write(&path, input).unwrap();
    let mut command = settings.command(line.split_whitespace());
    let ran = execute(settings, command.stdin(File::open(&path).unwrap()));
    for text in [&ran.out, &ran.err] {
        assert_shows_nothing(settings, text);
    }
    keep(&[&ran.out, &ran.err]);
    ran
}

/// Runs a command whose standard output is there to show a secret.
pub(crate) fn run_showing(settings: &Settings, line: &str) -> Ran {
    let ran = execute(settings, &mut settings.command(line.split_whitespace()));
    assert_shows_nothing(settings, &ran.err);
    keep(&[&ran.err]);
    ran
}

/// Starts a gateway; panics with its output when it does not become ready.
pub(crate) fn start(settings: &Settings) -> Program {
    settings.start().unwrap_or_else(|why| panic!("{why}"))
}

/// Asks a gateway to stop, sees it end well, and returns all it ever said.
pub(crate) fn stop(mut program: Program) -> String {
    let status = program.stop().unwrap_or_else(|why| panic!("{why}"));
    let output = program.output();
    assert_eq!(status.code(), Some(0), "{output}");
    assert_shows_nothing(program.settings(), &output);
    output
}

/// Asserts that a text holds no secret of this installation and no terminal escape.
pub(crate) fn assert_shows_nothing(settings: &Settings, text: &str) {
    assert!(!text.contains(secrets::MARKER) && !text.contains('\u{1b}'), "{text}");
    for secret in secrets_of(&settings.state_dir()) {
        secrets::record(&secret);
        assert!(!text.contains(&secret), "{secret} in {text}");
    }
}

/// Every secret in the files of a state folder.
fn secrets_of(state_dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in [
        "openclaw.json",
        "identity/device.json",
        "identity/device-auth.json",
        "devices/paired.json",
        "devices/bootstrap.json",
        "nodes/paired.json",
    ] {
        let text = fs::read(state_dir.join(file)).unwrap_or_default();
        // A file that a test broke holds what the test chose, with the marker in it.
        if let Ok(value) = serde_json::from_slice(&text) {
            collect(&value, &mut found);
        }
    }
    let key = fs::read_to_string(state_dir.join("gateway/tls/gateway-key.pem")).unwrap_or_default();
    if key.contains("PRIVATE KEY") {
        found.extend(key.lines().filter(|line| line.len() > 16 && !line.starts_with('-')).map(str::to_owned));
    }
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(pem) if name == "privateKeyPem" => {
                        found.extend(pem.lines().filter(|line| !line.starts_with('-')).map(str::to_owned));
                    }
                    Value::String(text) if ["token", "password"].contains(&name.as_str()) => {
                        found.push(text.clone());
                    }
                    Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
                    Value::Array(_) | Value::Object(_) => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Runs a command to its end, or kills it at the bound: a gateway that should have refused to start must not hang
/// its test.
fn execute(settings: &Settings, command: &mut Command) -> Ran {
    let folder = settings.state_dir().parent().unwrap().to_owned();
    let (out, err) = (fresh(&folder), fresh(&folder));
    let mut child =
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).spawn().unwrap();
    let bound = Instant::now() + BOUND;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() < bound => std::thread::sleep(Duration::from_millis(5)),
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
        }
    };
    let text = |path: &Path| String::from_utf8(fs::read(path).unwrap()).unwrap();
    let ran = (text(&out), text(&err));
    let Some(status) = status else { panic!("{command:?} did not end:\n{}\n{}", ran.0, ran.1) };
    Ran { code: status.code().unwrap_or(-1), out: ran.0, err: ran.1 }
}

fn fresh(folder: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    folder.join(format!("output-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// Adds output to what is searched for secrets after the tests.
fn keep(texts: &[&str]) {
    if let Some(folder) = std::env::var_os(OUTPUT_DIR) {
        let path = Path::new(&folder).join(format!("commands-{}.log", std::process::id()));
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(texts.concat().as_bytes()).unwrap();
    }
}

const EXE: &str = env!("CARGO_BIN_EXE_clawgate");
/// Longest wait for a command.
const BOUND: Duration = Duration::from_secs(30);
