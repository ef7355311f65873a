//! What a process writes while it should write nothing: bytes that go to a disk, and files that are new, gone or changed.
//! It reads `/proc`, so Linux only.

use crate::usage::{Written, written};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How things were at the beginning.
#[derive(Debug)]
pub struct Stillness {
    pid: u32,
    folder: PathBuf,
    before: Written,
    files: Files,
}

/// What was not still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stirred {
    /// Bytes that went, or will go, to a disk.
    pub disk_bytes: u64,
    /// Bytes given to `write` of any kind: wake-ups of threads and what is printed among them.
    pub any_bytes: u64,
    /// Files and folders that are new, gone, or of another size or time.
    pub changed: Vec<PathBuf>,
}

/// Size and time of everything below a folder.
type Files = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

impl Stillness {
    /// Looks at the process, and at everything below `folder`.
    ///
    /// # Errors
    /// The process is gone, the folder cannot be read, or this is not Linux.
    pub fn begin(pid: u32, folder: &Path) -> io::Result<Self> {
        Ok(Self { pid, folder: folder.to_owned(), before: written(pid)?, files: list(folder)? })
    }

    /// What has happened since.
    ///
    /// # Errors
    /// As [`Stillness::begin`].
    pub fn end(self) -> io::Result<Stirred> {
        let after = written(self.pid)?;
        let files = list(&self.folder)?;
        let differs = |path: &&PathBuf| self.files.get(*path) != files.get(*path);
        let mut changed: Vec<PathBuf> =
            files.keys().chain(self.files.keys()).filter(differs).cloned().collect();
        changed.sort();
        changed.dedup();
        Ok(Stirred {
            disk_bytes: after.disk_bytes - self.before.disk_bytes,
            any_bytes: after.any_bytes - self.before.any_bytes,
            changed,
        })
    }
}

fn list(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            // It went while we looked: that shows as a change.
            Err(why) if why.kind() == ErrorKind::NotFound => continue,
            Err(why) => return Err(why),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            }
            files.insert(entry.path(), (meta.len(), meta.modified().ok()));
        }
    }
    Ok(files)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::temp_dir;

    #[test]
    fn what_is_new_gone_or_changed_is_seen() {
        let folder = temp_dir();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("below")).unwrap();
        for name in ["kept", "gone", "below/grown"] {
            std::fs::write(path(name), "x").unwrap();
        }
        let begin = || Stillness::begin(std::process::id(), folder.path()).unwrap();
        assert_eq!(begin().end().unwrap().changed, Vec::<PathBuf>::new());
        let still = begin();
        std::fs::remove_file(path("gone")).unwrap();
        std::fs::write(path("below/grown"), "more").unwrap();
        std::fs::write(path("new"), "").unwrap();
        let stirred = still.end().unwrap();
        assert_eq!(stirred.changed, ["below/grown", "gone", "new"].map(path));
        assert!(stirred.any_bytes >= 4);
    }
}
