//! Pairing at connect, and the decisions about pending requests (spec: v4 sections 6.5 and 6.6, pairing sections
//! 4 and 5).
//!
//! Threat model: the peer owns the key of `device_id` and passed auth, nothing else about it is known. What it
//! asks for is granted when a person approved it for this device, or when it sits on this machine and the table
//! in [`is_silent`] says so. A page is on this machine too, whoever wrote it: it needs our own origin and the
//! shared secret. A device token never widens what it stands for.

use super::setup::{Grant, Redeemed};
use super::transaction::{Draft, Weight, approved_roles, baseline, token};
use super::{DeviceError, Done, Notice, OPERATOR, Step};
use super::{nodes, setup, tokens};
use crate::admission::IssuedToken;
use crate::log::{Level, Record};
use crate::scope::{ADMIN, Role, Scopes};
use crate::secret::Secret;
use crate::store::{PairedDevice, PendingRequest, Seen};
use std::sync::Arc;

/// A device that proved its key wants in.
#[derive(Clone, Debug)]
pub(crate) struct ConnectOp {
    /// Hex SHA-256 of the key.
    pub(crate) device_id: String,
    /// The key in canonical form.
    pub(crate) public_key: String,
    /// Asked role.
    pub(crate) role: Role,
    /// Asked scopes.
    pub(crate) scopes: Scopes,
    /// What it says about itself.
    pub(crate) client: DeviceClient,
    /// The reported address: absent for local clients.
    pub(crate) remote_ip: Option<String>,
    /// Where it stands.
    pub(crate) locality: Locality,
    /// The device token to try; absent when auth succeeded without one.
    pub(crate) candidate: Option<Candidate>,
    /// The setup code to try, before anything else.
    pub(crate) setup: Option<Secret>,
    /// Whether nothing else would let it in.
    pub(crate) needs_setup: bool,
    /// What a node says that it offers.
    pub(crate) declared: Option<Box<nodes::Declared>>,
    /// Whether this connection needs no pairing: it is answered without the store, and gets no token.
    pub(crate) exempt: bool,
}

/// What a device says about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeviceClient {
    /// Client id.
    pub(crate) id: String,
    /// Client mode.
    pub(crate) mode: String,
    /// Name for people.
    pub(crate) display_name: Option<String>,
    /// As sent.
    pub(crate) platform: Option<String>,
    /// As sent.
    pub(crate) device_family: Option<String>,
}

impl DeviceClient {
    /// Whether it says that it is the Control UI or a web chat page.
    fn is_page(&self) -> bool {
        self.id == "openclaw-control-ui" || self.id == "webchat-ui" || self.mode == "webchat"
    }
}

/// Verified facts on which approval without a person rests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Locality {
    /// A loopback peer, without evidence of forwarding.
    pub(crate) local: bool,
    /// Whether such peers pair without a person.
    pub(crate) local_pairs: bool,
    /// From an address where new nodes do, with the shared secret proved.
    pub(crate) from_node_range: bool,
    /// The upgrade carried an `Origin`.
    pub(crate) origin_present: bool,
    /// The page came from the gateway's own origin, on loopback, and proved the shared secret.
    pub(crate) own_origin_page: bool,
    /// It says that it is an app rather than a page or a tool; only metadata changes ask.
    pub(crate) native_app: bool,
    /// Auth succeeded as none, token or password.
    pub(crate) shared_or_none: bool,
}

/// A device token offered at connect.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The token.
    pub(crate) token: Secret,
    /// Sent as `auth.deviceToken`; else `auth.token`, tried as one.
    pub(crate) explicit: bool,
}

