//! Binding the sockets a gateway listens on. Never wider than asked: an address that cannot be had is a fault,
//! or, for the second loopback address, a warning, or, for the address in a tailnet, waited for.

use crate::interfaces;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The sockets of a gateway.
#[derive(Debug)]
pub struct Bound {
    /// Listening.
    pub listeners: Vec<TcpListener>,
    /// Where, in the same order.
    pub addresses: Vec<SocketAddr>,
    /// What could not be bound and may be missing; one sentence each.
    pub warnings: Vec<String>,
}

/// Which addresses to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// 127.0.0.1, and ::1 where it can be bound.
    Loopback,
    /// Every IPv4 address.
    Lan,
    /// The first IPv4 address in 100.64.0.0/10, as soon as there is one.
    Tailnet,
    /// This address (`gateway.customBindHost`).
    Custom(Ipv4Addr),
}

impl BindFault {
    /// What is told.
    pub fn into_text(self) -> String {
        match self {
            Self::Taken(why) | Self::Failed(why) => why,
            Self::Stopped => "it was told to stop".to_owned(),
        }
    }
}

impl Place {
    /// Whether others than the programs of this machine can come.
    pub fn is_beyond_loopback(self) -> bool {
        match self {
            Self::Loopback => false,
            Self::Lan | Self::Tailnet => true,
            Self::Custom(address) => !address.is_loopback(),
        }
    }
}

/// Why there is no gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindFault {
    /// Another process listens there; a sentence for a person.
    Taken(String),
    /// Anything else; a sentence for a person.
    Failed(String),
    /// It was told to stop while it waited for its address.
    Stopped,
}

/// Binds. A taken port is tried again a few times: a gateway that is just ending still holds it for a moment.
/// Port 0 takes a free one. While there is no address to bind, `wait` is called again and again; it takes its time,
/// and ends the waiting with `false`.
///
/// # Errors
/// The first address cannot be bound.
pub fn bind(place: Place, port: u16, wait: &mut dyn FnMut() -> bool) -> Result<Bound, BindFault> {
    let first = match place {
        Place::Loopback => with_retries(Ipv4Addr::LOCALHOST, port)?,
        Place::Lan => with_retries(Ipv4Addr::UNSPECIFIED, port)?,
        Place::Tailnet => when_there(port, wait)?,
        Place::Custom(address) => with_retries(address, port)?,
    };
    let address =
        first.local_addr().map_err(|why| BindFault::Failed(format!("a socket has no address: {why}")))?;
    let mut bound = Bound { listeners: vec![first], addresses: vec![address], warnings: Vec::new() };
    if address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let second = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), address.port());
        match listen(second) {
            Ok(listener) => {
                bound.listeners.push(listener);
                bound.addresses.push(second);
            }
            Err(why) => bound.warnings.push(format!("{second} is not listened on: {why}")),
        }
    }
    Ok(bound)
}

/// Whether a gateway could listen there now. `ours` is what this process listens on: it gives that up first. Nothing is
/// listened on meanwhile. What is waited for, a tailnet's address, is as good as there.
///
/// # Errors
/// It could not.
pub fn could(place: Place, port: u16, ours: &[SocketAddr]) -> Result<(), BindFault> {
    let address = match place {
        Place::Loopback => Ipv4Addr::LOCALHOST,
        Place::Lan => Ipv4Addr::UNSPECIFIED,
        Place::Tailnet => match interfaces::tailnet_address() {
            Some(address) => address,
            None => return Ok(()),
        },
        Place::Custom(address) => address,
    };
    let try_to_bind = |address: SocketAddr| socket_at(address).map(drop);
    let wanted = SocketAddr::from((address, port));
    let in_use = |why: &io::Error| why.kind() == io::ErrorKind::AddrInUse;
    let tried = match try_to_bind(wanted) {
        Err(why) if in_use(&why) => {
            let is_ours = |ip: Ipv4Addr| {
                ours.iter().any(|our| {
                    our.port() == port && (our.ip() == IpAddr::V4(ip) || our.ip().is_unspecified())
                })
            };
            let has_some = ours.iter().any(|our| our.port() == port);
            if is_ours(address) {
                Ok(())
            } else if address.is_unspecified() && has_some {
                // All but ours must be free, one by one: ours would be in the way of all together.
                let others = interfaces::addresses().into_iter().filter(|ip| !is_ours(*ip));
                others
                    .map(|ip| try_to_bind(SocketAddr::from((ip, port))))
                    .find(Result::is_err)
                    .unwrap_or(Ok(()))
            } else {
                Err(why)
            }
        }
        tried => tried,
    };
    tried.map_err(|why| fault(wanted, &why))
}

/// The tailnet's address, whenever it comes, and if it goes again before it is bound, the next.
fn when_there(port: u16, wait: &mut dyn FnMut() -> bool) -> Result<TcpListener, BindFault> {
    loop {
        if let Some(address) = interfaces::tailnet_address() {
            match with_retries(address, port) {
                // It was not asked for by anybody, so that it is gone is no mistake.
                Err(BindFault::Failed(_)) if !interfaces::addresses().contains(&address) => {}
                bound => return bound,
            }
        }
        if !wait() {
            return Err(BindFault::Stopped);
        }
    }
}

