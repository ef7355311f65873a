//! Multicast DNS (RFC 6762) and DNS-based service discovery (RFC 6763) for one service, without I/O: how a gateway says
//! on its local network that it is there ([`Responder`]), and how others are found ([`Browser`]). [`Station`] carries out
//! what either of them orders. [`Lookup`] asks ordinary DNS the same of a domain.
//!
//! Facts go in: which links there are, datagrams with their link and source, the time, the end. Orders come out: open and
//! close a socket, send a datagram, look at the links again. Whoever carries the orders out decides nothing.
//!
//! What a network sends never panics, and never makes a responder send more than [`limits`] say. Nothing here is
//! authenticated: what others announce is a hint for a person, and no credential follows it by itself.

mod browser;
mod budget;
mod conflict;
mod intake;
pub mod limits;
mod link;
mod lookup;
mod message;
mod port;
mod records;
mod responder;
mod service;
mod station;
#[cfg(test)]
mod tests;

pub use browser::{Beacon, Browser};
pub use link::{Link, LinkId, Subnet};
pub use lookup::{Ask, ExchangeId, Lookup, Silence, Transport};
pub use responder::Responder;
pub use service::{Detail, Fingerprint, Service, host_label};
pub use station::{Network, Speaker, Station};

use crate::log::Record;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where multicast DNS happens: 224.0.0.251 and ff02::fb (RFC 6762 section 3).
pub const PORT: u16 = 5353;

/// The kind of service that a gateway is.
pub const SERVICE_TYPE: [&str; 3] = ["_openclaw-gw", "_tcp", "local"];

/// The two internet protocols. To multicast DNS they are two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Its multicast group.
    pub fn group(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)),
        }
    }

    /// The one of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// One family on one link: what has a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortId {
    /// The link.
    pub link: LinkId,
    /// The family.
    pub family: Family,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact<'a> {
    /// This is what there is to say of the service now. May come at any time; what is no change does nothing.
    Service(Service),
    /// These are the links now. Answers [`Order::Look`], and may come at any time.
    Links(Vec<Link>),
    /// An ordered socket cannot be had; a sentence that says why.
    Failed(PortId, String),
    /// A datagram came.
    Datagram {
        /// To which socket.
        port: PortId,
        /// From whom.
        source: SocketAddr,
        /// What it says.
        bytes: &'a [u8],
    },
    /// Time has passed.
    Tick,
    /// It is to end.
    Stop,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Look which links there are, and say so.
    Look,
    /// Open the socket of this family on this link: bound to port 5353, a member of the group, sending to this link with
    /// a time to live of 255, and hearing itself. Say so if that fails.
    Open(Link, Family),
    /// Close it.
    Close(PortId),
    /// Send a datagram from it: to the group, or to whoever asked.
    Send {
        /// From where.
        port: PortId,
        /// To one peer; none is the group.
        to: Option<SocketAddr>,
        /// What to say.
        bytes: Vec<u8>,
    },
    /// A line of the log.
    Log(Record),
    /// Nothing follows.
    Stopped,
}
