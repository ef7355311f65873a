//! Files that come with the program and are served to browsers and nodes.

use crate::host::files::Asset;

/// The renderer of A2UI, below its root. There is none yet.
pub const A2UI: &[Asset] = &[];
