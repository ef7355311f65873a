//! When a gateway is announced, and when it opens no socket for it at all: the built program on both drivers, in a network
//! namespace of its own, where nobody else has a socket. `.ci/lan` has several hosts and independent peers.
//!
//! Needs `ip` (iproute2) and the right to make namespaces; says so loudly where it is not allowed to.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_support::{TempDir, secrets, temp_dir};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const EXE: &str = env!("CARGO_BIN_EXE_clawgate");
const RUNTIMES: &[&str] = &[
    #[cfg(feature = "std")]
    "std",
    #[cfg(feature = "smol")]
    "smol",
];
/// Longest wait for anything that should come soon.
const BOUND: Duration = Duration::from_secs(30);
/// 5353, as `/proc/net/udp` writes it.
const MDNS: &str = ":14E9 ";

/// A namespace with one network in it. Dropping it takes it down.
struct Network(String);

impl Network {
    /// `None` where namespaces cannot be made, with a word about it.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cgd{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let made = ip(&["netns", "add", &name]);
        if !made.as_ref().is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: a gateway that is announced (ip netns add: {made:?})");
            return None;
        }
        let network = Self(name);
        network.ip(&["link", "set", "lo", "up"]);
        network.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "eth1"]);
        network.ip(&["addr", "add", "10.77.0.1/24", "dev", "eth0"]);
        network.ip(&["link", "set", "eth0", "up"]);
        network.ip(&["link", "set", "eth1", "up"]);
        Some(network)
    }

    fn ip(&self, args: &[&str]) {
        let output = ip(&[&["-n", &self.0], args].concat()).unwrap();
        assert!(output.status.success(), "ip {args:?}: {output:?}");
    }

    fn command(&self, home: &TempDir, line: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.0, EXE])
            .args(line.split_whitespace())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .stdin(Stdio::null());
        command
    }

    /// UDP sockets on port 5353: all are the gateway's, since nobody else is here.
    fn sockets(&self) -> usize {
        let files = ["/proc/net/udp", "/proc/net/udp6"];
        let output = Command::new("ip").args(["netns", "exec", &self.0, "cat"]).args(files).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("local_address"), "{text}");
        text.lines().filter(|line| line.contains(MDNS)).count()
    }

    fn discover(&self, home: &TempDir, ms: u32) -> Value {
        let Output { stdout, stderr, .. } =
            self.command(home, &format!("gateway discover --json --timeout {ms}")).output().unwrap();
        serde_json::from_slice(&stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&stderr)))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.0]);
    }
}

fn ip(args: &[&str]) -> std::io::Result<Output> {
    Command::new("ip").args(args).stdin(Stdio::null()).output()
}

/// A gateway in the namespace. Dropping it kills it.
struct Gateway {
    child: Child,
    home: TempDir,
}

impl Gateway {
    /// Starts one, and waits for an event of its log.
    fn start(network: &Network, line: &str, mode: &str, disabled: Option<&str>, event: &str) -> Self {
        Self::start_with(network, line, mode, disabled, event, false)
    }