/// An admitted device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connected {
    /// The token of its role.
    pub(crate) token: Option<IssuedToken>,
    /// Whether a device token let it in.
    pub(crate) by_device_token: bool,
    /// Whether a setup code let it in.
    pub(crate) by_setup: bool,
    /// The code that it spent, when one is known by name.
    pub(crate) redeemed: Option<Redeemed>,
    /// Tokens of other roles that the code was for.
    pub(crate) handoff: Vec<(String, IssuedToken)>,
    /// The pinned platform, which stands for the claimed one.
    pub(crate) platform: Option<String>,
    /// The pinned device family.
    pub(crate) device_family: Option<String>,
}

/// Somebody must approve first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairingRequired {
    /// Why.
    pub(crate) reason: PairingReason,
    /// The request that waits.
    pub(crate) request_id: String,
    /// The device.
    pub(crate) device_id: String,
    /// What this connect asked for.
    pub(crate) role: Role,
    /// What this connect asked for.
    pub(crate) scopes: Scopes,
    /// What was approved before; empty for a new device.
    pub(crate) approved_roles: Vec<String>,
    /// What was approved before; empty for a new device.
    pub(crate) approved_scopes: Vec<String>,
    /// Whether it showed a good setup code.
    pub(crate) by_setup: bool,
}

/// Why a device must be approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PairingReason {
    /// Unknown device.
    NotPaired,
    /// Platform or device family changed.
    MetadataUpgrade,
    /// A role it was not approved for.
    RoleUpgrade,
    /// Scopes it was not approved for.
    ScopeUpgrade,
}

impl PairingReason {
    /// The wire name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotPaired => "not-paired",
            Self::MetadataUpgrade => "metadata-upgrade",
            Self::RoleUpgrade => "role-upgrade",
            Self::ScopeUpgrade => "scope-upgrade",
        }
    }
}

/// Decides a connect: the device token if one is offered, then pairing, then the token of the role.
pub(super) fn connect(draft: &mut Draft<'_>, op: &ConnectOp, step: &mut Step<'_>) -> Done {
    let grant = op.setup.as_ref().and_then(|shown| setup::verify(draft, op, shown));
    let candidate = op.candidate.as_ref().filter(|_| grant.is_none());
    match candidate {
        Some(candidate) => {
            let device = draft.device(&op.device_id).map(|device| &**device);
            if let Err(fault) = tokens::verify(device, op, &candidate.token) {
                return Done::TokenRejected { fault, explicit: candidate.explicit };
            }
        }
        None if grant.is_none() && op.needs_setup => return Done::SetupRejected,
        None => {}
    }
    let reasons = reasons(known(draft, op), op);
    let (mut handoff, mut by_code, mut by_address) = (Vec::new(), false, false);
    let approved_silently = match (reasons.first(), &grant) {
        (None, _) => {
            refresh(draft, op, step);
            false
        }
        (Some(_), Some(grant)) if grant.opens(draft, op, &reasons) => match grant.approve(draft, op, step) {
            Ok(others) => {
                (handoff, by_code) = (others, true);
                true
            }
            Err(error) => return Done::Failed(error),
        },
        (Some(_), _) if approves_itself(draft, op, &reasons, grant.as_ref()) => {
            by_address = !is_placed(op);
            if let Err(error) = approve_silently(draft, op, step) {
                return Done::Failed(error);
            }
            true
        }
        (Some(&reason), _) => return require(draft, op, reason, grant.as_ref(), step),
    };
    let token = tokens::ensure(draft, op, step);
    if candidate.is_some() {
        tokens::note_use(draft, &op.device_id, op.role.as_str(), step);
    }
    let by_device_token = candidate.is_some();
    let redeemed = grant.as_ref().and_then(|grant| grant.spend(draft, op));
    let silent = approved_silently || draft.seen(&op.device_id).is_some_and(|seen| seen.silent);
    draft.set_seen(&op.device_id, Seen { at_ms: step.now_ms, reason: "connect", silent });
    if let Some(declared) = &op.declared {
        // Where it comes from lets a device in. What it offers is a person's to approve, by any protocol.
        let covers = by_code || (declared.is_covered && !by_address);
        nodes::declare(draft, op, declared, (by_code, covers), silent, step);
    }
    let device = known(draft, op);
    Done::Connected(Box::new(Connected {
        token,
        by_device_token,
        by_setup: grant.is_some(),
        redeemed,
        handoff,
        platform: device.and_then(|device| pinned(&device.platform)),
        device_family: device.and_then(|device| pinned(&device.device_family)),
    }))
}

