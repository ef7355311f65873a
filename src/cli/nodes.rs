//! `nodes`: devices that offer commands, and what of it somebody approved.

use super::args::NodesCommand;
use super::devices::name_of;
use super::session::Session;
use super::{Failure, invoke, print, print_json, render};
use crate::environment::Environment;
use crate::log;
use serde_json::{Value, json};

/// Runs one of the commands.
///
/// # Errors
/// The gateway cannot be asked, or refuses.
pub fn run(command: NodesCommand, environment: &Environment) -> Result<(), Failure> {
    type Shown = fn(&Value) -> String;
    let (client, method, params, shown): (_, _, _, Shown) = match &command {
        NodesCommand::Describe(args) => return invoke::describe(args, environment),
        NodesCommand::Invoke(args) => return invoke::invoke(args, environment),
        NodesCommand::Run(args) => return invoke::run(args, environment),
        NodesCommand::Notify(args) => return invoke::notify(args, environment),
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
        NodesCommand::Remove { node, client } => {
            (client, "node.pair.remove", json!({ "nodeId": node }), |answer| {
                format!("{} is a node no more\n", render::text(&answer["nodeId"]))
            })
        }
        NodesCommand::Rename { node, name, client } => {
            (client, "node.rename", json!({ "nodeId": node, "displayName": name }), |answer| {
                let (id, name) = (render::text(&answer["nodeId"]), render::text(&answer["displayName"]));
                format!("{id} is called {name}\n")
            })
        }
    };
    let answer = Session::ask(client, environment, method, params)?;
    if client.json {
        return print_json(&answer);
    }
    print(&shown(&answer))
}

fn list(answer: &Value) -> String {
    let nodes = answer["nodes"].as_array().cloned().unwrap_or_default();
    if nodes.is_empty() {
        return "no device is a node\n".to_owned();
    }
    let cells = nodes.iter().map(|node| {
        let state = match (node["connected"].as_bool(), node["approvalState"].as_str()) {
            (Some(true), Some("approved") | None) => "connected".to_owned(),
            (Some(true), Some(_)) => "connected, waits for approval".to_owned(),
            (_, Some("approved") | None) => "away".to_owned(),
            (_, Some(_)) => "away, waits for approval".to_owned(),
        };
        vec![render::text(&node["nodeId"]), name_of(node), state, render::joined(&node["commands"])]
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
}