    /// The same, with TLS or without.
    fn start_with(
        network: &Network,
        line: &str,
        mode: &str,
        disabled: Option<&str>,
        event: &str,
        tls: bool,
    ) -> Self {
        let home = temp_dir();
        let state = home.path().join(".openclaw");
        fs::create_dir_all(&state).unwrap();
        let auth = json!({ "mode": "token", "token": secrets::chosen("gateway-token") });
        let config = json!({ "gateway": { "mode": "local", "auth": auth, "tls": { "enabled": tls } }, "discovery": { "mdns": { "mode": mode } } });
        fs::write(state.join("openclaw.json"), config.to_string()).unwrap();
        let log = File::create(home.path().join("log")).unwrap();
        let mut command = network.command(&home, &format!("gateway --json {line}"));
        command.envs(disabled.map(|value| ("OPENCLAW_DISABLE_BONJOUR", value)));
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let gateway = Self { child, home };
        let until = Instant::now() + BOUND;
        while !gateway.log().contains(event) {
            assert!(Instant::now() < until, "no {event} in:\n{}", gateway.log());
            thread::sleep(Duration::from_millis(20));
        }
        gateway
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    fn stop(mut self) {
        // `ip netns exec` becomes the program: the process is the same.
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_gateway_for_a_network_is_found_there_until_it_ends() {
    for runtime in RUNTIMES {
        let Some(network) = Network::new() else { return };
        let line = format!("--port 18789 --bind lan --runtime {runtime}");
        let gateway = Gateway::start(&network, &line, "minimal", None, "mdns.announced");
        assert!(network.sockets() > 0, "{runtime}");
        let home = temp_dir();
        let found = network.discover(&home, 1_500);
        assert_eq!(found["count"], 1, "{runtime}: {found}");
        let beacon = &found["beacons"][0];
        assert_eq!(beacon["wsUrl"], "ws://10.77.0.1:18789", "{found}");
        assert_eq!(
            (&beacon["host"], &beacon["lanHost"]),
            (&json!("openclaw.local"), &json!("openclaw.local"))
        );
        assert_eq!((&beacon["sshPort"], &beacon["cliPath"]), (&Value::Null, &Value::Null));
        // Whoever only looks keeps nothing of what he saw.
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        // Beside what a probe asks. What is announced is no target of it.
        let prober = temp_dir();
        let Output { stdout, .. } = network.command(&prober, "gateway probe --json").output().unwrap();
        let report: Value = serde_json::from_slice(&stdout).unwrap();
        let told = &report["discovery"];
        assert_eq!((&told["timeoutMs"], &told["count"]), (&json!(1_200), &json!(1)), "{report}");
        assert_eq!(told["beacons"][0]["wsUrl"], "ws://10.77.0.1:18789", "{report}");
        assert_eq!(told["beacons"][0]["tailnetDns"], Value::Null, "{report}");
        let targets = report["targets"].as_array().unwrap();
        assert_eq!((targets.len(), &targets[0]["id"]), (1, &json!("localLoopback")), "{report}");
        gateway.stop();
        assert_eq!(network.sockets(), 0, "{runtime}");
        assert_eq!(network.discover(&home, 500)["count"], 0, "{runtime}");
    }
}

/// Looks until the one gateway that is there says this, or nothing, of one thing.
fn until_it_says(network: &Network, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let (home, until) = (temp_dir(), Instant::now() + BOUND);
    loop {
        let found = network.discover(&home, 700);
        if found["count"] == 1 && holds(&found["beacons"][0][name]) {
            return found["beacons"][0][name].clone();
        }
        assert!(Instant::now() < until, "{name} in {found}");
    }
}

#[test]
fn what_changes_without_a_restart_is_announced_without_one() {
    for runtime in RUNTIMES {
        let Some(network) = Network::new() else { return };
        let line = format!("--port 18789 --bind lan --runtime {runtime}");
        let gateway = Gateway::start(&network, &line, "minimal", None, "mdns.announced");
        let shows_canvas = |txt: &Value| txt["canvasPort"] == "18789";
        until_it_says(&network, "txt", shows_canvas);
        let path = gateway.home.path().join(".openclaw/openclaw.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        config["canvasHost"] = json!({ "enabled": false });
        fs::write(&path, config.to_string()).unwrap();
        until_it_says(&network, "txt", |txt| txt["canvasPort"].is_null() && txt["role"] == "gateway");
        assert!(gateway.log().contains("mdns.changed"), "{}", gateway.log());
        assert_eq!(gateway.log().matches("gateway.listening").count(), 1, "{}", gateway.log());
        gateway.stop();
    }
}

#[cfg(feature = "tls")]
#[test]
fn another_certificate_is_announced_when_it_is_shown() {
    for runtime in RUNTIMES {
        let Some(network) = Network::new() else { return };
        let line = format!("--port 18789 --bind lan --runtime {runtime}");
        let gateway = Gateway::start_with(&network, &line, "minimal", None, "mdns.announced", true);
        let first = until_it_says(&network, "gatewayTlsFingerprintSha256", Value::is_string);
        let renewed = network.command(&gateway.home, "gateway tls renew --yes --json").output().unwrap();
        assert!(renewed.status.success(), "{renewed:?}");
        let told: Value = serde_json::from_slice(&renewed.stdout).unwrap();
        let second = until_it_says(&network, "gatewayTlsFingerprintSha256", |shown| *shown != first);
        assert_eq!(second, told["sha256"], "{told}");
        assert_eq!(gateway.log().matches("gateway.listening").count(), 1, "{}", gateway.log());
        gateway.stop();
    }
}

#[test]
fn a_gateway_that_is_not_to_be_announced_opens_no_socket_for_it() {
    for runtime in RUNTIMES {
        let Some(network) = Network::new() else { return };
        for (bind, mode, disabled) in [
            ("loopback", "minimal", None),
            ("loopback", "full", None),
            ("lan", "off", None),
            ("lan", "full", Some("1")),
            ("lan", "full", Some("true")),
        ] {
            let line = format!("--port 18789 --bind {bind} --runtime {runtime}");
            let gateway = Gateway::start(&network, &line, mode, disabled, "gateway.listening");
            // As long as it takes the others to open theirs, and longer.
            thread::sleep(Duration::from_millis(700));
            assert_eq!(network.sockets(), 0, "{runtime} {bind} {mode} {disabled:?}");
            assert!(gateway.log().contains("\"mdns\":\"off ("), "{}", gateway.log());
            gateway.stop();
        }
    }
}
