//! How the program reaches a run: to end it, and to have it look at the configuration file.

use crate::driver::Driver;
use crate::flag::Flag;
use clawgate_proto::Input;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

/// A handle for one run; clones are the same handle. Works from any thread, before and during the run.
#[derive(Clone)]
pub struct Stop(Arc<Asked>);

struct Asked {
    flag: Flag,
    /// Whether the first who asked wants it to come back.
    restarts: AtomicBool,
    is_asked: AtomicBool,
    /// The configuration file may have been changed, and the core has not heard of it.
    touched: Flag,
}

impl Stop {
    /// A handle that nobody has used.
    pub fn new() -> Self {
        let (restarts, is_asked) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Asked { flag: Flag::new(false), restarts, is_asked, touched: Flag::new(false) }))
    }

    /// Asks the core to shut down; only the first call counts.
    pub fn stop(&self) {
        self.ask(false);
    }

    /// The same, and clients are told that the gateway comes back.
    pub fn restart(&self) {
        self.ask(true);
    }

    /// Tells the core that the configuration file may have been changed. Any number of times.
    pub fn config_touched(&self) {
        self.0.touched.raise().into_iter().for_each(Waker::wake);
    }

    fn ask(&self, restarts: bool) {
        if !self.0.is_asked.swap(true, Ordering::AcqRel) {
            self.0.restarts.store(restarts, Ordering::Release);
            self.0.flag.raise().into_iter().for_each(Waker::wake);
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells the core once.
pub(crate) async fn run(stop: Stop, driver: Arc<Driver>) {
    stop.0.flag.raised().await;
    driver.tell(if stop.0.restarts.load(Ordering::Acquire) { Input::Restart } else { Input::Stop });
}

/// Tells the core of a touched configuration file, for as long as the run lasts.
pub(crate) async fn watch(stop: Stop, driver: Arc<Driver>) {
    loop {
        stop.0.touched.raised().await;
        stop.0.touched.lower();
        driver.tell(Input::ConfigTouched);
    }
}
