//! The gateway about itself: its log, its numbers, wake words and talk, suspension and restart.
//!
//! Rows of `docs/compatibility.md` that are held here: `talk-scope`, `voicewake-told`, `voicewake-broken`, `wake-kept`,
//! `suspension`, `status-gateway`, `no-recorder`; `restart-in-place` and `log-file` in `tests/program/logs.rs`.

use super::{PROTOCOLS, admin, asking, event_names, refused, speaking};
use clawgate_proto::client::{ClientConfig, ClientEvent};
use clawgate_proto::host::Document;
use clawgate_proto::log::Level;
use clawgate_support::{Actor, Place, Stage};
use serde_json::{Value, json};

/// Words a gateway starts with.
const USUAL: [&str; 3] = ["openclaw", "claude", "computer"];

fn node_on(stage: &mut Stage, protocol: u64, platform: &str) -> Actor {
    let key = stage.key();
    let mut config = asking(&[], speaking(protocol, stage.client_as("node-host", "node", Some(key))));
    config.client.platform = platform.to_owned();
    stage.admit(ClientConfig { role: "node".to_owned(), ..config }).0
}

fn reader(stage: &mut Stage, protocol: u64) -> Actor {
    let key = stage.key();
    let config = asking(&["operator.read"], speaking(protocol, stage.client(Some(key))));
    stage.admit(config).0
}

/// An operator that may decide who is let in, and reads nothing else.
fn pairer(stage: &mut Stage, protocol: u64) -> Actor {
    let key = stage.key();
    let config = asking(&["operator.pairing"], speaking(protocol, stage.client(Some(key))));
    stage.admit(config).0
}

pub(crate) fn the_end_of_the_log_is_read_on_with_a_cursor(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let actor = reader(&mut stage, protocol);
        let error = stage.call(actor, "logs.tail", json!({})).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("UNAVAILABLE", "log read failed: no log is kept")
        );
        stage.host().set_log("one\ntwo\nthree\n");
        let tail = stage.call(actor, "logs.tail", json!({"limit": 2})).unwrap();
        let want = json!({
            "file": "test.log", "cursor": 14, "size": 14, "lines": ["two", "three"], "truncated": false,
            "reset": false,
        });
        assert_eq!(tail, want);
        stage.host().set_log("one\ntwo\nthree\nfour\n");
        let more = stage.call(actor, "logs.tail", json!({"cursor": 14})).unwrap();
        assert_eq!(
            (&more["lines"], &more["cursor"], &more["reset"]),
            (&json!(["four"]), &json!(19), &json!(false))
        );
        // The file was replaced, and the end of it does not fit.
        stage.host().set_log("five\nsix\n");
        let anew = stage.call(actor, "logs.tail", json!({"cursor": 19, "maxBytes": 6})).unwrap();
        assert_eq!(
            (&anew["lines"], &anew["truncated"], &anew["reset"]),
            (&json!(["six"]), &json!(true), &json!(true))
        );
        let error = stage.call(actor, "logs.tail", json!({"limit": 0})).unwrap_err();
        assert!(
            error.message.starts_with("invalid logs.tail params: at /limit: must be >= 1"),
            "{}",
            error.message
        );
    }
}

pub(crate) fn only_so_many_read_the_log_at_once(place: Place) {
    let mut stage = Stage::with(place, |config| config.limits.log_tails_max = 2);
    if place.is_real() {
        return; // a driver's host answers as it likes
    }
    let actor = admin(&mut stage, 4);
    stage.host().set_log("x\n");
    stage.hold_host(true);
    let ids: Vec<String> = (0..3).map(|_| stage.send(actor, "logs.tail", json!({}))).collect();
    let error = stage.answer(actor, &ids[2]).unwrap().into_result().unwrap_err();
    assert_eq!((error.detail("reason"), error.retryable), (Some("log-busy"), Some(true)));
    stage.hold_host(false);
    for id in &ids[..2] {
        assert!(stage.answer(actor, id).unwrap().ok);
    }
}

