//! A thread that waits for sockets and pipes is woken by one more of them: whatever is written to it only says "look".

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The end that wakes. Cheap to clone; nothing it does can block.
#[derive(Debug)]
pub struct Waker(UnixStream);

/// The end that is woken.
#[derive(Debug)]
pub struct Woken(UnixStream);

/// Makes a pair.
///
/// # Errors
/// As the system says.
pub fn pair() -> io::Result<(Waker, Woken)> {
    let (wakes, woken) = UnixStream::pair()?;
    wakes.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    Ok((Waker(wakes), Woken(woken)))
}

impl Waker {
    /// Wakes. When nobody has looked since the last few times, there is something to see already.
    pub fn wake(&self) {
        let _ = (&self.0).write(&[0]);
    }

    /// Another one for the same thread.
    ///
    /// # Errors
    /// As the system says.
    pub fn another(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl Woken {
    /// Forgets what woke it so far: call it before looking.
    pub fn clear(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.0).read(&mut bytes), Ok(1..)) {}
    }
}

impl AsFd for Woken {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of these can be used, or the time is up. Says for each whether it can; an end or an error counts,
/// because using it tells.
///
/// # Errors
/// As the system says.
pub fn wait(fds: &[(BorrowedFd<'_>, PollFlags)], time: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut fds: Vec<PollFd<'_>> =
        fds.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    // One millisecond more: a wait that ends a little early would be repeated at once, many times.
    let time = time.map(|time| time.min(LONGEST) + Duration::from_millis(1));
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    match poll(&mut fds, time.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(why) => return Err(why.into()),
    }
    Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// No single wait is longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_wait_ends_when_it_is_woken_however_often_that_was() {
        let (waker, woken) = pair().unwrap();
        let look = |time| wait(&[(woken.as_fd(), PollFlags::IN)], Some(Duration::from_millis(time))).unwrap();
        assert_eq!(look(0), [false]);
        let other = waker.another().unwrap();
        std::thread::spawn(move || (0..100_000).for_each(|_| other.wake())).join().unwrap();
        assert_eq!(look(60_000), [true]);
        woken.clear();
        assert_eq!(look(0), [false]);
        drop(waker);
        assert_eq!(look(60_000), [true], "nobody can wake it any more");
    }
}
