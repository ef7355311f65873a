//! `nodes describe`, `invoke`, `run` and `notify`: what a node is asked to do from a shell.

use super::args::ClientArgs;
use super::session::{Guise, Session};
use super::{Failure, devices, print, print_json, render};
use crate::entropy;
use crate::environment::Environment;
use clap::Args;
use clawgate_proto::client::ResponseError;
use clawgate_proto::seed::{Random, Seed};
use serde_json::{Map, Value, json};
use std::fmt;
use std::io::{self, Write as _};

/// `clawgate nodes describe`.
#[derive(Clone, Debug, Args)]
pub struct DescribeArgs {
    /// The node: its id, its address, its name, or at least six characters that its id begins with
    #[arg(value_name = "NODE")]
    pub node: String,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `clawgate nodes invoke`. `Debug` leaves the params out.
#[derive(Clone, Args)]
pub struct InvokeArgs {
    /// The node: its id, its address, its name, or at least six characters that its id begins with
    #[arg(long, value_name = "NODE")]
    pub node: String,
    /// What it should do, such as system.which
    #[arg(long, value_name = "COMMAND")]
    pub command: String,
    /// With what, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub params: String,
    /// How long the node may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub invoke_timeout: u64,
    /// For the node to tell repetitions by [default: a new one]
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl fmt::Debug for InvokeArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvokeArgs")
            .field("node", &self.node)
            .field("command", &self.command)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// `clawgate nodes run`. `Debug` leaves out what is run, and its variables.
#[derive(Clone, Args)]
pub struct NodeShellArgs {
    /// The node: its id, its address, its name, or at least six characters that its id begins with
    #[arg(long, value_name = "NODE")]
    pub node: String,
    /// Where on the node it runs [default: the folder of its node host]
    #[arg(long, value_name = "FOLDER")]
    pub cwd: Option<String>,
    /// A variable for it; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Whose exec approvals on the node hold
    #[arg(long, value_name = "AGENT", default_value = "main")]
    pub agent: String,
    /// How long it may run, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub command_timeout: u64,
    /// Where the node wants an approval, give it yourself, for this once
    #[arg(long)]
    pub approve: bool,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Program and arguments; there is no shell between, unless you name one
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub argv: Vec<String>,
}

impl fmt::Debug for NodeShellArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeShellArgs")
            .field("node", &self.node)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// `clawgate nodes notify`.
#[derive(Clone, Debug, Args)]
pub struct NotifyArgs {
    /// The node: its id, its address, its name, or at least six characters that its id begins with
    #[arg(long, value_name = "NODE")]
    pub node: String,
    /// The head line
    #[arg(long, value_name = "TEXT", required_unless_present = "body")]
    pub title: Option<String>,
    /// The text below
    #[arg(long, value_name = "TEXT")]
    pub body: Option<String>,
    /// How much it matters
    #[arg(long, value_name = "PRIORITY", default_value = "active", value_parser = ["passive", "active", "timeSensitive"])]
    pub priority: String,
    /// How long the node may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub invoke_timeout: u64,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `nodes describe`.
///
/// # Errors
/// The gateway cannot be asked, or knows no such node.
pub fn describe(args: &DescribeArgs, environment: &Environment) -> Result<(), Failure> {
    let mut session = Session::open(&args.client, environment)?;
    let answer =
        find(&mut session, &args.node).and_then(|id| session.call("node.describe", json!({ "nodeId": id })));
    session.close();
    let answer = answer?;
    if args.client.json {
        return print_json(&answer);
    }
    print(&render::outline(&answer))
}

/// `nodes invoke`.
///
/// # Errors
/// The params are no JSON, the gateway cannot be asked, or the node does not do it.
pub fn invoke(args: &InvokeArgs, environment: &Environment) -> Result<(), Failure> {
    let params: Value = serde_json::from_str(&args.params).map_err(|why| {
        Failure::Usage(format!("--params is not JSON (line {}, column {})", why.line(), why.column()))
    })?;
    let mut session = Session::open(&args.client, environment)?;
    let answer = find(&mut session, &args.node).and_then(|id| {
        let key = args.idempotency_key.clone().unwrap_or_else(fresh_id);
        Order { node: &id, command: args.command.trim(), params, limit_ms: args.invoke_timeout, key }
            .send(&mut session, args.client.timeout)
    });
    session.close();
    let answer = answer?;
    if args.client.json {
        return print_json(&answer);
    }
    print_json(&answer["payload"])
}

/// `nodes notify`.
///
/// # Errors
/// The gateway cannot be asked, or the node does not show it.
pub fn notify(args: &NotifyArgs, environment: &Environment) -> Result<(), Failure> {
    let mut params = json!({ "priority": args.priority });
    for (name, text) in [("title", &args.title), ("body", &args.body)] {
        if let Some(text) = text {
            params[name] = text.clone().into();
        }
    }
    let mut session = Session::open(&args.client, environment)?;
    let answer = find(&mut session, &args.node).and_then(|id| {
        let limit_ms = args.invoke_timeout;
        Order { node: &id, command: "system.notify", params, limit_ms, key: fresh_id() }
            .send(&mut session, args.client.timeout)
    });
    session.close();
    let answer = answer?;
    if args.client.json {
        return print_json(&answer);
    }
    print(&format!("{} shows it\n", render::text(&answer["nodeId"])))
}

/// `nodes run`: ends with the code of the command.
///
/// # Errors
/// The gateway cannot be asked, the node does not run it, or it ends with another code than 0.
pub fn run(args: &NodeShellArgs, environment: &Environment) -> Result<(), Failure> {
    let mut env = Map::new();
    for variable in &args.variables {
        let (name, value) = variable
            .split_once('=')
            .ok_or_else(|| Failure::Usage("--env takes NAME=VALUE, such as LANG=C".to_owned()))?;
        env.insert(name.to_owned(), value.into());
    }
    let mut session = Session::open(&args.client, environment)?;
    let answer = execute(args, env, &mut session, environment);
    session.close();
    let answer = answer?;
    let payload = &answer["payload"];
    if args.client.json {
        print_json(&answer)?;
    } else {
        print(payload["stdout"].as_str().unwrap_or_default())?;
        let _ = write!(io::stderr(), "{}", payload["stderr"].as_str().unwrap_or_default());
        if let Some(why) = payload["error"].as_str() {
            let _ = writeln!(io::stderr(), "{}", render::clean(why));
        }
    }
    let code = payload["exitCode"].as_i64();
    match (payload["timedOut"] == true, code) {
        (true, _) => {
            let _ = writeln!(io::stderr(), "its time was up, and it was killed (see --command-timeout)");
            Err(Failure::Reported(TIMED_OUT))
        }
        (false, Some(0)) if payload["success"] != false => Ok(()),
        (false, code) => {
            let code = code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code > 0);
            Err(Failure::Reported(code.unwrap_or(1)))
        }
    }
}

/// Plans the command on the node, runs it, and asks for an approval in between where the node wants one.
fn execute(
    args: &NodeShellArgs,
    env: Map<String, Value>,
    session: &mut Session,
    environment: &Environment,
) -> Result<Value, Failure> {
    let node = find(session, &args.node)?;
    let timeout = args.client.timeout;
    let asked = json!({ "command": args.argv, "cwd": args.cwd, "agentId": args.agent });
    let prepare = Order {
        node: &node,
        command: "system.run.prepare",
        params: asked,
        limit_ms: 15_000,
        key: fresh_id(),
    };
    let plan = prepare.send(session, timeout)?["payload"]["plan"].take();
    let mut params = json!({
        "command": plan["argv"], "rawCommand": plan["commandText"], "cwd": plan["cwd"], "agentId": args.agent,
        "timeoutMs": args.command_timeout,
    });
    if !env.is_empty() {
        params["env"] = Value::Object(env.clone());
    }
    let order = |params: Value| Order {
        node: &node,
        command: "system.run",
        params,
        // The node ends the command by itself; its answer takes a moment more.
        limit_ms: args.command_timeout + ANSWER_MS,
        key: fresh_id(),
    };
    match order(params.clone()).send(session, timeout) {
        Err(Failure::Answered(error)) if wants_approval(&error) => {}
        done => return done,
    }
    let id = fresh_id();
    let mut request = json!({
        "id": id, "host": "node", "nodeId": node, "systemRunPlan": plan, "command": plan["commandText"],
        "commandArgv": plan["argv"], "agentId": args.agent, "timeoutMs": DECISION_MS, "twoPhase": true,
    });
    if !env.is_empty() {
        request["env"] = Value::Object(env);
    }
    let decision = decide(args, &id, request, session, environment)?;
    if !matches!(decision.as_str(), "allow-once" | "allow-always") {
        return Err(Failure::Failed(format!("not run: the answer was {}", render::clean(&decision))));
    }
    params["approved"] = true.into();
    params["approvalDecision"] = decision.into();
    params["runId"] = id.into();
    order(params).send(session, timeout)
}

/// Has somebody decide: the one who types, or whoever is there.
fn decide(
    args: &NodeShellArgs,
    id: &str,
    request: Value,
    session: &mut Session,
    environment: &Environment,
) -> Result<String, Failure> {
    // Who decides is another connection than the one that asks, and is there before it asks.
    let mut decider = match args.approve {
        true => Some(Session::open_as(Guise::Decider, &args.client, environment)?),
        false => None,
    };
    session.renew(args.client.timeout);
    let mut answer = session.call("exec.approval.request", request)?;
    if answer["status"] == "accepted" {
        if let Some(decider) = &mut decider {
            decider.call("exec.approval.resolve", json!({ "id": id, "decision": "allow-once" }))?;
        } else {
            let _ = writeln!(
                io::stderr(),
                "waits for a decision, in a page or an app that shows such requests, or by: clawgate approvals allow {id}"
            );
        }
        session.renew(DECISION_MS + args.client.timeout);
        answer = session.call("exec.approval.waitDecision", json!({ "id": id }))?;
    }
    if let Some(decider) = decider {
        decider.close();
    }
    answer["decision"].as_str().map(str::to_owned).ok_or_else(|| {
        Failure::Failed(
            "not run: the node wants an approval, and nobody gave one (no page or app that shows such requests is \
             connected, or nobody decided in time). Approve it yourself with --approve, or allow the program from now on: \
             clawgate approvals allowlist add --node NODE PATH"
                .to_owned(),
        )
    })
}

fn wants_approval(error: &ResponseError) -> bool {
    error.message.contains("SYSTEM_RUN_DENIED: approval required")
}

/// One `node.invoke`.
pub(super) struct Order<'a> {
    /// The node's id.
    pub(super) node: &'a str,
    /// What it is to do.
    pub(super) command: &'a str,
    /// With what; null is nothing.
    pub(super) params: Value,
    /// How long it may take, in milliseconds.
    pub(super) limit_ms: u64,
    /// By which it tells repetitions.
    pub(super) key: String,
}

impl Order<'_> {
    /// Sends it, and waits for what the node answers.
    pub(super) fn send(self, session: &mut Session, timeout_ms: u64) -> Result<Value, Failure> {
        session.renew(self.limit_ms.saturating_add(timeout_ms));
        let mut params = json!({
            "nodeId": self.node, "command": self.command, "timeoutMs": self.limit_ms, "idempotencyKey": self.key,
        });
        if !self.params.is_null() {
            params["params"] = self.params;
        }
        session.call("node.invoke", params)
    }
}

