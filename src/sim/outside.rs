//! What lies outside of the guests: true time, servers, packets on their way, and what is to happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::calendar::Calendar;
use super::phc::Begun;
use super::server::Host;
use crate::core::SourceId;
use crate::ntp::{Reply, Token};
use crate::units::{Instant, duration};

/// Later than everything.
pub(super) const NEVER: Instant = Instant::from_nanos(i64::MAX);

/// A machine with an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Place {
    /// 10.0.0.N, counted from zero.
    Server(usize),
    /// 10.0.1.N, counted from zero.
    Guest(usize),
}

impl Place {
    pub(super) fn address(self) -> IpAddr {
        let (net, number) = match self {
            Self::Server(n) => (0, n),
            Self::Guest(n) => (1, n),
        };
        IpAddr::V4(Ipv4Addr::new(10, 0, net, u8::try_from(number + 1).unwrap_or(255)))
    }

    /// Who has this address.
    pub(super) fn of(address: IpAddr) -> Option<Self> {
        let IpAddr::V4(v4) = address else { return None };
        match v4.octets() {
            [10, 0, 0, n] if n > 0 => Some(Self::Server(usize::from(n) - 1)),
            [10, 0, 1, n] if n > 0 => Some(Self::Guest(usize::from(n) - 1)),
            _ => None,
        }
    }
}

/// What is to happen at some true time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Happening {
    /// A request arrives.
    Arrive(usize),
    /// An answer arrives.
    Return(usize),
    /// A reading of a paravirtual clock ends.
    Read { guest: usize, source: SourceId, begun: Begun },
    /// A guest that stood still runs again.
    Resume(usize),
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) token: Token,
    pub(super) client: usize,
    pub(super) asked: Place,
    pub(super) to: SocketAddr,
    /// When the request left.
    pub(super) left: Instant,
    pub(super) bytes: Reply,
}

/// Everything but the guests.
#[derive(Debug)]
pub(super) struct Outside {
    /// True time.
    pub(super) now: Instant,
    pub(super) calendar: Calendar,
    pub(super) hosts: Vec<Host>,
    queue: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    order: u64,
    flights: Vec<Option<Box<Flight>>>,
    free: Vec<usize>,
    /// Flights that ended, to be used again: nothing is allocated while the world runs on.
    #[expect(clippy::vec_box, reason = "a flight is large and moves between this and `flights`")]
    spare: Vec<Box<Flight>>,
}

impl Outside {
    pub(super) fn new(calendar: Calendar, hosts: Vec<Host>) -> Self {
        Self {
            now: Instant::ZERO,
            calendar,
            hosts,
            queue: BinaryHeap::new(),
            order: 0,
            flights: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
        }
    }

    pub(super) fn schedule(&mut self, at: Instant, happening: Happening) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order, happening)));
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Instant {
        self.queue.peek().map_or(NEVER, |next| next.0.0)
    }

    pub(super) fn pop(&mut self) -> Option<Happening> {
        self.queue.pop().map(|next| next.0.2)
    }

    /// A packet leaves; it and its double arrive after so many seconds.
    pub(super) fn launch(&mut self, travel: (Option<f64>, Option<f64>), happening: fn(usize) -> Happening, flight: &FlightPlan<'_>) {
        for delay in [travel.0, travel.1].into_iter().flatten() {
            let index = self.take_off(flight);
            self.schedule(self.now + duration(delay), happening(index));
        }
    }

    fn take_off(&mut self, plan: &FlightPlan<'_>) -> usize {
        let FlightPlan { token, client, asked, to, left, bytes } = *plan;
        let mut flight = self.spare.pop().unwrap_or_else(|| Box::new(Flight { token, client, asked, to, left, bytes: Reply::new_const() }));
        (flight.token, flight.client, flight.asked, flight.to, flight.left) = (token, client, asked, to, left);
        flight.bytes.clear();
        flight.bytes.extend(bytes.iter().copied());
        let index = self.free.pop().unwrap_or_else(|| {
            self.flights.push(None);
            self.flights.len() - 1
        });
        self.flights[index] = Some(flight);
        index
    }

    /// A packet arrives; give the flight back with [`Outside::landed`].
    pub(super) fn land(&mut self, index: usize) -> Option<Box<Flight>> {
        let flight = self.flights[index].take();
        self.free.push(index);
        flight
    }

    pub(super) fn landed(&mut self, flight: Box<Flight>) {
        self.spare.push(flight);
    }
}

/// A packet to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlightPlan<'a> {
    pub(super) token: Token,
    pub(super) client: usize,
    pub(super) asked: Place,
    pub(super) to: SocketAddr,
    pub(super) left: Instant,
    pub(super) bytes: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_places() {
        for place in [Place::Server(0), Place::Server(200), Place::Guest(0), Place::Guest(31)] {
            assert_eq!(Place::of(place.address()), Some(place));
        }
        for stranger in ["10.0.0.0", "10.0.2.1", "192.0.2.1", "::1"] {
            assert_eq!(Place::of(stranger.parse().unwrap()), None);
        }
    }
}
