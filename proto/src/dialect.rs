//! The two shapes of one protocol. Authority is decided elsewhere, once, by protocol 4's rules; this file only
//! changes shapes, and [`Exceptions`] holds the few places where the dialects behave differently.

pub(crate) mod approvals;
pub(crate) mod config;
pub(crate) mod invoke;
pub(crate) mod lists;
pub(crate) mod nodes;
pub(crate) mod surfaces;

use crate::admission::{Admission, IssuedToken};
use crate::connect::ProofFault;
use crate::error::{
    AuthReason, ClientClass, ConnectError, Provided, ProxyFault, RequestError, TailnetFault, Unauthorized,
};
use crate::frame::{CloseFrame, ErrorShape, StateVersion};
use crate::gateway::Stopping;
use crate::gateway::devices::Rotated;
use crate::gateway::devices::pairing::{PairingReason, PairingRequired};
use crate::gateway::events;
use crate::gateway::health::{EventLoop, Snapshot as HealthSnapshot};
use crate::gateway::presence::Facts;
use crate::methods;
use crate::scope::{self, Role};
use crate::store::{DeviceView, PairedDevice, render};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The shapes a connection understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// Protocol 3, as in release 2026.3.13.
    V3,
    /// Protocol 4.
    V4,
}

/// Both, for tables.
pub const BOTH: &[Dialect] = &[Dialect::V3, Dialect::V4];

/// Where a dialect behaves differently, rather than only looking differently. One row a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceptions {
    /// A `health` event follows every hello-ok (protocol 3 clients show it as their first state).
    pub health_after_hello: bool,
    /// A `presence` event follows every hello-ok.
    pub presence_after_hello: bool,
    /// The approval of a node's device covers what the node declares for the first time; what comes later asks.
    pub pairing_covers_surface: bool,
    /// Control-plane writes that share one budget; each other one has its own (see [`crate::limits::Limits`]).
    pub shared_writes: &'static [&'static str],
    /// How many of those a window takes.
    pub shared_writes_max: u32,
    /// Whoever may decide a command's approval is asked, the asker too (protocol 3 has no word by which a client says
    /// that it shows such requests to people).
    pub asks_every_approver: bool,
    /// Operators are told where the canvas is, without a capability of their own; `plugin.surface.refresh` is not theirs.
    pub plain_surface_for_operators: bool,
    /// The connection that asked for a command may allow it (protocol 3, which asks it too, has clients that are alone).
    pub asker_allows: bool,
}

impl Dialect {
    /// Chooses by the range a client sent (spec: v4 section 16); `None` is a protocol mismatch.
    pub fn choose(min: u64, max: u64) -> Option<Self> {
        if max >= 4 && min <= 4 {
            Some(Self::V4)
        } else if max >= 3 && min <= 3 {
            Some(Self::V3)
        } else {
            None
        }
    }

    /// `hello-ok.protocol`.
    pub fn protocol(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }

    /// Index into per-dialect arrays.
    pub fn index(self) -> usize {
        match self {
            Self::V3 => 0,
            Self::V4 => 1,
        }
    }

    /// The table of exceptions.
    pub fn exceptions(self) -> Exceptions {
        match self {
            Self::V3 => Exceptions {
                health_after_hello: true,
                presence_after_hello: false,
                pairing_covers_surface: true,
                shared_writes: &["config.apply", "config.patch", "update.run"],
                shared_writes_max: 3,
                asks_every_approver: true,
                plain_surface_for_operators: true,
                asker_allows: true,
            },
            Self::V4 => Exceptions {
                health_after_hello: false,
                presence_after_hello: true,
                pairing_covers_surface: false,
                shared_writes: &[],
                shared_writes_max: 0,
                asks_every_approver: false,
                plain_surface_for_operators: false,
                asker_allows: false,
            },
        }
    }
}

// ---- hello-ok ----

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HelloOk<'a> {
    r#type: &'static str,
    protocol: u8,
    server: Server<'a>,
    features: Features,
    snapshot: Snapshot<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<HelloAuth<'a>>,
    policy: Policy,
    #[serde(skip_serializing_if = "Option::is_none")]
    canvas_host_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin_surface_urls: Option<BTreeMap<&'static str, &'a str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Server<'a> {
    version: &'a str,
    conn_id: &'a str,
}

