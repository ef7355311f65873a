//! When a client comes back after its connection ended, and with which credentials (spec: v4 sections 6.1, 6.4,
//! 7.1 and 15; handshake section 17). Pure: it holds a few numbers and answers with delays.

use super::ResponseError;
use crate::connect::Credentials;
use serde_json::Value;

/// The reconnect policy of one client. Ask it once after each connection that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconnect {
    /// Attempts in a row that did not reach hello-ok.
    failed_in_a_row: u32,
    retry: DeviceTokenRetry,
}

/// The one extra attempt with a stored device token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum DeviceTokenRetry {
    #[default]
    Unused,
    Pending,
    Used,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Connect again after this long.
    Retry {
        /// Milliseconds from now.
        after_ms: u64,
    },
    /// Only a person can help: another attempt would fail in the same way.
    Stop,
}

/// What the client has to prove itself with, beyond its device key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Means {
    /// A device token is stored for this gateway and role.
    pub stored_device_token: bool,
    /// The endpoint is loopback, or TLS with a pinned certificate: only there may a stored token follow a
    /// refused one.
    pub trusted_endpoint: bool,
}

impl Reconnect {
    /// Nothing failed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// hello-ok arrived: delays begin at one second again, and the extra attempt is available again.
    pub fn connected(&mut self) {
        *self = Self::default();
    }

    /// Whether the next `connect` is the one extra attempt, with the stored device token beside the explicit one.
    pub fn wants_stored_device_token(&self) -> bool {
        self.retry == DeviceTokenRetry::Pending
    }

    /// A connection ended. `refusal` is the answer to `connect` when that was a failure; `None` when an admitted
    /// connection closed, or one that had no answer yet.
    pub fn ended(&mut self, refusal: Option<&ResponseError>, means: Means) -> Decision {
        let retried = self.retry == DeviceTokenRetry::Pending;
        if retried {
            self.retry = DeviceTokenRetry::Used;
        }
        let Some(error) = refusal else { return self.back_off() };
        let code = error.detail("code");
        let may_retry = self.retry == DeviceTokenRetry::Unused
            && means.stored_device_token
            && means.trusted_endpoint
            && offers_device_token_retry(error);
        if may_retry {
            self.retry = DeviceTokenRetry::Pending;
            return Decision::Retry { after_ms: DEVICE_TOKEN_RETRY_MS };
        }
        if code.is_some_and(is_terminal) && !asks_to_wait(error) {
            return Decision::Stop;
        }
        if let Some(after_ms) = starting(error) {
            return Decision::Retry { after_ms };
        }
        self.back_off()
    }

    fn back_off(&mut self) -> Decision {
        let doubled = DELAY_FIRST_MS.saturating_mul(1 << self.failed_in_a_row.min(16));
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        Decision::Retry { after_ms: doubled.min(DELAY_MAX_MS) }
    }
}

/// Puts `connect.auth` together as the reference client does: an explicit credential wins; a stored device token
/// goes into both fields when it is all there is, and beside the explicit token only in the extra attempt
/// ([`Reconnect::wants_stored_device_token`]); a bootstrap token counts only when there is nothing else.
pub fn credentials(explicit: &Credentials, stored: Option<&str>, with_stored: bool) -> Credentials {
    let stored = stored.map(str::to_owned);
    let explicit_secret = explicit.token.is_some() || explicit.password.is_some();
    let mut auth = Credentials {
        token: explicit.token.clone(),
        bootstrap_token: None,
        device_token: explicit.device_token.clone(),
        password: explicit.password.clone(),
    };
    if auth.device_token.is_none() && (with_stored || !explicit_secret) {
        auth.device_token = stored;
    }
    if !explicit_secret {
        auth.token = auth.device_token.clone();
    }
    if !explicit_secret && auth.device_token.is_none() {
        auth.bootstrap_token = explicit.bootstrap_token.clone();
    }
    auth
}

/// Whether a stored device token should be forgotten after this close (handshake section 17: the reason's text
/// decides, in any case).
pub fn forgets_device_token(explicit: &Credentials, code: u16, reason: &str) -> bool {
    code == 1008
        && explicit.token.is_none()
        && explicit.password.is_none()
        && reason.to_ascii_lowercase().contains("device token mismatch")
}

/// Whether repeating a `connect` that was refused with this `details.code` is useless.
pub fn is_terminal(code: &str) -> bool {
    TERMINAL.contains(&code)
}

