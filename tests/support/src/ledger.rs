//! What a gateway has promised: every change of the device store that a client was told of, to be held against
//! the store after a crash.
//!
//! A change is begun before it is asked for and acknowledged when its answer arrives. Between the two it may or
//! may not have happened; nothing else may be in doubt. Faults name devices, never tokens.

use crate::secrets::{self, Kind};
use clawgate_proto::store::{DeviceToken, Devices, PairedDevice};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The promises about one gateway's devices and requests.
#[derive(Clone, Default)]
pub struct Ledger {
    devices: BTreeMap<String, Entry>,
    requests: BTreeSet<String>,
    requests_in_doubt: BTreeSet<String>,
    acknowledged: u64,
}

/// A change of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is paired, or gets a token again.
    Pair,
    /// Its token is replaced.
    Rotate,
    /// Its token is revoked.
    Revoke,
    /// It is removed.
    Remove,
}

#[derive(Clone)]
struct Entry {
    state: State,
    /// Tokens that must never open the door again.
    refused: BTreeSet<String>,
    in_doubt: Option<Change>,
}

#[derive(Clone, PartialEq, Eq)]
enum State {
    /// Not paired.
    Absent,
    /// Paired, with this token.
    Token(String),
    /// Paired, with a token that only the device itself was told.
    UnknownToken,
    /// Paired, with a revoked token.
    Revoked,
}

impl Ledger {
    /// A change is about to be asked for.
    pub fn begin(&mut self, device_id: &str, change: Change) {
        self.entry(device_id).in_doubt = Some(change);
    }

    /// The change that was begun is acknowledged; `token` is the one that came with it.
    pub fn acknowledge(&mut self, device_id: &str, change: Change, token: Option<&str>) {
        self.acknowledged += 1;
        let entry = self.entry(device_id);
        entry.in_doubt = None;
        let state = match (change, token) {
            (Change::Pair | Change::Rotate, Some(token)) => State::Token(token.to_owned()),
            (Change::Pair | Change::Rotate, None) => State::UnknownToken,
            (Change::Revoke, _) => State::Revoked,
            (Change::Remove, _) => State::Absent,
        };
        entry.become_state(state);
    }

    /// The change that was begun was refused, and did not happen.
    pub fn refuse(&mut self, device_id: &str) {
        self.entry(device_id).in_doubt = None;
    }

    /// A pairing request was announced under this id.
    pub fn request_filed(&mut self, request_id: &str) {
        self.acknowledged += 1;
        self.requests.insert(request_id.to_owned());
    }

    /// Somebody is about to decide a request.
    pub fn request_in_doubt(&mut self, request_id: &str) {
        self.requests_in_doubt.insert(request_id.to_owned());
    }

    /// A request was decided.
    pub fn request_decided(&mut self, request_id: &str) {
        self.acknowledged += 1;
        self.requests.remove(request_id);
        self.requests_in_doubt.remove(request_id);
    }

    /// Changes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The token that must be good now; `None` when there is none, when nobody told us, or when a change is in
    /// doubt.
    pub fn token(&self, device_id: &str) -> Option<&str> {
        let entry = self.devices.get(device_id).filter(|entry| entry.in_doubt.is_none())?;
        match &entry.state {
            State::Token(token) => Some(token),
            State::Absent | State::UnknownToken | State::Revoked => None,
        }
    }

    /// A token of this device that must be refused.
    pub fn refused_token(&self, device_id: &str) -> Option<&str> {
        self.devices.get(device_id)?.refused.last().map(String::as_str)
    }

    /// Holds the store against the promises.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn check(&self, store: &Devices) -> Result<(), String> {
        for (device_id, entry) in &self.devices {
            entry.check(store.paired.get(device_id)).map_err(|why| format!("device {device_id}: {why}"))?;
        }
        let lost = self
            .requests
            .iter()
            .find(|id| !self.requests_in_doubt.contains(*id) && !store.pending.contains_key(*id));
        match lost {
            Some(id) => Err(format!("request {id} is lost")),
            None => Ok(()),
        }
    }

    /// After a crash: what was in doubt is what the store says.
    pub fn settle(&mut self, store: &Devices) {
        for (device_id, entry) in &mut self.devices {
            if entry.in_doubt.take().is_none() {
                continue;
            }
            let state = match store.paired.get(device_id) {
                None => State::Absent,
                Some(device) => match operator_token(device) {
                    Some(token) if token.revoked_at_ms.is_some() => State::Revoked,
                    Some(token) => {
                        secrets::record_as(Kind::DeviceToken, &token.token);
                        State::Token(token.token.clone())
                    }
                    None => State::UnknownToken,
                },
            };
            entry.become_state(state);
        }
        self.requests_in_doubt.clear();
        self.requests.retain(|id| store.pending.contains_key(id));
    }

    fn entry(&mut self, device_id: &str) -> &mut Entry {
        self.devices.entry(device_id.to_owned()).or_insert_with(|| Entry {
            state: State::Absent,
            refused: BTreeSet::new(),
            in_doubt: None,
        })
    }
}

