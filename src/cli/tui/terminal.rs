//! The terminal as a screen of our own, and given back as it was, however that ends: the way out of the function, an error,
//! a panic. What a signal asks for is the loop's business, which ends by the same way.

use super::ui::Size;
use crate::cli::Failure;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, Once, PoisonError};

/// A terminal that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Terminal(());

/// How the terminal was, while it is ours.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

impl Terminal {
    /// Takes it.
    ///
    /// # Errors
    /// It cannot be set.
    pub(super) fn take() -> Result<Self, Failure> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // What it says is to be read afterwards.
                give_back();
                before(panic);
            }));
        });
        let terminal = Self(());
        terminal.enter()?;
        Ok(terminal)
    }

    /// Sets it again, after it was left for a while or by another process.
    ///
    /// # Errors
    /// It cannot be set.
    pub(super) fn enter(&self) -> Result<(), Failure> {
        let failed = |why: rustix::io::Errno| Failure::Failed(format!("the terminal cannot be set: {why}"));
        let now = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = now.clone();
        raw.make_raw();
        // As it was before the first time, when it was not left since.
        BEFORE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        self.write(ENTER)
    }

    /// Leaves it as it was.
    pub(super) fn leave(&self) {
        give_back();
    }

    /// Writes to it.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|why| Failure::Failed(format!("the terminal is gone: {why}")))
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
    let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let mut out = io::stdout();
    let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
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
const COLUMNS_MAX: usize = 1_000;
const ROWS_MAX: usize = 500;
