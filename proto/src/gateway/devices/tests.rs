//! The device store against a host in memory: the mechanics here, the rules in the files below.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the outcome it expects; any other one fails it"
)]

mod durability;
mod grants;
mod nodes;
mod pairing;
mod random_ops;
mod setup;
mod tokens;

use super::pairing::{Candidate, ConnectOp, Connected, DeviceClient, Locality, PairingRequired};
use super::tokens::TokenFault;
use super::*;
use crate::host::{self, Document, Host, Version, Write};
use crate::scope::Scopes;
use crate::secret::Secret;
use crate::seed::Seed;
use crate::store::{self, PairedDevice, PendingRequest};
use crate::time::Wall;
use bytes::Bytes;
use std::sync::Mutex;

/// What a write should do instead of working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Refuse: somebody wrote in between (which is up to the test).
    Conflict,
    /// Fail, with nothing changed.
    Fails,
    /// Fail after the change reached the disk.
    FailsLate,
    /// Fail after the first of several documents reached the disk.
    FailsHalfway,
}

/// A state folder in memory. Marks count up, so an edit that changes nothing shows too.
#[derive(Debug, Default)]
pub(super) struct Disk(Mutex<Content>);

#[derive(Debug, Default)]
pub(super) struct Content {
    documents: BTreeMap<Document, (Vec<u8>, u64)>,
    marks: u64,
    faults: VecDeque<Fault>,
    unreadable: bool,
    /// Documents of each successful write.
    writes: Vec<Vec<Document>>,
}

impl Content {
    fn put(&mut self, document: Document, bytes: Vec<u8>) -> Version {
        self.marks += 1;
        self.documents.insert(document, (bytes, self.marks));
        Version([self.marks, 1, 0, 0])
    }

    fn mark(&self, document: Document) -> Version {
        self.documents.get(&document).map_or(Version::MISSING, |(_, mark)| Version([*mark, 1, 0, 0]))
    }
}

impl Host for Disk {
    fn version(&self, document: Document) -> Result<Version, HostFault> {
        let content = self.0.lock().unwrap();
        if content.unreadable {
            Err(HostFault("input/output error".into()))
        } else {
            Ok(content.mark(document))
        }
    }

    fn read(&self, document: Document) -> Result<Option<(Vec<u8>, Version)>, HostFault> {
        let content = self.0.lock().unwrap();
        Ok(content.documents.get(&document).map(|(bytes, _)| (bytes.clone(), content.mark(document))))
    }

    fn write(&self, writes: &[Write<'_>]) -> Result<Vec<Version>, StoreFault> {
        let mut content = self.0.lock().unwrap();
        let fault = content.faults.pop_front();
        for write in writes {
            assert!(write.expected.is_some(), "a store that was never read is never written");
            if write.expected != Some(content.mark(write.document)) {
                return Err(StoreFault::Conflict);
            }
        }
        let landing = match fault {
            Some(Fault::Conflict) => return Err(StoreFault::Conflict),
            Some(Fault::Fails) => 0,
            Some(Fault::FailsHalfway) => 1,
            Some(Fault::FailsLate) | None => writes.len(),
        };
        let landed = writes[..landing]
            .iter()
            .map(|write| content.put(write.document, write.content.to_vec()))
            .collect();
        if fault.is_some() {
            return Err(StoreFault::Failed("no space left on device".into()));
        }
        content.writes.push(writes.iter().map(|write| write.document).collect());
        Ok(landed)
    }

    fn system_info(&self) -> Result<Bytes, HostFault> {
        Ok(Bytes::from_static(b"{}"))
    }

    fn log(&self, _record: &Record) {}
}

/// A store, its host, and what came out.
pub(super) struct Rig {
    store: DeviceStore<u32>,
    random: Random,
    now: Now,
    disk: Disk,
    limits: Limits,
    asked: Option<HostRequest>,
    keys: u32,
    /// Outcomes in the order of their coming.
    done: Vec<(u32, Done)>,
    notices: Vec<Notice>,
    /// Kinds of everything that came out, for tests of order.
    order: Vec<&'static str>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(super) fn with_limits(limits: Limits) -> Self {
        Self {
            store: DeviceStore::new(&limits),
            random: Random::new(Seed::new([7; 32])),
            now: Now { mono: Mono(0), wall: Wall(1_800_000_000_000) },
            disk: Disk::default(),
            limits,
            asked: None,
            keys: 0,
            done: Vec::new(),
            notices: Vec::new(),
            order: Vec::new(),
        }
    }

