//! `clawgate probe`: whether a gateway can be reached, and how much of it. As the reference's, it comes as somebody who
//! only looks, without a device: what it may not see is no failure, but it says so.

use super::args::ClientArgs;
use super::session::{Guise, Session};
use super::{Failure, print, print_json};
use crate::environment::Environment;
use crate::log::wall_ms;
use serde_json::{Value, json};
use std::time::Instant;

/// Looks.
///
/// # Errors
/// Nothing can be reached.
pub fn run(args: &ClientArgs, environment: &Environment) -> Result<(), Failure> {
    let started = Instant::now();
    let target = Target::look(args, environment)?;
    let duration_ms = millis(started);
    if args.json {
        print_json(&target.report(args.timeout, duration_ms))?;
        // A program has the whole report already, and needs the code alone.
        return if target.failure.is_some() { Err(Failure::Reported(1)) } else { Ok(()) };
    }
    match &target.failure {
        None => print(&target.text()),
        Some(failure) => Err(Failure::Failed(failure.message())),
    }
}

/// What was found at one address.
struct Target {
    id: &'static str,
    url: String,
    latency_ms: Option<u64>,
    failure: Option<Failure>,
    /// A method was refused for want of a scope.
    scope_limited: Option<String>,
    /// By method; what was refused is null.
    answers: [Value; 4],
}

impl Target {
    fn look(args: &ClientArgs, environment: &Environment) -> Result<Self, Failure> {
        let started = Instant::now();
        let named = environment.first(&["OPENCLAW_GATEWAY_URL", "CLAWDBOT_GATEWAY_URL"]);
        let id = if args.url.is_some() || named.is_some() { "explicit" } else { "localLoopback" };
        let url = args.url.clone().or_else(|| named.map(|(_, url)| url.to_owned())).unwrap_or_default();
        let mut target = Self {
            id,
            url,
            latency_ms: None,
            failure: None,
            scope_limited: None,
            answers: [Value::Null, Value::Null, Value::Null, Value::Null],
        };
        let mut session = match Session::open_as(Guise::Probe, args, environment) {
            Ok(session) => session,
            Err(failure @ Failure::Usage(_)) => return Err(failure),
            Err(failure) => {
                target.failure = Some(failure);
                return Ok(target);
            }
        };
        target.url.clone_from(&session.target.url);
        target.latency_ms = Some(millis(started));
        for (answer, method) in target.answers.iter_mut().zip(METHODS) {
            match session.call(method, json!({})) {
                Ok(value) => *answer = value,
                Err(Failure::Answered(error)) if error.message.starts_with("missing scope: ") => {
                    target.scope_limited.get_or_insert(error.message.clone());
                }
                // A gateway without that method is reached all the same.
                Err(Failure::Answered(error)) if error.message.starts_with("unknown method: ") => {}
                Err(failure) => {
                    target.failure.get_or_insert(failure);
                }
            }
        }
        session.close();
        Ok(target)
    }

    /// In the reference's shape.
    fn report(&self, timeout_ms: u64, duration_ms: u64) -> Value {
        let [health, status, presence, config] = &self.answers;
        let own = presence.as_array().and_then(|list| list.iter().find(|entry| entry["reason"] == "self"));
        let mut warnings = Vec::new();
        if let Some(missing) = &self.scope_limited {
            warnings.push(json!({
                "code": "probe_scope_limited", "targetIds": [self.id],
                "message": format!("reached, but details are not shown to a probe ({missing})"),
            }));
        }
        let ok = self.failure.is_none();
        json!({
            "ok": ok,
            "degraded": self.scope_limited.is_some(),
            "ts": wall_ms(),
            "durationMs": duration_ms,
            "timeoutMs": timeout_ms,
            "primaryTargetId": ok.then_some(self.id),
            "warnings": warnings,
            "network": {
                "localLoopbackUrl": if self.id == "localLoopback" { json!(self.url) } else { Value::Null },
                "localTailnetUrl": null, "tailnetIPv4": null,
            },
            // This version does not look for gateways that nobody named.
            "discovery": {"timeoutMs": 0, "count": 0, "beacons": []},
            "targets": [{
                "id": self.id, "kind": self.id, "url": self.url, "active": true, "tunnel": null,
                "connect": {
                    "ok": self.latency_ms.is_some(),
                    "rpcOk": ok && self.scope_limited.is_none(),
                    "scopeLimited": self.scope_limited.is_some(),
                    "latencyMs": self.latency_ms,
                    "error": self.failure.as_ref().map(Failure::message).or_else(|| self.scope_limited.clone()),
                    "close": null,
                },
                "self": own, "config": config, "health": health, "summary": status, "presence": presence,
            }],
        })
    }

    fn text(&self) -> String {
        let (url, ms) = (super::render::clean(&self.url), self.latency_ms.unwrap_or_default());
        match &self.scope_limited {
            None => format!("reachable at {url} in {ms} ms\n"),
            Some(missing) => format!(
                "reachable at {url} in {ms} ms; a probe is not shown more ({missing}): see clawgate status\n"
            ),
        }
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What is asked, in the order of [`Target::answers`].
const METHODS: [&str; 4] = ["health", "status", "system-presence", "config.get"];
