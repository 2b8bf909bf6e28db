//! One source's estimate: its line against the timebase, with covariance and a hard interval.
//!
//! A bank of Kalman filters (phase, frequency) weighed by evidence estimates where the source is. Residuals are
//! computed against the filter's own line and never stored. Beside it runs an interval that must contain the
//! source's time as long as the frequency stays within its stated uncertainty: that is what selection and
//! bounds rest on. `docs/sync-core.md` has the mathematics.

mod bank;
mod chord;
mod normal;
mod path;

use std::time::Duration;

use arrayvec::ArrayVec;

use super::event::Sample;
use super::line::Line;
use crate::units::{Instant, Offset, Ppm, Timestamp, count};
use bank::Bank;
use chord::Chord;
use path::Path;

/// One sigma of an unknown oscillator's frequency: a TSC calibrated by a hypervisor is seldom worse.
const UNKNOWN_FREQUENCY: f64 = 1e-4;
/// How many sigmas of noise go into intervals.
const NOISE_SIGMAS: f64 = 6.0;
/// How many of the frequency: it adds to intervals that are already wider than the truth needs.
pub(super) const FREQUENCY_SIGMAS: f64 = 5.0;
/// Samples kept for statistics, as in `chronyc sourcestats`.
const HISTORY: usize = 64;
/// So many sigmas of an innovation are noise; what is more may be a drift that the model does not know.
const EXPLAINED: f64 = 3.0;
/// Two intervals that share less than this part of the smaller one agree by chance.
const SLIVER: f64 = 0.1;
/// As many innovations are needed before they limit what the timebase is supposed to do.
const ENOUGH: usize = 8;
/// Memory of the gain: so many samples.
const GAIN_MEMORY: f64 = 8.0;
/// Where only one way queues the estimate is as good as the floor is known, and its doubt falls with the number of samples, not
/// with the root of it: each is worth so much more.
const FLOOR_GAIN: f64 = 3.0;
/// One sample cannot tell more of the gain than this.
const MOST_GAIN: f64 = 60.0;

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

/// What is remembered of one sample.
#[derive(Clone, Copy, Debug)]
struct Past {
    at: Instant,
    /// The innovation was positive.
    ahead: bool,
    /// What noise does not explain of the innovation, seconds, and the time in which it came about.
    excess: f64,
    elapsed: f64,
}

/// The estimate of one source.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Everything below is as of this instant.
    at: Instant,
    /// The source's time at `at`, in whole nanoseconds; phases are seconds to be added to it.
    base: Timestamp,
    /// A sample has set the phase.
    set: bool,
    bank: Bank,
    path: Path,
    /// The source's time is within base + [low, high], supposing the frequency keeps to its uncertainty.
    low: f64,
    high: f64,
    /// What was known of the frequency when the interval began, and what measurements have proven since.
    prior_sigma: f64,
    chord: Chord,
    /// They have proven that the model knows the frequency as well as it says.
    confirmed: bool,
    /// What the timebase may do beyond all that is learned (`maxclockerror`).
    max_drift: f64,
    /// How wrong the source said it may be, and how fast that grew: between samples it goes on growing.
    root: f64,
    root_growth: f64,
    history: ArrayVec<Past, HISTORY>,
    /// The largest drift in the history.
    worst_drift: f64,
    jitter2: f64,
    /// How much of what is known a sample brings: variance before it over variance after it, less one.
    gain: f64,
    seen: u64,
}

impl Filter {
    /// Nothing known of the source; the frequency as told (from the drift file or another source). `max_drift` is
    /// how much the timebase may wander beyond all that is learned (`maxclockerror`).
    #[must_use]
    pub fn new(frequency: Ppm, skew: Option<Ppm>, max_drift: Ppm) -> Self {
        let sigma = skew.map_or(UNKNOWN_FREQUENCY, |s| s.ratio().abs().clamp(1e-9, UNKNOWN_FREQUENCY));
        Self {
            at: Instant::ZERO,
            base: Timestamp::UNIX_EPOCH,
            set: false,
            bank: Bank::new(frequency.ratio(), sigma * sigma),
            path: Path::default(),
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
            prior_sigma: sigma,
            chord: Chord::new(Instant::ZERO, Timestamp::UNIX_EPOCH, 0.0, f64::INFINITY),
            confirmed: false,
            max_drift: max_drift.ratio().abs(),
            root: 0.0,
            root_growth: 0.0,
            history: ArrayVec::new(),
            worst_drift: max_drift.ratio().abs(),
            jitter2: 0.0,
            gain: 0.0,
            seen: 0,
        }
    }

