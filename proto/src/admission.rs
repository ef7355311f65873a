//! What hello-ok is made of. The gateway gathers the facts; the connection renders them, outside the lock.

use crate::config::Config;
use crate::dialect::Dialect;
use crate::frame::StateVersion;
use crate::scope::{Role, Scopes};
use bytes::Bytes;
use std::sync::Arc;

/// One admitted peer.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The id of the `connect` request.
    pub request_id: Box<str>,
    /// The shapes this peer understands.
    pub dialect: Dialect,
    /// `server.connId`.
    pub conn_id: String,
    /// Its role.
    pub role: Role,
    /// The live authority of this socket.
    pub scopes: Scopes,
    /// The device token of this role, when the device has one.
    pub token: Option<IssuedToken>,
    /// Tokens of other roles, for a device that came with a setup code.
    pub handoff: Vec<(String, IssuedToken)>,
    /// Whether the gateway wants to know as soon as hello-ok is written.
    pub confirm: bool,
    /// Presence, already encoded for this dialect.
    pub presence: Bytes,
    /// The latest health snapshot, or `{}`, already encoded for this dialect.
    pub health: Bytes,
    /// Versions of both.
    pub state_version: StateVersion,
    /// Since the process started.
    pub uptime_ms: u64,
    /// How far a suspension is.
    pub suspension: &'static str,
    /// Where the canvas is, when it is for this peer.
    pub surface: Option<SurfaceUrl>,
    /// Names, paths, limits.
    pub config: Arc<Config>,
}

/// An address of the canvas. Whoever has one with a capability may use it.
#[derive(Clone)]
pub struct SurfaceUrl {
    /// Scheme, host, port, and the capability when there is one.
    pub url: String,
    /// That alone.
    pub capability: Option<String>,
}

impl core::fmt::Debug for SurfaceUrl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SurfaceUrl(..)")
    }
}

/// A device token on its way to the device that owns it.
#[derive(Clone)]
pub struct IssuedToken {
    /// The secret.
    pub token: String,
    /// The scopes stored on it.
    pub scopes: Vec<String>,
    /// When it was made or last rotated.
    pub issued_at_ms: u64,
}

impl core::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IssuedToken").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

impl Admission {
    /// About how many bytes the variable part of hello-ok takes.
    pub fn size(&self) -> usize {
        self.presence.len() + self.health.len() + self.surface.as_ref().map_or(0, |surface| surface.url.len())
    }
}
