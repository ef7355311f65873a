//! The program is killed (`kill -9`) again and again while clients pair devices, rotate tokens, revoke and remove,
//! several at a time. After each restart every change that was acknowledged is there, no token that was replaced
//! or revoked is good again, and both documents parse.
//!
//! `CLAWGATE_CRASH_ROUNDS` sets the number of kills on each driver, `CLAWGATE_CRASH_SEED` another course of events.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_proto::client::{ClientEvent, DeviceKey};
use clawgate_proto::seed::{Random, Seed};
use clawgate_support::client::{ANSWER_BOUND, Credential, device, fresh_key};
use clawgate_support::{Change, Ledger, Program, Refusal, TestClient, state};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: u64 = 25;
/// Clients that work at the same time, each with devices of its own.
const WORKERS: u64 = 3;
/// Devices of one worker.
const DEVICES: usize = 5;

/// One client and what it was promised.
struct Worker {
    ledger: Ledger,
    keys: BTreeMap<String, DeviceKey>,
    random: Random,
    /// Devices with a change since the last restart.
    touched: BTreeSet<String>,
}

/// The gateway is gone.
struct Gone;

impl Worker {
    fn new(seed: u64) -> Self {
        Self {
            ledger: Ledger::default(),
            keys: BTreeMap::new(),
            random: random(seed),
            touched: BTreeSet::new(),
        }
    }

