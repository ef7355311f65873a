//! Devices at the gateway: a `connect` that the store must decide, the `device.*` methods, and what follows from
//! the store's decisions for sockets that are open.

use super::admit::{self, Checked, DeviceFacts, Passed, SharedMethod};
use super::approvals::Shows;
use super::devices::nodes::Declared;
use super::devices::pairing::{Candidate, ConnectOp, Connected, DeviceClient, Locality, PairingReason};
use super::devices::tokens::TokenFault;
use super::devices::{Caller, CloseDevice, DeviceError, Done, Effect, Notice, Op};
use super::diagnostics::Refusal;
use super::guesses::{self, Tried};
use super::health::Health;
use super::limiter::{SecretKind, Source};
use super::nodes::{self, NodeQuery, declared};
use super::peers::{Delivery, Phase, Session};
use super::presence::Facts;
use super::vouched::{self, Tailnet};
use super::{Call, Gateway, Purpose, events, setup, surfaces, uptime_ms};
use crate::admission::Admission;
use crate::config::AuthMode;
use crate::connect::{ConnectParams, ConnectRequest};
use crate::dialect::{self, Dialect};
use crate::error::{AuthReason, ConnectError, RequestError};
use crate::frame::{CloseFrame, Payload, StateVersion};
use crate::id::ConnId;
use crate::log::{Level, Record};
use crate::methods::Params;
use crate::output::{Order, Output, Reply};
use crate::scope::{self, Role, Scopes};
use crate::secret::Secret;
use crate::store::render;
use crate::time::Now;
use bytes::Bytes;
use std::sync::Arc;

/// What the store gives back with an outcome.
#[derive(Debug)]
pub(super) enum Key {
    /// A peer waits for hello-ok.
    Connect(Box<Waiting>),
    /// A peer waits for the answer of a method.
    Method { conn: ConnId, id: Box<str> },
    /// A peer waits for a list of nodes.
    Nodes { conn: ConnId, id: Box<str>, query: NodeQuery },
    /// A peer waits for a setup code with this address.
    Setup { conn: ConnId, id: Box<str>, place: setup::Place },
    /// A peer asks for these scopes besides its own.
    Upgrade { conn: ConnId, id: Box<str>, wanted: Vec<String> },
    /// Setup codes end with the shared secret; nobody waits for it.
    SecretChanged,
}

/// A `connect` on its way through the store.
#[derive(Debug)]
pub(super) struct Waiting {
    conn: ConnId,
    id: Box<str>,
    dialect: Dialect,
    role: Role,
    params: ConnectParams,
    shared: Result<SharedMethod, AuthReason>,
    /// As in [`admit::DeviceFacts`].
    is_guess_open: bool,
    /// For the limiters.
    limiter_key: Source,
    /// The [`Gateway::auth_generation`] in which it was judged.
    auth_generation: u64,
}

/// An admission that is decided.
struct Decided {
    conn: ConnId,
    id: Box<str>,
    dialect: Dialect,
    role: Role,
    scopes: Scopes,
    params: ConnectParams,
    /// `None` when no device is in effect.
    device: Option<Connected>,
}

impl Gateway {
    // ---- connect ----

    pub(super) fn connect(&mut self, now: Now, conn: ConnId, request: ConnectRequest, out: &mut Vec<Output>) {
        let Some(slot) = self.peers.get_mut(conn) else { return };
        let Phase::Handshake(handshake) = &mut slot.phase else { return };
        if handshake.deciding {
            return;
        }
        handshake.deciding = true;
        handshake.client_id = Some(request.params.client.id.as_str().into());
        if self.stopping {
            return self.refuse(now, conn, request.id, None, &ConnectError::Stopping, out);
        }
        if let Some((request, tailnet)) = self.tailnet(now, conn, Box::new(request), out) {
            self.connect_known(now, conn, *request, tailnet, out);
        }
    }

