//! A host in memory, with faults on demand: what the core meets when disks fail and other programs write too.

use bytes::Bytes;
use clawgate_config::Node;
use clawgate_config::include::NoFiles;
use clawgate_config::reload::Mode;
use clawgate_config::service::{self, Change, Context};
use clawgate_proto::Host;
use clawgate_proto::host::config::{
    ConfigAnswer, ConfigFault, ConfigNews, ConfigOp, ConfigOutcome, ConfigTrouble, ConfigWrite,
    ConfigWritten, LiveConfig,
};
use clawgate_proto::host::files::{FileFault, FilePiece, FileRoot};
use clawgate_proto::host::{Document, HostFault, Load, StoreFault, Version, Write};
use clawgate_proto::log::Record;
use clawgate_proto::log::tail::LogSpan;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard};

/// An in-memory [`Host`]. Share it in an `Arc` between a driver and the test.
#[derive(Debug, Default)]
pub struct MemoryHost {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    documents: BTreeMap<Document, (Vec<u8>, Version)>,
    changes: u64,
    faults: VecDeque<WriteFault>,
    unreadable: BTreeSet<Document>,
    is_read_only: bool,
    is_held: bool,
    writes: u64,
    system_info: Option<Bytes>,
    load: Option<Load>,
    loads: u64,
    beats: u64,
    records: Vec<Record>,
    log: Option<Vec<u8>>,
    whois: BTreeMap<IpAddr, String>,
    whois_asked: u64,
    can_restart: bool,
    restarts: u64,
    /// The configuration file, once there is one to ask for.
    config: Option<ConfigFile>,
    files: BTreeMap<(FileRoot, String), (Vec<u8>, Version)>,
    file_reads: u64,
    /// Changes of files that nobody has looked for since; nothing while nobody looks.
    file_changes: Option<u64>,
    unwatchable: bool,
}

#[derive(Debug)]
struct ConfigFile {
    text: Option<Vec<u8>>,
    /// What was told last.
    told: Option<Vec<u8>>,
    live: Option<LiveConfig>,
    restart: Vec<String>,
    /// Whether the next change asks for a restart.
    restart_now: bool,
    /// What is wrong with the file after the next change.
    fault: Option<ConfigTrouble>,
    /// How often a look still finds it unsettled.
    unsettled: u32,
    checks: u64,
}

/// What happens to the next write.
#[derive(Clone, Debug, PartialEq, Eq)]
enum WriteFault {
    /// Nothing is written.
    Fails(String),
    /// Nothing is written: somebody else was faster.
    Conflicts,
    /// Only the first document is written, then it fails: a rename that did not follow the other.
    FailsHalfway(String),
}

impl MemoryHost {
    /// A host without documents, whose writes succeed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next write changes nothing and fails. Several calls add up.
    pub fn fail_next_write(&self, why: &str) {
        self.state().faults.push_back(WriteFault::Fails(why.to_owned()));
    }

    /// The next write changes nothing and reports a conflict.
    pub fn conflict_next_write(&self) {
        self.state().faults.push_back(WriteFault::Conflicts);
    }

    /// The next write puts its first document in place and fails before the second.
    pub fn fail_next_write_halfway(&self, why: &str) {
        self.state().faults.push_back(WriteFault::FailsHalfway(why.to_owned()));
    }

    /// Forgets every fault that was called for and has not struck.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Whether every write fails from now on, as on a read-only file system.
    pub fn set_read_only(&self, is_read_only: bool) {
        self.state().is_read_only = is_read_only;
    }

    /// Whether looking at and reading this document fails from now on.
    pub fn set_unreadable(&self, document: Document, is_unreadable: bool) {
        let mut state = self.state();
        if is_unreadable {
            state.unreadable.insert(document);
        } else {
            state.unreadable.remove(&document);
        }
    }

    /// Whether calls about documents wait from now on, as on a disk that has fallen asleep. For drivers: in memory
    /// there is nobody else who could release them.
    pub fn hold(&self, is_held: bool) {
        self.state().is_held = is_held;
        self.released.notify_all();
    }

    /// Somebody else writes this document.
    pub fn edit(&self, document: Document, content: impl Into<Vec<u8>>) {
        self.state().put(document, content.into());
    }

