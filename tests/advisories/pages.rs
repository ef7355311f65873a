//! Pages in the browser of the person on this host: they reach loopback, and carry an `Origin` that they cannot forge.

use super::{PROTOCOLS, refused, speaking, with_password};
use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_proto::config::{AuthMode, ControlUi};
use clawgate_proto::host::files::FileRoot;
use clawgate_proto::secret::Secret;
use clawgate_support::stage::ANSWER_MS;
use clawgate_support::{Place, Stage, secrets};

/// A page of the bundled Control UI at this origin, as its browser would send it; `PORT` is the gateway's.
fn page(stage: &Stage, protocol: u64, origin: &str, key: DeviceKey) -> ClientConfig {
    let origin = origin.replace("PORT", &stage.config().port.to_string());
    let config = stage.client_as("openclaw-control-ui", "webchat", Some(key));
    speaking(protocol, ClientConfig { origin: Some(origin), ..config })
}

/// "ClawJacked", first half: any page could try passwords on the gateway of the host it was looked at on, without end,
/// since loopback was spared.
pub(crate) fn a_page_cannot_guess_the_password_from_loopback(place: Place) {
    for protocol in PROTOCOLS {
        let right = secrets::chosen("password");
        // Nobody configured a limit.
        let mut stage = Stage::with(place, |config| {
            config.auth.mode = AuthMode::Password;
            config.auth.password = Secret::new(&right);
        });
        let key = stage.key();
        let origins = ["http://127.0.0.1:PORT", "http://localhost:PORT", "http://localhost:1"];
        for n in 0..10 {
            let config = page(&stage, protocol, origins[n % 3], key.clone());
            let guess = secrets::chosen(&format!("guess-{n}"));
            let refusal = refused(&mut stage, with_password(&guess, config));
            assert_eq!(refusal.detail_code(), Some("AUTH_PASSWORD_MISMATCH"), "{n}");
        }
        let config = page(&stage, protocol, "http://127.0.0.1:PORT", key.clone());
        let refusal = refused(&mut stage, with_password(&right, config.clone()));
        assert_eq!(refusal.detail_code(), Some("AUTH_RATE_LIMITED"), "not even the right one is told apart");
        // The person's own tools, which are no page, are not locked out by it.
        let tool = speaking(protocol, stage.client_as("cli", "cli", None));
        stage.admit(with_password(&right, tool));
        if !place.is_real() {
            stage.pass(300_001);
            stage.admit(with_password(&right, config));
        }
    }
}

/// "ClawJacked", second half: a page was paired without a person being asked.
pub(crate) fn only_our_own_page_is_paired_silently(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| {
            config.allowed_origins = vec!["https://desk.example".to_owned()];
        });
        // Pages of other servers on this host, and one that may come in: they know the secret, and wait for a person.
        for origin in ["http://127.0.0.1:1", "http://localhost:3000", "https://desk.example"] {
            let key = stage.key();
            let config = page(&stage, protocol, origin, key);
            assert_eq!(refused(&mut stage, config).detail_code(), Some("PAIRING_REQUIRED"), "{origin}");
        }
        // Calling itself something else does not help a page.
        let key = stage.key();
        let mut config = page(&stage, protocol, "http://127.0.0.1:PORT", key);
        (config.client.id, config.client.mode) = ("cli".to_owned(), "cli".to_owned());
        assert_eq!(refused(&mut stage, config).detail_code(), Some("PAIRING_REQUIRED"));
        let key = stage.key();
        let config = page(&stage, protocol, "http://127.0.0.1:PORT", key);
        stage.admit(config);
        // Where no secret is asked for, none was proved.
        let mut stage = Stage::with(place, |config| config.auth.mode = AuthMode::None);
        let key = stage.key();
        let config = page(&stage, protocol, "http://127.0.0.1:PORT", key);
        assert_eq!(refused(&mut stage, config).detail_code(), Some("PAIRING_REQUIRED"));
    }
}

