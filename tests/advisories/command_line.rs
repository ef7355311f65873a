//! The client side: the built program, asked to talk to somebody else.

use clawgate_support::program::keep_output;
use clawgate_support::secrets::{self, MARKER};
use clawgate_support::{Settings, temp_dir};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The tests of this file, for the table.
pub(crate) const NAMES: &[&str] = &[
    "command_line::an_address_from_elsewhere_gets_no_credential_of_ours",
    "command_line::what_a_network_announces_is_no_reason_to_trust",
];

/// CVE-2026-25253 and CVE-2026-26322: a page, and later a tool, took the gateway's address from its caller, and sent the
/// credentials that it held there. Here an address that is given needs credentials that are given with it.
#[test]
fn an_address_from_elsewhere_gets_no_credential_of_ours() {
    let settings = Settings::new(env!("CARGO_BIN_EXE_clawgate"), "std")
        .env("OPENCLAW_GATEWAY_TOKEN", secrets::chosen("environment"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        let url = format!("ws://{host}:{port}/");
        for command in [&["call", "health"][..], &["status"], &["devices", "list"]] {
            let args = command.iter().copied().chain(["--url", &url]);
            let done = settings.command(args).output().unwrap();
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            keep_output("advisories", &said);
            assert_eq!(done.status.code(), Some(2), "{said}");
            assert!(said.contains("gateway url override requires explicit credentials"), "{said}");
            let nobody = listener.accept().map(|_| ()).map_err(|why| why.kind());
            assert_eq!(nobody, Err(ErrorKind::WouldBlock), "somebody called");
        }
    }
    // Credentials for that address go there, after the upgrade; nothing of ours does.
    listener.set_nonblocking(false).unwrap();
    let spy = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut head = Vec::new();
        let mut buffer = [0; 1024];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                bytes => head.extend_from_slice(&buffer[..bytes]),
            }
        }
        String::from_utf8(head).unwrap()
    });
    let url = format!("ws://127.0.0.1:{port}/");
    let mine = secrets::chosen("mine");
    let done = settings.command(["call", "health", "--url", &url, "--token", &mine]).output().unwrap();
    let head = spy.join().unwrap();
    assert!(head.starts_with("GET / HTTP/1.1\r\n") && !head.contains(MARKER), "{head}");
    assert_eq!(done.status.code(), Some(3), "{}", String::from_utf8_lossy(&done.stderr));
}

/// PR #42507 and its like: whoever announced a gateway on a network also announced the certificate that its clients then
/// trusted. Here a liar announces one, truly his own: it is shown, and neither trusted nor kept, and no token goes there. A
/// person who has compared the fingerprint elsewhere may say so.
///
/// Needs `ip` (iproute2) and the right to make namespaces; says so loudly where it is not allowed to.
#[test]
fn what_a_network_announces_is_no_reason_to_trust() {
    let space = format!("cga{}", std::process::id());
    let Some(_network) = Network::new(&space) else { return };
    let (liar, home) = (temp_dir(), temp_dir());
    let state = liar.path().join(".openclaw");
    fs::create_dir_all(&state).unwrap();
    let config = json!({ "gateway": {
        "mode": "local", "tls": { "enabled": true },
        "auth": { "mode": "token", "token": secrets::chosen("of-the-liar") },
    }});
    fs::write(state.join("openclaw.json"), config.to_string()).unwrap();
    let log = File::create(liar.path().join("log")).unwrap();
    let mut gateway = inside(&space, liar.path(), &["gateway", "--json", "--port", "18789", "--bind", "lan"]);
    let _gateway = Killed(gateway.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let bound = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(liar.path().join("log")).unwrap().contains("mdns.announced") {
        assert!(Instant::now() < bound, "{}", fs::read_to_string(liar.path().join("log")).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    let found = done(&space, home.path(), &["gateway", "discover", "--json", "--timeout", "1500"]);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let (url, fingerprint) =
        (&found["beacons"][0]["wsUrl"], &found["beacons"][0]["gatewayTlsFingerprintSha256"]);
    let (url, fingerprint) = (url.as_str().unwrap(), fingerprint.as_str().unwrap());
    assert_eq!((url, fingerprint.len()), ("wss://10.77.0.1:18789", 64), "it is shown");
    let mine = secrets::chosen("of-the-liar");
    let ask = |more: &[&str]| {
        let ask = ["status", "--json", "--url", url, "--token", &mine];
        done(&space, home.path(), &[&ask, more].concat())
    };
    let refused = ask(&[]);
    let said: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(
        (refused.status.code(), &said["error"]["code"]),
        (Some(3), &json!("TLS_CERTIFICATE_UNTRUSTED")),
        "{said}"
    );
    let other = "0".repeat(64);
    assert_eq!(ask(&["--tls-fingerprint", &other]).status.code(), Some(3));
    let log = fs::read_to_string(liar.path().join("log")).unwrap();
    assert!(!log.contains("peer.connected") && log.contains("certificate-refused"), "{log}");
    // Whatever these commands keep, it is not that.
    assert!(!holds(home.path(), fingerprint), "it was kept");
    let pinned = ask(&["--tls-fingerprint", fingerprint]);
    assert_ne!(pinned.status.code(), Some(3), "{}", String::from_utf8_lossy(&pinned.stderr));
}

/// The program in that namespace, with this home folder and nothing else.
fn inside(space: &str, home: &Path, line: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", space, env!("CARGO_BIN_EXE_clawgate")]).args(line);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("HOME", home).env("TMPDIR", home).stdin(Stdio::null());
    command
}

fn done(space: &str, home: &Path, line: &[&str]) -> Output {
    let done = inside(space, home, line).output().unwrap();
    keep_output("advisories", &String::from_utf8_lossy(&done.stderr));
    done
}

/// Whether any file below a folder has this text in it.
fn holds(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, text),
            false => fs::read(&path).is_ok_and(|held| String::from_utf8_lossy(&held).contains(text)),
        }
    })
}

/// Ended when this goes.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A namespace with one network in it. Dropping it takes it down.
struct Network(String);

impl Network {
    /// `None` where namespaces cannot be made, with a word about it.
    fn new(name: &str) -> Option<Self> {
        let ip = |line: &str| {
            Command::new("ip")
                .args(line.replace("SPACE", name).split_whitespace())
                .stdin(Stdio::null())
                .output()
        };
        let made = ip("netns add SPACE");
        if !made.as_ref().is_ok_and(|made| made.status.success()) {
            println!("SKIPPED: what a network announces (ip netns add: {made:?})");
            return None;
        }
        let network = Self(name.to_owned());
        for line in [
            "-n SPACE link set lo up",
            "-n SPACE link add eth0 type veth peer name eth1",
            "-n SPACE addr add 10.77.0.1/24 dev eth0",
            "-n SPACE link set eth0 up",
            "-n SPACE link set eth1 up",
        ] {
            let done = ip(line).unwrap();
            assert!(done.status.success(), "ip {line}: {done:?}");
        }
        Some(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}
