//! `exec-approvals.json` (spec: methods section 8): what each agent may run. Peers are shown it without the secret of its
//! socket; members that are not named here may be secrets of somebody else, are not shown, and survive a change.

use crate::seed::Random;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Renders the file for `exec.approvals.get`; `None` is a file that does not exist.
///
/// # Errors
/// It is not the expected JSON; for a person.
pub fn snapshot(path: &str, text: Option<&[u8]>) -> Result<Bytes, String> {
    let stored = parse(path, text)?;
    let hash = hash(text.unwrap_or_default());
    let agents = stored.get("agents").and_then(Value::as_object).into_iter().flatten();
    let agents: Map<String, Value> = agents
        .map(|(name, agent)| {
            let mut shown = only(Some(agent), POLICY);
            if let Some(list) = agent.get("allowlist").and_then(Value::as_array) {
                let items: Vec<Value> = list
                    .iter()
                    .filter(|item| item["pattern"].is_string())
                    .map(|item| only(Some(item), ALLOWED))
                    .collect();
                shown["allowlist"] = Value::from(items);
            }
            if let Some(list) = agent.get("mcpTools").and_then(Value::as_array) {
                let items: Vec<Value> = list.iter().map(|item| only(Some(item), TOOL)).collect();
                shown["mcpTools"] = Value::from(items);
            }
            (name.clone(), shown)
        })
        .collect();
    let answer = json!({
        "path": path,
        "exists": text.is_some(),
        "hash": hash,
        "file": {
            "version": 1,
            "socket": only(stored.get("socket"), &["path"]),
            "defaults": only(stored.get("defaults"), POLICY),
            "agents": agents,
        },
    });
    Ok(Bytes::from(answer.to_string()))
}

/// Whether a change was made from the text that is there.
///
/// # Errors
/// It was not, or does not say.
pub fn check_base(text: Option<&[u8]>, base_hash: Option<&str>) -> Result<(), &'static str> {
    match (text, base_hash.map(str::trim).filter(|hash| !hash.is_empty())) {
        (None, None) => Ok(()),
        (Some(_), None) => Err("exec approvals base hash required; re-run exec.approvals.get and retry"),
        (text, Some(base)) if base == hash(text.unwrap_or_default()) => Ok(()),
        (_, Some(_)) => Err("exec approvals changed since last load; re-run exec.approvals.get and retry"),
    }
}

/// The text of the file with what `file` says in place of its own. Its socket stays as it is where `file` does not say
/// otherwise, and so do members that peers are not shown. Entries without an id get one.
///
/// # Errors
/// What is there is no file of this kind: it is not written over.
pub fn render(path: &str, text: Option<&[u8]>, file: &Value, random: &mut Random) -> Result<Vec<u8>, String> {
    let mut stored = parse(path, text)?;
    stored.insert("version".into(), 1.into());
    let socket = merged(stored.get("socket"), file.get("socket"), &[]);
    put(&mut stored, "socket", socket);
    let defaults = merged(stored.get("defaults"), file.get("defaults"), POLICY);
    put(&mut stored, "defaults", defaults);
    let mut agents = Map::new();
    for (name, agent) in file.get("agents").and_then(Value::as_object).into_iter().flatten() {
        let mut agent = agent.clone();
        for entry in agent.get_mut("allowlist").and_then(Value::as_array_mut).into_iter().flatten() {
            if entry.get("id").is_none() {
                entry["id"] = random.uuid().into();
            }
        }
        let before = stored.get("agents").and_then(|agents| agents.get(name));
        agents.insert(name.clone(), Value::Object(merged(before, Some(&agent), AGENT)));
    }
    stored.insert("agents".into(), Value::Object(agents));
    let mut out = serde_json::to_vec_pretty(&Value::Object(stored)).expect("an object has only string keys");
    out.push(b'\n');
    Ok(out)
}

/// What was there without the `known` members, and what is said now.
fn merged(before: Option<&Value>, now: Option<&Value>, known: &[&str]) -> Map<String, Value> {
    let mut members = before.and_then(Value::as_object).cloned().unwrap_or_default();
    members.retain(|name, _| !known.contains(&name.as_str()));
    let now = now.and_then(Value::as_object).into_iter().flatten();
    members.extend(now.map(|(name, value)| (name.clone(), value.clone())));
    members
}

fn put(stored: &mut Map<String, Value>, name: &str, members: Map<String, Value>) {
    if !members.is_empty() || stored.contains_key(name) {
        stored.insert(name.into(), Value::Object(members));
    }
}

fn parse(path: &str, text: Option<&[u8]>) -> Result<Map<String, Value>, String> {
    let Some(text) = text else { return Ok(Map::new()) };
    serde_json::from_slice(text).map_err(|why| {
        format!("{path} cannot be read: line {} column {}: not the expected JSON", why.line(), why.column())
    })
}

