//! The params of `system.run`, which runs a program on a node (spec: nodes section 6). What a caller says is reduced to
//! a list, and that somebody allowed it is never on that list: only the gateway says so, about what was shown to whoever
//! decided.

use crate::approvals::claim::{Binding, Run};
use crate::approvals::{ClaimFault, Decision};
use crate::frame::value_size;
use crate::methods::approval_params::{command_text, hash_of};
use bytes::Bytes;
use core::fmt;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What a caller wants a node to run.
#[derive(Clone)]
pub struct SystemRun {
    /// What of it the node is told.
    told: Map<String, Value>,
    /// Whether it claims to have been allowed.
    pub claims: bool,
    /// The request that was decided.
    pub run_id: Option<String>,
    /// Whether it says that it may run once because nobody decided.
    pub falls_back: bool,
    argv: Vec<String>,
    env: BTreeMap<String, String>,
}

/// Why it does not run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunFault {
    /// `details.code`.
    pub(crate) code: &'static str,
    /// For a person.
    pub(crate) message: &'static str,
    /// The other members of `details`.
    pub(crate) details: Value,
}

/// A command line may hold a password.
impl fmt::Debug for SystemRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemRun")
            .field("claims", &self.claims)
            .field("run_id", &self.run_id)
            .finish_non_exhaustive()
    }
}

impl SystemRun {
    /// From the params as they were sent.
    pub(crate) fn read(mut given: Map<String, Value>) -> Self {
        let is_approved = given.get("approved") == Some(&Value::Bool(true));
        let decision = given.get("approvalDecision").and_then(Value::as_str).and_then(Decision::parse);
        let is_allowed = matches!(decision, Some(Decision::AllowOnce | Decision::AllowAlways));
        let argv = given.get("command").and_then(Value::as_array).into_iter().flatten().map(word).collect();
        let env = given.get("env").and_then(Value::as_object).into_iter().flatten();
        let env = env.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
        let run_id = text(&given, "runId").map(str::to_owned);
        let told = TOLD.iter().filter_map(|name| Some(((*name).to_owned(), given.remove(*name)?)));
        Self {
            claims: is_approved || is_allowed,
            run_id,
            falls_back: is_approved && decision == Some(Decision::AllowOnce),
            argv,
            env,
            told: told.collect(),
        }
    }

    /// About as many bytes as it has as a JSON string, at most: each may become two.
    pub(crate) fn size(&self) -> usize {
        2 * self.told.values().map(value_size).sum::<usize>()
    }

    /// Params of one that claims nothing, as a JSON string.
    ///
    /// # Errors
    /// What people would be shown is not what would run.
    pub(crate) fn unclaimed(self) -> Result<Bytes, RunFault> {
        self.is_consistent()?;
        Ok(encode(self.told))
    }

    /// What the caller says that it runs; where it says nothing, it is what was decided about.
    pub(crate) fn run(&self, decided: &Run) -> Run {
        let or = |name: &str, decided: &Option<String>| {
            text(&self.told, name).map(str::to_owned).or_else(|| decided.clone())
        };
        Run {
            argv: if self.argv.is_empty() { decided.argv.clone() } else { self.argv.clone() },
            cwd: or("cwd", &decided.cwd),
            agent_id: or("agentId", &decided.agent_id),
            session_key: or("sessionKey", &decided.session_key),
            env_hash: (!self.env.is_empty()).then(|| hash_of(&self.env)),
        }
    }

    /// Params of one that was allowed, as a JSON string: what was decided about, in the place of what the caller says.
    pub(crate) fn allowed(self, plan: &Value, binding: &Binding, decision: Decision) -> Bytes {
        let Self { mut told, run_id, env, .. } = self;
        let run = &binding.run;
        let mut put = |name: &str, value: Option<Value>| match value {
            Some(value) => drop(told.insert(name.to_owned(), value)),
            None => drop(told.remove(name)),
        };
        put("command", Some(json!(run.argv)));
        put("rawCommand", plan.get("commandText").cloned());
        put("systemRunPlan", (!plan.is_null()).then(|| plan.clone()));
        put("cwd", run.cwd.clone().map(Value::from));
        put("agentId", run.agent_id.clone().map(Value::from));
        put("sessionKey", run.session_key.clone().map(Value::from));
        // Values that are no texts were not part of what was decided.
        put("env", (!env.is_empty()).then(|| json!(env)));
        put("runId", run_id.map(Value::from));
        put("approved", Some(Value::Bool(true)));
        put("approvalDecision", Some(decision.as_str().into()));
        encode(told)
    }

