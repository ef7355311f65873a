//! Addresses: parsing, canonical forms, trusted proxies, and who counts as local (spec: auth section 3).

use core::net::IpAddr;

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
