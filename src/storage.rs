//! Durable documents: a change is on the disk before anybody is told that it happened.
//!
//! Several documents go down together: every temporary file is written and fsynced, the marks of the old files
//! are looked at once more, then come the renames, then an fsync of the folders. A power cut at any step leaves
//! each document whole, either old or new; once [`Storage::put`] has returned, the new one. Between two renames
//! a cut may leave one document new and one old: callers order their writes so that this pair means something.
//!
//! Somebody else (the reference's command line) may edit the same files without a lock, so a write names the
//! mark it was made from and is refused when the file has moved on. Between that look and the rename the other would still
//! be overwritten; processes of this program keep each other out of a folder meanwhile, by a lock of the operating system.

pub mod disk;
pub mod overlay;

pub(crate) use disk::mark;
pub use disk::{Disk, FolderLock, RealDisk};
pub use overlay::Overlay;

use crate::entropy;
use clawgate_proto::host::Version;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Writes documents durably on a [`Disk`]. Cheap to share; writes of one process go one after the other.
#[derive(Debug)]
pub struct Storage<D> {
    disk: D,
    /// Part of every temporary name, so that two processes on one folder never meet.
    nonce: u64,
    count: AtomicU64,
    writing: Mutex<()>,
}

/// One document to write.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// Where.
    pub path: &'a Path,
    /// What must still be there; `None` writes whatever is there.
    pub expected: Option<Version>,
    /// The whole new content.
    pub content: &'a [u8],
}

/// Why [`Storage::put`] did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutFault {
    /// Somebody else wrote this file meanwhile; nothing was changed.
    Conflict(PathBuf),
    /// It failed; a sentence for a person. What is on the disk must be read again.
    Failed(String),
}

/// A folder in which no other process of this program writes for as long as this lives: what is read there stays until
/// it is written, except by other programs.
#[derive(Debug)]
pub struct Held<'a, D> {
    storage: &'a Storage<D>,
    /// None: there is no such folder yet.
    locked: Option<(PathBuf, FolderLock)>,
}

impl<D: Disk> Held<'_, D> {
    /// Makes all documents durable and gives their new marks in the same order.
    ///
    /// # Errors
    /// A conflict, before anything was renamed, or a failure. After a failure some of the documents may be the
    /// new ones.
    pub fn put(&self, puts: &[Put<'_>]) -> Result<Vec<Version>, PutFault> {
        let storage = self.storage;
        storage.check(puts)?;
        let mut folders: Vec<&Path> = puts.iter().map(|put| folder_of(put.path)).collect();
        // In one order everywhere, or two processes wait for each other.
        folders.sort_unstable();
        folders.dedup();
        let mut locks = Vec::new();
        for folder in folders {
            if self.locked.as_ref().is_none_or(|(locked, _)| locked != folder) {
                storage.disk.create_folder(folder).map_err(|why| failed("create", folder, &why))?;
                locks.push(storage.lock(folder).map_err(PutFault::Failed)?);
            }
        }
        storage.put_locked(puts)
    }

    /// Removes temporary files that a process of ours left in this folder when it was killed. Nobody of ours writes here
    /// now, so age does not matter.
    pub fn sweep(&self) {
        if let Some((folder, lock)) = &self.locked
            && lock.excludes()
        {
            // What stays is swept by the next one, or at a start, which tells.
            let _ = self.storage.sweep_older(folder, Duration::ZERO);
        }
    }
}

impl Storage<RealDisk> {
    /// On the real disk, with a nonce of its own.
    pub fn on_disk() -> Self {
        Self::new(RealDisk, u64::from_ne_bytes(entropy::bytes()))
    }
}

impl<D: Disk> Storage<D> {
    /// Storage on `disk`. `nonce` should come from the operating system's generator.
    pub fn new(disk: D, nonce: u64) -> Self {
        Self { disk, nonce, count: AtomicU64::new(0), writing: Mutex::new(()) }
    }

    /// The disk below.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The mark of a file; [`Version::MISSING`] when there is none.
    ///
    /// # Errors
    /// The file cannot be looked at; a sentence for a person.
    pub fn mark(&self, path: &Path) -> Result<Version, String> {
        self.disk.mark(path).map_err(|why| explain("look at", path, &why))
    }

