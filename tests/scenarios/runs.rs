//! Programs on nodes: what a person allowed is what runs, on that node, for that caller, once.
//!
//! The rows of `docs/compatibility.md` that are held here: `run-exact` and `ask-fallback`.

use super::approvals::approver;
use super::invoke::{ask, asked, failed, node, says};
use super::{ADMIN, PROTOCOLS, admin, asking, speaking};
use clawgate_proto::client::{DeviceKey, ResponseError};
use clawgate_support::{Actor, Place, Stage};
use serde_json::{Value, json};

/// A gateway with somebody who decides, a node that runs programs, and a tool that wants one to run.
struct Cast {
    stage: Stage,
    protocol: u64,
    person: Actor,
    tool: Actor,
    tool_key: DeviceKey,
    node: Actor,
    node_id: String,
}

const TOOL: [&str; 2] = ["operator.write", "operator.approvals"];

impl Cast {
    fn new(place: Place, protocol: u64) -> Self {
        Self::with_usable_ms(place, protocol, 15_000)
    }

    fn with_usable_ms(place: Place, protocol: u64, usable_ms: u64) -> Self {
        let mut stage = Stage::with(place, |config| config.limits.approval_usable_ms = usable_ms);
        let person = approver(&mut stage, protocol, &[ADMIN]);
        let tool_key = stage.key();
        let config = asking(&TOOL, speaking(protocol, stage.client(Some(tool_key.clone()))));
        let (tool, _) = stage.admit(config);
        let (node, node_id) = node(&mut stage, protocol, person, &["system.run", "system.run.prepare"]);
        Self { stage, protocol, person, tool, tool_key, node, node_id }
    }

    /// Somebody is asked about a plan on the node.
    fn request(&mut self, id: &str, more: Value) -> String {
        let mut params = json!({"id": id, "host": "node", "nodeId": self.node_id, "systemRunPlan": plan(), "timeoutMs": 60_000});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let sent = self.stage.send(self.tool, "exec.approval.request", params);
        self.stage.event(self.person, "exec.approval.requested");
        sent
    }

    fn decide(&mut self, id: &str, decision: &str) {
        let params = json!({"id": id, "decision": decision});
        self.stage.call(self.person, "exec.approval.resolve", params).unwrap();
    }

    /// The node runs what it is asked for, and these were its params.
    fn runs(&mut self, params: Value) -> Value {
        let ask = ask(&self.node_id, "system.run", params);
        let id = self.stage.send(self.tool, "node.invoke", ask);
        let request = asked(&mut self.stage, self.node);
        says(&mut self.stage, self.node, &request, json!({"ok": true, "payload": {"exitCode": 0}}));
        let answer = self.stage.answer(self.tool, &id).unwrap().into_result().unwrap();
        assert_eq!(answer["payload"], json!({"exitCode": 0}));
        serde_json::from_str(request["paramsJSON"].as_str().unwrap()).unwrap()
    }

    fn refused(&mut self, params: Value) -> ResponseError {
        let tool = self.tool;
        self.refused_to(tool, params)
    }

    /// The node hears nothing of it.
    fn refused_to(&mut self, who: Actor, params: Value) -> ResponseError {
        let ask = ask(&self.node_id, "system.run", params);
        let id = self.stage.send(who, "node.invoke", ask);
        let error = failed(&mut self.stage, who, &id);
        let heard = self.stage.drain(self.node);
        assert!(!super::event_names(&heard).contains(&"node.invoke.request"), "{heard:?}");
        assert_eq!(error.code, "INVALID_REQUEST");
        error
    }
}

fn plan() -> Value {
    json!({
        "argv": ["/bin/echo", "a b"], "commandText": "/bin/echo \"a b\"", "cwd": "/tmp", "agentId": "main",
        "sessionKey": null,
    })
}

