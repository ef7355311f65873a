//! Params of `node.invoke` and of the answer to it, read outside the gateway's lock (spec: nodes section 4, v4 section
//! 11.4). What a node is to work on, and what it gives back, may be large: neither becomes a tree here, and both are
//! brought into the form in which they are sent on.

use super::Params;
use super::params::{SMALL_PARAMS_BYTES_MAX, text};
use crate::connect::parse::UNREADABLE;
use crate::request::ParamsFault;
use crate::system_run::SystemRun;
use crate::validate::{Rule, Shape, optional, required, validate};
use bytes::Bytes;
use core::fmt;
use core::ops::Range;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// `node.invoke`.
#[derive(Debug)]
pub struct InvokeCall {
    /// The node, trimmed.
    pub node_id: String,
    /// What it should do, trimmed.
    pub command: String,
    /// With what.
    pub params: InvokeParams,
    /// How long the caller waits.
    pub timeout_ms: Option<u64>,
    /// For the node to tell repetitions by.
    pub idempotency_key: Box<str>,
}

/// What a command works on.
pub enum InvokeParams {
    /// Nothing.
    None,
    /// This, as a JSON string that holds JSON.
    Json(Bytes),
    /// A program that is to run.
    Run(Box<SystemRun>),
}

impl fmt::Debug for InvokeParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Json(json) => f.debug_tuple("Json").field(&json.len()).finish(),
            Self::Run(run) => run.fmt(f),
        }
    }
}

/// `node.invoke.result`.
#[derive(Debug)]
pub struct NodeResult {
    /// The name under which the node was asked.
    pub id: String,
    /// Who it says that it is.
    pub node_id: String,
    /// How it went.
    pub outcome: Result<NodePayload, NodeError>,
}

/// What a node gives back.
#[derive(Clone)]
pub struct NodePayload {
    /// The end of the answer to the caller: `,"payload":..,"payloadJSON":..}`.
    pub rest: Bytes,
    /// Where in it the payload is, when there is one.
    payload: Option<Range<usize>>,
}

impl NodePayload {
    /// The payload as JSON; `null` when there is none.
    pub fn payload(&self) -> Bytes {
        let none = Bytes::from_static(b"null");
        self.payload.clone().map_or(none, |at| self.rest.slice(at))
    }
}

impl fmt::Debug for NodePayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodePayload").field("bytes", &self.rest.len()).finish_non_exhaustive()
    }
}

/// Why a node did not do it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeError {
    /// The node's word for it.
    pub code: Option<String>,
    /// For a person.
    pub message: Option<String>,
}

/// `node.event`.
#[derive(Debug)]
pub struct NodeEvent {
    /// Its name.
    pub event: String,
    /// What it tells; nothing, when it is too large for anything that is known, or cannot be read.
    pub payload: Option<Value>,
}

/// `node.invoke`.
pub(super) fn invoke(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[
        required("nodeId", Rule::NON_EMPTY),
        required("command", Rule::NON_EMPTY),
        optional("params", Rule::Any),
        optional("timeoutMs", Rule::COUNT),
        required("idempotencyKey", Rule::NON_EMPTY),
        optional("sessionKey", Rule::NON_EMPTY),
        optional("turnSourceChannel", Rule::STRING),
        optional("turnSourceTo", Rule::STRING),
        optional("turnSourceAccountId", Rule::STRING),
        optional("turnSourceThreadId", Rule::AnyOf(&Rule::STRING, &Rule::Number { min: f64::NEG_INFINITY })),
    ]);
    let mut members = Members::read(raw)?;
    let params = members.take("params");
    let mut given = members.checked(&SHAPE, &[("params", params)])?;
    let trimmed = |text: Option<String>| text.unwrap_or_default().trim().to_owned();
    let command = trimmed(text(&mut given, "command"));
    let params = match params {
        None => InvokeParams::None,
        Some(raw) if command == SYSTEM_RUN && raw.get().starts_with('{') => {
            if raw.get().len() > SMALL_PARAMS_BYTES_MAX {
                return Err(too_large(" in params of system.run"));
            }
            let given =
                serde_json::from_str(raw.get()).map_err(|_| ParamsFault::Invalid(UNREADABLE.into()))?;
            InvokeParams::Run(Box::new(SystemRun::read(given)))
        }
        Some(raw) => InvokeParams::Json(literal(raw.get())),
    };
    Ok(Params::Invoke(Box::new(InvokeCall {
        node_id: trimmed(text(&mut given, "nodeId")),
        command,
        params,
        // A shape let it in, so it is whole; it may be written `5.0`.
        timeout_ms: given.get("timeoutMs").and_then(Value::as_f64).map(|ms| ms as u64),
        idempotency_key: text(&mut given, "idempotencyKey").unwrap_or_default().into(),
    })))
}

