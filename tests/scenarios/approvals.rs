//! Approvals of commands and plugins: who is asked, who may decide, what an asker hears and when it ends.
//!
//! Rows of `docs/compatibility.md` that are held here: `approval-sight`, `approval-asked`, `approval-memory`,
//! `approval-ids`, `approval-own`, `approval-bounds`, `approval-again`, `approval-text`, `no-standing-grants`,
//! `exec-approvals-set`.

use super::{ADMIN, PROTOCOLS, admin, asking, event_names, speaking};
use clawgate_proto::client::{ClientConfig, ClientEvent, DeviceKey, ResponseError};
use clawgate_proto::host::Document;
use clawgate_support::{Actor, Place, Stage};
use serde_json::{Value, json};

const APPROVALS: &str = "operator.approvals";

/// Somebody who sits before a page that shows requests.
pub(crate) fn approver(stage: &mut Stage, protocol: u64, scopes: &[&str]) -> Actor {
    let key = stage.key();
    approver_on(stage, protocol, scopes, &key)
}

fn approver_on(stage: &mut Stage, protocol: u64, scopes: &[&str], key: &DeviceKey) -> Actor {
    let config = asking(scopes, speaking(protocol, stage.client(Some(key.clone()))));
    stage.admit(ClientConfig { caps: vec!["approvals".to_owned()], ..config }).0
}

/// A tool that asks, and shows nothing to anybody.
fn asker(stage: &mut Stage, protocol: u64) -> Actor {
    let key = stage.key();
    let config = asking(&[APPROVALS], speaking(protocol, stage.client(Some(key))));
    stage.admit(config).0
}

fn is_unknown(error: &ResponseError, protocol: u64) {
    assert_eq!(error.code, "INVALID_REQUEST");
    assert_eq!(error.message, "unknown or expired approval id");
    let reason = (protocol == 4).then_some("APPROVAL_NOT_FOUND");
    assert_eq!(error.detail("reason"), reason);
}

/// Answers to one request, in order.
fn answer(stage: &mut Stage, actor: Actor, id: &str) -> Value {
    stage.answer(actor, id).unwrap().into_result().unwrap()
}

/// Nothing about approvals has come to this client.
fn heard_nothing(stage: &mut Stage, actor: Actor) {
    let heard = stage.drain(actor);
    assert!(!event_names(&heard).iter().any(|name| name.contains("approval")), "{heard:?}");
}

pub(crate) fn a_command_is_approved_in_two_phases(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let person = approver(&mut stage, protocol, &[ADMIN]);
        let tool = asker(&mut stage, protocol);
        let ask = json!({"id": "one", "command": "ls -la", "timeoutMs": 60_000, "twoPhase": true});
        let asked = stage.send(tool, "exec.approval.request", ask);
        let accepted = answer(&mut stage, tool, &asked);
        assert_eq!((&accepted["status"], &accepted["id"]), (&json!("accepted"), &json!("one")));
        let life_ms = accepted["expiresAtMs"].as_u64().unwrap() - accepted["createdAtMs"].as_u64().unwrap();
        assert_eq!(life_ms, 60_000);
        let route = (protocol == 4).then(|| json!("approval-client"));
        assert_eq!(accepted.get("deliveryRoute"), route.as_ref());
        let shown = stage.event(person, "exec.approval.requested");
        assert!(shown.seq.is_some());
        let shown = shown.value();
        assert_eq!((&shown["id"], &shown["request"]["command"]), (&json!("one"), &json!("ls -la")));
        assert_eq!(shown["request"].get("allowedDecisions").is_some(), protocol == 4);
        assert_eq!(shown.get("approvalKind").is_some(), protocol == 4);
        let waits = stage.send(tool, "exec.approval.waitDecision", json!({"id": "one"}));
        // A request that waits keeps nothing else waiting.
        stage.call(tool, "health", json!({})).unwrap();
        let decide = json!({"id": "one", "decision": "allow-once"});
        assert_eq!(stage.call(person, "exec.approval.resolve", decide).unwrap(), json!({"ok": true}));
        let told = stage.event(person, "exec.approval.resolved").value();
        assert_eq!((&told["decision"], &told["resolvedBy"]), (&json!("allow-once"), &json!("test")));
        assert_eq!(told["request"], shown["request"]);
        let ended = answer(&mut stage, tool, &asked);
        let times = json!([accepted["createdAtMs"], accepted["expiresAtMs"]]);
        let wanted =
            json!({"id": "one", "decision": "allow-once", "createdAtMs": times[0], "expiresAtMs": times[1]});
        assert_eq!(ended, wanted);
        let mut decision = answer(&mut stage, tool, &waits);
        let reason = decision.as_object_mut().unwrap().remove("terminalReason");
        assert_eq!((decision, reason), (wanted, (protocol == 4).then(|| json!("user"))));
        // The asker is asked only where it could not say otherwise.
        let heard = stage.drain(tool);
        let names = event_names(&heard);
        let is_told = names.contains(&"exec.approval.requested") && names.contains(&"exec.approval.resolved");
        assert_eq!(is_told, protocol == 3, "{names:?}");
    }
}

