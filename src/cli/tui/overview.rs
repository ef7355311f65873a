//! The gateway at a glance: its figures, what waits for a person, who is attached, the nodes, the latest refusals. The
//! figures and their words are those of the control page.

use super::facts::Fact;
use super::line::{Ink, Line};
use super::model::Model;
use super::rows::{Item, Mood};
use super::sheet::when_text;
use super::text::{bytes, padded, span, width};
use super::ui::Now;

/// A name, its value, and what stands beside it.
pub(super) struct Figure {
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) more: String,
    pub(super) mood: Mood,
}

/// The figures, as far as they are known.
pub(super) fn figures(model: &Model, wall_ms: u64) -> Vec<Figure> {
    let figures = &model.figures;
    let unknown = || "unknown".to_owned();
    let (pairings, approvals) = (model.pairings().len(), model.approvals().len());
    let figure = |label, value, more| Figure { label, value, more, mood: Mood::Plain };
    let health = match (figures.restart_needed.len(), figures.config_fault.is_empty()) {
        (_, false) => "the configuration cannot be used".to_owned(),
        (0, true) => figures.phase.clone(),
        (count, true) => format!("restart needed for {count} settings"),
    };
    let (well, mood) = match figures.is_well {
        Some(true) => ("well", Mood::Good),
        Some(false) => ("not well", Mood::Bad),
        None => ("unknown", Mood::Plain),
    };
    let sockets = figures
        .sockets_max
        .map_or_else(String::new, |max| format!("{} plain HTTP, at most {max}", figures.sockets_http));
    let queued = figures
        .queued_bytes
        .map_or_else(String::new, |(used, max)| format!("{} of {} queued", bytes(used), bytes(max)));
    let up = model.started_ms.map_or_else(unknown, |at| span(wall_ms.saturating_sub(at)));
    vec![
        figure("Uptime", up, figures.hostname.clone()),
        figure("Version", model.version.clone(), format!("protocol {}", model.protocol)),
        figure("Memory", figures.resident_bytes.map_or_else(unknown, bytes), queued),
        figure("Connections", figures.sockets_open.map_or_else(unknown, |open| open.to_string()), sockets),
        figure("Nodes", model.nodes_here.to_string(), format!("of {} known", model.nodes.all)),
        Figure {
            mood: if pairings + approvals > 0 { Mood::Waits } else { Mood::Plain },
            ..figure(
                "Waiting",
                (pairings + approvals).to_string(),
                format!("{pairings} pairing, {approvals} approval"),
            )
        },
        figure("Refused", figures.refused.to_string(), "since the start".to_owned()),
        Figure { mood, ..figure("Health", well.to_owned(), health) },
    ]
}

/// A list with its heading, what it holds, how many there are in all, and what is said when it is empty.
pub(super) struct Section<'a> {
    pub(super) title: &'static str,
    pub(super) items: Vec<&'a Item>,
    pub(super) all: usize,
    pub(super) empty: String,
}

/// The lists below the figures.
pub(super) fn sections(model: &Model) -> Vec<Section<'_>> {
    let waiting: Vec<&Item> = model.approvals().into_iter().chain(model.pairings()).collect();
    let empty = |facts: &[Fact], calm: &str| model.excuse(facts).unwrap_or_else(|| calm.to_owned());
    let asked = [Fact::ExecApprovals, Fact::PluginApprovals, Fact::Devices, Fact::NodePairs];
    vec![
        Section {
            title: "Waiting for you",
            all: waiting.len(),
            items: waiting,
            empty: empty(&asked, "Nothing waits for you."),
        },
        Section {
            title: "Attached now",
            items: model.attached.items.iter().collect(),
            all: model.attached.all,
            empty: empty(&[Fact::Presence], "Nobody is attached."),
        },
        Section {
            title: "Nodes",
            items: model.nodes.items.iter().collect(),
            all: model.nodes.all,
            empty: empty(&[Fact::Nodes], "No node yet."),
        },
        Section {
            title: "Refusals",
            items: model.refusals.items.iter().collect(),
            all: model.refusals.all,
            empty: empty(&[Fact::Status], "Nobody was turned away since the gateway started."),
        },
    ]
}

/// All lines of it.
pub(super) fn lines(model: &Model, columns: usize, now: Now) -> Vec<Line> {
    let figures = figures(model, now.wall_ms);
    let cell = |figure: &Figure| {
        let ink = if figure.mood == Mood::Plain { Ink::Bold } else { Ink::from(figure.mood) };
        Line::of(Ink::Plain, format!(" {}", padded(figure.label, 13)))
            .and(ink, padded(&figure.value, 14))
            .and(Ink::Quiet, figure.more.clone())
    };
    let mut out = Vec::new();
    if columns >= WIDE_COLUMNS {
        let half = columns / 2;
        for pair in figures.chunks(2) {
            let mut line = cell(&pair[0]).cut(half.saturating_sub(1));
            if let Some(second) = pair.get(1) {
                let missing = half.saturating_sub(line.width());
                line = line.and(Ink::Plain, " ".repeat(missing));
                line.0.extend(cell(second).0);
            }
            out.push(line);
        }
    } else {
        out.extend(figures.iter().map(cell));
    }
    let told = [
        ("The configuration cannot be used: ", model.figures.config_fault.clone()),
        ("Changed in the file, and not in force: ", model.figures.restart_needed.join(", ")),
    ];
    for (head, text) in told.iter().filter(|(_, text)| !text.is_empty()) {
        out.push(Line::of(Ink::Waits, format!(" {head}{text}")));
    }
    for section in sections(model) {
        out.push(Line::default());
        out.push(Line::of(Ink::Bold, format!(" {}", section.title)));
        if section.items.is_empty() {
            out.push(Line::of(Ink::Quiet, format!(" {}", section.empty)));
        }
        out.extend(table(&section.items, columns, now.wall_ms));
        if section.all > section.items.len() {
            out.push(Line::of(Ink::Quiet, format!(" and {} more", section.all - section.items.len())));
        }
    }
    out
}

/// Entries as lines whose first two columns are aligned.
pub(super) fn table(items: &[&Item], columns: usize, wall_ms: u64) -> Vec<Line> {
    let widest = |of: fn(&Item) -> &str, most: usize| {
        items.iter().map(|item| width(of(item))).max().unwrap_or_default().min(most)
    };
    let name = widest(|item| &item.name, columns / 3);
    let tag = widest(|item| &item.tag, columns * 2 / 5);
    let line = |item: &&Item| {
        let mut line = Line::of(Ink::Bold, format!(" {}", padded(&item.name, name)));
        if tag > 0 {
            line = line.and(item.mood, format!("  {}", padded(&item.tag, tag)));
        }
        let grants = item.grants.1.join(", ");
        let facts = [grants, when_text(&item.when, wall_ms)].into_iter().chain(item.facts.iter().cloned());
        let facts: Vec<String> = facts.filter(|fact| !fact.is_empty()).collect();
        line.and(Ink::Plain, format!("  {}", facts.join(" \u{b7} ")))
    };
    items.iter().map(line).collect()
}

/// From here on there are two figures on a line.
const WIDE_COLUMNS: usize = 100;
