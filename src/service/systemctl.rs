//! Asking systemd: every call of `systemctl` is made here.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Whose service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This user's.
    User,
    /// The machine's.
    System,
}

/// The service manager, which answers.
#[derive(Clone, Copy, Debug)]
pub struct Systemctl {
    scope: Scope,
}

/// Why it does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// There is no `systemctl`.
    Missing,
    /// It cannot reach a service manager; what it said.
    Silent(String),
}

/// What is known of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit(BTreeMap<String, String>);

impl Systemctl {
    /// Looks whether there is a service manager of that kind.
    ///
    /// # Errors
    /// There is none that answers.
    pub fn find(scope: Scope) -> Result<Self, Absent> {
        let found = Self { scope };
        match found.call(&["show", "--property=Version"]) {
            Ok(said) if said.starts_with("Version=") => Ok(found),
            Ok(_) => Err(Absent::Silent("it does not tell its version".to_owned())),
            Err(Fault::Missing) => Err(Absent::Missing),
            Err(Fault::Said(why)) => Err(Absent::Silent(why)),
        }
    }

    /// Has it done this to these units.
    ///
    /// # Errors
    /// It did not; what it said.
    pub fn act(&self, verb: &str, units: &[String]) -> Result<(), String> {
        let words: Vec<&str> = core::iter::once(verb).chain(units.iter().map(String::as_str)).collect();
        let shown = || format!("`{} {}`", self.shown(), words.join(" "));
        match self.call(&words) {
            Ok(_) => Ok(()),
            Err(Fault::Missing) => Err(format!("{} failed: systemctl is gone", shown())),
            Err(Fault::Said(why)) => Err(format!("{} failed: {why}", shown())),
        }
    }

    /// What it knows of a unit.
    ///
    /// # Errors
    /// It does not say.
    pub fn show(&self, unit: &str) -> Result<Unit, String> {
        let properties = format!("--property={}", PROPERTIES.join(","));
        match self.call(&["show", unit, &properties]) {
            Ok(said) => Ok(Unit::parse(&said)),
            Err(Fault::Missing) => Err("systemctl is gone".to_owned()),
            Err(Fault::Said(why)) => Err(why),
        }
    }

    /// The command, as a person would type it.
    pub fn shown(&self) -> &'static str {
        shown(self.scope)
    }

    fn call(&self, words: &[&str]) -> Result<String, Fault> {
        let mut command = Command::new("systemctl");
        if self.scope == Scope::User {
            command.arg("--user");
        }
        let output = command.arg("--no-pager").args(words).env("LC_ALL", "C").stdin(Stdio::null()).output();
        let output = output.map_err(|why| match why.kind() == io::ErrorKind::NotFound {
            true => Fault::Missing,
            false => Fault::Said(why.to_string()),
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> =
            said.lines().map(str::trim).filter(|line| !line.is_empty()).take(SAID_LINES_MAX).collect();
        let said = crate::cli::render::clean(&said.join(" "));
        Err(Fault::Said(if said.is_empty() { output.status.to_string() } else { said }))
    }
}

/// The command for this kind of service manager, as a person would type it.
pub fn shown(scope: Scope) -> &'static str {
    match scope {
        Scope::User => "systemctl --user",
        Scope::System => "systemctl",
    }
}

/// Where units of this kind are installed; `None` when no home folder is known.
pub fn folder(scope: Scope, config_home: Option<&str>, home: Option<&str>) -> Option<PathBuf> {
    match scope {
        Scope::System => Some(PathBuf::from("/etc/systemd/system")),
        Scope::User => {
            let config = config_home.filter(|path| path.starts_with('/')).map(PathBuf::from);
            let config = config.or_else(|| home.map(|home| PathBuf::from(home).join(".config")));
            config.map(|config| config.join("systemd/user"))
        }
    }
}

enum Fault {
    Missing,
    Said(String),
}

impl Unit {
    fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), crate::cli::render::clean(value))).collect())
    }

    /// A property; empty when it was not told.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether there is such a unit.
    pub fn is_loaded(&self) -> bool {
        self.get("LoadState") == "loaded"
    }

    /// Whether it starts by itself.
    pub fn is_enabled(&self) -> bool {
        self.get("UnitFileState").starts_with("enabled")
    }

    /// Whether it runs.
    pub fn is_active(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "reloading")
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.get("MainPID").parse().ok().filter(|pid| *pid != 0)
    }
}

const PROPERTIES: [&str; 10] = [
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "SubState",
    "Result",
    "MainPID",
    "ExecMainStatus",
    "NRestarts",
    "FragmentPath",
    "StatusText",
];
/// Of what it says about a failure.
const SAID_LINES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_shows_is_understood() {
        let unit = Unit::parse(
            "LoadState=loaded\nUnitFileState=enabled\nActiveState=active\nMainPID=7\nStatusText=a=b\n",
        );
        assert!(unit.is_loaded() && unit.is_enabled() && unit.is_active());
        assert_eq!((unit.pid(), unit.get("StatusText"), unit.get("Result")), (Some(7), "a=b", ""));
        let gone = Unit::parse("LoadState=not-found\nActiveState=inactive\nMainPID=0\n");
        assert!(!gone.is_loaded() && !gone.is_active() && gone.pid().is_none());
    }

    #[test]
    fn units_of_a_user_are_where_systemd_looks_for_them() {
        let user = |config, home| folder(Scope::User, config, home);
        assert_eq!(user(None, Some("/h")), Some("/h/.config/systemd/user".into()));
        assert_eq!(user(Some("/c"), Some("/h")), Some("/c/systemd/user".into()));
        assert_eq!(user(Some("relative"), Some("/h")), Some("/h/.config/systemd/user".into()));
        assert_eq!(user(None, None), None);
        assert_eq!(folder(Scope::System, None, None), Some("/etc/systemd/system".into()));
    }
}