fn with_retries(address: Ipv4Addr, port: u16) -> Result<TcpListener, BindFault> {
    let address = SocketAddr::from((address, port));
    let mut retries = 0;
    loop {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(why) if why.kind() == io::ErrorKind::AddrInUse && retries < RETRIES => {
                retries += 1;
                std::thread::sleep(RETRY_AFTER);
            }
            Err(why) => return Err(fault(address, &why)),
        }
    }
}

/// Why an address cannot be listened on, for a person.
fn fault(address: SocketAddr, why: &io::Error) -> BindFault {
    let kind = why.kind();
    if kind == io::ErrorKind::AddrInUse {
        return BindFault::Taken(format!(
            "another gateway instance is already listening on ws://{address}\n\
             Stop it, or choose another port with --port."
        ));
    }
    let host = address.ip();
    BindFault::Failed(if kind == io::ErrorKind::PermissionDenied {
        format!(
            "cannot listen on {address}: permission denied; ports below 1024 need a privilege, choose another with --port"
        )
    } else if kind == io::ErrorKind::AddrNotAvailable {
        format!(
            "gateway bind=custom requested {host} but resolved 0.0.0.0; refusing fallback\n\
             No interface of this machine has the address {host}: set gateway.customBindHost to one that it has{}, or use \
             another gateway.bind.",
            those_of_this_machine()
        )
    } else {
        format!("cannot listen on {address}: {why}")
    })
}

fn those_of_this_machine() -> String {
    let shown: Vec<String> =
        interfaces::addresses().iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    if shown.is_empty() { String::new() } else { format!(" ({})", shown.join(", ")) }
}

/// As the standard library does it, but with a queue that takes a burst of reconnecting clients: 128 would make
/// a thousand of them wait for the first retransmission.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket_at(address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn socket_at(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    Ok(socket)
}

/// Addresses told to a person who named none of them.
const SHOWN_MAX: usize = 8;
const RETRIES: u32 = 4;
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The kernel cuts it to its own limit.
const BACKLOG: i32 = 4_096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use std::net::TcpStream;

    #[test]
    fn loopback_listens_on_one_port_and_every_address_takes_connections() {
        let bound = bind(Place::Loopback, 0, &mut || false).unwrap();
        assert!(bound.addresses[0].is_ipv4() && bound.addresses[0].ip().is_loopback());
        assert_eq!(bound.addresses.len() + bound.warnings.len(), 2);
        for address in &bound.addresses {
            assert_eq!(address.port(), bound.addresses[0].port());
            TcpStream::connect(address).unwrap();
        }
    }

    #[test]
    fn a_taken_port_is_named_and_nothing_else_is_bound_instead() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let fault = bind(Place::Loopback, address.port(), &mut || false).unwrap_err();
        let BindFault::Taken(why) = fault else { panic!("{fault:?}") };
        assert!(
            why.starts_with(&format!("another gateway instance is already listening on ws://{address}")),
            "{why}"
        );
    }

    #[test]
    fn an_address_of_another_machine_is_refused_and_nothing_wider_is_bound() {
        // From a range reserved for documentation (RFC 5737).
        let fault = bind(Place::Custom(Ipv4Addr::new(203, 0, 113, 7)), 0, &mut || false).unwrap_err();
        let BindFault::Failed(why) = fault else { panic!("{fault:?}") };
        let sentence = "gateway bind=custom requested 203.0.113.7 but resolved 0.0.0.0; refusing fallback\n";
        assert!(why.starts_with(sentence) && why.contains("127.0.0.1"), "{why}");
    }

    #[test]
    fn where_somebody_else_listens_or_the_address_is_missing_a_gateway_could_not() {
        let ours = bind(Place::Loopback, 0, &mut || false).unwrap();
        let port = ours.addresses[0].port();
        let taken = |result: Result<(), BindFault>| matches!(result, Err(BindFault::Taken(_)));
        assert!(taken(could(Place::Loopback, port, &[])) && taken(could(Place::Lan, port, &[])));
        assert_eq!(could(Place::Loopback, port, &ours.addresses), Ok(()));
        assert_eq!(could(Place::Lan, port, &ours.addresses), Ok(()));
        let second = Place::Custom(Ipv4Addr::new(127, 0, 0, 2));
        assert_eq!(could(second, port, &ours.addresses), Ok(()));
        let theirs = bind(second, port, &mut || false).unwrap();
        assert!(taken(could(second, port, &ours.addresses)));
        drop(theirs);
        let foreign = could(Place::Custom(Ipv4Addr::new(203, 0, 113, 7)), 0, &ours.addresses);
        assert!(matches!(foreign, Err(BindFault::Failed(_))));
        // Nothing stays bound by asking.
        bind(second, port, &mut || false).unwrap();
    }

    #[test]
    fn a_custom_address_is_bound_alone_unless_it_is_the_usual_one() {
        let alone = bind(Place::Custom(Ipv4Addr::new(127, 0, 0, 2)), 0, &mut || false).unwrap();
        assert_eq!((alone.addresses.len(), alone.warnings.len()), (1, 0));
        let usual = bind(Place::Custom(Ipv4Addr::LOCALHOST), 0, &mut || false).unwrap();
        assert_eq!(usual.addresses.len() + usual.warnings.len(), 2);
    }
}
