//! Addresses: parsing, canonical forms, trusted proxies, and who counts as local (spec: auth section 3).

use crate::config::Config;
use crate::http::HttpRequest;
use core::net::{IpAddr, Ipv6Addr};

/// An address range in CIDR notation, in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    base: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Parses `10.0.0.0/8`, `::1` and the like; IPv4-mapped IPv6 becomes IPv4.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (addr, prefix) = match text.split_once('/') {
            Some((addr, prefix)) => (addr, Some(prefix)),
            None => (text, None),
        };
        let raw: IpAddr = addr.trim().trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        let base = raw.to_canonical();
        let bits: u8 = if base.is_ipv4() { 32 } else { 128 };
        let mapped: u8 = if raw.is_ipv6() && base.is_ipv4() { 96 } else { 0 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix.trim().parse::<u8>().ok()?.checked_sub(mapped)?,
        };
        (prefix <= bits).then_some(Self { base, prefix })
    }

    /// Whether it holds nothing but loopback addresses: a range as wide as `0.0.0.0/0` does not name this machine.
    pub fn is_loopback(&self) -> bool {
        self.base.is_loopback() && self.prefix >= if self.base.is_ipv4() { 8 } else { 128 }
    }

    /// Whether the range holds `addr`, compared in canonical form.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.base, addr.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(addr)) => {
                let shift = 32 - u32::from(self.prefix);
                shift == 32 || u32::from(base) >> shift == u32::from(addr) >> shift
            }
            (IpAddr::V6(base), IpAddr::V6(addr)) => {
                let shift = 128 - u32::from(self.prefix);
                shift == 128 || u128::from(base) >> shift == u128::from(addr) >> shift
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Where a request really comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// The client, as far as trusted hops tell; `None` when they do not.
    pub ip: Option<IpAddr>,
    /// Whether it is a direct client on this host.
    pub local: bool,
    /// Forwarding headers came from a peer that is no trusted proxy: they count for nothing but remoteness.
    pub untrusted_proxy: bool,
    /// The other end of the socket, in canonical form.
    pub socket: IpAddr,
    /// Somebody between client and gateway left forwarding headers, trusted or not.
    pub forwarded: bool,
}

impl ClientAddress {
    /// Resolves the client of an accepted socket. An address alone never makes it local: the `Host` must name
    /// this machine, and no unproved hop may have forwarded the request.
    pub fn resolve(socket: IpAddr, request: &HttpRequest, config: &Config) -> Self {
        let socket = socket.to_canonical();
        let trusted = |ip: IpAddr| config.trusted_proxies.iter().any(|cidr| cidr.contains(ip));
        let forwarded = request.headers.iter().any(|(name, value)| {
            !value.is_empty()
                && (name == "forwarded" || name == "x-real-ip" || name.starts_with("x-forwarded-"))
        });
        let ip = if trusted(socket) {
            // Right to left: each hop vouches only for the one before it.
            let hops: Vec<&str> =
                request.headers("x-forwarded-for").flat_map(|list| list.split(',')).collect();
            // What no address stands for ends the search: whatever lies behind it was the client's to write.
            let mut hops = hops.into_iter().rev().map(parse_hop);
            match hops.find(|hop| hop.is_none_or(|hop| !trusted(hop))) {
                Some(client) => client,
                None if config.allow_real_ip_fallback => {
                    let mut real = request.headers("x-real-ip");
                    real.next().filter(|_| real.next().is_none()).and_then(parse_hop)
                }
                None => None,
            }
        } else {
            Some(socket)
        };
        let untrusted_proxy = forwarded && !trusted(socket);
        let named_here = request.header("host").is_some_and(names_this_host);
        // Whatever a hop says of a client on "loopback", it came through that hop: it is not direct (spec: v4 section
        // 6.6, R5).
        let on_loopback = socket.is_loopback() && ip.is_some_and(|ip| ip.is_loopback());
        let local = on_loopback && named_here && !forwarded;
        Self { ip, local, untrusted_proxy, socket, forwarded }
    }

    /// The address of a remote, honestly forwarded client.
    pub fn remote(&self) -> Option<IpAddr> {
        self.ip.filter(|ip| !self.local && !self.untrusted_proxy && !ip.is_loopback())
    }

    /// Where it came from, as its gateway's owner is told: the client, or else who speaks for it.
    pub fn told(&self) -> IpAddr {
        self.ip.unwrap_or(self.socket)
    }

    /// [`Self::remote`] as presence and pairing requests show it.
    pub fn reported(&self) -> Option<String> {
        self.remote().map(|ip| ip.to_string())
    }
}

/// What one party can be expected to hold, for counting: an IPv4 address, or the 64-bit network that an IPv6 address
/// lies in, since whoever has one such address has all of them.
pub fn holder(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)))
        }
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    }
}

