//! Whether a command may run: the file of exec approvals on this machine, read for one agent (spec: nodes section 11,
//! methods section 8). What the file does not say, the configuration does; what neither says is: only what is listed,
//! and ask about the rest. A word that is no policy counts as the strictest one.

use super::argv;
use serde_json::{Map, Value};

/// What may run without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Nothing, whoever approves.
    Deny,
    /// What is listed.
    Allowlist,
    /// Everything.
    Full,
}

/// When a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Never.
    Off,
    /// About what is not listed.
    OnMiss,
    /// About every command.
    Always,
}

/// The policy for one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What may run without a person.
    pub security: Security,
    /// When a person is asked.
    pub ask: Ask,
    /// Paths of programs, with `*`, `**` and `?`.
    pub allowlist: Vec<String>,
}

/// `tools.exec` of the configuration, for what the file leaves open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallback {
    /// `tools.exec.security`.
    pub security: Option<Value>,
    /// `tools.exec.ask`.
    pub ask: Option<Value>,
}

/// A program as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Its path: the folder without links, and the name it was called by.
    pub found: String,
    /// The file behind it.
    pub real: String,
}

/// What a person said about a command, as the gateway vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Nobody was asked.
    None,
    /// This once.
    Once,
    /// From now on.
    Always,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Run {
        /// The pattern to be added to the allowlist first.
        remember: Option<String>,
    },
    /// It does not.
    Denied {
        /// What the event `exec.denied` calls it.
        reason: &'static str,
        /// What the caller is told.
        message: String,
    },
}

impl Policy {
    /// Reads the policy for `agent` out of the file. Without a file: what `fallback` says.
    pub fn of(file: &Value, agent: &str, fallback: &Fallback) -> Self {
        let agents = &file["agents"];
        let places = [&agents[agent], &agents["*"], &file["defaults"]];
        let said = |name: &str, last: &Option<Value>| {
            let values = places.iter().map(|place| &place[name]).chain(last);
            values.into_iter().find(|value| !value.is_null()).cloned()
        };
        let security = match said("security", &fallback.security).as_ref().map(Value::as_str) {
            None | Some(Some("allowlist")) => Security::Allowlist,
            Some(Some("full")) => Security::Full,
            Some(_) => Security::Deny,
        };
        let ask = match said("ask", &fallback.ask).as_ref().map(Value::as_str) {
            None | Some(Some("on-miss")) => Ask::OnMiss,
            Some(Some("off")) => Ask::Off,
            Some(_) => Ask::Always,
        };
        let lists = places[..2].iter().filter_map(|place| place["allowlist"].as_array()).flatten();
        let patterns = lists.filter_map(|entry| entry["pattern"].as_str().or_else(|| entry.as_str()));
        Self { security, ask, allowlist: patterns.map(str::to_owned).collect() }
    }

    /// Decides about a command. `program` is absent when there is no such program; `folder` gives the folder of a path
    /// without links; `home` stands for `~`.
    pub fn judge(
        &self,
        argv: &[String],
        program: Option<&Executable>,
        approval: Approval,
        home: Option<&str>,
        folder: &dyn Fn(&str) -> Option<String>,
    ) -> Verdict {
        let listable = program.filter(|program| argv::is_listable(argv, &program.found, &program.real));
        let is_listed = listable.is_some_and(|program| {
            self.allowlist.iter().any(|pattern| is_match(pattern, &program.found, home, folder))
        });
        let miss = self.security == Security::Allowlist && !is_listed;
        let asks = match self.ask {
            Ask::Off => false,
            Ask::OnMiss => miss,
            Ask::Always => true,
        };
        if self.security == Security::Deny {
            return denied("security=deny", "SYSTEM_RUN_DISABLED: security=deny");
        }
        if asks && approval == Approval::None {
            return denied("approval-required", "SYSTEM_RUN_DENIED: approval required");
        }
        if miss && approval == Approval::None {
            let why = match (program, listable) {
                (None, _) => ": there is no such program on this node",
                (Some(_), None) => {
                    ": a shell, a launcher or inline code is on no allowlist, and needs an approval"
                }
                (Some(_), Some(_)) => "",
            };
            return denied("allowlist-miss", format!("SYSTEM_RUN_DENIED: allowlist miss{why}"));
        }
        let remember = listable.filter(|_| miss && approval == Approval::Always);
        Verdict::Run { remember: remember.map(|program| program.found.clone()) }
    }
}

