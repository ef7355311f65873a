//! Setup codes, more scopes for a device that is in, and what nodes may offer.

use super::{
    ADMIN, PROTOCOLS, admin, asking, device, event_names, from_afar, refused, request_id, speaking,
    with_token,
};
use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_proto::config::{AuthConfig, Config, ControlUi, RateLimit};
use clawgate_proto::host::config::LiveConfig;
use clawgate_proto::log::Level;
use clawgate_proto::secret::Secret;
use clawgate_support::{Actor, Place, Stage};
use serde_json::{Value, json};

/// What a code says.
fn code(stage: &mut Stage, operator: Actor, params: Value) -> (Value, Value) {
    let answer = stage.call(operator, "device.pair.setupCode", params).unwrap();
    let text = base64url(answer["setupCode"].as_str().unwrap());
    (answer, serde_json::from_slice(&text).unwrap())
}

fn base64url(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|have| *have == digit).expect("base64url without padding");
        (bits, count) = (bits << 6 | u32::try_from(value).unwrap(), count + 6);
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    out
}

/// A node on another machine that has a code and nothing else.
fn node_with(stage: &Stage, protocol: u64, key: &DeviceKey, code: &Value) -> ClientConfig {
    let mut config = from_afar(speaking(protocol, stage.client_as("node-host", "node", Some(key.clone()))));
    config.role = "node".to_owned();
    config.scopes = Vec::new();
    config.auth.token = None;
    config.auth.bootstrap_token = Some(code["bootstrapToken"].as_str().unwrap().to_owned());
    config
}

fn phone_with(stage: &Stage, protocol: u64, key: &DeviceKey, code: &Value) -> ClientConfig {
    let mut config = node_with(stage, protocol, key, code);
    config.client.id = "openclaw-ios".to_owned();
    config.client.platform = "iOS 18.4".to_owned();
    config.client.device_family = Some("iPhone".to_owned());
    config.client.display_name = Some("Pocket".to_owned());
    config
}

pub(crate) fn a_setup_code_lets_one_phone_in_once(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, 4);
        let params = json!({"publicUrl": "https://gw.example:443/x", "bootstrapProfile": "limited"});
        let (answer, code) = code(&mut stage, operator, params);
        assert_eq!(
            (&answer["gatewayUrl"], &answer["urlSource"]),
            (&json!("wss://gw.example"), &json!("request.publicUrl"))
        );
        assert_eq!((&answer["access"], &answer["auth"]), (&json!("limited"), &json!("token")));
        assert_eq!((&code["url"], &code["expiresAtMs"]), (&answer["gatewayUrl"], &answer["expiresAtMs"]));
        assert!(!answer.to_string().contains(&clawgate_support::stage::shared_token()));

        let setup_id = answer["setupId"].clone();
        let status = stage.call(operator, "device.pair.setupStatus", json!({"setupId": setup_id}));
        assert_eq!(status, Ok(json!({})));
        let (key, other) = (stage.key(), stage.key());
        let phone = phone_with(&stage, protocol, &key, &code);
        let (first, hello) = stage.admit(phone.clone());
        assert!(hello.device_token().is_some());
        let handed = hello.0["auth"]["deviceTokens"].clone();
        let completed = stage.event(operator, "device.pair.setup.completed").value();
        assert_eq!(
            [&completed["setupId"], &completed["deviceId"], &completed["access"], &completed["deviceName"]],
            [&setup_id, &json!(key.device_id()), &json!("limited"), &json!("Pocket")]
        );
        let status = stage.call(operator, "device.pair.setupStatus", json!({"setupId": setup_id}));
        assert_eq!(status, Ok(json!({"completion": completed})));
        if protocol == 4 {
            let token = &handed[0];
            assert_eq!((handed.as_array().unwrap().len(), &token["role"]), (1, &json!("operator")));
            let scopes: Vec<&str> =
                token["scopes"].as_array().unwrap().iter().map(|scope| scope.as_str().unwrap()).collect();
            assert!(!scopes.contains(&ADMIN) && scopes.contains(&"operator.write"));
            let mut as_operator = asking(&scopes, phone.clone());
            as_operator.role = "operator".to_owned();
            as_operator.auth.bootstrap_token = None;
            let (socket, _) =
                stage.admit(with_token(token["deviceToken"].as_str().unwrap(), as_operator.clone()));
            assert_eq!(stage.call(socket, "status", json!({})).map(|_| ()), Ok(()));
            let wider = asking(&[ADMIN], as_operator);
            let wider = with_token(token["deviceToken"].as_str().unwrap(), wider);
            assert_eq!(refused(&mut stage, wider).detail_code(), Some("AUTH_SCOPE_MISMATCH"));
        } else {
            assert_eq!(handed, Value::Null);
        }
        stage.close(first);
        for key in [&key, &other] {
            let again = phone_with(&stage, protocol, key, &code);
            assert_eq!(refused(&mut stage, again).detail_code(), Some("AUTH_BOOTSTRAP_TOKEN_INVALID"));
        }
    }
}