/// The record of this device, when it holds the key that was proved.
fn known<'a>(draft: &'a Draft<'_>, op: &ConnectOp) -> Option<&'a Arc<PairedDevice>> {
    draft.device(&op.device_id).filter(|device| device.public_key == op.public_key)
}

/// Everything this connect would need an approval for; the first one is the reason that is named.
fn reasons(device: Option<&Arc<PairedDevice>>, op: &ConnectOp) -> Vec<PairingReason> {
    let Some(device) = device else { return vec![PairingReason::NotPaired] };
    let mut reasons = Vec::new();
    if fit(&device.platform, &op.client.platform, &op.client) == Fit::Changed
        || fit(&device.device_family, &op.client.device_family, &op.client) == Fit::Changed
    {
        reasons.push(PairingReason::MetadataUpgrade);
    }
    if !approved_roles(device).iter().any(|role| role == op.role.as_str()) {
        reasons.push(PairingReason::RoleUpgrade);
    }
    if baseline(device).first_uncovered(op.role, &op.scopes).is_some() {
        reasons.push(PairingReason::ScopeUpgrade);
    }
    reasons
}

/// Whether no person is needed: every reason allows it, and no request of this device waits for one already.
fn approves_itself(
    draft: &Draft<'_>,
    op: &ConnectOp,
    reasons: &[PairingReason],
    grant: Option<&Grant>,
) -> bool {
    let paired = draft.device(&op.device_id).is_some();
    reasons.iter().all(|reason| is_silent(*reason, op, paired, grant))
        && !draft.requests().any(|(_, request)| request.device_id == op.device_id && !request.silent)
}

/// The table of v4 section 6.6, narrowed by R8: a page needs our own origin and the shared secret. All reasons
/// of a connect must pass, so a changed platform does not carry wider scopes in with it.
fn is_silent(reason: PairingReason, op: &ConnectOp, paired: bool, grant: Option<&Grant>) -> bool {
    let at = &op.locality;
    let place = is_placed(op);
    let node_of_known_device = paired && op.role != Role::Operator;
    match reason {
        // A code that says nothing of what it opens opens nothing by itself.
        PairingReason::NotPaired if place => !node_of_known_device && grant.is_none_or(Grant::is_bound),
        PairingReason::NotPaired => {
            let is_fresh_node = !paired && op.role == Role::Node && op.scopes.is_empty();
            is_fresh_node && at.from_node_range && !at.origin_present && grant.is_none()
        }
        PairingReason::RoleUpgrade | PairingReason::ScopeUpgrade => {
            place && at.shared_or_none && op.candidate.is_none() && grant.is_none() && !node_of_known_device
        }
        PairingReason::MetadataUpgrade => {
            // The name of an app is only said: what counts is the place, and the secret that a device token is not.
            let proved = at.shared_or_none && op.candidate.is_none() && grant.is_none();
            place && proved && at.native_app && !at.origin_present && !op.client.is_page()
        }
    }
}

/// Whether it sits where devices pair without a person.
fn is_placed(op: &ConnectOp) -> bool {
    let at = &op.locality;
    at.local && at.local_pairs && (!at.origin_present || (at.own_origin_page && op.client.is_page()))
}

/// Approves exactly what this connect asks for. Nothing touches `pending.json`, unless a request that needed no
/// person was left there.
fn approve_silently(draft: &mut Draft<'_>, op: &ConnectOp, step: &mut Step<'_>) -> Result<(), DeviceError> {
    let paired = known(draft, op).is_some();
    let request = new_request(op, paired, true, step);
    approve_silently_as(draft, &request, step)
}

