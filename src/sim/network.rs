//! The ways that packets take: what delays, loses, doubles and reorders them.

use serde::Deserialize;

use super::{Chance, values};
use crate::units::{Instant, duration};

/// How long a packet waits in queues.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Queue {
    /// Not at all.
    #[default]
    None,
    /// Exponential with this mean, seconds.
    Exponential(#[serde(deserialize_with = "values::seconds")] f64),
    /// Uniform from zero to this, seconds.
    Uniform(#[serde(deserialize_with = "values::seconds")] f64),
    /// Pareto, less its least value: seconds of scale, and the shape, below 2 for an infinite variance.
    Pareto {
        /// Seconds.
        #[serde(deserialize_with = "values::seconds")]
        scale: f64,
        /// The tail's exponent.
        #[serde(deserialize_with = "values::shape")]
        shape: f64,
    },
    /// The logarithm is normal.
    LogNormal {
        /// Seconds.
        #[serde(deserialize_with = "values::seconds")]
        median: f64,
        /// Of the logarithm.
        #[serde(deserialize_with = "values::log_sigma")]
        sigma: f64,
    },
}

impl Queue {
    fn draw(self, chance: &mut Chance) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Exponential(mean) => chance.exponential(mean),
            Self::Uniform(width) => width * chance.unit(),
            Self::Pareto { scale, shape } => scale * (chance.unit().powf(-1.0 / shape) - 1.0),
            Self::LogNormal { median, sigma } => median * (sigma * chance.normal()).exp(),
        }
    }
}

/// Times in which a way is busy: it changes between two states after exponential times.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Burst {
    /// Mean time between two bursts, seconds.
    #[serde(deserialize_with = "values::positive")]
    pub calm: f64,
    /// Mean length of one, seconds.
    #[serde(deserialize_with = "values::positive")]
    pub busy: f64,
    /// The queue in a burst.
    pub queue: Queue,
    /// Probability of loss in a burst.
    #[serde(default, deserialize_with = "values::probability")]
    pub loss: f64,
}

/// One direction between two machines. The default is a perfect way of no length.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Way {
    /// Seconds that every packet takes.
    #[serde(deserialize_with = "values::seconds")]
    pub base: f64,
    /// What is added to that.
    pub queue: Queue,
    /// Times in which it is busy.
    pub burst: Option<Burst>,
    /// Probability that a packet is lost.
    #[serde(deserialize_with = "values::probability")]
    pub loss: f64,
    /// Probability that a packet arrives twice.
    #[serde(deserialize_with = "values::probability")]
    pub duplicate: f64,
    /// Probability that a packet takes a detour.
    #[serde(deserialize_with = "values::probability")]
    pub detour: f64,
    /// How much longer the detour takes, seconds; packets behind may overtake.
    #[serde(deserialize_with = "values::seconds")]
    pub detour_by: f64,
}

/// There and back.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(try_from = "PathWords")]
pub struct Path {
    /// From the client to the server.
    pub up: Way,
    /// From the server to the client.
    pub down: Way,
}

/// A path as a file says it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PathWords {
    both: Option<Way>,
    up: Option<Way>,
    down: Option<Way>,
}

impl TryFrom<PathWords> for Path {
    type Error = &'static str;

    fn try_from(words: PathWords) -> Result<Self, Self::Error> {
        match (words.both, words.up, words.down) {
            (Some(way), None, None) => Ok(Self::both(way)),
            (None, Some(up), Some(down)) => Ok(Self { up, down }),
            _ => Err("a path has either `both` ways alike, or `up` and `down`: write one or the other"),
        }
    }
}

impl Path {
    /// Both ways alike.
    #[must_use]
    pub const fn both(way: Way) -> Self {
        Self { up: way, down: way }
    }

    /// Both ways alike with exponential queueing and nothing else: seconds of the base and of the mean.
    #[must_use]
    pub const fn symmetric(base: f64, jitter: f64) -> Self {
        Self::both(Way::exponential(base, jitter))
    }

    /// The same path losing packets with this probability, each way.
    #[must_use]
    pub const fn losing(mut self, loss: f64) -> Self {
        self.up.loss = loss;
        self.down.loss = loss;
        self
    }
}

