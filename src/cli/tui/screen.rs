//! What is on the terminal's screen, and the bytes that make something else of it: only lines that changed are written.

use super::line::{Ink, Line};
use std::fmt::Write as _;

/// What was drawn last.
#[derive(Debug)]
pub(super) struct Screen {
    shown: Vec<Line>,
    columns: usize,
    has_colour: bool,
}

impl Screen {
    pub(super) fn new(has_colour: bool) -> Self {
        Self { shown: Vec::new(), columns: 0, has_colour }
    }

    /// Nothing is known of what the terminal shows: the next drawing begins with an empty screen.
    pub(super) fn forget(&mut self) {
        self.columns = 0;
    }

    /// What to write so that the terminal shows these lines; empty when it does.
    pub(super) fn paint(&mut self, lines: Vec<Line>, columns: usize) -> String {
        let mut out = String::new();
        if columns != self.columns || lines.len() != self.shown.len() {
            out.push_str("\x1b[0m\x1b[2J");
            self.shown = vec![Line::default(); lines.len()];
            self.columns = columns;
        }
        for (at, line) in lines.iter().enumerate().filter(|(at, line)| self.shown[*at] != **line) {
            // Erased first: what a terminal takes for narrower than it is reckoned here would leave cells as they were.
            let _ = write!(out, "\x1b[{};1H\x1b[0m\x1b[K", at + 1);
            for (ink, text) in &line.0 {
                let _ = write!(out, "\x1b[{}m{text}", self.code(*ink));
            }
            out.push_str("\x1b[0m");
        }
        self.shown = lines;
        out
    }

    /// Bold, faint and reverse are no colours: without them nobody would see what is selected.
    fn code(&self, ink: Ink) -> &'static str {
        match (ink, self.has_colour) {
            (Ink::Plain, _) => "0",
            (Ink::Bold, _) => "0;1",
            (Ink::Quiet, _) => "0;2",
            (Ink::Marked, _) => "0;7",
            (Ink::Good, true) => "0;32",
            (Ink::Waits, true) => "0;33",
            (Ink::Bad, true) => "0;31",
            (Ink::Good, false) => "0",
            (Ink::Waits | Ink::Bad, false) => "0;1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_written() {
        let mut screen = Screen::new(true);
        let lines = |texts: [&str; 2]| texts.map(|text| Line::of(Ink::Good, text)).to_vec();
        let first = screen.paint(lines(["one", "two"]), 10);
        assert_eq!(
            first,
            "\x1b[0m\x1b[2J\x1b[1;1H\x1b[0m\x1b[K\x1b[0;32mone\x1b[0m\x1b[2;1H\x1b[0m\x1b[K\x1b[0;32mtwo\x1b[0m"
        );
        assert_eq!(screen.paint(lines(["one", "two"]), 10), "");
        assert_eq!(screen.paint(lines(["one", "2"]), 10), "\x1b[2;1H\x1b[0m\x1b[K\x1b[0;32m2\x1b[0m");
        let full = screen.paint(lines(["one", "0123456789"]), 10);
        assert!(full.ends_with("\x1b[K\x1b[0;32m0123456789\x1b[0m"), "nothing is erased behind it: {full:?}");
        assert!(screen.paint(lines(["one", "2"]), 11).contains("\x1b[2J"), "another size");
        screen.forget();
        assert!(screen.paint(lines(["one", "2"]), 11).contains("\x1b[2J"));
    }

    #[test]
    fn without_colours_there_are_none() {
        let mut screen = Screen::new(false);
        let inks = [Ink::Plain, Ink::Bold, Ink::Quiet, Ink::Good, Ink::Waits, Ink::Bad, Ink::Marked];
        let line = Line(inks.map(|ink| (ink, "x".to_owned())).to_vec());
        let painted = screen.paint(vec![line], 80);
        assert!(!painted.contains(";3"), "{painted:?}");
    }
}
