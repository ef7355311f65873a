//! What the core asks of the machine, answered with ordinary blocking code: the device store on the disk, facts
//! about the machine, the log. Drivers call this off the gateway's lock.

pub mod cgroup;
pub mod facts;
pub mod files;
pub(crate) mod watch;

use crate::accounts::Keeper;
use crate::config::live::LiveFile;
use crate::log::Logger;
use crate::storage::{Disk, Put, PutFault, Storage};
use crate::tailscale::Tailscaled;
use bytes::Bytes;
use clawgate_proto::Host;
use clawgate_proto::host::config::{ConfigFault, ConfigOp, ConfigOutcome};
use clawgate_proto::host::files::{FileFault, FilePiece, FileRoot};
use clawgate_proto::host::{ChannelAccount, Document, HostFault, Load, StoreFault, Version, Write};
use clawgate_proto::log::Record;
use clawgate_proto::log::tail::LogSpan;
use facts::Facts;
use files::Files;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The host of one state folder.
#[derive(Debug)]
pub struct StateHost<D> {
    storage: Arc<Storage<D>>,
    state_dir: PathBuf,
    /// `exec-approvals.json`: in the home folder, wherever the state folder is.
    approvals: Option<PathBuf>,
    facts: Facts,
    logger: Arc<Logger>,
    accounts: Option<Keeper>,
    restart: Arc<AtomicBool>,
    may_restart: Option<RestartCheck>,
    beat: Option<Beat>,
    config: Option<LiveFile<D>>,
    tailscaled: Tailscaled,
    files: Arc<Files>,
}

/// Whether the program could start again; if not, why.
struct RestartCheck(Box<dyn Fn() -> Result<(), String> + Send + Sync>);

/// What to do when the gateway says that it lives.
struct Beat(Box<dyn Fn() + Send + Sync>);

impl core::fmt::Debug for Beat {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Beat")
    }
}

impl core::fmt::Debug for RestartCheck {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RestartCheck")
    }
}

impl<D: Disk> StateHost<D> {
    /// A host whose documents live below `state_dir`.
    pub fn new(storage: Arc<Storage<D>>, state_dir: PathBuf, facts: Facts, logger: Arc<Logger>) -> Self {
        Self {
            storage,
            state_dir,
            approvals: None,
            facts,
            logger,
            accounts: None,
            restart: Arc::default(),
            may_restart: None,
            beat: None,
            config: None,
            tailscaled: Tailscaled::default(),
            files: Arc::default(),
        }
    }

    /// The same in this person's home folder.
    pub fn with_home(mut self, home: &Path) -> Self {
        self.approvals = Some(home.join(".openclaw/exec-approvals.json"));
        self
    }

    /// The same with accounts to own, for as long as it lives.
    pub fn with_accounts(self, accounts: Keeper) -> Self {
        Self { accounts: Some(accounts), ..self }
    }

    /// The same host, which also keeps a configuration file.
    pub fn with_config(mut self, config: LiveFile<D>) -> Self {
        self.config = Some(config);
        self
    }

    /// Has somebody told, from now on, when the configuration file may have been changed. Where the system cannot tell, it
    /// is only looked at every so often.
    pub fn watch_config(&self, tell: impl Fn() + Send + 'static) {
        if let Some(config) = &self.config {
            config.watch(tell);
        }
    }

    /// The same host, which asks before a restart whether the program could start again.
    pub fn with_restart_check(self, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { may_restart: Some(RestartCheck(Box::new(check))), ..self }
    }

    /// The same host, which does this whenever the gateway says that it lives.
    pub fn with_beat(self, beat: impl Fn() + Send + Sync + 'static) -> Self {
        Self { beat: Some(Beat(Box::new(beat))), ..self }
    }

    /// The same host, which asks this daemon who is who in the tailnet.
    pub fn with_tailscaled(self, tailscaled: Tailscaled) -> Self {
        Self { tailscaled, ..self }
    }

    /// The same host, which serves these files.
    pub fn with_files(self, files: Arc<Files>) -> Self {
        Self { files, ..self }
    }

    /// The files that are served.
    pub fn files(&self) -> Arc<Files> {
        Arc::clone(&self.files)
    }