/// Approves this request, which nobody was asked about, and whatever else its device asked for is no more.
pub(super) fn approve_silently_as(
    draft: &mut Draft<'_>,
    request: &PendingRequest,
    step: &mut Step<'_>,
) -> Result<(), DeviceError> {
    approve_request(draft, request, step)?;
    for left in requests_of(draft, &request.device_id) {
        draft.remove_request(&left);
    }
    step.say(Notice::Resolved {
        request_id: request.request_id.clone(),
        device_id: request.device_id.clone(),
        approved: true,
        ts: step.now_ms,
    });
    Ok(())
}

/// Files a request, or finds the one that waits already, and says that somebody must decide.
fn require(
    draft: &mut Draft<'_>,
    op: &ConnectOp,
    reason: PairingReason,
    grant: Option<&Grant>,
    step: &mut Step<'_>,
) -> Done {
    // Nobody else can use the code while its bearer waits; it is spent when that one is let in.
    if let Some(grant) = grant {
        grant.bind(draft, op);
    }
    let device = known(draft, op);
    let (approved_roles, approved_scopes) = match device {
        Some(device) => (approved_roles(device), baseline(device).as_slice().to_vec()),
        None => (Vec::new(), Vec::new()),
    };
    let paired = draft.device(&op.device_id).is_some();
    let fresh = new_request(op, paired, false, step);
    let request_id = ask(draft, fresh, step);
    Done::PairingRequired(Box::new(PairingRequired {
        reason,
        request_id,
        device_id: op.device_id.clone(),
        role: op.role,
        scopes: op.scopes.clone(),
        approved_roles,
        approved_scopes,
        by_setup: grant.is_some(),
    }))
}

/// Files a request, or joins it to the one of the same device that waits already. Gives the id a person decides about.
pub(super) fn ask(draft: &mut Draft<'_>, fresh: PendingRequest, step: &mut Step<'_>) -> String {
    let waiting = draft.requests().find(|(_, request)| request.device_id == fresh.device_id);
    let waiting = waiting.map(|(id, request)| (id.clone(), request.clone()));
    match waiting {
        Some((id, old)) => {
            let merged = merge(&old, fresh, step.limits.pairing_scopes_max);
            if grew(&old, &merged) {
                // A person who approves an id approves what was shown under it: more than that is another request.
                let request = PendingRequest { request_id: step.random.uuid(), ..merged };
                draft.remove_request(&id);
                step.say(Notice::Resolved {
                    request_id: id,
                    device_id: request.device_id.clone(),
                    approved: false,
                    ts: step.now_ms,
                });
                let id = request.request_id.clone();
                file(draft, &id, request, step);
                id
            } else if old.silent != merged.silent {
                file(draft, &id, merged, step);
                id
            } else {
                // A retry that asks for nothing new is neither written nor told: it only keeps the request alive.
                draft.set_request(&id, Arc::new(merged), Weight::Soft);
                id
            }
        }
        None => {
            make_room(draft, step);
            let id = fresh.request_id.clone();
            file(draft, &id, fresh, step);
            id
        }
    }
}

fn file(draft: &mut Draft<'_>, id: &str, request: PendingRequest, step: &mut Step<'_>) {
    let request = Arc::new(request);
    draft.set_request(id, request.clone(), Weight::Hard);
    step.say(Notice::Requested(request));
}

/// The oldest requests go first when there are too many.
fn make_room(draft: &mut Draft<'_>, step: &mut Step<'_>) {
    while draft.requests().count() >= step.limits.pairing_pending_max {
        let oldest = draft.requests().min_by_key(|(id, request)| (request.ts, (*id).clone()));
        let Some((id, device_id)) = oldest.map(|(id, request)| (id.clone(), request.device_id.clone()))
        else {
            return;
        };
        draft.remove_request(&id);
        step.say(Notice::Log(
            Record::new(Level::Warn, "device.request.dropped")
                .field("device", device_id)
                .field("why", "too many"),
        ));
    }
}

