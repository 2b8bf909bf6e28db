//! How often a server is asked.
//!
//! A request brings something new only if the oscillator has had time to stray or the path is quiet enough to show
//! it. What it brought is the *gain* (variance of the phase before over after it, less one). Spending requests evenly
//! well means an interval of `CALM` / (1 + gain / `HALVING_GAIN`): long where a sample drowns in the path's noise, short where the
//! oscillator is the restless part. The beginning is quicker, as nothing is known yet: a warm-up of requests
//! further and further apart, which the longer intervals afterwards more than pay back.

use std::time::Duration;

use crate::units::Poll;

/// Requests in a burst.
const BURST: u8 = 4;
/// Between the requests of a burst, and the first two of a warm-up.
const BURST_SPACING: Duration = Duration::from_secs(2);
/// Each interval of a warm-up against the one before.
const WARM_UP_GROWTH: f64 = 1.5;
/// The interval for samples that bring nothing, seconds, where `maxpoll` is 10 or less: such that no scenario of the
/// simulator asks oftener than chronyd does in it.
const CALM: f64 = 1850.0;
/// The gain at which the interval is half of that.
const HALVING_GAIN: f64 = 1.5;
/// An interval never grows faster than this.
const GROWTH: f64 = 2.0;
/// A sample so many sigmas off means that something has changed: look sooner.
const SURPRISE: f64 = 4.0;

/// The interval between requests to one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// As configured, or as a kiss raised it.
    shortest: Poll,
    longest: Poll,
    /// Seconds.
    interval: f64,
    /// The next interval of the warm-up, seconds.
    warm_up: Option<f64>,
    burst_left: u8,
    answers: u32,
}

impl Pace {
    /// Begins with a warm-up if the intervals may vary, and with a burst if one is asked for.
    pub(super) fn new(shortest: Poll, longest: Poll, burst: bool) -> Self {
        let mut pace = Self { shortest, longest, interval: 0.0, warm_up: None, burst_left: 0, answers: 0 };
        pace.begin(burst);
        pace
    }

    /// Everything may be different now: the shortest interval again, after a warm-up.
    pub(super) fn begin(&mut self, burst: bool) {
        self.interval = seconds(self.shortest);
        let first = BURST_SPACING.as_secs_f64() * if burst { WARM_UP_GROWTH } else { 1.0 };
        self.warm_up = (self.shortest < self.longest).then_some(first);
        self.burst_left = if burst { BURST - 1 } else { 0 };
        self.answers = 0;
    }

    /// A request goes out: when the next one should. `burst` makes each poll four requests.
    pub(super) fn on_request(&mut self, burst: bool) -> Duration {
        if self.burst_left > 0 {
            self.burst_left -= 1;
            return BURST_SPACING;
        }
        if let Some(step) = self.warm_up {
            let next = step * WARM_UP_GROWTH;
            self.warm_up = (next < self.interval).then_some(next);
            if step < self.interval {
                return Duration::from_secs_f64(step);
            }
        }
        if burst && self.interval() > BURST_SPACING * 4 {
            self.burst_left = BURST - 1;
        }
        self.interval()
    }

    /// A sample came that was `sigmas` off and brought `gain`. Returns the interval from that request to the next,
    /// unless a burst or the warm-up goes on.
    pub(super) fn adapt(&mut self, sigmas: f64, gain: f64) -> Option<Duration> {
        if self.burst_left > 0 || self.warm_up.is_some() {
            return None;
        }
        self.answers = self.answers.saturating_add(1);
        if sigmas > SURPRISE {
            self.interval *= 0.5;
        } else if self.answers > 2 {
            // Halfway on a scale of ratios, as the gain itself depends on the interval.
            let calm = CALM * (seconds(self.longest) / seconds(Poll::new(10))).max(1.0);
            let ideal = calm / (1.0 + gain.max(0.0) / HALVING_GAIN);
            self.interval = (self.interval * ideal).sqrt().min(self.interval * GROWTH);
        }
        self.interval = self.interval.min(seconds(self.longest)).max(seconds(self.shortest));
        Some(self.interval())
    }