/// `approval-sight`, `approval-asked`.
pub(crate) fn only_who_may_decide_is_asked_and_finds_anything(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let person = approver(&mut stage, protocol, &[ADMIN]);
        let key = stage.key();
        let config = asking(&[], speaking(protocol, stage.client_as("node-host", "node", Some(key))));
        let node = ClientConfig { role: "node".to_owned(), caps: vec!["approvals".to_owned()], ..config };
        let node = stage.admit(node).0;
        let others = [
            approver(&mut stage, protocol, &["operator.read", "operator.write", "operator.pairing"]),
            approver(&mut stage, protocol, &[]),
            approver(&mut stage, protocol, &[APPROVALS]),
            node,
        ];
        // An admin whose client shows no requests may decide, and is asked only where it could not say so.
        let tool = admin(&mut stage, protocol);
        let asked = stage.send(tool, "exec.approval.request", json!({"id": "one", "command": "ls"}));
        stage.event(person, "exec.approval.requested");
        let decide = json!({"id": "one", "decision": "allow-once"});
        for (at, other) in others.into_iter().enumerate() {
            let error = stage.call(other, "exec.approval.resolve", decide.clone()).unwrap_err();
            match at {
                2 => is_unknown(&error, protocol),
                3 => assert_eq!(error.message, "unauthorized role: node"),
                _ => assert_eq!(error.message, "missing scope: operator.approvals"),
            }
            heard_nothing(&mut stage, other);
        }
        let blind = others[2];
        let waited = stage.call(blind, "exec.approval.waitDecision", json!({"id": "one"})).unwrap_err();
        assert_eq!(waited.message, "approval expired or not found");
        if protocol == 4 {
            assert_eq!(stage.call(blind, "exec.approval.list", json!({})).unwrap(), json!([]));
            let list = stage.call(person, "exec.approval.list", json!({})).unwrap();
            assert_eq!((list[0]["id"].as_str(), list.as_array().unwrap().len()), (Some("one"), 1));
            let details = stage.call(person, "exec.approval.get", json!({"id": "one"})).unwrap();
            assert_eq!((&details["commandText"], &details["nodeId"]), (&json!("ls"), &Value::Null));
            assert_eq!(details["allowedDecisions"], json!(["allow-once", "allow-always", "deny"]));
            for method in ["exec.approval.get", "approval.get"] {
                is_unknown(&stage.call(blind, method, json!({"id": "one"})).unwrap_err(), protocol);
            }
        }
        stage.call(person, "exec.approval.resolve", json!({"id": "one", "decision": "deny"})).unwrap();
        assert_eq!(answer(&mut stage, tool, &asked)["decision"], "deny");
        heard_nothing(&mut stage, blind);
        let error = stage.call(person, "exec.approval.resolve", json!({"id": "one", "decision": "maybe"}));
        assert_eq!(error.unwrap_err().message, "invalid decision");
    }
}

pub(crate) fn a_reviewer_is_named_by_its_device(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let (named, own) = (stage.key(), stage.key());
        let reviewer = approver_on(&mut stage, protocol, &[APPROVALS], &named);
        let other = approver(&mut stage, protocol, &[APPROVALS]);
        let config = asking(&[APPROVALS], speaking(protocol, stage.client(Some(own.clone()))));
        let tool = stage.admit(config).0;
        let same_device = approver_on(&mut stage, 7 - protocol, &[APPROVALS], &own);
        let ask = json!({"command": "ls", "approvalReviewerDeviceIds": [named.device_id()]});
        let asked = stage.send(tool, "exec.approval.request", ask);
        let id = stage.event(reviewer, "exec.approval.requested").value()["id"].clone();
        assert_eq!(stage.event(same_device, "exec.approval.requested").value()["id"], id);
        assert_eq!(id.as_str().unwrap().len(), 36);
        let decide = json!({"id": id, "decision": "allow-always"});
        assert_eq!(stage.call(reviewer, "exec.approval.resolve", decide).unwrap(), json!({"ok": true}));
        assert_eq!(answer(&mut stage, tool, &asked)["decision"], "allow-always");
        stage.event(same_device, "exec.approval.resolved");
        heard_nothing(&mut stage, other);
    }
}

