//! What nodes tell by themselves, and what they fetch when they wake.
//!
//! Rows of `docs/compatibility.md` that are held here: `node-events`, `node-catalogue`, `node-pending`, `no-canvas`.

use super::invoke::{approve, ask, asked, failed, node, offering, says};
use super::{PROTOCOLS, admin, asking, event_names, speaking};
use clawgate_proto::client::ClientConfig;
use clawgate_support::{Actor, Place, Stage};
use serde_json::{Value, json};

fn tells(stage: &mut Stage, node: Actor, event: &str, payload: &Value) -> Value {
    let params = json!({"event": event, "payloadJSON": payload.to_string()});
    stage.call(node, "node.event", params).unwrap()
}

fn described(stage: &mut Stage, operator: Actor, node_id: &str) -> Value {
    stage.call(operator, "node.describe", json!({"nodeId": node_id})).unwrap()
}

/// `node-events`.
pub(crate) fn what_a_node_tells_is_noted_or_said_not_to_be(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| config.limits.node_chats_max = 2);
        let operator = admin(&mut stage, 4);
        let old = admin(&mut stage, 3);
        let key = stage.key();
        let config = asking(&["operator.pairing"], speaking(4, stage.client(Some(key))));
        let (blind, _) = stage.admit(config);
        let (node, node_id) = node(&mut stage, protocol, operator, &["system.which"]);
        let is = |answer: Value, event: &str, handled: bool, reason: &str| {
            let wanted = json!({"ok": true, "event": event, "handled": handled, "reason": reason});
            assert_eq!(answer, if protocol == 3 { json!({"ok": true}) } else { wanted }, "{event}");
        };
        let stats =
            json!({"cpuCount": 2, "loadAverage": [0.5, 1, "x", 2, 3], "memoryFreeBytes": 7, "secret": "x"});
        is(tells(&mut stage, node, "node.host.stats", &stats), "node.host.stats", true, "updated");
        let told = stage.event(operator, "node.hostStats").value();
        let at = told["hostStats"]["updatedAtMs"].clone();
        let shown =
            json!({"cpuCount": 2, "loadAverage": [0.5, 1, 2], "memoryFreeBytes": 7, "updatedAtMs": at});
        assert_eq!(told, json!({"nodeId": node_id, "hostStats": shown}));
        assert_eq!(described(&mut stage, operator, &node_id)["hostStats"], shown);
        // Not each time to everybody, and to nobody who may not look.
        let again = json!({"cpuCount": 3});
        is(tells(&mut stage, node, "node.host.stats", &again), "node.host.stats", true, "updated");
        assert_eq!(described(&mut stage, operator, &node_id)["hostStats"]["cpuCount"], 3);
        if !place.is_real() {
            assert!(!event_names(&stage.drain(operator)).contains(&"node.hostStats"));
            stage.pass(1_000);
            tells(&mut stage, node, "node.host.stats", &again);
            assert_eq!(stage.event(operator, "node.hostStats").value()["hostStats"]["cpuCount"], 3);
        }
        for other in [old, blind, node] {
            assert!(!event_names(&stage.drain(other)).contains(&"node.hostStats"));
        }
        is(
            tells(&mut stage, node, "node.host.stats", &json!([1])),
            "node.host.stats",
            false,
            "invalid_payload",
        );
        is(
            tells(&mut stage, node, "node.host.stats", &json!({"cpuCount": -1})),
            "node.host.stats",
            false,
            "invalid_payload",
        );

        stage.pass(5);
        let alive = json!({"trigger": "silent_push"});
        is(tells(&mut stage, node, "node.presence.alive", &alive), "node.presence.alive", true, "updated");
        let row = described(&mut stage, operator, &node_id);
        assert_eq!(row["lastSeenReason"], "silent_push");
        assert!(row["lastSeenAtMs"].as_u64() > row["connectedAtMs"].as_u64());
        let odd = json!({"trigger": "odd"});
        is(
            tells(&mut stage, node, "node.presence.alive", &odd),
            "node.presence.alive",
            false,
            "invalid_payload",
        );

        for (key, handled, reason) in
            [("a", true, "updated"), ("b", true, "updated"), ("c", false, "limit"), ("a", true, "updated")]
        {
            let answer = tells(&mut stage, node, "chat.subscribe", &json!({"sessionKey": key}));
            is(answer, "chat.subscribe", handled, reason);
        }
        let answer = tells(&mut stage, node, "chat.unsubscribe", &json!({"sessionKey": " a "}));
        is(answer, "chat.unsubscribe", true, "updated");
        let answer = tells(&mut stage, node, "chat.subscribe", &json!({"sessionKey": "c"}));
        is(answer, "chat.subscribe", true, "updated");
        for event in ["exec.finished", "voice.transcript", "agent.request", "nobody's"] {
            is(tells(&mut stage, node, event, &json!({"text": "t"})), event, false, "unsupported_event");
        }
        // What is said in other forms.
        let bare = stage.call(node, "node.event", json!({"event": "x", "payloadJSON": null})).unwrap();
        is(bare, "x", false, "unsupported_event");
        let params = json!({"event": "node.host.stats", "payload": {"cpuCount": 4}});
        is(stage.call(node, "node.event", params).unwrap(), "node.host.stats", true, "updated");
        let params =
            json!({"event": "node.host.stats", "payloadJSON": "no JSON", "payload": {"cpuCount": 4}});
        is(stage.call(node, "node.event", params).unwrap(), "node.host.stats", false, "invalid_payload");
        let huge = json!({"event": "node.host.stats", "payload": {"x": "y".repeat(100_000), "cpuCount": 4}});
        is(stage.call(node, "node.event", huge).unwrap(), "node.host.stats", false, "invalid_payload");
    }
}

