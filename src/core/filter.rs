//! One source's estimate: its line against the timebase, with covariance and a hard interval.
//!
//! A two-state Kalman filter (phase, frequency; the frequency walks randomly). Residuals
//! are computed against the filter's own line and never stored. Beside it runs an interval
//! that must contain the source's time as long as the frequency stays within its stated
//! uncertainty: that is what selection and bounds rest on. `docs/sync-core.md` has the mathematics.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::event::Sample;
use super::line::Line;
use crate::units::{Instant, Offset, Ppm, Timestamp, count};

/// One sigma of an unknown oscillator's frequency: a TSC calibrated by a hypervisor is seldom worse.
const UNKNOWN_FREQUENCY: f64 = 1e-4;
/// Frequency wander to start from, per square root of a second.
const INITIAL_WANDER: f64 = 1e-9;
/// Limits of the learned wander.
const WANDER_RANGE: (f64, f64) = (1e-11, 1e-6);
/// Noise beside the path's supposed at first, until the samples tell: a cold first reading of a device is seldom worse.
const INITIAL_NOISE: f64 = 1e-6;
/// How many sigmas of the frequency go into growing intervals.
const FREQUENCY_SIGMAS: f64 = 6.0;
/// Samples kept for statistics, as in `chronyc sourcestats`.
const HISTORY: usize = 64;
/// Delays kept to find the floor of the path.
const DELAYS: usize = 64;

/// What a sample did to the estimate.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Update {
    /// First sample since start or reset.
    First,
    /// Accepted; the innovation in seconds and how many sigmas that is.
    Accepted {
        /// Measured minus predicted.
        innovation: f64,
        /// The same in units of its expected deviation.
        sigmas: f64,
    },
    /// The sample proves the estimate wrong: the source (or our timebase) jumped by this much.
    Jumped(Offset),
}

/// The estimate of one source.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Everything below is as of this instant.
    at: Instant,
    /// The source's time at `at`, in whole nanoseconds.
    base: Timestamp,
    /// Seconds to add to `base`.
    phase: f64,
    /// Source seconds per raw second, minus one.
    frequency: f64,
    p00: f64,
    p01: f64,
    p11: f64,
    /// The source's time is within base + [low, high], supposing the frequency keeps to its uncertainty.
    low: f64,
    high: f64,
    /// Since when, and with what half width, the interval has been followed, and what was known of the frequency then.
    began: Instant,
    first_half: f64,
    prior_sigma: f64,
    wander: f64,
    floor: f64,
    noise: f64,
    correlation: f64,
    last_normalised: f64,
    last_outlier: f64,
    delays: ArrayVec<f64, DELAYS>,
    next_delay: usize,
    history: ArrayVec<(Instant, bool), HISTORY>,
    jitter2: f64,
    seen: u64,
}

impl Filter {
    /// Nothing known of the source; the frequency as told (from the drift file or another source). `floor` is
    /// how much the timebase may wander beyond all that is learned (`maxclockerror`).
    #[must_use]
    pub fn new(frequency: Ppm, skew: Option<Ppm>, floor: Ppm) -> Self {
        let sigma = skew.map_or(UNKNOWN_FREQUENCY, |s| s.ratio().abs().clamp(1e-9, UNKNOWN_FREQUENCY));
        Self {
            at: Instant::ZERO,
            base: Timestamp::UNIX_EPOCH,
            phase: 0.0,
            frequency: frequency.ratio(),
            p00: f64::INFINITY,
            p01: 0.0,
            p11: sigma * sigma,
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
            began: Instant::ZERO,
            first_half: f64::INFINITY,
            prior_sigma: sigma,
            wander: INITIAL_WANDER,
            floor: floor.ratio().abs(),
            noise: INITIAL_NOISE * INITIAL_NOISE,
            correlation: 0.0,
            last_normalised: 0.0,
            last_outlier: 0.0,
            delays: ArrayVec::new(),
            next_delay: 0,
            history: ArrayVec::new(),
            jitter2: 0.0,
            seen: 0,
        }
    }

