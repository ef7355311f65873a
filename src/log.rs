//! The log: one line a record on standard error, for people or (`--json`) for machines, and one in a file (or in
//! memory) that `logs.tail` gives out. Both have a level of their own.
//!
//! Records hold no secret by construction. As a second fence, what looks like one by its field's name is not
//! shown, and the shared secret of this process is cut out wherever it appears (a peer may well put it into an
//! address, and the address into a record).

pub mod file;
pub mod line;
pub mod plan;
pub mod settings;

use clawgate_proto::host::HostFault;
use clawgate_proto::log::tail::LogSpan;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::secret::Secret;
use file::Sink;
use serde_json::{Map, Value};
use settings::Levels;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes records.
#[derive(Debug)]
pub struct Logger {
    /// What is shown.
    threshold: Threshold,
    json: bool,
    colour: bool,
    secrets: RwLock<Vec<Secret>>,
    kept: Option<Kept>,
}

/// The least important level that passes, or none at all; it may change while records are written.
#[derive(Debug)]
struct Threshold(AtomicU8);

impl Threshold {
    fn new(level: Option<Level>) -> Self {
        let threshold = Self(AtomicU8::new(0));
        threshold.set(level);
        threshold
    }

    fn set(&self, level: Option<Level>) {
        self.0.store(level.map_or(0, |level| level as u8 + 1), Ordering::Relaxed);
    }

    fn passes(&self, level: Level) -> bool {
        (level as u8) < self.0.load(Ordering::Relaxed)
    }

    fn level(&self) -> Option<Level> {
        let all = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        all.into_iter().rev().find(|level| self.passes(*level))
    }
}

/// The part that can be read again.
#[derive(Debug)]
struct Kept {
    threshold: Threshold,
    hostname: String,
    sink: Mutex<Sink>,
}

