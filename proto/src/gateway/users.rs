//! Users: those that a proxy or a tailnet vouches for, for as long as a connection of theirs is here. Whoever came in with
//! a shared secret or a device is nobody in particular. Nothing about users is stored, so preferences and pictures are not
//! kept either (compatibility row `users-here`).

use super::{Call, Gateway};
use crate::error::RequestError;
use crate::frame::Payload;
use crate::output::{Output, Reply};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Who somebody vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// As the proxy or the tailnet names it.
    pub(super) name: Box<str>,
    /// When this connection came in, Unix milliseconds.
    pub(super) since_ms: u64,
}

/// `users.list`: those who are here now.
pub(crate) fn list(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let profiles: Vec<Value> = here(gateway)
        .into_iter()
        .take(gateway.config.limits.users_listed_max)
        .map(|(name, since_ms)| profile(name, since_ms))
        .collect();
    let answer = Payload::Value(Box::new(json!({"profiles": profiles})));
    gateway.respond(call.conn, call.id, Reply::Ok(answer), out);
}

/// `users.self`: who the caller is.
pub(crate) fn own(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let user = gateway.peers.session(call.conn).and_then(|session| session.user.as_deref());
    let own = user
        .map(|user| profile(&user.name, here(gateway).get(&*user.name).copied().unwrap_or(user.since_ms)));
    match own {
        Some(profile) => {
            let answer = Payload::Value(Box::new(json!({"profile": profile})));
            gateway.respond(call.conn, call.id, Reply::Ok(answer), out);
        }
        None => {
            let error = RequestError::Forbidden("users.self requires an authenticated user");
            gateway.fail(call.conn, call.id, &error, out);
        }
    }
}

/// Users by name, and since when each is here.
fn here(gateway: &Gateway) -> BTreeMap<&str, u64> {
    let mut users = BTreeMap::new();
    for conn in gateway.peers.open() {
        let Some(user) = gateway.peers.session(conn).and_then(|session| session.user.as_deref()) else {
            continue;
        };
        let since_ms = users.entry(&*user.name).or_insert(user.since_ms);
        *since_ms = user.since_ms.min(*since_ms);
    }
    users
}

/// The published shape. The id follows from the name, so that the same user has the same one tomorrow.
fn profile(name: &str, since_ms: u64) -> Value {
    let mut id = "user-".to_owned();
    for byte in Sha256::digest(name.as_bytes()).iter().take(ID_BYTES) {
        let _ = write!(id, "{byte:02x}");
    }
    let address = name.split_once('@').filter(|(person, host)| !person.is_empty() && !host.is_empty());
    let emails: &[&str] = if address.is_some() { &[name] } else { &[] };
    json!({
        "id": id,
        "displayName": address.map_or(name, |(person, _)| person),
        "avatarMime": null,
        "mergedInto": null,
        "createdAt": since_ms,
        "updatedAt": since_ms,
        "emails": emails,
        "githubIdentity": null,
        "hasAvatar": false,
    })
}

const ID_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_follows_from_the_name() {
        let ada = profile("ada@example", 7);
        assert_eq!((&ada["displayName"], &ada["emails"]), (&json!("ada"), &json!(["ada@example"])));
        assert_eq!((&ada["createdAt"], &ada["hasAvatar"]), (&json!(7), &json!(false)));
        assert_eq!(profile("ada@example", 8)["id"], ada["id"]);
        for name in ["ada", "@example", "ada@"] {
            let other = profile(name, 7);
            assert_eq!((&other["displayName"], &other["emails"]), (&json!(name), &json!([])));
            assert_ne!(other["id"], ada["id"]);
        }
    }
}
