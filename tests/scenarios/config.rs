//! The configuration file over the wire: shown, changed, refused, and what a running gateway takes over.

use super::{PROTOCOLS, admin, asking, event_names, refused, speaking};
use clawgate_proto::config::{AuthConfig, AuthMode, Config};
use clawgate_proto::host::config::{ConfigTrouble, LiveConfig};
use clawgate_proto::log::Level;
use clawgate_proto::secret::Secret;
use clawgate_support::{Place, Stage};
use serde_json::{Value, json};

const FILE: &str =
    "{gateway: {mode: 'local', auth: {token: 'cLaWmArKeR-in-the-file'}}, channels: {x: {n: 1}}}";
const HIDDEN: &str = "__OPENCLAW_REDACTED__";

/// A gateway with this file, and an admin.
fn staged(place: Place, protocol: u64, text: Option<&str>) -> (Stage, clawgate_support::Actor) {
    let mut stage = Stage::new(place);
    stage.host().edit_config(text);
    let operator = admin(&mut stage, protocol);
    (stage, operator)
}

pub(crate) fn the_configuration_is_shown_without_its_secrets(place: Place) {
    for protocol in PROTOCOLS {
        let (mut stage, operator) = staged(place, protocol, Some(FILE));
        let shown = stage.call(operator, "config.get", json!({})).unwrap();
        assert_eq!((&shown["valid"], &shown["exists"]), (&json!(true), &json!(true)));
        for part in ["parsed", "resolved", "config"] {
            assert_eq!(shown[part]["gateway"]["auth"]["token"], HIDDEN, "{part}");
            assert_eq!(shown[part]["channels"]["x"]["n"], 1, "{part}");
        }
        assert!(!shown.to_string().contains("in-the-file"));
        assert_eq!(shown.get("runtimeConfig").is_some(), protocol == 4);
        assert_eq!(shown["hash"].as_str().unwrap().len(), 64);
        let (mut stage, operator) = staged(place, protocol, None);
        let shown = stage.call(operator, "config.get", json!({})).unwrap();
        assert_eq!(
            (&shown["exists"], &shown["raw"], &shown["parsed"]),
            (&json!(false), &Value::Null, &json!({}))
        );
    }
}

pub(crate) fn a_change_names_what_it_was_made_from_and_is_durable(place: Place) {
    for protocol in PROTOCOLS {
        let (mut stage, operator) = staged(place, protocol, Some(FILE));
        let shown = stage.call(operator, "config.get", json!({})).unwrap();
        let hash = &shown["hash"];
        // What was shown comes back with one change.
        let mut next = shown["parsed"].clone();
        next["gateway"]["port"] = json!(18_790);
        let set =
            stage.call(operator, "config.set", json!({"raw": next.to_string(), "baseHash": hash})).unwrap();
        assert_eq!((&set["ok"], set.get("restart")), (&json!(true), None));
        assert_eq!(set["config"]["gateway"]["auth"]["token"], HIDDEN);
        let text = stage.host().config_text().unwrap();
        assert!(
            text.contains("in-the-file") && text.contains("18790") && text.contains("\"n\": 1"),
            "{text}"
        );
        // The next one made from the same text is too late.
        let late = json!({"raw": "{}", "baseHash": hash});
        let error = stage.call(operator, "config.set", late).unwrap_err();
        assert_eq!(error.message, "config changed since last load; re-run config.get and retry");
        let hash = stage.call(operator, "config.get", json!({})).unwrap()["hash"].clone();
        let params = json!({"raw": "{gateway: {port: null}}", "baseHash": hash, "note": "why"});
        let patched = stage.call(operator, "config.patch", params).unwrap();
        assert_eq!(patched["restart"]["ok"], false, "nothing restarts by itself");
        let sentinel = &patched["sentinel"]["payload"];
        assert_eq!((&sentinel["kind"], &sentinel["message"]), (&json!("config-patch"), &json!("why")));
        assert!(!stage.host().config_text().unwrap().contains("18790"));
        // Durable first: what cannot be written is not answered as done.
        stage.host().set_read_only(true);
        let hash = stage.call(operator, "config.get", json!({})).unwrap()["hash"].clone();
        let error = stage.call(operator, "config.apply", json!({"raw": "{}", "baseHash": hash})).unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("UNAVAILABLE", "read-only file system"));
    }
}

