//! The value that `clawgate config set` is given: JSON5, or the text itself. Where a setting is a text anyhow, such as a
//! password, what looks like a number or like `true` is a text too.

use super::super::Failure;
use super::path::names;
use clawgate_config::Node;
use clawgate_config::schema::{Kind, Schema};
use std::io::Read as _;

/// The value for the setting at `path`: given on the command line, or to be read from standard input.
///
/// # Errors
/// The path is none, the value cannot be read, or it must be JSON5 and is not.
pub(super) fn of(path: &str, given: Option<&str>, strict: bool) -> Result<Node, Failure> {
    let names = names(path)?;
    let kind = Schema::load().find(&names).map(|key| key.kind.clone());
    match given {
        Some(text) => read(text, kind.as_ref(), false, strict),
        None => {
            let mut text = String::new();
            let most = clawgate_proto::limits::CONFIG_BYTES_MAX as u64;
            std::io::stdin().lock().take(most).read_to_string(&mut text).map_err(|why| {
                Failure::Failed(format!("the value cannot be read from standard input: {why}"))
            })?;
            read(text.trim_end_matches(['\n', '\r']), kind.as_ref(), true, strict)
        }
    }
}

/// On a command line quotes around a text are JSON5's; in a file they are part of it.
fn read(text: &str, kind: Option<&Kind>, is_file: bool, strict: bool) -> Result<Node, Failure> {
    let parsed = Node::parse(text);
    if strict {
        return parsed.map_err(|why| Failure::Usage(format!("the value is not JSON5: {why}")));
    }
    let as_it_is = || Node::Text(text.to_owned());
    Ok(match (parsed, kind.is_some_and(is_text)) {
        (Err(_), _) => as_it_is(),
        (Ok(value), false) => value,
        (Ok(Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Float(_)), true) => as_it_is(),
        (Ok(Node::Text(_)), true) if is_file => as_it_is(),
        (Ok(value @ Node::Text(_)), true) => value,
        // A reference to a secret elsewhere.
        (Ok(value @ Node::Object(_)), true)
            if kind == Some(&Kind::Secret) && value.get("source").is_some() =>
        {
            value
        }
        (Ok(Node::List(_) | Node::Object(_)), true) if is_file => as_it_is(),
        (Ok(value @ (Node::List(_) | Node::Object(_))), true) => value,
    })
}

/// Whether a value of that kind is written as a text.
fn is_text(kind: &Kind) -> bool {
    match kind {
        Kind::Text { .. } | Kind::Secret | Kind::Color | Kind::OneOf(_) => true,
        Kind::Either(kinds) => kinds.iter().all(is_text),
        Kind::Object(_) | Kind::List | Kind::Any | Kind::Bool | Kind::False | Kind::Number { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn kind(path: &str) -> Kind {
        Schema::load().find(&names(path).unwrap()).unwrap().kind.clone()
    }

    #[test]
    fn a_password_is_a_text_whatever_it_looks_like() {
        let (secret, port) = (kind("gateway.auth.password"), kind("gateway.port"));
        for text in
            ["123456789012", "true", "null", "1e5", "\"quoted\"", "'quoted'", "[1]", "{a: 1}", "plain", ""]
        {
            let value = read(text, Some(&secret), true, false).unwrap();
            assert_eq!(value, Node::Text(text.to_owned()), "{text}");
        }
        for text in ["123456789012", "true", "null"] {
            assert_eq!(
                read(text, Some(&secret), false, false).unwrap(),
                Node::Text(text.to_owned()),
                "{text}"
            );
        }
        assert_eq!(read("\"quoted\"", Some(&secret), false, false).unwrap(), Node::Text("quoted".to_owned()));
        let reference = "{source: 'env', provider: 'default', id: 'X'}";
        for is_file in [true, false] {
            assert!(matches!(read(reference, Some(&secret), is_file, false).unwrap(), Node::Object(_)));
        }
        assert_eq!(read("5", Some(&port), true, false).unwrap(), Node::Integer(5));
        assert_eq!(read("[1]", None, true, false).unwrap(), Node::List(vec![Node::Integer(1)]));
        assert_eq!(read("5", Some(&secret), true, true).unwrap(), Node::Integer(5));
        assert!(read("plain", Some(&port), false, true).is_err());
    }
}
