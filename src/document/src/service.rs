//! The `config.*` methods on a text: what is shown of it, and what it becomes. Whoever calls reads the text and, when
//! there is a new one, makes it durable before anybody is told.

use crate::describe;
use crate::expand::{Variables, expand, expand_all};
use crate::include::{self, Files};
use crate::merge;
use crate::redact;
use crate::schema::Schema;
use crate::shown::{self, Values};
use crate::validate;
use crate::value::{Index, Node, ParseFault};
use bytes::Bytes;
use clawgate_proto::host::config::{ConfigFault, ConfigSnapshot, ConfigWrite, Issue};
pub use clawgate_proto::limits::CONFIG_BYTES_MAX;
use clawgate_proto::secret::Secret;
use sha2::{Digest as _, Sha256};

/// What surrounds a document.
pub struct Context<'a> {
    /// The file's path, for people.
    pub path: &'a str,
    /// Opens included files.
    pub files: &'a dyn Files,
    /// Variables of the process.
    pub variables: Variables<'a>,
    /// The time, as RFC 3339 writes it.
    pub now: &'a str,
    /// Secrets in force, wherever they come from: no text that contains one is shown.
    pub secrets: &'a [Secret],
}

impl core::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Context").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A document with everything that is known of it. A document with faults is kept as far as it could be read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Whether there is a file.
    pub exists: bool,
    /// As it is written.
    pub written: Node,
    /// With its included files.
    pub source: Node,
    /// With its variables.
    pub resolved: Node,
    /// Included files.
    pub included: Vec<String>,
    /// What must be mended.
    pub issues: Vec<Issue>,
    /// What should be known.
    pub warnings: Vec<Issue>,
    /// Settings of earlier releases.
    pub legacy: Vec<Issue>,
    /// Secrets that are shown in no text.
    pub secrets: Values,
}

/// What a change makes of a document. `Debug` shows no content.
#[derive(Clone)]
pub struct Edited {
    /// The new text.
    pub text: String,
    /// The new document.
    pub loaded: Loaded,
    /// Dotted paths at which the resolved document differs.
    pub changed: Vec<String>,
}

impl core::fmt::Debug for Edited {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Edited").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

/// How a change is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `config.set`, `config.apply`: in place of what is there.
    Replace,
    /// `config.patch`: merged into what is there.
    Patch,
}

impl Loaded {
    /// Reads a text; `None` is no file, which is as good as an empty one.
    pub fn read(text: Option<&[u8]>, context: &Context<'_>) -> Self {
        let mut loaded = Self {
            exists: text.is_some(),
            written: Node::empty(),
            source: Node::empty(),
            resolved: Node::empty(),
            included: Vec::new(),
            issues: Vec::new(),
            warnings: Vec::new(),
            legacy: Vec::new(),
            secrets: Values::default(),
        };
        let parsed = match text.map(content).transpose() {
            Ok(text) if text.is_none_or(|text| text.trim().is_empty()) => Ok(Node::empty()),
            Ok(text) => Node::parse(text.unwrap_or_default()),
            Err(why) => Err(why),
        };
        match parsed {
            Ok(written) => loaded.of(written, context),
            Err(why) => loaded.issues.push(issue("", &why)),
        }
        loaded
    }

    /// A document that is not on the disk yet.
    fn from_node(written: Node, context: &Context<'_>) -> Self {
        let mut loaded = Self::read(None, context);
        loaded.exists = true;
        loaded.issues.clear();
        loaded.of(written, context);
        loaded
    }

    fn of(&mut self, written: Node, context: &Context<'_>) {
        let schema = Schema::load();
        match include::resolve(&written, context.path, context.files) {
            Ok((source, included)) => (self.source, self.included) = (source, included),
            Err(fault) => {
                self.issues.push(issue(&fault.path, &fault.why));
                self.included = fault.files;
                self.source.clone_from(&written);
            }
        }
        self.written = written;
        self.resolved = self.source.clone();
        let own = variables_of(&self.source);
        let variables = |name: &str| {
            let own = || own.iter().find(|(have, _)| have == name).map(|(_, value)| value.clone());
            (context.variables)(name).or_else(own)
        };
        for (path, name) in expand_all(&mut self.resolved, &variables) {
            let message =
                format!("Missing env var \"{name}\" \u{2014} feature using this value will be unavailable");
            self.warnings.push(issue(&path, &message));
        }
        self.find_secrets(&schema, context, &variables);
        if self.issues.is_empty() {
            self.issues = validate::validate(&schema, &self.resolved);
        }
        self.legacy = validate::legacy(&self.resolved);
    }

