//! The configuration of a running gateway: the `config.*` methods on the real files, and what changed files bring.
//!
//! Files that cannot be used never stop a gateway: the settings in force stay, and what is wrong is told, once and with its
//! place, until it is mended. A change counts as a whole: all files as two looks found them, or nothing.

mod seen;
mod settle;
pub mod taken;

use super::exposure::Exposure;
use super::files::FilesBeside;
use super::locate::Places;
use super::open::{load, load_marked, settings_of};
use super::own::{self, Around, Own};
use super::secrets::Resolved;
use super::settings::{Bind, Settings, TailscaleMode};
use super::start::Flags;
use super::startable::{Beside, Startable};
use super::watch::FileWatch;
use super::write::{self, ConfigPut};
use crate::accounts::{self, Account};
use crate::environment::Environment;
use crate::host::files::Files;
use crate::listen::Place;
use crate::log::plan::LogPlan;
use crate::log::{Logger, timestamp, wall_ms};
use crate::storage::{Disk, PutFault, Storage};
use crate::tls;
use crate::tls::files::Files as TlsFiles;
use clawgate_config::Node;
use clawgate_config::merge::PATHS_MAX;
use clawgate_config::place::line_of;
use clawgate_config::reload::{Changes, Decision, Mode, says_where};
use clawgate_config::service::{self, Change, Edited, Loaded, variables_of};
use clawgate_config::value::ParseFault;
use clawgate_proto::config::{AuthMode, Config};
use clawgate_proto::host::Version;
use clawgate_proto::host::config::{
    ConfigAnswer, ConfigFault, ConfigNews, ConfigOp, ConfigOutcome, ConfigTrouble, ConfigWrite,
    ConfigWritten, Issue, LiveConfig,
};
use clawgate_proto::limits::CONFIG_BYTES_MAX;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::secret::Secret;
use seen::{Documents, is_same, mark_of, marks_of};
pub use seen::{Seen, Text, secret_marks};
pub use settle::Marks;
use settle::Settling;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use taken::{Decided, Pages};

/// The configuration files of one gateway.
#[derive(Debug)]
pub struct LiveFile<D> {
    storage: Arc<Storage<D>>,
    logger: Arc<Logger>,
    files: Arc<Files>,
    start: Start,
    certificate: Option<Arc<tls::Keeper<D>>>,
    known: Mutex<Known>,
    watch: Mutex<Option<FileWatch>>,
}

/// What does not change while the gateway runs.
#[derive(Clone, Debug)]
pub struct Start {
    /// The file.
    pub path: PathBuf,
    /// This program's own settings.
    pub own: PathBuf,
    /// The state folder.
    pub state_dir: PathBuf,
    /// Variables without those of the file.
    pub environment: Environment,
    /// What the command line says; it stays stronger than the file, and a restart says it again.
    pub flags: Flags,
    /// `--port`.
    pub port: Option<u16>,
    /// Where the log is, by the command line.
    pub log_flag: Option<PathBuf>,
    /// What this gateway listens on.
    pub listening: Vec<SocketAddr>,
    /// Where it was to listen: not the port that the system chose.
    pub spot: Option<(Place, u16)>,
    /// `--verbose`.
    pub verbose: bool,
    /// Where this gateway listens.
    pub bind: Bind,
    /// What it may be opened to.
    pub exposure: Exposure,
    /// `commands.restart`, as the file says now.
    pub restarts_by_signal: Arc<AtomicBool>,
    /// What counts beside this program's own settings.
    pub around: Around,
    /// What no setting says.
    pub base: Config,
}

/// What was found at the latest look.
#[derive(Debug)]
struct Known {
    marks: Marks,
    /// Of files that secrets are fetched from.
    secret_marks: Marks,
    settling: Settling,
    hash: String,
    /// The latest documents that could be used.
    latest: Arc<Documents>,
    /// Those that the gateway started with.
    started: Arc<Documents>,
    log_plan: Option<LogPlan>,
    /// Settings that need a restart.
    restart: Vec<String>,
    /// What is wrong with the files as they are.
    fault: Option<ConfigTrouble>,
    /// Why what could have come into force at once did not. Any later change tries again.
    not_in_force: Option<String>,
}

