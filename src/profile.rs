//! Profiles: `--profile NAME` and `--dev` give an installation folders, a configuration and a name of its own. They
//! do so by setting the variables that everything below reads, so that all commands agree on them, and only where
//! these are not set.

use crate::environment::Environment;
use std::path::Path;

/// The name of the installation without a profile.
pub const DEFAULT: &str = "default";

/// The process's variables with those of the chosen profile.
///
/// # Errors
/// The name is none, or two profiles are asked for; a sentence for a person.
pub fn environment(
    named: Option<&str>,
    dev: bool,
    mut environment: Environment,
) -> Result<Environment, String> {
    let name = match (named, dev) {
        (None, false) => return Ok(environment),
        (None, true) => DEV,
        (Some(name), false) => name,
        (Some(name), true) if name.eq_ignore_ascii_case(DEV) => name,
        (Some(name), true) => {
            return Err(format!(
                "--dev is the profile {DEV}, and cannot be combined with --profile {}",
                crate::cli::render::clean(name)
            ));
        }
    };
    if !is_name(name) {
        return Err(format!(
            "Invalid --profile {:?}: use letters, digits, \"_\" and \"-\", 64 at most, beginning with a letter or a \
             digit",
            crate::cli::render::clean(name)
        ));
    }
    environment.set("OPENCLAW_PROFILE", name);
    if environment.get("OPENCLAW_STATE_DIR").is_none() {
        let home = environment.home().ok_or("no home folder is known: set OPENCLAW_STATE_DIR (or HOME)")?;
        let folder = match name.eq_ignore_ascii_case(DEFAULT) {
            true => ".openclaw".to_owned(),
            false => format!(".openclaw-{name}"),
        };
        environment.set("OPENCLAW_STATE_DIR", &home.join(folder).to_string_lossy());
    }
    if environment.get("OPENCLAW_CONFIG_PATH").is_none()
        && let Some(state) = environment.get("OPENCLAW_STATE_DIR")
    {
        let file = environment.path(state).join("openclaw.json");
        environment.set("OPENCLAW_CONFIG_PATH", &file.to_string_lossy());
    }
    if name.eq_ignore_ascii_case(DEV) && environment.get("OPENCLAW_GATEWAY_PORT").is_none() {
        environment.set("OPENCLAW_GATEWAY_PORT", DEV_PORT);
    }
    Ok(environment)
}

/// The name of the profile in force; what is no name counts as none.
pub fn name_of(environment: &Environment) -> &str {
    environment.get("OPENCLAW_PROFILE").filter(|name| is_name(name)).unwrap_or(DEFAULT)
}

/// How a person names this program for this installation: with the profile, where its state folder is a profile's.
pub fn program(environment: &Environment, state_dir: &Path) -> String {
    let name = name_of(environment);
    let is_profile = state_dir.file_name().is_some_and(|folder| *folder == *format!(".openclaw-{name}"));
    if is_profile { format!("clawgate --profile {name}") } else { "clawgate".to_owned() }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        && name.len() <= NAME_BYTES_MAX
}

const DEV: &str = "dev";
const DEV_PORT: &str = "19001";
const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn hints_name_the_profile_only_where_it_moves_something() {
        let home = Environment::new([("HOME", "/h")]);
        let rescue = environment(Some("rescue"), false, home.clone()).unwrap();
        assert_eq!(program(&rescue, Path::new("/h/.openclaw-rescue")), "clawgate --profile rescue");
        assert_eq!(program(&rescue, Path::new("/elsewhere")), "clawgate");
        assert_eq!(program(&home, Path::new("/h/.openclaw")), "clawgate");
        let named = Environment::new([("HOME", "/h"), ("OPENCLAW_PROFILE", "rescue")]);
        assert_eq!(program(&named, Path::new("/h/.openclaw")), "clawgate");
    }

    const NAMES: [&str; 4] =
        ["OPENCLAW_PROFILE", "OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH", "OPENCLAW_GATEWAY_PORT"];

    fn with(named: Option<&str>, dev: bool, set: &[(&str, &str)]) -> [Option<String>; 4] {
        let set = [("HOME", "/h")].into_iter().chain(set.iter().copied());
        let environment = environment(named, dev, Environment::new(set)).unwrap();
        NAMES.map(|name| environment.get(name).map(str::to_owned))
    }

    fn texts(values: [&str; 4]) -> [Option<String>; 4] {
        values.map(|value| (!value.is_empty()).then(|| value.to_owned()))
    }

    #[test]
    fn a_profile_has_folders_of_its_own() {
        assert_eq!(with(None, false, &[]), texts([""; 4]));
        let own = texts(["rescue", "/h/.openclaw-rescue", "/h/.openclaw-rescue/openclaw.json", ""]);
        assert_eq!(with(Some("rescue"), false, &[]), own);
        let usual = texts(["Default", "/h/.openclaw", "/h/.openclaw/openclaw.json", ""]);
        assert_eq!(with(Some("Default"), false, &[]), usual);
        let dev = texts(["dev", "/h/.openclaw-dev", "/h/.openclaw-dev/openclaw.json", "19001"]);
        assert_eq!(with(None, true, &[]), dev);
        assert_eq!(with(Some("dev"), true, &[]), dev);
        assert_eq!(with(Some("dev"), false, &[]), dev);
    }

    #[test]
    fn what_the_environment_says_is_stronger_but_for_the_name() {
        let set =
            [("OPENCLAW_PROFILE", "other"), ("OPENCLAW_STATE_DIR", "~/s"), ("OPENCLAW_GATEWAY_PORT", "7")];
        assert_eq!(with(None, true, &set), texts(["dev", "~/s", "/h/s/openclaw.json", "7"]));
        let set = [("OPENCLAW_CONFIG_PATH", "/c.json"), ("OPENCLAW_HOME", "/o")];
        assert_eq!(with(Some("x"), false, &set), texts(["x", "/o/.openclaw-x", "/c.json", ""]));
    }

    #[test]
    fn two_profiles_and_bad_names_are_refused() {
        let refused = |named: &str, dev| environment(Some(named), dev, Environment::default()).unwrap_err();
        assert!(refused("rescue", true).contains("cannot be combined"));
        for bad in ["", "-a", "_a", "a b", "../a", "a/b", "é", "a.b", &"a".repeat(65)] {
            assert!(refused(bad, false).starts_with("Invalid --profile"), "{bad:?}");
        }
        assert!(refused("a", false).contains("OPENCLAW_STATE_DIR"), "no home folder");
    }

    #[test]
    fn a_name_in_the_environment_is_only_a_name() {
        assert_eq!(name_of(&Environment::new([("OPENCLAW_PROFILE", "rescue")])), "rescue");
        assert_eq!(name_of(&Environment::new([("OPENCLAW_PROFILE", "a\u{1b}[2J")])), DEFAULT);
        assert_eq!(with(None, false, &[("OPENCLAW_PROFILE", "rescue")])[1], None);
    }
}
