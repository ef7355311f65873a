//! Who is here: one entry per device or client, encoded once when it changes (spec: handshake section 11,
//! v4 section 7).
//!
//! Entries of open sockets stay and are as fresh as the listing; others leave after their time. A list is put
//! together from encoded entries, so that 1,000 connects do not encode 200 entries each.

use crate::config::{About, Config};
use crate::dialect::{self, Dialect};
use crate::time::{Mono, Now};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an entry says. Absent members are not sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) host: Option<String>,
    pub(crate) ip: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) device_family: Option<String>,
    pub(crate) model_identifier: Option<String>,
    pub(crate) time_zone: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) last_input_seconds: Option<u64>,
    pub(crate) reason: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) text: Option<String>,
    pub(crate) device_id: Option<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) instance_id: Option<String>,
    pub(crate) online_since: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    facts: Facts,
    /// Up to and including `"ts":`, per dialect.
    encoded: [Bytes; 2],
    ts: u64,
    touched: Mono,
    sockets: u32,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Presence {
    own: [Bytes; 2],
    entries: BTreeMap<String, Entry>,
    /// Counts every change.
    pub(crate) version: u64,
    config: Arc<Config>,
}

impl Presence {
    pub(crate) fn new(config: Arc<Config>, instance_id: &str) -> Self {
        let own = own_entry(&config.about, instance_id);
        Self { own: encode(&own), entries: BTreeMap::new(), version: 1, config }
    }

    /// Other bounds from now on. What is told of this gateway itself stays.
    pub(super) fn follow(&mut self, config: &Arc<Config>) {
        self.config = Arc::clone(config);
    }

    /// Entries, our own not counted.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A tracked client was admitted.
    pub(crate) fn connected(&mut self, now: Now, key: &str, facts: Facts) {
        let key = cut(key, TEXT_BYTES_MAX);
        let sockets = self.upsert(now, key, facts, "connect").sockets + 1;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.sockets = sockets;
        }
        self.bound(now);
    }

    /// A tracked client's socket is gone.
    pub(crate) fn disconnected(&mut self, now: Now, key: &str) {
        self.version += 1;
        let Some(entry) = self.entries.get_mut(cut(key, TEXT_BYTES_MAX)) else { return };
        entry.sockets = entry.sockets.saturating_sub(1);
        entry.ts = now.wall.0;
        entry.touched = now.mono;
        if entry.sockets == 0 {
            entry.facts.reason = Some("disconnect".to_owned());
            entry.encoded = encode(&entry.facts);
        }
    }

    /// `system-event` told of something.
    pub(crate) fn told(&mut self, now: Now, key: &str, facts: Facts) {
        self.upsert(now, cut(key, TEXT_BYTES_MAX), facts, "");
        self.bound(now);
    }

    /// Sets what `facts` says, keeps what it does not, and unites roles and scopes.
    fn upsert(&mut self, now: Now, key: &str, facts: Facts, reason: &str) -> &Entry {
        self.version += 1;
        let facts = facts.cut();
        let old = self.entries.remove(key);
        let (before, sockets) = old.map_or_else(Default::default, |old| (old.facts, old.sockets));
        let unite = |old: Vec<String>, new: Vec<String>| {
            let mut all = old;
            for item in new {
                if !all.contains(&item) && all.len() < LIST_MAX {
                    all.push(item);
                }
            }
            all
        };
        let facts = Facts {
            host: facts.host.or(before.host),
            ip: facts.ip.or(before.ip),
            version: facts.version.or(before.version),
            platform: facts.platform.or(before.platform),
            device_family: facts.device_family.or(before.device_family),
            model_identifier: facts.model_identifier.or(before.model_identifier),
            time_zone: facts.time_zone.or(before.time_zone),
            mode: facts.mode.or(before.mode),
            last_input_seconds: facts.last_input_seconds.or(before.last_input_seconds),
            reason: if reason.is_empty() { facts.reason.or(before.reason) } else { Some(reason.to_owned()) },
            tags: if facts.tags.is_empty() { before.tags } else { facts.tags },
            text: if reason.is_empty() { facts.text.or(before.text) } else { before.text.or(facts.text) },
            device_id: facts.device_id.or(before.device_id),
            roles: unite(before.roles, facts.roles),
            scopes: unite(before.scopes, facts.scopes),
            instance_id: facts.instance_id.or(before.instance_id),
            online_since: if sockets > 0 {
                before.online_since
            } else {
                facts.online_since.or(before.online_since)
            },
        };
        let encoded = encode(&facts);
        let entry = Entry { facts, encoded, ts: now.wall.0, touched: now.mono, sockets };
        self.entries.entry(key.to_owned()).or_insert(entry)
    }

    /// Drops what is too old, then the oldest of what is too much, those without a socket first.
    fn bound(&mut self, now: Now) {
        let limits = &self.config.limits;
        let fresh = |entry: &Entry| now.mono.millis_since(entry.touched) <= limits.presence_ttl_ms;
        self.entries.retain(|_, entry| entry.sockets > 0 || fresh(entry));
        while self.entries.len() + 1 > limits.presence_entries_max.max(1) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| (entry.sockets > 0, entry.touched));
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { return };
            self.entries.remove(&key);
        }
    }

    /// The list, newest first, as encoded JSON.
    pub(crate) fn list(&mut self, now: Now, dialect: Dialect) -> Bytes {
        self.bound(now);
        let mut rows: Vec<(u64, &Bytes)> = self
            .entries
            .values()
            .map(|entry| {
                (if entry.sockets > 0 { now.wall.0 } else { entry.ts }, &entry.encoded[dialect.index()])
            })
            .collect();
        rows.sort_by_key(|(ts, _)| core::cmp::Reverse(*ts));
        let size: usize = rows.iter().map(|(_, bytes)| bytes.len() + 16).sum();
        let own = &self.own[dialect.index()];
        let mut out = Vec::with_capacity(size + own.len() + 18);
        out.push(b'[');
        for (at, (ts, bytes)) in core::iter::once((now.wall.0, own)).chain(rows).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(bytes);
            out.extend_from_slice(ts.to_string().as_bytes());
            out.push(b'}');
        }
        out.push(b']');
        Bytes::from(out)
    }
}

