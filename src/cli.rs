//! The command line: which command, how it ended, and what the shell is told.

pub mod address;
mod advice;
mod announce;
pub mod approvals;
pub mod args;
pub mod audit;
pub mod canvas;
pub mod config;
pub mod dashboard;
mod deep;
pub mod devices;
pub mod discover;
pub mod doctor;
pub mod here;
pub mod invoke;
pub mod logs;
pub mod man;
pub mod node;
pub mod nodes;
mod plan;
pub mod probe;
pub mod qr;
pub mod query;
pub mod render;
pub mod run;
pub mod service;
pub mod session;
pub mod setup;
mod signals;
pub mod summary;
pub mod system;
pub mod target;
pub mod tls;
pub mod token;
pub mod tui;
mod tunnel;

use crate::environment::Environment;
use args::{Cli, Command, GatewayCommand};
use clap::{CommandFactory as _, Parser as _};
use clawgate_proto::client::ResponseError;
use serde_json::{Value, json};
use service::control::Verb;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Why a command did not do what was asked. Each kind has an exit code of its own.
#[derive(Debug)]
pub enum Failure {
    /// A file, a setting or the system is in the way.
    Failed(String),
    /// The command line asks for something that makes no sense.
    Usage(String),
    /// Nobody answered at that address, or not in time.
    Unreachable(String),
    /// TLS failed on the way to the gateway.
    Tls {
        /// For programs.
        code: &'static str,
        /// For a person, with what to do.
        message: String,
    },
    /// The gateway answered, and did not let us in.
    Refused {
        /// For a person, with what to do.
        message: String,
        /// What the gateway said.
        error: Box<ResponseError>,
    },
    /// The gateway answered the call with an error.
    Answered(Box<ResponseError>),
    /// The same, where the command knows better than the text what to do next.
    Advised {
        /// What it answered.
        error: Box<ResponseError>,
        /// What to do next.
        advice: &'static str,
    },
    /// Another process listens on the port.
    PortTaken(String),
    /// Another gateway uses the same configuration or state.
    Locked(String),
    /// Nobody looks after services here.
    NoServiceManager(String),
    /// Everything was said already; only the code is left.
    Reported(u8),
}

impl Failure {
    /// As documented in `clawgate --help`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::PortTaken(_) | Self::Locked(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) | Self::Tls { .. } => 3,
            Self::Refused { .. } => 4,
            Self::Answered(_) | Self::Advised { .. } => 5,
            Self::NoServiceManager(_) => 6,
            Self::Reported(code) => *code,
        }
    }

    /// For a person.
    pub fn message(&self) -> String {
        match self {
            Self::Failed(message)
            | Self::Usage(message)
            | Self::Unreachable(message)
            | Self::Refused { message, .. }
            | Self::Tls { message, .. }
            | Self::PortTaken(message)
            | Self::Locked(message)
            | Self::NoServiceManager(message) => message.clone(),
            Self::Reported(_) => String::new(),
            Self::Advised { error, advice } => {
                format!("Gateway call failed: {}\n{advice}", render::error(error))
            }
            Self::Answered(error) => {
                let advice = match error.message.as_str() {
                    "unknown requestId" => {
                        "\n`clawgate devices list` shows what waits. A request ends after five minutes, and has a new id \
                         when its device asks for more."
                    }
                    "unknown or expired approval id" => {
                        "\n`clawgate approvals list` shows what waits. What was decided, or ran out of time, waits no longer."
                    }
                    "unknown deviceId" => "\n`clawgate devices list` shows the devices by their whole ids.",
                    "node pairing changed while invocation was active" => {
                        "\nThe node is away, or what it offers waits for approval: `clawgate nodes list` says which, `clawgate \
                         nodes pending` shows what waits."
                    }
                    "exec approvals changed since last load; re-run exec.approvals.get and retry" => {
                        "\nSomebody else changed the file meanwhile: look at it with `clawgate approvals get`, then try again."
                    }
                    "unknown nodeId" => "\n`clawgate nodes list` shows the nodes by their whole ids.",
                    _ => "",
                };
                format!("Gateway call failed: {}{advice}", render::error(error))
            }
        }
    }

    /// For a program: what the gateway said, or one of our own codes.
    pub fn to_json(&self) -> Value {
        let own = |code: &str, message: &str| json!({ "code": code, "message": message });
        let error = match self {
            Self::Refused { error, .. } | Self::Advised { error, .. } | Self::Answered(error) => {
                let mut shown = own(&error.code, &error.message);
                let further = [
                    ("details", error.details.clone()),
                    ("retryable", error.retryable.map(Value::from)),
                    ("retryAfterMs", error.retry_after_ms.map(Value::from)),
                ];
                for (name, value) in further {
                    if let Some(value) = value {
                        shown[name] = value;
                    }
                }
                shown
            }
            Self::Failed(message) => own("FAILED", message),
            Self::Usage(message) => own("USAGE", message),
            Self::Unreachable(message) => own("UNREACHABLE", message),
            Self::Tls { code, message } => own(code, message),
            Self::PortTaken(message) => own("PORT_TAKEN", message),
            Self::Locked(message) => own("ALREADY_RUNNING", message),
            Self::NoServiceManager(message) => own("NO_SERVICE_MANAGER", message),
            Self::Reported(_) => own("REPORTED", ""),
        };
        json!({ "error": error })
    }
}

