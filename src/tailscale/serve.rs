//! Having Tailscale serve the gateway: `gateway.tailscale.mode` by way of the command `tailscale`, beside the gateway and
//! never in its way. What came of it is in the log.

use super::Tailscaled;
use crate::child::Running;
use crate::config::settings::TailscaleMode;
use crate::environment::Environment;
use crate::log::Logger;
use clawgate_proto::log::{Level, Record};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What is to be served, and how.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// To whom.
    pub mode: TailscaleMode,
    /// Where the gateway listens on loopback.
    pub port: u16,
    /// Whether it speaks TLS there.
    pub tls: bool,
    /// Of the page; for the address that is told.
    pub base_path: String,
    /// Whether it is taken back when the gateway stops: `gateway.tailscale.resetOnExit`.
    pub resets: bool,
    /// The daemon of this machine.
    pub tailscaled: Tailscaled,
}

impl Wanted {
    /// As the command takes it: a port is plain HTTP on this machine. Its own certificate is one that signs itself.
    fn target(&self) -> String {
        if self.tls { format!("https+insecure://127.0.0.1:{}", self.port) } else { self.port.to_string() }
    }
}

/// A gateway that is served, or is about to be.
#[derive(Debug)]
pub struct Serving {
    work: JoinHandle<bool>,
    stops: Arc<AtomicBool>,
    program: Program,
    resets: Option<&'static str>,
    logger: Arc<Logger>,
}

/// Begins, on a thread of its own; `None` when nothing is wanted.
pub fn begin(wanted: Wanted, environment: &Environment, logger: &Arc<Logger>) -> Option<Serving> {
    let verb = verb(wanted.mode)?;
    let stops = Arc::new(AtomicBool::new(false));
    let target = wanted.target();
    let program =
        Program { path: find(environment.get("PATH").unwrap_or_default()), stops: Arc::clone(&stops) };
    let resets = wanted.resets.then_some(verb);
    let work = {
        let (program, logger) = (program.clone(), Arc::clone(logger));
        let serves = move || serve(&program, (verb, &target), &wanted, &logger);
        thread::Builder::new().name("tailscale".to_owned()).spawn(serves)
    };
    match work {
        Ok(work) => Some(Serving { work, stops, program, resets, logger: Arc::clone(logger) }),
        Err(why) => {
            failed(logger, verb, &format!("no thread for it: {why}"), None);
            None
        }
    }
}

impl Serving {
    /// The gateway stops or restarts: nothing is waited for any more, and what was served is taken back where that is
    /// wished. Whether the next one serves is its own configuration's to say.
    pub fn end(self) {
        self.stops.store(true, Ordering::Release);
        let is_served = self.work.join().unwrap_or(false);
        let Some(verb) = self.resets.filter(|_| is_served) else { return };
        self.stops.store(false, Ordering::Release);
        match self.program.run(&[verb, "reset"], RESET_PATIENCE) {
            Ok(()) => self.logger.log(&Record::new(Level::Info, "tailscale.reset").field("command", verb)),
            Err(fault) => {
                let record = Record::new(Level::Warn, "tailscale.reset-failed").field("why", fault.why);
                let hint = format!("`tailscale {verb} reset` takes it back");
                self.logger.log(&record.field("hint", hint));
            }
        }
    }
}

fn verb(mode: TailscaleMode) -> Option<&'static str> {
    match mode {
        TailscaleMode::Off => None,
        TailscaleMode::Serve => Some("serve"),
        TailscaleMode::Funnel => Some("funnel"),
    }
}

