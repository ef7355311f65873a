//! Commands of nodes: from an operator to the node and back, and every way in which there is no answer.
//!
//! Rows of `docs/compatibility.md` that are held here: `invoke-bounds`, `invoke-ends`, `invoke-no-time`, `invoke-policy`,
//! `invoke-away`, `node-exec-approvals`.

use super::{ADMIN, PROTOCOLS, admin, asking, event_names, speaking};
use clawgate_proto::client::{ClientConfig, ClientEvent, DeviceKey, ResponseError};
use clawgate_support::{Actor, Place, Stage};
use serde_json::{Value, json};

/// A node on Linux with these commands, all of them approved, and its id.
pub(crate) fn node(stage: &mut Stage, protocol: u64, admin: Actor, commands: &[&str]) -> (Actor, String) {
    let key = stage.key();
    let (actor, _) = stage.admit(offering(stage, protocol, &key, commands));
    approve(stage, admin, key.device_id());
    (actor, key.device_id().to_owned())
}

/// A node's settings.
pub(crate) fn offering(stage: &Stage, protocol: u64, key: &DeviceKey, commands: &[&str]) -> ClientConfig {
    let config = speaking(protocol, stage.client_as("node-host", "node", Some(key.clone())));
    ClientConfig {
        role: "node".to_owned(),
        scopes: Vec::new(),
        caps: vec!["system".to_owned()],
        commands: commands.iter().map(|command| (*command).to_owned()).collect(),
        ..config
    }
}

/// Approves what a node asks to offer, if it has to ask.
pub(crate) fn approve(stage: &mut Stage, admin: Actor, node_id: &str) {
    let list = stage.call(admin, "node.pair.list", json!({})).unwrap();
    let pending = list["pending"].as_array().unwrap();
    if let Some(row) = pending.iter().find(|row| row["nodeId"] == node_id) {
        stage.call(admin, "node.pair.approve", json!({"requestId": row["requestId"]})).unwrap();
    }
}

/// Params of `node.invoke`.
pub(crate) fn ask(node_id: &str, command: &str, params: Value) -> Value {
    json!({"nodeId": node_id, "command": command, "params": params, "idempotencyKey": "k"})
}

/// What a node is asked next.
pub(crate) fn asked(stage: &mut Stage, node: Actor) -> Value {
    let event = stage.event(node, "node.invoke.request");
    assert_eq!(event.seq, None, "what is sent to a node has no number");
    event.value()
}

/// A node's answer, and what it is told about it.
pub(crate) fn says(stage: &mut Stage, node: Actor, request: &Value, said: Value) -> Value {
    let mut params = json!({"id": request["id"], "nodeId": request["nodeId"]});
    params.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    stage.call(node, "node.invoke.result", params).unwrap()
}

pub(crate) fn failed(stage: &mut Stage, actor: Actor, id: &str) -> ResponseError {
    stage.answer(actor, id).unwrap().into_result().unwrap_err()
}

fn invoke(stage: &mut Stage, actor: Actor, params: Value) -> ResponseError {
    stage.call(actor, "node.invoke", params).unwrap_err()
}

/// Nothing for a node has come.
fn heard_nothing(stage: &mut Stage, node: Actor) {
    let heard = stage.drain(node);
    assert!(!event_names(&heard).iter().any(|name| name.starts_with("node.invoke")), "{heard:?}");
}

