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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::approvals::ApprovalsFile;
    use super::super::policy::Fallback;
    use super::super::wake::{self, Woken};
    use super::*;
    use crate::scratch::Folder;
    use crate::storage::{RealDisk, Storage};
    use rustix::event::PollFlags;
    use serde_json::json;
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    fn invoke(id: usize, command: &[&str]) -> Invoke {
        let params = json!({"command": command}).to_string();
        let payload =
            json!({"id": format!("i{id}"), "nodeId": "n", "command": "system.run", "paramsJSON": params});
        Invoke::parse(&payload).unwrap()
    }

    fn next(jobs: &mut Jobs, woken: &Woken) -> Finished {
        loop {
            woken.clear();
            if let Some(finished) = jobs.finished() {
                return finished;
            }
            let looks = wake::wait(&[(woken.as_fd(), PollFlags::IN)], Some(Duration::from_secs(60)));
            assert_eq!(looks.unwrap(), [true], "nothing is done");
        }
    }

    #[test]
    fn so_many_run_at_once_and_all_of_them_can_be_taken_back() {
        let folder = Folder::new();
        let full = Fallback { security: Some("full".into()), ask: Some("off".into()) };
        let approvals =
            ApprovalsFile::new(Storage::new(RealDisk, 1), folder.path().join("exec-approvals.json"), full);
        let own = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
        let desk = Desk { approvals, own, home: None, state_dir: folder.path().to_owned() };
        let (waker, woken) = wake::pair().unwrap();
        let mut jobs = Jobs::new(Arc::new(desk), waker);
        for id in 0..INVOKES_MAX {
            assert!(jobs.start(1, invoke(id, &["sleep", "1000"])).is_ok());
        }
        // Once more, and it is the same one; another one is too much, also from another connection.
        assert!(jobs.start(1, invoke(0, &["sleep", "1000"])).is_ok());
        for connection in [1, 2] {
            let refused = jobs.start(connection, invoke(INVOKES_MAX, &["id"])).unwrap_err();
            assert_eq!(refused.1.code, "NODE_NOT_READY");
        }
        assert!(jobs.cancel(1, "i3") && !jobs.cancel(2, "i3") && !jobs.cancel(1, "x"));
        let first = next(&mut jobs, &woken);
        assert_eq!((first.connection, first.invoke.id.as_str()), (1, "i3"));
        assert_eq!(first.done.outcome.unwrap()["error"], "cancelled");
        jobs.cancel_all();
        for left in (0..INVOKES_MAX - 1).rev() {
            next(&mut jobs, &woken);
            assert_eq!(jobs.is_empty(), left == 0);
        }
    }
}
