//! Who may come in. The threat: a peer that says it is local, trusted, a page of ours or an old client, and is
//! not. Every decision here rests on what was verified (the socket, the proof, a secret), in the order of the
//! specification (v4 sections 3, 5.1, 6), the same for both dialects.

use super::limiter::{Limiter, SecretKind};
use super::peers::Handshake;
use crate::config::{AuthMode, Config};
use crate::connect::{ConnectParams, ConnectRequest, Proof};
use crate::dialect::Dialect;
use crate::error::{AuthReason, ClientClass, ConnectError, Provided, Unauthorized};
use crate::http::HttpRequest;
use crate::net::{self, Origin};
use crate::scope::{Role, Scopes};
use crate::secret::Secret;
use crate::time::Mono;
use core::net::{IpAddr, Ipv4Addr};

/// The outcome of the checks that need no store.
#[derive(Debug)]
pub(super) enum Checked {
    /// In, without a device in effect.
    Admitted {
        /// Its authority.
        scopes: Scopes,
    },
    /// The device store decides.
    Device(Box<DeviceFacts>),
}

/// What was verified about a peer with a device.
#[derive(Debug)]
pub(super) struct DeviceFacts {
    pub(super) public_key: String,
    /// Whether a shared secret was proved, or none is wanted.
    pub(super) shared: Result<SharedMethod, AuthReason>,
    /// A device token to try when `shared` failed.
    pub(super) candidate: Option<Candidate>,
    /// Pairing does not apply to it.
    pub(super) exempt: bool,
    /// Direct, from this host.
    pub(super) local: bool,
    /// A page sent it.
    pub(super) origin_present: bool,
    /// That page is the gateway's own, on loopback, and the shared secret was proved.
    pub(super) own_page: bool,
}

/// How a peer proved the shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SharedMethod {
    /// None is wanted.
    None,
    /// Token or password.
    Secret,
}

/// A device token as shown.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) token: Secret,
    /// Shown as `auth.deviceToken`, rather than as `auth.token`.
    pub(super) explicit: bool,
}

/// The limiters, one for pages and one for everybody else.
#[derive(Debug)]
pub(super) struct Limiters {
    pages: Limiter,
    others: Option<Limiter>,
}

impl Limiters {
    pub(super) fn new(config: &Config) -> Self {
        let numbers = config.auth.rate_limit.unwrap_or_default();
        let pages = Limiter::new(crate::config::RateLimit { exempt_loopback: false, ..numbers });
        Self { pages, others: config.auth.rate_limit.map(Limiter::new) }
    }

    /// Takes other numbers; what was counted stays.
    pub(super) fn follow(&mut self, config: &Config) {
        let numbers = config.auth.rate_limit.unwrap_or_default();
        self.pages.set_limit(crate::config::RateLimit { exempt_loopback: false, ..numbers });
        match (&mut self.others, config.auth.rate_limit) {
            (Some(others), Some(limit)) => others.set_limit(limit),
            (others, limit) => *others = limit.map(Limiter::new),
        }
    }

    /// The limiter and the key for a peer.
    fn of(&mut self, page: bool, ip: Option<IpAddr>) -> Option<(&mut Limiter, Option<IpAddr>)> {
        if page {
            // All pages in the browsers of this host share one key; it is a documentation address (RFC 2544).
            let ip =
                ip.map(|ip| if ip.is_loopback() { IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)) } else { ip });
            Some((&mut self.pages, ip))
        } else {
            self.others.as_mut().map(|limiter| (limiter, ip))
        }
    }

    /// Milliseconds for which this peer's secrets of that kind are not looked at.
    pub(super) fn locked(
        &mut self,
        now: Mono,
        peer: (bool, Option<IpAddr>),
        kind: SecretKind,
    ) -> Option<u64> {
        let (limiter, ip) = self.of(peer.0, peer.1)?;
        limiter.check(now, kind, ip).err()
    }

    /// Counts a wrong secret.
    pub(super) fn failed(&mut self, now: Mono, peer: (bool, Option<IpAddr>), kind: SecretKind) {
        if let Some((limiter, ip)) = self.of(peer.0, peer.1) {
            limiter.failed(now, kind, ip);
        }
    }

    /// Forgets wrong secrets after a right one.
    pub(super) fn succeeded(&mut self, peer: (bool, Option<IpAddr>), kind: SecretKind) {
        if let Some((limiter, ip)) = self.of(peer.0, peer.1) {
            limiter.succeeded(kind, ip);
        }
    }
}

