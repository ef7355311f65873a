//! `approvals`: what waits for a person's decision, the decision, and what agents may run without one.

use super::args::ClientArgs;
use super::session::Session;
use super::{Failure, invoke, print, print_json, render};
use crate::environment::Environment;
use crate::log;
use crate::node::argv;
use clap::{ArgGroup, Args, Subcommand};
use clawgate_config::Node;
use serde_json::{Map, Value, json};
use std::io::{self, Read};
use std::path::PathBuf;

/// What to do about approvals.
#[derive(Clone, Debug, Subcommand)]
pub enum ApprovalsCommand {
    /// Show what waits for a decision
    List {
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Allow what waits
    #[command(after_help = "Example:\n  clawgate approvals list\n  clawgate approvals allow ecd896d7")]
    Allow {
        /// Id of the request, or as much of it as tells it from the others
        #[arg(value_name = "REQUEST")]
        request: String,
        /// Allow it from now on, not only this time
        #[arg(long)]
        always: bool,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Deny what waits
    Deny {
        /// Id of the request, or as much of it as tells it from the others
        #[arg(value_name = "REQUEST")]
        request: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show what each agent may run without asking
    Get {
        /// On this node, instead of on the gateway's machine
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Replace what each agent may run without asking by a file
    #[command(
        after_help = "Examples:\n  clawgate approvals set --file exec-approvals.json\n  clawgate approvals get --node attic --json | jq .file | clawgate approvals set --node attic --stdin"
    )]
    Set(SetArgs),
    /// Change what agents may run without asking
    Allowlist {
        /// What to change.
        #[command(subcommand)]
        command: AllowlistCommand,
    },
}

/// `clawgate approvals allowlist`.
#[derive(Clone, Debug, Subcommand)]
pub enum AllowlistCommand {
    /// Allow a program from now on
    #[command(after_help = "Example:\n  clawgate approvals allowlist add --node attic /usr/bin/uptime")]
    Add(AllowlistArgs),
    /// Allow it no more
    Remove(AllowlistArgs),
}

/// What to put there, and where.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("from").required(true).args(["file", "stdin"])))]
pub struct SetArgs {
    /// The file: JSON, or JSON5
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Read it from standard input
    #[arg(long)]
    pub stdin: bool,
    /// On this node, instead of on the gateway's machine
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Which program, for whom, and where.
#[derive(Clone, Debug, Args)]
pub struct AllowlistArgs {
    /// Path of the program; * and ? stand for a part of it, ** for folders too
    #[arg(value_name = "PATTERN")]
    pub pattern: String,
    /// Who may run it
    #[arg(long, value_name = "AGENT", default_value = "*")]
    pub agent: String,
    /// On this node, instead of on the gateway's machine
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl ApprovalsCommand {
    /// How to reach the gateway.
    pub fn client(&self) -> &ClientArgs {
        match self {
            Self::List { client }
            | Self::Allow { client, .. }
            | Self::Deny { client, .. }
            | Self::Get { client, .. } => client,
            Self::Set(args) => &args.client,
            Self::Allowlist { command: AllowlistCommand::Add(args) | AllowlistCommand::Remove(args) } => {
                &args.client
            }
        }
    }
}

/// Runs one of the commands.
///
/// # Errors
/// The gateway cannot be asked, or refuses.
pub fn run(command: &ApprovalsCommand, environment: &Environment) -> Result<(), Failure> {
    let client = command.client();
    // Before a gateway is kept waiting: whoever types the file may take long.
    let wanted = match command {
        ApprovalsCommand::Set(args) => given(args)?,
        ApprovalsCommand::List { .. }
        | ApprovalsCommand::Allow { .. }
        | ApprovalsCommand::Deny { .. }
        | ApprovalsCommand::Get { .. }
        | ApprovalsCommand::Allowlist { .. } => Value::Null,
    };
    let mut session = Session::open(client, environment)?;
    let mut names = Map::new();
    let answer = match command {
        ApprovalsCommand::List { .. } => list(&mut session).inspect(|list| {
            if !client.json {
                names = node_names(&mut session, list);
            }
        }),
        ApprovalsCommand::Set(args) => Place::find(&mut session, args.node.as_deref()).and_then(|place| {
            let now = place.get(&mut session)?;
            place.set(&mut session, wanted, &now)
        }),
        ApprovalsCommand::Allow { request, always, .. } => {
            resolve(&mut session, request, if *always { "allow-always" } else { "allow-once" })
        }
        ApprovalsCommand::Deny { request, .. } => resolve(&mut session, request, "deny"),
        ApprovalsCommand::Get { node, .. } => {
            Place::find(&mut session, node.as_deref()).and_then(|place| place.get(&mut session))
        }
        ApprovalsCommand::Allowlist { command } => match command {
            AllowlistCommand::Add(args) => change(&mut session, args, true),
            AllowlistCommand::Remove(args) => change(&mut session, args, false),
        },
    };
    session.close();
    let answer = answer?;
    if client.json {
        return print_json(&answer);
    }
    print(&match command {
        ApprovalsCommand::List { .. } => waiting(&answer, &names),
        ApprovalsCommand::Allow { request, always, .. } => {
            let how = if *always { "from now on" } else { "once" };
            format!("allowed {} {how}\n", render::clean(request))
        }
        ApprovalsCommand::Deny { request, .. } => format!("denied {}\n", render::clean(request)),
        ApprovalsCommand::Get { .. } | ApprovalsCommand::Set(_) | ApprovalsCommand::Allowlist { .. } => {
            file(&answer)
        }
    })
}

/// Whose file of exec approvals.
struct Place {
    node: Option<String>,
}

impl Place {
    fn find(session: &mut Session, node: Option<&str>) -> Result<Self, Failure> {
        Ok(Self { node: node.map(|node| invoke::find(session, node)).transpose()? })
    }

    fn get(&self, session: &mut Session) -> Result<Value, Failure> {
        match &self.node {
            Some(node) => session.call("exec.approvals.node.get", json!({ "nodeId": node })),
            None => session.call("exec.approvals.get", json!({})),
        }
    }

    fn set(&self, session: &mut Session, file: Value, base: &Value) -> Result<Value, Failure> {
        let mut params = json!({ "file": file });
        // Where there is no file yet, there is nothing that it was made from.
        if base["exists"] == true {
            params["baseHash"] = base["hash"].clone();
        }
        match &self.node {
            Some(node) => {
                params["nodeId"] = node.clone().into();
                session.call("exec.approvals.node.set", params)
            }
            None => session.call("exec.approvals.set", params),
        }
    }
}

/// The file that is to be set.
fn given(args: &SetArgs) -> Result<Value, Failure> {
    let (from, text) = match &args.file {
        Some(path) => (path.display().to_string(), std::fs::File::open(path).and_then(read)),
        None => ("standard input".to_owned(), read(io::stdin().lock())),
    };
    let from = render::clean(&from);
    let text = text.map_err(|why| Failure::Failed(format!("{from} cannot be read: {why}")))?;
    let file = Node::parse(&text)
        .map_err(|why| why.to_string())
        .and_then(|file| serde_json::from_str(&file.to_json()).map_err(|why| why.to_string()))
        .map_err(|why| Failure::Usage(format!("{from} is not JSON5: {why}")))?;
    match file {
        Value::Object(_) => Ok(file),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(
            Failure::Usage(format!("{from} holds no object, such as {{\"version\": 1, \"agents\": {{}}}}")),
        ),
    }
}

/// What a gateway takes as one file, at most.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// As much as a gateway takes, and no endless input.
fn read(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    if from.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)? as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has more than {FILE_BYTES_MAX} bytes, which is more than a gateway takes"
        )));
    }
    Ok(text)
}