    /// True once a sample has set the phase.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.set
    }

    /// Forgets the phase; keeps the frequency.
    pub fn reset(&mut self) {
        self.set = false;
        self.low = f64::NEG_INFINITY;
        self.high = f64::INFINITY;
        self.path.clear();
        self.history.clear();
        self.worst_drift = self.max_drift;
        self.seen = 0;
    }

    /// The source's labels move by `by` (a leap second).
    pub fn shift(&mut self, by: Offset) {
        self.base = self.base + by;
    }

    /// The frequency may differ by `sigma` since an instant at most `since` before `now` (a change of clocksource).
    pub fn doubt_frequency(&mut self, now: Instant, sigma: Ppm, since: Duration) {
        if self.set && now > self.at {
            // Until then it was what was known.
            self.predict(now);
        }
        let strayed = sigma.ratio() * since.as_secs_f64();
        self.low -= FREQUENCY_SIGMAS * strayed;
        self.high += FREQUENCY_SIGMAS * strayed;
        self.bank.doubt_phase(strayed * strayed);
        self.bank.doubt_frequency(sigma.ratio() * sigma.ratio(), UNKNOWN_FREQUENCY * UNKNOWN_FREQUENCY);
        self.prior_sigma = self.prior_sigma.max(self.bank.mean().p11.sqrt());
        self.chord = Chord::new(self.at, self.base, (self.low + self.high) / 2.0, (self.high - self.low) / 2.0);
        self.confirmed = false;
        self.history.clear();
        self.worst_drift = self.max_drift;
    }

    /// Takes in a sample.
    pub fn update(&mut self, sample: &Sample) -> Update {
        // In true time: a slow counter sees a shorter delay.
        let (frequency, variance) = self.frequency();
        let delay = sample.delay.as_secs_f64() * (1.0 + frequency);
        let dispersion = sample.dispersion.as_secs_f64();
        // Six sigmas of what the delay does not explain: reading noise of a device, stamps of a kernel.
        // And what the source itself may be wrong by: the interval is to hold the truth.
        let root = sample.root_delay.as_secs_f64() / 2.0 + sample.root_dispersion.as_secs_f64();
        let half =
            delay / 2.0 * (1.0 + FREQUENCY_SIGMAS * variance.sqrt()) + dispersion + NOISE_SIGMAS * self.bank.mean().noise.sqrt() + root;
        let queueing = self.path.observe(delay);
        if !self.set {
            self.set_phase(sample, half, delay * delay / 12.0);
            return Update::First;
        }
        let width = queueing.excess + queueing.doubt;
        let variance = width * width / 12.0 + self.bank.mean().noise;
        if sample.at < self.at {
            // Reordered: judge it by the line, but never run the filter backwards.
            let innovation = sample.reference.since(self.line().at(sample.at)).seconds();
            return Update::Accepted { innovation, sigmas: innovation.abs() / (self.bank.mean().p00 + variance).sqrt() };
        }
        let elapsed = sample.at.since(self.at).seconds();
        self.predict(sample.at);
        self.root_growth = ((root - self.root) / elapsed.max(1e-3)).clamp(0.0, UNKNOWN_FREQUENCY);
        self.root = root;
        let measured = sample.reference.since(self.base).seconds();
        let innovation = measured - self.bank.mean().phase;
        if measured - half > self.high || measured + half < self.low {
            // The source jumped, or our frequency was never what we thought: doubt both.
            let wrong = (innovation / elapsed.max(1e-3)).abs().min(UNKNOWN_FREQUENCY);
            self.bank.doubt_frequency(wrong * wrong, UNKNOWN_FREQUENCY * UNKNOWN_FREQUENCY);
            self.set_phase(sample, half, variance);
            // If it was the rate, it may have changed just now, and by more than the mean since the last sample says.
            self.prior_sigma = UNKNOWN_FREQUENCY;
            return Update::Jumped(Offset::from_seconds(innovation));
        }
        let before = self.bank.mean().p00;
        let sigma = (before + variance).sqrt();
        let mut excess = (innovation.abs() - EXPLAINED * sigma).max(0.0);
        let shared = self.high.min(measured + half) - self.low.max(measured - half);
        let touching = shared < SLIVER * (self.high - self.low).min(2.0 * half);
        if touching {
            // The rate may be as wrong as leads from the middle of the one to the far end of the other.
            excess = innovation.abs() + half;
        }
        if excess > 0.0 {
            // Not what the model expects: what was known before may be wrong by more than it grew. The measurement is not.
            self.low = measured - half;
            self.high = measured + half;
        } else {
            self.low = self.low.max(measured - half);
            self.high = self.high.min(measured + half);
        }
        self.bank.update(measured, &queueing);
        // The hard interval is truth; an estimate outside of it is not.
        self.bank.clamp(self.low, self.high);
        self.chord.lead_to(sample.at, self.base, measured, half);
        self.confirmed |=
            self.chord.is_long() && self.chord.away(self.bank.mean().frequency) <= FREQUENCY_SIGMAS * self.bank.mean().p11.sqrt();
        self.note(sample.at, innovation, excess, elapsed.max(1e-3));
        let gain = (before / self.bank.mean().p00 - 1.0).clamp(0.0, MOST_GAIN);
        self.gain += (gain - self.gain) / count(self.seen).min(GAIN_MEMORY);
        Update::Accepted { innovation, sigmas: innovation.abs() / sigma }
    }

    fn set_phase(&mut self, sample: &Sample, half: f64, variance: f64) {
        self.at = sample.at;
        self.base = sample.reference;
        self.set = true;
        self.bank.set_phase(0.0, variance.max(half * half / 3.0));
        self.low = -half;
        self.high = half;
        self.chord = Chord::new(sample.at, sample.reference, 0.0, half);
        self.confirmed = false;
        self.root = sample.root_delay.as_secs_f64() / 2.0 + sample.root_dispersion.as_secs_f64();
        self.prior_sigma = self.bank.mean().p11.sqrt();
        self.history.clear();
        self.worst_drift = self.max_drift;
        self.jitter2 = variance;
        self.note(sample.at, 0.0, 0.0, 1.0);
    }

    fn note(&mut self, at: Instant, innovation: f64, excess: f64, elapsed: f64) {
        if self.history.is_full() {
            self.history.remove(0);
        }
        self.history.push(Past { at, ahead: innovation > 0.0, excess, elapsed });
        // In a short time noise of another shape than supposed looks like a large drift.
        let drifts = self.history.iter().map(|past| past.excess / past.elapsed.max(elapsed));
        let worst = drifts.fold(0.0, f64::max);
        self.worst_drift = if self.history.len() >= ENOUGH { worst } else { worst.max(self.max_drift) };
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
        let slack = self.growth_at(dt) * dt;
        let drift = self.bank.mean().frequency * dt;
        self.at = to;
        self.base = self.base + elapsed;
        self.low += drift - slack;
        self.high += drift + slack;
        self.bank.predict(dt);
        // Whole seconds of phase go into the base so that phases keep their precision.
        let whole = Offset::from_seconds(self.bank.mean().phase.trunc());
        if whole != Offset::ZERO {
            self.base = self.base + whole;
            self.bank.shift(-whole.seconds());
            self.low -= whole.seconds();
            self.high -= whole.seconds();
        }
    }

    /// The frequency's possible error `dt` seconds ahead, as a ratio.
    ///
    /// The noise model may be too hopeful, above all at first; until measurements have proven it right, it counts what they
    /// prove themselves, and before that says anything, what was known before.
    /// To this comes what no model knows: as much as the innovations have shown, and `maxclockerror` until they can. And a
    /// source that is losing its own time says so by a growing root distance.
    fn growth_at(&self, dt: f64) -> f64 {
        let mean = self.bank.mean();
        let sigma = (mean.p11 + mean.wander2 * dt.max(0.0)).sqrt();
        let modelled = FREQUENCY_SIGMAS * sigma;
        let proven = if self.confirmed { 0.0 } else { self.chord.away(mean.frequency).min(FREQUENCY_SIGMAS * self.prior_sigma) };
        modelled.max(proven) + self.worst_drift + self.root_growth
    }

    /// The source's line.
    #[must_use]
    pub fn line(&self) -> Line {
        let mean = self.bank.mean();
        Line::through(self.at, self.base, mean.phase, mean.frequency)
    }

    /// The estimate at `now` as seconds ahead of `time`: `(low, middle, high)`.
    #[must_use]
    pub fn interval(&self, time: Timestamp, now: Instant) -> (f64, f64, f64) {
        let elapsed = now.since(self.at);
        let dt = elapsed.seconds().max(0.0);
        let mean = self.bank.mean();
        let course = (self.base + elapsed).since(time).seconds() + mean.frequency * elapsed.seconds();
        let slack = self.growth_at(dt) * dt;
        (course + self.low - slack, course + mean.phase, course + self.high + slack)
    }

    /// One sigma of the phase at `now`, seconds.
    #[must_use]
    pub fn sigma(&self, now: Instant) -> f64 {
        let dt = now.since(self.at).seconds().max(0.0);
        self.bank.mean().variance_after(dt).sqrt()
    }

    /// The frequency and its variance (ratios).
    #[must_use]
    pub const fn frequency(&self) -> (f64, f64) {
        let mean = self.bank.mean();
        (mean.frequency, mean.p11)
    }

    /// Growth of the interval, as a frequency.
    #[must_use]
    pub fn growth(&self, now: Instant) -> Ppm {
        Ppm::from_ratio(self.growth_at(now.since(self.at).seconds()))
    }

    /// Mean square of the wander: variance of the frequency gained each second.
    #[must_use]
    pub const fn wander2(&self) -> f64 {
        self.bank.mean().wander2
    }

    /// How much of what is known each sample brings: variance before it over variance after it, less one.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.gain * (1.0 + FLOOR_GAIN * self.bank.mean().one_sided)
    }

    /// Root mean square of recent innovations, seconds.
    #[must_use]
    pub fn jitter(&self) -> f64 {
        self.jitter2.max(0.0).sqrt()
    }

    /// Samples in the statistics, runs of one sign, and the time they span.
    #[must_use]
    pub fn statistics(&self) -> (usize, usize, Duration) {
        let runs = self.history.windows(2).filter(|pair| pair[0].ahead != pair[1].ahead).count() + usize::from(!self.history.is_empty());
        let span = match (self.history.first(), self.history.last()) {
            (Some(first), Some(last)) => last.at.elapsed_since(first.at),
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
