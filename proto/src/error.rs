//! Why the gateway refuses something, as typed values. `dialect.rs` gives them their shape on the wire.

use crate::config::AuthMode;
use crate::connect::ProofFault;
use crate::gateway::devices::pairing::PairingRequired;
use crate::host::config::Issue;
use crate::methods::invoke_params::NodeError;
use crate::scope::Role;
use serde_json::Value;

/// Why an admitted peer's request fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestError {
    /// The whole message, said as it is.
    Invalid(String),
    /// A configuration that cannot be taken: the whole message, and what is wrong with it.
    InvalidConfig {
        /// For a person.
        message: String,
        /// For a program.
        issues: Vec<Issue>,
    },
    /// Params do not fit: method and joined validation texts.
    InvalidParams {
        /// Which method.
        method: String,
        /// Joined texts.
        errors: String,
    },
    /// This role may not call this method.
    UnauthorizedRole(Role),
    /// A scope is missing.
    MissingScope {
        /// The first one missing.
        missing: String,
        /// All that this call needs.
        required: Vec<String>,
    },
    /// No such method.
    UnknownMethod(String),
    /// The whole message, and what protocol 4 adds for a program.
    Named {
        /// For a person.
        message: String,
        /// `details`.
        details: Value,
    },
    /// The whole message, and a stable `details.code` in both protocols.
    Coded {
        /// For a program.
        code: &'static str,
        /// For a person.
        message: String,
    },
    /// Not for this caller, whatever its scopes: the whole message.
    Forbidden(&'static str),
    /// A command of a node was not carried out.
    Invoke(Box<InvokeError>),
    /// This gateway does not have the method.
    NotHere(&'static str),
    /// Too many control-plane writes.
    WriteBudget {
        /// Which method.
        method: &'static str,
        /// When the window ends.
        retry_after_ms: u64,
        /// How many a window takes.
        max: u32,
        /// Its length.
        window_ms: u64,
    },
    /// Too many requests wait for the host.
    Busy,
    /// Not now, or not here.
    Unavailable {
        /// For a person.
        message: String,
        /// A stable `details.reason`.
        reason: &'static str,
        /// Whether the same request may succeed later.
        retryable: bool,
    },
    /// The gateway takes no new work.
    Suspended {
        /// What was asked for.
        method: String,
        /// How far the suspension is.
        phase: &'static str,
    },
}

impl RequestError {
    /// A stable word for counting.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::InvalidParams { .. } => "INVALID_PARAMS",
            Self::UnauthorizedRole(_) => "UNAUTHORIZED_ROLE",
            Self::MissingScope { .. } => "MISSING_SCOPE",
            Self::UnknownMethod(_) => "UNKNOWN_METHOD",
            Self::InvalidConfig { .. } => "INVALID_CONFIG",
            Self::Named { .. } => "NAMED",
            Self::Coded { code, .. } => code,
            Self::Forbidden(_) => "FORBIDDEN",
            Self::Invoke(error) => error.kind(),
            Self::NotHere(_) => "feature-unavailable",
            Self::WriteBudget { .. } => "RATE_LIMITED",
            Self::Busy => "BUSY",
            Self::Unavailable { reason, .. } => reason,
            Self::Suspended { .. } => "gateway-suspending",
        }
    }
}