/// `approval-asked`.
pub(crate) fn what_reaches_nobody_ends_at_once_at_protocol_4(place: Place) {
    let mut stage = Stage::new(place);
    // Neither one that shows nothing, nor the asker itself, nor one that is asked about plugins only.
    admin(&mut stage, 4);
    let key = stage.key();
    let config = speaking(4, stage.client(Some(key)));
    stage.admit(ClientConfig { caps: vec!["plugin-approvals".to_owned()], ..config });
    let tool = approver(&mut stage, 4, &[ADMIN]);
    let ask = json!({"id": "x", "command": "ls", "twoPhase": true, "sessionKey": "s"});
    let ended = stage.call(tool, "exec.approval.request", ask).unwrap();
    assert_eq!((&ended["decision"], ended.get("status")), (&Value::Null, None));
    let waited = stage.call(tool, "exec.approval.waitDecision", json!({"id": "x"})).unwrap();
    assert_eq!((&waited["decision"], &waited["terminalReason"]), (&Value::Null, &json!("no-route")));
    for decision in ["allow-once", "deny"] {
        let decide = json!({"id": "x", "decision": decision});
        let error = stage.call(tool, "exec.approval.resolve", decide).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str(), error.detail("reason")),
            ("INVALID_REQUEST", "approval already resolved", Some("APPROVAL_ALREADY_RESOLVED"))
        );
    }
    let kept = stage.call(tool, "approval.get", json!({"id": "x"})).unwrap()["approval"].take();
    assert_eq!(
        (&kept["status"], &kept["reason"], &kept["decision"]),
        (&json!("denied"), &json!("no-route"), &json!("deny"))
    );
    assert_eq!(
        (&kept["source"], &kept["resolver"]),
        (&json!({"sessionKey": "s"}), &json!({"kind": "system"}))
    );
    // A plugin's request reaches the other one.
    let plugin = json!({"title": "t", "description": "d", "timeoutMs": 60_000, "twoPhase": true});
    assert_eq!(stage.call(tool, "plugin.approval.request", plugin).unwrap()["status"], "accepted");
}

/// `approval-own`: who asks does not allow, whatever it holds, and may take back what it asked for.
pub(crate) fn nobody_allows_what_it_asked_for_itself(place: Place) {
    let mut stage = Stage::new(place);
    let person = approver(&mut stage, 4, &[ADMIN]);
    let plugin = json!({"title": "t", "description": "d", "timeoutMs": 60_000});
    let command = json!({"command": "ls"});
    for tool in [approver(&mut stage, 4, &[ADMIN]), asker(&mut stage, 4)] {
        for (kind, ask) in [("exec", &command), ("plugin", &plugin)] {
            let asked = stage.send(tool, &format!("{kind}.approval.request"), ask.clone());
            let id = stage.event(person, &format!("{kind}.approval.requested")).value()["id"].clone();
            for (method, decision) in
                [("resolve", "allow-once"), ("resolve", "allow-always"), ("any", "allow-once")]
            {
                let (method, params) = match method {
                    "any" => {
                        ("approval.resolve".to_owned(), json!({"id": id, "kind": kind, "decision": decision}))
                    }
                    _ => (format!("{kind}.approval.{method}"), json!({"id": id, "decision": decision})),
                };
                let error = stage.call(tool, &method, params).unwrap_err();
                assert_eq!(
                    (error.code.as_str(), error.detail("reason")),
                    ("INVALID_REQUEST", Some("APPROVAL_OWN_REQUEST"))
                );
            }
            // It still waits for somebody else, who decides.
            let decide = json!({"id": id, "decision": "allow-once"});
            assert_eq!(
                stage.call(person, &format!("{kind}.approval.resolve"), decide).unwrap(),
                json!({"ok": true})
            );
            assert_eq!(answer(&mut stage, tool, &asked)["decision"], "allow-once");
            // Or until it is taken back.
            let asked = stage.send(tool, &format!("{kind}.approval.request"), ask.clone());
            let id = stage.event(person, &format!("{kind}.approval.requested")).value()["id"].clone();
            let deny = json!({"id": id, "decision": "deny"});
            assert_eq!(
                stage.call(tool, &format!("{kind}.approval.resolve"), deny).unwrap(),
                json!({"ok": true})
            );
            assert_eq!(answer(&mut stage, tool, &asked)["decision"], "deny");
            stage.drain(person);
        }
    }
    // At protocol 3 the asker is asked like everybody, and may be alone.
    let alone = approver(&mut stage, 3, &[ADMIN]);
    let asked = stage.send(alone, "exec.approval.request", json!({"id": "x", "command": "ls"}));
    stage.event(alone, "exec.approval.requested");
    let decide = json!({"id": "x", "decision": "allow-once"});
    assert_eq!(stage.call(alone, "exec.approval.resolve", decide).unwrap(), json!({"ok": true}));
    assert_eq!(answer(&mut stage, alone, &asked)["decision"], "allow-once");
}

