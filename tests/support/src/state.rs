//! The device store in a state folder, as somebody beside the program sees it: read as a fresh process reads it,
//! and edited as the reference's command line edits it.

use clawgate_proto::host::Document;
use clawgate_proto::store::{self, Devices};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a document is.
pub fn path(state_dir: &Path, document: Document) -> PathBuf {
    state_dir.join(document.path())
}

/// Its documents; empty where there is no file.
///
/// # Errors
/// One of them cannot be read, or does not parse.
pub fn devices(state_dir: &Path) -> Result<Devices, String> {
    let paired = bytes(state_dir, Document::DevicesPaired)?;
    let pending = bytes(state_dir, Document::DevicesPending)?;
    let setup = bytes(state_dir, Document::DevicesSetup)?;
    let nodes = bytes(state_dir, Document::Nodes)?;
    let requests = bytes(state_dir, Document::NodeRequests)?;
    Ok(Devices {
        paired: paired.map_or_else(|| Ok(store::Paired::new()), |bytes| store::parse_paired(&bytes))?,
        pending: pending.map_or_else(|| Ok(store::Pending::new()), |bytes| store::parse_pending(&bytes))?,
        setup: setup.map_or_else(|| Ok(Default::default()), |bytes| store::parse_setup(&bytes))?,
        nodes: nodes.map_or_else(|| Ok(Default::default()), |bytes| store::parse_nodes(&bytes))?,
        node_requests: requests.map_or_else(|| Ok(Default::default()), |bytes| store::parse_nodes(&bytes))?,
        damage: None,
    })
}

/// A document as plain JSON; an empty object where there is no file.
///
/// # Panics
/// When it is not JSON.
pub fn json(state_dir: &Path, document: Document) -> Value {
    let bytes = bytes(state_dir, document).expect("the document can be read");
    bytes.map_or_else(
        || Value::Object(serde_json::Map::new()),
        |bytes| serde_json::from_slice(&bytes).expect("the document is JSON"),
    )
}

/// Changes a document as the reference's command line does: read, change, write a temporary file beside it,
/// rename. It takes no lock.
///
/// # Panics
/// When that is not possible.
pub fn edit(state_dir: &Path, document: Document, change: impl FnOnce(&mut Value)) {
    let mut content = json(state_dir, document);
    change(&mut content);
    replace(state_dir, document, &serde_json::to_vec_pretty(&content).expect("a value is JSON"));
}

/// Replaces a document by these bytes, whatever they are.
///
/// # Panics
/// When that is not possible.
pub fn replace(state_dir: &Path, document: Document, content: &[u8]) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let path = path(state_dir, document);
    let folder = path.parent().expect("a document is in a folder");
    std::fs::create_dir_all(folder).expect("the folder can be made");
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!("theirs-{}-{count}.tmp", std::process::id()));
    std::fs::write(&temporary, content).expect("the folder can be written");
    std::fs::rename(&temporary, &path).expect("the document can be replaced");
}

fn bytes(state_dir: &Path, document: Document) -> Result<Option<Vec<u8>>, String> {
    match std::fs::read(path(state_dir, document)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(format!("{}: {why}", document.path())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::temp_dir;
    use serde_json::json;

    #[test]
    fn an_edit_is_seen_and_a_broken_document_is_told() {
        let folder = temp_dir();
        assert_eq!(devices(folder.path()), Ok(Devices::default()));
        edit(folder.path(), Document::DevicesPaired, |paired| paired["d"] = json!({ "deviceId": "d" }));
        let found = devices(folder.path()).expect("it parses");
        assert_eq!(found.paired["d"].device_id, "d");
        assert_eq!(json(folder.path(), Document::DevicesPaired)["d"]["deviceId"], "d");
        replace(folder.path(), Document::DevicesPending, b"{ half");
        assert!(devices(folder.path()).is_err());
        let files = std::fs::read_dir(folder.path().join("devices")).expect("the folder is there").count();
        assert_eq!(files, 2, "no temporary file stays");
    }
}
