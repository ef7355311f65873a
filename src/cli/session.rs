//! One connection of a client command: an ordinary blocking socket below the sans-IO client of the core.

pub(super) mod live;

use super::args::ClientArgs;
use super::target::{self, Target};
use super::{Failure, advice};
use crate::config::Places;
use crate::config::shape::is_like_device_token;
use crate::entropy;
use crate::environment::Environment;
use crate::identity::{self, HeldToken, Identity};
use crate::instances;
use crate::log;
use crate::storage::{RealDisk, Storage};
use crate::tls::{self, Secure};
use clawgate_proto::client::policy::{self, Decision, Means, Reconnect};
use clawgate_proto::client::{Client, ClientConfig, ClientEvent, Hello, ResponseError};
use clawgate_proto::connect::{ClientInfo, Credentials};
use clawgate_proto::secret;
use clawgate_proto::seed::Seed;
use clawgate_proto::tls::Fault;
use clawgate_proto::{Mono, Now, Wall};
use serde_json::Value;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// An admitted connection.
#[derive(Debug)]
pub struct Session {
    /// Whom we talk to.
    pub target: Target,
    /// What the gateway said when it let us in.
    pub hello: Hello,
    /// Whether it did so for the device token that is kept here, and the shared secret was refused.
    pub by_device_token: bool,
    /// What its person should know, where nothing may be written to standard error.
    pub notices: Vec<String>,
    link: Link,
    storage: Storage<RealDisk>,
    places: Places,
    device_id: String,
}

/// As what a command presents itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guise {
    /// This machine's device, with every scope.
    Command,
    /// The same, and it is shown what waits for a decision.
    Decider,
    /// The same on a screen of its own: nothing is written to standard error.
    Watcher,
    /// Somebody who only looks, and needs no device for it.
    Probe,
}

impl Guise {
    fn mode(self) -> &'static str {
        match self {
            Self::Command | Self::Decider | Self::Watcher => "cli",
            Self::Probe => "probe",
        }
    }

    fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::Command | Self::Decider | Self::Watcher => &SCOPES,
            Self::Probe => &["operator.read"],
        }
    }

    fn caps(self) -> &'static [&'static str] {
        match self {
            Self::Decider | Self::Watcher => &["approvals"],
            Self::Command | Self::Probe => &[],
        }
    }
}

/// How an attempt to get in ended without getting in.
enum Ended {
    /// `connect` was refused; then came this close.
    Refused(Box<ResponseError>, Option<(u16, String)>),
    Failed(Failure),
}

impl Session {
    /// Connects as this machine's device.
    ///
    /// # Errors
    /// There is no gateway, or it does not let us in.
    pub fn open(args: &ClientArgs, environment: &Environment) -> Result<Self, Failure> {
        Self::open_as(Guise::Command, args, environment)
    }

    /// One question over a connection of its own.
    ///
    /// # Errors
    /// As [`Session::open`] and [`Session::call`].
    pub fn ask(
        args: &ClientArgs,
        environment: &Environment,
        method: &str,
        params: Value,
    ) -> Result<Value, Failure> {
        let mut session = Self::open(args, environment)?;
        let answer = session.call(method, params);
        session.close();
        answer
    }

