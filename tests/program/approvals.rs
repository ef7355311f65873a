//! `approvals`: what waits is shown and decided from a shell, and what agents may run is read from the home folder and
//! changed there.

use crate::RUNTIMES;
use crate::shell::{configured, run, run_with, start, stop};
use clawgate_proto::client::ClientConfig;
use clawgate_support::{TestClient, client};
use serde_json::json;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(20);

#[test]
fn what_waits_is_shown_and_decided() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let token = gateway.token();
        let connect = |caps: &[&str]| {
            let config = client::config(gateway.addr(), Some(&token), Some(client::fresh_key()));
            let caps = caps.iter().map(|cap| (*cap).to_owned()).collect();
            TestClient::connect(gateway.addr(), ClientConfig { caps, ..config }).unwrap()
        };
        assert_eq!(run(&settings, "approvals list").done(), "nothing waits for a decision\n");
        let (mut page, mut tool) = (connect(&["approvals"]), connect(&[]));
        for (id, line, decision) in [
            ("aa-1", "approvals allow aa", "allow-once"),
            ("bb-1", "approvals allow BB-1 --always", "allow-always"),
            ("cc-1", "approvals deny cc-1", "deny"),
        ] {
            let asked = tool.send("exec.approval.request", json!({"id": id, "command": "ls -l"}));
            page.wait_event("exec.approval.requested", BOUND).unwrap();
            let shown = run(&settings, "approvals list");
            assert!(shown.done().contains(id) && shown.out.contains("ls -l"), "{shown:?}");
            run(&settings, line).done();
            assert_eq!(tool.answer(&asked).into_result().unwrap()["decision"], decision);
        }
        let asked = tool.send("plugin.approval.request", json!({"title": "Send", "description": "mail"}));
        let event = page.wait_event("plugin.approval.requested", BOUND).unwrap().value();
        let listed = run(&settings, "approvals list --json").json();
        assert_eq!(listed, json!({"exec": [], "plugin": [event]}));
        run(&settings, &format!("approvals deny {}", event["id"].as_str().unwrap())).done();
        assert_eq!(tool.answer(&asked).into_result().unwrap()["decision"], "deny");
        // Where it would run, and with which variables, is part of what is decided.
        let ask = json!({"id": "dd-1", "command": "make", "cwd": "/srv/site", "env": {"LANG": "C", "TARGET": "all"},
            "host": "gateway"});
        let asked = tool.send("exec.approval.request", ask);
        page.wait_event("exec.approval.requested", BOUND).unwrap();
        let shown = run(&settings, "approvals list");
        for want in ["make", "/srv/site", "LANG, TARGET", "gateway"] {
            assert!(shown.done().contains(want), "{want} not in {shown:?}");
        }
        run(&settings, "approvals deny dd-1").done();
        tool.answer(&asked).into_result().unwrap();
        run(&settings, "approvals deny cc-2")
            .failed(5, &["unknown or expired approval id", "approvals list"]);
        stop(gateway);
    }
}

#[test]
fn the_file_of_the_home_folder_is_read_and_changed() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let none = run(&settings, "approvals get");
        assert!(none.done().contains("nothing is allowed without asking"), "{none:?}");
        let before = run(&settings, "approvals get --json").json();
        let key = client::fresh_key();
        let config = client::config(gateway.addr(), Some(&gateway.token()), Some(key));
        let mut admin = TestClient::connect(gateway.addr(), config).unwrap();
        let file =
            json!({"version": 1, "agents": {"main": {"ask": "off", "allowlist": [{"pattern": "/bin/ls"}]}}});
        let set =
            admin.call("exec.approvals.set", json!({"file": file, "baseHash": before["hash"]})).unwrap();
        // What was answered is on the disk, private, where the reference looks for it.
        let path = set["path"].as_str().unwrap();
        assert_eq!(set["path"], before["path"]);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            path.ends_with("/.openclaw/exec-approvals.json") && text.contains("/bin/ls"),
            "{path}: {text}"
        );
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let shown = run(&settings, "approvals get");
        assert!(shown.done().contains("/bin/ls") && shown.out.contains("ask off"), "{shown:?}");
        // A file takes the place of the whole, from standard input or by its name; who reads it first is asked for no hash.
        let input = "{version: 1, agents: {main: {allowlist: [{pattern: '/bin/cat'}]}}}";
        let set = run_with(&settings, "approvals set --stdin", input);
        assert!(set.done().contains("/bin/cat") && !set.out.contains("/bin/ls"), "{set:?}");
        let file = settings.temporary_dir().join("wanted.json");
        std::fs::write(&file, r#"{"version":1,"defaults":{"security":"deny"}}"#).unwrap();
        let line = format!("approvals set --file {}", file.display());
        assert!(run(&settings, &line).done().contains("for every agent: security deny"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("deny") && !text.contains("/bin/cat"), "{text}");
        for (input, said) in [("[1]", "no object"), ("{", "not JSON5")] {
            run_with(&settings, "approvals set --stdin", input).failed(2, &["standard input", said]);
        }
        run_with(&settings, "approvals set --stdin", r#"{"version":2}"#).failed(5, &["/file/version"]);
        run(&settings, "approvals set").failed(2, &["--file", "--stdin"]);
        run(&settings, "approvals set --file /nonexistent").failed(1, &["/nonexistent cannot be read"]);
        run(&settings, "approvals allowlist add /usr/bin/bash")
            .failed(2, &["/usr/bin/bash", "runs from no list"]);
        run(&settings, "approvals allowlist remove /nope").failed(1, &["/nope is not on the list of"]);
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
        stop(gateway);
    }
}
