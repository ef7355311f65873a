//! Every method of both protocols against a real gateway, in memory. What is expected is data beside this file,
//! transcribed from the specification and not from the gateway's own table; where the gateway differs on purpose, a
//! list here names the row of `docs/compatibility.md` that says so.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod expected;

use clawgate_proto::client::{ClientConfig, Hello, ResponseError};
use clawgate_proto::limits::Limits;
use clawgate_support::{Actor, Place, Stage};
use expected::{Answer, Expected, Needs, satisfies};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Differences from the protocol 3 table that are on purpose: the method, what differs, the row that says why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("config.schema", "scope", "method-scopes"),
    ("talk.mode", "scope", "method-scopes"),
    ("agent", "scope", "method-scopes"),
    ("node.invoke", "scope", "method-scopes"),
    ("sessions.patch", "scope", "method-scopes"),
    ("sessions.delete", "scope", "method-scopes"),
    ("talk.config", "scope", "method-scopes"),
];
/// `no-canvas`: where there is none, these are refused in their own words, and nobody is told that they work.
const REFUSED: &[&str] =
    &["node.canvas.capability.refresh", "node.pluginSurface.refresh", "plugin.surface.refresh"];
/// Rows that other tests here lean on.
const ROWS: &[&str] = &[
    "method-scopes",
    "methods-unavailable",
    "methods-advertised",
    "control-writes",
    "validation-texts",
    "node-lists",
    "empty-lists",
    "no-canvas",
];

/// Peers with one scope each, with none, with all; and a node.
struct Cast {
    stage: Stage,
    by_scope: BTreeMap<&'static str, Actor>,
    node: Actor,
    hello: Hello,
}

impl Cast {
    fn new(protocol: u64) -> Self {
        Self::with_writes(protocol, Limits::default().control_writes_max)
    }

