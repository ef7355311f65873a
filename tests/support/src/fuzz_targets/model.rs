//! The reference model of `gateway_ops`: for each socket what a reader of the rules would expect, and nothing of how
//! the gateway does it. It knows who may be admitted, who may get which event, and what may never be said.

use super::gateway_ops::MARKER;
use clawgate_proto::frame::EventFrame;
use clawgate_proto::host::HostRequest;
use clawgate_proto::id::{ConnId, Ticket};
use clawgate_proto::limits::Limits;
use clawgate_proto::output::{Order, Output, Reply};
use clawgate_proto::scope::{self, Role, Scopes};
use clawgate_proto::store::Paired;
use std::collections::{BTreeMap, BTreeSet};

/// What a `connect` claims, and what is true of it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) id: String,
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) role: Option<&'static str>,
    pub(super) scopes: Scopes,
    /// Client id and mode.
    pub(super) client: (&'static str, &'static str),
    /// The device it shows; whether it proved its key.
    pub(super) device: Option<(String, bool)>,
    pub(super) secret_is_right: bool,
    /// Role of the device token it shows, when the token is one that this device was given.
    pub(super) device_token: bool,
}

/// Facts of the socket that count for a claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Loopback, a `Host` that names this machine, nothing forwarded.
    pub(super) local: bool,
    /// The page that sent it: none, one of our own origin, another.
    pub(super) origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    None,
    Own,
    Foreign,
}

/// How far a socket has come, as seen from outside.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Nothing was asked.
    Fresh,
    /// An upgrade or a request was handed in and not answered.
    Asked { upgrade: bool },
    /// Answered as HTTP.
    Http,
    /// Upgraded.
    Upgraded,
    /// A `connect` was handed in and not answered.
    Claimed(Box<Claim>),
    /// Admitted.
    Open { role: Role, scopes: Scopes },
    /// Ordered to close, or ending by itself.
    Ending,
}

/// One accepted socket.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: u8,
    pub(super) place: Place,
    pub(super) stage: Stage,
    /// Requests without an answer.
    pub(super) in_flight: Vec<String>,
    /// Cost of orders that were not drained.
    pub(super) queued: usize,
    /// It came close to the bound of its queue: events may be missing.
    was_full: bool,
    is_paused: bool,
    seq: u64,
}

/// Everything the model knows.
#[derive(Debug)]
pub(super) struct Model {
    limits: Limits,
    pub(super) peers: BTreeMap<ConnId, Peer>,
    /// Host requests in flight.
    pub(super) asked: Vec<(Ticket, HostRequest)>,
    last_ticket: u64,
    accepting: bool,
    pub(super) is_stopping: bool,
    pub(super) has_stopped: bool,
    /// Device tokens given out.
    pub(super) tokens: Vec<(String, Role, String)>,
    /// Requests that ask to approve a device.
    pub(super) approvals: BTreeSet<String>,
    /// Who was approved by the outputs at hand: a device, silently, or whoever a person named.
    approved_now: Vec<Option<String>>,
    /// Sockets that the outputs at hand close.
    closed_now: BTreeSet<ConnId>,
    /// Devices whose socket ended while a claim of it was being decided: it may be granted all the same, unseen.
    orphans: BTreeSet<String>,
}

