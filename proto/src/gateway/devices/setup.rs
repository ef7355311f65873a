//! Setup codes: what one opens, for whom, and for how long (spec: v4 section 6.8, pairing section 7; row `setup-codes`
//! of docs/compatibility.md).
//!
//! Threat model: a code is read off a screen, and may be read by somebody else too. So it opens what was decided when
//! it was made, for ten minutes; the first device that uses it is the only one that can; and it is spent when that
//! device is let in. A page never redeems one without a person, but for the code that is made for one, by whoever owns
//! this gateway, to be opened in their own browser. A code that is bound to nothing, made by release
//! 2026.3.13, only lets its bearer ask.

use super::pairing::{self, ConnectOp, PairingReason};
use super::tokens;
use super::transaction::{Draft, Weight, approved_roles, baseline, token};
use super::{DeviceError, OPERATOR, Step, rule_of};
use crate::admission::IssuedToken;
use crate::scope::{self, Role, Scopes};
use crate::secret::Secret;
use crate::store::setup::SetupToken;
use core::fmt;
use std::sync::Arc;

/// What a code is made for: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetupAccess {
    /// A phone, as node and as operator with everything.
    Full,
    /// A phone, as node and as operator without admin.
    Limited,
    /// A node host.
    Node,
    /// The owner's browser, as operator with everything: the control page, or a Control UI (`clawgate dashboard`).
    ControlUiOwner,
}

impl SetupAccess {
    /// The wire name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Limited => "limited",
            Self::Node => "node",
            Self::ControlUiOwner => "control-ui-owner",
        }
    }

    /// The one of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Full, Self::Limited, Self::Node, Self::ControlUiOwner]
            .into_iter()
            .find(|access| access.as_str() == name)
    }

    fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Full | Self::Limited => &[NODE, OPERATOR],
            Self::Node => &[NODE],
            Self::ControlUiOwner => &[OPERATOR],
        }
    }

    fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::Full => &[
                scope::ADMIN,
                scope::APPROVALS,
                scope::QUESTIONS,
                scope::READ,
                scope::TALK_SECRETS,
                scope::WRITE,
            ],
            Self::Limited => {
                &[scope::APPROVALS, scope::QUESTIONS, scope::READ, scope::TALK_SECRETS, scope::WRITE]
            }
            Self::Node => &[],
            Self::ControlUiOwner => &[
                scope::ADMIN,
                scope::APPROVALS,
                scope::PAIRING,
                scope::QUESTIONS,
                scope::READ,
                scope::TALK_SECRETS,
                scope::WRITE,
            ],
        }
    }

    /// Whether it is asked for as it is made for: by a phone or a node host as the node it becomes, by a browser as the
    /// operator. Which pages may connect at all was decided before.
    fn is_asked_for_by(self, op: &ConnectOp) -> bool {
        match self {
            Self::Full | Self::Limited | Self::Node => {
                op.role == Role::Node && op.scopes.is_empty() && !op.locality.origin_present
            }
            Self::ControlUiOwner => op.role == Role::Operator,
        }
    }

    /// Whether this is a client that such a code is made for: it says so in what its device proof covers.
    fn fits(self, op: &ConnectOp) -> bool {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().to_ascii_lowercase();
        let (platform, family) = (text(&op.client.platform), text(&op.client.device_family));
        let is = |name: &str| {
            platform == name || platform.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '))
        };
        match self {
            Self::Full | Self::Limited => match op.client.id.as_str() {
                "openclaw-ios" => {
                    (is("ios") || is("ipados")) && matches!(family.as_str(), "iphone" | "ipad" | "ios")
                }
                "openclaw-android" => is("android") && family == "android",
                _ => false,
            },
            Self::Node => op.client.id == "node-host",
            Self::ControlUiOwner => op.client.id == "openclaw-control-ui",
        }
    }
}

/// A code that was just made.
#[derive(Clone, Debug)]
pub(crate) struct SetupIssued {
    /// Names it.
    pub(crate) setup_id: String,
    /// The secret.
    pub(crate) token: Secret,
    /// What it is for.
    pub(crate) access: SetupAccess,
    /// When it ends, Unix milliseconds.
    pub(crate) expires_at_ms: u64,
}