    /// Makes one change after another until the gateway is gone.
    fn work(&mut self, addr: SocketAddr, shared: &str, acknowledged: &AtomicU64) {
        while self.change(addr, shared).is_ok() {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn change(&mut self, addr: SocketAddr, shared: &str) -> Result<(), Gone> {
        let ids: Vec<String> = self.keys.keys().cloned().collect();
        if ids.len() < 2 || (ids.len() < DEVICES && self.below(3) == 0) {
            let key = fresh_key();
            let device_id = key.device_id().to_owned();
            self.keys.insert(device_id.clone(), key);
            return self.pair(addr, shared, &device_id);
        }
        let device_id = ids[self.below(ids.len())].clone();
        let Some(token) = self.ledger.token(&device_id).map(str::to_owned) else {
            return self.pair(addr, shared, &device_id);
        };
        let mut others = ids.iter().filter(|id| **id != device_id && self.ledger.token(id).is_some());
        let other = others.next_back().cloned();
        // The device asks by itself: only then is it shown its new token.
        let mut client = self.connect(addr, &device_id, Credential::Device(&token))?;
        let (method, subject, change) = match (self.below(6), other) {
            (0, Some(other)) => ("device.token.revoke", other, Change::Revoke),
            (1, Some(other)) => ("device.pair.remove", other, Change::Remove),
            (2, Some(other)) => ("device.token.rotate", other, Change::Rotate),
            (3, _) => ("device.token.revoke", device_id, Change::Revoke),
            _ => ("device.token.rotate", device_id, Change::Rotate),
        };
        self.begin(&subject, change);
        let params = match change {
            Change::Remove => json!({ "deviceId": subject }),
            Change::Pair | Change::Rotate | Change::Revoke => {
                json!({ "deviceId": subject, "role": "operator" })
            }
        };
        let payload = call(&mut client, method, params)?;
        self.ledger.acknowledge(&subject, change, payload["token"].as_str());
        if change == Change::Remove {
            self.keys.remove(&subject);
        }
        Ok(())
    }

    fn pair(&mut self, addr: SocketAddr, shared: &str, device_id: &str) -> Result<(), Gone> {
        self.begin(device_id, Change::Pair);
        let client = self.connect(addr, device_id, Credential::Shared(shared))?;
        self.ledger.acknowledge(device_id, Change::Pair, client.device_token());
        Ok(())
    }

    fn connect(&self, addr: SocketAddr, id: &str, credential: Credential<'_>) -> Result<TestClient, Gone> {
        match TestClient::connect(addr, device(addr, &self.keys[id], credential)) {
            Ok(client) => Ok(client),
            Err(refusal) if refusal.error.is_none() && refusal.http.is_none() => Err(Gone),
            Err(refusal) => panic!("device {id} was refused: {refusal:?}"),
        }
    }

    fn begin(&mut self, device_id: &str, change: Change) {
        self.touched.insert(device_id.to_owned());
        self.ledger.begin(device_id, change);
    }

    /// Holds the store on the disk against the promises, and then the restarted gateway, as a client sees it.
    fn check(&mut self, program: &Program) {
        let found = state::devices(&program.settings().state_dir()).unwrap();
        if let Err(why) = self.ledger.check(&found) {
            panic!("after {} changes: {why}", self.ledger.acknowledged());
        }
        self.ledger.settle(&found);
        self.keys.retain(|id, _| found.paired.contains_key(id));
        for device_id in std::mem::take(&mut self.touched) {
            // A removed device has no key here any more, and nothing that could open the door.
            let Some(key) = self.keys.get(&device_id) else { continue };
            if let Some(token) = self.ledger.token(&device_id) {
                let config = device(program.addr(), key, Credential::Device(token));
                let client = TestClient::connect(program.addr(), config)
                    .unwrap_or_else(|why| panic!("the token of {device_id} is lost: {why:?}"));
                assert_eq!(client.device_token(), Some(token), "of {device_id}");
            }
            if let Some(token) = self.ledger.refused_token(&device_id) {
                let config = device(program.addr(), key, Credential::Device(token));
                let refusal: Box<Refusal> = TestClient::connect(program.addr(), config)
                    .expect_err("a token that was replaced or revoked opens the door");
                assert_eq!(refusal.detail_code(), Some("AUTH_DEVICE_TOKEN_MISMATCH"), "of {device_id}");
            }
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        below(&mut self.random, bound)
    }
}

/// Calls a method; `Err` when the gateway goes away first.
fn call(client: &mut TestClient, method: &str, params: Value) -> Result<Value, Gone> {
    let id = client.send(method, params);
    let is_it = |event: &ClientEvent| matches!(event, ClientEvent::Response(response) if response.id == id);
    match client.wait_for(ANSWER_BOUND, is_it) {
        Some(ClientEvent::Response(response)) => match response.into_result() {
            Ok(payload) => Ok(payload),
            Err(error) => panic!("{method} was refused: {error}"),
        },
        _ => Err(Gone),
    }
}

fn random(seed: u64) -> Random {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Random::new(Seed::new(bytes))
}

fn below(random: &mut Random, bound: usize) -> usize {
    random.below(bound as u64) as usize
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn survives(runtime: &str) {
    let (rounds, seed) = (number("CLAWGATE_CRASH_ROUNDS", ROUNDS), number("CLAWGATE_CRASH_SEED", 1));
    println!("{rounds} kills on {runtime}, seed {seed}");
    let mut random = random(seed);
    let mut workers: Vec<Worker> = (0..WORKERS).map(|number| Worker::new(seed * 1_000 + number)).collect();
    let mut program = Program::start(env!("CARGO_BIN_EXE_clawgate"), runtime);
    let (addr, shared) = (program.addr(), program.token());
    for _ in 0..rounds {
        // So many changes, and then a moment in the middle of the next ones.
        let changes = 1 + below(&mut random, 12) as u64;
        let moment = Duration::from_micros(below(&mut random, 15_000) as u64);
        let acknowledged = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for worker in &mut workers {
                scope.spawn(|| worker.work(addr, &shared, &acknowledged));
            }
            let bound = Instant::now() + ANSWER_BOUND;
            while acknowledged.load(Ordering::Relaxed) < changes && Instant::now() < bound {
                std::thread::sleep(Duration::from_micros(200));
            }
            std::thread::sleep(moment);
            program.kill();
        });
        assert!(acknowledged.load(Ordering::Relaxed) >= changes, "the gateway does not get on");
        program.start_again().unwrap_or_else(|why| panic!("no restart: {why}"));
        workers.iter_mut().for_each(|worker| worker.check(&program));
    }
    // The other way of asking agrees: the list of the gateway itself.
    let mut asker =
        TestClient::connect(addr, device(addr, &fresh_key(), Credential::Shared(&shared))).unwrap();
    let list = asker.call("device.pair.list", json!({})).unwrap();
    let listed: BTreeSet<&str> =
        list["paired"].as_array().unwrap().iter().filter_map(|row| row["deviceId"].as_str()).collect();
    for worker in &workers {
        assert!(worker.keys.keys().all(|id| listed.contains(id.as_str())));
    }
    drop(asker);
    assert!(program.stop().unwrap().success());
    let changes: u64 = workers.iter().map(|worker| worker.ledger.acknowledged()).sum();
    println!("{changes} changes acknowledged in {rounds} rounds on {runtime}, none lost");
}

#[cfg(feature = "std")]
#[test]
fn what_was_acknowledged_survives_kill_9_on_std() {
    survives("std");
}

#[cfg(feature = "smol")]
#[test]
fn what_was_acknowledged_survives_kill_9_on_smol() {
    survives("smol");
}