impl Model {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            peers: BTreeMap::new(),
            asked: Vec::new(),
            last_ticket: 0,
            accepting: true,
            is_stopping: false,
            has_stopped: false,
            tokens: Vec::new(),
            approvals: BTreeSet::new(),
            approved_now: Vec::new(),
            closed_now: BTreeSet::new(),
            orphans: BTreeSet::new(),
        }
    }

    /// The connection ends by itself.
    pub(super) fn ending(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if let Stage::Claimed(claim) = &peer.stage
            && let Some((device, _)) = &claim.device
            && may_be_silent(claim, peer.place)
        {
            self.orphans.insert(device.clone());
        }
        peer.stage = Stage::Ending;
    }

    /// The socket is gone.
    pub(super) fn closed(&mut self, conn: ConnId) {
        self.ending(conn);
        self.peers.remove(&conn);
    }

    pub(super) fn opened(&mut self, conn: ConnId, address: u8) {
        assert!(!self.is_stopping && self.peers.len() < self.limits.sockets_max, "a socket too many");
        let peer = Peer {
            address,
            place: Place { local: false, origin: Origin::None },
            stage: Stage::Fresh,
            in_flight: Vec::new(),
            queued: 0,
            was_full: false,
            is_paused: false,
            seq: 0,
        };
        assert!(self.peers.insert(conn, peer).is_none(), "an id was used twice");
    }

    /// Holds the outputs of one input to the rules. `before` is what was durably paired before it, `after` what is now.
    pub(super) fn check(&mut self, outputs: &[Output], before: &Paired, after: &Paired) {
        let open_before: Vec<ConnId> = self.open().collect();
        let mut ticked = Vec::new();
        self.approved_now.clear();
        let closed = |output: &Output| match output {
            Output::To(conn, Order::Close(_)) => Some(*conn),
            Output::To(..)
            | Output::Host(..)
            | Output::Log(_)
            | Output::Accept(_)
            | Output::Beat
            | Output::Stopped => None,
        };
        self.closed_now = outputs.iter().filter_map(closed).collect();
        for output in outputs {
            match output {
                Output::To(conn, order) => {
                    if let Order::Event(EventFrame { name: "tick", .. }) = order {
                        ticked.push(*conn);
                    }
                    self.order(*conn, order, before, after);
                }
                Output::Host(ticket, request) => {
                    assert!(ticket.0 > self.last_ticket, "a ticket was used twice");
                    self.last_ticket = ticket.0;
                    self.asked.push((*ticket, request.clone()));
                }
                Output::Log(record) => {
                    for (name, value) in &record.fields {
                        let leaks = value.contains(MARKER)
                            || self.tokens.iter().any(|(_, _, token)| value.contains(token.as_str()));
                        assert!(!leaks, "{} tells a secret in {name}", record.event);
                    }
                }
                Output::Accept(accepting) => {
                    assert!(*accepting != self.accepting || self.is_stopping, "the same gate twice");
                    assert!(!(*accepting && self.is_stopping), "no new sockets while stopping");
                    self.accepting = *accepting;
                }
                Output::Beat => {}
                Output::Stopped => {
                    assert!(self.is_stopping, "stopped without being asked");
                    self.has_stopped = true;
                }
            }
        }
        if !ticked.is_empty() {
            for conn in open_before {
                let peer = &self.peers[&conn];
                let is_open = matches!(peer.stage, Stage::Open { .. });
                assert!(!is_open || peer.was_full || ticked.contains(&conn), "{conn} missed the tick");
            }
        }
    }

    /// Admitted sockets.
    pub(super) fn open(&self) -> impl Iterator<Item = ConnId> + '_ {
        let open = |(conn, peer): (&ConnId, &Peer)| matches!(peer.stage, Stage::Open { .. }).then_some(*conn);
        self.peers.iter().filter_map(open)
    }

    fn order(&mut self, conn: ConnId, order: &Order, before: &Paired, after: &Paired) {
        let handshakes = self.handshakes_like(conn);
        let peer = self.peers.get_mut(&conn).unwrap_or_else(|| panic!("{order:?} for {conn}, which is gone"));
        let may_speak = !matches!(peer.stage, Stage::Ending);
        peer.queued += order.cost();
        peer.was_full |= peer.queued + NEARLY > self.limits.queued_bytes_max;
        match order {
            Order::Upgrade => {
                assert!(
                    matches!(peer.stage, Stage::Asked { upgrade: true }),
                    "{conn}: nobody asked to upgrade"
                );
                assert!(handshakes < self.limits.preauth_sockets_per_address_max, "{conn}: above the cap");
                peer.stage = Stage::Upgraded;
            }
            Order::Watch | Order::Reload | Order::Body(_) => {
                panic!("{conn}: {order:?}, and no canvas is served")
            }
            Order::Http(_) => {
                assert!(matches!(peer.stage, Stage::Asked { .. }), "{conn}: nobody asked");
                peer.stage = Stage::Http;
            }
            Order::Admit(admission) => {
                let Stage::Claimed(claim) = &peer.stage else {
                    panic!("{conn} was admitted in {:?}", peer.stage)
                };
                assert_eq!(*admission.request_id, *claim.id);
                assert!(!self.is_stopping, "nobody comes in while stopping");
                // Operations that waited together become durable together, and count in their order.
                let device = claim.device.as_ref().map(|(device, _)| device.clone());
                let earlier =
                    self.approved_now.iter().any(|approved| approved.is_none() || *approved == device)
                        || device.as_ref().is_some_and(|device| self.orphans.contains(device));
                let before = if earlier { after } else { before };
                // Who is removed by an operation right behind is let in and closed at once.
                let is_brief = self.closed_now.contains(&conn);
                let after = (!is_brief).then_some(after);
                check_admission(claim, peer.place, (admission.role, &admission.scopes), before, after);
                if device.is_some() {
                    self.approved_now.push(device);
                }
                if let (Some(token), Some((device, _))) = (&admission.token, &claim.device) {
                    let known = (device.clone(), admission.role, token.token.clone());
                    if !self.tokens.contains(&known) {
                        self.tokens.push(known);
                    }
                }
                peer.stage = Stage::Open { role: admission.role, scopes: admission.scopes.clone() };
            }
            Order::Respond { id, reply } => {
                assert!(may_speak, "{conn}: an answer behind the end");
                if matches!(reply, Reply::Ok(_)) && self.approvals.contains(&**id) {
                    self.approved_now.push(None);
                }
                match &peer.stage {
                    Stage::Claimed(claim) if *claim.id == **id => {}
                    Stage::Open { .. } => {
                        let at = peer.in_flight.iter().position(|have| have == &**id);
                        peer.in_flight.remove(at.unwrap_or_else(|| panic!("{conn}: nobody asked {id}")));
                    }
                    Stage::Fresh
                    | Stage::Asked { .. }
                    | Stage::Http
                    | Stage::Upgraded
                    | Stage::Claimed(_)
                    | Stage::Ending => panic!("{conn}: an answer to {id} in {:?}", peer.stage),
                }
            }
            Order::Event(event) => {
                let Stage::Open { role, scopes } = &peer.stage else {
                    panic!("{conn}: an event in {:?}", peer.stage)
                };
                if event.seq.is_none() {
                    let is_theirs = matches!(
                        event.name,
                        "voicewake.changed" | "voicewake.routing.changed" | "node.pair.resolved"
                    );
                    assert!(is_theirs && *role == Role::Node, "{conn} is told {} as {role:?}", event.name);
                    return;
                }
                let wanted = match event.name {
                    "tick" | "health" | "shutdown" | "gateway.suspension" => None,
                    "presence" | "voicewake.changed" => Some(scope::READ),
                    "talk.mode" => Some(scope::TALK),
                    "device.pair.requested" | "device.pair.resolved" => Some(scope::PAIRING),
                    "node.pair.requested" | "node.pair.resolved" => Some(scope::PAIRING),
                    other => panic!("an event nobody knows: {other}"),
                };
                let entitled = wanted.is_none_or(|scope| *role == Role::Operator && scopes.satisfies(scope));
                assert!(entitled, "{conn} got {} with {scopes:?}", event.name);
                let seq = event.seq.expect("a broadcast is numbered");
                assert!(
                    seq > peer.seq && (peer.was_full || seq == peer.seq + 1),
                    "{conn}: {seq} after {}",
                    peer.seq
                );
                peer.seq = seq;
            }
            Order::Read(may_read) => {
                assert_eq!(*may_read, peer.is_paused, "{conn}: the same reading twice");
                peer.is_paused = !may_read;
                let bound =
                    if *may_read { self.limits.queued_bytes_low } else { self.limits.queued_bytes_high };
                assert_eq!(*may_read, peer.queued <= bound, "{conn}: reading {may_read} at {}", peer.queued);
            }
            Order::Close(_) => {
                assert!(may_speak, "{conn}: closed twice");
                self.ending(conn);
            }
            Order::Abort => self.ending(conn),
        }
    }

    /// Sockets of the same address between upgrade and hello-ok, without this one.
    fn handshakes_like(&self, conn: ConnId) -> usize {
        let Some(peer) = self.peers.get(&conn) else { return 0 };
        let is_handshake = |(other, at): (&ConnId, &Peer)| {
            *other != conn
                && at.address == peer.address
                && matches!(at.stage, Stage::Upgraded | Stage::Claimed(_))
        };
        self.peers.iter().filter(|entry| is_handshake(*entry)).count()
    }
}