    /// Connects in this guise.
    ///
    /// # Errors
    /// There is no gateway, or it does not let us in.
    pub fn open_as(guise: Guise, args: &ClientArgs, environment: &Environment) -> Result<Self, Failure> {
        let started = Instant::now();
        let bound = started + Duration::from_millis(args.timeout);
        let places = Places::find(environment).map_err(Failure::Failed)?;
        let storage = Storage::on_disk();
        let target = Target::find(args, environment, &storage)?;
        let identity =
            Identity::load_or_create(&storage, &places.state_dir, log::wall_ms()).map_err(Failure::Failed)?;
        let mut notices: Vec<String> = identity.notice.iter().chain(&target.notice).cloned().collect();
        if guise != Guise::Watcher {
            notices.drain(..).for_each(tell);
        }
        let device_id = identity.key.device_id().to_owned();
        let mut reconnect = Reconnect::new();
        loop {
            let held =
                target.is_home.then(|| identity::held_token(&storage, &places.state_dir, &device_id, ROLE));
            let held = held.flatten();
            let held = held.as_ref().map(|held| held.token.as_str());
            let with_held = reconnect.wants_stored_device_token();
            let config = ClientConfig {
                path: target.path.clone(),
                scopes: guise.scopes().iter().map(|scope| (*scope).to_owned()).collect(),
                tls: target.tls.as_ref().map(Secure::connector),
                caps: guise.caps().iter().map(|cap| (*cap).to_owned()).collect(),
                auth: policy::credentials(&target.credentials, held, with_held),
                identity: (guise != Guise::Probe).then(|| identity.key.clone()),
                // The command's own bound comes first, and names the flag that changes it.
                connect_timeout_ms: args.timeout.saturating_mul(2),
                ..ClientConfig::new(target.host.clone(), client_info(guise))
            };
            match attempt(&target, config, started, bound) {
                Ok((link, hello)) => {
                    let by_device_token = with_held;
                    let mut session =
                        Self { target, hello, by_device_token, notices, link, storage, places, device_id };
                    if let Err(why) = session.keep_token() {
                        match guise {
                            Guise::Watcher => session.notices.push(why),
                            Guise::Command | Guise::Decider | Guise::Probe => tell(why),
                        }
                    }
                    return Ok(session);
                }
                Err(Ended::Failed(Failure::Unreachable(mut why))) => {
                    if let Some(hint) = elsewhere(args, environment, &places, &target) {
                        why.push('\n');
                        why.push_str(&hint);
                    }
                    return Err(Failure::Unreachable(why));
                }
                Err(Ended::Failed(failure)) => return Err(failure),
                Err(Ended::Refused(error, close)) => {
                    if let Some((code, reason)) = &close
                        && policy::forgets_device_token(&target.credentials, *code, reason)
                    {
                        let _ = identity::forget_token(&storage, &places.state_dir, &device_id, ROLE);
                    }
                    let means =
                        Means { stored_device_token: held.is_some(), trusted_endpoint: target.is_trusted() };
                    let decision = reconnect.ended(Some(&error), means);
                    // A command tries again for two reasons only: the one offered retry, and a gateway that is
                    // about to be ready. Everything else is for its person to know.
                    let worth_it = reconnect.wants_stored_device_token() || error.code == "UNAVAILABLE";
                    match decision {
                        Decision::Retry { after_ms } if worth_it && fits(bound, after_ms) => {
                            std::thread::sleep(Duration::from_millis(after_ms));
                        }
                        Decision::Retry { .. } | Decision::Stop => {
                            let nobody =
                                nobody_approves(args, environment, &target, &error).map(str::to_owned);
                            let hints: Vec<String> =
                                nobody.into_iter().chain(wrong_secret(&target, &error)).collect();
                            return Err(refused(error, &hints));
                        }
                    }
                }
            }
        }
    }

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// The gateway answered with an error, or not in time.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        let gone = || Failure::Unreachable("the gateway closed the connection".to_owned());
        let id = self.link.client.request(method, params).map_err(|_| gone())?;
        loop {
            match self.link.next()? {
                ClientEvent::Response(response) if response.id == id => {
                    return response.into_result().map_err(|error| Failure::Answered(Box::new(error)));
                }
                ClientEvent::Closed { code, reason, .. } => return Err(closed(code, &reason)),
                ClientEvent::Challenge { .. }
                | ClientEvent::HelloOk(_)
                | ClientEvent::ConnectRefused(_)
                | ClientEvent::Response(_)
                | ClientEvent::Event(_)
                | ClientEvent::Gap { .. }
                | ClientEvent::Unrecognised(_)
                | ClientEvent::HttpRefused { .. } => {}
            }
        }
    }

    /// Lets time pass, answering what the gateway asks meanwhile.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn idle(&mut self, ms: u64) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_millis(ms);
        while let Some(event) = self.link.wait(until)? {
            if let ClientEvent::Closed { code, reason, .. } = event {
                let _ = self.link.flush();
                return Err(closed(code, &reason));
            }
        }
        Ok(())
    }

    /// Gives what comes next this much time, as if it were a command of its own.
    pub fn renew(&mut self, timeout_ms: u64) {
        self.link.bound = Instant::now() + Duration::from_millis(timeout_ms);
    }

    /// This machine's device id.
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// Stores a token that this device was given by its own machine's gateway.
    pub fn hold(&self, token: &str, role: &str, scopes: &[&str]) {
        if let Err(why) = self.try_hold(token, role, scopes) {
            tell(why);
        }
    }

    fn try_hold(&self, token: &str, role: &str, scopes: &[&str]) -> Result<(), String> {
        if !self.target.is_home {
            return Ok(());
        }
        let mut scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        scopes.sort();
        let held = HeldToken {
            token: token.to_owned(),
            role: role.to_owned(),
            scopes,
            updated_at_ms: log::wall_ms(),
        };
        let known = identity::held_token(&self.storage, &self.places.state_dir, &self.device_id, role);
        if known.is_some_and(|known| secret::same(&known.token, &held.token) && known.scopes == held.scopes) {
            return Ok(());
        }
        identity::hold_token(&self.storage, &self.places.state_dir, &self.device_id, held)
            .map_err(|why| format!("the device token is not stored: {why}"))
    }

    /// Says goodbye. The answer is not waited for: everything asked for is here.
    pub fn close(mut self) {
        self.link.client.close(self.link.now(), 1000, "");
        let _ = self.link.flush();
    }

    fn keep_token(&self) -> Result<(), String> {
        match self.hello.device_token() {
            Some(token) => self.try_hold(token, ROLE, &self.hello.scopes()),
            None => Ok(()),
        }
    }
}