impl Facts {
    /// Cut to what a person would read. Peers choose these texts, every one of them is sent to everybody who may
    /// see presence, and a list holds many entries.
    fn cut(mut self) -> Self {
        let texts = [
            &mut self.host,
            &mut self.ip,
            &mut self.version,
            &mut self.platform,
            &mut self.device_family,
            &mut self.model_identifier,
            &mut self.time_zone,
            &mut self.mode,
            &mut self.reason,
            &mut self.text,
            &mut self.device_id,
            &mut self.instance_id,
        ];
        for text in texts.into_iter().flatten() {
            text.truncate(cut(text, TEXT_BYTES_MAX).len());
        }
        for list in [&mut self.tags, &mut self.roles, &mut self.scopes] {
            list.truncate(LIST_MAX);
            for item in list {
                item.truncate(cut(item, ITEM_BYTES_MAX).len());
            }
        }
        self
    }
}

/// The front of a text, whole characters.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Tags, roles or scopes one entry collects.
const LIST_MAX: usize = 32;
/// Longest of them.
const ITEM_BYTES_MAX: usize = 128;
/// Longest other text, and longest key.
const TEXT_BYTES_MAX: usize = 512;

fn encode(facts: &Facts) -> [Bytes; 2] {
    [dialect::presence_head(Dialect::V3, facts), dialect::presence_head(Dialect::V4, facts)]
}

fn own_entry(about: &About, instance_id: &str) -> Facts {
    let text = format!(
        "Gateway: {} ({}) · app {} · mode gateway · reason self",
        about.host, about.ip, about.version
    );
    Facts {
        host: Some(about.host.clone()),
        ip: Some(about.ip.clone()),
        version: Some(about.version.clone()),
        platform: Some(about.platform.clone()),
        device_family: Some(about.device_family.clone()),
        model_identifier: Some(about.model_identifier.clone()),
        mode: Some("gateway".to_owned()),
        reason: Some("self".to_owned()),
        text: Some(text),
        instance_id: Some(instance_id.to_owned()),
        ..Facts::default()
    }
}
