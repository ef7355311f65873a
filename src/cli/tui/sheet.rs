//! A text over the whole screen: help, an entry with all that belongs to it, or such an entry with a question. A question
//! can be answered with yes only when all of what it is about has been on the screen.

use super::rows::{Answer, Item, Kind, Mood, Question, When};
use super::text::{ago, span, wrapped};
use super::ui::Size;

/// What is shown, and how far down.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    pub(super) title: String,
    paragraphs: Vec<(Mood, String)>,
    pub(super) scroll: usize,
    /// Since when it is on the screen as it is now, by the clock of the loop.
    pub(super) drawn_ms: Option<u64>,
    pub(super) ask: Option<Ask>,
}

/// A decision that has to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) question: Question,
    pub(super) answer: Answer,
    /// What was on the screen when it was asked.
    item: Item,
}

impl Sheet {
    /// The keys.
    pub(super) fn help() -> Self {
        let paragraphs = HELP.iter().map(|line| (Mood::Plain, (*line).to_owned())).collect();
        Self { title: "Keys".to_owned(), paragraphs, scroll: 0, drawn_ms: None, ask: None }
    }

    /// An entry of a list.
    pub(super) fn of(item: &Item, wall_ms: u64) -> Self {
        let mut paragraphs = Vec::new();
        let mut say = |mood, text: String| {
            if !text.is_empty() {
                paragraphs.push((mood, text));
            }
        };
        say(item.mood, item.tag.clone());
        // What it is about comes before who says so.
        item.more.iter().for_each(|text| say(Mood::Plain, text.clone()));
        let (label, grants) = &item.grants;
        if !grants.is_empty() {
            say(Mood::Plain, format!("{label}: {}", grants.join(", ")));
        }
        say(Mood::Quiet, item.facts.join(" \u{b7} "));
        say(Mood::Quiet, when_text(&item.when, wall_ms));
        Self { title: item.name.clone(), paragraphs, scroll: 0, drawn_ms: None, ask: None }
    }

    /// A line of a stream.
    pub(super) fn line(title: &str, mood: Mood, text: &str) -> Self {
        Self {
            title: title.to_owned(),
            paragraphs: vec![(mood, text.to_owned())],
            scroll: 0,
            drawn_ms: None,
            ask: None,
        }
    }

    /// An entry, and whether it shall be so.
    pub(super) fn ask(item: &Item, question: &Question, answer: Answer, wall_ms: u64) -> Self {
        let ask = Ask { question: question.clone(), answer, item: item.clone() };
        Self { ask: Some(ask), ..Self::of(item, wall_ms) }
    }

    /// Its lines on a screen of this size.
    pub(super) fn lines(&self, size: Size) -> Vec<(Mood, String)> {
        let columns = size.columns.saturating_sub(2);
        let lines = self
            .paragraphs
            .iter()
            .flat_map(|(mood, text)| wrapped(text, columns).into_iter().map(|line| (*mood, line)));
        lines.collect()
    }

    /// Down by so many lines, or up.
    pub(super) fn scroll_by(&mut self, lines: isize, size: Size) {
        let most = self.lines(size).len().saturating_sub(size.body());
        self.scroll = self.scroll.min(most).saturating_add_signed(lines).min(most);
        self.drawn_ms = None;
    }

    /// Whether it has been on the screen, as it is now, for long enough to be read. What is typed before that is no answer.
    pub(super) fn was_seen(&self, now_ms: u64) -> bool {
        self.drawn_ms.is_some_and(|drawn| now_ms >= drawn.saturating_add(SEEN_MS))
    }

    /// Whether its end is on the screen. A screen without room shows nothing.
    pub(super) fn shows_end(&self, size: Size) -> bool {
        size.columns >= COLUMNS_MIN && size.body() > 0 && self.scroll + size.body() >= self.lines(size).len()
    }
}

impl Ask {
    /// The question.
    pub(super) fn text(&self) -> String {
        let verb = match (self.question.kind, self.answer) {
            (Kind::Device | Kind::Node, Answer::Yes | Answer::Always) => "Approve",
            (Kind::Device | Kind::Node, Answer::No) => "Reject",
            (Kind::Exec | Kind::Plugin, Answer::Yes) => "Allow once:",
            (Kind::Exec | Kind::Plugin, Answer::Always) => "Allow always:",
            (Kind::Exec | Kind::Plugin, Answer::No) => "Deny:",
        };
        format!("{verb} {}", self.name())
    }

