//! The screen: state and size in, lines out. Never more lines than the screen has, and none that is wider, whatever its
//! size; nothing here does anything.

use super::line::{Ink, Line};
use super::model::Model;
use super::overview::{self, table};
use super::rows::{Item, Mood};
use super::sheet::Sheet;
use super::stream::Stream;
use super::text::{clock, cut, padded, width};
use super::ui::{Now, Panel, Row, Size, Ui};

/// All lines of the screen, from the top.
pub(super) fn view(ui: &Ui, model: &Model, now: Now) -> Vec<Line> {
    let Size { columns, rows } = ui.size;
    let body = match &ui.sheet {
        Some(sheet) => sheet_lines(sheet, ui.size),
        None => {
            let why = model.why_gone().map(|why| Line::of(model.link_text(now.mono_ms).1, format!(" {why}")));
            let room = ui.size.body().saturating_sub(usize::from(why.is_some()));
            why.into_iter().chain(panel_lines(ui, model, room, now)).collect()
        }
    };
    let second = match &ui.sheet {
        Some(sheet) => title(sheet, ui.size),
        None => tabs(ui, model),
    };
    let mut lines = vec![header(ui, model, now), second];
    lines.extend(body.into_iter().take(ui.size.body()));
    lines.resize(rows.saturating_sub(1).max(2), Line::default());
    lines.push(footer(ui, model));
    // Where there is no room for all of it, the footer goes first.
    lines.truncate(rows);
    lines.into_iter().map(|line| line.cut(columns)).collect()
}

fn header(ui: &Ui, model: &Model, now: Now) -> Line {
    let columns = ui.size.columns;
    let (link, mood) = model.link_text(now.mono_ms);
    let left = Line::of(Ink::Bold, " clawgate ")
        .and(Ink::Plain, format!("{}  ", model.version))
        .and(mood, link)
        .and(Ink::Quiet, format!("  {}", model.url));
    let right = format!(" {} UTC ", clock(now.wall_ms));
    let room = columns.saturating_sub(width(&right));
    if room < 20 {
        return left;
    }
    let left = left.cut(room);
    let missing = room - left.width();
    left.and(Ink::Plain, " ".repeat(missing)).and(Ink::Quiet, right)
}

fn tabs(ui: &Ui, model: &Model) -> Line {
    let label = |panel: Panel, chars: usize| {
        let at = Panel::ALL.iter().position(|known| *known == panel).unwrap_or_default() + 1;
        let count = match panel {
            Panel::Pairing => model.pairings().len(),
            Panel::Approvals => model.approvals().len(),
            Panel::Overview | Panel::Nodes | Panel::People | Panel::Events | Panel::Refusals | Panel::Log => {
                0
            }
        };
        let count = if count == 0 { String::new() } else { format!(" ({count})") };
        let is_whole = panel == ui.panel || (chars > 0 && !count.is_empty());
        let title: String = panel.title().chars().take(if is_whole { usize::MAX } else { chars }).collect();
        let gap = if title.is_empty() { "" } else { " " };
        (format!("{at}{gap}{title}{count}"), !count.is_empty())
    };
    // With titles as long as there is room for.
    let all = |chars: usize| {
        let mut line = Line::of(Ink::Plain, " ");
        for panel in Panel::ALL {
            let (text, waits) = label(panel, chars);
            let ink = match (panel == ui.panel, waits) {
                (true, _) => Ink::Marked,
                (false, true) => Ink::Waits,
                (false, false) => Ink::Plain,
            };
            line = line.and(ink, text).and(Ink::Plain, " ");
        }
        line
    };
    let fitting = TITLE_CHARS.into_iter().map(all).find(|line| line.width() <= ui.size.columns);
    fitting.unwrap_or_else(|| all(0))
}

