//! Locks between processes: a file that the operating system locks for as long as its holder lives (so one that was
//! killed holds nothing), and in it, for whoever comes too late, who that is.
//!
//! A lock file is never removed: a process that has it open and waits would then lock a file that nobody else can
//! find. It is held open for reading only, so that a disk can be made read-only below a running gateway.

pub mod process;

use crate::log;
use process::Process;
use rustix::io::Errno;
use serde_json::{Map, Value};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its process.
    pub pid: u32,
    /// When that process started, in the kernel's ticks; numbers of processes are given again.
    pub start_time: Option<u64>,
    /// Its profile. The reference does not say.
    pub profile: Option<String>,
    /// The port it listens on, or is about to. The reference does not say.
    pub port: Option<u16>,
    /// Its configuration file.
    pub config: Option<String>,
    /// Its state folder. The reference does not say.
    pub state_dir: Option<String>,
}

impl Owner {
    /// This process.
    pub fn this_process(profile: &str, port: u16, config: &Path, state_dir: &Path) -> Self {
        Self {
            pid: std::process::id(),
            start_time: process::own_start_time(),
            profile: Some(profile.to_owned()),
            port: Some(port).filter(|port| *port != 0),
            config: Some(config.to_string_lossy().into_owned()),
            state_dir: Some(state_dir.to_string_lossy().into_owned()),
        }
    }

    /// Whether this process wrote it.
    pub fn is_this_process(&self) -> bool {
        self.pid == std::process::id() && self.start_time == process::own_start_time()
    }

    /// Whether its process still runs. `None`: there is a process of that number, and no telling whether it is the
    /// one.
    pub fn is_alive(&self) -> Option<bool> {
        match (process::look(self.pid), self.start_time) {
            (Process::Gone, _) => Some(false),
            (Process::There(Some(now)), Some(then)) => Some(now == then),
            (Process::There(_), _) => None,
        }
    }

    /// As it stands in a lock file: the reference's members, and ours behind them.
    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        put("pid", Some(self.pid.into()));
        put("createdAt", Some(log::timestamp(log::wall_ms()).into()));
        put("configPath", self.config.clone().map(Value::from));
        put("startTime", self.start_time.map(Value::from));
        put("port", self.port.map(Value::from));
        put("profile", self.profile.clone().map(Value::from));
        put("stateDir", self.state_dir.clone().map(Value::from));
        Value::Object(members)
    }

    /// What a lock file says; `None` when it says nothing that makes sense.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let words = |name: &str| value[name].as_str().map(crate::cli::render::clean);
        Some(Self {
            pid: value["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0)?,
            start_time: value["startTime"].as_u64(),
            profile: words("profile"),
            port: value["port"].as_u64().and_then(|port| u16::try_from(port).ok()),
            config: words("configPath"),
            state_dir: words("stateDir"),
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        if let Some(profile) = &self.profile {
            write!(f, ", profile {profile}")?;
        }
        match self.port {
            Some(port) => write!(f, ", port {port}"),
            None => Ok(()),
        }
    }
}

/// A lock that this process holds. Dropping it gives it up.
#[derive(Debug)]
pub struct OsLock {
    file: File,
    path: PathBuf,
}

/// What came of an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// The lock is ours.
    Ours(OsLock),
    /// Another process holds it; who, when it has said so already.
    Others(Option<Owner>),
}

impl OsLock {
    /// Tries to take the lock at `path`, whose folder must exist, and writes down who has it.
    ///
    /// # Errors
    /// The file cannot be opened or locked.
    pub fn attempt(path: &Path, owner: &Owner) -> io::Result<Attempt> {
        for _ in 0..REPLACED_MAX {
            let mut file = open(path)?;
            let mut tried = file.try_lock();
            if matches!(&tried, Err(TryLockError::Error(why)) if Errno::from_io_error(why) == Some(Errno::BADF))
            {
                // A network file system may want to be able to write.
                file = writable(path, false)?;
                tried = file.try_lock();
            }
            match tried {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Attempt::Others(holder(path))),
                Err(TryLockError::Error(why)) => return Err(why),
            }
            let lock = Self { file, path: path.to_owned() };
            // Between opening and locking somebody may have removed the file, or the folder.
            if lock.is_in_place() {
                lock.tell(owner);
                return Ok(Attempt::Ours(lock));
            }
        }
        Err(io::Error::other("it is removed again and again"))
    }

    /// Whether the file at the lock's path is the one that is locked. Somebody who removes a folder with its lock
    /// takes the lock away.
    pub fn is_in_place(&self) -> bool {
        let mark = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let ours = self.file.metadata().map(mark).ok();
        ours.is_some() && ours == std::fs::metadata(&self.path).map(mark).ok()
    }

    /// Writes down who has it. A disk that is full costs those who come too late a name, no more.
    pub fn tell(&self, owner: &Owner) {
        let write = || -> io::Result<()> {
            let mut file = writable(&self.path, false)?;
            let text = owner.to_json().to_string();
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)
        };
        let _ = write();
    }
}

