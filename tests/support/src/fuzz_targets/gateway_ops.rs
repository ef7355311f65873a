//! The target `gateway_ops`: decoded operations on a gateway and a host in memory, in any order, each held to the
//! reference model.

use super::model::{Claim, Model, Origin, Place, Stage};
use super::socket::config;
use super::source::Source;
use crate::host::MemoryHost;
use clawgate_proto::config::{AuthConfig, AuthMode, Config};
use clawgate_proto::connect::{ConnectParams, ConnectRequest, Proof, ProofFault, proof};
use clawgate_proto::dialect::Dialect;
use clawgate_proto::gateway::{Peer, Refused};
use clawgate_proto::host::{self, Document, Host as _, Version};
use clawgate_proto::http::HttpRequest;
use clawgate_proto::id::{ConnId, Ticket};
use clawgate_proto::input::End;
use clawgate_proto::limits::Limits;
use clawgate_proto::methods;
use clawgate_proto::output::Output;
use clawgate_proto::request::{MethodRef, Request};
use clawgate_proto::scope::{Role, Scopes};
use clawgate_proto::secret::Secret;
use clawgate_proto::seed::Seed;
use clawgate_proto::store::{Paired, parse_paired, parse_pending};
use clawgate_proto::{Gateway, Input, Mono, Now, Wall};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

/// Part of every secret here; no record of the log may hold it.
pub(super) const MARKER: &str = "cLaWmArKeR";
const TOKEN: &str = "cLaWmArKeR-shared-token";

/// The target `gateway_ops`.
pub fn gateway_ops(data: &[u8]) {
    let mut source = Source(data);
    let mut world = World::new(source.byte());
    world.give(Input::Tick);
    for _ in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        world.step(&mut source);
    }
    world.wind_up();
}

struct World {
    gateway: Gateway,
    host: MemoryHost,
    now: Now,
    model: Model,
    requests: u32,
    /// What is durably paired, as of that version.
    paired: (Version, Rc<Paired>),
}

impl World {
    fn new(choice: u8) -> Self {
        let mode = if choice & 1 == 0 { AuthMode::Token } else { AuthMode::Password };
        let secret = Secret::new(TOKEN);
        let auth = AuthConfig { token: secret.clone(), password: secret, ..AuthConfig::new(mode) };
        let config = Config { auth, ..config(limits()) };
        let now = Now { mono: Mono(1_000_000), wall: Wall(1_700_000_000_000) };
        let host = MemoryHost::new();
        host.set_system_info(&b"{}"[..]);
        let gateway = Gateway::new(config, Seed::new([5; 32]), now);
        Self {
            gateway,
            host,
            now,
            model: Model::new(limits()),
            requests: 0,
            paired: (Version::MISSING, Rc::default()),
        }
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.below(16) {
            0 | 1 => self.open(source),
            2 | 3 => self.upgrade(source),
            4 | 5 => self.connect(source),
            6 | 7 => self.request(source),
            8 | 9 => self.answer(source),
            10 => self.drained(source),
            11 => self.end(source),
            12 => {
                let ms = u64::from(source.word()) * u64::from(source.pick(&[1_u8, 1, 10, 100]));
                self.pass(ms);
            }
            13 => self.meddle(source),
            14 => self.ask_http(source),
            _ => {
                if source.below(8) == 0 {
                    self.stop();
                } else {
                    self.stale(source);
                }
            }
        }
    }

    /// Hands in one fact and holds what comes of it to the model.
    fn give(&mut self, input: Input) {
        let before = self.paired();
        let mut outputs = Vec::new();
        self.gateway.handle(self.now, input, &mut outputs);
        self.model.check(&outputs, &before, &before);
    }

    fn paired(&mut self) -> Rc<Paired> {
        let version = self.host.version(Document::DevicesPaired).expect("this host can always be read");
        if version != self.paired.0 {
            let text = self.host.content(Document::DevicesPaired);
            let read = text.map(|text| parse_paired(&text).expect("the store stays readable"));
            self.paired = (version, Rc::new(read.unwrap_or_default()));
        }
        Rc::clone(&self.paired.1)
    }