/// The file with one more entry in the list of `agent`.
pub fn with_entry(file: &Value, agent: &str, pattern: &str, command: &str, now_ms: u64) -> Value {
    let mut file = file.clone();
    if !file.is_object() {
        file = Value::Object(Map::new());
    }
    let agents = child(&mut file, "agents", || Value::Object(Map::new()), Value::is_object);
    let agent = child(agents, agent, || Value::Object(Map::new()), Value::is_object);
    let list = child(agent, "allowlist", || Value::Array(Vec::new()), Value::is_array);
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|entry| entry["pattern"] == pattern)
    {
        list.push(serde_json::json!({
            "pattern": pattern, "lastUsedAt": now_ms, "lastUsedCommand": command, "lastResolvedPath": pattern,
        }));
    }
    file
}

fn child<'a>(
    parent: &'a mut Value,
    name: &str,
    empty: fn() -> Value,
    fits: fn(&Value) -> bool,
) -> &'a mut Value {
    if !parent.get(name).is_some_and(fits) {
        parent[name] = empty();
    }
    &mut parent[name]
}

fn denied(reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict::Denied { reason, message: message.into() }
}

/// Whether a pattern means this path. A pattern without a folder means nothing: a name can be anybody's program.
fn is_match(pattern: &str, path: &str, home: Option<&str>, folder: &dyn Fn(&str) -> Option<String>) -> bool {
    let pattern = match (pattern.trim().strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => format!("{}/{rest}", home.trim_end_matches('/')),
        (Some(_), None) => return false,
        (None, _) => pattern.trim().to_owned(),
    };
    if !pattern.starts_with('/') || pattern.split('/').any(|part| part == "..") {
        return false;
    }
    if pattern.contains(['*', '?']) {
        return is_glob_match(pattern.as_bytes(), path.as_bytes());
    }
    // The same program may be written through a link in its folder, such as /bin for /usr/bin. A link at the end is
    // not followed: it may be one name of a program that has many.
    let name = pattern.rsplit_once('/').map_or("", |(_, name)| name);
    let same = |folder: String| format!("{}/{name}", folder.trim_end_matches('/')) == path;
    pattern == path || (!name.is_empty() && folder(&pattern).is_some_and(same))
}

/// `?` is one character and `*` any number, within a folder; `**` crosses folders.
fn is_glob_match(pattern: &[u8], path: &[u8]) -> bool {
    // Where to go on when a star has to take one more: the latest `*`, and behind it the latest `**`.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<Star> = None;
    let mut deep: Option<Star> = None;
    loop {
        match pattern.get(p) {
            Some(b'*') if pattern.get(p + 1) == Some(&b'*') => {
                p += 2;
                (deep, star) = (Some(Star { behind: p, from: t }), None);
                continue;
            }
            Some(b'*') => {
                p += 1;
                star = Some(Star { behind: p, from: t });
                continue;
            }
            Some(b'?') if path.get(t).is_some_and(|byte| *byte != b'/') => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            Some(byte) if *byte != b'?' && path.get(t) == Some(byte) => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            None if t == path.len() => return true,
            Some(_) | None => {}
        }
        match (&mut star, &mut deep) {
            (Some(star), _) if path.get(star.from).is_some_and(|byte| *byte != b'/') => {
                star.from += 1;
                (p, t) = (star.behind, star.from);
            }
            (_, Some(deep)) if deep.from < path.len() => {
                deep.from += 1;
                (p, t) = (deep.behind, deep.from);
                star = None;
            }
            _ => return false,
        }
    }
}

