//! `clawgate logs`: the end of a gateway's log, read through the gateway, and what comes after it. Following goes on
//! when the gateway restarts: the cursor says what was shown already.

use super::args::ClientArgs;
use super::session::Session;
use super::{Failure, print, render};
use crate::environment::Environment;
use clap::Args;
use serde_json::{Value, json};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

/// `clawgate logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// Go on until interrupted, through restarts of the gateway
    #[arg(long, short)]
    pub follow: bool,
    /// Most lines of what there is already; with --follow, what comes is shown whole
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=LIMIT_MAX))]
    pub limit: u64,
    /// Most bytes to look at
    #[arg(long, value_name = "N", default_value_t = 250_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub max_bytes: u64,
    /// With --follow: time between two looks, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    pub interval: u64,
    /// No colours
    #[arg(long)]
    pub plain: bool,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Shows the log.
///
/// # Errors
/// The gateway cannot be asked; while following, only when it refuses us.
pub fn run(args: &LogsArgs, environment: &Environment) -> Result<(), Failure> {
    let mut view = View::new(args);
    let mut session = Session::open(&args.client, environment)?;
    let mut wait_ms = args.interval;
    loop {
        let looked = view.look(&mut session).and_then(|text| {
            print(&text)?;
            if args.follow { session.idle(args.interval) } else { Ok(()) }
        });
        match looked {
            Ok(()) if args.follow => wait_ms = args.interval,
            Ok(()) => {
                session.close();
                return Ok(());
            }
            Err(failure @ Failure::Unreachable(_)) if args.follow => {
                view.notice(&format!("{}; trying again", first_line(&failure.message())))?;
                session = reopen(args, environment, &mut wait_ms)?;
            }
            Err(failure) => return Err(failure),
        }
        session.renew(args.client.timeout);
    }
}

