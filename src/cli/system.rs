//! `system presence`, `system event` and `system heartbeat`, as the reference has them.

use super::args::ClientArgs;
use super::session::Session;
use super::{Failure, print, print_json, render};
use crate::environment::Environment;
use crate::log::wall_ms;
use clap::Subcommand;
use serde_json::{Value, json};

/// `clawgate system`.
#[derive(Clone, Debug, Subcommand)]
pub enum SystemCommand {
    /// Show who is here
    Presence(ClientArgs),
    /// Leave a line for the agent; it is kept, and `status` shows it
    #[command(after_help = "Example:\n  clawgate system event --text 'the kiln is hot' --mode now")]
    Event {
        /// What to say
        #[arg(long, value_name = "TEXT")]
        text: String,
        /// When an agent should look at it
        #[arg(long, value_name = "MODE", default_value = "next-heartbeat", value_parser = ["now", "next-heartbeat"])]
        mode: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Heartbeats of the agent
    Heartbeat {
        /// What to do.
        #[command(subcommand)]
        command: HeartbeatCommand,
    },
}

/// `clawgate system heartbeat`.
#[derive(Clone, Debug, Subcommand)]
pub enum HeartbeatCommand {
    /// Show the latest one
    Last(ClientArgs),
    /// Switch them on
    Enable(ClientArgs),
    /// Switch them off
    Disable(ClientArgs),
}

impl SystemCommand {
    /// How to reach the gateway.
    pub fn client(&self) -> &ClientArgs {
        match self {
            Self::Presence(client) | Self::Event { client, .. } => client,
            Self::Heartbeat { command } => match command {
                HeartbeatCommand::Last(client)
                | HeartbeatCommand::Enable(client)
                | HeartbeatCommand::Disable(client) => client,
            },
        }
    }
}

/// Runs one of them.
///
/// # Errors
/// The gateway cannot be asked, or says no.
pub fn run(command: &SystemCommand, environment: &Environment) -> Result<(), Failure> {
    match command {
        SystemCommand::Presence(client) => {
            let list = Session::ask(client, environment, "system-presence", json!({}))?;
            if client.json { print_json(&list) } else { print(&presence(&list)) }
        }
        SystemCommand::Event { text, mode, client } => {
            let answer = Session::ask(client, environment, "wake", json!({ "text": text, "mode": mode }))?;
            if client.json {
                return print_json(&answer);
            }
            match answer["ok"].as_bool() {
                Some(true) => print("kept for the agent\n"),
                Some(false) | None => Err(Failure::Failed("the gateway did not take the text".to_owned())),
            }
        }
        SystemCommand::Heartbeat { command } => heartbeat(command, environment),
    }
}

fn heartbeat(command: &HeartbeatCommand, environment: &Environment) -> Result<(), Failure> {
    let (client, method, params) = match command {
        HeartbeatCommand::Last(client) => (client, "last-heartbeat", json!({})),
        HeartbeatCommand::Enable(client) => (client, "set-heartbeats", json!({ "enabled": true })),
        HeartbeatCommand::Disable(client) => (client, "set-heartbeats", json!({ "enabled": false })),
    };
    let answer = Session::ask(client, environment, method, params)?;
    if client.json {
        return print_json(&answer);
    }
    match command {
        HeartbeatCommand::Last(_) if answer.is_null() => print("there was none\n"),
        HeartbeatCommand::Last(_) => print(&render::outline(&answer)),
        HeartbeatCommand::Enable(_) => print("heartbeats are wanted\n"),
        HeartbeatCommand::Disable(_) => print("heartbeats are not wanted\n"),
    }
}

fn presence(list: &Value) -> String {
    let now = wall_ms();
    let rows = list.as_array().into_iter().flatten().map(|entry| {
        let texts =
            ["host", "ip", "mode", "platform", "version", "reason"].map(|name| render::name(&entry[name]));
        texts.into_iter().chain([render::ago(now, &entry["ts"])]).collect()
    });
    render::table(&["HOST", "ADDRESS", "MODE", "PLATFORM", "VERSION", "REASON", "SEEN"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_is_a_table_without_columns_that_nobody_fills() {
        let list = json!([{ "host": "a\u{1b}", "mode": "gateway", "ts": wall_ms() }]);
        assert_eq!(presence(&list), "HOST  MODE     SEEN\na\u{fffd}    gateway  0 s ago\n");
    }
}
