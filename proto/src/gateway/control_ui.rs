//! The page at the gateway's own address over HTTP: an installed Control UI (spec: http section 7), or else the control page
//! that comes with the program. Their files are public by design, what a Control UI is told at its start is not.

use super::admit::{self, Bearer};
use super::canvas::{self, Address, By};
use super::peers::{Phase, Serving};
use super::{Gateway, Purpose, web};
use crate::dialect::{self, Dialect};
use crate::host::HostRequest;
use crate::host::files::{FileRequest, FileRoot, guard_control_ui};
use crate::http::file::Conditions;
use crate::http::path::FilePath;
use crate::http::{HttpRequest, HttpResponse};
use crate::id::ConnId;
use crate::net::ClientAddress;
use crate::output::Output;
use crate::time::Now;
use serde_json::json;

/// What of it is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    File(FilePath),
    /// The address without the slash at its end.
    Bare,
    /// What the page wants to know before it connects, as the releases of a protocol ask for it.
    Bootstrap(Dialect),
    /// An agent's picture, or where it is.
    Avatar,
    Nothing,
}

/// What a path asks for, when it is the page's at all.
fn route(base: &str, path: &str) -> Option<Asked> {
    let rest = path.strip_prefix(base)?;
    if rest.is_empty() && !base.is_empty() {
        return Some(Asked::Bare);
    }
    if !rest.starts_with('/') {
        return None;
    }
    if base.is_empty() {
        let is_below =
            |name: &str| rest.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if is_below("/ui") {
            return Some(Asked::Nothing);
        }
        // Others' names; what is there says so itself.
        if ["/api", "/plugins", "/hooks", "/v1", "/tools", "/__openclaw__"].into_iter().any(is_below) {
            return None;
        }
    }
    match rest {
        "/__openclaw/control-ui-config.json" => return Some(Asked::Bootstrap(Dialect::V3)),
        "/control-ui-config.json" => return Some(Asked::Bootstrap(Dialect::V4)),
        _ => {}
    }
    if let Some(agent) = rest.strip_prefix("/avatar/") {
        return Some(if is_agent_id(agent) { Asked::Avatar } else { Asked::Nothing });
    }
    Some(match FilePath::parse(rest) {
        Ok(path) => Asked::File(path),
        Err(_) => Asked::Nothing,
    })
}

fn is_agent_id(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() <= 64
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl Gateway {
    /// Answers a request for the page; says whether it was one.
    pub(super) fn control_ui_request(
        &mut self,
        now: Now,
        conn: ConnId,
        request: &HttpRequest,
        client: &ClientAddress,
        address: Address<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(page) = &self.config.control_ui else { return false };
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return false;
        }
        let Some(asked) = route(&page.base_path, address.path) else { return false };
        let built_in = page.built_in;
        // What a Control UI asks for before it connects, the control page does not.
        let is_for_control_ui = matches!(asked, Asked::Bootstrap(_) | Asked::Avatar);
        let asked = if built_in && is_for_control_ui { Asked::Nothing } else { asked };
        let response = match asked {
            Asked::File(path) if self.peers.has_serving_room(client.ip, By::Anybody, &self.config) => {
                let serving =
                    Serving { ip: client.ip, by: By::Anybody, query: None, rest: None, asked: true };
                let wanted = FileRequest {
                    root: if built_in { FileRoot::ControlPage } else { FileRoot::ControlUi },
                    path,
                    head_only: request.method == "HEAD",
                    conditions: Conditions::of(request),
                    live_reload: false,
                    readable_by_all: false,
                    piece_bytes: self.config.limits.file_piece_bytes,
                };
                self.peers.set_phase(conn, Phase::Serving(Box::new(serving)));
                self.ask_host(now, HostRequest::File(Box::new(wanted)), Purpose::File { conn }, out);
                return true;
            }
            Asked::File(_) => canvas::too_many_files(),
            Asked::Bare => {
                let query = request.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
                HttpResponse::text(302, "").with("Location", format!("{}/{query}", page.base_path))
            }
            Asked::Bootstrap(dialect) => {
                let limiters = &mut self.limiters;
                let shown = if client.local {
                    Bearer::Proved
                } else {
                    admit::http_bearer(&self.config, limiters, now.mono, client, request)
                };
                match shown {
                    Bearer::Proved => {
                        let facts = dialect::surfaces::control_ui(
                            dialect,
                            &page.base_path,
                            &self.config.about.version,
                        );
                        HttpResponse::json(200, facts.to_string()).with("Cache-Control", "no-cache")
                    }
                    Bearer::Unproved => canvas::unauthorized("Unauthorized", None),
                    Bearer::Locked(retry_after_ms) => web::too_many_guesses(retry_after_ms),
                }
            }
            Asked::Avatar
                if request
                    .query
                    .as_deref()
                    .is_some_and(|query| query.split('&').any(|pair| pair == "meta=1")) =>
            {
                // No agent of this gateway has a picture.
                HttpResponse::json(200, json!({"avatarUrl": null}).to_string())
                    .with("Cache-Control", "no-cache")
            }
            Asked::Avatar | Asked::Nothing => HttpResponse::text(404, "Not Found"),
        };
        self.answer_http(conn, guard_control_ui(built_in, response), out);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(base: &str, path: &str) -> String {
        route(base, path).map_or_else(|| "none".to_owned(), |asked| format!("{asked:?}"))
    }

    #[test]
    fn what_is_the_pages_and_what_is_not() {
        for (path, want) in [
            ("/", "File(FilePath(\"\"/))"),
            ("/chat/main", "File(FilePath(\"chat/main\"))"),
            ("/../x", "Nothing"),
            ("/ui", "Nothing"),
            ("/ui/x", "Nothing"),
            ("/uix", "File(FilePath(\"uix\"))"),
            ("/api/x", "none"),
            ("/v1/models", "none"),
            ("/__openclaw__/x", "none"),
            ("/__openclaw/control-ui-config.json", "Bootstrap(V3)"),
            ("/control-ui-config.json", "Bootstrap(V4)"),
            ("/avatar/main", "Avatar"),
            ("/avatar/../x", "Nothing"),
            ("/avatar/-x", "Nothing"),
            ("*", "none"),
        ] {
            assert_eq!(shown("", path), want, "{path}");
        }
        for (path, want) in [
            ("/", "none"),
            ("/desk", "Bare"),
            ("/desk/", "File(FilePath(\"\"/))"),
            ("/desk/api", "File(FilePath(\"api\"))"),
            ("/desk/__openclaw/control-ui-config.json", "Bootstrap(V3)"),
            ("/deskx", "none"),
        ] {
            assert_eq!(shown("/desk", path), want, "{path}");
        }
    }
}
