//! `connect` params: the closed shape (spec: v4 section 5), and its texts when a peer does not keep to it.
//!
//! One shape serves both protocols: protocol 4 removed nothing and only added members and enum values.

use super::ConnectParams;
use crate::validate::{Rule, Shape, optional, required, validate};
use serde_json::Value;
use serde_json::value::RawValue;

impl ConnectParams {
    /// Checks and reads the raw params of a `connect` request. Members that only newer features read
    /// (`workerRuns`, `modelCatalog`, the run-time tokens) are checked and dropped.
    ///
    /// # Errors
    /// The joined validation texts, to follow `invalid connect params: `.
    pub fn parse(raw: Option<&RawValue>) -> Result<Self, String> {
        let value = match raw {
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| UNREADABLE.to_owned())?,
            None => Value::Null,
        };
        validate(&CONNECT, &value)?;
        // The shape is at least as strict as the type; the text is for a shape that has drifted from it.
        serde_json::from_value(value).map_err(|_| UNREADABLE.to_owned())
    }
}

/// JSON that the frame scanner let pass and the parser does not take: deep nesting, huge numbers, half characters.
pub(crate) const UNREADABLE: &str = "must not nest too deep or hold unreadable numbers or text";

static CONNECT: Shape = Shape(&[
    required("minProtocol", Rule::Integer { min: 1, max: u64::MAX }),
    required("maxProtocol", Rule::Integer { min: 1, max: u64::MAX }),
    required("client", Rule::Object(&CLIENT)),
    optional("caps", Rule::NON_EMPTY_LIST),
    optional("commands", Rule::NON_EMPTY_LIST),
    optional("computerUse", Rule::Any),
    optional("workerRuns", Rule::Object(&WORKER_RUNS)),
    optional("modelCatalog", Rule::Object(&MODEL_CATALOG)),
    optional("permissions", Rule::Map(&Rule::Bool)),
    optional("pathEnv", Rule::STRING),
    optional("role", Rule::NON_EMPTY),
    optional("scopes", Rule::NON_EMPTY_LIST),
    optional("device", Rule::Object(&DEVICE)),
    optional("auth", Rule::Object(&AUTH)),
    optional("locale", Rule::STRING),
    optional("userAgent", Rule::STRING),
]);

static CLIENT: Shape = Shape(&[
    required("id", Rule::OneOf(CLIENT_IDS)),
    optional("displayName", Rule::NON_EMPTY),
    required("version", Rule::NON_EMPTY),
    optional("buildId", Rule::Text { min: 1, max: 96 }),
    required("platform", Rule::NON_EMPTY),
    optional("deviceFamily", Rule::NON_EMPTY),
    optional("modelIdentifier", Rule::NON_EMPTY),
    optional("timeZone", Rule::Text { min: 1, max: 64 }),
    required("mode", Rule::OneOf(CLIENT_MODES)),
    optional("instanceId", Rule::NON_EMPTY),
]);

const CLIENT_IDS: &[&str] = &[
    "cli",
    "fingerprint",
    "gateway-client",
    "node-host",
    "openclaw-android",
    "openclaw-browser-copilot",
    "openclaw-control-ui",
    "openclaw-ios",
    "openclaw-linux",
    "openclaw-macos",
    "openclaw-probe",
    "openclaw-tui",
    "openclaw-watchos",
    "openclaw-worker",
    "test",
    "webchat",
    "webchat-ui",
];

const CLIENT_MODES: &[&str] = &["backend", "cli", "node", "probe", "test", "ui", "webchat", "worker"];

static WORKER_RUNS: Shape = Shape(&[
    required("bundleHash", Rule::Hex64),
    required("openclawVersion", Rule::Text { min: 1, max: 128 }),
    required(
        "protocolFeatures",
        Rule::List { item: &Rule::Text { min: 1, max: 128 }, min: 0, max: 64, unique: true },
    ),
    optional("bundlePrewarm", Rule::Integer { min: 1, max: (1 << 53) - 1 }),
]);

/// By session or by agent; nothing here reads it, so one shape takes both.
static MODEL_CATALOG: Shape = Shape(&[
    optional("agentId", Rule::STRING),
    optional("sessionKey", Rule::STRING),
    optional("shortId", Rule::STRING),
    optional("slugHint", Rule::STRING),
]);

static DEVICE: Shape = Shape(&[
    required("id", Rule::NON_EMPTY),
    required("publicKey", Rule::NON_EMPTY),
    required("signature", Rule::NON_EMPTY),
    required("signedAt", Rule::Integer { min: 0, max: u64::MAX }),
    required("nonce", Rule::NON_EMPTY),
]);