    /// Goes on when it is known whether a tailnet identity counts.
    pub(super) fn connect_known(
        &mut self,
        now: Now,
        conn: ConnId,
        mut request: ConnectRequest,
        tailnet: Tailnet,
        out: &mut Vec<Output>,
    ) {
        let config = Arc::clone(&self.config);
        let Some(slot) = self.peers.get(conn) else { return };
        let Phase::Handshake(handshake) = &slot.phase else { return };
        // What the proxy keeps from its user is not asked for either, so nobody is asked to approve it.
        if let Some(cap) = vouched::scope_cap(&config, &handshake.address, &handshake.request) {
            let scopes = Scopes::new(&request.params.scopes).intersection(&cap);
            request.params.scopes = scopes.as_slice().to_vec();
        }
        let shows_own = tailnet == Tailnet::Proved && guesses::shows_own_token(&self.devices, &request);
        let checked =
            admit::check(&config, &mut self.limiters, now.mono, handshake, &request, tailnet, shows_own);
        let address = handshake.address;
        let Passed { dialect, role, checked, page_by_host } = match checked {
            Ok(passed) => passed,
            Err((dialect, error)) => {
                let request_of = &handshake.request;
                if config.auth.mode == AuthMode::TrustedProxy
                    && let Err(fault) = vouched::proxy_user(&config, &address, request_of)
                {
                    // What the peer is told may be about its device; here is what its owner has to mend.
                    out.push(Output::Log(
                        Record::new(Level::Warn, "peer.proxy-refused")
                            .conn(conn)
                            .field("peer", address.socket)
                            .field("reason", fault.as_str())
                            .field("hint", fault.hint()),
                    ));
                }
                return self.refuse(now, conn, request.id, dialect, &error, out);
            }
        };
        if page_by_host {
            out.push(Output::Log(Record::new(Level::Warn, "peer.page-by-host").conn(conn).field(
                "what",
                "a page was let in because its Origin is what Host says, which proves nothing \
                     (gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback)",
            )));
        }
        let ConnectRequest { id, params, .. } = request;
        match checked {
            Checked::Admitted { scopes } => {
                self.admit(now, Decided { conn, id, dialect, role, scopes, params, device: None }, out);
            }
            Checked::Device(facts) => {
                let limiter_key = Source::of(&address, facts.origin_present);
                let token_counts = facts.shared.is_err();
                let shown = [
                    (facts.candidate.is_some(), SecretKind::Device),
                    (guesses::is_code_shown(&params), SecretKind::Setup),
                ];
                let limiters = &mut self.limiters;
                let kinds = shown.into_iter().filter(|(is_shown, _)| *is_shown).map(|(_, kind)| kind);
                let locked = kinds.filter_map(|kind| limiters.locked(now.mono, limiter_key, kind)).max();
                if let Some(retry_after_ms) = locked.filter(|_| token_counts) {
                    // Locked is this kind only. What was shown beside it, or in its place, was tried as the
                    // shared secret and was wrong.
                    for kind in guesses::wrong(&params, facts.is_guess_open, Tried::Nothing) {
                        self.limiters.failed(now.mono, limiter_key, kind);
                    }
                    let why =
                        admit::unauthorized(&config, &params, AuthReason::RateLimited, Some(retry_after_ms));
                    return self.refuse(now, conn, id, Some(dialect), &ConnectError::Unauthorized(why), out);
                }
                let is_guess_open = facts.is_guess_open;
                let local_pairs = config.auth.pairing.local;
                let op = connect_op(&params, *facts, role, local_pairs, address.reported());
                let (mut op, shared) = op;
                if role == Role::Node {
                    let (about, surface) = declared(&params, &config);
                    let is_covered = dialect.exceptions().pairing_covers_surface;
                    op.declared = Some(Box::new(Declared { about, surface, is_covered }));
                }
                let auth_generation = self.auth_generation;
                let waiting = Waiting {
                    conn,
                    id,
                    dialect,
                    role,
                    params,
                    shared,
                    is_guess_open,
                    limiter_key,
                    auth_generation,
                };
                self.submit(now, Op::Connect(Box::new(op)), Key::Connect(Box::new(waiting)), out);
            }
        }
    }

