//! Every directive by name, and how each is treated. A new directive is a word in [`SERVED`]
//! and a parser in the file it belongs to.

use super::line::{Line, Parsed};
use super::suggest::did_you_mean;
use super::unserved::{NTPD, UNSERVED};
use super::{Config, ServerKind, access, authentication, discipline, hardware, hook, network, process, refclock, server, serving};

/// Sets fields of the configuration and says what the line means.
type Parse = fn(&mut Line<'_>, &mut Config) -> Parsed<String>;

/// A directive that reads more files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Inclusion {
    /// `include`: files by pattern.
    Include,
    /// `confdir`: `*.conf` of directories.
    Confdir,
    /// `sourcedir`: `*.sources` of directories.
    Sourcedir,
}

/// What to do with a directive.
#[derive(Clone, Copy)]
pub(super) enum Treatment {
    /// Parse it into the configuration.
    Served(Parse),
    /// `server` or `pool`.
    Source(ServerKind),
    /// Read more files.
    Inclusion(Inclusion),
    /// chrony knows it, we do not do it yet; how things are without it.
    Unserved(&'static str),
    /// ntpd knows it, chrony does not; what to write instead.
    Ntpd(&'static str),
}

/// The directives that are served.
const SERVED: &[(&str, Treatment)] = &[
    ("acquisitionport", Treatment::Served(network::acquisitionport)),
    ("allow", Treatment::Served(access::allow)),
    ("authselectmode", Treatment::Served(authentication::authselectmode)),
    ("autodetect", Treatment::Served(process::autodetect)),
    ("bindacqaddress", Treatment::Served(network::bindacqaddress)),
    ("bindaddress", Treatment::Served(serving::bindaddress)),
    ("bindcmdaddress", Treatment::Served(network::bindcmdaddress)),
    ("binddevice", Treatment::Served(serving::binddevice)),
    ("clientloglimit", Treatment::Served(serving::clientloglimit)),
    ("cmdport", Treatment::Served(network::cmdport)),
    ("confdir", Treatment::Inclusion(Inclusion::Confdir)),
    ("conflict", Treatment::Served(process::conflict)),
    ("control", Treatment::Served(network::control)),
    ("deny", Treatment::Served(access::deny)),
    ("driftfile", Treatment::Served(discipline::driftfile)),
    ("dumpdir", Treatment::Served(process::dumpdir)),
    ("dumponexit", Treatment::Served(process::dumponexit)),
    ("foreignstep", Treatment::Served(discipline::foreignstep)),
    ("hwtimestamp", Treatment::Served(hardware::hwtimestamp)),
    ("hwtstimeout", Treatment::Served(hardware::hwtstimeout)),
    ("include", Treatment::Inclusion(Inclusion::Include)),
    ("keyfile", Treatment::Served(authentication::keyfile)),
    ("leapsecmode", Treatment::Served(discipline::leapsecmode)),
    ("local", Treatment::Served(discipline::local)),
    ("log", Treatment::Served(process::log)),
    ("logdir", Treatment::Served(process::logdir)),
    ("makestep", Treatment::Served(discipline::makestep)),
    ("maxclockerror", Treatment::Served(discipline::maxclockerror)),
    ("maxdistance", Treatment::Served(discipline::maxdistance)),
    ("maxdrift", Treatment::Served(discipline::maxdrift)),
    ("maxslewrate", Treatment::Served(discipline::maxslewrate)),
    ("metrics", Treatment::Served(network::metrics)),
    ("minsources", Treatment::Served(discipline::minsources)),
    ("noclientlog", Treatment::Served(serving::noclientlog)),
    ("ondisruption", Treatment::Served(hook::ondisruption)),
    ("onsync", Treatment::Served(hook::onsync)),
    ("pidfile", Treatment::Served(process::pidfile)),
    ("pool", Treatment::Source(ServerKind::Pool)),
    ("port", Treatment::Served(serving::port)),
    ("ratelimit", Treatment::Served(serving::ratelimit)),
    ("refclock", Treatment::Served(refclock::parse)),
    ("rtcsync", Treatment::Served(discipline::rtcsync)),
    ("server", Treatment::Source(ServerKind::Server)),
    ("serverthreads", Treatment::Served(serving::serverthreads)),
    ("smoothtime", Treatment::Served(serving::smoothtime)),
    ("sourcedir", Treatment::Inclusion(Inclusion::Sourcedir)),
    ("user", Treatment::Served(process::user)),
];

/// The treatment of a directive, by its name in lower case.
pub(super) fn find(name: &str) -> Option<Treatment> {
    let served = SERVED.iter().find(|(known, _)| *known == name).map(|(_, treatment)| *treatment);
    let unserved = || UNSERVED.iter().find(|(known, _)| *known == name).map(|(_, without)| Treatment::Unserved(without));
    let ntpd = || NTPD.iter().find(|(known, _)| *known == name).map(|(_, advice)| Treatment::Ntpd(advice));
    served.or_else(unserved).or_else(ntpd)
}

/// `; did you mean ...?` if a directive is spelt nearly like `name`.
pub(super) fn guess(name: &str) -> String {
    let served = SERVED.iter().map(|(known, _)| *known);
    did_you_mean(name, served.chain(UNSERVED.iter().map(|(known, _)| *known)))
}

/// Parses a `server` or `pool` line.
pub(super) fn source(line: &mut Line<'_>, config: &mut Config, kind: ServerKind) -> Parsed<String> {
    let (server, meaning) = server::parse(line, kind)?;
    config.servers.push(server);
    Ok(meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_stands_once_and_in_lower_case() {
        let served = SERVED.iter().map(|(name, _)| *name);
        let others = UNSERVED.iter().chain(NTPD).map(|(name, _)| *name);
        let mut seen = BTreeSet::new();
        for name in served.chain(others) {
            assert!(seen.insert(name), "{name} stands twice");
            assert_eq!(name, name.to_ascii_lowercase());
        }
    }
}
