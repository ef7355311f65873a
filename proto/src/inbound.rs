//! One text message of a peer: the request frame, taken apart without touching its params
//! (spec: v4 section 2.2; RFC 8259).
//!
//! Everything borrows from the message: `params` stays raw JSON, so a message of many megabytes is scanned once
//! and never copied. Scanning keeps no call stack, so nesting cannot exhaust it. Of members that come twice the
//! last one counts.

use crate::validate::{Rule, Shape, optional, required, validate};
use core::fmt;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What a text message turned out to be.
#[derive(Debug)]
pub enum Inbound<'a> {
    /// No JSON, or with text that is no Unicode.
    NotJson,
    /// JSON, but no request frame.
    Invalid {
        /// The frame's own `id`, of whatever type, to be echoed as it is; none when absent or `null`.
        id: Option<&'a RawValue>,
        /// What is wrong, in the words of the validator.
        errors: String,
    },
    /// A request.
    Request(RequestFrame<'a>),
}

/// A well-formed request frame. Its `traceparent` was checked and is not kept.
pub struct RequestFrame<'a> {
    /// Echoed in the response; not empty.
    pub id: Cow<'a, str>,
    /// Method name; not empty.
    pub method: Cow<'a, str>,
    /// Raw params; none when absent or `null`.
    pub params: Option<&'a RawValue>,
    /// `expectedProfileId`: the user profile the caller believes it has.
    pub expected_profile: Option<Cow<'a, str>>,
}

/// Params may hold tokens and passwords: only their size is shown.
impl fmt::Debug for RequestFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestFrame")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("params_bytes", &self.params.map(|params| params.get().len()))
            .field("expected_profile", &self.expected_profile)
            .finish()
    }
}

/// Takes one text message apart.
pub fn parse(text: &str) -> Inbound<'_> {
    match plain(text) {
        Some(frame) => Inbound::Request(frame),
        None => parsed(text),
    }
}

/// Takes any text apart.
fn parsed(text: &str) -> Inbound<'_> {
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => Inbound::Invalid { id: None, errors: "must be object".to_owned() },
            Err(_) => Inbound::NotJson,
        };
    }
    let parsed = serde_json::from_str::<Members<'_>>(text).and_then(|members| members.inbound());
    parsed.unwrap_or(Inbound::NotJson)
}

/// What nearly every peer sends, found without a parser: the four members of a request at most, each once, texts
/// without escapes, no white space between them. `None` says nothing about the text: then it is taken apart in full,
/// with the same result where both give one. A large gateway spends most of its time on requests, and a parser spends
/// most of it on what these do not have.
fn plain(text: &str) -> Option<RequestFrame<'_>> {
    let (mut is_request, mut id, mut method, mut params) = (false, None, None, None);
    let mut rest = text.strip_prefix('{')?;
    loop {
        let (name, value) = plain_text(rest)?;
        let value = value.strip_prefix(':')?;
        rest = match name {
            "type" if !is_request => {
                is_request = true;
                value.strip_prefix("\"req\"")?
            }
            "id" if id.is_none() => {
                let (text, behind) = plain_text(value).filter(|(text, _)| !text.is_empty())?;
                id = Some(text);
                behind
            }
            "method" if method.is_none() => {
                let (text, behind) = plain_text(value).filter(|(text, _)| !text.is_empty())?;
                method = Some(text);
                behind
            }
            "params" if params.is_none() => {
                let mut values = serde_json::Deserializer::from_str(value).into_iter::<&RawValue>();
                params = Some(values.next()?.ok()?);
                value.get(values.byte_offset()..)?
            }
            _ => return None,
        };
        match rest.as_bytes() {
            [b',', ..] => rest = &rest[1..],
            [b'}'] if is_request => break,
            _ => return None,
        }
    }
    Some(RequestFrame {
        id: Cow::Borrowed(id?),
        method: Cow::Borrowed(method?),
        params: params.filter(|params| params.get() != "null"),
        expected_profile: None,
    })
}