/// Adds a pattern to an agent's list, or takes it out. Nothing is written when that changes nothing.
fn change(session: &mut Session, args: &AllowlistArgs, is_added: bool) -> Result<Value, Failure> {
    if !args.pattern.starts_with('/') && !args.pattern.starts_with("~/") {
        return Err(Failure::Usage(
            "PATTERN is the path of a program, such as /usr/bin/uptime or ~/bin/*".to_owned(),
        ));
    }
    if is_added && !argv::is_listable(&args.pattern, &args.pattern) {
        return Err(Failure::Usage(format!(
            "{} starts other programs, and runs from no list: approve what it is to do, or put that into a program of its own",
            args.pattern
        )));
    }
    let place = Place::find(session, args.node.as_deref())?;
    let now = place.get(session)?;
    match with_pattern(&now["file"], &args.agent, &args.pattern, is_added) {
        None if is_added => Ok(now),
        None => Err(Failure::Failed(format!(
            "{} is not on the list of {}; nothing was changed",
            args.pattern, args.agent
        ))),
        Some(file) => place.set(session, file, &now),
    }
}

/// The file with the pattern or without it; `None` when it is that already.
fn with_pattern(file: &Value, agent: &str, pattern: &str, is_added: bool) -> Option<Value> {
    let is_it = |entry: &Value| entry["pattern"] == pattern;
    let listed = file["agents"][agent]["allowlist"].as_array().cloned().unwrap_or_default();
    if listed.iter().any(is_it) == is_added {
        return None;
    }
    let mut list: Vec<Value> = listed.into_iter().filter(|entry| !is_it(entry)).collect();
    if is_added {
        list.push(json!({ "pattern": pattern }));
    }
    let mut file = file.clone();
    file["version"] = 1.into();
    file["agents"][agent]["allowlist"] = list.into();
    Some(file)
}

