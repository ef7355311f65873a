//! `clawgate security audit`: who could get in who should not, and how findings are shown.

use super::{Failure, deep, print, print_json, render};
use crate::audit::{self, Area, Facts, Finding, Severity, mend};
use crate::environment::Environment;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::{self, IsTerminal as _};

/// `clawgate security`.
#[derive(Clone, Debug, Subcommand)]
pub enum SecurityCommand {
    /// Look at configuration, files and paired devices
    #[command(after_help = HELP)]
    Audit(AuditArgs),
}

impl SecurityCommand {
    /// Whether it prints for programs.
    pub fn json(&self) -> bool {
        match self {
            Self::Audit(args) => args.json,
        }
    }
}

/// `clawgate security audit`.
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// Also ask the running gateway: as a stranger, as a page from elsewhere, and as this machine
    #[arg(long)]
    pub deep: bool,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Take the rights of others to files and folders of this installation away; nothing else is changed
    #[arg(long)]
    pub fix: bool,
    /// With --deep: how long to wait for the gateway, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub timeout: u64,
}

const HELP: &str = "\
Examples:
  clawgate security audit
  clawgate security audit --deep --json
  clawgate security audit --fix

Each finding has a stable id, a severity (critical, warn, info), the setting or path, what it means and what to do. Ends
with 0 when none is worse than info, and with 1 otherwise. Without --deep nothing is connected to.";

/// Runs one of the commands.
///
/// # Errors
/// The installation cannot be found, or something is found that should be mended.
pub fn run(command: &SecurityCommand, environment: &Environment) -> Result<(), Failure> {
    match command {
        SecurityCommand::Audit(args) => audit(args, environment),
    }
}

fn audit(args: &AuditArgs, environment: &Environment) -> Result<(), Failure> {
    let mut facts = Facts::gather(environment).map_err(Failure::Failed)?;
    let live = args.deep.then(|| deep::look(&facts, environment, args.timeout));
    if let Some(live) = &live {
        facts.seen.clone_from(&live.seen);
    }
    let mut found = audit::findings(&facts, Area::Security);
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    if args.fix {
        (done, failed) = mend::apply(&found);
        let seen = facts.seen;
        facts = Facts { seen, ..Facts::gather(environment).map_err(Failure::Failed)? };
        found = audit::findings(&facts, Area::Security);
    }
    found.extend(live.into_iter().flat_map(|live| live.findings));
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    if args.json {
        let shown = json!({
            "ok": is_fine(audit::worst(&found)),
            "config": facts.places.config,
            "stateDir": facts.places.state_dir,
            "summary": summary(&found),
            "findings": found.iter().map(Finding::to_json).collect::<Vec<_>>(),
            "mended": done,
            "failed": failed,
        });
        print_json(&shown)?;
    } else {
        let mut text = mended(&done, &failed);
        let colour = is_coloured();
        for finding in &found {
            let head = format!("{}  {}", finding.id, finding.place);
            text.push_str(&block(finding.severity, &head, &finding.means, &finding.fix, colour));
        }
        text.push_str(&format!("{}\n", counted(&found)));
        if !args.fix && found.iter().any(|finding| finding.mend.is_some()) {
            text.push_str("--fix changes the permissions of files and folders, and nothing else\n");
        }
        print(&text)?;
    }
    if is_fine(audit::worst(&found)) { Ok(()) } else { Err(Failure::Reported(1)) }
}

/// Whether a shell should be told that all is well.
pub(super) fn is_fine(worst: Option<Severity>) -> bool {
    worst.is_none_or(|worst| worst < Severity::Warn)
}

/// How many of which kind, for programs.
pub(super) fn summary(found: &[Finding]) -> Value {
    let [critical, warn, info] = counts(found);
    json!({ "critical": critical, "warn": warn, "info": info })
}

/// How many of which kind, for people.
pub(super) fn counted(found: &[Finding]) -> String {
    let [critical, warn, info] = counts(found);
    let parts = [(critical, "critical"), (warn, "to be mended"), (info, "to know")];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    if parts.is_empty() { "nothing found".to_owned() } else { parts.join(", ") }
}

fn counts(found: &[Finding]) -> [usize; 3] {
    [Severity::Critical, Severity::Warn, Severity::Info]
        .map(|severity| found.iter().filter(|finding| finding.severity == severity).count())
}

/// What was changed, and what could not be.
pub(super) fn mended(done: &[String], failed: &[String]) -> String {
    let done = done.iter().map(|line| format!("mended    {}\n", render::clean(line)));
    let failed = failed.iter().map(|line| format!("failed    {}\n", render::clean(line)));
    done.chain(failed).collect()
}

/// Colours only where a person looks.
pub(super) fn is_coloured() -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_colour && io::stdout().is_terminal()
}

/// A finding, or a check that found something: what and where, what it means, what to do.
pub(super) fn block(severity: Severity, head: &str, means: &str, fix: &str, colour: bool) -> String {
    let on = match severity {
        Severity::Critical => "\x1b[31m",
        Severity::Warn => "\x1b[33m",
        Severity::Info => "\x1b[36m",
    };
    let mut text = line(severity.as_str(), on, head, colour);
    let means = means.lines().map(str::to_owned);
    let fix = (!fix.is_empty()).then(|| format!("-> {fix}"));
    for line in means.chain(fix) {
        text.push_str(&format!("          {}\n", render::clean(&line)));
    }
    text
}

/// One line behind a word in a colour.
pub(super) fn line(word: &str, on: &str, text: &str, colour: bool) -> String {
    let (on, off) = if colour { (on, "\x1b[0m") } else { ("", "") };
    format!("{on}{word:<8}{off}  {}\n", render::clean(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_shown_without_what_would_drive_a_terminal() {
        let text = block(Severity::Warn, "a.b  /x\u{1b}[2J", "first\nsecond", "do it", false);
        assert_eq!(
            text,
            "warn      a.b  /x\u{fffd}[2J\n          first\n          second\n          -> do it\n"
        );
        let text = block(Severity::Critical, "a.b", "", "", true);
        assert_eq!(text, "\x1b[31mcritical\x1b[0m  a.b\n");
    }

    #[test]
    fn what_is_to_know_is_no_failure() {
        let finding = |severity| Finding::security("bind.open", severity, "", "", "");
        let all = [finding(Severity::Info), finding(Severity::Warn), finding(Severity::Warn)];
        assert_eq!(counted(&all), "2 to be mended, 1 to know");
        assert_eq!(summary(&all), json!({ "critical": 0, "warn": 2, "info": 1 }));
        assert!(is_fine(audit::worst(&all[..1])) && !is_fine(audit::worst(&all)) && is_fine(None));
        assert_eq!(counted(&[]), "nothing found");
    }
}
