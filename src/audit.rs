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
    access::open_bind,
    access::no_auth,
    access::clear_text,
    access::rate_limit,
    access::origins,
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
    fn the_worst_comes_first_and_counts() {
        let mut facts = Facts::clean();
        facts.config.settings.allowed_origins = vec!["*".to_owned()];
        facts.secrets[0].weakness = Some(secrets::Weakness::Placeholder);
        facts.exposed = true;
        let found = findings(&facts, Area::Security);
        assert!(found.len() > 1 && found[0].severity == Severity::Critical, "{found:?}");
        assert_eq!(worst(&found), Some(Severity::Critical));
        assert_eq!(worst(&[]), None);
        assert_eq!(findings(&facts, Area::Operation), []);
    }

    #[test]
    fn a_finding_for_programs_has_every_part() {
        let mut finding = Finding::security("a.b", Severity::Warn, "where", "what", "fix");
        assert_eq!(
            finding.to_json(),
            json!({"id": "a.b", "severity": "warn", "where": "where", "what": "what", "fix": "fix", "fixable": false})
        );
        finding.mend = Some(Mend { path: "/x".into(), mode: 0o600 });
        assert_eq!(finding.to_json()["fixable"], true);
    }
}
