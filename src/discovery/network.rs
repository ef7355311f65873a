//! The machine's networks and their multicast sockets.
//!
//! A socket is bound to the group's own address, not to every address: what others send to this machine alone, such as
//! answers for another responder on it, never comes here. It still gets what comes to the group on other links (on Linux,
//! every member of a group does); the core hears only neighbours of the link that a socket is for.

use crate::interfaces::{self, Interface};
use crate::log::Logger;
use clawgate_proto::log::Record;
use clawgate_proto::mdns::{Family, Link, LinkId, Network, PORT, Service, Subnet};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// On which networks a gateway is reached, and at which addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At every IPv4 address.
    Every,
    /// At this one.
    Only(Ipv4Addr),
}

/// Tells what there is to say of the gateway, as it is by then.
struct Says(Box<dyn FnMut() -> Service + Send>);

impl fmt::Debug for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Says")
    }
}

/// This machine.
#[derive(Debug)]
pub struct Machine {
    /// None: nobody is announced, somebody is looked for.
    reach: Option<Reach>,
    says: Option<Says>,
    logger: Option<Arc<Logger>>,
    /// Why sockets could not be had.
    pub faults: Vec<String>,
    /// Whether there was any network.
    pub has_networks: bool,
}

impl Machine {
    /// For a gateway that is announced.
    pub fn for_gateway(
        reach: Reach,
        logger: Arc<Logger>,
        says: impl FnMut() -> Service + Send + 'static,
    ) -> Self {
        let says = Some(Says(Box::new(says)));
        Self { reach: Some(reach), says, logger: Some(logger), faults: Vec::new(), has_networks: false }
    }

    /// For somebody who looks for gateways.
    pub fn for_looking() -> Self {
        Self { reach: None, says: None, logger: None, faults: Vec::new(), has_networks: false }
    }

    /// Whether the service is reached at an address.
    fn serves(&self, address: IpAddr) -> bool {
        match self.reach {
            None => true,
            // The gateway listens on IPv4 alone.
            Some(Reach::Every) => address.is_ipv4(),
            Some(Reach::Only(only)) => address == IpAddr::V4(only),
        }
    }
}

impl Network for Machine {
    type Socket = UdpSocket;

    fn look(&mut self) -> Option<Vec<Link>> {
        let networks = match interfaces::networks() {
            Ok(networks) => networks,
            // A gateway looks again soon.
            Err(why) => {
                if self.reach.is_none() {
                    self.faults.push(format!("the networks of this machine: {why}"));
                }
                return None;
            }
        };
        let links: Vec<Link> = networks
            .into_iter()
            .map(|Interface { index, name, addresses }| Link {
                id: LinkId(index),
                name,
                addresses: addresses
                    .iter()
                    .map(|(address, _)| *address)
                    .filter(|ip| self.serves(*ip))
                    .collect(),
                subnets: addresses.into_iter().map(|(address, prefix)| Subnet { address, prefix }).collect(),
            })
            .filter(|link| !link.addresses.is_empty())
            .collect();
        self.has_networks |= !links.is_empty();
        Some(links)
    }

    fn service(&mut self) -> Option<Service> {
        self.says.as_mut().map(|says| says.0())
    }

    fn open(&mut self, link: &Link, family: Family) -> Result<UdpSocket, String> {
        let index = link.id.0;
        let opened = match family {
            Family::V4 => ipv4(index, PORT),
            Family::V6 => ipv6(index, PORT),
        };
        // Somebody has the port for himself. Who only looks may use another, and is answered alone.
        let opened = match (opened, family) {
            (Err(Errno::ADDRINUSE), Family::V4) if self.reach.is_none() => ipv4(index, 0),
            (Err(Errno::ADDRINUSE), Family::V6) if self.reach.is_none() => ipv6(index, 0),
            (opened, _) => opened,
        };
        opened.map(UdpSocket::from).map_err(|why| {
            let why = match why {
                Errno::ADDRINUSE => "another program has UDP port 5353 for itself".to_owned(),
                other => std::io::Error::from(other).to_string(),
            };
            // A gateway tries again for as long as it lives, and logs it.
            if self.reach.is_none() {
                self.faults.push(format!("{}: {why}", link.name));
            }
            why
        })
    }

    fn send(&mut self, socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
        let _ = socket.send_to(bytes, to);
    }

    fn receive(&mut self, socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        // An error that an earlier datagram met, such as that a peer is gone, is told once.
        (0..ERRORS_MAX).find_map(|_| match socket.recv_from(buffer) {
            Ok(received) => Some(Some(received)),
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => Some(None),
            Err(_) => None,
        })?
    }

    fn log(&mut self, record: &Record) {
        if let Some(logger) = &self.logger {
            logger.log(record);
        }
    }
}

fn ipv4(index: u32, port: u16) -> Result<OwnedFd, Errno> {
    let IpAddr::V4(group) = Family::V4.group() else { unreachable!("the group is of its family") };
    let socket = datagram_socket(AddressFamily::INET, port)?;
    sockopt::set_ip_multicast_ttl(&socket, HOPS)?;
    sockopt::set_ip_ttl(&socket, HOPS)?;
    sockopt::set_ip_multicast_loop(&socket, true)?;
    sockopt::set_ip_multicast_if_with_ifindex(&socket, &group, &Ipv4Addr::UNSPECIFIED, index)?;
    sockopt::set_ip_add_membership_with_ifindex(&socket, &group, &Ipv4Addr::UNSPECIFIED, index)?;
    let at = if port == 0 { Ipv4Addr::UNSPECIFIED } else { group };
    bind(&socket, &SocketAddrV4::new(at, port))?;
    Ok(socket)
}

fn ipv6(index: u32, port: u16) -> Result<OwnedFd, Errno> {
    let IpAddr::V6(group) = Family::V6.group() else { unreachable!("the group is of its family") };
    let socket = datagram_socket(AddressFamily::INET6, port)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    sockopt::set_ipv6_multicast_hops(&socket, HOPS)?;
    sockopt::set_ipv6_unicast_hops(&socket, u8::try_from(HOPS).ok())?;
    sockopt::set_ipv6_multicast_loop(&socket, true)?;
    sockopt::set_ipv6_multicast_if(&socket, index)?;
    sockopt::set_ipv6_add_membership(&socket, &group, index)?;
    let (at, scope) = if port == 0 { (Ipv6Addr::UNSPECIFIED, 0) } else { (group, index) };
    bind(&socket, &SocketAddrV6::new(at, port, 0, scope))?;
    Ok(socket)
}

/// Others on this machine may use the port as well.
fn datagram_socket(family: AddressFamily, port: u16) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    if port != 0 {
        sockopt::set_socket_reuseaddr(&socket, true)?;
        // Where it exists; without it the other one is enough.
        let _ = sockopt::set_socket_reuseport(&socket, true);
    }
    Ok(socket)
}

/// RFC 6762 section 11: whoever checks it sees that a datagram comes from this network.
const HOPS: u32 = 255;
/// Errors in a row before a socket has to wait for its next turn.
const ERRORS_MAX: usize = 8;
