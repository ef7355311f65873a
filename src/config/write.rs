//! A changed configuration onto the disk: durably, with the five latest texts kept beside it, and a line in the audit
//! log. The one place where this program writes that file. Whoever changes it holds its folder from before it is read,
//! so that of two changes of ours none is lost; what another program wrote meanwhile is never overwritten.

use crate::log::timestamp;
use crate::storage::{Disk, Held, Put, PutFault, Storage};
use clawgate_config::service::hash;
use clawgate_proto::host::Version;
use serde_json::json;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// One change.
#[derive(Clone, Copy)]
pub struct ConfigPut<'a> {
    /// The file.
    pub path: &'a Path,
    /// What it held, if it was there, with its mark.
    pub old: Option<(&'a [u8], Version)>,
    /// What it will hold.
    pub new: &'a str,
    /// The state folder, for the audit log.
    pub state_dir: &'a Path,
    /// The time, Unix milliseconds.
    pub wall_ms: u64,
    /// Who asked: a method, or a command.
    pub by: &'a str,
}

impl core::fmt::Debug for ConfigPut<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ConfigPut").field("path", &self.path).field("by", &self.by).finish_non_exhaustive()
    }
}

/// Makes the change durable and gives the new mark. `held` is the folder of that file.
///
/// # Errors
/// Somebody else was faster, or the disk failed.
pub fn put<D: Disk>(
    storage: &Storage<D>,
    held: &Held<'_, D>,
    change: &ConfigPut<'_>,
) -> Result<Version, PutFault> {
    let expected = change.old.map_or(Version::MISSING, |(_, mark)| mark);
    let now = storage.mark(change.path).map_err(PutFault::Failed)?;
    if now != expected {
        return Err(PutFault::Conflict(change.path.to_owned()));
    }
    held.sweep();
    let backup = backup_of(change.path);
    let mut puts = Vec::with_capacity(2);
    if let Some((old, _)) = change.old {
        age(storage, &backup);
        puts.push(Put { path: &backup, expected: None, content: old });
    }
    puts.push(Put { path: change.path, expected: Some(expected), content: change.new.as_bytes() });
    let marks = held.put(&puts)?;
    // The change is on the disk; an audit log that cannot be written does not undo it.
    if storage.disk().is_kept() {
        let _ = audit(change);
    }
    Ok(marks.last().copied().unwrap_or(Version::MISSING))
}

/// The name under which the old text is kept.
pub fn backup_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".bak");
    path.with_file_name(name)
}

/// Makes each kept text one older. At no moment is one of the names without a text: whoever is killed on the way leaves a
/// text twice. An older text that cannot be kept is no reason to refuse a change; the latest one is.
fn age<D: Disk>(storage: &Storage<D>, backup: &Path) {
    let disk = storage.disk();
    for age in (0..BACKUPS_MAX - 1).rev() {
        let (from, to) = (aged(backup, age), aged(backup, age + 1));
        let second = storage.temporary_name(&to);
        if disk.link(&from, &second).is_err() {
            // No such text, or a file system without second names.
            let _ = disk.rename(&from, &to);
        } else if disk.rename(&second, &to).is_err()
            || disk.mark(&second).is_ok_and(|m| m != Version::MISSING)
        {
            // Of two names of one file none replaces the other.
            let _ = disk.remove(&second);
        }
    }
}

/// `.bak`, then `.bak.1` and so on.
fn aged(backup: &Path, age: usize) -> PathBuf {
    if age == 0 {
        return backup.to_owned();
    }
    let mut name = backup.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{age}"));
    backup.with_file_name(name)
}

/// One line, as the reference writes it: hashes and sizes, no content.
fn audit(change: &ConfigPut<'_>) -> std::io::Result<()> {
    let folder = change.state_dir.join("logs");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join("config-audit.jsonl");
    if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > AUDIT_BYTES_MAX) {
        std::fs::rename(&path, folder.join("config-audit.jsonl.1"))?;
    }
    let old = change.old.map(|(old, _)| old);
    let line = json!({
        "ts": timestamp(change.wall_ms),
        "source": "clawgate",
        "event": "config.write",
        "by": change.by,
        "configPath": change.path.display().to_string(),
        "pid": std::process::id(),
        "existsBefore": old.is_some(),
        "previousHash": old.map(hash),
        "nextHash": hash(change.new.as_bytes()),
        "previousBytes": old.map(<[u8]>::len),
        "nextBytes": change.new.len(),
        "result": "rename",
    });
    let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// Texts that are kept.