fn tell(notice: String) {
    let _ = writeln!(io::stderr(), "{notice}");
}

/// What came of a knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    /// Whoever knocked is in, with these scopes.
    Admitted {
        /// As hello-ok names them.
        scopes: Vec<String>,
    },
    /// Not let in.
    Refused {
        /// `details.code`, else the error's code.
        code: String,
    },
}

/// Tries this installation's gateway as somebody who shows neither a secret nor a device, as a page of this origin when
/// one is given. Nothing is asked for when it is in.
///
/// # Errors
/// Nobody answers there.
pub fn knock(args: &ClientArgs, environment: &Environment, origin: Option<&str>) -> Result<Knock, Failure> {
    let started = Instant::now();
    let storage = Storage::new(RealDisk, 0);
    let target = Target::find(args, environment, &storage)?;
    let config = ClientConfig {
        path: target.path.clone(),
        origin: origin.map(str::to_owned),
        tls: target.tls.as_ref().map(Secure::connector),
        scopes: SCOPES.iter().map(|scope| (*scope).to_owned()).collect(),
        connect_timeout_ms: args.timeout.saturating_mul(2),
        ..ClientConfig::new(target.host.clone(), client_info(Guise::Command))
    };
    match attempt(&target, config, started, started + Duration::from_millis(args.timeout)) {
        Ok((mut link, hello)) => {
            link.client.close(link.now(), 1000, "");
            let _ = link.flush();
            Ok(Knock::Admitted { scopes: hello.scopes().iter().map(|scope| (*scope).to_owned()).collect() })
        }
        Err(Ended::Refused(error, _)) => {
            Ok(Knock::Refused { code: error.detail("code").unwrap_or(&error.code).to_owned() })
        }
        Err(Ended::Failed(failure)) => Err(failure),
    }
}

