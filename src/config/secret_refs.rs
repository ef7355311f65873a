//! Secrets that the file only points to: a variable, a place in another file, or what a program says. The objects are
//! `{source, provider, id}` with the providers under `secrets.providers`, as the reference has them.
//!
//! A secret is fetched when a gateway starts or takes over a changed file, never while it serves. Every fetch has a bound
//! in time and in bytes, and fails closed: a gateway whose secret cannot be had does not run with another one. What is
//! fetched appears in no sentence; the setting, the provider and its place do. Nor does an id or a provider's name that leads
//! nowhere: it may be the secret itself, in the wrong line.

use super::value::Node;
use crate::child::Running;
use crate::environment::Environment;
use clawgate_proto::secret::Secret;
use rustix::fs::OFlags;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// The setting that points there.
    pub setting: &'static str,
    provider: String,
    id: String,
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Variable { allowed: Option<Vec<String>> },
    File(FileSource),
    Program(Box<ProgramSource>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileSource {
    path: PathBuf,
    /// The whole file is the secret; else it is JSON, and the id points into it.
    is_whole: bool,
    timeout: Duration,
    bytes_max: u64,
    any_owner: bool,
}

/// `Debug` shows neither arguments nor variables: they may hold secrets.
#[derive(Clone, PartialEq, Eq)]
struct ProgramSource {
    command: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    passed: Vec<String>,
    timeout: Duration,
    bytes_max: u64,
    json_only: bool,
    may_be_link: bool,
    trusted_folders: Vec<PathBuf>,
    any_owner: bool,
}

impl core::fmt::Debug for ProgramSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ProgramSource").field("command", &self.command).finish_non_exhaustive()
    }
}

impl SecretRef {
    /// Reads a reference, and the provider that it names, out of a document.
    ///
    /// # Errors
    /// It is not one, or names a provider that is not there; a sentence for a person.
    pub fn read(
        setting: &'static str,
        node: &Node,
        root: &Node,
        environment: &Environment,
    ) -> Result<Self, String> {
        let fault = |why: &str| format!("{setting}: {why}");
        let text = |name: &str| node.get(name).and_then(Node::as_text).map(str::trim);
        let source = match text("source") {
            Some(source @ ("env" | "file" | "exec")) => source,
            _ => return Err(fault("a reference needs \"source\": \"env\", \"file\" or \"exec\"")),
        };
        let Some(id) = text("id").filter(|id| !id.is_empty()) else {
            return Err(fault("a reference needs an \"id\""));
        };
        let usual = root.at(&["secrets", "defaults", source]).and_then(Node::as_text);
        let said_at = match (text("provider"), usual) {
            (Some(_), _) => format!("{setting}.provider"),
            (None, Some(_)) => format!("secrets.defaults.{source}"),
            (None, None) => "the usual one, default".to_owned(),
        };
        let provider = text("provider").or(usual).unwrap_or("default").to_owned();
        let found = root.at(&["secrets", "providers"]).and_then(|providers| providers.get(&provider));
        let source = match (source, found) {
            // Variables need no provider; one that is there may narrow which of them.
            ("env", None) => Source::Variable { allowed: None },
            (_, None) => {
                return Err(fault(&format!("secrets.providers has none of that name ({said_at})")));
            }
            (source, Some(node)) => {
                let place = format!("secrets.providers.{provider}");
                if node.get("source").and_then(Node::as_text) != Some(source) {
                    return Err(fault(&format!("{place} is not of source \"{source}\"")));
                }
                let provider = Provider { place: &place, node, environment };
                match source {
                    "env" => Source::Variable { allowed: provider.texts("allowlist")? },
                    "file" => Source::File(provider.file()?),
                    _ => Source::Program(Box::new(provider.program()?)),
                }
            }
        };
        Ok(Self { setting, provider, id: id.to_owned(), source })
    }

