//! Secrets out of what is shown, and back into what is sent back.
//!
//! A value is a secret because the table says so, or because its name looks like one where the table says nothing, or
//! because there is an address with a credential in it: before the host, or as a parameter. References to variables are
//! no secrets and stay.

use crate::schema::{Key, Kind, Schema};
use crate::shown::Values;
use crate::validate::is_reference;
use crate::value::{Index, Node};

/// What stands where a secret was.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// Cuts every secret out of a document. Gives whether there was one.
pub fn redact(schema: &Schema, root: &mut Node) -> bool {
    let mut found = false;
    visit(Some(schema.root()), false, root, &mut |value| {
        *value = Node::Text(REDACTED.to_owned());
        found = true;
    });
    found
}

/// Whether the value at a path of names is a secret, or holds one.
pub fn is_secret_at(schema: &Schema, path: &[&str], value: &Node) -> bool {
    let mut whole = value.clone();
    for name in path.iter().rev() {
        whole = Node::Object(vec![((*name).to_owned(), whole)]);
    }
    redact(schema, &mut whole)
}

/// Calls `each` for every text at the place of a secret, references to variables too.
pub(crate) fn each_secret_text(schema: &Schema, root: &Node, each: &mut dyn FnMut(&str)) {
    visit_texts(Some(schema.root()), false, root, each);
}

fn visit_texts(key: Option<&Key>, is_sensitive: bool, value: &Node, each: &mut dyn FnMut(&str)) {
    match value {
        Node::Text(text) => {
            if is_sensitive || has_password(text) {
                each(text);
            }
        }
        Node::List(items) => {
            for item in items {
                let place = place(key, is_sensitive, None, item);
                visit_texts(place.0, place.1, item, each);
            }
        }
        Node::Object(members) => {
            let is_reference = is_reference(value);
            for (name, value) in members {
                let place = member(key, is_sensitive, is_reference, name, value);
                visit_texts(place.0, place.1, value, each);
            }
        }
        Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Float(_) => {}
    }
}

/// Puts the stored secrets back where `new` holds the mark. `values` are those that were hidden wherever they stood.
///
/// # Errors
/// A mark for which there is no secret, or more than one could be meant; a sentence for a person.
pub fn restore(schema: &Schema, new: &mut Node, stored: &Node, values: &Values) -> Result<(), String> {
    let mut restore = Restore { path: String::new(), values };
    restore.node(Some(schema.root()), false, new, Some(stored))
}

/// Calls `hide` for every secret.
fn visit(key: Option<&Key>, is_sensitive: bool, value: &mut Node, hide: &mut dyn FnMut(&mut Node)) {
    match value {
        Node::Text(_) | Node::Integer(_) | Node::Float(_) => {
            if is_hidden(key, is_sensitive, value) {
                hide(value);
            }
        }
        Node::List(items) => {
            for item in items {
                let place = place(key, is_sensitive, None, item);
                visit(place.0, place.1, item, hide);
            }
        }
        Node::Object(_) => {
            let is_reference = is_reference(value);
            let Node::Object(members) = value else { return };
            for (name, value) in members {
                let place = member(key, is_sensitive, is_reference, name, value);
                visit(place.0, place.1, value, hide);
            }
        }
        Node::Null | Node::Bool(_) => {}
    }
}

/// Whether this single value is shown as the mark.
fn is_hidden(key: Option<&Key>, is_sensitive: bool, value: &Node) -> bool {
    match value {
        Node::Text(text) => {
            let is_reference =
                text.trim().starts_with("${") && text.trim().find('}') == Some(text.trim().len() - 1);
            !text.is_empty() && !is_reference && (is_sensitive || has_password(text))
        }
        // A number is no secret where the table wants a number.
        Node::Integer(_) | Node::Float(_) => {
            is_sensitive && key.is_none_or(|key| !matches!(key.kind, Kind::Number { .. }))
        }
        Node::Null | Node::Bool(_) | Node::List(_) | Node::Object(_) => false,
    }
}

