//! One line of the screen: pieces of text in few kinds of ink, of a known width.

use super::rows::Mood;
use super::text::{cut, width};

/// How a piece of text is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ink {
    #[default]
    Plain,
    Bold,
    Quiet,
    Good,
    Waits,
    Bad,
    /// Dark on light: the cursor, the open view.
    Marked,
}

impl From<Mood> for Ink {
    fn from(mood: Mood) -> Self {
        match mood {
            Mood::Plain => Self::Plain,
            Mood::Good => Self::Good,
            Mood::Waits => Self::Waits,
            Mood::Bad => Self::Bad,
            Mood::Quiet => Self::Quiet,
        }
    }
}

/// A line. Its texts hold nothing that a terminal obeys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(pub(super) Vec<(Ink, String)>);

impl Line {
    /// A line in one ink.
    pub(super) fn of(ink: impl Into<Ink>, text: impl Into<String>) -> Self {
        Self(vec![(ink.into(), text.into())])
    }

    /// The same with one more piece.
    pub(super) fn and(mut self, ink: impl Into<Ink>, text: impl Into<String>) -> Self {
        self.0.push((ink.into(), text.into()));
        self
    }

    /// Its columns.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| width(text)).sum()
    }

    /// As much of it as fits.
    pub(super) fn cut(self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut left = columns;
        let mut pieces = Vec::new();
        let mut rest = self.0.into_iter().peekable();
        while let Some((ink, text)) = rest.next() {
            let taken = width(&text);
            // A piece that fits exactly says by its own end that something is missing.
            if taken > left || (taken == left && rest.peek().is_some()) {
                let text = if taken > left { cut(&text, left) } else { cut(&format!("{text} "), left) };
                pieces.push((ink, text));
                break;
            }
            left -= taken;
            pieces.push((ink, text));
        }
        Self(pieces)
    }

    /// The same, marked as the one that is selected, over the whole width.
    pub(super) fn marked(self, columns: usize) -> Self {
        let line = self.cut(columns);
        let text: String = line.0.into_iter().map(|(_, text)| text).collect();
        Self::of(Ink::Marked, super::text::padded(&text, columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_in_the_middle_of_a_piece() {
        let line = Line::of(Ink::Bold, "abc").and(Ink::Plain, "defg");
        assert_eq!(line.clone().cut(7), line);
        assert_eq!(line.clone().cut(5), Line::of(Ink::Bold, "abc").and(Ink::Plain, "d\u{2026}"));
        assert_eq!(line.clone().cut(3), Line::of(Ink::Bold, "ab\u{2026}"));
        assert_eq!(line.clone().cut(0).width(), 0);
        assert_eq!(line.marked(9), Line::of(Ink::Marked, "abcdefg  "));
    }
}
