//! `clawgate tui` on a pseudo-terminal, read as its person would: what is on the screen, and what is left of it afterwards.
//! The row of `docs/compatibility.md` that is held here: `tui`.

use crate::RUNTIMES;
use crate::pty::Pty;
#[cfg(feature = "tls")]
use crate::shell::config_text;
use crate::shell::{assert_shows_nothing, configured, run, start, stop, unconfigured};
use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_support::program::keep_output;
use clawgate_support::{Program, Settings, TestClient, client};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Action, LocalModes, Termios, Winsize, tcflow, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A command on a terminal of its own.
struct Desk {
    child: Child,
    keys: File,
    /// The other end, which shows how the terminal is set.
    here: OwnedFd,
    before: Termios,
    screen: Arc<Mutex<Screen>>,
}

/// As much of a terminal as the command asks for.
#[derive(Default)]
struct Screen {
    rows: Vec<Vec<char>>,
    columns: usize,
    at: (usize, usize),
    is_other: bool,
    is_cursor_hidden: bool,
    pending: Vec<u8>,
    all: String,
    /// Something that no terminal was asked for here.
    unknown: Vec<String>,
}

impl Screen {
    fn resize(&mut self, columns: usize, rows: usize) {
        self.columns = columns;
        self.rows = vec![vec![' '; columns]; rows];
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.pending) {
            Ok(text) => text.len(),
            Err(why) => why.valid_up_to(),
        };
        let rest = self.pending.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut self.pending, rest)).unwrap();
        self.all.push_str(&text);
        // An escape that is cut in two waits for its end.
        let mut chars = text.as_str();
        while let Some(c) = chars.chars().next() {
            if c != '\u{1b}' {
                self.put(c);
                chars = &chars[c.len_utf8()..];
                continue;
            }
            let Some(end) = chars.find(|c: char| c.is_ascii_alphabetic()) else {
                self.pending.splice(0..0, chars.bytes());
                let length = self.all.len() - chars.len();
                self.all.truncate(length);
                return;
            };
            self.obey(&chars[1..=end]);
            chars = &chars[end + 1..];
        }
    }

    fn put(&mut self, c: char) {
        let (row, column) = self.at;
        if c.is_control() {
            // Lines end on the screen that was there before.
            assert!(!self.is_other, "{c:?}");
            return;
        }
        if let Some(cell) = self.rows.get_mut(row).and_then(|row| row.get_mut(column)) {
            *cell = c;
        }
        self.at.1 += 1;
    }

    fn obey(&mut self, escape: &str) {
        let numbers =
            |text: &str| text.split(';').map(|part| part.parse::<usize>().unwrap_or(1)).collect::<Vec<_>>();
        match escape {
            "[?1049h" => self.is_other = true,
            "[?1049l" => self.is_other = false,
            "[?25l" => self.is_cursor_hidden = true,
            "[?25h" => self.is_cursor_hidden = false,
            "[?7l" | "[?7h" => {}
            "[2J" => self.rows.iter_mut().for_each(|row| row.fill(' ')),
            "[K" => {
                let (row, column) = self.at;
                if let Some(row) = self.rows.get_mut(row) {
                    row.iter_mut().skip(column).for_each(|cell| *cell = ' ');
                }
            }
            _ if escape.ends_with('m') => {}
            _ => {
                match escape.strip_prefix('[').and_then(|rest| rest.strip_suffix('H')).map(numbers).as_deref()
                {
                    Some([row, column]) => self.at = (row - 1, column - 1),
                    Some(_) | None => self.unknown.push(escape.to_owned()),
                }
            }
        }
    }

    fn text(&self) -> String {
        self.rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned() + "\n").collect()
    }
}

impl Desk {
    fn open(settings: &Settings) -> Self {
        Self::open_with(settings, &[("TERM", "xterm")])
    }

