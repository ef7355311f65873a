//! `clawgate gateway install` and its kin, against a `systemctl` that stands in for systemd, and without any.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_support::{FakeSystemctl, Settings};
use serde_json::{Value, json};
use std::path::PathBuf;
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

/// An installation, and a service manager for it.
struct Rig {
    settings: Settings,
    units: PathBuf,
    systemctl: FakeSystemctl,
}

impl Rig {
    fn new() -> Self {
        let settings = Settings::new(EXE, RUNTIMES[0]);
        let units = settings.temporary_dir().join(".config/systemd/user");
        let systemctl = FakeSystemctl::new(&units);
        Self { settings, units, systemctl }
    }

    /// Runs a command, and gives its code and what it said to programs or people.
    fn run(&self, line: &str) -> (i32, String) {
        self.run_with(line, &self.systemctl.path())
    }

    fn run_with(&self, line: &str, path: &str) -> (i32, String) {
        let mut command = self.settings.command(line.split(' '));
        command.env("PATH", path).env_remove("XDG_CONFIG_HOME").env("USER", "nobody-of-this-name");
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    fn json(&self, line: &str) -> (i32, Value) {
        let (code, said) = self.run(&format!("{line} --json"));
        (code, serde_json::from_str(&said).unwrap_or_else(|why| panic!("{why} in {said}")))
    }

    fn unit(&self, end: &str) -> PathBuf {
        self.units.join(format!("clawgate-gateway.{end}"))
    }

    fn read(&self, end: &str) -> String {
        std::fs::read_to_string(self.unit(end)).unwrap()
    }
}

const BOTH: &str = "clawgate-gateway.socket clawgate-gateway.service";

#[test]
fn an_installed_service_is_enabled_started_and_has_no_secret() {
    let rig = Rig::new();
    let (code, said) = rig.json("gateway install");
    assert_eq!(
        (code, &said["action"], &said["ok"], &said["result"]),
        (0, &json!("install"), &json!(true), &json!("installed"))
    );
    let service =
        json!({"label": "systemd", "loaded": true, "loadedText": "enabled", "notLoadedText": "disabled"});
    assert_eq!(said["service"], service);
    let calls = rig.systemctl.calls();
    let want = ["daemon-reload", &format!("enable {BOTH}"), &format!("start {BOTH}")]
        .map(|call| format!("--user --no-pager {call}"));
    assert_eq!(calls, want);
    let (unit, socket) = (rig.read("service"), rig.read("socket"));
    let port = rig.settings.addr().port();
    assert!(unit.contains("Type=notify") && unit.contains("Environment=OPENCLAW_GATEWAY_PORT="), "{unit}");
    assert!(unit.contains(&format!("OPENCLAW_STATE_DIR={}", rig.settings.state_dir().display())), "{unit}");
    assert!(socket.contains(&format!("ListenStream=127.0.0.1:{port}\n")), "{socket}");
    let config = std::fs::read_to_string(rig.settings.config_path()).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let token = config["gateway"]["auth"]["token"].as_str().unwrap();
    assert!(!unit.contains(token) && !socket.contains(token));

    let (code, said) = rig.json("gateway install");
    assert_eq!((code, &said["result"]), (0, &json!("already-installed")));
    assert!(rig.systemctl.calls().is_empty(), "nothing is done twice");
}

#[test]
fn a_dry_run_changes_nothing() {
    let rig = Rig::new();
    let (code, said) = rig.run("gateway install --dry-run --port 5123");
    assert_eq!(code, 0);
    assert!(said.contains("ExecStart=") && said.contains("gateway run --port 5123"), "{said}");
    assert!(said.contains("ListenStream=127.0.0.1:5123\n"), "{said}");
    assert!(!rig.units.exists() && rig.systemctl.calls().is_empty());
    let (code, said) = rig.json("gateway install --dry-run --manager procd");
    assert_eq!((code, said["files"][0]["path"].as_str()), (0, Some("/etc/init.d/clawgate-gateway")));
    assert!(!std::path::Path::new("/etc/init.d/clawgate-gateway").exists());
    let (code, said) = rig.run("gateway install --dry-run --system --user root");
    assert!(code == 0 && said.contains("# /etc/systemd/system/clawgate-gateway.service\n"), "{said}");
    assert!(said.contains("User=root\n") && said.contains("ProtectSystem=strict\n"), "{said}");
}

#[test]
fn what_somebody_changed_is_theirs() {
    let rig = Rig::new();
    assert_eq!(rig.run("gateway install").0, 0);
    let edited = rig.read("service").replace("RestartSec=1", "RestartSec=7");
    std::fs::write(rig.unit("service"), &edited).unwrap();
    rig.systemctl.calls();
    let (code, said) = rig.json("gateway install --port 5123");
    assert_eq!((code, &said["ok"], &said["code"]), (1, &json!(false), &json!("UNIT_EDITED")));
    assert!(said["hints"][0].as_str().unwrap().contains("--force"), "{said}");
    assert_eq!(rig.read("service"), edited);
    assert!(rig.systemctl.calls().is_empty());
    let (_, said) = rig.json("gateway status --no-probe");
    assert_eq!(said["service"]["configAudit"]["issues"][0]["code"], "unit-edited");

    assert_eq!(rig.run("gateway install --port 5123 --force").0, 0);
    assert!(rig.read("service").contains("--port 5123"));
    assert_eq!(rig.read("service.bak"), edited);
}

#[test]
fn another_port_is_another_socket() {
    let rig = Rig::new();
    assert_eq!(rig.run("gateway install").0, 0);
    rig.systemctl.calls();
    assert_eq!(rig.run("gateway install --port 5123").0, 0);
    let want = [
        "stop clawgate-gateway.service clawgate-gateway.socket",
        "daemon-reload",
        &format!("enable {BOTH}"),
        &format!("start {BOTH}"),
    ]
    .map(|call| format!("--user --no-pager {call}"));
    assert_eq!(rig.systemctl.calls(), want);
    assert!(rig.read("socket").contains("ListenStream=127.0.0.1:5123\n"));
    // Its address in the tailnet is known when it is there, and then by the gateway.
    let auth = json!({"mode": "token", "token": clawgate_support::secrets::chosen("tailnet")});
    let config = json!({"gateway": {"mode": "local", "bind": "tailnet", "auth": auth}});
    let rig = Rig { settings: rig.settings.clone().with_config(&config), ..rig };
    let (code, said) = rig.run("gateway install");
    assert_eq!(code, 0, "{said}");
    assert!(!rig.unit("socket").exists() && !rig.read("service").contains(".socket"));
    assert!(rig.systemctl.calls().contains(&"--user --no-pager disable clawgate-gateway.socket".to_owned()));
}

#[test]
fn a_service_is_started_stopped_and_restarted() {
    let rig = Rig::new();
    for verb in ["start", "stop", "restart"] {
        let (code, said) = rig.json(&format!("gateway {verb}"));
        assert_eq!((code, &said["ok"], &said["result"]), (0, &json!(true), &json!("not-loaded")), "{said}");
        assert!(said["hints"][0].as_str().unwrap().contains("gateway install"), "{said}");
    }
    assert!(rig.systemctl.calls().is_empty());
    assert_eq!(rig.run("gateway install").0, 0);
    rig.systemctl.calls();
    for (verb, result, call) in [
        ("stop", "stopped", "stop clawgate-gateway.service clawgate-gateway.socket"),
        ("start", "started", &format!("start {BOTH}")),
        // The sockets stay open.
        ("restart", "restarted", "restart clawgate-gateway.service"),
    ] {
        let (code, said) = rig.json(&format!("gateway {verb}"));
        assert_eq!((code, &said["action"], &said["result"]), (0, &json!(verb), &json!(result)), "{said}");
        assert_eq!(rig.systemctl.calls(), [format!("--user --no-pager {call}")]);
    }
}

#[test]
fn what_systemd_says_of_a_failure_is_passed_on() {
    let rig = Rig::new();
    rig.systemctl.fail("start");
    let (code, said) = rig.json("gateway install");
    assert_eq!((code, &said["ok"], &said["code"]), (1, &json!(false), &json!("SERVICE_FAILED")));
    assert!(said["error"].as_str().unwrap().contains("start does not work."), "{said}");
    assert!(
        said["hints"][0].as_str().unwrap().contains("journalctl --user -u clawgate-gateway.service"),
        "{said}"
    );
}

#[test]
fn an_uninstalled_service_is_gone_and_its_state_is_not() {
    let rig = Rig::new();
    let (code, said) = rig.json("gateway uninstall");
    assert_eq!((code, &said["result"]), (0, &json!("not-loaded")));
    assert_eq!(rig.run("gateway install").0, 0);
    rig.systemctl.calls();
    let (code, said) = rig.json("gateway uninstall");
    assert_eq!((code, &said["result"]), (0, &json!("uninstalled")), "{said}");
    let units = "clawgate-gateway.service clawgate-gateway.socket";
    let want = [format!("stop {units}"), format!("disable {units}"), "daemon-reload".to_owned()]
        .map(|call| format!("--user --no-pager {call}"));
    assert_eq!(rig.systemctl.calls(), want);
    assert!(!rig.unit("service").exists() && !rig.unit("socket").exists());
    assert!(rig.settings.config_path().exists());
}

#[test]
fn a_gateway_that_would_not_start_is_not_installed() {
    let rig = Rig::new();
    let rig =
        Rig { settings: rig.settings.clone().with_config(&json!({"gateway": {"mode": "remote"}})), ..rig };
    let (code, said) = rig.json("gateway install");
    assert_eq!((code, &said["code"]), (1, &json!("WOULD_NOT_START")));
    assert!(said["error"].as_str().unwrap().contains("gateway.mode=local"), "{said}");
    assert!(!rig.units.exists());
}

#[test]
fn a_service_has_none_of_the_shell_s_variables_but_those_that_say_where() {
    let rig = Rig::new();
    let config =
        json!({"gateway": {"mode": "local", "auth": {"mode": "token", "token": "${ONLY_IN_THIS_SHELL}"}}});
    let secret = clawgate_support::secrets::chosen("shell");
    let settings = rig.settings.clone().with_config(&config).env("ONLY_IN_THIS_SHELL", &secret);
    let settings = settings.env("OPENCLAW_GATEWAY_BIND", "lan").env("OPENCLAW_GATEWAY_TOKEN", &secret);
    let rig = Rig { settings, ..rig };
    let (code, said) = rig.json("gateway install");
    assert_eq!((code, &said["code"]), (1, &json!("WOULD_NOT_START")));
    assert!(said["error"].as_str().unwrap().contains("ONLY_IN_THIS_SHELL"), "{said}");
    assert!(said["hints"][0].as_str().unwrap().contains("/state/.env"), "{said}");
    std::fs::write(rig.settings.state_dir().join(".env"), format!("ONLY_IN_THIS_SHELL={secret}\n")).unwrap();
    let (code, said) = rig.json("gateway install");
    assert_eq!((code, &said["result"]), (0, &json!("installed")), "{said}");
    let warnings = said["warnings"].to_string();
    assert!(warnings.contains("OPENCLAW_GATEWAY_TOKEN is set here"), "{warnings}");
    let (unit, socket) = (rig.read("service"), rig.read("socket"));
    assert!(unit.contains("Environment=OPENCLAW_GATEWAY_BIND=lan\n"), "{unit}");
    assert!(socket.contains("ListenStream=0.0.0.0:"), "{socket}");
    assert!(
        !unit.contains(&secret) && !unit.contains("ONLY_IN_THIS_SHELL") && !unit.contains("GATEWAY_TOKEN")
    );
}

#[test]
fn nobody_s_service_is_not_installed() {
    let rig = Rig::new();
    for user in ["no-such-user-here", "-x", "a b"] {
        let mut command = rig.settings.command(["gateway", "install", "--dry-run", "--system", "--json"]);
        let output =
            command.arg(format!("--user={user}")).env("PATH", rig.systemctl.path()).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &said["ok"]), (Some(1), &json!(false)), "{said}");
        assert!(said["error"].as_str().unwrap().contains("there is no user"), "{said}");
    }
}