/// Both protocols on both sides: each sees its own shapes.
pub(crate) fn a_command_is_carried_out(place: Place) {
    for (caller, offerer) in [(3, 3), (3, 4), (4, 3), (4, 4)] {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, caller);
        let (node, node_id) = node(&mut stage, offerer, operator, &["system.which"]);
        let mut params = ask(&node_id, " system.which ", json!({"bins": ["ls", "ü\n"]}));
        params["timeoutMs"] = json!(60_000);
        let id = stage.send(operator, "node.invoke", params);
        let request = asked(&mut stage, node);
        assert_eq!(request["paramsJSON"], json!(r#"{"bins":["ls","ü\n"]}"#));
        let names = (&request["nodeId"], &request["command"], &request["idempotencyKey"]);
        assert_eq!(names, (&json!(node_id), &json!("system.which"), &json!("k")));
        assert_eq!(request["timeoutMs"], 60_000);
        // Meanwhile the gateway has time for others.
        stage.call(operator, "health", json!({})).unwrap();
        let told = says(&mut stage, node, &request, json!({"ok": true, "payloadJSON": "{\"bins\": {}}"}));
        assert_eq!(told, json!({"ok": true}));
        let answer = stage.answer(operator, &id).unwrap().into_result().unwrap();
        let wanted = json!({
            "ok": true, "nodeId": node_id, "command": "system.which", "payload": {"bins": {}},
            "payloadJSON": "{\"bins\": {}}",
        });
        assert_eq!(answer, wanted);
        // Said again, it answers nothing.
        let again = says(&mut stage, node, &request, json!({"ok": true}));
        assert_eq!(again, json!({"ok": true, "ignored": true}));
        assert_eq!(
            stage.drain(operator).iter().filter(|event| matches!(event, ClientEvent::Response(_))).count(),
            0
        );
        // Without params there are none, and the key is the caller's: the same one is asked for twice.
        for _ in 0..2 {
            let params = json!({"nodeId": node_id, "command": "system.which", "idempotencyKey": "k"});
            let id = stage.send(operator, "node.invoke", params);
            let request = asked(&mut stage, node);
            let params = (offerer == 3).then_some(&Value::Null);
            assert_eq!(request.get("paramsJSON"), params);
            let timeout_ms = (offerer == 4).then(|| json!(30_000));
            assert_eq!(request.get("timeoutMs"), timeout_ms.as_ref());
            says(&mut stage, node, &request, json!({"ok": true, "payloadJSON": null, "error": null}));
            let answer = stage.answer(operator, &id).unwrap().into_result().unwrap();
            assert_eq!(
                answer,
                json!({"ok": true, "nodeId": node_id, "command": "system.which", "payloadJSON": null})
            );
        }
    }
}

/// The node says no, in more or fewer words.
pub(crate) fn a_node_says_no(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let (node, node_id) = node(&mut stage, protocol, operator, &["system.which"]);
        for (error, message) in [
            (json!({"code": "BUSY", "message": "later"}), "BUSY: later"),
            (json!({"message": "later"}), "later"),
            (json!({"code": "BUSY"}), "BUSY: node invoke failed"),
            (json!({}), "node invoke failed"),
        ] {
            let id = stage.send(operator, "node.invoke", ask(&node_id, "system.which", json!({})));
            let request = asked(&mut stage, node);
            says(&mut stage, node, &request, json!({"ok": false, "error": error}));
            let told = failed(&mut stage, operator, &id);
            assert_eq!((told.code.as_str(), told.message.as_str()), ("UNAVAILABLE", message));
            assert_eq!(told.details, Some(json!({"nodeError": error})));
        }
        let id = stage.send(operator, "node.invoke", ask(&node_id, "system.which", json!({})));
        let request = asked(&mut stage, node);
        says(&mut stage, node, &request, json!({"ok": false}));
        assert_eq!(failed(&mut stage, operator, &id).message, "node invoke failed");
    }
}

