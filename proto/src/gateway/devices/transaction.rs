//! A batch of operations as one change of the store: a draft over the committed content, and what to make of
//! content that somebody else wrote.
//!
//! Changes are hard or soft. A hard one must be durable before anybody hears of it. A soft one ("last seen", and
//! the like) lives in memory and rides along with the next hard write of its document; losing it in a crash
//! costs nothing.

use super::{CloseDevice, rule_of};
use crate::limits::Limits;
use crate::scope::Scopes;
use crate::secret;
use crate::store::nodes::NodeEntry;
use crate::store::setup::SetupToken;
use crate::store::{DeviceToken, Devices, Paired, PairedDevice, PendingRequest, Seen};
use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How soon a change must reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Before anybody hears of it.
    Hard,
    /// With the next hard change of the same document.
    Soft,
}

/// The committed store with changes on top; cheap, since untouched records stay where they are.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    base: &'a Devices,
    seen: &'a BTreeMap<String, Seen>,
    delta: Delta,
    hard_changes: usize,
}

/// What a draft changes. `None` removes.
#[derive(Default)]
pub(super) struct Delta {
    paired: BTreeMap<String, Option<Arc<PairedDevice>>>,
    pending: BTreeMap<String, Option<Arc<PendingRequest>>>,
    setup: BTreeMap<String, Option<Arc<SetupToken>>>,
    nodes: BTreeMap<String, Option<Arc<NodeEntry>>>,
    node_requests: BTreeMap<String, Option<Arc<NodeEntry>>>,
    seen: BTreeMap<String, Option<Seen>>,
    /// Which documents must be written.
    pub(super) writes: Writes,
}

/// Documents to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Writes {
    /// `devices/paired.json`.
    pub(super) paired: bool,
    /// `devices/pending.json`.
    pub(super) pending: bool,
    /// `devices/bootstrap.json`.
    pub(super) setup: bool,
    /// `nodes/paired.json`.
    pub(super) nodes: bool,
    /// `nodes/pending.json`.
    pub(super) node_requests: bool,
}

impl Writes {
    /// Whether there is one.
    pub(super) fn any(self) -> bool {
        self.paired || self.pending || self.setup || self.nodes || self.node_requests
    }

    /// Their names, for a person.
    pub(super) fn names(self) -> String {
        let names = [
            (self.setup, "devices/bootstrap.json"),
            (self.paired, "devices/paired.json"),
            (self.pending, "devices/pending.json"),
            (self.nodes, "nodes/paired.json"),
            (self.node_requests, "nodes/pending.json"),
        ];
        let names: Vec<&str> =
            names.into_iter().filter(|(is_one, _)| *is_one).map(|(_, name)| name).collect();
        names.join(" and ")
    }
}

// By hand: setup tokens are keys.
impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delta")
            .field("paired", &self.paired.len())
            .field("pending", &self.pending.len())
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

impl<'a> Draft<'a> {
    /// A draft without changes, but for requests and setup codes that are too old, and codes that stand on a shared
    /// secret of before `codes_since_ms`: those are gone at once, in memory. The file forgets them with its next write.
    pub(super) fn new(
        base: &'a Devices,
        seen: &'a BTreeMap<String, Seen>,
        now_ms: u64,
        codes_since_ms: u64,
        limits: &Limits,
    ) -> Self {
        let mut draft = Self { base, seen, delta: Delta::default(), hard_changes: 0 };
        for (id, request) in &base.pending {
            if now_ms.saturating_sub(request.ts) > limits.pairing_ttl_ms {
                draft.delta.pending.insert(id.clone(), None);
            }
        }
        for (token, entry) in &base.setup.0 {
            // A clock that was set back would make it live for longer: from the future is too old as well.
            let is_old = now_ms.abs_diff(entry.issued_at_ms) > limits.setup_ttl_ms;
            if is_old || (entry.issued_by.is_none() && entry.issued_at_ms <= codes_since_ms) {
                draft.delta.setup.insert(token.clone(), None);
            }
        }
        draft
    }

    /// Why what is not about devices alone cannot be done.
    pub(super) fn damage(&self) -> Option<&str> {
        self.base.damage.as_deref()
    }

