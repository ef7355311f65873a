//! Shapes of the params about approvals and questions (spec: methods section 8, v4 section 13; the published protocol 4
//! schema of the same names).

use crate::validate::{Field, Rule, Shape, optional, required};

const fn text(name: &'static str) -> Field {
    optional(name, Rule::STRING_OR_NULL)
}

const fn words(name: &'static str, max: usize) -> Field {
    required(name, Rule::Text { min: 1, max })
}

/// Longest id of a request: it is kept, and repeated in answers and events.
const ID: Rule = Rule::Text { min: 1, max: 256 };
const NAMED: Field = required("id", Rule::NON_EMPTY);
const SCOPED: Rule = Rule::AnyOf(
    &Rule::AnyOf(&Rule::Object(&MESSAGE_SEND), &Rule::Object(&PAYMENT)),
    &Rule::AnyOf(&Rule::Object(&EXTERNAL_POST), &Rule::Object(&STANDING_GRANT)),
);
const TARGET: Field = words("target", 128);
const GRANT_DAYS: Rule = Rule::Integer { min: 1, max: 3_650 };

static MESSAGE_SEND: Shape = Shape(&[
    required("kind", Rule::Const("message-send")),
    TARGET,
    required("recipientCount", Rule::Integer { min: 1, max: 1_000_000 }),
    optional(
        "recipients",
        Rule::List { item: &Rule::Text { min: 1, max: 128 }, min: 0, max: 5, unique: false },
    ),
    optional("audience", Rule::OneOf(&["internal", "external"])),
]);
static PAYMENT: Shape =
    Shape(&[required("kind", Rule::Const("payment")), words("amount", 40), words("currency", 12), TARGET]);
static EXTERNAL_POST: Shape = Shape(&[
    required("kind", Rule::Const("external-post")),
    TARGET,
    required("visibility", Rule::OneOf(&["public", "restricted"])),
]);
static STANDING_GRANT: Shape = Shape(&[
    required("kind", Rule::Const("standing-grant")),
    words("automation", 128),
    words("command", 256),
    optional("expiresInDays", GRANT_DAYS),
]);

/// `exec.approval.request`.
pub(super) static EXEC_REQUEST: Shape = Shape(&[
    optional("id", ID),
    optional("command", Rule::NON_EMPTY),
    optional("commandArgv", STRINGS),
    optional("systemRunPlan", Rule::Object(&PLAN)),
    optional("env", Rule::Map(&Rule::STRING)),
    text("cwd"),
    optional("nodeId", Rule::NON_EMPTY_OR_NULL),
    text("host"),
    text("security"),
    text("ask"),
    text("warningText"),
    optional("scope", SCOPED),
    optional(
        "unavailableDecisions",
        Rule::List { item: &Rule::Const("allow-always"), min: 1, max: 1, unique: false },
    ),
    optional(
        "commandSpans",
        Rule::List { item: &Rule::Object(&SPAN), min: 0, max: usize::MAX, unique: false },
    ),
    text("agentId"),
    text("resolvedPath"),
    text("sessionKey"),
    text("sessionId"),
    text("runId"),
    text("toolCallId"),
    text("turnSourceChannel"),
    text("turnSourceTo"),
    text("turnSourceAccountId"),
    optional("turnSourceThreadId", THREAD),
    optional("approvalReviewerDeviceIds", Rule::NON_EMPTY_LIST),
    optional("requireDeliveryRoute", Rule::Bool),
    optional("suppressDelivery", Rule::Bool),
    optional("deliverToApprovalClientsOnly", Rule::Bool),
    optional("timeoutMs", Rule::POSITIVE),
    optional("twoPhase", Rule::Bool),
]);
const STRINGS: Rule = Rule::List { item: &Rule::STRING, min: 0, max: usize::MAX, unique: false };
const THREAD: Rule = Rule::AnyOf(&Rule::STRING_OR_NULL, &Rule::Number { min: f64::NEG_INFINITY });
static SPAN: Shape = Shape(&[required("startIndex", Rule::COUNT), required("endIndex", Rule::POSITIVE)]);
static PLAN: Shape = Shape(&[
    required("argv", STRINGS),
    required("cwd", Rule::STRING_OR_NULL),
    required("commandText", Rule::STRING),
    text("commandPreview"),
    required("agentId", Rule::STRING_OR_NULL),
    required("sessionKey", Rule::STRING_OR_NULL),
    optional("policySnapshot", Rule::Object(&POLICY_SNAPSHOT)),
    optional("mutableFileOperand", Rule::AnyOf(&Rule::Object(&OPERAND), &Rule::Null)),
]);
static POLICY_SNAPSHOT: Shape = Shape(&[
    required("security", Rule::OneOf(&["deny", "allowlist", "full"])),
    required("ask", Rule::OneOf(&["off", "on-miss", "always"])),
    required("askFallback", Rule::OneOf(&["deny", "allowlist", "full"])),
    required("autoAllowSkills", Rule::Bool),
    required(
        "allowlistRules",
        Rule::List { item: &Rule::Object(&POLICY_RULE), min: 0, max: usize::MAX, unique: false },
    ),
]);
static POLICY_RULE: Shape = Shape(&[
    required("pattern", Rule::STRING),
    optional("argPattern", Rule::STRING),
    optional("source", Rule::Const("allow-always")),
]);
static OPERAND: Shape = Shape(&[
    required("argvIndex", Rule::COUNT),
    required("path", Rule::STRING),
    required("sha256", Rule::STRING),
]);

