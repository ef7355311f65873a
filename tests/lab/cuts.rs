//! The gateway itself on a disk that forgets: clients pair, ask, approve, rotate, revoke and remove, several at a
//! time; the power goes before every step the disk is asked for; what a client had been told by then is there
//! when the next gateway starts.

use super::{Lab, device};
use crate::disk::{Luck, SimulatedDisk};
use crate::{load, secrets};
use clawgate_proto::client::{ClientEvent, DeviceKey};
use clawgate_proto::id::ConnId;
use clawgate_support::{Change, Ledger};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Changes that clients must have been told of before the test ends.
const CHANGES: u64 = 200;
/// What may become of everything that was not durable is tried this often at each cut.
const REBOOTS: u64 = 2;
/// Devices that exist at a time.
const DEVICES: usize = 12;
const LOOPBACK: &str = "127.0.0.1:50000";
/// Not this machine: somebody has to approve.
const ELSEWHERE: &str = "192.0.2.7:50000";

struct Story {
    lab: Lab,
    ledger: Ledger,
    luck: Luck,
    keys: BTreeMap<String, DeviceKey>,
    admin: DeviceKey,
    admin_line: ConnId,
    /// Who waits for what.
    waiting: BTreeMap<(ConnId, Option<String>), Asked>,
    /// Requests nobody has decided yet, with their devices.
    requests: BTreeMap<String, String>,
    made: u64,
    disk: SimulatedDisk,
    cuts: u64,
}

/// What a client is waiting for.
enum Asked {
    Change { device_id: String, change: Change },
    Filed { device_id: String },
    Decided { request_id: String, device_id: String, approves: bool },
}

impl Story {
    fn begin(disk: SimulatedDisk, seed: u64) -> Self {
        let admin = DeviceKey::from_seed(&[1; 32]);
        let mut story = Self {
            lab: Lab::start(disk.clone(), seed),
            ledger: Ledger::default(),
            luck: Luck(seed),
            keys: BTreeMap::new(),
            admin: admin.clone(),
            admin_line: ConnId(0),
            waiting: BTreeMap::new(),
            requests: BTreeMap::new(),
            made: 0,
            disk,
            cuts: 0,
        };
        story.keys.insert(admin.device_id().to_owned(), admin);
        story
    }

    fn admin_id(&self) -> String {
        self.admin.device_id().to_owned()
    }

    /// Pairs a device, or lets it in again, with the shared secret.
    fn pair(&mut self, device_id: &str) -> ConnId {
        self.ledger.begin(device_id, Change::Pair);
        let conn = self.lab.connect(LOOPBACK, device(&self.keys[device_id], None));
        let asked = Asked::Change { device_id: device_id.to_owned(), change: Change::Pair };
        self.waiting.insert((conn, None), asked);
        conn
    }

    /// The admin's line, opened with its device token when it is not open.
    fn open_admin(&mut self) {
        let id = self.admin_id();
        match self.ledger.token(&id).map(str::to_owned) {
            None => self.admin_line = self.pair(&id),
            Some(token) => {
                self.lab.drop_line(self.admin_line);
                self.admin_line = self.lab.connect(LOOPBACK, device(&self.admin, Some(&token)));
            }
        }
        self.run();
    }

    fn ask(&mut self, method: &str, params: Value, asked: Asked) {
        let id = self.lab.request(self.admin_line, method, params).expect("the admin's line is open");
        self.waiting.insert((self.admin_line, Some(id)), asked);
    }