pub(crate) fn only_so_many_ask_for_wake_words_at_once(place: Place) {
    if place.is_real() {
        return; // a driver's host answers as it likes
    }
    let mut stage = Stage::with(place, |config| config.limits.voicewake_queue_max = 2);
    let actor = admin(&mut stage, 4);
    stage.hold_host(true);
    let set = |stage: &mut Stage, word: &str| stage.send(actor, "voicewake.set", json!({"triggers": [word]}));
    let ids = ["a", "b", "c"].map(|word| set(&mut stage, word));
    let error = stage.answer(actor, &ids[2]).unwrap().into_result().unwrap_err();
    assert_eq!((error.detail("reason"), error.retryable), (Some("store-busy"), Some(true)));
    stage.hold_host(false);
    // One after another, so that memory and disk end with the same words.
    for (id, word) in ids[..2].iter().zip(["a", "b"]) {
        let answer = stage.answer(actor, id).unwrap().into_result().unwrap();
        assert_eq!(answer, json!({"triggers": [word]}));
    }
    assert_eq!(stage.call(actor, "voicewake.get", json!({})).unwrap(), json!({"triggers": ["b"]}));
}

pub(crate) fn wake_words_are_durable_before_they_are_answered_and_told(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let (actor, listener) = (admin(&mut stage, protocol), reader(&mut stage, 7 - protocol));
        let node = node_on(&mut stage, protocol, "linux");
        let heard = stage.event(node, "voicewake.changed");
        assert_eq!((heard.value(), heard.seq), (json!({"triggers": USUAL}), None));
        if protocol == 4 {
            let routed = stage.event(node, "voicewake.routing.changed");
            assert_eq!((&routed.value()["config"]["version"], routed.seq), (&json!(1), None));
        }
        assert_eq!(stage.call(actor, "voicewake.get", json!({})).unwrap(), json!({"triggers": USUAL}));
        let set = json!({"triggers": [" hey claw ", ""]});
        assert_eq!(stage.call(actor, "voicewake.set", set).unwrap(), json!({"triggers": ["hey claw"]}));
        let stored = stage.host().content(Document::VoiceWake).unwrap();
        let stored: Value = serde_json::from_slice(&stored).unwrap();
        assert_eq!(stored["triggers"], json!(["hey claw"]));
        assert!(stored["updatedAtMs"].is_u64());
        assert!(stage.event(listener, "voicewake.changed").seq.is_some());
        let heard = stage.event(node, "voicewake.changed");
        assert_eq!((heard.value(), heard.seq), (json!({"triggers": ["hey claw"]}), None));
        let later = node_on(&mut stage, 7 - protocol, "linux");
        assert_eq!(stage.event(later, "voicewake.changed").value(), json!({"triggers": ["hey claw"]}));
        let error = stage.call(actor, "voicewake.set", json!({"triggers": "x"})).unwrap_err();
        assert_eq!(error.message, "voicewake.set requires triggers: string[]");
        let error = stage.call(listener, "voicewake.set", json!({"triggers": ["x"]})).unwrap_err();
        assert_eq!(error.message, "missing scope: operator.write");
    }
}

pub(crate) fn a_failed_write_leaves_the_wake_words_as_they_are(place: Place) {
    let mut stage = Stage::new(place);
    let actor = admin(&mut stage, 4);
    stage.host().fail_next_write("disk full");
    let error = stage.call(actor, "voicewake.set", json!({"triggers": ["a"]})).unwrap_err();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("UNAVAILABLE", "wake words: disk full"));
    assert_eq!(stage.call(actor, "voicewake.get", json!({})).unwrap(), json!({"triggers": USUAL}));
    let node = node_on(&mut stage, 4, "linux");
    assert_eq!(stage.event(node, "voicewake.changed").value(), json!({"triggers": USUAL}));
    // Somebody else's words count, and a broken document is not written over.
    stage.host().edit(Document::VoiceWake, r#"{"triggers":["theirs"],"note":1}"#);
    assert_eq!(stage.call(actor, "voicewake.get", json!({})).unwrap(), json!({"triggers": ["theirs"]}));
    stage.host().edit(Document::VoiceWake, "{broken");
    let error = stage.call(actor, "voicewake.set", json!({"triggers": ["a"]})).unwrap_err();
    assert!(error.message.contains("settings/voicewake.json cannot be read"), "{}", error.message);
    assert_eq!(stage.host().content(Document::VoiceWake).unwrap(), b"{broken");
}

