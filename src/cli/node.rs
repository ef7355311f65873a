//! `node`: this machine as a node of a gateway, which runs on it what a person allowed.

use super::address::{Address, is_loopback_name as is_loopback};
use super::args::ClientArgs;
use super::signals::{self, Asked, Watch};
use super::target::{self, PRIVATE_VARIABLE, Shown, Whose};
use super::{Failure, session};
use crate::config::shape::setup_code;
use crate::config::startable::{self, DEFAULT_PORT};
use crate::config::{self, Opened};
use crate::entropy;
use crate::environment::Environment;
use crate::host::facts;
use crate::identity::Identity;
use crate::lock::{Attempt, OsLock, Owner};
use crate::log::settings::Levels;
use crate::log::{self, Logger};
use crate::node::approvals::ApprovalsFile;
use crate::node::desk::Desk;
use crate::node::host::{Dial, DialFault, Ended, NodeHost, OwnSecure, ROLE, Setup};
use crate::node::invoke;
use crate::node::plan::Seal;
use crate::node::policy::Fallback;
use crate::node::state::NodeState;
use crate::node::wake::{self, Waker};
use crate::profile;
use crate::storage::{RealDisk, Storage};
use crate::tls::files::Files as TlsFiles;
use crate::tls::{self, Secure, Trust};
use clap::{Args, Subcommand};
use clawgate_proto::client::ClientConfig;
use clawgate_proto::connect::{ClientInfo, Credentials};
use clawgate_proto::log::{Level, Record};
use clawgate_proto::secret::Secret;
use serde_json::Value;
use std::fmt;
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// `clawgate node`.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeCommand {
    /// Connect this machine to a gateway as a node, in the foreground
    #[command(after_help = NODE_HELP)]
    Run(NodeRunArgs),
}

/// How to run a node host. `Debug` shows neither token nor password.
#[derive(Clone, Default, Args)]
pub struct NodeRunArgs {
    /// Name or address of the gateway [default: the one of last time, this machine]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Port of the gateway [default: the one of last time, OPENCLAW_GATEWAY_PORT, 18789]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// The gateway's token (better OPENCLAW_GATEWAY_TOKEN, which other users cannot see in the process list)
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// The gateway's password (better OPENCLAW_GATEWAY_PASSWORD)
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// A setup code for a node host, as `clawgate qr --access node` shows it: this machine is let in without the
    /// gateway's token, and what it offers is approved at once
    #[arg(long, value_name = "CODE", conflicts_with_all = ["token", "password"])]
    pub setup_code: Option<String>,
    /// What people call this node [default: the one of last time, this machine's name]
    #[arg(long, value_name = "NAME")]
    pub display_name: Option<String>,
    /// Instance id of this installation [default: the one of last time, a new one]
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,
    /// Connect by TLS [default: as last time; to this machine's own gateway, as gateway.tls says]
    #[arg(long)]
    pub tls: bool,
    /// The one certificate to trust: its SHA-256, as `clawgate gateway tls` shows on the gateway's machine. Means --tls
    #[arg(long, value_name = "SHA256", value_parser = super::tls::fingerprint)]
    pub tls_fingerprint: Option<String>,
    /// Log each step
    #[arg(long, short)]
    pub verbose: bool,
    /// Log as JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

impl NodeRunArgs {
    fn wants_tls(&self) -> bool {
        self.tls || self.tls_fingerprint.is_some()
    }
}

impl fmt::Debug for NodeRunArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeRunArgs")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("has_token", &self.token.is_some())
            .field("has_password", &self.password.is_some())
            .field("has_setup_code", &self.setup_code.is_some())
            .finish_non_exhaustive()
    }
}

/// Runs one of the commands.
///
/// # Errors
/// It cannot start, or a person has to do something before it can go on.
pub fn run(command: &NodeCommand, environment: &Environment) -> Result<(), Failure> {
    match command {
        NodeCommand::Run(args) => serve(args, environment),
    }
}

