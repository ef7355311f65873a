//! Service files on the disk: whether they are still as this program wrote them, writing and removing them.

use crate::storage::{Put, PutFault, RealDisk, Storage, explain};
use clawgate_proto::host::Version;
use sha2::{Digest as _, Sha256};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A service file as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where.
    pub path: PathBuf,
    /// What it says, without the seal.
    pub text: String,
    /// Its mode.
    pub mode: u32,
}

/// What was found in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Missing,
    /// Exactly this file.
    Same,
    /// One that this program wrote, and nobody changed.
    Older,
    /// One that this program wrote, and somebody changed.
    Edited,
    /// Somebody else's.
    Foreign,
}

/// What was found, with what it takes to replace just that.
#[derive(Debug)]
pub struct Looked {
    /// What it is.
    pub found: Found,
    text: Vec<u8>,
    version: Version,
}

/// Looks at a file.
///
/// # Errors
/// It cannot be read; a sentence for a person.
pub fn look(storage: &Storage<RealDisk>, wanted: &Wanted) -> Result<Looked, String> {
    let Some((text, version)) = storage.read(&wanted.path)? else {
        return Ok(Looked { found: Found::Missing, text: Vec::new(), version: Version::MISSING });
    };
    let found = match std::str::from_utf8(&text).ok().and_then(split) {
        _ if text == seal(&wanted.text).as_bytes() => Found::Same,
        Some((said, rest)) if said == sum(&rest) => Found::Older,
        Some(_) => Found::Edited,
        None => Found::Foreign,
    };
    Ok(Looked { found, text, version })
}

/// Writes a file durably in the place of what was found. What somebody wrote by hand is kept beside it.
///
/// # Errors
/// It cannot be written, or changed meanwhile; a sentence for a person.
pub fn write(storage: &Storage<RealDisk>, wanted: &Wanted, looked: &Looked) -> Result<(), String> {
    if matches!(looked.found, Found::Edited | Found::Foreign) {
        keep(storage, &wanted.path, &looked.text)?;
    }
    put(storage, &wanted.path, looked.version, seal(&wanted.text).as_bytes())?;
    std::fs::set_permissions(&wanted.path, Permissions::from_mode(wanted.mode))
        .map_err(|why| explain("set the mode of", &wanted.path, &why))
}

/// Keeps a file's text beside it, unless it is one that this program wrote and nobody changed.
///
/// # Errors
/// It cannot be read or written; a sentence for a person.
pub fn keep_if_changed(storage: &Storage<RealDisk>, path: &Path) -> Result<(), String> {
    let wanted = Wanted { path: path.to_owned(), text: String::new(), mode: 0 };
    let looked = look(storage, &wanted)?;
    match looked.found {
        Found::Missing | Found::Same | Found::Older => Ok(()),
        Found::Edited | Found::Foreign => keep(storage, path, &looked.text),
    }
}

fn keep(storage: &Storage<RealDisk>, path: &Path, text: &[u8]) -> Result<(), String> {
    let backup = backup_of(path);
    let known = storage.mark(&backup)?;
    put(storage, &backup, known, text)
}

/// Removes a file; nothing is done when there is none.
///
/// # Errors
/// It cannot be removed; a sentence for a person.
pub fn remove(path: &Path) -> Result<(), String> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(explain("remove", path, &why)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where a text that is replaced is kept.
pub fn backup_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".bak");
    PathBuf::from(name)
}

/// The text with a line that tells whether it was changed afterwards: the first, or, in a script, the second.
pub fn seal(text: &str) -> String {
    let line = format!("{MARK}{}\n", sum(text));
    match text.strip_prefix("#!").and_then(|rest| rest.split_once('\n')) {
        Some((head, rest)) => format!("#!{head}\n{line}{rest}"),
        None => format!("{line}{text}"),
    }
}

/// What the seal says, and the text without it.
fn split(text: &str) -> Option<(String, String)> {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let at = lines.iter().take(2).position(|line| line.starts_with(MARK))?;
    let said = lines.remove(at).trim_end().strip_prefix(MARK)?.to_owned();
    Some((said, lines.concat()))
}

fn sum(text: &str) -> String {
    Sha256::digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn put(storage: &Storage<RealDisk>, path: &Path, expected: Version, content: &[u8]) -> Result<(), String> {
    match storage.put(&[Put { path, expected: Some(expected), content }]) {
        Ok(_) => Ok(()),
        Err(PutFault::Conflict(_)) => {
            Err(format!("{} was changed meanwhile; nothing was written. Try again.", path.display()))
        }
        Err(PutFault::Failed(why)) => Err(why),
    }
}

/// Begins the line. Whoever edits the file need not care: a changed text is noticed and kept.
const MARK: &str = "# Written by `clawgate gateway install`, which notices changes and keeps them. Seal: ";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;

    #[test]
    fn a_seal_is_the_first_line_or_the_second_of_a_script() {
        assert!(seal("[Unit]\nA=b\n").starts_with(MARK));
        let script = seal("#!/bin/sh\necho\n");
        assert!(
            script.starts_with(&format!("#!/bin/sh\n{MARK}")) && script.ends_with("\necho\n"),
            "{script}"
        );
        for text in ["[Unit]\nA=b\n", "#!/bin/sh\necho\n", ""] {
            let (said, rest) = split(&seal(text)).unwrap();
            assert_eq!((said.as_str(), rest.as_str()), (sum(text).as_str(), text));
        }
    }

    #[test]
    fn what_lies_there_is_known_and_what_somebody_wrote_is_kept() {
        let folder = Folder::new();
        let storage = Storage::new(RealDisk, 1);
        let path = folder.path().join("deep/er/x.service");
        let wanted = |text: &str| Wanted { path: path.clone(), text: text.to_owned(), mode: 0o644 };
        let found = |text: &str| look(&storage, &wanted(text)).unwrap().found;
        let install =
            |text: &str| write(&storage, &wanted(text), &look(&storage, &wanted(text)).unwrap()).unwrap();
        assert_eq!(found("A=1\n"), Found::Missing);
        install("A=1\n");
        assert_eq!((found("A=1\n"), found("A=2\n")), (Found::Same, Found::Older));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        let edited = std::fs::read_to_string(&path).unwrap().replace("A=1", "A=3");
        std::fs::write(&path, &edited).unwrap();
        assert_eq!(found("A=1\n"), Found::Edited);
        install("A=2\n");
        assert_eq!(found("A=2\n"), Found::Same);
        assert_eq!(std::fs::read_to_string(backup_of(&path)).unwrap(), edited);
        std::fs::write(&path, "[Unit]\n").unwrap();
        assert_eq!(found("A=2\n"), Found::Foreign);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(found("A=2\n"), Found::Missing);
    }

    #[test]
    fn a_file_that_changed_since_it_was_looked_at_is_not_replaced() {
        let folder = Folder::new();
        let storage = Storage::new(RealDisk, 1);
        let wanted = Wanted { path: folder.path().join("x"), text: "A=1\n".to_owned(), mode: 0o644 };
        let looked = look(&storage, &wanted).unwrap();
        std::fs::write(&wanted.path, "theirs").unwrap();
        let why = write(&storage, &wanted, &looked).unwrap_err();
        assert!(why.contains("was changed meanwhile"), "{why}");
        assert_eq!(std::fs::read_to_string(&wanted.path).unwrap(), "theirs");
    }
}
