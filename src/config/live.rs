//! The configuration of a running gateway: the `config.*` methods on the real file, and what a changed file brings.
//!
//! A file that cannot be used never stops a gateway: the settings in force stay, and its faults are told once.

use super::exposure::Exposure;
use super::files::FilesBeside;
use super::locate::Places;
use super::open::{load, settings_of};
use super::secrets::Resolved;
use super::settings::{Bind, Settings};
use super::start::Flags;
use super::startable::{Beside, Startable};
use super::write::{self, ConfigPut};
use crate::environment::Environment;
use crate::log::settings::Levels;
use crate::log::{Logger, timestamp, wall_ms};
use crate::storage::{Disk, PutFault, Storage};
use clawgate_config::Node;
use clawgate_config::merge::changed_paths;
use clawgate_config::schema::Reload;
use clawgate_config::service::{self, Change, Edited, Loaded, variables_of};
use clawgate_proto::config::AuthMode;
use clawgate_proto::host::Version;
use clawgate_proto::host::config::{
    ConfigAnswer, ConfigFault, ConfigNews, ConfigOp, ConfigOutcome, ConfigWrite, ConfigWritten, Issue,
    LiveConfig,
};
use clawgate_proto::limits::CONFIG_BYTES_MAX;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::secret::Secret;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The configuration file of one gateway.
#[derive(Debug)]
pub struct LiveFile<D> {
    storage: Arc<Storage<D>>,
    logger: Arc<Logger>,
    start: Start,
    known: Mutex<Known>,
}

/// What does not change while the gateway runs.
#[derive(Clone, Debug)]
pub struct Start {
    /// The file.
    pub path: PathBuf,
    /// The state folder.
    pub state_dir: PathBuf,
    /// Variables without those of the file.
    pub environment: Environment,
    /// What the command line says; it stays stronger than the file, and a restart says it again.
    pub flags: Flags,
    /// `--port`.
    pub port: Option<u16>,
    /// What this gateway listens on.
    pub listening: Vec<SocketAddr>,
    /// `--verbose`.
    pub verbose: bool,
    /// Where this gateway listens.
    pub bind: Bind,
    /// What it may be opened to.
    pub exposure: Exposure,
}

/// What was found at the latest look.
#[derive(Debug)]
struct Known {
    marks: Vec<(PathBuf, Version)>,
    /// Of files that secrets are fetched from.
    secret_marks: Vec<(PathBuf, Version)>,
    hash: String,
    /// The latest document that could be used.
    document: Node,
    /// The one that the gateway started with.
    started: Node,
    /// Settings that need a restart.
    restart: Vec<String>,
    /// Why what could have come into force at once did not. Any later change tries again.
    not_in_force: Option<String>,
}

impl<D: Disk> LiveFile<D> {
    /// Begins with what is on the disk now; the gateway has just been started with it.
    pub fn new(storage: Arc<Storage<D>>, logger: Arc<Logger>, start: Start) -> Self {
        let known = Known {
            marks: Vec::new(),
            secret_marks: Vec::new(),
            hash: String::new(),
            document: Node::empty(),
            started: Node::empty(),
            restart: Vec::new(),
            not_in_force: None,
        };
        let file = Self { storage, logger, start, known: Mutex::new(known) };
        if let Ok(found) = file.read() {
            let loaded = file.load(&found);
            let mut known = file.known();
            known.marks = file.marks(&found, &loaded);
            known.secret_marks = file.secret_marks(&loaded);
            known.hash = service::hash(found.text());
            known.document.clone_from(&loaded.resolved);
            known.started = loaded.resolved;
        }
        file
    }

