//! What the core asks of the host about the configuration file, and what it is told. The work on the file (parsing,
//! merging, checking, writing) is the host's, off the lock; who may ask and what is answered is the core's.

use crate::config::Config;
use crate::log::Level;
use bytes::Bytes;
use core::fmt;

/// A question or an order about the configuration file.
#[derive(Clone, Debug)]
pub enum ConfigOp {
    /// What it holds. Answered by [`ConfigAnswer::Snapshot`].
    Get,
    /// Put this text in its place. Answered by [`ConfigAnswer::Written`].
    Set(ConfigWrite),
    /// Merge this into it. Answered by [`ConfigAnswer::Written`].
    Patch(ConfigWrite),
    /// Put this text in its place, and bring it into force. Answered by [`ConfigAnswer::Written`].
    Apply(ConfigWrite),
    /// What it may hold. Answered by [`ConfigAnswer::Json`].
    Schema,
    /// What it may hold at this path. Answered by [`ConfigAnswer::Json`].
    Lookup(String),
    /// Has somebody changed it? Answered by [`ConfigAnswer::Checked`], or [`ConfigAnswer::Unsettled`].
    Check,
    /// Fetch secrets again from wherever they are. Answered by [`ConfigAnswer::Reloaded`].
    Reload,
}

/// A change of the file as a peer asks for it. `Debug` leaves the content out: it may hold secrets.
#[derive(Clone, Default)]
pub struct ConfigWrite {
    /// JSON5.
    pub raw: String,
    /// The hash of the content that the change was made from.
    pub base_hash: Option<String>,
    /// Lists that are replaced as a whole, by path.
    pub replace_paths: Vec<String>,
    /// Which conversation it came from.
    pub session_key: Option<String>,
    /// What to remember of it.
    pub note: Option<String>,
}

impl fmt::Debug for ConfigWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigWrite").field("bytes", &self.raw.len()).finish_non_exhaustive()
    }
}

/// What came of a [`ConfigOp`].
#[derive(Clone, Debug)]
pub struct ConfigOutcome {
    /// The answer.
    pub answer: ConfigAnswer,
    /// What is new since the host last told, by this operation or by somebody else.
    pub news: Option<Box<ConfigNews>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub enum ConfigAnswer {
    /// To [`ConfigOp::Get`].
    Snapshot(Box<ConfigSnapshot>),
    /// To [`ConfigOp::Set`], [`ConfigOp::Patch`] and [`ConfigOp::Apply`]; the bytes are durable.
    Written(Box<ConfigWritten>),
    /// An encoded JSON object, the same in every dialect.
    Json(Bytes),
    /// To [`ConfigOp::Check`].
    Checked,
    /// To [`ConfigOp::Check`]: it was changed a moment ago, and may still be written. Nothing of it counts until a look after
    /// [`Limits::config_settle_ms`](crate::limits::Limits::config_settle_ms) finds it as it is now.
    Unsettled,
    /// To [`ConfigOp::Reload`]: what holds now; `None` when it cannot be other than before.
    Reloaded(Option<Box<LiveConfig>>),
}

/// The file as it is shown: secrets are cut out. `Debug` leaves the content out all the same.
#[derive(Clone, Default)]
pub struct ConfigSnapshot {
    /// Its path.
    pub path: String,
    /// Whether it is there.
    pub exists: bool,
    /// Its text.
    pub raw: Option<String>,
    /// As it is written: JSON. `None` when it is invalid.
    pub parsed: Option<String>,
    /// With its included files and variables: JSON.
    pub resolved: String,
    /// With what holds by default: JSON.
    pub config: String,
    /// Whether it may be used.
    pub valid: bool,
    /// Hash of the text.
    pub hash: String,
    /// What must be mended.
    pub issues: Vec<Issue>,
    /// What should be known.
    pub warnings: Vec<Issue>,
    /// Settings of earlier releases.
    pub legacy: Vec<Issue>,
    /// Included files.
    pub included: Vec<String>,
}

impl fmt::Debug for ConfigSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigSnapshot")
            .field("path", &self.path)
            .field("valid", &self.valid)
            .finish_non_exhaustive()
    }
}

/// A change that is on the disk. `Debug` leaves the content out.
#[derive(Clone)]
pub struct ConfigWritten {
    /// Which operation: `config.set`, `config.patch` or `config.apply`.
    pub method: &'static str,
    /// The file.
    pub path: String,
    /// What it holds now, secrets cut out: JSON.
    pub config: String,
    /// Settings that changed and need a restart.
    pub restart: Vec<String>,
    /// Whether the gateway restarts by itself for them.
    pub restarts: bool,
    /// From the request.
    pub note: Option<String>,
    /// From the request.
    pub session_key: Option<String>,
    /// This process.
    pub pid: u32,
    /// Unix milliseconds.
    pub ts: u64,
}

impl fmt::Debug for ConfigWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigWritten").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The file has changed.
#[derive(Clone, Debug)]
pub struct ConfigNews {
    /// Its path.
    pub path: String,
    /// Hash of its text.
    pub hash: String,
    /// Unix milliseconds.
    pub ts: u64,
    /// Settings that changed since the start and come into force with the next one: dotted paths.
    pub restart: Vec<String>,
    /// What a running gateway takes over; `None` when nothing of it changed or the file is invalid.
    pub live: Option<LiveConfig>,
    /// Whether a running gateway takes over what it can at all: it does not with `gateway.reload.mode` off.
    pub hot_reload: bool,
    /// The gateway is to restart for this: nothing less brings it into force, and `gateway.reload.mode` allows it.
    pub restart_now: bool,
    /// What keeps the file from counting; `None` when nothing does.
    pub fault: Option<ConfigTrouble>,
}

/// What is wrong with a configuration file, and where. What was in force still is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigTrouble {
    /// The file.
    pub file: String,
    /// The line, from 1, as far as it can be told.
    pub line: Option<u32>,
    /// Dotted path of the setting; empty for the whole file.
    pub key: String,
    /// A sentence for a person. Holds no secret.
    pub message: String,
}

impl fmt::Display for ConfigTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ", {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The settings that come into force without a restart: those of the whole gateway, as it would have been started with
/// them where it listens now.
#[derive(Clone, Debug)]
pub struct LiveConfig {
    /// All that the core is told.
    pub config: Box<Config>,
    /// The least important level of which a record is still written somewhere.
    pub log_level: Level,
}

/// One thing to know about a place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Dotted path; empty for the whole file.
    pub path: String,
    /// A sentence for a person.
    pub message: String,
    /// What may stand there, where that is a short list.
    pub allowed: Vec<String>,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "<root>" } else { &self.path };
        write!(f, "{path}: {}", self.message)
    }
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFault {
    /// The request cannot be carried out as it is.
    Invalid {
        /// A sentence for a person.
        message: String,
        /// What is wrong with the content.
        issues: Vec<Issue>,
    },
    /// The host could not do it; a sentence for a person.
    Failed(String),
}

impl ConfigFault {
    /// A fault without a list.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), issues: Vec::new() }
    }
}
