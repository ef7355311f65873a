//! Ways in that need something beside the gateway: a daemon of the tailnet, a proxy, secrets in other files.

use crate::RUNTIMES;
use crate::daemon::{Daemon, Mood};
use crate::shell::{configured, run, start, stop, unconfigured, with_text};
use clawgate_proto::client::ClientConfig;
use clawgate_support::{Program, Settings, TestClient, client, secrets};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

/// The gateway looks at its files every five seconds.
const LOOK_AGAIN: Duration = Duration::from_millis(6_000);

/// A new device that comes as Tailscale Serve would bring it, and shows no secret.
fn by_serve(gateway: &Program, ip: &str) -> Option<String> {
    let mut config = client::config(gateway.addr(), None, Some(client::fresh_key()));
    for (name, value) in [
        ("X-Forwarded-For", ip),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "gw.tail1.ts.net"),
        ("Tailscale-User-Login", "ada@example"),
    ] {
        config.headers.push((name.to_owned(), value.to_owned()));
    }
    code(gateway, config)
}

/// Which code it is turned away with; none when it is let in.
fn code(gateway: &Program, config: ClientConfig) -> Option<String> {
    match TestClient::connect(gateway.addr(), config) {
        Ok(_) => None,
        Err(refusal) => Some(refusal.detail_code().unwrap_or("no code").to_owned()),
    }
}

fn own_settings(settings: &Settings, text: &str) {
    fs::create_dir_all(settings.state_dir()).unwrap();
    fs::write(settings.state_dir().join("clawgate.json"), text).unwrap();
}

#[test]
fn a_tailnet_identity_is_what_the_daemon_of_this_machine_says() {
    for runtime in RUNTIMES {
        let token = secrets::chosen("gateway-token");
        let text = format!(
            "{{gateway: {{mode: 'local', auth: {{mode: 'token', token: '{token}'}}, tailscale: {{mode: 'serve'}}}}}}"
        );
        let settings = with_text(runtime, &text).env("OPENCLAW_TAILNET_DNS", "gw.tail1.ts.net");
        let (socket, nothing) = (settings.temporary_dir().join("tailscaled.sock"), settings.state_dir());
        let settings = settings.env("PATH", nothing);
        own_settings(&settings, &format!("{{tailscale: {{socket: '{}'}}}}", socket.display()));
        let gateway = start(&settings);
        let (approval, failed) = (Some("PAIRING_REQUIRED"), Some("AUTH_TAILSCALE_WHOIS_FAILED"));
        // Each answer holds for an address: so every question is about another one.
        assert_eq!(by_serve(&gateway, "100.64.0.1").as_deref(), failed, "there is no daemon");
        let daemon = Daemon::listen(&socket);
        assert_eq!(by_serve(&gateway, "100.64.0.2").as_deref(), failed, "it does not know the address");
        daemon.is(Mood::Babbles);
        assert_eq!(by_serve(&gateway, "100.64.0.3").as_deref(), failed, "what it says is no answer");
        daemon.is(Mood::Knows("eve@example"));
        assert_eq!(by_serve(&gateway, "100.64.0.4").as_deref(), Some("AUTH_TAILSCALE_IDENTITY_MISMATCH"));
        daemon.is(Mood::Silent);
        let asked = Instant::now();
        assert_eq!(by_serve(&gateway, "100.64.0.5").as_deref(), failed, "it says nothing");
        assert!(asked.elapsed() < Duration::from_secs(9), "a silent daemon is not waited for");
        daemon.is(Mood::Knows("Ada@Example"));
        for _ in 0..3 {
            assert_eq!(by_serve(&gateway, "100.64.0.7").as_deref(), approval);
        }
        assert_eq!(daemon.asked(), 1, "what it said holds for a minute");
        run(&settings, "devices list").done();
        let said = stop(gateway);
        for want in [
            "tailscale.whois-failed",
            "there is no ",
            "does not answer within",
            "there is no program `tailscale` on PATH",
        ] {
            assert!(said.contains(want), "{want} not in {said}");
        }
    }
}

