//! A day: a few clients that stay, and hours in which others come, do all that goes wrong, and are gone again.
//!
//! Every hour has the same acts, of peers, devices and addresses of its own, so that what is left at the end of one can be
//! compared with what is left at the end of another. A gateway that forgets what it should holds the same then.

use super::random::Maker;
use super::{
    Act, Call, Credential, DEVICES, Dice, Edit, Ending, Kind, Opening, Plan, Setup, Spec, Timed, Who,
};
use clawgate_proto::Wall;
use clawgate_proto::config::{AuthMode, RateLimit};
use clawgate_proto::limits::Limits;

/// Hours of a day.
pub const HOURS: u64 = 24;
/// Peers that stay: an operator, one of protocol 3 without a device, and a node.
pub const STAYING: usize = 3;
/// Devices of those who stay, the first ones.
const STAYING_DEVICES: u8 = 2;
/// Addresses of an hour that are not loopback.
const ADDRESSES: u8 = 2;
/// Every so many hours nobody comes at all.
const QUIET_EVERY: u64 = 6;
/// When, in an hour, those who came are cut.
const GONE_US: u64 = 20 * MINUTE_US;
/// When their devices are removed: no socket of theirs is left.
const REMOVED_US: u64 = 22 * MINUTE_US;
/// When all that they left behind should have run out: the longest life, of setup codes, is ten minutes.
const VISIT_US: u64 = 38 * MINUTE_US;
/// When it is looked at, and from when on nothing may happen.
const REST_US: u64 = 45 * MINUTE_US;
/// Just before the next hour.
const LAST_US: u64 = 60 * MINUTE_US - 1;
const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;
const HOUR_US: u64 = 60 * MINUTE_US;

/// Whether nobody comes in this hour, the first being 0.
pub fn is_quiet(hour: u64) -> bool {
    hour % QUIET_EVERY == QUIET_EVERY - 1
}

/// The limits that a gateway has by itself, but that it remembers few refusals: so many are there in the first hours.
pub fn limits() -> Limits {
    Limits { recent_refusals_max: 2, ..Limits::default() }
}

impl Plan {
    /// A day with so many acts in each hour that is not quiet. There are two [`Act::Look`]s in each hour, between which
    /// nothing happens.
    pub fn day(seed: u64, acts: usize, start: Wall) -> Self {
        let rate_limit = Some(RateLimit { attempts_max: 5, ..RateLimit::default() });
        let setup = Setup { limits: limits(), mode: AuthMode::Token, rate_limit };
        let first = Others { peers: STAYING, devices: STAYING_DEVICES, addresses: 0 };
        let mut day = Day { acts: Vec::new(), others: first };
        day.begin();
        for hour in 0..HOURS {
            let from = hour * HOUR_US;
            if !is_quiet(hour) {
                day.busy(from, acts, seed);
            }
            day.rest(from);
        }
        let devices = day.others.devices;
        let ending = Ending::AllLeave;
        Self { seed, start, setup, acts: day.acts, ending, devices, jitter_us: 300, sabotage: None }
    }
}

struct Day {
    acts: Vec<Timed>,
    others: Others,
}

/// The numbers of the next who come begin here.
#[derive(Clone, Copy)]
struct Others {
    peers: usize,
    devices: u8,
    addresses: u8,
}

impl Day {
    fn push(&mut self, at_us: u64, act: Act) {
        self.acts.push(Timed { at_us, act });
    }

    /// Those who stay come in, and the node may be asked.
    fn begin(&mut self) {
        let operator = Spec {
            who: Who::Cli,
            protocol: (4, 4),
            scopes: &["operator.admin"],
            device: Some(0),
            credential: Credential::Shared,
            flaw: None,
            eager: 0,
            origin: None,
            platform: "linux",
        };
        let old = Spec { who: Who::Backend, protocol: (3, 3), device: None, ..operator.clone() };
        let node = Spec { who: Who::Node, device: Some(1), scopes: &[], ..operator.clone() };
        let all: [Spec; STAYING] = [operator, old, node];
        for (peer, spec) in all.into_iter().enumerate() {
            let opening = Opening {
                peer,
                kind: Kind::Client(Box::new(spec)),
                from: 0,
                piece_bytes_max: 1 << 16,
                delay_us_max: 50,
                window_bytes: 1 << 20,
            };
            self.push(1_000 * (1 + peer as u64), Act::Open(opening));
        }
        self.push(SECOND_US, Act::Call(0, Call::ApproveNode(0)));
    }

