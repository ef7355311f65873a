//! The idempotency cache: a repeated key gets the first answer again, and does not run twice (spec: handshake
//! section 15.4).
//!
//! Keys belong to the device that sent them (to the socket, when there is no device), so that nobody reads
//! another's answer by guessing a key. Bounded in entries, in bytes and in time; errors are remembered as well.

use crate::id::ConnId;
use crate::limits::Limits;
use crate::output::Reply;
use crate::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// Whose key, for which method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReplyKey {
    pub(super) owner: String,
    pub(super) method: &'static str,
    pub(super) key: Box<str>,
}

/// What to do with a request that carries a key.
#[derive(Debug)]
pub(super) enum Seen {
    /// Run it.
    First,
    /// The first one still runs: this one is answered with it.
    Joined,
    /// Answer this.
    Replay(Reply),
}

/// The cache.
#[derive(Debug, Default)]
pub(super) struct Replies {
    entries: BTreeMap<ReplyKey, Entry>,
    /// Oldest first.
    order: BTreeSet<(Mono, ReplyKey)>,
    running: BTreeMap<(ConnId, Box<str>), ReplyKey>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    at: Mono,
    size: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Running { joined: Vec<(ConnId, Box<str>)> },
    Done(Reply),
}

impl Replies {
    /// How many keys are remembered.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A request with a key came.
    pub(super) fn begin(
        &mut self,
        now: Mono,
        key: ReplyKey,
        conn: ConnId,
        id: &str,
        limits: &Limits,
    ) -> Seen {
        self.forget_old(now, limits);
        match self.entries.get_mut(&key) {
            Some(Entry { state: State::Done(reply), .. }) => Seen::Replay(reply.clone()),
            Some(Entry { state: State::Running { joined }, .. }) => {
                joined.push((conn, id.into()));
                Seen::Joined
            }
            None => {
                let size = ENTRY_BYTES + key.owner.len() + key.key.len();
                self.bytes += size;
                self.order.insert((now, key.clone()));
                self.running.insert((conn, id.into()), key.clone());
                self.entries
                    .insert(key, Entry { at: now, size, state: State::Running { joined: Vec::new() } });
                self.forget_excess(limits);
                Seen::First
            }
        }
    }

    /// An answer leaves. Gives the sockets and request ids that joined it.
    pub(super) fn finish(
        &mut self,
        conn: ConnId,
        id: &str,
        reply: &Reply,
        limits: &Limits,
    ) -> Vec<(ConnId, Box<str>)> {
        if self.running.is_empty() {
            return Vec::new();
        }
        let Some(key) = self.running.remove(&(conn, id.into())) else { return Vec::new() };
        let Some(entry) = self.entries.get_mut(&key) else { return Vec::new() };
        let State::Running { joined } = core::mem::replace(&mut entry.state, State::Done(reply.clone()))
        else {
            return Vec::new();
        };
        let size = reply.size();
        entry.size += size;
        self.bytes += size;
        self.forget_excess(limits);
        joined
    }

    fn forget_old(&mut self, now: Mono, limits: &Limits) {
        while let Some((at, key)) = self.order.first() {
            if now.millis_since(*at) <= limits.replies_ttl_ms {
                return;
            }
            let key = key.clone();
            self.forget(&key);
        }
    }

    fn forget_excess(&mut self, limits: &Limits) {
        while self.entries.len() > limits.replies_entries_max || self.bytes > limits.replies_bytes_max {
            let Some((_, key)) = self.order.first() else { return };
            let key = key.clone();
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &ReplyKey) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.order.remove(&(entry.at, key.clone()));
        self.bytes -= entry.size;
        self.running.retain(|_, running| running != key);
    }
}

/// What an entry costs besides its texts.
const ENTRY_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Payload;
    use bytes::Bytes;

    fn key(owner: &str, key: &str) -> ReplyKey {
        ReplyKey { owner: owner.to_owned(), method: "m", key: key.into() }
    }

    fn reply(text: &'static str) -> Reply {
        Reply::Ok(Payload::Json(Bytes::from_static(text.as_bytes())))
    }

    fn at(ms: u64) -> Mono {
        Mono::default().plus_millis(ms)
    }

    #[test]
    fn a_repeated_key_replays_and_a_running_one_is_joined() {
        let (mut replies, limits) = (Replies::default(), Limits::default());
        let (a, b) = (ConnId(1), ConnId(2));
        assert!(matches!(replies.begin(at(0), key("d", "k"), a, "1", &limits), Seen::First));
        assert!(matches!(replies.begin(at(1), key("d", "k"), b, "7", &limits), Seen::Joined));
        let joined = replies.finish(a, "1", &reply("{}"), &limits);
        assert_eq!(joined, vec![(b, "7".into())]);
        assert!(matches!(replies.begin(at(2), key("d", "k"), a, "2", &limits), Seen::Replay(_)));
        assert!(
            matches!(replies.begin(at(2), key("other", "k"), a, "3", &limits), Seen::First),
            "keys have owners"
        );
    }

    #[test]
    fn entries_leave_by_age_count_and_bytes() {
        let mut replies = Replies::default();
        let limits = Limits { replies_entries_max: 3, replies_bytes_max: 2_000, ..Limits::default() };
        for n in 0..10u64 {
            let id = n.to_string();
            replies.begin(at(n), key("d", &id), ConnId(n), &id, &limits);
            replies.finish(ConnId(n), &id, &reply("[]"), &limits);
            assert!(replies.entries.len() <= 3 && replies.bytes <= 2_000);
        }
        let late = at(limits.replies_ttl_ms + 100);
        assert!(matches!(replies.begin(late, key("d", "9"), ConnId(99), "x", &limits), Seen::First));
        assert_eq!(replies.entries.len(), 1);
        assert_eq!(replies.order.len(), 1);
    }

    #[test]
    fn nothing_leaks_when_everything_is_forgotten() {
        let mut replies = Replies::default();
        let limits = Limits { replies_entries_max: 0, ..Limits::default() };
        replies.begin(at(0), key("d", "k"), ConnId(1), "1", &limits);
        assert_eq!(replies.finish(ConnId(1), "1", &reply("{}"), &limits), Vec::new());
        assert_eq!((replies.bytes, replies.running.len(), replies.order.len()), (0, 0, 0));
    }
}