pub(crate) fn what_nobody_decides_ends_at_its_deadline(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let person = approver(&mut stage, protocol, &[ADMIN]);
        let tool = asker(&mut stage, protocol);
        let asked =
            stage.send(tool, "exec.approval.request", json!({"id": "x", "command": "ls", "timeoutMs": 300}));
        stage.event(person, "exec.approval.requested");
        // Whoever could have decided is gone: it ends all the same.
        stage.vanish(person);
        let ended = answer(&mut stage, tool, &asked);
        assert_eq!(ended["decision"], Value::Null);
        let waited = stage.call(tool, "exec.approval.waitDecision", json!({"id": "x"})).unwrap();
        let reason = (protocol == 4).then(|| json!("timeout"));
        assert_eq!((&waited["decision"], waited.get("terminalReason")), (&Value::Null, reason.as_ref()));
        let late = admin(&mut stage, protocol);
        let decide = json!({"id": "x", "decision": "allow-once"});
        let error = stage.call(late, "exec.approval.resolve", decide).unwrap_err();
        assert_eq!(error.message, "approval already resolved");
        if protocol == 4 {
            let kept = stage.call(late, "approval.get", json!({"id": "x"})).unwrap()["approval"].take();
            assert_eq!(
                (&kept["status"], &kept["reason"], kept.get("decision")),
                (&json!("expired"), &json!("timeout"), None)
            );
        }
    }
}

/// `approval-again`.
pub(crate) fn of_two_who_decide_the_first_counts(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let first = approver(&mut stage, protocol, &[ADMIN]);
        let second = approver(&mut stage, 7 - protocol, &[ADMIN]);
        let tool = asker(&mut stage, protocol);
        let asked = stage.send(tool, "exec.approval.request", json!({"id": "x", "command": "ls"}));
        for actor in [first, second] {
            stage.event(actor, "exec.approval.requested");
        }
        let allow = json!({"id": "x", "decision": "allow-once"});
        let sent = [
            (first, stage.send(first, "exec.approval.resolve", allow.clone())),
            (second, stage.send(second, "exec.approval.resolve", json!({"id": "x", "decision": "deny"}))),
        ];
        let outcomes: Vec<bool> = sent
            .iter()
            .map(|(actor, id)| match stage.answer(*actor, id).unwrap().into_result() {
                Ok(ok) => ok == json!({"ok": true}),
                Err(error) => {
                    assert_eq!(error.message, "approval already resolved");
                    let reason = error.detail("reason");
                    assert!(reason.is_none_or(|reason| reason == "APPROVAL_ALREADY_RESOLVED"));
                    false
                }
            })
            .collect();
        assert!(outcomes[0] != outcomes[1], "one decision counts");
        let decision = if outcomes[0] { "allow-once" } else { "deny" };
        assert_eq!(answer(&mut stage, tool, &asked)["decision"], decision);
        for actor in [first, second] {
            assert_eq!(stage.event(actor, "exec.approval.resolved").value()["decision"], decision);
            let again = json!({"id": "x", "decision": decision});
            assert_eq!(stage.call(actor, "exec.approval.resolve", again).unwrap(), json!({"ok": true}));
            heard_nothing(&mut stage, actor);
        }
        // Nobody is answered twice.
        let more = stage.drain(tool);
        assert!(!more.iter().any(|event| matches!(event, ClientEvent::Response(_))), "{more:?}");
    }
}

pub(crate) fn an_asker_that_comes_back_hears_the_decision(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let person = approver(&mut stage, protocol, &[ADMIN]);
        let key = stage.key();
        let config = asking(&[APPROVALS], speaking(protocol, stage.client(Some(key.clone()))));
        let tool = stage.admit(config.clone()).0;
        stage.send(tool, "exec.approval.request", json!({"id": "x", "command": "ls"}));
        stage.send(tool, "exec.approval.waitDecision", json!({"id": "x"}));
        stage.event(person, "exec.approval.requested");
        stage.vanish(tool);
        let back = stage.admit(config).0;
        let waits = stage.send(back, "exec.approval.waitDecision", json!({"id": "x"}));
        stage.call(back, "health", json!({})).unwrap();
        let decide = json!({"id": "x", "decision": "allow-once"});
        stage.call(person, "exec.approval.resolve", decide).unwrap();
        assert_eq!(answer(&mut stage, back, &waits)["decision"], "allow-once");
        let again = stage.call(back, "exec.approval.waitDecision", json!({"id": "x"})).unwrap();
        assert_eq!(again["decision"], "allow-once");
    }
}

pub(crate) fn as_much_of_an_id_as_is_needed_is_enough(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let person = approver(&mut stage, protocol, &[ADMIN]);
        let tool = asker(&mut stage, protocol);
        for id in ["Ab-1", "ab-2", "ab-3", "ab-4", "c"] {
            stage.send(tool, "exec.approval.request", json!({"id": id, "command": "ls"}));
            stage.event(person, "exec.approval.requested");
        }
        let mut resolve =
            |id: &str| stage.call(person, "exec.approval.resolve", json!({"id": id, "decision": "deny"}));
        let error = resolve("AB").unwrap_err();
        let wanted = "ambiguous approval id prefix; matches: Ab-1, ab-2, ab-3 (+1 more). Use the full id.";
        assert_eq!(error.message, wanted);
        assert!(resolve("aB-1").is_ok() && resolve("C").is_ok());
        is_unknown(&resolve("d").unwrap_err(), protocol);
        is_unknown(&resolve(" ").unwrap_err(), protocol);
        assert!(resolve("ab-2").is_ok());
    }
}

