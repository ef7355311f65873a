//! `qr`: a setup code for a phone or a node host, as a picture and as text (spec: pairing section 7). The gateway makes
//! the code, so that there is one place that decides; what it shows works once, for ten minutes, and is never the
//! gateway's own token.

use super::args::ClientArgs;
use super::session::Session;
use super::{Failure, print, print_json, render};
use crate::config;
use crate::environment::Environment;
use crate::log::wall_ms;
use crate::qr::Code;
use crate::storage::{RealDisk, Storage};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::fmt;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

/// `clawgate qr`. `Debug` shows no secret.
#[derive(Clone, Args)]
pub struct QrArgs {
    /// What the code opens
    #[arg(long, value_name = "ACCESS", default_value = "full")]
    pub access: AccessArg,
    /// Address in the code, such as wss://gateway.example [default: where the gateway listens]
    #[arg(long, visible_alias = "public-url", value_name = "URL", conflicts_with = "remote")]
    pub url: Option<String>,
    /// Put gateway.remote.url into the code
    #[arg(long)]
    pub remote: bool,
    /// Print the code and nothing else
    #[arg(long, conflicts_with = "json")]
    pub setup_code_only: bool,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
    /// No picture
    #[arg(long, visible_alias = "no-ascii")]
    pub no_picture: bool,
    /// The gateway's token [default: OPENCLAW_GATEWAY_TOKEN, the config file]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// The gateway's password [default: OPENCLAW_GATEWAY_PASSWORD, the config file]
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// How long to wait for the gateway, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub timeout: u64,
}

impl QrArgs {
    /// How to reach the gateway: this machine's own. `--url` is the one in the code.
    pub fn client(&self) -> ClientArgs {
        ClientArgs {
            json: self.json,
            url: None,
            token: self.token.clone(),
            password: self.password.clone(),
            tls_fingerprint: None,
            timeout: self.timeout,
        }
    }
}

impl fmt::Debug for QrArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QrArgs").field("access", &self.access).field("url", &self.url).finish_non_exhaustive()
    }
}

/// Values of `--access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccessArg {
    /// A phone: node, and operator with everything
    Full,
    /// A phone: node, and operator without admin
    Limited,
    /// A node host
    Node,
}

impl AccessArg {
    /// What the method calls it.
    pub fn profile(self) -> Option<&'static str> {
        match self {
            Self::Full => None,
            Self::Limited => Some("limited"),
            Self::Node => Some("node"),
        }
    }
}

/// Asks for a code and shows it.
///
/// # Errors
/// There is no gateway, it does not let us in, or it has no address that others could use.
pub fn run(args: &QrArgs, environment: &Environment) -> Result<(), Failure> {
    let mut params = json!({});
    if let Some(url) = &args.url {
        params["publicUrl"] = json!(url);
    }
    if args.remote {
        params["preferRemoteUrl"] = json!(true);
    }
    if let Some(profile) = args.access.profile() {
        params["bootstrapProfile"] = json!(profile);
    }
    if args.remote {
        let storage = Storage::new(RealDisk, 0);
        let opened = config::open(&storage, environment).map_err(Failure::Failed)?;
        if opened.settings.remote_url.is_none() {
            return Err(Failure::Usage(
                "gateway.remote.url is not set; set it, or say the address with --url".to_owned(),
            ));
        }
    }
    let mut session = Session::open(&args.client(), environment)?;
    let answer = session.call("device.pair.setupCode", params);
    session.close();
    let answer = answer?;
    let Some(code) = answer["setupCode"].as_str() else {
        return Err(Failure::Failed("the gateway gave no setup code".to_owned()));
    };
    if args.json {
        let mut shown = json!({});
        for name in ["setupCode", "gatewayUrl", "auth", "urlSource", "setupId", "access", "expiresAtMs"] {
            shown[name] = answer[name].clone();
        }
        return print_json(&shown);
    }
    if args.setup_code_only {
        return print(&format!("{code}\n"));
    }
    let picture = Code::new(code.as_bytes()).filter(|_| !args.no_picture);
    print(&page(&answer, code, picture.as_ref(), io::stdout().is_terminal()))
}

fn page(answer: &Value, code: &str, picture: Option<&Code>, is_terminal: bool) -> String {
    let mut text = String::new();
    if let Some(picture) = picture {
        text.push_str(&picture.lines(is_terminal));
        text.push('\n');
    }
    let left_ms = answer["expiresAtMs"].as_u64().unwrap_or_default().saturating_sub(wall_ms());
    let what = match answer["access"].as_str() {
        Some("node") => "a node host, as a node",
        Some("limited") => "a phone, as a node and as an operator without admin",
        _ => "a phone, as a node and as an operator with admin",
    };
    let _ = writeln!(text, "Setup code: {code}");
    let _ = writeln!(
        text,
        "Gateway:    {} ({})",
        render::text(&answer["gatewayUrl"]),
        render::text(&answer["urlSource"])
    );
    let _ = writeln!(text, "For:        {what}; once, within {} minutes", left_ms.div_ceil(60_000));
    text.push_str(
        "\nScan it with the app, or paste the code there. Whoever uses it first is let in: show it to nobody else.\n\
         If the device still waits for approval afterwards: clawgate devices list, then clawgate devices approve.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_for_and_for_how_long() {
        let answer = json!({ "gatewayUrl": "ws://10.0.0.2:18789", "urlSource": "gateway.bind=lan", "access": "limited",
            "expiresAtMs": wall_ms() + 599_000 });
        let text = page(&answer, "abc", None, false);
        assert!(
            text.starts_with("Setup code: abc\nGateway:    ws://10.0.0.2:18789 (gateway.bind=lan)\n"),
            "{text}"
        );
        assert!(text.contains("without admin; once, within 10 minutes"), "{text}");
        let picture = Code::new(b"abc");
        assert!(page(&answer, "abc", picture.as_ref(), true).starts_with('\u{1b}'));
    }
}
