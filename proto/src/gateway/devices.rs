//! The device store as a transactional state machine: who is paired, who waits, and which tokens are good.
//!
//! Operations queue. A batch begins with one question to the host ("is the disk still what we know?"), so edits
//! made underneath us count from the next operation on (or from the next look, when nobody asks). Then every queued operation is applied, in order, to a
//! draft. A draft that changed nothing hard is answered at once; else one write makes all of it durable, and only
//! then does it become memory and the operations are answered, in order.
//!
//! Invariants:
//! - memory never shows a hard change that is not durable, and never lacks one that was acknowledged;
//! - a store that could not be read is never written;
//! - at most one host request is in flight, and its silence is bounded;
//! - who lost its ground to an earlier operation, or to an edit, changes nothing any more;
//! - every conflict or failed write answers an operation or counts against its tries, so nothing loops.

pub(crate) mod nodes;
mod op;
pub(crate) mod pairing;
pub(crate) mod setup;
pub(crate) mod tokens;
mod transaction;

#[cfg(test)]
mod tests;

use crate::host::{DevicesCheck, DevicesVersion, HostAnswer, HostFault, HostRequest, StoreFault};
use crate::limits::Limits;
use crate::log::{Level, Record};
use crate::scope::{Role, Scopes};
use crate::secret::Secret;
use crate::seed::Random;
use crate::store::{DeviceView, Devices, PairedDevice, PendingRequest, Seen};
use crate::time::{Mono, Now};
use core::fmt;
pub(crate) use op::{Caller, CloseDevice, DeviceError, Done, Effect, Notice, Op, Rotated};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use transaction::{Delta, Draft, Weight, Writes, approved_roles, baseline};

/// The store. `K` is what the caller wants back with an operation's outcome.
pub(crate) struct DeviceStore<K> {
    limits: Limits,
    /// What every answer rests on: the disk's content, with soft changes on top.
    committed: Arc<Devices>,
    /// What is on disk; only `paired` is looked at, to tell soft changes from the file's.
    disk: Arc<Devices>,
    /// The versions of `disk`.
    known: DevicesVersion,
    /// Whether the latest look at the disk succeeded.
    readable: bool,
    /// Why it did not, as the log was told.
    reported: Option<String>,
    seen: Arc<BTreeMap<String, Seen>>,
    /// Setup codes that stand on the shared secret alone count when they were made after this, Unix milliseconds.
    codes_since_ms: u64,
    queue: VecDeque<Job<K>>,
    phase: Phase<K>,
}

struct Job<K> {
    op: Op,
    /// The device whose operator asks, when it has one. Should it lose its ground before its turn comes, so has this.
    by: Option<Box<str>>,
    key: K,
    tries: u32,
}

enum Phase<K> {
    /// Nothing in flight, nothing queued.
    Idle,
    /// The host looks at the disk.
    Checking { until: Mono },
    /// The host writes.
    Storing(Box<Storing<K>>),
}

struct Storing<K> {
    until: Mono,
    next: Arc<Devices>,
    seen: Arc<BTreeMap<String, Seen>>,
    writes: Writes,
    batch: Vec<Applied<K>>,
}

/// An operation with the outcome it has once the batch is durable.
struct Applied<K> {
    job: Job<K>,
    hard: bool,
    done: Done,
    before: Vec<Notice>,
    after: Vec<Notice>,
}

/// What an operation works with besides the draft.
struct Step<'a> {
    now_ms: u64,
    limits: &'a Limits,
    random: &'a mut Random,
    before: Vec<Notice>,
    after: Vec<Notice>,
}

impl Step<'_> {
    /// News that goes out before the answer.
    fn say(&mut self, notice: Notice) {
        self.before.push(notice);
    }
}

