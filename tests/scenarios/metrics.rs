//! `/metrics`, and the memory ceiling. Who may see the numbers is in the table of routes.

use super::canvas::send;
use super::{PROTOCOLS, admin, asking, speaking};
use clawgate_proto::host::Load;
use clawgate_support::exposition::{self, Samples};
use clawgate_support::{Place, Stage, stage};
use serde_json::json;

fn scrape(stage: &mut Stage) -> Samples {
    let bearer = format!("Bearer {}", stage::shared_token());
    let answer = send(stage, "GET", "/metrics", true, &[("Authorization", &bearer)]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(!text.contains(&stage::shared_token()));
    exposition::parse(&text).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

pub(crate) fn the_numbers_are_those_of_what_has_happened(place: Place) {
    let mut stage = Stage::with(place, |config| config.metrics = true);
    let before = scrape(&mut stage);
    let [old, new] = PROTOCOLS.map(|protocol| admin(&mut stage, protocol));
    for actor in [old, new] {
        stage.call(actor, "health", json!({})).unwrap();
        stage.call(actor, "no.such.method", json!({})).unwrap_err();
        stage.call(actor, "voicewake.set", json!({"triggers": ["claw"]})).unwrap();
        stage.call(actor, "device.pair.approve", json!({"requestId": "none"})).unwrap_err();
    }
    let key = stage.key();
    let mut stranger = speaking(4, stage.client(Some(key)));
    stranger.auth.token = Some("cLaWmArKeR-guess".to_owned());
    stage.try_admit(stranger).unwrap_err();
    let after = scrape(&mut stage);
    let grew = |name: &str| {
        let value = |samples: &Samples| samples.get(name).copied().unwrap_or_default();
        value(&after) - value(&before)
    };
    assert_eq!(grew("clawgate_connections{role=\"operator\",protocol=\"3\"}"), 1.0);
    assert_eq!(grew("clawgate_connections{role=\"operator\",protocol=\"4\"}"), 1.0);
    assert_eq!(grew("clawgate_connections_admitted_total"), 2.0);
    assert_eq!(grew("clawgate_requests_total{family=\"health\"}"), 2.0);
    assert_eq!(grew("clawgate_request_errors_total{family=\"health\"}"), 0.0);
    assert_eq!(grew("clawgate_requests_total{family=\"unknown\"}"), 2.0);
    assert_eq!(grew("clawgate_request_errors_total{family=\"unknown\"}"), 2.0);
    assert_eq!(
        grew("clawgate_request_errors_total{family=\"device\"}"),
        2.0,
        "also when the answer comes later"
    );
    assert_eq!(grew("clawgate_refused_total{reason=\"AUTH_TOKEN_MISMATCH\"}"), 1.0);
    assert!(grew("clawgate_disk_writes_total") >= 4.0, "two devices, and wake words twice");
    assert!(grew("clawgate_events_sent_total") >= 2.0);
    assert!(after["clawgate_sockets{state=\"open\"}"] == 2.0 && after["clawgate_nodes_connected"] == 0.0);
    assert_eq!(after["clawgate_config_valid"], 1.0);
    assert!(after["clawgate_budget_bytes"] > after["clawgate_budget_used_bytes"]);
}

pub(crate) fn nobody_makes_the_page_longer_than_it_may_be(place: Place) {
    let mut stage = Stage::with(place, |config| {
        config.metrics = true;
        config.limits.counted_reasons_max = 4;
    });
    let operator = admin(&mut stage, 4);
    for n in 0..20 {
        stage.call(operator, &format!("x{n}.y"), json!({})).unwrap_err();
    }
    let samples = scrape(&mut stage);
    let count = |prefix: &str| samples.keys().filter(|name| name.starts_with(prefix)).count();
    assert_eq!(samples["clawgate_requests_total{family=\"unknown\"}"], 20.0);
    assert!(count("clawgate_requests_total") < 10 && count("clawgate_refused_total") <= 5);
}

pub(crate) fn without_the_setting_there_is_no_such_page(place: Place) {
    let mut stage = Stage::new(place);
    let bearer = format!("Bearer {}", stage::shared_token());
    assert_eq!(send(&mut stage, "GET", "/metrics", true, &[("Authorization", &bearer)]).status, 404);
    let mut stage = Stage::with(place, |config| config.metrics = true);
    assert_eq!(send(&mut stage, "POST", "/metrics", true, &[("Authorization", &bearer)]).status, 405);
}

const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
];

pub(crate) fn above_the_memory_ceiling_nobody_new_comes_in_and_who_is_here_stays(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = Stage::with(place, |config| {
            config.limits.memory_bytes_max = 100 << 20;
            config.limits.memory_look_ms = 100;
        });
        let uses = |stage: &Stage, mib: u64| {
            stage.host().set_load(Load { cpu_ms: 1, resident_bytes: mib << 20 });
        };
        uses(&stage, 50);
        let operator = admin(&mut stage, protocol);
        uses(&stage, 200);
        stage.pass(150);
        // Whoever comes first has it looked at; the next one is refused by what was found.
        let first = send(&mut stage, "GET", "/", true, &UPGRADE);
        assert_eq!(first.status, 101);
        stage.pass(150);
        let refused = send(&mut stage, "GET", "/", true, &UPGRADE);
        let told = "The gateway has reached its memory ceiling (limits.memoryBytesMax)";
        assert_eq!((refused.status, String::from_utf8_lossy(&refused.body).as_ref()), (503, told));
        assert!(stage.host().has_logged("memory.ceiling"));
        // Who is here stays, and so do the probes.
        let status = stage.call(operator, "status", json!({})).unwrap();
        assert!(status["gateway"]["refused"]["memory-ceiling"].as_u64() >= Some(1));
        assert_eq!(send(&mut stage, "GET", "/healthz", true, &[]).status, 200);
        uses(&stage, 50);
        stage.pass(150);
        send(&mut stage, "GET", "/", true, &UPGRADE);
        stage.pass(150);
        let key = stage.key();
        let late = asking(&["operator.read"], speaking(protocol, stage.client(Some(key))));
        stage.admit(late);
        assert!(stage.host().has_logged("memory.below-ceiling"));
    }
}
