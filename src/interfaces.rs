//! The IPv4 addresses of this machine's interfaces, asked of the kernel over rtnetlink (`man 7 rtnetlink`), which
//! is what the C library's `getifaddrs` does too: it answers in the order of the interfaces, in every network
//! namespace, without a dependency and without `/proc`.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// The first address in 100.64.0.0/10, the range that tailnets use.
pub fn tailnet_address() -> Option<Ipv4Addr> {
    addresses().into_iter().find(|address| is_tailnet(*address))
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
#[cfg(target_os = "linux")]
pub fn addresses() -> Vec<Ipv4Addr> {
    linux::ask().unwrap_or_default()
}

/// Other systems cannot be asked by this version.
#[cfg(not(target_os = "linux"))]
pub fn addresses() -> Vec<Ipv4Addr> {
    Vec::new()
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
    use rustix::net::{recv, sendto, socket_with};
    use std::io;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    pub(super) fn ask() -> io::Result<Vec<Ipv4Addr>> {
        // No protocol is protocol 0, NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut found = Vec::new();
        let mut buffer = vec![0; PART_BYTES_MAX];
        for _ in 0..PARTS_MAX {
            let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
            if read_part(&buffer[..length], &mut found) {
                break;
            }
        }
        Ok(found)
    }

    /// "Tell every IPv4 address": a header and an `ifaddrmsg` that only names the family.
    fn request() -> Vec<u8> {
        let mut message = Vec::with_capacity(HEAD_BYTES + IFADDR_BYTES);
        message.extend(((HEAD_BYTES + IFADDR_BYTES) as u32).to_ne_bytes());
        message.extend(GET_ADDRESS.to_ne_bytes());
        message.extend((REQUEST | DUMP).to_ne_bytes());
        message.extend([0; 8]);
        message.extend([IPV4, 0, 0, 0, 0, 0, 0, 0]);
        message
    }

    /// Takes one datagram apart; true when it was the last one, or makes no sense.
    pub(super) fn read_part(mut part: &[u8], found: &mut Vec<Ipv4Addr>) -> bool {
        while part.len() >= HEAD_BYTES {
            let length = u32_at(part, 0) as usize;
            let kind = u16_at(part, 4);
            if length < HEAD_BYTES || length > part.len() || kind == DONE || kind == ERROR {
                return true;
            }
            if kind == NEW_ADDRESS && length >= HEAD_BYTES + IFADDR_BYTES && part[HEAD_BYTES] == IPV4 {
                found.extend(address_in(&part[HEAD_BYTES + IFADDR_BYTES..length]));
            }
            part = &part[aligned(length).min(part.len())..];
        }
        !part.is_empty()
    }

    /// `IFA_LOCAL`, else `IFA_ADDRESS`: on a point-to-point interface the latter is the other end's.
    fn address_in(mut attributes: &[u8]) -> Option<Ipv4Addr> {
        let mut address = None;
        while attributes.len() >= 4 {
            let length = usize::from(u16_at(attributes, 0));
            let kind = u16_at(attributes, 2);
            if length < 4 || length > attributes.len() {
                break;
            }
            if let (LOCAL | ADDRESS, &[a, b, c, d]) = (kind, &attributes[4..length]) {
                let value = Ipv4Addr::new(a, b, c, d);
                if kind == LOCAL {
                    return Some(value);
                }
                address = Some(value);
            }
            attributes = &attributes[aligned(length).min(attributes.len())..];
        }
        address
    }

    fn aligned(length: usize) -> usize {
        length.next_multiple_of(4)
    }

    fn u16_at(bytes: &[u8], at: usize) -> u16 {
        u16::from_ne_bytes([bytes[at], bytes[at + 1]])
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }

    // <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if_addr.h>
    const HEAD_BYTES: usize = 16;
    const IFADDR_BYTES: usize = 8;
    const IPV4: u8 = 2;
    const REQUEST: u16 = 0x1;
    const DUMP: u16 = 0x300;
    pub(super) const ERROR: u16 = 2;
    pub(super) const DONE: u16 = 3;
    pub(super) const NEW_ADDRESS: u16 = 20;
    const GET_ADDRESS: u16 = 22;
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const LOCAL: u16 = 2;
    /// The kernel sends parts of at most 32 KiB, and smaller ones to smaller buffers.
    const PART_BYTES_MAX: usize = 32 * 1024;
    /// More than two thousand addresses.
    const PARTS_MAX: usize = 8;
    /// The kernel answers at once; this only bounds a surprise.
    const PATIENCE: Duration = Duration::from_secs(1);
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
    mod parts {
        use super::super::linux::{ADDRESS, DONE, ERROR, LOCAL, NEW_ADDRESS, read_part};
        use std::net::Ipv4Addr;

        fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
            let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        }

        fn message(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
            let body = attributes.concat();
            let mut bytes = ((24 + body.len()) as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend([2, 8, 0, 0, 0, 0, 0, 0]);
            bytes.extend(body);
            bytes
        }

        fn read(part: &[u8]) -> (Vec<Ipv4Addr>, bool) {
            let mut found = Vec::new();
            let last = read_part(part, &mut found);
            (found, last)
        }

        #[test]
        fn the_local_end_counts_and_labels_are_skipped() {
            let one = [
                attribute(ADDRESS, &[10, 0, 0, 9]),
                attribute(3, b"tun0\0"),
                attribute(LOCAL, &[100, 64, 0, 1]),
            ];
            let part =
                [message(NEW_ADDRESS, &one), message(NEW_ADDRESS, &[attribute(ADDRESS, &[10, 0, 0, 1])])];
            let want = [Ipv4Addr::new(100, 64, 0, 1), Ipv4Addr::new(10, 0, 0, 1)];
            assert_eq!(read(&part.concat()), (want.to_vec(), false));
        }

        #[test]
        fn the_end_an_error_and_nonsense_end_it() {
            assert_eq!(read(&message(DONE, &[])), (vec![], true));
            assert_eq!(read(&message(ERROR, &[])), (vec![], true));
            let good = message(NEW_ADDRESS, &[attribute(LOCAL, &[1, 2, 3, 4])]);
            for cut in 0..good.len() {
                let (found, last) = read(&good[..cut]);
                assert!(found.is_empty() && (last || cut == 0), "{cut}");
            }
            let mut endless = good.clone();
            endless[..4].copy_from_slice(&0u32.to_ne_bytes());
            assert_eq!(read(&endless), (vec![], true));
            let mut attribute_of_nothing = good;
            attribute_of_nothing[24..26].copy_from_slice(&0u16.to_ne_bytes());
            assert_eq!(read(&attribute_of_nothing), (vec![], false));
        }
    }
}
