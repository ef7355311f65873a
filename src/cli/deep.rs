//! `security audit --deep`: what a running gateway really does, which no file says. It is asked as a stranger, as a page
//! from elsewhere, and as this machine's device.

use super::Failure;
use super::args::ClientArgs;
use super::session::{Knock, Session, knock};
use crate::audit::{Facts, Finding, Severity};
use crate::environment::Environment;
use crate::interfaces;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// What was found, and what only the gateway knows.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// What was found.
    pub(super) findings: Vec<Finding>,
    /// When it last saw each device.
    pub(super) seen: Option<BTreeMap<String, u64>>,
}

/// Asks.
pub(super) fn look(facts: &Facts, environment: &Environment, timeout_ms: u64) -> Live {
    let args = ClientArgs { timeout: timeout_ms, ..ClientArgs::default() };
    let mut live = Live::default();
    match knock(&args, environment, None) {
        Err(why) => {
            live.findings.push(unasked(&why));
            return live;
        }
        Ok(knocked) => live.findings.extend(as_a_stranger(&knocked)),
    }
    if let Ok(knocked) = knock(&args, environment, Some(FOREIGN_ORIGIN)) {
        live.findings.extend(as_a_foreign_page(&knocked));
    }
    let port = facts.own.as_ref().and_then(|own| own.port).unwrap_or(facts.port);
    if !facts.exposed {
        let takes = |address: &Ipv4Addr| {
            TcpStream::connect_timeout(&SocketAddr::from((*address, port)), CONNECT_PATIENCE).is_ok()
        };
        let elsewhere = interfaces::addresses().into_iter().filter(|address| !address.is_loopback());
        live.findings.extend(elsewhere.take(ADDRESSES_MAX).filter(takes).map(|address| wider(address, port)));
    }
    match Session::open(&args, environment) {
        Ok(mut session) => {
            live.seen = session.call("device.pair.list", json!({})).ok().map(|list| seen(&list));
            if let Ok(status) = session.call("status", json!({})) {
                live.findings.extend(guessed(&status["gateway"]["refused"]));
            }
            session.close();
        }
        Err(why) => live.findings.push(unasked(&why)),
    }
    live
}

fn unasked(why: &Failure) -> Finding {
    let message = why.message();
    let (first, rest) = message.split_once('\n').unwrap_or((&message, ""));
    Finding::security("live.unasked", Severity::Info, "the running gateway", first, rest.replace('\n', " "))
}

fn as_a_stranger(knocked: &Knock) -> Option<Finding> {
    let Knock::Admitted { scopes } = knocked else { return None };
    let scopes = if scopes.is_empty() { "no scopes".to_owned() } else { scopes.join(", ") };
    Some(Finding::security(
        "live.open",
        Severity::Critical,
        "the running gateway",
        format!("it lets in whoever connects, without a secret and without a device ({scopes})"),
        "set gateway.auth.mode to token, and restart it",
    ))
}

fn as_a_foreign_page(knocked: &Knock) -> Option<Finding> {
    let refused_for_its_origin =
        matches!(knocked, Knock::Refused { code } if code == "CONTROL_UI_ORIGIN_NOT_ALLOWED");
    (!refused_for_its_origin).then(|| {
        Finding::security(
            "live.origins",
            Severity::Critical,
            "the running gateway",
            "a page from anywhere may try to come in: its origin is not what it is refused for",
            "look at gateway.controlUi.allowedOrigins and at switches with `dangerously` in their names",
        )
    })
}

fn wider(address: Ipv4Addr, port: u16) -> Finding {
    Finding::security(
        "live.reachable",
        Severity::Warn,
        format!("{address}:{port}"),
        "it takes connections, although the configuration says loopback: a flag or a variable says otherwise, or something \
         forwards the port",
        "start the gateway without --bind, or look what forwards (a container's published port, a proxy)",
    )
}

/// When the gateway last saw each device.
fn seen(list: &Value) -> BTreeMap<String, u64> {
    let devices = list["paired"].as_array().into_iter().flatten();
    devices
        .filter_map(|device| {
            Some((device["deviceId"].as_str()?.to_owned(), device["lastSeenAtMs"].as_u64()?))
        })
        .collect()
}

/// Somebody tries secrets.
fn guessed(refused: &Value) -> Option<Finding> {
    let count: u64 = GUESSES.iter().filter_map(|code| refused[*code].as_u64()).sum();
    (count >= GUESSES_MIN).then(|| {
        Finding::security(
            "live.guessing",
            Severity::Warn,
            "the running gateway",
            format!("it refused {count} wrong secrets since its start: somebody guesses, or a client has an old one"),
            "`clawgate logs` names the addresses (`peer.refused`)",
        )
    })
}

/// The name is reserved (RFC 2606): it is nobody's.
const FOREIGN_ORIGIN: &str = "https://audit.invalid";
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);
const ADDRESSES_MAX: usize = 16;
const GUESSES: [&str; 4] =
    ["AUTH_TOKEN_MISMATCH", "AUTH_PASSWORD_MISMATCH", "AUTH_DEVICE_TOKEN_MISMATCH", "AUTH_RATE_LIMITED"];
/// A person mistypes less often.
const GUESSES_MIN: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_gets_in_without_anything_is_found() {
        let admitted = Knock::Admitted { scopes: vec!["operator.admin".to_owned()] };
        assert_eq!(as_a_stranger(&admitted).map(|finding| finding.severity), Some(Severity::Critical));
        let refused = |code: &str| Knock::Refused { code: code.to_owned() };
        assert_eq!(as_a_stranger(&refused("DEVICE_IDENTITY_REQUIRED")), None);
        assert_eq!(as_a_foreign_page(&refused("CONTROL_UI_ORIGIN_NOT_ALLOWED")), None);
        for knocked in [admitted, refused("AUTH_TOKEN_MISSING")] {
            assert_eq!(as_a_foreign_page(&knocked).map(|finding| finding.id), Some("live.origins"));
        }
    }

    #[test]
    fn guesses_are_counted() {
        let refused = |count: u64| json!({ "AUTH_TOKEN_MISMATCH": count, "PAIRING_REQUIRED": 500 });
        assert_eq!(guessed(&refused(19)), None);
        assert_eq!(guessed(&refused(20)).map(|finding| finding.id), Some("live.guessing"));
        assert_eq!(guessed(&Value::Null), None);
    }

    #[test]
    fn devices_are_seen_when_the_gateway_says_so() {
        let list = json!({ "paired": [{ "deviceId": "a", "lastSeenAtMs": 5 }, { "deviceId": "b" }] });
        assert_eq!(seen(&list), BTreeMap::from([("a".to_owned(), 5)]));
        let finding = wider(Ipv4Addr::new(192, 0, 2, 1), 5);
        assert_eq!((finding.id, finding.place.as_str()), ("live.reachable", "192.0.2.1:5"));
        let finding = unasked(&Failure::Unreachable("nobody\nstart it".to_owned()));
        assert_eq!((finding.means.as_str(), finding.fix.as_str()), ("nobody", "start it"));
    }
}
