//! A JSON value that keeps the order of its members, so that a file comes back as its owner arranged it.

use crate::depth::{self, Fault};
use core::fmt;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;

/// One value. It may hold secrets, so its `Debug` shows only what kind it is.
#[derive(Clone)]
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

/// `NaN` is the same as `NaN` here: it is the same text.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b || a.is_nan() && b.is_nan(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            (
                Self::Null
                | Self::Bool(_)
                | Self::Integer(_)
                | Self::Float(_)
                | Self::Text(_)
                | Self::List(_)
                | Self::Object(_),
                _,
            ) => false,
        }
    }
}

impl Node {
    /// Parses JSON5.
    ///
    /// # Errors
    /// Where and why not; a sentence for a person that quotes no value.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_at(text).map_err(|fault| match fault {
            ParseFault::Limit(why) => why,
            ParseFault::At(line, column) => format!("line {line}, column {column}: not valid JSON5"),
            ParseFault::Somewhere => "not valid JSON5".to_owned(),
        })
    }

    /// The same, with the place as numbers.
    ///
    /// # Errors
    /// Where and why not.
    pub fn parse_at(text: &str) -> Result<Self, ParseFault> {
        depth::check(text).map_err(|fault| {
            ParseFault::Limit(match fault {
                Fault::TooDeep => format!("it nests deeper than {} levels", depth::DEPTH_MAX),
                Fault::TooMany => format!("it holds more than {} values", depth::VALUES_MAX),
            })
        })?;
        // The parser's own message may quote a value, and a value may be a secret.
        json5::from_str(text.trim_start_matches('\u{feff}')).map_err(|why| match why.position() {
            Some(at) => ParseFault::At(at.line + 1, at.column + 1),
            None => ParseFault::Somewhere,
        })
    }

    /// An object without members.
    pub fn empty() -> Self {
        Self::Object(Vec::new())
    }

    /// The members, when it is an object.
    pub fn members(&self) -> Option<&[(String, Node)]> {
        if let Self::Object(members) = self { Some(members) } else { None }
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

    /// The value at a path of names.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, name| match node {
            Self::List(items) => items.get(name.parse::<usize>().ok()?),
            Self::Object(_) => node.get(name),
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) | Self::Text(_) => None,
        })
    }

    /// Sets the value at a path whose parts may be indexes of lists that are there; an index of one past the end
    /// appends.
    ///
    /// # Errors
    /// A part of the path does not fit what is there; the number of that part.
    pub fn put(&mut self, path: &[&str], value: Self) -> Result<(), usize> {
        let Some((name, rest)) = path.split_first() else {
            *self = value;
            return Ok(());
        };
        let slot = match self {
            Self::List(items) => {
                let index = name.parse::<usize>().map_err(|_| 0_usize)?;
                if index == items.len() {
                    items.push(Self::Null);
                }
                items.get_mut(index).ok_or(0_usize)?
            }
            Self::Object(members) => {
                let at = members.iter().position(|(have, _)| have == name).unwrap_or_else(|| {
                    members.push(((*name).to_owned(), Self::Null));
                    members.len() - 1
                });
                &mut members[at].1
            }
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) | Self::Text(_) => {
                *self = Self::Object(vec![((*name).to_owned(), Self::Null)]);
                let Self::Object(members) = self else { return Err(0) };
                &mut members[0].1
            }
        };
        slot.put(rest, value).map_err(|part| part + 1)
    }

    /// Takes the value at a path out; `None` when there is none.
    pub fn take(&mut self, path: &[&str]) -> Option<Self> {
        let (name, rest) = path.split_first()?;
        match self {
            Self::List(items) => {
                let index = name.parse::<usize>().ok().filter(|index| *index < items.len())?;
                if rest.is_empty() { Some(items.remove(index)) } else { items[index].take(rest) }
            }
            Self::Object(members) => {
                let index = members.iter().position(|(have, _)| have == name)?;
                if rest.is_empty() { Some(members.remove(index).1) } else { members[index].1.take(rest) }
            }
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) | Self::Text(_) => None,
        }
    }

    /// How deep it nests; a value that holds no other has depth 0.
    pub fn depth(&self) -> usize {
        match self {
            Self::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(members) => 1 + members.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) | Self::Text(_) => 0,
        }
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

    /// JSON in one line, for the wire: what JSON has no word for is `null`, as JavaScript writes it.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.json_into(&mut out);
        out
    }

    fn json_into(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Float(value) if !value.is_finite() => out.push_str("null"),
            Self::Bool(_) | Self::Integer(_) | Self::Float(_) | Self::Text(_) => self.render_into(out, 0),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.json_into(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    out.push_str(&quoted(name));
                    out.push(':');
                    value.json_into(out);
                }
                out.push('}');
            }
        }
    }

    /// JSON5 as people write it: bare names, single quotes, a comma behind each member.
    pub fn render_json5(&self) -> String {
        let mut out = String::new();
        self.json5_into(&mut out, 0);
        out
    }

    fn json5_into(&self, out: &mut String, depth: usize) {
        let lines = |out: &mut String, open: char, close: char, lines: &mut dyn FnMut(&mut String)| {
            out.push(open);
            lines(out);
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
            out.push(close);
        };
        let begin = |out: &mut String| {
            out.push('\n');
            out.push_str(&"  ".repeat(depth + 1));
        };
        match self {
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) => self.render_into(out, depth),
            Self::Text(text) => out.push_str(&single_quoted(text)),
            Self::List(items) if items.is_empty() => out.push_str("[]"),
            Self::Object(members) if members.is_empty() => out.push_str("{}"),
            Self::List(items) => lines(out, '[', ']', &mut |out| {
                for item in items {
                    begin(out);
                    item.json5_into(out, depth + 1);
                    out.push(',');
                }
            }),
            Self::Object(members) => lines(out, '{', '}', &mut |out| {
                for (name, value) in members {
                    begin(out);
                    let bare = |(i, b): (usize, u8)| {
                        b.is_ascii_alphabetic() || b == b'_' || b == b'$' || (i > 0 && b.is_ascii_digit())
                    };
                    if !name.is_empty() && name.bytes().enumerate().all(bare) {
                        out.push_str(name);
                    } else {
                        out.push_str(&single_quoted(name));
                    }
                    out.push_str(": ");
                    value.json5_into(out, depth + 1);
                    out.push(',');
                }
            }),
        }
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

