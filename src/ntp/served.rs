//! What a server counted: requests, replies, and silences by reason.

use std::ops::AddAssign;

/// Why a request gets no reply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// Too short, or of a length no NTP packet has.
    Malformed,
    /// A version we do not speak.
    Version,
    /// A packet, but not a request.
    Mode,
    /// Modes 6 and 7, which are not for the network.
    Control,
    /// The access rules say no.
    Denied,
    /// It asks too often.
    Limited,
    /// Its authentication is wrong, or with a key we do not have.
    Authentication,
}

impl Refusal {
    /// All reasons, for counters.
    pub const ALL: [Self; 7] =
        [Self::Malformed, Self::Version, Self::Mode, Self::Control, Self::Denied, Self::Limited, Self::Authentication];

    /// Lower-case word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Mode => "mode",
            Self::Control => "control",
            Self::Denied => "denied",
            Self::Limited => "rate_limited",
            Self::Authentication => "authentication",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Malformed => 0,
            Self::Version => 1,
            Self::Mode => 2,
            Self::Control => 3,
            Self::Denied => 4,
            Self::Limited => 5,
            Self::Authentication => 6,
        }
    }
}

/// Totals of one responder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Served {
    /// Packets that came.
    pub received: u64,
    /// Replies built, kisses included.
    pub replied: u64,
    /// Of them, kiss-o'-death RATE.
    pub kissed: u64,
    /// Of them, in the interleaved mode.
    pub interleaved: u64,
    /// Of them, authenticated.
    pub authenticated: u64,
    /// Replies whose sending the kernel stamped.
    pub stamped: u64,
    /// Replies that could not be sent.
    pub unsent: u64,
    /// Clients forgotten for want of room.
    pub forgotten: u64,
    refused: [u64; Refusal::ALL.len()],
}

impl Served {
    pub(super) const fn refuse(&mut self, refusal: Refusal) {
        self.refused[refusal.index()] += 1;
    }

    /// How many were refused for this reason.
    #[must_use]
    pub const fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal.index()]
    }
}

impl AddAssign for Served {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.replied += other.replied;
        self.kissed += other.kissed;
        self.interleaved += other.interleaved;
        self.authenticated += other.authenticated;
        self.stamped += other.stamped;
        self.unsent += other.unsent;
        self.forgotten += other.forgotten;
        for (mine, theirs) in self.refused.iter_mut().zip(other.refused) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_place_of_its_own() {
        let mut total = Served::default();
        for (i, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.index(), i);
            let mut one = Served { received: 1, ..Served::default() };
            one.refuse(refusal);
            total += one;
        }
        assert_eq!(total.received, 7);
        assert!(Refusal::ALL.into_iter().all(|refusal| total.refused(refusal) == 1));
    }
}
