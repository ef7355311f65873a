//! What can be asked of the device store, and what comes back.

use super::pairing::{ConnectOp, Connected, PairingRequired};
use super::setup::{SetupAccess, SetupIssued};
use super::tokens::TokenFault;
use crate::host::HostRequest;
use crate::log::Record;
use crate::scope::Scopes;
use crate::secret::Secret;
use crate::store::nodes::NodeEntry;
use crate::store::{PairedDevice, PendingRequest};
use core::fmt;
use serde_json::Value;
use std::sync::Arc;

/// Something to do with the store.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A device that proved its key wants in. Answered by [`Done::Connected`], [`Done::TokenRejected`],
    /// [`Done::SetupRejected`], [`Done::PairingRequired`] or [`Done::Failed`].
    Connect(Box<ConnectOp>),
    /// `device.pair.list`: look at [`super::DeviceStore::view`] when [`Done::Listed`] comes.
    List,
    /// `device.pair.approve`.
    Approve {
        /// Which request.
        request_id: String,
        /// What the caller holds.
        approver: Scopes,
    },
    /// `device.pair.reject`.
    Reject {
        /// Which request.
        request_id: String,
    },
    /// `device.pair.remove`.
    Remove {
        /// Which device.
        device_id: String,
    },
    /// `device.token.rotate`.
    Rotate {
        /// Whose token.
        device_id: String,
        /// For which role.
        role: String,
        /// The scopes of the new token; those of the old one when absent.
        scopes: Option<Vec<String>>,
        /// Who asks.
        caller: Caller,
    },
    /// `device.token.revoke`.
    Revoke {
        /// Whose token.
        device_id: String,
        /// For which role.
        role: String,
    },
    /// `device.pair.rename`.
    Rename {
        /// Which device.
        device_id: String,
        /// Its name from now on.
        label: String,
    },
    /// `device.pair.setupCode`.
    IssueSetup {
        /// What the code is for.
        access: SetupAccess,
        /// The device whose operator asks.
        by: Option<String>,
    },
    /// The shared secret is another one: setup codes that were made on its strength alone end.
    ForgetSecretCodes,
    /// `device.scopes.requestUpgrade`.
    RequestUpgrade {
        /// The caller's device.
        device_id: String,
        /// What it wants besides what it has.
        scopes: Scopes,
    },
    /// `node.pair.approve`.
    ApproveNode {
        /// Which request.
        request_id: String,
        /// What the caller holds.
        approver: Scopes,
    },
    /// `node.pair.reject`.
    RejectNode {
        /// Which request.
        request_id: String,
    },
    /// `node.pair.remove`.
    RemoveNode {
        /// Which node.
        node_id: String,
    },
    /// `node.rename`.
    RenameNode {
        /// Which node.
        node_id: String,
        /// Its name from now on.
        name: String,
    },
    /// `node.pair.request`.
    AskNode(Box<NodeEntry>),
    /// `node.pair.verify`.
    VerifyNode {
        /// Which node.
        node_id: String,
        /// What it shows.
        token: Secret,
    },
}

/// Who asks for a rotation: always an operator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// The live scopes of the socket.
    pub(crate) scopes: Scopes,
    /// Its device.
    pub(crate) device_id: Option<String>,
    /// Whether a device token let it in.
    pub(crate) by_device_token: bool,
}

/// The outcome of an operation. A success is durable.
#[derive(Clone, Debug)]
pub(crate) enum Done {
    /// The device may come in.
    Connected(Box<Connected>),
    /// The device token is no good.
    TokenRejected {
        /// Why.
        fault: TokenFault,
        /// Whether it was sent as a device token.
        explicit: bool,
    },
    /// The setup code is wrong, expired, spent, another device's, or not for this.
    SetupRejected,
    /// Somebody must approve first.
    PairingRequired(Box<PairingRequired>),
    /// The view is up to date.
    Listed,
    /// A request was approved.
    Approved {
        /// Which.
        request_id: String,
        /// The device's record now.
        device: Arc<PairedDevice>,
    },
    /// A request was turned down.
    Rejected {
        /// Which.
        request_id: String,
        /// Whose.
        device_id: String,
    },
    /// A device is gone.
    Removed {
        /// Which.
        device_id: String,
    },
    /// A token was replaced.
    Rotated(Box<Rotated>),
    /// A token was revoked.
    Revoked {
        /// Whose.
        device_id: String,
        /// For which role.
        role: String,
        /// When.
        revoked_at_ms: u64,
    },
    /// It was done; the answer is the same in both protocols.
    Told(Value),
    /// A setup code was made.
    SetupIssued(Box<SetupIssued>),
    /// More scopes are asked for under this id.
    UpgradeFiled {
        /// The request.
        request_id: String,
        /// Whose.
        device_id: String,
    },
    /// What a node offers was approved.
    NodeApproved {
        /// Which request.
        request_id: String,
        /// The node now.
        node: Arc<NodeEntry>,
    },
    /// What a node offers is asked for.
    NodeAsked {
        /// The request that waits.
        request: Arc<NodeEntry>,
        /// Whether it is a new one.
        created: bool,
    },
    /// The node whose token was shown, when it was right.
    NodeVerified(Option<Arc<NodeEntry>>),
    /// Nothing was done.
    Failed(DeviceError),
}

