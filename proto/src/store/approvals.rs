//! `exec-approvals.json` as peers are shown it (spec: methods section 8): what each agent may run, without the secret of
//! its socket. Members that are not named here may be secrets of somebody else, and are not shown.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Renders the file for `exec.approvals.get`; `None` is a file that does not exist.
///
/// # Errors
/// It is not the expected JSON; for a person.
pub fn snapshot(path: &str, text: Option<&[u8]>) -> Result<Bytes, String> {
    let stored: Map<String, Value> = match text {
        None => Map::new(),
        Some(text) => serde_json::from_slice(text).map_err(|why| {
            format!(
                "{path} cannot be read: line {} column {}: not the expected JSON",
                why.line(),
                why.column()
            )
        })?,
    };
    let mut hash = String::with_capacity(64);
    for byte in Sha256::digest(text.unwrap_or_default()) {
        let _ = write!(hash, "{byte:02x}");
    }
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

fn only(from: Option<&Value>, names: &[&str]) -> Value {
    let members = from.and_then(Value::as_object).into_iter().flatten();
    let known = members.filter(|(name, value)| names.contains(&name.as_str()) && !value.is_null());
    Value::Object(known.map(|(name, value)| (name.clone(), value.clone())).collect())
}

const POLICY: &[&str] = &["security", "ask", "askFallback", "autoAllowSkills"];
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