/// `plugin.approval.request`.
pub(super) static PLUGIN_REQUEST: Shape = Shape(&[
    optional("pluginId", Rule::NON_EMPTY_OR_NULL),
    words("title", 80),
    words("description", 512),
    optional("detail", Rule::AnyOf(&Rule::Text { min: 1, max: 16_384 }, &Rule::Null)),
    optional("severity", Rule::AnyOf(&Rule::OneOf(&["info", "warning", "critical"]), &Rule::Null)),
    optional("scope", Rule::AnyOf(&SCOPED, &Rule::Null)),
    text("toolName"),
    text("toolCallId"),
    optional("mcpTool", Rule::Object(&MCP_TOOL)),
    optional("allowedDecisions", Rule::AnyOf(&DECISIONS, &Rule::Null)),
    text("agentId"),
    text("sessionKey"),
    optional("approvalReviewerDeviceIds", Rule::AnyOf(&Rule::NON_EMPTY_LIST, &Rule::Null)),
    text("turnSourceChannel"),
    text("turnSourceTo"),
    text("turnSourceAccountId"),
    optional("turnSourceThreadId", THREAD),
    optional("timeoutMs", Rule::Integer { min: 1, max: 600_000 }),
    optional("twoPhase", Rule::Bool),
]);
static MCP_TOOL: Shape = Shape(&[required("server", NOT_BLANK), required("tool", NOT_BLANK)]);
const NOT_BLANK: Rule = Rule::Form { fits: |text| !text.trim().is_empty(), pattern: r"\S" };
const DECISIONS: Rule =
    Rule::List { item: &Rule::OneOf(&["allow-once", "allow-always", "deny"]), min: 1, max: 3, unique: false };

/// `exec.approval.resolve`.
pub(super) static EXEC_RESOLVE: Shape = Shape(&[
    NAMED,
    required("decision", Rule::NON_EMPTY),
    REVIEWER,
    optional("grantExpiresInDays", GRANT_DAYS),
]);
/// `plugin.approval.resolve`.
pub(super) static PLUGIN_RESOLVE: Shape = Shape(&[NAMED, required("decision", Rule::NON_EMPTY), REVIEWER]);
/// `approval.resolve`.
pub(super) static RESOLVE: Shape = Shape(&[
    required("id", DEEP_ID),
    required("kind", Rule::OneOf(&["exec", "plugin", "system-agent"])),
    required("decision", Rule::OneOf(&["allow-once", "allow-always", "deny"])),
    REVIEWER,
    optional("grantExpiresInDays", GRANT_DAYS),
]);
/// `approval.get`.
pub(super) static GET: Shape = Shape(&[required("id", DEEP_ID)]);
/// `exec.approval.get`, `question.get`.
pub(super) static ID_ONLY: Shape = Shape(&[NAMED]);
/// `exec.approval.grants.revoke`.
pub(super) static GRANT: Shape = Shape(&[required("grantId", Rule::NON_EMPTY)]);
/// `approval.history`.
pub(super) static HISTORY: Shape = Shape(&[
    optional("cursor", Rule::Text { min: 1, max: 512 }),
    optional("limit", Rule::Integer { min: 1, max: 100 }),
    optional("kind", Rule::OneOf(&["exec", "plugin", "system-agent"])),
]);
/// An id that may stand in a path.
const DEEP_ID: Rule = Rule::Form {
    fits: |text| !matches!(text, "" | "." | ".."),
    pattern: r"^(?!\.{1,2}$)(?:[^\uD800-\uDFFF]|[\uD800-\uDBFF][\uDC00-\uDFFF])+$",
};
const REVIEWER: Field = optional("reviewer", Rule::Object(&REVIEWER_NAMES));
static REVIEWER_NAMES: Shape = Shape(&[
    required("channel", Rule::NON_EMPTY),
    required("accountId", Rule::NON_EMPTY),
    required("senderId", Rule::NON_EMPTY),
]);

/// `exec.approvals.set`.
pub(super) static FILE_SET: Shape =
    Shape(&[required("file", Rule::Object(&FILE)), optional("baseHash", Rule::NON_EMPTY)]);
