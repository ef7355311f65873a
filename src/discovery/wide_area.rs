//! A look for gateways in a domain of ordinary DNS: carries out what the core's [`Lookup`] orders. Each question has a
//! socket of its own, at a port that the system chose, which hears the one server that was asked.

use super::look::{micros, ready};
use crate::entropy;
use clawgate_proto::Mono;
use clawgate_proto::mdns::limits::{LOOKUP_BYTES_MAX, LOOKUP_SERVERS_MAX};
use clawgate_proto::mdns::{Ask, Beacon, ExchangeId, Lookup, Silence, Transport};
use clawgate_proto::seed::Seed;
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WideArea {
    /// The domain, without the last dot.
    pub domain: String,
    /// Who is asked, in this order.
    pub servers: Vec<SocketAddr>,
}

/// Whom this system asks (resolv.conf(5)): the first three servers, or the one of this machine.
pub fn servers_of_this_system() -> Vec<SocketAddr> {
    servers_of(&std::fs::read_to_string(Path::new("/etc/resolv.conf")).unwrap_or_default())
}

fn servers_of(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let is_one = words.next() == Some("nameserver");
        is_one.then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    };
    let mut servers: Vec<IpAddr> = text.lines().filter_map(server).take(LOOKUP_SERVERS_MAX).collect();
    if servers.is_empty() {
        servers.push(Ipv4Addr::LOCALHOST.into());
    }
    servers.into_iter().map(|server| SocketAddr::new(server, DNS_PORT)).collect()
}

/// Looks, for so long at most; with what was in the way, a sentence for a person.
pub fn look(wanted: &WideArea, patience: Duration) -> (Vec<Beacon>, Option<String>) {
    let domain = &wanted.domain;
    let Some(mut lookup) = Lookup::new(domain, wanted.servers.len(), Seed::new(entropy::bytes())) else {
        return (Vec::new(), Some(format!("{domain} is no name that DNS could be asked for")));
    };
    let (start, end) = (Instant::now(), Mono(micros(patience)));
    let now = || Mono(micros(start.elapsed()));
    let mut open = BTreeMap::new();
    let mut orders = Vec::new();
    lookup.tick(now(), &mut orders);
    loop {
        while !orders.is_empty() {
            for order in std::mem::take(&mut orders) {
                carry_out(&order, wanted, &mut open, (&mut lookup, &now), end, &mut orders);
            }
        }
        let Some(until) = lookup.next_deadline().filter(|_| !lookup.is_done() && now() < end) else { break };
        for (exchange, bytes) in hear(&open, now(), until.min(end)) {
            match bytes {
                Ok(bytes) => lookup.answer(now(), exchange, &bytes, &mut orders),
                Err(_) => lookup.failed(now(), exchange, &mut orders),
            }
        }
        lookup.tick(now(), &mut orders);
    }
    let servers: Vec<String> = wanted.servers.iter().map(ToString::to_string).collect();
    let servers = servers.join(", ");
    let why = lookup.silence().map(|silence| match silence {
        Silence::NoAnswer => format!("no DNS server answers about {domain} (asked: {servers})"),
        Silence::Refused(code) => {
            let code = match code {
                2 => "SERVFAIL".to_owned(),
                5 => "REFUSED".to_owned(),
                code => format!("code {code}"),
            };
            format!("DNS does not tell about {domain}: {code} (asked: {servers})")
        }
        Silence::Unreadable => format!("what DNS tells about {domain} cannot be read (asked: {servers})"),
    });
    (lookup.beacons(), why)
}

