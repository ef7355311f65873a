//! What a gateway asks of this node, taken apart, and what it is answered: the shapes of `node.invoke.request`,
//! `node.invoke.result` and the `exec.*` events, the same at protocol 3 and 4 but for `paramsJSON: null` (spec: nodes
//! sections 4, 10 and 11). Pure.

use super::plan::Plan;
use super::policy::Approval;
use super::{ARGS_MAX, BINS_MAX, EVENT_OUTPUT_CHARS_MAX, RUN_MS_DEFAULT, RUN_MS_MAX, argv};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What this node offers, in the order in which it declares it.
pub const COMMANDS: [&str; 9] = [
    "system.run.prepare",
    "system.run",
    "system.which",
    "system.notify",
    "system.execApprovals.get",
    "system.execApprovals.set",
    "device.info",
    "device.status",
    "fs.listDir",
];

/// One invocation as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Invoke {
    /// Its id.
    pub id: String,
    /// Whom the gateway means; it is said back as it came.
    pub node_id: String,
    /// What is asked for.
    pub command: String,
    params: Option<Value>,
}

/// What is asked for.
#[derive(Clone, PartialEq)]
pub enum Command {
    /// Say what would run.
    Prepare(Prepare),
    /// Run it.
    Run(Box<Run>),
    /// Where these programs are.
    Which(Vec<String>),
    /// Tell the person at this machine.
    Notify(Notify),
    /// The file of exec approvals.
    ApprovalsGet,
    /// Change it.
    ApprovalsSet {
        /// The new content.
        file: Value,
        /// What it was made from.
        base_hash: Option<String>,
    },
    /// What this machine is.
    DeviceInfo,
    /// How it is.
    DeviceStatus,
    /// The folders in a folder; the home folder when none is named.
    ListDir(Option<String>),
}

/// Params of `system.run.prepare`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepare {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Where it is to run.
    pub cwd: Option<String>,
    /// Who asks.
    pub agent_id: Option<String>,
    /// In which conversation.
    pub session_key: Option<String>,
}

/// Params of `system.run`. They may hold secrets: there is no `Debug`.
#[derive(Clone, PartialEq)]
pub struct Run {
    /// Program, arguments, place, and who asks.
    pub asked: Prepare,
    /// What was approved.
    pub plan: Option<Plan>,
    /// Variables that the caller sets.
    pub env: BTreeMap<String, String>,
    /// How long it may run, milliseconds.
    pub limit_ms: u64,
    /// It wants to see the screen.
    pub wants_screen: bool,
    /// The caller's name for this run.
    pub run_id: Option<String>,
    /// Nobody is to be told when it ends.
    pub is_quiet: bool,
    /// What a person said, as the gateway vouches for it.
    pub approval: Approval,
}

/// Params of `system.notify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// The head line.
    pub title: String,
    /// The text below.
    pub body: String,
    /// Whether it is urgent.
    pub is_urgent: bool,
}

/// Why an invocation is answered with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A stable code.
    pub code: &'static str,
    /// For people and agents.
    pub message: String,
}

impl Fault {
    /// The caller asks for something that makes no sense.
    pub fn invalid(what: &str) -> Self {
        Self { code: "INVALID_REQUEST", message: format!("Error: INVALID_REQUEST: {what}") }
    }

    /// It is not done, or could not be.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { code: "UNAVAILABLE", message: message.into() }
    }

    /// Too much is being done; a gateway of protocol 4 tries again by itself.
    pub fn busy() -> Self {
        let message = format!("{} commands are running on this node; try again", super::INVOKES_MAX);
        Self { code: "NODE_NOT_READY", message }
    }
}

impl Invoke {
    /// Reads the payload of `node.invoke.request`. `None` when there is nobody to answer: no id, no node, no command.
    pub fn parse(payload: &Value) -> Option<Self> {
        let text = |name: &str| payload[name].as_str().map(str::trim).filter(|text| !text.is_empty());
        let params = match (&payload["paramsJSON"], &payload["params"]) {
            // What is no JSON is answered as such.
            (Value::String(raw), _) => Some(serde_json::from_str(raw).unwrap_or(Value::Null)),
            (_, params @ Value::Object(_)) => Some(params.clone()),
            _ => None,
        };
        Some(Self {
            id: text("id")?.to_owned(),
            node_id: text("nodeId")?.to_owned(),
            command: text("command")?.to_owned(),
            params,
        })
    }