    /// One of the sockets, or one that is not there.
    fn some_conn(&self, source: &mut Source<'_>) -> ConnId {
        let nth = usize::from(source.byte());
        let known: Vec<ConnId> = self.model.peers.keys().copied().collect();
        known.get(nth % (known.len() + 1)).copied().unwrap_or(ConnId(9_999))
    }

    fn open(&mut self, source: &mut Source<'_>) {
        let address = source.below(4);
        let ip: IpAddr = match address {
            0 => Ipv4Addr::LOCALHOST.into(),
            1 => Ipv6Addr::LOCALHOST.into(),
            n => Ipv4Addr::new(192, 0, 2, n).into(),
        };
        let peer = Peer { remote: SocketAddr::new(ip, 40_000), local: SocketAddr::new(ip, 18_789) };
        let mut outputs = Vec::new();
        match self.gateway.open(self.now, peer, &mut outputs) {
            Ok(connection) => self.model.opened(connection.id(), address),
            Err(Refused) => {
                let full = self.model.peers.len() >= limits().sockets_max;
                assert!(full || self.model.is_stopping, "refused without need");
            }
        }
        let paired = self.paired();
        self.model.check(&outputs, &paired, &paired);
    }

    fn upgrade(&mut self, source: &mut Source<'_>) {
        let conn = self.some_conn(source);
        let choice = source.byte();
        let here = choice & 1 == 0;
        let forwarded = choice & 2 != 0 && choice & 4 != 0;
        let origin = [Origin::None, Origin::None, Origin::Own, Origin::Foreign][usize::from(choice >> 3 & 3)];
        let mut headers =
            vec![("host".to_owned(), if here { "localhost:18789" } else { "evil.example" }.to_owned())];
        match origin {
            Origin::None => {}
            Origin::Own => headers.push(("origin".to_owned(), "http://localhost:18789".to_owned())),
            Origin::Foreign => headers.push(("origin".to_owned(), "https://evil.example".to_owned())),
        }
        if forwarded {
            headers.push(("x-forwarded-for".to_owned(), "127.0.0.1".to_owned()));
        }
        let fresh = self.set_stage(conn, Stage::Asked { upgrade: true }, |stage| {
            matches!(stage, Stage::Fresh | Stage::Http)
        });
        if !fresh {
            return;
        }
        if let Some(peer) = self.model.peers.get_mut(&conn) {
            let local = peer.address < 2 && here && !forwarded;
            // A loopback origin is our own only to a local peer.
            let origin = if origin == Origin::Own && !local { Origin::Foreign } else { origin };
            peer.place = Place { local, origin };
        }
        let request =
            HttpRequest { method: "GET".to_owned(), path: "/".to_owned(), headers, ..HttpRequest::default() };
        self.give(Input::Upgrade { conn, request: Box::new(request) });
    }

    fn ask_http(&mut self, source: &mut Source<'_>) {
        let conn = self.some_conn(source);
        let path = source.pick(&["/health", "/readyz", "/startup", "/", "/health"]);
        if !self.set_stage(conn, Stage::Asked { upgrade: false }, |stage| {
            matches!(stage, Stage::Fresh | Stage::Http)
        }) {
            return;
        }
        let request =
            HttpRequest { method: "GET".to_owned(), path: path.to_owned(), ..HttpRequest::default() };
        self.give(Input::Http { conn, request: Box::new(request) });
    }

    /// Moves the model on, when the socket is where a connection would say such a thing.
    fn set_stage(&mut self, conn: ConnId, next: Stage, from: impl Fn(&Stage) -> bool) -> bool {
        let Some(peer) = self.model.peers.get_mut(&conn) else { return false };
        let fits = from(&peer.stage);
        if fits {
            peer.stage = next;
        }
        fits
    }

