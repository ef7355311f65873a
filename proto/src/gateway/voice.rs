//! Wake words and the talk mode (spec: methods section 10, v4 sections 9.1 and 18).
//!
//! The words live in a document of the state folder. A change is answered, told and in memory only when it is
//! durable; changes go to the disk one after another, so that memory and disk end with the same one. Nodes hear the
//! words directly, without a number: right after hello-ok, and at each change.

use super::{Call, Gateway, Purpose, events};
use crate::dialect::{self, Dialect};
use crate::error::RequestError;
use crate::frame::{CloseFrame, EventFrame, Payload};
use crate::host::{HostAnswer, HostRequest};
use crate::id::ConnId;
use crate::log::{Level, Record};
use crate::methods::Params;
use crate::output::{Order, Output, Reply};
use crate::scope::Role;
use crate::store::voicewake;
use crate::time::Now;
use bytes::Bytes;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;

/// What is known of the wake words.
#[derive(Debug)]
pub(super) struct VoiceWake {
    /// The latest that the disk is known to hold.
    triggers: Arc<[String]>,
    /// Who asks, in order. The first is with the host.
    waiting: VecDeque<Asked>,
    /// Whether the host has been asked for the first of them.
    is_asking: bool,
}

#[derive(Debug)]
struct Asked {
    /// Nobody, when it is the gateway itself.
    who: Option<(ConnId, Box<str>)>,
    /// The words to store; none to read.
    store: Option<Arc<[String]>>,
}

impl VoiceWake {
    pub(super) fn new() -> Self {
        Self { triggers: voicewake::usual().into(), waiting: VecDeque::new(), is_asking: false }
    }

    /// Who waits for an answer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().filter(|asked| asked.who.is_some()).count()
    }
}

/// `voicewake.get`: what the disk holds; somebody else may have written.
pub(crate) fn get(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    gateway.queue_voicewake(call, None, out);
}

/// `voicewake.set`.
pub(crate) fn set(gateway: &mut Gateway, mut call: Call, out: &mut Vec<Output>) {
    let Params::Triggers(triggers) = core::mem::replace(&mut call.params, Params::None) else { return };
    gateway.queue_voicewake(call, Some(triggers.into()), out);
}

/// `voicewake.routing.get`: wake words are not routed here, so it is the one route that is always there.
pub(crate) fn routing(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Json(Bytes::from_static(ROUTING))), out);
}

/// `talk.mode`: told to whoever talks. A page without a phone or tablet has nothing to talk through.
pub(crate) fn talk_mode(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::TalkMode { enabled, phase } = &call.params else { return };
    let is_page = gateway.peers.session(call.conn).is_some_and(|session| session.is_page);
    if is_page && !gateway.peers.has_phone() {
        let message = "talk disabled: no connected iOS/Android nodes".to_owned();
        let error = RequestError::Unavailable { message, reason: "no-talk-node", retryable: false };
        return gateway.fail(call.conn, call.id, &error, out);
    }
    let told = json!({"enabled": enabled, "phase": phase, "ts": call.now.wall.0});
    let payload = Bytes::from(told.to_string());
    gateway.broadcast(&events::TALK_MODE, [Some(payload.clone()), Some(payload.clone())], out);
    gateway.respond(call.conn, call.id, Reply::Ok(Payload::Json(payload)), out);
}

impl Gateway {
    /// At start: what nodes are told before anybody asks.
    pub(super) fn load_voicewake(&mut self, now: Now, out: &mut Vec<Output>) {
        self.voice.waiting.push_back(Asked { who: None, store: None });
        self.ask_voicewake(now, out);
    }

    fn queue_voicewake(&mut self, call: Call, store: Option<Arc<[String]>>, out: &mut Vec<Output>) {
        if self.voice.waiting.len() >= self.config.limits.voicewake_queue_max {
            let message = "too many requests about wake words wait for the disk; try again".to_owned();
            let error = RequestError::Unavailable { message, reason: "store-busy", retryable: true };
            return self.fail(call.conn, call.id, &error, out);
        }
        self.voice.waiting.push_back(Asked { who: Some((call.conn, call.id)), store });
        self.ask_voicewake(call.now, out);
    }