impl Entry {
    /// The token it had is no good from now on, unless it keeps it.
    fn become_state(&mut self, state: State) {
        if let State::Token(old) = &self.state
            && self.state != state
        {
            self.refused.insert(old.clone());
        }
        self.state = state;
    }

    fn check(&self, found: Option<&Arc<PairedDevice>>) -> Result<(), &'static str> {
        let token = found.and_then(|device| operator_token(device));
        let live = token.filter(|token| token.revoked_at_ms.is_none());
        if live.is_some_and(|token| self.refused.contains(&token.token)) {
            return Err("a token that was replaced or revoked is good again");
        }
        let has_token = |wanted: &str| token.is_some_and(|token| token.token == wanted);
        match (self.in_doubt, &self.state) {
            (Some(Change::Remove), _) | (Some(Change::Pair), State::Absent) => Ok(()),
            (_, State::Absent) if found.is_some() => Err("it was removed and is there again"),
            (_, State::Absent) => Ok(()),
            _ if found.is_none() => Err("it was paired and is lost"),
            (Some(Change::Pair | Change::Rotate), _) => Ok(()),
            (Some(Change::Revoke), State::Token(wanted)) if !has_token(wanted) => Err("its token is lost"),
            (Some(Change::Revoke), _) => Ok(()),
            (None, State::Token(wanted)) if !has_token(wanted) => Err("its token is lost"),
            (None, State::Token(_) | State::UnknownToken) if live.is_none() => Err("its token is revoked"),
            (None, State::Revoked) if live.is_some() => Err("its revoked token is good again"),
            (None, State::Token(_) | State::UnknownToken | State::Revoked) => Ok(()),
        }
    }
}

fn operator_token(device: &PairedDevice) -> Option<&DeviceToken> {
    device.tokens.as_ref()?.get("operator")
}

// By hand: it is made of tokens.
impl core::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ledger")
            .field("devices", &self.devices.len())
            .field("acknowledged", &self.acknowledged)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn store(token: Option<&str>, revoked: bool) -> Devices {
        let mut store = Devices::default();
        let Some(token) = token else { return store };
        let token = DeviceToken {
            token: token.into(),
            revoked_at_ms: revoked.then_some(1),
            ..DeviceToken::default()
        };
        let tokens = Some(BTreeMap::from([("operator".to_owned(), token)]));
        store.paired.insert("d".into(), Arc::new(PairedDevice { tokens, ..PairedDevice::default() }));
        store
    }

    /// Which of: no device, the first token, the second, the second revoked, does the ledger accept?
    fn accepts(ledger: &Ledger) -> [bool; 4] {
        [store(None, false), store(Some("1"), false), store(Some("2"), false), store(Some("2"), true)]
            .map(|store| ledger.check(&store).is_ok())
    }

    #[test]
    fn only_what_is_in_doubt_may_go_either_way() {
        let mut ledger = Ledger::default();
        ledger.begin("d", Change::Pair);
        assert_eq!(accepts(&ledger), [true, true, true, true]);
        ledger.acknowledge("d", Change::Pair, Some("1"));
        assert_eq!(accepts(&ledger), [false, true, false, false]);
        ledger.begin("d", Change::Rotate);
        assert_eq!(accepts(&ledger), [false, true, true, true]);
        ledger.acknowledge("d", Change::Rotate, Some("2"));
        assert_eq!(accepts(&ledger), [false, false, true, false]);
        ledger.begin("d", Change::Revoke);
        assert_eq!(accepts(&ledger), [false, false, true, true]);
        ledger.acknowledge("d", Change::Revoke, None);
        assert_eq!(accepts(&ledger), [false, false, false, true]);
        ledger.begin("d", Change::Remove);
        ledger.acknowledge("d", Change::Remove, None);
        assert_eq!(accepts(&ledger), [true, false, false, false]);
    }

    #[test]
    fn a_crash_settles_doubts_by_the_store() {
        let mut ledger = Ledger::default();
        ledger.begin("d", Change::Pair);
        ledger.acknowledge("d", Change::Pair, Some("1"));
        ledger.begin("d", Change::Rotate);
        ledger.settle(&store(Some("2"), false));
        assert_eq!((ledger.token("d"), ledger.refused_token("d")), (Some("2"), Some("1")));
        assert_eq!(accepts(&ledger), [false, false, true, false]);
    }

    #[test]
    fn an_announced_request_stays_until_somebody_decides() {
        let mut ledger = Ledger::default();
        ledger.request_filed("r");
        assert!(ledger.check(&Devices::default()).is_err());
        ledger.request_in_doubt("r");
        assert!(ledger.check(&Devices::default()).is_ok());
        ledger.request_decided("r");
        assert!(ledger.check(&Devices::default()).is_ok());
    }
}