fn serve(args: &NodeRunArgs, environment: &Environment) -> Result<(), Failure> {
    let storage = Storage::on_disk();
    let opened = config::open(&storage, environment).map_err(Failure::Failed)?;
    let state_dir = opened.places.state_dir.clone();
    let mut state = NodeState::load(&storage, &state_dir).map_err(Failure::Failed)?;
    let code = args.setup_code.as_deref().map(SetupCode::read).transpose()?;
    let gateway = Gateway::choose(args, code.as_ref(), &state, &opened)?;
    let client_args =
        ClientArgs { token: args.token.clone(), password: args.password.clone(), ..ClientArgs::default() };
    let shown = match &code {
        // A code stands alone: whoever has one needs nothing else, and shows nothing else.
        Some(code) => code.shown(),
        None => target::shown_by_node(&client_args, &opened, gateway.whose)?,
    };
    let private = opened.environment.is_on(PRIVATE_VARIABLE);
    let trust = gateway.trust(args, &state, &opened, &storage)?;
    let secure = trust.as_ref().map(|trust| tls::secure(trust, &gateway.host)).transpose();
    let secure = secure.map_err(Failure::Usage)?;
    // What must not be done is said at once; what cannot be done yet is tried again later.
    if secure.is_none()
        && let Err(failure @ Failure::Usage(_)) = target::reach(&gateway.host, gateway.port, private)
    {
        return Err(failure);
    }

    let identity = Identity::load_or_create(&storage, &state_dir, log::wall_ms()).map_err(Failure::Failed)?;
    let _lock = lock(&state_dir, &opened, &gateway)?;
    let was_known = state.host.as_deref() == Some(gateway.host.as_str()) && state.port == Some(gateway.port);
    let has_others_token = state.host.is_some() && !was_known;
    let name = |text: &Option<String>| {
        text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    state.host = Some(gateway.host.clone());
    state.port = Some(gateway.port);
    state.tls = gateway.tls;
    // This machine's own is looked up anew each time.
    let is_own = gateway.whose == Whose::Home && args.tls_fingerprint.is_none();
    let own_secure = secure.as_ref().filter(|secure| is_own && secure.is_pinned());
    let own_secure = own_secure.map(|_| own_secure_of(&opened, &gateway.host));
    state.tls_fingerprint = match &trust {
        Some(Trust::Pin(_)) if is_own => None,
        Some(Trust::Pin(fingerprint)) => Some(fingerprint.clone()),
        Some(Trust::System) | None => None,
    };
    state.display_name = name(&args.display_name).or(state.display_name).or_else(|| Some(facts::hostname()));
    state.node_id = name(&args.node_id).unwrap_or(state.node_id);

    let logger = logger(args, &opened, &shown.credentials);
    for notice in identity.notice.iter().chain(&shown.notice) {
        logger.log(&Record::new(Level::Warn, "node.warning").field("what", notice));
    }
    let (waker, woken) = wake::pair().map_err(cannot_run)?;
    let (stop, _watch) = stop_on_signals(&logger, &waker)?;
    let scheme = if gateway.tls { "wss" } else { "ws" };
    let url = format!("{scheme}://{}:{}", gateway.host, gateway.port);
    let record = Record::new(Level::Info, "node.starting")
        .field("gateway", &url)
        .field("name", state.display_name.as_deref().unwrap_or_default())
        .field("device", identity.key.device_id())
        .field("pid", std::process::id());
    logger.log(&record);
    let setup = Setup {
        dial: dial(&gateway, private),
        host: format!("{}:{}", gateway.host, gateway.port),
        url,
        credentials: shown.credentials.clone(),
        has_own_token: code.is_none() && (was_known || gateway.whose == Whose::Home),
        has_others_token,
        is_trusted: gateway.is_loopback() || secure.as_ref().is_some_and(Secure::is_pinned),
        client: ClientConfig {
            tls: secure.as_ref().map(Secure::connector),
            ..client(&gateway, &state, &identity, &opened.environment)
        },
        secure,
        own_secure,
        state,
        desk: Arc::new(desk(&opened, environment)?),
        storage,
        state_dir,
        logger: Arc::clone(&logger),
        stop,
        waker,
        woken,
    };
    let host = NodeHost::new(setup).map_err(cannot_run)?;
    match host.run() {
        Ended::Stopped => {
            logger.log(&Record::new(Level::Info, "node.stopped"));
            Ok(())
        }
        Ended::Refused(error) => {
            let hint = session::wrong_secret_from(shown.from.as_deref(), &shown.credentials, &error);
            Err(session::refused(error, &Vec::from_iter(hint)))
        }
        Ended::Untrusted { code, why } => Err(Failure::Tls { code, message: why }),
        Ended::Forbidden(why) => Err(Failure::Usage(why)),
        Ended::Failed(why) => Err(Failure::Failed(why)),
    }
}

/// TLS to this installation's own gateway with the certificate that it has when that is asked.
fn own_secure_of(opened: &Opened, host: &str) -> OwnSecure {
    let files = TlsFiles::of(&opened.settings.tls, &opened.environment, &opened.places.state_dir);
    let host = host.to_owned();
    Box::new(move || {
        let shown = tls::shown(&files, &Storage::on_disk()).ok().flatten()?;
        tls::secure(&Trust::Pin(shown.fingerprint), &host).ok()
    })
}

/// A setup code. `Debug` would show a secret: there is none.
struct SetupCode {
    url: String,
    secret: String,
}

impl SetupCode {
    fn read(text: &str) -> Result<Self, Failure> {
        let fault = || Failure::Usage("--setup-code is no setup code: copy it again, as one line".to_owned());
        let code = setup_code(text).ok_or_else(fault)?;
        let text = |name: &str| code[name].as_str().map(str::to_owned).ok_or_else(fault);
        Ok(Self { url: text("url")?, secret: text("bootstrapToken")? })
    }

    fn shown(&self) -> Shown {
        let credentials =
            Credentials { bootstrap_token: Some(self.secret.clone()), ..Credentials::default() };
        Shown { credentials, from: Some("the setup code".to_owned()), notice: None }
    }
}

/// Which gateway this node belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gateway {
    /// IPv6 in brackets.
    host: String,
    port: u16,
    tls: bool,
    whose: Whose,
}