/// A star that was passed: where the pattern goes on behind it, and where the path does.
struct Star {
    behind: usize,
    from: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn no_links(pattern: &str) -> Option<String> {
        pattern.rsplit_once('/').map(|(folder, _)| folder.replacen("/link", "/usr", 1))
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn at(path: &str) -> Option<Executable> {
        Some(Executable { found: path.to_owned(), real: path.to_owned() })
    }

    fn judge(file: &Value, line: &str, program: &Option<Executable>, approval: Approval) -> String {
        let policy = Policy::of(file, "main", &Fallback::default());
        match policy.judge(&words(line), program.as_ref(), approval, Some("/home/p"), &no_links) {
            Verdict::Run { remember: None } => "run".to_owned(),
            Verdict::Run { remember: Some(pattern) } => format!("run, add {pattern}"),
            Verdict::Denied { message, .. } => message,
        }
    }

    #[test]
    fn the_strictest_word_of_the_nearest_place_counts() {
        let fallback =
            |security: &str, ask: &str| Fallback { security: Some(security.into()), ask: Some(ask.into()) };
        for (file, fallback, want) in [
            (json!({}), Fallback::default(), (Security::Allowlist, Ask::OnMiss)),
            (json!(null), fallback("full", "off"), (Security::Full, Ask::Off)),
            (json!({"defaults": {"security": "deny"}}), fallback("full", "off"), (Security::Deny, Ask::Off)),
            (
                json!({"defaults": {"security": "deny"}, "agents": {"*": {"security": "full"}}}),
                Fallback::default(),
                (Security::Full, Ask::OnMiss),
            ),
            (
                json!({"agents": {"*": {"security": "full"}, "main": {"security": "deny", "ask": "always"}}}),
                Fallback::default(),
                (Security::Deny, Ask::Always),
            ),
            (
                json!({"agents": {"other": {"security": "full"}}}),
                Fallback::default(),
                (Security::Allowlist, Ask::OnMiss),
            ),
            // What is no word of ours is no permission.
            (
                json!({"defaults": {"security": "ful", "ask": "sometimes"}}),
                Fallback::default(),
                (Security::Deny, Ask::Always),
            ),
            (
                json!({"defaults": {"security": true, "ask": 0}}),
                Fallback::default(),
                (Security::Deny, Ask::Always),
            ),
            (json!({"agents": []}), fallback("x", "y"), (Security::Deny, Ask::Always)),
        ] {
            let policy = Policy::of(&file, "main", &fallback);
            assert_eq!((policy.security, policy.ask), want, "{file} {fallback:?}");
        }
    }

    #[test]
    fn what_runs_when_is_a_table() {
        let list =
            json!([{"pattern": "/usr/bin/uname"}, {"pattern": "/bin/sh"}, {"pattern": "/usr/bin/python3"}]);
        let with = |security: &str, ask: &str| json!({"agents": {"*": {"security": security, "ask": ask, "allowlist": list}}});
        let (deny, asks, miss) = (
            "SYSTEM_RUN_DISABLED: security=deny",
            "SYSTEM_RUN_DENIED: approval required",
            "SYSTEM_RUN_DENIED: allowlist miss",
        );
        use Approval::{Always, None as Nobody, Once};
        for (security, ask, line, approval, want) in [
            ("deny", "off", "/usr/bin/uname", Nobody, deny),
            ("deny", "always", "/usr/bin/uname", Always, deny),
            ("allowlist", "on-miss", "/usr/bin/uname -a", Nobody, "run"),
            ("allowlist", "on-miss", "/usr/bin/id", Nobody, asks),
            ("allowlist", "on-miss", "/usr/bin/id", Once, "run"),
            ("allowlist", "on-miss", "/usr/bin/id", Always, "run, add /usr/bin/id"),
            ("allowlist", "off", "/usr/bin/id", Nobody, miss),
            ("allowlist", "off", "/usr/bin/uname", Nobody, "run"),
            ("allowlist", "always", "/usr/bin/uname", Nobody, asks),
            ("allowlist", "always", "/usr/bin/uname", Always, "run"),
            ("full", "off", "/usr/bin/id", Nobody, "run"),
            ("full", "on-miss", "/usr/bin/id", Nobody, "run"),
            ("full", "on-miss", "/usr/bin/id", Always, "run"),
            ("full", "always", "/usr/bin/id", Nobody, asks),
            // Listed, and yet nobody allowed what they would start.
            ("allowlist", "on-miss", "/bin/sh -c id", Nobody, asks),
            ("allowlist", "on-miss", "/bin/sh -c id", Once, "run"),
            ("allowlist", "on-miss", "/bin/sh -c id", Always, "run"),
            ("allowlist", "on-miss", "/usr/bin/python3 -c 1", Nobody, asks),
            ("allowlist", "on-miss", "/usr/bin/python3 job.py", Nobody, "run"),
        ] {
            let program = at(line.split(' ').next().unwrap_or_default());
            let got = judge(&with(security, ask), line, &program, approval);
            assert_eq!(got, want, "{security} {ask} {line} {approval:?}");
        }
        assert!(judge(&with("allowlist", "off"), "nothing", &None, Nobody).contains("no such program"));
        assert!(
            judge(&with("allowlist", "off"), "/bin/sh -c x", &at("/bin/sh"), Nobody)
                .contains("on no allowlist")
        );
        // A link with the listed name that leads to a shell.
        let link = Some(Executable { found: "/usr/bin/uname".into(), real: "/usr/bin/dash".into() });
        assert_eq!(judge(&with("allowlist", "on-miss"), "/usr/bin/uname", &link, Nobody), asks);
    }

    #[test]
    fn patterns_name_paths_and_nothing_else() {
        for (pattern, path, want) in [
            ("/usr/bin/ls", "/usr/bin/ls", true),
            ("/usr/bin/ls", "/usr/bin/lsx", false),
            ("/link/bin/ls", "/usr/bin/ls", true),
            ("/usr/bin/LS", "/usr/bin/ls", false),
            ("ls", "/usr/bin/ls", false),
            ("*", "/usr/bin/ls", false),
            ("/usr/bin/*", "/usr/bin/ls", true),
            ("/usr/bin/*", "/usr/bin/x/ls", false),
            ("/usr/**", "/usr/bin/x/ls", true),
            ("/usr/**/ls", "/usr/bin/x/ls", true),
            ("/usr/**/l?", "/usr/bin/x/ls", true),
            ("/usr/**/l?", "/usr/bin/x/l/s", false),
            ("/usr/*/x/*", "/usr/bin/x/ls", true),
            ("/usr/b*n/l*s*", "/usr/bin/ls", true),
            ("/**", "/a", true),
            ("~/bin/x", "/home/p/bin/x", true),
            ("~/bin/*", "/home/p/bin/x", true),
            ("~other/bin/x", "/home/p/bin/x", false),
            ("/usr/../bin/ls", "/bin/ls", false),
            ("/usr/bin/../**", "/bin/ls", false),
            ("", "/a", false),
            ("/", "/a", false),
            (" /usr/bin/ls ", "/usr/bin/ls", true),
        ] {
            assert_eq!(is_match(pattern, path, Some("/home/p"), &no_links), want, "{pattern} {path}");
        }
        assert!(!is_match("~/x", "/x", None, &no_links));
    }

    #[test]
    fn an_entry_is_added_once_and_beside_what_there_is() {
        let file =
            json!({"version": 1, "agents": {"main": {"ask": "off", "allowlist": [{"pattern": "/a"}]}}});
        let once = with_entry(&file, "main", "/b", "/b x", 5);
        assert_eq!(once["agents"]["main"]["ask"], "off");
        let entry =
            json!({"pattern": "/b", "lastUsedAt": 5, "lastUsedCommand": "/b x", "lastResolvedPath": "/b"});
        assert_eq!(once["agents"]["main"]["allowlist"], json!([{"pattern": "/a"}, entry]));
        assert_eq!(with_entry(&once, "main", "/b", "/b y", 6), once);
        assert_eq!(
            with_entry(&json!(null), "x", "/b", "/b x", 5)["agents"]["x"]["allowlist"],
            json!([entry])
        );
    }
}
