//! A network that this machine is on, and who else is.

use super::Family;
use super::limits::ADDRESSES_MAX;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which network: the index of the interface that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u32);

/// One network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which.
    pub id: LinkId,
    /// The name of the interface, for people.
    pub name: String,
    /// This machine's addresses there, each with its network.
    pub subnets: Vec<Subnet>,
    /// Where the service is reached from there; never empty.
    pub addresses: Vec<IpAddr>,
}

/// An address and how many of its first bits name its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The address.
    pub address: IpAddr,
    /// The number of bits; more than the address has are all it has.
    pub prefix: u8,
}

impl Link {
    /// Whether it speaks that family.
    pub fn speaks(&self, family: Family) -> bool {
        self.subnets.iter().any(|subnet| Family::of(subnet.address) == family)
    }

    /// Whether that address is on this link (RFC 6762 section 11): only from there is anything heard. An IPv6 address
    /// that is local to a link says to which one it is.
    pub fn is_here(&self, source: SocketAddr) -> bool {
        if let SocketAddr::V6(source) = source
            && source.ip().is_unicast_link_local()
        {
            return source.scope_id() == self.id.0;
        }
        self.subnets.iter().any(|subnet| subnet.contains(source.ip()))
    }

    /// The IPv4 addresses of the service.
    pub(super) fn ipv4(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.addresses.iter().take(ADDRESSES_MAX).filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
    }

    /// The IPv6 addresses of the service.
    pub(super) fn ipv6(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.addresses.iter().take(ADDRESSES_MAX).filter_map(|address| match address {
            IpAddr::V6(address) => Some(*address),
            IpAddr::V4(_) => None,
        })
    }
}

impl Subnet {
    fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn who_is_on_the_link() {
        let subnet = |address: &str, prefix| Subnet { address: address.parse().unwrap(), prefix };
        let link = Link {
            id: LinkId(3),
            name: "eth0".to_owned(),
            subnets: vec![subnet("192.168.7.9", 24), subnet("fe80::1", 64), subnet("2001:db8:1::5", 64)],
            addresses: vec!["192.168.7.9".parse().unwrap()],
        };
        for (source, is) in [
            ("192.168.7.200:5353", true),
            ("192.168.8.1:5353", false),
            ("8.8.8.8:5353", false),
            ("[fe80::2%3]:5353", true),
            ("[fe80::2%4]:5353", false),
            ("[fe80::2]:5353", false),
            ("[2001:db8:1::77]:5353", true),
            ("[2001:db8:2::77]:5353", false),
            ("[::ffff:192.168.7.1]:5353", false),
        ] {
            assert_eq!(link.is_here(source.parse().unwrap()), is, "{source}");
        }
        let all = Subnet { address: "10.0.0.1".parse().unwrap(), prefix: 0 };
        let one = Subnet { address: "10.0.0.1".parse().unwrap(), prefix: 99 };
        assert!(all.contains("9.9.9.9".parse().unwrap()));
        assert!(one.contains("10.0.0.1".parse().unwrap()) && !one.contains("10.0.0.2".parse().unwrap()));
    }
}