pub(crate) fn talk_needs_somebody_to_talk_through(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let tool = admin(&mut stage, protocol);
        let mode = stage.call(tool, "talk.mode", json!({"enabled": true, "phase": "listening"})).unwrap();
        assert_eq!((&mode["enabled"], &mode["phase"]), (&json!(true), &json!("listening")));
        assert_eq!(stage.event(tool, "talk.mode").value(), mode);
        let key = stage.key();
        let origin = stage.origin();
        let page = ClientConfig {
            origin: Some(origin),
            ..stage.client_as("openclaw-control-ui", "webchat", Some(key))
        };
        let (page, _) = stage.admit(asking(&["operator.write"], speaking(protocol, page)));
        let error = stage.call(page, "talk.mode", json!({"enabled": false})).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("UNAVAILABLE", "talk disabled: no connected iOS/Android nodes")
        );
        node_on(&mut stage, protocol, "iPadOS 26");
        let mode = stage.call(page, "talk.mode", json!({"enabled": false})).unwrap();
        assert_eq!((&mode["enabled"], &mode["phase"]), (&json!(false), &Value::Null));
    }
}

pub(crate) fn waking_leaves_a_line_for_the_agent(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let actor = admin(&mut stage, protocol);
        let said = stage.call(actor, "wake", json!({"mode": "now", "text": " look "})).unwrap();
        assert_eq!(said, json!({"ok": true}));
        let blank = stage.call(actor, "wake", json!({"mode": "next-heartbeat", "text": " "})).unwrap();
        assert_eq!(blank, json!({"ok": false}));
        let status = stage.call(actor, "status", json!({})).unwrap();
        assert_eq!(status["queuedSystemEvents"], json!(["look"]));
    }
}

pub(crate) fn refusals_are_counted_by_reason(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 4);
    for _ in 0..2 {
        let key = stage.key();
        let mut wrong = stage.client(Some(key));
        wrong.auth.token = Some("cLaWmArKeR-guess".to_owned());
        refused(&mut stage, wrong);
    }
    let reader = reader(&mut stage, 3);
    stage.call(reader, "set-heartbeats", json!({"enabled": true})).unwrap_err();
    stage.call(operator, "no.such.method", json!({})).unwrap_err();
    let numbers = stage.call(reader, "status", json!({})).unwrap()["gateway"].clone();
    assert_eq!(numbers["refused"], json!({"AUTH_TOKEN_MISMATCH": 2}));
    assert_eq!(numbers["failed"], json!({"MISSING_SCOPE": 1, "UNKNOWN_METHOD": 1}));
    assert_eq!((&numbers["sockets"]["open"], &numbers["phase"]), (&json!(2), &json!("accepting")));
    // Where they came from is told to admins only; the same twice is one line.
    assert_eq!(numbers["recentRefusals"], Value::Null);
    let latest = stage.call(operator, "status", json!({})).unwrap()["gateway"]["recentRefusals"].clone();
    let told = latest.as_array().unwrap();
    assert_eq!(told.len(), 1, "{latest}");
    assert_eq!(
        [&told[0]["code"], &told[0]["count"], &told[0]["clientId"], &told[0]["address"]],
        [&json!("AUTH_TOKEN_MISMATCH"), &json!(2), &json!("test"), &json!("127.0.0.1")]
    );
    assert!(told[0]["ts"].as_u64().is_some());
    let counts = &numbers["counts"];
    assert_eq!((&counts["accepted"], &counts["admitted"]), (&json!(4), &json!(2)));
    let now = stage.call(operator, "diagnostics.stability", json!({})).unwrap();
    assert_eq!(now["gateway"]["memory"]["residentBytes"], json!(1 << 20));
    assert!(now["gateway"]["queues"]["queuedBytes"].is_u64() && now["events"] == json!([]));
    let lanes = stage.call(operator, "diagnostics.lanes", json!({})).unwrap();
    let logs = &lanes["lanes"][1];
    assert_eq!(
        (&logs["lane"], &logs["activeCount"], &logs["draining"]),
        (&json!("logs"), &json!(0), &json!(false))
    );
}

