//! A day: a few clients that stay, and hours in which others come, do all that goes wrong, and are gone again.
//!
//! Every hour has the same acts, with peers of its own, so that what is left at the end of one can be compared with what is
//! left at the end of another. A gateway that forgets what it should holds the same then.

use super::random::Maker;
use super::{
    Act, Call, Credential, DEVICES, Dice, Ending, Kind, Opening, Plan, STAYING_DEVICES, Setup, Spec, Timed,
    Who,
};
use clawgate_proto::Wall;
use clawgate_proto::config::{AuthMode, RateLimit};
use clawgate_proto::limits::Limits;

/// Hours of a day.
pub const HOURS: u64 = 24;
/// Peers that stay: an operator, one of protocol 3 without a device, and a node.
pub const STAYING: usize = 3;
/// Every so many hours nobody comes at all.
const QUIET_EVERY: u64 = 6;
/// When, in an hour, those who came are gone.
const GONE_US: u64 = 20 * MINUTE_US;
/// When all that they left behind should have run out: the longest life, of setup codes, is ten minutes.
const VISIT_US: u64 = 38 * MINUTE_US;
/// When it is looked at, and from when on nothing may happen.
const REST_US: u64 = 45 * MINUTE_US;
/// Just before the next hour.
const LAST_US: u64 = 60 * MINUTE_US - 1;
const MINUTE_US: u64 = 60_000_000;
const HOUR_US: u64 = 60 * MINUTE_US;

/// Whether nobody comes in this hour, the first being 0.
pub fn is_quiet(hour: u64) -> bool {
    hour % QUIET_EVERY == QUIET_EVERY - 1
}

impl Plan {
    /// A day with so many acts in each hour that is not quiet, under the limits that a gateway has by itself. There are two
    /// [`Act::Look`]s in each hour, between which nothing happens.
    pub fn day(seed: u64, acts: usize, start: Wall) -> Self {
        let rate_limit = Some(RateLimit { attempts_max: 5, ..RateLimit::default() });
        let setup = Setup { limits: Limits::default(), mode: AuthMode::Token, rate_limit };
        let mut day = Day { acts: Vec::new(), peers: STAYING };
        day.begin();
        for hour in 0..HOURS {
            let from = hour * HOUR_US;
            if !is_quiet(hour) {
                day.busy(from, acts, seed);
            }
            day.rest(from);
        }
        Self { seed, start, setup, acts: day.acts, ending: Ending::AllLeave, jitter_us: 300, sabotage: None }
    }
}

struct Day {
    acts: Vec<Timed>,
    /// Numbers given so far.
    peers: usize,
}

impl Day {
    fn push(&mut self, at_us: u64, act: Act) {
        self.acts.push(Timed { at_us, act });
    }

    /// Those who stay come in, and the node may be asked.
    fn begin(&mut self) {
        let operator = |protocol, device| Spec {
            who: if device { Who::Cli } else { Who::Backend },
            protocol,
            scopes: &["operator.admin"],
            device: device.then_some(DEVICES),
            credential: Credential::Shared,
            flaw: None,
            eager: 0,
            origin: None,
            platform: "linux",
        };
        let node = Spec { who: Who::Node, device: Some(DEVICES + 1), scopes: &[], ..operator((4, 4), true) };
        let all: [Spec; STAYING] = [operator((4, 4), true), operator((3, 3), false), node];
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
        self.push(MINUTE_US / 60, Act::Call(0, Call::ApproveNode(0)));
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
        for timed in made {
            let at_us =
                from + MINUTE_US + (u128::from(timed.at_us) * u128::from(span) / u128::from(last)) as u64;
            self.push(at_us, timed.act.of_others(self.peers));
        }
        self.peers += maker.peers();
        self.push(from + GONE_US, Act::Clear(STAYING));
    }

    /// What is dropped when the next one comes, or when somebody asks, is dropped by these calls. Then nothing happens.
    fn rest(&mut self, from: u64) {
        for (at, call) in
            [Call::Invoke(DEVICES + 1, 400), Call::SetupCode, Call::Presence].into_iter().enumerate()
        {
            self.push(from + VISIT_US + at as u64 * MINUTE_US, Act::Call(0, call));
        }
        self.push(from + REST_US, Act::Look);
        self.push(from + LAST_US, Act::Look);
    }
}

const _: () = assert!(STAYING_DEVICES >= 2);