    /// Others come, for a third of an hour.
    fn busy(&mut self, from: u64, count: usize, seed: u64) {
        let mut maker = Maker::new(Dice::new(seed, "day"));
        let made: Vec<Timed> = std::iter::repeat_with(|| maker.next())
            // The clock on the wall is left alone, and so is the process.
            .filter(|timed| !matches!(timed.act, Act::Wall(_) | Act::Stop))
            .take(count)
            .collect();
        // They are spread over the time there is, in the order and with the crowds that they have.
        let last = made.last().map_or(1, |timed| timed.at_us.max(1));
        let span = GONE_US - 2 * MINUTE_US;
        let others = self.others;
        for timed in made {
            let after = u128::from(timed.at_us) * u128::from(span) / u128::from(last);
            self.push(from + MINUTE_US + after as u64, others.act(timed.act));
        }
        let more = self.for_sure(from, others.peers + maker.peers());
        self.push(from + GONE_US, Act::Clear(STAYING));
        for device in 0..DEVICES {
            let at_us = from + REMOVED_US + u64::from(device) * SECOND_US;
            self.push(at_us, Act::Call(0, Call::RemoveNode(others.devices + device)));
            self.push(at_us + SECOND_US / 2, Act::Call(0, Call::Remove(others.devices + device)));
        }
        self.others = Others {
            peers: more,
            devices: others.devices + DEVICES,
            addresses: others.addresses + ADDRESSES,
        };
    }

    /// What no hour goes without, whatever its seed: a node whose place is taken by another with its name, and somebody who
    /// guesses from afar. Gives the number of the next peer.
    fn for_sure(&mut self, from: u64, mut peer: usize) -> usize {
        let Others { devices, addresses, .. } = self.others;
        let node = Spec {
            who: Who::Node,
            protocol: (3, 4),
            scopes: &[],
            device: Some(devices),
            credential: Credential::Shared,
            flaw: None,
            eager: 0,
            origin: None,
            platform: "linux",
        };
        let guess = Spec { who: Who::Test, credential: Credential::Wrong, device: None, ..node.clone() };
        for (spec, address) in [(node.clone(), 0), (node, 0), (guess.clone(), 2), (guess, 3)] {
            let opening = Opening {
                peer,
                kind: Kind::Client(Box::new(spec)),
                from: if address > 1 { address + addresses } else { address },
                piece_bytes_max: 1 << 16,
                delay_us_max: 50,
                window_bytes: 1 << 20,
            };
            self.push(from + GONE_US - MINUTE_US + peer as u64, Act::Open(opening));
            peer += 1;
        }
        peer
    }

    /// What is dropped when the next one comes, or when somebody asks, is dropped by these calls. Then nothing happens.
    fn rest(&mut self, from: u64) {
        for (at, call) in [Call::Invoke(1, 400), Call::SetupCode, Call::Presence].into_iter().enumerate() {
            self.push(from + VISIT_US + at as u64 * MINUTE_US, Act::Call(0, call));
        }
        self.push(from + REST_US, Act::Look);
        self.push(from + LAST_US, Act::Look);
    }
}

impl Others {
    /// The same act, of these.
    fn act(self, act: Act) -> Act {
        let Self { peers, devices, addresses } = self;
        match act {
            Act::Open(opening) => Act::Open(Opening {
                peer: opening.peer + peers,
                from: if opening.from > 1 { opening.from + addresses } else { opening.from },
                kind: match opening.kind {
                    Kind::Client(spec) => {
                        let device = spec.device.map(|device| device + devices);
                        Kind::Client(Box::new(Spec { device, ..*spec }))
                    }
                    kind @ (Kind::Silent | Kind::Bytes(_) | Kind::Upgraded) => kind,
                },
                ..opening
            }),
            Act::Call(peer, call) => Act::Call(peer + peers, self.call(call)),
            Act::Raw(peer, raw) => Act::Raw(peer + peers, raw),
            Act::Close(peer) => Act::Close(peer + peers),
            Act::Reset(peer) => Act::Reset(peer + peers),
            Act::HalfClose(peer) => Act::HalfClose(peer + peers),
            Act::Stall(peer) => Act::Stall(peer + peers),
            Act::Resume(peer) => Act::Resume(peer + peers),
            Act::Mute(peer) => Act::Mute(peer + peers),
            Act::Clear(peer) => Act::Clear(peer + peers),
            Act::Edit(Edit::Remove(device)) => Act::Edit(Edit::Remove(device + devices)),
            Act::Edit(Edit::Revoke(device)) => Act::Edit(Edit::Revoke(device + devices)),
            Act::Edit(Edit::Narrow(device)) => Act::Edit(Edit::Narrow(device + devices)),
            Act::Edit(Edit::Touch | Edit::DropPending | Edit::Corrupt | Edit::Repair)
            | Act::Disk(_)
            | Act::Host(..)
            | Act::Wall(_)
            | Act::Stop
            | Act::Look => act,
        }
    }

    fn call(self, call: Call) -> Call {
        let by = self.devices;
        match call {
            Call::Remove(device) => Call::Remove(device + by),
            Call::Rotate(device, role, narrows) => Call::Rotate(device + by, role, narrows),
            Call::Revoke(device, role) => Call::Revoke(device + by, role),
            Call::RemoveNode(device) => Call::RemoveNode(device + by),
            Call::Invoke(device, timeout_ms) => Call::Invoke(device + by, timeout_ms),
            Call::Health
            | Call::Status
            | Call::Presence
            | Call::SystemEvent
            | Call::LastHeartbeat
            | Call::SetHeartbeats
            | Call::Identity
            | Call::SystemInfo
            | Call::PairList
            | Call::Approve(_)
            | Call::Reject(_)
            | Call::ApproveNode(_)
            | Call::SetupCode
            | Call::Unknown
            | Call::ConnectAgain
            | Call::BadParams => call,
        }
    }
}
