//! The machine around an installation: its disk, its clock, other gateways and other homes, the user it runs as.

use super::facts::DiskKind;
use super::{Facts, Finding, Severity};
use crate::cli::render::clean;
use crate::config::Settings;
use crate::environment::Environment;
use crate::lock::Owner;
use std::path::{Path, PathBuf};

/// Settings that mean nothing, are gone, or refer to variables that are not set.
pub fn config_notes(facts: &Facts, found: &mut Vec<Finding>) {
    for (setting, sentence) in &facts.config.notes {
        let place =
            if setting.is_empty() { facts.places.config.display().to_string() } else { clean(setting) };
        let fix = "change or remove it; `clawgate config validate` checks the file";
        found.push(Finding::operation("config.note", Severity::Warn, place, clean(sentence), fix));
    }
}

/// Rights that it does not need, or that are somebody else's.
pub fn privileges(facts: &Facts, found: &mut Vec<Finding>) {
    if facts.user.borrowed {
        found.push(Finding::security(
            "user.borrowed",
            Severity::Critical,
            "the program file",
            "it runs with the rights of another user or group than called it (a set-user-id or set-group-id bit): whoever \
             can start it can read the installation",
            "chmod ug-s the program",
        ));
    }
    let state = facts.entries.iter().find(|entry| entry.what == super::files::What::State);
    if let (0, Some(state)) = (facts.user.uid, state)
        && state.uid != 0
    {
        found.push(Finding::operation(
            "user.root",
            Severity::Warn,
            state.path.display().to_string(),
            format!("it belongs to uid {}, and you are root: a gateway that root starts here leaves files that this user \
                     cannot read", state.uid),
            "start it as that user",
        ));
    }
    if facts.user.umask.is_some_and(|umask| umask & 0o002 == 0) {
        found.push(Finding::security(
            "user.umask",
            Severity::Info,
            "umask",
            "what other programs make can be written by everybody; clawgate makes its own files private whatever it is",
            "umask 022, in the profile of your shell",
        ));
    }
}

/// Whether what is promised can be kept.
pub fn disk(facts: &Facts, found: &mut Vec<Finding>) {
    let Some(disk) = &facts.disk else { return };
    let state = facts.places.state_dir.display().to_string();
    let mut add = |id, severity, means: &str, fix: &str| {
        found.push(Finding::operation(id, severity, state.clone(), means, fix));
    };
    if disk.read_only {
        add(
            "disk.read-only",
            Severity::Critical,
            "it is mounted read-only: nothing can be paired, revoked or changed",
            "remount it for writing, or set OPENCLAW_STATE_DIR to a place that can be written",
        );
    }
    let few_files = disk.free_files.is_some_and(|free| free < FREE_FILES_MIN);
    if !disk.read_only && (disk.free_bytes < FREE_BYTES_MIN || few_files) {
        let is_full = disk.free_bytes < FULL_BYTES || disk.free_files.is_some_and(|free| free < FULL_FILES);
        add(
            "disk.full",
            if is_full { Severity::Critical } else { Severity::Warn },
            &format!("{} KiB are left on its disk: changes will be refused", disk.free_bytes / 1_024),
            "free some space",
        );
    }
    match disk.kind {
        DiskKind::Usual => {}
        DiskKind::Memory => add(
            "disk.memory",
            Severity::Info,
            "it lives in memory: devices and tokens are gone when the machine restarts",
            "nothing, when that is meant; else set OPENCLAW_STATE_DIR to a disk",
        ),
        DiskKind::WithoutModes => add(
            "disk.modes",
            Severity::Warn,
            "its file system knows no owners: everybody on this machine can read the tokens",
            "move it to ext4, f2fs or another file system of this kind",
        ),
        DiskKind::Network => add(
            "disk.network",
            Severity::Warn,
            "it is on another machine: locks between gateways may not hold there, and what is written may be lost with it",
            "move it to a disk of this machine",
        ),
    }
}

/// Signatures are good for two minutes, and stamps of the past lie in the past.
pub fn clock(facts: &Facts, found: &mut Vec<Finding>) {
    if facts.now_ms < CLOCK_MIN_MS {
        found.push(Finding::operation(
            "clock.unset",
            Severity::Critical,
            "the clock of this machine",
            "it was not set since it started: devices are told that their signature has expired",
            "wait for the network's time (`timedatectl`), or set it",
        ));
        return;
    }
    let stamps = facts.paired.values().flat_map(|device| {
        let tokens = device.tokens.iter().flatten().map(|(_, token)| token);
        let used =
            tokens.flat_map(|token| [Some(token.created_at_ms), token.rotated_at_ms, token.last_used_at_ms]);
        used.flatten().chain([device.approved_at_ms, device.created_at_ms]).collect::<Vec<_>>()
    });
    let ahead_ms = stamps.max().unwrap_or(0).saturating_sub(facts.now_ms);
    if ahead_ms > SKEW_MS {
        found.push(Finding::operation(
            "clock.behind",
            Severity::Warn,
            "the clock of this machine",
            format!(
                "a device was paired or used {} min later than it is now: the clock is behind, or was ahead",
                ahead_ms / 60_000
            ),
            "look at the time (`timedatectl`): a gateway and its devices may be two minutes apart",
        ));
    }
}

