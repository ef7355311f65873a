//! What nodes may offer (spec: v4 section 11.1, pairing section 9): the second approval of a device with that role.
//!
//! A node is a paired device; nothing here lets anybody in. What it declares counts only as far as somebody approved
//! it. Who approves a surface must hold what its commands need. When the device goes, or the role, so does the surface,
//! in the same write: the views of devices and of nodes cannot tell different stories.

use super::pairing::{self, ConnectOp};
use super::transaction::{Draft, Weight, approved_roles};
use super::{CloseDevice, DeviceError, Done, Notice, Step, setup};
use crate::log::{Level, Record};
use crate::scope::{self, Scopes};
use crate::secret::Secret;
use crate::store::PairedDevice;
use crate::store::nodes::{NodeAbout, NodeEntry, Surface};
use std::sync::Arc;

/// What a node says at connect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    /// About itself.
    pub(crate) about: NodeAbout,
    /// What it offers, as far as its platform may.
    pub(crate) surface: Surface,
    /// Whether the approval of the device covers what it declares for the first time.
    pub(crate) is_covered: bool,
}

/// The scopes whose holder may approve these commands.
pub(crate) fn required_scopes(commands: &[String]) -> &'static [&'static str] {
    let is_strong = |command: &String| STRONG_COMMANDS.contains(&command.as_str());
    if commands.is_empty() {
        &[scope::PAIRING]
    } else if commands.iter().any(is_strong) {
        &[scope::PAIRING, scope::ADMIN]
    } else {
        &[scope::PAIRING, scope::WRITE]
    }
}

/// Compares what a node declares with what was approved; what is new waits for a person. `covers` says whether the
/// approval of the device may stand for a first surface.
pub(super) fn declare(
    draft: &mut Draft<'_>,
    op: &ConnectOp,
    declared: &Declared,
    (by_code, covers): (bool, bool),
    silent: bool,
    step: &mut Step<'_>,
) {
    if draft.damage().is_some() {
        return;
    }
    let node_id = &op.device_id;
    let approved = draft.node(node_id).map(|entry| entry.surface.clone());
    let waiting = requests_of(draft, node_id);
    let was_asked = draft.device(node_id).is_some_and(|device| device.other.contains_key(SURFACE_ASKED));
    if declared.surface.is_within(&approved.clone().unwrap_or_default()) {
        if approved.is_none() && !was_asked {
            remember_asked(draft, node_id);
        }
        for (id, _) in waiting {
            drop_request(draft, &id, node_id, "rejected", step);
        }
        return;
    }
    if waiting.iter().any(|(_, request)| request.surface == declared.surface) {
        return;
    }
    // The approval of a device covers what it declared then, and nothing that it thought of later, was refused or took
    // back: by another protocol nobody gains what a person did not approve.
    let covers = by_code || (covers && waiting.is_empty() && !was_asked);
    for (id, _) in waiting {
        drop_request(draft, &id, node_id, "rejected", step);
    }
    let request = NodeEntry {
        request_id: Some(step.random.uuid()),
        node_id: node_id.clone(),
        about: declared.about.clone(),
        surface: declared.surface.clone(),
        remote_ip: op.remote_ip.clone(),
        silent: silent.then_some(true),
        is_repair: Some(approved.is_some()),
        ts: Some(step.now_ms),
        ..NodeEntry::default()
    };
    if approved.is_none() && covers {
        grant(draft, &request, step);
    } else {
        if !was_asked {
            remember_asked(draft, node_id);
        }
        file(draft, request, step);
    }
}

/// Its first surface was seen, and somebody decides about it.
fn remember_asked(draft: &mut Draft<'_>, node_id: &str) {
    if let Some(device) = draft.device(node_id) {
        let mut device = (**device).clone();
        device.other.insert(SURFACE_ASKED.to_owned(), true.into());
        draft.set_device(node_id, device, Weight::Hard);
    }
}