/// `invoke-policy`: each rule, in its order, with its words.
pub(crate) fn only_what_is_offered_approved_and_allowed_is_asked_for(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let (node, node_id) =
            node(&mut stage, protocol, operator, &["system.which", "camera.snap", "fs.listDir"]);
        let error = invoke(&mut stage, operator, ask(&node_id, "  ", json!({})));
        assert_eq!((error.message.as_str(), error.details), ("nodeId and command required", None));
        let dangerous = if protocol == 3 {
            r#""camera.snap" is not in the allowlist for platform "linux""#
        } else {
            r#""camera.snap" requires explicit gateway.nodes.commands.allow opt-in"#
        };
        for (command, reason, why) in [
            ("camera.snap", "command not allowlisted", dangerous),
            (
                "contacts.search",
                "command not allowlisted",
                r#""contacts.search" is not in the allowlist for platform "linux""#,
            ),
            (
                "system.run",
                "command not declared by node",
                r#"the node (platform: linux) does not support "system.run""#,
            ),
        ] {
            let error = invoke(&mut stage, operator, ask(&node_id, command, json!({})));
            assert_eq!(error.code, "INVALID_REQUEST");
            assert_eq!(error.message, format!("node command not allowed: {why}"));
            assert_eq!(error.details, Some(json!({"reason": reason, "command": command})));
        }
        for command in ["system.execApprovals.get", "system.execApprovals.set", "system.execApprovals.any"] {
            let error = invoke(&mut stage, operator, ask(&node_id, command, json!({})));
            let text = "node.invoke does not allow system.execApprovals.*; use exec.approvals.node.*";
            assert_eq!((error.code.as_str(), error.message.as_str()), ("INVALID_REQUEST", text));
            assert_eq!(error.details, Some(json!({"command": command})));
        }
        heard_nothing(&mut stage, node);
        // Files, the browser and the terminal are an admin's.
        let key = stage.key();
        let config = asking(&["operator.write"], speaking(protocol, stage.client(Some(key))));
        let (writer, _) = stage.admit(config);
        let error = invoke(&mut stage, writer, ask(&node_id, " fs.listDir ", json!({})));
        assert_eq!(error.message, "missing scope: operator.admin");
        let id = stage.send(
            writer,
            "node.invoke",
            ask(&node_id, "system.which", json!({"x": "y".repeat(100_000)})),
        );
        let request = asked(&mut stage, node);
        says(&mut stage, node, &request, json!({"ok": true}));
        assert!(stage.answer(writer, &id).unwrap().into_result().is_ok(), "large params need no other scope");
    }
}

/// `invoke-policy`: what a node thought of later waits for somebody, while the rest goes on; and then counts at once.
pub(crate) fn what_a_node_offers_later_is_not_asked_for_before_it_is_approved(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let key = stage.key();
        let (first, _) = stage.admit(offering(&stage, protocol, &key, &["system.which"]));
        approve(&mut stage, operator, key.device_id());
        stage.close(first);
        let (node, _) = stage.admit(offering(&stage, protocol, &key, &["system.which", "system.notify"]));
        let error = invoke(&mut stage, operator, ask(key.device_id(), "system.notify", json!({})));
        assert_eq!(error.detail("reason"), Some("command not declared by node"));
        heard_nothing(&mut stage, node);
        for command in ["system.which", "system.notify"] {
            let id = stage.send(operator, "node.invoke", ask(key.device_id(), command, json!({})));
            let request = asked(&mut stage, node);
            assert_eq!(request["command"], command);
            says(&mut stage, node, &request, json!({"ok": true}));
            assert!(stage.answer(operator, &id).unwrap().into_result().is_ok());
            approve(&mut stage, operator, key.device_id());
        }
        // What it offers no more is not asked for, though it was approved.
        stage.close(node);
        let (node, _) = stage.admit(offering(&stage, protocol, &key, &["system.which"]));
        let error = invoke(&mut stage, operator, ask(key.device_id(), "system.notify", json!({})));
        assert_eq!(error.detail("reason"), Some("command not declared by node"));
        heard_nothing(&mut stage, node);
    }
}

/// `invoke-policy`: the configuration allows and forbids by name, and forbidding counts more.
pub(crate) fn the_configuration_allows_and_forbids(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            config.node_commands.allow = names(&["camera.snap", "canvas.present", "sms.send"]);
            config.node_commands.deny = names(&["sms.send", "system.which"]);
        });
        let operator = admin(&mut stage, protocol);
        let commands = ["camera.snap", "canvas.present", "sms.send", "system.which", "system.notify"];
        let (node, node_id) = node(&mut stage, protocol, operator, &commands);
        for command in ["camera.snap", "canvas.present", "system.notify"] {
            let id = stage.send(operator, "node.invoke", ask(&node_id, command, json!({})));
            let request = asked(&mut stage, node);
            assert_eq!(request["command"], command);
            says(&mut stage, node, &request, json!({"ok": true}));
            assert!(stage.answer(operator, &id).unwrap().into_result().is_ok());
        }
        for command in ["sms.send", "system.which"] {
            let error = invoke(&mut stage, operator, ask(&node_id, command, json!({})));
            assert_eq!(error.detail("reason"), Some("command not allowlisted"), "{command}");
        }
        heard_nothing(&mut stage, node);
    }
}