    /// Asks for one more change, of a device that no other change is asked for.
    fn start_one(&mut self, busy: &mut BTreeSet<String>) {
        let admin = self.admin_id();
        let idle: Vec<String> =
            self.keys.keys().filter(|id| !busy.contains(*id) && **id != admin).cloned().collect();
        let undecided: Vec<(String, String)> = self
            .requests
            .iter()
            .filter(|(_, device_id)| !busy.contains(*device_id))
            .map(|(id, device_id)| (id.clone(), device_id.clone()))
            .collect();
        let choice = self.luck.below(8);
        if choice < 2 || idle.is_empty() {
            let mut seed = [3; 32];
            self.made += 1;
            seed[..8].copy_from_slice(&self.made.to_le_bytes());
            let key = DeviceKey::from_seed(&seed);
            let device_id = key.device_id().to_owned();
            busy.insert(device_id.clone());
            secrets::record_key(&key);
            self.keys.insert(device_id.clone(), key);
            if choice == 0 {
                let conn = self.lab.connect(ELSEWHERE, device(&self.keys[&device_id], None));
                self.waiting.insert((conn, None), Asked::Filed { device_id });
            } else {
                self.pair(&device_id);
            }
            return;
        }
        if choice == 2 && !undecided.is_empty() {
            let (request_id, device_id) = undecided[self.luck.below(undecided.len())].clone();
            busy.insert(device_id.clone());
            self.ledger.request_in_doubt(&request_id);
            let approves = self.luck.below(3) > 0;
            let method = if approves { "device.pair.approve" } else { "device.pair.reject" };
            if approves {
                self.ledger.begin(&device_id, Change::Pair);
            }
            let params = json!({ "requestId": request_id });
            return self.ask(method, params, Asked::Decided { request_id, device_id, approves });
        }
        let crowded = idle.len() >= DEVICES;
        let device_id = idle[self.luck.below(idle.len())].clone();
        busy.insert(device_id.clone());
        let role = json!({ "deviceId": device_id, "role": "operator" });
        let (method, params, change) = match choice {
            _ if crowded => ("device.pair.remove", json!({ "deviceId": device_id }), Change::Remove),
            3 | 4 => ("device.token.rotate", role, Change::Rotate),
            5 => ("device.token.revoke", role, Change::Revoke),
            _ => {
                self.pair(&device_id);
                return;
            }
        };
        self.ledger.begin(&device_id, change);
        self.ask(method, params, Asked::Change { device_id, change });
    }

    /// Everything that clients were told since the last call goes into the ledger.
    fn hear(&mut self) {
        let conns: BTreeSet<ConnId> = self.waiting.keys().map(|(conn, _)| *conn).collect();
        for conn in conns {
            for event in self.lab.events(conn) {
                match event {
                    ClientEvent::HelloOk(hello) => {
                        secrets::record_tokens(&hello.0);
                        if let Some(asked) = self.waiting.remove(&(conn, None)) {
                            self.told(asked, hello.device_token());
                        }
                    }
                    ClientEvent::ConnectRefused(error) => {
                        let asked = self.waiting.remove(&(conn, None)).expect("it was asked for");
                        self.refused(asked, &error.code, error.detail("requestId"));
                    }
                    ClientEvent::Response(response) => {
                        let asked = self.waiting.remove(&(conn, Some(response.id.clone())));
                        let asked = asked.expect("it was asked for");
                        match response.into_result() {
                            Ok(payload) => self.told(asked, payload["token"].as_str()),
                            Err(error) => self.refused(asked, &error.code, None),
                        }
                    }
                    ClientEvent::Challenge { .. }
                    | ClientEvent::Event(_)
                    | ClientEvent::Gap { .. }
                    | ClientEvent::Unrecognised(_)
                    | ClientEvent::HttpRefused { .. }
                    | ClientEvent::Closed { .. } => {}
                }
            }
        }
    }

    fn told(&mut self, asked: Asked, token: Option<&str>) {
        match asked {
            Asked::Change { device_id, change } => {
                self.ledger.acknowledge(&device_id, change, token);
                if change == Change::Remove {
                    self.keys.remove(&device_id);
                }
            }
            Asked::Decided { request_id, device_id, approves } => {
                self.requests.remove(&request_id);
                self.ledger.request_decided(&request_id);
                if approves {
                    self.ledger.acknowledge(&device_id, Change::Pair, None);
                }
            }
            Asked::Filed { device_id } => panic!("a device from elsewhere was let in: {device_id}"),
        }
    }

    fn refused(&mut self, asked: Asked, code: &str, request_id: Option<&str>) {
        // The disk failed: the change may have got there or not, and stays in doubt.
        let is_failure = code == "UNAVAILABLE";
        match (asked, request_id) {
            (Asked::Filed { device_id }, Some(request_id)) => {
                self.ledger.request_filed(request_id);
                self.requests.insert(request_id.to_owned(), device_id);
            }
            (Asked::Change { device_id, .. } | Asked::Decided { device_id, approves: true, .. }, _)
                if !is_failure =>
            {
                self.ledger.refuse(&device_id);
            }
            (Asked::Filed { .. } | Asked::Change { .. } | Asked::Decided { .. }, _) => {}
        }
    }

