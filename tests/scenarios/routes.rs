//! Who gets what over HTTP: every route with every credential, from this machine, over the network and through a proxy, as
//! a table. What the table says is from http sections 3, 4 and 8 of the specification and rule R5, not from what is
//! answered.

use super::admin;
use super::canvas::{node_with_canvas, path_of, refreshed, send};
use clawgate_proto::config::{CanvasHost, Config, ControlUi, RateLimit};
use clawgate_proto::host::config::LiveConfig;
use clawgate_proto::host::files::FileRoot;
use clawgate_proto::log::Level;
use clawgate_proto::net::Cidr;
use clawgate_support::{Place, Stage, stage};
use serde_json::json;

const TABLE: &str = include_str!("routes.tsv");

/// How a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From a program of this machine.
    Loopback,
    /// From another machine.
    Lan,
    /// From another machine, through a proxy that is trusted.
    Proxy,
}

const WAYS: [Way; 3] = [Way::Loopback, Way::Lan, Way::Proxy];

fn gateway(place: Place, change: impl FnOnce(&mut Config)) -> Stage {
    let stage = Stage::with(place, |config| {
        config.canvas = Some(CanvasHost { live_reload: true });
        config.metrics = true;
        config.control_ui = Some(ControlUi { built_in: true, base_path: String::new() });
        // How many wrong secrets are too many is another test's.
        config.auth.rate_limit = Some(RateLimit { attempts_max: 1_000, ..RateLimit::default() });
        config.limits.capability_ttl_ms = 10_000_000;
        change(config);
    });
    stage.host().put_file(FileRoot::Canvas, "index.html", "<body>hello</body>");
    stage.host().put_file(FileRoot::A2ui, "index.html", "<body>renderer</body>");
    stage.host().put_file(FileRoot::ControlPage, "index.html", "the control page");
    stage
}

/// From now on what comes from this machine's address with a forwarding header is a proxy's.
fn trust_proxy(stage: &mut Stage) {
    let config = stage.config().clone();
    stage.host().edit_config(Some("{gateway: {mode: 'local'}}"));
    stage.host().set_live_config(LiveConfig {
        config: Box::new(Config { trusted_proxies: vec![Cidr::parse("127.0.0.1/32").unwrap()], ..config }),
        log_level: Level::Trace,
    });
    let operator = admin(stage, 4);
    let hash = stage.call(operator, "config.get", json!({})).unwrap()["hash"].clone();
    let raw = "{gateway: {trustedProxies: ['127.0.0.1/32']}}";
    stage.call(operator, "config.patch", json!({"raw": raw, "baseHash": hash})).unwrap();
}

/// Plays one column: the credential of that name, as `before` the path or in `fields`.
fn play(stage: &mut Stage, way: Way, credential: &str, before: &str, fields: &[(&str, &str)]) {
    let mut lines = TABLE.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t'));
    let column = lines.next().unwrap().position(|name| name == credential).expect("a column of the table");
    for line in lines {
        let line: Vec<&str> = line.collect();
        let (route, cell) = (line[0], line[column]);
        let wanted: u16 = cell.split(' ').nth(way as usize).unwrap().parse().unwrap();
        let (path, upgrade) = route.strip_suffix(" upgrade").map_or((route, false), |path| (path, true));
        let mut sent = fields.to_vec();
        if way == Way::Proxy {
            sent.push(("X-Forwarded-For", "203.0.113.7"));
        }
        if upgrade {
            sent.extend([
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ]);
        }
        let answer = send(stage, "GET", &format!("{before}{path}"), way != Way::Lan, &sent);
        assert_eq!(answer.status, wanted, "{route} with {credential}, {way:?}");
        if wanted == 401 {
            assert_eq!(answer.json()["error"]["type"], "unauthorized", "{route} with {credential}");
        }
        // The probes answer everybody, and tell more to who may know more.
        if path == "/readyz" {
            let knows = way == Way::Loopback || credential == "bearer";
            assert_eq!(answer.json()["uptimeMs"].is_u64(), knows, "{credential}, {way:?}");
        }
    }
}

pub(crate) fn every_route_with_every_credential(place: Place) {
    for way in WAYS {
        let ready = |stage: &mut Stage| {
            if way == Way::Proxy {
                trust_proxy(stage);
            }
        };
        let mut stage = gateway(place, |_| {});
        let right = format!("Bearer {}", stage::shared_token());
        let (node, live) = node_with_canvas(&mut stage, 4);
        let (other, _) = node_with_canvas(&mut stage, 3);
        let theirs = refreshed(&mut stage, 3, other);
        let theirs = path_of(&stage, &theirs);
        ready(&mut stage);
        play(&mut stage, way, "none", "", &[]);
        play(&mut stage, way, "bearer", "", &[("Authorization", &right)]);
        play(&mut stage, way, "wrong", "", &[("Authorization", "Bearer cLaWmArKeR-guess")]);
        play(&mut stage, way, "live", &live, &[]);
        play(&mut stage, way, "another's", &theirs, &[]);
        stage.vanish(node);
        stage.pass(20);
        play(&mut stage, way, "disconnected", &live, &[]);
        play(&mut stage, way, "another's", &theirs, &[]);

        let ttl_ms = if place.is_real() { 300 } else { 600_000 };
        let mut stage = gateway(place, |config| config.limits.capability_ttl_ms = ttl_ms);
        let (_, expired) = node_with_canvas(&mut stage, 4);
        ready(&mut stage);
        stage.pass(ttl_ms + 1);
        play(&mut stage, way, "expired", &expired, &[]);
    }
}
