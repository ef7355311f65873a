//! What is looked at, once, before anything is judged. Looking changes nothing: it makes no folder, no identity and no
//! connection. What cannot be found out is absent.

use super::files::{self, Entry};
use super::secrets::{self, SecretFact};
use crate::config::first_run::ConfigFile;
use crate::config::open::{Surroundings, load, surroundings};
use crate::config::secrets::{Overrides, Resolved};
use crate::config::settings::{Bind, Setting};
use crate::config::start::BIND_VARIABLE;
use crate::config::{self, Node, Places, Settings};
use crate::environment::Environment;
use crate::instances;
use crate::interfaces;
use crate::lock::Owner;
use crate::log;
use crate::storage::{RealDisk, Storage};
use clawgate_config::service::variables_of;
use clawgate_proto::store::{self, Paired, Pending};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// An installation, as it was found.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The time, Unix milliseconds.
    pub now_ms: u64,
    /// Where it is.
    pub places: Places,
    /// Who looks.
    pub user: User,
    /// The configuration file.
    pub config: ConfigFacts,
    /// Where a gateway without flags would listen.
    pub bind: Bind,
    /// Whether that can be reached from other machines.
    pub exposed: bool,
    /// The auth mode in force; empty when it cannot be told.
    pub mode: String,
    /// What is known of the shared secrets.
    pub secrets: Vec<SecretFact>,
    /// The same secret, differently, in the file and in the environment: the setting and the variable.
    pub contradictions: Vec<(&'static str, &'static str)>,
    /// Files and folders that others should not get at.
    pub entries: Vec<Entry>,
    /// Paired devices.
    pub paired: Paired,
    /// Requests that wait.
    pub pending: Pending,
    /// Why these two cannot be read; a sentence.
    pub store_faults: Vec<String>,
    /// When a running gateway last saw each device; absent when it was not asked.
    pub seen: Option<BTreeMap<String, u64>>,
    /// The device tokens that this machine holds: the role, and whether the gateway's store has the same.
    pub held: Vec<(String, bool)>,
    /// The disk below the state folder.
    pub disk: Option<Disk>,
    /// Folders of other installations of this user.
    pub homes: Vec<PathBuf>,
    /// State that a newer release of the reference keeps.
    pub newer_state: Option<PathBuf>,
    /// The gateway of this configuration, when it runs.
    pub own: Option<Owner>,
    /// Other gateways of this user that run.
    pub others: Vec<Owner>,
    /// The port of this configuration.
    pub port: u16,
    /// Running gateways whose command line shows a secret: the process and the flag.
    pub shown_flags: Vec<(u32, &'static str)>,
    /// Variables that are set and change what is safe.
    pub variables: Vec<&'static str>,
    /// The user service that starts a gateway, and whether it outlives the login.
    pub service: Option<(String, bool)>,
}

/// Who looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// Whether the program runs with the rights of somebody else than who called it.
    pub borrowed: bool,
    /// The umask, where it can be seen.
    pub umask: Option<u32>,
}

/// The configuration file.
#[derive(Clone, Debug)]
pub struct ConfigFacts {
    /// Whether there is one.
    pub exists: bool,
    /// Why it cannot be used; a text for a person.
    pub fault: Option<String>,
    /// What should be known about it: the setting, and a sentence.
    pub notes: Vec<(String, String)>,
    /// What it says, as far as it could be read.
    pub settings: Settings,
    /// The document, with included files and variables; empty when it could not be read.
    pub document: Node,
    /// `clawgate.json`; empty when there is none, or it could not be read.
    pub own: Node,
}

impl Default for ConfigFacts {
    /// There is none.
    fn default() -> Self {
        let (notes, settings, document) = (Vec::new(), Settings::default(), Node::empty());
        Self { exists: false, fault: None, notes, settings, document, own: Node::empty() }
    }
}

impl ConfigFacts {
    /// The value at a dotted path.
    pub fn at(&self, path: &str) -> Option<&Node> {
        let names: Vec<&str> = path.split('.').collect();
        self.document.at(&names).filter(|node| **node != Node::Null)
    }

