//! The canvas over HTTP (spec: http sections 2 to 6): which requests are for it, and who may make them. The threats: a
//! page or a program that shares an address with somebody who may; a path that means one thing here and another where
//! files are opened; an address that still works when its owner is gone.

use super::admit::{self, Bearer};
use super::peers::{Phase, Serving};
use super::surfaces::Known;
use super::{Gateway, Purpose, web};
use crate::host::HostRequest;
use crate::host::files::{FileRequest, FileRoot};
use crate::http::file::Conditions;
use crate::http::path::{FilePath, PathFault};
use crate::http::{HttpRequest, HttpResponse};
use crate::id::ConnId;
use crate::net::{self, ClientAddress, Origin};
use crate::output::{Order, Output};
use crate::secret::Secret;
use crate::time::Now;
use serde_json::json;

/// A request's path without the capability that may stand before it. Nobody looks at any other path.
#[derive(Clone, Copy)]
pub(super) struct Address<'r> {
    pub(super) path: &'r str,
    /// As shown; before the path, or else in the query.
    pub(super) capability: Option<&'r str>,
}

/// A capability that can be none: nothing behind it is looked at, whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What a path of the canvas is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'r> {
    /// Something below a folder; the rest of the path, encoded.
    File(FileRoot, &'r str),
    /// The socket of pages that load themselves again.
    Socket,
}

/// On whose word a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// It comes from this machine, or the shared secret was shown.
    Itself,
    /// It asks for what is public.
    Anybody,
    /// The address was made for this connection, and works as long as it is there.
    Capability(ConnId),
}

impl<'r> Address<'r> {
    /// Takes a capability off.
    ///
    /// # Errors
    /// What stands in its place is none.
    pub(super) fn of(request: &'r HttpRequest) -> Result<Self, Malformed> {
        let path = request.path.as_str();
        if let Some(rest) = path.strip_prefix(CAPABILITY)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            let (token, _) = rest.strip_prefix('/').unwrap_or_default().split_once('/').ok_or(Malformed)?;
            let path = &path[CAPABILITY.len() + 1 + token.len()..];
            return if is_token(token) { Ok(Self { path, capability: Some(token) }) } else { Err(Malformed) };
        }
        let query = request.query.as_deref().unwrap_or_default();
        let mut shown = query.split('&').filter_map(|pair| pair.strip_prefix("oc_cap="));
        let capability = shown.next();
        // Of two one would be looked at here, and the other somewhere else.
        if capability.is_some_and(|token| !is_token(token)) || shown.next().is_some() {
            return Err(Malformed);
        }
        Ok(Self { path, capability })
    }

    /// What of the canvas it names.
    pub(super) fn target(&self) -> Option<Target<'r>> {
        if self.path == SOCKET {
            return Some(Target::Socket);
        }
        MOUNTS.iter().find_map(|(mount, root)| {
            let rest = self.path.strip_prefix(mount)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(Target::File(*root, rest))
        })
    }
}

impl Malformed {
    pub(super) fn response() -> HttpResponse {
        unauthorized("Unauthorized", None)
    }
}

