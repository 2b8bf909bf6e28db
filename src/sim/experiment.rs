//! A scenario with its measuring: for how long, from when on, against what. And what came of it.

use serde::{Deserialize, Serialize};

use super::machine::{Machine, Violation};
use super::scenario::Scenario;
use super::statistics::LIMITS;
use super::values;
use super::world::World;
use crate::units::count;

/// A world is run so many seconds at a time between two words about the progress.
const STRETCH: f64 = 1000.0;

/// A scenario to be run and measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Experiment {
    /// What it is called.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// Seconds of true time.
    pub duration: f64,
    /// The statistics are of the time after this, seconds.
    pub reset: f64,
    /// The reaching of limits counts from here, seconds.
    pub reach_from: f64,
    /// The world.
    pub scenario: Scenario,
    /// What chronyd did in it.
    pub chronyd: Option<Chronyd>,
}

/// What chronyd did with the same noise.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Chronyd {
    /// Root mean square of the offset, seconds.
    #[serde(deserialize_with = "values::positive")]
    pub rms: f64,
    /// Root mean square of the frequency error, as a ratio.
    #[serde(deserialize_with = "values::positive")]
    pub frequency: f64,
    /// Mean time between two requests, seconds; none for a refclock.
    pub poll: Option<f64>,
    /// Seconds to 1 ms, 100 us and 10 us.
    pub reached: [f64; 3],
}

/// What came of one guest in one run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Figures {
    /// Root mean square of the clock's error, seconds.
    pub rms: f64,
    /// Median of its magnitude.
    pub p50: f64,
    /// It is below this for 99 % of the time.
    pub p99: f64,
    /// The largest.
    pub max: f64,
    /// Root mean square of the steered clock's frequency error, slews included, as a ratio.
    pub frequency_rms: f64,
    /// Seconds until the clock stayed within 1 ms, 100 us, 10 us and 1 us for a minute.
    pub reached: [Option<f64>; LIMITS.len()],
    /// Requests sent since the start.
    pub requests: u64,
    /// Requests sent since the reset.
    pub requests_after_reset: u64,
    /// Mean time between two requests over the whole run, seconds.
    pub poll: Option<f64>,
    /// Readings of paravirtual clocks since the start.
    pub readings: u64,
    /// Steps of the clock since the start.
    pub steps: u64,
    /// Seconds at which the clock's error exceeded its published bound, since the start.
    pub clock_violations: u64,
    /// The same of the line.
    pub line_violations: u64,
    /// Seconds at which either did, and the guest could not know yet what had happened to it.
    pub unaware: u64,
    /// Median of the clock's bound, where one was known.
    pub bound: f64,
    /// That median over half the round trip, the root distance of the best source, six sigma of reading noise
    /// and 100 ns.
    pub bound_ratio: f64,
    /// Of all that the agent decided, in hexadecimal.
    pub digest: String,
    /// The first time that the truth left a bound.
    pub first_violation: Option<Violation>,
}

impl Experiment {
    /// Runs it; `progress` hears now and then how many seconds of true time have passed, and says whether to go on.
    /// What came of every guest, in order; `None` if it was to end early.
    pub fn run(&self, seed: u64, mut progress: impl FnMut(f64) -> bool) -> Option<Vec<Figures>> {
        let mut world = World::new(&self.scenario, seed);
        let mut early = vec![(0, 0, 0); self.scenario.guests.len()];
        for stop in self.stops() {
            while world.seconds() < stop {
                world.run_until((world.seconds() + STRETCH).min(stop));
                if !progress(world.seconds()) {
                    return None;
                }
            }
            if at(stop, self.reach_from) {
                world.restart_reach();
            }
            if at(stop, self.reset) {
                for (guest, early) in world.guests().iter().zip(&mut early) {
                    let s = guest.statistics();
                    *early = (s.clock_violations, s.line_violations, s.unaware);
                }
                world.reset_statistics();
            }
        }
        Some(world.guests().iter().zip(early).map(|(guest, early)| self.figures(guest, early)).collect())
    }

    /// Where the run is stopped to do something, in order.
    fn stops(&self) -> Vec<f64> {
        let mut stops = vec![self.duration];
        for stop in [self.reset, self.reach_from] {
            if stop > 0.0 && stop < self.duration {
                stops.push(stop);
            }
        }
        stops.sort_by(f64::total_cmp);
        stops.dedup();
        stops
    }

    fn figures(&self, guest: &Machine, early: (u64, u64, u64)) -> Figures {
        let s = guest.statistics();
        let bound = s.bound_quantile(0.5);
        let fair = guest.fair_bound();
        Figures {
            rms: s.rms(),
            p50: s.offset_quantile(0.5),
            p99: s.offset_quantile(0.99),
            max: s.worst,
            frequency_rms: s.frequency_rms(),
            reached: guest.reached(),
            requests: guest.requests(),
            requests_after_reset: s.requests,
            poll: (guest.requests() > 0).then(|| self.duration / count(guest.requests())),
            readings: guest.readings(),
            steps: guest.agent().totals().steps,
            clock_violations: s.clock_violations + early.0,
            line_violations: s.line_violations + early.1,
            unaware: s.unaware + early.2,
            bound,
            bound_ratio: if fair.is_finite() { bound / fair } else { 0.0 },
            digest: format!("{:016x}", guest.digest()),
            first_violation: guest.violation().cloned(),
        }
    }
}

/// Times that come from the same number are the same.
const fn at(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}
