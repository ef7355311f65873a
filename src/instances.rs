//! The gateways of this machine: the lock that keeps two from one configuration (the reference's own, so that each
//! program sees the other), the one that keeps two from one state folder, and the list of those that run.
//!
//! The reference's lock is a file with a process in it. Between reading that the process is gone and removing the
//! file, somebody else may do the same, so gateways of this program settle it among themselves by a second file
//! beside it, which the operating system locks.

use crate::environment::Environment;
use crate::lock::{self, Attempt, OsLock, Owner};
use crate::storage::explain;
use sha2::{Digest as _, Sha256};
use std::fs::{DirBuilder, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What a running gateway holds. Dropping it gives it up.
#[derive(Debug)]
pub struct Instance {
    owner: Owner,
    config: Option<ConfigLock>,
    state: Option<OsLock>,
    /// What could not be locked and is used all the same; a sentence for a person.
    pub warnings: Vec<String>,
}

/// The two files of one configuration.
#[derive(Debug)]
struct ConfigLock {
    file: PathBuf,
    guard: OsLock,
}

/// Why there is no second gateway here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another gateway has it; a text for a person.
    Running(String),
    /// The lock cannot be made; a text for a person.
    Failed(String),
}

impl Instance {
    /// Takes both locks, waiting for a gateway that is just ending.
    ///
    /// # Errors
    /// Another gateway uses the same configuration or the same state folder, or a lock cannot be made.
    pub fn take(environment: &Environment, owner: Owner, config: &Path, state: &Path) -> Result<Self, Fault> {
        Self::take_within(PATIENCE, environment, owner, config, state)
    }

    fn take_within(
        patience: Duration,
        environment: &Environment,
        owner: Owner,
        config: &Path,
        state: &Path,
    ) -> Result<Self, Fault> {
        let mut instance = Self { owner, config: None, state: None, warnings: Vec::new() };
        if environment.is_on(MULTI) {
            instance
                .warnings
                .push(format!("{MULTI} is set: no other gateway is kept from this configuration"));
            return Ok(instance);
        }
        let bound = Instant::now() + patience;
        let folder = folder(environment);
        make_folder(&folder).map_err(Fault::Failed)?;
        instance.config = Some(ConfigLock::take(&folder, config, &instance.owner, patience, bound)?);
        instance.take_state(state, bound)?;
        Ok(instance)
    }

    fn take_state(&mut self, state: &Path, bound: Instant) -> Result<(), Fault> {
        let path = state.join(STATE_LOCK);
        let attempt = || {
            DirBuilder::new().recursive(true).mode(0o700).create(state)?;
            OsLock::attempt(&path, &self.owner)
        };
        loop {
            match attempt() {
                Ok(Attempt::Ours(lock)) => self.state = Some(lock),
                Ok(Attempt::Others(_)) if Instant::now() < bound => {
                    std::thread::sleep(POLL);
                    continue;
                }
                Ok(Attempt::Others(other)) => {
                    return Err(Fault::Running(format!(
                        "the state folder {} is in use by another gateway ({})\n\
                         Two gateways must not share one. Stop the other, or give this one folders of its own: \
                         --profile NAME before the command, or OPENCLAW_STATE_DIR.",
                        state.display(),
                        who(other.as_ref())
                    )));
                }
                // A disk that cannot be written, or cannot lock: that is said again by whoever has to write there.
                Err(why) => self.warnings.push(explain("lock", &path, &why)),
            }
            return Ok(());
        }
    }

    /// The port is known now.
    pub fn listens_on(&mut self, port: u16) {
        if self.owner.port == Some(port) {
            return;
        }
        self.owner.port = Some(port);
        if let Some(ConfigLock { file, guard }) = &self.config {
            guard.tell(&self.owner);
            let _ = std::fs::write(file, self.owner.to_json().to_string());
        }
        if let Some(lock) = &self.state {
            lock.tell(&self.owner);
        }
    }

