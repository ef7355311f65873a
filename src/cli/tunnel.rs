//! A way to a gateway on another machine through its SSH server, for one command: `ssh -W`, and a port of this machine in
//! front of it that only its first comer can use.
//!
//! The port is ours before `ssh` is started and after it has ended. With `ssh -L` somebody else's program could sit on the
//! port meanwhile, and be shown what was meant for the gateway.

use super::Failure;
use super::render::clean;
use crate::child::Running;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Who is asked for a way: `user@host:port`, without user or port what `ssh` takes for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SshTarget {
    destination: String,
    port: Option<u16>,
}

impl SshTarget {
    /// Takes a text apart.
    ///
    /// # Errors
    /// It is none; for a person.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("{} is no SSH destination: it is user@host, or user@host:port", clean(text));
        let text = text.trim();
        let (user, at) = text.rsplit_once('@').map_or((None, text), |(user, at)| (Some(user), at));
        let (host, port) = match at.rsplit_once(':') {
            // An address of IPv6 has colons of its own.
            Some((host, port)) if !host.contains(':') || (host.starts_with('[') && host.ends_with(']')) => {
                (host, Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(fault)?))
            }
            Some(_) | None => (at, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // What begins with a dash would be an option of ssh.
        let is_plain = |word: &str| {
            !word.is_empty()
                && !word.starts_with('-')
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:%".contains(&byte))
        };
        if !is_plain(host) || user.is_some_and(|user| !is_plain(user)) {
            return Err(fault());
        }
        let destination = user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"));
        Ok(Self { destination, port })
    }

    /// As it is shown.
    pub(super) fn text(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", self.destination)
    }
}

/// An open way. It ends with this value.
#[derive(Debug)]
pub(super) struct Tunnel {
    address: SocketAddr,
    outcome: Receiver<Outcome>,
    ssh: Ssh,
}

/// The program, while it runs.
#[derive(Clone, Default)]
struct Ssh(Arc<Mutex<Held>>);

#[derive(Default)]
enum Held {
    /// It was not needed yet.
    #[default]
    Waits,
    Runs(Running),
    /// It has ended, or must not begin any more.
    Over,
}

impl Ssh {
    fn set(&self, next: Held) -> Held {
        core::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), next)
    }
}

impl core::fmt::Debug for Ssh {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Ssh")
    }
}

/// One whose far end says nothing more would go on for ever.
impl Drop for Tunnel {
    fn drop(&mut self) {
        drop(self.ssh.set(Held::Over));
    }
}

/// What `ssh` had to say at its end; `None` when there was nothing wrong.
type Outcome = Option<String>;