    /// The text there.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.at(path).and_then(Node::as_text)
    }

    /// Whether it is `true`.
    pub fn is_on(&self, path: &str) -> bool {
        self.at(path) == Some(&Node::Bool(true))
    }

    /// The texts in the list there.
    pub fn texts(&self, path: &str) -> Vec<&str> {
        match self.at(path) {
            Some(Node::List(items)) => items.iter().filter_map(Node::as_text).collect(),
            Some(_) | None => Vec::new(),
        }
    }
}

/// The disk below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What it is, when that matters.
    pub kind: DiskKind,
    /// Whether it can be written.
    pub read_only: bool,
    /// Bytes that this user can still write.
    pub free_bytes: u64,
    /// Files that can still be made; absent where the file system has no such bound.
    pub free_files: Option<u64>,
}

/// What a file system is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    /// Nothing to say.
    Usual,
    /// It lives in memory.
    Memory,
    /// It knows no owners and no permissions.
    WithoutModes,
    /// It is on another machine.
    Network,
}

impl Facts {
    /// Looks.
    ///
    /// # Errors
    /// The installation cannot be found; a sentence for a person.
    pub fn gather(environment: &Environment) -> Result<Self, String> {
        let storage = Storage::new(RealDisk, 0);
        let Surroundings { places, environment: base } = surroundings(&storage, environment)?;
        let (config, completed) = config_facts(&storage, &places, &base);
        let bind = bind_of(&config.settings, &completed);
        let custom = config.settings.custom_bind_host.as_deref().and_then(|host| host.trim().parse().ok());
        let resolved =
            Resolved::new(&Overrides::default(), &config.settings, &places.config, &completed).ok();
        let home = environment.home();
        let mut gateways = instances::others(environment);
        let is_own = |owner: &Owner| owner.config.as_deref() == places.config.to_str();
        let own = gateways.iter().position(is_own).map(|at| gateways.remove(at));
        let mut store_faults = Vec::new();
        let mut read = |name: &str| match storage.read(&places.state_dir.join(name)) {
            Ok(found) => found.map(|(text, _)| text),
            Err(why) => {
                store_faults.push(why);
                None
            }
        };
        let (paired, pending) = (read("devices/paired.json"), read("devices/pending.json"));
        let paired = paired.map_or_else(|| Ok(Paired::new()), |text| store::parse_paired(&text));
        let pending = pending.map_or_else(|| Ok(Pending::new()), |text| store::parse_pending(&text));
        let mut parsed = |name: &str, fault: &String| {
            store_faults.push(format!("{}: {fault}", places.state_dir.join(name).display()));
        };
        paired.as_ref().err().inspect(|fault| parsed("devices/paired.json", fault));
        pending.as_ref().err().inspect(|fault| parsed("devices/pending.json", fault));
        let (paired, pending) = (paired.unwrap_or_default(), pending.unwrap_or_default());
        Ok(Self {
            now_ms: log::wall_ms(),
            user: user(),
            bind,
            exposed: is_exposed(bind, custom),
            mode: resolved.as_ref().map_or_else(String::new, |resolved| resolved.mode.as_str().to_owned()),
            secrets: resolved.as_ref().map_or_else(Vec::new, secrets::facts_of),
            contradictions: resolved
                .as_ref()
                .map_or_else(Vec::new, |resolved| secrets::contradictions(resolved, &completed)),
            entries: files::entries(&places, &config),
            held: super::devices::held(&storage, &places.state_dir, &paired),
            paired,
            pending,
            store_faults,
            seen: None,
            disk: disk_below(&places.state_dir),
            homes: super::machine::other_homes(home.as_deref(), &places.state_dir),
            newer_state: Some(places.state_dir.join("state/openclaw.sqlite")).filter(|path| path.exists()),
            shown_flags: own.iter().chain(&gateways).filter_map(super::machine::shown_flag).collect(),
            port: super::machine::port(&completed, &config.settings),
            variables: super::machine::variables_set(&completed),
            service: super::machine::service(home.as_deref(), environment),
            own,
            others: gateways,
            config,
            places,
        })
    }