    fn connect(&mut self, source: &mut Source<'_>) {
        let conn = self.some_conn(source);
        self.requests += 1;
        let id = format!("c{}", self.requests);
        let (min, max) = source.pick(&[(3, 4), (4, 4), (3, 3), (4, 8), (5, 9), (1, 2), (4, 3)]);
        let client = source.pick(&[
            ("cli", "cli"),
            ("test", "test"),
            ("gateway-client", "backend"),
            ("openclaw-control-ui", "webchat"),
            ("openclaw-macos", "ui"),
            ("node-host", "node"),
        ]);
        let role = source.pick(&[None, Some("operator"), Some("node"), Some("boss")]);
        let scopes: &[&str] = source.pick(&[
            &["operator.admin", "operator.read", "operator.pairing"],
            &["operator.read"],
            &["operator.pairing"],
            &["operator.write", "made.up"],
            &[],
        ]);
        let device = source.below(5);
        let proof = source.pick(&[true, true, true, false]);
        let platform = source.pick(&["linux", "linux", "linux", "win32"]);
        let mut auth = json!({});
        let secret = source.below(5);
        match secret {
            0 | 1 => auth["token"] = json!(TOKEN),
            2 => auth["password"] = json!(TOKEN),
            3 => auth["token"] = json!("cLaWmArKeR-wrong"),
            _ => {}
        }
        let mut claim = Claim {
            id: id.clone(),
            min,
            max,
            role,
            scopes: Scopes::new(scopes),
            client,
            device: None,
            secret_is_right: secret < 3,
            device_token: false,
        };
        let mut params = json!({
            "minProtocol": min, "maxProtocol": max, "scopes": scopes,
            "client": {"id": client.0, "mode": client.1, "version": "1", "platform": platform},
        });
        if let Some(role) = role {
            params["role"] = json!(role);
        }
        let mut judged = Proof::Absent;
        if device < 4 {
            let raw = [device; 32];
            let device_id = proof::device_id(&raw);
            let public_key = proof::public_key_text(&raw);
            params["device"] = json!({
                "id": device_id, "publicKey": public_key, "signature": "s", "signedAt": 0, "nonce": "n",
            });
            self.show_device_token(source, &device_id, &mut auth, &mut claim);
            claim.device = Some((device_id, proof));
            judged = if proof { Proof::Good { public_key } } else { Proof::Bad(ProofFault::Signature) };
        }
        params["auth"] = auth;
        let raw = serde_json::value::to_raw_value(&params).expect("a value is JSON");
        let params = ConnectParams::parse(Some(&raw)).expect("these params are well-formed");
        let known =
            self.set_stage(conn, Stage::Claimed(Box::new(claim)), |stage| matches!(stage, Stage::Upgraded));
        // From any other socket nothing may come of it: a connection says this once, behind its upgrade.
        if known || !self.model.peers.contains_key(&conn) || self.is_silent(conn) {
            self.give(Input::Connect {
                conn,
                request: Box::new(ConnectRequest { id: id.into(), params, proof: judged }),
            });
        }
    }

    /// Sockets at which a stray fact must be ignored.
    fn is_silent(&self, conn: ConnId) -> bool {
        self.model.peers.get(&conn).is_none_or(|peer| {
            matches!(
                peer.stage,
                Stage::Fresh | Stage::Http | Stage::Ending | Stage::Claimed(_) | Stage::Open { .. }
            )
        })
    }

    /// A device token: right, another device's, or made up.
    fn show_device_token(&self, source: &mut Source<'_>, device: &str, auth: &mut Value, claim: &mut Claim) {
        let choice = source.below(4);
        let nth = usize::from(source.byte());
        let token = match choice {
            0 | 1 => return,
            2 if !self.model.tokens.is_empty() => self.model.tokens[nth % self.model.tokens.len()].clone(),
            _ => (String::new(), Role::Operator, "cLaWmArKeR-made-up".to_owned()),
        };
        claim.device_token = token.0 == device;
        let member = if nth & 1 == 0 { "deviceToken" } else { "token" };
        if member == "token" {
            claim.secret_is_right = auth["password"] == json!(TOKEN);
        }
        auth[member] = json!(token.2);
    }

