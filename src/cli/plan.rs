//! What is decided before a gateway listens: from flags, environment and files to one plan, with everything that
//! can be refused on the way, and what the first start writes.

use super::args::{AuthArg, RunArgs};
use super::{Failure, announce};
use crate::accounts::{self, Account, Keeper};
use crate::config::first_run::{Author, generate_token};
use crate::config::live::taken::Pages;
use crate::config::live::{self, LiveFile, Marks, Seen, Start, Text, secret_marks};
use crate::config::own::{Around, Own, ProxyProof};
use crate::config::secrets::{self, Overrides, Resolved, Source, Sourced};
use crate::config::settings::{Bind, TailscaleMode};
use crate::config::start::{self, Decided, Flags};
use crate::config::startable;
use crate::config::write::backup_of;
use crate::config::{self, ConfigFile, Opened, Places, Settings, own};
use crate::discovery::Discovery;
use crate::entropy;
use crate::environment::Environment;
use crate::host::StateHost;
use crate::host::cgroup;
use crate::host::facts::{self, Facts};
use crate::host::files::Files;
use crate::identity::Identity;
use crate::interfaces;
use crate::listen::Place;
use crate::lock::Owner;
use crate::log::plan::LogPlan;
use crate::log::{self, Logger};
use crate::profile;
use crate::storage::{Disk as _, Overlay, Storage, explain};
use crate::tailscale::Tailscaled;
use crate::tailscale::serve as tailscale;
use crate::tls::files::Files as TlsFiles;
use crate::tls::{self, Prepared};
use clawgate_config::service::Loaded;
use clawgate_proto::config::{About, AuthConfig, AuthMode, Config, PairingRules, Reach};
use clawgate_proto::limits::Limits;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::net::Origin;
use clawgate_proto::secret::Secret;
use clawgate_proto::seed::{Random, Seed};
use clawgate_proto::{Gateway, Now};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Everything that is decided before a socket is bound.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) places: Places,
    /// The home folder, where there is one.
    home: Option<PathBuf>,
    pub(super) storage: Arc<Storage<Overlay>>,
    pub(super) settings: Settings,
    pub(super) place: Place,
    pub(super) port: u16,
    /// Where the client commands look for it when nothing else is said.
    port_for_clients: u16,
    /// This program, with its profile.
    program: String,
    pub(super) auth: Resolved,
    /// The messenger accounts to own.
    accounts: Vec<Account>,
    own: Own,
    /// What a changed configuration file is read with.
    watch: Start,
    /// The files as they were when this was made of them.
    seen: Seen,
    tailscaled: Tailscaled,
    /// What the daemon said that this machine is called, once it was asked.
    tailnet_name: OnceLock<Result<String, String>>,
    /// The folders that are served.
    pub(super) pages: Pages,
    /// `OPENCLAW_MDNS_HOSTNAME` and `OPENCLAW_TAILNET_DNS`: what this machine is called, when it is not what it says.
    names: [Option<String>; 2],
    pub(super) identity: Identity,
    /// How it is found.
    pub(super) discovery: Discovery,
    /// The certificate, where TLS is on.
    pub(super) tls: Option<Prepared>,
    /// Where records are kept, and from which level on.
    pub(super) log_file: LogPlan,
    /// What was written at this start; a sentence for a person.
    pub(super) wrote: Option<String>,
    pub(super) warnings: Vec<String>,
}

/// What is known when the lock is taken.
#[derive(Debug)]
pub(super) struct Spot<'a> {
    pub(super) places: &'a Places,
    pub(super) place: Place,
    pub(super) port: u16,
}

/// Where a gateway listens, whatever the file says by now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    bind: Bind,
    pub(super) place: Place,
    pub(super) port: u16,
}

/// The certificate in force, where there is TLS.
pub(super) type Certificate = Option<Arc<tls::Keeper<Overlay>>>;

