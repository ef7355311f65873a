//! `clawgate doctor`: whether this installation can work, step by step as a start and a client take them. Looking changes
//! nothing but what every client command leaves behind: this machine's own identity, where a gateway answers.

use super::args::{ClientArgs, RunArgs};
use super::audit::{block, counted, is_coloured, is_fine, line, mended, summary};
use super::plan::Plan;
use super::session::Session;
use super::target::Target;
use super::{Failure, print, print_json};
use crate::audit::{self, Area, Facts, Finding, Severity, mend};
use crate::environment::Environment;
use crate::listen;
use crate::lock::Owner;
use crate::profile;
use crate::storage::{Put, PutFault, RealDisk, Storage, explain};
use clap::Args;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// `clawgate doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Take the rights of others to files and folders of this installation away; nothing else is changed
    #[arg(long, visible_alias = "repair")]
    pub fix: bool,
    /// How long to wait for the gateway, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub timeout: u64,
    /// Nothing is ever asked; for scripts of the reference
    #[arg(long, hide = true, alias = "yes")]
    pub non_interactive: bool,
}

pub(super) const HELP: &str = "\
Examples:
  clawgate doctor
  clawgate --profile rescue doctor --json

It reads the configuration as a start would, looks at files, disk, clock and other gateways, and knocks at the gateway of
this installation as the client commands do. Ends with 0 when nothing has to be mended, and with 1 otherwise. Secrets are
never shown and never changed.";

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    /// For programs.
    id: &'static str,
    /// Nothing when all is well.
    severity: Option<Severity>,
    /// What was found; its first line is the point.
    said: String,
    /// What to do.
    fix: String,
}

impl Step {
    fn fine(id: &'static str, said: impl Into<String>) -> Self {
        Self { id, severity: None, said: said.into(), fix: String::new() }
    }

    fn found(id: &'static str, severity: Severity, said: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { id, severity: Some(severity), said: said.into(), fix: fix.into() }
    }

    fn state(&self) -> &'static str {
        self.severity.map_or("ok", Severity::as_str)
    }

    fn to_json(&self) -> Value {
        json!({ "id": self.id, "state": self.state(), "what": self.said, "fix": self.fix })
    }

    fn text(&self, colour: bool) -> String {
        let (first, rest) = self.said.split_once('\n').unwrap_or((&self.said, ""));
        let head = format!("{:<9} {first}", self.id);
        match self.severity {
            None => line("ok", "\x1b[32m", &head, colour),
            Some(severity) => block(severity, &head, rest, &self.fix, colour),
        }
    }
}

/// Looks, mends when asked to, and says what was found.
///
/// # Errors
/// The installation cannot be found, or something has to be mended.
pub fn run(args: &DoctorArgs, environment: &Environment) -> Result<(), Failure> {
    let mut facts = Facts::gather(environment).map_err(Failure::Failed)?;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    if args.fix {
        (done, failed) = mend::apply(&audit::findings(&facts, Area::Security));
        facts = Facts::gather(environment).map_err(Failure::Failed)?;
    }
    let mut steps = vec![config(&facts), start(&facts, environment)];
    steps.extend(disk(&facts));
    steps.extend(gateway(&facts, environment, args.timeout));
    // Knocking may have paired this machine.
    facts = Facts::gather(environment).map_err(Failure::Failed)?;
    steps.push(pairing(&facts));
    steps.push(security(&audit::findings(&facts, Area::Security)));
    let found = audit::findings(&facts, Area::Operation);
    let worst = steps.iter().filter_map(|step| step.severity).max().max(audit::worst(&found));
    let is_fine = is_fine(worst);
    if args.json {
        let shown = json!({
            "ok": is_fine,
            "version": env!("CARGO_PKG_VERSION"),
            "profile": profile::name_of(environment),
            "config": facts.places.config,
            "stateDir": facts.places.state_dir,
            "checks": steps.iter().map(Step::to_json).collect::<Vec<_>>(),
            "summary": summary(&found),
            "findings": found.iter().map(Finding::to_json).collect::<Vec<_>>(),
            "mended": done,
            "failed": failed,
        });
        print_json(&shown)?;
    } else {
        let colour = is_coloured();
        let mut text = mended(&done, &failed);
        text.extend(steps.iter().map(|step| step.text(colour)));
        for finding in &found {
            let head = format!("{}  {}", finding.id, finding.place);
            text.push_str(&block(finding.severity, &head, &finding.means, &finding.fix, colour));
        }
        print(&text)?;
    }
    if is_fine { Ok(()) } else { Err(Failure::Reported(1)) }
}