    /// The file that it is in, when a change of that file is a change of the secret.
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::File(file) => Some(&file.path),
            Source::Variable { .. } | Source::Program(_) => None,
        }
    }

    /// Where it comes from, for a person.
    pub fn place(&self, environment: &Environment) -> String {
        match &self.source {
            Source::Variable { .. } if environment.get(&self.id).is_some() => {
                format!("the environment variable {}", self.id)
            }
            Source::Variable { .. } => {
                format!(
                    "the environment variable that {}.id names ({} characters)",
                    self.setting,
                    self.id.chars().count()
                )
            }
            Source::File(file) => format!("the file {} (provider {})", file.path.display(), self.provider),
            Source::Program(program) => {
                format!("the program {} (provider {})", program.command.display(), self.provider)
            }
        }
    }

    /// Fetches it. Takes at most as long as its provider may.
    ///
    /// # Errors
    /// It cannot be had; a sentence that names the setting and the place.
    pub fn fetch(&self, environment: &Environment) -> Result<Secret, String> {
        let fetched = match &self.source {
            Source::Variable { allowed } => self.variable(allowed.as_deref(), environment),
            Source::File(file) => {
                let (file, id) = (file.clone(), self.id.clone());
                within(file.timeout, move || file.fetch(&id))
            }
            Source::Program(program) => program.fetch(&self.provider, &self.id, environment),
        };
        let fetched =
            fetched.and_then(|text| Secret::new(&text).ok_or_else(|| "what is there is empty".to_owned()));
        fetched.map_err(|why| {
            format!("{}: the secret cannot be fetched from {}: {why}", self.setting, self.place(environment))
        })
    }

    fn variable(&self, allowed: Option<&[String]>, environment: &Environment) -> Result<String, String> {
        if allowed.is_some_and(|allowed| !allowed.contains(&self.id)) {
            return Err(format!("secrets.providers.{}.allowlist does not name it", self.provider));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let why = if self.id.chars().all(is_name) && !self.id.starts_with(|c: char| c.is_ascii_digit()) {
            "it is not set"
        } else {
            "that is no name of a variable, which has letters, digits and _"
        };
        environment.get(&self.id).map(str::to_owned).ok_or_else(|| why.to_owned())
    }
}

impl FileSource {
    fn fetch(&self, id: &str) -> Result<String, String> {
        let said = |why: std::io::Error| why.to_string();
        // Opening a pipe that nobody writes to would wait for ever.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = File::options().read(true).custom_flags(flags).open(&self.path).map_err(said)?;
        let metadata = file.metadata().map_err(said)?;
        if !metadata.is_file() {
            return Err("it is no ordinary file".to_owned());
        }
        if !self.any_owner {
            check_owner(&metadata)?;
            if metadata.mode() & 0o077 != 0 {
                return Err("others can read it: chmod 600 it".to_owned());
            }
        }
        let text = bounded_text(file, self.bytes_max)?;
        if self.is_whole {
            return if id == "value" { Ok(text) } else { Err("its id must be \"value\"".to_owned()) };
        }
        let document: Value = serde_json::from_str(&text).map_err(|_| "it is no JSON".to_owned())?;
        // RFC 6901.
        match document.pointer(id).filter(|_| id.starts_with('/')) {
            Some(Value::String(secret)) => Ok(secret.clone()),
            Some(_) => Err(format!("what is at {id} is no text")),
            None if id.starts_with('/') => Err("there is nothing at its id".to_owned()),
            None => Err("its id must be a path in it, which begins with /".to_owned()),
        }
    }
}

