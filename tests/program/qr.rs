//! `qr`, `devices rename` and `nodes`: a code is shown, used once, and what its node asks for is approved.

use crate::RUNTIMES;
use crate::shell::{config_text, configured, run, run_showing, start, stop, with_text};
use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_support::{Program, Settings, TestClient, client, secrets};
use serde_json::{Value, json};

/// A node host on another machine that has a code and nothing else.
fn node(gateway: &Program, key: &DeviceKey, code: &Value) -> ClientConfig {
    let mut config = client::config(gateway.addr(), None, Some(key.clone()));
    config.client.id = "node-host".to_owned();
    config.client.mode = "node".to_owned();
    config.role = "node".to_owned();
    config.scopes = Vec::new();
    config.commands = vec!["system.which".to_owned()];
    config.auth.bootstrap_token = Some(code["bootstrapToken"].as_str().unwrap().to_owned());
    config.headers.push(("X-Forwarded-For".to_owned(), "203.0.113.7".to_owned()));
    config
}

fn read(code: &str) -> Value {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for digit in code.trim().bytes() {
        let value = DIGITS.iter().position(|have| *have == digit).expect("base64url without padding");
        (bits, count) = (bits << 6 | u32::try_from(value).unwrap(), count + 6);
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    let code: Value = serde_json::from_slice(&out).unwrap();
    secrets::record(code["bootstrapToken"].as_str().unwrap());
    code
}

#[test]
fn a_code_is_shown_and_lets_one_node_in_once() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let only = run_showing(&settings, "qr --access node --url wss://gw.example --setup-code-only");
        let code = read(only.done());
        assert_eq!(code["url"], "wss://gw.example");
        let token = gateway.token();
        assert!(!code.to_string().contains(&token), "never the gateway's own");

        let key = client::fresh_key();
        let device = key.device_id();
        let admitted = TestClient::connect(gateway.addr(), node(&gateway, &key, &code)).unwrap();
        assert!(admitted.device_token().is_some());
        let list = run(&settings, "nodes list");
        for want in [device, "connected", "system.which"] {
            assert!(list.done().contains(want), "{want} not in {list:?}");
        }
        assert_eq!(run(&settings, "nodes pending").done(), "no node waits for approval\n");
        let other = client::fresh_key();
        let refusal =
            TestClient::connect(gateway.addr(), node(&gateway, &other, &code)).map(drop).unwrap_err();
        assert_eq!(refusal.detail_code(), Some("AUTH_BOOTSTRAP_TOKEN_INVALID"), "{refusal:?}");

        let renamed = run(&settings, &format!("devices rename {device} attic"));
        assert_eq!(renamed.done(), format!("{device} is called attic\n"));
        assert!(run(&settings, "nodes list").done().contains("attic"));
        let renamed = run(&settings, "nodes rename attic loft");
        assert_eq!(renamed.done(), format!("{device} is called loft\n"));
        let renamed = run(&settings, &format!("nodes rename {} attic", &device[..8]));
        assert_eq!(renamed.done(), format!("{device} is called attic\n"));
        run(&settings, "nodes rename loft x").failed(1, &["unknown node: loft", "attic", "nodes list"]);
        let status = run(&settings, "nodes status");
        for want in ["1 of 1 connected", device, "attic", "1.0.0", "s ago"] {
            assert!(status.done().contains(want), "{want} not in {status:?}");
        }
        let here = run(&settings, "nodes status --connected --json").json();
        assert_eq!(
            (&here["nodes"][0]["nodeId"], here["nodes"].as_array().unwrap().len()),
            (&json!(device), 1)
        );
        // More than was approved asks, and a person answers by name.
        admitted.close(1000, "");
        gone(&settings);
        let back = TestClient::connect(gateway.addr(), {
            let mut config = node(&gateway, &key, &code);
            config.auth.bootstrap_token = None;
            config.auth.token = Some(token);
            config.commands.push("system.run".to_owned());
            config
        });
        let mut back = back.unwrap();
        let pending = run(&settings, "nodes pending --json");
        let request = pending.json()["pending"][0]["requestId"].as_str().unwrap().to_owned();
        let table = run(&settings, "nodes pending");
        assert!(table.done().contains("operator.admin") && table.done().contains(&request), "{table:?}");
        let approved = run(&settings, &format!("nodes approve {request}"));
        assert_eq!(approved.done(), format!("{device} may offer: system.run, system.which\n"));
        let removed = run(&settings, "nodes remove Attic");
        assert_eq!(removed.done(), format!("{device} is a node no more\n"));
        assert_eq!(
            back.wait_closed(std::time::Duration::from_secs(10)).map(|closed| closed.code),
            Some(4001)
        );
        for line in ["nodes reject", "nodes approve"] {
            let ran = run(&settings, &format!("{line} {request}"));
            ran.failed(5, &["unknown requestId", "clawgate nodes pending"]);
            assert!(!ran.err.contains("minutes"), "requests of nodes wait: {ran:?}");
        }
        run(&settings, "nodes remove attic").failed(1, &["unknown node: attic (there is none)"]);
        stop(gateway);
    }
}

/// Waits until the only node is away, which `nodes status` tells.
fn gone(settings: &Settings) {
    for _ in 0..200 {
        let here = run(settings, "nodes status --connected");
        if here.done() == "no node is connected\n" {
            assert!(run(settings, "nodes status").done().contains("0 of 1 connected"));
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the node stays connected");
}

#[test]
fn a_code_is_a_picture_and_a_text_with_what_it_is_for() {
    let settings = configured(RUNTIMES[0]);
    let gateway = start(&settings);
    let page = run_showing(&settings, "qr --url http://10.0.0.2:18789/x");
    for want in ["█▀▀", "Setup code: ", "ws://10.0.0.2:18789 (request.publicUrl)", "once, within 10 minutes"]
    {
        assert!(page.done().contains(want), "{want} not in {page:?}");
    }
    let bare = run_showing(&settings, "qr --url ws://x --no-picture");
    assert!(!bare.done().contains('█'));
    let answer = run_showing(&settings, "qr --url ws://x --access limited --json").json();
    assert_eq!(
        (&answer["access"], &answer["auth"], &answer["urlSource"]),
        (&json!("limited"), &json!("token"), &json!("request.publicUrl"))
    );
    assert!(read(answer["setupCode"].as_str().unwrap())["bootstrapToken"].is_string());
    // On loopback alone there is nothing that a phone could reach.
    run(&settings, "qr").failed(5, &["Gateway is only bound to loopback. Set gateway.bind=lan"]);
    run(&settings, "qr --remote").failed(2, &["gateway.remote.url is not set"]);
    stop(gateway);
}

#[test]
fn the_address_comes_from_the_configuration() {
    let settings = with_text(
        RUNTIMES[0],
        r#"{gateway: {mode: "local", auth: {mode: "token", token: "cLaWmArKeR-qr"},
            remote: {url: "wss://remote.example/x"}},
           plugins: {entries: {"device-pair": {config: {publicUrl: "https://public.example"}}}}}"#,
    );
    let before = config_text(&settings);
    let gateway = start(&settings);
    let answer = run_showing(&settings, "qr --json").json();
    assert_eq!(answer["gatewayUrl"], "wss://public.example");
    assert_eq!(answer["urlSource"], "plugins.entries.device-pair.config.publicUrl");
    let answer = run_showing(&settings, "qr --json --remote").json();
    assert_eq!(
        (&answer["gatewayUrl"], &answer["urlSource"]),
        (&json!("wss://remote.example"), &json!("gateway.remote.url"))
    );
    stop(gateway);
    assert_eq!(config_text(&settings), before);
}
