//! What lists say when there is nothing to list: answers as text, by dialect (spec: methods sections 5 to 11; the
//! published protocol 4 schema, of which only members that must be there are sent).
//!
//! A word behind `$` is filled in by `gateway::reads`:
//!
//! | word | what it becomes |
//! | --- | --- |
//! | `$ts`, `$iso` | now, in Unix milliseconds; as text of RFC 3339, without quotes |
//! | `$state` | the state folder, inside quotes; `[redacted]` for callers without admin |
//! | `$key`, `$canonical` | the session that was asked for, as it was named; in full; both with quotes |
//! | `$agent` | nothing, if the only agent was meant; any other is refused |
//! | `$limit`, `$offset` | the page that was asked for |
//! | `$role` | the caller's place in a session that is nobody's: `admin` or `viewer`, with quotes |
//! | `$days`, `$begin`, `$end` | the days that were asked about; the first and last of them, with quotes |
//! | `$instance` | this process, with quotes |

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    /// By [`super::Dialect::index`].
    pub(crate) by_dialect: [&'static str; 2],
}

const fn both(text: &'static str) -> Text {
    Text { by_dialect: [text, text] }
}

const fn each(v3: &'static str, v4: &'static str) -> Text {
    Text { by_dialect: [v3, v4] }
}

macro_rules! totals {
    () => {
        r#"{"input":0,"output":0,"cacheRead":0,"cacheWrite":0,"totalTokens":0,"totalCost":0,"inputCost":0,"outputCost":0,"cacheReadCost":0,"cacheWriteCost":0,"missingCostEntries":0}"#
    };
}

macro_rules! theme {
    () => {
        r#"{"id":"claw","name":"Claw","description":"What pages look like by themselves.","source":"builtin","modes":["light","dark"]}"#
    };
}