impl Logger {
    /// A log of this level. Colours are used when standard error is a terminal and `NO_COLOR` is not set.
    pub fn new(threshold: Option<Level>, json: bool) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = !json && !no_colour && io::stderr().is_terminal();
        Self { threshold: Threshold::new(threshold), json, colour, secrets: RwLock::default(), kept: None }
    }

    /// The same log, which never shows these.
    pub fn hiding(self, secrets: impl IntoIterator<Item = Secret>) -> Self {
        secrets.into_iter().for_each(|secret| self.hide(secret));
        self
    }

    /// The same log, which also keeps records of this level where they can be read again.
    pub fn keeping(mut self, sink: Sink, threshold: Option<Level>, hostname: String) -> Self {
        self.kept = Some(Kept { threshold: Threshold::new(threshold), hostname, sink: Mutex::new(sink) });
        self
    }

    /// Other levels from now on.
    pub fn set_levels(&self, levels: &Levels) {
        self.threshold.set(levels.console);
        if let Some(kept) = &self.kept {
            kept.threshold.set(levels.kept);
        }
    }

    /// Keeps records elsewhere from now on.
    pub fn set_sink(&self, sink: Sink) {
        if let Some(kept) = &self.kept {
            *kept.sink.lock().unwrap_or_else(PoisonError::into_inner) = sink;
        }
    }

    /// Never shows this from now on. A secret that was replaced stays hidden; the oldest of very many is forgotten.
    pub fn hide(&self, secret: Secret) {
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        if !secrets.iter().any(|known| known.matches(secret.expose())) {
            if secrets.len() >= SECRETS_MAX {
                secrets.remove(0);
            }
            secrets.push(secret);
        }
    }

    /// What is never shown.
    pub fn hidden(&self) -> Vec<Secret> {
        self.secrets.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The least important level that is shown or kept; `None` when nothing is.
    pub fn threshold(&self) -> Option<Level> {
        self.threshold.level().max(self.kept.as_ref().and_then(|kept| kept.threshold.level()))
    }

    /// The file, when there is one.
    pub fn file(&self) -> Option<PathBuf> {
        let kept = self.kept.as_ref()?;
        kept.sink.lock().unwrap_or_else(PoisonError::into_inner).path()
    }

    /// Where kept records are, and how many bytes of them.
    ///
    /// # Errors
    /// None are kept, or the file cannot be looked at.
    pub fn span(&self) -> Result<LogSpan, HostFault> {
        let Some(kept) = &self.kept else { return Err(HostFault("no log is kept".to_owned())) };
        let span = kept.sink.lock().unwrap_or_else(PoisonError::into_inner).span();
        span.map_err(|why| HostFault(why.to_string()))
    }

    /// Bytes of kept records.
    ///
    /// # Errors
    /// None are kept, or the file cannot be read.
    pub fn read(&self, span: &LogSpan, start: u64, bytes: usize) -> Result<Vec<u8>, HostFault> {
        let Some(kept) = &self.kept else { return Err(HostFault("no log is kept".to_owned())) };
        let in_memory = kept.sink.lock().unwrap_or_else(PoisonError::into_inner).read_memory(start, bytes);
        match in_memory {
            Some(bytes) => Ok(bytes),
            None => match file::read(Path::new(&span.file), start, bytes) {
                Ok(bytes) => Ok(bytes),
                Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(why) => Err(HostFault(why.to_string())),
            },
        }
    }

    /// Whether records are written as JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Writes one record. A standard error that is gone is no reason to stop.
    pub fn log(&self, record: &Record) {
        if self.threshold.passes(record.level) {
            let mut line = self.line(wall_ms(), record);
            line.push('\n');
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
        self.keep(record);
    }

    /// Writes one record only where it can be read again: people were told in other words.
    pub fn keep(&self, record: &Record) {
        if let Some(kept) = &self.kept
            && kept.threshold.passes(record.level)
        {
            let line = line::line(wall_ms(), &kept.hostname, record, |name, value| self.shown(name, value));
            kept.sink.lock().unwrap_or_else(PoisonError::into_inner).write(&line);
        }
    }

    fn line(&self, wall_ms: u64, record: &Record) -> String {
        if self.json { self.json_line(wall_ms, record) } else { self.human_line(wall_ms, record) }
    }

    fn human_line(&self, wall_ms: u64, record: &Record) -> String {
        let mut line = timestamp(wall_ms);
        let level = level_name(record.level);
        let _ = match colour_of(record.level).filter(|_| self.colour) {
            Some(colour) => write!(line, " \x1b[{colour}m{level}\x1b[0m {}", record.event),
            None => write!(line, " {level} {}", record.event),
        };
        human_fields(&mut line, record, |name, value| self.shown(name, value));
        line
    }

    fn json_line(&self, wall_ms: u64, record: &Record) -> String {
        let mut map = Map::new();
        for (name, value) in &record.fields {
            map.insert((*name).to_owned(), Value::String(self.shown(name, value)));
        }
        map.insert("time".into(), timestamp(wall_ms).into());
        map.insert("level".into(), level_name(record.level).into());
        map.insert("event".into(), record.event.into());
        if let Some(conn) = record.conn {
            map.insert("conn".into(), conn.to_string().into());
        }
        Value::Object(map).to_string()
    }

    fn shown(&self, name: &str, value: &str) -> String {
        let name = name.to_ascii_lowercase();
        if SECRET_NAMES.iter().any(|secret| name.contains(secret)) {
            return HIDDEN.to_owned();
        }
        let mut value = value.to_owned();
        for secret in self.secrets.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if value.contains(secret.expose()) {
                value = value.replace(secret.expose(), HIDDEN);
            }
        }
        value
    }
}

/// The level in force: what `OPENCLAW_LOG_LEVEL` names, or with `--verbose` at least `debug`.
/// An unknown name counts as `info`.
pub fn threshold(verbose: bool, named: Option<&str>) -> Option<Level> {
    let named = match named.map(|name| name.trim().to_ascii_lowercase()).as_deref() {
        Some("silent") => None,
        Some("fatal" | "error") => Some(Level::Error),
        Some("warn" | "warning") => Some(Level::Warn),
        Some("debug") => Some(Level::Debug),
        Some("trace") => Some(Level::Trace),
        Some(_) | None => Some(Level::Info),
    };
    if verbose { named.max(Some(Level::Debug)) } else { named }
}

/// What a record says about its event, for people.
fn human_fields(line: &mut String, record: &Record, shown: impl Fn(&str, &str) -> String) {
    if let Some(conn) = record.conn {
        let _ = write!(line, " conn={conn}");
    }
    for (name, value) in &record.fields {
        let _ = write!(line, " {name}={}", quoted(&shown(name, value)));
    }
}

/// Milliseconds since 1970 by the wall clock; zero when the clock stands before that.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An instant as RFC 3339 writes it, in UTC with milliseconds.
pub fn timestamp(wall_ms: u64) -> String {
    format!("{}Z", civil_time(wall_ms))
}

