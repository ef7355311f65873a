//! Environment variables as one value, read once, so that nothing below asks the process for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The variables of a process.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process. What is not UTF-8 is left out.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// These variables.
    pub fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Adds variables that are not set yet; of two with one name the first counts.
    pub fn complete(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in variables {
            if self.get(&name).is_none() {
                self.0.insert(name, value);
            }
        }
    }

    /// Sets a variable, whatever it was.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// The value of a variable, trimmed; a blank one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// All of them, as they are.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first of these that is set, with its name.
    pub fn first<'a>(&self, names: &[&'a str]) -> Option<(&'a str, &str)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    /// Whether a switch is on: `1`, `true`, `yes` or `on`.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| ["1", "true", "yes", "on"].iter().any(|on| value.eq_ignore_ascii_case(on)))
    }

    /// The home folder: `OPENCLAW_HOME`, else `HOME`, else `USERPROFILE`.
    pub fn home(&self) -> Option<PathBuf> {
        let of_the_system = self.first(&["HOME", "USERPROFILE"]).map(|(_, home)| PathBuf::from(home));
        match self.get("OPENCLAW_HOME") {
            Some(home) => Some(under_home(home, of_the_system.as_deref())),
            None => of_the_system,
        }
    }

    /// A path as a person writes it in a variable or a flag: `~` is the home folder.
    pub fn path(&self, text: &str) -> PathBuf {
        under_home(text, self.home().as_deref())
    }
}

impl core::fmt::Debug for Environment {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

fn under_home(text: &str, home: Option<&std::path::Path>) -> PathBuf {
    let rest = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match (rest, home) {
        (Some(rest), Some(home)) => home.join(rest.trim_start_matches('/')),
        (Some(_) | None, _) => PathBuf::from(text),
    }
}
