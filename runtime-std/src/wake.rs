//! Wakes a thread that sits in `poll`: a pipe that never holds more than one byte.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// One thread waits on [`Wake::as_fd`], any thread calls [`Wake::wake`].
#[derive(Debug)]
pub(crate) struct Wake {
    pending: AtomicBool,
    reader: PipeReader,
    writer: PipeWriter,
}

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { pending: AtomicBool::new(false), reader, writer })
    }

    /// Makes the pipe readable, with a system call only when it is not so already.
    pub(crate) fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            // Cannot fail while `self` holds both ends, nor block: the pipe is empty.
            let _ = (&self.writer).write_all(&[1]);
        }
    }

    /// Takes the byte out. Call when the pipe is readable, and look at what changed afterwards.
    pub(crate) fn clear(&self) {
        let _ = (&self.reader).read_exact(&mut [0]);
        self.pending.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_ready(wake: &Wake) -> bool {
        let mut fds = [PollFd::new(wake, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn many_wakes_are_one_byte_and_one_clear() {
        let wake = Wake::new().unwrap();
        assert!(!is_ready(&wake));
        for _ in 0..100_000 {
            wake.wake(); // a byte each would fill the pipe and block
        }
        assert!(is_ready(&wake));
        wake.clear();
        assert!(!is_ready(&wake));
        wake.wake();
        assert!(is_ready(&wake));
    }
}
