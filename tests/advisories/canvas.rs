//! The canvas, which was once open to everybody, then to whoever shared an address with somebody, and whose paths had
//! more than one meaning.

use super::{ADMIN, PROTOCOLS, PROXY, asking, forwarded, get, http, knock, operator, speaking, turned_away};
use clawgate_proto::client::{ClientConfig, Hello};
use clawgate_proto::config::CanvasHost;
use clawgate_proto::host::files::FileRoot;
use clawgate_proto::net::Cidr;
use clawgate_support::stage::shared_token;
use clawgate_support::{Actor, Place, Stage, secrets};
use serde_json::json;
use std::net::Ipv4Addr;

const PAGE: &str = "/__openclaw__/canvas/";

fn canvas(place: Place) -> Stage {
    let stage = Stage::with(place, |config| {
        config.trusted_proxies = vec![Cidr::parse(&PROXY.to_string()).unwrap()];
        config.canvas = Some(CanvasHost { live_reload: true });
    });
    stage.host().put_file(FileRoot::Canvas, "index.html", "what an agent shows");
    stage
}

/// An upgrade to the socket of pages that load themselves again.
fn listens(fields: &str) -> String {
    get(
        "/__openclaw__/ws",
        &format!(
            "{fields}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        ),
    )
}

/// #9517: the canvas and the socket of its pages were served to everybody.
pub(crate) fn nobody_from_elsewhere_sees_it(place: Place) {
    let mut stage = canvas(place);
    for target in
        [PAGE, "/__openclaw__/canvas", "/__openclaw__/canvas/x", "/__openclaw__/a2ui/", "/__openclaw__/ws"]
    {
        for fields in
            ["Host: gw.example\r\n", "X-Forwarded-For: 203.0.113.7\r\n", "Forwarded: for=127.0.0.1\r\n"]
        {
            let (status, answer) = http(&mut stage, Ipv4Addr::LOCALHOST, &get(target, fields));
            assert_eq!(status, 401, "{target} with {fields}");
            assert!(!answer.contains("agent"), "{answer}");
        }
    }
    assert_eq!(http(&mut stage, Ipv4Addr::LOCALHOST, &listens("Host: gw.example\r\n")).0, 401);
    // This machine, and who has the secret, see it.
    assert_eq!(http(&mut stage, Ipv4Addr::LOCALHOST, &get(PAGE, "")).0, 200);
    let bearer = format!("Host: gw.example\r\nAuthorization: Bearer {}\r\n", shared_token());
    assert_eq!(http(&mut stage, Ipv4Addr::LOCALHOST, &get(PAGE, &bearer)).0, 200);
}

/// A node with a canvas, from this address behind the proxy, and the path of its address.
fn node(stage: &mut Stage, protocol: u64, ip: &str) -> (Actor, String) {
    let admin = operator(stage, 4, &[ADMIN]);
    let key = stage.key();
    let config = asking(&[], speaking(protocol, stage.client_as("node-host", "node", Some(key))));
    let config = ClientConfig { role: "node".to_owned(), caps: vec!["canvas".to_owned()], ..config };
    let config = forwarded(ip, config);
    let waits = turned_away(stage, PROXY, config.clone());
    let approve = json!({"requestId": super::request_id(&waits)});
    stage.call(admin, "device.pair.approve", approve).unwrap();
    let (node, hello) = knock(stage, PROXY, config).unwrap();
    let url = match url_of(&hello) {
        Some(url) => url,
        None => {
            let requested = stage.event(admin, "node.pair.requested").value();
            let approve = json!({"requestId": requested["requestId"]});
            stage.call(admin, "node.pair.approve", approve).unwrap();
            let answer =
                stage.call(node, "node.pluginSurface.refresh", json!({"surface": "canvas"})).unwrap();
            answer["pluginSurfaceUrls"]["canvas"].as_str().unwrap().to_owned()
        }
    };
    let path = url.split_once("//").unwrap().1.split_once('/').unwrap().1;
    secrets::record(path.rsplit('/').next().unwrap());
    (node, format!("/{path}"))
}

fn url_of(hello: &Hello) -> Option<String> {
    let hello = &hello.0;
    let url = hello["canvasHostUrl"].as_str().or_else(|| hello["pluginSurfaceUrls"]["canvas"].as_str());
    url.map(str::to_owned)
}

/// CVE-2026-3690, GHSA-cjv3-m589-v3rx: whoever came from the address of somebody who was in, or through the same proxy,
/// saw the canvas.
pub(crate) fn an_address_shared_with_a_node_opens_nothing(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = canvas(place);
        let (_, path) = node(&mut stage, protocol, "203.0.113.7");
        for chain in ["203.0.113.7", "203.0.113.7, 127.0.0.9", "", "127.0.0.9"] {
            let fields = format!("X-Forwarded-For: {chain}\r\n");
            assert_eq!(http(&mut stage, PROXY, &get(PAGE, &fields)).0, 401, "{chain}");
            assert_eq!(http(&mut stage, PROXY, &listens(&fields)).0, 401, "{chain}");
        }
        // What was made for the node is for whoever shows it, wherever that one is.
        let fields = "X-Forwarded-For: 198.51.100.9\r\n";
        assert_eq!(http(&mut stage, PROXY, &get(&format!("{path}{PAGE}"), fields)).0, 200);
    }
}

