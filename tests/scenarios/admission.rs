//! Ways in that rest on somebody else's word: a proxy that names its users, a tailnet's daemon, pages and their origins; and
//! how often a wrong secret may be tried.

use super::{ADMIN, PROTOCOLS, asking, refused, request_id, speaking};
use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_proto::config::{AuthMode, Config, RateLimit, TrustedProxy};
use clawgate_proto::host::Document;
use clawgate_proto::net::Cidr;
use clawgate_proto::secret::Secret;
use clawgate_support::client::Refusal;
use clawgate_support::stage::{ANSWER_MS, shared_token};
use clawgate_support::{Place, Stage};
use serde_json::{Value, json};

const PROOF: &str = "cLaWmArKeR-proxy-proof";

/// A gateway behind a proxy on loopback that proves itself.
fn proxied(config: &mut Config) {
    config.auth.mode = AuthMode::TrustedProxy;
    config.trusted_proxies = vec![Cidr::parse("127.0.0.0/8").unwrap()];
    config.allowed_origins = vec!["https://desk.example".to_owned()];
    config.auth.trusted_proxy = Some(TrustedProxy {
        user_header: "x-forwarded-user".to_owned(),
        required_headers: vec!["X-Forwarded-Proto".to_owned()],
        allow_users: vec!["ada@example".to_owned()],
        proof: Secret::new(PROOF).map(|proof| ("x-proof".to_owned(), proof)),
        trusts_loopback: false,
    });
}

fn with_headers(mut config: ClientConfig, headers: &[(&str, &str)]) -> ClientConfig {
    config.auth.token = None;
    config.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    config
}

/// What the proxy sends for its user.
const BY_THE_PROXY: [(&str, &str); 4] = [
    ("X-Forwarded-For", "203.0.113.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-User", "ada@example"),
    ("X-Proof", PROOF),
];

fn reason(refusal: &Refusal) -> Option<&str> {
    refusal.error.as_ref().and_then(|error| error.detail("authReason"))
}

pub(crate) fn a_proxys_user_is_let_in_and_its_page_keeps_its_scopes(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, proxied);
        let page = ClientConfig {
            origin: Some("https://desk.example".to_owned()),
            ..stage.client_as("openclaw-control-ui", "webchat", None)
        };
        let page = asking(&[ADMIN], speaking(protocol, with_headers(page, &BY_THE_PROXY)));
        let (actor, hello) = stage.admit(page.clone());
        assert!(hello.device_token().is_none(), "a page of a proxy gets no token");
        stage.call(actor, "device.pair.list", json!({})).unwrap();
        // With a device it is not paired either, and is in all the same.
        let key = stage.key();
        let (_, hello) = stage.admit(ClientConfig { identity: Some(key), ..page.clone() });
        assert!(hello.device_token().is_none());
        let list = stage.call(actor, "device.pair.list", json!({})).unwrap();
        assert_eq!(list["paired"], json!([]));
        // No other page, whoever its user is.
        let foreign = ClientConfig { origin: Some("https://evil.example".to_owned()), ..page };
        assert_eq!(refused(&mut stage, foreign).detail_code(), Some("CONTROL_UI_ORIGIN_NOT_ALLOWED"));
        // Another client without a device has no scopes, whatever it or a header says (CVE-2026-53821).
        let scopes = ("X-OpenClaw-Scopes", ADMIN);
        let headers: Vec<_> = BY_THE_PROXY.into_iter().chain([scopes]).collect();
        let tool = with_headers(stage.client_as("cli", "cli", None), &headers);
        let (tool, _) = stage.admit(asking(&[ADMIN], speaking(protocol, tool)));
        let error = stage.call(tool, "device.pair.list", json!({})).unwrap_err();
        assert_eq!(error.message, "missing scope: operator.pairing");
        // And one with a device is paired by a person.
        let key = stage.key();
        let device = with_headers(stage.client(Some(key)), &BY_THE_PROXY);
        let refusal = refused(&mut stage, speaking(protocol, device));
        assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"));
    }
}

