//! Params of `config.*`. The text of a change may be long, so nothing is built from it but one string: whoever may not
//! call these methods at all is told so only afterwards.

use super::{Params, ParamsFault};
use crate::connect::parse::UNREADABLE;
use crate::host::config::{ConfigOp, ConfigWrite};
use crate::limits::CONFIG_BYTES_MAX;
use crate::validate::{Rule, Shape, optional, required, validate};
use core::fmt;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// `config.get`.
pub(crate) fn get(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[]);
    read(&SHAPE, raw)?;
    Ok(Params::Config(Box::new(ConfigOp::Get)))
}

/// `secrets.reload`: whatever else is said.
pub(crate) fn reload(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    super::params::none_open(raw)?;
    Ok(Params::Config(Box::new(ConfigOp::Reload)))
}

/// `config.schema`.
pub(crate) fn schema(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[]);
    read(&SHAPE, raw)?;
    Ok(Params::Config(Box::new(ConfigOp::Schema)))
}

/// `config.schema.lookup`.
pub(crate) fn lookup(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[required("path", Rule::Text { min: 1, max: 1_024 })]);
    let (mut params, _) = read(&SHAPE, raw)?;
    let path = text(&mut params, "path").unwrap_or_default();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_./[]-*".contains(&b);
    if !path.bytes().all(fits) {
        return Err(ParamsFault::Invalid(
            r#"at /path: must match pattern "^[A-Za-z0-9_./\[\]\-*]+$""#.into(),
        ));
    }
    Ok(Params::Config(Box::new(ConfigOp::Lookup(path))))
}

/// `config.set`.
pub(crate) fn set(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[required("raw", Rule::NON_EMPTY), optional("baseHash", Rule::NON_EMPTY)]);
    write(&SHAPE, raw, ConfigOp::Set)
}

/// `config.apply`.
pub(crate) fn apply(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[
        required("raw", Rule::NON_EMPTY),
        optional("baseHash", Rule::NON_EMPTY),
        optional("sessionKey", Rule::STRING),
        optional("deliveryContext", Rule::Object(&DELIVERY)),
        optional("note", Rule::STRING),
        optional("restartDelayMs", Rule::Integer { min: 0, max: u64::MAX }),
    ]);
    write(&SHAPE, raw, ConfigOp::Apply)
}

/// `config.patch`.
pub(crate) fn patch(raw: Option<&RawValue>) -> Result<Params, ParamsFault> {
    static SHAPE: Shape = Shape(&[
        required("raw", Rule::NON_EMPTY),
        optional("baseHash", Rule::NON_EMPTY),
        optional("sessionKey", Rule::STRING),
        optional("deliveryContext", Rule::Object(&DELIVERY)),
        optional("note", Rule::STRING),
        optional("restartDelayMs", Rule::Integer { min: 0, max: u64::MAX }),
        optional("replacePaths", Rule::List { item: &Rule::NON_EMPTY, min: 0, max: 256, unique: false }),
    ]);
    write(&SHAPE, raw, ConfigOp::Patch)
}

static DELIVERY: Shape = Shape(&[
    optional("channel", Rule::STRING),
    optional("to", Rule::STRING),
    optional("accountId", Rule::STRING),
    // A text or a number; nothing is delivered here.
    optional("threadId", Rule::Any),
]);

fn write(
    shape: &'static Shape,
    raw: Option<&RawValue>,
    op: fn(ConfigWrite) -> ConfigOp,
) -> Result<Params, ParamsFault> {
    let (mut params, content) = read(shape, raw)?;
    let replace_paths = match params.remove("replacePaths") {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(_) | None => Vec::new(),
    };
    Ok(Params::Config(Box::new(op(ConfigWrite {
        raw: content.unwrap_or_default(),
        base_hash: text(&mut params, "baseHash"),
        replace_paths,
        session_key: text(&mut params, "sessionKey"),
        note: text(&mut params, "note"),
    }))))
}

fn text(params: &mut Map<String, Value>, name: &str) -> Option<String> {
    match params.remove(name) {
        Some(Value::String(text)) => Some(text),
        Some(_) | None => None,
    }
}

/// The members, checked, and the content of `raw`, for which a short text stands among the members.
fn read(
    shape: &'static Shape,
    raw: Option<&RawValue>,
) -> Result<(Map<String, Value>, Option<String>), ParamsFault> {
    let invalid = |text: &str| ParamsFault::Invalid(text.into());
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        let empty = Value::Object(Map::new());
        validate(shape, &empty).map_err(|errors| invalid(&errors))?;
        return Ok((Map::new(), None));
    };
    // An escape takes at most six bytes for one.
    if raw.get().len() > 6 * CONFIG_BYTES_MAX + OTHERS_BYTES_MAX {
        return Err(invalid(&format!("at /raw: must not have more than {CONFIG_BYTES_MAX} bytes")));
    }
    if !raw.get().starts_with('{') {
        let errors = validate(shape, &Value::Null).err().unwrap_or_default();
        return Err(invalid(&errors));
    }
    let Members { mut members, content, too_large } =
        serde_json::from_str(raw.get()).map_err(|_| invalid(UNREADABLE))?;
    if too_large {
        return Err(invalid(&format!("must not have more than {OTHERS_BYTES_MAX} bytes beside raw")));
    }
    let stand_in = content.as_ref().map(|content| Value::from(content.chars().take(1).collect::<String>()));
    if let Some(stand_in) = stand_in {
        members.insert("raw".to_owned(), stand_in);
    }
    let value = Value::Object(members);
    validate(shape, &value).map_err(|errors| invalid(&errors))?;
    if content.as_ref().is_some_and(|content| content.len() > CONFIG_BYTES_MAX) {
        return Err(invalid(&format!("at /raw: must not have more than {CONFIG_BYTES_MAX} bytes")));
    }
    let Value::Object(members) = value else { return Ok((Map::new(), content)) };
    Ok((members, content))
}

