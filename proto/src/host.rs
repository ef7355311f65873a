//! What the core asks of the host, and the trait the program answers with: ordinary blocking code, written
//! once, run off the lock by each driver.

pub mod config;
pub mod files;

use crate::dialect::{self, Dialect};
use crate::log::Record;
use crate::log::tail::{self, LogSpan};
use crate::methods::system_params::LogsTail;
use crate::seed::{Random, Seed};
use crate::store::{self, Devices, approvals, voicewake};
use crate::wizard::Draft;
use bytes::Bytes;
use config::{ConfigAnswer, ConfigFault, ConfigNews, ConfigOp, ConfigOutcome, LiveConfig};
use core::net::IpAddr;
use serde_json::Value;
use std::sync::Arc;

/// A question or an order for the host. Answered by a [`HostAnswer`] with the same ticket.
#[derive(Clone, Debug)]
pub enum HostRequest {
    /// Is the device store on disk still what we know? Answered by [`HostAnswer::Devices`].
    CheckDevices {
        /// The versions behind the store in memory; `None` for a document never read.
        known: DevicesVersion,
    },
    /// Make these documents durable, unless the disk has moved on. Answered by [`HostAnswer::Stored`].
    StoreDevices {
        /// The versions the new content was made from.
        expected: DevicesVersion,
        /// The whole new content.
        devices: Arc<Devices>,
        /// Whether `devices/paired.json` changed.
        paired: bool,
        /// Whether `devices/pending.json` changed.
        pending: bool,
        /// Whether `devices/bootstrap.json` changed.
        setup: bool,
        /// Whether `nodes/paired.json` changed.
        nodes: bool,
        /// Whether `nodes/pending.json` changed.
        node_requests: bool,
    },
    /// Facts for `system.info`. Answered by [`HostAnswer::SystemInfo`].
    SystemInfo,
    /// The file of approvals, for `exec.approvals.get`. Answered by [`HostAnswer::ExecApprovals`].
    ExecApprovals,
    /// Make this file of approvals durable, for `exec.approvals.set`. Answered by [`HostAnswer::ExecApprovalsStored`].
    StoreExecApprovals {
        /// The new file, as the peer sent it.
        file: Arc<Value>,
        /// Of the text that it was made from.
        base_hash: Option<String>,
        /// For ids that are missing.
        seed: Seed,
    },
    /// What this process uses. Answered by [`HostAnswer::Load`].
    Load,
    /// The messenger accounts, and who owns them. Answered by [`HostAnswer::Channels`].
    Channels,
    /// Whose machine of the tailnet has this address? Answered by [`HostAnswer::WhoIs`].
    WhoIs {
        /// The address.
        ip: IpAddr,
    },
    /// The end of the log. Answered by [`HostAnswer::LogsTail`].
    LogsTail(LogsTail),
    /// Which words wake. Answered by [`HostAnswer::VoiceWake`].
    ReadVoiceWake,
    /// Make these words durable. Answered by [`HostAnswer::VoiceWake`].
    StoreVoiceWake {
        /// The words.
        triggers: Arc<[String]>,
        /// By the wall clock.
        now_ms: u64,
    },
    /// What a set-up suggests, from the configuration file. Answered by [`HostAnswer::WizardStart`].
    WizardStart,
    /// Be ready to start again when the run that is about to end has ended. Answered by [`HostAnswer::Restart`].
    PrepareRestart,
    /// The beginning of an answer made of a file. Answered by [`HostAnswer::File`].
    File(Box<files::FileRequest>),
    /// The next piece of that file. Answered by [`HostAnswer::FilePiece`].
    FilePiece {
        /// What is left of it.
        rest: files::FileRest,
        /// Not more than so many bytes.
        bytes: usize,
    },
    /// Has anything below this folder changed since this was asked last? Answered by [`HostAnswer::FilesChanged`].
    LookAtFiles(files::FileRoot),
    /// Nobody asks that any more for now. Answered by [`HostAnswer::FilesChanged`].
    LeaveFiles(files::FileRoot),
    /// Something about the configuration file. Answered by [`HostAnswer::Config`].
    Config {
        /// What.
        op: ConfigOp,
        /// The shape of the answer.
        dialect: Dialect,
    },
}

