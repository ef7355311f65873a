//! Questions of an agent to a person. Protocol 4 alone has them.
//!
//! Rows of `docs/compatibility.md` that are held here: `question-secrets`, `question-answers`.

use super::approvals::approver;
use super::{ADMIN, admin, event_names};
use clawgate_support::{Place, Stage};
use serde_json::{Value, json};

const QUESTIONS: &str = "operator.questions";
const WRITE: &str = "operator.write";

fn question(id: &str) -> Value {
    json!({"questionId": id, "header": "Colour", "question": "Which colour?", "options": [{"label": "red"}]})
}

fn ask(id: &str) -> Value {
    json!({"id": id, "questions": [question("q")], "agentId": "main", "timeoutMs": 60_000})
}

fn answer(id: &str, given: &[&str]) -> Value {
    json!({"id": id, "answers": {"answers": {"q": given}}})
}

pub(crate) fn a_question_is_answered_once(place: Place) {
    let mut stage = Stage::new(place);
    let person = approver(&mut stage, 4, &[QUESTIONS]);
    let agent = approver(&mut stage, 4, &[WRITE]);
    let asked = stage.call(agent, "question.request", ask("x")).unwrap();
    assert_eq!((&asked["id"], asked["expiresAtMs"].is_u64()), (&json!("x"), true));
    for actor in [person, agent] {
        let shown = stage.event(actor, "question.requested").value();
        assert_eq!((&shown["id"], &shown["status"]), (&json!("x"), &json!("pending")));
        assert_eq!(shown["questions"], json!([question("q")]));
        assert_eq!(
            stage.call(actor, "question.get", json!({"id": "x"})).unwrap(),
            json!({"question": shown})
        );
        assert_eq!(stage.call(actor, "question.list", json!({})).unwrap(), json!({"questions": [shown]}));
    }
    let waits = stage.send(agent, "question.waitAnswer", json!({"id": "x"}));
    let wrong = json!({"id": "x", "answers": {"answers": {"other": ["red"]}}});
    let error = stage.call(person, "question.resolve", wrong).unwrap_err();
    assert_eq!(error.message, "invalid question.resolve params: nobody asked \"other\"");
    let error = stage.call(person, "question.resolve", answer("x", &["red", "blue"])).unwrap_err();
    assert_eq!(error.message, "invalid question.resolve params: \"q\" takes one answer");
    let done = stage.call(person, "question.resolve", answer("x", &["blue"])).unwrap();
    let wanted = json!({"status": "answered", "answers": {"answers": {"q": ["blue"]}}});
    assert_eq!(done, wanted);
    assert_eq!(stage.answer(agent, &waits).unwrap().into_result().unwrap(), wanted);
    let mut told = wanted.clone();
    told["id"] = json!("x");
    for actor in [person, agent] {
        assert_eq!(stage.event(actor, "question.resolved").value(), told);
    }
    // The same again is no fault, and anything else is too late.
    assert_eq!(stage.call(person, "question.resolve", answer("x", &["blue"])).unwrap(), wanted);
    for late in [answer("x", &["red"]), json!({"id": "x", "cancel": true})] {
        let error = stage.call(person, "question.resolve", late).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.detail("reason")),
            ("question already resolved", Some("QUESTION_ALREADY_RESOLVED"))
        );
    }
    assert_eq!(stage.call(agent, "question.waitAnswer", json!({"id": "x"})).unwrap(), wanted);
    assert_eq!(stage.call(agent, "question.list", json!({})).unwrap(), json!({"questions": []}));
    let kept = stage.call(person, "question.get", json!({"id": "x"})).unwrap()["question"].take();
    assert_eq!((&kept["status"], &kept["resolvedBy"]), (&json!("answered"), &json!("test")));
    let error = stage.call(agent, "question.request", ask("x")).unwrap_err();
    assert_eq!(error.message, "question id already used; ask under a new one");
}

pub(crate) fn a_question_ends_unanswered_or_cancelled(place: Place) {
    let mut stage = Stage::new(place);
    let agent = approver(&mut stage, 4, &[WRITE]);
    let mut soon = ask("a");
    soon["timeoutMs"] = json!(400);
    stage.call(agent, "question.request", soon).unwrap();
    let patient = stage.send(agent, "question.waitAnswer", json!({"id": "a"}));
    let hasty = stage.call(agent, "question.waitAnswer", json!({"id": "a", "timeoutMs": 100})).unwrap();
    assert_eq!(hasty, json!({"status": "pending"}));
    let ended = stage.answer(agent, &patient).unwrap().into_result().unwrap();
    assert_eq!(ended, json!({"status": "expired"}));
    assert_eq!(stage.event(agent, "question.resolved").value(), json!({"id": "a", "status": "expired"}));
    let person = approver(&mut stage, 4, &[QUESTIONS]);
    stage.call(agent, "question.request", ask("b")).unwrap();
    // Who resolved it is who called, whatever is said.
    let cancel = json!({"id": "b", "cancel": true, "resolvedBy": "somebody else"});
    assert_eq!(stage.call(person, "question.resolve", cancel).unwrap(), json!({"status": "cancelled"}));
    assert_eq!(stage.event(agent, "question.resolved").value()["id"], "b");
    let kept = stage.call(person, "question.get", json!({"id": "b"})).unwrap()["question"].take();
    assert_eq!((&kept["status"], &kept["resolvedBy"]), (&json!("cancelled"), &json!("test")));
    for method in ["question.get", "question.waitAnswer"] {
        let error = stage.call(person, method, json!({"id": "nothing"})).unwrap_err();
        assert_eq!(error.message, "unknown or expired question id");
        assert_eq!(error.detail("reason"), Some("QUESTION_NOT_FOUND"));
    }
}

