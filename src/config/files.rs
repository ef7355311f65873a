//! Opens the files that a configuration includes: below the folder of the configuration file, also behind links;
//! regular files with one name; not too large.

use crate::storage::{explain, is_single_name};
use clawgate_config::include::{FILE_BYTES_MAX, Files, Included};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

/// The files beside one configuration file.
#[derive(Debug)]
pub struct FilesBeside {
    folder: PathBuf,
}

impl FilesBeside {
    /// Those that this configuration file may include.
    pub fn of(config: &Path) -> Self {
        let folder = config.parent().unwrap_or(Path::new("/"));
        Self { folder: std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()) }
    }
}

impl Files for FilesBeside {
    fn read(&self, from: Option<&str>, name: &str) -> Result<Included, String> {
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
        let mut content = Vec::new();
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content).map_err(failed)?;
        if content.len() > FILE_BYTES_MAX {
            return Err(too_large());
        }
        let text = String::from_utf8(content).map_err(|_| format!("{} is not UTF-8", path.display()))?;
        Ok(Included { path: path.display().to_string(), text })
    }
}

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
        let files = FilesBeside::of(&folder.join("openclaw.json"));
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
}