    /// Says why, then closes.
    fn refuse(
        &mut self,
        now: Now,
        conn: ConnId,
        id: Box<str>,
        dialect: Option<Dialect>,
        error: &ConnectError,
        out: &mut Vec<Output>,
    ) {
        let phase = self.peers.get(conn).map(|slot| &slot.phase);
        let Some(Phase::Handshake(handshake)) = phase else { return }; // it left while the store was asked
        let (address, client_id) = (handshake.address.told(), handshake.client_id.clone());
        let (shape, close) = dialect::connect_error(dialect, error);
        let code = shape.details.as_ref().and_then(|details| details["code"].as_str()).unwrap_or(shape.code);
        self.stats.refused(now.wall, Refusal { code: code.into(), address, client_id }, &self.config.limits);
        let remote = self.peers.get(conn).map(|slot| slot.peer.remote.ip().to_string());
        let mut record = Record::new(Level::Warn, "peer.refused")
            .conn(conn)
            .field("code", code)
            .field("peer", remote.unwrap_or_default());
        if let Some(reason) = shape.details.as_ref().and_then(|details| details["authReason"].as_str()) {
            record = record.field("reason", reason);
        }
        if let ConnectError::Origin { shown: Some(origin) } = error {
            let hint = format!("if you trust that page, add its origin to {}", dialect::ALLOWED_ORIGINS);
            record = record.field("origin", origin).field("hint", hint);
        }
        out.push(Output::Log(record));
        self.respond(conn, id, Reply::Err(Box::new(shape)), out);
        self.close(conn, close, out);
    }