fn footer(ui: &Ui, model: &Model) -> Line {
    if let Some(typed) = &ui.typing {
        // The end of what is typed is what matters.
        let room = ui.size.columns.saturating_sub(40);
        let skipped = typed.chars().count().saturating_sub(room.max(10));
        let shown: String = typed.chars().skip(skipped).collect();
        return Line::of(Ink::Bold, " filter: ")
            .and(Ink::Plain, shown)
            .and(Ink::Marked, " ")
            .and(Ink::Quiet, "  enter keeps it, escape clears it");
    }
    if let Some((mood, text, _)) = &ui.notice {
        return Line::of(*mood, format!(" {text}"));
    }
    if ui.sheet.is_some() {
        return Line::of(Ink::Quiet, " escape closes it   up, down, page up, page down move");
    }
    let mut keys = vec!["q quit", "? help", "tab next", "r refresh"];
    let can_decide = |items: Vec<&Item>| items.iter().any(|item| item.question.is_some());
    let shown = match ui.panel {
        Panel::Overview => vec!["2 pairing", "3 approvals"],
        Panel::Pairing if can_decide(model.pairings()) => vec!["a approve", "x reject", "enter more"],
        Panel::Approvals if can_decide(model.approvals()) => {
            vec!["a allow once", "A always", "x deny", "enter more"]
        }
        Panel::Events | Panel::Log => vec!["/ filter", "space hold", "enter more"],
        Panel::Pairing | Panel::Approvals | Panel::Nodes | Panel::People | Panel::Refusals => {
            vec!["enter more"]
        }
    };
    keys.splice(1..1, shown);
    Line::of(Ink::Quiet, format!(" {}", keys.join("   ")))
}

/// The title of a sheet, or the question. Its keys are to be seen however long the name is, and whatever else there is to
/// say.
fn title(sheet: &Sheet, size: Size) -> Line {
    let Some(ask) = &sheet.ask else { return Line::of(Ink::Bold, format!(" {}", sheet.title)) };
    let keys = if sheet.shows_end(size) { "y yes, n no" } else { "page down to its end, then y yes; n no" };
    let room = size.columns.saturating_sub(width(keys) + 5);
    Line::of(Ink::Waits, format!(" {}?  ", cut(&ask.text(), room))).and(Ink::Bold, keys)
}

fn sheet_lines(sheet: &Sheet, size: Size) -> Vec<Line> {
    let lines = sheet.lines(size);
    let top = sheet.scroll.min(lines.len().saturating_sub(size.body()));
    lines.into_iter().skip(top).map(|(mood, text)| Line::of(mood, format!(" {text}"))).collect()
}

fn panel_lines(ui: &Ui, model: &Model, body: usize, now: Now) -> Vec<Line> {
    let columns = ui.size.columns;
    if ui.panel == Panel::Overview {
        let lines = overview::lines(model, columns, now);
        let top = ui.scroll.min(lines.len().saturating_sub(body));
        return lines.into_iter().skip(top).take(body).collect();
    }
    let rows = ui.rows(model);
    let cursor = ui.cursor(&rows);
    let excuse = model.excuse(ui.panel.facts());
    let mut out: Vec<Line> =
        told(ui, model).into_iter().map(|told| Line::of(Ink::Quiet, format!(" {told}"))).collect();
    if !rows.iter().any(|row| row.key().is_some()) {
        out.push(Line::of(Ink::Quiet, format!(" {}", excuse.unwrap_or_else(|| empty(ui.panel).to_owned()))));
        return out;
    }
    // A part of it may be there all the same.
    out.extend(excuse.map(|excuse| Line::of(Ink::Quiet, format!(" {excuse}"))));
    let room = body.saturating_sub(out.len());
    let about = match cursor.map(|at| rows[at]) {
        Some(Row::Item(item)) if room >= ABOUT_ROOM_MIN => about(item, ui.size, room / 3, now),
        Some(Row::Item(_) | Row::Head(_) | Row::Note(_) | Row::Line(_)) | None => Vec::new(),
    };
    let room = room - about.len();
    let top = match cursor {
        Some(at) => at.saturating_sub(room / 2).min(rows.len().saturating_sub(room)),
        None if ui.panel == Panel::Log => rows.len().saturating_sub(room),
        None => 0,
    };
    let shown = &rows[top.min(rows.len())..rows.len().min(top + room)];
    let items: Vec<&Item> = shown
        .iter()
        .filter_map(|row| match row {
            Row::Item(item) => Some(*item),
            Row::Head(_) | Row::Note(_) | Row::Line(_) => None,
        })
        .collect();
    let mut items = table(&items, columns, now.wall_ms).into_iter();
    let heads = shown.iter().filter_map(|row| match row {
        Row::Line(entry) => Some(width(&entry.head)),
        Row::Head(_) | Row::Note(_) | Row::Item(_) => None,
    });
    let head = heads.max().unwrap_or_default().min(columns / 3);
    for (at, row) in shown.iter().enumerate() {
        let line = match row {
            Row::Head(title) => Line::of(Ink::Bold, format!(" {title}")),
            Row::Note(text) => Line::of(Ink::Quiet, format!(" {text}")),
            Row::Item(_) => items.next().unwrap_or_default(),
            Row::Line(entry) => Line::of(Ink::Quiet, format!(" {} ", entry.at))
                .and(
                    if entry.mood == Mood::Plain { Ink::Bold } else { entry.mood.into() },
                    padded(&entry.head, head),
                )
                .and(Ink::Plain, format!("  {}", entry.text)),
        };
        out.push(if cursor == Some(top + at) { line.marked(columns) } else { line });
    }
    if !about.is_empty() {
        out.resize(body.saturating_sub(about.len()), Line::default());
        out.extend(about);
    }
    out
}