/// GHSA-5wcw-8jjv-m286: in one auth mode the origin of a page was not asked for.
pub(crate) fn a_foreign_page_comes_in_in_no_mode(place: Place) {
    for mode in [AuthMode::None, AuthMode::Token, AuthMode::Password] {
        for protocol in PROTOCOLS {
            let mut stage = Stage::with(place, |config| {
                config.auth.mode = mode;
                config.auth.password = config.auth.token.clone();
                config.allowed_origins = vec!["https://desk.example".to_owned()];
            });
            let foreign = [
                "http://evil.example",
                "https://evil.example:PORT",
                "http://127.0.0.1.evil.example:PORT",
                "http://localhost.evil.example:PORT",
                "http://desk.example",
                "https://desk.example:444",
                "https://desk.example.evil.example",
                "https://evil.example/https://desk.example",
                "null",
                "file://",
            ];
            for origin in foreign {
                let key = stage.key();
                let as_page = page(&stage, protocol, origin, key);
                let mut as_tool = as_page.clone();
                (as_tool.client.id, as_tool.client.mode) = ("cli".to_owned(), "cli".to_owned());
                let mut at_its_own_name = as_page.clone();
                at_its_own_name.host = "evil.example".to_owned();
                for config in [as_page, as_tool, at_its_own_name] {
                    let refusal = refused(&mut stage, config);
                    assert_eq!(refusal.detail_code(), Some("CONTROL_UI_ORIGIN_NOT_ALLOWED"), "{origin}");
                    assert_eq!(refusal.close().unwrap().0, 1008);
                }
            }
            // One that is listed may come, and one of ours is in where it proved the secret.
            let key = stage.key();
            let listed = page(&stage, protocol, "https://desk.example", key);
            assert_eq!(refused(&mut stage, listed).detail_code(), Some("PAIRING_REQUIRED"));
            let key = stage.key();
            let own = page(&stage, protocol, "http://127.0.0.1:PORT", key);
            assert_eq!(stage.try_admit(own).is_ok(), mode != AuthMode::None);
        }
    }
}

/// CVE-2026-25253: the control page took the gateway's address from its own query, and sent token and device identity
/// there. Here the page is the same whatever its address says, and what came with it is all that it may reach: a browser
/// lets it connect to its own origin only.
pub(crate) fn the_control_page_reaches_its_own_gateway_only(place: Place) {
    let mut stage = Stage::with(place, |config| {
        config.control_ui = Some(ControlUi { built_in: true, base_path: String::new() });
    });
    stage.host().put_file(FileRoot::ControlPage, "index.html", CONTROL_PAGE);
    let mut get = |target: &str| {
        let request = super::get(target, "");
        let answer = String::from_utf8(stage.exchange(request.as_bytes(), ANSWER_MS)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {head}");
        let policy = head.lines().find_map(|line| line.strip_prefix("Content-Security-Policy: ")).unwrap();
        (policy.to_owned(), body.to_owned())
    };
    let (policy, plain) = get("/");
    for query in
        ["?gatewayUrl=ws://evil.example/&token=x", "?gateway=wss%3A%2F%2Fevil.example", "?url=//evil.example"]
    {
        let (with, page) = get(&format!("/{query}"));
        assert_eq!((&with, &page), (&policy, &plain), "{query}");
        assert!(!page.contains("evil.example"));
    }
    let parts: Vec<&str> = policy.split("; ").collect();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
    ] {
        assert!(parts.contains(&part), "{part} not in {policy}");
    }
    // Also where somebody has put the page elsewhere, and its headers with it are lost.
    assert!(
        plain.contains("http-equiv=\"Content-Security-Policy\"") && plain.contains("connect-src 'self';")
    );
    // Its own gateway lets it in: it is a page of this origin that knows the secret.
    let key = stage.key();
    let config = page(&stage, 4, "http://127.0.0.1:PORT", key);
    stage.admit(config);
}

/// The page that comes with the program.
const CONTROL_PAGE: &str = include_str!("../../src/web/control/index.html");