/// A replaced token.
#[derive(Clone, Debug)]
pub(crate) struct Rotated {
    /// Whose.
    pub(crate) device_id: String,
    /// For which role.
    pub(crate) role: String,
    /// What it stands for, sorted.
    pub(crate) scopes: Vec<String>,
    /// When.
    pub(crate) rotated_at_ms: u64,
    /// The secret, when the caller is the device it belongs to; else it is withheld.
    pub(crate) token: Option<Secret>,
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeviceError {
    /// No such pending request, or no longer.
    UnknownRequest,
    /// No such device.
    UnknownDevice,
    /// No such node.
    UnknownNode,
    /// The caller's device is not paired as an operator.
    NotPaired,
    /// No such device, or not in this role.
    UnknownDeviceOrRole,
    /// The caller lacks this scope.
    MissingScope(String),
    /// As many devices as we keep are paired.
    Full(usize),
    /// Too many operations wait for the disk.
    Busy,
    /// The caller's device was removed, or its token revoked or replaced, before its turn came. Its socket is closed
    /// for that.
    CallerGone,
    /// The store could not be read or written; for a person.
    Unavailable(String),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRequest => f.write_str("unknown requestId"),
            Self::UnknownDevice => f.write_str("unknown deviceId"),
            Self::UnknownNode => f.write_str("unknown nodeId"),
            Self::NotPaired => f.write_str("a paired device is needed to ask for more scopes"),
            Self::UnknownDeviceOrRole => f.write_str("unknown deviceId/role"),
            Self::MissingScope(scope) => write!(f, "missing scope: {scope}"),
            Self::Full(max) => write!(f, "{max} devices are paired, which is the limit: remove some first"),
            Self::Busy => f.write_str("the device store has too many operations waiting: try again"),
            Self::CallerGone => {
                f.write_str("the device of this connection was removed, or its token revoked")
            }
            Self::Unavailable(why) => f.write_str(why),
        }
    }
}

/// What the caller should do, in order.
#[derive(Debug)]
pub(crate) enum Effect<K> {
    /// Ask the host. A newer request supersedes an older one, whose answer must not come in any more.
    Host(HostRequest),
    /// An operation has its outcome.
    Done {
        /// As given to [`super::DeviceStore::submit`].
        key: K,
        /// The outcome.
        done: Done,
    },
    /// Tell somebody else.
    Notice(Notice),
}

/// News that is not the answer to an operation.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    /// A request waits for a person, or asks for more than before: `device.pair.requested`.
    Requested(Arc<PendingRequest>),
    /// A request was decided: `device.pair.resolved`.
    Resolved {
        /// Which.
        request_id: String,
        /// Whose.
        device_id: String,
        /// Approved, or rejected.
        approved: bool,
        /// When, Unix milliseconds.
        ts: u64,
    },
    /// A device has another name: `device.pair.changed`.
    Changed {
        /// Which.
        device_id: String,
        /// When, Unix milliseconds.
        ts: u64,
    },
    /// What a node offers waits for a person: `node.pair.requested`.
    NodeRequested(Arc<NodeEntry>),
    /// What a node asked for was decided: `node.pair.resolved`.
    NodeResolved {
        /// Which; empty when the node itself is gone.
        request_id: String,
        /// Whose.
        node_id: String,
        /// How.
        decision: &'static str,
        /// When, Unix milliseconds.
        ts: u64,
    },
    /// Live sockets lost their ground.
    Close(CloseDevice),
    /// For the log.
    Log(Record),
}

/// The sockets to close, 4001 `device removed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseDevice {
    /// Of this device.
    pub(crate) device_id: String,
    /// In this role; in any when absent.
    pub(crate) role: Option<String>,
}