    /// Secrets that must not be shown wherever they stand: those in force, and those of variables that stand where a
    /// secret belongs.
    fn find_secrets(&mut self, schema: &Schema, context: &Context<'_>, variables: Variables<'_>) {
        let mut secrets = Values::default();
        context.secrets.iter().for_each(|secret| secrets.add(secret.expose()));
        for path in SHARED_SECRETS {
            secrets.add(self.resolved.at(&path).and_then(Node::as_text).unwrap_or_default());
        }
        redact::each_secret_text(schema, &self.source, &mut |text| {
            let values = core::cell::RefCell::new(Vec::new());
            let look = |name: &str| {
                values.borrow_mut().extend(variables(name));
                None
            };
            expand(text, &look);
            values.into_inner().iter().for_each(|value| secrets.add(value));
        });
        self.secrets = secrets;
    }

    /// Whether it may be used.
    pub fn is_valid(&self) -> bool {
        self.issues.is_empty()
    }

    /// What holds when nobody says otherwise is filled in, and secrets are cut out.
    pub fn shown_config(&self) -> Node {
        let mut config = self.resolved.clone();
        let mut fill = |path: &[&str], value: Node| {
            // What is no object stays what it is.
            if config.at(path).is_none() {
                let _ = config.put(path, value);
            }
        };
        let text = |text: &str| Node::Text(text.to_owned());
        if self.exists {
            fill(&["commands", "native"], text("auto"));
            fill(&["commands", "nativeSkills"], text("auto"));
            fill(&["commands", "restart"], Node::Bool(true));
            fill(&["commands", "ownerDisplay"], text("raw"));
        }
        fill(&["agents", "defaults", "maxConcurrent"], Node::Integer(4));
        fill(&["agents", "defaults", "subagents", "maxConcurrent"], Node::Integer(8));
        if !self.exists {
            fill(&["agents", "defaults", "compaction", "mode"], text("safeguard"));
        }
        fill(&["messages", "ackReactionScope"], text("group-mentions"));
        self.hide(&Schema::load(), &mut config);
        config
    }

    /// Cuts out secrets of the document with its variables.
    fn hide(&self, schema: &Schema, resolved: &mut Node) {
        redact::redact(schema, resolved);
        shown::hide_variables(schema, &variables_of(&self.source), &self.source, resolved);
        self.secrets.hide(resolved);
    }
}

/// `config.get`.
pub fn snapshot(text: Option<&[u8]>, context: &Context<'_>) -> (ConfigSnapshot, Loaded) {
    let loaded = Loaded::read(text, context);
    let schema = Schema::load();
    let mut snapshot = ConfigSnapshot {
        path: context.path.to_owned(),
        exists: loaded.exists,
        raw: None,
        parsed: None,
        resolved: "{}".to_owned(),
        config: "{}".to_owned(),
        valid: loaded.is_valid(),
        hash: hash(text.unwrap_or_default()),
        issues: loaded.issues.clone(),
        warnings: loaded.warnings.clone(),
        legacy: loaded.legacy.clone(),
        included: loaded.included.clone(),
    };
    if loaded.is_valid() {
        let mut parsed = loaded.written.clone();
        let has_secret = redact::redact(&schema, &mut parsed);
        let has_secret = loaded.secrets.hide(&mut parsed) || has_secret;
        // What the document does not hold may be an old secret: a text with any of it is shown without.
        let plain = text.and_then(|text| core::str::from_utf8(text).ok());
        snapshot.raw = match plain {
            Some(text) if !has_secret && !shown::says_more(text, &loaded.written) => Some(text.to_owned()),
            Some(_) => Some(parsed.render_json5()),
            None => None,
        };
        snapshot.parsed = Some(parsed.to_json());
        let mut resolved = loaded.resolved.clone();
        loaded.hide(&schema, &mut resolved);
        snapshot.resolved = resolved.to_json();
        snapshot.config = loaded.shown_config().to_json();
    }
    (snapshot, loaded)
}

