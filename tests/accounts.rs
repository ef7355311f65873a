//! Two gateways, one messenger account, and `kill -9`: never two owners, never none for longer than one retry, and
//! the one without learns who has it (compatibility row sole-owner). Who owns an account is the kernel's word (`/proc/locks`), not the program's.
//!
//! `CLAWGATE_ACCOUNT_ROUNDS` is how often an owner is killed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_support::{Program, Settings, TempDir, TestClient, client, temp_dir};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: u64 = 20;
/// The longest time between two tries for an account, and what a busy machine may add to it.
const RETRY_MAX: Duration = Duration::from_millis(1_000);
const BUSY: Duration = Duration::from_secs(9);

/// Two gateways of one machine with state folders of their own and one account folder, which the second reaches by
/// `authDir`.
struct Rig {
    folder: TempDir,
    settings: [Settings; 2],
}

impl Rig {
    fn new(runtime: &str) -> Self {
        let folder = temp_dir();
        let account = folder.path().join("first/credentials/whatsapp/default");
        let channels = [
            json!({ "whatsapp": {} }),
            json!({ "whatsapp": { "accounts": { "default": { "authDir": account } } } }),
        ];
        let mut names = ["first", "second"].into_iter();
        let settings = channels.map(|channels| {
            let name = names.next().unwrap();
            let settings = Settings::new(env!("CARGO_BIN_EXE_clawgate"), runtime);
            let text = std::fs::read_to_string(settings.config_path()).unwrap();
            let mut config: Value = serde_json::from_str(&text).unwrap();
            config["channels"] = channels;
            let settings = settings.with_config(&config);
            let settings = settings.env("OPENCLAW_PROFILE", name).env("TMPDIR", folder.path());
            if name == "first" {
                settings.env("OPENCLAW_OAUTH_DIR", folder.path().join("first/credentials"))
            } else {
                settings
            }
        });
        Self { folder, settings }
    }

    fn lock(&self) -> PathBuf {
        self.folder.path().join("first/credentials/whatsapp/default/clawgate.lock")
    }

    fn start(&self, which: usize) -> Program {
        self.settings[which].start().unwrap_or_else(|why| panic!("{why}"))
    }
}

/// The processes that hold an exclusive lock on a file, as the kernel lists them.
fn holders(lock: &Path) -> Vec<u32> {
    let Ok(meta) = std::fs::metadata(lock) else { return Vec::new() };
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let held = locks.lines().filter_map(|line| {
        // `1: FLOCK  ADVISORY  WRITE 345 00:1f:678 0 EOF`; those that wait have an arrow.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = fields[..] else { return None };
        (file.rsplit(':').next()?.parse() == Ok(meta.ino())).then(|| pid.parse().ok())?
    });
    held.collect::<BTreeSet<u32>>().into_iter().collect()
}

/// Whether several processes hold it. The kernel's list is read in parts, so that a lock that goes from one to the
/// next meanwhile may stand there for both; what stays for many looks is so.
fn has_two_owners(lock: &Path) -> bool {
    (0..5).all(|_| holders(lock).len() > 1)
}

/// Waits until exactly this process holds the lock.
fn owns(lock: &Path, program: &Program, within: Duration) -> Duration {
    let since = Instant::now();
    while holders(lock) != [program.pid()] {
        let held = holders(lock);
        assert!(since.elapsed() < within, "{held:?} instead of {}:\n{}", program.pid(), program.output());
        std::thread::sleep(Duration::from_millis(2));
    }
    since.elapsed()
}

