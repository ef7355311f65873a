//! `clawgate gateway status`: the service, the configuration, the port and the gateway itself, in one report, whether or
//! not anybody answers.

use super::control::running;
use super::{Named, is_openwrt};
use crate::cli::here::Here;
use crate::cli::query;
use crate::cli::query::StatusArgs;
use crate::cli::{Failure, print, print_json, render};
use crate::config::startable;
use crate::config::{self, Opened};
use crate::environment::Environment;
use crate::service::files::{self, Found, Wanted};
use crate::service::systemctl::{Absent, Scope, Systemctl, Unit};
use crate::storage::{RealDisk, Storage};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

/// `clawgate gateway status`.
#[derive(Clone, Debug, Args)]
pub struct GatewayStatusArgs {
    /// Do not ask the gateway
    #[arg(long)]
    pub no_probe: bool,
    /// Fail when the gateway cannot be asked; it always does, unless --no-probe is given
    #[arg(long, conflicts_with = "no_probe")]
    pub require_rpc: bool,
    /// Look at the service of the machine, not this user's
    #[arg(long)]
    pub system: bool,
    /// How to ask the gateway, and how closely.
    #[command(flatten)]
    pub status: StatusArgs,
}

/// Looks, and tells.
///
/// # Errors
/// The gateway cannot be asked; the rest was told before.
pub fn run(args: &GatewayStatusArgs, environment: &Environment) -> Result<(), Failure> {
    let scope = if args.system { Scope::System } else { Scope::User };
    let named = Named::find(scope, environment)?;
    let found = Service::look(&named);
    let port = Port::look(&named, environment);
    let asked = if args.no_probe { None } else { Some(query::look(&args.status, environment)) };
    if args.status.client.json {
        let (mut shown, failure) = match asked {
            None => (json!({ "ok": true }), None),
            Some(Ok((shown, _))) => (shown, None),
            Some(Err(failure)) => {
                let mut shown = failure.to_json();
                shown["ok"] = false.into();
                shown["rpc"] = json!({ "ok": false, "error": failure.message(), "url": port.url() });
                (shown, Some(failure))
            }
        };
        if shown["config"].is_null() {
            // Nobody was asked, or answered: what this machine knows by itself.
            let here = Here::look(environment);
            let (config, members) = here.in_reference_shape(&port.url(), port.number);
            shown["config"] = config;
            shown["here"] = here.to_json();
            for (name, value) in members {
                shown["gateway"][name] = value;
            }
        }
        shown["config"]["daemon"] = json!({ "same": found.unit.is_loaded() });
        shown["service"] = found.to_json();
        shown["port"] = port.to_json();
        shown["extraServices"] = found.others.iter().map(|path| json!({ "path": path })).collect();
        print_json(&shown)?;
        return failure.map_or(Ok(()), |failure| Err(Failure::Reported(failure.exit_code())));
    }
    let mut text = found.text();
    text.push_str(&port.text());
    match asked {
        None => print(&text),
        Some(Ok((_, said))) => print(&format!("{text}{said}")),
        Some(Err(failure)) => {
            print(&text)?;
            Err(failure)
        }
    }
}

/// What is known of the service.
#[derive(Debug)]
struct Service {
    name: String,
    /// `systemd`, `procd`, or none.
    label: &'static str,
    unit: Unit,
    command: Option<Value>,
    issues: Vec<(&'static str, String)>,
    /// Units of the reference for the same installation.
    others: Vec<PathBuf>,
    /// Why nothing is known.
    absent: Option<String>,
}

impl Service {
    fn look(named: &Named) -> Self {
        let mut found = Self {
            name: named.service_unit(),
            label: "systemd",
            unit: Unit::default(),
            command: None,
            issues: Vec::new(),
            others: Vec::new(),
            absent: None,
        };
        let reference = named.name.replacen("clawgate-", "openclaw-", 1);
        found.others =
            [named.folder.join(format!("{reference}.service"))].into_iter().filter(|p| p.exists()).collect();
        match Systemctl::find(named.scope) {
            Ok(systemctl) => match systemctl.show(&named.service_unit()) {
                Ok(unit) => found.unit = unit,
                Err(why) => found.absent = Some(why),
            },
            Err(_) if is_openwrt() => {
                found.label = "procd";
                found.name = named.init_script().display().to_string();
                found.absent = (!named.init_script().exists()).then(|| "not installed".to_owned());
                return found;
            }
            Err(Absent::Missing) => found.absent = Some("no service manager answers here".to_owned()),
            Err(Absent::Silent(why)) => {
                found.absent = Some(format!("no service manager answers here: {why}"))
            }
        }
        found.look_at_files(named);
        found
    }

    /// What is wrong with what lies there.
    fn look_at_files(&mut self, named: &Named) {
        let storage = Storage::new(RealDisk, 0);
        for path in named.installed() {
            let wanted = Wanted { path: path.clone(), text: String::new(), mode: 0 };
            match files::look(&storage, &wanted).map(|looked| looked.found) {
                Ok(Found::Edited | Found::Foreign) => self.issues.push((
                    "unit-edited",
                    format!(
                        "{} is not as clawgate wrote it; that is fine when you changed it",
                        path.display()
                    ),
                )),
                Ok(Found::Missing | Found::Same | Found::Older) => {}
                Err(why) => self.issues.push(("unit-unreadable", why)),
            }
            if path.extension().is_some_and(|end| end == "service")
                && let Ok(Some((text, _))) = storage.read(&path)
            {
                self.look_at_command(&String::from_utf8_lossy(&text), &path);
            }
        }
        for other in &self.others {
            self.issues.push((
                "reference-unit",
                format!("{} starts another gateway for the same installation", other.display()),
            ));
        }
        if named.installed().is_empty() && self.unit.is_loaded() {
            self.issues.push(("unit-elsewhere", format!("it comes from {}", self.unit.get("FragmentPath"))));
        }
    }

