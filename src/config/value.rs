//! A JSON value that keeps the order of its members, so that a file comes back as its owner arranged it.

use super::depth;
use core::fmt;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// One value. It may hold secrets, so its `Debug` shows only what kind it is.
#[derive(Clone, PartialEq)]
pub enum Node {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, in the range of both `i64` and `u64`.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Members in their order; no name twice.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Parses JSON5.
    ///
    /// # Errors
    /// Where and why not; a sentence for a person that quotes no value.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !depth::is_shallow(text) {
            return Err(format!("it nests deeper than {} levels", depth::DEPTH_MAX));
        }
        // The parser's own message may quote a value, and a value may be a secret.
        json5::from_str(text.trim_start_matches('\u{feff}')).map_err(|why| match why.position() {
            Some(at) => format!("line {}, column {}: not valid JSON5", at.line + 1, at.column + 1),
            None => "not valid JSON5".to_owned(),
        })
    }

    /// The same value.
    pub fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i128() {
                Some(whole) => Self::Integer(whole),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| (name.clone(), Self::from_json(value));
                Self::Object(members.iter().map(member).collect())
            }
        }
    }

    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(have, _)| have == name).map(|(_, value)| value)
    }

    /// The text, when it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Sets the value at a path of names, making objects on the way. What is there and no object is replaced.
    pub fn set(&mut self, path: &[&str], value: Self) {
        let Some((name, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        if !matches!(self, Self::Object(_)) {
            *self = Self::Object(Vec::new());
        }
        let Self::Object(members) = self else { return };
        let at = members.iter().position(|(have, _)| have == name).unwrap_or_else(|| {
            members.push(((*name).to_owned(), Self::Null));
            members.len() - 1
        });
        members[at].1.set(rest, value);
    }

    /// What kind of value this is, for a sentence.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// JSON with an indent of two spaces and a final newline, as the reference writes its file.
    pub fn render(&self) -> String {
        let mut out = String::new();
        self.render_into(&mut out, 0);
        out.push('\n');
        out
    }

    fn render_into(&self, out: &mut String, depth: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Integer(value) => out.push_str(&value.to_string()),
            Self::Float(value) => out.push_str(&float(*value)),
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::List(items) => render_items(out, depth, ['[', ']'], items, |out, item| {
                item.render_into(out, depth + 1);
            }),
            Self::Object(members) => render_items(out, depth, ['{', '}'], members, |out, (name, value)| {
                out.push_str(&quoted(name));
                out.push_str(": ");
                value.render_into(out, depth + 1);
            }),
        }
    }
}

fn render_items<T>(
    out: &mut String,
    depth: usize,
    [open, close]: [char; 2],
    items: &[T],
    mut item: impl FnMut(&mut String, &T),
) {
    out.push(open);
    for (i, value) in items.iter().enumerate() {
        out.push_str(if i == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        item(out, value);
    }
    if !items.is_empty() {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
    out.push(close);
}

/// JSON has no infinities; JSON5, in which the file is read, has.
fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        // `Display` never uses an exponent and adds no `.0` to a whole number, as JavaScript's does.
        value.to_string()
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut members: Vec<(String, Node)> = Vec::new();
        while let Some((name, value)) = entries.next_entry::<String, Node>()? {
            // A repeated name keeps its first place and its last value, as in JavaScript.
            match members.iter_mut().find(|(have, _)| *have == name) {
                Some(member) => member.1 = value,
                None => members.push((name, value)),
            }
        }
        Ok(Node::Object(members))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn keeps_order_unknown_members_and_numbers() {
        let text = "// mine\n{z: 1, a: {y: [], x: {},}, 'b': [true, null, 1.5, -0x10, 1e3], c: 'it\\'s \"q\"', \
                    u: 18446744073709551615, z: 2}";
        let node = Node::parse(text).unwrap();
        let want = "{\n  \"z\": 2,\n  \"a\": {\n    \"y\": [],\n    \"x\": {}\n  },\n  \"b\": [\n    true,\n    \
                    null,\n    1.5,\n    -16,\n    1000\n  ],\n  \"c\": \"it's \\\"q\\\"\",\n  \
                    \"u\": 18446744073709551615\n}\n";
        assert_eq!(node.render(), want);
        assert_eq!(Node::parse(want).unwrap().render(), want);
    }

    #[test]
    fn sets_values_at_paths_and_leaves_the_rest_in_place() {
        let mut node = Node::parse("{a: 1, gateway: {port: 5, auth: null}, b: 2}").unwrap();
        node.set(&["gateway", "auth", "mode"], Node::Text("token".into()));
        node.set(&["a"], Node::Bool(true));
        let want = "{a: true, gateway: {port: 5, auth: {mode: 'token'}}, b: 2}";
        assert_eq!(node.render(), Node::parse(want).unwrap().render());
    }

    #[test]
    fn a_fault_names_its_place_and_never_the_content() {
        let fault = Node::parse("{\n  token: \"hunter22\" \"x\"\n}").unwrap_err();
        assert!(fault.starts_with("line 2, column ") && !fault.contains("hunter22"), "{fault}");
        assert_eq!(Node::parse(&"[".repeat(200_000)).unwrap_err(), "it nests deeper than 128 levels");
    }

    #[test]
    fn infinities_survive_a_rewrite() {
        let node = Node::parse("[Infinity, -Infinity, NaN]").unwrap();
        assert_eq!(Node::parse(&node.render()).unwrap().render(), node.render());
    }
}
