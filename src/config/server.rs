//! `server` and `pool`: the options of an NTP source.

use super::line::{Line, Parsed, Problem, Word, quoted};
use super::suggest::did_you_mean;
use super::{SelectOptions, ServerDirective, ServerKind, say};
use crate::units::{Offset, Poll, Stratum, Vsock, duration};

/// Options with an effect.
const SERVED: &[&str] = &[
    "port",
    "minpoll",
    "maxpoll",
    "iburst",
    "burst",
    "prefer",
    "trust",
    "require",
    "noselect",
    "maxsources",
    "minstratum",
    "version",
    "xleave",
    "offset",
    "maxdelay",
];

/// Options that are accepted with a warning, and how many words follow each.
const UNSERVED: &[(&str, usize)] = &[
    ("asymmetry", 1),
    ("auto_offline", 0),
    ("certset", 1),
    ("copy", 0),
    ("extfield", 1),
    ("filter", 1),
    ("ipv4", 0),
    ("ipv6", 0),
    ("key", 1),
    ("maxdelaydevratio", 1),
    ("maxdelayquant", 1),
    ("maxdelayratio", 1),
    ("maxsamples", 1),
    ("maxunreach", 1),
    ("mindelay", 1),
    ("minsamples", 1),
    ("nts", 0),
    ("ntsport", 1),
    ("offline", 0),
    ("polltarget", 1),
    ("presend", 1),
];

/// Poll limits as far as they were said.
#[derive(Default)]
struct PollLimits {
    min: Option<Poll>,
    max: Option<Poll>,
    /// Where the later of the two stands.
    column: usize,
}

impl PollLimits {
    /// chrony's defaults are 6 and 10; one limit alone moves the other out of its way.
    fn resolve(&self) -> (Poll, Poll) {
        let (min, max) = (Poll::new(6), Poll::new(10));
        match (self.min, self.max) {
            (None, None) => (min, max),
            (Some(min), None) => (min, max.max(min)),
            (None, Some(max)) => (min.min(max), max),
            (Some(min), Some(max)) => (min, max),
        }
    }
}

/// Parses what follows `server` or `pool`.
pub(super) fn parse(line: &mut Line<'_>, kind: ServerKind) -> Parsed<(ServerDirective, String)> {
    let name = line.required(line.directive(), "a host name or address")?;
    if name.text.parse().is_ok_and(|address| Vsock::of(address).is_some()) {
        return Err(
            name.problem(format!("nobody answers at {}: for a machine of this host write `vsock:` and its context id", quoted(name.text)))
        );
    }
    let place = Vsock::place(name.text).map(|place| machine(name, place, kind)).transpose()?;
    let (min_poll, max_poll) = PollLimits::default().resolve();
    let mut server = ServerDirective {
        origin: line.origin(),
        kind,
        name: place.map_or_else(|| name.text.to_owned(), |(machine, _)| machine.to_string()),
        port: place.and_then(|(_, port)| port).unwrap_or(123),
        min_poll,
        max_poll,
        iburst: false,
        burst: false,
        select: SelectOptions::default(),
        max_sources: 4,
        min_stratum: Stratum::new(0),
        version: None,
        xleave: false,
        offset: Offset::ZERO,
        max_delay: duration(3.0),
        key: None,
        nts: false,
    };
    let mut polls = PollLimits::default();
    while let Some(word) = line.next() {
        if let Err(problem) = option(line, word, &mut server, &mut polls) {
            line.note(problem);
        }
    }
    if let (Some(min), Some(max)) = (polls.min, polls.max) {
        if min > max {
            let message = format!("`minpoll` {} is above `maxpoll` {}: lower one or raise the other", min.log2(), max.log2());
            return Err(Problem { column: polls.column, message });
        }
    }
    (server.min_poll, server.max_poll) = polls.resolve();
    let meaning = meaning(&server);
    Ok((server, meaning))
}

/// The machine and port of `vsock:CID[:PORT]`.
fn machine(name: Word<'_>, place: &str, kind: ServerKind) -> Parsed<(Vsock, Option<u16>)> {
    if kind == ServerKind::Pool {
        return Err(name.problem("one machine is no pool: write `server`"));
    }
    let (cid, port) = place.split_once(':').map_or((place, None), |(cid, port)| (cid, Some(port)));
    let machine = Vsock::from_word(&cid.to_ascii_lowercase());
    let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0));
    match (machine, port) {
        (Some(machine), None) => Ok((machine, None)),
        (Some(machine), Some(Some(port))) => Ok((machine, Some(port))),
        (None, _) => {
            Err(name
                .problem(format!("{} names no machine: write `vsock:host`, or `vsock:` and its context id, a number", quoted(name.text))))
        }
        (_, Some(None)) => Err(name.problem(format!("{} has no good port: it is a number from 1 to 65535", quoted(name.text)))),
    }
}