/// What is said above a list.
fn told(ui: &Ui, model: &Model) -> Option<String> {
    let stream = |stream: &Stream| {
        let filter = ui.filter(ui.panel);
        let (shown, all) = stream.shown(&super::stream::Filter::parse(filter));
        let held = if stream.is_paused() { ", held" } else { "" };
        let by = if filter.is_empty() { String::new() } else { format!(", filter: {filter}") };
        format!("{} of {all}{by}{held}", shown.len())
    };
    match ui.panel {
        Panel::Events => Some(stream(&model.events)),
        Panel::Log => Some(format!("{}  {}", stream(&model.log), model.log_file)),
        Panel::Overview
        | Panel::Pairing
        | Panel::Approvals
        | Panel::Nodes
        | Panel::People
        | Panel::Refusals => match model.left_out(ui.panel) {
            0 => None,
            count => Some(format!("{count} more are not shown")),
        },
    }
}

/// All that belongs to the entry under the cursor, as far as there is room.
fn about(item: &Item, size: Size, room: usize, now: Now) -> Vec<Line> {
    let mut lines = vec![Line::of(Ink::Quiet, "\u{2500}".repeat(size.columns))];
    let all = Sheet::of(item, now.wall_ms).lines(size);
    let is_more = all.len() >= room;
    lines.extend(
        all.into_iter().map(|(mood, text)| Line::of(mood, format!(" {text}"))).take(room.saturating_sub(1)),
    );
    if is_more && let Some(last) = lines.last_mut() {
        *last = Line::of(Ink::Quiet, " enter shows all of it");
    }
    lines
}

fn empty(panel: Panel) -> &'static str {
    match panel {
        Panel::Overview => "",
        Panel::Pairing => "Nobody is waiting to be paired.",
        Panel::Approvals => "Nothing waits for a decision.",
        Panel::Nodes => {
            "No node yet. On the machine that shall become one: clawgate node run. A phone pairs with clawgate qr."
        }
        Panel::People => "Nobody is attached, and no device is paired.",
        Panel::Events => "No event yet that passes the filter.",
        Panel::Refusals => "Nobody was turned away since the gateway started.",
        Panel::Log => "No line yet that passes the filter.",
    }
}

