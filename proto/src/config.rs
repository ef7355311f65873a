//! What the core is told about this gateway: typed values, already checked by the program.

use crate::limits::Limits;
use crate::net::Cidr;
use crate::secret::Secret;

/// Everything the core needs to know that does not come from a peer. Shared by the gateway and every
/// connection; fixed for the life of the process.
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
    /// Facts about the host that clients are shown.
    pub about: About,
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
    /// `gateway.auth.rateLimit`. Peers without an `Origin` are not throttled when it is absent.
    pub rate_limit: Option<RateLimit>,
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
}

impl AuthMode {
    /// The name used in configuration and in hello-ok.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::Password => "password",
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
