//! Programs that are asked something: started in a group of their own, and gone when the question is.

use rustix::process::{Pid, Signal};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// A running program. One that has not ended when this is dropped is killed, with all that it has started.
pub(crate) struct Running {
    child: Child,
    has_ended: bool,
}

impl Running {
    /// Starts it. A program that is being replaced at this very moment is there a moment later.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        command.process_group(0);
        for _ in 0..BUSY_RETRIES {
            match command.spawn() {
                Err(why) if why.kind() == io::ErrorKind::ExecutableFileBusy => {
                    thread::sleep(Duration::from_millis(20));
                }
                started => return Ok(Self { child: started?, has_ended: false }),
            }
        }
        Ok(Self { child: command.spawn()?, has_ended: false })
    }

    /// Its ends of pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for its end; `None` when it takes longer, or `go_on` says no.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(crate) fn wait(
        &mut self,
        until: Instant,
        go_on: &dyn Fn() -> bool,
    ) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.has_ended = true;
                return Ok(Some(status));
            }
            if Instant::now() >= until || !go_on() {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // What it has started may hold its output open, even when it is gone itself.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        // One that runs as somebody else does not let itself be killed, and is not waited for.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

const BUSY_RETRIES: usize = 5;
