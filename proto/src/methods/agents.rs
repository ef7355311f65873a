//! Agents, models, tools, skills, schedules and tasks: rows of the method table.

use super::Method;

pub(super) const ROWS: &[Method] = &[];