impl Gateway {
    /// The flags, then the setup code, then what is remembered, then this machine's own.
    fn choose(
        args: &NodeRunArgs,
        code: Option<&SetupCode>,
        state: &NodeState,
        opened: &Opened,
    ) -> Result<Self, Failure> {
        // A tunnel has another address than the gateway behind it: flags that name one are stronger.
        if let Some(code) = code.filter(|_| args.host.is_none() && args.port.is_none()) {
            let Address { tls, host, port, .. } = Address::parse(&code.url).map_err(|why| {
                Failure::Usage(format!(
                    "the address in the setup code cannot be used: {why}; --host and --port name another way there"
                ))
            })?;
            let tls = tls || args.wants_tls();
            return Ok(Self { host: host_name(&host)?, port, tls, whose: Whose::Unknown });
        }
        let own_port =
            startable::port(None, &opened.environment, &opened.settings).map_err(Failure::Failed)?;
        let is_remote = opened.settings.mode.as_deref() == Some("remote");
        let remote = opened.settings.remote_url.as_deref().filter(|_| is_remote).map(|url| {
            let address = Address::parse(url.trim());
            address.map_err(|why| Failure::Failed(format!("gateway.remote.url: {why}")))
        });
        let named = args.host.as_ref().or(state.host.as_ref());
        let (host, port) = match (named, args.port, remote.transpose()) {
            // An address that is not used may be wrong.
            (Some(host), _, _) => {
                let host = host_name(host)?;
                // A port that is remembered is the remembered gateway's.
                let remembered = state.port.filter(|_| state.host.as_ref() == Some(&host));
                (host, args.port.or(remembered).unwrap_or(DEFAULT_PORT))
            }
            (None, Some(port), _) => ("127.0.0.1".to_owned(), port),
            (None, None, remote) => match remote? {
                Some(address) => (host_name(&address.host)?, address.port),
                None => ("127.0.0.1".to_owned(), own_port),
            },
        };
        let at = opened.settings.remote_url.as_deref().and_then(|url| Address::parse(url.trim()).ok());
        let was_there = state.host.as_ref() == Some(&host) && state.port == Some(port);
        let is_there = |address: &Address| {
            host_name(&address.host).is_ok_and(|there| there == host) && address.port == port
        };
        let whose = match is_remote {
            true if at.as_ref().is_some_and(is_there) => Whose::Remote,
            false if is_loopback(&host) && port == own_port => Whose::Home,
            true | false => Whose::Unknown,
        };
        let tls = args.wants_tls()
            || (was_there && state.tls)
            || match whose {
                Whose::Home => opened.settings.tls.enabled,
                Whose::Remote => at.as_ref().is_some_and(|address| address.tls),
                Whose::Unknown => false,
            };
        Ok(Self { host, port, tls, whose })
    }