    /// A process that starts over on the same disk.
    pub(super) fn restart(&mut self) {
        self.store = DeviceStore::new(&self.limits);
        self.asked = None;
    }

    pub(super) fn pass_ms(&mut self, ms: u64) {
        self.now = Now { mono: self.now.mono.plus_millis(ms), wall: self.now.wall + ms };
    }

    pub(super) fn submit(&mut self, op: Op) -> u32 {
        self.submit_by(None, op)
    }

    /// The same, asked by an operator of that device.
    pub(super) fn submit_by(&mut self, device: Option<&str>, op: Op) -> u32 {
        self.keys += 1;
        let mut out = Vec::new();
        self.store.submit(self.now, op, device.map(Into::into), self.keys, &mut out);
        self.take(out);
        self.keys
    }

    /// The host answers what it was asked; `false` when nothing was.
    pub(super) fn turn(&mut self) -> bool {
        let Some(request) = self.asked.take() else { return false };
        let answer = host::perform(&self.disk, request);
        self.answer(answer);
        true
    }

    pub(super) fn answer(&mut self, answer: HostAnswer) {
        let mut out = Vec::new();
        self.store.answered(self.now, answer, &mut self.random, &mut out);
        self.take(out);
    }

    pub(super) fn time_out(&mut self) {
        let mut out = Vec::new();
        self.store.timed_out(self.now, &mut self.random, &mut out);
        self.take(out);
    }

    pub(super) fn settle(&mut self) {
        for _ in 0..1_000 {
            if !self.turn() {
                assert!(matches!(self.store.phase, Phase::Idle) && self.store.queue.is_empty());
                return;
            }
        }
        panic!("the store never comes to rest");
    }

    /// One operation, alone.
    pub(super) fn run(&mut self, op: Op) -> Done {
        let key = self.submit(op);
        self.settle();
        self.outcome(key)
    }

    pub(super) fn outcome(&self, key: u32) -> Done {
        let mut found = self.done.iter().filter(|(have, _)| *have == key);
        let outcome = found.next().expect("the operation has an outcome").1.clone();
        assert!(found.next().is_none(), "an operation has one outcome");
        outcome
    }

    fn take(&mut self, out: Vec<Effect<u32>>) {
        for effect in out {
            match effect {
                Effect::Host(request) => {
                    self.order.push("host");
                    assert!(self.asked.replace(request).is_none(), "one host request at a time");
                }
                Effect::Done { key, done } => {
                    self.order.push("done");
                    self.done.push((key, done));
                }
                Effect::Notice(notice) => {
                    self.order.push(match &notice {
                        Notice::Requested(_) => "requested",
                        Notice::Resolved { .. } => "resolved",
                        Notice::Close(_) => "close",
                        Notice::Changed { .. } => "changed",
                        Notice::NodeRequested(_) => "node requested",
                        Notice::NodeResolved { .. } => "node resolved",
                        Notice::Log(_) => "log",
                    });
                    self.notices.push(notice);
                }
            }
        }
    }

    pub(super) fn connect(&mut self, op: ConnectOp) -> Done {
        self.run(Op::Connect(Box::new(op)))
    }

    /// A connect that must succeed.
    pub(super) fn connected(&mut self, op: ConnectOp) -> Admitted {
        let resolved = self.resolved();
        match self.connect(op) {
            Done::Connected(connected) => {
                Admitted { approved_silently: self.resolved() > resolved, connected: *connected }
            }
            other => panic!("not connected: {other:?}"),
        }
    }

    /// A connect that must wait for a person.
    pub(super) fn refused(&mut self, op: ConnectOp) -> PairingRequired {
        match self.connect(op) {
            Done::PairingRequired(required) => *required,
            other => panic!("not asked to pair: {other:?}"),
        }
    }

    pub(super) fn failed(&mut self, op: Op) -> DeviceError {
        match self.run(op) {
            Done::Failed(error) => error,
            other => panic!("did not fail: {other:?}"),
        }
    }

    pub(super) fn approve(
        &mut self,
        request_id: &str,
        scopes: &[&str],
    ) -> Result<Arc<PairedDevice>, DeviceError> {
        let op = Op::Approve { request_id: request_id.into(), approver: Scopes::new(scopes) };
        match self.run(op) {
            Done::Approved { device, .. } => Ok(device),
            Done::Failed(error) => Err(error),
            other => panic!("neither approved nor failed: {other:?}"),
        }
    }

