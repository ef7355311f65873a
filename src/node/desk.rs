//! Does what one invocation asks for, on a thread of its own: the decisions of the pure files, put on this machine.

use super::approvals::ApprovalsFile;
use super::files::{self, Machine};
use super::invoke::{Command, Ended, Fault, Invoke, Notify, Run};
use super::plan::{self, Files as _, Plan, Seal};
use super::policy::{Approval, Executable, Security, Verdict};
use super::run::{self, Cancel, Job};
use super::{argv, device, env};
use crate::entropy;
use crate::log;
use clawgate_proto::seed::{Random, Seed};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What invocations are done with. Its variables may be secrets: there is no `Debug`.
pub struct Desk {
    /// What may run.
    pub approvals: ApprovalsFile,
    /// What its plans are known by.
    pub seal: Seal,
    /// The node host's own variables.
    pub own: BTreeMap<String, String>,
    /// The person's home folder.
    pub home: Option<String>,
    /// The state folder.
    pub state_dir: PathBuf,
}

/// What came of an invocation. What a command wrote may be a secret: there is no `Debug`.
pub struct Done {
    /// The answer.
    pub outcome: Result<Value, Fault>,
    /// Params of a `node.event` that goes before it.
    pub event: Option<Value>,
    /// For the log.
    pub note: Option<Note>,
}

/// What the log should know about a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Note {
    /// It ran.
    Ran {
        /// The program; arguments may be secrets.
        program: String,
        /// How it ended.
        how: String,
    },
    /// It did not.
    Denied {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
}

impl Desk {
    /// Does it.
    pub fn perform(&self, invoke: &Invoke, cancel: &Cancel) -> Done {
        let outcome = match invoke.command() {
            Ok(Command::Run(run)) => return self.run(&run, cancel),
            Ok(Command::Prepare(asked)) => {
                Plan::make(&asked, &self.seal, &self.machine()).map(|plan| json!({ "plan": plan }))
            }
            Ok(Command::Which(names)) => Ok(self.machine().which(&names)),
            Ok(Command::Notify(notify)) => self.notify(&notify, cancel),
            Ok(Command::ApprovalsGet) => self.approvals.get(),
            Ok(Command::ApprovalsSet { file, base_hash }) => self.approvals.set(&file, base_hash.as_deref()),
            Ok(Command::DeviceInfo) => Ok(device::info()),
            Ok(Command::DeviceStatus) => Ok(device::status(&self.state_dir)),
            Ok(Command::ListDir(path)) => self.list(path),
            Err(fault) => Err(fault),
        };
        Done { outcome, event: None, note: None }
    }

    fn run(&self, run: &Run, cancel: &Cancel) -> Done {
        let run_id = Random::new(Seed::new(entropy::bytes())).uuid();
        let program = run.asked.argv[0].clone();
        match self.admit(run) {
            Ok(None) => {
                let why = format!("{program}: there is no such program on this node");
                self.ended(run, &run_id, program, Ended { error: Some(why), ..Ended::default() })
            }
            Ok(Some(job)) => self.ended(run, &run_id, program, run::run(&job, cancel)),
            Err((reason, fault)) => Done {
                event: Some(run.denied(&run_id, reason)),
                note: Some(Note::Denied { program, reason: fault.message.clone() }),
                outcome: Err(fault),
            },
        }
    }

    fn ended(&self, run: &Run, run_id: &str, program: String, ended: Ended) -> Done {
        let how = match (&ended.error, ended.timed_out, ended.code) {
            (Some(why), _, _) => why.clone(),
            (None, true, _) => "killed: its time was up".to_owned(),
            (None, false, Some(code)) => format!("code {code}"),
            (None, false, None) => "no code".to_owned(),
        };
        Done {
            event: Some(run.finished(run_id, &ended)),
            note: Some(Note::Ran { program, how }),
            outcome: Ok(ended.payload()),
        }
    }