/// The files as they were read together.
#[derive(Debug)]
struct Look {
    found: Read,
    loaded: Loaded,
    included: Marks,
    own: Result<Own, String>,
    own_text: Vec<u8>,
    own_mark: Version,
}

impl<D: Disk> LiveFile<D> {
    /// Begins with what the gateway was started with: whatever was changed since it was read is news for the first look.
    pub fn new(
        storage: Arc<Storage<D>>,
        logger: Arc<Logger>,
        files: Arc<Files>,
        start: Start,
        seen: Seen,
    ) -> Self {
        let Seen { marks, secret_marks, hash, documents, log_plan } = seen;
        let known = Known {
            marks,
            secret_marks,
            settling: Settling::default(),
            hash,
            latest: Arc::clone(&documents),
            started: documents,
            log_plan: Some(log_plan),
            restart: Vec::new(),
            fault: None,
            not_in_force: None,
        };
        Self {
            storage,
            logger,
            files,
            start,
            certificate: None,
            known: Mutex::new(known),
            watch: Mutex::default(),
        }
    }

    /// The same, which looks after the files of this certificate as well.
    pub fn with_certificate(self, certificate: Option<Arc<tls::Keeper<D>>>) -> Self {
        Self { certificate, ..self }
    }

    /// Whether a change comes into force by itself, as far as it can.
    pub fn hot_reload(&self) -> bool {
        Mode::of(&self.known().latest.config) != Mode::Off
    }

