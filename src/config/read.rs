//! Reading typed values out of a [`Node`]: what is wrong is gathered, each fault with the path, what was found
//! and what is allowed. A text is never quoted unless its setting cannot be a secret.

use super::value::Node;
use crate::environment::Environment;
use std::fmt;

/// A walk over one file.
#[derive(Debug)]
pub struct Reader<'a> {
    root: &'a Node,
    environment: &'a Environment,
    /// What must be mended, one sentence each.
    pub faults: Vec<String>,
    /// What should be known, one sentence each.
    pub warnings: Vec<String>,
}

/// A text after `${NAME}` was replaced. `Debug` leaves the text out: it may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Expanded {
    /// The result.
    pub text: String,
    /// Variables that are not set; their references stand in the text as they were.
    pub missing: Vec<String>,
}

impl fmt::Debug for Expanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expanded").field("missing", &self.missing).finish_non_exhaustive()
    }
}

impl<'a> Reader<'a> {
    /// Begins at the root of a file.
    pub fn new(root: &'a Node, environment: &'a Environment) -> Self {
        Self { root, environment, faults: Vec::new(), warnings: Vec::new() }
    }

    /// The value at a dotted path; `null` counts as absent.
    pub fn node(&self, path: &str) -> Option<&'a Node> {
        path.split('.').try_fold(self.root, |node, name| node.get(name)).filter(|node| **node != Node::Null)
    }

    /// A whole number between two bounds.
    pub fn integer(&mut self, path: &str, min: u64, max: u64) -> Option<u64> {
        let node = self.node(path)?;
        let value = match node {
            Node::Integer(value) => u64::try_from(*value).ok(),
            // 18789.0 and 1.8789e4 are the same number in JavaScript.
            Node::Float(value) if value.fract() == 0.0 && *value >= 0.0 && *value <= MAX_EXACT => {
                Some(*value as u64)
            }
            Node::Null | Node::Bool(_) | Node::Float(_) | Node::Text(_) | Node::List(_) | Node::Object(_) => {
                None
            }
        };
        let value = value.filter(|value| (min..=max).contains(value));
        if value.is_none() {
            let found = match node {
                Node::Integer(value) => value.to_string(),
                Node::Float(value) => value.to_string(),
                Node::Null | Node::Bool(_) | Node::Text(_) | Node::List(_) | Node::Object(_) => {
                    node.kind().into()
                }
            };
            self.fault(path, &found, &format!("a whole number from {min} to {max}"));
        }
        value
    }

    /// `true` or `false`.
    pub fn switch(&mut self, path: &str) -> Option<bool> {
        let node = self.node(path)?;
        if let Node::Bool(value) = node {
            return Some(*value);
        }
        self.fault(path, node.kind(), "true or false");
        None
    }

    /// A text that is no secret, with `${NAME}` replaced.
    pub fn text(&mut self, path: &str) -> Option<String> {
        let node = self.node(path)?;
        if let Some(text) = node.as_text() {
            return Some(self.expand(path, text).text);
        }
        self.fault(path, node.kind(), "a text");
        None
    }

    /// One of several texts.
    pub fn choice(&mut self, path: &str, allowed: &[&'static str]) -> Option<&'static str> {
        let text = self.text(path)?;
        let choice = allowed.iter().copied().find(|choice| *choice == text);
        if choice.is_none() {
            let allowed: Vec<String> = allowed.iter().map(|choice| format!("\"{choice}\"")).collect();
            self.fault(path, &format!("{text:?}"), &format!("one of {}", allowed.join(", ")));
        }
        choice
    }

    /// A list of texts that are no secrets, with `${NAME}` replaced.
    pub fn texts(&mut self, path: &str) -> Vec<String> {
        let Some(node) = self.node(path) else { return Vec::new() };
        let Node::List(items) = node else {
            self.fault(path, node.kind(), "a list of texts");
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let path = format!("{path}[{i}]");
            match item.as_text() {
                Some(text) => texts.push(self.expand(&path, text).text),
                None => self.fault(&path, item.kind(), "a text"),
            }
        }
        texts
    }

    /// Replaces `${NAME}` by variables and warns of those that are not set.
    pub fn expand(&mut self, path: &str, text: &str) -> Expanded {
        let expanded = expand(text, self.environment);
        for name in &expanded.missing {
            self.warnings.push(format!("{path}: the environment variable {name} is not set"));
        }
        expanded
    }

    /// Notes what is wrong at a path.
    pub fn fault(&mut self, path: &str, found: &str, allowed: &str) {
        self.faults.push(format!("{path}: found {found}, expected {allowed}"));
    }
}

/// Replaces `${NAME}` (upper case, digits, underscores) by the variable's value; `$${NAME}` is a literal
/// `${NAME}`; an unset or empty variable leaves the reference standing.
pub fn expand(text: &str, environment: &Environment) -> Expanded {
    let mut out = String::with_capacity(text.len());
    let mut missing = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((reference, after)) = rest.strip_prefix('$').and_then(split_reference) {
            out.push_str(reference);
            rest = after;
        } else if let Some((reference, after)) = split_reference(rest) {
            let name = &reference[2..reference.len() - 1];
            match environment.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str(reference);
                    missing.push(name.to_owned());
                }
            }
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Expanded { text: out, missing }
}

/// Splits `${NAME}` from the front of a text.
fn split_reference(text: &str) -> Option<(&str, &str)> {
    let name = text.strip_prefix("${")?;
    let end = name.find('}')?;
    let is_first = |b: u8| b.is_ascii_uppercase() || b == b'_';
    let mut bytes = name[..end].bytes();
    let fits = bytes.next().is_some_and(is_first) && bytes.all(|b| is_first(b) || b.is_ascii_digit());
    fits.then(|| text.split_at(end + 3))
}

/// Beyond this a double no longer names one whole number.
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_text() {
        let expanded = Expanded { text: "hidden".to_owned(), missing: vec!["NAME".to_owned()] };
        assert_eq!(format!("{expanded:?}"), "Expanded { missing: [\"NAME\"], .. }");
    }

    #[test]
    fn references_are_replaced_as_documented() {
        let environment = Environment::new([("A", "1"), ("_B2", "2"), ("EMPTY", "")]);
        for (text, want, missing) in [
            ("x${A}y${_B2}", "x1y2", 0),
            ("$${A}", "${A}", 0),
            ("$$${A}", "$${A}", 0),
            ("${lower} $A ${} ${A", "${lower} $A ${} ${A", 0),
            ("${EMPTY}${NONE}", "${EMPTY}${NONE}", 2),
            ("100 $", "100 $", 0),
            ("${A\u{e9}}${A}", "${A\u{e9}}1", 0),
        ] {
            let expanded = expand(text, &environment);
            assert_eq!((expanded.text.as_str(), expanded.missing.len()), (want, missing), "{text}");
        }
    }
}
