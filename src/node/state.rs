//! `node.json` of the state folder: what this node host is called, and which gateway it belongs to (spec: nodes section
//! 11). Members that are not named here are somebody else's, and survive.

use crate::entropy;
use crate::storage::{Put, PutFault, RealDisk, Storage};
use clawgate_proto::host::Version;
use clawgate_proto::seed::{Random, Seed};
use serde_json::{Map, Value, json};
use std::path::Path;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// The id of this installation, a UUID; it tells instances apart and proves nothing.
    pub node_id: String,
    /// What people call this node.
    pub display_name: Option<String>,
    /// The gateway's name or address.
    pub host: Option<String>,
    /// And port.
    pub port: Option<u16>,
    /// Whether it was reached by TLS.
    pub tls: bool,
    /// The one certificate that was trusted there.
    pub tls_fingerprint: Option<String>,
}

impl NodeState {
    /// Reads it; with an id of its own when there is none.
    ///
    /// # Errors
    /// The file is there and is not what it should be; a sentence for a person.
    pub fn load(storage: &Storage<RealDisk>, state_dir: &Path) -> Result<Self, String> {
        let (members, _) = read(storage, state_dir)?;
        let text = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str).map(str::trim);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let gateway = members.get("gateway");
        let port = gateway.and_then(|gateway| gateway["port"].as_u64());
        Ok(Self {
            node_id: text(members.get("nodeId"))
                .unwrap_or_else(|| Random::new(Seed::new(entropy::bytes())).uuid()),
            display_name: text(members.get("displayName")),
            host: text(gateway.map(|gateway| &gateway["host"])),
            port: port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
            tls: gateway.is_some_and(|gateway| gateway["tls"] == true),
            tls_fingerprint: text(gateway.map(|gateway| &gateway["tlsFingerprint"])),
        })
    }

    /// Makes it durable; nothing is written when it is what is there.
    ///
    /// # Errors
    /// It cannot be written; a sentence for a person.
    pub fn store(&self, storage: &Storage<RealDisk>, state_dir: &Path) -> Result<(), String> {
        for _ in 0..TRIES {
            let (before, mark) = read(storage, state_dir)?;
            let mut now = before.clone();
            now.insert("version".into(), 1.into());
            now.insert("nodeId".into(), self.node_id.clone().into());
            if let Some(name) = &self.display_name {
                now.insert("displayName".into(), name.clone().into());
            }
            let gateway = now.entry("gateway").or_insert_with(|| json!({}));
            if !gateway.is_object() {
                *gateway = json!({});
            }
            gateway["host"] = self.host.clone().into();
            gateway["port"] = self.port.into();
            gateway["tls"] = self.tls.into();
            match (&self.tls_fingerprint, gateway.as_object_mut()) {
                (Some(fingerprint), _) => gateway["tlsFingerprint"] = fingerprint.clone().into(),
                (None, Some(members)) => drop(members.remove("tlsFingerprint")),
                (None, None) => {}
            }
            if now == before {
                return Ok(());
            }
            let mut content = serde_json::to_vec_pretty(&now).expect("an object has only string keys");
            content.push(b'\n');
            let path = state_dir.join(FILE);
            match storage.put(&[Put { path: &path, expected: Some(mark), content: &content }]) {
                Ok(_) => return Ok(()),
                Err(PutFault::Conflict(_)) => {}
                Err(PutFault::Failed(why)) => return Err(why),
            }
        }
        Err(format!("{} keeps changing; stop what else writes it", state_dir.join(FILE).display()))
    }
}

fn read(storage: &Storage<RealDisk>, state_dir: &Path) -> Result<(Map<String, Value>, Version), String> {
    let path = state_dir.join(FILE);
    let Some((text, mark)) = storage.read(&path)? else { return Ok((Map::new(), Version::MISSING)) };
    let members: Option<Map<String, Value>> = serde_json::from_slice(&text).ok();
    let members = members.filter(|members| members.get("version").is_none_or(|version| version == 1));
    // It holds a secret in some installations: nothing of it is quoted.
    let members = members.ok_or_else(|| {
        format!("{} is not the expected JSON: mend it, or move it away to start anew", path.display())
    })?;
    Ok((members, mark))
}

const FILE: &str = "node.json";
const TRIES: usize = 5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn it_is_kept_as_the_reference_keeps_it() {
        let folder = Folder::new();
        let storage = Storage::new(RealDisk, 1);
        let path = folder.path().join(FILE);
        let mut state = NodeState::load(&storage, folder.path()).unwrap();
        assert_eq!((state.node_id.len(), &state.host), (36, &None));
        assert!(!path.exists(), "looking writes nothing");
        state.host = Some("127.0.0.1".into());
        state.port = Some(18_789);
        state.store(&storage, folder.path()).unwrap();
        assert_eq!(NodeState::load(&storage, folder.path()).unwrap(), state);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let gateway = json!({"host": "127.0.0.1", "port": 18_789, "tls": false});
        assert_eq!(text, json!({"version": 1, "nodeId": state.node_id, "gateway": gateway}));
    }

    #[test]
    fn what_is_somebody_elses_stays_and_nothing_is_written_twice() {
        let folder = Folder::new();
        let storage = Storage::new(RealDisk, 1);
        let path = folder.path().join(FILE);
        let text = r#"{"version":1,"nodeId":"n","token":"hush","x":1,"displayName":"Attic",
            "gateway":{"host":"a","port":1,"tls":true,"tlsFingerprint":"f"}}"#;
        fs::write(&path, text).unwrap();
        let mut state = NodeState::load(&storage, folder.path()).unwrap();
        assert!(state.tls && !format!("{state:?}").contains("hush"));
        state.store(&storage, folder.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        state.port = Some(2);
        state.store(&storage, folder.path()).unwrap();
        let after: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(
            (&after["token"], &after["x"], &after["gateway"]["tlsFingerprint"]),
            (&json!("hush"), &json!(1), &json!("f"))
        );
        for broken in ["{", "[]", "{\"version\":2}"] {
            fs::write(&path, broken).unwrap();
            assert!(NodeState::load(&storage, folder.path()).is_err());
            assert!(state.store(&storage, folder.path()).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), broken);
        }
    }
}
