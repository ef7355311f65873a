//! What is asked of this machine's files: programs by their names, folders, scripts and their digests, and the folders
//! in a folder.

use super::plan::Files;
use super::policy::Executable;
use super::{ENTRIES_MAX, SCRIPT_BYTES_MAX};
use rustix::fs::{Access, access};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The files of this machine, with a search path for programs.
#[derive(Clone, Debug)]
pub struct Machine {
    path: String,
}

impl Machine {
    /// With this `PATH`.
    pub fn new(path: &str) -> Self {
        Self { path: path.to_owned() }
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
        let path = std::fs::canonicalize(path).ok()?;
        path.is_dir().then(|| text(path)).flatten()
    }

    fn digest(&self, path: &str, cwd: Option<&str>) -> Option<(String, String)> {
        let path = std::fs::canonicalize(below(path, cwd)).ok()?;
        if !path.is_file() {
            return None;
        }
        let mut content = Vec::new();
        File::open(&path).ok()?.take(SCRIPT_BYTES_MAX + 1).read_to_end(&mut content).ok()?;
        if content.len() as u64 > SCRIPT_BYTES_MAX {
            return None;
        }
        let mut hex = String::with_capacity(64);
        for byte in Sha256::digest(&content) {
            let _ = write!(hex, "{byte:02x}");
        }
        Some((text(path)?, hex))
    }

    fn is_script(&self, path: &str) -> bool {
        let mut start = [0; 2];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
        read.is_ok() && start == *b"#!"
    }
}

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
        let machine = Machine::new(&format!("relative::{}", at("bin")));
        let found = machine.program("ls", None).unwrap();
        assert_eq!((found.found, found.real), (at("real/ls"), at("real/box")));
        assert_eq!(machine.program("./box", Some(&at("bin"))).unwrap().found, at("real/box"));
        for nothing in ["data", "nothing", "real", ""] {
            assert_eq!(machine.program(nothing, None), None, "{nothing:?}");
        }
        assert!(machine.is_script(&at("bin/ls")) && !machine.is_script(&at("bin/data")));
        assert_eq!(machine.which(&["ls".into(), "nothing".into()]), json!({"bins": {"ls": at("real/ls")}}));
        assert_eq!(folder_of(&at("bin/x")), Some(at("real")));
    }

    #[test]
    fn folders_and_digests_are_those_behind_links() {
        let folder = Folder::new();
        let root = fs::canonicalize(folder.path()).unwrap();
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        fs::write(root.join("x.sh"), "abc").unwrap();
        symlink("x.sh", root.join("link")).unwrap();
        let machine = Machine::new("");
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(machine.digest("link", Some(&at(""))), Some((at("x.sh"), want.to_owned())));
        assert_eq!(machine.digest("nothing", Some(&at(""))), None);
        assert_eq!(machine.digest(&at(""), None), None);
        assert_eq!(machine.folder(&at("x.sh")), None);
        assert_eq!(
            machine.folder(&format!("{}/../{}", at(""), root.file_name().unwrap().to_str().unwrap())),
            Some(root.to_str().unwrap().to_owned())
        );
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
