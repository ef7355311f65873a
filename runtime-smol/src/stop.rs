//! How the program asks a run to end.

use crate::driver::Driver;
use crate::flag::Flag;
use clawgate_proto::{Host, Input};
use std::sync::Arc;
use std::task::Waker;

/// A handle for one run; clones are the same handle. Works from any thread, before and during the run.
#[derive(Clone)]
pub struct Stop(Arc<Flag>);

impl Stop {
    /// A handle that nobody has used.
    pub fn new() -> Self {
        Self(Arc::new(Flag::new(false)))
    }

    /// Asks the core to shut down; only the first call counts.
    pub fn stop(&self) {
        self.0.raise().into_iter().for_each(Waker::wake);
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells the core once.
pub(crate) async fn run<H: Host>(stop: Stop, driver: Arc<Driver<H>>) {
    stop.0.raised().await;
    driver.tell(Input::Stop);
}