/// `approval-ids`.
pub(crate) fn what_is_asked_must_say_what_runs(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let person = approver(&mut stage, protocol, &[ADMIN]);
        let tool = asker(&mut stage, protocol);
        let plan = |argv: Value| {
            json!({"argv": argv, "cwd": "/", "commandText": "/bin/ls -l", "commandPreview": "list", "agentId": "main",
                "sessionKey": null})
        };
        let node = |plan: Value| json!({"host": "node", "nodeId": "n", "systemRunPlan": plan});
        for (ask, message) in [
            (json!({}), "command is required"),
            (json!({"command": " "}), "command is required"),
            (json!({"host": "node", "command": "ls"}), "nodeId is required for host=node"),
            (
                json!({"host": "node", "nodeId": "n", "command": "ls"}),
                "systemRunPlan is required for host=node",
            ),
            (node(plan(json!([]))), "commandArgv is required for host=node"),
            (
                json!({"command": 5, "zzz": 1}),
                "invalid exec.approval.request params: at root: unexpected property 'zzz'; at /command: must be string",
            ),
        ] {
            let error = stage.call(tool, "exec.approval.request", ask).unwrap_err();
            assert_eq!((error.code.as_str(), error.message.as_str()), ("INVALID_REQUEST", message));
        }
        // What runs on a node is what was planned, whatever else is said about it.
        let mut ask = node(plan(json!(["/bin/ls", "-l"])));
        for (name, value) in [("id", "x"), ("command", "rm -rf /"), ("cwd", "/home"), ("agentId", "other")] {
            ask[name] = json!(value);
        }
        ask["env"] = json!({"B": "2", "A": "1"});
        stage.send(tool, "exec.approval.request", ask.clone());
        let request = stage.event(person, "exec.approval.requested").value()["request"].take();
        let hash = "b520ef3fdba6b3bf44b4f861557837d41373b19d5667a5ad2e9b0b46f1f3baf1";
        assert_eq!(request["systemRunBinding"]["envHash"], hash, "SHA-256 of [[\"A\",\"1\"],[\"B\",\"2\"]]");
        let shown =
            json!([request["command"], request["commandPreview"], request["cwd"], request["agentId"]]);
        assert_eq!(shown, json!(["/bin/ls -l", null, "/", "main"]));
        assert_eq!((&request["envKeys"], request.get("commandArgv")), (&json!(["A", "B"]), None));
        assert!(!request.to_string().contains("\"2\""), "values of variables are not shown");
        assert_eq!(request["systemRunBinding"]["argv"], json!(["/bin/ls", "-l"]));
        // An id belongs to what was shown under it.
        let error = stage.call(tool, "exec.approval.request", ask.clone()).unwrap_err();
        assert_eq!(error.message, "approval id already pending");
        stage.call(person, "exec.approval.resolve", json!({"id": "x", "decision": "allow-once"})).unwrap();
        let error = stage.call(tool, "exec.approval.request", ask).unwrap_err();
        assert_eq!(error.message, "approval id already used; a new request needs a new id");
        // Without a plan, the arguments are shown as a line.
        let ask = json!({"commandArgv": ["echo", "a b", "", "\""], "unavailableDecisions": ["allow-always"], "id": "y"});
        stage.send(tool, "exec.approval.request", ask);
        let request = stage.event(person, "exec.approval.requested").value()["request"].take();
        assert_eq!(request["command"], r#"echo "a b" "" "\"""#);
        let decide = json!({"id": "y", "decision": "allow-always"});
        let error = stage.call(person, "exec.approval.resolve", decide).unwrap_err();
        assert_eq!(error.message, "allow-always is not offered by this request; see its allowedDecisions");
        stage.call(person, "exec.approval.resolve", json!({"id": "y", "decision": "deny"})).unwrap();
    }
}