/// `node-catalogue`: what waits for approval is told what it waits for, and offers nothing meanwhile.
pub(crate) fn what_a_node_has_is_shown_as_far_as_it_was_approved(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 4);
    let key = stage.key();
    let (node, _) = stage.admit(offering(&stage, 4, &key, &["system.which"]));
    let node_id = key.device_id().to_owned();
    let tool = |name: &str, command: Option<&str>| {
        let mut tool = json!({"pluginId": "p", "name": name, "description": "d"});
        if let Some(command) = command {
            tool["command"] = json!(command);
        }
        tool
    };
    let tools = json!({"tools": [tool("which", Some("system.which")), tool("run", Some("system.run")), tool("bare", None)]});
    let told = stage.call(node, "node.pluginTools.update", tools.clone()).unwrap();
    assert_eq!(told, json!({"nodeId": node_id, "tools": []}));
    let request = stage.event(operator, "node.pair.requested").value()["requestId"].clone();
    let error = stage.call(node, "node.runnerInventory.update", json!({"protocolFeatures": []})).unwrap_err();
    assert_eq!((error.code.as_str(), error.details), ("UNAVAILABLE", None));
    assert!(error.message.contains(request.as_str().unwrap()), "{}", error.message);
    let error = stage.call(node, "node.event", json!({"event": "node.host.stats"})).unwrap_err();
    assert_eq!(error.detail("code"), Some("PAIRING_CHANGED"));

    approve(&mut stage, operator, &node_id);
    assert_eq!(stage.event(operator, "node.runnerInventory.changed").value(), json!({"nodeId": node_id}));
    let told = stage.call(node, "node.runnerInventory.update", json!({"protocolFeatures": []})).unwrap();
    assert_eq!(told, json!({"nodeId": node_id}));
    let shown = json!([tool("which", Some("system.which")), tool("bare", None)]);
    assert_eq!(described(&mut stage, operator, &node_id)["nodePluginTools"], shown);
    let told = stage.call(node, "node.pluginTools.update", tools).unwrap();
    assert_eq!(told, json!({"nodeId": node_id, "tools": shown}));
    let told = stage.call(node, "node.pluginTools.update", json!({"tools": []})).unwrap();
    assert_eq!(told["tools"], json!([]));
    let skill = json!({"skills": [{"name": "a-b", "description": "d", "content": "c"}]});
    let told = stage.call(node, "node.skills.update", skill).unwrap();
    assert_eq!(told, json!({"nodeId": node_id, "skills": []}), "nobody here takes any");
    for (method, params, text) in [
        (
            "node.pluginTools.update",
            json!({"tools": [tool("1a", None)]}),
            "at /tools/0/name: must match pattern",
        ),
        (
            "node.skills.update",
            json!({"skills": [{"name": "a--b", "description": "d", "content": "c"}]}),
            "at /skills/0/name: must match pattern",
        ),
    ] {
        let error = stage.call(node, method, params).unwrap_err();
        assert!(error.message.contains(text), "{}", error.message);
    }
    // With the node go its tools.
    stage.call(node, "node.pluginTools.update", json!({"tools": [tool("bare", None)]})).unwrap();
    stage.close(node);
    assert_eq!(described(&mut stage, operator, &node_id).get("nodePluginTools"), None);
}