    /// Whether it may run, and as what. `None`: it may, and there is no such program.
    fn admit(&self, run: &Run) -> Result<Option<Job>, (&'static str, Fault)> {
        let denied = |reason: &'static str, message: String| (reason, Fault::unavailable(message));
        if run.wants_screen {
            return Err(denied(
                "permission:screenRecording",
                "PERMISSION_MISSING: screenRecording".to_owned(),
            ));
        }
        let agent = run.asked.agent_id.as_deref().unwrap_or(AGENT_DEFAULT);
        let unreadable = |why| denied("exec-approvals-unreadable", format!("SYSTEM_RUN_DENIED: {why}"));
        let policy = self.approvals.policy(agent).map_err(unreadable)?;
        let machine = self.machine();
        let cwd = match &run.asked.cwd {
            None => None,
            Some(cwd) => Some(machine.folder(cwd).ok_or_else(|| {
                denied("cwd", "SYSTEM_RUN_DENIED: the cwd is no folder on this node".to_owned())
            })?),
        };
        let program = machine.program(&run.asked.argv[0], cwd.as_deref());
        if let Some(program) = &program {
            plan::check_short(&run.asked, program).map_err(|fault| ("text", fault))?;
        }
        let home = self.home.as_deref();
        let is_steered = !run.env.keys().all(|name| env::is_harmless(name));
        let env = env::of_command(self.own.clone(), &run.env, is_shell(run, program.as_ref()))
            .map_err(|why| denied("env", format!("SYSTEM_RUN_DENIED: {why}")));
        // No approval would help: that is said before somebody is asked for one.
        let env = if policy.security == Security::Deny { env } else { Ok(env?) };
        let judge = |approval| {
            policy.judge(program.as_ref(), is_steered, approval, home, &|path| files::folder_of(path))
        };
        let remember = match judge(run.approval) {
            Verdict::Run { remember } => remember,
            Verdict::Denied { reason, message } => return Err(denied(reason, message)),
        };
        let env = env?;
        match &run.plan {
            Some(plan) if run.approval != Approval::None => {
                plan.check(run, &self.seal, &machine).map_err(|fault| ("approval-changed", fault))?;
            }
            None if judge(run.approval) != judge(Approval::None) => {
                let why = "SYSTEM_RUN_DENIED: approval without a plan: ask with system.run.prepare first";
                return Err(denied("approval-unknown", why.to_owned()));
            }
            Some(_) | None => {}
        }
        let Some(program) = program else { return Ok(None) };
        if let Some(pattern) = remember {
            let text = argv::text(&run.asked.argv);
            let added = self.approvals.remember(agent, &pattern, &text, log::wall_ms());
            added.map_err(|fault| ("exec-approvals-unwritable", fault))?;
        }
        Ok(Some(Job {
            program: program.found.into(),
            name: run.asked.argv[0].clone(),
            args: run.asked.argv[1..].to_vec(),
            env,
            cwd: cwd.map(PathBuf::from),
            limit: Duration::from_millis(run.limit_ms),
        }))
    }

    fn notify(&self, notify: &Notify, cancel: &Cancel) -> Result<Value, Fault> {
        let unavailable = |why: &str| Fault::unavailable(format!("NOTIFICATIONS_UNAVAILABLE: {why}"));
        let program = self.machine().program("notify-send", None);
        let program = program.ok_or_else(|| unavailable("there is no notify-send on this node"))?;
        let (title, body) = match (notify.title.as_str(), notify.body.as_str()) {
            ("", body) => (body, ""),
            both => both,
        };
        let urgency = if notify.is_urgent { "critical" } else { "normal" };
        let mut args = ["--app-name=OpenClaw", "--urgency", urgency, "--", title].map(str::to_owned).to_vec();
        args.extend(Some(body.to_owned()).filter(|body| !body.is_empty()));
        let env = env::of_command(self.own.clone(), &BTreeMap::new(), false).unwrap_or_default();
        let name = "notify-send".to_owned();
        let job = Job { program: program.found.into(), name, args, env, cwd: None, limit: NOTIFY };
        let ended = run::run(&job, cancel);
        if ended.is_success() {
            return Ok(json!({ "ok": true }));
        }
        let why = ended.error.unwrap_or_else(|| ended.stderr.lines().next().unwrap_or_default().to_owned());
        Err(unavailable(&format!("notify-send did not show it: {why}")))
    }

    fn list(&self, path: Option<String>) -> Result<Value, Fault> {
        let home = self.home.as_deref().unwrap_or("/");
        let path = match path.as_deref() {
            None | Some("~") => home.to_owned(),
            Some(path) => match path.strip_prefix("~/") {
                Some(rest) => format!("{home}/{rest}"),
                None if path.starts_with('/') => path.to_owned(),
                None => return Err(Fault::invalid("path must be absolute")),
            },
        };
        let mut listed =
            files::list(&path).map_err(|why| Fault::unavailable(format!("cannot list it: {why}")))?;
        listed["home"] = home.into();
        Ok(listed)
    }

