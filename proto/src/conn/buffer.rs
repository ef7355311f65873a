//! Received residue: bytes the peer sent that no message owns yet.
//!
//! Bounded, so that a peer cannot make us hold more than one head. Remembers how far a search for an end has
//! come, so that each byte is looked at once however small the pieces are in which it arrives, and hands bytes on
//! without moving the rest.

/// A bounded queue of bytes with a mark for what was already searched.
#[derive(Debug)]
pub(crate) struct Residue {
    bytes: Vec<u8>,
    /// Where the unread bytes begin in `bytes`.
    start: usize,
    /// Unread bytes that were searched already.
    seen: usize,
    bytes_max: usize,
}

impl Residue {
    /// An empty residue that holds at most `bytes_max` bytes. Takes no memory before the first byte.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, seen: 0, bytes_max }
    }

    /// Takes as many bytes as there is room for and says how many.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        if self.start > self.unread().len() {
            // Moves fewer bytes than were consumed since the last move, so a byte is moved once on average.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// How many more bytes it would take.
    pub(crate) fn room(&self) -> usize {
        self.bytes_max - self.unread().len()
    }

    /// Whether nothing is unread.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// What no message owns yet.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The unread bytes that were not searched yet.
    pub(crate) fn unseen(&self) -> &[u8] {
        &self.bytes[self.start + self.seen..]
    }

    /// The first `count` unseen bytes were searched.
    pub(crate) fn mark_seen(&mut self, count: usize) {
        self.seen += count;
        debug_assert!(self.seen <= self.unread().len(), "only received bytes can be searched");
    }

    /// Lets the first `count` unread bytes go; they belong to a message now.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        self.seen = self.seen.saturating_sub(count);
        if self.is_empty() {
            self.start = 0;
            if self.bytes.capacity() > KEPT_BYTES_MAX {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        }
    }

    /// The unread bytes, for whoever speaks on this socket next.
    pub(crate) fn into_unread(mut self) -> Vec<u8> {
        self.bytes.drain(..self.start);
        self.bytes
    }
}

/// An empty residue keeps no more memory than this: an idle connection should not hold its largest head.
const KEPT_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_bound_and_no_more() {
        let mut residue = Residue::new(4);
        assert_eq!(residue.push(b"abcdef"), 4);
        assert_eq!(residue.push(b"ef"), 0);
        residue.consume(1);
        assert_eq!(residue.push(b"ef"), 1);
        assert_eq!(residue.unread(), b"bcde");
        assert_eq!(residue.room(), 0);
    }

    #[test]
    fn the_mark_follows_what_is_consumed() {
        let mut residue = Residue::new(8);
        residue.push(b"abcd");
        residue.mark_seen(3);
        assert_eq!(residue.unseen(), b"d");
        residue.consume(2);
        assert_eq!(residue.unread(), b"cd");
        assert_eq!(residue.unseen(), b"d");
        residue.consume(2);
        assert!(residue.is_empty());
        residue.push(b"e");
        assert_eq!(residue.unseen(), b"e");
        assert_eq!(residue.into_unread(), b"e");
    }

    #[test]
    fn an_empty_residue_gives_its_memory_back() {
        let mut residue = Residue::new(8192);
        assert_eq!(residue.bytes.capacity(), 0);
        residue.push(&[b'x'; 8192]);
        residue.consume(8192);
        assert_eq!(residue.bytes.capacity(), 0);
    }

    #[test]
    fn a_residue_that_is_never_empty_does_not_grow() {
        let mut residue = Residue::new(100);
        residue.push(&[b'x'; 60]);
        for _ in 0..10_000 {
            assert_eq!(residue.push(b"yz"), 2);
            residue.consume(2);
        }
        assert_eq!(residue.unread().len(), 60);
        assert!(residue.bytes.capacity() <= 400, "{}", residue.bytes.capacity());
    }
}