/// `invoke-away`: nobody of that name, nobody there, nothing approved.
pub(crate) fn a_node_that_is_away_or_not_approved_is_not_asked(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let is_away = |error: ResponseError| {
            assert_eq!(error.code, "UNAVAILABLE");
            if protocol == 3 {
                assert_eq!(error.message, "node not connected");
                assert_eq!(error.details, Some(json!({"code": "NOT_CONNECTED"})));
            } else {
                assert_eq!(error.message, "node pairing changed while invocation was active");
                assert_eq!(
                    (error.details, error.retryable),
                    (Some(json!({"code": "PAIRING_CHANGED"})), Some(true))
                );
            }
        };
        is_away(invoke(&mut stage, operator, ask("nobody", "system.which", json!({}))));
        let (here, node_id) = node(&mut stage, protocol, operator, &["system.which"]);
        stage.close(here);
        is_away(invoke(&mut stage, operator, ask(&node_id, "system.which", json!({}))));
        // The operator's own device is no node.
        let key = stage.key();
        let config = asking(&[ADMIN], speaking(protocol, stage.client(Some(key.clone()))));
        stage.admit(config);
        is_away(invoke(&mut stage, operator, ask(key.device_id(), "system.which", json!({}))));
        // Protocol 4's rule in both: what nobody approved is not there. Its node says so itself at protocol 4.
        let key = stage.key();
        let (pending, _) = stage.admit(offering(&stage, 4, &key, &["system.which"]));
        let error = invoke(&mut stage, operator, ask(key.device_id(), "system.which", json!({})));
        if protocol == 3 {
            assert_eq!(
                error.message,
                "node command not allowed: the node did not declare any supported commands"
            );
            assert_eq!(error.detail("reason"), Some("node did not declare commands"));
        } else {
            is_away(error);
        }
        heard_nothing(&mut stage, pending);
    }
}

/// `invoke-no-time`: a deadline, and none at all.
pub(crate) fn a_command_has_its_time(place: Place) {
    for (caller, offerer) in [(3, 3), (3, 4), (4, 3), (4, 4)] {
        let mut stage = Stage::with(place, |config| {
            if place.is_real() {
                config.limits.invoke_timeout_ms = 200;
            }
        });
        let operator = admin(&mut stage, caller);
        let (node, node_id) = node(&mut stage, offerer, operator, &["system.which"]);
        for timeout_ms in [None, Some(150), Some(0)] {
            let mut params = ask(&node_id, "system.which", json!({}));
            if let Some(timeout_ms) = timeout_ms {
                params["timeoutMs"] = json!(timeout_ms);
            }
            let before = stage.now().mono;
            let id = stage.send(operator, "node.invoke", params);
            let is_sent = timeout_ms != Some(0);
            let request = is_sent.then(|| asked(&mut stage, node));
            if !is_sent {
                heard_nothing(&mut stage, node);
            }
            let error = if place.is_real() || timeout_ms.is_some() {
                failed(&mut stage, operator, &id)
            } else {
                stage.pass(30_000);
                failed(&mut stage, operator, &id)
            };
            if !place.is_real() && is_sent {
                let waited_ms = stage.now().mono.millis_since(before);
                assert!(waited_ms >= timeout_ms.unwrap_or(30_000), "{waited_ms} of {timeout_ms:?}");
            }
            assert_eq!(
                (error.code.as_str(), error.message.as_str()),
                ("UNAVAILABLE", "TIMEOUT: node invoke timed out")
            );
            let mut details = json!({"nodeError": {"code": "TIMEOUT", "message": "node invoke timed out"}});
            if caller == 4 {
                details["nodeCommandDispatched"] = json!(is_sent);
            }
            assert_eq!(error.details, Some(details));
            let Some(request) = request else { continue };
            if offerer == 4 {
                let cancel = stage.event(node, "node.invoke.cancel");
                assert_eq!(cancel.seq, None);
                assert_eq!(cancel.value(), json!({"invokeId": request["id"], "nodeId": node_id}));
            }
            // Late.
            let told = says(&mut stage, node, &request, json!({"ok": true}));
            assert_eq!(told, json!({"ok": true, "ignored": true}));
            heard_nothing(&mut stage, node);
        }
    }
}