impl<K> DeviceStore<K> {
    /// A store that has not been read yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            committed: Arc::default(),
            disk: Arc::default(),
            known: DevicesVersion::default(),
            readable: false,
            reported: None,
            seen: Arc::default(),
            codes_since_ms: 0,
            queue: VecDeque::new(),
            phase: Phase::Idle,
        }
    }

    /// Looks at the store although nothing is queued, so that a broken file is reported, and an edit counts.
    pub(crate) fn load(&mut self, now: Now, out: &mut Vec<Effect<K>>) {
        match self.phase {
            Phase::Idle => self.check(now, out),
            Phase::Checking { .. } | Phase::Storing(_) => {}
        }
    }

    /// Queues an operation, asked for by an operator of the device `by`. Its outcome comes as [`Effect::Done`], now or
    /// with a later answer of the host.
    pub(crate) fn submit(
        &mut self,
        now: Now,
        op: Op,
        by: Option<Box<str>>,
        key: K,
        out: &mut Vec<Effect<K>>,
    ) {
        if let Op::Connect(connect) = &op
            && connect.exempt
        {
            let done = Done::Connected(Box::default());
            out.push(Effect::Done { key, done });
            return;
        }
        if self.waiting() >= self.limits.store_queue_max {
            out.push(Effect::Done { key, done: Done::Failed(DeviceError::Busy) });
            return;
        }
        self.queue.push_back(Job { op, by, key, tries: 0 });
        self.load(now, out);
    }

    /// [`Op::ForgetSecretCodes`] failed: what could not be taken off the disk opens nothing here all the same.
    pub(crate) fn void_secret_codes(&mut self, now: Now) {
        self.codes_since_ms = now.wall.0;
    }

    /// The host answered the latest [`Effect::Host`].
    pub(crate) fn answered(
        &mut self,
        now: Now,
        answer: HostAnswer,
        random: &mut Random,
        out: &mut Vec<Effect<K>>,
    ) {
        match (core::mem::replace(&mut self.phase, Phase::Idle), answer) {
            (Phase::Checking { .. }, HostAnswer::Devices(result)) => self.checked(now, result, random, out),
            (Phase::Storing(storing), HostAnswer::Stored(result)) => self.stored(now, *storing, result, out),
            // An answer to a question we no longer ask.
            (
                phase,
                HostAnswer::Devices(_)
                | HostAnswer::Stored(_)
                | HostAnswer::SystemInfo(_)
                | HostAnswer::ExecApprovals(_)
                | HostAnswer::ExecApprovalsStored(_)
                | HostAnswer::Load(_)
                | HostAnswer::Channels(_)
                | HostAnswer::WhoIs(_)
                | HostAnswer::LogsTail(_)
                | HostAnswer::VoiceWake(_)
                | HostAnswer::Restart(_)
                | HostAnswer::Config(_)
                | HostAnswer::File(_)
                | HostAnswer::FilePiece(_)
                | HostAnswer::FilesChanged(_)
                | HostAnswer::WizardStart(_),
            ) => self.phase = phase,
        }
    }

    /// When [`Self::timed_out`] wants to be called.
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Checking { until } => Some(*until),
            Phase::Storing(storing) => Some(storing.until),
        }
    }

    /// Gives up on a host that kept silent for too long; does nothing before [`Self::next_deadline`].
    pub(crate) fn timed_out(&mut self, now: Now, random: &mut Random, out: &mut Vec<Effect<K>>) {
        if self.next_deadline().is_none_or(|until| now.mono < until) {
            return;
        }
        let why = format!("no answer from the disk within {} ms", self.limits.host_timeout_ms);
        let answer = match &self.phase {
            Phase::Idle => return,
            Phase::Checking { .. } => HostAnswer::Devices(Err(HostFault(why))),
            Phase::Storing(_) => HostAnswer::Stored(Err(StoreFault::Failed(why))),
        };
        self.answered(now, answer, random, out);
    }

    /// What `device.pair.list` shows.
    pub(crate) fn view(&self, connected: BTreeSet<String>) -> DeviceView {
        DeviceView { devices: self.committed.clone(), connected, seen: self.seen.clone() }
    }

    /// What is durable.
    pub(crate) fn content(&self) -> &Arc<Devices> {
        &self.committed
    }

    /// Whether this is a token of this device that is in force.
    pub(crate) fn is_token_of(&self, device_id: &str, public_key: &str, shown: &Secret) -> bool {
        let device = self.committed.paired.get(device_id).filter(|device| device.public_key == public_key);
        let mut entries =
            device.into_iter().flat_map(|device| device.tokens.iter().flat_map(BTreeMap::values));
        entries.any(|entry| tokens::is_live(entry) && shown.matches(&entry.token))
    }

    /// What this process remembers of a device.
    pub(crate) fn seen(&self, device_id: &str) -> Option<&Seen> {
        self.seen.get(device_id)
    }

    /// A device was seen, in memory only; also by what is about to become memory.
    pub(crate) fn saw(&mut self, device_id: &str, at_ms: u64, reason: &'static str) {
        let storing = match &mut self.phase {
            Phase::Storing(storing) => Some(&mut storing.seen),
            Phase::Idle | Phase::Checking { .. } => None,
        };
        for seen in [Some(&mut self.seen), storing].into_iter().flatten() {
            if let Some(entry) = Arc::make_mut(seen).get_mut(device_id) {
                (entry.at_ms, entry.reason) = (at_ms, reason);
            }
        }
    }

    /// Whether the store was read, and still could be at the latest look.
    pub(crate) fn is_loaded(&self) -> bool {
        self.readable
    }

    /// Operations without an outcome yet.
    pub(crate) fn waiting(&self) -> usize {
        let storing = match &self.phase {
            Phase::Idle | Phase::Checking { .. } => 0,
            Phase::Storing(storing) => storing.batch.len(),
        };
        self.queue.len() + storing
    }

    fn check(&mut self, now: Now, out: &mut Vec<Effect<K>>) {
        self.phase = Phase::Checking { until: now.mono.plus_millis(self.limits.host_timeout_ms) };
        out.push(Effect::Host(HostRequest::CheckDevices { known: self.known }));
    }

    fn checked(
        &mut self,
        now: Now,
        result: Result<DevicesCheck, HostFault>,
        random: &mut Random,
        out: &mut Vec<Effect<K>>,
    ) {
        match result {
            Ok(DevicesCheck::Unchanged) if self.known.paired.is_some() && self.known.pending.is_some() => {}
            Ok(DevicesCheck::Unchanged) => return self.unreadable("the disk was not read", out),
            Ok(DevicesCheck::Changed { devices, version }) => {
                self.note_damage(&devices, out);
                self.adopt(devices, *version, out);
            }
            Err(HostFault(why)) => return self.unreadable(&why, out),
        }
        self.readable = true;
        self.reported = None;
        self.run_batch(now, random, out);
    }

    /// What only some can do without is said once.
    fn note_damage(&self, found: &Devices, out: &mut Vec<Effect<K>>) {
        if let Some(why) = found.damage.as_ref().filter(|why| self.disk.damage.as_ref() != Some(*why)) {
            let record = Record::new(Level::Error, "devices.damaged").field("why", why);
            out.push(Effect::Notice(Notice::Log(record)));
        }
    }

    /// Nothing is decided on a store that cannot be read, and nothing is written over it.
    fn unreadable(&mut self, why: &str, out: &mut Vec<Effect<K>>) {
        self.readable = false;
        // A look that finds the same fault again, and fails nobody by it, is no news.
        if !self.queue.is_empty() || self.reported.as_deref() != Some(why) {
            out.push(Effect::Notice(Notice::Log(
                Record::new(Level::Error, "devices.unreadable")
                    .field("why", why)
                    .field("operations", self.queue.len()),
            )));
            self.reported = Some(why.to_owned());
        }
        let text = format!(
            "the device store cannot be read and was left as it is: {why}; repair the file or move it away, then try again"
        );
        for job in self.queue.drain(..) {
            let done = Done::Failed(DeviceError::Unavailable(text.clone()));
            out.push(Effect::Done { key: job.key, done });
        }
    }

    /// Somebody else wrote the store: the file wins, and sockets that lost their ground close.
    fn adopt(&mut self, found: Arc<Devices>, version: DevicesVersion, out: &mut Vec<Effect<K>>) {
        let lost = transaction::lost_ground(&self.committed.paired, &found.paired);
        self.turn_away(&lost, out);
        for close in lost {
            let record = Record::new(Level::Warn, "device.changed-on-disk").field("device", &close.device_id);
            out.push(Effect::Notice(Notice::Log(record)));
            out.push(Effect::Notice(Notice::Close(close)));
        }
        self.committed = transaction::adopt(&self.committed, &self.disk, &found);
        self.disk = found;
        self.known = version;
        if self.seen.keys().any(|id| !self.disk.paired.contains_key(id)) {
            Arc::make_mut(&mut self.seen).retain(|id, _| self.disk.paired.contains_key(id));
        }
    }

    fn run_batch(&mut self, now: Now, random: &mut Random, out: &mut Vec<Effect<K>>) {
        let now_ms = now.wall.0;
        let mut draft = Draft::new(&self.committed, &self.seen, now_ms, self.codes_since_ms, &self.limits);
        let mut batch = Vec::with_capacity(self.queue.len());
        let mut lost = Vec::new();
        for job in self.queue.drain(..) {
            let hard_before = draft.hard_changes();
            let mut step =
                Step { now_ms, limits: &self.limits, random, before: Vec::new(), after: Vec::new() };
            let done = if job.is_asked_by(&lost) {
                Done::Failed(DeviceError::CallerGone)
            } else {
                apply(&mut draft, &job.op, &mut step)
            };
            let Step { before, after, .. } = step;
            lost.extend(closes(&after).cloned());
            batch.push(Applied { job, hard: draft.hard_changes() != hard_before, done, before, after });
        }
        let delta = draft.finish();
        if delta.writes.any() {
            self.store(now, delta, batch, out);
        } else {
            delta.apply(&mut self.committed, &mut self.seen);
            answer(batch, out);
        }
    }

    fn store(&mut self, now: Now, delta: Delta, batch: Vec<Applied<K>>, out: &mut Vec<Effect<K>>) {
        let writes = delta.writes;
        let Writes { paired, pending, setup, nodes, node_requests } = writes;
        let (mut next, mut seen) = (self.committed.clone(), self.seen.clone());
        delta.apply(&mut next, &mut seen);
        out.push(Effect::Host(HostRequest::StoreDevices {
            expected: self.known,
            devices: next.clone(),
            paired,
            pending,
            setup,
            nodes,
            node_requests,
        }));
        let until = now.mono.plus_millis(self.limits.host_timeout_ms);
        self.phase = Phase::Storing(Box::new(Storing { until, next, seen, writes, batch }));
    }

    fn stored(
        &mut self,
        now: Now,
        storing: Storing<K>,
        result: Result<Box<DevicesVersion>, StoreFault>,
        out: &mut Vec<Effect<K>>,
    ) {
        match result {
            Ok(version) => {
                self.known = *version;
                self.committed = storing.next;
                self.seen = storing.seen;
                if storing.writes.paired {
                    self.disk = self.committed.clone();
                }
                let after = storing.batch.iter().flat_map(|applied| closes(&applied.after));
                let lost: Vec<CloseDevice> = after.cloned().collect();
                answer(storing.batch, out);
                self.turn_away(&lost, out);
            }
            Err(StoreFault::Conflict) => {
                out.push(Effect::Notice(Notice::Log(Record::new(Level::Info, "devices.conflict"))));
                self.again(storing.batch, out);
            }
            Err(StoreFault::Failed(why)) => {
                let documents = storing.writes.names();
                let record = Record::new(Level::Error, "devices.not-stored").field("what", &documents);
                out.push(Effect::Notice(Notice::Log(record.field("why", &why))));
                // The disk may hold the change, half of it or none: read it again before believing anything.
                self.known = DevicesVersion::default();
                let text = format!("{documents} could not be stored: {why}");
                let mut rest = Vec::new();
                for applied in storing.batch {
                    if applied.hard {
                        let done = Done::Failed(DeviceError::Unavailable(text.clone()));
                        out.push(Effect::Done { key: applied.job.key, done });
                    } else {
                        rest.push(applied); // it may have seen a change that is not there
                    }
                }
                self.again(rest, out);
                return self.check(now, out);
            }
        }
        if !self.queue.is_empty() {
            self.check(now, out);
        }
    }

    /// Ends what is queued for devices that lost their ground: nobody approves from a socket that is closed for it.
    fn turn_away(&mut self, lost: &[CloseDevice], out: &mut Vec<Effect<K>>) {
        if lost.is_empty() {
            return;
        }
        let (gone, left) =
            core::mem::take(&mut self.queue).into_iter().partition(|job| job.is_asked_by(lost));
        self.queue = left;
        let gone: VecDeque<Job<K>> = gone;
        let done = Done::Failed(DeviceError::CallerGone);
        out.extend(gone.into_iter().map(|job| Effect::Done { key: job.key, done: done.clone() }));
    }

    /// Puts a batch back in front of the queue, except those that were tried too often.
    fn again(&mut self, batch: Vec<Applied<K>>, out: &mut Vec<Effect<K>>) {
        let mut retry = Vec::new();
        for applied in batch {
            let job = Job { tries: applied.job.tries + 1, ..applied.job };
            if job.tries < TRIES_MAX {
                retry.push(job);
            } else {
                let text = "the device store keeps changing on disk: try again".to_owned();
                out.push(Effect::Done { key: job.key, done: Done::Failed(DeviceError::Unavailable(text)) });
            }
        }
        for job in retry.into_iter().rev() {
            self.queue.push_front(job);
        }
    }
}