/// `config.set`, `config.apply` and `config.patch`, up to the disk.
///
/// # Errors
/// The change cannot be made; nothing of the content is quoted but what may be seen.
pub fn change(
    change: Change,
    write: &ConfigWrite,
    text: Option<&[u8]>,
    context: &Context<'_>,
) -> Result<Edited, ConfigFault> {
    if let Some(text) = text {
        let Some(base_hash) = &write.base_hash else {
            return Err(ConfigFault::invalid("config base hash required; re-run config.get and retry"));
        };
        if *base_hash != hash(text) {
            return Err(ConfigFault::invalid("config changed since last load; re-run config.get and retry"));
        }
    }
    let current = Loaded::read(text, context);
    if change == Change::Patch && !current.is_valid() {
        return Err(with_issues("invalid config; fix before patching", &current.issues));
    }
    let raw = parse(&write.raw)?;
    if !matches!(raw, Node::Object(_)) {
        return Err(ConfigFault::invalid(match change {
            Change::Replace => "invalid config",
            Change::Patch => "config.patch raw must be an object",
        }));
    }
    let (mut new, stored) = match change {
        Change::Patch => {
            // A change beside an included file leaves the `$include` as it is; one inside of it cannot.
            let base =
                if reaches_include(&current.written, &raw) { &current.source } else { &current.written };
            let mut new = base.clone();
            merge::patch(&mut new, &raw, &write.replace_paths);
            (new, base)
        }
        Change::Replace if include::has_include(&raw) => (raw, &current.written),
        Change::Replace => (raw, &current.source),
    };
    redact::restore(&Schema::load(), &mut new, stored, &current.secrets).map_err(ConfigFault::invalid)?;
    merge::keep_references(&mut new, &current.source, &current.resolved);
    finish(new, &current, context)
}

/// Checks a new document, stamps it, and makes its text.
///
/// # Errors
/// The document is not valid, or too large.
pub fn finish(mut new: Node, current: &Loaded, context: &Context<'_>) -> Result<Edited, ConfigFault> {
    // `meta.lastTouchedVersion` is left alone: it names a release of the reference, which compares it with its own.
    if new.at(&["meta"]).is_none_or(|meta| matches!(meta, Node::Object(_))) {
        let _ = new.put(&["meta", "lastTouchedAt"], Node::Text(context.now.to_owned()));
    }
    let loaded = Loaded::from_node(new, context);
    if !loaded.is_valid() {
        return Err(invalid(&loaded.issues));
    }
    let text = loaded.written.render();
    if text.len() > CONFIG_BYTES_MAX {
        return Err(ConfigFault::invalid(too_large(text.len())));
    }
    // What cannot be read again must not replace what can.
    Node::parse(&text).map_err(|why| ConfigFault::invalid(format!("invalid config: {why}")))?;
    let changed = merge::changed_paths(&current.resolved, &loaded.resolved);
    let changed = changed.into_iter().filter(|path| path != "meta.lastTouchedAt").collect();
    Ok(Edited { text, loaded, changed })
}

/// `config.schema`.
pub fn schema(version: &str, now: &str) -> Bytes {
    Bytes::from(describe::schema(&Schema::load(), version, now).to_string())
}

/// `config.schema.lookup`.
///
/// # Errors
/// There is no such path.
pub fn lookup(path: &str) -> Result<Bytes, ConfigFault> {
    match describe::lookup(&Schema::load(), path) {
        Some(found) => Ok(Bytes::from(found.to_string())),
        None => Err(ConfigFault::invalid("config schema path not found")),
    }
}

/// Lower-case hexadecimal SHA-256.
pub fn hash(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `env.vars.NAME` and `env.NAME`, where they are texts. Those that need variables themselves are skipped.
pub fn variables_of(root: &Node) -> Vec<(String, String)> {
    let Some(env) = root.get("env") else { return Vec::new() };
    let texts = |node: &Node| -> Vec<(String, String)> {
        let text = |(name, value): &(String, Node)| Some((name.clone(), value.as_text()?.to_owned()));
        let members = node.members().unwrap_or_default();
        members.iter().filter_map(text).filter(|(_, value)| !value.contains("${")).collect()
    };
    let mut variables = env.get("vars").map(texts).unwrap_or_default();
    variables.extend(texts(env));
    variables
}

fn content(text: &[u8]) -> Result<&str, String> {
    if text.len() > CONFIG_BYTES_MAX {
        return Err(too_large(text.len()));
    }
    core::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())
}

fn too_large(bytes: usize) -> String {
    format!("it has {bytes} bytes; a configuration may have {CONFIG_BYTES_MAX}")
}