impl Plan {
    /// Reads everything, refuses what must be refused (in the reference's order: spec auth 2), and writes the
    /// configuration where it has to be written. `lock` is called before anything is written, with what was decided.
    /// `stay` is where a gateway listened that could not go where the file says: there it goes on.
    pub(super) fn make(
        args: &RunArgs,
        environment: &Environment,
        stay: Option<Stay>,
        lock: &mut dyn FnMut(&Spot<'_>) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mut flags = Flags {
            auth: overrides(args, environment)?,
            bind: stay.map(|stay| stay.bind).or(args.bind.map(Into::into)),
            place: stay.map(|stay| stay.place),
            tailscale: args.tailscale.map(Into::into),
            tailscale_resets: args.tailscale_reset_on_exit,
            allow_unconfigured: args.allow_unconfigured,
            proxy: ProxyProof::default(),
            pairing: PairingRules::default(),
        };
        let disk = if args.state_in_memory { Overlay::in_memory() } else { Overlay::on_disk() };
        let storage = Arc::new(Storage::new(disk, u64::from_ne_bytes(entropy::bytes())));
        let Opened { places, mut file, mut settings, environment, base, mut loaded } =
            config::open(&storage, environment).map_err(Failure::Failed)?;
        flags.put_over(&mut settings);
        // Where there is no file yet, this start writes one for a gateway.
        flags.allow_unconfigured |= file.found.is_none();
        let around = Around {
            sockets_max: args.max_connections.and_then(|count| usize::try_from(count).ok()),
            memory_limit: cgroup::memory_limit(),
        };
        let own_path = places.own_config();
        let (own, own_text) = own::read_marked(&storage, &own_path, &environment).map_err(Failure::Failed)?;
        let own = own.with(around);
        let secret_marks = secret_marks(&storage, &settings);
        flags.proxy.clone_from(&own.proxy);
        flags.pairing.clone_from(&own.pairing);
        let Decided { bind, place, mut auth, exposure } =
            start::decide(&flags, &settings, &file.path, &environment).map_err(Failure::Failed)?;
        flags.allow_unconfigured = args.allow_unconfigured;
        let port = stay.map(|stay| stay.port).or(args.port);
        let port = startable::port(port, &environment, &settings).map_err(Failure::Failed)?;
        let port_for_clients = startable::port(None, &environment, &settings).unwrap_or(port);
        let program = profile::program(&environment, &places.state_dir);
        let root = file.found.as_ref().map(|found| &found.root);
        let accounts = accounts::configured(root, &places, &environment);
        let tls = settings.tls.enabled.then(|| TlsFiles::of(&settings.tls, &environment, &places.state_dir));
        let prepare = |names: Option<&[String]>| match &tls {
            Some(files) => tls::prepare(files, own.oldest_tls, &storage, names).map_err(Failure::Failed),
            None => Ok(None),
        };
        prepare(None)?;
        lock(&Spot { places: &places, place, port })?;
        // A later change of the file, or another restart, is judged by what the command line says.
        (flags.bind, flags.place) = (args.bind.map(Into::into), None);
        let wrote = complete(&mut file, (&storage, &places), &mut auth, &flags.auth, &settings)
            .map_err(Failure::Failed)?;
        if wrote.is_some() {
            relearn(&mut loaded, &file, &base);
        }
        secrets::refuse_open_bind(&auth, bind, &host_of(place), port).map_err(Failure::Failed)?;
        let identity =
            Identity::load_or_create(&storage, &places.state_dir, log::wall_ms()).map_err(Failure::Failed)?;
        let names = ["OPENCLAW_MDNS_HOSTNAME", "OPENCLAW_TAILNET_DNS"]
            .map(|name| environment.get(name).map(str::to_owned));
        let tls = prepare(Some(&names_of_this_machine(names.iter().flatten())))?;
        let mut warnings = settings.warnings.clone();
        warnings.extend(tls.iter().flat_map(Prepared::warnings).cloned());
        warnings.extend(exposure.warnings(&auth, &settings));
        warnings.extend(bridge_is_gone(args, &environment));
        warnings.extend(identity.notice.clone());
        warnings.extend(exposed_file(&file.path));
        if args.state_in_memory {
            warnings.push(IN_MEMORY.to_owned());
        }
        if auth.mode == AuthMode::None {
            warnings.push(
                "auth is none: every program on this machine may connect and ask to be paired".to_owned(),
            );
        }
        for folder in ["devices", "identity", "nodes", "settings"] {
            warnings.extend(storage.sweep(&places.state_dir.join(folder)).err());
        }
        if let Some(folder) = file.path.parent() {
            warnings.extend(storage.sweep(folder).err());
        }
        let log_file = LogPlan::make(args.log_file.as_deref(), args.verbose, &settings.logging, &environment);
        let home = environment.home();
        let config_text = file.found.as_ref().map(|found| (found.text.as_slice(), found.mark));
        let own_text = own_text.as_ref().map(|(text, mark)| (text.as_slice(), *mark));
        let seen = Seen::new(
            Text::of(&file.path, config_text),
            (&loaded.0, loaded.1.clone()),
            Text::of(&own_path, own_text),
            secret_marks,
            log_file.clone(),
        );
        let watch = Start {
            path: file.path.clone(),
            state_dir: places.state_dir.clone(),
            environment: base,
            flags,
            port: args.port,
            listening: Vec::new(),
            verbose: args.verbose,
            bind,
            exposure,
            own: own_path,
            spot: Some((place, port)),
            log_flag: args.log_file.clone(),
            around,
            restarts_by_signal: Arc::new(AtomicBool::new(settings.restart_by_signal != Some(false))),
            base: Config::new(AuthConfig::new(AuthMode::None), port),
        };
        let tailscaled = own.tailscale_socket.clone().map_or_else(Tailscaled::default, Tailscaled::at);
        let pages = Pages::new(&settings, &environment, &places.state_dir);
        let discovery = Discovery::new(&settings.discovery, &environment);
        Ok(Self {
            places,
            home,
            storage,
            settings,
            place,
            port,
            port_for_clients,
            program,
            auth,
            accounts,
            own,
            watch,
            seen,
            tailscaled,
            tailnet_name: OnceLock::new(),
            pages,
            names,
            identity,
            discovery,
            tls,
            log_file,
            wrote,
            warnings,
        })
    }

