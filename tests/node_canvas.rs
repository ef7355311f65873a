//! `clawgate nodes canvas` of the built program at its gateway, on both drivers, with a node that answers by a table: what
//! the node is sent, what is printed, and that what makes no sense is sent to nobody.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_proto::client::ClientConfig;
use clawgate_support::{Program, TestClient, client};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const EXE: &str = env!("CARGO_BIN_EXE_clawgate");
/// The drivers that were compiled in.
const RUNTIMES: &[&str] = &[
    #[cfg(feature = "std")]
    "std",
    #[cfg(feature = "smol")]
    "smol",
];
/// Longest wait for anything.
const BOUND: Duration = Duration::from_secs(30);
/// "picture" in base64.
const PICTURE: &str = "cGljdHVyZQ==";

/// What the node answers: a payload, or an error's message.
fn answer(command: &str, params: &Value) -> Result<Value, &'static str> {
    match command {
        "canvas.eval" if params["javaScript"] == "no\u{1b}pe" => Ok(json!({ "result": "a\u{1b}[31m" })),
        "canvas.eval" => Ok(json!({ "result": "42" })),
        "canvas.snapshot" if params["format"] == "png" => Ok(json!({ "format": "png", "base64": PICTURE })),
        "canvas.snapshot" => Err("no true picture of this page"),
        _ => Ok(json!({ "ok": true })),
    }
}

/// Connects a node with a canvas, has it approved, and lets it answer; what it was asked comes out of the channel.
fn node(gateway: &Program) -> mpsc::Receiver<(String, Value)> {
    let (addr, token) = (gateway.addr(), gateway.token());
    let operator = client::config(addr, Some(&token), Some(client::fresh_key()));
    let mut operator = TestClient::connect(addr, operator).unwrap();
    let mut config = client::config_as(addr, "node-host", "node", Some(&token), Some(client::fresh_key()));
    config.client.platform = "web".to_owned();
    config.client.display_name = Some("Desk".to_owned());
    let commands = ["present", "hide", "navigate", "eval", "snapshot", "a2ui.pushJSONL", "a2ui.reset"];
    let config = ClientConfig {
        role: "node".to_owned(),
        scopes: Vec::new(),
        caps: vec!["canvas".to_owned()],
        commands: commands.map(|name| format!("canvas.{name}")).to_vec(),
        min_protocol: 4,
        ..config
    };
    let mut node = TestClient::connect(addr, config).unwrap();
    let requested = operator.wait_event("node.pair.requested", BOUND).unwrap().payload;
    let requested: Value = serde_json::to_value(requested).unwrap();
    operator.call("node.pair.approve", json!({ "requestId": requested["requestId"] })).unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        while let Some(event) = node.wait_event("node.invoke.request", BOUND) {
            let asked: Value = serde_json::to_value(event.payload).unwrap();
            let command = asked["command"].as_str().unwrap().to_owned();
            let params =
                asked["paramsJSON"].as_str().map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
            let mut result = json!({ "id": asked["id"], "nodeId": asked["nodeId"] });
            match answer(&command, &params) {
                Ok(payload) => {
                    result["ok"] = true.into();
                    result["payloadJSON"] = payload.to_string().into();
                }
                Err(message) => {
                    result["ok"] = false.into();
                    result["error"] = json!({ "code": "UNAVAILABLE", "message": message });
                }
            }
            if sender.send((command, params)).is_err() {
                return;
            }
            let _ = node.send("node.invoke.result", result);
        }
    });
    receiver
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_canvas_is_shown_asked_and_pictured_from_a_shell() {
    for runtime in RUNTIMES {
        let gateway = Program::start(EXE, runtime);
        let asked = node(&gateway);
        let settings = gateway.settings();
        let folder = settings.temporary_dir().to_owned();
        let call = |args: &[&str]| -> Output {
            let args = ["nodes", "canvas"].iter().chain(args).chain(&["--node", "desk"]);
            settings.command(args).current_dir(&folder).output().unwrap()
        };
        let good = "{\"deleteSurface\":{\"surfaceId\":\"a\"}}\n";
        fs::write(folder.join("good.jsonl"), good).unwrap();
        fs::write(folder.join("newer.jsonl"), "{\"createSurface\":{}}\n").unwrap();
        for (args, command, params, shown) in [
            (&["present"][..], "canvas.present", json!({}), "canvas.present: done\n"),
            (&["hide"], "canvas.hide", Value::Null, "canvas.hide: done\n"),
            (
                &["navigate", "a.html"],
                "canvas.navigate",
                json!({ "url": "a.html" }),
                "canvas.navigate: done\n",
            ),
            (&["eval", "6*7"], "canvas.eval", json!({ "javaScript": "6*7" }), "42\n"),
            (
                &["a2ui", "push", "--jsonl", "good.jsonl"],
                "canvas.a2ui.pushJSONL",
                json!({ "jsonl": good }),
                "canvas.a2ui.pushJSONL: done\n",
            ),
            (&["a2ui", "reset"], "canvas.a2ui.reset", Value::Null, "canvas.a2ui.reset: done\n"),
            (
                &["snapshot", "--format", "png", "--out", "a.png"],
                "canvas.snapshot",
                json!({ "format": "png" }),
                "MEDIA:a.png\n",
            ),
        ] {
            let output = call(args);
            assert!(output.status.success(), "{args:?}: {output:?}");
            assert_eq!(text(&output.stdout), shown, "{args:?}");
            assert_eq!(asked.recv_timeout(BOUND), Ok((command.to_owned(), params)), "{args:?}");
        }
        assert_eq!(fs::read(folder.join("a.png")).unwrap(), b"picture");
        assert_eq!(fs::metadata(folder.join("a.png")).unwrap().permissions().mode() & 0o777, 0o600);
        let said = text(&call(&["eval", "no\u{1b}pe"]).stdout);
        assert!(!said.contains('\u{1b}') && said.starts_with('a'), "a page drives no terminal: {said:?}");
        let told: Value =
            serde_json::from_slice(&call(&["snapshot", "--format", "png", "--json"]).stdout).unwrap();
        let path = told["file"]["path"].as_str().unwrap();
        assert_eq!(fs::read(path).unwrap(), b"picture");
        fs::remove_file(path).unwrap();
        let refused = call(&["snapshot"]);
        assert!(
            !refused.status.success() && text(&refused.stderr).contains("no true picture"),
            "{refused:?}"
        );
        assert_eq!(asked.try_iter().count(), 3);
        // Looked at before anybody is asked.
        let newer = call(&["a2ui", "push", "--jsonl", "newer.jsonl"]);
        assert!(!newer.status.success() && text(&newer.stderr).contains("0.9"), "{newer:?}");
        assert!(!call(&["a2ui", "push", "--jsonl", "missing.jsonl"]).status.success());
        assert_eq!(asked.try_iter().count(), 0);
    }
}
