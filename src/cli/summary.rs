//! What `status` and `health` tell a person at a glance. Everything else that a gateway says is in `--json`, and in
//! `status --deep`. Rows about which a gateway says nothing (the reference has fewer) are left out.

use super::render;
use serde_json::Value;

/// The gateway, how it is reached and how busy it is.
pub fn status(gateway: &Value, status: &Value) -> String {
    let text = |value: &Value| render::text(value);
    let mut rows = Rows::default();
    rows.add(
        "gateway",
        format!(
            "running at {}, version {}, protocol {}",
            text(&gateway["url"]),
            text(&gateway["version"]),
            text(&gateway["protocol"])
        ),
    );
    if let Some(fingerprint) = gateway["tlsSha256"].as_str() {
        rows.add("tls", format!("sha256:{}", render::clean(fingerprint)));
    }
    let latency = text(&gateway["latencyMs"]);
    match gateway["uptimeMs"].as_u64() {
        Some(ms) => rows.add("up", format!("{}; answered in {latency} ms", span(ms))),
        None => rows.add("answered", format!("in {latency} ms")),
    }
    let own = &status["gateway"];
    if let Some(phase) = own["phase"].as_str().filter(|phase| *phase != "accepting") {
        rows.add("phase", format!("{}: it takes no new work", render::clean(phase)));
    }
    if let (Some(open), Some(max)) = (own["sockets"]["open"].as_u64(), own["sockets"]["max"].as_u64()) {
        // This command is one of them.
        let full = if own["sockets"]["accepting"] == false { "; no more are taken" } else { "" };
        rows.add("clients", format!("{} connected, of {max} at most{full}", open.saturating_sub(1)));
    }
    if let Some(resident) = own["memory"]["residentBytes"].as_u64() {
        let part = |name: &str| size(own["memory"][name].as_u64().unwrap_or_default());
        let (used, max) = (part("budgetUsedBytes"), part("budgetMaxBytes"));
        rows.add("memory", format!("{} resident; messages take {used} of {max}", size(resident)));
    }
    if let Some(count) = own["proxies"]["untrusted"].as_u64().filter(|count| *count > 0) {
        rows.add(
            "proxies",
            format!(
                "{count} connections came through a proxy that is not in gateway.trustedProxies, and count as remote"
            ),
        );
    }
    for (name, member) in [("refused", "refused"), ("failed", "failed")] {
        rows.add(name, counted(&own[member]));
    }
    rows.add("config", config_fault(status));
    rows.add("restart", restart_needed(status));
    rows.add("channels", render::joined(&status["channelSummary"]));
    rows.add("events", render::joined(&status["queuedSystemEvents"]));
    rows.0
}

