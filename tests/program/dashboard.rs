//! `dashboard`: the link is shown, opens the page that comes with the program, and lets one browser in, once.

use crate::RUNTIMES;
use crate::shell::{configured, run, run_showing, start, stop, with_text};
use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_support::{Program, TestClient, client, secrets};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// A browser that opened the link, as its page would connect.
fn browser(gateway: &Program, key: &DeviceKey, secret: &str) -> ClientConfig {
    let mut config = client::config(gateway.addr(), None, Some(key.clone()));
    config.client.id = "openclaw-control-ui".to_owned();
    config.client.mode = "webchat".to_owned();
    config.scopes = ["operator.admin", "operator.approvals", "operator.pairing"].map(str::to_owned).to_vec();
    config.origin = Some(format!("http://{}", gateway.addr()));
    config.auth.bootstrap_token = Some(secret.to_owned());
    config
}

/// What a browser gets at the gateway's own address.
fn answer(gateway: &Program) -> String {
    let mut socket = TcpStream::connect(gateway.addr()).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_link_lets_one_browser_in_once() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        // Without a terminal, the link alone.
        let shown = run_showing(&settings, "dashboard");
        let link = shown.done().strip_suffix('\n').unwrap().to_owned();
        let (page, fragment) = link.split_once('#').unwrap();
        assert_eq!(page, format!("http://{}/", gateway.addr()));
        let secret = fragment.strip_prefix("bootstrapToken=").unwrap();
        let secret = secret.strip_suffix("&bootstrapProfile=owner").unwrap();
        secrets::record(secret);
        assert!(!link.contains(&gateway.token()), "never the gateway's own");

        let served = answer(&gateway);
        assert!(
            served.contains("200 OK") && served.contains("default-src 'none'; script-src 'self'"),
            "{served}"
        );

        let (key, other) = (client::fresh_key(), client::fresh_key());
        let admitted = TestClient::connect(gateway.addr(), browser(&gateway, &key, secret)).unwrap();
        assert!(admitted.device_token().is_some());
        assert!(run(&settings, "devices list").done().contains(&key.device_id()[..8]));
        for key in [&key, &other] {
            let again = browser(&gateway, key, secret);
            let refusal = TestClient::connect(gateway.addr(), again).map(drop).unwrap_err();
            assert_eq!(refusal.detail_code(), Some("AUTH_BOOTSTRAP_TOKEN_INVALID"), "{refusal:?}");
        }
        let answer = run_showing(&settings, "dashboard --json").json();
        secrets::record(answer["url"].as_str().unwrap().split(['=', '&']).nth(1).unwrap());
        assert_eq!((&answer["auth"], &answer["builtIn"]), (&"token".into(), &true.into()));
        assert!(answer["expiresAtMs"].as_u64().is_some());
        admitted.close(1000, "");
        stop(gateway);
    }
}

#[test]
fn every_answer_carries_the_transport_policy_of_its_owner() {
    for (policy, sent) in [(r#""max-age=63072000""#, true), (r#"" ""#, false), ("false", false)] {
        let text = format!(
            r#"{{gateway: {{mode: "local", auth: {{mode: "none"}}, http: {{securityHeaders: {{strictTransportSecurity: {policy}}}}}}}}}"#
        );
        let settings = with_text(RUNTIMES[0], &text);
        let gateway = start(&settings);
        let answer = answer(&gateway);
        assert_eq!(answer.contains("\r\nStrict-Transport-Security: max-age=63072000\r\n"), sent, "{answer}");
        assert_eq!(answer.contains("Strict-Transport"), sent, "{answer}");
        stop(gateway);
    }
}

#[test]
fn where_no_page_is_served_no_link_is_made() {
    let text = r#"{gateway: {mode: "local", auth: {mode: "none"}, controlUi: {basePath: "desk"}}}"#;
    let settings = with_text(RUNTIMES[0], text);
    let gateway = start(&settings);
    // Nobody is asked for anything: the address is all.
    assert_eq!(run(&settings, "dashboard").done(), format!("http://{}/desk/\n", gateway.addr()));
    stop(gateway);
    for (auth, code) in [(r#"{mode: "token", token: "cLaWmArKeR-dashboard"}"#, 5), (r#"{mode: "none"}"#, 1)] {
        let text = format!(r#"{{gateway: {{mode: "local", auth: {auth}, controlUi: {{enabled: false}}}}}}"#);
        let settings = with_text(RUNTIMES[0], &text);
        let gateway = start(&settings);
        run(&settings, "dashboard").failed(code, &["gateway.controlUi.enabled is false"]);
        assert!(answer(&gateway).contains("404"));
        stop(gateway);
    }
}
