//! Keeps the claims of a running gateway: one thread, and only where there is an account to claim.

use super::Account;
use super::claim::{Claim, Standing, Step};
use crate::lock::{Attempt, OsLock, Owner};
use crate::log::Logger;
use crate::storage::explain;
use clawgate_proto::host::{AccountOwner, ChannelAccount};
use clawgate_proto::log::{Level, Record};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The claims, at work. Dropping it gives all accounts up.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    entries: Vec<Entry>,
    is_over: bool,
}

#[derive(Debug)]
struct Entry {
    account: Account,
    standing: Option<Standing>,
}

/// What the thread alone has of an account.
struct Held {
    account: Account,
    claim: Claim,
    lock: Option<OsLock>,
}

impl Keeper {
    /// Tries for every account once, and from then on in the background. `owner` is this gateway, as others are told.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn start(accounts: Vec<Account>, owner: Owner, logger: Arc<Logger>) -> io::Result<Self> {
        let entries =
            accounts.iter().map(|account| Entry { account: account.clone(), standing: None }).collect();
        let state = Mutex::new(State { entries, is_over: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        if accounts.is_empty() {
            return Ok(Self { shared, thread: None });
        }
        let started = Instant::now();
        let now_ms = move || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut held: Vec<Held> =
            accounts.into_iter().map(|account| Held { account, claim: Claim::new(0), lock: None }).collect();
        shared.turn(&mut held, &owner, &logger, now_ms());
        let (at_work, name) = (Arc::clone(&shared), "accounts".to_owned());
        let thread = std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || {
            loop {
                let due = held.iter().map(|held| held.claim.next_deadline()).min().unwrap_or(u64::MAX);
                if at_work.wait(Duration::from_millis(due.saturating_sub(now_ms()))) {
                    return;
                }
                at_work.turn(&mut held, &owner, &logger, now_ms());
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// How every account stands.
    pub fn accounts(&self) -> Vec<ChannelAccount> {
        self.shared.lock().entries.iter().map(told).collect()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Does what is due. No lock of this process is held while the disk is asked.
    fn turn(&self, held: &mut [Held], owner: &Owner, logger: &Logger, now_ms: u64) {
        for (number, held) in held.iter_mut().enumerate() {
            if held.claim.next_step(now_ms) == Some(Step::Look) {
                let is_in_place = held.lock.as_ref().is_some_and(OsLock::is_in_place);
                held.claim.looked(now_ms, is_in_place);
                if !is_in_place {
                    held.lock = None;
                    self.lock().entries[number].standing = None;
                    logger.log(&record(Level::Warn, "account.lost", &held.account).field(
                        "what",
                        "the account's folder was removed or replaced, and the lock with it; taking it anew",
                    ));
                }
            }
            if held.claim.next_step(now_ms) == Some(Step::Try) {
                let standing = held.attempt(owner);
                if let Some(news) = held.claim.tried(now_ms, standing) {
                    self.lock().entries[number].standing = Some(news.clone());
                    logger.log(&news_of(&held.account, news));
                }
            }
        }
    }

    /// Waits for the next turn; whether it is over.
    fn wait(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), time, |state| !state.is_over);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn attempt(&mut self, owner: &Owner) -> Standing {
        let path = self.account.lock();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.account.folder);
        match made.and_then(|()| OsLock::attempt(&path, owner)) {
            Ok(Attempt::Ours(lock)) => {
                self.lock = Some(lock);
                Standing::Ours
            }
            Ok(Attempt::Others(other)) => Standing::Others(other),
            Err(why) => Standing::Fault(explain("lock", &path, &why)),
        }
    }
}

fn record(level: Level, event: &'static str, account: &Account) -> Record {
    Record::new(level, event).field("channel", account.channel).field("account", &account.id)
}

fn news_of(account: &Account, news: &Standing) -> Record {
    match news {
        Standing::Ours => record(Level::Info, "account.owned", account),
        Standing::Others(owner) => {
            let mut record = record(Level::Warn, "account.taken", account);
            if let Some(owner) = owner {
                record = record.field("pid", owner.pid);
                if let Some(profile) = &owner.profile {
                    record = record.field("profile", profile);
                }
                if let Some(port) = owner.port {
                    record = record.field("port", port);
                }
            }
            let what = "another gateway owns this account's session, and this one waits for it to end";
            record.field("what", what)
        }
        Standing::Fault(why) => record(Level::Error, "account.unlockable", account).field("why", why),
    }
}

fn told(entry: &Entry) -> ChannelAccount {
    let owner = match &entry.standing {
        Some(Standing::Ours) => AccountOwner::Us,
        Some(Standing::Others(Some(owner))) => {
            AccountOwner::Other { pid: owner.pid, profile: owner.profile.clone(), port: owner.port }
        }
        Some(Standing::Others(None)) => {
            AccountOwner::Nobody { why: "another process has just taken its lock".to_owned() }
        }
        Some(Standing::Fault(why)) => AccountOwner::Nobody { why: why.clone() },
        None => AccountOwner::Nobody { why: "its lock is being taken".to_owned() },
    };
    let account = &entry.account;
    ChannelAccount {
        channel: account.channel,
        account: account.id.clone(),
        linked: account.is_linked(),
        owner,
    }
}

/// It opens files and formats a record.
const STACK_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::path::Path;

    fn account(folder: &Path) -> Account {
        Account { channel: "whatsapp", id: "default".into(), folder: folder.join("a") }
    }

    fn start(folder: &Path, profile: &str) -> Keeper {
        let owner = Owner::this_process(profile, 7, Path::new("/c"), Path::new("/s"));
        Keeper::start(vec![account(folder)], owner, Arc::new(Logger::new(None, true))).unwrap()
    }

    fn until(what: &str, is_so: impl Fn() -> bool) {
        let bound = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < bound, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_second_waits_and_gets_it_when_the_first_ends() {
        let folder = Folder::new();
        let first = start(folder.path(), "one");
        let ours = ChannelAccount {
            channel: "whatsapp",
            account: "default".into(),
            linked: false,
            owner: AccountOwner::Us,
        };
        assert_eq!(first.accounts(), [ours]);
        let second = start(folder.path(), "two");
        let of_first =
            AccountOwner::Other { pid: std::process::id(), profile: Some("one".into()), port: Some(7) };
        assert_eq!(second.accounts()[0].owner, of_first);
        assert_eq!(account(folder.path()).owner().unwrap().profile.as_deref(), Some("one"));
        drop(first);
        until("the second gets it", || second.accounts()[0].owner == AccountOwner::Us);
        assert_eq!(account(folder.path()).owner().unwrap().profile.as_deref(), Some("two"));
        std::fs::write(folder.path().join("a/creds.json"), "{}").unwrap();
        assert!(second.accounts()[0].linked);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_nobodys_and_says_why() {
        let folder = Folder::new();
        std::fs::write(folder.path().join("a"), "a file").unwrap();
        let keeper = start(folder.path(), "one");
        let AccountOwner::Nobody { why } = &keeper.accounts()[0].owner else { panic!("owned") };
        assert!(why.contains("cannot lock"), "{why}");
    }

    #[test]
    fn a_folder_that_was_removed_is_taken_anew() {
        let folder = Folder::new();
        let keeper = start(folder.path(), "one");
        std::fs::remove_dir_all(folder.path().join("a")).unwrap();
        until("a new lock", || folder.path().join("a/clawgate.lock").exists());
        until("it is ours", || keeper.accounts()[0].owner == AccountOwner::Us);
    }

    #[test]
    fn without_accounts_there_is_no_thread() {
        let owner = Owner::this_process("p", 0, Path::new("/c"), Path::new("/s"));
        let keeper = Keeper::start(Vec::new(), owner, Arc::new(Logger::new(None, true))).unwrap();
        assert!(keeper.thread.is_none() && keeper.accounts().is_empty());
    }
}
