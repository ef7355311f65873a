//! The page at the gateway's own address over HTTP.
//!
//! Rows of `docs/compatibility.md` that are held here: `no-pages`, `page-bootstrap`.

use super::canvas::{get, send};
use clawgate_proto::config::ControlUi;
use clawgate_proto::host::files::FileRoot;
use clawgate_support::stage::shared_token;
use clawgate_support::{Place, Stage};
use serde_json::json;

fn installed(place: Place, base_path: &str) -> Stage {
    let stage = Stage::with(place, |config| {
        config.control_ui = Some(ControlUi { built_in: false, base_path: base_path.to_owned() });
    });
    stage.host().put_file(FileRoot::ControlUi, "index.html", "the page");
    stage.host().put_file(FileRoot::ControlUi, "assets/x.js", "the script");
    stage
}

pub(crate) fn a_page_has_many_addresses_and_its_parts_lie_beside_it(place: Place) {
    let mut stage = installed(place, "");
    for target in ["/", "/chat/main", "/chat/", "/settings?x=1", "/a.b"] {
        let page = get(&mut stage, target);
        assert_eq!((page.status, page.text()), (200, "the page"), "{target}");
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'self'; ") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
    }
    for target in ["/assets/x.js", "/chat/main/assets/x.js"] {
        assert_eq!(get(&mut stage, target).text(), "the script", "{target}");
    }
    for target in [
        "/missing.js",
        "/assets/y.css",
        "/..%2fx",
        "/.git/config",
        "/ui",
        "/ui/x",
        "/api/x",
        "/v1/models",
        "/%ff",
    ] {
        assert_eq!(get(&mut stage, target).status, 404, "{target}");
    }
    assert_eq!(get(&mut stage, "/healthz").json(), json!({"ok": true, "status": "live"}));
    assert_eq!(send(&mut stage, "POST", "/", true, &[]).status, 404);
    let head = send(&mut stage, "HEAD", "/", true, &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some("8")));
    // Its files are for everybody, as its address bar is.
    assert_eq!(send(&mut stage, "GET", "/", false, &[]).status, 200);
    stage.host().remove_file(FileRoot::ControlUi, "index.html");
    let gone = get(&mut stage, "/");
    assert_eq!(gone.status, 503);
    assert!(gone.text().starts_with("Control UI assets not found"));
}

pub(crate) fn scripts_that_stand_in_the_page_may_run_and_no_others(place: Place) {
    let mut stage = installed(place, "");
    let page = "<script>alert(1)</script><script src=\"assets/x.js\"></script>";
    stage.host().put_file(FileRoot::ControlUi, "index.html", page);
    let policy_of = |stage: &mut Stage, method: &str, target: &str, more: &[(&str, &str)]| {
        let answer = send(stage, method, target, false, more);
        let policy = answer.header("content-security-policy").unwrap().to_owned();
        let script = policy.split("; ").find(|part| part.starts_with("script-src")).unwrap().to_owned();
        (answer.status, script, answer.header("etag").unwrap_or_default().to_owned())
    };
    let want = "script-src 'self' 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=' 'wasm-unsafe-eval'";
    let (status, script, tag) = policy_of(&mut stage, "GET", "/chat/main", &[]);
    assert_eq!((status, script.as_str()), (200, want));
    for (method, header, status) in [
        ("GET", ("If-None-Match", tag.as_str()), 304),
        ("GET", ("Range", "bytes=0-3"), 206),
        ("HEAD", ("X-A", "b"), 200),
    ] {
        let (seen, script, _) = policy_of(&mut stage, method, "/", &[header]);
        assert_eq!((seen, script.as_str()), (status, want), "{method} {header:?}");
    }
    let (status, script, _) = policy_of(&mut stage, "GET", "/assets/x.js", &[]);
    assert_eq!((status, script.as_str()), (200, "script-src 'self'"));
}