/// What is known of a member: its line in the table, and whether it is a secret.
fn member<'k>(
    key: Option<&'k Key>,
    is_sensitive: bool,
    is_reference: bool,
    name: &str,
    value: &Node,
) -> (Option<&'k Key>, bool) {
    if is_sensitive && is_reference {
        return (None, !matches!(name, "source" | "provider"));
    }
    place(key, is_sensitive, Some(name), value)
}

fn place<'k>(
    key: Option<&'k Key>,
    is_sensitive: bool,
    name: Option<&str>,
    value: &Node,
) -> (Option<&'k Key>, bool) {
    let is_number = matches!(value, Node::Integer(_) | Node::Float(_));
    let child = key.and_then(|key| key.child(name.unwrap_or("[]")));
    match child {
        Some(child) => (Some(child), child.is_sensitive || child.kind == Kind::Secret),
        None => (None, is_sensitive || name.is_some_and(|name| looks_secret(name, is_number))),
    }
}

/// Names under which people keep secrets. A number under `maxTokens` is none.
pub(crate) fn looks_secret(name: &str, is_number: bool) -> bool {
    let flat: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let flat = flat.to_ascii_lowercase();
    if flat.ends_with("file") || flat.ends_with("path") {
        return false;
    }
    flat.ends_with("token")
        || matches!(flat.as_str(), "headers" | "authorization" | "cookie" | "serviceaccount" | "pat" | "pin")
        || SECRET_PARTS.iter().any(|part| flat.contains(part))
        || !is_number && has_secret_word(name)
}

/// `token2`, `session_token_old`, `authTokens`, `jwt`: a word of the name says so, and none says that it counts or
/// describes.
fn has_secret_word(name: &str) -> bool {
    let mut words = vec![String::new()];
    let mut before = None;
    for c in name.chars() {
        let is_same = |before: char| {
            before.is_ascii_digit() == c.is_ascii_digit()
                && (before.is_ascii_uppercase() || !c.is_ascii_uppercase())
        };
        if !before.is_none_or(is_same) || !c.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        before = Some(c).filter(char::is_ascii_alphanumeric);
        if let Some(word) = words.last_mut().filter(|_| c.is_ascii_alphanumeric()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    let is_one_of = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let is_secret = is_one_of(&SECRET_WORDS) || words.iter().any(|word| word.ends_with("tokens"));
    is_secret && !is_one_of(&OTHER_WORDS)
}

const SECRET_WORDS: [&str; 6] = ["token", "tokens", "pwd", "jwt", "bearer", "privkey"];
/// Beside a word for a secret: what counts tokens, or says where one is had and of which kind it is.
const OTHER_WORDS: [&str; 25] = [
    "max", "min", "limit", "limits", "count", "total", "budget", "per", "usage", "context", "input",
    "output", "reserve", "url", "uri", "endpoint", "type", "kind", "mode", "format", "ttl", "source", "env",
    "field", "lifetime",
];

const SECRET_PARTS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "privatekey",
    "accesskey",
    "encryptkey",
    "encryptionkey",
    "signingkey",
    "credential",
];

/// An address such as `https://user:password@host`, `https://token@host` or `wss://host/?token=secret`, anywhere in a
/// text.
fn has_password(text: &str) -> bool {
    let mut before = text;
    let mut rest = text;
    while let Some((scheme, address)) = rest.split_once("://") {
        let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`');
        let address = address.split(is_end).next().unwrap_or_default();
        if has_credential(scheme, address) {
            return true;
        }
        before = rest;
        rest = &rest[scheme.len() + 3..];
    }
    // An address may be written without its scheme, or be the end of one.
    before.split_once('?').is_some_and(|(_, query)| has_secret_parameter(query))
}

/// The part of one address behind `://`.
fn has_credential(before: &str, address: &str) -> bool {
    let (authority, rest) = address.split_at(address.find(['/', '?', '#']).unwrap_or(address.len()));
    let scheme = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '+').next().unwrap_or_default();
    // `ssh://git@host` names an account; a single word before the host of a page is a token.
    let is_page = ["http", "https", "ws", "wss"].iter().any(|page| scheme.eq_ignore_ascii_case(page));
    let is_credential = |user: &str| user.contains(':') || is_page && !user.is_empty();
    authority.rsplit_once('@').is_some_and(|(user, _)| is_credential(user))
        || rest.split(['?', '#']).skip(1).any(has_secret_parameter)
}

/// `a=1&token=x`: whether a parameter with a secret's name has a value.
fn has_secret_parameter(query: &str) -> bool {
    query.split(['&', ';', '?', '#']).any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let is_short = PARAMETERS.iter().any(|short| name.eq_ignore_ascii_case(short));
        let is_name = !name.contains(char::is_whitespace);
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        !value.is_empty() && is_name && (is_short || looks_secret(name, is_number))
    })
}

