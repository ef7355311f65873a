//! Addresses of the canvas, in the shapes of both protocols; what the Control UI is told over HTTP.

use super::Dialect;
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
pub(crate) fn control_ui(dialect: Dialect, base_path: &str, version: &str) -> Value {
    let mut told = json!({
        "basePath": base_path,
        "assistantName": "Assistant",
        "assistantAvatar": "A",
        "assistantAgentId": "main",
        "serverVersion": version,
    });
    if dialect == Dialect::V4
        && let Value::Object(told) = &mut told
    {
        for (name, value) in [
            ("assistantAvatarSource", Value::Null),
            ("assistantAvatarStatus", Value::Null),
            ("assistantAvatarReason", Value::Null),
            // Of a page that came with the gateway: the installed one need not be of the same build.
            ("serverBuildId", Value::Null),
            ("embedSandbox", "scripts".into()),
            ("allowExternalEmbedUrls", false.into()),
            ("automaticallyFetchFavicons", false.into()),
            ("communityInvite", false.into()),
            ("terminalEnabled", false.into()),
            ("cliAgentsEnabled", false.into()),
            ("pluginAssetsRequireAuth", true.into()),
            ("pluginFrameGrants", json!([])),
        ] {
            told.insert(name.to_owned(), value);
        }
    }
    told
}

/// The answer of `node.pluginSurface.refresh` and `plugin.surface.refresh`.
pub(crate) fn refreshed(surface: &str, url: &SurfaceUrl, expires: Wall) -> Value {
    json!({"surface": surface, "pluginSurfaceUrls": {surface: url.url}, "expiresAtMs": expires.0})
}
