//! Params of the methods about the gateway itself: its log, wake words, the talk mode, suspension and restart
//! (spec: methods sections 3 and 10; the published protocol 4 schema of the same names).

use super::Params;
use super::params::{checked, small, text};
use crate::request::ParamsFault;
use crate::validate::{Rule, Shape, optional, required};
use serde_json::Value;
use serde_json::value::RawValue;

/// `logs.tail`: from where, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogsTail {
    /// Where the previous answer ended.
    pub cursor: Option<u64>,
    /// Most lines.
    pub lines_max: usize,
    /// Most bytes that are looked at.
    pub bytes_max: u64,
}

/// `wake`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// The line for the agent, trimmed; empty when there is nothing to say.
    pub text: String,
    /// Whether it should beat at once.
    pub now: bool,
}

/// `gateway.suspend.prepare`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspendPrepare {
    /// Chosen by the caller; the same one renews its suspension.
    pub request_id: String,
    /// Whether to wait for work in progress rather than give up.
    pub drain: bool,
}

/// `logs.tail`.
pub(crate) fn logs_tail(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[
        optional("cursor", Rule::Integer { min: 0, max: u64::MAX }),
        optional("limit", Rule::Integer { min: 1, max: LINES_MAX }),
        optional("maxBytes", Rule::Integer { min: 1, max: BYTES_MAX }),
    ]);
    let params = checked(&SHAPE, raw)?;
    let number = |name: &str| params.get(name).and_then(whole);
    Ok(Params::LogsTail(LogsTail {
        cursor: number("cursor"),
        lines_max: usize::try_from(number("limit").unwrap_or(LINES_USUAL)).unwrap_or(usize::MAX),
        bytes_max: number("maxBytes").unwrap_or(BYTES_USUAL),
    }))
}

/// `voicewake.set`: open; a list there must be, and of strings.
pub(crate) fn voicewake_set(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    let params = small(raw)?;
    let triggers = params.get("triggers").and_then(Value::as_array);
    // Items of another kind are dropped with the blanks, as the reference does.
    match triggers {
        Some(items) => {
            let texts = items.iter().filter_map(Value::as_str);
            Ok(Params::Triggers(crate::store::voicewake::normalised(texts)))
        }
        None => Err(ParamsFault::Message("voicewake.set requires triggers: string[]".into())),
    }
}

/// `talk.mode`.
pub(crate) fn talk_mode(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[required("enabled", Rule::Bool), optional("phase", Rule::STRING)]);
    let mut params = checked(&SHAPE, raw)?;
    let enabled = params.get("enabled").and_then(Value::as_bool).unwrap_or(false);
    Ok(Params::TalkMode { enabled, phase: text(&mut params, "phase") })
}

/// `wake`: open in protocol 4; `sessionKey` and `agentId` are for agents, and there are none here.
pub(crate) fn wake(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[
        required("mode", Rule::OneOf(&["now", "next-heartbeat"])),
        required("text", Rule::NON_EMPTY),
        optional("sessionKey", Rule::NON_EMPTY),
        optional("agentId", Rule::NON_EMPTY),
    ]);
    let mut known = small(raw)?;
    if let Value::Object(members) = &mut known {
        members.retain(|name, _| matches!(name.as_str(), "mode" | "text" | "sessionKey" | "agentId"));
    }
    crate::validate::validate(&SHAPE, &known).map_err(|errors| ParamsFault::Invalid(errors.into()))?;
    let text = known["text"].as_str().unwrap_or_default().trim().to_owned();
    Ok(Params::Wake(Wake { text, now: known["mode"] == "now" }))
}

/// `gateway.suspend.prepare`.
pub(crate) fn suspend_prepare(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[
        required("requestId", ID),
        optional("terminalPolicy", Rule::OneOf(&["preserve", "terminate"])),
        optional("drain", Rule::Bool),
    ]);
    let mut params = checked(&SHAPE, raw)?;
    let drain = params.get("drain").and_then(Value::as_bool).unwrap_or(false);
    let request_id = no_blank(text(&mut params, "requestId"), "requestId")?;
    Ok(Params::SuspendPrepare(SuspendPrepare { request_id, drain }))
}

/// `gateway.suspend.resume`, `gateway.suspend.status`.
pub(crate) fn suspension_id(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[required("suspensionId", ID)]);
    let mut params = checked(&SHAPE, raw)?;
    Ok(Params::SuspensionId(no_blank(text(&mut params, "suspensionId"), "suspensionId")?))
}

/// `gateway.restart.request`: the published schema has none. A reason is shown in the log; the rest steers runs that
/// are not here.
pub(crate) fn restart_request(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    let mut params = match small(raw)? {
        Value::Object(params) => params,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(ParamsFault::Invalid("must be object".into()));
        }
    };
    let reason = text(&mut params, "reason").filter(|reason| !reason.trim().is_empty());
    Ok(Params::Restart { reason: reason.unwrap_or_else(|| "gateway.restart.request".to_owned()) })
}