/// Names under which secrets stand in addresses, beside those of members.
const PARAMETERS: [&str; 8] = ["key", "sig", "signature", "auth", "code", "pass", "pwd", "jwt"];

struct Restore<'a> {
    path: String,
    values: &'a Values,
}

impl Restore<'_> {
    fn node(
        &mut self,
        key: Option<&Key>,
        is_sensitive: bool,
        new: &mut Node,
        stored: Option<&Node>,
    ) -> Result<(), String> {
        match new {
            Node::Text(text) if text.contains(REDACTED) && text != REDACTED => Err(self.no_secret()),
            Node::Text(text) if text == REDACTED => {
                // What was shown as the mark is what comes back. A reference to a variable stays one: it was shown
                // as the mark where its value was.
                let was_shown = |stored: &Node| {
                    is_hidden(key, is_sensitive, stored)
                        || is_sensitive && matches!(stored, Node::Text(text) if !text.is_empty())
                        || matches!(stored, Node::Text(text) if text.contains("${") || self.values.are_in(text))
                };
                match stored.filter(|stored| was_shown(stored)) {
                    Some(stored) => *new = stored.clone(),
                    None => return Err(self.no_secret()),
                }
                Ok(())
            }
            Node::Object(members) => {
                let is_reference = stored.is_some_and(is_reference);
                let stored = Index::of(stored);
                for (name, value) in members {
                    if name == REDACTED {
                        return Err(self.no_secret());
                    }
                    let place = member(key, is_sensitive, is_reference, name, value);
                    let below = stored.get(name);
                    self.inside(name, |restore| restore.node(place.0, place.1, value, below))?;
                }
                Ok(())
            }
            Node::List(items) if items.iter().any(has_mark) => {
                let stored: &[Node] = if let Some(Node::List(stored)) = stored { stored } else { &[] };
                let place = place(key, is_sensitive, None, &Node::Null);
                let shown: Vec<Node> = stored
                    .iter()
                    .map(|item| {
                        let mut item = item.clone();
                        visit(place.0, place.1, &mut item, &mut |value| {
                            *value = Node::Text(REDACTED.to_owned())
                        });
                        self.values.hide(&mut item);
                        item
                    })
                    .collect();
                let partners = partners(items, stored, &shown);
                for (index, item) in items.iter_mut().enumerate().filter(|(_, item)| has_mark(item)) {
                    let partner = partners.get(index).copied().flatten();
                    self.inside(&index.to_string(), |restore| match partner {
                        Some(partner) => restore.node(place.0, place.1, item, stored.get(partner)),
                        None if stored.is_empty() => Err(restore.no_secret()),
                        None => Err(format!(
                            "it is not clear which stored secret \"{REDACTED}\" in key {} stands for; send the \
                             secret itself, or give the items of this list an \"id\"",
                            restore.path
                        )),
                    })?;
                }
                Ok(())
            }
            Node::Null
            | Node::Bool(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Text(_)
            | Node::List(_) => Ok(()),
        }
    }

    fn no_secret(&self) -> String {
        format!("Sentinel value \"{REDACTED}\" in key {} is not valid as real data", self.path)
    }

    fn inside<T>(&mut self, name: &str, look: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.path.len();
        if outer > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let result = look(self);
        self.path.truncate(outer);
        result
    }
}