/// While a gateway starts or restarts: its own hint, kept inside sane bounds. Such a refusal is no failure and
/// does not lengthen the delays.
fn starting(error: &ResponseError) -> Option<u64> {
    let reason = error.detail("reason")?;
    let known = matches!(reason, "startup-sidecars" | "gateway-restarting" | "gateway-suspending");
    (error.code == "UNAVAILABLE" && known)
        .then(|| error.retry_after_ms.unwrap_or(STARTING_DEFAULT_MS).clamp(STARTING_MIN_MS, STARTING_MAX_MS))
}

fn offers_device_token_retry(error: &ResponseError) -> bool {
    error.detail("code") == Some("AUTH_TOKEN_MISMATCH")
        && (error.detail_value("canRetryWithDeviceToken") == Some(&Value::Bool(true))
            || error.detail("recommendedNextStep") == Some("retry_with_device_token"))
}

/// A gateway that will decide soon without a person at this client says so (v4 section 6.5).
fn asks_to_wait(error: &ResponseError) -> bool {
    error.detail("code") == Some("PAIRING_REQUIRED")
        && error.detail("recommendedNextStep") == Some("wait_then_retry")
        && error.detail_value("retryable") == Some(&Value::Bool(true))
        && error.detail_value("pauseReconnect") == Some(&Value::Bool(false))
}

