//! Which gateway a client command talks to, and what it shows there to be let in.
//!
//! A credential never follows an address that somebody else chose: a `--url` needs credentials of its own, and
//! without encryption only this machine is talked to (or, on request, a private network). With it, the gateway has to
//! show a certificate that this machine trusts, or the one that was pinned; its own gateway's is pinned by itself.

mod shown;

use super::Failure;
use super::address::{Address, is_loopback_name};
use super::args::ClientArgs;
use crate::config::settings::{Bind, Setting};
use crate::config::start::BIND_VARIABLE;
use crate::config::startable;
use crate::config::{self, Opened, Settings};
use crate::environment::Environment;
use crate::interfaces;
use crate::storage::{RealDisk, Storage};
use crate::tls::files::Files;
use crate::tls::{self, Secure, Trust};
use clawgate_proto::connect::Credentials;
pub use shown::{Shown, Whose, remote, shown_by_node};
use shown::{configured, explicit, of_environment};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;

/// A gateway and the way in.
#[derive(Debug)]
pub struct Target {
    /// As shown to people.
    pub url: String,
    /// The `Host` header.
    pub host: String,
    /// The request target.
    pub path: String,
    /// Where to connect, in this order.
    pub addresses: Vec<SocketAddr>,
    /// Shared secrets.
    pub credentials: Credentials,
    /// Where they came from, for the person who looks for the wrong one.
    pub from: Option<String>,
    /// What their person should know about them; a sentence.
    pub notice: Option<String>,
    /// TLS, and what was met by it; `None` for a `ws://` address.
    pub tls: Option<Secure>,
    /// Whether the endpoint is this machine.
    pub is_loopback: bool,
    /// Whether it is this machine's own gateway, as far as settings can say. Only such a one is shown the device
    /// token that is kept here, and only its tokens are kept.
    pub is_home: bool,
}

impl Target {
    /// Finds the gateway that the flags, the environment or the configuration name.
    ///
    /// # Errors
    /// The address makes no sense or must not be used, or a setting cannot be read.
    pub fn find(
        args: &ClientArgs,
        environment: &Environment,
        storage: &Storage<RealDisk>,
    ) -> Result<Self, Failure> {
        let explicit = explicit(args)?;
        if let Some(url) = &args.url {
            // What lies in the configuration was meant for the gateway in the configuration.
            let shown = explicit.ok_or_else(|| {
                Failure::Usage(
                    "gateway url override requires explicit credentials\nPass --token or --password with --url."
                        .to_owned(),
                )
            })?;
            let trust = args.tls_fingerprint.clone().map_or(Trust::System, Trust::Pin);
            return Ok(Self { is_home: false, ..Self::at(url, shown, environment, trust)? });
        }
        let Opened { places, file, settings, environment, .. } =
            config::open(storage, environment).map_err(Failure::Failed)?;
        let flag = args.tls_fingerprint.clone().map(Trust::Pin);
        let named = environment.first(&URL_VARIABLES);
        if named.is_none() && settings.mode.as_deref() == Some("remote") {
            let url = settings.remote_url.as_deref().ok_or_else(|| {
                Failure::Failed(
                    "gateway.mode is remote, and gateway.remote.url is not set: set it, or pass --url and --token".to_owned(),
                )
            })?;
            let shown = explicit.map_or_else(|| remote(&settings, &environment), Ok)?;
            let trust = flag.map_or_else(|| remote_trust(&settings), Ok)?;
            let at = match Self::at(url.trim(), shown, &environment, trust) {
                // Nothing on the command line is wrong.
                Err(Failure::Usage(why)) => {
                    return Err(Failure::Failed(format!("gateway.remote.url: {why}")));
                }
                found => found?,
            };
            // Not even where it leads to this machine, through a tunnel.
            return Ok(Self { is_home: false, ..at });
        }
        // The secrets of this file are of a gateway here, and shown to no other machine.
        let leads_away = |url: &str| Address::parse(url).is_ok_and(|at| !is_loopback_name(&at.host));
        let shown = match explicit {
            Some(shown) => shown,
            None if named.is_some_and(|(_, url)| leads_away(url)) => of_environment(&environment)?,
            None => configured(&settings, &file, &environment)?,
        };
        let own = || own_trust(&settings, &environment, &places.state_dir, storage);
        if let Some((_, url)) = named {
            // Where it leads to this machine, it is this machine's gateway that is meant.
            let is_here = Address::parse(url).is_ok_and(|at| at.tls && is_loopback_name(&at.host));
            let trust = match flag {
                Some(trust) => trust,
                None if is_here && settings.tls.enabled => own()?,
                None => Trust::System,
            };
            return Self::at(url, shown, &environment, trust);
        }
        let port = startable::port(None, &environment, &settings).map_err(Failure::Failed)?;
        let host = listening_at(&settings, &environment)?;
        let host_header = format!("{host}:{port}");
        let tls = match (settings.tls.enabled, flag) {
            (false, None) => None,
            (false, Some(_)) => return Err(Failure::Usage(NO_TLS_THERE.to_owned())),
            (true, trust) => {
                let trust = trust.map_or_else(own, Ok)?;
                Some(tls::secure(&trust, &host.to_string()).map_err(Failure::Failed)?)
            }
        };
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        Ok(Self {
            url: format!("{scheme}://{host_header}/"),
            host: host_header,
            path: "/".to_owned(),
            addresses: vec![SocketAddr::from((host, port))],
            credentials: shown.credentials,
            from: shown.from,
            notice: shown.notice,
            tls,
            is_loopback: host.is_loopback(),
            is_home: true,
        })
    }

