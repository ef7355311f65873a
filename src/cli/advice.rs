//! What to do next, by what a gateway said when it did not let us in (spec: v4 sections 6.4 and 6.5) or closed the
//! connection. One table of sentences; what depends on the answer is put behind them.

use super::render;
use clawgate_proto::client::ResponseError;

/// What to do about a refused `connect`; empty when nothing is known.
pub(super) fn on_refusal(error: &ResponseError) -> String {
    let code = error.detail("code").unwrap_or(&error.code);
    if code == "PAIRING_REQUIRED" {
        return on_pairing(error);
    }
    let sentence = find(REFUSALS, code)
        .or_else(|| find(NEXT_STEPS, error.detail("recommendedNextStep")?))
        .unwrap_or_default();
    match error.retry_after_ms.filter(|_| code == "AUTH_RATE_LIMITED") {
        Some(ms) => format!("{sentence} It takes attempts again in {} s.", ms.div_ceil(1_000)),
        None => sentence.to_owned(),
    }
}

/// What to do about a connection that a gateway closed; empty when nothing is known.
pub(super) fn on_close(reason: &str) -> &'static str {
    CLOSES.iter().find(|(start, _)| reason.starts_with(start)).map_or("", |(_, sentence)| sentence)
}

fn on_pairing(error: &ResponseError) -> String {
    let why = match error.detail("reason") {
        Some("scope-upgrade") => {
            "This device asks for more than it was approved for, and waits for approval."
        }
        Some("role-upgrade") => {
            "This device asks for another role than it was approved for, and waits for approval."
        }
        Some("metadata-upgrade") => "This device says that it has changed, and waits to be approved again.",
        Some(_) | None => "This device waits for approval.",
    };
    let request = error.detail("requestId").map(render::clean).unwrap_or_default();
    if request.is_empty() {
        return format!("{why} On the gateway's machine: clawgate devices list");
    }
    format!("{why} On the gateway's machine: clawgate devices approve {request}")
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == name).map(|(_, sentence)| *sentence)
}

const TAILSCALE: &str = "Tailscale does not say who is there: connect through `tailscale serve` on the gateway's machine, \
                         or show the gateway's token or password.";
const PROOF: &str = "This machine's key did not prove itself. Try again; if it stays so, `clawgate doctor` looks at the \
                     key in identity/device.json.";

