//! Keys out of the bytes that a terminal sends. A key may arrive in pieces, and the escape key is a prefix of others: the
//! caller waits a moment and then says that nothing more came.

/// What was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Tab,
    BackTab,
    Backspace,
    Escape,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    /// A letter held with the control key, in lower case.
    Control(char),
}

/// Bytes that are no whole key yet.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pending: Vec<u8>,
}

impl Keys {
    /// The keys that are whole now. What means nothing here is left out.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        for byte in bytes {
            self.pending.push(*byte);
            match whole(&self.pending) {
                Whole::Not => {
                    if self.pending.len() >= SEQUENCE_BYTES_MAX {
                        self.pending.clear();
                    }
                }
                Whole::Key(key) => {
                    self.pending.clear();
                    keys.extend(key);
                }
                // The escape key, and then another.
                Whole::Broken => {
                    let last = self.pending.pop();
                    if self.pending == [ESC] {
                        keys.push(Key::Escape);
                    }
                    self.pending.clear();
                    keys.extend(last.and_then(|last| self.feed(&[last]).pop()));
                }
            }
        }
        keys
    }

    /// Whether a key has begun.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Nothing more came.
    pub(super) fn expire(&mut self) -> Option<Key> {
        let was_escape = self.pending == [ESC];
        self.pending.clear();
        was_escape.then_some(Key::Escape)
    }
}

enum Whole {
    Not,
    /// A key, or what means none here.
    Key(Option<Key>),
    /// The last byte does not belong to those before.
    Broken,
}

fn whole(bytes: &[u8]) -> Whole {
    match bytes {
        [ESC] | [ESC, b'[' | b'O'] => Whole::Not,
        [ESC, b'[', params @ .., last] => match last {
            b'0'..=b'?' | b' '..=b'/' => Whole::Not,
            b'@'..=b'~' => Whole::Key(sequence(params, *last)),
            _ => Whole::Broken,
        },
        [ESC, b'O', last] => Whole::Key(sequence(&[], *last)),
        // Alt with a character is that character.
        [ESC, rest @ ..] if rest[0] >= b' ' && rest[0] != 0x7f => text(rest),
        [ESC, ..] => Whole::Broken,
        [b'\r' | b'\n'] => Whole::Key(Some(Key::Enter)),
        [b'\t'] => Whole::Key(Some(Key::Tab)),
        [0x08 | 0x7f] => Whole::Key(Some(Key::Backspace)),
        [byte @ 1..=26] => Whole::Key(Some(Key::Control(char::from(byte - 1 + b'a')))),
        [0..=0x1f] => Whole::Key(None),
        other => text(other),
    }
}

/// One character of UTF-8.
fn text(bytes: &[u8]) -> Whole {
    match std::str::from_utf8(bytes) {
        Ok(text) => Whole::Key(text.chars().next().filter(|c| !c.is_control()).map(Key::Char)),
        Err(why) if why.error_len().is_none() => Whole::Not,
        Err(_) if bytes.len() > 1 => Whole::Broken,
        Err(_) => Whole::Key(None),
    }
}

/// `CSI params last`, and `SS3 last`.
fn sequence(params: &[u8], last: u8) -> Option<Key> {
    let first = params.split(|byte| *byte == b';').next().unwrap_or_default();
    Some(match (last, first) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
        (b'F', _) | (b'~', b"4" | b"8") => Key::End,
        (b'Z', _) => Key::BackTab,
        (b'~', b"5") => Key::PageUp,
        (b'~', b"6") => Key::PageDown,
        (b'M', _) => Key::Enter,
        _ => return None,
    })
}

const ESC: u8 = 0x1b;
/// No key of a terminal is longer.
const SEQUENCE_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        Keys::default().feed(bytes)
    }

    #[test]
    fn every_key_that_is_used() {
        for (bytes, key) in [
            (&b"q"[..], Key::Char('q')),
            (b"\xc3\xa9", Key::Char('\u{e9}')),
            (b"\r", Key::Enter),
            (b"\t", Key::Tab),
            (b"\x7f", Key::Backspace),
            (b"\x03", Key::Control('c')),
            (b"\x1a", Key::Control('z')),
            (b"\x1b[A", Key::Up),
            (b"\x1bOB", Key::Down),
            (b"\x1b[1;5C", Key::Right),
            (b"\x1b[D", Key::Left),
            (b"\x1b[Z", Key::BackTab),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[6~", Key::PageDown),
            (b"\x1b[H", Key::Home),
            (b"\x1b[4~", Key::End),
            (b"\x1bx", Key::Char('x')),
        ] {
            assert_eq!(keys(bytes), [key], "{bytes:?}");
        }
        assert_eq!(keys(b"\x1b[200~\x1b[?1;2c\0"), [], "what means nothing is nothing");
        assert_eq!(keys(b"\xff\xfej"), [Key::Char('j')]);
    }

    #[test]
    fn the_escape_key_is_told_from_the_beginning_of_another() {
        let mut some = Keys::default();
        assert_eq!(some.feed(b"\x1b"), []);
        assert!(some.is_waiting());
        assert_eq!(some.expire(), Some(Key::Escape));
        assert_eq!(some.feed(b"\x1b"), []);
        assert_eq!(some.feed(b"["), []);
        assert_eq!(some.feed(b"B"), [Key::Down]);
        assert_eq!((some.is_waiting(), some.expire()), (false, None));
        assert_eq!(keys(b"\x1b\x1b[A"), [Key::Escape, Key::Up]);
        assert_eq!(keys(b"\x1b\x03"), [Key::Escape, Key::Control('c')]);
        // What was cut off is no escape key.
        some.feed(b"\x1b[1");
        assert_eq!(some.expire(), None);
    }

    proptest! {
        #[test]
        fn pieces_are_as_good_as_the_whole(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
            let cut = cut.min(bytes.len());
            let mut some = Keys::default();
            let mut pieces = some.feed(&bytes[..cut]);
            pieces.extend(some.feed(&bytes[cut..]));
            prop_assert!(some.pending.len() < SEQUENCE_BYTES_MAX);
            prop_assert_eq!(pieces, keys(&bytes));
        }
    }
}