pub(crate) fn the_owners_link_lets_one_browser_in_once(place: Place) {
    // Row `dashboard-link`.
    const OWNER: [&str; 7] = [
        ADMIN,
        "operator.approvals",
        "operator.pairing",
        "operator.questions",
        "operator.read",
        "operator.talk.secrets",
        "operator.write",
    ];
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| {
            config.control_ui = Some(ControlUi { built_in: true, base_path: "/desk".to_owned() });
            config.allowed_origins = vec!["https://desk.example".to_owned()];
        });
        let operator = admin(&mut stage, 4);
        let (answer, code) = code(&mut stage, operator, json!({"bootstrapProfile": "control-ui-owner"}));
        let url = stage.origin().replacen("http", "ws", 1);
        assert_eq!(
            [&answer["gatewayUrl"], &answer["basePath"], &answer["builtIn"], &answer["access"]],
            [&json!(url), &json!("/desk"), &json!(true), &json!("control-ui-owner")]
        );
        assert!(!answer.to_string().contains(&clawgate_support::stage::shared_token()));
        let browser = |stage: &Stage, key: &DeviceKey, origin: &str| {
            let page = stage.client_as("openclaw-control-ui", "webchat", Some(key.clone()));
            let mut config = asking(&OWNER, from_afar(speaking(protocol, page)));
            config.origin = Some(origin.to_owned());
            config.auth.token = None;
            config.auth.bootstrap_token = Some(code["bootstrapToken"].as_str().unwrap().to_owned());
            config
        };
        let (key, other) = (stage.key(), stage.key());
        // Somebody else's page gets nowhere, and the link is none the worse for it.
        let foreign = browser(&stage, &other, "http://evil.example");
        assert_eq!(refused(&mut stage, foreign).detail_code(), Some("CONTROL_UI_ORIGIN_NOT_ALLOWED"));
        let page = browser(&stage, &key, "https://desk.example");
        let (first, hello) = stage.admit(page.clone());
        let token = hello.device_token().unwrap().to_owned();
        let (_, listed) = (first, stage.call(first, "device.pair.list", json!({})).unwrap());
        assert!(listed["paired"].to_string().contains(key.device_id()), "{listed}");
        stage.close(first);
        for key in [&key, &other] {
            let again = browser(&stage, key, "https://desk.example");
            assert_eq!(refused(&mut stage, again).detail_code(), Some("AUTH_BOOTSTRAP_TOKEN_INVALID"));
        }
        // From now on it is a device like any other.
        let mut back = page;
        back.auth.bootstrap_token = None;
        stage.admit(with_token(&token, back));
        assert!(
            !event_names(&stage.drain(operator)).iter().any(|name| name.starts_with("device.pair.setup"))
        );
        // Only who has everything makes such links.
        let key = stage.key();
        let lesser = asking(&["operator.pairing", "operator.write"], speaking(4, stage.client(Some(key))));
        let (lesser, _) = stage.admit(lesser);
        let params = json!({"bootstrapProfile": "control-ui-owner"});
        let error = stage.call(lesser, "device.pair.setupCode", params.clone()).unwrap_err();
        assert!(error.message.contains("operator.admin"), "{error}");
        let mut without = Stage::new(place);
        let operator = admin(&mut without, 4);
        let error = without.call(operator, "device.pair.setupCode", params).unwrap_err();
        assert!(error.message.contains("gateway.controlUi.enabled is false"), "{error}");
    }
}

