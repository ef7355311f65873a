//! Approvals and questions as peers see them: events, answers and snapshots (spec: v4 section 13, methods section 8; the
//! published protocol 4 schema). What protocol 3 does not know is left out of what it is told.

use super::Dialect;
use crate::approvals::{Decision, Entry, Kind, Outcome, Wants};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// The payload of `exec.approval.requested` or `plugin.approval.requested`, and an entry of a list.
pub(crate) fn requested(dialect: Dialect, entry: &Entry) -> Value {
    let mut shown = json!({
        "id": entry.id, "request": request(dialect, entry),
        "createdAtMs": entry.created_ms, "expiresAtMs": entry.expires_ms,
    });
    match dialect {
        Dialect::V3 => {}
        Dialect::V4 => shown["approvalKind"] = json!(kind(entry.kind)),
    }
    shown
}

/// The payload of `exec.approval.resolved` or `plugin.approval.resolved`.
pub(crate) fn resolved(dialect: Dialect, entry: &Entry) -> Value {
    let end = entry.end.as_ref();
    json!({
        "id": entry.id, "decision": entry.decision().map(Decision::as_str),
        "resolvedBy": end.and_then(|end| end.by.as_ref()).map(|by| &by.name),
        "ts": end.map(|end| end.at_ms), "request": request(dialect, entry),
    })
}

/// The first of two answers to a request that said `twoPhase`.
pub(crate) fn accepted(dialect: Dialect, entry: &Entry) -> Value {
    let mut shown = json!({
        "status": "accepted", "id": entry.id,
        "createdAtMs": entry.created_ms, "expiresAtMs": entry.expires_ms,
    });
    match dialect {
        Dialect::V3 => {}
        Dialect::V4 => shown["deliveryRoute"] = json!("approval-client"),
    }
    shown
}

/// What is answered to whoever waited for the end.
pub(crate) fn ended(dialect: Dialect, entry: &Entry, wants: Wants) -> Value {
    let mut shown = json!({
        "id": entry.id, "decision": entry.decision().map(Decision::as_str),
        "createdAtMs": entry.created_ms, "expiresAtMs": entry.expires_ms,
    });
    match (dialect, wants) {
        (Dialect::V4, Wants::Decision) => shown["terminalReason"] = json!(reason(entry)),
        (Dialect::V4, Wants::Asked) | (Dialect::V3, Wants::Asked | Wants::Decision) => {}
        (Dialect::V3 | Dialect::V4, Wants::Answer) => return answer(entry, true),
    }
    shown
}

/// `exec.approval.get`.
pub(crate) fn details(entry: &Entry) -> Value {
    let request = &entry.request;
    json!({
        "id": entry.id, "commandText": request["command"], "commandPreview": request["commandPreview"],
        "allowedDecisions": request["allowedDecisions"], "host": request["host"],
        "nodeId": request["nodeId"], "agentId": request["agentId"], "expiresAtMs": entry.expires_ms,
    })
}

/// An approval of whatever kind, as protocol 4 keeps it.
pub(crate) fn snapshot(entry: &Entry) -> Value {
    let mut shown = json!({
        "id": entry.id, "urlPath": format!("/approve/{}", escaped(&entry.id)),
        "createdAtMs": entry.created_ms, "expiresAtMs": entry.expires_ms,
        "presentation": presentation(entry), "status": status(entry),
    });
    let session_key = entry.request["sessionKey"].as_str().filter(|key| !key.is_empty());
    let Some(end) = &entry.end else {
        if let Some(session_key) = session_key {
            shown["sourceSessionKey"] = json!(session_key);
        }
        return shown;
    };
    shown["resolvedAtMs"] = json!(end.at_ms);
    shown["reason"] = json!(reason(entry));
    match &end.outcome {
        Outcome::Decided(decision) => shown["decision"] = json!(decision.as_str()),
        // A request that reached nobody counts as denied.
        Outcome::NoRoute => shown["decision"] = json!("deny"),
        Outcome::Answered(_) | Outcome::Cancelled | Outcome::Expired => {}
    }
    let mut source = Map::new();
    copy(&mut source, entry, &["agentId", "sessionKey"]);
    if !source.is_empty() {
        shown["source"] = Value::Object(source);
    }
    shown["resolver"] = match &end.by {
        None => json!({"kind": "system"}),
        Some(by) => match &by.device_id {
            Some(device_id) => json!({"kind": "device", "id": device_id}),
            None => json!({"kind": "runtime", "id": by.name}),
        },
    };
    shown
}

