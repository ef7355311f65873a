//! The task that lets the core see time pass.

use crate::driver::Driver;
use async_io::Timer;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// Feeds a tick at each deadline of the core. Never ends by itself.
pub(crate) async fn run(driver: Arc<Driver>) {
    let mut timer = Timer::never();
    poll_fn(|cx| {
        loop {
            match driver.tick() {
                // A deadline that passed while we looked is due in a moment, not in this loop.
                Some(at) => {
                    timer.set_at(driver.clock.instant(at.max(driver.clock.now().mono.plus_millis(1))))
                }
                None => timer = Timer::never(),
            }
            let hurry = driver.hurry.poll_raised(cx).is_ready();
            if Pin::new(&mut timer).poll(cx).is_pending() && !hurry {
                return Poll::<()>::Pending;
            }
        }
    })
    .await;
}
