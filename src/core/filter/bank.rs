//! Kalman filters side by side, one for each supposition of how the oscillator wanders and which way queues.
//!
//! Nobody knows how restless an oscillator is, or whether a path queues on both ways or on one; so every
//! supposition runs its own filter, and what it said of each measurement beforehand is its evidence. The answer
//! is the mean of all, weighed by evidence. All phases are seconds against a common base that the owner keeps.

use super::normal::truncated;
use super::path::Queueing;
use crate::units::count;

/// Magnitudes of wander, half a decade apart.
const WANDERS: usize = 11;
/// The smallest wander supposed, per square root of a second.
const LEAST_WANDER: f64 = 1e-11;
/// Which way queues: both alike, only the way there (the source seems ahead), only the way back.
const SIDES: [f64; 3] = [0.0, 1.0, -1.0];
/// An ordinary crystal wanders by 1e-9 per square root of a second: the place of that in the bank.
const ORDINARY: usize = 4;
/// Log-odds against each half decade more or less than that, where nothing is known.
const UNUSUAL: f64 = -0.5;
/// Log-odds against a path that queues on one way only.
const ONE_SIDED: f64 = -3.0;
/// What old evidence keeps with each sample: a memory of two hundred.
const MEMORY: f64 = 0.995;
/// Noise beside the path's supposed at first, until the samples tell: a cold first reading of a device is seldom worse.
const INITIAL_NOISE: f64 = 1e-6;
/// Memory of the noise: fifty samples.
const NOISE_MEMORY: f64 = 0.98;
/// The floor of learned noise, s^2: a tenth of a nanosecond.
const LEAST_NOISE: f64 = 1e-20;
/// A measurement less likely than this under the queueing model is judged as an outlier.
const IMPROBABLE: f64 = 1e-4;
/// From so many sigmas on, an outlier weighs less.
const OUTLIER: f64 = 3.0;
/// A single outlier cannot count more than this against a supposition.
const WORST_EVIDENCE: f64 = -15.0;

#[derive(Clone, Copy, Debug)]
struct Hypothesis {
    /// Wander squared: variance of the frequency gained each second.
    wander2: f64,
    side: f64,
    prior: f64,
    evidence: f64,
    phase: f64,
    frequency: f64,
    p00: f64,
    p01: f64,
    p11: f64,
    /// Variance of what the path does not explain, and the samples it rests on.
    noise: f64,
    noise_samples: f64,
}

/// Mean and covariance of all hypotheses.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Estimate {
    pub(super) phase: f64,
    pub(super) frequency: f64,
    pub(super) p00: f64,
    pub(super) p01: f64,
    pub(super) p11: f64,
    /// Mean square of the wander.
    pub(super) wander2: f64,
    /// Mean variance of the noise.
    pub(super) noise: f64,
    /// The weight of the hypotheses in which only one way queues, 0 to 1.
    pub(super) one_sided: f64,
}

impl Estimate {
    /// The variance of the phase `dt` seconds ahead.
    pub(super) fn variance_after(&self, dt: f64) -> f64 {
        (self.p00 + dt * (2.0 * self.p01 + dt * self.p11) + self.wander2 * dt * dt * dt / 3.0).max(0.0)
    }
}

/// The filters of one source.
#[derive(Clone, Debug)]
pub(super) struct Bank {
    hypotheses: [Hypothesis; WANDERS * SIDES.len()],
    mean: Estimate,
}

impl Bank {
    /// Nothing known but the frequency, with this variance.
    pub(super) fn new(frequency: f64, variance: f64) -> Self {
        let mut wander = LEAST_WANDER;
        let mut hypotheses = [Hypothesis {
            wander2: 0.0,
            side: 0.0,
            prior: 0.0,
            evidence: 0.0,
            phase: 0.0,
            frequency,
            p00: 1.0,
            p01: 0.0,
            p11: variance,
            noise: INITIAL_NOISE * INITIAL_NOISE,
            noise_samples: 1.0,
        }; WANDERS * SIDES.len()];
        for (i, same_wander) in hypotheses.chunks_mut(SIDES.len()).enumerate() {
            let prior = UNUSUAL * count(i.abs_diff(ORDINARY) as u64);
            for (hypothesis, side) in same_wander.iter_mut().zip(SIDES) {
                hypothesis.wander2 = wander * wander;
                hypothesis.side = side;
                hypothesis.prior = prior + ONE_SIDED * side.abs();
                hypothesis.evidence = hypothesis.prior;
            }
            wander *= 10_f64.sqrt();
        }
        let mut bank = Self { hypotheses, mean: Estimate::default() };
        bank.combine();
        bank
    }

    /// What all of them say together.
    pub(super) const fn mean(&self) -> &Estimate {
        &self.mean
    }

    /// The phase is `phase`, with this variance, whatever was thought before.
    pub(super) fn set_phase(&mut self, phase: f64, variance: f64) {
        for h in &mut self.hypotheses {
            (h.phase, h.p00, h.p01) = (phase, variance, 0.0);
        }
        self.combine();
    }

    /// The base moved: all phases change by `by`.
    pub(super) fn shift(&mut self, by: f64) {
        for h in &mut self.hypotheses {
            h.phase += by;
        }
        self.mean.phase += by;
    }

    /// The phase may be wrong by more than thought.
    pub(super) fn doubt_phase(&mut self, variance: f64) {
        for h in &mut self.hypotheses {
            h.p00 += variance;
        }
        self.combine();
    }

    /// The frequency may be wrong by more than thought, but by no more than `most` (variances).
    pub(super) fn doubt_frequency(&mut self, variance: f64, most: f64) {
        for h in &mut self.hypotheses {
            h.p11 = (h.p11 + variance).min(most.max(h.p11));
        }
        self.combine();
    }