    fn request(&mut self, source: &mut Source<'_>) {
        let conn = self.some_conn(source);
        self.requests += 1;
        let id = format!("r{}", self.requests);
        let nth = usize::from(source.byte());
        let row = if nth < OTHER_METHODS {
            methods::find(METHODS[nth % METHODS.len()], Dialect::V4).expect("these have rows")
        } else {
            let nth = usize::from(source.byte()) % methods::rows().count();
            methods::rows().nth(nth).expect("it is one of them")
        };
        let params = self.params_for(row.name, source);
        if row.name == "device.pair.approve" {
            self.model.approvals.insert(id.clone());
        }
        let raw = serde_json::value::to_raw_value(&params).expect("a value is JSON");
        let method = match source.below(16) {
            0 => MethodRef::Unknown("no.such".into()),
            _ => MethodRef::Known(row),
        };
        let idempotency_key = (source.below(4) == 0).then(|| "key".into());
        let Some(peer) = self.model.peers.get_mut(&conn) else {
            let request = Request::new(id.into(), method, Some(&raw), idempotency_key);
            return self.give(Input::Request { conn, request });
        };
        if matches!(peer.stage, Stage::Open { .. }) {
            peer.in_flight.push(id.clone());
        }
        self.give(Input::Request {
            conn,
            request: Request::new(id.into(), method, Some(&raw), idempotency_key),
        });
    }

    fn params_for(&self, method: &str, source: &mut Source<'_>) -> Value {
        let nth = usize::from(source.byte());
        let device = proof::device_id(&[(nth % 5) as u8; 32]);
        match method {
            "device.pair.approve" | "device.pair.reject" => {
                let text = self.host.content(Document::DevicesPending).unwrap_or_default();
                let pending = parse_pending(&text).unwrap_or_default();
                let request = pending.keys().nth(nth % (pending.len() + 1)).cloned();
                json!({ "requestId": request.unwrap_or_else(|| "none".to_owned()) })
            }
            "device.pair.remove" => json!({ "deviceId": device }),
            "device.token.revoke" => {
                json!({ "deviceId": device, "role": source.pick(&["operator", "node", "x"]) })
            }
            "device.token.rotate" => {
                let role = source.pick(&["operator", "node", "x"]);
                let scopes: Option<&[&str]> =
                    source.pick(&[None, Some(&["operator.read"]), Some(&["operator.admin"])]);
                match scopes {
                    Some(scopes) => json!({ "deviceId": device, "role": role, "scopes": scopes }),
                    None => json!({ "deviceId": device, "role": role }),
                }
            }
            "set-heartbeats" => json!({ "enabled": nth & 1 == 0 }),
            "system-event" => json!({ "text": source.pick(&["Node: a (1.2.3.4) · mode x", "hello", ""]) }),
            _ => json!({}),
        }
    }

    fn answer(&mut self, source: &mut Source<'_>) {
        let nth = usize::from(source.byte());
        let (fails, twice) = (source.below(8) == 0, source.below(8) == 0);
        if !self.model.asked.is_empty() {
            self.answer_nth(nth % self.model.asked.len(), fails, twice);
        }
    }

    /// Performs a request of the core and hands the answer in; once more when `twice`.
    fn answer_nth(&mut self, nth: usize, fails: bool, twice: bool) {
        let (ticket, request) = self.model.asked.remove(nth);
        let before = self.paired();
        let answer = if fails { request.fault("told to fail") } else { host::perform(&self.host, request) };
        let after = self.paired();
        let mut outputs = Vec::new();
        self.gateway.handle(self.now, Input::Answered { ticket, answer: answer.clone() }, &mut outputs);
        self.model.check(&outputs, &before, &after);
        if twice {
            outputs.clear();
            self.gateway.handle(self.now, Input::Answered { ticket, answer }, &mut outputs);
            assert!(
                !outputs.iter().any(|output| matches!(output, Output::To(..))),
                "a repeated answer did something"
            );
            self.model.check(&outputs, &after, &after);
        }
    }

    /// An answer to a question nobody asked.
    fn stale(&mut self, source: &mut Source<'_>) {
        let ticket = Ticket(1_000_000 + u64::from(source.byte()));
        let answer = host::perform(&self.host, host::HostRequest::Load);
        self.give(Input::Answered { ticket, answer });
    }

