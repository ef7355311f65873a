//! Answers that tell of things this gateway has none of: texts from `dialect::lists` with a few words filled in, and
//! those that depend on what was asked (spec: methods sections 5 to 11, v4 sections 9.3 and 12).

use super::{Call, Gateway};
use crate::dialect::lists::{self, Text};
use crate::error::RequestError;
use crate::frame::Payload;
use crate::methods::Params;
use crate::output::{Output, Reply};
use crate::scope;
use crate::time::{Wall, date};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Answers with the text of the peer's dialect.
pub(crate) fn text(gateway: &mut Gateway, call: Call, text: Text, out: &mut Vec<Output>) {
    let Some(session) = gateway.peers.session(call.conn) else { return };
    let template = text.by_dialect[session.dialect.index()];
    let bytes = if template.contains('$') {
        match fill(gateway, &call, template) {
            Ok(filled) => Bytes::from(filled),
            Err(error) => return gateway.fail(call.conn, call.id, &error, out),
        }
    } else {
        Bytes::from_static(template.as_bytes())
    };
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Json(bytes)), out);
}

fn fill(gateway: &Gateway, call: &Call, template: &str) -> Result<String, RequestError> {
    let none = Map::new();
    let params = object(&call.params).unwrap_or(&none);
    let admin =
        gateway.peers.session(call.conn).is_some_and(|session| session.scopes.satisfies(scope::ADMIN));
    let mut out = String::with_capacity(template.len() + 64);
    let mut parts = template.split('$');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let length = part.bytes().take_while(u8::is_ascii_lowercase).count();
        let (word, rest) = part.split_at(length);
        match word {
            "agent" => only_agent(params)?,
            "begin" => {
                let month_ago = Wall(call.now.wall.0.saturating_sub(29 * DAY_MS));
                push_json(&mut out, text_of(params, "startDate").unwrap_or(&date(month_ago)));
            }
            "canonical" => push_json(&mut out, &canonical(key(params))),
            "days" => {
                let asked = params.get("days").and_then(Value::as_u64);
                let days = asked.filter(|days| (1..=DAYS_MAX).contains(days)).unwrap_or(30);
                let _ = write!(out, "{days}");
            }
            "end" => push_json(&mut out, text_of(params, "endDate").unwrap_or(&date(call.now.wall))),
            "instance" => push_json(&mut out, &gateway.instance_id),
            "iso" => out.push_str(&iso(call.now.wall)),
            "key" => push_json(&mut out, key(params)),
            "limit" => push_number(&mut out, params, "limit", PAGE),
            "offset" => push_number(&mut out, params, "offset", 0),
            "role" => push_json(&mut out, if admin { "admin" } else { "viewer" }),
            "state" => {
                let state = if admin { gateway.config.about.state_dir.as_str() } else { "[redacted]" };
                let quoted = Value::from(state).to_string();
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
            "ts" => {
                let _ = write!(out, "{}", call.now.wall.0);
            }
            // Words come from `dialect::lists` alone; a test fills in all of them.
            _ => debug_assert!(false, "{word} is no word"),
        }
        out.push_str(rest);
    }
    Ok(out)
}

/// Days that a caller may be answered about.
const DAYS_MAX: u64 = 3_660;
/// As many rows as a page has when nobody says.
const PAGE: u64 = 50;

/// There is one agent in name, `main`: whoever asks about another is told so.
fn only_agent(params: &Map<String, Value>) -> Result<(), RequestError> {
    match text_of(params, "agentId") {
        Some(agent) if !agent.trim().eq_ignore_ascii_case("main") => Err(RequestError::Named {
            message: format!("unknown agent id \"{agent}\""),
            details: json!({"code": "UNKNOWN_AGENT_ID"}),
        }),
        Some(_) | None => Ok(()),
    }
}

fn key(params: &Map<String, Value>) -> &str {
    ["sessionKey", "key"].into_iter().find_map(|name| text_of(params, name)).unwrap_or_default()
}

fn text_of<'a>(params: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    params.get(name)?.as_str()
}

