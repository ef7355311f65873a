//! What a gateway's owner bounds: its connections, its memory, and what it may write.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_support::client::{Credential, device, fresh_key};
use clawgate_support::{Program, Settings, SmallDisk, TestClient, exposition};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

const EXE: &str = env!("CARGO_BIN_EXE_clawgate");
const RUNTIMES: [&str; 2] = ["std", "smol"];
const BOUND: Duration = Duration::from_secs(30);

fn client(program: &Program) -> TestClient {
    let config = device(program.addr(), &fresh_key(), Credential::Shared(&program.token()));
    TestClient::connect(program.addr(), config).unwrap()
}

fn asked(program: &Program, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(program.addr()).unwrap();
    write!(stream, "{request}Host: {}\r\n\r\n", program.addr()).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

fn text(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

const PROBE: &str = "GET /healthz HTTP/1.1\r\nConnection: close\r\n";
const UPGRADE: &str = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

#[test]
fn so_many_connections_and_the_next_one_waits_for_its_place() {
    for runtime in RUNTIMES {
        let settings = Settings::new(EXE, runtime).arg("--max-connections").arg("4");
        // The flag is stronger.
        fs::write(settings.state_dir().join("clawgate.json"), "{limits: {socketsMax: 100}}").unwrap();
        let mut program = settings.start().unwrap();
        let mut clients: Vec<TestClient> = (0..4).map(|_| client(&program)).collect();
        let status = clients[0].call("status", json!({})).unwrap();
        let sockets = &status["gateway"]["sockets"];
        assert_eq!((&sockets["max"], &sockets["accepting"]), (&json!(4), &json!(false)));
        let mut waits = asked(&program, PROBE);
        waits.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let early = waits.read(&mut [0; 1]).unwrap_err();
        assert!(matches!(early.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{early}");
        waits.set_read_timeout(Some(BOUND)).unwrap();
        drop(clients.pop());
        assert!(text(waits).starts_with("HTTP/1.1 200"));
        // A changed file changes nothing of that, and drops nobody.
        fs::write(settings.state_dir().join("clawgate.json"), "{limits: {socketsMax: 50}}").unwrap();
        let bound = Instant::now() + BOUND;
        while !program.output().contains("clawgate.json.limits.socketsMax") {
            assert!(Instant::now() < bound, "{}", program.output());
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = clients[0].call("status", json!({})).unwrap();
        assert_eq!(status["gateway"]["sockets"]["max"], 4);
        program.stop().unwrap();
    }
}

#[test]
fn above_its_memory_ceiling_a_gateway_says_so_and_keeps_who_is_here() {
    for runtime in RUNTIMES {
        let settings = Settings::new(EXE, runtime);
        let mut program = settings.start().unwrap();
        let mut first = client(&program);
        // No process of this program is so small.
        fs::write(
            settings.state_dir().join("clawgate.json"),
            "{limits: {memoryBytesMax: 1048576}, metrics: {enabled: true}}",
        )
        .unwrap();
        let bound = Instant::now() + BOUND;
        let refused = loop {
            let mut stream = asked(&program, UPGRADE);
            let mut head = [0; 12];
            stream.read_exact(&mut head).unwrap();
            if &head == b"HTTP/1.1 503" {
                break text(stream);
            }
            assert!(Instant::now() < bound, "never refused: {}", program.output());
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(refused.ends_with("The gateway has reached its memory ceiling (limits.memoryBytesMax)"));
        first.call("health", json!({})).unwrap();
        let token = program.token();
        let metrics =
            format!("GET /metrics HTTP/1.1\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n");
        let page = text(asked(&program, &metrics));
        let samples = exposition::parse(page.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(samples["clawgate_refused_total{reason=\"memory-ceiling\"}"] >= 1.0);
        assert!(samples["clawgate_resident_memory_bytes"] > samples["clawgate_memory_ceiling_bytes"]);
        assert!(samples["clawgate_uptime_seconds"] > 0.0 && samples["clawgate_config_valid"] == 1.0);
        program.stop().unwrap();
        assert!(program.output().contains("memory.ceiling"), "{}", program.output());
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else if path.file_name().is_none_or(|name| name != "clawgate.lock") {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Pairs, comes back, changes a setting; nothing of it is on the disk.
fn works_without_a_disk(settings: &Settings) {
    let before = files(&settings.state_dir());
    let mut program = settings.start().unwrap();
    assert!(program.output().contains("NOTHING IS STORED"), "{}", program.output());
    let key = fresh_key();
    let config = device(program.addr(), &key, Credential::Shared(&program.token()));
    let mut first = TestClient::connect(program.addr(), config).unwrap();
    let token = first.device_token().unwrap().to_owned();
    let shown = first.call("config.get", json!({})).unwrap();
    let raw = "{gateway: {controlUi: {allowedOrigins: ['https://desk.example']}}}";
    first.call("config.patch", json!({"raw": raw, "baseHash": shown["hash"]})).unwrap();
    let shown = first.call("config.get", json!({})).unwrap();
    assert_eq!(shown["parsed"]["gateway"]["controlUi"]["allowedOrigins"], json!(["https://desk.example"]));
    first.call("voicewake.set", json!({"triggers": ["claw"]})).unwrap();
    drop(first);
    let config = device(program.addr(), &key, Credential::Device(&token));
    let mut again = TestClient::connect(program.addr(), config.clone()).unwrap();
    let words: Value = again.call("voicewake.get", json!({})).unwrap();
    assert_eq!(words["triggers"], json!(["claw"]));
    program.stop().unwrap();
    let after = files(&settings.state_dir());
    assert!(after == before, "nothing is stored: {:?}", after.keys());
    // As was said: it is gone.
    program.start_again().unwrap();
    assert!(TestClient::connect(program.addr(), config).is_err());
    program.stop().unwrap();
}

#[test]
fn state_is_kept_in_memory_where_that_is_asked_for() {
    for runtime in RUNTIMES {
        works_without_a_disk(&Settings::new(EXE, runtime).arg("--state-in-memory"));
    }
}

#[test]
fn a_read_only_state_folder_serves_where_memory_is_asked_for_and_else_not() {
    for runtime in RUNTIMES {
        let settings = Settings::new(EXE, runtime);
        let text = fs::read_to_string(settings.config_path()).unwrap();
        let disk = match SmallDisk::mount(&settings.state_dir(), 64) {
            Ok(disk) => disk,
            Err(why) => {
                println!("SKIPPED: a read-only state folder under {runtime}: {why}");
                return;
            }
        };
        fs::write(settings.config_path(), text).unwrap();
        disk.set_read_only(true);
        let refused = settings.start().map(drop).unwrap_err();
        assert!(refused.contains("mounted read-only"), "{refused}");
        works_without_a_disk(&settings.clone().arg("--state-in-memory"));
    }
}

#[test]
fn a_token_that_nobody_could_read_is_not_made() {
    let settings = Settings::unconfigured(EXE, RUNTIMES[0]).arg("--state-in-memory");
    let refused = settings.start().map(drop).unwrap_err();
    assert!(refused.contains("a new one could be read nowhere"), "{refused}");
}
