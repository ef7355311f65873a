//! Who may come in. The threat: a peer that says it is local, trusted, a page of ours or an old client, and is
//! not. Every decision here rests on what was verified (the socket, the proof, a secret), in the order of the
//! specification (v4 sections 3, 5.1, 6), the same for both dialects.

use super::guesses::{self, Tried};
use super::limiter::{Limiters, SecretKind, Source};
use super::peers::Handshake;
use super::vouched::{self, Tailnet};
use crate::config::{AuthMode, Config};
use crate::connect::{ConnectParams, ConnectRequest, Proof};
use crate::dialect::Dialect;
use crate::error::{AuthReason, ClientClass, ConnectError, Provided, ProxyFault, Unauthorized};
use crate::http::HttpRequest;
use crate::net::{self, ClientAddress, Origin};
use crate::scope::{self, Role, Scopes};
use crate::secret::Secret;
use crate::time::Mono;

/// A peer that passed the checks that need no store.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) dialect: Dialect,
    pub(super) role: Role,
    pub(super) checked: Checked,
    /// Only `Host` spoke for the page it comes from.
    pub(super) page_by_host: bool,
}

/// What remains to be done.
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
    /// Whether a shared secret was proved, or somebody vouched for it, or none is wanted.
    pub(super) shared: Result<SharedMethod, AuthReason>,
    /// Whether a wrong shared secret was shown that may be the device's own token: the store says so, and then it is
    /// known whether it counts.
    pub(super) is_guess_open: bool,
    /// A device token to try when `shared` failed.
    pub(super) candidate: Option<Candidate>,
    /// Pairing does not apply to it.
    pub(super) exempt: bool,
    /// Direct, from this host.
    pub(super) local: bool,
    /// From an address where nodes are paired without a person, and the shared secret was proved.
    pub(super) from_node_range: bool,
    /// A page sent it.
    pub(super) origin_present: bool,
    /// That page is the gateway's own, on loopback, and the shared secret was proved.
    pub(super) own_page: bool,
}

/// How a peer got past the shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SharedMethod {
    /// None is wanted.
    None,
    /// Token or password.
    Secret,
    /// The proxy in front names its user.
    Proxy,
    /// The tailnet's daemon says who it is.
    Tailscale,
}

impl SharedMethod {
    /// Whether somebody who has it may widen what a device of this machine may do (spec: v4 section 6.6).
    pub(super) fn widens(self) -> bool {
        match self {
            Self::None | Self::Secret => true,
            Self::Proxy | Self::Tailscale => false,
        }
    }
}

/// A device token as shown.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) token: Secret,
    /// Shown as `auth.deviceToken`, rather than as `auth.token`.
    pub(super) explicit: bool,
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

/// What a plain request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    /// The shared secret, or the user of a trusted proxy.
    Proved,
    /// Neither.
    Unproved,
    /// Something that is not looked at, for as many milliseconds: there were too many wrong ones.
    Locked(u64),
}

/// Whether a plain request shows the shared secret as a bearer token, or the user of a trusted proxy (spec: http section
/// 3). A wrong secret counts with those over a WebSocket that no page sent, whatever `Origin` says; none is no guess.
/// Without a secret to prove, nobody proves anything.
pub(super) fn http_bearer(
    config: &Config,
    limiters: &mut Limiters,
    now: Mono,
    client: &ClientAddress,
    request: &HttpRequest,
) -> Bearer {
    let auth = &config.auth;
    let configured = match auth.mode {
        AuthMode::None => return Bearer::Unproved,
        AuthMode::Token => &auth.token,
        AuthMode::Password => &auth.password,
        AuthMode::TrustedProxy => {
            let is_named = vouched::proxy_user(config, client, request).is_ok();
            // All there is to have by a plain request is for readers.
            let reads =
                vouched::scope_cap(config, client, request).is_none_or(|cap| cap.satisfies(scope::READ));
            return if is_named && reads { Bearer::Proved } else { Bearer::Unproved };
        }
    };
    let Some(configured) = configured else { return Bearer::Unproved };
    let Some((scheme, shown)) = request.header("authorization").and_then(|text| text.trim().split_once(' '))
    else {
        return Bearer::Unproved;
    };
    let Some(shown) = Secret::new(shown).filter(|_| scheme.eq_ignore_ascii_case("bearer")) else {
        return Bearer::Unproved;
    };
    let peer = Source::of_request(client);
    if let Some(retry_after_ms) = limiters.locked(now, peer, SecretKind::Shared) {
        return Bearer::Locked(retry_after_ms);
    }
    if configured.matches(shown.expose()) {
        limiters.succeeded(peer, SecretKind::Shared);
        return Bearer::Proved;
    }
    limiters.failed(now, peer, SecretKind::Shared);
    Bearer::Unproved
}

