//! The use of an approval: a command that is about to run says that it was allowed, and must be the very command, from
//! the very caller, on the very node that a person was shown (spec: nodes section 6).

use super::{Decision, Entry, Outcome};
use crate::id::ConnId;
use crate::time::Mono;

/// What was shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// The node it runs on.
    pub node_id: Option<String>,
    /// What runs.
    pub run: Run,
}

/// What runs, and on whose behalf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Where.
    pub cwd: Option<String>,
    /// For which agent.
    pub agent_id: Option<String>,
    /// For which session.
    pub session_key: Option<String>,
    /// The hash of the variables that it is given, when it is given any.
    pub env_hash: Option<String>,
}

impl Binding {
    pub(super) fn size(&self) -> usize {
        let Run { argv, cwd, agent_id, session_key, env_hash } = &self.run;
        let texts = [&self.node_id, cwd, agent_id, session_key, env_hash];
        let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
        texts + argv.iter().map(|text| 24 + text.len()).sum::<usize>()
    }
}

/// A command that claims to have been allowed.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The node it is to run on.
    pub node_id: Option<&'a str>,
    /// What is to run.
    pub run: &'a Run,
    /// Over which connection it is asked for.
    pub conn: ConnId,
    /// On which device.
    pub device_id: Option<&'a str>,
}

/// Why a claim is not granted. The order is that of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimFault {
    /// There is no such approval, or its time is over.
    UnknownId,
    /// It ran out before anybody decided.
    Expired,
    /// The call names no node.
    NodeMissing,
    /// The approval names no node.
    NodeUnbound,
    /// Another node.
    Node,
    /// Another device.
    Device,
    /// Another connection, of a caller without a device.
    Client,
    /// Another command.
    Request,
    /// Variables that the approval does not know of.
    EnvUnbound,
    /// Other variables.
    Env,
    /// Not decided, denied, or used.
    NotAllowed,
}

impl ClaimFault {
    /// `details.code`.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownId => "UNKNOWN_APPROVAL_ID",
            Self::Expired => "APPROVAL_EXPIRED",
            Self::NodeMissing => "MISSING_NODE_ID",
            Self::NodeUnbound => "APPROVAL_NODE_BINDING_MISSING",
            Self::Node => "APPROVAL_NODE_MISMATCH",
            Self::Device => "APPROVAL_DEVICE_MISMATCH",
            Self::Client => "APPROVAL_CLIENT_MISMATCH",
            Self::Request => "APPROVAL_REQUEST_MISMATCH",
            Self::EnvUnbound => "APPROVAL_ENV_BINDING_MISSING",
            Self::Env => "APPROVAL_ENV_MISMATCH",
            Self::NotAllowed => "APPROVAL_REQUIRED",
        }
    }

    /// For a person.
    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownId => "unknown or expired approval id",
            Self::Expired => "approval expired",
            Self::NodeMissing => "node.invoke requires nodeId",
            Self::NodeUnbound => "approval id missing node binding",
            Self::Node => "approval id not valid for this node",
            Self::Device => "approval id not valid for this device",
            Self::Client => "approval id not valid for this client",
            Self::Request => "approval id does not match request",
            Self::EnvUnbound => "approval id missing env binding for requested env overrides",
            Self::Env => "approval id env binding mismatch",
            Self::NotAllowed => "approval required",
        }
    }
}

pub(super) fn claim(entry: &mut Entry, now: Mono, claim: &Claim<'_>) -> Result<Decision, ClaimFault> {
    match &entry.end {
        // What ended can be claimed for a moment only.
        Some(end) if now > end.usable_until => return Err(ClaimFault::UnknownId),
        // Nobody was told of its end yet, and nobody will decide it any more.
        None if now > entry.deadline => return Err(ClaimFault::Expired),
        Some(_) | None => {}
    }
    let node_id = claim.node_id.ok_or(ClaimFault::NodeMissing)?;
    let binding = entry.binding.as_ref();
    let bound = binding.and_then(|binding| binding.node_id.as_deref()).ok_or(ClaimFault::NodeUnbound)?;
    if bound != node_id {
        return Err(ClaimFault::Node);
    }
    match &entry.asker.device_id {
        Some(device_id) if claim.device_id != Some(device_id) => return Err(ClaimFault::Device),
        None if claim.conn != entry.asker.conn => return Err(ClaimFault::Client),
        Some(_) | None => {}
    }
    let Some(run) = binding.map(|binding| &binding.run) else { return Err(ClaimFault::Request) };
    let same = (&run.argv, &run.cwd, &run.agent_id, &run.session_key)
        == (&claim.run.argv, &claim.run.cwd, &claim.run.agent_id, &claim.run.session_key);
    if !same {
        return Err(ClaimFault::Request);
    }
    match (&run.env_hash, &claim.run.env_hash) {
        (None, Some(_)) => return Err(ClaimFault::EnvUnbound),
        (shown, wanted) if shown != wanted => return Err(ClaimFault::Env),
        (_, _) => {}
    }
    let Some(end) = &mut entry.end else { return Err(ClaimFault::NotAllowed) };
    match &end.outcome {
        Outcome::Decided(Decision::AllowAlways) => Ok(Decision::AllowAlways),
        Outcome::Decided(Decision::AllowOnce) if !end.is_used => {
            end.is_used = true;
            Ok(Decision::AllowOnce)
        }
        // Silence allows nothing, whatever the caller says of the rules for it: those are the node's to apply.
        Outcome::Decided(Decision::AllowOnce | Decision::Deny)
        | Outcome::Answered(_)
        | Outcome::Cancelled
        | Outcome::NoRoute
        | Outcome::Expired => Err(ClaimFault::NotAllowed),
    }
}
