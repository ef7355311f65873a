//! Addresses of the canvas, in the shapes of both protocols; what the Control UI is told over HTTP.

use crate::admission::SurfaceUrl;
use crate::time::Wall;
use serde_json::{Value, json};

/// The methods that are refused where there is no canvas.
pub(crate) const METHODS: [&str; 3] =
    ["node.canvas.capability.refresh", "node.pluginSurface.refresh", "plugin.surface.refresh"];

/// The answer of `node.canvas.capability.refresh`.
pub(crate) fn refreshed_canvas(url: &SurfaceUrl, expires: Wall) -> Value {
    json!({
        "canvasCapability": url.capability,
        "canvasCapabilityExpiresAtMs": expires.0,
        "canvasHostUrl": url.url,
    })
}

/// What the Control UI wants to know before it connects. There are no agents here that it could name.
pub(crate) fn control_ui(base_path: &str, version: &str) -> Value {
    json!({
        "basePath": base_path,
        "assistantName": "Assistant",
        "assistantAvatar": "A",
        "assistantAgentId": "main",
        "serverVersion": version,
    })
}

/// The answer of `node.pluginSurface.refresh` and `plugin.surface.refresh`.
pub(crate) fn refreshed(surface: &str, url: &SurfaceUrl, expires: Wall) -> Value {
    json!({"surface": surface, "pluginSurfaceUrls": {surface: url.url}, "expiresAtMs": expires.0})
}
