//! What an approval is given for: `system.run.prepare` resolves a command, and whoever approves sees exactly that.
//! `system.run` looks again before it starts: the program, the folder and the files behind a plan must still be what
//! they were (spec: nodes sections 6, 10 and 11). What was there travels in the plan itself, under a seal that only this
//! process can make: a plan that somebody else wrote, or that is from before a restart, is known as such. Decisions
//! only; `Files` looks.

use super::argv::{self, Kind, Operand};
use super::invoke::{Fault, Prepare, Run};
use super::policy::Executable;
use super::{BOUND_BYTES_MAX, BOUND_FILES_MAX};
use clawgate_proto::secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the file system says. A relative path is below `cwd`, or below the node host's own folder; `~/` is
/// the home folder.
pub trait Files {
    /// The program of this name or path.
    fn program(&self, name: &str, cwd: Option<&str>) -> Option<Executable>;
    /// The path without links, if it is a folder.
    fn folder(&self, path: &str) -> Option<String>;
    /// What tells an ordinary file from every other content of it. `left` is how many bytes may still be read for that;
    /// what is read is taken off.
    fn stamp(&self, path: &str, cwd: Option<&str>, left: &mut u64) -> Option<Stamp>;
}

/// An ordinary file as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its path without links.
    pub real: String,
    /// Changes when the content does: a digest, or for a large file which one it is, its size and its times.
    pub mark: String,
    /// Whether it may be started.
    pub is_executable: bool,
    /// What stands behind `#!` in its first line; none when it is no script.
    pub shebang: Option<String>,
}

/// Makes and knows the seals of one process. It is a secret: there is no `Debug`.
#[derive(Clone)]
pub struct Seal([u8; 32]);

