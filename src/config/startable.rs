//! Whether a gateway could start with a document: everything that a start refuses, up to whether it could listen there.
//! Whoever writes the file, checks it or restarts asks here, so that all of them say the same.

use super::open::settings_of;
use super::settings::Settings;
use super::start::{self, Decided, Flags};
use crate::environment::Environment;
use crate::listen;
use clawgate_config::service::{Loaded, variables_of};
use std::net::SocketAddr;
use std::path::Path;

/// What counts beside the document.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The file.
    pub path: &'a Path,
    /// What a command line says.
    pub flags: &'a Flags,
    /// `--port`.
    pub port: Option<u16>,
    /// Variables without those of the document.
    pub environment: &'a Environment,
}

/// What a start would make of it.
#[derive(Clone, Debug)]
pub struct Startable {
    /// Where to listen, and who may come in.
    pub decided: Decided,
    /// What the document says.
    pub settings: Settings,
    /// The port.
    pub port: u16,
}

impl Startable {
    /// Judges a document. Where there is no file, a start writes one.
    ///
    /// # Errors
    /// No gateway starts with it on this machine; the first reason, for a person.
    pub fn judge(beside: &Beside<'_>, is_there: bool, loaded: &Loaded) -> Result<Self, String> {
        Self::decide(beside, is_there, loaded)?.here()
    }

    /// If this machine has the address to listen on.
    ///
    /// # Errors
    /// It has not; a sentence for a person.
    pub fn here(self) -> Result<Self, String> {
        // The port's number plays no part in whether the address is there.
        listen::could(self.decided.place, 0, &[]).map_err(listen::BindFault::into_text)?;
        Ok(self)
    }

    /// The same, whatever addresses this machine has.
    ///
    /// # Errors
    /// No gateway starts with it anywhere; the first reason, for a person.
    pub fn decide(beside: &Beside<'_>, is_there: bool, loaded: &Loaded) -> Result<Self, String> {
        if !loaded.is_valid() {
            let faults: Vec<String> = loaded.issues.iter().map(ToString::to_string).collect();
            return Err(faults.join("; "));
        }
        let mut environment = beside.environment.clone();
        environment.complete(variables_of(&loaded.source));
        let mut settings = settings_of(loaded, &environment).map_err(|faults| faults.join("; "))?;
        let mut flags = beside.flags.clone();
        flags.put_over(&mut settings);
        flags.allow_unconfigured |= !is_there;
        let decided = start::decide(&flags, &settings, beside.path, &environment)?;
        let port = port(beside.port, &environment, &settings)?;
        Ok(Self { decided, settings, port })
    }

    /// Whether the port is free, or one that `ours` stands for: what this process listens on, and gives up first.
    ///
    /// # Errors
    /// Somebody else has it; a sentence for a person.
    pub fn is_free(&self, ours: &[SocketAddr]) -> Result<(), String> {
        listen::could(self.decided.place, self.port, ours).map_err(listen::BindFault::into_text)
    }
}

/// The port to listen on: the flag, the environment, the file, the usual one.
///
/// # Errors
/// The environment names one that is none.
pub fn port(flag: Option<u16>, environment: &Environment, settings: &Settings) -> Result<u16, String> {
    match flag {
        Some(port) => Ok(port),
        None => Ok(port_of_environment(environment)?.or(settings.port).unwrap_or(DEFAULT_PORT)),
    }
}

/// The port that the environment names.
///
/// # Errors
/// It is no port.
pub fn port_of_environment(environment: &Environment) -> Result<Option<u16>, String> {
    let Some((name, text)) = environment.first(&["OPENCLAW_GATEWAY_PORT", "CLAWDBOT_GATEWAY_PORT"]) else {
        return Ok(None);
    };
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(Some(port)),
        Ok(_) | Err(_) => Err(format!(
            "Invalid port: {name} is {:?}, expected a whole number from 1 to 65535",
            crate::cli::render::clean(text)
        )),
    }
}

/// Where gateways listen when nothing else is said.
pub const DEFAULT_PORT: u16 = 18_789;
