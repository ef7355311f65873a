//! The one lock, and what happens around it: facts in, orders posted, and after the unlock the rest.

use crate::clock::Clock;
use crate::flag::Flag;
use crate::jobs::Jobs;
use crate::mailbox::Mailbox;
use crate::scratch;
use clawgate_proto::id::ConnId;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::{Connection, Gateway, Host, Input, Mono, Now, Output, Peer, Refused};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

/// What all tasks of a run share.
pub(crate) struct Driver {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) clock: Clock,
    /// Up while the core wants sockets.
    pub(crate) accepting: Flag,
    /// Raised when the core has stopped.
    pub(crate) stopped: Flag,
    /// Raised when the core's next deadline moved closer.
    pub(crate) hurry: Flag,
    jobs: Arc<Jobs>,
    shared: Mutex<Shared>,
}

struct Shared {
    gateway: Gateway,
    mailboxes: HashMap<ConnId, Arc<Mailbox>>,
    /// When the alarm task will look at the core again.
    alarm: Option<Mono>,
    /// The latest time the core has seen: threads come to the lock with older readings.
    last: Mono,
    /// The core has stopped: it is told nothing more.
    stopped: bool,
}

/// What the gateway said, on its way out. Empty between uses.
#[derive(Default)]
pub(crate) struct Mail {
    outputs: Vec<Output>,
    wakers: Vec<Waker>,
    records: Vec<Record>,
    has_jobs: bool,
    has_beat: bool,
}

impl Driver {
    pub(crate) fn new(gateway: Gateway, host: Arc<dyn Host>, clock: Clock) -> Self {
        let shared =
            Shared { gateway, mailboxes: HashMap::new(), alarm: None, last: Mono(0), stopped: false };
        Self {
            host,
            clock,
            accepting: Flag::new(true),
            stopped: Flag::new(false),
            hurry: Flag::new(false),
            jobs: Arc::default(),
            shared: Mutex::new(shared),
        }
    }

    /// Tells the core all of `inputs`, in order and in one go, and carries out what it answers.
    pub(crate) fn apply(self: &Arc<Self>, now: Now, inputs: &mut Vec<Input>, mail: &mut Mail) {
        {
            let mut shared = self.shared();
            if shared.stopped {
                inputs.clear();
                return;
            }
            let now = shared.at(now);
            for input in inputs.drain(..) {
                shared.gateway.handle(now, input, &mut mail.outputs);
            }
            self.post(&mut shared, mail);
        }
        self.deliver(mail);
    }

    /// Tells the core one thing, outside any connection's turn.
    pub(crate) fn tell(self: &Arc<Self>, input: Input) {
        scratch::with(|scratch| {
            scratch.inputs.push(input);
            self.apply(self.clock.now(), &mut scratch.inputs, &mut scratch.mail);
        });
    }

    /// Asks the core for a connection on an accepted socket.
    pub(crate) fn open(self: &Arc<Self>, peer: Peer) -> Result<(Connection, Arc<Mailbox>), Refused> {
        scratch::with(|scratch| {
            let mail = &mut scratch.mail;
            let opened = {
                let mut shared = self.shared();
                if shared.stopped {
                    return Err(Refused);
                }
                let now = shared.at(self.clock.now());
                let opened = shared.gateway.open(now, peer, &mut mail.outputs).map(|conn| {
                    let mailbox = Arc::<Mailbox>::default();
                    shared.mailboxes.insert(conn.id(), Arc::clone(&mailbox));
                    (conn, mailbox)
                });
                self.post(&mut shared, mail);
                opened
            };
            self.deliver(mail);
            opened
        })
    }