#[derive(Serialize)]
struct Features {
    methods: Vec<&'static str>,
    events: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<[&'static str; 0]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'a> {
    presence: &'a RawValue,
    health: &'a RawValue,
    state_version: StateVersion,
    uptime_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspension: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_dir: Option<&'a str>,
    session_defaults: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_mode: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HelloAuth<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<&'a str>,
    role: &'static str,
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    device_tokens: Vec<HandedToken<'a>>,
}

/// A token of another role than the one that came in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HandedToken<'a> {
    device_token: &'a str,
    role: &'a str,
    scopes: &'a [String],
    issued_at_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    max_payload: usize,
    max_buffered_bytes: usize,
    tick_interval_ms: u64,
}

/// Renders hello-ok's payload (spec: handshake section 8, v4 section 7). Runs outside the gateway's lock.
pub fn hello_ok(admission: &Admission) -> Vec<u8> {
    let Admission { dialect, config, .. } = admission;
    let limits = &config.limits;
    let admin = admission.scopes.satisfies(scope::ADMIN);
    let (auth, capabilities) = match dialect {
        // Protocol 3 shows the token's stored scopes, sorted, and no `auth` at all without a token. An operator was
        // given none there when it had asked for no scopes.
        Dialect::V3 => {
            let shown = |issued: &&IssuedToken| admission.role == Role::Node || !issued.scopes.is_empty();
            let auth = admission.token.as_ref().filter(shown).map(|issued| HelloAuth {
                device_token: Some(&issued.token),
                role: admission.role.as_str(),
                scopes: issued.scopes.clone(),
                issued_at_ms: Some(issued.issued_at_ms),
                device_tokens: Vec::new(),
            });
            (auth, None)
        }
        Dialect::V4 => {
            let auth = HelloAuth {
                device_token: admission.token.as_ref().map(|issued| issued.token.as_str()),
                role: admission.role.as_str(),
                scopes: admission.scopes.as_slice().to_vec(),
                issued_at_ms: admission.token.as_ref().map(|issued| issued.issued_at_ms),
                device_tokens: handed(admission),
            };
            (Some(auth), Some([]))
        }
    };
    let surface_url = admission.surface.as_ref().map(|surface| surface.url.as_str());
    let hello = HelloOk {
        r#type: "hello-ok",
        protocol: dialect.protocol(),
        server: Server { version: &config.about.version, conn_id: &admission.conn_id },
        features: Features {
            // What is not served is not named either.
            methods: methods::advertised(*dialect)
                .filter(|name| config.canvas.is_some() || !surfaces::METHODS.contains(name))
                .collect(),
            events: events::names(*dialect),
            capabilities,
        },
        snapshot: Snapshot {
            presence: raw(&admission.presence),
            health: raw(&admission.health),
            state_version: admission.state_version,
            uptime_ms: admission.uptime_ms,
            suspension: match dialect {
                Dialect::V3 => None,
                Dialect::V4 => Some(json!({"phase": admission.suspension})),
            },
            // Nobody learns more of this host by claiming the older protocol, whose schema has these as optional too.
            config_path: admin.then_some(config.about.config_path.as_str()),
            state_dir: admin.then_some(config.about.state_dir.as_str()),
            session_defaults: json!({
                "defaultAgentId": "main", "mainKey": "main",
                "mainSessionKey": "agent:main:main", "scope": "per-sender",
            }),
            auth_mode: admin.then_some(config.auth.mode.as_str()),
        },
        auth,
        policy: Policy {
            max_payload: limits.message_bytes_max,
            max_buffered_bytes: limits.queued_bytes_max,
            tick_interval_ms: limits.tick_interval_ms,
        },
        canvas_host_url: surface_url.filter(|_| *dialect == Dialect::V3),
        plugin_surface_urls: surface_url
            .filter(|_| *dialect == Dialect::V4)
            .map(|url| BTreeMap::from([("canvas", url)])),
    };
    serde_json::to_vec(&hello).expect("hello-ok has only string keys")
}

fn handed(admission: &Admission) -> Vec<HandedToken<'_>> {
    let handed = admission.handoff.iter().map(|(role, issued)| HandedToken {
        device_token: &issued.token,
        role,
        scopes: &issued.scopes,
        issued_at_ms: issued.issued_at_ms,
    });
    handed.collect()
}

fn raw(json: &Bytes) -> &RawValue {
    // Both snapshots were encoded by this crate a moment ago.
    serde_json::from_slice(json).expect("an encoded snapshot is JSON")
}

