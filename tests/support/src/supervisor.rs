//! A service manager of our own: it holds the listening sockets, hands them to the program as systemd does, hears what the
//! program tells it, and starts it again when told to. Nothing of it needs rights or another program but `sh`.

use crate::program::Settings;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Looks after one program.
#[derive(Debug)]
pub struct Supervisor {
    settings: Settings,
    handed: Vec<OwnedFd>,
    manager: UnixDatagram,
    variables: Vec<(String, String)>,
    child: Option<Child>,
    output: PathBuf,
    told: Vec<String>,
    starts: u32,
}

impl Supervisor {
    /// Of the program that these settings start, with these listeners: two at most, or none, when it binds by itself.
    ///
    /// # Panics
    /// When there are more, or no socket to be told at can be had.
    pub fn new(settings: &Settings, listeners: Vec<TcpListener>) -> Self {
        Self::handing_over(settings, listeners.into_iter().map(OwnedFd::from).collect())
    }

    /// The same with any descriptors.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn handing_over(settings: &Settings, handed: Vec<OwnedFd>) -> Self {
        assert!(handed.len() <= 2, "standard input and output carry them");
        let folder = settings.temporary_dir();
        let (path, output) = (folder.join("notify"), folder.join("supervised.log"));
        let manager = UnixDatagram::bind(&path).expect("the folder can be written");
        manager.set_read_timeout(Some(POLL)).expect("the time is not zero");
        let variables = vec![("NOTIFY_SOCKET".to_owned(), path.display().to_string())];
        let settings = settings.clone();
        Self { settings, handed, manager, variables, child: None, output, told: Vec::new(), starts: 0 }
    }

    /// With one more variable; `$$` in it stands for the id of the process that is started.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the program.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self) -> io::Result<()> {
        let own = self.settings.command(self.settings.args());
        // No signal, no fork, no shell is left when the program runs: the shell becomes it, under its own id.
        let mut script = String::from("exec 3<&0 4<&1 0</dev/null 1>&2; ");
        let count = self.handed.len();
        if count < 2 {
            script.push_str("exec 4<&-; ");
        }
        if count < 1 {
            script.push_str("exec 3<&-; ");
        }
        if count > 0 {
            script.push_str(&format!("export LISTEN_FDS={count} LISTEN_PID=$$; "));
        }
        for (name, value) in &self.variables {
            script.push_str(&format!("export {name}={value}; "));
        }
        script.push_str("exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(own.get_program()).args(own.get_args());
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let hand = |at: usize| match self.handed.get(at) {
            Some(socket) => socket.try_clone().map(Stdio::from),
            None => Ok(Stdio::null()),
        };
        let output = File::options().create(true).append(true).open(&self.output)?;
        command.current_dir(self.settings.temporary_dir()).stdin(hand(0)?).stdout(hand(1)?).stderr(output);
        self.child = Some(command.spawn()?);
        self.starts += 1;
        Ok(())
    }

    /// How often it was started.
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it was not started.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// All it has told so far, a message each.
    pub fn told(&mut self) -> &[String] {
        let mut bytes = [0; 4096];
        self.manager.set_nonblocking(true).expect("a socket");
        while let Ok(count) = self.manager.recv(&mut bytes) {
            self.told.push(String::from_utf8_lossy(&bytes[..count]).into_owned());
        }
        &self.told
    }

    /// Waits until it has told something that begins like this, after the first `after` messages, and gives how many
    /// there were then.
    ///
    /// # Panics
    /// When that does not come; with what it said.
    pub fn hear(&mut self, start: &str, after: usize) -> usize {
        let bound = Instant::now() + BOUND;
        loop {
            if let Some(at) = self.told().iter().skip(after).position(|message| message.starts_with(start)) {
                return after + at + 1;
            }
            let ended = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            let late = Instant::now() >= bound;
            assert!(!late && !ended, "no {start} in {:?}; it said:\n{}", self.told, self.output());
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(self.child()), signal);
    }

    /// Kills it (SIGKILL) and waits for that.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end; with what it said.
    pub fn wait(&mut self) -> ExitStatus {
        let bound = Instant::now() + BOUND;
        let child = self.child.as_mut().expect("it was started");
        loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < bound, "it does not end");
            std::thread::sleep(POLL);
        }
    }

    /// What it wrote, over all its lives.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    fn child(&self) -> &Child {
        self.child.as_ref().expect("it was started")
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.kill();
        crate::program::keep_output("supervised", &self.output());
    }
}

/// Longest wait for anything that should come soon.
const BOUND: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(2);
