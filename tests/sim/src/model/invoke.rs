//! Commands of nodes: a node is asked for whoever waits, and only if it is that node; whoever waits is answered once, with
//! what that node said or with a reason, in time, and at once when the node is gone. One node has one connection.

use super::{Conn, Model, OpParams, Phase};
use clawgate_proto::id::ConnId;
use clawgate_proto::methods::invoke_params::{InvokeCall, NodeResult};
use clawgate_proto::output::Reply;
use clawgate_proto::scope::Role;
use clawgate_proto::{Mono, Now};
use serde_json::Value;
use std::collections::BTreeMap;

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct InvokeBook {
    /// By the name under which a node was asked.
    asked: BTreeMap<String, Asked>,
    /// What a node says just now: whose request it answers, and whether it did it.
    said: Option<(ConnId, String, bool)>,
}

#[derive(Debug)]
struct Asked {
    node: ConnId,
    caller: ConnId,
    request: String,
}

/// A command that somebody asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) node_id: String,
    key: String,
    until: Mono,
}

impl Wanted {
    pub(super) fn new(now: Now, call: &InvokeCall) -> Self {
        let until = now.mono.plus_millis(call.timeout_ms.unwrap_or_default());
        Self { node_id: call.node_id.clone(), key: call.idempotency_key.to_string(), until }
    }
}

impl Conn {
    fn wanted(&self, request: &str) -> Option<&Wanted> {
        if !matches!(self.phase, Phase::Open(_)) {
            return None;
        }
        match &self.open.get(request)?.params {
            OpParams::Invoke(wanted) => Some(wanted),
            OpParams::None
            | OpParams::Request(_)
            | OpParams::Device(_)
            | OpParams::DeviceRole(..)
            | OpParams::Node(_)
            | OpParams::NodeRequest(_) => None,
        }
    }

    fn is_node(&self, node_id: &str) -> bool {
        matches!(&self.phase, Phase::Open(session)
            if session.role == Role::Node && session.device.as_deref() == Some(node_id))
    }
}

impl Model {
    /// A node is asked.
    pub(super) fn node_asked(&mut self, now: Now, node: ConnId, payload: &[u8]) {
        let payload: Value = serde_json::from_slice(payload).unwrap_or_default();
        let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
        let (id, node_id, key) = (text("id"), text("nodeId"), text("idempotencyKey"));
        let waits = self.conns.iter().find_map(|(conn, book)| {
            let request =
                book.open.keys().find(|request| book.wanted(request).is_some_and(|wanted| wanted.key == key));
            Some((*conn, request?.clone()))
        });
        let Some((caller, request)) = waits else {
            return self.accuse(now, format!("{node} is asked for {key}, which nobody waits for"));
        };
        let is_right = self.conns.get(&node).is_some_and(|book| book.is_node(&node_id))
            && self
                .conns
                .get(&caller)
                .and_then(|book| book.wanted(&request))
                .is_some_and(|wanted| wanted.node_id == node_id);
        if !is_right {
            return self.accuse(now, format!("{node} is asked for what another node was to do"));
        }
        if self.invokes.asked.values().any(|asked| asked.caller == caller && asked.request == request) {
            return self.accuse(now, format!("{node} is asked for {key} a second time"));
        }
        if self.invokes.asked.insert(id, Asked { node, caller, request }).is_some() {
            return self.accuse(now, "two commands have one name");
        }
        self.reach("node asked");
    }

    /// A node is told that nobody waits any more.
    pub(super) fn node_told_off(&mut self, now: Now, node: ConnId, payload: &[u8]) {
        let payload: Value = serde_json::from_slice(payload).unwrap_or_default();
        let id = payload["invokeId"].as_str().unwrap_or_default();
        if self.invokes.asked.get(id).is_none_or(|asked| asked.node != node) {
            return self.accuse(now, format!("{node} is told to stop what it was not asked for"));
        }
        self.invokes.asked.remove(id);
        self.reach("node told off");
    }

    /// A node says something.
    pub(super) fn node_said(&mut self, node: ConnId, result: &NodeResult) {
        let is_own = self.conns.get(&node).is_some_and(|book| book.is_node(&result.node_id));
        if is_own
            && self.invokes.asked.get(&result.id).is_some_and(|asked| asked.node == node)
            && let Some(asked) = self.invokes.asked.remove(&result.id)
        {
            self.invokes.said = Some((asked.caller, asked.request, result.outcome.is_ok()));
        } else {
            self.reach("node not asked");
        }
    }

    /// Whoever waited is answered.
    pub(super) fn invoke_answered(&mut self, now: Now, caller: ConnId, request: &str, reply: &Reply) {
        let is_said = self.invokes.said.take_if(|(conn, id, _)| *conn == caller && id == request);
        match (reply, is_said) {
            (Reply::Ok(_), Some((_, _, true))) => self.reach("node answered"),
            (Reply::Ok(_) | Reply::Accepted(_), _) => {
                self.accuse(
                    now,
                    format!("{caller} is told that a node did {request}, and it did not say so"),
                );
            }
            (Reply::Err(error), _) => {
                let word = error.message.split([':', '(']).next().unwrap_or_default().trim().to_owned();
                self.reach(format!("invoke {word}"));
            }
        }
        // Names of what ended otherwise stay until a node is told off, or leaves.
        self.invokes.asked.retain(|_, asked| asked.caller != caller || asked.request != request);
    }

    /// The gateway is done with a fact.
    pub(super) fn check_invokes(&mut self, now: Now) {
        if let Some((caller, request, true)) = self.invokes.said.take()
            && self.conns.get(&caller).is_some_and(|book| book.wanted(&request).is_some())
        {
            return self.accuse(now, format!("{caller} is not told what a node said to {request}"));
        }
        let conns = &self.conns;
        let is_here =
            |conn: ConnId| conns.get(&conn).is_some_and(|book| matches!(book.phase, Phase::Open(_)));
        let waits = |asked: &Asked| {
            conns.get(&asked.caller).is_some_and(|book| book.wanted(&asked.request).is_some())
        };
        let left = self.invokes.asked.values().find(|asked| !is_here(asked.node) && waits(asked));
        if let Some(Asked { caller, request, node }) = left {
            let what = format!("{caller} still waits for {request}, and {node} is gone");
            return self.accuse(now, what);
        }
        self.invokes.asked.retain(|_, asked| is_here(asked.node) && waits(asked));
        let slack_us = 2 * self.lateness_us + 1_000;
        let late = self.conns.iter().find_map(|(conn, book)| {
            let is_late = |request: &&String| {
                book.wanted(request).is_some_and(|wanted| Mono(wanted.until.0 + slack_us) < now.mono)
            };
            Some((*conn, book.open.keys().find(is_late)?.clone()))
        });
        if let Some((conn, request)) = late {
            self.accuse(now, format!("{conn} waits for {request} longer than it would"));
        }
    }

    /// Other connections of a node that comes in: their place is taken.
    pub(super) fn node_replaces(&mut self, conn: ConnId, node_id: &str) {
        let others = self.conns.iter().filter(|(other, book)| **other != conn && book.is_node(node_id));
        let others: Vec<ConnId> = others.map(|(other, _)| *other).collect();
        if !others.is_empty() {
            self.reach("node replaced");
        }
        self.must_close.extend(others);
    }
}