/// One attempt: connect, upgrade, prove.
fn attempt(
    target: &Target,
    config: ClientConfig,
    started: Instant,
    bound: Instant,
) -> Result<(Link, Hello), Ended> {
    let stream = connect(target, bound).map_err(Ended::Failed)?;
    let clock = Clock { started };
    let client = Client::new(config, Seed::new(entropy::bytes()), clock.now());
    let mut link = Link { client, stream, clock, bound };
    let mut refusal = None;
    loop {
        let event = match link.next() {
            Ok(event) => event,
            // The refusal is known; the close behind it is only its punctuation.
            Err(failure) => {
                return Err(refusal.map_or(Ended::Failed(failure), |error| Ended::Refused(error, None)));
            }
        };
        match event {
            ClientEvent::HelloOk(hello) => return Ok((link, hello)),
            ClientEvent::ConnectRefused(error) => refusal = Some(Box::new(error)),
            ClientEvent::Closed { code, reason, .. } => {
                // The gateway is told why, as far as it listens.
                let _ = link.flush();
                if let (Some(fault), Some(secure)) = (link.client.tls_fault(), &target.tls) {
                    return Err(Ended::Failed(tls_failed(target, secure, fault)));
                }
                return Err(match refusal {
                    Some(error) => Ended::Refused(error, Some((code, reason))),
                    None => Ended::Failed(closed(code, &reason)),
                });
            }
            ClientEvent::HttpRefused { status, body } => {
                let body = String::from_utf8_lossy(&body);
                let body = super::render::clean(body.lines().next().unwrap_or_default());
                return Err(Ended::Failed(Failure::Unreachable(format!(
                    "{} answered HTTP {status} ({body}) where a gateway opens a WebSocket",
                    target.url
                ))));
            }
            ClientEvent::Challenge { .. }
            | ClientEvent::Response(_)
            | ClientEvent::Event(_)
            | ClientEvent::Gap { .. }
            | ClientEvent::Unrecognised(_) => {}
        }
    }
}

fn tls_failed(target: &Target, secure: &Secure, fault: Fault) -> Failure {
    let own = target.is_home && secure.is_pinned();
    let (code, message) =
        tls::explain(fault, &secure.met(), &super::render::clean(&target.url), secure.is_pinned(), own);
    Failure::Tls { code, message }
}

/// Who is to be approved on the gateway's machine, and is that machine, may have nobody to turn to.
fn nobody_approves(
    args: &ClientArgs,
    environment: &Environment,
    target: &Target,
    error: &ResponseError,
) -> Option<&'static str> {
    if is_named(args, environment) || !target.is_home || error.detail("code") != Some("PAIRING_REQUIRED") {
        return None;
    }
    Some(if target.is_loopback {
        "If this is the machine, and no device may approve it yet: a device that first asked from elsewhere waits, even \
         on loopback. Try again when its request has ended, in five minutes."
    } else {
        "If this is the machine, and no device may approve it yet: stop the gateway, and pair this machine on loopback, \
         with OPENCLAW_GATEWAY_BIND=loopback before `clawgate gateway` and, in another terminal, before `clawgate \
         status`. Do it when this request has ended, in five minutes."
    })
}

/// Whether somebody chose an address, in place of the configured gateway.
fn is_named(args: &ClientArgs, environment: &Environment) -> bool {
    args.url.is_some() || environment.first(&target::URL_VARIABLES).is_some()
}

/// When the gateway of this configuration runs, but on another port than the commands take: it was started with a
/// flag, or the file was changed since.
fn elsewhere(
    args: &ClientArgs,
    environment: &Environment,
    places: &Places,
    target: &Target,
) -> Option<String> {
    if is_named(args, environment) || !target.is_home {
        return None;
    }
    let config = places.config.to_str();
    let owner = instances::others(environment).into_iter().find(|other| other.config.as_deref() == config)?;
    let port = owner.port.filter(|port| target.addresses.iter().all(|address| address.port() != *port))?;
    Some(format!(
        "The gateway of this configuration listens on port {port} (pid {}): a flag said so, or the configuration was \
         changed since. Restart it for the configured one, or set OPENCLAW_GATEWAY_PORT={port} for this command.",
        owner.pid
    ))
}

fn connect(target: &Target, bound: Instant) -> Result<TcpStream, Failure> {
    let mut last = None;
    for address in &target.addresses {
        let left = bound.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(address, left) {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(why) => last = Some(why),
        }
    }
    let why = last.map_or_else(|| "no address".to_owned(), |why| why.to_string());
    Err(Failure::Unreachable(format!(
        "no gateway can be reached at {}: {why}\nIs it running? Start it with `clawgate gateway`, or name another \
         one with --url and --token.",
        target.url
    )))
}

