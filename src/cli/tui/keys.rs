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
    /// When the last of them came, by the clock of the loop.
    since_ms: u64,
}

impl Keys {
    /// The keys that are whole now. What means nothing here is left out.
    pub(super) fn read(&mut self, bytes: &[u8], now_ms: u64) -> Vec<Key> {
        self.since_ms = now_ms;
        self.feed(bytes)
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        for byte in bytes {
            self.pending.push(*byte);
            match whole(&self.pending) {
                Whole::Not => {
                    // It is swallowed to its end, wherever that is, and is no key.
                    if self.pending.len() >= SEQUENCE_BYTES_MAX {
                        let mark = if is_string(&self.pending) { *byte } else { b'?' };
                        self.pending.truncate(2);
                        self.pending.push(mark);
                    }
                }
                Whole::Key(key) => {
                    self.pending.clear();
                    keys.extend(key);
                }
                // A string of the terminal's that was broken off by something else.
                Whole::Cut => {
                    self.pending = vec![ESC];
                    keys.extend(self.feed(&[*byte]));
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

    /// How long to wait for the rest of a key that has begun.
    pub(super) fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        (!self.pending.is_empty()).then(|| self.since_ms.saturating_add(KEY_WAIT_MS).saturating_sub(now_ms))
    }

    /// Nothing more has come. When it was waited for long enough, it is the key that it is.
    pub(super) fn expire(&mut self, now_ms: u64) -> Option<Key> {
        if self.wait_ms(now_ms) != Some(0) {
            return None;
        }
        let was_escape = self.pending == [ESC];
        self.pending.clear();
        was_escape.then_some(Key::Escape)
    }
}

enum Whole {
    Not,
    /// A key, or what means none here.
    Key(Option<Key>),
    /// The last two bytes begin something else.
    Cut,
    /// The last byte does not belong to those before.
    Broken,
}

fn whole(bytes: &[u8]) -> Whole {
    match bytes {
        [ESC] | [ESC, b'[' | b'O'] => Whole::Not,
        // The function keys of the Linux console: one letter more.
        [ESC, b'[', b'['] => Whole::Not,
        [ESC, b'[', b'[', _] => Whole::Key(None),
        [ESC, b'[', params @ .., last] => match last {
            b'0'..=b'?' | b' '..=b'/' => Whole::Not,
            b'@'..=b'~' => Whole::Key(sequence(params, *last)),
            _ => Whole::Broken,
        },
        [ESC, b'O', b'M'] => Whole::Key(Some(Key::Enter)),
        [ESC, b'O', last] => Whole::Key(sequence(&[], *last)),
        // What a terminal answers when it is asked for a colour or the like: no key, whatever it holds.
        [ESC, b']' | b'P' | b'_' | b'^', rest @ ..] => match rest {
            [.., ESC, b'\\'] | [.., BELL | CAN | SUB] => Whole::Key(None),
            [.., ESC, other] if *other != ESC => Whole::Cut,
            _ => Whole::Not,
        },
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
    // A report of the terminal's own ends with the same letters.
    if params.first().is_some_and(|byte| (b'<'..=b'?').contains(byte)) {
        return None;
    }
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
        _ => return None,
    })
}

/// Whether it is a string of the terminal's.
fn is_string(bytes: &[u8]) -> bool {
    matches!(bytes, [ESC, b']' | b'P' | b'_' | b'^', ..])
}

const ESC: u8 = 0x1b;
const BELL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
/// How long a terminal takes to send the rest of a key.
const KEY_WAIT_MS: u64 = 50;
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
        assert_eq!(some.wait_ms(0), Some(KEY_WAIT_MS));
        assert_eq!(some.expire(KEY_WAIT_MS - 1), None, "the rest may be on its way");
        assert_eq!(some.expire(KEY_WAIT_MS), Some(Key::Escape));
        assert_eq!(some.read(b"\x1b", 100), []);
        assert_eq!(some.read(b"[", 140), []);
        assert_eq!((some.wait_ms(150), some.expire(150)), (Some(KEY_WAIT_MS - 10), None));
        assert_eq!(some.read(b"B", 150), [Key::Down]);
        assert_eq!((some.wait_ms(150), some.expire(u64::MAX)), (None, None));
        assert_eq!(keys(b"\x1b\x1b[A"), [Key::Escape, Key::Up]);
        assert_eq!(keys(b"\x1b\x03"), [Key::Escape, Key::Control('c')]);
        // What was cut off is no escape key.
        some.feed(b"\x1b[1");
        assert_eq!((some.expire(u64::MAX), some.wait_ms(0)), (None, None));
    }

    #[test]
    fn what_a_terminal_says_of_itself_is_no_command() {
        for function_key in [b'A', b'B', b'C', b'D', b'E'] {
            assert_eq!(keys(&[ESC, b'[', b'[', function_key, b'j']), [Key::Char('j')]);
        }
        let long = format!("\x1b]52;c;{}\x07j", "axy".repeat(100));
        let report = format!("\x1b[?{}Aj", "1;".repeat(100));
        let endless = format!("\x1b[{}Aj", "1;".repeat(100));
        for bytes in [
            &b"\x1b]11;rgb:aaaa/aaaa/yyyy\x07j"[..],
            b"\x1b]11;rgb:aaaa/aaaa/aaaa\x1b\\j",
            b"\x1bP1$r0m\x1b\\j",
            b"\x1b_a\x1b\\j",
            b"\x1b]a\x18j",
            b"\x1b[<0;1;1Mj",
            b"\x1b[?62;4cj",
            long.as_bytes(),
            report.as_bytes(),
            endless.as_bytes(),
        ] {
            assert_eq!(keys(bytes), [Key::Char('j')], "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(keys(b"\x1b]a\x1b[A"), [Key::Up], "one that is broken off ends there");
        assert_eq!(keys(b"\x1bOM"), [Key::Enter]);
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
