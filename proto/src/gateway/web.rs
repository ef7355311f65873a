//! Plain HTTP: the health probes, and nothing else yet (spec: http section 2, v4 section 14).

use crate::http::{HttpRequest, HttpResponse};
use crate::net::ClientAddress;
use serde_json::json;

/// What the probes tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeFacts {
    pub(super) stopping: bool,
    pub(super) store_loaded: bool,
    pub(super) uptime_ms: u64,
}

/// Answers a request.
pub(super) fn respond(request: &HttpRequest, client: ClientAddress, facts: ProbeFacts) -> HttpResponse {
    let probe = match request.path.as_str() {
        "/health" | "/healthz" => Probe::Live,
        "/ready" | "/readyz" => Probe::Ready,
        "/startup" | "/startupz" => Probe::Started,
        _ => return HttpResponse::text(404, "Not Found"),
    };
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return HttpResponse::text(405, "Method Not Allowed").with("Allow", "GET, HEAD");
    }
    let ready = facts.store_loaded && !facts.stopping;
    let (status, body) = match probe {
        Probe::Live => (200, json!({"ok": true, "status": "live"})),
        Probe::Ready => {
            let mut body = json!({"ready": ready});
            // What fails, and for how long we run, is for this host only (R5: an address alone shows nothing).
            if client.local {
                let mut failing = Vec::new();
                if facts.stopping {
                    failing.push("gateway-draining");
                }
                if !facts.store_loaded {
                    failing.push("state-database");
                }
                body["failing"] = json!(failing);
                body["uptimeMs"] = json!(facts.uptime_ms);
            }
            (if ready { 200 } else { 503 }, body)
        }
        Probe::Started if facts.stopping => (503, json!({"ok": false, "status": "draining"})),
        Probe::Started => (200, json!({"ok": true, "status": "started"})),
    };
    HttpResponse::json(status, body.to_string()).with("Cache-Control", "no-store")
}

enum Probe {
    Live,
    Ready,
    Started,
}

/// The refusal of one WebSocket too many.
pub(super) fn too_many_sockets() -> HttpResponse {
    HttpResponse::text(503, "Too many unauthenticated sockets").with("Retry-After", "5").closing()
}

/// The refusal of a WebSocket while stopping.
pub(super) fn admission_closed() -> HttpResponse {
    HttpResponse::text(503, "Gateway websocket admission closed").with("Retry-After", "5").closing()
}