/// The id of the node that a person means.
///
/// # Errors
/// The gateway cannot be asked, or knows none or several of that name.
pub fn find(session: &mut Session, named: &str) -> Result<String, Failure> {
    let list = session.call("node.list", json!({}))?;
    pick(&list, named, true).map_err(Failure::Failed)
}

/// The same, for what outlasts a connection: that one of several is connected does not make it the one that is meant.
///
/// # Errors
/// The gateway cannot be asked, or knows none or several of that name.
pub fn find_only(session: &mut Session, named: &str) -> Result<String, Failure> {
    let list = session.call("node.list", json!({}))?;
    pick(&list, named, false).map_err(Failure::Failed)
}

/// Its id, its address, its name, or the beginning of its id; among several the one that is connected, if that counts.
fn pick(list: &Value, named: &str, connected_counts: bool) -> Result<String, String> {
    let nodes: Vec<&Value> = list["nodes"].as_array().into_iter().flatten().collect();
    let id = |node: &Value| node["nodeId"].as_str().unwrap_or_default().to_owned();
    let named = named.trim();
    let wanted = normalised(named);
    let ways: [&dyn Fn(&Value) -> bool; 4] = [
        &|node| node["nodeId"] == named,
        &|node| node["remoteIp"] == named,
        &|node| !wanted.is_empty() && normalised(node["displayName"].as_str().unwrap_or_default()) == wanted,
        &|node| named.len() >= PREFIX_MIN && id(node).starts_with(named),
    ];
    for way in ways {
        let found: Vec<&&Value> = nodes.iter().filter(|node| way(node)).collect();
        let here: Vec<&&Value> = found.iter().copied().filter(|node| node["connected"] == true).collect();
        match (found.as_slice(), here.as_slice()) {
            ([], _) => {}
            ([node], _) => return Ok(id(node)),
            (_, [node]) if connected_counts => return Ok(id(node)),
            (many, _) => {
                let ids: Vec<String> = many.iter().map(|node| render::clean(&id(node))).collect();
                return Err(format!("{} means several nodes: {}", render::clean(named), ids.join(", ")));
            }
        }
    }
    let known: Vec<String> = nodes.iter().map(|node| devices::name_of(node)).collect();
    let known =
        if known.is_empty() { "there is none".to_owned() } else { format!("known: {}", known.join(", ")) };
    Err(format!("unknown node: {} ({known}); `clawgate nodes list` shows them", render::clean(named)))
}

