//! The configuration file as it is found, and the two ways in which this program writes it: a safe default where
//! there is none, and a generated token where there is a file without one.

use super::value::Node;
use super::write::{self, ConfigPut};
use crate::entropy;
use crate::log::wall_ms;
use crate::storage::{Disk, Held, PutFault, Storage};
use clawgate_proto::host::Version;
use clawgate_proto::limits::CONFIG_BYTES_MAX;
use clawgate_proto::secret::Secret;
use std::fmt;
use std::path::{Path, PathBuf};

/// The configuration file.
#[derive(Debug)]
pub struct ConfigFile {
    /// Where it is, or would be. Symbolic links are followed, so that a rewrite does not replace the link.
    pub path: PathBuf,
    /// What it holds; `None` when there is no file.
    pub found: Option<Found>,
}

/// A file that is there. `Debug` shows its outline only: it holds secrets.
pub struct Found {
    /// Its content, parsed.
    pub root: Node,
    /// Its text.
    pub text: Vec<u8>,
    /// Its mark.
    pub mark: Version,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("root", &self.root)
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

impl ConfigFile {
    /// Reads it.
    ///
    /// # Errors
    /// It is there but cannot be read or parsed; a sentence for a person.
    pub fn load<D: Disk>(storage: &Storage<D>, path: &Path) -> Result<Self, String> {
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let invalid = |why: &str| invalid(&path, &[why.to_owned()]);
        // Looked at before it is read: a board has no memory for what would be refused anyhow.
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > CONFIG_BYTES_MAX as u64) {
            return Err(invalid(&format!("it is larger than {CONFIG_BYTES_MAX} bytes")));
        }
        let Some((text, mark)) = storage.read(&path)? else { return Ok(Self { path, found: None }) };
        let content = std::str::from_utf8(&text).map_err(|_| invalid("it is not UTF-8"))?;
        // The reference starts with an empty file as with an empty object.
        let root = if content.trim().is_empty() {
            Node::Object(Vec::new())
        } else {
            Node::parse(content).map_err(|why| invalid(&why))?
        };
        Ok(Self { path, found: Some(Found { root, text, mark }) })
    }

    /// Writes the safe default where there is no file: one the reference accepts too. With no token, the mode is
    /// left open, to be decided by flags or the environment.
    ///
    /// # Errors
    /// It cannot be written, or one has appeared meanwhile; a sentence for a person.
    pub fn create<D: Disk>(
        &mut self,
        storage: &Storage<D>,
        by: Author<'_>,
        token: Option<&Secret>,
    ) -> Result<(), String> {
        let mut root = Node::Object(Vec::new());
        root.set(&["gateway", "mode"], Node::Text("local".into()));
        if let Some(token) = token {
            set_token(&mut root, token, true);
        }
        self.found = None;
        let held = storage.hold(&self.path)?;
        self.write(storage, &held, by, root)
    }

    /// Puts a token into the file that is there; everything else in it stays, in its order. The old text is kept
    /// beside it with `.bak` at the end.
    ///
    /// # Errors
    /// It cannot be written, or it was changed meanwhile; a sentence for a person.
    pub fn add_token<D: Disk>(
        &mut self,
        storage: &Storage<D>,
        by: Author<'_>,
        token: &Secret,
        with_mode: bool,
    ) -> Result<(), String> {
        let Some(found) = &self.found else { return self.create(storage, by, Some(token)) };
        let mut root = found.root.clone();
        set_token(&mut root, token, with_mode);
        let held = storage.hold(&self.path)?;
        self.write(storage, &held, by, root)
    }

    /// Sets these values in what the file says now; everything else stays, in its order. A file that would not change is
    /// not written. Where there was one, its text is kept beside it with `.bak` at the end. `judge` is asked about the
    /// new text before it is written.
    ///
    /// # Errors
    /// It cannot be read or written, or the judge refuses it; a sentence for a person.
    pub fn set<D: Disk>(
        &mut self,
        storage: &Storage<D>,
        by: Author<'_>,
        changes: &[(&[&str], Node)],
        judge: &mut dyn FnMut(&str) -> Result<(), String>,
    ) -> Result<(), String> {
        let held = storage.hold(&self.path)?;
        // Somebody may have taken long to answer, and another command changed it meanwhile.
        *self = Self::load(storage, &self.path)?;
        let root = self.with(changes);
        judge(&root.render())?;
        if self.found.as_ref().is_some_and(|found| found.root == root) {
            return Ok(());
        }
        self.write(storage, &held, by, root)
    }

    /// What it would say with these values.
    pub fn with(&self, changes: &[(&[&str], Node)]) -> Node {
        let mut root = self.found.as_ref().map_or(Node::Object(Vec::new()), |found| found.root.clone());
        for (path, value) in changes {
            root.set(path, value.clone());
        }
        root
    }

    fn write<D: Disk>(
        &mut self,
        storage: &Storage<D>,
        held: &Held<'_, D>,
        by: Author<'_>,
        root: Node,
    ) -> Result<(), String> {
        let text = root.render();
        let change = ConfigPut {
            path: &self.path,
            old: self.found.as_ref().map(|found| (found.text.as_slice(), found.mark)),
            new: &text,
            state_dir: by.state_dir,
            wall_ms: wall_ms(),
            by: by.name,
        };
        let mark = write::put(storage, held, &change).map_err(said)?;
        self.found = Some(Found { root, text: text.into_bytes(), mark });
        Ok(())
    }
}

