//! Three hosts on a LAN of their own (network namespaces and a bridge): a gateway, a node and an operator, with the built
//! program on each. The operator approves, the node is invoked, its cable is pulled in the middle of a command and plugged
//! in again: the command is answered in time, and the node is back, once.
//!
//! Needs root and `ip` (iproute2); says so loudly where it is not allowed to.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_support::secrets;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const EXE: &str = env!("CARGO_BIN_EXE_clawgate");
/// Longest wait for anything: a node host backs off up to 30 s, and notices silence after two ticks of 30 s.
const BOUND: Duration = Duration::from_secs(180);
const GATEWAY: &str = "10.77.0.1";
const URL: &str = "ws://10.77.0.1:18789";

/// A LAN: a bridge in a namespace, and a namespace for each host. Dropping it takes it down.
struct Lan {
    name: String,
    hosts: Vec<String>,
}

impl Lan {
    /// `None` where namespaces cannot be made, with a word about it.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cg{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut lan = Self { name: name.clone(), hosts: Vec::new() };
        let made = ip(&["netns", "add", &name]);
        if !made.as_ref().is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: three hosts on a LAN (ip netns add: {made:?})");
            return None;
        }
        done(&["-n", &name, "link", "add", "lan", "type", "bridge"]);
        done(&["-n", &name, "link", "set", "lan", "up"]);
        for n in 1..=3 {
            let (host, port) = (format!("{name}h{n}"), format!("port{n}"));
            done(&["netns", "add", &host]);
            lan.hosts.push(host.clone());
            done(&[
                "-n", &name, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &host,
            ]);
            done(&["-n", &name, "link", "set", &port, "master", "lan", "up"]);
            done(&["-n", &host, "addr", "add", &format!("10.77.0.{n}/24"), "dev", "eth0"]);
            done(&["-n", &host, "link", "set", "lo", "up"]);
            done(&["-n", &host, "link", "set", "eth0", "up"]);
        }
        Some(lan)
    }

    /// The cable of a host.
    fn plug(&self, host: usize, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        done(&["-n", &self.name, "link", "set", &format!("port{host}"), state]);
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for name in self.hosts.iter().chain([&self.name]) {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

fn ip(args: &[&str]) -> std::io::Result<Output> {
    Command::new("ip").args(args).stdin(Stdio::null()).output()
}

fn done(args: &[&str]) {
    let output = ip(args).unwrap();
    assert!(output.status.success(), "ip {args:?}: {output:?}");
}

/// A host: a namespace, and a home folder.
struct Host {
    namespace: String,
    home: PathBuf,
    token: String,
    /// Where its commands find the gateway, when it is elsewhere.
    url: Option<&'static str>,
}

impl Host {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().into_owned();
            if ["OPENCLAW_", "CLAWDBOT_", "CLAWGATE_"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command
            .args(["netns", "exec", &self.namespace, EXE])
            .args(args)
            .env("HOME", &self.home)
            .env("TMPDIR", &self.home)
            .env("OPENCLAW_TMP_DIR", &self.home)
            .env("OPENCLAW_STATE_DIR", self.home.join("state"))
            .env("OPENCLAW_GATEWAY_TOKEN", &self.token)
            .env("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS", "1")
            .envs(self.url.map(|url| ("OPENCLAW_GATEWAY_URL", url)))
            .current_dir(&self.home)
            .stdin(Stdio::null());
        command
    }

    /// Starts what goes on.
    fn start(&self, args: &[&str]) -> Running {
        let log = self.home.join("log");
        let to = || File::options().create(true).append(true).open(&log).unwrap();
        Running { child: self.command(args).stdout(to()).stderr(to()).spawn().unwrap(), log }
    }

    fn call(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Asks until the answer is as it should be.
    fn until(&self, args: &[&str], holds: impl Fn(&Value) -> bool) -> Value {
        let bound = Instant::now() + BOUND;
        loop {
            let output = self.call(args);
            let shown = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
            if output.status.success() && holds(&shown) {
                return shown;
            }
            let logs = fs::read_to_string(self.home.join("log")).unwrap_or_default();
            assert!(Instant::now() < bound, "{args:?}: {output:?}\n{logs}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A program of a host. Dropping it ends it; `ip` became it.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn host(lan: &Lan, n: usize, folder: &Path, token: &str, url: Option<&'static str>) -> Host {
    let home = folder.join(format!("h{n}"));
    fs::create_dir_all(home.join("state")).unwrap();
    Host { namespace: lan.hosts[n - 1].clone(), home, token: token.to_owned(), url }
}

fn a_cable_is_pulled(runtime: &str) {
    let Some(lan) = Lan::new() else { return };
    let folder = clawgate_support::scratch::temp_dir();
    let token = secrets::chosen("lan-token");
    let gateway = host(&lan, 1, folder.path(), &token, None);
    let node = host(&lan, 2, folder.path(), &token, None);
    let operator = host(&lan, 3, folder.path(), &token, Some(URL));
    let config =
        json!({"gateway": {"mode": "local", "bind": "lan", "auth": {"mode": "token", "token": token}}});
    fs::write(gateway.home.join("state/openclaw.json"), config.to_string()).unwrap();
    // This node runs what it is told: it is the cable that is looked at here.
    let full = json!({"version": 1, "defaults": {"security": "full", "ask": "off"}});
    fs::create_dir_all(node.home.join(".openclaw")).unwrap();
    fs::write(node.home.join(".openclaw/exec-approvals.json"), full.to_string()).unwrap();

    let _gateway = gateway.start(&["gateway", "--runtime", runtime]);
    let here = |list: &Value| list["pending"].is_array();
    gateway.until(&["devices", "list", "--json"], here);
    // The operator is a stranger until somebody at the gateway lets it in.
    let early = operator.call(&["devices", "list", "--json"]);
    assert!(!early.status.success(), "{early:?}");
    let waiting = gateway.until(&["devices", "list", "--json"], |list| list["pending"][0].is_object());
    let request = waiting["pending"][0]["requestId"].as_str().unwrap();
    let approved = gateway.call(&["devices", "approve", request]);
    assert!(approved.status.success(), "{approved:?}");

    // From here on the operator does everything.
    let node_host = node.start(&["node", "run", "--host", GATEWAY, "--display-name", "Shed"]);
    let waiting = operator.until(&["devices", "list", "--json"], |list| list["pending"][0].is_object());
    let request = waiting["pending"][0]["requestId"].as_str().unwrap();
    assert_eq!(waiting["pending"][0]["role"], "node", "{waiting}");
    assert!(operator.call(&["devices", "approve", request]).status.success());
    let waiting = operator.until(&["nodes", "pending", "--json"], |list| list["pending"][0].is_object());
    let request = waiting["pending"][0]["requestId"].as_str().unwrap();
    assert!(operator.call(&["nodes", "approve", request]).status.success());
    let which =
        ["nodes", "invoke", "--node", "shed", "--command", "system.which", "--params", r#"{"bins":["sh"]}"#];
    let found = operator.until(&which, |found| found["bins"]["sh"].is_string());
    assert!(found["bins"]["sh"].as_str().unwrap().ends_with("/sh"), "{found}");

    // The cable is pulled while the node is at work.
    let marker = node.home.join("begun");
    let script = format!("touch {}; sleep 600", marker.display());
    let params = json!({"command": ["sh", "-c", script], "agentId": "main"}).to_string();
    let long = ["nodes", "invoke", "--node", "shed", "--command", "system.run", "--params", &params];
    let long = [&long[..], &["--invoke-timeout", "5000"]].concat();
    let asked = operator.command(&long).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let bound = Instant::now() + BOUND;
    while !marker.exists() {
        assert!(Instant::now() < bound, "the command never began");
        thread::sleep(Duration::from_millis(20));
    }
    lan.plug(2, false);
    let answer = asked.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&answer.stderr).into_owned();
    // The gateway's word, not the client's own patience.
    assert!(
        !answer.status.success() && (said.contains("node invoke timed out") || said.contains("disconnected")),
        "{said}"
    );

    lan.plug(2, true);
    operator.until(&which, |found| found["bins"]["sh"].is_string());
    let listed = operator.until(&["nodes", "list", "--json"], |list| list["nodes"][0]["connected"] == true);
    assert_eq!(listed["nodes"].as_array().map(Vec::len), Some(1), "{listed}");
    drop(node_host);
}

#[cfg(feature = "std")]
#[test]
fn a_cable_is_pulled_and_plugged_in_again_on_std() {
    a_cable_is_pulled("std");
}

#[cfg(feature = "smol")]
#[test]
fn a_cable_is_pulled_and_plugged_in_again_on_smol() {
    a_cable_is_pulled("smol");
}