#[test]
fn without_a_service_manager_one_is_told_what_to_write() {
    let rig = Rig::new();
    let (code, said) = rig.run_with("gateway install", "/nonexistent");
    assert_eq!(code, 6, "{said}");
    for want in ["there is no systemctl", "/etc/sv/clawgate-gateway/run:", "openrc-run", "exec "] {
        assert!(said.contains(want), "{want} in {said}");
    }
    let (code, said) = rig.run_with("gateway install --json", "/nonexistent");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["ok"], &said["code"]), (6, &json!(false), &json!("NO_SERVICE_MANAGER")));
    assert!(said["recipes"]["runit"].as_str().unwrap().starts_with("#!/bin/sh\n"));
    let (code, _) = rig.run_with("gateway start", "/nonexistent");
    assert_eq!(code, 6);
    let (code, said) = rig.run_with("gateway install --manager openrc", "/nonexistent");
    assert!(code == 0 && said.starts_with("#!/sbin/openrc-run\n"), "who asks for it gets it: {said}");
}

#[test]
fn a_gateway_without_a_service_is_told_itself() {
    for runtime in RUNTIMES {
        let mut program = Settings::new(EXE, runtime).start().unwrap();
        let run = |verb: &str| {
            let mut command = program.settings().command(["gateway", verb, "--json"]);
            let output = command.env("PATH", "/nonexistent").output().unwrap();
            (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
        };
        let (code, said) = run("restart");
        assert_eq!(
            (code, &said["result"], &said["pid"]),
            (Some(0), &json!("restarted"), &json!(program.pid()))
        );
        let bound = Instant::now() + BOUND;
        while program.output().matches("listening on").count() < 2 {
            assert!(Instant::now() < bound, "{}", program.output());
            std::thread::sleep(Duration::from_millis(5));
        }
        let (code, said) = run("stop");
        assert_eq!(
            (code, &said["result"], &said["pid"]),
            (Some(0), &json!("stopped"), &json!(program.pid()))
        );
        assert!(program.wait().unwrap().success());
    }
}

#[test]
fn a_status_is_whole_whether_or_not_somebody_answers() {
    let rig = Rig::new();
    assert_eq!(rig.run("gateway install").0, 0);
    let port = rig.settings.addr().port();
    let (code, said) = rig.json("gateway status");
    assert_eq!(
        (code, &said["ok"], &said["rpc"]["ok"], &said["error"]["code"]),
        (3, &json!(false), &json!(false), &json!("UNREACHABLE"))
    );
    assert_eq!(said["port"], json!({"port": port, "status": "free", "listeners": [], "hints": []}));
    assert_eq!(said["gateway"]["bindMode"], "loopback");
    assert_eq!(said["config"]["daemon"]["same"], true);
    assert_eq!(said["extraServices"], json!([]));
    let service = &said["service"];
    assert_eq!((&service["label"], &service["loaded"]), (&json!("systemd"), &json!(true)));
    assert_eq!(service["runtime"]["status"], "running");
    assert_eq!((&service["runtime"]["pid"], &service["runtime"]["restarts"]), (&json!(4711), &json!(3)));
    assert_eq!(service["configAudit"], json!({"ok": true, "issues": []}));
    assert_eq!(service["command"]["programArguments"][1], "gateway");
    let (code, said) = rig.json("gateway status --no-probe");
    assert!(code == 0 && said.get("rpc").is_none(), "{said}");

    std::fs::write(rig.units.join("openclaw-gateway.service"), "[Unit]\n").unwrap();
    let mut program = rig.settings.start().unwrap();
    let (code, said) = rig.json("gateway status");
    assert_eq!((code, &said["ok"], &said["rpc"]["ok"]), (0, &json!(true), &json!(true)), "{said}");
    let listener = json!([{"pid": program.pid(), "command": "clawgate"}]);
    assert_eq!((&said["port"]["status"], &said["port"]["listeners"]), (&json!("busy"), &listener));
    assert_eq!(said["service"]["configAudit"]["issues"][0]["code"], "reference-unit");
    let (code, said) = rig.run("gateway status");
    assert_eq!(code, 0);
    for want in [
        "service   clawgate-gateway.service: enabled, active (running), pid 4711, started again 3 times\n",
        &format!("port      {port}: somebody listens\n"),
        "gateway   running at ",
    ] {
        assert!(said.contains(want), "{want} in {said}");
    }
    program.stop().unwrap();
}
