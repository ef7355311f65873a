//! Params of the methods, read outside the gateway's lock: raw JSON in, [`Params`] or the text of a refusal out
//! (spec: methods sections 1 and 3; the published protocol 4 schema of the same names).
//!
//! Absent and `null` params are `{}`. These methods take small params only: anything larger is refused before
//! a tree is built from it, since a tree costs many times its text.

use super::{Params, SystemEvent};
use crate::connect::parse::UNREADABLE;
use crate::request::ParamsFault;
use crate::validate::{Rule, Shape, optional, required, validate};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// `health`, `status`, `system-presence`, `last-heartbeat`, `gateway.identity.get`: anything goes, nothing is read.
pub(crate) fn none_open(_: Option<&RawValue>) -> Result<Params, ParamsFault> {
    Ok(Params::None)
}

/// `device.pair.list`, `system.info`: an empty object.
pub(crate) fn none_closed(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[]);
    checked(&SHAPE, raw)?;
    Ok(Params::None)
}

/// An open object, kept; what is none counts as empty.
pub(super) fn open(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    let mut value = small(raw)?;
    Ok(Params::Object(value.as_object_mut().map(std::mem::take).unwrap_or_default()))
}

/// A closed object, kept.
pub(super) fn object(shape: &'static Shape, raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    checked(shape, raw).map(Params::Object)
}

/// `system-event`: open; members of a wrong type are as good as absent, only a text there must be.
pub(crate) fn system_event(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    let mut params = match small(raw)? {
        Value::Object(params) => params,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    let text = text(&mut params, "text").unwrap_or_default().trim().to_owned();
    if text.is_empty() {
        return Err(ParamsFault::Message("text required".into()));
    }
    Ok(Params::SystemEvent(Box::new(SystemEvent {
        text,
        device_id: self::text(&mut params, "deviceId"),
        instance_id: self::text(&mut params, "instanceId"),
        host: self::text(&mut params, "host"),
        ip: self::text(&mut params, "ip"),
        mode: self::text(&mut params, "mode"),
        version: self::text(&mut params, "version"),
        platform: self::text(&mut params, "platform"),
        device_family: self::text(&mut params, "deviceFamily"),
        model_identifier: self::text(&mut params, "modelIdentifier"),
        last_input_seconds: seconds(&params, "lastInputSeconds"),
        reason: self::text(&mut params, "reason"),
        roles: texts(&params, "roles").unwrap_or_default(),
        scopes: texts(&params, "scopes").unwrap_or_default(),
        tags: texts(&params, "tags").unwrap_or_default(),
    })))
}

/// `set-heartbeats`: a switch.
pub(crate) fn set_heartbeats(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    match small(raw)?.get("enabled").and_then(Value::as_bool) {
        Some(enabled) => Ok(Params::Enabled(enabled)),
        None => Err(ParamsFault::Message("invalid set-heartbeats params: enabled (boolean) required".into())),
    }
}

/// `device.pair.approve`, `device.pair.reject`.
pub(crate) fn request_id(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[required("requestId", Rule::NON_EMPTY)]);
    let mut params = checked(&SHAPE, raw)?;
    Ok(Params::RequestId(text(&mut params, "requestId").unwrap_or_default()))
}

/// `device.pair.remove`.
pub(crate) fn device_id(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[required("deviceId", Rule::NON_EMPTY)]);
    let mut params = checked(&SHAPE, raw)?;
    Ok(Params::DeviceId(text(&mut params, "deviceId").unwrap_or_default()))
}

/// `node.describe`.
pub(crate) fn node_id(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[required("nodeId", Rule::NON_EMPTY)]);
    let mut params = checked(&SHAPE, raw)?;
    Ok(Params::NodeId(text(&mut params, "nodeId").unwrap_or_default()))
}

/// `device.token.revoke`.
pub(crate) fn device_role(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[required("deviceId", Rule::NON_EMPTY), required("role", Rule::NON_EMPTY)]);
    Ok(device_role_params(checked(&SHAPE, raw)?))
}

/// `device.token.rotate`.
pub(crate) fn device_role_scopes(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[
        required("deviceId", Rule::NON_EMPTY),
        required("role", Rule::NON_EMPTY),
        optional("scopes", Rule::NON_EMPTY_LIST),
    ]);
    Ok(device_role_params(checked(&SHAPE, raw)?))
}