impl Seal {
    /// With 32 random bytes that nobody else has.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// 32 lower-case hex digits that only this key gives for these parts, in this order.
    fn of(&self, parts: &[&str]) -> String {
        let mut inner = Sha256::new();
        for part in parts {
            inner.update(part.len().to_be_bytes());
            inner.update(part);
        }
        // What is hashed with the key always has one length, so that nobody can make it longer.
        let outer = Sha256::new().chain_update(self.0).chain_update(inner.finalize()).finalize();
        let mut hex = String::with_capacity(32);
        for byte in &outer[..16] {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
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
    /// What it runs, and the seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutable_file_operand: Option<Held>,
}

/// The file that a command is about: the script, else the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Which argument names it.
    pub argv_index: usize,
    /// Its path without links.
    pub path: String,
    /// Two seals of 32 hex digits: of what the plan says, and of that with every file that it holds for.
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
    pub fn make(asked: &Prepare, seal: &Seal, files: &dyn Files) -> Result<Self, Fault> {
        let cwd = match &asked.cwd {
            None => None,
            Some(cwd) => Some(files.folder(cwd).ok_or_else(|| denied("the cwd is no folder on this node"))?),
        };
        let program = files.program(&asked.argv[0], cwd.as_deref());
        let program = program.ok_or_else(|| denied("there is no such program on this node"))?;
        check_short(asked, &program)?;
        let mut argv = asked.argv.clone();
        argv[0].clone_from(&program.found);
        let files = held(&argv, cwd.as_deref(), &program, files)?;
        let command_text = argv::text(&argv);
        let preview = argv::plain_script(&argv)
            .filter(|preview| *preview != command_text && argv::is_system_shell(&program));
        let mut plan = Self {
            command_preview: preview.map(str::to_owned),
            command_text,
            argv,
            cwd,
            agent_id: asked.agent_id.clone(),
            session_key: asked.session_key.clone(),
            mutable_file_operand: None,
        };
        let said = plan.sealed(seal);
        let mut parts = vec![said.as_str()];
        parts.extend(files.marks.iter().flat_map(|(real, mark)| [real.as_str(), mark.as_str()]));
        let sha256 = format!("{said}{}", seal.of(&parts));
        plan.mutable_file_operand = Some(Held { argv_index: files.about, path: files.path, sha256 });
        Ok(plan)
    }

    /// Whether a run is what was approved, and the machine still what it was.
    ///
    /// # Errors
    /// It is not; with what changed.
    pub fn check(&self, run: &Run, seal: &Seal, files: &dyn Files) -> Result<(), Fault> {
        let Prepare { argv, cwd, agent_id, .. } = &run.asked;
        if (argv, cwd, agent_id) != (&self.argv, &self.cwd, &self.agent_id) {
            return Err(Fault::invalid("command does not match systemRunPlan"));
        }
        let said = self.sealed(seal);
        let is_ours = |held: &&Held| held.sha256.get(..32).is_some_and(|shown| secret::same(shown, &said));
        let Some(held) = self.mutable_file_operand.as_ref().filter(is_ours) else {
            return Err(denied(
                "approval plan unknown: this node host did not make it, or not since it started; ask again",
            ));
        };
        if let Some(cwd) = &self.cwd
            && files.folder(cwd).as_ref() != Some(cwd)
        {
            return Err(denied("approval cwd changed before execution"));
        }
        let now = files.program(&self.argv[0], self.cwd.as_deref());
        if now.is_none_or(|now| now.found != self.argv[0]) {
            return Err(denied("approval executable changed before execution"));
        }
        let asked = Prepare { is_short: false, ..run.asked.clone() };
        let again = Self::make(&asked, seal, files).ok().and_then(|plan| plan.mutable_file_operand);
        if !again.is_some_and(|again| secret::same(&again.sha256, &held.sha256)) {
            return Err(denied(
                "approval script operand changed before execution: the program, or a file that the command names, is \
                 not what it was; ask again",
            ));
        }
        Ok(())
    }

    /// The seal of what people are shown and what would run.
    fn sealed(&self, seal: &Seal) -> String {
        let or =
            |text: &Option<String>| text.as_ref().map_or_else(|| "-".to_owned(), |text| format!("+{text}"));
        let [cwd, preview, agent] = [&self.cwd, &self.command_preview, &self.agent_id].map(or);
        let mut parts = vec!["plan", &cwd, &self.command_text, &preview, &agent];
        parts.extend(self.argv.iter().map(String::as_str));
        seal.of(&parts)
    }
}

/// A command may be called by its script alone only where a shell of the system runs it.
///
/// # Errors
/// Another program would.
pub fn check_short(asked: &Prepare, program: &Executable) -> Result<(), Fault> {
    match asked.is_short && !argv::is_system_shell(program) {
        true => Err(Fault::invalid(
            "rawCommand does not match command: it leaves out a program that is no shell of the system",
        )),
        false => Ok(()),
    }
}

/// What an approval holds for.
struct Bound {
    /// The argument that the command is about.
    about: usize,
    /// Its path.
    path: String,
    /// Every file, and what tells its content.
    marks: BTreeMap<String, String>,
}

/// The program, and every ordinary file that a command names. Behind a shell, a launcher or an interpreter also those that
/// words within its arguments name, and programs by their names: any of them may be what is started.
fn held(argv: &[String], cwd: Option<&str>, program: &Executable, files: &dyn Files) -> Result<Bound, Fault> {
    let unknown =
        || denied("approval cannot safely bind this interpreter or runtime command; name the script first");
    let kinds = [&program.found, &program.real].map(|path| Kind::of(path));
    let is_ordinary = kinds == [Kind::Ordinary; 2];
    let mut left = BOUND_BYTES_MAX;
    let mut bound = Bound { about: 0, path: program.real.clone(), marks: BTreeMap::new() };
    let mut todo: Vec<(String, Why)> = vec![(program.found.clone(), Why::Runs)];
    if let Some(script) = script(argv)? {
        bound.about = script;
        bound.path = files.stamp(&argv[script], cwd, &mut left).ok_or_else(unknown)?.real;
        todo.push((argv[script].clone(), Why::Runs));
    }
    let mut named: Vec<String> = Vec::new();
    for arg in &argv[1..] {
        let arg = &arg.replace("${HOME}", "~").replace("$HOME", "~");
        named.extend(names(arg).map(str::to_owned));
        if !is_ordinary {
            named.extend(words(arg).map(str::to_owned));
            unquoted(arg, NESTED_MAX, &mut named);
        }
    }
    named.sort_unstable();
    named.dedup();
    if named.len() > WORDS_MAX {
        return Err(denied(&format!(
            "approval cannot hold for a command of more than {WORDS_MAX} words: put it into a script"
        )));
    }
    let places = if is_ordinary { vec![cwd.map(str::to_owned)] } else { places(cwd, &named, files)? };
    todo.extend(named.into_iter().map(|word| (word, Why::Named)));
    // A stack: what scripts name in their first lines comes on top.
    while let Some((name, why)) = todo.pop() {
        let found = match is_ordinary && why == Why::Named || name.contains('/') {
            true => None,
            false => files.program(&name, cwd).map(|program| program.real),
        };
        let is_anywhere = |path: &str| !path.starts_with(['/', '~']);
        let from = |path: String| {
            let count = if is_anywhere(&path) { places.len() } else { 1 };
            places[..count].iter().map(move |place| (path.clone(), place.as_deref()))
        };
        for (path, place) in [Some(name), found].into_iter().flatten().flat_map(from) {
            let Some(stamp) = files.stamp(&path, place, &mut left) else { continue };
            let is_alive = LIVING.iter().any(|place| stamp.real.starts_with(place)) && !stamp.is_executable;
            if is_alive && why == Why::Named || bound.marks.contains_key(&stamp.real) {
                continue;
            }
            if bound.marks.len() == BOUND_FILES_MAX {
                return Err(denied(&format!(
                    "approval cannot hold for more than {BOUND_FILES_MAX} files, and the command names more: put it into a \
                     script"
                )));
            }
            let line = stamp.shebang.as_deref().unwrap_or_default();
            todo.extend(line.split_whitespace().map(|word| (word.to_owned(), Why::Runs)));
            bound.marks.insert(stamp.real, stamp.mark);
        }
    }
    // The file behind the program's name, and the name too.
    bound.marks.insert(format!("program {}", program.found), program.real.clone());
    Ok(bound)
}

/// How a file is part of a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It is started, or read by what is.
    Runs,
    /// It may be.
    Named,
}

