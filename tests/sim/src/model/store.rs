//! The device store as its promises make it: what was acknowledged is on disk at that moment, and stays.
//!
//! Somebody else may change the files, and so may a write whose answer came too late or said that it failed. From
//! then until the gateway has looked again, nothing can be said about them.

use super::{Model, Op, OpParams, Phase};
use clawgate_proto::frame::Payload;
use clawgate_proto::host::{Document, HostAnswer, HostRequest};
use clawgate_proto::id::{ConnId, Ticket};
use clawgate_proto::store::nodes::Nodes;
use clawgate_proto::store::{self, DeviceToken, Devices, Paired, PairedDevice, Pending};
use clawgate_proto::{Mono, Now};
use clawgate_support::MemoryHost;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of the store from what was acknowledged.
#[derive(Debug)]
pub(super) struct StoreBook {
    host: Arc<MemoryHost>,
    /// Tickets without an answer, with the moment of the question and whether it was for the load.
    awaited: BTreeMap<Ticket, (Mono, bool)>,
    /// How often the files may have changed without the gateway's knowledge.
    moves: u64,
    /// How many of these it has noticed.
    noticed: u64,
    /// What it could notice when the host looked for a ticket.
    looks: BTreeMap<Ticket, u64>,
    /// Devices as last acknowledged; `None` for one that is gone.
    acknowledged: BTreeMap<String, Option<Hard>>,
    /// Devices with operations on their way, and how many. Several may share a batch; then only the last of them
    /// shows on disk.
    busy: BTreeMap<String, u32>,
    /// An operation on some device, nobody knows which, is on its way.
    is_any_busy: bool,
    /// Operations since nothing was on its way.
    begun: u32,
    /// Devices that one of them may approve: one that stands on this machine, or a person's.
    approvable: BTreeSet<String>,
}

/// The members of a record that only an acknowledged change may move.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hard {
    public_key: String,
    roles: Option<Vec<String>>,
    approved_scopes: Option<Vec<String>>,
    /// Token and time of revocation, by role.
    tokens: BTreeMap<String, (String, Option<u64>)>,
}

impl StoreBook {
    pub(super) fn new(host: Arc<MemoryHost>) -> Self {
        Self {
            host,
            awaited: BTreeMap::new(),
            moves: 0,
            noticed: 0,
            looks: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            busy: BTreeMap::new(),
            is_any_busy: false,
            begun: 0,
            approvable: BTreeSet::new(),
        }
    }

    pub(super) fn paired(&self) -> Option<Paired> {
        match self.host.content(Document::DevicesPaired) {
            Some(bytes) => store::parse_paired(&bytes).ok(),
            None => Some(Paired::new()),
        }
    }

    pub(super) fn pending(&self) -> Option<Pending> {
        match self.host.content(Document::DevicesPending) {
            Some(bytes) => store::parse_pending(&bytes).ok(),
            None => Some(Pending::new()),
        }
    }

    pub(super) fn node_requests(&self) -> Option<Nodes> {
        match self.host.content(Document::NodeRequests) {
            Some(bytes) => store::parse_nodes(&bytes).ok(),
            None => Some(Nodes::new()),
        }
    }

    fn nodes(&self) -> Option<Nodes> {
        match self.host.content(Document::Nodes) {
            Some(bytes) => store::parse_nodes(&bytes).ok(),
            None => Some(Nodes::new()),
        }
    }

