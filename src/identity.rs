//! This machine's own device identity, and the device tokens it holds as a client: `identity/device.json` and
//! `identity/device-auth.json` of the state folder, readable and writable by the reference too (spec: pairing
//! 2.3 and 2.4). Gateway and command line share them.

use crate::entropy;
use crate::storage::{Disk, Put, PutFault, Storage};
use clawgate_proto::client::DeviceKey;
use clawgate_proto::client::identity::public_key_from_pem;
use clawgate_proto::host::Version;
use clawgate_proto::secret;
use core::fmt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The key of this machine, and what a person should know about how it was found.
#[derive(Debug)]
pub struct Identity {
    /// The key.
    pub key: DeviceKey,
    /// Something unusual happened; a sentence for a person.
    pub notice: Option<String>,
}

/// `identity/device.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeviceFile {
    version: u32,
    device_id: String,
    public_key_pem: String,
    private_key_pem: String,
    #[serde(default)]
    created_at_ms: u64,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Identity {
    /// Loads the identity of a state folder, or makes one and stores it. A file that holds no usable key is kept
    /// under another name, never overwritten.
    ///
    /// # Errors
    /// It can be neither read nor written; a sentence for a person.
    pub fn load_or_create<D: Disk>(
        storage: &Storage<D>,
        state_dir: &Path,
        now_ms: u64,
    ) -> Result<Self, String> {
        let path = state_dir.join("identity/device.json");
        for _ in 0..TRIES {
            let (text, mark) = match storage.read(&path)? {
                Some((text, mark)) => (Some(text), mark),
                None => (None, Version::MISSING),
            };
            let loaded = text.as_deref().map(parse);
            let (key, file, notice) = match loaded {
                Some(Ok((key, file))) if file.device_id == key.device_id() => {
                    return Ok(Self { key, notice: None });
                }
                Some(Ok((key, mut file))) => {
                    file.device_id = key.device_id().to_owned();
                    (
                        key,
                        file,
                        Some(format!("{}: the device id did not fit the key; mended", path.display())),
                    )
                }
                Some(Err(why)) => {
                    let kept = path.with_file_name(format!("device.json.invalid-{now_ms}"));
                    let old = text.unwrap_or_default();
                    let backup = Put { path: &kept, expected: None, content: &old };
                    storage.put(&[backup]).map_err(said)?;
                    let (key, file) = create(now_ms);
                    let notice = format!(
                        "{}: {why}; a new identity was made, the old file is kept as {}",
                        path.display(),
                        kept.display()
                    );
                    (key, file, Some(notice))
                }
                None => {
                    let (key, file) = create(now_ms);
                    (key, file, None)
                }
            };
            match storage.put(&[Put { path: &path, expected: Some(mark), content: &render(&file) }]) {
                Ok(_) => return Ok(Self { key, notice }),
                // The gateway and a command may both start on an empty folder: one identity wins.
                Err(PutFault::Conflict(_)) => {}
                Err(fault @ PutFault::Failed(_)) => return Err(said(fault)),
            }
        }
        Err(format!("{} keeps changing; stop what else writes it", path.display()))
    }
}

impl Identity {
    /// The device id of a state folder that has an identity; nothing is made or mended.
    pub fn device_id_at<D: Disk>(storage: &Storage<D>, state_dir: &Path) -> Option<String> {
        let (text, _) = storage.read(&state_dir.join("identity/device.json")).ok()??;
        parse(&text).ok().map(|(key, _)| key.device_id().to_owned())
    }
}

/// `identity/device-auth.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TokensFile {
    version: u32,
    device_id: String,
    tokens: BTreeMap<String, HeldToken>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// A device token this machine was given by a gateway.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeldToken {
    /// The secret.
    pub token: String,
    /// The role it is for.
    pub role: String,
    /// Its scopes, sorted.
    pub scopes: Vec<String>,
    /// When it was stored, Unix milliseconds.
    pub updated_at_ms: u64,
}

// By hand: the token is compared in constant time.
impl PartialEq for HeldToken {
    fn eq(&self, other: &Self) -> bool {
        let Self { token, role, scopes, updated_at_ms } = self;
        secret::same(token, &other.token)
            && *role == other.role
            && *scopes == other.scopes
            && *updated_at_ms == other.updated_at_ms
    }
}

impl Eq for HeldToken {}

impl fmt::Debug for HeldToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldToken")
            .field("role", &self.role)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// The token this device holds for a role; `None` when there is none, or the file is another device's or broken.
