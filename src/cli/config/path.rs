//! Paths into the configuration file as people write them, and the lists that they go through.

use super::super::{Failure, render};
use clawgate_config::Node;
use clawgate_config::schema::{Kind, Schema};

/// Puts an empty list wherever the path goes through one that is not there: `agents.list[0]` of a file without agents is
/// its first. Without brackets a number may be a name as well; then what the file may say there decides.
pub(super) fn make_lists(new: &mut Node, path: &str, schema: &Schema) -> Result<(), Failure> {
    let parts = parts(path)?;
    let names: Vec<&str> = parts.iter().map(|part| part.0).collect();
    for (end, (_, is_in_brackets)) in parts.iter().enumerate().skip(1) {
        let place = names.get(..end).unwrap_or_default();
        let is_list = match schema.find(place).map(|key| &key.kind) {
            Some(Kind::List) => true,
            Some(Kind::Object(_)) => false,
            Some(_) | None => *is_in_brackets,
        };
        if is_list && new.at(place).is_none_or(|there| *there == Node::Null) {
            let list = Node::List(Vec::new());
            new.put(place, list)
                .map_err(|part| no_such_item(new, path, place.get(..part).unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// There is a list at `place`, and the path goes on with no item of it and not with the next one either.
pub(super) fn no_such_item(new: &Node, path: &str, place: &[&str]) -> Failure {
    let there = match new.at(place) {
        Some(Node::List(items)) => items.len(),
        Some(_) | None => 0,
    };
    let place = place.join(".");
    Failure::Failed(format!(
        "{path} cannot be set: {place} is a list of {there}, numbered from 0; the next one to add is {place}[{there}]"
    ))
}

/// `a.b[0].c` and `a.b.0.c` are the same.
pub(super) fn names(path: &str) -> Result<Vec<&str>, Failure> {
    Ok(parts(path)?.into_iter().map(|part| part.0).collect())
}

/// The names of a path, and whether each stands in brackets.
fn parts(path: &str) -> Result<Vec<(&str, bool)>, Failure> {
    if let Some((before, _)) = path.split_once('=') {
        // What follows may be a secret.
        return Err(Failure::Usage(format!(
            "{} and its value stand apart: clawgate config set PATH VALUE",
            render::clean(before.trim())
        )));
    }
    let mut names = Vec::new();
    let is_name = |name: &&str| !name.is_empty();
    for part in path.split('.') {
        let mut pieces = part.split('[');
        let first = pieces.next().unwrap_or_default();
        let mut rest = Vec::new();
        for piece in pieces {
            rest.push((piece.strip_suffix(']').filter(is_name).ok_or_else(|| no_path(path))?, true));
        }
        if !first.is_empty() {
            names.push((first, false));
        } else if rest.is_empty() {
            return Err(no_path(path));
        }
        names.extend(rest);
    }
    Ok(names)
}

fn no_path(path: &str) -> Failure {
    Failure::Usage(format!("{path:?} is no path; one looks like gateway.auth.mode or agents.list[0].id"))
}
