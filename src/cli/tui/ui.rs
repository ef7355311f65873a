//! What the person at the terminal does: which view is open, what is selected, what is typed, and what a key means. Pure: a
//! key goes in, an act for the loop comes out.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "most keys mean nothing in most places, and a new one would not either"
)]

use super::facts::Fact;
use super::keys::Key;
use super::model::{Link, Model};
use super::overview;
use super::rows::{Answer, Item, Mood, Question};
use super::sheet::{Ask, Sheet};
use super::stream::{Entry, Filter};
use crate::cli::render;
use std::collections::BTreeMap;

/// The views, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Panel {
    Overview,
    Pairing,
    Approvals,
    Nodes,
    People,
    Events,
    Refusals,
    Log,
}

impl Panel {
    pub(super) const ALL: [Self; 8] = [
        Self::Overview,
        Self::Pairing,
        Self::Approvals,
        Self::Nodes,
        Self::People,
        Self::Events,
        Self::Refusals,
        Self::Log,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Pairing => "Pairing",
            Self::Approvals => "Approvals",
            Self::Nodes => "Nodes",
            Self::People => "People",
            Self::Events => "Events",
            Self::Refusals => "Refusals",
            Self::Log => "Log",
        }
    }

    /// What it shows, for the reason why it shows nothing.
    pub(super) fn facts(self) -> &'static [Fact] {
        match self {
            Self::Overview => &[Fact::Status],
            Self::Pairing => &[Fact::Devices, Fact::NodePairs],
            Self::Approvals => &[Fact::ExecApprovals, Fact::PluginApprovals],
            Self::Nodes => &[Fact::Nodes],
            Self::People => &[Fact::Presence, Fact::Devices],
            Self::Events => &[],
            Self::Refusals => &[Fact::Status],
            Self::Log => &[Fact::Log],
        }
    }

    fn moved(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|panel| *panel == self).unwrap_or_default();
        Self::ALL[(at + by) % Self::ALL.len()]
    }

    /// Whether it is a stream of lines.
    pub(super) fn is_stream(self) -> bool {
        matches!(self, Self::Events | Self::Log)
    }
}

/// A screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Size {
    /// Lines between the two at the top and the one at the bottom.
    pub(super) fn body(self) -> usize {
        self.rows.saturating_sub(3)
    }
}

/// Both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Now {
    /// Milliseconds since the start.
    pub(super) mono_ms: u64,
    /// Unix milliseconds.
    pub(super) wall_ms: u64,
}