    /// Devices and nodes tell one story: the host is to store this, and who newly offers or asks to offer something is
    /// a paired device with that role.
    pub(super) fn check_views(&self, next: &Devices) -> Result<(), String> {
        let (Some(nodes), Some(requests)) = (self.nodes(), self.node_requests()) else { return Ok(()) };
        let is_node = |id: &String| {
            let device = next.paired.get(id);
            device.is_some_and(|device| device.roles.iter().flatten().any(|role| role == "node"))
        };
        for (id, entry) in &next.nodes {
            if nodes.get(id) != Some(entry) && !is_node(id) {
                return Err(format!("{id} may offer something, and is no node"));
            }
        }
        for (id, request) in &next.node_requests {
            if requests.get(id) != Some(request) && !is_node(&request.node_id) {
                return Err(format!("{} asks to offer something, and is no node", request.node_id));
            }
        }
        // Whoever is gone from the one is gone from the other.
        let before = self.paired().unwrap_or_default();
        let left = before.keys().find(|id| {
            !next.paired.contains_key(*id)
                && (next.nodes.contains_key(*id)
                    || next.node_requests.values().any(|request| request.node_id == **id))
        });
        left.map_or(Ok(()), |id| Err(format!("{id} is removed, and stays a node")))
    }

    /// The files may have changed without the gateway's knowledge.
    pub(super) fn moved(&mut self) {
        self.moves += 1;
        self.acknowledged.clear();
    }

    /// Whether the files are as the gateway knows them.
    pub(super) fn is_known(&self) -> bool {
        self.noticed == self.moves
    }

    pub(super) fn asked(&mut self, ticket: Ticket, request: &HostRequest, now: Mono) {
        self.awaited.insert(ticket, (now, matches!(request, HostRequest::Load)));
    }

    /// The gateway gave up on the host: on the oldest question. Says which.
    pub(super) fn given_up(&mut self) -> Option<(Ticket, (Mono, bool))> {
        self.awaited.pop_first()
    }

    pub(super) fn looked(&mut self, ticket: Ticket) {
        self.looks.insert(ticket, self.moves);
    }

    /// Whether anybody waits for this answer.
    pub(super) fn answered(&mut self, ticket: Ticket, answer: &HostAnswer) -> bool {
        let is_awaited = self.awaited.remove(&ticket).is_some();
        let look = self.looks.remove(&ticket);
        match answer {
            HostAnswer::Devices(Ok(_)) if is_awaited => self.noticed = self.noticed.max(look.unwrap_or(0)),
            HostAnswer::Devices(_)
            | HostAnswer::Stored(_)
            | HostAnswer::SystemInfo(_)
            | HostAnswer::Channels(_)
            | HostAnswer::WhoIs(_)
            | HostAnswer::LogsTail(_)
            | HostAnswer::VoiceWake(_)
            | HostAnswer::Restart(_)
            | HostAnswer::ExecApprovals(_)
            | HostAnswer::ExecApprovalsStored(_)
            | HostAnswer::Load(_)
            | HostAnswer::Config(_)
            | HostAnswer::File(_)
            | HostAnswer::FilePiece(_)
            | HostAnswer::FilesChanged(_)
            | HostAnswer::WizardStart(_) => {}
        }
        is_awaited
    }

    /// Nothing is on its way through the store.
    pub(super) fn rests(&mut self) {
        self.busy.clear();
        self.is_any_busy = false;
        self.begun = 0;
        self.approvable.clear();
    }

    pub(super) fn device_of_request(&self, request_id: &str) -> Option<String> {
        Some(self.pending()?.get(request_id)?.device_id.clone())
    }

    /// Whether this request waits, as far as one can say: a later operation of the same batch, of a peer that has
    /// left perhaps, may have taken it away again.
    pub(super) fn has_request(&self, request_id: &str) -> bool {
        !self.is_known()
            || self.begun > 1
            || self.pending().is_none_or(|pending| pending.contains_key(request_id))
    }

    /// An operation on this device is on its way.
    pub(super) fn begins(&mut self, device: &str) {
        *self.busy.entry(device.to_owned()).or_default() += 1;
        self.begun += 1;
        self.acknowledged.remove(device);
    }

    /// The operation that begins may approve this device.
    pub(super) fn may_approve(&mut self, device: &str) {
        self.approvable.insert(device.to_owned());
    }

