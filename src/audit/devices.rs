//! The paired devices: who may do everything, whose token says more than was approved, what waits.

use super::{Facts, Finding, Severity};
use crate::identity::{Identity, held_tokens};
use crate::storage::{RealDisk, Storage};
use clawgate_proto::scope::{ADMIN, Role, Scopes};
use clawgate_proto::secret::Secret;
use clawgate_proto::store::{DeviceToken, Paired, PairedDevice};
use std::path::Path;

/// A store that cannot be read lets nobody in, and is never written over.
pub fn unreadable(facts: &Facts, found: &mut Vec<Finding>) {
    for fault in &facts.store_faults {
        found.push(Finding::operation(
            "devices.unreadable",
            Severity::Critical,
            facts.places.state_dir.join("devices").display().to_string(),
            crate::cli::render::clean(fault),
            "mend the file, or move it away: then every device has to be paired again",
        ));
    }
}

/// A token that allows more than its device was approved for. No program writes one.
pub fn wide_tokens(facts: &Facts, found: &mut Vec<Finding>) {
    for (id, device) in &facts.paired {
        let Some(approved) = device.approved_scopes.as_ref().map(Scopes::new) else { continue };
        for (role, token) in live_tokens(device) {
            let Some(known) = Role::parse(role) else {
                found.push(Finding::security(
                    "devices.unknown-role",
                    Severity::Warn,
                    named(id, device),
                    "it has a token for a role that nobody knows",
                    format!("clawgate devices remove {}", clean(id)),
                ));
                continue;
            };
            let scopes = Scopes::new(&token.scopes);
            if let Some(scope) = approved.first_uncovered(known, &scopes) {
                found.push(Finding::security(
                    "devices.wide-token",
                    Severity::Critical,
                    named(id, device),
                    format!(
                        "its {} token allows {}, which nobody approved: somebody has changed devices/paired.json",
                        known.as_str(),
                        clean(scope)
                    ),
                    format!("clawgate devices revoke --device {} --role {}", clean(id), known.as_str()),
                ));
            }
        }
    }
}

/// Whoever may do everything and has not been here for long may be lost, or somebody else's.
pub fn unseen_admins(facts: &Facts, found: &mut Vec<Finding>) {
    for (id, device) in &facts.paired {
        let mut tokens = live_tokens(device).filter(|(_, token)| Scopes::new(&token.scopes).satisfies(ADMIN));
        let Some((_, token)) = tokens.next() else { continue };
        let written = [
            token.last_used_at_ms,
            token.rotated_at_ms,
            Some(device.approved_at_ms),
            Some(token.created_at_ms),
        ];
        let written = written.into_iter().flatten().max().unwrap_or(0);
        let live = facts.seen.as_ref().and_then(|seen| seen.get(id).copied());
        let latest = live.unwrap_or(0).max(written);
        let days = facts.now_ms.saturating_sub(latest) / DAY_MS;
        if days < UNSEEN_DAYS {
            continue;
        }
        // The file learns of a use only with the next change that is written.
        let (severity, means) = match facts.seen {
            Some(_) => (Severity::Warn, format!("it may do everything, and was not here for {days} days")),
            None => (
                Severity::Info,
                format!(
                    "it may do everything, and the file knows of no use for {days} days (--deep asks the gateway)"
                ),
            ),
        };
        found.push(Finding::security(
            "devices.unseen-admin",
            severity,
            named(id, device),
            means,
            format!("if you do not know it, or no longer have it: clawgate devices remove {}", clean(id)),
        ));
    }
}

/// A device whose every token was taken away.
pub fn without_token(facts: &Facts, found: &mut Vec<Finding>) {
    for (id, device) in &facts.paired {
        let has_tokens = device.tokens.as_ref().is_some_and(|tokens| !tokens.is_empty());
        if has_tokens && live_tokens(device).next().is_none() {
            found.push(Finding::security(
                "devices.revoked",
                Severity::Info,
                named(id, device),
                "its tokens were revoked, and it is still paired: with the shared secret it gets a new one",
                format!("to forget it: clawgate devices remove {}", clean(id)),
            ));
        }
    }
}