/// A code that a device was let in with. It is spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redeemed {
    /// Names the code.
    pub(crate) setup_id: String,
    /// What it was for.
    pub(crate) access: SetupAccess,
    /// Who came.
    pub(crate) device_id: String,
    /// The name it goes by.
    pub(crate) device_name: Option<String>,
}

/// A code that was shown and is good.
pub(super) struct Grant {
    token: String,
    entry: Arc<SetupToken>,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Grant").field(&self.entry).finish()
    }
}

/// Makes a code. The oldest go when there are too many.
pub(super) fn issue(
    draft: &mut Draft<'_>,
    access: SetupAccess,
    by: Option<&str>,
    step: &mut Step<'_>,
) -> Result<SetupIssued, DeviceError> {
    if let Some(why) = draft.damage() {
        return Err(DeviceError::Unavailable(why.to_owned()));
    }
    while draft.setup_tokens().count() >= step.limits.setup_codes_max.max(1) {
        let oldest = draft.setup_tokens().min_by_key(|(token, entry)| (entry.issued_at_ms, (*token).clone()));
        let Some(oldest) = oldest.map(|(token, _)| token.clone()) else { break };
        draft.set_setup(&oldest, None);
    }
    let token = step.random.token();
    let setup_id = step.random.uuid();
    let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let entry = SetupToken {
        token: token.clone(),
        ts: step.now_ms,
        issued_at_ms: step.now_ms,
        setup_id: Some(setup_id.clone()),
        access: Some(access.as_str().to_owned()),
        roles: list(access.roles()),
        scopes: list(access.scopes()),
        // A maker without a record, which is exempt from pairing, has no rights here that could end.
        issued_by: by.filter(|by| draft.device(by).is_some()).map(str::to_owned),
        ..SetupToken::default()
    };
    draft.set_setup(&token, Some(entry));
    let token = Secret::new(&token).expect("a fresh token is not blank");
    Ok(SetupIssued { setup_id, token, access, expires_at_ms: step.now_ms + step.limits.setup_ttl_ms })
}

/// The codes that a device made end with its rights.
pub(super) fn forget_those_by(draft: &mut Draft<'_>, device_id: &str) {
    let by = |entry: &SetupToken| entry.issued_by.as_deref() == Some(device_id);
    let theirs: Vec<String> =
        draft.setup_tokens().filter(|(_, entry)| by(entry)).map(|(token, _)| token.clone()).collect();
    for token in theirs {
        draft.set_setup(&token, None);
    }
}

/// The codes that nobody's rights stand behind end with the shared secret: whoever made them showed nothing else.
pub(super) fn forget_those_by_secret(draft: &mut Draft<'_>) {
    let theirs: Vec<String> = draft
        .setup_tokens()
        .filter(|(_, entry)| entry.issued_by.is_none())
        .map(|(token, _)| token.clone())
        .collect();
    for token in theirs {
        draft.set_setup(&token, None);
    }
}

/// The code behind a secret, when it is good for this device and for what it asks.
pub(super) fn verify(draft: &Draft<'_>, op: &ConnectOp, shown: &Secret) -> Option<Grant> {
    if draft.damage().is_some() {
        return None;
    }
    let mut found = None;
    // Every one is compared, so that the time taken does not tell which came close.
    for (token, entry) in draft.setup_tokens() {
        if shown.matches(token) {
            found = Some((token, entry));
        }
    }
    let (token, entry) = found?;
    let is_theirs = match (&entry.device_id, &entry.public_key) {
        (None, None) => true,
        (device_id, public_key) => {
            device_id.as_deref() == Some(&op.device_id) && public_key.as_deref() == Some(&op.public_key)
        }
    };
    let is_within = match &entry.roles {
        None => true,
        Some(roles) => {
            let scopes = match op.role {
                Role::Operator => Scopes::new(entry.scopes.iter().flatten()),
                Role::Node => Scopes::default(),
            };
            roles.iter().any(|role| role == op.role.as_str())
                && scopes.first_uncovered(op.role, &op.scopes).is_none()
        }
    };
    // Whoever could not make it any more does not open anything with it either, however they lost that right.
    let is_makers = entry.issued_by.as_deref().is_none_or(|by| is_admin(draft, by));
    (is_theirs && is_within && is_makers).then(|| Grant { token: token.clone(), entry: entry.clone() })
}