/// A text in quotes without escapes, and what is behind it.
fn plain_text(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let end = inner.bytes().position(|byte| ENDS_PLAIN[usize::from(byte)])?;
    let behind = inner[end..].strip_prefix('"')?;
    Some((&inner[..end], behind))
}

/// What cannot be inside a text without escapes (RFC 8259 section 7): a look-up is half the work of three comparisons.
static ENDS_PLAIN: [bool; 256] = {
    let mut ends = [false; 256];
    let mut byte = 0;
    while byte < 32 {
        ends[byte] = true;
        byte += 1;
    }
    ends[b'"' as usize] = true;
    ends[b'\\' as usize] = true;
    ends
};

static FRAME: Shape = Shape(&[
    required("type", Rule::Const("req")),
    required("id", Rule::NON_EMPTY),
    required("method", Rule::NON_EMPTY),
    optional("params", Rule::Any),
    optional("traceparent", Rule::Text { min: 0, max: LABEL_CHARS_MAX }),
    optional("expectedProfileId", Rule::Text { min: 1, max: LABEL_CHARS_MAX }),
]);

/// Most characters of `traceparent` and of `expectedProfileId`.
const LABEL_CHARS_MAX: usize = 128;

/// The top-level members, raw.
#[derive(Default)]
struct Members<'a> {
    kind: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    traceparent: Option<&'a RawValue>,
    expected_profile: Option<&'a RawValue>,
    /// The first name that is none of these.
    unknown: Option<Cow<'a, str>>,
}

impl<'a> Members<'a> {
    fn inbound(self) -> serde_json::Result<Inbound<'a>> {
        let kind = Member::read(self.kind)?;
        let id = Member::read(self.id)?;
        let method = Member::read(self.method)?;
        let traceparent = Member::read(self.traceparent)?;
        let expected_profile = Member::read(self.expected_profile)?;

        let members = [
            ("type", &kind),
            ("id", &id),
            ("method", &method),
            ("traceparent", &traceparent),
            ("expectedProfileId", &expected_profile),
        ];
        let mut sketch: Map<String, Value> = members
            .into_iter()
            .filter_map(|(name, member)| Some((name.to_owned(), member.as_ref()?.sketch())))
            .collect();
        if let Some(name) = self.unknown {
            sketch.insert(name.into_owned(), Value::Null);
        }
        if let Err(errors) = validate(&FRAME, &Value::Object(sketch)) {
            return Ok(Inbound::Invalid { id: self.id.filter(|id| id.get() != "null"), errors });
        }
        Ok(match (id, method) {
            (Some(Member::Text(id)), Some(Member::Text(method))) => Inbound::Request(RequestFrame {
                id,
                method,
                params: self.params.filter(|params| params.get() != "null"),
                expected_profile: expected_profile.and_then(Member::text),
            }),
            // The rules above ask for both.
            _ => Inbound::NotJson,
        })
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
                let mut members = Members::default();
                while let Some(Text(name)) = map.next_key()? {
                    let value: &'de RawValue = map.next_value()?;
                    let place = match name.as_ref() {
                        "type" => &mut members.kind,
                        "id" => &mut members.id,
                        "method" => &mut members.method,
                        "params" => &mut members.params,
                        "traceparent" => &mut members.traceparent,
                        "expectedProfileId" => &mut members.expected_profile,
                        _ => {
                            members.unknown.get_or_insert(name);
                            continue;
                        }
                    };
                    *place = Some(value);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A member as far as the rules care.
enum Member<'a> {
    Text(Cow<'a, str>),
    Other,
}

impl<'a> Member<'a> {
    fn read(raw: Option<&'a RawValue>) -> serde_json::Result<Option<Self>> {
        let Some(raw) = raw else { return Ok(None) };
        if !raw.get().starts_with('"') {
            return Ok(Some(Self::Other));
        }
        let Text(text) = serde_json::from_str(raw.get())?;
        Ok(Some(Self::Text(text)))
    }

    /// A stand-in for the validator: strings no longer than what any rule tells apart.
    fn sketch(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.chars().take(LABEL_CHARS_MAX + 1).collect()),
            Self::Other => Value::Null,
        }
    }

    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other => None,
        }
    }
}