/// Whether all is well, and what is not. `status` is that of the same gateway, as far as it may be seen.
pub fn health(answer: &Value, status: &Value) -> String {
    let mut rows = Rows::default();
    let ok = if answer["ok"] == true { "yes" } else { "no" };
    rows.add("healthy", ok.to_owned());
    let timers = &answer["eventLoop"];
    if let Some(max) = timers["delayMaxMs"].as_u64() {
        let why = render::joined(&timers["reasons"]);
        let late = if timers["degraded"] == true { format!("; degraded: {why}") } else { String::new() };
        rows.add("timers", format!("at most {max} ms late{late}"));
    }
    rows.add("config", config_fault(status));
    rows.add("restart", restart_needed(status));
    let labels = &answer["channelLabels"];
    let order = answer["channelOrder"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let named: Vec<String> = order.map(|id| render::clean(labels[id].as_str().unwrap_or(id))).collect();
    rows.add("channels", if named.is_empty() { "none".to_owned() } else { named.join(", ") });
    rows.add("agents", names(&answer["agents"], "agentId"));
    rows.add("sessions", render::text(&answer["sessions"]["count"]));
    rows.add("plugins", faults(&answer["plugins"]["errors"]));
    rows.0
}

/// What keeps the configuration file from counting, and where it stands; empty when nothing does.
fn config_fault(status: &Value) -> String {
    let fault = &status["gateway"]["configFault"];
    let Some(file) = fault["file"].as_str() else { return String::new() };
    let mut said = format!("not in force: {}", render::clean(file));
    if let Some(line) = fault["line"].as_u64() {
        said.push_str(&format!(", line {line}"));
    }
    if let Some(key) = fault["key"].as_str().filter(|key| !key.is_empty()) {
        said.push_str(&format!(", {}", render::clean(key)));
    }
    said + &format!(": {}; what was in force before still is", render::text(&fault["message"]))
}

/// Which settings of the file wait for a restart; empty when none does.
fn restart_needed(status: &Value) -> String {
    match render::joined(&status["gateway"]["restartNeeded"]) {
        paths if paths.is_empty() => paths,
        paths => format!("needed: {paths} changed in the configuration file, and the old still holds"),
    }
}

/// Lines of a name and what is to be said about it; nothing to say is no line.
#[derive(Default)]
struct Rows(String);

impl Rows {
    fn add(&mut self, name: &str, said: String) {
        if !said.is_empty() {
            self.0.push_str(&format!("{name:<10}{said}\n"));
        }
    }
}

/// `CODE 3, OTHER 1`.
fn counted(counts: &Value) -> String {
    let counts = counts.as_object().into_iter().flatten();
    counts
        .map(|(code, count)| format!("{} {}", render::clean(code), render::text(count)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn names(items: &Value, member: &str) -> String {
    let items = items.as_array().into_iter().flatten();
    items.map(|item| render::text(&item[member])).collect::<Vec<_>>().join(", ")
}

fn faults(errors: &Value) -> String {
    match errors.as_array().map_or(0, Vec::len) {
        0 => String::new(),
        count => format!("{count} did not load: see --json"),
    }
}

/// A time in the two units that matter.
fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A number of bytes, rounded down.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} bytes"),
        1_024..1_048_576 => format!("{} KiB", bytes / 1_024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_a_few_lines() {
        let gateway = json!({
            "url": "ws://127.0.0.1:1/", "version": "1", "protocol": 4, "uptimeMs": 3_725_000, "latencyMs": 2,
        });
        let status_of = json!({ "gateway": {
            "phase": "accepting",
            "sockets": {"accepting": true, "open": 3, "max": 64},
            "memory": {"residentBytes": 5_443_584, "budgetUsedBytes": 0, "budgetMaxBytes": 8_388_608},
            "proxies": {"state": "proxied-untrusted", "untrusted": 3, "setting": "gateway.trustedProxies"},
            "refused": {"AUTH_TOKEN_MISMATCH": 2, "X": 1}, "failed": {}, "restartNeeded": ["gateway.port", "a.b"],
        }, "channelSummary": [], "queuedSystemEvents": ["hi\u{7}"] });
        let want = "gateway   running at ws://127.0.0.1:1/, version 1, protocol 4\n\
                    up        1 h 2 min; answered in 2 ms\n\
                    clients   2 connected, of 64 at most\n\
                    memory    5 MiB resident; messages take 0 bytes of 8 MiB\n\
                    proxies   3 connections came through a proxy that is not in gateway.trustedProxies, and count as remote\n\
                    refused   AUTH_TOKEN_MISMATCH 2, X 1\n\
                    restart   needed: gateway.port, a.b changed in the configuration file, and the old still holds\n\
                    events    hi\u{fffd}\n";
        assert_eq!(status(&gateway, &status_of), want);
        let draining =
            json!({ "gateway": {"phase": "draining", "sockets": {"accepting": false, "open": 1, "max": 1}} });
        let text = status(&gateway, &draining);
        assert!(text.contains("phase     draining: it takes no new work\n"), "{text}");
        assert!(text.contains("0 connected, of 1 at most; no more are taken\n"), "{text}");
    }

    #[test]
    fn a_gateway_that_says_less_gets_fewer_lines() {
        let gateway = json!({ "url": "ws://h/", "version": "2026.3.13", "protocol": 3, "latencyMs": 2 });
        let want = "gateway   running at ws://h/, version 2026.3.13, protocol 3\nanswered  in 2 ms\n";
        assert_eq!(status(&gateway, &json!({})), want);
        assert_eq!(health(&json!({"ok": true}), &json!({})), "healthy   yes\nchannels  none\n");
    }

    #[test]
    fn health_says_what_is_wrong() {
        let answer = json!({
            "ok": false,
            "eventLoop": {"delayMaxMs": 900, "degraded": true, "reasons": ["late", "busy"]},
            "channelOrder": ["w"], "channelLabels": {"w": "WhatsApp"}, "agents": [{"agentId": "main"}],
            "sessions": {"count": 0}, "plugins": {"errors": [{"id": "p"}]},
        });
        let want = "healthy   no\n\
                    timers    at most 900 ms late; degraded: late, busy\n\
                    restart   needed: gateway.port changed in the configuration file, and the old still holds\n\
                    channels  WhatsApp\n\
                    agents    main\n\
                    sessions  0\n\
                    plugins   1 did not load: see --json\n";
        let status = json!({"gateway": {"restartNeeded": ["gateway.port"]}});
        assert_eq!(health(&answer, &status), want);
    }

    #[test]
    fn times_and_sizes_are_for_reading() {
        let spans = [59_999, 60_000, 3_600_000, 90_000_000].map(span);
        assert_eq!(spans, ["59 s", "1 min 0 s", "1 h 0 min", "1 days 1 h"]);
        assert_eq!([5, 2_048, 5_443_584].map(size), ["5 bytes", "2 KiB", "5 MiB"]);
    }
}