/// The payload of `shutdown`: protocol 3 clients were sent an explicit null, protocol 4's schema wants an integer
/// or nothing.
pub(crate) fn shutdown(dialect: Dialect, why: Stopping) -> Bytes {
    let payload = match (dialect, why) {
        (Dialect::V3, Stopping::ForGood) => json!({"reason": "gateway stopping", "restartExpectedMs": null}),
        (Dialect::V4, Stopping::ForGood) => json!({"reason": "gateway stopping"}),
        (Dialect::V3 | Dialect::V4, Stopping::ToRestart) => {
            json!({"reason": "gateway restarting", "restartExpectedMs": RESTART_EXPECTED_MS})
        }
    };
    Bytes::from(payload.to_string())
}

/// When clients should find the gateway again.
const RESTART_EXPECTED_MS: u64 = 1_500;

/// Whether nodes of this protocol hear where wake words are routed.
pub(crate) fn has_voice_routing(dialect: Dialect) -> bool {
    match dialect {
        Dialect::V3 => false,
        Dialect::V4 => true,
    }
}

/// Events that only this protocol has.
pub(crate) fn own_events(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::V3 => &[],
        Dialect::V4 => &[
            "voicewake.routing.changed",
            events::INVOKE_CANCEL,
            "node.hostStats",
            "node.runnerInventory.changed",
            "gateway.suspension",
            "plugin.approval.requested",
            "plugin.approval.resolved",
            "question.requested",
            "question.resolved",
            "device.pair.changed",
            "device.pair.setup.completed",
            "device.pair.setup.deliveryUncertain",
        ],
    }
}

// ---- errors after hello-ok ----

/// The `error` member for a failed request (spec: v4 section 8).
pub(crate) fn request_error(dialect: Dialect, error: &RequestError) -> ErrorShape {
    match error {
        RequestError::Invalid(message) => invalid(message.clone()),
        RequestError::InvalidConfig { message, issues } => ErrorShape {
            details: (!issues.is_empty())
                .then(|| json!({"issues": issues.iter().map(config::issue).collect::<Vec<_>>()})),
            ..invalid(message.clone())
        },
        RequestError::InvalidParams { method, errors } => {
            invalid(format!("invalid {method} params: {errors}"))
        }
        RequestError::UnauthorizedRole(role) => invalid(format!("unauthorized role: {}", role.as_str())),
        RequestError::UnknownMethod(name) => invalid(format!("unknown method: {name}")),
        RequestError::MissingScope { missing, required } => {
            let message = format!("missing scope: {missing}");
            match dialect {
                Dialect::V3 => invalid(message),
                Dialect::V4 => ErrorShape {
                    code: "FORBIDDEN",
                    details: Some(json!({
                        "code": "MISSING_SCOPE", "missingScope": missing, "requiredScopes": required,
                    })),
                    ..invalid(message)
                },
            }
        }
        RequestError::Named { message, details } => {
            let details = match dialect {
                Dialect::V3 => None,
                Dialect::V4 => Some(details.clone()),
            };
            ErrorShape { details, ..invalid(message.clone()) }
        }
        RequestError::Coded { code, message } => {
            ErrorShape { details: Some(json!({"code": code})), ..invalid(message.clone()) }
        }
        RequestError::Forbidden(message) => match dialect {
            Dialect::V3 => invalid((*message).to_owned()),
            Dialect::V4 => ErrorShape { code: "FORBIDDEN", ..invalid((*message).to_owned()) },
        },
        RequestError::Invoke(error) => invoke::error(dialect, error),
        RequestError::NotHere(method) => ErrorShape {
            code: "UNAVAILABLE",
            details: Some(json!({"reason": "feature-unavailable", "method": method})),
            retryable: Some(false),
            ..invalid(format!("{method} is not available on this gateway"))
        },
        RequestError::WriteBudget { method, retry_after_ms, max, window_ms } => ErrorShape {
            code: "UNAVAILABLE",
            details: Some(json!({"method": method, "limit": format!("{max} per {}s", window_ms / 1_000)})),
            retryable: Some(true),
            retry_after_ms: Some(*retry_after_ms),
            ..invalid(format!(
                "rate limit exceeded for {method}; retry after {}s",
                retry_after_ms.div_ceil(1_000)
            ))
        },
        RequestError::Busy => ErrorShape {
            code: "UNAVAILABLE",
            retryable: Some(true),
            ..invalid("The server is busy. Please try again in a moment.".to_owned())
        },
        RequestError::Unavailable { message, reason, retryable } => ErrorShape {
            code: "UNAVAILABLE",
            details: Some(json!({"reason": reason})),
            retryable: Some(*retryable),
            ..invalid(message.clone())
        },
        RequestError::Suspended { method, phase } => ErrorShape {
            code: "UNAVAILABLE",
            details: Some(json!({"method": method, "reason": "gateway-suspending", "phase": phase})),
            retryable: Some(true),
            retry_after_ms: Some(1_000),
            ..invalid(format!("{method} unavailable during gateway suspension"))
        },
    }
}

