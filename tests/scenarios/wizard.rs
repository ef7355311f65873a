//! A first set-up over the wire: questions, answers, one change of the file.

use super::{PROTOCOLS, admin};
use clawgate_proto::client::ResponseError;
use clawgate_support::{Actor, Place, Stage};
use serde_json::{Value, json};

fn staged(place: Place, protocol: u64, file: &str) -> (Stage, Actor) {
    let mut stage = Stage::new(place);
    stage.host().edit_config(Some(file));
    let operator = admin(&mut stage, protocol);
    (stage, operator)
}

fn refused(stage: &mut Stage, operator: Actor, method: &str, params: Value) -> ResponseError {
    stage.call(operator, method, params).unwrap_err()
}

/// Answers the open question, and gives what comes next.
fn answer(stage: &mut Stage, operator: Actor, at: &Value, session: &str, value: Value) -> Value {
    let params = json!({"sessionId": session, "answer": {"stepId": at["step"]["id"], "value": value}});
    stage.call(operator, "wizard.next", params).unwrap()
}

pub(crate) fn a_set_up_asks_and_writes_once(place: Place) {
    for protocol in PROTOCOLS {
        let file = "{channels: {x: {y: 1}}, gateway: {auth: {token: 'cLaWmArKeR-kept'}}}";
        let (mut stage, operator) = staged(place, protocol, file);
        let mut at = stage.call(operator, "wizard.start", json!({"mode": "local"})).unwrap();
        let session = at["sessionId"].as_str().unwrap().to_owned();
        assert_eq!(
            (&at["done"], &at["status"], &at["step"]["id"]),
            (&json!(false), &json!("running"), &json!("port"))
        );
        let taken = refused(&mut stage, operator, "wizard.start", json!({}));
        assert_eq!((taken.code.as_str(), taken.message.as_str()), ("UNAVAILABLE", "wizard already running"));
        // Without an answer the question stays; with a wrong one it does, too, and says why.
        let again = stage.call(operator, "wizard.next", json!({"sessionId": session})).unwrap();
        assert_eq!(again["step"]["id"], "port");
        let wrong = answer(&mut stage, operator, &at, &session, json!("0"));
        assert!(
            wrong["step"]["id"] == "port" && wrong["error"].as_str().unwrap().contains("65535"),
            "{wrong}"
        );
        let stale = json!({"sessionId": session, "answer": {"stepId": "auth", "value": "token"}});
        assert_eq!(
            refused(&mut stage, operator, "wizard.next", stale).message,
            "Error: wizard: no pending step"
        );
        for value in ["19007", "lan", "", "", ""] {
            assert_eq!(at["done"], false, "{at}");
            at = answer(&mut stage, operator, &at, &session, json!(value));
        }
        assert_eq!((&at["done"], &at["status"], at.get("error")), (&json!(true), &json!("done"), None));
        let text = stage.host().config_text().unwrap();
        let written: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&written["channels"]["x"]["y"], &written["gateway"]["port"]),
            (&json!(1), &json!(19_007))
        );
        assert_eq!(
            (&written["gateway"]["bind"], &written["gateway"]["mode"]),
            (&json!("lan"), &json!("local"))
        );
        assert_eq!(written["gateway"]["auth"]["token"], "cLaWmArKeR-kept");
        let status = stage.call(operator, "wizard.status", json!({"sessionId": session})).unwrap();
        assert_eq!(status, json!({"status": "done"}));
    }
}

pub(crate) fn a_set_up_that_is_cancelled_or_overtaken_writes_nothing(place: Place) {
    for protocol in PROTOCOLS {
        let (mut stage, operator) = staged(place, protocol, "{}");
        let start = stage.call(operator, "wizard.start", json!({})).unwrap();
        let session = start["sessionId"].clone();
        let cancelled = stage.call(operator, "wizard.cancel", json!({"sessionId": session})).unwrap();
        assert_eq!(cancelled, json!({"status": "cancelled"}));
        let over = refused(&mut stage, operator, "wizard.next", json!({"sessionId": session}));
        assert_eq!(over.message, "wizard not running");
        let unknown = refused(&mut stage, operator, "wizard.status", json!({"sessionId": "other"}));
        assert_eq!(unknown.message, "wizard not found");
        let mut at = stage.call(operator, "wizard.start", json!({})).unwrap();
        let session = at["sessionId"].as_str().unwrap().to_owned();
        stage.host().edit_config(Some("{ui: {seamColor: '#112233'}}"));
        for value in ["", "", "", "", ""] {
            at = answer(&mut stage, operator, &at, &session, json!(value));
        }
        assert_eq!(
            (&at["done"], &at["status"]),
            (&json!(true), &json!("error")),
            "somebody else was faster: {at}"
        );
        assert_eq!(stage.host().config_text().unwrap(), "{ui: {seamColor: '#112233'}}");
    }
}