/// Says whether it is served now.
fn serve(program: &Program, (verb, target): (&'static str, &str), wanted: &Wanted, logger: &Logger) -> bool {
    if let Err(fault) = program.run(&[verb, "--bg", "--yes", target], PATIENCE) {
        // One that was ended in the middle may have done it already.
        let is_over = program.stops.load(Ordering::Acquire);
        if !is_over {
            failed(logger, verb, &fault.why, fault.visit.as_deref());
        }
        return is_over;
    }
    let mut record = Record::new(Level::Info, "tailscale.serving").field("command", verb);
    match wanted.tailscaled.clone().within(NAME_PATIENCE).dns_name() {
        Ok(name) => {
            record = record.field("page", format!("https://{name}{}/", wanted.base_path));
            record = record.field("url", format!("wss://{name}"));
        }
        Err(why) => record = record.field("name", format!("unknown: {why}")),
    }
    logger.log(&record);
    true
}

fn failed(logger: &Logger, verb: &str, why: &str, visit: Option<&str>) {
    let mut record =
        Record::new(Level::Warn, "tailscale.serve-failed").field("command", verb).field("why", why);
    if let Some(visit) = visit {
        record = record.field("visit", visit);
    }
    let hint = if visit.is_some() {
        format!("allow it there, then restart the gateway, or run `tailscale {verb} --bg PORT` yourself")
    } else {
        format!(
            "the gateway runs, on loopback only; mend this and restart it, run `tailscale {verb} --bg PORT` yourself, or set \
             gateway.tailscale.mode to off"
        )
    };
    logger.log(&record.field("hint", hint));
}

/// The command, where it was found, and whether its answers are still wanted.
#[derive(Clone, Debug)]
struct Program {
    path: Option<PathBuf>,
    stops: Arc<AtomicBool>,
}

/// Why a command did not do it.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    why: String,
    /// Where a person has to agree first.
    visit: Option<String>,
    /// Whether the user that runs the gateway may not.
    is_denied: bool,
}

impl Program {
    /// Runs it; where this user may not, once more as root if that takes no password.
    fn run(&self, arguments: &[&str], patience: Duration) -> Result<(), Fault> {
        let Some(path) = &self.path else {
            let why = "there is no program `tailscale` on PATH".to_owned();
            return Err(Fault { why, visit: None, is_denied: false });
        };
        let first = self.run_as(Command::new(path).args(arguments), patience);
        let Err(fault) = first else { return Ok(()) };
        if !fault.is_denied {
            return Err(fault);
        }
        let again = self.run_as(Command::new("sudo").arg("-n").arg(path).args(arguments), patience);
        // Why sudo would not is the smaller half of the story.
        again.map_err(|_| Fault {
            why: format!(
                "{} (nor with `sudo -n`); `sudo tailscale set --operator=$USER` lets this user",
                fault.why
            ),
            ..fault
        })
    }

    fn run_as(&self, command: &mut Command, patience: Duration) -> Result<(), Fault> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let fault = |why: String| Fault { why, visit: None, is_denied: false };
        let mut running =
            Running::start(command).map_err(|why| fault(format!("it cannot be started: {why}")))?;
        let (out, err) = (running.child().stdout.take(), running.child().stderr.take());
        let said = [out.map(listen), err.map(listen)];
        let go_on = || !self.stops.load(Ordering::Acquire);
        let ended = running.wait(Instant::now() + patience, &go_on).map_err(|why| fault(why.to_string()))?;
        drop(running);
        // Somebody else may hold its output still.
        let said: Vec<String> =
            said.into_iter().flatten().filter_map(|said| said.recv_timeout(SAID_PATIENCE).ok()).collect();
        let said = said.join("\n");
        match ended {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(judge(&said, &format!("it failed ({status})"))),
            None => Err(judge(&said, &format!("it did not end within {} s", patience.as_secs()))),
        }
    }
}

/// Takes what a program says, up to a bound, to its end.
fn listen(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, said) = mpsc::channel();
    thread::spawn(move || {
        let mut heard = Vec::new();
        let mut piece = [0; 512];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            let room = SAID_BYTES_MAX - heard.len();
            heard.extend_from_slice(&piece[..count.min(room)]);
        }
        let _ = tell.send(String::from_utf8_lossy(&heard).into_owned());
    });
    said
}