fn parse(raw: &str) -> Result<Node, ConfigFault> {
    if raw.len() > CONFIG_BYTES_MAX {
        return Err(ConfigFault::invalid(too_large(raw.len())));
    }
    Node::parse_at(raw).map_err(|fault| {
        ConfigFault::invalid(match fault {
            ParseFault::Limit(why) => format!("SyntaxError: JSON5: {why}"),
            ParseFault::At(line, column) => format!("SyntaxError: JSON5: invalid input at {line}:{column}"),
            ParseFault::Somewhere => "SyntaxError: JSON5: invalid input".to_owned(),
        })
    })
}

/// Whether a patch would change something that an `$include` brings.
fn reaches_include(written: &Node, patch: &Node) -> bool {
    let (Some(members), Some(changes)) = (written.members(), patch.members()) else {
        return include::has_include(written);
    };
    if members.iter().any(|(name, _)| name == include::INCLUDE) {
        return !changes.is_empty();
    }
    let below = Index::new(members);
    changes.iter().any(|(name, change)| below.get(name).is_some_and(|below| reaches_include(below, change)))
}

/// The reference's sentence: the first three faults, and how many more.
fn invalid(issues: &[Issue]) -> ConfigFault {
    let first: Vec<String> = issues.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    let more = match issues.len().saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        more => format!(" (+{more} more issues)"),
    };
    with_issues(&format!("invalid config: {}{more}", first.join("; ")), issues)
}

fn with_issues(message: &str, issues: &[Issue]) -> ConfigFault {
    ConfigFault::Invalid { message: message.to_owned(), issues: issues.to_vec() }
}

fn issue(path: &str, message: &str) -> Issue {
    Issue { path: path.to_owned(), message: message.to_owned(), allowed: Vec::new() }
}