pub(crate) fn a_code_that_a_person_must_confirm_waits_for_its_device(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 4);
    // Made for a phone, and shown by a node host.
    let (answer, code) = code(&mut stage, operator, json!({"publicUrl": "wss://gw.example"}));
    assert_eq!(answer["access"], "full");
    let (key, other) = (stage.key(), stage.key());
    let node = node_with(&stage, 4, &key, &code);
    let refusal = refused(&mut stage, node.clone());
    let error = refusal.error.as_ref().unwrap();
    assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"));
    assert_eq!(error.detail("recommendedNextStep"), Some("wait_then_retry"));
    let details = error.details.clone().unwrap();
    assert_eq!((&details["retryable"], &details["pauseReconnect"]), (&json!(true), &json!(false)));
    let stolen = node_with(&stage, 4, &other, &code);
    assert_eq!(refused(&mut stage, stolen).detail_code(), Some("AUTH_BOOTSTRAP_TOKEN_INVALID"));
    let id = request_id(&refusal);
    stage.call(operator, "device.pair.approve", json!({"requestId": id})).unwrap();
    let (_, hello) = stage.admit(node.clone());
    assert_eq!(hello.0["auth"].get("deviceTokens"), None);
    stage.event(operator, "device.pair.setup.completed");
    assert_eq!(refused(&mut stage, node).detail_code(), Some("AUTH_BOOTSTRAP_TOKEN_INVALID"));
}

pub(crate) fn guesses_at_codes_are_counted_apart(place: Place) {
    let mut stage = Stage::with(place, |config| {
        config.auth.rate_limit = Some(RateLimit { attempts_max: 3, ..RateLimit::default() });
    });
    let operator = admin(&mut stage, 4);
    let paired = stage.key();
    let (first, hello) = device(&mut stage, 4, &paired);
    stage.close(first);
    let key = stage.key();
    let guess = node_with(&stage, 4, &key, &json!({"bootstrapToken": "guessed"}));
    for _ in 0..3 {
        let refusal = refused(&mut stage, guess.clone());
        assert_eq!(refusal.detail_code(), Some("AUTH_BOOTSTRAP_TOKEN_INVALID"));
    }
    let made = json!({"publicUrl": "wss://gw.example", "bootstrapProfile": "node"});
    let (_, code) = code(&mut stage, operator, made);
    let right = node_with(&stage, 4, &key, &code);
    assert_eq!(refused(&mut stage, right).detail_code(), Some("AUTH_RATE_LIMITED"), "the right one too");
    // Whoever else is there comes in with the token of their device.
    let token = hello.device_token().unwrap().to_owned();
    let back = from_afar(speaking(4, stage.client(Some(paired))));
    stage.admit(with_token(&token, back));
}

pub(crate) fn a_code_is_over_in_ten_minutes(place: Place) {
    let mut stage = Stage::with(place, |config| {
        config.limits.setup_ttl_ms = if place.is_real() { 300 } else { 600_000 };
    });
    let operator = admin(&mut stage, 4);
    let (_, code) =
        code(&mut stage, operator, json!({"publicUrl": "wss://gw.example", "bootstrapProfile": "node"}));
    let key = stage.key();
    stage.pass(if place.is_real() { 400 } else { 600_001 });
    let late = node_with(&stage, 4, &key, &code);
    assert_eq!(refused(&mut stage, late).detail_code(), Some("AUTH_BOOTSTRAP_TOKEN_INVALID"));
}

/// `setup-codes`.
pub(crate) fn a_code_ends_with_the_secret_by_which_it_was_made(place: Place) {
    const NEW: &str = "cLaWmArKeR-the-next-one";
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        stage.host().edit_config(Some("{gateway: {mode: 'local'}}"));
        // The command line has no device: all that it showed is the secret.
        let tool = asking(&[ADMIN], speaking(4, stage.client_as("cli", "cli", None)));
        let (tool, _) = stage.admit(tool);
        let params = json!({"publicUrl": "wss://gw.example", "bootstrapProfile": "node"});
        let (_, by_secret) = code(&mut stage, tool, params.clone());
        let operator = admin(&mut stage, 4);
        let (_, by_device) = code(&mut stage, operator, params.clone());
        let config = stage.config().clone();
        stage.host().set_live_config(LiveConfig {
            config: Box::new(Config {
                auth: AuthConfig { token: Secret::new(NEW), ..config.auth.clone() },
                ..config
            }),
            log_level: Level::Trace,
        });
        let hash = stage.call(operator, "config.get", json!({})).unwrap()["hash"].clone();
        let raw = format!("{{gateway: {{auth: {{token: '{NEW}'}}}}}}");
        stage.call(operator, "config.patch", json!({"raw": raw, "baseHash": hash})).unwrap();
        assert_eq!(stage.closed(tool), (4001, "gateway auth changed".to_owned()));
        let (first, second) = (stage.key(), stage.key());
        let late = node_with(&stage, protocol, &first, &by_secret);
        assert_eq!(refused(&mut stage, late).detail_code(), Some("AUTH_BOOTSTRAP_TOKEN_INVALID"));
        // What a device made lasts as long as that device's rights.
        let node = node_with(&stage, protocol, &second, &by_device);
        stage.admit(node);
        // The next ones are as good as ever.
        let mut tool = asking(&[ADMIN], speaking(4, stage.client_as("cli", "cli", None)));
        tool.auth.token = Some(NEW.to_owned());
        let (tool, _) = stage.admit(tool);
        let (_, fresh) = code(&mut stage, tool, params);
        let node = node_with(&stage, protocol, &first, &fresh);
        stage.admit(node);
    }
}

