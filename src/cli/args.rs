//! What may be typed: commands, flags, help with examples, exit codes.

use super::approvals::ApprovalsCommand;
use super::audit::SecurityCommand;
use super::config::ConfigCommand;
use super::dashboard::DashboardArgs;
use super::devices::DevicesCommand;
use super::discover::DiscoverArgs;
use super::doctor::DoctorArgs;
use super::logs::LogsArgs;
use super::node::NodeCommand;
use super::nodes::NodesCommand;
use super::probe::ProbeArgs;
use super::qr::QrArgs;
use super::query::{CallArgs, StatusArgs};
use super::service::status::GatewayStatusArgs;
use super::service::{InstallArgs, ServiceArgs};
use super::setup::SetupArgs;
use super::system::SystemCommand;
use super::token::TokenArgs;
use crate::config::settings::{Bind, TailscaleMode};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clawgate_proto::config::AuthMode;
use std::fmt;
use std::path::PathBuf;

/// An OpenClaw gateway: one small process that owns the WebSocket control plane.
#[derive(Debug, Parser)]
#[command(name = "clawgate", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub struct Cli {
    /// Use an installation of its own: state in ~/.openclaw-NAME, its configuration in there
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The same as --profile dev, with port 19001
    #[arg(long)]
    pub dev: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway in the foreground
    #[command(after_help = GATEWAY_HELP)]
    Gateway(Box<GatewayArgs>),
    /// Call a method of a running gateway and print what it answers
    #[command(
        after_help = "Example:\n  clawgate call system-presence\n  clawgate call set-heartbeats --params '{\"enabled\":true}'"
    )]
    Call(CallArgs),
    /// Ask a running gateway how it is
    Health(ClientArgs),
    /// Show which gateway is running and what it knows
    Status(StatusArgs),
    /// Show the log of a running gateway
    #[command(after_help = "Example:\n  clawgate logs --follow\n  clawgate logs --limit 50 --plain")]
    Logs(LogsArgs),
    /// Watch a running gateway on this terminal: how it is, who is there, what waits, events and log
    #[command(after_help = super::tui::HELP)]
    Tui(super::tui::TuiArgs),
    /// Say whether a gateway can be reached, and how much of it
    Probe(ProbeArgs),
    /// Show who is here, leave a line for the agent, switch heartbeats
    System {
        /// What to do.
        #[command(subcommand)]
        command: SystemCommand,
    },
    /// List, approve and remove paired devices, and manage their tokens
    Devices {
        /// What to do with them.
        #[command(subcommand)]
        command: DevicesCommand,
    },
    /// Show what waits for a person's decision, and decide it
    Approvals {
        /// What to do about it.
        #[command(subcommand)]
        command: ApprovalsCommand,
    },
    /// Make this machine a node of a gateway
    Node {
        /// What to do.
        #[command(subcommand)]
        command: NodeCommand,
    },
    /// Show nodes, approve what they ask to offer, and have them do it
    Nodes {
        /// What to do with them.
        #[command(subcommand)]
        command: NodesCommand,
    },
    /// Make a setup code for a phone or a node host, and show it as a QR code
    #[command(
        after_help = "Examples:\n  clawgate qr\n  clawgate qr --access limited --url wss://gateway.example\n  clawgate qr --access node --setup-code-only"
    )]
    Qr(QrArgs),
    /// Print a link to the control page that signs a browser in, once
    #[command(
        after_help = "Examples:\n  clawgate dashboard\n  xdg-open \"$(clawgate dashboard)\"\n\nWithout a terminal the link alone is printed."
    )]
    Dashboard(DashboardArgs),
    /// Read, check and change the configuration file; no gateway is needed
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Show the gateway's token to the person who asks
    Token(TokenArgs),
    /// Look whether this installation can work, and say what is in the way
    #[command(after_help = super::doctor::HELP)]
    Doctor(DoctorArgs),
    /// Look who could get in who should not
    Security {
        /// What to do.
        #[command(subcommand)]
        command: SecurityCommand,
    },
    /// Answer a few questions and write the configuration
    #[command(
        after_help = "Examples:\n  clawgate setup\n  clawgate setup --non-interactive --port 19001 --bind tailnet\n\n\
        Without a terminal nothing is asked: what no flag says is taken as configured, or else as is safe."
    )]
    Setup(SetupArgs),
    /// Print the manual page, for `man -l -`
    Man,
    /// Print a completion script for a shell
    #[command(
        visible_alias = "completion",
        after_help = "Example:\n  clawgate completions bash > ~/.local/share/bash-completion/completions/clawgate"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// `clawgate gateway`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct GatewayArgs {
    /// Without one: run.
    #[command(subcommand)]
    pub command: Option<GatewayCommand>,
    /// Flags of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What the reference has below `gateway`.
