//! This machine's interfaces and their addresses, as the kernel tells them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// The first address in 100.64.0.0/10, the range that tailnets use.
pub fn tailnet_address() -> Option<Ipv4Addr> {
    addresses().into_iter().find(|address| is_tailnet(*address))
}

/// The first address in fd7a:115c:a1e0::/48, which is the IPv6 range of Tailscale's tailnets.
pub fn tailnet_ipv6_address() -> Option<Ipv6Addr> {
    system::addresses().unwrap_or_default().into_iter().find_map(|(_, address, _)| match address {
        IpAddr::V6(address) if address.segments()[..3] == [0xfd7a, 0x115c, 0xa1e0] => Some(address),
        IpAddr::V6(_) | IpAddr::V4(_) => None,
    })
}

/// The address that others on a network may reach this machine at: the one the default route leaves by, else the
/// first of an interface. Nothing is sent: connecting a datagram socket only asks the routing table, here for a
/// documentation address.
pub fn lan_address() -> Option<Ipv4Addr> {
    let usable =
        |address: &Ipv4Addr| !address.is_loopback() && !address.is_link_local() && !address.is_unspecified();
    routed_address().filter(usable).or_else(|| addresses().into_iter().find(usable))
}

fn routed_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Whether an address is in 100.64.0.0/10.
pub fn is_tailnet(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}

/// Every IPv4 address, in the order of the interfaces. None when the kernel cannot be asked.
pub fn addresses() -> Vec<Ipv4Addr> {
    let ipv4 = |(_, address, _): (u32, IpAddr, u8)| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    };
    system::addresses().unwrap_or_default().into_iter().filter_map(ipv4).collect()
}

/// An interface that leads to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number, which another one may have when it is gone.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its addresses, each with the number of bits that name its network.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// The interfaces that lead to a network of several machines and are up: neither loopback, nor one other end, nor one
/// that knows no multicast.
///
/// # Errors
/// The kernel cannot be asked, as when this process has no descriptor left.
pub fn networks() -> io::Result<Vec<Interface>> {
    let mut found = system::networks()?;
    for (index, address, prefix) in system::addresses()? {
        if let Some(interface) = found.iter_mut().find(|interface| interface.index == index) {
            interface.addresses.push((address, prefix));
        }
    }
    found.retain(|interface| !interface.addresses.is_empty());
    Ok(found)
}

#[cfg(target_os = "linux")]
mod system {
    use super::Interface;
    use crate::netlink::{self, ADDRESSES, Entry, LINKS, dump};
    use std::io;
    use std::net::IpAddr;

    /// Interface, address, length of the prefix.
    pub(super) fn addresses() -> io::Result<Vec<(u32, IpAddr, u8)>> {
        let mut found = Vec::new();
        dump(ADDRESSES, 0, &mut |entry| found.extend(address(&entry)))?;
        Ok(found)
    }

    /// Without their addresses.
    pub(super) fn networks() -> io::Result<Vec<Interface>> {
        let mut found = Vec::new();
        dump(LINKS, 0, &mut |entry| found.extend(network(&entry)))?;
        Ok(found)
    }

    /// `IFA_LOCAL`, else `IFA_ADDRESS`: on a point-to-point interface the latter is the other end's. An IPv6 address that
    /// is not known yet to be nobody else's is none.
    pub(super) fn address(entry: &Entry<'_>) -> Option<(u32, IpAddr, u8)> {
        let (prefix, mut flags) = (entry.fixed[1], u32::from(entry.fixed[2]));
        let mut address = None;
        let mut is_local = false;
        for (kind, value) in entry.attributes() {
            match kind {
                LOCAL | ADDRESS if !is_local => {
                    let value = ip(value)?;
                    is_local = kind == LOCAL;
                    address = Some(value);
                }
                FLAGS if value.len() == 4 => flags = netlink::u32_at(value, 0),
                _ => {}
            }
        }
        let address = address.filter(|address| address.is_ipv4() || flags & (TENTATIVE | DUPLICATE) == 0)?;
        Some((netlink::u32_at(entry.fixed, 4), address, prefix))
    }