pub(crate) fn only_admins_make_codes_and_only_where_there_is_an_address(place: Place) {
    let mut stage = Stage::new(place);
    let key = stage.key();
    let pairer = asking(&["operator.pairing"], stage.client(Some(key)));
    let (pairer, _) = stage.admit(pairer);
    let error = stage.call(pairer, "device.pair.setupCode", json!({})).unwrap_err();
    assert_eq!((error.code.as_str(), error.detail("missingScope")), ("FORBIDDEN", Some(ADMIN)));
    let operator = admin(&mut stage, 4);
    let error = stage.call(operator, "device.pair.setupCode", json!({})).unwrap_err();
    assert!(error.message.starts_with("Gateway is only bound to loopback. Set gateway.bind=lan"), "{error}");
    let error = stage.call(operator, "device.pair.setupCode", json!({"publicUrl": "ftp://x"})).unwrap_err();
    assert_eq!(error.code, "INVALID_REQUEST");
}

pub(crate) fn a_device_waits_for_more_scopes(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 4);
    let key = stage.key();
    let config = asking(&["operator.read"], stage.client(Some(key.clone())));
    let (socket, hello) = stage.admit(config.clone());
    let old = hello.device_token().unwrap().to_owned();
    let ask = |stage: &mut Stage| {
        let params = json!({"scopes": ["operator.write"]});
        let filed = stage.call(socket, "device.scopes.requestUpgrade", params).unwrap();
        let id = filed["requestId"].as_str().unwrap().to_owned();
        let waiting = stage.send(socket, "device.scopes.waitUpgrade", json!({"requestId": id}));
        (id, waiting)
    };
    // Turned down.
    let (id, waiting) = ask(&mut stage);
    let requested = stage.event(operator, "device.pair.requested").value();
    assert_eq!((&requested["requestId"], &requested["isRepair"]), (&json!(id), &json!(true)));
    assert_eq!(requested["scopes"], json!(["operator.read", "operator.write"]));
    stage.call(operator, "device.pair.reject", json!({"requestId": id})).unwrap();
    let answer = stage.answer(socket, &waiting).unwrap().into_result().unwrap();
    assert_eq!(answer, json!({"status": "rejected", "requestId": id}));
    // Somebody else's business is nobody's answer.
    let (id, waiting) = ask(&mut stage);
    let stranger = stage.key();
    let (stranger, _) = stage.admit(asking(&["operator.read"], stage.client(Some(stranger))));
    let error = stage.call(stranger, "device.scopes.waitUpgrade", json!({"requestId": id})).unwrap_err();
    assert_eq!(error.message, "unknown requestId");
    // Approved, by one who holds what is granted.
    stage.call(operator, "device.pair.approve", json!({"requestId": id})).unwrap();
    let answer = stage.answer(socket, &waiting).unwrap().into_result().unwrap();
    assert_eq!((&answer["status"], &answer["requestId"]), (&json!("approved"), &json!(id)));
    assert_eq!(answer["scopes"], json!(["operator.read", "operator.write"]));
    let token = answer["deviceToken"].as_str().unwrap().to_owned();
    assert_ne!(token, old);
    // The socket keeps what it came with; the token opens more.
    let error = stage.call(socket, "voicewake.set", json!({"triggers": ["hey"]})).unwrap_err();
    assert_eq!(error.detail("missingScope"), Some("operator.write"));
    let wider = asking(&["operator.read", "operator.write"], with_token(&token, config.clone()));
    stage.admit(wider);
    assert_eq!(
        refused(&mut stage, with_token(&old, config)).detail_code(),
        Some("AUTH_DEVICE_TOKEN_MISMATCH")
    );
    // Later questions hear the same.
    let again = stage.call(socket, "device.scopes.waitUpgrade", json!({"requestId": id})).unwrap();
    assert_eq!(again["status"], "approved");
}

