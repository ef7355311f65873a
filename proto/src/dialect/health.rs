//! The health snapshot and the answer to `status`. Nothing in them is invented.

use super::Dialect;
use crate::gateway::health::{EventLoop, Snapshot as HealthSnapshot};
use bytes::Bytes;
use serde_json::{Value, json};

/// The health snapshot. Protocol 4 adds what its clients show; nothing in it is invented: this gateway has no
/// plugins and runs no models.
pub(crate) fn health(dialect: Dialect, snapshot: &HealthSnapshot) -> Bytes {
    let path = snapshot.sessions_path.as_deref().unwrap_or("[redacted]");
    let sessions = json!({"path": path, "count": 0, "recent": []});
    let mut health = json!({
        "ok": true,
        "ts": snapshot.ts,
        "durationMs": 0,
        "channels": {},
        "channelOrder": [],
        "channelLabels": {},
        "heartbeatSeconds": 0,
        "defaultAgentId": "main",
        "agents": [{
            "agentId": "main",
            "isDefault": true,
            "heartbeat": heartbeat(snapshot.heartbeats),
            "sessions": sessions,
        }],
        "sessions": sessions,
    });
    match dialect {
        Dialect::V3 => {}
        Dialect::V4 => {
            health["plugins"] = json!({"loaded": [], "errors": [], "unavailable": []});
            let status = if snapshot.hot_reload { "active" } else { "disabled" };
            health["configReload"] = json!({"hotReloadStatus": status});
            // The published schema wants every number or no event loop at all: until the host has told our load,
            // there is none.
            if let Some(facts) = &snapshot.event_loop {
                health["eventLoop"] = event_loop(facts);
            }
        }
    }
    Bytes::from(health.to_string())
}

/// `eventLoop` in the health snapshot and in the details of `/ready`.
pub(crate) fn event_loop(facts: &EventLoop) -> Value {
    let late = facts.delay_p99_ms >= LATE_MS;
    json!({
        "degraded": late,
        "degradedSinceMs": null,
        "reasons": if late { json!(["event_loop_delay"]) } else { json!([]) },
        "intervalMs": facts.interval_ms,
        "delayP99Ms": facts.delay_p99_ms,
        "delayMaxMs": facts.delay_max_ms,
        "utilization": facts.cpu_ratio.min(1.0),
        "cpuCoreRatio": facts.cpu_ratio,
    })
}

/// Timer lateness at which the gateway calls itself degraded.
const LATE_MS: u64 = 1_000;

fn heartbeat(wanted: bool) -> Value {
    // No agent runs here, so nothing beats: `enabled` is only what `set-heartbeats` was told.
    json!({
        "enabled": wanted, "every": "disabled", "everyMs": null, "prompt": "", "target": "none", "ackMaxChars": 300,
    })
}

/// The result of `status`. Without admin, paths are not shown.
pub(crate) fn status(
    version: &str,
    sessions_path: &str,
    heartbeats: bool,
    events: &[String],
    admin: bool,
) -> Value {
    let (paths, by_agent_path) =
        if admin { (json!([sessions_path]), sessions_path) } else { (json!([]), "[redacted]") };
    json!({
        "runtimeVersion": version,
        "heartbeat": {
            "defaultAgentId": "main",
            "agents": [{"agentId": "main", "enabled": heartbeats, "every": "disabled", "everyMs": null}],
        },
        "channelSummary": [],
        "queuedSystemEvents": events,
        "sessions": {
            "paths": paths,
            "count": 0,
            "defaults": {"model": null, "contextTokens": null},
            "recent": [],
            "byAgent": [{"agentId": "main", "path": by_agent_path, "count": 0, "recent": []}],
        },
    })
}

/// The encoded result of `status` with what changes all the time: this gateway's own numbers.
pub(crate) fn status_with(status: &[u8], numbers: &[u8], refusals: Option<&Value>) -> Bytes {
    const MEMBER: &[u8] = b",\"gateway\":";
    let refusals = refusals.map(|list| format!(",\"recentRefusals\":{list}")).unwrap_or_default();
    let numbers = numbers.strip_suffix(b"}").expect("an encoded object ends with its brace");
    let head = status.strip_suffix(b"}").expect("an encoded object ends with its brace");
    Bytes::from([head, MEMBER, numbers, refusals.as_bytes(), b"}}"].concat())
}