/// `approval-text`.
pub(crate) fn who_decides_reads_the_program_that_runs(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let person = approver(&mut stage, protocol, &[ADMIN]);
        let tool = asker(&mut stage, protocol);
        let ask = |id: &str, argv: &[&str], text: &str, preview: Value| {
            json!({"id": id, "host": "node", "nodeId": "n", "systemRunPlan": {
                "argv": argv, "cwd": null, "commandText": text, "commandPreview": preview, "agentId": null, "sessionKey": null}})
        };
        // The text of another command is nobody's to read.
        for (argv, text) in [
            (&["/bin/rm", "-rf", "/srv"][..], "ls"),
            (&["/bin/rm", "a", "b"], "/bin/rm a"),
            (&["/bin/rm", "a b"], "/bin/rm a b"),
            (&["/tmp/sh", "-c", "ls"], "ls"),
            (&["/bin/../tmp/sh", "-c", "ls"], "ls"),
            (&["/bin/sh", "-c", "rm -rf /srv"], "ls"),
            (&["/bin/sh", "-c", "ls", "x"], "ls"),
        ] {
            let error =
                stage.call(tool, "exec.approval.request", ask("no", argv, text, Value::Null)).unwrap_err();
            let code = (error.code.as_str(), error.detail("code"));
            assert_eq!(code, ("INVALID_REQUEST", Some("RAW_COMMAND_MISMATCH")), "{argv:?} as {text}");
        }
        heard_nothing(&mut stage, person);
        // Of what is true, all is shown, and a preview is what the system's shell is told, not what the asker says.
        for (nth, (argv, text, wanted, preview)) in [
            (&["/bin/rm", "a b"][..], "/bin/rm \"a b\"", "/bin/rm \"a b\"", Value::Null),
            (&["/tmp/sh", "-c", "ls"], "/tmp/sh -c ls", "/tmp/sh -c ls", Value::Null),
            (&["/bin/sh", "-c", "ls | wc"], "ls | wc", "/bin/sh -c \"ls | wc\"", json!("ls | wc")),
            (&["/bin/sh", "-c", "ls"], "/bin/sh -c ls", "/bin/sh -c ls", json!("ls")),
        ]
        .into_iter()
        .enumerate()
        {
            let asked = stage.send(
                tool,
                "exec.approval.request",
                ask(&nth.to_string(), argv, text, json!("harmless")),
            );
            let event = stage.event(person, "exec.approval.requested").value();
            let request = &event["request"];
            assert_eq!(
                (&request["command"], &request["commandPreview"]),
                (&json!(wanted), &preview),
                "{argv:?}"
            );
            let plan = &request["systemRunPlan"];
            assert_eq!(
                (&plan["commandText"], &plan["commandPreview"]),
                (&json!(wanted), &preview),
                "{argv:?}"
            );
            assert!(!event.to_string().contains("harmless"), "{event}");
            stage
                .call(person, "exec.approval.resolve", json!({"id": nth.to_string(), "decision": "deny"}))
                .unwrap();
            answer(&mut stage, tool, &asked);
        }
        // A plan that is for no node says what it would run in the same words.
        let mut other = ask("other", &["/bin/rm", "x"], "ls", Value::Null);
        other["host"] = json!("gateway");
        let error = stage.call(tool, "exec.approval.request", other).unwrap_err();
        assert_eq!(error.detail("code"), Some("RAW_COMMAND_MISMATCH"));
    }
}

