//! What may be typed: commands, flags, help with examples, exit codes.

use super::approvals::ApprovalsCommand;
use super::canvas::CanvasCommand;
use super::config::ConfigCommand;
use super::discover::DiscoverArgs;
use super::invoke::{DescribeArgs, InvokeArgs, NodeShellArgs, NotifyArgs};
use super::node::NodeCommand;
use super::service::status::GatewayStatusArgs;
use super::service::{InstallArgs, ServiceArgs};
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
    #[command(after_help = DOCTOR_HELP)]
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

/// `clawgate status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Also ask for health, presence and the gateway's own numbers as they are now
    #[arg(long)]
    pub deep: bool,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `clawgate logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// Go on until interrupted, through restarts of the gateway
    #[arg(long, short)]
    pub follow: bool,
    /// Most lines of what there is already; with --follow, what comes is shown whole
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=super::logs::LIMIT_MAX))]
    pub limit: u64,
    /// Most bytes to look at
    #[arg(long, value_name = "N", default_value_t = 250_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub max_bytes: u64,
    /// With --follow: time between two looks, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    pub interval: u64,
    /// No colours
    #[arg(long)]
    pub plain: bool,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `clawgate system`.
#[derive(Clone, Debug, Subcommand)]
pub enum SystemCommand {
    /// Show who is here
    Presence(ClientArgs),
    /// Leave a line for the agent; it is kept, and `status` shows it
    #[command(after_help = "Example:\n  clawgate system event --text 'the kiln is hot' --mode now")]
    Event {
        /// What to say
        #[arg(long, value_name = "TEXT")]
        text: String,
        /// When an agent should look at it
        #[arg(long, value_name = "MODE", default_value = "next-heartbeat", value_parser = ["now", "next-heartbeat"])]
        mode: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Heartbeats of the agent
    Heartbeat {
        /// What to do.
        #[command(subcommand)]
        command: HeartbeatCommand,
    },
}

/// `clawgate system heartbeat`.
#[derive(Clone, Debug, Subcommand)]
pub enum HeartbeatCommand {
    /// Show the latest one
    Last(ClientArgs),
    /// Switch them on
    Enable(ClientArgs),
    /// Switch them off
    Disable(ClientArgs),
}

impl SystemCommand {
    /// How to reach the gateway.
    pub fn client(&self) -> &ClientArgs {
        match self {
            Self::Presence(client) | Self::Event { client, .. } => client,
            Self::Heartbeat { command } => match command {
                HeartbeatCommand::Last(client)
                | HeartbeatCommand::Enable(client)
                | HeartbeatCommand::Disable(client) => client,
            },
        }
    }
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

/// `clawgate probe`.
#[derive(Clone, Debug, Default, Args)]
#[command(
    after_help = "Examples:\n  clawgate probe\n  clawgate gateway probe --ssh me@pi.local --token \"$TOKEN\""
)]
pub struct ProbeArgs {
    /// Go through the SSH server of another machine to the gateway there: user@host, user@host:port, or without a value
    /// gateway.remote.sshTarget. --url is then the gateway as that machine sees it [default: ws://127.0.0.1:18789]
    #[arg(long, value_name = "TARGET", num_args = 0..=1, default_missing_value = "")]
    pub ssh: Option<String>,
    /// Private key for it [default: gateway.remote.sshIdentity with gateway.remote.sshTarget, else what ssh takes]
    #[arg(long, value_name = "FILE", requires = "ssh")]
    pub ssh_identity: Option<PathBuf>,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `clawgate call`. `Debug` leaves the params out.
#[derive(Clone, Args)]
pub struct CallArgs {
    /// Name of the method
    pub method: String,
    /// Its params, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub params: String,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
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

impl fmt::Debug for CallArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallArgs")
            .field("method", &self.method)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// `clawgate token`.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// `clawgate doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Take the rights of others to files and folders of this installation away; nothing else is changed
    #[arg(long, visible_alias = "repair")]
    pub fix: bool,
    /// How long to wait for the gateway, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub timeout: u64,
    /// Nothing is ever asked; for scripts of the reference
    #[arg(long, hide = true, alias = "yes")]
    pub non_interactive: bool,
}

/// `clawgate security`.
#[derive(Clone, Debug, Subcommand)]
pub enum SecurityCommand {
    /// Look at configuration, files and paired devices
    #[command(after_help = AUDIT_HELP)]
    Audit(AuditArgs),
}

impl SecurityCommand {
    /// Whether it prints for programs.
    pub fn json(&self) -> bool {
        match self {
            Self::Audit(args) => args.json,
        }
    }
}

