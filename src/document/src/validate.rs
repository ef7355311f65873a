//! The table against a document. A fault says where, what was found, what is allowed, and what was probably meant. People
//! paste secrets into the wrong line, so a text is repeated only where it looks like a word that was mistyped, and never
//! beside a setting that holds a secret.

use crate::schema::{Key, Kind, Others, Schema};
use crate::value::Node;
use clawgate_proto::host::config::Issue;
use std::net::Ipv4Addr;

/// Checks a document from which references to variables are gone.
pub fn validate(schema: &Schema, root: &Node) -> Vec<Issue> {
    let mut walk = Walk { path: String::new(), is_beside_secret: false, issues: Vec::new() };
    if let Node::Object(_) = root {
        walk.key(schema.root(), root);
        walk.tailscale(root);
    } else {
        walk.issue(&format!("the file holds {}, expected an object", root.kind()), Vec::new());
    }
    walk.issues
}

/// Keys that earlier releases had, with what to use. They are no faults: they are ignored, and said.
pub fn legacy(root: &Node) -> Vec<Issue> {
    let found = |(path, message): &(&str, &str)| {
        let names: Vec<&str> = path.split('.').collect();
        root.at(&names)?;
        Some(Issue { path: (*path).to_owned(), message: (*message).to_owned(), allowed: Vec::new() })
    };
    LEGACY.iter().filter_map(found).collect()
}

struct Walk {
    path: String,
    /// Whether one of the settings at this place is a secret.
    is_beside_secret: bool,
    issues: Vec<Issue>,
}

impl Walk {
    fn key(&mut self, key: &Key, value: &Node) {
        if self.issues.len() >= ISSUES_MAX {
            return;
        }
        match (&key.kind, value) {
            (Kind::Object(others), Node::Object(members)) => self.object(key, *others, members),
            (Kind::List, Node::List(items)) => {
                if let Some(item) = key.child("[]") {
                    for (index, value) in items.iter().enumerate() {
                        self.inside(&index.to_string(), |walk| walk.key(item, value));
                    }
                }
            }
            (kind, value) => {
                if !fits(kind, value) {
                    self.misfit(kind, value);
                }
            }
        }
    }

    fn object(&mut self, key: &Key, others: Others, members: &[(String, Node)]) {
        let outer = self.is_beside_secret;
        self.is_beside_secret = key.children.iter().any(|key| key.is_sensitive || key.kind == Kind::Secret);
        self.members(key, others, members);
        self.is_beside_secret = outer;
    }

    fn members(&mut self, key: &Key, others: Others, members: &[(String, Node)]) {
        for (name, value) in members {
            if self.path.is_empty() && LEGACY.iter().any(|(path, _)| path == name)
                || LEGACY.iter().any(|(path, _)| *path == format!("{}.{name}", self.path))
            {
                continue;
            }
            match key.child(name) {
                Some(child) => self.inside(name, |walk| walk.key(child, value)),
                None if others == Others::Untouched => {}
                None => {
                    let shown = format!("Unrecognized key: {}", shown_name(name, self.is_beside_secret));
                    let hint = suggestion(name, key.children.iter().map(|key| key.name));
                    let hint = hint.map(|hint| format!("; did you mean \"{hint}\"?")).unwrap_or_default();
                    self.issue(&(shown + &hint), Vec::new());
                }
            }
        }
        for child in key.children.iter().filter(|child| child.is_required) {
            if !members.iter().any(|(name, _)| name == child.name) {
                let message = format!("nothing found, expected {}", wanted(&child.kind));
                self.inside(child.name, |walk| walk.issue(&message, Vec::new()));
            }
        }
    }

    /// The one rule of the reference's file between two settings: what Tailscale serves is on loopback. It says so of the
    /// file, whatever a command line would have it listen on.
    fn tailscale(&mut self, root: &Node) {
        let text = |path: &[&str]| root.at(path).and_then(Node::as_text);
        let Some(mode @ ("serve" | "funnel")) = text(&["gateway", "tailscale", "mode"]) else { return };
        let is_loopback = match text(&["gateway", "bind"]) {
            None | Some("loopback") => true,
            Some("custom") => {
                let host = text(&["gateway", "customBindHost"]).map(|host| host.trim().parse::<Ipv4Addr>());
                host.is_some_and(|host| host.is_ok_and(|host| host.is_loopback()))
            }
            Some(_) => false,
        };
        if !is_loopback {
            self.inside("gateway.bind", |walk| {
                let message = format!(
                    "gateway.bind must resolve to loopback when gateway.tailscale.mode={mode} (use gateway.bind=\"loopback\" \
                     or gateway.bind=\"custom\" with gateway.customBindHost=\"127.0.0.1\")"
                );
                walk.issue(&message, Vec::new());
            });
        }
    }