pub(crate) fn a_refused_change_says_why_and_changes_nothing(place: Place) {
    for protocol in PROTOCOLS {
        let (mut stage, operator) = staged(place, protocol, Some(FILE));
        let hash = stage.call(operator, "config.get", json!({})).unwrap()["hash"].clone();
        for (method, raw, want) in [
            ("config.set", "{", "SyntaxError: JSON5: "),
            ("config.set", "[]", "invalid config"),
            ("config.patch", "[]", "config.patch raw must be an object"),
            (
                "config.set",
                "{gateway: {bind: 'everywhere'}}",
                "invalid config: gateway.bind: found \"everywhere\", expected",
            ),
            (
                "config.patch",
                "{gateway: {prot: 1}}",
                "invalid config: gateway: Unrecognized key: \"prot\"; did you mean",
            ),
            (
                "config.patch",
                "{channels: {token: '__OPENCLAW_REDACTED__'}}",
                "Sentinel value \"__OPENCLAW_REDACTED__\"",
            ),
        ] {
            let error = stage.call(operator, method, json!({"raw": raw, "baseHash": hash})).unwrap_err();
            assert_eq!(error.code, "INVALID_REQUEST");
            assert!(error.message.starts_with(want), "{}", error.message);
        }
        let error =
            stage.call(operator, "config.set", json!({"raw": "{a: 1}", "baseHash": hash})).unwrap_err();
        assert_eq!(error.details.unwrap()["issues"][0]["message"], "Unrecognized key: \"a\"");
        let error = stage.call(operator, "config.set", json!({"raw": "{}"})).unwrap_err();
        assert_eq!(error.message, "config base hash required; re-run config.get and retry");
        let error = stage.call(operator, "config.set", json!({"raw": ""})).unwrap_err();
        assert_eq!(
            error.message,
            "invalid config.set params: at /raw: must not have fewer than 1 characters"
        );
        assert_eq!(stage.host().config_text().as_deref(), Some(FILE));
    }
}

pub(crate) fn the_schema_is_shown_whole_and_by_path(place: Place) {
    for protocol in PROTOCOLS {
        let (mut stage, operator) = staged(place, protocol, None);
        let schema = stage.call(operator, "config.schema", json!({})).unwrap();
        assert_eq!(schema["schema"]["properties"]["gateway"]["properties"]["port"]["default"], 18_789);
        assert_eq!(schema["uiHints"]["gateway.auth.token"]["sensitive"], true);
        let found = stage.call(operator, "config.schema.lookup", json!({"path": "gateway.auth"})).unwrap();
        assert!(found["children"].as_array().unwrap().iter().any(|child| child["key"] == "token"));
        let error = stage.call(operator, "config.schema.lookup", json!({"path": "no.such"})).unwrap_err();
        assert_eq!(error.message, "config schema path not found");
    }
}

pub(crate) fn only_admins_change_and_only_readers_read(place: Place) {
    for protocol in PROTOCOLS {
        let (mut stage, _) = staged(place, protocol, Some(FILE));
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key)));
        let (reader, _) = stage.admit(asking(&["operator.read"], config));
        for method in ["config.get", "config.schema"] {
            assert!(stage.call(reader, method, json!({})).is_ok(), "{method}");
        }
        for method in ["config.set", "config.patch", "config.apply"] {
            let error = stage.call(reader, method, json!({"raw": "{}"})).unwrap_err();
            assert_eq!(error.message, "missing scope: operator.admin", "{method}");
        }
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key)));
        let (approver, _) = stage.admit(asking(&["operator.pairing"], config));
        let error = stage.call(approver, "config.get", json!({})).unwrap_err();
        assert_eq!(error.message, "missing scope: operator.read");
        assert_eq!(stage.host().config_text().as_deref(), Some(FILE));
    }
}

/// The settings of this gateway with another token.
fn with_new_token(stage: &Stage) -> LiveConfig {
    let config = stage.config();
    let token = Secret::new("cLaWmArKeR-rotated");
    let auth = AuthConfig { mode: AuthMode::Token, token, ..config.auth.clone() };
    LiveConfig { config: Box::new(Config { auth, ..config.clone() }), log_level: Level::Trace }
}

