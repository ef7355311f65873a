//! The target `config_json5`: any bytes as a configuration file, shown, sent back and patched.

use clawgate_config::include::{Files, Included};
use clawgate_config::service::{self, Change, Context, Loaded};
use clawgate_config::{Node, redact};
use clawgate_proto::host::config::{ConfigFault, ConfigWrite};

/// The target `config_json5`. A zero byte parts the file from a patch of it.
pub fn config_json5(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let text = parts.next().unwrap_or_default();
    let files = Mirror(String::from_utf8_lossy(text).into_owned());
    let variables = |name: &str| (name.len() < 4).then(|| "a-value".to_owned());
    let now = "2026-01-01T00:00:00.000Z";
    let context = Context { path: "/c/root", files: &files, variables: &variables, now, secrets: &[] };
    let (shown, loaded) = service::snapshot(Some(text), &context);
    assert_eq!(shown.valid, shown.issues.is_empty());
    assert!(shown.issues.len() <= 64 && shown.issues.iter().all(|issue| !issue.message.is_empty()));
    for json in [shown.parsed.as_deref().unwrap_or("null"), &shown.resolved, &shown.config] {
        assert!(Node::parse(json).is_ok(), "what is shown is JSON");
    }
    if !loaded.is_valid() {
        assert!(shown.raw.is_none() && shown.parsed.is_none());
        return;
    }
    round_trip(text, &loaded, shown.raw.as_deref(), &context);
    if let Some(patch) = parts.next() {
        patched(text, patch, &context);
    }
}

/// What was shown and is sent back unchanged loses nothing: every member is there, every secret is the stored one.
fn round_trip(text: &[u8], loaded: &Loaded, raw: Option<&str>, context: &Context<'_>) {
    // An empty file is as good as an empty object, but nobody can send nothing.
    let Some(raw) = raw.filter(|raw| !raw.trim().is_empty()) else { return };
    match change(Change::Replace, raw, text, context) {
        Ok(edited) => {
            let mut written = edited.loaded.written.clone();
            let mut before = loaded.written.clone();
            for node in [&mut written, &mut before] {
                node.take(&["meta", "lastTouchedAt"]);
                if node.at(&["meta"]).is_some_and(|meta| meta.members().is_some_and(<[_]>::is_empty)) {
                    node.take(&["meta"]);
                }
            }
            assert_eq!(written.to_json(), before.to_json(), "sent back unchanged");
            assert!(Node::parse(&edited.text).is_ok(), "what is written can be read");
        }
        // A file may hold the mark itself, or be at a bound that the stamp passes.
        Err(ConfigFault::Invalid { message, .. }) => assert!(
            loaded.written.to_json().contains(redact::REDACTED)
                || message.contains("a configuration may have")
                || message.contains("it holds more than")
                || message.contains("not clear which"),
            "{message}"
        ),
        Err(ConfigFault::Failed(why)) => panic!("{why}"),
    }
}

/// A patch of nothing changes nothing; any other gives a file that can be used, or is refused.
fn patched(text: &[u8], patch: &[u8], context: &Context<'_>) {
    let Ok(patch) = core::str::from_utf8(patch) else { return };
    if let Ok(edited) = change(Change::Patch, patch, text, context) {
        let again = Loaded::read(Some(edited.text.as_bytes()), context);
        assert!(again.is_valid(), "{:?}", again.issues);
        assert_eq!(again.resolved.to_json(), edited.loaded.resolved.to_json());
    }
    if let Ok(edited) = change(Change::Patch, "{}", text, context) {
        assert!(edited.changed.is_empty(), "{:?}", edited.changed);
    }
}

fn change(
    change: Change,
    raw: &str,
    text: &[u8],
    context: &Context<'_>,
) -> Result<service::Edited, ConfigFault> {
    let base_hash = Some(service::hash(text));
    let write = ConfigWrite { raw: raw.to_owned(), base_hash, ..ConfigWrite::default() };
    service::change(change, &write, Some(text), context)
}

/// Every file includes itself, or holds little.
struct Mirror(String);

impl Files for Mirror {
    fn read(&self, _: Option<&str>, name: &str) -> Result<Included, String> {
        let (path, text) = match name {
            "self" => ("/c/root", self.0.as_str()),
            "other" => ("/c/other", self.0.as_str()),
            "list" => ("/c/list", "[1, {token: 's'}]"),
            _ => ("/c/small", "{channels: {x: {token: 's', n: '${AB}'}}}"),
        };
        Ok(Included { path: path.to_owned(), text: text.to_owned() })
    }
}