fn list(session: &mut Session) -> Result<Value, Failure> {
    let exec = session.call("exec.approval.list", json!({}))?;
    let plugin = session.call("plugin.approval.list", json!({}))?;
    Ok(json!({ "exec": exec, "plugin": plugin }))
}

/// Ids say which kind they are of: those of plugins are made by the gateway, and begin so.
fn resolve(session: &mut Session, request: &str, decision: &str) -> Result<Value, Failure> {
    let is_plugin = request.starts_with("plugin:");
    let method = if is_plugin { "plugin.approval.resolve" } else { "exec.approval.resolve" };
    session.call(method, json!({ "id": request, "decision": decision }))
}

/// Nodes by their ids, as far as requests are about any, and this client may know them.
fn node_names(session: &mut Session, list: &Value) -> Map<String, Value> {
    let mut entries = list["exec"].as_array().into_iter().flatten();
    if !entries.any(|entry| entry["request"]["nodeId"].is_string()) {
        return Map::new();
    }
    let nodes = session.call("node.list", json!({})).unwrap_or_default();
    let nodes = nodes["nodes"].as_array().into_iter().flatten();
    nodes
        .filter_map(|node| Some((node["nodeId"].as_str()?.to_owned(), node["displayName"].clone())))
        .filter(|(_, name)| name.is_string())
        .collect()
}

/// A name is the node's own choice: enough of the id stands behind it to tell it from others.
fn place_of(request: &Value, names: &Map<String, Value>) -> String {
    let Some(id) = request["nodeId"].as_str() else { return render::text(&request["host"]) };
    match names.get(id) {
        Some(name) => {
            let short: String = id.chars().take(ID_SHOWN).collect();
            format!("{} ({})", render::text(name), render::clean(&short))
        }
        None => render::clean(id),
    }
}

/// Of the id of a node whose name is shown.
const ID_SHOWN: usize = 12;

fn waiting(list: &Value, names: &Map<String, Value>) -> String {
    let now = log::wall_ms();
    let entries = ["exec", "plugin"].into_iter().flat_map(|kind| list[kind].as_array().into_iter().flatten());
    let cells: Vec<Vec<String>> = entries
        .map(|entry| {
            let request = &entry["request"];
            let what = if request["command"].is_string() { &request["command"] } else { &request["title"] };
            vec![
                render::text(&entry["id"]),
                render::text(what),
                render::text(&request["cwd"]),
                render::joined(&request["envKeys"]),
                render::text(&request["agentId"]),
                place_of(request, names),
                render::ago(now, &entry["createdAtMs"]),
            ]
        })
        .collect();
    if cells.is_empty() {
        return "nothing waits for a decision\n".to_owned();
    }
    let mut text = "waiting for a decision (clawgate approvals allow|deny REQUEST)\n".to_owned();
    text.push_str(&render::table(
        &["REQUEST", "WHAT", "FOLDER", "VARIABLES", "AGENT", "WHERE", "ASKED"],
        cells.into_iter(),
    ));
    text
}

fn file(answer: &Value) -> String {
    let mut text = render::text(&answer["path"]);
    text.push_str(if answer["exists"] == true { "\n" } else { " (there is no such file)\n" });
    let file = &answer["file"];
    let defaults = policy(&file["defaults"]);
    if !defaults.is_empty() {
        text.push_str(&format!("for every agent: {defaults}\n"));
    }
    let rows = file["agents"].as_object().into_iter().flatten();
    let cells: Vec<Vec<String>> = rows
        .map(|(name, agent)| {
            let patterns = agent["allowlist"].as_array().into_iter().flatten();
            let patterns: Vec<String> = patterns.map(|item| render::text(&item["pattern"])).collect();
            vec![render::clean(name), policy(agent), patterns.join(", ")]
        })
        .collect();
    if cells.is_empty() {
        text.push_str("nothing is allowed without asking\n");
    } else {
        text.push_str(&render::table(&["AGENT", "POLICY", "MAY RUN"], cells.into_iter()));
    }
    text
}

