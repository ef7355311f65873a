//! Who may call a method: a role, a scope, or a function of the params (spec: v4 section 10).
//!
//! Authority is decided by protocol 4's rules in both dialects. What cannot be read is judged as if it asked for
//! most: params that are too large or broken need the stricter scope.

use crate::error::RequestError;
use crate::scope::{self, Role, Scopes};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every admitted peer, of any role.
    Anyone,
    /// Operators, whatever their scopes.
    AnyOperator,
    /// Operators whose scopes satisfy this one.
    Operator(&'static str),
    /// Operators whose scopes satisfy one of the two. A refusal names the first.
    Either(&'static [&'static str; 2]),
    /// Operators whose scopes satisfy both.
    Both(&'static [&'static str; 2]),
    /// Nodes.
    Node,
    /// `by_params` says.
    ByParams,
}

/// Unknown names are an admin's business: anyone else learns only that a scope is missing.
pub(crate) const UNKNOWN: Access = Access::Operator(scope::ADMIN);

/// Reads that the narrower session scope admits too.
pub(crate) const SESSIONS_READ: Access = Access::Either(&[scope::READ, scope::SESSIONS_READ]);
const SESSIONS_WRITE: Access = Access::Either(&[scope::WRITE, scope::SESSIONS_WRITE]);
const ADMIN: Access = Access::Operator(scope::ADMIN);
const WRITE: Access = Access::Operator(scope::WRITE);

impl Access {
    /// Whether a peer of this role with these scopes may call.
    pub(crate) fn check(self, role: Role, scopes: &Scopes) -> Result<(), RequestError> {
        let missing = |missing: &str, required: &[&str]| RequestError::MissingScope {
            missing: missing.to_owned(),
            required: required.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        match (self, role) {
            (Self::Anyone, _) | (Self::Node, Role::Node) | (Self::AnyOperator, Role::Operator) => Ok(()),
            (Self::Node, Role::Operator)
            | (
                Self::AnyOperator | Self::Operator(_) | Self::Either(_) | Self::Both(_) | Self::ByParams,
                Role::Node,
            ) => Err(RequestError::UnauthorizedRole(role)),
            (Self::Operator(wanted), Role::Operator) => {
                if scopes.satisfies(wanted) {
                    Ok(())
                } else {
                    Err(missing(wanted, &[wanted]))
                }
            }
            (Self::Either([wanted, other]), Role::Operator) => {
                let is_met = scopes.satisfies(wanted) || scopes.satisfies(other);
                if is_met { Ok(()) } else { Err(missing(wanted, &[wanted])) }
            }
            (Self::Both([one, two]), Role::Operator) => {
                match [one, two].into_iter().find(|wanted| !scopes.satisfies(wanted)) {
                    None => Ok(()),
                    Some(wanted) => Err(missing(wanted, &[one, two])),
                }
            }
            // A request carries what `by_params` said; what nobody asked is an admin's.
            (Self::ByParams, Role::Operator) => UNKNOWN.check(role, scopes),
        }
    }

    /// Reads the column of the list of unavailable methods.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "none" => Self::AnyOperator,
            "node" => Self::Node,
            "dyn" => Self::ByParams,
            "admin" => ADMIN,
            "approvals" => Self::Operator(scope::APPROVALS),
            "pairing" => Self::Operator(scope::PAIRING),
            "read" => Self::Operator(scope::READ),
            "talk" => Self::Operator(scope::TALK),
            "write" => WRITE,
            "sessions.write" => Self::Operator(scope::SESSIONS_WRITE),
            "read|sessions.read" => SESSIONS_READ,
            "write|sessions.write" => SESSIONS_WRITE,
            _ => return None,
        })
    }
}

