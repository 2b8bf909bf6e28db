//! Who may ask for time: networks allowed and denied, the longest prefix wins.
//!
//! Built once from rules in order, as chrony's `allow` and `deny` mean them: nobody is allowed at first; a rule for the same network
//! replaces the earlier one; `all` also removes what was said of smaller networks within. Looked up for each packet.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::units::Vsock;

/// One rule, its names resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// True for `allow`.
    pub allow: bool,
    /// Also overrides earlier rules for smaller networks within.
    pub all: bool,
    /// Whom it concerns.
    pub net: IpNet,
}

/// The table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    v4: Ranges,
    v6: Ranges,
    /// Machines of this host, by context id.
    vsock: Ranges,
}

impl Access {
    /// Rules in the order they were written.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let (mut v4, mut v6, mut vsock) = (Vec::new(), Vec::new(), Vec::new());
        for rule in rules {
            let entry = Entry::of(&rule);
            let entries = match rule.net.addr() {
                IpAddr::V4(_) => &mut v4,
                address if rule.net.prefix_len() >= Vsock::PREFIX_BITS && Vsock::of(address).is_some() => &mut vsock,
                IpAddr::V6(_) => &mut v6,
            };
            entries.retain(|old: &Entry| !(old.same_net(&entry) || (rule.all && entry.contains(old))));
            entries.push(entry);
        }
        Self { v4: Ranges::new(v4), v6: Ranges::new(v6), vsock: Ranges::new(vsock) }
    }

    /// Everybody is allowed.
    #[must_use]
    pub fn everybody() -> Self {
        let all = |bits| Ranges::new(vec![Entry { first: 0, last: last_of(0, 0, bits), length: 0, allow: true }]);
        Self { v4: all(32), v6: all(128), vsock: all(128) }
    }

    /// Whether `address` may ask. An IPv4 address in IPv6's clothes is the IPv4 address.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.v4.allow(u128::from(u32::from(v4))),
            address @ IpAddr::V6(v6) if Vsock::of(address).is_some() => self.vsock.allow(u128::from(v6)),
            IpAddr::V6(v6) => self.v6.allow(u128::from(v6)),
        }
    }

    /// Whether any IPv4, and whether any IPv6 address may ask.
    #[must_use]
    pub fn families(&self) -> (bool, bool) {
        (self.v4.any(), self.v6.any())
    }

    /// Whether any machine of this host may ask over vsock.
    #[must_use]
    pub fn vsock(&self) -> bool {
        self.vsock.any()
    }
}

/// A network as its first and last address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    first: u128,
    last: u128,
    length: u8,
    allow: bool,
}

impl Entry {
    fn of(rule: &Rule) -> Self {
        let net = rule.net.trunc();
        let (first, bits) = match net.addr() {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
            IpAddr::V6(v6) => (u128::from(v6), 128),
        };
        Self { first, last: last_of(first, net.prefix_len(), bits), length: net.prefix_len(), allow: rule.allow }
    }

    const fn same_net(&self, other: &Self) -> bool {
        self.first == other.first && self.length == other.length
    }