/// A session's key in full: keys without an agent are the default agent's.
fn canonical(key: &str) -> Cow<'_, str> {
    if key.starts_with("agent:") { Cow::Borrowed(key) } else { Cow::Owned(format!("agent:main:{key}")) }
}

fn push_json(out: &mut String, text: &str) {
    out.push_str(&Value::from(text).to_string());
}

fn push_number(out: &mut String, params: &Map<String, Value>, name: &str, otherwise: u64) {
    // A shape let it in, so it is whole and not negative; it may be written `5.0`.
    let number = params.get(name).and_then(Value::as_f64).map_or(otherwise, |number| number as u64);
    let _ = write!(out, "{number}");
}

/// `2026-11-25T08:00:00.000Z`.
fn iso(wall: Wall) -> String {
    let ms = wall.0 % DAY_MS;
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", date(wall), ms % 1_000)
}

const DAY_MS: u64 = 86_400_000;

fn object(params: &Params) -> Option<&Map<String, Value>> {
    match params {
        Params::Object(members) => Some(members),
        Params::None
        | Params::SystemEvent(_)
        | Params::Enabled(_)
        | Params::RequestId(_)
        | Params::DeviceId(_)
        | Params::NodeId(_)
        | Params::DeviceRole { .. }
        | Params::LogsTail(_)
        | Params::Triggers(_)
        | Params::TalkMode { .. }
        | Params::Wake(_)
        | Params::SuspendPrepare(_)
        | Params::SuspensionId(_)
        | Params::Restart { .. }
        | Params::Config(_)
        | Params::Ask(_)
        | Params::Invoke(_)
        | Params::NodeResult(_)
        | Params::NodeEvent(_) => None,
    }
}

fn has(call: &Call, name: &str) -> bool {
    object(&call.params).is_some_and(|params| params.contains_key(name))
}

fn word<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    text_of(object(&call.params)?, name)
}

fn value(gateway: &mut Gateway, call: Call, value: Value, out: &mut Vec<Output>) {
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Value(Box::new(value))), out);
}

fn refuse(gateway: &mut Gateway, call: Call, message: String, out: &mut Vec<Output>) {
    gateway.fail(call.conn, call.id, &RequestError::Invalid(message), out);
}

// ---- sessions and chat ----

/// `chat.history`.
pub(crate) fn history(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let answer = if has(&call, "cursor") { lists::HISTORY_RESET } else { lists::HISTORY };
    text(gateway, call, answer, out);
}

/// `chat.metadata`: a session that is named may have its runtime locked; none is here.
pub(crate) fn metadata(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let answer = if has(&call, "sessionKey") { lists::METADATA_SESSION } else { lists::METADATA };
    text(gateway, call, answer, out);
}

/// `transcripts.list`: no cursor of ours can be meant.
pub(crate) fn transcripts(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    if !has(&call, "cursor") {
        return text(gateway, call, lists::TRANSCRIPTS, out);
    }
    let message = "Invalid transcript cursor; restart pagination with the current filters.".to_owned();
    let details = json!({"type": "transcript_invalid_cursor"});
    gateway.fail(call.conn, call.id, &RequestError::Named { message, details }, out);
}