/// `invoke-ends`: the node leaves, with a word or without, or is removed.
pub(crate) fn a_node_that_leaves_is_answered_for_at_once(place: Place) {
    for protocol in PROTOCOLS {
        for way in ["close", "vanish", "remove"] {
            let mut stage = Stage::new(place);
            let operator = admin(&mut stage, protocol);
            let (node, node_id) = node(&mut stage, protocol, operator, &["system.which", "system.notify"]);
            let ids = ["system.which", "system.notify"].map(|command| {
                let id = stage.send(operator, "node.invoke", ask(&node_id, command, json!({})));
                asked(&mut stage, node);
                id
            });
            match way {
                "close" => drop(stage.close(node)),
                "vanish" => stage.vanish(node),
                _ => drop(stage.call(operator, "node.pair.remove", json!({"nodeId": node_id}))),
            }
            if protocol == 3 && way == "remove" {
                // Protocol 3 removes devices.
                stage.call(operator, "device.pair.remove", json!({"deviceId": node_id})).unwrap();
            }
            for (id, command) in ids.iter().zip(["system.which", "system.notify"]) {
                let error = failed(&mut stage, operator, id);
                assert_eq!(error.code, "UNAVAILABLE");
                assert_eq!(error.message, format!("Error: node disconnected ({command})"));
                let details = json!({"code": "NODE_DISCONNECTED", "nodeCommandDispatched": true});
                assert_eq!(error.details, (protocol == 4).then_some(details));
            }
        }
    }
}

/// `invoke-ends`: the caller leaves; the node is told, where it understands that.
pub(crate) fn a_caller_that_leaves_wants_nothing_more(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let (node, node_id) = node(&mut stage, protocol, operator, &["system.which"]);
        let caller = admin(&mut stage, protocol);
        stage.send(caller, "node.invoke", ask(&node_id, "system.which", json!({})));
        let request = asked(&mut stage, node);
        stage.vanish(caller);
        if protocol == 4 {
            let cancel = stage.event(node, "node.invoke.cancel").value();
            assert_eq!(cancel, json!({"invokeId": request["id"], "nodeId": node_id}));
        } else {
            // Nothing tells when the gateway has noticed; the operator's own round trip comes after it in memory.
            stage.pass(50);
            heard_nothing(&mut stage, node);
        }
        let told = says(&mut stage, node, &request, json!({"ok": true}));
        assert_eq!(told, json!({"ok": true, "ignored": true}));
    }
}