#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// Run the gateway in the foreground
    #[command(after_help = GATEWAY_HELP)]
    Run(RunArgs),
    /// Call a method of a running gateway and print what it answers
    Call(CallArgs),
    /// Ask a running gateway how it is
    Health(ClientArgs),
    /// Show the service, the port, which gateway is running and what it knows
    Status(GatewayStatusArgs),
    /// Say whether a gateway can be reached, and how much of it
    Probe(ProbeArgs),
    /// Look which gateways say on the local network, or in discovery.wideArea.domain, that they are there
    #[command(after_help = "Example:\n  clawgate gateway discover --timeout 5000 --json")]
    Discover(DiscoverArgs),
    /// Print the DNS zone file by which this gateway is found (discovery.wideArea)
    Zone,
    /// Make the gateway a service that starts by itself
    #[command(after_help = "Examples:\n  clawgate gateway install\n  clawgate gateway install --dry-run\n  \
        sudo clawgate gateway install --system --user claw\n  clawgate gateway install --manager openrc\n\n\
        Without a service manager that it knows it prints what to write, and ends with 6.")]
    Install(InstallArgs),
    /// Stop the service and remove it; configuration and state stay
    Uninstall(ServiceArgs),
    /// Start the service
    Start(ServiceArgs),
    /// Stop the service, or the gateway that runs without one
    Stop(ServiceArgs),
    /// Restart the service, or the gateway that runs without one
    Restart(ServiceArgs),
    /// Show the certificate of this machine's gateway, or make a new one
    #[command(after_help = super::tls::HELP)]
    Tls(super::tls::TlsArgs),
}

/// How to run a gateway. `Debug` shows neither token nor password.
#[derive(Clone, Default, Args)]
pub struct RunArgs {
    /// Port to listen on; 0 takes a free one [default: OPENCLAW_GATEWAY_PORT, the config file, 18789]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Where to listen [default: OPENCLAW_GATEWAY_BIND, the config file, loopback]
    #[arg(long, value_name = "MODE")]
    pub bind: Option<BindArg>,
    /// How clients prove that they may come in [default: the config file, token]
    #[arg(long, value_name = "MODE")]
    pub auth: Option<AuthArg>,
    /// Shared token (also OPENCLAW_GATEWAY_TOKEN, which other users cannot see in the process list)
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Shared password (also OPENCLAW_GATEWAY_PASSWORD)
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Read the shared password from a file
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Have Tailscale serve the gateway: to the tailnet (serve), to everybody (funnel), or not at all [default:
    /// gateway.tailscale.mode, off]
    #[arg(long, value_name = "MODE")]
    pub tailscale: Option<TailscaleArg>,
    /// Take back what Tailscale serves when the gateway stops or restarts [default: gateway.tailscale.resetOnExit]
    #[arg(long)]
    pub tailscale_reset_on_exit: bool,
    /// What runs the connections: blocking threads or an async executor
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Option<Runtime>,
    /// Log each step
    #[arg(long, short)]
    pub verbose: bool,
    /// Where the log is kept besides standard error: a file, or off for memory only [default: logging.file, a
    /// temporary folder]
    #[arg(long, value_name = "FILE|off")]
    pub log_file: Option<PathBuf>,
    /// Log as JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Start even when gateway.mode is not "local"
    #[arg(long)]
    pub allow_unconfigured: bool,
    /// Take at most so many connections at once [default: limits.socketsMax of clawgate.json, 8192]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(4..=1_000_000))]
    pub max_connections: Option<u64>,
    /// Write nothing below the state folder: what is paired, stored or set is gone when the gateway ends or restarts
    #[arg(long)]
    pub state_in_memory: bool,
    /// A switch of the TCP bridge that earlier gateways had
    #[arg(long, hide = true, alias = "no-bridge")]
    pub bridge: bool,
    /// A setting of it
    #[arg(long = "bridge-port", hide = true, aliases = ["bridge-host", "bridge-bind"])]
    pub bridge_value: Option<String>,
}

/// How to reach a running gateway. `Debug` shows no secret.
#[derive(Clone, Default, Args)]
pub struct ClientArgs {
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Address of the gateway, such as ws://127.0.0.1:18789; needs --token or --password [also OPENCLAW_GATEWAY_URL]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The gateway's token [default: OPENCLAW_GATEWAY_TOKEN, the config file]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// The gateway's password [default: OPENCLAW_GATEWAY_PASSWORD, the config file]
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// The one certificate to trust at a wss:// address: its SHA-256 [default: gateway.remote.tlsFingerprint, this
    /// machine's own certificate]
    #[arg(long, value_name = "SHA256", value_parser = super::tls::fingerprint)]
    pub tls_fingerprint: Option<String>,
    /// How long to wait for the gateway, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub timeout: u64,
}

impl fmt::Debug for RunArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunArgs")
            .field("port", &self.port)
            .field("bind", &self.bind)
            .field("auth", &self.auth)
            .field("tailscale", &self.tailscale)
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientArgs")
            .field("json", &self.json)
            .field("has_token", &self.token.is_some())
            .field("has_password", &self.password.is_some())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Values of `--bind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BindArg {
    /// Only this machine: 127.0.0.1, and ::1 where there is one
    Loopback,
    /// Every IPv4 address of this machine
    Lan,
    /// This machine's address in its tailnet; waits until there is one
    Tailnet,
    /// Loopback: never wider, whatever cannot be bound
    Auto,
    /// The address in gateway.customBindHost
    Custom,
}

impl BindArg {
    /// The name on the command line, and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Lan => "lan",
            Self::Tailnet => "tailnet",
            Self::Auto => "auto",
            Self::Custom => "custom",
        }
    }
}

impl From<BindArg> for Bind {
    fn from(arg: BindArg) -> Self {
        match arg {
            BindArg::Loopback | BindArg::Auto => Self::Loopback,
            BindArg::Lan => Self::Lan,
            BindArg::Tailnet => Self::Tailnet,
            BindArg::Custom => Self::Custom,
        }
    }
}

/// Values of `--tailscale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TailscaleArg {
    /// Nothing is served, whatever the file says
    Off,
    /// The tailnet is served
    Serve,
    /// Everybody is served; needs a password
    Funnel,
}

impl From<TailscaleArg> for TailscaleMode {
    fn from(arg: TailscaleArg) -> Self {
        match arg {
            TailscaleArg::Off => Self::Off,
            TailscaleArg::Serve => Self::Serve,
            TailscaleArg::Funnel => Self::Funnel,
        }
    }
}

/// A fault of the command line without what may be a secret at the wrong place: the value of `--auth`, and words that
/// belong to nothing, as of a passphrase without quotes.
pub fn without_values(mut why: clap::Error) -> clap::Error {
    let text = |kind| match why.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(_) | None => None,
    };
    let argument = text(ContextKind::InvalidArg).unwrap_or_default();
    let hidden = || ContextValue::String("...".to_owned());
    if why.kind() == ErrorKind::InvalidValue && argument.starts_with("--auth") {
        why.insert(ContextKind::InvalidValue, hidden());
        why.remove(ContextKind::SuggestedValue);
    }
    if why.kind() == ErrorKind::UnknownArgument && !argument.starts_with('-') {
        why.insert(ContextKind::InvalidArg, hidden());
        why.remove(ContextKind::SuggestedArg);
    }
    why
}