    /// An installation after its first start, with nothing to find.
    #[cfg(test)]
    pub(crate) fn clean() -> Self {
        let state_dir = PathBuf::from("/home/a/.openclaw");
        let places = Places { config: state_dir.join("openclaw.json"), state_dir };
        let document = Node::parse("{gateway: {mode: 'local', auth: {mode: 'token', token: 'hidden'}}}")
            .unwrap_or(Node::Null);
        let settings = Settings::read(&document, &Environment::default()).unwrap_or_default();
        let entry = |path: &Path, what, mode| Entry {
            path: path.to_owned(),
            what,
            mode,
            uid: 1_000,
            is_linked: false,
        };
        let entries = vec![
            entry(&places.state_dir, files::What::State, 0o700),
            entry(&places.config, files::What::Secret, 0o600),
        ];
        Self {
            now_ms: 1_800_000_000_000,
            places,
            user: User { uid: 1_000, borrowed: false, umask: Some(0o022) },
            config: ConfigFacts { exists: true, settings, document, ..ConfigFacts::default() },
            bind: Bind::Loopback,
            exposed: false,
            mode: "token".to_owned(),
            secrets: vec![SecretFact {
                from: "gateway.auth.token in /home/a/.openclaw/openclaw.json".to_owned(),
                in_force: true,
                weakness: None,
                shape: None,
            }],
            contradictions: Vec::new(),
            entries,
            paired: Paired::new(),
            pending: Pending::new(),
            store_faults: Vec::new(),
            seen: None,
            held: vec![("operator".to_owned(), true)],
            disk: Some(Disk {
                kind: DiskKind::Usual,
                read_only: false,
                free_bytes: 1 << 30,
                free_files: Some(1 << 20),
            }),
            homes: Vec::new(),
            newer_state: None,
            own: None,
            others: Vec::new(),
            port: 18_789,
            shown_flags: Vec::new(),
            variables: Vec::new(),
            service: None,
        }
    }

    /// The same with another configuration.
    #[cfg(test)]
    pub(crate) fn with_config(text: &str) -> Self {
        let mut facts = Self::clean();
        facts.config.document = Node::parse(text).unwrap_or(Node::Null);
        facts.config.settings =
            Settings::read(&facts.config.document, &Environment::default()).unwrap_or_default();
        facts
    }
}

/// What the file says, and the variables with those that it sets.
fn config_facts(
    storage: &Storage<RealDisk>,
    places: &Places,
    environment: &Environment,
) -> (ConfigFacts, Environment) {
    // What is wrong with it is said by a start; here it is read for what it opens.
    let own = storage.read(&places.own_config()).ok().flatten();
    let own = own.and_then(|(text, _)| Node::parse(&String::from_utf8_lossy(&text)).ok());
    let mut facts = ConfigFacts { own: own.unwrap_or_else(Node::empty), ..ConfigFacts::default() };
    let mut completed = environment.clone();
    let file = match ConfigFile::load(storage, &places.config) {
        Ok(file) => file,
        Err(why) => {
            facts.exists = true;
            facts.fault = Some(why);
            return (facts, completed);
        }
    };
    let Some(found) = &file.found else { return (facts, completed) };
    facts.exists = true;
    let loaded = load(&file.path, Some(&found.text), environment);
    completed.complete(variables_of(&loaded.source));
    match config::open(storage, environment) {
        Ok(opened) => facts.settings = opened.settings,
        Err(why) => {
            facts.fault = Some(why);
            facts.settings = Settings::read(&loaded.source, &completed).unwrap_or_default();
        }
    }
    let issues = loaded.warnings.iter().chain(&loaded.legacy);
    facts.notes = issues.map(|issue| (issue.path.clone(), issue.message.clone())).collect();
    // What this program cannot do, and settings that mean nothing. Legacy ones are among the issues already, and
    // switches have findings of their own.
    let known = |sentence: &str| {
        facts.notes.iter().any(|(_, message)| message == sentence)
            || super::access::SWITCHES.iter().any(|(path, _, _)| sentence.starts_with(path))
    };
    let more: Vec<(String, String)> = facts
        .settings
        .warnings
        .iter()
        .filter(|sentence| !known(sentence) && !sentence.contains("the environment variable"))
        .map(|sentence| match sentence.split_once(": ") {
            Some((path, rest)) if !path.contains(' ') => (path.to_owned(), rest.to_owned()),
            Some(_) | None => (String::new(), sentence.clone()),
        })
        .collect();
    facts.notes.extend(more);
    facts.document = loaded.resolved;
    (facts, completed)
}

