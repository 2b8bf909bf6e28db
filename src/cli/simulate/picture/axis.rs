//! Scales of a picture: where a value lies, and which values are written beside it.

/// A scale that is linear near zero and logarithmic beyond, for both signs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Magnitudes {
    /// Up to about here it is linear: a power of ten.
    linear: f64,
    /// The largest value shown.
    most: f64,
    /// Where the largest lies, and the smallest, in the picture.
    top: f64,
    bottom: f64,
}

impl Magnitudes {
    /// A scale between two heights for values up to `most`, half of which are about `quiet` or less.
    pub(super) fn new(quiet: f64, most: f64, top: f64, bottom: f64) -> Self {
        let most = most.max(1e-12);
        let decade = |value: f64| 10.0_f64.powf(value.log10().floor());
        let linear = decade(quiet.clamp(most * 1e-9, most));
        Self { linear, most, top, bottom }
    }

    fn bend(&self, value: f64) -> f64 {
        (value.abs() / self.linear).ln_1p().copysign(value)
    }

    /// The height of a value; what is beyond the largest lies at the edge.
    pub(super) fn height(&self, value: f64) -> f64 {
        let share = self.bend(value.clamp(-self.most, self.most)) / self.bend(self.most);
        f64::midpoint(self.top, self.bottom) - share * (self.bottom - self.top) / 2.0
    }

    /// The values to be written: zero and powers of ten, not too close.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let mut ticks = vec![0.0];
        let mut value = self.linear;
        while value <= self.most * 1.001 {
            let apart = ticks.last().map_or(f64::INFINITY, |&last: &f64| (self.height(last) - self.height(value)).abs());
            if apart >= 15.0 {
                ticks.push(value);
            }
            value *= 10.0;
        }
        let negative: Vec<f64> = ticks.iter().skip(1).map(|v| -v).collect();
        ticks.extend(negative);
        ticks
    }
}

/// A time scale.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) from: f64,
    pub(super) until: f64,
    pub(super) left: f64,
    pub(super) right: f64,
}

/// Steps between ticks, seconds: what clocks and calendars divide by.
const STEPS: [f64; 23] = [
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1200.0,
    1800.0,
    3600.0,
    7200.0,
    10_800.0,
    14_400.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    432_000.0,
    864_000.0,
    2_592_000.0,
];

impl Times {
    pub(super) fn at(&self, seconds: f64) -> f64 {
        self.left + (seconds - self.from) / (self.until - self.from) * (self.right - self.left)
    }

    /// The times to be written, with their words.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let span = self.until - self.from;
        let step = STEPS.into_iter().find(|step| span / step <= 10.0).unwrap_or(span / 8.0);
        let mut ticks = Vec::new();
        let mut at = (self.from / step).ceil() * step;
        while at <= self.until + step * 1e-6 {
            ticks.push((at, words(at, step)));
            at += step;
        }
        ticks
    }
}

fn words(at: f64, step: f64) -> String {
    let (scaled, unit) = match step {
        s if s < 60.0 => (at, "s"),
        s if s < 3600.0 => (at / 60.0, "min"),
        s if s < 86_400.0 => (at / 3600.0, "h"),
        _ => (at / 86_400.0, "d"),
    };
    format!("{scaled:.0} {unit}")
}

/// A signed power of ten with its unit, as it is written beside a scale of seconds.
pub(super) fn seconds(value: f64) -> String {
    unit(value, &[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1e-12, "ps")])
}

/// The same of a frequency.
pub(super) fn frequency(value: f64) -> String {
    unit(value, &[(1e-2, "%"), (1e-6, "ppm"), (1e-9, "ppb"), (1e-12, "ppt")])
}

fn unit(value: f64, units: &[(f64, &str)]) -> String {
    let size = value.abs();
    if size < 1e-15 {
        return "0".to_owned();
    }
    let (scale, name) = units.iter().find(|(scale, _)| size >= scale * 0.9995).or(units.last()).copied().unwrap_or((1.0, ""));
    let sign = if value < 0.0 { "\u{2212}" } else { "+" };
    let scaled = size / scale;
    let digits = if scaled < 9.995 && (scaled - scaled.round()).abs() > 1e-6 { 2 } else { 0 };
    format!("{sign}{scaled:.digits$} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_lie_in_order_and_within_the_picture() {
        let scale = Magnitudes::new(3e-6, 0.1, 0.0, 400.0);
        let heights: Vec<f64> = [-1.0, -0.1, -1e-5, 0.0, 1e-6, 1e-3, 0.1, 5.0].iter().map(|&v| scale.height(v)).collect();
        assert!(heights.windows(2).all(|pair| pair[0] >= pair[1]), "{heights:?}");
        assert!((heights[0] - 400.0).abs() < 1e-9 && (heights[3] - 200.0).abs() < 1e-9 && heights[7].abs() < 1e-9);
        let ticks: Vec<String> = scale.ticks().into_iter().map(seconds).collect();
        assert_eq!(ticks[..6], ["0", "+10 µs", "+100 µs", "+1 ms", "+10 ms", "+100 ms"], "a microsecond would touch zero");
        assert_eq!(ticks.last().map(String::as_str), Some("\u{2212}100 ms"));
    }

    #[test]
    fn times_are_divided_as_clocks_are() {
        let times = |from, until| Times { from, until, left: 0.0, right: 100.0 };
        let words = |t: Times| t.ticks().into_iter().map(|tick| tick.1).collect::<Vec<_>>().join(" ");
        assert_eq!(words(times(0.0, 20_000.0)), "0 h 1 h 2 h 3 h 4 h 5 h");
        assert_eq!(words(times(0.0, 2000.0)), "0 min 5 min 10 min 15 min 20 min 25 min 30 min");
        assert_eq!(words(times(995.0, 1003.0)), "995 s 996 s 997 s 998 s 999 s 1000 s 1001 s 1002 s 1003 s");
        assert!((times(10.0, 20.0).at(15.0) - 50.0).abs() < 1e-9);
    }
}
