//! A random world from a seed: sources of every kind, networks of every kind, and whatever can happen to them.
//!
//! What is drawn is plain data, a [`Scenario`]. Who tells the truth in it is not decided here: `witness.rs` sees that
//! in the running world.

use std::net::IpAddr;
use std::path::{Path as FilePath, PathBuf};

use super::lines;
use crate::config::{Config, Files, RefclockKind, parse_directives};
use crate::core::Generation;
use crate::sim::network::{Burst, Path, Queue, Way};
use crate::sim::oscillator::{Jumps, Oscillator, Ramp, Sine};
use crate::sim::phc::{Phc, Preemption};
use crate::sim::scenario::{Guest, LeapSecond, Scenario, Steal, Truth};
use crate::sim::server::{Kiss, Server};
use crate::sim::{Chance, Planned};
use crate::units::{Leap, Offset, Ppm, ReferenceId, Stratum, Timescale, Timestamp, count, duration};

/// Shortest and longest world, seconds.
const DURATION: (f64, f64) = (2_000.0, 20_000.0);
/// When NTP's count of seconds begins anew: 2036-02-07T06:28:16.
const NEW_ERA: i64 = 2_085_978_496;
/// The end of 2028, a day on which a leap second can happen.
const LEAP_DAY_END: i64 = 1_861_920_000;
/// TAI minus UTC, which a clock that keeps TAI is ahead by.
const TAI: f64 = 37.0;

/// Chance in the forms that worlds are drawn in.
pub(super) struct Dice(Chance);