/// 18 bytes in base64url.
fn is_token(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

pub(super) fn unauthorized(message: &str, code: Option<&str>) -> HttpResponse {
    let mut error = json!({"message": message, "type": "unauthorized"});
    if let Some(code) = code {
        error["code"] = code.into();
    }
    HttpResponse::json(401, json!({"error": error}).to_string()).with("Cache-Control", "no-store")
}

/// The refusal of one file too many.
pub(super) fn too_many_files() -> HttpResponse {
    HttpResponse::text(503, "Too many files are being sent").with("Retry-After", "1")
}

impl Gateway {
    /// Answers a request for the canvas; says whether it was one.
    pub(super) fn canvas_request(
        &mut self,
        now: Now,
        conn: ConnId,
        request: &HttpRequest,
        client: &ClientAddress,
        address: Address<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        let (Some(canvas), Some(target)) = (self.config.canvas, address.target()) else { return false };
        match self.canvas_file(now, request, client, address, target) {
            Ok((wanted, by)) => {
                let query = request.query.as_deref().and_then(Secret::new);
                let serving = Serving { ip: client.ip, by, query, rest: None, asked: true };
                self.peers.set_phase(conn, Phase::Serving(Box::new(serving)));
                let wanted = FileRequest { live_reload: canvas.live_reload, ..wanted };
                self.ask_host(now, HostRequest::File(Box::new(wanted)), Purpose::File { conn }, out);
            }
            Err(response) => self.answer_http(conn, *response, out),
        }
        true
    }

    /// Which file is wanted, or what to say instead.
    fn canvas_file(
        &mut self,
        now: Now,
        request: &HttpRequest,
        client: &ClientAddress,
        address: Address<'_>,
        target: Target<'_>,
    ) -> Result<(FileRequest, By), Box<HttpResponse>> {
        let by = self.canvas_access(now, request, client, address.capability)?;
        let text = |status, text| Err(Box::new(HttpResponse::text(status, text)));
        let (root, rest) = match target {
            Target::File(root, rest) => (root, rest),
            Target::Socket if self.reloads_pages() => {
                let response = HttpResponse::text(426, "upgrade required").with("Upgrade", "websocket");
                return Err(Box::new(response));
            }
            Target::Socket => return text(404, "not found"),
        };
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            let response = HttpResponse::text(405, "Method Not Allowed").with("Allow", "GET, HEAD");
            return Err(Box::new(response));
        }
        let path = match FilePath::parse(rest) {
            Ok(path) => path,
            Err(PathFault::Encoding) => return text(400, "The path is not percent-encoded UTF-8."),
            Err(PathFault::Refused) => return text(404, "not found"),
        };
        if !self.peers.has_serving_room(client.ip, by, &self.config) {
            return Err(Box::new(too_many_files()));
        }
        let wanted = FileRequest {
            root,
            path,
            head_only: request.method == "HEAD",
            conditions: Conditions::of(request),
            live_reload: false,
            readable_by_all: matches!(by, By::Capability(_)),
            piece_bytes: self.config.limits.file_piece_bytes,
        };
        Ok((wanted, by))
    }

    /// Who may have anything of the canvas: this machine, who shows the shared secret, who has an address that was made
    /// for a connection that is still there (spec: http section 4).
    ///
    /// # Errors
    /// Nobody of these; what to say.
    pub(super) fn canvas_access(
        &mut self,
        now: Now,
        request: &HttpRequest,
        client: &ClientAddress,
        capability: Option<&str>,
    ) -> Result<By, Box<HttpResponse>> {
        // On this machine too: by its own address a page may read what lies beside it, and a use of it is a use.
        let known = capability.map(|token| self.surface_of(now, token));
        if let (true, Some(Known::Good(conn))) = (client.local, known) {
            return Ok(By::Capability(conn));
        }
        if client.local {
            return Ok(By::Itself);
        }
        let config = &self.config;
        let shared = admit::http_bearer(config, &mut self.limiters, now.mono, client, request);
        if shared == Bearer::Proved {
            return Ok(By::Itself);
        }
        if let Some(Known::Good(conn)) = known {
            return Ok(By::Capability(conn));
        }
        Err(Box::new(match (shared, known) {
            (Bearer::Locked(retry_after_ms), _) => web::too_many_guesses(retry_after_ms),
            (_, Some(Known::Expired)) => unauthorized(
                "This canvas address has expired; ask for another with node.pluginSurface.refresh \
                 (node.canvas.capability.refresh at protocol 3)",
                Some("CAPABILITY_EXPIRED"),
            ),
            (_, Some(Known::Good(_) | Known::Nobodys)) => unauthorized(
                "This canvas address is not one that works: it was replaced, or the connection that it was made for \
                 is gone",
                Some("CAPABILITY_UNKNOWN"),
            ),
            (_, None) => unauthorized("Unauthorized", None),
        }))
    }

    /// Whether pages are told to load themselves again.
    pub(super) fn reloads_pages(&self) -> bool {
        self.config.canvas.is_some_and(|canvas| canvas.live_reload)
    }

    /// Whether the page that opens this socket is one of ours. One in a sandbox has no origin, which is what a canvas
    /// is; such a page of anybody else learns here only that some file has changed.
    pub(super) fn is_canvas_page(&self, client: &ClientAddress, request: &HttpRequest) -> bool {
        let Some(header) = request.header("origin").map(str::trim).filter(|text| !text.is_empty()) else {
            return true;
        };
        if header == "null" {
            return true;
        }
        let Some(origin) = Origin::parse(header) else { return false };
        let mut listed = self.config.allowed_origins.iter().map(|entry| entry.trim().to_ascii_lowercase());
        (net::is_loopback_name(&origin.host) && client.local)
            || listed.any(|entry| entry == "*" || entry == origin.text)
            || self.config.auth.pages.own_origins.contains(&origin.text)
    }

    /// Answers a request, which was then the last one when the gateway stops.
    pub(super) fn answer_http(&mut self, conn: ConnId, mut response: HttpResponse, out: &mut Vec<Output>) {
        response.close |= self.stopping;
        self.peers.set_phase(conn, Phase::Http);
        self.order(conn, Order::Http(Box::new(response)), out);
    }
}

