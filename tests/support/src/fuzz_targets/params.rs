//! The target `connect_params`: any text as a frame and as the params of a `connect`.

use clawgate_proto::Wall;
use clawgate_proto::connect::proof::{self, SignedPayload};
use clawgate_proto::connect::{ConnectParams, Proof};
use clawgate_proto::inbound::{self, Inbound};
use serde_json::Value;
use serde_json::value::RawValue;

/// The target `connect_params`.
pub fn connect_params(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    frame(text);
    if let Ok(raw) = serde_json::from_str::<&RawValue>(text) {
        params(Some(raw));
    }
}

/// The text as a whole message.
fn frame(text: &str) {
    match inbound::parse(text) {
        Inbound::NotJson => {}
        Inbound::Invalid { id, errors } => {
            check_text(&errors);
            assert!(id.is_none_or(|id| id.get() != "null"));
            assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "only JSON has faults");
        }
        Inbound::Request(frame) => {
            assert!(!frame.id.is_empty() && !frame.method.is_empty());
            let profile = frame.expected_profile.as_deref();
            assert!(profile.is_none_or(|profile| (1..=128).contains(&profile.chars().count())));
            if frame.method == "connect" {
                params(frame.params);
            }
        }
    }
}

fn params(raw: Option<&RawValue>) {
    let params = match ConnectParams::parse(raw) {
        Ok(params) => params,
        Err(errors) => return check_text(&errors),
    };
    assert!(params.min_protocol >= 1 && params.max_protocol >= 1);
    let client = &params.client;
    assert!(!client.id.is_empty() && !client.mode.is_empty());
    assert!(!client.version.is_empty() && !client.platform.is_empty());
    assert!(params.scopes.iter().chain(&params.caps).chain(&params.commands).all(|text| !text.is_empty()));
    assert!(client.time_zone.as_ref().is_none_or(|zone| (1..=64).contains(&zone.chars().count())));
    // What is accepted is an object without unknown members, and stays one when it is written down and read again.
    let value: Value = serde_json::from_str(raw.map_or("", RawValue::get)).expect("accepted params are JSON");
    let again = serde_json::value::to_raw_value(&value).expect("a value is JSON");
    assert!(ConnectParams::parse(Some(&again)).is_ok());
    let mut more = value;
    more["noSuchMember"] = Value::Null;
    let more = serde_json::value::to_raw_value(&more).expect("a value is JSON");
    assert!(ConnectParams::parse(Some(&more)).is_err(), "the object is closed");
    judge(&params);
}

/// A proof is judged without a panic, is absent only without a device, and is good only for who holds the key: a
/// fuzzer does not.
fn judge(params: &ConnectParams) {
    let Some(device) = &params.device else {
        assert_eq!(proof::check(params, "nonce", Wall(0), u64::MAX), Proof::Absent);
        return;
    };
    // The most lenient judge: the nonce and the time are what the device says.
    let nonce = device.nonce.trim();
    match proof::check(params, nonce, Wall(device.signed_at), 0) {
        Proof::Absent => panic!("a device was shown"),
        Proof::Bad(_) => {}
        Proof::Good { public_key } => {
            assert_eq!(public_key.len(), 43);
            let mut forged = params.clone();
            forged.scopes.push("operator.forged".to_owned());
            let judged = proof::check(&forged, nonce, Wall(device.signed_at), 0);
            assert!(matches!(judged, Proof::Bad(_)), "the signature covers the scopes");
        }
    }
    let payload = SignedPayload::of(params, device);
    assert!(payload.v3().starts_with("v3|") && payload.v2().starts_with("v2|"));
}

/// Texts are for people and for the wire: never empty, never without a bound.
fn check_text(errors: &str) {
    assert!(!errors.is_empty());
    assert!(errors.len() < 8 * 1024, "{} bytes of faults", errors.len());
}