    fn at(url: &str, shown: Shown, environment: &Environment, trust: Trust) -> Result<Self, Failure> {
        let Address { tls, host, port, path } = Address::parse(url).map_err(|why| {
            // What follows these may be a secret that somebody put there.
            let named = if url.contains(['@', '?', '#']) { "the address of the gateway" } else { url };
            Failure::Usage(format!("{}: {why}", super::render::clean(named)))
        })?;
        if !tls && matches!(trust, Trust::Pin(_)) {
            return Err(Failure::Usage(NO_TLS_THERE.to_owned()));
        }
        let tls = tls.then(|| tls::secure(&trust, &host)).transpose().map_err(Failure::Usage)?;
        let addresses = match &tls {
            Some(_) => resolve(&host, port)?,
            None => reach(&host, port, environment.is_on(PRIVATE_VARIABLE))?,
        };
        let is_loopback = addresses.iter().all(|address| address.ip().to_canonical().is_loopback());
        let host = format!("{host}:{port}");
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://{host}{path}");
        let Shown { credentials, from, notice } = shown;
        let is_home = is_loopback;
        Ok(Self { url, host, path, addresses, credentials, from, notice, tls, is_loopback, is_home })
    }

    /// Whether nobody else can be there: this machine, or the gateway with the pinned certificate. Only there may a
    /// stored token follow a refused one.
    pub fn is_trusted(&self) -> bool {
        self.is_loopback || self.tls.as_ref().is_some_and(Secure::is_pinned)
    }
}

/// The certificate of this configuration's own gateway.
///
/// # Errors
/// There is none yet, or it cannot be read.
pub fn own_trust(
    settings: &Settings,
    environment: &Environment,
    state_dir: &Path,
    storage: &Storage<RealDisk>,
) -> Result<Trust, Failure> {
    let files = Files::of(&settings.tls, environment, state_dir);
    match tls::shown(&files, storage).map_err(Failure::Failed)? {
        Some(shown) => Ok(Trust::Pin(shown.fingerprint)),
        None => Err(Failure::Failed(format!(
            "gateway.tls.enabled is true, and {} is not there yet: start the gateway, which makes it. One that runs already and \
             waits for its restart (gateway.reload.mode) speaks ws:// until then: clawgate gateway restart",
            files.certificate.display()
        ))),
    }
}

/// What `gateway.remote` says about the certificate there.
///
/// # Errors
/// It says something that is no fingerprint.
pub fn remote_trust(settings: &Settings) -> Result<Trust, Failure> {
    match &settings.remote_fingerprint {
        None => Ok(Trust::System),
        Some(Setting::Known(fingerprint)) => Ok(Trust::Pin(fingerprint.clone())),
        Some(Setting::Unusable(why)) => Err(Failure::Failed(why.clone())),
    }
}

/// Where a name leads.
///
/// # Errors
/// It leads nowhere.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let found = (host.trim_matches(['[', ']']), port)
        .to_socket_addrs()
        .map_err(|why| Failure::Unreachable(format!("{host} is no known name: {why}")))?;
    Ok(found.collect())
}