impl ProgramSource {
    fn fetch(&self, provider: &str, id: &str, environment: &Environment) -> Result<String, String> {
        self.check()?;
        let mut command = Command::new(&self.command);
        command.args(&self.arguments).env_clear();
        let passed = self.passed.iter().filter_map(|name| Some((name, environment.get(name)?)));
        command.envs(passed).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Running::start(&mut command).map_err(|why| format!("it cannot be started: {why}"))?;
        let question = json!({"protocolVersion": 1, "provider": provider, "ids": [id]}).to_string();
        let (input, output) = (child.child().stdin.take(), child.child().stdout.take());
        let (Some(mut input), Some(output)) = (input, output) else {
            return Err("it has no input or output".to_owned());
        };
        let started = Instant::now();
        let bytes_max = self.bytes_max;
        let text = within(self.timeout, move || {
            // One that reads nothing may be gone already. What it says counts.
            let _ = input.write_all(question.as_bytes());
            drop(input);
            bounded_text(output, bytes_max)
        })?;
        let status = child.wait(started + self.timeout, &|| true).map_err(|why| why.to_string())?;
        let Some(status) = status else {
            return Err(format!("it takes more than {} ms", self.timeout.as_millis()));
        };
        if !status.success() {
            return Err(format!("it failed ({status})"));
        }
        self.answer(&text, id)
    }

    fn answer(&self, text: &str, id: &str) -> Result<String, String> {
        let answer = match serde_json::from_str::<Value>(text.trim()) {
            Ok(answer @ Value::Object(_)) => answer,
            Ok(_) | Err(_) if !self.json_only => return Ok(text.to_owned()),
            Ok(_) | Err(_) => return Err("its answer is no JSON object".to_owned()),
        };
        if answer["protocolVersion"] != 1 {
            return Err("its answer is not of protocolVersion 1".to_owned());
        }
        if let Some(secret) = answer["values"][id].as_str() {
            return Ok(secret.to_owned());
        }
        let why = answer["errors"][id]["message"].as_str().unwrap_or("its answer does not hold it");
        Err(why.chars().filter(|c| !c.is_control()).take(200).collect())
    }

    /// Whoever can change the program can have the secret.
    fn check(&self) -> Result<(), String> {
        if !self.command.is_absolute() {
            return Err("command must be an absolute path".to_owned());
        }
        let said = |why: std::io::Error| why.to_string();
        let link = std::fs::symlink_metadata(&self.command).map_err(said)?;
        if link.is_symlink() && !self.may_be_link {
            return Err("it is a symbolic link, and allowSymlinkCommand is not set".to_owned());
        }
        let real = std::fs::canonicalize(&self.command).map_err(said)?;
        let metadata = std::fs::metadata(&real).map_err(said)?;
        if !metadata.is_file() {
            return Err("it is no ordinary file".to_owned());
        }
        let is_in =
            |folder: &PathBuf| std::fs::canonicalize(folder).is_ok_and(|folder| real.starts_with(folder));
        if !self.trusted_folders.is_empty() && !self.trusted_folders.iter().any(is_in) {
            return Err("it is in none of trustedDirs".to_owned());
        }
        if !self.any_owner {
            check_owner(&metadata)?;
            if metadata.mode() & 0o022 != 0 {
                return Err("others can change it: chmod go-w it".to_owned());
            }
        }
        Ok(())
    }
}

fn check_owner(metadata: &std::fs::Metadata) -> Result<(), String> {
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() == us || metadata.uid() == 0 {
        return Ok(());
    }
    Err("it belongs to another user".to_owned())
}

/// Does something on a thread of its own, and waits for it only so long.
fn within<T: Send + 'static>(
    timeout: Duration,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = tell.send(work());
    });
    told.recv_timeout(timeout)
        .unwrap_or_else(|_| Err(format!("it takes more than {} ms", timeout.as_millis())))
}

fn bounded_text(from: impl std::io::Read, bytes_max: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    from.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|why| why.to_string())?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it is longer than {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// An entry of `secrets.providers`.
struct Provider<'a> {
    place: &'a str,
    node: &'a Node,
    environment: &'a Environment,
}