/// What a client says it is, sorted into the classes that the rules know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    /// The bundled control page.
    pub(super) control_ui: bool,
    /// Any page.
    page: bool,
    cli: bool,
    backend: bool,
}

impl Class {
    pub(super) fn of(params: &ConnectParams) -> Self {
        let (id, mode) = (params.client.id.as_str(), params.client.mode.as_str());
        let control_ui = id == "openclaw-control-ui";
        let web = mode == "webchat" || matches!(id, "webchat-ui" | "openclaw-browser-copilot");
        Self {
            control_ui,
            page: control_ui || web,
            cli: id == "cli" && mode == "cli",
            backend: id == "gateway-client" && mode == "backend",
        }
    }
}

/// Whether it says it is a page.
pub(super) fn is_page(params: &ConnectParams) -> bool {
    Class::of(params).page
}

/// Whether a plain request shows the shared secret as a bearer token (spec: http section 3). A wrong one counts like
/// one over a WebSocket; none is no guess. Without a secret to prove, nobody proves anything.
pub(super) fn http_bearer(
    config: &Config,
    limiters: &mut Limiters,
    now: Mono,
    ip: Option<IpAddr>,
    request: &HttpRequest,
) -> bool {
    let auth = &config.auth;
    let configured = match auth.mode {
        AuthMode::None => return false,
        AuthMode::Token => &auth.token,
        AuthMode::Password => &auth.password,
    };
    let Some(configured) = configured else { return false };
    let Some((scheme, shown)) = request.header("authorization").and_then(|text| text.trim().split_once(' '))
    else {
        return false;
    };
    let Some(shown) = Secret::new(shown).filter(|_| scheme.eq_ignore_ascii_case("bearer")) else {
        return false;
    };
    let peer = (request.header("origin").is_some(), ip);
    if limiters.locked(now, peer, SecretKind::Shared).is_some() {
        return false;
    }
    let proved = configured.matches(shown.expose());
    if proved {
        limiters.succeeded(peer, SecretKind::Shared);
    } else {
        limiters.failed(now, peer, SecretKind::Shared);
    }
    proved
}

/// Runs every check up to the device store, in order.
///
/// # Errors
/// The first check that failed.
pub(super) fn check(
    config: &Config,
    limiters: &mut Limiters,
    now: Mono,
    handshake: &Handshake,
    request: &ConnectRequest,
) -> Result<(Dialect, Role, Checked), (Option<Dialect>, ConnectError)> {
    let params = &request.params;
    let (min, max) = (params.min_protocol, params.max_protocol);
    let Some(dialect) = Dialect::choose(min, max) else {
        return Err((None, ConnectError::ProtocolMismatch { min, max }));
    };
    let refuse = |error| (Some(dialect), error);
    let role = match params.role.as_deref() {
        None => Role::Operator,
        Some(name) => Role::parse(name).ok_or_else(|| refuse(ConnectError::InvalidRole))?,
    };
    let class = Class::of(params);
    let origin = check_origin(config, handshake, class).map_err(refuse)?;
    let local = handshake.address.local;
    let peer = (origin.present, handshake.address.ip);
    // Before any secret is looked at: what a right one does to the limiter would tell it from wrong ones.
    let public_key = match (&params.device, &request.proof) {
        (None, _) => None,
        (Some(_), Proof::Good { public_key }) => Some(public_key.clone()),
        (Some(_), Proof::Bad(fault)) => return Err(refuse(ConnectError::Proof(*fault))),
        (Some(_), Proof::Absent) => return Err(refuse(ConnectError::DeviceRequired)),
    };
    let shared = check_shared(config, limiters, now, peer, params);
    let proved = matches!(shared, Ok(SharedMethod::Secret));
    let retry_after_ms = match shared {
        Err(AuthReason::RateLimited) => limiters.locked(now, peer, SecretKind::Shared),
        Ok(_) | Err(_) => None,
    };

    let Some(public_key) = public_key else {
        let scopes =
            check_missing_device(handshake, params, role, class, &origin, &shared).map_err(|error| {
                error.unwrap_or_else(|reason| {
                    ConnectError::Unauthorized(unauthorized(config, params, reason, retry_after_ms))
                })
            });
        return scopes.map(|scopes| (dialect, role, Checked::Admitted { scopes })).map_err(refuse);
    };
    let candidate = candidate(params);
    // A setup code is for the store to judge, like a device token.
    if shared.is_err() && candidate.is_none() && !bootstrap_shown(params) {
        let reason = shared.err().unwrap_or(AuthReason::TokenMissing);
        return Err(refuse(ConnectError::Unauthorized(unauthorized(config, params, reason, retry_after_ms))));
    }
    let facts = DeviceFacts {
        public_key,
        shared,
        candidate,
        exempt: class.backend && role == Role::Operator && local && !origin.present && proved,
        local,
        origin_present: origin.present,
        own_page: origin.own && class.page && local && proved,
    };
    Ok((dialect, role, Checked::Device(Box::new(facts))))
}