    const fn contains(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// The last address of a network of an address family of so many bits.
const fn last_of(first: u128, length: u8, bits: u8) -> u128 {
    let host = bits - length;
    if host == 128 { u128::MAX } else { first | ((1 << host) - 1) }
}

/// One address family: from each `first` up to the next, the answer is the same.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Ranges(Vec<(u128, bool)>);

impl Ranges {
    fn new(mut entries: Vec<Entry>) -> Self {
        // Large networks before the small ones within them.
        entries.sort_by_key(|e| (e.first, e.length));
        let mut ranges = Vec::with_capacity(2 * entries.len());
        let mut open: Vec<Entry> = Vec::new();
        for entry in entries {
            close(&mut ranges, &mut open, Some(entry.first));
            put(&mut ranges, entry.first, entry.allow);
            open.push(entry);
        }
        close(&mut ranges, &mut open, None);
        Self(ranges)
    }

    fn allow(&self, address: u128) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after > 0 && self.0[after - 1].1
    }

    fn any(&self) -> bool {
        self.0.iter().any(|(_, allow)| *allow)
    }
}

/// Ends the networks that do not reach `until`: behind each, the one around it goes on.
fn close(ranges: &mut Vec<(u128, bool)>, open: &mut Vec<Entry>, until: Option<u128>) {
    while let Some(ended) = open.last().copied().filter(|e| until.is_none_or(|until| e.last < until)) {
        open.pop();
        if let Some(next) = ended.last.checked_add(1) {
            put(ranges, next, open.last().is_some_and(|around| around.allow));
        }
    }
}

/// From `first` on the answer is `allow`.
fn put(ranges: &mut Vec<(u128, bool)>, first: u128, allow: bool) {
    if ranges.last().is_some_and(|(at, _)| *at == first) {
        ranges.pop();
    }
    if ranges.last().map_or(allow, |(_, before)| *before != allow) {
        ranges.push((first, allow));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(text: &str) -> Rule {
        let mut words = text.split(' ').peekable();
        let allow = words.next() == Some("allow");
        let all = words.next_if_eq(&"all").is_some();
        Rule { allow, all, net: words.next().unwrap().parse().unwrap() }
    }

    fn allowed(rules: &[&str], address: &str) -> bool {
        Access::new(rules.iter().map(|r| rule(r))).allows(address.parse().unwrap())
    }

    #[test]
    fn nobody_is_allowed_by_silence() {
        assert_eq!(Access::new([]), Access::default());
        assert!(!allowed(&[], "127.0.0.1") && !allowed(&["allow 0.0.0.0/0"], "::1"));
        assert_eq!(Access::new([rule("allow 10.0.0.0/8"), rule("deny all 0.0.0.0/0")]).families(), (false, false));
        assert_eq!(Access::everybody().families(), (true, true));
        assert!(Access::everybody().allows("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap()));
    }

    #[test]
    fn the_manuals_examples() {
        // The order does not matter without `all`.
        let plain = ["allow 1.2.3.4/32", "deny 1.2.3.0/24", "allow 1.2.0.0/16"];
        assert!(allowed(&plain, "1.2.3.4") && !allowed(&plain, "1.2.3.5") && allowed(&plain, "1.2.9.9") && !allowed(&plain, "1.3.0.0"));
        let all = ["allow 1.2.3.4/32", "deny 1.2.3.0/24", "allow all 1.2.0.0/16"];
        assert!(allowed(&all, "1.2.3.4") && allowed(&all, "1.2.3.5") && allowed(&all, "1.2.9.9"));
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        assert!(allowed(&["allow 192.0.2.0/24"], "::ffff:192.0.2.1"));
        assert!(!allowed(&["allow ::/0"], "::ffff:192.0.2.1"));
    }

    #[test]
    fn machines_of_this_host_are_a_world_of_their_own() {
        let machines = |rules: &[(bool, Option<u32>)]| {
            let all = IpNet::new(Vsock(0).address(), Vsock::PREFIX_BITS).unwrap();
            Access::new(rules.iter().map(|&(allow, cid)| Rule {
                allow,
                all: false,
                net: cid.map_or(all, |cid| Vsock(cid).address().into()),
            }))
        };
        let table = machines(&[(true, None), (false, Some(7))]);
        assert!(table.vsock() && table.allows(Vsock(3).address()) && !table.allows(Vsock(7).address()));
        assert_eq!(table.families(), (false, false));
        assert!(machines(&[(true, Some(3))]).allows(Vsock(3).address()) && !machines(&[(true, Some(3))]).allows(Vsock(4).address()));
        assert!(!allowed(&["allow ::/0"], "100::3"), "whoever may ask over the network may not over vsock");
    }

    /// The rules as a list that is read for every address.
    fn naive(rules: &[Rule], address: IpAddr) -> bool {
        let mut kept: Vec<Rule> = Vec::new();
        for rule in rules {
            kept.retain(|old| old.net != rule.net.trunc() && !(rule.all && rule.net.trunc().contains(&old.net)));
            kept.push(Rule { net: rule.net.trunc(), ..*rule });
        }
        kept.iter().filter(|r| r.net.contains(&address)).max_by_key(|r| r.net.prefix_len()).is_some_and(|r| r.allow)
    }

    prop_compose! {
        /// Few bits, so that networks lie within each other.
        fn rules()(v4 in any::<bool>(), seeds in proptest::collection::vec((any::<[bool; 2]>(), 0_u8..4, 0_u8..4, 0_usize..9), 0..12)) -> Vec<Rule> {
            seeds.into_iter().map(|([allow, all], high, low, length)| {
                let net = if v4 {
                    IpNet::new(IpAddr::from([high << 6, 0, 0, low]), [0, 1, 2, 3, 8, 16, 30, 31, 32][length])
                } else {
                    let mut octets = [0; 16];
                    (octets[0], octets[15]) = (high << 6, low);
                    IpNet::new(IpAddr::from(octets), [0, 1, 2, 3, 64, 100, 126, 127, 128][length])
                };
                Rule { allow, all, net: net.unwrap() }
            }).collect()
        }
    }

    proptest! {
        #[test]
        fn the_table_says_what_the_list_says(rules in rules(), ends in proptest::collection::vec(any::<(u8, u8)>(), 20)) {
            let access = Access::new(rules.iter().copied());
            for (high, low) in ends {
                let mut octets = [0; 16];
                (octets[0], octets[15]) = (high & 0xc0 | high & 2, low & 7);
                for address in [IpAddr::from([octets[0], 0, 0, octets[15]]), IpAddr::from(octets)] {
                    prop_assert_eq!(access.allows(address), naive(&rules, address), "{} of {:?}", address, &rules);
                }
            }
        }
    }
}