/// Methods whose answer is a bare list.
pub(crate) const EMPTY: Text = both("[]");
pub(crate) const OK: Text = both(r#"{"ok":true}"#);
pub(crate) const SUBSCRIBED: Text = both(r#"{"subscribed":true}"#);

// ---- system ----

pub(crate) const AUDIT: Text = both(r#"{"events":[]}"#);
pub(crate) const MEMORY: Text =
    both(r#"{"agentId":"main","embedding":{"ok":false,"error":"memory search unavailable"}}"#);
/// No hook is installed, and none could run here.
pub(crate) const HOOKS: Text =
    both(r#"$agent{"workspaceDir":"$state/workspace","managedHooksDir":"$state/hooks","hooks":[]}"#);
pub(crate) const COMPUTER: Text = both(r#"{"configured":false,"available":false}"#);
pub(crate) const SECRETS: Text = both(r#"{"entries":[]}"#);
pub(crate) const UPDATES: Text = both(r#"{"sentinel":null,"updateAvailable":null}"#);
/// Nothing was used on any day, so no day is listed.
pub(crate) const COST: Text =
    both(concat!(r#"{"updatedAt":$ts,"days":$days,"daily":[],"totals":"#, totals!(), "}"));
pub(crate) const USAGE: Text = both(r#"{"updatedAt":$ts,"providers":[]}"#);

// ---- approvals ----

pub(crate) const GRANTS: Text = both(r#"{"grants":[]}"#);
pub(crate) const SETUP: Text = both(
    r#"$agent{"candidates":[],"manualProviders":[],"workspace":"$state/workspace","setupComplete":false}"#,
);

// ---- sessions and chat ----

pub(crate) const IDENTITY: Text = both(r#"$agent{"agentId":"main","name":"Assistant","avatar":"A"}"#);
pub(crate) const ARTIFACTS: Text = both(r#"{"artifacts":[]}"#);
pub(crate) const BOARD: Text = both(r#"{"sessionKey":$key,"revision":0,"tabs":[],"widgets":[]}"#);
pub(crate) const HISTORY: Text = each(
    r#"{"sessionKey":$key,"messages":[],"thinkingLevel":"off"}"#,
    r#"{"sessionKey":$key,"messages":[],"pendingInputs":{"items":[],"total":0},"hasMore":false,"totalMessages":0,"defaults":{"modelProvider":null,"model":null,"contextTokens":null}}"#,
);
/// No model, no command, no account to choose: whatever a session would run with is not decided here.
pub(crate) const METADATA: Text = both(
    r#"$agent{"models":[],"commands":[],"swarmEnabled":false,"accountSelection":{"kind":"automatic","label":"Automatic account selection"}}"#,
);
/// The same, when a session is named.
pub(crate) const METADATA_SESSION: Text = both(
    r#"$agent{"models":[],"commands":[],"swarmEnabled":false,"accountSelection":{"kind":"automatic","label":"Automatic account selection"},"runtimeSelectionLocked":false}"#,
);
/// To a caller that wants what came since a cursor: no cursor of ours can be meant.
pub(crate) const HISTORY_RESET: Text = both(r#"{"kind":"reset"}"#);
pub(crate) const NO_MESSAGE: Text = both(r#"{"ok":false,"unavailableReason":"not_found"}"#);
pub(crate) const TITLES: Text = both(r#"{"titles":{}}"#);
pub(crate) const MENTIONS: Text = both(r#"{"gatewayInstanceId":$instance,"revision":0,"items":[]}"#);
pub(crate) const CARD: Text = both(r#"{"card":null}"#);
pub(crate) const DISCUSSION: Text = both(r#"{"state":"none"}"#);
pub(crate) const MEMBERS: Text =
    both(r#"{"sessionKey":$key,"members":[],"identities":[],"role":$role,"allowedVisibilities":[]}"#);
pub(crate) const SUGGESTED: Text = both(r#"{"suggestions":[],"role":$role}"#);
pub(crate) const TYPING: Text = both(r#"{"ok":true,"broadcast":false}"#);
pub(crate) const BRANCHES: Text = both(r#"{"branches":[]}"#);
pub(crate) const CATALOGS: Text = both(r#"{"catalogs":[]}"#);
pub(crate) const EXCHANGES: Text = both(r#"{"exchanges":[]}"#);
pub(crate) const SESSION: Text = both(r#"{"session":null}"#);
pub(crate) const MESSAGES: Text = both(r#"{"messages":[]}"#);
pub(crate) const GITHUB: Text = both(r#"{"personal":null,"shared":null,"pendingPersonal":null}"#);
pub(crate) const GROUP_DEFAULTS: Text = both(r#"{"defaults":[]}"#);
pub(crate) const GROUPS: Text = both(r#"{"groups":[]}"#);
pub(crate) const SESSIONS: Text = each(
    r#"{"ts":$ts,"path":"$state/agents/main/sessions/sessions.json","count":0,"defaults":{"modelProvider":null,"model":null,"contextTokens":null},"sessions":[]}"#,
    r#"{"ts":$ts,"path":"$state/agents/main/sessions/sessions.json","count":0,"totalCount":0,"limitApplied":$limit,"nextOffset":null,"hasMore":false,"owners":[],"defaults":{"modelProvider":null,"model":null,"contextTokens":null},"sessions":[]}"#,
);
pub(crate) const MESSAGES_SUBSCRIBED: Text = both(r#"{"subscribed":true,"key":$canonical}"#);
pub(crate) const MESSAGES_SUBSCRIBED_REPLAY: Text = both(
    r#"{"subscribed":true,"key":$canonical,"approvalReplay":{"sessionKey":$canonical,"updatedAtMs":$ts,"approvals":[],"truncated":false}}"#,
);
pub(crate) const MESSAGES_UNSUBSCRIBED: Text = both(r#"{"subscribed":false,"key":$canonical}"#);
pub(crate) const RESULTS: Text = both(r#"{"results":[]}"#);
pub(crate) const NOT_RESOLVED: Text = both(r#"{"ok":false}"#);
pub(crate) const SESSIONS_USAGE: Text = both(concat!(
    r#"{"updatedAt":$ts,"startDate":$begin,"endDate":$end,"sessions":[],"totals":"#,
    totals!(),
    r#","aggregates":{"messages":{"total":0,"user":0,"assistant":0,"toolCalls":0,"toolResults":0,"errors":0},"tools":{"totalCalls":0,"uniqueTools":0,"tools":[]},"byModel":[],"byProvider":[],"byAgent":[],"byChannel":[],"dailyLatency":[],"modelDaily":[],"daily":[]}}"#
));
pub(crate) const TRANSCRIPTS: Text = both(r#"{"sessions":[],"nextCursor":null}"#);
pub(crate) const USAGE_LOGS: Text = both(r#"{"logs":[]}"#);

// ---- agents, models, tools, skills, schedules, tasks ----

pub(crate) const AGENTS: Text =
    both(r#"{"defaultId":"main","mainKey":"main","scope":"per-sender","agents":[{"id":"main"}]}"#);
pub(crate) const FILES: Text = both(r#"$agent{"agentId":"main","workspace":"$state/workspace","files":[]}"#);
pub(crate) const COMMANDS: Text = both(r#"{"commands":[]}"#);
pub(crate) const JOBS: Text =
    both(r#"{"jobs":[],"total":0,"offset":$offset,"limit":$limit,"hasMore":false,"nextOffset":null}"#);
pub(crate) const RUNS: Text =
    both(r#"{"entries":[],"total":0,"offset":$offset,"limit":$limit,"hasMore":false,"nextOffset":null}"#);
pub(crate) const SCHEDULER: Text = each(
    r#"{"enabled":false,"storePath":"$state/cron/jobs.json","jobs":0,"nextWakeAtMs":null}"#,
    r#"{"enabled":false,"triggersEnabled":false,"storePath":"$state/cron/jobs.json","jobs":0,"nextWakeAtMs":null}"#,
);
pub(crate) const AUTH_STATUS: Text = both(r#"{"ts":$ts,"providers":[],"providerCapabilities":[]}"#);
pub(crate) const MODELS: Text = both(r#"{"models":[]}"#);
pub(crate) const BINS: Text = both(r#"{"bins":[]}"#);
pub(crate) const CURATOR: Text = both(
    r#"{"lastAttemptAtMs":null,"lastSuccessAtMs":null,"lastError":null,"counts":{"active":0,"stale":0,"archived":0},"skills":[],"overlaps":[]}"#,
);
pub(crate) const LIBRARY: Text = both(
    r#"{"entries":[],"profileId":"gateway-owner","multipleProfiles":false,"defaultTarget":"workspace","canManageWorkspace":false,"defaultSelectionLimit":64}"#,
);
pub(crate) const PROPOSALS: Text = both(
    r#"$agent{"schema":"openclaw.skill-workshop.proposals-manifest.v1","updatedAt":"$iso","proposals":[]}"#,
);
pub(crate) const SKILLS: Text = each(
    r#"$agent{"workspaceDir":"$state/workspace","managedSkillsDir":"$state/skills","skills":[]}"#,
    r#"$agent{"workspaceDir":"$state/workspace","managedSkillsDir":"$state/skills","agentId":"main","skills":[]}"#,
);
pub(crate) const SUGGESTIONS: Text = both(r#"{"suggestions":[]}"#);
pub(crate) const TASKS: Text = both(r#"{"tasks":[]}"#);
pub(crate) const TOOLS: Text = both(
    r#"$agent{"agentId":"main","profiles":[{"id":"minimal","label":"Minimal"},{"id":"coding","label":"Coding"},{"id":"messaging","label":"Messaging"},{"id":"full","label":"Full"}],"groups":[]}"#,
);
/// There is no model to search with and no provider to search at.
pub(crate) const WEB_SEARCH: Text = both(
    r#"$agent{"enabled":false,"provider":null,"agentId":"main","model":{"provider":"","id":"","runtime":"unknown","runtimeLabel":"Not resolved"},"providers":[],"route":{"kind":"disabled","label":"Search disabled","testable":false,"reason":"This gateway runs no agent that could search."}}"#,
);
pub(crate) const TOOLS_EFFECTIVE: Text = both(r#"$agent{"agentId":"main","profile":"minimal","groups":[]}"#);

// ---- channels and voice ----

pub(crate) const CHANNELS_PAIRING: Text = both(
    r#"{"accounts":[],"requests":[],"commandOwnerConfigured":false,"limits":{"pendingPerAccount":0,"ttlMs":0}}"#,
);
pub(crate) const TALK_CATALOG: Text = both(
    r#"{"modes":[],"transports":[],"brains":[],"speech":{"providers":[]},"transcription":{"providers":[]},"realtime":{"providers":[]}}"#,
);
pub(crate) const TALK_CONFIG: Text = both(r#"{"config":{}}"#);
pub(crate) const SPEECH: Text = each(
    r#"{"enabled":false,"auto":"off","provider":"","fallbackProvider":null,"fallbackProviders":[],"prefsPath":"$state/settings/tts.json","hasOpenAIKey":false,"hasElevenLabsKey":false,"edgeEnabled":false}"#,
    r#"{"enabled":false,"auto":"off","provider":"","persona":null,"personas":[],"fallbackProvider":null,"fallbackProviders":[],"prefsPath":"$state/settings/tts.json","providerStates":[]}"#,
);
pub(crate) const PERSONAS: Text = both(r#"{"active":null,"personas":[]}"#);
pub(crate) const VOICES: Text = both(r#"{"providers":[],"active":""}"#);

// ---- users, projects, pages, plugins ----

pub(crate) const ENVIRONMENTS: Text = both(r#"{"environments":[]}"#);
/// The revision is the SHA-256 of nothing.
pub(crate) const UI_PLUGINS: Text = both(
    r#"{"revision":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","plugins":[],"diagnostics":[]}"#,
);
pub(crate) const PLUGINS: Text = both(r#"{"plugins":[],"diagnostics":[],"mutationAllowed":false}"#);
pub(crate) const DESCRIPTORS: Text = both(r#"{"ok":true,"descriptors":[]}"#);
pub(crate) const PORTALS: Text = both(r#"{"portals":[]}"#);
pub(crate) const PROJECTS: Text = both(r#"{"projects":[]}"#);
pub(crate) const TERMINALS: Text = both(r#"{"sessions":[]}"#);
pub(crate) const PREFS: Text = both(r#"{"status":"ok","entries":{}}"#);
/// Nothing was stored: the caller keeps its preferences itself.
pub(crate) const PREFS_NOT_KEPT: Text = both(r#"{"status":"no_durable_identity"}"#);
/// The one that pages have by themselves; no other is stored here.
pub(crate) const THEMES: Text = both(concat!(
    r#"{"current":{"id":"claw","mode":"system","scope":"gateway","overrides":{}},"theme":"#,
    theme!(),
    r#","themes":["#,
    theme!(),
    "]}"
));
pub(crate) const WORKTREES: Text = both(r#"{"worktrees":[]}"#);
