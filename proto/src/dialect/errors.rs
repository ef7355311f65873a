//! Errors as clients read them: of the handshake, with what closes the connection, and of a request (spec: handshake
//! section 6, v4 section 8).

use super::{Dialect, config, invoke};
use crate::connect::ProofFault;
use crate::error::{
    AuthReason, ClientClass, ConnectError, Provided, ProxyFault, RequestError, TailnetFault, Unauthorized,
};
use crate::frame::{CloseFrame, ErrorShape};
use crate::gateway::devices::pairing::{PairingReason, PairingRequired};
use serde_json::{Value, json};
use std::borrow::Cow;

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

pub(super) fn invalid(message: String) -> ErrorShape {
    ErrorShape { code: "INVALID_REQUEST", message, details: None, retryable: None, retry_after_ms: None }
}

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