/// The gateway of an address as another machine sees it.
///
/// # Errors
/// It is no address.
pub fn far_end(url: &str) -> Result<Address, Failure> {
    let at = Address::parse(url)
        .map_err(|why| Failure::Usage(format!("--url, the gateway as the other machine sees it: {why}")))?;
    if !at.tls && !is_loopback_name(&at.host) {
        return Err(Failure::Usage(format!(
            "{} is not the machine with the SSH server, and ws:// sends credentials in the clear from there: use \
             ws://127.0.0.1, or wss://",
            at.host
        )));
    }
    Ok(at)
}

/// Whether an address of the configuration says something to the machine with the SSH server, too: behind a tunnel that
/// somebody holds it is one of that machine, and with a pinned certificate nobody else can be there.
pub fn is_for_the_far_side(url: &str, is_pinned: bool) -> bool {
    Address::parse(url).is_ok_and(|at| is_loopback_name(&at.host) || (at.tls && is_pinned))
}

/// Where a name leads, as far as something may be sent there in the clear: this machine, and with `private` also
/// private networks.
///
/// # Errors
/// It leads nowhere, or to none of these.
pub fn reach(host: &str, port: u16, private: bool) -> Result<Vec<SocketAddr>, Failure> {
    let found = resolve(host, port)?;
    let may = |address: &SocketAddr| {
        let ip = address.ip().to_canonical();
        ip.is_loopback() || (private && is_private(ip))
    };
    let addresses: Vec<SocketAddr> = found.into_iter().filter(may).collect();
    if addresses.is_empty() {
        return Err(Failure::Usage(format!(
            "{host} is not this machine, and ws:// sends credentials in the clear: use an SSH tunnel (ssh -N -L \
             {port}:127.0.0.1:{port} {host}), TLS where the gateway speaks it (a wss:// address), or for a private network \
             you trust set {PRIVATE_VARIABLE}=1"
        )));
    }
    Ok(addresses)
}

/// Where this machine's own gateway listens by its settings. Beyond loopback it has no other address, and what is
/// sent to an address of this machine does not leave it; to any other, nothing is sent.
fn listening_at(settings: &Settings, environment: &Environment) -> Result<Ipv4Addr, Failure> {
    let bind = match (environment.get(BIND_VARIABLE).and_then(Bind::named), &settings.bind) {
        (Some(bind), _) => bind,
        (None, Some(Setting::Known(bind))) => *bind,
        (None, Some(Setting::Unusable(_)) | None) => Bind::Loopback,
    };
    match bind {
        Bind::Loopback | Bind::Lan => Ok(Ipv4Addr::LOCALHOST),
        Bind::Tailnet => interfaces::tailnet_address().ok_or_else(|| {
            Failure::Unreachable(
                "gateway.bind is tailnet, and this machine has no tailnet address, so its gateway listens nowhere: \
                 start Tailscale, or choose another bind"
                    .to_owned(),
            )
        }),
        Bind::Custom => {
            let named = settings.custom_bind_host.as_deref().and_then(|host| host.trim().parse().ok());
            match named {
                Some(Ipv4Addr::UNSPECIFIED) => Ok(Ipv4Addr::LOCALHOST),
                Some(host) if host.is_loopback() || interfaces::addresses().contains(&host) => Ok(host),
                Some(_) | None => Err(Failure::Failed(
                    "gateway.bind is custom, and gateway.customBindHost is no IPv4 address of this machine: pass --url \
                     and --token to talk to a gateway elsewhere"
                        .to_owned(),
                )),
            }
        }
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        // 100.64.0.0/10 is what tailnets use.
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => is_unique_or_link_local(ip),
    }
}

fn is_unique_or_link_local(ip: Ipv6Addr) -> bool {
    let first = ip.segments()[0];
    first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
}

const NO_TLS_THERE: &str =
    "a fingerprint is of a certificate, and a ws:// address has none: use a wss:// address, or leave it out";
