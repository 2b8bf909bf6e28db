//! Seeded chance: the only randomness in the simulator.

use rand_core::{RngCore, SeedableRng};
use rand_distr::{Distribution, Exp1, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::units::count;

/// A seeded source of the distributions that worlds are made of.
#[derive(Clone, Debug)]
pub struct Chance(Xoshiro256PlusPlus);

impl Chance {
    /// The same seed gives the same world.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// An independent source. Each part of a world has its own, so that what one draws does not change another.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.0.next_u64())
    }

    /// Thirty-two bytes for somebody else's seed.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }

    /// Uniform in (0, 1].
    pub fn unit(&mut self) -> f64 {
        (count(self.0.next_u64() >> 11) + 1.0) / 9_007_199_254_740_992.0
    }

    /// Uniform between two values.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number below `limit`, which is not zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }

    /// Exponential with the given mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        let one: f64 = Exp1.sample(&mut self.0);
        mean * one
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// True with the given probability.
    pub fn happens(&mut self, probability: f64) -> bool {
        // Nothing is drawn for what never happens, which is most things in most worlds.
        probability > 0.0 && self.unit() <= probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_have_their_moments() {
        let mut chance = Chance::new(1);
        let n = 20_000;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / f64::from(n);
        let exponential: Vec<f64> = (0..n).map(|_| chance.exponential(3.0)).collect();
        assert!((mean(&exponential) - 3.0).abs() < 0.1);
        let squares: Vec<f64> = (0..n).map(|_| chance.normal().powi(2)).collect();
        assert!((mean(&squares) - 1.0).abs() < 0.05);
        let uniform: Vec<f64> = (0..n).map(|_| chance.between(2.0, 4.0)).collect();
        assert!((mean(&uniform) - 3.0).abs() < 0.02);
    }

    #[test]
    fn forks_are_independent_of_each_other_and_of_what_is_drawn() {
        let (mut one, mut two) = (Chance::new(7), Chance::new(7));
        let (mut a, mut b) = (one.fork(), two.fork());
        a.unit();
        a.unit();
        let (c, d) = (one.fork().unit(), two.fork().unit());
        assert_eq!(c.to_bits(), d.to_bits());
        assert_ne!(a.unit().to_bits(), b.unit().to_bits());
    }
}
