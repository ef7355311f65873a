//! One small declarative validator: a table of rules against a JSON value, with the texts protocol 4 peers
//! expect (spec: v4 sections 2.2 and 5). There is no second validator; every "invalid ... params" text of the
//! gateway comes from here.
//!
//! Order inside one object: the first missing required member, the first unknown member, then each declared
//! member's faults, depth first. At most [`FAULTS_MAX`] faults are collected, so that a long list of wrong
//! items costs no long answer. Repeats are dropped, the rest is joined with `; `.

use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What one value must be.
#[derive(Debug)]
pub(crate) enum Rule {
    /// Anything.
    Any,
    /// `true` or `false`.
    Bool,
    /// A string of that many characters.
    Text {
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
    },
    /// A string of 64 lower-case hexadecimal digits.
    Hex64,
    /// This string.
    Const(&'static str),
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A whole number; `3.0` counts as one.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest; `u64::MAX` is no limit.
        max: u64,
    },
    /// A string of this form.
    Form {
        /// Whether it has the form.
        fits: fn(&str) -> bool,
        /// How the form is written in the published schema.
        pattern: &'static str,
    },
    /// `true`.
    True,
    /// `null`.
    Null,
    /// This number.
    Exactly(u64),
    /// A number of any kind.
    Number {
        /// Smallest.
        min: f64,
    },
    /// What one of these allows.
    AnyOf(&'static Rule, &'static Rule),
    /// A list.
    List {
        /// Of what.
        item: &'static Rule,
        /// Fewest items.
        min: usize,
        /// Most items.
        max: usize,
        /// Whether a string may not come twice.
        unique: bool,
    },
    /// An object with any names and values of one kind.
    Map(&'static Rule),
    /// An object with these members and no other.
    Object(&'static Shape),
}

/// A closed object.
#[derive(Debug)]
pub(crate) struct Shape(pub(crate) &'static [Field]);

/// One declared member.
#[derive(Debug)]
pub(crate) struct Field {
    name: &'static str,
    required: bool,
    rule: Rule,
}

/// A member that must be there.
pub(crate) const fn required(name: &'static str, rule: Rule) -> Field {
    Field { name, required: true, rule }
}

/// A member that may be there; `null` is not absence.
pub(crate) const fn optional(name: &'static str, rule: Rule) -> Field {
    Field { name, required: false, rule }
}

impl Rule {
    /// Any string.
    pub(crate) const STRING: Self = Self::Text { min: 0, max: usize::MAX };
    /// A string that is not empty; white space counts as text.
    pub(crate) const NON_EMPTY: Self = Self::Text { min: 1, max: usize::MAX };
    /// A list of strings that are not empty.
    pub(crate) const NON_EMPTY_LIST: Self =
        Self::List { item: &Self::NON_EMPTY, min: 0, max: usize::MAX, unique: false };
    /// A whole number that is not negative.
    pub(crate) const COUNT: Self = Self::Integer { min: 0, max: u64::MAX };
    /// A whole number from 1 on.
    pub(crate) const POSITIVE: Self = Self::Integer { min: 1, max: u64::MAX };
    /// A string, or `null`.
    pub(crate) const STRING_OR_NULL: Self = Self::AnyOf(&Self::STRING, &Self::Null);
    /// A string that is not empty, or `null`.
    pub(crate) const NON_EMPTY_OR_NULL: Self = Self::AnyOf(&Self::NON_EMPTY, &Self::Null);
}

/// Checks `value` against `shape`.
///
/// # Errors
/// The joined texts, never empty.
pub(crate) fn validate(shape: &'static Shape, value: &Value) -> Result<(), String> {
    let mut walk = Walk::default();
    walk.object(shape, value);
    if walk.faults.is_empty() { Ok(()) } else { Err(walk.joined()) }
}

/// Whether a rule has nothing to say about a value.
fn fits(rule: &'static Rule, value: &Value) -> bool {
    let mut walk = Walk::default();
    walk.rule(rule, value);
    walk.faults.is_empty()
}

/// Most faults that are reported for one value.
pub(crate) const FAULTS_MAX: usize = 8;
/// Most characters of a peer's member name that are repeated in a text.
const NAME_CHARS_MAX: usize = 128;

#[derive(Default)]
struct Walk {
    /// Pointer to the value being looked at; empty at the root. Names are not escaped.
    path: String,
    faults: Vec<String>,
}

impl Walk {
    fn object(&mut self, shape: &'static Shape, value: &Value) {
        let Some(members) = self.members(value) else { return };
        if let Some(field) = shape.0.iter().find(|f| f.required && !members.contains_key(f.name)) {
            self.fault(format_args!("must have required property '{}'", field.name));
        }
        if let Some(name) = members.keys().find(|name| shape.0.iter().all(|f| f.name != name.as_str())) {
            let place = if self.path.is_empty() { "root" } else { &self.path };
            // Below `auth` it may be the secret itself, put where its name belongs.
            let name = if self.path.starts_with("/auth") { "[redacted]" } else { cut(name) };
            let text = format!("at {place}: unexpected property '{name}'");
            self.push(text);
        }
        for field in shape.0 {
            if let Some(value) = members.get(field.name) {
                self.inside(field.name, |walk| walk.rule(&field.rule, value));
            }
        }
    }

    fn rule(&mut self, rule: &'static Rule, value: &Value) {
        match rule {
            Rule::Any => {}
            Rule::Bool => {
                if !value.is_boolean() {
                    self.fault(format_args!("must be boolean"));
                }
            }
            Rule::Text { min, max } => {
                self.text(value, *min, *max);
            }
            Rule::Hex64 => {
                if let Some(text) = self.text(value, 64, 64)
                    && !(text.len() == 64 && text.bytes().all(|b| matches!(b, b'a'..=b'f' | b'0'..=b'9')))
                {
                    self.fault(format_args!("must match pattern \"^[a-f0-9]{{64}}$\""));
                }
            }
            Rule::Const(wanted) => {
                if self.text(value, 0, usize::MAX) != Some(wanted) {
                    self.fault(format_args!("must be equal to constant"));
                }
            }
            Rule::OneOf(wanted) => {
                if !value.as_str().is_some_and(|text| wanted.contains(&text)) {
                    self.fault(format_args!("must be equal to one of the allowed values"));
                }
            }
            Rule::Integer { min, max } => self.integer(value, *min, *max),
            Rule::Form { fits, pattern } => {
                if let Some(text) = self.text(value, 0, usize::MAX)
                    && !fits(text)
                {
                    self.fault(format_args!("must match pattern \"{pattern}\""));
                }
            }
            Rule::True => {
                if value != &Value::Bool(true) {
                    self.fault(format_args!("must be equal to constant"));
                }
            }
            Rule::Null => {
                if !value.is_null() {
                    self.fault(format_args!("must be null"));
                }
            }
            Rule::Exactly(wanted) => match value.as_f64() {
                None => self.fault(format_args!("must be number")),
                Some(number) if number != *wanted as f64 => {
                    self.fault(format_args!("must be equal to constant"));
                }
                Some(_) => {}
            },
            Rule::Number { min } => match value.as_f64() {
                None => self.fault(format_args!("must be number")),
                Some(number) if number < *min => self.fault(format_args!("must be >= {min}")),
                Some(_) => {}
            },
            Rule::AnyOf(one, two) => {
                if !fits(one, value) && !fits(two, value) {
                    self.fault(format_args!("must match a schema in anyOf"));
                }
            }
            Rule::List { item, min, max, unique } => {
                self.list(item, *min, *max, *unique, value);
            }
            Rule::Map(of) => {
                let Some(members) = self.members(value) else { return };
                for (name, value) in members {
                    if self.is_full() {
                        return;
                    }
                    self.inside(cut(name), |walk| walk.rule(of, value));
                }
            }
            Rule::Object(shape) => self.object(shape, value),
        }
    }

    fn text<'v>(&mut self, value: &'v Value, min: usize, max: usize) -> Option<&'v str> {
        let Some(text) = value.as_str() else {
            self.fault(format_args!("must be string"));
            return None;
        };
        if min > 0 && text.chars().take(min).count() < min {
            self.fault(format_args!("must not have fewer than {min} characters"));
        }
        if text.len() > max && text.chars().nth(max).is_some() {
            self.fault(format_args!("must not have more than {max} characters"));
        }
        Some(text)
    }

    /// A fraction is no integer, and its size is judged as well.
    fn integer(&mut self, value: &Value, min: u64, max: u64) {
        let Some(number) = value.as_f64() else {
            self.fault(format_args!("must be integer"));
            return;
        };
        if number.fract() != 0.0 {
            self.fault(format_args!("must be integer"));
        }
        if number < min as f64 {
            self.fault(format_args!("must be >= {min}"));
        }
        if max != u64::MAX && number > max as f64 {
            self.fault(format_args!("must be <= {max}"));
        }
    }

    fn list(&mut self, item: &'static Rule, min: usize, max: usize, unique: bool, value: &Value) {
        let Some(items) = value.as_array() else {
            self.fault(format_args!("must be array"));
            return;
        };
        for (index, value) in items.iter().enumerate() {
            if self.is_full() {
                return;
            }
            self.inside(&index.to_string(), |walk| walk.rule(item, value));
        }
        if items.len() < min {
            self.fault(format_args!("must not have fewer than {min} items"));
        }
        if items.len() > max {
            self.fault(format_args!("must not have more than {max} items"));
        }
        if unique {
            let mut seen = BTreeSet::new();
            if items.iter().filter_map(Value::as_str).any(|text| !seen.insert(text)) {
                self.fault(format_args!("must not have duplicate items"));
            }
        }
    }

    fn members<'v>(&mut self, value: &'v Value) -> Option<&'v Map<String, Value>> {
        let members = value.as_object();
        if members.is_none() {
            self.fault(format_args!("must be object"));
        }
        members
    }

    fn inside(&mut self, name: &str, look: impl FnOnce(&mut Self)) {
        let outer = self.path.len();
        self.path.push('/');
        self.path.push_str(name);
        look(self);
        self.path.truncate(outer);
    }

    fn fault(&mut self, message: core::fmt::Arguments<'_>) {
        let mut text = String::new();
        if !self.path.is_empty() {
            let _ = write!(text, "at {}: ", self.path);
        }
        let _ = text.write_fmt(message);
        self.push(text);
    }

    fn push(&mut self, text: String) {
        if !self.is_full() {
            self.faults.push(text);
        }
    }

    fn is_full(&self) -> bool {
        self.faults.len() >= FAULTS_MAX
    }

    fn joined(self) -> String {
        let mut seen: Vec<&str> = Vec::new();
        for fault in &self.faults {
            if !seen.contains(&fault.as_str()) {
                seen.push(fault);
            }
        }
        seen.join("; ")
    }
}