    /// Who this gateway is to others.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }
}

impl ConfigLock {
    fn take(
        folder: &Path,
        config: &Path,
        owner: &Owner,
        patience: Duration,
        bound: Instant,
    ) -> Result<Self, Fault> {
        let name = name_of(config);
        let (file, guard) = (folder.join(format!("{name}.lock")), folder.join(format!("{name}.clawgate")));
        let mut held: Option<OsLock> = None;
        loop {
            let other = match held.take() {
                None => match OsLock::attempt(&guard, owner) {
                    Ok(Attempt::Ours(lock)) => {
                        held = Some(lock);
                        continue;
                    }
                    Ok(Attempt::Others(other)) => other,
                    Err(why) => return Err(Fault::Failed(explain("lock", &guard, &why))),
                },
                Some(guard) => match create(&file, owner) {
                    Ok(true) => return Ok(Self { file, guard }),
                    Ok(false) => match judge(&file, owner) {
                        Verdict::Free => {
                            held = Some(guard);
                            continue;
                        }
                        Verdict::Held(other) => {
                            held = Some(guard);
                            other
                        }
                    },
                    Err(why) => return Err(Fault::Failed(explain("write", &file, &why))),
                },
            };
            if Instant::now() >= bound {
                return Err(Fault::Running(already_running(other.as_ref(), config, patience)));
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for ConfigLock {
    fn drop(&mut self) {
        // The reference may have taken it for dead and put its own there.
        if lock::read_start(&self.file)
            .ok()
            .and_then(|text| Owner::parse(&text))
            .is_some_and(|o| o.is_this_process())
        {
            let _ = std::fs::remove_file(&self.file);
        }
    }
}

/// The other gateways of this user that run now, of either program.
pub fn others(environment: &Environment) -> Vec<Owner> {
    let mut found: Vec<Owner> = Vec::new();
    let folder = folder(environment);
    // What another user put there is no news of ours.
    if !std::fs::symlink_metadata(&folder).is_ok_and(|meta| is_own(&meta)) {
        return found;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries.flatten().take(ENTRIES_MAX) {
        let path = entry.path();
        let is_lock = path.extension().is_some_and(|end| end == "lock" || end == "clawgate");
        let Some(owner) = is_lock.then(|| lock::owner_at(&path)).flatten() else { continue };
        if owner.is_alive() != Some(true) || owner.is_this_process() {
            continue;
        }
        match found.iter_mut().find(|known| known.pid == owner.pid) {
            // Of the two files of one gateway, the one that says more.
            Some(known) if known.port.is_none() => *known = owner,
            Some(_) => {}
            None => found.push(owner),
        }
    }
    found.sort_by_key(|owner| (owner.port, owner.pid));
    found
}

/// One sentence on another gateway of this machine.
pub fn sentence(other: &Owner) -> String {
    format!(
        "another gateway is already running on this machine ({other}); one for each machine is recommended"
    )
}

fn already_running(other: Option<&Owner>, config: &Path, patience: Duration) -> String {
    let ms = patience.as_millis();
    let pid = other.map_or_else(|| "unknown".to_owned(), |owner| owner.pid.to_string());
    format!(
        "Gateway failed to start: gateway already running (pid {pid}); lock timeout after {ms}ms\n\
         It uses the same configuration, {} ({}). Stop it (a supervisor would start it again: stop it there), or start \
         this one with --profile NAME before the command and a --port of its own.",
        config.display(),
        who(other)
    )
}

fn who(other: Option<&Owner>) -> String {
    other.map_or_else(|| "it has not said who it is".to_owned(), Owner::to_string)
}

/// What the reference's lock file says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nobody holds it any more, and it is gone.
    Free,
    /// Somebody does.
    Held(Option<Owner>),
}

/// Makes the file, unless there is one.
fn create(file: &Path, owner: &Owner) -> io::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut created) => {
            // The reference waits half a minute before it doubts a file that names nobody: nothing breaks when the
            // disk is full.
            let _ = created.write_all(owner.to_json().to_string().as_bytes());
            Ok(true)
        }
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(why) => Err(why),
    }
}

/// Looks who holds the file, and removes it when nobody does. A process that runs and started when the file says
/// holds it, whatever its port does: it may listen elsewhere than on 127.0.0.1, or not yet.
fn judge(file: &Path, own: &Owner) -> Verdict {
    let Ok(text) = lock::read_start(file) else { return Verdict::Free };
    let owner = Owner::parse(&text);
    let is_free = match &owner {
        Some(owner) if owner.is_this_process() => true,
        Some(owner) => match owner.is_alive() {
            Some(alive) => !alive,
            None => match owner.port.or(own.port).and_then(answers) {
                Some(answers) => !answers,
                None => is_old(file),
            },
        },
        None => is_old(file),
    };
    if !is_free {
        return Verdict::Held(owner);
    }
    // Unless somebody has put a new one there meanwhile.
    if lock::read_start(file).is_ok_and(|now| now == text) {
        let _ = std::fs::remove_file(file);
    }
    Verdict::Free
}

/// Whether somebody takes connections on this port of 127.0.0.1; `None` when there is no telling.
fn answers(port: u16) -> Option<bool> {
    match TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PROBE) {
        Ok(_) => Some(true),
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => Some(false),
        Err(_) => None,
    }
}