    /// Tells the core that a socket is gone, and forgets its mailbox.
    pub(crate) fn close(self: &Arc<Self>, conn: ConnId) {
        scratch::with(|scratch| {
            let mail = &mut scratch.mail;
            let mailbox = {
                let mut shared = self.shared();
                if shared.stopped {
                    return;
                }
                let now = shared.at(self.clock.now());
                shared.gateway.handle(now, Input::Closed { conn }, &mut mail.outputs);
                // First, so that no order is kept for nobody.
                let mailbox = shared.mailboxes.remove(&conn);
                self.post(&mut shared, mail);
                mailbox
            };
            // May free large bodies.
            drop(mailbox);
            self.deliver(mail);
        });
    }

    /// Lets the core see the time if its deadline passed. Gives the next one; the alarm task will come back then.
    pub(crate) fn tick(self: &Arc<Self>) -> Option<Mono> {
        scratch::with(|scratch| {
            let mail = &mut scratch.mail;
            let next = {
                let mut shared = self.shared();
                // Before the deadline is read: what moves it closer from here on raises the flag again.
                self.hurry.lower();
                if shared.stopped {
                    return None;
                }
                let now = shared.at(self.clock.now());
                if shared.gateway.next_deadline().is_some_and(|at| at <= now.mono) {
                    shared.gateway.handle(now, Input::Tick, &mut mail.outputs);
                }
                shared.alarm = shared.gateway.next_deadline();
                let next = shared.alarm;
                self.post(&mut shared, mail);
                next
            };
            self.deliver(mail);
            next
        })
    }

    /// Writes one line.
    pub(crate) fn log(&self, record: Record) {
        self.host.log(&record);
    }

    /// Ends the process: nothing sound is left to serve with.
    pub(crate) fn fail(&self, why: &'static str) -> ! {
        self.log(Record::new(Level::Error, "gateway.failed").field("why", why));
        std::process::exit(EXIT_SOFTWARE)
    }

    /// Forgets host requests that wait and lets running ones finish.
    pub(crate) fn end_jobs(&self) {
        self.jobs.end();
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        match self.shared.lock() {
            Ok(shared) => shared,
            Err(_poisoned) => self.fail("the gateway panicked; its state cannot be trusted"),
        }
    }

    /// Under the lock: hands each output to its owner, in the core's order.
    fn post(&self, shared: &mut Shared, mail: &mut Mail) {
        let Mail { outputs, wakers, records, has_jobs, has_beat } = mail;
        for output in outputs.drain(..) {
            match output {
                Output::To(conn, order) => {
                    if let Some(mailbox) = shared.mailboxes.get(&conn) {
                        wakers.extend(mailbox.post(order));
                    }
                }
                Output::Host(ticket, request) => {
                    self.jobs.add(ticket, request);
                    *has_jobs = true;
                }
                Output::Log(record) => records.push(record),
                Output::Accept(true) => wakers.append(&mut self.accepting.raise()),
                Output::Accept(false) => self.accepting.lower(),
                Output::Beat => *has_beat = true,
                Output::Stopped => {
                    shared.stopped = true;
                    wakers.append(&mut self.stopped.raise());
                }
            }
        }
        let next = shared.gateway.next_deadline();
        // A deadline that moved away is found when the alarm goes off: resetting it each time costs more.
        if next.is_some_and(|at| shared.alarm.is_none_or(|alarm| at < alarm)) {
            shared.alarm = next;
            wakers.append(&mut self.hurry.raise());
        }
    }

    /// After the unlock: wakes, starts host calls, logs.
    fn deliver(self: &Arc<Self>, mail: &mut Mail) {
        mail.wakers.drain(..).for_each(Waker::wake);
        if std::mem::take(&mut mail.has_jobs) {
            self.jobs.start(self);
        }
        if std::mem::take(&mut mail.has_beat) {
            self.host.beat();
        }
        for record in mail.records.drain(..) {
            self.host.log(&record);
        }
    }
}

impl Shared {
    /// That time, but never before one the core has seen.
    fn at(&mut self, now: Now) -> Now {
        self.last = self.last.max(now.mono);
        Now { mono: self.last, wall: now.wall }
    }
}