fn cut(name: &str) -> &str {
    name.char_indices().nth(NAME_CHARS_MAX).map_or(name, |(end, _)| &name[..end])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use serde_json::json;

    static INNER: Shape = Shape(&[
        required("id", Rule::OneOf(&["cli", "test"])),
        required("name", Rule::NON_EMPTY),
        optional("zone", Rule::Text { min: 1, max: 4 }),
    ]);
    static OUTER: Shape = Shape(&[
        required("low", Rule::Integer { min: 1, max: u64::MAX }),
        required("inner", Rule::Object(&INNER)),
        optional("kind", Rule::Const("req")),
        optional("list", Rule::NON_EMPTY_LIST),
        optional("few", Rule::List { item: &Rule::NON_EMPTY, min: 1, max: 2, unique: true }),
        optional("day", Rule::Form { fits: |text| text == "day", pattern: "^day$" }),
        optional("yes", Rule::True),
        optional("either", Rule::AnyOf(&Rule::Bool, &Rule::Const("all"))),
        optional("map", Rule::Map(&Rule::Bool)),
        optional("hash", Rule::Hex64),
        optional("count", Rule::Integer { min: 1, max: 10 }),
        optional("flag", Rule::Bool),
        optional("any", Rule::Any),
    ]);

    fn errors(value: Value) -> String {
        validate(&OUTER, &value).unwrap_err()
    }

    fn with(extra: Value) -> Value {
        let mut value = json!({"low": 1, "inner": {"id": "cli", "name": "n"}});
        for (name, member) in extra.as_object().unwrap() {
            value[name] = member.clone();
        }
        value
    }

    #[test]
    fn what_is_not_an_object_says_so() {
        for value in [Value::Null, json!([]), json!("x"), json!(5)] {
            assert_eq!(errors(value), "must be object");
        }
        assert_eq!(errors(with(json!({"inner": []}))), "at /inner: must be object");
        assert_eq!(errors(with(json!({"map": []}))), "at /map: must be object");
    }

    #[test]
    fn an_object_reports_missing_then_unknown_then_members() {
        assert_eq!(errors(json!({})), "must have required property 'low'");
        assert_eq!(
            errors(json!({"low": 0, "foo": 1})),
            "must have required property 'inner'; at root: unexpected property 'foo'; at /low: must be >= 1"
        );
        assert_eq!(
            errors(json!({"low": 1, "inner": {"name": "", "foo": 1}})),
            "at /inner: must have required property 'id'; at /inner: unexpected property 'foo'; \
             at /inner/name: must not have fewer than 1 characters"
        );
    }

    #[test]
    fn enums_and_constants_have_one_text_each() {
        assert_eq!(
            errors(json!({"low": 1, "inner": {"id": "nosuch", "name": "n"}})),
            "at /inner/id: must be equal to one of the allowed values"
        );
        assert_eq!(errors(with(json!({"kind": "bogus"}))), "at /kind: must be equal to constant");
        assert_eq!(
            errors(with(json!({"kind": 5}))),
            "at /kind: must be string; at /kind: must be equal to constant"
        );
    }

    #[test]
    fn integers_may_be_written_with_a_fraction_of_zero() {
        assert_eq!(validate(&OUTER, &with(json!({"low": 3.0}))), Ok(()));
        assert_eq!(validate(&OUTER, &with(json!({"low": 1e300}))), Ok(()));
        assert_eq!(errors(with(json!({"low": 3.5}))), "at /low: must be integer");
        assert_eq!(errors(with(json!({"low": -1.5}))), "at /low: must be integer; at /low: must be >= 1");
        assert_eq!(errors(with(json!({"low": "4"}))), "at /low: must be integer");
        assert_eq!(errors(with(json!({"low": null}))), "at /low: must be integer");
        assert_eq!(errors(with(json!({"count": 11}))), "at /count: must be <= 10");
    }

    #[test]
    fn strings_are_measured_in_characters() {
        assert_eq!(
            validate(&OUTER, &with(json!({"inner": {"id": "cli", "name": " ", "zone": "😀😀😀😀"}}))),
            Ok(())
        );
        assert_eq!(
            errors(with(json!({"inner": {"id": "cli", "name": 3, "zone": "12345"}}))),
            "at /inner/name: must be string; at /inner/zone: must not have more than 4 characters"
        );
        assert_eq!(
            errors(with(json!({"hash": "A"}))),
            "at /hash: must not have fewer than 64 characters; at /hash: must match pattern \"^[a-f0-9]{64}$\""
        );
        assert_eq!(
            errors(with(json!({"hash": "A".repeat(65)}))),
            "at /hash: must not have more than 64 characters; at /hash: must match pattern \"^[a-f0-9]{64}$\""
        );
        assert_eq!(validate(&OUTER, &with(json!({"hash": "0a".repeat(32)}))), Ok(()));
    }

    #[test]
    fn lists_report_items_then_length_then_repeats() {
        assert_eq!(
            errors(with(json!({"list": ["", 5, "a", null]}))),
            "at /list/0: must not have fewer than 1 characters; at /list/1: must be string; at /list/3: must be string"
        );
        assert_eq!(errors(with(json!({"list": {}}))), "at /list: must be array");
        assert_eq!(
            errors(with(json!({"few": ["", "b", "b"]}))),
            "at /few/0: must not have fewer than 1 characters; at /few: must not have more than 2 items; \
             at /few: must not have duplicate items"
        );
    }

    #[test]
    fn forms_and_alternatives() {
        assert_eq!(errors(with(json!({"few": []}))), "at /few: must not have fewer than 1 items");
        assert_eq!(errors(with(json!({"day": "night"}))), "at /day: must match pattern \"^day$\"");
        assert_eq!(errors(with(json!({"yes": false}))), "at /yes: must be equal to constant");
        assert_eq!(errors(with(json!({"either": "none"}))), "at /either: must match a schema in anyOf");
        for fits in [json!({"day": "day", "yes": true, "either": "all"}), json!({"either": true})] {
            assert_eq!(validate(&OUTER, &with(fits)), Ok(()));
        }
    }

    #[test]
    fn maps_name_the_member_unescaped() {
        assert_eq!(
            errors(with(json!({"map": {"a": 1, "b": true, "c/d~e": "x"}}))),
            "at /map/a: must be boolean; at /map/c/d~e: must be boolean"
        );
        assert_eq!(errors(with(json!({"flag": 0}))), "at /flag: must be boolean");
    }

    #[test]
    fn the_answer_stays_short_whatever_is_sent() {
        let text = errors(with(json!({"list": vec![5; 5_000]})));
        assert_eq!(text.matches("must be string").count(), FAULTS_MAX);
        let text = errors(with(json!({"x".repeat(5_000): 1})));
        assert_eq!(text, format!("at root: unexpected property '{}'", "x".repeat(NAME_CHARS_MAX)));
        let text = errors(with(json!({"map": {"é".repeat(5_000): 1}})));
        assert_eq!(text, format!("at /map/{}: must be boolean", "é".repeat(NAME_CHARS_MAX)));
    }
}