/// v4 section 6.4. `AUTH_TOKEN_MISMATCH` gets here only when its extra attempt is used up or impossible.
const TERMINAL: [&str; 16] = [
    "AUTH_TOKEN_MISSING",
    "AUTH_TOKEN_MISMATCH",
    "AUTH_BOOTSTRAP_TOKEN_INVALID",
    "AUTH_PASSWORD_MISSING",
    "AUTH_PASSWORD_MISMATCH",
    "AUTH_RATE_LIMITED",
    "AUTH_DEVICE_TOKEN_MISMATCH",
    "AUTH_SCOPE_MISMATCH",
    "AUTH_IDENTITY_HEADER_REQUIRED",
    "AUTH_VERIFIED_USER_REQUIRED",
    "CONTROL_UI_BUILD_MISMATCH",
    "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
    "DEVICE_IDENTITY_REQUIRED",
    "PAIRING_REQUIRED",
    "PROTOCOL_MISMATCH",
    "CLIENT_VERSION_MISMATCH",
];
const DELAY_FIRST_MS: u64 = 1_000;
const DELAY_MAX_MS: u64 = 30_000;
const DEVICE_TOKEN_RETRY_MS: u64 = 250;
const STARTING_DEFAULT_MS: u64 = 500;
const STARTING_MIN_MS: u64 = 100;
const STARTING_MAX_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(code: &str, details: Value) -> ResponseError {
        ResponseError {
            code: code.to_owned(),
            message: "no".to_owned(),
            details: Some(details),
            retryable: None,
            retry_after_ms: None,
        }
    }

    fn retry(after_ms: u64) -> Decision {
        Decision::Retry { after_ms }
    }

    const ALL: Means = Means { stored_device_token: true, trusted_endpoint: true };

    #[test]
    fn delays_double_up_to_thirty_seconds_and_hello_resets_them() {
        let mut policy = Reconnect::new();
        for expected in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert_eq!(policy.ended(None, ALL), retry(expected));
        }
        for _ in 0..100 {
            assert_eq!(policy.ended(None, ALL), retry(30_000));
        }
        policy.connected();
        assert_eq!(policy.ended(None, ALL), retry(1_000));
    }

    #[test]
    fn terminal_codes_stop_and_others_do_not() {
        for code in TERMINAL {
            let error = refusal("INVALID_REQUEST", json!({ "code": code }));
            assert_eq!(Reconnect::new().ended(Some(&error), Means::default()), Decision::Stop, "{code}");
        }
        for code in ["DEVICE_AUTH_NONCE_MISMATCH", "AUTH_UNAUTHORIZED", "SOMETHING_NEW"] {
            let error = refusal("INVALID_REQUEST", json!({ "code": code }));
            assert_eq!(Reconnect::new().ended(Some(&error), ALL), retry(1_000), "{code}");
        }
        let bare = ResponseError { details: None, ..refusal("UNAVAILABLE", Value::Null) };
        assert_eq!(Reconnect::new().ended(Some(&bare), ALL), retry(1_000));
    }

    #[test]
    fn pairing_that_needs_no_person_here_is_waited_for() {
        let wait = json!({ "code": "PAIRING_REQUIRED", "recommendedNextStep": "wait_then_retry",
            "retryable": true, "pauseReconnect": false });
        assert_eq!(Reconnect::new().ended(Some(&refusal("NOT_PAIRED", wait.clone())), ALL), retry(1_000));
        for key in ["recommendedNextStep", "retryable", "pauseReconnect"] {
            let mut less = wait.clone();
            less[key] = Value::Null;
            assert_eq!(
                Reconnect::new().ended(Some(&refusal("NOT_PAIRED", less)), ALL),
                Decision::Stop,
                "{key}"
            );
        }
    }

    #[test]
    fn a_starting_gateway_sets_the_delay_within_bounds_and_does_not_lengthen_the_others() {
        let mut policy = Reconnect::new();
        let mut error = refusal("UNAVAILABLE", json!({ "reason": "startup-sidecars" }));
        for (hint, expected) in
            [(None, 500), (Some(0), 100), (Some(700), 700), (Some(2_001), 2_000), (Some(u64::MAX), 2_000)]
        {
            error.retry_after_ms = hint;
            assert_eq!(policy.ended(Some(&error), ALL), retry(expected));
        }
        assert_eq!(policy.ended(None, ALL), retry(1_000));
    }

    #[test]
    fn a_refused_token_gets_one_extra_attempt_with_the_stored_one() {
        let offer = json!({ "code": "AUTH_TOKEN_MISMATCH", "canRetryWithDeviceToken": true });
        let error = refusal("INVALID_REQUEST", offer);
        let mut policy = Reconnect::new();
        assert_eq!(policy.ended(Some(&error), ALL), retry(250));
        assert!(policy.wants_stored_device_token());
        assert_eq!(policy.ended(Some(&error), ALL), Decision::Stop);
        assert!(!policy.wants_stored_device_token());
        policy.connected();
        assert_eq!(policy.ended(Some(&error), ALL), retry(250));
    }

    #[test]
    fn the_extra_attempt_needs_an_offer_a_stored_token_and_a_trusted_endpoint() {
        let offer = refusal(
            "INVALID_REQUEST",
            json!({ "code": "AUTH_TOKEN_MISMATCH", "canRetryWithDeviceToken": true }),
        );
        for means in [Means { stored_device_token: false, ..ALL }, Means { trusted_endpoint: false, ..ALL }] {
            assert_eq!(Reconnect::new().ended(Some(&offer), means), Decision::Stop);
        }
        let none = refusal(
            "INVALID_REQUEST",
            json!({ "code": "AUTH_TOKEN_MISMATCH", "canRetryWithDeviceToken": false }),
        );
        assert_eq!(Reconnect::new().ended(Some(&none), ALL), Decision::Stop);
    }

    #[test]
    fn credentials_follow_the_reference_client() {
        let none = Credentials::default();
        let token = Credentials { token: Some("t".to_owned()), ..none.clone() };
        let setup = Credentials { bootstrap_token: Some("b".to_owned()), ..none.clone() };
        let shape = |auth: Credentials| (auth.token, auth.device_token, auth.bootstrap_token);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(shape(credentials(&none, None, false)), (None, None, None));
        assert_eq!(shape(credentials(&none, Some("d"), false)), (some("d"), some("d"), None));
        assert_eq!(shape(credentials(&token, Some("d"), false)), (some("t"), None, None));
        assert_eq!(shape(credentials(&token, Some("d"), true)), (some("t"), some("d"), None));
        assert_eq!(shape(credentials(&setup, None, false)), (None, None, some("b")));
        assert_eq!(shape(credentials(&setup, Some("d"), false)), (some("d"), some("d"), None));
    }

    #[test]
    fn a_stored_token_is_forgotten_only_when_it_was_the_one_refused() {
        let none = Credentials::default();
        let reason = "unauthorized: Device Token Mismatch (rotate/reissue device token)";
        assert!(forgets_device_token(&none, 1008, reason));
        assert!(!forgets_device_token(&none, 1000, reason));
        assert!(!forgets_device_token(&none, 1008, "unauthorized"));
        let token = Credentials { token: Some("t".to_owned()), ..none };
        assert!(!forgets_device_token(&token, 1008, reason));
    }
}
