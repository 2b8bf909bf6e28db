//! Quantiles of many magnitudes in little room: a histogram with logarithmic cells.

use crate::units::count;

/// Cells in each doubling: a quantile is right within half a percent.
const SHIFT: u32 = 52 - 7;
/// What is smaller counts as this.
const LEAST: f64 = 1e-12;
/// What is larger counts as this.
const MOST: f64 = 1e6;

/// Magnitudes from a picosecond to eleven days.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Histogram {
    cells: Vec<u32>,
    total: u64,
}

fn cell(magnitude: f64) -> usize {
    // The bits of positive floating point numbers are in the order of the numbers.
    let bits = |v: f64| v.to_bits() >> SHIFT;
    // What is no number must be seen: it counts as the most.
    let within = if magnitude.is_nan() { MOST } else { magnitude.clamp(LEAST, MOST) };
    usize::try_from(bits(within) - bits(LEAST)).unwrap_or(0)
}

impl Histogram {
    pub(super) fn add(&mut self, magnitude: f64) {
        if self.cells.is_empty() {
            self.cells = vec![0; cell(MOST) + 1];
        }
        self.cells[cell(magnitude)] += 1;
        self.total += 1;
    }

    /// The value below which the share `q` (0 to 1) of all lies; zero if there is none.
    pub(super) fn quantile(&self, q: f64) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        let wanted = q * count(self.total);
        let mut seen = 0_u64;
        for (index, &n) in (0_u64..).zip(&self.cells) {
            seen += u64::from(n);
            if n > 0 && count(seen) >= wanted {
                let low = (LEAST.to_bits() >> SHIFT) + index;
                return f64::midpoint(f64::from_bits(low << SHIFT), f64::from_bits((low + 1) << SHIFT));
            }
        }
        MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_half_a_percent() {
        let mut histogram = Histogram::default();
        for i in 1..=10_000_u32 {
            histogram.add(f64::from(i) * 1e-9);
        }
        for (q, value) in [(0.5, 5e-6), (0.99, 9.9e-6), (1.0, 1e-5), (0.0001, 1e-9)] {
            assert!((histogram.quantile(q) / value - 1.0).abs() < 0.005, "{q}: {}", histogram.quantile(q));
        }
        assert!(Histogram::default().quantile(0.5).abs() < f64::MIN_POSITIVE);
    }

    #[test]
    fn extremes_stay_in_the_outermost_cells() {
        let mut histogram = Histogram::default();
        for magnitude in [0.0, f64::INFINITY, 1e-300, 1e300] {
            histogram.add(magnitude);
        }
        assert!(histogram.quantile(0.1) < 1.01e-12 && histogram.quantile(1.0) >= 1e6);
    }
}
