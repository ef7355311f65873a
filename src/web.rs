//! Files that come with the program and are served to browsers and nodes. A test holds the list to what lies in their
//! folder.

use crate::host::files::Asset;

macro_rules! assets {
    ($folder:literal: $($path:literal)*) => {
        &[$(Asset { path: $path, content: include_bytes!(concat!("web/", $folder, "/", $path)) },)*]
    };
}

/// The renderer of A2UI, below its root.
pub const A2UI: &[Asset] = assets!("a2ui":
    "index.html"
    "a2ui.bundle.js"
    "a2ui.css"
    "themes.css"
    "data.js"
    "inputs.js"
    "model.js"
    "icons.js"
    "view.js"
    "widgets.js"
    "host.js"
);

/// The control page, below its root.
pub const CONTROL: &[Asset] = assets!("control":
    "index.html"
    "approvals.js"
    "canvas.js"
    "canvas_address.js"
    "canvas_snapshot.js"
    "client.js"
    "control.css"
    "dom.js"
    "event_filter.js"
    "events.js"
    "favicon.svg"
    "format.js"
    "frame.js"
    "identity.js"
    "log.js"
    "main.js"
    "model.js"
    "node.js"
    "node_action.js"
    "node_commands.js"
    "nodes.js"
    "overview.js"
    "pairing.js"
    "people.js"
    "protocol.js"
    "refusals.js"
    "shell.js"
    "sign_in.js"
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_file_of_a_folder_comes_with_the_program() {
        for (name, assets) in [("a2ui", A2UI), ("control", CONTROL)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web").join(name);
            let entries = std::fs::read_dir(folder).unwrap();
            let lying: BTreeSet<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            let listed: BTreeSet<String> = assets.iter().map(|asset| asset.path.to_owned()).collect();
            assert_eq!(listed, lying);
            assert_eq!(assets.len(), listed.len());
        }
    }
}
