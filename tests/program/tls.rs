//! TLS of the built program: its certificate, who trusts it, what it says when it cannot serve, on both drivers.

use crate::RUNTIMES;
use crate::shell::{config_text, configured, run, run_showing, start, stop};
use clawgate::tls::{Secure, Trust, secure};
use clawgate_support::sealed::{TLS12, TLS13, distrustful_of, expired};
use clawgate_support::{Program, Settings, TestClient, client};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A gateway with TLS, and whatever else `gateway.tls` shall say.
fn sealed(runtime: &str, more: &Value) -> Settings {
    let settings = configured(runtime);
    let mut config: Value = serde_json::from_str(&config_text(&settings)).unwrap();
    config["gateway"]["tls"] = json!({ "enabled": true });
    for (name, value) in more.as_object().unwrap() {
        config["gateway"]["tls"][name] = value.clone();
    }
    settings.with_config(&config)
}

fn files(settings: &Settings) -> [PathBuf; 2] {
    let folder = settings.state_dir().join("gateway/tls");
    [folder.join("gateway-cert.pem"), folder.join("gateway-key.pem")]
}

fn fingerprint(settings: &Settings) -> String {
    let shown = run(settings, "gateway tls --json").json();
    assert_eq!((&shown["enabled"], &shown["minVersion"]), (&json!(true), &json!("1.3")));
    shown["sha256"].as_str().unwrap().to_owned()
}

/// A client that trusts this one certificate.
fn pinned(fingerprint: &str) -> Secure {
    secure(&Trust::Pin(fingerprint.to_owned()), "127.0.0.1").unwrap()
}

fn connect(gateway: &Program, secure: &Secure) -> Result<TestClient, String> {
    let token = gateway.token();
    let mut config = client::config(gateway.addr(), Some(&token), Some(client::fresh_key()));
    config.tls = Some(secure.connector());
    TestClient::connect(gateway.addr(), config).map_err(|refusal| format!("{refusal:?}"))
}

#[test]
fn a_certificate_is_made_once_and_its_gateway_is_trusted_by_it_alone() {
    for runtime in RUNTIMES {
        let settings = sealed(runtime, &json!({}));
        run(&settings, "status").failed(1, &["gateway-cert.pem is not there yet: start the gateway"]);
        let gateway = start(&settings);
        for path in files(&settings) {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
        }
        let known = fingerprint(&settings);
        let port = gateway.addr().port();
        // Commands of the same installation need to be told nothing.
        let status = run(&settings, "status");
        let want = [format!("wss://127.0.0.1:{port}/"), format!("sha256:{known}")];
        assert!(want.iter().all(|want| status.done().contains(want)), "{status:?}");
        let status = run(&settings, "status --json").json();
        assert_eq!(status["gateway"]["tlsSha256"], json!(known));
        run(&settings, "call health").done();
        assert!(run(&settings, "doctor").out.contains(&format!("wss://127.0.0.1:{port}")));
        let link = run_showing(&settings, "dashboard");
        assert!(link.done().starts_with(&format!("https://127.0.0.1:{port}/#bootstrapToken=")));

        let token = gateway.token();
        let other = |url: &str, more: &str| {
            run(&settings, &format!("status --json --url {url} --token {token} {more}"))
        };
        let wss = format!("wss://127.0.0.1:{port}");
        let stranger = other(&wss, "");
        assert_eq!(
            (stranger.code, &stranger.json()["error"]["code"]),
            (3, &json!("TLS_CERTIFICATE_UNTRUSTED"))
        );
        assert!(stranger.err.contains(&format!("--tls-fingerprint {known}")), "{stranger:?}");
        let spelt = known.to_uppercase();
        assert_eq!(other(&wss, &format!("--tls-fingerprint sha256:{spelt}")).json()["ok"], json!(true));
        let wrong = other(&wss, &format!("--tls-fingerprint {}", "0".repeat(64)));
        assert_eq!((wrong.code, &wrong.json()["error"]["code"]), (3, &json!("TLS_FINGERPRINT_MISMATCH")));
        // Whom the operating system trusts, for the names that the certificate is for.
        let trusting = settings.clone().env("SSL_CERT_FILE", &files(&settings)[0]);
        let by_name =
            |name: &str| run(&trusting, &format!("status --json --url wss://{name}:{port} --token {token}"));
        assert_eq!(by_name("localhost").json()["ok"], json!(true));
        assert_eq!(by_name("127.0.0.1").json()["ok"], json!(true));
        let elsewhere = by_name("127.0.0.2");
        assert_eq!(elsewhere.code, 3, "{elsewhere:?}");

        let clear = other(&format!("ws://127.0.0.1:{port}"), "");
        assert_eq!(clear.code, 3);
        assert!(clear.err.contains("This port speaks TLS"), "{clear:?}");

        let said = stop(gateway);
        assert!(said.contains(&format!("sha256:{known}")) || said.contains(&known), "{said}");
        assert!(said.contains("wss://127.0.0.1") && !said.contains("ws://127"), "{said}");
        let again = start(&settings);
        assert_eq!(fingerprint(&settings), known, "it is kept");
        stop(again);
    }
}