    fn misfit(&mut self, kind: &Kind, value: &Node) {
        let found = match (kind, value) {
            (Kind::Number { .. }, Node::Integer(_) | Node::Float(_)) => value.to_json(),
            (Kind::OneOf(_), Node::Text(text)) => shown_text(text, self.is_beside_secret),
            (Kind::Text { .. }, Node::Text(text)) => format!("a text of {} characters", text.chars().count()),
            (_, value) => value.kind().to_owned(),
        };
        let mut message = format!("found {found}, expected {}", wanted(kind));
        let mut allowed = Vec::new();
        if let Kind::OneOf(choices) = kind {
            allowed = choices.iter().map(|choice| (*choice).to_owned()).collect();
            let text = value.as_text().filter(|_| !self.is_beside_secret);
            if let Some(hint) = text.and_then(|text| suggestion(text, choices.iter().copied())) {
                message.push_str(&format!("; did you mean \"{hint}\"?"));
            }
        }
        self.issue(&message, allowed);
    }

    fn inside(&mut self, name: &str, look: impl FnOnce(&mut Self)) {
        let outer = self.path.len();
        if outer > 0 {
            self.path.push('.');
        }
        self.path.push_str(cut(name));
        look(self);
        self.path.truncate(outer);
    }

    fn issue(&mut self, message: &str, allowed: Vec<String>) {
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(Issue { path: self.path.clone(), message: message.to_owned(), allowed });
        }
    }
}

fn fits(kind: &Kind, value: &Node) -> bool {
    match (kind, value) {
        (Kind::Any, _) => true,
        (Kind::Object(_), Node::Object(_)) | (Kind::List, Node::List(_)) | (Kind::Bool, Node::Bool(_)) => {
            true
        }
        (Kind::False, Node::Bool(value)) => !value,
        (Kind::Secret, Node::Text(_)) => true,
        (Kind::Secret, Node::Object(_)) => is_reference(value),
        (Kind::Color, Node::Text(text)) => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit())
        }
        (Kind::OneOf(choices), Node::Text(text)) => choices.contains(&text.as_str()),
        (Kind::Text { min, max }, Node::Text(text)) => {
            let length = text.chars().count();
            length >= *min && max.is_none_or(|max| length <= max)
        }
        (Kind::Number { is_whole, min, is_positive, max }, Node::Integer(_) | Node::Float(_)) => {
            let value = match value {
                Node::Integer(value) => *value as f64,
                Node::Float(value) => *value,
                Node::Null | Node::Bool(_) | Node::Text(_) | Node::List(_) | Node::Object(_) => return false,
            };
            value.is_finite()
                && (!is_whole || value.fract() == 0.0)
                && min.is_none_or(|min| value >= min)
                && (!is_positive || value > 0.0)
                && max.is_none_or(|max| value <= max)
        }
        (Kind::Either(kinds), value) => kinds.iter().any(|kind| fits(kind, value)),
        (
            Kind::Object(_)
            | Kind::List
            | Kind::Bool
            | Kind::False
            | Kind::Number { .. }
            | Kind::Text { .. }
            | Kind::Secret
            | Kind::Color
            | Kind::OneOf(_),
            _,
        ) => false,
    }
}

/// `{source: "env" | "file" | "exec", id}`, with `provider` or without.
pub(crate) fn is_reference(value: &Node) -> bool {
    let text_at = |name: &str| value.get(name).and_then(Node::as_text);
    matches!(text_at("source"), Some("env" | "file" | "exec")) && text_at("id").is_some()
}

/// A text that is none of those allowed, as it may be repeated: in whole only where it could be one of them mistyped.
pub fn shown_text(text: &str, is_beside_secret: bool) -> String {
    let is_word = text.len() <= WORD_BYTES_MAX && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
    if is_word && !is_beside_secret {
        format!("\"{text}\"")
    } else {
        format!("a text of {} characters", text.chars().count())
    }
}

