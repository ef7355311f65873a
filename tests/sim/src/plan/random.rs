//! Plans made from a seed: what peers do, and everything that goes wrong meanwhile.

use super::{
    Act, Call, Credential, DEVICES, Dice, Disk, Edit, Ending, Flaw, HostManner, Kind, OWN_ORIGIN, Opening,
    Plan, Raw, Setup, Spec, Timed, Who, narrow, roomy, tight,
};
use clawgate_proto::Wall;
use clawgate_proto::config::{AuthMode, RateLimit};
use clawgate_proto::limits::Limits;

impl Plan {
    /// A plan of so many acts.
    pub fn random(seed: u64, acts: usize, start: Wall) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let setup = setup(&mut dice);
        let mut maker = Maker::new(dice);
        let acts = (0..acts).map(|_| maker.next()).collect();
        let ending = if maker.dice.chance(50) { Ending::AllLeave } else { Ending::Stop };
        Self { seed, start, setup, acts, ending, devices: DEVICES, jitter_us: 300, sabotage: None }
    }
}

fn setup(dice: &mut Dice) -> Setup {
    let limits = match dice.below(6) {
        0 => roomy(),
        1 => Limits { process_bytes_max: 8 * 1024, ..tight() },
        2 => narrow(),
        _ => tight(),
    };
    let mode = dice.pick(&[AuthMode::Token, AuthMode::Token, AuthMode::Password, AuthMode::None]);
    let rate_limit =
        dice.chance(50).then(|| RateLimit { attempts_max: 2, window_ms: 30_000, ..RateLimit::default() });
    Setup { limits, mode, rate_limit }
}

/// Makes one act after the other.
pub(super) struct Maker {
    dice: Dice,
    peers: usize,
    at_us: u64,
    has_stopped: bool,
    /// Peers that are let in when nothing goes wrong.
    likely: Vec<usize>,
    /// What must follow, the last first: with the pause before it and so many other acts between.
    next: Vec<(usize, u64, Act)>,
}

impl Maker {
    pub(super) fn new(dice: Dice) -> Self {
        Self { dice, peers: 0, at_us: 1_000, has_stopped: false, likely: Vec::new(), next: Vec::new() }
    }

    /// How many numbers it gave to peers.
    pub(super) fn peers(&self) -> usize {
        self.peers
    }

    pub(super) fn next(&mut self) -> Timed {
        for (acts_between, _, _) in &mut self.next {
            *acts_between = acts_between.saturating_sub(1);
        }
        if let Some(at) = self.next.iter().position(|(acts_between, _, _)| *acts_between == 0) {
            let (_, pause_us, act) = self.next.remove(at);
            self.at_us += pause_us;
            return Timed { at_us: self.at_us, act };
        }
        self.at_us += match self.dice.below(10) {
            0..=5 => self.dice.below(20_000),
            6..=8 => self.dice.below(500_000),
            _ => self.dice.below(3_000_000),
        };
        Timed { at_us: self.at_us, act: self.act() }
    }

    /// Acts that follow at once, in this order.
    fn follow(&mut self, acts: impl IntoIterator<Item = Act>) {
        for act in acts {
            let pause_us = self.dice.below(2_000);
            self.next.push((1, pause_us, act));
        }
    }

    /// An act that follows after a few others.
    fn later(&mut self, act: Act) {
        let acts_between = 2 + self.dice.below(12) as usize;
        self.next.push((acts_between, 0, act));
    }

    /// Many peers of one kind from one address at once.
    fn crowd(&mut self) -> Act {
        let mut like = self.opening();
        if self.dice.chance(30) {
            // Somebody guesses.
            like.from = 2;
            let spec = Spec {
                credential: Credential::Wrong,
                who: Who::Test,
                origin: None,
                flaw: None,
                ..self.spec()
            };
            like.kind = Kind::Client(Box::new(spec));
        }
        let count = 3 + self.dice.below(12) as usize;
        let others: Vec<Act> =
            (0..count).map(|at| Act::Open(Opening { peer: self.peers + at, ..like.clone() })).collect();
        self.peers += count;
        self.follow(others);
        Act::Open(like)
    }

    /// A node, and somebody who has its commands approved and asks for them, until one of them leaves.
    fn errand(&mut self) -> Act {
        let device = self.device();
        let (mut node, mut caller) = (self.opening(), self.opening());
        let honest = |spec: Spec| Spec { credential: Credential::Shared, flaw: None, origin: None, ..spec };
        let who = Spec { who: Who::Node, device: Some(device), platform: "linux", ..self.spec() };
        node.kind = Kind::Client(Box::new(honest(who)));
        let who = Spec { who: Who::Cli, scopes: SCOPES[0], ..self.spec() };
        caller.kind = Kind::Client(Box::new(honest(who)));
        (node.from, caller.from) = (0, 0);
        let (node_at, caller_at) = (node.peer, caller.peer);
        self.next.push((1, 1_000, Act::Open(caller)));
        for request in 0..2 {
            self.next.push((1, 300_000, Act::Call(caller_at, Call::ApproveNode(request))));
        }
        for _ in 0..3 + self.dice.below(6) {
            let pause_us = 50_000 + self.dice.below(300_000);
            let timeout_ms = self.dice.pick(&[0, 40, 400, 2_000, 5_000]);
            self.next.push((1, pause_us, Act::Call(caller_at, Call::Invoke(device, timeout_ms))));
        }
        let peer = self.dice.pick(&[node_at, caller_at]);
        let end = self.dice.pick(&[Act::Close(peer), Act::Reset(peer), Act::Mute(peer), Act::Stall(peer)]);
        self.next.push((1, 1_000, end));
        Act::Open(node)
    }