fn file(draft: &mut Draft<'_>, request: NodeEntry, step: &mut Step<'_>) -> Arc<NodeEntry> {
    while draft.node_requests().count() >= step.limits.pairing_pending_max {
        let oldest = draft.node_requests().min_by_key(|(id, request)| (request.ts, (*id).clone()));
        let Some((id, node_id)) = oldest.map(|(id, request)| (id.clone(), request.node_id.clone())) else {
            break;
        };
        drop_request(draft, &id, &node_id, "rejected", step);
        let record = Record::new(Level::Warn, "node.request.dropped");
        step.say(Notice::Log(record.field("node", node_id).field("why", "too many")));
    }
    let request = Arc::new(request);
    draft.set_node_request(request.request_id.as_deref().unwrap_or_default(), Some(request.clone()));
    step.say(Notice::NodeRequested(request.clone()));
    request
}

/// Writes an approval.
fn grant(draft: &mut Draft<'_>, request: &NodeEntry, step: &mut Step<'_>) -> Option<Arc<NodeEntry>> {
    let old = draft.node(&request.node_id).cloned();
    let entry = NodeEntry {
        request_id: None,
        token: Some(step.random.token()),
        silent: None,
        is_repair: None,
        ts: None,
        created_at_ms: Some(old.as_ref().and_then(|old| old.created_at_ms).unwrap_or(step.now_ms)),
        approved_at_ms: Some(step.now_ms),
        other: old.map(|old| old.other.clone()).unwrap_or_default(),
        ..request.clone()
    };
    step.say(Notice::NodeResolved {
        request_id: request.request_id.clone().unwrap_or_default(),
        node_id: request.node_id.clone(),
        decision: "approved",
        ts: step.now_ms,
    });
    draft.set_node(&request.node_id, Some(entry))
}

fn requests_of(draft: &Draft<'_>, node_id: &str) -> Vec<(String, Arc<NodeEntry>)> {
    let theirs = draft.node_requests().filter(|(_, request)| request.node_id == node_id);
    theirs.map(|(id, request)| (id.clone(), request.clone())).collect()
}

fn drop_request(
    draft: &mut Draft<'_>,
    request_id: &str,
    node_id: &str,
    decision: &'static str,
    step: &mut Step<'_>,
) {
    draft.set_node_request(request_id, None);
    step.say(Notice::NodeResolved {
        request_id: request_id.to_owned(),
        node_id: node_id.to_owned(),
        decision,
        ts: step.now_ms,
    });
}

/// Whether a paired device may be a node.
fn is_node(device: &PairedDevice) -> bool {
    approved_roles(device).iter().any(|role| role == NODE)
}

/// The node of that id: a paired device with that role.
fn known(draft: &Draft<'_>, node_id: &str) -> Result<Arc<PairedDevice>, DeviceError> {
    let device = draft.device(node_id).filter(|device| is_node(device));
    device.cloned().ok_or(DeviceError::UnknownNode)
}

fn undamaged(draft: &Draft<'_>) -> Result<(), DeviceError> {
    match draft.damage() {
        Some(why) => Err(DeviceError::Unavailable(why.to_owned())),
        None => Ok(()),
    }
}

fn request(draft: &Draft<'_>, request_id: &str) -> Result<Arc<NodeEntry>, DeviceError> {
    undamaged(draft)?;
    let found = draft.node_requests().find(|(id, _)| *id == request_id).map(|(_, request)| request.clone());
    // A request whose device is gone is nobody's.
    found.filter(|request| known(draft, &request.node_id).is_ok()).ok_or(DeviceError::UnknownRequest)
}

/// `node.pair.approve`.
pub(super) fn approve(
    draft: &mut Draft<'_>,
    request_id: &str,
    approver: &Scopes,
    step: &mut Step<'_>,
) -> Result<Done, DeviceError> {
    let request = request(draft, request_id)?;
    let needed = required_scopes(&request.surface.commands);
    if let Some(scope) = needed.iter().find(|scope| !approver.satisfies(scope)) {
        return Err(DeviceError::MissingScope((*scope).to_owned()));
    }
    let node = grant(draft, &request, step).ok_or(DeviceError::UnknownRequest)?;
    for (id, other) in requests_of(draft, &request.node_id) {
        if id == request_id {
            draft.set_node_request(&id, None);
        } else {
            drop_request(draft, &id, &other.node_id, "rejected", step);
        }
    }
    Ok(Done::NodeApproved { request_id: request_id.to_owned(), node })
}