/// Runs every check up to the device store, in order. `shows_own_token` says whether the device token that is shown is
/// one of that device, as far as somebody vouches for it: the store will not look at it then.
///
/// # Errors
/// The first check that failed.
pub(super) fn check(
    config: &Config,
    limiters: &mut Limiters,
    now: Mono,
    handshake: &Handshake,
    request: &ConnectRequest,
    tailnet: Tailnet,
    shows_own_token: bool,
) -> Result<Passed, (Option<Dialect>, ConnectError)> {
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
    let peer = Source::of(&handshake.address, origin.present);
    // Before any secret is looked at: what a right one does to the limiter would tell it from wrong ones.
    let public_key = match (&params.device, &request.proof) {
        (None, _) => None,
        (Some(_), Proof::Good { public_key }) => Some(public_key.clone()),
        (Some(_), Proof::Bad(fault)) => return Err(refuse(ConnectError::Proof(*fault))),
        (Some(_), Proof::Absent) => return Err(refuse(ConnectError::DeviceRequired)),
    };
    let shared = check_shared(config, limiters, now, peer, handshake, params);
    let is_wrong = guesses::is_shared_wrong(&shared, params);
    // The store looks at no token of a device that somebody vouches for.
    let is_guess_open = is_wrong && tailnet != Tailnet::Proved && candidate(params).is_some();
    let tried = if tailnet == Tailnet::Proved && shows_own_token { Tried::OwnToken } else { Tried::Nothing };
    for kind in guesses::wrong(params, is_wrong && !is_guess_open, tried) {
        limiters.failed(now, peer, kind);
    }
    let shared = with_tailnet(shared, tailnet);
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
        let page_by_host = origin.by_host;
        let passed = |scopes| Passed { dialect, role, checked: Checked::Admitted { scopes }, page_by_host };
        return scopes.map(passed).map_err(refuse);
    };
    let candidate = candidate(params);
    // A setup code is for the store to judge, like a device token.
    if shared.is_err() && candidate.is_none() && !guesses::is_code_shown(params) {
        let reason = shared.err().unwrap_or(AuthReason::TokenMissing);
        return Err(refuse(ConnectError::Unauthorized(unauthorized(config, params, reason, retry_after_ms))));
    }
    let facts = DeviceFacts {
        public_key,
        shared,
        is_guess_open,
        candidate,
        exempt: (class.backend && role == Role::Operator && local && !origin.present && proved)
            || is_proxied_page(class, role, &shared),
        local,
        from_node_range: proved && is_in_node_range(config, &handshake.address),
        origin_present: origin.present,
        own_page: origin.own && class.page && local && proved,
    };
    let checked = Checked::Device(Box::new(facts));
    Ok(Passed { dialect, role, checked, page_by_host: origin.by_host })
}

/// Whether it is the control page of an operator that the proxy in front names: the proxy and its list of users decide
/// about those alone (spec: auth section 5.1). Their scopes are what they ask for, as far as the proxy lets them ([`vouched::scope_cap`]).
fn is_proxied_page(class: Class, role: Role, shared: &Result<SharedMethod, AuthReason>) -> bool {
    class.control_ui && role == Role::Operator && matches!(shared, Ok(SharedMethod::Proxy))
}

/// Whether its owner wants new nodes from there. An address alone lets nobody in (R5).
fn is_in_node_range(config: &Config, address: &ClientAddress) -> bool {
    let ranges = &config.auth.pairing.node_ranges;
    address.remote().is_some_and(|ip| ranges.iter().any(|range| range.contains(ip)))
}