fn hash(text: &[u8]) -> String {
    let mut hash = String::with_capacity(64);
    for byte in Sha256::digest(text) {
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

fn only(from: Option<&Value>, names: &[&str]) -> Value {
    let members = from.and_then(Value::as_object).into_iter().flatten();
    let known = members.filter(|(name, value)| names.contains(&name.as_str()) && !value.is_null());
    Value::Object(known.map(|(name, value)| (name.clone(), value.clone())).collect())
}

const POLICY: &[&str] = &["security", "ask", "askFallback", "autoAllowSkills"];
const AGENT: &[&str] = &["security", "ask", "askFallback", "autoAllowSkills", "allowlist", "mcpTools"];
const TOOL: &[&str] = &["server", "tool", "source", "addedAt", "lastUsedAt"];
const ALLOWED: &[&str] = &[
    "id",
    "pattern",
    "source",
    "commandText",
    "argPattern",
    "lastUsedAt",
    "lastUsedCommand",
    "lastResolvedPath",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn shown(text: Option<&str>) -> Value {
        serde_json::from_slice(&snapshot("/home/p/x.json", text.map(str::as_bytes)).unwrap()).unwrap()
    }

    #[test]
    fn a_missing_file_is_an_empty_one() {
        let nothing = shown(None);
        assert_eq!(nothing["exists"], false);
        assert_eq!(nothing["hash"], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(nothing["file"], json!({"version": 1, "socket": {}, "defaults": {}, "agents": {}}));
    }

    #[test]
    fn the_sockets_secret_and_strange_members_are_not_shown() {
        let text = r#"{"version":1,"socket":{"path":"/s","token":"hush"},"defaults":{"ask":"always","x":"hush"},
            "agents":{"main":{"security":"full","allowlist":[{"id":"i","pattern":"/bin/ls","key":"hush"},{"x":1}]}},"more":"hush"}"#;
        let shown = shown(Some(text));
        assert!(!shown.to_string().contains("hush"), "{shown}");
        assert_eq!(shown["file"]["socket"], json!({"path": "/s"}));
        assert_eq!(
            shown["file"]["agents"]["main"],
            json!({"security": "full", "allowlist": [{"id": "i", "pattern": "/bin/ls"}]})
        );
        assert_eq!(shown["hash"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn a_change_keeps_what_peers_are_not_shown() {
        let before = br#"{"version":1,"socket":{"path":"/s","token":"hush"},"defaults":{"ask":"always","x":1},"more":2,
            "agents":{"main":{"security":"full","y":3,"allowlist":[{"id":"i","pattern":"/bin/ls"}]},"gone":{"z":1}}}"#;
        let file = json!({"version": 1, "defaults": {"security": "deny"}, "agents": {
            "main": {"allowlist": [{"pattern": "/bin/ls", "id": "i"}, {"pattern": "/bin/true"}]},
            "new": {"ask": "off"}}});
        let mut random = Random::new(crate::seed::Seed::new([7; 32]));
        let after = render("/x.json", Some(before), &file, &mut random).unwrap();
        let mut after: Value = serde_json::from_slice(&after).unwrap();
        let id = after["agents"]["main"]["allowlist"][1]["id"].take();
        assert_eq!(id.as_str().unwrap().len(), 36);
        let wanted = json!({"version": 1, "socket": {"path": "/s", "token": "hush"}, "more": 2,
            "defaults": {"security": "deny", "x": 1}, "agents": {
                "main": {"y": 3, "allowlist": [{"pattern": "/bin/ls", "id": "i"}, {"pattern": "/bin/true", "id": null}]},
                "new": {"ask": "off"}}});
        assert_eq!(after, wanted);
        assert!(
            render("/x.json", Some(b"[]"), &file, &mut random).is_err(),
            "a broken file is not written over"
        );
        let first: Value =
            serde_json::from_slice(&render("/x.json", None, &json!({"version": 1}), &mut random).unwrap())
                .unwrap();
        assert_eq!(first, json!({"version": 1, "agents": {}}));
    }

    #[test]
    fn a_change_says_what_it_was_made_from() {
        let text = &b"{}"[..];
        let of_text = hash(text);
        assert_eq!(check_base(None, None), Ok(()));
        assert_eq!(check_base(None, Some(&hash(b""))), Ok(()));
        assert_eq!(check_base(Some(text), Some(&of_text)), Ok(()));
        let required = "exec approvals base hash required; re-run exec.approvals.get and retry";
        let changed = "exec approvals changed since last load; re-run exec.approvals.get and retry";
        for missing in [None, Some(""), Some(" ")] {
            assert_eq!(check_base(Some(text), missing), Err(required));
        }
        for (text, base) in
            [(Some(text), "x"), (None, "x"), (None, of_text.as_str()), (Some(b"{} "), &of_text)]
        {
            assert_eq!(check_base(text, Some(base)), Err(changed));
        }
    }

    #[test]
    fn what_is_no_json_says_where_and_quotes_nothing() {
        let why = snapshot("/x.json", Some(b"{\"token\": hush}")).unwrap_err();
        assert!(why.starts_with("/x.json cannot be read: line 1 column") && !why.contains("hush"), "{why}");
        assert!(snapshot("/x.json", Some(b"[]")).is_err());
        for text in
            [r#"{"agents":[],"socket":5,"defaults":null}"#, r#"{"agents":{"a":null,"b":{"allowlist":{}}}}"#]
        {
            assert_eq!(shown(Some(text))["file"]["socket"], json!({}));
        }
    }
}