impl Mail {
    /// Empties it and keeps room for that many entries.
    pub(crate) fn reset(&mut self, entries: usize) {
        self.outputs.clear();
        self.outputs.shrink_to(entries);
        self.wakers.clear();
        self.wakers.shrink_to(entries);
        self.records.clear();
        self.records.shrink_to(entries);
        self.has_jobs = false;
        self.has_beat = false;
    }
}

/// `EX_SOFTWARE` of sysexits: an internal error.
const EXIT_SOFTWARE: i32 = 70;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use bytes::Bytes;
    use clawgate_proto::config::{AuthConfig, AuthMode, Config};
    use clawgate_proto::host::{Document, HostFault, StoreFault, Version, Write};

    use clawgate_proto::seed::Seed;
    use std::process::Command;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[derive(Default)]
    struct NoHost {
        asked: AtomicUsize,
        beats: AtomicUsize,
        panics: bool,
    }

    impl Host for NoHost {
        fn version(&self, _: Document) -> Result<Version, HostFault> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            assert!(!self.panics, "on purpose");
            Ok(Version::MISSING)
        }

        fn read(&self, _: Document) -> Result<Option<(Vec<u8>, Version)>, HostFault> {
            Ok(None)
        }

        fn write(&self, _: &[Write<'_>]) -> Result<Vec<Version>, StoreFault> {
            Err(StoreFault::Failed("there is no disk".into()))
        }

        fn system_info(&self) -> Result<Bytes, HostFault> {
            Err(HostFault("there is no system".into()))
        }

        fn beat(&self) {
            self.beats.fetch_add(1, Ordering::Relaxed);
        }

        fn log(&self, record: &Record) {
            eprintln!("{} {:?}", record.event, record.fields);
        }
    }

    fn driver(panics: bool) -> (Arc<Driver>, Arc<NoHost>) {
        let auth = AuthConfig::new(AuthMode::None);
        let config = Config::new(auth, 1);
        let clock = Clock::start();
        let host = Arc::new(NoHost { panics, ..NoHost::default() });
        let gateway = Gateway::new(config, Seed::new([7; 32]), clock.now());
        (Arc::new(Driver::new(gateway, host.clone(), clock)), host)
    }

    #[test]
    fn a_panic_under_the_lock_ends_the_process() {
        const CHILD: &str = "CLAWGATE_TEST_POISON";
        const NAME: &str = "driver::tests::a_panic_under_the_lock_ends_the_process";
        if std::env::var_os(CHILD).is_some() {
            let (driver, _) = driver(false);
            let other = Arc::clone(&driver);
            let panicked = thread::spawn(move || {
                let _shared = other.shared();
                panic!("on purpose");
            });
            assert!(panicked.join().is_err());
            driver.tell(Input::Tick);
            unreachable!("the process went on with a broken gateway");
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        let ended = child.args([NAME, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(EXIT_SOFTWARE), "{said}");
        assert!(said.contains("gateway.failed"), "{said}");
    }

    #[test]
    fn whoever_cannot_come_to_the_gateway_gives_no_sign_of_life() {
        let (driver, host) = driver(false);
        let mut shared = driver.shared();
        shared.gateway.set_beats(driver.clock.now(), None);
        let ticking = Arc::clone(&driver);
        let (begun, has_begun) = std::sync::mpsc::channel();
        let ticking = thread::spawn(move || {
            begun.send(()).unwrap();
            ticking.tell(Input::Tick);
        });
        has_begun.recv().unwrap();
        thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(host.beats.load(Ordering::Relaxed), 0, "the gateway is held by another thread");
        drop(shared);
        ticking.join().unwrap();
        assert_eq!(host.beats.load(Ordering::Relaxed), 1);
        driver.end_jobs();
    }

    #[test]
    fn host_calls_are_made_and_their_threads_end() {
        for panics in [false, true] {
            let (driver, host) = driver(panics);
            driver.tell(Input::Tick);
            while host.asked.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
            driver.end_jobs();
            assert_eq!(Arc::strong_count(&driver), 1, "a host thread is left");
        }
    }
}