fn single_quoted(text: &str) -> String {
    let json = quoted(text);
    let inside = json.get(1..json.len() - 1).unwrap_or_default();
    format!("'{}'", inside.replace("\\\"", "\"").replace('\'', "\\'"))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Why a text is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseFault {
    /// It is beyond a bound; a sentence for a person.
    Limit(String),
    /// It goes wrong at this line and column, counted from 1.
    At(usize, usize),
    /// It goes wrong somewhere.
    Somewhere,
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
        // Looking through the members for a repeated name would take for ever in a file of many.
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry::<String, Node>()? {
            if members.len() == FEW {
                places = members.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
            }
            // A repeated name keeps its first place and its last value, as in JavaScript.
            let known = if members.len() < FEW {
                members.iter().position(|(have, _)| *have == name)
            } else {
                places.get(&name).copied()
            };
            match known {
                Some(at) => members[at].1 = value,
                None => {
                    if members.len() >= FEW {
                        places.insert(name.clone(), members.len());
                    }
                    members.push((name, value));
                }
            }
        }
        Ok(Node::Object(members))
    }
}

/// Where the members of an object are: for walks that would otherwise search a long object once a member.
#[derive(Debug)]
pub struct Index<'a> {
    members: &'a [(String, Node)],
    places: BTreeMap<&'a str, usize>,
}

impl<'a> Index<'a> {
    /// Of these members.
    pub fn new(members: &'a [(String, Node)]) -> Self {
        let place = |(at, (name, _)): (usize, &'a (String, Node))| (name.as_str(), at);
        let places = if members.len() > FEW {
            members.iter().enumerate().map(place).collect()
        } else {
            BTreeMap::new()
        };
        Self { members, places }
    }

    /// Of an object; of anything else there are none.
    pub fn of(node: Option<&'a Node>) -> Self {
        Self::new(node.and_then(Node::members).unwrap_or_default())
    }

    /// The place of a member.
    pub fn place(&self, name: &str) -> Option<usize> {
        if self.members.len() > FEW {
            self.places.get(name).copied()
        } else {
            self.members.iter().position(|(have, _)| have == name)
        }
    }

    /// A member.
    pub fn get(&self, name: &str) -> Option<&'a Node> {
        self.place(name).map(|at| &self.members[at].1)
    }
}

/// Members up to which a search through them is the fastest.
const FEW: usize = 32;

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

    #[test]
    fn every_number_that_is_read_can_be_written_and_read_again() {
        for text in [
            "1e400",
            "-1e400",
            "123456789012345678901234567890",
            "-0",
            "1e29",
            "5e-324",
            "1.7976931348623157e308",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "NaN",
            "340282366920938463463374607431768211456",
            "0xFFFFFFFFFFFFFFFFFF",
        ] {
            let Ok(node) = Node::parse(text) else { panic!("{text} is not read") };
            let again =
                Node::parse(&node.render()).unwrap_or_else(|why| panic!("{text}: {}: {why}", node.render()));
            assert!(again == node, "{text}: {} and {}", node.render(), again.render());
        }
    }
}