/// Answers count from who was asked, about itself.
pub(crate) fn only_the_node_that_was_asked_answers(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let (one, one_id) = node(&mut stage, protocol, operator, &["system.which"]);
        let (other, other_id) = node(&mut stage, protocol, operator, &["system.which"]);
        let id = stage.send(operator, "node.invoke", ask(&one_id, "system.which", json!({})));
        let request = asked(&mut stage, one);
        let ignored = json!({"ok": true, "ignored": true});
        // Another node, about itself and about the one that was asked.
        let mut foreign = request.clone();
        foreign["nodeId"] = json!(other_id);
        assert_eq!(says(&mut stage, other, &foreign, json!({"ok": true})), ignored);
        let params = json!({"id": request["id"], "nodeId": one_id, "ok": true});
        let error = stage.call(other, "node.invoke.result", params).unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("INVALID_REQUEST", "nodeId mismatch"));
        // The one that was asked, about another; and under a name that nobody gave it.
        let params = json!({"id": request["id"], "nodeId": other_id, "ok": true});
        let error = stage.call(one, "node.invoke.result", params).unwrap_err();
        assert_eq!(error.message, "nodeId mismatch");
        let unknown = json!({"id": "unknown", "nodeId": one_id});
        assert_eq!(says(&mut stage, one, &unknown, json!({"ok": true})), ignored);
        let error =
            stage.call(operator, "node.invoke.result", json!({"id": "x", "nodeId": one_id, "ok": true}));
        assert_eq!(error.unwrap_err().message, "unauthorized role: operator");
        // It still waits.
        assert_eq!(says(&mut stage, one, &request, json!({"ok": true, "payload": 5})), json!({"ok": true}));
        assert_eq!(stage.answer(operator, &id).unwrap().into_result().unwrap()["payload"], 5);
    }
}

/// `invoke-ends`: a node that is not ready is asked again, but not once it has begun.
pub(crate) fn a_node_that_is_not_ready_is_asked_again(place: Place) {
    let mut stage = Stage::with(place, |config| {
        if place.is_real() {
            config.limits.invoke_retry_delay_ms = 1;
        }
    });
    let operator = admin(&mut stage, 4);
    let (node, node_id) = node(&mut stage, 4, operator, &["system.which"]);
    let not_ready = json!({"ok": false, "error": {"code": "NODE_NOT_READY", "message": "starting"}});
    let mut params = ask(&node_id, "system.which", json!({"a": 1}));
    params["timeoutMs"] = json!(20_000);
    let id = stage.send(operator, "node.invoke", params.clone());
    let mut names = Vec::new();
    let mut left_ms = 20_001;
    for _ in 0..5 {
        let request = asked(&mut stage, node);
        assert_eq!(request["paramsJSON"], "{\"a\":1}");
        let now_left_ms = request["timeoutMs"].as_u64().unwrap();
        assert!(
            now_left_ms < left_ms || place.is_real(),
            "what is left of the time: {now_left_ms} of {left_ms}"
        );
        left_ms = now_left_ms;
        names.push(request["id"].clone());
        assert_eq!(says(&mut stage, node, &request, not_ready.clone()), json!({"ok": true}));
    }
    names.dedup();
    assert_eq!(names.len(), 5, "each try has a name of its own");
    let error = failed(&mut stage, operator, &id);
    assert_eq!(error.message, "NODE_NOT_READY: starting");
    heard_nothing(&mut stage, node);
    // The third try does it.
    let id = stage.send(operator, "node.invoke", params.clone());
    for _ in 0..2 {
        let request = asked(&mut stage, node);
        says(&mut stage, node, &request, not_ready.clone());
    }
    let request = asked(&mut stage, node);
    says(&mut stage, node, &request, json!({"ok": true, "payload": "done"}));
    assert_eq!(stage.answer(operator, &id).unwrap().into_result().unwrap()["payload"], "done");
    // Who has begun must not begin again.
    let id = stage.send(operator, "node.invoke", params);
    let request = asked(&mut stage, node);
    let progress = json!({"invokeId": request["id"], "nodeId": node_id, "seq": 0, "chunk": "x"});
    let told = stage.call(node, "node.invoke.progress", progress.clone()).unwrap();
    assert_eq!(told, json!({"ok": true, "ignored": true}));
    says(&mut stage, node, &request, not_ready);
    assert_eq!(failed(&mut stage, operator, &id).message, "NODE_NOT_READY: starting");
    let mut foreign = progress;
    foreign["nodeId"] = json!("other");
    let error = stage.call(node, "node.invoke.progress", foreign).unwrap_err();
    assert_eq!(error.message, "nodeId mismatch");
}