/// Parses one option; `word` is its name.
fn option(line: &mut Line<'_>, word: Word<'_>, server: &mut ServerDirective, polls: &mut PollLimits) -> Parsed<()> {
    let name = word.keyword();
    match name.as_str() {
        "port" => server.port = line.integer(&name, 1..=65535)?,
        "minpoll" => (polls.min, polls.column) = (Some(poll(line, &name)?), word.column),
        "maxpoll" => (polls.max, polls.column) = (Some(poll(line, &name)?), word.column),
        "iburst" => server.iburst = true,
        "burst" => server.burst = true,
        "maxsources" => {
            server.max_sources = line.integer(&name, 1..=16)?;
            if !server.is_pool() {
                return Err(word.problem("`maxsources` belongs to `pool`: a `server` is one source; remove it or write `pool`"));
            }
        }
        "minstratum" => server.min_stratum = Stratum::new(line.integer(&name, 0..=16)?),
        "version" => server.version = Some(line.integer(&name, 1..=4)?),
        "xleave" => {
            server.xleave = true;
        }
        "offset" => server.offset = Offset::from_seconds(line.number(&name, "seconds", f64::NEG_INFINITY..=f64::INFINITY)?),
        "maxdelay" => server.max_delay = line.seconds(&name)?,
        "key" => {
            server.key = Some(line.integer(&name, 1..=u32::MAX)?);
        }
        "nts" => {
            server.nts = true;
            line.note_unserved("`nts` (answers of this server are not authenticated)");
        }
        _ if select_option(&mut server.select, &name) => {}
        _ => return unserved_option(line, word, UNSERVED, SERVED),
    }
    Ok(())
}

/// A poll exponent.
pub(super) fn poll(line: &mut Line<'_>, name: &str) -> Parsed<Poll> {
    line.integer(name, Poll::MIN.log2()..=Poll::MAX.log2()).map(Poll::new)
}

/// Sets a selection option; false if `name` is none.
pub(super) fn select_option(select: &mut SelectOptions, name: &str) -> bool {
    match name {
        "prefer" => select.prefer = true,
        "trust" => select.trust = true,
        "require" => select.require = true,
        "noselect" => select.noselect = true,
        _ => return false,
    }
    true
}

/// Skips an option that chrony knows and we do not serve, or says that it is unknown.
pub(super) fn unserved_option(
    line: &mut Line<'_>,
    word: Word<'_>,
    unserved: &[(&'static str, usize)],
    served: &[&'static str],
) -> Parsed<()> {
    let name = word.keyword();
    if let Some((known, arguments)) = unserved.iter().find(|(known, _)| *known == name) {
        for _ in 0..*arguments {
            line.required(known, "a value")?;
        }
        line.note_unserved(format!("`{known}`"));
        return Ok(());
    }
    if word.text.starts_with(['#', '%', ';', '!']) {
        line.skip_rest();
        return Err(word.problem("a comment needs a line of its own: move it to the line above"));
    }
    // What looks like its value is no option of its own.
    while line.peek().is_some_and(|value| value.text.starts_with(|c: char| c.is_ascii_digit() || c == '-')) {
        line.next();
    }
    let names = served.iter().copied().chain(unserved.iter().map(|(known, _)| *known));
    Err(word.problem(format!("unknown option {} of `{}`{}", quoted(word.text), line.directive(), did_you_mean(&name, names))))
}

/// The clauses that describe selection options.
pub(super) fn say_select(select: SelectOptions, clauses: &mut Vec<String>) {
    let words = [
        (select.prefer, "follow it before sources without `prefer`"),
        (select.trust, "assume that it is right"),
        (select.require, "do not touch the clock unless a source with `require` agrees"),
        (select.noselect, "measure it but never follow it"),
    ];
    clauses.extend(words.iter().filter(|(on, _)| *on).map(|(_, text)| (*text).to_owned()));
}

/// The sentence for `check`.
fn meaning(server: &ServerDirective) -> String {
    let whom = match server.kind {
        ServerKind::Server => format!("ask {}", server.name),
        ServerKind::Pool => format!("ask up to {} of {}", addresses(server.max_sources), server.name),
    };
    let kind = if Vsock::place(&server.name).is_some() { "vsock" } else { "UDP" };
    let port = if server.port == 123 { String::new() } else { format!(" on {kind} port {}", server.port) };
    let pace = if server.min_poll == server.max_poll {
        say::every(server.min_poll)
    } else {
        format!("{} to {}", say::every(server.min_poll), say::span(server.max_poll.interval()))
    };
    let mut clauses = vec![format!("{whom}{port} for the time {pace}")];
    if server.iburst {
        clauses.push("begin with a few quick requests".to_owned());
    }
    if server.burst {
        clauses.push("make every poll a few quick requests".to_owned());
    }
    say_select(server.select, &mut clauses);
    if server.min_stratum > Stratum::new(0) {
        clauses.push(format!("treat its stratum as at least {}", server.min_stratum.get()));
    }
    if server.xleave {
        clauses.push("use the interleaved mode if the server can".to_owned());
    }
    if let Some(version) = server.version {
        clauses.push(format!("speak NTP version {version}"));
    }
    if server.offset != Offset::ZERO {
        clauses.push(format!("add {} to what is measured", say::seconds(server.offset.seconds())));
    }
    if server.max_delay != duration(3.0) {
        clauses.push(format!("drop samples with a round trip above {}", say::span(server.max_delay)));
    }
    clauses.join("; ")
}

/// `1 address`, `2 addresses`.
fn addresses(count: u8) -> String {
    if count == 1 { "1 address".to_owned() } else { format!("{count} addresses") }
}
