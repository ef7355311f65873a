//! Texts in the columns of a terminal: how wide they are, cut, wrapped; and times and sizes as the control page writes them.
//!
//! Widths follow the common rule: East Asian wide characters and pictures take two columns, combining marks none, everything
//! else one. What a terminal makes of a sequence of several characters (flags, families) is not known here: such a line may
//! be a column or two shorter on the screen than reckoned.

use crate::cli::render;
use crate::log;

/// The columns of one character.
pub(super) fn char_width(c: char) -> usize {
    let is_in = |table: &[(u32, u32)]| {
        let at = table.partition_point(|(_, last)| *last < u32::from(c));
        table.get(at).is_some_and(|(first, _)| *first <= u32::from(c))
    };
    if c.is_ascii() {
        1
    } else if is_in(ZERO) {
        0
    } else if is_in(WIDE) {
        2
    } else {
        1
    }
}

/// The columns of a text.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// As much of a text as fits, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    format!("{}\u{2026}", &text[..fitting(text, room, char_width)])
}

/// How many bytes of it fit.
fn fitting(text: &str, columns: usize, width_of: fn(char) -> usize) -> usize {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += width_of(c);
        if taken > columns {
            return at;
        }
    }
    text.len()
}

/// A text cut to these columns and filled up with spaces.
pub(super) fn padded(text: &str, columns: usize) -> String {
    let mut out = cut(text, columns);
    let missing = columns.saturating_sub(width(&out));
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// A text in lines of these columns, broken between words where that can be. Nothing of it is left out but the spaces at
/// which it is broken, and what is wider than a whole line. Terminals disagree about some characters beyond ASCII: each
/// is given the room of the widest, so that no text can push another one out of sight.
pub(super) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut rest = line;
        loop {
            let fits = fitting(rest, columns, |c| if c.is_ascii() { 1 } else { 2 });
            if fits == rest.len() {
                lines.push(rest.to_owned());
                break;
            }
            let space = rest[..fits].rfind(' ').filter(|at| *at > 0);
            let at = if rest[fits..].starts_with(' ') { fits } else { space.unwrap_or(fits) };
            if at == 0 {
                // Not even one character fits: there is no screen.
                let first = rest.chars().next().map_or(0, char::len_utf8);
                rest = &rest[first..];
                continue;
            }
            lines.push(rest[..at].to_owned());
            rest = &rest[at..];
            rest = rest.strip_prefix(' ').unwrap_or(rest);
        }
    }
    lines
}

/// A span in its two largest units: `3 d 4 h`, `12 min`, `5 s`.
pub(super) fn span(ms: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("d", 86_400), ("h", 3_600), ("min", 60)];
    let seconds = ms / 1_000;
    for (at, (name, size)) in UNITS.iter().enumerate() {
        if seconds < *size {
            continue;
        }
        let (whole, rest) = (seconds / size, seconds % size);
        return match UNITS.get(at + 1) {
            Some((next, unit)) if rest / unit > 0 => format!("{whole} {name} {} {next}", rest / unit),
            Some(_) | None => format!("{whole} {name}"),
        };
    }
    format!("{seconds} s")
}

/// How long ago an instant was.
pub(super) fn ago(at_ms: u64, now_ms: u64) -> String {
    let passed = now_ms.saturating_sub(at_ms);
    if passed < 5_000 { "just now".to_owned() } else { format!("{} ago", span(passed)) }
}

/// Bytes in powers of 1024 with three digits, or all whole ones: `6.22 MiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let power = (0..UNITS.len() - 1).take_while(|power| count >> (10 * power) >= 1_024).count();
    let (unit, size) = (UNITS[power], 1_u128 << (10 * power));
    // Rounded to this many parts of a whole.
    let parts = |of: u128| (u128::from(count) * of + size / 2) / size;
    match (power, parts(100)) {
        (1.., hundredths @ 0..1_000) => format!("{}.{:02} {unit}", hundredths / 100, hundredths % 100),
        (1.., 1_000..10_000) => format!("{}.{} {unit}", parts(10) / 10, parts(10) % 10),
        _ => format!("{} {unit}", parts(1)),
    }
}

/// The time of day in UTC: `14:03:07`.
pub(super) fn clock(wall_ms: u64) -> String {
    log::timestamp(wall_ms).get(11..19).unwrap_or("--:--:--").to_owned()
}

/// A device id cut to what tells it from others.
pub(super) fn short_id(id: &str) -> String {
    render::shortened(id, 12)
}

/// Combining marks and selectors: first and last of each row, in order.
const ZERO: &[(u32, u32)] = &[
    (0x0300, 0x036f),
    (0x0483, 0x0489),
    (0x0591, 0x05bd),
    (0x05bf, 0x05bf),
    (0x05c1, 0x05c2),
    (0x05c4, 0x05c5),
    (0x0610, 0x061a),
    (0x064b, 0x065f),
    (0x0670, 0x0670),
    (0x06d6, 0x06dc),
    (0x06df, 0x06e4),
    (0x0900, 0x0902),
    (0x093c, 0x093c),
    (0x0941, 0x0948),
    (0x094d, 0x094d),
    (0x0e31, 0x0e31),
    (0x0e34, 0x0e3a),
    (0x0e47, 0x0e4e),
    (0x1ab0, 0x1aff),
    (0x1dc0, 0x1dff),
    (0x20d0, 0x20ff),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe2f),
    (0xe0100, 0xe01ef),
];

