//! Nobody compares a secret with `==`: it tells by its time how much of a guess was right. `Secret` cannot be compared
//! like that, as its documentation shows; where a secret is kept as text, this reads the sources of the core and of the
//! program, and finds the comparison, and the type that would derive one.

use std::fs;
use std::path::{Path, PathBuf};

/// The tests of this file, for the table.
pub(crate) const NAMES: &[&str] = &["secrets::no_secret_is_compared_with_an_operator"];

/// The one place that compares secrets.
const COMPARES: &str = "proto/src/secret.rs";

#[test]
fn no_secret_is_compared_with_an_operator() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["proto/src", "src"] {
        collect(&root.join(folder), &mut files);
    }
    let mut found = Vec::new();
    let mut read = 0;
    for file in &files {
        let name = file.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(file).unwrap();
        read += usize::from(text.contains("token"));
        if name != COMPARES {
            found.extend(faults(&text).into_iter().map(|fault| format!("{name}: {fault}")));
        }
    }
    assert!(read > 30, "these are not the sources: {read} files of {}", files.len());
    assert!(found.is_empty(), "use Secret::matches or secret::same instead:\n{}", found.join("\n"));
}

/// Shows that the search finds what it is for, and nothing else.
#[test]
fn the_search_finds_what_it_is_for() {
    let faulty = [
        "if entry.token == shown { }",
        "if shown != &self.config.auth.password { }",
        "let is_it = device.tokens[role].token.as_str() == candidate;",
        "if candidate.expose().trim() == text { }",
        "auth.token.as_deref() == Some(shown)",
        "if Some(shown) == auth.device_token.as_deref() { }",
        "let same = token.eq(&other);",
        "text.eq_ignore_ascii_case(&secret)",
        "if shown.eq(auth.password.as_ref().unwrap().trim()) { }",
        "match a.token.cmp(&b.token) { }",
        "if self.bootstrap_token\n    .as_ref()\n    == Some(&shown) { }",
        "#[derive(Clone, PartialEq)]\npub struct Held {\n    /// It.\n    pub token: String,\n    n: u8,\n}\n",
        "#[derive(Debug)]\n#[derive(Eq, PartialEq)]\nstruct Held {\n    shown: Option<Secret>,\n}\n",
    ];
    for text in faulty {
        assert_eq!(faults(text).len(), 1, "{text}: {:?}", faults(text));
    }
    let fine = [
        "if auth.mode == AuthMode::Token { }",
        "if entry.token.is_empty() == blank { }",
        "if why.provided == Provided::Password && reason != AuthReason::TokenMismatch { }",
        "// entry.token == shown\n/* a.token == b */ let text = \"token == token\";",
        "if gateway[\"auth\"][\"mode\"] == \"password\" { }",
        "let token = x == y;",
        "if device.tokens.len() == 1 { }",
        "if secret.matches(shown) == is_right { }",
        "#[derive(Clone, PartialEq)]\npub struct Means {\n    pub stored_device_token: bool,\n}\n",
        "#[derive(Clone)]\npub struct Held {\n    pub token: String,\n}\n",
        "#[cfg(test)]\nmod tests {\n    fn f() { assert!(a.token == b.token); }\n}\n",
    ];
    for text in fine {
        assert_eq!(faults(text), Vec::<String>::new(), "{text}");
    }
}

/// Sources of a folder. Tests may compare what they like.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                collect(&path, files);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            files.push(path);
        }
    }
}

/// What is wrong with a source.
fn faults(text: &str) -> Vec<String> {
    let code = blanked(text);
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    for operator in ["==", "!="] {
        for (at, _) in code.match_indices(operator) {
            let (before, after) = (operand_before(&code[..at]), operand_after(&code[at + operator.len()..]));
            if is_secret(before) || is_secret(after) {
                found.push(format!("{before} {operator} {after}"));
            }
        }
    }
    for call in ["eq", "ne", "cmp", "partial_cmp", "eq_ignore_ascii_case"] {
        for (at, dot) in code.match_indices(&format!(".{call}(")) {
            let (before, after) = (operand_before(&code[..at]), operand_after(&code[at + dot.len()..]));
            if is_secret(before) || is_secret(after) {
                found.push(format!("{before}.{call}({after})"));
            }
        }
    }
    found.extend(derives(code));
    found
}