    /// The peer is in: hello-ok, the larger limits and the place in the fan-out are one order.
    fn admit(&mut self, now: Now, decided: Decided, out: &mut Vec<Output>) {
        let Decided { conn, id, dialect, role, scopes, params, device } = decided;
        let Connected { token, by_device_token, by_setup: _, redeemed, handoff, platform, device_family } =
            device.unwrap_or_default();
        let pinned = (platform, device_family);
        let handshake = match self.peers.get(conn).map(|slot| &slot.phase) {
            Some(Phase::Handshake(handshake)) => handshake,
            Some(
                Phase::Headless
                | Phase::Http
                | Phase::Serving(_)
                | Phase::Watching(_)
                | Phase::Open(_)
                | Phase::Ending,
            )
            | None => {
                // It left while the store was asked. Its code is spent, and it does not know.
                self.setups.undelivered.extend(redeemed);
                return;
            }
        };
        let (reported, ip) = (handshake.address.reported(), handshake.address.ip);
        let local = self.peers.get(conn).map(|slot| slot.peer.local);
        let origin = local.filter(|_| self.config.canvas.is_some());
        let origin =
            origin.map(|local| surfaces::origin(&self.config, &handshake.address, local, &handshake.request));
        let user = self.vouched_user(now, handshake);
        let device_id = params.device.as_ref().map(|claim| claim.id.clone());
        let replaced = match device_id.as_deref().filter(|_| role == Role::Node) {
            Some(node_id) => self.replaces_node(now, conn, node_id, out),
            None => Ok(Vec::new()),
        };
        let replaced = match replaced {
            Ok(replaced) => replaced,
            Err(error) => {
                self.setups.undelivered.extend(redeemed);
                return self.refuse(now, conn, id, Some(dialect), &error, out);
            }
        };
        let presence_key = (params.client.mode != "cli").then(|| {
            let key = device_id.clone().or_else(|| params.client.instance_id.clone());
            key.unwrap_or_else(|| conn.to_string()).trim().to_lowercase()
        });
        out.push(Output::Log(
            Record::new(Level::Info, "peer.admitted")
                .conn(conn)
                .field("client", &params.client.id)
                .field("mode", &params.client.mode)
                .field("role", role.as_str())
                .field("protocol", dialect.protocol())
                .field("scopes", scopes.as_slice().join(","))
                .field("device", device_id.as_deref().map_or("none", |id| id.get(..12).unwrap_or(id))),
        ));
        if let Some(key) = &presence_key {
            let facts = presence_facts(&params, role, &scopes, device_id.clone(), reported, pinned, now);
            self.presence.connected(now, key, facts);
        }
        let is_tracked = presence_key.is_some();
        // Who is here is told only to those who may ask: the same rule as for the event.
        let shows_presence = role == Role::Operator && scopes.satisfies(scope::READ);
        let session = Session {
            dialect,
            role,
            scopes: scopes.clone(),
            device_id,
            ip,
            by_device_token,
            presence_key,
            is_page: admit::is_page(&params),
            is_phone: role == Role::Node && is_phone(&params.client.platform),
            name: name_of(&params).into(),
            user,
            shows: Shows::of(&params),
            declared: (role == Role::Node).then(|| Box::new(nodes::session(&params, &self.config, now))),
            delivery: None,
        };
        self.stats.admitted += 1;
        self.peers.set_phase(conn, Phase::Open(Box::new(session)));
        let shows_paths = Health::shows_paths(&scopes);
        let surface = self.surface_at_hello(now, conn, origin, dialect);
        let admission = Admission {
            request_id: id,
            dialect,
            conn_id: self.random.uuid(),
            role,
            scopes,
            token,
            handoff,
            confirm: redeemed.is_some(),
            presence: if shows_presence {
                self.presence.list(now, dialect)
            } else {
                Bytes::from_static(b"[]")
            },
            health: self.health.encoded(dialect, shows_paths),
            state_version: StateVersion { presence: self.presence.version, health: self.health.version },
            uptime_ms: uptime_ms(now),
            suspension: self.suspension.phase(),
            surface,
            config: Arc::clone(&self.config),
        };
        self.order(conn, Order::Admit(Box::new(admission)), out);
        if let Some(redeemed) = redeemed {
            let left = self.peers.get(conn).map_or(0, |slot| slot.queued);
            match self.peers.session_mut(conn) {
                Some(session) => session.delivery = Some(Box::new(Delivery { redeemed, left })),
                None => self.setups.undelivered.push(redeemed),
            }
        }
        if role == Role::Node {
            self.greet_node(conn, dialect, out);
        }
        self.close_replaced(replaced, out);
        for dialect in [Dialect::V3, Dialect::V4] {
            let exceptions = dialect.exceptions();
            self.presence_flush.dirty[dialect.index()] |= is_tracked && exceptions.presence_after_hello;
            self.health_flush.dirty[dialect.index()] |= exceptions.health_after_hello;
        }
    }

    // ---- the store ----

    pub(super) fn submit(&mut self, now: Now, op: Op, key: Key, out: &mut Vec<Output>) {
        let by = match &key {
            Key::Method { conn, .. }
            | Key::Nodes { conn, .. }
            | Key::Setup { conn, .. }
            | Key::Upgrade { conn, .. } => {
                self.peers.session(*conn).and_then(|session| session.device_id.as_deref().map(Into::into))
            }
            // A device that wants in answers for itself.
            Key::Connect(_) | Key::SecretChanged => None,
        };
        let mut effects = Vec::new();
        self.devices.submit(now, op, by, key, &mut effects);
        self.carry_out(now, effects, out);
    }

    /// Looks at the store: at start, so that a broken file is reported before anybody comes, and again with every
    /// tick, so that edits count although nobody asks for anything.
    pub(super) fn load_store(&mut self, now: Now, out: &mut Vec<Output>) {
        let mut effects = Vec::new();
        self.devices.load(now, &mut effects);
        self.carry_out(now, effects, out);
    }

