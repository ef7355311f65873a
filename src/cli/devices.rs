//! `devices`: who is paired, who asks to be, and their tokens.

use super::args::ClientArgs;
use super::session::Session;
use super::{Failure, print, print_json, render};
use crate::environment::Environment;
use crate::log;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// `clawgate devices`.
#[derive(Clone, Debug, Subcommand)]
pub enum DevicesCommand {
    /// Show who waits for approval and who is paired
    List {
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let a waiting device in
    #[command(
        after_help = "Example:\n  clawgate devices list\n  clawgate devices approve 0ec1b0a8-4c8e-4b7e-9a46-0a3b7f0f6a51"
    )]
    Approve {
        /// Id of the request, as `devices list` shows it
        #[arg(value_name = "REQUEST", conflicts_with = "latest")]
        request: Option<String>,
        /// Approve the newest request
        #[arg(long)]
        latest: bool,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Turn a waiting device away
    Reject {
        /// Id of the request
        #[arg(value_name = "REQUEST")]
        request: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Forget a paired device and close its connections
    Remove {
        /// Id of the device
        #[arg(value_name = "DEVICE")]
        device: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Give a paired device a name
    Rename {
        /// Id of the device
        #[arg(value_name = "DEVICE")]
        device: String,
        /// Its name from now on
        #[arg(value_name = "NAME")]
        name: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Replace a device's token by a new one
    Rotate {
        /// Whose token, and how to reach the gateway.
        #[command(flatten)]
        token: DeviceTokenArgs,
        /// Scope of the new token; may be repeated [default: as before]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// Take a device's token away
    Revoke {
        /// Whose token, and how to reach the gateway.
        #[command(flatten)]
        token: DeviceTokenArgs,
    },
}

impl DevicesCommand {
    /// How to reach the gateway.
    pub fn client(&self) -> &ClientArgs {
        match self {
            Self::List { client }
            | Self::Approve { client, .. }
            | Self::Reject { client, .. }
            | Self::Rename { client, .. }
            | Self::Remove { client, .. } => client,
            Self::Rotate { token, .. } | Self::Revoke { token } => &token.client,
        }
    }
}

/// One token of a device.
#[derive(Clone, Debug, Args)]
pub struct DeviceTokenArgs {
    /// Id of the device
    #[arg(long, value_name = "DEVICE")]
    pub device: String,
    /// Role the token is for
    #[arg(long, value_name = "ROLE", default_value = "operator")]
    pub role: String,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Runs one of the commands.
///
/// # Errors
/// The gateway cannot be asked, or refuses.
pub fn run(command: DevicesCommand, environment: &Environment) -> Result<(), Failure> {
    match command {
        DevicesCommand::List { client } => {
            let list = Session::ask(&client, environment, "device.pair.list", json!({}))?;
            show(&client, &list, || table(&list))
        }
        DevicesCommand::Approve { request: None, latest: false, client: _ } => Err(Failure::Usage(
            "which request? `clawgate devices list` shows what waits; then `clawgate devices approve REQUEST`, or \
             --latest for the newest"
                .to_owned(),
        )),
        DevicesCommand::Approve { request, latest: _, client } => approve(request, &client, environment),
        DevicesCommand::Reject { request, client } => {
            let answer = Session::ask(&client, environment, "device.pair.reject", json!({ "requestId": request }))?;
            show(&client, &answer, || format!("rejected {}\n", render::text(&answer["deviceId"])))
        }
        DevicesCommand::Remove { device, client } => {
            let answer = Session::ask(&client, environment, "device.pair.remove", json!({ "deviceId": device }))?;
            show(&client, &answer, || format!("removed {}\n", render::text(&answer["deviceId"])))
        }
        DevicesCommand::Rename { device, name, client } => {
            let params = json!({ "deviceId": device, "label": name });
            let answer = Session::ask(&client, environment, "device.pair.rename", params)?;
            show(&client, &answer, || {
                format!("{} is called {}\n", render::text(&answer["deviceId"]), render::text(&answer["label"]))
            })
        }
        DevicesCommand::Rotate { token, scopes } => {
            let mut params = json!({ "deviceId": token.device, "role": token.role });
            if !scopes.is_empty() {
                params["scopes"] = json!(scopes);
            }
            let mut session = Session::open(&token.client, environment)?;
            let answer = session.call("device.token.rotate", params);
            if let Ok(answer) = &answer {
                hold_own(&session, answer);
            }
            session.close();
            let answer = answer?;
            // The token itself is for the device, not for a screen; --json shows what the gateway gave.
            show(&token.client, &answer, || {
                let (device, role) = (render::text(&answer["deviceId"]), render::text(&answer["role"]));
                let scopes = render::joined(&answer["scopes"]);
                let next = if answer["token"].is_string() {
                    ""
                } else {
                    "it gets the new one when it connects with the gateway's own token or password\n"
                };
                format!("rotated the {role} token of {device} (scopes: {scopes})\n{next}")
            })
        }
        DevicesCommand::Revoke { token } => {
            let params = json!({ "deviceId": token.device, "role": token.role });
            let answer = Session::ask(&token.client, environment, "device.token.revoke", params)?;
            show(&token.client, &answer, || {
                let (device, role) = (render::text(&answer["deviceId"]), render::text(&answer["role"]));
                format!("revoked the {role} token of {device}\n")
            })
        }
    }
}

fn approve(request: Option<String>, client: &ClientArgs, environment: &Environment) -> Result<(), Failure> {
    let mut session = Session::open(client, environment)?;
    let request = match request {
        Some(request) => request,
        None => match newest(&session.call("device.pair.list", json!({}))?) {
            Some(request) => request,
            None => {
                session.close();
                return Err(Failure::Failed("no device waits for approval".to_owned()));
            }
        },
    };
    let answer = session.call("device.pair.approve", json!({ "requestId": request }));
    session.close();
    let answer = answer?;
    show(client, &answer, || {
        let device = &answer["device"];
        let (id, name) = (render::text(&device["deviceId"]), name_of(device));
        if name.is_empty() { format!("approved {id}\n") } else { format!("approved {id}, {name}\n") }
    })
}

fn newest(list: &Value) -> Option<String> {
    let pending = list["pending"].as_array()?.iter();
    let newest = pending.max_by_key(|request| request["ts"].as_u64().unwrap_or(0))?;
    newest["requestId"].as_str().map(str::to_owned)
}

/// When the rotated token is this machine's own, the next command should use the new one.
fn hold_own(session: &Session, answer: &Value) {
    let (Some(token), Some(role)) = (answer["token"].as_str(), answer["role"].as_str()) else { return };
    if answer["deviceId"].as_str() == Some(session.device_id()) {
        let scopes = answer["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        session.hold(token, role, &scopes.collect::<Vec<_>>());
    }
}

fn show(client: &ClientArgs, answer: &Value, people: impl FnOnce() -> String) -> Result<(), Failure> {
    if client.json { print_json(answer) } else { print(&people()) }
}

fn table(list: &Value) -> String {
    let now = log::wall_ms();
    let rows = |name: &str| list[name].as_array().cloned().unwrap_or_default();
    let (pending, paired) = (rows("pending"), rows("paired"));
    let mut text = String::new();
    if !pending.is_empty() {
        let cells = pending.iter().map(|request| {
            vec![
                render::text(&request["requestId"]),
                render::text(&request["deviceId"]),
                name_of(request),
                roles_of(request),
                render::joined(&request["scopes"]),
                render::text(&request["remoteIp"]),
                render::ago(now, &request["ts"]),
            ]
        });
        text.push_str("waiting for approval (clawgate devices approve REQUEST)\n");
        text.push_str(&render::table(
            &["REQUEST", "DEVICE", "NAME", "ROLE", "SCOPES", "FROM", "ASKED"],
            cells,
        ));
        text.push('\n');
    }
    if paired.is_empty() {
        text.push_str("no device is paired\n");
        return text;
    }
    let cells = paired.iter().map(|device| {
        vec![
            render::text(&device["deviceId"]),
            name_of(device),
            roles_of(device),
            render::joined(&device["scopes"]),
            tokens_of(device),
            render::ago(now, &device["approvedAtMs"]),
        ]
    });
    text.push_str("paired\n");
    text.push_str(&render::table(&["DEVICE", "NAME", "ROLES", "SCOPES", "TOKENS", "APPROVED"], cells));
    text
}

pub(super) fn name_of(device: &Value) -> String {
    let name = [&device["displayName"], &device["clientId"]].into_iter().find(|name| name.is_string());
    let platform = render::name(&device["platform"]);
    match name {
        Some(name) if platform.is_empty() => render::name(name),
        Some(name) => format!("{} ({platform})", render::name(name)),
        None => platform,
    }
}

fn roles_of(device: &Value) -> String {
    let roles = render::joined(&device["roles"]);
    if roles.is_empty() { render::text(&device["role"]) } else { roles }
}

fn tokens_of(device: &Value) -> String {
    let tokens = device["tokens"].as_array().into_iter().flatten().map(|token| {
        let role = render::text(&token["role"]);
        if token["revokedAtMs"].is_u64() { format!("{role} (revoked)") } else { role }
    });
    tokens.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_both_lists_and_no_control_characters() {
        let list = json!({
            "pending": [{ "requestId": "r1", "deviceId": "d1", "displayName": "evil\u{1b}[2J\nx", "role": "node", "ts": 1 }],
            "paired": [{ "deviceId": "d2", "clientId": "cli", "platform": "linux", "roles": ["operator"],
                "scopes": ["operator.read"], "approvedAtMs": 1,
                "tokens": [{ "role": "operator", "revokedAtMs": 5 }] }],
        });
        let text = table(&list);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        for want in ["r1", "d1", "node", "d2", "cli (linux)", "operator (revoked)"] {
            assert!(text.contains(want), "{want} in\n{text}");
        }
        assert_eq!(text.lines().count(), 7, "{text}");
        assert_eq!(table(&json!({ "pending": [], "paired": [] })), "no device is paired\n");
    }

    #[test]
    fn the_newest_request_is_the_one_asked_last() {
        let list = json!({ "pending": [{ "requestId": "a", "ts": 1 }, { "requestId": "b", "ts": 3 }, { "requestId": "c", "ts": 2 }] });
        assert_eq!(newest(&list).as_deref(), Some("b"));
        assert_eq!(newest(&json!({ "pending": [] })), None);
    }
}
