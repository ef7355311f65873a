//! `clawgate probe`: whether a gateway can be reached, and how much of it. As the reference's, it comes as somebody who
//! only looks, without a device: what it may not see is no failure, but it says so.

use super::args::{ClientArgs, ProbeArgs};
use super::session::{Guise, Session};
use super::tunnel::{SshTarget, Tunnel};
use super::{Failure, print, print_json, target};
use crate::config;
use crate::environment::Environment;
use crate::log::wall_ms;
use crate::storage::Storage;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Looks.
///
/// # Errors
/// Nothing can be reached.
pub fn run(args: &ProbeArgs, environment: &Environment) -> Result<(), Failure> {
    let started = Instant::now();
    let target = match &args.ssh {
        None => Target::look(&args.client, environment)?,
        Some(ssh) => Target::look_through(ssh, args, environment)?,
    };
    let duration_ms = millis(started);
    if args.client.json {
        print_json(&target.report(args.client.timeout, duration_ms))?;
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
    /// The SSH server it was reached through.
    tunnel: Option<Value>,
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
            tunnel: None,
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

    /// Through the SSH server of another machine. A destination that is typed is shown what is typed beside it, one that
    /// is configured what is configured for it.
    fn look_through(ssh: &str, args: &ProbeArgs, environment: &Environment) -> Result<Self, Failure> {
        let mut client = args.client.clone();
        let is_explicit = client.token.is_some() || client.password.is_some();
        let (named, mut identity) = (!ssh.is_empty(), args.ssh_identity.clone());
        let mut destination = ssh.to_owned();
        if !named {
            let storage = Storage::on_disk();
            let opened = config::open(&storage, environment).map_err(Failure::Failed)?;
            let settings = &opened.settings;
            destination = settings.remote_ssh.clone().ok_or_else(|| {
                Failure::Usage(
                    "--ssh needs a destination, or gateway.remote.sshTarget one: user@host".to_owned(),
                )
            })?;
            let configured = settings.remote_ssh_identity.as_deref();
            identity = identity.or_else(|| configured.map(|path| opened.environment.path(path)));
            if !is_explicit && client.url.is_some() {
                return Err(Failure::Usage(
                    "gateway url override requires explicit credentials\nPass --token or --password with --url.".to_owned(),
                ));
            }
            if !is_explicit {
                let credentials = target::remote(settings, &opened.environment)?.credentials;
                (client.token, client.password) = (credentials.token, credentials.password);
            }
            // Behind a tunnel that somebody holds, the gateway's address is one of that machine.
            client.url =
                client.url.or_else(|| settings.remote_url.clone().filter(|url| target::is_here(url.trim())));
        } else if !is_explicit {
            return Err(Failure::Usage(
                "what is configured is for the gateway that is configured\nPass --token or --password with --ssh, or set \
                 gateway.remote.sshTarget and gateway.remote.token"
                    .to_owned(),
            ));
        }
        let ssh = SshTarget::parse(&destination).map_err(Failure::Usage)?;
        let url = client.url.as_deref().unwrap_or(USUAL_URL).trim();
        let target::Address { tls, host, port, path } = target::far_end(url)?;
        let far = format!("{host}:{port}");
        let tunnel = Tunnel::open(&ssh, identity.as_deref(), &far, Duration::from_millis(client.timeout))?;
        let scheme = if tls { "wss" } else { "ws" };
        client.url = Some(format!("{scheme}://{}{path}", tunnel.address()));
        let mut found = Self::look(&client, environment)?;
        if found.failure.is_some()
            && let Some(why) = tunnel.fault()
        {
            found.failure = Some(Failure::Unreachable(format!(
                "ssh {}: {why}\nTry `ssh {}` by hand: the host must be known, and let this user in without being asked",
                ssh.text(),
                ssh.text()
            )));
        }
        found.id = "sshTunnel";
        found.tunnel = Some(json!({
            "kind": "ssh", "target": ssh.text(), "localPort": tunnel.address().port(), "remote": far,
        }));
        Ok(found)
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
                "id": self.id, "kind": self.id, "url": self.url, "active": true, "tunnel": self.tunnel,
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
        let through = self.tunnel.as_ref().and_then(|tunnel| tunnel["target"].as_str());
        let url = through
            .map_or_else(|| url.clone(), |ssh| format!("{url}, through ssh {}", super::render::clean(ssh)));
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

/// Where a gateway is when nothing else is said.
const USUAL_URL: &str = "ws://127.0.0.1:18789/";
/// What is asked, in the order of [`Target::answers`].
const METHODS: [&str; 4] = ["health", "status", "system-presence", "config.get"];
