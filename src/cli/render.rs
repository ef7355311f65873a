//! Values as text for people: tables, outlines, ages. What peers chose is freed of control characters first, so
//! that a device's name cannot drive a terminal.

use clawgate_proto::client::ResponseError;
use serde_json::Value;

/// A text without control characters, invisible characters and direction marks.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_bad(c) { '\u{fffd}' } else { c }).collect()
}

/// What a gateway answered, clean, with one code before it: a gateway says on a node's behalf what that said, with the
/// code of each in front, and the last is the one that tells most.
pub fn error(error: &ResponseError) -> String {
    let whole = error.to_string();
    let (mut code, mut rest) = ("", whole.as_str());
    while let Some((first, behind)) = rest.split_once(": ").filter(|(first, _)| is_code(first)) {
        code = if first == "Error" { code } else { first };
        rest = behind;
    }
    if code.is_empty() { clean(rest) } else { clean(&format!("{code}: {rest}")) }
}

/// A stable code, or the word that stands for one.
fn is_code(word: &str) -> bool {
    let is_upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    word == "Error" || (!word.is_empty() && word.bytes().all(is_upper))
}

/// JSON over several lines, with its line end. What could drive a terminal, or say something other than it shows, is
/// written as `\u` escapes, which say the same to a program.
pub fn json(value: &Value) -> String {
    escaped(&format!("{value:#}\n"))
}

/// JSON on one line, likewise.
pub fn json_line(value: &Value) -> String {
    escaped(&value.to_string())
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Line ends are those between members: inside of texts they are escaped already.
        if c != '\n' && is_bad(c) {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// Controls, and what is invisible or turns the direction of a line.
fn is_bad(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A scalar; empty for `null` and for what is no scalar.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// A name that a peer chose: a long one is cut, so that it does not push the rest of a line out of sight. What a person
/// decides about, such as a command, is never cut.
pub fn name(value: &Value) -> String {
    shortened(&text(value), NAME_CHARS_MAX)
}

/// As many characters of a text as this, with an ellipsis where something is missing.
pub fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}\u{2026}", &text[..at]),
        None => text.to_owned(),
    }
}

const NAME_CHARS_MAX: usize = 60;

/// A list of scalars.
pub fn joined(value: &Value) -> String {
    value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ")
}

/// How long ago an instant in Unix milliseconds was.
pub fn ago(now_ms: u64, value: &Value) -> String {
    let Some(at) = value.as_u64() else { return String::new() };
    let seconds = now_ms.saturating_sub(at) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Columns as wide as their widest cell. Columns that are empty in every row are left out.
pub fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    let cell = |row: &Vec<String>, i: usize| row.get(i).cloned().unwrap_or_default();
    let shown: Vec<usize> =
        (0..heads.len()).filter(|i| rows.iter().any(|row| !cell(row, *i).is_empty())).collect();
    let width = |i: usize| rows.iter().map(|row| cell(row, i).chars().count()).chain([heads[i].len()]).max();
    let widths: Vec<usize> = shown.iter().map(|i| width(*i).unwrap_or(0)).collect();
    let line = |cells: Vec<String>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut out = line(shown.iter().map(|i| heads[*i].to_owned()).collect());
    for row in &rows {
        out.push_str(&line(shown.iter().map(|i| cell(row, *i)).collect()));
    }
    out
}

/// A value as an outline: one member a line, members of members indented.
pub fn outline(value: &Value) -> String {
    let mut out = String::new();
    outline_into(&mut out, value, 0);
    out
}