pub(crate) fn whether_the_file_comes_into_force_by_itself_is_in_the_health_snapshot(place: Place) {
    let (mut stage, operator) = staged(place, 4, Some(FILE));
    for (edit, want) in
        [("{gateway: {port: 5}}", "active"), ("{gateway: {reload: {mode: 'off'}}}", "disabled")]
    {
        stage.host().edit_config(Some(edit));
        stage.call(operator, "config.get", json!({})).unwrap();
        let health = stage.call(operator, "health", json!({})).unwrap();
        assert_eq!(health["configReload"]["hotReloadStatus"], want);
    }
}

pub(crate) fn what_waits_for_a_restart_is_in_the_status(place: Place) {
    for protocol in PROTOCOLS {
        let (mut stage, operator) = staged(place, protocol, Some(FILE));
        let needed = |stage: &mut Stage, edit: &str, paths: &[&str]| {
            stage.host().set_restart_needed(paths);
            stage.host().edit_config(Some(edit));
            stage.call(operator, "config.get", json!({})).unwrap();
            stage.call(operator, "status", json!({})).unwrap()["gateway"]["restartNeeded"].clone()
        };
        let long = "x.".repeat(500);
        let waits = needed(&mut stage, "{gateway: {mode: 'local', port: 5}}", &["gateway.port", &long]);
        assert_eq!((&waits[0], waits[1].as_str().unwrap().len()), (&json!("gateway.port"), 128));
        let many = ["env.shellEnv"; 100];
        assert_eq!(needed(&mut stage, "{gateway: {port: 6}}", &many).as_array().unwrap().len(), 32);
        assert_eq!(needed(&mut stage, FILE, &[]), json!([]), "it was taken back");
    }
}

pub(crate) fn a_changed_secret_closes_who_came_in_with_the_old_one(place: Place) {
    for protocol in PROTOCOLS {
        let (mut stage, operator) = staged(place, protocol, Some(FILE));
        let key = stage.key();
        let first = speaking(protocol, stage.client(Some(key.clone())));
        let (socket, hello) = stage.admit(first.clone());
        stage.close(socket);
        let by_token = super::with_token(hello.device_token().unwrap(), first.clone());
        let (device, _) = stage.admit(by_token);
        stage.host().set_live_config(with_new_token(&stage));
        let hash = stage.call(operator, "config.get", json!({})).unwrap()["hash"].clone();
        let params = json!({"raw": "{gateway: {auth: {token: 'cLaWmArKeR-rotated'}}}", "baseHash": hash});
        stage.call(operator, "config.patch", params).unwrap();
        let (code, reason) = stage.closed(operator);
        assert_eq!((code, reason.as_str()), (4001, "gateway auth changed"));
        assert!(stage.call(device, "health", json!({})).is_ok(), "a device token stays what it was");
        let key = stage.key();
        let old = speaking(protocol, stage.client(Some(key)));
        assert_eq!(refused(&mut stage, old.clone()).detail_code(), Some("AUTH_TOKEN_MISMATCH"));
        let mut new = old;
        new.auth.token = Some("cLaWmArKeR-rotated".to_owned());
        stage.admit(new);
    }
}

