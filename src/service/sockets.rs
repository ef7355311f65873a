//! Listening sockets that a service manager has bound and hands over, so that they outlive this process (the protocol of
//! sd_listen_fds(3)). They are checked like every address: a gateway never listens wider than its settings say.

use crate::environment::Environment;
use crate::listen::{Bound, Place};
use rustix::io::FdFlags;
use rustix::net::{SocketType, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sockets that were handed over. They stay open, and so keep their numbers, as long as this lives: a gateway gets copies.
#[derive(Debug)]
pub struct Inherited {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

/// Takes what was handed over to this process, if anything was.
///
/// # Errors
/// It cannot be used; a sentence for a person.
pub fn take(environment: &Environment) -> Result<Option<Inherited>, String> {
    let count = match announced(environment, std::process::id()) {
        Ok(0) => return Ok(None),
        Ok(count) => count,
        Err(why) => return Err(explain(&why)),
    };
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Err(explain("they were taken already"));
    }
    // A number that is not open would become a descriptor of something else later.
    for number in FIRST..FIRST + count {
        let is_socket = std::fs::read_link(format!("/proc/self/fd/{number}"))
            .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
        if !is_socket {
            return Err(explain(&format!("descriptor {number} is no socket (or /proc is not mounted)")));
        }
    }
    let handed = sd_listen_fds::get().map_err(|why| explain(&why.to_string()))?;
    let handed = handed.into_iter().map(|(_, socket)| socket.into_std()).collect();
    Inherited::of(handed).map(Some).map_err(|why| explain(&why))
}

/// How many there are for this process.
fn announced(environment: &Environment, pid: u32) -> Result<u32, String> {
    let number = |name: &str| match environment.get(name) {
        None => Ok(None),
        Some(text) => text.parse::<u32>().map(Some).map_err(|_| format!("{name} is no number")),
    };
    // Children of a process that was handed sockets inherit the variables, not the sockets.
    if number("LISTEN_PID")? != Some(pid) {
        return Ok(0);
    }
    match number("LISTEN_FDS")? {
        None => Ok(0),
        Some(count) if count <= SOCKETS_MAX => Ok(count),
        Some(count) => Err(format!("LISTEN_FDS is {count}, and {SOCKETS_MAX} are the most")),
    }
}

impl Inherited {
    fn of(handed: Vec<OwnedFd>) -> Result<Self, String> {
        let mut inherited = Self { sockets: Vec::new(), addresses: Vec::new() };
        for socket in handed {
            // Programs that this one starts have no business with them.
            rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(|why| why.to_string())?;
            let listens = sockopt::socket_type(&socket).is_ok_and(|kind| kind == SocketType::STREAM)
                && sockopt::socket_acceptconn(&socket).unwrap_or(false);
            if !listens {
                return Err(
                    "one is no listening stream socket; a socket unit needs ListenStream= and Accept=no"
                        .to_owned(),
                );
            }
            let socket = TcpListener::from(socket);
            let address = socket.local_addr().map_err(|_| {
                "one is no TCP socket; a socket unit needs ListenStream=ADDRESS:PORT".to_owned()
            })?;
            inherited.sockets.push(socket);
            inherited.addresses.push(address);
        }
        Ok(inherited)
    }

    /// Where they listen.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Copies to serve on.
    ///
    /// # Errors
    /// They are not where a gateway with these settings may listen; a sentence for a person.
    pub fn bound(&self, place: Place, port: u16) -> Result<Bound, String> {
        fit(&self.addresses, place, port)?;
        let listeners: io::Result<Vec<TcpListener>> =
            self.sockets.iter().map(TcpListener::try_clone).collect();
        let listeners = listeners.map_err(|why| explain(&why.to_string()))?;
        Ok(Bound { listeners, addresses: self.addresses.clone(), warnings: Vec::new() })
    }

    /// Lets the program that takes the place of this one in the same process have them: it finds the same variables.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn leave_open(&self) -> io::Result<()> {
        for socket in &self.sockets {
            rustix::io::fcntl_setfd(socket, FdFlags::empty())?;
        }
        Ok(())
    }
}

/// Whether sockets at these addresses are where a gateway with these settings may listen.
///
/// # Errors
/// They are not; a sentence for a person.
pub fn fit(addresses: &[SocketAddr], place: Place, port: u16) -> Result<(), String> {
    for address in addresses {
        let ip = address.ip();
        if !is_within(place, ip) {
            let (bind, allowed) = describe(place);
            return Err(explain(&format!(
                "one listens on {address}, but gateway.bind is {bind}, which allows {allowed}\n\
                 Change ListenStream= of the socket unit, or gateway.bind."
            )));
        }
        if port != 0 && address.port() != port {
            return Err(explain(&format!(
                "one listens on port {}, but gateway.port is {port}\n\
                 Change ListenStream= of the socket unit (clawgate gateway install --force writes it anew), or \
                 gateway.port.",
                address.port()
            )));
        }
    }
    match addresses {
        [first, rest @ ..] if rest.iter().any(|address| address.port() != first.port()) => Err(explain(
            "they have different ports; clients are told of one only\nGive ListenStream= of the socket unit one port.",
        )),
        _ => Ok(()),
    }
}