/// Somebody waits, or has waited in vain.
pub fn pending(facts: &Facts, found: &mut Vec<Finding>) {
    let is_old = |ts: u64| facts.now_ms.saturating_sub(ts) > PENDING_MS;
    let (old, waiting): (Vec<_>, Vec<_>) = facts.pending.values().partition(|request| is_old(request.ts));
    let place = facts.places.state_dir.join("devices/pending.json").display().to_string();
    if !waiting.is_empty() {
        found.push(Finding::operation(
            "devices.waiting",
            Severity::Info,
            place.clone(),
            format!("{} for approval", counted(waiting.len(), "device waits", "devices wait")),
            "clawgate devices list",
        ));
    }
    if !old.is_empty() {
        found.push(Finding::operation(
            "devices.stale-requests",
            Severity::Info,
            place,
            format!(
                "{} here that ended after five minutes",
                counted(old.len(), "request is", "requests are")
            ),
            "nothing: the gateway drops them when it looks; a device that still wants in asks again",
        ));
    }
}

/// This machine's own token is not the one that its gateway knows.
pub fn own_token(facts: &Facts, found: &mut Vec<Finding>) {
    for (role, is_known) in &facts.held {
        if !is_known {
            found.push(Finding::operation(
                "devices.own-token",
                Severity::Info,
                facts.places.state_dir.join("identity/device-auth.json").display().to_string(),
                format!("the {} token that this machine holds is not the one in devices/paired.json", clean(role)),
                "nothing, when it is another gateway's, or the shared secret lets you in: the right one comes with the \
                 next connect",
            ));
        }
    }
}

/// The device tokens that this machine holds, and whether its own gateway's store has them.
pub(super) fn held(storage: &Storage<RealDisk>, state_dir: &Path, paired: &Paired) -> Vec<(String, bool)> {
    let Some(device_id) = Identity::device_id_at(storage, state_dir) else { return Vec::new() };
    let tokens = paired.get(&device_id).and_then(|device| device.tokens.as_ref());
    held_tokens(storage, state_dir, &device_id)
        .into_iter()
        .map(|held| {
            let stored = tokens.and_then(|tokens| tokens.get(&held.role));
            let is_known = stored.filter(|stored| stored.revoked_at_ms.is_none()).is_some_and(|stored| {
                Secret::new(&stored.token).is_some_and(|stored| stored.matches(&held.token))
            });
            (held.role, is_known)
        })
        .collect()
}

fn live_tokens(device: &PairedDevice) -> impl Iterator<Item = (&str, &DeviceToken)> {
    let tokens = device.tokens.iter().flatten();
    tokens.filter(|(_, token)| token.revoked_at_ms.is_none()).map(|(role, token)| (role.as_str(), token))
}

/// The id, and how people call it.
fn named(id: &str, device: &PairedDevice) -> String {
    let name = device.display_name.as_ref().or(device.client_id.as_ref());
    let name = name.map(|name| format!(" ({})", clean(name))).unwrap_or_default();
    format!("device {}{name}", clean(id))
}

fn clean(text: &str) -> String {
    crate::cli::render::clean(text)
}

fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