/// `node.invoke.result`.
pub(super) fn result(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[
        required("id", Rule::NON_EMPTY),
        required("nodeId", Rule::NON_EMPTY),
        required("ok", Rule::Bool),
        optional("payload", Rule::Any),
        optional("payloadJSON", Rule::STRING),
        optional("error", Rule::Object(&ERROR)),
    ]);
    static ERROR: Shape = Shape(&[optional("code", Rule::NON_EMPTY), optional("message", Rule::NON_EMPTY)]);
    let is_null = |raw: &&RawValue| raw.get() == "null";
    let mut members = Members::read(raw)?;
    let mut payload = members.take("payload");
    // The node host says `null` where it has nothing to say, and some nodes put a value where its text should be.
    let mut text_of = members.take("payloadJSON").filter(|raw| !is_null(raw));
    if text_of.is_some_and(|raw| !raw.get().starts_with('"')) {
        payload = payload.or(text_of.take());
    }
    if let Some(error) = members.take("error").filter(|raw| !is_null(raw)) {
        members.0.push((Cow::Borrowed("error"), error));
    }
    let mut given = members.checked(&SHAPE, &[("payload", payload), ("payloadJSON", text_of)])?;
    let outcome = if given.get("ok") == Some(&Value::Bool(true)) {
        Ok(rendered(payload.map(RawValue::get), text_of.map(RawValue::get)))
    } else {
        let mut error = match given.remove("error") {
            Some(Value::Object(error)) => error,
            Some(_) | None => Map::new(),
        };
        Err(NodeError { code: text(&mut error, "code"), message: text(&mut error, "message") })
    };
    Ok(Params::NodeResult(Box::new(NodeResult {
        id: text(&mut given, "id").unwrap_or_default(),
        node_id: text(&mut given, "nodeId").unwrap_or_default(),
        outcome,
    })))
}

/// `node.event`.
pub(super) fn event(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[
        required("event", Rule::NON_EMPTY),
        optional("payload", Rule::Any),
        optional("payloadJSON", Rule::STRING),
    ]);
    let mut members = Members::read(raw)?;
    let payload = members.take("payload");
    let text_of = members.take("payloadJSON").filter(|raw| raw.get() != "null");
    let mut given = members.checked(&SHAPE, &[("payload", payload), ("payloadJSON", text_of)])?;
    let small = |raw: &&RawValue| raw.get().len() <= SMALL_PARAMS_BYTES_MAX;
    let payload = match text_of {
        Some(raw) => small(&raw)
            .then(|| serde_json::from_str::<String>(raw.get()).ok())
            .flatten()
            .and_then(|text| serde_json::from_str(&text).ok()),
        None => payload.filter(small).and_then(|raw| serde_json::from_str(raw.get()).ok()),
    };
    let event = text(&mut given, "event").unwrap_or_default();
    Ok(Params::NodeEvent(Box::new(NodeEvent { event, payload })))
}