/// By `details.code`.
const REFUSALS: &[(&str, &str)] = &[
    (
        "AUTH_TOKEN_MISSING",
        "The gateway asks for its token. `clawgate token` on its machine shows it; pass it with --token or \
         OPENCLAW_GATEWAY_TOKEN.",
    ),
    (
        "AUTH_TOKEN_MISMATCH",
        "The gateway has another token. `clawgate token` on its machine shows it; pass it with --token or \
         OPENCLAW_GATEWAY_TOKEN.",
    ),
    (
        "AUTH_DEVICE_TOKEN_MISMATCH",
        "The device token of this machine was replaced or revoked: connect once with the gateway's own. `clawgate token` \
         on its machine shows it; pass it with --token or OPENCLAW_GATEWAY_TOKEN.",
    ),
    (
        "AUTH_PASSWORD_MISSING",
        "The gateway asks for its password. Pass it with --password or OPENCLAW_GATEWAY_PASSWORD.",
    ),
    (
        "AUTH_PASSWORD_MISMATCH",
        "The gateway has another password. Pass the gateway's password with --password or OPENCLAW_GATEWAY_PASSWORD.",
    ),
    (
        "AUTH_TOKEN_NOT_CONFIGURED",
        "The gateway has no token to compare with. On its machine: set gateway.auth.token, or start it once with \
         `clawgate gateway`, which makes one.",
    ),
    (
        "AUTH_PASSWORD_NOT_CONFIGURED",
        "The gateway has no password to compare with. On its machine: set gateway.auth.password or \
         OPENCLAW_GATEWAY_PASSWORD.",
    ),
    (
        "AUTH_SCOPE_MISMATCH",
        "The device token of this machine does not allow what is asked for: connect once with the gateway's own token or \
         password, or have somebody widen it with `clawgate devices rotate --scope`.",
    ),
    (
        "AUTH_BOOTSTRAP_TOKEN_INVALID",
        "A setup code works once, for a few minutes, and for one device: make a fresh one on the gateway's machine.",
    ),
    ("AUTH_RATE_LIMITED", "Too many failed attempts. Wait a few minutes, then try again."),
    ("AUTH_TAILSCALE_IDENTITY_MISSING", TAILSCALE),
    ("AUTH_TAILSCALE_PROXY_MISSING", TAILSCALE),
    ("AUTH_TAILSCALE_WHOIS_FAILED", TAILSCALE),
    ("AUTH_TAILSCALE_IDENTITY_MISMATCH", TAILSCALE),
    (
        "AUTH_IDENTITY_HEADER_REQUIRED",
        "The gateway lets in whom a proxy names: connect through that proxy. If you did, it does not send a header that \
         gateway.auth.trustedProxy asks for.",
    ),
    (
        "AUTH_VERIFIED_USER_REQUIRED",
        "The gateway asks who you are: connect through the proxy or the tailnet that names its users.",
    ),
    (
        "AUTHENTICATED_PROFILE_UNAVAILABLE",
        "The gateway knows who you are, and could not load your profile. Try again; its log says more.",
    ),
    (
        "AUTH_UNAUTHORIZED",
        "The gateway does not say what is missing; its log does (`peer.refused`, see `clawgate logs` there). In the mode \
         trusted-proxy, connect through the proxy.",
    ),
    (
        "AUTH_REQUIRED",
        "The gateway asks for a token or a password. `clawgate token` on its machine shows the token.",
    ),
    (
        "CONTROL_UI_ORIGIN_NOT_ALLOWED",
        "The page's origin is not known to the gateway: add it, exactly as the browser shows it, to \
         gateway.controlUi.allowedOrigins.",
    ),
    (
        "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
        "A page can prove its device only over HTTPS or on localhost: use one of them, such as a tunnel to loopback.",
    ),
    ("CONTROL_UI_BUILD_MISMATCH", "The page is older than the gateway: load it anew."),
    (
        "DEVICE_IDENTITY_REQUIRED",
        "Who shows no device needs the gateway's token or password. `clawgate token` on its machine shows it; pass it \
         with --token or OPENCLAW_GATEWAY_TOKEN.",
    ),
    ("DEVICE_AUTH_SIGNATURE_EXPIRED", "The clocks of this machine and of the gateway are too far apart."),
    ("DEVICE_AUTH_DEVICE_ID_MISMATCH", PROOF),
    ("DEVICE_AUTH_NONCE_REQUIRED", PROOF),
    ("DEVICE_AUTH_NONCE_MISMATCH", PROOF),
    ("DEVICE_AUTH_SIGNATURE_INVALID", PROOF),
    ("DEVICE_AUTH_PUBLIC_KEY_INVALID", PROOF),
    ("DEVICE_AUTH_INVALID", PROOF),
    (
        "PROTOCOL_MISMATCH",
        "This program and the gateway have no protocol in common: update the older of the two.",
    ),
    ("CLIENT_VERSION_MISMATCH", "This program is older than the gateway: update it."),
];

/// By `details.recommendedNextStep`, for codes that are not in the table.
const NEXT_STEPS: &[(&str, &str)] = &[
    ("retry_with_device_token", "Connect once with the gateway's own token or password."),
    (
        "update_auth_configuration",
        "A secret is missing: look at gateway.auth, at the gateway and here (`clawgate doctor` says where this shell takes \
         its secret from).",
    ),
    (
        "update_auth_credentials",
        "A secret is wrong: `clawgate token` on the gateway's machine shows the token; `clawgate doctor` says where this \
         shell takes its own from.",
    ),
    ("wait_then_retry", "Wait a moment, then try again."),
    (
        "review_auth_configuration",
        "Look at gateway.auth on the gateway's machine; `clawgate security audit` there says what it finds.",
    ),
];

