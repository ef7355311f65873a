//! What the core is told about this gateway: typed values, already checked by the program.

use crate::limits::Limits;
use crate::net::Cidr;
use crate::secret::Secret;
use crate::tls;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Everything the core needs to know that does not come from a peer. Shared by the gateway and every
/// connection. The gateway may get another one while it runs; a connection keeps the one it was opened with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bounds.
    pub limits: Limits,
    /// How peers prove that they may come in.
    pub auth: AuthConfig,
    /// The port peers connect to; part of the gateway's own origin.
    pub port: u16,
    /// `gateway.controlUi.allowedOrigins`: exact origins, or `*`.
    pub allowed_origins: Vec<String>,
    /// `gateway.trustedProxies`: the only hops whose forwarding headers count.
    pub trusted_proxies: Vec<Cidr>,
    /// `gateway.allowRealIpFallback`.
    pub allow_real_ip_fallback: bool,
    /// The canvas, when it is served.
    pub canvas: Option<CanvasHost>,
    /// The page at the gateway's own address, when there is one.
    pub control_ui: Option<ControlUi>,
    /// `gateway.http.securityHeaders.strictTransportSecurity`: sent with every HTTP answer (RFC 6797). Whether it is true is
    /// its owner's to know: browsers believe it only over TLS.
    pub strict_transport_security: Option<Arc<str>>,
    /// TLS below every connection (`gateway.tls`); nothing is said in the clear then, but that TLS is spoken here.
    pub tls: Option<tls::Acceptor>,
    /// Whether `/metrics` tells the gateway's numbers to who proves the shared secret.
    pub metrics: bool,
    /// Which commands nodes may be asked for, besides those of their platform.
    pub node_commands: NodeCommands,
    /// `gateway.reload.debounceMs`: from the host's word that the configuration file was changed to the look at it.
    pub config_debounce_ms: u64,
    /// Facts about the host that clients are shown.
    pub about: About,
}

impl Config {
    /// The usual bounds, this way in and this port, and nothing beyond: no pages, no proxies, no facts about the host.
    pub fn new(auth: AuthConfig, port: u16) -> Self {
        Self {
            limits: Limits::default(),
            auth,
            port,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            allow_real_ip_fallback: false,
            canvas: None,
            control_ui: None,
            strict_transport_security: None,
            tls: None,
            metrics: false,
            node_commands: NodeCommands::default(),
            config_debounce_ms: CONFIG_DEBOUNCE_MS,
            about: About::default(),
        }
    }

    /// The scheme of this gateway's own WebSocket addresses.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "wss" } else { "ws" }
    }

    /// How the addresses of its own pages begin.
    pub(crate) fn page_scheme(&self) -> &'static str {
        if self.tls.is_some() { "https://" } else { "http://" }
    }
}

/// `gateway.reload.debounceMs` where nothing is said (spec: config section 2).
pub const CONFIG_DEBOUNCE_MS: u64 = 300;

/// The page at the gateway's own address (`gateway.controlUi`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlUi {
    /// Whether it is the control page, which comes with the program: no Control UI is installed
    /// (`gateway.controlUi.root`).
    pub built_in: bool,
    /// `gateway.controlUi.basePath`: empty, or a path that begins with `/` and does not end with it.
    pub base_path: String,
}

/// How the canvas is served (`canvasHost`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanvasHost {
    /// `canvasHost.liveReload`: whether pages load themselves again when a file has changed.
    pub live_reload: bool,
}

/// `gateway.nodes.allowCommands` and `.denyCommands`, or `gateway.nodes.commands.allow` and `.deny`: exact names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeCommands {
    /// Commands that may run on every platform, dangerous ones too.
    pub allow: BTreeSet<String>,
    /// Commands that may run nowhere, whatever else is said.
    pub deny: BTreeSet<String>,
}

/// The admission settings.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// The mode in force.
    pub mode: AuthMode,
    /// The shared token, when one is set.
    pub token: Option<Secret>,
    /// The shared password, when one is set.
    pub password: Option<Secret>,
    /// `gateway.auth.rateLimit`; the usual numbers when it is absent.
    pub rate_limit: Option<RateLimit>,
    /// `gateway.auth.trustedProxy`, for the mode of that name.
    pub trusted_proxy: Option<TrustedProxy>,
    /// Whether an identity that Tailscale Serve forwards stands in for the shared secret, once the local daemon agrees.
    pub allow_tailscale: bool,
    /// Which pages may come in, besides those of [`Config::allowed_origins`].
    pub pages: Pages,
    /// Which devices are paired without a person being asked.
    pub pairing: PairingRules,
}