fn invalid(message: String) -> ErrorShape {
    ErrorShape { code: "INVALID_REQUEST", message, details: None, retryable: None, retry_after_ms: None }
}

// ---- errors during the handshake ----

/// The error response and the close that follows it, for a refused `connect`.
pub(crate) fn connect_error(dialect: Option<Dialect>, error: &ConnectError) -> (ErrorShape, CloseFrame) {
    let shape = connect_error_shape(dialect, error);
    let close = match error {
        ConnectError::ProtocolMismatch { .. } => CloseFrame::new(1002, "protocol mismatch"),
        ConnectError::Stopping => CloseFrame::new(1013, "gateway restart in progress"),
        ConnectError::Unavailable(_) => CloseFrame::new(1013, "gateway cannot decide now"),
        ConnectError::NodeElsewhere { .. } => CloseFrame::new(1013, "node connected from elsewhere"),
        ConnectError::Pairing { pairing, .. } if dialect != Some(Dialect::V3) => CloseFrame {
            code: 1008,
            reason: Cow::Owned(format!("{} (requestId: {})", shape.message, pairing.request_id)),
        },
        ConnectError::Pairing { .. }
        | ConnectError::InvalidRole
        | ConnectError::Origin { .. }
        | ConnectError::ControlUiNeedsDevice
        | ConnectError::DeviceRequired
        | ConnectError::Proof(_)
        | ConnectError::Unauthorized(_) => {
            CloseFrame { code: 1008, reason: Cow::Owned(shape.message.clone()) }
        }
    };
    (shape, close)
}

fn connect_error_shape(dialect: Option<Dialect>, error: &ConnectError) -> ErrorShape {
    match error {
        ConnectError::ProtocolMismatch { min, max } => with_details(
            "protocol mismatch",
            json!({
                "code": "PROTOCOL_MISMATCH", "clientMinProtocol": min, "clientMaxProtocol": max,
                "expectedProtocol": 4, "minimumProbeProtocol": 3,
            }),
        ),
        ConnectError::InvalidRole => invalid("invalid role".to_owned()),
        ConnectError::Origin { shown } => {
            let reason = if shown.is_none() { "origin missing or invalid" } else { "origin not allowed" };
            let mut details = json!({"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": reason});
            if let Some(origin) = shown.as_deref().filter(|origin| !origin.is_empty()) {
                details["origin"] = json!(origin);
                details["setting"] = json!(ALLOWED_ORIGINS);
            }
            with_details(
                "origin not allowed (open the Control UI from the gateway host or allow it in \
                 gateway.controlUi.allowedOrigins)",
                details,
            )
        }
        ConnectError::ControlUiNeedsDevice => with_details(
            "control ui requires device identity (use HTTPS or localhost secure context)",
            json!({"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"}),
        ),
        ConnectError::DeviceRequired => ErrorShape {
            code: "NOT_PAIRED",
            ..with_details("device identity required", json!({"code": "DEVICE_IDENTITY_REQUIRED"}))
        },
        ConnectError::Proof(fault) => {
            let (message, code, reason) = proof_text(*fault);
            with_details(message, json!({"code": code, "reason": reason}))
        }
        ConnectError::Unauthorized(why) => unauthorized(dialect, why),
        ConnectError::Pairing { pairing, wait } => pairing_required(dialect, pairing, *wait),
        ConnectError::Unavailable(message) => ErrorShape {
            code: "UNAVAILABLE",
            details: Some(json!({"reason": "store-unavailable"})),
            retryable: Some(true),
            retry_after_ms: Some(1_000),
            ..invalid(message.clone())
        },
        ConnectError::NodeElsewhere { retry_after_ms } => ErrorShape {
            code: "UNAVAILABLE",
            details: Some(json!({"code": "NODE_CONNECTED_ELSEWHERE"})),
            retryable: Some(true),
            retry_after_ms: Some(*retry_after_ms),
            ..invalid(
                "this node is connected from elsewhere, and the two took each other's place again and again: two machines \
                 use one identity; give each its own state folder, or stop one of them"
                    .to_owned(),
            )
        },
        ConnectError::Stopping => ErrorShape {
            code: "UNAVAILABLE",
            details: Some(json!({"method": "connect", "reason": "gateway-restarting", "phase": "draining"})),
            retryable: Some(true),
            retry_after_ms: Some(1_000),
            ..invalid("connect unavailable during gateway restart".to_owned())
        },
    }
}

