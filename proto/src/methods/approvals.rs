//! Approvals and questions: rows of the method table.

use super::access::Access;
use super::{
    ADMIN, APPROVALS, Method, V4, approval_params as read, approval_shapes, closed, params, row, shapes,
};
use super::{told, told_open};
use crate::dialect::{BOTH, lists};
use crate::gateway::approvals::{self, file, questions, remote};
use crate::gateway::handlers;
use crate::scope;

const QUESTIONS: Access = Access::Either(&[scope::QUESTIONS, scope::SESSIONS_WRITE]);

pub(super) const ROWS: &[Method] = &[
    closed("approval.get", V4, APPROVALS, &approval_shapes::GET, approvals::get),
    closed("approval.history", V4, APPROVALS, &approval_shapes::HISTORY, approvals::history),
    closed("approval.resolve", V4, APPROVALS, &approval_shapes::RESOLVE, approvals::resolve),
    closed("exec.approval.get", V4, APPROVALS, &approval_shapes::ID_ONLY, approvals::get_exec),
    told("exec.approval.grants.list", V4, APPROVALS, &shapes::LIMIT_500, lists::GRANTS),
    closed("exec.approval.grants.revoke", V4, APPROVALS, &approval_shapes::GRANT, approvals::revoke_grant),
    row("exec.approval.list", V4, APPROVALS, params::none_open, approvals::list_exec),
    row("exec.approval.request", BOTH, APPROVALS, read::exec, approvals::request),
    closed("exec.approval.resolve", BOTH, APPROVALS, &approval_shapes::EXEC_RESOLVE, approvals::resolve_exec),
    row("exec.approval.waitDecision", BOTH, APPROVALS, read::id_open, approvals::wait_exec),
    row("exec.approvals.get", BOTH, ADMIN, params::none_closed, handlers::exec_approvals),
    row("exec.approvals.node.get", BOTH, ADMIN, params::node_id, remote::get),
    closed("exec.approvals.node.set", BOTH, ADMIN, &approval_shapes::NODE_FILE_SET, remote::set),
    closed("exec.approvals.set", BOTH, ADMIN, &approval_shapes::FILE_SET, file::set),
    told_open("openclaw.approval.list", V4, APPROVALS, lists::EMPTY),
    told("openclaw.setup.detect", V4, ADMIN, &shapes::AGENT_ONLY, lists::SETUP),
    row("plugin.approval.list", V4, APPROVALS, params::none_open, approvals::list_plugin),
    row("plugin.approval.request", V4, APPROVALS, read::plugin, approvals::request),
    closed(
        "plugin.approval.resolve",
        V4,
        APPROVALS,
        &approval_shapes::PLUGIN_RESOLVE,
        approvals::resolve_plugin,
    ),
    row("plugin.approval.waitDecision", V4, APPROVALS, read::id_open, approvals::wait_plugin),
    closed("question.get", V4, QUESTIONS, &approval_shapes::ID_ONLY, questions::get),
    closed("question.list", V4, QUESTIONS, &shapes::NOTHING, questions::list),
    row("question.request", V4, QUESTIONS, read::question, questions::request),
    row("question.resolve", V4, QUESTIONS, read::question_resolve, questions::resolve),
    closed("question.waitAnswer", V4, QUESTIONS, &approval_shapes::QUESTION_WAIT, questions::wait),
];
