//! The canvas over HTTP: files, who may have them, addresses that carry their own right, pages that load themselves
//! again.

use super::{ADMIN, admin, asking, speaking};
use clawgate_proto::client::{ClientConfig, ClientEvent, DeviceKey};
use clawgate_proto::config::{AuthMode, CanvasHost, Config, RateLimit};
use clawgate_proto::host::files::FileRoot;
use clawgate_support::{Actor, Place, Stage, stage};
use serde_json::{Value, json};

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
        let headers = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A canvas that is served, with a page and a file.
fn canvas(place: Place) -> Stage {
    canvas_with(place, |_| {})
}

fn canvas_with(place: Place, change: impl FnOnce(&mut Config)) -> Stage {
    let stage = Stage::with(place, |config| {
        config.canvas = Some(CanvasHost { live_reload: true });
        change(config);
    });
    stage.host().put_file(FileRoot::Canvas, "index.html", "<body>hello</body>");
    stage.host().put_file(FileRoot::Canvas, "sub/a b.css", "p{}");
    stage
}

/// Here: a program of this machine. Afar: it calls this machine by a name that is not this machine's own.
pub(crate) fn send(
    stage: &mut Stage,
    method: &str,
    target: &str,
    here: bool,
    fields: &[(&str, &str)],
) -> Answer {
    let host = if here { "127.0.0.1" } else { "gw.example" };
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}:{}\r\nConnection: close\r\n",
        stage.config().port
    );
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    Answer::parse(&stage.exchange(head.as_bytes(), WAIT_MS))
}

pub(crate) fn get(stage: &mut Stage, target: &str) -> Answer {
    send(stage, "GET", target, true, &[])
}

fn get_from_afar(stage: &mut Stage, target: &str) -> Answer {
    send(stage, "GET", target, false, &[])
}

/// Only what fails takes as long.
const WAIT_MS: u64 = 20_000;
const INDEX: &str = "/__openclaw__/canvas/";

pub(crate) fn files_are_served_with_their_types_and_in_a_sandbox(place: Place) {
    let mut stage = canvas(place);
    let page = get(&mut stage, INDEX);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().starts_with("<body>hello<script>") && page.text().ends_with("</script></body>"));
    for header in [
        ("content-security-policy", "sandbox allow-scripts"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(page.header(header.0), Some(header.1));
    }
    assert_eq!(
        page.header("access-control-allow-origin"),
        None,
        "this machine shares nothing with other pages"
    );
    // Both forms of the mount are its page.
    assert_eq!(get(&mut stage, "/__openclaw__/canvas").body, page.body);
    let style = get(&mut stage, "/__openclaw__/canvas/sub/a%20b.css");
    assert_eq!((style.status, style.text()), (200, "p{}"));
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    let head = send(&mut stage, "HEAD", INDEX, true, &[]);
    assert_eq!((head.status, head.header("content-length")), (200, page.header("content-length")));
    assert_eq!(head.body, b"");
}

