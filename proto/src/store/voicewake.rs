//! `settings/voicewake.json`: the words that wake a voice node (spec: methods section 10).

use serde_json::{Map, Value};

/// The words in a document; those that everybody starts with when there is none.
///
/// # Errors
/// It is no document of this kind; a sentence for a person.
pub fn parse(document: Option<&[u8]>) -> Result<Vec<String>, String> {
    let Some(document) = document else { return Ok(usual()) };
    let members = members(document)?;
    let triggers = members.get("triggers").and_then(Value::as_array);
    Ok(normalised(triggers.into_iter().flatten().filter_map(Value::as_str)))
}

/// The document with these words in place of its own. Members that this program does not know survive.
///
/// # Errors
/// What is there is no document of this kind: it is not written over.
pub fn render(document: Option<&[u8]>, triggers: &[String], now_ms: u64) -> Result<Vec<u8>, String> {
    let mut members = document.map_or_else(|| Ok(Map::new()), members)?;
    members.insert("triggers".into(), triggers.into());
    members.insert("updatedAtMs".into(), now_ms.into());
    let mut out = serde_json::to_vec_pretty(&Value::Object(members)).expect("an object has only string keys");
    out.push(b'\n');
    Ok(out)
}

/// Trimmed, without blanks, cut to what fits; the usual ones when nothing is left.
pub fn normalised<'a>(triggers: impl Iterator<Item = &'a str>) -> Vec<String> {
    let trimmed = triggers.map(str::trim).filter(|word| !word.is_empty());
    let words: Vec<String> =
        trimmed.take(TRIGGERS_MAX).map(|word| word.chars().take(TRIGGER_CHARS_MAX).collect()).collect();
    if words.is_empty() { usual() } else { words }
}

/// What a gateway starts with.
pub fn usual() -> Vec<String> {
    ["openclaw", "claude", "computer"].map(str::to_owned).into()
}

fn members(document: &[u8]) -> Result<Map<String, Value>, String> {
    let found: Value = serde_json::from_slice(document).map_err(|why| why.to_string())?;
    match found {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err("it holds no object".to_owned())
        }
    }
}

/// Words that are kept.
const TRIGGERS_MAX: usize = 32;
/// Characters of one word.
const TRIGGER_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn words_are_bounded_and_never_none() {
        assert_eq!(normalised([" a ", "", "  ", "b"].into_iter()), ["a", "b"]);
        assert_eq!(normalised([].into_iter()), usual());
        let long = "x".repeat(70);
        let many = normalised(std::iter::repeat_n(long.as_str(), 40));
        assert_eq!((many.len(), many[0].len()), (TRIGGERS_MAX, TRIGGER_CHARS_MAX));
    }

    #[test]
    fn unknown_members_survive_and_a_broken_document_is_left_alone() {
        let before = br#"{"triggers":["a"],"updatedAtMs":1,"note":"mine"}"#;
        assert_eq!(parse(Some(before)).unwrap(), ["a"]);
        let after = render(Some(before), &["b".to_owned()], 5).unwrap();
        let value: Value = serde_json::from_slice(&after).unwrap();
        assert_eq!(value, serde_json::json!({"triggers": ["b"], "updatedAtMs": 5, "note": "mine"}));
        assert_eq!(parse(Some(&after)).unwrap(), ["b"]);
        assert_eq!(parse(None).unwrap(), usual());
        for broken in [&b"{"[..], b"[]", b"\xff"] {
            assert!(parse(Some(broken)).is_err() && render(Some(broken), &usual(), 1).is_err());
        }
    }
}