impl<K> Job<K> {
    /// Whether one of these is its caller. Only operators ask for anything.
    fn is_asked_by(&self, lost: &[CloseDevice]) -> bool {
        self.by.as_deref().is_some_and(|by| {
            lost.iter().any(|close| {
                close.device_id == by && close.role.as_deref().is_none_or(|role| role == OPERATOR)
            })
        })
    }
}

impl<K> fmt::Debug for DeviceStore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceStore")
            .field("paired", &self.committed.paired.len())
            .field("pending", &self.committed.pending.len())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

/// Whose sockets these notices close.
fn closes(notices: &[Notice]) -> impl Iterator<Item = &CloseDevice> {
    notices.iter().filter_map(|notice| match notice {
        Notice::Close(close) => Some(close),
        Notice::Requested(_)
        | Notice::Resolved { .. }
        | Notice::Changed { .. }
        | Notice::NodeRequested(_)
        | Notice::NodeResolved { .. }
        | Notice::Log(_) => None,
    })
}

fn answer<K>(batch: Vec<Applied<K>>, out: &mut Vec<Effect<K>>) {
    for applied in batch {
        out.extend(applied.before.into_iter().map(Effect::Notice));
        out.push(Effect::Done { key: applied.job.key, done: applied.done });
        // A device that removes itself hears so before its socket closes.
        out.extend(applied.after.into_iter().map(Effect::Notice));
    }
}