/// Where a gateway is, by the environment.
pub const URL_VARIABLES: [&str; 2] = ["OPENCLAW_GATEWAY_URL", "CLAWDBOT_GATEWAY_URL"];
/// Lets client commands and node hosts talk to a private network in the clear.
pub const PRIVATE_VARIABLE: &str = "OPENCLAW_ALLOW_INSECURE_PRIVATE_WS";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;

    fn find(args: &ClientArgs, variables: &[(&str, &str)], config: &str) -> Result<Target, Failure> {
        let folder = Folder::new();
        std::fs::write(folder.path().join("openclaw.json"), config).unwrap();
        let state = folder.path().to_str().unwrap().to_owned();
        let variables = variables.iter().copied().chain([("OPENCLAW_STATE_DIR", state.as_str())]);
        let environment = Environment::new(variables);
        Target::find(args, &environment, &Storage::new(RealDisk, 1))
    }

    fn url(url: &str, token: Option<&str>) -> ClientArgs {
        ClientArgs { url: Some(url.to_owned()), token: token.map(str::to_owned), ..ClientArgs::default() }
    }

    #[test]
    fn an_address_from_the_command_line_gets_no_credential_from_the_configuration() {
        let config = "{gateway: {mode: 'local', auth: {token: 'configured'}}}";
        let env = [("OPENCLAW_GATEWAY_TOKEN", "env")];
        let fault = find(&url("ws://127.0.0.1:1", None), &env, config).unwrap_err();
        assert!(fault.message().starts_with("gateway url override requires explicit credentials"));
        assert_eq!(fault.exit_code(), 2);
        let target = find(&url("ws://127.0.0.1:1", Some("mine")), &env, config).unwrap();
        assert_eq!(target.credentials.token.as_deref(), Some("mine"));
        assert!(target.is_loopback && !target.is_home, "nor the device token");
    }

    #[test]
    fn a_secret_in_an_address_is_not_repeated() {
        for address in ["ws://u:S1@127.0.0.1:1", "ws://127.0.0.1:1/?token=S1", "wss://h/#token=S1"] {
            let fault = find(&url(address, Some("t")), &[], "{}").unwrap_err();
            assert!(!fault.message().contains("S1"), "{}", fault.message());
            let env = [("OPENCLAW_GATEWAY_URL", address)];
            let fault = find(&ClientArgs::default(), &env, "{}").unwrap_err();
            assert!(!fault.message().contains("S1"), "{}", fault.message());
        }
    }

    #[test]
    fn credentials_leave_this_machine_only_on_request() {
        for (address, on_request) in [
            ("ws://192.168.1.1:5", true),
            ("ws://100.100.1.1:5", true),
            ("ws://[fd00::1]:5", true),
            ("ws://8.8.8.8:5", false),
            ("ws://[::ffff:8.8.8.8]:5", false),
            ("ws://100.128.1.1:5", false),
        ] {
            assert!(find(&url(address, Some("t")), &[], "{}").is_err(), "{address}");
            let allowed =
                find(&url(address, Some("t")), &[("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS", "1")], "{}");
            assert_eq!(allowed.is_ok_and(|target| !target.is_loopback), on_request, "{address}");
        }
        assert!(find(&url("ws://[::ffff:127.0.0.1]:5", Some("t")), &[], "{}").unwrap().is_loopback);
    }

    #[test]
    fn this_machines_gateway_is_sought_where_it_listens() {
        let url = |config: &str, env: &[(&str, &str)]| {
            find(&ClientArgs::default(), env, config)
                .map(|target| (target.url, target.is_loopback, target.is_home))
        };
        let config = "{gateway: {port: 5, bind: 'custom', customBindHost: '127.0.0.2', auth: {token: 't'}}}";
        assert_eq!(url(config, &[]).unwrap(), ("ws://127.0.0.2:5/".into(), true, true));
        assert_eq!(url(config, &[(BIND_VARIABLE, "lan")]).unwrap().0, "ws://127.0.0.1:5/");
        let any = config.replace("127.0.0.2", "0.0.0.0");
        assert_eq!(url(&any, &[]).unwrap().0, "ws://127.0.0.1:5/");
        // Not an address of this machine (RFC 5737): the token stays here.
        let foreign = config.replace("127.0.0.2", "203.0.113.7");
        assert!(url(&foreign, &[]).unwrap_err().message().contains("gateway.customBindHost"));
    }

    #[test]
    fn for_a_client_the_environment_beats_the_file() {
        let config = "{gateway: {mode: 'local', port: 5, auth: {mode: 'token', token: 'file'}}}";
        let target = find(&ClientArgs::default(), &[], config).unwrap();
        assert_eq!(
            (target.credentials.token.as_deref(), target.url.as_str()),
            (Some("file"), "ws://127.0.0.1:5/")
        );
        let env = [("CLAWDBOT_GATEWAY_TOKEN", "env"), ("OPENCLAW_GATEWAY_PORT", "6")];
        let target = find(&ClientArgs::default(), &env, config).unwrap();
        assert_eq!(
            (target.credentials.token.as_deref(), target.url.as_str()),
            (Some("env"), "ws://127.0.0.1:6/")
        );
        let env = [("OPENCLAW_GATEWAY_URL", "ws://127.0.0.1:7/ws"), ("OPENCLAW_GATEWAY_PASSWORD", "p")];
        let target = find(&ClientArgs::default(), &env, "{}").unwrap();
        assert_eq!((target.credentials.password.as_deref(), target.path.as_str()), (Some("p"), "/ws"));
        assert!(target.credentials.token.is_none());
        assert!(find(&ClientArgs::default(), &[("OPENCLAW_GATEWAY_PORT", "x")], "{}").is_err());
    }

    #[test]
    fn a_clients_file_leads_to_its_gateway_and_its_secrets_to_no_other() {
        let config = "{gateway: {mode: 'remote', auth: {token: 'of-this-machine'}, \
                      remote: {url: 'ws://127.0.0.1:7/ws', token: 'of-the-remote', password: '${PW}'}}}";
        let pw = ("PW", "p");
        let target = find(&ClientArgs::default(), &[pw], config).unwrap();
        assert_eq!((target.url.as_str(), target.is_home), ("ws://127.0.0.1:7/ws", false));
        let Credentials { token, password, .. } = target.credentials;
        assert_eq!((token.as_deref(), password.as_deref()), (Some("of-the-remote"), Some("p")));
        assert_eq!(target.from.as_deref(), Some("gateway.remote.token"));
        // Somewhere else they are not shown, and what flags say is shown instead.
        let env = [pw, ("OPENCLAW_GATEWAY_URL", "ws://127.0.0.1:8")];
        let elsewhere = find(&ClientArgs::default(), &env, config).unwrap();
        assert_eq!(elsewhere.url, "ws://127.0.0.1:8/");
        assert_ne!(elsewhere.credentials.token.as_deref(), Some("of-the-remote"));
        let flag = ClientArgs { token: Some("f".into()), ..ClientArgs::default() };
        let flagged = find(&flag, &[pw], config).unwrap().credentials;
        assert_eq!((flagged.token.as_deref(), flagged.password), (Some("f"), None));
        assert!(find(&url("ws://127.0.0.1:1", None), &[pw], config).is_err());
        for (config, want) in [
            (config, "gateway.remote.password is to come from the environment (PW)"),
            ("{gateway: {mode: 'remote'}}", "gateway.remote.url is not set"),
            (
                "{gateway: {mode: 'remote', remote: {url: 'ws://8.8.8.8:5', token: 't'}}}",
                "8.8.8.8 is not this machine",
            ),
        ] {
            let fault = find(&ClientArgs::default(), &[], config).unwrap_err();
            assert!(fault.message().contains(want) && fault.exit_code() == 1, "{}", fault.message());
        }
        // A gateway here needs none of it.
        let local = "{gateway: {mode: 'local', auth: {token: 't'}, remote: {token: '${PW}'}}}";
        assert_eq!(find(&ClientArgs::default(), &[], local).unwrap().credentials.token.as_deref(), Some("t"));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn with_tls_a_gateway_elsewhere_is_reached_and_gets_no_secret_of_this_machines_gateway() {
        let pin = "ab".repeat(32);
        let config = format!(
            "{{gateway: {{mode: 'remote', auth: {{token: 'of-this-machine'}}, \
              remote: {{url: 'wss://203.0.113.7:7/ws', token: 'of-the-remote', tlsFingerprint: 'SHA256:{pin}'}}}}}}"
        );
        let target = find(&ClientArgs::default(), &[], &config).unwrap();
        assert_eq!((target.url.as_str(), target.is_home), ("wss://203.0.113.7:7/ws", false));
        assert_eq!(target.credentials.token.as_deref(), Some("of-the-remote"));
        assert!(target.is_trusted() && !target.is_loopback);
        // Without a pin only the machine's own authorities count, and a stored token follows nowhere.
        let target = find(&url("wss://203.0.113.7", Some("t")), &[], "{}").unwrap();
        assert_eq!((target.host.as_str(), target.is_trusted()), ("203.0.113.7:443", false));
        // What a variable names is not the gateway of the file.
        let local = "{gateway: {mode: 'local', auth: {token: 'of-this-machine'}}}";
        let env = [("OPENCLAW_GATEWAY_URL", "wss://203.0.113.7:7")];
        assert_eq!(find(&ClientArgs::default(), &env, local).unwrap().credentials.token, None);
        let both = [env[0], ("OPENCLAW_GATEWAY_TOKEN", "said")];
        let target = find(&ClientArgs::default(), &both, local).unwrap();
        assert_eq!(target.credentials.token.as_deref(), Some("said"));
        for (config, want) in [
            (
                "{gateway: {mode: 'remote', remote: {url: 'wss://127.0.0.1:1', tlsFingerprint: 'ab'}}}",
                "gateway.remote.tlsFingerprint is no SHA-256 fingerprint",
            ),
            (
                "{gateway: {mode: 'local', tls: {enabled: true}}}",
                "gateway-cert.pem is not there yet: start the gateway",
            ),
        ] {
            let fault = find(&ClientArgs::default(), &[], config).unwrap_err();
            assert!(fault.message().contains(want) && fault.exit_code() == 1, "{}", fault.message());
        }
        // A fingerprint for an address without TLS is a misunderstanding.
        let flagged = |address| ClientArgs { tls_fingerprint: Some(pin.clone()), ..url(address, Some("t")) };
        assert_eq!(find(&flagged("ws://127.0.0.1:1"), &[], "{}").unwrap_err().exit_code(), 2);
        assert!(
            find(&flagged("wss://127.0.0.1:1"), &[], "{}").unwrap().tls.is_some_and(|tls| tls.is_pinned())
        );
    }

    #[test]
    fn what_was_pasted_by_mistake_is_named_and_not_sent() {
        for (text, want) in [
            ("oc-pair://abc", "what the flag --token says is a setup code, and no token"),
            ("http://127.0.0.1:18789/", "is an address"),
            ("${OPENCLAW_GATEWAY_TOKEN}", "a variable that nobody replaced"),
            ("Bearer hunter22", "like an HTTP header"),
            ("hunter\n22", "a line break"),
        ] {
            let fault = find(&url("ws://127.0.0.1:1", Some(text)), &[], "{}").unwrap_err();
            let said = fault.message();
            assert!(
                said.contains(want) && said.ends_with("\nNothing was sent.") && !said.contains("hunter"),
                "{said}"
            );
            assert_eq!(fault.exit_code(), 2);
        }
        let fault =
            find(&ClientArgs::default(), &[("OPENCLAW_GATEWAY_TOKEN", "oc-pair://x")], "{}").unwrap_err();
        assert!(
            fault
                .message()
                .starts_with("what the environment variable OPENCLAW_GATEWAY_TOKEN says is a setup")
        );
        assert_eq!(fault.exit_code(), 1);
        // The gateway may have read the same line with the same quotes.
        let quoted = find(&ClientArgs::default(), &[("OPENCLAW_GATEWAY_TOKEN", "'hunter22'")], "{}").unwrap();
        let notice = quoted.notice.unwrap();
        assert!(notice.contains("quotation marks") && !notice.contains("hunter"), "{notice}");
        assert_eq!(quoted.credentials.token.as_deref(), Some("'hunter22'"));
    }

    #[test]
    fn a_secret_is_traced_to_where_it_was_taken_from() {
        let config = "{gateway: {mode: 'local', auth: {token: 't'}}}";
        let from = |args: &ClientArgs, env: &[(&str, &str)]| find(args, env, config).unwrap().from.unwrap();
        assert!(from(&ClientArgs::default(), &[]).starts_with("gateway.auth.token in "));
        let env = [("CLAWDBOT_GATEWAY_TOKEN", "e")];
        assert_eq!(from(&ClientArgs::default(), &env), "the environment variable CLAWDBOT_GATEWAY_TOKEN");
        let flag = ClientArgs { token: Some("f".into()), ..ClientArgs::default() };
        assert_eq!(from(&flag, &env), "the flag --token");
    }
}
