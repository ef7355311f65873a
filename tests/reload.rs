//! A running gateway and its configuration files under somebody's hands: right and wrong texts, half-written ones, files
//! that are replaced, taken away and put back, at random. Nobody loses a connection whom a change does not concern, and
//! what is in force at rest is the last text that was of use, whole. `CLAWGATE_RELOAD_EDITS` and `CLAWGATE_RELOAD_SEED` ask
//! for more.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_support::client::{Credential, device, fresh_key};
use clawgate_support::{Program, Settings, TestClient, secrets};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const EXE: &str = env!("CARGO_BIN_EXE_clawgate");
const BOUND: Duration = Duration::from_secs(30);

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let bound = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < bound, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sleep(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Numbers from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The files of one gateway. Every text of use has a number, which shows in two answers of the gateway: one comes from the
/// file, the other from one that it includes.
struct Files {
    path: PathBuf,
    part: PathBuf,
    number: u64,
    token: String,
}

impl Files {
    fn text(&self) -> String {
        let Self { number, token, .. } = self;
        let level = ["debug", "info", "warn"][usize::try_from(number % 3).unwrap()];
        format!(
            "// number {number}\n{{\n  gateway: {{\n    mode: 'local',\n    auth: {{mode: 'token', token: '{token}'}},\n    \
             http: {{securityHeaders: {{strictTransportSecurity: 'max-age={number}'}}}},\n    \
             trustedProxies: ['192.0.2.{}'],\n    nodes: {{denyCommands: ['n{number}']}},\n    \
             controlUi: {{$include: 'part.json', allowedOrigins: ['https://n{number}.example']}},\n  }},\n  \
             logging: {{level: '{level}'}},\n  agents: {{n{number}: {number}}},\n}}\n",
            number % 250
        )
    }

    fn part_text(&self) -> String {
        format!("{{basePath: '/n{}'}}", self.number)
    }

    fn put_part(&self) {
        fs::write(&self.part, self.part_text()).unwrap();
    }

    fn put(&self, text: impl AsRef<[u8]>) {
        fs::write(&self.path, text).unwrap();
    }

    fn replace(&self, text: impl AsRef<[u8]>) {
        let other = self.path.with_file_name("another.json");
        fs::write(&other, text).unwrap();
        fs::rename(other, &self.path).unwrap();
    }
}

/// What a request is answered with: status line and headers.
fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split("\r\n\r\n").next().unwrap().to_owned()
}

/// The number of the text that is in force, by the file.
fn in_force(addr: SocketAddr) -> Option<u64> {
    let head = get(addr, "/healthz");
    head.lines().find_map(|line| line.strip_prefix("Strict-Transport-Security: max-age="))?.parse().ok()
}

/// Whether the included file is that of this number.
fn has_part(addr: SocketAddr, number: u64) -> bool {
    get(addr, &format!("/n{number}/")).starts_with("HTTP/1.1 200")
}

fn with_device_token(program: &Program) -> TestClient {
    let key = fresh_key();
    let config = device(program.addr(), &key, Credential::Shared(&program.token()));
    let first = TestClient::connect(program.addr(), config).unwrap();
    let token = first.device_token().unwrap().to_owned();
    drop(first);
    TestClient::connect(program.addr(), device(program.addr(), &key, Credential::Device(&token))).unwrap()
}

fn with_secret(program: &Program, token: &str) -> TestClient {
    let config = device(program.addr(), &fresh_key(), Credential::Shared(token));
    TestClient::connect(program.addr(), config).unwrap()
}

fn fault(client: &mut TestClient) -> Value {
    client.call("status", json!({})).unwrap()["gateway"]["configFault"].clone()
}