/// Types that hold a secret as text and derive a comparison.
fn derives(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("struct ") {
        let Some(open) = code[at..].find(['{', ';', '(']).filter(|open| code[at + open..].starts_with('{'))
        else {
            continue;
        };
        let (name, body) = (&code[at..at + open], &code[at + open + 1..]);
        let body = &body[..body.find('}').unwrap_or(body.len())];
        // Attributes stand between the item before it and the name.
        let head = code[..at].rfind(['}', ';', '{']).map_or(&code[..at], |end| &code[end..at]);
        let compares = head.split("#[derive(").skip(1).any(|list| {
            let list = list.split(')').next().unwrap_or_default();
            list.split(',')
                .any(|name| matches!(name.trim(), "PartialEq" | "Eq" | "PartialOrd" | "Ord" | "Hash"))
        });
        let holds = body.split('\n').any(|line| {
            let Some((field, kind)) = line.trim().split_once(": ") else { return false };
            let field = field.rsplit(' ').next().unwrap_or_default();
            kind.contains("Secret")
                || (names_a_secret(field) && (kind.contains("String") || kind.contains("str")))
        });
        if compares && holds {
            found.push(format!("{} derives a comparison", name.trim()));
        }
    }
    found
}

/// Whether the last thing that an expression names is a secret.
fn is_secret(expression: &str) -> bool {
    let inner = expression.trim_start_matches(['&', '*', '!']);
    let inner = inner.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(inner);
    let mut parts: Vec<&str> = inner.split('.').map(str::trim).collect();
    while let Some(last) = parts.pop() {
        let name = last.split(['(', '[', '?']).next().unwrap_or_default().trim_start_matches(['&', '*']);
        let name = name.rsplit("::").next().unwrap_or_default();
        if last.contains('(') {
            if name == "expose" {
                return true;
            }
            // A view of the same text; anything else is another value.
            if !VIEWS.contains(&name) {
                return false;
            }
            continue;
        }
        return names_a_secret(name);
    }
    false
}

fn names_a_secret(name: &str) -> bool {
    ["token", "password", "secret"]
        .iter()
        .any(|word| name.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with('_')))
}

const VIEWS: [&str; 14] = [
    "as_str",
    "as_bytes",
    "as_ref",
    "as_deref",
    "trim",
    "clone",
    "cloned",
    "unwrap",
    "unwrap_or_default",
    "to_owned",
    "borrow",
    "as_slice",
    "to_string",
    "deref",
];

/// The expression that ends here: names, fields, calls and indices.
fn operand_before(code: &str) -> &str {
    let code = code.trim_end();
    let bytes = code.as_bytes();
    let mut at = bytes.len();
    let mut depth = 0_usize;
    while at > 0 {
        let byte = bytes[at - 1];
        match byte {
            b')' | b']' => depth += 1,
            b'(' | b'[' if depth == 0 => break,
            b'(' | b'[' => depth -= 1,
            // A chain goes on over the lines that begin with a dot.
            b' ' | b'\n' if depth == 0 => {
                let (behind, before) = (bytes.get(at), code[..at].trim_end());
                if behind != Some(&b'.') {
                    break;
                }
                at = before.len();
                continue;
            }
            _ if depth > 0 || is_part(byte) => {}
            _ => break,
        }
        at -= 1;
    }
    &code[at..]
}

/// The expression that begins here.
fn operand_after(code: &str) -> &str {
    let code = code.trim_start();
    let bytes = code.as_bytes();
    let mut at = 0;
    let mut depth = 0_usize;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' if depth == 0 => break,
            b')' | b']' => depth -= 1,
            b'\n' if depth == 0 && code[at..].trim_start().starts_with('.') => {}
            b' ' if depth == 0 && code[at..].trim_start().starts_with('.') => {}
            _ if depth > 0 || is_part(byte) => {}
            _ => break,
        }
        at += 1;
    }
    &code[..at]
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'&' | b'*' | b'?' | b'!')
}

/// The source with comments and what stands in quotes made blank; every byte stays in its place.
fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = if bytes[at..].starts_with(b"//") {
            at + text[at..].find('\n').unwrap_or(text.len() - at)
        } else if bytes[at..].starts_with(b"/*") {
            at + text[at..].find("*/").map_or(text.len() - at, |end| end + 2)
        } else if bytes[at] == b'"' {
            end_of_quote(bytes, at)
        } else if bytes[at..].starts_with(b"r#\"") {
            at + text[at..].find("\"#").map_or(text.len() - at, |end| end + 2)
        } else if bytes[at] == b'\'' && is_character(bytes, at) {
            at + 2 + bytes[at + 2..].iter().position(|byte| *byte == b'\'').map_or(0, |end| end + 1)
        } else {
            at += 1;
            continue;
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).unwrap()
}

fn end_of_quote(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Whether this quote opens a character, and not a lifetime.
fn is_character(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at + 1) {
        Some(b'\\') => true,
        Some(byte) if byte.is_ascii() => bytes.get(at + 2) == Some(&b'\''),
        Some(_) => true,
        None => false,
    }
}
