//! Shapes: which members a value has and of which types, without what they say.
//!
//! A shape is JSON itself. A text names a type, or several with `|` between them. An object lists its members; one
//! whose name ends in `?` may be missing, any that is not listed is a fault, and a member `...` allows for others. A
//! list holds the shape of every item, or nothing when no item was seen.

use serde_json::Value;

/// Whether a value has a shape.
///
/// # Errors
/// Where it differs, and how.
pub(crate) fn fits(shape: &Value, value: &Value, at: &str) -> Result<(), String> {
    check(shape, value, at, true)
}

/// Whether what there is of a value has a shape, whatever is missing.
///
/// # Errors
/// Where it differs, and how.
pub(crate) fn fits_in_part(shape: &Value, value: &Value, at: &str) -> Result<(), String> {
    check(shape, value, at, false)
}

fn check(shape: &Value, value: &Value, at: &str, whole: bool) -> Result<(), String> {
    match (shape, value) {
        (Value::String(names), _) => {
            let kind = kind(value);
            if names.split('|').any(|name| name == kind || name == "any") {
                return Ok(());
            }
            Err(format!("{at}: expected {names}, got {kind}"))
        }
        (Value::Array(items), Value::Array(values)) => match items.first() {
            Some(item) => values
                .iter()
                .enumerate()
                .try_for_each(|(n, value)| check(item, value, &format!("{at}[{n}]"), whole)),
            None => Ok(()),
        },
        (Value::Object(members), Value::Object(values)) => {
            for (name, shape) in members.iter().filter(|(name, _)| *name != "...") {
                let bare = name.trim_end_matches('?');
                match values.get(bare) {
                    Some(value) => check(shape, value, &format!("{at}.{bare}"), whole)?,
                    None if name.ends_with('?') || !whole => {}
                    None => return Err(format!("{at}: {bare} is missing")),
                }
            }
            let listed =
                |name: &String| members.contains_key(name) || members.contains_key(&format!("{name}?"));
            match values.keys().find(|name| !listed(name)) {
                Some(name) if !members.contains_key("...") => Err(format!("{at}: {name} was not expected")),
                Some(_) | None => Ok(()),
            }
        }
        (Value::Array(_), _) => Err(format!("{at}: expected a list, got {}", kind(value))),
        (Value::Object(_), _) => Err(format!("{at}: expected an object, got {}", kind(value))),
        (Value::Null | Value::Bool(_) | Value::Number(_), _) => Err(format!("{at}: {shape} is no shape")),
    }
}

/// Takes a member out of a shape, in every item where there are lists on its path.
///
/// # Errors
/// There is no such member, or it may be missing anyway.
pub(crate) fn leave_out(shape: &mut Value, path: &str) -> Result<(), String> {
    let fault = || format!("{path} is no member that has to be there");
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    match shape {
        Value::Array(items) => leave_out(items.first_mut().ok_or_else(fault)?, path),
        Value::Object(members) => match rest {
            None => members.remove(name).map(drop).ok_or_else(fault),
            Some(rest) => {
                let optional = format!("{name}?");
                let name = if members.contains_key(name) { name } else { &optional };
                leave_out(members.get_mut(name).ok_or_else(fault)?, rest)
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(fault()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use serde_json::json;

    #[test]
    fn a_shape_takes_what_fits_and_names_what_does_not() {
        let shape = json!({"a": "number", "b?": ["string|null"], "c": {"...": "any"}, "d": []});
        let fits = |value: Value| fits(&shape, &value, "it");
        assert_eq!(fits(json!({"a": 1, "b": ["x", null], "c": {"y": 1}, "d": [1, "2"]})), Ok(()));
        assert_eq!(fits(json!({"a": 1, "c": {}, "d": []})), Ok(()));
        assert_eq!(fits_in_part(&shape, &json!({"d": []}), "it"), Ok(()));
        assert!(fits_in_part(&shape, &json!({"d": [], "e": 1}), "it").is_err());
        let fault = |value: Value| fits(value).err();
        assert_eq!(fault(json!({"c": {}, "d": []})).as_deref(), Some("it: a is missing"));
        assert_eq!(
            fault(json!({"a": "1", "c": {}, "d": []})).as_deref(),
            Some("it.a: expected number, got string")
        );
        assert_eq!(
            fault(json!({"a": 1, "b": ["x", 2], "c": {}, "d": []})).as_deref(),
            Some("it.b[1]: expected string|null, got number")
        );
        assert_eq!(
            fault(json!({"a": 1, "c": {}, "d": {}})).as_deref(),
            Some("it.d: expected a list, got object")
        );
        assert_eq!(
            fault(json!({"a": 1, "c": {}, "d": [], "e": 1})).as_deref(),
            Some("it: e was not expected")
        );
        assert_eq!(fault(json!([])).as_deref(), Some("it: expected an object, got list"));
    }

    #[test]
    fn a_member_is_left_out_wherever_it_is() {
        let mut shape = json!({"a": [{"b?": {"c": "number", "d": "string"}}], "e?": "null"});
        leave_out(&mut shape, "a.b.c").unwrap();
        assert_eq!(shape, json!({"a": [{"b?": {"d": "string"}}], "e?": "null"}));
        for path in ["e", "a.c", "a.b.d.x", "f"] {
            assert!(leave_out(&mut shape, path).is_err(), "{path}");
        }
    }
}
