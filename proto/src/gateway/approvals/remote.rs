//! `exec.approvals.node.*`: an admin reads and changes the file of what agents may run on a node. The node does it, like any
//! command that it offers and that was approved; `node.invoke` does not reach these commands, so that what they need is
//! decided in one place.

use super::super::invoke::Ask;
use super::super::{Call, Gateway};
use crate::invokes::Wants;
use crate::methods::Params;
use crate::methods::invoke_params::{InvokeParams, literal};
use crate::output::Output;
use serde_json::{Map, Value, json};

/// `exec.approvals.node.get`.
pub(crate) fn get(gateway: &mut Gateway, mut call: Call, out: &mut Vec<Output>) {
    let Params::NodeId(node_id) = core::mem::replace(&mut call.params, Params::None) else { return };
    ask(gateway, call, &node_id, ("system.execApprovals.get", json!({})), out);
}

/// `exec.approvals.node.set`.
pub(crate) fn set(gateway: &mut Gateway, mut call: Call, out: &mut Vec<Output>) {
    let Params::Object(mut params) = core::mem::replace(&mut call.params, Params::None) else { return };
    let node_id = params.remove("nodeId").unwrap_or_default();
    let told =
        ["file", "baseHash"].into_iter().filter_map(|name| Some((name.to_owned(), params.remove(name)?)));
    let told = Value::Object(told.collect::<Map<_, _>>());
    ask(gateway, call, node_id.as_str().unwrap_or_default(), ("system.execApprovals.set", told), out);
}

fn ask(
    gateway: &mut Gateway,
    call: Call,
    node_id: &str,
    (command, params): (&str, Value),
    out: &mut Vec<Output>,
) {
    let ask = Ask {
        node_id: node_id.trim().to_owned(),
        command: command.to_owned(),
        params: InvokeParams::Json(literal(&params.to_string())),
        timeout_ms: None,
        idempotency_key: None,
        wants: Wants::Payload,
    };
    gateway.ask_node(call, ask, out);
}