static AUTH: Shape = Shape(&[
    optional("token", Rule::STRING),
    optional("bootstrapToken", Rule::STRING),
    optional("deviceToken", Rule::STRING),
    optional("password", Rule::STRING),
    optional("approvalRuntimeToken", Rule::STRING),
    optional("agentRuntimeIdentityToken", Rule::STRING),
]);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use serde_json::value::to_raw_value;

    fn parse(value: Value) -> Result<ConnectParams, String> {
        ConnectParams::parse(Some(&to_raw_value(&value).unwrap()))
    }

    fn with(change: impl FnOnce(&mut Value)) -> Value {
        let mut value = json!({
            "minProtocol": 4, "maxProtocol": 4,
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
        });
        change(&mut value);
        value
    }

    #[test]
    fn the_recorded_texts() {
        assert_eq!(ConnectParams::parse(None).unwrap_err(), "must be object");
        assert_eq!(parse(Value::Null).unwrap_err(), "must be object");
        assert_eq!(parse(json!({})).unwrap_err(), "must have required property 'minProtocol'");
        assert_eq!(
            parse(with(|v| v["bogus"] = json!(1))).unwrap_err(),
            "at root: unexpected property 'bogus'"
        );
        // Compatibility row auth-names.
        assert_eq!(
            parse(with(|v| v["auth"] = json!({"hunter22": "x"}))).unwrap_err(),
            "at /auth: unexpected property '[redacted]'"
        );
        assert_eq!(
            parse(with(|v| v["client"]["id"] = json!("nosuch"))).unwrap_err(),
            "at /client/id: must be equal to one of the allowed values"
        );
        assert_eq!(
            parse(with(
                |v| v["device"] = json!({"id": "a", "publicKey": "b", "signature": "c", "signedAt": 1})
            ))
            .unwrap_err(),
            "at /device: must have required property 'nonce'"
        );
    }

    #[test]
    fn the_order_is_that_of_the_schema() {
        let errors = parse(json!({
            "minProtocol": "x", "foo": 1, "client": {"id": "zz", "platform": "", "mode": "cli"}, "role": 5, "pathEnv": 5,
        }));
        assert_eq!(
            errors.unwrap_err(),
            "must have required property 'maxProtocol'; at root: unexpected property 'foo'; \
             at /minProtocol: must be integer; at /client: must have required property 'version'; \
             at /client/id: must be equal to one of the allowed values; \
             at /client/platform: must not have fewer than 1 characters; \
             at /pathEnv: must be string; at /role: must be string"
        );
        let errors = parse(with(|v| {
            v["workerRuns"] = json!({"bundleHash": "A", "openclawVersion": "1", "protocolFeatures": ["a", "a"], "bundlePrewarm": 0});
        }));
        assert_eq!(
            errors.unwrap_err(),
            "at /workerRuns/bundleHash: must not have fewer than 64 characters; \
             at /workerRuns/bundleHash: must match pattern \"^[a-f0-9]{64}$\"; \
             at /workerRuns/protocolFeatures: must not have duplicate items; at /workerRuns/bundlePrewarm: must be >= 1"
        );
    }

    #[test]
    fn every_member_of_both_protocols_is_taken() {
        let params = parse(json!({
            "minProtocol": 3.0, "maxProtocol": 1e300,
            "client": {
                "id": "openclaw-watchos", "displayName": "d", "version": "v", "buildId": "b", "platform": "p",
                "deviceFamily": "f", "modelIdentifier": "m", "timeZone": "UTC", "mode": "worker", "instanceId": "i",
            },
            "caps": ["c"], "commands": ["c"], "computerUse": {"x": [1]},
            "workerRuns": {"bundleHash": "0f".repeat(32), "openclawVersion": "1", "protocolFeatures": ["a"], "bundlePrewarm": 1},
            "modelCatalog": {"sessionKey": "main"},
            "permissions": {"camera": true, "": false}, "pathEnv": "", "role": "node", "scopes": [" "],
            "device": {"id": "i", "publicKey": "k", "signature": "s", "signedAt": 0, "nonce": "n"},
            "auth": {
                "token": "", "bootstrapToken": "", "deviceToken": "", "password": "",
                "approvalRuntimeToken": "", "agentRuntimeIdentityToken": "",
            },
            "locale": "", "userAgent": "",
        }))
        .unwrap();
        assert_eq!((params.min_protocol, params.max_protocol), (3, u64::MAX));
        assert_eq!(params.client.time_zone.as_deref(), Some("UTC"));
        assert_eq!(params.client.build_id.as_deref(), Some("b"));
        assert_eq!(params.computer_use.unwrap().get(), r#"{"x":[1]}"#);
        assert_eq!(params.permissions.get("camera"), Some(&true));
        assert_eq!(params.scopes, [" "]);
        assert_eq!(params.path_env.as_deref(), Some(""));
        assert_eq!(params.auth.token.as_deref(), Some(""));
    }

    #[test]
    fn the_last_of_two_equal_names_counts() {
        let text = r#"{"minProtocol":9,"maxProtocol":4,"client":{"id":"cli","version":"1","platform":"linux","mode":"cli"},"minProtocol":3}"#;
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        assert_eq!(ConnectParams::parse(Some(raw)).unwrap().min_protocol, 3);
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_a_deep_stack() {
        let deep = format!(r#"{{"computerUse":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        for text in [deep.as_str(), r#"{"minProtocol":1e999}"#, r#"{"role":"\ud800"}"#] {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            assert_eq!(ConnectParams::parse(Some(raw)).unwrap_err(), UNREADABLE);
        }
    }

    proptest! {
        /// What the shape lets pass, the type can hold.
        #[test]
        fn arbitrary_members_never_panic_and_never_outrun_the_type(
            name in prop::sample::select(vec![
                "minProtocol", "client", "caps", "permissions", "role", "scopes", "device", "auth", "computerUse",
                "workerRuns", "modelCatalog", "pathEnv", "other",
            ]),
            member in json_value(),
        ) {
            if let Err(errors) = parse(with(|v| v[name] = member)) {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors != UNREADABLE, "{errors}");
            }
        }

        #[test]
        fn arbitrary_json_never_panics(value in json_value()) {
            prop_assert!(parse(value).is_err());
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let name =
                prop_oneof!["id", "token", "signedAt", "nonce", "version", "platform", "mode", "[a-z]{0,4}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..6)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }
}
