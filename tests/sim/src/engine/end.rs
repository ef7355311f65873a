//! How a run comes to its end: faults stop, what is on its way arrives, an honest client is served, everybody leaves,
//! and nothing may be left.

use super::{Engine, Event, Stage};
use crate::peer::Peer;
use crate::plan::{Credential, Disk, Edit, Ending, HostManner, Kind, Opening, Spec, Who};
use clawgate_proto::gateway::Census;
use serde_json::json;

impl Engine<'_> {
    pub(super) fn end(&mut self, stage: Stage) {
        let limits = &self.plan.setup.limits;
        // Time for a host that kept silent, a batch after it, and a close after that.
        let settle_ms = 3 * limits.host_timeout_ms + limits.close_timeout_ms + limits.handshake_timeout_ms;
        match stage {
            Stage::Calm => {
                self.say("faults stop");
                self.calm();
                self.end_at(settle_ms, Stage::Visit);
            }
            Stage::Visit => {
                self.check_served();
                if !self.has_stopped {
                    self.visit();
                }
                self.end_at(limits.host_timeout_ms, Stage::Ask);
            }
            Stage::Ask => {
                self.ask();
                self.end_at(limits.host_timeout_ms, Stage::Leave);
            }
            Stage::Leave => {
                self.check_served();
                self.check_strangers();
                match self.plan.ending {
                    Ending::AllLeave => self.all_leave(),
                    Ending::Stop | Ending::Watch(_) => self.stop(),
                }
                let patience_ms =
                    limits.ping_interval_ms + limits.pong_timeout_ms + 10 * limits.close_timeout_ms;
                self.end_at(patience_ms.max(limits.drain_timeout_ms) + settle_ms, Stage::Stop);
            }
            Stage::Stop => {
                if !self.has_stopped {
                    self.check_empty("everybody left");
                }
                self.stop();
                self.end_at(limits.drain_timeout_ms + 10 * limits.close_timeout_ms, Stage::Over);
            }
            Stage::Over | Stage::Unwatched => {}
        }
    }

    fn end_at(&mut self, ms: u64, stage: Stage) {
        let at = self.world.now().mono.plus_millis(ms);
        self.at(at, Event::End(stage));
    }

    fn faults_stop(&mut self) {
        self.manner = (HostManner::Prompt, 0);
        self.host.clear_faults();
        self.disk(Disk::ReadOnly(false));
        self.disk(Disk::Unreadable(false));
        self.edit(Edit::Repair);
        self.edit(Edit::Touch);
    }

    /// Faults stop, and all peers from this one on are cut.
    pub(super) fn clear(&mut self, first: usize) {
        self.say("faults stop, and whoever came is gone");
        self.faults_stop();
        let peers: Vec<usize> = self.peers.range(first..).map(|(at, _)| *at).collect();
        for at in peers {
            self.reset(at);
        }
    }

    fn calm(&mut self) {
        self.faults_stop();
        let peers: Vec<usize> = self.peers.keys().copied().collect();
        for at in peers {
            self.resume(at);
            if self.peers.get(&at).is_some_and(|peer| peer.is_mute) {
                self.reset(at);
            }
        }
        // Room for the visitor: the last who came, and whoever is not in, leave.
        let limits = &self.plan.setup.limits;
        let room = limits.sockets_max.saturating_sub(2).min(8);
        let there: Vec<usize> =
            self.peers.iter().filter(|(_, peer)| !peer.is_gone).map(|(at, _)| *at).collect();
        for at in there {
            let is_admitted = self.peers.get(&at).is_some_and(|peer| peer.is_admitted);
            if !is_admitted || self.world.socket_count() > room {
                self.reset(at);
            }
        }
    }

    /// Whoever asked has an answer.
    fn check_served(&mut self) {
        let unanswered = self.model.borrow().unanswered();
        if let Some((conn, ids)) = unanswered.first() {
            self.accuse(&format!("{conn} has no answer to {ids:?}"));
        }
        // A half frame before it, and a request is the rest of that frame.
        let waits = |peer: &&Peer| {
            let is_open = peer.client.as_ref().is_some_and(|client| client.is_open());
            is_open && !peer.is_gone && !peer.has_ended && !peer.is_odd && !peer.asked.is_empty()
        };
        if let Some(peer) = self.peers.values().find(waits) {
            let what = format!("{} asked {:?} and hears nothing", peer.conn, peer.asked);
            self.accuse(&what);
        }
    }

    /// An operator on this machine comes, with a device nobody has seen and the shared secret.
    fn visit(&mut self) {
        let spec = Spec {
            who: Who::Backend,
            protocol: (3, 4),
            scopes: &["operator.admin"],
            device: None,
            credential: Credential::Shared,
            flaw: None,
            eager: 0,
            origin: None,
            platform: "linux",
        };
        self.open(Opening {
            peer: VISITOR,
            kind: Kind::Client(Box::new(spec)),
            from: 0,
            piece_bytes_max: 1_500,
            delay_us_max: 50,
            window_bytes: 1 << 20,
        });
    }

    /// The visitor was let in; it asks for the devices, so that the gateway looks at the disk.
    fn ask(&mut self) {
        if self.has_stopped {
            return;
        }
        let now = self.world.now();
        let tiny = self.plan.setup.limits.process_bytes_max < SERVICE_BYTES;
        let Some(visitor) = self.peers.get_mut(&VISITOR).filter(|peer| peer.is_admitted && !peer.is_gone)
        else {
            if !tiny {
                self.accuse("an honest client is not let in after the faults");
            }
            return;
        };
        let conn = visitor.conn;
        if let Some(said) = visitor.call("device.pair.list", json!({})) {
            self.model.borrow_mut().transcript.line(now, conn, '>', &said);
            self.flush(VISITOR);
        }
    }

    /// The gateway has looked: whose device was removed by somebody else has been closed.
    fn check_strangers(&mut self) {
        let strangers = self.model.borrow().strangers();
        if let Some(device) = strangers.first().filter(|_| !self.has_stopped) {
            self.accuse(&format!("{device} is not paired, and still here"));
        }
    }

    fn all_leave(&mut self) {
        self.say("everybody leaves");
        let peers: Vec<usize> = self.peers.keys().copied().collect();
        for at in peers {
            self.act(crate::plan::Act::Close(at));
        }
    }

    fn check_empty(&mut self, when: &str) {
        let census = self.world.gateway().census();
        let left = Census { presence_entries: 0, host_requests: 0, ..census };
        if left != Census::default() {
            self.accuse(&format!("{when}, and this is left: {left:?}"));
        }
    }

    /// Everything is over.
    pub(super) fn check_over(&mut self) {
        if !self.world.is_stopped() {
            self.accuse("the gateway has not stopped");
        }
        let census = self.world.gateway().census();
        if (Census { presence_entries: 0, host_requests: 0, ..census }) != Census::default() {
            let at = self.world.now().mono;
            self.accuse(&format!("{} after the stop, this is left: {census:?}", crate::transcript::show(at)));
        }
        if self.world.socket_count() != 0 {
            self.accuse("a socket is left");
        }
    }
}

/// The number of the visitor.
const VISITOR: usize = usize::MAX;
/// With less memory than this for everything, nothing is promised.
const SERVICE_BYTES: usize = 64 * 1024;