fn device_role_params(mut params: Map<String, Value>) -> Params {
    Params::DeviceRole {
        device_id: text(&mut params, "deviceId").unwrap_or_default(),
        role: text(&mut params, "role").unwrap_or_default(),
        scopes: texts(&params, "scopes"),
    }
}

/// Most bytes of params that are read into a tree.
pub(super) const SMALL_PARAMS_BYTES_MAX: usize = 64 * 1024;

pub(super) fn small(raw: Option<&RawValue>) -> Result<Value, ParamsFault> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(Value::Object(Map::new())) };
    if raw.get().len() > SMALL_PARAMS_BYTES_MAX {
        return Err(ParamsFault::Invalid(
            format!("must not have more than {SMALL_PARAMS_BYTES_MAX} bytes").into(),
        ));
    }
    serde_json::from_str(raw.get()).map_err(|_| ParamsFault::Invalid(UNREADABLE.into()))
}

pub(super) fn checked(
    shape: &'static Shape,
    raw: Option<&RawValue>,
) -> Result<Map<String, Value>, ParamsFault> {
    let mut value = small(raw)?;
    validate(shape, &value).map_err(|errors| ParamsFault::Invalid(errors.into()))?;
    Ok(value.as_object_mut().map(std::mem::take).unwrap_or_default())
}

pub(super) fn text(params: &mut Map<String, Value>, name: &str) -> Option<String> {
    match params.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => Some(text),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) | None => {
            None
        }
    }
}