/// Whatever a device asked for and nobody decided is over.
pub(super) fn forget_requests(draft: &mut Draft<'_>, device_id: &str, step: &mut Step<'_>) {
    for request_id in requests_of(draft, device_id) {
        draft.remove_request(&request_id);
        step.say(Notice::Resolved {
            request_id,
            device_id: device_id.to_owned(),
            approved: false,
            ts: step.now_ms,
        });
    }
}

fn requests_of(draft: &Draft<'_>, device_id: &str) -> Vec<String> {
    draft.requests().filter(|(_, request)| request.device_id == device_id).map(|(id, _)| id.clone()).collect()
}

pub(super) fn new_request(op: &ConnectOp, paired: bool, silent: bool, step: &mut Step<'_>) -> PendingRequest {
    PendingRequest {
        request_id: step.random.uuid(),
        device_id: op.device_id.clone(),
        public_key: op.public_key.clone(),
        display_name: op.client.display_name.clone(),
        platform: op.client.platform.clone(),
        device_family: op.client.device_family.clone(),
        client_id: Some(op.client.id.clone()),
        client_mode: Some(op.client.mode.clone()),
        role: Some(op.role.as_str().to_owned()),
        roles: Some(vec![op.role.as_str().to_owned()]),
        scopes: Some(op.scopes.as_slice().to_vec()),
        remote_ip: op.remote_ip.clone(),
        silent,
        is_repair: paired,
        ts: step.now_ms,
        other: serde_json::Map::new(),
    }
}

/// One request per device: the id and the first role stay, the latest description wins, roles and scopes add up.
fn merge(old: &PendingRequest, new: PendingRequest, scopes_max: usize) -> PendingRequest {
    let roles = old.roles.iter().flatten().chain(&old.role).chain(new.roles.iter().flatten());
    let have = Scopes::new(old.scopes.iter().flatten());
    let asked = Scopes::new(new.scopes.iter().flatten());
    let union = have.union(&asked);
    // What is too much for one request is not asked for: another in its place would be told of at each turn.
    let scopes = if union.as_slice().len() > scopes_max { have } else { union };
    PendingRequest {
        request_id: old.request_id.clone(),
        display_name: new.display_name.or_else(|| old.display_name.clone()),
        platform: new.platform.or_else(|| old.platform.clone()),
        device_family: new.device_family.or_else(|| old.device_family.clone()),
        client_id: new.client_id.or_else(|| old.client_id.clone()),
        client_mode: new.client_mode.or_else(|| old.client_mode.clone()),
        remote_ip: new.remote_ip.or_else(|| old.remote_ip.clone()),
        role: old.role.clone().or(new.role),
        roles: Some(Scopes::new(roles).as_slice().to_vec()),
        scopes: Some(scopes.as_slice().to_vec()),
        silent: old.silent && new.silent,
        is_repair: old.is_repair || new.is_repair,
        other: old.other.clone(),
        ..new
    }
}

/// Whether a merged request would approve something that the old one would not.
fn grew(old: &PendingRequest, merged: &PendingRequest) -> bool {
    let set = |list: &Option<Vec<String>>| Scopes::new(list.iter().flatten()).sorted();
    set(&old.scopes) != set(&merged.scopes)
        || set(&old.roles) != set(&merged.roles)
        || old.public_key != merged.public_key
        || old.platform != merged.platform
        || old.device_family != merged.device_family
}

