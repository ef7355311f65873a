//! `clawgate config`: reads and changes the configuration file, without a gateway.

mod path;
mod validate;
mod value;

use super::{Failure, print, print_json, render};
use crate::config::live::{self, Read};
use crate::config::open::{Surroundings, surroundings};
use crate::config::own::{self, ProxyProof};
use crate::config::start::Flags;
use crate::config::startable::{Beside, Startable};
use crate::config::write::{self, ConfigPut};
use crate::environment::Environment;
use crate::instances;
use crate::log::wall_ms;
use crate::storage::{Held, PutFault, RealDisk, Storage};
use clap::Subcommand;
use clawgate_config::include::has_include;
use clawgate_config::reload::Reload;
use clawgate_config::schema::Schema;
use clawgate_config::service::{self, Edited, Loaded};
use clawgate_config::{Node, redact};
use clawgate_proto::host::config::{ConfigFault, Issue};
use path::{make_lists, names, no_such_item};
use serde_json::json;
use std::fmt;
use std::path::PathBuf;

/// `clawgate config`. `Debug` shows no value.
#[derive(Clone, Subcommand)]
pub enum ConfigCommand {
    /// Show a setting; secrets are not shown
    #[command(
        after_help = "Examples:\n  clawgate config get gateway.port\n  clawgate config get gateway --json\n  clawgate config get agents.list[0].id"
    )]
    Get {
        /// Names with dots between them, such as gateway.auth.mode
        path: String,
        /// Print JSON for programs
        #[arg(long)]
        json: bool,
    },
    /// Change a setting; the old file is kept beside the new one with .bak at the end
    #[command(
        after_help = "Examples:\n  clawgate config set gateway.port 18790\n  clawgate config set gateway.bind lan\n  clawgate config set gateway.trustedProxies '[\"10.0.0.0/8\"]'\n  clawgate config set gateway.auth.password < password-file"
    )]
    Set {
        /// Names with dots between them, such as gateway.auth.mode
        path: String,
        /// JSON5, or a text; without one it is read from standard input, where other users cannot see it, and where a
        /// setting is a text or a secret it is taken as it is
        #[arg(allow_hyphen_values = true)]
        value: Option<String>,
        /// The value must be JSON5; it is no text because it is nothing else
        #[arg(long)]
        strict_json: bool,
        /// Print JSON for programs; the value must be JSON5, as with --strict-json
        #[arg(long)]
        json: bool,
    },
    /// Remove a setting
    #[command(after_help = "Example:\n  clawgate config unset gateway.port")]
    Unset {
        /// Names with dots between them, such as gateway.auth.mode
        path: String,
        /// Print JSON for programs
        #[arg(long)]
        json: bool,
    },
    /// Check the file without starting anything; exit code 1 when a gateway could not use it
    Validate {
        /// Print JSON for programs
        #[arg(long)]
        json: bool,
    },
    /// Show where the file is
    File {
        /// Print JSON for programs
        #[arg(long)]
        json: bool,
    },
}

impl fmt::Debug for ConfigCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, path) = match self {
            Self::Get { path, .. } => ("Get", path.as_str()),
            Self::Set { path, .. } => ("Set", path.as_str()),
            Self::Unset { path, .. } => ("Unset", path.as_str()),
            Self::Validate { .. } => ("Validate", ""),
            Self::File { .. } => ("File", ""),
        };
        f.debug_struct(name).field("path", &path).finish_non_exhaustive()
    }
}

impl ConfigCommand {
    /// Whether programs read what is printed.
    pub fn json(&self) -> bool {
        match self {
            Self::Get { json, .. }
            | Self::Set { json, .. }
            | Self::Unset { json, .. }
            | Self::Validate { json }
            | Self::File { json } => *json,
        }
    }
}

