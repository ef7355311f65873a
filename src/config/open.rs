//! Everything a command needs to know about its installation, read in the reference's order: where it is, the
//! `.env` of the state folder, the configuration file, and the variables set in it.

use super::dotenv;
use super::first_run::{ConfigFile, invalid};
use super::live::{Marks, with_context, with_files};
use super::locate::Places;
use super::settings::Settings;
use crate::environment::Environment;
use crate::storage::{Disk, Storage};
use clawgate_config::service::{Loaded, variables_of};
use std::path::Path;

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
    /// The same without the file's `env` section: what a changed file starts from.
    pub base: Environment,
    /// The document of that file, and the marks of the files that it includes.
    pub loaded: (Loaded, Marks),
}

/// Reads an installation.
///
/// # Errors
/// Something in it cannot be read or makes no sense; a text for a person.
pub fn open<D: Disk>(storage: &Storage<D>, environment: &Environment) -> Result<Opened, String> {
    let Surroundings { places, mut environment } = surroundings(storage, environment)?;
    let file = ConfigFile::load(storage, &places.config)?;
    let base = environment.clone();
    let text = file.found.as_ref().map(|found| found.text.as_slice());
    let loaded = load_marked(&file.path, text, &environment);
    let settings = if text.is_some() {
        let loaded = &loaded.0;
        if !loaded.is_valid() {
            let mut faults: Vec<String> = loaded.issues.iter().map(ToString::to_string).collect();
            faults.push("`clawgate config validate` checks it again without starting anything".to_owned());
            return Err(invalid(&file.path, &faults));
        }
        environment.complete(variables_of(&loaded.source));
        settings_of(loaded, &environment).map_err(|faults| invalid(&file.path, &faults))?
    } else {
        Settings::default()
    };
    Ok(Opened { places, file, settings, environment, base, loaded })
}

/// Where an installation is, and the variables that hold there.
#[derive(Debug)]
pub struct Surroundings {
    /// Where it is.
    pub places: Places,
    /// The process's variables, completed from `.env`.
    pub environment: Environment,
}

/// Finds an installation without reading its configuration.
///
/// # Errors
/// Something cannot be found or read; a text for a person.
pub fn surroundings<D: Disk>(
    storage: &Storage<D>,
    environment: &Environment,
) -> Result<Surroundings, String> {
    let places = Places::find(environment)?;
    let mut environment = environment.clone();
    if let Some((text, _)) = storage.read(&places.state_dir.join(".env"))? {
        environment.complete(dotenv::parse(&String::from_utf8_lossy(&text)));
    }
    Ok(Surroundings { places, environment })
}

/// A file's text with its included files and the variables of this environment.
pub fn load(path: &Path, text: Option<&[u8]>, environment: &Environment) -> Loaded {
    with_context(path, environment, |context| Loaded::read(text, context))
}

/// The same with the marks of the included files, as they were when they were read.
pub fn load_marked(path: &Path, text: Option<&[u8]>, environment: &Environment) -> (Loaded, Marks) {
    with_files(path, environment, &[], |context| Loaded::read(text, context))
}

/// The settings of a valid document.
///
/// # Errors
/// Everything that must be mended, one sentence each.
pub fn settings_of(loaded: &Loaded, environment: &Environment) -> Result<Settings, Vec<String>> {
    let mut settings = Settings::read(&loaded.source, environment)?;
    settings.warnings.extend(loaded.legacy.iter().map(|legacy| legacy.message.clone()));
    Ok(settings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::settings::{SecretAt, Setting};
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
        let Some(Setting::Known(SecretAt::Here(token))) = &opened.settings.token else { panic!("no token") };
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
