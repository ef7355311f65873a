//! Paired devices on the wire: the list, decisions, tokens, setup codes.

use super::Dialect;
use crate::gateway::devices::Rotated;
use crate::store::{DeviceView, PairedDevice, render};
use serde::Serialize;
use serde_json::{Value, json};

/// The result of `device.pair.list`. Protocol 4 also tells who is connected and when each was last seen.
pub(crate) fn device_list(dialect: Dialect, view: &DeviceView) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        pending: Vec<render::PendingRow<'a>>,
        paired: Vec<render::PairedRow<'a>>,
    }
    let paired = match dialect {
        Dialect::V3 => render::paired_rows(view),
        Dialect::V4 => render::paired_rows_with_presence(view),
    };
    let list = List { pending: render::pending_rows(view), paired };
    serde_json::to_vec(&list).expect("rows have only string keys")
}

/// The result of `device.pair.approve`.
pub(crate) fn approved(request_id: &str, device: &PairedDevice) -> Value {
    let row = serde_json::to_value(render::paired_row(device)).expect("a row has only string keys");
    json!({"requestId": request_id, "device": row})
}

/// What a setup code says, before it is encoded: members in the order of release 2026.3.13, and when it ends.
pub(crate) fn setup_code(url: &str, token: &str, expires_at_ms: u64) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Code<'a> {
        url: &'a str,
        bootstrap_token: &'a str,
        expires_at_ms: u64,
    }
    let code = Code { url, bootstrap_token: token, expires_at_ms };
    serde_json::to_string(&code).expect("a code has only string keys")
}

/// The payload of `device.pair.resolved`.
pub(crate) fn pair_resolved(request_id: &str, device_id: &str, approved: bool, ts: u64) -> Value {
    let decision = if approved { "approved" } else { "rejected" };
    json!({"requestId": request_id, "deviceId": device_id, "decision": decision, "ts": ts})
}

/// The result of `device.token.rotate`. Protocol 4 says how the token travels; the token itself goes only to the
/// device it belongs to, in either dialect.
pub(crate) fn rotated(dialect: Dialect, rotated: &Rotated) -> Value {
    let mut result = json!({
        "deviceId": rotated.device_id,
        "role": rotated.role,
        "scopes": rotated.scopes,
        "rotatedAtMs": rotated.rotated_at_ms,
    });
    if let Some(token) = &rotated.token {
        result["token"] = json!(token.expose());
    }
    match dialect {
        Dialect::V3 => {}
        Dialect::V4 => {
            let delivery = if rotated.token.is_some() { "in-band" } else { "withheld-cross-device" };
            result["tokenDelivery"] = json!(delivery);
        }
    }
    result
}
