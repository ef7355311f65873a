//! The program on a disk that is full, and on one that was remounted read-only: whoever asked for a change is told
//! that it did not happen, and why; memory and disk agree afterwards; and with room again everything works again.
//!
//! Needs root for a small tmpfs of its own; says so loudly where it is not allowed to.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_proto::client::DeviceKey;
use clawgate_support::client::{Credential, device, fresh_key};
use clawgate_support::wire::read_head;
use clawgate_support::{Program, Settings, SmallDisk, TestClient, state};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const KIB: u32 = 64;

/// A gateway whose state folder is a small disk, with one paired device.
struct Stage {
    // Fields are dropped in order: the program is killed, then its disk unmounted, then the folder removed.
    program: Program,
    disk: SmallDisk,
    settings: Settings,
    key: DeviceKey,
    token: String,
    client: TestClient,
}

impl Stage {
    /// `None` where nothing may be mounted.
    fn new(runtime: &str) -> Option<Self> {
        let settings = Settings::unconfigured(env!("CARGO_BIN_EXE_clawgate"), runtime);
        let disk = match SmallDisk::mount(&settings.state_dir(), KIB) {
            Ok(disk) => disk,
            Err(why) => {
                println!("SKIPPED: a full and a read-only disk under {runtime}: {why}");
                return None;
            }
        };
        let program = settings.start().unwrap_or_else(|why| panic!("{why}"));
        let (addr, key) = (program.addr(), fresh_key());
        let config = device(addr, &key, Credential::Shared(&program.token()));
        let token = TestClient::connect(addr, config).unwrap().device_token().unwrap().to_owned();
        let client = TestClient::connect(addr, device(addr, &key, Credential::Device(&token))).unwrap();
        Some(Self { program, disk, settings, key, token, client })
    }

    fn pair(&self, key: &DeviceKey) -> Result<TestClient, Value> {
        let addr = self.program.addr();
        let config = device(addr, key, Credential::Shared(&self.program.token()));
        TestClient::connect(addr, config).map_err(|refusal| serde_json::to_value(refusal.error).unwrap())
    }

    /// Every change is refused with this cause, and none of them happened.
    fn refuses_changes(&mut self, cause: &str) {
        let id = self.key.device_id().to_owned();
        let before = state::devices(&self.settings.state_dir()).unwrap();
        let stranger = fresh_key();
        let role = json!({ "deviceId": id, "role": "operator" });
        let faults = [
            self.pair(&stranger).map(|_| ()).expect_err("a device was paired"),
            self.client.call("device.token.rotate", role.clone()).expect_err("a token was rotated"),
            self.client.call("device.token.revoke", role).expect_err("a token was revoked"),
            self.client
                .call("device.pair.remove", json!({ "deviceId": id }))
                .expect_err("a device was removed"),
        ];
        for fault in faults {
            assert_eq!(fault["code"], "UNAVAILABLE", "{fault}");
            assert!(fault["message"].as_str().unwrap().contains(cause), "{fault}");
        }
        let after = state::devices(&self.settings.state_dir()).unwrap();
        assert_eq!(before, after);
        self.agrees();
        // What was acknowledged before stays good: for the open socket, and for a new one.
        assert_eq!(self.client.call("health", json!({})).unwrap()["ok"], true);
        let addr = self.program.addr();
        TestClient::connect(addr, device(addr, &self.key, Credential::Device(&self.token))).unwrap();
    }

    /// The gateway's list is what the disk holds: devices, and when their tokens were rotated or revoked.
    fn agrees(&mut self) {
        let list = self.client.call("device.pair.list", json!({})).unwrap();
        let marks = |token: &Value| (token["rotatedAtMs"].clone(), token["revokedAtMs"].clone());
        let tokens = |device: &Value| -> BTreeSet<String> {
            let tokens: Vec<&Value> = match &device["tokens"] {
                Value::Array(rows) => rows.iter().collect(),
                Value::Object(by_role) => by_role.values().collect(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
            };
            tokens.into_iter().map(|token| format!("{} {:?}", token["role"], marks(token))).collect()
        };
        let told: BTreeMap<String, BTreeSet<String>> = list["paired"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["deviceId"].as_str().unwrap().to_owned(), tokens(row)))
            .collect();
        let paired = state::json(&self.settings.state_dir(), clawgate_proto::host::Document::DevicesPaired);
        let held: BTreeMap<String, BTreeSet<String>> =
            paired.as_object().unwrap().iter().map(|(id, device)| (id.clone(), tokens(device))).collect();
        assert_eq!(told, held);
        assert!(held.values().all(|tokens| !tokens.is_empty()));
    }