impl HostRequest {
    /// The answer that says it could not be done, for a driver whose host call ended without one.
    pub fn fault(&self, why: &str) -> HostAnswer {
        match self {
            Self::CheckDevices { .. } => HostAnswer::Devices(Err(HostFault(why.to_owned()))),
            Self::StoreDevices { .. } => HostAnswer::Stored(Err(StoreFault::Failed(why.to_owned()))),
            Self::SystemInfo => HostAnswer::SystemInfo(Err(HostFault(why.to_owned()))),
            Self::ExecApprovals => HostAnswer::ExecApprovals(Err(HostFault(why.to_owned()))),
            Self::StoreExecApprovals { .. } => {
                HostAnswer::ExecApprovalsStored(Err(ExecApprovalsFault::Failed(why.to_owned())))
            }
            Self::Load => HostAnswer::Load(Err(HostFault(why.to_owned()))),
            Self::Channels => HostAnswer::Channels(Err(HostFault(why.to_owned()))),
            Self::WhoIs { .. } => HostAnswer::WhoIs(Err(HostFault(why.to_owned()))),
            Self::LogsTail(_) => HostAnswer::LogsTail(Err(HostFault(why.to_owned()))),
            Self::ReadVoiceWake | Self::StoreVoiceWake { .. } => {
                HostAnswer::VoiceWake(Err(HostFault(why.to_owned())))
            }
            Self::WizardStart => HostAnswer::WizardStart(Err(ConfigFault::Failed(why.to_owned()))),
            Self::PrepareRestart => HostAnswer::Restart(Err(HostFault(why.to_owned()))),
            Self::File(_) => HostAnswer::File(Err(HostFault(why.to_owned()))),
            Self::FilePiece { .. } => HostAnswer::FilePiece(Err(HostFault(why.to_owned()))),
            Self::LookAtFiles(_) | Self::LeaveFiles(_) => {
                HostAnswer::FilesChanged(Err(HostFault(why.to_owned())))
            }
            Self::Config { .. } => HostAnswer::Config(Err(ConfigFault::Failed(why.to_owned()))),
        }
    }
}

/// The host's answer.
#[derive(Clone, Debug)]
pub enum HostAnswer {
    /// To [`HostRequest::CheckDevices`].
    Devices(Result<DevicesCheck, HostFault>),
    /// To [`HostRequest::StoreDevices`]: the versions now on disk.
    Stored(Result<Box<DevicesVersion>, StoreFault>),
    /// To [`HostRequest::SystemInfo`]: an encoded JSON object.
    SystemInfo(Result<Bytes, HostFault>),
    /// To [`HostRequest::ExecApprovals`]: an encoded JSON object without secrets.
    ExecApprovals(Result<Bytes, HostFault>),
    /// To [`HostRequest::StoreExecApprovals`]: the file as it is shown now.
    ExecApprovalsStored(Result<Bytes, ExecApprovalsFault>),
    /// To [`HostRequest::Load`].
    Load(Result<Load, HostFault>),
    /// To [`HostRequest::Channels`].
    Channels(Result<Vec<ChannelAccount>, HostFault>),
    /// To [`HostRequest::WhoIs`]: the login name of its user.
    WhoIs(Result<String, HostFault>),
    /// To [`HostRequest::LogsTail`]: an encoded JSON object.
    LogsTail(Result<Bytes, HostFault>),
    /// To [`HostRequest::ReadVoiceWake`] and [`HostRequest::StoreVoiceWake`]: the words now on disk.
    VoiceWake(Result<Arc<[String]>, HostFault>),
    /// To [`HostRequest::WizardStart`].
    WizardStart(Result<Box<WizardStart>, ConfigFault>),
    /// To [`HostRequest::PrepareRestart`].
    Restart(Result<(), HostFault>),
    /// To [`HostRequest::File`].
    File(Result<Box<files::FileReply>, HostFault>),
    /// To [`HostRequest::FilePiece`].
    FilePiece(Result<Bytes, HostFault>),
    /// To [`HostRequest::LookAtFiles`], and `false` to [`HostRequest::LeaveFiles`].
    FilesChanged(Result<bool, HostFault>),
    /// To [`HostRequest::Config`].
    Config(Result<ConfigDone, ConfigFault>),
}