/// A peer that was let in by the old secret, and whose device the store still looks up while the secret changes, is no
/// better off than one whose session was open.
pub(crate) fn a_connect_on_its_way_does_not_outlive_the_secret_it_showed(place: Place) {
    for protocol in PROTOCOLS {
        let (mut stage, operator) = staged(place, protocol, Some(FILE));
        let key = stage.key();
        let config = speaking(protocol, stage.client(Some(key)));
        let (known, hello) = stage.admit(config.clone());
        stage.close(known);
        stage.host().set_live_config(with_new_token(&stage));
        let hash = stage.call(operator, "config.get", json!({})).unwrap()["hash"].clone();
        let params = json!({"raw": "{gateway: {auth: {token: 'cLaWmArKeR-rotated'}}}", "baseHash": hash});
        stage.hold_host(true);
        stage.send(operator, "config.patch", params);
        stage.pass(20);
        let late = stage.open(config.clone());
        let key = stage.key();
        let fresh = speaking(protocol, stage.client(Some(key)));
        let new = stage.open(fresh);
        let by_token = stage.open(super::with_token(hello.device_token().unwrap(), config));
        stage.pass(50);
        stage.hold_host(false);
        assert_eq!(stage.closed(operator), (4001, "gateway auth changed".to_owned()));
        for actor in [late, new] {
            // Which of the two the host does first is its own affair; neither leaves the peer inside.
            match stage.admission(actor) {
                Ok(_) => assert_eq!(stage.closed(actor), (4001, "gateway auth changed".to_owned())),
                Err(refusal) => assert_eq!(refusal.detail_code(), Some("AUTH_TOKEN_MISMATCH")),
            }
        }
        stage.admission(by_token).unwrap();
        assert!(stage.call(by_token, "health", json!({})).is_ok(), "a device token stays what it was");
    }
}

/// `secrets.reload`: what is fetched anew counts at once, and nothing else is told.
pub(crate) fn secrets_are_fetched_again_on_demand(place: Place) {
    for protocol in PROTOCOLS {
        let (mut stage, operator) = staged(place, protocol, Some(FILE));
        let done = json!({"ok": true, "warningCount": 0});
        assert_eq!(stage.call(operator, "secrets.reload", json!({})), Ok(done.clone()));
        // The same secret lets the same peers in, and the file is the same.
        stage.drain(operator);
        assert_eq!(stage.call(operator, "secrets.reload", json!({})), Ok(done.clone()));
        assert!(!event_names(&stage.drain(operator)).contains(&"config.changed"));
        stage.host().set_live_config(with_new_token(&stage));
        assert_eq!(stage.call(operator, "secrets.reload", json!({})), Ok(done));
        assert_eq!(stage.closed(operator), (4001, "gateway auth changed".to_owned()));
        let key = stage.key();
        let old = speaking(protocol, stage.client(Some(key)));
        assert_eq!(refused(&mut stage, old.clone()).detail_code(), Some("AUTH_TOKEN_MISMATCH"));
        let mut new = old;
        new.auth.token = Some("cLaWmArKeR-rotated".to_owned());
        stage.admit(new);
    }
}

pub(crate) fn a_file_that_somebody_else_changed_is_noticed(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| config.limits.config_check_ms = 50);
        stage.host().edit_config(Some(FILE));
        let operator = admin(&mut stage, protocol);
        stage.host().edit_config(Some("{gateway: {mode: 'local'}}"));
        if protocol == 4 {
            let changed = stage.event(operator, "config.changed");
            let payload: Value = serde_json::from_str(changed.payload.unwrap().get()).unwrap();
            assert_eq!(payload["path"], "/home/gw/.openclaw/openclaw.json");
            assert_eq!(payload["hash"].as_str().unwrap().len(), 64);
        } else {
            stage.call(operator, "config.get", json!({})).unwrap();
            let events = stage.drain(operator);
            assert!(!event_names(&events).contains(&"config.changed"), "protocol 3 does not have it");
        }
    }
}

/// Long intervals, so that nothing is looked at by itself while a scenario lasts.
const WATCHED: fn(&mut Config) = |config| config.limits.config_check_ms = 3_600_000;

pub(crate) fn a_touched_file_counts_when_it_has_come_to_rest(place: Place) {
    let mut stage = Stage::with(place, WATCHED);
    stage.host().edit_config(Some(FILE));
    let operator = admin(&mut stage, 4);
    stage.host().edit_config(Some("{gateway: {mode: 'local'}}"));
    stage.host().unsettle_config(2);
    // However often, it is one look; and one more for each that finds it unfinished.
    for _ in 0..5 {
        stage.touch_config();
    }
    stage.event(operator, "config.changed");
    assert_eq!(stage.host().config_checks(), 3);
    stage.touch_config();
    stage.pass(1_000);
    assert_eq!(stage.host().config_checks(), 4);
    assert!(!event_names(&stage.drain(operator)).contains(&"config.changed"), "nothing is told twice");
}