    pub(super) fn store_answered(
        &mut self,
        now: Now,
        answer: crate::host::HostAnswer,
        out: &mut Vec<Output>,
    ) {
        let mut effects = Vec::new();
        self.devices.answered(now, answer, &mut self.random, &mut effects);
        self.carry_out(now, effects, out);
    }

    pub(super) fn store_silent(&mut self, now: Now, out: &mut Vec<Output>) {
        let mut effects = Vec::new();
        self.devices.timed_out(now, &mut self.random, &mut effects);
        self.carry_out(now, effects, out);
    }

    fn carry_out(&mut self, now: Now, effects: Vec<Effect<Key>>, out: &mut Vec<Output>) {
        for effect in effects {
            match effect {
                Effect::Host(request) => self.ask_host(now, request, Purpose::Devices, out),
                Effect::Done { key: Key::Connect(waiting), done } => {
                    self.connect_done(now, *waiting, done, out)
                }
                Effect::Done { key: Key::Method { conn, id }, done } => self.method_done(conn, id, done, out),
                Effect::Done { key: Key::Nodes { conn, id, query }, done } => {
                    if matches!(done, Done::Listed) {
                        self.nodes_listed(now, conn, id, query, out);
                    } else {
                        self.method_done(conn, id, done, out);
                    }
                }
                Effect::Done { key: Key::Setup { conn, id, place }, done } => {
                    setup::done(self, conn, id, &place, done, out);
                }
                Effect::Done { key: Key::Upgrade { conn, id, wanted }, done } => {
                    if let Done::UpgradeFiled { request_id, device_id } = done {
                        self.upgrade_filed(now, (conn, id), (request_id, device_id, wanted), out);
                    } else {
                        self.method_done(conn, id, done, out);
                    }
                }
                Effect::Done { key: Key::SecretChanged, done } => {
                    if let Done::Failed(error) = done {
                        self.devices.void_secret_codes(now);
                        out.push(Output::Log(
                            Record::new(Level::Error, "setup-codes.not-forgotten").field("why", error).field(
                                "hint",
                                "codes of the old secret open nothing until a restart; those that \
                                                are younger than ten minutes then do again",
                            ),
                        ));
                    }
                }
                Effect::Notice(notice) => self.notice(notice, out),
            }
        }
    }

    fn connect_done(&mut self, now: Now, waiting: Waiting, done: Done, out: &mut Vec<Output>) {
        let Waiting { conn, id, dialect, role, params, shared, is_guess_open, limiter_key, auth_generation } =
            waiting;
        for kind in guesses::wrong(&params, is_guess_open, Tried::of(&done, shared.is_err())) {
            self.limiters.failed(now.mono, limiter_key, kind);
        }
        let error = match done {
            // What let it come this far may not be in force any more: an open session would have been closed.
            Done::Connected(connected)
                if auth_generation != self.auth_generation && !connected.by_device_token =>
            {
                self.setups.undelivered.extend(connected.redeemed);
                let reason = match self.config.auth.mode {
                    AuthMode::Password => AuthReason::PasswordMismatch,
                    AuthMode::None | AuthMode::Token | AuthMode::TrustedProxy => AuthReason::TokenMismatch,
                };
                ConnectError::Unauthorized(admit::unauthorized(&self.config, &params, reason, None))
            }
            Done::Connected(connected) => {
                if connected.by_device_token {
                    self.limiters.succeeded(limiter_key, SecretKind::Device);
                }
                if connected.by_setup {
                    self.limiters.succeeded(limiter_key, SecretKind::Setup);
                }
                let scopes = Scopes::new(&params.scopes);
                let device = Some(*connected);
                return self.admit(now, Decided { conn, id, dialect, role, scopes, params, device }, out);
            }
            Done::TokenRejected { fault, explicit } => {
                let reason = match (fault, &shared) {
                    (TokenFault::ScopeMismatch, _) => AuthReason::ScopeMismatch,
                    (TokenFault::Mismatch, Err(AuthReason::RateLimited)) => AuthReason::RateLimited,
                    (TokenFault::Mismatch, Err(reason)) if !explicit => *reason,
                    (TokenFault::Mismatch, _) => AuthReason::DeviceTokenMismatch,
                };
                let retry_after_ms = self.limiters.locked(now.mono, limiter_key, SecretKind::Shared);
                let retry_after_ms = retry_after_ms.filter(|_| reason == AuthReason::RateLimited);
                ConnectError::Unauthorized(admit::unauthorized(&self.config, &params, reason, retry_after_ms))
            }
            Done::SetupRejected => {
                let reason = AuthReason::BootstrapTokenInvalid;
                ConnectError::Unauthorized(admit::unauthorized(&self.config, &params, reason, None))
            }
            Done::PairingRequired(pairing) => {
                let is_page = params.client.id == "openclaw-control-ui" && role == Role::Operator;
                let is_fresh_node = role == Role::Node && pairing.reason == PairingReason::NotPaired;
                let wait = is_page || (pairing.by_setup && is_fresh_node);
                ConnectError::Pairing { pairing, wait }
            }
            Done::Failed(error) => ConnectError::Unavailable(error.to_string()),
            Done::Listed
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
            | Done::NodeVerified(_) => unreachable!("the store answers an operation with its own outcome"),
        };
        self.refuse(now, conn, id, Some(dialect), &error, out);
    }

