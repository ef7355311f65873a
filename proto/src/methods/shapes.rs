//! Shapes of params that are only checked, or of which a handler reads a word (spec: methods sections 3 to 11; the
//! published protocol 4 schema of the same names).
//!
//! Params are judged by what either protocol allows: members that release 2026.9.6 sends and the schema of 2026.9.1 does
//! not have yet are in.

use crate::validate::{Field, Rule, Shape, optional, required};

const fn text(name: &'static str) -> Field {
    optional(name, Rule::NON_EMPTY)
}

const fn any_text(name: &'static str) -> Field {
    optional(name, Rule::STRING)
}

const fn flag(name: &'static str) -> Field {
    optional(name, Rule::Bool)
}

const fn id(name: &'static str) -> Field {
    required(name, Rule::NON_EMPTY)
}

const fn choice(name: &'static str, of: &'static [&'static str]) -> Field {
    optional(name, Rule::OneOf(of))
}

const fn up_to(name: &'static str, max: u64) -> Field {
    optional(name, Rule::Integer { min: 1, max })
}

const fn count(name: &'static str) -> Field {
    optional(name, Rule::COUNT)
}

/// A label or a session key.
const LABEL: Rule = Rule::Text { min: 1, max: 512 };
const AGENT: Field = text("agentId");
const SESSION: Field = id("sessionKey");

pub(super) static NOTHING: Shape = Shape(&[]);
pub(super) static AGENT_ONLY: Shape = Shape(&[AGENT]);
pub(super) static AGENT_NEEDED: Shape = Shape(&[id("agentId")]);
pub(super) static SESSION_ONLY: Shape = Shape(&[SESSION]);
pub(super) static SESSION_AND_AGENT: Shape = Shape(&[SESSION, AGENT]);
pub(super) static AGENT_OR_SESSION: Shape = Shape(&[AGENT, text("sessionKey")]);
pub(super) static LIMIT_500: Shape = Shape(&[up_to("limit", 500)]);

pub(super) static DEVICE_RENAME: Shape =
    Shape(&[id("deviceId"), required("label", Rule::Text { min: 1, max: 64 })]);
pub(super) static SETUP_CODE: Shape = Shape(&[
    text("publicUrl"),
    flag("preferRemoteUrl"),
    flag("includeQr"),
    choice("bootstrapProfile", &["limited", "node", "control-ui-owner"]),
    optional("joinUrl", Rule::True),
]);
pub(super) static SETUP_STATUS: Shape = Shape(&[required("setupId", Rule::Text { min: 1, max: 128 })]);
pub(super) static UPGRADE: Shape =
    Shape(&[required("scopes", Rule::List { item: &Rule::NON_EMPTY, min: 1, max: 8, unique: true })]);
pub(super) static UPGRADE_WAIT: Shape = Shape(&[id("requestId")]);
pub(super) static NODE_RENAME: Shape = Shape(&[id("nodeId"), id("displayName")]);
pub(super) static NODE_PROGRESS: Shape = Shape(&[
    id("invokeId"),
    id("nodeId"),
    required("seq", Rule::COUNT),
    required("chunk", Rule::Text { min: 0, max: 16_384 }),
]);
pub(super) static NODE_ENQUEUE: Shape = Shape(&[
    id("nodeId"),
    required("type", Rule::OneOf(&["status.request", "location.request"])),
    choice("priority", &["normal", "high"]),
    optional("expiresInMs", Rule::Integer { min: 1_000, max: 86_400_000 }),
    flag("wake"),
]);
pub(super) static NODE_DRAIN: Shape = Shape(&[up_to("maxItems", 10)]);
pub(super) static NODE_ACK: Shape =
    Shape(&[required("ids", Rule::List { item: &Rule::NON_EMPTY, min: 1, max: usize::MAX, unique: false })]);
pub(super) static NODE_TOOLS: Shape = Shape(&[required(
    "tools",
    Rule::List { item: &Rule::Object(&NODE_TOOL), min: 0, max: usize::MAX, unique: false },
)]);
static NODE_TOOL: Shape = Shape(&[
    id("pluginId"),
    required("name", Rule::Form { fits: is_tool_name, pattern: "^[A-Za-z][A-Za-z0-9_-]{0,63}$" }),
    id("description"),
    optional("parameters", Rule::Map(&Rule::Any)),
    text("command"),
    optional("mcp", Rule::Object(&NODE_TOOL_SERVER)),
]);
static NODE_TOOL_SERVER: Shape = Shape(&[id("server"), id("tool")]);
pub(super) static NODE_SKILLS: Shape = Shape(&[required(
    "skills",
    Rule::List { item: &Rule::Object(&NODE_SKILL), min: 0, max: 64, unique: false },
)]);
static NODE_SKILL: Shape = Shape(&[
    required(
        "name",
        Rule::Form { fits: is_skill_name, pattern: "^(?!.*--)[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$" },
    ),
    required("description", Rule::Text { min: 1, max: 1_024 }),
    required("content", Rule::Text { min: 1, max: 65_536 }),
]);
pub(super) static SURFACE: Shape = Shape(&[required("surface", Rule::STRING), any_text("observedUrl")]);
pub(super) static NODE_VERIFY: Shape = Shape(&[id("nodeId"), id("token")]);
pub(super) static NODE_REQUEST: Shape = Shape(&[
    id("nodeId"),
    text("displayName"),
    text("platform"),
    text("version"),
    text("coreVersion"),
    text("uiVersion"),
    text("deviceFamily"),
    text("modelIdentifier"),
    optional("caps", Rule::NON_EMPTY_LIST),
    optional("commands", Rule::NON_EMPTY_LIST),
    text("remoteIp"),
    flag("silent"),
]);

pub(super) static AUDIT_ACTIVITY: Shape = Shape(&[
    AGENT,
    text("sessionKey"),
    text("runId"),
    choice("kind", &["agent_run", "tool_action", "message"]),
    choice("status", &["started", "succeeded", "failed", "cancelled", "timed_out", "blocked", "unknown"]),
    choice("direction", &["inbound", "outbound"]),
    text("channel"),
    count("after"),
    count("before"),
    up_to("limit", 500),
    text("cursor"),
]);
pub(super) static AUDIT: Shape = Shape(&[
    AGENT,
    text("sessionKey"),
    text("runId"),
    choice("kind", &["agent_run", "tool_action"]),
    choice("status", &["started", "succeeded", "failed", "cancelled", "timed_out", "blocked", "unknown"]),
    count("after"),
    count("before"),
    up_to("limit", 500),
    text("cursor"),
]);
pub(super) static UPDATE_STATUS: Shape = Shape(&[flag("refreshCheckout")]);

pub(super) static IDENTITY: Shape = Shape(&[AGENT, any_text("sessionKey")]);
pub(super) static ARTIFACTS: Shape = Shape(&[text("sessionKey"), text("runId"), text("taskId"), AGENT]);
pub(super) static CHAT_HISTORY: Shape = Shape(&[
    SESSION,
    AGENT,
    any_text("cursor"),
    up_to("limit", 1_000),
    count("offset"),
    optional("pendingBefore", Rule::POSITIVE),
    optional(
        "inputRunIds",
        Rule::List { item: &Rule::Text { min: 1, max: 256 }, min: 1, max: 50, unique: true },
    ),
    text("messageId"),
    text("sessionId"),
    up_to("maxChars", 500_000),
    up_to("maxBytes", u64::MAX),
]);
pub(super) static CHAT_MESSAGE: Shape =
    Shape(&[SESSION, AGENT, id("messageId"), up_to("maxChars", 2_000_000)]);
pub(super) static TOOL_TITLES: Shape = Shape(&[
    SESSION,
    AGENT,
    required("items", Rule::List { item: &Rule::Object(&TOOL_TITLE), min: 1, max: 24, unique: false }),
]);
static TOOL_TITLE: Shape = Shape(&[
    required("id", Rule::Text { min: 1, max: 64 }),
    required("name", Rule::Text { min: 1, max: 200 }),
    required("input", Rule::Text { min: 1, max: 4_000 }),
]);
pub(super) static TYPING: Shape = Shape(&[
    SESSION,
    AGENT,
    id("sessionId"),
    required("typing", Rule::Bool),
    optional("preview", Rule::Text { min: 0, max: 400 }),
]);
pub(super) static CATALOG: Shape = Shape(&[
    text("catalogId"),
    optional("cursors", Rule::Map(&Rule::STRING)),
    AGENT,
    optional("progressId", Rule::Text { min: 1, max: 128 }),
    any_text("search"),
    optional("limitPerHost", Rule::POSITIVE),
    optional("hostIds", Rule::NON_EMPTY_LIST),
    flag("allowPartialResults"),
]);
pub(super) static DESCRIBE: Shape =
    Shape(&[id("key"), AGENT, flag("includeDerivedTitles"), flag("includeLastMessage")]);
/// `sessions.get` in both protocols: the handler says what is missing.
pub(super) static SESSION_GET: Shape =
    Shape(&[text("key"), text("sessionKey"), AGENT, optional("limit", Rule::POSITIVE)]);
pub(super) static SESSIONS_LIST: Shape = Shape(&[
    optional("limit", Rule::POSITIVE),
    count("offset"),
    optional("activeMinutes", Rule::POSITIVE),
    flag("requireLastInteraction"),
    choice("sortBy", &["updatedAt", "lastInteractionAt"]),
    flag("includeGlobal"),
    flag("includeUnknown"),
    flag("configuredAgentsOnly"),
    flag("includeDerivedTitles"),
    flag("includeLastMessage"),
    optional("label", LABEL),
    choice("boardFace", &["chat", "dashboard"]),
    text("creatorId"),
    text("ownerId"),
    flag("ownerFirst"),
    flag("involvingMe"),
    text("involvingProfileId"),
    flag("includePeople"),
    text("spawnedBy"),
    AGENT,
    any_text("search"),
    optional("archived", Rule::AnyOf(&Rule::Bool, &Rule::Const("all"))),
]);
pub(super) static MESSAGES_SUBSCRIBE: Shape =
    Shape(&[id("key"), AGENT, optional("includeApprovals", Rule::True)]);
pub(super) static MESSAGES_UNSUBSCRIBE: Shape = Shape(&[id("key"), AGENT]);
pub(super) static VISIBILITY: Shape = Shape(&[required("visible", Rule::Bool)]);
pub(super) static PREVIEW: Shape = Shape(&[
    required("keys", Rule::List { item: &Rule::NON_EMPTY, min: 1, max: usize::MAX, unique: false }),
    optional("limit", Rule::POSITIVE),
    optional("maxChars", Rule::Integer { min: 20, max: u64::MAX }),
]);
pub(super) static RESOLVE: Shape = Shape(&[
    text("key"),
    text("sessionId"),
    optional("label", LABEL),
    text("shortId"),
    text("slugHint"),
    AGENT,
    text("spawnedBy"),
    flag("includeGlobal"),
    flag("includeUnknown"),
    flag("allowMissing"),
]);
pub(super) static SEARCH: Shape = Shape(&[
    AGENT,
    optional("sessionKeys", Rule::List { item: &Rule::NON_EMPTY, min: 1, max: 200, unique: false }),
    required("query", Rule::Text { min: 1, max: 4_096 }),
    up_to("limit", 25),
]);
pub(super) static SESSIONS_USAGE: Shape = Shape(&[
    text("key"),
    AGENT,
    optional("agentScope", Rule::Const("all")),
    optional("startDate", DATE),
    optional("endDate", DATE),
    choice("mode", &["utc", "gateway", "specific"]),
    choice("range", &["7d", "30d", "90d", "1y", "all"]),
    choice("groupBy", &["instance", "family"]),
    flag("includeHistorical"),
    optional("utcOffset", UTC_OFFSET),
    text("timeZone"),
    optional("limit", Rule::POSITIVE),
    flag("includeContextWeight"),
]);
pub(super) static TRANSCRIPTS: Shape =
    Shape(&[AGENT, up_to("limit", 200), text("cursor"), any_text("query")]);
pub(super) static VIEWERS: Shape =
    Shape(&[AGENT, required("sessionKeys", Rule::List { item: &LABEL, min: 0, max: 32, unique: false })]);

pub(super) static COMMANDS: Shape = Shape(&[
    text("sessionKey"),
    AGENT,
    text("provider"),
    choice("scope", &["text", "native", "both"]),
    flag("includeArgs"),
]);
pub(super) static JOB: Shape = Shape(&[text("id"), text("jobId")]);
pub(super) static CRON_LIST: Shape = Shape(&[
    flag("includeDisabled"),
    up_to("limit", 200),
    count("offset"),
    any_text("query"),
    choice("enabled", &["all", "enabled", "disabled"]),
    choice("scheduleKind", &["all", "at", "every", "cron", "on-exit", "stream"]),
    choice("lastRunStatus", &["all", "ok", "error", "skipped", "unknown"]),
    choice("trigger", &["all", "conditional", "unconditional"]),
    choice("sortBy", &["nextRunAtMs", "updatedAtMs", "name"]),
    choice("sortDir", &["asc", "desc"]),
    AGENT,
    flag("compact"),
    flag("includeDeliveryPreviews"),
]);
pub(super) static CRON_RUNS: Shape = Shape(&[
    AGENT,
    choice("scope", &["job", "all"]),
    optional("id", JOB_ID),
    optional("jobId", JOB_ID),
    text("runId"),
    up_to("limit", 200),
    count("offset"),
    optional(
        "statuses",
        Rule::List { item: &Rule::OneOf(&["ok", "error", "skipped"]), min: 1, max: 3, unique: false },
    ),
    choice("status", &["all", "ok", "error", "skipped"]),
    optional("deliveryStatuses", Rule::List { item: &Rule::OneOf(DELIVERY), min: 1, max: 4, unique: false }),
    choice("deliveryStatus", DELIVERY),
    any_text("query"),
    choice("sortDir", &["asc", "desc"]),
]);
pub(super) static AUTH_STATUS: Shape = Shape(&[flag("refresh"), any_text("agentId")]);
pub(super) static MODELS: Shape = Shape(&[
    AGENT,
    flag("includeProviderCapabilities"),
    text("sessionKey"),
    text("authProfileId"),
    text("provider"),
    flag("includeDetails"),
    flag("includeDefaultModels"),
    flag("preparedOnly"),
    flag("refresh"),
    choice("view", &["default", "configured", "provider-config", "all"]),
]);
pub(super) static LIBRARY: Shape =
    Shape(&[optional("sessionKey", LABEL), choice("scope", &["mine", "team", "all"])]);
pub(super) static SUGGESTIONS: Shape =
    Shape(&[optional("sessionKey", LABEL), optional("agentId", Rule::Text { min: 1, max: 128 })]);
pub(super) static TASK: Shape = Shape(&[id("taskId")]);
pub(super) static TASKS: Shape = Shape(&[
    optional(
        "status",
        Rule::AnyOf(
            &Rule::OneOf(TASK_STATES),
            &Rule::List { item: &Rule::OneOf(TASK_STATES), min: 0, max: usize::MAX, unique: false },
        ),
    ),
    AGENT,
    text("sessionKey"),
    up_to("limit", 500),
    any_text("cursor"),
    any_text("sortBy"),
]);
pub(super) static TOOLS: Shape = Shape(&[AGENT, flag("includePlugins")]);
pub(super) static TOOLS_EFFECTIVE: Shape = Shape(&[AGENT, SESSION]);

pub(super) static CHANNELS_PAIRING: Shape = Shape(&[text("channel"), text("accountId")]);
pub(super) static CHANNELS_STATUS: Shape = Shape(&[flag("probe"), count("timeoutMs"), text("channel")]);
pub(super) static TALK_CONFIG: Shape = Shape(&[flag("includeSecrets")]);

pub(super) static PULL_REQUESTS: Shape = Shape(&[required("sessionKeys", Rule::NON_EMPTY_LIST)]);
pub(super) static ENVIRONMENTS: Shape =
    Shape(&[text("runtimeId"), choice("projection", &["profiles"]), flag("includeDesktopSetup")]);
pub(super) static ENVIRONMENT: Shape = Shape(&[id("environmentId")]);
pub(super) static PROJECTS: Shape = Shape(&[flag("includeObserved")]);
pub(super) static PREFS: Shape = Shape(&[optional("keys", Rule::NON_EMPTY_LIST)]);

/// Any names, any values: none is kept.
pub(super) static PREFS_SET: Shape = Shape(&[required("entries", Rule::Map(&Rule::Any))]);
pub(super) static PUSH_ENDPOINT: Shape = Shape(&[required(
    "endpoint",
    Rule::Form { fits: |text| text.starts_with("https://"), pattern: "^https://" },
)]);

const DELIVERY: &[&str] = &["delivered", "not-delivered", "unknown", "not-requested"];
const TASK_STATES: &[&str] = &["queued", "running", "completed", "failed", "cancelled", "timed_out"];
const JOB_ID: Rule =
    Rule::Form { fits: |text| !text.is_empty() && !text.contains(['/', '\\']), pattern: r"^[^/\\]+$" };
const DATE: Rule = Rule::Form { fits: is_date, pattern: r"^\d{4}-\d{2}-\d{2}$" };
const UTC_OFFSET: Rule = Rule::Form { fits: is_utc_offset, pattern: r"^UTC[+-]\d{1,2}(?::[0-5]\d)?$" };

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

fn is_utc_offset(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("UTC").and_then(|rest| rest.strip_prefix(['+', '-'])) else {
        return false;
    };
    let (hours, minutes) = rest.split_once(':').map_or((rest, None), |(hours, rest)| (hours, Some(rest)));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    hours.len() <= 2
        && are_digits(hours)
        && minutes.is_none_or(|minutes| minutes.len() == 2 && are_digits(minutes) && minutes < "60")
}

pub(super) static WIZARD_START: Shape = Shape(&[
    choice("mode", &["local", "remote"]),
    any_text("workspace"),
    flag("installDaemon"),
    choice("flow", &["setup", "channels"]),
    text("channel"),
]);
pub(super) static WIZARD_NEXT: Shape =
    Shape(&[id("sessionId"), optional("answer", Rule::Object(&WIZARD_ANSWER))]);
static WIZARD_ANSWER: Shape = Shape(&[id("stepId"), optional("value", Rule::Any)]);
pub(super) static WIZARD_SESSION: Shape = Shape(&[id("sessionId")]);

fn is_tool_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    text.len() <= 64 && text.bytes().all(fits) && text.starts_with(|first: char| first.is_ascii_alphabetic())
}

fn is_skill_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len())
        && text.bytes().all(fits)
        && !(text.starts_with('-') || text.ends_with('-') || text.contains("--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_offsets_have_a_form() {
        assert!(is_date("2026-11-25") && is_date("0000-99-99"));
        for text in ["", "2026-11-2", "2026/11/25", "2026-11-25 ", "２０26-11"] {
            assert!(!is_date(text), "{text}");
        }
        for text in ["UTC+0", "UTC-11", "UTC+05:30"] {
            assert!(is_utc_offset(text), "{text}");
        }
        for text in ["", "UTC", "UTC5", "UTC+", "UTC+111", "UTC+1:60", "UTC+1:5", "utc+1", "UTC+1:"] {
            assert!(!is_utc_offset(text), "{text}");
        }
    }
}