/// The refusal with everything its shape needs.
pub(super) fn unauthorized(
    config: &Config,
    params: &ConnectParams,
    reason: AuthReason,
    retry_after_ms: Option<u64>,
) -> Unauthorized {
    let shown = |value: &Option<String>| value.as_deref().is_some_and(|text| !text.trim().is_empty());
    let auth = &params.auth;
    let provided = if shown(&auth.password) {
        Provided::Password
    } else if shown(&auth.token) {
        Provided::Token
    } else if shown(&auth.bootstrap_token) {
        Provided::BootstrapToken
    } else if shown(&auth.device_token) {
        Provided::DeviceToken
    } else {
        Provided::None
    };
    let class = Class::of(params);
    let client = if params.client.mode == "cli" {
        ClientClass::Cli
    } else if class.page {
        ClientClass::Page
    } else {
        ClientClass::Other
    };
    let (device, device_token) = (params.device.is_some(), shown(&auth.device_token));
    Unauthorized { reason, provided, device, device_token, mode: config.auth.mode, client, retry_after_ms }
}

struct OriginFacts {
    present: bool,
    /// It is the gateway's own page on this host.
    own: bool,
}

/// R8: an `Origin` is enforced in every auth mode, and pages must have one.
fn check_origin(config: &Config, handshake: &Handshake, class: Class) -> Result<OriginFacts, ConnectError> {
    let header = handshake.request.header("origin").map(str::trim).filter(|text| !text.is_empty());
    let Some(header) = header else {
        return if class.page {
            Err(ConnectError::Origin { missing: true })
        } else {
            Ok(OriginFacts { present: false, own: false })
        };
    };
    let listed = |text: &str| {
        let mut entries = config.allowed_origins.iter().map(|entry| entry.trim().to_ascii_lowercase());
        entries.any(|entry| entry == "*" || entry == text)
    };
    let Some(origin) = Origin::parse(header) else { return Err(ConnectError::Origin { missing: true }) };
    let loopback = net::is_loopback_name(&origin.host);
    let own = loopback && handshake.address.local && origin.port == config.port;
    let allowed = listed(&origin.text) || (loopback && handshake.address.local);
    if allowed {
        Ok(OriginFacts { present: true, own })
    } else {
        Err(ConnectError::Origin { missing: false })
    }
}