/// `node.pair.reject`.
pub(super) fn reject(
    draft: &mut Draft<'_>,
    request_id: &str,
    step: &mut Step<'_>,
) -> Result<Done, DeviceError> {
    let request = request(draft, request_id)?;
    drop_request(draft, request_id, &request.node_id, "rejected", step);
    Ok(Done::Told(serde_json::json!({"requestId": request_id, "nodeId": request.node_id})))
}

/// `node.pair.remove`: the device is a node no more, and no device at all when it was nothing else.
pub(super) fn remove(draft: &mut Draft<'_>, node_id: &str, step: &mut Step<'_>) -> Result<Done, DeviceError> {
    let device = known(draft, node_id)?;
    let mut left = (*device).clone();
    let roles: Vec<String> = approved_roles(&device).into_iter().filter(|role| role != NODE).collect();
    let role = if roles.is_empty() {
        draft.remove_device(node_id);
        pairing::forget_requests(draft, node_id, step);
        setup::forget_those_by(draft, node_id);
        None
    } else {
        if left.role.as_deref() == Some(NODE) {
            left.role = roles.first().cloned();
        }
        left.roles = Some(roles);
        if let Some(tokens) = &mut left.tokens {
            tokens.remove(NODE);
        }
        draft.set_device(node_id, left, Weight::Hard);
        Some(NODE.to_owned())
    };
    forget(draft, node_id, true, step);
    step.after.push(Notice::Close(CloseDevice { device_id: node_id.to_owned(), role }));
    Ok(Done::Told(serde_json::json!({"nodeId": node_id})))
}

/// A device is a node no more.
pub(super) fn forget(draft: &mut Draft<'_>, node_id: &str, was_node: bool, step: &mut Step<'_>) {
    let has_entry = draft.node(node_id).is_some();
    if draft.damage().is_none() {
        if has_entry {
            draft.set_node(node_id, None);
        }
        for (id, _) in requests_of(draft, node_id) {
            draft.set_node_request(&id, None);
        }
    }
    if was_node || has_entry {
        step.say(Notice::NodeResolved {
            request_id: String::new(),
            node_id: node_id.to_owned(),
            decision: "removed",
            ts: step.now_ms,
        });
    }
}

/// `node.rename`.
pub(super) fn rename(
    draft: &mut Draft<'_>,
    node_id: &str,
    name: &str,
    step: &mut Step<'_>,
) -> Result<Done, DeviceError> {
    let device = known(draft, node_id)?;
    super::set_label(draft, &device, name, step);
    Ok(Done::Told(serde_json::json!({"nodeId": node_id, "displayName": name})))
}

/// `node.pair.request`, which only protocol 3 has: an operator asks for a node.
pub(super) fn ask(
    draft: &mut Draft<'_>,
    asked: &NodeEntry,
    step: &mut Step<'_>,
) -> Result<Done, DeviceError> {
    undamaged(draft)?;
    known(draft, &asked.node_id)?;
    let waiting = requests_of(draft, &asked.node_id).into_iter().next();
    let (request, created) = match waiting {
        Some((_, request)) => (request, false),
        None => {
            let request = NodeEntry {
                request_id: Some(step.random.uuid()),
                is_repair: Some(draft.node(&asked.node_id).is_some()),
                ts: Some(step.now_ms),
                ..asked.clone()
            };
            (file(draft, request, step), true)
        }
    };
    Ok(Done::NodeAsked { request, created })
}

/// `node.pair.verify`, which only protocol 3 has.
pub(super) fn verify(draft: &Draft<'_>, node_id: &str, token: &Secret) -> Done {
    let entry = draft.node(node_id).filter(|_| known(draft, node_id).is_ok());
    let is_right = |entry: &NodeEntry| entry.token.as_deref().is_some_and(|have| token.matches(have));
    Done::NodeVerified(entry.filter(|entry| is_right(entry)).cloned())
}

/// Commands that reach a node's shell, files, browser or approvals.
const STRONG_COMMANDS: &[&str] = &[
    "system.run",
    "system.run.prepare",
    "system.which",
    "browser.proxy",
    "browser.proxy.upload.v1",
    "fs.listDir",
    "terminal.upload",
    "system.execApprovals.get",
    "system.execApprovals.set",
];
/// The wire name of [`crate::scope::Role::Node`].
/// A member of the device: the release that does not know it leaves what it does not know.
const SURFACE_ASKED: &str = "nodeSurfaceAsked";
const NODE: &str = "node";
