//! Channels, voice and web login: rows of the method table.

use super::Method;

pub(super) const ROWS: &[Method] = &[];
