//! Health probes over HTTP: who is told what, and what they say while no work is taken.

use super::*;
use crate::config::RateLimit;
use crate::http::HttpResponse;
use crate::secret::Secret;
use serde_json::Value;

const TOKEN: &str = "cLaWmArKeR-probe";

fn rig(mode: AuthMode, rate_limit: Option<RateLimit>) -> Rig {
    let mut rig = Rig::new(Limits::default());
    let auth = AuthConfig {
        token: Secret::new(TOKEN),
        password: Secret::new(TOKEN),
        rate_limit,
        ..AuthConfig::new(mode)
    };
    let about = About { version: "1.2.3".to_owned(), ..About::default() };
    let config = Config { auth, about, ..(*rig.gateway.config).clone() };
    rig.gateway = Gateway::new(config, Seed::new([7; 32]), rig.now);
    rig
}

fn get(rig: &mut Rig, method: &str, path: &str, headers: &[(&str, &str)]) -> HttpResponse {
    let conn = rig.open();
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = HttpRequest { method: method.into(), path: path.into(), headers, ..HttpRequest::default() };
    let out = rig.handle(Input::Http { conn, request: Box::new(request) });
    let response = out.into_iter().find_map(|output| {
        if let Output::To(_, Order::Http(response)) = output { Some(*response) } else { None }
    });
    response.unwrap()
}

fn body(response: &HttpResponse) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

const HERE: (&str, &str) = ("host", "127.0.0.1:18789");
const ELSEWHERE: (&str, &str) = ("host", "board.example");

#[test]
fn details_are_for_this_host_and_for_who_proves_the_secret() {
    for mode in [AuthMode::Token, AuthMode::Password] {
        let mut rig = rig(mode, None);
        let good = format!("bEaReR {TOKEN}");
        for (headers, sees) in [
            (vec![HERE], true),
            (vec![ELSEWHERE], false),
            (vec![ELSEWHERE, ("authorization", "Bearer wrong")], false),
            (vec![ELSEWHERE, ("authorization", TOKEN)], false),
            (vec![ELSEWHERE, ("authorization", &good)], true),
        ] {
            for path in ["/ready", "/readyz", "/startup", "/startupz"] {
                let body = body(&get(&mut rig, "GET", path, &headers));
                assert_eq!(body["uptimeMs"].is_u64(), sees, "{path} {headers:?}: {body}");
                assert_eq!(body["version"].is_string(), sees && path.starts_with("/startup"), "{body}");
            }
        }
    }
    // Without a secret nobody elsewhere proves anything.
    let mut rig = rig(AuthMode::None, None);
    let good = format!("Bearer {TOKEN}");
    let body = body(&get(&mut rig, "GET", "/ready", &[ELSEWHERE, ("authorization", &good)]));
    assert_eq!(body, json!({"ready": false}));
}

#[test]
fn guesses_at_the_secret_are_counted_like_those_over_a_websocket() {
    let limit = RateLimit { attempts_max: 3, exempt_loopback: false, ..RateLimit::default() };
    let mut rig = rig(AuthMode::Token, Some(limit));
    let good = format!("Bearer {TOKEN}");
    let ask = |rig: &mut Rig, shown: &str| {
        body(&get(rig, "GET", "/ready", &[ELSEWHERE, ("authorization", shown)]))["uptimeMs"].is_u64()
    };
    assert!(ask(&mut rig, &good));
    for _ in 0..3 {
        assert!(!ask(&mut rig, "Bearer guess"));
    }
    let locked = get(&mut rig, "GET", "/ready", &[ELSEWHERE, ("authorization", &good)]);
    assert_eq!(locked.status, 429, "the right one is not looked at either");
    assert!(locked.headers.contains(&("Retry-After", "300".into())), "{:?}", locked.headers);
    // Liveness is everybody's, locked or not.
    assert_eq!(get(&mut rig, "GET", "/healthz", &[ELSEWHERE]).status, 200);
}

#[test]
fn a_gateway_that_takes_no_work_is_alive_and_not_ready() {
    let mut rig = rig(AuthMode::None, None);
    for (path, status) in [("/health", 200), ("/healthz", 200), ("/startup", 200)] {
        assert_eq!(get(&mut rig, "GET", path, &[HERE]).status, status, "{path}");
        assert_eq!(get(&mut rig, "HEAD", path, &[HERE]).status, status, "{path}");
        let refused = get(&mut rig, "DELETE", path, &[HERE]);
        assert_eq!(refused.status, 405);
        assert!(refused.headers.iter().any(|(name, value)| *name == "Allow" && value == "GET, HEAD"));
    }
    assert_eq!(get(&mut rig, "GET", "/healthz/x", &[HERE]).status, 404);
    let conn = rig.admit();
    let wanted = crate::methods::system_params::SuspendPrepare { request_id: "r".to_owned(), drain: false };
    let call = Call { now: rig.now, conn, id: "9".into(), params: Params::SuspendPrepare(wanted) };
    suspend::prepare(&mut rig.gateway, call, &mut Vec::new());
    for path in ["/ready", "/startup"] {
        let response = get(&mut rig, "GET", path, &[HERE]);
        assert_eq!(response.status, 503, "{path}");
        let body = body(&response);
        match path {
            "/ready" => {
                assert!(body["failing"].as_array().unwrap().contains(&json!("gateway-draining")), "{body}")
            }
            _ => assert_eq!(body["status"], json!("draining")),
        }
    }
    assert_eq!(get(&mut rig, "GET", "/health", &[HERE]).status, 200);
}