/// What the proxy says that its user may do is the most that it may do, whatever it asks for.
pub(crate) fn a_proxy_narrows_what_its_user_may_do(place: Place) {
    const ASKED: [&str; 3] = [ADMIN, "operator.approvals", "operator.pairing"];
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, proxied);
        let page = ClientConfig {
            origin: Some("https://desk.example".to_owned()),
            ..stage.client_as("openclaw-control-ui", "webchat", None)
        };
        let page = asking(&ASKED, speaking(protocol, page));
        let capped = |config: &ClientConfig, caps: &[&str]| {
            let caps = caps.iter().map(|cap| ("X-OpenClaw-Scopes", *cap));
            with_headers(config.clone(), &BY_THE_PROXY.into_iter().chain(caps).collect::<Vec<_>>())
        };
        let all = ["status", "exec.approvals.get", "device.pair.list"];
        for (caps, allowed) in [
            (&[][..], &all[..]),
            (&[ADMIN], &all),
            (&["operator.read, operator.pairing"], &["status", "device.pair.list"]),
            (&["operator.read"], &["status"]),
            (&["operator.read,operator.pairing", "operator.read"], &["status"]),
            (&["operator.read", ADMIN], &["status"]),
            (&["", ADMIN], &[]),
            (&[""], &[]),
            (&[" , "], &[]),
            (&["operator.nothing"], &[]),
        ] {
            let (actor, _) = stage.admit(capped(&page, caps));
            let may = all.iter().filter(|method| stage.call(actor, method, json!({})).is_ok());
            assert_eq!(may.copied().collect::<Vec<_>>(), allowed, "{caps:?}");
        }
        // A device is asked about as far as it is let.
        let admin = stage.admit(capped(&page, &[])).0;
        let key = stage.key();
        let device =
            asking(&["operator.read", "operator.write"], speaking(protocol, stage.client(Some(key.clone()))));
        let waits = request_id(&refused(&mut stage, capped(&device, &["operator.read"])));
        let list = stage.call(admin, "device.pair.list", json!({})).unwrap();
        assert_eq!(list["pending"][0]["scopes"], json!(["operator.read"]));
        stage.call(admin, "device.pair.approve", json!({"requestId": waits})).unwrap();
        let (actor, _) = stage.admit(capped(&device, &["operator.read"]));
        stage.call(actor, "status", json!({})).unwrap();
        let (actor, _) = stage.admit(capped(&device, &[""]));
        let error = stage.call(actor, "status", json!({})).unwrap_err();
        assert_eq!(error.message, "missing scope: operator.read");
        // A plain request is a reader's.
        for (cap, reads) in
            [(None, true), (Some("operator.read"), true), (Some(ADMIN), true), (Some(""), false)]
        {
            let caps = cap.map(|cap| ("X-OpenClaw-Scopes", cap));
            let headers: Vec<_> = BY_THE_PROXY.into_iter().chain(caps).collect();
            let ready = super::canvas::send(&mut stage, "GET", "/readyz", true, &headers);
            assert_eq!((ready.status, ready.text().contains("uptimeMs")), (200, reads), "{cap:?}");
        }
        // What is no proxy narrows nothing, and what is one gives nothing.
        let wider = capped(&device, &["operator.read,operator.write"]);
        assert_eq!(refused(&mut stage, wider).detail_code(), Some("PAIRING_REQUIRED"));
        let mut stage = Stage::new(place);
        let mut config = asking(&[ADMIN], speaking(protocol, stage.client(Some(key))));
        config.headers.push(("X-OpenClaw-Scopes".to_owned(), String::new()));
        let (actor, _) = stage.admit(config);
        stage.call(actor, "device.pair.list", json!({})).unwrap();
    }
}

