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

pub(crate) fn a_page_below_a_path_leaves_the_rest_alone(place: Place) {
    let mut stage = installed(place, "/desk");
    let bare = get(&mut stage, "/desk?x=1");
    assert_eq!((bare.status, bare.header("location")), (302, Some("/desk/?x=1")));
    for (target, text) in
        [("/desk/", "the page"), ("/desk/chat", "the page"), ("/desk/assets/x.js", "the script")]
    {
        assert_eq!(get(&mut stage, target).text(), text, "{target}");
    }
    for target in ["/", "/deskx", "/assets/x.js", "/__openclaw/control-ui-config.json"] {
        assert_eq!(get(&mut stage, target).status, 404, "{target}");
    }
    let facts = get(&mut stage, "/desk/__openclaw/control-ui-config.json");
    assert_eq!(facts.json()["basePath"], "/desk");
}

pub(crate) fn what_a_page_is_told_first_is_for_who_may_know(place: Place) {
    let mut stage = installed(place, "");
    let target = "/__openclaw/control-ui-config.json";
    let facts = get(&mut stage, target);
    assert_eq!((facts.status, facts.header("x-frame-options")), (200, Some("DENY")));
    assert_eq!(
        (&facts.json()["assistantAgentId"], &facts.json()["serverVersion"]),
        (&json!("main"), &json!("0.1.0"))
    );
    let stranger = send(&mut stage, "GET", target, false, &[]);
    assert_eq!((stranger.status, &stranger.json()["error"]["type"]), (401, &json!("unauthorized")));
    let bearer = format!("Bearer {}", shared_token());
    assert_eq!(send(&mut stage, "GET", target, false, &[("Authorization", &bearer)]).status, 200);
    let avatar = get(&mut stage, "/avatar/main?meta=1");
    assert_eq!(avatar.json(), json!({"avatarUrl": null}));
    for target in ["/avatar/main", "/avatar/..%2fx?meta=1", "/avatar/-?meta=1"] {
        assert_eq!(get(&mut stage, target).status, 404, "{target}");
    }
    // Where it is switched off there is no page.
    let mut none = Stage::new(place);
    for target in ["/", "/assets/x.js", target, "/avatar/main?meta=1"] {
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
        "/avatar/main?meta=1",
    ] {
        assert_eq!(get(&mut stage, target).status, 404, "{target}");
    }
    assert_eq!(get(&mut stage, "/healthz").json(), json!({"ok": true, "status": "live"}));
    assert_eq!(get(&mut stage, "/v1/models").text(), "Not Found");
    assert_eq!(send(&mut stage, "POST", "/", true, &[]).status, 404);
}
