//! Accepted sockets: what phase each is in, what is queued towards it, and the budgets that hold before anyone is
//! known (R7). Counting happens here and nowhere else.

use super::Peer;
use super::approvals::Shows;
use super::canvas::By;
use super::devices::setup::Redeemed;
use super::users::User;
use crate::config::Config;
use crate::dialect::Dialect;
use crate::host::files::FileRest;
use crate::http::HttpRequest;
use crate::id::ConnId;
use crate::net::{self, ClientAddress};
use crate::scope::{Role, Scopes};
use crate::secret::Secret;
use crate::store::nodes::{NodeAbout, Surface};
use crate::time::Mono;
use core::net::IpAddr;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One accepted socket.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) peer: Peer,
    pub(super) phase: Phase,
    /// Cost of what is queued towards it.
    pub(super) queued: usize,
    /// Whether we stopped reading it because of that.
    pub(super) paused: bool,
    /// The number of its latest event.
    pub(super) seq: u64,
    /// Wrong-role answers since the last other one.
    pub(super) wrong_role: u32,
}

/// How far a socket has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// No complete request head yet.
    Headless,
    /// Speaks plain HTTP. Between two requests it is one more socket that owes us a head, and counts as such: or
    /// one address could hold every socket there is with a probe now and then.
    Http,
    /// Upgraded; no decision on a `connect` yet.
    Handshake(Box<Handshake>),
    /// Is sent a file, or will be.
    Serving(Box<Serving>),
    /// A page that is told when to load itself again.
    Watching(By),
    /// Admitted.
    Open(Box<Session>),
    /// Told to close, or closing by itself.
    Ending,
}

/// What is known of an upgraded socket.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) address: ClientAddress,
    pub(super) request: HttpRequest,
    /// Whether a `connect` is being decided.
    pub(super) deciding: bool,
    /// What the client calls itself, once it has said so.
    pub(super) client_id: Option<Box<str>>,
}

impl Handshake {
    /// Against whose budget it counts.
    fn holder(&self) -> Option<IpAddr> {
        self.address.ip.map(net::holder)
    }
}

/// What is known of a socket that is sent a file.
#[derive(Debug)]
pub(super) struct Serving {
    /// The client's address, when it is known.
    pub(super) ip: Option<IpAddr>,
    /// On whose word.
    pub(super) by: By,
    /// The query of its address, for a redirect that keeps it.
    pub(super) query: Option<Secret>,
    /// What is still to be sent; nothing before the file is found.
    pub(super) rest: Option<FileRest>,
    /// Whether the host is asked for the next piece.
    pub(super) asked: bool,
}

impl Serving {
    /// Against whose budget it counts.
    fn holder(&self) -> Option<IpAddr> {
        self.ip.map(net::holder)
    }
}

/// An admitted peer.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) dialect: Dialect,
    pub(super) role: Role,
    pub(super) scopes: Scopes,
    pub(super) device_id: Option<String>,
    /// The client's address, when it is known.
    pub(super) ip: Option<IpAddr>,
    /// Whether its device token let it in.
    pub(super) by_device_token: bool,
    /// Its presence entry, when it is tracked.
    pub(super) presence_key: Option<String>,
    /// Whether it is a page in a browser.
    pub(super) is_page: bool,
    /// Whether it is a phone or a tablet that serves as a node.
    pub(super) is_phone: bool,
    /// What it calls itself: for people.
    pub(super) name: Box<str>,
    /// Who somebody vouched for.
    pub(super) user: Option<Box<User>>,
    /// Which requests it shows to people.
    pub(super) shows: Shows,
    /// What a node declared.
    pub(super) declared: Option<Box<NodeSession>>,
    /// Its setup code was spent, and it has not confirmed that it knows.
    pub(super) delivery: Option<Box<Delivery>>,
}