pub(crate) fn a_local_program_is_not_the_proxy(place: Place) {
    // Compatibility rows proxy-proof and proxy-headers.
    // CVE-2026-53832: it comes from the proxy's address and sends the proxy's headers.
    for protocol in PROTOCOLS {
        let without = |name: &str| -> Vec<(&str, &str)> {
            BY_THE_PROXY.into_iter().filter(|(have, _)| *have != name).collect()
        };
        let with = |name: &'static str, value: &'static str| {
            let mut headers = without(name);
            headers.push((name, value));
            headers
        };
        let twice = |name: &'static str, value: &'static str| {
            let mut headers = BY_THE_PROXY.to_vec();
            headers.push((name, value));
            headers
        };
        let (unauthorized, needs_header) = ("AUTH_UNAUTHORIZED", "AUTH_IDENTITY_HEADER_REQUIRED");
        let missing = if protocol == 3 { unauthorized } else { needs_header };
        let mut stage = Stage::with(place, proxied);
        for (headers, why, code) in [
            (without("X-Proof"), "trusted_proxy_proof_mismatch", unauthorized),
            (with("X-Proof", "cLaWmArKeR-guess"), "trusted_proxy_proof_mismatch", unauthorized),
            (twice("X-Proof", PROOF), "trusted_proxy_proof_mismatch", unauthorized),
            (without("X-Forwarded-Proto"), "trusted_proxy_missing_header_X-Forwarded-Proto", missing),
            (with("X-Forwarded-Proto", " "), "trusted_proxy_missing_header_X-Forwarded-Proto", missing),
            (without("X-Forwarded-User"), "trusted_proxy_user_missing", unauthorized),
            (twice("X-Forwarded-User", "eve@example"), "trusted_proxy_user_missing", unauthorized),
            (with("X-Forwarded-User", "ADA@example"), "trusted_proxy_user_not_allowed", unauthorized),
        ] {
            let key = stage.key();
            let mut config = with_headers(stage.client(Some(key)), &headers);
            config.auth.password = Some("cLaWmArKeR-nothing".to_owned());
            let refusal = refused(&mut stage, speaking(protocol, config));
            assert_eq!((reason(&refusal), refusal.detail_code()), (Some(why), Some(code)), "{headers:?}");
            let message = refusal.error.as_ref().unwrap().message.as_str();
            assert_eq!((message, refusal.close().unwrap().0), ("unauthorized", 1008));
        }
        assert!(stage.host().has_logged("peer.proxy-refused"));
        let forge = |stage: &mut Stage| {
            let key = stage.key();
            let config = with_headers(stage.client(Some(key)), &BY_THE_PROXY);
            reason(&refused(stage, speaking(protocol, config))).map(str::to_owned)
        };
        let loopback = Some("trusted_proxy_loopback_source".to_owned());
        let without_proof = |config: &mut Config| {
            proxied(config);
            config.auth.trusted_proxy.as_mut().unwrap().proof = None;
        };
        let mut stage = Stage::with(place, without_proof);
        assert_eq!(forge(&mut stage), loopback, "nothing proves that it is the proxy");
        let mut stage = Stage::with(place, |config| {
            proxied(config);
            config.trusted_proxies = vec![Cidr::parse("0.0.0.0/0").unwrap()];
        });
        assert_eq!(forge(&mut stage), loopback, "a wide range does not name this machine");
        let mut stage = Stage::with(place, |config| {
            proxied(config);
            config.trusted_proxies = vec![Cidr::parse("192.0.2.1").unwrap()];
        });
        assert_eq!(forge(&mut stage), Some("trusted_proxy_untrusted_source".to_owned()));
        // Its owner may have said that every local program is as good as the proxy.
        let mut stage = Stage::with(place, |config| {
            without_proof(config);
            config.auth.trusted_proxy.as_mut().unwrap().trusts_loopback = true;
        });
        assert_eq!(forge(&mut stage), None, "past the proxy's part, the device waits for a person");
    }
}