/// Narrower than asked is fine, wider is not. `[::]` takes connections to IPv6 addresses as well, which no bind asks for.
fn is_within(place: Place, ip: IpAddr) -> bool {
    match (place, ip) {
        (Place::Loopback, ip) => ip.is_loopback(),
        (Place::Lan, IpAddr::V4(_)) => true,
        (Place::Lan, IpAddr::V6(ip)) => ip == Ipv6Addr::LOCALHOST,
        (Place::Tailnet, IpAddr::V4(ip)) => crate::interfaces::is_tailnet(ip),
        (Place::Tailnet, IpAddr::V6(_)) => false,
        (Place::Custom(address), IpAddr::V4(ip)) => ip == address,
        (Place::Custom(address), IpAddr::V6(ip)) => {
            address == Ipv4Addr::LOCALHOST && ip == Ipv6Addr::LOCALHOST
        }
    }
}

fn describe(place: Place) -> (&'static str, String) {
    match place {
        Place::Loopback => ("loopback", "127.0.0.1 and ::1".to_owned()),
        Place::Lan => ("lan", "0.0.0.0 and every IPv4 address".to_owned()),
        Place::Tailnet => ("tailnet", "an address in 100.64.0.0/10".to_owned()),
        Place::Custom(address) => ("custom", address.to_string()),
    }
}

fn explain(why: &str) -> String {
    format!("cannot use the sockets that the service manager hands over: {why}")
}

/// Whether they were taken: a descriptor has one owner.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// `SD_LISTEN_FDS_START`.
const FIRST: u32 = 3;
/// A gateway listens on two.
const SOCKETS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_announced_counts_for_the_process_it_names() {
        for (variables, want) in [
            (&[][..], Ok(0)),
            (&[("LISTEN_FDS", "2")], Ok(0)),
            (&[("LISTEN_PID", "8"), ("LISTEN_FDS", "2")], Ok(0)),
            (&[("LISTEN_PID", "7")], Ok(0)),
            (&[("LISTEN_PID", "7"), ("LISTEN_FDS", "2")], Ok(2)),
            (&[("LISTEN_PID", "7"), ("LISTEN_FDS", "16")], Ok(16)),
            (&[("LISTEN_PID", "7"), ("LISTEN_FDS", "17")], Err(())),
            (&[("LISTEN_PID", "7"), ("LISTEN_FDS", "4294967295")], Err(())),
            (&[("LISTEN_PID", "7"), ("LISTEN_FDS", "-1")], Err(())),
            (&[("LISTEN_PID", "x"), ("LISTEN_FDS", "1")], Err(())),
        ] {
            let environment = Environment::new(variables.iter().copied());
            assert_eq!(announced(&environment, 7).map_err(drop), want, "{variables:?}");
        }
    }

    #[test]
    fn only_what_listens_on_tcp_is_taken() {
        let tcp = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let inherited = Inherited::of(vec![tcp().into()]).unwrap();
        let bound = inherited.bound(Place::Loopback, 0).unwrap();
        TcpStream::connect(bound.addresses[0]).unwrap();
        drop(bound);
        TcpStream::connect(inherited.addresses()[0]).expect("it outlives those that served on it");
        let listener = tcp();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let path = crate::scratch::Folder::new();
        let unix = UnixListener::bind(path.path().join("s")).unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for (other, want) in
            [(stream.into(), "Accept=no"), (udp.into(), "ListenStream="), (unix.into(), "no TCP socket")]
        {
            let why = Inherited::of(vec![other]).unwrap_err();
            assert!(why.contains(want), "{why}");
        }
    }

    #[test]
    fn an_address_is_never_wider_than_the_settings_say() {
        let tailnet = Place::Tailnet;
        let custom = |text: &str| Place::Custom(text.parse().unwrap());
        for (place, address, is_allowed) in [
            (Place::Loopback, "127.0.0.1:5", true),
            (Place::Loopback, "[::1]:5", true),
            (Place::Loopback, "0.0.0.0:5", false),
            (Place::Loopback, "[::]:5", false),
            (Place::Loopback, "192.0.2.7:5", false),
            (Place::Lan, "0.0.0.0:5", true),
            (Place::Lan, "192.0.2.7:5", true),
            (Place::Lan, "127.0.0.1:5", true),
            (Place::Lan, "[::1]:5", true),
            (Place::Lan, "[::]:5", false),
            (tailnet, "100.64.0.7:5", true),
            (tailnet, "100.128.0.7:5", false),
            (tailnet, "0.0.0.0:5", false),
            (tailnet, "[fd7a:115c:a1e0::1]:5", false),
            (custom("192.0.2.7"), "192.0.2.7:5", true),
            (custom("192.0.2.7"), "192.0.2.8:5", false),
            (custom("192.0.2.7"), "[::1]:5", false),
            (custom("127.0.0.1"), "[::1]:5", true),
            (Place::Loopback, "127.0.0.1:6", false),
        ] {
            let fits = fit(&[address.parse().unwrap()], place, 5);
            assert_eq!(fits.is_ok(), is_allowed, "{place:?} {address}: {fits:?}");
        }
        assert!(fit(&["127.0.0.1:6".parse().unwrap()], Place::Loopback, 0).is_ok());
        let two = ["127.0.0.1:6".parse().unwrap(), "[::1]:7".parse().unwrap()];
        assert!(fit(&two, Place::Loopback, 0).unwrap_err().contains("different ports"));
    }
}