/// A list counts only when every item is a string.
fn texts(params: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    params.get(name)?.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Whole seconds; presence has no negative ones.
fn seconds(params: &Map<String, Value>, name: &str) -> Option<u64> {
    params.get(name)?.as_f64().filter(|number| *number >= 0.0).map(|number| number as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;

    type Parse = fn(Option<&RawValue>) -> Result<Params, ParamsFault>;

    const ALL: [Parse; 8] = [
        none_open,
        none_closed,
        system_event,
        set_heartbeats,
        request_id,
        device_id,
        device_role,
        device_role_scopes,
    ];

    fn read(parse: Parse, text: &str) -> Result<Params, ParamsFault> {
        parse(Some(serde_json::from_str(text).unwrap()))
    }

    fn refusal(parse: Parse, text: &str) -> String {
        answer("m", read(parse, text).unwrap_err())
    }

    /// What the peer will read.
    fn answer(method: &str, fault: ParamsFault) -> String {
        match fault {
            ParamsFault::Invalid(errors) => format!("invalid {method} params: {errors}"),
            ParamsFault::Message(message) => message.into(),
            ParamsFault::Coded { message, .. } => message.to_owned(),
        }
    }

    #[test]
    fn methods_without_params_take_anything_or_nothing() {
        for text in ["null", "5", "[]", r#"{"x":1}"#] {
            assert!(matches!(read(none_open, text), Ok(Params::None)));
        }
        for text in ["null", "{}"] {
            assert!(matches!(read(none_closed, text), Ok(Params::None)));
        }
        assert!(matches!(none_closed(None), Ok(Params::None)));
        assert_eq!(refusal(none_closed, "[]"), "invalid m params: must be object");
        assert_eq!(refusal(none_closed, r#"{"x":1}"#), "invalid m params: at root: unexpected property 'x'");
    }

    #[test]
    fn system_event_drops_what_does_not_fit() {
        let text = r#"{"text":" hello ","host":"h","ip":5,"lastInputSeconds":2.5,"roles":["a",1],"tags":["t"],"scopes":"s","x":{}}"#;
        let Ok(Params::SystemEvent(event)) = read(system_event, text) else { panic!("refused") };
        assert_eq!(event.text, "hello");
        assert_eq!(event.host.as_deref(), Some("h"));
        assert_eq!((event.ip, event.last_input_seconds), (None, Some(2)));
        assert!(event.roles.is_empty() && event.scopes.is_empty());
        assert_eq!(event.tags, ["t"]);
        let text = r#"{"text":"a","lastInputSeconds":-1}"#;
        let Ok(Params::SystemEvent(event)) = read(system_event, text) else { panic!("refused") };
        assert_eq!(event.last_input_seconds, None);
    }

    #[test]
    fn some_refusals_are_whole_messages() {
        for text in ["null", "[]", "5", r#"{"text":" "}"#, r#"{"text":5}"#, "{}"] {
            assert_eq!(refusal(system_event, text), "text required");
        }
        for text in ["null", "[]", "5", r#"{"enabled":1}"#, "{}"] {
            assert_eq!(
                refusal(set_heartbeats, text),
                "invalid set-heartbeats params: enabled (boolean) required"
            );
        }
        assert!(matches!(read(set_heartbeats, r#"{"enabled":false,"x":1}"#), Ok(Params::Enabled(false))));
    }

    #[test]
    fn ids_are_required_and_alone() {
        assert!(matches!(read(request_id, r#"{"requestId":"r"}"#), Ok(Params::RequestId(id)) if id == "r"));
        assert!(matches!(read(device_id, r#"{"deviceId":" "}"#), Ok(Params::DeviceId(id)) if id == " "));
        assert_eq!(
            answer("device.pair.approve", request_id(None).unwrap_err()),
            "invalid device.pair.approve params: must have required property 'requestId'"
        );
        assert_eq!(
            refusal(request_id, r#"{"requestId":5,"deviceId":"d"}"#),
            "invalid m params: at root: unexpected property 'deviceId'; at /requestId: must be string"
        );
        assert_eq!(
            refusal(device_id, r#"{"deviceId":""}"#),
            "invalid m params: at /deviceId: must not have fewer than 1 characters"
        );
    }

    #[test]
    fn tokens_are_named_by_device_and_role() {
        let text = r#"{"deviceId":"d","role":"operator"}"#;
        for parse in [device_role as Parse, device_role_scopes] {
            let Ok(Params::DeviceRole { device_id, role, scopes }) = read(parse, text) else {
                panic!("refused")
            };
            assert_eq!((device_id.as_str(), role.as_str(), scopes), ("d", "operator", None));
        }
        let text = r#"{"deviceId":"d","role":"operator","scopes":["a"]}"#;
        let Ok(Params::DeviceRole { scopes, .. }) = read(device_role_scopes, text) else { panic!("refused") };
        assert_eq!(scopes, Some(vec!["a".to_owned()]));
        assert_eq!(refusal(device_role, text), "invalid m params: at root: unexpected property 'scopes'");
        assert_eq!(
            refusal(device_role_scopes, r#"{"deviceId":"d","role":"","scopes":["",3]}"#),
            "invalid m params: at /role: must not have fewer than 1 characters; \
             at /scopes/0: must not have fewer than 1 characters; at /scopes/1: must be string"
        );
        assert_eq!(
            refusal(device_role_scopes, r#"{"role":5}"#),
            "invalid m params: must have required property 'deviceId'; at /role: must be string"
        );
    }

    #[test]
    fn large_or_unreadable_params_are_not_read() {
        let edge = format!(r#"{{"text":"{}"}}"#, "x".repeat(SMALL_PARAMS_BYTES_MAX - 11));
        assert_eq!(edge.len(), SMALL_PARAMS_BYTES_MAX);
        assert!(read(system_event, &edge).is_ok());
        assert_eq!(
            refusal(system_event, &format!(" {}", edge.replace("xx", "xxx"))),
            "invalid m params: must not have more than 65536 bytes"
        );
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        assert_eq!(refusal(none_closed, &deep), format!("invalid m params: {UNREADABLE}"));
        let huge = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        for parse in ALL {
            let _ = read(parse, &huge);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_params_never_panic(
            members in prop::collection::vec(
                (
                    prop::sample::select(vec!["text", "enabled", "requestId", "deviceId", "role", "scopes", "lastInputSeconds", "z"]),
                    prop::sample::select(vec!["\"t\"", "\"\"", "null", "-5", "1e300", "[]", "[\"a\"]", "[1]", "{}", "true"]),
                ),
                0..5,
            ),
        ) {
            let text: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let text = format!("{{{}}}", text.join(","));
            for parse in ALL {
                match read(parse, &text) {
                    Ok(Params::DeviceRole { device_id, role, .. }) => prop_assert!(!device_id.is_empty() && !role.is_empty()),
                    Ok(Params::RequestId(id) | Params::DeviceId(id) | Params::NodeId(id)) => prop_assert!(!id.is_empty()),
                    Ok(Params::SystemEvent(event)) => prop_assert!(!event.text.is_empty()),
                    Ok(_) => {}
                    Err(fault) => prop_assert!(!answer("m", fault).is_empty()),
                }
            }
        }
    }
}