const DAY_MS: u64 = 24 * 3_600 * 1_000;
const UNSEEN_DAYS: u64 = 90;
/// When a request ends by itself.
const PENDING_MS: u64 = 5 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::super::testing::{all, found};
    use super::*;
    use Severity::{Critical, Info, Warn};
    use clawgate_proto::store::PendingRequest;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    /// Facts with one device with a token of this role and these scopes, used this many days ago.
    fn with(role: &str, scopes: &[&str], approved: Option<&[&str]>, days: u64, revoked: bool) -> Facts {
        let mut facts = Facts::clean();
        let owned = |list: &[&str]| list.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
        let then = facts.now_ms - days * DAY_MS;
        let token = DeviceToken {
            token: "hidden".to_owned(),
            role: role.to_owned(),
            scopes: owned(scopes),
            created_at_ms: then,
            revoked_at_ms: revoked.then_some(then),
            ..DeviceToken::default()
        };
        let device = PairedDevice {
            device_id: "d1".to_owned(),
            display_name: Some("evil\u{1b}[2J".to_owned()),
            approved_scopes: approved.map(owned),
            approved_at_ms: then,
            tokens: Some(BTreeMap::from([(role.to_owned(), token)])),
            ..PairedDevice::default()
        };
        facts.paired.insert("d1".to_owned(), Arc::new(device));
        facts
    }

    #[test]
    fn a_token_that_says_more_than_was_approved_is_found() {
        for (role, scopes, approved, want) in [
            (
                "operator",
                &["operator.admin"][..],
                Some(&["operator.read"][..]),
                Some(("devices.wide-token", Critical)),
            ),
            ("operator", &["operator.read"], Some(&["operator.admin"]), None),
            ("operator", &["operator.read"], Some(&["operator.write"]), None),
            (
                "operator",
                &["operator.write"],
                Some(&["operator.read"]),
                Some(("devices.wide-token", Critical)),
            ),
            ("operator", &["operator.admin"], None, None),
            ("node", &[], Some(&[]), None),
            ("node", &["x"], Some(&[]), Some(("devices.wide-token", Critical))),
            ("king", &[], Some(&[]), Some(("devices.unknown-role", Warn))),
        ] {
            let facts = with(role, scopes, approved, 0, false);
            assert_eq!(found(wide_tokens, &facts), Vec::from_iter(want), "{role} {scopes:?} {approved:?}");
        }
        let revoked = with("operator", &["operator.admin"], Some(&[]), 0, true);
        assert_eq!(found(wide_tokens, &revoked), []);
        let shown = format!("{:?}", all(wide_tokens, &with("node", &["x"], Some(&[]), 0, false)));
        assert!(!shown.contains("hidden") && !shown.contains("u{1b}"), "{shown}");
    }

    #[test]
    fn an_admin_that_was_not_here_for_long_is_found() {
        let admin = |days| with("operator", &["operator.admin"], None, days, false);
        assert_eq!(found(unseen_admins, &admin(89)), []);
        assert_eq!(found(unseen_admins, &admin(90)), [("devices.unseen-admin", Info)]);
        assert_eq!(found(unseen_admins, &with("operator", &["operator.write"], None, 999, false)), []);
        let mut asked = admin(200);
        asked.seen = Some(BTreeMap::new());
        assert_eq!(found(unseen_admins, &asked), [("devices.unseen-admin", Warn)]);
        asked.seen = Some(BTreeMap::from([("d1".to_owned(), asked.now_ms)]));
        assert_eq!(found(unseen_admins, &asked), [], "the gateway saw it today");
    }

    #[test]
    fn a_device_without_a_token_is_found() {
        assert_eq!(found(without_token, &with("operator", &[], None, 0, true)), [("devices.revoked", Info)]);
        assert_eq!(found(without_token, &with("operator", &[], None, 0, false)), []);
    }

    #[test]
    fn requests_are_counted() {
        let mut facts = Facts::clean();
        assert_eq!(found(pending, &facts), []);
        for (id, age) in [("a", 0), ("b", PENDING_MS), ("c", PENDING_MS + 1)] {
            let request = PendingRequest { ts: facts.now_ms - age, ..PendingRequest::default() };
            facts.pending.insert(id.to_owned(), Arc::new(request));
        }
        let said = all(pending, &facts);
        assert_eq!(said[0].means, "2 devices wait for approval");
        assert_eq!(found(pending, &facts), [("devices.waiting", Info), ("devices.stale-requests", Info)]);
    }

    #[test]
    fn a_store_that_cannot_be_read_and_a_token_of_nobody_are_found() {
        let mut facts = Facts::clean();
        assert_eq!((found(unreadable, &facts), found(own_token, &facts)), (vec![], vec![]));
        facts.store_faults = vec!["/x: line 1 column 2: not the expected JSON".to_owned()];
        facts.held = vec![("operator".to_owned(), false)];
        assert_eq!(found(unreadable, &facts), [("devices.unreadable", Critical)]);
        assert_eq!(found(own_token, &facts), [("devices.own-token", Info)]);
    }
}