    /// Setup codes that may still be used, by token.
    pub(super) fn setup_tokens(&self) -> impl Iterator<Item = (&String, &Arc<SetupToken>)> {
        shown(&self.base.setup.0, &self.delta.setup)
    }

    /// Adds, replaces or removes a setup code.
    pub(super) fn set_setup(&mut self, token: &str, entry: Option<SetupToken>) {
        self.hard_changes += 1;
        self.delta.writes.setup = true;
        self.delta.setup.insert(token.to_owned(), entry.map(Arc::new));
    }

    /// What a node may offer.
    pub(super) fn node(&self, node_id: &str) -> Option<&Arc<NodeEntry>> {
        match self.delta.nodes.get(node_id) {
            Some(changed) => changed.as_ref(),
            None => self.base.nodes.get(node_id),
        }
    }

    /// Adds, replaces or removes what a node may offer.
    pub(super) fn set_node(&mut self, node_id: &str, entry: Option<NodeEntry>) -> Option<Arc<NodeEntry>> {
        self.hard_changes += 1;
        self.delta.writes.nodes = true;
        let entry = entry.map(Arc::new);
        self.delta.nodes.insert(node_id.to_owned(), entry.clone());
        entry
    }

    /// What nodes ask to offer, by request id.
    pub(super) fn node_requests(&self) -> impl Iterator<Item = (&String, &Arc<NodeEntry>)> {
        shown(&self.base.node_requests, &self.delta.node_requests)
    }

    /// Adds, replaces or removes a request of a node.
    pub(super) fn set_node_request(&mut self, request_id: &str, entry: Option<Arc<NodeEntry>>) {
        self.hard_changes += 1;
        self.delta.writes.node_requests = true;
        self.delta.node_requests.insert(request_id.to_owned(), entry);
    }

    /// A paired device.
    pub(super) fn device(&self, device_id: &str) -> Option<&Arc<PairedDevice>> {
        match self.delta.paired.get(device_id) {
            Some(changed) => changed.as_ref(),
            None => self.base.paired.get(device_id),
        }
    }

    /// How many devices are paired.
    pub(super) fn devices_len(&self) -> usize {
        let mut len = self.base.paired.len();
        for (id, changed) in &self.delta.paired {
            match (self.base.paired.contains_key(id), changed) {
                (true, None) => len -= 1,
                (false, Some(_)) => len += 1,
                (true, Some(_)) | (false, None) => {}
            }
        }
        len
    }

    /// Adds or replaces a device; a soft change that changes nothing is none.
    pub(super) fn set_device(
        &mut self,
        device_id: &str,
        device: PairedDevice,
        weight: Weight,
    ) -> Arc<PairedDevice> {
        if let (Weight::Soft, Some(have)) = (weight, self.device(device_id))
            && **have == device
        {
            return have.clone();
        }
        self.paired_changes(weight);
        let device = Arc::new(device);
        self.delta.paired.insert(device_id.to_owned(), Some(device.clone()));
        device
    }

    /// Removes a device, and what this process remembers of it.
    pub(super) fn remove_device(&mut self, device_id: &str) {
        self.paired_changes(Weight::Hard);
        self.delta.paired.insert(device_id.to_owned(), None);
        self.delta.seen.insert(device_id.to_owned(), None);
    }

    /// Notes when a device was seen; memory only.
    pub(super) fn set_seen(&mut self, device_id: &str, seen: Seen) {
        self.delta.seen.insert(device_id.to_owned(), Some(seen));
    }

    /// What this process remembers of a device.
    pub(super) fn seen(&self, device_id: &str) -> Option<&Seen> {
        match self.delta.seen.get(device_id) {
            Some(changed) => changed.as_ref(),
            None => self.seen.get(device_id),
        }
    }

    /// A pending request.
    pub(super) fn request(&self, request_id: &str) -> Option<&Arc<PendingRequest>> {
        match self.delta.pending.get(request_id) {
            Some(changed) => changed.as_ref(),
            None => self.base.pending.get(request_id),
        }
    }