/// A client and its socket.
#[derive(Debug)]
struct Link {
    client: Client,
    stream: TcpStream,
    clock: Clock,
    bound: Instant,
}

impl Link {
    fn now(&self) -> Now {
        self.clock.now()
    }

    /// The next event, waiting for it until the command's time is up.
    fn next(&mut self) -> Result<ClientEvent, Failure> {
        self.wait(self.bound)?.ok_or_else(|| {
            Failure::Unreachable("the gateway did not answer in time (see --timeout)".to_owned())
        })
    }

    /// The next event, or nothing when the time is up.
    fn wait(&mut self, until: Instant) -> Result<Option<ClientEvent>, Failure> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Some(event) = self.client.next_event() {
                return Ok(Some(event));
            }
            if self.client.is_finished() {
                return Err(Failure::Unreachable("the gateway closed the connection".to_owned()));
            }
            // A gateway that has closed its end may still have said why: read on.
            let _ = self.flush();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let deadline = self.client.next_deadline().map_or(left, |at| self.clock.until(at));
            let wait = left.min(deadline).max(Duration::from_millis(1));
            let _ = self.stream.set_read_timeout(Some(wait));
            match self.stream.read(&mut buffer) {
                Ok(0) => self.client.receive_end(self.clock.now()),
                Ok(count) => self.client.receive(self.clock.now(), &buffer[..count]),
                Err(why) if is_timeout(&why) => {}
                Err(_) => self.client.receive_end(self.clock.now()),
            }
            self.client.handle_timeout(self.clock.now());
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut wire = Vec::new();
        self.client.take_wire(&mut wire);
        if wire.is_empty() {
            return Ok(());
        }
        let left = self.bound.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_write_timeout(Some(left))?;
        self.stream.write_all(&wire)
    }
}

/// Both clocks of a command.
#[derive(Clone, Copy, Debug)]
struct Clock {
    started: Instant,
}

impl Clock {
    fn now(self) -> Now {
        let mono = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { mono: Mono(mono), wall: Wall(log::wall_ms()) }
    }

    fn until(self, at: Mono) -> Duration {
        Duration::from_micros(at.0.saturating_sub(self.now().mono.0))
    }
}

