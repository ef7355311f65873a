//! Several gateways on one machine: side by side with profiles, kept apart where they would share something, and
//! what each says of the other. And where a gateway listens: nowhere but where it says.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_support::{Settings, TempDir, free_port, temp_dir};
use rustix::process::{Pid, Signal, getuid, kill_process};
use serde_json::{Value, json};
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const EXE: &str = env!("CARGO_BIN_EXE_clawgate");
const RUNTIMES: &[&str] = &[
    #[cfg(feature = "std")]
    "std",
    #[cfg(feature = "smol")]
    "smol",
];
/// Longest wait for anything that should come soon.
const BOUND: Duration = Duration::from_secs(20);

/// A home folder, and what is started from it as a person would: nothing is set but `HOME` and where temporary files
/// go.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(temp_dir())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(EXE);
        command
            .args(line.split_whitespace())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.0.path())
            .env("TMPDIR", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(line).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }

    /// Starts a gateway and waits until it listens.
    fn start(&self, line: &str) -> Gateway {
        Gateway::start(self.command(line), &self.0, "listening on")
    }

    fn state(&self, folder: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(folder).join("identity/device.json")).unwrap())
            .unwrap()
    }
}

/// A gateway that need not answer on 127.0.0.1; what it says is in a file.
struct Gateway {
    child: Child,
    err: PathBuf,
}

impl Gateway {
    /// Starts it and waits until it has said this.
    fn start(mut command: Command, folder: &TempDir, said: &str) -> Self {
        let err = folder.path().join(format!("err-{}", free_port()));
        let child = command.stderr(File::create(&err).unwrap()).spawn().unwrap();
        let gateway = Self { child, err };
        gateway.wait_for(said);
        gateway
    }

    fn wait_for(&self, said: &str) {
        let bound = Instant::now() + BOUND;
        while !self.said().contains(said) {
            assert!(Instant::now() < bound, "{said} not in {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).unwrap()).into_owned()
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, and sees it end well.
    fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.said());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        clawgate_support::program::keep_output("gateways", &self.said());
    }
}

#[test]
fn a_gateway_and_its_rescue_run_side_by_side() {
    for runtime in RUNTIMES {
        let home = Home::new();
        let (usual, rescue) = (free_port(), free_port());
        let first = home.start(&format!("gateway --runtime {runtime} --port {usual}"));
        let second = home.start(&format!("--profile rescue gateway --runtime {runtime} --port {rescue}"));
        // Each has a configuration, a token, an identity of its own.
        let token = |profile: &str| home.run(&format!("{profile} token")).1;
        assert_ne!(token(""), token("--profile rescue"));
        assert_ne!(home.state(".openclaw")["deviceId"], home.state(".openclaw-rescue")["deviceId"]);
        // The second says that there is a first, and which; the first was alone.
        let of_first = format!("(pid {}, profile default, port {usual})", first.pid());
        let sentence = format!("note     another gateway is already running on this machine {of_first}");
        assert!(second.said().contains(&sentence), "{}", second.said());
        let record = format!("gateway.another pid={} profile=default port={usual} config=", first.pid());
        assert!(second.said().contains(&record), "{}", second.said());
        assert!(!first.said().contains("another"), "{}", first.said());
        // Every command takes the profile, and status knows both.
        for (profile, port) in [("", usual), ("--profile rescue", rescue)] {
            let environment = format!("{profile} status --json");
            let mut command = home.command(&environment);
            let output = command.env("OPENCLAW_GATEWAY_PORT", port.to_string()).output().unwrap();
            let status: Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {output:?}"));
            assert_eq!(status["gateway"]["url"], format!("ws://127.0.0.1:{port}/"));
            let gateways = status["here"]["gateways"].as_array().unwrap();
            let mut ports: Vec<&Value> = gateways.iter().map(|gateway| &gateway["port"]).collect();
            ports.sort_by_key(|port| port.as_u64());
            let mut want = [json!(usual), json!(rescue)];
            want.sort_by_key(Value::as_u64);
            assert_eq!(ports, want.iter().collect::<Vec<_>>());
        }
        let mut command = home.command("--profile rescue status");
        let output = command.env("OPENCLAW_GATEWAY_PORT", rescue.to_string()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("profile rescue, port") && text.contains("2 gateways run on this machine"),
            "{text}"
        );
        second.kill();
        first.kill();
    }
}

#[test]
fn a_second_one_on_the_same_port_or_configuration_is_refused() {
    for runtime in RUNTIMES {
        let home = Home::new();
        let port = free_port();
        let first = home.start(&format!("gateway --runtime {runtime} --port {port}"));
        // The same port, everything else its own.
        let (code, out, err) =
            home.run(&format!("--profile rescue gateway --runtime {runtime} --port {port}"));
        let taken = format!("another gateway instance is already listening on ws://127.0.0.1:{port}\n");
        assert!(code == 1 && out.is_empty() && err.contains(&taken), "{code} {out} {err}");
        // The same configuration, another port (compatibility row lock-owner-alive).
        let other = free_port();
        let began = Instant::now();
        let (code, out, err) = home.run(&format!("gateway --runtime {runtime} --port {other}"));
        let pid = first.pid();
        let running = format!(
            "Gateway failed to start: gateway already running (pid {pid}); lock timeout after 5000ms\n"
        );
        assert!(code == 1 && out.is_empty() && err.starts_with(&running), "{code} {out} {err}");
        assert!(
            err.contains(&format!("profile default, port {port}")) && err.contains("--profile NAME"),
            "{err}"
        );
        assert!(began.elapsed() >= Duration::from_secs(5));
        // Another configuration, the same state folder (compatibility row state-lock).
        let mut command =
            home.command(&format!("--profile rescue gateway --runtime {runtime} --port {other}"));
        let output = command.env("OPENCLAW_STATE_DIR", home.path(".openclaw"));
        let output = output.env("OPENCLAW_CONFIG_PATH", home.path("other.json")).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let shared = format!(
            "the state folder {} is in use by another gateway (pid {pid}",
            home.path(".openclaw").display()
        );
        assert!(output.status.code() == Some(1) && err.starts_with(&shared), "{err}");
        assert!(err.contains("OPENCLAW_STATE_DIR") && !home.path("other.json").exists(), "{err}");
        // On request both run.
        let mut command = home.command(&format!("gateway --runtime {runtime} --port {other}"));
        let mut both =
            command.env("OPENCLAW_ALLOW_MULTI_GATEWAY", "1").stderr(Stdio::null()).spawn().unwrap();
        let bound = Instant::now() + BOUND;
        while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, other)).is_err() {
            assert!(Instant::now() < bound && both.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(5));
        }
        both.kill().unwrap();
        both.wait().unwrap();
        first.kill();
    }
}