    pub(super) fn closed(&self) -> Vec<(String, Option<String>)> {
        let closes = self.notices.iter().filter_map(|notice| match notice {
            Notice::Close(close) => Some((close.device_id.clone(), close.role.clone())),
            _ => None,
        });
        closes.collect()
    }

    pub(super) fn resolved(&self) -> usize {
        self.order.iter().filter(|kind| **kind == "resolved").count()
    }

    pub(super) fn requested(&self) -> usize {
        self.order.iter().filter(|kind| **kind == "requested").count()
    }

    pub(super) fn memory(&self) -> &Devices {
        &self.store.committed
    }

    pub(super) fn device(&self, id: &str) -> &PairedDevice {
        &self.memory().paired[id]
    }

    pub(super) fn writes(&self) -> Vec<Vec<Document>> {
        self.disk.0.lock().unwrap().writes.clone()
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.disk.0.lock().unwrap().faults.push_back(fault);
    }

    pub(super) fn on_disk(&self) -> Devices {
        let content = self.disk.0.lock().unwrap();
        let bytes = |document| content.documents.get(&document).map(|(bytes, _)| bytes.as_slice());
        Devices {
            paired: bytes(Document::DevicesPaired)
                .map(|b| store::parse_paired(b).unwrap())
                .unwrap_or_default(),
            pending: bytes(Document::DevicesPending)
                .map(|b| store::parse_pending(b).unwrap())
                .unwrap_or_default(),
            setup: bytes(Document::DevicesSetup).map(|b| store::parse_setup(b).unwrap()).unwrap_or_default(),
            nodes: bytes(Document::Nodes).map(|b| store::parse_nodes(b).unwrap()).unwrap_or_default(),
            node_requests: bytes(Document::NodeRequests)
                .map(|b| store::parse_nodes(b).unwrap())
                .unwrap_or_default(),
            damage: None,
        }
    }

    /// Somebody else edits both files.
    pub(super) fn edit(&self, edit: impl FnOnce(&mut Devices)) {
        let mut devices = self.on_disk();
        edit(&mut devices);
        let mut content = self.disk.0.lock().unwrap();
        content.put(Document::DevicesPaired, store::render_paired(&devices.paired));
        content.put(Document::DevicesPending, store::render_pending(&devices.pending));
    }

    pub(super) fn put(&self, document: Document, text: &str) {
        self.disk.0.lock().unwrap().put(document, text.into());
    }

    pub(super) fn text(&self, document: Document) -> String {
        let content = self.disk.0.lock().unwrap();
        String::from_utf8(content.documents[&document].0.clone()).unwrap()
    }
}

/// An admitted device, and whether this connect was approved without a person.
pub(super) struct Admitted {
    connected: Connected,
    approved_silently: bool,
}

impl core::ops::Deref for Admitted {
    type Target = Connected;

    fn deref(&self) -> &Connected {
        &self.connected
    }
}

/// A local tool that proved the shared secret.
pub(super) fn local(id: &str, scopes: &[&str]) -> ConnectOp {
    ConnectOp {
        device_id: id.into(),
        public_key: format!("key-of-{id}"),
        role: Role::Operator,
        scopes: Scopes::new(scopes),
        client: DeviceClient {
            id: "cli".into(),
            mode: "cli".into(),
            display_name: None,
            platform: Some("linux".into()),
            device_family: None,
        },
        remote_ip: None,
        locality: Locality { local: true, local_pairs: true, shared_or_none: true, ..Locality::default() },
        candidate: None,
        setup: None,
        needs_setup: false,
        declared: None,
        exempt: false,
    }
}

/// The same from another machine.
pub(super) fn remote(id: &str, scopes: &[&str]) -> ConnectOp {
    let mut op = local(id, scopes);
    op.locality.local = false;
    op.remote_ip = Some("192.0.2.9".into());
    op
}

pub(super) fn node(mut op: ConnectOp) -> ConnectOp {
    op.role = Role::Node;
    op.client.id = "node-host".into();
    op.client.mode = "node".into();
    op
}

/// The same, but with a device token instead of the shared secret.
pub(super) fn with_token(mut op: ConnectOp, token: &str) -> ConnectOp {
    op.candidate = Some(Candidate { token: Secret::new(token).unwrap(), explicit: true });
    op.locality.shared_or_none = false;
    op
}

