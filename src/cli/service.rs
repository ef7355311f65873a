//! `clawgate gateway install`, `uninstall`, `start`, `stop`, `restart`: a gateway as a service, and what these commands
//! say, which is the same for all of them.

pub mod control;
pub mod install;
pub mod status;

use super::args::Runtime;
use super::{Failure, print, print_json, render};
use crate::config;
use crate::environment::Environment;
use crate::profile;
use crate::service::recipe;
use crate::service::systemctl::{self, Absent, Scope, Systemctl, Unit};
use crate::storage::{RealDisk, Storage};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Which service, and for whom to print.
#[derive(Clone, Debug, Args)]
pub struct ServiceArgs {
    /// That of the machine, not this user's
    #[arg(long)]
    pub system: bool,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// `clawgate gateway install`.
#[derive(Clone, Debug, Args)]
pub struct InstallArgs {
    /// Which service, and for whom to print.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Port to listen on [default: OPENCLAW_GATEWAY_PORT, the config file, 18789]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// What runs the connections
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Option<Runtime>,
    /// With --system: who the gateway is to be [default: whoever called sudo, or the owner of the state folder]
    #[arg(long, value_name = "USER", requires = "system")]
    pub user: Option<String>,
    /// Also replace files that somebody has changed; what they said is kept in FILE.bak
    #[arg(long)]
    pub force: bool,
    /// Print what would be written, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// For which service manager [default: the one that answers]
    #[arg(long, value_name = "MANAGER")]
    pub manager: Option<ManagerArg>,
}

/// Values of `--manager`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ManagerArg {
    /// systemd: units
    Systemd,
    /// OpenWrt's: an init script
    Procd,
    /// OpenRC: its script is printed
    Openrc,
    /// runit: its script is printed
    Runit,
}

impl ServiceArgs {
    fn scope(&self) -> Scope {
        if self.system { Scope::System } else { Scope::User }
    }
}

/// What came of a command.
#[derive(Debug, Default)]
struct Report {
    action: &'static str,
    /// One of the words that the reference has for it.
    result: &'static str,
    /// For a person.
    message: String,
    service: Option<Value>,
    hints: Vec<String>,
    warnings: Vec<String>,
    /// What else a program is told.
    more: Vec<(&'static str, Value)>,
}

impl Report {
    fn new(action: &'static str, result: &'static str, message: String) -> Self {
        Self { action, result, message, ..Self::default() }
    }

    fn print(self, json: bool) -> Result<(), Failure> {
        if json {
            let mut shown =
                json!({ "action": self.action, "ok": true, "result": self.result, "message": self.message });
            if let Some(service) = self.service {
                shown["service"] = service;
            }
            for (name, list) in [("hints", self.hints), ("warnings", self.warnings)] {
                if !list.is_empty() {
                    shown[name] = list.into();
                }
            }
            for (name, value) in self.more {
                shown[name] = value;
            }
            return print_json(&shown);
        }
        let mut text = format!("{}\n", render::clean(&self.message));
        for (name, list) in [("warning", self.warnings), ("next", self.hints)] {
            for line in list {
                text.push_str(&format!("{name}: {}\n", render::clean(&line)));
            }
        }
        print(&text)
    }
}

/// Why a command did nothing, or not all of it.
#[derive(Debug)]
struct Refusal {
    /// Stable, for programs.
    code: &'static str,
    /// For a person.
    error: String,
    hints: Vec<String>,
    more: Vec<(&'static str, Value)>,
    exit: u8,
}

impl Refusal {
    fn new(code: &'static str, error: String) -> Self {
        Self { code, error, hints: Vec::new(), more: Vec::new(), exit: 1 }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Told in the shape of this family of commands, which is not that of other failures.
    fn fail(self, action: &'static str, json: bool) -> Failure {
        if json {
            let mut shown = json!({ "action": action, "ok": false, "error": self.error, "code": self.code });
            if !self.hints.is_empty() {
                shown["hints"] = self.hints.into();
            }
            for (name, value) in self.more {
                shown[name] = value;
            }
            return match print_json(&shown) {
                Ok(()) => Failure::Reported(self.exit),
                Err(why) => why,
            };
        }
        let mut text = self.error;
        for hint in self.hints {
            text.push_str(&format!("\n{hint}"));
        }
        if self.exit == NO_MANAGER { Failure::NoServiceManager(text) } else { Failure::Failed(text) }
    }
}

/// A service of this installation, installed or not.
#[derive(Debug)]
struct Named {
    /// Without `.service`.
    name: String,
    /// The profile, when it is not the usual one.
    profile: Option<String>,
    scope: Scope,
    state_dir: PathBuf,
    config: PathBuf,
    /// Where its units are.
    folder: PathBuf,
    /// This program, as a person calls it for this installation.
    program: String,
}

impl Named {
    fn find(scope: Scope, environment: &Environment) -> Result<Self, Failure> {
        let storage = Storage::new(RealDisk, 0);
        let found = config::open::surroundings(&storage, environment).map_err(Failure::Failed)?;
        let profile = profile::name_of(environment);
        let profile = (!profile.eq_ignore_ascii_case(profile::DEFAULT)).then(|| profile.to_owned());
        let folder = systemctl::folder(scope, environment.get("XDG_CONFIG_HOME"), environment.get("HOME"));
        let folder = folder.ok_or_else(|| {
            Failure::Failed("no home folder is known, so no place for a service: set HOME".to_owned())
        })?;
        Ok(Self {
            name: recipe::name_of(profile.as_deref()),
            program: profile::program(environment, &found.places.state_dir),
            profile,
            scope,
            state_dir: absolute(&found.places.state_dir),
            config: absolute(&found.places.config),
            folder,
        })
    }