    /// What is asked for.
    ///
    /// # Errors
    /// It is nothing that this node does, or makes no sense.
    pub fn command(&self) -> Result<Command, Fault> {
        let params = || match &self.params {
            Some(Value::Object(members)) => Ok(Params(members)),
            Some(_) => Err(Fault::invalid("paramsJSON must be a JSON object")),
            None => Err(Fault::invalid("paramsJSON required")),
        };
        let none = Map::new();
        let optional = || match &self.params {
            None | Some(Value::Null) => Ok(Params(&none)),
            Some(_) => params(),
        };
        Ok(match self.command.as_str() {
            "system.run.prepare" => Command::Prepare(params()?.asked()?),
            "system.run" => Command::Run(Box::new(params()?.run()?)),
            "system.which" => Command::Which(params()?.bins()?),
            "system.notify" => Command::Notify(params()?.notify()?),
            "system.execApprovals.get" => Command::ApprovalsGet,
            "system.execApprovals.set" => params()?.approvals()?,
            "device.info" => Command::DeviceInfo,
            "device.status" => Command::DeviceStatus,
            "fs.listDir" => Command::ListDir(optional()?.text("path")?),
            _ => return Err(Fault::unavailable("command not supported")),
        })
    }

    /// Params of the `node.invoke.result` that answers it.
    pub fn result(&self, outcome: &Result<Value, Fault>) -> Value {
        let mut params = json!({ "id": self.id, "nodeId": self.node_id, "ok": outcome.is_ok() });
        match outcome {
            Ok(payload) => params["payloadJSON"] = payload.to_string().into(),
            Err(fault) => params["error"] = json!({ "code": fault.code, "message": fault.message }),
        }
        params
    }
}

/// Which invocation a `node.invoke.cancel` takes back.
pub fn cancelled(payload: &Value) -> Option<&str> {
    payload["id"].as_str().or_else(|| payload["invokeId"].as_str()).filter(|id| !id.is_empty())
}

/// How a command ended, for its caller and for the event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; none when a signal ended it, or it never ran.
    pub code: Option<i32>,
    /// It ran out of time, and was killed.
    pub timed_out: bool,
    /// What it wrote.
    pub stdout: String,
    /// What it wrote.
    pub stderr: String,
    /// Why it did not run, or not to its end.
    pub error: Option<String>,
}

impl Ended {
    /// Whether it did what it was to do.
    pub fn is_success(&self) -> bool {
        self.code == Some(0) && !self.timed_out && self.error.is_none()
    }

    /// The payload of the answer.
    pub fn payload(&self) -> Value {
        json!({
            "exitCode": self.code, "timedOut": self.timed_out, "success": self.is_success(),
            "stdout": self.stdout, "stderr": self.stderr, "error": self.error,
        })
    }
}

impl Run {
    /// Params of the `node.event` that tells of its end.
    pub fn finished(&self, run_id: &str, ended: &Ended) -> Value {
        let parts =
            [ended.stdout.trim_end(), ended.stderr.trim_end(), ended.error.as_deref().unwrap_or_default()];
        let output = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
        let mut payload = self.event(run_id);
        payload["exitCode"] = ended.code.into();
        payload["timedOut"] = ended.timed_out.into();
        payload["success"] = ended.is_success().into();
        payload["output"] = tail(&output, EVENT_OUTPUT_CHARS_MAX).into();
        json!({ "event": "exec.finished", "payloadJSON": payload.to_string() })
    }

    /// Params of the `node.event` that tells that it was not run.
    pub fn denied(&self, run_id: &str, reason: &str) -> Value {
        let mut payload = self.event(run_id);
        payload["reason"] = reason.into();
        json!({ "event": "exec.denied", "payloadJSON": payload.to_string() })
    }

    fn event(&self, run_id: &str) -> Value {
        let mut payload = json!({
            "sessionKey": self.asked.session_key.as_deref().unwrap_or("node"),
            "runId": self.run_id.as_deref().unwrap_or(run_id),
            "host": "node",
            "command": argv::text(&self.asked.argv),
        });
        if self.is_quiet {
            payload["suppressNotifyOnExit"] = true.into();
        }
        payload
    }
}