/// Does it.
///
/// # Errors
/// There is no such setting, the value is refused, or the file cannot be read or written.
pub fn run(command: &ConfigCommand, environment: &Environment) -> Result<(), Failure> {
    let storage = Storage::on_disk();
    let open = || File::open(&storage, environment, false);
    let hold = || File::open(&storage, environment, true);
    match command {
        ConfigCommand::Get { path, json } => open()?.get(path, *json),
        ConfigCommand::Set { path, value, strict_json, json } => {
            // Before the file is held: whoever types the value may take long.
            let value = value::of(path, value.as_deref(), *strict_json || *json)?;
            hold()?.set(path, value, *json)
        }
        ConfigCommand::Unset { path, json } => hold()?.unset(path, *json),
        ConfigCommand::Validate { json } => open()?.validate(*json),
        ConfigCommand::File { json } => {
            let path = open()?.path.display().to_string();
            if *json { print_json(&json!({"path": path})) } else { print(&format!("{path}\n")) }
        }
    }
}

/// The file as it is now.
struct File<'s> {
    storage: &'s Storage<RealDisk>,
    /// While it is to be changed: nobody of ours changes it meanwhile.
    held: Option<Held<'s, RealDisk>>,
    path: PathBuf,
    /// `clawgate.json` beside it.
    own: PathBuf,
    state_dir: PathBuf,
    environment: Environment,
    found: Read,
    loaded: Loaded,
}

impl<'s> File<'s> {
    fn open(
        storage: &'s Storage<RealDisk>,
        environment: &Environment,
        is_to_change: bool,
    ) -> Result<Self, Failure> {
        let Surroundings { places, environment } =
            surroundings(storage, environment).map_err(Failure::Failed)?;
        let own = places.own_config();
        // A link stays a link: what it points at is read and written.
        let path = std::fs::canonicalize(&places.config).unwrap_or(places.config);
        let held = is_to_change.then(|| storage.hold(&path)).transpose().map_err(Failure::Failed)?;
        let found = live::read(storage, &path).map_err(Failure::Failed)?;
        let loaded =
            live::with_context(&path, &environment, |context| Loaded::read(found.as_option(), context));
        Ok(Self { storage, held, path, own, state_dir: places.state_dir, environment, found, loaded })
    }

    fn get(&self, path: &str, json: bool) -> Result<(), Failure> {
        let names = names(path)?;
        if !self.loaded.is_valid() {
            return Err(self.invalid());
        }
        let config = self.loaded.shown_config();
        let value = config.at(&names).ok_or_else(|| not_found(path))?;
        print(&match value.as_text().filter(|_| !json) {
            Some(text) => format!("{}\n", render::clean(text)),
            None => value.render(),
        })
    }

    fn set(&self, path: &str, value: Node, json: bool) -> Result<(), Failure> {
        let names = names(path)?;
        let mut new = self.base(&names);
        let stored = new.clone();
        let schema = Schema::load();
        make_lists(&mut new, path, &schema)?;
        new.put(&names, value)
            .map_err(|part| no_such_item(&new, path, names.get(..part).unwrap_or_default()))?;
        redact::restore(&schema, &mut new, &stored, &self.loaded.secrets).map_err(Failure::Failed)?;
        if !self.loaded.exists && new.at(&["gateway", "mode"]).is_none() {
            // As the first start of a gateway would write it.
            let _ = new.put(&["gateway", "mode"], Node::Text("local".to_owned()));
        }
        self.write(new, path, &names, "Updated", json)
    }

    fn unset(&self, path: &str, json: bool) -> Result<(), Failure> {
        let names = names(path)?;
        let mut new = self.base(&names);
        new.take(&names).ok_or_else(|| not_found(path))?;
        self.write(new, path, &names, "Removed", json)
    }

    /// What a change at this path is made on: the file as it is written, or, inside of what an included file brings,
    /// with it.
    fn base(&self, names: &[&str]) -> Node {
        let written = &self.loaded.written;
        let is_included = (0..=names.len())
            .any(|end| written.at(&names[..end]).is_some_and(|node| node.get("$include").is_some()));
        let is_above = written.at(names).is_some_and(has_include);
        if is_included && !is_above { self.loaded.source.clone() } else { written.clone() }
    }