/// Whether the file can be used.
fn config(facts: &Facts) -> Step {
    let path = facts.places.config.display();
    match (&facts.config.fault, facts.config.exists) {
        (Some(why), _) => Step::found("config", Severity::Critical, why, "clawgate config validate"),
        (None, true) => Step::fine("config", format!("{path} is valid")),
        (None, false) => Step::found(
            "config",
            Severity::Info,
            format!("there is no {path} yet"),
            "`clawgate gateway` writes one at its first start, `clawgate setup` asks a few questions first",
        ),
    }
}

/// Whether a gateway would start, by the checks of a start.
fn start(facts: &Facts, environment: &Environment) -> Step {
    if facts.config.settings.mode.as_deref() == Some("remote") {
        return Step::found(
            "start",
            Severity::Info,
            "gateway.mode is remote: this machine is a client of a gateway elsewhere, and none starts here",
            "",
        );
    }
    let rehearsed = Plan::rehearse(&RunArgs::default(), environment);
    let could = |(place, _)| listen::could(place, 0, &[]).map_err(|why| Failure::Failed(why.into_text()));
    match rehearsed.and_then(could) {
        Err(_) if facts.config.fault.is_some() => {
            Step::found("start", Severity::Critical, "no gateway starts with that file", "")
        }
        Err(why) => Step::found(
            "start",
            Severity::Critical,
            format!("no gateway would start here\n{}", why.message()),
            "",
        ),
        Ok(_) => {
            let secret = facts.secrets.iter().find(|secret| secret.in_force);
            let secret = match secret {
                Some(secret) => format!("{} from {}", facts.mode, secret.from),
                None if facts.mode == "token" => "a token that it makes".to_owned(),
                None => format!("auth {}", facts.mode),
            };
            let (bind, port) = (facts.bind.as_str(), facts.port);
            Step::fine("start", format!("a gateway would start: {bind}, port {port}, {secret}"))
        }
    }
}

/// Whether a change would be kept: one is made beside the others, and removed.
fn disk(facts: &Facts) -> Option<Step> {
    let state = &facts.places.state_dir;
    if !state.is_dir() {
        return None;
    }
    let storage = Storage::on_disk();
    let path = state.join(format!("clawgate-doctor-{}.tmp", std::process::id()));
    let put =
        Put { path: &path, expected: None, content: b"clawgate doctor looks whether this can be written\n" };
    let kept = storage.put(&[put]).map_err(|fault| match fault {
        PutFault::Conflict(path) => format!("{} was changed by somebody else", path.display()),
        PutFault::Failed(why) => why,
    });
    let removed = std::fs::remove_file(&path);
    Some(match (kept, removed) {
        (Ok(_), Ok(())) => Step::fine("disk", format!("{} keeps what is written", state.display())),
        (Ok(_), Err(why)) => Step::found("disk", Severity::Critical, explain("remove", &path, &why), ""),
        (Err(why), _) => Step::found("disk", Severity::Critical, why, ""),
    })
}

