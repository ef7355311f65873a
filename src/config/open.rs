//! Everything a command needs to know about its installation, read in the reference's order: where it is, the
//! `.env` of the state folder, the configuration file, and the variables set in it.

use super::dotenv;
use super::first_run::ConfigFile;
use super::locate::Places;
use super::settings::Settings;
use super::value::Node;
use crate::environment::Environment;
use crate::storage::{Disk, Storage};

/// An installation as it was found.
#[derive(Debug)]
pub struct Opened {
    /// Where it is.
    pub places: Places,
    /// The configuration file.
    pub file: ConfigFile,
    /// What it says; defaults when there is none.
    pub settings: Settings,
    /// The process's variables, completed from `.env` and from the file's `env` section.
    pub environment: Environment,
}

/// Reads an installation.
///
/// # Errors
/// Something in it cannot be read or makes no sense; a text for a person.
pub fn open<D: Disk>(storage: &Storage<D>, environment: &Environment) -> Result<Opened, String> {
    let places = Places::find(environment)?;
    let mut environment = environment.clone();
    if let Some((text, _)) = storage.read(&places.state_dir.join(".env"))? {
        environment.complete(dotenv::parse(&String::from_utf8_lossy(&text)));
    }
    let file = ConfigFile::load(storage, &places.config)?;
    let settings = match &file.found {
        Some(found) => {
            environment.complete(variables_of(&found.root));
            Settings::read(&found.root, &environment).map_err(|faults| {
                format!("Invalid config at {}.\n- {}", file.path.display(), faults.join("\n- "))
            })?
        }
        None => Settings::default(),
    };
    Ok(Opened { places, file, settings, environment })
}

/// `env.vars.NAME` and `env.NAME`, where they are texts. Those that need variables themselves are skipped.
fn variables_of(root: &Node) -> Vec<(String, String)> {
    let Some(env) = root.get("env") else { return Vec::new() };
    let texts = |node: &Node| -> Vec<(String, String)> {
        let Node::Object(members) = node else { return Vec::new() };
        let text = |(name, value): &(String, Node)| Some((name.clone(), value.as_text()?.to_owned()));
        members.iter().filter_map(text).filter(|(_, value)| !value.contains("${")).collect()
    };
    let mut variables = env.get("vars").map(texts).unwrap_or_default();
    variables.extend(texts(env));
    variables
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::settings::Setting;
    use super::*;
    use crate::scratch::Folder;
    use crate::storage::RealDisk;

    #[test]
    fn the_process_beats_the_state_folder_and_that_beats_the_file() {
        let folder = Folder::new();
        let state = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join(".env"), "A=dotenv\nB=dotenv\n").unwrap();
        let config = "{env: {vars: {A: 'vars', B: 'vars', C: 'vars', D: '${A}'}, C: 'env', E: 'env', shellEnv: {}}, \
                      gateway: {auth: {token: '${A} ${B} ${C} ${E}'}}}";
        std::fs::write(folder.path().join("openclaw.json"), config).unwrap();
        let environment = Environment::new([("OPENCLAW_STATE_DIR", state), ("A", "process")]);
        let opened = open(&Storage::new(RealDisk, 1), &environment).unwrap();
        let Some(Setting::Known(token)) = &opened.settings.token else { panic!("no token") };
        assert_eq!(token.expose(), "process dotenv vars env");
        assert_eq!(opened.environment.get("D"), None);
    }

    #[test]
    fn an_invalid_file_is_named_with_every_fault() {
        let folder = Folder::new();
        std::fs::write(folder.path().join("openclaw.json"), "{gateway: {port: 0, bind: 7}}").unwrap();
        let environment = Environment::new([("OPENCLAW_STATE_DIR", folder.path().to_str().unwrap())]);
        let fault = open(&Storage::new(RealDisk, 1), &environment).unwrap_err();
        assert!(
            fault.starts_with("Invalid config at ") && fault.matches("\n- gateway.").count() == 2,
            "{fault}"
        );
    }
}
