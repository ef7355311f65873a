//! A day in virtual time, with busy thirds of hours and whole hours in which nobody comes: at the end of each hour the
//! gateway holds what it held at the end of the first ones, and while nothing happens it writes nothing, is woken for what
//! is due, and misses nothing of it. `CLAWGATE_SOAK_SEEDS` asks for more days than two.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clawgate_sim::plan::day::{HOURS, STAYING, is_quiet, limits};
use clawgate_sim::{Look, Plan, START, try_play};
use std::collections::BTreeMap;

/// Acts of a busy hour.
const ACTS: usize = 50;
/// The first hour that others are held against: by then everything that is kept in a bounded number was there once.
const LEVEL_HOUR: u64 = 4;
/// By how many fields and entries the gateway may have more than then: with other delays an act may be answered otherwise, and
/// a new reason of refusals is counted, which is three or four. One entry an hour would be more.
const MORE_THINGS_MAX: usize = 8;
/// By how much all that it holds may be longer as a text, in percent: numbers get more digits.
const LONGER_PERCENT_MAX: usize = 2;
/// Of the documents of the store: requests of devices. One whose time has passed counts no more, but stays there until the
/// document is written anyway.
const DEVICE_REQUESTS: usize = 1;
/// So it may be longer by those of one hour.
const LATE_BYTES_MAX: usize = 4 * 1024;
/// And requests of nodes, which wait until somebody decides: one of each node, `pairing_pending_max` in all.
const NODE_REQUESTS: usize = 4;
/// So it may be longer by what an hour's node may ask for, each hour.
const WAITING_BYTES_MAX: usize = HOURS as usize * 1024;
/// The time between the two looks of an hour, without the last microsecond.
const STILL_MS: u64 = 15 * 60 * 1_000;
/// Times that a driver looks after each socket that stays: pings and pongs, what a wave wakes it for, and its timers.
const TURNS_PER_SOCKET_MAX: u64 = 400;

#[test]
fn a_day_leaves_nothing_behind_and_stillness_is_still() {
    let seeds = std::env::var("CLAWGATE_SOAK_SEEDS").map_or(2, |text| text.parse().unwrap());
    for seed in 1..=seeds {
        let report = match try_play(&Plan::day(seed, ACTS, START), false) {
            Ok(report) => report,
            Err(failure) => panic!("the day of seed {seed}: {}", failure.what),
        };
        let looks = &report.looks;
        assert_eq!(looks.len() as u64, 2 * HOURS);
        let entries = report.reached.iter().filter(|(what, _)| what.starts_with("admitted"));
        let admitted: u64 = entries.map(|(_, count)| count).sum();
        assert!(admitted > HOURS, "nobody came: {:?}", report.reached);
        let level = &looks[2 * LEVEL_HOUR as usize];
        for (hour, pair) in looks.chunks(2).enumerate() {
            let at = format!("the day of seed {seed}, hour {hour}");
            is_level(&at, &pair[0], level, hour as u64 >= LEVEL_HOUR);
            is_still(&at, &pair[0], &pair[1]);
            if is_quiet(hour as u64) {
                // From the last look of the hour before: the calls of that hour, and nothing else.
                let written = since(&looks[2 * hour - 1].asked, &pair[0].asked);
                assert_eq!(written.get("StoreDevices"), Some(&1), "{at}: one setup code, {written:?}");
            }
        }
    }
}

/// What is held at the end of an hour is what was held before, to the entry where there is a count.
fn is_level(at: &str, look: &Look, level: &Look, is_held: bool) {
    let census = &look.census;
    assert_eq!((census.sockets, census.open), (STAYING, STAYING), "{at}: {census:?}");
    assert_eq!(look.census, level.census, "{at}");
    assert_eq!(look.connection_things, level.connection_things, "{at}: what connections hold");
    if is_held {
        for (index, (stored, before)) in look.stored_bytes.iter().zip(&level.stored_bytes).enumerate() {
            let late = match index {
                DEVICE_REQUESTS => LATE_BYTES_MAX,
                NODE_REQUESTS => WAITING_BYTES_MAX,
                _ => 0,
            };
            assert!((*before..=before + late).contains(stored), "{at}: document {index}, {look:?}");
        }
        let (things, before) = (look.things, level.things);
        assert!(things <= before + MORE_THINGS_MAX, "{at}: {things} things, before there were {before}");
        let (bytes, before) = (look.text_bytes, level.text_bytes);
        assert!(
            bytes * 100 <= before * (100 + LONGER_PERCENT_MAX),
            "{at}: {bytes} bytes as a text, before there were {before}"
        );
    }
}

/// Nothing happens between the two: nothing is written, and there are as many wakes, questions to the host and events as
/// are due, neither more nor fewer.
fn is_still(at: &str, first: &Look, last: &Look) {
    let limits = limits();
    let (ticks, healths) = (STILL_MS / limits.tick_interval_ms, STILL_MS / limits.health_interval_ms);
    // One more or less may fall into it.
    let is_about = |count: u64, due: u64| count.abs_diff(due) <= 1;
    let asked = since(&first.asked, &last.asked);
    let of = |name: &str| asked.get(name).copied().unwrap_or(0);
    assert!(is_about(of("Load"), healths), "{at}: {asked:?}");
    assert!(of("CheckDevices") <= ticks + 1, "{at}: {asked:?}");
    let others: Vec<&String> =
        asked.keys().filter(|name| !matches!(name.as_str(), "Load" | "CheckDevices")).collect();
    assert!(others.is_empty(), "{at}: the host is asked {others:?} while nothing happens");

    let told = since(&first.reached, &last.reached);
    let of = |name: &str| told.get(name).copied().unwrap_or(0);
    assert!(is_about(of("event tick"), ticks), "{at}: {told:?}");
    assert!(is_about(of("event health"), healths), "{at}: {told:?}");
    let others: Vec<&String> =
        told.keys().filter(|what| !matches!(what.as_str(), "event tick" | "event health")).collect();
    assert!(others.is_empty(), "{at}: {others:?} while nothing happens");

    let wakes = last.wakes - first.wakes;
    assert!(
        wakes <= ticks + healths + 2,
        "{at}: {wakes} wakes for {ticks} ticks and {healths} looks at the load"
    );
    let turns = last.turns - first.turns;
    assert!(turns <= STAYING as u64 * TURNS_PER_SOCKET_MAX, "{at}: {turns} turns of {STAYING} sockets");
    assert_eq!((last.census, &last.stored_bytes), (first.census, &first.stored_bytes), "{at}");
    let next = last.next_deadline.unwrap();
    assert!(next > last.at && next <= last.at.plus_millis(limits.tick_interval_ms), "{at}: {next:?}");
}

/// What was counted between the two, and not nothing.
fn since(first: &BTreeMap<String, u64>, last: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = |(what, count): (&String, &u64)| {
        let more = count - first.get(what).copied().unwrap_or(0);
        (more > 0).then(|| (what.clone(), more))
    };
    last.iter().filter_map(more).collect()
}