/// A string that borrows unless it holds escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn request(text: &str) -> RequestFrame<'_> {
        match parse(text) {
            Inbound::Request(frame) => frame,
            other @ (Inbound::NotJson | Inbound::Invalid { .. }) => panic!("{other:?}"),
        }
    }

    /// The short way must say what the long way says.
    fn agree(text: &str) -> Result<bool, TestCaseError> {
        let Some(short) = plain(text) else { return Ok(false) };
        let Inbound::Request(long) = parsed(text) else {
            return Err(TestCaseError::fail(format!("no request: {text}")));
        };
        prop_assert_eq!((&short.id, &short.method), (&long.id, &long.method));
        prop_assert_eq!(short.params.map(RawValue::get), long.params.map(RawValue::get));
        prop_assert!(short.expected_profile.is_none() && long.expected_profile.is_none());
        Ok(true)
    }

    fn invalid(text: &str) -> (Option<&str>, String) {
        match parse(text) {
            Inbound::Invalid { id, errors } => (id.map(RawValue::get), errors),
            other @ (Inbound::NotJson | Inbound::Request(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_borrowed_from_the_message() {
        let text =
            r#" {"type":"req","id":"r1","method":"health","params":{"a": [1]},"expectedProfileId":"p"} "#;
        let frame = request(text);
        assert!(matches!(frame.id, Cow::Borrowed("r1")));
        assert!(matches!(frame.method, Cow::Borrowed("health")));
        assert_eq!(frame.params.unwrap().get(), r#"{"a": [1]}"#);
        assert_eq!(frame.expected_profile.as_deref(), Some("p"));
    }

    #[test]
    fn params_are_not_shown() {
        let shown = format!(
            "{:?}",
            parse(r#"{"type":"req","id":"r1","method":"connect","params":{"token":"hush"}}"#)
        );
        assert!(shown.contains("connect") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn the_short_way_is_taken_by_what_clients_send_and_by_nothing_doubtful() {
        for text in [
            r#"{"type":"req","id":"1:0c9e","method":"status","params":{}}"#,
            r#"{"type":"req","id":"a","method":"b"}"#,
            r#"{"params":{"a": [1, "}"]},"method":"b","id":"ä","type":"req"}"#,
            r#"{"type":"req","id":"a","method":"b","params":null}"#,
            r#"{"type":"req","id":"a","method":"b","params":-1.5e3}"#,
        ] {
            assert!(agree(text).unwrap(), "{text}");
        }
        for text in [
            r#"{"type":"req","id":"a","method":"b"} "#,
            r#"{"type":"req", "id":"a","method":"b"}"#,
            r#"{"type":"req","id":"a","method":"b",}"#,
            r#"{"type":"req","id":"a","method":"b","params":{}}}"#,
            r#"{"type":"req","id":"a","method":"b","params":{]}"#,
            r#"{"type":"req","id":"a","method":"b","params":"#,
            r#"{"type":"req","id":"a","id":"c","method":"b"}"#,
            r#"{"type":"req","type":"req","id":"a","method":"b"}"#,
            r#"{"type":"event","id":"a","method":"b"}"#,
            r#"{"type":"req","id":"","method":"b"}"#,
            r#"{"type":"req","id":"\u0061","method":"b"}"#,
            "{\"type\":\"req\",\"id\":\"a\nb\",\"method\":\"b\"}",
            r#"{"type":"req","id":"a","method":"b","traceparent":"x"}"#,
            r#"{"type":"req","id":"a"}"#,
            "{",
            "",
        ] {
            assert!(!agree(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn null_params_are_absent_params() {
        for text in [
            r#"{"type":"req","id":"a","method":"b","params":null}"#,
            r#"{"type":"req","id":"a","method":"b"}"#,
        ] {
            assert!(request(text).params.is_none());
        }
    }

    #[test]
    fn the_last_of_two_equal_names_counts() {
        let frame = request(
            r#"{"type":"no","id":"a","type":"req","method":"b","id":"c","params":1,"params":2,"\u0074ype":"req"}"#,
        );
        assert_eq!(frame.id, "c");
        assert_eq!(frame.params.unwrap().get(), "2");
    }

    #[test]
    fn escapes_are_resolved() {
        let frame = request(r#"{"type":"r\u0065q","id":"\ud83d\ude00\n","method":"b\u002ec"}"#);
        assert_eq!((frame.id.as_ref(), frame.method.as_ref()), ("😀\n", "b.c"));
    }

    #[test]
    fn what_is_not_json_is_told_apart() {
        for text in [
            "",
            " ",
            "nonsense",
            "{",
            "{]",
            r#"{"type":"req"} x"#,
            "[1,",
            "'a'",
            r#"{"id":"\ud800"}"#,
            r#"{"\ud800":1}"#,
            "\u{feff}{}",
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
        ] {
            assert!(matches!(parse(text), Inbound::NotJson), "{text}");
        }
    }

    #[test]
    fn the_recorded_texts() {
        assert_eq!(
            invalid(r#"{"type":"req","id":5,"method":"health"}"#),
            (Some("5"), "at /id: must be string".to_owned())
        );
        assert_eq!(
            invalid(r#"{"type":"bogus","id":"z"}"#),
            (
                Some("\"z\""),
                "must have required property 'method'; at /type: must be equal to constant".to_owned()
            )
        );
        assert_eq!(
            invalid(r#"{"type":"req","id":"a","method":"b","bogus":1,"also":2}"#),
            (Some("\"a\""), "at root: unexpected property 'bogus'".to_owned())
        );
        assert_eq!(
            invalid(r#"{"type":"req","method":"b"}"#),
            (None, "must have required property 'id'".to_owned())
        );
        let text =
            json!({"type": "req", "id": "a", "method": "b", "traceparent": "x".repeat(129)}).to_string();
        assert_eq!(invalid(&text).1, "at /traceparent: must not have more than 128 characters");
    }

    #[test]
    fn every_member_has_its_rule() {
        assert_eq!(invalid("{}"), (None, "must have required property 'type'".to_owned()));
        for text in ["[]", "null", "5", " \"x\"", "true"] {
            assert_eq!(invalid(text), (None, "must be object".to_owned()), "{text}");
        }
        assert_eq!(
            invalid(r#"{"type":5,"id":null,"method":""}"#),
            (
                None,
                "at /type: must be string; at /type: must be equal to constant; at /id: must be string; \
                 at /method: must not have fewer than 1 characters"
                    .to_owned()
            )
        );
        assert_eq!(invalid(r#"{"type":"req","id":[1, {}],"method":"b"}"#).0, Some("[1, {}]"));
        assert_eq!(
            invalid(r#"{"type":"req","id":"a","method":"b","traceparent":5,"expectedProfileId":""}"#).1,
            "at /traceparent: must be string; at /expectedProfileId: must not have fewer than 1 characters"
        );
        let edge = "😀".repeat(LABEL_CHARS_MAX);
        let text =
            json!({"type": "req", "id": "a", "method": "b", "traceparent": "", "expectedProfileId": edge})
                .to_string();
        assert_eq!(request(&text).expected_profile.unwrap(), edge);
        let text = text.replace(&edge, &format!("{edge}x"));
        assert_eq!(invalid(&text).1, "at /expectedProfileId: must not have more than 128 characters");
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        let text = format!(r#"{{"type":"req","id":"a","method":"b","params":{deep}}}"#);
        assert_eq!(request(&text).params.unwrap().get(), deep);
        let text = format!(r#"{{"type":"req","id":{deep},"method":"b","x":{deep}}}"#);
        assert_eq!(invalid(&text).0, Some(deep.as_str()));
        assert_eq!(invalid(&deep).1, "must be object");
        assert!(matches!(parse(&deep[1..]), Inbound::NotJson));
        let objects = format!("{}1{}", r#"{"a":"#.repeat(200_000), "}".repeat(200_000));
        assert_eq!(
            invalid(&objects).1,
            "must have required property 'type'; at root: unexpected property 'a'"
        );
    }

    #[test]
    fn long_members_make_no_long_answer() {
        let long = "x".repeat(1 << 20);
        let text = json!({"type": long, "id": "a", "method": "b", &long: 1}).to_string();
        assert!(invalid(&text).1.len() < 300);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in r#"[ \t\n{}\[\]",:\\a-eu0-9.\-]{0,64}|\PC{0,64}"#) {
            let inbound = parse(&text);
            let is_json = serde_json::from_str::<Value>(&text).is_ok();
            prop_assert!(!is_json || !matches!(inbound, Inbound::NotJson));
            agree(&text)?;
        }

        #[test]
        fn a_request_survives(
            id in "\\PC{1,20}", method in "\\PC{1,20}", params in prop::option::of("\\PC{0,20}"),
            profile in prop::option::of("\\PC{1,128}"), traceparent in prop::option::of("\\PC{0,128}"),
        ) {
            let mut value = json!({"type": "req", "id": id, "method": method});
            let members = [("params", &params), ("expectedProfileId", &profile), ("traceparent", &traceparent)];
            for (name, member) in members {
                if let Some(member) = member {
                    value[name] = json!(member);
                }
            }
            let text = value.to_string();
            agree(&text)?;
            let frame = request(&text);
            prop_assert_eq!(frame.id.as_ref(), id);
            prop_assert_eq!(frame.method.as_ref(), method);
            prop_assert_eq!(frame.expected_profile.as_deref(), profile.as_deref());
            let raw = frame.params.map(|raw| serde_json::from_str::<String>(raw.get()).unwrap());
            prop_assert_eq!(raw, params);
        }

        #[test]
        fn near_a_plain_request_the_short_way_still_agrees(
            at in prop::sample::select(vec![
                r#"{"type":"req","id":"1:0c9e","method":"status","params":{"a":[1,"}"],"b":null}}"#,
                r#"{"params":-1.5e3,"method":"ä","id":"a","type":"req"}"#,
                r#"{"type":"req","params":"x\"y","id":"a","method":"b"}"#,
                r#"{"type":"req","id":"a","params":true,"method":"b"}"#,
            ]),
            edits in prop::collection::vec(
                (0usize..100, 0usize..3, prop::sample::select("{}[]\",:\\ \n\t\0\u{7f}\u{85}\u{feff}0-.eunt".chars().collect::<Vec<_>>())),
                0..4,
            ),
        ) {
            let mut text: Vec<char> = at.chars().collect();
            for (at, kind, with) in edits {
                let at = at % text.len();
                match kind {
                    0 => text.insert(at, with),
                    1 => text[at] = with,
                    _ => drop(text.remove(at)),
                }
            }
            agree(&text.into_iter().collect::<String>())?;
        }

        #[test]
        fn arbitrary_members_never_panic(
            members in prop::collection::vec(
                (
                    prop::sample::select(vec!["type", "id", "method", "params", "traceparent", "expectedProfileId", "z"]),
                    prop::sample::select(vec!["\"req\"", "\"\"", "null", "5", "[]", "{\"a\":[1]}", "true", "\"\\u0061\""]),
                ),
                0..8,
            ),
        ) {
            let text: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let text = format!("{{{}}}", text.join(","));
            agree(&text)?;
            match parse(&text) {
                Inbound::NotJson => prop_assert!(false, "{text}"),
                Inbound::Invalid { errors, .. } => prop_assert!(!errors.is_empty()),
                Inbound::Request(frame) => prop_assert!(!frame.id.is_empty() && !frame.method.is_empty()),
            }
        }
    }
}