    fn network(entry: &Entry<'_>) -> Option<Interface> {
        let flags = netlink::u32_at(entry.fixed, 8);
        if flags & (UP | RUNNING | MULTICAST) != UP | RUNNING | MULTICAST
            || flags & (LOOPBACK | POINT_TO_POINT) != 0
        {
            return None;
        }
        let (_, name) = entry.attributes().find(|(kind, _)| *kind == NAME)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        Some(Interface { index: netlink::u32_at(entry.fixed, 4), name, addresses: Vec::new() })
    }

    fn ip(bytes: &[u8]) -> Option<IpAddr> {
        let ipv4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        ipv4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
    }

    // <linux/if_addr.h>, <linux/if_link.h>, <linux/if.h>
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const LOCAL: u16 = 2;
    pub(super) const FLAGS: u16 = 8;
    const DUPLICATE: u32 = 0x08;
    pub(super) const TENTATIVE: u32 = 0x40;
    const NAME: u16 = 3;
    const UP: u32 = 0x1;
    const LOOPBACK: u32 = 0x8;
    const POINT_TO_POINT: u32 = 0x10;
    const RUNNING: u32 = 0x40;
    const MULTICAST: u32 = 0x1000;
}

/// Other systems cannot be asked by this version.
#[cfg(not(target_os = "linux"))]
mod system {
    use super::Interface;
    use std::io;
    use std::net::IpAddr;

    pub(super) fn addresses() -> io::Result<Vec<(u32, IpAddr, u8)>> {
        Ok(Vec::new())
    }

    pub(super) fn networks() -> io::Result<Vec<Interface>> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_tailnets() {
        for (address, is) in [
            ([100, 64, 0, 0], true),
            ([100, 127, 255, 255], true),
            ([100, 63, 255, 255], false),
            ([100, 128, 0, 0], false),
            ([10, 64, 0, 1], false),
        ] {
            assert_eq!(is_tailnet(address.into()), is, "{address:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_loopback() {
        assert!(addresses().contains(&Ipv4Addr::LOCALHOST), "{:?}", addresses());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn networks_are_not_loopback_and_have_addresses() {
        for network in networks().expect("the kernel can be asked") {
            assert!(!network.name.is_empty() && network.index > 0, "{network:?}");
            assert!(!network.addresses.is_empty());
            assert!(network.addresses.iter().all(|(address, _)| !address.is_loopback()), "{network:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_local_end_counts_and_what_is_tentative_does_not() {
        use super::system::{ADDRESS, FLAGS, LOCAL, TENTATIVE, address};
        use crate::netlink::Entry;
        use crate::netlink::tests::attribute;
        let fixed = [2, 24, 0, 0, 7, 0, 0, 0];
        let read = |attributes: &[Vec<u8>]| address(&Entry::of(&fixed, &attributes.concat()));
        let [theirs, ours] = [attribute(ADDRESS, &[10, 0, 0, 9]), attribute(LOCAL, &[100, 64, 0, 1])];
        let index = u32::from_ne_bytes([7, 0, 0, 0]);
        let want = Some((index, IpAddr::from([100, 64, 0, 1]), 24));
        assert_eq!(read(&[theirs.clone(), attribute(3, b"tun0\0"), ours.clone()]), want);
        assert_eq!(read(&[ours, theirs.clone()]), want);
        assert_eq!(read(&[theirs]), Some((index, IpAddr::from([10, 0, 0, 9]), 24)));
        let ipv6 = attribute(ADDRESS, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let flags = |flags: u32| attribute(FLAGS, &flags.to_ne_bytes());
        assert!(read(&[ipv6.clone(), flags(0x80)]).is_some());
        assert!(read(&[ipv6, flags(0x80 | TENTATIVE)]).is_none());
        assert!(read(&[attribute(ADDRESS, &[1, 2, 3])]).is_none() && read(&[]).is_none());
    }
}