fn is_timeout(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn fits(bound: Instant, after_ms: u64) -> bool {
    bound.saturating_duration_since(Instant::now()) > Duration::from_millis(after_ms)
}

fn closed(code: u16, reason: &str) -> Failure {
    let reason = super::render::clean(reason);
    let advice = advice::on_close(&reason);
    let reason = if reason.is_empty() { "no reason given".to_owned() } else { reason };
    let advice = if advice.is_empty() { String::new() } else { format!("\n{advice}") };
    Failure::Unreachable(format!("the gateway closed the connection ({code}: {reason}){advice}"))
}

/// A refusal in words, with what to do about it.
pub(super) fn refused(error: Box<ResponseError>, hints: &[String]) -> Failure {
    let detail = error.detail("code").unwrap_or(&error.code);
    let said = super::render::clean(&error.message);
    let mut message =
        format!("the gateway refused the connection: {said} ({})", super::render::clean(detail));
    let advice = advice::on_refusal(&error);
    for line in std::iter::once(&advice).chain(hints).filter(|line| !line.is_empty()) {
        message.push('\n');
        message.push_str(line);
    }
    Failure::Refused { message, error }
}

/// Where a secret that was refused came from: people have several, and look at the wrong one.
fn wrong_secret(target: &Target, error: &ResponseError) -> Option<String> {
    wrong_secret_from(target.from.as_deref(), &target.credentials, error)
}

/// The same, by the secret and its source.
pub(super) fn wrong_secret_from(
    from: Option<&str>,
    credentials: &Credentials,
    error: &ResponseError,
) -> Option<String> {
    let code = error.detail("code")?;
    if !matches!(code, "AUTH_TOKEN_MISMATCH" | "AUTH_PASSWORD_MISMATCH" | "AUTH_DEVICE_TOKEN_MISMATCH") {
        return None;
    }
    let from = from?;
    let secret = credentials.token.as_deref().or(credentials.password.as_deref())?;
    let mut said = format!("What was shown to it came from {from}.");
    if is_like_device_token(secret) {
        said.push_str(
            " It has the form of a device token, which is good for one device only; the gateway's own token is another.",
        );
    }
    Some(said)
}

fn client_info(guise: Guise) -> ClientInfo {
    let system = rustix::system::uname().sysname().to_string_lossy().to_lowercase();
    ClientInfo {
        id: "cli".to_owned(),
        mode: guise.mode().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // The reference's command line shares this identity, and its older releases name no family. A family
        // that was pinned once would lock them out.
        device_family: None,
        platform: system,
        display_name: None,
        model_identifier: None,
        instance_id: None,
        build_id: None,
        time_zone: None,
    }
}

const ROLE: &str = "operator";
/// What the reference's command line asks for, in its order.
const SCOPES: [&str; 5] =
    ["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"];
const READ_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_gateways_own_machine_is_told_how_it_gets_in_when_nobody_can_approve() {
        let target = |is_loopback, is_home| Target {
            url: String::new(),
            host: String::new(),
            path: String::new(),
            addresses: Vec::new(),
            credentials: Credentials::default(),
            from: None,
            notice: None,
            tls: None,
            is_loopback,
            is_home,
        };
        let refusal = |code: &str| ResponseError {
            code: "NOT_PAIRED".to_owned(),
            message: "no".to_owned(),
            details: Some(json!({ "code": code })),
            retryable: None,
            retry_after_ms: None,
        };
        let (args, plain) = (ClientArgs::default(), Environment::default());
        let pairing = refusal("PAIRING_REQUIRED");
        let hint = nobody_approves(&args, &plain, &target(false, true), &pairing);
        assert!(hint.is_some_and(|hint| hint.contains("OPENCLAW_GATEWAY_BIND=loopback")));
        let hint = nobody_approves(&args, &plain, &target(true, true), &pairing);
        assert!(hint.is_some_and(|hint| hint.contains("in five minutes")));
        // A gateway elsewhere, or another refusal: its person can do something else.
        assert_eq!(nobody_approves(&args, &plain, &target(false, false), &pairing), None);
        assert_eq!(
            nobody_approves(&args, &plain, &target(false, true), &refusal("AUTH_TOKEN_MISSING")),
            None
        );
        let named = Environment::new([("OPENCLAW_GATEWAY_URL", "ws://127.0.0.1:1")]);
        assert_eq!(nobody_approves(&args, &named, &target(true, true), &pairing), None);
    }

    #[test]
    fn a_secret_that_was_refused_is_traced_to_its_source() {
        let target = |token: &str| Target {
            url: String::new(),
            host: String::new(),
            path: String::new(),
            addresses: Vec::new(),
            credentials: Credentials { token: Some(token.to_owned()), ..Credentials::default() },
            from: Some("the environment variable X".to_owned()),
            notice: None,
            tls: None,
            is_loopback: true,
            is_home: true,
        };
        let refusal = |code: &str| ResponseError {
            code: "INVALID_REQUEST".to_owned(),
            message: "no".to_owned(),
            details: Some(json!({ "code": code })),
            retryable: None,
            retry_after_ms: None,
        };
        let (shared, device) = (target("hidden"), target(&"h".repeat(43)));
        let said = wrong_secret(&shared, &refusal("AUTH_TOKEN_MISMATCH"));
        assert_eq!(said.as_deref(), Some("What was shown to it came from the environment variable X."));
        let said = wrong_secret(&device, &refusal("AUTH_DEVICE_TOKEN_MISMATCH"));
        assert!(
            said.is_some_and(|said| said.contains("the form of a device token") && !said.contains("hhh"))
        );
        assert_eq!(wrong_secret(&shared, &refusal("PAIRING_REQUIRED")), None);
    }
}
