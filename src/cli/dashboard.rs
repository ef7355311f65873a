//! `dashboard`: the address of the page at the gateway's own address, with a way in that works once (spec: v4 section
//! 6.8). The gateway makes it, so that there is one place that decides; nothing that lasts is in the address, and what
//! is stands behind `#`, where browsers send it to nobody.

use super::args::ClientArgs;
use super::session::Session;
use super::{Failure, print, print_json, render};
use crate::config;
use crate::environment::Environment;
use crate::log::wall_ms;
use crate::storage::{RealDisk, Storage};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::{Value, json};
use std::io::{self, IsTerminal as _};

/// `clawgate dashboard`.
#[derive(Args, Debug)]
pub struct DashboardArgs {
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Asks for a link and shows it.
///
/// # Errors
/// There is no gateway, it does not let us in, it serves no page, or its people sign in elsewhere.
pub fn run(args: &DashboardArgs, environment: &Environment) -> Result<(), Failure> {
    let mut session = Session::open(&args.client, environment)?;
    let mode = session.hello.0["snapshot"]["authMode"].as_str().unwrap_or_default().to_owned();
    let place = Place::of(&session.target.url, session.target.is_loopback);
    if mode == "trusted-proxy" {
        session.close();
        return Err(Failure::Failed(
            "people sign in at the proxy of this gateway (gateway.auth.mode is trusted-proxy): open its address"
                .to_owned(),
        ));
    }
    if mode == "none" {
        session.close();
        let storage = Storage::new(RealDisk, 0);
        let page = config::open(&storage, environment).map_err(Failure::Failed)?.settings.control_ui;
        // Where the page of a gateway elsewhere is, these settings do not say.
        let base = if args.client.url.is_none() { page.base_path.as_str() } else { "" };
        if args.client.url.is_none() && page.enabled == Some(false) {
            return Err(Failure::Failed(
                "this gateway serves no page: gateway.controlUi.enabled is false".to_owned(),
            ));
        }
        let link = format!("{}{base}/", place.http);
        return if args.client.json {
            print_json(&json!({ "url": link, "auth": mode }))
        } else {
            print(&format!("{link}\n"))
        };
    }
    let answer = session.call("device.pair.setupCode", json!({ "bootstrapProfile": "control-ui-owner" }));
    session.close();
    let answer = answer?;
    let Some(secret) = secret(&answer) else {
        return Err(Failure::Failed(
            "this gateway makes no links for browsers; open its address and show it the token (`clawgate token`)"
                .to_owned(),
        ));
    };
    let base = answer["basePath"].as_str().unwrap_or_default();
    // What stands behind the secret is for Control UIs of the reference, which ask what it is for.
    let link = format!("{}{base}/#bootstrapToken={secret}&bootstrapProfile=owner", place.http);
    if args.client.json {
        return print_json(&json!({
            "url": link,
            "auth": answer["auth"],
            "expiresAtMs": answer["expiresAtMs"],
            "builtIn": answer["builtIn"],
        }));
    }
    if !io::stdout().is_terminal() {
        return print(&format!("{link}\n"));
    }
    let left_ms = answer["expiresAtMs"].as_u64().unwrap_or_default().saturating_sub(wall_ms());
    print(&format!("{}\n\n{}", render::clean(&link), advice(&place, left_ms, &answer["builtIn"])))
}

/// The secret in a code.
fn secret(answer: &Value) -> Option<String> {
    if answer["access"] != "control-ui-owner" {
        return None;
    }
    let code = URL_SAFE_NO_PAD.decode(answer["setupCode"].as_str()?).ok()?;
    let code: Value = serde_json::from_slice(&code).ok()?;
    let secret = code["bootstrapToken"].as_str()?;
    let is_plain = secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_plain.then(|| secret.to_owned())
}

/// Where the page is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    http: String,
    port: String,
    is_loopback: bool,
}

impl Place {
    /// Of the gateway at this WebSocket address.
    fn of(url: &str, is_loopback: bool) -> Self {
        let (scheme, rest) = match url.split_once("://") {
            Some(("wss", rest)) => ("https", rest),
            Some((_, rest)) => ("http", rest),
            None => ("http", url),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
        let port = after_host.rsplit_once(':').map_or("18789", |(_, port)| port);
        Self { http: format!("{scheme}://{authority}"), port: port.to_owned(), is_loopback }
    }
}

fn advice(place: &Place, left_ms: u64, built_in: &Value) -> String {
    let mut text = format!(
        "Open it in a browser within {} minutes. It works once, and lets that browser in with everything: show it to nobody \
         else.\n",
        left_ms.div_ceil(60_000)
    );
    let port = &place.port;
    if place.is_loopback {
        text.push_str(&format!(
            "From another machine, have SSH bring this port there, and open the link there:\n  \
             ssh -N -L {port}:127.0.0.1:{port} USER@THIS-HOST\n"
        ));
    } else if place.http.starts_with("http:") {
        text.push_str(
            "Without TLS browsers lend no keys to a page of another machine: set gateway.tls.enabled to true, or use an SSH \
             tunnel, Tailscale Serve or a proxy with a certificate.\n",
        );
    }
    if place.http.starts_with("https:") {
        text.push_str(
            "A browser that does not know who signed the certificate asks first: compare its SHA-256 with what `clawgate gateway \
             tls` shows.\n",
        );
    }
    if built_in == &Value::Bool(false) {
        text.push_str(
            "A Control UI is installed (gateway.controlUi.root). One that knows no such links asks for the token: clawgate token\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_where_its_gateway_is() {
        for (url, http, port) in [
            ("ws://127.0.0.1:18789", "http://127.0.0.1:18789", "18789"),
            ("wss://gw.example/x?y", "https://gw.example", "18789"),
            ("ws://[::1]:19001/", "http://[::1]:19001", "19001"),
        ] {
            let place = Place::of(url, true);
            assert_eq!((place.http.as_str(), place.port.as_str()), (http, port), "{url}");
        }
    }

    #[test]
    fn only_a_code_for_a_browser_becomes_a_link() {
        let code = URL_SAFE_NO_PAD.encode(r#"{"bootstrapToken":"a-b_C1"}"#);
        let answer = json!({ "access": "control-ui-owner", "setupCode": code });
        assert_eq!(secret(&answer).as_deref(), Some("a-b_C1"));
        assert_eq!(secret(&json!({ "access": "full", "setupCode": code })), None);
        let odd = URL_SAFE_NO_PAD.encode(r#"{"bootstrapToken":"a b"}"#);
        assert_eq!(secret(&json!({ "access": "control-ui-owner", "setupCode": odd })), None);
    }

    #[test]
    fn people_are_told_how_long_and_how_from_elsewhere() {
        let text = advice(&Place::of("ws://127.0.0.1:19001", true), 599_000, &Value::Bool(true));
        assert!(
            text.contains("within 10 minutes") && text.contains("ssh -N -L 19001:127.0.0.1:19001"),
            "{text}"
        );
        let text = advice(&Place::of("ws://10.0.0.2:1", false), 1, &Value::Bool(false));
        assert!(text.contains("Without TLS") && text.contains("clawgate token"), "{text}");
    }
}