struct Members {
    members: Map<String, Value>,
    /// The text of `raw`, when it is one.
    content: Option<String>,
    /// The other members are more than a request needs.
    too_large: bool,
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut all = Members { members: Map::new(), content: None, too_large: false };
                let mut bytes = 0;
                while let Some(name) = map.next_key::<String>()? {
                    if all.too_large {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let value = map.next_value::<&'de RawValue>()?.get();
                    if name == "raw" && value.starts_with('"') {
                        all.members.remove("raw");
                        all.content = serde_json::from_str(value).ok();
                        continue;
                    }
                    bytes += name.len() + value.len();
                    if bytes > OTHERS_BYTES_MAX {
                        all.too_large = true;
                    } else {
                        if name == "raw" {
                            all.content = None;
                        }
                        let value = serde_json::from_str(value).unwrap_or(Value::Null);
                        all.members.insert(name, value);
                    }
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(Walk)
    }
}

/// Names and values of all members but `raw`.
const OTHERS_BYTES_MAX: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    type Parse = fn(Option<&RawValue>) -> Result<Params, ParamsFault>;

    fn run(parse: Parse, text: &str) -> Result<ConfigOp, String> {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        match parse(Some(raw)) {
            Ok(Params::Config(op)) => Ok(*op),
            Ok(other) => panic!("{other:?}"),
            Err(ParamsFault::Invalid(errors) | ParamsFault::Message(errors)) => Err(errors.into()),
            Err(ParamsFault::Coded { message, .. }) => Err(message.to_owned()),
        }
    }

    #[test]
    fn well_formed_params_become_operations() {
        assert!(matches!(run(get, "{}"), Ok(ConfigOp::Get)));
        assert!(get(None).is_ok() && schema(None).is_ok());
        let Ok(ConfigOp::Lookup(path)) = run(lookup, r#"{"path":"a.*[0]"}"#) else { panic!() };
        assert_eq!(path, "a.*[0]");
        let text = r#"{"raw":"{\n}","baseHash":"h","note":"n","sessionKey":"s","restartDelayMs":0,"replacePaths":["a"]}"#;
        let Ok(ConfigOp::Patch(write)) = run(patch, text) else { panic!() };
        assert_eq!(
            (write.raw.as_str(), write.base_hash.as_deref(), write.note.as_deref()),
            ("{\n}", Some("h"), Some("n"))
        );
        assert_eq!((write.session_key.as_deref(), write.replace_paths), (Some("s"), vec!["a".to_owned()]));
        let Ok(ConfigOp::Set(write)) = run(set, r#"{"raw":5,"raw":"{}"}"#) else { panic!() };
        assert_eq!(write.raw, "{}", "the last of two counts");
    }

    #[test]
    fn the_rest_is_refused_in_the_validators_words() {
        for (parse, text, want) in [
            (get as Parse, r#"{"x":1}"#, "at root: unexpected property 'x'"),
            (get, "[]", "must be object"),
            (set, "{}", "must have required property 'raw'"),
            (set, r#"{"raw":""}"#, "at /raw: must not have fewer than 1 characters"),
            (set, r#"{"raw":5}"#, "at /raw: must be string"),
            (set, r#"{"raw":"{}","raw":5}"#, "at /raw: must be string"),
            (set, r#"{"raw":"{}","note":"n"}"#, "at root: unexpected property 'note'"),
            (apply, r#"{"raw":"{}","restartDelayMs":-1}"#, "at /restartDelayMs: must be >= 0"),
            (
                patch,
                r#"{"raw":"{}","replacePaths":[""]}"#,
                "at /replacePaths/0: must not have fewer than 1 characters",
            ),
            (lookup, r#"{"path":"a b"}"#, r#"at /path: must match pattern "^[A-Za-z0-9_./\[\]\-*]+$""#),
        ] {
            assert_eq!(run(parse, text).unwrap_err(), want, "{text}");
        }
        assert!(matches!(set(None), Err(ParamsFault::Invalid(_))));
    }

    #[test]
    fn long_params_cost_one_text() {
        let long = "x".repeat(CONFIG_BYTES_MAX);
        assert!(run(set, &format!(r#"{{"raw":"{long}"}}"#)).is_ok());
        let fault = run(set, &format!(r#"{{"raw":"{long}x"}}"#)).unwrap_err();
        assert_eq!(fault, format!("at /raw: must not have more than {CONFIG_BYTES_MAX} bytes"));
        let many = format!(r#"{{"raw":"{{}}","note":[{}1]}}"#, "1,".repeat(OTHERS_BYTES_MAX));
        assert!(run(patch, &many).unwrap_err().contains("beside raw"));
        let huge = format!(r#"{{"raw":"{}"}}"#, "\\u0061".repeat(2 * CONFIG_BYTES_MAX));
        assert!(run(set, &huge).unwrap_err().contains("at /raw"));
    }
}