/// Waits, longer each time, until the gateway is there again.
fn reopen(args: &LogsArgs, environment: &Environment, wait_ms: &mut u64) -> Result<Session, Failure> {
    loop {
        std::thread::sleep(Duration::from_millis(*wait_ms));
        *wait_ms = (*wait_ms * 2).min(WAIT_MS_MAX).max(args.interval);
        match Session::open(&args.client, environment) {
            Ok(session) => return Ok(session),
            Err(Failure::Unreachable(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// What was shown, and how.
struct View<'a> {
    args: &'a LogsArgs,
    cursor: Option<u64>,
    colour: bool,
}

impl<'a> View<'a> {
    fn new(args: &'a LogsArgs) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = !args.plain && !args.client.json && !no_colour && io::stdout().is_terminal();
        Self { args, cursor: None, colour }
    }

    fn look(&mut self, session: &mut Session) -> Result<String, Failure> {
        let tail = session.call("logs.tail", self.params())?;
        Ok(self.shown(&tail))
    }

    /// `--limit` says how much of the past is shown. What comes later is shown whole: a start alone is more lines
    /// than a short `--limit`.
    fn params(&self) -> Value {
        let limit = if self.cursor.is_some() { LIMIT_MAX } else { self.args.limit };
        let mut params = json!({ "limit": limit, "maxBytes": self.args.max_bytes });
        if let Some(cursor) = self.cursor {
            params["cursor"] = json!(cursor);
        }
        params
    }

    /// The new part of a tail.
    fn shown(&mut self, tail: &Value) -> String {
        let is_first = self.cursor.is_none();
        self.cursor = tail["cursor"].as_u64().or(self.cursor);
        let lines: Vec<&str> =
            tail["lines"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut out = String::new();
        let mut push = |line: String| {
            out.push_str(&line);
            out.push('\n');
        };
        let notices = [
            (tail["truncated"] == true, "older lines are left out (see --limit and --max-bytes)"),
            (tail["reset"] == true && !is_first, "the log was replaced, or ran away from us"),
        ];
        if self.args.client.json {
            if is_first {
                let meta = json!({
                    "type": "meta", "file": tail["file"], "cursor": tail["cursor"], "size": tail["size"],
                });
                push(render::json_line(&meta));
            }
            lines.iter().for_each(|line| push(json_line(line)));
            for (_, text) in notices.iter().filter(|(holds, _)| *holds) {
                push(render::json_line(&json!({ "type": "notice", "message": text })));
            }
            return out;
        }
        if is_first {
            push(format!("log {}", render::text(&tail["file"])));
        }
        for (_, text) in notices.iter().filter(|(holds, _)| *holds) {
            push(format!("-- {text}"));
        }
        lines.iter().for_each(|line| push(human_line(line, self.colour)));
        out
    }

    fn notice(&self, text: &str) -> Result<(), Failure> {
        if self.args.client.json {
            let notice = json!({ "type": "notice", "message": text });
            return print(&format!("{}\n", render::json_line(&notice)));
        }
        let _ = writeln!(io::stderr(), "-- {text}");
        Ok(())
    }
}

/// What a line of the log says.
pub(super) struct Parsed {
    pub(super) time: String,
    pub(super) level: String,
    pub(super) subsystem: String,
    pub(super) message: String,
}

/// Takes a line apart, as the reference writes it too: numbered arguments, one of which may name the subsystem.
pub(super) fn parse(line: &str) -> Option<Parsed> {
    let value: Value = serde_json::from_str(line).ok()?;
    let members = value.as_object()?;
    let meta = &value["_meta"];
    let name = meta["name"].as_str().unwrap_or_default();
    let subsystem = serde_json::from_str::<Value>(name).ok();
    let subsystem =
        subsystem.and_then(|name| Some(name["subsystem"].as_str()?.to_owned())).unwrap_or_default();
    let mut parts = Vec::new();
    for i in 0..ARGUMENTS_MAX {
        match members.get(&i.to_string()) {
            Some(Value::String(text)) if i == 0 && text == name && !subsystem.is_empty() => {}
            Some(Value::String(text)) => parts.push(text.clone()),
            Some(other) => parts.push(other.to_string()),
            None => break,
        }
    }
    let time = value["time"].as_str().or(meta["date"].as_str()).unwrap_or_default().to_owned();
    let level = meta["logLevelName"].as_str().unwrap_or_default().to_lowercase();
    Some(Parsed { time, level, subsystem, message: parts.join(" ") })
}

fn json_line(line: &str) -> String {
    match parse(line) {
        Some(Parsed { time, level, subsystem, message }) => {
            let mut shown =
                json!({ "type": "log", "time": time, "level": level, "message": message, "raw": line });
            if !subsystem.is_empty() {
                shown["subsystem"] = json!(subsystem);
            }
            render::json_line(&shown)
        }
        None => render::json_line(&json!({ "type": "raw", "raw": line })),
    }
}

/// Lines hold what peers chose: a terminal is not driven by it.
fn human_line(line: &str, colour: bool) -> String {
    let Some(Parsed { time, level, subsystem, message }) = parse(line) else { return render::clean(line) };
    let (on, off) = match level.as_str() {
        "error" | "fatal" if colour => ("\x1b[31m", "\x1b[0m"),
        "warn" if colour => ("\x1b[33m", "\x1b[0m"),
        "debug" | "trace" if colour => ("\x1b[90m", "\x1b[0m"),
        _ => ("", ""),
    };
    let texts = [&time, &level, &subsystem, &message].map(|text| render::clean(text));
    let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    format!("{on}{}{off}", texts.join(" "))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Numbered arguments of one line.
const ARGUMENTS_MAX: usize = 16;
/// Most lines that a gateway of either program gives at once.
pub(super) const LIMIT_MAX: u64 = 5_000;
/// Longest wait between two attempts to reach a gateway that is gone.
const WAIT_MS_MAX: u64 = 10_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::cli::args::{Cli, Command};
    use clap::Parser as _;

    const LINE: &str = r#"{"0":"{\"subsystem\":\"gateway/ws\"}","1":"peer.refused ip=::1\u001b[2J","_meta":{"name":"{\"subsystem\":\"gateway/ws\"}","date":"d","logLevelName":"WARN"},"time":"t"}"#;

    fn args(line: &str) -> LogsArgs {
        let words = ["clawgate", "logs"].into_iter().chain(line.split_whitespace());
        let Command::Logs(args) = Cli::try_parse_from(words).unwrap().command else { panic!("{line}") };
        args
    }

    #[test]
    fn lines_are_taken_apart_and_cleaned() {
        assert_eq!(human_line(LINE, false), "t warn gateway/ws peer.refused ip=::1\u{fffd}[2J");
        assert!(human_line(LINE, true).starts_with("\x1b[33mt warn"));
        assert_eq!(human_line("plain\u{7}", true), "plain\u{fffd}");
        let two = r#"{"0":"{\"subsystem\":\"g\"}","1":{"a":1},"2":"said","_meta":{"name":"{\"subsystem\":\"g\"}"}}"#;
        assert_eq!(human_line(two, false), "g {\"a\":1} said");
        assert_eq!(human_line(r#"{"0":"alone","_meta":{"name":"openclaw"}}"#, false), "alone");
    }

    #[test]
    fn programs_get_one_object_a_line() {
        let args = args("--json");
        let mut view = View::new(&args);
        let tail = json!({"file": "f", "cursor": 5, "size": 5, "lines": [LINE, "x"], "truncated": true, "reset": false});
        let text = view.shown(&tail);
        let kinds: Vec<Value> =
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone()).collect();
        assert_eq!(kinds, ["meta", "log", "raw", "notice"]);
        let again =
            json!({"file": "f", "cursor": 5, "size": 5, "lines": [], "truncated": false, "reset": false});
        assert_eq!(view.shown(&again), "");
        assert_eq!(view.cursor, Some(5));
    }

    #[test]
    fn the_limit_is_for_the_past_and_following_leaves_nothing_out() {
        let args = args("--follow --limit 2");
        let mut view = View::new(&args);
        assert_eq!(view.params(), json!({"limit": 2, "maxBytes": 250_000}));
        view.shown(&json!({"file": "f", "cursor": 5, "lines": ["a"], "truncated": false, "reset": false}));
        assert_eq!(view.params(), json!({"limit": 5_000, "maxBytes": 250_000, "cursor": 5}));
    }

    #[test]
    fn people_are_told_when_something_is_missing() {
        let args = args("--plain");
        let mut view = View::new(&args);
        let tail = json!({"file": "f", "cursor": 5, "lines": ["a"], "truncated": false, "reset": true});
        assert_eq!(view.shown(&tail), "log f\na\n");
        assert_eq!(view.shown(&tail), "-- the log was replaced, or ran away from us\na\n");
    }
}
