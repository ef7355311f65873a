//! The recorded cases of both protocols, replayed in memory and on both drivers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod case;
mod compare;
mod play;
mod shape;

use clawgate_support::Place;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn in_memory() {
    replay(Place::Simulated);
}

#[test]
fn in_memory_in_crumbs() {
    replay(Place::Crumbled);
}

#[test]
fn on_std() {
    replay(Place::Std);
}

#[test]
fn on_smol() {
    replay(Place::Smol);
}

/// The cases that may differ, and nothing else: one line a case, folder and name, then the row.
#[test]
fn differences_are_few_and_explained() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    let page = std::fs::read_to_string(page).expect("the page is part of the project");
    let mut found = BTreeSet::new();
    for case in FOLDERS.into_iter().flat_map(case::load) {
        for here in case.steps.iter().filter_map(|step| step.here.as_ref()) {
            let row = format!("| `{}` |", here.row);
            assert!(page.contains(&row), "{}: docs/compatibility.md has no row {}", case.path, here.row);
            found.insert(format!("{} {}", case.path, here.row));
        }
    }
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, DIFFERENCES);
}

/// The steps that wait for what is not built yet, and nothing else, each with the part it waits for. One that works
/// no longer waits: the replay in memory says so.
#[test]
fn what_waits_is_listed() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/waiting.txt");
    let list = std::fs::read_to_string(list).expect("the list is part of the project");
    let listed: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    let mut found = BTreeSet::new();
    for case in FOLDERS.into_iter().flat_map(case::load) {
        for (n, step) in case.steps.iter().enumerate() {
            if let Some(part) = step.waits_for {
                let part = format!("{part:?}").to_lowercase();
                found.insert(format!("{} {} {part}: {} on {}", case.path, n + 1, step.r#do, step.on));
            }
        }
    }
    let unlisted: Vec<&String> = found.difference(&listed).collect();
    let gone: Vec<&String> = listed.difference(&found).collect();
    assert!(unlisted.is_empty() && gone.is_empty(), "not on the list: {unlisted:#?}\nno longer: {gone:#?}");
}

/// The player itself: every part of an expectation that is wrong is noticed.
#[test]
fn a_wrong_expectation_is_noticed() {
    type Change = fn(&mut case::Expect);
    let changes: [(&str, Change); 10] = [
        ("bad-token", |expect| expect.error.as_mut().unwrap()["code"] = json!("UNAVAILABLE")),
        ("bad-token", |expect| {
            expect.error.as_mut().unwrap()["details"]["code"] = json!("AUTH_TOKEN_MISSING")
        }),
        ("bad-token", |expect| expect.error = None),
        ("bad-token", |expect| expect.close.as_mut().unwrap().code = 1000),
        ("bad-token", |expect| expect.close.as_mut().unwrap().reason.push('!')),
        ("bad-token", |expect| expect.open = true),
        ("ok-v3", |expect| expect.hello.as_mut().unwrap().auth = None),
        ("ok-v3", |expect| expect.hello.as_mut().unwrap().protocol = 4),
        ("ok-v3", |expect| expect.hello.as_mut().unwrap().payload = Some(json!({"type": "string"}))),
        ("first-not-connect", |expect| expect.answer.as_mut().unwrap().id = json!("a2")),
    ];
    for (n, (name, change)) in changes.into_iter().enumerate() {
        let mut cases = case::load("v3").into_iter();
        let mut case = cases.find(|case| case.case == name).unwrap();
        let told = |expect: &case::Expect| {
            expect.error.is_some() || expect.hello.is_some() || expect.answer.is_some()
        };
        let step = case.steps.iter_mut().find(|step| told(&step.expect)).unwrap();
        change(&mut step.expect);
        assert!(play::play(&case, Place::Simulated).is_err(), "change {n} to {name}");
    }
}

/// The same of what only some cases have: lists, bodies, events that must not come, and steps that wait.
#[test]
fn a_wrong_step_is_noticed() {
    type Change = fn(&mut case::Step);
    let changes: [(&str, &str, Change); 9] = [
        ("cli-nodes-status-connected", "call node.list", |step| step.expect.names.push("nobody".to_owned())),
        ("cli-devices-list", "call device.pair.list", |step| step.expect.ok = Some(json!({"pending": []}))),
        ("http-control-ui", "GET /", |step| step.expect.http = Some(404)),
        ("http-control-ui", "GET /favicon.svg", |step| {
            step.expect.headers.insert("content-type".to_owned(), "image/png".to_owned());
        }),
        ("read-methods", "call agents.list", |step| {
            step.keep.extend([("it".to_owned(), "/none".to_owned())])
        }),
        ("operator-calls-node-method", "listen health", |step| step.expect.event = None),
        // Works, or answers something else: neither waits.
        ("read-methods", "call agents.list", |step| step.waits_for = Some(case::Part::Chat)),
        ("read-methods", "call agents.list", |step| {
            step.waits_for = Some(case::Part::Chat);
            step.expect.ok = Some(json!({"defaultId": "number", "...": "any"}));
        }),
        ("operator-calls-node-method", "call node.event", |step| step.waits_for = Some(case::Part::Nodes)),
    ];
    for (n, (name, act, change)) in changes.into_iter().enumerate() {
        let mut cases = case::load("v3").into_iter();
        let mut case = cases.find(|case| case.case == name).unwrap();
        assert_eq!(play::play(&case, Place::Simulated), Ok(()), "change {n}: before it");
        let step = case.steps.iter_mut().find(|step| step.r#do.to_string() == act);
        change(step.unwrap_or_else(|| panic!("change {n}: {name} has no {act}")));
        assert!(play::play(&case, Place::Simulated).is_err(), "change {n} to {name}");
    }
}

const FOLDERS: [&str; 2] = ["v3", "v4"];

const DIFFERENCES: [&str; 48] = [
    "v3/cli-approvals-get-node node-token",
    "v3/cli-gateway-status status-gateway",
    "v3/cli-nodes-invoke-not-allowed node-token",
    "v3/cli-nodes-invoke-which node-token",
    "v3/cli-nodes-run-approved no-agent",
    "v3/cli-nodes-run-approved node-token",
    "v3/cli-nodes-status-connected node-token",
    "v3/client-id-unknown validation-texts",
    "v3/control-ui no-agent",
    "v3/control-ui status-gateway",
    "v3/device-remove device-removed",
    "v3/fanout-scopes approval-sight",
    "v3/fanout-scopes event-scopes",
    "v3/first-empty-params validation-texts",
    "v3/first-not-json first-frame",
    "v3/handshake-silence handshake-timeout",
    "v3/node-host-lifecycle canvas-of-nodes",
    "v3/node-host-lifecycle event-scopes",
    "v3/node-host-lifecycle no-agent",
    "v3/node-host-lifecycle node-token",
    "v3/node-invoke-idempotent node-token",
    "v3/node-invoke-roundtrip event-scopes",
    "v3/node-invoke-roundtrip node-token",
    "v3/node-invoke-timeout node-token",
    "v3/node-presence-events node-token",
    "v3/node-role-local canvas-of-nodes",
    "v3/node-role-local node-token",
    "v3/ok-range protocol-range",
    "v3/origin-foreign origin-names",
    "v3/protocol-high protocol-range",
    "v3/read-methods no-agent",
    "v3/read-methods status-gateway",
    "v4/cli-approvals-get fewer-members",
    "v4/cli-approvals-get-node fewer-members",
    "v4/control-ui empty-lists",
    "v4/control-ui fewer-members",
    "v4/control-ui methods-unavailable",
    "v4/control-ui no-agent",
    "v4/control-ui status-gateway",
    "v4/first-not-json first-frame",
    "v4/forwarded-for forwarded-untrusted",
    "v4/handshake-silence handshake-timeout",
    "v4/http-control-ui no-pages",
    "v4/origin-foreign origin-names",
    "v4/read-methods fewer-members",
    "v4/read-methods no-agent",
    "v4/read-methods status-gateway",
    "v4/scope-read-only fewer-members",
];

fn replay(place: Place) {
    let mut faults = Vec::new();
    for case in FOLDERS.into_iter().flat_map(case::load) {
        // Shown when a case panics.
        println!("{} on {place:?}", case.path);
        faults.extend(play::play(&case, place).err());
    }
    assert!(faults.is_empty(), "{} cases went otherwise:\n{}", faults.len(), faults.join("\n"));
}