/// A text with every line moved in by two.
pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn outline_into(out: &mut String, value: &Value, depth: usize) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = clean(name);
                if is_nested(value) {
                    out.push_str(&format!("{pad}{name}:\n"));
                    outline_into(out, value, depth + 1);
                } else {
                    out.push_str(&format!("{pad}{name}: {}\n", inline(value)));
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                if is_nested(item) {
                    out.push_str(&format!("{pad}{}.\n", i + 1));
                    outline_into(out, item, depth + 1);
                } else {
                    out.push_str(&format!("{pad}{}\n", inline(item)));
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&format!("{pad}{}\n", inline(value)));
        }
    }
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Object(_) => "none".to_owned(),
        Value::Array(_) => joined(value),
        Value::Null => "-".to_owned(),
        Value::Bool(value) => if *value { "yes" } else { "no" }.to_owned(),
        Value::Number(_) | Value::String(_) => text(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_align_and_drop_empty_columns() {
        let rows = [
            vec!["a".to_owned(), String::new(), "x".to_owned()],
            vec!["long".into(), String::new(), "y".into()],
        ];
        assert_eq!(table(&["ID", "GONE", "N"], rows.into_iter()), "ID    N\na     x\nlong  y\n");
    }

    #[test]
    fn an_answer_of_a_node_has_one_code() {
        for (code, message, want) in [
            ("UNAVAILABLE", "UNAVAILABLE: SYSTEM_RUN_DENIED: no", "SYSTEM_RUN_DENIED: no"),
            (
                "UNAVAILABLE",
                "INVALID_REQUEST: Error: INVALID_REQUEST: bins required",
                "INVALID_REQUEST: bins required",
            ),
            (
                "UNAVAILABLE",
                "UNAVAILABLE: cannot list it: No such file",
                "UNAVAILABLE: cannot list it: No such file",
            ),
            ("INVALID_REQUEST", "unknown method: x", "INVALID_REQUEST: unknown method: x"),
            ("UNAVAILABLE", "Error: node disconnected", "UNAVAILABLE: node disconnected"),
            ("UNAVAILABLE", "a\u{1b}[1m", "UNAVAILABLE: a\u{fffd}[1m"),
            ("", "", ": "),
        ] {
            let said = ResponseError {
                code: code.to_owned(),
                message: message.to_owned(),
                details: None,
                retryable: None,
                retry_after_ms: None,
            };
            assert_eq!(error(&said), want);
        }
    }

    #[test]
    fn an_outline_shows_every_member() {
        let value = json!({ "ok": true, "n": 5, "list": ["a", "b"], "none": [], "sub": { "x": null, "rows": [{ "y": 1 }] } });
        let want = "list: a, b\nn: 5\nnone: none\nok: yes\nsub:\n  rows:\n    1.\n      y: 1\n  x: -\n";
        assert_eq!(outline(&value), want);
        assert_eq!(indented("a\nb\n"), "  a\n  b\n");
    }

    #[test]
    fn terminals_are_not_driven_by_peers() {
        assert_eq!(clean("a\u{1b}]0;x\u{7}\u{202e}b"), "a\u{fffd}]0;x\u{fffd}\u{fffd}b");
    }

    #[test]
    fn json_drives_no_terminal_either_and_says_the_same() {
        let name = "a\u{1b}\u{9b}31m\u{85}\u{61c}\u{200b}\u{202e}\u{2028}\u{2066}\u{feff}\u{fffa}\u{e0041}\n\u{e9}\u{1f980}";
        let value = json!({name: [name, 1]});
        let text = json(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value.clone()));
        assert_eq!(serde_json::from_str::<Value>(&json_line(&value)).ok(), Some(value));
        let shown: String = text.chars().filter(|c| *c != '\n').collect();
        assert_eq!(clean(&shown), shown, "nothing is left to clean");
        assert!(shown.contains("\\udb40\\udc41") && shown.contains("\u{e9}\u{1f980}"), "{shown}");
        assert!(!clean(name).contains(['\u{61c}', '\u{2028}', '\u{feff}', '\u{fffa}', '\u{e0041}']));
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(name(&json!("\u{e9}".repeat(60))), "\u{e9}".repeat(60));
        assert_eq!(name(&json!("\u{e9}".repeat(5_000))), format!("{}\u{2026}", "\u{e9}".repeat(60)));
    }

    #[test]
    fn ages() {
        for (ms, want) in
            [(0, "0 s ago"), (61_000, "1 min ago"), (7_200_000, "2 h ago"), (172_800_000, "2 days ago")]
        {
            assert_eq!(ago(200_000_000_000, &json!(200_000_000_000_u64 - ms)), want);
        }
    }
}
