//! Addresses of the canvas, in the shapes of both protocols.

use crate::admission::SurfaceUrl;
use crate::time::Wall;
use serde_json::{Value, json};

/// The answer of `node.canvas.capability.refresh`.
pub(crate) fn refreshed_canvas(url: &SurfaceUrl, expires: Wall) -> Value {
    json!({
        "canvasCapability": url.capability,
        "canvasCapabilityExpiresAtMs": expires.0,
        "canvasHostUrl": url.url,
    })
}

/// The answer of `node.pluginSurface.refresh` and `plugin.surface.refresh`.
pub(crate) fn refreshed(surface: &str, url: &SurfaceUrl, expires: Wall) -> Value {
    json!({"surface": surface, "pluginSurfaceUrls": {surface: url.url}, "expiresAtMs": expires.0})
}