/// The schema's pattern wants one visible character.
fn no_blank(id: Option<String>, name: &str) -> Result<String, ParamsFault> {
    let id = id.unwrap_or_default();
    if id.trim().is_empty() {
        return Err(ParamsFault::Invalid(format!("at /{name}: must match pattern \"\\S\"").into()));
    }
    Ok(id)
}

/// Validated numbers may be written as `3.0`.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().map(|number| number as u64))
}

const ID: Rule = Rule::Text { min: 1, max: 128 };
const LINES_USUAL: u64 = 500;
const LINES_MAX: u64 = 5_000;
const BYTES_USUAL: u64 = 250_000;
const BYTES_MAX: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn read(
        parse: fn(Option<&RawValue>) -> Result<Params, ParamsFault>,
        text: &str,
    ) -> Result<Params, String> {
        parse(Some(serde_json::from_str(text).unwrap())).map_err(|fault| match fault {
            ParamsFault::Invalid(text) | ParamsFault::Message(text) => text.into(),
            ParamsFault::Coded { message, .. } => message.to_owned(),
        })
    }

    #[test]
    fn a_tail_is_500_lines_of_a_quarter_megabyte_unless_asked_otherwise() {
        let usual = LogsTail { cursor: None, lines_max: 500, bytes_max: 250_000 };
        assert!(matches!(logs_tail(None), Ok(Params::LogsTail(tail)) if tail == usual));
        let text = r#"{"cursor":3.0,"limit":5000,"maxBytes":1}"#;
        let asked = LogsTail { cursor: Some(3), lines_max: 5_000, bytes_max: 1 };
        assert!(matches!(read(logs_tail, text), Ok(Params::LogsTail(tail)) if tail == asked));
        for text in [
            r#"{"cursor":-1}"#,
            r#"{"limit":0}"#,
            r#"{"limit":5001}"#,
            r#"{"maxBytes":1000001}"#,
            r#"{"x":1}"#,
        ] {
            assert!(read(logs_tail, text).is_err(), "{text}");
        }
    }

    #[test]
    fn wake_words_are_a_list() {
        let set = |text| match read(voicewake_set, text) {
            Ok(Params::Triggers(triggers)) => Ok(triggers),
            Ok(other) => panic!("{other:?}"),
            Err(text) => Err(text),
        };
        assert_eq!(set(r#"{"triggers":[" hey ",5,""],"x":1}"#).unwrap(), ["hey"]);
        assert_eq!(set(r#"{"triggers":"hey"}"#).unwrap_err(), "voicewake.set requires triggers: string[]");
        assert!(voicewake_set(None).is_err());
    }

    #[test]
    fn waking_needs_a_mode_and_a_text() {
        let want = Wake { text: "x".to_owned(), now: true };
        let text = r#"{"mode":"now","text":" x ","more":1}"#;
        assert!(matches!(read(wake, text), Ok(Params::Wake(wake)) if wake == want));
        assert!(
            matches!(read(wake, r#"{"mode":"next-heartbeat","text":" "}"#), Ok(Params::Wake(wake)) if !wake.now)
        );
        for text in ["[]", r#"{"text":"x"}"#, r#"{"mode":"later","text":"x"}"#, r#"{"mode":"now","text":""}"#]
        {
            assert!(read(wake, text).is_err(), "{text}");
        }
    }

    #[test]
    fn suspensions_have_visible_ids() {
        assert!(matches!(
            read(suspend_prepare, r#"{"requestId":"r","drain":true,"terminalPolicy":"preserve"}"#),
            Ok(Params::SuspendPrepare(SuspendPrepare { drain: true, .. }))
        ));
        assert!(
            matches!(read(suspension_id, r#"{"suspensionId":"s"}"#), Ok(Params::SuspensionId(id)) if id == "s")
        );
        assert_eq!(
            read(suspension_id, r#"{"suspensionId":" "}"#).unwrap_err(),
            "at /suspensionId: must match pattern \"\\S\""
        );
        for text in ["{}", r#"{"requestId":""}"#, r#"{"requestId":"r","terminalPolicy":"x"}"#] {
            assert!(read(suspend_prepare, text).is_err(), "{text}");
        }
    }

    #[test]
    fn odd_params_never_panic() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        let odd = [
            "null",
            "5",
            "\"x\"",
            "[]",
            "{}",
            r#"{"cursor":1e300,"limit":2.5}"#,
            r#"{"triggers":{"a":1}}"#,
            &deep,
        ];
        let all =
            [logs_tail, voicewake_set, talk_mode, wake, suspend_prepare, suspension_id, restart_request];
        for text in odd {
            for parse in all {
                let _ = read(parse, text);
            }
        }
    }

    #[test]
    fn talk_and_restart_say_what_they_want() {
        assert!(matches!(
            read(talk_mode, r#"{"enabled":true,"phase":"p"}"#),
            Ok(Params::TalkMode { enabled: true, phase: Some(_) })
        ));
        assert!(read(talk_mode, r#"{"phase":"p"}"#).is_err());
        assert!(
            matches!(read(restart_request, r#"{"reason":"new"}"#), Ok(Params::Restart { reason }) if reason == "new")
        );
        assert!(matches!(restart_request(None), Ok(Params::Restart { .. })));
        assert!(read(restart_request, "[]").is_err());
    }
}
