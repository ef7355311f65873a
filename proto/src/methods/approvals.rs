//! Approvals and questions: rows of the method table.

use super::access::Access;
use super::{ADMIN, APPROVALS, Method, V4, params, row, shapes, told, told_open};
use crate::dialect::{BOTH, lists};
use crate::gateway::handlers;
use crate::scope;

pub(super) const ROWS: &[Method] = &[
    told("approval.history", V4, APPROVALS, &shapes::APPROVAL_HISTORY, lists::ITEMS),
    told("exec.approval.grants.list", V4, APPROVALS, &shapes::LIMIT_500, lists::GRANTS),
    told_open("exec.approval.list", V4, APPROVALS, lists::EMPTY),
    row("exec.approvals.get", BOTH, ADMIN, params::none_closed, handlers::exec_approvals),
    told_open("openclaw.approval.list", V4, APPROVALS, lists::EMPTY),
    told("openclaw.setup.detect", V4, ADMIN, &shapes::AGENT_ONLY, lists::SETUP),
    told_open("plugin.approval.list", V4, APPROVALS, lists::EMPTY),
    told(
        "question.list",
        V4,
        Access::Either(&[scope::QUESTIONS, scope::SESSIONS_WRITE]),
        &shapes::NOTHING,
        lists::QUESTIONS,
    ),
];
