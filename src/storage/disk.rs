//! What durable storage needs of a file system, and the real one. Small, so that the same storage code can be
//! run over a simulated disk that forgets what was not fsynced.

use clawgate_proto::host::Version;
use rustix::fs::OFlags;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A folder that no other process of this program writes in. Dropping it, or the end of the process, gives it up.
#[derive(Debug)]
pub struct FolderLock {
    _folder: Option<File>,
}

impl FolderLock {
    /// The lock of a disk that has no locks, or needs none.
    pub fn none() -> Self {
        Self { _folder: None }
    }

    /// Whether somebody else is kept out.
    pub fn excludes(&self) -> bool {
        self._folder.is_some()
    }
}

/// A file system. Every call may block.
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File;

    /// Keeps other processes of this program from writing in a folder. [`io::ErrorKind::WouldBlock`] when one of them
    /// does so now. A disk that cannot lock gives a lock that keeps nobody out.
    ///
    /// # Errors
    /// Somebody else has it.
    fn lock(&self, _folder: &Path) -> io::Result<FolderLock> {
        Ok(FolderLock::none())
    }

    /// Whether what is written outlives the process.
    fn is_kept(&self) -> bool {
        true
    }

    /// Gives a file a second name.
    ///
    /// # Errors
    /// As the system says; also when the name is taken, and where there is no such thing.
    fn link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes a folder and its missing parents, mode 0700, and makes their names durable.
    ///
    /// # Errors
    /// As the system says.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes a new, empty file, mode 0600.
    ///
    /// # Errors
    /// As the system says; also when the name is taken.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Appends to a file.
    ///
    /// # Errors
    /// As the system says; a part may have been written.
    fn write(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;

    /// Makes a file's content durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Makes the content of the file of that name durable, whoever wrote it.
    ///
    /// # Errors
    /// As the system says.
    fn sync_named(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name in the same folder, replacing what has it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// The mark of the file of that name; [`Version::MISSING`] when there is none.
    ///
    /// # Errors
    /// As the system says.
    fn mark(&self, path: &Path) -> io::Result<Version>;

    /// The mark of an open file.
    ///
    /// # Errors
    /// As the system says.
    fn mark_of(&self, file: &Self::File) -> io::Result<Version>;

    /// A file's content and mark; `None` when there is none.
    ///
    /// # Errors
    /// As the system says; also when the file will not stay the same while it is read.
    fn read(&self, path: &Path) -> io::Result<Option<(Vec<u8>, Version)>>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The files of a folder with the time since each was changed; empty when there is no such folder.
    ///
    /// # Errors
    /// As the system says.
    fn entries(&self, folder: &Path) -> io::Result<Vec<(String, Duration)>>;
}

/// The operating system's file systems.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    type File = File;

    /// The folder itself is locked: no file is left behind by that, and a folder that cannot be written can be locked.
    fn lock(&self, folder: &Path) -> io::Result<FolderLock> {
        // Some network file systems lock nothing, or no folder: there the marks are all there is, as against other
        // programs.
        let Ok(folder) = File::open(folder) else { return Ok(FolderLock::none()) };
        match folder.try_lock() {
            Ok(()) => Ok(FolderLock { _folder: Some(folder) }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(_)) => Ok(FolderLock::none()),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let parent = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        self.create_folder(parent)?;
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => self.sync_folder(parent),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
            Err(why) => Err(why),
        }
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_named(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn mark(&self, path: &Path) -> io::Result<Version> {
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(mark(&metadata)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Version::MISSING),
            Err(why) => Err(why),
        }
    }

    fn mark_of(&self, file: &File) -> io::Result<Version> {
        Ok(mark(&file.metadata()?))
    }

    fn read(&self, path: &Path) -> io::Result<Option<(Vec<u8>, Version)>> {
        for _ in 0..READ_TRIES {
            // Opening a pipe would wait for somebody to write; this does not, and changes nothing for a file.
            let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
            let file = match File::options().read(true).custom_flags(flags).open(path) {
                Ok(file) => file,
                Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(why) => return Err(why),
            };
            let before = file.metadata()?;
            if before.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            if !before.is_file() {
                return Err(io::Error::other("it is a pipe, a socket or a device, and a file is needed"));
            }
            if before.len() > FILE_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let mut content = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
            (&file).take(FILE_BYTES_MAX).read_to_end(&mut content)?;
            // Somebody may write in place, without a rename: then this is half of one text and half of another.
            let before = mark(&before);
            if mark(&file.metadata()?) == before {
                return Ok(Some((content, before)));
            }
        }
        Err(io::Error::other("it keeps changing while it is read"))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn entries(&self, folder: &Path) -> io::Result<Vec<(String, Duration)>> {
        let listing = match std::fs::read_dir(folder) {
            Ok(listing) => listing,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(why) => return Err(why),
        };
        let now = SystemTime::now();
        let mut entries = Vec::new();
        for entry in listing {
            let entry = entry?;
            let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
            if let Ok(name) = entry.file_name().into_string() {
                // A time in the future is a clock that was set back (a board without one): count it as age too.
                let age = now.duration_since(modified).unwrap_or_else(|ahead| ahead.duration());
                entries.push((name, age));
            }
        }
        Ok(entries)
    }
}

/// Modification time, size, inode and change time: a rename brings a new inode, a write in place a new time.
/// Changes with the file.
pub(crate) fn mark(metadata: &std::fs::Metadata) -> Version {
    let nanos = |seconds: i64, nanos: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos) as u64;
    Version([
        nanos(metadata.mtime(), metadata.mtime_nsec()),
        metadata.size(),
        metadata.ino(),
        nanos(metadata.ctime(), metadata.ctime_nsec()),
    ])
}

const READ_TRIES: usize = 5;
/// No document of ours comes near; a device is well under a kilobyte.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