    /// Somebody else removes this document.
    pub fn remove(&self, document: Document) {
        self.state().documents.remove(&document);
    }

    /// What a document holds now.
    pub fn content(&self, document: Document) -> Option<Vec<u8>> {
        self.state().documents.get(&document).map(|(content, _)| content.clone())
    }

    /// Successful calls of [`Host::write`] so far.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// What [`Host::system_info`] answers; before this is called it fails.
    pub fn set_system_info(&self, object: impl Into<Bytes>) {
        self.state().system_info = Some(object.into());
    }

    /// What [`Host::load`] answers; before this is called it fails.
    pub fn set_load(&self, load: Load) {
        self.state().load = Some(load);
    }

    /// Calls of [`Host::load`] so far.
    pub fn loads(&self) -> u64 {
        self.state().loads
    }

    /// What the file of the log holds; before this is called there is none.
    pub fn set_log(&self, content: impl Into<Vec<u8>>) {
        self.state().log = Some(content.into());
    }

    /// Whose address of the tailnet this is; before this is called its daemon does not know.
    pub fn set_whois(&self, ip: impl Into<IpAddr>, login: &str) {
        self.state().whois.insert(ip.into(), login.to_owned());
    }

    /// Calls of [`Host::whois`] so far.
    pub fn whois_asked(&self) -> u64 {
        self.state().whois_asked
    }

    /// Whether [`Host::prepare_restart`] succeeds; before this is called it fails.
    pub fn set_can_restart(&self, can_restart: bool) {
        self.state().can_restart = can_restart;
    }

    /// Successful calls of [`Host::prepare_restart`] so far.
    pub fn restarts(&self) -> u64 {
        self.state().restarts
    }

    /// From now on there is a configuration file to ask for; `None` is one that is not there. Somebody else writes it.
    pub fn edit_config(&self, text: Option<&str>) {
        let text = text.map(|text| text.as_bytes().to_vec());
        let mut state = self.state();
        match &mut state.config {
            Some(config) => config.text = text,
            None => {
                state.config = Some(ConfigFile {
                    told: text.clone(),
                    text,
                    live: None,
                    restart: Vec::new(),
                    restart_now: false,
                    fault: None,
                    unsettled: 0,
                    checks: 0,
                });
            }
        }
    }

    /// What the configuration file holds.
    pub fn config_text(&self) -> Option<String> {
        let state = self.state();
        let text = state.config.as_ref().and_then(|config| config.text.clone());
        text.map(|text| String::from_utf8(text).expect("what was written is text"))
    }

    /// What the gateway takes over with the next change of the configuration file.
    pub fn set_live_config(&self, live: LiveConfig) {
        let mut state = self.state();
        let config = state.config.as_mut().expect("there is a configuration file");
        config.live = Some(live);
    }

    /// What waits for a restart after the next change of the configuration file.
    pub fn set_restart_needed(&self, paths: &[&str]) {
        let mut state = self.state();
        let config = state.config.as_mut().expect("there is a configuration file");
        config.restart = paths.iter().map(|path| (*path).to_owned()).collect();
    }

    /// Whether the next changes of the configuration file ask for a restart.
    pub fn set_config_restarts(&self, restart_now: bool) {
        self.state().config.as_mut().expect("there is a configuration file").restart_now = restart_now;
    }

    /// What is wrong with the configuration file after its next change.
    pub fn set_config_fault(&self, fault: Option<ConfigTrouble>) {
        self.state().config.as_mut().expect("there is a configuration file").fault = fault;
    }

    /// The configuration file is still written for so many looks.
    pub fn unsettle_config(&self, looks: u32) {
        self.state().config.as_mut().expect("there is a configuration file").unsettled = looks;
    }

    /// Looks at the configuration file so far.
    pub fn config_checks(&self) -> u64 {
        self.state().config.as_ref().map_or(0, |config| config.checks)
    }

    /// Somebody puts a file below a root, or another in its place.
    pub fn put_file(&self, root: FileRoot, path: &str, content: impl Into<Vec<u8>>) {
        let mut state = self.state();
        state.changes += 1;
        let version = Version([2, state.changes, 0, 0]);
        state.files.insert((root, path.to_owned()), (content.into(), version));
        state.file_changes = state.file_changes.map(|changes| changes + 1);
    }

