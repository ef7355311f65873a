//! Keys and what they do, without a terminal.

use super::*;
use crate::cli::tui::sheet::SEEN_MS;
use serde_json::json;

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: 1_000 }
}

fn model(scopes: &[&str]) -> Model {
    let mut model = Model::new("");
    model.opened(&json!({}), scopes, 0);
    let pending: Vec<_> =
        (0..3).map(|i| json!({"requestId": format!("r{i}"), "deviceId": "d", "ts": i})).collect();
    model.learn(Fact::Devices, &json!({"pending": pending}));
    let approval = json!({"id": "e", "request": {"command": "ls", "allowedDecisions": ["allow-once", "deny"]},
        "expiresAtMs": 2_000});
    model.learn(Fact::ExecApprovals, &json!([approval]));
    model
}

fn screen() -> Ui {
    Ui::new(Size { columns: 80, rows: 24 })
}

fn press(ui: &mut Ui, model: &mut Model, keys: &str) -> Option<Act> {
    let mut act = None;
    for c in keys.chars() {
        ui.drawn(model, at(0));
        act = ui.press(Key::Char(c), model, at(SEEN_MS));
    }
    act
}

#[test]
fn a_pairing_is_approved_after_a_second_word() {
    let (mut ui, mut model) = (screen(), model(&["operator.admin"]));
    press(&mut ui, &mut model, "2ja");
    assert!(ui.has_new_question());
    assert_eq!(ui.press(Key::Char('y'), &mut model, at(9_000)), None, "nobody has seen the question yet");
    ui.drawn(&model, at(9_000));
    assert!(!ui.has_new_question());
    assert_eq!(ui.press(Key::Char('y'), &mut model, at(8_999 + SEEN_MS)), None, "nobody reads so fast");
    // Drawing it once more does not begin the time anew, another size does.
    ui.drawn(&model, at(9_400));
    ui.resize(Size { columns: 70, rows: 24 });
    assert_eq!(ui.press(Key::Char('y'), &mut model, at(9_000 + SEEN_MS)), None);
    assert!(ui.sheet.is_some());
    let Some(Act::Decide(ask)) = press(&mut ui, &mut model, "y") else { panic!("{ui:?}") };
    assert_eq!((ask.question.id.as_str(), ask.answer), ("r1", Answer::Yes));
    assert!(ui.sheet.is_none());
    assert_eq!(press(&mut ui, &mut model, "xn"), None);
    assert!(ui.sheet.is_none(), "everything but y is no");
    assert_eq!(press(&mut ui, &mut model, "1a"), None);
    assert!(ui.sheet.is_none(), "nothing is selected on the overview");
}

#[test]
fn what_may_not_be_decided_is_not_asked() {
    let mut ui = screen();
    let mut reader = model(&["operator.read"]);
    press(&mut ui, &mut reader, "2a");
    let said = ui.notice.clone().map(|(_, text, _)| text).unwrap_or_default();
    assert!(ui.sheet.is_none() && said.contains("operator.pairing"), "{said}");
    let mut admin = model(&["operator.admin"]);
    press(&mut ui, &mut admin, "3A");
    assert!(ui.sheet.is_none(), "allow-always is not offered");
    press(&mut ui, &mut admin, "a");
    assert!(ui.sheet.is_some());
    press(&mut ui, &mut admin, "n");
    admin.lost("gone", 0);
    press(&mut ui, &mut admin, "a");
    assert!(ui.sheet.is_none());
}

#[test]
fn a_question_ends_with_what_it_is_about() {
    let (mut ui, mut model) = (screen(), model(&["operator.admin"]));
    press(&mut ui, &mut model, "2a");
    ui.settle(&model, at(1));
    assert!(ui.sheet.is_some());
    let wider =
        json!({"pending": [{"requestId": "r0", "deviceId": "d", "ts": 0, "scopes": ["operator.admin"]}]});
    model.learn(Fact::Devices, &wider);
    ui.settle(&model, at(1));
    assert!(ui.sheet.is_none(), "the same request asks for more");
    press(&mut ui, &mut model, "3a");
    ui.settle(&model, Now { mono_ms: 2, wall_ms: u64::MAX });
    assert!(ui.sheet.is_some(), "the gateway says what waits, not this machine's clock");
    ui.drawn(&model, at(0));
    model.learn(Fact::ExecApprovals, &json!([]));
    assert_eq!(
        ui.press(Key::Char('y'), &mut model, at(SEEN_MS)),
        None,
        "it is looked at once more before yes"
    );
    assert!(ui.sheet.is_none());
}