/// Values of `--auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthArg {
    /// No shared secret (loopback only); devices are still paired
    None,
    /// A shared token
    Token,
    /// A shared password
    Password,
    /// The users that a proxy in front names
    TrustedProxy,
}

impl From<AuthArg> for AuthMode {
    fn from(arg: AuthArg) -> Self {
        match arg {
            AuthArg::None => Self::None,
            AuthArg::Token => Self::Token,
            AuthArg::Password => Self::Password,
            AuthArg::TrustedProxy => Self::TrustedProxy,
        }
    }
}

/// Values of `--runtime`: the drivers compiled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// Blocking threads
    #[cfg(feature = "std")]
    Std,
    /// The smol async executor
    #[cfg(feature = "smol")]
    Smol,
}

impl Runtime {
    /// The one used when none is named.
    pub const DEFAULT: Self = {
        #[cfg(feature = "std")]
        {
            Self::Std
        }
        #[cfg(not(feature = "std"))]
        {
            Self::Smol
        }
    };

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            #[cfg(feature = "std")]
            Self::Std => "std",
            #[cfg(feature = "smol")]
            Self::Smol => "smol",
        }
    }
}

#[cfg(not(any(feature = "std", feature = "smol")))]
compile_error!("a gateway needs a driver: enable the feature `std` or `smol`");

const AFTER_HELP: &str = "\
Examples:
  clawgate gateway                    run a gateway for this machine on port 18789
  clawgate token                      show the token that clients need
  clawgate status                     see whether it runs, and what it knows
  clawgate doctor                     see what is in the way when it does not
  clawgate security audit             see who could get in who should not
  clawgate tui                        watch it: who is there, what waits, events, log
  clawgate devices list               see who is paired and who asks to be
  clawgate node run                   make this machine a node of a gateway
  clawgate call health --json         call any method
  clawgate --profile rescue gateway --port 19001    a second gateway with files of its own
  clawgate config set gateway.port 18790

Exit codes:
  0  done
  1  failed: a file, a setting, a taken port or another gateway is in the way
  2  the command line makes no sense
  3  the gateway cannot be reached, or did not answer in time
  4  the gateway did not let us in (credentials, pairing)
  5  the gateway answered the call with an error
  6  no service manager answers here
  70  the gateway found itself unsound and ended: a defect, please report it
  130, 143  ended at once by a second SIGINT or SIGTERM; tui by the first