impl AuthConfig {
    /// This mode and nothing else: no secret, the usual limits, no identities of others.
    pub fn new(mode: AuthMode) -> Self {
        Self {
            mode,
            token: None,
            password: None,
            rate_limit: None,
            trusted_proxy: None,
            allow_tailscale: false,
            pages: Pages::default(),
            pairing: PairingRules::default(),
        }
    }
}

/// How a proxy that knows its users names them (spec: auth section 5.1). It counts only from an address of
/// [`Config::trusted_proxies`].
#[derive(Clone, Debug)]
pub struct TrustedProxy {
    /// The header that names the user, in lower case.
    pub user_header: String,
    /// Headers that must be there too, as they are configured.
    pub required_headers: Vec<String>,
    /// Users that may come in; all of the proxy's when it is empty.
    pub allow_users: Vec<String>,
    /// A header, in lower case, and the value by which the proxy proves that it is the proxy.
    pub proof: Option<(String, Secret)>,
    /// Whether a loopback address proves that. It does not when strangers can run programs on this machine.
    pub trusts_loopback: bool,
}

impl TrustedProxy {
    /// Whether the other one lets the same users in.
    pub(crate) fn lets_in_the_same(&self, other: &Self) -> bool {
        let is_same_proof = match (&self.proof, &other.proof) {
            (Some((name, secret)), Some((other_name, other))) => {
                name == other_name && secret.matches(other.expose())
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        is_same_proof
            && self.user_header == other.user_header
            && self.required_headers == other.required_headers
            && self.allow_users == other.allow_users
            && self.trusts_loopback == other.trusts_loopback
    }
}

/// Pages that may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// Origins of this gateway itself: exact, lower case, without a default port.
    pub own_origins: Vec<String>,
    /// `gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback`: an origin that is what `Host` says may come in,
    /// which is what an attacker's name can be made to say.
    pub by_host: bool,
}

/// Which devices are paired without a person being asked (spec: v4 section 6.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairingRules {
    /// Whether programs of this machine are: new devices; more roles and scopes, and other platforms, of known ones.
    pub local: bool,
    /// From these addresses a new device is, as a node without scopes, when it proves the shared secret and no page
    /// sent it. What it offers is still a person's to approve. Forwarded addresses count from trusted proxies only.
    pub node_ranges: Vec<Cidr>,
}

impl Default for PairingRules {
    fn default() -> Self {
        Self { local: true, node_ranges: Vec::new() }
    }
}

/// `gateway.auth.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// No shared secret; devices still prove themselves and are paired.
    None,
    /// A shared token.
    Token,
    /// A shared password.
    Password,
    /// A proxy in front names its users.
    TrustedProxy,
}

impl AuthMode {
    /// The name used in configuration and in hello-ok.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::Password => "password",
            Self::TrustedProxy => "trusted-proxy",
        }
    }
}

/// Numbers of the failed-attempt limiter (`spec`: auth, rate limiting).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Failures inside the window that lock the key.
    pub attempts_max: u32,
    /// Sliding window.
    pub window_ms: u64,
    /// How long a locked key stays locked.
    pub lockout_ms: u64,
    /// Whether loopback peers without an `Origin` are never throttled.
    pub exempt_loopback: bool,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { attempts_max: 10, window_ms: 60_000, lockout_ms: 300_000, exempt_loopback: true }
    }
}

/// Facts about this process and its host, as strings for the wire.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// `server.version`.
    pub version: String,
    /// Host name, as shown in presence.
    pub host: String,
    /// Primary address, as shown in presence.
    pub ip: String,
    /// For example `linux 6.18.0`.
    pub platform: String,
    /// `Linux`, `Mac` or `Windows`.
    pub device_family: String,
    /// CPU architecture in Node's naming, `x64` or `arm64`.
    pub model_identifier: String,
    /// Absolute path of the configuration file.
    pub config_path: String,
    /// Absolute path of the state folder.
    pub state_dir: String,
    /// The gateway host's own device id (hex SHA-256 of its key).
    pub device_id: String,
    /// The gateway host's own public key, base64url.
    pub public_key: String,
    /// Where others reach it, for setup codes.
    pub reach: Reach,
}

/// Addresses that a setup code may name (spec: pairing section 7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// `plugins.entries.device-pair.config.publicUrl`.
    pub public_url: Option<String>,
    /// `gateway.remote.url`.
    pub remote_url: Option<String>,
    /// Where the network reaches what this gateway listens on, with the setting that says so, as in `gateway.bind=lan`;
    /// `None` when it is loopback only.
    pub bound: Option<(String, &'static str)>,
}