const BACKUPS_MAX: usize = 5;
/// A longer audit log begins anew; one before it is kept.
const AUDIT_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use crate::storage::RealDisk;
    use std::fs;

    #[test]
    fn the_five_latest_texts_are_kept_and_each_change_is_noted() {
        let folder = Folder::new();
        let (storage, path) = (Storage::new(RealDisk, 1), folder.path().join("openclaw.json"));
        for n in 0..8 {
            let old = storage.read(&path).unwrap();
            let new = format!("{{\"n\": {n}}}\n");
            let change = ConfigPut {
                path: &path,
                old: old.as_ref().map(|(text, mark)| (text.as_slice(), *mark)),
                new: &new,
                state_dir: folder.path(),
                wall_ms: 0,
                by: "test",
            };
            put(&storage, &storage.hold(&path).unwrap(), &change).unwrap();
        }
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(text("openclaw.json"), "{\"n\": 7}\n");
        for (age, name) in [".bak", ".bak.1", ".bak.2", ".bak.3", ".bak.4"].iter().enumerate() {
            assert_eq!(text(&format!("openclaw.json{name}")), format!("{{\"n\": {}}}\n", 6 - age));
        }
        assert!(!folder.path().join("openclaw.json.bak.5").exists());
        assert_eq!(text("logs/config-audit.jsonl").lines().count(), 8);
    }

    #[test]
    fn no_backup_goes_missing_and_what_was_killed_is_swept() {
        let folder = Folder::new();
        let (storage, path) = (Storage::new(RealDisk, 1), folder.path().join("openclaw.json"));
        let left = folder.path().join("openclaw.json.cg00000000000000ff-0.tmp");
        fs::write(&left, "half a tex").unwrap();
        fs::write(&path, "new").unwrap();
        for name in [".bak", ".bak.1", ".bak.2"] {
            fs::write(folder.path().join(format!("openclaw.json{name}")), name).unwrap();
        }
        // As whoever was killed between two steps leaves it: one text under two names.
        fs::hard_link(folder.path().join("openclaw.json.bak.2"), folder.path().join("openclaw.json.bak.3"))
            .unwrap();
        let (old, mark) = storage.read(&path).unwrap().unwrap();
        let change = ConfigPut {
            path: &path,
            old: Some((&old, mark)),
            new: "{}",
            state_dir: folder.path(),
            wall_ms: 0,
            by: "test",
        };
        put(&storage, &storage.hold(&path).unwrap(), &change).unwrap();
        let text =
            |name: &str| fs::read_to_string(folder.path().join(format!("openclaw.json{name}"))).unwrap();
        let kept = [".bak", ".bak.1", ".bak.2", ".bak.3", ".bak.4"].map(text);
        assert_eq!(kept, ["new", ".bak", ".bak.1", ".bak.2", ".bak.2"]);
        assert!(!left.exists());
        let names = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.ends_with(".tmp")).count(), 0);
    }

    #[test]
    fn what_somebody_else_wrote_stays() {
        let folder = Folder::new();
        let (storage, path) = (Storage::new(RealDisk, 1), folder.path().join("openclaw.json"));
        fs::write(&path, "{}").unwrap();
        let (old, mark) = storage.read(&path).unwrap().unwrap();
        fs::write(&path, "{theirs: 1}").unwrap();
        let change = ConfigPut {
            path: &path,
            old: Some((&old, mark)),
            new: "{}",
            state_dir: folder.path(),
            wall_ms: 0,
            by: "test",
        };
        assert_eq!(
            put(&storage, &storage.hold(&path).unwrap(), &change),
            Err(PutFault::Conflict(path.clone()))
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "{theirs: 1}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else was written");
    }
}