pub(crate) fn a_plugin_asks_as_well(place: Place) {
    let mut stage = Stage::new(place);
    let person = approver(&mut stage, 4, &[ADMIN]);
    let old = approver(&mut stage, 3, &[ADMIN]);
    let tool = asker(&mut stage, 4);
    let ask = json!({"title": "Send", "description": "mail", "pluginId": "mail", "allowedDecisions": ["allow-once"],
        "toolName": "send", "scope": {"kind": "message-send", "target": "all", "recipientCount": 3}, "timeoutMs": 60_000});
    let asked = stage.send(tool, "plugin.approval.request", ask);
    let shown = stage.event(person, "plugin.approval.requested").value();
    let id = shown["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("plugin:"), "{id}");
    let request = &shown["request"];
    assert_eq!((&shown["approvalKind"], &request["title"]), (&json!("plugin"), &json!("Send")));
    assert_eq!(
        (&request["severity"], &request["allowedDecisions"]),
        (&json!("warning"), &json!(["allow-once", "deny"]))
    );
    assert_eq!(stage.call(person, "plugin.approval.list", json!({})).unwrap(), json!([shown]));
    // It is none of the commands.
    assert_eq!(stage.call(person, "exec.approval.list", json!({})).unwrap(), json!([]));
    let decide = json!({"id": id, "decision": "allow-once"});
    is_unknown(&stage.call(person, "exec.approval.resolve", decide.clone()).unwrap_err(), 4);
    let other_kind = json!({"id": id, "kind": "exec", "decision": "allow-once"});
    is_unknown(&stage.call(person, "approval.resolve", other_kind).unwrap_err(), 4);
    let waits = stage.send(tool, "plugin.approval.waitDecision", json!({"id": id}));
    assert_eq!(stage.call(person, "plugin.approval.resolve", decide).unwrap(), json!({"ok": true}));
    assert_eq!(stage.event(person, "plugin.approval.resolved").value()["decision"], "allow-once");
    assert_eq!(answer(&mut stage, tool, &asked)["decision"], "allow-once");
    assert_eq!(answer(&mut stage, tool, &waits)["terminalReason"], "user");
    let kept = stage.call(person, "approval.get", json!({"id": id})).unwrap()["approval"].take();
    assert_eq!(kept["urlPath"], format!("/approve/{}", id.replace(':', "%3A")));
    assert_eq!(
        (&kept["presentation"]["kind"], &kept["presentation"]["pluginId"]),
        (&json!("plugin"), &json!("mail"))
    );
    // Protocol 3 has no such approvals.
    heard_nothing(&mut stage, old);
}

/// `approval-memory`, `no-standing-grants`.
pub(crate) fn what_was_decided_is_remembered(place: Place) {
    let mut stage = Stage::with(place, |config| config.limits.approvals_kept_max = 4);
    let person = approver(&mut stage, 4, &[ADMIN]);
    let tool = asker(&mut stage, 4);
    let other = approver(&mut stage, 4, &[APPROVALS]);
    for nth in 0..5 {
        let ask = json!({"id": format!("x{nth}"), "command": "ls", "agentId": "main", "twoPhase": true});
        stage.call(tool, "exec.approval.request", ask).unwrap();
        let pending = stage.call(person, "approval.get", json!({"id": format!("x{nth}")})).unwrap();
        assert_eq!(pending["approval"]["status"], "pending");
        let decide = json!({"id": format!("x{nth}"), "kind": "exec", "decision": "allow-once", "grantExpiresInDays": 9});
        let done = stage.call(person, "approval.resolve", decide.clone()).unwrap();
        assert_eq!((&done["applied"], &done["approval"]["status"]), (&json!(true), &json!("allowed")));
        assert_eq!(done["approval"]["resolver"]["kind"], "device");
        // Whoever comes late is told what counts.
        let late = json!({"id": format!("x{nth}"), "kind": "exec", "decision": "deny"});
        let late = stage.call(person, "approval.resolve", late).unwrap();
        assert_eq!((&late["applied"], &late["approval"]), (&json!(false), &done["approval"]));
    }
    let page = |stage: &mut Stage, actor, params: Value| -> (Vec<String>, Value) {
        let page = stage.call(actor, "approval.history", params).unwrap();
        let ids =
            page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
        (ids.collect(), page["nextCursor"].clone())
    };
    let (all, next) = page(&mut stage, person, json!({}));
    assert_eq!((all, next), (["x4", "x3", "x2", "x1"].map(str::to_owned).to_vec(), Value::Null));
    let (first, next) = page(&mut stage, person, json!({"limit": 3}));
    assert_eq!(first, ["x4", "x3", "x2"]);
    let (second, end) = page(&mut stage, person, json!({"limit": 3, "cursor": next}));
    assert_eq!((second, end), (vec!["x1".to_owned()], Value::Null));
    assert_eq!(page(&mut stage, person, json!({"kind": "plugin"})).0, Vec::<String>::new());
    assert_eq!(page(&mut stage, other, json!({})).0, Vec::<String>::new(), "others have no part in it");
    assert_eq!(page(&mut stage, tool, json!({"kind": "exec"})).0.len(), 4, "the asker has");
    let error = stage.call(person, "approval.history", json!({"cursor": "odd"})).unwrap_err();
    assert_eq!(error.message, "unknown cursor of approval.history; start again without one");
    is_unknown(&stage.call(person, "approval.get", json!({"id": "x0"})).unwrap_err(), 4);
    let revoked = stage.call(person, "exec.approval.grants.revoke", json!({"grantId": "g"})).unwrap();
    assert_eq!(revoked, json!({"outcome": "not-found"}));
    let grants = stage.call(person, "exec.approval.grants.list", json!({})).unwrap();
    assert_eq!(grants, json!({"grants": []}));
}

/// `approval-bounds`.
pub(crate) fn only_so_many_ask_and_wait(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| {
            config.limits.approvals_pending_per_device_max = 2;
            config.limits.approval_waits_per_peer_max = 3;
        });
        let person = approver(&mut stage, protocol, &[ADMIN]);
        let tool = asker(&mut stage, protocol);
        for id in ["a", "b"] {
            stage.send(tool, "exec.approval.request", json!({"id": id, "command": "ls"}));
        }
        let error =
            stage.call(tool, "exec.approval.request", json!({"id": "c", "command": "ls"})).unwrap_err();
        assert_eq!((error.code.as_str(), error.detail("reason")), ("UNAVAILABLE", Some("approvals-full")));
        stage.send(tool, "exec.approval.waitDecision", json!({"id": "a"}));
        let error = stage.call(tool, "exec.approval.waitDecision", json!({"id": "a"})).unwrap_err();
        assert_eq!((error.code.as_str(), error.detail("reason")), ("UNAVAILABLE", Some("approvals-waiting")));
        let error =
            stage.call(tool, "exec.approval.request", json!({"id": "c", "command": "ls"})).unwrap_err();
        assert_eq!(error.detail("reason"), Some("approvals-waiting"));
        for _ in ["a", "b"] {
            stage.event(person, "exec.approval.requested");
        }
        stage.call(person, "exec.approval.resolve", json!({"id": "a", "decision": "deny"})).unwrap();
        stage.send(tool, "exec.approval.request", json!({"id": "c", "command": "ls"}));
        assert_eq!(stage.event(person, "exec.approval.requested").value()["id"], "c");
    }
}