    /// With so many control-plane writes a minute.
    fn with_writes(protocol: u64, max: u32) -> Self {
        let mut stage = Stage::with(Place::Simulated, |config| config.limits.control_writes_max = max);
        stage.host().set_system_info(r#"{"machineName":"m"}"#);
        stage.host().set_log("");
        stage.host().edit_config(Some("{}"));
        let mut by_scope = BTreeMap::new();
        for scope in expected::SCOPES {
            by_scope.insert(*scope, operator(&mut stage, protocol, &[scope]).0);
        }
        by_scope.insert("", operator(&mut stage, protocol, &[]).0);
        let hello = operator(&mut stage, protocol, &["admin"]).1;
        let key = stage.key();
        let config = speaking(protocol, stage.client_as("node-host", "node", Some(key)));
        let node = stage.admit(ClientConfig { role: "node".to_owned(), scopes: Vec::new(), ..config }).0;
        Self { stage, by_scope, node, hello }
    }

    fn call(&mut self, actor: Actor, method: &str, params: &Value) -> Result<Value, ResponseError> {
        self.stage.call(actor, method, params.clone())
    }

    /// A call of an admin, or of the node, that nothing but the method itself refuses.
    fn allowed(&mut self, expected: &Expected, params: &Value) -> Result<Value, ResponseError> {
        let actor = if expected.needs == Needs::Node { self.node } else { self.by_scope["admin"] };
        let answer = self.call(actor, expected.name, params);
        self.after_a_while(expected);
        answer
    }

    /// Control-plane writes have a budget, which is another test's.
    fn after_a_while(&mut self, expected: &Expected) {
        if expected.control_write {
            self.stage.pass(61_000);
        }
    }
}

fn speaking(protocol: u64, config: ClientConfig) -> ClientConfig {
    ClientConfig { min_protocol: protocol, max_protocol: protocol, ..config }
}

/// The command line is not tracked in presence, so that many peers are no many events.
fn operator(stage: &mut Stage, protocol: u64, scopes: &[&str]) -> (Actor, Hello) {
    let key = stage.key();
    let config = speaking(protocol, stage.client_as("cli", "cli", Some(key)));
    let scopes = scopes.iter().map(|scope| format!("operator.{scope}")).collect();
    stage.admit(ClientConfig { scopes, ..config })
}

fn missing_scope(protocol: u64, method: &str, error: &ResponseError, required: &[&str], missing: &str) {
    let missing = format!("operator.{missing}");
    assert_eq!(error.message, format!("missing scope: {missing}"), "{method}");
    if protocol == 3 {
        assert_eq!((error.code.as_str(), &error.details), ("INVALID_REQUEST", &None), "{method}");
    } else {
        let required: Vec<String> = required.iter().map(|scope| format!("operator.{scope}")).collect();
        let details = json!({"code": "MISSING_SCOPE", "missingScope": missing, "requiredScopes": required});
        assert_eq!((error.code.as_str(), error.details.as_ref()), ("FORBIDDEN", Some(&details)), "{method}");
    }
}

fn is_refused(error: &ResponseError) -> bool {
    ["missing scope", "unauthorized role", "unknown method"]
        .iter()
        .any(|text| error.message.starts_with(text))
}

#[test]
fn every_method_admits_exactly_the_scopes_it_should() {
    let calls = expected::calls();
    for protocol in [3, 4] {
        let mut cast = Cast::new(protocol);
        let methods = expected::methods(protocol);
        assert!(methods.len() > 100);
        for expected in &methods {
            for (params, required) in calls.of(expected) {
                for (scope, actor) in cast.by_scope.clone() {
                    let answer = cast.call(actor, expected.name, &params);
                    let error = answer.as_ref().err();
                    if expected.needs == Needs::Node {
                        let error = error.unwrap_or_else(|| panic!("{} is not for operators", expected.name));
                        assert_eq!(error.message, "unauthorized role: operator", "{}", expected.name);
                        assert_eq!(error.code, "INVALID_REQUEST");
                        assert!(cast.call(actor, "health", &json!({})).is_ok());
                        continue;
                    }
                    let by_session = calls.by_session(expected.name, &required);
                    let lacks = required.iter().find(|wanted| !satisfies(scope, wanted));
                    let admits_session = by_session.is_some_and(|wanted| satisfies(scope, wanted));
                    match (lacks, error) {
                        (Some(lacks), error) if !admits_session => {
                            let error = error
                                .unwrap_or_else(|| panic!("{scope:?} may call {} {params}", expected.name));
                            missing_scope(protocol, expected.name, error, &required, lacks);
                        }
                        (_, Some(error)) => {
                            assert!(
                                !is_refused(error),
                                "{} {params} as {scope}: {}",
                                expected.name,
                                error.message
                            );
                        }
                        (_, None) => {}
                    }
                }
                cast.after_a_while(expected);
            }
        }
    }
}

#[test]
fn a_node_may_call_what_is_for_nodes_and_nothing_else() {
    for protocol in [3, 4] {
        let mut cast = Cast::new(protocol);
        for expected in expected::methods(protocol) {
            let node = cast.node;
            let answer = cast.call(node, expected.name, &json!({}));
            if expected.needs == Needs::Node || expected.name == "health" {
                assert!(!answer.as_ref().is_err_and(is_refused), "{}: {answer:?}", expected.name);
            } else {
                let error = answer.unwrap_err();
                assert_eq!(error.message, "unauthorized role: node", "{}", expected.name);
                assert_eq!((error.code.as_str(), error.details), ("INVALID_REQUEST", None));
                assert!(cast.call(node, "health", &json!({})).is_ok(), "ten such in a row would be too many");
            }
        }
    }
}

/// `methods-unavailable`: what is not in the list of answers is refused by name, in both protocols.
#[test]
fn every_method_is_answered_or_refused_by_name() {
    let answers = expected::answers();
    for protocol in [3, 4] {
        let mut cast = Cast::new(protocol);
        let methods = expected::methods(protocol);
        let names: BTreeSet<&str> = methods.iter().map(|method| method.name).collect();
        for expected in &methods {
            let ours: Vec<&Answer> =
                answers.iter().filter(|answer| answer.is(expected.name, protocol)).collect();
            if ours.is_empty() {
                let error = cast.allowed(expected, &json!({})).unwrap_err();
                assert_eq!(error.code, "UNAVAILABLE", "{}: {}", expected.name, error.message);
                assert_eq!(error.message, format!("{} is not available on this gateway", expected.name));
                assert_eq!(error.retryable, Some(false));
                let details = json!({"reason": "feature-unavailable", "method": expected.name});
                assert_eq!(error.details, Some(details));
                continue;
            }
            for answer in ours {
                match cast.allowed(expected, &answer.params) {
                    Ok(payload) => {
                        assert_eq!(answer.outcome, "ok", "{}", expected.name);
                        // A JSON schema has words of its own that begin so.
                        let left = payload.to_string().contains('$') && expected.name != "config.schema";
                        assert!(!left, "{}: a word was not filled in", expected.name);
                    }
                    Err(error) => assert_eq!(error.message, answer.outcome, "{}", expected.name),
                }
            }
        }
        for answer in answers.iter().filter(|answer| answer.protocols.contains(&protocol)) {
            assert!(names.contains(answer.name), "{} is no method of protocol {protocol}", answer.name);
        }
    }
}

/// `methods-advertised`: hello-ok names what works, and leaves out what the reference hides.
#[test]
fn what_hello_names_is_what_works() {
    let answers = expected::answers();
    for protocol in [3, 4] {
        let cast = Cast::new(protocol);
        let named: BTreeSet<&str> = cast.hello.0["features"]["methods"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        let works = |name: &str| answers.iter().any(|answer| answer.is(name, protocol));
        let wanted: BTreeSet<&str> = expected::methods(protocol)
            .into_iter()
            .filter(|method| !method.hidden && works(method.name) && !REFUSED.contains(&method.name))
            .map(|method| method.name)
            .collect();
        assert_eq!(named, wanted);
    }
}

/// `validation-texts`: unknown members are refused in protocol 4's words, unless the params are open.
#[test]
fn params_are_checked_as_each_method_says() {
    for protocol in [3, 4] {
        let mut cast = Cast::new(protocol);
        let methods = expected::methods(protocol);
        for answer in expected::answers().iter().filter(|answer| answer.protocols.contains(&protocol)) {
            let expected = methods.iter().find(|method| method.name == answer.name).unwrap();
            let mut params = answer.params.clone();
            let Some(members) = params.as_object_mut() else { continue };
            members.insert("zzz".to_owned(), json!(1));
            let error = cast.allowed(expected, &params).err();
            // Where the params were wrong already, the member is one fault more.
            let fault = "at root: unexpected property 'zzz'";
            let wrong = match answer.outcome.starts_with("invalid ") {
                true => format!("{}; {fault}", answer.outcome),
                false => format!("invalid {} params: {fault}", answer.name),
            };
            if answer.is_open {
                assert_eq!(error.map_or("ok".to_owned(), |error| error.message), answer.outcome);
                continue;
            }
            let error = error.unwrap_or_else(|| panic!("{} takes anything", answer.name));
            assert_eq!((error.code.as_str(), error.message.as_str()), ("INVALID_REQUEST", wrong.as_str()));
            for params in [json!([]), json!(5), json!("x")] {
                let error = cast.allowed(expected, &params).unwrap_err();
                assert_eq!(error.message, format!("invalid {} params: must be object", answer.name));
            }
        }
    }
}

/// `control-writes`: which methods have a budget, and that failing calls are held against it. With a small budget, so
/// that all methods can be tried.
#[test]
fn control_plane_writes_have_a_budget() {
    const MAX: u32 = 2;
    for protocol in [3, 4] {
        let mut cast = Cast::with_writes(protocol, MAX);
        let v3 = expected::methods(3);
        let shared: Vec<&str> = v3.iter().filter(|row| row.control_write).map(|row| row.name).collect();
        let v4 = expected::methods(4);
        for expected in expected::methods(protocol) {
            if expected.needs == Needs::Node {
                continue;
            }
            let is_write =
                expected.control_write || v4.iter().any(|row| row.name == expected.name && row.control_write);
            let is_shared = protocol == 3 && shared.contains(&expected.name);
            let max = if is_shared { 3 } else { MAX };
            let admin = operator(&mut cast.stage, protocol, &["admin"]).0;
            for nth in 0..=max {
                // Failing calls count: the budget is taken before params are looked at.
                let error = cast.call(admin, expected.name, &json!({"zzz": nth})).err();
                let is_limited = error.as_ref().is_some_and(|error| error.message.starts_with("rate limit"));
                assert_eq!(is_limited, is_write && nth == max, "{} at {nth}: {error:?}", expected.name);
                let Some(error) = error.filter(|_| is_limited) else { continue };
                let name = expected.name;
                assert_eq!(error.message, format!("rate limit exceeded for {name}; retry after 60s"));
                assert_eq!((error.code.as_str(), error.retryable), ("UNAVAILABLE", Some(true)));
                let details = json!({"method": name, "limit": format!("{max} per 60s")});
                assert_eq!(error.details, Some(details));
                assert!(error.retry_after_ms.is_some_and(|ms| (59_000..=60_000).contains(&ms)), "{error:?}");
            }
            cast.stage.close(admin);
        }
    }
}

/// `control-writes`: 30 a minute for each method and device; protocol 3's three share 3.
#[test]
fn the_budgets_are_those_of_the_references() {
    let is_limited = |error: &ResponseError| error.message.starts_with("rate limit");
    for protocol in [3, 4] {
        let mut cast = Cast::new(protocol);
        let admin = cast.by_scope["admin"];
        // A write in protocol 4 alone counts on a protocol 3 connection as well.
        for method in ["cron.add", "cron.remove"] {
            for nth in 0..=30 {
                let error = cast.call(admin, method, &json!({})).unwrap_err();
                assert_eq!(is_limited(&error), nth == 30, "{method} at {nth}");
                assert!(nth < 30 || error.detail("limit") == Some("30 per 60s"));
            }
        }
        let shared = ["config.apply", "config.patch", "update.run"];
        // One window for all three, another for each device.
        if protocol == 3 {
            let limited = |error: ResponseError| is_limited(&error);
            let (one, two) =
                (operator(&mut cast.stage, 3, &["admin"]).0, operator(&mut cast.stage, 3, &["admin"]).0);
            let outcomes: Vec<bool> = [(one, 0), (one, 1), (one, 2), (one, 0), (two, 1)]
                .map(|(actor, nth)| cast.call(actor, shared[nth], &json!({})).is_err_and(limited))
                .to_vec();
            assert_eq!(outcomes, [false, false, false, true, false]);
            cast.stage.pass(61_000);
            assert!(!cast.call(one, shared[0], &json!({})).is_err_and(limited));
        }
    }
}

/// `node-lists`: every list of nodes is the device store's.
#[test]
fn nodes_are_paired_devices_with_that_role() {
    for protocol in [3, 4] {
        let mut cast = Cast::new(protocol);
        let admin = cast.by_scope["admin"];
        let list = cast.call(admin, "node.list", &json!({})).unwrap();
        let nodes = list["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 1, "operators are no nodes: {list}");
        let row = &nodes[0];
        assert_eq!((&row["paired"], &row["connected"]), (&json!(true), &json!(true)));
        assert_eq!((&row["caps"], &row["commands"]), (&json!([]), &json!([])));
        let id = row["nodeId"].as_str().unwrap().to_owned();
        let one = cast.call(admin, "node.describe", &json!({"nodeId": id})).unwrap();
        assert_eq!((&one["nodeId"], one["ts"].is_u64()), (&json!(id), true));
        let pairs = cast.call(admin, "node.pair.list", &json!({})).unwrap();
        // It offers nothing, so nobody was asked about anything.
        assert_eq!(pairs, json!({"pending": [], "paired": []}));
        // An operator's device is no node.
        let devices = cast.call(admin, "device.pair.list", &json!({})).unwrap();
        let mut others = devices["paired"].as_array().unwrap().iter().filter(|row| row["deviceId"] != id);
        let params = json!({"nodeId": others.next().unwrap()["deviceId"]});
        let error = cast.call(admin, "node.describe", &params).unwrap_err();
        assert_eq!(error.message, "unknown nodeId");
        let node = cast.node;
        cast.stage.close(node);
        let list = cast.call(admin, "node.list", &json!({})).unwrap();
        assert_eq!(list["nodes"][0]["connected"], false);
    }
}

/// `empty-lists`: what is filled in, and who is shown a path.
#[test]
fn empty_lists_name_what_was_asked_for() {
    for protocol in [3, 4] {
        let mut cast = Cast::new(protocol);
        let (admin, reader) = (cast.by_scope["admin"], cast.by_scope["read"]);
        for (actor, path) in
            [(admin, "/home/gw/.openclaw/cron/jobs.json"), (reader, "[redacted]/cron/jobs.json")]
        {
            let status = cast.call(actor, "cron.status", &json!({})).unwrap();
            assert_eq!((&status["storePath"], &status["enabled"]), (&json!(path), &json!(false)));
        }
        let jobs = cast.call(reader, "cron.list", &json!({"limit": 7.0, "offset": 3})).unwrap();
        assert_eq!((&jobs["limit"], &jobs["offset"], &jobs["jobs"]), (&json!(7), &json!(3), &json!([])));
        let odd = "a\"b$ts\\";
        let history = cast.call(reader, "chat.history", &json!({"sessionKey": odd})).unwrap();
        assert_eq!((&history["sessionKey"], &history["messages"]), (&json!(odd), &json!([])));
        assert_eq!(history["thinkingLevel"].is_string(), protocol == 3);
        let preview = cast.call(reader, "sessions.preview", &json!({"keys": vec!["k"; 70]})).unwrap();
        assert_eq!(preview["previews"].as_array().map(Vec::len), Some(64));
        let usage = cast.call(reader, "sessions.usage", &json!({})).unwrap();
        assert_eq!((&usage["startDate"], &usage["endDate"]), (&json!("2026-12-17"), &json!("2027-01-15")));
        if protocol == 4 {
            let list = cast.call(reader, "sessions.subscribe", &json!({"limit": 2})).unwrap();
            assert_eq!((&list["subscribed"], &list["list"]["limitApplied"]), (&json!(true), &json!(2)));
            assert_eq!(
                cast.call(reader, "sessions.subscribe", &json!({})).unwrap(),
                json!({"subscribed": true})
            );
            let replay = json!({"key": "main", "includeApprovals": true});
            let replay = cast.call(reader, "sessions.messages.subscribe", &replay).unwrap();
            assert_eq!(replay["key"], "agent:main:main");
            assert_eq!(replay["approvalReplay"]["sessionKey"], "agent:main:main");
            for (actor, role) in [(admin, "admin"), (reader, "viewer")] {
                let members = json!({"sessionKey": "main"});
                assert_eq!(cast.call(actor, "session.members.list", &members).unwrap()["role"], role);
            }
            let delta = json!({"sessionKey": "main", "cursor": "c"});
            assert_eq!(cast.call(reader, "chat.history", &delta).unwrap(), json!({"kind": "reset"}));
            let error = cast.call(reader, "cron.get", &json!({"jobId": "zz"})).unwrap_err();
            assert_eq!(error.details, Some(json!({"code": "CRON_JOB_NOT_FOUND", "jobId": "zz"})));
        }
    }
}

#[test]
fn differences_are_rows_of_the_compatibility_page() {
    let page = include_str!("../../docs/compatibility.md");
    for row in ROWS.iter().chain(DIFFERENCES.iter().map(|(_, _, row)| row)) {
        assert!(page.contains(&format!("| `{row}` |")), "{row} is no row of docs/compatibility.md");
    }
    // A scope that differs between the two tables is on the list, and nothing else is.
    let v4 = expected::methods(4);
    for expected in expected::table(expected::V3, 3) {
        let now = v4.iter().find(|row| row.name == expected.name);
        let differs = now.is_some_and(|now| now.needs != expected.needs);
        let is_listed = DIFFERENCES.iter().any(|(name, what, _)| (*name, *what) == (expected.name, "scope"));
        assert_eq!(differs, is_listed, "{}", expected.name);
    }
}