/// The client that forwarding headers tell of when only a proxy on this machine is believed: the rightmost hop that is
/// not exactly `127.0.0.1` or `::1`.
pub fn client_of_local_proxy(request: &HttpRequest) -> Option<IpAddr> {
    let is_proxy = |ip: &IpAddr| [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()].contains(ip);
    let hops: Vec<&str> = request.headers("x-forwarded-for").flat_map(|list| list.split(',')).collect();
    hops.into_iter().rev().map(parse_hop).find(|hop| hop.as_ref().is_none_or(|hop| !is_proxy(hop))).flatten()
}

/// The host part of `host[:port]`, lower case, without brackets.
pub fn host_name(authority: &str) -> String {
    let authority = authority.trim();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        // More than one colon and no bracket: a bare IPv6 address, not a port.
        None if authority.matches(':').count() > 1 => authority,
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.to_ascii_lowercase()
}

/// Whether a host name is a spelling of loopback.
pub fn is_loopback_name(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn names_this_host(authority: &str) -> bool {
    let host = host_name(authority);
    is_loopback_name(&host) || host.ends_with(".ts.net")
}

/// An address in a forwarding header: bare, `v4:port` or `[v6]:port`.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let ip: IpAddr = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?.parse::<Ipv6Addr>().ok()?.into(),
        None => match text.parse() {
            Ok(ip) => ip,
            Err(_) => text.rsplit_once(':')?.0.parse::<core::net::Ipv4Addr>().ok()?.into(),
        },
    };
    Some(ip.to_canonical())
}

/// A browser's `Origin`, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `scheme://host[:port]` in lower case, without a default port.
    pub text: String,
    /// Host part.
    pub host: String,
    /// Explicit or default port.
    pub port: u16,
}

impl Origin {
    /// Parses an `Origin` header; `null` and anything with a path, user or unknown scheme is none.
    pub fn parse(header: &str) -> Option<Self> {
        let lower = header.trim().to_ascii_lowercase();
        let (scheme, authority) = lower.split_once("://")?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', '\\', ' ']) {
            return None;
        }
        let host = host_name(authority);
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let port = match authority.strip_prefix(bracketed.as_str())? {
            "" => default_port,
            rest => {
                let digits = rest.strip_prefix(':')?;
                let is_plain = !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
                digits.parse().ok().filter(|_| is_plain)?
            }
        };
        let shown = if port == default_port { String::new() } else { format!(":{port}") };
        Some(Self { text: format!("{scheme}://{bracketed}{shown}"), host, port })
    }
}

/// The WebSocket address of a gateway, from what a person wrote: `http` and `https` become `ws` and `wss`, a path, a
/// query and a usual port are left out; what names no scheme has the `usual` one. `None` for what names no host, or somebody's password.
pub fn gateway_url(text: &str, usual: &str) -> Option<String> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => (usual.to_owned(), text),
    };
    let (scheme, usual_port) = match scheme.as_str() {
        "ws" | "http" => ("ws", 80),
        "wss" | "https" => ("wss", 443),
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '\\' | '"' | '<' | '>');
    if authority.is_empty() || authority.len() > AUTHORITY_BYTES_MAX || authority.contains(is_odd) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an address in brackets are its own.
        Some((host, port)) if !port.contains(']') => {
            (host, Some(port.parse::<u16>().ok().filter(|port| *port > 0)?))
        }
        Some(_) | None => (authority, None),
    };
    let is_bare = !host.starts_with('[') && !host.contains(':');
    let is_bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    if host.is_empty() || !(is_bare || is_bracketed) {
        return None;
    }
    let port = port.filter(|port| *port != usual_port);
    Some(port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}")))
}