    fn machine(&self) -> Machine {
        Machine::new(self.own.get("PATH").map_or("", String::as_str), self.home.as_deref())
    }
}

/// By its name and by the file behind it.
fn is_shell(run: &Run, program: Option<&Executable>) -> bool {
    let found = program.map(|program| [program.found.as_str(), program.real.as_str()]);
    let names = found.into_iter().flatten().chain([run.asked.argv[0].as_str()]);
    let launched = argv::launched(&run.asked.argv).map(|at| run.asked.argv[at].as_str());
    names.chain(launched).any(|name| argv::Kind::of(name) == argv::Kind::Shell)
}

/// Whose rules hold for a caller that names no agent.
const AGENT_DEFAULT: &str = "main";
const NOTIFY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::policy::Fallback;
    use super::*;
    use crate::scratch::Folder;
    use crate::storage::{RealDisk, Storage};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    struct Place {
        folder: Folder,
        desk: Desk,
    }

    /// A desk in a folder of its own, with this file of approvals.
    fn place(file: &Value) -> Place {
        let folder = Folder::new();
        let root = fs::canonicalize(folder.path()).unwrap();
        let path = root.join("exec-approvals.json");
        fs::write(&path, file.to_string()).unwrap();
        let own =
            [("PATH", "/usr/bin:/bin"), ("OPENCLAW_GATEWAY_TOKEN", "hush"), ("LD_AUDIT", "x"), ("KEPT", "1")];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let home = Some(root.to_str().unwrap().to_owned());
        let approvals = ApprovalsFile::new(Storage::new(RealDisk, 1), path, Fallback::default());
        Place { folder, desk: Desk { approvals, seal: Seal::new([7; 32]), own, home, state_dir: root } }
    }

    impl Place {
        fn invoke(&self, command: &str, params: &Value) -> Done {
            let payload =
                json!({"id": "i", "nodeId": "n", "command": command, "paramsJSON": params.to_string()});
            self.desk.perform(&Invoke::parse(&payload).unwrap(), &Cancel::default())
        }

        fn run(&self, params: &Value) -> Result<Value, String> {
            self.invoke("system.run", params).outcome.map_err(|fault| fault.message)
        }

        fn root(&self) -> PathBuf {
            fs::canonicalize(self.folder.path()).unwrap()
        }
    }

    fn full() -> Value {
        json!({"version": 1, "defaults": {"security": "full", "ask": "off"}})
    }

    #[test]
    fn a_command_that_may_runs_with_what_it_should_see() {
        let place = place(&full());
        let done = place.invoke(
            "system.run",
            &json!({"command": ["env"], "cwd": place.root(), "env": {"MINE": "2"}, "runId": "r"}),
        );
        let payload = done.outcome.unwrap();
        let mut lines: Vec<&str> = payload["stdout"].as_str().unwrap().lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["KEPT=1", "MINE=2", "PATH=/usr/bin:/bin"]);
        assert_eq!((&payload["exitCode"], &payload["success"]), (&json!(0), &json!(true)));
        assert!(done.event.unwrap().to_string().contains("exec.finished"));
        assert!(matches!(done.note, Some(Note::Ran { how, .. }) if how == "code 0"));
        // No shell stands between.
        let got = place.run(&json!({"command": ["echo", "$KEPT", "a b", ";id"]})).unwrap();
        assert_eq!(got["stdout"], "$KEPT a b ;id\n");
        let got = place.run(&json!({"command": ["pwd"], "cwd": place.root()})).unwrap();
        assert_eq!(got["stdout"].as_str().unwrap().trim_end(), place.root().to_str().unwrap());
        let got = place.run(&json!({"command": ["no-such-program"]})).unwrap();
        assert!(
            got["success"] == false && got["error"].as_str().unwrap().contains("no such program"),
            "{got}"
        );
        let got = place.run(&json!({"command": ["sleep", "1000"], "timeoutMs": 100})).unwrap();
        assert_eq!((&got["timedOut"], &got["exitCode"]), (&json!(true), &Value::Null));
    }

    #[test]
    fn what_may_not_run_is_denied_with_an_event() {
        for (file, params, want) in [
            (json!({"version": 1}), json!({"command": ["id"]}), "SYSTEM_RUN_DENIED: approval required"),
            (
                json!({"defaults": {"security": "deny"}}),
                json!({"command": ["id"], "approved": true}),
                "SYSTEM_RUN_DISABLED: security=deny",
            ),
            (json!([]), json!({"command": ["id"], "approved": true}), "nothing may run"),
            (
                full(),
                json!({"command": ["id"], "needsScreenRecording": true}),
                "PERMISSION_MISSING: screenRecording",
            ),
            (full(), json!({"command": ["id"], "cwd": "/dev/null/x"}), "the cwd is no folder"),
            (
                full(),
                json!({"command": ["id"], "env": {"PATH": "/x", "LD_PRELOAD": "y"}}),
                "env must not set LD_PRELOAD, PATH on this node",
            ),
            (
                full(),
                json!({"command": ["nice", "sh", "-c", "id"], "env": {"MINE": "1"}}),
                "env must not set MINE for a shell on this node, which may run what a variable says",
            ),
            // Before anybody is asked for an approval that would be of no use.
            (
                json!({"version": 1}),
                json!({"command": ["sh", "-c", "id"], "env": {"MINE": "1"}}),
                "Say it in the script instead",
            ),
            (json!({"version": 1}), json!({"command": ["id"], "env": {"PATH": "/x"}}), "must not set PATH"),
            (
                json!({"defaults": {"security": "deny"}}),
                json!({"command": ["id"], "env": {"PATH": "/x"}}),
                "SYSTEM_RUN_DISABLED: security=deny",
            ),
        ] {
            let place = place(&file);
            let done = place.invoke("system.run", &params);
            let fault = done.outcome.unwrap_err();
            assert_eq!(fault.code, "UNAVAILABLE");
            assert!(fault.message.contains(want), "{params}: {fault:?}");
            assert!(done.event.unwrap().to_string().contains("exec.denied"), "{params}");
            assert!(matches!(done.note, Some(Note::Denied { .. })));
        }
    }

    #[test]
    fn an_approval_runs_what_was_planned_and_is_remembered_when_asked() {
        let place = place(&json!({"version": 1}));
        let script = place.root().join("x.sh");
        fs::write(&script, "#!/bin/sh\necho one\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let plan = |command: &Value| {
            let asked = json!({"command": command, "cwd": place.root(), "agentId": "a"});
            place.invoke("system.run.prepare", &asked).outcome.unwrap()["plan"].clone()
        };
        let approved = |plan: &Value, decision: &str| {
            place.run(&json!({"command": plan["argv"], "rawCommand": plan["commandText"], "cwd": plan["cwd"],
                "systemRunPlan": plan, "agentId": "a", "approved": true, "approvalDecision": decision}))
        };
        let script_plan = plan(&json!(["./x.sh"]));
        assert_eq!(approved(&script_plan, "allow-once").unwrap()["stdout"], "one\n");
        fs::write(&script, "#!/bin/sh\necho two\n").unwrap();
        let why = approved(&script_plan, "allow-once").unwrap_err();
        assert!(
            why.starts_with("SYSTEM_RUN_DENIED: approval script operand changed before execution"),
            "{why}"
        );
        // From now on, for this agent, this program; a shell is never remembered.
        let id = plan(&json!(["id", "-u"]));
        approved(&id, "allow-always").unwrap();
        approved(&plan(&json!(["sh", "-c", "id"])), "allow-always").unwrap();
        let found = id["argv"][0].as_str().unwrap();
        assert_eq!(place.desk.approvals.policy("a").unwrap().allowlist, [found]);
        assert!(place.run(&json!({"command": ["id"], "agentId": "a"})).is_ok());
        assert!(place.run(&json!({"command": ["id"], "agentId": "a", "env": {"LC_ALL": "C"}})).is_ok());
        for params in [
            json!({"command": ["id"], "agentId": "b"}),
            json!({"command": ["id"], "agentId": "a", "env": {"MINE": "1"}}),
            json!({"command": ["sh", "-c", "id"], "agentId": "a"}),
        ] {
            assert_eq!(place.run(&params).unwrap_err(), "SYSTEM_RUN_DENIED: approval required", "{params}");
        }
    }

    /// Compatibility row node-plan.
    #[test]
    fn nothing_that_an_approval_was_given_for_can_be_swapped() {
        let place = place(&json!({"version": 1}));
        let at = |name: &str| place.root().join(name);
        let script = |name: &str, says: &str| {
            let _ = fs::remove_file(at(name));
            fs::write(at(name), format!("#!/bin/sh\necho {says}\n")).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).unwrap();
        };
        let link = |name: &str, to: &str| {
            let _ = fs::remove_file(at(name));
            std::os::unix::fs::symlink(to, at(name)).unwrap();
        };
        let copy = |name: &str, from: &str| {
            let _ = fs::remove_file(at(name));
            fs::copy(from, at(name)).unwrap();
        };
        let before = || {
            script("x.sh", "one");
            link("tool", "/usr/bin/uname");
            copy("elf", "/usr/bin/uname");
            copy("interpreter", "/usr/bin/env");
            fs::write(at("by.me"), format!("#!{} sh\necho one\n", at("interpreter").display())).unwrap();
            fs::set_permissions(at("by.me"), fs::Permissions::from_mode(0o755)).unwrap();
            fs::write(at("p.awk"), "BEGIN { print 1 }").unwrap();
            fs::write(at("m.mk"), "x:\n\t@echo one\n").unwrap();
        };
        let evil = || script("x.sh", "EVIL");
        type Change<'a> = &'a dyn Fn();
        let rows: [(&[&str], Change<'_>); 20] = [
            (&["./x.sh"], &evil),
            (&["timeout", "5", "./x.sh"], &evil),
            (&["nice", "./x.sh"], &evil),
            (&["env", "A=b", "./x.sh"], &evil),
            (&["setsid", "./x.sh"], &evil),
            (&["flock", "/dev/null", "./x.sh"], &evil),
            (&["stdbuf", "-o0", "./x.sh"], &evil),
            (&["xargs", "-a", "/dev/null", "./x.sh"], &evil),
            (&["time", "./x.sh"], &evil),
            (&["setpriv", "./x.sh"], &evil),
            (&["prlimit", "./x.sh"], &evil),
            (&["sh", "-c", "./x.sh"], &evil),
            (&["sh", "-c", "cd / && exec $HOME/x.sh"], &evil),
            (&["sh", "-c", "true;~/x.sh|cat"], &evil),
            (&["./tool"], &|| link("tool", "/usr/bin/id")),
            (&["./tool", "-c", "echo EVIL"], &|| link("tool", "/bin/sh")),
            (&["./elf"], &|| copy("elf", "/usr/bin/id")),
            (&["./by.me"], &|| copy("interpreter", "/usr/bin/id")),
            (&["awk", "-fp.awk"], &|| fs::write(at("p.awk"), "BEGIN { print \"EVIL\" }").unwrap()),
            (&["make", "--file=m.mk"], &|| fs::write(at("m.mk"), "x:\n\t@echo EVIL\n").unwrap()),
        ];
        for (words, change) in rows {
            // What is not installed here cannot be planned.
            if !words[0].contains('/') && place.desk.machine().program(words[0], None).is_none() {
                continue;
            }
            before();
            let asked = json!({"command": words, "cwd": place.root()});
            let plan = place.invoke("system.run.prepare", &asked).outcome.unwrap()["plan"].take();
            let run = || {
                place.run(
                    &json!({"command": plan["argv"], "rawCommand": plan["commandText"], "cwd": plan["cwd"],
                    "systemRunPlan": plan, "approved": true, "approvalDecision": "allow-once"}),
                )
            };
            assert!(run().is_ok(), "{words:?}: {:?}", run());
            change();
            let why = run().expect_err(&words.join(" "));
            assert!(why.contains("changed before execution"), "{words:?}: {why}");
        }
    }

    #[test]
    fn an_approval_counts_for_a_plan_of_this_node_host_alone() {
        let place = place(&json!({"version": 1}));
        let id = place.desk.machine().program("id", None).unwrap().found;
        let prepare = json!({"command": ["id"]});
        let plan = place.invoke("system.run.prepare", &prepare).outcome.unwrap()["plan"].take();
        let run = |plan: &Value| {
            place.run(&json!({"command": [id], "systemRunPlan": plan, "approvalDecision": "allow-once"}))
        };
        assert!(run(&plan).is_ok());
        assert!(run(&Value::Null).unwrap_err().contains("approval without a plan"));
        for (name, value) in [
            ("commandText", json!("/usr/bin/true")),
            ("commandPreview", json!("harmless")),
            ("mutableFileOperand", Value::Null),
            ("mutableFileOperand", json!({"argvIndex": 0, "path": id, "sha256": "0".repeat(64)})),
        ] {
            let mut forged = plan.clone();
            forged[name] = value;
            let why = run(&forged).unwrap_err();
            assert!(why.contains("approval plan unknown") && why.contains("ask again"), "{name}: {why}");
        }
        let mut other = place;
        other.desk.seal = Seal::new([8; 32]);
        let params = json!({"command": [id], "systemRunPlan": plan, "approvalDecision": "allow-once"});
        assert!(other.run(&params).unwrap_err().contains("approval plan unknown"));
        // Nobody has to approve anything here.
        fs::write(other.root().join("exec-approvals.json"), full().to_string()).unwrap();
        assert!(other.run(&json!({"command": [id], "approvalDecision": "allow-once"})).is_ok());
    }

    /// Compatibility row node-text.
    #[test]
    fn only_a_shell_of_the_system_is_left_out_of_a_text() {
        let place = place(&full());
        let shell = place.root().join("sh");
        fs::copy("/usr/bin/env", &shell).unwrap();
        let asked = |program: &str, raw: &str| json!({"command": [program, "-c", "id"], "rawCommand": raw});
        let prepared = |params: &Value| place.invoke("system.run.prepare", params).outcome;
        let plan = prepared(&asked("sh", "id")).unwrap()["plan"].take();
        assert!(
            plan["commandText"].as_str().unwrap().ends_with("/sh -c id") && plan["commandPreview"] == "id"
        );
        assert!(place.run(&asked("sh", "id")).is_ok());
        let mine = shell.to_str().unwrap();
        let short = asked(mine, "id");
        for why in [prepared(&short).unwrap_err().message, place.run(&short).unwrap_err()] {
            assert!(why.contains("rawCommand does not match command"), "{why}");
        }
        let plan = prepared(&asked(mine, &format!("{mine} -c id"))).unwrap()["plan"].take();
        assert_eq!(
            (&plan["commandText"], &plan["commandPreview"]),
            (&json!(format!("{mine} -c id")), &Value::Null)
        );
    }

    #[test]
    fn the_other_commands_answer_in_their_shapes() {
        let place = place(&full());
        let done = |command: &str, params: Value| place.invoke(command, &params).outcome;
        let which = done("system.which", json!({"bins": ["sh", "no-such-program"]})).unwrap();
        assert!(which["bins"]["sh"].is_string() && which["bins"].as_object().unwrap().len() == 1, "{which}");
        assert_eq!(done("system.execApprovals.get", json!({})).unwrap()["exists"], true);
        assert!(done("device.info", json!({})).unwrap()["systemName"].is_string());
        assert!(done("device.status", json!({})).unwrap()["storage"].is_object());
        fs::create_dir(place.root().join("inner")).unwrap();
        let listed = done("fs.listDir", json!({})).unwrap();
        assert_eq!(listed["entries"][0]["name"], "inner");
        assert_eq!((&listed["home"], &listed["path"]), (&json!(place.root()), &json!(place.root())));
        assert_eq!(done("fs.listDir", json!({"path": "~/inner"})).unwrap()["entries"], json!([]));
        assert!(done("fs.listDir", json!({"path": "inner"})).unwrap_err().message.contains("absolute"));
        assert!(done("fs.listDir", json!({"path": "/dev/null/x"})).is_err());
        assert_eq!(done("camera.snap", json!({})).unwrap_err().message, "command not supported");
    }

    #[test]
    fn a_notification_is_shown_by_the_desktops_program_or_said_not_to_be() {
        let mut place = place(&full());
        let notify =
            |place: &Place| place.invoke("system.notify", &json!({"title": "T", "body": "-b"})).outcome;
        place.desk.own.insert("PATH".to_owned(), place.root().to_str().unwrap().to_owned());
        let why = notify(&place).unwrap_err().message;
        assert_eq!(why, "NOTIFICATIONS_UNAVAILABLE: there is no notify-send on this node");
        let program = place.root().join("notify-send");
        fs::write(&program, "#!/bin/sh\nfor word; do echo \"$word\"; done > \"$(dirname \"$0\")/said\"\n")
            .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", place.root().display());
        place.desk.own.insert("PATH".to_owned(), path);
        assert_eq!(notify(&place).unwrap(), json!({"ok": true}));
        let said = fs::read_to_string(place.root().join("said")).unwrap();
        assert_eq!(said, "--app-name=OpenClaw\n--urgency\nnormal\n--\nT\n-b\n");
        fs::write(&program, "#!/bin/sh\necho no display >&2\nexit 1\n").unwrap();
        assert!(notify(&place).unwrap_err().message.ends_with("did not show it: no display"));
    }
}