pub(crate) fn what_is_not_there_is_said_so(place: Place) {
    let mut stage = canvas(place);
    for (target, status, text) in [
        ("/__openclaw__/canvas/x", 404, "not found"),
        ("/__openclaw__/canvas/..%2fx", 404, "not found"),
        ("/__openclaw__/canvas/../x", 404, "not found"),
        ("/__openclaw__/canvas/.env", 404, "not found"),
        ("/__openclaw__/canvas/a%00", 404, "not found"),
        ("/__openclaw__/canvas/%252e%252e/x", 404, "not found"),
        ("/__openclaw__/canvas/%zz", 400, "The path is not percent-encoded UTF-8."),
        ("/__openclaw__/canvasx", 404, "Not Found"),
        ("/__openclaw__/a2ui/", 503, "A2UI assets not found"),
        ("/__openclaw__/ws", 426, "upgrade required"),
    ] {
        let answer = get(&mut stage, target);
        assert_eq!((answer.status, answer.text()), (status, text), "{target}");
    }
    let post = send(&mut stage, "POST", INDEX, true, &[]);
    assert_eq!(
        (post.status, post.text(), post.header("allow")),
        (405, "Method Not Allowed", Some("GET, HEAD"))
    );
    // Relative links of a folder's page need the slash, and whatever stands behind the path stays.
    stage.host().put_file(FileRoot::Canvas, "sub/index.html", "<p>");
    let folder = get(&mut stage, "/__openclaw__/canvas/sub?x=1");
    assert_eq!((folder.status, folder.header("location")), (302, Some("./sub/?x=1")));
    assert_eq!(get(&mut stage, "/__openclaw__/canvas/sub/").status, 200);
    stage.host().remove_file(FileRoot::Canvas, "sub/index.html");
    let bare = get(&mut stage, "/__openclaw__/canvas/sub/");
    assert_eq!((bare.status, bare.header("content-type")), (404, Some("text/html; charset=utf-8")));
    // Where nothing was put yet there is a page that says so.
    stage.host().remove_file(FileRoot::Canvas, "index.html");
    let starter = get(&mut stage, INDEX);
    assert_eq!(starter.status, 200);
    assert!(starter.text().contains("Nothing is shown here yet") && starter.text().contains("<script>"));
    let mut off = Stage::new(place);
    for target in [INDEX, "/__openclaw__/a2ui/", "/__openclaw__/ws"] {
        let answer = get(&mut off, target);
        assert_eq!((answer.status, answer.text()), (404, "Not Found"), "{target}");
    }
    assert_eq!(off.host().file_reads(), 0);
}

