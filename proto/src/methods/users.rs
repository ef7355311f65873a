//! Users, projects, environments, pages, plugins and setup: rows of the method table.

use super::access::Access;
use super::{ADMIN, Method, READ, V4, WRITE, closed, shapes, told, told_open};
use crate::dialect::{BOTH, lists};
use crate::gateway::{reads, users, wizards};

pub(super) const ROWS: &[Method] = &[
    told("controlUi.sessionPullRequests.subscribe", V4, READ, &shapes::PULL_REQUESTS, lists::SUBSCRIBED),
    told("environments.list", V4, Access::ByParams, &shapes::ENVIRONMENTS, lists::ENVIRONMENTS),
    closed("environments.status", V4, READ, &shapes::ENVIRONMENT, reads::environment),
    told_open("plugins.controlUi.list", V4, READ, lists::UI_PLUGINS),
    told("plugins.list", V4, READ, &shapes::NOTHING, lists::PLUGINS),
    told("plugins.uiDescriptors", V4, READ, &shapes::NOTHING, lists::DESCRIPTORS),
    told("portal.list", V4, READ, &shapes::NOTHING, lists::PORTALS),
    told("projects.list", V4, READ, &shapes::PROJECTS, lists::PROJECTS),
    told_open("terminal.list", V4, ADMIN, lists::TERMINALS),
    told("themes.list", V4, READ, &shapes::NOTHING, lists::THEMES),
    closed("users.list", V4, READ, &shapes::NOTHING, users::list),
    told("users.prefs.get", V4, READ, &shapes::PREFS, lists::PREFS),
    told("users.prefs.set", V4, WRITE, &shapes::PREFS_SET, lists::PREFS_NOT_KEPT),
    closed("users.self", V4, READ, &shapes::NOTHING, users::own),
    closed("wizard.cancel", BOTH, ADMIN, &shapes::WIZARD_SESSION, wizards::cancel),
    closed("wizard.next", BOTH, ADMIN, &shapes::WIZARD_NEXT, wizards::next),
    closed("wizard.start", BOTH, ADMIN, &shapes::WIZARD_START, wizards::start),
    closed("wizard.status", BOTH, ADMIN, &shapes::WIZARD_SESSION, wizards::status),
    told("worktrees.list", V4, READ, &shapes::NOTHING, lists::WORKTREES),
];
