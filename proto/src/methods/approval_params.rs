//! Params of `exec.approval.request`, `plugin.approval.request` and `question.*`, read outside the gateway's lock: what
//! people are shown, and what a later claim to have been allowed must agree with (spec: methods section 8, nodes
//! section 6, v4 section 13).

use super::{Params, approval_shapes as shapes, params};
use crate::approvals::claim::Run;
use crate::approvals::{Binding, Decision, Draft, Kind};
use crate::request::ParamsFault;
use crate::system_run::trusted_inner;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// `exec.approval.request`.
pub(super) fn exec(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    let mut given = params::checked(&shapes::EXEC_REQUEST, raw)?;
    let is_node = given.get("host").and_then(Value::as_str) == Some("node");
    let node_id = line(&given, "nodeId");
    let mut plan = given.remove("systemRunPlan");
    let argv = strings(given.get("commandArgv"));
    if is_node {
        if node_id.is_none() {
            return Err(said("nodeId is required for host=node"));
        }
        if plan.is_none() {
            return Err(said("systemRunPlan is required for host=node"));
        }
        if plan.as_ref().and_then(|plan| plan["argv"].as_array()).is_none_or(Vec::is_empty) {
            return Err(said("commandArgv is required for host=node"));
        }
    }
    let by_plan = plan.as_mut().map(texts_by_argv);
    // What is planned to run on a node is what people see and what is claimed, whatever else was said.
    let planned = plan.as_ref().filter(|_| is_node);
    let of_plan = |name: &str| planned.and_then(|plan| plan[name].as_str()).map(str::to_owned);
    let command = match (line(&given, "command"), &argv) {
        (Some(command), _) if !is_node => command,
        (None, Some(argv)) if !is_node && !argv.is_empty() => command_text(argv),
        (Some(_) | None, _) => by_plan.unwrap_or_else(|| Err(said("command is required")))?,
    };
    let argv = if is_node { planned.and_then(|plan| strings(plan.get("argv"))) } else { argv };
    let cwd = if planned.is_some() { of_plan("cwd") } else { line(&given, "cwd") };
    let agent_id = of_plan("agentId").or_else(|| line(&given, "agentId"));
    let session_key = of_plan("sessionKey").or_else(|| line(&given, "sessionKey"));
    let env = variables(&given);
    let env_hash = (!env.is_empty()).then(|| hash_of(&env));
    let run = argv.clone().filter(|_| is_node).map(|argv| Run {
        argv,
        cwd: cwd.clone(),
        agent_id: agent_id.clone(),
        session_key: session_key.clone(),
        env_hash,
    });
    let binding = run.as_ref().map(|run| {
        json!({"argv": run.argv, "cwd": run.cwd, "agentId": run.agent_id, "sessionKey": run.session_key,
            "envHash": run.env_hash})
    });
    let mut request = Map::new();
    request.insert("command".into(), command.into());
    if let Some(preview) = of_plan("commandPreview") {
        request.insert("commandPreview".into(), preview.into());
    }
    if let Some(argv) = argv.filter(|_| !is_node) {
        request.insert("commandArgv".into(), argv.into());
    }
    if !env.is_empty() {
        request.insert("envKeys".into(), env.keys().cloned().collect());
    }
    request.insert("systemRunBinding".into(), binding.unwrap_or_default());
    request.insert("systemRunPlan".into(), planned.cloned().unwrap_or_default());
    request.insert("cwd".into(), cwd.into());
    for name in ["nodeId", "host", "security", "ask"] {
        request.insert(name.into(), line(&given, name).into());
    }
    request.insert("agentId".into(), agent_id.into());
    request.insert("resolvedPath".into(), line(&given, "resolvedPath").into());
    request.insert("sessionKey".into(), session_key.into());
    put_turn_source(&mut request, &mut given);
    for name in ["warningText", "scope", "commandSpans", "sessionId", "runId", "toolCallId"] {
        if let Some(value) = given.remove(name).filter(|value| !value.is_null()) {
            request.insert(name.into(), value);
        }
    }
    let is_allowed = |decision: &Decision| {
        *decision != Decision::AllowAlways || !given.contains_key("unavailableDecisions")
    };
    let allowed: Vec<Decision> = Decision::ALL.into_iter().filter(is_allowed).collect();
    put_allowed(&mut request, &allowed);
    let binding = run.map(|run| Binding { node_id, run });
    Ok(asked(Kind::Exec, given, request, allowed, binding))
}

/// `plugin.approval.request`.
pub(super) fn plugin(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    let mut given = params::checked(&shapes::PLUGIN_REQUEST, raw)?;
    let wanted = strings(given.get("allowedDecisions"));
    let is_allowed = |decision: &Decision| {
        // Whoever is asked can always say no.
        let is_wanted = |wanted: &Vec<String>| wanted.iter().any(|name| name == decision.as_str());
        *decision == Decision::Deny || wanted.as_ref().is_none_or(is_wanted)
    };
    let allowed: Vec<Decision> = Decision::ALL.into_iter().filter(is_allowed).collect();
    let mut request = Map::new();
    for name in
        ["pluginId", "title", "description", "severity", "toolName", "toolCallId", "agentId", "sessionKey"]
    {
        request.insert(name.into(), given.get(name).cloned().unwrap_or_default());
    }
    if request["severity"].is_null() {
        request.insert("severity".into(), "warning".into());
    }
    put_turn_source(&mut request, &mut given);
    for name in ["detail", "scope", "mcpTool"] {
        if let Some(value) = given.remove(name).filter(|value| !value.is_null()) {
            request.insert(name.into(), value);
        }
    }
    put_allowed(&mut request, &allowed);
    Ok(asked(Kind::Plugin, given, request, allowed, None))
}