    /// Whether a change comes into force by itself, as far as it can.
    pub fn hot_reload(&self) -> bool {
        Reload::is_on(&self.known().document)
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
            ConfigOp::Check => self.check(),
            ConfigOp::Reload => self.reload(),
        }
    }

    fn get(&self) -> Result<ConfigOutcome, ConfigFault> {
        let found = self.read().map_err(ConfigFault::Failed)?;
        let (mut snapshot, loaded) =
            self.with_context(|context| service::snapshot(found.as_option(), context));
        let news = self.observe(&found, &loaded);
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
        Ok(ConfigOutcome { answer: ConfigAnswer::Snapshot(Box::new(snapshot)), news })
    }

    fn change(
        &self,
        change: Change,
        write: &ConfigWrite,
        method: &'static str,
    ) -> Result<ConfigOutcome, ConfigFault> {
        let held = self.storage.hold(&self.start.path).map_err(ConfigFault::Failed)?;
        let found = self.read().map_err(ConfigFault::Failed)?;
        let Edited { text, loaded, .. } =
            self.with_context(|context| service::change(change, write, found.as_option(), context))?;
        self.refuse_new_programs(&found, &loaded)?;
        // A gateway that could start with what is there must be able to start with what comes: who sits elsewhere could
        // not mend it. With a document that is of no use already any change is a step forward.
        if let Err(why) = self.startable(true, &loaded)
            && self.startable(found.content.is_some(), &self.load(&found)).is_ok()
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
        let news = self.observe(&Read { content: Some((text.into_bytes(), mark)) }, &loaded);
        let written = ConfigWritten {
            method,
            path: self.start.path.display().to_string(),
            config,
            restart: self.known().restart.clone(),
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

    fn check(&self) -> Result<ConfigOutcome, ConfigFault> {
        let known = self.known();
        let marks: Vec<(PathBuf, Version)> = known.marks.iter().chain(&known.secret_marks).cloned().collect();
        drop(known);
        let is_same =
            |(path, mark): &(PathBuf, Version)| self.storage.mark(path).is_ok_and(|now| now == *mark);
        let mut news = None;
        if marks.is_empty() || !marks.iter().all(is_same) {
            match self.read() {
                Ok(found) => news = self.observe(&found, &self.load(&found)),
                Err(why) => {
                    // Told once: the marks are those of the file that cannot be read.
                    let mut known = self.known();
                    known.marks = self.mark_of_root();
                    known.hash.clear();
                    drop(known);
                    self.logger.log(&Record::new(Level::Warn, "config.unreadable").field("what", why));
                }
            }
        }
        Ok(ConfigOutcome { answer: ConfigAnswer::Checked, news })
    }

    /// Fetches secrets again, whatever the marks of files say: what a program tells has none.
    fn reload(&self) -> Result<ConfigOutcome, ConfigFault> {
        let refuse = |why: String| ConfigFault::Failed(format!("what was in force still is: {why}"));
        let found = self.read().map_err(refuse)?;
        let loaded = self.load(&found);
        if !loaded.is_valid() {
            let faults: Vec<String> = loaded.issues.iter().map(ToString::to_string).collect();
            return Err(refuse(faults.join("; ")));
        }
        if !Reload::is_on(&loaded.resolved) {
            return Err(refuse(RELOAD_IS_OFF.to_owned()));
        }
        let live = self.live(&loaded).map_err(refuse)?;
        let news = self.observe(&found, &loaded);
        self.known().not_in_force = None;
        Ok(ConfigOutcome { answer: ConfigAnswer::Reloaded(Some(Box::new(live))), news })
    }

    /// Compares with what is known; logs and tells what is new.
    fn observe(&self, found: &Read, loaded: &Loaded) -> Option<Box<ConfigNews>> {
        let hash = service::hash(found.text());
        let (marks, secret_marks) = (self.marks(found, loaded), self.secret_marks(loaded));
        let mut known = self.known();
        known.marks = marks;
        let has_other_secrets = known.secret_marks != secret_marks;
        known.secret_marks = secret_marks;
        let is_same_text = known.hash == hash;
        if is_same_text && !has_other_secrets && (!loaded.is_valid() || loaded.resolved == known.document) {
            return None;
        }
        known.hash.clone_from(&hash);
        let path = self.start.path.display().to_string();
        let hot_reload = Reload::is_on(if loaded.is_valid() { &loaded.resolved } else { &known.document });
        let mut news =
            Box::new(ConfigNews { path, hash, ts: wall_ms(), restart: Vec::new(), live: None, hot_reload });
        if !loaded.is_valid() {
            news.restart.clone_from(&known.restart);
            drop(known);
            let faults: Vec<String> = loaded.issues.iter().map(ToString::to_string).collect();
            self.logger.log(
                &Record::new(Level::Warn, "config.invalid")
                    .field("path", &news.path)
                    .field("faults", faults.join("; "))
                    .field(
                        "hint",
                        "the settings in force stay; mend the file, nothing needs to be restarted",
                    ),
            );
            return Some(news);
        }
        let changed = changed_paths(&known.document, &loaded.resolved);
        let is_off = !hot_reload;
        known.document.clone_from(&loaded.resolved);
        known.restart = changed_paths(&known.started, &loaded.resolved)
            .into_iter()
            .filter(|path| match Reload::of(path) {
                Reload::Restart => true,
                Reload::Hot => is_off,
                Reload::None => false,
            })
            .collect();
        let restart = known.restart.clone();
        news.restart.clone_from(&restart);
        let was_refused = if is_off { false } else { known.not_in_force.take().is_some() };
        let hot: Vec<&str> =
            changed.iter().map(String::as_str).filter(|path| Reload::of(path) == Reload::Hot).collect();
        if is_off && !hot.is_empty() {
            known.not_in_force = Some(RELOAD_IS_OFF.to_owned());
        }
        drop(known);
        if (!hot.is_empty() || was_refused || has_other_secrets) && !is_off {
            match self.live(loaded) {
                Ok(live) => news.live = Some(live),
                Err(why) => {
                    self.logger.log(
                        &Record::new(Level::Warn, "config.not-in-force")
                            .field("paths", hot.join(","))
                            .field("why", &why),
                    );
                    self.known().not_in_force = Some(why);
                }
            }
        }
        let mut record = Record::new(Level::Info, "config.changed").field("paths", changed.join(","));
        if news.live.is_some() && !hot.is_empty() {
            record = record.field("now", hot.join(","));
        }
        if !restart.is_empty() {
            record = record.field("restart-needed", restart.join(","));
        }
        if is_off {
            record = record.field("why", RELOAD_IS_OFF);
        }
        self.logger.log(&record);
        Some(news)
    }

    /// What the core takes over; refused when the gateway could not have started like this.
    fn live(&self, loaded: &Loaded) -> Result<LiveConfig, String> {
        let (settings, environment) = self.settings(loaded)?;
        let Start { path, flags, verbose, bind, .. } = &self.start;
        let auth = Resolved::new(&flags.auth, &settings, path, &environment)?;
        auth.check(&flags.auth, &settings, *bind)?;
        if let Some(hooks) = &settings.hooks {
            hooks.check_token(&auth)?;
            hooks.check()?;
        }
        self.start.exposure.check(&auth, &settings)?;
        let wants_secret = matches!(auth.mode, AuthMode::Token | AuthMode::Password);
        if wants_secret && auth.in_force().is_none() {
            return Err("no token is configured any more; the one in force stays until a restart".to_owned());
        }
        for sourced in [&auth.token, &auth.password].into_iter().flatten() {
            self.logger.hide(sourced.secret.clone());
        }
        let levels = Levels::new(&settings.logging, &environment, *verbose);
        self.logger.set_levels(&levels);
        for warning in settings.warnings.iter().chain(&self.start.exposure.warnings(&auth, &settings)) {
            self.logger.log(&Record::new(Level::Warn, "gateway.warning").field("what", warning));
        }
        Ok(live_config(&auth, &settings, &self.start.exposure, levels))
    }

    /// What a gateway would read out of the document, and the variables that hold with it.
    fn settings(&self, loaded: &Loaded) -> Result<(Settings, Environment), String> {
        let mut environment = self.start.environment.clone();
        environment.complete(variables_of(&loaded.source));
        let settings = settings_of(loaded, &environment).map_err(|faults| faults.join("; "))?;
        Ok((settings, environment))
    }

    /// Whether this gateway could start with the document. Where there is no file, a start writes one.
    fn startable(&self, is_there: bool, loaded: &Loaded) -> Result<(), String> {
        let Start { path, flags, port, environment, listening, .. } = &self.start;
        let beside = Beside { path, flags, port: *port, environment };
        Startable::judge(&beside, is_there, loaded)?.is_free(listening)
    }

    /// Whether this gateway could start again with what is on the disk now.
    ///
    /// # Errors
    /// It would end instead; a sentence for a person.
    pub fn may_restart(&self) -> Result<(), String> {
        let found = self.read()?;
        self.startable(found.content.is_some(), &self.load(&found))
            .map_err(|why| format!("{why}\nMend {} first.", self.start.path.display()))
    }

    fn read(&self) -> Result<Read, String> {
        read(&self.storage, &self.start.path)
    }

    fn load(&self, found: &Read) -> Loaded {
        load(&self.start.path, found.as_option(), &self.start.environment)
    }

    fn with_context<T>(&self, work: impl FnOnce(&service::Context<'_>) -> T) -> T {
        let secrets = self.logger.hidden();
        with_secrets(&self.start.path, &self.start.environment, &secrets, work)
    }

    fn marks(&self, found: &Read, loaded: &Loaded) -> Vec<(PathBuf, Version)> {
        let root = found.content.as_ref().map_or(Version::MISSING, |(_, mark)| *mark);
        let mut marks = vec![(self.start.path.clone(), root)];
        for path in &loaded.included {
            let path = PathBuf::from(path);
            let mark = self.storage.mark(&path).unwrap_or(Version::MISSING);
            marks.push((path, mark));
        }
        marks
    }

    fn secret_marks(&self, loaded: &Loaded) -> Vec<(PathBuf, Version)> {
        let mut environment = self.start.environment.clone();
        environment.complete(variables_of(&loaded.source));
        let Ok(settings) = settings_of(loaded, &environment) else { return Vec::new() };
        let mark = |path: &Path| (path.to_owned(), self.storage.mark(path).unwrap_or(Version::MISSING));
        settings.secret_files().map(mark).collect()
    }

    fn mark_of_root(&self) -> Vec<(PathBuf, Version)> {
        let mark = self.storage.mark(&self.start.path).unwrap_or(Version::MISSING);
        vec![(self.start.path.clone(), mark)]
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of what was decided that the core compares with.
pub fn live_config(auth: &Resolved, settings: &Settings, exposure: &Exposure, levels: Levels) -> LiveConfig {
    LiveConfig {
        auth: exposure.auth_config(auth, settings),
        allowed_origins: settings.allowed_origins.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        allow_real_ip_fallback: settings.allow_real_ip_fallback,
        node_commands: settings.node_commands.clone(),
        // Where nothing is logged, what is made least of is as good as nothing.
        log_level: levels.console.max(levels.kept).unwrap_or(Level::Error),
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
    with_secrets(path, environment, &[], work)
}

fn with_secrets<T>(
    path: &Path,
    environment: &Environment,
    secrets: &[Secret],
    work: impl FnOnce(&service::Context<'_>) -> T,
) -> T {
    let variables = |name: &str| environment.get(name).map(str::to_owned);
    let (name, now) = (path.display().to_string(), timestamp(wall_ms()));
    let state_dir = Places::find(environment).ok().map(|places| places.state_dir);
    let files = FilesBeside::of(path, state_dir.as_deref());
    work(&service::Context { path: &name, files: &files, variables: &variables, now: &now, secrets })
}

const RELOAD_IS_OFF: &str = "gateway.reload.mode is off: nothing is taken over before a restart";

#[cfg(test)]
mod tests;
