//! What an approval is given for: `system.run.prepare` resolves a command, and whoever approves sees exactly that.
//! `system.run` looks again before it starts: the program, the folder and the script behind a plan must still be what
//! they were (spec: nodes sections 6, 10 and 11). Decisions only; `Files` looks.

use super::argv::{self, Kind, Operand};
use super::invoke::{Fault, Prepare, Run};
use super::policy::Executable;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the file system says. A relative path is below `cwd`, or below the node host's own folder.
pub trait Files {
    /// The program of this name or path.
    fn program(&self, name: &str, cwd: Option<&str>) -> Option<Executable>;
    /// The path without links, if it is a folder.
    fn folder(&self, path: &str) -> Option<String>;
    /// The path without links and the lower-case hex SHA-256 of an ordinary file.
    fn digest(&self, path: &str, cwd: Option<&str>) -> Option<(String, String)>;
    /// Whether a file is a script: it begins with `#!`.
    fn is_script(&self, path: &str) -> bool;
}

/// What is approved, as the gateway keeps it and sends it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The program by its path, and its arguments.
    pub argv: Vec<String>,
    /// Where it runs, without links; `None` is the node host's own folder.
    #[serde(default)]
    pub cwd: Option<String>,
    /// The text of `argv`.
    pub command_text: String,
    /// What a shell was given to run, for people.
    #[serde(default)]
    pub command_preview: Option<String>,
    /// Who asks.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// In which conversation.
    #[serde(default)]
    pub session_key: Option<String>,
    /// The script that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutable_file_operand: Option<Script>,
}

/// A script that an approval holds for as long as it does not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// Which argument names it.
    pub argv_index: usize,
    /// Its path without links.
    pub path: String,
    /// Lower-case hex SHA-256 of its content.
    pub sha256: String,
}

impl Plan {
    /// Reads a plan that came back.
    pub fn parse(value: &Value) -> Option<Self> {
        let plan: Self = serde_json::from_value(value.clone()).ok()?;
        (!plan.argv.is_empty()).then_some(plan)
    }

    /// Resolves a command.
    ///
    /// # Errors
    /// There is no such program or folder, or it cannot be told what would run.
    pub fn make(asked: &Prepare, files: &dyn Files) -> Result<Self, Fault> {
        let cwd = match &asked.cwd {
            None => None,
            Some(cwd) => Some(files.folder(cwd).ok_or_else(|| denied("the cwd is no folder on this node"))?),
        };
        let program = files.program(&asked.argv[0], cwd.as_deref());
        let program = program.ok_or_else(|| denied("there is no such program on this node"))?;
        let mut argv = asked.argv.clone();
        argv[0].clone_from(&program.found);
        let script = script(&argv, cwd.as_deref(), files)?;
        let command_text = argv::text(&argv);
        let preview = argv::plain_script(&argv).filter(|preview| *preview != command_text);
        Ok(Self {
            command_preview: preview.map(str::to_owned),
            command_text,
            argv,
            cwd,
            agent_id: asked.agent_id.clone(),
            session_key: asked.session_key.clone(),
            mutable_file_operand: script,
        })
    }

    /// Whether a run is what was approved, and the machine still what it was.
    ///
    /// # Errors
    /// It is not; with what changed.
    pub fn check(&self, run: &Run, files: &dyn Files) -> Result<(), Fault> {
        if run.asked.argv != self.argv || run.asked.cwd != self.cwd {
            return Err(Fault::invalid("command does not match systemRunPlan"));
        }
        if let Some(cwd) = &self.cwd
            && files.folder(cwd).as_ref() != Some(cwd)
        {
            return Err(denied("approval cwd changed before execution"));
        }
        let now = files.program(&self.argv[0], self.cwd.as_deref());
        if now.is_none_or(|now| now.found != self.argv[0]) {
            return Err(denied("approval executable changed before execution"));
        }
        let script = script(&self.argv, self.cwd.as_deref(), files)
            .map_err(|_| denied("approval script operand changed before execution"))?;
        if script != self.mutable_file_operand {
            return Err(denied("approval script operand changed before execution"));
        }
        Ok(())
    }
}