/// A node that is here.
#[derive(Debug)]
pub(super) struct NodeSession {
    /// About itself.
    pub(super) about: NodeAbout,
    /// What it offers.
    pub(super) surface: Surface,
    /// Since when, Unix milliseconds.
    pub(super) since_ms: u64,
    /// Where it finds programs.
    pub(super) path_env: Option<String>,
    /// What it offers besides, as it said so.
    pub(super) tools: Arc<[Value]>,
    /// How busy it is.
    pub(super) host_stats: Option<Value>,
    /// When that was told.
    pub(super) stats_told: Option<Mono>,
    /// Chats that it follows.
    pub(super) chats: BTreeSet<String>,
}

/// A hello-ok on its way to a device whose setup code is spent.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The code and the device.
    pub(super) redeemed: Redeemed,
    /// Bytes that must leave the queue before hello-ok has.
    pub(super) left: usize,
}

/// Every socket, and the counts.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: BTreeMap<ConnId, Slot>,
    headless: BTreeSet<ConnId>,
    headless_by_address: BTreeMap<IpAddr, BTreeSet<ConnId>>,
    preauth: BTreeMap<Option<IpAddr>, usize>,
    preauth_total: usize,
    /// Ending, and never admitted: refused, given up, or leaving by themselves.
    unadmitted: BTreeSet<ConnId>,
    by_device: BTreeMap<String, BTreeSet<ConnId>>,
    open: BTreeSet<ConnId>,
    watching: BTreeSet<ConnId>,
    serving: BTreeMap<Option<IpAddr>, usize>,
    serving_total: usize,
}

impl Peers {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&Slot> {
        self.slots.get(&conn)
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(&conn)
    }

    pub(super) fn session(&self, conn: ConnId) -> Option<&Session> {
        match &self.slots.get(&conn)?.phase {
            Phase::Open(session) => Some(session),
            Phase::Headless
            | Phase::Http
            | Phase::Handshake(_)
            | Phase::Serving(_)
            | Phase::Watching(_)
            | Phase::Ending => None,
        }
    }

