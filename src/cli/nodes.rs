//! `nodes`: devices that offer commands, and what of it somebody approved.

use super::args::ClientArgs;
use super::canvas::CanvasCommand;
use super::devices::name_of;
use super::invoke::{DescribeArgs, InvokeArgs, NodeShellArgs, NotifyArgs};
use super::session::Session;
use super::{Failure, canvas, invoke, print, print_json, render};
use crate::environment::Environment;
use crate::log;
use clap::Subcommand;
use serde_json::{Value, json};

/// `clawgate nodes`.
#[derive(Clone, Debug, Subcommand)]
pub enum NodesCommand {
    /// Show the nodes, connected or not
    List {
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show how the nodes are: where, since when, with which program
    #[command(after_help = "Examples:\n  clawgate nodes status\n  clawgate nodes status --connected --json")]
    Status {
        /// Only those that are connected
        #[arg(long)]
        connected: bool,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show all about one node
    Describe(DescribeArgs),
    /// Have a node do something, and print what it answers
    #[command(
        after_help = "Examples:\n  clawgate nodes invoke --node attic --command system.which --params '{\"bins\":[\"git\"]}'\n  clawgate nodes invoke --node attic --command device.status"
    )]
    Invoke(InvokeArgs),
    /// Run a command on a node, and end with its exit code (124 when its time was up)
    #[command(
        after_help = "Examples:\n  clawgate nodes run --node attic -- uname -a\n  clawgate nodes run --node attic --approve --cwd /srv -- sh -c 'ls | wc -l'"
    )]
    Run(Box<NodeShellArgs>),
    /// Show the person at a node something
    #[command(after_help = "Example:\n  clawgate nodes notify --node desk --title Kiln --body 'It is hot.'")]
    Notify(NotifyArgs),
    /// Show pages and A2UI on a node's canvas, and take pictures of it
    Canvas {
        /// What to do.
        #[command(subcommand)]
        command: CanvasCommand,
    },
    /// Show what nodes ask to offer
    Pending {
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let a node offer what it asks for
    Approve {
        /// Id of the request, as `nodes pending` shows it
        #[arg(value_name = "REQUEST")]
        request: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Turn down what a node asks for
    Reject {
        /// Id of the request
        #[arg(value_name = "REQUEST")]
        request: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take the role of a node away from a device
    Remove {
        /// The node: its id, its address, its name, or at least six characters that its id begins with
        #[arg(value_name = "NODE")]
        node: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Give a node a name
    Rename {
        /// The node: its id, its address, its name, or at least six characters that its id begins with
        #[arg(value_name = "NODE")]
        node: String,
        /// Its name from now on
        #[arg(value_name = "NAME")]
        name: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
}

impl NodesCommand {
    /// How to reach the gateway.
    pub fn client(&self) -> &ClientArgs {
        match self {
            Self::Describe(args) => &args.client,
            Self::Invoke(args) => &args.client,
            Self::Run(args) => &args.client,
            Self::Notify(args) => &args.client,
            Self::Canvas { command } => command.client(),
            Self::List { client }
            | Self::Status { client, .. }
            | Self::Pending { client }
            | Self::Approve { client, .. }
            | Self::Reject { client, .. }
            | Self::Remove { client, .. }
            | Self::Rename { client, .. } => client,
        }
    }
}

/// Runs one of the commands.
///
/// # Errors
/// The gateway cannot be asked, or refuses.
pub fn run(command: NodesCommand, environment: &Environment) -> Result<(), Failure> {
    let (client, method, params, shown): (_, _, _, Shown) = match &command {
        NodesCommand::Describe(args) => return invoke::describe(args, environment),
        NodesCommand::Invoke(args) => return invoke::invoke(args, environment),
        NodesCommand::Run(args) => return invoke::run(args, environment),
        NodesCommand::Notify(args) => return invoke::notify(args, environment),
        NodesCommand::Canvas { command } => return canvas::run(command, environment),
        NodesCommand::Status { connected, client } => return status(*connected, client, environment),
        NodesCommand::Remove { node, client } => {
            return change(client, environment, node, "node.pair.remove", json!({}), |answer| {
                format!("{} is a node no more\n", render::text(&answer["nodeId"]))
            });
        }
        NodesCommand::Rename { node, name, client } => {
            return change(
                client,
                environment,
                node,
                "node.rename",
                json!({ "displayName": name }),
                |answer| {
                    let (id, name) = (render::text(&answer["nodeId"]), render::text(&answer["displayName"]));
                    format!("{id} is called {name}\n")
                },
            );
        }
        NodesCommand::List { client } => (client, "node.list", json!({}), list),
        NodesCommand::Pending { client } => (client, "node.pair.list", json!({}), pending),
        NodesCommand::Approve { request, client } => {
            (client, "node.pair.approve", json!({ "requestId": request }), |answer| {
                let node = &answer["node"];
                let commands = render::joined(&node["commands"]);
                format!("{} may offer: {commands}\n", render::text(&node["nodeId"]))
            })
        }
        NodesCommand::Reject { request, client } => {
            (client, "node.pair.reject", json!({ "requestId": request }), |answer| {
                format!("turned down what {} asked for\n", render::text(&answer["nodeId"]))
            })
        }
    };
    show(client, &Session::ask(client, environment, method, params).map_err(advised)?, shown)
}

type Shown = fn(&Value) -> String;

fn show(client: &ClientArgs, answer: &Value, shown: Shown) -> Result<(), Failure> {
    if client.json {
        return print_json(answer);
    }
    print(&shown(answer))
}

/// Requests of nodes are not those of devices: they wait until somebody decides.
fn advised(failure: Failure) -> Failure {
    if let Failure::Answered(error) = &failure
        && error.message == "unknown requestId"
    {
        let advice = "`clawgate nodes pending` shows what waits. What was decided waits no longer, and a node that offers \
                      something else asks with a new id.";
        return Failure::Advised { error: error.clone(), advice };
    }
    failure
}

/// Changes something about the node that a person means.
fn change(
    client: &ClientArgs,
    environment: &Environment,
    node: &str,
    method: &str,
    mut params: Value,
    shown: Shown,
) -> Result<(), Failure> {
    let mut session = Session::open(client, environment)?;
    let answer = invoke::find_only(&mut session, node).and_then(|id| {
        params["nodeId"] = id.into();
        session.call(method, params)
    });
    session.close();
    show(client, &answer?, shown)
}

fn status(only_connected: bool, client: &ClientArgs, environment: &Environment) -> Result<(), Failure> {
    let mut answer = Session::ask(client, environment, "node.list", json!({}))?;
    if only_connected && let Some(nodes) = answer["nodes"].as_array_mut() {
        nodes.retain(|node| node["connected"] == true);
    }
    show(client, &answer, if only_connected { connected_status } else { all_status })
}

fn all_status(answer: &Value) -> String {
    let nodes = answer["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if nodes.is_empty() {
        return list(answer);
    }
    let connected = nodes.iter().filter(|node| node["connected"] == true).count();
    format!("{connected} of {} connected\n{}", nodes.len(), status_table(nodes))
}

fn connected_status(answer: &Value) -> String {
    match answer["nodes"].as_array().map(Vec::as_slice) {
        None | Some([]) => "no node is connected\n".to_owned(),
        Some(nodes) => status_table(nodes),
    }
}

fn status_table(nodes: &[Value]) -> String {
    let now = log::wall_ms();
    let cells = nodes.iter().map(|node| {
        vec![
            render::text(&node["nodeId"]),
            name_of(node),
            state_of(node),
            render::ago(now, &node["connectedAtMs"]),
            render::text(&node["remoteIp"]),
            render::text(&node["version"]),
            render::joined(&node["caps"]),
        ]
    });
    render::table(&["NODE", "NAME", "STATE", "CONNECTED", "ADDRESS", "VERSION", "CAPABILITIES"], cells)
}

fn state_of(node: &Value) -> String {
    let is_approved = matches!(node["approvalState"].as_str(), Some("approved") | None);
    let here = if node["connected"] == true { "connected" } else { "away" };
    format!("{here}{}", if is_approved { "" } else { ", waits for approval" })
}

fn list(answer: &Value) -> String {
    let nodes = answer["nodes"].as_array().cloned().unwrap_or_default();
    if nodes.is_empty() {
        return "no device is a node\n".to_owned();
    }
    let cells = nodes.iter().map(|node| {
        vec![render::text(&node["nodeId"]), name_of(node), state_of(node), render::joined(&node["commands"])]
    });
    render::table(&["NODE", "NAME", "STATE", "COMMANDS"], cells)
}

fn pending(answer: &Value) -> String {
    let requests = answer["pending"].as_array().cloned().unwrap_or_default();
    if requests.is_empty() {
        return "no node waits for approval\n".to_owned();
    }
    let now = log::wall_ms();
    let cells = requests.iter().map(|request| {
        vec![
            render::text(&request["requestId"]),
            render::text(&request["nodeId"]),
            name_of(request),
            render::joined(&request["commands"]),
            render::joined(&request["requiredApproveScopes"]),
            render::ago(now, &request["ts"]),
        ]
    });
    let table = render::table(&["REQUEST", "NODE", "NAME", "COMMANDS", "NEEDS", "ASKED"], cells);
    format!("waiting for approval (clawgate nodes approve REQUEST)\n{table}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_say_what_waits_and_show_no_control_characters() {
        let nodes = json!({ "nodes": [{ "nodeId": "n1", "displayName": "evil\u{1b}[2J", "connected": true,
            "approvalState": "pending-approval", "commands": [] }] });
        let text = list(&nodes);
        assert!(text.contains("waits for approval") && !text.contains('\u{1b}'), "{text}");
        let requests = json!({ "pending": [{ "requestId": "r1", "nodeId": "n1", "commands": ["system.run"],
            "requiredApproveScopes": ["operator.pairing", "operator.admin"], "ts": 1 }] });
        let text = pending(&requests);
        assert!(text.contains("system.run") && text.contains("operator.admin"), "{text}");
        assert_eq!(pending(&json!({ "pending": [] })), "no node waits for approval\n");
    }

    #[test]
    fn the_status_counts_and_says_where() {
        let nodes = json!({ "nodes": [
            { "nodeId": "n1", "displayName": "Attic", "connected": true, "remoteIp": "10.0.0.5", "version": "1.2",
                "connectedAtMs": 1, "caps": ["system"] },
            { "nodeId": "n2", "connected": false, "approvalState": "pending-approval" },
        ] });
        let text = all_status(&nodes);
        for want in
            ["1 of 2 connected", "Attic", "10.0.0.5", "1.2", "days ago", "system", "away, waits for approval"]
        {
            assert!(text.contains(want), "{want} in\n{text}");
        }
        assert_eq!(all_status(&json!({ "nodes": [] })), "no device is a node\n");
        assert_eq!(connected_status(&json!({ "nodes": [] })), "no node is connected\n");
    }
}
