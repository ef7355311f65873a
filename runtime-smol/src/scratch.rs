//! Buffers that belong to a thread, so that an idle task owns none.

use crate::driver::Mail;
use clawgate_proto::Input;
use std::cell::Cell;

/// What one turn of a task works with. Every field but `read` is empty between turns.
pub(crate) struct Scratch {
    /// What the socket gave.
    pub(crate) read: Box<[u8]>,
    /// Bytes on their way to the socket.
    pub(crate) wire: Vec<u8>,
    /// Facts on their way to the gateway.
    pub(crate) inputs: Vec<Input>,
    /// What the gateway said to them.
    pub(crate) mail: Mail,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { read: vec![0; READ_BYTES].into(), wire: Vec::new(), inputs: Vec::new(), mail: Mail::default() }
    }
}

/// Lends this thread's scratch. A panic in `work` loses it, and the next turn gets a fresh one; so does a turn
/// inside a turn.
pub(crate) fn with<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    thread_local!(static MINE: Cell<Option<Box<Scratch>>> = const { Cell::new(None) });
    let mut scratch = MINE.take().unwrap_or_default();
    let result = work(&mut scratch);
    scratch.wire.clear();
    scratch.wire.shrink_to(WIRE_BYTES_KEPT);
    scratch.inputs.clear();
    scratch.inputs.shrink_to(ENTRIES_KEPT);
    scratch.mail.reset(ENTRIES_KEPT);
    MINE.set(Some(scratch));
    result
}

/// One read. Also what a paused connection may hold unread, so not larger than it helps.
const READ_BYTES: usize = 16 * 1024;

/// The core hands out about 64 KiB at a time.
const WIRE_BYTES_KEPT: usize = 80 * 1024;

/// After a broadcast to thousands the lists shrink back to this.
const ENTRIES_KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_shrinks_after_use_and_nests() {
        with(|outer| {
            outer.wire.resize(WIRE_BYTES_KEPT * 4, 1);
            with(|inner| assert!(inner.wire.is_empty()));
        });
        with(|scratch| {
            assert!(scratch.wire.is_empty());
            assert!(scratch.wire.capacity() <= WIRE_BYTES_KEPT);
        });
    }
}