/// The last `max` characters.
fn tail(text: &str, max: usize) -> &str {
    let more = text.chars().count().saturating_sub(max);
    text.char_indices().nth(more).map_or("", |(at, _)| &text[at..])
}

/// Members of params; `null` counts as absent.
struct Params<'a>(&'a Map<String, Value>);

impl Params<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text; blank counts as absent.
    fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(Fault::invalid(&format!("{name} holds a zero byte")))
            }
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Some(_) => Err(Fault::invalid(&format!("{name} must be a string"))),
        }
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name) == Some(&Value::Bool(true))
    }

    fn asked(&self) -> Result<Prepare, Fault> {
        let items = self.get("command").and_then(Value::as_array).filter(|items| !items.is_empty());
        let items = items.ok_or_else(|| Fault::invalid("command required"))?;
        let text = |item: &Value| item.as_str().filter(|text| !text.contains('\0')).map(str::to_owned);
        let argv: Option<Vec<String>> = items.iter().map(text).collect();
        let argv = argv.ok_or_else(|| Fault::invalid("command must be an array of strings"))?;
        if argv.len() > ARGS_MAX {
            return Err(Fault::invalid(&format!("command has more than {ARGS_MAX} parts")));
        }
        if argv[0].trim().is_empty() {
            return Err(Fault::invalid("command required"));
        }
        if let Some(raw) = self.get("rawCommand").and_then(Value::as_str)
            && !raw.trim().is_empty()
            && !argv::is_text_of(raw.trim(), &argv)
        {
            return Err(Fault::invalid("rawCommand does not match command"));
        }
        Ok(Prepare {
            argv,
            cwd: self.text("cwd")?,
            agent_id: self.text("agentId")?,
            session_key: self.text("sessionKey")?,
        })
    }

    fn run(&self) -> Result<Run, Fault> {
        let asked = self.asked()?;
        let plan = match self.get("systemRunPlan") {
            None => None,
            Some(plan) => Some(Plan::parse(plan).ok_or_else(|| Fault::invalid("systemRunPlan invalid"))?),
        };
        let mut env = BTreeMap::new();
        match self.get("env") {
            None => {}
            Some(Value::Object(members)) => {
                for (name, value) in members {
                    let value = value.as_str().ok_or_else(|| Fault::invalid("env must hold strings"))?;
                    env.insert(name.clone(), value.to_owned());
                }
            }
            Some(_) => return Err(Fault::invalid("env must be an object")),
        }
        let limit_ms = match self.get("timeoutMs") {
            None => RUN_MS_DEFAULT,
            Some(value) => value
                .as_f64()
                .filter(|ms| *ms >= 0.0)
                .map(|ms| ms.min(RUN_MS_MAX as f64) as u64)
                .ok_or_else(|| Fault::invalid("timeoutMs must be a number of milliseconds"))?,
        };
        let decision = self.get("approvalDecision").and_then(Value::as_str);
        let approval = match decision {
            Some("allow-always") => Approval::Always,
            Some("allow-once") => Approval::Once,
            Some(_) | None if self.flag("approved") => Approval::Once,
            Some(_) | None => Approval::None,
        };
        Ok(Run {
            asked,
            plan,
            env,
            // Nothing can be done in no time: that is how the reference says "no limit of mine".
            limit_ms: if limit_ms == 0 { RUN_MS_DEFAULT } else { limit_ms },
            wants_screen: self.flag("needsScreenRecording"),
            run_id: self.text("runId")?,
            is_quiet: self.flag("suppressNotifyOnExit"),
            approval,
        })
    }

    fn bins(&self) -> Result<Vec<String>, Fault> {
        let items = self.get("bins").and_then(Value::as_array);
        let items = items.ok_or_else(|| Fault::invalid("bins required"))?;
        if items.len() > BINS_MAX {
            return Err(Fault::invalid(&format!("more than {BINS_MAX} bins")));
        }
        let names = items.iter().filter_map(Value::as_str).map(str::trim);
        Ok(names.filter(|name| !name.is_empty() && !name.contains('\0')).map(str::to_owned).collect())
    }

    fn notify(&self) -> Result<Notify, Fault> {
        let title = self.text("title")?.unwrap_or_default();
        let body = self.text("body")?.unwrap_or_default();
        if title.is_empty() && body.is_empty() {
            return Err(Fault::invalid("title or body required"));
        }
        let is_urgent = self.text("priority")?.as_deref() == Some("timeSensitive");
        Ok(Notify { title, body, is_urgent })
    }

    fn approvals(&self) -> Result<Command, Fault> {
        let file = self.get("file").filter(|file| file.is_object() && file["version"] == 1);
        let file = file.ok_or_else(|| Fault::invalid("exec approvals file required"))?;
        Ok(Command::ApprovalsSet { file: file.clone(), base_hash: self.text("baseHash")? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn invoke(command: &str, params: Value) -> Invoke {
        let payload = json!({"id": "i", "nodeId": "n", "command": command, "paramsJSON": params.to_string()});
        Invoke::parse(&payload).unwrap()
    }

    fn fault(command: &str, params: Value) -> String {
        match invoke(command, params).command() {
            Ok(_) => "none".to_owned(),
            Err(fault) => fault.message,
        }
    }

    #[test]
    fn who_cannot_be_answered_is_nobody() {
        for payload in [
            json!({"nodeId": "n", "command": "c"}),
            json!({"id": "i", "command": "c"}),
            json!({"id": "i", "nodeId": "n"}),
            json!({"id": " ", "nodeId": "n", "command": "c"}),
            json!({"id": 5, "nodeId": "n", "command": "c"}),
            json!(null),
            json!([]),
        ] {
            assert_eq!(Invoke::parse(&payload), None, "{payload}");
        }
    }

    #[test]
    fn both_protocols_shapes_are_read() {
        for payload in [
            json!({"id": "i", "nodeId": "n", "command": " device.info ", "paramsJSON": null}),
            json!({"id": "i", "nodeId": "n", "command": "device.info", "timeoutMs": 4984, "idempotencyKey": "k"}),
        ] {
            assert!(matches!(Invoke::parse(&payload).unwrap().command(), Ok(Command::DeviceInfo)));
        }
        let direct =
            json!({"id": "i", "nodeId": "n", "command": "system.which", "params": {"bins": ["ls", " ", 5]}});
        let Ok(Command::Which(bins)) = Invoke::parse(&direct).unwrap().command() else {
            panic!("another command")
        };
        assert_eq!(bins, ["ls"]);
        let none = json!({"id": "i", "nodeId": "n", "command": "system.which"});
        let fault = Invoke::parse(&none).unwrap().command().err().unwrap();
        assert_eq!(fault, Fault::invalid("paramsJSON required"));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (command, params, want) in [
            ("system.which", json!({"bins": "x"}), "Error: INVALID_REQUEST: bins required"),
            ("system.which", json!([]), "Error: INVALID_REQUEST: paramsJSON must be a JSON object"),
            ("system.run", json!({}), "Error: INVALID_REQUEST: command required"),
            ("system.run", json!({"command": "ls"}), "Error: INVALID_REQUEST: command required"),
            ("system.run", json!({"command": [" "]}), "Error: INVALID_REQUEST: command required"),
            (
                "system.run",
                json!({"command": ["a", 5]}),
                "Error: INVALID_REQUEST: command must be an array of strings",
            ),
            (
                "system.run",
                json!({"command": ["a\0b"]}),
                "Error: INVALID_REQUEST: command must be an array of strings",
            ),
            (
                "system.run",
                json!({"command": ["a"], "rawCommand": "b"}),
                "Error: INVALID_REQUEST: rawCommand does not match command",
            ),
            (
                "system.run",
                json!({"command": ["a"], "env": {"A": 1}}),
                "Error: INVALID_REQUEST: env must hold strings",
            ),
            (
                "system.run",
                json!({"command": ["a"], "timeoutMs": "5"}),
                "Error: INVALID_REQUEST: timeoutMs must be a number of milliseconds",
            ),
            (
                "system.run",
                json!({"command": ["a"], "systemRunPlan": {}}),
                "Error: INVALID_REQUEST: systemRunPlan invalid",
            ),
            (
                "system.run",
                json!({"command": ["a"], "cwd": 5}),
                "Error: INVALID_REQUEST: cwd must be a string",
            ),
            ("system.notify", json!({}), "Error: INVALID_REQUEST: title or body required"),
            (
                "system.execApprovals.set",
                json!({"file": {}}),
                "Error: INVALID_REQUEST: exec approvals file required",
            ),
            ("browser.proxy", json!({}), "command not supported"),
            ("system.run", json!({"command": ["a"], "rawCommand": "a", "cwd": null, "env": null}), "none"),
        ] {
            assert_eq!(fault(command, params.clone()), want, "{command} {params}");
        }
        let many = json!({"command": vec!["a"; ARGS_MAX + 1]});
        assert!(fault("system.run", many).contains("more than 1024 parts"));
        assert!(
            fault("system.which", json!({"bins": vec!["a"; BINS_MAX + 1]})).contains("more than 256 bins")
        );
    }

    #[test]
    fn an_approval_is_what_the_gateway_says_it_is_and_a_time_limit_is_bounded() {
        let run = |more: Value| {
            let mut params = json!({"command": ["a"]});
            for (name, value) in more.as_object().unwrap() {
                params[name] = value.clone();
            }
            let Ok(Command::Run(run)) = invoke("system.run", params).command() else { panic!("no run") };
            (run.approval, run.limit_ms)
        };
        for (more, want) in [
            (json!({}), (Approval::None, RUN_MS_DEFAULT)),
            (json!({"approved": true}), (Approval::Once, RUN_MS_DEFAULT)),
            (json!({"approved": "true"}), (Approval::None, RUN_MS_DEFAULT)),
            (json!({"approvalDecision": "allow-once", "timeoutMs": 5}), (Approval::Once, 5)),
            (json!({"approvalDecision": "allow-always", "timeoutMs": 1e300}), (Approval::Always, RUN_MS_MAX)),
            (json!({"approvalDecision": "deny", "timeoutMs": 0}), (Approval::None, RUN_MS_DEFAULT)),
        ] {
            assert_eq!(run(more.clone()), want, "{more}");
        }
    }

    #[test]
    fn answers_and_events_have_the_shapes_of_the_reference() {
        let asked = invoke("system.run", json!({"command": ["/usr/bin/echo", "hi"], "runId": "r"}));
        let Ok(Command::Run(run)) = asked.command() else { panic!("no run") };
        let ended = Ended { code: Some(0), stdout: "hi\n".into(), ..Ended::default() };
        assert_eq!(
            asked.result(&Ok(ended.payload())),
            json!({"id": "i", "nodeId": "n", "ok": true, "payloadJSON": json!({
                "exitCode": 0, "timedOut": false, "success": true, "stdout": "hi\n", "stderr": "", "error": null,
            }).to_string()})
        );
        let fault = Err(Fault::unavailable("SYSTEM_RUN_DENIED: approval required"));
        assert_eq!(
            asked.result(&fault),
            json!({"id": "i", "nodeId": "n", "ok": false,
                "error": {"code": "UNAVAILABLE", "message": "SYSTEM_RUN_DENIED: approval required"}})
        );
        let event = run.finished("mine", &ended);
        let payload: Value = serde_json::from_str(event["payloadJSON"].as_str().unwrap()).unwrap();
        assert_eq!(
            (event["event"].as_str().unwrap(), payload),
            (
                "exec.finished",
                json!({"sessionKey": "node", "runId": "r", "host": "node", "command": "/usr/bin/echo hi",
                "exitCode": 0, "timedOut": false, "success": true, "output": "hi"})
            )
        );
        let quiet = Run { run_id: None, is_quiet: true, ..*run };
        let event = quiet.denied("mine", "approval-required");
        let payload: Value = serde_json::from_str(event["payloadJSON"].as_str().unwrap()).unwrap();
        assert_eq!(
            payload,
            json!({"sessionKey": "node", "runId": "mine", "host": "node", "command": "/usr/bin/echo hi",
                "reason": "approval-required", "suppressNotifyOnExit": true})
        );
    }

    #[test]
    fn an_event_tells_the_end_of_the_output() {
        assert_eq!(tail("äöü", 2), "öü");
        assert_eq!(tail("ab", 2), "ab");
        assert_eq!(tail("", 2), "");
    }

    #[test]
    fn a_cancel_names_an_invocation() {
        assert_eq!(cancelled(&json!({"id": "i", "nodeId": "n"})), Some("i"));
        assert_eq!(cancelled(&json!({"invokeId": "i"})), Some("i"));
        assert_eq!(cancelled(&json!({"id": ""})), None);
        assert_eq!(cancelled(&json!(null)), None);
    }
}