    /// Somebody removes a file.
    pub fn remove_file(&self, root: FileRoot, path: &str) {
        let mut state = self.state();
        state.files.remove(&(root, path.to_owned()));
        state.file_changes = state.file_changes.map(|changes| changes + 1);
    }

    /// Calls of [`Host::file`] so far.
    pub fn file_reads(&self) -> u64 {
        self.state().file_reads
    }

    /// Whether somebody looks for changes of files.
    pub fn is_watching_files(&self) -> bool {
        self.state().file_changes.is_some()
    }

    /// From now on files cannot be watched.
    pub fn refuse_to_watch_files(&self) {
        self.state().unwatchable = true;
    }

    /// How often the gateway said that it lives.
    pub fn beats(&self) -> u64 {
        self.state().beats
    }

    /// Every log record so far.
    pub fn records(&self) -> Vec<Record> {
        self.state().records.clone()
    }

    /// Whether a record of that event was logged.
    pub fn has_logged(&self, event: &str) -> bool {
        self.state().records.iter().any(|record| record.event == event)
    }

    /// The state, once nobody holds it back.
    fn awake(&self) -> MutexGuard<'_, State> {
        let state = self.state();
        self.released.wait_while(state, |state| state.is_held).expect("nobody panics while holding it")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

impl ConfigFile {
    fn perform(&mut self, op: &ConfigOp, is_read_only: bool) -> Result<ConfigOutcome, ConfigFault> {
        let context = Context {
            path: CONFIG_PATH,
            files: &NoFiles,
            variables: &|_| None,
            now: "2026-01-01T00:00:00.000Z",
            secrets: &[],
        };
        let answer = match op {
            ConfigOp::Get => {
                ConfigAnswer::Snapshot(Box::new(service::snapshot(self.text.as_deref(), &context).0))
            }
            ConfigOp::Set(write) => {
                self.change(Change::Replace, write, "config.set", &context, is_read_only)?
            }
            ConfigOp::Apply(write) => {
                self.change(Change::Replace, write, "config.apply", &context, is_read_only)?
            }
            ConfigOp::Patch(write) => {
                self.change(Change::Patch, write, "config.patch", &context, is_read_only)?
            }
            ConfigOp::Schema => ConfigAnswer::Json(service::schema("test", context.now)),
            ConfigOp::Lookup(path) => ConfigAnswer::Json(service::lookup(path)?),
            ConfigOp::Check => {
                self.checks += 1;
                if self.unsettled > 0 {
                    self.unsettled -= 1;
                    return Ok(ConfigOutcome { answer: ConfigAnswer::Unsettled, news: None });
                }
                ConfigAnswer::Checked
            }
            ConfigOp::Reload => ConfigAnswer::Reloaded(self.live.take().map(Box::new)),
        };
        let mut news = None;
        if self.text != self.told {
            self.told.clone_from(&self.text);
            let hash = service::hash(self.text.as_deref().unwrap_or_default());
            let live = self.live.take();
            let text = self.text.as_deref().and_then(|text| str::from_utf8(text).ok());
            let hot_reload =
                text.and_then(|text| Node::parse(text).ok()).is_none_or(|node| Mode::of(&node) != Mode::Off);
            news = Some(Box::new(ConfigNews {
                path: CONFIG_PATH.to_owned(),
                hash,
                ts: 1,
                restart: self.restart.clone(),
                live,
                hot_reload,
                restart_now: self.restart_now,
                fault: self.fault.clone(),
            }));
        }
        Ok(ConfigOutcome { answer, news })
    }

    fn change(
        &mut self,
        change: Change,
        write: &ConfigWrite,
        method: &'static str,
        context: &Context<'_>,
        is_read_only: bool,
    ) -> Result<ConfigAnswer, ConfigFault> {
        let edited = service::change(change, write, self.text.as_deref(), context)?;
        if is_read_only {
            return Err(ConfigFault::Failed("read-only file system".to_owned()));
        }
        self.text = Some(edited.text.into_bytes());
        Ok(ConfigAnswer::Written(Box::new(ConfigWritten {
            method,
            path: CONFIG_PATH.to_owned(),
            config: edited.loaded.shown_config().to_json(),
            restart: Vec::new(),
            restarts: self.restart_now,
            note: write.note.clone(),
            session_key: write.session_key.clone(),
            pid: 1,
            ts: 1,
        })))
    }
}

const CONFIG_PATH: &str = "/home/gw/.openclaw/openclaw.json";

impl Host for MemoryHost {
    fn version(&self, document: Document) -> Result<Version, HostFault> {
        let state = self.awake();
        state.check_readable(document)?;
        Ok(state.version(document))
    }

