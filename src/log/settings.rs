//! What the configuration says about the log: `logging.*` of the reference's file.

use crate::config::read::Reader;

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

const LEVELS: &[&str] = &["silent", "fatal", "error", "warn", "info", "debug", "trace"];
/// Less holds no line.
const FILE_BYTES_MIN: u64 = 1_024;
/// Of one file, when nothing else is said. There are two a day, and two days are kept.
pub const FILE_BYTES_USUAL: u64 = 1024 * 1024;
