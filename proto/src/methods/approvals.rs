//! Approvals and questions: rows of the method table.

use super::Method;

pub(super) const ROWS: &[Method] = &[];
