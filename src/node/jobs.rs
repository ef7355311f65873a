//! The invocations that are being done: a thread each, so many and no more, and each can be taken back.

use super::INVOKES_MAX;
use super::desk::{Desk, Done};
use super::invoke::{Fault, Invoke};
use super::run::Cancel;
use super::wake::Waker;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Who does them, and which ones.
pub struct Jobs {
    desk: Arc<Desk>,
    waker: Waker,
    running: BTreeMap<Key, Arc<Cancel>>,
    sender: Sender<Finished>,
    receiver: Receiver<Finished>,
}

/// Ids are a gateway's own; another connection may be to another gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    connection: u64,
    id: String,
}

/// One that is done.
pub struct Finished {
    /// The connection it came by.
    pub connection: u64,
    /// What was asked.
    pub invoke: Invoke,
    /// What came of it.
    pub done: Done,
}

impl Jobs {
    /// None yet. Whoever waits at the other end of `waker` is woken when one is done.
    pub fn new(desk: Arc<Desk>, waker: Waker) -> Self {
        let (sender, receiver) = channel();
        Self { desk, waker, running: BTreeMap::new(), sender, receiver }
    }

    /// Begins one. The same one again, while it runs, is nothing new.
    ///
    /// # Errors
    /// There are too many.
    pub fn start(&mut self, connection: u64, invoke: Invoke) -> Result<(), Box<(Invoke, Fault)>> {
        let key = Key { connection, id: invoke.id.clone() };
        if self.running.contains_key(&key) {
            return Ok(());
        }
        let waker = if self.running.len() < INVOKES_MAX { self.waker.another().ok() } else { None };
        let Some(waker) = waker else { return Err(Box::new((invoke, Fault::busy()))) };
        let cancel = Arc::new(Cancel::default());
        let (desk, sender, kept, asked) =
            (Arc::clone(&self.desk), self.sender.clone(), Arc::clone(&cancel), invoke.clone());
        let work = move || {
            let done = catch_unwind(AssertUnwindSafe(|| desk.perform(&asked, &cancel)));
            let done = done.unwrap_or_else(|_| Done {
                outcome: Err(Fault::unavailable("the node host failed: a defect, please report it")),
                event: None,
                note: None,
            });
            let _ = sender.send(Finished { connection, invoke: asked, done });
            waker.wake();
        };
        let thread = std::thread::Builder::new().name("invoke".to_owned()).stack_size(STACK_BYTES);
        match thread.spawn(work) {
            Ok(_) => {
                self.running.insert(key, kept);
                Ok(())
            }
            Err(_) => Err(Box::new((invoke, Fault::busy()))),
        }
    }

    /// The next one that is done.
    pub fn finished(&mut self) -> Option<Finished> {
        let finished = self.receiver.try_recv().ok()?;
        self.running.remove(&Key { connection: finished.connection, id: finished.invoke.id.clone() });
        Some(finished)
    }

    /// Takes one back. Says whether there was one.
    pub fn cancel(&self, connection: u64, id: &str) -> bool {
        let cancel = self.running.get(&Key { connection, id: id.to_owned() });
        if let Some(cancel) = cancel {
            cancel.cancel();
        }
        cancel.is_some()
    }

    /// Takes all of them back.
    pub fn cancel_all(&self) {
        self.running.values().for_each(|cancel| cancel.cancel());
    }

    /// Whether none is being done.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

/// It hashes files, parses params and renders answers.
const STACK_BYTES: usize = 512 * 1024;
