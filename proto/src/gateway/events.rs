//! The event table: who receives which event, and what happens when a peer is slow (spec: v4 sections 9.2, 18).
//! An event that is not a row goes to nobody.

use crate::dialect::{self, Dialect};
use crate::scope;

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    /// Operators with this scope; `None` is every admitted peer, nodes too.
    pub(crate) scope: Option<&'static str>,
    /// A slow peer misses it, rather than being closed. Its number is used up all the same.
    pub(crate) drop_if_slow: bool,
    /// It carries `stateVersion`.
    pub(crate) versioned: bool,
}

pub(crate) static PRESENCE: Event =
    Event { name: "presence", scope: Some(scope::READ), drop_if_slow: true, versioned: true };
pub(crate) static TICK: Event = Event { name: "tick", scope: None, drop_if_slow: true, versioned: false };
pub(crate) static SHUTDOWN: Event =
    Event { name: "shutdown", scope: None, drop_if_slow: false, versioned: false };
pub(crate) static HEALTH: Event = Event { name: "health", scope: None, drop_if_slow: true, versioned: true };
pub(crate) static PAIR_REQUESTED: Event = Event {
    name: "device.pair.requested",
    scope: Some(scope::PAIRING),
    drop_if_slow: true,
    versioned: false,
};
pub(crate) static PAIR_RESOLVED: Event =
    Event { name: "device.pair.resolved", scope: Some(scope::PAIRING), drop_if_slow: true, versioned: false };

/// Protocol 4 only, as the two below.
pub(crate) static PAIR_CHANGED: Event =
    Event { name: "device.pair.changed", scope: Some(scope::PAIRING), drop_if_slow: true, versioned: false };
pub(crate) static SETUP_COMPLETED: Event = Event {
    name: "device.pair.setup.completed",
    scope: Some(scope::PAIRING),
    drop_if_slow: true,
    versioned: false,
};
pub(crate) static SETUP_UNCERTAIN: Event = Event {
    name: "device.pair.setup.deliveryUncertain",
    scope: Some(scope::PAIRING),
    drop_if_slow: true,
    versioned: false,
};
pub(crate) static NODE_REQUESTED: Event =
    Event { name: "node.pair.requested", scope: Some(scope::PAIRING), drop_if_slow: true, versioned: false };
pub(crate) static NODE_RESOLVED: Event =
    Event { name: "node.pair.resolved", scope: Some(scope::PAIRING), drop_if_slow: true, versioned: false };

pub(crate) static TALK_MODE: Event =
    Event { name: "talk.mode", scope: Some(scope::TALK), drop_if_slow: false, versioned: false };
pub(crate) static VOICEWAKE: Event =
    Event { name: "voicewake.changed", scope: Some(scope::READ), drop_if_slow: true, versioned: false };
pub(crate) static SUSPENSION: Event =
    Event { name: "gateway.suspension", scope: None, drop_if_slow: false, versioned: false };
pub(crate) static EXEC_REQUESTED: Event = approval("exec.approval.requested");
pub(crate) static EXEC_RESOLVED: Event = approval("exec.approval.resolved");
/// These and those about questions: protocol 4 only.
pub(crate) static PLUGIN_REQUESTED: Event = approval("plugin.approval.requested");
pub(crate) static PLUGIN_RESOLVED: Event = approval("plugin.approval.resolved");
pub(crate) static QUESTION_REQUESTED: Event = question("question.requested", scope::QUESTIONS);
pub(crate) static QUESTION_RESOLVED: Event = question("question.resolved", scope::QUESTIONS);
/// The same, to whoever asked without being one who answers questions.
pub(crate) static QUESTION_REQUESTED_OWN: Event = question("question.requested", scope::SESSIONS_WRITE);
pub(crate) static QUESTION_RESOLVED_OWN: Event = question("question.resolved", scope::SESSIONS_WRITE);
/// Protocol 4 only, as the one below.
pub(crate) static NODE_STATS: Event =
    Event { name: "node.hostStats", scope: Some(scope::READ), drop_if_slow: true, versioned: false };
pub(crate) static RUNNERS_CHANGED: Event = Event {
    name: "node.runnerInventory.changed",
    scope: Some(scope::READ),
    drop_if_slow: true,
    versioned: false,
};
/// To the node that is asked, without a number.
pub(crate) const INVOKE_REQUEST: &str = "node.invoke.request";
/// The same; protocol 4 only.
pub(crate) const INVOKE_CANCEL: &str = "node.invoke.cancel";
/// Protocol 4 only, and not advertised, as there.
pub(crate) static CONFIG_CHANGED: Event =
    Event { name: "config.changed", scope: Some(scope::READ), drop_if_slow: true, versioned: false };

/// To those who are asked only.
const fn approval(name: &'static str) -> Event {
    Event { name, scope: Some(scope::APPROVALS), drop_if_slow: true, versioned: false }
}

const fn question(name: &'static str, scope: &'static str) -> Event {
    Event { name, scope: Some(scope), drop_if_slow: true, versioned: false }
}

/// Names for hello-ok's `features.events`, in its order.
pub(crate) fn names(dialect: Dialect) -> Vec<&'static str> {
    let both = [
        "connect.challenge",
        PRESENCE.name,
        TICK.name,
        TALK_MODE.name,
        SHUTDOWN.name,
        HEALTH.name,
        NODE_REQUESTED.name,
        NODE_RESOLVED.name,
        INVOKE_REQUEST,
        PAIR_REQUESTED.name,
        PAIR_RESOLVED.name,
        VOICEWAKE.name,
        EXEC_REQUESTED.name,
        EXEC_RESOLVED.name,
    ]
    .into_iter();
    both.chain(dialect::own_events(dialect).iter().copied()).collect()
}