/// Approves a pending request, if the approver holds everything it grants.
pub(super) fn approve(
    draft: &mut Draft<'_>,
    request_id: &str,
    approver: &Scopes,
    step: &mut Step<'_>,
) -> Result<Arc<PairedDevice>, DeviceError> {
    let request = draft.request(request_id).ok_or(DeviceError::UnknownRequest)?.clone();
    if let Some(scope) = beyond(&request, draft.device(&request.device_id).map(|device| &**device), approver)
    {
        return Err(DeviceError::MissingScope(scope));
    }
    let device = approve_request(draft, &request, step)?;
    draft.remove_request(request_id);
    if let Some(seen) = draft.seen(&request.device_id).cloned() {
        draft.set_seen(&request.device_id, Seen { silent: false, ..seen });
    }
    step.say(Notice::Resolved {
        request_id: request_id.to_owned(),
        device_id: request.device_id.clone(),
        approved: true,
        ts: step.now_ms,
    });
    Ok(device)
}

/// Turns a pending request down.
pub(super) fn reject(
    draft: &mut Draft<'_>,
    request_id: &str,
    step: &mut Step<'_>,
) -> Result<String, DeviceError> {
    let device_id = draft.request(request_id).ok_or(DeviceError::UnknownRequest)?.device_id.clone();
    draft.remove_request(request_id);
    step.say(Notice::Resolved {
        request_id: request_id.to_owned(),
        device_id: device_id.clone(),
        approved: false,
        ts: step.now_ms,
    });
    Ok(device_id)
}

/// The first scope an approver lacks (CVE-2026-33579). Only an admin grants a role that is not operator. What was
/// approved for a node opened nothing; who makes an operator of that device grants it as well.
fn beyond(request: &PendingRequest, device: Option<&PairedDevice>, approver: &Scopes) -> Option<String> {
    let roles = Scopes::new(request.roles.iter().flatten().chain(&request.role));
    let device = device.filter(|device| device.public_key == request.public_key);
    let was_operator =
        device.is_some_and(|device| approved_roles(device).iter().any(|role| role == OPERATOR));
    let is_operator = was_operator || roles.as_slice().iter().any(|role| role == OPERATOR);
    if roles.as_slice().iter().any(|role| role != OPERATOR) && !approver.satisfies(ADMIN) {
        return Some(ADMIN.to_owned());
    }
    let mut granted = Scopes::new(request.scopes.iter().flatten());
    if !is_operator && approver.satisfies(ADMIN) {
        return None; // a node's scopes open nothing here
    }
    if !was_operator {
        granted = granted.union(&device.map(baseline).unwrap_or_default());
    }
    approver.first_uncovered(Role::Operator, &granted).map(str::to_owned)
}

/// Writes an approval into the device's record: what was approved adds up, the description is pinned anew, and
/// the role of the request gets a new token.
fn approve_request(
    draft: &mut Draft<'_>,
    request: &PendingRequest,
    step: &mut Step<'_>,
) -> Result<Arc<PairedDevice>, DeviceError> {
    let old = draft.device(&request.device_id);
    if old.is_none() && draft.devices_len() >= step.limits.devices_paired_max {
        return Err(DeviceError::Full(step.limits.devices_paired_max));
    }
    // A record with another key under this id is damaged; nothing of it may carry over.
    let old = old.filter(|old| old.public_key == request.public_key).cloned();
    let old_roles = old.as_deref().map(approved_roles).unwrap_or_default();
    let roles = old_roles.iter().chain(old.iter().flat_map(|old| &old.role));
    let roles = Scopes::new(roles.chain(request.roles.iter().flatten()).chain(&request.role));
    let asked = Scopes::new(request.scopes.iter().flatten());
    let scopes = old.as_deref().map(baseline).unwrap_or_default().union(&asked);
    let scopes = (!scopes.is_empty()).then(|| scopes.as_slice().to_vec());
    let mut device = PairedDevice {
        device_id: request.device_id.clone(),
        public_key: request.public_key.clone(),
        display_name: request.display_name.clone(),
        label: old.as_ref().and_then(|old| old.label.clone()),
        platform: request.platform.clone(),
        device_family: request.device_family.clone(),
        client_id: request.client_id.clone(),
        client_mode: request.client_mode.clone(),
        role: request.role.clone(),
        roles: Some(roles.as_slice().to_vec()),
        scopes: scopes.clone(),
        approved_scopes: scopes,
        remote_ip: request.remote_ip.clone(),
        tokens: old.as_ref().and_then(|old| old.tokens.clone()),
        created_at_ms: old.as_ref().map_or(step.now_ms, |old| old.created_at_ms),
        approved_at_ms: step.now_ms,
        other: old.as_ref().map(|old| old.other.clone()).unwrap_or_default(),
    };
    if let Some(role) = request.role.as_deref().filter(|role| !role.trim().is_empty()) {
        let have = token(&device, role).filter(|entry| tokens::is_live(entry));
        let have = Scopes::new(have.into_iter().flat_map(|entry| &entry.scopes));
        // A narrow approval must not take away what the token could do before.
        let within = baseline(&device).first_uncovered(super::rule_of(role), &have).is_none();
        let scopes = if within { have.union(&asked) } else { asked };
        tokens::renew(&mut device, role, &scopes, step);
    }
    Ok(draft.set_device(&request.device_id, device, Weight::Hard))
}