fn apply(draft: &mut Draft<'_>, op: &Op, step: &mut Step<'_>) -> Done {
    let done = match op {
        Op::Connect(connect) => return pairing::connect(draft, connect, step),
        Op::List => Ok(Done::Listed),
        Op::Approve { request_id, approver } => pairing::approve(draft, request_id, approver, step)
            .map(|device| Done::Approved { request_id: request_id.clone(), device }),
        Op::Reject { request_id } => pairing::reject(draft, request_id, step)
            .map(|device_id| Done::Rejected { request_id: request_id.clone(), device_id }),
        Op::Remove { device_id } => remove(draft, device_id, step),
        Op::Rotate { device_id, role, scopes, caller } => {
            let rotated = tokens::rotate(draft, device_id, role, scopes.as_deref(), caller, step);
            close_role(&rotated, device_id, role, step);
            rotated.map(|rotated| Done::Rotated(Box::new(rotated)))
        }
        Op::Revoke { device_id, role } => {
            let revoked = tokens::revoke(draft, device_id, role, step.now_ms);
            if revoked.is_ok() && role == OPERATOR {
                setup::forget_those_by(draft, device_id);
            }
            close_role(&revoked, device_id, role, step);
            revoked.map(|()| Done::Revoked {
                device_id: device_id.clone(),
                role: role.clone(),
                revoked_at_ms: step.now_ms,
            })
        }
        Op::Rename { device_id, label } => rename(draft, device_id, label, step),
        Op::IssueSetup { access, by } => setup::issue(draft, *access, by.as_deref(), step)
            .map(|issued| Done::SetupIssued(Box::new(issued))),
        Op::ForgetSecretCodes => {
            setup::forget_those_by_secret(draft);
            Ok(Done::Told(serde_json::Value::Null))
        }
        Op::RequestUpgrade { device_id, scopes } => request_upgrade(draft, device_id, scopes, step),
        Op::ApproveNode { request_id, approver } => nodes::approve(draft, request_id, approver, step),
        Op::RejectNode { request_id } => nodes::reject(draft, request_id, step),
        Op::RemoveNode { node_id } => nodes::remove(draft, node_id, step),
        Op::RenameNode { node_id, name } => nodes::rename(draft, node_id, name, step),
        Op::AskNode(asked) => nodes::ask(draft, asked, step),
        Op::VerifyNode { node_id, token } => Ok(nodes::verify(draft, node_id, token)),
    };
    done.unwrap_or_else(Done::Failed)
}