impl HostAnswer {
    /// Whether a document was made durable for it. Of wake words only who asked knows that.
    pub(crate) fn has_written(&self) -> bool {
        match self {
            Self::Stored(outcome) => outcome.is_ok(),
            Self::ExecApprovalsStored(outcome) => outcome.is_ok(),
            Self::Config(outcome) => outcome.as_ref().is_ok_and(|done| done.written),
            Self::Devices(_)
            | Self::SystemInfo(_)
            | Self::ExecApprovals(_)
            | Self::Load(_)
            | Self::Channels(_)
            | Self::WhoIs(_)
            | Self::LogsTail(_)
            | Self::VoiceWake(_)
            | Self::WizardStart(_)
            | Self::Restart(_)
            | Self::File(_)
            | Self::FilePiece(_)
            | Self::FilesChanged(_) => false,
        }
    }
}

/// What a set-up begins with.
#[derive(Clone, Debug)]
pub struct WizardStart {
    /// What is suggested.
    pub draft: Draft,
    /// Of the configuration file's text.
    pub base_hash: String,
}

/// A messenger account that this gateway is configured for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelAccount {
    /// The channel, `whatsapp`.
    pub channel: &'static str,
    /// The account's id.
    pub account: String,
    /// Whether credentials of a session lie in its folder.
    pub linked: bool,
    /// Who on this machine owns that session.
    pub owner: AccountOwner,
}

/// Who owns an account's session: at most one process on a machine does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountOwner {
    /// This gateway.
    Us,
    /// Another process.
    Other {
        /// Its number.
        pid: u32,
        /// Its profile, when it said so.
        profile: Option<String>,
        /// The port it listens on, when it said so.
        port: Option<u16>,
    },
    /// Nobody that is known; for a person.
    Nobody {
        /// Why it is not this gateway.
        why: String,
    },
}

/// An answer about the configuration file, in its shape.
#[derive(Clone, Debug)]
pub struct ConfigDone {
    /// What a running gateway takes over, to [`ConfigOp::Reload`].
    pub live: Option<Box<LiveConfig>>,
    /// Encoded JSON; empty for [`ConfigOp::Check`].
    pub payload: Bytes,
    /// What is new.
    pub news: Option<Box<ConfigNews>>,
    /// The file was changed a moment ago: it is looked at again soon.
    pub unsettled: bool,
    /// Whether it was changed by this very request.
    pub written: bool,
}

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Processor time since it started, in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
}

/// What a check of the device store found.
#[derive(Clone, Debug)]
pub enum DevicesCheck {
    /// The disk holds what we know.
    Unchanged,
    /// Somebody else wrote; this is the disk's content now.
    Changed {
        /// Parsed content of both documents.
        devices: Arc<Devices>,
        /// Its versions.
        version: Box<DevicesVersion>,
    },
}

/// Versions of the documents of the device store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DevicesVersion {
    /// Of `devices/paired.json`.
    pub paired: Option<Version>,
    /// Of `devices/pending.json`.
    pub pending: Option<Version>,
    /// Of `devices/bootstrap.json`.
    pub setup: Option<Version>,
    /// Of `nodes/paired.json`.
    pub nodes: Option<Version>,
    /// Of `nodes/pending.json`.
    pub node_requests: Option<Version>,
}

/// An opaque mark of a file's content: equal marks mean the file was not touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub [u64; 4]);

impl Version {
    /// The mark of a file that does not exist.
    pub const MISSING: Self = Self([0; 4]);
}

/// Why the host could not do it, for a person; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFault(pub String);

/// Why a write did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// The disk no longer holds what the change was made from: check again, then redo the change.
    Conflict,
    /// The write failed; for a person.
    Failed(String),
}

/// Why the file of exec approvals was not changed; for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecApprovalsFault {
    /// It was not made from what is there.
    Refused(String),
    /// It could not be read or written.
    Failed(String),
}

/// A document of the state folder, or of the home folder where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Document {
    /// `devices/paired.json`.
    DevicesPaired,
    /// `devices/pending.json`.
    DevicesPending,
    /// `devices/bootstrap.json`.
    DevicesSetup,
    /// `nodes/paired.json`.
    Nodes,
    /// `nodes/pending.json`.
    NodeRequests,
    /// `settings/voicewake.json`.
    VoiceWake,
    /// `exec-approvals.json`, which is in `.openclaw` of the home folder wherever the state folder is.
    ExecApprovals,
}