/// Tailscale Serve's headers for this address and login.
fn served<'a>(ip: &'a str, login: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("X-Forwarded-For", ip),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "gw.tail1.ts.net"),
        ("Tailscale-User-Login", login),
    ]
}

pub(crate) fn a_tailnet_identity_counts_when_the_daemon_agrees(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| config.auth.allow_tailscale = true);
        stage.host().set_whois([100, 64, 0, 7], "Ada@Example");
        let attempt = |stage: &mut Stage, headers: &[(&str, &str)], token: Option<&str>| {
            let key = stage.key();
            let mut config = speaking(protocol, with_headers(stage.client(Some(key)), headers));
            config.auth.token = token.map(str::to_owned);
            refused(stage, config)
        };
        // Compatibility row tailscale-reasons. It stands in for the secret. The device is still a person's to approve.
        for _ in 0..3 {
            let refusal = attempt(&mut stage, &served("100.64.0.7", "ada@example"), None);
            assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"));
        }
        assert_eq!(stage.host().whois_asked(), 1, "what the daemon said is remembered");
        let mut without_proto = served("100.64.0.7", "ada@example").to_vec();
        without_proto.remove(1);
        let mut twice = served("100.64.0.7", "ada@example").to_vec();
        twice.push(("Tailscale-User-Login", "eve@example"));
        for (headers, why, code) in [
            (
                served("100.64.0.7", "eve@example").to_vec(),
                "tailscale_user_mismatch",
                "AUTH_TAILSCALE_IDENTITY_MISMATCH",
            ),
            (
                served("100.64.0.9", "ada@example").to_vec(),
                "tailscale_whois_failed",
                "AUTH_TAILSCALE_WHOIS_FAILED",
            ),
            (
                served("127.0.0.1", "ada@example").to_vec(),
                "tailscale_proxy_missing",
                "AUTH_TAILSCALE_PROXY_MISSING",
            ),
            (without_proto, "tailscale_proxy_missing", "AUTH_TAILSCALE_PROXY_MISSING"),
            (twice, "tailscale_user_missing", "AUTH_TAILSCALE_IDENTITY_MISSING"),
        ] {
            let refusal = attempt(&mut stage, &headers, None);
            assert_eq!((reason(&refusal), refusal.detail_code()), (Some(why), Some(code)));
        }
        // A wrong secret beside a claim that fails is a wrong secret.
        let refusal = attempt(&mut stage, &served("100.64.0.7", "eve@example"), Some("cLaWmArKeR-guess"));
        assert_eq!(reason(&refusal), Some("token_mismatch"));
        // Without a device, nobody is let in by a name.
        let bare = with_headers(stage.client_as("cli", "cli", None), &served("100.64.0.7", "ada@example"));
        let refusal = refused(&mut stage, speaking(protocol, bare));
        assert_eq!(refusal.detail_code(), Some("DEVICE_IDENTITY_REQUIRED"));
    }
}