/// The access of a method whose scope is a function of its params. Runs outside the gateway's lock.
pub(crate) fn by_params(method: &str, raw: Option<&RawValue>) -> Access {
    if method == "agent" {
        return agent(raw);
    }
    if method == "node.invoke" {
        return invoke(raw);
    }
    // These take small params only: larger ones are refused anyway.
    let small = match raw {
        None => Some(Map::new()),
        Some(raw) if raw.get().len() <= super::params::SMALL_PARAMS_BYTES_MAX => {
            serde_json::from_str::<Map<String, Value>>(raw.get()).ok()
        }
        Some(_) => None,
    };
    let is = |name: &str, value: &Value| small.as_ref().is_none_or(|params| params.get(name) == Some(value));
    let asks = |name: &str| {
        let unasked = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
        small.as_ref().is_none_or(|params| params.get(name).is_some_and(|value| !unasked(value)))
    };
    let only = |params: &Map<String, Value>, names: &[&str]| {
        params.keys().all(|name| names.contains(&name.as_str()))
    };
    let either = |admin: bool, other: Access| if admin { ADMIN } else { other };
    match method {
        "channels.pairing.approve" if is("bootstrapCommandOwner", &Value::Bool(true)) => {
            Access::Both(&[scope::PAIRING, scope::ADMIN])
        }
        "channels.pairing.approve" => Access::Operator(scope::PAIRING),
        "environments.list" if asks("runtimeId") => WRITE,
        "environments.list" => Access::Operator(scope::READ),
        "fs.listDir" => either(asks("nodeId"), WRITE),
        "plugins.sessionAction" => WRITE,
        "sessions.create" => {
            let is_full = is("permissionMode", &Value::String("full".to_owned()));
            let is_strong = is_full || ["incognito", "execNode", "toolOverrides"].into_iter().any(asks);
            either(is_strong, SESSIONS_WRITE)
        }
        "sessions.delete" => {
            let is_tidy = small.as_ref().is_some_and(|params| only(params, TIDY_DELETE));
            either(!(is_tidy && is("archivedOnly", &Value::Bool(true))), SESSIONS_WRITE)
        }
        "sessions.dispatch" => either(target_kind(small.as_ref()) != Some("device"), WRITE),
        "sessions.move" => {
            let is_strong = small.is_none() || target_kind(small.as_ref()) == Some("profile");
            either(is_strong, WRITE)
        }
        "sessions.patch" => {
            let is_tidy =
                small.as_ref().is_some_and(|params| params.keys().all(|name| is_tidy_patch(name.as_str())));
            either(!is_tidy, SESSIONS_WRITE)
        }
        "sessions.patchMany" => {
            let patch = small.as_ref().and_then(|params| params.get("patch").map(Value::as_object));
            let is_tidy = match patch {
                None => small.is_some(),
                Some(patch) => {
                    patch.is_some_and(|patch| patch.keys().all(|name| TIDY_PATCH.contains(&name.as_str())))
                }
            };
            either(!is_tidy, SESSIONS_WRITE)
        }
        "talk.config" if is("includeSecrets", &Value::Bool(true)) => {
            Access::Both(&[scope::READ, scope::TALK_SECRETS])
        }
        "talk.config" => Access::Operator(scope::READ),
        _ => UNKNOWN,
    }
}

/// A message that starts a new session, or throws one away, is an admin's: `^/(new|reset)(\s|$)`, whatever the case.
fn agent(raw: Option<&RawValue>) -> Access {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        message: Option<Cow<'a, str>>,
    }
    let message = match raw.map(|raw| serde_json::from_str::<Message<'_>>(raw.get())) {
        None => return WRITE,
        Some(Ok(Message { message })) => message.unwrap_or_default(),
        Some(Err(_)) => return ADMIN,
    };
    let resets = ["/new", "/reset"].into_iter().any(|command| {
        let head = message.get(..command.len()).filter(|head| head.eq_ignore_ascii_case(command));
        let next = message.get(command.len()..).and_then(|rest| rest.chars().next());
        head.is_some() && next.is_none_or(|next| next.is_whitespace() || next == '\u{feff}')
    });
    if resets { ADMIN } else { WRITE }
}

/// Params of a command may be large, and say nothing about who may ask for it.
fn invoke(raw: Option<&RawValue>) -> Access {
    #[derive(Deserialize)]
    struct Command<'a> {
        #[serde(borrow)]
        command: Option<Cow<'a, str>>,
    }
    let command = match raw.map(|raw| serde_json::from_str::<Command<'_>>(raw.get())) {
        None => return WRITE,
        Some(Ok(Command { command })) => command.unwrap_or_default(),
        Some(Err(_)) => return ADMIN,
    };
    if ADMIN_COMMANDS.contains(&command.trim()) { ADMIN } else { WRITE }
}