pub(crate) fn a_file_of_no_use_is_told_in_the_status_until_it_is_mended(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, WATCHED);
        stage.host().edit_config(Some(FILE));
        let operator = admin(&mut stage, protocol);
        let told = |stage: &mut Stage, edit: &str| {
            stage.host().edit_config(Some(edit));
            stage.touch_config();
            stage.pass(1_000);
            stage.call(operator, "status", json!({})).unwrap()["gateway"]["configFault"].clone()
        };
        let fault = ConfigTrouble {
            file: "/c/openclaw.json".into(),
            line: Some(3),
            key: "gateway.port".into(),
            message: "no port".into(),
        };
        stage.host().set_config_fault(Some(fault));
        let want =
            json!({"file": "/c/openclaw.json", "line": 3, "key": "gateway.port", "message": "no port"});
        assert_eq!(told(&mut stage, "{gateway: {port: 'x'}}"), want);
        stage.host().set_config_fault(None);
        assert_eq!(told(&mut stage, FILE), Value::Null);
    }
}

pub(crate) fn what_needs_a_restart_restarts_the_gateway(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, WATCHED);
        stage.host().edit_config(Some(FILE));
        let operator = admin(&mut stage, protocol);
        stage.host().set_can_restart(true);
        stage.host().set_config_restarts(true);
        stage.host().edit_config(Some("{gateway: {port: 5}}"));
        stage.touch_config();
        let told = stage.event(operator, "shutdown").value();
        assert_eq!(told, json!({"reason": "gateway restarting", "restartExpectedMs": 1_500}));
        assert_eq!(stage.closed(operator), (1012, "service restart".to_owned()));
        assert!(stage.has_stopped());
        assert_eq!(stage.host().restarts(), 1);
    }
}

pub(crate) fn a_restart_that_cannot_be_leaves_everything_as_it_is(place: Place) {
    let mut stage = Stage::with(place, WATCHED);
    stage.host().edit_config(Some(FILE));
    let operator = admin(&mut stage, 4);
    stage.host().set_config_restarts(true);
    stage.host().edit_config(Some("{gateway: {port: 5}}"));
    stage.touch_config();
    stage.pass(2_000);
    assert!(stage.host().has_logged("config.restart-refused"));
    assert!(stage.call(operator, "health", json!({})).is_ok());
    // Nor does it keep a later one away.
    stage.host().set_can_restart(true);
    stage.call(operator, "gateway.restart.request", json!({})).unwrap();
    assert_eq!(stage.closed(operator), (1012, "service restart".to_owned()));
}

pub(crate) fn bounds_follow_the_file(place: Place) {
    let mut stage = Stage::with(place, |config| {
        WATCHED(config);
        config.limits.config_queue_max = 3;
    });
    stage.host().edit_config(Some(FILE));
    let operator = admin(&mut stage, 4);
    let mut config = stage.config().clone();
    config.limits.sockets_max = 77;
    stage.host().set_live_config(LiveConfig { config: Box::new(config), log_level: Level::Trace });
    stage.host().edit_config(Some("{gateway: {mode: 'local'}}"));
    stage.touch_config();
    stage.event(operator, "config.changed");
    let status = stage.call(operator, "status", json!({})).unwrap();
    assert_eq!(status["gateway"]["sockets"]["max"], 77);
}

pub(crate) fn too_many_operations_at_once_are_refused(place: Place) {
    let mut stage = Stage::with(place, |config| config.limits.config_queue_max = 3);
    stage.host().edit_config(Some(FILE));
    let operator = admin(&mut stage, 4);
    stage.hold_host(true);
    let asked: Vec<String> = stage.with_client(operator, |client| {
        (0..5).map(|_| client.request("config.get", json!({})).unwrap()).collect()
    });
    stage.pass(50);
    stage.hold_host(false);
    let answers: Vec<_> = asked.iter().map(|id| stage.answer(operator, id).unwrap()).collect();
    let busy = answers.iter().filter_map(|answer| answer.error.as_ref());
    let reasons: Vec<_> = busy.map(|error| error.detail("reason").map(str::to_owned)).collect();
    assert_eq!(reasons, [Some("config-busy".to_owned()), Some("config-busy".to_owned())]);
}