pub fn held_token<D: Disk>(
    storage: &Storage<D>,
    state_dir: &Path,
    device_id: &str,
    role: &str,
) -> Option<HeldToken> {
    let (text, _) = storage.read(&tokens_path(state_dir)).ok()??;
    usable(&text, device_id)?.tokens.remove(role).filter(|held| !held.token.is_empty())
}

/// Every token that this device holds.
pub fn held_tokens<D: Disk>(storage: &Storage<D>, state_dir: &Path, device_id: &str) -> Vec<HeldToken> {
    let text = storage.read(&tokens_path(state_dir)).ok().flatten();
    let file = text.and_then(|(text, _)| usable(&text, device_id));
    let tokens = file.into_iter().flat_map(|file| file.tokens);
    tokens.map(|(role, held)| HeldToken { role, ..held }).filter(|held| !held.token.is_empty()).collect()
}

/// Stores the token of a role, and leaves those of other roles.
///
/// # Errors
/// It cannot be written; a sentence for a person.
pub fn hold_token<D: Disk>(
    storage: &Storage<D>,
    state_dir: &Path,
    device_id: &str,
    held: HeldToken,
) -> Result<(), String> {
    change_tokens(storage, state_dir, device_id, |tokens| {
        tokens.insert(held.role.clone(), held.clone()) != Some(held.clone())
    })
}

/// Forgets the token of a role.
///
/// # Errors
/// It cannot be written; a sentence for a person.
pub fn forget_token<D: Disk>(
    storage: &Storage<D>,
    state_dir: &Path,
    device_id: &str,
    role: &str,
) -> Result<(), String> {
    change_tokens(storage, state_dir, device_id, |tokens| tokens.remove(role).is_some())
}

/// Applies a change that says whether it changed anything.
fn change_tokens<D: Disk>(
    storage: &Storage<D>,
    state_dir: &Path,
    device_id: &str,
    mut change: impl FnMut(&mut BTreeMap<String, HeldToken>) -> bool,
) -> Result<(), String> {
    let path = tokens_path(state_dir);
    for _ in 0..TRIES {
        let (text, mark) = storage.read(&path)?.unwrap_or((Vec::new(), Version::MISSING));
        // Another identity's tokens are worth nothing to this one.
        let mut file = usable(&text, device_id).unwrap_or_default();
        file.version = 1;
        device_id.clone_into(&mut file.device_id);
        if !change(&mut file.tokens) {
            return Ok(());
        }
        match storage.put(&[Put { path: &path, expected: Some(mark), content: &render(&file) }]) {
            Ok(_) => return Ok(()),
            Err(PutFault::Conflict(_)) => {}
            Err(fault @ PutFault::Failed(_)) => return Err(said(fault)),
        }
    }
    Err(format!("{} keeps changing; stop what else writes it", path.display()))
}

fn usable(text: &[u8], device_id: &str) -> Option<TokensFile> {
    let file: TokensFile = serde_json::from_slice(text).ok()?;
    (file.version == 1 && file.device_id == device_id).then_some(file)
}

fn tokens_path(state_dir: &Path) -> PathBuf {
    state_dir.join("identity/device-auth.json")
}

/// The reasons quote nothing: the file holds a private key.
fn parse(text: &[u8]) -> Result<(DeviceKey, DeviceFile), &'static str> {
    let file: DeviceFile = serde_json::from_slice(text).map_err(|_| "it is not the expected JSON")?;
    if file.version != 1 {
        return Err("its version is not 1");
    }
    let key =
        DeviceKey::from_private_pem(&file.private_key_pem).map_err(|_| "it holds no Ed25519 private key")?;
    if public_key_from_pem(&file.public_key_pem) != Ok(key.public_key()) {
        return Err("its public key does not belong to its private key");
    }
    Ok((key, file))
}

fn create(now_ms: u64) -> (DeviceKey, DeviceFile) {
    let key = DeviceKey::from_seed(&entropy::bytes::<32>());
    let file = DeviceFile {
        version: 1,
        device_id: key.device_id().to_owned(),
        public_key_pem: key.public_pem(),
        private_key_pem: key.private_pem(),
        created_at_ms: now_ms,
        other: Map::new(),
    };
    (key, file)
}

/// Two spaces of indent and a final newline, as the reference writes both files.
fn render<T: Serialize>(file: &T) -> Vec<u8> {
    let mut text =
        serde_json::to_vec_pretty(file).expect("strings, numbers and maps with string keys always encode");
    text.push(b'\n');
    text
}

fn said(fault: PutFault) -> String {
    match fault {
        PutFault::Conflict(path) => format!("{} was changed by somebody else meanwhile", path.display()),
        PutFault::Failed(why) => why,
    }
}