/// `invoke-bounds`: sizes.
pub(crate) fn what_is_too_large_for_a_node_is_never_sent(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| {
            config.limits.node_message_bytes_max = 8 * 1024;
            config.limits.message_bytes_max = 64 * 1024;
        });
        let operator = admin(&mut stage, protocol);
        let (node, node_id) = node(&mut stage, protocol, operator, &["system.which"]);
        let error = invoke(&mut stage, operator, ask(&node_id, "system.which", json!("x".repeat(9_000))));
        assert_eq!(
            (error.code.as_str(), error.detail("reason")),
            ("UNAVAILABLE", Some("node-message-too-large"))
        );
        assert!(error.message.contains("limits.nodeMessageBytesMax"), "{}", error.message);
        assert_eq!(error.retryable, Some(false));
        heard_nothing(&mut stage, node);
        let id = stage.send(operator, "node.invoke", ask(&node_id, "system.which", json!("x".repeat(7_000))));
        let request = asked(&mut stage, node);
        // As text and as payload it is there twice.
        says(
            &mut stage,
            node,
            &request,
            json!({"ok": true, "payloadJSON": json!("y".repeat(40_000)).to_string()}),
        );
        let error = failed(&mut stage, operator, &id);
        assert_eq!(error.detail("reason"), Some("node-answer-too-large"));
        assert!(error.message.contains("was carried out"), "{}", error.message);
        let id = stage.send(operator, "node.invoke", ask(&node_id, "system.which", json!({})));
        let request = asked(&mut stage, node);
        let text = json!("y".repeat(20_000)).to_string();
        says(&mut stage, node, &request, json!({"ok": true, "payloadJSON": text}));
        let answer = stage.answer(operator, &id).unwrap().into_result().unwrap();
        assert_eq!(answer["payload"].as_str().map(str::len), Some(20_000));
    }
}

/// `invoke-bounds`: numbers. Each has its own words, and one more goes when one has ended.
pub(crate) fn only_so_many_commands_are_in_flight(place: Place) {
    for (name, setting, others) in [
        ("invokes-full", "limits.invokesMax", true),
        ("node-invokes-full", "limits.invokesPerNodeMax", true),
        ("caller-invokes-full", "limits.invokesPerCallerMax", false),
        ("invokes-full", "limits.invokesBytesMax", true),
    ] {
        let mut stage = Stage::with(place, |config| match setting {
            "limits.invokesMax" => config.limits.invokes_max = 2,
            "limits.invokesPerNodeMax" => config.limits.invokes_per_node_max = 2,
            "limits.invokesPerCallerMax" => config.limits.invokes_per_caller_max = 2,
            _ => config.limits.invokes_bytes_max = 25_000,
        });
        let operator = admin(&mut stage, 4);
        let (node, node_id) = node(&mut stage, 4, operator, &["system.which"]);
        let params = ask(&node_id, "system.which", json!("x".repeat(10_000)));
        let first = stage.send(operator, "node.invoke", params.clone());
        let request = asked(&mut stage, node);
        stage.send(operator, "node.invoke", params.clone());
        asked(&mut stage, node);
        let error = invoke(&mut stage, operator, params.clone());
        assert_eq!((error.code.as_str(), error.detail("reason")), ("UNAVAILABLE", Some(name)), "{setting}");
        assert!(error.message.contains(setting) && error.retryable == Some(true), "{}", error.message);
        let other = admin(&mut stage, 4);
        let id = stage.send(other, "node.invoke", params.clone());
        if others {
            assert_eq!(failed(&mut stage, other, &id).detail("reason"), Some(name));
        } else {
            asked(&mut stage, node);
        }
        says(&mut stage, node, &request, json!({"ok": true}));
        stage.answer(operator, &first).unwrap().into_result().unwrap();
        stage.send(operator, "node.invoke", params);
        asked(&mut stage, node);
    }
}