/// `clawgate security audit`.
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// Also ask the running gateway: as a stranger, as a page from elsewhere, and as this machine
    #[arg(long)]
    pub deep: bool,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Take the rights of others to files and folders of this installation away; nothing else is changed
    #[arg(long)]
    pub fix: bool,
    /// With --deep: how long to wait for the gateway, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub timeout: u64,
}

/// `clawgate setup`. `Debug` shows no secret.
#[derive(Clone, Default, Args)]
pub struct SetupArgs {
    /// Port to listen on
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Who may reach it
    #[arg(long, value_name = "MODE")]
    pub bind: Option<BindArg>,
    /// Address to listen on, with --bind custom
    #[arg(long, value_name = "IPV4")]
    pub custom_bind_host: Option<String>,
    /// How clients prove that they may come in
    #[arg(long, value_name = "MODE")]
    pub auth: Option<SetupAuth>,
    /// Shared token [default: the one there is, or a new one]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Read the shared password from a file
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Make this machine a gateway although its file is that of a client (gateway.mode "remote")
    #[arg(long)]
    pub local: bool,
    /// Ask nothing, although there is a terminal
    #[arg(long)]
    pub non_interactive: bool,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

impl fmt::Debug for SetupArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetupArgs")
            .field("port", &self.port)
            .field("bind", &self.bind)
            .finish_non_exhaustive()
    }
}

/// Values of `setup --auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SetupAuth {
    /// A shared token
    Token,
    /// A shared password
    Password,
}

impl SetupAuth {
    /// The name on the command line, and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Password => "password",
        }
    }
}

