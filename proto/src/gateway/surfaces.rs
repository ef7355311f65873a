//! Addresses of the canvas that carry their own right (spec: http section 4, v4 section 14). One is made for a connection
//! and works as long as that connection is there and may have it; it is built on the origin that the peer itself used, so
//! that it is told to nobody else (R1). Only a hash of it is kept.

use super::{Call, Gateway, canvas};
use crate::admission::SurfaceUrl;
use crate::config::Config;
use crate::dialect::{self, Dialect};
use crate::error::RequestError;
use crate::frame::Payload;
use crate::http::HttpRequest;
use crate::id::ConnId;
use crate::methods::Params;
use crate::net::ClientAddress;
use crate::output::{Output, Reply};
use crate::scope::{self, Role};
use crate::seed::Random;
use crate::time::{Mono, Now};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use core::net::SocketAddr;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The addresses of everybody who is in.
#[derive(Default)]
pub(super) struct Surfaces {
    /// One for each admitted socket at most.
    of: BTreeMap<ConnId, Hosted>,
    /// By its hash: that finding one takes longer or shorter tells nothing of it.
    by_hash: BTreeMap<[u8; 32], ConnId>,
    /// Gone, and what was begun in their name is not cut yet.
    gone: BTreeSet<ConnId>,
}

struct Hosted {
    /// Scheme, host and port, as the peer knows them.
    origin: Box<str>,
    capability: Option<Capability>,
}

struct Capability {
    hash: [u8; 32],
    until: Mono,
}

/// What is known of a capability that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It works, for this connection.
    Good(ConnId),
    /// It did.
    Expired,
    /// It never was one, was replaced, or its connection is gone.
    Nobodys,
}

/// Hashes and addresses stay here.
impl core::fmt::Debug for Surfaces {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Surfaces").field("peers", &self.of.len()).finish_non_exhaustive()
    }
}

impl Surfaces {
    /// How many peers are known.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// A peer is in.
    pub(super) fn joined(&mut self, conn: ConnId, origin: Box<str>) {
        self.of.insert(conn, Hosted { origin, capability: None });
    }

    /// It is gone, and its address with it.
    pub(super) fn left(&mut self, conn: ConnId) {
        if let Some(capability) = self.of.remove(&conn).and_then(|hosted| hosted.capability) {
            self.by_hash.remove(&capability.hash);
            self.gone.insert(conn);
        }
    }

    /// Those that are gone since this was asked last.
    pub(super) fn take_gone(&mut self) -> BTreeSet<ConnId> {
        core::mem::take(&mut self.gone)
    }

    /// Makes a new address in the place of the old one, which no longer works.
    fn mint(&mut self, conn: ConnId, until: Mono, random: &mut Random) -> Option<SurfaceUrl> {
        let hosted = self.of.get_mut(&conn)?;
        let token = URL_SAFE_NO_PAD.encode(random.bytes::<18>());
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(old) = hosted.capability.replace(Capability { hash, until }) {
            self.by_hash.remove(&old.hash);
        }
        self.by_hash.insert(hash, conn);
        let url = format!("{}{}/{token}", hosted.origin, canvas::CAPABILITY);
        Some(SurfaceUrl { url, capability: Some(token) })
    }

    /// Looks for one.
    fn find(&self, token: &str, now: Mono) -> Known {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let Some(conn) = self.by_hash.get(&hash).copied() else { return Known::Nobodys };
        let capability = self.of.get(&conn).and_then(|hosted| hosted.capability.as_ref());
        match capability {
            Some(capability) if now < capability.until => Known::Good(conn),
            Some(_) => Known::Expired,
            None => Known::Nobodys,
        }
    }

    /// It was used.
    fn extend(&mut self, conn: ConnId, until: Mono) {
        if let Some(capability) = self.of.get_mut(&conn).and_then(|hosted| hosted.capability.as_mut()) {
            capability.until = until;
        }
    }
}

/// The origin by which a peer reached us. Whether that was encrypted before it came to us only a trusted proxy can say.
pub(super) fn origin(
    config: &Config,
    client: &ClientAddress,
    local: SocketAddr,
    request: &HttpRequest,
) -> Box<str> {
    let is_trusted = config.trusted_proxies.iter().any(|range| range.contains(client.socket));
    let proto = request.header("x-forwarded-proto").and_then(|list| list.split(',').next()).map(str::trim);
    let scheme = if is_trusted && proto == Some("https") { "https://" } else { config.page_scheme() };
    match request.header("host") {
        Some(host) => format!("{scheme}{}", host.to_ascii_lowercase()),
        None => format!("{scheme}{local}"),
    }
    .into()
}