/// `text` is a JSON string. What is in it is the payload, when it is JSON; else the text stands for itself.
fn rendered(payload: Option<&str>, text: Option<&str>) -> NodePayload {
    let inner: Option<String> = text.and_then(|text| serde_json::from_str(text).ok());
    let is_empty = inner.as_deref() == Some("");
    let parsed = inner.as_deref().and_then(|inner| serde_json::from_str::<&RawValue>(inner).ok());
    let mut rest = Vec::with_capacity(64 + 2 * text.or(payload).map_or(0, str::len));
    let mut at = None;
    let unparsed = text.filter(|_| parsed.is_none() && !is_empty);
    let shown = parsed.map(RawValue::get).or(payload.filter(|_| unparsed.is_none()));
    if let Some(text) = unparsed {
        rest.extend_from_slice(br#","payload":"#);
        let start = rest.len();
        rest.extend_from_slice(br#"{"payloadJSON":"#);
        rest.extend_from_slice(text.as_bytes());
        rest.push(b'}');
        at = Some(start..rest.len());
    } else if let Some(shown) = shown {
        rest.extend_from_slice(br#","payload":"#);
        at = Some(rest.len()..rest.len() + shown.len());
        rest.extend_from_slice(shown.as_bytes());
    }
    rest.extend_from_slice(br#","payloadJSON":"#);
    rest.extend_from_slice(text.unwrap_or("null").as_bytes());
    rest.push(b'}');
    NodePayload { rest: Bytes::from(rest), payload: at }
}

/// A text as a JSON string.
pub(crate) fn literal(text: &str) -> Bytes {
    Bytes::from(serde_json::to_vec(text).expect("a text is JSON"))
}

/// The members of an object, raw.
#[derive(Default)]
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn read(raw: Option<&'a RawValue>) -> Result<Self, ParamsFault> {
        let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(Self::default()) };
        if !raw.get().starts_with('{') {
            return Err(ParamsFault::Invalid("must be object".into()));
        }
        serde_json::from_str(raw.get()).map_err(|_| ParamsFault::Invalid(UNREADABLE.into()))
    }

    /// Takes a member out. Of several of its name the last counts.
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().rev().find(|(found, _)| found == name).map(|(_, raw)| *raw);
        self.0.retain(|(found, _)| found != name);
        found
    }

    /// The members that are left, as a tree, after a look at all of them. Of those named here the rules only see whether
    /// they are texts.
    fn checked(
        self,
        shape: &'static Shape,
        large: &[(&str, Option<&RawValue>)],
    ) -> Result<Map<String, Value>, ParamsFault> {
        if self.0.iter().map(|(name, raw)| name.len() + raw.get().len()).sum::<usize>()
            > SMALL_PARAMS_BYTES_MAX
        {
            return Err(too_large(""));
        }
        let mut tree = Map::new();
        for (name, raw) in self.0 {
            let value =
                serde_json::from_str(raw.get()).map_err(|_| ParamsFault::Invalid(UNREADABLE.into()))?;
            tree.insert(name.into_owned(), value);
        }
        for (name, raw) in large {
            if let Some(raw) = raw {
                let is_text = raw.get().starts_with('"');
                tree.insert(
                    (*name).to_owned(),
                    if is_text { Value::String(String::new()) } else { Value::Null },
                );
            }
        }
        let mut tree = Value::Object(tree);
        validate(shape, &tree).map_err(|errors| ParamsFault::Invalid(errors.into()))?;
        Ok(tree.as_object_mut().map(std::mem::take).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                    if members.len() > MEMBERS_MAX {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A string that borrows unless it holds escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn too_large(of: &str) -> ParamsFault {
    ParamsFault::Invalid(format!("must not have more than {SMALL_PARAMS_BYTES_MAX} bytes{of}").into())
}

/// The command that runs programs.
pub(crate) const SYSTEM_RUN: &str = "system.run";
/// Far more than there are names.
const MEMBERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read_result(value: &Value) -> Result<NodeResult, ParamsFault> {
        read_result_text(&value.to_string())
    }

    fn read_result_text(text: &str) -> Result<NodeResult, ParamsFault> {
        let params = result(Some(serde_json::from_str(text).unwrap()))?;
        if let Params::NodeResult(result) = params { Ok(*result) } else { panic!("{params:?}") }
    }

    fn read_invoke(text: &str) -> Result<InvokeCall, ParamsFault> {
        let params = invoke(Some(serde_json::from_str(text).unwrap()))?;
        if let Params::Invoke(call) = params { Ok(*call) } else { panic!("{params:?}") }
    }

    fn answer(payload: &NodePayload) -> Value {
        let text = format!(r#"{{"ok":true{}"#, std::str::from_utf8(&payload.rest).unwrap());
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_answer_is_brought_into_the_form_in_which_it_is_sent_on() {
        for (given, payload, text) in [
            (json!({"payloadJSON": "{\"a\":[1]}"}), Some(json!({"a": [1]})), json!("{\"a\":[1]}")),
            (json!({"payloadJSON": " null "}), Some(json!(null)), json!(" null ")),
            (json!({"payloadJSON": "no JSON"}), Some(json!({"payloadJSON": "no JSON"})), json!("no JSON")),
            (json!({"payloadJSON": "", "payload": 5}), Some(json!(5)), json!("")),
            (json!({"payloadJSON": null, "payload": 5}), Some(json!(5)), json!(null)),
            (json!({"payloadJSON": {"a": 1}}), Some(json!({"a": 1})), json!(null)),
            (json!({"payloadJSON": {"a": 1}, "payload": 5}), Some(json!(5)), json!(null)),
            (json!({"payloadJSON": "1", "payload": 5}), Some(json!(1)), json!("1")),
            (json!({"error": null}), None, json!(null)),
        ] {
            let mut value = json!({"id": "i", "nodeId": "n", "ok": true});
            value.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
            let result = read_result(&value).unwrap();
            let shown = answer(result.outcome.as_ref().unwrap());
            assert_eq!((shown.get("payload"), &shown["payloadJSON"]), (payload.as_ref(), &text), "{given}");
            let alone: Value = serde_json::from_slice(&result.outcome.unwrap().payload()).unwrap();
            assert_eq!(alone, payload.unwrap_or_default());
        }
        // Half a pair of surrogates is JSON to some, and no text to us.
        let text = r#"{"id":"i","nodeId":"n","ok":true,"payloadJSON":"\ud800"}"#;
        let result = read_result_text(text).unwrap().outcome.unwrap();
        assert_eq!(&result.rest[..], br#","payload":{"payloadJSON":"\ud800"},"payloadJSON":"\ud800"}"#);
    }

    #[test]
    fn a_refusal_says_what_the_node_says() {
        let error = json!({"code": "BUSY", "message": "later"});
        let result = read_result(&json!({"id": "i", "nodeId": "n", "ok": false, "error": error})).unwrap();
        let said = NodeError { code: Some("BUSY".to_owned()), message: Some("later".to_owned()) };
        assert_eq!(result.outcome.unwrap_err(), said);
        for (value, wanted) in [
            (json!({"id": "i", "ok": true}), "must have required property 'nodeId'"),
            (json!({"id": "i", "nodeId": "n", "ok": 1}), "at /ok: must be boolean"),
            (json!({"id": "i", "nodeId": "n", "ok": true, "x": 1}), "at root: unexpected property 'x'"),
            (
                json!({"id": "i", "nodeId": "n", "ok": false, "error": {"code": ""}}),
                "at /error/code: must not have fewer than 1 characters",
            ),
        ] {
            assert_eq!(read_result(&value).unwrap_err(), ParamsFault::Invalid(wanted.into()));
        }
    }

    #[test]
    fn params_of_a_command_are_sent_as_they_came() {
        let call = read_invoke(
            r#"{"nodeId":" n ","command":" c ","params":{"a": ["ü", 1e400]},"timeoutMs":5.0,"idempotencyKey":"k"}"#,
        );
        let call = call.unwrap();
        assert_eq!((call.node_id.as_str(), call.command.as_str(), call.timeout_ms), ("n", "c", Some(5)));
        let InvokeParams::Json(json) = call.params else { panic!() };
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), r#"{"a": ["ü", 1e400]}"#);
        let large = "x".repeat(3 << 20);
        let call = read_invoke(&format!(
            r#"{{"nodeId":"n","command":"c","params":"{large}","idempotencyKey":"k"}}"#
        ));
        assert!(matches!(call.unwrap().params, InvokeParams::Json(json) if json.len() == large.len() + 6));
        let none = read_invoke(r#"{"nodeId":"n","command":"c","idempotencyKey":"k"}"#).unwrap();
        assert!(matches!(none.params, InvokeParams::None));
        // Other members have no reason to be large.
        let refused = read_invoke(&format!(r#"{{"nodeId":"n","command":"{large}","idempotencyKey":"k"}}"#));
        assert_eq!(refused.unwrap_err(), too_large(""));
    }

    #[test]
    fn what_runs_is_taken_apart_however_it_is_written() {
        for text in [
            r#"{"nodeId":"n","command":"system.run","params":{"approved":true},"idempotencyKey":"k"}"#,
            r#"{"nodeId":"n","command":" system.run\n","params": {"approved":true},"idempotencyKey":"k"}"#,
            r#"{"nodeId":"n","command":"x","params":1,"par\u0061ms":{"approved":true},"c\u006fmmand":"system.run","idempotencyKey":"k"}"#,
        ] {
            let call = read_invoke(text).unwrap();
            assert!(matches!(&call.params, InvokeParams::Run(run) if run.claims), "{text}");
        }
        let large = "x".repeat(SMALL_PARAMS_BYTES_MAX);
        let text = format!(
            r#"{{"nodeId":"n","command":"system.run","params":{{"x":"{large}"}},"idempotencyKey":"k"}}"#
        );
        assert_eq!(read_invoke(&text).unwrap_err(), too_large(" in params of system.run"));
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        let text = format!(r#"{{"nodeId":"n","command":"c","params":{deep},"idempotencyKey":"k"}}"#);
        assert!(matches!(read_invoke(&text).unwrap().params, InvokeParams::Json(_)));
        let text = format!(r#"{{"id":"i","nodeId":"n","ok":true,"payload":{deep}}}"#);
        assert!(read_result_text(&text).is_ok());
        let text = format!(r#"{{"id":"i","nodeId":"n","ok":true,"payloadJSON":"{deep}"}}"#);
        assert!(read_result_text(&text).is_ok());
        let text = format!(
            r#"{{"nodeId":"n","command":"system.run","params":{{"x":{deep}}},"idempotencyKey":"k"}}"#
        );
        assert!(read_invoke(&text).is_err());
    }

    proptest! {
        /// Whatever a node says, the answer that is made of it is JSON.
        #[test]
        fn every_answer_is_json(text in "\\PC{0,40}|[{}\\[\\]\",:0-9\\\\a-df-z ]{0,40}", payload in prop::option::of("\\PC{0,8}")) {
            let mut value = json!({"id": "i", "nodeId": "n", "ok": true, "payloadJSON": text});
            if let Some(payload) = payload {
                value["payload"] = json!(payload);
            }
            let result = read_result(&value).unwrap();
            let shown = answer(&result.outcome.unwrap());
            prop_assert_eq!(&shown["payloadJSON"], &json!(text));
            if text.is_empty() {
                prop_assert_eq!(shown.get("payload"), value.get("payload"));
            } else {
                let parsed = serde_json::from_str::<Value>(&text).unwrap_or_else(|_| json!({"payloadJSON": text}));
                prop_assert_eq!(&shown["payload"], &parsed);
            }
        }
    }
}
