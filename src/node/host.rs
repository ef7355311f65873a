//! The life of a node host: it connects, hands on what the gateway asks for, sends back what came of it, and when the
//! connection is gone it comes again, until somebody stops it. One thread, which waits for its socket and for those who
//! work for it; nothing it does by itself blocks.

use super::desk::{Desk, Note};
use super::fate::{End, Fate, Next};
use super::invoke::{self, Fault as InvokeFault, Invoke};
use super::jobs::{Finished, Jobs};
use super::state::NodeState;
use super::wake::{self, Waker, Woken};
use crate::entropy;
use crate::identity::{self, HeldToken};
use crate::log::{self, Logger};
use crate::storage::{RealDisk, Storage};
use crate::tls::{self, Secure};
use clawgate_proto::client::policy::{self, Means};
use clawgate_proto::client::{Client, ClientConfig, ClientEvent, EventMessage, Hello, ResponseError};
use clawgate_proto::connect::Credentials;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::seed::Seed;
use clawgate_proto::tls::Fault;
use clawgate_proto::{Mono, Now, Wall};
use rustix::event::PollFlags;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{TryRecvError, channel};
use std::time::{Duration, Instant};

/// Why there is no socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialFault {
    /// Nobody is there, or not now.
    Unreachable(String),
    /// Nothing may be sent there.
    Forbidden(String),
}

/// Opens a socket to the gateway. It may block: it runs on a thread of its own.
pub type Dial = Arc<dyn Fn() -> Result<TcpStream, DialFault> + Send + Sync>;

/// TLS to this installation's own gateway, looked up anew.
pub type OwnSecure = Box<dyn Fn() -> Option<Secure>>;

/// What a node host is made of. It holds secrets: there is no `Debug`.
pub struct Setup {
    /// How the gateway is reached.
    pub dial: Dial,
    /// The `Host` header.
    pub host: String,
    /// The gateway's address, for people.
    pub url: String,
    /// What it is shown beside the device's key.
    pub credentials: Credentials,
    /// Whether the stored device token is this gateway's.
    pub has_own_token: bool,
    /// Whether it is that of the gateway that `node.json` names, which is another one.
    pub has_others_token: bool,
    /// Whether nobody else can be there (this machine, or the pinned certificate): only there may a stored token follow
    /// a refused one.
    pub is_trusted: bool,
    /// TLS, and what was met by it.
    pub secure: Option<Secure>,
    /// Where the gateway is this installation's own: TLS with the certificate that it has now, which may be another one
    /// than when this began.
    pub own_secure: Option<OwnSecure>,
    /// This machine's key, name and instance, and what it says it is.
    pub client: ClientConfig,
    /// What `node.json` is to say, once the gateway has let it in.
    pub state: NodeState,
    /// Where device tokens are kept.
    pub storage: Storage<RealDisk>,
    /// The state folder.
    pub state_dir: PathBuf,
    /// Who does what is asked for.
    pub desk: Arc<Desk>,
    /// Where it is told.
    pub logger: Arc<Logger>,
    /// Set, and then woken, when it is to end.
    pub stop: Arc<AtomicBool>,
    /// Wakes it.
    pub waker: Waker,
    /// The end that is woken.
    pub woken: Woken,
}

/// Why a node host ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// A person here has to do something first.
    Refused(Box<ResponseError>),
    /// The certificate there is not the one that was pinned.
    Untrusted {
        /// For programs.
        code: &'static str,
        /// For a person, with what to do.
        why: String,
    },
    /// The gateway must not be talked to; for a person.
    Forbidden(String),
    /// The system is in the way; for a person.
    Failed(String),
}

/// A node host.
pub struct NodeHost {
    setup: Setup,
    jobs: Jobs,
    fate: Fate,
    started: Instant,
    connection: u64,
    was_in: bool,
    said: Said,
}

impl NodeHost {
    /// A node host that has not connected yet.
    ///
    /// # Errors
    /// As the system says.
    pub fn new(setup: Setup) -> io::Result<Self> {
        let jobs = Jobs::new(Arc::clone(&setup.desk), setup.waker.another()?);
        let said = Said::default();
        Ok(Self {
            setup,
            jobs,
            fate: Fate::default(),
            started: Instant::now(),
            connection: 0,
            was_in: false,
            said,
        })
    }

