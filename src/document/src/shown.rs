//! What else of a document must not be shown: a text that says more than its document, secrets that a variable
//! brings to a place where none is expected, and secrets in force, wherever they stand.

use crate::expand::expand;
use crate::redact::{REDACTED, looks_secret};
use crate::schema::{Key, Schema};
use crate::value::{Index, Node};
use clawgate_proto::secret::Secret;
use core::cell::Cell;

/// Secrets that are hidden by what they are: no text that contains one is shown.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<Secret>);

impl Values {
    /// Hides this one as well. What is shorter than 8 characters stands in too many texts that mean something else, and
    /// beyond 256 none is taken any more.
    pub(crate) fn add(&mut self, text: &str) {
        let Some(secret) = Secret::new(text) else { return };
        let is_long = secret.expose().chars().count() >= VALUE_CHARS_MIN;
        if is_long && self.0.len() < VALUES_MAX && !self.0.iter().any(|known| known.matches(text)) {
            self.0.push(secret);
        }
    }

    /// Whether a text contains one of them.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        text.len() >= VALUE_CHARS_MIN && self.0.iter().any(|secret| text.contains(secret.expose()))
    }

    /// Puts the mark where one stands. Gives whether there was one.
    pub(crate) fn hide(&self, node: &mut Node) -> bool {
        let mut found = false;
        match node {
            Node::Text(text) => {
                found = self.are_in(text);
                if found {
                    REDACTED.clone_into(text);
                }
            }
            Node::List(items) => items.iter_mut().for_each(|item| found |= self.hide(item)),
            Node::Object(members) => {
                members.iter_mut().for_each(|(_, value)| found |= self.hide(value));
            }
            Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Float(_) => {}
        }
        found
    }
}

/// Shorter secrets are hidden only at their places.
const VALUE_CHARS_MIN: usize = 8;
/// Each is looked for in every text.
const VALUES_MAX: usize = 256;

/// Whether the text of a document may hold what the document does not: in a comment, or in a member that a later one of
/// the same name replaced. A text with an address in it counts as one, which only costs its layout.
pub(crate) fn says_more(text: &str, document: &Node) -> bool {
    text.contains("//") || text.contains("/*") || colons(text) != members(document)
}

/// Puts the mark where a variable brought a secret: one whose name looks like that of a secret; or, where the table
/// knows of nothing that is no secret, one of the document's own. `shown` is `source` with its variables.
pub(crate) fn hide_variables(schema: &Schema, own: &[(String, String)], source: &Node, shown: &mut Node) {
    walk(own, Some(schema.root()), source, shown);
}

fn walk(own: &[(String, String)], key: Option<&Key>, source: &Node, shown: &mut Node) {
    let below = |name: &str| key.and_then(|key| key.child(name));
    match (source, &mut *shown) {
        (Node::Text(source), Node::Text(text)) => {
            let own = if key.is_none() { own } else { &[] };
            if source != text && has_secret(source, own) {
                REDACTED.clone_into(text);
            }
        }
        (Node::List(sources), Node::List(items)) => {
            sources.iter().zip(items).for_each(|(source, item)| walk(own, below("[]"), source, item));
        }
        (Node::Object(sources), Node::Object(members)) => {
            let sources = Index::new(sources);
            for (name, value) in members {
                if let Some(source) = sources.get(name) {
                    walk(own, below(name), source, value);
                }
            }
        }
        (_, _) => {}
    }
}

fn has_secret(source: &str, own: &[(String, String)]) -> bool {
    let found = Cell::new(false);
    let look = |name: &str| {
        if looks_secret(name, false) || own.iter().any(|(have, _)| have == name) {
            found.set(true);
        }
        None
    };
    expand(source, &look);
    found.get()
}

/// Colons outside of strings: one for each member that is written, where there are no comments.
fn colons(text: &str) -> usize {
    let (mut bytes, mut count) = (text.bytes(), 0);
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => count += 1,
            b'"' | b'\'' => {
                while let Some(inner) = bytes.next() {
                    if inner == b'\\' {
                        bytes.next();
                    } else if inner == byte {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    count
}

fn members(node: &Node) -> usize {
    match node {
        Node::Object(all) => all.iter().map(|(_, value)| 1 + members(value)).sum(),
        Node::List(items) => items.iter().map(members).sum(),
        Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Float(_) | Node::Text(_) => 0,
    }
}
