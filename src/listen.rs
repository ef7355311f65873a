//! Binding the sockets a gateway listens on. Never wider than asked: an address that cannot be had is a fault,
//! or, for the second loopback address, a warning.

use crate::config::settings::Bind;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
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

/// Why there is no gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindFault {
    /// Another process listens there; a sentence for a person.
    Taken(String),
    /// Anything else; a sentence for a person.
    Failed(String),
}

/// Binds. A taken port is tried again a few times: a gateway that is just ending still holds it for a moment.
/// Port 0 takes a free one.
///
/// # Errors
/// The first address cannot be bound.
pub fn bind(bind: Bind, port: u16) -> Result<Bound, BindFault> {
    let first = match bind {
        Bind::Loopback => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Bind::Lan => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let first = with_retries(SocketAddr::new(first, port))?;
    let address =
        first.local_addr().map_err(|why| BindFault::Failed(format!("a socket has no address: {why}")))?;
    let mut bound = Bound { listeners: vec![first], addresses: vec![address], warnings: Vec::new() };
    if bind == Bind::Loopback {
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

fn with_retries(address: SocketAddr) -> Result<TcpListener, BindFault> {
    let mut retries = 0;
    loop {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(why) if why.kind() == io::ErrorKind::AddrInUse && retries < RETRIES => {
                retries += 1;
                std::thread::sleep(RETRY_AFTER);
            }
            Err(why) if why.kind() == io::ErrorKind::AddrInUse => {
                return Err(BindFault::Taken(format!(
                    "another gateway instance is already listening on ws://{address}\n\
                     Stop it, or choose another port with --port."
                )));
            }
            Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
                return Err(BindFault::Failed(format!(
                    "cannot listen on {address}: permission denied; ports below 1024 need a privilege, choose \
                     another with --port"
                )));
            }
            Err(why) => return Err(BindFault::Failed(format!("cannot listen on {address}: {why}"))),
        }
    }
}

/// As the standard library does it, but with a queue that takes a burst of reconnecting clients: 128 would make
/// a thousand of them wait for the first retransmission.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

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
        let bound = bind(Bind::Loopback, 0).unwrap();
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
        let fault = bind(Bind::Loopback, address.port()).unwrap_err();
        let BindFault::Taken(why) = fault else { panic!("{fault:?}") };
        assert!(
            why.starts_with(&format!("another gateway instance is already listening on ws://{address}")),
            "{why}"
        );
    }
}