pub(crate) fn copies_and_parts_are_known(place: Place) {
    let mut stage = canvas(place);
    stage.host().put_file(FileRoot::Canvas, "a.mp4", "0123456789");
    let target = "/__openclaw__/canvas/a.mp4";
    let whole = get(&mut stage, target);
    let etag = whole.header("etag").unwrap().to_owned();
    assert_eq!((whole.status, whole.header("accept-ranges")), (200, Some("bytes")));
    let mut ask = |fields: &[(&str, &str)]| send(&mut stage, "GET", target, true, fields);
    let same = ask(&[("If-None-Match", &etag)]);
    assert_eq!((same.status, same.text(), same.header("content-length")), (304, "", None));
    let part = ask(&[("Range", "bytes=2-4"), ("If-Range", &etag)]);
    assert_eq!((part.status, part.text()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(ask(&[("Range", "bytes=-2")]).text(), "89");
    let beyond = ask(&[("Range", "bytes=10-")]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    stage.host().put_file(FileRoot::Canvas, "a.mp4", "9876543210");
    let mut ask = |fields: &[(&str, &str)]| send(&mut stage, "GET", target, true, fields);
    assert_eq!(ask(&[("If-None-Match", &etag)]).text(), "9876543210");
    assert_eq!(ask(&[("Range", "bytes=2-4"), ("If-Range", &etag)]).status, 200);
}

pub(crate) fn a_large_file_comes_in_pieces(place: Place) {
    let mut stage = canvas_with(place, |config| config.limits.file_piece_bytes = 20_000);
    let content: Vec<u8> = (0..150_001_u32).map(|at| (at % 251) as u8).collect();
    stage.host().put_file(FileRoot::Canvas, "a.bin", content.clone());
    stage.host().put_file(FileRoot::Canvas, "a.html", content.clone());
    let before = stage.host().file_reads();
    let whole = get(&mut stage, "/__openclaw__/canvas/a.bin");
    assert_eq!(whole.header("content-length"), Some("150001"));
    assert!(whole.body == content);
    assert_eq!(stage.host().file_reads() - before, 8);
    let part =
        send(&mut stage, "GET", "/__openclaw__/canvas/a.bin", true, &[("Range", "bytes=70000-149999")]);
    assert_eq!(part.status, 206);
    assert!(part.body == content[70_000..150_000]);
    // A page too large to look for its end is given the script behind it.
    let page = get(&mut stage, "/__openclaw__/canvas/a.html");
    assert_eq!(page.header("content-length"), Some(page.body.len().to_string().as_str()));
    assert!(page.body.starts_with(&content) && page.body.ends_with(b"</script>"));
    // Two on one connection, one after the other.
    let port = stage.config().port;
    let ask = |last: &str| {
        format!("GET /__openclaw__/canvas/a.bin HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{last}\r\n")
    };
    let both = [ask(""), ask("Connection: close\r\n")].concat();
    let bytes = stage.exchange(both.as_bytes(), WAIT_MS);
    let second = bytes.len() - content.len();
    assert!(
        bytes[second..] == content[..]
            && bytes.windows(15).filter(|head| *head == b"HTTP/1.1 200 OK").count() == 2
    );
}

/// A node that says that it has a canvas.
fn node(stage: &Stage, protocol: u64, key: &DeviceKey) -> ClientConfig {
    let config = asking(&[], speaking(protocol, stage.client_as("node-host", "node", Some(key.clone()))));
    ClientConfig { role: "node".to_owned(), caps: vec!["canvas".to_owned()], ..config }
}

fn approve(stage: &mut Stage, operator: Actor) {
    let requested = stage.event(operator, "node.pair.requested").value();
    stage.call(operator, "node.pair.approve", json!({"requestId": requested["requestId"]})).unwrap();
}

/// The method by which a node gets another address.
pub(crate) fn refreshed(stage: &mut Stage, protocol: u64, node: Actor) -> String {
    match protocol {
        3 => {
            let answer = stage.call(node, "node.canvas.capability.refresh", json!({})).unwrap();
            let url = answer["canvasHostUrl"].as_str().unwrap().to_owned();
            assert!(url.ends_with(answer["canvasCapability"].as_str().unwrap()));
            let left_ms = answer["canvasCapabilityExpiresAtMs"].as_u64().unwrap() - stage.now().wall.0;
            let ttl_ms = stage.config().limits.capability_ttl_ms;
            assert!((ttl_ms - 1_000..=ttl_ms).contains(&left_ms), "{left_ms} of {ttl_ms}");
            url
        }
        _ => {
            let answer =
                stage.call(node, "node.pluginSurface.refresh", json!({"surface": "canvas"})).unwrap();
            assert_eq!(answer["surface"], "canvas");
            assert!(answer["expiresAtMs"].as_u64().unwrap() > stage.now().wall.0);
            answer["pluginSurfaceUrls"]["canvas"].as_str().unwrap().to_owned()
        }
    }
}

/// The path of an address, for a request that comes from anywhere.
pub(crate) fn path_of(stage: &Stage, url: &str) -> String {
    let origin = stage.origin();
    url.strip_prefix(&origin).unwrap_or_else(|| panic!("{url} is not on {origin}")).to_owned()
}

fn hello_url(hello: &Value) -> Option<&str> {
    let (old, new) = (&hello["canvasHostUrl"], &hello["pluginSurfaceUrls"]["canvas"]);
    old.as_str().or_else(|| new.as_str())
}

/// A node with an address that works, and the path of that.
pub(crate) fn node_with_canvas(stage: &mut Stage, protocol: u64) -> (Actor, String) {
    let operator = admin(stage, 4);
    let key = stage.key();
    let (node, hello) = stage.admit(node(stage, protocol, &key));
    let url = match hello_url(&hello.0) {
        Some(url) => url.to_owned(),
        None => {
            approve(stage, operator);
            refreshed(stage, protocol, node)
        }
    };
    let path = path_of(stage, &url);
    (node, path)
}

pub(crate) fn a_node_gets_an_address_when_its_canvas_is_approved(place: Place) {
    for protocol in [3, 4] {
        let mut stage = canvas(place);
        let operator = admin(&mut stage, 4);
        let key = stage.key();
        let (first, hello) = stage.admit(node(&stage, protocol, &key));
        let refresh =
            if protocol == 3 { "node.canvas.capability.refresh" } else { "node.pluginSurface.refresh" };
        let named = &hello.0["features"]["methods"];
        assert!(named.as_array().unwrap().contains(&json!(refresh)), "where it works it is named");
        if protocol == 4 {
            assert_eq!(hello_url(&hello.0), None, "nobody approved it yet");
            let params = json!({"surface": "canvas"});
            let error = stage.call(first, "node.pluginSurface.refresh", params).unwrap_err();
            assert_eq!(
                (error.code.as_str(), error.message.as_str()),
                ("UNAVAILABLE", "canvas plugin surface unavailable")
            );
            approve(&mut stage, operator);
            refreshed(&mut stage, protocol, first);
        } else {
            // The approval of its device covers what it declares first.
            assert!(hello_url(&hello.0).is_some());
        }
        stage.close(first);
        let (second, hello) = stage.admit(node(&stage, protocol, &key));
        let url = hello_url(&hello.0).unwrap().to_owned();
        let (member, other) = if protocol == 3 {
            ("canvasHostUrl", "pluginSurfaceUrls")
        } else {
            ("pluginSurfaceUrls", "canvasHostUrl")
        };
        assert!(hello.0.get(member).is_some() && hello.0.get(other).is_none());
        let path = path_of(&stage, &url);
        let (before, token) = path.rsplit_once('/').unwrap();
        assert_eq!((before, token.len()), ("/__openclaw__/cap", 24));
        let page = get_from_afar(&mut stage, &format!("{path}{INDEX}"));
        assert_eq!((page.status, page.header("access-control-allow-origin")), (200, Some("*")));
        // On this machine it does no less, though nobody needs it there.
        let page = get(&mut stage, &format!("{path}{INDEX}"));
        assert_eq!((page.status, page.header("access-control-allow-origin")), (200, Some("*")));
        // It may stand in the query as well, and is for the canvas alone.
        assert_eq!(get_from_afar(&mut stage, &format!("{INDEX}?oc_cap={token}")).status, 200);
        let ready = get_from_afar(&mut stage, &format!("{path}/readyz"));
        assert_eq!(ready.json(), json!({"ready": true}));
        stage.close(second);
        // One without a canvas has no use for an address.
        let key = stage.key();
        let bare = ClientConfig { caps: Vec::new(), ..node(&stage, protocol, &key) };
        let (bare, hello) = stage.admit(bare);
        assert_eq!(hello_url(&hello.0), None);
        let (method, params) = match protocol {
            3 => ("node.canvas.capability.refresh", json!({})),
            _ => ("node.pluginSurface.refresh", json!({"surface": "canvas"})),
        };
        assert_eq!(stage.call(bare, method, params).unwrap_err().code, "UNAVAILABLE");
    }
}

pub(crate) fn operators_see_the_canvas_in_their_own_protocol(place: Place) {
    let mut stage = canvas(place);
    let origin = stage.origin();
    let key = stage.key();
    let (_, hello) = stage.admit(asking(&[ADMIN], speaking(3, stage.client(Some(key)))));
    assert_eq!(hello.0["canvasHostUrl"], json!(origin));
    let key = stage.key();
    let (operator, hello) = stage.admit(asking(&["operator.read"], speaking(4, stage.client(Some(key)))));
    let first = hello.0["pluginSurfaceUrls"]["canvas"].as_str().unwrap().to_owned();
    assert!(first.starts_with(&format!("{origin}/__openclaw__/cap/")));
    let params = json!({"surface": "canvas", "observedUrl": "https://evil.example/"});
    let answer = stage.call(operator, "plugin.surface.refresh", params).unwrap();
    let second = answer["pluginSurfaceUrls"]["canvas"].as_str().unwrap().to_owned();
    assert!(second.starts_with(&origin) && second != first, "nobody says where an address leads");
    for (params, message) in [
        (json!({"surface": " "}), "surface required"),
        (json!({"surface": "board"}), "board plugin surface unavailable"),
    ] {
        assert_eq!(stage.call(operator, "plugin.surface.refresh", params).unwrap_err().message, message);
    }
    let key = stage.key();
    let (_, hello) = stage.admit(asking(&["operator.pairing"], speaking(4, stage.client(Some(key)))));
    assert_eq!(hello_url(&hello.0), None, "who may not read has no canvas");
}

pub(crate) fn who_may_have_a_file(place: Place) {
    for protocol in [3, 4] {
        let mut stage = canvas_with(place, |config| config.limits.capability_ttl_ms = 10_000_000);
        let (node, live) = node_with_canvas(&mut stage, protocol);
        let (other, replaced) = node_with_canvas(&mut stage, protocol);
        let theirs = refreshed(&mut stage, protocol, other);
        let theirs = path_of(&stage, &theirs);
        let right = format!("Bearer {}", stage::shared_token());
        let wrong = "Bearer cLaWmArKeR-guess";
        let unknown = "/__openclaw__/cap/AAAAAAAAAAAAAAAAAAAAAAAA";
        let rows = |stage: &mut Stage, live_works: bool| {
            for route in [INDEX, "/__openclaw__/canvas/x", "/__openclaw__/a2ui/", "/__openclaw__/ws"] {
                let found = get(stage, route).status;
                assert!([200, 404, 426, 503].contains(&found), "{route}");
                let mut check = |before: &str, here: bool, fields: &[(&str, &str)], may: bool| {
                    let answer = send(stage, "GET", &format!("{before}{route}"), here, fields);
                    let want = if may { found } else { 401 };
                    assert_eq!(answer.status, want, "{route} with {before:?} and {fields:?}");
                    if !may {
                        assert_eq!(answer.json()["error"]["type"], "unauthorized");
                    }
                };
                check("", false, &[], false);
                check("", false, &[("Authorization", &right)], true);
                check("", false, &[("Authorization", wrong)], false);
                check("", false, &[("authorization", &right.replace("Bearer", "bearer"))], true);
                check("", false, &[("Authorization", &right.replace("Bearer", "Basic"))], false);
                check("", true, &[], true);
                // A proxy that nobody trusts makes everybody remote; what it says of them counts for nothing.
                check("", true, &[("X-Forwarded-For", "127.0.0.1")], false);
                check("", true, &[("X-Real-IP", "::1")], false);
                check(&live, false, &[], live_works);
                check(&live, false, &[("Authorization", wrong)], live_works);
                check(&theirs, false, &[], true);
                check(&replaced, false, &[], false);
                check(unknown, false, &[], false);
                check(unknown, true, &[], true);
                // What can be none is refused whoever asks.
                check("/__openclaw__/cap/x", true, &[], false);
                check("/__openclaw__/cap/", true, &[("Authorization", &right)], false);
            }
        };
        rows(&mut stage, true);
        stage.vanish(node);
        stage.pass(20);
        rows(&mut stage, false);
        let said = get_from_afar(&mut stage, &format!("{live}{INDEX}"));
        assert_eq!(said.json()["error"]["code"], "CAPABILITY_UNKNOWN");
        let records: String = stage.host().records().iter().map(|record| format!("{record:?}")).collect();
        for path in [&live, &replaced, &theirs] {
            assert!(!records.contains(path.rsplit('/').next().unwrap()), "an address in the log");
        }
    }
}

pub(crate) fn an_address_that_nobody_uses_expires(place: Place) {
    let ttl_ms = if place.is_real() { 3_000 } else { 600_000 };
    let mut stage = canvas_with(place, |config| config.limits.capability_ttl_ms = ttl_ms);
    let (node, path) = node_with_canvas(&mut stage, 4);
    let target = format!("{path}{INDEX}");
    // Each use begins the time anew.
    for _ in 0..3 {
        stage.pass(ttl_ms / 2);
        assert_eq!(get_from_afar(&mut stage, &target).status, 200);
    }
    stage.pass(ttl_ms + 1);
    let expired = get_from_afar(&mut stage, &target);
    assert_eq!((expired.status, &expired.json()["error"]["code"]), (401, &json!("CAPABILITY_EXPIRED")));
    assert!(expired.json()["error"]["message"].as_str().unwrap().contains("node.pluginSurface.refresh"));
    assert_eq!(get_from_afar(&mut stage, &target).status, 401, "asking again does not wake it");
    let fresh = refreshed(&mut stage, 4, node);
    let fresh = path_of(&stage, &fresh);
    assert_eq!(get_from_afar(&mut stage, &format!("{fresh}{INDEX}")).status, 200);
}

pub(crate) fn an_address_dies_with_the_right_to_it(place: Place) {
    let mut stage = canvas(place);
    let operator = admin(&mut stage, 4);
    let (node, path) = node_with_canvas(&mut stage, 4);
    let target = format!("{path}{INDEX}");
    assert_eq!(get_from_afar(&mut stage, &target).status, 200);
    let nodes = stage.call(operator, "node.list", json!({})).unwrap();
    let id = nodes["nodes"][0]["nodeId"].clone();
    stage.call(operator, "node.pair.remove", json!({"nodeId": id})).unwrap();
    stage.closed(node);
    assert_eq!(get_from_afar(&mut stage, &target).status, 401);
}

pub(crate) fn guesses_at_the_canvas_are_counted(place: Place) {
    let mut stage = canvas_with(place, |config| {
        config.auth.rate_limit = Some(RateLimit { attempts_max: 3, ..RateLimit::default() });
    });
    let (_, path) = node_with_canvas(&mut stage, 4);
    // What comes through a proxy is not spared, although its socket is this machine's.
    let proxied = ("X-Forwarded-For", "203.0.113.7");
    let guess = ("Authorization", "Bearer cLaWmArKeR-guess");
    for _ in 0..3 {
        assert_eq!(send(&mut stage, "GET", INDEX, false, &[proxied, guess]).status, 401);
    }
    let right = format!("Bearer {}", stage::shared_token());
    let locked = send(&mut stage, "GET", INDEX, false, &[proxied, ("Authorization", &right)]);
    assert_eq!((locked.status, &locked.json()["error"]["type"]), (429, &json!("rate_limited")));
    let wait: u64 = locked.header("retry-after").unwrap().parse().unwrap();
    assert!((290..=300).contains(&wait));
    // No secret is no guess, and an address is none either.
    assert_eq!(send(&mut stage, "GET", INDEX, false, &[proxied]).status, 401);
    assert_eq!(send(&mut stage, "GET", &format!("{path}{INDEX}"), false, &[proxied, guess]).status, 200);
}

pub(crate) fn without_a_secret_only_this_machine_sees_the_canvas(place: Place) {
    let mut stage = canvas_with(place, |config| config.auth.mode = AuthMode::None);
    assert_eq!(get(&mut stage, INDEX).status, 200);
    assert_eq!(get_from_afar(&mut stage, INDEX).status, 401);
}

/// Opens the socket of a page.
fn page(stage: &mut Stage, path: &str, origin: Option<&str>) -> Actor {
    let config = ClientConfig {
        path: path.to_owned(),
        origin: origin.map(str::to_owned),
        answers_challenge: false,
        connect_timeout_ms: 3_600_000,
        ..stage.client(None)
    };
    stage.open(config)
}

fn is_reload(event: &ClientEvent) -> bool {
    matches!(event, ClientEvent::Unrecognised(text) if &*text.0 == "reload")
}

pub(crate) fn a_page_is_told_when_a_file_has_changed(place: Place) {
    let mut stage = canvas(place);
    let one = page(&mut stage, "/__openclaw__/ws", Some("null"));
    let other = page(&mut stage, "/__openclaw__/ws", None);
    stage.pass(400);
    assert!(stage.host().is_watching_files());
    stage.host().put_file(FileRoot::Canvas, "index.html", "1");
    stage.host().put_file(FileRoot::Canvas, "x.js", "1");
    for page in [one, other] {
        assert!(stage.wait_for(page, WAIT_MS, is_reload).is_some());
    }
    // Two changes in a moment are one piece of news.
    stage.pass(600);
    assert!(stage.wait_for(one, 0, is_reload).is_none());
    // Who writes all the time does not keep the news for ever.
    for at in 0..25 {
        stage.host().put_file(FileRoot::Canvas, "x.js", at.to_string());
        stage.pass(150);
    }
    assert!(stage.wait_for(other, 0, is_reload).is_some());
    stage.vanish(one);
    stage.vanish(other);
    stage.pass(500);
    assert!(!stage.host().is_watching_files(), "nobody looks when nobody listens");
}

pub(crate) fn only_pages_of_the_canvas_listen(place: Place) {
    let mut stage = canvas_with(place, |config| config.limits.reload_sockets_max = 3);
    let refused = |stage: &mut Stage, path: &str, origin: Option<&str>| {
        let actor = page(stage, path, origin);
        match stage.wait_for(actor, WAIT_MS, |event| matches!(event, ClientEvent::HttpRefused { .. })) {
            Some(ClientEvent::HttpRefused { status, .. }) => status,
            _ => 0,
        }
    };
    assert_eq!(refused(&mut stage, "/__openclaw__/ws", Some("http://evil.example")), 403);
    assert_eq!(refused(&mut stage, "/__openclaw__/cap/x/__openclaw__/ws", None), 401);
    let port = stage.config().port;
    let (node, path) = node_with_canvas(&mut stage, 4);
    let socket = format!("{path}/__openclaw__/ws");
    let far = |socket: &str| {
        format!(
            "GET {socket} HTTP/1.1\r\nHost: gw.example:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nOrigin: null\r\n\r\n"
        )
    };
    assert!(stage.exchange(far("/__openclaw__/ws").as_bytes(), WAIT_MS).starts_with(b"HTTP/1.1 401 "));
    let afar = ClientConfig {
        host: format!("gw.example:{port}"),
        path: socket,
        origin: Some("null".to_owned()),
        answers_challenge: false,
        connect_timeout_ms: 3_600_000,
        ..stage.client(None)
    };
    let right = stage.open(afar);
    let origin = stage.origin();
    for _ in 0..2 {
        page(&mut stage, "/__openclaw__/ws", Some(&origin));
    }
    stage.pass(20);
    assert_eq!(refused(&mut stage, "/__openclaw__/ws", None), 503);
    // The gateway's own socket is for everybody, whatever stands before its path.
    let operator = stage.open(ClientConfig { path: format!("{path}/"), ..stage.client(None) });
    assert!(
        stage.wait_for(operator, WAIT_MS, |event| matches!(event, ClientEvent::Challenge { .. })).is_some()
    );
    // Nothing outlives the connection that an address was made for.
    stage.vanish(node);
    stage.closed(right);
    let mut quiet = canvas_with(place, |config| config.canvas = Some(CanvasHost { live_reload: false }));
    assert_eq!(get(&mut quiet, "/__openclaw__/ws").text(), "not found");
    assert_eq!(get(&mut quiet, INDEX).text(), "<body>hello</body>");
    let ordinary = page(&mut quiet, "/__openclaw__/ws", None);
    assert!(
        quiet.wait_for(ordinary, WAIT_MS, |event| matches!(event, ClientEvent::Challenge { .. })).is_some()
    );
}