/// `question-secrets`.
pub(crate) fn secret_answers_are_for_the_asker(place: Place) {
    let mut stage = Stage::new(place);
    let person = approver(&mut stage, 4, &[QUESTIONS]);
    let other = approver(&mut stage, 4, &[QUESTIONS]);
    let agent = approver(&mut stage, 4, &[WRITE]);
    let mut secret = question("q");
    secret["isSecret"] = json!(true);
    let asked = json!({"id": "x", "questions": [secret, question("open")]});
    stage.call(agent, "question.request", asked).unwrap();
    let watching = stage.send(other, "question.waitAnswer", json!({"id": "x"}));
    let waits = stage.send(agent, "question.waitAnswer", json!({"id": "x"}));
    stage.call(agent, "health", json!({})).unwrap();
    stage.call(other, "health", json!({})).unwrap();
    let given = json!({"id": "x", "answers": {"answers": {"q": ["swordfish"], "open": ["yes"]}}});
    stage.call(person, "question.resolve", given).unwrap();
    let whole = json!({"q": ["swordfish"], "open": ["yes"]});
    let told = json!({"q": [], "open": ["yes"]});
    let mut answered = |actor, id: &str| {
        stage.answer(actor, id).unwrap().into_result().unwrap()["answers"]["answers"].take()
    };
    assert_eq!((answered(agent, &waits), answered(other, &watching)), (whole.clone(), told.clone()));
    for actor in [person, other, agent] {
        let heard = stage.event(actor, "question.resolved").value();
        assert_eq!(heard["answers"]["answers"], told);
        let kept = stage.call(actor, "question.get", json!({"id": "x"})).unwrap();
        assert_eq!(kept["question"]["answers"]["answers"], told);
    }
    let later = stage.call(agent, "question.waitAnswer", json!({"id": "x"})).unwrap();
    assert_eq!(later["answers"]["answers"], whole);
    let logged = format!("{:?}", stage.host().records());
    assert!(!logged.contains("swordfish"));
}

pub(crate) fn only_who_answers_questions_is_asked(place: Place) {
    let mut stage = Stage::new(place);
    let agent = approver(&mut stage, 4, &[WRITE]);
    let others = [approver(&mut stage, 4, &[WRITE]), approver(&mut stage, 4, &["operator.approvals"])];
    let old = admin(&mut stage, 3);
    stage.call(agent, "question.request", ask("x")).unwrap();
    let error = stage.call(others[0], "question.resolve", answer("x", &["red"])).unwrap_err();
    assert_eq!(error.message, "unknown or expired question id");
    assert_eq!(stage.call(others[0], "question.list", json!({})).unwrap(), json!({"questions": []}));
    let error = stage.call(others[1], "question.list", json!({})).unwrap_err();
    assert_eq!(error.message, "missing scope: operator.questions");
    for actor in [others[0], others[1], old] {
        let heard = stage.drain(actor);
        assert!(!event_names(&heard).iter().any(|name| name.starts_with("question")), "{heard:?}");
    }
    let person = approver(&mut stage, 4, &[ADMIN]);
    stage.call(person, "question.resolve", answer("x", &["red"])).unwrap();
}

/// `question-answers`.
pub(crate) fn a_question_that_cannot_be_kept_is_not_taken(place: Place) {
    let mut stage = Stage::with(place, |config| config.limits.approvals_pending_per_device_max = 1);
    let agent = approver(&mut stage, 4, &[WRITE]);
    let twice = json!({"questions": [question("q"), question("q")]});
    let error = stage.call(agent, "question.request", twice).unwrap_err();
    assert_eq!(error.message, "invalid question.request params: questionId q stands twice");
    let mut stored = question("q");
    stored["secretStore"] = json!({"name": "KEY", "kind": "secret"});
    let error = stage.call(agent, "question.request", json!({"questions": [stored]})).unwrap_err();
    assert!(error.message.contains("no store of secrets"), "{}", error.message);
    stage.call(agent, "question.request", ask("x")).unwrap();
    let error = stage.call(agent, "question.request", ask("y")).unwrap_err();
    assert_eq!((error.code.as_str(), error.detail("reason")), ("UNAVAILABLE", Some("questions-full")));
}