/// Longer than any name with a port.
const AUTHORITY_BYTES_MAX: usize = 270;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::config::{AuthConfig, AuthMode};

    #[test]
    fn addresses_of_gateways_as_people_write_them() {
        for (text, url) in [
            ("https://gw.example:443/x?y", Some("wss://gw.example")),
            ("http://10.0.0.1:18789/", Some("ws://10.0.0.1:18789")),
            ("WSS://gw.example:8443", Some("wss://gw.example:8443")),
            ("ws://gw:80", Some("ws://gw")),
            ("pi.local:18789", Some("ws://pi.local:18789")),
            ("wss://[fd00::1]:18789", Some("wss://[fd00::1]:18789")),
            ("wss://[fd00::1]", Some("wss://[fd00::1]")),
            ("", None),
            ("wss://", None),
            ("wss://:443", None),
            ("ftp://gw", None),
            ("wss://user:secret@gw", None),
            ("wss://gw:0", None),
            ("wss://gw:99999", None),
            ("fd00::1", None),
            ("wss://a b", None),
        ] {
            assert_eq!(gateway_url(text, "ws").as_deref(), url, "{text}");
        }
        assert_eq!(gateway_url("pi.local:18789", "wss").as_deref(), Some("wss://pi.local:18789"));
        assert_eq!(gateway_url("ws://pi.local", "wss").as_deref(), Some("ws://pi.local"));
    }

    #[test]
    fn origins_are_canonical() {
        let origin = Origin::parse("HTTP://LocalHost:80").unwrap();
        assert_eq!((origin.text.as_str(), origin.port), ("http://localhost", 80));
        assert_eq!(Origin::parse("https://[::1]:18789").unwrap().text, "https://[::1]:18789");
        for bad in
            ["null", "", "file://", "http://a/b", "http://u@h", "http://h:99999", "http://h:x", "tauri://x"]
        {
            assert_eq!(Origin::parse(bad), None, "{bad}");
        }
        for port in ["+80", "080", "-1", " 80", ""] {
            assert_eq!(Origin::parse(&format!("http://localhost:{port}")), None, "{port}");
        }
    }

    #[test]
    fn a_hop_that_is_no_address_ends_the_search() {
        // Compatibility row hop-unreadable.
        let mut config = Config {
            trusted_proxies: vec![Cidr::parse("10.0.0.0/8").unwrap()],
            allow_real_ip_fallback: true,
            ..Config::new(AuthConfig::new(AuthMode::None), 1)
        };
        let mut client = |headers: &[(&str, &str)], falls_back: bool| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let request = HttpRequest { headers: headers.collect(), ..HttpRequest::default() };
            config.allow_real_ip_fallback = falls_back;
            let found = ClientAddress::resolve("10.0.0.1".parse().unwrap(), &request, &config);
            (found.ip.map(|ip| ip.to_string()), client_of_local_proxy(&request).map(|ip| ip.to_string()))
        };
        let theirs = Some("198.51.100.7".to_owned());
        assert_eq!(
            client(&[("x-forwarded-for", "1.2.3.4, 198.51.100.7")], false),
            (theirs.clone(), theirs.clone())
        );
        for hop in ["unknown", "fe80::1%eth0", "_hidden", ""] {
            let list = format!("198.51.100.7, {hop}");
            let headers = [("x-forwarded-for", list.as_str()), ("x-real-ip", "198.51.100.8")];
            assert_eq!(client(&headers, true), (None, None), "{hop}");
        }
        let real = ("x-real-ip", "198.51.100.7");
        assert_eq!(client(&[real], true).0, theirs);
        assert_eq!(client(&[real, ("x-real-ip", "198.51.100.8")], true).0, None);
        assert_eq!(client(&[real], false).0, None);
    }

    #[test]
    fn nobody_is_local_because_a_hop_says_so() {
        let headers = [("host", "localhost"), ("x-forwarded-for", "::1")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let request = HttpRequest { headers, ..HttpRequest::default() };
        let auth = AuthConfig::new(AuthMode::None);
        let config = Config {
            trusted_proxies: vec![Cidr::parse("10.0.0.1").unwrap(), Cidr::parse("127.0.0.1").unwrap()],
            ..Config::new(auth, 1)
        };
        // Compatibility rows proxied-loopback and forwarded-local.
        for socket in ["10.0.0.1", "::ffff:10.0.0.1", "127.0.0.1"] {
            let client = ClientAddress::resolve(socket.parse().unwrap(), &request, &config);
            assert_eq!((client.ip, client.local), (Some("::1".parse().unwrap()), false), "{socket}");
            assert!(client.forwarded && !client.untrusted_proxy);
        }
    }

    #[test]
    fn one_party_holds_an_ipv4_address_or_an_ipv6_network() {
        for (ip, want) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::1"),
        ] {
            assert_eq!(holder(ip.parse().unwrap()), want.parse::<IpAddr>().unwrap(), "{ip}");
        }
    }

    #[test]
    fn only_a_range_within_loopback_names_this_machine() {
        for (text, is) in [
            ("127.0.0.1", true),
            ("127.0.0.0/8", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0/0", false),
            ("126.0.0.0/7", false),
            ("::/0", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(Cidr::parse(text).unwrap().is_loopback(), is, "{text}");
        }
    }

    #[test]
    fn cidrs_compare_canonical_forms() {
        let range = Cidr::parse("10.0.0.0/8").unwrap();
        assert!(range.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!range.contains("11.0.0.1".parse().unwrap()));
        assert!(Cidr::parse("0.0.0.0/0").unwrap().contains("1.2.3.4".parse().unwrap()));
        assert!(Cidr::parse("::ffff:10.0.0.0/104").unwrap().contains("10.9.9.9".parse().unwrap()));
        assert!(Cidr::parse("fd00::/8").unwrap().contains("fd12::1".parse().unwrap()));
        for bad in ["10.0.0.0/33", "010.0.0.1", "1.2.3", "x", "::1/129"] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }
}