/// A tailnet identity stands in for a secret that was not shown or is wrong. Where one was claimed in vain and nothing
/// else was shown, that is what failed.
fn with_tailnet(
    shared: Result<SharedMethod, AuthReason>,
    tailnet: Tailnet,
) -> Result<SharedMethod, AuthReason> {
    match (shared, tailnet) {
        (Err(AuthReason::RateLimited), _) | (Ok(_), _) | (Err(_), Tailnet::Unclaimed) => shared,
        (Err(_), Tailnet::Proved) => Ok(SharedMethod::Tailscale),
        (Err(AuthReason::TokenMissing | AuthReason::PasswordMissing), Tailnet::Refused(fault)) => {
            Err(AuthReason::Tailscale(fault))
        }
        (Err(_), Tailnet::Refused(_)) => shared,
    }
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
    let header = match (reason, &config.auth.trusted_proxy) {
        (AuthReason::TrustedProxy(ProxyFault::MissingHeader(at)), Some(proxy)) => {
            proxy.required_headers.get(at).map(|name| name.as_str().into())
        }
        (_, _) => None,
    };
    let mode = config.auth.mode;
    Unauthorized { reason, provided, device, device_token, mode, client, retry_after_ms, header }
}

struct OriginFacts {
    present: bool,
    /// It is the gateway's own page on this host.
    own: bool,
    /// Only `Host` says that it is ours.
    by_host: bool,
}

/// R8: an `Origin` is enforced in every auth mode, and pages must have one. `Host` is what the client was told to write,
/// so it names nobody, unless the owner said so.
fn check_origin(config: &Config, handshake: &Handshake, class: Class) -> Result<OriginFacts, ConnectError> {
    let header = handshake.request.header("origin").map(str::trim).filter(|text| !text.is_empty());
    let Some(header) = header else {
        return if class.page {
            Err(ConnectError::Origin { shown: None })
        } else {
            Ok(OriginFacts { present: false, own: false, by_host: false })
        };
    };
    let Some(origin) = Origin::parse(header) else { return Err(ConnectError::Origin { shown: None }) };
    let mut listed = config.allowed_origins.iter().map(|entry| entry.trim().to_ascii_lowercase());
    let is_listed = listed.any(|entry| entry == "*" || entry == origin.text);
    let on_this_host = net::is_loopback_name(&origin.host) && handshake.address.local;
    let own = on_this_host && origin.port == config.port && origin.text.starts_with(config.page_scheme());
    let pages = &config.auth.pages;
    if is_listed || on_this_host || pages.own_origins.contains(&origin.text) {
        return Ok(OriginFacts { present: true, own, by_host: false });
    }
    let host = handshake.request.header("host").map(|host| host.trim().to_ascii_lowercase());
    if pages.by_host && host.is_some_and(|host| origin.text.split_once("://").is_some_and(|at| at.1 == host))
    {
        return Ok(OriginFacts { present: true, own: false, by_host: true });
    }
    let shown = Some(origin.text).filter(|text| text.len() <= SHOWN_ORIGIN_MAX);
    Err(ConnectError::Origin { shown: Some(shown.unwrap_or_default().into()) })
}

/// An origin is a scheme, a name of at most 253 characters and a port; what is longer is nobody's.
const SHOWN_ORIGIN_MAX: usize = 300;

/// Whether the shared secret was proved. Either field may carry it, whatever the mode is called. A right one is forgiven
/// what was counted; whether a wrong one counts is for [`guesses`] to say.
fn check_shared(
    config: &Config,
    limiters: &mut Limiters,
    now: Mono,
    peer: Source,
    handshake: &Handshake,
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
        // Final: no secret stands in for the proxy's word.
        AuthMode::TrustedProxy => {
            return vouched::proxy_user(config, &handshake.address, &handshake.request)
                .map(|_| SharedMethod::Proxy)
                .map_err(AuthReason::TrustedProxy);
        }
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
    if is_proxied_page(class, role, shared) {
        return Ok(Scopes::new(&params.scopes));
    }
    if class.control_ui {
        return Err(Ok(ConnectError::ControlUiNeedsDevice));
    }
    let direct = handshake.address.local && !origin.present;
    match shared {
        Ok(SharedMethod::Secret) if direct && (class.cli || class.backend) => Ok(Scopes::new(&params.scopes)),
        // A secret that many may know says nothing about which authority this peer should have.
        Ok(SharedMethod::Secret | SharedMethod::Proxy) => Ok(Scopes::default()),
        Ok(SharedMethod::None) if direct && class.backend => Ok(Scopes::new(&params.scopes)),
        // A tailnet's user is known, and its device is not.
        Ok(SharedMethod::None | SharedMethod::Tailscale) => Err(Ok(ConnectError::DeviceRequired)),
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
