//! Whether a folder has changed since the last look, for pages that load themselves again. On Linux the kernel keeps
//! count, folder by folder and up to a bound; elsewhere, and for a folder that is not there yet, it is looked at.
//!
//! Hidden files and `node_modules` do not count.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// A folder that is watched.
#[derive(Debug)]
pub(super) struct Watch {
    root: PathBuf,
    kernel: Option<kernel::Folders>,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// The system has no more watches, or the folder cannot be read.
    pub(super) fn begin(root: &Path) -> io::Result<Self> {
        Ok(Self { root: root.to_owned(), kernel: kernel::Folders::begin(root)? })
    }

    /// Whether anything has changed.
    ///
    /// # Errors
    /// The system has no more watches, or the folder cannot be read.
    pub(super) fn look(&mut self) -> io::Result<bool> {
        if let Some(folders) = &mut self.kernel {
            let found = folders.look(&self.root)?;
            if found != Found::Gone {
                return Ok(found == Found::News);
            }
            self.kernel = None;
            return Ok(true);
        }
        self.kernel = kernel::Folders::begin(&self.root)?;
        Ok(self.kernel.is_some())
    }
}

/// What a look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    News,
    /// The folder itself is no longer there.
    Gone,
}

fn counts(name: &OsStr) -> bool {
    name != "node_modules" && !name.as_encoded_bytes().starts_with(b".")
}

/// The folders below a root, and the root, as far as they count and up to a bound. None when the root is not there.
fn folders(root: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    if !root.is_dir() {
        return Ok(None);
    }
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next).cloned() {
        next += 1;
        // One below that is gone by now has told so to the one above.
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && counts(&entry.file_name()) && found.len() < FOLDERS_MAX {
                found.push(entry.path());
            }
        }
    }
    Ok(Some(found))
}

