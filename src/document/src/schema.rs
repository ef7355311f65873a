//! What the reference's configuration file may say (release 2026.3.13), as one table: `keys.txt`. It drives validation,
//! `config.schema`, `config.schema.lookup` and redaction.
//!
//! A line is a key; one space of indent more is a member. Behind the name stands the kind: `{}` an object of these
//! members only, `{*}` an object of any names, `{+}` both, `{?}` an object with these members and others that are not
//! looked at, `open` an object that is not looked at, `[]` a list, or what a single value must be; `|` is "or". Then
//! `= DEFAULT`, `!` for a secret, `*` for a member that must be there, and `# HELP`. The member `*` stands for any name
//! that has no line, `[]` for the items of a list.
//!
//! The tree is made when it is needed, by text that is small in the program, and dropped again.

use std::iter::Peekable;
use std::str::Lines;

/// The table as a tree.
#[derive(Debug)]
pub struct Schema {
    root: Key,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name; `*` for any, `[]` for the items of a list.
    pub name: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// What holds when it is absent, as JSON.
    pub default: Option<&'static str>,
    /// One line for a person.
    pub help: Option<&'static str>,
    /// Whether the value is a secret.
    pub is_sensitive: bool,
    /// Whether its object must have it.
    pub is_required: bool,
    /// Its members.
    pub children: Vec<Key>,
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// An object. Whether names without a line are accepted is [`Others`].
    Object(Others),
    /// A list.
    List,
    /// Anything.
    Any,
    /// `true` or `false`.
    Bool,
    /// `false`.
    False,
    /// A number.
    Number {
        /// No fraction.
        is_whole: bool,
        /// Smallest.
        min: Option<f64>,
        /// More than zero.
        is_positive: bool,
        /// Largest.
        max: Option<f64>,
    },
    /// A text of so many characters.
    Text {
        /// Fewest.
        min: usize,
        /// Most.
        max: Option<usize>,
    },
    /// A text, or a reference `{source, provider, id}`.
    Secret,
    /// Six hexadecimal digits, a `#` before them or not.
    Color,
    /// One of these texts.
    OneOf(Vec<&'static str>),
    /// One of these kinds.
    Either(Vec<Kind>),
}

/// What an object may hold beside the names that have a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nothing.
    Refused,
    /// Members of the kind of the line `*`.
    Alike,
    /// Whatever; it stays as it is.
    Untouched,
}

impl Schema {
    /// Reads the table.
    pub fn load() -> Self {
        let mut lines = TABLE.lines().peekable();
        let children = children(&mut lines, 0);
        let kind = Kind::Object(Others::Refused);
        let mut root = key("", kind);
        root.children = children;
        Self { root }
    }

    /// The root of the document.
    pub fn root(&self) -> &Key {
        &self.root
    }

    /// The key at a path of names, where `*` and `[]` may stand for any name and any item.
    pub fn find(&self, path: &[&str]) -> Option<&Key> {
        path.iter().try_fold(&self.root, |key, name| key.child(name))
    }
}

impl Key {
    /// The line for a member of that name, or for an item.
    pub fn child(&self, name: &str) -> Option<&Self> {
        let find = |name: &str| self.children.iter().find(|key| key.name == name);
        match &self.kind {
            Kind::Object(_) => find(name).or_else(|| find("*")),
            Kind::List => find("[]"),
            Kind::Any
            | Kind::Bool
            | Kind::False
            | Kind::Number { .. }
            | Kind::Text { .. }
            | Kind::Secret
            | Kind::Color
            | Kind::OneOf(_)
            | Kind::Either(_) => None,
        }
    }
}

fn key(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        default: None,
        help: None,
        is_sensitive: false,
        is_required: false,
        children: Vec::new(),
    }
}

fn children(lines: &mut Peekable<Lines<'static>>, indent: usize) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Some(line) = lines.peek().copied() {
        let text = line.trim_start_matches(' ');
        if line.len() - text.len() < indent {
            break;
        }
        lines.next();
        let mut key = one(text);
        key.children = children(lines, indent + 1);
        keys.push(key);
    }
    keys
}

fn one(text: &'static str) -> Key {
    let (text, help) = match text.split_once(" # ") {
        Some((text, help)) => (text, Some(help)),
        None => (text, None),
    };
    let (name, rest) = text.split_once(' ').unwrap_or((text, "any"));
    let (rest, is_required) = strip(rest, " *");
    let (rest, is_sensitive) = strip(rest, " !");
    let (rest, default) = match rest.split_once(" = ") {
        Some((rest, default)) => (rest, Some(default)),
        None => (rest, None),
    };
    Key { default, help, is_sensitive, is_required, ..key(name, kind(rest)) }
}

fn strip(text: &'static str, mark: &str) -> (&'static str, bool) {
    text.strip_suffix(mark).map_or((text, false), |rest| (rest, true))
}

fn kind(text: &'static str) -> Kind {
    let mut words = text.split(' ');
    let word = words.next().unwrap_or_default();
    let mut number = |is_whole, is_positive| {
        let mut next = || words.next().and_then(|word| word.parse::<f64>().ok());
        Kind::Number { is_whole, min: next(), is_positive, max: next() }
    };
    match word {
        "{}" => Kind::Object(Others::Refused),
        "{*}" | "{+}" => Kind::Object(Others::Alike),
        "{?}" | "open" => Kind::Object(Others::Untouched),
        "[]" => Kind::List,
        "bool" => Kind::Bool,
        "false" => Kind::False,
        "int" => number(true, false),
        "num" => number(false, false),
        "pos" => number(false, true),
        "text" => Kind::Text { min: 0, max: words.next().and_then(|word| word.parse().ok()) },
        "nonempty" => Kind::Text { min: 1, max: None },
        "secret" => Kind::Secret,
        "color" => Kind::Color,
        "one" => Kind::OneOf(words.collect()),
        either if either.contains('|') => Kind::Either(either.split('|').map(kind).collect()),
        other => match other.strip_prefix("one:") {
            Some(only) => Kind::OneOf(vec![only]),
            None => Kind::Any,
        },
    }
}

static TABLE: &str = include_str!("keys.txt");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        fn count(key: &Key) -> usize {
            1 + key.children.iter().map(count).sum::<usize>()
        }
        let schema = Schema::load();
        assert_eq!(count(schema.root()), TABLE.lines().count() + 1, "no line is lost");
        for line in TABLE.lines() {
            let words: Vec<&str> = line.trim_start().split(" # ").next().unwrap().split(' ').collect();
            let known = [
                "{}", "{*}", "{+}", "{?}", "open", "[]", "bool", "int", "num", "pos", "text", "nonempty",
                "secret", "color", "one", "any",
            ];
            assert!(words[1].contains('|') || known.contains(&words[1]), "{line}");
        }
    }

    #[test]
    fn keys_are_found_by_name_by_any_name_and_by_item() {
        let schema = Schema::load();
        let port = schema.find(&["gateway", "port"]).unwrap();
        assert_eq!(port.default, Some("18789"));
        let number = Kind::Number { is_whole: true, min: Some(1.0), is_positive: false, max: Some(65_535.0) };
        assert_eq!(port.kind, number);
        assert!(schema.find(&["gateway", "auth", "token"]).unwrap().is_sensitive);
        assert!(schema.find(&["env", "vars", "ANY"]).unwrap().is_sensitive);
        assert_eq!(schema.find(&["gateway", "trustedProxies", "3"]).unwrap().name, "[]");
        assert!(schema.find(&["gateway", "nosuch"]).is_none());
    }
}
