//! The file of exec approvals on this machine, `~/.openclaw/exec-approvals.json`: read for each decision, changed only
//! on top of what is there (spec: methods section 8). A file that cannot be read allows nothing, and is not written
//! over.

use super::invoke::Fault;
use super::policy::{self, Fallback, Policy};
use crate::entropy;
use crate::storage::{Put, PutFault, RealDisk, Storage};
use clawgate_proto::host::Version;
use clawgate_proto::seed::{Random, Seed};
use clawgate_proto::store::approvals;
use serde_json::Value;
use std::path::PathBuf;

/// The file.
#[derive(Debug)]
pub struct ApprovalsFile {
    storage: Storage<RealDisk>,
    path: PathBuf,
    fallback: Fallback,
}

impl ApprovalsFile {
    /// At this path; `fallback` holds where it says nothing.
    pub fn new(storage: Storage<RealDisk>, path: PathBuf, fallback: Fallback) -> Self {
        Self { storage, path, fallback }
    }

    /// The policy for an agent.
    ///
    /// # Errors
    /// The file is there and cannot be read: nothing may run. A sentence for a person.
    pub fn policy(&self, agent: &str) -> Result<Policy, String> {
        let (text, _) = self.read()?;
        let file = match text {
            None => Value::Null,
            Some(text) => self.parse(&text)?,
        };
        Ok(Policy::of(&file, agent, &self.fallback))
    }

    /// The payload of `system.execApprovals.get`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn get(&self) -> Result<Value, Fault> {
        let (text, _) = self.read().map_err(Fault::unavailable)?;
        self.shown(text.as_deref())
    }

    /// The payload of `system.execApprovals.set`, when the change is durable.
    ///
    /// # Errors
    /// It was not made from what is there, is too large, or cannot be written.
    pub fn set(&self, file: &Value, base_hash: Option<&str>) -> Result<Value, Fault> {
        if file.to_string().len() > FILE_BYTES_MAX {
            return Err(Fault::invalid(&format!("exec approvals larger than {FILE_BYTES_MAX} bytes")));
        }
        self.change(|text| {
            approvals::check_base(text, base_hash).map_err(Fault::invalid)?;
            Ok(file.clone())
        })
    }

    /// Adds a program to what an agent may run.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn remember(&self, agent: &str, pattern: &str, command: &str, now_ms: u64) -> Result<(), Fault> {
        let add = |text: Option<&[u8]>| {
            let file = match text {
                None => serde_json::json!({ "version": 1 }),
                Some(text) => self.parse(text).map_err(Fault::unavailable)?,
            };
            Ok(policy::with_entry(&file, agent, pattern, command, now_ms))
        };
        self.change(add).map(|_| ())
    }

    /// Writes what `make` makes of the text that is there, again when somebody else wrote meanwhile.
    fn change(&self, make: impl Fn(Option<&[u8]>) -> Result<Value, Fault>) -> Result<Value, Fault> {
        for _ in 0..TRIES {
            let (text, mark) = self.read().map_err(Fault::unavailable)?;
            let file = make(text.as_deref())?;
            let mut random = Random::new(Seed::new(entropy::bytes()));
            let name = self.path.to_string_lossy();
            let content =
                approvals::render(&name, text.as_deref(), &file, &mut random).map_err(Fault::unavailable)?;
            match self.storage.put(&[Put { path: &self.path, expected: Some(mark), content: &content }]) {
                Ok(_) => return self.shown(Some(&content)),
                Err(PutFault::Conflict(_)) => {}
                Err(PutFault::Failed(why)) => return Err(Fault::unavailable(why)),
            }
        }
        Err(Fault::unavailable(format!("{} keeps changing", self.path.display())))
    }

    fn read(&self) -> Result<(Option<Vec<u8>>, Version), String> {
        Ok(match self.storage.read(&self.path)? {
            Some((text, mark)) => (Some(text), mark),
            None => (None, Version::MISSING),
        })
    }

    fn parse(&self, text: &[u8]) -> Result<Value, String> {
        let file: Option<Value> = serde_json::from_slice(text).ok();
        let file =
            file.filter(|file| file.is_object() && (file["version"].is_null() || file["version"] == 1));
        file.ok_or_else(|| {
            format!("{} is not the expected JSON, so nothing may run: mend it", self.path.display())
        })
    }

    fn shown(&self, text: Option<&[u8]>) -> Result<Value, Fault> {
        let shown = approvals::snapshot(&self.path.to_string_lossy(), text).map_err(Fault::unavailable)?;
        serde_json::from_slice(&shown).map_err(|_| Fault::unavailable("exec approvals cannot be shown"))
    }
}

/// Of a change, as at the gateway.
const FILE_BYTES_MAX: usize = 64 * 1024;
const TRIES: usize = 5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::policy::Security;
    use super::*;
    use crate::scratch::Folder;
    use serde_json::json;
    use std::fs;

    fn file(folder: &Folder) -> ApprovalsFile {
        let path = folder.path().join(".openclaw/exec-approvals.json");
        ApprovalsFile::new(Storage::new(RealDisk, 1), path, Fallback::default())
    }

    #[test]
    fn it_is_made_changed_and_shown() {
        let folder = Folder::new();
        let file = file(&folder);
        assert_eq!(file.policy("main").unwrap().security, Security::Allowlist);
        let before = file.get().unwrap();
        assert_eq!(before["exists"], false);
        file.remember("main", "/usr/bin/id", "/usr/bin/id -u", 7).unwrap();
        assert_eq!(file.policy("main").unwrap().allowlist, ["/usr/bin/id"]);
        assert_eq!(file.policy("other").unwrap().allowlist, [""; 0]);
        let now = file.get().unwrap();
        assert!(now["file"]["agents"]["main"]["allowlist"][0]["id"].is_string(), "{now}");
        let new = json!({"version": 1, "defaults": {"security": "deny"}});
        let late = file.set(&new, before["hash"].as_str()).unwrap_err();
        assert!(late.message.contains("changed since last load"), "{late:?}");
        let set = file.set(&new, now["hash"].as_str()).unwrap();
        assert_eq!(set, file.get().unwrap());
        assert_eq!(file.policy("main").unwrap().security, Security::Deny);
        let large = json!({"version": 1, "x": "x".repeat(FILE_BYTES_MAX)});
        assert!(file.set(&large, set["hash"].as_str()).unwrap_err().message.contains("larger"));
    }

    /// Compatibility row node-file.
    #[test]
    fn a_broken_file_allows_nothing_and_stays_as_it_is() {
        for broken in ["{", "[]", "{\"version\": 2}", "null"] {
            let folder = Folder::new();
            let file = file(&folder);
            fs::create_dir_all(file.path.parent().unwrap()).unwrap();
            fs::write(&file.path, broken).unwrap();
            assert!(file.policy("main").unwrap_err().contains("nothing may run"), "{broken}");
            assert!(file.remember("main", "/x", "/x", 1).is_err());
            assert_eq!(fs::read_to_string(&file.path).unwrap(), broken);
        }
    }
}