/// Whether this claim may be granted. Every rule stands here once more, in other words.
fn check_admission(
    claim: &Claim,
    place: Place,
    (role, granted): (Role, &Scopes),
    before: &Paired,
    after: Option<&Paired>,
) {
    let Claim { min, max, scopes: asked, client, device, .. } = claim;
    assert!((*min..=*max).contains(&3) || (*min..=*max).contains(&4), "no protocol in common");
    assert_eq!(claim.role.unwrap_or("operator"), role.as_str());
    let is_page = is_page(*client);
    assert_ne!(place.origin, Origin::Foreign, "a foreign page");
    assert!(!is_page || place.origin == Origin::Own, "a page without an origin");
    let beyond = granted.as_slice().iter().find(|scope| !asked.as_slice().contains(scope));
    assert_eq!(beyond, None, "more than was asked");
    let direct = place.local && place.origin == Origin::None;
    let Some((device, proved)) = device else {
        assert!(role == Role::Operator && client.0 != "openclaw-control-ui", "must show a device");
        assert!(claim.secret_is_right, "neither device nor secret");
        let keeps = direct && matches!(*client, ("cli", "cli") | ("gateway-client", "backend"));
        assert_eq!(granted.is_empty(), !keeps || asked.is_empty(), "scopes of a peer without a device");
        return;
    };
    assert!(proved, "the device did not prove itself");
    assert!(claim.secret_is_right || claim.device_token, "no credential");
    if direct && *client == ("gateway-client", "backend") && role == Role::Operator && claim.secret_is_right {
        return;
    }
    let covers = |paired: &Paired| {
        paired.get(device).is_some_and(|record| {
            let roles = record.roles.clone().or_else(|| record.role.clone().map(|role| vec![role]));
            let approved =
                Scopes::new(record.approved_scopes.as_ref().or(record.scopes.as_ref()).into_iter().flatten());
            roles.is_some_and(|roles| roles.iter().any(|have| have == role.as_str()))
                && approved.first_uncovered(role, asked).is_none()
        })
    };
    assert!(after.is_none_or(covers), "admitted beyond what is durably approved");
    let known_as_other = before.contains_key(device) && role == Role::Node;
    if !may_be_silent(claim, place) || known_as_other {
        assert!(covers(before), "approved without a person");
    }
}

/// Whether somebody who stands there and shows that may be approved without a person.
fn may_be_silent(claim: &Claim, place: Place) -> bool {
    let page_may = place.origin == Origin::Own && is_page(claim.client);
    place.local && claim.secret_is_right && (place.origin == Origin::None || page_may)
}

fn is_page((id, mode): (&str, &str)) -> bool {
    id == "openclaw-control-ui" || id == "webchat-ui" || mode == "webchat"
}

/// Below this distance from the bound an event may find no room.
const NEARLY: usize = 8 * 1024;