fn with_details(message: &str, details: Value) -> ErrorShape {
    ErrorShape { details: Some(details), ..invalid(message.to_owned()) }
}

fn proof_text(fault: ProofFault) -> (&'static str, &'static str, &'static str) {
    match fault {
        ProofFault::DeviceIdMismatch => {
            ("device identity mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH", "device-id-mismatch")
        }
        ProofFault::Expired => {
            ("device signature expired", "DEVICE_AUTH_SIGNATURE_EXPIRED", "device-signature-stale")
        }
        ProofFault::NonceMissing => {
            ("device nonce required", "DEVICE_AUTH_NONCE_REQUIRED", "device-nonce-missing")
        }
        ProofFault::NonceMismatch => {
            ("device nonce mismatch", "DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch")
        }
        ProofFault::Signature => {
            ("device signature invalid", "DEVICE_AUTH_SIGNATURE_INVALID", "device-signature")
        }
        ProofFault::PublicKey => {
            ("device public key invalid", "DEVICE_AUTH_PUBLIC_KEY_INVALID", "device-public-key")
        }
    }
}

fn pairing_required(dialect: Option<Dialect>, pairing: &PairingRequired, wait: bool) -> ErrorShape {
    let reason = pairing.reason.as_str();
    let (requirement, hint) = match pairing.reason {
        PairingReason::NotPaired => {
            ("device is not approved yet", "Approve this device from the pending pairing requests.")
        }
        PairingReason::RoleUpgrade => (
            "device is asking for a higher role than currently approved",
            "Review the requested role upgrade, then approve the pending request.",
        ),
        PairingReason::ScopeUpgrade => (
            "device is asking for more scopes than currently approved",
            "Review the requested scopes, then approve the pending upgrade.",
        ),
        PairingReason::MetadataUpgrade => (
            "device identity changed and must be re-approved",
            "Review the refreshed device details, then approve the pending request.",
        ),
    };
    if dialect == Some(Dialect::V3) {
        let details = json!({"code": "PAIRING_REQUIRED", "requestId": pairing.request_id, "reason": reason});
        return ErrorShape { code: "NOT_PAIRED", ..with_details("pairing required", details) };
    }
    let mut details = json!({
        "code": "PAIRING_REQUIRED",
        "reason": reason,
        "requestId": pairing.request_id,
        "remediationHint": hint,
        "deviceId": pairing.device_id,
        "requestedRole": pairing.role.as_str(),
    });
    for (name, list) in [
        ("requestedScopes", pairing.scopes.as_slice()),
        ("approvedRoles", &pairing.approved_roles),
        ("approvedScopes", &pairing.approved_scopes),
    ] {
        if !list.is_empty() {
            details[name] = json!(list);
        }
    }
    if wait {
        details["recommendedNextStep"] = json!("wait_then_retry");
        details["retryable"] = json!(true);
        details["pauseReconnect"] = json!(false);
    }
    let message = format!("pairing required: {requirement}");
    ErrorShape { code: "NOT_PAIRED", ..with_details(&message, details) }
}

