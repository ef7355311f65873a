//! Changes of a document: merge patches, references to variables that survive them, and what has changed.

use crate::value::{Index, Node};

/// Merges a patch (RFC 7396): objects merge, `null` removes, anything else replaces. A list whose items all have a
/// textual `id` (an empty one, too) is merged by it; what has none is appended. A list at one of `replaced` is
/// replaced as a whole.
pub fn patch(target: &mut Node, patch: &Node, replaced: &[String]) {
    apply(target, patch, replaced, &mut String::new());
}

fn apply(target: &mut Node, patch: &Node, replaced: &[String], path: &mut String) {
    match (&mut *target, patch) {
        (Node::Object(members), Node::Object(changes)) => {
            let places: Vec<Option<usize>> = {
                let index = Index::new(members);
                changes.iter().map(|(name, _)| index.place(name)).collect()
            };
            let mut removed = Vec::new();
            for ((name, change), at) in changes.iter().zip(places) {
                let outer = path.len();
                if outer > 0 {
                    path.push('.');
                }
                path.push_str(name);
                match (change, at) {
                    (Node::Null, Some(at)) => removed.push(at),
                    (Node::Null, None) => {}
                    (change, Some(at)) => apply(&mut members[at].1, change, replaced, path),
                    (change, None) => members.push((name.clone(), without_nulls(change))),
                }
                path.truncate(outer);
            }
            removed.sort_unstable();
            let mut place = 0;
            members.retain(|_| {
                place += 1;
                removed.binary_search(&(place - 1)).is_err()
            });
        }
        (Node::List(items), Node::List(changes))
            if items.iter().all(|item| id(item).is_some()) && !replaced.contains(path) =>
        {
            for change in changes {
                let known =
                    id(change).and_then(|wanted| items.iter().position(|item| id(item) == Some(wanted)));
                match known {
                    Some(at) => apply(&mut items[at], change, replaced, path),
                    None => items.push(without_nulls(change)),
                }
            }
        }
        (target, change) => *target = without_nulls(change),
    }
}

/// In a patch an object's `null` is a removal, also where there is nothing yet.
fn without_nulls(change: &Node) -> Node {
    let Node::Object(members) = change else { return change.clone() };
    let kept = members.iter().filter(|(_, value)| *value != Node::Null);
    Node::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
}

fn id(item: &Node) -> Option<&str> {
    item.get("id").and_then(Node::as_text)
}

/// Puts references to variables back where `new` holds what they stood for: `source` is the document with them,
/// `resolved` the same without.
pub fn keep_references(new: &mut Node, source: &Node, resolved: &Node) {
    match (&mut *new, source, resolved) {
        (Node::Text(text), Node::Text(source), Node::Text(resolved)) => {
            if text == resolved && source != resolved {
                source.clone_into(text);
            }
        }
        (Node::List(items), Node::List(sources), Node::List(resolved)) => {
            for ((item, source), resolved) in items.iter_mut().zip(sources).zip(resolved) {
                keep_references(item, source, resolved);
            }
        }
        (Node::Object(members), Node::Object(sources), Node::Object(resolved)) => {
            let (sources, resolved) = (Index::new(sources), Index::new(resolved));
            for (name, value) in members {
                if let (Some(source), Some(resolved)) = (sources.get(name), resolved.get(name)) {
                    keep_references(value, source, resolved);
                }
            }
        }
        (_, _, _) => {}
    }
}

/// Dotted paths at which two documents differ; lists are compared as a whole.
pub fn changed_paths(before: &Node, after: &Node) -> Vec<String> {
    let mut paths = Vec::new();
    compare(Some(before), Some(after), &mut String::new(), &mut paths);
    paths
}

