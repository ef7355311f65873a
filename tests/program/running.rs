//! A gateway while it runs and when it is told to stop: logs, signals, its identity.

use crate::RUNTIMES;
use crate::shell::{assert_shows_nothing, configured, run, start, stop};
use clawgate_support::{Program, TestClient, client, secrets};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

/// A client that does not read, so that a gateway that stops gently waits for it.
fn silent_client(gateway: &Program) -> TestClient {
    let token = gateway.token();
    TestClient::connect(
        gateway.addr(),
        client::config(gateway.addr(), Some(&token), Some(client::fresh_key())),
    )
    .unwrap()
}

/// Waits until a gateway has said something.
fn wait_for(gateway: &Program, said: &str) {
    let bound = Instant::now() + Duration::from_secs(20);
    while !gateway.output().contains(said) {
        assert!(Instant::now() < bound, "{said} not in {}", gateway.output());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_first_signal_stops_it_gently() {
    for runtime in RUNTIMES {
        for signal in [Signal::TERM, Signal::INT] {
            let mut gateway = start(&configured(runtime));
            let mut admitted = silent_client(&gateway);
            gateway.signal(signal);
            let closed = admitted.wait_closed(Duration::from_secs(20)).unwrap();
            assert_eq!((closed.code, closed.reason.as_str()), (1012, "service restart"));
            drop(admitted);
            assert_eq!(gateway.wait().unwrap().code(), Some(0), "{}", gateway.output());
            assert!(gateway.output().contains("gateway.stopped"), "{}", gateway.output());
        }
    }
}

#[test]
fn the_second_signal_ends_it_at_once() {
    for runtime in RUNTIMES {
        for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
            let mut gateway = start(&configured(runtime));
            let admitted = silent_client(&gateway);
            gateway.signal(Signal::TERM);
            wait_for(&gateway, "gateway.stopping");
            // Closer together they would count as one request.
            std::thread::sleep(Duration::from_millis(200));
            assert!(!gateway.has_ended(), "it should wait for its client: {}", gateway.output());
            gateway.signal(signal);
            assert_eq!(gateway.wait().unwrap().code(), Some(code), "{}", gateway.output());
            assert!(gateway.output().contains("signal.cut"), "{}", gateway.output());
            drop(admitted);
        }
    }
}

#[test]
fn logs_are_json_when_asked_and_never_show_a_secret() {
    for runtime in RUNTIMES {
        let settings =
            configured(runtime).arg("--json").arg("--verbose").arg("--token").arg(secrets::chosen("flag"));
        let gateway = start(&settings);
        let url = format!("--url ws://{}", settings.addr());
        run(&settings, &format!("health {url} --token {}", secrets::chosen("flag"))).done();
        let wrong = secrets::chosen("wrong");
        run(&settings, &format!("health {url}/{wrong} --token {wrong}")).failed(4, &[]);
        let said = stop(gateway);
        let records: Vec<Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
            .collect();
        for name in
            ["gateway.listening", "peer.admitted", "peer.refused", "signal.received", "gateway.stopped"]
        {
            assert!(records.iter().any(|record| record["event"] == name), "{name} not in {said}");
        }
        assert!(
            records.iter().all(|record| record["time"].is_string() && record["level"].is_string()),
            "{said}"
        );
    }
}

#[test]
fn a_silent_log_is_silent_and_an_unreadable_config_file_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let settings = configured(RUNTIMES[0]);
    fs::set_permissions(settings.config_path(), fs::Permissions::from_mode(0o644)).unwrap();
    let said = stop(start(&settings));
    assert!(said.contains("gateway.warning") && said.contains("chmod 600"), "{said}");
    let said = stop(start(&settings.clone().env("OPENCLAW_LOG_LEVEL", "silent").arg("--json")));
    assert_eq!(said, "");
    // The state folder's variables count where the process has none.
    fs::write(settings.state_dir().join(".env"), "OPENCLAW_LOG_LEVEL=silent\n").unwrap();
    let said = stop(start(&settings.env("OPENCLAW_LOG_LEVEL", "").arg("--json")));
    assert_eq!(said, "");
}

#[test]
fn an_identity_that_cannot_be_used_is_kept_aside() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let folder = settings.state_dir().join("identity");
        fs::create_dir(&folder).unwrap();
        let broken = format!("{{\"version\": 1, \"privateKeyPem\": \"{}\"", secrets::chosen("key"));
        fs::write(folder.join("device.json"), &broken).unwrap();
        let gateway = start(&settings);
        run(&settings, "status").done();
        let said = stop(gateway);
        assert!(said.contains("a new identity was made, the old file is kept as "), "{said}");
        let names: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let kept: Vec<&String> =
            names.iter().filter(|name| name.starts_with("device.json.invalid-")).collect();
        assert_eq!(kept.len(), 1, "{names:?}");
        assert_eq!(fs::read_to_string(folder.join(kept[0])).unwrap(), broken);

        // A command that meets one says so, and goes on.
        let gateway = start(&settings);
        fs::write(folder.join("device.json"), "{}").unwrap();
        let status = run(&settings, "status");
        assert!(status.code == 0 && status.err.contains("a new identity was made"), "{status:?}");
        run(&settings, "status").done();
        assert_shows_nothing(&settings, &stop(gateway));
    }
}

/// What a process was told when it began.
fn environment(gateway: &Program) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{}/environ", gateway.pid())).unwrap();
    bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// Other C libraries have one anyway.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn all_threads_share_one_heap_unless_somebody_said_otherwise() {
    let says = |gateway: &Program, wanted: &str| environment(gateway).iter().any(|entry| entry == wanted);
    for runtime in RUNTIMES {
        let gateway = start(&configured(runtime).env("GLIBC_TUNABLES", ""));
        assert!(says(&gateway, "MALLOC_ARENA_MAX=1"), "{:?}", environment(&gateway));
        // What comes behind it is not seen here: older releases of glibc end this text at each part that they have read.
        let begins = "GLIBC_TUNABLES=glibc.pthread.stack_cache_size=0";
        assert!(
            environment(&gateway).iter().any(|entry| entry.starts_with(begins)),
            "{:?}",
            environment(&gateway)
        );
        stop(gateway);
        let gateway = start(&configured(runtime).env("MALLOC_ARENA_MAX", "3"));
        assert!(says(&gateway, "MALLOC_ARENA_MAX=3"));
        stop(gateway);
        let gateway = start(&configured(runtime).env("GLIBC_TUNABLES", "glibc.malloc.arena_max=2"));
        assert!(!environment(&gateway).iter().any(|entry| entry.starts_with("MALLOC_ARENA_MAX")));
        stop(gateway);
    }
}