fn bind_of(settings: &Settings, environment: &Environment) -> Bind {
    let named = environment.get(BIND_VARIABLE).and_then(Bind::named);
    match (named, &settings.bind) {
        (Some(bind), _) => bind,
        (None, Some(Setting::Known(bind))) => *bind,
        (None, Some(Setting::Unusable(_)) | None) => Bind::Loopback,
    }
}

fn is_exposed(bind: Bind, custom: Option<Ipv4Addr>) -> bool {
    match bind {
        Bind::Loopback => false,
        Bind::Lan | Bind::Tailnet => true,
        Bind::Custom => !custom.is_some_and(|address| address.is_loopback()),
    }
}

/// Whether what is sent to that address can be read on the way.
pub(super) fn is_in_the_clear(facts: &Facts) -> bool {
    if facts.config.settings.tls.enabled {
        return false;
    }
    let custom = facts.config.settings.custom_bind_host.as_deref();
    let custom: Option<Ipv4Addr> = custom.and_then(|host| host.trim().parse().ok());
    match facts.bind {
        Bind::Loopback | Bind::Tailnet => false,
        Bind::Lan => true,
        Bind::Custom => facts.exposed && !custom.is_some_and(interfaces::is_tailnet),
    }
}

fn user() -> User {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    let (uid, effective) = (rustix::process::getuid(), rustix::process::geteuid());
    let groups = rustix::process::getgid() != rustix::process::getegid();
    User {
        uid: effective.as_raw(),
        borrowed: uid != effective || groups,
        umask: umask.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()),
    }
}

/// The disk below a folder, or below the nearest one above it that is there.
fn disk_below(folder: &Path) -> Option<Disk> {
    let folder = folder.ancestors().find(|folder| folder.exists())?;
    let space = rustix::fs::statvfs(folder).ok()?;
    Some(Disk {
        kind: kind_of(folder),
        read_only: space.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        // Some file systems make them as they go, and say 0 of 0.
        free_files: (space.f_files > 0).then_some(space.f_favail),
    })
}

#[cfg(target_os = "linux")]
fn kind_of(folder: &Path) -> DiskKind {
    // linux/magic.h. The field's type differs between architectures, and so does its sign.
    let Ok(stat) = rustix::fs::statfs(folder) else { return DiskKind::Usual };
    match stat.f_type as u32 {
        0x0102_1994 | 0x8584_58f6 => DiskKind::Memory,
        0x4d44 | 0x2011_bab0 => DiskKind::WithoutModes,
        0x6969 | 0x517b | 0xff53_4d42 | 0xfe53_4d42 | 0x0102_1997 => DiskKind::Network,
        _ => DiskKind::Usual,
    }
}

