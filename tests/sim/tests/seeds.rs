//! Random runs: each holds, together they reach everything that can go wrong, and none depends on anything but its
//! seed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clawgate_proto::Wall;
use clawgate_sim::plan::Sabotage;
use clawgate_sim::{Failure, Plan, START, play, shortest, try_play};
use std::collections::BTreeMap;

const SEEDS: u64 = 64;
const STEPS: usize = 150;

fn fail(failure: Box<Failure>) -> ! {
    panic!("{}\nas short as it gets:\n{}", failure.what, shortest(failure.clone()));
}

#[test]
fn every_run_holds_and_together_they_reach_everything() {
    let mut reached = BTreeMap::<String, u64>::new();
    for seed in 1..=SEEDS {
        match try_play(&Plan::random(seed, STEPS, START), false) {
            Ok(report) => {
                for (what, count) in report.reached {
                    *reached.entry(what).or_default() += count;
                }
            }
            Err(failure) => fail(failure),
        }
    }
    let missed: Vec<&&str> = REACHED.iter().filter(|what| !reached.contains_key(**what)).collect();
    assert!(missed.is_empty(), "no run reaches {missed:?}; reached is {reached:#?}");
}

#[test]
fn a_run_depends_on_its_seed_alone() {
    for seed in [1, 17, 40] {
        let run = |start| play(&Plan::random(seed, 200, start), false).hashes;
        let first = run(START);
        assert_eq!(run(START), first, "the same again");
        let shifted = run(Wall(1_700_000_123_457));
        assert_eq!(shifted.transcript, first.transcript, "the same at another time");
        assert_ne!(shifted.wire, first.wire, "times are on the wire");
    }
    let other = |seed| play(&Plan::random(seed, 50, START), false).hashes;
    assert_ne!(other(1), other(2));
}

/// The model would see it if something went wrong.
#[test]
fn sabotage_is_seen_and_shrunk() {
    for sabotage in [Sabotage::LosePiece, Sabotage::LoseWrite] {
        let failure = (1..20).find_map(|seed| {
            let plan = Plan { sabotage: Some(sabotage), ..Plan::random(seed, 60, START) };
            try_play(&plan, false).err()
        });
        let failure = failure.unwrap_or_else(|| panic!("{sabotage:?} goes unseen"));
        let short = shortest(failure.clone());
        assert!(short.plan.acts.len() < failure.plan.acts.len(), "{short}");
        assert!(try_play(&short.plan, false).is_err());
    }
}

/// Whatever a change of the plans makes unreachable is missed here, and not by nobody.
const REACHED: &[&str] = &[
    "admitted, protocol 3",
    "admitted, protocol 4",
    "close 1002 protocol mismatch",
    "close 1008 pairing required",
    "close 1008 repeated unauthorized calls",
    "close 1012 service restart",
    "close 1013 gateway cannot decide now",
    "close 1013 gateway out of memory budget",
    "close 4001 device removed",
    "end body-timeout",
    "end close-timeout",
    "end handshake-fault",
    "end handshake-timeout",
    "end head-timeout",
    "end http-fault 400",
    "end http-fault 414",
    "end http-fault 431",
    "end http-idle",
    "end keepalive-timeout",
    "end peer-closed",
    "end peer-gone",
    "end websocket-fault 1002",
    "end websocket-fault 1007",
    "end websocket-fault 1009",
    "error AUTH_DEVICE_TOKEN_MISMATCH",
    "error AUTH_RATE_LIMITED",
    "error AUTH_SCOPE_MISMATCH",
    "error CONTROL_UI_ORIGIN_NOT_ALLOWED",
    "error DEVICE_AUTH_DEVICE_ID_MISMATCH",
    "error DEVICE_AUTH_NONCE_MISMATCH",
    "error DEVICE_AUTH_SIGNATURE_EXPIRED",
    "error DEVICE_AUTH_SIGNATURE_INVALID",
    "error DEVICE_IDENTITY_REQUIRED",
    "error MISSING_SCOPE",
    "event device.pair.requested",
    "event device.pair.resolved",
    "event node.pair.requested",
    "event node.pair.resolved",
    "event health",
    "event presence",
    "event shutdown",
    "event tick",
    "events left out",
    "http 200",
    "invoke BUSY",
    "invoke Error",
    "invoke NODE_NOT_READY",
    "invoke TIMEOUT",
    "http 503",
    "log accept.paused",
    "log device.changed-on-disk",
    "log device.request.dropped",
    "log devices.conflict",
    "log devices.not-stored",
    "log devices.unreadable",
    "log host.silent",
    "log peer.cut",
    "log upgrade.refused",
    "node answered",
    "node asked",
    "node not asked",
    "node replaced",
    "node told off",
    "reading goes on",
    "reading paused",
    "stale answer",
];