/// What its words mean.
fn judge(said: &str, how: &str) -> Fault {
    let lower = said.to_lowercase();
    let denied = ["access denied", "permission denied", "not permitted", "must be root", "--operator"];
    let visit = said.split_whitespace().find(|word| word.starts_with("https://")).map(str::to_owned);
    let first = said.lines().map(str::trim).find(|line| !line.is_empty());
    Fault {
        why: first.map_or_else(|| how.to_owned(), |first| format!("{how}: {first}")),
        visit,
        is_denied: denied.iter().any(|words| lower.contains(words)),
    }
}

/// The program of that name in a list of folders. What is named by a relative path depends on where one stands: not that.
fn find(path: &str) -> Option<PathBuf> {
    path.split(':')
        .map(Path::new)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("tailscale"))
        .find(|program| {
            use std::os::unix::fs::PermissionsExt as _;
            program.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
}

/// As the reference waits for it.
const PATIENCE: Duration = Duration::from_secs(15);
/// A gateway that stops is waited for.
const RESET_PATIENCE: Duration = Duration::from_secs(5);
const NAME_PATIENCE: Duration = Duration::from_secs(2);
const SAID_BYTES_MAX: usize = 4_096;
const SAID_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::os::unix::fs::PermissionsExt as _;

    /// A program of that name that does this, in a folder that is its PATH.
    fn stand_in(folder: &Folder, lines: &str) -> Program {
        let path = folder.path().join("tailscale");
        std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = find(&format!("relative:{}", folder.path().display()));
        assert_eq!(found, Some(path));
        Program { path: found, stops: Arc::new(AtomicBool::new(false)) }
    }

    #[test]
    fn what_a_command_says_is_understood() {
        for (said, why, visit, is_denied) in [
            ("", "it failed", None, false),
            ("\n no such port \nmore", "it failed: no such port", None, false),
            (
                "sending serve config: Access denied: no\n",
                "it failed: sending serve config: Access denied: no",
                None,
                true,
            ),
            (
                "Serve is not enabled.\n\n  https://login.example/f/serve?node=n1 \n",
                "it failed: Serve is not enabled.",
                Some("https://login.example/f/serve?node=n1"),
                false,
            ),
        ] {
            let want = Fault { why: why.to_owned(), visit: visit.map(str::to_owned), is_denied };
            assert_eq!(judge(said, "it failed"), want);
        }
    }

    #[test]
    fn a_command_is_run_as_it_is_said_to_be_and_ended_when_it_does_not() {
        let folder = Folder::new();
        let told = folder.path().join("told");
        let program = stand_in(&folder, &format!("echo \"$@\" > {}", told.display()));
        program.run(&["serve", "--bg", "--yes", "18789"], PATIENCE).unwrap();
        assert_eq!(std::fs::read_to_string(&told).unwrap(), "serve --bg --yes 18789\n");
        let program = stand_in(&folder, "echo visit https://login.example/x; sleep 600 & sleep 600");
        let fault = program.run(&["serve"], Duration::from_secs(1)).unwrap_err();
        assert_eq!(fault.visit.as_deref(), Some("https://login.example/x"));
        assert!(fault.why.starts_with("it did not end within 1 s: visit"), "{}", fault.why);
        program.stops.store(true, Ordering::Release);
        assert!(program.run(&["serve"], Duration::from_secs(600)).is_err());
        let program = stand_in(&folder, "yes | head -c 100000; exit 3");
        assert!(program.run(&["serve"], PATIENCE).unwrap_err().why.contains("exit status: 3"));
    }

    #[test]
    fn without_the_program_that_is_said() {
        let program = Program { path: find("relative:/nosuch"), stops: Arc::default() };
        assert_eq!(
            program.run(&["serve"], PATIENCE).unwrap_err().why,
            "there is no program `tailscale` on PATH"
        );
    }
}
