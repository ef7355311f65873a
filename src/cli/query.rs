//! `call`, `health` and `status`.

use super::args::ClientArgs;
use super::here::Here;
use super::session::Session;
use super::{Failure, print, print_json, render, summary};
use crate::environment::Environment;
use clap::Args;
use serde_json::{Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

/// `clawgate status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Also ask for health, presence and the gateway's own numbers as they are now
    #[arg(long)]
    pub deep: bool,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `clawgate call`. `Debug` leaves the params out.
#[derive(Clone, Args)]
pub struct CallArgs {
    /// Name of the method
    pub method: String,
    /// Its params, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub params: String,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl fmt::Debug for CallArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallArgs")
            .field("method", &self.method)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// `clawgate call METHOD`.
///
/// # Errors
/// The params are no JSON object, or the gateway cannot be asked.
pub fn call(args: &CallArgs, environment: &Environment) -> Result<(), Failure> {
    let params: Value = serde_json::from_str(&args.params).map_err(|why| {
        Failure::Usage(format!("--params is not JSON (line {}, column {})", why.line(), why.column()))
    })?;
    if !params.is_object() {
        return Err(Failure::Usage(
            "--params must be a JSON object, such as {} or {\"key\":\"value\"}".to_owned(),
        ));
    }
    let mut session = Session::open(&args.client, environment)?;
    let answer = session.call(&args.method, params);
    session.close();
    print_json(&answer?)
}

/// `clawgate health`.
///
/// # Errors
/// The gateway cannot be asked.
pub fn health(args: &ClientArgs, environment: &Environment) -> Result<(), Failure> {
    let mut session = Session::open(args, environment)?;
    let answer = session.call("health", json!({}));
    // What waits for a restart is no part of the health snapshot, whose members are fixed.
    let status = if args.json || answer.is_err() { None } else { session.call("status", json!({})).ok() };
    session.close();
    let answer = answer?;
    if args.json {
        return print_json(&answer);
    }
    print(&summary::health(&answer, &status.unwrap_or_default()))
}

/// `clawgate status`.
///
/// # Errors
/// The gateway cannot be asked.
pub fn status(args: &StatusArgs, environment: &Environment) -> Result<(), Failure> {
    let (shown, text) = look(args, environment)?;
    if args.client.json { print_json(&shown) } else { print(&text) }
}

/// What a gateway says of itself, for programs and for people.
///
/// # Errors
/// The gateway cannot be asked.
pub(super) fn look(args: &StatusArgs, environment: &Environment) -> Result<(Value, String), Failure> {
    let started = Instant::now();
    let StatusArgs { deep, client: args } = args;
    let mut session = Session::open(args, environment)?;
    let answer = session.call("status", json!({}));
    let latency = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let server = session.hello.0["server"].clone();
    let mut gateway = json!({
        "url": session.target.url,
        "version": server["version"],
        "protocol": session.hello.protocol(),
        "uptimeMs": session.hello.0["snapshot"]["uptimeMs"],
        "latencyMs": latency,
    });
    if let Some(secure) = &session.target.tls {
        gateway["tlsSha256"] = secure.met().fingerprint.into();
    }
    let deep = deep.then(|| look_deep(&mut session));
    let url = session.target.url.clone();
    let port = session.target.addresses.first().map(SocketAddr::port);
    session.close();
    let here = Here::look(environment);
    let answer = answer?;
    let mut text = summary::status(&gateway, &answer);
    text.push_str(&here.text());
    if let Some(deep) = &deep {
        for (head, value) in [("status", &answer), ("deep", deep)] {
            text.push_str(head);
            text.push('\n');
            text.push_str(&render::indented(&render::outline(value)));
        }
    }
    let (config, members) = here.in_reference_shape(&url, port);
    for (name, value) in members {
        gateway[name] = value;
    }
    let mut shown = json!({
        "ok": true, "gateway": gateway, "status": answer, "here": here.to_json(),
        "rpc": {"ok": true, "url": url}, "config": config,
    });
    if let Some(deep) = deep {
        shown["deep"] = deep;
    }
    Ok((shown, text))
}

/// What a closer look shows. Another gateway may not have all of it; then it says why.
fn look_deep(session: &mut Session) -> Value {
    let mut deep = json!({});
    for (name, method) in
        [("health", "health"), ("presence", "system-presence"), ("stability", "diagnostics.stability")]
    {
        deep[name] =
            session.call(method, json!({})).unwrap_or_else(|failure| json!({ "error": failure.message() }));
    }
    deep
}
