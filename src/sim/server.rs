//! An NTP server in the simulated world: the production responder over a clock of its own.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::calendar::Calendar;
use crate::core::Line;
use crate::ntp::{Curve, Reply, Request, Responder, Snapshot, Verdict};
use crate::units::{Bound, Instant, Leap, Offset, Ppm, ReferenceId, Stratum};
use crate::wire::ntp::Header;

/// What a server may answer instead of the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kiss {
    /// Ask less often.
    Rate,
    /// Go away.
    Deny,
}

/// A server.
#[derive(Clone, PartialEq, Debug)]
pub struct Server {
    /// Its clock's error at the start; positive when it is ahead of the truth.
    pub error: Offset,
    /// How fast that error grows, as a ratio: a wandering liar.
    pub drift: f64,
    /// Its stratum.
    pub stratum: Stratum,
    /// What it claims of its distance.
    pub root_delay: Duration,
    /// Likewise.
    pub root_dispersion: Duration,
    /// What it says of the day's end, or that it is not synchronised; a leap second of the scenario is
    /// announced by itself.
    pub leap: Leap,
    /// It spreads the scenario's leap second evenly, and does not announce it.
    pub smear: bool,
    /// False: it does not answer.
    pub alive: bool,
    /// It answers with a kiss.
    pub kiss: Option<Kiss>,
    /// What it follows.
    pub reference_id: ReferenceId,
}

impl Server {
    /// A truthful stratum 1 server.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            error: Offset::ZERO,
            drift: 0.0,
            stratum: Stratum::new(1),
            root_delay: Duration::ZERO,
            root_dispersion: Duration::from_micros(1),
            leap: Leap::Normal,
            smear: false,
            alive: true,
            kiss: None,
            reference_id: ReferenceId(*b"GPS\0"),
        }
    }

    /// A server whose clock is wrong by `error`.
    #[must_use]
    pub const fn lying(error: Offset) -> Self {
        Self { error, ..Self::new() }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

/// A server as it runs.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) server: Server,
    /// When `server.error` was true.
    since: Instant,
    /// Not synchronised until then: it has just started.
    starting: Instant,
    down: Instant,
    pub(super) asked: u64,
    responder: Responder,
}

impl Host {
    pub(super) fn new(server: Server) -> Self {
        Self { server, since: Instant::ZERO, starting: Instant::ZERO, down: Instant::ZERO, asked: 0, responder: Responder::open() }
    }

    /// By how much its clock is ahead of the truth at `now`.
    fn error(&self, now: Instant) -> Offset {
        self.server.error + Offset::from_seconds(now.since(self.since).seconds() * self.server.drift)
    }

    /// By how much what it tells is ahead of what guests are judged by, at `now`.
    pub(super) fn ahead(&self, calendar: &Calendar, now: Instant) -> Offset {
        let shown = if self.server.smear { calendar.smeared(now) } else { calendar.utc(now) };
        shown.since(calendar.truth(now)) + self.error(now)
    }

    /// From `now` on its clock is wrong by `error`.
    pub(super) const fn mislead(&mut self, now: Instant, error: Offset) {
        self.server.error = error;
        self.since = now;
    }

    /// From `now` on its error grows at this rate.
    pub(super) fn drift(&mut self, now: Instant, drift: f64) {
        self.server.error = self.error(now);
        self.since = now;
        self.server.drift = drift;
    }

    /// It is away until one instant and not synchronised until another.
    pub(super) const fn restart(&mut self, back: Instant, synchronised: Instant) {
        self.down = back;
        self.starting = synchronised;
    }

    /// Its answer in `out` to a request that arrives at the true instant `now`; false if there is none.
    pub(super) fn answer(&mut self, calendar: &Calendar, now: Instant, from: SocketAddr, request: &[u8], out: &mut Reply) -> bool {
        self.asked += 1;
        let server = &self.server;
        if !server.alive || now < self.down {
            return false;
        }
        let (utc, announced) =
            if server.smear { (calendar.smeared(now), Leap::Normal) } else { (calendar.utc(now), calendar.announced(now)) };
        let snapshot = Snapshot {
            line: Line::new(now, utc + self.error(now), Ppm::ZERO),
            bound: Bound { as_of: now, error: server.root_delay / 2 + server.root_dispersion, growth: Ppm::ZERO },
            borrowed: Duration::ZERO,
            leap: if now < self.starting {
                Leap::Unsynchronised
            } else if server.leap == Leap::Normal {
                announced
            } else {
                server.leap
            },
            stratum: server.stratum,
            reference_id: server.reference_id,
            reference: utc,
            root_delay: server.root_delay,
            precision: -29,
            local: None,
            curve: Curve::NONE,
        };
        let asked = Request { from, received: now, bytes: request };
        if self.responder.reply(&snapshot, &asked, now, out) != Verdict::Reply {
            return false;
        }
        if let (Some(kiss), Ok((header, _))) = (server.kiss, Header::parse(out)) {
            let code = match kiss {
                Kiss::Rate => ReferenceId(*b"RATE"),
                Kiss::Deny => ReferenceId(*b"DENY"),
            };
            let kiss = Header { stratum: 0, leap: Leap::Unsynchronised, reference_id: code, ..header };
            *out = kiss.emit().into_iter().collect();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    fn header(host: &mut Host, calendar: &Calendar, s: i64) -> Option<Header> {
        let mut request = [0_u8; 48];
        request[0] = 0x23;
        let mut out = Reply::new();
        let now = Instant::from_nanos(s * 1_000_000_000);
        host.answer(calendar, now, "10.0.1.1:123".parse().unwrap(), &request, &mut out).then(|| Header::parse(&out).unwrap().0)
    }

    #[test]
    fn a_wandering_liar_wanders() {
        let epoch = Timestamp::from_parts(1_800_000_000, 0);
        let calendar = Calendar::new(epoch, None);
        let mut host = Host::new(Server { drift: 1e-3, ..Server::lying(Offset::from_seconds(0.5)) });
        let told = header(&mut host, &calendar, 100).unwrap().transmit.to_utc(epoch);
        assert!((told.since(epoch).seconds() - 100.6).abs() < 1e-8);
        host.drift(Instant::from_nanos(100_000_000_000), -1e-3);
        let told = header(&mut host, &calendar, 200).unwrap().transmit.to_utc(epoch);
        assert!((told.since(epoch).seconds() - 200.5).abs() < 1e-8);
    }

    #[test]
    fn a_restarting_server_is_silent_then_unsynchronised_then_itself() {
        let calendar = Calendar::new(Timestamp::from_parts(1_800_000_000, 0), None);
        let mut host = Host::new(Server::new());
        host.restart(Instant::from_nanos(10_000_000_000), Instant::from_nanos(20_000_000_000));
        assert_eq!(header(&mut host, &calendar, 5), None);
        assert_eq!(header(&mut host, &calendar, 15).map(|h| (h.leap, h.stratum)), Some((Leap::Unsynchronised, 16)));
        assert_eq!(header(&mut host, &calendar, 25).map(|h| (h.leap, h.stratum)), Some((Leap::Normal, 1)));
        assert_eq!(host.asked, 3);
    }
}