/// Whether `item` may be what was shown of a stored item: a reference to a variable was shown as it is written, as what
/// it stands for, or as the mark.
fn is_alike(shown: &Node, item: &Node) -> bool {
    match (shown, item) {
        (Node::Text(shown), Node::Text(item)) => shown == item || shown.contains("${"),
        (Node::List(shown), Node::List(items)) => {
            shown.len() == items.len() && shown.iter().zip(items).all(|(shown, item)| is_alike(shown, item))
        }
        (Node::Object(shown), Node::Object(members)) => {
            let known = Index::new(members);
            shown.len() == members.len()
                && shown.iter().all(|(name, shown)| known.get(name).is_some_and(|item| is_alike(shown, item)))
        }
        (_, _) => shown == item,
    }
}

/// Which stored item each new one is, where that is beyond doubt: the same `id`, or the same in everything that was
/// shown. When all others stand at their places, the one that is left is at its own, unless its `id` is another.
fn partners(items: &[Node], stored: &[Node], shown: &[Node]) -> Vec<Option<usize>> {
    let id = |item: &Node| item.get("id").and_then(Node::as_text).map(str::to_owned);
    let stands = |index: usize| shown.get(index).is_some_and(|shown| is_alike(shown, &items[index]));
    let moved: Vec<usize> = (0..items.len()).filter(|index| !stands(*index)).take(2).collect();
    let is_one_edited = items.len() == stored.len()
        && moved.len() <= 1
        && moved.iter().all(|index| items[*index].get("id") == stored[*index].get("id"));
    let only = |mut found: Vec<usize>| if found.len() == 1 { found.pop() } else { None };
    let mut partners = Vec::with_capacity(items.len().min(LIST_MAX));
    for (index, item) in items.iter().enumerate().take(LIST_MAX) {
        let partner = if is_one_edited {
            Some(index)
        } else if let Some(wanted) = id(item) {
            only(
                (0..stored.len())
                    .filter(|at| id(&stored[*at]).as_deref() == Some(&*wanted))
                    .take(2)
                    .collect(),
            )
        } else if has_mark(item) {
            only((0..shown.len()).filter(|at| is_alike(&shown[*at], item)).take(2).collect())
        } else {
            None
        };
        partners.push(partner);
    }
    partners
}

fn has_mark(node: &Node) -> bool {
    match node {
        Node::Text(text) => text.contains(REDACTED),
        Node::List(items) => items.iter().any(has_mark),
        Node::Object(members) => members.iter().any(|(name, value)| name == REDACTED || has_mark(value)),
        Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Float(_) => false,
    }
}