    /// Nobody answers: ask half as often.
    pub(super) fn slow_down(&mut self) {
        self.warm_up = None;
        self.interval = (self.interval * 2.0).min(seconds(self.longest.max(self.shortest)));
    }

    /// The server asked for at least this interval. Never ask as often again.
    pub(super) fn obey(&mut self, least: Poll) {
        self.shortest = least;
        self.interval = seconds(least);
        self.warm_up = None;
        self.burst_left = 0;
    }

    /// A burst is over before it began.
    pub(super) fn stop_burst(&mut self) {
        self.burst_left = 0;
        self.warm_up = None;
    }

    pub(super) const fn is_in_burst(&self) -> bool {
        self.burst_left > 0
    }

    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.interval)
    }

    pub(super) const fn shortest(&self) -> Poll {
        self.shortest
    }

    /// The interval as the nearest power of two.
    pub(super) fn poll(&self) -> Poll {
        let mut poll = Poll::MIN;
        while poll < Poll::MAX && seconds(poll) * std::f64::consts::SQRT_2 < self.interval {
            poll = poll.longer(Poll::MAX);
        }
        poll
    }

    /// Where the interval lies between the neighbours of [`Pace::poll`]: -1 is half a step shorter, 1 half a step longer.
    pub(super) fn score(&self) -> f64 {
        2.0 * (self.interval / seconds(self.poll())).log2()
    }
}

fn seconds(poll: Poll) -> f64 {
    poll.interval().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default() -> Pace {
        Pace::new(Poll::new(6), Poll::new(10), false)
    }

    /// Requests until `end` seconds, each answered with this gain.
    fn requests(pace: &mut Pace, end: f64, gain: f64) -> u32 {
        let (mut at, mut n) = (0.0, 0);
        while at < end {
            n += 1;
            let spacing = pace.on_request(false);
            at += pace.adapt(0.0, gain).unwrap_or(spacing).as_secs_f64();
        }
        n
    }

    #[test]
    fn warms_up_and_then_never_asks_too_often() {
        let mut pace = default();
        let first: Vec<f64> = (0..10).map(|_| pace.on_request(false).as_secs_f64()).collect();
        assert_eq!(first[..3], [2.0, 3.0, 4.5]);
        assert!(first.windows(2).all(|w| w[0] <= w[1]) && (first[9] - 64.0).abs() < 1e-9, "{first:?}");
        let mut fixed = Pace::new(Poll::new(4), Poll::new(4), false);
        assert_eq!(fixed.on_request(false), Duration::from_secs(16));
        assert_eq!(requests(&mut fixed, 16_000.0, 0.0), 1000);
    }

    #[test]
    fn asks_as_often_as_it_learns_from_it() {
        let (mut noisy, mut restless) = (default(), default());
        let few = requests(&mut noisy, 100_000.0, 0.0);
        let many = requests(&mut restless, 100_000.0, 60.0);
        assert_eq!((noisy.poll(), restless.poll()), (Poll::new(10), Poll::new(6)));
        assert!(few < 115 && many > 1200, "{few} {many}");
        assert!(requests(&mut noisy, 100_000.0, 60.0) > 1200);
    }

    #[test]
    fn looks_sooner_when_surprised_and_obeys_a_kiss() {
        let mut pace = default();
        requests(&mut pace, 100_000.0, 0.0);
        assert_eq!(pace.adapt(9.0, 0.0), Some(Duration::from_secs(512)));
        pace.obey(Poll::new(8));
        requests(&mut pace, 10_000.0, 60.0);
        assert_eq!(pace.poll(), Poll::new(8));
        assert!(pace.score().abs() < 1e-9);
        assert_eq!(pace.interval(), Duration::from_secs(256));
    }

    #[test]
    fn bursts_when_told_to() {
        let mut pace = Pace::new(Poll::new(4), Poll::new(4), true);
        let spacing: Vec<u64> = (0..5).map(|_| pace.on_request(false).as_secs()).collect();
        assert_eq!(spacing, [2, 2, 2, 16, 16]);
        let spacing: Vec<u64> = (0..5).map(|_| pace.on_request(true).as_secs()).collect();
        assert_eq!(spacing, [16, 2, 2, 2, 16]);
    }
}
