//! The end of a log, as `logs.tail` gives it out: which bytes to read, and which lines they hold (spec: methods
//! section 3). The host knows where the bytes are; what they mean is decided here.

use crate::host::{Host, HostFault};
use crate::methods::system_params::LogsTail;
use bytes::Bytes;
use serde::Serialize;
use std::borrow::Cow;

/// What a log holds at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSpan {
    /// Its name for people. Never empty.
    pub file: String,
    /// The first byte that is still there. Files start at zero; a log in memory forgets.
    pub start: u64,
    /// The end: as many bytes were written.
    pub end: u64,
}

#[derive(Serialize)]
struct Tail<'a> {
    file: &'a str,
    cursor: u64,
    size: u64,
    lines: Vec<Cow<'a, str>>,
    truncated: bool,
    reset: bool,
}

/// Which bytes answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    start: u64,
    truncated: bool,
    reset: bool,
}

impl Window {
    fn of(span: &LogSpan, wanted: &LogsTail) -> Self {
        let tail = span.end.saturating_sub(wanted.bytes_max).max(span.start);
        let Some(cursor) = wanted.cursor else {
            return Self { start: tail, truncated: tail > 0, reset: false };
        };
        if cursor > span.end {
            return Self { start: tail, truncated: tail > 0, reset: true };
        }
        if cursor < tail {
            return Self { start: tail, truncated: true, reset: true };
        }
        Self { start: cursor, truncated: false, reset: false }
    }
}

/// Reads the end of the host's log: the encoded answer of `logs.tail`.
pub(crate) fn read(host: &dyn Host, wanted: &LogsTail) -> Result<Bytes, HostFault> {
    let span = host.log_span()?;
    let window = Window::of(&span, wanted);
    // One byte more tells whether the first line is a whole one.
    let peek = u64::from(window.start > span.start);
    let from = window.start - peek;
    let wanted_bytes = usize::try_from(span.end.saturating_sub(from)).unwrap_or(usize::MAX);
    let bytes = if span.end > window.start { host.read_log(&span, from, wanted_bytes)? } else { Vec::new() };
    let lines = lines(&bytes, peek == 1, wanted.lines_max);
    let Window { truncated, reset, .. } = window;
    let tail = Tail { file: &span.file, cursor: span.end, size: span.end, lines, truncated, reset };
    Ok(Bytes::from(serde_json::to_vec(&tail).expect("a tail has only string keys")))
}

/// The whole lines in these bytes, the last ones when there are more than `lines_max`.
fn lines(bytes: &[u8], has_peek: bool, lines_max: usize) -> Vec<Cow<'_, str>> {
    let bytes = match (has_peek, bytes.split_first()) {
        (true, Some((b'\n', rest))) => rest,
        (true, Some((_, rest))) => {
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            &rest[end..]
        }
        (true, None) | (false, _) => bytes,
    };
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    let from_end: Vec<&[u8]> = bytes.rsplit(|byte| *byte == b'\n').take(lines_max).collect();
    from_end.into_iter().rev().map(String::from_utf8_lossy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, end: u64) -> LogSpan {
        LogSpan { file: "f".to_owned(), start, end }
    }

    fn window(span: &LogSpan, cursor: Option<u64>, bytes_max: u64) -> (u64, bool, bool) {
        let window = Window::of(span, &LogsTail { cursor, lines_max: 10, bytes_max });
        (window.start, window.truncated, window.reset)
    }

    #[test]
    fn a_window_is_the_end_or_what_came_since() {
        let file = span(0, 100);
        assert_eq!(window(&file, None, 1_000), (0, false, false));
        assert_eq!(window(&file, None, 30), (70, true, false));
        assert_eq!(window(&file, Some(80), 30), (80, false, false));
        assert_eq!(window(&file, Some(100), 30), (100, false, false));
        // The reader fell behind; the file was replaced.
        assert_eq!(window(&file, Some(10), 30), (70, true, true));
        assert_eq!(window(&file, Some(101), 30), (70, true, true));
        assert_eq!(window(&file, Some(101), 1_000), (0, false, true));
        // A log in memory has forgotten its first 40 bytes.
        assert_eq!(window(&span(40, 100), None, 1_000), (40, true, false));
        assert_eq!(window(&span(40, 100), Some(10), 1_000), (40, true, true));
    }

    #[test]
    fn a_partial_first_line_is_dropped() {
        assert_eq!(lines(b"a\nb\n", false, 10), ["a", "b"]);
        assert_eq!(lines(b"xa\nb\n", true, 10), ["b"]);
        assert_eq!(lines(b"\na\nb", true, 10), ["a", "b"]);
        assert_eq!(lines(b"xa", true, 10), [""; 0]);
        assert_eq!(lines(b"a\nb\nc\n", false, 2), ["b", "c"]);
        assert_eq!(lines(b"", true, 2), [""; 0]);
        assert_eq!(lines(b"a\n\nb\n", false, 10), ["a", "", "b"]);
        assert_eq!(lines(b"\xff\n", false, 10), ["\u{fffd}"]);
    }
}