/// `exec-approvals-set`.
pub(crate) fn the_file_is_changed_on_top_of_what_was_read(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let none = stage.call(operator, "exec.approvals.get", json!({})).unwrap();
        assert_eq!(none["exists"], false);
        let file = json!({"version": 1, "agents": {"main": {"allowlist": [{"pattern": "/bin/ls"}]}}});
        let set = stage.call(operator, "exec.approvals.set", json!({"file": file})).unwrap();
        assert_eq!((&set["exists"], &set["path"]), (&json!(true), &none["path"]));
        let id = set["file"]["agents"]["main"]["allowlist"][0]["id"].as_str().unwrap();
        assert_eq!(id.len(), 36);
        let stored = stage.host().content(Document::ExecApprovals).unwrap();
        assert!(String::from_utf8(stored).unwrap().contains(id), "it is durable");
        assert_eq!(stage.call(operator, "exec.approvals.get", json!({})).unwrap(), set);
        let mut change = |base: Option<&Value>| {
            let mut params = json!({"file": {"version": 1, "defaults": {"security": "full"}}});
            if let Some(base) = base {
                params["baseHash"] = base.clone();
            }
            stage.call(operator, "exec.approvals.set", params)
        };
        let error = change(None).unwrap_err();
        let required = "exec approvals base hash required; re-run exec.approvals.get and retry";
        assert_eq!((error.code.as_str(), error.message.as_str()), ("INVALID_REQUEST", required));
        let error = change(Some(&none["hash"])).unwrap_err();
        assert_eq!(
            error.message,
            "exec approvals changed since last load; re-run exec.approvals.get and retry"
        );
        let after = change(Some(&set["hash"])).unwrap();
        assert_eq!(after["file"]["defaults"], json!({"security": "full"}));
        assert_ne!(after["hash"], set["hash"]);
        let reader = approver(&mut stage, protocol, &[APPROVALS]);
        let error = stage.call(reader, "exec.approvals.set", json!({"file": {"version": 1}})).unwrap_err();
        assert_eq!(error.message, "missing scope: operator.admin");
        let error = stage.call(operator, "exec.approvals.set", json!({"file": {"version": 2}})).unwrap_err();
        assert_eq!(
            error.message,
            "invalid exec.approvals.set params: at /file/version: must be equal to constant"
        );
    }
}

pub(crate) fn a_failed_write_leaves_the_file_as_it_is(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 4);
    let text = r#"{"version":1,"socket":{"path":"/s","token":"hush"},"mine":5}"#;
    stage.host().edit(Document::ExecApprovals, text);
    let before = stage.call(operator, "exec.approvals.get", json!({})).unwrap();
    let change = json!({"file": {"version": 1, "defaults": {"ask": "off"}}, "baseHash": before["hash"]});
    stage.host().fail_next_write("disk full");
    let error = stage.call(operator, "exec.approvals.set", change.clone()).unwrap_err();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("UNAVAILABLE", "disk full"));
    assert_eq!(stage.call(operator, "exec.approvals.get", json!({})).unwrap(), before);
    // Somebody else was there in between, and left what it was.
    stage.host().conflict_next_write();
    let after = stage.call(operator, "exec.approvals.set", change).unwrap();
    assert_eq!(after["file"]["socket"], json!({"path": "/s"}));
    let stored: Value =
        serde_json::from_slice(&stage.host().content(Document::ExecApprovals).unwrap()).unwrap();
    assert_eq!((&stored["socket"]["token"], &stored["mine"]), (&json!("hush"), &json!(5)));
    stage.host().edit(Document::ExecApprovals, "{broken");
    let change = json!({"file": {"version": 1}, "baseHash": "x"});
    assert!(stage.call(operator, "exec.approvals.set", change).is_err());
    assert_eq!(stage.host().content(Document::ExecApprovals).unwrap(), b"{broken");
}

pub(crate) fn only_so_many_changes_of_the_file_wait(place: Place) {
    if place.is_real() {
        return; // a driver's host answers as it likes
    }
    let mut stage = Stage::with(place, |config| config.limits.exec_approvals_queue_max = 2);
    let operator = admin(&mut stage, 4);
    stage.hold_host(true);
    let change = json!({"file": {"version": 1}});
    let sent: Vec<String> =
        (0..2).map(|_| stage.send(operator, "exec.approvals.set", change.clone())).collect();
    let error = stage.call(operator, "exec.approvals.set", change).unwrap_err();
    assert_eq!((error.code.as_str(), error.detail("reason")), ("UNAVAILABLE", Some("store-busy")));
    stage.hold_host(false);
    assert!(stage.answer(operator, &sent[0]).unwrap().into_result().is_ok());
    let second = stage.answer(operator, &sent[1]).unwrap().into_result().unwrap_err();
    assert!(second.message.starts_with("exec approvals base hash required"), "the first made the file");
}

pub(crate) fn a_stop_waits_for_no_decision(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let person = approver(&mut stage, protocol, &[ADMIN]);
        let tool = asker(&mut stage, protocol);
        stage.send(tool, "exec.approval.request", json!({"command": "ls"}));
        stage.event(person, "exec.approval.requested");
        stage.stop();
        assert_eq!(stage.closed(tool), (1012, "service restart".to_owned()));
        assert!(stage.has_stopped());
    }
}