/// Folders that are watched; what lies deeper or behind is not. The system gives a person some thousands in all.
const FOLDERS_MAX: usize = 256;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use kernel::CHANGES;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod kernel {
    use super::{Found, counts, folders};
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
    use rustix::io::Errno;
    use std::ffi::OsStr;
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    /// What the kernel watches.
    #[derive(Debug)]
    pub(super) struct Folders {
        inotify: OwnedFd,
        /// The root's own watch.
        root: i32,
    }

    impl Folders {
        pub(super) fn begin(root: &Path) -> io::Result<Option<Self>> {
            let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            Ok(watch(&inotify, root)?.map(|root| Self { inotify, root }))
        }

        pub(super) fn look(&mut self, root: &Path) -> io::Result<Found> {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
            let (mut found, mut is_grown) = (Found::Nothing, false);
            // Who writes all the time does not keep us here.
            for _ in 0..EVENTS_MAX {
                let event = match reader.next() {
                    Ok(event) => event,
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => continue,
                    Err(why) => return Err(why.into()),
                };
                let (events, name) = (event.events(), event.file_name());
                if event.wd() == self.root
                    && events.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED)
                {
                    return Ok(Found::Gone);
                }
                let is_lost = events.contains(ReadFlags::QUEUE_OVERFLOW);
                let is_counted = name.is_some_and(|name| counts(OsStr::from_bytes(name.to_bytes())));
                if is_lost || is_counted {
                    found = Found::News;
                    is_grown |= is_lost || events.contains(ReadFlags::ISDIR);
                }
            }
            if is_grown && watch(&self.inotify, root)?.is_none() {
                return Ok(Found::Gone);
            }
            Ok(found)
        }
    }

    /// Watches every folder, those that are watched already among them. The root's watch.
    fn watch(inotify: &OwnedFd, root: &Path) -> io::Result<Option<i32>> {
        let Some(folders) = folders(root)? else { return Ok(None) };
        let mut first = None;
        for folder in folders {
            let follow = if first.is_none() { WatchFlags::empty() } else { WatchFlags::DONT_FOLLOW };
            match inotify::add_watch(inotify, &folder, CHANGES | follow) {
                Ok(watch) => first = first.or(Some(watch)),
                Err(Errno::NOENT | Errno::NOTDIR) if first.is_none() => return Ok(None),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) if first.is_some() => {}
                Err(why) => return Err(why.into()),
            }
        }
        Ok(first)
    }

    /// What may make a file in a folder another one.
    pub(crate) const CHANGES: WatchFlags = WatchFlags::CREATE
        .union(WatchFlags::MODIFY)
        .union(WatchFlags::CLOSE_WRITE)
        .union(WatchFlags::MOVED_FROM)
        .union(WatchFlags::MOVED_TO)
        .union(WatchFlags::DELETE)
        .union(WatchFlags::DELETE_SELF)
        .union(WatchFlags::MOVE_SELF)
        .union(WatchFlags::ONLYDIR);
    /// Events of one look.
    const EVENTS_MAX: usize = 4_096;
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod kernel {
    use super::{Found, counts, folders};
    use std::collections::hash_map::DefaultHasher;
    use std::hash::{Hash as _, Hasher as _};
    use std::io;
    use std::path::Path;

    /// What was found at the last look.
    #[derive(Debug)]
    pub(super) struct Folders(u64);

    impl Folders {
        pub(super) fn begin(root: &Path) -> io::Result<Option<Self>> {
            Ok(mark(root)?.map(Self))
        }

        pub(super) fn look(&mut self, root: &Path) -> io::Result<Found> {
            let Some(mark) = mark(root)? else { return Ok(Found::Gone) };
            let is_same = std::mem::replace(&mut self.0, mark) == mark;
            Ok(if is_same { Found::Nothing } else { Found::News })
        }
    }

    /// Names, sizes and times of all files, up to a bound.
    fn mark(root: &Path) -> io::Result<Option<u64>> {
        let Some(folders) = folders(root)? else { return Ok(None) };
        let mut hasher = DefaultHasher::new();
        let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
        for entry in entries.filter(|entry| counts(&entry.file_name())).take(FILES_MAX) {
            entry.path().hash(&mut hasher);
            if let Ok(about) = entry.metadata() {
                (about.len(), about.modified().ok()).hash(&mut hasher);
            }
        }
        Ok(Some(hasher.finish()))
    }

    /// Files that are looked at.
    const FILES_MAX: usize = 4_096;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::fs;

    #[test]
    fn what_changes_is_found_once() {
        let folder = Folder::new();
        let root = folder.path().join("canvas");
        fs::create_dir_all(root.join("a/b")).unwrap();
        let mut watch = Watch::begin(&root).unwrap();
        assert!(!watch.look().unwrap());
        let mut changes = |what: &dyn Fn()| {
            what();
            (watch.look().unwrap(), watch.look().unwrap())
        };
        assert_eq!(changes(&|| fs::write(root.join("x"), "1").unwrap()), (true, false));
        assert_eq!(changes(&|| fs::write(root.join("a/b/x"), "12").unwrap()), (true, false));
        assert_eq!(changes(&|| fs::remove_file(root.join("x")).unwrap()), (true, false));
        assert_eq!(changes(&|| fs::create_dir(root.join("new")).unwrap()), (true, false));
        assert_eq!(
            changes(&|| fs::write(root.join("new/x"), "1").unwrap()),
            (true, false),
            "in a new folder"
        );
        assert_eq!(changes(&|| fs::rename(root.join("new/x"), root.join("y")).unwrap()), (true, false));
        assert_eq!(changes(&|| fs::write(root.join(".hidden"), "1").unwrap()), (false, false));
        assert_eq!(changes(&|| fs::create_dir(root.join("node_modules")).unwrap()), (false, false));
        assert_eq!(changes(&|| fs::write(root.join("node_modules/x"), "1").unwrap()), (false, false));
    }

    #[test]
    fn a_folder_that_comes_and_goes_is_news() {
        let folder = Folder::new();
        let root = folder.path().join("canvas");
        let mut watch = Watch::begin(&root).unwrap();
        assert!(!watch.look().unwrap());
        fs::create_dir(&root).unwrap();
        assert!(watch.look().unwrap());
        assert!(!watch.look().unwrap());
        fs::write(root.join("x"), "1").unwrap();
        assert!(watch.look().unwrap());
        fs::remove_dir_all(&root).unwrap();
        assert!(watch.look().unwrap());
        assert!(!watch.look().unwrap());
        fs::create_dir(&root).unwrap();
        assert!(watch.look().unwrap());
    }

    #[test]
    fn only_so_many_folders_are_watched() {
        let folder = Folder::new();
        for at in 0..FOLDERS_MAX + 10 {
            fs::create_dir(folder.path().join(at.to_string())).unwrap();
        }
        assert_eq!(folders(folder.path()).unwrap().unwrap().len(), FOLDERS_MAX);
        assert!(Watch::begin(folder.path()).is_ok());
    }
}