/// Notes how a known device came in this time; not worth a write.
fn refresh(draft: &mut Draft<'_>, op: &ConnectOp, step: &Step<'_>) {
    let Some(device) = known(draft, op) else { return };
    let mut new = (**device).clone();
    new.display_name.clone_from(&op.client.display_name);
    new.client_id = Some(op.client.id.clone());
    new.client_mode = Some(op.client.mode.clone());
    new.role = Some(op.role.as_str().to_owned());
    new.remote_ip.clone_from(&op.remote_ip);
    if fit(&device.platform, &op.client.platform, &op.client) == Fit::Newer {
        new.platform.clone_from(&op.client.platform);
    }
    if fit(&device.device_family, &op.client.device_family, &op.client) == Fit::Newer {
        new.device_family.clone_from(&op.client.device_family);
    }
    let mut scopes = Scopes::new(device.scopes.iter().flatten());
    // The order stays that of the file; a scope the device already shows is no change.
    if scopes.as_slice().len() < step.limits.pairing_scopes_max {
        scopes = scopes.union(&op.scopes);
    }
    if !scopes.is_empty() {
        new.scopes = Some(scopes.as_slice().to_vec());
    }
    draft.set_device(&op.device_id, new, Weight::Soft);
}

/// How a claim compares with a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// The same, or nothing is pinned.
    Same,
    /// Another version of the same system; the pin follows.
    Newer,
    /// Something else.
    Changed,
}

fn fit(stored: &Option<String>, claimed: &Option<String>, client: &DeviceClient) -> Fit {
    let (stored, claimed) = (normal(stored), normal(claimed));
    if stored.is_empty() || stored == claimed {
        return Fit::Same;
    }
    let families = (native_family(&stored), native_family(&claimed));
    if families.0.is_some() && families.0 == families.1 {
        return Fit::Newer;
    }
    // A node host names its system the runtime's way or the system's own way, depending on its build.
    if client.id == "node-host" && runtime_alias(&stored) == runtime_alias(&claimed) {
        return Fit::Same;
    }
    Fit::Changed
}

fn normal(text: &Option<String>) -> String {
    text.as_deref().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The pinned text itself, when there is one.
fn pinned(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.trim().is_empty())
}

/// `ios 18.3` is of the family `ios`; a name with anything but a version behind it is of none.
fn native_family(platform: &str) -> Option<&str> {
    let (family, version) = platform.split_once(' ').unwrap_or((platform, ""));
    let is_version = version.chars().all(|c| c.is_ascii_digit() || c == '.');
    (matches!(family, "ios" | "android" | "watchos" | "macos") && is_version).then_some(family)
}

fn runtime_alias(platform: &str) -> &str {
    match platform {
        "darwin" | "mac" | "macos" => "macos",
        "win32" | "windows" => "windows",
        other => native_family(other).unwrap_or(other),
    }
}
