//! One line of the log's file: the shape that the reference's `logs` command and its Control UI read (spec: methods
//! section 3), with numbered arguments, `_meta` and `time`.

use super::{civil_time, human_fields, level_name};
use clawgate_proto::log::{Level, Record};
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    /// Where it comes from.
    #[serde(rename = "0")]
    subsystem: &'a str,
    /// What happened, for people.
    #[serde(rename = "1")]
    message: &'a str,
    #[serde(rename = "_meta")]
    meta: Meta<'a>,
    time: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    runtime: &'static str,
    runtime_version: &'static str,
    hostname: &'a str,
    name: &'a str,
    parent_names: [&'static str; 1],
    date: &'a str,
    log_level_id: u8,
    log_level_name: &'a str,
}

/// The line of a record, its end included. `shown` hides what must not be shown.
pub fn line(wall_ms: u64, hostname: &str, record: &Record, shown: impl Fn(&str, &str) -> String) -> Vec<u8> {
    let subsystem = match record.conn {
        Some(_) => "{\"subsystem\":\"gateway/ws\"}",
        None => "{\"subsystem\":\"gateway\"}",
    };
    let mut message = record.event.to_owned();
    human_fields(&mut message, record, shown);
    let date = civil_time(wall_ms);
    let line = Line {
        subsystem,
        message: &message,
        meta: Meta {
            runtime: "clawgate",
            runtime_version: env!("CARGO_PKG_VERSION"),
            hostname,
            name: subsystem,
            parent_names: ["openclaw"],
            date: &format!("{date}Z"),
            log_level_id: level_id(record.level),
            log_level_name: &level_name(record.level).to_ascii_uppercase(),
        },
        time: &format!("{date}+00:00"),
    };
    let mut out = serde_json::to_vec(&line).expect("a line has only string keys");
    out.push(b'\n');
    out
}

/// The numbers that go with the names.
fn level_id(level: Level) -> u8 {
    match level {
        Level::Error => 5,
        Level::Warn => 4,
        Level::Info => 3,
        Level::Debug => 2,
        Level::Trace => 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use clawgate_proto::id::ConnId;
    use serde_json::{Value, json};

    #[test]
    fn a_line_is_what_the_references_tools_read() {
        let record = Record::new(Level::Warn, "peer.refused").conn(ConnId(3)).field("code", "NOT PAIRED");
        let line = line(1_795_347_000_123, "board", &record, |_, value| value.to_owned());
        let value: Value = serde_json::from_slice(line.strip_suffix(b"\n").unwrap()).unwrap();
        let name = "{\"subsystem\":\"gateway/ws\"}";
        let want = json!({
            "0": name,
            "1": "peer.refused conn=c3 code=\"NOT PAIRED\"",
            "_meta": {
                "runtime": "clawgate", "runtimeVersion": env!("CARGO_PKG_VERSION"), "hostname": "board", "name": name,
                "parentNames": ["openclaw"], "date": "2026-11-22T11:30:00.123Z", "logLevelId": 4,
                "logLevelName": "WARN",
            },
            "time": "2026-11-22T11:30:00.123+00:00",
        });
        assert_eq!(value, want);
        assert!(!line[..line.len() - 1].contains(&b'\n'));
    }
}
