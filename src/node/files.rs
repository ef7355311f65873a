//! What is asked of this machine's files: programs by their names, folders, scripts and their digests, and the folders
//! in a folder.

use super::ENTRIES_MAX;
use super::plan::{Files, Stamp};
use super::policy::Executable;
use rustix::fs::{Access, access};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The files of this machine, with a search path for programs.
#[derive(Clone, Debug)]
pub struct Machine {
    path: String,
    home: Option<String>,
}

impl Machine {
    /// With this `PATH`, and this home folder.
    pub fn new(path: &str, home: Option<&str>) -> Self {
        Self { path: path.to_owned(), home: home.map(str::to_owned) }
    }

    /// Where these programs are: name and path of those that there are.
    pub fn which(&self, names: &[String]) -> Value {
        let found =
            names.iter().filter_map(|name| Some((name.clone(), self.program(name, None)?.found.into())));
        json!({ "bins": found.collect::<serde_json::Map<String, Value>>() })
    }
}

impl Files for Machine {
    fn program(&self, name: &str, cwd: Option<&str>) -> Option<Executable> {
        if name.contains('/') {
            return executable(&below(name, cwd));
        }
        // A folder that is not named in full would depend on where somebody stands.
        let folders = self.path.split(':').filter(|folder| folder.starts_with('/'));
        folders.map(|folder| Path::new(folder).join(name)).find_map(|path| executable(&path))
    }

    fn folder(&self, path: &str) -> Option<String> {
        let path = match (path.strip_prefix('~'), &self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
            _ => path.to_owned(),
        };
        let path = std::fs::canonicalize(path).ok()?;
        path.is_dir().then(|| text(path)).flatten()
    }

    fn stamp(&self, path: &str, cwd: Option<&str>, left: &mut u64) -> Option<Stamp> {
        let path = match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => Path::new(home).join(rest),
            _ => below(path, cwd),
        };
        let path = std::fs::canonicalize(path).ok()?;
        // Before it is opened: to open a pipe or a device may wait, or do something.
        if !path.is_file() {
            return None;
        }
        let is_executable = access(&path, Access::EXEC_OK).is_ok();
        let about = std::fs::metadata(&path).ok()?;
        let mut file = File::open(&path);
        let mut start = Vec::new();
        if let Ok(file) = &mut file {
            file.take(SHEBANG_BYTES).read_to_end(&mut start).ok()?;
        }
        let shebang = start.strip_prefix(b"#!").map(|line| {
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
            String::from_utf8_lossy(line).into_owned()
        });
        let mark = match file {
            Ok(file) if about.len() <= *left => {
                digest(&start, file, left).unwrap_or_else(|| identity(&about))
            }
            Ok(_) | Err(_) => identity(&about),
        };
        Some(Stamp { real: text(path)?, mark, is_executable, shebang })
    }
}

/// The lower-case hex SHA-256 of a file of which `start` was read. None when it is larger than `left`, or cannot be read.
fn digest(start: &[u8], file: File, left: &mut u64) -> Option<String> {
    let mut sum = Sha256::new_with_prefix(start);
    let mut room = left.checked_sub(start.len() as u64)?;
    let mut file = file.take(room + 1);
    let mut buffer = [0; 32 * 1024];
    loop {
        let count = file.read(&mut buffer).ok()?;
        if count == 0 {
            break;
        }
        room = room.checked_sub(count as u64)?;
        sum.update(&buffer[..count]);
    }
    *left = room;
    let mut hex = String::with_capacity(64);
    for byte in sum.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    Some(hex)
}

/// Which file it is, and when it was changed: the second time is the system's own, and nobody can set it.
fn identity(about: &Metadata) -> String {
    let (inode, size) = (about.ino(), about.len());
    let times = [about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()];
    format!("{}:{inode}:{size}:{times:?}", about.dev())
}

/// The system looks no further for the interpreter of a script.
const SHEBANG_BYTES: u64 = 256;

/// The folder of a path, without links; the last part is kept as it is.
pub fn folder_of(path: &str) -> Option<String> {
    text(std::fs::canonicalize(Path::new(path).parent()?).ok()?)
}

/// The folders in a folder (`FsListDirResult` of the published schema).
///
/// # Errors
/// It is no folder, or cannot be read.
pub fn list(path: &str) -> io::Result<Value> {
    let place = std::fs::canonicalize(path)?;
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "its name is not UTF-8");
    let mut names: Vec<String> = std::fs::read_dir(&place)?
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .take(ENTRIES_MAX)
        .collect();
    names.sort_by_key(|name| (name.to_lowercase(), name.clone()));
    let entries: Option<Vec<Value>> = names
        .into_iter()
        .map(|name| {
            let path = text(place.join(&name))?;
            let is_hidden = name.starts_with('.');
            let mut entry = json!({ "name": name, "path": path });
            if is_hidden {
                entry["hidden"] = true.into();
            }
            Some(entry)
        })
        .collect();
    let parent = place.parent().map(Path::to_path_buf);
    let mut answer =
        json!({ "path": text(place).ok_or_else(unreadable)?, "entries": entries.unwrap_or_default() });
    if let Some(parent) = parent.and_then(text) {
        answer["parent"] = parent.into();
    }
    Ok(answer)
}