fn unauthorized(dialect: Option<Dialect>, why: &Unauthorized) -> ErrorShape {
    let (reason, code, next_step) = match why.reason {
        AuthReason::TokenMissing => ("token_missing", "AUTH_TOKEN_MISSING", CONFIGURE),
        AuthReason::TokenMismatch => ("token_mismatch", "AUTH_TOKEN_MISMATCH", CREDENTIALS),
        AuthReason::TokenMissingConfig => ("token_missing_config", "AUTH_TOKEN_NOT_CONFIGURED", CONFIGURE),
        AuthReason::PasswordMissing => ("password_missing", "AUTH_PASSWORD_MISSING", CONFIGURE),
        AuthReason::PasswordMismatch => ("password_mismatch", "AUTH_PASSWORD_MISMATCH", CREDENTIALS),
        AuthReason::PasswordMissingConfig => {
            ("password_missing_config", "AUTH_PASSWORD_NOT_CONFIGURED", CONFIGURE)
        }
        AuthReason::BootstrapTokenInvalid => {
            ("bootstrap_token_invalid", "AUTH_BOOTSTRAP_TOKEN_INVALID", REVIEW)
        }
        AuthReason::DeviceTokenMismatch => {
            ("device_token_mismatch", "AUTH_DEVICE_TOKEN_MISMATCH", CREDENTIALS)
        }
        AuthReason::ScopeMismatch => ("scope_mismatch", "AUTH_SCOPE_MISMATCH", REVIEW),
        AuthReason::RateLimited => ("rate_limited", "AUTH_RATE_LIMITED", "wait_then_retry"),
        AuthReason::TrustedProxy(fault) => {
            let code = match fault {
                // The code came with protocol 4; to protocol 3 it is one of those not listed.
                ProxyFault::MissingHeader(_) if dialect != Some(Dialect::V3) => {
                    "AUTH_IDENTITY_HEADER_REQUIRED"
                }
                ProxyFault::MissingHeader(_)
                | ProxyFault::NotConfigured
                | ProxyFault::NoProxies
                | ProxyFault::UntrustedSource
                | ProxyFault::LoopbackSource
                | ProxyFault::ProofMismatch
                | ProxyFault::UserMissing
                | ProxyFault::UserNotAllowed => "AUTH_UNAUTHORIZED",
            };
            (fault.as_str(), code, REVIEW)
        }
        AuthReason::Tailscale(fault) => {
            let code = match fault {
                TailnetFault::UserMissing => "AUTH_TAILSCALE_IDENTITY_MISSING",
                TailnetFault::ProxyMissing => "AUTH_TAILSCALE_PROXY_MISSING",
                TailnetFault::WhoisFailed => "AUTH_TAILSCALE_WHOIS_FAILED",
                TailnetFault::UserMismatch => "AUTH_TAILSCALE_IDENTITY_MISMATCH",
            };
            (fault.as_str(), code, REVIEW)
        }
    };
    let retry_with_device = why.reason == AuthReason::TokenMismatch
        && why.device
        && why.provided == Provided::Token
        && !why.device_token;
    let header = why.header.as_deref().unwrap_or_default();
    let details = json!({
        "code": code,
        "authReason": format!("{reason}{header}"),
        "canRetryWithDeviceToken": retry_with_device,
        "recommendedNextStep": if retry_with_device { "retry_with_device_token" } else { next_step },
    });
    let mut shape = with_details(&unauthorized_text(dialect, why), details);
    if why.reason == AuthReason::RateLimited && dialect != Some(Dialect::V3) {
        shape.retryable = Some(true);
        shape.retry_after_ms = why.retry_after_ms;
    }
    shape
}

const CONFIGURE: &str = "update_auth_configuration";
const CREDENTIALS: &str = "update_auth_credentials";
const REVIEW: &str = "review_auth_configuration";
const TAILSCALE_SERVE_AUTH: &str = "use Tailscale Serve auth or gateway token/password";
/// The setting that an origin must be listed in.
pub(crate) const ALLOWED_ORIGINS: &str = "gateway.controlUi.allowedOrigins";

fn unauthorized_text(dialect: Option<Dialect>, why: &Unauthorized) -> String {
    let token_hint = match why.client {
        ClientClass::Cli => "set gateway.remote.token to match gateway.auth.token",
        ClientClass::Page => "open the dashboard URL and paste the token in Control UI settings",
        ClientClass::Other => "provide gateway auth token",
    };
    let password_hint = match why.client {
        ClientClass::Cli => "set gateway.remote.password to match gateway.auth.password",
        ClientClass::Page => "enter the password in Control UI settings",
        ClientClass::Other => "provide gateway auth password",
    };
    let (what, hint) = match why.reason {
        AuthReason::TokenMissing => ("gateway token missing", token_hint),
        AuthReason::TokenMismatch => ("gateway token mismatch", token_hint),
        AuthReason::TokenMissingConfig => {
            ("gateway token not configured on gateway", "set gateway.auth.token")
        }
        AuthReason::PasswordMissing => ("gateway password missing", password_hint),
        AuthReason::PasswordMismatch => ("gateway password mismatch", password_hint),
        AuthReason::PasswordMissingConfig => {
            ("gateway password not configured on gateway", "set gateway.auth.password")
        }
        AuthReason::BootstrapTokenInvalid => match dialect {
            Some(Dialect::V3) => ("bootstrap token invalid or expired", "scan a fresh setup code"),
            Some(Dialect::V4) | None => (
                "setup code invalid, expired, revoked, or already used",
                "create a new code; review the pairing requests that wait with devices list",
            ),
        },
        AuthReason::DeviceTokenMismatch => ("device token mismatch", "rotate/reissue device token"),
        AuthReason::ScopeMismatch => (
            "device token does not cover the requested role or scopes",
            "request approved scopes, or approve the upgrade on the gateway host",
        ),
        AuthReason::RateLimited => ("too many failed authentication attempts", "retry later"),
        AuthReason::TrustedProxy(_) => return "unauthorized".to_owned(),
        AuthReason::Tailscale(TailnetFault::UserMissing) => {
            ("tailscale identity missing", TAILSCALE_SERVE_AUTH)
        }
        AuthReason::Tailscale(TailnetFault::ProxyMissing) => {
            ("tailscale proxy headers missing", "use Tailscale Serve or gateway token/password")
        }
        AuthReason::Tailscale(TailnetFault::WhoisFailed) => {
            ("tailscale identity check failed", TAILSCALE_SERVE_AUTH)
        }
        AuthReason::Tailscale(TailnetFault::UserMismatch) => {
            ("tailscale identity mismatch", TAILSCALE_SERVE_AUTH)
        }
    };
    format!("unauthorized: {what} ({hint})")
}