/// The script that a command runs, if it runs one.
fn script(argv: &[String], cwd: Option<&str>, files: &dyn Files) -> Result<Option<Script>, Fault> {
    let bind = |at: usize| {
        let (path, sha256) = files.digest(&argv[at], cwd)?;
        Some(Script { argv_index: at, path, sha256 })
    };
    let unknown =
        || denied("approval cannot safely bind this interpreter or runtime command; name the script first");
    let start = match Kind::of(&argv[0]) {
        Kind::Ordinary if files.is_script(&argv[0]) => return bind(0).map(Some).ok_or_else(unknown),
        Kind::Ordinary => return Ok(None),
        Kind::Shell | Kind::Interpreter(_) => 0,
        Kind::Launcher => match argv::launched(argv) {
            Some(at) => at,
            None => return Ok(None),
        },
    };
    match argv::operand(Kind::of(&argv[start]), &argv[start..]) {
        Operand::None | Operand::Inline(_) => Ok(None),
        Operand::File(at) => bind(start + at).map(Some).ok_or_else(unknown),
        Operand::Unknown => Err(unknown()),
    }
}

fn denied(why: &str) -> Fault {
    Fault::unavailable(format!("SYSTEM_RUN_DENIED: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::policy::Approval;
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    /// Files by path, with their content; programs are those below `/usr/bin` and those with a path.
    #[derive(Clone)]
    struct Disk(BTreeMap<&'static str, &'static str>);

    impl Disk {
        fn new() -> Self {
            Self(BTreeMap::from([
                ("/usr/bin/echo", "ELF"),
                ("/usr/bin/bash", "ELF"),
                ("/usr/bin/nice", "ELF"),
                ("/usr/bin/python3", "ELF"),
                ("/work/x.sh", "#!/bin/sh\n1"),
                ("/work/job.py", "1"),
            ]))
        }

        fn path(path: &str, cwd: Option<&str>) -> String {
            match (path.strip_prefix("./").unwrap_or(path), cwd) {
                (path, _) if path.starts_with('/') => path.to_owned(),
                (path, cwd) => format!("{}/{path}", cwd.unwrap_or("/work")),
            }
        }
    }

    impl Files for Disk {
        fn program(&self, name: &str, cwd: Option<&str>) -> Option<Executable> {
            let path = if name.contains('/') { Self::path(name, cwd) } else { format!("/usr/bin/{name}") };
            self.0.contains_key(path.as_str()).then(|| Executable { found: path.clone(), real: path })
        }

        fn folder(&self, path: &str) -> Option<String> {
            match path {
                "/link" => Some("/work".to_owned()),
                "/work" | "/" => Some(path.to_owned()),
                _ => None,
            }
        }

        fn digest(&self, path: &str, cwd: Option<&str>) -> Option<(String, String)> {
            let path = Self::path(path, cwd);
            let content = self.0.get(path.as_str())?;
            Some((path, (*content).to_owned()))
        }

        fn is_script(&self, path: &str) -> bool {
            self.0.get(path).is_some_and(|content| content.starts_with("#!"))
        }
    }

    fn asked(line: &str, cwd: Option<&str>) -> Prepare {
        let argv = line.split(' ').map(str::to_owned).collect();
        Prepare { argv, cwd: cwd.map(str::to_owned), agent_id: Some("main".into()), session_key: None }
    }

    fn run(plan: &Plan) -> Run {
        Run {
            asked: Prepare { argv: plan.argv.clone(), cwd: plan.cwd.clone(), ..Prepare::default() },
            plan: Some(plan.clone()),
            env: BTreeMap::new(),
            limit_ms: 1,
            wants_screen: false,
            run_id: None,
            is_quiet: false,
            approval: Approval::Once,
        }
    }

    #[test]
    fn a_plan_has_the_shape_that_gateways_know() {
        let plan = Plan::make(&asked("echo hi", None), &Disk::new()).unwrap();
        let shown = serde_json::to_value(&plan).unwrap();
        assert_eq!(
            shown,
            json!({"argv": ["/usr/bin/echo", "hi"], "cwd": null, "commandText": "/usr/bin/echo hi",
                "commandPreview": null, "agentId": "main", "sessionKey": null})
        );
        assert_eq!(Plan::parse(&shown), Some(plan));
        assert_eq!(Plan::parse(&json!({"argv": [], "commandText": ""})), None);
        let shell = Prepare { argv: ["bash", "-lc", "a | b"].map(str::to_owned).into(), ..asked("x", None) };
        let plan = Plan::make(&shell, &Disk::new()).unwrap();
        assert_eq!(plan.command_preview.as_deref(), Some("a | b"));
    }

    /// Compatibility row node-plan.
    #[test]
    fn a_plan_names_program_folder_and_script_by_their_real_paths() {
        for (line, cwd, want) in [
            ("./x.sh", Some("/link"), Ok((Some("/work"), Some((0, "/work/x.sh"))))),
            ("bash x.sh", Some("/link"), Ok((Some("/work"), Some((1, "/work/x.sh"))))),
            ("bash -ex x.sh", None, Ok((None, Some((2, "/work/x.sh"))))),
            ("nice python3 -u job.py", None, Ok((None, Some((3, "/work/job.py"))))),
            ("nice echo job.py", None, Ok((None, None))),
            ("echo x.sh", None, Ok((None, None))),
            ("bash nothing.sh", None, Err("cannot safely bind")),
            ("python3 -m job", None, Err("cannot safely bind")),
            ("nothing", None, Err("no such program")),
            ("echo", Some("/nowhere"), Err("no folder")),
        ] {
            let made = Plan::make(&asked(line, cwd), &Disk::new());
            match (made, want) {
                (Ok(plan), Ok((cwd, script))) => {
                    let got = plan
                        .mutable_file_operand
                        .as_ref()
                        .map(|script| (script.argv_index, script.path.as_str()));
                    assert_eq!((plan.cwd.as_deref(), got), (cwd, script), "{line}");
                    assert_eq!(plan.check(&run(&plan), &Disk::new()), Ok(()), "{line}");
                }
                (Err(fault), Err(why)) => assert!(fault.message.contains(why), "{line}: {fault:?}"),
                (made, want) => panic!("{line}: {made:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn what_changed_since_the_approval_does_not_run() {
        let disk = Disk::new();
        let plan = Plan::make(&asked("bash x.sh", Some("/work")), &disk).unwrap();
        let check = |plan: &Plan, change: &dyn Fn(&mut Run), disk: &Disk| {
            let mut run = run(plan);
            change(&mut run);
            plan.check(&run, disk).map_err(|fault| fault.message)
        };
        let said = |why: &str| Err(format!("SYSTEM_RUN_DENIED: approval {why} changed before execution"));
        let mut edited = disk.clone();
        edited.0.insert("/work/x.sh", "#!/bin/sh\n2");
        assert_eq!(check(&plan, &|_| {}, &edited), said("script operand"));
        let mut gone = disk.clone();
        gone.0.remove("/work/x.sh");
        assert_eq!(check(&plan, &|_| {}, &gone), said("script operand"));
        let mut no_bash = disk.clone();
        no_bash.0.remove("/usr/bin/bash");
        assert_eq!(check(&plan, &|_| {}, &no_bash), said("executable"));
        let moved = Plan { cwd: Some("/link".into()), ..plan.clone() };
        assert_eq!(check(&moved, &|_| {}, &disk), said("cwd"));
        // A plan from somewhere else that says nothing of the script.
        let bare = Plan { mutable_file_operand: None, ..plan.clone() };
        assert_eq!(check(&bare, &|_| {}, &disk), said("script operand"));
        let other: [&dyn Fn(&mut Run); 2] =
            [&|run| run.asked.argv.push("more".into()), &|run| run.asked.cwd = None];
        for change in other {
            let got = check(&plan, change, &disk).unwrap_err();
            assert_eq!(got, "Error: INVALID_REQUEST: command does not match systemRunPlan");
        }
    }
}