    /// What no line of the log may show.
    pub(super) fn secrets(&self) -> impl Iterator<Item = Secret> {
        let shared = [&self.auth.token, &self.auth.password].into_iter().flatten();
        let proof = self.watch.exposure.proxy.proof.as_ref().map(|(_, proof)| proof.clone());
        shared.map(|sourced| sourced.secret.clone()).chain(proof)
    }

    /// How a person calls a client command for this gateway. A port that only a flag names is not found by them.
    pub(super) fn program(&self, port: Option<u16>) -> String {
        match port.filter(|port| *port != self.port_for_clients) {
            Some(port) => format!("OPENCLAW_GATEWAY_PORT={port} {}", self.program),
            None => self.program.clone(),
        }
    }

    /// Takes the messenger accounts, as `owner`.
    pub(super) fn own(&self, owner: Owner, logger: &Arc<Logger>) -> Result<Keeper, Failure> {
        Keeper::start(self.accounts.clone(), owner, Arc::clone(logger))
            .map_err(|why| Failure::Failed(format!("no thread for the channel accounts: {why}")))
    }

    /// The core, its host, and the certificate in force.
    pub(super) fn build(
        &self,
        now: Now,
        addresses: &[SocketAddr],
        accounts: Keeper,
        logger: &Arc<Logger>,
    ) -> Result<(Gateway, StateHost<Overlay>, Certificate), Failure> {
        let (tls, certificate) = match &self.tls {
            Some(tls) => {
                let keeper = tls.keeper(&self.storage, logger);
                (Some(tls.acceptor(&keeper).map_err(Failure::Failed)?), Some(keeper))
            }
            None => (None, None),
        };
        let mut random = Random::new(Seed::new(entropy::bytes()));
        let port = addresses.first().map_or(self.port, SocketAddr::port);
        let facts = Facts::gather(random.uuid(), port);
        let own_origins = self.own_origins(&facts.hostname, addresses, logger);
        let mut watch = self.watch.clone();
        watch.exposure.own_origins = own_origins;
        watch.listening = addresses.to_vec();
        let base = Config {
            limits: Limits { config_check_ms: CONFIG_CHECK_MS, ..self.own.limits.clone() },
            tls,
            about: self.about(&facts, addresses),
            ..Config::new(AuthConfig::new(self.auth.mode), port)
        };
        let decided = live::taken::Decided {
            auth: &self.auth,
            settings: &self.settings,
            own: &self.own,
            exposure: &watch.exposure,
            levels: self.log_file.levels,
            pages: &self.pages,
        };
        let live = decided.over(&base);
        watch.base = base;
        let mut gateway = Gateway::new(*live.config, random.seed(), now);
        gateway.set_log_level(live.log_level);
        let storage = Arc::clone(&self.storage);
        let files = Arc::new(Files::default());
        self.pages.serve(&files);
        let file = LiveFile::new(
            Arc::clone(&storage),
            Arc::clone(logger),
            Arc::clone(&files),
            watch,
            self.seen.clone(),
        )
        .with_certificate(certificate.clone());
        gateway.set_hot_reload(now, file.hot_reload());
        let mut host = StateHost::new(storage, self.places.state_dir.clone(), facts, Arc::clone(logger))
            .with_accounts(accounts)
            .with_tailscaled(self.tailscaled.clone())
            .with_config(file);
        if let Some(home) = &self.home {
            host = host.with_home(home);
        }
        let host = host.with_files(files);
        Ok((gateway, host, certificate))
    }