/// `clawgate devices`.
#[derive(Clone, Debug, Subcommand)]
pub enum DevicesCommand {
    /// Show who waits for approval and who is paired
    List {
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let a waiting device in
    #[command(
        after_help = "Example:\n  clawgate devices list\n  clawgate devices approve 0ec1b0a8-4c8e-4b7e-9a46-0a3b7f0f6a51"
    )]
    Approve {
        /// Id of the request, as `devices list` shows it
        #[arg(value_name = "REQUEST", conflicts_with = "latest")]
        request: Option<String>,
        /// Approve the newest request
        #[arg(long)]
        latest: bool,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Turn a waiting device away
    Reject {
        /// Id of the request
        #[arg(value_name = "REQUEST")]
        request: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Forget a paired device and close its connections
    Remove {
        /// Id of the device
        #[arg(value_name = "DEVICE")]
        device: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Give a paired device a name
    Rename {
        /// Id of the device
        #[arg(value_name = "DEVICE")]
        device: String,
        /// Its name from now on
        #[arg(value_name = "NAME")]
        name: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Replace a device's token by a new one
    Rotate {
        /// Whose token, and how to reach the gateway.
        #[command(flatten)]
        token: DeviceTokenArgs,
        /// Scope of the new token; may be repeated [default: as before]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// Take a device's token away
    Revoke {
        /// Whose token, and how to reach the gateway.
        #[command(flatten)]
        token: DeviceTokenArgs,
    },
}

impl DevicesCommand {
    /// How to reach the gateway.
    pub fn client(&self) -> &ClientArgs {
        match self {
            Self::List { client }
            | Self::Approve { client, .. }
            | Self::Reject { client, .. }
            | Self::Rename { client, .. }
            | Self::Remove { client, .. } => client,
            Self::Rotate { token, .. } | Self::Revoke { token } => &token.client,
        }
    }
}

/// `clawgate nodes`.
#[derive(Clone, Debug, Subcommand)]
pub enum NodesCommand {
    /// Show the nodes, connected or not
    List {
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show how the nodes are: where, since when, with which program
    #[command(after_help = "Examples:\n  clawgate nodes status\n  clawgate nodes status --connected --json")]
    Status {
        /// Only those that are connected
        #[arg(long)]
        connected: bool,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show all about one node
    Describe(DescribeArgs),
    /// Have a node do something, and print what it answers
    #[command(
        after_help = "Examples:\n  clawgate nodes invoke --node attic --command system.which --params '{\"bins\":[\"git\"]}'\n  clawgate nodes invoke --node attic --command device.status"
    )]
    Invoke(InvokeArgs),
    /// Run a command on a node, and end with its exit code (124 when its time was up)
    #[command(
        after_help = "Examples:\n  clawgate nodes run --node attic -- uname -a\n  clawgate nodes run --node attic --approve --cwd /srv -- sh -c 'ls | wc -l'"
    )]
    Run(Box<NodeShellArgs>),
    /// Show the person at a node something
    #[command(after_help = "Example:\n  clawgate nodes notify --node desk --title Kiln --body 'It is hot.'")]
    Notify(NotifyArgs),
    /// Show pages and A2UI on a node's canvas, and take pictures of it
    Canvas {
        /// What to do.
        #[command(subcommand)]
        command: CanvasCommand,
    },
    /// Show what nodes ask to offer
    Pending {
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let a node offer what it asks for
    Approve {
        /// Id of the request, as `nodes pending` shows it
        #[arg(value_name = "REQUEST")]
        request: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Turn down what a node asks for
    Reject {
        /// Id of the request
        #[arg(value_name = "REQUEST")]
        request: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take the role of a node away from a device
    Remove {
        /// The node: its id, its address, its name, or at least six characters that its id begins with
        #[arg(value_name = "NODE")]
        node: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Give a node a name
    Rename {
        /// The node: its id, its address, its name, or at least six characters that its id begins with
        #[arg(value_name = "NODE")]
        node: String,
        /// Its name from now on
        #[arg(value_name = "NAME")]
        name: String,
        /// How to reach the gateway.
        #[command(flatten)]
        client: ClientArgs,
    },
}

impl NodesCommand {
    /// How to reach the gateway.
    pub fn client(&self) -> &ClientArgs {
        match self {
            Self::Describe(args) => &args.client,
            Self::Invoke(args) => &args.client,
            Self::Run(args) => &args.client,
            Self::Notify(args) => &args.client,
            Self::Canvas { command } => command.client(),
            Self::List { client }
            | Self::Status { client, .. }
            | Self::Pending { client }
            | Self::Approve { client, .. }
            | Self::Reject { client, .. }
            | Self::Remove { client, .. }
            | Self::Rename { client, .. } => client,
        }
    }
}

/// `clawgate qr`. `Debug` shows no secret.
#[derive(Clone, Args)]
pub struct QrArgs {
    /// What the code opens
    #[arg(long, value_name = "ACCESS", default_value = "full")]
    pub access: AccessArg,
    /// Address in the code, such as wss://gateway.example [default: where the gateway listens]
    #[arg(long, visible_alias = "public-url", value_name = "URL", conflicts_with = "remote")]
    pub url: Option<String>,
    /// Put gateway.remote.url into the code
    #[arg(long)]
    pub remote: bool,
    /// Print the code and nothing else
    #[arg(long, conflicts_with = "json")]
    pub setup_code_only: bool,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
    /// No picture
    #[arg(long, visible_alias = "no-ascii")]
    pub no_picture: bool,
    /// The gateway's token [default: OPENCLAW_GATEWAY_TOKEN, the config file]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// The gateway's password [default: OPENCLAW_GATEWAY_PASSWORD, the config file]
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// How long to wait for the gateway, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub timeout: u64,
}

impl QrArgs {
    /// How to reach the gateway: this machine's own. `--url` is the one in the code.
    pub fn client(&self) -> ClientArgs {
        ClientArgs {
            json: self.json,
            url: None,
            token: self.token.clone(),
            password: self.password.clone(),
            tls_fingerprint: None,
            timeout: self.timeout,
        }
    }
}

impl fmt::Debug for QrArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QrArgs").field("access", &self.access).field("url", &self.url).finish_non_exhaustive()
    }
}

/// `clawgate dashboard`.
#[derive(Args, Debug)]
pub struct DashboardArgs {
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Values of `--access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccessArg {
    /// A phone: node, and operator with everything
    Full,
    /// A phone: node, and operator without admin
    Limited,
    /// A node host
    Node,
}

impl AccessArg {
    /// What the method calls it.
    pub fn profile(self) -> Option<&'static str> {
        match self {
            Self::Full => None,
            Self::Limited => Some("limited"),
            Self::Node => Some("node"),
        }
    }
}

/// One token of a device.
#[derive(Clone, Debug, Args)]
pub struct DeviceTokenArgs {
    /// Id of the device
    #[arg(long, value_name = "DEVICE")]
    pub device: String,
    /// Role the token is for
    #[arg(long, value_name = "ROLE", default_value = "operator")]
    pub role: String,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
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

const DOCTOR_HELP: &str = "\
Examples:
  clawgate doctor
  clawgate --profile rescue doctor --json

It reads the configuration as a start would, looks at files, disk, clock and other gateways, and knocks at the gateway of
this installation as the client commands do. Ends with 0 when nothing has to be mended, and with 1 otherwise. Secrets are
never shown and never changed.";

const AUDIT_HELP: &str = "\
Examples:
  clawgate security audit
  clawgate security audit --deep --json
  clawgate security audit --fix

Each finding has a stable id, a severity (critical, warn, info), the setting or path, what it means and what to do. Ends
with 0 when none is worse than info, and with 1 otherwise. Without --deep nothing is connected to.";

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