    fn drained(&mut self, source: &mut Source<'_>) {
        let conn = self.some_conn(source);
        let all = source.flip();
        let Some(peer) = self.model.peers.get_mut(&conn) else { return };
        let bytes = if all { peer.queued } else { peer.queued / 2 };
        peer.queued -= bytes;
        self.give(Input::Drained { conn, bytes });
    }

    fn end(&mut self, source: &mut Source<'_>) {
        let conn = self.some_conn(source);
        let why =
            source.pick(&[End::PeerClosed, End::PeerGone, End::HandshakeTimeout, End::WebSocketFault(1002)]);
        let only_begins = source.below(4) == 0;
        if self.model.peers.contains_key(&conn) {
            self.model.ending(conn);
            self.give(Input::Ending { conn, why });
        }
        if !only_begins {
            self.close(conn);
        }
    }

    fn close(&mut self, conn: ConnId) {
        self.model.closed(conn);
        self.give(Input::Closed { conn });
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono = self.now.mono.plus_millis(ms);
        self.now.wall = self.now.wall + ms;
        self.tick();
    }

    fn tick(&mut self) {
        self.give(Input::Tick);
        let next = self.gateway.next_deadline();
        assert!(next.is_none_or(|next| next > self.now.mono), "a deadline that passed must move on");
    }

    /// The disk has its own ideas.
    fn meddle(&mut self, source: &mut Source<'_>) {
        match source.below(6) {
            0 => self.host.fail_next_write("disk full"),
            1 => self.host.conflict_next_write(),
            2 => self.host.fail_next_write_halfway("power"),
            3 => self.host.remove(Document::DevicesPaired),
            4 => self.host.remove(Document::DevicesPending),
            _ => self.host.edit(Document::DevicesPending, "{}"),
        }
    }

    fn stop(&mut self) {
        self.model.is_stopping = true;
        self.give(Input::Stop);
    }

    /// Everything ends: questions are answered, sockets go, and the gateway says that it has stopped.
    fn wind_up(mut self) {
        for _ in 0..STEPS_MAX {
            if self.model.asked.is_empty() {
                break;
            }
            self.answer_nth(0, false, false);
        }
        assert!(self.model.asked.is_empty(), "the gateway never stops asking");
        let stuck = |peer: &super::model::Peer| {
            matches!(peer.stage, Stage::Claimed(_))
                || matches!(peer.stage, Stage::Open { .. }) && !peer.in_flight.is_empty()
        };
        assert!(!self.model.peers.values().any(stuck), "somebody still waits: {:?}", self.model.peers);
        self.stop();
        for conn in self.model.peers.keys().copied().collect::<Vec<_>>() {
            self.close(conn);
        }
        for _ in 0..STEPS_MAX {
            if self.model.asked.is_empty() {
                break;
            }
            self.answer_nth(0, false, false);
        }
        self.pass(limits().drain_timeout_ms);
        assert!(self.model.has_stopped, "it never stopped");
    }
}

/// Small bounds, so that short inputs reach them.
fn limits() -> Limits {
    Limits {
        queued_bytes_max: 96 * 1024,
        queued_bytes_high: 12 * 1024,
        queued_bytes_low: 2 * 1024,
        preauth_sockets_per_address_max: 3,
        headless_sockets_per_address_max: 4,
        headless_sockets_max: 6,
        sockets_max: 12,
        presence_entries_max: 4,
        pairing_pending_max: 3,
        pairing_scopes_max: 8,
        devices_paired_max: 3,
        store_queue_max: 6,
        unauthorized_in_a_row_max: 3,
        replies_entries_max: 4,
        ..Limits::default()
    }
}

/// Operations in one input.
const STEPS_MAX: usize = 400;
/// The methods that change something, or once were all there are: seeds name them by their place.
const METHODS: [&str; 15] = [
    "health",
    "status",
    "last-heartbeat",
    "set-heartbeats",
    "device.pair.list",
    "device.pair.approve",
    "device.pair.reject",
    "device.pair.remove",
    "device.token.rotate",
    "device.token.revoke",
    "gateway.identity.get",
    "system-presence",
    "system-event",
    "system.info",
    "connect",
];
/// A byte from here on means any method of the table, by the byte that follows.
const OTHER_METHODS: usize = 240;