#[test]
fn a_secret_is_fetched_from_where_the_file_points() {
    // Compatibility row secret-refs.
    for runtime in RUNTIMES {
        let settings = unconfigured(runtime);
        let place = settings.temporary_dir().join("secrets.json");
        let store = |secret: &str| {
            fs::write(&place, json!({"gateway": {"token": secret}}).to_string()).unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
        };
        let (first, second) = (secrets::chosen("fetched-first"), secrets::chosen("fetched-second"));
        let text = format!(
            "{{gateway: {{mode: 'local', auth: {{mode: 'token', token: {{source: 'file', provider: 'mine', id: \
             '/gateway/token'}}}}}}, secrets: {{providers: {{mine: {{source: 'file', path: '{}'}}}}}}}}",
            place.display()
        );
        fs::create_dir_all(settings.state_dir()).unwrap();
        fs::write(settings.config_path(), text).unwrap();
        run(&settings, "gateway").failed(
            1,
            &[
                "gateway.auth.token: the secret cannot be fetched from the file ",
                "secrets.json (provider mine): No such",
            ],
        );
        assert!(!settings.state_dir().join("identity").exists(), "a refused start leaves nothing behind");
        store(&first);
        let gateway = start(&settings);
        let with = |secret: &str| {
            code(&gateway, client::config(gateway.addr(), Some(secret), Some(client::fresh_key())))
        };
        assert_eq!(with(&first), None);
        assert_eq!(with(&second).as_deref(), Some("AUTH_TOKEN_MISMATCH"));
        // The clients of this machine find it in the same place.
        run(&settings, "health").done();
        // Rotated without a restart, and without a word in the configuration file.
        let bare = client::config_as(gateway.addr(), "cli", "cli", Some(&first), None);
        let mut old = TestClient::connect(gateway.addr(), bare).unwrap();
        store(&second);
        let closed = old.wait_closed(LOOK_AGAIN * 2);
        assert_eq!(closed.map(|closed| closed.code), Some(4001), "who came in with the old one is closed");
        assert_eq!(with(&first).as_deref(), Some("AUTH_TOKEN_MISMATCH"));
        assert_eq!(with(&second), None);
        // One that cannot be had changes nothing.
        fs::remove_file(&place).unwrap();
        std::thread::sleep(LOOK_AGAIN);
        assert_eq!(with(&second), None);
        let said = stop(gateway);
        let from =
            format!("token, from the file {} (provider mine), as gateway.auth.token says", place.display());
        assert!(said.contains(&from) && said.contains("config.not-in-force"), "{said}");
    }
}

#[test]
fn a_secret_that_anybody_would_try_opens_nothing_beyond_loopback() {
    // Compatibility row weak-secret.
    for line in
        ["gateway --bind lan --token changeme", "gateway --bind lan --auth password --password letmein"]
    {
        let settings = unconfigured(RUNTIMES[0]);
        run(&settings, line)
            .failed(1, &["Refusing to bind the gateway beyond loopback (bind lan)", "openssl rand"]);
        assert!(!settings.state_dir().exists(), "a refused start leaves nothing behind");
    }
    stop(start(&unconfigured(RUNTIMES[0]).arg("--token").arg("changeme")));
}

#[test]
fn a_proxy_that_names_users_is_believed_with_its_proof_only() {
    for runtime in RUNTIMES {
        let text = "{gateway: {mode: 'local', trustedProxies: ['127.0.0.1'], auth: {mode: 'trusted-proxy', trustedProxy: \
                    {userHeader: 'X-User', allowUsers: ['ada']}}, controlUi: {allowedOrigins: ['https://gw.example']}}}";
        let settings = with_text(runtime, text);
        run(&settings, "gateway")
            .failed(1, &["every program of this machine could say that it is the proxy"]);
        // The command line does not come through the proxy: it is paired before, as the guide says.
        let token = secrets::chosen("before-the-proxy");
        let with_token = settings.clone().env("OPENCLAW_GATEWAY_TOKEN", &token);
        fs::write(settings.config_path(), text.replace("127.0.0.1", "192.0.2.1")).unwrap();
        let before = start(&with_token.clone().arg("--auth").arg("token"));
        run(&with_token, "status").done();
        stop(before);
        fs::write(settings.config_path(), text).unwrap();
        let proof = secrets::chosen("the-proof-of-the-proxy");
        own_settings(&settings, "{trustedProxy: {proofHeader: 'X-Proof', proof: '${PROOF}'}}");
        let gateway = start(&settings.clone().env("PROOF", &proof));
        let page = |headers: &[(&str, &str)]| {
            let mut config = client::config_as(gateway.addr(), "openclaw-control-ui", "webchat", None, None);
            config.origin = Some("https://gw.example".to_owned());
            config.headers =
                headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            config
        };
        let from = ("X-Forwarded-For", "203.0.113.7");
        let good = page(&[from, ("X-User", "ada"), ("X-Proof", &proof)]);
        let mut admitted = TestClient::connect(gateway.addr(), good).unwrap();
        assert!(admitted.call("device.pair.list", json!({})).is_ok(), "it may do what it asked for");
        let forged = page(&[from, ("X-User", "ada"), ("X-Proof", "cLaWmArKeR-guess")]);
        assert_eq!(code(&gateway, forged).as_deref(), Some("CONTROL_UI_DEVICE_IDENTITY_REQUIRED"));
        run(&settings, "token").failed(1, &["this gateway lets in whom its proxy names"]);
        run(&settings, "devices list").done();
        let said = stop(gateway);
        assert!(said.contains("trusted_proxy_proof_mismatch"), "{said}");
    }
}

#[test]
fn a_refused_page_is_told_in_the_log_what_to_list() {
    let settings = configured(RUNTIMES[0]);
    let gateway = start(&settings);
    let mut page =
        client::config_as(gateway.addr(), "openclaw-control-ui", "webchat", Some(&gateway.token()), None);
    page.origin = Some("https://desk.example".to_owned());
    assert_eq!(code(&gateway, page).as_deref(), Some("CONTROL_UI_ORIGIN_NOT_ALLOWED"));
    let said = stop(gateway);
    assert!(
        said.contains("https://desk.example") && said.contains("gateway.controlUi.allowedOrigins"),
        "{said}"
    );
}