pub(crate) fn a_wait_for_more_scopes_ends(place: Place) {
    let ttl_ms = if place.is_real() { 300 } else { 300_000 };
    let mut stage = Stage::with(place, |config| config.limits.pairing_ttl_ms = ttl_ms);
    let key = stage.key();
    let (socket, _) = stage.admit(asking(&["operator.read"], stage.client(Some(key))));
    let params = json!({"scopes": ["operator.write"]});
    let filed = stage.call(socket, "device.scopes.requestUpgrade", params).unwrap();
    let waiting = stage.send(socket, "device.scopes.waitUpgrade", filed.clone());
    stage.pass(ttl_ms + 50);
    let answer = stage.answer(socket, &waiting).unwrap().into_result().unwrap();
    assert_eq!(answer, json!({"status": "expired", "requestId": filed["requestId"]}));
    // Without a device there is nothing to widen.
    let (bare, _) = stage.admit(stage.client_as("cli", "cli", None));
    let params = json!({"scopes": ["operator.write"]});
    let error = stage.call(bare, "device.scopes.requestUpgrade", params).unwrap_err();
    assert_eq!(error.message, "device identity required");
}

/// `upgrade-budget`: nobody is kept busy with one device's requests.
pub(crate) fn a_device_asks_for_more_only_so_often(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 4);
    let key = stage.key();
    let (socket, _) = stage.admit(asking(&[], stage.client(Some(key))));
    let ask = |stage: &mut Stage, socket: Actor, scopes: &[&str]| {
        stage.call(socket, "device.scopes.requestUpgrade", json!({"scopes": scopes}))
    };
    stage.drain(operator);
    let all = ["read", "write", "approvals", "questions", "talk", "talk.secrets", "pairing", "admin"];
    let all: Vec<String> = all.iter().map(|name| format!("operator.{name}")).collect();
    let max = stage.config().limits.upgrade_requests_max as usize;
    assert!(max < all.len());
    for scope in &all[..max] {
        let first = ask(&mut stage, socket, &[scope]).unwrap();
        // Again the same is the same request, and costs nothing.
        for _ in 0..20 {
            assert_eq!(ask(&mut stage, socket, &[scope]).unwrap(), first);
        }
    }
    let error = ask(&mut stage, socket, &[&all[max]]).unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("UNAVAILABLE", Some(true)));
    let wait_ms = error.retry_after_ms.unwrap();
    assert!((1..=stage.config().limits.upgrade_requests_window_ms).contains(&wait_ms), "{wait_ms}");
    // What waits can still be asked for, by whoever waits for it.
    let waiting = ask(&mut stage, socket, &[&all[0]]).unwrap();
    let told =
        event_names(&stage.drain(operator)).iter().filter(|name| **name == "device.pair.requested").count();
    assert_eq!(told, max);
    // Another device is not kept waiting for this one.
    let other = stage.key();
    let (other, _) = stage.admit(asking(&[], stage.client(Some(other))));
    ask(&mut stage, other, &[&all[0]]).unwrap();
    if !place.is_real() {
        stage.call(operator, "device.pair.reject", waiting).unwrap();
        stage.pass(wait_ms);
        ask(&mut stage, socket, &[&all[max]]).unwrap();
    }
}

