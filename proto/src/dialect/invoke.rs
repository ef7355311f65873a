//! Commands of nodes on the wire: what a node is sent, and why its caller gets no answer (spec: nodes sections 3, 4 and
//! 6, v4 section 11.4).

use super::Dialect;
use crate::error::InvokeError;
use crate::frame::ErrorShape;
use crate::invokes::Invoke;
use crate::methods::invoke_params::NodeError;
use crate::time::Mono;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

/// The payload of `node.invoke.request`. Protocol 3 repeats how long the caller waits, if it said so; protocol 4 says how
/// long is left.
pub(crate) fn request(dialect: Dialect, invoke: &Invoke, now: Mono) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Request<'a> {
        id: &'a str,
        node_id: &'a str,
        command: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<&'a str>,
    }
    let asked = &invoke.asked;
    let request = Request {
        id: invoke.id.as_deref().unwrap_or_default(),
        node_id: &asked.node_id,
        command: &asked.command,
        timeout_ms: match dialect {
            Dialect::V3 => asked.timeout_ms,
            Dialect::V4 => Some(invoke.deadline.millis_since(now)),
        },
        idempotency_key: asked.idempotency_key.as_deref(),
    };
    let mut out = serde_json::to_vec(&request).expect("texts and numbers");
    let params: &[u8] = match (&asked.params, dialect) {
        (Some(params), _) => params,
        (None, Dialect::V3) => b"null",
        (None, Dialect::V4) => return Bytes::from(out),
    };
    out.pop();
    out.extend_from_slice(br#","paramsJSON":"#);
    out.extend_from_slice(params);
    out.push(b'}');
    Bytes::from(out)
}

/// The payload of `node.invoke.cancel`, where a node understands it.
pub(crate) fn cancel(dialect: Dialect, invoke: &Invoke) -> Option<Bytes> {
    match dialect {
        Dialect::V3 => None,
        Dialect::V4 => {
            let id = invoke.id.as_deref()?;
            let payload = json!({"invokeId": id, "nodeId": invoke.asked.node_id});
            Some(Bytes::from(payload.to_string()))
        }
    }
}

/// The `error` member of the answer.
pub(crate) fn error(dialect: Dialect, error: &InvokeError) -> ErrorShape {
    match error {
        InvokeError::Approvals { command } => ErrorShape {
            details: Some(json!({"command": command})),
            ..super::errors::invalid(
                "node.invoke does not allow system.execApprovals.*; use exec.approvals.node.*".to_owned(),
            )
        },
        InvokeError::Away => away(dialect),
        // Protocol 3 has no second approval, and no word for it: the node counts as one that offers nothing.
        InvokeError::Unapproved { command } => match dialect {
            Dialect::V3 => denied(
                "node did not declare commands",
                command,
                "the node did not declare any supported commands",
            ),
            Dialect::V4 => away(dialect),
        },
        InvokeError::NotListed { command, platform } => denied(
            "command not allowlisted",
            command,
            &format!("\"{command}\" is not in the allowlist for platform \"{platform}\""),
        ),
        InvokeError::Dangerous { command, platform } => denied(
            "command not allowlisted",
            command,
            &match dialect {
                Dialect::V3 => format!("\"{command}\" is not in the allowlist for platform \"{platform}\""),
                Dialect::V4 => {
                    format!("\"{command}\" requires explicit gateway.nodes.commands.allow opt-in")
                }
            },
        ),
        InvokeError::NotOffered { command, platform } => denied(
            "command not declared by node",
            command,
            &format!("the node (platform: {platform}) does not support \"{command}\""),
        ),
        InvokeError::Run { code, message, details } => {
            let mut details = details.clone();
            details["code"] = json!(code);
            ErrorShape { details: Some(details), ..super::errors::invalid((*message).to_owned()) }
        }
        InvokeError::Timeout { is_sent } => {
            let message = "node invoke timed out";
            let mut details = json!({"nodeError": {"code": "TIMEOUT", "message": message}});
            put_sent(dialect, &mut details, *is_sent);
            unavailable(format!("TIMEOUT: {message}"), Some(details))
        }
        InvokeError::Gone { command } => {
            let details = match dialect {
                Dialect::V3 => None,
                Dialect::V4 => Some(json!({"code": "NODE_DISCONNECTED", "nodeCommandDispatched": true})),
            };
            unavailable(format!("Error: node disconnected ({command})"), details)
        }
        InvokeError::Unsent => unavailable("UNAVAILABLE: failed to send invoke to node".to_owned(), None),
        InvokeError::Refused(NodeError { code, message }) => {
            let text = message.as_deref().unwrap_or("node invoke failed");
            let text = code.as_ref().map_or_else(|| text.to_owned(), |code| format!("{code}: {text}"));
            unavailable(text, Some(json!({"nodeError": said(code.as_deref(), message.as_deref())})))
        }
        InvokeError::Kept { action_id, node_id, command, error } => ErrorShape {
            retryable: Some(true),
            ..unavailable(
                "node command queued until iOS returns to foreground".to_owned(),
                Some(json!({
                    "code": "QUEUED_UNTIL_FOREGROUND", "queuedActionId": action_id, "nodeId": node_id,
                    "command": command, "nodeError": said(error.code.as_deref(), error.message.as_deref()),
                    "wake": {"path": "no-registration", "available": false, "throttled": false},
                })),
            )
        },
        InvokeError::AwaitsApproval { request_id } => unavailable(
            format!(
                "node capability surface is awaiting operator approval; run `openclaw nodes approve {request_id}` (see \
                 `openclaw nodes pending`), then this node retries automatically"
            ),
            None,
        ),
    }
}

fn away(dialect: Dialect) -> ErrorShape {
    match dialect {
        Dialect::V3 => unavailable("node not connected".to_owned(), Some(json!({"code": "NOT_CONNECTED"}))),
        Dialect::V4 => ErrorShape {
            retryable: Some(true),
            ..unavailable(
                "node pairing changed while invocation was active".to_owned(),
                Some(json!({"code": "PAIRING_CHANGED"})),
            )
        },
    }
}

fn denied(reason: &str, command: &str, why: &str) -> ErrorShape {
    ErrorShape {
        details: Some(json!({"reason": reason, "command": command})),
        ..super::errors::invalid(format!("node command not allowed: {why}"))
    }
}

fn unavailable(message: String, details: Option<Value>) -> ErrorShape {
    ErrorShape { code: "UNAVAILABLE", details, ..super::errors::invalid(message) }
}

/// What a node said, as far as it said anything.
fn said(code: Option<&str>, message: Option<&str>) -> Value {
    let mut said = json!({});
    for (name, value) in [("code", code), ("message", message)] {
        if let Some(value) = value {
            said[name] = json!(value);
        }
    }
    said
}

fn put_sent(dialect: Dialect, details: &mut Value, is_sent: bool) {
    match dialect {
        Dialect::V3 => {}
        Dialect::V4 => details["nodeCommandDispatched"] = json!(is_sent),
    }
}