/// CVE-2026-34503, for addresses that carry their own right: they went on working when their owner was gone.
pub(crate) fn an_address_ends_with_its_connection(place: Place) {
    for protocol in PROTOCOLS {
        let mut stage = canvas(place);
        let (first, path) = node(&mut stage, protocol, "203.0.113.7");
        let (_, other) = node(&mut stage, protocol, "203.0.113.8");
        let fields = "X-Forwarded-For: 203.0.113.7\r\n";
        let see =
            |stage: &mut Stage, path: &str| http(stage, PROXY, &get(&format!("{path}{PAGE}"), fields)).0;
        assert_eq!(see(&mut stage, &path), 200);
        stage.close(first);
        assert_eq!(see(&mut stage, &path), 401);
        assert_eq!(see(&mut stage, &other), 200, "another's is its own");
    }
}

/// GHSA-v865-p3gq-hw6m, for files: a path encoded several times meant one thing to the guard and another to who opened it.
pub(crate) fn a_path_leads_to_one_file(place: Place) {
    let mut stage = canvas(place);
    stage.host().put_file(FileRoot::Canvas, "a b/c.txt", "honest");
    // Where such spellings would lead, if anybody took them for something else.
    for path in ["../secret", ".secret", "a b/../secret", "%2e%2e/secret", "..%2fsecret", "a b\\c.txt"] {
        stage.host().put_file(FileRoot::Canvas, path, "what nobody may see");
    }
    for spelling in [
        "../secret",
        "%2e%2e/secret",
        "%252e%252e/secret",
        "..%2fsecret",
        "..%252fsecret",
        ".secret",
        "%2esecret",
        "a%20b/../secret",
        "a%20b/%2e%2e/secret",
        "a%20b%5cc.txt",
        "a%20b%2fc.txt",
        "a%2520b/c.txt",
        "a%20b//c.txt",
        "/a%20b/c.txt",
        "a%20b/c.txt%00.html",
        "./a%20b/c.txt",
    ] {
        let (status, answer) = http(&mut stage, Ipv4Addr::LOCALHOST, &get(&format!("{PAGE}{spelling}"), ""));
        assert_eq!(status, 404, "{spelling}");
        assert!(!answer.contains("nobody") && !answer.contains("honest"), "{spelling}: {answer}");
    }
    let (_, answer) = http(&mut stage, Ipv4Addr::LOCALHOST, &get(&format!("{PAGE}a%20b/c.txt"), ""));
    assert!(answer.ends_with("honest"), "{answer}");
}