/// The loop of the reference: a client that does not give up.
pub(crate) fn a_minute_of_retries_is_one_request_and_one_event(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::new(place);
        let operator = admin(&mut stage, protocol);
        let key = stage.key();
        let waiting = from_afar(speaking(protocol, stage.client(Some(key.clone()))));
        // A device that is in and wants more is the other way to get there.
        let known = stage.key();
        let narrow = from_afar(asking(&["operator.read"], speaking(protocol, stage.client(Some(known)))));
        let refusal = refused(&mut stage, narrow.clone());
        let id = request_id(&refusal);
        stage.call(operator, "device.pair.approve", json!({"requestId": id})).unwrap();
        stage.admit(narrow.clone());
        stage.drain(operator);
        let writes = stage.host().writes();
        let wide = asking(&["operator.read", "operator.write"], narrow);
        let mut ids = (Vec::new(), Vec::new());
        for _ in 0..600 {
            if !place.is_real() {
                stage.pass(100);
            }
            ids.0.push(request_id(&refused(&mut stage, waiting.clone())));
            ids.1.push(request_id(&refused(&mut stage, wide.clone())));
        }
        ids.0.dedup();
        ids.1.dedup();
        assert_eq!((ids.0.len(), ids.1.len()), (1, 1), "one request each");
        let events = stage.drain(operator);
        let told = event_names(&events).iter().filter(|name| **name == "device.pair.requested").count();
        assert_eq!(told, 2, "one event each");
        let list = stage.call(operator, "device.pair.list", json!({})).unwrap();
        assert_eq!(list["pending"].as_array().unwrap().len(), 2);
        assert_eq!(stage.host().writes() - writes, 2, "and one write each");
    }
}

pub(crate) fn a_device_has_the_name_that_a_person_gave_it(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 4);
    let key = stage.key();
    let (socket, _) = stage.admit(stage.client(Some(key.clone())));
    stage.close(socket);
    let params = json!({"deviceId": key.device_id(), "label": " Kitchen "});
    let renamed = stage.call(operator, "device.pair.rename", params).unwrap();
    assert_eq!(renamed, json!({"deviceId": key.device_id(), "label": "Kitchen"}));
    let changed = stage.event(operator, "device.pair.changed").value();
    assert_eq!(changed["deviceId"], json!(key.device_id()));
    stage.admit(stage.client(Some(key.clone())));
    let list = stage.call(operator, "device.pair.list", json!({})).unwrap();
    let rows = list["paired"].as_array().unwrap();
    let row = rows.iter().find(|row| row["deviceId"] == key.device_id()).unwrap();
    assert_eq!(row["displayName"], "Kitchen");
    let error =
        stage.call(operator, "device.pair.rename", json!({"deviceId": "x", "label": "y"})).unwrap_err();
    assert_eq!(error.message, "unknown deviceId");
}

/// A node on this machine.
fn node(stage: &Stage, protocol: u64, key: &DeviceKey, commands: &[&str]) -> ClientConfig {
    let mut config = speaking(protocol, stage.client_as("node-host", "node", Some(key.clone())));
    config.role = "node".to_owned();
    config.scopes = Vec::new();
    config.caps = vec!["system".to_owned()];
    config.commands = commands.iter().map(|command| (*command).to_owned()).collect();
    config
}