    /// A peer that asks for much and reads nothing, for a while.
    fn glut(&mut self) -> Act {
        let peer =
            self.likely[self.likely.len() - 1 - self.dice.below(4.min(self.likely.len() as u64)) as usize];
        let floods = 1 + self.dice.below(4);
        let calls = 1 + self.dice.below(60) as u8;
        self.follow((0..floods).map(|_| Act::Raw(peer, Raw::Flood(calls))));
        self.later(Act::Resume(peer));
        Act::Stall(peer)
    }

    fn act(&mut self) -> Act {
        if self.peers == 0 {
            return self.open();
        }
        // Later peers are more likely to be there still, and some are more likely to be let in.
        let back = self.dice.below(8).min(self.dice.below(self.peers as u64)) as usize;
        let peer = match self.likely.len().checked_sub(1 + back / 2) {
            Some(at) if self.dice.chance(60) => self.likely[at],
            Some(_) | None => self.peers - 1 - back,
        };
        match self.dice.below(100) {
            0..=24 => self.open(),
            25..=26 => self.crowd(),
            27..=64 => {
                let call = self.call();
                Act::Call(peer, call)
            }
            65..=68 => {
                let raw = self.raw();
                Act::Raw(peer, raw)
            }
            69..=72 if !self.likely.is_empty() => self.glut(),
            69..=72 => self.open(),
            73..=75 => Act::Close(peer),
            76..=77 => Act::Reset(peer),
            78 => Act::HalfClose(peer),
            79..=81 => {
                self.later(Act::Resume(peer));
                Act::Stall(peer)
            }
            82 => Act::Mute(peer),
            83..=86 => self.disk(),
            87..=89 => self.host(),
            90..=93 => self.edit(),
            94..=95 => {
                let by = self.dice.below(600_000) as i64 - 300_000;
                Act::Wall(by)
            }
            96 if !self.has_stopped && self.dice.chance(20) => {
                self.has_stopped = true;
                Act::Stop
            }
            _ => self.errand(),
        }
    }

    fn disk(&mut self) -> Act {
        let once = [Disk::FailWrite, Disk::Conflict, Disk::FailHalfway];
        match self.dice.below(4) {
            0 => {
                self.later(Act::Disk(Disk::ReadOnly(false)));
                Act::Disk(Disk::ReadOnly(true))
            }
            1 => {
                self.later(Act::Disk(Disk::Unreadable(false)));
                Act::Disk(Disk::Unreadable(true))
            }
            _ => Act::Disk(self.dice.pick(&once)),
        }
    }

    fn host(&mut self) -> Act {
        let manners =
            [HostManner::Slow, HostManner::Late, HostManner::Twice, HostManner::Mute, HostManner::Dead];
        let manner = self.dice.pick(&manners);
        Act::Host(manner, 1 + self.dice.below(3) as u8)
    }

    fn edit(&mut self) -> Act {
        let device = self.device();
        let edits = [
            Edit::Touch,
            Edit::Remove(device),
            Edit::Remove(device),
            Edit::Revoke(device),
            Edit::Narrow(device),
            Edit::DropPending,
            Edit::Corrupt,
        ];
        let edit = self.dice.pick(&edits);
        if edit == Edit::Corrupt {
            self.later(Act::Edit(Edit::Repair));
        }
        Act::Edit(edit)
    }

    fn open(&mut self) -> Act {
        Act::Open(self.opening())
    }

    fn opening(&mut self) -> Opening {
        let peer = self.peers;
        self.peers += 1;
        let kind = match self.dice.below(100) {
            0..=77 => Kind::Client(Box::new(self.spec())),
            78..=81 => Kind::Silent,
            82..=86 => Kind::Upgraded,
            _ => Kind::Bytes(self.http()),
        };
        let from = self.dice.pick(&[0, 0, 0, 0, 1, 2, 2, 3]);
        if let Kind::Client(spec) = &kind
            && spec.flaw.is_none()
            && spec.origin.is_none()
            && spec.credential == Credential::Shared
            && from == 0
        {
            self.likely.push(peer);
        }
        Opening {
            peer,
            kind,
            from,
            piece_bytes_max: self.dice.pick(&[1, 7, 100, 1_500, 1_500, 1 << 16]),
            delay_us_max: self.dice.pick(&[0, 50, 2_000, 40_000]),
            window_bytes: self.dice.pick(&[512, 4_096, 1 << 16, 1 << 20]),
        }
    }