pub(crate) fn a_page_below_a_path_leaves_the_rest_alone(place: Place) {
    let mut stage = installed(place, "/desk");
    let bare = get(&mut stage, "/desk?x=1");
    assert_eq!((bare.status, bare.header("location")), (302, Some("/desk/?x=1")));
    for (target, text) in
        [("/desk/", "the page"), ("/desk/chat", "the page"), ("/desk/assets/x.js", "the script")]
    {
        assert_eq!(get(&mut stage, target).text(), text, "{target}");
    }
    for target in
        ["/", "/deskx", "/assets/x.js", "/__openclaw/control-ui-config.json", "/control-ui-config.json"]
    {
        assert_eq!(get(&mut stage, target).status, 404, "{target}");
    }
    for target in ["/desk/__openclaw/control-ui-config.json", "/desk/control-ui-config.json"] {
        assert_eq!(get(&mut stage, target).json()["basePath"], "/desk", "{target}");
    }
}

pub(crate) fn what_a_page_is_told_first_is_for_who_may_know(place: Place) {
    let mut stage = installed(place, "");
    let bearer = format!("Bearer {}", shared_token());
    // Releases ask at two addresses; the later ones are told more.
    for (target, members) in [("/__openclaw/control-ui-config.json", 5), ("/control-ui-config.json", 17)] {
        let facts = get(&mut stage, target);
        assert_eq!((facts.status, facts.header("x-frame-options")), (200, Some("DENY")), "{target}");
        let told = facts.json();
        assert_eq!((&told["assistantAgentId"], &told["serverVersion"]), (&json!("main"), &json!("0.1.0")));
        assert_eq!(told.as_object().unwrap().len(), members, "{told}");
        let stranger = send(&mut stage, "GET", target, false, &[]);
        assert_eq!((stranger.status, &stranger.json()["error"]["type"]), (401, &json!("unauthorized")));
        assert_eq!(send(&mut stage, "GET", target, false, &[("Authorization", &bearer)]).status, 200);
    }
    let avatar = get(&mut stage, "/avatar/main?meta=1");
    assert_eq!(avatar.json(), json!({"avatarUrl": null}));
    for target in ["/avatar/main", "/avatar/..%2fx?meta=1", "/avatar/-?meta=1"] {
        assert_eq!(get(&mut stage, target).status, 404, "{target}");
    }
    // Where it is switched off there is no page.
    let mut none = Stage::new(place);
    for target in [
        "/",
        "/assets/x.js",
        "/__openclaw/control-ui-config.json",
        "/control-ui-config.json",
        "/avatar/main?meta=1",
    ] {
        assert_eq!(get(&mut none, target).text(), "Not Found", "{target}");
    }
}

pub(crate) fn where_no_control_ui_is_installed_there_is_the_control_page(place: Place) {
    let mut stage = Stage::with(place, |config| {
        config.control_ui = Some(ControlUi { built_in: true, base_path: String::new() });
    });
    stage.host().put_file(FileRoot::ControlPage, "index.html", "the control page");
    stage.host().put_file(FileRoot::ControlPage, "main.js", "its script");
    for (target, text, kind) in [
        ("/", "the control page", "text/html; charset=utf-8"),
        ("/index.html?x=1", "the control page", "text/html; charset=utf-8"),
        ("/main.js", "its script", "text/javascript; charset=utf-8"),
    ] {
        // Its files are for everybody, as its address bar is.
        let page = send(&mut stage, "GET", target, false, &[]);
        assert_eq!(
            (page.status, page.text(), page.header("content-type")),
            (200, text, Some(kind)),
            "{target}"
        );
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
        let tag = page.header("etag").unwrap().to_owned();
        assert_eq!(send(&mut stage, "GET", target, false, &[("If-None-Match", &tag)]).status, 304);
    }
    // It is one page with one address, and asks for nothing that a Control UI is told.
    for target in [
        "/chat",
        "/chat/",
        "/x.js",
        "/..%2fmain.js",
        "/__openclaw/control-ui-config.json",
        "/control-ui-config.json",
        "/avatar/main?meta=1",
    ] {
        assert_eq!(get(&mut stage, target).status, 404, "{target}");
    }
    assert_eq!(get(&mut stage, "/healthz").json(), json!({"ok": true, "status": "live"}));
    assert_eq!(get(&mut stage, "/v1/models").text(), "Not Found");
    assert_eq!(send(&mut stage, "POST", "/", true, &[]).status, 404);
}
