//! Addresses of gateways, `ws://` and `wss://`, taken apart strictly.

use std::net::IpAddr;

/// A WebSocket address, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether it is encrypted: `wss://`.
    pub tls: bool,
    /// IPv6 in brackets.
    pub host: String,
    /// 80, or with TLS 443, when none is named.
    pub port: u16,
    /// `/` when none is named.
    pub path: String,
}

impl Address {
    /// Takes it apart.
    ///
    /// # Errors
    /// It is none, or one that this version cannot use; for a person.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) =
            url.split_once("://").ok_or("expected an address such as ws://127.0.0.1:18789")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err("expected ws:// or wss://"),
        };
        if url.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err("white space and control characters have no place in an address");
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') || path.contains(['?', '#']) {
            return Err("credentials do not belong into an address; use --token or --password");
        }
        let (host, port) = match authority.rfind(':').filter(|colon| !authority[*colon..].contains(']')) {
            Some(colon) => {
                let port =
                    authority[colon + 1..].parse().map_err(|_| "the port is no number from 1 to 65535")?;
                (&authority[..colon], port)
            }
            None => (authority, if tls { 443 } else { 80 }),
        };
        let is_v6 = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || port == 0 || (!is_v6 && host.contains(['[', ']', ':'])) {
            return Err("expected an address such as ws://127.0.0.1:18789");
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { tls, host: host.to_owned(), port, path: path.to_owned() })
    }
}

/// A host, IPv6 in brackets, that is this machine whoever resolves it.
pub fn is_loopback_name(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether an address is one without encryption.
pub fn is_in_the_clear(url: &str) -> bool {
    Address::parse(url).is_ok_and(|at| !at.tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_strictly() {
        let address = |host: &str, port, path: &str| {
            Ok(Address { tls: false, host: host.into(), port, path: path.into() })
        };
        let secure = Address { tls: true, host: "gw.example".into(), port: 443, path: "/".into() };
        assert_eq!(Address::parse("WSS://gw.example"), Ok(secure));
        assert_eq!(Address::parse("ws://a:5"), address("a", 5, "/"));
        assert_eq!(Address::parse("WS://[::1]:5/x/y"), address("[::1]", 5, "/x/y"));
        assert_eq!(Address::parse("ws://[::1]"), address("[::1]", 80, "/"));
        for bad in [
            "",
            "a:5",
            "http://a",
            "ws://",
            "ws://:5",
            "ws://a:0",
            "ws://a:99999",
            "ws://u:p@a",
            "ws://::1:5",
            "ws://a/?token=x",
            "ws://a/#x",
            "ws://a b",
            "ws://a\r\nx: y",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
    }
}