impl Document {
    /// Its path below its folder.
    pub fn path(self) -> &'static str {
        match self {
            Self::DevicesPaired => "devices/paired.json",
            Self::DevicesPending => "devices/pending.json",
            Self::DevicesSetup => "devices/bootstrap.json",
            Self::Nodes => "nodes/paired.json",
            Self::NodeRequests => "nodes/pending.json",
            Self::VoiceWake => "settings/voicewake.json",
            Self::ExecApprovals => "exec-approvals.json",
        }
    }
}

/// One document to write.
#[derive(Debug)]
pub struct Write<'a> {
    /// Which.
    pub document: Document,
    /// What must still be on disk.
    pub expected: Option<Version>,
    /// The new content.
    pub content: &'a [u8],
}

/// The machine below the core, in terms of bytes. Every call may block; drivers run them on a small pool.
pub trait Host: Send + Sync + 'static {
    /// The mark of a document now; [`Version::MISSING`] when there is none.
    ///
    /// # Errors
    /// The file cannot be looked at.
    fn version(&self, document: Document) -> Result<Version, HostFault>;

    /// A document's bytes with their mark; `None` when there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read(&self, document: Document) -> Result<Option<(Vec<u8>, Version)>, HostFault>;

    /// Makes all documents durable (temporary file, fsync, rename, fsync of the folder), all temporary files
    /// before the first rename, and gives their new marks in the same order. Nothing is renamed when a mark
    /// differs from what is expected.
    ///
    /// # Errors
    /// A conflict, or a failure after which the disk must be read again.
    fn write(&self, writes: &[Write<'_>]) -> Result<Vec<Version>, StoreFault>;

    /// The JSON object for `system.info`.
    ///
    /// # Errors
    /// Nothing could be found out.
    fn system_info(&self) -> Result<Bytes, HostFault>;

    /// Where [`Document::ExecApprovals`] is, for people.
    ///
    /// # Errors
    /// This host has no place for it.
    fn exec_approvals_path(&self) -> Result<String, HostFault> {
        Err(HostFault("there is no home folder to keep exec approvals in".to_owned()))
    }

    /// What this process uses.
    ///
    /// # Errors
    /// It cannot be measured here.
    fn load(&self) -> Result<Load, HostFault> {
        Err(HostFault("not measured on this host".to_owned()))
    }

    /// The messenger accounts it is configured for; a host without messengers has none.
    ///
    /// # Errors
    /// It cannot tell now; a sentence for a person.
    fn channels(&self) -> Result<Vec<ChannelAccount>, HostFault> {
        Ok(Vec::new())
    }

    /// The login name of the user whose machine has this address in the tailnet, as its daemon on this machine says.
    /// Takes at most a few seconds.
    ///
    /// # Errors
    /// There is no daemon, it does not answer, or it does not know.
    fn whois(&self, ip: IpAddr) -> Result<String, HostFault> {
        let _ = ip;
        Err(HostFault("this host has no tailscaled to ask".to_owned()))
    }

    /// Where the log is, and how much there is of it.
    ///
    /// # Errors
    /// There is none, or it cannot be looked at.
    fn log_span(&self) -> Result<LogSpan, HostFault> {
        Err(HostFault("this host keeps no log".to_owned()))
    }

    /// Bytes of the log, at most `bytes` of them, from `start`. Fewer when it has shrunk meanwhile.
    ///
    /// # Errors
    /// It cannot be read.
    fn read_log(&self, span: &LogSpan, start: u64, bytes: usize) -> Result<Vec<u8>, HostFault> {
        let _ = (span, start, bytes);
        Err(HostFault("this host keeps no log".to_owned()))
    }

    /// Bytes of a file below a root, at most `bytes` of them, from `start`; with none asked for, what the file is. Only
    /// regular files count that have no other name, and no link on the way to them is followed. An empty path is the root.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    fn file(
        &self,
        root: files::FileRoot,
        path: &str,
        start: u64,
        bytes: usize,
    ) -> Result<files::FilePiece, files::FileFault> {
        let _ = (root, path, start, bytes);
        Err(files::FileFault::Nothing)
    }

    /// Whether anything below a root has changed since this was asked last. The first time begins to watch.
    ///
    /// # Errors
    /// It cannot be watched here.
    fn look_at_files(&self, root: files::FileRoot) -> Result<bool, HostFault> {
        let _ = root;
        Err(HostFault("this host does not watch files".to_owned()))
    }

    /// Ends what [`Host::look_at_files`] began.
    fn leave_files(&self, root: files::FileRoot) {
        let _ = root;
    }

    /// Remembers that the program is to start again once this run has ended.
    ///
    /// # Errors
    /// It cannot start itself again, and nobody else would.
    fn prepare_restart(&self) -> Result<(), HostFault> {
        Err(HostFault("this host cannot start the gateway again".to_owned()))
    }

    /// Works on the configuration file.
    ///
    /// # Errors
    /// It cannot be done; nothing was changed, unless the fault says so.
    fn config(&self, op: &ConfigOp) -> Result<ConfigOutcome, ConfigFault> {
        let _ = op;
        Err(ConfigFault::Failed("this gateway has no configuration file".to_owned()))
    }

    /// The gateway lives, as it was asked to say ([`crate::Gateway::set_beats`]). Called by the driver outside the
    /// gateway's lock; must not block.
    fn beat(&self) {}

    /// Writes one line to the log. Called by the driver outside the gateway's lock.
    fn log(&self, record: &Record);
}