    /// The origins of pages that this gateway itself would serve, wherever it listens beyond loopback: no other server
    /// can be at these addresses, and nobody else can take these names from outside.
    fn own_origins(&self, hostname: &str, addresses: &[SocketAddr], logger: &Logger) -> Vec<String> {
        let mut authorities = Vec::new();
        for address in addresses.iter().filter(|address| !address.ip().is_loopback()) {
            if address.ip().is_unspecified() {
                let here = interfaces::addresses().into_iter().filter(|ip| !ip.is_loopback());
                authorities.extend(here.map(|ip| SocketAddr::from((ip, address.port())).to_string()));
            } else {
                authorities.push(address.to_string());
            }
        }
        let [mdns, tailnet] = &self.names;
        if let Some(address) = addresses.iter().find(|address| !address.ip().is_loopback()) {
            let first = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
            for name in [Some(hostname), mdns.as_deref()].into_iter().flatten().map(first) {
                authorities.push(format!("{name}.local:{}", address.port()));
            }
            // What is announced, by either of the names that it may go by.
            if let Ok((service, _)) = announce::on_networks(self, addresses) {
                let hosts = [false, true].map(|is_second| service.host(is_second));
                authorities.extend(hosts.map(|host| format!("{host}.local:{}", address.port())));
            }
        }
        let is_served = self.settings.tailscale_mode != TailscaleMode::Off;
        let http = if self.tls.is_some() { "https" } else { "http" };
        let mut origins: Vec<String> = authorities.iter().map(|at| format!("{http}://{at}")).collect();
        if is_served || self.place == Place::Tailnet {
            match tailnet.clone().map_or_else(|| self.tailnet_name(), Ok) {
                Ok(name) if is_served => origins.push(format!("https://{name}")),
                Ok(name) => {
                    origins.push(format!("{http}://{name}:{}", addresses.first().map_or(0, SocketAddr::port)))
                }
                Err(why) => {
                    logger.log(&Record::new(Level::Warn, "tailscale.name-unknown").field("why", why).field(
                        "hint",
                        "pages at this machine's tailnet name need gateway.controlUi.allowedOrigins",
                    ))
                }
            }
        }
        // In the form that browsers send: no default port, lower case.
        let origins = origins.iter().filter_map(|origin| Origin::parse(origin)).map(|origin| origin.text);
        let mut known = BTreeSet::new();
        origins.filter(|origin| known.insert(origin.clone())).take(OWN_ORIGINS_MAX).collect()
    }

    /// What this machine is called in its tailnet, by the daemon: asked once, since each question may take its time.
    pub(super) fn tailnet_name(&self) -> Result<String, String> {
        self.tailnet_name.get_or_init(|| self.tailscaled.clone().within(NAME_PATIENCE).dns_name()).clone()
    }

    /// What Tailscale is to do, for a gateway that listens there.
    pub(super) fn tailscale(&self, addresses: &[SocketAddr]) -> tailscale::Wanted {
        tailscale::Wanted {
            mode: self.settings.tailscale_mode,
            port: addresses.first().map_or(self.port, SocketAddr::port),
            tls: self.tls.is_some(),
            base_path: self.settings.control_ui.base_path.clone(),
            resets: self.settings.tailscale_resets,
            tailscaled: self.tailscaled.clone(),
        }
    }

