//! What is wrong with an installation, and what to do about it: `clawgate security audit` and `clawgate doctor`.
//!
//! Everything is looked at once ([`Facts::gather`]); each check is a pure function from facts to findings, so that each
//! has a test that it finds what it is for, and nothing in a clean installation. Facts hold no secret, only what is to
//! be said of one.

pub mod access;
pub mod devices;
pub mod facts;
pub mod files;
pub mod machine;
pub mod mend;
pub mod secrets;

pub use facts::Facts;

use serde_json::{Value, json};
use std::path::PathBuf;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Should be mended.
    Warn,
    /// Somebody can get in, or nothing works.
    Critical,
}

impl Severity {
    /// The name for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Critical => "critical",
        }
    }
}

/// Whom a finding is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Who could get in who should not: `security audit`.
    Security,
    /// What could keep it from working: `doctor`.
    Operation,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable, for programs: an area and a name.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// Whom for.
    pub area: Area,
    /// The setting, variable, path or device.
    pub place: String,
    /// What it means, in a sentence.
    pub means: String,
    /// What to do.
    pub fix: String,
    /// What `--fix` does about it, where that is safe.
    pub mend: Option<Mend>,
}

/// A change that takes nothing from anybody but access to what is not theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mend {
    /// The file or folder.
    pub path: PathBuf,
    /// Its new permissions.
    pub mode: u32,
}

impl Finding {
    /// For whoever could get in.
    pub fn security(
        id: &'static str,
        severity: Severity,
        place: impl Into<String>,
        means: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        debug_assert!(IDS.contains(&id), "{id} is not in the list of ids");
        let (place, means, fix) = (place.into(), means.into(), fix.into());
        Self { id, severity, area: Area::Security, place, means, fix, mend: None }
    }

    /// For whether it works.
    pub fn operation(
        id: &'static str,
        severity: Severity,
        place: impl Into<String>,
        means: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { area: Area::Operation, ..Self::security(id, severity, place, means, fix) }
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "severity": self.severity.as_str(),
            "where": self.place,
            "what": self.means,
            "fix": self.fix,
            "fixable": self.mend.is_some(),
        })
    }
}

/// Every id that a finding may have; programs rely on them, and the guides explain each.
pub const IDS: [&str; 60] = [
    "auth.none",
    "auth.rate-limit",
    "bind.clear-text",
    "bind.open",
    "clock.behind",
    "clock.unset",
    "config.note",
    "config.unread",
    "devices.own-token",
    "devices.revoked",
    "devices.stale-requests",
    "devices.unknown-role",
    "devices.unreadable",
    "devices.unseen-admin",
    "devices.waiting",
    "devices.wide-token",
    "disk.full",
    "disk.memory",
    "disk.modes",
    "disk.network",
    "disk.read-only",
    "files.folder-open",
    "files.folder-writable",
    "files.owner",
    "files.readable",
    "files.writable",
    "gateway.another",
    "gateway.port",
    "home.another",
    "hooks.no-token",
    "hooks.same-token",
    "hooks.weak-token",
    "live.guessing",
    "live.open",
    "live.origins",
    "live.reachable",
    "live.unasked",
    "nodes.dangerous-commands",
    "origins.any",
    "origins.null",
    "origins.unmatched",
    "pairing.any",
    "proxies.any",
    "proxies.everybody",
    "proxies.forgeable",
    "proxies.loopback",
    "proxies.real-ip",
    "proxies.unmatched",
    "secrets.command-line",
    "secrets.mistaken",
    "secrets.two-sources",
    "secrets.weak",
    "service.lingering",
    "state.newer",
    "switches.dangerous",
    "tailscale.funnel",
    "user.borrowed",
    "user.root",
    "user.umask",
    "variables.set",
];

/// Everything that is found in these facts for this area, the worst first.
pub fn findings(facts: &Facts, area: Area) -> Vec<Finding> {
    let mut found = Vec::new();
    for check in CHECKS {
        check(facts, &mut found);
    }
    found.retain(|finding| finding.area == area);
    // Stable: what belongs together stays together.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

/// The worst of them.
pub fn worst(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|finding| finding.severity).max()
}

/// A check: adds what it finds.
type Check = fn(&Facts, &mut Vec<Finding>);

const CHECKS: &[Check] = &[
    access::unread,
    access::open_bind,
    access::no_auth,
    access::clear_text,
    access::rate_limit,
    access::origins,
    access::paired_ranges,
    access::proxies,
    access::trusted_proxy,
    access::dangerous_switches,
    access::funnel,
    access::node_commands,
    secrets::weak,
    secrets::mistaken,
    secrets::hooks,
    secrets::on_command_line,
    secrets::two_sources,
    files::owners,
    files::modes,
    devices::unreadable,
    devices::wide_tokens,
    devices::unseen_admins,
    devices::without_token,
    devices::pending,
    devices::own_token,
    machine::config_notes,
    machine::privileges,
    machine::disk,
    machine::clock,
    machine::newer_state,
    machine::homes,
    machine::gateways,
    machine::variables,
    machine::lingering,
];

#[cfg(test)]
pub(crate) mod testing {
    //! A clean installation, and what a check finds when it is changed.

    use super::{Check, Facts, Finding, Severity};

    /// The ids and severities that a check finds in these facts.
    pub(crate) fn found(check: Check, facts: &Facts) -> Vec<(&'static str, Severity)> {
        all(check, facts).iter().map(|finding| (finding.id, finding.severity)).collect()
    }

    /// Everything that a check finds in these facts.
    pub(crate) fn all(check: Check, facts: &Facts) -> Vec<Finding> {
        let mut found = Vec::new();
        check(facts, &mut found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_installation_has_no_findings() {
        for area in [Area::Security, Area::Operation] {
            assert_eq!(findings(&Facts::clean(), area), []);
        }
    }

    #[test]
    fn every_id_is_explained_to_people() {
        let guides = ["security", "troubleshooting"].map(|name| {
            let path = format!("{}/docs/guides/{name}.md", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path}: {why}"))
        });
        for id in IDS {
            assert!(guides.iter().any(|guide| guide.contains(&format!("| `{id}`")) || guide.contains(&format!(", `{id}`"))), "{id}");
        }
    }

    #[test]
    fn the_worst_comes_first_and_counts() {
        let mut facts = Facts::clean();
        facts.config.settings.allowed_origins = vec!["*".to_owned()];
        facts.secrets[0].weakness = Some(crate::config::weak::Weakness::Placeholder);
        facts.exposed = true;
        let found = findings(&facts, Area::Security);
        assert!(found.len() > 1 && found[0].severity == Severity::Critical, "{found:?}");
        assert_eq!(worst(&found), Some(Severity::Critical));
        assert_eq!(worst(&[]), None);
        assert_eq!(findings(&facts, Area::Operation), []);
    }

    #[test]
    fn a_finding_for_programs_has_every_part() {
        let mut finding = Finding::security("bind.open", Severity::Warn, "where", "what", "fix");
        assert_eq!(
            finding.to_json(),
            json!({"id": "bind.open", "severity": "warn", "where": "where", "what": "what", "fix": "fix", "fixable": false})
        );
        finding.mend = Some(Mend { path: "/x".into(), mode: 0o600 });
        assert_eq!(finding.to_json()["fixable"], true);
    }
}