    fn notice(&mut self, notice: Notice, out: &mut Vec<Output>) {
        match notice {
            Notice::Requested(request) => {
                let payload = Bytes::from(
                    serde_json::to_vec(&render::pending_row(&request)).expect("a row has only string keys"),
                );
                self.broadcast(&events::PAIR_REQUESTED, [Some(payload.clone()), Some(payload)], out);
            }
            Notice::Resolved { request_id, device_id, approved, ts } => {
                let payload =
                    Bytes::from(dialect::pair_resolved(&request_id, &device_id, approved, ts).to_string());
                self.broadcast(&events::PAIR_RESOLVED, [Some(payload.clone()), Some(payload)], out);
                self.upgrade_resolved(&request_id, approved, out);
            }
            Notice::Changed { device_id, ts } => {
                let payload = Bytes::from(serde_json::json!({"deviceId": device_id, "ts": ts}).to_string());
                self.broadcast(&events::PAIR_CHANGED, [None, Some(payload)], out);
            }
            Notice::NodeRequested(request) => {
                let payload = [Dialect::V3, Dialect::V4].map(|dialect| {
                    Some(Bytes::from(dialect::nodes::requested(dialect, &request).to_string()))
                });
                self.broadcast(&events::NODE_REQUESTED, payload, out);
            }
            Notice::NodeResolved { request_id, node_id, decision, ts } => {
                let payload = dialect::nodes::resolved(&request_id, &node_id, decision, ts);
                self.node_resolved(&node_id, decision, Bytes::from(payload.to_string()), out);
            }
            Notice::Close(CloseDevice { device_id, role }) => {
                for conn in self.peers.of_device(&device_id) {
                    let affected = self.peers.session(conn).is_some_and(|session| {
                        role.as_deref().is_none_or(|role| role == session.role.as_str())
                    });
                    if affected {
                        self.close(conn, CloseFrame::new(4001, "device removed"), out);
                    }
                }
            }
            Notice::Log(record) => out.push(Output::Log(record)),
        }
    }

    // ---- device.* ----

