//! Users, projects, environments, pages, plugins and setup: rows of the method table.

use super::Method;

pub(super) const ROWS: &[Method] = &[];