// ---- presence ----

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PresenceHead<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_family: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_identifier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_input_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online_since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// An entry of the presence list up to and including `"ts":`; the list adds the number and the brace.
/// Protocol 3's entries are closed: no `timeZone`, no `onlineSince`, and `instanceId` falls back to the device.
pub(crate) fn presence_head(dialect: Dialect, facts: &Facts) -> Bytes {
    let own = facts.reason.as_deref() == Some("self");
    let (time_zone, online_since, instance_id, model_identifier) = match dialect {
        Dialect::V3 => {
            let instance_id = facts.device_id.as_deref().or(facts.instance_id.as_deref());
            (None, None, instance_id.filter(|_| !own), facts.model_identifier.as_deref())
        }
        Dialect::V4 => (
            facts.time_zone.as_deref(),
            facts.online_since,
            facts.instance_id.as_deref(),
            facts.model_identifier.as_deref().filter(|_| !own),
        ),
    };
    let head = PresenceHead {
        host: facts.host.as_deref(),
        ip: facts.ip.as_deref(),
        version: facts.version.as_deref(),
        platform: facts.platform.as_deref(),
        device_family: facts.device_family.as_deref(),
        model_identifier,
        time_zone,
        mode: facts.mode.as_deref(),
        last_input_seconds: facts.last_input_seconds,
        online_since,
        device_id: facts.device_id.as_deref(),
        roles: &facts.roles,
        scopes: &facts.scopes,
        instance_id,
        reason: facts.reason.as_deref(),
        tags: &facts.tags,
        text: facts.text.as_deref(),
    };
    let mut out = serde_json::to_vec(&head).expect("presence has only string keys");
    out.pop();
    if out.len() > 1 {
        out.push(b',');
    }
    out.extend_from_slice(b"\"ts\":");
    Bytes::from(out)
}

// ---- health and status ----

/// The health snapshot. Protocol 4 adds what its clients show; nothing in it is invented: this gateway has no
/// plugins and runs no models.
pub(crate) fn health(dialect: Dialect, snapshot: &HealthSnapshot) -> Bytes {
    let path = snapshot.sessions_path.as_deref().unwrap_or("[redacted]");
    let sessions = json!({"path": path, "count": 0, "recent": []});
    let mut health = json!({
        "ok": true,
        "ts": snapshot.ts,
        "durationMs": 0,
        "channels": {},
        "channelOrder": [],
        "channelLabels": {},
        "heartbeatSeconds": 0,
        "defaultAgentId": "main",
        "agents": [{
            "agentId": "main",
            "isDefault": true,
            "heartbeat": heartbeat(snapshot.heartbeats),
            "sessions": sessions,
        }],
        "sessions": sessions,
    });
    match dialect {
        Dialect::V3 => {}
        Dialect::V4 => {
            health["plugins"] = json!({"loaded": [], "errors": [], "unavailable": []});
            let status = if snapshot.hot_reload { "active" } else { "disabled" };
            health["configReload"] = json!({"hotReloadStatus": status});
            // The published schema wants every number or no event loop at all: until the host has told our load,
            // there is none.
            if let Some(facts) = &snapshot.event_loop {
                health["eventLoop"] = event_loop(facts);
            }
        }
    }
    Bytes::from(health.to_string())
}

/// `eventLoop` in the health snapshot and in the details of `/ready`.
pub(crate) fn event_loop(facts: &EventLoop) -> Value {
    let late = facts.delay_p99_ms >= LATE_MS;
    json!({
        "degraded": late,
        "degradedSinceMs": null,
        "reasons": if late { json!(["event_loop_delay"]) } else { json!([]) },
        "intervalMs": facts.interval_ms,
        "delayP99Ms": facts.delay_p99_ms,
        "delayMaxMs": facts.delay_max_ms,
        "utilization": facts.cpu_ratio.min(1.0),
        "cpuCoreRatio": facts.cpu_ratio,
    })
}

