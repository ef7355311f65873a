//! Lists of nodes. They are the device store's: a node is a paired device with that role, and there is no second store
//! that could say something else.

use super::devices::Op;
use super::pair::Key;
use super::{Call, Gateway};
use crate::dialect::nodes::is_node;
use crate::error::RequestError;
use crate::frame::{NodeList, NodeView, Payload};
use crate::id::ConnId;
use crate::methods::Params;
use crate::output::{Output, Reply};
use crate::scope::Role;
use crate::time::Now;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is asked about nodes.
#[derive(Debug)]
pub(super) enum NodeQuery {
    All,
    One(String),
    Pairs,
}

/// `node.list`.
pub(crate) fn list(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    ask(gateway, call, NodeQuery::All, out);
}

/// `node.describe`.
pub(crate) fn describe(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::NodeId(node_id) = &call.params else { return };
    let query = NodeQuery::One(node_id.clone());
    ask(gateway, call, query, out);
}

/// `node.pair.list`.
pub(crate) fn pairs(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    ask(gateway, call, NodeQuery::Pairs, out);
}

fn ask(gateway: &mut Gateway, call: Call, query: NodeQuery, out: &mut Vec<Output>) {
    let key = Key::Nodes { conn: call.conn, id: call.id, query };
    gateway.submit(call.now, Op::List, key, out);
}

impl Gateway {
    /// The store was read.
    pub(super) fn nodes_listed(
        &mut self,
        now: Now,
        conn: ConnId,
        id: Box<str>,
        query: NodeQuery,
        out: &mut Vec<Output>,
    ) {
        let sessions = self.peers.open().filter_map(|conn| self.peers.session(conn));
        let nodes = sessions.filter(|session| session.role == Role::Node);
        let connected: BTreeSet<String> = nodes.filter_map(|session| session.device_id.clone()).collect();
        let devices = self.devices.view(connected);
        let list = match query {
            NodeQuery::All => NodeList::All,
            NodeQuery::Pairs => NodeList::Pairs,
            NodeQuery::One(node_id) => {
                let device = devices.devices.paired.get(node_id.trim());
                match device.filter(|device| is_node(device)) {
                    Some(device) => NodeList::One(Arc::clone(device)),
                    None => {
                        let error = RequestError::Invalid("unknown nodeId".to_owned());
                        return self.fail(conn, id, &error, out);
                    }
                }
            }
        };
        let view = NodeView { ts: now.wall.0, devices, list };
        self.respond(conn, id, Reply::Ok(Payload::Nodes(Arc::new(view))), out);
    }
}
