//! Opens the files that a configuration includes: below the folder of the configuration file, also behind links;
//! regular files with one name; not too large; and none that this program or the reference keeps there itself, in which
//! secrets stand at places where nobody would look for them.

use crate::storage::{explain, is_single_name, mark};
use clawgate_config::include::{FILE_BYTES_MAX, Files, Included};
use clawgate_proto::host::Version;
use std::cell::RefCell;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

/// The files beside one configuration file.
#[derive(Debug)]
pub struct FilesBeside {
    folder: PathBuf,
    /// The state folder.
    state_dir: Option<PathBuf>,
    /// The name of the configuration file.
    config: Option<String>,
    /// What was read, or looked for, so far.
    seen: RefCell<Vec<(PathBuf, Version)>>,
}

impl FilesBeside {
    /// Those that this configuration file may include.
    pub fn of(config: &Path, state_dir: Option<&Path>) -> Self {
        let real = |folder: &Path| std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        Self {
            folder: real(config.parent().unwrap_or(Path::new("/"))),
            state_dir: state_dir.map(real),
            config: config.file_name().and_then(|name| name.to_str()).map(str::to_owned),
            seen: RefCell::default(),
        }
    }

    /// The files that were read, or looked for, by the names under which they were, each with the mark of what was found:
    /// where a name is a link, with that of what it led to. A link that leads elsewhere by now has another mark.
    pub fn into_seen(self) -> Vec<(PathBuf, Version)> {
        self.seen.into_inner()
    }

    /// Whether a file below the folder, links followed, is one of a gateway's own.
    fn is_own(&self, path: &Path) -> bool {
        [Some(&self.folder), self.state_dir.as_ref()].into_iter().flatten().any(|root| {
            let Ok(below) = path.strip_prefix(root) else { return false };
            let parts: Vec<String> =
                below.iter().map(|part| part.to_string_lossy().to_ascii_lowercase()).collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            match parts[..] {
                [name] => {
                    let is_backup = self.config.as_ref().is_some_and(|config| {
                        name.starts_with(&format!("{}.bak", config.to_ascii_lowercase()))
                    });
                    is_backup || OWN_FILES.contains(&name)
                }
                // What an agent of the reference logs in with, and what it was told.
                ["agents", _, "agent" | "sessions", ..] => true,
                [folder, ..] => OWN_FOLDERS.contains(&folder),
                [] => false,
            }
        })
    }
}

impl Files for FilesBeside {
    fn read(&self, from: Option<&str>, name: &str) -> Result<Included, String> {
        let asked = self.place(from, name).map(PathBuf::from);
        // Before it is opened: what is put there meanwhile is another one.
        let found = asked.as_ref().and_then(|asked| std::fs::metadata(asked).ok()).as_ref().map(mark);
        let read = self.open(from, name);
        if let Some(asked) = asked {
            let mark = read.as_ref().map_or(found.unwrap_or(Version::MISSING), |(_, mark)| *mark);
            self.seen.borrow_mut().push((asked, mark));
        }
        read.map(|(included, _)| included)
    }

    fn place(&self, from: Option<&str>, name: &str) -> Option<String> {
        let folder = from.and_then(|from| Path::new(from).parent()).unwrap_or(&self.folder);
        let asked = plain(&folder.join(name));
        let may_be = !name.is_empty() && !name.contains('\0') && asked.starts_with(&self.folder);
        may_be.then(|| asked.display().to_string())
    }
}

impl FilesBeside {
    fn open(&self, from: Option<&str>, name: &str) -> Result<(Included, Version), String> {
        let outside = || {
            format!(
                "{name:?} is outside of {}; only files in this folder can be included",
                self.folder.display()
            )
        };
        if name.is_empty() || name.contains('\0') {
            return Err(format!("{name:?} is no name of a file"));
        }
        let folder = from.and_then(|from| Path::new(from).parent()).unwrap_or(&self.folder);
        let asked = plain(&folder.join(name));
        if !asked.starts_with(&self.folder) {
            return Err(outside());
        }
        let path = std::fs::canonicalize(&asked).map_err(|why| explain("include", &asked, &why))?;
        if !path.starts_with(&self.folder) {
            return Err(outside());
        }
        if self.is_own(&path) {
            return Err(format!(
                "{} cannot be included: it is a gateway's own, not a part of its configuration",
                path.display()
            ));
        }
        let failed = |why| explain("include", &path, &why);
        // Looked at before it is opened: opening a pipe would wait for ever.
        let metadata = std::fs::symlink_metadata(&path).map_err(failed)?;
        if !metadata.is_file() || !is_single_name(&metadata) {
            return Err(format!(
                "{} cannot be included: it must be a regular file, and no hard link",
                path.display()
            ));
        }
        let too_large = || format!("{} is too large: a file may have {FILE_BYTES_MAX} bytes", path.display());
        if metadata.len() > FILE_BYTES_MAX as u64 {
            return Err(too_large());
        }
        let file = std::fs::File::open(&path).map_err(failed)?;
        // As it was before a byte of it was read.
        let mark = mark(&file.metadata().map_err(failed)?);
        let mut content = Vec::new();
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content).map_err(failed)?;
        if content.len() > FILE_BYTES_MAX {
            return Err(too_large());
        }
        let text = String::from_utf8(content).map_err(|_| format!("{} is not UTF-8", path.display()))?;
        Ok((Included { path: path.display().to_string(), text }, mark))
    }
}