    /// Has somebody told, from now on, when one of the files may have been changed.
    pub fn watch(&self, tell: impl Fn() + Send + Sync + 'static) {
        let paths = self.followed();
        let tell = Arc::new(tell);
        let tells = Arc::clone(&tell);
        match FileWatch::begin(&paths, move || tells()) {
            Ok(watch) => *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch),
            Err(why) => self.cannot_watch(&why),
        }
        // Nobody told of what was changed before, and a start may have waited long for its address.
        let has_other_certificate = self.certificate.as_ref().is_some_and(|kept| kept.is_behind());
        if has_other_certificate || !self.is_as_known(&self.known()) {
            tell();
        }
    }

    fn cannot_watch(&self, why: &std::io::Error) {
        let record = Record::new(Level::Info, "config.not-watched").field("why", why);
        self.logger.log(
            &record.field(
                "hint",
                "the system does not tell of changes; the files are looked at every few seconds",
            ),
        );
    }

    /// The watch goes with the files that count.
    fn follow(&self) {
        let paths = self.followed();
        if let Some(watch) = &*self.watch.lock().unwrap_or_else(PoisonError::into_inner)
            && let Err(why) = watch.follow(&paths)
        {
            self.cannot_watch(&why);
        }
    }

    fn followed(&self) -> Vec<PathBuf> {
        let known = self.known();
        let mut paths: Vec<PathBuf> =
            known.marks.iter().chain(&known.secret_marks).map(|(path, _)| path.clone()).collect();
        drop(known);
        if paths.is_empty() {
            paths = vec![self.start.path.clone(), self.start.own.clone()];
        }
        paths.extend(self.certificate.iter().flat_map(|kept| kept.paths()));
        paths
    }

    /// Performs one operation.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn perform(&self, op: &ConfigOp) -> Result<ConfigOutcome, ConfigFault> {
        match op {
            ConfigOp::Get => self.get(),
            ConfigOp::Set(write) => self.change(Change::Replace, write, "config.set"),
            ConfigOp::Apply(write) => self.change(Change::Replace, write, "config.apply"),
            ConfigOp::Patch(write) => self.change(Change::Patch, write, "config.patch"),
            ConfigOp::Schema => {
                let schema = service::schema(env!("CARGO_PKG_VERSION"), &timestamp(wall_ms()));
                Ok(ConfigOutcome { answer: ConfigAnswer::Json(schema), news: None })
            }
            ConfigOp::Lookup(path) => {
                Ok(ConfigOutcome { answer: ConfigAnswer::Json(service::lookup(path)?), news: None })
            }
            ConfigOp::Check => Ok(self.check()),
            ConfigOp::Reload => self.reload(),
        }
    }

    fn get(&self) -> Result<ConfigOutcome, ConfigFault> {
        let found = self.read().map_err(ConfigFault::Failed)?;
        // What was changed a moment ago is shown, and counts when it has come to rest.
        let mut snapshot = self.with_context(|context| service::snapshot(found.as_option(), context)).0.0;
        let known = self.known();
        let (waiting, not_in_force) = (known.restart.clone(), known.not_in_force.clone());
        drop(known);
        let wait = |path: String| Issue {
            path,
            message: "changed; takes effect when the gateway is restarted".to_owned(),
            allowed: Vec::new(),
        };
        snapshot.warnings.extend(waiting.into_iter().map(wait));
        snapshot.warnings.extend(not_in_force.map(|why| Issue {
            path: String::new(),
            message: format!("what was in force before the latest change still is: {why}"),
            allowed: Vec::new(),
        }));
        Ok(ConfigOutcome { answer: ConfigAnswer::Snapshot(Box::new(snapshot)), news: None })
    }

    fn change(
        &self,
        change: Change,
        write: &ConfigWrite,
        method: &'static str,
    ) -> Result<ConfigOutcome, ConfigFault> {
        let held = self.storage.hold(&self.start.path).map_err(ConfigFault::Failed)?;
        let found = self.read().map_err(ConfigFault::Failed)?;
        let (edited, included) =
            self.with_context(|context| service::change(change, write, found.as_option(), context));
        let Edited { text, loaded, .. } = edited?;
        self.refuse_new_programs(&found, &loaded)?;
        // A gateway that could start with what is there must be able to start with what comes: who sits elsewhere could
        // not mend it. With a document that is of no use already any change is a step forward.
        if let Err(why) = self.could_start(true, &loaded)
            && self.could_start(found.content.is_some(), &self.load(&found)).is_ok()
        {
            return Err(ConfigFault::invalid(format!("invalid config: {why}")));
        }
        let ts = wall_ms();
        let put = ConfigPut {
            path: &self.start.path,
            old: found.content.as_ref().map(|(text, mark)| (text.as_slice(), *mark)),
            new: &text,
            state_dir: &self.start.state_dir,
            wall_ms: ts,
            by: method,
        };
        let mark = write::put(&self.storage, &held, &put).map_err(|fault| match fault {
            PutFault::Conflict(_) => {
                ConfigFault::invalid("config changed since last load; re-run config.get and retry")
            }
            PutFault::Failed(why) => ConfigFault::Failed(why),
        })?;
        drop(held);
        let config = loaded.shown_config().to_json();
        let (own, own_text, own_mark) = self.read_own();
        let found = Read { content: Some((text.into_bytes(), mark)) };
        let news = self.observe(&Look { found, loaded, included, own, own_text, own_mark });
        let written = ConfigWritten {
            method,
            path: self.start.path.display().to_string(),
            config,
            restart: self.known().restart.clone(),
            restarts: news.as_ref().is_some_and(|news| news.restart_now),
            note: write.note.clone(),
            session_key: write.session_key.clone(),
            pid: std::process::id(),
            ts,
        };
        Ok(ConfigOutcome { answer: ConfigAnswer::Written(Box::new(written)), news })
    }

    /// Whoever may change settings from elsewhere may not have programs of this machine run by it.
    fn refuse_new_programs(&self, found: &Read, loaded: &Loaded) -> Result<(), ConfigFault> {
        let before = self.load(found);
        let providers = |root: &Node| match root.at(&["secrets", "providers"]) {
            Some(Node::Object(providers)) => providers.clone(),
            Some(_) | None => Vec::new(),
        };
        let (before, after) = (providers(&before.resolved), providers(&loaded.resolved));
        let is_program = |node: &Node| node.get("source").and_then(Node::as_text) == Some("exec");
        match after.iter().find(|provider| is_program(&provider.1) && !before.contains(provider)) {
            None => Ok(()),
            Some((name, _)) => Err(ConfigFault::invalid(format!(
                "invalid config: secrets.providers.{name}: a program that holds secrets is named on the machine itself, with \
                 `clawgate config set` or in the file"
            ))),
        }
    }

    /// Whether the files are other ones, and what that brings once they are at rest.
    fn check(&self) -> ConfigOutcome {
        if let Some(kept) = &self.certificate {
            kept.look();
        }
        let mut known = self.known();
        let checked = |answer, news| ConfigOutcome { answer, news };
        if self.is_as_known(&known) {
            known.settling.forget();
            return checked(ConfigAnswer::Checked, None);
        }
        let is_like_before = is_same(&self.storage, known.settling.marks());
        drop(known);
        let look = self.look();
        let marks = match &look {
            Ok(look) => {
                let mut marks = self.marks(look);
                marks.extend(self.secret_marks(&look.loaded));
                marks
            }
            Err(_) => self.mark_of_root(),
        };
        let mut known = self.known();
        // Files that were changed while they were read are those of no moment.
        let has_settled =
            known.settling.has_settled(&marks) && is_like_before && is_same(&self.storage, &marks);
        if !has_settled {
            return checked(ConfigAnswer::Unsettled, None);
        }
        known.settling.forget();
        drop(known);
        let news = match look {
            Ok(look) => self.observe(&look),
            Err(why) => {
                let file = self.start.path.display().to_string();
                self.broken(
                    ConfigTrouble { file, line: None, key: String::new(), message: why },
                    String::new(),
                )
            }
        };
        checked(ConfigAnswer::Checked, news)
    }

    /// Whether the files are those that are known. What is refused is read again at every look: not only files change, but also
    /// what kept them from being read.
    fn is_as_known(&self, known: &Known) -> bool {
        known.fault.is_none() && is_same(&self.storage, known.marks.iter().chain(&known.secret_marks))
    }

    /// Reads all of it.
    fn look(&self) -> Result<Look, String> {
        let found = self.read()?;
        let (loaded, included) = load_marked(&self.start.path, found.as_option(), &self.start.environment);
        let (own, own_text, own_mark) = self.read_own();
        Ok(Look { found, loaded, included, own, own_text, own_mark })
    }

    fn read_own(&self) -> (Result<Own, String>, Vec<u8>, Version) {
        let path = &self.start.own;
        let (text, mark) = match self.storage.read(path) {
            Ok(Some(found)) => found,
            Ok(None) => return (Ok(Own::default().with(self.start.around)), Vec::new(), Version::MISSING),
            Err(why) => return (Err(why), Vec::new(), mark_of(&self.storage, path)),
        };
        let own = own::of_text(&text, path, &self.start.environment);
        (own.map(|own| own.with(self.start.around)), text, mark)
    }

    /// Fetches secrets again, whatever the marks of files say: what a program tells has none.
    fn reload(&self) -> Result<ConfigOutcome, ConfigFault> {
        let refuse = |why: String| ConfigFault::Failed(format!("what was in force still is: {why}"));
        let look = self.look().map_err(refuse)?;
        let latest = Arc::clone(&self.known().latest);
        if let Some(fault) = self.fault(&look, &latest) {
            return Err(refuse(fault.to_string()));
        }
        if Mode::of(&look.loaded.resolved) == Mode::Off {
            return Err(refuse(RELOAD_IS_OFF.to_owned()));
        }
        let live = self.live(&look).map_err(refuse)?;
        let news = self.observe(&look);
        self.known().not_in_force = None;
        Ok(ConfigOutcome { answer: ConfigAnswer::Reloaded(Some(Box::new(live))), news })
    }

    /// What is wrong with the files, after these: nothing of them counts then.
    fn fault(&self, look: &Look, latest: &Documents) -> Option<ConfigTrouble> {
        let path = self.start.path.display().to_string();
        let whole = |message: &str| {
            Some(ConfigTrouble {
                file: path.clone(),
                line: None,
                key: String::new(),
                message: message.to_owned(),
            })
        };
        // A file of its own was there when this gateway was started, or it wrote one.
        let Some(text) = look.found.as_option() else {
            return whole("the file is not there");
        };
        let text = String::from_utf8_lossy(text);
        if text.trim_start_matches('\u{feff}').trim().is_empty() {
            return whole("the file is empty");
        }
        if let Some(issue) = look.loaded.issues.first() {
            let more = look.loaded.issues.len() - 1;
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            let line = match Node::parse_at(&text) {
                Err(ParseFault::At(line, _)) => u32::try_from(line).ok(),
                Err(ParseFault::Limit(_) | ParseFault::Somewhere) => None,
                Ok(_) => line_of(&text, &issue.path),
            };
            let message = format!("{}{more}", issue.message);
            return Some(ConfigTrouble { file: path, line, key: issue.path.clone(), message });
        }
        let (file, own) = (self.start.own.display().to_string(), String::from_utf8_lossy(&look.own_text));
        if look.own_mark == Version::MISSING && look.own.is_ok() && latest.has_own() {
            let message = "the file is not there any more; what it said holds until a restart".to_owned();
            return Some(ConfigTrouble { file, line: None, key: String::new(), message });
        }
        let why = look.own.as_ref().err()?;
        let line = match Node::parse_at(&own) {
            Err(ParseFault::At(line, _)) => u32::try_from(line).ok(),
            Err(ParseFault::Limit(_) | ParseFault::Somewhere) => None,
            Ok(_) => {
                let named = why.lines().find_map(|line| line.strip_prefix("- ")?.split_once(':'));
                named.and_then(|(key, _)| line_of(&own, key))
            }
        };
        let message: Vec<&str> = why.lines().filter_map(|line| line.strip_prefix("- ")).collect();
        let message = if message.is_empty() { why.clone() } else { message.join("; ") };
        Some(ConfigTrouble { file, line, key: String::new(), message })
    }

    /// Tells that the files are of no use.
    fn broken(&self, fault: ConfigTrouble, hash: String) -> Option<Box<ConfigNews>> {
        let mut known = self.known();
        if known.fault.as_ref() == Some(&fault) && known.hash == hash {
            return None;
        }
        known.hash.clone_from(&hash);
        known.fault = Some(fault.clone());
        let news = ConfigNews {
            path: self.start.path.display().to_string(),
            hash,
            ts: wall_ms(),
            restart: known.restart.clone(),
            live: None,
            hot_reload: Mode::of(&known.latest.config) != Mode::Off,
            restart_now: false,
            fault: Some(fault.clone()),
        };
        drop(known);
        self.follow();
        let mut record = Record::new(Level::Warn, "config.invalid").field("path", &fault.file);
        if let Some(line) = fault.line {
            record = record.field("line", line);
        }
        if !fault.key.is_empty() {
            record = record.field("key", &fault.key);
        }
        let hint = "the settings in force stay; mend the file, nothing needs to be restarted";
        self.logger.log(&record.field("faults", &fault.message).field("hint", hint));
        Some(Box::new(news))
    }

    /// Compares with what is known; logs and tells what is new, and brings it into force.
    fn observe(&self, look: &Look) -> Option<Box<ConfigNews>> {
        let hash = service::hash(look.found.text());
        let (marks, secret_marks) = (self.marks(look), self.secret_marks(&look.loaded));
        let documents = Arc::new(Documents::of(&look.loaded, &look.own_text));
        let mut known = self.known();
        known.marks = marks;
        let has_other_secrets = known.secret_marks != secret_marks;
        known.secret_marks = secret_marks;
        known.settling.forget();
        if let Some(fault) = self.fault(look, &known.latest) {
            drop(known);
            return self.broken(fault, hash);
        }
        let was_broken = known.fault.take().is_some();
        let is_same = known.hash == hash && documents == known.latest;
        if is_same && !has_other_secrets && !was_broken {
            return None;
        }
        let changed = known.latest.changed(&documents);
        let since_start = known.started.changed(&documents);
        known.hash.clone_from(&hash);
        known.latest = documents;
        let started = Arc::clone(&known.started);
        drop(known);
        self.follow();
        let other_accounts = self.accounts(&started.config) != self.accounts(&look.loaded.resolved);
        let mode = Mode::of(&look.loaded.resolved);
        let decided = self.decided(true, &look.loaded, &look.own);
        let unsound = decided.as_ref().err().cloned();
        let could_start = decided.and_then(Startable::here);
        let moves = match (&could_start, self.start.spot) {
            (Ok(startable), Some(spot)) => (startable.decided.place, startable.port) != spot,
            // By the settings alone.
            (Err(_), _) | (Ok(_), None) => says_where(&since_start),
        };
        let counting = |paths: &[String]| -> Vec<String> {
            paths.iter().filter(|path| !self.start.flags.are_over(path)).cloned().collect()
        };
        let (latest, since_start) = (counting(&changed), counting(&since_start));
        let changes = Changes { latest: &latest, since_start: &since_start, moves, other_accounts };
        let mut decision = Decision::new(mode, changes);
        let mut refused = None;
        let in_the_way = || {
            if !self.storage.disk().is_kept() {
                return Err(KEPT_IN_MEMORY.to_owned());
            }
            could_start.and_then(|startable| self.could_serve(&startable, &look.loaded, &look.own))
        };
        if decision.restarts
            && let Err(why) = in_the_way()
        {
            // It goes on where it is, with what it can.
            refused = unsound.is_none().then_some(why);
            let mode = if mode == Mode::Restart { Mode::Off } else { Mode::Hot };
            decision = Decision::new(mode, changes);
        }
        let mut known = self.known();
        known.restart.clone_from(&decision.waits);
        let was_refused = if mode == Mode::Off { false } else { known.not_in_force.take().is_some() };
        if mode == Mode::Off && Decision::new(Mode::Hot, changes).hot != decision.hot {
            known.not_in_force = Some(RELOAD_IS_OFF.to_owned());
        }
        if decision.restarts {
            // Should the restart be refused, the next change brings this one into force too.
            known.not_in_force = Some(RESTARTS_FIRST.to_owned());
        }
        drop(known);
        let mut news = Box::new(ConfigNews {
            path: self.start.path.display().to_string(),
            hash,
            ts: wall_ms(),
            restart: decision.waits.clone(),
            live: None,
            hot_reload: mode != Mode::Off,
            restart_now: decision.restarts,
            fault: None,
        });
        // So many changes are not all named.
        let is_long = changed.len() >= PATHS_MAX;
        let takes_over = matches!(mode, Mode::Hot | Mode::Hybrid) && !decision.restarts;
        if takes_over && (!decision.hot.is_empty() || is_long || was_refused || has_other_secrets) {
            // Of what no gateway could start with nothing counts, not even what could come into force at once.
            match unsound.map_or_else(|| self.live(look), Err) {
                Ok(live) => news.live = Some(live),
                Err(why) => {
                    let record = Record::new(Level::Warn, "config.not-in-force");
                    let record = record.field("paths", decision.hot.join(",")).field("why", &why);
                    self.logger.log(&record);
                    self.known().not_in_force = Some(why);
                }
            }
        }
        let mut record = Record::new(Level::Info, "config.changed").field("paths", changed.join(","));
        if news.live.is_some() && !decision.hot.is_empty() {
            record = record.field("now", decision.hot.join(","));
        }
        if !decision.waits.is_empty() {
            record = record.field("restart-needed", decision.waits.join(","));
        }
        if mode == Mode::Off {
            record = record.field("why", RELOAD_IS_OFF);
        }
        if was_broken {
            record = record.field("mended", true);
        }
        self.logger.log(&record);
        if let Some(why) = refused {
            self.logger.log(&Record::new(Level::Error, "config.restart-refused").field("why", why).field(
                "hint",
                "the gateway goes on where it listens; mend this, and change the file again or restart it",
            ));
        }
        Some(news)
    }

    /// What the core takes over; refused when the gateway could not have started like this. The rest of the program has
    /// taken its part over when this succeeds.
    fn live(&self, look: &Look) -> Result<LiveConfig, String> {
        let own = look.own.as_ref().map_err(Clone::clone)?;
        let (mut settings, environment) = self.settings(&look.loaded)?;
        let Start { path, bind, base, .. } = &self.start;
        let flags = self.flags(own);
        let exposure = Exposure {
            proxy: own.proxy.clone(),
            pairing: own.pairing.clone(),
            ..self.start.exposure.clone()
        };
        let auth = Resolved::new(&flags.auth, &settings, path, &environment)?;
        auth.check(&flags.auth, &settings, *bind)?;
        if let Some(hooks) = &settings.hooks {
            hooks.check_token(&auth)?;
            hooks.check()?;
        }
        exposure.check(&auth, &settings)?;
        // Tailscale goes on as it was begun until a restart: nobody gets in more easily by it meanwhile.
        settings.tailscale_mode = TailscaleMode::of(&self.known().started.config);
        flags.put_over(&mut settings);
        exposure.check(&auth, &settings)?;
        let wants_secret = matches!(auth.mode, AuthMode::Token | AuthMode::Password);
        if wants_secret && auth.in_force().is_none() {
            return Err("no token is configured any more; the one in force stays until a restart".to_owned());
        }
        for sourced in [&auth.token, &auth.password].into_iter().flatten() {
            self.logger.hide(sourced.secret.clone());
        }
        if let Some((_, proof)) = &own.proxy.proof {
            self.logger.hide(proof.clone());
        }
        let plan = self.log_plan(&settings, &environment);
        let levels = plan.levels;
        let mut warnings = settings.warnings.clone();
        warnings.extend(exposure.warnings(&auth, &settings));
        let mut known = self.known();
        if known.log_plan.as_ref().is_some_and(|before| !before.is_same_place(&plan)) {
            let (sink, trouble) = plan.open();
            self.logger.set_sink(sink);
            warnings.extend(trouble);
        }
        known.log_plan = Some(plan);
        drop(known);
        self.logger.set_levels(&levels);
        for warning in warnings {
            self.logger.log(&Record::new(Level::Warn, "gateway.warning").field("what", warning));
        }
        self.start.restarts_by_signal.store(settings.restart_by_signal != Some(false), Ordering::Relaxed);
        let pages = Pages::new(&settings, &environment, &self.start.state_dir);
        pages.serve(&self.files);
        let decided =
            Decided { auth: &auth, settings: &settings, own, exposure: &exposure, levels, pages: &pages };
        Ok(decided.over(base))
    }

    /// The messenger accounts that a start would take.
    fn accounts(&self, document: &Node) -> Vec<Account> {
        let mut environment = self.start.environment.clone();
        environment.complete(variables_of(document));
        let places = Places::find(&environment);
        places
            .map_or_else(|_| Vec::new(), |places| accounts::configured(Some(document), &places, &environment))
    }

    fn log_plan(&self, settings: &Settings, environment: &Environment) -> LogPlan {
        let Start { log_flag, verbose, .. } = &self.start;
        LogPlan::make(log_flag.as_deref(), *verbose, &settings.logging, environment)
    }

    /// The command line, with what is as strong.
    fn flags(&self, own: &Own) -> Flags {
        Flags { proxy: own.proxy.clone(), pairing: own.pairing.clone(), ..self.start.flags.clone() }
    }

    /// What this gateway would read out of the document, its command line included, and the variables that hold with it.
    fn settings(&self, loaded: &Loaded) -> Result<(Settings, Environment), String> {
        let mut environment = self.start.environment.clone();
        environment.complete(variables_of(&loaded.source));
        let mut settings = settings_of(loaded, &environment).map_err(|faults| faults.join("; "))?;
        self.start.flags.put_over(&mut settings);
        Ok((settings, environment))
    }

    /// Whether a gateway like this could start with the document, whatever addresses the machine has. Where there is no file, a
    /// start writes one.
    fn decided(
        &self,
        is_there: bool,
        loaded: &Loaded,
        own: &Result<Own, String>,
    ) -> Result<Startable, String> {
        let Start { path, port, environment, .. } = &self.start;
        let flags = self.flags(own.as_ref().map_err(Clone::clone)?);
        Startable::decide(&Beside { path, flags: &flags, port: *port, environment }, is_there, loaded)
    }

    /// The same, and whether it could listen there, with the certificate that it would have.
    fn could_start(&self, is_there: bool, loaded: &Loaded) -> Result<(), String> {
        let own = self.read_own().0;
        let startable = self.decided(is_there, loaded, &own)?.here()?;
        self.could_serve(&startable, loaded, &own)
    }

    fn could_serve(
        &self,
        startable: &Startable,
        loaded: &Loaded,
        own: &Result<Own, String>,
    ) -> Result<(), String> {
        startable.is_free(&self.start.listening)?;
        let (settings, environment) = self.settings(loaded)?;
        if settings.tls.enabled {
            let oldest = own.as_ref().map_err(Clone::clone)?.oldest_tls;
            let files = TlsFiles::of(&settings.tls, &environment, &self.start.state_dir);
            tls::prepare(&files, oldest, &self.storage, None)?;
        }
        Ok(())
    }

    /// Whether this gateway could start again with what is on the disk now.
    ///
    /// # Errors
    /// It would end instead; a sentence for a person.
    pub fn may_restart(&self) -> Result<(), String> {
        let found = self.read()?;
        self.could_start(found.content.is_some(), &self.load(&found))
            .map_err(|why| format!("{why}\nMend {} first.", self.start.path.display()))
    }

    fn read(&self) -> Result<Read, String> {
        read(&self.storage, &self.start.path)
    }

    fn load(&self, found: &Read) -> Loaded {
        load(&self.start.path, found.as_option(), &self.start.environment)
    }

    fn with_context<T>(&self, work: impl FnOnce(&service::Context<'_>) -> T) -> (T, Marks) {
        let secrets = self.logger.hidden();
        with_files(&self.start.path, &self.start.environment, &secrets, work)
    }

    fn marks(&self, look: &Look) -> Marks {
        let root = look.found.content.as_ref().map_or(Version::MISSING, |(_, mark)| *mark);
        marks_of((&self.start.path, root), (&self.start.own, look.own_mark), look.included.clone())
    }

    fn secret_marks(&self, loaded: &Loaded) -> Marks {
        let mut environment = self.start.environment.clone();
        environment.complete(variables_of(&loaded.source));
        let Ok(settings) = settings_of(loaded, &environment) else { return Vec::new() };
        secret_marks(&self.storage, &settings)
    }

    fn mark_of_root(&self) -> Marks {
        vec![(self.start.path.clone(), mark_of(&self.storage, &self.start.path))]
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file as it was read.
pub struct Read {
    /// Its text and mark, when it is there.
    pub content: Option<(Vec<u8>, Version)>,
}

impl Read {
    /// Its text.
    pub fn as_option(&self) -> Option<&[u8]> {
        self.content.as_ref().map(|(text, _)| text.as_slice())
    }

    fn text(&self) -> &[u8] {
        self.as_option().unwrap_or_default()
    }
}

impl core::fmt::Debug for Read {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Read").field("bytes", &self.text().len()).finish_non_exhaustive()
    }
}

/// Reads a configuration file, if it is not too large to be one.
///
/// # Errors
/// It is there and cannot be read; a sentence for a person.
pub fn read<D: Disk>(storage: &Storage<D>, path: &Path) -> Result<Read, String> {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > CONFIG_BYTES_MAX as u64) {
        return Err(format!("{} is larger than {CONFIG_BYTES_MAX} bytes", path.display()));
    }
    Ok(Read { content: storage.read(path)? })
}

