//! An entry of the presence list, in the shape of each protocol.

use super::Dialect;
use crate::gateway::presence::Facts;
use bytes::Bytes;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PresenceHead<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_family: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_identifier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_input_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online_since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// An entry of the presence list up to and including `"ts":`; the list adds the number and the brace.
/// Protocol 3's entries are closed: no `timeZone`, no `onlineSince`, and `instanceId` falls back to the device.
pub(crate) fn presence_head(dialect: Dialect, facts: &Facts) -> Bytes {
    let own = facts.reason.as_deref() == Some("self");
    let (time_zone, online_since, instance_id, model_identifier) = match dialect {
        Dialect::V3 => {
            let instance_id = facts.device_id.as_deref().or(facts.instance_id.as_deref());
            (None, None, instance_id.filter(|_| !own), facts.model_identifier.as_deref())
        }
        Dialect::V4 => (
            facts.time_zone.as_deref(),
            facts.online_since,
            facts.instance_id.as_deref(),
            facts.model_identifier.as_deref().filter(|_| !own),
        ),
    };
    let head = PresenceHead {
        host: facts.host.as_deref(),
        ip: facts.ip.as_deref(),
        version: facts.version.as_deref(),
        platform: facts.platform.as_deref(),
        device_family: facts.device_family.as_deref(),
        model_identifier,
        time_zone,
        mode: facts.mode.as_deref(),
        last_input_seconds: facts.last_input_seconds,
        online_since,
        device_id: facts.device_id.as_deref(),
        roles: &facts.roles,
        scopes: &facts.scopes,
        instance_id,
        reason: facts.reason.as_deref(),
        tags: &facts.tags,
        text: facts.text.as_deref(),
    };
    let mut out = serde_json::to_vec(&head).expect("presence has only string keys");
    out.pop();
    if out.len() > 1 {
        out.push(b',');
    }
    out.extend_from_slice(b"\"ts\":");
    Bytes::from(out)
}