/// `sessions.subscribe`: with any word of `sessions.list`, that list too. No session changes here, so nothing is kept.
pub(crate) fn subscribe(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    if object(&call.params).is_none_or(Map::is_empty) {
        return text(gateway, call, lists::SUBSCRIBED, out);
    }
    let [_, list] = lists::SESSIONS.by_dialect;
    match fill(gateway, &call, list) {
        Ok(list) => {
            let answer = Bytes::from(format!(r#"{{"subscribed":true,"list":{list}}}"#));
            gateway.respond(call.conn, call.id, Reply::Ok(Payload::Json(answer)), out);
        }
        Err(error) => gateway.fail(call.conn, call.id, &error, out),
    }
}

/// `sessions.messages.subscribe`.
pub(crate) fn messages_subscribe(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let replay = has(&call, "includeApprovals");
    let answer = if replay { lists::MESSAGES_SUBSCRIBED_REPLAY } else { lists::MESSAGES_SUBSCRIBED };
    text(gateway, call, answer, out);
}

/// `sessions.preview`: none of them is there.
pub(crate) fn preview(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let keys = object(&call.params).and_then(|params| params.get("keys")?.as_array());
    let missing = |key: &Value| json!({"key": key, "status": "missing", "items": []});
    let previews: Vec<Value> = keys.into_iter().flatten().take(PREVIEWS_MAX).map(missing).collect();
    let answer = json!({"ts": call.now.wall.0, "previews": previews});
    value(gateway, call, answer, out);
}

/// Sessions that one call previews.
const PREVIEWS_MAX: usize = 64;

/// `sessions.resolve`: exactly one name, and there is no such session.
pub(crate) fn resolve(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let names: Vec<&str> =
        ["key", "sessionId", "label", "shortId"].into_iter().filter_map(|name| word(&call, name)).collect();
    let message = match names[..] {
        [] => "Either key, sessionId, or label is required".to_owned(),
        [_] if object(&call.params)
            .is_some_and(|params| params.get("allowMissing") == Some(&Value::Bool(true))) =>
        {
            return text(gateway, call, lists::NOT_RESOLVED, out);
        }
        [name] => format!("No session found: {name}"),
        _ => "Provide either key, sessionId, or label (not multiple)".to_owned(),
    };
    refuse(gateway, call, message, out);
}

/// `sessions.get`.
pub(crate) fn messages(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    if has(&call, "key") || has(&call, "sessionKey") {
        return text(gateway, call, lists::MESSAGES, out);
    }
    refuse(gateway, call, "key is required".to_owned(), out);
}

/// `sessions.viewers.set`: what a caller looks at. Nobody else is told yet, so nothing is kept.
pub(crate) fn viewers(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let keys = object(&call.params).and_then(|params| params.get("sessionKeys").cloned());
    value(gateway, call, json!({"sessionKeys": keys.unwrap_or_else(|| json!([]))}), out);
}

// ---- usage ----

/// `sessions.usage.timeseries`: no session has a transcript here.
pub(crate) fn usage_timeseries(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let message = match word(&call, "key").map(str::trim).filter(|key| !key.is_empty()) {
        Some(key) => format!("No transcript found for session: {key}"),
        None => "key is required for timeseries".to_owned(),
    };
    refuse(gateway, call, message, out);
}

/// `sessions.usage.logs`.
pub(crate) fn usage_logs(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    if word(&call, "key").is_some_and(|key| !key.trim().is_empty()) {
        return text(gateway, call, lists::USAGE_LOGS, out);
    }
    refuse(gateway, call, "key is required for logs".to_owned(), out);
}

// ---- one of none ----

/// `cron.get`.
pub(crate) fn job(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(id) = word(&call, "id").or_else(|| word(&call, "jobId")) else {
        let errors = "must have required property 'id'".to_owned();
        let error = RequestError::InvalidParams { method: "cron.get".to_owned(), errors };
        return gateway.fail(call.conn, call.id, &error, out);
    };
    let message = format!("unknown cron job id: {id}");
    let details = json!({"code": "CRON_JOB_NOT_FOUND", "jobId": id});
    gateway.fail(call.conn, call.id, &RequestError::Named { message, details }, out);
}

/// `tasks.get`.
pub(crate) fn task(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let message = format!("task not found: {}", word(&call, "taskId").unwrap_or_default());
    refuse(gateway, call, message, out);
}

/// `push.web.preferences.get`: pages are sent nothing from here, so no subscription is anybody's.
pub(crate) fn push_preferences(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let error = RequestError::Forbidden("subscription is not bound to this device");
    gateway.fail(call.conn, call.id, &error, out);
}

/// `environments.status`.
pub(crate) fn environment(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let message = format!("unknown environment: {}", word(&call, "environmentId").unwrap_or_default());
    refuse(gateway, call, message, out);
}