    /// A file's content with its mark; `None` when there is none.
    ///
    /// # Errors
    /// The file cannot be read; a sentence for a person.
    pub fn read(&self, path: &Path) -> Result<Option<(Vec<u8>, Version)>, String> {
        self.disk.read(path).map_err(|why| explain("read", path, &why))
    }

    /// The same, and what is given is durable. A process that was killed between a rename and the folder's fsync, a
    /// write whose last step failed, or another program may have left a file that a power cut would take back:
    /// nobody may be promised anything that rests on it.
    ///
    /// # Errors
    /// The file cannot be read or made durable; a sentence for a person.
    pub fn read_durable(&self, path: &Path) -> Result<Option<(Vec<u8>, Version)>, String> {
        let Some((content, version)) = self.read(path)? else { return Ok(None) };
        let synced = self.disk.sync_named(path).and_then(|()| self.disk.sync_folder(folder_of(path)));
        match synced {
            Ok(()) => Ok(Some((content, version))),
            // Nothing is on its way to a file system that takes no writes.
            Err(why) if why.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(Some((content, version))),
            Err(why) => Err(explain("make durable", path, &why)),
        }
    }

    /// Makes all documents durable and gives their new marks in the same order.
    ///
    /// # Errors
    /// A conflict, before anything was renamed, or a failure. After a failure some of the documents may be the
    /// new ones.
    pub fn put(&self, puts: &[Put<'_>]) -> Result<Vec<Version>, PutFault> {
        Held { storage: self, locked: None }.put(puts)
    }

    /// Keeps other processes of this program out of the folder of `path`, from before a document is read until it is
    /// written. Waits for one that is at it.
    ///
    /// # Errors
    /// Another one does not come to an end; a sentence for a person.
    pub fn hold(&self, path: &Path) -> Result<Held<'_, D>, String> {
        let folder = folder_of(path);
        // Where there is no folder there is nothing to read: it is made, and locked, by the write.
        let is_there = self.disk.mark(folder).is_ok_and(|mark| mark != Version::MISSING);
        let locked = if is_there { Some((folder.to_owned(), self.lock(folder)?)) } else { None };
        Ok(Held { storage: self, locked })
    }

    fn lock(&self, folder: &Path) -> Result<FolderLock, String> {
        let bound = Instant::now() + PATIENCE;
        loop {
            match self.disk.lock(folder) {
                Ok(lock) => return Ok(lock),
                Err(why) if why.kind() != io::ErrorKind::WouldBlock => return Ok(FolderLock::none()),
                Err(_) if Instant::now() < bound => std::thread::sleep(POLL),
                Err(_) => {
                    return Err(format!(
                        "another clawgate is writing in {} and does not come to an end; nothing was written\nTry again, \
                         and if that is said again, look for one that hangs (`ps -C clawgate`), and end it.",
                        folder.display()
                    ));
                }
            }
        }
    }

