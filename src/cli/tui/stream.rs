//! A bounded stream of lines, events or the log: the newest are kept, a filter says which are shown, and a pause keeps what
//! is shown as it is while more comes.

use super::rows::Mood;
use super::text;
use crate::cli::logs::{self, Parsed};
use crate::cli::render;
use std::collections::VecDeque;
use std::rc::Rc;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Grows by one with each line, so that a selection survives what comes and goes.
    pub(super) id: u64,
    pub(super) at: String,
    pub(super) head: String,
    pub(super) mood: Mood,
    pub(super) text: String,
    /// What the filter looks at.
    low: String,
}

/// The newest lines, oldest first.
#[derive(Debug)]
pub(super) struct Stream {
    entries: VecDeque<Rc<Entry>>,
    held: Option<Vec<Rc<Entry>>>,
    next_id: u64,
    most: usize,
}

impl Stream {
    /// An empty one that keeps so many.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), held: None, next_id: 1, most }
    }

    /// An event with its payload as it came.
    pub(super) fn push_event(&mut self, name: &str, payload: &str, wall_ms: u64) {
        let name = render::shortened(&render::clean(name), NAME_CHARS_MAX);
        self.push(text::clock(wall_ms), name, Mood::Plain, &render::clean(&lead(payload)));
    }

    /// A line of the log as it was read.
    pub(super) fn push_log(&mut self, raw: &str) {
        let Some(Parsed { time, level, subsystem, message }) = logs::parse(raw) else {
            return self.push(String::new(), String::new(), Mood::Plain, &render::clean(&lead(raw)));
        };
        let mood = match level.as_str() {
            "error" | "fatal" => Mood::Bad,
            "warn" => Mood::Waits,
            "debug" | "trace" => Mood::Quiet,
            _ => Mood::Plain,
        };
        let [time, level, subsystem] = [time, level, subsystem].map(|text| render::clean(&text));
        let time = time.get(11..19).unwrap_or(&time).to_owned();
        let head = render::shortened(format!("{level} {subsystem}").trim(), NAME_CHARS_MAX);
        self.push(render::shortened(&time, NAME_CHARS_MAX), head, mood, &render::clean(&lead(&message)));
    }

    fn push(&mut self, at: String, head: String, mood: Mood, text: &str) {
        let text = render::shortened(text, TEXT_CHARS_MAX);
        let low = format!("{head} {text}").to_lowercase();
        self.entries.push_back(Rc::new(Entry { id: self.next_id, at, head, mood, text, low }));
        self.next_id += 1;
        while self.entries.len() > self.most {
            self.entries.pop_front();
        }
    }

    /// It begins anew.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Holds what is shown, or lets it go on.
    pub(super) fn toggle_pause(&mut self) {
        self.held = match self.held.take() {
            Some(_) => None,
            None => Some(self.entries.iter().cloned().collect()),
        };
    }

    /// Whether it is held.
    pub(super) fn is_paused(&self) -> bool {
        self.held.is_some()
    }

    /// What passes the filter, oldest first, and of how many.
    pub(super) fn shown(&self, filter: &Filter) -> (Vec<&Entry>, usize) {
        let passing = |entry: &&Rc<Entry>| filter.passes(&entry.low);
        match &self.held {
            Some(held) => (held.iter().filter(passing).map(AsRef::as_ref).collect(), held.len()),
            None => (self.entries.iter().filter(passing).map(AsRef::as_ref).collect(), self.entries.len()),
        }
    }
}

/// Enough of a text to be cut by characters afterwards, so that a huge one is not walked through.
fn lead(text: &str) -> String {
    let mut end = text.len().min(TEXT_CHARS_MAX * 5);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Every word must be in the text, a word with a minus must not: as on the control page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    wanted: Vec<String>,
    unwanted: Vec<String>,
}

impl Filter {
    /// Makes the words out of what was typed.
    pub(super) fn parse(typed: &str) -> Self {
        let mut filter = Self::default();
        for word in typed.to_lowercase().split_whitespace().filter(|word| *word != "-") {
            match word.strip_prefix('-') {
                Some(word) => filter.unwanted.push(word.to_owned()),
                None => filter.wanted.push(word.to_owned()),
            }
        }
        filter
    }

    fn passes(&self, low: &str) -> bool {
        self.wanted.iter().all(|word| low.contains(word.as_str()))
            && !self.unwanted.iter().any(|word| low.contains(word.as_str()))
    }
}

/// Characters of one line that are kept.
const TEXT_CHARS_MAX: usize = 1_000;
const NAME_CHARS_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'a>(stream: &'a Stream, filter: &str) -> Vec<&'a str> {
        stream.shown(&Filter::parse(filter)).0.into_iter().map(|entry| entry.text.as_str()).collect()
    }

    #[test]
    fn the_newest_are_kept_and_a_pause_holds_what_is_shown() {
        let mut stream = Stream::new(3);
        for i in 0..5 {
            stream.push_event("tick", &i.to_string(), 0);
        }
        assert_eq!(texts(&stream, ""), ["2", "3", "4"]);
        stream.toggle_pause();
        stream.push_event("tick", "5", 0);
        assert_eq!((texts(&stream, ""), stream.is_paused()), (vec!["2", "3", "4"], true));
        stream.toggle_pause();
        assert_eq!(texts(&stream, ""), ["3", "4", "5"]);
    }

    #[test]
    fn filters_are_those_of_the_page() {
        let mut stream = Stream::new(10);
        stream.push_event("device.pair.requested", "{\"a\":\"Phone\"}", 0);
        stream.push_event("tick", "{}", 0);
        assert_eq!(texts(&stream, "PAIR phone"), ["{\"a\":\"Phone\"}"]);
        assert_eq!(texts(&stream, "-tick -"), ["{\"a\":\"Phone\"}"]);
        assert_eq!(texts(&stream, "pair -phone").len(), 0);
    }

    #[test]
    fn lines_are_taken_apart_cut_and_drive_no_terminal() {
        let mut stream = Stream::new(10);
        stream.push_log(
            r#"{"0":"{\"subsystem\":\"gateway/ws\"}","1":"peer.refused \u001b[2J","_meta":{"name":"{\"subsystem\":\"gateway/ws\"}","logLevelName":"WARN"},"time":"2026-11-29T16:05:09.417+00:00"}"#,
        );
        stream.push_log("plain\u{7}");
        stream.push_event("x\u{202e}", &"\u{e9}".repeat(100_000), 3_600_000);
        let (shown, all) = stream.shown(&Filter::default());
        assert_eq!(all, 3);
        assert_eq!((shown[0].at.as_str(), shown[0].head.as_str()), ("16:05:09", "warn gateway/ws"));
        assert_eq!((shown[0].text.as_str(), shown[0].mood), ("peer.refused \u{fffd}[2J", Mood::Waits));
        assert_eq!(shown[1].text, "plain\u{fffd}");
        assert_eq!((shown[2].head.as_str(), shown[2].at.as_str()), ("x\u{fffd}", "01:00:00"));
        assert_eq!(shown[2].text.chars().count(), TEXT_CHARS_MAX + 1);
    }
}