/// Compatibility row `users-here`: who is vouched for has a profile while here, and nobody else has one.
pub(crate) fn who_is_vouched_for_is_somebody_while_here(place: Place) {
    let mut stage = Stage::with(place, |config| {
        proxied(config);
        let proxy = config.auth.trusted_proxy.as_mut().unwrap();
        proxy.allow_users.extend(["bob".to_owned(), "cid".to_owned(), "x".repeat(600)]);
        config.limits.users_listed_max = 2;
    });
    let page_of = |stage: &mut Stage, user: &str| {
        let mut headers = BY_THE_PROXY;
        headers[2].1 = user;
        let page = ClientConfig {
            origin: Some("https://desk.example".to_owned()),
            ..stage.client_as("openclaw-control-ui", "webchat", None)
        };
        stage.admit(asking(&[ADMIN], speaking(4, with_headers(page, &headers)))).0
    };
    let (ada, bob) = (page_of(&mut stage, "ada@example"), page_of(&mut stage, "bob"));
    let again = page_of(&mut stage, "ada@example");
    let profile = stage.call(ada, "users.self", json!({})).unwrap()["profile"].clone();
    assert_eq!((&profile["displayName"], &profile["emails"]), (&json!("ada"), &json!(["ada@example"])));
    assert_eq!(
        stage.call(again, "users.self", json!({})).unwrap()["profile"],
        profile,
        "one person, one profile"
    );
    let bobs = stage.call(bob, "users.self", json!({})).unwrap()["profile"].clone();
    assert_eq!((&bobs["displayName"], &bobs["emails"]), (&json!("bob"), &json!([])));
    assert_ne!(bobs["id"], profile["id"]);
    let list = stage.call(bob, "users.list", json!({})).unwrap();
    assert_eq!(list["profiles"], json!([profile, bobs.clone()]));
    page_of(&mut stage, "cid");
    assert_eq!(stage.call(bob, "users.list", json!({})).unwrap(), list, "no more than so many");
    // A name that is too long to be kept lets in, and is nobody's.
    let long = page_of(&mut stage, &"x".repeat(600));
    let error = stage.call(long, "users.self", json!({})).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("FORBIDDEN", "users.self requires an authenticated user")
    );
    stage.close(bob);
    let mut left = json!(null);
    for _ in 0..100 {
        left = stage.call(ada, "users.list", json!({})).unwrap()["profiles"].take();
        if left[1] != bobs {
            break;
        }
        stage.pass(50); // a real gateway may see the end of a socket a little later than its client
    }
    assert_eq!((&left[0], &left[1]["displayName"]), (&profile, &json!("cid")));

    // A tailnet's user likewise, and whoever has a secret is nobody in particular.
    let mut stage = Stage::with(place, |config| config.auth.allow_tailscale = true);
    stage.host().set_whois([100, 64, 0, 7], "Ada@Example");
    let key = stage.key();
    let with_secret = asking(&[ADMIN], speaking(4, stage.client(Some(key.clone()))));
    let (owner, _) = stage.admit(with_secret);
    assert!(stage.call(owner, "users.self", json!({})).is_err());
    let named = with_headers(stage.client(Some(key)), &served("100.64.0.7", "ada@example"));
    let (named, _) = stage.admit(asking(&[ADMIN], speaking(4, named)));
    let own = stage.call(named, "users.self", json!({})).unwrap();
    assert_eq!(own["profile"]["emails"], json!(["ada@example"]));
    assert_eq!(stage.call(owner, "users.list", json!({})).unwrap()["profiles"], json!([own["profile"]]));
}

pub(crate) fn guesses_beside_a_tailnet_identity_are_counted(place: Place) {
    let mut stage = Stage::with(place, |config| {
        config.auth.allow_tailscale = true;
        config.auth.rate_limit = Some(RateLimit { attempts_max: 3, ..RateLimit::default() });
    });
    stage.host().set_whois([100, 64, 0, 7], "ada@example");
    let hers = stage.key();
    let (_, hello) = super::device(&mut stage, 4, &hers);
    let own = hello.device_token().unwrap().to_owned();
    let shown = |stage: &mut Stage, key: &DeviceKey, token: &str, device_token: Option<&str>| {
        let mut config = with_headers(stage.client(Some(key.clone())), &served("100.64.0.7", "ada@example"));
        config.auth.token = Some(token.to_owned());
        config.auth.device_token = device_token.map(str::to_owned);
        config
    };
    // Her stored token, in either field or in both, as clients send it, is no guess.
    for n in 0..6 {
        let config = shown(&mut stage, &hers, &own, (n % 2 == 0).then_some(&own));
        let (actor, _) = stage.admit(config);
        stage.close(actor);
    }
    // What is no token of that device is one, wherever it stands.
    let guess = "cLaWmArKeR-guess";
    for (n, device_token) in [None, Some(guess), Some(own.as_str())].into_iter().enumerate() {
        let key = stage.key();
        let config = shown(&mut stage, &key, guess, device_token);
        assert_eq!(refused(&mut stage, config).detail_code(), Some("PAIRING_REQUIRED"), "{n}");
    }
    let key = stage.key();
    let config = shown(&mut stage, &key, guess, Some(guess));
    assert_eq!(refused(&mut stage, config).detail_code(), Some("AUTH_RATE_LIMITED"));
}