/// Whether a device is still an operator with everything: approved for it, and with a token for it that is in force.
fn is_admin(draft: &Draft<'_>, device_id: &str) -> bool {
    draft.device(device_id).is_some_and(|device| {
        let entry = token(device, OPERATOR).filter(|entry| tokens::is_live(entry));
        let has_token = entry.is_some_and(|entry| Scopes::new(&entry.scopes).satisfies(scope::ADMIN));
        has_token && baseline(device).satisfies(scope::ADMIN)
    })
}

impl Grant {
    /// Whether it says what it opens.
    pub(super) fn is_bound(&self) -> bool {
        self.entry.roles.is_some()
    }

    /// Whether it approves this device without a person: a closed profile, asked for as that profile is, by a client
    /// it is made for. A changed platform is never a code's to approve.
    pub(super) fn opens(&self, draft: &Draft<'_>, op: &ConnectOp, reasons: &[PairingReason]) -> bool {
        let access = self.entry.access.as_deref().and_then(SetupAccess::named);
        // What was approved for a node opened nothing; a code does not make an operator's of it.
        let adds_nothing = draft.device(&op.device_id).is_none_or(|device| {
            let granted = Scopes::new(self.entry.scopes.iter().flatten());
            approved_roles(device).iter().any(|role| role == OPERATOR)
                || granted.first_uncovered(Role::Operator, &baseline(device)).is_none()
        });
        self.is_bound()
            && adds_nothing
            && access.is_some_and(|access| access.fits(op) && access.is_asked_for_by(op))
            && !reasons.contains(&PairingReason::MetadataUpgrade)
    }

    /// From now on it is this device's alone.
    pub(super) fn bind(&self, draft: &mut Draft<'_>, op: &ConnectOp) {
        if self.entry.device_id.is_none() {
            let entry = SetupToken {
                device_id: Some(op.device_id.clone()),
                public_key: Some(op.public_key.clone()),
                ..(*self.entry).clone()
            };
            draft.set_setup(&self.token, Some(entry));
        }
    }

    /// It is used up.
    pub(super) fn spend(&self, draft: &mut Draft<'_>, op: &ConnectOp) -> Option<Redeemed> {
        draft.set_setup(&self.token, None);
        let name = draft.device(&op.device_id).and_then(|device| device.name().map(str::to_owned));
        Some(Redeemed {
            setup_id: self.entry.setup_id.clone()?,
            access: self.entry.access.as_deref().and_then(SetupAccess::named)?,
            device_id: op.device_id.clone(),
            device_name: name,
        })
    }

    /// Approves the device for all that the code is for, and gives the tokens of the roles besides the one it came in.
    pub(super) fn approve(
        &self,
        draft: &mut Draft<'_>,
        op: &ConnectOp,
        step: &mut Step<'_>,
    ) -> Result<Vec<(String, IssuedToken)>, DeviceError> {
        let roles = self.entry.roles.clone().unwrap_or_default();
        let granted = Scopes::new(self.entry.scopes.iter().flatten());
        let paired = draft.device(&op.device_id).is_some();
        let mut request = pairing::new_request(op, paired, true, step);
        request.roles = Some(roles.clone());
        request.scopes = Some(granted.sorted());
        // The tokens come below: each role has scopes of its own.
        request.role = None;
        pairing::approve_silently_as(draft, &request, step)?;
        let Some(device) = draft.device(&op.device_id) else { return Ok(Vec::new()) };
        let mut device = (**device).clone();
        device.role = Some(op.role.as_str().to_owned());
        let mut others = Vec::new();
        for role in &roles {
            let wanted = if role == OPERATOR { granted.clone() } else { Scopes::default() };
            let have = token(&device, role).filter(|entry| tokens::is_live(entry));
            let have = Scopes::new(have.into_iter().flat_map(|entry| &entry.scopes));
            let within = baseline(&device).first_uncovered(rule_of(role), &have).is_none();
            let scopes = if within { have.union(&wanted) } else { wanted };
            let entry = tokens::renew(&mut device, role, &scopes, step);
            if role != op.role.as_str() {
                others.push((role.clone(), tokens::issued(&entry)));
            }
        }
        draft.set_device(&op.device_id, device, Weight::Hard);
        Ok(others)
    }
}

/// The wire name of [`Role::Node`].
const NODE: &str = "node";