    /// What was done when it is done.
    pub(super) fn done(&self) -> String {
        let verb = match (self.question.kind, self.answer) {
            (Kind::Device | Kind::Node, Answer::Yes | Answer::Always) => "Approved",
            (Kind::Device | Kind::Node, Answer::No) => "Rejected",
            (Kind::Exec | Kind::Plugin, Answer::Yes) => "Allowed once:",
            (Kind::Exec | Kind::Plugin, Answer::Always) => "Allowed always:",
            (Kind::Exec | Kind::Plugin, Answer::No) => "Denied:",
        };
        format!("{verb} {}", self.name())
    }

    fn name(&self) -> String {
        match self.question.kind {
            Kind::Device => format!("device {}", self.item.name),
            Kind::Node => format!("node {}", self.item.name),
            Kind::Exec | Kind::Plugin => self.item.name.clone(),
        }
    }

    /// Whether this entry says what was on the screen; only its time may be another.
    pub(super) fn is_about(&self, item: &Item) -> bool {
        Item { when: self.item.when.clone(), ..item.clone() } == self.item
    }
}

/// A time in words.
pub(super) fn when_text(when: &When, wall_ms: u64) -> String {
    match when {
        When::Never => String::new(),
        When::Since("", at) => ago(*at, wall_ms),
        When::Since(word, at) => format!("{word} {}", ago(*at, wall_ms)),
        When::Until(at) => format!("{} left", span(at.saturating_sub(wall_ms))),
    }
}

const HELP: &[&str] = &[
    "1 to 8, tab, shift-tab, left, right   another view",
    "up, down, k, j, page up, page down    move; home and end go to the ends",
    "enter      all of the selected entry; escape closes it",
    "/          filter events and log: every word must be there, -word must not",
    "space      hold events or log as they are, and go on",
    "r          ask the gateway for everything again",
    "a          approve the selected pairing, allow the selected approval once",
    "A          allow the selected approval always",
    "x          reject the selected pairing, deny the selected approval",
    "           each is asked once more: y, half a second later, is yes, everything else is no",
    "ctrl-l     draw the screen anew",
    "ctrl-z     stop; the shell's fg goes on",
    "q, ctrl-c  end",
    "",
    "Times of day are UTC. Approve only what you started yourself a moment ago.",
];
/// So long a question has to be on the screen before yes counts.
pub(super) const SEEN_MS: u64 = 500;
/// A narrower screen is none to decide on.
const COLUMNS_MIN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question { id: "e".to_owned(), kind: Kind::Exec, allowed: vec![Answer::Yes] }
    }

    #[test]
    fn yes_needs_the_end_on_the_screen() {
        let item = Item { name: "echo".to_owned(), more: vec!["word ".repeat(100)], ..Item::default() };
        let mut sheet = Sheet::ask(&item, &question(), Answer::Yes, 0);
        let size = Size { columns: 40, rows: 10 };
        assert!(!sheet.shows_end(size));
        sheet.scroll_by(5, size);
        assert!(!sheet.shows_end(size));
        sheet.scroll_by(isize::MAX, size);
        assert!(sheet.shows_end(size));
        sheet.scroll_by(-1, size);
        assert!(!sheet.shows_end(size));
        assert!(sheet.shows_end(Size { columns: 200, rows: 50 }));
        assert!(!Sheet::help().shows_end(Size { columns: 200, rows: 2 }), "there is no room at all");
        assert!(!Sheet::help().shows_end(Size { columns: 10, rows: 500 }));
    }

    #[test]
    fn a_question_is_about_what_was_shown() {
        let item = Item {
            name: "ls".to_owned(),
            more: vec!["ls".to_owned()],
            when: When::Until(5),
            ..Item::default()
        };
        let sheet = Sheet::ask(&item, &question(), Answer::No, 0);
        let ask = sheet.ask.unwrap_or_else(|| panic!("a question"));
        assert_eq!((ask.text().as_str(), ask.done().as_str()), ("Deny: ls", "Denied: ls"));
        assert!(ask.is_about(&Item { when: When::Until(9), ..item.clone() }));
        assert!(!ask.is_about(&Item { more: vec!["ls /".to_owned()], ..item }));
    }

    #[test]
    fn characters_of_any_width_leave_the_end_in_sight() {
        let text = format!("{} && rm -rf /", "\u{3b1}\u{903}".repeat(60));
        let item = Item { more: vec![text], ..Item::default() };
        let size = Size { columns: 40, rows: 24 };
        for (_, line) in Sheet::of(&item, 0).lines(size) {
            let widest: usize = line.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
            assert!(widest <= 38, "{line}");
        }
    }
}