fn remove(draft: &mut Draft<'_>, device_id: &str, step: &mut Step<'_>) -> Result<Done, DeviceError> {
    let device = draft.device(device_id).ok_or(DeviceError::UnknownDevice)?;
    let was_node = approved_roles(device).iter().any(|role| role != OPERATOR);
    draft.remove_device(device_id);
    pairing::forget_requests(draft, device_id, step);
    setup::forget_those_by(draft, device_id);
    nodes::forget(draft, device_id, was_node, step);
    step.after.push(Notice::Close(CloseDevice { device_id: device_id.to_owned(), role: None }));
    Ok(Done::Removed { device_id: device_id.to_owned() })
}

fn rename(
    draft: &mut Draft<'_>,
    device_id: &str,
    label: &str,
    step: &mut Step<'_>,
) -> Result<Done, DeviceError> {
    let device = draft.device(device_id).ok_or(DeviceError::UnknownDevice)?.clone();
    set_label(draft, &device, label, step);
    Ok(Done::Told(serde_json::json!({"deviceId": device_id, "label": label})))
}

/// What a person calls a device stays, whatever it calls itself at its next connect.
fn set_label(draft: &mut Draft<'_>, device: &PairedDevice, label: &str, step: &mut Step<'_>) {
    let named = PairedDevice { label: Some(label.to_owned()), ..device.clone() };
    draft.set_device(&device.device_id, named, Weight::Hard);
    step.say(Notice::Changed { device_id: device.device_id.clone(), ts: step.now_ms });
}