impl Tunnel {
    /// Makes ready. `ssh` is started when the port is used first; `far` is the gateway as that machine sees it.
    ///
    /// # Errors
    /// There is no port to be had.
    pub(super) fn open(
        target: &SshTarget,
        identity: Option<&Path>,
        far: &str,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let failed =
            |why: io::Error| Failure::Failed(format!("no port of this machine for the tunnel: {why}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut command = Command::new("ssh");
        command.args(["-T", "-o", "ForwardAgent=no", "-o", "ClearAllForwardings=yes"]);
        command.arg("-o").arg(format!("ConnectTimeout={}", patience.as_secs().max(1)));
        // Behind its own group it could not be answered: it asks for no password, and not whether a host is known.
        command.args(["-o", "BatchMode=yes"]);
        if let Some(identity) = identity {
            command.arg("-i").arg(identity);
        }
        if let Some(port) = target.port {
            command.arg("-p").arg(port.to_string());
        }
        command.arg("-W").arg(far).arg("--").arg(&target.destination);
        let (tell, outcome) = mpsc::channel();
        let ssh = Ssh::default();
        let theirs = ssh.clone();
        let carries = move || {
            let _ = tell.send(carry(&listener, &mut command, &theirs, patience));
        };
        thread::Builder::new().name("tunnel".to_owned()).spawn(carries).map_err(failed)?;
        Ok(Self { address, outcome, ssh })
    }

    /// Where it begins, on this machine.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What went wrong with `ssh`, when something did and it has ended by now.
    pub(super) fn fault(&self) -> Outcome {
        self.outcome.recv_timeout(END_PATIENCE).ok().flatten()
    }
}

/// Carries bytes of the first comer until one side ends.
fn carry(listener: &TcpListener, command: &mut Command, held: &Ssh, patience: Duration) -> Outcome {
    let said = |why: io::Error| Some(why.to_string());
    let local = match accept(listener, patience) {
        Ok(Some(local)) => local,
        Ok(None) => return None,
        Err(why) => return said(why),
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut started = match Running::start(command) {
        Ok(ssh) => ssh,
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            return Some("there is no program `ssh` on PATH".to_owned());
        }
        Err(why) => return Some(format!("it cannot be started: {why}")),
    };
    let child = started.child();
    let (Some(mut input), Some(mut output), Some(mut errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Some("it has no input or output".to_owned());
    };
    if matches!(held.set(Held::Runs(started)), Held::Over) {
        held.set(Held::Over);
        return None;
    }
    let Ok(mut from) = local.try_clone() else { return Some("no descriptor for its input".to_owned()) };
    let errors = thread::spawn(move || {
        let mut said = Vec::new();
        let _ = errors.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut said);
        let _ = io::copy(&mut errors, &mut io::sink());
        String::from_utf8_lossy(&said).into_owned()
    });
    let inward = thread::spawn(move || pump(&mut from, &mut input));
    let mut to = &local;
    pump(&mut output, &mut to);
    // Its end is the peer's end.
    let _ = local.shutdown(Shutdown::Both);
    let _ = inward.join();
    let Held::Runs(mut ssh) = held.set(Held::Over) else { return None };
    let status = ssh.wait(Instant::now() + END_PATIENCE, &|| true).ok().flatten();
    drop(ssh);
    let said = errors.join().unwrap_or_default();
    match status {
        Some(status) if status.success() => None,
        Some(_) | None => {
            let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
            Some(last.map_or_else(|| "it ended without a word".to_owned(), clean))
        }
    }
}

/// The first comer; `None` when nobody comes in time.
fn accept(listener: &TcpListener, patience: Duration) -> io::Result<Option<TcpStream>> {
    listener.set_nonblocking(true)?;
    let until = Instant::now() + patience;
    loop {
        match listener.accept() {
            Ok((local, _)) => {
                local.set_nonblocking(false)?;
                return Ok(Some(local));
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(why) => return Err(why),
        }
    }
}

/// Each piece at once: answers are waited for.
fn pump(from: &mut impl Read, to: &mut impl Write) {
    let mut piece = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

const SAID_BYTES_MAX: u64 = 4_096;
const END_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_destination_is_never_an_option() {
        for (text, want) in [
            ("pi", Some(("pi", None))),
            ("me@pi.local", Some(("me@pi.local", None))),
            (" me@pi.local:2222 ", Some(("me@pi.local", Some(2222)))),
            ("me@[fd00::1]:2222", Some(("me@fd00::1", Some(2222)))),
            ("fe80::1%eth0", Some(("fe80::1%eth0", None))),
            ("", None),
            ("-oProxyCommand=x", None),
            ("me@-oProxyCommand=x", None),
            ("-l@pi", None),
            ("me@pi:0", None),
            ("me@pi:x", None),
            ("me@pi x", None),
            ("me@", None),
            ("a;b@pi", None),
        ] {
            let found = SshTarget::parse(text);
            let want =
                want.map(|(destination, port)| SshTarget { destination: destination.to_owned(), port });
            assert_eq!(found.clone().ok(), want, "{text}: {found:?}");
        }
        assert_eq!(SshTarget::parse("me@pi:2222").unwrap().text(), "me@pi:2222");
    }
}