    /// Every pending request, under the id that is its key.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&String, &Arc<PendingRequest>)> {
        shown(&self.base.pending, &self.delta.pending)
    }

    /// Adds or replaces a request.
    pub(super) fn set_request(&mut self, request_id: &str, request: Arc<PendingRequest>, weight: Weight) {
        self.pending_changes(weight);
        self.delta.pending.insert(request_id.to_owned(), Some(request));
    }

    /// Removes a request.
    pub(super) fn remove_request(&mut self, request_id: &str) {
        self.pending_changes(Weight::Hard);
        self.delta.pending.insert(request_id.to_owned(), None);
    }

    /// How many hard changes were made so far: an operation that moves this number changed something.
    pub(super) fn hard_changes(&self) -> usize {
        self.hard_changes
    }

    /// The changes alone.
    pub(super) fn finish(self) -> Delta {
        self.delta
    }

    fn paired_changes(&mut self, weight: Weight) {
        match weight {
            Weight::Hard => {
                self.hard_changes += 1;
                self.delta.writes.paired = true;
            }
            Weight::Soft => {}
        }
    }

    fn pending_changes(&mut self, weight: Weight) {
        match weight {
            Weight::Hard => {
                self.hard_changes += 1;
                self.delta.writes.pending = true;
            }
            Weight::Soft => {}
        }
    }
}

impl Delta {
    /// Applies the changes of the documents. An empty delta copies nothing, whoever shares `devices`.
    pub(super) fn apply(self, devices: &mut Arc<Devices>, seen: &mut Arc<BTreeMap<String, Seen>>) {
        let changes = [
            self.paired.is_empty(),
            self.pending.is_empty(),
            self.setup.is_empty(),
            self.nodes.is_empty(),
            self.node_requests.is_empty(),
        ];
        if changes.contains(&false) {
            let devices = Arc::make_mut(devices);
            apply_map(self.paired, &mut devices.paired);
            apply_map(self.pending, &mut devices.pending);
            apply_map(self.setup, &mut devices.setup.0);
            apply_map(self.nodes, &mut devices.nodes);
            apply_map(self.node_requests, &mut devices.node_requests);
        }
        if !self.seen.is_empty() {
            apply_map(self.seen, Arc::make_mut(seen));
        }
    }
}

/// What a map holds with its changes.
fn shown<'m, T>(
    base: &'m BTreeMap<String, T>,
    changes: &'m BTreeMap<String, Option<T>>,
) -> impl Iterator<Item = (&'m String, &'m T)> {
    let untouched = base.iter().filter(|(id, _)| !changes.contains_key(*id));
    untouched.chain(changes.iter().filter_map(|(id, change)| Some((id, change.as_ref()?))))
}

fn apply_map<T>(changes: BTreeMap<String, Option<T>>, map: &mut BTreeMap<String, T>) {
    for (id, change) in changes {
        match change {
            Some(value) => drop(map.insert(id, value)),
            None => drop(map.remove(&id)),
        }
    }
}

/// What memory becomes when the disk holds `found`, written by somebody else. The file wins; soft changes made
/// here since `disk`, the content last known to be there, are kept where the file did not touch them.
pub(super) fn adopt(memory: &Devices, disk: &Devices, found: &Arc<Devices>) -> Arc<Devices> {
    let mut merged = found.clone();
    for (id, ours) in &memory.paired {
        let (Some(base), Some(theirs)) = (disk.paired.get(id), found.paired.get(id)) else { continue };
        if !Arc::ptr_eq(ours, base) && ours.public_key == theirs.public_key {
            let record = keep_soft(ours, base, theirs);
            Arc::make_mut(&mut merged).paired.insert(id.clone(), Arc::new(record));
        }
    }
    for (id, ours) in &memory.pending {
        let Some(theirs) = found.pending.get(id) else { continue };
        if ours.device_id == theirs.device_id && ours.ts > theirs.ts {
            let request = PendingRequest { ts: ours.ts, ..(**theirs).clone() };
            Arc::make_mut(&mut merged).pending.insert(id.clone(), Arc::new(request));
        }
    }
    merged
}