    /// Which certificate is this gateway's; `None` without TLS.
    fn trust(
        &self,
        args: &NodeRunArgs,
        state: &NodeState,
        opened: &Opened,
        storage: &Storage<RealDisk>,
    ) -> Result<Option<Trust>, Failure> {
        if !self.tls {
            return Ok(None);
        }
        if let Some(fingerprint) = &args.tls_fingerprint {
            return Ok(Some(Trust::Pin(fingerprint.clone())));
        }
        let was_there = state.host.as_ref() == Some(&self.host) && state.port == Some(self.port);
        if let Some(known) = state.tls_fingerprint.as_deref().filter(|_| was_there) {
            let fingerprint = tls::fingerprint(known).ok_or_else(|| {
                Failure::Failed(
                    "node.json: gateway.tlsFingerprint is no SHA-256 fingerprint; say the right one with --tls-fingerprint"
                        .to_owned(),
                )
            })?;
            return Ok(Some(Trust::Pin(fingerprint)));
        }
        match self.whose {
            Whose::Home if opened.settings.tls.enabled => {
                let state_dir = &opened.places.state_dir;
                target::own_trust(&opened.settings, &opened.environment, state_dir, storage).map(Some)
            }
            Whose::Remote => target::remote_trust(&opened.settings).map(Some),
            Whose::Home | Whose::Unknown => Ok(Some(Trust::System)),
        }
    }

    fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// A host as it is written into an address.
fn host_name(text: &str) -> Result<String, Failure> {
    let text = text.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(IpAddr::V6(ip)) = bare.parse() {
        return Ok(format!("[{ip}]"));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || !text.chars().all(is_name) {
        return Err(Failure::Usage(
            "--host is a name or an address alone, such as 127.0.0.1 or gateway.local; --port says the port"
                .to_owned(),
        ));
    }
    Ok(text.to_ascii_lowercase())
}

/// Names are looked up each time: a board may start before its network does.
fn dial(gateway: &Gateway, private: bool) -> Dial {
    let Gateway { host, port, tls, .. } = gateway.clone();
    Arc::new(move || {
        let addresses = if tls { target::resolve(&host, port) } else { target::reach(&host, port, private) };
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(Failure::Usage(why)) => return Err(DialFault::Forbidden(why)),
            Err(failure) => return Err(DialFault::Unreachable(failure.message())),
        };
        let mut last = "it has no address".to_owned();
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => return Ok(stream),
                Err(why) => last = why.to_string(),
            }
        }
        Err(DialFault::Unreachable(last))
    })
}

fn client(
    gateway: &Gateway,
    state: &NodeState,
    identity: &Identity,
    environment: &Environment,
) -> ClientConfig {
    let info = ClientInfo {
        id: "node-host".to_owned(),
        mode: "node".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // The reference's node host shares this identity, and its older releases name no family. A family that was
        // pinned once would lock them out.
        device_family: None,
        platform: rustix::system::uname().sysname().to_string_lossy().to_lowercase(),
        display_name: state.display_name.clone(),
        model_identifier: None,
        instance_id: Some(state.node_id.clone()),
        build_id: None,
        time_zone: None,
    };
    ClientConfig {
        role: ROLE.to_owned(),
        scopes: Vec::new(),
        caps: vec!["system".to_owned()],
        commands: invoke::COMMANDS.map(str::to_owned).to_vec(),
        path_env: environment.get("PATH").map(str::to_owned),
        identity: Some(identity.key.clone()),
        ..ClientConfig::new(format!("{}:{}", gateway.host, gateway.port), info)
    }
}

fn desk(opened: &Opened, environment: &Environment) -> Result<Desk, Failure> {
    let home = opened.environment.home().ok_or_else(|| {
        Failure::Failed("no home folder is known, where exec approvals are kept: set HOME".to_owned())
    })?;
    let word = |name: &str| {
        let node = opened.file.found.as_ref()?.root.at(&["tools", "exec", name])?;
        // What is no word is no policy, and counts as the strictest.
        Some(Value::from(node.as_text().unwrap_or_default()))
    };
    let fallback = Fallback { security: word("security"), ask: word("ask") };
    let storage = Storage::on_disk();
    Ok(Desk {
        approvals: ApprovalsFile::new(storage, home.join(".openclaw/exec-approvals.json"), fallback),
        seal: Seal::new(entropy::bytes()),
        // What a configuration or a `.env` adds is for gateways: commands get what this process was started with.
        own: environment.all().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        home: home.to_str().map(str::to_owned),
        state_dir: opened.places.state_dir.clone(),
    })
}