/// More often nobody changes a file at the same moment.
const TRIES: usize = 5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use crate::storage::RealDisk;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn storage() -> Storage<RealDisk> {
        Storage::new(RealDisk, 1)
    }

    #[test]
    fn an_identity_is_made_once_and_found_again() {
        let folder = Folder::new();
        assert_eq!(Identity::device_id_at(&storage(), folder.path()), None, "looking makes none");
        let made = Identity::load_or_create(&storage(), folder.path(), 5).unwrap();
        let path = folder.path().join("identity/device.json");
        assert_eq!(Identity::device_id_at(&storage(), folder.path()).as_deref(), Some(made.key.device_id()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        let want = format!(
            "{{\n  \"version\": 1,\n  \"deviceId\": \"{}\",\n  \"publicKeyPem\": \"-----BEGIN PUBLIC KEY-----\\n",
            made.key.device_id()
        );
        assert!(text.starts_with(&want) && text.ends_with("\"createdAtMs\": 5\n}\n"), "{text}");
        let found = Identity::load_or_create(&storage(), folder.path(), 6).unwrap();
        assert_eq!(found.key.device_id(), made.key.device_id());
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "an identity that fits is not rewritten");
    }

    #[test]
    fn a_wrong_id_is_mended_and_the_key_kept() {
        let folder = Folder::new();
        let made = Identity::load_or_create(&storage(), folder.path(), 5).unwrap();
        let path = folder.path().join("identity/device.json");
        let id = made.key.device_id().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(
            &path,
            text.replace(&id, &"0".repeat(64)).replace("\"version\": 1,", "\"version\": 1, \"x\": 7,"),
        )
        .unwrap();
        let found = Identity::load_or_create(&storage(), folder.path(), 6).unwrap();
        assert_eq!(found.key.device_id(), id);
        assert!(found.notice.is_some());
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(&id) && text.contains("\"x\": 7"), "{text}");
    }

    #[test]
    fn a_broken_identity_is_replaced_and_kept_aside() {
        for broken in [
            "",
            "{",
            "{\"version\":2}",
            "{\"version\":1,\"deviceId\":\"\",\"publicKeyPem\":\"\",\"privateKeyPem\":\"\"}",
        ] {
            let folder = Folder::new();
            let path = folder.path().join("identity/device.json");
            fs::create_dir(path.parent().unwrap()).unwrap();
            fs::write(&path, broken).unwrap();
            let made = Identity::load_or_create(&storage(), folder.path(), 9).unwrap();
            assert!(made.notice.unwrap().contains("device.json.invalid-9"));
            assert_eq!(fs::read_to_string(path.with_file_name("device.json.invalid-9")).unwrap(), broken);
            let found = Identity::load_or_create(&storage(), folder.path(), 10).unwrap();
            assert_eq!(found.key.device_id(), made.key.device_id());
        }
    }

    #[test]
    fn tokens_are_held_per_role_and_per_device() {
        let folder = Folder::new();
        let (storage, dir) = (storage(), folder.path());
        let held = |role: &str, token: &str| HeldToken {
            token: token.into(),
            role: role.into(),
            ..Default::default()
        };
        assert_eq!(held_token(&storage, dir, "me", "operator"), None);
        hold_token(&storage, dir, "me", held("operator", "a")).unwrap();
        hold_token(&storage, dir, "me", held("node", "b")).unwrap();
        assert_eq!(held_token(&storage, dir, "me", "operator"), Some(held("operator", "a")));
        assert_eq!(held_tokens(&storage, dir, "me"), [held("node", "b"), held("operator", "a")]);
        assert_eq!(held_tokens(&storage, dir, "other"), []);
        assert_eq!(held_token(&storage, dir, "other", "operator"), None);
        let path = dir.join("identity/device-auth.json");
        let mark = storage.mark(&path).unwrap();
        hold_token(&storage, dir, "me", held("node", "b")).unwrap();
        assert_eq!(storage.mark(&path).unwrap(), mark, "what is already there is not written again");
        forget_token(&storage, dir, "me", "operator").unwrap();
        assert_eq!(held_token(&storage, dir, "me", "operator"), None);
        assert_eq!(held_token(&storage, dir, "me", "node"), Some(held("node", "b")));
        hold_token(&storage, dir, "other", held("operator", "c")).unwrap();
        assert_eq!(held_token(&storage, dir, "me", "node"), None, "another identity replaces the file");
        assert!(!format!("{:?}", held("node", "hunter22")).contains("hunter22"));
    }
}