    fn is_consistent(&self) -> Result<(), RunFault> {
        let Some(raw) = text(&self.told, "rawCommand") else { return Ok(()) };
        if self.argv.is_empty() {
            let message = "rawCommand requires params.command";
            return Err(RunFault { code: "MISSING_COMMAND", message, details: json!({}) });
        }
        let formatted = command_text(&self.argv);
        let inner = inner_command(&self.argv);
        if raw == formatted || inner.is_some_and(|inner| inner.trim() == raw) {
            return Ok(());
        }
        let inferred = inner.unwrap_or(&formatted);
        let details = json!({"rawCommand": raw, "inferred": inferred, "formattedArgv": formatted});
        let message = "rawCommand does not match command";
        Err(RunFault { code: "RAW_COMMAND_MISMATCH", message, details })
    }
}

impl RunFault {
    /// It claims to have been allowed and does not say under which id.
    pub(crate) const MISSING_RUN_ID: Self = Self {
        code: "MISSING_RUN_ID",
        message: "approval override requires params.runId",
        details: Value::Null,
    };

    /// It was not allowed under that id.
    pub(crate) fn of_claim(fault: ClaimFault, run_id: &str) -> Self {
        Self { code: fault.code(), message: fault.message(), details: json!({"runId": run_id}) }
    }
}

/// The command that a shell is told to run, when it is told nothing else.
fn inner_command(argv: &[String]) -> Option<&str> {
    let [program, flag, command] = argv else { return None };
    let name = program.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    let flag = flag.to_ascii_lowercase();
    let is_shell = match name {
        "sh" | "bash" | "zsh" | "dash" | "ksh" | "ash" | "fish" => matches!(flag.as_str(), "-c" | "-lc"),
        "cmd" => flag == "/c",
        "powershell" | "pwsh" => matches!(flag.as_str(), "-c" | "-command"),
        _ => false,
    };
    is_shell.then_some(command)
}

/// The same, where the shell is one of the system's: what else is called `sh` may do something else with the text.
pub(crate) fn trusted_inner(argv: &[String]) -> Option<&str> {
    let is_bare = |program: &str| !program.contains(['/', '\\']);
    let is_system = |(folder, name): (&str, &str)| SHELL_FOLDERS.contains(&folder) && is_bare(name);
    let program = argv.first()?;
    inner_command(argv).filter(|_| is_bare(program) || program.rsplit_once('/').is_some_and(is_system))
}

/// Where systems have their shells.
const SHELL_FOLDERS: &[&str] = &["/bin", "/usr/bin", "/usr/local/bin"];

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A text that says something.
fn text<'a>(given: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    Some(given.get(name)?.as_str()?.trim()).filter(|text| !text.is_empty())
}

fn encode(told: Map<String, Value>) -> Bytes {
    let text = Value::Object(told).to_string();
    Bytes::from(serde_json::to_vec(&text).expect("a text is JSON"))
}