impl Dice {
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.0.happens(probability)
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0.between(low, high)
    }

    /// As likely in every decade.
    pub(super) fn decades(&mut self, low: f64, high: f64) -> f64 {
        self.0.between(low.ln(), high.ln()).exp()
    }

    /// The same with either sign.
    pub(super) fn either_side(&mut self, low: f64, high: f64) -> f64 {
        let size = self.decades(low, high);
        if self.happens(0.5) { size } else { -size }
    }

    pub(super) fn normal(&mut self, sigma: f64) -> f64 {
        sigma * self.0.normal()
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.0.below(limit.max(1) as u64)).unwrap_or(0)
    }

    /// The place in `weights` that the dice fall on.
    pub(super) fn weighed(&mut self, weights: &[f64]) -> usize {
        let mut left = self.0.unit() * weights.iter().sum::<f64>();
        weights
            .iter()
            .position(|weight| {
                left -= weight;
                left <= 0.0
            })
            .unwrap_or(0)
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// How long the world of a seed runs, and the world.
pub(super) fn draw(seed: u64) -> (f64, Scenario) {
    // Another stream than the world's own, which begins with the same seed.
    let mut dice = Dice(Chance::new(seed ^ 0x6368_616f_7320_3031));
    let duration = dice.decades(DURATION.0, DURATION.1).round();
    let (epoch, leap) = calendar(&mut dice, duration);
    let guests = 1 + dice.weighed(&[0.75, 0.15, 0.1]);
    let servers: Vec<Server> = {
        let n = dice.weighed(&[0.12, 0.18, 0.1, 0.2, 0.15, 0.1, 0.06, 0.05, 0.04]);
        let mostly_honest = dice.happens(0.85);
        let liars = if mostly_honest { n.saturating_sub(1) / 2 } else { n };
        (0..n).map(|i| server(&mut dice, i < liars, leap)).collect()
    };
    let guests = (0..guests).map(|i| guest(&mut dice, i, guests, &servers, leap.is_some())).collect();
    let mut scenario = Scenario { epoch, leap, guests, servers, actions: Vec::new() };
    let spacing = dice.decades(500.0, 20_000.0);
    let mut at = dice.0.exponential(spacing);
    while at < duration {
        if let Some(action) = super::happenings::draw(&mut dice, &scenario) {
            // Milliseconds, so that a replayed world can be read.
            scenario.actions.push(Planned::new((at * 1e3).round() / 1e3, action));
        }
        at += dice.0.exponential(spacing);
    }
    (duration, scenario)
}

fn calendar(dice: &mut Dice, duration: f64) -> (Timestamp, Option<LeapSecond>) {
    let before = |dice: &mut Dice, end: i64| {
        let seconds = dice.between(0.1, 0.9) * duration;
        (Timestamp::from_parts(end, 0) - Offset::from_seconds(seconds.round()), seconds.round())
    };
    match dice.weighed(&[0.7, 0.1, 0.1, 0.1]) {
        0 => (Scenario::USUAL_EPOCH, None),
        1 => (before(dice, NEW_ERA).0, None),
        2 => {
            let (epoch, at) = before(dice, LEAP_DAY_END);
            let kind = dice.pick(&[Leap::Insert, Leap::Insert, Leap::Delete]);
            // A deleted second is the last of its day.
            let at = if kind == Leap::Insert { at } else { at - 1.0 };
            (epoch, dice.happens(0.8).then(|| leap_second(dice, at, kind)))
        }
        _ => (Timestamp::from_parts(946_684_800, 0) + Offset::from_seconds(dice.between(0.0, 1.9e9).round()), None),
    }
}

fn leap_second(dice: &mut Dice, at: f64, kind: Leap) -> LeapSecond {
    // In most worlds UTC is the truth and those that smear are wrong; in some it is the other way round.
    let truth = if dice.happens(0.8) { Truth::Utc } else { Truth::Smeared };
    LeapSecond { at, kind, smear: dice.decades(10_000.0, 86_400.0), truth }
}

fn server(dice: &mut Dice, liar: bool, leap: Option<LeapSecond>) -> Server {
    let root_delay = if dice.happens(0.5) { dice.decades(1e-5, 0.1) } else { 0.0 };
    let root_dispersion = dice.decades(1e-6, 2e-2);
    let claimed = root_delay / 2.0 + root_dispersion;
    let mut server = Server {
        error: Offset::from_seconds(if dice.happens(0.5) { dice.between(-0.95, 0.95) * claimed } else { 0.0 }),
        stratum: Stratum::new(dice.pick(&[1, 1, 2, 3, 4])),
        root_delay: duration(root_delay),
        root_dispersion: duration(root_dispersion),
        reference_id: ReferenceId(*b"GPS\0"),
        ..Server::new()
    };
    if liar {
        match dice.weighed(&[0.4, 0.3, 0.1, 0.1, 0.1]) {
            0 => server.error = Offset::from_seconds(dice.either_side(1e-5, 1e5)),
            1 => server.drift = dice.either_side(1e-9, 1e-3),
            2 => server.leap = dice.pick(&[Leap::Insert, Leap::Delete, Leap::Unsynchronised]),
            3 => server.kiss = Some(dice.pick(&[Kiss::Rate, Kiss::Deny])),
            _ => server.alive = false,
        }
    }
    server.smear = leap.is_some_and(|leap| dice.happens(if leap.truth == Truth::Smeared { 0.85 } else { 0.15 }));
    server
}

pub(super) fn path(dice: &mut Dice) -> Path {
    let up = way(dice);
    if dice.happens(0.6) {
        return Path::both(up);
    }
    if dice.happens(0.5) {
        // As long a path, but one way queues.
        return Path { up, down: Way { queue: Queue::None, burst: None, ..up } };
    }
    Path { up, down: way(dice) }
}

fn way(dice: &mut Dice) -> Way {
    let base = if dice.happens(0.1) { 0.0 } else { dice.decades(2e-5, 0.15) };
    let jitter = dice.decades(1e-6, 1e-2);
    let queue = queue(dice, jitter);
    let burst = dice.happens(0.15).then(|| Burst {
        calm: dice.decades(30.0, 3_000.0),
        busy: dice.decades(5.0, 1_000.0),
        queue: queue_of(dice, jitter * 20.0),
        loss: if dice.happens(0.3) { dice.between(0.0, 1.0) } else { 0.0 },
    });
    let rarely = |dice: &mut Dice, most: f64| if dice.happens(0.25) { dice.decades(1e-3, most) } else { 0.0 };
    Way {
        base,
        queue,
        burst,
        loss: rarely(dice, 0.5),
        duplicate: rarely(dice, 0.3),
        detour: rarely(dice, 0.3),
        detour_by: dice.decades(1e-4, 2.0),
    }
}

fn queue(dice: &mut Dice, jitter: f64) -> Queue {
    if dice.happens(0.5) { Queue::Exponential(jitter) } else { queue_of(dice, jitter) }
}

fn queue_of(dice: &mut Dice, jitter: f64) -> Queue {
    match dice.below(5) {
        0 => Queue::None,
        1 => Queue::Exponential(jitter),
        2 => Queue::Uniform(jitter),
        3 => Queue::Pareto { scale: jitter, shape: dice.between(1.2, 4.0) },
        _ => Queue::LogNormal { median: jitter, sigma: dice.between(0.2, 2.0) },
    }
}

fn oscillator(dice: &mut Dice) -> Oscillator {
    let frequency = if dice.happens(0.9) { dice.normal(4e-5) } else { dice.between(-4e-4, 4e-4) };
    let mut oscillator = Oscillator { frequency, wander: dice.decades(1e-11, 1e-8), ..Oscillator::default() };
    if dice.happens(0.2) {
        oscillator.aging = dice.either_side(1e-15, 1e-12);
    }
    for _ in 0..dice.weighed(&[0.7, 0.2, 0.1]) {
        let period = dice.decades(1_800.0, 86_400.0);
        oscillator.sines.push(Sine { amplitude: dice.decades(1e-8, 1e-6), period, phase: dice.between(0.0, 1.0) });
    }
    if dice.happens(0.15) {
        let from = dice.between(0.0, 10_000.0);
        oscillator.ramps.push(Ramp { from, until: from + dice.decades(300.0, 10_000.0), by: dice.either_side(1e-8, 2e-6) });
    }
    if dice.happens(0.15) {
        oscillator.jumps = Some(Jumps { every: dice.decades(500.0, 10_000.0), size: dice.decades(1e-9, 1e-5) });
    }
    oscillator
}

pub(super) fn steal(dice: &mut Dice) -> Steal {
    Steal { probability: dice.decades(1e-3, 0.5), mean: dice.decades(1e-5, 0.5) }
}

fn guest(dice: &mut Dice, number: usize, guests: usize, servers: &[Server], leap: bool) -> Guest {
    let (mut text, names) = lines::servers(dice, number, guests, servers.len());
    let has_server = !text.is_empty();
    let most = if has_server { 0 } else { 1 };
    let clocks = dice.weighed(&[0.5, 0.3, 0.12, 0.08]).max(most);
    let refclocks = lines::refclocks(dice, clocks, leap);
    // Refclock lines first or last: their order among themselves is what counts.
    let liars = clocks.saturating_sub(1) / 2;
    let mut phcs = Vec::new();
    for (i, line) in refclocks.iter().enumerate() {
        let liar = i < liars || (has_server && dice.happens(0.1));
        phcs.push(phc(dice, line, liar));
    }
    text.splice(0..0, refclocks);
    text.extend(lines::directives(dice));
    let config = config(&text);
    let drift = dice.happens(0.2).then(|| {
        let skew = dice.decades(0.01, 20.0);
        (Ppm::new(dice.normal(40.0)), Ppm::new(skew))
    });
    let servers = servers.len();
    let oscillator = oscillator(dice);
    let saved = oscillator.frequency + dice.normal(2e-6);
    Guest {
        clock_error: Offset::from_seconds(if dice.happens(0.2) { dice.either_side(1.0, 1e6) } else { dice.either_side(1e-6, 1.0) }),
        drift: drift.map(|(_, skew)| (Ppm::from_ratio(saved), skew)),
        oscillator,
        paths: (0..servers).map(|_| path(dice)).collect(),
        lan: if dice.happens(0.7) { Path::symmetric(1e-4, 2e-5) } else { path(dice) },
        phcs,
        steal: if dice.happens(0.15) { steal(dice) } else { Steal::default() },
        names,
        ..Guest::new(config)
    }
}

fn phc(dice: &mut Dice, line: &str, liar: bool) -> Phc {
    let noise = dice.decades(1e-9, 1e-7);
    let counters = dice.happens(if line.contains("PHC") { 0.2 } else { 0.9 });
    let mut phc = Phc {
        noise,
        window: dice.decades(2e-8, 5e-5),
        preemption: dice.happens(0.3).then(|| Preemption { probability: dice.decades(1e-3, 0.3), mean: dice.decades(1e-6, 1e-2) }),
        max_error: duration(if dice.happens(0.3) { dice.decades(1e-7, 1e-4) } else { 0.0 }),
        generation: counters.then(|| Generation { disruption_marker: 7, vm_generation: dice.happens(0.6).then_some(3) }),
        present: dice.happens(0.93),
        ..Phc::new(noise)
    };
    if line.contains("tai") {
        phc.error = Offset::from_seconds(TAI);
    }
    if dice.happens(0.2) {
        phc.timescale = Some(if line.contains("tai") { Timescale::Tai } else { dice.pick(&[Timescale::Utc, Timescale::Unknown]) });
    }
    if liar {
        if dice.happens(0.6) {
            phc.error = phc.error + Offset::from_seconds(dice.either_side(1e-6, 1e4));
        } else {
            phc.drift = dice.either_side(1e-9, 1e-4);
        }
    }
    phc
}

/// No file is read.
struct Nothing;

impl Files for Nothing {
    fn read(&self, path: &FilePath) -> Result<String, String> {
        Err(format!("{} is not there", path.display()))
    }

    fn list(&self, _: &FilePath, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

fn config(text: &[String]) -> Config {
    // What the generator writes is right: a test reads a thousand of them.
    parse_directives(text, &Nothing).unwrap_or_default()
}

/// Addresses behind a name.
pub(super) fn addresses(servers: &[usize]) -> Vec<IpAddr> {
    servers.iter().map(|&i| crate::sim::outside::Place::Server(i).address()).collect()
}

/// Whether a guest has a device that tells of restores and migrations.
pub(super) fn is_told(guest: &Guest) -> bool {
    let kinds = guest.config.refclocks.iter().map(|r| &r.kind);
    guest.phcs.iter().zip(kinds).any(|(phc, kind)| phc.present && phc.generation.is_some() && !matches!(kind, RefclockKind::Phc { .. }))
}

/// A number that a person can read.
pub(super) fn rounded(value: f64) -> f64 {
    let digits = count(3) - 1.0 - value.abs().max(1e-300).log10().floor();
    let scale = 10_f64.powf(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_world_can_be_run() {
        let (mut sources, mut guests, mut actions) = (0, 0, 0);
        for seed in 0..1000 {
            let (duration, scenario) = draw(seed);
            assert!(scenario.check().is_empty(), "seed {seed}: {:?}", scenario.check());
            assert_eq!(scenario, draw(seed).1, "seed {seed}");
            for guest in &scenario.guests {
                assert!(!guest.config.lines.is_empty(), "seed {seed}: its configuration cannot be read");
                assert!(guest.config.servers.len() + guest.config.refclocks.len() > 0, "seed {seed}");
                sources += guest.config.servers.len() + guest.config.refclocks.len();
            }
            guests += scenario.guests.len();
            actions += scenario.actions.len();
            assert!(duration >= DURATION.0 && scenario.actions.iter().all(|a| a.at < duration));
        }
        assert!(sources > 3 * guests / 2 && guests > 1200 && actions > 1000, "{sources} {guests} {actions}");
    }
}
