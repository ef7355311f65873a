//! A terminal for a program under test: its two ends.

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;

/// The end at which a person would sit, and the name of the other one.
pub(crate) struct Pty {
    /// What is written here is typed; what is read here is shown.
    pub(crate) keys: File,
    name: CString,
}

impl Pty {
    pub(crate) fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        Self { keys: File::from(master), name }
    }

    /// The program's end, for one of its descriptors.
    pub(crate) fn terminal(&self) -> OwnedFd {
        open(self.name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap()
    }
}
