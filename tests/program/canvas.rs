//! The canvas from outside: files on a real disk, of any size, and pages that hear of changes.
//!
//! Rows of `docs/compatibility.md` that are held here: `canvas-types`, `canvas-path`, `canvas-folder`, `canvas-starter`.

use crate::RUNTIMES;
use crate::shell::{configured, start, stop, with_text};
use clawgate_proto::client::{ClientConfig, ClientEvent};
use clawgate_support::{Program, Settings, TestClient, client, usage};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Only what fails takes as long.
const BOUND: Duration = Duration::from_secs(30);

/// The head of an answer, and what follows it.
struct Answer {
    status: u16,
    headers: String,
    rest: BufReader<TcpStream>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn body(mut self) -> Vec<u8> {
        let mut body = Vec::new();
        self.rest.read_to_end(&mut body).unwrap();
        body
    }

    fn text(self) -> String {
        String::from_utf8(self.body()).unwrap()
    }
}

fn get(gateway: &Program, target: &str) -> Answer {
    get_with(gateway, target, "127.0.0.1", "")
}

fn get_with(gateway: &Program, target: &str, host: &str, fields: &str) -> Answer {
    let mut stream = TcpStream::connect(gateway.addr()).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut rest = BufReader::new(stream);
    let mut headers = String::new();
    while !headers.ends_with("\r\n\r\n") {
        assert!(rest.read_line(&mut headers).unwrap() > 0, "{headers}");
    }
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, headers, rest }
}

fn canvas(settings: &Settings) -> PathBuf {
    let folder = settings.state_dir().join("canvas");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("index.html"), "<body>hello</body>").unwrap();
    fs::write(folder.join("sub/a b.css"), "p{}").unwrap();
    folder
}

#[test]
fn files_on_the_disk_are_served_and_nothing_beside_them() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let folder = canvas(&settings);
        symlink("../openclaw.json", folder.join("link.json")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        fs::hard_link(settings.config_path(), folder.join("second.json")).unwrap();
        fs::write(folder.join(".env"), "x").unwrap();
        let gateway = start(&settings);
        let page = get(&gateway, "/__openclaw__/canvas/");
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let etag = page.header("etag").unwrap().to_owned();
        let text = page.text();
        assert!(text.starts_with("<body>hello<script>") && text.ends_with("</script></body>"), "{text}");
        let same =
            get_with(&gateway, "/__openclaw__/canvas/", "localhost", &format!("If-None-Match: {etag}\r\n"));
        assert_eq!(same.status, 304);
        let style = get(&gateway, "/__openclaw__/canvas/sub/a%20b.css");
        assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
        assert_eq!(style.text(), "p{}");
        for (name, status) in [
            ("link.json", 404),
            ("up/openclaw.json", 404),
            ("second.json", 404),
            (".env", 404),
            ("..%2fopenclaw.json", 404),
            ("%2e%2e/openclaw.json", 404),
            ("../openclaw.json", 404),
            ("sub", 302),
            ("nothing", 404),
            ("%ff", 400),
        ] {
            let found = get(&gateway, &format!("/__openclaw__/canvas/{name}"));
            assert_eq!(found.status, status, "{name}");
            assert!(!found.text().contains("gateway"), "{name}");
        }
        // The page for A2UI comes with the program, with all that it loads.
        let page = get(&gateway, "/__openclaw__/a2ui/?platform=ios");
        assert_eq!(
            (page.status, page.header("content-security-policy")),
            (200, Some("sandbox allow-scripts"))
        );
        assert!(page.text().contains("<openclaw-a2ui-host>"));
        let script = get(&gateway, "/__openclaw__/a2ui/a2ui.bundle.js");
        assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
        let script = script.text();
        for part in ["model.js", "host.js", "a2ui.css"] {
            assert!(script.contains(part));
            assert_eq!(get(&gateway, &format!("/__openclaw__/a2ui/{part}")).status, 200, "{part}");
        }
        assert_eq!(get(&gateway, "/__openclaw__/a2ui/missing.js").text(), "not found");
        // From afar it takes a secret.
        assert_eq!(get_with(&gateway, "/__openclaw__/canvas/", "gw.example", "").status, 401);
        let bearer = format!("Authorization: Bearer {}\r\n", gateway.token());
        assert_eq!(get_with(&gateway, "/__openclaw__/canvas/", "gw.example", &bearer).status, 200);
        stop(gateway);
    }
}

#[test]
fn it_is_where_the_settings_say_and_off_where_they_do() {
    let runtime = RUNTIMES[0];
    let gateway = start(&configured(runtime));
    let state_dir = gateway.settings().state_dir();
    let starter = get(&gateway, "/__openclaw__/canvas/");
    assert_eq!(starter.status, 200);
    assert!(starter.text().contains("Nothing is shown here yet"));
    assert!(!state_dir.join("canvas").exists(), "nothing is written");
    assert!(stop(gateway).contains(&format!("canvas   {}", state_dir.join("canvas").display())));

    let settings =
        with_text(runtime, "{gateway: {mode: 'local'}, canvasHost: {root: '~/shown', liveReload: false}}");
    let settings = settings.clone().env("OPENCLAW_HOME", settings.state_dir());
    fs::create_dir_all(settings.state_dir().join("shown")).unwrap();
    fs::write(settings.state_dir().join("shown/index.html"), "<body>there</body>").unwrap();
    let gateway = start(&settings);
    assert_eq!(get(&gateway, "/__openclaw__/canvas/").text(), "<body>there</body>", "without a script");
    stop(gateway);

    let off = with_text(runtime, "{gateway: {mode: 'local'}, canvasHost: {enabled: false}}");
    for settings in [off, configured(runtime).env("OPENCLAW_SKIP_CANVAS_HOST", "1")] {
        let gateway = start(&settings);
        assert_eq!(get(&gateway, "/__openclaw__/canvas/").status, 404);
        assert!(stop(gateway).contains("canvas   off"));
    }
}