    /// Lives until it is stopped, or cannot go on.
    pub fn run(mut self) -> Ended {
        loop {
            self.connection += 1;
            let ended = match self.dial() {
                Ok(Some(stream)) => self.serve(stream),
                Ok(None) => return self.stopped(),
                Err(DialFault::Unreachable(why)) => Ok(End::Unreachable(why)),
                Err(DialFault::Forbidden(why)) => return Ended::Forbidden(why),
            };
            if self.is_stopping() {
                return self.stopped();
            }
            let end = match ended {
                Ok(end) => end,
                Err(why) => return Ended::Failed(why),
            };
            let means =
                Means { stored_device_token: self.held().is_some(), trusted_endpoint: self.setup.is_trusted };
            let next = self.fate.after(&end, means);
            self.tell(&end, &next);
            self.forsake();
            match next {
                Next::Again(ms) | Next::Approval(ms) => self.pause(ms),
                Next::GiveUp => {
                    return match end {
                        End::Refused(error) => Ended::Refused(error),
                        End::Untrusted { code, why } => Ended::Untrusted { code, why },
                        End::Unreachable(_) | End::Http { .. } | End::Lost { .. } => Ended::Stopped,
                    };
                }
            }
            if self.is_stopping() {
                return self.stopped();
            }
        }
    }

    /// Ends what runs for a connection that is gone: nobody can be told what comes of it, or take it back.
    fn forsake(&self) {
        let count = self.jobs.cancel_all();
        if count > 0 {
            self.setup.logger.log(&Record::new(Level::Warn, "node.commands-ended").field("count", count));
        }
    }

    /// A socket; `None` when it is to end.
    fn dial(&mut self) -> Result<Option<TcpStream>, DialFault> {
        let (sender, receiver) = channel();
        let dial = Arc::clone(&self.setup.dial);
        let failed = |why: io::Error| DialFault::Unreachable(format!("no thread to connect on: {why}"));
        let waker = self.setup.waker.another().map_err(failed)?;
        let connect = move || {
            let _ = sender.send(dial());
            waker.wake();
        };
        std::thread::Builder::new().name("dial".to_owned()).spawn(connect).map_err(failed)?;
        loop {
            self.setup.woken.clear();
            match receiver.try_recv() {
                Ok(dialed) => return dialed.map(Some),
                Err(TryRecvError::Disconnected) => return Err(failed(io::ErrorKind::Other.into())),
                Err(TryRecvError::Empty) if self.is_stopping() => return Ok(None),
                Err(TryRecvError::Empty) => {}
            }
            self.drop_answers();
            let _ = wake::wait(&[(self.setup.woken.as_fd(), PollFlags::IN)], None);
        }
    }

