//! `gateway.tailscale.mode`: the program `tailscale` is run, what came of it is said, and a stop takes it back where wished.

use crate::RUNTIMES;
use crate::shell::{config_text, run, start, stop, with_text};
use clawgate_support::{Program, Settings, secrets};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

/// A gateway's settings, and a `tailscale` (with no other program beside it on PATH) that writes down how it is called
/// and then does this.
fn settings(runtime: &str, gateway: &str, then: &str) -> Settings {
    let token = secrets::chosen("gateway-password");
    let text = format!("{{gateway: {{mode: 'local', auth: {{password: '{token}'}}, tailscale: {gateway}}}}}");
    let settings = with_text(runtime, &text);
    let folder = settings.temporary_dir().to_owned();
    let program = folder.join("tailscale");
    let told = folder.join("told");
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> '{}'\n{then}\n", told.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    settings.env("PATH", folder)
}

fn told(settings: &Settings) -> String {
    fs::read_to_string(settings.temporary_dir().join("told")).unwrap_or_default()
}

/// Waits until the gateway has said this.
fn until_said(gateway: &Program, what: &str) {
    until_said_again(gateway, what, 1);
}

/// Waits until the gateway has said this so many times.
fn until_said_again(gateway: &Program, what: &str, count: usize) {
    for _ in 0..600 {
        if gateway.output().matches(what).count() >= count {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what} is not in:\n{}", gateway.output());
}

#[test]
fn tailscale_serves_the_gateway_and_takes_it_back_where_that_is_wished() {
    for runtime in RUNTIMES {
        for resets in [false, true] {
            let wanted = format!("{{mode: 'serve', resetOnExit: {resets}}}");
            let settings = settings(runtime, &wanted, "");
            let gateway = start(&settings);
            until_said(&gateway, "tailscale.serving");
            let mut calls = format!("serve --bg --yes {}\n", gateway.addr().port());
            assert_eq!(told(&settings), calls);
            stop(gateway);
            if resets {
                calls.push_str("serve reset\n");
            }
            assert_eq!(told(&settings), calls);
        }
    }
}

#[test]
fn what_is_in_the_way_is_said_and_the_gateway_runs_all_the_same() {
    for runtime in RUNTIMES {
        for (then, said) in [
            ("echo 'no such port' >&2; exit 1", &["no such port", "gateway.tailscale.mode"][..]),
            // Nobody else is asked: there is no sudo.
            ("echo 'Access denied: serve config denied' >&2; exit 1", &["Access denied", "--operator"]),
            (
                "echo 'Serve is not enabled: https://login.example/f/serve'; exit 1",
                &["https://login.example/f/serve"],
            ),
        ] {
            let settings = settings(runtime, "{mode: 'serve', resetOnExit: true}", then);
            let gateway = start(&settings);
            until_said(&gateway, "tailscale.serve-failed");
            for want in said {
                assert!(gateway.output().contains(want), "{want} is not in:\n{}", gateway.output());
            }
            stop(gateway);
            assert!(!told(&settings).contains("reset"), "what was never served is not taken back");
        }
    }
}

#[test]
fn a_gateway_that_is_to_stop_does_not_wait_for_tailscale() {
    for runtime in RUNTIMES {
        let settings = settings(runtime, "{mode: 'funnel'}", "exec /bin/sleep 600");
        let settings_told = || told(&settings);
        let gateway = start(&settings);
        for _ in 0..600 {
            if !settings_told().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(settings_told().starts_with("funnel --bg --yes "), "{}", settings_told());
        let said = stop(gateway);
        assert!(!said.contains("tailscale.serve-failed"), "{said}");
    }
}

#[test]
fn what_is_switched_off_is_taken_back() {
    for runtime in RUNTIMES {
        let settings = settings(runtime, "{mode: 'funnel', resetOnExit: true}", "");
        let gateway = start(&settings);
        until_said(&gateway, "tailscale.serving");
        let text = config_text(&settings).replace("'funnel'", "'off'");
        fs::write(settings.config_path(), text).unwrap();
        for _ in 0..600 {
            if told(&settings).contains("funnel reset") {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(told(&settings).ends_with("\nfunnel reset\n"), "{}\n{}", told(&settings), gateway.output());
        // Between the two it listens to no signal.
        until_said_again(&gateway, "listening on ws://", 2);
        stop(gateway);
    }
}

#[test]
fn flags_are_stronger_than_the_file_and_outlive_a_restart() {
    for runtime in RUNTIMES {
        let off = settings(runtime, "{mode: 'serve'}", "").arg("--tailscale").arg("off");
        let gateway = start(&off);
        stop(gateway);
        assert_eq!(told(&off), "", "nothing is begun");
        let settings = settings(runtime, "{mode: 'off'}", "")
            .arg("--tailscale")
            .arg("funnel")
            .arg("--tailscale-reset-on-exit");
        let gateway = start(&settings);
        until_said(&gateway, "tailscale.serving");
        gateway.signal(Signal::USR1);
        until_said_again(&gateway, "tailscale.serving", 2);
        let port = gateway.addr().port();
        stop(gateway);
        let once = format!("funnel --bg --yes {port}\nfunnel reset\n");
        assert_eq!(told(&settings), format!("{once}{once}"));
    }
}

#[test]
fn what_tailscale_cannot_serve_is_refused_before_anything_is_listened_on() {
    for (flags, said) in [
        (
            &["--tailscale", "serve", "--bind", "lan"][..],
            "tailscale serve/funnel requires gateway bind=loopback",
        ),
        (
            &["--tailscale", "funnel", "--auth", "none"],
            "tailscale funnel requires gateway auth mode=password",
        ),
    ] {
        let settings = settings(RUNTIMES[0], "{mode: 'off'}", "");
        let line = format!("gateway --port 0 {}", flags.join(" "));
        run(&settings, &line).failed(1, &[said]);
        assert_eq!(told(&settings), "");
    }
}