    /// Whether SIGUSR1 restarts the gateway, as the file says at the time.
    pub(super) fn restarts_by_signal(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.watch.restarts_by_signal)
    }

    /// Where this gateway listens, for one that goes on there.
    pub(super) fn stay(&self, addresses: &[SocketAddr]) -> Stay {
        Stay {
            bind: self.watch.bind,
            place: self.place,
            port: addresses.first().map_or(self.port, SocketAddr::port),
        }
    }

    /// Whether a gateway would start here: everything that is refused before its lock is taken. Gives where it would
    /// listen. Nothing is locked, written or bound.
    pub(super) fn rehearse(args: &RunArgs, environment: &Environment) -> Result<(Place, u16), Failure> {
        let mut spot = None;
        let made = Self::make(args, environment, None, &mut |found| {
            spot = Some((found.place, found.port));
            Err(Failure::Reported(0))
        });
        match (made, spot) {
            (_, Some(spot)) => Ok(spot),
            (Err(why), None) => Err(why),
            (Ok(_), None) => unreachable!("no plan is made without the lock"),
        }
    }

    fn about(&self, facts: &Facts, addresses: &[SocketAddr]) -> About {
        About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: facts.hostname.clone(),
            ip: interfaces::lan_address()
                .map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string()),
            platform: format!("{} {}", facts.system, facts.release),
            device_family: facts::device_family(&facts.system),
            model_identifier: facts::architecture().to_owned(),
            config_path: self.places.config.display().to_string(),
            state_dir: self.places.state_dir.display().to_string(),
            device_id: self.identity.key.device_id().to_owned(),
            public_key: self.identity.key.public_key_base64url(),
            reach: Reach {
                public_url: self.settings.public_url.clone(),
                remote_url: self.settings.remote_url.clone(),
                bound: self.bound_url(addresses),
            },
        }
    }

    /// Where the network reaches what is listened on.
    fn bound_url(&self, addresses: &[SocketAddr]) -> Option<(String, &'static str)> {
        let address = addresses.first()?;
        let ip = if address.ip().is_unspecified() { interfaces::lan_address()?.into() } else { address.ip() };
        let source = match self.place {
            Place::Loopback => return None,
            Place::Lan => "gateway.bind=lan",
            Place::Tailnet => "gateway.bind=tailnet",
            Place::Custom(_) => "gateway.bind=custom",
        };
        (!ip.is_loopback())
            .then(|| (format!("{}://{}", self.scheme(), SocketAddr::new(ip, address.port())), source))
    }

    /// The scheme of its WebSocket addresses.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "wss" } else { "ws" }
    }
}

/// What the flags say about authentication.
fn overrides(args: &RunArgs, environment: &Environment) -> Result<Overrides, Failure> {
    if args.password.is_some() && args.password_file.is_some() {
        return Err(Failure::Usage("Use either --password or --password-file.".to_owned()));
    }
    let password = match &args.password_file {
        Some(path) => {
            let path = environment.path(&path.to_string_lossy());
            let text = std::fs::read_to_string(&path)
                .map_err(|why| Failure::Failed(explain("read", &path, &why)))?;
            let secret = Secret::new(&text)
                .ok_or_else(|| Failure::Failed(format!("the password file {} is empty", path.display())))?;
            Some((secret, Some(path)))
        }
        None => args.password.as_deref().and_then(Secret::new).map(|secret| (secret, None)),
    };
    Ok(Overrides {
        mode: args.auth.map(|mode: AuthArg| mode.into()),
        token: args.token.as_deref().and_then(Secret::new),
        password,
    })
}

/// What a certificate of this machine is for: the names and addresses by which it is reached. Clients that pin it do not
/// look at them; browsers do.
pub(super) fn names_of_this_machine<'a>(more: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1", "openclaw.local"].map(str::to_owned).to_vec();
    let hostname = facts::hostname();
    let first = hostname.split('.').next().unwrap_or_default();
    names.extend([format!("{first}.local"), hostname.clone()]);
    names.extend(more.cloned());
    names.extend(interfaces::addresses().iter().map(ToString::to_string));
    let is_name = |name: &String| {
        let is_usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        !name.starts_with('.') && name.len() <= 253 && !name.is_empty() && name.chars().all(is_usual)
    };
    let mut known = BTreeSet::new();
    names.retain(|name| is_name(name) && known.insert(name.to_ascii_lowercase()));
    names.truncate(CERTIFICATE_NAMES_MAX);
    names
}

/// The address as a refusal names it.
fn host_of(place: Place) -> String {
    match place {
        Place::Loopback => "127.0.0.1".to_owned(),
        Place::Lan => "0.0.0.0".to_owned(),
        Place::Tailnet => "the tailnet".to_owned(),
        Place::Custom(address) => address.to_string(),
    }
}

