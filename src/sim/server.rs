//! An NTP server in the simulated world: the production responder over a clock of its own.

use std::net::SocketAddr;
use std::time::Duration;

use crate::core::Line;
use crate::ntp::{Reply, Request, Responder, Snapshot, Verdict};
use crate::units::{Bound, Instant, Leap, Offset, Ppm, ReferenceId, Stratum, Timestamp};
use crate::wire::ntp::Header;

/// What a server may answer instead of the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kiss {
    /// Ask less often.
    Rate,
    /// Go away.
    Deny,
}

/// A server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its clock's error; positive when it is ahead of the truth.
    pub error: Offset,
    /// Its stratum.
    pub stratum: Stratum,
    /// What it claims of its distance.
    pub root_delay: Duration,
    /// Likewise.
    pub root_dispersion: Duration,
    /// Whether it says that it is synchronised.
    pub leap: Leap,
    /// False: it does not answer.
    pub alive: bool,
    /// It answers with a kiss.
    pub kiss: Option<Kiss>,
    /// What it follows.
    pub reference_id: ReferenceId,
    /// Questions it was asked.
    pub asked: u64,
    /// The production responder.
    pub responder: Responder,
}

impl Server {
    /// A truthful stratum 1 server.
    #[must_use]
    pub fn new() -> Self {
        Self {
            error: Offset::ZERO,
            stratum: Stratum::new(1),
            root_delay: Duration::ZERO,
            root_dispersion: Duration::from_micros(1),
            leap: Leap::Normal,
            alive: true,
            kiss: None,
            reference_id: ReferenceId(*b"GPS\0"),
            asked: 0,
            responder: Responder::new(),
        }
    }

    /// A server whose clock is wrong by `error`.
    #[must_use]
    pub fn lying(error: Offset) -> Self {
        Self { error, ..Self::new() }
    }

    /// Its answer to a request that arrives at the true instant `now`, when true time is `epoch + now`.
    pub fn answer(&mut self, epoch: Timestamp, now: Instant, from: SocketAddr, request: &[u8]) -> Option<Reply> {
        self.asked += 1;
        if !self.alive {
            return None;
        }
        let snapshot = Snapshot {
            line: Line::new(Instant::ZERO, epoch + self.error, Ppm::ZERO),
            bound: Bound { as_of: now, error: self.root_delay / 2 + self.root_dispersion, growth: Ppm::ZERO },
            leap: self.leap,
            stratum: self.stratum,
            reference_id: self.reference_id,
            reference: epoch,
            root_delay: self.root_delay,
            precision: -29,
        };
        let mut out = Reply::new();
        let asked = Request { from, received: now, bytes: request };
        if self.responder.reply(&snapshot, &asked, now, &mut out) != Verdict::Reply {
            return None;
        }
        if let Some(kiss) = self.kiss {
            if let Ok((header, _)) = Header::parse(&out) {
                let code = match kiss {
                    Kiss::Rate => ReferenceId(*b"RATE"),
                    Kiss::Deny => ReferenceId(*b"DENY"),
                };
                let kiss = Header { stratum: 0, leap: Leap::Unsynchronised, reference_id: code, ..header };
                out = kiss.emit().into_iter().collect();
            }
        }
        Some(out)
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}
