//! The log as people and programs read it, restarts, and probes.

use crate::RUNTIMES;
use crate::shell::{configured, run, start, stop};
use clawgate_support::{Program, Settings};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The one file of a row that is there.
fn log_file(settings: &Settings) -> PathBuf {
    let folder = settings.temporary_dir().join("openclaw");
    let mut names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let file = names.next().unwrap();
    assert!(file.file_name().unwrap().to_string_lossy().starts_with("openclaw-20"), "{}", file.display());
    file
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let bound = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < bound, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How often this program has said that it listens.
fn starts(settings: &Settings) -> usize {
    fs::read_to_string(log_file(settings)).unwrap_or_default().matches("gateway.listening").count()
}

struct Follower(Child, PathBuf);

impl Follower {
    fn start(settings: &Settings) -> Self {
        let path = settings.temporary_dir().join("followed");
        let out = fs::File::create(&path).unwrap();
        let mut command = settings.command(["logs", "--follow", "--json", "--interval", "100"]);
        Self(command.stdout(out).stderr(Stdio::null()).spawn().unwrap(), path)
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.1).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn count(&self, said: &str) -> usize {
        self.lines()
            .iter()
            .filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with(said)))
            .count()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_log_is_followed_through_restarts_of_the_same_process() {
    for runtime in RUNTIMES {
        let settings = configured(runtime).env("OPENCLAW_LOG_LEVEL", "info");
        let mut gateway = start(&settings);
        let pid = gateway.pid();
        let follower = Follower::start(&settings);
        until("the first line", || follower.count("gateway.listening") == 1);
        gateway.signal(Signal::USR1);
        until("a second start", || starts(&settings) == 2);
        until("its line", || follower.count("gateway.listening") == 2);
        let answer = run(&settings, "call gateway.restart.request");
        assert_eq!((answer.code, &answer.json()["status"]), (0, &json!("scheduled")), "{answer:?}");
        until("a third start", || starts(&settings) == 3);
        until("its line", || follower.count("gateway.listening") == 3);
        assert!(!gateway.has_ended() && gateway.pid() == pid);
        // Nothing is shown twice, and what the cursor passed is not lost.
        assert_eq!(follower.count("gateway.stopped restarts=true"), 2);
        let kinds: Vec<Value> = follower.lines().iter().map(|line| line["type"].clone()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == json!("meta")).count(), 1);
        drop(follower);
        let text = fs::read_to_string(log_file(&settings)).unwrap();
        assert!(!text.contains(&gateway.token()), "the log holds the token");
        stop(gateway);
    }
}

#[test]
fn whoever_stops_a_gateway_that_is_about_to_restart_stops_it() {
    for runtime in RUNTIMES {
        for _ in 0..3 {
            let settings = configured(runtime);
            let mut gateway = start(&settings);
            gateway.signal(Signal::USR1);
            // The new program is not there yet, and no longer than this.
            gateway.signal(Signal::TERM);
            gateway.wait().unwrap();
        }
        let settings = configured(runtime);
        let mut gateway = start(&settings);
        assert_eq!(run(&settings, "call gateway.restart.request").code, 0);
        gateway.stop().unwrap();
    }
}

#[test]
fn a_signal_restarts_only_where_that_is_allowed() {
    for runtime in RUNTIMES {
        let config = json!({
            "gateway": {"mode": "local", "auth": {"mode": "none"}}, "commands": {"restart": false},
        });
        let gateway = start(&configured(runtime).with_config(&config));
        gateway.signal(Signal::USR1);
        until("a refusal", || gateway.output().contains("restart.refused"));
        let said = stop(gateway);
        assert!(said.contains("commands.restart is false") && said.contains("restarts=false"), "{said}");
    }
}

#[test]
fn a_signal_does_not_restart_into_a_file_that_no_gateway_starts_with() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let path = settings.state_dir().join("openclaw.json");
        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, "{gateway: {port: 'x'}}").unwrap();
        gateway.signal(Signal::USR1);
        until("a refusal", || gateway.output().contains("restart.refused"));
        fs::write(&path, good).unwrap();
        gateway.signal(Signal::USR1);
        // Between the two programs nobody would catch the signal that stops it.
        until("a second start", || gateway.output().matches("listening on ws://").count() == 2);
        assert_eq!(gateway.output().matches("gateway.stopped restarts=true").count(), 1);
        stop(gateway);
    }
}

