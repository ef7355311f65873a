//! What else of a document must not be shown: a text that says more than its document, and secrets that a variable
//! brings to a place where none is expected.

use crate::expand::expand;
use crate::redact::{REDACTED, looks_secret};
use crate::schema::{Key, Schema};
use crate::value::{Index, Node};
use core::cell::Cell;

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
