//! Device tokens: who may come in with one, when one is issued, rotated, revoked (spec: pairing section 6, v4
//! section 6.7).
//!
//! A token stands for one device in one role and never reaches further than the device's approval. It is shown
//! only to the device it belongs to.

use super::pairing::ConnectOp;
use super::transaction::{Draft, Weight, approved_roles, baseline, token};
use super::{Caller, DeviceError, OPERATOR, Rotated, Step, rule_of};
use crate::admission::IssuedToken;
use crate::scope::Scopes;
use crate::secret::Secret;
use crate::store::{DeviceToken, PairedDevice};

/// Why a device token did not open the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenFault {
    /// Unknown device, no live token for it, or another token.
    Mismatch,
    /// The token is this device's, but not for this role or these scopes.
    ScopeMismatch,
}

/// Checks a device token against the store.
///
/// # Errors
/// Which of the two ways it fails.
pub(super) fn verify(
    device: Option<&PairedDevice>,
    op: &ConnectOp,
    candidate: &Secret,
) -> Result<(), TokenFault> {
    let device = device.filter(|device| device.public_key == op.public_key).ok_or(TokenFault::Mismatch)?;
    let role = op.role.as_str();
    let mut own = None;
    let mut other = false;
    // Every entry is compared, so that the time taken does not tell which one came close.
    for (name, entry) in device.tokens.iter().flatten() {
        let right = candidate.matches(&entry.token) && entry.revoked_at_ms.is_none();
        if name == role {
            own = right.then_some(entry);
        } else {
            other |= right;
        }
    }
    let Some(entry) = own else {
        return Err(if other { TokenFault::ScopeMismatch } else { TokenFault::Mismatch });
    };
    let scopes = Scopes::new(&entry.scopes);
    let within = baseline(device).first_uncovered(op.role, &scopes).is_none();
    let covered = scopes.first_uncovered(op.role, &op.scopes).is_none();
    if within && covered { Ok(()) } else { Err(TokenFault::ScopeMismatch) }
}

/// Notes that a token was used; not worth a write.
pub(super) fn note_use(draft: &mut Draft<'_>, device_id: &str, role: &str, step: &Step<'_>) {
    let Some(device) = draft.device(device_id) else { return };
    let mut device = (**device).clone();
    if let Some(entry) = device.tokens.as_mut().and_then(|tokens| tokens.get_mut(role)) {
        entry.last_used_at_ms = Some(step.now_ms);
        draft.set_device(device_id, device, Weight::Soft);
    }
}

/// The token of a paired device for its role: the one it has when that one covers the request, else a new one
/// that covers both. `None` when the request reaches beyond the approval.
pub(super) fn ensure(draft: &mut Draft<'_>, op: &ConnectOp, step: &mut Step<'_>) -> Option<IssuedToken> {
    let device = draft.device(&op.device_id)?;
    let baseline = baseline(device);
    if baseline.first_uncovered(op.role, &op.scopes).is_some() {
        return None;
    }
    let role = op.role.as_str();
    let mut scopes = op.scopes.clone();
    if let Some(entry) = token(device, role).filter(|entry| is_live(entry)) {
        let have = Scopes::new(&entry.scopes);
        let within = baseline.first_uncovered(op.role, &have).is_none();
        if within && have.first_uncovered(op.role, &op.scopes).is_none() {
            return Some(issued(entry));
        }
        if within {
            // Kept, or two clients of one device that ask for different scopes rotate each other out for ever.
            scopes = have.union(&op.scopes);
        }
    }
    let mut device = (**device).clone();
    let entry = renew(&mut device, role, &scopes, step);
    draft.set_device(&op.device_id, device, Weight::Hard);
    Some(issued(&entry))
}

/// Puts a new token for `role` into the record. Its creation time is that of the first one.
pub(super) fn renew(
    device: &mut PairedDevice,
    role: &str,
    scopes: &Scopes,
    step: &mut Step<'_>,
) -> DeviceToken {
    let tokens = device.tokens.get_or_insert_default();
    let old = tokens.get(role);
    let entry = DeviceToken {
        token: step.random.token(),
        role: role.to_owned(),
        scopes: scopes.sorted(),
        created_at_ms: old.map_or(step.now_ms, |old| old.created_at_ms),
        rotated_at_ms: old.map(|_| step.now_ms),
        revoked_at_ms: None,
        last_used_at_ms: old.and_then(|old| old.last_used_at_ms),
        other: old.map(|old| old.other.clone()).unwrap_or_default(),
    };
    tokens.insert(role.to_owned(), entry.clone());
    entry
}

/// Replaces a token. The new one is shown to the device it belongs to and to nobody else.
pub(super) fn rotate(
    draft: &mut Draft<'_>,
    device_id: &str,
    role: &str,
    asked: Option<&[String]>,
    caller: &Caller,
    step: &mut Step<'_>,
) -> Result<Rotated, DeviceError> {
    let device = draft.device(device_id).ok_or(DeviceError::UnknownDeviceOrRole)?;
    let have = token(device, role);
    let target = match (asked, have) {
        (Some(asked), _) => Scopes::new(asked),
        (None, Some(entry)) => Scopes::new(&entry.scopes),
        (None, None) => baseline(device),
    };
    let target = Scopes::new(target.sorted());
    let rule = rule_of(role);
    // GHSA-4jpw-hj22-2xmc: nobody mints more than they hold.
    if let Some(scope) = caller.scopes.first_uncovered(rule, &target) {
        return Err(DeviceError::MissingScope(scope.to_owned()));
    }
    let has_role = have.is_some() || approved_roles(device).iter().any(|have| have == role);
    if !has_role || baseline(device).first_uncovered(rule, &target).is_some() {
        return Err(DeviceError::UnknownDeviceOrRole);
    }
    let mut device = (**device).clone();
    let entry = renew(&mut device, role, &target, step);
    draft.set_device(device_id, device, Weight::Hard);
    // Callers are operators, so only an operator's token can be the one that let the caller in.
    let own = role == OPERATOR && caller.by_device_token && caller.device_id.as_deref() == Some(device_id);
    Ok(Rotated {
        device_id: device_id.to_owned(),
        role: role.to_owned(),
        scopes: entry.scopes.clone(),
        rotated_at_ms: step.now_ms,
        token: if own { Secret::new(&entry.token) } else { None },
    })
}

/// Revokes a token; the entry stays. Repeating it moves its time.
pub(super) fn revoke(
    draft: &mut Draft<'_>,
    device_id: &str,
    role: &str,
    now_ms: u64,
) -> Result<(), DeviceError> {
    let device = draft.device(device_id).ok_or(DeviceError::UnknownDeviceOrRole)?;
    let mut device = (**device).clone();
    let entry = device.tokens.as_mut().and_then(|tokens| tokens.get_mut(role));
    entry.ok_or(DeviceError::UnknownDeviceOrRole)?.revoked_at_ms = Some(now_ms);
    draft.set_device(device_id, device, Weight::Hard);
    Ok(())
}

/// Whether a token may still be used.
pub(super) fn is_live(entry: &DeviceToken) -> bool {
    entry.revoked_at_ms.is_none() && !entry.token.trim().is_empty()
}

pub(super) fn issued(entry: &DeviceToken) -> IssuedToken {
    IssuedToken {
        token: entry.token.clone(),
        scopes: entry.scopes.clone(),
        issued_at_ms: entry.rotated_at_ms.unwrap_or(entry.created_at_ms),
    }
}