/// What of a caller's params a node is told.
const TOLD: &[&str] = &[
    "command",
    "rawCommand",
    "systemRunPlan",
    "cwd",
    "env",
    "timeoutMs",
    "needsScreenRecording",
    "agentId",
    "sessionKey",
    "runId",
    "suppressNotifyOnExit",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;

    fn read(value: Value) -> SystemRun {
        let Value::Object(given) = value else { panic!() };
        SystemRun::read(given)
    }

    fn decoded(literal: &Bytes) -> Value {
        let text: String = serde_json::from_slice(literal).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_not_on_the_list_is_not_told() {
        let run = read(json!({
            "command": ["ls"], "approved": false, "approvalDecision": "deny", "security": "full", "Approved": true,
            "timeoutMs": 5, "env": {"A": "b"},
        }));
        assert!(!run.claims);
        let told = decoded(&run.unclaimed().unwrap());
        assert_eq!(told, json!({"command": ["ls"], "timeoutMs": 5, "env": {"A": "b"}}));
    }

    #[test]
    fn every_way_to_claim_is_noticed() {
        for (given, falls_back) in [
            (json!({"approved": true}), false),
            (json!({"approvalDecision": "allow-once"}), false),
            (json!({"approvalDecision": "allow-always"}), false),
            (json!({"approved": true, "approvalDecision": "allow-once"}), true),
        ] {
            let run = read(given);
            assert_eq!((run.claims, run.falls_back), (true, falls_back));
        }
        for given in
            [json!({"approved": "true"}), json!({"approved": 1}), json!({"approvalDecision": ["allow-once"]})]
        {
            let run = read(given);
            assert!(!run.claims);
            assert_eq!(decoded(&run.unclaimed().unwrap()), json!({}));
        }
    }

    #[test]
    fn what_is_shown_is_what_runs() {
        let fault = |argv: Value, raw: &str| {
            read(json!({"command": argv, "rawCommand": raw})).unclaimed().err().map(|fault| fault.code)
        };
        let mismatch = Some("RAW_COMMAND_MISMATCH");
        for (argv, raw, wanted) in [
            (json!(["echo", "a b", ""]), r#"echo "a b" """#, None),
            (json!(["echo", "a\"b"]), r#"echo "a\"b""#, None),
            (json!(["echo", "a"]), "rm -rf /", mismatch),
            (json!(["/bin/sh", "-c", "ls | wc"]), "ls | wc", None),
            (json!(["/bin/sh", "-c", "ls | wc"]), r#"/bin/sh -c "ls | wc""#, None),
            (json!(["/bin/sh", "-c", "ls", "x"]), "ls", mismatch),
            (json!(["/bin/env", "-c", "ls"]), "ls", mismatch),
            (json!(["C:\\Windows\\cmd.exe", "/C", "dir"]), "dir", None),
            (json!([]), "ls", Some("MISSING_COMMAND")),
            (json!("ls"), "ls", Some("MISSING_COMMAND")),
            (json!("ls"), "", None),
        ] {
            assert_eq!(fault(argv.clone(), raw), wanted, "{argv} {raw}");
        }
        let run = read(json!({"command": ["sh", "-c", "ls"], "rawCommand": "rm"}));
        let details = json!({"rawCommand": "rm", "inferred": "ls", "formattedArgv": "sh -c ls"});
        assert_eq!(run.unclaimed().unwrap_err().details, details);
    }

    #[test]
    fn only_a_shell_of_the_system_is_read_through() {
        let inner = |program: &str| {
            trusted_inner(&[program.to_owned(), "-c".to_owned(), "ls | wc".to_owned()]).map(str::to_owned)
        };
        for program in ["sh", "bash", "/bin/sh", "/usr/bin/bash", "/usr/local/bin/zsh"] {
            assert_eq!(inner(program).as_deref(), Some("ls | wc"), "{program}");
        }
        for program in [
            "/tmp/sh",
            "./sh",
            "/bin/../tmp/sh",
            "/usr/bin/x/sh",
            "//bin/sh",
            "/bin/x\\sh",
            "\\tmp\\sh",
            "/sh",
            "env",
            "bin/sh",
        ] {
            assert_eq!(inner(program), None, "{program}");
        }
        assert_eq!(
            trusted_inner(&["/bin/sh".to_owned(), "-c".to_owned(), "ls".to_owned(), "x".to_owned()]),
            None
        );
        assert_eq!(trusted_inner(&[]), None);
    }

    #[test]
    fn what_was_decided_stands_in_the_place_of_what_is_said() {
        let plan = json!({"argv": ["/bin/ls"], "commandText": "/bin/ls", "cwd": null});
        let run =
            Run { argv: vec!["/bin/ls".to_owned()], agent_id: Some("main".to_owned()), ..Run::default() };
        let binding = Binding { node_id: Some("n".to_owned()), run: run.clone() };
        let said = read(json!({
            "approved": true, "approvalDecision": "allow-always", "runId": " r ", "command": [], "cwd": " ",
            "systemRunPlan": {"argv": ["rm"]}, "env": {"A": 1}, "timeoutMs": 5, "rawCommand": "rm",
        }));
        assert_eq!(said.run(&run), run);
        let told = decoded(&said.allowed(&plan, &binding, Decision::AllowOnce));
        let wanted = json!({
            "command": ["/bin/ls"], "rawCommand": "/bin/ls", "systemRunPlan": plan, "agentId": "main", "runId": "r",
            "timeoutMs": 5, "approved": true, "approvalDecision": "allow-once",
        });
        assert_eq!(told, wanted);
        let other = read(json!({"command": ["rm"], "cwd": "/", "env": {"A": "b"}}));
        let other = other.run(&run);
        assert_eq!(
            (other.argv, other.cwd.as_deref(), other.env_hash.is_some()),
            (vec!["rm".to_owned()], Some("/"), true)
        );
    }

    proptest! {
        /// No params whatever make a node hear that they were allowed, unless the gateway was told to look for it.
        #[test]
        fn nothing_that_is_said_allows_itself(
            members in prop::collection::btree_map(
                prop::sample::select(vec!["approved", "approvalDecision", "command", "rawCommand", "env", "runId", "x"]),
                prop::sample::select(vec!["true", "\"true\"", "1", "\"allow-once\"", "\"deny\"", "[\"a\"]", "null", "{}"]),
                0..7,
            ),
        ) {
            let given = members.into_iter().map(|(name, value)| (name.to_owned(), serde_json::from_str(value).unwrap()));
            let run = SystemRun::read(given.collect());
            if !run.claims && let Ok(told) = run.unclaimed() {
                let told = decoded(&told);
                prop_assert!(told.get("approved").is_none() && told.get("approvalDecision").is_none());
            }
        }
    }
}