/// What stands before a path, with its token.
pub(super) const CAPABILITY: &str = "/__openclaw__/cap";
const SOCKET: &str = "/__openclaw__/ws";
const MOUNTS: [(&str, FileRoot); 2] =
    [("/__openclaw__/canvas", FileRoot::Canvas), ("/__openclaw__/a2ui", FileRoot::A2ui)];

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "AbCdEfGhIjKlMnOpQrStUv-_";

    fn request(target: &str) -> HttpRequest {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        HttpRequest { path: path.to_owned(), query, ..HttpRequest::default() }
    }

    #[test]
    fn a_capability_stands_before_the_path_or_in_the_query() {
        for (target, path, shown) in [
            ("/__openclaw__/canvas/a", "/__openclaw__/canvas/a", false),
            (&format!("/__openclaw__/cap/{TOKEN}/__openclaw__/a2ui/"), "/__openclaw__/a2ui/", true),
            (&format!("/__openclaw__/cap/{TOKEN}/"), "/", true),
            (&format!("/x?a=b&oc_cap={TOKEN}&c"), "/x", true),
            ("/__openclaw__/capital", "/__openclaw__/capital", false),
        ] {
            let request = request(target);
            let address = Address::of(&request).ok();
            assert_eq!(
                address.map(|found| (found.path, found.capability == Some(TOKEN))),
                Some((path, shown)),
                "{target}"
            );
        }
        for target in [
            "/__openclaw__/cap",
            "/__openclaw__/cap/",
            "/__openclaw__/cap//a",
            &format!("/__openclaw__/cap/{TOKEN}"),
            &format!("/__openclaw__/cap/{TOKEN}x/a"),
            &format!("/__openclaw__/cap/%41{}/a", &TOKEN[1..]),
            "/__openclaw__/cap/short/a",
            "/a?oc_cap=",
            "/a?oc_cap=%zz",
            &format!("/a?oc_cap={TOKEN}&oc_cap={TOKEN}"),
        ] {
            assert!(Address::of(&request(target)).is_err(), "{target}");
        }
    }

    #[test]
    fn a_path_of_the_canvas_has_one_spelling() {
        let target = |path: &str| {
            let request = request(path);
            let address = Address::of(&request).ok();
            address.and_then(|address| address.target().map(|target| format!("{target:?}")))
        };
        assert_eq!(target("/__openclaw__/canvas").as_deref(), Some("File(Canvas, \"\")"));
        assert_eq!(target("/__openclaw__/a2ui/x/y").as_deref(), Some("File(A2ui, \"/x/y\")"));
        assert_eq!(target("/__openclaw__/ws").as_deref(), Some("Socket"));
        for path in [
            "/__openclaw__/ws/",
            "/__openclaw__/canvasx",
            "/__OPENCLAW__/canvas/",
            "//__openclaw__/canvas/",
            "/__openclaw__/%63anvas/",
            "/x/../__openclaw__/canvas/",
            "/__openclaw__//canvas/",
        ] {
            assert_eq!(target(path), None, "{path}");
        }
    }
}