    fn ask_voicewake(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.voice.is_asking {
            return;
        }
        let Some(first) = self.voice.waiting.front() else { return };
        self.voice.is_asking = true;
        let request = match &first.store {
            None => HostRequest::ReadVoiceWake,
            Some(triggers) => {
                HostRequest::StoreVoiceWake { triggers: Arc::clone(triggers), now_ms: now.wall.0 }
            }
        };
        self.ask_host(now, request, Purpose::VoiceWake, out);
    }

    pub(super) fn voicewake_answered(&mut self, now: Now, answer: Option<HostAnswer>, out: &mut Vec<Output>) {
        self.voice.is_asking = false;
        let Some(asked) = self.voice.waiting.pop_front() else { return };
        let outcome = match answer {
            Some(HostAnswer::VoiceWake(outcome)) => outcome.map_err(|fault| fault.0),
            Some(_) | None => Err("this host does not answer".to_owned()),
        };
        match outcome {
            Ok(triggers) => {
                let is_change = asked.store.is_some() || triggers != self.voice.triggers;
                self.voice.triggers = triggers;
                self.stats.counters.disk_writes += u64::from(asked.store.is_some());
                let payload = self.voicewake_payload();
                // Whoever edited the file meant it for the nodes, too.
                if is_change && (asked.store.is_some() || asked.who.is_some()) {
                    self.tell_voicewake(&payload, out);
                }
                if let Some((conn, id)) = asked.who {
                    self.respond(conn, id, Reply::Ok(Payload::Json(payload)), out);
                }
            }
            Err(why) => match asked.who {
                Some((conn, id)) => {
                    let message = format!("wake words: {why}");
                    let error =
                        RequestError::Unavailable { message, reason: "store-unavailable", retryable: true };
                    self.fail(conn, id, &error, out);
                }
                None => {
                    out.push(Output::Log(Record::new(Level::Warn, "voicewake.unreadable").field("why", why)))
                }
            },
        }
        self.ask_voicewake(now, out);
    }

    /// What a node hears right behind hello-ok.
    pub(super) fn greet_node(&mut self, conn: ConnId, dialect: Dialect, out: &mut Vec<Output>) {
        let payload = self.voicewake_payload();
        self.direct(conn, events::VOICEWAKE.name, payload, out);
        if dialect::has_voice_routing(dialect) {
            self.direct(conn, "voicewake.routing.changed", Bytes::from_static(ROUTING), out);
        }
    }

    fn tell_voicewake(&mut self, payload: &Bytes, out: &mut Vec<Output>) {
        self.broadcast(&events::VOICEWAKE, [Some(payload.clone()), Some(payload.clone())], out);
        let is_node =
            |conn: &ConnId| self.peers.session(*conn).is_some_and(|session| session.role == Role::Node);
        let nodes: Vec<ConnId> = self.peers.open().filter(is_node).collect();
        for conn in nodes {
            self.direct(conn, events::VOICEWAKE.name, payload.clone(), out);
        }
    }

    fn voicewake_payload(&self) -> Bytes {
        Bytes::from(json!({"triggers": &self.voice.triggers[..]}).to_string())
    }

    /// An event to one peer, without a number.
    pub(super) fn direct(&mut self, conn: ConnId, name: &'static str, payload: Bytes, out: &mut Vec<Output>) {
        let order = Order::Event(EventFrame { name, payload, seq: None, state_version: None });
        let queued = self.peers.get(conn).map_or(0, |slot| slot.queued);
        if queued + order.cost() > self.config.limits.queued_bytes_max {
            self.stats.cut += 1;
            out.push(Output::Log(Record::new(Level::Warn, "peer.slow").conn(conn).field("event", name)));
            return self.close(conn, CloseFrame::new(1008, "slow consumer"), out);
        }
        self.order(conn, order, out);
    }
}

/// The payload of `voicewake.routing.changed` and the answer of `voicewake.routing.get`.
const ROUTING: &[u8] =
    br#"{"config":{"version":1,"defaultTarget":{"mode":"current"},"routes":[],"updatedAtMs":0}}"#;