#[test]
fn a_log_may_be_in_memory_or_in_a_file_of_ones_choice() {
    for runtime in RUNTIMES {
        let settings = configured(runtime).arg("--log-file").arg("off");
        let gateway = start(&settings);
        let logs = run(&settings, "logs --json --limit 5000");
        let first: Value = serde_json::from_str(logs.done().lines().next().unwrap()).unwrap();
        assert_eq!((&first["type"], &first["file"]), (&json!("meta"), &json!("memory")));
        assert!(logs.out.contains("gateway.listening"), "{}", logs.out);
        assert!(!settings.temporary_dir().join("openclaw").exists());
        stop(gateway);
        let file = settings.temporary_dir().join("mine").join("gate.log");
        let settings = configured(runtime);
        let settings = settings.arg("--log-file").arg(&file).env("OPENCLAW_LOG_LEVEL", "debug");
        let gateway = start(&settings);
        let logs = run(&settings, "logs --plain");
        assert!(logs.done().starts_with(&format!("log {}\n", file.display())), "{}", logs.out);
        stop(gateway);
        assert!(fs::read_to_string(file).unwrap().contains("gateway.stopped"));
    }
}

#[test]
fn a_probe_says_what_it_reaches() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        run(&settings, "probe").failed(1, &["no gateway can be reached at"]);
        let nobody = run(&settings, "gateway probe --json");
        assert_eq!((nobody.code, &nobody.json()["ok"]), (1, &json!(false)), "{nobody:?}");
        let gateway = start(&settings);
        let probe = run(&settings, "gateway probe --json");
        probe.done();
        let report = probe.json();
        assert_eq!((&report["ok"], &report["degraded"]), (&json!(true), &json!(true)));
        let target = &report["targets"][0];
        assert_eq!(
            (&target["id"], &target["connect"]["scopeLimited"]),
            (&json!("localLoopback"), &json!(true))
        );
        assert_eq!(target["health"]["ok"], json!(true));
        assert!(run(&settings, "probe").done().starts_with("reachable at ws://127.0.0.1:"));
        stop(gateway);
    }
}

#[test]
fn the_system_is_asked_and_told() {
    let settings = configured(RUNTIMES[0]);
    let gateway: Program = start(&settings);
    assert!(run(&settings, "system presence").done().starts_with("HOST"));
    let mut event = settings.command(["system", "event", "--text", "the kiln is hot", "--json"]);
    assert_eq!(event.output().unwrap().stdout, b"{\n  \"ok\": true\n}\n");
    assert_eq!(run(&settings, "system heartbeat last").done(), "there was none\n");
    assert_eq!(run(&settings, "system heartbeat disable").done(), "heartbeats are not wanted\n");
    let deep = run(&settings, "status --deep --json");
    deep.done();
    let shown = deep.json();
    assert_eq!(shown["status"]["queuedSystemEvents"], json!(["the kiln is hot"]));
    // Compatibility row `status-json`: where scripts for the reference look.
    let (gateway_shown, url) = (&shown["gateway"], shown["gateway"]["url"].clone());
    assert_eq!(shown["rpc"], json!({"ok": true, "url": url}));
    assert_eq!(
        (&gateway_shown["bindMode"], &gateway_shown["bindHost"]),
        (&json!("loopback"), &json!("127.0.0.1"))
    );
    assert_eq!((&gateway_shown["portSource"], &gateway_shown["probeUrl"]), (&json!("env/config"), &url));
    assert!(url.as_str().unwrap().ends_with(&format!(":{}/", gateway_shown["port"])), "{gateway_shown}");
    let file = &shown["config"]["cli"];
    assert_eq!((&file["exists"], &file["valid"]), (&json!(true), &json!(true)));
    assert!(file["path"].as_str().unwrap().ends_with("/openclaw.json"), "{file}");
    assert!(shown["deep"]["stability"]["gateway"]["memory"]["residentBytes"].is_u64(), "{shown}");
    assert!(shown["deep"]["presence"].is_array() && shown["deep"]["health"]["ok"] == json!(true));
    assert!(run(&settings, "man").done().starts_with(".TH CLAWGATE 1"));
    assert!(run(&settings, "completion bash").done().contains("clawgate"));
    stop(gateway);
}