/// Whether a file that does not say who holds it has been there for so long that nobody does.
fn is_old(file: &Path) -> bool {
    let written = std::fs::metadata(file).and_then(|meta| meta.modified());
    written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > STALE_AFTER))
}

/// `gateway.` and the first eight digits of the hash of the configuration's path.
fn name_of(config: &Path) -> String {
    let hash = Sha256::digest(config.to_string_lossy().as_bytes());
    let digits: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("gateway.{digits}")
}

/// Where the reference keeps its locks: below the temporary folder, by the rules of its runtime.
fn folder(environment: &Environment) -> PathBuf {
    let temporary = environment.first(&["TMPDIR", "TMP", "TEMP"]).map_or("/tmp", |(_, path)| path);
    Path::new(temporary).join(format!("openclaw-{}", rustix::process::getuid().as_raw()))
}

/// The temporary folder is everybody's: a folder in it that another user made keeps no locks. One of ours that others
/// can write, as the reference makes it under a lax umask, is closed to them.
fn make_folder(folder: &Path) -> Result<(), String> {
    let what_to_do = format!("Set TMPDIR to another folder, or {MULTI}=1 to go without the lock.");
    let failed = |why: &io::Error| format!("{}\n{what_to_do}", explain("make", folder, why));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|why| failed(&why))?;
    let meta = std::fs::symlink_metadata(folder).map_err(|why| failed(&why))?;
    if !is_own(&meta) {
        return Err(format!(
            "the folder for locks, {}, is another user's, or no folder\n{what_to_do}",
            folder.display()
        ));
    }
    if meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(|why| failed(&why))
}

fn is_own(meta: &Metadata) -> bool {
    meta.is_dir() && meta.uid() == rustix::process::getuid().as_raw()
}