    /// The same, to change.
    pub(super) fn session_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        match &mut self.slots.get_mut(&conn)?.phase {
            Phase::Open(session) => Some(session),
            Phase::Headless
            | Phase::Http
            | Phase::Handshake(_)
            | Phase::Serving(_)
            | Phase::Watching(_)
            | Phase::Ending => None,
        }
    }

    /// Admitted sockets, in order of their ids.
    pub(super) fn open(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.open.iter().copied()
    }

    /// How many are admitted.
    pub(super) fn open_len(&self) -> usize {
        self.open.len()
    }

    /// Pages that are told when to load themselves again, in order of their ids.
    pub(super) fn watching(&self) -> &BTreeSet<ConnId> {
        &self.watching
    }

    /// Whether one more file may be sent to this client. Who may be anybody takes half the room at most.
    pub(super) fn has_serving_room(&self, ip: Option<IpAddr>, by: By, config: &Config) -> bool {
        let of_address = self.serving.get(&ip.map(net::holder)).copied().unwrap_or(0);
        let in_all_max = match by {
            By::Itself | By::Capability(_) => config.limits.files_max,
            By::Anybody => config.limits.files_max / 2,
        };
        of_address < config.limits.files_per_address_max && self.serving_total < in_all_max
    }

    /// Whether a phone or a tablet is here.
    pub(super) fn has_phone(&self) -> bool {
        self.open.iter().any(|conn| self.session(*conn).is_some_and(|session| session.is_phone))
    }

    /// Every socket, in order of their ids.
    pub(super) fn all(&self) -> impl Iterator<Item = (ConnId, &Slot)> {
        self.slots.iter().map(|(conn, slot)| (*conn, slot))
    }

    /// Admitted sockets of a device.
    pub(super) fn of_device(&self, device_id: &str) -> Vec<ConnId> {
        self.by_device.get(device_id).map(|conns| conns.iter().copied().collect()).unwrap_or_default()
    }

    /// Devices with an admitted socket.
    pub(super) fn devices(&self) -> BTreeSet<String> {
        self.by_device.keys().cloned().collect()
    }

    /// Sockets without a complete request head.
    pub(super) fn headless_len(&self) -> usize {
        self.headless.len()
    }

    /// Sockets between upgrade and hello-ok.
    pub(super) fn preauth_len(&self) -> usize {
        self.preauth_total
    }

    /// Sockets that end without having been admitted, and that their peers have not closed yet.
    pub(super) fn unadmitted_len(&self) -> usize {
        self.unadmitted.len()
    }

    /// The oldest of these, when there are too many. It is the caller's to cut.
    pub(super) fn pop_unadmitted(&mut self, config: &Config) -> Option<ConnId> {
        if self.unadmitted.len() > config.limits.ending_sockets_max {
            self.unadmitted.pop_first()
        } else {
            None
        }
    }

    /// A socket that is cut waits for nobody: it is no longer one of those that end in their own time.
    pub(super) fn has_been_cut(&mut self, conn: ConnId) {
        self.unadmitted.remove(&conn);
    }

    /// Recounts everything from the sockets.
    ///
    /// # Panics
    /// When a count or an index is wrong.
    pub(super) fn check(&self) {
        let (mut headless, mut open, mut preauth) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let mut headless_by_address = BTreeMap::<_, BTreeSet<_>>::new();
        let mut by_device = BTreeMap::<_, BTreeSet<_>>::new();
        let (mut watching, mut serving) = (BTreeSet::new(), BTreeMap::new());
        for (conn, slot) in &self.slots {
            match &slot.phase {
                Phase::Headless | Phase::Http => {
                    headless.insert(*conn);
                    let address = net::holder(slot.peer.remote.ip());
                    headless_by_address.entry(address).or_default().insert(*conn);
                }
                Phase::Handshake(handshake) => *preauth.entry(handshake.holder()).or_default() += 1,
                Phase::Serving(file) => *serving.entry(file.holder()).or_default() += 1,
                Phase::Watching(_) => {
                    watching.insert(*conn);
                }
                Phase::Open(session) => {
                    open.insert(*conn);
                    if let Some(device_id) = &session.device_id {
                        by_device.entry(device_id.clone()).or_default().insert(*conn);
                    }
                }
                Phase::Ending => {}
            }
        }
        assert_eq!(watching, self.watching, "pages that wait");
        assert_eq!(serving, self.serving, "sockets that are sent a file, by address");
        assert_eq!(serving.values().sum::<usize>(), self.serving_total, "sockets that are sent a file");
        assert_eq!(headless, self.headless, "sockets without a head");
        assert_eq!(headless_by_address, self.headless_by_address, "sockets without a head, by address");
        assert_eq!(preauth, self.preauth, "sockets before hello-ok, by address");
        assert_eq!(preauth.values().sum::<usize>(), self.preauth_total, "sockets before hello-ok");
        assert_eq!(open, self.open, "admitted sockets");
        assert_eq!(by_device, self.by_device, "admitted sockets, by device");
        let is_ending = |conn| self.slots.get(conn).is_some_and(|slot| matches!(slot.phase, Phase::Ending));
        assert!(self.unadmitted.iter().all(is_ending), "sockets that end without having been admitted");
    }

    /// Adds a socket and names the older ones that must be cut because too many have not sent a head.
    pub(super) fn insert(&mut self, conn: ConnId, peer: Peer, config: &Config) -> Vec<ConnId> {
        let address = net::holder(peer.remote.ip());
        let slot = Slot { peer, phase: Phase::Headless, queued: 0, paused: false, seq: 0, wrong_role: 0 };
        self.slots.insert(conn, slot);
        self.count_headless(conn, address);
        let mut cut = Vec::new();
        let of_address = self.headless_by_address.get(&address).map_or(0, BTreeSet::len);
        if of_address > config.limits.headless_sockets_per_address_max {
            cut.extend(self.headless_by_address.get(&address).and_then(|conns| conns.first().copied()));
        } else if self.headless.len() > config.limits.headless_sockets_max {
            cut.extend(self.headless.first().copied());
        }
        cut
    }

    /// Moves a socket on; keeps every count.
    pub(super) fn set_phase(&mut self, conn: ConnId, phase: Phase) {
        let Some(slot) = self.slots.get_mut(&conn) else { return };
        let remote = net::holder(slot.peer.remote.ip());
        let old = core::mem::replace(&mut slot.phase, Phase::Ending);
        self.uncount(conn, remote, &old);
        match &phase {
            Phase::Handshake(handshake) => {
                *self.preauth.entry(handshake.holder()).or_default() += 1;
                self.preauth_total += 1;
            }
            Phase::Serving(file) => {
                *self.serving.entry(file.holder()).or_default() += 1;
                self.serving_total += 1;
            }
            Phase::Watching(_) => {
                self.watching.insert(conn);
            }
            Phase::Open(session) => {
                self.open.insert(conn);
                if let Some(device_id) = &session.device_id {
                    self.by_device.entry(device_id.clone()).or_default().insert(conn);
                }
            }
            Phase::Headless | Phase::Http => self.count_headless(conn, remote),
            Phase::Ending => match old {
                Phase::Headless
                | Phase::Http
                | Phase::Handshake(_)
                | Phase::Serving(_)
                | Phase::Watching(_) => {
                    self.unadmitted.insert(conn);
                }
                Phase::Open(_) | Phase::Ending => {}
            },
        }
        if let Some(slot) = self.slots.get_mut(&conn) {
            slot.phase = phase;
        }
    }

    /// Forgets a socket.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Slot> {
        let slot = self.slots.remove(&conn)?;
        self.uncount(conn, net::holder(slot.peer.remote.ip()), &slot.phase);
        self.unadmitted.remove(&conn);
        Some(slot)
    }

    /// Whether one more socket of this client may be between upgrade and hello-ok.
    pub(super) fn has_preauth_room(&self, ip: Option<IpAddr>, config: &Config) -> bool {
        let of_address = self.preauth.get(&ip.map(net::holder)).copied().unwrap_or(0);
        of_address < config.limits.preauth_sockets_per_address_max
            && self.preauth_total < config.limits.preauth_sockets_max
    }

    fn count_headless(&mut self, conn: ConnId, remote: IpAddr) {
        self.headless.insert(conn);
        self.headless_by_address.entry(remote).or_default().insert(conn);
    }

    fn uncount(&mut self, conn: ConnId, remote: IpAddr, phase: &Phase) {
        match phase {
            Phase::Headless | Phase::Http => {
                self.headless.remove(&conn);
                if let Some(conns) = self.headless_by_address.get_mut(&remote) {
                    conns.remove(&conn);
                    if conns.is_empty() {
                        self.headless_by_address.remove(&remote);
                    }
                }
            }
            Phase::Handshake(handshake) => {
                self.preauth_total -= 1;
                if let Some(count) = self.preauth.get_mut(&handshake.holder()) {
                    *count -= 1;
                    if *count == 0 {
                        self.preauth.remove(&handshake.holder());
                    }
                }
            }
            Phase::Serving(file) => {
                self.serving_total -= 1;
                if let Some(count) = self.serving.get_mut(&file.holder()) {
                    *count -= 1;
                    if *count == 0 {
                        self.serving.remove(&file.holder());
                    }
                }
            }
            Phase::Watching(_) => {
                self.watching.remove(&conn);
            }
            Phase::Open(session) => {
                self.open.remove(&conn);
                if let Some(device_id) = &session.device_id
                    && let Some(conns) = self.by_device.get_mut(device_id)
                {
                    conns.remove(&conn);
                    if conns.is_empty() {
                        self.by_device.remove(device_id);
                    }
                }
            }
            Phase::Ending => {}
        }
    }
}
