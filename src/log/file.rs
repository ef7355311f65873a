//! The log's file: bounded, and rotated. What does not fit is forgotten, oldest first; a full disk costs lines, never
//! the gateway.
//!
//! A file named `openclaw-YYYY-MM-DD.log` is one of a row: a new one begins each day (UTC), and when one is full it is
//! renamed to `...DD.1.log` in place of an older one. Any other name keeps its name, and `NAME.1.EXT` beside it. Where no
//! file is wanted, or none can be had, the latest lines are kept in memory, so that `logs.tail` has something to say.
//!
//! Other processes may append to the same file: lines are written whole, at its end, and a file that was renamed under
//! us is left to whoever renamed it.

use super::{civil, wall_ms};
use clawgate_proto::log::tail::LogSpan;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Where lines go.
#[derive(Debug)]
pub enum Sink {
    /// A file.
    File(LogFile),
    /// The latest lines.
    Memory(Ring),
}

/// A file, and what it may become.
#[derive(Debug)]
pub struct LogFile {
    place: Place,
    bytes_max: u64,
    open: Option<Open>,
    /// Lines that could not be written since the last one that was.
    lost: u64,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One of a row in this folder.
    Daily(PathBuf),
    /// This one.
    Fixed(PathBuf),
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    size: u64,
    inode: u64,
    day: u64,
}

/// The latest lines in memory.
#[derive(Debug, Default)]
pub struct Ring {
    bytes: VecDeque<u8>,
    /// Bytes that were forgotten.
    start: u64,
}

impl Sink {
    /// Writes one whole line, its end included.
    pub fn write(&mut self, line: &[u8]) {
        match self {
            Self::File(file) => file.write(wall_ms(), line),
            Self::Memory(ring) => ring.write(line),
        }
    }

    /// Where the log is, and how much of it there is.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn span(&self) -> io::Result<LogSpan> {
        match self {
            Self::File(file) => file.span(wall_ms()),
            Self::Memory(ring) => Ok(ring.span()),
        }
    }

    /// What [`Self::span`] describes, from memory; `None` when it is in a file, which is read without holding this.
    pub fn read_memory(&self, start: u64, bytes: usize) -> Option<Vec<u8>> {
        match self {
            Self::File(_) => None,
            Self::Memory(ring) => Some(ring.read(start, bytes)),
        }
    }

    /// The file's path, for people.
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(file) => Some(file.path_at(wall_ms())),
            Self::Memory(_) => None,
        }
    }
}

impl LogFile {
    /// The file at a place. Opens it at once, so that a place where nothing can be written shows at the start.
    ///
    /// # Errors
    /// It cannot be opened, or it is no ordinary file.
    pub fn new(place: Place, bytes_max: u64) -> io::Result<Self> {
        let mut file = Self { place, bytes_max, open: None, lost: 0 };
        file.ready(wall_ms())?;
        Ok(file)
    }

    fn write(&mut self, now_ms: u64, line: &[u8]) {
        match self.try_write(now_ms, line) {
            Ok(()) => self.lost = 0,
            // Nobody could be told but by this log. Next time the disk may have room again.
            Err(_) => {
                self.lost += 1;
                self.open = None;
            }
        }
    }

    fn try_write(&mut self, now_ms: u64, line: &[u8]) -> io::Result<()> {
        let (lost, bytes_max) = (self.lost, self.bytes_max);
        self.ready(now_ms)?;
        if self.open.as_ref().is_some_and(|open| open.size + line.len() as u64 > bytes_max) {
            self.rotate(now_ms)?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        if lost > 0 {
            let note = format!("{{\"0\":\"{lost} lines of this log could not be written\"}}\n");
            open.file.write_all(note.as_bytes())?;
            open.size += note.len() as u64;
        }
        open.file.write_all(line)?;
        open.size += line.len() as u64;
        Ok(())
    }

    /// Has the file of today open.
    fn ready(&mut self, now_ms: u64) -> io::Result<()> {
        let day = now_ms / DAY_MS;
        let is_stale = match (&self.open, &self.place) {
            (None, _) => true,
            (Some(open), Place::Daily(_)) => open.day != day,
            (Some(_), Place::Fixed(_)) => false,
        };
        if is_stale {
            let path = self.path_at(now_ms);
            if let Some(folder) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            self.open = Some(Open::at(path, day)?);
            if let Place::Daily(folder) = &self.place {
                forget_old(folder, now_ms);
            }
        }
        Ok(())
    }

    /// The file is full: it becomes the older one, and a new one begins. Unless somebody else did that already.
    fn rotate(&mut self, now_ms: u64) -> io::Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let is_ours = fs::metadata(&open.path).is_ok_and(|found| found.ino() == open.inode);
        if is_ours {
            fs::rename(&open.path, older(&open.path))?;
        }
        self.ready(now_ms)
    }