/// The same without the zone.
fn civil_time(wall_ms: u64) -> String {
    let (days, ms) = (wall_ms / 86_400_000, wall_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}", ms % 1_000)
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are taken to begin in
/// March, which puts the leap day last; 400 of them have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Bare when that is unambiguous, else in double quotes with escapes.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.:/@+,[]%*()#".contains(c);
    if !value.is_empty() && value.chars().all(plain) { value.to_owned() } else { format!("{value:?}") }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// The SGR number of a level's colour (ECMA-48).
fn colour_of(level: Level) -> Option<u8> {
    match level {
        Level::Error => Some(31),
        Level::Warn => Some(33),
        Level::Info => None,
        Level::Debug | Level::Trace => Some(90),
    }
}

/// Secrets that are cut out of records.
const SECRETS_MAX: usize = 64;
const HIDDEN: &str = "[hidden]";
const SECRET_NAMES: [&str; 5] = ["token", "password", "secret", "authorization", "private"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use clawgate_proto::id::ConnId;

    fn record() -> Record {
        Record::new(Level::Warn, "peer.refused")
            .conn(ConnId(3))
            .field("code", "NOT PAIRED")
            .field("ip", "::1")
    }

    fn logger(json: bool) -> Logger {
        let threshold = Threshold::new(Some(Level::Info));
        Logger { threshold, json, colour: false, secrets: RwLock::default(), kept: None }
    }

    #[test]
    fn a_line_for_people() {
        let line = logger(false).line(1_795_347_000_123, &record());
        assert_eq!(line, "2026-11-22T11:30:00.123Z warn peer.refused conn=c3 code=\"NOT PAIRED\" ip=::1");
    }

    #[test]
    fn a_line_for_machines() {
        let line = logger(true).line(1_795_347_000_123, &record());
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "2026-11-22T11:30:00.123Z");
        assert_eq!((&value["level"], &value["event"]), (&"warn".into(), &"peer.refused".into()));
        assert_eq!((&value["conn"], &value["code"]), (&"c3".into(), &"NOT PAIRED".into()));
    }

    #[test]
    fn secrets_are_cut_out_by_value_and_by_name() {
        let logger = logger(false).hiding(Secret::new("hunter22"));
        let record = Record::new(Level::Info, "http.request")
            .field("path", "/?token=hunter22&x=1")
            .field("deviceToken", "abc");
        let line = logger.line(0, &record);
        assert!(!line.contains("hunter22") && !line.contains("abc"), "{line}");
        assert!(line.contains("x=1"), "{line}");
    }

    #[test]
    fn what_is_kept_has_its_own_level_and_hides_secrets_too() {
        let log = logger(false).hiding(Secret::new("hunter22")).keeping(
            Sink::Memory(file::Ring::default()),
            Some(Level::Debug),
            "h".to_owned(),
        );
        assert_eq!(log.threshold(), Some(Level::Debug));
        log.log(&Record::new(Level::Debug, "http.request").field("path", "/?token=hunter22"));
        log.log(&Record::new(Level::Trace, "too.much"));
        let span = log.span().unwrap();
        let text = String::from_utf8(log.read(&span, 0, 10_000).unwrap()).unwrap();
        assert!(
            text.contains("http.request") && !text.contains("hunter22") && !text.contains("too.much"),
            "{text}"
        );
        assert_eq!((span.file.as_str(), text.len() as u64), (file::MEMORY_NAME, span.end));
    }

    #[test]
    fn levels_change_while_it_runs() {
        let sink = Sink::Memory(file::Ring::default());
        let log = logger(false).keeping(sink, Some(Level::Info), "h".to_owned());
        for (kept, is_kept) in [(None, false), (Some(Level::Warn), false), (Some(Level::Trace), true)] {
            log.set_levels(&Levels { console: Some(Level::Warn), kept });
            assert_eq!(log.threshold(), kept.max(Some(Level::Warn)));
            let before = log.span().unwrap().end;
            log.keep(&Record::new(Level::Trace, "x"));
            assert_eq!(log.span().unwrap().end > before, is_kept, "{kept:?}");
        }
        log.set_levels(&Levels { console: None, kept: None });
        assert_eq!(log.threshold(), None);
    }

    #[test]
    fn dates_of_leap_years_and_centuries() {
        for (day, text) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (19_782, "2024-02-29"),
            (24_855, "2038-01-19"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(timestamp(day * 86_400_000), format!("{text}T00:00:00.000Z"));
        }
    }

    #[test]
    fn verbose_never_makes_the_log_quieter() {
        assert_eq!(threshold(false, None), Some(Level::Info));
        assert_eq!(threshold(true, None), Some(Level::Debug));
        assert_eq!(threshold(true, Some("trace")), Some(Level::Trace));
        assert_eq!(threshold(false, Some("SILENT")), None);
        assert_eq!(threshold(true, Some("error")), Some(Level::Debug));
    }
}