fn logger(args: &NodeRunArgs, opened: &Opened, credentials: &Credentials) -> Arc<Logger> {
    let levels = Levels::new(&opened.settings.logging, &opened.environment, args.verbose);
    let secrets = [&credentials.token, &credentials.password, &credentials.bootstrap_token];
    let secrets = secrets.into_iter().flatten();
    Arc::new(Logger::new(levels.console, args.json).hiding(secrets.filter_map(|secret| Secret::new(secret))))
}

/// One node host on a state folder: two would push each other out of the gateway for ever.
fn lock(state_dir: &Path, opened: &Opened, gateway: &Gateway) -> Result<OsLock, Failure> {
    let path = state_dir.join("node.lock");
    let owner = Owner::this_process(
        profile::name_of(&opened.environment),
        gateway.port,
        &opened.places.config,
        state_dir,
    );
    match OsLock::attempt(&path, &owner) {
        Ok(Attempt::Ours(lock)) => Ok(lock),
        Ok(Attempt::Others(who)) => {
            let who = who.map_or_else(|| "another process".to_owned(), |owner| format!("pid {}", owner.pid));
            Err(Failure::Locked(format!(
                "a node host runs already on {} ({who}): stop it, or use another --profile",
                state_dir.display()
            )))
        }
        Err(why) => Err(Failure::Failed(format!("{}: {why}", path.display()))),
    }
}

/// The first SIGINT or SIGTERM ends it gently, the second at once.
fn stop_on_signals(logger: &Arc<Logger>, waker: &Waker) -> Result<(Arc<AtomicBool>, Watch), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(Asked::default());
    let watch =
        signals::watch(logger, &asked, || Err("a node host is not restarted by a signal".to_owned()))?;
    let (told, waker) = (Arc::clone(&stop), another(waker)?);
    asked.on_wish(move |_| {
        told.store(true, Ordering::Release);
        waker.wake();
    });
    Ok((stop, watch))
}

fn another(waker: &Waker) -> Result<Waker, Failure> {
    waker.another().map_err(cannot_run)
}

fn cannot_run(why: std::io::Error) -> Failure {
    Failure::Failed(format!("the node host cannot run: {why}"))
}

const CONNECT: Duration = Duration::from_secs(10);

const NODE_HELP: &str = "\
Examples:
  OPENCLAW_GATEWAY_TOKEN=... clawgate node run --host 127.0.0.1 --port 18789 --display-name Attic
  clawgate node run --setup-code CODE                paired by a code of `clawgate qr --access node`
  clawgate node run                                  again, to the same gateway
  ssh -N -L 18790:127.0.0.1:18789 gateway.example &  a gateway elsewhere, through a tunnel
  clawgate node run --port 18790

The gateway's person approves it twice: `clawgate devices approve REQUEST` lets this device in (nobody is asked about one that
comes through a tunnel and shows the token), and `clawgate nodes approve REQUEST` allows what it offers. It waits for both, and
comes in by itself. What may run here is said by
~/.openclaw/exec-approvals.json on this machine: without it, every command needs an approval.

  clawgate node run --host gateway.local --tls-fingerprint SHA256    by TLS, to the gateway with that certificate