/// The name of a setting that is not there, as it may be repeated: a secret is no name, nor is `token=secret`.
pub fn shown_name(name: &str, is_beside_secret: bool) -> String {
    let is_name = name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|b| {
            b.is_ascii_alphabetic() || b"-_.".contains(&b) || (b.is_ascii_digit() && !is_beside_secret)
        });
    if is_name { format!("\"{name}\"") } else { format!("a name of {} characters", name.chars().count()) }
}

/// What is allowed, for a sentence.
fn wanted(kind: &Kind) -> String {
    match kind {
        Kind::Object(_) => "an object".to_owned(),
        Kind::List => "a list".to_owned(),
        Kind::Any => "a value".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::False => "false".to_owned(),
        Kind::Number { is_whole, min, is_positive, max } => {
            let what = if *is_whole { "a whole number" } else { "a number" };
            match (min, is_positive, max) {
                (Some(min), _, Some(max)) => format!("{what} from {min} to {max}"),
                (Some(min), _, None) => format!("{what} of at least {min}"),
                (None, true, Some(max)) => format!("{what} above 0, up to {max}"),
                (None, true, None) => format!("{what} above 0"),
                (None, false, Some(max)) => format!("{what} of at most {max}"),
                (None, false, None) => what.to_owned(),
            }
        }
        Kind::Text { min: 0, max: None } => "a text".to_owned(),
        Kind::Text { max: Some(max), .. } => format!("a text of at most {max} characters"),
        Kind::Text { .. } => "a text that is not empty".to_owned(),
        Kind::Secret => "a text, in quotes, or {source, provider, id}".to_owned(),
        Kind::Color => "a colour such as \"#12ab9f\"".to_owned(),
        Kind::OneOf(choices) => {
            let choices: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
            if let [only] = choices.as_slice() {
                only.clone()
            } else {
                format!("one of {}", choices.join(", "))
            }
        }
        Kind::Either(kinds) => kinds.iter().map(wanted).collect::<Vec<_>>().join(" or "),
    }
}

/// The known name that is nearest to what was written, when it is near.
pub fn suggestion<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    if written.len() > NAME_BYTES_MAX {
        return None;
    }
    let near = |name: &'a str| {
        let far = distance(&written, &name.to_lowercase());
        (far <= 1 + name.len() / 5 && far < name.len() && !matches!(name, "*" | "[]")).then_some((far, name))
    };
    known.filter_map(near).min_by_key(|(far, _)| *far).map(|(_, name)| name)
}

/// Letters to insert, drop, change or swap to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

fn cut(name: &str) -> &str {
    name.char_indices().nth(NAME_BYTES_MAX).map_or(name, |(end, _)| &name[..end])
}

