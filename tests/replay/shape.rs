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
    match (shape, value) {
        (Value::String(names), _) => {
            let kind = kind(value);
            if names.split('|').any(|name| name == kind || name == "any") {
                return Ok(());
            }
            Err(format!("{at}: expected {names}, got {kind}"))
        }
        (Value::Array(items), Value::Array(values)) => match items.first() {
            Some(item) => {
                values.iter().enumerate().try_for_each(|(n, value)| fits(item, value, &format!("{at}[{n}]")))
            }
            None => Ok(()),
        },
        (Value::Object(members), Value::Object(values)) => {
            for (name, shape) in members.iter().filter(|(name, _)| *name != "...") {
                let bare = name.trim_end_matches('?');
                match values.get(bare) {
                    Some(value) => fits(shape, value, &format!("{at}.{bare}"))?,
                    None if name.ends_with('?') => {}
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
    use super::*;
    use serde_json::json;

    #[test]
    fn a_shape_takes_what_fits_and_names_what_does_not() {
        let shape = json!({"a": "number", "b?": ["string|null"], "c": {"...": "any"}, "d": []});
        let fits = |value: Value| fits(&shape, &value, "it");
        assert_eq!(fits(json!({"a": 1, "b": ["x", null], "c": {"y": 1}, "d": [1, "2"]})), Ok(()));
        assert_eq!(fits(json!({"a": 1, "c": {}, "d": []})), Ok(()));
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
}