    fn path_at(&self, now_ms: u64) -> PathBuf {
        match &self.place {
            Place::Fixed(path) => path.clone(),
            Place::Daily(folder) => folder.join(daily_name(now_ms)),
        }
    }

    fn span(&self, now_ms: u64) -> io::Result<LogSpan> {
        let mut path = self.path_at(now_ms);
        let mut found = fs::metadata(&path);
        if let (Err(_), Place::Daily(folder)) = (&found, &self.place)
            && let Some(newest) = newest(folder)
        {
            found = fs::metadata(&newest);
            path = newest;
        }
        let end = match found {
            Ok(found) => found.len(),
            Err(why) if why.kind() == io::ErrorKind::NotFound => 0,
            Err(why) => return Err(why),
        };
        Ok(LogSpan { file: path.to_string_lossy().into_owned(), start: 0, end })
    }
}

impl Open {
    /// Opens for appending, and makes it when there is none. Never through a link, never a device, never a file that
    /// holds something else: lines would ruin it, and `logs.tail` would show it.
    fn at(path: PathBuf, day: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(open_flags())
            .open(&path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(not_ordinary());
        }
        // A disk that was full may have cut the first line short.
        let mut start = [0; LINE_START.len()];
        let held = file.read_at(&mut start, 0)?;
        if start[..held] != LINE_START[..held] {
            return Err(io::Error::other("it holds something else than a log; name another file"));
        }
        let (size, inode) = (found.len(), found.ino());
        Ok(Self { file, path, size, inode, day })
    }
}

impl Ring {
    fn write(&mut self, line: &[u8]) {
        let line = &line[..line.len().min(RING_BYTES_MAX)];
        let over = (self.bytes.len() + line.len()).saturating_sub(RING_BYTES_MAX);
        self.bytes.drain(..over);
        self.start += over as u64;
        self.bytes.extend(line);
    }

    fn span(&self) -> LogSpan {
        let end = self.start + self.bytes.len() as u64;
        LogSpan { file: MEMORY_NAME.to_owned(), start: self.start, end }
    }

    fn read(&self, start: u64, bytes: usize) -> Vec<u8> {
        let skipped = usize::try_from(start.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.iter().skip(skipped).take(bytes).copied().collect()
    }
}

/// Bytes of a log file, as far as they are still there.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path, start: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new().read(true).custom_flags(open_flags()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(not_ordinary());
    }
    file.seek(SeekFrom::Start(start))?;
    let mut out = Vec::new();
    file.take(bytes as u64).read_to_end(&mut out)?;
    Ok(out)
}

/// Somebody may have put a link or a pipe where the file was: it would show another file, or wait for ever.
fn open_flags() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    i32::try_from(flags.bits()).unwrap_or(0)
}

fn not_ordinary() -> io::Error {
    io::Error::other("it is no ordinary file")
}

/// A place by its path: a name with a date is one of a row.
pub fn place_of(path: PathBuf) -> Place {
    let is_daily = path.file_name().and_then(|name| name.to_str()).is_some_and(is_daily_name);
    match path.parent() {
        Some(folder) if is_daily => Place::Daily(folder.to_path_buf()),
        Some(_) | None => Place::Fixed(path),
    }
}

/// Where logs go when nothing else is said: `openclaw` in the folder for temporary files, as long as it is ours alone;
/// else one with our user id in its name.
///
/// # Errors
/// Both belong to somebody else.
pub fn usual_folder(temporary: &Path) -> io::Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let shared = temporary.join("openclaw");
    if own(&shared, user).is_ok() {
        return Ok(shared);
    }
    let private = temporary.join(format!("openclaw-{user}"));
    own(&private, user).map(|()| private)
}

/// Makes a folder for us alone, or checks that it is one: whoever could write there could have us write elsewhere.
fn own(folder: &Path, user: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(why),
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(folder)?;
    if found.is_dir() && found.uid() == user && found.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} is not ours alone", folder.display())))
    }
}

fn daily_name(now_ms: u64) -> String {
    let (year, month, day) = civil(now_ms / DAY_MS);
    format!("openclaw-{year:04}-{month:02}-{day:02}.log")
}