fn carry_out(
    order: &Ask,
    wanted: &WideArea,
    open: &mut BTreeMap<ExchangeId, UdpSocket>,
    (lookup, now): (&mut Lookup, &dyn Fn() -> Mono),
    end: Mono,
    orders: &mut Vec<Ask>,
) {
    match order {
        Ask::Close(exchange) => {
            open.remove(exchange);
        }
        Ask::Send { exchange, server, over, bytes } => {
            let Some(server) = wanted.servers.get(*server) else {
                return lookup.failed(now(), *exchange, orders);
            };
            match over {
                Transport::Udp => match send(*server, bytes) {
                    Ok(socket) => {
                        open.insert(*exchange, socket);
                    }
                    Err(_) => lookup.failed(now(), *exchange, orders),
                },
                // It is rare, and short: the others wait for it.
                Transport::Tcp => {
                    let left = Duration::from_micros(end.0.saturating_sub(now().0));
                    match ask_over_tcp(*server, bytes, left.min(TCP_PATIENCE)) {
                        Ok(answer) => {
                            lookup.answer(now(), *exchange, &answer, orders);
                            // Was it none, it is over all the same: nothing else comes.
                            lookup.failed(now(), *exchange, orders);
                        }
                        Err(_) => lookup.failed(now(), *exchange, orders),
                    }
                }
            }
        }
    }
}

fn send(server: SocketAddr, bytes: &[u8]) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(server)?;
    socket.send(bytes)?;
    Ok(socket)
}

/// What came meanwhile: a datagram, or that the server is not there.
fn hear(
    open: &BTreeMap<ExchangeId, UdpSocket>,
    now: Mono,
    until: Mono,
) -> Vec<(ExchangeId, io::Result<Vec<u8>>)> {
    let sockets: Vec<(ExchangeId, &UdpSocket)> =
        open.iter().map(|(exchange, socket)| (*exchange, socket)).collect();
    let readable = ready(&sockets, now, until);
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let heard = readable.into_iter().filter_map(|exchange| match open.get(&exchange)?.recv(&mut buffer) {
        Ok(count) => Some((exchange, Ok(buffer[..count].to_vec()))),
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => None,
        Err(why) => Some((exchange, Err(why))),
    });
    heard.collect()
}

/// RFC 1035 section 4.2.2.
fn ask_over_tcp(server: SocketAddr, bytes: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let end = Instant::now() + patience;
    let left = || match end.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&server, left()?)?;
    let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend(bytes);
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(&message)?;
    let mut answer = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        if let Some(length) = answer.first_chunk::<2>().map(|two| usize::from(u16::from_be_bytes(*two)))
            && answer.len() >= length + 2
        {
            return Ok(answer[2..length + 2].to_vec());
        }
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if answer.len() > LOOKUP_BYTES_MAX + 2 => return Err(io::ErrorKind::InvalidData.into()),
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
}

