//! What a gateway holds at one moment, and what has happened until then.

use super::Engine;
use clawgate_proto::Mono;
use clawgate_proto::gateway::Census;
use clawgate_proto::host::{Document, HostRequest};
use std::collections::BTreeMap;

/// What was found.
#[derive(Clone, Debug)]
pub struct Look {
    /// When.
    pub at: Mono,
    /// What the gateway counts by itself.
    pub census: Census,
    /// Fields and entries of everything in the gateway, whoever keeps it. Numbers and texts may have become longer: this
    /// grows only by what was put into a collection and is there still.
    pub things: usize,
    /// The same, of the connections that are open.
    pub connection_things: usize,
    /// How long all of that is as a text: what `things` does not see, such as a buffer.
    pub text_bytes: usize,
    /// The gateway's next deadline.
    pub next_deadline: Option<Mono>,
    /// The documents of the store, by size.
    pub stored_bytes: Vec<usize>,
    /// How often the gateway was told that a deadline has passed.
    pub wakes: u64,
    /// How often a driver looked after a socket.
    pub turns: u64,
    /// What the host was asked, and how often.
    pub asked: BTreeMap<String, u64>,
    /// What was told to peers and noticed by the model, and how often.
    pub reached: BTreeMap<String, u64>,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) wakes: u64,
    pub(super) turns: u64,
    asked: BTreeMap<String, u64>,
}

impl Counts {
    /// The host is asked something.
    pub(super) fn asked(&mut self, request: &HostRequest) {
        let text = format!("{request:?}");
        let name = text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        *self.asked.entry(name.to_owned()).or_default() += 1;
    }
}

impl Engine<'_> {
    pub(super) fn look(&mut self) {
        let gateway = self.world.gateway();
        let text = format!("{gateway:?}");
        let of_connections: String = self.world.connections().map(|conn| format!("{conn:?}")).collect();
        let size = |document| self.host.content(document).map_or(0, |bytes| bytes.len());
        let look = Look {
            at: self.world.now().mono,
            census: gateway.census(),
            things: things(&text),
            connection_things: things(&of_connections),
            text_bytes: text.len() + of_connections.len(),
            next_deadline: gateway.next_deadline(),
            stored_bytes: DOCUMENTS.map(size).to_vec(),
            wakes: self.counts.wakes,
            turns: self.counts.turns,
            asked: self.counts.asked.clone(),
            reached: self.model.borrow().reached().clone(),
        };
        self.looks.push(look);
    }
}

/// Fields and entries in what `Debug` shows.
fn things(text: &str) -> usize {
    text.matches([',', '{', '[', '(']).count()
}

/// The store.
const DOCUMENTS: [Document; 5] = [
    Document::DevicesPaired,
    Document::DevicesPending,
    Document::DevicesSetup,
    Document::Nodes,
    Document::NodeRequests,
];