    fn look_at_command(&mut self, text: &str, path: &std::path::Path) {
        let Some(line) = text.lines().find_map(|line| line.strip_prefix("ExecStart=")) else { return };
        // Only words without quotes are taken apart here; the others are shown as they stand.
        let words: Vec<&str> = match line.contains('"') {
            true => vec![line],
            false => line.split(' ').collect(),
        };
        if let Some(program) = words.first().filter(|word| word.starts_with('/'))
            && !std::path::Path::new(program).exists()
        {
            self.issues.push(("program-missing", format!("it starts {program}, which is not there")));
        }
        self.command = Some(json!({ "programArguments": words, "sourcePath": path.display().to_string() }));
    }

    fn to_json(&self) -> Value {
        let issues: Vec<Value> = self
            .issues
            .iter()
            .map(|(code, message)| json!({ "code": code, "message": message, "level": "recommended" }))
            .collect();
        let mut runtime = json!({ "status": self.status() });
        if let Some(pid) = self.unit.pid() {
            runtime["pid"] = pid.into();
        }
        for (member, property) in [
            ("state", "ActiveState"),
            ("subState", "SubState"),
            ("detail", "StatusText"),
            ("lastResult", "Result"),
        ] {
            if !self.unit.get(property).is_empty() {
                runtime[member] = self.unit.get(property).into();
            }
        }
        if let Ok(count) = self.unit.get("NRestarts").parse::<u64>() {
            runtime["restarts"] = count.into();
        }
        if let Some(absent) = &self.absent {
            runtime["detail"] = absent.as_str().into();
        }
        let is_loaded = match self.label {
            "procd" => self.absent.is_none(),
            _ => self.unit.is_enabled(),
        };
        let mut shown = super::shown_service(self.label, is_loaded);
        shown["unit"] = self.name.as_str().into();
        shown["command"] = self.command.clone().unwrap_or(Value::Null);
        shown["runtime"] = runtime;
        shown["configAudit"] = json!({ "ok": issues.is_empty(), "issues": issues });
        shown
    }

    fn status(&self) -> &'static str {
        match (&self.absent, self.unit.get("ActiveState")) {
            (Some(_), _) | (None, "") => "unknown",
            (None, "active" | "reloading" | "activating") => "running",
            (None, _) => "stopped",
        }
    }

    fn text(&self) -> String {
        let clean = render::clean;
        let mut text = String::new();
        let said = match (&self.absent, self.unit.is_loaded()) {
            (Some(why), _) => format!("{}: {}", self.name, clean(why)),
            (None, false) if self.label == "systemd" => {
                format!("{}: not installed; `clawgate gateway install` does that", self.name)
            }
            (None, _) => {
                let unit = &self.unit;
                let enabled = if unit.is_enabled() { "enabled" } else { "disabled" };
                let mut said = format!(
                    "{}: {enabled}, {} ({})",
                    self.name,
                    unit.get("ActiveState"),
                    unit.get("SubState")
                );
                if let Some(pid) = unit.pid() {
                    let _ = write!(said, ", pid {pid}");
                }
                if !matches!(unit.get("NRestarts"), "" | "0") {
                    let _ = write!(said, ", started again {} times", unit.get("NRestarts"));
                }
                said
            }
        };
        let _ = writeln!(text, "{:<10}{said}", "service");
        for (_, issue) in &self.issues {
            let _ = writeln!(text, "{:<10}note: {}", "", clean(issue));
        }
        text
    }
}

/// The port of this installation on this machine.
#[derive(Debug)]
struct Port {
    number: Option<u16>,
    status: &'static str,
    listeners: Vec<Value>,
}

impl Port {
    fn look(named: &Named, environment: &Environment) -> Self {
        let number = match config::open(&Storage::new(RealDisk, 0), environment) {
            Ok(Opened { settings, environment, .. }) => startable::port(None, &environment, &settings).ok(),
            Err(_) => startable::port_of_environment(environment).ok().flatten(),
        };
        let owner = running(named);
        let number = owner.as_ref().and_then(|owner| owner.port).or(number);
        let connected = number
            .map(|port| TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE));
        let status = match &connected {
            Some(Ok(_)) => "busy",
            Some(Err(why)) if why.kind() == std::io::ErrorKind::ConnectionRefused => "free",
            Some(Err(_)) | None => "unknown",
        };
        let listeners = owner
            .filter(|_| status == "busy")
            .map(|owner| json!({ "pid": owner.pid, "command": "clawgate" }))
            .into_iter()
            .collect();
        Self { number, status, listeners }
    }

    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.number.unwrap_or(startable::DEFAULT_PORT))
    }

    fn to_json(&self) -> Value {
        json!({ "port": self.number, "status": self.status, "listeners": self.listeners, "hints": [] })
    }

    fn text(&self) -> String {
        let Some(number) = self.number else { return String::new() };
        let said = match self.status {
            "busy" => "somebody listens",
            "free" => "nobody listens on 127.0.0.1",
            _ => "there is no telling who listens",
        };
        format!("{:<10}{number}: {said}\n", "port")
    }
}

/// For a connection on this machine.
const PATIENCE: Duration = Duration::from_millis(500);
