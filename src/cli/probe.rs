//! `clawgate probe`: whether a gateway can be reached, and how much of it. As the reference's, it comes as somebody who
//! only looks, without a device: what it may not see is no failure, but it says so.

use super::address::{self, Address};
use super::args::ClientArgs;
use super::session::{Guise, Session};
use super::tunnel::{SshTarget, Tunnel};
use super::{Failure, discover, print, print_json, target};
use crate::config::{self, Opened};
use crate::environment::Environment;
use crate::log::wall_ms;
use crate::storage::Storage;
use crate::tls::Trust;
use clap::Args;
use serde_json::{Value, json};
use std::io::{self, Write as _};
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// `clawgate probe`.
#[derive(Clone, Debug, Default, Args)]
#[command(
    after_help = "Examples:\n  clawgate probe\n  clawgate gateway probe --ssh me@pi.local --token \"$TOKEN\""
)]
pub struct ProbeArgs {
    /// Go through the SSH server of another machine to the gateway there: user@host, user@host:port, or without a value
    /// gateway.remote.sshTarget. --url is then the gateway as that machine sees it [default: ws://127.0.0.1:18789]
    #[arg(long, value_name = "TARGET", num_args = 0..=1, default_missing_value = "")]
    pub ssh: Option<String>,
    /// Private key for it [default: gateway.remote.sshIdentity with gateway.remote.sshTarget, else what ssh takes]
    #[arg(long, value_name = "FILE", requires = "ssh")]
    pub ssh_identity: Option<PathBuf>,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Looks.
///
/// # Errors
/// Nothing can be reached.
pub fn run(args: &ProbeArgs, environment: &Environment) -> Result<(), Failure> {
    let started = Instant::now();
    // The network is asked meanwhile. What it says is shown, and used for nothing.
    let (around, timeout_ms) = (environment.clone(), args.client.timeout);
    let announced =
        args.client.json.then(|| thread::spawn(move || discover::beside_a_probe(&around, timeout_ms)));
    let target = find(args, environment)?;
    if let Some(announced) = announced {
        let announced =
            announced.join().unwrap_or_else(|_| json!({"timeoutMs": 0, "count": 0, "beacons": []}));
        print_json(&target.report(args.client.timeout, millis(started), announced))?;
        // A program has the whole report already, and needs the code alone.
        return if target.failure.is_some() { Err(Failure::Reported(1)) } else { Ok(()) };
    }
    if let Some(why) = target.tunnel_fault.as_ref().filter(|_| target.id != SSH_TUNNEL) {
        let _ = writeln!(io::stderr(), "{}; looked without it", super::render::clean(why));
    }
    match &target.failure {
        None => print(&target.text()),
        Some(failure) => Err(Failure::Failed(failure.message())),
    }
}

/// Looks there where the flags say, else where the configuration does.
fn find(args: &ProbeArgs, environment: &Environment) -> Result<Target, Failure> {
    let client = &args.client;
    match args.ssh.as_deref() {
        Some(ssh) if !ssh.is_empty() => return Target::look_through_typed(ssh, args, environment),
        None if client.url.is_some() || environment.first(&target::URL_VARIABLES).is_some() => {
            return Target::look("explicit", client, environment);
        }
        Some(_) | None => {}
    }
    let opened = match config::open(&Storage::on_disk(), environment) {
        Ok(opened) => opened,
        // What is wrong is found there once more, and is in the report then.
        Err(_) if args.ssh.is_none() => return Target::look("localLoopback", client, environment),
        Err(why) => return Err(Failure::Failed(why)),
    };
    let configured = opened.settings.remote_ssh.as_deref();
    if args.ssh.is_some() {
        let destination = configured.ok_or_else(|| {
            Failure::Usage("--ssh needs a destination, or gateway.remote.sshTarget one: user@host".to_owned())
        })?;
        return Target::look_through_configured(destination, args, &opened, environment);
    }
    if opened.settings.mode.as_deref() != Some("remote") {
        return Target::look("localLoopback", client, environment);
    }
    let Some(destination) = configured.filter(|_| !opened.settings.remote_is_direct) else {
        return Target::look("configRemote", client, environment);
    };
    let found = Target::look_through_configured(destination, args, &opened, environment)
        .unwrap_or_else(|why| Target::without_a_way(&opened, &why));
    if found.tunnel_fault.is_none() || is_of_the_far_side(&opened) {
        return Ok(found);
    }
    Ok(Target { tunnel_fault: found.tunnel_fault, ..Target::look("configRemote", client, environment)? })
}

/// Whether the address of the remote gateway is one of the machine with the SSH server, in the clear. Here, somebody else may
/// be at it, who must not be shown what is for that gateway.
fn is_of_the_far_side(opened: &Opened) -> bool {
    let url = opened.settings.remote_url.as_deref().unwrap_or_default().trim();
    address::is_in_the_clear(url) && target::is_for_the_far_side(url, false)
}

/// What was found at one address.
struct Target {
    id: &'static str,
    url: String,
    latency_ms: Option<u64>,
    failure: Option<Failure>,
    /// The SSH server it was reached through.
    tunnel: Option<Value>,
    /// Why there was no way through it.
    tunnel_fault: Option<String>,
    /// A method was refused for want of a scope.
    scope_limited: Option<String>,
    /// By method; what was refused is null.
    answers: [Value; 4],
}

impl Target {
    fn unknown(id: &'static str, url: String) -> Self {
        Self {
            id,
            url,
            latency_ms: None,
            failure: None,
            tunnel: None,
            tunnel_fault: None,
            scope_limited: None,
            answers: [Value::Null, Value::Null, Value::Null, Value::Null],
        }
    }

