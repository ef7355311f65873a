//! Where a gateway keeps its log, by flag, configuration and environment, and what it does when that fails.

use crate::environment::Environment;
use crate::host::facts;
use crate::log::Logger;
use crate::log::file::{self, LogFile, Place, Ring, Sink};
use crate::log::settings::{FILE_BYTES_USUAL, Levels, Logging};
use std::path::{Path, PathBuf};

/// What is decided about the log before there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlan {
    /// `None` is memory only.
    place: Option<Place>,
    /// What is shown, and what is kept.
    pub levels: Levels,
    bytes_max: u64,
    trouble: Option<String>,
}

impl LogPlan {
    /// The flag before `logging.file`, before the usual folder.
    pub fn make(flag: Option<&Path>, verbose: bool, settings: &Logging, environment: &Environment) -> Self {
        let mut trouble = None;
        let named = flag.map(|path| environment.path(&path.to_string_lossy()));
        let named = named.or_else(|| settings.file.as_deref().map(|path| environment.path(path)));
        let place = match named {
            Some(_) if flag.is_some_and(|flag| flag == Path::new(OFF)) => None,
            Some(path) => Some(file::place_of(path)),
            None => {
                let temporary =
                    environment.get("OPENCLAW_TMP_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
                match file::usual_folder(&temporary) {
                    Ok(folder) => Some(Place::Daily(folder)),
                    Err(why) => {
                        trouble = Some(format!("no log file below {}: {why}", temporary.display()));
                        None
                    }
                }
            }
        };
        let levels = Levels::new(settings, environment, verbose);
        let bytes_max = settings.file_bytes_max.unwrap_or(FILE_BYTES_USUAL);
        Self { place, levels, bytes_max, trouble }
    }

    /// The log with what it keeps, and what its person should know. A log without a file is no reason not to start.
    pub fn attach(&self, logger: Logger) -> (Logger, Option<String>) {
        let (sink, trouble) = self.open();
        (logger.keeping(sink, self.levels.kept, facts::hostname()), trouble)
    }

    /// Whether the other keeps its log in the same way at the same place.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.place == other.place && self.bytes_max == other.bytes_max
    }

    /// Where records are kept, and what its person should know.
    pub fn open(&self) -> (Sink, Option<String>) {
        let mut trouble = self.trouble.clone();
        let file = self.place.clone().and_then(|place| match LogFile::new(place.clone(), self.bytes_max) {
            Ok(file) => Some(file),
            Err(why) => {
                let (Place::Daily(path) | Place::Fixed(path)) = place;
                trouble = Some(format!("no log file at {}: {why}", path.display()));
                None
            }
        });
        let sink = file.map_or_else(|| Sink::Memory(Ring::default()), Sink::File);
        (sink, trouble.map(|why| format!("{why}; the latest lines are kept in memory")))
    }
}

/// The flag's value for no file.
const OFF: &str = "off";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Folder;
    use clawgate_proto::log::Level;

    fn plan(flag: Option<&str>, settings: &Logging, variables: &[(&str, &str)]) -> LogPlan {
        LogPlan::make(flag.map(Path::new), false, settings, &Environment::new(variables.iter().copied()))
    }

    #[test]
    fn a_flag_beats_the_file_beats_the_usual_folder() {
        let folder = Folder::new();
        let here = folder.path().to_string_lossy().into_owned();
        let settings = Logging { file: Some("/a/b.log".to_owned()), ..Logging::default() };
        let usual = [("OPENCLAW_TMP_DIR", here.as_str())];
        let place = |plan: LogPlan| plan.place;
        assert_eq!(place(plan(Some("off"), &settings, &usual)), None);
        assert_eq!(place(plan(Some("/c.log"), &settings, &usual)), Some(Place::Fixed("/c.log".into())));
        assert_eq!(place(plan(None, &settings, &usual)), Some(Place::Fixed("/a/b.log".into())));
        let daily = plan(None, &Logging::default(), &usual);
        assert_eq!(daily.place, Some(Place::Daily(folder.path().join("openclaw"))));
        assert_eq!(
            (daily.levels.kept, daily.bytes_max, daily.trouble),
            (Some(Level::Info), FILE_BYTES_USUAL, None)
        );
    }

    #[test]
    fn the_file_and_standard_error_have_levels_of_their_own() {
        let settings = Logging { level: Some("debug"), console_level: Some("error"), ..Logging::default() };
        let levels = |verbose, variables: &[(&str, &str)]| {
            let environment = Environment::new(variables.iter().copied());
            let levels = LogPlan::make(Some(Path::new("off")), verbose, &settings, &environment).levels;
            (levels.kept, levels.console)
        };
        assert_eq!(levels(false, &[]), (Some(Level::Debug), Some(Level::Error)));
        assert_eq!(levels(true, &[]), (Some(Level::Debug), Some(Level::Debug)));
        assert_eq!(levels(false, &[("OPENCLAW_LOG_LEVEL", "silent")]), (None, None));
    }

    #[test]
    fn a_log_that_cannot_be_had_is_kept_in_memory() {
        let plan = plan(Some("/dev/full"), &Logging::default(), &[]);
        let (logger, trouble) = plan.attach(Logger::new(None, false));
        assert!(trouble.is_some_and(|trouble| trouble.contains("/dev/full")));
        assert_eq!(logger.file(), None);
        assert!(logger.span().is_ok_and(|span| span.file == file::MEMORY_NAME));
    }
}
