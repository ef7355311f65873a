//! What SIGINT, SIGTERM and SIGUSR1 ask of a running gateway or node host, from before it begins until it has ended.

use super::Failure;
use crate::log::Logger;
use clawgate_proto::log::{Level, Record};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::{SigId, flag, low_level};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What somebody wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// That it ends.
    Stop,
    /// That it ends and begins anew.
    Restart,
}

/// Whether somebody wished something of this process, and what to do then.
#[derive(Default)]
pub(super) struct Asked {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    wish: Option<Wish>,
    act: Option<Box<dyn FnMut(Wish) + Send>>,
}

impl Asked {
    /// Somebody asks. Who wishes an end after a restart gets the end.
    fn ask(&self, wish: Wish) {
        let mut state = self.lock();
        state.wish = Some(wish);
        if let Some(act) = &mut state.act {
            act(wish);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// From now on asking does this; at once, when somebody asked already.
    pub(super) fn on_wish(&self, mut act: impl FnMut(Wish) + Send + 'static) {
        let mut state = self.lock();
        if let Some(wish) = state.wish {
            act(wish);
        }
        state.act = Some(Box::new(act));
    }

    /// The latest wish, as far as there is one.
    pub(super) fn wish(&self) -> Option<Wish> {
        self.lock().wish
    }

    /// Waits for a wish.
    pub(super) fn wait(&self, time: Duration) -> Option<Wish> {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, time, |state| state.wish.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.wish
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watch over signals.
pub(super) struct Watch {
    handle: Handle,
    thread: JoinHandle<()>,
    unwatched: Unwatched,
}

/// What becomes of a signal that asks for the end when nobody watches any more: it ends the process at once.
pub(super) struct Unwatched {
    is_so: Arc<AtomicBool>,
    actions: Vec<SigId>,
}

impl Watch {
    /// Ends it, when every signal that has come so far has been acted on. Whoever asks for the end from now on gets it:
    /// the handler stays until another program takes the place of this one, and would otherwise only swallow that.
    pub(super) fn end(self) -> Unwatched {
        self.unwatched.is_so.store(true, Ordering::Release);
        self.handle.close();
        let _ = self.thread.join();
        self.unwatched
    }
}

impl Unwatched {
    fn new() -> std::io::Result<Self> {
        let mut unwatched = Self { is_so: Arc::default(), actions: Vec::new() };
        for signal in [SIGINT, SIGTERM] {
            let is_so = Arc::clone(&unwatched.is_so);
            unwatched.actions.push(flag::register_conditional_shutdown(signal, 0, is_so)?);
        }
        Ok(unwatched)
    }

    /// Somebody will watch again.
    pub(super) fn end(self) {
        self.is_so.store(false, Ordering::Release);
        for action in self.actions {
            low_level::unregister(action);
        }
    }
}

/// The first SIGINT or SIGTERM asks it to stop, also one that is about to restart; the second ends the process.
/// SIGUSR1 asks it to restart, where that is allowed.
///
/// # Errors
/// Signals cannot be watched.
pub(super) fn watch(
    logger: &Arc<Logger>,
    asked: &Arc<Asked>,
    may_restart: impl Fn() -> Result<(), String> + Send + 'static,
) -> Result<Watch, Failure> {
    let failed = |why| Failure::Failed(format!("signals cannot be watched: {why}"));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1]).map_err(failed)?;
    let unwatched = Unwatched::new().map_err(failed)?;
    let (logger, asked) = (Arc::clone(logger), Arc::clone(asked));
    let handle = signals.handle();
    let watch = move || {
        let mut since: Option<(Wish, Instant)> = None;
        let mut act = |signal| {
            let (name, wish) = match signal {
                SIGINT => ("SIGINT", Wish::Stop),
                SIGUSR1 => ("SIGUSR1", Wish::Restart),
                _ => ("SIGTERM", Wish::Stop),
            };
            match (since, wish) {
                (None, _) => {
                    logger.log(&Record::new(Level::Info, "signal.received").field("signal", name));
                    if wish == Wish::Restart
                        && let Err(why) = may_restart()
                    {
                        logger.log(&Record::new(Level::Warn, "restart.refused").field("why", why));
                        return;
                    }
                    since = Some((wish, Instant::now()));
                    asked.ask(wish);
                }
                // Whoever stops a gateway that is about to restart wants none to be there afterwards.
                (Some((Wish::Restart, _)), Wish::Stop) => {
                    logger.log(&Record::new(Level::Info, "signal.received").field("signal", name));
                    since = Some((wish, Instant::now()));
                    asked.ask(wish);
                }
                // It is ending already.
                (Some(_), Wish::Restart) => {}
                // Some tools signal a process and then its group: that is one request, not two.
                (Some((Wish::Stop, at)), Wish::Stop) if at.elapsed() < ONE_REQUEST => {}
                (Some((Wish::Stop, _)), Wish::Stop) => {
                    logger.log(&Record::new(Level::Warn, "signal.cut").field("signal", name));
                    std::process::exit(128 + signal);
                }
            }
        };
        signals.forever().for_each(&mut act);
        signals.pending().for_each(&mut act);
    };
    let thread = std::thread::Builder::new().name("signals".to_owned()).stack_size(STACK_BYTES);
    let thread = thread.spawn(watch);
    let thread = thread.map_err(|why| Failure::Failed(format!("no thread for signals: {why}")))?;
    Ok(Watch { handle, thread, unwatched })
}

/// Signals closer together than this are one request.
const ONE_REQUEST: Duration = Duration::from_millis(100);
/// It formats records, and reads the configuration before a restart.
const STACK_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_acted_on_whether_it_comes_before_or_after() {
        for early in [true, false] {
            let (asked, acted) = (Asked::default(), Arc::new(AtomicBool::new(false)));
            let seen = Arc::clone(&acted);
            if early {
                asked.ask(Wish::Restart);
            }
            assert_eq!(asked.wait(Duration::ZERO).is_some(), early);
            asked.on_wish(move |wish| seen.store(wish == Wish::Restart, Ordering::Relaxed));
            if !early {
                asked.ask(Wish::Restart);
            }
            assert!(acted.load(Ordering::Relaxed));
            assert_eq!(asked.wait(Duration::from_secs(60)), Some(Wish::Restart));
            asked.ask(Wish::Stop);
            assert!(!acted.load(Ordering::Relaxed), "an end after a restart is an end");
            assert_eq!(asked.wish(), Some(Wish::Stop));
        }
    }
}
