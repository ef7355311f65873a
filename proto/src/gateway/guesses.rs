//! Which of the secrets that a `connect` shows are wrong and count (spec: auth section 9).
//!
//! The threat: somebody shows several secrets at once, so that one is looked at and the others are guesses; and since a
//! right secret makes the limiter forget, a wrong one that does not count can be told from it. So every secret that was
//! tried and is wrong counts, once for each kind that it was tried as, whatever came of the others; two different ones
//! in the two places of the shared secret are two. One thing is no
//! guess: a device's own token in the place of the shared secret, where clients put a stored one. Only the store knows
//! whether it is that.

use super::admit;
use super::devices::tokens::TokenFault;
use super::devices::{DeviceStore, Done};
use super::limiter::SecretKind;
use crate::connect::{ConnectParams, ConnectRequest, Proof};
use crate::error::AuthReason;
use crate::secret::Secret;

/// What came of the secrets beside the shared one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// None was shown, or none was looked at: its kind is locked, or the store failed.
    Nothing,
    /// The device token is one of this device that is in force.
    OwnToken,
    /// The device token is none, nor is a setup code beside it one.
    WrongToken,
    /// The setup code is good. A device token beside it was not looked at.
    GoodCode,
    /// The setup code is none, and there was no device token.
    WrongCode,
}

impl Tried {
    /// What the store found. `needs_token` says that the shared secret did not do.
    pub(super) fn of(done: &Done, needs_token: bool) -> Self {
        match done {
            Done::Connected(connected) if connected.by_device_token => Self::OwnToken,
            Done::Connected(connected) if connected.by_setup => Self::GoodCode,
            Done::PairingRequired(pairing) if pairing.by_setup => Self::GoodCode,
            // It is the token that came this far.
            Done::PairingRequired(_) if needs_token => Self::OwnToken,
            Done::TokenRejected { fault: TokenFault::ScopeMismatch, .. } => Self::OwnToken,
            Done::TokenRejected { fault: TokenFault::Mismatch, .. } => Self::WrongToken,
            Done::SetupRejected => Self::WrongCode,
            Done::Connected(_)
            | Done::PairingRequired(_)
            | Done::Failed(_)
            | Done::Listed
            | Done::Approved { .. }
            | Done::Rejected { .. }
            | Done::Removed { .. }
            | Done::Rotated(_)
            | Done::Revoked { .. }
            | Done::Told(_)
            | Done::SetupIssued(_)
            | Done::UpgradeFiled { .. }
            | Done::NodeApproved { .. }
            | Done::NodeAsked { .. }
            | Done::NodeVerified(_) => Self::Nothing,
        }
    }
}

/// Whether a shared secret was compared with the one in force, in vain.
pub(super) fn is_shared_wrong<T>(shared: &Result<T, AuthReason>, params: &ConnectParams) -> bool {
    let was_compared = match shared {
        Err(
            AuthReason::TokenMismatch
            | AuthReason::PasswordMismatch
            // Said of a secret in the other field.
            | AuthReason::TokenMissing
            | AuthReason::PasswordMissing,
        ) => true,
        Ok(_)
        | Err(
            AuthReason::TokenMissingConfig
            | AuthReason::PasswordMissingConfig
            | AuthReason::BootstrapTokenInvalid
            | AuthReason::DeviceTokenMismatch
            | AuthReason::ScopeMismatch
            | AuthReason::RateLimited
            | AuthReason::Tailscale(_)
            | AuthReason::TrustedProxy(_),
        ) => false,
    };
    let auth = &params.auth;
    was_compared && (is_shown(&auth.token) || is_shown(&auth.password))
}

/// The kinds of which a secret counts as wrong. `is_shared_wrong` is what the function of that name says, unless that
/// was counted before.
pub(super) fn wrong(
    params: &ConnectParams,
    is_shared_wrong: bool,
    tried: Tried,
) -> impl Iterator<Item = SecretKind> + use<> {
    let shared = if is_shared_wrong { shared_guesses(params, tried == Tried::OwnToken) } else { 0 };
    let counts = [
        (SecretKind::Device, tried == Tried::WrongToken),
        (
            SecretKind::Setup,
            tried == Tried::WrongCode || (tried == Tried::WrongToken && is_code_shown(params)),
        ),
    ];
    let others = counts.into_iter().filter(|(_, counts)| *counts).map(|(kind, _)| kind);
    core::iter::repeat_n(SecretKind::Shared, shared).chain(others)
}

/// Whether the device token that a `connect` shows is one of its device.
pub(super) fn shows_own_token<K>(devices: &DeviceStore<K>, request: &ConnectRequest) -> bool {
    let (Some(claim), Proof::Good { public_key }) = (&request.params.device, &request.proof) else {
        return false;
    };
    admit::candidate(&request.params)
        .is_some_and(|candidate| devices.is_token_of(&claim.id, public_key, &candidate.token))
}