/// In the folder of the configuration file, or in the state folder.
const OWN_FILES: [&str; 5] =
    ["clawgate.json", "exec-approvals.json", "node.json", "clawgate.lock", "node.lock"];
const OWN_FOLDERS: [&str; 6] = ["devices", "nodes", "identity", "credentials", "settings", "logs"];

/// The path without `.` and `..`, by its text.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::fs;

    #[test]
    fn only_regular_files_below_the_folder_are_read() {
        let outer = Folder::new();
        let folder = outer.path().join("conf");
        fs::create_dir_all(folder.join("d")).unwrap();
        fs::write(folder.join("d/a.json"), "{a: 1}").unwrap();
        fs::write(folder.join("d/b.json"), "{b: 1}").unwrap();
        fs::write(outer.path().join("secret"), "{s: 1}").unwrap();
        std::os::unix::fs::symlink(outer.path().join("secret"), folder.join("link")).unwrap();
        std::os::unix::fs::symlink(folder.join("d/a.json"), folder.join("inside")).unwrap();
        fs::hard_link(outer.path().join("secret"), folder.join("hard")).unwrap();
        fs::write(folder.join("bytes"), b"\xff").unwrap();
        fs::File::create(folder.join("large")).unwrap().set_len(50 << 20).unwrap();
        let files = FilesBeside::of(&folder.join("openclaw.json"), None);
        let a = files.read(None, "d/../d/./a.json").unwrap();
        assert_eq!(a.text, "{a: 1}");
        assert_eq!(files.read(Some(&a.path), "b.json").unwrap().text, "{b: 1}");
        assert_eq!(files.read(None, "inside").unwrap().path, a.path, "one file, one name");
        for (name, want) in [
            ("../secret", "is outside of"),
            ("link", "is outside of"),
            ("/etc/passwd", "is outside of"),
            ("hard", "no hard link"),
            ("d", "must be a regular file"),
            ("none", "cannot include"),
            ("", "is no name"),
            ("bytes", "is not UTF-8"),
            ("large", "too large"),
        ] {
            let why = files.read(None, name).unwrap_err();
            assert!(why.contains(want), "{name}: {why}");
        }
    }

    #[test]
    fn what_a_gateway_keeps_for_itself_is_no_part_of_a_configuration() {
        // Compatibility row config-includes-own.
        let folder = Folder::new();
        let (root, state) = (folder.path(), folder.path().join("state"));
        let own = [
            "clawgate.json",
            "exec-approvals.json",
            "node.json",
            "openclaw.json.bak",
            "openclaw.json.bak.1",
            "identity/device.json",
            "identity/device-auth.json",
            "devices/bootstrap.json",
            "devices/paired.json",
            "nodes/paired.json",
            "credentials/oauth.json",
            "agents/main/agent/auth-profiles.json",
            "state/devices/bootstrap.json",
            "state/exec-approvals.json",
        ];
        for name in own.into_iter().chain(["agents/list.json", "channels/node.json"]) {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), "{s: 1}").unwrap();
        }
        std::os::unix::fs::symlink(root.join("identity"), root.join("link")).unwrap();
        let files = FilesBeside::of(&root.join("openclaw.json"), Some(&state));
        for name in own.into_iter().chain(["./devices/../devices/paired.json", "link/device.json"]) {
            let why = files.read(None, name).unwrap_err();
            assert!(why.contains("a gateway's own"), "{name}: {why}");
        }
        for name in ["agents/list.json", "channels/node.json"] {
            assert!(files.read(None, name).is_ok(), "{name}");
        }
    }
}