/// `invoke-bounds`: the queue towards a node that does not read.
pub(crate) fn a_node_that_does_not_read_is_sent_no_more(place: Place) {
    let mut stage = Stage::with(place, |config| config.limits.node_queued_bytes_max = 4 * 1024);
    let operator = admin(&mut stage, 4);
    let (node, node_id) = node(&mut stage, 4, operator, &["system.which"]);
    let error = invoke(&mut stage, operator, ask(&node_id, "system.which", json!("x".repeat(4_096))));
    assert_eq!((error.code.as_str(), error.detail("reason")), ("UNAVAILABLE", Some("node-slow")));
    assert!(error.message.contains("limits.nodeQueuedBytesMax") && error.retryable == Some(true));
    heard_nothing(&mut stage, node);
}

/// `node-exec-approvals`.
pub(crate) fn the_exec_approvals_of_a_node_are_read_and_changed(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let commands = ["system.execApprovals.get", "system.execApprovals.set"];
        let (node, node_id) = node(&mut stage, protocol, operator, &commands);
        let file = json!({"version": 1, "agents": {"*": {"allowlist": [{"pattern": "/bin/ls"}]}}});
        let snapshot = json!({"path": "/p", "exists": true, "hash": "h", "file": file});
        for (method, params, command, told) in [
            ("exec.approvals.node.get", json!({"nodeId": node_id}), commands[0], json!({})),
            (
                "exec.approvals.node.set",
                json!({"nodeId": node_id, "file": file, "baseHash": "b"}),
                commands[1],
                json!({"file": file, "baseHash": "b"}),
            ),
            (
                "exec.approvals.node.set",
                json!({"nodeId": node_id, "file": file}),
                commands[1],
                json!({"file": file}),
            ),
        ] {
            let id = stage.send(operator, method, params);
            let request = asked(&mut stage, node);
            let params: Value = serde_json::from_str(request["paramsJSON"].as_str().unwrap()).unwrap();
            assert_eq!((&request["command"], params), (&json!(command), told));
            assert_eq!(request.get("idempotencyKey"), None);
            assert_eq!(request.get("timeoutMs"), (protocol == 4).then(|| json!(30_000)).as_ref());
            says(&mut stage, node, &request, json!({"ok": true, "payloadJSON": snapshot.to_string()}));
            assert_eq!(stage.answer(operator, &id).unwrap().into_result().unwrap(), snapshot);
        }
        let id = stage.send(operator, "exec.approvals.node.get", json!({"nodeId": node_id}));
        let request = asked(&mut stage, node);
        says(
            &mut stage,
            node,
            &request,
            json!({"ok": false, "error": {"code": "INVALID_REQUEST", "message": "m"}}),
        );
        assert_eq!(failed(&mut stage, operator, &id).message, "INVALID_REQUEST: m");
        // A node that does not offer it is not asked.
        let (bare, bare_id) = self::node(&mut stage, protocol, operator, &["system.which"]);
        let error = stage.call(operator, "exec.approvals.node.get", json!({"nodeId": bare_id})).unwrap_err();
        assert_eq!(error.detail("reason"), Some("command not declared by node"));
        heard_nothing(&mut stage, bare);
    }
}

/// Work in progress keeps a suspension from being ready, and its end is heard.
pub(crate) fn a_drain_waits_for_commands(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 4);
    let (node, node_id) = node(&mut stage, 4, operator, &["system.which"]);
    let id = stage.send(operator, "node.invoke", ask(&node_id, "system.which", json!({})));
    let request = asked(&mut stage, node);
    let prepare = json!({"requestId": "r", "drain": true});
    let held = stage.call(operator, "gateway.suspend.prepare", prepare).unwrap();
    assert_eq!((&held["status"], &held["activeCount"]), (&json!("draining"), &json!(1)));
    let error = invoke(&mut stage, operator, ask(&node_id, "system.which", json!({})));
    assert_eq!(error.detail("reason"), Some("gateway-suspending"));
    assert_eq!(stage.event(operator, "gateway.suspension").value(), json!({"phase": "draining"}));
    says(&mut stage, node, &request, json!({"ok": true}));
    assert!(stage.answer(operator, &id).unwrap().into_result().is_ok());
    assert_eq!(stage.event(operator, "gateway.suspension").value(), json!({"phase": "prepared"}));
}