/// Works on a document with the files beside it and these variables, where no secrets are in force.
pub fn with_context<T>(
    path: &Path,
    environment: &Environment,
    work: impl FnOnce(&service::Context<'_>) -> T,
) -> T {
    with_files(path, environment, &[], work).0
}

/// The same where these secrets are, with the marks of the files that were included.
pub fn with_files<T>(
    path: &Path,
    environment: &Environment,
    secrets: &[Secret],
    work: impl FnOnce(&service::Context<'_>) -> T,
) -> (T, Marks) {
    let variables = |name: &str| environment.get(name).map(str::to_owned);
    let (name, now) = (path.display().to_string(), timestamp(wall_ms()));
    let state_dir = Places::find(environment).ok().map(|places| places.state_dir);
    let files = FilesBeside::of(path, state_dir.as_deref());
    let done =
        work(&service::Context { path: &name, files: &files, variables: &variables, now: &now, secrets });
    (done, files.into_seen())
}

const RESTARTS_FIRST: &str = "the gateway is to restart for it first";
const KEPT_IN_MEMORY: &str = "the state is in memory (--state-in-memory), and a restart would lose it";
const RELOAD_IS_OFF: &str = "gateway.reload.mode is off: nothing is taken over before a restart";

#[cfg(test)]
mod tests;