fn compare(before: Option<&Node>, after: Option<&Node>, path: &mut String, paths: &mut Vec<String>) {
    if before == after || paths.len() >= PATHS_MAX {
        return;
    }
    let is_object = |node: Option<&Node>| node.is_none_or(|node| matches!(node, Node::Object(_)));
    if !(is_object(before) && is_object(after)) || path.split('.').count() > PATH_PARTS_MAX {
        paths.push(path.clone());
        return;
    }
    let names_of = |node: Option<&'_ Node>| -> Vec<String> {
        node.and_then(Node::members).unwrap_or_default().iter().map(|(name, _)| name.clone()).collect()
    };
    let mut names = names_of(before);
    names.extend(names_of(after));
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        paths.push(path.clone());
    }
    let (before, after) = (Index::of(before), Index::of(after));
    for name in names {
        let outer = path.len();
        if outer > 0 {
            path.push('.');
        }
        path.push_str(&name);
        compare(before.get(&name), after.get(&name), path, paths);
        path.truncate(outer);
    }
}

/// More changed places than this are not told: whoever counts on them looks at the documents.
pub const PATHS_MAX: usize = 64;
/// Below this many names a place is told by what it lies in.
const PATH_PARTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn patched(target: &str, change: &str, replaced: &[&str]) -> String {
        let mut target = Node::parse(target).unwrap();
        let replaced: Vec<String> = replaced.iter().map(|path| (*path).to_owned()).collect();
        patch(&mut target, &Node::parse(change).unwrap(), &replaced);
        target.to_json()
    }

    #[test]
    fn patches_merge_as_rfc_7396_says() {
        // The examples of RFC 7396, appendix A, whose target is an object.
        for (target, change, want) in [
            ("{a:'b'}", "{a:'c'}", r#"{"a":"c"}"#),
            ("{a:'b'}", "{b:'c'}", r#"{"a":"b","b":"c"}"#),
            ("{a:'b'}", "{a:null}", "{}"),
            ("{a:'b',b:'c'}", "{a:null}", r#"{"b":"c"}"#),
            ("{a:['b']}", "{a:'c'}", r#"{"a":"c"}"#),
            ("{a:'c'}", "{a:['b']}", r#"{"a":["b"]}"#),
            ("{a:{b:'c'}}", "{a:{b:'d',c:null}}", r#"{"a":{"b":"d"}}"#),
            ("{a:[{b:'c'}]}", "{a:[1]}", r#"{"a":[1]}"#),
            ("{e:null}", "{a:1}", r#"{"e":null,"a":1}"#),
            ("{}", "{a:{bb:{ccc:null}}}", r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(patched(target, change, &[]), want, "{target} {change}");
        }
    }

    #[test]
    fn lists_of_things_with_ids_merge_by_id() {
        let target = "{l: [{id: 'a', x: 1}, {id: 'b'}]}";
        assert_eq!(
            patched(target, "{l: [{id: 'a', y: 2, x: null}, {id: 'c', z: null}, 5]}", &[]),
            r#"{"l":[{"id":"a","y":2},{"id":"b"},{"id":"c"},5]}"#
        );
        assert_eq!(patched(target, "{l: [{id: 'a'}]}", &["l"]), r#"{"l":[{"id":"a"}]}"#);
        assert_eq!(patched("{l: []}", "{l: [1]}", &[]), r#"{"l":[1]}"#);
        assert_eq!(patched("{l: [1]}", "{l: [2]}", &[]), r#"{"l":[2]}"#);
    }

    #[test]
    fn a_reference_survives_as_long_as_its_value_does() {
        let source = Node::parse("{a: '${A}', b: ['x${B}', 1], c: '${C}'}").unwrap();
        let resolved = Node::parse("{a: '1', b: ['x2', 1], c: '3'}").unwrap();
        let mut new = Node::parse("{a: '1', b: ['x2', 2], c: '4'}").unwrap();
        keep_references(&mut new, &source, &resolved);
        assert_eq!(new.to_json(), r#"{"a":"${A}","b":["x${B}",2],"c":"4"}"#);
    }

    #[test]
    fn changes_are_told_by_path() {
        let paths = |before: &str, after: &str| {
            changed_paths(&Node::parse(before).unwrap(), &Node::parse(after).unwrap()).join(" ")
        };
        assert_eq!(paths("{a: {b: 1, c: [1]}, d: 1}", "{a: {b: 2, c: [2]}, e: {f: 1}}"), "a.b a.c d e.f");
        assert_eq!(paths("{a: 1}", "{a: 1}"), "");
        assert_eq!(paths("{}", "{a: {}}"), "a");
    }
}