    pub(super) fn method_done(&mut self, conn: ConnId, id: Box<str>, done: Done, out: &mut Vec<Output>) {
        let Some(session) = self.peers.session(conn) else { return };
        let dialect = session.dialect;
        let payload = match done {
            Done::Listed => {
                let view = self.devices.view(self.peers.devices());
                Payload::Devices(Arc::new(view))
            }
            Done::Approved { request_id, device } => {
                Payload::Value(Box::new(dialect::approved(&request_id, &device)))
            }
            Done::Rejected { request_id, device_id } => {
                Payload::Value(Box::new(serde_json::json!({"requestId": request_id, "deviceId": device_id})))
            }
            Done::Removed { device_id } => {
                Payload::Value(Box::new(serde_json::json!({"deviceId": device_id})))
            }
            Done::Rotated(rotated) => Payload::Value(Box::new(dialect::rotated(dialect, &rotated))),
            Done::Revoked { device_id, role, revoked_at_ms } => Payload::Value(Box::new(serde_json::json!({
                "deviceId": device_id, "role": role, "revokedAtMs": revoked_at_ms,
            }))),
            Done::Failed(error) => return self.fail(conn, id, &request_error(error), out),
            Done::Told(value) => Payload::Value(Box::new(value)),
            Done::NodeApproved { request_id, node } => {
                let seen = self.devices.seen(&node.node_id);
                Payload::Value(Box::new(dialect::nodes::approved(dialect, &request_id, &node, seen)))
            }
            Done::NodeAsked { request, created } => {
                Payload::Value(Box::new(dialect::nodes::asked(&request, created)))
            }
            Done::NodeVerified(node) => Payload::Value(Box::new(dialect::nodes::verified(node.as_deref()))),
            Done::Connected(_)
            | Done::TokenRejected { .. }
            | Done::SetupRejected
            | Done::PairingRequired(_)
            | Done::SetupIssued(_)
            | Done::UpgradeFiled { .. } => {
                unreachable!("the store answers an operation with its own outcome")
            }
        };
        self.respond(conn, id, Reply::Ok(payload), out);
    }
}

/// `device.pair.list`.
pub(crate) fn list(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    gateway.submit(call.now, Op::List, Key::Method { conn: call.conn, id: call.id }, out);
}

/// `device.pair.approve`.
pub(crate) fn approve(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::RequestId(request_id) = call.params else { return };
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let approver = session.scopes.clone();
    let key = Key::Method { conn: call.conn, id: call.id };
    gateway.submit(call.now, Op::Approve { request_id, approver }, key, out);
}

/// `device.pair.reject`.
pub(crate) fn reject(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::RequestId(request_id) = call.params else { return };
    gateway.submit(call.now, Op::Reject { request_id }, Key::Method { conn: call.conn, id: call.id }, out);
}

/// `device.pair.remove`.
pub(crate) fn remove(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::DeviceId(device_id) = call.params else { return };
    gateway.submit(call.now, Op::Remove { device_id }, Key::Method { conn: call.conn, id: call.id }, out);
}

/// `device.pair.rename`.
pub(crate) fn rename(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let text = |name: &str| params.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    let (device_id, label) = (text("deviceId").to_owned(), text("label").trim().to_owned());
    if label.is_empty() {
        let error = RequestError::Invalid("label required".to_owned());
        return gateway.fail(call.conn, call.id, &error, out);
    }
    let key = Key::Method { conn: call.conn, id: call.id };
    gateway.submit(call.now, Op::Rename { device_id, label }, key, out);
}

/// `device.token.rotate`.
pub(crate) fn rotate(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::DeviceRole { device_id, role, scopes } = call.params else { return };
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let caller = Caller {
        scopes: session.scopes.clone(),
        device_id: session.device_id.clone(),
        by_device_token: session.by_device_token,
    };
    let key = Key::Method { conn: call.conn, id: call.id };
    gateway.submit(call.now, Op::Rotate { device_id, role, scopes, caller }, key, out);
}

/// `device.token.revoke`.
pub(crate) fn revoke(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::DeviceRole { device_id, role, .. } = call.params else { return };
    let key = Key::Method { conn: call.conn, id: call.id };
    gateway.submit(call.now, Op::Revoke { device_id, role }, key, out);
}