/// Whether one runs, answers, and lets this shell in.
fn gateway(facts: &Facts, environment: &Environment, timeout_ms: u64) -> Vec<Step> {
    let args = ClientArgs { timeout: timeout_ms, ..ClientArgs::default() };
    let own = facts.own.as_ref();
    let target = match Target::find(&args, environment, &Storage::new(RealDisk, 0)) {
        Ok(target) => target,
        Err(why) => {
            let unlooked =
                "where this shell looks for a gateway, and what it would show there, cannot be said";
            return vec![Step::found(
                "gateway",
                Severity::Warn,
                format!("{unlooked}\n{}", why.message()),
                "",
            )];
        }
    };
    let patience = Duration::from_millis(timeout_ms);
    let is_open =
        target.addresses.iter().any(|address| TcpStream::connect_timeout(address, patience).is_ok());
    let started = Instant::now();
    match (is_open, own) {
        (false, None) => {
            let url = &target.url;
            vec![Step::found(
                "gateway",
                Severity::Info,
                format!("none runs at {url}"),
                "start it with `clawgate gateway`",
            )]
        }
        (false, Some(own)) => {
            let (who, port) = (named(own), own.port.filter(|port| *port != facts.port));
            let (said, fix) = match port {
                Some(port) => (
                    format!("{who} runs, and this shell looks for it at {}", target.url),
                    format!("restart it for the configured port, or set OPENCLAW_GATEWAY_PORT={port}"),
                ),
                None => (
                    format!("{who} runs, and takes no connection at {}", target.url),
                    "look at its log, and at flags such as --bind; then restart it".to_owned(),
                ),
            };
            vec![Step::found("gateway", Severity::Critical, said, fix)]
        }
        (true, own) => {
            let opened = Session::open(&args, environment);
            let latency_ms = started.elapsed().as_millis();
            login(&target, own, opened, latency_ms)
        }
    }
}

fn login(
    target: &Target,
    own: Option<&Owner>,
    opened: Result<Session, Failure>,
    latency_ms: u128,
) -> Vec<Step> {
    let url = &target.url;
    let who = own.map_or_else(|| "a gateway".to_owned(), named);
    let answers = Step::fine("gateway", format!("{who} answers at {url}, in {latency_ms} ms"));
    let shown = target.from.as_deref().unwrap_or("this machine's device alone");
    match opened {
        Ok(session) => {
            let scopes: Vec<&str> =
                session.hello.scopes().iter().map(|scope| scope.trim_start_matches("operator.")).collect();
            let scopes = scopes.join(", ");
            let protocol = session.hello.protocol().unwrap_or_default();
            let login = if session.by_device_token {
                let said =
                    format!("this shell gets in with this machine's device token only: {shown} was refused");
                Step::found(
                    "login",
                    Severity::Warn,
                    said,
                    "`clawgate token` on the gateway's machine shows the right one",
                )
            } else if scopes.is_empty() {
                let said = format!("this shell gets in with {shown}, and may do nothing");
                Step::found("login", Severity::Warn, said, "clawgate devices list")
            } else {
                Step::fine(
                    "login",
                    format!("this shell gets in with {shown} (protocol {protocol}; {scopes})"),
                )
            };
            session.close();
            vec![answers, login]
        }
        Err(Failure::Refused { message, error }) => {
            let severity = if error.detail("code") == Some("PAIRING_REQUIRED") {
                Severity::Warn
            } else {
                Severity::Critical
            };
            let said = format!("this shell does not get in with {shown}\n{message}");
            vec![answers, Step::found("login", severity, said, "")]
        }
        Err(why) => {
            // Something takes the connection and then says nothing, or nothing that a gateway says.
            let who = own.map_or_else(|| "what listens there".to_owned(), named);
            let message = why.message();
            if let Some(own) = own.filter(|_| message.contains(" answered HTTP 503 ")) {
                let said = format!("{url}: {} lets nobody in now\n{message}", named(own));
                let fix = "raise that bound in clawgate.json, or see who takes what it bounds: clawgate status, once there is room";
                return vec![Step::found("gateway", Severity::Critical, said, fix)];
            }
            let said = format!("{url} takes connections, and {who} does not answer\n{message}");
            let fix = match own {
                Some(own) => format!(
                    "process {} is stopped, or has no processor or memory left: look at it (`ps -o stat,args -p {}`), then \
                     restart it",
                    own.pid, own.pid
                ),
                None => "if a gateway of yours should be there, restart it; if it is another program, choose another \
                         gateway.port"
                    .to_owned(),
            };
            vec![Step::found("gateway", Severity::Critical, said, fix)]
        }
    }
}

fn named(own: &Owner) -> String {
    format!("the gateway of this configuration ({own})")
}