impl Provider<'_> {
    fn file(&self) -> Result<FileSource, String> {
        let is_whole = match self.text("mode")?.as_deref() {
            None | Some("json") => false,
            Some("singleValue") => true,
            Some(_) => return Err(format!("{}.mode: expected \"json\" or \"singleValue\"", self.place)),
        };
        let path = self.text("path")?.ok_or_else(|| format!("{}.path is missing", self.place))?;
        Ok(FileSource {
            path: self.environment.path(&path),
            is_whole,
            timeout: self.timeout()?,
            bytes_max: self.number("maxBytes", BYTES_MAX)?.unwrap_or(BYTES_MAX),
            any_owner: self.switch("allowInsecurePath")?,
        })
    }

    fn program(&self) -> Result<ProgramSource, String> {
        let command = self.text("command")?.ok_or_else(|| {
            format!("{}.command is missing; providers that a plugin brings are not here", self.place)
        })?;
        let variables = match self.node.get("env") {
            None => Vec::new(),
            Some(Node::Object(members)) => members
                .iter()
                .map(|(name, value)| {
                    let value = value
                        .as_text()
                        .ok_or_else(|| format!("{}.env.{name}: expected a text", self.place))?;
                    Ok((name.clone(), self.expanded(value)))
                })
                .collect::<Result<_, String>>()?,
            Some(_) => return Err(format!("{}.env: expected an object", self.place)),
        };
        Ok(ProgramSource {
            command: self.environment.path(&command),
            arguments: self.texts("args")?.unwrap_or_default(),
            variables,
            passed: self.texts("passEnv")?.unwrap_or_default(),
            timeout: self.timeout()?,
            bytes_max: self.number("maxOutputBytes", BYTES_MAX)?.unwrap_or(BYTES_MAX),
            json_only: self.node.get("jsonOnly") != Some(&Node::Bool(false)),
            may_be_link: self.switch("allowSymlinkCommand")?,
            trusted_folders: self
                .texts("trustedDirs")?
                .unwrap_or_default()
                .iter()
                .map(|folder| self.environment.path(folder))
                .collect(),
            any_owner: self.switch("allowInsecurePath")?,
        })
    }

    fn timeout(&self) -> Result<Duration, String> {
        let asked_ms = self.number("timeoutMs", 24 * 3_600_000)?.unwrap_or(TIMEOUT_MS);
        Ok(Duration::from_millis(asked_ms.min(TIMEOUT_MAX_MS)))
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.node.get(name) {
            None | Some(Node::Null) => Ok(None),
            Some(Node::Text(text)) => Ok(Some(self.expanded(text))),
            Some(_) => Err(format!("{}.{name}: expected a text", self.place)),
        }
    }

    fn texts(&self, name: &str) -> Result<Option<Vec<String>>, String> {
        let fault = || format!("{}.{name}: expected a list of texts", self.place);
        match self.node.get(name) {
            None | Some(Node::Null) => Ok(None),
            Some(Node::List(items)) => {
                let text = |item: &Node| item.as_text().map(|text| self.expanded(text)).ok_or_else(fault);
                items.iter().map(text).collect::<Result<_, String>>().map(Some)
            }
            Some(_) => Err(fault()),
        }
    }

    fn number(&self, name: &str, max: u64) -> Result<Option<u64>, String> {
        match self.node.get(name) {
            None | Some(Node::Null) => Ok(None),
            Some(Node::Integer(value)) => u64::try_from(*value)
                .ok()
                .filter(|value| (1..=max).contains(value))
                .map(Some)
                .ok_or_else(|| format!("{}.{name}: expected a whole number from 1 to {max}", self.place)),
            Some(_) => Err(format!("{}.{name}: expected a whole number from 1 to {max}", self.place)),
        }
    }

    fn switch(&self, name: &str) -> Result<bool, String> {
        match self.node.get(name) {
            None | Some(Node::Null) => Ok(false),
            Some(Node::Bool(value)) => Ok(*value),
            Some(_) => Err(format!("{}.{name}: expected true or false", self.place)),
        }
    }

    fn expanded(&self, text: &str) -> String {
        super::read::expand(text, self.environment).text
    }
}

/// How long a fetch may take when nothing is said.
const TIMEOUT_MS: u64 = 5_000;
/// And at most, whatever is said: less than what the core waits for the host, or fetches would pile up.
const TIMEOUT_MAX_MS: u64 = 8_000;
/// How long what is fetched may be.
const BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests;