Beyond this machine it talks only by TLS (--tls, --tls-fingerprint), through a tunnel, or, with
OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1, to a private network.
SIGINT or SIGTERM stops it, and what it runs; a second one ends it at once. Exit codes: 0 stopped, 1 failed, 2 makes no
sense, 3 the gateway's certificate is not the pinned one, 4 the gateway does not let it in (token, password, protocol).";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn opened(config: &str, folder: &Folder) -> Opened {
        std::fs::write(folder.path().join("openclaw.json"), config).unwrap();
        let state = folder.path().to_str().unwrap();
        config::open(&Storage::new(RealDisk, 1), &Environment::new([("OPENCLAW_STATE_DIR", state)])).unwrap()
    }

    fn args(host: Option<&str>, port: Option<u16>) -> NodeRunArgs {
        NodeRunArgs { host: host.map(str::to_owned), port, ..NodeRunArgs::default() }
    }

    #[test]
    fn flags_come_before_what_is_remembered_and_that_before_this_machine() {
        let folder = Folder::new();
        let opened = opened("{gateway: {mode: 'local', port: 7}}", &folder);
        let known = NodeState { host: Some("attic.local".into()), port: Some(9), ..NodeState::default() };
        let none = NodeState::default();
        for (args, state, want) in [
            (args(None, None), &none, ("127.0.0.1", 7, Whose::Home)),
            (args(None, Some(8)), &none, ("127.0.0.1", 8, Whose::Unknown)),
            (args(Some("LOCALHOST"), Some(7)), &none, ("localhost", 7, Whose::Home)),
            (args(Some("gw.local"), None), &none, ("gw.local", 18_789, Whose::Unknown)),
            (args(Some("gw.local"), None), &known, ("gw.local", 18_789, Whose::Unknown)),
            (args(Some("attic.local"), None), &known, ("attic.local", 9, Whose::Unknown)),
            (args(None, None), &known, ("attic.local", 9, Whose::Unknown)),
            (args(None, Some(7)), &known, ("attic.local", 7, Whose::Unknown)),
            (args(Some("::1"), Some(7)), &known, ("[::1]", 7, Whose::Home)),
            // A name that only looks like this machine.
            (args(Some("127.evil.example"), Some(7)), &none, ("127.evil.example", 7, Whose::Unknown)),
        ] {
            let got = Gateway::choose(&args, None, state, &opened).unwrap();
            assert_eq!((got.host.as_str(), got.port, got.whose), want, "{args:?}");
        }
        for host in ["", "a b", "ws://x", "user@x", "x:1", "x/y"] {
            assert!(Gateway::choose(&args(Some(host), None), None, &none, &opened).is_err(), "{host:?}");
        }
        let config =
            "{gateway: {mode: 'remote', remote: {url: 'ws://gw.local:5', token: 'secret-of-remote'}}}";
        std::fs::write(folder.path().join("openclaw.json"), config).unwrap();
        let state = folder.path().to_str().unwrap();
        let environment = Environment::new([("OPENCLAW_STATE_DIR", state)]);
        let opened = config::open(&Storage::new(RealDisk, 1), &environment).unwrap();
        for (args, state, want) in [
            (args(None, None), &none, ("gw.local", 5, Whose::Remote)),
            (args(Some("gw.local"), Some(5)), &none, ("gw.local", 5, Whose::Remote)),
            (args(Some("gw.local"), None), &none, ("gw.local", 18_789, Whose::Unknown)),
            (args(None, Some(18_789)), &none, ("127.0.0.1", 18_789, Whose::Unknown)),
            (args(None, None), &known, ("attic.local", 9, Whose::Unknown)),
        ] {
            let got = Gateway::choose(&args, None, state, &opened).unwrap();
            assert_eq!((got.host.as_str(), got.port, got.whose), want, "{args:?}");
            let shown = target::shown_by_node(&ClientArgs::default(), &opened, got.whose).unwrap();
            let token = shown.credentials.token.as_deref();
            assert_eq!(token, (want.2 == Whose::Remote).then_some("secret-of-remote"));
        }
    }

    #[test]
    fn a_setup_code_names_its_gateway_unless_somebody_names_a_way_there() {
        let folder = Folder::new();
        let opened = opened("{}", &folder);
        let none = NodeState::default();
        let code = |url: &str| {
            let text = format!("{{\"url\":\"{url}\",\"bootstrapToken\":\"secret-secret-secret\"}}");
            SetupCode::read(&format!("oc-pair://{}", URL_SAFE_NO_PAD.encode(text))).unwrap()
        };
        let choose = |args: &NodeRunArgs, code: &SetupCode| Gateway::choose(args, Some(code), &none, &opened);
        let ws = code("ws://127.0.0.1:7/");
        let got = choose(&args(None, None), &ws).unwrap();
        assert_eq!((got.host.as_str(), got.port, got.whose), ("127.0.0.1", 7, Whose::Unknown));
        assert_eq!(choose(&args(None, Some(8)), &ws).unwrap().port, 8);
        let shown = ws.shown().credentials;
        assert_eq!((shown.bootstrap_token.as_deref(), shown.token), (Some("secret-secret-secret"), None));
        let wss = code("wss://gw.example");
        let got = choose(&args(None, None), &wss).unwrap();
        assert_eq!((got.host.as_str(), got.port, got.tls), ("gw.example", 443, true));
        let got = choose(&args(Some("127.0.0.1"), Some(9)), &wss).unwrap();
        assert_eq!((got.port, got.tls), (9, false));
        assert!(!choose(&args(None, None), &ws).unwrap().tls);
        assert!(SetupCode::read("nonsense").is_err());
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_what_flags_or_memory_or_the_configuration_say_and_is_never_forgotten_by_itself() {
        let folder = Folder::new();
        let storage = Storage::new(RealDisk, 1);
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let config = format!(
            "{{gateway: {{mode: 'remote', remote: {{url: 'wss://far.example:9', tlsFingerprint: '{one}'}}}}}}"
        );
        let far = opened(&config, &folder);
        let none = NodeState::default();
        let known = NodeState {
            host: Some("attic.local".into()),
            port: Some(9),
            tls: true,
            tls_fingerprint: Some(two.clone()),
            ..NodeState::default()
        };
        let flagged = |fingerprint: &str, host| NodeRunArgs {
            tls_fingerprint: Some(fingerprint.to_owned()),
            ..args(host, Some(9))
        };
        let pin = |fingerprint: &str| Some(Trust::Pin(fingerprint.to_owned()));
        for (args, state, want) in [
            (args(None, None), &none, pin(&one)),
            (args(Some("near.example"), Some(9)), &none, None),
            (NodeRunArgs { tls: true, ..args(Some("near.example"), None) }, &none, Some(Trust::System)),
            (flagged(&two, Some("near.example")), &none, pin(&two)),
            (args(None, None), &known, pin(&two)),
            // The same gateway named by a flag is still known; another port is another gateway.
            (args(Some("attic.local"), None), &known, pin(&two)),
            (args(Some("attic.local"), Some(10)), &known, None),
            (flagged(&one, Some("attic.local")), &known, pin(&one)),
        ] {
            let gateway = Gateway::choose(&args, None, state, &far).unwrap();
            let trust = gateway.trust(&args, state, &far, &storage).unwrap();
            assert_eq!(trust, want, "{args:?}");
            assert_eq!(gateway.tls, trust.is_some());
        }
        let home = opened("{gateway: {mode: 'local', tls: {enabled: true}}}", &folder);
        let gateway = Gateway::choose(&args(None, None), None, &none, &home).unwrap();
        assert!(gateway.tls);
        let fault = gateway.trust(&args(None, None), &none, &home, &storage).unwrap_err().message();
        assert!(fault.contains("gateway-cert.pem is not there yet"), "{fault}");
        let broken = NodeState { tls_fingerprint: Some("f".into()), ..known.clone() };
        let gateway = Gateway::choose(&args(None, None), None, &broken, &far).unwrap();
        assert!(
            gateway.trust(&args(None, None), &broken, &far, &storage).is_err(),
            "nothing is trusted instead"
        );
    }

    #[test]
    fn the_configurations_secret_goes_to_the_configurations_gateway_only() {
        let folder = Folder::new();
        let config = "{gateway: {mode: 'local', auth: {mode: 'token', token: 'secret-of-home'}}}";
        let mut opened = opened(config, &folder);
        let shown = |opened: &Opened, whose| {
            target::shown_by_node(&ClientArgs::default(), opened, whose).unwrap().credentials.token
        };
        assert_eq!(shown(&opened, Whose::Home).as_deref(), Some("secret-of-home"));
        assert_eq!(shown(&opened, Whose::Unknown), None);
        opened.environment.set("OPENCLAW_GATEWAY_TOKEN", "secret-of-mine");
        assert_eq!(shown(&opened, Whose::Unknown).as_deref(), Some("secret-of-mine"));
        let flag = ClientArgs { token: Some("flag".into()), ..ClientArgs::default() };
        let said = target::shown_by_node(&flag, &opened, Whose::Unknown).unwrap();
        assert_eq!(said.credentials.token.as_deref(), Some("flag"));
    }
}