/// By how the reason of a close begins.
const CLOSES: &[(&str, &str)] = &[
    (
        "handshake timeout",
        "It waited in vain for the first message. Try again; on a slow machine limits.handshakeTimeoutMs in clawgate.json \
         gives it more time.",
    ),
    ("service restart", "It restarts, and is there again in a moment."),
    ("gateway auth changed", "Its token or password was changed: use the new one."),
    ("device removed", "This device was removed, or its token replaced, at the gateway."),
    ("slow consumer", "This program did not read fast enough what the gateway sent."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refusal(details: Value, retry_after_ms: Option<u64>) -> ResponseError {
        ResponseError {
            code: "INVALID_REQUEST".to_owned(),
            message: "no".to_owned(),
            details: Some(details),
            retryable: None,
            retry_after_ms,
        }
    }

    /// Every code of v4 sections 6.2 to 6.5 and of auth section 8.2.
    #[test]
    fn every_refusal_of_the_specification_says_what_to_do() {
        let codes = "AUTH_REQUIRED AUTH_UNAUTHORIZED AUTH_TOKEN_MISSING AUTH_TOKEN_MISMATCH AUTH_TOKEN_NOT_CONFIGURED \
                     AUTH_PASSWORD_MISSING AUTH_PASSWORD_MISMATCH AUTH_PASSWORD_NOT_CONFIGURED \
                     AUTH_BOOTSTRAP_TOKEN_INVALID AUTH_DEVICE_TOKEN_MISMATCH AUTH_SCOPE_MISMATCH AUTH_RATE_LIMITED \
                     AUTH_TAILSCALE_IDENTITY_MISSING AUTH_TAILSCALE_PROXY_MISSING AUTH_TAILSCALE_WHOIS_FAILED \
                     AUTH_TAILSCALE_IDENTITY_MISMATCH AUTH_IDENTITY_HEADER_REQUIRED AUTH_VERIFIED_USER_REQUIRED \
                     AUTHENTICATED_PROFILE_UNAVAILABLE CONTROL_UI_ORIGIN_NOT_ALLOWED \
                     CONTROL_UI_DEVICE_IDENTITY_REQUIRED CONTROL_UI_BUILD_MISMATCH DEVICE_IDENTITY_REQUIRED \
                     DEVICE_AUTH_INVALID DEVICE_AUTH_DEVICE_ID_MISMATCH DEVICE_AUTH_SIGNATURE_EXPIRED \
                     DEVICE_AUTH_NONCE_REQUIRED DEVICE_AUTH_NONCE_MISMATCH DEVICE_AUTH_SIGNATURE_INVALID \
                     DEVICE_AUTH_PUBLIC_KEY_INVALID PAIRING_REQUIRED PROTOCOL_MISMATCH CLIENT_VERSION_MISMATCH";
        for code in codes.split_whitespace() {
            assert!(!on_refusal(&refusal(json!({ "code": code }), None)).is_empty(), "{code}");
        }
        assert_eq!(on_refusal(&refusal(json!({ "code": "SOMETHING_NEW" }), None)), "");
    }

    #[test]
    fn an_unknown_code_is_answered_by_the_step_that_the_gateway_recommends() {
        for step in [
            "retry_with_device_token",
            "update_auth_configuration",
            "update_auth_credentials",
            "wait_then_retry",
            "review_auth_configuration",
        ] {
            let error = refusal(json!({ "code": "SOMETHING_NEW", "recommendedNextStep": step }), None);
            assert!(!on_refusal(&error).is_empty(), "{step}");
        }
    }

    #[test]
    fn what_depends_on_the_answer_is_in_the_advice() {
        let limited = refusal(json!({ "code": "AUTH_RATE_LIMITED" }), Some(299_500));
        assert!(on_refusal(&limited).ends_with("It takes attempts again in 300 s."));
        let error = refusal(
            json!({ "code": "PAIRING_REQUIRED", "reason": "scope-upgrade", "requestId": "r\u{1b}1" }),
            None,
        );
        let said = on_refusal(&error);
        assert!(said.contains("more than it was approved for"), "{said}");
        assert!(said.ends_with("clawgate devices approve r\u{fffd}1"), "{said}");
        assert!(on_close("gateway auth changed").contains("the new one"));
        assert_eq!(on_close("bye"), "");
    }
}