/// `exec.approvals.node.set`.
pub(super) static NODE_FILE_SET: Shape = Shape(&[
    required("nodeId", Rule::NON_EMPTY),
    required("file", Rule::Object(&FILE)),
    optional("baseHash", Rule::NON_EMPTY),
]);
static FILE: Shape = Shape(&[
    required("version", Rule::Exactly(1)),
    optional("socket", Rule::Object(&SOCKET)),
    optional("defaults", Rule::Object(&POLICY)),
    optional("agents", Rule::Map(&Rule::Object(&AGENT))),
]);
static SOCKET: Shape = Shape(&[optional("path", Rule::STRING), optional("token", Rule::STRING)]);
static POLICY: Shape = Shape(&[
    optional("security", Rule::STRING),
    optional("ask", Rule::STRING),
    optional("askFallback", Rule::STRING),
    optional("autoAllowSkills", Rule::Bool),
]);
static AGENT: Shape = Shape(&[
    optional("security", Rule::STRING),
    optional("ask", Rule::STRING),
    optional("askFallback", Rule::STRING),
    optional("autoAllowSkills", Rule::Bool),
    optional(
        "allowlist",
        Rule::List { item: &Rule::Object(&ALLOWED), min: 0, max: usize::MAX, unique: false },
    ),
    optional(
        "mcpTools",
        Rule::List { item: &Rule::Object(&ALLOWED_TOOL), min: 0, max: usize::MAX, unique: false },
    ),
]);
static ALLOWED: Shape = Shape(&[
    optional("id", Rule::NON_EMPTY),
    required("pattern", Rule::STRING),
    optional("source", Rule::Const("allow-always")),
    optional("commandText", Rule::STRING),
    optional("argPattern", Rule::STRING),
    optional("lastUsedAt", Rule::Number { min: 0.0 }),
    optional("lastUsedCommand", Rule::STRING),
    optional("lastResolvedPath", Rule::STRING),
]);
static ALLOWED_TOOL: Shape = Shape(&[
    required("server", NOT_BLANK),
    required("tool", NOT_BLANK),
    required("source", Rule::Const("allow-always")),
    required("addedAt", Rule::Number { min: 0.0 }),
    optional("lastUsedAt", Rule::Number { min: 0.0 }),
]);
/// `question.request`.
pub(super) static QUESTION_REQUEST: Shape = Shape(&[
    optional("id", ID),
    required("questions", Rule::List { item: &Rule::Object(&QUESTION), min: 1, max: 3, unique: false }),
    optional("agentId", Rule::NON_EMPTY),
    optional("sessionKey", Rule::NON_EMPTY),
    optional("runId", Rule::NON_EMPTY),
    optional("timeoutMs", Rule::POSITIVE),
]);
static QUESTION: Shape = Shape(&[
    required("questionId", QUESTION_ID),
    required("header", Rule::Text { min: 0, max: 12 }),
    required("question", Rule::NON_EMPTY),
    required("options", Rule::List { item: &Rule::Object(&OPTION), min: 0, max: 4, unique: false }),
    optional("multiSelect", Rule::Bool),
    optional("isOther", Rule::Bool),
    optional("isSecret", Rule::Bool),
    optional("secretStore", Rule::Object(&SECRET_STORE)),
]);
static OPTION: Shape = Shape(&[required("label", Rule::NON_EMPTY), optional("description", Rule::STRING)]);
static SECRET_STORE: Shape = Shape(&[
    required("name", Rule::Form { fits: is_variable, pattern: "^[A-Z][A-Z0-9_]{0,127}$" }),
    required("kind", Rule::OneOf(&["secret", "env"])),
    optional("allowedHosts", HOSTS),
    optional("reason", Rule::Text { min: 0, max: 200 }),
]);
const HOSTS: Rule = Rule::List { item: &Rule::Text { min: 1, max: 253 }, min: 0, max: 128, unique: true };
const QUESTION_ID: Rule = Rule::Form { fits: is_question_id, pattern: "^[a-z][a-z0-9_]*$" };
/// `question.waitAnswer`.
pub(super) static QUESTION_WAIT: Shape = Shape(&[NAMED, optional("timeoutMs", Rule::POSITIVE)]);
/// `question.resolve` with answers; who resolved it is who called.
pub(super) static QUESTION_ANSWER: Shape = Shape(&[
    NAMED,
    required("answers", Rule::Object(&ANSWERS)),
    optional("secretStoreAllowedHosts", HOSTS),
    optional("resolvedBy", Rule::NON_EMPTY),
]);
static ANSWERS: Shape = Shape(&[required("answers", Rule::Map(&STRINGS))]);
/// `question.resolve` without answers.
pub(super) static QUESTION_CANCEL: Shape =
    Shape(&[NAMED, required("cancel", Rule::True), optional("resolvedBy", Rule::NON_EMPTY)]);

fn is_question_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase()) && text.bytes().all(fits)
}

fn is_variable(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase())
        && text.bytes().all(fits)
}
