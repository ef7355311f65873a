//! Edits of the device store underneath a gateway that nobody asks for anything.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clawgate_proto::host::Document;
use clawgate_support::{Place, Stage};

/// Every place, with ticks that a test can wait for.
fn stages() -> impl Iterator<Item = Stage> {
    [Place::Simulated, Place::Std, Place::Smol].into_iter().map(|place| {
        Stage::with(place, |config| {
            if place.is_real() {
                config.limits.tick_interval_ms = 100;
            }
        })
    })
}

#[test]
fn a_device_that_somebody_removed_does_not_stay_although_nobody_asks() {
    for mut stage in stages() {
        let (removed, stays) = (stage.key(), stage.key());
        let (removed, _) = stage.admit(stage.client(Some(removed)));
        let before = stage.host().content(Document::DevicesPaired).unwrap();
        let (stays, _) = stage.admit(stage.client(Some(stays)));
        let both = stage.host().content(Document::DevicesPaired).unwrap();
        assert_ne!(before, both);
        let mut paired = clawgate_proto::store::parse_paired(&both).unwrap();
        let first = clawgate_proto::store::parse_paired(&before).unwrap().into_keys().next().unwrap();
        paired.remove(&first).unwrap();
        stage.host().edit(Document::DevicesPaired, clawgate_proto::store::render_paired(&paired));
        let tick = stage.config().limits.tick_interval_ms;
        stage.pass(2 * tick);
        assert_eq!(stage.closed(removed), (4001, "device removed".to_owned()), "{:?}", stage.place());
        assert!(stage.call(stays, "health", serde_json::json!({})).is_ok());
    }
}

#[test]
fn a_store_that_stays_broken_is_reported_once() {
    let mut stage = Stage::new(Place::Simulated);
    let tick = stage.config().limits.tick_interval_ms;
    let reports = |stage: &Stage| {
        stage.host().records().iter().filter(|record| record.event == "devices.unreadable").count()
    };
    stage.host().edit(Document::DevicesPaired, "{ half");
    stage.pass(5 * tick);
    assert_eq!(reports(&stage), 1);
    stage.host().edit(Document::DevicesPaired, "{}");
    stage.pass(2 * tick);
    stage.host().edit(Document::DevicesPaired, "{ half");
    stage.pass(5 * tick);
    assert_eq!(reports(&stage), 2);
}