/// `openclaw-YYYY-MM-DD.log`.
fn is_daily_name(name: &str) -> bool {
    let Some(date) = name.strip_prefix("openclaw-").and_then(|rest| rest.strip_suffix(".log")) else {
        return false;
    };
    date.len() == 10
        && date
            .bytes()
            .enumerate()
            .all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() })
}

/// `NAME.1.EXT`.
fn older(path: &Path) -> PathBuf {
    match (path.file_stem(), path.extension()) {
        (Some(stem), Some(extension)) => {
            path.with_file_name(format!("{}.1.{}", stem.to_string_lossy(), extension.to_string_lossy()))
        }
        (_, _) => PathBuf::from(format!("{}.1", path.display())),
    }
}

/// The newest file of the row.
fn newest(folder: &Path) -> Option<PathBuf> {
    let mut names = daily_files(folder);
    names.retain(|name| is_daily_name(name));
    names.pop().map(|name| folder.join(name))
}

/// Files of the row, older ones too, by date.
fn daily_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| is_daily_name(name) || is_daily_name(&name.replacen(".1.log", ".log", 1)))
        .collect();
    names.sort();
    names
}

/// Keeps the files of the latest days only.
fn forget_old(folder: &Path, now_ms: u64) {
    let first_kept = daily_name(now_ms.saturating_sub((DAYS_KEPT - 1) * DAY_MS));
    let first_kept = &first_kept[.."openclaw-YYYY-MM-DD".len()];
    for name in daily_files(folder) {
        if name.get(..first_kept.len()).is_some_and(|date| date < first_kept) {
            let _ = fs::remove_file(folder.join(name));
        }
    }
}