    fn open_with(settings: &Settings, variables: &[(&str, &str)]) -> Self {
        let pty = Pty::new();
        let here = pty.terminal();
        let screen = Arc::new(Mutex::new(Screen::default()));
        set_size(&pty.keys, &screen, 100, 30);
        let before = tcgetattr(&here).unwrap();
        let mut command = settings.command(["tui"]);
        command.env_remove("NO_COLOR").envs(variables.iter().copied());
        let child =
            command.stdin(pty.terminal()).stdout(pty.terminal()).stderr(pty.terminal()).spawn().unwrap();
        let (mut from, seen) = (pty.keys.try_clone().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut bytes) {
                seen.lock().unwrap().feed(&bytes[..length]);
            }
        });
        Self { child, keys: pty.keys, here, before, screen }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().text()
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Says yes to the question on the screen, until it is taken: not at once, since nobody reads so fast.
    fn say_yes(&mut self) {
        let bound = Instant::now() + BOUND;
        while self.text().contains("y yes, n no") {
            assert!(Instant::now() < bound, "yes is not taken\n{}", self.text());
            self.press("y");
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Waits until all of this is on the screen.
    fn until(&mut self, wants: &[&str]) {
        self.until_so(&format!("{wants:?}"), |text| wants.iter().all(|want| text.contains(want)));
    }

    fn until_so(&mut self, what: &str, holds: impl Fn(&str) -> bool) {
        let bound = Instant::now() + BOUND;
        while !holds(&self.text()) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended ({status}) before {what}:\n{}", self.screen.lock().unwrap().all);
            }
            assert!(Instant::now() < bound, "never: {what}\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn until_held(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let bound = Instant::now() + BOUND;
        while !holds(self) {
            assert!(Instant::now() < bound, "never: {what}\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it was there, even if it is gone by now.
    fn until_seen(&self, want: &str) {
        self.until_held(want, |desk| desk.screen.lock().unwrap().all.contains(want));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn is_given_back(&self) -> bool {
        let now = tcgetattr(&self.here).unwrap();
        let screen = self.screen.lock().unwrap();
        let modes = |termios: &Termios| {
            (termios.input_modes, termios.output_modes, termios.control_modes, termios.local_modes)
        };
        modes(&now) == modes(&self.before) && !screen.is_other && !screen.is_cursor_hidden
    }

    /// Waits for its end, and sees that the terminal is as it was.
    fn ended(mut self, settings: &Settings) -> (Option<i32>, String) {
        let bound = Instant::now() + BOUND;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < bound, "it does not end\n{}", self.text()),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        while !self.is_given_back() {
            assert!(Instant::now() < bound, "the terminal is not as it was\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
        let screen = self.screen.lock().unwrap();
        assert_eq!(screen.unknown, Vec::<String>::new());
        let without: String = screen.all.replace('\u{1b}', "");
        assert_shows_nothing(settings, &without);
        keep_output("tui", &without);
        (status.code(), screen.all.clone())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(terminal: &File, screen: &Mutex<Screen>, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    screen.lock().unwrap().resize(columns.into(), rows.into());
    tcsetwinsize(terminal, size).unwrap();
}

fn named(gateway: &Program, key: &DeviceKey, name: &str) -> ClientConfig {
    let mut config = client::config(gateway.addr(), Some(&gateway.token()), Some(key.clone()));
    config.client.display_name = Some(name.to_owned());
    config
}

#[test]
fn a_gateway_is_watched_and_a_pairing_decided() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let mut first =
            TestClient::connect(gateway.addr(), named(&gateway, &client::fresh_key(), "Lighthouse")).unwrap();
        let mut desk = Desk::open(&settings);
        desk.until(&[
            "Uptime",
            env!("CARGO_PKG_VERSION"),
            "connected",
            "MiB",
            "well",
            "Lighthouse",
            "operator",
        ]);
        assert!(desk.screen.lock().unwrap().is_other && desk.screen.lock().unwrap().is_cursor_hidden);
        assert!(!tcgetattr(&desk.here).unwrap().local_modes.contains(LocalModes::ECHO));

        // Somebody else comes, and is an event too.
        let second =
            TestClient::connect(gateway.addr(), named(&gateway, &client::fresh_key(), "Windmill")).unwrap();
        desk.until(&["Lighthouse", "Windmill"]);
        desk.press("6");
        desk.until(&[" presence ", " device.pair.resolved ", "/ filter"]);
        desk.press("/-presence\r");
        desk.until_so("a filter", |text| text.contains("filter: -presence") && !text.contains(" presence "));
        second.close(1000, "");

        // A device that comes from elsewhere waits, with a name that would drive a terminal.
        let key = client::fresh_key();
        let mut remote = named(&gateway, &key, "Phone\u{1b}[2J");
        remote.headers.push(("X-Forwarded-For".to_owned(), "203.0.113.7".to_owned()));
        let refusal = TestClient::connect(gateway.addr(), remote).map(drop).unwrap_err();
        assert_eq!(refusal.detail_code(), Some("PAIRING_REQUIRED"), "{refusal:?}");
        desk.press("2");
        desk.until(&[
            "2 Pairing (1)",
            "Phone\u{fffd}[2J",
            "wants to be paired",
            "this machine or",
            "a approve",
        ]);
        desk.press("a");
        desk.until(&["Approve device Phone", "y yes, n no", "A device's name is what"]);
        desk.say_yes();
        desk.until_seen("Approved device Phone");
        desk.until(&["Nobody is waiting to be paired."]);
        let paired = run(&settings, "devices list --json").json()["paired"].clone();
        assert!(
            paired.as_array().unwrap().iter().any(|device| device["deviceId"] == key.device_id()),
            "{paired}"
        );

        // An approval is decided likewise; without the second word it is not.
        let asked = first
            .send("exec.approval.request", json!({"id": "aa-1", "command": "uname -a", "host": "gateway"}));
        desk.press("3");
        desk.until(&["3 Approvals (1)", "uname -a", "on the gateway"]);
        desk.press("a");
        desk.until(&["Allow once: uname -a"]);
        desk.press("n");
        desk.until(&["nothing was decided", "3 Approvals (1)"]);
        desk.press("x");
        desk.until(&["Deny: uname -a", "y yes, n no"]);
        desk.say_yes();
        desk.until_seen("Denied: uname -a");
        desk.until(&["Nothing waits for a decision."]);
        assert_eq!(first.answer(&asked).into_result().unwrap()["decision"], "deny");

        desk.press("8");
        desk.until(&["peer.admitted", "gateway/ws"]);
        desk.press("7");
        desk.until(&["PAIRING_REQUIRED", "see Pairing"]);

        // Whoever stops it has the terminal as it was, and then the screen again.
        desk.signal(Signal::TSTP);
        desk.until_held("the terminal as it was", Desk::is_given_back);
        desk.signal(Signal::CONT);
        desk.until(&["PAIRING_REQUIRED", "q quit"]);
        desk.until_held("the screen", |desk| !desk.is_given_back());

        // A smaller window shows the same in less.
        set_size(&desk.keys, &desk.screen, 60, 12);
        desk.signal(Signal::WINCH);
        desk.until_so("a footer in the last line", |text| {
            text.lines().nth(11).is_some_and(|line| line.contains("q quit"))
        });
        desk.press("q");
        let (code, all) = desk.ended(&settings);
        assert_eq!(code, Some(0), "{all}");
        stop(gateway);
    }
}

#[test]
fn a_node_is_shown_and_what_it_offers_is_approved() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let mut desk = Desk::open(&settings);
        desk.press("4");
        desk.until(&["No node yet."]);
        let key = client::fresh_key();
        let config =
            client::config_as(gateway.addr(), "node-host", "node", Some(&gateway.token()), Some(key));
        let mut config = ClientConfig {
            role: "node".to_owned(),
            scopes: Vec::new(),
            caps: vec!["canvas".to_owned()],
            commands: vec!["canvas.present".to_owned(), "canvas.hide".to_owned()],
            min_protocol: 4,
            ..config
        };
        config.client.platform = "web".to_owned();
        config.client.display_name = Some("Attic".to_owned());
        let _node = TestClient::connect(gateway.addr(), config).unwrap();
        desk.until(&["2 Pairing (1)", "Attic", "connected", "Waits for approval under Pairing: canvas."]);
        desk.press("2");
        desk.until(&["wants its commands approved", "x reject"]);
        desk.press("x");
        desk.until(&["Reject node Attic", "canvas.present", "canvas.hide"]);
        // Any other key is no.
        desk.press("q");
        desk.until(&["nothing was decided", "wants its commands approved"]);
        desk.press("a");
        desk.until(&["Approve node Attic", "y yes, n no"]);
        desk.say_yes();
        desk.until_seen("Approved node Attic");
        desk.until(&["Nobody is waiting to be paired."]);
        desk.press("4\r");
        desk.until(&["Attic", "Commands: canvas.hide, canvas.present"]);
        let nodes = run(&settings, "nodes list --json").json();
        assert_eq!(nodes["nodes"][0]["commands"], json!(["canvas.hide", "canvas.present"]), "{nodes}");
        // Escape alone closes it, though other keys begin like that.
        desk.press("\u{1b}");
        desk.until(&["4 Nodes", "q quit"]);
        desk.press("q");
        assert_eq!(desk.ended(&settings).0, Some(0));
        stop(gateway);
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_gateway_with_tls_is_watched_likewise() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let mut config: Value = serde_json::from_str(&config_text(&settings)).unwrap();
        config["gateway"]["tls"] = json!({"enabled": true});
        let settings = settings.with_config(&config);
        let gateway = start(&settings);
        let mut desk = Desk::open(&settings);
        desk.until(&["connected", "wss://127.0.0.1:", "well"]);
        desk.press("8");
        desk.until(&["peer.admitted"]);
        desk.press("q");
        assert_eq!(desk.ended(&settings).0, Some(0));
        stop(gateway);
    }
}

#[test]
fn a_gateway_that_goes_is_waited_for() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let mut gateway = start(&settings);
        let mut desk = Desk::open(&settings);
        desk.until(&["connected", "well"]);
        gateway.signal(Signal::USR1);
        desk.until_seen("gateway restarting, expected back in 1.5 s");
        desk.until(&["connected", "well"]);
        gateway.stop().unwrap();
        desk.until(&["gateway is gone, trying again"]);
        gateway.start_again().unwrap();
        desk.until_so("a connection", |text| {
            text.contains(" connected ") && !text.contains("gateway is gone")
        });
        desk.signal(Signal::TERM);
        let (code, all) = desk.ended(&settings);
        assert!(code == Some(143) && all.contains("\u{1b}[0;3"), "{all:?}");
        let mut desk = Desk::open_with(&settings, &[("TERM", "xterm"), ("NO_COLOR", "1")]);
        desk.until(&["connected", "well"]);
        desk.press("\u{3}");
        let (code, all) = desk.ended(&settings);
        assert!(code == Some(0) && !all.contains("\u{1b}[0;3"), "{all:?}");
        stop(gateway);
    }
}

#[test]
fn a_terminal_that_takes_nothing_does_not_keep_it() {
    let settings = configured(RUNTIMES[0]);
    let gateway = start(&settings);
    let mut desk = Desk::open(&settings);
    desk.until(&["connected", "well"]);
    tcflow(&desk.here, Action::OOff).unwrap();
    // Each of them is drawn whole, and none of it can be written.
    for _ in 0..10 {
        desk.press("\u{c}");
        std::thread::sleep(Duration::from_millis(100));
    }
    desk.signal(Signal::WINCH);
    desk.signal(Signal::TERM);
    let bound = Instant::now() + BOUND;
    let status = loop {
        match desk.child.try_wait().unwrap() {
            Some(status) => break status,
            None => assert!(Instant::now() < bound, "it does not end"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(143));
    assert_eq!(tcgetattr(&desk.here).unwrap().local_modes, desk.before.local_modes);
    tcflow(&desk.here, Action::OOn).unwrap();
    stop(gateway);
}

#[test]
fn without_a_terminal_the_overview_is_printed_when_it_is_asked_for() {
    let nobody = unconfigured(RUNTIMES[0]);
    run(&nobody, "tui").failed(2, &["no terminal", "clawgate tui --once", "clawgate status --json"]);
    let help = run(&nobody, "tui --help");
    assert!(help.done().contains("It is no chat") && help.out.contains("clawgate tui --once"), "{help:?}");
    let json = run(&nobody, "tui --json");
    assert_eq!((json.code, &json.json()["error"]["code"]), (2, &json!("USAGE")));
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let _client =
            TestClient::connect(gateway.addr(), named(&gateway, &client::fresh_key(), "Lighthouse")).unwrap();
        let once = run(&settings, "tui --once");
        for want in [
            format!("Gateway      ws://{}/", gateway.addr()),
            format!("Version      {}  (protocol 4)", env!("CARGO_PKG_VERSION")),
            "Health       well".to_owned(),
            "Nothing waits for you.".to_owned(),
            "Lighthouse".to_owned(),
        ] {
            assert!(once.done().contains(&want), "{want} in {}", once.out);
        }
        let json = run(&settings, "tui --once --json").json();
        assert_eq!(json["gateway"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(json["facts"]["health"]["ok"], json!(true));
        assert!(
            json["facts"]["device.pair.list"]["paired"].is_array() && json["facts"]["error"] == Value::Null
        );
        stop(gateway);
    }
    let settings = configured(RUNTIMES[0]);
    run(&settings, "tui --once").failed(3, &["no gateway can be reached"]);
    // On a terminal too it is said before anything is drawn.
    let desk = Desk::open(&settings);
    desk.until_seen("no gateway can be reached");
    let (code, all) = desk.ended(&settings);
    assert!(code == Some(3) && !all.contains("1049"), "{all}");
}

#[test]
fn a_terminal_that_cannot_be_drawn_on_is_told_so() {
    let settings = unconfigured(RUNTIMES[0]);
    let desk = Desk::open_with(&settings, &[("TERM", "dumb")]);
    desk.until_seen("TERM=dumb");
    let (code, all) = desk.ended(&settings);
    assert!(code == Some(2) && all.contains("clawgate tui --once") && !all.contains("1049"), "{all}");
}

const BOUND: Duration = Duration::from_secs(60);
