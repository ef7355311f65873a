//! `start`, `stop` and `restart`: said to the service manager, or, where a gateway runs without one, to its process.

use super::{Manager, Named, Refusal, Report, ServiceArgs, is_here, shown_service};
use crate::cli::Failure;
use crate::environment::Environment;
use crate::lock::{self, Owner};
use crate::service::systemctl::Systemctl;
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Begin.
    Start,
    /// End, until somebody starts it again.
    Stop,
    /// Both.
    Restart,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
        }
    }
}

/// Does it.
///
/// # Errors
/// It could not be done.
pub fn run(verb: Verb, args: &ServiceArgs, environment: &Environment) -> Result<(), Failure> {
    let named = Named::find(args.scope(), environment)?;
    let manager = Manager::find(named.scope);
    let done = match &manager {
        Ok(Manager::Systemd(systemctl)) => by_systemd(verb, &named, *systemctl),
        Ok(Manager::Procd) => by_procd(verb, &named),
        Err(_) => Ok(None),
    };
    let report = match done.map_err(|refusal| refusal.fail(verb.name(), args.json))? {
        Some(report) => report,
        // There is no service of ours: a gateway that runs all the same is somebody's, and can be told.
        None => match (without_manager(verb, &named), manager) {
            (Some(done), _) => done.map_err(|refusal| refusal.fail(verb.name(), args.json))?,
            (None, Err(refusal)) => return Err(refusal.fail(verb.name(), args.json)),
            (None, Ok(_)) => {
                let message =
                    format!("there is no service {}, and no gateway of this installation runs", named.name);
                let mut report = Report::new(verb.name(), "not-loaded", message);
                report.service = Some(shown_service("systemd", false));
                report.hints.push(format!("{} installs the service", named.install_command()));
                report
            }
        },
    };
    report.print(args.json)
}

fn by_systemd(verb: Verb, named: &Named, systemctl: Systemctl) -> Result<Option<Report>, Refusal> {
    let failed = |why| Refusal::new("SERVICE_FAILED", why).hint(journal(named, &systemctl));
    let unit = systemctl.show(&named.service_unit()).map_err(failed)?;
    if !is_here(&unit) {
        return Ok(None);
    }
    let has_socket = systemctl.show(&named.socket_unit()).map_err(failed)?.is_loaded();
    let mut units = vec![named.service_unit()];
    // A stop of the service alone lasts until the next client; a restart leaves the sockets open.
    if has_socket && verb != Verb::Restart {
        units.insert(0, named.socket_unit());
    }
    if verb == Verb::Stop {
        units.reverse();
    }
    let mut words = units.clone();
    if !has_socket && verb != Verb::Stop {
        // Its address may take as long as it likes.
        words.insert(0, "--no-block".to_owned());
    }
    systemctl.act(verb.name(), &words).map_err(failed)?;
    let mut report =
        Report::new(verb.name(), verb.done(), format!("{} {}", verb.done(), units.join(" and ")));
    report.service = Some(shown_service("systemd", unit.is_enabled()));
    Ok(Some(report))
}

fn by_procd(verb: Verb, named: &Named) -> Result<Option<Report>, Refusal> {
    let script = named.init_script();
    if !script.exists() {
        return Ok(None);
    }
    init(&script, verb.name())?;
    let mut report = Report::new(verb.name(), verb.done(), format!("{} {}", verb.done(), script.display()));
    report.service = Some(shown_service("procd", true));
    Ok(Some(report))
}

/// Has an init script do something.
pub(super) fn init(script: &PathBuf, word: &str) -> Result<(), Refusal> {
    let failed = |why: String| {
        Refusal::new("SERVICE_FAILED", format!("`{} {word}` failed: {why}", script.display()))
            .hint("`logread -e clawgate` shows what the gateway said.")
    };
    let status = Command::new(script).arg(word).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status.to_string())),
        Err(why) => Err(failed(why.to_string())),
    }
}

/// Tells the gateway of this installation, if one runs; `None` when there is none, or it is to be started.
fn without_manager(verb: Verb, named: &Named) -> Option<Result<Report, Refusal>> {
    let signal = match verb {
        Verb::Start => return None,
        Verb::Stop => Signal::TERM,
        Verb::Restart => Signal::USR1,
    };
    // One that is just restarting is nobody's for a moment.
    let owner = (0..LOOKS).find_map(|look| {
        if look > 0 {
            std::thread::sleep(LOOK_AGAIN);
        }
        running(named)
    })?;
    let pid = i32::try_from(owner.pid).ok().and_then(Pid::from_raw)?;
    let word = if verb == Verb::Stop { "SIGTERM" } else { "SIGUSR1" };
    let message = format!("no service; sent {word} to the gateway that runs ({owner})");
    Some(match kill_process(pid, signal) {
        Ok(()) => {
            let mut report = Report::new(verb.name(), verb.done(), message);
            report.service = Some(shown_service("systemd", false));
            report.more.push(("pid", owner.pid.into()));
            Ok(report)
        }
        Err(why) => {
            Err(Refusal::new("SERVICE_FAILED", format!("cannot send {word} to the gateway ({owner}): {why}")))
        }
    })
}

/// The gateway that holds the state folder of this installation, known to be the process that took it.
pub(super) fn running(named: &Named) -> Option<Owner> {
    lock::owner_at(&named.state_dir.join("clawgate.lock")).filter(|owner| owner.is_alive() == Some(true))
}

/// Where to read what the service said.
pub(super) fn journal(named: &Named, systemctl: &Systemctl) -> String {
    let user = if systemctl.shown().ends_with("--user") { " --user" } else { "" };
    format!("`journalctl{user} -u {} -n 50` shows what it said.", named.service_unit())
}

/// For a gateway that runs without a service.
const LOOKS: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
