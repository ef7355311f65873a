//! What becomes of a node host whose connection ended: when it tries again, and when only a person can help. Pure. A
//! board should come up by itself once somebody at the gateway has approved it, so what a person does *there* is waited
//! for; what is wrong *here* (a token or a pinned certificate that is not the gateway's) ends it, because guessing again locks
//! the address out, and a certificate does not become the right one by itself.

use clawgate_proto::client::ResponseError;
use clawgate_proto::client::policy::{Decision, Means, Reconnect};

/// How a connection ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// Nobody answered; for a person.
    Unreachable(String),
    /// The certificate there is not the one that was pinned.
    Untrusted {
        /// For programs.
        code: &'static str,
        /// For a person, with what to do.
        why: String,
    },
    /// Something that is no gateway answered, or a gateway that has no room (503).
    Http {
        /// Status code.
        status: u16,
        /// The beginning of the first line.
        said: String,
    },
    /// `connect` was refused.
    Refused(Box<ResponseError>),
    /// It closed.
    Lost {
        /// How long this node was in; `None` when it was not.
        open_ms: Option<u64>,
        /// Close code.
        code: u16,
        /// And reason.
        reason: String,
    },
}

/// What happens now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It tries again after this long, milliseconds.
    Again(u64),
    /// A person at the gateway has to approve this device; it asks again after this long, milliseconds.
    Approval(u64),
    /// A person here has to do something.
    GiveUp,
}

/// What has happened so far.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    reconnect: Reconnect,
}

impl Fate {
    /// Whether the next `connect` shows the stored device token beside the token that was refused.
    pub fn wants_stored_device_token(&self) -> bool {
        self.reconnect.wants_stored_device_token()
    }

    /// Decides. Delays double from one second to thirty, and begin anew after a connection that lasted: two hosts with
    /// one identity, of which each pushes the other out, come back more and more slowly.
    pub fn after(&mut self, end: &End, means: Means) -> Next {
        let decision = match end {
            // Whoever asks again and again may in the end trust what stands between.
            End::Untrusted { .. } => return Next::GiveUp,
            End::Unreachable(_) | End::Http { .. } | End::Lost { open_ms: None, .. } => {
                self.reconnect.ended(None, means)
            }
            End::Lost { open_ms: Some(open_ms), .. } => {
                if *open_ms >= LASTING_MS {
                    self.reconnect.connected();
                }
                self.reconnect.ended(None, means)
            }
            End::Refused(error) => match error.detail("code") {
                Some("PAIRING_REQUIRED") => return Next::Approval(APPROVAL_MS),
                Some("AUTH_RATE_LIMITED") => {
                    let asked = error.retry_after_ms.unwrap_or(LOCKED_MS);
                    return Next::Again(asked.clamp(LOCKED_MIN_MS, LOCKED_MAX_MS));
                }
                Some(_) | None => self.reconnect.ended(Some(error), means),
            },
        };
        // A gateway may know better when it is worth trying.
        let asked = match end {
            End::Refused(error) => error.retry_after_ms.unwrap_or(0).min(LOCKED_MAX_MS),
            End::Unreachable(_) | End::Untrusted { .. } | End::Http { .. } | End::Lost { .. } => 0,
        };
        match decision {
            Decision::Retry { after_ms } => Next::Again(after_ms.max(asked)),
            Decision::Stop => Next::GiveUp,
        }
    }
}

/// A connection that lasted this long was a good one.
const LASTING_MS: u64 = 10_000;
/// Between two questions whether somebody has approved.
const APPROVAL_MS: u64 = 15_000;
/// A locked address is told for how long; when not, this long.
const LOCKED_MS: u64 = 60_000;
const LOCKED_MIN_MS: u64 = 10_000;
const LOCKED_MAX_MS: u64 = 15 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ALL: Means = Means { stored_device_token: true, trusted_endpoint: true };

    fn refused(details: Value, retry_after_ms: Option<u64>) -> End {
        End::Refused(Box::new(ResponseError {
            code: "INVALID_REQUEST".to_owned(),
            message: "no".to_owned(),
            details: Some(details),
            retryable: None,
            retry_after_ms,
        }))
    }

    fn lost(open_ms: Option<u64>) -> End {
        End::Lost { open_ms, code: 1006, reason: String::new() }
    }

    #[test]
    fn delays_double_until_a_connection_lasted() {
        let mut fate = Fate::default();
        let away = End::Unreachable("x".to_owned());
        let busy = End::Http { status: 503, said: String::new() };
        for (end, want) in [
            (&away, 1_000),
            (&busy, 2_000),
            (&lost(None), 4_000),
            (&lost(Some(9_999)), 8_000),
            (&lost(Some(0)), 16_000),
            (&away, 30_000),
            (&away, 30_000),
            (&lost(Some(10_000)), 1_000),
            (&away, 2_000),
        ] {
            assert_eq!(fate.after(end, ALL), Next::Again(want), "{end:?}");
        }
    }

    /// Compatibility row node-waits.
    #[test]
    fn what_a_person_at_the_gateway_does_is_waited_for() {
        let mut fate = Fate::default();
        let pairing = refused(json!({"code": "PAIRING_REQUIRED", "requestId": "r"}), None);
        for _ in 0..100 {
            assert_eq!(fate.after(&pairing, ALL), Next::Approval(APPROVAL_MS));
        }
        for (hint, want) in
            [(None, 60_000), (Some(1), 10_000), (Some(90_000), 90_000), (Some(u64::MAX), 900_000)]
        {
            let locked = refused(json!({"code": "AUTH_RATE_LIMITED"}), hint);
            assert_eq!(fate.after(&locked, ALL), Next::Again(want));
        }
    }

    #[test]
    fn what_is_wrong_here_ends_it() {
        for code in [
            "AUTH_TOKEN_MISSING",
            "AUTH_TOKEN_MISMATCH",
            "AUTH_BOOTSTRAP_TOKEN_INVALID",
            "AUTH_PASSWORD_MISSING",
            "AUTH_PASSWORD_MISMATCH",
            "DEVICE_IDENTITY_REQUIRED",
            "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
            "PROTOCOL_MISMATCH",
        ] {
            assert_eq!(
                Fate::default().after(&refused(json!({"code": code}), None), ALL),
                Next::GiveUp,
                "{code}"
            );
        }
        for code in ["DEVICE_AUTH_NONCE_MISMATCH", "SOMETHING_NEW"] {
            assert_eq!(
                Fate::default().after(&refused(json!({"code": code}), None), ALL),
                Next::Again(1_000),
                "{code}"
            );
        }
        let other = End::Untrusted { code: "TLS_FINGERPRINT_MISMATCH", why: String::new() };
        assert_eq!(Fate::default().after(&other, ALL), Next::GiveUp);
        let elsewhere = refused(json!({"code": "NODE_CONNECTED_ELSEWHERE"}), Some(45_000));
        assert_eq!(Fate::default().after(&elsewhere, ALL), Next::Again(45_000));
    }

    #[test]
    fn a_refused_token_gets_one_try_with_the_stored_one() {
        let offer = refused(json!({"code": "AUTH_TOKEN_MISMATCH", "canRetryWithDeviceToken": true}), None);
        let mut fate = Fate::default();
        assert_eq!(fate.after(&offer, ALL), Next::Again(250));
        assert!(fate.wants_stored_device_token());
        assert_eq!(fate.after(&offer, ALL), Next::GiveUp);
    }
}