/// Switches the locks off; the reference's name.
const MULTI: &str = "OPENCLAW_ALLOW_MULTI_GATEWAY";
/// In the state folder; beside the reference's files.
const STATE_LOCK: &str = "clawgate.lock";
const PATIENCE: Duration = Duration::from_millis(5_000);
const POLL: Duration = Duration::from_millis(100);
const PROBE: Duration = Duration::from_millis(1_000);
const STALE_AFTER: Duration = Duration::from_secs(30);
/// Files looked at for other gateways.
const ENTRIES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use serde_json::{Value, json};

    /// A temporary folder with two installations.
    struct Rig {
        folder: Folder,
        environment: Environment,
    }

    impl Rig {
        fn new(more: &[(&str, &str)]) -> Self {
            let folder = Folder::new();
            let temporary = folder.path().to_str().unwrap().to_owned();
            let variables = [("TMPDIR", temporary.as_str())].into_iter().chain(more.iter().copied());
            let environment = Environment::new(variables);
            Self { folder, environment }
        }

        fn take(&self, config: &str, state: &str) -> Result<Instance, Fault> {
            let (config, state) = (self.folder.path().join(config), self.folder.path().join(state));
            let owner = Owner::this_process("p", 5, &config, &state);
            Instance::take_within(Duration::from_millis(150), &self.environment, owner, &config, &state)
        }

        fn lock_file(&self, config: &str) -> PathBuf {
            let name = name_of(&self.folder.path().join(config));
            folder(&self.environment).join(format!("{name}.lock"))
        }

        fn write_lock(&self, config: &str, value: &str) {
            make_folder(&folder(&self.environment)).unwrap();
            std::fs::write(self.lock_file(config), value).unwrap();
        }

        fn is_held(&self, config: &str, by: &str) {
            match self.take(config, "s") {
                Err(Fault::Running(why)) => {
                    let sentence = format!(
                        "Gateway failed to start: gateway already running (pid {by}); lock timeout after 150ms\n"
                    );
                    assert!(why.starts_with(&sentence), "{why}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_name_is_the_reference_s() {
        // printf %s /home/a/.openclaw/openclaw.json | sha256sum
        assert_eq!(name_of(Path::new("/home/a/.openclaw/openclaw.json")), "gateway.8eb6093e");
    }

    #[test]
    fn one_gateway_for_each_configuration_and_for_each_state_folder() {
        let rig = Rig::new(&[]);
        let first = rig.take("a.json", "a").unwrap();
        rig.is_held("a.json", &std::process::id().to_string());
        let Err(Fault::Running(why)) = rig.take("b.json", "a") else { panic!("a shared state folder") };
        assert!(
            why.contains("is in use by another gateway (pid ") && why.contains("profile p, port 5"),
            "{why}"
        );
        assert!(!rig.lock_file("b.json").exists(), "a start that was refused leaves no lock");
        let second = rig.take("b.json", "b").unwrap();
        drop(first);
        assert!(!rig.lock_file("a.json").exists());
        rig.take("a.json", "a").unwrap();
        drop(second);
    }

    #[test]
    fn the_file_is_one_the_reference_reads() {
        let rig = Rig::new(&[]);
        let mut instance = rig.take("a.json", "a").unwrap();
        let read =
            || serde_json::from_slice::<Value>(&std::fs::read(rig.lock_file("a.json")).unwrap()).unwrap();
        let told = read();
        assert_eq!(told["pid"], std::process::id());
        assert_eq!(told["startTime"].as_u64(), lock::process::own_start_time());
        assert_eq!(told["configPath"].as_str(), rig.folder.path().join("a.json").to_str());
        assert!(told["createdAt"].as_str().is_some_and(|at| at.ends_with('Z')));
        instance.listens_on(7);
        assert_eq!(read()["port"], 7);
    }

    #[test]
    fn a_running_owner_is_respected_and_a_dead_one_is_not() {
        let rig = Rig::new(&[]);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let start = match lock::process::look(child.id()) {
            lock::process::Process::There(start) => start,
            lock::process::Process::Gone => panic!("it has just been started"),
        };
        let of_the_reference = |start: Option<u64>| {
            let mut told = json!({ "pid": child.id(), "createdAt": "x", "configPath": "y" });
            if let Some(start) = start {
                told["startTime"] = start.into();
            }
            told.to_string()
        };
        rig.write_lock("a.json", &of_the_reference(start));
        rig.is_held("a.json", &child.id().to_string());
        // The number was given to another process.
        rig.write_lock("a.json", &of_the_reference(Some(1)));
        drop(rig.take("a.json", "s").unwrap());
        // It does not say when it started, and nobody listens on our port.
        rig.write_lock("a.json", &of_the_reference(None));
        drop(rig.take("a.json", "s").unwrap());
        rig.write_lock("a.json", &of_the_reference(start));
        child.kill().unwrap();
        // Not waited for: a zombie.
        let bound = Instant::now() + Duration::from_secs(20);
        while lock::process::look(child.id()) != lock::process::Process::Gone {
            assert!(Instant::now() < bound);
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(rig.take("a.json", "s").unwrap());
        child.wait().unwrap();
    }

    #[test]
    fn an_owner_without_a_start_is_believed_while_its_port_answers() {
        let rig = Rig::new(&[]);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let port = listener.local_addr().unwrap().port();
        rig.write_lock("a.json", &json!({ "pid": child.id(), "port": port }).to_string());
        rig.is_held("a.json", &child.id().to_string());
        drop(listener);
        drop(rig.take("a.json", "s").unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_file_that_names_nobody_is_believed_for_half_a_minute() {
        let rig = Rig::new(&[]);
        for text in ["", "{\"pid\":"] {
            rig.write_lock("a.json", text);
            rig.is_held("a.json", "unknown");
            let old = SystemTime::now() - Duration::from_secs(31);
            OpenOptions::new().write(true).open(rig.lock_file("a.json")).unwrap().set_modified(old).unwrap();
            drop(rig.take("a.json", "s").unwrap());
        }
    }

    #[test]
    fn a_lock_that_was_taken_over_is_not_removed() {
        let rig = Rig::new(&[]);
        let instance = rig.take("a.json", "a").unwrap();
        rig.write_lock("a.json", "{\"pid\":1}");
        drop(instance);
        assert!(rig.lock_file("a.json").exists());
    }

    #[test]
    fn several_gateways_only_on_request() {
        let rig = Rig::new(&[(MULTI, "1")]);
        let first = rig.take("a.json", "a").unwrap();
        let second = rig.take("a.json", "a").unwrap();
        assert!(first.warnings[0].contains(MULTI) && second.warnings.len() == 1);
    }

    #[test]
    fn a_folder_that_others_can_write_is_closed_to_them_and_a_link_is_none() {
        let rig = Rig::new(&[]);
        let folder = folder(&rig.environment);
        make_folder(&folder).unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        drop(rig.take("a.json", "a").unwrap());
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        std::fs::remove_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(rig.folder.path(), &folder).unwrap();
        let Err(Fault::Failed(why)) = rig.take("a.json", "a") else { panic!("a link") };
        assert!(why.contains("another user's, or no folder") && why.contains("TMPDIR"), "{why}");
    }

    #[test]
    fn others_are_those_that_run_of_either_program() {
        let rig = Rig::new(&[]);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let lock::process::Process::There(start) = lock::process::look(child.id()) else { panic!("gone") };
        let reference = json!({ "pid": child.id(), "startTime": start, "configPath": "/x" });
        rig.write_lock("x.json", &reference.to_string());
        rig.write_lock("y.json", "{\"pid\":1,\"startTime\":1}");
        let instance = rig.take("a.json", "a").unwrap();
        let found = others(&rig.environment);
        assert_eq!(found.iter().map(|owner| owner.pid).collect::<Vec<_>>(), [child.id()], "{found:?}");
        let ours = json!({ "pid": child.id(), "startTime": start, "port": 9, "profile": "q" });
        std::fs::write(rig.lock_file("x.json").with_extension("clawgate"), ours.to_string()).unwrap();
        let found = others(&rig.environment);
        assert_eq!(found.iter().map(|owner| owner.port).collect::<Vec<_>>(), [Some(9)]);
        assert!(sentence(&found[0]).contains(&format!("(pid {}, profile q, port 9)", child.id())));
        drop(instance);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(others(&rig.environment).is_empty());
    }
}
