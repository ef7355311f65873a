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
        Self::opened_to(Exposure::default(), text)
    }

    fn opened_to(exposure: Exposure, text: &str) -> Self {
        let folder = Folder::new();
        let path = folder.path().join("openclaw.json");
        std::fs::write(&path, text).unwrap();
        let start = Start {
            path,
            state_dir: folder.path().to_owned(),
            environment: Environment::default(),
            overrides: Overrides::default(),
            bind: Bind::Loopback,
            exposure,
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

#[test]
fn what_a_start_would_refuse_does_not_come_into_force() {
    let lan = Exposure { beyond_loopback: true, bind: "lan", ..Exposure::default() };
    let with =
        |token: &str| format!("{{gateway: {{mode: 'local', auth: {{mode: 'token', token: '{token}'}}}}}}");
    let rig = Rig::opened_to(lan, &with("3f9c2e71b04d5a66"));
    assert!(rig.edit(&with("changeme")).unwrap().live.is_none());
    assert!(rig.warnings().contains("with a secret that anybody would try"), "{}", rig.warnings());
    assert!(rig.file.may_restart().unwrap_err().contains("anybody would try"));
    let live = rig.edit(&with("88aa10ce3f9c2e71")).unwrap().live.unwrap();
    assert!(live.auth.token.unwrap().matches("88aa10ce3f9c2e71"));
    assert_eq!(rig.file.may_restart(), Ok(()));
    // One that will listen elsewhere is judged when it does.
    rig.edit("{gateway: {mode: 'local', bind: 'loopback', auth: {mode: 'token', token: 'changeme'}}}");
    assert_eq!(rig.file.may_restart(), Ok(()));
}

#[test]
fn a_secret_in_another_file_is_taken_over_when_that_changes() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let place = folder.path().join("secret");
    let store = |secret: &str| {
        std::fs::write(&place, secret).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    store("first");
    let text = format!(
        "{{gateway: {{mode: 'local', auth: {{mode: 'token', token: {{source: 'file', provider: 'p', id: 'value'}}}}}}, \
         secrets: {{providers: {{p: {{source: 'file', mode: 'singleValue', path: '{}'}}}}}}}}",
        place.display()
    );
    let rig = Rig::new(&text);
    assert!(rig.file.perform(&ConfigOp::Check).unwrap().news.is_none());
    store("second, which is longer");
    let live = rig.file.perform(&ConfigOp::Check).unwrap().news.unwrap().live.unwrap();
    assert!(live.auth.token.unwrap().matches("second, which is longer"));
    assert!(rig.file.perform(&ConfigOp::Check).unwrap().news.is_none(), "once");
    std::fs::remove_file(&place).unwrap();
    assert!(rig.file.perform(&ConfigOp::Check).unwrap().news.unwrap().live.is_none());
    assert!(rig.warnings().contains("the secret cannot be fetched"), "{}", rig.warnings());
    store("third");
    assert!(rig.file.perform(&ConfigOp::Check).unwrap().news.unwrap().live.is_some());
}