    /// Who approves whom: the host is to store this.
    pub(super) fn check_approvals(&self, next: &Devices) -> Result<(), String> {
        let (true, Some(before)) = (self.is_known() && !self.is_any_busy, self.paired()) else {
            return Ok(());
        };
        for (id, device) in &next.paired {
            let is_same = before.get(id).is_some_and(|old| old.approved_at_ms == device.approved_at_ms);
            if !is_same && !self.approvable.contains(id) {
                return Err(format!("device {id} is approved by nobody"));
            }
        }
        Ok(())
    }

    /// An operation is on its way; it is not known on which device.
    pub(super) fn begins_somewhere(&mut self) {
        self.is_any_busy = true;
        self.begun += 1;
        self.acknowledged.clear();
    }

    /// Whether nothing but one operation on this device can have changed it.
    fn is_clear(&self, device: &str) -> bool {
        self.is_known() && !self.is_any_busy && self.busy.get(device).copied().unwrap_or(0) <= 1
    }

    /// An operation on this device was not done, or not wholly.
    pub(super) fn failed(&mut self, device: &str) {
        self.acknowledged.remove(device);
        self.ends(device);
    }

    fn ends(&mut self, device: &str) {
        if let Some(count) = self.busy.get_mut(device) {
            *count = count.saturating_sub(1);
        }
    }

    /// A change of this device is acknowledged: what the disk holds now is a promise, and so is all that was
    /// promised before.
    pub(super) fn acknowledged(&mut self, device: &str) -> Result<(), String> {
        let is_clear = self.is_clear(device);
        self.ends(device);
        if !self.is_known() {
            return Ok(());
        }
        let Some(paired) = self.paired() else {
            return Err("something is acknowledged over a file that cannot be read".to_owned());
        };
        for (id, promised) in &self.acknowledged {
            let have = paired.get(id).map(hard);
            let is_busy = self.is_any_busy || self.busy.get(id).is_some_and(|count| *count > 0);
            if id != device && !is_busy && have != *promised {
                return Err(format!("device {id} was promised to stay as it is, and has changed"));
            }
        }
        let have = paired.get(device).map(hard);
        if is_clear {
            self.acknowledged.insert(device.to_owned(), have);
        }
        Ok(())
    }

    /// An admitted device is paired, on disk, for all it was given.
    pub(super) fn check_paired(
        &self,
        device: &str,
        role: &str,
        scopes: &BTreeSet<String>,
        issued: Option<&str>,
        shown: Option<&str>,
    ) -> Result<(), String> {
        if !self.is_clear(device) {
            return Ok(());
        }
        let paired = self.paired().ok_or("though the store cannot be read")?;
        let record = paired.get(device).ok_or("though its device is not paired")?;
        if !record.roles.iter().flatten().chain(&record.role).any(|have| have == role) {
            return Err(format!("as {role}, which nobody approved"));
        }
        let approved: BTreeSet<String> = record
            .approved_scopes
            .as_ref()
            .or(record.scopes.as_ref())
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let covers = |scope: &String| match role {
            "operator" => super::satisfies(&approved, scope),
            _ => approved.contains(scope),
        };
        if let Some(scope) = scopes.iter().find(|scope| !covers(scope)) {
            return Err(format!("with {scope}, which nobody approved"));
        }
        let entry = record.tokens.as_ref().and_then(|tokens| tokens.get(role));
        let is_stored =
            |entry: &DeviceToken, token: &str| entry.token == token && entry.revoked_at_ms.is_none();
        if let Some(token) = issued
            && !entry.is_some_and(|entry| is_stored(entry, token))
        {
            return Err("with a token that is not stored".to_owned());
        }
        // An approval that needs no person replaces the token that was shown.
        let is_fresh = entry.is_some_and(|entry| entry.rotated_at_ms == Some(record.approved_at_ms));
        if let Some(token) = shown
            && !is_fresh
            && !entry.is_some_and(|entry| is_stored(entry, token))
        {
            return Err("with a token that opens nothing".to_owned());
        }
        Ok(())
    }
}