/// Waits until a gateway has logged this.
fn logged(program: &Program, said: &str) {
    let bound = Instant::now() + BUSY;
    while !program.output().contains(said) {
        assert!(Instant::now() < bound, "{said} not in {}", program.output());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What `channels.status` says of the account.
fn account_of(program: &Program) -> Value {
    let token = program.token();
    let config = client::config(program.addr(), Some(&token), Some(client::fresh_key()));
    let mut client = TestClient::connect(program.addr(), config).unwrap();
    client.call("channels.status", json!({})).unwrap()["channelAccounts"]["whatsapp"][0].clone()
}

fn contend(runtime: &str) {
    let rounds =
        std::env::var("CLAWGATE_ACCOUNT_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    let rig = Rig::new(runtime);
    let lock = rig.lock();
    let over = AtomicBool::new(false);
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        // A witness that looks all the time: never two.
        let witness = scope.spawn(|| {
            let mut looks = 0_u64;
            while !over.load(Ordering::Relaxed) {
                assert!(!has_two_owners(&lock), "two owners: {:?}", holders(&lock));
                looks += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            looks
        });
        let (mut owner, mut waiting) = (rig.start(0), rig.start(1));
        owns(&lock, &owner, BUSY);
        for round in 0..rounds {
            logged(&owner, "account.owned channel=whatsapp account=default");
            let name = ["first", "second"][(round % 2) as usize];
            let taken = format!(
                "account.taken channel=whatsapp account=default pid={} profile={name} port={}",
                owner.pid(),
                owner.addr().port()
            );
            logged(&waiting, &taken);
            if round % 10 == 0 {
                let account = account_of(&waiting);
                let other = json!({
                    "state": "another-gateway", "pid": owner.pid(), "profile": name, "port": owner.addr().port(),
                });
                assert_eq!(account["owner"], other);
                assert_eq!(account_of(&owner)["owner"], json!({ "state": "this-gateway" }));
            }
            let owned_before = waiting.output().matches("account.owned").count();
            assert_eq!(owned_before, 0, "it owned what another holds: {}", waiting.output());
            if round % 10 == 5 {
                // By now the other one tries as seldom as it ever does.
                std::thread::sleep(Duration::from_millis(1_700));
            }
            owner.kill();
            longest = longest.max(owns(&lock, &waiting, RETRY_MAX + BUSY));
            // The one that was killed comes back, at once, and waits.
            owner.start_again().unwrap_or_else(|why| panic!("no restart: {why}"));
            std::mem::swap(&mut owner, &mut waiting);
        }
        over.store(true, Ordering::Relaxed);
        let looks = witness.join().unwrap();
        println!("{rounds} kills on {runtime}: one owner in {looks} looks, none for {longest:?} at most");
        assert!(looks > rounds);
        // One that is stopped gently gives it up as well.
        assert!(owner.stop().unwrap().success());
        owns(&lock, &waiting, RETRY_MAX + BUSY);
    });
}

#[cfg(feature = "std")]
#[test]
fn one_owner_through_kill_9_on_std() {
    contend("std");
}

#[cfg(feature = "smol")]
#[test]
fn one_owner_through_kill_9_on_smol() {
    contend("smol");
}

/// The account as `channels.status` and `status` show it, and a tool that is no gateway at all.
#[test]
fn an_account_is_shown_and_a_tool_that_holds_it_is_respected() {
    let runtime = if cfg!(feature = "std") { "std" } else { "smol" };
    let rig = Rig::new(runtime);
    std::fs::create_dir_all(rig.lock().parent().unwrap()).unwrap();
    let tool = std::fs::File::create(rig.lock()).unwrap();
    tool.try_lock().unwrap();
    let gateway = rig.start(0);
    logged(&gateway, "account.taken channel=whatsapp account=default what=");
    assert_eq!(account_of(&gateway)["owner"], json!({ "state": "nobody" }));
    drop(tool);
    owns(&rig.lock(), &gateway, RETRY_MAX + BUSY);
    logged(&gateway, "account.owned");
    std::fs::write(rig.lock().with_file_name("creds.json"), "{}").unwrap();
    let account = account_of(&gateway);
    assert_eq!((&account["owner"]["state"], &account["linked"]), (&json!("this-gateway"), &json!(true)));
    let status = rig.settings[0].command(["status", "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let shown = &status["here"]["accounts"][0];
    assert_eq!((&shown["accountId"], &shown["owner"]["pid"]), (&json!("default"), &json!(gateway.pid())));
    assert_eq!(status["here"]["gateways"][0]["port"], json!(gateway.addr().port()));
    let status = rig.settings[0].command(["status"]).output().unwrap();
    let text = String::from_utf8(status.stdout).unwrap();
    let line = format!("  account: whatsapp/default, owned by pid {}, profile first, port ", gateway.pid());
    assert!(text.contains(&line), "{text}");
}
