//! The shapes of `config.*` answers and of `config.changed` (spec: methods section 4).

use super::Dialect;
use crate::host::config::{ConfigAnswer, ConfigNews, ConfigSnapshot, ConfigWritten, Issue};
use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// An answer, encoded. Called off the lock: a configuration may be long.
pub(crate) fn answer(dialect: Dialect, answer: &ConfigAnswer) -> Bytes {
    match answer {
        ConfigAnswer::Snapshot(snapshot) => self::snapshot(dialect, snapshot),
        ConfigAnswer::Written(written) => self::written(written),
        ConfigAnswer::Json(json) => json.clone(),
        ConfigAnswer::Checked | ConfigAnswer::Unsettled => Bytes::new(),
        ConfigAnswer::Reloaded(_) => Bytes::from_static(br#"{"ok":true,"warningCount":0}"#),
    }
}

/// The payload of `config.changed`; protocol 3 does not have it.
pub(crate) fn changed(news: &ConfigNews) -> [Option<Bytes>; 2] {
    let payload = json!({"path": news.path, "hash": news.hash, "ts": news.ts});
    [None, Some(Bytes::from(payload.to_string()))]
}

/// One issue as clients know it.
pub(crate) fn issue(issue: &Issue) -> Value {
    let mut shown = json!({"path": issue.path, "message": issue.message});
    if !issue.allowed.is_empty() {
        let hidden = issue.allowed.len().saturating_sub(ALLOWED_MAX);
        shown["allowedValues"] = json!(issue.allowed.iter().take(ALLOWED_MAX).collect::<Vec<_>>());
        if hidden > 0 {
            shown["allowedValuesHiddenCount"] = json!(hidden);
        }
    }
    shown
}

fn issues(list: &[Issue]) -> Box<RawValue> {
    raw(&Value::Array(list.iter().map(issue).collect()).to_string())
}

fn snapshot(dialect: Dialect, snapshot: &ConfigSnapshot) -> Bytes {
    let text = |text: &str| raw(&Value::from(text).to_string());
    let mut members: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    members.insert("path", text(&snapshot.path));
    members.insert("exists", raw(if snapshot.exists { "true" } else { "false" }));
    members.insert("raw", snapshot.raw.as_deref().map_or_else(|| raw("null"), text));
    members.insert("parsed", raw(snapshot.parsed.as_deref().unwrap_or("null")));
    members.insert("resolved", raw(&snapshot.resolved));
    members.insert("valid", raw(if snapshot.valid { "true" } else { "false" }));
    members.insert("config", raw(&snapshot.config));
    members.insert("hash", text(&snapshot.hash));
    members.insert("issues", issues(&snapshot.issues));
    members.insert("warnings", issues(&snapshot.warnings));
    members.insert("legacyIssues", issues(&snapshot.legacy));
    match dialect {
        Dialect::V3 => {}
        Dialect::V4 => {
            members.insert("includedPaths", raw(&json!(snapshot.included).to_string()));
            members.insert("sourceConfig", raw(&snapshot.resolved));
            members.insert("runtimeConfig", raw(&snapshot.config));
        }
    }
    Bytes::from(serde_json::to_vec(&members).unwrap_or_default())
}

fn written(written: &ConfigWritten) -> Bytes {
    let mut members: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    members.insert("ok", raw("true"));
    members.insert("path", raw(&Value::from(written.path.as_str()).to_string()));
    members.insert("config", raw(&written.config));
    if written.method != "config.set" {
        // Clients look at `ok` to know whether the gateway goes away and comes back.
        let restart = json!({
            "ok": written.restarts,
            "pid": written.pid,
            "signal": "SIGUSR1",
            "delayMs": 0,
            "reason": written.method,
            "mode": "emit",
            "coalesced": false,
            "cooldownMsApplied": 0,
            "required": written.restart,
        });
        let mut payload = Map::new();
        payload.insert("kind".into(), written.method.replace('.', "-").into());
        payload.insert("status".into(), "ok".into());
        payload.insert("ts".into(), written.ts.into());
        if let Some(session_key) = &written.session_key {
            payload.insert("sessionKey".into(), session_key.as_str().into());
        }
        payload.insert("message".into(), written.note.as_deref().map_or(Value::Null, Value::from));
        payload.insert("stats".into(), json!({"mode": written.method, "root": written.path}));
        members.insert("restart", raw(&restart.to_string()));
        members.insert("sentinel", raw(&json!({"path": null, "payload": payload}).to_string()));
    }
    Bytes::from(serde_json::to_vec(&members).unwrap_or_default())
}

/// What is JSON already. The host makes it; if it ever were not, the member is `null` rather than the frame broken.
fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned())
        .unwrap_or_else(|_| RawValue::from_string("null".to_owned()).expect("null is JSON"))
}

/// Allowed values that are listed; of the rest only the number is told.
const ALLOWED_MAX: usize = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn members(dialect: Dialect) -> Value {
        let snapshot = ConfigSnapshot {
            path: "/c".into(),
            exists: true,
            raw: Some("{}".into()),
            parsed: Some("{}".into()),
            resolved: "{}".into(),
            config: r#"{"a":1}"#.into(),
            valid: true,
            hash: "h".into(),
            issues: vec![Issue { path: "p".into(), message: "m".into(), allowed: vec!["a".into(); 13] }],
            ..ConfigSnapshot::default()
        };
        serde_json::from_slice(&answer(dialect, &ConfigAnswer::Snapshot(Box::new(snapshot)))).unwrap()
    }

    #[test]
    fn a_snapshot_has_the_recorded_members() {
        let v3 = members(Dialect::V3);
        let names: Vec<&String> = v3.as_object().unwrap().keys().collect();
        let want = [
            "config",
            "exists",
            "hash",
            "issues",
            "legacyIssues",
            "parsed",
            "path",
            "raw",
            "resolved",
            "valid",
            "warnings",
        ];
        assert_eq!(names, want);
        assert_eq!((&v3["config"], &v3["raw"]), (&json!({"a": 1}), &json!("{}")));
        assert_eq!(v3["issues"][0]["allowedValuesHiddenCount"], 1);
        let v4 = members(Dialect::V4);
        assert_eq!((&v4["runtimeConfig"], &v4["includedPaths"]), (&json!({"a": 1}), &json!([])));
    }

    #[test]
    fn what_is_no_json_does_not_break_the_frame() {
        assert_eq!(raw("{oops").get(), "null");
    }
}