#[cfg(not(target_os = "linux"))]
fn kind_of(_: &Path) -> DiskKind {
    DiskKind::Usual
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::{Area, Severity, findings};
    use super::*;
    use crate::scratch::Folder;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    /// An installation with these files, closed to others.
    fn gather(files: &[(&str, &str)], more: &[(&str, &str)]) -> (Folder, Facts) {
        let folder = Folder::new();
        let state = folder.path().join("state");
        fs::create_dir_all(state.join("devices")).unwrap();
        for (name, text) in files {
            fs::write(state.join(name), text).unwrap();
            fs::set_permissions(state.join(name), Permissions::from_mode(0o600)).unwrap();
        }
        for path in [state.join("devices"), state.clone()] {
            fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        }
        let place = folder.path().to_str().unwrap();
        let own = [("OPENCLAW_STATE_DIR", state.to_str().unwrap()), ("TMPDIR", place), ("HOME", place)];
        let facts = Facts::gather(&Environment::new(own.into_iter().chain(more.iter().copied()))).unwrap();
        (folder, facts)
    }

    fn ids(facts: &Facts) -> Vec<&'static str> {
        let all = [Area::Security, Area::Operation].map(|area| findings(facts, area));
        all.into_iter()
            .flatten()
            .filter(|finding| finding.severity > Severity::Info)
            .map(|finding| finding.id)
            .collect()
    }

    const TOKEN: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934c";

    #[test]
    fn a_closed_installation_with_a_good_token_has_nothing_to_find() {
        let config = format!("{{gateway: {{mode: 'local', auth: {{mode: 'token', token: '{TOKEN}'}}}}}}");
        let (_folder, facts) = gather(&[("openclaw.json", &config), ("devices/paired.json", "{}")], &[]);
        assert_eq!(ids(&facts), [] as [&str; 0]);
        assert!(facts.config.exists && facts.config.fault.is_none() && !facts.exposed);
        assert_eq!((facts.mode.as_str(), facts.port, facts.secrets.len()), ("token", 18_789, 1));
    }

    #[test]
    fn what_the_files_say_is_found_and_no_secret_is_kept() {
        let config = "{bridge: {}, gateway: {mode: 'local', bind: 'lan', port: 5, auth: {mode: 'token', token: 'hunter2'}, \
                      trustedProxies: ['${PROXY}', '${NONE}'], controlUi: {allowedOrigins: ['*']}}}";
        let paired = r#"{"d":{"deviceId":"d","publicKey":"k","approvedScopes":["operator.read"],"createdAtMs":1,"approvedAtMs":1,
            "tokens":{"operator":{"token":"hunter3","role":"operator","scopes":["operator.admin"],"createdAtMs":1}}}}"#;
        let files = [
            ("openclaw.json", config),
            ("devices/paired.json", paired),
            ("devices/pending.json", "{"),
            (".env", "OPENCLAW_GATEWAY_TOKEN=hunter4\nPROXY=0.0.0.0/0\nOPENCLAW_BRIDGE_PORT=7\n"),
        ];
        let (_folder, facts) = gather(&files, &[]);
        let found = ids(&facts);
        for id in [
            "secrets.weak",
            "origins.any",
            "proxies.any",
            "devices.wide-token",
            "devices.unreadable",
            "bind.clear-text",
            "secrets.two-sources",
            "variables.set",
            "config.note",
        ] {
            assert!(found.contains(&id), "{id} not in {found:?}");
        }
        assert!(facts.exposed && facts.port == 5);
        if cfg!(feature = "tls") {
            let sealed = config.replace("port: 5", "port: 5, tls: {enabled: true}");
            let (_folder, facts) = gather(&[("openclaw.json", sealed.as_str())], &[]);
            assert!(facts.exposed && !ids(&facts).contains(&"bind.clear-text"));
        }
        let shown = format!("{facts:?} {:?}", findings(&facts, Area::Security));
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn the_environment_is_stronger_and_what_is_broken_is_said() {
        let config = "{gateway: {mode: 'local', auth: {mode: 'none'}}}";
        let (_folder, facts) = gather(&[("openclaw.json", config)], &[("OPENCLAW_GATEWAY_BIND", "tailnet")]);
        assert!(facts.exposed && ids(&facts).contains(&"bind.open"), "{:?}", ids(&facts));
        let (_folder, facts) = gather(&[("openclaw.json", "{gateway: {\nport: 'x'}}")], &[]);
        assert!(facts.config.fault.as_ref().is_some_and(|why| why.contains("gateway.port: found a text")));
        let (_folder, facts) = gather(&[("openclaw.json", "{")], &[]);
        assert!(facts.config.exists && facts.config.fault.is_some_and(|why| why.contains("line 1")));
        let (_folder, facts) = gather(&[], &[]);
        assert!(!facts.config.exists && facts.config.fault.is_none());
    }
}