#[test]
fn after_kill_9_the_next_start_succeeds_at_once() {
    for runtime in RUNTIMES {
        let home = Home::new();
        let line = format!("gateway --runtime {runtime} --port {}", free_port());
        for round in 0..5 {
            let gateway = home.start(&line);
            let locks = std::fs::read_dir(home.path(&format!("openclaw-{}", getuid().as_raw())));
            let files: Vec<PathBuf> = locks.unwrap().map(|entry| entry.unwrap().path()).collect();
            let file = files.iter().find(|path| path.extension().is_some_and(|end| end == "lock")).unwrap();
            let told: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            assert_eq!(told["pid"], gateway.pid(), "round {round}");
            assert_eq!(told["configPath"].as_str(), home.path(".openclaw/openclaw.json").to_str());
            assert!(told["startTime"].is_u64() && told["createdAt"].is_string(), "{told}");
            gateway.kill();
            assert!(file.exists(), "it had no time to tidy up");
        }
        // One that ends well leaves none, and no half second is lost to a lock or a port.
        let mut gateway = home.start(&line);
        kill_process(Pid::from_child(&gateway.child), Signal::TERM).unwrap();
        assert!(gateway.child.wait().unwrap().success(), "{}", gateway.said());
        let folder = home.path(&format!("openclaw-{}", getuid().as_raw()));
        let left = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        assert!(left.collect::<Vec<_>>().iter().all(|name| !name.ends_with(".lock")));
    }
}

#[test]
fn the_lock_of_the_reference_is_respected_while_its_process_lives() {
    let home = Home::new();
    let line = format!("gateway --port {}", free_port());
    home.start(&line).kill();
    let folder = home.path(&format!("openclaw-{}", getuid().as_raw()));
    let lock = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let lock = lock.into_iter().find(|path| path.extension().is_some_and(|end| end == "lock")).unwrap();
    // A process that stands in for the reference, with the four members that it writes.
    let mut reference = Command::new("sleep").arg("600").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", reference.id())).unwrap();
    let start: u64 = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    let told = json!({
        "pid": reference.id(),
        "createdAt": "2026-03-13T00:00:00.000Z",
        "configPath": home.path(".openclaw/openclaw.json"),
        "startTime": start,
    });
    std::fs::write(&lock, told.to_string()).unwrap();
    let (code, _, err) = home.run(&line);
    let running = format!("gateway already running (pid {}); lock timeout after 5000ms", reference.id());
    assert!(code == 1 && err.contains(&running), "{err}");
    reference.kill().unwrap();
    reference.wait().unwrap();
    home.start(&line).kill();
}