fn target_kind(params: Option<&Map<String, Value>>) -> Option<&str> {
    params?.get("target")?.get("kind")?.as_str()
}

fn is_tidy_patch(name: &str) -> bool {
    TIDY_PATCH.contains(&name) || PATCH_TARGET.contains(&name)
}

/// Commands of a node that reach its files, its browser or its terminal.
const ADMIN_COMMANDS: &[&str] =
    &["browser.proxy", "browser.proxy.upload.v1", "fs.listDir", "terminal.upload"];
/// What a deletion of archived sessions may say and still be tidying up.
const TIDY_DELETE: &[&str] =
    &["key", "agentId", "archivedOnly", "expectedSessionId", "expectedLifecycleRevision"];
/// Which session is patched, and in which state it must be.
const PATCH_TARGET: &[&str] =
    &["key", "agentId", "expectedSessionId", "expectedLifecycleRevision", "expectedMarkedUnreadAt"];
/// Members of a session that organise it, and its own model, thinking and speed.
const TIDY_PATCH: &[&str] = &[
    "label",
    "icon",
    "color",
    "category",
    "boardFace",
    "statusNote",
    "attention",
    "ttlMinutes",
    "archived",
    "pinned",
    "unread",
    "contextWindow",
    "thinkingLevel",
    "fastMode",
    "model",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use serde_json::json;

    fn of(method: &str, params: Value) -> Access {
        let raw = serde_json::value::to_raw_value(&params).unwrap();
        by_params(method, Some(&raw))
    }

    #[test]
    fn the_scope_follows_the_params() {
        let read = Access::Operator(scope::READ);
        for (method, params, wanted) in [
            ("agent", json!({"message": "hello"}), WRITE),
            ("agent", json!({"message": "/new"}), ADMIN),
            ("agent", json!({"message": "/RESET now"}), ADMIN),
            ("agent", json!({"message": "/reset\u{a0}"}), ADMIN),
            ("agent", json!({"message": "/newer"}), WRITE),
            ("agent", json!({"message": " /new"}), WRITE),
            ("agent", json!({"message": "/né"}), WRITE),
            ("agent", json!({"message": 5}), ADMIN),
            ("node.invoke", json!({"command": "system.which"}), WRITE),
            ("node.invoke", json!({"command": " browser.proxy "}), ADMIN),
            ("node.invoke", json!({}), WRITE),
            ("talk.config", json!({}), read),
            ("talk.config", json!({"includeSecrets": false}), read),
            (
                "talk.config",
                json!({"includeSecrets": true}),
                Access::Both(&[scope::READ, scope::TALK_SECRETS]),
            ),
            ("environments.list", json!({}), read),
            ("environments.list", json!({"runtimeId": "r"}), WRITE),
            ("channels.pairing.approve", json!({}), Access::Operator(scope::PAIRING)),
            (
                "channels.pairing.approve",
                json!({"bootstrapCommandOwner": true}),
                Access::Both(&[scope::PAIRING, scope::ADMIN]),
            ),
            ("fs.listDir", json!({"path": "/"}), WRITE),
            ("fs.listDir", json!({"nodeId": "n"}), ADMIN),
            ("sessions.create", json!({"permissionMode": "guarded", "incognito": false}), SESSIONS_WRITE),
            ("sessions.create", json!({"permissionMode": "full"}), ADMIN),
            ("sessions.create", json!({"incognito": true}), ADMIN),
            ("sessions.create", json!({"execNode": "n"}), ADMIN),
            ("sessions.create", json!({"toolOverrides": {}}), ADMIN),
            ("sessions.patch", json!({"key": "k", "label": "l", "model": null}), SESSIONS_WRITE),
            ("sessions.patch", json!({"key": "k", "execHost": "gateway"}), ADMIN),
            ("sessions.patch", json!({"key": "k", "new": 1}), ADMIN),
            ("sessions.patchMany", json!({"targets": [], "patch": {"pinned": true}}), SESSIONS_WRITE),
            ("sessions.patchMany", json!({"targets": [], "patch": {"sendPolicy": "deny"}}), ADMIN),
            ("sessions.patchMany", json!({"targets": [], "patch": 1}), ADMIN),
            ("sessions.delete", json!({"key": "k"}), ADMIN),
            ("sessions.delete", json!({"key": "k", "archivedOnly": true}), SESSIONS_WRITE),
            ("sessions.delete", json!({"key": "k", "archivedOnly": true, "deleteTranscript": true}), ADMIN),
            ("sessions.dispatch", json!({"target": {"kind": "device"}}), WRITE),
            ("sessions.dispatch", json!({}), ADMIN),
            ("sessions.move", json!({"target": {"kind": "gateway"}}), WRITE),
            ("sessions.move", json!({"target": {"kind": "profile"}}), ADMIN),
            ("plugins.sessionAction", json!({}), WRITE),
        ] {
            assert_eq!(of(method, params.clone()), wanted, "{method} {params}");
        }
    }

    #[test]
    fn what_cannot_be_read_needs_most() {
        let large = json!({"x": "x".repeat(super::super::params::SMALL_PARAMS_BYTES_MAX)});
        for params in [large, json!([]), json!(5)] {
            for method in ["fs.listDir", "sessions.create", "sessions.patch", "sessions.patchMany"] {
                assert_eq!(of(method, params.clone()), ADMIN, "{method}");
            }
            for method in ["sessions.delete", "sessions.dispatch", "sessions.move"] {
                assert_eq!(of(method, params.clone()), ADMIN, "{method}");
            }
            assert_eq!(of("talk.config", params.clone()), Access::Both(&[scope::READ, scope::TALK_SECRETS]));
        }
        // Of a command the params may be large; what it is called is read all the same.
        for (params, wanted) in [
            (json!([]), ADMIN),
            (json!(5), ADMIN),
            (json!({"command": 5}), ADMIN),
            (json!({"command": "c", "params": "x".repeat(1 << 20)}), WRITE),
            (json!({"command": "fs.listDir", "params": "x".repeat(1 << 20)}), ADMIN),
        ] {
            assert_eq!(of("node.invoke", params), wanted);
        }
        let twice = r#"{"command":"c","params":{},"c\u006fmmand":"fs.listDir"}"#;
        let twice = RawValue::from_string(twice.to_owned()).unwrap();
        assert_eq!(by_params("node.invoke", Some(&twice)), ADMIN);
        let deep = RawValue::from_string(format!("{}{}", "[".repeat(9_000), "]".repeat(9_000))).unwrap();
        assert_eq!(by_params("node.invoke", Some(&deep)), ADMIN);
        assert_eq!(by_params("no.such.method", None), ADMIN);
    }

    #[test]
    fn session_scopes_and_pairs_of_scopes() {
        let may = |access: Access, scopes: &[&str]| access.check(Role::Operator, &Scopes::new(scopes));
        assert_eq!(may(SESSIONS_READ, &["operator.sessions.read"]), Ok(()));
        assert_eq!(may(SESSIONS_READ, &["operator.sessions.write"]), Ok(()));
        assert_eq!(may(SESSIONS_WRITE, &["operator.sessions.write"]), Ok(()));
        assert!(may(Access::Operator(scope::READ), &["operator.sessions.read"]).is_err());
        let missing = |access, scopes: &[&str]| match may(access, scopes) {
            Err(RequestError::MissingScope { missing, required }) => (missing, required.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!(missing(SESSIONS_WRITE, &["operator.sessions.read"]), ("operator.write".to_owned(), 1));
        let both = Access::Both(&[scope::READ, scope::TALK_SECRETS]);
        assert_eq!(missing(both, &["operator.read"]), ("operator.talk.secrets".to_owned(), 2));
        assert_eq!(missing(both, &["operator.talk.secrets"]), ("operator.read".to_owned(), 2));
        assert_eq!(may(both, &["operator.admin"]), Ok(()));
    }
}