pub(crate) fn a_suspended_gateway_takes_no_work_until_it_is_resumed(place: Place) {
    let mut stage = Stage::new(place);
    stage.host().set_log("x\n");
    let (actor, old) = (admin(&mut stage, 4), admin(&mut stage, 3));
    let prepared = stage.call(actor, "gateway.suspend.prepare", json!({"requestId": "r"})).unwrap();
    assert_eq!((&prepared["status"], &prepared["activeCount"]), (&json!("ready"), &json!(0)));
    assert_eq!(stage.event(actor, "gateway.suspension").value(), json!({"phase": "prepared"}));
    let id = prepared["suspensionId"].as_str().unwrap().to_owned();
    for actor in [actor, old] {
        let error = stage.call(actor, "set-heartbeats", json!({"enabled": true})).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("UNAVAILABLE", "set-heartbeats unavailable during gateway suspension")
        );
        let want = json!({"method": "set-heartbeats", "reason": "gateway-suspending", "phase": "prepared"});
        assert_eq!((error.details, error.retry_after_ms), (Some(want), Some(1_000)));
        assert!(
            stage.call(actor, "health", json!({})).is_ok() && stage.call(actor, "status", json!({})).is_ok()
        );
        // What it logs meanwhile is what a person wants to see.
        assert!(stage.call(actor, "logs.tail", json!({})).is_ok());
    }
    // Others may come in: who holds the suspension may have lost its socket.
    let key = stage.key();
    let config = asking(&["operator.admin"], stage.client(Some(key)));
    let (late, hello) = stage.admit(config);
    assert_eq!(hello.0["snapshot"]["suspension"], json!({"phase": "prepared"}));
    let ready = stage.call(late, "gateway.suspend.status", json!({"suspensionId": id})).unwrap();
    assert_eq!(ready["status"], json!("ready"));
    let busy = stage.call(late, "gateway.suspend.prepare", json!({"requestId": "other"})).unwrap();
    assert_eq!((&busy["status"], &busy["reason"]), (&json!("busy"), &json!("gateway-draining")));
    let again = stage.call(late, "gateway.suspend.prepare", json!({"requestId": "r"})).unwrap();
    assert_eq!(again["suspensionId"], json!(id));
    let error = stage.call(late, "gateway.suspend.resume", json!({"suspensionId": "x"})).unwrap_err();
    assert_eq!(error.message, "suspensionId does not match the active suspension");
    let resume =
        |stage: &mut Stage| stage.call(late, "gateway.suspend.resume", json!({"suspensionId": id})).unwrap();
    assert_eq!(resume(&mut stage), json!({"ok": true, "status": "running", "resumed": true}));
    assert_eq!(stage.event(late, "gateway.suspension").value(), json!({"phase": "accepting"}));
    assert!(stage.call(old, "set-heartbeats", json!({"enabled": true})).is_ok());
    assert_eq!(resume(&mut stage)["resumed"], json!(false));
    stage.pass(100);
    let heard = stage.drain(old);
    assert!(!event_names(&heard).contains(&"gateway.suspension"), "protocol 3 has no such event");
}

pub(crate) fn a_suspension_that_nobody_renews_ends(place: Place) {
    let mut stage = Stage::with(place, |config| config.limits.suspend_lease_ms = 300);
    let actor = admin(&mut stage, 4);
    stage.call(actor, "gateway.suspend.prepare", json!({"requestId": "r", "drain": true})).unwrap();
    assert_eq!(stage.event(actor, "gateway.suspension").value(), json!({"phase": "prepared"}));
    assert_eq!(stage.event(actor, "gateway.suspension").value(), json!({"phase": "accepting"}));
    assert!(stage.call(actor, "set-heartbeats", json!({"enabled": true})).is_ok());
}

pub(crate) fn a_drain_waits_for_work_in_progress(place: Place) {
    let mut stage = Stage::new(place);
    if place.is_real() {
        return; // a driver's host answers as it likes
    }
    let actor = admin(&mut stage, 4);
    stage.host().set_log("x\n");
    stage.host().edit_config(Some("{}"));
    stage.hold_host(true);
    let tail = stage.send(actor, "logs.tail", json!({}));
    let flight = stage.call(actor, "gateway.restart.preflight", json!({})).unwrap();
    assert_eq!(flight["safe"], json!(true), "who follows the log holds nobody up");
    let id = stage.send(actor, "config.get", json!({}));
    let flight = stage.call(actor, "gateway.restart.preflight", json!({})).unwrap();
    assert_eq!((&flight["safe"], &flight["activeCount"]), (&json!(false), &json!(1)));
    let busy = stage.call(actor, "gateway.suspend.prepare", json!({"requestId": "r"})).unwrap();
    assert_eq!((&busy["status"], &busy["reason"]), (&json!("busy"), &json!("active-work")));
    assert_eq!(busy["blockers"][0]["kind"], json!("root-request"));
    let waits =
        stage.call(actor, "gateway.suspend.prepare", json!({"requestId": "r", "drain": true})).unwrap();
    assert_eq!((&waits["status"], &waits["retryAfterMs"]), (&json!("draining"), &json!(1_000)));
    assert_eq!(stage.event(actor, "gateway.suspension").value(), json!({"phase": "draining"}));
    stage.hold_host(false);
    assert!(stage.answer(actor, &id).unwrap().ok && stage.answer(actor, &tail).unwrap().ok);
    assert_eq!(stage.event(actor, "gateway.suspension").value(), json!({"phase": "prepared"}));
    let flight = stage.call(actor, "gateway.restart.preflight", json!({})).unwrap();
    assert_eq!(flight["safe"], json!(true));
}