    fn read(&self, document: Document) -> Result<Option<(Vec<u8>, Version)>, HostFault> {
        let state = self.awake();
        state.check_readable(document)?;
        Ok(state.documents.get(&document).cloned())
    }

    fn write(&self, writes: &[Write<'_>]) -> Result<Vec<Version>, StoreFault> {
        let mut state = self.awake();
        if state.is_read_only {
            return Err(StoreFault::Failed("read-only file system".to_owned()));
        }
        let fault = state.faults.pop_front();
        match &fault {
            Some(WriteFault::Fails(why)) => return Err(StoreFault::Failed(why.clone())),
            Some(WriteFault::Conflicts) => return Err(StoreFault::Conflict),
            Some(WriteFault::FailsHalfway(_)) | None => {}
        }
        let differs =
            |write: &Write<'_>| write.expected.is_some_and(|mark| mark != state.version(write.document));
        if writes.iter().any(differs) {
            return Err(StoreFault::Conflict);
        }
        let mut marks = Vec::with_capacity(writes.len());
        for write in writes {
            if let (Some(WriteFault::FailsHalfway(why)), 1..) = (&fault, marks.len()) {
                return Err(StoreFault::Failed(why.clone()));
            }
            marks.push(state.put(write.document, write.content.to_vec()));
        }
        if let Some(WriteFault::FailsHalfway(why)) = fault {
            return Err(StoreFault::Failed(why));
        }
        state.writes += 1;
        Ok(marks)
    }

    fn exec_approvals_path(&self) -> Result<String, HostFault> {
        Ok("/home/gw/.openclaw/exec-approvals.json".to_owned())
    }

    fn system_info(&self) -> Result<Bytes, HostFault> {
        self.state().system_info.clone().ok_or_else(|| HostFault("nothing is known".to_owned()))
    }

    fn load(&self) -> Result<Load, HostFault> {
        let mut state = self.state();
        state.loads += 1;
        state.load.ok_or_else(|| HostFault("nothing is measured".to_owned()))
    }

    fn whois(&self, ip: IpAddr) -> Result<String, HostFault> {
        let mut state = self.awake();
        state.whois_asked += 1;
        state.whois.get(&ip).cloned().ok_or_else(|| HostFault("tailscaled does not know it".to_owned()))
    }

    fn log_span(&self) -> Result<LogSpan, HostFault> {
        let state = self.state();
        let log = state.log.as_ref().ok_or_else(|| HostFault("no log is kept".to_owned()))?;
        Ok(LogSpan { file: "test.log".to_owned(), start: 0, end: log.len() as u64 })
    }

    fn read_log(&self, _: &LogSpan, start: u64, bytes: usize) -> Result<Vec<u8>, HostFault> {
        let state = self.state();
        let log = state.log.as_deref().unwrap_or_default();
        Ok(log.iter().skip(usize::try_from(start).unwrap_or(usize::MAX)).take(bytes).copied().collect())
    }

    fn file(&self, root: FileRoot, path: &str, start: u64, bytes: usize) -> Result<FilePiece, FileFault> {
        let mut state = self.awake();
        state.file_reads += 1;
        if let Some((content, version)) = state.files.get(&(root, path.to_owned())) {
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            let piece = content.iter().skip(start).take(bytes).copied().collect();
            return Ok(FilePiece {
                bytes: content.len() as u64,
                modified_ms: Some(1_790_000_000_000),
                version: *version,
                piece,
            });
        }
        let folder = format!("{path}/");
        let mut below = state.files.keys().filter(|(of, _)| *of == root).peekable();
        if below.peek().is_none() {
            return Err(FileFault::Nothing);
        }
        let is_folder = below.any(|(_, name)| name.starts_with(&folder));
        Err(if is_folder { FileFault::Folder } else { FileFault::Missing })
    }

    fn look_at_files(&self, _: FileRoot) -> Result<bool, HostFault> {
        let mut state = self.awake();
        if state.unwatchable {
            return Err(HostFault("there are no watches left".to_owned()));
        }
        Ok(state.file_changes.replace(0).is_some_and(|changes| changes > 0))
    }

    fn leave_files(&self, _: FileRoot) {
        self.state().file_changes = None;
    }

    fn prepare_restart(&self) -> Result<(), HostFault> {
        let mut state = self.state();
        if !state.can_restart {
            return Err(HostFault("nobody would start it again".to_owned()));
        }
        state.restarts += 1;
        Ok(())
    }

    fn config(&self, op: &ConfigOp) -> Result<ConfigOutcome, ConfigFault> {
        let mut state = self.awake();
        let is_read_only = state.is_read_only;
        match &mut state.config {
            Some(config) => config.perform(op, is_read_only),
            None => Err(ConfigFault::Failed("this host has no configuration file".to_owned())),
        }
    }

    fn beat(&self) {
        self.state().beats += 1;
    }

    fn log(&self, record: &Record) {
        self.state().records.push(record.clone());
    }
}

impl State {
    fn version(&self, document: Document) -> Version {
        self.documents.get(&document).map_or(Version::MISSING, |(_, version)| *version)
    }