/// Whether the shared secret was proved. Either field may carry it, whatever the mode is called.
fn check_shared(
    config: &Config,
    limiters: &mut Limiters,
    now: Mono,
    peer: (bool, Option<IpAddr>),
    params: &ConnectParams,
) -> Result<SharedMethod, AuthReason> {
    let auth = &config.auth;
    let token = params.auth.token.as_deref().and_then(Secret::new);
    let password = params.auth.password.as_deref().and_then(Secret::new);
    let (configured, own_field, missing, mismatch, unset) = match auth.mode {
        AuthMode::None => return Ok(SharedMethod::None),
        AuthMode::Token => (
            &auth.token,
            &token,
            AuthReason::TokenMissing,
            AuthReason::TokenMismatch,
            AuthReason::TokenMissingConfig,
        ),
        AuthMode::Password => (
            &auth.password,
            &password,
            AuthReason::PasswordMissing,
            AuthReason::PasswordMismatch,
            AuthReason::PasswordMissingConfig,
        ),
    };
    let Some(configured) = configured else { return Err(unset) };
    let mut shown = [&token, &password].into_iter().flatten().peekable();
    if shown.peek().is_none() {
        return Err(missing);
    }
    if limiters.locked(now, peer, SecretKind::Shared).is_some() {
        return Err(AuthReason::RateLimited);
    }
    if shown.any(|secret| configured.matches(secret.expose())) {
        limiters.succeeded(peer, SecretKind::Shared);
        return Ok(SharedMethod::Secret);
    }
    // A device that shows its own token in `auth.token` has not failed yet: the store decides and counts then.
    if candidate(params).is_none() {
        limiters.failed(now, peer, SecretKind::Shared);
    }
    Err(if own_field.is_some() { mismatch } else { missing })
}

/// The device token to try: the explicit one, else `auth.token`.
pub(super) fn candidate(params: &ConnectParams) -> Option<Candidate> {
    params.device.as_ref()?;
    let explicit = params.auth.device_token.as_deref().and_then(Secret::new);
    let fallback = params.auth.token.as_deref().and_then(Secret::new);
    match (explicit, fallback) {
        (Some(token), _) => Some(Candidate { token, explicit: true }),
        (None, Some(token)) => Some(Candidate { token, explicit: false }),
        (None, None) => None,
    }
}

/// Whether a secret was shown that [`check_shared`] looked at.
pub(super) fn shown_shared(params: &ConnectParams) -> bool {
    let shown = |secret: &Option<String>| secret.as_deref().and_then(Secret::new).is_some();
    shown(&params.auth.token) || shown(&params.auth.password)
}

/// Whether a secret was shown besides the device token that was tried. Clients send a stored device token in both
/// fields, which is no guess.
pub(super) fn guessed_shared(params: &ConnectParams) -> bool {
    let auth = &params.auth;
    let shown = |secret: &Option<String>| secret.as_deref().and_then(Secret::new).is_some();
    let token_is_other = shown(&auth.token) && shown(&auth.device_token) && auth.token != auth.device_token;
    token_is_other || shown(&auth.password)
}

fn bootstrap_shown(params: &ConnectParams) -> bool {
    params.auth.bootstrap_token.as_deref().is_some_and(|token| !token.trim().is_empty())
}

/// Peers without a device (spec: v4 section 6.3, for both dialects). Fails with a refusal of its own, or with the
/// reason why the shared secret did not do.
fn check_missing_device(
    handshake: &Handshake,
    params: &ConnectParams,
    role: Role,
    class: Class,
    origin: &OriginFacts,
    shared: &Result<SharedMethod, AuthReason>,
) -> Result<Scopes, Result<ConnectError, AuthReason>> {
    if role == Role::Node {
        return Err(Ok(ConnectError::DeviceRequired));
    }
    if class.control_ui {
        return Err(Ok(ConnectError::ControlUiNeedsDevice));
    }
    let direct = handshake.address.local && !origin.present;
    match shared {
        Ok(SharedMethod::Secret) if direct && (class.cli || class.backend) => Ok(Scopes::new(&params.scopes)),
        // A secret that many may know says nothing about which authority this peer should have.
        Ok(SharedMethod::Secret) => Ok(Scopes::default()),
        Ok(SharedMethod::None) if direct && class.backend => Ok(Scopes::new(&params.scopes)),
        Ok(SharedMethod::None) => Err(Ok(ConnectError::DeviceRequired)),
        Err(reason) => {
            let sent = |value: &Option<String>| value.as_deref().is_some_and(|text| !text.is_empty());
            if sent(&params.auth.token) || sent(&params.auth.password) {
                Err(Err(*reason))
            } else {
                Err(Ok(ConnectError::DeviceRequired))
            }
        }
    }
}