/// `node-pending`: work that operators leave.
pub(crate) fn work_waits_for_a_node_until_its_end(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let (first, node_id) = node(&mut stage, protocol, operator, &["system.which"]);
        let leave =
            json!({"nodeId": node_id, "type": "location.request", "priority": "high", "expiresInMs": 60_000});
        let left = stage.call(operator, "node.pending.enqueue", leave.clone()).unwrap();
        assert_eq!(
            (&left["nodeId"], &left["revision"], &left["wakeTriggered"]),
            (&json!(node_id), &json!(1), &json!(false))
        );
        let item = left["queued"].clone();
        assert_eq!((&item["type"], &item["priority"]), (&json!("location.request"), &json!("high")));
        assert_eq!(item["expiresAtMs"].as_u64().unwrap() - item["createdAtMs"].as_u64().unwrap(), 60_000);
        let again = stage.call(operator, "node.pending.enqueue", leave.clone()).unwrap();
        assert_eq!((&again["queued"], &again["revision"]), (&item, &json!(1)), "one of a kind is enough");
        for _ in 0..2 {
            let fetched = stage.call(first, "node.pending.drain", json!({})).unwrap();
            assert_eq!((&fetched["nodeId"], &fetched["hasMore"]), (&json!(node_id), &json!(false)));
            assert_eq!(fetched["items"][0], item, "nothing is taken away");
            assert_eq!(fetched["items"][1]["id"], "baseline-status");
            assert_eq!(fetched["items"][1]["expiresAtMs"], Value::Null);
        }
        let one = stage.call(first, "node.pending.drain", json!({"maxItems": 1})).unwrap();
        assert_eq!(one["items"], json!([item]));
        // It outlives the connection, and is nobody else's.
        let (other, _) = node(&mut stage, protocol, operator, &["system.which"]);
        let fetched = stage.call(other, "node.pending.drain", json!({})).unwrap();
        assert_eq!(fetched["items"].as_array().unwrap().len(), 1);
        if !place.is_real() {
            stage.pass(60_000);
            let fetched = stage.call(first, "node.pending.drain", json!({})).unwrap();
            assert_eq!(
                (&fetched["items"][0]["id"], &fetched["revision"]),
                (&json!("baseline-status"), &json!(2))
            );
        }
        let unknown = json!({"nodeId": "nobody", "type": "status.request"});
        let error = stage.call(operator, "node.pending.enqueue", unknown).unwrap_err();
        assert_eq!(error.message, "unknown nodeId");
        let error = stage
            .call(operator, "node.pending.enqueue", json!({"nodeId": node_id, "type": "x"}))
            .unwrap_err();
        assert!(
            error.message.starts_with("invalid node.pending.enqueue params: at /type"),
            "{}",
            error.message
        );
    }
}