/// In longer lists items with secrets are not looked for: that takes the square of their number.
const LIST_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn shown(text: &str) -> Node {
        let mut node = Node::parse(text).unwrap();
        redact(&Schema::load(), &mut node);
        node
    }

    fn back(new: &str, stored: &str) -> Result<String, String> {
        let mut new = Node::parse(new).unwrap();
        restore(&Schema::load(), &mut new, &Node::parse(stored).unwrap(), &Values::default())?;
        Ok(new.to_json())
    }

    const FULL: &str = "{gateway: {port: 5, auth: {token: 'S1', password: '${P}'}, remote: {url: 'wss://u:S2@h/'}}, \
        env: {vars: {K: 'S3'}, MORE: 'S4', shellEnv: {enabled: true}}, secrets: {providers: {a: {source: 'env'}}}, \
        channels: {x: {botToken: 'S5', password: 5017, accounts: {b: {apiKey: {source: 'file', provider: 'p', id: 'S6'}}}}, \
        y: {serviceAccount: {private_key: 'S7', list: ['S8']}, maxTokens: 17, tokenFile: '/t'}}, \
        models: {providers: {p: {headers: {'X-K': 'S9'}}}}, plain: 'text'}";

    #[test]
    fn every_secret_is_cut_out_and_nothing_else() {
        let shown = shown(FULL).to_json();
        for n in 1..=9 {
            assert!(!shown.contains(&format!("S{n}")), "S{n} in {shown}");
        }
        assert!(!shown.contains("5017"), "{shown}");
        for kept in [
            "${P}",
            "\"port\":5",
            "\"maxTokens\":17",
            "/t",
            "\"source\":\"file\"",
            "\"provider\":\"p\"",
            "text",
        ] {
            assert!(shown.contains(kept), "{kept} not in {shown}");
        }
    }

    #[test]
    fn what_is_sent_back_unchanged_is_what_was_stored() {
        let schema = Schema::load();
        let stored = Node::parse(FULL).unwrap();
        let mut new = shown(FULL);
        restore(&schema, &mut new, &stored, &Values::default()).unwrap();
        assert_eq!(new.to_json(), stored.to_json());
    }

    #[test]
    fn a_mark_without_a_secret_is_refused() {
        for new in [
            "{gateway: {auth: {token: '__OPENCLAW_REDACTED__'}}}",
            "{gateway: {mode: '__OPENCLAW_REDACTED__'}}",
            "{channels: {a: [{token: '__OPENCLAW_REDACTED__'}]}}",
            "{__OPENCLAW_REDACTED__: 1}",
            "{gateway: {auth: {token: ' __OPENCLAW_REDACTED__ '}}}",
            "{channels: {a: ['x__OPENCLAW_REDACTED__']}}",
        ] {
            let fault = back(new, "{gateway: {mode: 'local'}}").unwrap_err();
            assert!(fault.starts_with("Sentinel value \"__OPENCLAW_REDACTED__\" in key "), "{fault}");
        }
    }

    #[test]
    fn list_items_are_matched_by_id_by_likeness_or_not_at_all() {
        let m = REDACTED;
        let stored = "{channels: {l: [{id: 'a', token: '1'}, {id: 'b', token: '2'}]}}";
        let swapped = format!("{{channels: {{l: [{{id: 'b', token: '{m}'}}, {{id: 'a', token: '{m}'}}]}}}}");
        assert_eq!(
            back(&swapped, stored).unwrap(),
            r#"{"channels":{"l":[{"id":"b","token":"2"},{"id":"a","token":"1"}]}}"#
        );
        let stored = "{channels: {l: [{n: 1, token: 'x'}, {n: 2, token: 'y'}]}}";
        let fewer = format!("{{channels: {{l: [{{n: 2, token: '{m}'}}]}}}}");
        assert_eq!(back(&fewer, stored).unwrap(), r#"{"channels":{"l":[{"n":2,"token":"y"}]}}"#);
        let edited = format!("{{channels: {{l: [{{n: 9, token: '{m}'}}, {{n: 2, token: '{m}'}}]}}}}");
        assert_eq!(
            back(&edited, stored).unwrap(),
            r#"{"channels":{"l":[{"n":9,"token":"x"},{"n":2,"token":"y"}]}}"#
        );
        let unclear = format!("{{channels: {{l: [{{n: 8, token: '{m}'}}, {{n: 9, token: '{m}'}}]}}}}");
        assert!(back(&unclear, stored).unwrap_err().contains("not clear which"));
    }

    #[test]
    fn a_mark_in_a_list_never_gets_the_secret_of_another_item() {
        let m = REDACTED;
        let keys = |items: &str| format!("{{channels: {{apiKeys: [{items}]}}}}");
        // Both were shown as the mark where references are resolved; one was taken out, or replaced.
        let stored = keys("'${A}', 'S1'");
        let fewer = keys(&format!("'{m}'"));
        assert!(back(&fewer, &stored).unwrap_err().contains("not clear which"));
        let replaced = keys(&format!("'{m}', 'new'"));
        assert_eq!(back(&replaced, &stored).unwrap(), r#"{"channels":{"apiKeys":["${A}","new"]}}"#);
        let both = keys(&format!("'{m}', '{m}'"));
        assert_eq!(back(&both, &stored).unwrap(), r#"{"channels":{"apiKeys":["${A}","S1"]}}"#);
        // Another id is another item, wherever it stands.
        let list = |items: &str| format!("{{channels: {{l: [{items}]}}}}");
        let stored = list("{id: 'a', token: '1'}, {id: 'b', token: '2'}");
        let new = list(&format!("{{id: 'a', token: '{m}'}}, {{id: 'c', token: '{m}'}}"));
        assert!(back(&new, &stored).unwrap_err().contains("not clear which"));
        let (stored_number, number) =
            (list("{id: 1, token: '1'}"), list(&format!("{{id: 2, token: '{m}'}}")));
        assert!(back(&number, &stored_number).unwrap_err().contains("not clear which"));
        let named = list(&format!("{{id: 'a', token: '{m}'}}, {{token: '{m}'}}"));
        assert!(back(&named, &stored).unwrap_err().contains("not clear which"));
    }

    #[test]
    fn a_reference_with_more_in_it_than_a_reference_hides_that() {
        let shown = shown(
            "{channels: {x: {token: {source: 'env', provider: 'p', id: 'i', value: 'S1', token: 'S2'}}}}",
        );
        let shown = shown.to_json();
        assert!(!shown.contains("S1") && !shown.contains("S2"), "{shown}");
    }

    #[test]
    fn names_of_keys_that_encrypt_or_sign_are_secret_too() {
        let shown =
            shown("{channels: {x: {encryptKey: 'S1', signingKey: 'S2', passwd: 'S3', publicKey: 'p'}}}")
                .to_json();
        assert!(!["S1", "S2", "S3"].iter().any(|secret| shown.contains(secret)), "{shown}");
        assert!(shown.contains("\"p\""), "{shown}");
    }

    #[test]
    fn names_with_a_word_for_a_secret_in_them_are_secret_and_counters_are_not() {
        for name in [
            "token2",
            "token_v1",
            "session_token_old",
            "tokenList",
            "authTokens",
            "bottokens",
            "refreshTokens",
            "pwd",
            "dbPwd",
            "jwt",
            "bearer",
            "privkey",
            "pin",
        ] {
            for value in ["'S1'", "['S1']", "{a: 'S1'}", "[{v: 'S1'}]"] {
                let shown = shown(&format!("{{channels: {{x: {{{name}: {value}}}}}}}")).to_json();
                assert!(!shown.contains("S1"), "{name}: {shown}");
            }
        }
        for (name, value) in [
            ("maxTokens", "17"),
            ("tokens", "17"),
            ("maxTokens", "\"many\""),
            ("tokensPerMinute", "17"),
            ("token_url", "\"https://h/\""),
            ("tokenType", "\"x\""),
            ("pinned", "\"x\""),
            ("tokenizer", "\"x\""),
        ] {
            let shown = shown(&format!("{{channels: {{x: {{{name}: {value}}}}}}}")).to_json();
            assert!(shown.contains(&format!("\"{name}\":{value}")), "{name}: {shown}");
        }
    }

    #[test]
    fn addresses_with_a_credential_are_cut_out_whole_and_come_back() {
        for secret in [
            "https://user:S1@host/",
            "postgres://u:S1@db:5432/x",
            "https://S1@host/x",
            "wss://host/?token=S1",
            "https://h/p?a=1&access_token=S1#x",
            "https://h/p#token=S1",
            "https://h/p?key=S1",
            "HTTPS://h/?API_KEY=S1",
            "see http://a/ and http://u:S1@b/ too",
            "/hook?secret=S1",
            "https://a/x?next=http://b/?token=S1",
        ] {
            let document = format!("{{channels: {{x: {{address: \"{secret}\"}}}}}}");
            let hidden = shown(&document);
            assert!(!hidden.to_json().contains("S1"), "{secret}");
            let schema = Schema::load();
            let (mut new, stored) = (hidden, Node::parse(&document).unwrap());
            restore(&schema, &mut new, &stored, &Values::default()).unwrap();
            assert_eq!(new.to_json(), stored.to_json());
        }
        for plain in [
            "https://host/a@b",
            "https://host:8443/x?page=2&maxTokens=5",
            "ssh://git@host/repo",
            "https://host/?token=",
            "is it true? token = maybe",
            "mail me: me@host",
            "https://h/?tokens_max",
        ] {
            let document = format!("{{channels: {{x: {{address: \"{plain}\"}}}}}}");
            assert!(shown(&document).to_json().contains(plain), "{plain}");
        }
    }

    #[test]
    fn one_value_is_judged_by_its_path() {
        let schema = Schema::load();
        let text = |text: &str| Node::Text(text.to_owned());
        assert!(is_secret_at(&schema, &["gateway", "auth", "token"], &text("x")));
        assert!(!is_secret_at(&schema, &["gateway", "auth", "mode"], &text("token")));
    }
}