    /// Lets the host work until it has nothing to do. Each copy the disk kept of itself is held against what
    /// clients had been told by then: they hear of a piece of work only when it is done.
    fn run(&mut self) {
        let busy = self.busy();
        self.hear();
        while let Some(answer) = self.lab.perform() {
            for moment in self.disk.take_moments() {
                for outcome in 0..REBOOTS {
                    self.check(&self.ledger, &moment.reboot(self.cuts * REBOOTS + outcome), &busy);
                }
                // Steps come in rounds of five or nine: every second one meets each of them.
                if self.cuts.is_multiple_of(2) {
                    self.kill_and_cut(&moment, &busy);
                }
                self.cuts += 1;
            }
            self.lab.tell(answer);
            self.hear();
        }
        for outcome in 0..REBOOTS {
            let luck = self.luck.0.wrapping_add(outcome);
            self.check(&self.ledger, &self.disk.reboot(luck), &busy);
        }
    }

    /// Devices that somebody waits on.
    fn busy(&self) -> BTreeSet<String> {
        let device_of = |asked: &Asked| match asked {
            Asked::Change { device_id, .. }
            | Asked::Filed { device_id }
            | Asked::Decided { device_id, .. } => device_id.clone(),
        };
        self.waiting.values().map(device_of).collect()
    }

    /// The process is killed, which costs the disk nothing; the next one makes promises of its own on what it
    /// finds; then the power goes.
    fn kill_and_cut(&self, disk: &SimulatedDisk, busy: &BTreeSet<String>) {
        let mut ledger = self.ledger.clone();
        let mut lab = Lab::start(disk.clone(), 98);
        for device_id in busy {
            let Some(key) = self.keys.get(device_id) else { continue };
            ledger.begin(device_id, Change::Pair);
            let conn = lab.connect(LOOPBACK, device(key, None));
            lab.settle();
            for event in lab.events(conn) {
                if let ClientEvent::HelloOk(hello) = event {
                    ledger.acknowledge(device_id, Change::Pair, hello.device_token());
                }
            }
        }
        self.check(&ledger, &disk.reboot(self.cuts), busy);
    }

    /// Starts a gateway on what a power cut left, and holds it against what clients had been told.
    fn check(&self, ledger: &Ledger, disk: &SimulatedDisk, busy: &BTreeSet<String>) {
        let told = ledger.acknowledged();
        let (store, _) = load(disk.clone());
        if let Err(why) = ledger.check(&store) {
            panic!("after {told} changes: {why}");
        }
        let mut lab = Lab::start(disk.clone(), 99);
        for device_id in busy {
            let Some(key) = self.keys.get(device_id) else { continue };
            let tokens = [(ledger.token(device_id), true), (ledger.refused_token(device_id), false)];
            for (token, good) in tokens {
                let Some(token) = token else { continue };
                let conn = lab.connect(LOOPBACK, device(key, Some(token)));
                lab.settle();
                let is_in = lab.events(conn).iter().any(|event| matches!(event, ClientEvent::HelloOk(_)));
                assert_eq!(is_in, good, "device {device_id} after {told} changes");
            }
        }
    }

    /// Drops the lines that nobody waits on.
    fn tidy(&mut self) {
        assert!(self.waiting.is_empty(), "{} changes were never answered", self.waiting.len());
        let admin = self.admin_line;
        for conn in self.lab.lines.keys().copied().filter(|conn| *conn != admin).collect::<Vec<_>>() {
            self.lab.drop_line(conn);
        }
    }
}

#[test]
fn what_clients_were_told_survives_a_cut_before_every_step() {
    let disk = SimulatedDisk::default();
    disk.watch();
    let mut story = Story::begin(disk, 2026);
    while story.ledger.acknowledged() < CHANGES {
        story.tidy();
        story.open_admin();
        let mut busy = BTreeSet::new();
        for _ in 0..=story.luck.below(3) {
            story.start_one(&mut busy);
        }
        story.run();
    }
    assert!(story.cuts > CHANGES * 3, "only {} cuts were made", story.cuts);
}

/// A step that fails is told to whoever asked; then the power goes. Nothing that was only half on the disk may
/// have been promised meanwhile, not even to somebody who asks again and for whom nothing had to be written.
#[test]
fn a_failing_step_and_then_a_cut_lose_nothing_either() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        for step in 0..20 {
            let disk = SimulatedDisk::default();
            let mut story = Story::begin(disk.clone(), 7 + step);
            story.open_admin();
            disk.fail_at(disk.steps() + step, kind);
            for _ in 0..2 {
                story.tidy();
                story.open_admin();
                let mut busy = BTreeSet::new();
                for _ in 0..3 {
                    story.start_one(&mut busy);
                }
                story.run();
                let again = busy.iter().filter(|id| story.keys.contains_key(*id)).cloned();
                for device_id in again.collect::<Vec<_>>() {
                    story.pair(&device_id);
                }
                story.run();
            }
        }
    }
}