/// Why a node did not carry out a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InvokeError {
    /// It is about exec approvals, which have methods of their own.
    Approvals {
        /// The command.
        command: String,
    },
    /// There is no such node, or it is away.
    Away,
    /// Nobody has approved anything that the node offers.
    Unapproved {
        /// The command.
        command: String,
    },
    /// The policy does not allow it on this platform.
    NotListed {
        /// The command.
        command: String,
        /// As the node calls it.
        platform: String,
    },
    /// The configuration would have to allow it by name.
    Dangerous {
        /// The command.
        command: String,
        /// As the node calls it.
        platform: String,
    },
    /// The node does not offer it, or nobody approved that.
    NotOffered {
        /// The command.
        command: String,
        /// As the node calls it.
        platform: String,
    },
    /// A program that may not run.
    Run {
        /// `details.code`.
        code: &'static str,
        /// For a person.
        message: &'static str,
        /// The other members of `details`.
        details: Value,
    },
    /// The caller's time is over.
    Timeout {
        /// Whether the node was asked.
        is_sent: bool,
    },
    /// The node left before it answered.
    Gone {
        /// The command.
        command: String,
    },
    /// The node could not be asked.
    Unsent,
    /// The node says no.
    Refused(NodeError),
    /// The node cannot do it in the background, and will be told again when it is looked at.
    Kept {
        /// The name under which it is kept.
        action_id: String,
        /// The node.
        node_id: String,
        /// The command.
        command: String,
        /// What the node said.
        error: NodeError,
    },
    /// Nobody has approved yet what the node offers.
    AwaitsApproval {
        /// The request that waits.
        request_id: String,
    },
}

impl InvokeError {
    /// A stable word for counting.
    fn kind(&self) -> &'static str {
        match self {
            Self::Approvals { .. } => "INVALID_REQUEST",
            Self::Away => "node-away",
            Self::Unapproved { .. } => "node-unapproved",
            Self::NotListed { .. } | Self::Dangerous { .. } | Self::NotOffered { .. } => {
                "node-command-not-allowed"
            }
            Self::Run { code, .. } => code,
            Self::Timeout { .. } => "node-timeout",
            Self::Gone { .. } | Self::Unsent => "node-gone",
            Self::Refused(_) => "node-refused",
            Self::Kept { .. } => "node-queued",
            Self::AwaitsApproval { .. } => "node-unapproved",
        }
    }
}

/// Why a `connect` is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// No common protocol version.
    ProtocolMismatch {
        /// The peer's lowest.
        min: u64,
        /// The peer's highest.
        max: u64,
    },
    /// Neither operator nor node.
    InvalidRole,
    /// The page may not connect.
    Origin {
        /// The origin as it would have to be listed; `None` when there is none, or none that could be.
        shown: Option<Box<str>>,
    },
    /// The page must show a device.
    ControlUiNeedsDevice,
    /// This peer must show a device.
    DeviceRequired,
    /// The device did not prove itself.
    Proof(ProofFault),
    /// No valid credential.
    Unauthorized(Unauthorized),
    /// A person must approve the device first.
    Pairing {
        /// All that the refusal says.
        pairing: Box<PairingRequired>,
        /// Whether the client should go on trying by itself.
        wait: bool,
    },
    /// The gateway cannot decide now.
    Unavailable(String),
    /// The gateway is stopping.
    Stopping,
    /// A node of that identity is here and stays for now.
    NodeElsewhere {
        /// For how long.
        retry_after_ms: u64,
    },
}

/// A failed authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unauthorized {
    /// What failed.
    pub(crate) reason: AuthReason,
    /// What kind of credential was shown.
    pub(crate) provided: Provided,
    /// Whether a device was shown.
    pub(crate) device: bool,
    /// Whether an explicit device token was shown.
    pub(crate) device_token: bool,
    /// The mode in force.
    pub(crate) mode: AuthMode,
    /// Whose hints to give.
    pub(crate) client: ClientClass,
    /// For a locked key: when to try again.
    pub(crate) retry_after_ms: Option<u64>,
    /// For [`ProxyFault::MissingHeader`]: which, as it is configured.
    pub(crate) header: Option<Box<str>>,
}