impl Way {
    /// A way with exponential queueing and nothing else: seconds of the base and of the mean.
    #[must_use]
    pub const fn exponential(base: f64, mean: f64) -> Self {
        Self { base, queue: Queue::Exponential(mean), burst: None, loss: 0.0, duplicate: 0.0, detour: 0.0, detour_by: 0.0 }
    }
}

/// A way as it is just now.
#[derive(Clone, Debug)]
pub(super) struct Road {
    way: Way,
    busy: bool,
    until: Instant,
    chance: Chance,
}

impl Road {
    pub(super) fn new(way: Way, mut chance: Chance) -> Self {
        let until = way.burst.map_or(Instant::ZERO, |b| Instant::ZERO + duration(chance.exponential(b.calm)));
        Self { way, busy: false, until, chance }
    }

    /// Packets take another way from now on.
    pub(super) const fn reroute(&mut self, way: Way) {
        self.way = way;
        self.busy = false;
    }

    /// What becomes of a packet that leaves at `now`: the seconds after which it arrives, if it does, and
    /// those after which its double does.
    pub(super) fn travel(&mut self, now: Instant) -> (Option<f64>, Option<f64>) {
        let (mut queue, mut loss) = (self.way.queue, self.way.loss);
        if let Some(burst) = self.way.burst {
            while self.until <= now {
                self.busy = !self.busy;
                let mean = if self.busy { burst.busy } else { burst.calm };
                // A nanosecond at least, so that this ends.
                self.until = self.until + duration(self.chance.exponential(mean).max(1e-9));
            }
            if self.busy {
                (queue, loss) = (burst.queue, burst.loss.max(loss));
            }
        }
        let arrives = !self.chance.happens(loss);
        let first = arrives.then(|| self.delay(queue));
        let second = (arrives && self.chance.happens(self.way.duplicate)).then(|| self.delay(queue));
        (first, second)
    }

    fn delay(&mut self, queue: Queue) -> f64 {
        let detour = if self.chance.happens(self.way.detour) { self.way.detour_by } else { 0.0 };
        self.way.base + queue.draw(&mut self.chance) + detour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(way: Way, n: u32) -> f64 {
        let mut road = Road::new(way, Chance::new(5));
        let sum: f64 = (0..n).filter_map(|i| road.travel(Instant::ZERO + duration(f64::from(i))).0).sum();
        sum / f64::from(n)
    }

    fn with(queue: Queue) -> Way {
        Way { base: 1.0, queue, ..Way::default() }
    }

    #[test]
    fn queues_have_their_means() {
        let n = 100_000;
        assert!((mean(with(Queue::None), n) - 1.0).abs() < 1e-12);
        assert!((mean(with(Queue::Exponential(0.5)), n) - 1.5).abs() < 0.01);
        assert!((mean(with(Queue::Uniform(0.5)), n) - 1.25).abs() < 0.01);
        assert!((mean(with(Queue::Pareto { scale: 0.5, shape: 3.0 }), n) - 1.25).abs() < 0.01);
        assert!((mean(with(Queue::LogNormal { median: 0.5, sigma: 0.5 }), n) - 1.0 - 0.5 * 0.125_f64.exp()).abs() < 0.01);
        assert!((mean(Way { detour: 0.1, detour_by: 2.0, ..with(Queue::None) }, n) - 1.2).abs() < 0.01);
    }

    #[test]
    fn losses_and_doubles_come_as_often_as_said() {
        let mut road = Road::new(Way { loss: 0.2, duplicate: 0.1, ..Way::default() }, Chance::new(1));
        let (mut arrived, mut doubled) = (0, 0);
        for _ in 0..10_000 {
            let (first, second) = road.travel(Instant::ZERO);
            arrived += u32::from(first.is_some());
            doubled += u32::from(second.is_some());
            assert!(first.is_some() || second.is_none(), "what is lost has no double");
        }
        assert!((7800..8200).contains(&arrived) && (700..900).contains(&doubled), "{arrived} {doubled}");
    }

    #[test]
    fn bursts_take_their_share_of_the_time() {
        let burst = Burst { calm: 300.0, busy: 100.0, queue: Queue::Uniform(0.0), loss: 1.0 };
        let mut road = Road::new(Way { burst: Some(burst), ..Way::default() }, Chance::new(2));
        let lost = (0..200_000).filter(|i| road.travel(Instant::ZERO + duration(f64::from(*i))).0.is_none()).count();
        assert!((45_000..55_000).contains(&lost), "{lost}");
    }
}