pub(crate) fn what_a_node_offers_is_approved_before_it_counts(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 4);
    let key = stage.key();
    let config = node(&stage, 4, &key, &["system.run", "system.which", "dir.fetch"]);
    let (socket, _) = stage.admit(config.clone());
    let requested = stage.event(operator, "node.pair.requested").value();
    assert_eq!(
        requested["commands"],
        json!(["system.run", "system.which"]),
        "what is on no list is withheld"
    );
    assert_eq!(requested["requiredApproveScopes"], json!(["operator.pairing", ADMIN]));
    assert_eq!((&requested["silent"], &requested["nodeId"]), (&json!(true), &json!(key.device_id())));
    let shown = |stage: &mut Stage| {
        stage.call(operator, "node.describe", json!({"nodeId": key.device_id()})).unwrap()
    };
    let before = shown(&mut stage);
    assert_eq!((&before["approvalState"], &before["commands"]), (&json!("pending-approval"), &json!([])));
    assert_eq!(before["pendingRequestId"], requested["requestId"]);
    let older = admin(&mut stage, 3);
    let listed = |stage: &mut Stage, who: Actor| {
        let list = stage.call(who, "device.pair.list", json!({})).unwrap();
        let rows = list["paired"].as_array().unwrap();
        rows.iter().find(|row| row["deviceId"] == key.device_id()).unwrap().clone()
    };
    let row = listed(&mut stage, operator);
    let asked = &row["pendingNodeSurface"];
    for name in ["requestId", "caps", "commands", "silent", "ts", "platform"] {
        assert_eq!(asked[name], requested[name], "{name}");
    }
    assert!(asked["revision"].is_string() && row.get("nodeSurface").is_none(), "{row}");

    let params = json!({"requestId": requested["requestId"]});
    let approved = stage.call(operator, "node.pair.approve", params).unwrap();
    assert_eq!(approved["node"]["commands"], json!(["system.run", "system.which"]));
    assert_eq!(approved["node"].get("token"), None);
    // At once, for the socket that is open; and the node hears of it.
    let resolved = stage.event(socket, "node.pair.resolved").value();
    assert_eq!(
        (&resolved["decision"], &resolved["requestId"]),
        (&json!("approved"), &requested["requestId"])
    );
    let after = shown(&mut stage);
    assert_eq!(
        (&after["approvalState"], &after["commands"]),
        (&json!("approved"), &json!(["system.run", "system.which"]))
    );
    let row = listed(&mut stage, operator);
    let offered = &row["nodeSurface"];
    assert_eq!((&offered["caps"], &offered["commands"]), (&json!(["system"]), &after["commands"]));
    assert_eq!((&offered["sessionHost"], offered["approvedAtMs"].is_u64()), (&json!(false), true));
    assert!(row.get("pendingNodeSurface").is_none(), "{row}");
    let row = listed(&mut stage, older);
    assert!(row.get("nodeSurface").is_none(), "protocol 3 has no such member");
    let pairs = stage.call(operator, "node.pair.list", json!({})).unwrap();
    assert_eq!(
        (pairs["pending"].as_array().unwrap().len(), pairs["paired"].as_array().unwrap().len()),
        (0, 1)
    );

    let removed = stage.call(operator, "node.pair.remove", json!({"nodeId": key.device_id()}));
    assert_eq!(removed, Ok(json!({"nodeId": key.device_id()})));
    let (code, reason) = stage.closed(socket);
    assert_eq!((code, reason.as_str()), (4001, "device removed"));
    let pairs = stage.call(operator, "node.pair.list", json!({})).unwrap();
    let devices = stage.call(operator, "device.pair.list", json!({})).unwrap();
    assert_eq!(pairs["paired"], json!([]));
    assert!(!super::device_ids(&devices, "paired").contains(&key.device_id()));
}

pub(crate) fn a_node_of_protocol_3_is_asked_about_once(place: Place) {
    let mut stage = Stage::new(place);
    let operator = admin(&mut stage, 3);
    let key = stage.key();
    let (first, _) = stage.admit(node(&stage, 3, &key, &["system.which"]));
    let described = |stage: &mut Stage| {
        stage.call(operator, "node.describe", json!({"nodeId": key.device_id()})).unwrap()["commands"].clone()
    };
    assert_eq!(described(&mut stage), json!(["system.which"]), "the approval of the device covers it");
    stage.close(first);
    stage.admit(node(&stage, 3, &key, &["system.which", "system.run"]));
    assert_eq!(described(&mut stage), json!(["system.which"]), "growth asks");
    let pending = stage.call(operator, "node.pair.list", json!({})).unwrap()["pending"].clone();
    let request = pending[0]["requestId"].clone();
    let asked = stage.call(operator, "node.pair.request", json!({"nodeId": key.device_id()})).unwrap();
    assert_eq!((&asked["created"], &asked["request"]["requestId"]), (&json!(false), &request));
    let approved = stage.call(operator, "node.pair.approve", json!({"requestId": request})).unwrap();
    let token = approved["node"]["token"].clone();
    let verify = |stage: &mut Stage, token: &Value| {
        let params = json!({"nodeId": key.device_id(), "token": token});
        stage.call(operator, "node.pair.verify", params).unwrap()["ok"].clone()
    };
    assert_eq!((verify(&mut stage, &token), verify(&mut stage, &json!("x"))), (json!(true), json!(false)));
    let list = stage.call(operator, "node.pair.list", json!({})).unwrap();
    assert!(!list.to_string().contains(token.as_str().unwrap()), "lists show no token");
    let params = json!({"nodeId": key.device_id(), "displayName": " Attic "});
    let renamed = stage.call(operator, "node.rename", params).unwrap();
    assert_eq!(renamed["displayName"], "Attic");
    let unknown = stage.call(operator, "node.pair.request", json!({"nodeId": "ghost"})).unwrap_err();
    assert_eq!(unknown.message, "unknown nodeId");
}