/// `details.authReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthReason {
    /// No token was shown.
    TokenMissing,
    /// A wrong token.
    TokenMismatch,
    /// The gateway has no token.
    TokenMissingConfig,
    /// No password was shown.
    PasswordMissing,
    /// A wrong password.
    PasswordMismatch,
    /// The gateway has no password.
    PasswordMissingConfig,
    /// A wrong, expired or used setup token.
    BootstrapTokenInvalid,
    /// A wrong or revoked device token.
    DeviceTokenMismatch,
    /// The right device token for other scopes or another role.
    ScopeMismatch,
    /// Too many failures.
    RateLimited,
    /// No user of a trusted proxy.
    TrustedProxy(ProxyFault),
    /// No user of a tailnet, where one was claimed.
    Tailscale(TailnetFault),
}

/// Why a request shows no user of a trusted proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyFault {
    /// `gateway.auth.trustedProxy` is missing.
    NotConfigured,
    /// `gateway.trustedProxies` is empty.
    NoProxies,
    /// It comes from no trusted proxy.
    UntrustedSource,
    /// It comes from this machine, where every program could be the proxy.
    LoopbackSource,
    /// The proxy does not prove itself.
    ProofMismatch,
    /// A required header is missing: the place in the configured list.
    MissingHeader(usize),
    /// No user is named, or several are.
    UserMissing,
    /// The user is not one of those allowed.
    UserNotAllowed,
}

impl ProxyFault {
    /// `details.authReason`; of a missing header the part before its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "trusted_proxy_config_missing",
            Self::NoProxies => "trusted_proxy_no_proxies_configured",
            Self::UntrustedSource => "trusted_proxy_untrusted_source",
            Self::LoopbackSource => "trusted_proxy_loopback_source",
            Self::ProofMismatch => "trusted_proxy_proof_mismatch",
            Self::MissingHeader(_) => "trusted_proxy_missing_header_",
            Self::UserMissing => "trusted_proxy_user_missing",
            Self::UserNotAllowed => "trusted_proxy_user_not_allowed",
        }
    }

    /// What the owner of the gateway can do.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::NotConfigured => "set gateway.auth.trustedProxy.userHeader",
            Self::NoProxies => "add the proxy's address to gateway.trustedProxies",
            Self::UntrustedSource => {
                "if this address is your proxy's, add it to gateway.trustedProxies; else somebody went around the proxy"
            }
            Self::LoopbackSource => {
                "any program of this machine can come from here: name loopback in gateway.trustedProxies, and have the \
                 proxy prove itself with trustedProxy.proofHeader and .proof in clawgate.json"
            }
            Self::ProofMismatch => {
                "the proxy must send the header that trustedProxy.proofHeader in clawgate.json names, once, with the \
                 value of trustedProxy.proof"
            }
            Self::MissingHeader(_) => {
                "the proxy must send what gateway.auth.trustedProxy.requiredHeaders names"
            }
            Self::UserMissing => {
                "the proxy must send the header that gateway.auth.trustedProxy.userHeader names, once, on WebSocket \
                 requests too"
            }
            Self::UserNotAllowed => {
                "if this user may come in, add it to gateway.auth.trustedProxy.allowUsers"
            }
        }
    }
}

/// Why a tailnet identity that was shown does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TailnetFault {
    /// No user is named, or several are.
    UserMissing,
    /// It did not come through Tailscale Serve of this machine.
    ProxyMissing,
    /// The daemon does not tell who the address is.
    WhoisFailed,
    /// The daemon says that it is somebody else.
    UserMismatch,
}

impl TailnetFault {
    /// `details.authReason`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::UserMissing => "tailscale_user_missing",
            Self::ProxyMissing => "tailscale_proxy_missing",
            Self::WhoisFailed => "tailscale_whois_failed",
            Self::UserMismatch => "tailscale_user_mismatch",
        }
    }
}

/// The first credential shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provided {
    /// None.
    None,
    /// `auth.password`.
    Password,
    /// `auth.token`.
    Token,
    /// `auth.bootstrapToken`.
    BootstrapToken,
    /// `auth.deviceToken`.
    DeviceToken,
}

/// Which hints a client's user can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientClass {
    /// Mode `cli`.
    Cli,
    /// The control page and web chat.
    Page,
    /// Anything else.
    Other,
}
