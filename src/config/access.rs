//! `allow` and `deny`: who may ask this machine for time.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::line::{Line, Parsed, Word, quoted};
use super::{AccessRule, AccessSubject, Config};
use crate::units::Vsock;

/// `allow [all] [SUBJECT]`.
pub(super) fn allow(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    rule(line, config, true)
}

/// `deny [all] [SUBJECT]`.
pub(super) fn deny(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    rule(line, config, false)
}

fn rule(line: &mut Line<'_>, config: &mut Config, allow: bool) -> Parsed<String> {
    let all = line.peek().is_some_and(|word| word.keyword() == "all");
    if all {
        line.next();
    }
    let subject = match line.next() {
        None => AccessSubject::Everybody,
        Some(word) if word.keyword() == "vsock" => AccessSubject::Vsock(line.next().map(machine).transpose()?),
        Some(word) => subject(word)?,
    };
    line.end()?;
    let verb = if allow { "serve time to" } else { "do not serve time to" };
    let whom = match &subject {
        AccessSubject::Everybody => "everybody".to_owned(),
        AccessSubject::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
        AccessSubject::Net(net) => net.to_string(),
        AccessSubject::Name(name) => format!("the host {name}"),
        AccessSubject::Vsock(None) => "every machine of this host, over vsock".to_owned(),
        AccessSubject::Vsock(Some(machine)) => format!("{machine}"),
    };
    let scope = if all { ", whatever earlier lines say about parts of it" } else { "" };
    config.access.push(AccessRule { origin: line.origin(), allow, all, subject });
    Ok(format!("{verb} {whom}{scope}"))
}

/// A machine by its context id.
fn machine(word: Word<'_>) -> Parsed<Vsock> {
    let known = Vsock::from_word(&word.keyword());
    known.ok_or_else(|| {
        word.problem(format!(
            "{} names no machine: `vsock` takes a context id (a number), `host` or `local`, or nothing for all",
            quoted(word.text)
        ))
    })
}

/// A network, an address, a partial IPv4 address such as `192.168`, or a name.
fn subject(word: Word<'_>) -> Parsed<AccessSubject> {
    let text = word.text;
    let problem = || {
        let what = "a network (`192.168.0.0/16`, `192.168`, `2001:db8::/32`), an address or a host name";
        word.problem(format!("{} is not {what}", quoted(text)))
    };
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| problem())?)),
        None => (text, None),
    };
    if let Ok(address) = address.parse::<IpAddr>() {
        if Vsock::of(address).is_some() {
            return Err(
                word.problem(format!("nobody asks from {}: for a machine of this host write `vsock` and its context id", quoted(text)))
            );
        }
        let net = match prefix {
            None => IpNet::from(address),
            Some(prefix) => IpNet::new(address, prefix).map_err(|_| problem())?.trunc(),
        };
        return Ok(AccessSubject::Net(net));
    }
    if address.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let (address, own_prefix) = partial_ipv4(address).ok_or_else(problem)?;
        let net = Ipv4Net::new(address, prefix.unwrap_or(own_prefix)).map_err(|_| problem())?;
        return Ok(AccessSubject::Net(net.trunc().into()));
    }
    let is_name = prefix.is_none() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if is_name { Ok(AccessSubject::Name(text.to_owned())) } else { Err(problem()) }
}

/// One to three leading bytes of an address, with or without a last dot, and the prefix they stand for.
fn partial_ipv4(text: &str) -> Option<(Ipv4Addr, u8)> {
    let mut octets = [0_u8; 4];
    let mut prefix = 0;
    for (place, part) in text.strip_suffix('.').unwrap_or(text).split('.').enumerate() {
        *octets.get_mut(place)? = part.parse().ok()?;
        prefix += 8;
    }
    Some((Ipv4Addr::from(octets), prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        match subject(Word { text, column: 1 }) {
            Ok(AccessSubject::Net(net)) => Ok(net.to_string()),
            Ok(AccessSubject::Name(name)) => Ok(format!("name {name}")),
            Ok(AccessSubject::Everybody) => Ok("everybody".to_owned()),
            Ok(AccessSubject::Vsock(_)) => Err("a lone word is no machine".to_owned()),
            Err(problem) => Err(problem.message),
        }
    }

    #[test]
    fn subjects() {
        for (text, net) in [
            ("1", "1.0.0.0/8"),
            ("1.2", "1.2.0.0/16"),
            ("1.2.3", "1.2.3.0/24"),
            ("1.2.3.", "1.2.3.0/24"),
            ("1.2.3.4", "1.2.3.4/32"),
            ("1.2.3.4/16", "1.2.0.0/16"),
            ("1.2/12", "1.0.0.0/12"),
            ("0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:db8:1::/32", "2001:db8::/32"),
            ("time-1.example.net", "name time-1.example.net"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(net), "{text}");
        }
        for text in ["1.2.3.4/33", "::/129", "1.2.3.4/", "256.1", "1..2", "1.2.3.4.5", "name/8", "a:b", "#all"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