    fn service_unit(&self) -> String {
        format!("{}.service", self.name)
    }

    fn socket_unit(&self) -> String {
        format!("{}.socket", self.name)
    }

    /// The unit files that are there.
    fn installed(&self) -> Vec<PathBuf> {
        let units = [self.service_unit(), self.socket_unit()];
        units.iter().map(|unit| self.folder.join(unit)).filter(|path| path.exists()).collect()
    }

    /// The script of OpenWrt.
    fn init_script(&self) -> PathBuf {
        Path::new(INIT_FOLDER).join(&self.name)
    }

    /// The command that installs it.
    fn install_command(&self) -> String {
        let system = if self.scope == Scope::System { " --system" } else { "" };
        format!("{} gateway install{system}", self.program)
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Who looks after services here.
#[derive(Debug)]
enum Manager {
    Systemd(Systemctl),
    Procd,
}

impl Manager {
    /// The one that answers.
    fn find(scope: Scope) -> Result<Self, Refusal> {
        let absent = match Systemctl::find(scope) {
            Ok(systemctl) => return Ok(Self::Systemd(systemctl)),
            Err(absent) => absent,
        };
        if is_openwrt() {
            return Ok(Self::Procd);
        }
        let why = match &absent {
            Absent::Missing => "there is no systemctl".to_owned(),
            Absent::Silent(why) => format!("`{}` does not reach one ({why})", systemctl::shown(scope)),
        };
        let mut refusal = Refusal {
            exit: NO_MANAGER,
            ..Refusal::new("NO_SERVICE_MANAGER", format!("no service manager answers here: {why}"))
        };
        if scope == Scope::User
            && matches!(absent, Absent::Silent(_))
            && Systemctl::find(Scope::System).is_ok()
        {
            refusal = refusal.hint(
                "The one of the machine answers: use --system, or log in so that this user has one (loginctl \
                 enable-linger USER).",
            );
        }
        Err(refusal)
    }
}

fn is_openwrt() -> bool {
    Path::new("/etc/rc.common").exists() && Path::new("/sbin/procd").exists()
}

/// `service` as the reference has it.
fn shown_service(label: &str, is_loaded: bool) -> Value {
    json!({ "label": label, "loaded": is_loaded, "loadedText": "enabled", "notLoadedText": "disabled" })
}

/// Whether a unit that is enabled, or runs, is there.
fn is_here(unit: &Unit) -> bool {
    unit.is_loaded() && (unit.is_enabled() || unit.is_active() || !unit.get("FragmentPath").is_empty())
}

/// Nobody looks after services here.
const NO_MANAGER: u8 = 6;
const INIT_FOLDER: &str = "/etc/init.d";
