//! How narrow a bound could be: what the paths measured and the servers claimed.

use super::outside::Place;
use crate::units::count;
use crate::wire::ntp::Header;

#[derive(Clone, Copy, Debug, Default)]
struct Journey {
    n: u64,
    round_trips: f64,
    distances: f64,
}

/// The packets that came back, for each server and for all guests together.
#[derive(Clone, Debug)]
pub(super) struct Journeys {
    servers: Vec<Journey>,
    guests: Journey,
}

impl Journeys {
    pub(super) fn new(servers: usize) -> Self {
        Self { servers: vec![Journey::default(); servers], guests: Journey::default() }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.servers.len());
    }

    /// An answer came back after a round trip of so many seconds.
    pub(super) fn add(&mut self, asked: Place, round_trip: f64, header: &Header) {
        let journey = match asked {
            Place::Server(i) => self.servers.get_mut(i),
            Place::Guest(_) => Some(&mut self.guests),
        };
        let Some(journey) = journey else { return };
        journey.n += 1;
        journey.round_trips += round_trip;
        journey.distances += header.root_delay.duration().as_secs_f64() / 2.0 + header.root_dispersion.duration().as_secs_f64();
    }

    /// Half the mean round trip and the mean root distance of the best of them, seconds; infinite if there is none.
    pub(super) fn best(&self) -> f64 {
        let used = self.servers.iter().chain([&self.guests]).filter(|j| j.n > 0);
        used.map(|j| (j.round_trips / 2.0 + j.distances) / count(j.n)).fold(f64::INFINITY, f64::min)
    }
}
