//! `smoothtime`: what is served differs from the line on purpose, and comes back to it on a smooth curve.
//!
//! The difference is driven to zero as fast as two limits allow: how fast the served clock may run beside the line (`max_frequency`), and how fast that rate may
//! change (`max_wander`). That is a curve of three parabolas: gain speed, keep it, lose it.

use std::time::Duration;

use crate::units::{Instant, Ppm, duration, number, word};

/// How fast the served time may approach the line.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SmoothingLimits {
    /// The rate beside the line.
    pub max_frequency: Ppm,
    /// The change of that rate in a second.
    pub max_wander: Ppm,
}

/// How far the served time is ahead of the line, from now on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Curve {
    from: Instant,
    /// Seconds ahead at `from`, and the rate at which that grows.
    offset: f64,
    rate: f64,
    /// Seconds that each part lasts.
    lasts: [f64; 3],
    /// Change of the rate in a second, in the first and in the last part.
    gains: f64,
    loses: f64,
}

/// A moment of a [`Curve`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Moment {
    /// Seconds that the served time is ahead of the line.
    pub offset: f64,
    /// Seconds by which that grows in a second.
    pub rate: f64,
    /// By how much the rate changes in a second.
    pub wander: f64,
}

impl Curve {
    /// What is served is the line.
    pub const NONE: Self = Self { from: Instant::ZERO, offset: 0.0, rate: 0.0, lasts: [0.0; 3], gains: 0.0, loses: 0.0 };

    /// From `offset` seconds ahead, growing at `rate`, to nothing.
    #[must_use]
    pub fn new(from: Instant, offset: f64, rate: f64, limits: &SmoothingLimits) -> Self {
        let (fastest, wander) = (limits.max_frequency.ratio().abs(), limits.max_wander.ratio().abs());
        if !(offset.is_finite() && rate.is_finite() && fastest > 0.0 && wander > 0.0) {
            return Self::NONE;
        }
        // Where it would come to rest if it only braked tells the direction.
        let rest = offset + rate * rate.abs() / (2.0 * wander);
        let towards = if rest > 0.0 { -1.0 } else { 1.0 };
        // Along that direction: the way to go, the speed at first, and the speed reached half-way.
        let (way, first) = (-towards * offset, towards * rate);
        let peak = (wander * way + first * first / 2.0).max(0.0).sqrt();
        let top = peak.min(fastest);
        let slowing = top * top / (2.0 * wander);
        // Who is too fast at first begins by braking.
        let (changing, sign) = ((top - first).abs() / wander, if first > top { -1.0 } else { 1.0 });
        let run_up = sign * (top * top - first * first) / (2.0 * wander);
        let cruise = if peak > fastest { ((way - run_up - slowing) / top).max(0.0) } else { 0.0 };
        Self { from, offset, rate, lasts: [changing, cruise, top / wander], gains: sign * towards * wander, loses: -towards * wander }
    }

    /// Nothing remains at `now`.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        self.remaining(now) == Duration::ZERO
    }

    /// How long it lasts after `now`.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Duration {
        duration((self.lasts.iter().sum::<f64>() - now.since(self.from).seconds()).max(0.0))
    }

    /// When it began.
    #[must_use]
    pub const fn from(&self) -> Instant {
        self.from
    }

    /// Where it is at `now`. Before its beginning it is continued backwards, for requests that came before.
    #[must_use]
    pub fn at(&self, now: Instant) -> Moment {
        let mut since = now.since(self.from).seconds();
        let (mut offset, mut rate) = (self.offset, self.rate);
        if since < 0.0 {
            return Moment { offset: offset + rate * since, rate, wander: 0.0 };
        }
        for (lasts, wander) in self.lasts.into_iter().zip([self.gains, 0.0, self.loses]) {
            let within = since.min(lasts);
            offset += rate * within + wander * within * within / 2.0;
            rate += wander * within;
            if since < lasts {
                return Moment { offset, rate, wander };
            }
            since -= lasts;
        }
        Moment { offset: 0.0, rate: 0.0, wander: 0.0 }
    }

    /// As plain words, for shared memory.
    pub(super) fn to_words(self) -> [u64; 8] {
        let [a, b, c] = self.lasts.map(f64::to_bits);
        let from = word(self.from.nanos());
        [from, self.offset.to_bits(), self.rate.to_bits(), a, b, c, self.gains.to_bits(), self.loses.to_bits()]
    }

    /// Back from words.
    pub(super) fn from_words([from, rest @ ..]: [u64; 8]) -> Self {
        let [offset, rate, a, b, c, gains, loses] = rest.map(f64::from_bits);
        Self { from: Instant::from_nanos(number(from)), offset, rate, lasts: [a, b, c], gains, loses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Offset;
    use proptest::prelude::*;

    fn limits(frequency: f64, wander: f64) -> SmoothingLimits {
        SmoothingLimits { max_frequency: Ppm::new(frequency), max_wander: Ppm::new(wander) }
    }

    fn after(seconds: f64) -> Instant {
        Instant::ZERO + Offset::from_seconds(seconds)
    }

    #[test]
    fn a_second_at_four_hundred_ppm() {
        // 400 ppm are reached after 400 s and left in 400 s, each 0.08 s of the way; 2100 s in between.
        let curve = Curve::new(Instant::ZERO, 1.0, 0.0, &limits(400.0, 1.0));
        assert_eq!(curve.remaining(Instant::ZERO).as_millis(), 2_900_000);
        assert!((curve.at(after(400.0)).offset - 0.92).abs() < 1e-9);
        assert!((curve.at(after(2500.0)).offset - 0.08).abs() < 1e-9);
        assert!((curve.at(after(1000.0)).rate + 4e-4).abs() < 1e-12);
        assert_eq!(curve.at(after(2900.1)), Moment { offset: 0.0, rate: 0.0, wander: 0.0 });
        assert!(Curve::NONE.is_over(Instant::ZERO) && Curve::new(Instant::ZERO, 0.0, 0.0, &limits(1.0, 1.0)).is_over(Instant::ZERO));
    }

    proptest! {
        #[test]
        fn it_is_smooth_and_ends_at_nothing(offset in -2.0..2.0, rate in -1e-3..1e-3, frequency in 10.0..1000.0, wander in 0.01..10.0) {
            let curve = Curve::new(Instant::ZERO, offset, rate, &limits(frequency, wander));
            let lasts = curve.remaining(Instant::ZERO).as_secs_f64();
            let (mut before, steps) = (curve.at(Instant::ZERO), 2000);
            prop_assert!((before.offset - offset).abs() < 1e-12 && (before.rate - rate).abs() < 1e-15);
            let step = lasts / f64::from(steps);
            for i in 1..=steps + 1 {
                let now = curve.at(after(f64::from(i) * step));
                prop_assert!(now.rate.abs() <= f64::max(frequency * 1e-6, rate.abs()) * (1.0 + 1e-9), "too fast: {now:?}");
                prop_assert!((now.rate - before.rate).abs() <= wander * 1e-6 * step + 1e-12, "too sudden: {before:?} {now:?}");
                let way = (now.rate.abs() + before.rate.abs()) * step + wander * 1e-6 * step * step;
                prop_assert!((now.offset - before.offset).abs() <= way + 1e-8, "a jump: {before:?} {now:?}");
                before = now;
            }
            prop_assert_eq!((before.offset, before.rate), (0.0, 0.0));
            prop_assert_eq!(Curve::from_words(curve.to_words()), curve);
        }
    }
}
