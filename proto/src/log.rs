//! What the core tells the log: an event name and a few fields, never a secret.

pub mod tail;

use crate::id::ConnId;

/// How much a record matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something a person must act on.
    Error,
    /// Something refused or lost.
    Warn,
    /// Life of the gateway and its peers.
    Info,
    /// Each step.
    Debug,
    /// Each frame's name and size.
    Trace,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// How much it matters.
    pub level: Level,
    /// A stable name such as `peer.admitted`.
    pub event: &'static str,
    /// The socket it is about.
    pub conn: Option<ConnId>,
    /// Name and value, in order.
    pub fields: Vec<(&'static str, String)>,
}

impl Record {
    /// A record without fields.
    pub fn new(level: Level, event: &'static str) -> Self {
        Self { level, event, conn: None, fields: Vec::new() }
    }

    /// About this socket.
    pub fn conn(mut self, conn: ConnId) -> Self {
        self.conn = Some(conn);
        self
    }

    /// With one more field. Values are cut to 200 characters, reasons and advice to 600, and freed of control characters, since
    /// many come from peers.
    pub fn field(mut self, name: &'static str, value: impl ToString) -> Self {
        let value = value.to_string();
        let most = if SENTENCES.contains(&name) { SENTENCE_CHARS_MAX } else { VALUE_CHARS_MAX };
        let clean = |c: char| match c {
            '\n' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        self.fields.push((name, value.chars().map(clean).take(most).collect()));
        self
    }
}

const VALUE_CHARS_MAX: usize = 200;
/// Fields that say something in whole sentences.
const SENTENCES: [&str; 3] = ["why", "hint", "faults"];
const SENTENCE_CHARS_MAX: usize = 600;