/// Characters of the titles of views that are not open, the best first.
const TITLE_CHARS: [usize; 3] = [usize::MAX, 4, 0];
/// With less room a list has no lines about the entry under the cursor.
const ABOUT_ROOM_MIN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tui::facts::Fact;
    use crate::cli::tui::keys::Key;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const NOW: Now = Now { mono_ms: 5_000, wall_ms: 1_000_000 };

    fn shown(ui: &Ui, model: &Model) -> String {
        let text = |line: Line| line.0.into_iter().map(|(_, text)| text).collect::<String>();
        view(ui, model, NOW).into_iter().map(text).collect::<Vec<_>>().join("\n")
    }

    fn screen(panel: Panel, columns: usize, rows: usize) -> Ui {
        let mut ui = Ui::new(Size { columns, rows });
        ui.panel = panel;
        ui
    }

    /// A gateway where something of everything is.
    fn busy() -> Model {
        let mut model = Model::new("ws://127.0.0.1:18789/");
        let hello = json!({"protocol": 4, "server": {"version": "9.8.7"}, "snapshot": {"uptimeMs": 720_000}});
        model.opened(&hello, &["operator.admin"], NOW.wall_ms);
        let answers = [
            (
                Fact::Status,
                json!({"gateway": {"phase": "accepting", "memory": {"residentBytes": 6_522_143,
                "budgetUsedBytes": 0, "budgetMaxBytes": 268_435_456}, "sockets": {"open": 3, "http": 0, "max": 8192},
                "refused": {"AUTH_TOKEN_MISMATCH": 2}, "restartNeeded": ["gateway.bind"],
                "recentRefusals": [{"ts": 999_000, "code": "AUTH_TOKEN_MISMATCH", "address": "203.0.113.9", "count": 2}]}}),
            ),
            (Fact::Health, json!({"ok": true})),
            (Fact::System, json!({"hostname": "vm"})),
            (
                Fact::Presence,
                json!([{"host": "desk", "mode": "webchat", "roles": ["operator"],
                "scopes": ["operator.read"], "deviceId": "abc", "onlineSince": 400_000}]),
            ),
            (
                Fact::Nodes,
                json!({"nodes": [{"nodeId": "n", "displayName": "Attic", "connected": true,
                "commands": ["system.run", "canvas.present"]}]}),
            ),
            (
                Fact::NodePairs,
                json!({"pending": [{"requestId": "q", "nodeId": "n", "displayName": "Attic",
                "commands": ["camera.snap"], "ts": 2}]}),
            ),
            (
                Fact::Devices,
                json!({"pending": [{"requestId": "r", "deviceId": "d", "displayName": "Phone",
                "role": "operator", "scopes": ["operator.write"], "remoteIp": "203.0.113.7", "ts": 1}],
                "paired": [{"deviceId": "abc", "clientId": "cli", "connected": true}]}),
            ),
            (
                Fact::ExecApprovals,
                json!([{"id": "e", "request": {"command": "uname -a", "host": "gateway"},
                "expiresAtMs": 1_060_000}]),
            ),
            (Fact::Log, json!({"cursor": 1, "file": "/tmp/log", "lines": ["a line"]})),
        ];
        for (fact, answer) in answers {
            model.learn(fact, &answer);
        }
        model.heard("tick", "{\"ts\":1}", || Value::Null, NOW.wall_ms);
        model
    }

    #[test]
    fn every_view_shows_what_it_is_for() {
        let model = busy();
        for (panel, wants) in [
            (
                Panel::Overview,
                &[
                    "12 min",
                    "9.8.7",
                    "6.22 MiB",
                    "3 ",
                    "8192",
                    "2 pairing, 1 approval",
                    "well",
                    "Phone",
                    "uname -a",
                    "desk",
                    "Attic",
                    "AUTH_TOKEN_MISMATCH",
                    "not in force: gateway.bind",
                ][..],
            ),
            (
                Panel::Pairing,
                &["Phone", "wants to be paired", "write", "203.0.113.7", "camera.snap", "a approve"],
            ),
            (Panel::Approvals, &["uname -a", "on the gateway", "1 min left", "a allow once"]),
            (Panel::Nodes, &["Attic", "connected", "system.run, canvas.present"]),
            (Panel::People, &["Attached now", "desk", "operator", "read", "Paired devices", "cli"]),
            (Panel::Events, &["00:16:40", "tick", "{\"ts\":1}", "1 of 1"]),
            (Panel::Refusals, &["AUTH_TOKEN_MISMATCH", "203.0.113.9", "2 times", "clawgate token"]),
            (Panel::Log, &["a line", "/tmp/log"]),
        ] {
            let text = shown(&screen(panel, 120, 40), &model);
            for want in wants {
                assert!(text.contains(want), "{want} in {panel:?}\n{text}");
            }
            assert!(
                text.contains("1 Overview") && text.contains("connected") && text.contains("q quit"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_small_screen_shows_the_same_in_less() {
        let model = busy();
        let text = shown(&screen(Panel::Overview, 80, 24), &model);
        assert_eq!(text.lines().count(), 24);
        for want in ["1 Overview", "2 Pairing (2)", "8 Log", "12 min", "Phone", "q quit"] {
            assert!(text.contains(want), "{want} in\n{text}");
        }
        let text = shown(&screen(Panel::Pairing, 40, 8), &model);
        assert!(text.contains("2 Pairing (2)") && text.contains("Phone"), "{text}");
    }

    #[test]
    fn what_is_not_told_is_said() {
        let mut model = Model::new("ws://h/");
        model.failed(Fact::Devices, "missing scope: operator.pairing");
        let text = shown(&screen(Panel::Pairing, 80, 24), &model);
        assert!(text.contains("Not shown: missing scope: operator.pairing"), "{text}");
        model.lost("the gateway closed the connection", 9_000);
        let text = shown(&screen(Panel::Nodes, 120, 24), &model);
        assert!(text.contains("gateway is gone, trying again in 4 s"), "{text}");
        assert!(text.contains(" the gateway closed the connection\n"), "{text}");
        assert!(text.contains("No node yet."), "{text}");
        model.learn(Fact::Presence, &json!([{"host": "desk", "mode": "webchat", "instanceId": "i"}]));
        let text = shown(&screen(Panel::People, 80, 24), &model);
        for want in ["Not shown: missing scope", "desk", "No device is paired."] {
            assert!(text.contains(want), "{want} in {text}");
        }
        let many: Vec<Value> = (0..1_003).map(|i| json!({"nodeId": format!("n{i}")})).collect();
        model.learn(Fact::Nodes, &json!({"nodes": many}));
        assert!(shown(&screen(Panel::Nodes, 80, 24), &model).contains("3 more are not shown"));
    }

    #[test]
    fn a_question_shows_its_keys_however_long_the_name_is() {
        let mut model = busy();
        let command = format!("echo {}", "x".repeat(300));
        model.learn(
            Fact::ExecApprovals,
            &json!([{"id": "e", "request": {"command": command}, "expiresAtMs": 2_000_000}]),
        );
        let mut ui = screen(Panel::Approvals, 60, 24);
        ui.drawn(&model, NOW);
        ui.press(Key::Char('a'), &mut model, NOW);
        let text = shown(&ui, &model);
        assert!(text.contains("y yes, n no"), "{text}");
        assert!(text.matches('x').count() >= 300, "{text}");
        ui.size = Size { columns: 60, rows: 5 };
        assert!(shown(&ui, &model).contains("page down to its end"));
    }

    fn key() -> impl Strategy<Value = Key> {
        prop_oneof![
            prop::sample::select("12345678aAxyn/ r?jkgGq".chars().collect::<Vec<_>>()).prop_map(Key::Char),
            any::<char>().prop_filter("a terminal sends none", |c| !c.is_control()).prop_map(Key::Char),
            prop::sample::select(vec![
                Key::Enter,
                Key::Tab,
                Key::BackTab,
                Key::Backspace,
                Key::Escape,
                Key::Up,
                Key::Down,
                Key::Home,
                Key::End,
                Key::PageUp,
                Key::PageDown,
                Key::Control('u')
            ]),
        ]
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "[\\PC\u{1b}\u{301}\u{65e5}\u{202e}]{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Value::from))
    }

    /// Something like an answer: the members that are read, with values of any kind.
    fn answer() -> impl Strategy<Value = Value> {
        let names = [
            "requestId",
            "deviceId",
            "nodeId",
            "displayName",
            "host",
            "mode",
            "roles",
            "scopes",
            "commands",
            "ts",
            "id",
            "request",
            "expiresAtMs",
            "code",
            "connected",
            "clientId",
        ];
        let object = prop::collection::btree_map(prop::sample::select(names.to_vec()), json_value(), 0..9)
            .prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Value>()
            });
        prop::collection::vec(object, 0..6).prop_map(|list| {
            json!({"nodes": list, "pending": list, "paired": list, "lines": [list.clone()], "gateway": {"recentRefusals": list}})
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn any_state_fits_any_screen(
            columns in 0..=200_usize, rows in 0..=60_usize, later in (0..=200_usize, 0..=60_usize),
            keys in prop::collection::vec(key(), 0..25),
            answers in prop::collection::vec((prop::sample::select(Fact::ALL.to_vec()), answer(), any::<bool>()), 0..6),
            is_busy in any::<bool>(), is_gone in any::<bool>(),
        ) {
            let mut model = if is_busy { busy() } else { Model::new("\u{65e5}") };
            for (fact, answer, is_list) in answers {
                let answer = if is_list { answer["pending"].clone() } else { answer };
                model.heard("e", &answer.to_string(), || Value::Null, NOW.wall_ms);
                model.learn(fact, &answer);
            }
            if is_gone {
                model.lost("why\u{1b}", u64::MAX);
            }
            let mut ui = Ui::new(Size { columns, rows });
            for (at, key) in keys.into_iter().enumerate() {
                ui.press(key, &mut model, NOW);
                if at == 10 {
                    ui.size = Size { columns: later.0, rows: later.1 };
                }
                ui.settle(&model, NOW);
                let lines = view(&ui, &model, NOW);
                ui.drawn(&model, NOW);
                prop_assert!(lines.len() <= ui.size.rows);
                for line in &lines {
                    prop_assert!(line.width() <= ui.size.columns, "{line:?}");
                    for (_, text) in &line.0 {
                        prop_assert_eq!(&crate::cli::render::clean(text), text);
                    }
                }
            }
        }
    }
}