/// A file of that size that takes no room on the disk.
fn sparse(path: &Path, bytes: u64) {
    fs::File::create(path).unwrap().set_len(bytes).unwrap();
}

#[test]
fn memory_stays_flat_however_large_a_file_is_and_whoever_goes_away() {
    const GIB: u64 = 1 << 30;
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let folder = canvas(&settings);
        sparse(&folder.join("large.mp4"), GIB);
        let gateway = start(&settings);
        let large = "/__openclaw__/canvas/large.mp4";
        // Once, so that what a first request costs is counted already.
        let mut chunk = vec![0; 1 << 20];
        get(&gateway, large).rest.read_exact(&mut chunk).unwrap();
        let before = usage::settled(gateway.pid(), BOUND).unwrap();
        let files = usage::descriptors(gateway.pid()).unwrap();
        let stalled: Vec<Answer> = (0..20).map(|_| get(&gateway, large)).collect();
        let mut reading = get(&gateway, large);
        assert_eq!(reading.header("content-length"), Some(GIB.to_string().as_str()));
        let mut most = 0;
        for _ in 0..64 {
            reading.rest.read_exact(&mut chunk).unwrap();
            assert!(chunk.iter().all(|byte| *byte == 0));
            most = most.max(usage::usage(gateway.pid()).unwrap().resident_bytes);
        }
        // Two pieces for each who takes nothing, what drivers and threads need, and no more.
        let grown = most.saturating_sub(before.resident_bytes);
        assert!(grown < 16 << 20, "{runtime}: {grown} bytes more");
        let end = get_with(&gateway, large, "127.0.0.1", "Range: bytes=-3\r\n");
        assert_eq!((end.status, end.body()), (206, vec![0; 3]));
        drop((reading, stalled));
        let closed = std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(20));
            usage::descriptors(gateway.pid()).unwrap()
        });
        assert!(closed.take(500).any(|now| now <= files), "{runtime}: something stays open");
        stop(gateway);
    }
}

#[test]
fn a_file_that_is_changed_while_it_is_sent_ends_the_connection() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let folder = canvas(&settings);
        sparse(&folder.join("a.bin"), 64 << 20);
        let gateway = start(&settings);
        let answer = get(&gateway, "/__openclaw__/canvas/a.bin");
        fs::write(folder.join("other"), "short").unwrap();
        fs::rename(folder.join("other"), folder.join("a.bin")).unwrap();
        let mut rest = answer.rest;
        let mut body = Vec::new();
        // Cut off, or reset: not the whole of it, and nothing of the other.
        let _ = rest.read_to_end(&mut body);
        assert!(body.len() < 64 << 20 && body.iter().all(|byte| *byte == 0), "{} bytes", body.len());
        assert_eq!(get(&gateway, "/__openclaw__/canvas/a.bin").text(), "short");
        stop(gateway);
    }
}

#[test]
fn a_page_hears_of_a_change() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let folder = canvas(&settings);
        let gateway = start(&settings);
        let config = ClientConfig {
            path: "/__openclaw__/ws".to_owned(),
            origin: Some("null".to_owned()),
            answers_challenge: false,
            connect_timeout_ms: 600_000,
            ..client::config(gateway.addr(), None, None)
        };
        let mut page = TestClient::open(gateway.addr(), config).unwrap();
        let is_reload =
            |event: &ClientEvent| matches!(event, ClientEvent::Unrecognised(text) if &*text.0 == "reload");
        // The watch begins some time after the socket does.
        let mut heard = None;
        for at in 0..50 {
            fs::write(folder.join("sub/x.js"), at.to_string()).unwrap();
            heard = heard.or_else(|| page.wait_for(Duration::from_millis(600), is_reload));
            if heard.is_some() {
                break;
            }
        }
        assert!(heard.is_some());
        stop(gateway);
    }
}

#[test]
fn an_installed_page_is_served_from_its_folder() {
    for runtime in RUNTIMES {
        let text = "{gateway: {mode: 'local', controlUi: {root: '~/page', basePath: '/desk/'}}}";
        let settings = with_text(runtime, text);
        let settings = settings.clone().env("OPENCLAW_HOME", settings.state_dir());
        let folder = settings.state_dir().join("page");
        fs::create_dir_all(folder.join("assets")).unwrap();
        fs::write(folder.join("index.html"), "the page").unwrap();
        fs::write(folder.join("assets/x.js"), "the script").unwrap();
        // As package managers install.
        fs::hard_link(folder.join("assets/x.js"), settings.state_dir().join("store")).unwrap();
        symlink("../../openclaw.json", folder.join("assets/link.json")).unwrap();
        let gateway = start(&settings);
        assert_eq!(get(&gateway, "/desk").header("location"), Some("/desk/"));
        for (target, text) in [("/desk/chat/main", "the page"), ("/desk/assets/x.js", "the script")] {
            assert_eq!(get(&gateway, target).text(), text);
        }
        for target in ["/", "/desk/assets/link.json", "/desk/..%2fopenclaw.json"] {
            assert_eq!(get(&gateway, target).status, 404, "{target}");
        }
        stop(gateway);
    }
}