#[test]
fn only_the_versions_that_somebody_asked_for_are_spoken() {
    for runtime in RUNTIMES {
        let settings = sealed(runtime, &json!({}));
        let own = settings.config_path().with_file_name("clawgate.json");
        for (text, versions) in [("{}", &[true, false]), ("{tls: {minVersion: '1.2'}}", &[true, true])] {
            fs::write(&own, text).unwrap();
            let gateway = start(&settings);
            for (version, speaks) in [&TLS13, &TLS12].into_iter().zip(versions) {
                let mut config = client::config(gateway.addr(), None, None);
                config.tls = Some(distrustful_of(version));
                let refusal = TestClient::connect(gateway.addr(), config).map(drop).unwrap_err();
                let reason = refusal.closed.as_ref().map(|closed| closed.reason.as_str());
                let want = if *speaks {
                    "the gateway's certificate is not trusted"
                } else {
                    "the other side speaks no version of TLS that is spoken here"
                };
                assert_eq!(reason, Some(want), "{text}: {refusal:?}");
            }
            stop(gateway);
        }
    }
}

#[test]
fn a_new_certificate_is_shown_to_who_comes_and_nobody_is_sent_away() {
    for runtime in RUNTIMES {
        let settings = sealed(runtime, &json!({}));
        let gateway = start(&settings);
        let old = fingerprint(&settings);
        let mut stays = connect(&gateway, &pinned(&old)).unwrap();
        run(&settings, "gateway tls renew").failed(2, &["--yes"]);
        assert_eq!(fingerprint(&settings), old);
        let said = run(&settings, "gateway tls renew --yes");
        assert!(said.done().contains("Until then it shows the old one"), "{said:?}");
        let renewed = run(&settings, "gateway tls renew --yes --json").json();
        let new = renewed["sha256"].as_str().unwrap().to_owned();
        assert_ne!(new, old);
        for path in files(&settings) {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        // The gateway takes it up a moment later.
        let bound = Instant::now() + Duration::from_secs(30);
        let trusted = pinned(&new);
        while let Err(why) = connect(&gateway, &trusted) {
            assert!(Instant::now() < bound, "{why}");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(connect(&gateway, &pinned(&old)).is_err());
        stays.call("health", json!({})).unwrap();
        // What cannot be used is said, and changes nothing.
        let [certificate, _] = files(&settings);
        fs::write(&certificate, "nonsense").unwrap();
        while !gateway.output().contains("tls.certificate-unusable") {
            connect(&gateway, &trusted).map(drop).unwrap();
            assert!(Instant::now() < bound);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(stop(gateway).contains(&new));
    }
}

#[test]
fn what_cannot_be_served_by_tls_is_not_served() {
    let runtime = RUNTIMES[0];
    let settings = sealed(runtime, &json!({}));
    stop(start(&settings));
    let [certificate, key] = files(&settings);
    let (good, secret) = (fs::read(&certificate).unwrap(), fs::read(&key).unwrap());
    let refused = |want: &str| {
        let why = settings.start().map(drop).unwrap_err();
        assert!(why.contains("exit status: 1") && why.contains(want), "{want} not in {why}");
        assert!(!why.contains("listening"), "{why}");
    };
    fs::remove_file(&key).unwrap();
    refused("gateway tls: cert/key missing");
    fs::write(&key, "nonsense").unwrap();
    refused("it holds no private key that can be used");
    fs::write(&key, &secret).unwrap();
    fs::write(&certificate, "nonsense").unwrap();
    refused("it holds no certificate in PEM form");
    // Another one's key.
    fs::write(&certificate, &good).unwrap();
    let other = sealed(runtime, &json!({}));
    stop(start(&other));
    fs::copy(&files(&other)[1], &key).unwrap();
    refused("they do not belong together");
    fs::write(&key, &secret).unwrap();
    fs::write(&certificate, expired()).unwrap();
    refused("the certificate has expired (2021-01-01");
    let none = sealed(runtime, &json!({ "autoGenerate": false }));
    let why = none.start().map(drop).unwrap_err();
    assert!(why.contains("gateway.tls.autoGenerate is false") && !files(&none)[0].exists(), "{why}");
    let lost = sealed(runtime, &json!({ "caPath": "/nonexistent/ca.pem" }));
    let why = lost.start().map(drop).unwrap_err();
    assert!(why.contains("gateway.tls.caPath"), "{why}");
}

#[test]
fn files_of_ones_own_are_used_and_left_alone() {
    let made = sealed(RUNTIMES[0], &json!({}));
    stop(start(&made));
    let [certificate, key] = files(&made);
    for runtime in RUNTIMES {
        let own = json!({ "certPath": certificate, "keyPath": key, "autoGenerate": false });
        let settings = sealed(runtime, &own);
        let gateway = start(&settings);
        assert_eq!(fingerprint(&settings), fingerprint(&made));
        assert!(!files(&settings)[0].exists());
        run(&settings, "status").done();
        run(&settings, "gateway tls renew --yes").failed(1, &["gateway.tls.autoGenerate is false"]);
        stop(gateway);
    }
}

#[test]
fn where_tls_is_new_commands_say_that_the_gateway_has_to_be_restarted() {
    let settings = configured(RUNTIMES[0]);
    let gateway = start(&settings);
    run(&settings, "gateway tls").done();
    let mut config: Value = serde_json::from_str(&config_text(&settings)).unwrap();
    // Made by hand, as another installation would have it.
    let other = sealed(RUNTIMES[0], &json!({}));
    stop(start(&other));
    config["gateway"]["tls"] =
        json!({ "enabled": true, "certPath": files(&other)[0], "keyPath": files(&other)[1] });
    fs::write(settings.config_path(), config.to_string()).unwrap();
    run(&settings, "status").failed(3, &["does not speak TLS", "restart the gateway"]);
    drop(gateway);
}

#[test]
fn a_change_over_the_wire_that_nobody_could_serve_by_is_refused() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let before = config_text(&settings);
        let hash = run(&settings, "call config.get").json()["hash"].as_str().unwrap().to_owned();
        let raw = json!({"gateway": {"tls": {"enabled": true, "autoGenerate": false}}}).to_string();
        let params = json!({"raw": raw, "baseHash": hash}).to_string().replace(' ', "");
        run(&settings, &format!("call config.patch --params {params}"))
            .failed(5, &["invalid config", "cert/key missing"]);
        assert_eq!(config_text(&settings), before, "nothing was written");
        stop(gateway);
    }
}