#[test]
fn a_key_is_about_the_entry_that_was_on_the_screen() {
    let (mut ui, mut model) = (screen(), model(&["operator.admin"]));
    let said = |ui: &Ui| ui.notice.clone().map(|(_, text, _)| text).unwrap_or_default();
    ui.press(Key::Char('2'), &mut model, at(0));
    ui.press(Key::Char('a'), &mut model, at(0));
    assert!(ui.sheet.is_none() && said(&ui).contains("has changed"), "nobody has seen the list yet");
    ui.drawn(&model, at(0));
    // Somebody comes in above the first, which was never moved to.
    let ids = |ids: &[(&str, u64)]| {
        let pending = ids.iter().map(|(id, ts)| json!({"requestId": id, "deviceId": "d", "ts": ts}));
        json!({"pending": pending.collect::<Vec<_>>()})
    };
    model.learn(Fact::Devices, &ids(&[("new", 0), ("r0", 1), ("r1", 2)]));
    ui.press(Key::Char('a'), &mut model, at(0));
    let asked = ui.sheet.as_ref().and_then(|sheet| sheet.ask.as_ref()).map(|ask| ask.question.id.clone());
    assert_eq!(asked.as_deref(), Some("r0"));
    ui.sheet = None;
    // The top is an entry too: whoever moves there means it.
    press(&mut ui, &mut model, "jg");
    ui.drawn(&model, at(0));
    model.learn(Fact::Devices, &ids(&[("newer", 0), ("new", 1)]));
    assert_eq!(ui.cursor(&ui.rows(&model)), Some(1));
    model.learn(Fact::Devices, &ids(&[("newer", 0)]));
    ui.press(Key::Char('x'), &mut model, at(0));
    assert!(ui.sheet.is_none() && said(&ui).contains("has changed"), "what was meant is gone");
}

#[test]
fn a_selection_stays_with_its_entry_and_a_stream_is_followed_from_its_end() {
    let (mut ui, mut model) = (screen(), model(&[]));
    press(&mut ui, &mut model, "2jj");
    model.learn(
        Fact::Devices,
        &json!({"pending": [{"requestId": "r2", "ts": 2}, {"requestId": "x", "ts": 9}]}),
    );
    let rows = ui.rows(&model);
    assert_eq!(ui.cursor(&rows), Some(0), "r2 is the first now");
    for i in 0..5 {
        model.events.push_event("tick", &i.to_string(), 0);
        model.log.push_log(&i.to_string());
    }
    press(&mut ui, &mut model, "8");
    assert_eq!(ui.cursor(&ui.rows(&model)), None);
    press(&mut ui, &mut model, "k");
    assert_eq!(ui.cursor(&ui.rows(&model)), Some(3));
    model.log.push_log("more");
    assert_eq!(ui.cursor(&ui.rows(&model)), Some(3));
    press(&mut ui, &mut model, "G");
    assert_eq!(ui.cursor(&ui.rows(&model)), None, "it is followed again");
}

#[test]
fn what_became_of_a_decision_is_said_until_somebody_has_read_it() {
    let (mut ui, mut model) = (screen(), model(&["operator.admin"]));
    press(&mut ui, &mut model, "3a");
    let Some(Act::Decide(ask)) = press(&mut ui, &mut model, "y") else { panic!("{ui:?}") };
    ui.say_unknown(&ask);
    ui.press(Key::Char('j'), &mut model, at(0));
    ui.say(Mood::Plain, "something else", at(1));
    ui.settle(&model, at(1_000_000));
    let said = ui.notice.clone().map(|(_, text, _)| text).unwrap_or_default();
    assert!(said.contains("Not known whether it is done: Allow once: ls"), "{said}");
    press(&mut ui, &mut model, "j");
    assert_eq!(ui.notice, None, "it was on the screen, and then a key was pressed");
}

#[test]
fn a_filter_is_typed_and_taken_back() {
    let (mut ui, mut model) = (screen(), model(&[]));
    model.events.push_event("tick", "{}", 0);
    model.events.push_event("health", "{}", 0);
    press(&mut ui, &mut model, "6/q-ti");
    assert_eq!(ui.filter(Panel::Events), "q-ti");
    ui.press(Key::Control('u'), &mut model, at(0));
    press(&mut ui, &mut model, "-tick");
    ui.press(Key::Enter, &mut model, at(0));
    assert_eq!((ui.typing.is_none(), ui.rows(&model).len()), (true, 1));
    ui.press(Key::Escape, &mut model, at(0));
    assert_eq!(ui.rows(&model).len(), 2);
}

#[test]
fn people_have_two_lists_and_the_cursor_skips_their_heads() {
    let (mut ui, mut model) = (screen(), model(&[]));
    model.learn(Fact::Presence, &json!([{"mode": "webchat", "host": "page", "instanceId": "i"}]));
    model.learn(Fact::Devices, &json!({"paired": [{"deviceId": "d1"}]}));
    press(&mut ui, &mut model, "5");
    assert_eq!(ui.cursor(&ui.rows(&model)), Some(1));
    press(&mut ui, &mut model, "j");
    assert_eq!(ui.cursor(&ui.rows(&model)), Some(3));
}
