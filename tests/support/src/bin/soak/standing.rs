//! Those who are always there, and do next to nothing: two operators, a node, and a page while nothing else happens. They
//! answer pings, take what comes, and must never be closed.

use crate::comers::hear;
use crate::ground::{Ground, NODES, Outcome};
use crate::web;
use clawgate_support::TestClient;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// They, on a thread of their own.
pub(crate) struct Standing {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome>>,
}

impl Standing {
    /// They come in.
    pub(crate) fn attach(ground: &Arc<Ground>) -> Outcome<Self> {
        let mut clients = Vec::new();
        for device in 0..OPERATORS {
            clients.push(ground.enter(ground.operator(Some(device)))?);
        }
        clients.push(ground.enter(ground.node(NODES))?);
        Ok(Self::keep(move |stop| clients.iter_mut().try_for_each(|client| stand(client, stop))))
    }

    /// A page that nothing changes for.
    pub(crate) fn page(ground: &Ground) -> Outcome<Self> {
        let mut page = web::page(ground)?;
        Ok(Self::keep(move |_| web::hears(&mut page).map(drop)))
    }

    fn keep(mut turn: impl FnMut(&AtomicBool) -> Outcome + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                turn(&told)?;
            }
            Ok(())
        });
        Self { stop, thread: Some(thread) }
    }

    /// They go, and tell how it was.
    pub(crate) fn leave(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome.map_err(|why| format!("who is always there: {why}")),
            Some(Err(_)) | None => Err("who is always there panicked".to_owned()),
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // How it was is of interest only where it was asked for.
            let _ = thread.join();
        }
    }
}

/// Listens for a moment.
fn stand(client: &mut TestClient, stop: &AtomicBool) -> Outcome {
    if !stop.load(Ordering::Relaxed) && client.wait_for(MOMENT, |_| true).is_some() {
        return hear(client);
    }
    Ok(())
}

const OPERATORS: usize = 2;
const MOMENT: Duration = Duration::from_millis(100);
