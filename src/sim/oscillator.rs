//! A counter that is never quite right: the guest's timebase against true time.

use serde::Deserialize;

use super::{Chance, values};
use crate::units::{Instant, Offset};

/// How often the frequency takes a step: what changes it, changes it once a second.
const STEP: Offset = Offset::from_nanos(1_000_000_000);

/// A temperature that goes up and down.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sine {
    /// Largest frequency error, as a ratio.
    #[serde(deserialize_with = "values::ratio")]
    pub amplitude: f64,
    /// Seconds.
    #[serde(deserialize_with = "values::positive")]
    pub period: f64,
    /// Where in the period the world begins, 0 to 1.
    #[serde(default, deserialize_with = "values::probability")]
    pub phase: f64,
}

/// A temperature that changes once, evenly.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ramp {
    /// Seconds of true time since the start.
    #[serde(deserialize_with = "values::seconds")]
    pub from: f64,
    /// Seconds of true time since the start.
    #[serde(deserialize_with = "values::positive")]
    pub until: f64,
    /// By how much the frequency is then another, as a ratio.
    #[serde(deserialize_with = "values::ratio")]
    pub by: f64,
}

/// Jumps of the frequency at random times.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Jumps {
    /// Mean time between two, seconds.
    #[serde(deserialize_with = "values::positive")]
    pub every: f64,
    /// One sigma of their size, as a ratio.
    #[serde(deserialize_with = "values::sigma")]
    pub size: f64,
}

/// What is wrong with an oscillator. All of it adds up; the default is perfect.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Oscillator {
    /// At the start, as a ratio; positive is fast.
    #[serde(deserialize_with = "values::ratio")]
    pub frequency: f64,
    /// Random walk of the frequency: one sigma of its step each second.
    #[serde(deserialize_with = "values::sigma")]
    pub wander: f64,
    /// Change of the frequency a second.
    #[serde(deserialize_with = "values::ratio")]
    pub aging: f64,
    /// Temperatures that go up and down.
    pub sines: Vec<Sine>,
    /// Temperatures that change.
    pub ramps: Vec<Ramp>,
    /// Jumps.
    pub jumps: Option<Jumps>,
}

impl Oscillator {
    /// The frequency error that does not depend on chance, `t` seconds after the start.
    fn planned(&self, t: f64) -> f64 {
        let sines = self.sines.iter().map(|s| s.amplitude * (std::f64::consts::TAU * (t / s.period + s.phase)).sin()).sum::<f64>();
        let ramps = self.ramps.iter().map(|r| r.by * ((t - r.from) / (r.until - r.from)).clamp(0.0, 1.0)).sum::<f64>();
        self.aging * t + sines + ramps
    }

    fn is_planned(&self) -> bool {
        self.aging != 0.0 || !self.sines.is_empty() || !self.ramps.is_empty()
    }
}

/// The counter of one guest: an oscillator as it runs.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    model: Oscillator,
    chance: Chance,
    planned: bool,
    /// The start, the walk and all jumps so far.
    walked: f64,
    /// In force until the next step.
    frequency: f64,
    /// The anchor: at this true time the counter showed `raw` and a fraction of a nanosecond.
    truth: Instant,
    raw: Instant,
    fraction: f64,
    next_step: Instant,
    /// The last jump by chance.
    jumped: Option<Instant>,
    running: bool,
}

impl Counter {
    pub(super) fn new(model: Oscillator, chance: Chance) -> Self {
        let planned = model.is_planned();
        let frequency = model.frequency + model.planned(0.5);
        Self {
            planned,
            walked: model.frequency,
            frequency,
            truth: Instant::ZERO,
            raw: Instant::ZERO,
            fraction: 0.0,
            next_step: Instant::ZERO + STEP,
            jumped: None,
            running: true,
            model,
            chance,
        }
    }

    /// Lets true time pass until `to`; returns what the counter then shows.
    pub(super) fn advance(&mut self, to: Instant) -> Instant {
        while self.next_step <= to {
            self.settle(self.next_step);
            self.step();
        }
        self.at(to).0
    }

    fn step(&mut self) {
        if self.model.wander > 0.0 {
            self.walked += self.model.wander * self.chance.normal();
        }
        if let Some(jumps) = self.model.jumps {
            if self.chance.happens(STEP.seconds() / jumps.every) {
                self.walked += jumps.size * self.chance.normal();
                self.jumped = Some(self.next_step);
            }
        }
        self.retune();
        self.next_step = self.next_step + STEP;
    }

    fn retune(&mut self) {
        self.frequency = self.walked;
        if self.planned {
            // In the middle of the coming second.
            self.frequency += self.model.planned(self.truth.since(Instant::ZERO).seconds() + 0.5);
        }
    }

    /// The counter and its fraction of a nanosecond (seconds) at `truth`, which lies before the next step.
    pub(super) fn at(&self, truth: Instant) -> (Instant, f64) {
        if !self.running {
            return (self.raw, self.fraction);
        }
        let elapsed = truth.since(self.truth);
        let extra = elapsed.seconds() * self.frequency + self.fraction;
        let whole = Offset::from_seconds(extra);
        (self.raw + elapsed + whole, extra - whole.seconds())
    }

    /// Moves the anchor to `to`.
    fn settle(&mut self, to: Instant) {
        (self.raw, self.fraction) = self.at(to);
        self.truth = to;
    }