/// `node-pending`: what a phone cannot do in the background it is told again when it fetches.
pub(crate) fn a_phone_in_the_background_fetches_its_commands(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| {
            config.node_commands.allow = ["camera.snap".to_owned(), "system.notify".to_owned()].into();
        });
        let operator = admin(&mut stage, protocol);
        let key = stage.key();
        let mut config = offering(&stage, protocol, &key, &["camera.snap", "system.notify"]);
        config.client.platform = "iOS 18.4".to_owned();
        config.client.device_family = Some("iPhone".to_owned());
        let (phone, _) = stage.admit(ClientConfig { ..config });
        approve(&mut stage, operator, key.device_id());
        let node_id = key.device_id();
        let refusal = json!({"code": "NODE_BACKGROUND_UNAVAILABLE", "message": "in the background"});
        let mut ids = Vec::new();
        for _ in 0..2 {
            let id =
                stage.send(operator, "node.invoke", ask(node_id, "camera.snap", json!({"facing": "front"})));
            let request = asked(&mut stage, phone);
            says(&mut stage, phone, &request, json!({"ok": false, "error": refusal}));
            let error = failed(&mut stage, operator, &id);
            assert_eq!(error.message, "node command queued until iOS returns to foreground");
            assert_eq!((error.code.as_str(), error.retryable), ("UNAVAILABLE", Some(true)));
            let details = error.details.unwrap();
            assert_eq!(
                details["wake"],
                json!({"path": "no-registration", "available": false, "throttled": false})
            );
            assert_eq!(
                (&details["code"], &details["nodeError"]),
                (&json!("QUEUED_UNTIL_FOREGROUND"), &refusal)
            );
            ids.push(details["queuedActionId"].clone());
        }
        assert_eq!(ids[0], ids[1], "the same key is the same command");
        for _ in 0..2 {
            let pulled = stage.call(phone, "node.pending.pull", json!({})).unwrap();
            assert_eq!(pulled["nodeId"], node_id);
            let actions = pulled["actions"].as_array().unwrap();
            assert_eq!(actions.len(), 1);
            assert_eq!((&actions[0]["id"], &actions[0]["command"]), (&ids[0], &json!("camera.snap")));
            assert_eq!(actions[0]["paramsJSON"], "{\"facing\":\"front\"}");
        }
        let done = json!({"ids": [format!(" {} ", ids[0].as_str().unwrap()), "x", "x"]});
        let acked = stage.call(phone, "node.pending.ack", done).unwrap();
        assert_eq!(acked, json!({"nodeId": node_id, "ackedIds": [ids[0], "x"], "remainingCount": 0}));
        let pulled = stage.call(phone, "node.pending.pull", json!({})).unwrap();
        assert_eq!(pulled["actions"], json!([]));
        // What needs no screen is refused as the phone refuses it.
        let id = stage.send(operator, "node.invoke", ask(node_id, "system.notify", json!({})));
        let request = asked(&mut stage, phone);
        says(&mut stage, phone, &request, json!({"ok": false, "error": refusal}));
        assert_eq!(
            failed(&mut stage, operator, &id).message,
            "NODE_BACKGROUND_UNAVAILABLE: in the background"
        );
    }
}

/// `no-canvas`.
pub(crate) fn there_is_no_canvas_and_that_is_said(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let (node, _) = node(&mut stage, protocol, operator, &["system.which"]);
        let mut refused = |actor: Actor, method: &str, params: Value, message: &str| {
            let error = stage.call(actor, method, params).unwrap_err();
            assert_eq!(error.message, message);
            error
        };
        if protocol == 3 {
            let text = "canvas host unavailable for this node session";
            assert_eq!(refused(node, "node.canvas.capability.refresh", json!({}), text).code, "UNAVAILABLE");
            continue;
        }
        for (actor, method) in [(node, "node.pluginSurface.refresh"), (operator, "plugin.surface.refresh")] {
            let error =
                refused(actor, method, json!({"surface": " canvas "}), "canvas plugin surface unavailable");
            assert_eq!(
                (error.code.as_str(), error.detail("reason")),
                ("UNAVAILABLE", Some("feature-unavailable"))
            );
            let error = refused(actor, method, json!({"surface": "  "}), "surface required");
            assert_eq!(error.code, "INVALID_REQUEST");
        }
    }
}