/// A phone that shows a setup code and nothing else.
pub(super) fn phone(id: &str, code: &Secret) -> ConnectOp {
    let mut op = node(remote(id, &[]));
    op.client.id = "openclaw-ios".into();
    op.client.platform = Some("iOS 18.4".into());
    op.client.device_family = Some("iPhone".into());
    with_code(op, code)
}

/// The same with a setup code instead of the shared secret.
pub(super) fn with_code(mut op: ConnectOp, code: &Secret) -> ConnectOp {
    op.setup = Some(code.clone());
    op.needs_setup = true;
    op.locality.shared_or_none = false;
    op
}

pub(super) fn token_of(connected: &Connected) -> String {
    connected.token.as_ref().expect("a device token").token.clone()
}

pub(super) fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn an_exempt_connection_needs_no_store() {
    let mut rig = Rig::new();
    rig.disk.0.lock().unwrap().unreadable = true;
    let mut op = local("a", &["operator.admin"]);
    op.exempt = true;
    let key = rig.submit(Op::Connect(Box::new(op)));
    assert!(matches!(rig.outcome(key), Done::Connected(connected) if connected.token.is_none()));
    assert!(rig.asked.is_none());
}

#[test]
fn the_queue_is_bounded_and_says_so() {
    let mut rig = Rig::with_limits(Limits { store_queue_max: 3, ..Limits::default() });
    let keys: Vec<u32> =
        (0..4).map(|i| rig.submit(Op::Connect(Box::new(local(&format!("d{i}"), &[]))))).collect();
    assert!(matches!(rig.outcome(keys[3]), Done::Failed(DeviceError::Busy)));
    rig.turn(); // checked: the three are being written, and still count
    let late = rig.submit(Op::List);
    assert!(matches!(rig.outcome(late), Done::Failed(DeviceError::Busy)));
    rig.settle();
    assert!(matches!(rig.outcome(keys[2]), Done::Connected(_)));
    assert!(matches!(rig.run(Op::List), Done::Listed));
}

#[test]
fn a_hundred_connects_cost_two_writes() {
    let mut rig = Rig::new();
    let first = rig.submit(Op::Connect(Box::new(local("d0", &["operator.read"]))));
    rig.turn(); // the first one is on its way to the disk
    let rest: Vec<u32> = (1..100)
        .map(|i| rig.submit(Op::Connect(Box::new(local(&format!("d{i}"), &["operator.read"])))))
        .collect();
    rig.settle();
    for key in rest.iter().chain([&first]) {
        assert!(matches!(rig.outcome(*key), Done::Connected(_)));
    }
    assert_eq!(rig.on_disk().paired.len(), 100);
    assert_eq!(rig.writes(), [[Document::DevicesPaired], [Document::DevicesPaired]]);
    let order: Vec<u32> = rig.done.iter().map(|(key, _)| *key).collect();
    assert_eq!(order, (1..=100).collect::<Vec<u32>>(), "answers keep the order of asking");
}

#[test]
fn an_answer_to_another_question_is_ignored() {
    let mut rig = Rig::new();
    let key = rig.submit(Op::List);
    rig.answer(HostAnswer::Stored(Ok(Box::default())));
    rig.answer(HostAnswer::SystemInfo(Ok(Bytes::new())));
    assert!(rig.done.is_empty());
    rig.settle();
    assert!(matches!(rig.outcome(key), Done::Listed));
    rig.answer(HostAnswer::Devices(Ok(DevicesCheck::Unchanged)));
    assert_eq!(rig.done.len(), 1);
}

#[test]
fn debug_shows_no_token() {
    let mut rig = Rig::new();
    let token = token_of(&rig.connected(local("a", &["operator.read"])));
    rig.submit(Op::Connect(Box::new(with_token(local("a", &["operator.read"]), &token))));
    let rotated = rig.run(Op::Rotate {
        device_id: "a".into(),
        role: "operator".into(),
        scopes: None,
        caller: Caller {
            scopes: Scopes::new(["operator.admin"]),
            device_id: Some("a".into()),
            by_device_token: true,
        },
    });
    let Done::Rotated(new) = &rotated else { panic!("not rotated: {rotated:?}") };
    let new = new.token.as_ref().unwrap().expose().to_owned();
    let shown = format!("{:?} {:?} {:?} {rotated:?} {:?}", rig.done, rig.notices, rig.store, rig.memory());
    assert!(!shown.contains(&token) && !shown.contains(&new));
}
