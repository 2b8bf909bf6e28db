//! The normal distribution cut off at two sides, in closed form.

use libm::erfc;

/// Probability and moments of a standard normal variable between two limits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Truncated {
    /// The probability to lie between the limits.
    pub(super) probability: f64,
    /// The mean of what lies there.
    pub(super) mean: f64,
    /// Its variance, at most 1.
    pub(super) variance: f64,
}

/// Beyond this many sigmas on both sides nothing is cut off that a double could show.
const EVERYTHING: f64 = 7.0;

/// A standard normal variable between `low` and `high`; `None` where less than `least` of it lies.
pub(super) fn truncated(low: f64, high: f64, least: f64) -> Option<Truncated> {
    if low < -EVERYTHING && high > EVERYTHING {
        return Some(Truncated { probability: 1.0, mean: 0.0, variance: 1.0 });
    }
    let probability = between(low, high);
    if probability < least {
        return None;
    }
    let (at_low, at_high) = (density(low), density(high));
    let mean = (at_low - at_high) / probability;
    // A limit at infinity weighs nothing: 0, not infinity times 0.
    let edge = |limit: f64, density: f64| if density > 0.0 { limit * density } else { 0.0 };
    let variance = 1.0 + (edge(low, at_low) - edge(high, at_high)) / probability - mean * mean;
    Some(Truncated { probability, mean, variance: variance.clamp(1e-6, 1.0) })
}

fn density(x: f64) -> f64 {
    const SCALE: f64 = 0.398_942_280_401_432_7;
    (-0.5 * x * x).exp() * SCALE
}

/// The probability between two limits, from whichever tail loses no digits.
fn between(low: f64, high: f64) -> f64 {
    const ROOT: f64 = std::f64::consts::FRAC_1_SQRT_2;
    if low > 0.0 {
        0.5 * (erfc(low * ROOT) - erfc(high * ROOT))
    } else if high < 0.0 {
        0.5 * (erfc(-high * ROOT) - erfc(-low * ROOT))
    } else {
        1.0 - 0.5 * (erfc(-low * ROOT) + erfc(high * ROOT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments by plain summation.
    fn summed(low: f64, high: f64) -> (f64, f64, f64) {
        let steps = 200_000;
        let width = (high - low) / f64::from(steps);
        let (mut mass, mut first, mut second) = (0.0, 0.0, 0.0);
        for i in 0..steps {
            let x = low + (f64::from(i) + 0.5) * width;
            let w = density(x) * width;
            mass += w;
            first += w * x;
            second += w * x * x;
        }
        let mean = first / mass;
        (mass, mean, second / mass - mean * mean)
    }

    #[test]
    fn agrees_with_summation() {
        for (low, high) in [(-1.0, 1.0), (-0.1, 3.0), (0.5, 0.6), (-6.0, -1.5), (-2.0, 6.0), (2.0, 5.0)] {
            let t = truncated(low, high, 1e-9).unwrap();
            let (mass, mean, variance) = summed(low, high);
            assert!((t.probability - mass).abs() < 1e-9, "{low} {high}");
            assert!((t.mean - mean).abs() < 1e-6, "{low} {high}");
            assert!((t.variance - variance).abs() < 1e-5, "{low} {high}");
        }
    }

    #[test]
    fn says_nothing_of_what_hardly_happens() {
        assert_eq!(truncated(5.0, 6.0, 1e-4), None);
        assert_eq!(truncated(-6.0, -5.0, 1e-4), None);
        let all = truncated(-30.0, 30.0, 1e-4).unwrap();
        assert_eq!((all.probability, all.mean, all.variance), (1.0, 0.0, 1.0));
        assert!(truncated(-1.0, f64::INFINITY, 1e-4).unwrap().variance.is_finite());
    }
}