/// Who is paired.
fn pairing(facts: &Facts) -> Step {
    if !facts.store_faults.is_empty() {
        return Step::found("pairing", Severity::Critical, "the paired devices cannot be read", "");
    }
    let paired = match facts.paired.len() {
        0 => "no device is paired".to_owned(),
        1 => "1 device is paired".to_owned(),
        count => format!("{count} devices are paired"),
    };
    let waiting = facts.pending.len();
    let waiting = if waiting == 0 { String::new() } else { format!(", {waiting} requests are noted") };
    Step::fine("pairing", format!("{paired}{waiting}"))
}

/// What the audit would say.
fn security(found: &[Finding]) -> Step {
    let Some(worst) = audit::worst(found) else { return Step::fine("security", "nothing found") };
    Step::found("security", worst, counted(found), "clawgate security audit")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::net::TcpListener;

    /// The steps of an installation with this configuration, by id and state.
    fn steps(
        folder: &Folder,
        config: Option<&str>,
        more: &[(&str, &str)],
    ) -> Vec<(&'static str, &'static str)> {
        if let Some(config) = config {
            std::fs::write(folder.path().join("openclaw.json"), config).unwrap();
        }
        let place = folder.path().to_str().unwrap();
        let state = [("OPENCLAW_STATE_DIR", place), ("TMPDIR", place), ("HOME", place)];
        let environment = Environment::new(state.into_iter().chain(more.iter().copied()));
        let facts = Facts::gather(&environment).unwrap();
        let mut steps = vec![super::config(&facts), start(&facts, &environment)];
        steps.extend(disk(&facts));
        steps.extend(gateway(&facts, &environment, 200));
        steps.push(pairing(&facts));
        steps.iter().map(|step| (step.id, step.state())).collect()
    }

    /// A port on which nobody listens.
    fn closed() -> String {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
    }

    #[test]
    fn an_installation_that_is_not_there_yet_is_fine_and_stays_not_there() {
        let folder = Folder::new();
        let found = steps(&folder, None, &[("OPENCLAW_GATEWAY_PORT", &closed())]);
        let want =
            [("config", "info"), ("start", "ok"), ("disk", "ok"), ("gateway", "info"), ("pairing", "ok")];
        assert_eq!(found, want);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "looking leaves nothing behind");
    }

    #[test]
    fn what_is_in_the_way_of_a_start_is_critical() {
        let port = closed();
        let port = [("OPENCLAW_GATEWAY_PORT", port.as_str())];
        for (text, config, start) in [
            ("{gateway: {mode: 'local'}}", "ok", "ok"),
            ("{gateway: {mode: 'local', bind: 'lan', auth: {mode: 'none'}}}", "ok", "critical"),
            ("{gateway: {mode: 'remote'}}", "ok", "info"),
            ("{gateway: {prot: 1}}", "critical", "critical"),
            ("{", "critical", "critical"),
        ] {
            let folder = Folder::new();
            let found = steps(&folder, Some(text), &port);
            assert_eq!(found[..2], [("config", config), ("start", start)], "{text}");
        }
    }

    #[test]
    fn what_takes_connections_and_says_nothing_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let found = steps(&Folder::new(), None, &[("OPENCLAW_GATEWAY_PORT", &port)]);
        assert!(found.contains(&("gateway", "critical")), "{found:?}");
    }

    #[test]
    fn a_store_that_cannot_be_read_is_critical() {
        let folder = Folder::new();
        std::fs::create_dir(folder.path().join("devices")).unwrap();
        std::fs::write(folder.path().join("devices/paired.json"), "{").unwrap();
        let found = steps(&folder, None, &[("OPENCLAW_GATEWAY_PORT", &closed())]);
        assert!(found.contains(&("pairing", "critical")), "{found:?}");
    }

    #[test]
    fn a_step_shows_its_point_first() {
        let step = Step::found("start", Severity::Critical, "no\nbecause", "do it");
        let want = "critical  start     no\n          because\n          -> do it\n";
        assert_eq!(step.text(false), want);
        assert_eq!(Step::fine("config", "good").text(false), "ok        config    good\n");
        assert_eq!(step.to_json()["state"], "critical");
    }
}
