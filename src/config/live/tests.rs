//! What a running gateway takes over of its file, and what it refuses to write (`config-startable`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::scratch::Folder;
use crate::storage::RealDisk;

const USUAL: &str = "{gateway: {mode: 'local', auth: {mode: 'token', token: 'old'}}}";
/// Of a kind that the table allows and no gateway can start with.
const USELESS: &str =
    "{gateway: {mode: 'local', auth: {mode: 'token', token: 'new'}}, logging: {maxFileBytes: 5}}";
const MENDED: &str =
    "{gateway: {mode: 'local', auth: {mode: 'token', token: 'new'}}, logging: {maxFileBytes: 5000}}";

/// A running gateway's file.
struct Rig {
    file: LiveFile<RealDisk>,
    _folder: Folder,
}

impl Rig {
    fn new(text: &str) -> Self {
        let folder = Folder::new();
        let path = folder.path().join("openclaw.json");
        std::fs::write(&path, text).unwrap();
        let start = Start {
            path,
            state_dir: folder.path().to_owned(),
            environment: Environment::default(),
            overrides: Overrides::default(),
            bind: Bind::Loopback,
            exposure: Exposure::default(),
        };
        let storage = Arc::new(Storage::new(RealDisk, 1));
        let file = LiveFile::new(storage, Arc::new(Logger::new(None, false)), start);
        Self { file, _folder: folder }
    }

    fn edit(&self, text: &str) -> Option<Box<ConfigNews>> {
        std::fs::write(&self.file.start.path, text).unwrap();
        self.file.perform(&ConfigOp::Check).unwrap().news
    }

    fn set(&self, raw: &str) -> Result<ConfigOutcome, ConfigFault> {
        let base_hash = Some(service::hash(&std::fs::read(&self.file.start.path).unwrap()));
        self.file.perform(&ConfigOp::Set(ConfigWrite {
            raw: raw.to_owned(),
            base_hash,
            ..ConfigWrite::default()
        }))
    }

    fn warnings(&self) -> String {
        let ConfigAnswer::Snapshot(shown) = self.file.perform(&ConfigOp::Get).unwrap().answer else {
            panic!("no snapshot")
        };
        shown.warnings.iter().map(|issue| format!("{issue}\n")).collect()
    }
}

#[test]
fn a_new_secret_that_had_to_wait_comes_into_force_when_its_obstacle_is_gone() {
    let rig = Rig::new(USUAL);
    assert!(rig.edit(USELESS).unwrap().live.is_none());
    assert!(rig.warnings().contains("still is: logging.maxFileBytes"), "{}", rig.warnings());
    let live = rig.edit(MENDED).unwrap().live.unwrap();
    assert!(live.auth.token.unwrap().matches("new"));
    assert!(!rig.warnings().contains("still is"), "{}", rig.warnings());
}

#[test]
fn no_change_from_elsewhere_leaves_a_file_that_no_gateway_starts_with() {
    let rig = Rig::new(USUAL);
    let tls = "{gateway: {mode: 'local', auth: {mode: 'token', token: 'old'}, tls: {enabled: true}}}";
    for raw in [USELESS, tls] {
        assert!(matches!(rig.set(raw), Err(ConfigFault::Invalid { .. })), "{raw}");
    }
    assert_eq!(std::fs::read_to_string(&rig.file.start.path).unwrap(), USUAL);
    rig.set(MENDED).unwrap();
    // What is of no use already can be changed, as far as that gets.
    rig.edit(USELESS);
    rig.set(USELESS).unwrap();
    rig.set(MENDED).unwrap();
}

#[test]
fn a_restart_that_would_be_the_end_is_refused() {
    let rig = Rig::new(USUAL);
    assert_eq!(rig.file.may_restart(), Ok(()));
    let fault = |text: &str| {
        rig.edit(text);
        rig.file.may_restart().unwrap_err()
    };
    assert!(fault(USELESS).contains("logging.maxFileBytes"));
    assert!(fault("{gateway: {port: 'x'}}").contains("gateway.port"));
    assert!(fault("{gateway: {auth: {token: 'old'}}}").contains("gateway.mode"));
    assert!(fault("{gateway: {mode: 'local', auth: {mode: 'password'}}}").contains("no password"));
    assert!(fault("{").contains("not valid JSON5"));
    rig.edit(MENDED);
    assert_eq!(rig.file.may_restart(), Ok(()));
    let open = Rig::new("{}");
    assert_eq!(open.file.may_restart(), Ok(()), "it was started without a mode");
}