/// A right secret makes the limiter forget: a wrong one that did not count would be told from it by that.
pub(crate) fn guesses_while_the_store_fails_are_counted(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| {
            config.auth.rate_limit = Some(RateLimit { attempts_max: 3, ..RateLimit::default() });
        });
        stage.host().set_unreadable(Document::DevicesPaired, true);
        let key = stage.key();
        let guess = "cLaWmArKeR-guess";
        for (token, password, device_token) in
            [(Some(guess), None, None), (Some(guess), None, Some(guess)), (None, Some(guess), Some("x"))]
        {
            let mut config = speaking(protocol, super::from_afar(stage.client(Some(key.clone()))));
            config.auth.token = token.map(str::to_owned);
            config.auth.password = password.map(str::to_owned);
            config.auth.device_token = device_token.map(str::to_owned);
            let refusal = refused(&mut stage, config);
            assert_eq!(refusal.error.as_ref().unwrap().code, "UNAVAILABLE");
        }
        let right = super::from_afar(speaking(protocol, stage.client_as("cli", "cli", None)));
        assert_eq!(reason(&refused(&mut stage, right)), Some("rate_limited"));
    }
}

/// `probe-locked`.
pub(crate) fn a_bearer_that_is_locked_out_is_told_for_how_long(place: Place) {
    let mut stage = Stage::with(place, |config| {
        config.auth.rate_limit = Some(RateLimit { attempts_max: 3, ..RateLimit::default() });
    });
    // Its name is not this machine's: a page whose name was made to lead here looks like that.
    let ask = |stage: &mut Stage, path: &str, fields: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n{fields}\r\n");
        String::from_utf8(stage.exchange(request.as_bytes(), ANSWER_MS)).unwrap()
    };
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}\r\n");
    let right = bearer(&shared_token());
    let is_ready = |stage: &mut Stage| ask(stage, "/readyz", "").starts_with("HTTP/1.1 200 ");
    assert!((0..1_000).any(|_| is_ready(&mut stage)), "the store was never read");
    assert!(ask(&mut stage, "/readyz", &right).contains("uptimeMs"));
    // One count, whatever Origin says.
    for origin in ["", "Origin: https://desk.example\r\n", "Origin: http://127.0.0.1:1\r\n"] {
        let answer = ask(&mut stage, "/readyz", &(origin.to_owned() + &bearer("cLaWmArKeR-guess")));
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("uptimeMs"), "{answer}");
    }
    for origin in ["", "Origin: https://desk.example\r\n"] {
        for path in ["/readyz", "/startupz"] {
            let answer = ask(&mut stage, path, &(origin.to_owned() + &right));
            assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
            let after = answer.split_once("\r\nRetry-After: ").unwrap().1;
            let after: u64 = after.split_once("\r\n").unwrap().0.parse().unwrap();
            assert!((1..=300).contains(&after), "{after}");
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            let message = "Too many failed authentication attempts. Please try again later.";
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body, json!({"error": {"message": message, "type": "rate_limited"}}));
        }
    }
    // The probes are everybody's who shows nothing, and liveness also theirs who do.
    assert!(ask(&mut stage, "/readyz", "").starts_with("HTTP/1.1 200 "));
    assert!(ask(&mut stage, "/healthz", &right).starts_with("HTTP/1.1 200 "));
    // It is the count of the WebSockets.
    let tool = super::from_afar(stage.client_as("cli", "cli", None));
    assert_eq!(reason(&refused(&mut stage, tool)), Some("rate_limited"));
}