    /// With room again: a device can be paired, a token rotated, and a restart finds both.
    fn works_again(mut self) {
        let (addr, id) = (self.program.addr(), self.key.device_id().to_owned());
        let newcomer = fresh_key();
        let new_token = self.pair(&newcomer).unwrap().device_token().unwrap().to_owned();
        let role = json!({ "deviceId": id, "role": "operator" });
        let rotated = self.client.call("device.token.rotate", role).unwrap();
        let rotated = rotated["token"].as_str().unwrap().to_owned();
        assert_eq!(self.client.wait_closed(BOUND).unwrap().code, 4001);
        self.client =
            TestClient::connect(addr, device(addr, &self.key, Credential::Device(&rotated))).unwrap();
        self.agrees();
        self.program.kill();
        self.program.start_again().unwrap();
        for (key, token) in [(&newcomer, &new_token), (&self.key, &rotated)] {
            TestClient::connect(addr, device(addr, key, Credential::Device(token))).unwrap();
        }
        let old = TestClient::connect(addr, device(addr, &self.key, Credential::Device(&self.token)));
        assert_eq!(old.unwrap_err().detail_code(), Some("AUTH_DEVICE_TOKEN_MISMATCH"));
    }
}

fn full(runtime: &str) {
    let Some(mut stage) = Stage::new(runtime) else { return };
    stage.disk.fill();
    stage.refuses_changes("no space is left there; free some space");
    stage.disk.free();
    stage.works_again();
}

fn read_only(runtime: &str) {
    let Some(mut stage) = Stage::new(runtime) else { return };
    stage.disk.set_read_only(true);
    stage.refuses_changes("mounted read-only");
    stage.disk.set_read_only(false);
    stage.works_again();
}

/// A gateway that cannot store its token does not start with one that nobody could find out.
fn does_not_start_on_a_full_disk(runtime: &str) {
    let settings = Settings::unconfigured(env!("CARGO_BIN_EXE_clawgate"), runtime);
    let disk = match SmallDisk::mount(&settings.state_dir(), KIB) {
        Ok(disk) => disk,
        Err(why) => {
            println!("SKIPPED: a first start on a full disk under {runtime}: {why}");
            return;
        }
    };
    disk.fill();
    let why = settings.start().expect_err("it started");
    assert!(why.contains("no space is left there; free some space") && !settings.config_path().exists());
    disk.free();
    settings.start().unwrap_or_else(|why| panic!("{why}"));
}

const BOUND: Duration = Duration::from_secs(20);

#[cfg(feature = "std")]
#[test]
fn a_full_disk_refuses_changes_and_forgets_nothing_on_std() {
    full("std");
}

#[cfg(feature = "smol")]
#[test]
fn a_full_disk_refuses_changes_and_forgets_nothing_on_smol() {
    full("smol");
}

#[cfg(feature = "std")]
#[test]
fn a_read_only_disk_refuses_changes_and_forgets_nothing_on_std() {
    read_only("std");
}

#[cfg(feature = "smol")]
#[test]
fn a_read_only_disk_refuses_changes_and_forgets_nothing_on_smol() {
    read_only("smol");
}

#[cfg(feature = "std")]
#[test]
fn a_first_start_on_a_full_disk_says_so_on_std() {
    does_not_start_on_a_full_disk("std");
}

#[cfg(feature = "smol")]
#[test]
fn a_first_start_on_a_full_disk_says_so_on_smol() {
    does_not_start_on_a_full_disk("smol");
}

/// Nobody reads what it says, or the disk that takes it is full: it serves all the same.
fn serves_without_a_place_for_its_words(runtime: &str) {
    let settings = Settings::new(env!("CARGO_BIN_EXE_clawgate"), runtime);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child =
        settings.command(settings.args()).stdout(full.try_clone().unwrap()).stderr(full).spawn().unwrap();
    let end = Instant::now() + BOUND;
    let is_well = || {
        let mut stream = TcpStream::connect(settings.addr()).ok()?;
        stream.set_read_timeout(Some(BOUND)).ok()?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        read_head(&stream).ok().filter(|(head, _)| head.starts_with("HTTP/1.1 200 "))
    };
    let mut answered = false;
    while !answered && Instant::now() < end && child.try_wait().unwrap().is_none() {
        answered = is_well().is_some();
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = child.try_wait().unwrap();
    let _ = child.kill();
    let _ = child.wait();
    assert!(answered, "no answer; ended: {ended:?}");
}

#[cfg(feature = "std")]
#[test]
fn a_gateway_serves_without_a_place_for_its_words_on_std() {
    serves_without_a_place_for_its_words("std");
}

#[cfg(feature = "smol")]
#[test]
fn a_gateway_serves_without_a_place_for_its_words_on_smol() {
    serves_without_a_place_for_its_words("smol");
}