/// Whether a setup code was shown.
pub(super) fn is_code_shown(params: &ConnectParams) -> bool {
    is_shown(&params.auth.bootstrap_token)
}

/// How many different secrets were shown in the two places of the shared one. `is_own_token` says that the device token
/// is one of this device: in `auth.token` it is no guess.
fn shared_guesses(params: &ConnectParams, is_own_token: bool) -> usize {
    let auth = &params.auth;
    let shown = |secret: &'_ Option<String>| secret.as_deref().and_then(Secret::new);
    let device_token = shown(&auth.device_token);
    // Without `auth.deviceToken` it is `auth.token` that was tried as the device token.
    let is_device_token = |token: &Secret| {
        device_token.as_ref().is_none_or(|device_token| device_token.matches(token.expose()))
    };
    let token = shown(&auth.token).filter(|token| !is_own_token || !is_device_token(token));
    let password = shown(&auth.password);
    match (token, password) {
        (Some(token), Some(password)) if !token.matches(password.expose()) => 2,
        (Some(_), _) | (_, Some(_)) => 1,
        (None, None) => 0,
    }
}

fn is_shown(secret: &Option<String>) -> bool {
    secret.as_deref().and_then(Secret::new).is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use SecretKind::{Device, Setup, Shared};
    use serde_json::json;
    use serde_json::value::to_raw_value;

    /// A `connect` with these in `token`, `password`, `deviceToken` and `bootstrapToken`.
    fn shows(token: &str, password: &str, device_token: &str, code: &str) -> ConnectParams {
        let client = json!({"id": "cli", "mode": "cli", "version": "1", "platform": "linux"});
        let params = json!({"minProtocol": 4, "maxProtocol": 4, "client": client, "auth": {}});
        let mut params = ConnectParams::parse(Some(&to_raw_value(&params).unwrap())).unwrap();
        let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        params.auth.token = set(token);
        params.auth.password = set(password);
        params.auth.device_token = set(device_token);
        params.auth.bootstrap_token = set(code);
        params
    }

    #[test]
    fn every_secret_that_was_tried_and_is_wrong_counts_for_each_kind() {
        for (shown, tried, want) in [
            (["a", "", "", ""], Tried::Nothing, &[Shared][..]),
            (["", "a", "", ""], Tried::Nothing, &[Shared]),
            // Two secrets are two guesses, one in both places is one.
            (["a", "b", "", ""], Tried::Nothing, &[Shared, Shared]),
            (["a", " a", "", ""], Tried::Nothing, &[Shared]),
            (["a", "b", "", ""], Tried::WrongToken, &[Shared, Shared, Device]),
            (["a", "b", "a", ""], Tried::OwnToken, &[Shared]),
            (["a", "b", "c", ""], Tried::OwnToken, &[Shared, Shared]),
            (["", "", "a", ""], Tried::WrongToken, &[Device]),
            (["a", "", "", ""], Tried::WrongToken, &[Shared, Device]),
            (["a", "", "b", "c"], Tried::WrongToken, &[Shared, Device, Setup]),
            (["", "", "", "c"], Tried::WrongCode, &[Setup]),
            (["", "a", "", "c"], Tried::WrongCode, &[Shared, Setup]),
            // A good one beside a guess makes the guess no better.
            (["a", "", "b", ""], Tried::OwnToken, &[Shared]),
            (["", "a", "b", ""], Tried::OwnToken, &[Shared]),
            (["a", "", "", "c"], Tried::GoodCode, &[Shared]),
            (["a", "", "a", "c"], Tried::GoodCode, &[Shared]),
            // The store did not say whose it is.
            (["a", "", "a", ""], Tried::Nothing, &[Shared]),
            // A stored token, as clients send it.
            (["a", "", "", ""], Tried::OwnToken, &[]),
            (["a", "", "a", ""], Tried::OwnToken, &[]),
            (["", "", "a", ""], Tried::OwnToken, &[]),
            ([" ", "\t", "a", ""], Tried::OwnToken, &[]),
        ] {
            let params = shows(shown[0], shown[1], shown[2], shown[3]);
            let is_wrong = is_shared_wrong::<()>(&Err(AuthReason::TokenMismatch), &params);
            let found: Vec<SecretKind> = wrong(&params, is_wrong, tried).collect();
            assert_eq!(found, want, "{shown:?} {tried:?}");
            let right: Vec<SecretKind> = wrong(&params, is_shared_wrong(&Ok(()), &params), tried).collect();
            assert!(!right.contains(&Shared), "{shown:?} {tried:?}");
        }
    }
}