    /// The guest stands still: true time passes, the counter does not.
    pub(super) fn pause(&mut self, at: Instant) {
        self.settle(at);
        self.running = false;
    }

    /// It runs again.
    pub(super) fn resume(&mut self, at: Instant) {
        self.settle(at);
        self.running = true;
    }

    pub(super) const fn is_running(&self) -> bool {
        self.running
    }

    /// How fast it runs now, as a ratio.
    pub(super) const fn frequency(&self) -> f64 {
        self.frequency
    }

    /// When it jumped by chance since this was asked last.
    pub(super) const fn take_jump(&mut self) -> Option<Instant> {
        self.jumped.take()
    }

    /// Another rate from `at` on (another host), where the walk goes on.
    pub(super) fn set_frequency(&mut self, at: Instant, frequency: f64) {
        self.settle(at);
        self.walked += frequency - self.frequency;
        self.retune();
    }

    /// The true instant at which the counter will show `raw`, if the frequency stays; never before `now`.
    pub(super) fn truth_at(&self, raw: Instant, now: Instant) -> Instant {
        let (shown, _) = self.at(now);
        let ahead = raw.since(shown);
        if ahead <= Offset::ZERO {
            return now;
        }
        // A nanosecond late rather than early, so that a wake-up finds its time come.
        now + ahead + Offset::from_seconds(-ahead.seconds() * self.frequency / (1.0 + self.frequency)) + Offset::from_nanos(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(s: f64) -> Instant {
        Instant::ZERO + Offset::from_seconds(s)
    }

    /// By how much the counter is ahead after so long.
    fn ahead(model: Oscillator, s: f64) -> f64 {
        let mut counter = Counter::new(model, Chance::new(3));
        counter.advance(seconds(s)).since(seconds(s)).seconds()
    }

    #[test]
    fn every_error_adds_its_own_integral() {
        let at = |model| ahead(model, 1000.0);
        assert!((at(Oscillator { frequency: 1e-4, ..Oscillator::default() }) - 0.1).abs() < 2e-9);
        assert!((at(Oscillator { aging: 1e-9, ..Oscillator::default() }) - 5e-4).abs() < 2e-9);
        let ramp = Ramp { from: 200.0, until: 400.0, by: 1e-6 };
        assert!((at(Oscillator { ramps: vec![ramp], ..Oscillator::default() }) - 7e-4).abs() < 2e-8);
        let sine = Sine { amplitude: 1e-6, period: 2000.0, phase: 0.0 };
        let integral = 1e-6 * 2000.0 / std::f64::consts::PI;
        assert!((at(Oscillator { sines: vec![sine, sine], ..Oscillator::default() }) - 2.0 * integral).abs() < 1e-8);
    }

    #[test]
    fn a_walk_has_its_variance() {
        let wander = 1e-8;
        let n = 400;
        let square: f64 = (0..n)
            .map(|seed| {
                let mut counter = Counter::new(Oscillator { wander, ..Oscillator::default() }, Chance::new(seed));
                counter.advance(seconds(100.5));
                counter.frequency().powi(2)
            })
            .sum();
        let expected = f64::from(u32::try_from(n).unwrap()) * 100.0 * wander * wander;
        assert!((square / expected - 1.0).abs() < 0.2, "{}", square / expected);
    }

    #[test]
    fn jumps_come_about_as_often_as_said() {
        let jumps = Some(Jumps { every: 50.0, size: 1e-6 });
        let mut counter = Counter::new(Oscillator { jumps, ..Oscillator::default() }, Chance::new(1));
        let mut seen = 0;
        let mut last = counter.frequency();
        for s in 1..=10_000_u32 {
            counter.advance(seconds(f64::from(s)));
            seen += u32::from(counter.frequency().to_bits() != last.to_bits());
            last = counter.frequency();
        }
        assert!((150..250).contains(&seen), "{seen} jumps in 10000 s");
    }

    #[test]
    fn a_pause_stops_the_counter_and_nothing_else() {
        let mut counter = Counter::new(Oscillator { frequency: 1e-4, wander: 1e-9, ..Oscillator::default() }, Chance::new(1));
        counter.advance(seconds(10.0));
        counter.pause(seconds(10.0));
        let stopped = counter.advance(seconds(10.0));
        assert_eq!(counter.advance(seconds(70.0)), stopped);
        counter.resume(seconds(70.0));
        let later = counter.advance(seconds(71.0)).since(stopped).seconds();
        assert!((later - 1.0001).abs() < 1e-6, "{later}");
    }

    #[test]
    fn a_wake_up_is_never_early_while_the_frequency_stays() {
        for frequency in [1e-4, -1e-4, 0.0, 3e-7] {
            let mut counter = Counter::new(Oscillator { frequency, ..Oscillator::default() }, Chance::new(1));
            let now = seconds(3.3);
            counter.advance(now);
            for ahead in [1, 999, 1_000_000_007, 64_000_000_001] {
                let raw = counter.advance(now) + Offset::from_nanos(ahead);
                let at = counter.truth_at(raw, now);
                let mut later = counter.clone();
                let shown = later.advance(at);
                assert!(shown >= raw && shown.since(raw).nanos() <= 2, "{frequency} {ahead}: {shown:?} for {raw:?}");
            }
        }
    }
}
