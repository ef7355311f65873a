//! The memory ceiling: above it nobody new is let in, so that the system need not end the process for those who are here.
//! The host is asked when somebody wants in, and not more often than makes sense: an idle gateway asks nothing.

use super::{Gateway, Purpose};
use crate::host::{HostAnswer, HostRequest};
use crate::log::{Level, Record};
use crate::output::Output;
use crate::time::{Mono, Now};

/// The looks at memory.
#[derive(Debug, Default)]
pub(super) struct MemoryLook {
    asked: Option<Mono>,
    is_on_its_way: bool,
    /// Whether the latest one found too much.
    is_above: bool,
}

impl Gateway {
    /// Whether one more may come in, by the latest look; a new one is asked for when that was a while ago.
    pub(super) fn has_memory(&mut self, now: Now, out: &mut Vec<Output>) -> bool {
        let limits = &self.config.limits;
        if limits.memory_bytes_max == 0 {
            return true;
        }
        let is_due = self.memory.asked.is_none_or(|at| at.plus_millis(limits.memory_look_ms) <= now.mono);
        if is_due && !self.memory.is_on_its_way {
            self.memory.asked = Some(now.mono);
            self.memory.is_on_its_way = true;
            self.ask_host(now, HostRequest::Load, Purpose::Memory, out);
        }
        !self.memory.is_above
    }

    /// The host has looked.
    pub(super) fn memory_looked(&mut self, answer: Option<HostAnswer>, out: &mut Vec<Output>) {
        self.memory.is_on_its_way = false;
        let Some(HostAnswer::Load(Ok(load))) = answer else { return };
        self.health.measured(load);
        let bytes_max = self.config.limits.memory_bytes_max;
        let is_above = bytes_max > 0 && load.resident_bytes >= bytes_max;
        if is_above != self.memory.is_above {
            self.memory.is_above = is_above;
            let (level, event) = if is_above {
                (Level::Warn, "memory.ceiling")
            } else {
                (Level::Info, "memory.below-ceiling")
            };
            let record =
                Record::new(level, event).field("resident", load.resident_bytes).field("max", bytes_max);
            out.push(Output::Log(if is_above {
                record.field(
                    "hint",
                    "new connections are refused, those that are here stay; raise limits.memoryBytesMax in \
                     clawgate.json, or the limit of its control group, if there is memory",
                )
            } else {
                record
            }));
        }
    }
}