fn request_error(error: DeviceError) -> RequestError {
    match error {
        DeviceError::MissingScope(missing) => {
            RequestError::MissingScope { required: vec![missing.clone()], missing }
        }
        DeviceError::UnknownRequest
        | DeviceError::UnknownDevice
        | DeviceError::UnknownNode
        | DeviceError::NotPaired
        | DeviceError::UnknownDeviceOrRole
        | DeviceError::CallerGone => RequestError::Invalid(error.to_string()),
        DeviceError::Busy => RequestError::Busy,
        DeviceError::Full(_) | DeviceError::Unavailable(_) => RequestError::Unavailable {
            message: error.to_string(),
            reason: "store-unavailable",
            retryable: true,
        },
    }
}

/// The operation for a peer with a device, and how it stands with the shared secret.
fn connect_op(
    params: &ConnectParams,
    facts: DeviceFacts,
    role: Role,
    local_pairs: bool,
    remote_ip: Option<String>,
) -> (ConnectOp, Result<SharedMethod, AuthReason>) {
    let client = &params.client;
    let native_app = matches!(
        client.id.as_str(),
        "openclaw-macos" | "openclaw-ios" | "openclaw-android" | "openclaw-linux" | "openclaw-watchos"
    );
    let shared = facts.shared;
    let candidate = facts.candidate.filter(|_| shared.is_err());
    let no_candidate = candidate.is_none();
    let op = ConnectOp {
        device_id: params.device.as_ref().map(|claim| claim.id.clone()).unwrap_or_default(),
        public_key: facts.public_key,
        role,
        scopes: Scopes::new(&params.scopes),
        client: DeviceClient {
            id: client.id.clone(),
            mode: client.mode.clone(),
            display_name: client.display_name.clone(),
            platform: Some(client.platform.clone()),
            device_family: client.device_family.clone(),
        },
        remote_ip,
        locality: Locality {
            local: facts.local,
            local_pairs,
            from_node_range: facts.from_node_range,
            origin_present: facts.origin_present,
            own_origin_page: facts.own_page,
            native_app,
            shared_or_none: shared.is_ok_and(SharedMethod::widens),
        },
        candidate: candidate
            .map(|candidate| Candidate { token: candidate.token, explicit: candidate.explicit }),
        needs_setup: shared.is_err() && no_candidate,
        setup: params.auth.bootstrap_token.as_deref().and_then(Secret::new),
        declared: None,
        exempt: facts.exempt,
    };
    (op, shared)
}

/// Whether a platform is one that people talk through.
/// The name that a client gives itself, else its id.
fn name_of(params: &ConnectParams) -> String {
    let name = params.client.display_name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    name.unwrap_or(&params.client.id).chars().take(NAME_CHARS_MAX).collect()
}

/// Longest name that is kept for as long as its connection lasts.
const NAME_CHARS_MAX: usize = 128;

fn is_phone(platform: &str) -> bool {
    let platform = platform.trim().to_ascii_lowercase();
    ["ios", "ipados", "android"].iter().any(|name| platform.starts_with(name))
}

fn presence_facts(
    params: &ConnectParams,
    role: Role,
    scopes: &Scopes,
    device_id: Option<String>,
    ip: Option<String>,
    (platform, device_family): (Option<String>, Option<String>),
    now: Now,
) -> Facts {
    let client = &params.client;
    let host = client.display_name.clone().unwrap_or_else(|| client.id.clone());
    Facts {
        text: Some(format!("Node: {host} · mode {}", client.mode)),
        host: Some(host),
        ip,
        version: Some(client.version.clone()),
        platform: platform.or_else(|| Some(client.platform.clone())),
        device_family: device_family.or_else(|| client.device_family.clone()),
        model_identifier: client.model_identifier.clone(),
        time_zone: client.time_zone.clone(),
        mode: Some(client.mode.clone()),
        device_id,
        roles: vec![role.as_str().to_owned()],
        scopes: scopes.as_slice().to_vec(),
        instance_id: client.instance_id.clone(),
        online_since: Some(now.wall.0),
        ..Facts::default()
    }
}