/// Where the document names the secrets that let peers in.
const SHARED_SECRETS: [[&str; 3]; 4] = [
    ["gateway", "auth", "token"],
    ["gateway", "auth", "password"],
    ["gateway", "remote", "token"],
    ["gateway", "remote", "password"],
];
/// Faults that a message spells out.
const SHOWN_MAX: usize = 3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::include::Included;

    struct One;

    impl Files for One {
        fn read(&self, _: Option<&str>, name: &str) -> Result<Included, String> {
            if name == "auth.json5" {
                let text = "{mode: 'token', token: 'inner-secret'}".to_owned();
                return Ok(Included { path: "/auth.json5".to_owned(), text });
            }
            Err(format!("{name:?} is not there"))
        }
    }

    fn variables(name: &str) -> Option<String> {
        (name == "TOKEN").then(|| "from-env".to_owned())
    }

    const CONTEXT: Context<'static> = Context {
        path: "/c.json",
        files: &One,
        variables: &variables,
        now: "2026-01-01T00:00:00.000Z",
        secrets: &[],
    };

    fn get(text: &str) -> ConfigSnapshot {
        snapshot(Some(text.as_bytes()), &CONTEXT).0
    }

    fn run(kind: Change, raw: &str, text: Option<&str>) -> Result<String, ConfigFault> {
        let base_hash = text.map(|text| hash(text.as_bytes()));
        let write = ConfigWrite { raw: raw.to_owned(), base_hash, ..ConfigWrite::default() };
        let mut written = change(kind, &write, text.map(str::as_bytes), &CONTEXT)?.loaded.written;
        written.take(&["meta"]);
        Ok(written.to_json())
    }

    #[test]
    fn no_part_of_a_text_that_was_shadowed_is_shown() {
        for text in [
            "{gateway: {auth: {token: 'hunter22'}}, gateway: {port: 1}}",
            "{gateway: {auth: {token: 'hunter22', token: '${TOKEN}'}}}",
        ] {
            let shown = format!("{:?}", get(text));
            let raw = get(text).raw.unwrap();
            assert!(!shown.contains("hunter22") && !raw.contains("hunter22"), "{raw}");
        }
        let plain = "{gateway: {port: 1}, ui: {seamColor: '#112233'}}";
        assert_eq!(get(plain).raw.as_deref(), Some(plain), "what has no secret keeps its layout");
    }

    #[test]
    fn a_secret_is_hidden_also_where_a_variable_brings_it() {
        let text = "{env: {vars: {K: 'hunter22'}}, channels: {x: {url: 'https://h/?k=${K}', name: '${TOKEN}', \
            path: '/p'}}}";
        let shown = get(text);
        for view in [&shown.resolved, &shown.config] {
            assert!(!view.contains("hunter22") && !view.contains("from-env"), "{view}");
            assert!(view.contains("/p"), "{view}");
        }
        let back = run(Change::Replace, &shown.resolved, Some(text)).unwrap();
        assert!(back.contains("https://h/?k=${K}") && back.contains("\"${TOKEN}\""), "{back}");
    }

    #[test]
    fn a_secret_in_force_is_hidden_wherever_it_stands() {
        let in_force = [Secret::new("proof-of-the-proxy").unwrap()];
        let variables = |name: &str| (name == "GWT").then(|| "value-of-gwt".to_owned());
        let context = Context { variables: &variables, secrets: &in_force, ..CONTEXT };
        let text = "{gateway: {auth: {token: '${GWT}', password: 'right-in-the-file'}}, ui: {assistant: {name: '${GWT}'}}, \
            channels: {x: {a: 'say right-in-the-file!', b: ['proof-of-the-proxy', 'harmless', 'Bearer ${GWT}']}}}";
        let (shown, _) = snapshot(Some(text.as_bytes()), &context);
        let views = format!("{:?}{:?}{}{}", shown.raw, shown.parsed, shown.resolved, shown.config);
        for secret in ["value-of-gwt", "right-in-the-file", "proof-of-the-proxy"] {
            assert!(!views.contains(secret), "{secret}: {views}");
        }
        assert!(shown.resolved.contains("harmless"), "{views}");
        // What is shown comes back as it was.
        for raw in [shown.raw.unwrap(), shown.resolved] {
            let base_hash = Some(hash(text.as_bytes()));
            let write = ConfigWrite { raw, base_hash, ..ConfigWrite::default() };
            let mut back =
                change(Change::Replace, &write, Some(text.as_bytes()), &context).unwrap().loaded.written;
            back.take(&["meta"]);
            assert_eq!(back.to_json(), Node::parse(text).unwrap().to_json());
        }
    }

    fn message(fault: ConfigFault) -> String {
        match fault {
            ConfigFault::Invalid { message, .. } => message,
            ConfigFault::Failed(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_missing_file_is_valid_and_shown_as_recorded() {
        let (shown, _) = snapshot(None, &CONTEXT);
        assert!(!shown.exists && shown.valid);
        assert_eq!((shown.raw, shown.parsed.as_deref(), shown.resolved.as_str()), (None, Some("{}"), "{}"));
        assert_eq!(shown.hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let config: serde_json::Value = serde_json::from_str(&shown.config).unwrap();
        assert_eq!(
            config,
            serde_json::json!({"messages": {"ackReactionScope": "group-mentions"}, "agents": {"defaults":
                {"maxConcurrent": 4, "subagents": {"maxConcurrent": 8}, "compaction": {"mode": "safeguard"}}}})
        );
    }

    #[test]
    fn secrets_are_shown_nowhere_and_the_text_round_trips() {
        let text = "// hunter22 in a comment\n{gateway: {mode: 'local', auth: {token: 'hunter22', password: '${TOKEN}'}}}";
        let shown = get(text);
        let all = format!("{:?}{:?}{}{}", shown.raw, shown.parsed, shown.resolved, shown.config);
        assert!(!all.contains("hunter22") && !all.contains("from-env"), "{all}");
        let raw = shown.raw.unwrap();
        let want = "{\n  gateway: {\n    mode: 'local',\n    auth: {\n      token: '__OPENCLAW_REDACTED__',\n      \
                    password: '${TOKEN}',\n    },\n  },\n}";
        assert_eq!(raw, want);
        for sent in [raw.as_str(), &shown.config] {
            let stored = run(Change::Replace, sent, Some(text)).unwrap();
            assert!(stored.contains("\"token\":\"hunter22\",\"password\":\"${TOKEN}\""), "{stored}");
        }
    }

    #[test]
    fn an_invalid_file_shows_only_what_is_wrong() {
        for (text, path) in [("{gateway: {port: 'x'}}", "gateway.port"), ("{", ""), ("[]", "")] {
            let shown = get(text);
            assert!(!shown.valid && shown.exists);
            assert_eq!((shown.raw, shown.parsed), (None, None));
            assert_eq!((shown.resolved.as_str(), shown.config.as_str()), ("{}", "{}"));
            assert_eq!(shown.issues[0].path, path, "{:?}", shown.issues);
        }
        let (shown, _) = snapshot(Some(b"\xff"), &CONTEXT);
        assert_eq!(shown.issues[0].message, "it is not UTF-8");
    }

    #[test]
    fn a_change_names_what_it_was_made_from() {
        let write = |base_hash: Option<&str>| ConfigWrite {
            raw: "{}".into(),
            base_hash: base_hash.map(str::to_owned),
            ..ConfigWrite::default()
        };
        let fault = change(Change::Replace, &write(None), Some(b"{}"), &CONTEXT).unwrap_err();
        assert_eq!(message(fault), "config base hash required; re-run config.get and retry");
        let fault = change(Change::Replace, &write(Some("x")), Some(b"{}"), &CONTEXT).unwrap_err();
        assert_eq!(message(fault), "config changed since last load; re-run config.get and retry");
        assert!(change(Change::Replace, &write(None), None, &CONTEXT).is_ok());
    }

    #[test]
    fn wrong_changes_are_said_in_the_known_words() {
        let full = Some("{gateway: {mode: 'local'}}");
        for (kind, raw, want) in [
            (Change::Replace, "{", "SyntaxError: JSON5: invalid input at 1:1"),
            (Change::Replace, "[]", "invalid config"),
            (Change::Patch, "5", "config.patch raw must be an object"),
            (
                Change::Replace,
                "{gateway: {port: 'x', bnd: 1, mode: 1}, a: 1}",
                "invalid config: gateway.port: found a text, expected a whole number from 1 to 65535; gateway: \
                 Unrecognized key: \"bnd\"; did you mean \"bind\"?; gateway.mode: found a number, expected one of \
                 \"local\", \"remote\" (+1 more issues)",
            ),
            (
                Change::Patch,
                "{gateway: {auth: {token: '__OPENCLAW_REDACTED__'}}}",
                "Sentinel value \"__OPENCLAW_REDACTED__\" in key gateway.auth.token is not valid as real data",
            ),
        ] {
            assert_eq!(message(run(kind, raw, full).unwrap_err()), want);
        }
        let fault = run(Change::Patch, "{}", Some("{gateway: {port: 'x'}}")).unwrap_err();
        assert_eq!(message(fault), "invalid config; fix before patching");
    }

    #[test]
    fn a_patch_beside_an_include_keeps_it_and_one_inside_flattens_it() {
        let text = "{gateway: {auth: {$include: 'auth.json5'}, port: 5}, channels: {x: 1}}";
        let beside = run(Change::Patch, "{gateway: {port: 6}}", Some(text)).unwrap();
        assert_eq!(beside, r#"{"gateway":{"auth":{"$include":"auth.json5"},"port":6},"channels":{"x":1}}"#);
        let inside = run(Change::Patch, "{gateway: {auth: {mode: 'none'}}}", Some(text)).unwrap();
        assert_eq!(
            inside,
            r#"{"gateway":{"auth":{"mode":"none","token":"inner-secret"},"port":5},"channels":{"x":1}}"#
        );
        let shown = get(text);
        assert_eq!(shown.included, ["/auth.json5"]);
        assert!(!format!("{}{}{:?}", shown.config, shown.resolved, shown.raw).contains("inner-secret"));
    }

    #[test]
    fn unset_variables_and_old_settings_are_told_and_no_faults() {
        let shown = get("{gateway: {auth: {token: '${NONE}'}, token: 'old'}, bridge: {}}");
        assert!(shown.valid, "{:?}", shown.issues);
        assert_eq!(shown.warnings[0].path, "gateway.auth.token");
        assert!(shown.warnings[0].message.starts_with("Missing env var \"NONE\""));
        assert_eq!(shown.legacy.len(), 2);
        let own = get("{env: {vars: {A: 'x'}}, ui: {assistant: {name: '${A}'}}}");
        assert!(own.resolved.contains("\"name\":\"x\""), "{}", own.resolved);
    }

    #[test]
    fn the_deepest_document_fits_the_stack_of_a_host_thread() {
        let deep = crate::depth::DEPTH_MAX - 2;
        let text = format!("{{channels: {{x: {}1{}}}}}", "[".repeat(deep), "]".repeat(deep));
        let work = move || {
            let shown = get(&text);
            assert!(shown.valid, "{:?}", shown.issues);
            run(Change::Replace, shown.raw.as_deref().unwrap(), Some(&text)).unwrap();
            run(Change::Patch, &text, Some(&text)).unwrap();
        };
        // Both drivers give a host call at least this much.
        let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(work).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn large_texts_are_refused_at_once() {
        let large = format!("{{a: '{}'}}", "x".repeat(CONFIG_BYTES_MAX));
        assert!(get(&large).issues[0].message.contains("a configuration may have"));
        assert!(
            message(run(Change::Replace, &large, None).unwrap_err()).contains("a configuration may have")
        );
    }
}
