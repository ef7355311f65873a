//! How many of everything the gateway holds: what tests hold against its limits, and what must be nothing when
//! nobody is left.

use super::Gateway;

/// Counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Accepted sockets.
    pub sockets: usize,
    /// Of these, sockets that owe us a request head: the first, or the next.
    pub headless: usize,
    /// Of these, sockets between upgrade and hello-ok.
    pub preauth: usize,
    /// Of these, sockets that end without having been admitted.
    pub unadmitted: usize,
    /// Of these, admitted sockets.
    pub open: usize,
    /// What is queued towards all sockets, in the unit of [`crate::output::Order::cost`].
    pub queued_bytes: usize,
    /// What is taken of the process-wide budget: the queues, and messages that are being received.
    pub budget_bytes: usize,
    /// Host requests without an answer.
    pub host_requests: usize,
    /// Operations on the device store without an outcome.
    pub store_waiting: usize,
    /// Requests that are answered when a person has decided.
    pub decisions_awaited: usize,
    /// Commands in flight to nodes.
    pub invokes: usize,
    /// Nodes for which something waits, or did.
    pub pending_nodes: usize,
    /// Chats that nodes follow.
    pub node_chats: usize,
    /// Peers that are in, and may be given an address of the canvas.
    pub surfaces: usize,
    /// Presence entries, our own not counted.
    pub presence_entries: usize,
}

impl Gateway {
    /// Counts everything. Looks at every socket, so it is not for each step of a busy process.
    ///
    /// # Panics
    /// When the gateway's books do not agree with its sockets.
    pub fn census(&self) -> Census {
        self.peers.check();
        self.approvals.check();
        self.invokes.check();
        self.pending.check();
        Census {
            sockets: self.peers.len(),
            headless: self.peers.headless_len(),
            preauth: self.peers.preauth_len(),
            unadmitted: self.peers.unadmitted_len(),
            open: self.peers.open().count(),
            queued_bytes: self.peers.all().map(|(_, slot)| slot.queued).sum(),
            budget_bytes: self.budget.used(),
            host_requests: self.tickets.len(),
            store_waiting: self.devices.waiting(),
            decisions_awaited: self.approvals.waiting(),
            invokes: self.invokes.len(),
            pending_nodes: self.pending.len(),
            node_chats: self.node_chats(),
            surfaces: self.surfaces.len(),
            presence_entries: self.presence.len(),
        }
    }
}