#[test]
fn profiles_that_make_no_sense_are_usage_errors() {
    let home = Home::new();
    for (line, said) in [
        ("--profile ../x status", "Invalid --profile"),
        ("--dev --profile rescue status", "cannot be combined"),
        ("status --profile x", "unexpected argument '--profile'"),
    ] {
        let (code, _, err) = home.run(line);
        assert!(code == 2 && err.contains(said), "{line}: {code} {err}");
    }
    let (code, _, err) = home.run("--dev status");
    assert!(code == 3 && err.contains("ws://127.0.0.1:19001/"), "{err}");
}

/// The TCP sockets a process listens on, as the kernel lists them: address in hexadecimal and port.
fn listening(pid: u32) -> Vec<(String, u16)> {
    let folder = format!("/proc/{pid}/fd");
    let inodes: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_open = table.starts_with("udp") || fields[3] == "0A";
            if is_open && inodes.iter().any(|inode| inode == fields[9]) {
                let (address, port) = fields[1].split_once(':').unwrap();
                found.push((address.to_owned(), u16::from_str_radix(port, 16).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn hex(address: Ipv4Addr) -> String {
    format!("{:08X}", u32::from_ne_bytes(address.octets()))
}

const V6_LOOPBACK: &str = "00000000000000000000000001000000";

/// Nor is anything written into the configuration for a page (compatibility row no-origin-seeding).
#[test]
fn nothing_listens_but_what_is_printed() {
    let folder = temp_dir();
    for runtime in RUNTIMES {
        for (bind, host, also) in [
            ("loopback", Ipv4Addr::LOCALHOST, true),
            ("auto", Ipv4Addr::LOCALHOST, true),
            ("lan", Ipv4Addr::UNSPECIFIED, false),
            ("custom", Ipv4Addr::new(127, 0, 0, 1), true),
            ("custom", Ipv4Addr::new(127, 77, 0, 1), false),
        ] {
            let attempt = |_| shows_every_socket(&folder, runtime, bind, host, also);
            assert!((0..5).any(attempt), "{bind} on {runtime}: a port taken five times");
        }
    }
}

/// One gateway bound so. False when somebody else got its port first: every address of a port is free only until
/// another test asks for one of them.
fn shows_every_socket(folder: &TempDir, runtime: &str, bind: &str, host: Ipv4Addr, also: bool) -> bool {
    let settings = Settings::new(EXE, runtime);
    let text = std::fs::read_to_string(settings.config_path()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["gateway"]["bind"] = bind.into();
    config["gateway"]["customBindHost"] = host.to_string().into();
    // What is left of the bridge opens nothing, nor does what is not to be announced (`tests/discovery.rs` has the rest).
    let settings = settings.with_config(&config).env("OPENCLAW_BRIDGE_PORT", free_port().to_string());
    let settings = settings.arg("--bridge-port").arg(free_port().to_string());
    let port = settings.addr().port();
    let gateway = start(&settings, folder, "listening on");
    if gateway.said().contains("is already listening on") {
        return false;
    }
    let mut want = vec![(hex(host), port)];
    let mut printed = vec![format!("ws://{host}:{port}")];
    // Where there is no IPv6, that is warned of.
    if also && !gateway.said().contains("is not listened on") {
        want.push((V6_LOOPBACK.to_owned(), port));
        printed.push(format!("ws://[::1]:{port}"));
    }
    want.sort();
    assert_eq!(listening(gateway.pid()), want, "{bind} on {runtime}: {}", gateway.said());
    let line = format!("listening on {} (PID {})\n", printed.join(", "), gateway.pid());
    assert!(gateway.said().contains(&line), "{line} not in {}", gateway.said());
    assert!(gateway.said().contains("the TCP bridge is gone"), "{}", gateway.said());
    assert_eq!(std::fs::read_to_string(settings.config_path()).unwrap(), config.to_string());
    // Its own command finds it where it listens.
    let ran = settings.command(["status", "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|why| panic!("{why}: {ran:?}"));
    let shown = if host.is_unspecified() { Ipv4Addr::LOCALHOST } else { host };
    assert_eq!(status["gateway"]["url"], format!("ws://{shown}:{port}/"));
    true
}

/// A gateway as the settings of other tests describe it.
fn start(settings: &Settings, folder: &TempDir, said: &str) -> Gateway {
    Gateway::start(settings.command(settings.args()), folder, said)
}

/// The tailnet's address comes in a network namespace of the test's own (compatibility row bind-never-widens).
#[test]
fn a_tailnet_bind_waits_for_its_address_and_never_widens() {
    let folder = temp_dir();
    for runtime in RUNTIMES {
        let settings = Settings::new(EXE, runtime).arg("--bind").arg("tailnet");
        let mut command = Command::new("unshare");
        let plain = settings.command(settings.args());
        command.args(["--net", "--"]).arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let allowed = Command::new("unshare").args(["--net", "--", "ip", "link"]).output();
        if !allowed.is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: a tailnet bind under {runtime}: no network namespace can be made here");
            return;
        }
        let inside = |pid: u32, line: &str| {
            let line = format!("--target {pid} --net -- {line}");
            let output = Command::new("nsenter").args(line.split(' ')).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        let port = settings.addr().port();

        let gateway = Gateway::start(command, &folder, "gateway.waiting");
        assert_eq!(listening(gateway.pid()), [], "it waits, and listens nowhere");
        // Not a tailnet's: it goes on waiting.
        inside(gateway.pid(), "ip addr add 10.1.2.3/24 dev lo");
        std::thread::sleep(Duration::from_millis(1_500));
        assert_eq!(listening(gateway.pid()), []);
        inside(gateway.pid(), "ip addr add 100.101.102.103/32 dev lo");
        inside(gateway.pid(), "ip link set lo up");
        gateway.wait_for("listening on");
        let address = Ipv4Addr::new(100, 101, 102, 103);
        assert_eq!(listening(gateway.pid()), [(hex(address), port)]);
        let line = format!("listening on ws://{address}:{port} (PID {})\n", gateway.pid());
        assert!(gateway.said().contains(&line), "{}", gateway.said());
        assert_eq!(
            gateway.said().matches("gateway.waiting").count(),
            1,
            "said once in a while, not each second"
        );
        gateway.kill();
    }
}

/// SIGTERM ends the waiting, and the lock is given back.
#[test]
fn a_gateway_that_waits_for_the_tailnet_ends_when_told() {
    let folder = temp_dir();
    if has_tailnet() {
        println!("SKIPPED: a tailnet bind that waits: this machine has a tailnet address");
        return;
    }
    for runtime in RUNTIMES {
        let settings = Settings::new(EXE, runtime).arg("--bind").arg("tailnet");
        let mut gateway = start(&settings, &folder, "gateway.waiting");
        // It has the lock all the while.
        let second = settings.command(settings.args()).output().unwrap();
        assert!(String::from_utf8_lossy(&second.stderr).contains("gateway already running"), "{second:?}");
        gateway.stop();
        assert!(gateway.said().contains("gateway.stopped"), "{}", gateway.said());
        let ran = settings.command(["status"]).env("OPENCLAW_GATEWAY_BIND", "tailnet").output().unwrap();
        assert!(String::from_utf8_lossy(&ran.stderr).contains("no tailnet address"), "{ran:?}");
    }
}

fn has_tailnet() -> bool {
    let text = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    text.lines().any(|line| {
        let address = line.trim().strip_prefix("|-- ").and_then(|text| text.parse::<Ipv4Addr>().ok());
        address.is_some_and(|address| address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64)
    })
}

#[test]
fn a_bind_is_refused_with_the_sentence_that_helps() {
    for (config, line, said) in [
        (json!({ "bind": "custom" }), "", "gateway.bind=custom requires gateway.customBindHost\n"),
        (
            json!({ "bind": "custom", "customBindHost": "localhost" }),
            "",
            "gateway.bind=custom requires a valid IPv4 customBindHost (got localhost)\n",
        ),
        // From a range reserved for documentation (RFC 5737).
        (
            json!({ "bind": "custom", "customBindHost": "203.0.113.7" }),
            "",
            "gateway bind=custom requested 203.0.113.7 but resolved 0.0.0.0; refusing fallback\n",
        ),
        (
            json!({ "bind": "tailnet", "auth": { "mode": "none" } }),
            "",
            "Refusing to bind gateway to tailnet without auth.\n",
        ),
        (
            json!({ "customBindHost": "10.0.0.1" }),
            "--bind custom --auth none",
            "Refusing to bind gateway to custom without auth.\n",
        ),
        (json!({}), "--bind lan --auth none", "Refusing to bind gateway to lan without auth.\n"),
    ] {
        let mut gateway = json!({ "mode": "local" });
        gateway.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let settings = Settings::new(EXE, RUNTIMES[0]).with_config(&json!({ "gateway": gateway }));
        let words = ["gateway", "run"].into_iter().chain(line.split_whitespace());
        let output = settings.command(words).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && err.contains(said), "{config} {line}: {err}");
    }
}