fn policy(of: &Value) -> String {
    let words = ["security", "ask", "askFallback"].into_iter().filter(|name| of[*name].is_string());
    words.map(|name| format!("{name} {}", render::text(&of[name]))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_a_table_without_control_characters() {
        let list = json!({
            "exec": [
                {"id": "e1", "request": {"command": "ls\u{1b}[2J", "nodeId": "n", "agentId": "main"}, "createdAtMs": 1},
                {"id": "e2", "request": {"command": "pwd", "nodeId": "0123456789abcdef", "cwd": "/srv/x", "envKeys": ["LANG", "TZ\u{1b}"]},
                    "createdAtMs": 1},
            ],
            "plugin": [{"id": "plugin:p1", "request": {"title": "Send", "agentId": null}, "createdAtMs": 1}],
        });
        let names = json!({"0123456789abcdef": "Attic\u{1b}"});
        let text = waiting(&list, names.as_object().unwrap_or(&Map::new()));
        assert!(!text.contains('\u{1b}'), "{text:?}");
        for want in ["e1", "plugin:p1", "Send", "main", "/srv/x", "LANG, TZ", "Attic\u{fffd} (0123456789ab)"]
        {
            assert!(text.contains(want), "{want} in\n{text}");
        }
        assert_eq!(
            waiting(&json!({"exec": [], "plugin": []}), &Map::new()),
            "nothing waits for a decision\n"
        );
    }

    #[test]
    fn a_pattern_is_added_once_and_taken_out_again() {
        let file = json!({"version": 1, "agents": {"main": {"ask": "off", "allowlist": [{"pattern": "/a", "id": "i"}]}}});
        let added = with_pattern(&file, "*", "/b", true).unwrap_or_default();
        assert_eq!(added["agents"]["*"]["allowlist"], json!([{"pattern": "/b"}]));
        assert_eq!(added["agents"]["main"], file["agents"]["main"]);
        assert_eq!(with_pattern(&added, "*", "/b", true), None);
        let removed = with_pattern(&file, "main", "/a", false).unwrap_or_default();
        assert_eq!(removed["agents"]["main"], json!({"ask": "off", "allowlist": []}));
        assert_eq!(with_pattern(&removed, "main", "/a", false), None);
        assert_eq!(with_pattern(&json!({}), "*", "/a", false), None);
    }

    #[test]
    fn a_file_that_is_set_is_an_object_of_bounded_size() {
        let folder = std::env::temp_dir().join(format!("clawgate-approvals-{}", std::process::id()));
        let set = |text: &str| {
            std::fs::write(&folder, text).map_err(|why| Failure::Failed(why.to_string()))?;
            let client = ClientArgs::default();
            given(&SetArgs { file: Some(folder.clone()), stdin: false, node: None, client })
        };
        assert_eq!(set("{version: 1, /* why */ agents: {}}").ok(), Some(json!({"version": 1, "agents": {}})));
        for (text, why) in
            [("[]", "no object"), ("{", "not JSON5"), (&" ".repeat(70_000), "more than 65536 bytes")]
        {
            assert!(set(text).is_err_and(|failure| failure.message().contains(why)), "{why}");
        }
        let _ = std::fs::remove_file(&folder);
        assert!(read(io::repeat(b' ')).is_err());
    }

    #[test]
    fn the_file_is_told_by_agent() {
        let text = file(
            &json!({"path": "/x.json", "exists": true, "file": {"defaults": {"security": "deny"},
            "agents": {"main": {"ask": "off", "allowlist": [{"pattern": "/bin/ls"}, {"pattern": "/bin/cat"}]}}}}),
        );
        for want in ["/x.json", "for every agent: security deny", "main", "ask off", "/bin/ls, /bin/cat"] {
            assert!(text.contains(want), "{want} in\n{text}");
        }
        let none = file(&json!({"path": "/x.json", "exists": false, "file": {"defaults": {}, "agents": {}}}));
        assert_eq!(none, "/x.json (there is no such file)\nnothing is allowed without asking\n");
    }
}