fn executable(path: &Path) -> Option<Executable> {
    if !path.is_file() || access(path, Access::EXEC_OK).is_err() {
        return None;
    }
    let folder = std::fs::canonicalize(path.parent()?).ok()?;
    let found = text(folder.join(path.file_name()?))?;
    let real = text(std::fs::canonicalize(path).ok()?)?;
    Some(Executable { found, real })
}

fn below(path: &str, cwd: Option<&str>) -> PathBuf {
    match cwd {
        Some(cwd) => Path::new(cwd).join(path),
        None => std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)),
    }
}

fn text(path: PathBuf) -> Option<String> {
    path.into_os_string().into_string().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn program(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn programs_are_found_with_the_folders_behind_links_and_their_own_names() {
        let folder = Folder::new();
        let root = fs::canonicalize(folder.path()).unwrap();
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        fs::create_dir(root.join("real")).unwrap();
        symlink(root.join("real"), root.join("bin")).unwrap();
        program(&root.join("real/box"), "#!/bin/sh\n");
        symlink("box", root.join("real/ls")).unwrap();
        fs::write(root.join("real/data"), "x").unwrap();
        let machine = Machine::new(&format!("relative::{}", at("bin")), None);
        let found = machine.program("ls", None).unwrap();
        assert_eq!((found.found, found.real), (at("real/ls"), at("real/box")));
        assert_eq!(machine.program("./box", Some(&at("bin"))).unwrap().found, at("real/box"));
        for nothing in ["data", "nothing", "real", ""] {
            assert_eq!(machine.program(nothing, None), None, "{nothing:?}");
        }
        let shebang = |path: &str| machine.stamp(&at(path), None, &mut 99).unwrap().shebang;
        assert_eq!((shebang("bin/ls").as_deref(), shebang("bin/data")), (Some("/bin/sh"), None));
        assert_eq!(machine.which(&["ls".into(), "nothing".into()]), json!({"bins": {"ls": at("real/ls")}}));
        assert_eq!(folder_of(&at("bin/x")), Some(at("real")));
    }

    #[test]
    fn folders_and_files_are_those_behind_links() {
        let folder = Folder::new();
        let root = fs::canonicalize(folder.path()).unwrap();
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        fs::write(root.join("x.sh"), "abc").unwrap();
        symlink("x.sh", root.join("link")).unwrap();
        let machine = Machine::new("", Some(root.to_str().unwrap()));
        let stamp = |path: &str, mut left: u64| {
            let stamp = machine.stamp(path, Some(&at("")), &mut left);
            (stamp.map(|stamp| (stamp.real, stamp.mark, stamp.is_executable)), left)
        };
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for path in ["link", "x.sh", "~/link", "./x.sh", &at("x.sh")] {
            assert_eq!(stamp(path, 10), (Some((at("x.sh"), sum.to_owned(), false)), 7), "{path}");
        }
        for nothing in ["nothing", "", "/dev/null"] {
            assert_eq!(stamp(nothing, 10), (None, 10), "{nothing}");
        }
        assert_eq!(machine.folder(&at("x.sh")), None);
        assert_eq!(
            machine.folder(&format!("{}/../{}", at(""), root.file_name().unwrap().to_str().unwrap())),
            Some(root.to_str().unwrap().to_owned())
        );
    }

    #[test]
    fn a_file_that_is_too_large_to_read_is_known_by_what_it_is() {
        let folder = Folder::new();
        let path = folder.path().join("x");
        let mark = || {
            let mut left = 10;
            let mark = Machine::new("", None).stamp(path.to_str().unwrap(), None, &mut left).unwrap().mark;
            assert_eq!(left, 10);
            mark
        };
        fs::write(&path, "a".repeat(11)).unwrap();
        let before = mark();
        assert_eq!(mark(), before);
        // The same size and the same time of writing in another file.
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let other = folder.path().join("y");
        fs::write(&other, "b".repeat(11)).unwrap();
        File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(mark(), before);
    }

    #[test]
    fn a_folder_tells_of_its_folders() {
        let folder = Folder::new();
        let root = fs::canonicalize(folder.path()).unwrap();
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        for name in ["b", "A", ".hidden"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join("file"), "").unwrap();
        let listed = list(root.to_str().unwrap()).unwrap();
        assert_eq!(
            listed,
            json!({"path": root.to_str().unwrap(), "parent": root.parent().unwrap().to_str().unwrap(), "entries": [
                {"name": ".hidden", "path": at(".hidden"), "hidden": true},
                {"name": "A", "path": at("A")}, {"name": "b", "path": at("b")}]})
        );
        assert!(list("/").unwrap().get("parent").is_none());
        assert!(list(&at("file")).is_err() && list(&at("nothing")).is_err());
    }
}