/// What of an argument may name a file: all of it, the value of `--name=value`, and that of `-nvalue`.
fn names(arg: &str) -> impl Iterator<Item = &str> {
    let value = arg.split_once('=').map(|(_, value)| value);
    let short = arg.strip_prefix('-').filter(|rest| !rest.starts_with('-')).and_then(|rest| {
        let mut rest = rest.chars();
        rest.next().map(|_| rest.as_str())
    });
    [Some(arg), value, short].into_iter().flatten().filter(|name| !name.is_empty())
}

/// The words in a text of commands.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_between = |c: char| c.is_whitespace() || "\"'`;|&()<>{}[]$=,\\".contains(c);
    text.split(is_between).filter(|word| !word.is_empty())
}

/// The words in a text of commands as a shell takes them, and those in these, since a word may be a text of commands too.
fn unquoted(text: &str, depth: usize, words: &mut Vec<String>) {
    // The pieces of a list of folders, and the value of a variable, are words; a name may also hold such a sign.
    for cuts in ["=:{}", ""] {
        for word in shell_words(text, cuts) {
            if depth > 0 && word != text {
                unquoted(&word, depth - 1, words);
            }
            words.push(word);
        }
    }
}

/// The words in a text of commands: quoted ones are one, and what touches is one. `cuts` end one besides what does for a
/// shell.
fn shell_words(text: &str, cuts: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let is_end = quote.is_none() && (c.is_whitespace() || ";|&()<>`".contains(c) || cuts.contains(c));
        let Some(word) = words.last_mut() else { break };
        match (c, quote) {
            _ if is_end => words.push(String::new()),
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            // A line that goes on in the next.
            ('\\', None | Some('"')) => word.extend(chars.next().filter(|next| *next != '\n')),
            _ => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Where names may lead from: a command that starts others may first go where its words say, and on from there.
fn places(cwd: Option<&str>, words: &[String], files: &dyn Files) -> Result<Vec<Option<String>>, Fault> {
    let mut places = vec![cwd.map(str::to_owned)];
    let mut next = 0;
    while let Some(place) = places.get(next).cloned() {
        next += 1;
        for word in words {
            let Some(folder) = folder_below(word, place.as_deref(), files) else { continue };
            if places.contains(&Some(folder.clone())) {
                continue;
            }
            if places.len() == PLACES_MAX {
                return Err(denied(&format!(
                    "approval cannot hold for more than {PLACES_MAX} folders, and the command names more: put it into a \
                     script"
                )));
            }
            places.push(Some(folder));
        }
    }
    Ok(places)
}

/// The folder that a word names, seen from this place.
fn folder_below(word: &str, place: Option<&str>, files: &dyn Files) -> Option<String> {
    let is_whole = word.starts_with(['/', '~']);
    match place.filter(|_| !is_whole) {
        Some(place) => files.folder(&format!("{place}/{word}")),
        None => files.folder(word),
    }
}

/// The argument that names the script of an interpreter.
fn script(argv: &[String]) -> Result<Option<usize>, Fault> {
    let start = match Kind::of(&argv[0]) {
        Kind::Ordinary => return Ok(None),
        Kind::Shell | Kind::Interpreter(_) => 0,
        Kind::Launcher => match argv::launched(argv) {
            Some(at) => at,
            None => return Ok(None),
        },
    };
    match argv::operand(Kind::of(&argv[start]), &argv[start..]) {
        Operand::None | Operand::Inline(_) => Ok(None),
        Operand::File(at) => Ok(Some(start + at)),
        Operand::Unknown => Err(denied(
            "approval cannot safely bind this interpreter or runtime command; name the script first",
        )),
    }
}

fn denied(why: &str) -> Fault {
    Fault::unavailable(format!("SYSTEM_RUN_DENIED: {why}"))
}

/// Folders that one command may name, its own among them.
const PLACES_MAX: usize = 32;
/// Words of one command that may name a file.
const WORDS_MAX: usize = 4_096;
/// Texts of commands within texts of commands.
const NESTED_MAX: usize = 3;
/// Where files change by themselves, and are read all the time: an approval holds for what may be started there.
const LIVING: &[&str] = &["/proc/", "/sys/", "/var/log/"];

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
                ("/yard/x.sh", "#!/bin/sh\n1"),
                ("/yard/job.py", "1"),
            ]))
        }

        fn path(path: &str, cwd: Option<&str>) -> String {
            match (path.strip_prefix("./").unwrap_or(path), cwd) {
                (path, _) if path.starts_with('/') => path.to_owned(),
                (path, cwd) => format!("{}/{path}", cwd.unwrap_or("/yard")),
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
                "/link" => Some("/yard".to_owned()),
                "/yard/." => Some("/yard".to_owned()),
                "/yard" | "/" | "/yard/in" | "/yard/in/a b" => Some(path.to_owned()),
                _ => None,
            }
        }

        fn stamp(&self, path: &str, cwd: Option<&str>, _: &mut u64) -> Option<Stamp> {
            let real = Self::path(path, cwd);
            let content = self.0.get(real.as_str())?;
            let shebang = content.strip_prefix("#!").and_then(|text| text.lines().next());
            Some(Stamp {
                mark: (*content).to_owned(),
                is_executable: real.ends_with(".sh") || real.starts_with("/usr/bin/"),
                shebang: shebang.map(str::to_owned),
                real,
            })
        }
    }

    fn asked(line: &str, cwd: Option<&str>) -> Prepare {
        let argv = line.split(' ').map(str::to_owned).collect();
        Prepare { argv, cwd: cwd.map(str::to_owned), agent_id: Some("main".into()), ..Prepare::default() }
    }

    fn seal() -> Seal {
        Seal::new([1; 32])
    }

    fn run(plan: &Plan) -> Run {
        Run {
            asked: Prepare {
                argv: plan.argv.clone(),
                cwd: plan.cwd.clone(),
                agent_id: plan.agent_id.clone(),
                ..Prepare::default()
            },
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
        let plan = Plan::make(&asked("echo hi", None), &seal(), &Disk::new()).unwrap();
        let shown = serde_json::to_value(&plan).unwrap();
        assert_eq!(
            shown,
            json!({"argv": ["/usr/bin/echo", "hi"], "cwd": null, "commandText": "/usr/bin/echo hi",
                "commandPreview": null, "agentId": "main", "sessionKey": null, "mutableFileOperand": {
                    "argvIndex": 0, "path": "/usr/bin/echo",
                    "sha256": plan.mutable_file_operand.as_ref().unwrap().sha256}})
        );
        assert_eq!(Plan::parse(&shown), Some(plan));
        assert_eq!(Plan::parse(&json!({"argv": [], "commandText": ""})), None);
        let shell = Prepare { argv: ["bash", "-lc", "a | b"].map(str::to_owned).into(), ..asked("x", None) };
        let plan = Plan::make(&shell, &seal(), &Disk::new()).unwrap();
        assert_eq!(plan.command_preview.as_deref(), Some("a | b"));
    }

    /// Compatibility row node-plan.
    #[test]
    fn a_plan_names_program_folder_and_script_by_their_real_paths() {
        for (line, cwd, want) in [
            ("./x.sh", Some("/link"), Ok((Some("/yard"), Some((0, "/yard/x.sh"))))),
            ("bash x.sh", Some("/link"), Ok((Some("/yard"), Some((1, "/yard/x.sh"))))),
            ("bash -ex x.sh", None, Ok((None, Some((2, "/yard/x.sh"))))),
            ("nice python3 -u job.py", None, Ok((None, Some((3, "/yard/job.py"))))),
            ("nice echo job.py", None, Ok((None, Some((0, "/usr/bin/nice"))))),
            ("echo x.sh", None, Ok((None, Some((0, "/usr/bin/echo"))))),
            ("bash nothing.sh", None, Err("cannot safely bind")),
            ("python3 -m job", None, Err("cannot safely bind")),
            ("nothing", None, Err("no such program")),
            ("echo", Some("/nowhere"), Err("no folder")),
        ] {
            let made = Plan::make(&asked(line, cwd), &seal(), &Disk::new());
            match (made, want) {
                (Ok(plan), Ok((cwd, script))) => {
                    let got =
                        plan.mutable_file_operand.as_ref().map(|held| (held.argv_index, held.path.as_str()));
                    assert_eq!((plan.cwd.as_deref(), got), (cwd, script), "{line}");
                    assert_eq!(plan.check(&run(&plan), &seal(), &Disk::new()), Ok(()), "{line}");
                }
                (Err(fault), Err(why)) => assert!(fault.message.contains(why), "{line}: {fault:?}"),
                (made, want) => panic!("{line}: {made:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn what_changed_since_the_approval_does_not_run() {
        let disk = Disk::new();
        let plan = Plan::make(&asked("bash x.sh", Some("/yard")), &seal(), &disk).unwrap();
        let check = |plan: &Plan, change: &dyn Fn(&mut Run), disk: &Disk| {
            let mut run = run(plan);
            change(&mut run);
            plan.check(&run, &seal(), disk).map_err(|fault| fault.message).err().unwrap_or_default()
        };
        let changed = |path: &'static str, content: Option<&'static str>| {
            let mut disk = disk.clone();
            match content {
                Some(content) => disk.0.insert(path, content),
                None => disk.0.remove(path),
            };
            check(&plan, &|_| {}, &disk)
        };
        assert!(changed("/yard/x.sh", Some("#!/bin/sh\n2")).contains("script operand changed"));
        assert!(changed("/yard/x.sh", None).contains("script operand changed"));
        assert!(changed("/usr/bin/bash", Some("ELF2")).contains("script operand changed"));
        assert!(changed("/usr/bin/bash", None).contains("executable changed"));
        assert_eq!(changed("/yard/job.py", None), "", "the command does not name it");
        // A folder that is now a link, which the plan does not say: only a plan of ours gets so far.
        let mut moved = Plan { cwd: Some("/link".into()), mutable_file_operand: None, ..plan.clone() };
        let mut held = plan.mutable_file_operand.clone().unwrap();
        held.sha256.replace_range(..32, &moved.sealed(&seal()));
        moved.mutable_file_operand = Some(held);
        assert!(check(&moved, &|_| {}, &disk).contains("cwd changed"));
        let other: [&dyn Fn(&mut Run); 3] =
            [&|run| run.asked.argv.push("more".into()), &|run| run.asked.cwd = None, &|run| {
                run.asked.agent_id = Some("other".into())
            }];
        for change in other {
            let got = check(&plan, change, &disk);
            assert_eq!(got, "Error: INVALID_REQUEST: command does not match systemRunPlan");
        }
    }

    #[test]
    fn a_plan_holds_for_every_file_that_is_named_and_for_so_many() {
        let held = |line: &[&str], disk: &Disk| {
            let argv: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
            let program = disk.program(&argv[0], None).unwrap();
            held(&argv, Some("/yard"), &program, disk)
                .map(|bound| bound.marks.into_keys().collect::<Vec<_>>())
        };
        let mut disk = Disk::new();
        disk.0.extend([("/var/log/a", "1"), ("/var/log/b.sh", "1"), ("/usr/bin/sh", "ELF")]);
        disk.0.extend([("/yard/in/y.sh", "1"), ("/yard/in/a b/z.sh", "1"), ("/yard/in/c=d.sh", "1")]);
        for (line, want) in [
            (
                &["/usr/bin/echo", "--x=x.sh", "-fjob.py", "none"][..],
                &["/usr/bin/echo", "/yard/job.py", "/yard/x.sh"][..],
            ),
            // What a script names in its first line, once.
            (&["/yard/x.sh", "x.sh"], &["/yard/x.sh"]),
            // Only what may start something else finds programs by their names.
            (&["/usr/bin/echo", "python3"], &["/usr/bin/echo"]),
            (&["/usr/bin/nice", "python3"], &["/usr/bin/nice", "/usr/bin/python3"]),
            // As a shell takes words, and from wherever it goes first.
            (&["/usr/bin/bash", "-c", "cd in && ./y.sh"], &["/usr/bin/bash", "/yard/in/y.sh"]),
            (&["/usr/bin/bash", "-c", "cd /yard/in; bash y.sh"], &["/usr/bin/bash", "/yard/in/y.sh"]),
            (&["/usr/bin/bash", "-c", "'/yard/in/a b/z.sh'"], &["/usr/bin/bash", "/yard/in/a b/z.sh"]),
            (&["/usr/bin/bash", "-c", "/yard/in/y\"\".sh"], &["/usr/bin/bash", "/yard/in/y.sh"]),
            (&["/usr/bin/bash", "-c", "in/a\\ b/z.sh"], &["/usr/bin/bash", "/yard/in/a b/z.sh"]),
            (&["/usr/bin/bash", "-c", "cd in; cd 'a b'; ./z.sh"], &["/usr/bin/bash", "/yard/in/a b/z.sh"]),
            (
                &["/usr/bin/bash", "-c", "f(){ cd 'a b'; ./z.sh; }; cd in; f"],
                &["/usr/bin/bash", "/yard/in/a b/z.sh"],
            ),
            (
                &["/usr/bin/bash", "-c", "bash -c 'cd \"in/a b\" && ./z.sh'"],
                &["/usr/bin/bash", "/yard/in/a b/z.sh"],
            ),
            (&["/usr/bin/bash", "-c", "cd in && ./c=d.sh"], &["/usr/bin/bash", "/yard/in/c=d.sh"]),
            (&["/usr/bin/bash", "-c", "in/y.\\\nsh"], &["/usr/bin/bash", "/usr/bin/sh", "/yard/in/y.sh"]),
            (&["/usr/bin/bash", "-c", "PATH=/yard/in:$PATH y.sh"], &["/usr/bin/bash", "/yard/in/y.sh"]),
            (&["/usr/bin/nice", "--chdir=in", "./y.sh"], &["/usr/bin/nice", "/yard/in/y.sh"]),
            (&["/usr/bin/nice", "-C", "in", "./y.sh"], &["/usr/bin/nice", "/yard/in/y.sh"]),
            (
                &["/usr/bin/bash", "-c", "(echo hi;./x.sh>/dev/null)|'python3' job.py"],
                &["/usr/bin/bash", "/usr/bin/echo", "/usr/bin/python3", "/yard/job.py", "/yard/x.sh"],
            ),
            // A log may grow, unless it is what runs.
            (
                &["/usr/bin/bash", "-c", "echo /var/log/a; /var/log/b.sh"],
                &["/usr/bin/bash", "/usr/bin/echo", "/var/log/b.sh"],
            ),
            (&["/usr/bin/bash", "/var/log/a"], &["/usr/bin/bash", "/var/log/a"]),
        ] {
            let got = held(line, &disk).unwrap();
            assert_eq!(got[..got.len() - 1], *want, "{line:?}");
            assert_eq!(got.last(), Some(&format!("program {}", line[0])));
        }
        let names: Vec<&'static str> =
            (0..=BOUND_FILES_MAX).map(|n| &*Box::leak(format!("/yard/{n}").into_boxed_str())).collect();
        disk.0.extend(names.iter().map(|name| (*name, "1")));
        let line = [&["/usr/bin/echo"], &names[..]].concat();
        assert!(held(&line[..BOUND_FILES_MAX], &disk).is_ok());
        assert!(held(&line, &disk).unwrap_err().message.contains("more than 256 files"));
    }
}