    fn spec(&mut self) -> Spec {
        let who = match self.dice.below(14) {
            0..=2 => Who::Cli,
            3 => Who::Backend,
            4..=8 => Who::Test,
            9..=10 => Who::Node,
            11 => Who::Page,
            _ => Who::Phone,
        };
        let is_device_less = self.dice.chance(12);
        let device = (!is_device_less).then(|| self.device());
        let credential = match self.dice.below(16) {
            0..=8 => Credential::Shared,
            9..=13 => Credential::Device,
            14 => Credential::Wrong,
            _ => Credential::None,
        };
        let flaws = [
            Flaw::Signature,
            Flaw::Nonce,
            Flaw::Stale,
            Flaw::DeviceId,
            Flaw::Protocol,
            Flaw::NotConnect,
            Flaw::NotJson,
            Flaw::ExtraMember,
            Flaw::TooLong,
        ];
        let flaw = self.dice.chance(8).then(|| self.dice.pick(&flaws));
        let origin = match who {
            Who::Page => self.dice.pick(&[Some(OWN_ORIGIN), Some(OWN_ORIGIN), Some(FOREIGN_ORIGIN), None]),
            Who::Cli | Who::Backend | Who::Test | Who::Node | Who::Phone => {
                if self.dice.chance(4) {
                    Some(OWN_ORIGIN)
                } else {
                    None
                }
            }
        };
        Spec {
            who,
            protocol: self.dice.pick(&[(3, 3), (3, 4), (4, 4), (4, 9)]),
            scopes: self.dice.pick(SCOPES),
            device,
            credential,
            flaw,
            eager: self.dice.pick(&[0, 0, 0, 1, 2, 3]),
            origin,
            platform: self.dice.pick(&["linux", "linux", "linux", "linux", "ios 18.3"]),
        }
    }

    fn device(&mut self) -> u8 {
        self.dice.below(u64::from(DEVICES)) as u8
    }

    fn role(&mut self) -> &'static str {
        self.dice.pick(&["operator", "operator", "node"])
    }

    fn call(&mut self) -> Call {
        match self.dice.below(38) {
            0..=2 => Call::Health,
            3 => Call::Status,
            4 => Call::Presence,
            5 => Call::SystemEvent,
            6 => Call::LastHeartbeat,
            7 => Call::SetHeartbeats,
            8 => Call::Identity,
            9 => Call::SystemInfo,
            10 => Call::PairList,
            11..=13 => Call::Approve(self.dice.below(4) as u8),
            14 => Call::Reject(self.dice.below(4) as u8),
            15..=17 => Call::Remove(self.device()),
            18..=21 => Call::Rotate(self.device(), self.role(), self.dice.chance(50)),
            22..=23 => Call::Revoke(self.device(), self.role()),
            24..=25 => Call::Unknown,
            26 => Call::ConnectAgain,
            27 => Call::ApproveNode(self.dice.below(4) as u8),
            28 => Call::RemoveNode(self.device()),
            29 => Call::SetupCode,
            30..=36 => Call::Invoke(self.device(), self.dice.pick(&[0, 40, 400, 2_000, 5_000])),
            _ => Call::BadParams,
        }
    }

    fn raw(&mut self) -> Raw {
        let (pings, flood) = (1 + self.dice.below(40) as u8, 1 + self.dice.below(60) as u8);
        self.dice.pick(&[
            Raw::Unmasked,
            Raw::Reserved,
            Raw::BadUtf8,
            Raw::Oversize,
            Raw::HalfFrame,
            Raw::NotJson,
            Raw::NotRequest,
            Raw::Fragments,
            Raw::Pings(pings),
            Raw::Flood(flood),
            Raw::Flood(flood),
            Raw::Flood(flood),
        ])
    }

    fn http(&mut self) -> Vec<u8> {
        let texts: &[&str] = &[
            "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            "HEAD /startupz HTTP/1.1\r\nHost: gw.example\r\nConnection: close\r\n\r\n",
            "POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello",
            "POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhe",
            "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "\u{16}\u{3}\u{1}\u{2}garbage",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        ];
        match self.dice.below(8) {
            0 => format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9_000)).into_bytes(),
            1 => format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000)).into_bytes(),
            _ => self.dice.pick(texts).as_bytes().to_vec(),
        }
    }
}

const FOREIGN_ORIGIN: &str = "https://evil.example";

const SCOPES: &[&[&str]] = &[
    &["operator.admin"],
    &["operator.admin"],
    &["operator.admin", "operator.pairing"],
    &["operator.read"],
    &["operator.write", "operator.read"],
    &["operator.pairing", "operator.read"],
    &[],
];