    /// What is configured for the way through SSH cannot be used. Nothing on the command line is wrong.
    fn without_a_way(opened: &Opened, why: &Failure) -> Self {
        let why = format!("gateway.remote: {}", why.message());
        let url = opened.settings.remote_url.as_deref().unwrap_or_default().trim();
        Self {
            failure: Some(Failure::Failed(why.clone())),
            tunnel_fault: Some(why.replace('\n', "; ")),
            ..Self::unknown(SSH_TUNNEL, url.to_owned())
        }
    }

    fn look(id: &'static str, args: &ClientArgs, environment: &Environment) -> Result<Self, Failure> {
        let started = Instant::now();
        let named = environment.first(&target::URL_VARIABLES).map(|(_, url)| url.to_owned());
        let mut target = Self::unknown(id, args.url.clone().or(named).unwrap_or_default());
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

    /// Through the SSH server of another machine, to whom nothing is shown but what was typed.
    fn look_through_typed(ssh: &str, args: &ProbeArgs, environment: &Environment) -> Result<Self, Failure> {
        let client = args.client.clone();
        if client.token.is_none() && client.password.is_none() {
            return Err(Failure::Usage(
                "what is configured is for the gateway that is configured\nPass --token or --password with --ssh, or set \
                 gateway.remote.sshTarget and gateway.remote.token"
                    .to_owned(),
            ));
        }
        Self::look_through(ssh, args.ssh_identity.as_deref(), client, environment)
    }

    /// Through the SSH server that is configured, which is shown what is configured for the gateway there.
    fn look_through_configured(
        destination: &str,
        args: &ProbeArgs,
        opened: &Opened,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let Opened { settings, environment: theirs, .. } = opened;
        let mut client = args.client.clone();
        if client.token.is_none() && client.password.is_none() {
            if client.url.is_some() {
                return Err(Failure::Usage(
                    "gateway url override requires explicit credentials\nPass --token or --password with --url.".to_owned(),
                ));
            }
            let credentials = target::remote(settings, theirs)?.credentials;
            (client.token, client.password) = (credentials.token, credentials.password);
            if client.token.is_none() && client.password.is_none() {
                return Err(Failure::Usage(format!(
                    "there is nothing to show to the gateway behind ssh {}: set gateway.remote.token or \
                     gateway.remote.password, or pass --token or --password",
                    super::render::clean(destination)
                )));
            }
        }
        if client.url.is_none() {
            // However the way leads there, it is the gateway with that certificate.
            if client.tls_fingerprint.is_none()
                && let Trust::Pin(pinned) = target::remote_trust(settings)?
            {
                client.tls_fingerprint = Some(pinned);
            }
            let is_pinned = client.tls_fingerprint.is_some();
            let configured = settings.remote_url.as_deref().map(str::trim);
            client.url =
                configured.filter(|url| target::is_for_the_far_side(url, is_pinned)).map(str::to_owned);
        }
        let configured = settings.remote_ssh_identity.as_deref().map(|path| theirs.path(path));
        let identity = args.ssh_identity.clone().or(configured);
        Self::look_through(destination, identity.as_deref(), client, environment)
    }

    fn look_through(
        destination: &str,
        identity: Option<&Path>,
        mut client: ClientArgs,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let ssh = SshTarget::parse(destination).map_err(Failure::Usage)?;
        // A pinned certificate is met nowhere else than behind TLS.
        let usual = if client.tls_fingerprint.is_some() { USUAL_SECURE_URL } else { USUAL_URL };
        let url = client.url.as_deref().unwrap_or(usual).trim();
        let Address { tls, host, port, path } = target::far_end(url)?;
        let far = format!("{host}:{port}");
        let tunnel = Tunnel::open(&ssh, identity, &far, Duration::from_millis(client.timeout))?;
        let scheme = if tls { "wss" } else { "ws" };
        client.url = Some(format!("{scheme}://{}{path}", tunnel.address()));
        let mut found = Self::look(SSH_TUNNEL, &client, environment)?;
        if found.failure.is_some()
            && let Some(why) = tunnel.fault()
        {
            found.tunnel_fault = Some(format!("ssh {}: {why}", ssh.text()));
            found.failure = Some(Failure::Unreachable(format!(
                "ssh {}: {why}\nTry `ssh {}` by hand: the host must be known, and let this user in without being asked",
                ssh.text(),
                ssh.text()
            )));
        }
        found.tunnel = Some(json!({
            "kind": "ssh", "target": ssh.text(), "localPort": tunnel.address().port(), "remote": far,
        }));
        Ok(found)
    }

    /// In the reference's shape.
    fn report(&self, timeout_ms: u64, duration_ms: u64, announced: Value) -> Value {
        let [health, status, presence, config] = &self.answers;
        let own = presence.as_array().and_then(|list| list.iter().find(|entry| entry["reason"] == "self"));
        let mut warnings = Vec::new();
        if let Some(why) = &self.tunnel_fault {
            warnings
                .push(json!({ "code": "ssh_tunnel_failed", "message": format!("SSH tunnel failed: {why}") }));
        }
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
            "discovery": announced,
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

/// What was looked at through an SSH server, or would have been.
const SSH_TUNNEL: &str = "sshTunnel";
/// Where a gateway is when nothing else is said.
const USUAL_URL: &str = "ws://127.0.0.1:18789/";
/// The same where it speaks TLS.
const USUAL_SECURE_URL: &str = "wss://127.0.0.1:18789/";
/// What is asked, in the order of [`Target::answers`].
const METHODS: [&str; 4] = ["health", "status", "system-presence", "config.get"];