const DNS_PORT: u16 = 53;
/// RFC 1035 section 4.2.1 says 512; who sends more without being asked to is heard, too.
const DATAGRAM_BYTES_MAX: usize = 4_096;
const TCP_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::discovery::look::{self, Seen};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// What a server does with a datagram.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Manner {
        Answers,
        /// Everything but the question is left for TCP.
        Cuts,
        Refuses,
        /// By whoever does not know the id.
        Guesses,
        Silent,
    }

    /// A name server on loopback that lives as long as the test's process, and counts what is asked over TCP.
    fn server(manner: Manner) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(at).unwrap();
        let over_tcp = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((count, from)) = socket.recv_from(&mut buffer) {
                let query = &buffer[..count];
                let mut reply = answer(query, manner != Manner::Cuts && manner != Manner::Refuses);
                match manner {
                    Manner::Answers => {}
                    Manner::Cuts => reply[2] |= 0x02,
                    Manner::Refuses => reply[3] |= 5,
                    Manner::Guesses => reply[0] ^= 0xff,
                    Manner::Silent => continue,
                }
                let _ = socket.send_to(&reply, from);
            }
        });
        let counter = Arc::clone(&over_tcp);
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                counter.fetch_add(1, Ordering::AcqRel);
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).unwrap();
                let reply = answer(&query, true);
                // In pieces.
                let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
                for piece in [&length[..1], &length[1..], &reply[..5], &reply[5..]] {
                    stream.write_all(piece).unwrap();
                }
            }
        });
        (at, over_tcp)
    }

    /// One gateway in whatever domain is asked for.
    fn answer(query: &[u8], is_whole: bool) -> Vec<u8> {
        let mut reply = query.to_vec();
        reply[2] |= 0x84;
        if !is_whole {
            return reply;
        }
        let kind = query[query.len() - 3];
        let data = match kind {
            12 => b"\x06studio\xc0\x0c".to_vec(),
            33 => b"\0\0\0\0\x49\x65\x06studio\x04wide\x07example\0".to_vec(),
            16 => b"\x0crole=gateway\x10displayName=dent".to_vec(),
            other => panic!("nobody should ask for {other}"),
        };
        reply[7] = 1;
        reply.extend(b"\xc0\x0c\0");
        reply.push(kind);
        reply.extend(b"\0\x01\0\0\0\x3c");
        reply.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        reply.extend(data);
        reply
    }

    fn found(servers: &[SocketAddr], patience: Duration) -> (Vec<Beacon>, Option<String>) {
        look(&WideArea { domain: "wide.example".to_owned(), servers: servers.to_vec() }, patience)
    }

    #[test]
    fn a_gateway_is_found_by_the_server_that_knows_it() {
        let nobody = {
            let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            gone.local_addr().unwrap()
        };
        let knows = server(Manner::Answers).0;
        for first in
            [knows, nobody, server(Manner::Refuses).0, server(Manner::Silent).0, server(Manner::Guesses).0]
        {
            let (beacons, why) = found(&[first, knows], PATIENCE);
            assert_eq!((beacons.len(), why), (1, None), "{first}");
            assert_eq!(beacons[0].instance, "studio");
            assert_eq!(beacons[0].place, Some(("studio.wide.example".to_owned(), 18_789)));
            assert_eq!(
                (beacons[0].texts["role"].as_str(), beacons[0].texts["displayName"].as_str()),
                ("gateway", "dent")
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_fetched_over_tcp() {
        let (at, over_tcp) = server(Manner::Cuts);
        let (beacons, why) = found(&[at], PATIENCE);
        assert_eq!((beacons.len(), why), (1, None));
        assert_eq!(over_tcp.load(Ordering::Acquire), 3);
    }

    #[test]
    fn why_nothing_is_known_is_said() {
        let refuses = server(Manner::Refuses).0;
        let (beacons, why) = found(&[refuses], PATIENCE);
        let want = format!("DNS does not tell about wide.example: REFUSED (asked: {refuses})");
        assert_eq!((beacons.len(), why), (0, Some(want)));
        for silent in [server(Manner::Silent).0, server(Manner::Guesses).0] {
            let (beacons, why) = found(&[silent], Duration::from_millis(300));
            let want = format!("no DNS server answers about wide.example (asked: {silent})");
            assert_eq!((beacons.len(), why), (0, Some(want)));
        }
    }

    // Compatibility row wide-area-lookup.
    #[test]
    fn what_a_domain_tells_is_told_with_its_name() {
        let wide = WideArea { domain: "wide.example".to_owned(), servers: vec![server(Manner::Answers).0] };
        let found = look::look(PATIENCE, false, Some(&wide)).unwrap();
        let [Seen { domain, beacon }] = &found.gateways[..] else { panic!("{found:?}") };
        assert_eq!((domain.as_str(), beacon.instance.as_str()), ("wide.example.", "studio"));
        assert_eq!(found.gateways[0].name(), "dent");
        assert!(found.warnings.is_empty());
    }

    #[test]
    fn the_servers_of_a_system() {
        let text = "# nameserver 192.0.2.9\nsearch example\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # two\n\
                    nameserver fe80::1%eth0\nnameserver x\noptions timeout:1\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        let shown = |text| servers_of(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(text), ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"]);
        assert_eq!(shown("; nothing\n"), ["127.0.0.1:53"]);
    }
}