/// One row of a view.
#[derive(Clone, Copy, Debug)]
pub(super) enum Row<'a> {
    Head(&'static str),
    /// That a part of it is empty.
    Note(&'static str),
    Item(&'a Item),
    Line(&'a Entry),
}

impl Row<'_> {
    /// What tells it from others; `None` for what cannot be selected.
    pub(super) fn key(&self) -> Option<String> {
        match self {
            Self::Head(_) | Self::Note(_) => None,
            Self::Item(item) => Some(item.key.clone()),
            Self::Line(entry) => Some(entry.id.to_string()),
        }
    }
}

/// What the loop has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Quit,
    Suspend,
    Refresh,
    Redraw,
    Decide(Box<Ask>),
}

/// The state of the screen.
#[derive(Debug)]
pub(super) struct Ui {
    pub(super) panel: Panel,
    pub(super) size: Size,
    pub(super) sheet: Option<Sheet>,
    /// A filter that is being typed.
    pub(super) typing: Option<String>,
    /// Something to say, until then.
    pub(super) notice: Option<(Mood, String, u64)>,
    /// Whether that is on the screen.
    is_notice_drawn: bool,
    /// Lines of the overview that are above the screen.
    pub(super) scroll: usize,
    selected: BTreeMap<Panel, String>,
    /// The entry under the cursor when the screen was last drawn.
    shown: Option<(Panel, String)>,
    filters: BTreeMap<Panel, String>,
}

impl Ui {
    pub(super) fn new(size: Size) -> Self {
        Self {
            panel: Panel::Overview,
            size,
            sheet: None,
            typing: None,
            notice: None,
            is_notice_drawn: false,
            scroll: 0,
            selected: BTreeMap::new(),
            shown: None,
            filters: BTreeMap::new(),
        }
    }

    /// Says something for a while.
    pub(super) fn say(&mut self, mood: Mood, text: impl Into<String>, now: Now) {
        // What nobody else will say once more is not lost for it.
        if matches!(self.notice, Some((_, _, u64::MAX))) {
            return;
        }
        self.notice = Some((mood, text.into(), now.mono_ms.saturating_add(NOTICE_MS)));
        self.is_notice_drawn = false;
    }

    /// Says that nobody knows what became of a decision; until a key is pressed.
    pub(super) fn say_unknown(&mut self, ask: &Ask) {
        let text = format!(
            "the connection ended before the gateway answered. Not known whether it is done: {}",
            ask.text()
        );
        self.notice = Some((Mood::Bad, text, u64::MAX));
        self.is_notice_drawn = false;
    }

    /// The filter of a stream, as it was typed.
    pub(super) fn filter(&self, panel: Panel) -> &str {
        self.filters.get(&panel).map_or("", String::as_str)
    }

    /// The rows of a view, from top to bottom. The overview has none that can be selected.
    pub(super) fn rows<'a>(&self, model: &'a Model) -> Vec<Row<'a>> {
        let list = |items: &'a [Item]| items.iter().map(Row::Item);
        match self.panel {
            Panel::Overview => Vec::new(),
            Panel::Pairing => model.pairings().into_iter().map(Row::Item).collect(),
            Panel::Approvals => model.approvals().into_iter().map(Row::Item).collect(),
            Panel::Nodes => list(&model.nodes.items).collect(),
            Panel::People => {
                let part = |head, items: &'a [Item], empty| {
                    let note = items.is_empty().then_some(Row::Note(empty));
                    std::iter::once(Row::Head(head)).chain(note).chain(list(items))
                };
                let attached = part("Attached now", &model.attached.items, "Nobody is attached.");
                attached.chain(part("Paired devices", &model.paired.items, "No device is paired.")).collect()
            }
            Panel::Refusals => list(&model.refusals.items).collect(),
            Panel::Events => {
                let filter = Filter::parse(self.filter(Panel::Events));
                model.events.shown(&filter).0.into_iter().rev().map(Row::Line).collect()
            }
            Panel::Log => {
                let filter = Filter::parse(self.filter(Panel::Log));
                model.log.shown(&filter).0.into_iter().map(Row::Line).collect()
            }
        }
    }

    /// Which row the cursor is on. A stream that is followed has none.
    pub(super) fn cursor(&self, rows: &[Row<'_>]) -> Option<usize> {
        let found = self
            .selected
            .get(&self.panel)
            .and_then(|key| rows.iter().position(|row| row.key().as_ref() == Some(key)));
        let first = || rows.iter().position(|row| row.key().is_some());
        found.or_else(|| if self.panel.is_stream() { None } else { first() })
    }

    /// A question whose entry is gone, or is another by now, is not asked any more.
    pub(super) fn settle(&mut self, model: &Model, now: Now) {
        if self.notice.as_ref().is_some_and(|(_, _, until)| *until <= now.mono_ms) {
            self.notice = None;
        }
        let Some(ask) = self.sheet.as_ref().and_then(|sheet| sheet.ask.as_ref()) else { return };
        if model.link != Link::Open {
            self.sheet = None;
            return self.say(Mood::Bad, "the gateway is gone: nothing was decided", now);
        }
        let still = model.waiting(&ask.question).is_some_and(|item| ask.is_about(item));
        if !still {
            self.sheet = None;
            self.say(Mood::Waits, "it waits no longer, or has changed: nothing was decided here", now);
        }
    }

    /// The screen shows what was there to be shown.
    pub(super) fn drawn(&mut self, model: &Model, now: Now) {
        self.is_notice_drawn = true;
        if let Some(sheet) = &mut self.sheet {
            sheet.drawn_ms.get_or_insert(now.mono_ms);
            return;
        }
        let rows = self.rows(model);
        self.shown = self.cursor(&rows).and_then(|at| rows[at].key()).map(|key| (self.panel, key));
        // From here on the cursor belongs to this entry, wherever it goes: a new one above it is not what a key is meant for.
        if let Some((panel, key)) = self.shown.clone()
            && !panel.is_stream()
        {
            self.selected.insert(panel, key);
        }
    }

    /// Whether a question waits for its first drawing. What was typed before that is not about it.
    pub(super) fn has_new_question(&self) -> bool {
        self.sheet.as_ref().is_some_and(|sheet| sheet.ask.is_some() && sheet.drawn_ms.is_none())
    }

    /// The screen has another size.
    pub(super) fn resize(&mut self, size: Size) {
        self.size = size;
        if let Some(sheet) = &mut self.sheet {
            sheet.drawn_ms = None;
        }
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: Key, model: &mut Model, now: Now) -> Option<Act> {
        // It was there to be read.
        if self.is_notice_drawn {
            self.notice = None;
        }
        match key {
            Key::Control('c') => return Some(Act::Quit),
            Key::Control('z') => return Some(Act::Suspend),
            Key::Control('l') => return Some(Act::Redraw),
            _ => {}
        }
        if self.typing.is_some() {
            self.type_filter(key);
            return None;
        }
        if self.sheet.is_some() {
            // What is known by now counts, not what was known when it was drawn.
            self.settle(model, now);
            return self.press_on_sheet(key, now);
        }
        self.press_on_view(key, model, now)
    }

    fn type_filter(&mut self, key: Key) {
        let Some(typed) = &mut self.typing else { return };
        match key {
            // What would drive the terminal is not typed either.
            Key::Char(c) if typed.chars().count() < FILTER_CHARS_MAX => {
                typed.extend(render::clean(&c.to_string()).chars().filter(|clean| *clean == c));
            }
            Key::Backspace => {
                typed.pop();
            }
            Key::Control('u') => typed.clear(),
            Key::Enter => {
                self.typing = None;
                return;
            }
            Key::Escape => {
                self.typing = None;
                self.filters.remove(&self.panel);
                return;
            }
            _ => return,
        }
        self.filters.insert(self.panel, typed.clone());
        self.selected.remove(&self.panel);
    }

    fn press_on_sheet(&mut self, key: Key, now: Now) -> Option<Act> {
        let size = self.size;
        let sheet = self.sheet.as_mut()?;
        if let Some(lines) = lines_of(key, size) {
            sheet.scroll_by(lines, size);
            return None;
        }
        match (&sheet.ask, key) {
            (Some(ask), Key::Char('y')) => {
                // Keys that were typed ahead are no answer to what nobody has seen.
                if !sheet.was_seen(now.mono_ms) {
                    self.say(
                        Mood::Waits,
                        "y counts half a second after the question is shown: read it first",
                        now,
                    );
                    return None;
                }
                if !sheet.shows_end(size) {
                    self.say(Mood::Waits, "first read it to its end: page down, or a larger window", now);
                    return None;
                }
                let ask = ask.clone();
                self.sheet = None;
                return Some(Act::Decide(Box::new(ask)));
            }
            (Some(_), _) => {
                self.sheet = None;
                self.say(Mood::Plain, "nothing was decided", now);
            }
            (None, _) => self.sheet = None,
        }
        None
    }

    fn press_on_view(&mut self, key: Key, model: &mut Model, now: Now) -> Option<Act> {
        match key {
            Key::Char('q') => return Some(Act::Quit),
            Key::Char('r') => return Some(Act::Refresh),
            Key::Char('?') | Key::Char('h') => self.sheet = Some(Sheet::help()),
            Key::Char(c @ '1'..='8') => self.open(Panel::ALL[c as usize - '1' as usize]),
            Key::Tab | Key::Right => self.open(self.panel.moved(1)),
            Key::BackTab | Key::Left => self.open(self.panel.moved(Panel::ALL.len() - 1)),
            Key::Char('/') if self.panel.is_stream() => {
                self.typing = Some(self.filter(self.panel).to_owned());
            }
            Key::Char('/') => self.say(Mood::Plain, "events and log have a filter: 6 and 8", now),
            Key::Char(' ') => match self.panel {
                Panel::Events => model.events.toggle_pause(),
                Panel::Log => model.log.toggle_pause(),
                Panel::Overview
                | Panel::Pairing
                | Panel::Approvals
                | Panel::Nodes
                | Panel::People
                | Panel::Refusals => self.say(Mood::Plain, "events and log can be held: 6 and 8", now),
            },
            Key::Char('a') => self.ask(Answer::Yes, model, now),
            Key::Char('A') => self.ask(Answer::Always, model, now),
            Key::Char('x') => self.ask(Answer::No, model, now),
            Key::Enter => self.show_selected(model, now),
            Key::Escape => {
                self.selected.remove(&self.panel);
                self.filters.remove(&self.panel);
            }
            _ => {
                if let Some(lines) = lines_of(key, self.size) {
                    self.move_by(lines, model, now);
                }
            }
        }
        None
    }

    fn open(&mut self, panel: Panel) {
        self.panel = panel;
        self.scroll = 0;
    }

    fn move_by(&mut self, lines: isize, model: &Model, now: Now) {
        if self.panel == Panel::Overview {
            let most = overview::lines(model, self.size.columns, now).len().saturating_sub(self.size.body());
            self.scroll = self.scroll.min(most).saturating_add_signed(lines).min(most);
            return;
        }
        let rows = self.rows(model);
        let places: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].key().is_some()).collect();
        let Some(last) = places.len().checked_sub(1) else { return };
        // Where a view is when nothing is selected: the newest end of a stream, the top of a list.
        let rest = if self.panel == Panel::Log { last } else { 0 };
        let at =
            self.cursor(&rows).and_then(|row| places.iter().position(|place| *place == row)).unwrap_or(rest);
        let to = at.saturating_add_signed(lines).min(last);
        // At its rest a stream is followed; a list has entries that are meant wherever they are.
        let is_pinned = to != rest || !self.panel.is_stream();
        match rows[places[to]].key() {
            Some(key) if is_pinned => self.selected.insert(self.panel, key),
            Some(_) | None => self.selected.remove(&self.panel),
        };
    }

    fn show_selected(&mut self, model: &Model, now: Now) {
        let rows = self.rows(model);
        let sheet = match self.cursor(&rows).map(|at| rows[at]) {
            Some(Row::Item(item)) => Some(Sheet::of(item, now.wall_ms)),
            Some(Row::Line(entry)) => {
                Some(Sheet::line(&format!("{} {}", entry.at, entry.head), entry.mood, &entry.text))
            }
            Some(Row::Head(_) | Row::Note(_)) | None => None,
        };
        if sheet.is_some() {
            self.sheet = sheet;
        }
    }

    fn ask(&mut self, answer: Answer, model: &Model, now: Now) {
        let rows = self.rows(model);
        let Some(Row::Item(item)) = self.cursor(&rows).map(|at| rows[at]) else {
            let text = "nothing is selected that waits for a word: 2 is pairing, 3 approvals";
            return self.say(Mood::Plain, text, now);
        };
        if self.shown.as_ref() != Some(&(self.panel, item.key.clone())) {
            return self.say(
                Mood::Waits,
                "the list has changed: look again, then press the key once more",
                now,
            );
        }
        let Some(question) = &item.question else {
            return self.say(Mood::Plain, "this waits for nobody's word here", now);
        };
        match self.refuses(question, answer, model) {
            Some(why) => self.say(Mood::Bad, why, now),
            None => self.sheet = Some(Sheet::ask(item, question, answer, now.wall_ms)),
        }
    }

    /// Why a question cannot be answered like that.
    fn refuses(&self, question: &Question, answer: Answer, model: &Model) -> Option<String> {
        if model.link != Link::Open {
            return Some("there is no connection to the gateway".to_owned());
        }
        if let Some(scope) = model.missing_scope(question.kind) {
            return Some(format!("this connection may not decide it: it lacks {scope}"));
        }
        (!question.allowed.contains(&answer)).then(|| "the gateway does not offer that here".to_owned())
    }
}

/// How far a key moves, where it moves.
fn lines_of(key: Key, size: Size) -> Option<isize> {
    let page = isize::try_from(size.body().saturating_sub(1).max(1)).unwrap_or(1);
    Some(match key {
        Key::Up | Key::Char('k') => -1,
        Key::Down | Key::Char('j') => 1,
        Key::PageUp => -page,
        Key::PageDown => page,
        Key::Home | Key::Char('g') => isize::MIN,
        Key::End | Key::Char('G') => isize::MAX,
        _ => return None,
    })
}

const NOTICE_MS: u64 = 8_000;
const FILTER_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests;
