//! The terminal as a screen of our own, and given back as it was, however that ends: the way out of the function, an error,
//! a panic. What a signal asks for is the loop's business, which ends by the same way.

use super::bells::Bells;
use super::ui::Size;
use crate::cli::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, write};
use rustix::process::getpgrp;
use rustix::termios::{
    OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, ttyname,
};
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, Once, PoisonError};

/// A terminal that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Terminal {
    out: Arc<Out>,
}

/// How the terminal was, while it is ours, and where it is written to.
static BEFORE: Mutex<Option<(Termios, Arc<Out>)>> = Mutex::new(None);

impl Terminal {
    /// Takes it.
    ///
    /// # Errors
    /// It cannot be set, or a signal came that ends the program.
    pub(super) fn take(bells: &Bells) -> Result<Self, Failure> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // What it says is to be read afterwards.
                give_back();
                before(panic);
            }));
        });
        let out =
            Out::open().map_err(|why| Failure::Failed(format!("the terminal cannot be opened: {why}")))?;
        let terminal = Self { out: Arc::new(out) };
        terminal.enter(bells)?;
        Ok(terminal)
    }

    /// Sets it again, after it was left for a while or by another process.
    ///
    /// # Errors
    /// It cannot be set, or a signal came that ends the program.
    pub(super) fn enter(&self, bells: &Bells) -> Result<(), Failure> {
        let failed = |why: Errno| Failure::Failed(format!("the terminal cannot be set: {why}"));
        let now = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = now.clone();
        raw.make_raw();
        // As it was before the first time, when it was not left since.
        let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        before.get_or_insert_with(|| (now, Arc::clone(&self.out)));
        drop(before);
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        self.write(ENTER, bells)
    }

    /// Leaves it as it was.
    pub(super) fn leave(&self) {
        give_back();
    }

    /// Whether we are in its foreground. One that has none is always ours.
    pub(super) fn is_ours(&self) -> bool {
        tcgetpgrp(io::stdin()).map_or(true, |group| group == getpgrp())
    }

    /// Writes to it, and waits for one that takes nothing until it does.
    ///
    /// # Errors
    /// It is gone, or a signal came that ends the program.
    pub(super) fn write(&self, text: &str, bells: &Bells) -> Result<(), Failure> {
        let gone = |why: Errno| Failure::Failed(format!("the terminal is gone: {why}"));
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match self.out.offer(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let mut fds =
                        [PollFd::new(&self.out.file, PollFlags::OUT), PollFd::new(bells, PollFlags::IN)];
                    match poll(&mut fds, None) {
                        Ok(_) | Err(Errno::INTR) => bells.hush(),
                        Err(why) => return Err(gone(why)),
                    }
                    if let Some(ended) = bells.ended() {
                        return Err(ended);
                    }
                }
                Err(why) => return Err(gone(why)),
            }
        }
        Ok(())
    }

    /// Its size. One that does not know it is taken for the usual one.
    pub(super) fn size(&self) -> Size {
        let known = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        known.map_or(Size { columns: 80, rows: 24 }, |size| Size {
            columns: usize::from(size.ws_col).min(COLUMNS_MAX),
            rows: usize::from(size.ws_row).min(ROWS_MAX),
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((modes, out)) = before else { return };
    // What was typed for the screen is no command for the shell.
    if out.write_last(LEAVE) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &modes);
        return;
    }
    // It takes nothing: what it has not shown by now it shall not wait for, nor shall we.
    let _ = tcflush(io::stdin(), QueueSelector::IOFlush);
    out.write_last(LEAVE);
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
}

/// The way to the screen.
#[derive(Debug)]
struct Out {
    file: OwnedFd,
    /// Whether it never blocks.
    never_blocks: bool,
}

impl Out {
    /// Opens the terminal once more: the mode that does not block would be that of all who share standard output. Where it
    /// cannot be opened, standard output is written to in small pieces.
    fn open() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let own = ttyname(io::stdout(), Vec::new()).and_then(|name| open(name, flags, Mode::empty()));
        Ok(match own {
            Ok(file) => Self { file, never_blocks: true },
            Err(_) => Self { file: io::stdout().as_fd().try_clone_to_owned()?, never_blocks: false },
        })
    }

    /// Writes as much as it takes.
    fn offer(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        if self.never_blocks {
            return write(&self.file, bytes);
        }
        let mut fds = [PollFd::new(&self.file, PollFlags::OUT)];
        if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
            return Err(Errno::AGAIN);
        }
        write(&self.file, bytes.get(..PIECE_BYTES).unwrap_or(bytes))
    }

    /// Writes what is the last, and whether all of it was taken within a moment.
    fn write_last(&self, text: &str) -> bool {
        let mut rest = text.as_bytes();
        for _ in 0..LAST_TRIES {
            match self.offer(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => {
                    let mut fds = [PollFd::new(&self.file, PollFlags::OUT)];
                    let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: LAST_WAIT_NS }));
                }
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
            if rest.is_empty() {
                return true;
            }
        }
        false
    }
}

/// Why there is no screen here, as far as there is none.
pub(super) fn why_none(term: Option<&str>) -> Option<&'static str> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Some("standard input and output are no terminal");
    }
    (term == Some("dumb")).then_some("this terminal (TERM=dumb) cannot be drawn on")
}

/// The other screen, without a cursor, and without lines that run on in the next one.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[0m\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
/// A terminal that takes anything takes so much without blocking.
const PIECE_BYTES: usize = 64;
const LAST_TRIES: usize = 10;
/// 20 ms.
const LAST_WAIT_NS: i64 = 20_000_000;
const COLUMNS_MAX: usize = 1_000;
const ROWS_MAX: usize = 500;
