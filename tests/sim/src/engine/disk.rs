//! The host below the gateway: how it answers, how its disk fails, and who else writes there.

use super::{Engine, Event, LOST_WRITE, TICK_LATENESS};
use crate::plan::{Disk, Edit, HostManner, Sabotage};
use clawgate_proto::host::{Document, HostAnswer, HostRequest, StoreFault};
use clawgate_proto::id::Ticket;
use clawgate_proto::store;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine<'_> {
    pub(super) fn ask_host(&mut self, ticket: Ticket, request: HostRequest) {
        let manner = match &mut self.manner {
            (_, 0) => HostManner::Prompt,
            (manner, count) => {
                *count -= 1;
                *manner
            }
        };
        self.counts.asked(&request);
        self.jobs.insert(ticket, request);
        let slow_us = 1_000 * self.plan.setup.limits.host_timeout_ms;
        let delay_us = match manner {
            HostManner::Prompt | HostManner::Twice | HostManner::Mute => self.dice.below(3_000),
            HostManner::Slow => self.dice.below(slow_us * 9 / 10),
            // Half of them do it in time and say so late; the others do it late, too.
            HostManner::Late if self.dice.chance(50) => self.dice.below(3_000),
            HostManner::Late => slow_us + self.dice.below(slow_us),
            HostManner::Dead => return,
        };
        self.after(delay_us, Event::Perform(ticket, manner));
    }

    pub(super) fn perform(&mut self, ticket: Ticket, manner: HostManner) {
        let Some(request) = self.jobs.remove(&ticket) else { return };
        let is_write = matches!(request, HostRequest::StoreDevices { .. });
        self.model.borrow_mut().host_looks(ticket);
        let before = self.contents();
        let answer = self.world.perform(request);
        self.writes += u64::from(matches!(answer, HostAnswer::Stored(Ok(_))));
        if self.plan.sabotage == Some(Sabotage::LoseWrite) && is_write && self.writes == LOST_WRITE {
            self.host.edit(Document::DevicesPaired, before.0.clone().unwrap_or_else(|| b"{}".to_vec()));
        }
        let fails = matches!(answer, HostAnswer::Stored(Err(StoreFault::Failed(_))));
        let changes = self.contents() != before;
        if is_write && changes && (fails || matches!(manner, HostManner::Late | HostManner::Mute)) {
            // The disk has changed without the gateway's knowledge.
            self.model.borrow_mut().disk_moved();
        }
        let slow_us = 1_000 * self.plan.setup.limits.host_timeout_ms;
        match manner {
            HostManner::Prompt | HostManner::Slow => {
                let delay_us = self.dice.below(1_000);
                self.after(delay_us, Event::Answer(ticket, answer));
            }
            HostManner::Late => {
                self.after(slow_us + self.plan.jitter_us * TICK_LATENESS, Event::Answer(ticket, answer))
            }
            HostManner::Twice => {
                let delay_us = self.dice.below(1_000);
                self.after(delay_us, Event::Answer(ticket, answer.clone()));
                self.after(delay_us + 500, Event::Answer(ticket, answer));
            }
            HostManner::Mute | HostManner::Dead => {}
        }
    }

    fn contents(&self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        (self.host.content(Document::DevicesPaired), self.host.content(Document::DevicesPending))
    }

    pub(super) fn disk(&mut self, disk: Disk) {
        match disk {
            Disk::FailWrite => self.host.fail_next_write("no space left on device"),
            Disk::Conflict => self.host.conflict_next_write(),
            Disk::FailHalfway => self.host.fail_next_write_halfway("input/output error"),
            Disk::ReadOnly(is_read_only) => self.host.set_read_only(is_read_only),
            Disk::Unreadable(is_unreadable) => {
                self.host.set_unreadable(Document::DevicesPaired, is_unreadable);
            }
        }
    }

    /// Somebody else's edit of the store.
    pub(super) fn edit(&mut self, edit: Edit) {
        self.say(&format!("edit: {edit:?}"));
        let device = |at: u8| self.keys[usize::from(at) % self.keys.len()].device_id().to_owned();
        let content = self.host.content(Document::DevicesPaired);
        let paired = content.as_ref().and_then(|bytes| store::parse_paired(bytes).ok());
        match (edit, paired) {
            (Edit::Touch, _) => {
                if let Some(bytes) = content {
                    self.host.edit(Document::DevicesPaired, bytes);
                }
            }
            (Edit::Remove(at), Some(mut paired)) => {
                paired.remove(&device(at));
                self.host.edit(Document::DevicesPaired, store::render_paired(&paired));
            }
            (Edit::Revoke(at), Some(mut paired)) => {
                let revoked_at = Some(self.world.now().wall.0);
                if let Some(record) = paired.get_mut(&device(at)).map(Arc::make_mut) {
                    let tokens = record.tokens.iter_mut().flat_map(BTreeMap::values_mut);
                    tokens.for_each(|token| token.revoked_at_ms = revoked_at);
                }
                self.host.edit(Document::DevicesPaired, store::render_paired(&paired));
            }
            (Edit::Narrow(at), Some(mut paired)) => {
                if let Some(record) = paired.get_mut(&device(at)).map(Arc::make_mut) {
                    record.approved_scopes = Some(vec!["operator.read".to_owned()]);
                }
                self.host.edit(Document::DevicesPaired, store::render_paired(&paired));
            }
            (Edit::DropPending, _) => self.host.edit(Document::DevicesPending, "{}"),
            (Edit::Corrupt, Some(_)) => {
                self.spared = content;
                self.host.edit(Document::DevicesPaired, "{ \"half\": ");
            }
            (Edit::Repair, None) => {
                let spared = self.spared.take().unwrap_or_else(|| b"{}".to_vec());
                self.host.edit(Document::DevicesPaired, spared);
            }
            (Edit::Remove(_) | Edit::Revoke(_) | Edit::Narrow(_) | Edit::Corrupt, None)
            | (Edit::Repair, Some(_)) => return,
        }
        self.model.borrow_mut().disk_moved();
    }
}