fn edits_at_random(runtime: &str, edits: u64, seed: u64) {
    let mut program = Program::start(EXE, runtime);
    let (addr, pid) = (program.addr(), program.pid());
    let path = program.settings().config_path();
    let part = path.with_file_name("part.json");
    let mut files = Files { path, part, number: 1, token: program.token() };
    let mut random = Random(seed | 1);
    let mut owner = with_device_token(&program);
    let mut admitted = files.token.clone();
    let mut guest = with_secret(&program, &admitted);
    files.put_part();
    files.put(files.text());
    // From here on there is always a text with a number in force.
    until("the first text in force", || in_force(addr) == Some(1));
    // Texts of use that may be in force while the files are of none.
    let mut candidates = vec![1];
    let mut is_of_use = true;
    for edit in 0..edits {
        let kind = random.below(14);
        let told = format!("seed {seed}, edit {edit}, kind {kind}");
        let before = files.number;
        if !matches!(kind, 6..=11) {
            files.number += 1;
        }
        match kind {
            0 => files.put(files.text()),
            1 => files.replace(files.text()),
            2 => {
                let text = files.text();
                let middle = usize::try_from(random.below(text.len() as u64)).unwrap();
                let mut file = fs::File::create(&files.path).unwrap();
                file.write_all(&text.as_bytes()[..middle]).unwrap();
                sleep(random.below(120));
                file.write_all(&text.as_bytes()[middle..]).unwrap();
            }
            3 => {
                files.put_part();
                sleep(random.below(100));
                files.replace(files.text());
            }
            4 => {
                for _ in 0..5 {
                    files.number += 1;
                    files.put(files.text());
                }
            }
            5 => {
                files.token = secrets::chosen(&format!("rotated-{runtime}-{}", files.number));
                files.replace(files.text());
            }
            6 => files.put(files.text().replace("mode: 'local'", "mode: 'local', prot: 1")),
            7 => files.replace(files.text().replace("mode: 'token'", "mode: 5")),
            8 => {
                let text = files.text();
                // At least the end of the document is missing.
                let end = usize::try_from(random.below(text.rfind('}').unwrap() as u64)).unwrap();
                files.put(&text[..end]);
            }
            9 => files.put(""),
            10 => fs::remove_file(&files.path).unwrap_or_default(),
            11 => files.put([0xff, 0xfe, b'{', 0x00]),
            12 => {
                fs::remove_file(&files.path).unwrap_or_default();
                sleep(random.below(60));
                files.put(files.text());
            }
            _ => {
                files.put("{gateway: {");
                sleep(random.below(60));
                files.replace(files.text());
            }
        }
        if kind != 3 {
            files.put_part();
        }
        // A text that was of use for a moment only may have counted.
        is_of_use = !matches!(kind, 6..=11);
        candidates.extend(before..=files.number);
        owner.call("health", json!({})).unwrap_or_else(|why| panic!("{told}: {why}"));
        if admitted == files.token {
            guest.call("health", json!({})).unwrap_or_else(|why| panic!("{told}: {why}"));
        }
        if random.below(3) > 0 && edit + 1 < edits {
            sleep(random.below(400));
            continue;
        }
        if is_of_use {
            until(&format!("number {}, {told}, in force {:?}", files.number, in_force(addr)), || {
                in_force(addr) == Some(files.number)
            });
            until(&format!("the part of {}, {told}", files.number), || has_part(addr, files.number));
            assert_eq!(fault(&mut owner), Value::Null, "{told}");
            candidates = vec![files.number];
            if admitted != files.token {
                let closed = guest.wait_closed(BOUND).unwrap();
                assert_eq!((closed.code, closed.reason.as_str()), (4001, "gateway auth changed"), "{told}");
                admitted.clone_from(&files.token);
                guest = with_secret(&program, &admitted);
            }
        } else {
            until(&format!("a fault, {told}"), || fault(&mut owner) != Value::Null);
            let now = in_force(addr).unwrap();
            assert!(candidates.contains(&now), "{told}: {now} of {candidates:?}");
        }
        owner.call("health", json!({})).unwrap_or_else(|why| panic!("{told}: {why}"));
    }
    if !is_of_use {
        files.number += 1;
        files.put_part();
        files.put(files.text());
        until("the last text in force", || in_force(addr) == Some(files.number));
    }
    owner.call("health", json!({})).unwrap();
    assert_eq!(program.pid(), pid);
    assert!(!program.has_ended());
    program.stop().unwrap();
    let said = program.output();
    assert!(!said.contains("panic"), "{said}");
    assert!(said.contains("config.invalid") && said.contains("config.in-force"), "{said}");
}

#[test]
fn edits_at_random_drop_nobody_and_the_last_of_use_is_in_force_on_std() {
    edits_at_random("std", number("CLAWGATE_RELOAD_EDITS", 60), number("CLAWGATE_RELOAD_SEED", 1));
}

#[test]
fn edits_at_random_drop_nobody_and_the_last_of_use_is_in_force_on_smol() {
    edits_at_random("smol", number("CLAWGATE_RELOAD_EDITS", 60), number("CLAWGATE_RELOAD_SEED", 1));
}

/// Another address needs other sockets: the gateway goes there by itself, the same process, and says so before.
#[test]
fn another_address_restarts_the_gateway_in_place() {
    for runtime in ["std", "smol"] {
        let settings = Settings::new(EXE, runtime);
        let mut program = settings.start().unwrap();
        let (addr, pid) = (program.addr(), program.pid());
        let mut client = with_secret(&program, &program.token());
        let mut document: Value =
            serde_json::from_str(&fs::read_to_string(settings.config_path()).unwrap()).unwrap();
        document["gateway"]["bind"] = json!("custom");
        document["gateway"]["customBindHost"] = json!("127.0.0.2");
        fs::write(settings.config_path(), document.to_string()).unwrap();
        let told = client.wait_event("shutdown", BOUND).unwrap();
        let told: Value = serde_json::from_str(told.payload.unwrap().get()).unwrap();
        assert_eq!(
            (&told["reason"], &told["restartExpectedMs"]),
            (&json!("gateway restarting"), &json!(1_500))
        );
        let closed = client.wait_closed(BOUND).unwrap();
        assert_eq!((closed.code, closed.reason.as_str()), (1012, "service restart"));
        let there = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), addr.port()));
        until("a gateway at its new address", || TcpStream::connect(there).is_ok());
        assert_eq!(program.pid(), pid);
        assert!(TcpStream::connect(addr).is_err(), "and no longer at the old one");
        program.stop().unwrap();
    }
}