/// A question with its answers, or without those that are secret.
pub(crate) fn question(entry: &Entry) -> Value {
    let mut shown = entry.request.clone();
    shown["id"] = json!(entry.id);
    shown["createdAtMs"] = json!(entry.created_ms);
    shown["expiresAtMs"] = json!(entry.expires_ms);
    shown["status"] = json!(status(entry));
    if let Some(answers) = answers(entry, false) {
        shown["answers"] = answers;
    }
    if let Some(by) = entry.end.as_ref().and_then(|end| end.by.as_ref()) {
        shown["resolvedBy"] = json!(by.name);
    }
    shown
}

/// The payload of `question.resolved`.
pub(crate) fn question_resolved(entry: &Entry) -> Value {
    let mut shown = answer(entry, false);
    shown["id"] = json!(entry.id);
    shown
}

/// `question.waitAnswer` and `question.resolve`: with secret answers for whoever asked for them, or gave them.
pub(crate) fn answer(entry: &Entry, with_secrets: bool) -> Value {
    let mut shown = json!({"status": status(entry)});
    if let Some(answers) = answers(entry, with_secrets) {
        shown["answers"] = answers;
    }
    shown
}

/// Encodes a payload for the protocols that have it.
pub(crate) fn both(shape: impl Fn(Dialect) -> Value) -> [Option<Bytes>; 2] {
    [Dialect::V3, Dialect::V4].map(|dialect| Some(Bytes::from(shape(dialect).to_string())))
}

/// Encodes a payload that protocol 4 alone has.
pub(crate) fn newer(payload: &Value) -> [Option<Bytes>; 2] {
    [None, Some(Bytes::from(payload.to_string()))]
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Exec => "exec",
        Kind::Plugin => "plugin",
        Kind::Question => "question",
    }
}

fn request(dialect: Dialect, entry: &Entry) -> Value {
    let mut request = entry.request.clone();
    match (dialect, request.as_object_mut()) {
        (Dialect::V3, Some(members)) => members.retain(|name, _| !NEWER.contains(&name.as_str())),
        (Dialect::V3 | Dialect::V4, _) => {}
    }
    request
}

fn status(entry: &Entry) -> &'static str {
    match entry.end.as_ref().map(|end| &end.outcome) {
        None => "pending",
        Some(Outcome::Decided(Decision::AllowOnce | Decision::AllowAlways)) => "allowed",
        Some(Outcome::Decided(Decision::Deny) | Outcome::NoRoute) => "denied",
        Some(Outcome::Answered(_)) => "answered",
        Some(Outcome::Cancelled) => "cancelled",
        Some(Outcome::Expired) => "expired",
    }
}

fn reason(entry: &Entry) -> &'static str {
    match entry.end.as_ref().map(|end| &end.outcome) {
        Some(Outcome::NoRoute) => "no-route",
        Some(Outcome::Expired) => "timeout",
        None | Some(Outcome::Decided(_) | Outcome::Answered(_) | Outcome::Cancelled) => "user",
    }
}

/// What a person is asked, in the words of its kind. Texts that would be empty are left out.
fn presentation(entry: &Entry) -> Value {
    let request = &entry.request;
    let mut shown = Map::new();
    shown.insert("kind".into(), kind(entry.kind).into());
    match entry.kind {
        Kind::Exec => {
            shown.insert("commandText".into(), request["command"].clone());
            copy(&mut shown, entry, &["commandPreview", "warningText", "host", "nodeId", "agentId", "scope"]);
        }
        Kind::Plugin => {
            copy(&mut shown, entry, &["title", "description", "detail", "severity"]);
            copy(&mut shown, entry, &["pluginId", "toolName", "agentId", "scope"]);
        }
        // Questions are no approvals, and are not shown as such.
        Kind::Question => {}
    }
    shown.insert("allowedDecisions".into(), request["allowedDecisions"].clone());
    Value::Object(shown)
}

fn copy(shown: &mut Map<String, Value>, entry: &Entry, names: &[&str]) {
    for name in names {
        let value = &entry.request[*name];
        if !value.is_null() && value.as_str() != Some("") {
            shown.insert((*name).into(), value.clone());
        }
    }
}

/// The answers, when there are any. A secret one is told to whoever waits for it, and to nobody else.
fn answers(entry: &Entry, with_secrets: bool) -> Option<Value> {
    let Outcome::Answered(answers) = &entry.end.as_ref()?.outcome else { return None };
    let mut answers = answers.clone();
    let questions = entry.request["questions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let secrets = questions.iter().filter(|question| question["isSecret"] == true);
    for id in secrets.filter(|_| !with_secrets).filter_map(|question| question["questionId"].as_str()) {
        if let Some(given) = answers["answers"].get_mut(id) {
            *given = json!([]);
        }
    }
    Some(answers)
}

/// An id as a part of a path (RFC 3986 section 2).
fn escaped(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
    }
    out
}

/// Members of a request that came with protocol 4.
const NEWER: &[&str] =
    &["allowedDecisions", "commandSpans", "runId", "scope", "sessionId", "toolCallId", "warningText"];