    /// True once a sample has set the phase.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.p00.is_finite()
    }

    /// Forgets the phase; keeps the frequency.
    pub fn reset(&mut self) {
        self.p00 = f64::INFINITY;
        self.p01 = 0.0;
        self.low = f64::NEG_INFINITY;
        self.high = f64::INFINITY;
        self.delays.clear();
        self.next_delay = 0;
        self.history.clear();
        self.correlation = 0.0;
        self.last_normalised = 0.0;
        self.seen = 0;
    }

    /// The source's labels move by `by` (a leap second).
    pub fn shift(&mut self, by: Offset) {
        self.base = self.base + by;
    }

    /// The frequency may now differ by `sigma` (a change of clocksource).
    pub fn doubt_frequency(&mut self, sigma: Ppm) {
        self.p11 = (self.p11 + sigma.ratio() * sigma.ratio()).min(UNKNOWN_FREQUENCY * UNKNOWN_FREQUENCY);
        self.prior_sigma = self.prior_sigma.max(self.p11.sqrt());
        self.began = self.at;
    }

    /// Takes in a sample.
    pub fn update(&mut self, sample: &Sample) -> Update {
        let delay = sample.delay.as_secs_f64();
        let dispersion = sample.dispersion.as_secs_f64();
        let variance = self.variance_of(delay, dispersion);
        // Six sigmas of what the delay does not explain: reading noise of a device, stamps of a kernel.
        // And what the source itself may be wrong by: the interval is to hold the truth.
        let root = sample.root_delay.as_secs_f64() / 2.0 + sample.root_dispersion.as_secs_f64();
        let half = delay / 2.0 + dispersion + 6.0 * self.noise.sqrt() + root;
        self.remember_delay(delay);
        if !self.is_set() {
            self.set(sample, half, variance);
            return Update::First;
        }
        if sample.at < self.at {
            // Reordered: judge it by the line, but never run the filter backwards.
            let innovation = sample.reference.since(self.line().at(sample.at)).seconds();
            let sigma = (self.p00 + variance).sqrt();
            return Update::Accepted { innovation, sigmas: innovation.abs() / sigma };
        }
        let elapsed = sample.at.since(self.at).seconds();
        self.predict(sample.at);
        let measured = sample.reference.since(self.base).seconds();
        let innovation = measured - self.phase;
        if measured - half > self.high || measured + half < self.low {
            // The source jumped, or our frequency was never what we thought: doubt both.
            let wrong = (innovation / elapsed.max(1e-3)).abs().min(UNKNOWN_FREQUENCY);
            self.p11 = (self.p11 + wrong * wrong).min(UNKNOWN_FREQUENCY * UNKNOWN_FREQUENCY);
            self.set(sample, half, variance);
            return Update::Jumped(Offset::from_seconds(innovation));
        }
        self.low = self.low.max(measured - half);
        self.high = self.high.min(measured + half);
        let expected = self.p00 + variance;
        let mut sigmas = innovation.abs() / expected.sqrt();
        self.learn(innovation, expected, delay);
        if sigmas > 3.0 && self.last_outlier * innovation > 0.0 {
            // Twice in a row to the same side is no outlier: the estimate is surer of itself than it should be.
            let wrong = (innovation / elapsed.max(1e-3)).abs().min(UNKNOWN_FREQUENCY);
            self.p00 += innovation * innovation;
            self.p11 = (self.p11 + wrong * wrong).min(UNKNOWN_FREQUENCY * UNKNOWN_FREQUENCY);
            sigmas = innovation.abs() / (self.p00 + variance).sqrt();
        }
        self.last_outlier = if sigmas > 3.0 { innovation } else { 0.0 };
        // A sample far outside its expected noise says little about where it lies: weigh it down.
        let weight = if sigmas > 3.0 { (sigmas / 3.0) * (sigmas / 3.0) } else { 1.0 };
        let expected = self.p00 + variance * weight;
        let (k0, k1) = (self.p00 / expected, self.p01 / expected);
        self.phase += k0 * innovation;
        self.frequency += k1 * innovation;
        let (p00, p01, p11) = (self.p00, self.p01, self.p11);
        self.p00 = p00 * (1.0 - k0);
        self.p01 = p01 * (1.0 - k0);
        self.p11 = (p11 - k1 * p01).max(1e-24);
        // The hard interval is truth; an estimate outside of it is not.
        self.phase = self.phase.clamp(self.low, self.high);
        self.note(sample.at, innovation);
        Update::Accepted { innovation, sigmas }
    }

    fn set(&mut self, sample: &Sample, half: f64, variance: f64) {
        self.at = sample.at;
        self.base = sample.reference;
        self.phase = 0.0;
        self.p00 = variance.max(half * half / 3.0);
        self.p01 = 0.0;
        self.low = -half;
        self.high = half;
        self.began = sample.at;
        self.first_half = half;
        self.prior_sigma = self.p11.sqrt();
        self.history.clear();
        self.jitter2 = variance;
        self.note(sample.at, 0.0);
    }

    fn note(&mut self, at: Instant, innovation: f64) {
        if self.history.is_full() {
            self.history.remove(0);
        }
        self.history.push((at, innovation > 0.0));
        self.seen += 1;
        if self.seen > 1 {
            let weight = (1.0 / count(self.seen - 1)).max(1.0 / 16.0);
            self.jitter2 += weight * (innovation * innovation - self.jitter2);
        }
    }

    /// Carries the estimate to `to`.
    fn predict(&mut self, to: Instant) {
        let elapsed = to.since(self.at);
        let dt = elapsed.seconds();
        let q = self.wander * self.wander;
        let slack = self.growth_at(dt) * dt;
        self.at = to;
        self.base = self.base + elapsed;
        let drift = self.frequency * dt;
        self.phase += drift;
        self.low += drift - slack;
        self.high += drift + slack;
        self.p00 += dt * (2.0 * self.p01 + dt * self.p11) + q * dt * dt * dt / 3.0;
        self.p01 += dt * self.p11 + q * dt * dt / 2.0;
        self.p11 += q * dt;
        // Whole seconds of phase go into the base so that `phase` keeps its precision.
        let whole = Offset::from_seconds(self.phase.trunc());
        if whole != Offset::ZERO {
            self.base = self.base + whole;
            self.phase -= whole.seconds();
            self.low -= whole.seconds();
            self.high -= whole.seconds();
        }
    }

    /// The frequency's possible error `dt` seconds ahead, as a ratio.
    ///
    /// The noise model may be too hopeful, the intervals are not: two of them, some time apart, allow every
    /// frequency that leads from one into the other. Before that says anything, what was known before holds.
    fn growth_at(&self, dt: f64) -> f64 {
        let sigma = (self.p11 + self.wander * self.wander * dt.max(0.0)).sqrt();
        let span = self.at.since(self.began).seconds();
        let allowed = (self.first_half + (self.high - self.low) / 2.0) / span.max(1e-3);
        let known = FREQUENCY_SIGMAS * self.prior_sigma.max(sigma);
        allowed.max(FREQUENCY_SIGMAS * sigma).min(known) + self.floor
    }

    /// The variance of a measurement from its delay: with an excess `x` over the path's floor the
    /// error lies in +-x/2, uniformly for exponential queueing, which has the variance x^2/12.
    fn variance_of(&self, delay: f64, dispersion: f64) -> f64 {
        let own = dispersion * dispersion / 3.0;
        let n = count(self.delays.len() as u64);
        if self.delays.is_empty() {
            return delay * delay / 12.0 + own + self.noise;
        }
        let floor = self.delays.iter().copied().fold(f64::INFINITY, f64::min);
        let mean = self.delays.iter().sum::<f64>() / n - floor;
        let excess = (delay - floor).max(0.0);
        // The floor itself is known to about mean/n; few samples may all have been held up alike.
        let doubt = (0.62 * mean / n.sqrt()).max(floor / (2.0 * n));
        let width = excess + doubt;
        width * width / 12.0 + own + self.noise
    }

    fn remember_delay(&mut self, delay: f64) {
        if self.delays.is_full() {
            self.delays[self.next_delay] = delay;
        } else {
            self.delays.push(delay);
        }
        self.next_delay = (self.next_delay + 1) % DELAYS;
    }

    /// Learns the reading noise from the innovations' size and the wander from their correlation:
    /// innovations of one sign in a row mean that the filter lags behind the oscillator.
    fn learn(&mut self, innovation: f64, expected: f64, delay: f64) {
        let normalised = (innovation / expected.sqrt()).clamp(-4.0, 4.0);
        let product = normalised * self.last_normalised;
        self.last_normalised = normalised;
        if self.seen < 4 {
            return;
        }
        self.correlation += (product - self.correlation) / 16.0;
        if self.correlation > 0.1 {
            self.wander = (self.wander * 1.1).min(WANDER_RANGE.1);
        } else if self.correlation < 0.0 {
            self.wander = (self.wander / 1.05).max(WANDER_RANGE.0);
        }
        // Signed, so that it averages to zero where the delay explains everything.
        let surplus = (innovation * innovation).min(9.0 * expected) - (expected - self.noise);
        self.noise = (self.noise + (surplus - self.noise) / 32.0).clamp(1e-18, delay * delay / 4.0 + 1e-12);
    }

    /// The source's line.
    #[must_use]
    pub fn line(&self) -> Line {
        Line::through(self.at, self.base, self.phase, self.frequency)
    }

    /// The estimate at `now` as seconds ahead of `time`: `(low, middle, high)`.
    #[must_use]
    pub fn interval(&self, time: Timestamp, now: Instant) -> (f64, f64, f64) {
        let elapsed = now.since(self.at);
        let dt = elapsed.seconds().max(0.0);
        let course = (self.base + elapsed).since(time).seconds() + self.frequency * elapsed.seconds();
        let slack = self.growth_at(dt) * dt;
        (course + self.low - slack, course + self.phase, course + self.high + slack)
    }

    /// One sigma of the phase at `now`, seconds.
    #[must_use]
    pub fn sigma(&self, now: Instant) -> f64 {
        let dt = now.since(self.at).seconds().max(0.0);
        let q = self.wander * self.wander;
        (self.p00 + dt * (2.0 * self.p01 + dt * self.p11) + q * dt * dt * dt / 3.0).max(0.0).sqrt()
    }

    /// The frequency and its variance (ratios).
    #[must_use]
    pub const fn frequency(&self) -> (f64, f64) {
        (self.frequency, self.p11)
    }

    /// Growth of the interval, as a frequency.
    #[must_use]
    pub fn growth(&self, now: Instant) -> Ppm {
        Ppm::from_ratio(self.growth_at(now.since(self.at).seconds()))
    }

    /// Root mean square of recent innovations, seconds.
    #[must_use]
    pub fn jitter(&self) -> f64 {
        self.jitter2.max(0.0).sqrt()
    }

    /// Samples in the statistics, runs of one sign, and the time they span.
    #[must_use]
    pub fn statistics(&self) -> (usize, usize, Duration) {
        let runs = self.history.windows(2).filter(|pair| pair[0].1 != pair[1].1).count() + usize::from(!self.history.is_empty());
        let span = match (self.history.first(), self.history.last()) {
            (Some(first), Some(last)) => last.0.elapsed_since(first.0),
            _ => Duration::ZERO,
        };
        (self.history.len(), runs, span)
    }

    /// How many samples went into the estimate since the last reset.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }
}