    /// The phase cannot be outside of this.
    pub(super) fn clamp(&mut self, low: f64, high: f64) {
        for h in &mut self.hypotheses {
            h.phase = h.phase.clamp(low, high);
        }
        self.mean.phase = self.mean.phase.clamp(low, high);
    }

    /// Carries all estimates `dt` seconds on.
    pub(super) fn predict(&mut self, dt: f64) {
        for h in &mut self.hypotheses {
            h.phase += h.frequency * dt;
            h.p00 += dt * (2.0 * h.p01 + dt * h.p11) + h.wander2 * dt * dt * dt / 3.0;
            h.p01 += dt * h.p11 + h.wander2 * dt * dt / 2.0;
            h.p11 += h.wander2 * dt;
        }
        let m = &mut self.mean;
        m.phase += m.frequency * dt;
        m.p00 = m.variance_after(dt);
        m.p01 += dt * m.p11 + m.wander2 * dt * dt / 2.0;
        m.p11 += m.wander2 * dt;
    }

    /// Takes in a measured phase that met this queueing.
    pub(super) fn update(&mut self, measured: f64, queueing: &Queueing) {
        for h in &mut self.hypotheses {
            let likelihood = h.update(measured, queueing);
            h.evidence = MEMORY * h.evidence + (1.0 - MEMORY) * h.prior + likelihood;
        }
        self.combine();
    }

    fn combine(&mut self) {
        let best = self.hypotheses.iter().map(|h| h.evidence).fold(f64::NEG_INFINITY, f64::max);
        let mut weights = [0.0; WANDERS * SIDES.len()];
        let mut sum = 0.0;
        let mut mean = Estimate::default();
        for (h, weight) in self.hypotheses.iter_mut().zip(&mut weights) {
            h.evidence -= best;
            *weight = h.evidence.exp();
            sum += *weight;
            mean.phase += *weight * h.phase;
            mean.frequency += *weight * h.frequency;
            mean.wander2 += *weight * h.wander2;
            mean.noise += *weight * h.noise;
            mean.one_sided += *weight * h.side.abs();
        }
        mean.phase /= sum;
        mean.frequency /= sum;
        mean.wander2 /= sum;
        mean.noise /= sum;
        mean.one_sided /= sum;
        for (h, weight) in self.hypotheses.iter().zip(&weights) {
            let (phase, frequency) = (h.phase - mean.phase, h.frequency - mean.frequency);
            mean.p00 += *weight * (h.p00 + phase * phase);
            mean.p01 += *weight * (h.p01 + phase * frequency);
            mean.p11 += *weight * (h.p11 + frequency * frequency);
        }
        mean.p00 /= sum;
        mean.p01 /= sum;
        mean.p11 /= sum;
        self.mean = mean;
    }
}

impl Hypothesis {
    /// Returns the logarithm of how likely the measurement was.
    fn update(&mut self, measured: f64, queueing: &Queueing) -> f64 {
        let two_sided = self.side.abs() < 0.5;
        // The error lies in +-half about `middle`: uniformly where both ways queue alike, and where only one does,
        // within what is not known of the floor, which on average lies one doubt below the least delay.
        let (middle, half, doubt) = if two_sided {
            (measured, (queueing.excess + queueing.doubt) / 2.0, queueing.doubt)
        } else {
            (
                measured - self.side * (queueing.excess + queueing.one_sided_doubt) / 2.0,
                queueing.one_sided_doubt / 2.0,
                queueing.one_sided_doubt,
            )
        };
        let innovation = middle - self.phase;
        let edges = self.noise + doubt * doubt / 16.0;
        let deviation = (self.p00 + edges).sqrt();
        let uniform = if half > 1e-3 * edges.sqrt() {
            truncated((innovation - half) / deviation, (innovation + half) / deviation, IMPROBABLE)
        } else {
            None
        };
        let before = self.p00;
        let (moved, likelihood);
        if let Some(t) = uniform {
            let gain = before / deviation;
            moved = gain * t.mean;
            self.p00 = (before - gain * gain * (1.0 - t.variance)).max(before * 1e-6);
            likelihood = (t.probability / (2.0 * half)).ln();
        } else {
            let expected = before + half * half / 3.0 + self.noise;
            let sigmas = innovation.abs() / expected.sqrt();
            let weighed_down = if sigmas > OUTLIER { expected * (sigmas / OUTLIER) * (sigmas / OUTLIER) } else { expected };
            let gain = before / weighed_down;
            moved = gain * innovation;
            self.p00 = before * (1.0 - gain);
            likelihood = (-0.5 * sigmas * sigmas).max(WORST_EVIDENCE) - 0.5 * (std::f64::consts::TAU * expected).ln();
        }
        // The frequency follows as far as its error goes with that of the phase.
        let slope = self.p01 / before;
        self.phase += moved;
        self.frequency += slope * moved;
        self.p11 = (self.p11 - slope * slope * (before - self.p00)).max(1e-26);
        self.p01 = slope * self.p00;
        self.learn_noise(middle - self.phase, half);
        likelihood
    }

    /// What is left of a measurement shows its noise, where the path does not hide it.
    fn learn_noise(&mut self, residual: f64, half: f64) {
        self.noise_samples = self.noise_samples * NOISE_MEMORY + 1.0;
        if half >= 3.0 * self.noise.sqrt() {
            return;
        }
        let beyond = (residual.abs() - half).max(0.0);
        let shown = (beyond * beyond).min(25.0 * (self.noise + self.p00)) + self.p00.min(4.0 * self.noise);
        self.noise = (self.noise + (shown - self.noise) / self.noise_samples.max(2.0)).max(LEAST_NOISE);
    }
}