/// More faults than this in one file are not looked for.
const ISSUES_MAX: usize = 64;
/// Of longer names on the way to a fault only the beginning is repeated.
const NAME_BYTES_MAX: usize = 64;
/// The longest choice of the table has fewer.
const WORD_BYTES_MAX: usize = 20;
const LEGACY: [(&str, &str); 2] = [
    (
        "bridge",
        "the TCP bridge is gone: nodes connect to the gateway port over WebSocket; remove this section",
    ),
    ("gateway.token", "gateway.token is not a setting; the token belongs into gateway.auth.token"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let issues = validate(&Schema::load(), &Node::parse(text).unwrap());
        issues.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_fault_says_where_what_and_what_else() {
        for (text, want) in [
            (
                "{gateway: {port: 70000}}",
                "gateway.port: found 70000, expected a whole number from 1 to 65535",
            ),
            ("{gateway: {port: '5'}}", "gateway.port: found a text, expected a whole number from 1 to 65535"),
            (
                "{gateway: {bind: 'lann'}}",
                "gateway.bind: found \"lann\", expected one of \"loopback\", \"lan\", \"auto\", \"tailnet\", \
                 \"custom\"; did you mean \"lan\"?",
            ),
            ("{gatway: {}}", "<root>: Unrecognized key: \"gatway\"; did you mean \"gateway\"?"),
            ("{gateway: {prot: 1}}", "gateway: Unrecognized key: \"prot\"; did you mean \"port\"?"),
            ("{gateway: {auth: {zzz: 1}}}", "gateway.auth: Unrecognized key: \"zzz\""),
            (
                "{gateway: {auth: {token: 5}}}",
                "gateway.auth.token: found a number, expected a text, in quotes, or {source, provider, id}",
            ),
            (
                "{gateway: {trustedProxies: ['a', 1]}}",
                "gateway.trustedProxies.1: found a number, expected a text",
            ),
            (
                "{gateway: {auth: {trustedProxy: {}}}}",
                "gateway.auth.trustedProxy.userHeader: nothing found, expected a text that is not empty",
            ),
            ("{gateway: null}", "gateway: found null, expected an object"),
            ("{ui: {seamColor: 'red'}}", "ui.seamColor: found a text, expected a colour such as \"#12ab9f\""),
            ("{env: {A: 5}}", "env.A: found a number, expected a text"),
            ("[]", "<root>: the file holds a list, expected an object"),
        ] {
            assert_eq!(faults(text), [want], "{text}");
        }
    }

    #[test]
    fn what_tailscale_serves_is_on_loopback() {
        for (bind, is_fine) in [
            ("", true),
            ("bind: 'loopback', ", true),
            ("bind: 'custom', customBindHost: '127.0.0.1', ", true),
            ("bind: 'auto', ", false),
            ("bind: 'lan', ", false),
            ("bind: 'tailnet', ", false),
            ("bind: 'custom', ", false),
            ("bind: 'custom', customBindHost: '10.0.0.1', ", false),
        ] {
            for (mode, is_served) in [("serve", true), ("funnel", true), ("off", false)] {
                let found = faults(&format!("{{gateway: {{{bind}tailscale: {{mode: '{mode}'}}}}}}"));
                assert_eq!(found.is_empty(), is_fine || !is_served, "{bind} {mode}: {found:?}");
                let want = format!(
                    "gateway.bind: gateway.bind must resolve to loopback when gateway.tailscale.mode={mode} ("
                );
                assert!(found.iter().all(|fault| fault.starts_with(&want)), "{found:?}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_left_alone_where_the_reference_does() {
        for text in [
            "{}",
            "{channels: {telegram: {x: [1, null]}}, plugins: {a: 1}, agents: {defaults: {model: {}}, y: 1}}",
            "{gateway: {token: 'old'}, bridge: {port: 5}}",
            "{env: {vars: {A: 'x'}, B: 'y', shellEnv: {enabled: true}}, commands: {native: 'auto', text: true}}",
            "{gateway: {http: {securityHeaders: {strictTransportSecurity: false}}}}",
        ] {
            assert_eq!(faults(text), [""; 0], "{text}");
        }
        let old = legacy(&Node::parse("{gateway: {token: 'old'}, bridge: {}}").unwrap());
        assert_eq!(old.len(), 2);
    }

    #[test]
    fn no_value_of_a_secret_is_repeated_and_the_list_ends() {
        let many = format!("{{gateway: {{trustedProxies: [{}]}}}}", "1,".repeat(5_000));
        assert_eq!(faults(&many).len(), ISSUES_MAX);
        let long = format!("{{{}: 1}}", "a".repeat(10_000));
        assert!(faults(&long)[0].len() < 200);
        let fault =
            &faults("{gateway: {auth: {token: ['hunter22']}}, hooks: {enabled: 'hunter22'}}").join("\n");
        assert!(!fault.contains("hunter22"), "{fault}");
        for (text, want) in [
            (
                "{gateway: {auth: {mode: 'hunter'}}}",
                "gateway.auth.mode: found a text of 6 characters, expected one of \"none\", \"token\", \"password\", \
                 \"trusted-proxy\"",
            ),
            // Neither how near it comes to one of them.
            (
                "{gateway: {auth: {mode: 'passwort'}}}",
                "gateway.auth.mode: found a text of 8 characters, expected one of \"none\", \"token\", \"password\", \
                 \"trusted-proxy\"",
            ),
            (
                "{gateway: {remote: {transport: 'hunter'}}}",
                "gateway.remote.transport: found a text of 6 characters, expected one of \"ssh\", \"direct\"",
            ),
            (
                "{gateway: {tailscale: {mode: 'hunter22'}}}",
                "gateway.tailscale.mode: found a text of 8 characters, expected one of \"off\", \"serve\", \"funnel\"",
            ),
            ("{gateway: {auth: {hunter22: 1}}}", "gateway.auth: Unrecognized key: a name of 8 characters"),
            (
                "{gateway: {auth: {'token=hunter': 1}}}",
                "gateway.auth: Unrecognized key: a name of 12 characters",
            ),
            ("{gateway: {http2: 1}}", "gateway: Unrecognized key: \"http2\"; did you mean \"http\"?"),
        ] {
            assert_eq!(faults(text), [want], "{text}");
        }
    }
}
