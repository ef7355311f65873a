//! Compares what came back with what a case expects.

use crate::case::{Expect, HelloOk};
use crate::play::Player;
use crate::shape;
use clawgate_proto::client::{Response, ResponseError};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What came back, in the words of [`Expect`].
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) challenge: Option<Value>,
    pub(crate) hello: Option<Value>,
    pub(crate) error: Option<Value>,
    pub(crate) ok: Option<Value>,
    pub(crate) http: Option<u16>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Option<Value>,
    pub(crate) answer: Option<Value>,
    pub(crate) event: Option<Value>,
    pub(crate) close: Option<(u16, String)>,
    pub(crate) open: bool,
    /// The device that acted.
    pub(crate) device_id: String,
}

impl Seen {
    pub(crate) fn answer_is(&mut self, response: Response) {
        match response.into_result() {
            Ok(payload) => self.ok = Some(payload),
            Err(error) => self.error = Some(error_value(&error)),
        }
    }
}

/// Payloads may hold device tokens: only what a difference is explained by is shown.
impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen")
            .field("hello", &self.hello.is_some())
            .field("ok", &self.ok.is_some())
            .field("error", &self.error)
            .field("http", &self.http)
            .field("answer", &self.answer)
            .field("close", &self.close)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl Player {
    pub(crate) fn compare(&self, expect: &Expect, seen: &Seen) -> Result<(), String> {
        let mut request_id = String::new();
        present("challenge", &expect.challenge, &seen.challenge, |shape, value| {
            shape::fits(shape, value, "challenge")
        })?;
        present("hello-ok", &expect.hello, &seen.hello, |expect, hello| self.compare_hello(expect, hello))?;
        present("error", &expect.error, &seen.error, |expect, error| {
            if let Some(id) = error["details"]["requestId"].as_str() {
                id.clone_into(&mut request_id);
            }
            let expect = fill(expect, &request_id, &seen.device_id);
            same("error", &self.resolve_within(&expect), error)
        })?;
        present("ok", &expect.ok, &seen.ok, |shape, payload| shape::fits(shape, payload, "payload"))?;
        present("http", &expect.http, &seen.http, |expect, status| same("status", expect, status))?;
        for (name, value) in &expect.headers {
            same(name, &Some(value), &seen.headers.get(name))?;
        }
        if let Some(shape) = &expect.body {
            shape::fits(shape, seen.body.as_ref().unwrap_or(&Value::Null), "body")?;
        }
        present("answer", &expect.answer, &seen.answer, |expect, answer| {
            same("answer", &json!({"id": expect.id, "error": expect.error}), answer)
        })?;
        present("event", &expect.event, &seen.event, |expect, event| {
            same("seq", &json!(expect.seq), &event["seq"])?;
            same("stateVersion", &json!(expect.state_version), &event["stateVersion"])?;
            shape::fits(&expect.payload, &event["payload"], "payload")
        })?;
        present("close", &expect.close, &seen.close, |expect, (code, reason)| {
            same("close code", &expect.code, code)?;
            same("close reason", &expect.reason.replace("<requestId>", &request_id), reason)
        })?;
        same("open", &expect.open, &seen.open)?;
        let payload = seen.ok.as_ref().map(Value::to_string).unwrap_or_default();
        let is_named =
            |name: &&String| self.keys.get(*name).is_some_and(|key| payload.contains(key.device_id()));
        if let Some(name) = expect.names.iter().find(|name| !is_named(name)) {
            return Err(format!("device {name} is not named"));
        }
        let listed = seen.ok.as_ref().map(|payload| payload["paired"].to_string()).unwrap_or_default();
        let is_listed =
            |name: &String| self.keys.get(name).is_some_and(|key| listed.contains(key.device_id()));
        match (
            expect.paired.iter().find(|name| !is_listed(name)),
            expect.not_paired.iter().find(|name| is_listed(name)),
        ) {
            (Some(name), _) => Err(format!("device {name} is not listed")),
            (None, Some(name)) => Err(format!("device {name} is listed")),
            (None, None) => Ok(()),
        }
    }

    fn compare_hello(&self, expect: &HelloOk, hello: &Value) -> Result<(), String> {
        same("protocol", &json!(expect.protocol), &hello["protocol"])?;
        match &expect.auth {
            None => same("auth is there", &false, &hello["auth"].is_object())?,
            Some(auth) => {
                let got = &hello["auth"];
                same("auth.role", &json!(auth.role), &got["role"])?;
                same("auth.scopes", &json!(auth.scopes), &got["scopes"])?;
                same("auth.deviceToken", &auth.device_token, &got["deviceToken"].is_string())?;
            }
        }
        if let Some(policy) = &expect.policy {
            let mut policy: Map<String, Value> = policy.clone();
            if self.stage.place().is_real() {
                let limits = &self.stage.config().limits;
                policy.insert("tickIntervalMs".to_owned(), json!(limits.tick_interval_ms));
            }
            same("policy", &Value::Object(policy), &hello["policy"])?;
        }
        match &expect.payload {
            Some(shape) => shape::fits(shape, hello, "hello-ok"),
            None => Ok(()),
        }
    }
}

pub(crate) fn error_value(error: &ResponseError) -> Value {
    let mut value = json!({"code": error.code, "message": error.message});
    let further = [
        ("details", error.details.clone()),
        ("retryable", error.retryable.map(Value::from)),
        ("retryAfterMs", error.retry_after_ms.map(Value::from)),
    ];
    for (name, member) in further {
        if let Some(member) = member {
            value[name] = member;
        }
    }
    value
}

/// An expected error with what is new each time put in.
fn fill(expect: &Value, request_id: &str, device_id: &str) -> Value {
    match expect {
        Value::String(text) if text == "<requestId>" => json!(request_id),
        Value::String(text) if text == "<deviceId>" => json!(device_id),
        Value::Object(members) => {
            let filled =
                members.iter().map(|(name, value)| (name.clone(), fill(value, request_id, device_id)));
            Value::Object(filled.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            expect.clone()
        }
    }
}

fn present<E, S>(
    what: &str,
    expect: &Option<E>,
    seen: &Option<S>,
    compare: impl FnOnce(&E, &S) -> Result<(), String>,
) -> Result<(), String> {
    match (expect, seen) {
        (Some(expect), Some(seen)) => compare(expect, seen),
        (Some(_), None) => Err(format!("{what}: expected, did not come")),
        (None, Some(_)) => Err(format!("{what}: came, was not expected")),
        (None, None) => Ok(()),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expect: &T, seen: &T) -> Result<(), String> {
    if expect == seen { Ok(()) } else { Err(format!("{what}: expected {expect:?}, got {seen:?}")) }
}
