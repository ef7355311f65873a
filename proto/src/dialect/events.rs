//! Events that differ between the protocols, and what is said when the gateway ends.

use super::Dialect;
use crate::gateway::{Stopping, events};
use bytes::Bytes;
use serde_json::json;

/// The payload of `shutdown`: protocol 3 clients were sent an explicit null, protocol 4's schema wants an integer
/// or nothing.
pub(crate) fn shutdown(dialect: Dialect, why: Stopping) -> Bytes {
    let payload = match (dialect, why) {
        (Dialect::V3, Stopping::ForGood) => json!({"reason": "gateway stopping", "restartExpectedMs": null}),
        (Dialect::V4, Stopping::ForGood) => json!({"reason": "gateway stopping"}),
        (Dialect::V3 | Dialect::V4, Stopping::ToRestart) => {
            json!({"reason": "gateway restarting", "restartExpectedMs": RESTART_EXPECTED_MS})
        }
    };
    Bytes::from(payload.to_string())
}

/// When clients should find the gateway again.
const RESTART_EXPECTED_MS: u64 = 1_500;

/// Whether nodes of this protocol hear where wake words are routed.
pub(crate) fn has_voice_routing(dialect: Dialect) -> bool {
    match dialect {
        Dialect::V3 => false,
        Dialect::V4 => true,
    }
}

/// Events that only this protocol has.
pub(crate) fn own_events(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::V3 => &[],
        Dialect::V4 => &[
            "voicewake.routing.changed",
            events::INVOKE_CANCEL,
            "node.hostStats",
            "node.runnerInventory.changed",
            "gateway.suspension",
            "plugin.approval.requested",
            "plugin.approval.resolved",
            "question.requested",
            "question.resolved",
            "device.pair.changed",
            "device.pair.setup.completed",
            "device.pair.setup.deliveryUncertain",
        ],
    }
}