impl Drop for OsLock {
    fn drop(&mut self) {
        // Nobody has it now, and this process may live on.
        if self.is_in_place() {
            let _ = writable(&self.path, false).and_then(|file| file.set_len(0));
        }
    }
}

/// Who holds the lock at `path`, from what is written there. No lock is touched, so that looking is never mistaken
/// for holding.
pub fn owner_at(path: &Path) -> Option<Owner> {
    let text = read_start(path).ok()?;
    Owner::parse(&text).filter(|owner| owner.is_alive() != Some(false))
}

/// The beginning of a file: more is in no lock file.
pub(crate) fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    ordinary(OpenOptions::new().read(true).custom_flags(flags()).open(path)?)?
        .take(TEXT_BYTES_MAX)
        .read_to_end(&mut text)?;
    Ok(text)
}

/// The one who has just taken a lock writes its name a moment later.
fn holder(path: &Path) -> Option<Owner> {
    for _ in 0..LOOKS_MAX {
        if let Some(owner) = owner_at(path) {
            return Some(owner);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    None
}

/// For reading, made when it is not there.
fn open(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).custom_flags(flags()).open(path).and_then(ordinary);
    match open() {
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            writable(path, true)?;
            open()
        }
        opened => opened,
    }
}

fn writable(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false).mode(0o600).custom_flags(flags());
    options.open(path).and_then(ordinary)
}

/// A pipe or a device in place of a lock file holds nothing.
fn ordinary(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no ordinary file")) }
}

/// Through no link; and opening a pipe would wait for ever.
fn flags() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    i32::try_from(flags.bits()).unwrap_or(0)
}

/// Ours have less than a quarter of it, unless a path is very long.
const TEXT_BYTES_MAX: u64 = 16 * 1024;
/// Attempts on a file that somebody keeps replacing.
const REPLACED_MAX: u32 = 8;
const LOOKS_MAX: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;

    fn me() -> Owner {
        Owner::this_process("rescue", 19_001, Path::new("/c/openclaw.json"), Path::new("/c"))
    }

    fn take(path: &Path) -> OsLock {
        match OsLock::attempt(path, &me()).unwrap() {
            Attempt::Ours(lock) => lock,
            Attempt::Others(owner) => panic!("held by {owner:?}"),
        }
    }

    #[test]
    fn one_holds_it_and_the_other_learns_who() {
        let folder = Folder::new();
        let path = folder.path().join("lock");
        let lock = take(&path);
        let Attempt::Others(Some(owner)) = OsLock::attempt(&path, &me()).unwrap() else {
            panic!("two owners")
        };
        assert_eq!(owner, me());
        assert_eq!(owner.to_string(), format!("pid {}, profile rescue, port 19001", std::process::id()));
        assert_eq!(owner_at(&path), Some(me()));
        drop(lock);
        assert_eq!(owner_at(&path), None);
        take(&path);
    }

    #[test]
    fn what_is_told_later_replaces_what_was_told() {
        let folder = Folder::new();
        let path = folder.path().join("lock");
        let lock = take(&path);
        lock.tell(&Owner { profile: Some("a".repeat(500)), ..me() });
        lock.tell(&Owner { port: None, ..me() });
        assert_eq!(owner_at(&path).unwrap().port, None);
    }

    #[test]
    fn a_lock_whose_folder_was_removed_is_no_longer_in_place() {
        let folder = Folder::new();
        let path = folder.path().join("account/lock");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let lock = take(&path);
        assert!(lock.is_in_place());
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert!(!lock.is_in_place());
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        take(&path);
        assert!(!lock.is_in_place());
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = Folder::new();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(OsLock::attempt(&link, &me()).is_err());
        assert!(!target.exists());
    }

    #[test]
    fn a_pipe_is_no_lock_file_and_nobody_waits_for_it() {
        let folder = Folder::new();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (done, ended) = std::sync::mpsc::channel();
        let look = std::thread::spawn(move || {
            let refused = OsLock::attempt(&path, &me()).is_err();
            let _ = done.send((refused, owner_at(&path)));
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok((true, None)));
        look.join().unwrap();
    }

    #[test]
    fn a_dead_owner_is_none_and_nonsense_is_none() {
        let folder = Folder::new();
        let path = folder.path().join("lock");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let earlier = Owner { start_time: Some(1), ..me() };
        for dead in [Owner { pid: child.id(), ..me() }, earlier] {
            std::fs::write(&path, dead.to_json().to_string()).unwrap();
            assert_eq!(owner_at(&path), None, "{dead:?}");
        }
        for text in ["", "{", "7", "{\"pid\":0}", "{\"pid\":-1}", "{\"pid\":\"7\"}", "{\"pid\":99999999999}"]
        {
            assert_eq!(Owner::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_reference_is_an_owner_of_fewer_words() {
        let text = br#"{"pid":7,"createdAt":"2026-03-13T00:00:00.000Z","configPath":"/h/.openclaw/openclaw.json","startTime":8}"#;
        let owner = Owner::parse(text).unwrap();
        assert_eq!((owner.pid, owner.start_time, owner.port), (7, Some(8), None));
        assert_eq!(owner.to_string(), "pid 7");
    }
}
