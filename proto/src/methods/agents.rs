//! Agents, models, tools, skills, schedules and tasks: rows of the method table.

use super::access::Access;
use super::{Method, READ, V4, closed, shapes, told};
use crate::dialect::{BOTH, lists};
use crate::gateway::reads;

pub(super) const ROWS: &[Method] = &[
    told("agents.files.list", BOTH, READ, &shapes::AGENT_NEEDED, lists::FILES),
    told("agents.list", BOTH, READ, &shapes::NOTHING, lists::AGENTS),
    told("commands.list", V4, READ, &shapes::COMMANDS, lists::COMMANDS),
    closed("cron.get", V4, READ, &shapes::JOB, reads::job),
    told("cron.list", BOTH, READ, &shapes::CRON_LIST, lists::JOBS),
    told("cron.runs", BOTH, READ, &shapes::CRON_RUNS, lists::RUNS),
    told("cron.status", BOTH, READ, &shapes::NOTHING, lists::SCHEDULER),
    told("models.authStatus", V4, READ, &shapes::AUTH_STATUS, lists::AUTH_STATUS),
    told("models.list", BOTH, READ, &shapes::MODELS, lists::MODELS),
    told("skills.bins", BOTH, Access::Node, &shapes::NOTHING, lists::BINS),
    told("skills.curator.status", V4, READ, &shapes::NOTHING, lists::CURATOR),
    told("skills.library.list", V4, READ, &shapes::LIBRARY, lists::LIBRARY),
    told("skills.proposals.list", V4, READ, &shapes::AGENT_ONLY, lists::PROPOSALS),
    told("skills.status", BOTH, READ, &shapes::AGENT_OR_SESSION, lists::SKILLS),
    told("taskSuggestions.list", V4, READ, &shapes::SUGGESTIONS, lists::SUGGESTIONS),
    closed("tasks.get", V4, READ, &shapes::TASK, reads::task),
    told("tasks.list", V4, READ, &shapes::TASKS, lists::TASKS),
    told("tools.catalog", BOTH, READ, &shapes::TOOLS, lists::TOOLS),
    told("tools.effective", V4, READ, &shapes::TOOLS_EFFECTIVE, lists::TOOLS_EFFECTIVE),
    told("webSearch.status", V4, READ, &shapes::AGENT_ONLY, lists::WEB_SEARCH),
];
