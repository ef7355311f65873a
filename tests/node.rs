//! The node host of the built program at its gateway, on both drivers: it waits for approval and comes in by itself, does
//! what is asked of it and nothing else, takes commands back, comes back to a gateway that was killed, and leaves nothing
//! behind when it is stopped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_proto::client::ClientConfig;
use clawgate_support::program::keep_output;
use clawgate_support::{Program, Settings, TestClient, client, secrets};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const EXE: &str = env!("CARGO_BIN_EXE_clawgate");
/// The drivers that were compiled in.
const RUNTIMES: &[&str] = &[
    #[cfg(feature = "std")]
    "std",
    #[cfg(feature = "smol")]
    "smol",
];
/// Longest wait for anything: the node host asks every 15 s whether it was approved, and backs off up to 30 s.
const BOUND: Duration = Duration::from_secs(90);

/// A node host in a home folder of its own. Dropping it kills it.
struct Node {
    home: PathBuf,
    child: Child,
}

impl Node {
    /// Starts one that shows this token at this port.
    fn start(home: &Path, port: u16, token: &str, more: &[&str]) -> Self {
        let child = command(home, token)
            .args(["node", "run", "--port", &port.to_string()])
            .args(more)
            .stderr(File::options().create(true).append(true).open(home.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { home: home.to_owned(), child }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn ended(&mut self) -> Option<i32> {
        let bound = Instant::now() + BOUND;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code(),
                None if Instant::now() < bound => thread::sleep(Duration::from_millis(10)),
                None => panic!("it did not end:\n{}", self.log()),
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        keep_output("node-host", &self.log());
        if thread::panicking() {
            eprintln!("{}", self.log());
        } else {
            assert!(!self.log().contains(secrets::MARKER), "{}", self.log());
        }
    }
}

/// The program with this home folder, and no other settings.
fn command(home: &Path, token: &str) -> Command {
    let mut command = Command::new(EXE);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().into_owned();
        if ["OPENCLAW_", "CLAWDBOT_", "CLAWGATE_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.env("HOME", home).env("OPENCLAW_STATE_DIR", home.join("state")).current_dir(home);
    if !token.is_empty() {
        command.env("OPENCLAW_GATEWAY_TOKEN", token);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A gateway with a node host behind a door that makes it a client from elsewhere.
struct Pair {
    node: Node,
    gateway: Program,
    settings: Settings,
    door: u16,
}

impl Pair {
    /// Approved twice, and in. One that is not patient is started again instead of being waited for.
    fn new(runtime: &str, approvals: &Value, is_patient: bool) -> Self {
        let settings = Settings::new(EXE, runtime);
        let gateway = settings.start().unwrap_or_else(|why| panic!("{why}"));
        let home = settings.temporary_dir().join("node-home");
        fs::create_dir_all(home.join(".openclaw")).unwrap();
        fs::write(home.join(".openclaw/exec-approvals.json"), approvals.to_string()).unwrap();
        let door = door(gateway.addr());
        let node = Node::start(&home, door, &gateway.token(), &["--display-name", "Attic"]);
        let mut pair = Self { node, gateway, settings, door };
        // The gateway's own machine is the first device, and may approve others.
        let waiting = pair.until("devices list --json", |list| list["pending"][0]["requestId"].is_string());
        let request = text(&waiting["pending"][0]["requestId"]);
        pair.until_log(&format!("devices approve {request}"));
        pair.run(&["devices", "approve", &request]);
        if !is_patient {
            pair.node.signal(Signal::KILL);
            pair.node.ended();
            // Its name is not remembered before it was let in.
            let home = pair.node.home.clone();
            pair.node = Node::start(&home, door, &pair.gateway.token(), &["--display-name", "Attic"]);
        }
        pair.until_log("node.connected");
        let pending = pair.until("nodes pending --json", |list| list["pending"][0]["requestId"].is_string());
        let early = pair.fails(&["nodes", "invoke", "--node", "attic", "--command", "system.which"]);
        assert!(early.contains("clawgate nodes pending"), "{early}");
        pair.run(&["nodes", "approve", &text(&pending["pending"][0]["requestId"])]);
        pair.until_log("node.surface decision=approved");
        pair
    }

    fn call(&self, args: &[&str]) -> Output {
        self.settings.command(args).output().unwrap()
    }

    /// What a command prints that does what is asked.
    fn run(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(output.status.success(), "{args:?}: {output:?}\n{}", self.node.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command says that does not.
    fn fails(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(!output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn invoke(&self, command: &str, params: &Value) -> Value {
        let params = params.to_string();
        let args = ["nodes", "invoke", "--node", "attic", "--command", command, "--params", &params];
        serde_json::from_str(&self.run(&args)).unwrap()
    }

    fn until(&self, line: &str, test: impl Fn(&Value) -> bool) -> Value {
        let bound = Instant::now() + BOUND;
        loop {
            let output = self.settings.command(line.split(' ')).output().unwrap();
            let shown = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
            if test(&shown) {
                return shown;
            }
            assert!(Instant::now() < bound, "{line}: {output:?}\n{}", self.node.log());
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn until_log(&self, text: &str) {
        let bound = Instant::now() + BOUND;
        while !self.node.log().contains(text) {
            assert!(Instant::now() < bound, "{text} not in\n{}", self.node.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn until_connected(&self) {
        self.until("nodes list --json", |list| list["nodes"][0]["connected"] == true);
    }
}

/// Passes on what comes, and says of it that it comes from elsewhere, so that nobody is paired silently.
fn door(gateway: SocketAddr) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for down in listener.incoming() {
            let Ok(mut down) = down else { return };
            thread::spawn(move || {
                let Ok(mut up) = TcpStream::connect(gateway) else { return };
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && down.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let head = head.replacen("\r\n", "\r\nX-Forwarded-For: 203.0.113.7\r\n", 1);
                let _ = up.write_all(head.as_bytes());
                let (mut up_too, mut down_too) = (up.try_clone().unwrap(), down.try_clone().unwrap());
                let back = thread::spawn(move || {
                    let _ = std::io::copy(&mut up_too, &mut down_too);
                    let _ = down_too.shutdown(std::net::Shutdown::Both);
                });
                let _ = std::io::copy(&mut down, &mut up);
                let _ = up.shutdown(std::net::Shutdown::Both);
                let _ = back.join();
            });
        }
    });
    port
}

fn which_path(pair: &Pair, name: &str) -> String {
    text(&pair.invoke("system.which", &json!({"bins": [name]}))["bins"][name])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whether a process runs whose command line holds this.
fn is_running(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).split('\0').any(|part| part == word))
}

fn wait_for(what: &str, test: impl Fn() -> bool) {
    let bound = Instant::now() + BOUND;
    while !test() {
        assert!(Instant::now() < bound, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_node_is_approved_twice_and_does_what_it_may() {
    for runtime in RUNTIMES {
        let pair = Pair::new(runtime, &json!({"version": 1}), true);
        let described: Value =
            serde_json::from_str(&pair.run(&["nodes", "describe", "Attic", "--json"])).unwrap();
        let commands = described["commands"].to_string();
        assert!(commands.contains("system.run") && commands.contains("fs.listDir"), "{described}");
        assert!(described["pathEnv"].is_string(), "{described}");
        let which = pair.invoke("system.which", &json!({"bins": ["ls", "no-such-program"]}));
        assert!(which["bins"]["ls"].is_string() && which["bins"].as_object().unwrap().len() == 1, "{which}");
        fs::create_dir(pair.node.home.join("inner")).unwrap();
        let listed = pair.invoke("fs.listDir", &json!({}));
        assert!(listed["entries"].to_string().contains("inner"), "{listed}");
        // What the gateway's platform list does not have is refused there.
        let args = ["nodes", "invoke", "--node", "attic", "--command", "camera.snap"];
        assert!(pair.fails(&args).contains("camera.snap"));
        // Nobody has allowed a command yet.
        let echo = ["nodes", "run", "--node", "attic", "--", "echo", "hi"];
        let said = pair.fails(&echo);
        assert!(said.contains("the node wants an approval"), "{said}");
        let approved =
            ["nodes", "run", "--node", "attic", "--approve", "--cwd", "/", "--", "sh", "-c", "pwd; exit 3"];
        let output = pair.call(&approved);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b"/\n"[..]), "{output:?}");
        assert!(pair.node.log().contains("node.denied"), "{}", pair.node.log());
        // Allowed from now on, for every agent, until that is taken back.
        let uname = which_path(&pair, "uname");
        pair.run(&["approvals", "allowlist", "add", "--node", "attic", &uname]);
        assert!(pair.run(&["approvals", "get", "--node", "attic"]).contains(&uname));
        assert_eq!(pair.run(&["nodes", "run", "--node", "attic", "--", "uname"]), "Linux\n");
        pair.run(&["approvals", "allowlist", "remove", "--node", "attic", &uname]);
        pair.fails(&["nodes", "run", "--node", "attic", "--", "uname"]);
        // The same by a file, and back.
        let file = pair.settings.temporary_dir().join("approvals.json");
        let set = ["approvals", "set", "--node", "attic", "--file", file.to_str().unwrap()];
        let listed = json!({"version": 1, "agents": {"*": {"allowlist": [{"pattern": uname}]}}});
        fs::write(&file, listed.to_string()).unwrap();
        assert!(pair.run(&set).contains(&uname));
        assert_eq!(pair.run(&["nodes", "run", "--node", "attic", "--", "uname"]), "Linux\n");
        fs::write(&file, r#"{"version":1}"#).unwrap();
        pair.run(&set);
        pair.fails(&["nodes", "run", "--node", "attic", "--", "uname"]);
        // Whoever decides elsewhere sees where it would run by the node's name.
        let asks = ["nodes", "run", "--node", "attic", "--cwd", "/", "--env", "LANG=C", "--", "uname"];
        let config =
            client::config(pair.gateway.addr(), Some(&pair.gateway.token()), Some(client::fresh_key()));
        let page = ClientConfig { caps: vec!["approvals".to_owned()], ..config };
        let _page = TestClient::connect(pair.gateway.addr(), page).unwrap();
        let waiting =
            pair.settings.command(asks).stderr(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let list = pair.until("approvals list --json", |list| list["exec"][0]["id"].is_string());
        let shown = pair.run(&["approvals", "list"]);
        for want in [uname.as_str(), "LANG", "Attic ("] {
            assert!(shown.contains(want), "{want} not in {shown}");
        }
        pair.run(&["approvals", "allow", &text(&list["exec"][0]["id"])]);
        assert_eq!(waiting.wait_with_output().unwrap().stdout, b"Linux\n");
        // The node's secrets are its own.
        let seen = pair.run(&["nodes", "run", "--node", "attic", "--approve", "--", "env"]);
        assert!(!seen.contains("OPENCLAW_GATEWAY_TOKEN") && seen.contains("HOME="), "{seen}");
    }
}

/// Compatibility row node-limits.
#[test]
fn time_limits_and_cancels_end_all_of_a_command() {
    for runtime in RUNTIMES {
        let full = json!({"version": 1, "defaults": {"security": "full", "ask": "off"}});
        let pair = Pair::new(runtime, &full, false);
        let script = |word: &str| format!("sleep {word} & sleep {word}");
        let output = pair.call(&[
            "nodes",
            "run",
            "--node",
            "attic",
            "--command-timeout",
            "300",
            "--",
            "sh",
            "-c",
            &script("86111.5"),
        ]);
        assert_eq!(output.status.code(), Some(124), "{output:?}");
        wait_for("the time limit ends the whole group", || !is_running("86111.5"));
        // The gateway's caller waits no longer, and so the node is told to stop.
        let params = json!({"command": ["sh", "-c", script("86222.5")], "agentId": "main"}).to_string();
        let args = [
            "nodes",
            "invoke",
            "--node",
            "attic",
            "--command",
            "system.run",
            "--params",
            &params,
            "--invoke-timeout",
            "1000",
        ];
        let said = pair.fails(&args);
        assert!(said.contains("TIMEOUT"), "{said}");
        wait_for("a cancel ends the whole group", || !is_running("86222.5"));
        pair.until_log("node.cancelled");
    }
}

#[test]
fn it_comes_back_to_a_gateway_that_was_killed_and_stops_with_what_it_runs() {
    for runtime in RUNTIMES {
        let full = json!({"version": 1, "defaults": {"security": "full", "ask": "off"}});
        let mut pair = Pair::new(runtime, &full, false);
        // A second one on the same state folder would push the first out for ever.
        let mut second = Node::start(&pair.node.home, pair.door, &pair.gateway.token(), &[]);
        assert_eq!(second.ended(), Some(1));
        assert!(pair.node.log().contains("a node host runs already"), "{}", pair.node.log());
        // Nobody could be told what comes of this one.
        let params = json!({"command": ["sh", "-c", "sleep 86444.5 & sleep 86444.5"]}).to_string();
        let mut orphan = pair
            .settings
            .command(["nodes", "invoke", "--node", "attic", "--command", "system.run", "--params", &params])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the command runs", || is_running("86444.5"));
        pair.gateway.kill();
        pair.until_log("node.lost");
        wait_for("what ran for the gateway is ended", || !is_running("86444.5"));
        pair.until_log("node.commands-ended count=1");
        orphan.wait().unwrap();
        pair.gateway.start_again().unwrap_or_else(|why| panic!("{why}"));
        pair.until_connected();
        assert_eq!(pair.run(&["nodes", "run", "--node", "attic", "--", "echo", "back"]), "back\n");
        // It was told once where its gateway is.
        pair.node.signal(Signal::KILL);
        pair.node.ended();
        let home = pair.node.home.clone();
        pair.node.child = command(&home, &pair.gateway.token())
            .args(["node", "run", "--json"])
            .stderr(File::options().append(true).open(home.join("log")).unwrap())
            .spawn()
            .unwrap();
        pair.until_log("\"event\":\"node.connected\"");
        pair.until_connected();
        let params = json!({"command": ["sh", "-c", "sleep 86333.5 & sleep 86333.5"]}).to_string();
        let mut caller = pair
            .settings
            .command(["nodes", "invoke", "--node", "attic", "--command", "system.run", "--params", &params])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the command runs", || is_running("86333.5"));
        pair.node.signal(Signal::TERM);
        assert_eq!(pair.node.ended(), Some(0), "{}", pair.node.log());
        assert!(pair.node.log().contains("\"event\":\"node.stopped\""));
        assert!(!is_running("86333.5"), "what it ran is ended before it is");
        caller.wait().unwrap();
    }
}

#[test]
fn a_setup_code_lets_it_in_and_afterwards_it_needs_nothing() {
    for runtime in RUNTIMES {
        let settings = Settings::new(EXE, runtime);
        let gateway = settings.start().unwrap_or_else(|why| panic!("{why}"));
        let home = settings.temporary_dir().join("node-home");
        fs::create_dir_all(&home).unwrap();
        let door = door(gateway.addr());
        let url = format!("ws://127.0.0.1:{door}");
        let made = settings
            .command(["qr", "--access", "node", "--setup-code-only", "--url", &url])
            .output()
            .unwrap();
        let code = String::from_utf8(made.stdout).unwrap();
        let start = |args: &[&str]| {
            let mut command = command(&home, "");
            command.args(["node", "run", "--display-name", "Attic"]).args(args);
            let log = File::options().create(true).append(true).open(home.join("log")).unwrap();
            command.stderr(log).spawn().unwrap()
        };
        let node = Node { home: home.clone(), child: start(&["--setup-code", code.trim()]) };
        let mut pair = Pair { node, gateway, settings, door };
        pair.until_log("node.connected");
        pair.until_connected();
        // Whoever made the code has approved what it offers.
        assert!(pair.invoke("system.which", &json!({"bins": ["ls"]}))["bins"]["ls"].is_string());
        pair.node.signal(Signal::TERM);
        assert_eq!(pair.node.ended(), Some(0), "{}", pair.node.log());
        pair.until("nodes list --json", |list| list["nodes"][0]["connected"] == false);
        pair.node.child = start(&[]);
        pair.until_connected();
        // The code is spent: it ends a node host, which would only guess.
        pair.node.signal(Signal::TERM);
        pair.node.ended();
        pair.node.child = start(&["--setup-code", code.trim()]);
        assert_eq!(pair.node.ended(), Some(4), "{}", pair.node.log());
        assert!(pair.node.log().contains("make a fresh one") && !pair.node.log().contains(code.trim()));
    }
}

/// Compatibility row node-tls.
#[cfg(feature = "tls")]
#[test]
fn by_tls_one_certificate_is_trusted_and_remembered() {
    for runtime in RUNTIMES {
        let settings = Settings::new(EXE, runtime);
        let mut config: Value =
            serde_json::from_str(&fs::read_to_string(settings.config_path()).unwrap()).unwrap();
        config["gateway"]["tls"] = json!({ "enabled": true });
        let settings = settings.with_config(&config);
        let gateway = settings.start().unwrap_or_else(|why| panic!("{why}"));
        let shown = settings.command(["gateway", "tls", "--json"]).output().unwrap().stdout;
        let known = text(&serde_json::from_slice::<Value>(&shown).unwrap()["sha256"]);
        let home = settings.temporary_dir().join("node-home");
        fs::create_dir_all(&home).unwrap();
        let (port, token) = (gateway.addr().port(), gateway.token());
        let until = |more: &[&str], want: &str| {
            fs::write(home.join("log"), "").unwrap();
            let mut node = Node::start(&home, port, &token, more);
            let bound = Instant::now() + BOUND;
            while !node.log().contains(want) {
                assert!(Instant::now() < bound, "no {want} in {}", node.log());
                assert!(node.child.try_wait().unwrap().is_none(), "{}", node.log());
                thread::sleep(Duration::from_millis(20));
            }
            node.signal(Signal::TERM);
            assert_eq!(node.ended(), Some(0));
            node.log()
        };
        let log = until(&["--tls"], "is not trusted");
        assert!(log.contains(&format!("--tls-fingerprint {known}")), "{log}");
        // Only a person can tell whether that is the gateway.
        let mut node = Node::start(&home, port, &token, &["--tls-fingerprint", &"0".repeat(64)]);
        assert_eq!(node.ended(), Some(3), "{}", node.log());
        for said in ["node.untrusted", "gateway tls fingerprint mismatch", &known, "Nothing was sent"] {
            assert!(node.log().contains(said), "{said} not in {}", node.log());
        }
        drop(node);
        until(&[], "This port speaks TLS");
        assert!(!home.join("state/node.json").exists());
        until(&["--tls-fingerprint", &known.to_uppercase()], "node.connected");
        let state: Value = serde_json::from_slice(&fs::read(home.join("state/node.json")).unwrap()).unwrap();
        assert_eq!(
            (&state["gateway"]["tls"], &state["gateway"]["tlsFingerprint"]),
            (&json!(true), &json!(known))
        );
        until(&[], "node.connected");
    }
}

/// The certificate that a node host of the same installation trusts is the one that is there.
#[cfg(feature = "tls")]
#[test]
fn at_home_a_renewed_certificate_is_looked_up() {
    let settings = Settings::new(EXE, RUNTIMES[0]);
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(settings.config_path()).unwrap()).unwrap();
    config["gateway"]["tls"] = json!({ "enabled": true });
    let settings = settings.with_config(&config);
    let gateway = settings.start().unwrap_or_else(|why| panic!("{why}"));
    let home = settings.temporary_dir().to_owned();
    let log = File::options().create(true).append(true).open(home.join("log")).unwrap();
    let child = settings.command(["node", "run"]).stdin(Stdio::null()).stderr(log).spawn().unwrap();
    let mut node = Node { home, child };
    let until = |node: &mut Node, want: &str, count: usize| {
        let bound = Instant::now() + BOUND;
        while node.log().matches(want).count() < count {
            assert!(Instant::now() < bound, "no {want} in {}", node.log());
            assert!(node.child.try_wait().unwrap().is_none(), "{}", node.log());
            thread::sleep(Duration::from_millis(20));
        }
    };
    until(&mut node, "node.connected", 1);
    let renewed = settings.command(["gateway", "tls", "renew", "--yes"]).output().unwrap();
    assert!(renewed.status.success(), "{renewed:?}");
    drop(gateway);
    let gateway = settings.start().unwrap_or_else(|why| panic!("{why}"));
    until(&mut node, "node.connected", 2);
    node.signal(Signal::TERM);
    assert_eq!(node.ended(), Some(0));
    drop(gateway);
}

/// Compatibility row node-remembers.
#[test]
fn what_only_a_person_here_can_mend_ends_it_and_says_how() {
    let settings = Settings::new(EXE, RUNTIMES[0]);
    let gateway = settings.start().unwrap_or_else(|why| panic!("{why}"));
    let home = settings.temporary_dir().join("node-home");
    fs::create_dir_all(&home).unwrap();
    let port = gateway.addr().port();
    let end = |token: &str, more: &[&str]| {
        fs::write(home.join("log"), "").unwrap();
        let mut node = Node::start(&home, port, token, more);
        (node.ended(), node.log())
    };
    for (token, more, code, said) in [
        ("", &[][..], 4, "AUTH_TOKEN_MISSING"),
        ("some-other-token-of-mine", &[], 4, "came from the environment variable OPENCLAW_GATEWAY_TOKEN"),
        ("x", &["--tls-fingerprint", "abc"], 2, "expected a SHA-256 fingerprint"),
        ("x", &["--host", "203.0.113.1"], 2, "use an SSH tunnel"),
        ("x", &["--host", "ws://x"], 2, "a name or an address alone"),
    ] {
        let (ended, log) = end(token, more);
        assert_eq!(ended, Some(code), "{more:?}: {log}");
        assert!(log.contains(said), "{said} not in {log}");
        assert!(!home.join("state/node.json").exists(), "it remembers a gateway that did not let it in");
    }
    fs::write(home.join("state/node.json"), "{").unwrap();
    let (ended, log) = end("x", &[]);
    assert!(ended == Some(1) && log.contains("node.json is not the expected JSON"), "{log}");
}