/// Performs a request on a host: parsing and rendering happen here, off the gateway's lock.
pub fn perform(host: &dyn Host, request: HostRequest) -> HostAnswer {
    match request {
        HostRequest::CheckDevices { known } => HostAnswer::Devices(check_devices(host, known)),
        HostRequest::StoreDevices { expected, devices, paired, pending, setup, nodes, node_requests } => {
            let touched = [setup, paired, pending, nodes, node_requests];
            HostAnswer::Stored(store_devices(host, expected, &devices, touched).map(Box::new))
        }
        HostRequest::SystemInfo => HostAnswer::SystemInfo(host.system_info()),
        HostRequest::ExecApprovals => {
            HostAnswer::ExecApprovals(host.exec_approvals_path().and_then(|path| {
                let found = host.read(Document::ExecApprovals)?;
                let text = found.as_ref().map(|(text, _)| &text[..]);
                approvals::snapshot(&path, text).map_err(HostFault)
            }))
        }
        HostRequest::StoreExecApprovals { file, base_hash, seed } => HostAnswer::ExecApprovalsStored(
            store_exec_approvals(host, &file, base_hash.as_deref(), &mut Random::new(seed)),
        ),
        HostRequest::Load => HostAnswer::Load(host.load()),
        HostRequest::Channels => HostAnswer::Channels(host.channels()),
        HostRequest::WhoIs { ip } => HostAnswer::WhoIs(host.whois(ip)),
        HostRequest::LogsTail(wanted) => HostAnswer::LogsTail(tail::read(host, &wanted)),
        HostRequest::ReadVoiceWake => HostAnswer::VoiceWake(read_voicewake(host)),
        HostRequest::StoreVoiceWake { triggers, now_ms } => {
            HostAnswer::VoiceWake(store_voicewake(host, &triggers, now_ms).map(|()| triggers))
        }
        HostRequest::File(request) => HostAnswer::File(Ok(Box::new(files::begin(host, &request)))),
        HostRequest::FilePiece { rest, bytes } => HostAnswer::FilePiece(files::go_on(host, &rest, bytes)),
        HostRequest::LookAtFiles(root) => HostAnswer::FilesChanged(host.look_at_files(root)),
        HostRequest::LeaveFiles(root) => {
            host.leave_files(root);
            HostAnswer::FilesChanged(Ok(false))
        }
        HostRequest::PrepareRestart => HostAnswer::Restart(host.prepare_restart()),
        HostRequest::WizardStart => HostAnswer::WizardStart(wizard_start(host)),
        HostRequest::Config { op, dialect } => HostAnswer::Config(host.config(&op).map(|outcome| {
            let payload = dialect::config::answer(dialect, &outcome.answer);
            let unsettled = matches!(outcome.answer, ConfigAnswer::Unsettled);
            let written = matches!(outcome.answer, ConfigAnswer::Written(_));
            let live = if let ConfigAnswer::Reloaded(live) = outcome.answer { live } else { None };
            ConfigDone { live, payload, news: outcome.news, unsettled, written }
        })),
    }
}