impl Gateway {
    /// What hello-ok tells a new peer of the canvas.
    pub(super) fn surface_at_hello(
        &mut self,
        now: Now,
        conn: ConnId,
        origin: Option<Box<str>>,
        dialect: Dialect,
    ) -> Option<SurfaceUrl> {
        let origin = origin?;
        let plain = SurfaceUrl { url: origin.to_string(), capability: None };
        self.surfaces.joined(conn, origin);
        let role = self.peers.session(conn)?.role;
        if role == Role::Operator && dialect.exceptions().plain_surface_for_operators {
            return Some(plain);
        }
        self.mint_surface(now, conn)
    }

    fn mint_surface(&mut self, now: Now, conn: ConnId) -> Option<SurfaceUrl> {
        if !self.may_have_surface(conn) {
            return None;
        }
        let until = now.mono.plus_millis(self.config.limits.capability_ttl_ms);
        self.surfaces.mint(conn, until, &mut self.random)
    }

    /// Operators that may read, and nodes whose canvas somebody approved: what a node says of itself is not enough.
    fn may_have_surface(&self, conn: ConnId) -> bool {
        let Some(session) = self.peers.session(conn) else { return false };
        match session.role {
            Role::Operator => session.scopes.satisfies(scope::READ),
            Role::Node => {
                let has_canvas = |caps: &[String]| caps.iter().any(|cap| cap == SURFACE);
                let declares = session.declared.as_ref().is_some_and(|node| has_canvas(&node.surface.caps));
                let node = session.device_id.as_ref().and_then(|id| self.devices.content().nodes.get(id));
                declares && node.is_some_and(|entry| has_canvas(&entry.surface.caps))
            }
        }
    }

    /// Whose capability this is; a use of it is a use, however it ends. Whether its owner may still have it is looked at
    /// every time.
    pub(super) fn surface_of(&mut self, now: Now, token: &str) -> Known {
        let known = self.surfaces.find(token, now.mono);
        if let Known::Good(conn) = known {
            if !self.may_have_surface(conn) {
                return Known::Nobodys;
            }
            let until = now.mono.plus_millis(self.config.limits.capability_ttl_ms);
            self.surfaces.extend(conn, until);
        }
        known
    }
}

/// `node.canvas.capability.refresh`.
pub(crate) fn refresh_canvas(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Some(url) = gateway.mint_surface(call.now, call.conn) else {
        let error = unavailable(gateway, "canvas host unavailable for this node session".to_owned());
        return gateway.fail(call.conn, call.id, &error, out);
    };
    let expires = call.now.wall + gateway.config.limits.capability_ttl_ms;
    let answer = dialect::surfaces::refreshed_canvas(&url, expires);
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Value(Box::new(answer))), out);
}

/// `node.pluginSurface.refresh` and `plugin.surface.refresh`. What the caller says it sees (`observedUrl`) is not looked
/// at: no peer says where an address leads.
pub(crate) fn refresh(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let surface = params.get("surface").and_then(Value::as_str).unwrap_or_default().trim();
    if surface.is_empty() {
        let error = RequestError::Invalid("surface required".to_owned());
        return gateway.fail(call.conn, call.id, &error, out);
    }
    let url = if surface == SURFACE { gateway.mint_surface(call.now, call.conn) } else { None };
    let Some(url) = url else {
        let name: String = surface.chars().take(SHOWN_NAME_CHARS_MAX).collect();
        let error = unavailable(gateway, format!("{name} plugin surface unavailable"));
        return gateway.fail(call.conn, call.id, &error, out);
    };
    let expires = call.now.wall + gateway.config.limits.capability_ttl_ms;
    let answer = dialect::surfaces::refreshed(SURFACE, &url, expires);
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Value(Box::new(answer))), out);
}

/// It is not served at all, or not to this peer.
fn unavailable(gateway: &Gateway, message: String) -> RequestError {
    let is_served = gateway.config.canvas.is_some();
    let reason = if is_served { "surface-not-granted" } else { "feature-unavailable" };
    RequestError::Unavailable { message, reason, retryable: false }
}

/// The only surface there is, and the capability by which a node says that it has one.
const SURFACE: &str = "canvas";
/// Of the name of a surface that is not here.
const SHOWN_NAME_CHARS_MAX: usize = 64;