    fn put(&mut self, document: Document, content: Vec<u8>) -> Version {
        self.changes += 1;
        let version = Version([1, self.changes, 0, 0]);
        self.documents.insert(document, (content, version));
        version
    }

    fn check_readable(&self, document: Document) -> Result<(), HostFault> {
        if self.unreadable.contains(&document) {
            return Err(HostFault(format!("{} cannot be read: input/output error", document.path())));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use Document::{DevicesPaired as PAIRED, DevicesPending as PENDING};

    fn put(document: Document, expected: Option<Version>, content: &'static str) -> Write<'static> {
        Write { document, expected, content: content.as_bytes() }
    }

    #[test]
    fn writes_are_checked_against_what_is_there() {
        let host = MemoryHost::new();
        assert_eq!(host.version(PAIRED), Ok(Version::MISSING));
        assert_eq!(host.read(PAIRED), Ok(None));
        let first = host.write(&[put(PAIRED, Some(Version::MISSING), "1")]).unwrap()[0];
        assert_eq!(host.read(PAIRED), Ok(Some((b"1".to_vec(), first))));
        host.edit(PAIRED, "2");
        assert_ne!(host.version(PAIRED), Ok(first));
        let both = [put(PENDING, None, "3"), put(PAIRED, Some(first), "3")];
        assert_eq!(host.write(&both), Err(StoreFault::Conflict));
        assert_eq!((host.content(PAIRED), host.content(PENDING)), (Some(b"2".to_vec()), None));
        host.remove(PAIRED);
        assert_eq!(host.version(PAIRED), Ok(Version::MISSING));
        assert_eq!(host.writes(), 1);
    }

    #[test]
    fn faults_strike_once_and_in_order() {
        let host = MemoryHost::new();
        host.fail_next_write("disk full");
        host.conflict_next_write();
        host.fail_next_write_halfway("power");
        let write = || host.write(&[put(PAIRED, None, "1"), put(PENDING, None, "1")]);
        assert_eq!(write(), Err(StoreFault::Failed("disk full".to_owned())));
        assert_eq!(write(), Err(StoreFault::Conflict));
        assert_eq!(host.content(PAIRED), None);
        assert_eq!(write(), Err(StoreFault::Failed("power".to_owned())));
        assert_eq!((host.content(PAIRED).is_some(), host.content(PENDING)), (true, None));
        assert_eq!(write().unwrap().len(), 2);
        host.set_read_only(true);
        assert!(write().is_err());
        host.set_read_only(false);
        assert!(write().is_ok());
    }

    #[test]
    fn unreadable_means_neither_looked_at_nor_read() {
        let host = MemoryHost::new();
        host.edit(PENDING, "{}");
        host.set_unreadable(PENDING, true);
        assert!(host.version(PENDING).is_err() && host.read(PENDING).is_err());
        assert!(host.version(PAIRED).is_ok());
        host.set_unreadable(PENDING, false);
        assert!(host.read(PENDING).unwrap().is_some());
    }
}
