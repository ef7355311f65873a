//! `${NAME}` in texts: replaced by variables where they are set.

use crate::value::Node;
use core::fmt;

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

/// Gives the value of a variable.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces `${NAME}` (upper case, digits, underscores) by the variable's value; `$${NAME}` is a literal
/// `${NAME}`; an unset or empty variable leaves the reference standing.
pub fn expand(text: &str, variables: Variables<'_>) -> Expanded {
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
            match variables(name).filter(|value| !value.is_empty()) {
                Some(value) => out.push_str(&value),
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

/// Replaces references in every text of a document; gives path and name of each variable that is not set.
pub fn expand_all(node: &mut Node, variables: Variables<'_>) -> Vec<(String, String)> {
    let mut missing = Vec::new();
    walk(node, variables, &mut String::new(), &mut missing);
    missing
}

fn walk(node: &mut Node, variables: Variables<'_>, path: &mut String, missing: &mut Vec<(String, String)>) {
    let mut inside = |path: &mut String, name: &str, value: &mut Node| {
        let outer = path.len();
        if outer > 0 {
            path.push('.');
        }
        path.push_str(name);
        walk(value, variables, path, missing);
        path.truncate(outer);
    };
    match node {
        Node::Text(text) if text.contains("${") => {
            let expanded = expand(text, variables);
            let room = MISSING_MAX.saturating_sub(missing.len());
            missing.extend(expanded.missing.into_iter().take(room).map(|name| (path.clone(), name)));
            *text = expanded.text;
        }
        Node::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                inside(path, &index.to_string(), item);
            }
        }
        Node::Object(members) => {
            for (name, value) in members {
                inside(path, name, value);
            }
        }
        Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Float(_) | Node::Text(_) => {}
    }
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

/// More unset variables than this are not named.
const MISSING_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        [("A", "1"), ("_B2", "2"), ("EMPTY", "")]
            .iter()
            .find(|(have, _)| *have == name)
            .map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn debug_shows_no_text() {
        let expanded = Expanded { text: "hidden".to_owned(), missing: vec!["NAME".to_owned()] };
        assert_eq!(format!("{expanded:?}"), "Expanded { missing: [\"NAME\"], .. }");
    }

    #[test]
    fn a_literal_text_comes_out_as_it_went_in() {
        for text in
            ["${A}", "$${A}", "x${A}${_B2}y", "${${A}", "$$$${A}}", "${lower}${A", "$", "\u{e9}${A}\u{e9}"]
        {
            let expanded = expand(&clawgate_proto::wizard::literal(text), &variables);
            assert_eq!((expanded.text.as_str(), expanded.missing.len()), (text, 0), "{text}");
        }
    }

    #[test]
    fn references_are_replaced_as_documented() {
        for (text, want, missing) in [
            ("x${A}y${_B2}", "x1y2", 0),
            ("$${A}", "${A}", 0),
            ("$$${A}", "$${A}", 0),
            ("${lower} $A ${} ${A", "${lower} $A ${} ${A", 0),
            ("${EMPTY}${NONE}", "${EMPTY}${NONE}", 2),
            ("100 $", "100 $", 0),
            ("${A\u{e9}}${A}", "${A\u{e9}}1", 0),
        ] {
            let expanded = expand(text, &variables);
            assert_eq!((expanded.text.as_str(), expanded.missing.len()), (want, missing), "{text}");
        }
    }
}