    fn write(&self, new: Node, path: &str, names: &[&str], done: &str, json: bool) -> Result<(), Failure> {
        let finish = |context: &service::Context<'_>| service::finish(new, &self.loaded, context);
        let Edited { text, loaded, .. } =
            live::with_context(&self.path, &self.environment, finish).map_err(refused)?;
        let note = self.for_a_start(&loaded)?;
        let put = ConfigPut {
            path: &self.path,
            old: self.found.content.as_ref().map(|(text, mark)| (text.as_slice(), *mark)),
            new: &text,
            state_dir: &self.state_dir,
            wall_ms: wall_ms(),
            by: "clawgate config",
        };
        let held = self.held.as_ref().expect("a file is held before it is changed");
        write::put(self.storage, held, &put).map_err(|fault| {
            Failure::Failed(match fault {
                PutFault::Conflict(path) => {
                    format!(
                        "{} was changed by somebody else at this very moment; nothing was written",
                        path.display()
                    )
                }
                PutFault::Failed(why) => why,
            })
        })?;
        let reload = Reload::of(&names.join("."));
        if json {
            let mut shown = json!({"ok": true, "path": path, "file": self.path.display().to_string(), "reload": reload.as_str()});
            if let Some(note) = note {
                shown["note"] = json!(note);
            }
            return print_json(&shown);
        }
        let then = match reload {
            Reload::Hot => " A running gateway takes it over at once.",
            Reload::Restart => {
                " A running gateway restarts by itself for it, unless gateway.reload.mode is off or hot."
            }
            Reload::None => "",
        };
        let note = note.map(|note| format!("{}\n", clean_lines(&note))).unwrap_or_default();
        print(&format!("{done} {path}.{then}\n{note}"))
    }

    /// Whether a gateway starts with what is to be written, and what its person should know when none does. A file that
    /// no gateway starts with already may be changed, as far as that gets.
    ///
    /// # Errors
    /// One starts now (or would write a file of its own), and none would any more.
    fn for_a_start(&self, new: &Loaded) -> Result<Option<String>, Failure> {
        let why = match self.startable(new, true) {
            Ok(startable) => return Ok(self.note_of_a_port(&startable)),
            Err(why) => why,
        };
        if new.resolved.at(&["gateway", "mode"]).and_then(Node::as_text) == Some("remote") {
            let note =
                "gateway.mode is remote: this is the file of a client now, and no gateway starts with it";
            return Ok(Some(note.to_owned()));
        }
        if self.startable(&self.loaded, self.loaded.exists).is_err() {
            return Ok(Some(format!("No gateway starts with this file yet: {why}")));
        }
        Err(Failure::Failed(format!(
            "No gateway would start with that: {}\nNothing was written. What belongs together can be set in one go, as one \
             value of gateway.auth, or of gateway.",
            clean_lines(&why)
        )))
    }

    /// What to say of a port that somebody else has: that may change until a gateway starts. One that runs with this
    /// file may be the one who has it.
    fn note_of_a_port(&self, startable: &Startable) -> Option<String> {
        let why = startable.is_free(&[]).err()?;
        let running = instances::others(&self.environment);
        let same = |config: &str| std::fs::canonicalize(config).is_ok_and(|config| config == self.path);
        let is_ours = running.iter().any(|other| other.config.as_deref().is_some_and(same));
        (!is_ours).then(|| format!("A gateway could not start with this file now: {why}"))
    }

    /// What a start without flags would say to this document.
    fn startable(&self, loaded: &Loaded, is_there: bool) -> Result<Startable, String> {
        let mut environment = self.environment.clone();
        environment.complete(service::variables_of(&loaded.source));
        // Where that file cannot be read from here, it is not judged here.
        let unknown = || ProxyProof { trusts_loopback: true, ..ProxyProof::default() };
        let own = own::read(self.storage, &self.own, &environment);
        let proxy = own.map_or_else(|_| unknown(), |own| own.proxy);
        let flags = Flags { proxy, ..Flags::default() };
        let beside = Beside { path: &self.path, flags: &flags, port: None, environment: &self.environment };
        Startable::judge(&beside, is_there, loaded)
    }