    fn put_locked(&self, puts: &[Put<'_>]) -> Result<Vec<Version>, PutFault> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut temporaries = Vec::with_capacity(puts.len());
        let prepared = self.prepare(puts, &mut temporaries).and_then(|files| {
            self.check(puts)?;
            Ok(files)
        });
        let files = match prepared {
            Ok(files) => files,
            Err(fault) => {
                self.discard(&temporaries);
                return Err(fault);
            }
        };
        for (i, put) in puts.iter().enumerate() {
            if let Err(why) = self.disk.rename(&temporaries[i], put.path) {
                self.discard(&temporaries[i..]);
                return Err(failed("replace", put.path, &why));
            }
        }
        let mut synced: Vec<&Path> = Vec::new();
        for put in puts {
            let folder = folder_of(put.path);
            if !synced.contains(&folder) {
                self.disk.sync_folder(folder).map_err(|why| failed("make durable", folder, &why))?;
                synced.push(folder);
            }
        }
        // The mark of the file we wrote, not of whatever carries its name by now.
        let mark = |(file, put): (&D::File, &Put<'_>)| {
            self.disk.mark_of(file).map_err(|why| failed("look at", put.path, &why))
        };
        files.iter().zip(puts).map(mark).collect()
    }

    /// Removes temporary files that an earlier process of ours left in `folder` when it was killed. Gives how
    /// many. On a disk that cannot lock young ones are left alone: a live process may be about to rename them.
    ///
    /// # Errors
    /// The folder cannot be read; a sentence for a person. A folder that does not exist is no error.
    pub fn sweep(&self, folder: &Path) -> Result<usize, String> {
        let lock = self.lock(folder)?;
        self.sweep_older(folder, if lock.excludes() { Duration::ZERO } else { STALE_AFTER })
    }

    fn sweep_older(&self, folder: &Path, than: Duration) -> Result<usize, String> {
        let entries = self.disk.entries(folder).map_err(|why| explain("read", folder, &why))?;
        let mut swept = 0;
        for (name, age) in entries {
            if age >= than && is_temporary_name(&name) {
                let path = folder.join(name);
                self.disk.remove(&path).map_err(|why| explain("remove", &path, &why))?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn check(&self, puts: &[Put<'_>]) -> Result<(), PutFault> {
        for put in puts {
            let Some(expected) = put.expected else { continue };
            let now = self.disk.mark(put.path).map_err(|why| failed("look at", put.path, &why))?;
            if now != expected {
                return Err(PutFault::Conflict(put.path.to_owned()));
            }
        }
        Ok(())
    }

    /// Writes and fsyncs one temporary file per document.
    fn prepare(&self, puts: &[Put<'_>], temporaries: &mut Vec<PathBuf>) -> Result<Vec<D::File>, PutFault> {
        let mut files = Vec::with_capacity(puts.len());
        for put in puts {
            let temporary = self.temporary_name(put.path);
            let mut file = self.disk.create(&temporary).map_err(|why| failed("write", put.path, &why))?;
            temporaries.push(temporary);
            self.disk
                .write(&mut file, put.content)
                .and_then(|()| self.disk.sync(&file))
                .map_err(|why| failed("write", put.path, &why))?;
            files.push(file);
        }
        Ok(files)
    }

    /// Best effort: what stays is swept at a later start.
    fn discard(&self, temporaries: &[PathBuf]) {
        for temporary in temporaries {
            let _ = self.disk.remove(temporary);
        }
    }

    /// A name that nobody has, beside `path`, and that is swept when it stays.
    pub fn temporary_name(&self, path: &Path) -> PathBuf {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!("{MARKER}{:016x}-{count}{SUFFIX}", self.nonce));
        path.with_file_name(name)
    }
}

/// Says what went wrong in a sentence that also says what to do about it.
pub fn explain(doing: &str, path: &Path, why: &io::Error) -> String {
    let path = path.display();
    let kind = why.kind();
    match ADVICE.iter().find(|(kinds, _)| kinds.contains(&kind)) {
        Some((_, advice)) => format!("cannot {doing} {path}: {advice}"),
        None => format!("cannot {doing} {path}: {why}"),
    }
}

/// Whether a file has one name only.
pub fn is_single_name(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) == 1
}

fn failed(doing: &str, path: &Path, why: &io::Error) -> PutFault {
    PutFault::Failed(explain(doing, path, why))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// `NAME.cg<16 hex digits>-<number>.tmp`: nobody else's pattern, the reference uses UUIDs.
fn is_temporary_name(name: &str) -> bool {
    let Some(rest) = name.strip_suffix(SUFFIX) else { return false };
    let Some((stem, rest)) = rest.rsplit_once(MARKER) else { return false };
    let Some((nonce, count)) = rest.split_once('-') else { return false };
    !stem.is_empty()
        && nonce.len() == 16
        && nonce.bytes().all(|b| b.is_ascii_hexdigit())
        && !count.is_empty()
        && count.bytes().all(|b| b.is_ascii_digit())
}

/// What a person can do about it.
const ADVICE: [(&[io::ErrorKind], &str); 5] = [
    (
        &[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded],
        "no space is left there; free some space and try again",
    ),
    (
        &[io::ErrorKind::ReadOnlyFilesystem],
        "mounted read-only; remount it for writing, or set OPENCLAW_STATE_DIR to a place that can be written",
    ),
    (
        &[io::ErrorKind::PermissionDenied],
        "permission denied; run as the user who owns it, or give this user access to the file and its folder",
    ),
    (&[io::ErrorKind::NotADirectory], "a part of the path is a file where a folder is needed"),
    (&[io::ErrorKind::IsADirectory], "a folder is where a file is needed"),
];
const MARKER: &str = ".cg";
const SUFFIX: &str = ".tmp";
/// How long a writer waits for another: longer than any write takes, shorter than a gateway waits for its host.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(3);
/// Far longer than any write takes.
const STALE_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn storage() -> Storage<RealDisk> {
        Storage::new(RealDisk, 7)
    }

    fn put(path: &Path, expected: Option<Version>, content: &'static [u8]) -> Put<'static> {
        Put { path: Box::leak(path.to_owned().into_boxed_path()), expected, content }
    }

    #[test]
    fn writes_private_files_in_private_folders_and_gives_their_marks() {
        let dir = crate::scratch::Folder::new();
        let path = dir.path().join("state/devices/paired.json");
        let storage = storage();
        let marks = storage.put(&[put(&path, Some(Version::MISSING), b"{}")]).unwrap();
        assert_eq!(storage.read(&path).unwrap(), Some((b"{}".to_vec(), marks[0])));
        assert_eq!(storage.mark(&path).unwrap(), marks[0]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_file_that_moved_on_is_a_conflict_and_nothing_is_renamed() {
        let dir = crate::scratch::Folder::new();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let storage = storage();
        let marks = storage.put(&[put(&one, None, b"1"), put(&two, None, b"1")]).unwrap();
        fs::write(&two, b"theirs").unwrap();
        let fault =
            storage.put(&[put(&one, Some(marks[0]), b"2"), put(&two, Some(marks[1]), b"2")]).unwrap_err();
        assert_eq!(fault, PutFault::Conflict(two.clone()));
        assert_eq!((fs::read(&one).unwrap(), fs::read(&two).unwrap()), (b"1".to_vec(), b"theirs".to_vec()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file stays");
    }

    #[test]
    fn sweeps_only_temporary_files_of_its_own_and_without_a_lock_only_old_ones() {
        let dir = crate::scratch::Folder::new();
        let ours = dir.path().join("paired.json.cg0000000000000007-12.tmp");
        let young = dir.path().join("paired.json.cg0000000000000007-13.tmp");
        let theirs = dir.path().join("paired.json.64466a1a-97f2-44a8-b99a-19de7aece931.tmp");
        for path in [&ours, &young, &theirs] {
            fs::write(path, b"x").unwrap();
        }
        let old = std::time::SystemTime::now() - 2 * STALE_AFTER;
        for path in [&ours, &theirs] {
            fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        }
        assert_eq!(storage().sweep_older(dir.path(), STALE_AFTER).unwrap(), 1);
        assert!(!ours.exists() && young.exists() && theirs.exists());
        assert_eq!(storage().sweep(dir.path()).unwrap(), 1);
        assert!(!young.exists() && theirs.exists());
        assert_eq!(storage().sweep(&dir.path().join("absent")).unwrap(), 0);
    }

    #[test]
    fn of_many_writers_each_finds_what_the_one_before_wrote() {
        let dir = crate::scratch::Folder::new();
        let path = dir.path().join("count");
        fs::write(&path, "0").unwrap();
        // Storages of their own, as two processes have.
        let path = path.as_path();
        let count = |nonce| {
            let storage = Storage::new(RealDisk, nonce);
            for _ in 0..25 {
                let held = storage.hold(path).unwrap();
                let (old, mark) = storage.read(path).unwrap().unwrap();
                let next = String::from_utf8(old).unwrap().parse::<u32>().unwrap() + 1;
                let next = next.to_string();
                held.put(&[Put { path, expected: Some(mark), content: next.as_bytes() }]).unwrap();
            }
        };
        std::thread::scope(|scope| {
            for nonce in 0..4 {
                scope.spawn(move || count(nonce));
            }
        });
        assert_eq!(fs::read_to_string(path).unwrap(), "100");
    }

    #[test]
    fn a_pipe_where_a_file_should_be_is_told_and_not_waited_for() {
        let dir = crate::scratch::Folder::new();
        let path = dir.path().join("openclaw.json");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for path in [&path, Path::new("/dev/zero")] {
            let fault = storage().read(path).unwrap_err();
            assert!(fault.contains("a pipe, a socket or a device"), "{fault}");
        }
    }

    #[test]
    fn faults_say_what_to_do() {
        for (kind, words) in [
            (io::ErrorKind::StorageFull, "free some space"),
            (io::ErrorKind::ReadOnlyFilesystem, "OPENCLAW_STATE_DIR"),
            (io::ErrorKind::PermissionDenied, "run as the user who owns it"),
        ] {
            let text = explain("write", Path::new("/x/y"), &kind.into());
            assert!(text.starts_with("cannot write /x/y: ") && text.contains(words), "{text}");
        }
    }
}