    /// One connection, to its end.
    fn serve(&mut self, mut stream: TcpStream) -> Result<End, String> {
        let setup = |why: io::Error| format!("the socket cannot be used: {why}");
        stream.set_nonblocking(true).map_err(setup)?;
        if self.connection > 1 {
            self.look_up_own();
        }
        let _ = stream.set_nodelay(true);
        let held = self.held();
        let with_held = self.fate.wants_stored_device_token();
        let auth = policy::credentials(
            &self.setup.credentials,
            held.as_ref().map(|held| held.token.as_str()),
            with_held,
        );
        let config = ClientConfig { auth, ..self.setup.client.clone() };
        let mut client = Client::new(config, Seed::new(entropy::bytes()), self.now());
        let mut talk = Talk::default();
        let mut wire = Wire::default();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            self.setup.woken.clear();
            while let Some(event) = client.next_event() {
                if let Some(end) = self.hear(&mut client, &mut talk, event) {
                    wire.take(&mut client);
                    let _ = wire.write(&mut stream);
                    return Ok(end);
                }
            }
            while let Some(finished) = self.jobs.finished() {
                self.answer(&mut client, finished);
            }
            if self.is_stopping() {
                self.wind_up(&mut client, &mut talk);
            }
            wire.take(&mut client);
            if wire.write(&mut stream).is_err() {
                client.receive_end(self.now());
                continue;
            }
            let deadlines = [client.next_deadline().map(|at| self.until(at)), talk.left()];
            let time = deadlines.into_iter().flatten().min();
            let socket = if wire.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            let fds = [(self.setup.woken.as_fd(), PollFlags::IN), (stream.as_fd(), socket)];
            let ready = wake::wait(&fds, time).map_err(|why| format!("cannot wait: {why}"))?;
            if ready.get(1) == Some(&true) {
                match stream.read(&mut buffer) {
                    Ok(0) => client.receive_end(self.now()),
                    Ok(count) => client.receive(self.now(), &buffer[..count]),
                    Err(why) if is_nothing(&why) => {}
                    Err(_) => client.receive_end(self.now()),
                }
            }
            client.handle_timeout(self.now());
        }
    }

    /// One thing that came. Gives the end, when it is one.
    fn hear(&mut self, client: &mut Client, talk: &mut Talk, event: ClientEvent) -> Option<End> {
        match event {
            ClientEvent::HelloOk(hello) => self.admitted(talk, &hello),
            ClientEvent::ConnectRefused(error) => talk.refusal = Some(Box::new(error)),
            ClientEvent::Event(event) => self.event(client, &event),
            ClientEvent::HttpRefused { status, body } => {
                let body = String::from_utf8_lossy(&body);
                talk.http = Some((status, body.lines().next().unwrap_or_default().to_owned()));
            }
            ClientEvent::Closed { code, reason, .. } => {
                if self.setup.has_own_token
                    && policy::forgets_device_token(&self.setup.credentials, code, &reason)
                {
                    let id = self.device_id();
                    let _ = identity::forget_token(&self.setup.storage, &self.setup.state_dir, &id, ROLE);
                }
                if let (Some(fault), Some(secure)) = (client.tls_fault(), &self.setup.secure) {
                    return Some(self.untrusted(fault, secure));
                }
                return Some(match (talk.refusal.take(), talk.http.take()) {
                    (Some(error), _) => End::Refused(error),
                    (None, Some((status, said))) => End::Http { status, said },
                    (None, None) => End::Lost {
                        open_ms: talk.open_since.map(|since| millis(since.elapsed())),
                        code,
                        reason,
                    },
                });
            }
            // An answer to what we sent: nothing to be done, whatever it is.
            ClientEvent::Challenge { .. }
            | ClientEvent::Response(_)
            | ClientEvent::Gap { .. }
            | ClientEvent::Unrecognised(_) => {}
        }
        None
    }

    /// What becomes of a connection whose TLS failed.
    fn untrusted(&self, fault: Fault, secure: &Secure) -> End {
        let is_own = self.setup.own_secure.is_some();
        let (code, why) = tls::explain(fault, &secure.met(), &self.setup.url, secure.is_pinned(), is_own);
        // The own one is looked up before the next time.
        if fault == Fault::Pin && !is_own { End::Untrusted { code, why } } else { End::Unreachable(why) }
    }

    /// The certificate of this installation's own gateway may have been renewed.
    fn look_up_own(&mut self) {
        let found = self.setup.own_secure.as_ref().and_then(|look| look());
        if found.is_some() {
            self.setup.client.tls = found.as_ref().map(Secure::connector);
            self.setup.secure = found;
        }
    }

    fn admitted(&mut self, talk: &mut Talk, hello: &Hello) {
        talk.open_since = Some(Instant::now());
        self.said = Said::default();
        let version = hello.0["server"]["version"].as_str().unwrap_or("unknown");
        let mut record = Record::new(Level::Info, "node.connected")
            .field("gateway", &self.setup.url)
            .field("version", version)
            .field("protocol", hello.protocol().unwrap_or(0));
        if !std::mem::replace(&mut self.was_in, true) {
            let hint = "what it offers may wait for approval there: clawgate (or openclaw) nodes pending";
            record = record.field("hint", hint);
            self.remember();
        }
        self.setup.logger.log(&record);
        let Some(token) = hello.device_token() else { return };
        let mut scopes: Vec<String> = hello.scopes().into_iter().map(str::to_owned).collect();
        scopes.sort();
        let held = HeldToken {
            token: token.to_owned(),
            role: ROLE.to_owned(),
            scopes,
            updated_at_ms: log::wall_ms(),
        };
        let id = self.device_id();
        if let Some(secret) = clawgate_proto::secret::Secret::new(token) {
            self.setup.logger.hide(secret);
        }
        let is_known = self.held().is_some_and(|known| {
            clawgate_proto::secret::same(&known.token, token) && known.scopes == held.scopes
        });
        self.setup.has_own_token = true;
        if is_known {
            return;
        }
        if let Err(why) = identity::hold_token(&self.setup.storage, &self.setup.state_dir, &id, held) {
            let record = Record::new(Level::Warn, "node.key-not-kept").field("why", why);
            self.setup.logger.log(&record);
        }
    }

    /// Keeps where the gateway is. Not before it has let this node in: a wrong port, typed once, is nothing to come back to.
    fn remember(&self) {
        let Setup { state, storage, state_dir, has_others_token, .. } = &self.setup;
        let forgotten = match has_others_token {
            true => identity::forget_token(storage, state_dir, &self.device_id(), ROLE).map(|_| ()),
            false => Ok(()),
        };
        if let Err(why) = forgotten.and_then(|()| state.store(storage, state_dir)) {
            self.setup.logger.log(&Record::new(Level::Warn, "node.state-not-kept").field("why", why));
        }
    }

    fn event(&mut self, client: &mut Client, event: &EventMessage) {
        match event.name.as_str() {
            "node.invoke.request" => {
                let Some(invoke) = Invoke::parse(&event.value()) else { return };
                let record = Record::new(Level::Debug, "node.invoked").field("command", &invoke.command);
                self.setup.logger.log(&record);
                let started = match self.is_stopping() {
                    true => Err(Box::new((invoke, InvokeFault::unavailable("this node is stopping")))),
                    false => self.jobs.start(self.connection, invoke),
                };
                if let Err(refused) = started {
                    let (invoke, fault) = *refused;
                    let _ = client.request("node.invoke.result", invoke.result(&Err(fault)));
                }
            }
            "node.invoke.cancel" => {
                if let Some(id) = invoke::cancelled(&event.value())
                    && self.jobs.cancel(self.connection, id)
                {
                    self.setup.logger.log(&Record::new(Level::Info, "node.cancelled"));
                }
            }
            "node.pair.resolved" => {
                let payload = event.value();
                if payload["nodeId"] == self.device_id() {
                    let decision = payload["decision"].as_str().unwrap_or_default();
                    let record = Record::new(Level::Info, "node.surface").field("decision", decision);
                    self.setup.logger.log(&record);
                }
            }
            "shutdown" => {
                let payload = event.value();
                let reason = payload["reason"].as_str().unwrap_or_default();
                self.setup
                    .logger
                    .log(&Record::new(Level::Info, "node.gateway-stops").field("reason", reason));
            }
            _ => {}
        }
    }

    /// Sends what came of an invocation. To a later connection only the event: the gateway has forgotten the question.
    fn answer(&mut self, client: &mut Client, finished: Finished) {
        let Finished { connection, invoke, done } = finished;
        self.note(done.note.as_ref());
        if let Some(event) = done.event {
            let _ = client.request("node.event", event);
        }
        if connection == self.connection {
            let _ = client.request("node.invoke.result", invoke.result(&done.outcome));
        }
    }

    /// Takes note of what is done while there is no gateway to tell.
    fn drop_answers(&mut self) {
        while let Some(finished) = self.jobs.finished() {
            self.note(finished.done.note.as_ref());
        }
    }

    fn note(&self, note: Option<&Note>) {
        let record = match note {
            None => return,
            Some(Note::Ran { program, how }) => {
                Record::new(Level::Info, "node.ran").field("program", program).field("ended", how)
            }
            Some(Note::Denied { program, reason }) => {
                Record::new(Level::Warn, "node.denied").field("program", program).field("why", reason)
            }
        };
        self.setup.logger.log(&record);
    }

    /// Ends what runs, waits a moment for it, and says goodbye.
    fn wind_up(&self, client: &mut Client, talk: &mut Talk) {
        let since = *talk.stopping_since.get_or_insert_with(|| {
            self.jobs.cancel_all();
            Instant::now()
        });
        if self.jobs.is_empty() || since.elapsed() >= WIND_UP {
            talk.has_closed = true;
            client.close(self.now(), 1000, "node host stopped");
        }
    }

    fn stopped(&mut self) -> Ended {
        self.jobs.cancel_all();
        let bound = Instant::now() + WIND_UP;
        while !self.jobs.is_empty() && Instant::now() < bound {
            self.setup.woken.clear();
            self.drop_answers();
            if !self.jobs.is_empty() {
                let left = bound.saturating_duration_since(Instant::now());
                let _ = wake::wait(&[(self.setup.woken.as_fd(), PollFlags::IN)], Some(left));
            }
        }
        Ended::Stopped
    }

    /// Waits, unless it is to end.
    fn pause(&mut self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        while !self.is_stopping() {
            self.setup.woken.clear();
            self.drop_answers();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if !self.is_stopping() {
                let _ = wake::wait(&[(self.setup.woken.as_fd(), PollFlags::IN)], Some(left));
            }
        }
    }

    /// Says how a connection ended and what is next; the same again only now and then.
    fn tell(&mut self, end: &End, next: &Next) {
        let (event, why, hint) = match end {
            End::Unreachable(why) => {
                // What is to be done stands on a line of its own.
                let mut lines = why.lines();
                let (why, hint) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
                ("node.unreachable", why.to_owned(), hint.to_owned())
            }
            End::Untrusted { why, .. } => {
                let mut lines = why.lines();
                let (why, hint) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
                ("node.untrusted", why.to_owned(), hint.to_owned())
            }
            End::Http { status, said } => {
                ("node.unreachable", format!("it answered HTTP {status} ({said})"), String::new())
            }
            End::Refused(error) => {
                let code = error.detail("code").unwrap_or(&error.code);
                let request = error.detail("requestId").unwrap_or("REQUEST");
                let hint = match next {
                    Next::Approval(_) => format!(
                        "on the gateway's machine: clawgate (or openclaw) devices approve {request}; this node comes in \
                         by itself then"
                    ),
                    Next::Again(_) | Next::GiveUp => String::new(),
                };
                let event = if hint.is_empty() { "node.refused" } else { "node.waits-for-approval" };
                (event, format!("{} ({code})", error.message), hint)
            }
            End::Lost { code, reason, .. } => {
                ("node.lost", format!("closed with {code} {reason}").trim_end().to_owned(), String::new())
            }
        };
        let level = if self.said.is_new(event, &why) { Level::Warn } else { Level::Debug };
        let mut record =
            Record::new(level, event).field("gateway", &self.setup.url).field("why", why.as_str());
        if !hint.is_empty() {
            record = record.field("hint", hint);
        }
        if let Next::Again(ms) | Next::Approval(ms) = next {
            record = record.field("again_in_ms", ms);
        }
        self.setup.logger.log(&record);
    }

    /// The device token of this gateway.
    fn held(&self) -> Option<HeldToken> {
        let Setup { storage, state_dir, has_own_token, .. } = &self.setup;
        has_own_token.then(|| identity::held_token(storage, state_dir, &self.device_id(), ROLE)).flatten()
    }

    fn device_id(&self) -> String {
        let key = self.setup.client.identity.as_ref();
        key.map(|key| key.device_id().to_owned()).unwrap_or_default()
    }

    fn is_stopping(&self) -> bool {
        self.setup.stop.load(Ordering::Acquire)
    }

    fn now(&self) -> Now {
        let mono = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { mono: Mono(mono), wall: Wall(log::wall_ms()) }
    }

    fn until(&self, at: Mono) -> Duration {
        Duration::from_micros(at.0.saturating_sub(self.now().mono.0))
    }
}

