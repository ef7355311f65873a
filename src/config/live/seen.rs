//! The configuration files as somebody read them, with the marks that they had then: what a later look is compared with. A
//! mark is never younger than the text that was read under it, so what is written meanwhile is found by the next look.

use super::settle::Marks;
use crate::config::settings::Settings;
use crate::log::plan::LogPlan;
use crate::storage::{Disk, Storage};
use clawgate_config::Node;
use clawgate_config::merge::changed_paths;
use clawgate_config::reload::OWN;
use clawgate_config::service::{self, Loaded};
use clawgate_proto::host::Version;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a gateway was started with.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Of all files that are parts of the configuration.
    pub(super) marks: Marks,
    /// Of files that secrets are fetched from.
    pub(super) secret_marks: Marks,
    /// Of the file's text.
    pub(super) hash: String,
    /// What they say.
    pub(super) documents: Arc<Documents>,
    /// Where the log is.
    pub(super) log_plan: LogPlan,
}

/// One file as it was read; no text and the mark of none where it is not there.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Where.
    pub path: &'a Path,
    /// Its text.
    pub text: &'a [u8],
    /// Its mark.
    pub mark: Version,
}

impl<'a> Text<'a> {
    /// A file that was read, or was not there.
    pub fn of(path: &'a Path, content: Option<(&'a [u8], Version)>) -> Self {
        let (text, mark) = content.unwrap_or((&[], Version::MISSING));
        Self { path, text, mark }
    }
}

impl Seen {
    /// Of the file with its included ones, this program's own settings, and the marks of files with secrets.
    pub fn new(
        config: Text<'_>,
        (loaded, included): (&Loaded, Marks),
        own: Text<'_>,
        secret_marks: Marks,
        log_plan: LogPlan,
    ) -> Self {
        Self {
            marks: marks_of((config.path, config.mark), (own.path, own.mark), included),
            secret_marks,
            hash: service::hash(config.text),
            documents: Arc::new(Documents::of(loaded, own.text)),
            log_plan,
        }
    }
}

/// Of all files that are parts of the configuration: the file, this program's own settings, and those that are included.
pub(super) fn marks_of(config: (&Path, Version), own: (&Path, Version), included: Marks) -> Marks {
    let both = [config, own].map(|(path, mark)| (path.to_owned(), mark));
    both.into_iter().chain(included).collect()
}

/// The marks, now, of the files that secrets of these settings are in. To be taken before they are fetched.
pub fn secret_marks<D: Disk>(storage: &Storage<D>, settings: &Settings) -> Marks {
    let mark = |path: &Path| (path.to_owned(), mark_of(storage, path));
    settings.secret_files().map(mark).collect()
}

/// The mark of what is there now, behind links.
pub(super) fn mark_of<D: Disk>(storage: &Storage<D>, path: &Path) -> Version {
    storage.mark(path).unwrap_or(Version::MISSING)
}

/// The two files, as documents.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Documents {
    pub(super) config: Node,
    own: Node,
}

impl Documents {
    pub(super) fn of(loaded: &Loaded, own: &[u8]) -> Self {
        let own = Node::parse(&String::from_utf8_lossy(own)).unwrap_or_else(|_| Node::empty());
        Self { config: loaded.resolved.clone(), own }
    }

    /// Whether this program's own settings say anything.
    pub(super) fn has_own(&self) -> bool {
        self.own != Node::empty()
    }

    /// Dotted paths at which the others differ.
    pub(super) fn changed(&self, after: &Self) -> Vec<String> {
        let mut paths = changed_paths(&self.config, &after.config);
        let own = changed_paths(&self.own, &after.own);
        paths.extend(own.into_iter().map(|path| format!("{OWN}.{path}")));
        paths
    }
}

/// Of what is there in one moment: for what compares.
pub(super) fn is_same<'a, D: Disk>(
    storage: &Storage<D>,
    marks: impl IntoIterator<Item = &'a (PathBuf, Version)>,
) -> bool {
    marks.into_iter().all(|(path, mark)| mark_of(storage, path) == *mark)
}