/// Who writes, for the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// The state folder, where that log is.
    pub state_dir: &'a Path,
    /// The command.
    pub name: &'a str,
}

/// What is said of a file that cannot be used.
pub fn invalid(path: &Path, faults: &[String]) -> String {
    format!("Invalid config at {}.\n- {}", path.display(), faults.join("\n- "))
}

/// A fresh token: 24 random bytes as 48 lower-case hex digits, the reference's form.
pub fn generate_token() -> Secret {
    let digits: String = entropy::bytes::<24>().iter().map(|byte| format!("{byte:02x}")).collect();
    Secret::new(&digits).expect("48 digits are not blank")
}

fn set_token(root: &mut Node, token: &Secret, with_mode: bool) {
    if with_mode {
        root.set(&["gateway", "auth", "mode"], Node::Text("token".into()));
    }
    root.set(&["gateway", "auth", "token"], Node::Text(token.expose().to_owned()));
}

fn said(fault: PutFault) -> String {
    match fault {
        PutFault::Conflict(path) => {
            format!("{} was changed by somebody else at this very moment; start again", path.display())
        }
        PutFault::Failed(why) => why,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use crate::storage::RealDisk;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn storage() -> Storage<RealDisk> {
        Storage::new(RealDisk, 1)
    }

    fn by(folder: &Folder) -> Author<'_> {
        Author { state_dir: folder.path(), name: "test" }
    }

    #[test]
    fn debug_shows_nothing_of_the_content() {
        let folder = Folder::new();
        let path = folder.path().join("openclaw.json");
        fs::write(&path, "{gateway: {auth: {token: 'hidden'}}}").unwrap();
        let shown = format!("{:?}", ConfigFile::load(&storage(), &path).unwrap());
        let numbers = format!("{:?}", b"hidden");
        assert!(!shown.contains("hidden") && !shown.contains(numbers.trim_matches(['[', ']'])), "{shown}");
    }

    #[test]
    fn the_default_file_is_private_and_as_the_reference_writes_it() {
        let folder = Folder::new();
        let path = folder.path().join("state/openclaw.json");
        let mut file = ConfigFile::load(&storage(), &path).unwrap();
        assert!(file.found.is_none());
        let token = generate_token();
        file.create(&storage(), by(&folder), Some(&token)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let digits = token.expose();
        assert_eq!(digits.len(), 48);
        assert!(digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        let want = format!(
            "{{\n  \"gateway\": {{\n    \"mode\": \"local\",\n    \"auth\": {{\n      \"mode\": \"token\",\n      \
             \"token\": \"{digits}\"\n    }}\n  }}\n}}\n"
        );
        assert_eq!(text, want);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(file.create(&storage(), by(&folder), None).is_err(), "never over a file that is there");
        assert_eq!(fs::read_to_string(&path).unwrap(), want);
    }

    #[test]
    fn a_token_is_added_without_touching_the_rest_and_the_old_text_is_kept() {
        let folder = Folder::new();
        let path = folder.path().join("openclaw.json");
        let old = "// by hand\n{z: 1, gateway: {port: 5, mode: 'local'}, a: {b: [1]}}";
        fs::write(&path, old).unwrap();
        let mut file = ConfigFile::load(&storage(), &path).unwrap();
        file.add_token(&storage(), by(&folder), &Secret::new("T").unwrap(), true).unwrap();
        let want =
            "{z: 1, gateway: {port: 5, mode: 'local', auth: {mode: 'token', token: 'T'}}, a: {b: [1]}}";
        assert_eq!(fs::read_to_string(&path).unwrap(), Node::parse(want).unwrap().render());
        assert_eq!(fs::read_to_string(folder.path().join("openclaw.json.bak")).unwrap(), old);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_left_alone() {
        let folder = Folder::new();
        let path = folder.path().join("openclaw.json");
        fs::write(&path, "{}").unwrap();
        let mut file = ConfigFile::load(&storage(), &path).unwrap();
        fs::write(&path, "{gateway: {}}").unwrap();
        let fault = file.add_token(&storage(), by(&folder), &Secret::new("T").unwrap(), true).unwrap_err();
        assert!(fault.contains("start again"), "{fault}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{gateway: {}}");
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = Folder::new();
        let (link, target) = (folder.path().join("openclaw.json"), folder.path().join("real.json"));
        fs::write(&target, "{}").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut file = ConfigFile::load(&storage(), &link).unwrap();
        file.add_token(&storage(), by(&folder), &Secret::new("T").unwrap(), false).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&target).unwrap().contains("\"T\""));
    }

    #[test]
    fn an_unreadable_file_is_named_and_nothing_of_it_quoted() {
        let folder = Folder::new();
        let path = folder.path().join("openclaw.json");
        fs::write(&path, "{token: 'hunter22' oops").unwrap();
        let fault = ConfigFile::load(&storage(), &path).unwrap_err();
        assert!(fault.starts_with("Invalid config at ") && !fault.contains("hunter22"), "{fault}");
        fs::write(&path, b"\xff").unwrap();
        assert!(ConfigFile::load(&storage(), &path).unwrap_err().contains("not UTF-8"));
        fs::write(&path, " \n").unwrap();
        assert!(ConfigFile::load(&storage(), &path).unwrap().found.is_some());
    }
}