/// As the reference compares names.
fn normalised(name: &str) -> String {
    let lower = name.to_lowercase();
    lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// An id that nobody had.
pub(super) fn fresh_id() -> String {
    Random::new(Seed::new(entropy::bytes())).uuid()
}

/// Shorter beginnings of ids are no ids.
const PREFIX_MIN: usize = 6;
/// How long a decision is waited for.
const DECISION_MS: u64 = 120_000;
/// What an answer takes beyond the command.
const ANSWER_MS: u64 = 10_000;
/// The code of `timeout` in shells.
const TIMED_OUT: u8 = 124;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_found_by_what_people_call_it() {
        let list = json!({"nodes": [
            {"nodeId": "abcdef01", "displayName": "Attic Pi", "remoteIp": "10.0.0.5", "connected": true},
            {"nodeId": "abcdef02", "displayName": "Cellar", "connected": false},
            {"nodeId": "ffffff03", "displayName": "cellar!", "connected": true},
            {"nodeId": "00000004", "displayName": "twin", "connected": true},
            {"nodeId": "00000005", "displayName": "Twin", "connected": true},
        ]});
        for (named, want) in [
            ("abcdef02", Ok("abcdef02")),
            ("10.0.0.5", Ok("abcdef01")),
            ("attic pi", Ok("abcdef01")),
            ("ATTIC-PI", Ok("abcdef01")),
            ("ffffff", Ok("ffffff03")),
            // The one that is here.
            ("cellar", Ok("ffffff03")),
            ("abcdef", Ok("abcdef01")),
            ("fffff", Err("unknown node")),
            ("twin", Err("several nodes")),
            ("", Err("unknown node")),
        ] {
            let got = pick(&list, named, true);
            match want {
                Ok(id) => assert_eq!(got.as_deref(), Ok(id), "{named}"),
                Err(why) => assert!(got.is_err_and(|got| got.contains(why)), "{named}"),
            }
        }
        for (named, want) in
            [("ffffff", Some("ffffff03")), ("Attic Pi", Some("abcdef01")), ("cellar", None), ("abcdef", None)]
        {
            assert_eq!(pick(&list, named, false).ok().as_deref(), want, "{named}");
        }
        assert!(pick(&json!({}), "x", true).is_err_and(|why| why.contains("there is none")));
    }
}
