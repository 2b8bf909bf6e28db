//! Seeded chance: the only randomness in the simulator.

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use crate::units::count;

/// A seeded source of the distributions that worlds are made of.
#[derive(Clone, Debug)]
pub struct Chance(ChaCha12Rng);

impl Chance {
    /// The same seed gives the same world.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
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

    /// Exponential with the given mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// True with the given probability.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() <= probability
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
    }
}
