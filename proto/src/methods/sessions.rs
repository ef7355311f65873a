//! Sessions and chat: rows of the method table.

use super::access::SESSIONS_READ;
use super::{Method, READ, V4, WRITE, closed, hidden, params, row, shapes, told, told_open};
use crate::dialect::{BOTH, lists};
use crate::gateway::reads;

pub(super) const ROWS: &[Method] = &[
    told("agent.identity.get", BOTH, READ, &shapes::IDENTITY, lists::IDENTITY),
    told("artifacts.list", V4, READ, &shapes::ARTIFACTS, lists::ARTIFACTS),
    told("board.get", V4, READ, &shapes::SESSION_AND_AGENT, lists::BOARD),
    closed("chat.history", BOTH, SESSIONS_READ, &shapes::CHAT_HISTORY, reads::history),
    told("chat.message.get", V4, SESSIONS_READ, &shapes::CHAT_MESSAGE, lists::NO_MESSAGE),
    closed("chat.metadata", V4, SESSIONS_READ, &shapes::AGENT_OR_SESSION, reads::metadata),
    told("chat.startup", V4, SESSIONS_READ, &shapes::CHAT_HISTORY, lists::HISTORY),
    told("chat.toolTitles", V4, WRITE, &shapes::TOOL_TITLES, lists::TITLES),
    told_open("mentions.list", V4, READ, lists::MENTIONS),
    told("progressCard.get", V4, READ, &shapes::SESSION_ONLY, lists::CARD),
    told("session.discussion.info", V4, READ, &shapes::SESSION_AND_AGENT, lists::DISCUSSION),
    told("session.members.list", V4, SESSIONS_READ, &shapes::SESSION_AND_AGENT, lists::MEMBERS),
    told("session.members.listEvidence", V4, SESSIONS_READ, &shapes::SESSION_AND_AGENT, lists::MEMBERS),
    told("session.suggestions.list", V4, READ, &shapes::SESSION_AND_AGENT, lists::SUGGESTED),
    told("session.typing", V4, WRITE, &shapes::TYPING, lists::TYPING),
    told("sessions.branches.list", V4, SESSIONS_READ, &shapes::SESSION_AND_AGENT, lists::BRANCHES),
    told("sessions.catalog.list", V4, READ, &shapes::CATALOG, lists::CATALOGS),
    told("sessions.companion.state", V4, READ, &shapes::SESSION_AND_AGENT, lists::EXCHANGES),
    told("sessions.describe", V4, SESSIONS_READ, &shapes::DESCRIBE, lists::SESSION),
    hidden(closed("sessions.get", BOTH, SESSIONS_READ, &shapes::SESSION_GET, reads::messages)),
    told("sessions.github.options", V4, READ, &shapes::SESSION_AND_AGENT, lists::GITHUB),
    told("sessions.groups.defaults", V4, WRITE, &shapes::NOTHING, lists::GROUP_DEFAULTS),
    told("sessions.groups.list", V4, READ, &shapes::NOTHING, lists::GROUPS),
    told("sessions.list", BOTH, SESSIONS_READ, &shapes::SESSIONS_LIST, lists::SESSIONS),
    closed(
        "sessions.messages.subscribe",
        V4,
        SESSIONS_READ,
        &shapes::MESSAGES_SUBSCRIBE,
        reads::messages_subscribe,
    ),
    told(
        "sessions.messages.unsubscribe",
        V4,
        SESSIONS_READ,
        &shapes::MESSAGES_UNSUBSCRIBE,
        lists::MESSAGES_UNSUBSCRIBED,
    ),
    told("sessions.observer.visibility", V4, READ, &shapes::VISIBILITY, lists::OK),
    closed("sessions.preview", BOTH, SESSIONS_READ, &shapes::PREVIEW, reads::preview),
    hidden(closed("sessions.resolve", BOTH, SESSIONS_READ, &shapes::RESOLVE, reads::resolve)),
    told("sessions.search", V4, SESSIONS_READ, &shapes::SEARCH, lists::RESULTS),
    closed("sessions.subscribe", V4, SESSIONS_READ, &shapes::SESSIONS_LIST, reads::subscribe),
    hidden(told("sessions.usage", BOTH, READ, &shapes::SESSIONS_USAGE, lists::SESSIONS_USAGE)),
    hidden(row("sessions.usage.logs", BOTH, READ, params::open, reads::usage_logs)),
    hidden(row("sessions.usage.timeseries", BOTH, READ, params::open, reads::usage_timeseries)),
    closed("sessions.viewers.set", V4, SESSIONS_READ, &shapes::VIEWERS, reads::viewers),
    closed("transcripts.list", V4, READ, &shapes::TRANSCRIPTS, reads::transcripts),
];