pub(crate) fn a_restart_is_told_with_the_time_it_takes(place: Place) {
    let mut stage = Stage::new(place);
    let (old, new) = (admin(&mut stage, 3), admin(&mut stage, 4));
    let error = stage.call(new, "gateway.restart.request", json!({})).unwrap_err();
    assert_eq!((error.code.as_str(), error.detail("reason")), ("UNAVAILABLE", Some("restart-unavailable")));
    assert!(error.message.contains("nobody would start it again"), "{}", error.message);
    stage.host().set_can_restart(true);
    let answer = stage.call(new, "gateway.restart.request", json!({"reason": "update"})).unwrap();
    assert_eq!((&answer["status"], &answer["preflight"]["safe"]), (&json!("scheduled"), &json!(true)));
    let again = stage.call(new, "gateway.restart.request", json!({})).unwrap();
    assert_eq!(again["status"], json!("coalesced"));
    for actor in [old, new] {
        let told = stage.event(actor, "shutdown").value();
        assert_eq!(told, json!({"reason": "gateway restarting", "restartExpectedMs": 1_500}));
        let (code, reason) = stage.closed(actor);
        assert_eq!((code, reason.as_str()), (1012, "service restart"));
    }
    assert!(stage.has_stopped());
    assert_eq!(stage.host().restarts(), 1);
}

pub(crate) fn where_things_are_on_this_machine_is_told_to_readers_only(place: Place) {
    // Compatibility row hello-paths.
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| config.about.state_dir = "/home/gw/.openclaw".to_owned());
        let admin = admin(&mut stage, protocol);
        let (reader, pairer) = (reader(&mut stage, protocol), pairer(&mut stage, protocol));
        let node = node_on(&mut stage, protocol, "linux");
        for (actor, shows) in [(admin, true), (reader, true), (pairer, false), (node, false)] {
            stage.drain(actor);
            let health = stage.call(actor, "health", json!({}));
            // Not every role may ask, and everybody is told.
            let mut seen: Vec<Value> = health.into_iter().collect();
            seen.push(stage.event(actor, "health").value());
            for health in seen {
                let path = health["sessions"]["path"].as_str().unwrap();
                assert_eq!(health["agents"][0]["sessions"]["path"], path);
                assert_eq!(path.starts_with("/home/gw/.openclaw/"), shows, "{path}");
                assert!(shows || path == "[redacted]", "{path}");
            }
        }
    }
}

pub(crate) fn an_idle_hour_says_nothing_that_is_kept(place: Place) {
    if place.is_real() {
        return; // an hour is too long
    }
    let mut stage = Stage::new(place);
    let (actor, old) = (admin(&mut stage, 4), admin(&mut stage, 3));
    node_on(&mut stage, 4, "linux");
    stage.pass(1_000);
    let kept =
        |stage: &Stage| stage.host().records().iter().filter(|record| record.level <= Level::Info).count();
    let (before, writes) = (kept(&stage), stage.host().writes());
    for _ in 0..60 {
        stage.pass(60_000);
        stage.drain(actor);
        stage.drain(old);
    }
    assert_eq!(
        (kept(&stage), stage.host().writes()),
        (before, writes),
        "{:?}",
        stage.host().records().last()
    );
}

pub(crate) fn nodes_hear_their_words_right_behind_hello(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let node = node_on(&mut stage, protocol, "linux");
        let first = loop {
            match stage.next(node, 5_000) {
                Some(ClientEvent::Challenge { .. }) => {}
                Some(ClientEvent::Event(first)) => break first,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((first.name.as_str(), first.seq), ("voicewake.changed", None));
    }
}