fn keep_soft(ours: &PairedDevice, base: &PairedDevice, theirs: &PairedDevice) -> PairedDevice {
    fn pick<T: Clone + PartialEq>(ours: &T, base: &T, theirs: &T) -> T {
        if theirs == base { ours.clone() } else { theirs.clone() }
    }
    let mut merged = PairedDevice {
        display_name: pick(&ours.display_name, &base.display_name, &theirs.display_name),
        platform: pick(&ours.platform, &base.platform, &theirs.platform),
        device_family: pick(&ours.device_family, &base.device_family, &theirs.device_family),
        client_id: pick(&ours.client_id, &base.client_id, &theirs.client_id),
        client_mode: pick(&ours.client_mode, &base.client_mode, &theirs.client_mode),
        role: pick(&ours.role, &base.role, &theirs.role),
        remote_ip: pick(&ours.remote_ip, &base.remote_ip, &theirs.remote_ip),
        ..theirs.clone()
    };
    // Scopes noted at a connect mean something only beside the approval they were covered by.
    if theirs.scopes == base.scopes && theirs.approved_scopes == base.approved_scopes {
        merged.scopes.clone_from(&ours.scopes);
    }
    for (role, token) in merged.tokens.iter_mut().flatten() {
        if let Some(have) = ours.tokens.as_ref().and_then(|tokens| tokens.get(role)) {
            token.last_used_at_ms = token.last_used_at_ms.max(have.last_used_at_ms);
        }
    }
    merged
}

/// The live sockets that lost their ground between two contents of the store: the device is gone, one of its
/// approvals shrank, or the token of a role was revoked, replaced or narrowed.
pub(super) fn lost_ground(before: &Paired, after: &Paired) -> Vec<CloseDevice> {
    let mut lost = Vec::new();
    for (id, old) in before {
        let Some(new) = after.get(id).filter(|new| new.public_key == old.public_key) else {
            lost.push(CloseDevice { device_id: id.clone(), role: None });
            continue;
        };
        if Arc::ptr_eq(old, new) {
            continue;
        }
        let (old_base, new_base) = (baseline(old), baseline(new));
        if narrower(super::OPERATOR, &old_base, &new_base) {
            lost.push(CloseDevice { device_id: id.clone(), role: None });
            continue;
        }
        let new_roles = approved_roles(new);
        let old_roles = approved_roles(old);
        let token_roles = old.tokens.iter().flat_map(BTreeMap::keys);
        for role in Scopes::new(old_roles.iter().chain(token_roles)).as_slice() {
            let role_lost = old_roles.contains(role) && !new_roles.contains(role);
            if role_lost || token_lost(old, new, role) {
                lost.push(CloseDevice { device_id: id.clone(), role: Some(role.clone()) });
            }
        }
    }
    lost
}

fn token_lost(old: &PairedDevice, new: &PairedDevice, role: &str) -> bool {
    let Some(old) = token(old, role).filter(|token| token.revoked_at_ms.is_none()) else { return false };
    let Some(new) = token(new, role) else { return true };
    new.revoked_at_ms.is_some()
        || !secret::same(&new.token, &old.token)
        || narrower(role, &Scopes::new(&old.scopes), &Scopes::new(&new.scopes))
}

fn narrower(role: &str, old: &Scopes, new: &Scopes) -> bool {
    new.first_uncovered(rule_of(role), old).is_some()
}

/// The token entry of a role.
pub(super) fn token<'a>(device: &'a PairedDevice, role: &str) -> Option<&'a DeviceToken> {
    device.tokens.as_ref()?.get(role)
}

/// The scopes a device was approved for. A record without any has an empty baseline: an empty request fits it.
pub(super) fn baseline(device: &PairedDevice) -> Scopes {
    Scopes::new(device.approved_scopes.as_ref().or(device.scopes.as_ref()).into_iter().flatten())
}

/// The roles a device was approved for, in the order of approval.
pub(super) fn approved_roles(device: &PairedDevice) -> Vec<String> {
    match &device.roles {
        Some(roles) => roles.clone(),
        None => device.role.iter().cloned().collect(),
    }
}
