//! Directives about serving time: where, to how many, how often. Who may ask is `access`'s.

use super::line::{Line, Parsed, quoted};
use super::suggest::did_you_mean;
use super::{BindAddress, Config, Origin, RateLimit, Smoothtime, say};
use crate::units::Ppm;

/// `port NUMBER`.
pub(super) fn port(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    config.port = line.integer("port", 0..=u16::MAX)?;
    line.end()?;
    config.port_origin = Some(line.origin());
    Ok(match config.port {
        0 => "serve time to nobody".to_owned(),
        port => format!("serve time on UDP port {port} to those who are allowed"),
    })
}

/// `bindaddress ADDRESS`.
pub(super) fn bindaddress(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let address = line.address("bindaddress")?;
    line.end()?;
    if !config.bind_addresses.iter().any(|b| b.address == address) {
        config.bind_addresses.push(BindAddress { origin: line.origin(), address });
    }
    Ok(format!("serve time on the local address {address}"))
}

/// `binddevice INTERFACE`.
pub(super) fn binddevice(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let what = "the name of a network interface, at most 15 characters";
    let word = line.required("binddevice", what)?;
    if word.text.len() > 15 || word.text.contains('/') {
        return Err(word.problem(format!("`binddevice` needs {what}, not {}", quoted(word.text))));
    }
    line.end()?;
    config.bind_device = Some((line.origin(), word.text.to_owned()));
    Ok(format!("serve time on the network interface {} only", word.text))
}

/// `serverthreads N`.
pub(super) fn serverthreads(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let threads = line.integer("serverthreads", 0..=64)?;
    line.end()?;
    config.server_threads = Some(threads);
    Ok(match threads {
        0 => "serve time within the main loop".to_owned(),
        1 => "serve time on a thread of its own".to_owned(),
        n => format!("serve time on {n} threads"),
    })
}

/// `clientloglimit BYTES`.
pub(super) fn clientloglimit(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let bytes: u64 = line.integer("clientloglimit", 0..=u64::from(u32::MAX))?;
    line.end()?;
    config.client_log_limit = bytes.min(1 << 31);
    Ok(format!("remember clients in at most {} bytes", config.client_log_limit))
}

/// `noclientlog`.
pub(super) fn noclientlog(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    line.end()?;
    config.client_log = false;
    Ok("remember nothing of clients: no rate limit, no interleaved mode".to_owned())
}

/// Options of `ratelimit`.
const OPTIONS: &[&str] = &["interval", "burst", "leak", "kod"];

/// `ratelimit [interval N] [burst N] [leak N] [kod N]`.
pub(super) fn ratelimit(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let mut limit = RateLimit::default();
    while let Some(word) = line.next() {
        let name = word.keyword();
        match name.as_str() {
            "interval" => limit.interval = line.integer(&name, -19..=12)?,
            "burst" => limit.burst = line.integer(&name, 1..=255)?,
            "leak" => limit.leak = line.integer(&name, 1..=4)?,
            "kod" => limit.kod = line.integer(&name, 0..=4)?,
            _ => {
                let guess = did_you_mean(&name, OPTIONS.iter().copied());
                line.note(word.problem(format!("unknown option {} of `ratelimit`{guess}", quoted(word.text))));
            }
        }
    }
    config.rate_limit = Some(limit);
    let every = say::span(limit.cost());
    let kisses = if limit.kod > 0 { format!("; tell one in {} of those dropped to ask less often", 1 << limit.kod) } else { String::new() };
    Ok(format!(
        "answer each address every {every} and up to {} times in a burst; beyond that, one request in {}{kisses}",
        limit.burst,
        1 << limit.leak
    ))
}

/// `smoothtime MAX-FREQ MAX-WANDER [leaponly]`.
pub(super) fn smoothtime(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let max_frequency = Ppm::new(line.number("smoothtime", "ppm", 1e-3..=1e5)?);
    let max_wander = Ppm::new(line.number("smoothtime", "ppm per second", 1e-6..=1e3)?);
    let leap_only = match line.next() {
        None => false,
        Some(word) if word.keyword() == "leaponly" => true,
        Some(word) => return Err(word.problem(format!("unknown option {} of `smoothtime`: there is `leaponly`", quoted(word.text)))),
    };
    line.end()?;
    config.smoothtime = Some(Smoothtime { max_frequency, max_wander, leap_only });
    let what = if leap_only { "leap seconds" } else { "every correction" };
    Ok(format!(
        "smooth {what} for those who are served, at {} ppm at most, gained at {} ppm a second",
        max_frequency.ppm(),
        max_wander.ppm()
    ))
}

/// The line to blame if time cannot be served at `address`: the address's own, the port's, or the first that allows somebody.
#[must_use]
pub fn blame(config: &Config, address: std::net::IpAddr) -> Option<Origin> {
    let bound = config.bind_addresses.iter().find(|b| b.address == address).map(|b| &b.origin);
    let allowed = || config.access.iter().find(|rule| rule.allow).map(|rule| &rule.origin);
    bound.or(config.port_origin.as_ref()).or_else(allowed).cloned()
}