/// How each line begins, ours and the reference's.
const LINE_START: &[u8; 4] = b"{\"0\"";
/// What `logs.tail` calls a log that is in no file.
pub const MEMORY_NAME: &str = "memory";
const DAY_MS: u64 = 86_400_000;
/// Of each day there are two files at most.
const DAYS_KEPT: u64 = 2;
/// Some hundreds of lines.
const RING_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;

    const NOON: u64 = 1_795_347_000_000;

    fn total(folder: &Path) -> u64 {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn all_files_together_stay_within_their_bound_whatever_is_written() {
        let folder = Folder::new();
        for place in [Place::Fixed(folder.path().join("a/x.log")), Place::Daily(folder.path().join("b"))] {
            let mut file = LogFile { place: place.clone(), bytes_max: 1_000, open: None, lost: 0 };
            for day in 0..5 {
                for _ in 0..200 {
                    file.write(NOON + day * DAY_MS, &[b"x".repeat(48).as_slice(), b"\n"].concat());
                }
            }
            let (inside, files_max) = match &place {
                Place::Fixed(path) => (path.parent().unwrap(), 2),
                Place::Daily(folder) => (folder.as_path(), 4),
            };
            assert!(total(inside) <= files_max * 1_000, "{}", total(inside));
            assert!(fs::read_dir(inside).unwrap().count() as u64 <= files_max);
            // What is there is the latest, and whole.
            let span = file.span(NOON + 4 * DAY_MS).unwrap();
            let text = read(Path::new(&span.file), 0, 10_000).unwrap();
            assert_eq!(text.len() as u64, span.end);
            assert!(text.chunks(49).all(|line| line.ends_with(b"x\n")));
        }
    }

    #[test]
    fn names_with_a_date_are_a_row() {
        assert_eq!(place_of("/a/openclaw-2026-11-22.log".into()), Place::Daily("/a".into()));
        for fixed in ["/a/openclaw.log", "/a/openclaw-2026-11-2x.log", "/a/openclaw-2026-11-22.1.log"] {
            assert_eq!(place_of(fixed.into()), Place::Fixed(fixed.into()));
        }
        assert_eq!(daily_name(NOON), "openclaw-2026-11-22.log");
        assert_eq!(older(Path::new("/a/openclaw-2026-11-22.log")), Path::new("/a/openclaw-2026-11-22.1.log"));
        assert_eq!(older(Path::new("/a/log")), Path::new("/a/log.1"));
    }

    #[test]
    fn the_newest_file_stands_in_for_one_that_is_not_there_yet() {
        let folder = Folder::new();
        let mut file = LogFile::new(Place::Daily(folder.path().to_path_buf()), 1_000).unwrap();
        file.write(NOON, b"a\n");
        let tomorrow = file.span(NOON + DAY_MS).unwrap();
        assert!(tomorrow.file.contains("openclaw-20"), "{tomorrow:?}");
        let empty = Folder::new();
        let place = Place::Daily(empty.path().to_path_buf());
        let none = LogFile { place, bytes_max: 1, open: None, lost: 0 }.span(NOON).unwrap();
        assert_eq!((none.end, none.file.ends_with("openclaw-2026-11-22.log")), (0, true));
    }

    #[test]
    fn a_file_that_somebody_else_renamed_is_left_to_them() {
        let folder = Folder::new();
        let path = folder.path().join("x.log");
        let mut file = LogFile::new(Place::Fixed(path.clone()), 10).unwrap();
        file.write(NOON, b"12345678\n");
        fs::rename(&path, folder.path().join("theirs")).unwrap();
        fs::write(&path, b"{\"0\":1}\n").unwrap();
        file.write(NOON, b"abc\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"0\":1}\nabc\n");
        assert!(!folder.path().join("x.1.log").exists());
    }

    #[test]
    fn a_file_that_holds_something_else_is_no_log_file() {
        let folder = Folder::new();
        let path = folder.path().join("openclaw.json");
        for held in ["{\"gateway\": {}}\n", "x"] {
            fs::write(&path, held).unwrap();
            let why = LogFile::new(Place::Fixed(path.clone()), 1_000).unwrap_err().to_string();
            assert!(why.contains("something else than a log"), "{why}");
            assert_eq!(fs::read_to_string(&path).unwrap(), held);
        }
        fs::write(&path, "{\"0\":\"a\"}\n").unwrap();
        LogFile::new(Place::Fixed(path), 1_000).unwrap();
    }

    #[test]
    fn links_and_devices_are_no_log_files() {
        let folder = Folder::new();
        let link = folder.path().join("link.log");
        std::os::unix::fs::symlink(folder.path().join("target"), &link).unwrap();
        assert!(LogFile::new(Place::Fixed(link), 10).is_err());
        assert!(LogFile::new(Place::Fixed("/dev/full".into()), 10).is_err());
        assert!(!folder.path().join("target").exists());
    }

    #[test]
    fn what_was_put_in_place_of_the_file_is_not_read() {
        let folder = Folder::new();
        let (path, secret) = (folder.path().join("x.log"), folder.path().join("secret"));
        fs::write(&secret, "hunter22").unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        assert!(read(&path, 0, 100).is_err());
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(read(&path, 0, 100).is_err()));
        assert_eq!(ended.recv_timeout(std::time::Duration::from_secs(20)), Ok(true));
    }

    #[test]
    fn lines_that_were_lost_are_counted_when_there_is_room_again() {
        let folder = Folder::new();
        let place = folder.path().join("gone");
        fs::write(&place, b"in the way").unwrap();
        let path = place.join("x.log");
        let mut file = LogFile { place: Place::Fixed(path.clone()), bytes_max: 1_000, open: None, lost: 0 };
        file.write(NOON, b"a\n");
        file.write(NOON, b"b\n");
        fs::remove_file(&place).unwrap();
        file.write(NOON, b"c\n");
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("2 lines") && text.ends_with("\nc\n"), "{text}");
    }

    #[test]
    fn a_folder_that_others_can_write_is_not_used() {
        let folder = Folder::new();
        let usual = usual_folder(folder.path()).unwrap();
        assert_eq!(usual, folder.path().join("openclaw"));
        fs::set_permissions(&usual, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let private = usual_folder(folder.path()).unwrap();
        assert!(private.file_name().unwrap().to_string_lossy().starts_with("openclaw-"));
        fs::remove_dir(&private).unwrap();
        std::os::unix::fs::symlink("/tmp", &private).unwrap();
        assert!(usual_folder(folder.path()).is_err());
    }

    #[test]
    fn memory_keeps_the_latest() {
        let mut ring = Ring::default();
        for i in 0..3_000 {
            ring.write(format!("line {i:05} of some length that is about what lines have\n").as_bytes());
        }
        let span = ring.span();
        assert!(span.start > 0 && span.end - span.start <= RING_BYTES_MAX as u64);
        let tail = ring.read(span.end - 58, 1_000);
        assert!(tail.ends_with(b"have\n") && tail.len() == 58, "{}", tail.len());
        assert_eq!(ring.read(span.end, 10), b"");
    }
}