/// Writes a configuration file where there is none, and a token where one is needed and none is known.
fn complete(
    file: &mut ConfigFile,
    (storage, places): (&Storage<Overlay>, &Places),
    auth: &mut Resolved,
    overrides: &Overrides,
    settings: &Settings,
) -> Result<Option<String>, String> {
    let by = Author { state_dir: &places.state_dir, name: "clawgate gateway" };
    let wants_token = auth.mode == AuthMode::Token && auth.token.is_none();
    let is_new = file.found.is_none();
    if wants_token && storage.disk().is_in_memory() {
        return Err(
            "there is no gateway token, and with --state-in-memory a new one could be read nowhere.\nSet \
                    OPENCLAW_GATEWAY_TOKEN, pass --token, or start once without --state-in-memory."
                .to_owned(),
        );
    }
    if !wants_token {
        if !is_new {
            return Ok(None);
        }
        file.create(storage, by, None)?;
        let note = if storage.disk().is_kept() {
            format!("there was no config file; wrote {}", file.path.display())
        } else {
            "there is no config file, and none was written (--state-in-memory)".to_owned()
        };
        return Ok(Some(note));
    }
    // A mode from the command line is for this run only. A token beside a password needs a mode in the file,
    // or the next start could not tell which of them is meant.
    let with_mode = is_new || overrides.mode.is_none();
    if !with_mode && auth.password_in_config && settings.auth_mode.is_none() {
        return Err("Gateway auth is set to token by --auth, but no token is configured.\nSet gateway.auth.token (or \
                    OPENCLAW_GATEWAY_TOKEN), or pass --token."
            .to_owned());
    }
    let token = generate_token();
    let wrote = if is_new {
        file.create(storage, by, Some(&token))?;
        format!("there was no config file; wrote {} with a new token", file.path.display())
    } else {
        file.add_token(storage, by, &token, with_mode)?;
        format!(
            "Gateway auth token was missing. Generated a new token and saved it to config (gateway.auth.token); the \
             old file is {}",
            backup_of(&file.path).display()
        )
    };
    let source = Source::Config { file: file.path.clone(), setting: "gateway.auth.token" };
    auth.token = Some(Sourced { secret: token, source });
    Ok(Some(wrote))
}

/// This start wrote the file itself: that is no news. But where an included file is another one by now, all of it is, or
/// that would never be any.
fn relearn(known: &mut (Loaded, Marks), file: &ConfigFile, base: &Environment) {
    let text = file.found.as_ref().map(|found| found.text.as_slice());
    let written = config::open::load_marked(&file.path, text, base);
    if written.1 == known.1 {
        *known = written;
    }
}

/// What is left of the TCP bridge in flags and variables; those of the configuration file are its reader's.
fn bridge_is_gone(args: &RunArgs, environment: &Environment) -> Option<String> {
    let variable = environment.first(&BRIDGE_VARIABLES).map(|(name, _)| name);
    let what = if args.bridge || args.bridge_value.is_some() { Some("--bridge") } else { variable };
    what.map(|what| {
        format!(
            "{what}: the TCP bridge is gone and nothing listens for it; connect nodes to the gateway's own port over \
             WebSocket"
        )
    })
}

const BRIDGE_VARIABLES: [&str; 6] = [
    "OPENCLAW_BRIDGE_ENABLED",
    "OPENCLAW_BRIDGE_PORT",
    "OPENCLAW_BRIDGE_HOST",
    "CLAWDBOT_BRIDGE_ENABLED",
    "CLAWDBOT_BRIDGE_PORT",
    "CLAWDBOT_BRIDGE_HOST",
];

/// The file holds a secret: others should not read it.
fn exposed_file(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| {
        format!("{} can be read by others (mode {:03o}): chmod 600 it", path.display(), mode & 0o777)
    })
}

/// Told at every start.
const IN_MEMORY: &str = "--state-in-memory: NOTHING IS STORED. Devices that are paired, tokens, settings and wake words are \
                         gone when this gateway ends or restarts, and every device has to be paired again";
/// A daemon that takes longer to say what this machine is called keeps no start waiting.
const NAME_PATIENCE: Duration = Duration::from_secs(1);
/// A machine with more addresses than this is told in `gateway.controlUi.allowedOrigins` which of them count.
const OWN_ORIGINS_MAX: usize = 64;
/// Names and addresses in a certificate that is made here.
const CERTIFICATE_NAMES_MAX: usize = 32;

/// Between looks at the configuration files where the system does not say that they were changed: a system call for each
/// of them.
const CONFIG_CHECK_MS: u64 = 5_000;

#[cfg(test)]
mod tests;
