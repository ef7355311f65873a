//! Where the state folder and the configuration file are: the reference's rules, so that both programs agree.

use crate::environment::Environment;
use std::path::{Path, PathBuf};

/// The places of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The state folder.
    pub state_dir: PathBuf,
    /// The configuration file; it need not exist.
    pub config: PathBuf,
}

impl Places {
    /// Finds them. A folder or a file of an earlier name is used where it exists and the current one does not.
    ///
    /// # Errors
    /// There is no home folder to look in; a sentence for a person.
    pub fn find(environment: &Environment) -> Result<Self, String> {
        Self::find_with(environment, &|path| path.exists())
    }

    fn find_with(environment: &Environment, exists: &dyn Fn(&Path) -> bool) -> Result<Self, String> {
        let state_dir = match environment.first(&["OPENCLAW_STATE_DIR", "CLAWDBOT_STATE_DIR"]) {
            Some((_, path)) => absolute(environment.path(path)),
            None => {
                let home = environment.home().ok_or(
                    "no home folder is known: set OPENCLAW_STATE_DIR (or HOME) to say where state is kept",
                )?;
                let home = absolute(home);
                let current = home.join(".openclaw");
                let earlier = || EARLIER_FOLDERS.iter().map(|name| home.join(name)).find(|path| exists(path));
                if exists(&current) { current } else { earlier().unwrap_or(current) }
            }
        };
        let config = match environment.first(&["OPENCLAW_CONFIG_PATH", "CLAWDBOT_CONFIG_PATH"]) {
            Some((_, path)) => absolute(environment.path(path)),
            None => {
                let path = |name: &str| state_dir.join(name);
                let known = CONFIG_NAMES.iter().map(|name| path(name)).find(|path| exists(path));
                known.unwrap_or_else(|| path(CONFIG_NAMES[0]))
            }
        };
        Ok(Self { state_dir, config })
    }

    /// `clawgate.json`, beside the configuration file.
    pub fn own_config(&self) -> PathBuf {
        self.config.with_file_name("clawgate.json")
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

const EARLIER_FOLDERS: [&str; 3] = [".clawdbot", ".moldbot", ".moltbot"];
const CONFIG_NAMES: [&str; 4] = ["openclaw.json", "clawdbot.json", "moldbot.json", "moltbot.json"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn find(variables: &[(&str, &str)], files: &[&str]) -> (String, String) {
        let environment = Environment::new(variables.iter().copied());
        let exists = |path: &Path| files.iter().any(|file| Path::new(file) == path);
        let places = Places::find_with(&environment, &exists).unwrap();
        (places.state_dir.display().to_string(), places.config.display().to_string())
    }

    fn pair(state: &str, config: &str) -> (String, String) {
        (state.into(), config.into())
    }

    #[test]
    fn follows_the_order_of_the_reference() {
        let home = ("HOME", "/home/a");
        assert_eq!(find(&[home], &[]), pair("/home/a/.openclaw", "/home/a/.openclaw/openclaw.json"));
        assert_eq!(
            find(&[home, ("OPENCLAW_HOME", "~/b")], &[]),
            pair("/home/a/b/.openclaw", "/home/a/b/.openclaw/openclaw.json")
        );
        assert_eq!(
            find(&[home, ("OPENCLAW_STATE_DIR", "~/s"), ("CLAWDBOT_STATE_DIR", "/old")], &[]),
            pair("/home/a/s", "/home/a/s/openclaw.json")
        );
        assert_eq!(
            find(&[home, ("CLAWDBOT_STATE_DIR", "/old"), ("OPENCLAW_CONFIG_PATH", "/etc/c.json")], &[]),
            pair("/old", "/etc/c.json")
        );
    }

    #[test]
    fn earlier_names_are_used_only_where_the_current_one_is_absent() {
        let home = ("HOME", "/h");
        assert_eq!(find(&[home], &["/h/.moldbot"]).0, "/h/.moldbot");
        assert_eq!(find(&[home], &["/h/.moldbot", "/h/.openclaw"]).0, "/h/.openclaw");
        assert_eq!(
            find(&[home], &["/h/.openclaw", "/h/.openclaw/moltbot.json"]).1,
            "/h/.openclaw/moltbot.json"
        );
        assert_eq!(
            find(&[home], &["/h/.openclaw/openclaw.json", "/h/.openclaw/clawdbot.json"]).1,
            "/h/.openclaw/openclaw.json"
        );
    }

    #[test]
    fn without_a_home_the_person_is_told_what_to_set() {
        let fault = Places::find_with(&Environment::default(), &|_| false).unwrap_err();
        assert!(fault.contains("OPENCLAW_STATE_DIR"), "{fault}");
    }
}
