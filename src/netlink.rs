//! Asking the kernel for a list over rtnetlink (`man 7 rtnetlink`), which is what the C library does too: it answers in the
//! order of the interfaces, in every network namespace, without a dependency and without `/proc`.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recv, sendto, socket_with};
use std::io;
use std::time::Duration;

/// A list that can be asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    /// How it is asked for.
    pub(crate) ask: u16,
    /// The kind of its entries.
    pub(crate) entry: u16,
    /// What each entry begins with, in bytes.
    pub(crate) fixed_bytes: usize,
}

/// The interfaces: `ifinfomsg`.
pub(crate) const LINKS: List = List { ask: 18, entry: 16, fixed_bytes: 16 };
/// Their addresses: `ifaddrmsg`.
pub(crate) const ADDRESSES: List = List { ask: 22, entry: 20, fixed_bytes: 8 };

/// One of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// What each begins with.
    pub(crate) fixed: &'a [u8],
    attributes: &'a [u8],
}

impl<'a> Entry<'a> {
    /// One for a test.
    #[cfg(test)]
    pub(crate) fn of(fixed: &'a [u8], attributes: &'a [u8]) -> Self {
        Self { fixed, attributes }
    }

    /// What follows: kinds and values.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut rest = self.attributes;
        std::iter::from_fn(move || {
            if rest.len() < ATTRIBUTE_BYTES {
                return None;
            }
            let (length, kind) = (usize::from(u16_at(rest, 0)), u16_at(rest, 2));
            let value = rest.get(ATTRIBUTE_BYTES..length)?;
            rest = &rest[aligned(length).min(rest.len())..];
            Some((kind, value))
        })
    }
}

/// Asks for a list, of one family or, with 0, of all.
///
/// # Errors
/// The kernel cannot be asked, or does not come to an end: then there are more than were told.
pub(crate) fn dump(list: List, family: u8, each: &mut dyn FnMut(Entry<'_>)) -> io::Result<()> {
    // No protocol is protocol 0, NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    sendto(&socket, &request(list, family), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut buffer = vec![0; PART_BYTES_MAX];
    for _ in 0..PARTS_MAX {
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if read_part(&buffer[..length], list, each) {
            return Ok(());
        }
    }
    Err(io::Error::other("the kernel's list has no end"))
}

/// A header, and what an entry begins with, where only the family is said.
fn request(list: List, family: u8) -> Vec<u8> {
    let length = HEAD_BYTES + list.fixed_bytes;
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(list.ask.to_ne_bytes());
    message.extend((REQUEST | DUMP).to_ne_bytes());
    message.extend([0; 8]);
    message.push(family);
    message.resize(length, 0);
    message
}

/// Takes one datagram apart; true when it was the last one, or makes no sense.
fn read_part(mut part: &[u8], list: List, each: &mut dyn FnMut(Entry<'_>)) -> bool {
    while part.len() >= HEAD_BYTES {
        let length = u32_at(part, 0) as usize;
        let kind = u16_at(part, 4);
        if length < HEAD_BYTES || length > part.len() || kind == DONE || kind == ERROR {
            return true;
        }
        if kind == list.entry
            && let Some((fixed, attributes)) = part[HEAD_BYTES..length].split_at_checked(list.fixed_bytes)
        {
            each(Entry { fixed, attributes });
        }
        part = &part[aligned(length).min(part.len())..];
    }
    !part.is_empty()
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

/// A number of four bytes in the kernel's order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

// <linux/netlink.h>, <linux/rtnetlink.h>
const HEAD_BYTES: usize = 16;
const ATTRIBUTE_BYTES: usize = 4;
const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The kernel sends parts of at most 32 KiB, and smaller ones to smaller buffers.
const PART_BYTES_MAX: usize = 32 * 1024;
/// More than two thousand interfaces, of which a part of the smallest size holds two.
const PARTS_MAX: usize = 1_024;
/// The kernel answers at once; this only bounds a surprise.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
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

    /// The attributes of each entry, one text an entry, and whether it was the last part.
    fn read(part: &[u8]) -> (Vec<String>, bool) {
        let mut found = Vec::new();
        let last = read_part(part, ADDRESSES, &mut |entry| {
            assert_eq!(entry.fixed.len(), 8);
            let attributes = entry.attributes().map(|(kind, value)| format!("{kind}{value:?}"));
            found.push(attributes.collect::<Vec<_>>().join(" "));
        });
        (found, last)
    }

    #[test]
    fn entries_have_attributes() {
        let one = [attribute(1, &[10, 0, 0, 9]), attribute(3, b"tun0\0"), attribute(2, &[100, 64, 0, 1])];
        let part = [message(20, &one), message(16, &[]), message(20, &[attribute(1, &[10, 0, 0, 1])])];
        let first = "1[10, 0, 0, 9] 3[116, 117, 110, 48, 0] 2[100, 64, 0, 1]".to_owned();
        assert_eq!(read(&part.concat()), (vec![first, "1[10, 0, 0, 1]".to_owned()], false));
    }

    #[test]
    fn the_end_an_error_and_nonsense_end_it() {
        assert_eq!(read(&message(DONE, &[])), (vec![], true));
        assert_eq!(read(&message(ERROR, &[])), (vec![], true));
        let good = message(20, &[attribute(2, &[1, 2, 3, 4])]);
        for cut in 0..good.len() {
            let (found, last) = read(&good[..cut]);
            assert!(found.is_empty() && (last || cut == 0), "{cut}");
        }
        let mut endless = good.clone();
        endless[..4].copy_from_slice(&0u32.to_ne_bytes());
        assert_eq!(read(&endless), (vec![], true));
        let mut attribute_of_nothing = good;
        attribute_of_nothing[24..26].copy_from_slice(&0u16.to_ne_bytes());
        assert_eq!(read(&attribute_of_nothing), (vec![String::new()], false));
    }
}
