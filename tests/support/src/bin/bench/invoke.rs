//! A node invoked by an operator beside two trips to a bare WebSocket echo that moves as many bytes. Operator and node are
//! the same thread, so that nothing but the gateway stands between them.

use crate::peer::Peer;
use crate::requests::{Compared, Turn, compare, is_answer};
use crate::stats::{median, micros, timed};
use clawgate_proto::client::DeviceKey;
use clawgate_support::client::{Credential, config_as, device};
use clawgate_support::wire::{TEXT, text_frame};
use clawgate_support::{Program, TestClient, Wire};
use serde_json::{Value, json};
use std::io;
use std::net::TcpStream;

/// An operator, and a node whose commands were approved.
pub(crate) struct Pair {
    operator: Wire,
    node: Wire,
    node_id: String,
    buffer: Vec<u8>,
    count: u64,
    /// Of the four messages of the latest invoke: request, event, result, answer.
    pub(crate) bytes: usize,
}

impl Pair {
    /// Attaches the node, and approves what it offers.
    pub(crate) fn attach(program: &Program, operator: Wire, keys: [&DeviceKey; 2]) -> io::Result<Self> {
        let [operator_key, node_key] = keys;
        let (addr, token) = (program.addr(), program.token());
        let mut config = config_as(addr, "node-host", "node", Some(&token), Some(node_key.clone()));
        "node".clone_into(&mut config.role);
        config.scopes.clear();
        config.caps = vec!["system".to_owned()];
        config.commands = vec![COMMAND.to_owned()];
        let node = Wire::admitted(TcpStream::connect(addr)?, config)?;
        let admin = device(addr, operator_key, Credential::Shared(&token));
        let mut admin =
            TestClient::connect(addr, admin).map_err(|why| io::Error::other(format!("{why:?}")))?;
        let mut call = |method: &str, params: Value| {
            admin.call(method, params).map_err(|why| io::Error::other(format!("{method}: {why}")))
        };
        let listed = call("node.pair.list", json!({}))?;
        for request in listed["pending"].as_array().into_iter().flatten() {
            call("node.pair.approve", json!({ "requestId": request["requestId"] }))?;
        }
        let nodes = call("node.list", json!({}))?;
        let node_id = nodes["nodes"][0]["nodeId"].as_str().unwrap_or_default().to_owned();
        Ok(Self { operator, node, node_id, buffer: vec![0; BUFFER_BYTES], count: 0, bytes: 0 })
    }

    /// One invoke from the first byte to the last.
    fn invoke(&mut self) -> io::Result<()> {
        self.count += 1;
        let (n, node_id) = (self.count, &self.node_id);
        let request = format!(
            r#"{{"type":"req","id":"i{n}","method":"node.invoke","params":{{"nodeId":"{node_id}","command":"{COMMAND}","params":{{"bins":["sh"]}},"idempotencyKey":"k{n}"}}}}"#
        );
        self.operator.send(&text_frame(&request))?;
        let mut asked = None;
        while asked.is_none() {
            self.node.read(&mut self.buffer, |opcode, payload| {
                if opcode == TEXT && payload.starts_with(ASKED) {
                    asked = Some((id_of(payload), payload.len()));
                }
            })?;
        }
        let (id, event_bytes) = asked.unwrap_or_default();
        let result = format!(
            r#"{{"type":"req","id":"r{n}","method":"node.invoke.result","params":{{"id":"{id}","nodeId":"{node_id}","ok":true,"payloadJSON":"{{\"bins\":{{\"sh\":\"/bin/sh\"}}}}"}}}}"#
        );
        self.node.send(&text_frame(&result))?;
        let mut answer = None;
        while answer.is_none() {
            self.operator.read(&mut self.buffer, |opcode, payload| {
                if is_answer(opcode, payload) {
                    answer = Some(String::from_utf8_lossy(payload).into_owned());
                }
            })?;
        }
        let answer = answer.unwrap_or_default();
        if !answer.contains(r#""ok":true"#) {
            return Err(io::Error::other(format!("node.invoke was answered: {answer}")));
        }
        self.bytes = request.len() + event_bytes + result.len() + answer.len();
        Ok(())
    }
}

/// Invokes and pairs of echoes in turns. In microseconds.
pub(crate) fn round_trips(
    pair: &mut Pair,
    peer: &Peer,
    pid: u32,
    (rounds, per_round): (usize, usize),
) -> io::Result<Compared> {
    pair.invoke()?;
    let frame = text_frame(&"x".repeat(pair.bytes / 4));
    let mut hops =
        [Wire::upgraded(TcpStream::connect(peer.addr)?)?, Wire::upgraded(TcpStream::connect(peer.addr)?)?];
    let mut buffer = vec![0; BUFFER_BYTES];
    compare(rounds, [pid, peer.pid()], |turn| {
        let mut times = Vec::with_capacity(per_round);
        for _ in 0..per_round {
            let (_, time) = timed(|| match turn {
                Turn::Gateway => pair.invoke(),
                Turn::Echo => hops.iter_mut().try_for_each(|hop| {
                    hop.send(&frame)?;
                    let mut answered = false;
                    while !answered {
                        hop.read(&mut buffer, |opcode, _| answered |= opcode == TEXT)?;
                    }
                    Ok(())
                }),
            })?;
            times.push(micros(time));
        }
        Ok(median(&times))
    })
}

/// The `id` of the event's payload.
fn id_of(payload: &[u8]) -> String {
    let value: Value = serde_json::from_slice(payload).unwrap_or_default();
    value["payload"]["id"].as_str().unwrap_or_default().to_owned()
}

const COMMAND: &str = "system.which";
const ASKED: &[u8] = br#"{"type":"event","event":"node.invoke.request""#;
const BUFFER_BYTES: usize = 256 * 1024;