/// A program that claims to have been allowed under that id.
fn claiming(id: &str, more: Value) -> Value {
    let mut params = json!({
        "command": ["/bin/echo", "a b"], "cwd": "/tmp", "agentId": "main", "runId": id, "approved": true,
        "approvalDecision": "allow-once",
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

/// From the preparation to the run, as the command line does it.
pub(crate) fn a_program_that_was_allowed_runs_once(place: Place) {
    for protocol in PROTOCOLS {
        let mut cast = Cast::new(place, protocol);
        let prepare = ask(&cast.node_id, "system.run.prepare", json!({"command": ["echo", "a b"]}));
        let id = cast.stage.send(cast.tool, "node.invoke", prepare);
        let request = asked(&mut cast.stage, cast.node);
        let plan_text = json!({"plan": plan()}).to_string();
        says(&mut cast.stage, cast.node, &request, json!({"ok": true, "payloadJSON": plan_text}));
        let prepared = cast.stage.answer(cast.tool, &id).unwrap().into_result().unwrap();
        assert_eq!(prepared["payload"]["plan"], plan());
        cast.request("run", json!({}));
        cast.decide("run", "allow-once");
        let more = json!({
            "rawCommand": "rm -rf /", "systemRunPlan": {"argv": ["rm"]}, "approvalDecision": "allow-always",
            "security": "full", "timeoutMs": 5_000, "needsScreenRecording": false, "sessionKey": null,
        });
        let told = cast.runs(claiming("run", more));
        let wanted = json!({
            "command": ["/bin/echo", "a b"], "rawCommand": "/bin/echo \"a b\"", "systemRunPlan": plan(), "cwd": "/tmp",
            "agentId": "main", "runId": "run", "timeoutMs": 5_000, "needsScreenRecording": false, "approved": true,
            "approvalDecision": "allow-once",
        });
        assert_eq!(told, wanted, "what was shown, and nothing that the caller says about it");
        let error = cast.refused(claiming("run", json!({})));
        assert_eq!(error.message, "approval required");
        assert_eq!(error.details, Some(json!({"code": "APPROVAL_REQUIRED", "runId": "run"})));
        // What the caller leaves out is as it was decided.
        cast.request("short", json!({}));
        cast.decide("short", "allow-once");
        let told = cast.runs(json!({"runId": "short", "approvalDecision": "allow-once"}));
        assert_eq!((&told["command"], &told["cwd"]), (&json!(["/bin/echo", "a b"]), &json!("/tmp")));
    }
}

/// Allowed from now on is the node's to remember; here it holds for as long as the decision is new.
pub(crate) fn an_allowance_is_good_for_a_moment(place: Place) {
    for protocol in PROTOCOLS {
        let usable_ms = if place.is_real() { 1_500 } else { 15_000 };
        let mut cast = Cast::with_usable_ms(place, protocol, usable_ms);
        cast.request("run", json!({}));
        cast.decide("run", "allow-always");
        for _ in 0..2 {
            assert_eq!(cast.runs(claiming("run", json!({})))["approvalDecision"], "allow-always");
        }
        cast.stage.pass(usable_ms + 100);
        let error = cast.refused(claiming("run", json!({})));
        assert_eq!(error.detail("code"), Some("UNKNOWN_APPROVAL_ID"));
    }
}

/// Nothing on the way in makes the node hear that something was allowed.
pub(crate) fn what_a_caller_says_allows_nothing(place: Place) {
    for protocol in PROTOCOLS {
        let mut cast = Cast::new(place, protocol);
        let said = json!({
            "command": ["ls"], "approved": false, "approvalDecision": "deny", "Approved": true, "security": "full",
            "runId": "none", "env": {"A": "b"},
        });
        assert_eq!(cast.runs(said), json!({"command": ["ls"], "runId": "none", "env": {"A": "b"}}));
        for said in [json!({"approved": true}), json!({"approvalDecision": "allow-always", "runId": "  "})] {
            let error = cast.refused(said);
            assert_eq!(error.message, "approval override requires params.runId");
            assert_eq!(error.details, Some(json!({"code": "MISSING_RUN_ID"})));
        }
        // What is no object has no words in it.
        for said in [json!(["approved"]), json!("approved"), json!(true)] {
            assert_eq!(cast.runs(said.clone()), said);
        }
        let huge = cast.refused(json!({"command": ["x".repeat(70_000)]}));
        assert!(huge.message.contains("65536 bytes in params of system.run"), "{}", huge.message);
    }
}

/// Every row, in its order.
pub(crate) fn every_fault_of_a_claim_has_its_word(place: Place) {
    for protocol in PROTOCOLS {
        let mut cast = Cast::new(place, protocol);
        let is = |error: ResponseError, id: &str, code: &str, message: &str| {
            assert_eq!(error.message, message, "{code}");
            assert_eq!(error.details, Some(json!({"code": code, "runId": id})));
        };
        let unknown = cast.refused(claiming("nobody's", json!({})));
        is(unknown, "nobody's", "UNKNOWN_APPROVAL_ID", "unknown or expired approval id");
        // Undecided, denied.
        cast.request("run", json!({}));
        let error = cast.refused(claiming("run", json!({})));
        is(error, "run", "APPROVAL_REQUIRED", "approval required");
        cast.decide("run", "deny");
        let error = cast.refused(claiming("run", json!({})));
        is(error, "run", "APPROVAL_REQUIRED", "approval required");
        // About a command of the gateway's own machine.
        let params = json!({"id": "local", "command": "ls", "commandArgv": ["ls"], "host": "gateway"});
        cast.stage.send(cast.tool, "exec.approval.request", params);
        cast.stage.event(cast.person, "exec.approval.requested");
        cast.decide("local", "allow-once");
        let error = cast.refused(claiming("local", json!({})));
        is(error, "local", "APPROVAL_NODE_BINDING_MISSING", "approval id missing node binding");
        // Another node, another device.
        cast.request("bound", json!({}));
        cast.decide("bound", "allow-once");
        let (other_node, other_id) = node(&mut cast.stage, cast.protocol, cast.person, &["system.run"]);
        let params = ask(&other_id, "system.run", claiming("bound", json!({})));
        let error = cast.stage.call(cast.tool, "node.invoke", params).unwrap_err();
        is(error, "bound", "APPROVAL_NODE_MISMATCH", "approval id not valid for this node");
        let heard = cast.stage.drain(other_node);
        assert!(!super::event_names(&heard).contains(&"node.invoke.request"));
        let stranger = admin(&mut cast.stage, cast.protocol);
        let error = cast.refused_to(stranger, claiming("bound", json!({})));
        is(error, "bound", "APPROVAL_DEVICE_MISMATCH", "approval id not valid for this device");
        // Another command, folder, agent, session.
        for more in [
            json!({"command": ["/bin/echo", "a", "b"]}),
            json!({"command": ["rm"]}),
            json!({"cwd": "/"}),
            json!({"agentId": "other"}),
            json!({"sessionKey": "other"}),
        ] {
            let error = cast.refused(claiming("bound", more));
            is(error, "bound", "APPROVAL_REQUEST_MISMATCH", "approval id does not match request");
        }
        // Variables.
        let error = cast.refused(claiming("bound", json!({"env": {"A": "b"}})));
        let text = "approval id missing env binding for requested env overrides";
        is(error, "bound", "APPROVAL_ENV_BINDING_MISSING", text);
        cast.request("env", json!({"env": {"A": "b"}}));
        cast.decide("env", "allow-once");
        for env in [json!({"A": "c"}), json!({"A": "b", "C": "d"}), json!({}), json!({"A": 1})] {
            let error = cast.refused(claiming("env", json!({"env": env})));
            is(error, "env", "APPROVAL_ENV_MISMATCH", "approval id env binding mismatch");
        }
        let told = cast.runs(claiming("env", json!({"env": {"A": "b", "LD_PRELOAD": ["x"]}})));
        assert_eq!(told["env"], json!({"A": "b"}), "what is no text was not part of it");
        // None of that used up what was allowed; the same device over another connection may use it.
        let config = asking(&TOOL, speaking(cast.protocol, cast.stage.client(Some(cast.tool_key.clone()))));
        cast.tool = cast.stage.admit(config).0;
        cast.runs(claiming("bound", json!({})));
    }
}

/// Without a device it is the connection that counts.
pub(crate) fn who_asked_without_a_device_is_its_connection(place: Place) {
    let mut cast = Cast::new(place, 4);
    let bare = |stage: &mut Stage| {
        let config = asking(&[ADMIN], speaking(4, stage.client_as("cli", "cli", None)));
        stage.admit(config).0
    };
    cast.tool = bare(&mut cast.stage);
    cast.request("run", json!({}));
    cast.decide("run", "allow-once");
    let other = bare(&mut cast.stage);
    let error = cast.refused_to(other, claiming("run", json!({})));
    assert_eq!(error.message, "approval id not valid for this client");
    assert_eq!(error.details, Some(json!({"code": "APPROVAL_CLIENT_MISMATCH", "runId": "run"})));
    cast.runs(claiming("run", json!({})));
}

/// Nobody decided in time, though a person was there: nothing that the caller says allows it. Compatibility row
/// `ask-fallback`.
pub(crate) fn what_nobody_decided_never_runs(place: Place) {
    for protocol in PROTOCOLS {
        let mut cast = Cast::new(place, protocol);
        let sent = cast.request("run", json!({"timeoutMs": 1}));
        cast.stage.pass(60);
        let answer = cast.stage.answer(cast.tool, &sent).unwrap().into_result().unwrap();
        assert_eq!(answer["decision"], Value::Null);
        for more in [
            json!({}),
            json!({"approved": false}),
            json!({"approvalDecision": "allow-always"}),
            json!({"approvalDecision": null}),
            json!({"askFallback": "full"}),
        ] {
            let error = cast.refused(claiming("run", more));
            assert_eq!(error.detail("code"), Some("APPROVAL_REQUIRED"));
        }
        // What a person did decide still runs.
        cast.request("again", json!({}));
        cast.decide("again", "allow-once");
        assert_eq!(cast.runs(claiming("again", json!({})))["approvalDecision"], "allow-once");
    }
}

/// What people are shown is what runs.
pub(crate) fn the_text_of_a_program_is_its_own(place: Place) {
    for protocol in PROTOCOLS {
        let mut cast = Cast::new(place, protocol);
        let error = cast.refused(json!({"command": ["rm", "-rf"], "rawCommand": "ls"}));
        assert_eq!(error.message, "rawCommand does not match command");
        let details = json!({
            "code": "RAW_COMMAND_MISMATCH", "rawCommand": "ls", "inferred": "rm -rf", "formattedArgv": "rm -rf",
        });
        assert_eq!(error.details, Some(details));
        let error = cast.refused(json!({"rawCommand": "ls"}));
        assert_eq!(error.message, "rawCommand requires params.command");
        assert_eq!(error.details, Some(json!({"code": "MISSING_COMMAND"})));
        let shell = json!({"command": ["sh", "-c", "ls | wc"], "rawCommand": "ls | wc"});
        assert_eq!(cast.runs(shell.clone()), shell);
    }
}

/// A refusal for another reason leaves what was allowed as it is.
pub(crate) fn what_cannot_be_sent_uses_up_nothing(place: Place) {
    let mut cast = Cast::new(place, 4);
    cast.request("run", json!({}));
    cast.decide("run", "allow-once");
    let mut params = ask(&cast.node_id, "system.run", claiming("run", json!({})));
    params["timeoutMs"] = json!(0);
    let error = cast.stage.call(cast.tool, "node.invoke", params).unwrap_err();
    assert_eq!(error.message, "TIMEOUT: node invoke timed out");
    cast.runs(claiming("run", json!({})));
}