/// The database of a newer release, which is left alone.
pub fn newer_state(facts: &Facts, found: &mut Vec<Finding>) {
    if let Some(path) = &facts.newer_state {
        found.push(Finding::operation(
            "state.newer",
            Severity::Info,
            path.display().to_string(),
            "a newer release of OpenClaw keeps its state there; it is neither read nor changed here, and devices that are \
             paired there have to be paired here too",
            "nothing",
        ));
    }
}

/// Installations under earlier names.
pub fn homes(facts: &Facts, found: &mut Vec<Finding>) {
    for home in &facts.homes {
        found.push(Finding::operation(
            "home.another",
            Severity::Info,
            home.display().to_string(),
            format!("it is another state folder; this installation uses {}", facts.places.state_dir.display()),
            "if your devices are in the other one, set OPENCLAW_STATE_DIR to it; if nobody uses it, remove it: it holds \
             tokens",
        ));
    }
}

/// Other gateways of this user.
pub fn gateways(facts: &Facts, found: &mut Vec<Finding>) {
    for other in &facts.others {
        let same_port = other.port == Some(facts.port);
        let (id, severity, means, fix) = if same_port {
            (
                "gateway.port",
                Severity::Warn,
                "it has the port of this configuration: commands of this one reach that one",
                "give one of them another gateway.port",
            )
        } else {
            (
                "gateway.another",
                Severity::Info,
                "it runs on this machine too; one for each machine is recommended",
                "nothing, when that is meant",
            )
        };
        let config = other.config.as_deref().map(|config| format!(", {}", clean(config))).unwrap_or_default();
        found.push(Finding::operation(id, severity, format!("{other}{config}"), means, fix));
    }
}

/// Variables that switch something off, or mean nothing any more.
pub fn variables(facts: &Facts, found: &mut Vec<Finding>) {
    for name in &facts.variables {
        let Some((_, severity, means)) = VARIABLES.iter().find(|(known, _, _)| known == name) else {
            continue;
        };
        let finding = Finding::operation("variables.set", *severity, *name, *means, format!("unset {name}"));
        found.push(finding);
    }
}

/// A service of a user ends with the login.
pub fn lingering(facts: &Facts, found: &mut Vec<Finding>) {
    if let Some((unit, false)) = &facts.service {
        found.push(Finding::operation(
            "service.lingering",
            Severity::Warn,
            unit.clone(),
            "it ends when you log out, and does not start with the machine",
            "loginctl enable-linger",
        ));
    }
}

/// Folders under the current and the earlier names that are there and not used.
pub(super) fn other_homes(home: Option<&Path>, state_dir: &Path) -> Vec<PathBuf> {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let used = real(state_dir);
    // A profile or a folder of one's choice has its own; only the usual ones are mistaken for each other.
    let is_usual = state_dir.file_name().is_some_and(|name| HOMES.iter().any(|home| *name == **home));
    let Some(home) = home.filter(|_| is_usual) else { return Vec::new() };
    let others = HOMES.iter().map(|name| home.join(name));
    others.filter(|path| path.join("devices").is_dir() && real(path) != used).collect()
}

/// Those of the known variables that are set.
pub(super) fn variables_set(environment: &Environment) -> Vec<&'static str> {
    VARIABLES.iter().map(|(name, _, _)| *name).filter(|name| environment.get(name).is_some()).collect()
}

/// The port that a gateway without flags would take.
pub(super) fn port(environment: &Environment, settings: &Settings) -> u16 {
    let named = crate::config::startable::port_of_environment(environment).ok().flatten();
    named.or(settings.port).unwrap_or(crate::config::startable::DEFAULT_PORT)
}

/// The flag with a secret on the command line of a running gateway.
pub(super) fn shown_flag(owner: &Owner) -> Option<(u32, &'static str)> {
    let line = std::fs::read(format!("/proc/{}/cmdline", owner.pid)).ok()?;
    Some((owner.pid, secret_flag(&line)?))
}