/// A device that is in asks for more. What it has is asked for again, so that an approval does not narrow it.
fn request_upgrade(
    draft: &mut Draft<'_>,
    device_id: &str,
    scopes: &Scopes,
    step: &mut Step<'_>,
) -> Result<Done, DeviceError> {
    let device =
        draft.device(device_id).filter(|device| approved_roles(device).iter().any(|role| role == OPERATOR));
    let device = device.ok_or(DeviceError::NotPaired)?.clone();
    let wanted = baseline(&device).union(scopes);
    let fresh = PendingRequest {
        request_id: step.random.uuid(),
        device_id: device_id.to_owned(),
        public_key: device.public_key.clone(),
        display_name: device.display_name.clone(),
        platform: device.platform.clone(),
        device_family: device.device_family.clone(),
        client_id: device.client_id.clone(),
        client_mode: device.client_mode.clone(),
        role: Some(OPERATOR.to_owned()),
        roles: Some(vec![OPERATOR.to_owned()]),
        scopes: Some(wanted.as_slice().to_vec()),
        remote_ip: device.remote_ip.clone(),
        silent: false,
        is_repair: true,
        ts: step.now_ms,
        other: serde_json::Map::new(),
    };
    let request_id = pairing::ask(draft, fresh, step);
    Ok(Done::UpgradeFiled { request_id, device_id: device_id.to_owned() })
}

fn close_role<T>(result: &Result<T, DeviceError>, device_id: &str, role: &str, step: &mut Step<'_>) {
    if result.is_ok() {
        let close = CloseDevice { device_id: device_id.to_owned(), role: Some(role.to_owned()) };
        step.after.push(Notice::Close(close));
    }
}

/// How scopes of a role imply each other: only an operator's do, any other role needs the literal scope.
fn rule_of(role: &str) -> Role {
    if role == OPERATOR { Role::Operator } else { Role::Node }
}

/// The wire name of [`Role::Operator`].
const OPERATOR: &str = "operator";

/// How often an operation is applied before the disk counts as too restless.
const TRIES_MAX: u32 = 5;