Environment:
  OPENCLAW_CONFIG_PATH, OPENCLAW_STATE_DIR, OPENCLAW_HOME     where configuration and state are
  OPENCLAW_GATEWAY_PORT, OPENCLAW_GATEWAY_BIND
  OPENCLAW_GATEWAY_TOKEN, OPENCLAW_GATEWAY_PASSWORD, OPENCLAW_GATEWAY_URL
  OPENCLAW_ALLOW_INSECURE_PRIVATE_WS                          1: client commands and nodes may talk to a private network in the clear
  OPENCLAW_ALLOW_MULTI_GATEWAY                                1: several gateways on one configuration, at your own risk
  OPENCLAW_LOG_LEVEL                                          silent, error, warn, info, debug or trace";

const GATEWAY_HELP: &str = "\
Examples:
  clawgate gateway                          loopback, token from the config file (made when there is none)
  clawgate gateway --bind lan --password-file /run/secrets/gateway
  clawgate gateway --port 0 --auth none     a throw-away gateway on a free port of loopback
  clawgate gateway --tailscale serve --tailscale-reset-on-exit    in the tailnet, for as long as it runs

SIGINT or SIGTERM stops it gently: clients are told, and writes are finished. A second one ends it at once.";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn debug_shows_no_secret_of_the_command_line() {
        for line in [
            "gateway --token hidden1 --password hidden2",
            "status --url ws://a/?hidden0 --token hidden1 --password hidden2",
            "call m --params {\"token\":\"hidden0\"} --token hidden1",
            "devices list --token hidden1",
            "node run --token hidden1 --password hidden2",
            "node run --setup-code hidden1",
            "nodes invoke --node n --command c --params {\"token\":\"hidden0\"} --token hidden1",
            "nodes run --node n --env A=hidden0 --token hidden1 -- echo hidden2",
            "config set gateway.auth.token hidden1",
        ] {
            let cli = Cli::try_parse_from(std::iter::once("clawgate").chain(line.split(' '))).unwrap();
            assert!(!format!("{cli:?}").contains("hidden"), "{cli:?}");
        }
    }

    #[test]
    fn a_fault_repeats_nothing_that_may_be_a_secret() {
        for (line, want) in [
            ("gateway --auth hunter22", "invalid value '...' for '--auth <"),
            ("gateway run --auth passwort", "invalid value '...' for '--auth <"),
            ("setup --auth hunter22", "invalid value '...' for '--auth <"),
            ("config set gateway.auth.token correct horse hunter22", "unexpected argument '...' found"),
            ("token passwort", "unexpected argument '...' found"),
            ("status --tokne=hunter22", "unexpected argument '--tokne' found"),
            ("gateway --bind lann", "invalid value 'lann' for '--bind <"),
            ("statsu", "unrecognized subcommand 'statsu'"),
        ] {
            let words = std::iter::once("clawgate").chain(line.split(' '));
            let why = without_values(Cli::try_parse_from(words).unwrap_err()).to_string();
            assert!(why.contains(want) && !why.contains("hunter22") && !why.contains("passwort"), "{why}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn gateway_is_gateway_run() {
        let flags =
            ["--port", "0", "--bind", "lan", "--auth", "password", "--password-file", "/p", "--verbose"];
        for prefix in [&["clawgate", "gateway"][..], &["clawgate", "gateway", "run"]] {
            let cli = Cli::try_parse_from(prefix.iter().chain(&flags)).unwrap();
            let Command::Gateway(gateway) = cli.command else { panic!("not the gateway command") };
            let run = match gateway.command {
                None => gateway.run,
                Some(GatewayCommand::Run(run)) => run,
                other => panic!("{other:?}"),
            };
            assert_eq!(
                (run.port, run.bind, run.auth),
                (Some(0), Some(BindArg::Lan), Some(AuthArg::Password))
            );
            assert!(run.verbose && !run.allow_unconfigured);
        }
    }

    #[test]
    fn client_commands_exist_below_gateway_too() {
        for words in
            ["call health", "gateway call health", "health", "gateway health", "status", "gateway status"]
        {
            let words = ["clawgate"].into_iter().chain(words.split(' ')).chain(["--json", "--timeout", "5"]);
            assert!(Cli::try_parse_from(words.clone()).is_ok(), "{:?}", words.collect::<Vec<_>>());
        }
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for words in [
            "gateway --bind everywhere",
            "gateway --tailscale on",
            "gateway --port 70000",
            "devices approve x --latest",
        ] {
            let words = ["clawgate"].into_iter().chain(words.split(' '));
            assert_eq!(Cli::try_parse_from(words).unwrap_err().exit_code(), 2);
        }
    }
}