/// Timer lateness at which the gateway calls itself degraded.
const LATE_MS: u64 = 1_000;

fn heartbeat(wanted: bool) -> Value {
    // No agent runs here, so nothing beats: `enabled` is only what `set-heartbeats` was told.
    json!({
        "enabled": wanted, "every": "disabled", "everyMs": null, "prompt": "", "target": "none", "ackMaxChars": 300,
    })
}

/// The result of `status`. Without admin, paths are not shown.
pub(crate) fn status(
    version: &str,
    sessions_path: &str,
    heartbeats: bool,
    events: &[String],
    admin: bool,
) -> Value {
    let (paths, by_agent_path) =
        if admin { (json!([sessions_path]), sessions_path) } else { (json!([]), "[redacted]") };
    json!({
        "runtimeVersion": version,
        "heartbeat": {
            "defaultAgentId": "main",
            "agents": [{"agentId": "main", "enabled": heartbeats, "every": "disabled", "everyMs": null}],
        },
        "channelSummary": [],
        "queuedSystemEvents": events,
        "sessions": {
            "paths": paths,
            "count": 0,
            "defaults": {"model": null, "contextTokens": null},
            "recent": [],
            "byAgent": [{"agentId": "main", "path": by_agent_path, "count": 0, "recent": []}],
        },
    })
}

/// The encoded result of `status` with what changes all the time: this gateway's own numbers.
pub(crate) fn status_with(status: &[u8], numbers: &[u8], refusals: Option<&Value>) -> Bytes {
    const MEMBER: &[u8] = b",\"gateway\":";
    let refusals = refusals.map(|list| format!(",\"recentRefusals\":{list}")).unwrap_or_default();
    let numbers = numbers.strip_suffix(b"}").expect("an encoded object ends with its brace");
    let head = status.strip_suffix(b"}").expect("an encoded object ends with its brace");
    Bytes::from([head, MEMBER, numbers, refusals.as_bytes(), b"}}"].concat())
}

// ---- devices ----

/// The result of `device.pair.list`. Protocol 4 also tells who is connected and when each was last seen.
pub(crate) fn device_list(dialect: Dialect, view: &DeviceView) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        pending: Vec<render::PendingRow<'a>>,
        paired: Vec<render::PairedRow<'a>>,
    }
    let paired = match dialect {
        Dialect::V3 => render::paired_rows(view),
        Dialect::V4 => render::paired_rows_with_presence(view),
    };
    let list = List { pending: render::pending_rows(view), paired };
    serde_json::to_vec(&list).expect("rows have only string keys")
}

/// The result of `device.pair.approve`.
pub(crate) fn approved(request_id: &str, device: &PairedDevice) -> Value {
    let row = serde_json::to_value(render::paired_row(device)).expect("a row has only string keys");
    json!({"requestId": request_id, "device": row})
}

/// What a setup code says, before it is encoded: members in the order of release 2026.3.13, and when it ends.
pub(crate) fn setup_code(url: &str, token: &str, expires_at_ms: u64) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Code<'a> {
        url: &'a str,
        bootstrap_token: &'a str,
        expires_at_ms: u64,
    }
    let code = Code { url, bootstrap_token: token, expires_at_ms };
    serde_json::to_string(&code).expect("a code has only string keys")
}

/// The payload of `device.pair.resolved`.
pub(crate) fn pair_resolved(request_id: &str, device_id: &str, approved: bool, ts: u64) -> Value {
    let decision = if approved { "approved" } else { "rejected" };
    json!({"requestId": request_id, "deviceId": device_id, "decision": decision, "ts": ts})
}

/// The result of `device.token.rotate`. Protocol 4 says how the token travels; the token itself goes only to the
/// device it belongs to, in either dialect.
pub(crate) fn rotated(dialect: Dialect, rotated: &Rotated) -> Value {
    let mut result = json!({
        "deviceId": rotated.device_id,
        "role": rotated.role,
        "scopes": rotated.scopes,
        "rotatedAtMs": rotated.rotated_at_ms,
    });
    if let Some(token) = &rotated.token {
        result["token"] = json!(token.expose());
    }
    match dialect {
        Dialect::V3 => {}
        Dialect::V4 => {
            let delivery = if rotated.token.is_some() { "in-band" } else { "withheld-cross-device" };
            result["tokenDelivery"] = json!(delivery);
        }
    }
    result
}