/// The file as it is shown is enough: whether there is a secret can be seen, and what it is need not be.
fn wizard_start(host: &dyn Host) -> Result<Box<WizardStart>, ConfigFault> {
    let ConfigAnswer::Snapshot(snapshot) = host.config(&ConfigOp::Get)?.answer else {
        return Err(ConfigFault::Failed("the host does not show its configuration".to_owned()));
    };
    if !snapshot.valid {
        let message = format!("{} is invalid; mend it first", snapshot.path);
        return Err(ConfigFault::Invalid { message, issues: snapshot.issues });
    }
    let config: Value = serde_json::from_str(&snapshot.config).unwrap_or_default();
    Ok(Box::new(WizardStart { draft: Draft::of(&config), base_hash: snapshot.hash }))
}

fn check_devices(host: &dyn Host, known: DevicesVersion) -> Result<DevicesCheck, HostFault> {
    let now = DevicesVersion {
        paired: Some(host.version(Document::DevicesPaired)?),
        pending: Some(host.version(Document::DevicesPending)?),
        setup: Some(host.version(Document::DevicesSetup)?),
        nodes: Some(host.version(Document::Nodes)?),
        node_requests: Some(host.version(Document::NodeRequests)?),
    };
    if now == known {
        return Ok(DevicesCheck::Unchanged);
    }
    let (paired, paired_version) = read(host, Document::DevicesPaired, store::parse_paired)?;
    let (pending, pending_version) = read(host, Document::DevicesPending, store::parse_pending)?;
    let mut damage = None;
    let (setup, setup_version) =
        read_or_damage(host, Document::DevicesSetup, store::parse_setup, &mut damage)?;
    let (nodes, nodes_version) = read_or_damage(host, Document::Nodes, store::parse_nodes, &mut damage)?;
    let (node_requests, requests_version) =
        read_or_damage(host, Document::NodeRequests, store::parse_nodes, &mut damage)?;
    let version = DevicesVersion {
        paired: Some(paired_version),
        pending: Some(pending_version),
        setup: Some(setup_version),
        nodes: Some(nodes_version),
        node_requests: Some(requests_version),
    };
    let devices = Devices { paired, pending, setup, nodes, node_requests, damage };
    Ok(DevicesCheck::Changed { devices: Arc::new(devices), version: Box::new(version) })
}

/// A document without which devices can still come and go: what is wrong with it is noted.
fn read_or_damage<T: Default>(
    host: &dyn Host,
    document: Document,
    parse: fn(&[u8]) -> Result<T, String>,
    damage: &mut Option<String>,
) -> Result<(T, Version), HostFault> {
    let Some((bytes, version)) = host.read(document)? else { return Ok((T::default(), Version::MISSING)) };
    let content = parse(&bytes).unwrap_or_else(|why| {
        let HostFault(why) = unreadable(document, &why);
        damage.get_or_insert(why);
        T::default()
    });
    Ok((content, version))
}

fn read_voicewake(host: &dyn Host) -> Result<Arc<[String]>, HostFault> {
    let found = host.read(Document::VoiceWake)?;
    let words = voicewake::parse(found.as_ref().map(|(bytes, _)| &bytes[..]));
    words.map(Arc::from).map_err(|why| unreadable(Document::VoiceWake, &why))
}