pub(crate) fn a_tailnet_identity_is_nothing_where_it_is_not_wanted(place: Place) {
    let mut stage = Stage::new(place);
    stage.host().set_whois([100, 64, 0, 7], "ada@example");
    let key = stage.key();
    let config = with_headers(stage.client(Some(key)), &served("100.64.0.7", "ada@example"));
    assert_eq!(reason(&refused(&mut stage, config)), Some("token_missing"));
    assert_eq!(stage.host().whois_asked(), 0);
}

pub(crate) fn a_daemon_that_is_silent_lets_nobody_in(place: Place) {
    let mut stage = Stage::with(place, |config| {
        config.auth.allow_tailscale = true;
        config.limits.whois_timeout_ms = 300;
    });
    stage.host().set_whois([100, 64, 0, 7], "ada@example");
    stage.hold_host(true);
    let key = stage.key();
    let config = with_headers(stage.client(Some(key)), &served("100.64.0.7", "ada@example"));
    let refusal = refused(&mut stage, config.clone());
    assert_eq!(reason(&refusal), Some("tailscale_whois_failed"));
    // It is not asked again for a while, and then once more.
    assert_eq!(reason(&refused(&mut stage, config.clone())), Some("tailscale_whois_failed"));
    stage.hold_host(false);
    if !place.is_real() {
        stage.pass(5_100);
        assert_eq!(refused(&mut stage, config).detail_code(), Some("PAIRING_REQUIRED"));
    }
}

pub(crate) fn only_so_many_wait_for_the_daemon(place: Place) {
    let mut stage = Stage::with(place, |config| {
        config.auth.allow_tailscale = true;
        config.limits.whois_waiting_max = 2;
    });
    stage.hold_host(true);
    let mut waiting = Vec::new();
    for ip in ["100.64.0.1", "100.64.0.2"] {
        let key = stage.key();
        let config = with_headers(stage.client(Some(key)), &served(ip, "ada@example"));
        waiting.push(stage.open(config));
    }
    stage.pass(200);
    let key = stage.key();
    let config = with_headers(stage.client(Some(key)), &served("100.64.0.3", "ada@example"));
    assert_eq!(reason(&refused(&mut stage, config)), Some("tailscale_whois_failed"));
    // One that leaves meanwhile is not decided about; the other is.
    stage.vanish(waiting[0]);
    stage.host().set_whois([100, 64, 0, 2], "ada@example");
    stage.hold_host(false);
    let refusal = *stage.admission(waiting[1]).unwrap_err();
    assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"));
}

pub(crate) fn a_refused_page_is_told_what_to_list(place: Place) {
    // Compatibility row origin-names.
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| {
            config.auth.pages.own_origins = vec!["http://192.0.2.2:18789".to_owned()];
        });
        let page = |stage: &mut Stage, origin: &str, forwarded: bool| {
            let key = stage.key();
            let mut config = ClientConfig {
                origin: Some(origin.to_owned()),
                ..speaking(protocol, stage.client_as("openclaw-control-ui", "webchat", Some(key)))
            };
            if forwarded {
                config = super::from_afar(config);
            }
            refused(stage, config)
        };
        let refusal = page(&mut stage, "HTTPS://Desk.example:443", false);
        let error = refusal.error.as_ref().unwrap();
        assert_eq!(error.detail("origin"), Some("https://desk.example"));
        assert_eq!(error.detail("setting"), Some("gateway.controlUi.allowedOrigins"));
        let message = "origin not allowed (open the Control UI from the gateway host or allow it in \
                       gateway.controlUi.allowedOrigins)";
        assert_eq!(error.message, message);
        // One of the gateway's own names needs no list, and a person all the same.
        let own = page(&mut stage, "http://192.0.2.2:18789", true);
        assert_eq!(own.detail_code(), Some("PAIRING_REQUIRED"));
        // Another port, or another scheme, is another server.
        for origin in ["http://192.0.2.2:1", "https://192.0.2.2:18789", "http://192.0.2.2"] {
            let refusal = page(&mut stage, origin, true);
            assert_eq!(refusal.error.as_ref().unwrap().detail("origin"), Some(origin));
        }
        // Loopback is the browser's own machine, which is not ours when it comes from elsewhere.
        let refusal = page(&mut stage, "http://localhost:18789", true);
        assert_eq!(refusal.detail_code(), Some("CONTROL_UI_ORIGIN_NOT_ALLOWED"));
    }
}