/// What is known of one connection.
#[derive(Default)]
struct Talk {
    open_since: Option<Instant>,
    refusal: Option<Box<ResponseError>>,
    http: Option<(u16, String)>,
    stopping_since: Option<Instant>,
    has_closed: bool,
}

impl Talk {
    /// How long what runs may still take, when it is to end.
    fn left(&self) -> Option<Duration> {
        let since = self.stopping_since.filter(|_| !self.has_closed)?;
        Some((since + WIND_UP).saturating_duration_since(Instant::now()))
    }
}

/// Bytes on their way out.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    sent: usize,
}

impl Wire {
    fn take(&mut self, client: &mut Client) {
        client.take_wire(&mut self.bytes);
    }

    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Writes what the socket takes now.
    fn write(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while !self.is_empty() {
            match stream.write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(why) if is_nothing(&why) => return Ok(()),
                Err(why) => return Err(why),
            }
        }
        // One large answer is no reason to keep its memory.
        *self = Self::default();
        Ok(())
    }
}

/// What was told last.
#[derive(Default)]
struct Said {
    what: Option<(&'static str, String)>,
    at: Option<Instant>,
}

impl Said {
    fn is_new(&mut self, event: &'static str, why: &str) -> bool {
        let is_same = self.what.as_ref().is_some_and(|(known, text)| *known == event && text == why);
        let is_new = !is_same || self.at.is_none_or(|at| at.elapsed() >= SAY_AGAIN);
        if is_new {
            (self.what, self.at) = (Some((event, why.to_owned())), Some(Instant::now()));
        }
        is_new
    }
}

fn is_nothing(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The role of a node.
pub const ROLE: &str = "node";
/// How long commands may take to end when the host does.
const WIND_UP: Duration = Duration::from_secs(2);
/// How often the same trouble is told.
const SAY_AGAIN: Duration = Duration::from_secs(10 * 60);
const READ_BYTES: usize = 16 * 1024;