/// `question.request`.
pub(super) fn question(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    let mut given = params::checked(&shapes::QUESTION_REQUEST, raw)?;
    let questions = given.get("questions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut ids: Vec<&str> =
        questions.iter().filter_map(|question| question["questionId"].as_str()).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(said(&format!("invalid question.request params: questionId {} stands twice", pair[0])));
    }
    if questions.iter().any(|question| question.get("secretStore").is_some()) {
        let text = "invalid question.request params: this gateway has no store of secrets to put an answer in; \
                    ask without secretStore";
        return Err(said(text));
    }
    let mut request = Map::new();
    for name in ["questions", "agentId", "sessionKey", "runId"] {
        if let Some(value) = given.remove(name) {
            request.insert(name.into(), value);
        }
    }
    Ok(asked(Kind::Question, given, request, Vec::new(), None))
}

/// `question.resolve`: with answers, or without any.
pub(super) fn question_resolve(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    let given = params::small(raw)?;
    let shape =
        if given.get("cancel").is_some() { &shapes::QUESTION_CANCEL } else { &shapes::QUESTION_ANSWER };
    params::object(shape, raw)
}

/// `exec.approval.waitDecision`, `plugin.approval.waitDecision`: an id is needed, and nothing else is looked at.
pub(super) fn id_open(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    let mut given = params::small(raw)?;
    let id = given.get_mut("id").map(Value::take).unwrap_or_default();
    match id.as_str().map(str::trim) {
        None | Some("") => Err(said("id is required")),
        Some(id) => Ok(Params::RequestId(id.to_owned())),
    }
}

fn asked(
    kind: Kind,
    mut given: Map<String, Value>,
    request: Map<String, Value>,
    allowed: Vec<Decision>,
    binding: Option<Binding>,
) -> Params {
    Params::Ask(Box::new(Draft {
        id: params::text(&mut given, "id"),
        kind,
        request: Value::Object(request),
        allowed,
        reviewers: strings(given.get("approvalReviewerDeviceIds")).into_iter().flatten().collect(),
        binding,
        // A shape let it in, so it is whole; it may be written `5.0`.
        timeout_ms: given.get("timeoutMs").and_then(Value::as_f64).map(|ms| ms as u64),
        two_phase: given.get("twoPhase") == Some(&Value::Bool(true)),
    }))
}

fn put_turn_source(request: &mut Map<String, Value>, given: &mut Map<String, Value>) {
    for name in ["turnSourceChannel", "turnSourceTo", "turnSourceAccountId", "turnSourceThreadId"] {
        request.insert(name.into(), given.remove(name).unwrap_or_default());
    }
}

fn put_allowed(request: &mut Map<String, Value>, allowed: &[Decision]) {
    let names: Value = allowed.iter().map(|decision| decision.as_str()).collect();
    request.insert("allowedDecisions".into(), names);
}

/// The variables as they are hashed: by their names.
fn variables(given: &Map<String, Value>) -> BTreeMap<String, String> {
    let members = given.get("env").and_then(Value::as_object).into_iter().flatten();
    members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// SHA-256, in hex, of `[[NAME,value],...]` in the order of the names.
pub(crate) fn hash_of(env: &BTreeMap<String, String>) -> String {
    let pairs: Vec<(&String, &String)> = env.iter().collect();
    let text = json!(pairs).to_string();
    let mut out = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// A command as people read it: arguments with white space or quotes in them, and empty ones, stand in quotes.
pub(crate) fn command_text(argv: &[String]) -> String {
    let mut out = String::new();
    for argument in argv {
        if !out.is_empty() {
            out.push(' ');
        }
        if argument.is_empty() || argument.contains(|c: char| c.is_whitespace() || c == '"') {
            let _ = write!(out, "\"{}\"", argument.replace('"', "\\\""));
        } else {
            out.push_str(argument);
        }
    }
    out
}

/// Puts into a plan, in the place of the texts that came with it, what its arguments say: the whole command, so that
/// whoever decides sees the path of the program, and for a shell that is told to run one text that text.
///
/// # Errors
/// Nothing is planned, or the plan's text is that of another command.
fn texts_by_argv(plan: &mut Value) -> Result<String, ParamsFault> {
    let said_text = plan["commandText"].as_str().map(str::trim).unwrap_or_default();
    if said_text.is_empty() {
        return Err(said("command is required"));
    }
    let argv = strings(plan.get("argv")).unwrap_or_default();
    let text = command_text(&argv);
    let inner = trusted_inner(&argv);
    if said_text != text && inner.is_none_or(|inner| inner.trim() != said_text) {
        return Err(ParamsFault::Coded {
            code: "RAW_COMMAND_MISMATCH",
            message: "systemRunPlan.commandText does not match systemRunPlan.argv; prepare the command again on the node",
        });
    }
    plan["commandText"] = text.clone().into();
    match inner {
        Some(inner) => plan["commandPreview"] = inner.into(),
        None if plan.get("commandPreview").is_some() => plan["commandPreview"] = Value::Null,
        None => {}
    }
    Ok(text)
}

/// A text that says something.
fn line(given: &Map<String, Value>, name: &str) -> Option<String> {
    let text = given.get(name)?.as_str()?;
    (!text.trim().is_empty()).then(|| text.to_owned())
}

fn strings(value: Option<&Value>) -> Option<Vec<String>> {
    Some(value?.as_array()?.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
}

fn said(message: &str) -> ParamsFault {
    ParamsFault::Message(message.into())
}
