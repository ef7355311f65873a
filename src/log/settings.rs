//! What the configuration says about the log: `logging.*` of the reference's file.

use super::threshold;
use crate::config::read::Reader;
use crate::environment::Environment;
use clawgate_proto::log::Level;

/// Settings of the log. Absent ones are absent here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// `logging.level`: of the file.
    pub level: Option<&'static str>,
    /// `logging.consoleLevel`: of standard error.
    pub console_level: Option<&'static str>,
    /// `logging.file`.
    pub file: Option<String>,
    /// `logging.maxFileBytes`.
    pub file_bytes_max: Option<u64>,
}

impl Logging {
    /// Reads them.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            level: reader.choice("logging.level", LEVELS),
            console_level: reader.choice("logging.consoleLevel", LEVELS),
            file: reader.text("logging.file"),
            file_bytes_max: reader.integer("logging.maxFileBytes", FILE_BYTES_MIN, u64::MAX),
        }
    }
}

/// The least important levels that pass; `None` lets nothing pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Of standard error.
    pub console: Option<Level>,
    /// Of what is kept.
    pub kept: Option<Level>,
}

impl Levels {
    /// `OPENCLAW_LOG_LEVEL` before the file; `--verbose` shows more on standard error.
    pub fn new(settings: &Logging, environment: &Environment, verbose: bool) -> Self {
        let named = environment.get("OPENCLAW_LOG_LEVEL");
        Self {
            console: threshold(verbose, named.or(settings.console_level)),
            kept: threshold(false, named.or(settings.level)),
        }
    }
}

const LEVELS: &[&str] = &["silent", "fatal", "error", "warn", "info", "debug", "trace"];
/// Less holds no line.
const FILE_BYTES_MIN: u64 = 1_024;
/// Of one file, when nothing else is said. There are two a day, and two days are kept.
pub const FILE_BYTES_USUAL: u64 = 1024 * 1024;
