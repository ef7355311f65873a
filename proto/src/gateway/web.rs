//! Plain HTTP besides files: the health probes (spec: http section 8, v4 section 14).

use super::admit::Bearer;
use super::health::EventLoop;
use crate::dialect;
use crate::http::HttpResponse;
use serde_json::json;

/// What the probes tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeFacts<'a> {
    /// No new work is taken: stopping, or suspended.
    pub(super) draining: bool,
    pub(super) store_loaded: bool,
    pub(super) uptime_ms: u64,
    pub(super) version: &'a str,
    pub(super) event_loop: Option<EventLoop>,
}

/// Answers a request. `bearer` says whether this client may know what fails, and for how long we run: it is on this host,
/// or proves the shared secret (R5: an address alone shows nothing). Who shows none gets the probe, and who is locked out
/// with the one that it shows hears for how long.
pub(super) fn respond(
    method: &str,
    path: &str,
    facts: &ProbeFacts<'_>,
    bearer: impl FnOnce() -> Bearer,
) -> HttpResponse {
    let Some(probe) = Probe::at(path) else { return HttpResponse::text(404, "Not Found") };
    if !matches!(method, "GET" | "HEAD") {
        return HttpResponse::text(405, "Method Not Allowed").with("Allow", "GET, HEAD");
    }
    let detailed = match probe {
        Probe::Live => false,
        Probe::Ready | Probe::Started => match bearer() {
            Bearer::Proved => true,
            Bearer::Unproved => false,
            Bearer::Locked(retry_after_ms) => return too_many_guesses(retry_after_ms),
        },
    };
    let ready = facts.store_loaded && !facts.draining;
    let (status, body) = match probe {
        Probe::Live => (200, json!({"ok": true, "status": "live"})),
        Probe::Ready => {
            let mut body = json!({"ready": ready});
            if detailed {
                let mut failing = Vec::new();
                if facts.draining {
                    failing.push("gateway-draining");
                }
                if !facts.store_loaded {
                    failing.push("state-database");
                }
                body["failing"] = json!(failing);
                body["uptimeMs"] = json!(facts.uptime_ms);
                if let Some(event_loop) = &facts.event_loop {
                    body["eventLoop"] = dialect::event_loop(event_loop);
                }
            }
            (if ready { 200 } else { 503 }, body)
        }
        Probe::Started => {
            let (status, text) = if facts.draining { (503, "draining") } else { (200, "started") };
            let mut body = json!({"ok": !facts.draining, "status": text});
            if detailed {
                body["version"] = json!(facts.version);
                body["uptimeMs"] = json!(facts.uptime_ms);
            }
            (status, body)
        }
    };
    HttpResponse::json(status, body.to_string()).with("Cache-Control", "no-store")
}

enum Probe {
    Live,
    Ready,
    Started,
}

impl Probe {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/health" | "/healthz" => Some(Self::Live),
            "/ready" | "/readyz" => Some(Self::Ready),
            "/startup" | "/startupz" => Some(Self::Started),
            _ => None,
        }
    }
}

/// Whether a path is one of the probes.
pub(super) fn is_probe(path: &str) -> bool {
    Probe::at(path).is_some()
}

/// The refusal of a bearer token that is not looked at (spec: auth section 10).
pub(super) fn too_many_guesses(retry_after_ms: u64) -> HttpResponse {
    let message = "Too many failed authentication attempts. Please try again later.";
    let body = json!({"error": {"message": message, "type": "rate_limited"}});
    HttpResponse::json(429, body.to_string())
        .with("Retry-After", retry_after_ms.div_ceil(1_000).to_string())
        .with("Cache-Control", "no-store")
}

/// The refusal of one WebSocket too many.
pub(super) fn too_many_sockets() -> HttpResponse {
    HttpResponse::text(503, "Too many unauthenticated sockets").with("Retry-After", "5").closing()
}

/// The refusal of a WebSocket that there is no memory for.
pub(super) fn memory_ceiling() -> HttpResponse {
    HttpResponse::text(503, "The gateway has reached its memory ceiling (limits.memoryBytesMax)")
        .with("Retry-After", "30")
        .closing()
}

/// The refusal of a WebSocket while stopping.
pub(super) fn admission_closed() -> HttpResponse {
    HttpResponse::text(503, "Gateway websocket admission closed").with("Retry-After", "5").closing()
}