impl Model {
    /// An operation succeeded: the disk must say so, and sockets that lost their ground must close.
    pub(super) fn op_done(&mut self, now: Now, conn: ConnId, op: &Op, payload: &Payload) {
        let Payload::Value(value) = payload else { return };
        if let Err(why) = self.check_op(op, value) {
            return self.accuse(now, format!("{conn}: {} is acknowledged, but {why}", op.method));
        }
        if let Some(token) = value["token"].as_str() {
            self.tokens.insert(token.to_owned());
        }
        let device = value["deviceId"].as_str().or_else(|| value["device"]["deviceId"].as_str());
        let device = device.or_else(|| value["nodeId"].as_str());
        let (Some(device), false) = (device.map(str::to_owned), matches!(op.params, OpParams::None)) else {
            return;
        };
        if let Err(why) = self.store.acknowledged(&device) {
            return self.accuse(now, why);
        }
        let role = match &op.params {
            OpParams::DeviceRole(_, role) => Some(role.clone()),
            OpParams::Device(_) => None,
            OpParams::Node(_) => Some("node".to_owned()),
            OpParams::None | OpParams::Request(_) | OpParams::NodeRequest(_) | OpParams::Invoke(_) => return,
        };
        let affected = self.conns.iter().filter(|(_, book)| match &book.phase {
            Phase::Open(session) => {
                session.device.as_ref() == Some(&device)
                    && role.as_deref().is_none_or(|role| role == session.role.as_str())
            }
            Phase::Headless | Phase::Http | Phase::Handshake | Phase::Ending => false,
        });
        self.must_close.extend(affected.map(|(conn, _)| *conn));
    }

    fn check_op(&self, op: &Op, value: &Value) -> Result<(), String> {
        let device = op.device.as_deref().unwrap_or_default();
        if !self.store.is_clear(device) {
            return Ok(());
        }
        let (Some(paired), Some(pending)) = (self.store.paired(), self.store.pending()) else {
            return Err("the store cannot be read".to_owned());
        };
        let token = |device: &str, role: &str| {
            paired.get(device).and_then(|record| record.tokens.as_ref()?.get(role).cloned())
        };
        match (op.method.as_str(), &op.params) {
            ("device.pair.approve", OpParams::Request(id)) => {
                let device = value["device"]["deviceId"].as_str().unwrap_or_default();
                if pending.contains_key(id) || !paired.contains_key(device) {
                    return Err("the request still waits, or the device is not there".to_owned());
                }
            }
            ("device.pair.reject", OpParams::Request(id)) if pending.contains_key(id) => {
                return Err("the request still waits".to_owned());
            }
            ("device.pair.remove", OpParams::Device(device)) if paired.contains_key(device) => {
                return Err("the device is still there".to_owned());
            }
            ("node.pair.approve", OpParams::NodeRequest(id)) if self.node_requests().contains(id) => {
                return Err("the node's request still waits".to_owned());
            }
            ("node.pair.remove", OpParams::Node(device)) => {
                let roles = paired.get(device).into_iter().flat_map(|record| record.roles.iter().flatten());
                if roles.into_iter().any(|role| role == "node") {
                    return Err("it is a node still".to_owned());
                }
            }
            ("device.token.rotate", OpParams::DeviceRole(device, role)) => {
                let at =
                    token(device, role).and_then(|token| token.rotated_at_ms.or(Some(token.created_at_ms)));
                if at != value["rotatedAtMs"].as_u64() {
                    return Err("the token is another one".to_owned());
                }
            }
            ("device.token.revoke", OpParams::DeviceRole(device, role)) => {
                let at = token(device, role).and_then(|token| token.revoked_at_ms);
                if at.is_none() || at != value["revokedAtMs"].as_u64() {
                    return Err("the token is not revoked".to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn hard(device: &Arc<PairedDevice>) -> Hard {
    let tokens = device.tokens.iter().flatten();
    Hard {
        public_key: device.public_key.clone(),
        roles: device.roles.clone(),
        approved_scopes: device.approved_scopes.clone(),
        tokens: tokens
            .map(|(role, token)| (role.clone(), (token.token.clone(), token.revoked_at_ms)))
            .collect(),
    }
}
