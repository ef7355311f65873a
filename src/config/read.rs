//! Reading typed values out of a [`Node`]: what is wrong is gathered, each fault with the path, what was found
//! and what is allowed. A text is never quoted unless it is a word, and no secret stands beside its setting.

use super::value::Node;
use crate::environment::Environment;
pub use clawgate_config::expand::Expanded;
use clawgate_config::validate::shown_text;

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

impl<'a> Reader<'a> {
    /// Begins at the root of a file.
    pub fn new(root: &'a Node, environment: &'a Environment) -> Self {
        Self { root, environment, faults: Vec::new(), warnings: Vec::new() }
    }

    /// The whole document.
    pub fn root(&self) -> &'a Node {
        self.root
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
            let found = shown_text(&text, BESIDE_SECRETS.iter().any(|place| path.starts_with(place)));
            self.fault(path, &found, &format!("one of {}", allowed.join(", ")));
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

/// Replaces `${NAME}` by the variables of an environment.
pub fn expand(text: &str, environment: &Environment) -> Expanded {
    clawgate_config::expand::expand(text, &|name| environment.get(name).map(str::to_owned))
}

/// Settings with a secret among them.
const BESIDE_SECRETS: [&str; 2] = ["gateway.auth.", "gateway.remote."];
/// Beyond this a double no longer names one whole number.
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;