    /// Whether the program is to start again when the run has ended; the gateway or a signal decides.
    pub fn restart(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.restart)
    }

    fn path(&self, document: Document) -> Result<PathBuf, HostFault> {
        match document {
            Document::DevicesPaired
            | Document::DevicesPending
            | Document::DevicesSetup
            | Document::Nodes
            | Document::NodeRequests
            | Document::VoiceWake => Ok(self.state_dir.join(document.path())),
            Document::ExecApprovals => self.approvals.clone().ok_or_else(|| {
                HostFault("there is no home folder to keep exec approvals in; set HOME".to_owned())
            }),
        }
    }
}

impl<D: Disk> Host for StateHost<D> {
    fn version(&self, document: Document) -> Result<Version, HostFault> {
        self.storage.mark(&self.path(document)?).map_err(HostFault)
    }

    fn read(&self, document: Document) -> Result<Option<(Vec<u8>, Version)>, HostFault> {
        self.storage.read_durable(&self.path(document)?).map_err(HostFault)
    }

    fn write(&self, writes: &[Write<'_>]) -> Result<Vec<Version>, StoreFault> {
        let paths: Result<Vec<PathBuf>, HostFault> =
            writes.iter().map(|write| self.path(write.document)).collect();
        let paths = paths.map_err(|HostFault(why)| StoreFault::Failed(why))?;
        let puts: Vec<Put<'_>> = writes
            .iter()
            .zip(&paths)
            .map(|(write, path)| Put { path, expected: write.expected, content: write.content })
            .collect();
        self.storage.put(&puts).map_err(|fault| match fault {
            PutFault::Conflict(_) => StoreFault::Conflict,
            PutFault::Failed(why) => StoreFault::Failed(why),
        })
    }

    fn system_info(&self) -> Result<Bytes, HostFault> {
        self.facts
            .system_info(&self.state_dir)
            .map(|info| Bytes::from(info.to_string()))
            .map_err(|why| HostFault(format!("the system's facts cannot be read: {why}")))
    }

    fn exec_approvals_path(&self) -> Result<String, HostFault> {
        self.path(Document::ExecApprovals).map(|path| path.display().to_string())
    }

    fn load(&self) -> Result<Load, HostFault> {
        facts::load().map_err(|why| HostFault(format!("this process's load cannot be read: {why}")))
    }

    fn config(&self, op: &ConfigOp) -> Result<ConfigOutcome, ConfigFault> {
        match &self.config {
            Some(config) => config.perform(op),
            None => Err(ConfigFault::Failed("this gateway has no configuration file".to_owned())),
        }
    }

    fn channels(&self) -> Result<Vec<ChannelAccount>, HostFault> {
        Ok(self.accounts.as_ref().map(Keeper::accounts).unwrap_or_default())
    }

    fn whois(&self, ip: IpAddr) -> Result<String, HostFault> {
        self.tailscaled.whois(ip).map_err(|why| HostFault(format!("tailscaled: {why}")))
    }

    fn log_span(&self) -> Result<LogSpan, HostFault> {
        self.logger.span()
    }

    fn read_log(&self, span: &LogSpan, start: u64, bytes: usize) -> Result<Vec<u8>, HostFault> {
        self.logger.read(span, start, bytes)
    }

    fn file(&self, root: FileRoot, path: &str, start: u64, bytes: usize) -> Result<FilePiece, FileFault> {
        self.files.read(root, path, start, bytes)
    }

    fn look_at_files(&self, root: FileRoot) -> Result<bool, HostFault> {
        self.files.look(root)
    }

    fn leave_files(&self, _: FileRoot) {
        self.files.leave();
    }

    fn prepare_restart(&self) -> Result<(), HostFault> {
        if let Some(config) = &self.config {
            config.may_restart().map_err(HostFault)?;
        }
        if let Some(RestartCheck(check)) = &self.may_restart {
            check().map_err(HostFault)?;
        }
        self.restart.store(true, Ordering::Release);
        Ok(())
    }

    fn beat(&self) {
        if let Some(Beat(beat)) = &self.beat {
            beat();
        }
    }

    fn log(&self, record: &Record) {
        self.logger.log(record);
    }
}
