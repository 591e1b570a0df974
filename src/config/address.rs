//! Ranges of addresses: `203.0.113.7`, `203.0.113.0/24`, `2001:db8::/32`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address, or all that begin with the same bits. IPv4 inside of IPv6 is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    base: IpAddr,
    bits: u8,
}

impl AddressRange {
    /// Whether the address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                same(u32::from(base).into(), u32::from(address).into(), 32 - self.bits)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => same(base.into(), address.into(), 128 - self.bits),
            _ => false,
        }
    }
}

/// Whether two addresses are equal above their lowest bits.
fn same(a: u128, b: u128, lowest: u8) -> bool {
    a.checked_shr(lowest.into()) == b.checked_shr(lowest.into())
}

impl FromStr for AddressRange {
    type Err = ();

    fn from_str(text: &str) -> Result<AddressRange, ()> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let base = address.parse::<IpAddr>().map_err(|_| ())?.to_canonical();
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| ())?;
        if bits > most { Err(()) } else { Ok(AddressRange { base, bits }) }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_their_ranges() {
        let check = |range: &str, inside: &str, outside: &str| {
            let range: AddressRange = range.parse().unwrap();
            assert!(range.contains(inside.parse().unwrap()), "{range} {inside}");
            assert!(!range.contains(outside.parse().unwrap()), "{range} {outside}");
        };
        check("203.0.113.7", "203.0.113.7", "203.0.113.8");
        check("203.0.113.7", "::ffff:203.0.113.7", "::203.0.113.7");
        check("203.0.113.0/24", "203.0.113.255", "203.0.114.0");
        check("0.0.0.0/0", "255.255.255.255", "::1");
        check("::/0", "::1", "127.0.0.1");
        check("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1");
        for wrong in ["", "localhost", "1.2.3", "1.2.3.4/33", "::1/129", "1.2.3.4/-1", "1.2.3.4/"] {
            assert!(wrong.parse::<AddressRange>().is_err(), "{wrong}");
        }
    }
}
