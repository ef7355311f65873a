//! Signals as something that can be polled: which of them came since they were last looked at.

use crate::cli::Failure;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::{flag, low_level};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The signals that mean something to a screen.
#[derive(Debug)]
pub(super) struct Bells {
    wake: UnixStream,
    came: [(i32, Arc<AtomicBool>); 6],
}

impl Bells {
    /// Begins to listen.
    ///
    /// # Errors
    /// Signals cannot be watched.
    pub(super) fn listen() -> Result<Self, Failure> {
        let failed = |why: io::Error| Failure::Failed(format!("signals cannot be watched: {why}"));
        let (wake, ring) = UnixStream::pair().map_err(failed)?;
        wake.set_nonblocking(true).map_err(failed)?;
        let came =
            [SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP, SIGCONT].map(|signal| (signal, Arc::default()));
        for (signal, came) in &came {
            // In this order: whoever is woken finds the flag.
            flag::register(*signal, Arc::clone(came)).map_err(failed)?;
            low_level::pipe::register(*signal, ring.try_clone().map_err(failed)?).map_err(failed)?;
        }
        Ok(Self { wake, came })
    }

    /// Whether something came that nobody has taken.
    pub(super) fn is_ringing(&self) -> bool {
        self.came.iter().any(|(_, came)| came.load(Ordering::Acquire))
    }

    /// The end that a signal asks for, if one does.
    pub(super) fn ended(&self) -> Option<Failure> {
        let mut came = self.came.iter().filter(|(_, came)| came.load(Ordering::Acquire));
        let signal = came.find(|(signal, _)| [SIGINT, SIGTERM, SIGHUP].contains(signal))?.0;
        Some(Failure::Reported(u8::try_from(128 + signal).unwrap_or(1)))
    }

    /// Polling waits for the next one; what came stays to be taken.
    pub(super) fn hush(&self) {
        let mut bytes = [0; 64];
        while let Ok(1..) = (&self.wake).read(&mut bytes) {}
    }

    /// What came since the last time.
    pub(super) fn take(&mut self) -> Vec<i32> {
        self.hush();
        let came = self.came.iter().filter(|(_, came)| came.swap(false, Ordering::AcqRel));
        came.map(|(signal, _)| *signal).collect()
    }
}

impl AsFd for Bells {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