/// Runs the program with the process's arguments and environment.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(why) => {
            let why = args::without_values(why);
            let _ = why.print();
            return ExitCode::from(u8::try_from(why.exit_code()).unwrap_or(2));
        }
    };
    let json = wants_json(&cli.command);
    let environment = crate::profile::environment(cli.profile.as_deref(), cli.dev, Environment::of_process())
        .map_err(Failure::Usage);
    match environment.and_then(|environment| dispatch(cli, &environment)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Reported(code)) => ExitCode::from(code),
        Err(failure) => {
            if json {
                let _ = print_json(&failure.to_json());
            }
            let _ = writeln!(io::stderr(), "{}", failure.message());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(cli: Cli, environment: &Environment) -> Result<(), Failure> {
    match cli.command {
        Command::Gateway(gateway) => match gateway.command {
            None => run::run(&gateway.run, environment),
            Some(GatewayCommand::Run(run)) => run::run(&run, environment),
            Some(GatewayCommand::Call(call)) => query::call(&call, environment),
            Some(GatewayCommand::Health(client)) => query::health(&client, environment),
            Some(GatewayCommand::Probe(args)) => probe::run(&args, environment),
            Some(GatewayCommand::Discover(args)) => discover::run(&args, environment),
            Some(GatewayCommand::Zone) => announce::zone(environment),
            Some(GatewayCommand::Status(status)) => service::status::run(&status, environment),
            Some(GatewayCommand::Install(args)) => service::install::install(&args, environment),
            Some(GatewayCommand::Uninstall(args)) => service::install::uninstall(&args, environment),
            Some(GatewayCommand::Start(args)) => service::control::run(Verb::Start, &args, environment),
            Some(GatewayCommand::Stop(args)) => service::control::run(Verb::Stop, &args, environment),
            Some(GatewayCommand::Restart(args)) => service::control::run(Verb::Restart, &args, environment),
            Some(GatewayCommand::Tls(args)) => tls::run(&args, environment),
        },
        Command::Call(call) => query::call(&call, environment),
        Command::Health(client) => query::health(&client, environment),
        Command::Status(status) => query::status(&status, environment),
        Command::Logs(logs) => logs::run(&logs, environment),
        Command::Tui(args) => tui::run(&args, environment),
        Command::Probe(args) => probe::run(&args, environment),
        Command::System { command } => system::run(&command, environment),
        Command::Man => print(&man::page()),
        Command::Devices { command } => devices::run(command, environment),
        Command::Approvals { command } => approvals::run(&command, environment),
        Command::Node { command } => node::run(&command, environment),
        Command::Nodes { command } => nodes::run(command, environment),
        Command::Qr(args) => qr::run(&args, environment),
        Command::Dashboard(args) => dashboard::run(&args, environment),
        Command::Config { command } => config::run(&command, environment),
        Command::Token(token) => token::show(&token, environment),
        Command::Doctor(args) => doctor::run(&args, environment),
        Command::Security { command } => audit::run(&command, environment),
        Command::Setup(args) => setup::run(&args, environment),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "clawgate", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

fn wants_json(command: &Command) -> bool {
    match command {
        Command::Gateway(gateway) => match &gateway.command {
            None | Some(GatewayCommand::Run(_) | GatewayCommand::Zone) => false,
            Some(GatewayCommand::Discover(args)) => args.json,
            Some(GatewayCommand::Call(call)) => call.client.json,
            Some(GatewayCommand::Health(client)) => client.json,
            Some(GatewayCommand::Probe(probe)) => probe.client.json,
            Some(GatewayCommand::Status(status)) => status.status.client.json,
            Some(GatewayCommand::Install(args)) => args.service.json,
            Some(
                GatewayCommand::Uninstall(args)
                | GatewayCommand::Start(args)
                | GatewayCommand::Stop(args)
                | GatewayCommand::Restart(args),
            ) => args.json,
            Some(GatewayCommand::Tls(args)) => args.json(),
        },
        Command::Call(call) => call.client.json,
        Command::Health(client) => client.json,
        Command::Probe(probe) => probe.client.json,
        Command::Status(status) => status.client.json,
        Command::Logs(logs) => logs.client.json,
        Command::Tui(args) => args.client.json,
        Command::System { command } => command.client().json,
        Command::Devices { command } => command.client().json,
        Command::Approvals { command } => command.client().json,
        Command::Node { .. } => false,
        Command::Nodes { command } => command.client().json,
        Command::Qr(args) => args.json,
        Command::Dashboard(args) => args.client.json,
        Command::Config { command } => command.json(),
        Command::Token(token) => token.json,
        Command::Doctor(args) => args.json,
        Command::Security { command } => command.json(),
        Command::Setup(args) => args.json,
        Command::Man | Command::Completions { .. } => false,
    }
}

/// Writes a value to standard output as JSON, in which no peer's text drives a terminal.
pub(crate) fn print_json(value: &Value) -> Result<(), Failure> {
    print(&render::json(value))
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write the output: {why}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