    fn invalid(&self) -> Failure {
        self.invalid_with(&self.loaded.issues)
    }

    fn invalid_with(&self, issues: &[Issue]) -> Failure {
        let mut text = format!("Config invalid: {}", self.path.display());
        for issue in issues {
            text.push_str(&format!("\n- {}", render::clean(&issue.to_string())));
        }
        Failure::Failed(text)
    }
}

/// Each line without what a terminal would obey.
fn clean_lines(text: &str) -> String {
    text.lines().map(render::clean).collect::<Vec<_>>().join("\n")
}

fn not_found(path: &str) -> Failure {
    Failure::Failed(format!("Config path not found: {path}"))
}

fn refused(fault: ConfigFault) -> Failure {
    Failure::Failed(match fault {
        ConfigFault::Invalid { message, issues } if issues.is_empty() => message,
        ConfigFault::Invalid { issues, .. } => {
            let issues: Vec<String> = issues.iter().map(|issue| render::clean(&issue.to_string())).collect();
            format!("Config validation failed: {}\nNothing was written.", issues.join("\n  "))
        }
        ConfigFault::Failed(why) => why,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::fs;

    fn run_in(folder: &Folder, command: &ConfigCommand) -> Result<(), Failure> {
        run(
            command,
            &Environment::new([("OPENCLAW_STATE_DIR", folder.path().to_str().unwrap()), ("X", "from-env")]),
        )
    }

    fn set(folder: &Folder, path: &str, value: &str) -> Result<(), Failure> {
        let (path, value) = (path.to_owned(), Some(value.to_owned()));
        run_in(folder, &ConfigCommand::Set { path, value, strict_json: false, json: false })
    }

    fn unset(folder: &Folder, path: &str) -> Result<(), Failure> {
        run_in(folder, &ConfigCommand::Unset { path: path.to_owned(), json: false })
    }

    fn content(folder: &Folder) -> Node {
        let text = fs::read_to_string(folder.path().join("openclaw.json")).unwrap();
        let mut node = Node::parse(&text).unwrap();
        node.take(&["meta"]);
        node
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        let folder = Folder::new();
        set(&folder, "gateway.mode", "local").unwrap();
        for (path, value) in [
            ("gateway.auth.token=hunter22", "x"),
            ("gateway.auth.token = hunter22..", "x"),
            ("gateway.auth.mode", "hunter22"),
            ("gateway.auth", "{mode: 'hunter22'}"),
            ("gateway.auth", "hunter22"),
            ("gateway.bind", "hunter22"),
            ("gateway.auth.token", "{source: 'env', id: 'hunter22'}"),
            ("gateway.auth.token", "{source: 'file', provider: 'hunter22', id: 'x'}"),
            ("gateway.auth.token", "{source: 'hunter22', id: 'x'}"),
        ] {
            let why = set(&folder, path, value).unwrap_err().message();
            assert!(!why.contains("hunter22"), "{path} {value}: {why}");
        }
        let why = set(&folder, "gateway.auth.token=x", "y").unwrap_err();
        assert_eq!(
            why.message(),
            "gateway.auth.token and its value stand apart: clawgate config set PATH VALUE"
        );
        assert_eq!(why.exit_code(), 2);
    }

    #[test]
    fn settings_are_set_and_removed_and_the_rest_stays() {
        let folder = Folder::new();
        set(&folder, "gateway.mode", "local").unwrap();
        fs::write(
            folder.path().join("openclaw.json"),
            "// mine\n{channels: {x: 1}, gateway: {auth: {token: '${X}'}}, agents: {list: [{id: 'a'}]}}",
        )
        .unwrap();
        set(&folder, "gateway.port", "18790").unwrap();
        set(&folder, "gateway.bind", "lan").unwrap();
        set(&folder, "agents.list[0].name", "Ann").unwrap();
        set(&folder, "agents.list[1]", "{id: 'b'}").unwrap();
        unset(&folder, "channels.x").unwrap();
        let want = r#"{"channels":{},"gateway":{"auth":{"token":"${X}"},"port":18790,"bind":"lan"},"agents":{"list":[{"id":"a","name":"Ann"},{"id":"b"}]}}"#;
        assert_eq!(content(&folder).to_json(), want);
        assert!(folder.path().join("openclaw.json.bak.3").exists());
    }

    #[test]
    fn a_list_begins_with_its_first_item_and_grows_by_the_next() {
        let folder = Folder::new();
        let list = |folder: &Folder| content(folder).at(&["agents", "list"]).map(Node::to_json);
        for (path, value, want) in [
            (
                "agents.list[1].id",
                "b",
                Err("a list of 0, numbered from 0; the next one to add is agents.list[0]"),
            ),
            (
                "agents.list[x]",
                "b",
                Err("a list of 0, numbered from 0; the next one to add is agents.list[0]"),
            ),
            ("agents.list[0].id", "a", Ok(r#"[{"id":"a"}]"#)),
            ("agents.list.1", "{id: 'b'}", Ok(r#"[{"id":"a"},{"id":"b"}]"#)),
            (
                "agents.list[3]",
                "{id: 'd'}",
                Err("a list of 2, numbered from 0; the next one to add is agents.list[2]"),
            ),
            (
                "agents.list.x",
                "{id: 'd'}",
                Err("a list of 2, numbered from 0; the next one to add is agents.list[2]"),
            ),
            ("gateway.trustedProxies.0", "10.0.0.1", Ok(r#"[{"id":"a"},{"id":"b"}]"#)),
        ] {
            match (set(&folder, path, value), want) {
                (Ok(()), Ok(want)) => assert_eq!(list(&folder).as_deref(), Some(want), "{path}"),
                (Err(fault), Err(want)) => {
                    assert!(fault.message().ends_with(want), "{path}: {}", fault.message())
                }
                (Ok(()), Err(_)) => panic!("{path} is taken"),
                (Err(fault), Ok(_)) => panic!("{path}: {}", fault.message()),
            }
        }
        // Lists within what is not there either, and names that look like numbers.
        set(&folder, "channels.talk.rooms[0].people[0]", "ann").unwrap();
        set(&folder, "channels.talk.guilds.4711.name", "g").unwrap();
        set(&folder, "env.vars[1]", "x").unwrap();
        let node = content(&folder);
        let at = |path: &[&str]| node.at(path).map(Node::to_json);
        assert_eq!(at(&["channels", "talk", "rooms"]).as_deref(), Some(r#"[{"people":["ann"]}]"#));
        assert_eq!(at(&["channels", "talk", "guilds"]).as_deref(), Some(r#"{"4711":{"name":"g"}}"#));
        assert_eq!(at(&["env", "vars"]).as_deref(), Some(r#"{"1":"x"}"#));
        assert_eq!(at(&["gateway", "trustedProxies"]).as_deref(), Some(r#"["10.0.0.1"]"#));
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_is_written() {
        let folder = Folder::new();
        let text = "{gateway: {mode: 'local', auth: {token: 'hunter22'}}}";
        fs::write(folder.path().join("openclaw.json"), text).unwrap();
        for (fault, want) in [
            (
                set(&folder, "gateway.port", "abc"),
                "Config validation failed: gateway.port: found a text, expected a whole",
            ),
            (
                set(&folder, "gateway.bogus", "5"),
                "Config validation failed: gateway: Unrecognized key: \"bogus\"",
            ),
            (set(&folder, "gateway.mode", redact::REDACTED), "Sentinel value"),
            (unset(&folder, "gateway.nope"), "Config path not found: gateway.nope"),
            (set(&folder, "gateway..port", "1"), "\"gateway..port\" is no path"),
            (set(&folder, "agents.list[x", "1"), "\"agents.list[x\" is no path"),
        ] {
            let fault = fault.unwrap_err();
            assert!(fault.message().starts_with(want), "{}", fault.message());
        }
        assert_eq!(fs::read_to_string(folder.path().join("openclaw.json")).unwrap(), text);
        // What `config get` showed changes nothing.
        set(&folder, "gateway.auth.token", redact::REDACTED).unwrap();
        assert_eq!(content(&folder).to_json(), r#"{"gateway":{"mode":"local","auth":{"token":"hunter22"}}}"#);
    }

    #[test]
    fn a_broken_file_can_be_mended_and_not_read() {
        let folder = Folder::new();
        fs::write(folder.path().join("openclaw.json"), "{gateway: {mode: 'local', prot: 5}}").unwrap();
        let get = ConfigCommand::Get { path: "gateway.mode".into(), json: false };
        let fault = run_in(&folder, &get).unwrap_err().message();
        assert!(fault.contains("- gateway: Unrecognized key: \"prot\"; did you mean \"port\"?"), "{fault}");
        assert!(run_in(&folder, &ConfigCommand::Validate { json: false }).is_err());
        unset(&folder, "gateway.prot").unwrap();
        run_in(&folder, &ConfigCommand::Validate { json: false }).unwrap();
        run_in(&folder, &get).unwrap();
        fs::write(folder.path().join("openclaw.json"), "{gateway: {mode: 'local', tls: {enabled: true}}}")
            .unwrap();
        let valid = run_in(&folder, &ConfigCommand::Validate { json: false }).map_err(|why| why.message());
        assert_eq!(valid.is_ok(), cfg!(feature = "tls"), "{valid:?}");
    }

    #[test]
    fn what_no_gateway_starts_with_is_not_written() {
        let folder = Folder::new();
        set(&folder, "gateway.port", "18790").unwrap();
        assert_eq!(
            content(&folder).to_json(),
            r#"{"gateway":{"port":18790,"mode":"local"}}"#,
            "a new file is a gateway's"
        );
        let before = fs::read_to_string(folder.path().join("openclaw.json")).unwrap();
        for (fault, want) in [
            (
                set(&folder, "gateway.auth.mode", "password"),
                "Gateway auth is set to password, but no password",
            ),
            (
                set(&folder, "gateway.auth.mode", "trusted-proxy"),
                "gateway auth mode is trusted-proxy, but no trustedProxy config was provided",
            ),
            (
                set(&folder, "gateway.auth", "{token: 'a', password: 'b'}"),
                "Invalid config: gateway.auth.token and",
            ),
            (set(&folder, "gateway.bind", "custom"), "gateway.bind=custom requires gateway.customBindHost"),
            (
                unset(&folder, "gateway.mode"),
                "Gateway start blocked: set gateway.mode=local (current: unset)",
            ),
        ] {
            let fault = fault.unwrap_err();
            let said = fault.message();
            let rest =
                said.strip_prefix("No gateway would start with that: ").unwrap_or_else(|| panic!("{said}"));
            assert!(rest.starts_with(want) && rest.contains("\nNothing was written."), "{said}");
            assert_eq!(fault.exit_code(), 1);
        }
        assert_eq!(fs::read_to_string(folder.path().join("openclaw.json")).unwrap(), before);
        // Together they are fine, and so is what a client wants.
        set(&folder, "gateway.auth", "{mode: 'password', password: 'b'}").unwrap();
        set(&folder, "gateway.mode", "remote").unwrap();
        set(&folder, "gateway.auth.mode", "none").unwrap();
        // Step by step out of what no gateway starts with.
        fs::write(folder.path().join("openclaw.json"), "{gateway: {bind: 'lan', auth: {mode: 'none'}}}")
            .unwrap();
        set(&folder, "gateway.port", "5").unwrap();
        set(&folder, "gateway.mode", "local").unwrap();
        set(&folder, "gateway.bind", "loopback").unwrap();
        assert!(set(&folder, "gateway.bind", "lan").is_err());
    }

    #[test]
    fn debug_shows_no_value() {
        let set = ConfigCommand::Set {
            path: "p".into(),
            value: Some("hidden".into()),
            strict_json: false,
            json: false,
        };
        assert!(!format!("{set:?}").contains("hidden"));
    }
}