pub(crate) fn what_host_says_makes_no_page_ours_unless_the_owner_says_so(place: Place) {
    for (by_host, want) in [(false, "CONTROL_UI_ORIGIN_NOT_ALLOWED"), (true, "PAIRING_REQUIRED")] {
        let mut stage = Stage::with(place, |config| config.auth.pages.by_host = by_host);
        // DNS rebinding: the attacker's name leads to loopback, so both headers say it.
        let key = stage.key();
        let mut config = stage.client_as("openclaw-control-ui", "webchat", Some(key));
        config.host = "rebound.evil.example:18789".to_owned();
        config.origin = Some("http://rebound.evil.example:18789".to_owned());
        assert_eq!(refused(&mut stage, config).detail_code(), Some(want));
        assert_eq!(stage.host().has_logged("peer.page-by-host"), by_host);
    }
}

pub(crate) fn behind_an_untrusted_proxy_guesses_are_counted(place: Place) {
    // Compatibility row rate-limit-default.
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let guess = |stage: &mut Stage, forwarded: bool| {
            let mut config = speaking(protocol, stage.client_as("cli", "cli", None));
            config.auth.token = Some("cLaWmArKeR-guess".to_owned());
            refused(stage, if forwarded { super::from_afar(config) } else { config })
        };
        // The proxy sits on loopback, and whoever comes through it does not.
        for _ in 0..10 {
            assert_eq!(reason(&guess(&mut stage, true)), Some("token_mismatch"));
        }
        let refusal = guess(&mut stage, true);
        assert_eq!(reason(&refusal), Some("rate_limited"));
        let error = refusal.error.as_ref().unwrap();
        assert_eq!(error.retry_after_ms.is_some_and(|ms| ms > 290_000), protocol == 4);
        let right = super::from_afar(speaking(protocol, stage.client_as("cli", "cli", None)));
        assert_eq!(reason(&refused(&mut stage, right)), Some("rate_limited"), "the right one too");
        // Programs of this machine go on.
        for _ in 0..12 {
            assert_eq!(reason(&guess(&mut stage, false)), Some("token_mismatch"));
        }
        let direct = speaking(protocol, stage.client_as("cli", "cli", None));
        let (actor, _) = stage.admit(direct);
        let status = stage.call(actor, "status", json!({})).unwrap();
        assert_eq!(status["gateway"]["proxies"]["state"], "proxied-untrusted");
        assert_eq!(status["gateway"]["proxies"]["untrusted"], 12);
        assert_eq!(status["gateway"]["proxies"]["setting"], "gateway.trustedProxies");
        assert!(stage.host().has_logged("peer.proxied-untrusted"));
    }
}

pub(crate) fn two_secrets_in_one_connect_are_two_guesses(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let guess = |stage: &mut Stage, token: String, password: String| {
            let mut config = speaking(protocol, stage.client_as("cli", "cli", None));
            (config.auth.token, config.auth.password) = (Some(token), Some(password));
            refused(stage, super::from_afar(config))
        };
        let text = |what: &str, n: usize| format!("cLaWmArKeR-{what}-{n}");
        for n in 0..2 {
            let one = guess(&mut stage, text("same", n), text("same", n));
            assert_eq!(reason(&one), Some("token_mismatch"));
        }
        for n in 0..4 {
            let two = guess(&mut stage, text("token", n), text("password", n));
            assert_eq!(reason(&two), Some("token_mismatch"), "{n}");
        }
        let locked = guess(&mut stage, text("token", 9), text("token", 9));
        assert_eq!(reason(&locked), Some("rate_limited"), "ten secrets were looked at");
    }
}