/// The file is set as a whole, on top of the text that its maker read.
fn store_exec_approvals(
    host: &dyn Host,
    file: &Value,
    base_hash: Option<&str>,
    random: &mut Random,
) -> Result<Bytes, ExecApprovalsFault> {
    let failed = |HostFault(why): HostFault| ExecApprovalsFault::Failed(why);
    let path = host.exec_approvals_path().map_err(failed)?;
    for _ in 0..WRITE_ATTEMPTS {
        let found = host.read(Document::ExecApprovals).map_err(failed)?;
        let (text, version) = match &found {
            Some((text, version)) => (Some(&text[..]), *version),
            None => (None, Version::MISSING),
        };
        approvals::check_base(text, base_hash).map_err(|why| ExecApprovalsFault::Refused(why.to_owned()))?;
        let content = approvals::render(&path, text, file, random).map_err(ExecApprovalsFault::Failed)?;
        let write = Write { document: Document::ExecApprovals, expected: Some(version), content: &content };
        match host.write(&[write]) {
            Ok(_) => {
                return approvals::snapshot(&path, Some(&content)).map_err(ExecApprovalsFault::Failed);
            }
            // The next look says whether it is still what the change was made from.
            Err(StoreFault::Conflict) => {}
            Err(StoreFault::Failed(why)) => return Err(ExecApprovalsFault::Failed(why)),
        }
    }
    Err(ExecApprovalsFault::Failed(format!("{path} is being written by somebody else")))
}

/// The words are set as a whole: whoever comes last wins, and what else is in the document stays.
fn store_voicewake(host: &dyn Host, triggers: &[String], now_ms: u64) -> Result<(), HostFault> {
    for _ in 0..WRITE_ATTEMPTS {
        let found = host.read(Document::VoiceWake)?;
        let (bytes, version) = match &found {
            Some((bytes, version)) => (Some(&bytes[..]), *version),
            None => (None, Version::MISSING),
        };
        let content = voicewake::render(bytes, triggers, now_ms)
            .map_err(|why| unreadable(Document::VoiceWake, &why))?;
        let write = Write { document: Document::VoiceWake, expected: Some(version), content: &content };
        match host.write(&[write]) {
            Ok(_) => return Ok(()),
            Err(StoreFault::Conflict) => {}
            Err(StoreFault::Failed(why)) => return Err(HostFault(why)),
        }
    }
    Err(HostFault(format!("{} is being written by somebody else", Document::VoiceWake.path())))
}

fn unreadable(document: Document, why: &str) -> HostFault {
    HostFault(format!("{} cannot be read: {why}", document.path()))
}

/// Looks at a document that somebody else keeps writing before a write is given up.
const WRITE_ATTEMPTS: usize = 4;

fn read<T: Default>(
    host: &dyn Host,
    document: Document,
    parse: fn(&[u8]) -> Result<T, String>,
) -> Result<(T, Version), HostFault> {
    match host.read(document)? {
        None => Ok((T::default(), Version::MISSING)),
        Some((bytes, version)) => match parse(&bytes) {
            Ok(content) => Ok((content, version)),
            Err(why) => Err(unreadable(document, &why)),
        },
    }
}

/// Writes what was touched. A power cut between two of them must not leave a setup code that could be used again, nor
/// a device that was removed: those go first.
fn store_devices(
    host: &dyn Host,
    expected: DevicesVersion,
    devices: &Devices,
    touched: [bool; 5],
) -> Result<DevicesVersion, StoreFault> {
    let mut now = expected;
    let places = [
        (Document::DevicesSetup, &mut now.setup),
        (Document::DevicesPaired, &mut now.paired),
        (Document::DevicesPending, &mut now.pending),
        (Document::Nodes, &mut now.nodes),
        (Document::NodeRequests, &mut now.node_requests),
    ];
    let mut places: Vec<(Document, &mut Option<Version>, Vec<u8>)> = places
        .into_iter()
        .zip(touched)
        .filter(|(_, touched)| *touched)
        .map(|((document, version), _)| (document, version, rendered(devices, document)))
        .collect();
    let writes: Vec<Write<'_>> = places
        .iter()
        .map(|(document, version, content)| Write { document: *document, expected: **version, content })
        .collect();
    let versions = host.write(&writes)?;
    for ((_, place, _), version) in places.iter_mut().zip(versions) {
        **place = Some(version);
    }
    drop(places);
    Ok(now)
}

fn rendered(devices: &Devices, document: Document) -> Vec<u8> {
    match document {
        Document::DevicesPaired => store::render_paired(&devices.paired),
        Document::DevicesPending => store::render_pending(&devices.pending),
        Document::DevicesSetup => store::render_setup(&devices.setup),
        Document::Nodes => store::render_nodes(&devices.nodes),
        Document::NodeRequests => store::render_nodes(&devices.node_requests),
        // Not one of the store's.
        Document::VoiceWake | Document::ExecApprovals => Vec::new(),
    }
}