/// East Asian wide and full-width characters, and pictures; likewise.
const WIDE: &[(u32, u32)] = &[
    (0x1100, 0x115f),
    (0x231a, 0x231b),
    (0x2329, 0x232a),
    (0x23e9, 0x23ec),
    (0x23f0, 0x23f0),
    (0x23f3, 0x23f3),
    (0x25fd, 0x25fe),
    (0x2614, 0x2615),
    (0x2648, 0x2653),
    (0x267f, 0x267f),
    (0x2693, 0x2693),
    (0x26a1, 0x26a1),
    (0x26aa, 0x26ab),
    (0x26bd, 0x26be),
    (0x26c4, 0x26c5),
    (0x26ce, 0x26ce),
    (0x26d4, 0x26d4),
    (0x26ea, 0x26ea),
    (0x26f2, 0x26f3),
    (0x26f5, 0x26f5),
    (0x26fa, 0x26fa),
    (0x26fd, 0x26fd),
    (0x2705, 0x2705),
    (0x270a, 0x270b),
    (0x2728, 0x2728),
    (0x274c, 0x274c),
    (0x274e, 0x274e),
    (0x2753, 0x2755),
    (0x2757, 0x2757),
    (0x2795, 0x2797),
    (0x27b0, 0x27b0),
    (0x2b1b, 0x2b1c),
    (0x2b50, 0x2b50),
    (0x2b55, 0x2b55),
    (0x2e80, 0x303e),
    (0x3041, 0x4dbf),
    (0x4e00, 0xa4cf),
    (0xa960, 0xa97f),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
    (0xfe30, 0xfe6f),
    (0xff00, 0xff60),
    (0xffe0, 0xffe6),
    (0x16fe0, 0x18aff),
    (0x1b000, 0x1b2ff),
    (0x1f004, 0x1f004),
    (0x1f0cf, 0x1f0cf),
    (0x1f18e, 0x1f18e),
    (0x1f191, 0x1f19a),
    (0x1f1e6, 0x1f320),
    (0x1f32d, 0x1f64f),
    (0x1f680, 0x1f6ff),
    (0x1f7e0, 0x1f7eb),
    (0x1f900, 0x1f9ff),
    (0x1fa70, 0x1faff),
    (0x20000, 0x3fffd),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn widths_and_cuts() {
        for (text, columns) in [
            ("abc", 3),
            ("", 0),
            ("\u{e9}e\u{301}", 2),
            ("\u{65e5}\u{672c}", 4),
            ("\u{1f980}", 2),
            ("\u{2026}", 1),
        ] {
            assert_eq!(width(text), columns, "{text:?}");
        }
        assert_eq!(cut("abcdef", 4), "abc\u{2026}");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("abcd", 0), "");
        assert_eq!(cut("\u{65e5}\u{672c}\u{8a9e}", 4), "\u{65e5}\u{2026}");
        assert_eq!(padded("\u{65e5}", 4), "\u{65e5}  ");
        for table in [ZERO, WIDE] {
            assert!(table.iter().all(|(first, last)| first <= last));
            assert!(table.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }

    #[test]
    fn texts_are_broken_between_words() {
        assert_eq!(wrapped("rm -rf /srv/site now", 10), ["rm -rf", "/srv/site", "now"]);
        assert_eq!(wrapped("exactly ten", 7), ["exactly", "ten"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("a\nb", 3), ["a", "b"]);
        assert_eq!(wrapped("", 3), [""]);
    }

    #[test]
    fn times_and_sizes() {
        for (ms, want) in [
            (0, "0 s"),
            (59_999, "59 s"),
            (720_000, "12 min"),
            (3_600_000, "1 h"),
            (3_780_000, "1 h 3 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(span(ms), want);
        }
        assert_eq!((ago(1_000, 5_999), ago(1_000, 6_000)), ("just now".to_owned(), "5 s ago".to_owned()));
        for (count, want) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.00 KiB"),
            (6_522_143, "6.22 MiB"),
            (268_435_456, "256 MiB"),
            (21_135_360, "20.2 MiB"),
            (10_480_000, "9.99 MiB"),
            (u64::MAX, "17179869184 GiB"),
        ] {
            assert_eq!(bytes(count), want);
        }
        assert_eq!(clock(1_795_968_309_209), "16:05:09");
        assert_eq!(short_id("0123456789abcdef"), "0123456789ab\u{2026}");
        assert_eq!(short_id("0123456789ab"), "0123456789ab");
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_it_may_be(text in "\\PC{0,80}", columns in 0..60_usize) {
            prop_assert!(width(&cut(&text, columns)) <= columns);
            prop_assert_eq!(width(&padded(&text, columns)), columns);
            let lines = wrapped(&text, columns);
            prop_assert!(lines.iter().all(|line| width(line) <= columns));
            if columns >= 2 {
                let without = |text: &str| text.replace([' ', '\n'], "");
                prop_assert_eq!(without(&lines.concat()), without(&text));
            }
        }
    }
}
