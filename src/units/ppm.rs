//! A relative frequency in parts per million.

use serde::{Deserialize, Serialize};

/// Parts per million; positive runs faster than what it is compared with.
#[derive(Clone, Copy, PartialEq, PartialOrd, Default, Debug, Serialize, Deserialize)]
pub struct Ppm(f64);

impl Ppm {
    /// No difference in rate.
    pub const ZERO: Self = Self(0.0);

    /// From parts per million; NaN becomes zero.
    #[must_use]
    pub const fn new(ppm: f64) -> Self {
        Self(if ppm.is_nan() { 0.0 } else { ppm })
    }

    /// From a ratio (1e-6 is one ppm); NaN becomes zero.
    #[must_use]
    pub const fn from_ratio(ratio: f64) -> Self {
        Self::new(ratio * 1e6)
    }

    /// Parts per million.
    #[must_use]
    pub const fn ppm(self) -> f64 {
        self.0
    }

    /// As a ratio: 1 ppm is 1e-6.
    #[must_use]
    pub const fn ratio(self) -> f64 {
        self.0 / 1e6
    }

    /// The value held within +-`limit`.
    #[must_use]
    pub fn clamped(self, limit: Self) -> Self {
        Self(self.0.clamp(-limit.0.abs(), limit.0.abs()))
    }
}