fn secret_flag(line: &[u8]) -> Option<&'static str> {
    let mut words = line.split(|byte| *byte == 0);
    words.find_map(|word| {
        let flag = word.split(|byte| *byte == b'=').next()?;
        ["--token", "--password"].into_iter().find(|known| known.as_bytes() == flag)
    })
}

/// The enabled user service that starts a gateway, and whether this user's services live without a login.
pub(super) fn service(home: Option<&Path>, environment: &Environment) -> Option<(String, bool)> {
    let config =
        environment.get("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| Some(home?.join(".config")))?;
    let user =
        environment.first(&["USER", "LOGNAME"]).map(|(_, name)| name).filter(|name| !name.contains('/'))?;
    // Where systemd keeps what `loginctl enable-linger` says.
    service_in(
        &config.join("systemd/user/default.target.wants"),
        &Path::new("/var/lib/systemd/linger").join(user),
    )
}

fn service_in(wanted: &Path, linger: &Path) -> Option<(String, bool)> {
    let entries = std::fs::read_dir(wanted).ok()?;
    let mut names =
        entries.flatten().take(UNITS_MAX).filter_map(|entry| entry.file_name().into_string().ok());
    let unit = names.find(|name| {
        name.ends_with(".service") && (name.starts_with("clawgate") || name.starts_with("openclaw-gateway"))
    })?;
    Some((unit, linger.exists()))
}

/// Names of state folders, the current one first.
const HOMES: [&str; 4] = [".openclaw", ".clawdbot", ".moldbot", ".moltbot"];
/// A change needs room for the file, its copy and a temporary file.
const FREE_BYTES_MIN: u64 = 16 << 20;
const FULL_BYTES: u64 = 1 << 20;
const FREE_FILES_MIN: u64 = 256;
const FULL_FILES: u64 = 8;
/// 2025-01-01: before that there was no gateway.
const CLOCK_MIN_MS: u64 = 1_735_689_600_000;
/// As far as a signature may be off.
const SKEW_MS: u64 = 120_000;
const UNITS_MAX: usize = 1_024;
const BRIDGE: &str =
    "the TCP bridge is gone, and nothing listens for it: connect nodes to the gateway's own port";
const VARIABLES: [(&str, Severity, &str); 8] = [
    (
        "OPENCLAW_ALLOW_MULTI_GATEWAY",
        Severity::Warn,
        "nothing keeps two gateways from writing over each other's files",
    ),
    (
        "OPENCLAW_ALLOW_INSECURE_PRIVATE_WS",
        Severity::Info,
        "commands of this shell send the token in the clear to private addresses",
    ),
    ("OPENCLAW_BRIDGE_ENABLED", Severity::Warn, BRIDGE),
    ("OPENCLAW_BRIDGE_PORT", Severity::Warn, BRIDGE),
    ("OPENCLAW_BRIDGE_HOST", Severity::Warn, BRIDGE),
    ("CLAWDBOT_BRIDGE_ENABLED", Severity::Warn, BRIDGE),
    ("CLAWDBOT_BRIDGE_PORT", Severity::Warn, BRIDGE),
    ("CLAWDBOT_BRIDGE_HOST", Severity::Warn, BRIDGE),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::facts::{Disk, User};
    use super::super::testing::found;
    use super::*;
    use crate::scratch::Folder;
    use Severity::{Critical, Info, Warn};
    use clawgate_proto::store::PairedDevice;
    use std::fs;
    use std::sync::Arc;

    fn on(change: impl FnOnce(&mut Disk)) -> Facts {
        let mut facts = Facts::clean();
        change(facts.disk.as_mut().unwrap());
        facts
    }

    #[test]
    fn a_disk_that_cannot_keep_what_is_promised_is_found() {
        assert_eq!(found(disk, &Facts::clean()), []);
        assert_eq!(found(disk, &on(|disk| disk.read_only = true)), [("disk.read-only", Critical)]);
        assert_eq!(found(disk, &on(|disk| disk.free_bytes = 15 << 20)), [("disk.full", Warn)]);
        assert_eq!(found(disk, &on(|disk| disk.free_bytes = 4_096)), [("disk.full", Critical)]);
        assert_eq!(found(disk, &on(|disk| disk.free_files = Some(0))), [("disk.full", Critical)]);
        assert_eq!(found(disk, &on(|disk| disk.free_files = None)), []);
        for (kind, want) in [
            (DiskKind::Memory, ("disk.memory", Info)),
            (DiskKind::WithoutModes, ("disk.modes", Warn)),
            (DiskKind::Network, ("disk.network", Warn)),
        ] {
            assert_eq!(found(disk, &on(|disk| disk.kind = kind)), [want]);
        }
    }

    #[test]
    fn a_clock_that_is_wrong_is_found() {
        let device = |at| Arc::new(PairedDevice { approved_at_ms: at, ..PairedDevice::default() });
        let mut facts = Facts::clean();
        facts.paired.insert("d".into(), device(facts.now_ms + SKEW_MS));
        assert_eq!(found(clock, &facts), []);
        facts.paired.insert("e".into(), device(facts.now_ms + SKEW_MS + 1));
        assert_eq!(found(clock, &facts), [("clock.behind", Warn)]);
        facts.now_ms = 5;
        assert_eq!(found(clock, &facts), [("clock.unset", Critical)]);
    }

    #[test]
    fn rights_of_others_are_found() {
        let mut facts = Facts::clean();
        assert_eq!(found(privileges, &facts), []);
        facts.user = User { uid: 0, borrowed: true, umask: Some(0) };
        assert_eq!(
            found(privileges, &facts),
            [("user.borrowed", Critical), ("user.root", Warn), ("user.umask", Info)]
        );
        facts.entries[0].uid = 0;
        facts.user = User { uid: 0, borrowed: false, umask: None };
        assert_eq!(found(privileges, &facts), [], "root's own installation");
    }

    #[test]
    fn what_is_beside_the_installation_is_found() {
        let mut facts = Facts::clean();
        for check in [newer_state, homes, gateways, variables, lingering, config_notes] {
            assert_eq!(found(check, &facts), []);
        }
        facts.newer_state = Some("/x/state/openclaw.sqlite".into());
        facts.homes = vec!["/home/a/.clawdbot".into()];
        let places = facts.places.clone();
        let other = |port| Owner::this_process("other", port, &places.config, &places.state_dir);
        facts.others = vec![other(1), other(facts.port)];
        facts.variables = vec!["OPENCLAW_ALLOW_MULTI_GATEWAY", "OPENCLAW_BRIDGE_PORT"];
        facts.service = Some(("clawgate.service".to_owned(), false));
        facts.config.notes = vec![("bridge".to_owned(), "it is gone".to_owned())];
        assert_eq!(found(newer_state, &facts), [("state.newer", Info)]);
        assert_eq!(found(homes, &facts), [("home.another", Info)]);
        assert_eq!(found(gateways, &facts), [("gateway.another", Info), ("gateway.port", Warn)]);
        assert_eq!(found(variables, &facts), [("variables.set", Warn), ("variables.set", Warn)]);
        assert_eq!(found(lingering, &facts), [("service.lingering", Warn)]);
        assert_eq!(found(config_notes, &facts), [("config.note", Warn)]);
        facts.service = Some(("clawgate.service".to_owned(), true));
        assert_eq!(found(lingering, &facts), []);
    }

    #[test]
    fn only_usual_homes_with_devices_in_them_are_mistaken_for_each_other() {
        let folder = Folder::new();
        for name in [".openclaw/devices", ".clawdbot/devices", ".moldbot", ".openclaw-x/devices"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink(folder.path().join(".openclaw"), folder.path().join(".moltbot")).unwrap();
        let others = |used: &str| other_homes(Some(folder.path()), &folder.path().join(used));
        assert_eq!(others(".openclaw"), [folder.path().join(".clawdbot")]);
        assert_eq!(others(".openclaw-x"), [] as [PathBuf; 0]);
        assert_eq!(other_homes(None, folder.path()), [] as [PathBuf; 0]);
    }

    #[test]
    fn flags_with_secrets_are_seen_in_a_command_line() {
        let flag = |line: &str| secret_flag(line.replace(' ', "\0").as_bytes());
        assert_eq!(flag("clawgate gateway --token abc"), Some("--token"));
        assert_eq!(flag("clawgate gateway --password=abc"), Some("--password"));
        assert_eq!(flag("clawgate gateway --password-file /x --tokens"), None);
    }

    #[test]
    fn an_enabled_service_is_seen() {
        let folder = Folder::new();
        let (wanted, linger) = (folder.path().join("wants"), folder.path().join("a"));
        assert_eq!(service_in(&wanted, &linger), None);
        fs::create_dir(&wanted).unwrap();
        fs::write(wanted.join("other.service"), "").unwrap();
        assert_eq!(service_in(&wanted, &linger), None);
        fs::write(wanted.join("openclaw-gateway.service"), "").unwrap();
        assert_eq!(service_in(&wanted, &linger), Some(("openclaw-gateway.service".to_owned(), false)));
        fs::write(&linger, "").unwrap();
        assert_eq!(service_in(&wanted, &linger), Some(("openclaw-gateway.service".to_owned(), true)));
    }
}
