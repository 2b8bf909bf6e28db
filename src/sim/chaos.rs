//! Chaos: random worlds, looked at every second for what must never be.
//!
//! [`scenario`] makes a world from a seed: guests that follow servers, paravirtual clocks and each other, and what can
//! happen to them. [`run`] runs it and stops at the first second at which one of these does not hold:
//!
//! - The truth lies within every published bound, that of the line, that of the clock, and the kernel's, whenever
//!   a majority of the sources that vote tells the truth within its own claims. `witness.rs` says exactly when.
//! - Nothing published is infinite or no number, no frequency exceeds `maxdrift`, no slew `maxslewrate`.
//! - The clock is stepped only where `makestep`, a disruption, a leap second or a foreign step allows it.
//! - What is reported is so: synchronised with exactly one source selected, or neither; no wake-up is due and stays
//!   due, and there are never more of them than the sources can have asked for.
//! - The same seed gives the same decisions.

mod generator;
mod happenings;
mod invariants;
mod lines;
mod witness;

use std::fmt;

use super::World;
use super::action::Action;
use super::scenario::Scenario;
use super::world::Step;
use crate::units::{Instant, duration};
use invariants::Watch;
use witness::Witness;

/// What a world without violation showed.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Summary {
    /// Seconds of true time that all guests lived together.
    pub seconds: u64,
    /// Of these, those at which the bounds were held against the truth.
    pub judged: u64,
    /// And those at which nothing was promised.
    pub unknown: u64,
    /// Samples that the guests took.
    pub samples: u64,
    /// Of these, those in which the truth was not.
    pub lies: u64,
    /// Of all decisions.
    pub digest: u64,
}

/// What should never be, and what led to it.
#[derive(Clone, PartialEq, Debug)]
pub struct Violation {
    /// The seed that brings it back.
    pub seed: u64,
    /// Seconds of true time since the start.
    pub at: f64,
    /// Which guest, counted from one.
    pub guest: usize,
    /// What is wrong, with numbers.
    pub what: String,
    /// The guest's configuration.
    pub config: Vec<String>,
    /// Its counter's.
    pub oscillator: Vec<String>,
    /// What had happened to the world.
    pub actions: Vec<String>,
    /// Its sources, as the agent and the truth see them.
    pub sources: Vec<String>,
    /// What the agent decided last.
    pub decisions: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:.3} s, guest {}: {}", self.seed, self.at, self.guest, self.what)?;
        for (title, lines) in [
            ("configuration", &self.config),
            ("oscillator", &self.oscillator),
            ("what had happened", &self.actions),
            ("sources", &self.sources),
            ("last decisions", &self.decisions),
        ] {
            writeln!(f, "  {title}:")?;
            for line in lines {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Violation {}

/// The world of a seed.
#[must_use]
pub fn scenario(seed: u64) -> Scenario {
    generator::draw(seed).1
}

/// How long the world of a seed runs, seconds.
#[must_use]
pub fn length(seed: u64) -> f64 {
    generator::draw(seed).0
}

/// Runs the world of a seed, twice.
///
/// # Errors
/// The first violation.
pub fn run(seed: u64) -> Result<Summary, Box<Violation>> {
    let (seconds, scenario) = generator::draw(seed);
    let summary = watch(seed, seconds, &scenario)?;
    let mut again = World::new(&scenario, seed);
    again.run_until(seconds);
    if again.digest() == summary.digest {
        return Ok(summary);
    }
    let what = format!("the same seed decided otherwise: {:016x}, then {:016x}", summary.digest, again.digest());
    Err(Box::new(Violation {
        seed,
        at: seconds,
        guest: 1,
        what,
        config: Vec::new(),
        oscillator: Vec::new(),
        actions: Vec::new(),
        sources: Vec::new(),
        decisions: Vec::new(),
    }))
}

fn watch(seed: u64, seconds: f64, scenario: &Scenario) -> Result<Summary, Box<Violation>> {
    let mut world = World::new(scenario, seed);
    let mut summary = Summary::default();
    let mut watches: Vec<(Witness, Watch)> = scenario.guests.iter().map(|g| (Witness::new(g), Watch::new(g))).collect();
    let mut changed = vec![f64::NEG_INFINITY; scenario.servers.len()];
    let end = Instant::ZERO + duration(seconds);
    loop {
        let step = world.step(end);
        let touched = match step {
            Step::End => break,
            Step::Acted(action) => {
                if let Some(server) = action.server() {
                    changed[server] = world.seconds();
                    if matches!(action, Action::Mislead { .. } | Action::Drift { .. }) {
                        watches.iter_mut().for_each(|(witness, _)| witness.distrust_server(server));
                    }
                }
                if let Some(guest) = action.guest() {
                    watches[guest].0.suffer(&world, guest, &action);
                }
                None
            }
            Step::Woke(guest) => {
                watches[guest].0.wake();
                Some(guest)
            }
            Step::Happened(guest) => guest,
            Step::Looked => None,
        };
        let wrong = if let Some(guest) = touched {
            let sure: Vec<bool> = watches.iter().map(|(witness, _)| witness.is_sure(world.seconds())).collect();
            let (witness, watch) = &mut watches[guest];
            let heard = witness.hear(&world, guest, &sure, &changed);
            heard.and_then(|()| watch.decided(&world, guest)).map_err(|what| (guest, what))
        } else if step == Step::Looked {
            watches.iter_mut().enumerate().try_for_each(|(guest, (witness, watch))| {
                witness.look(&world, guest);
                watch.look(&world, guest, witness, &mut summary).map_err(|what| (guest, what))
            })
        } else {
            Ok(())
        };
        if let Err((guest, what)) = wrong {
            return Err(Box::new(violation(seed, &world, scenario, guest, what, &watches[guest].0)));
        }
    }
    for (witness, _) in &watches {
        summary.samples += witness.samples;
        summary.lies += witness.lies;
    }
    summary.digest = world.digest();
    Ok(summary)
}

fn violation(seed: u64, world: &World, scenario: &Scenario, guest: usize, what: String, witness: &Witness) -> Violation {
    let at = world.seconds();
    let machine = world.guest(guest);
    let now = machine.now();
    Violation {
        seed,
        at,
        guest: guest + 1,
        what,
        config: scenario.guests[guest].config.lines.iter().map(|line| line.text.clone()).collect(),
        oscillator: vec![format!("{:?}", scenario.guests[guest].oscillator)],
        actions: scenario.actions.iter().filter(|a| a.at <= at).map(|a| format!("{:.3} {:?}", a.at, a.action)).collect(),
        sources: witness.describe(world, guest),
        decisions: machine.decisions().map(|(then, output)| format!("{:.6} s ago: {output:?}", now.since(*then).seconds())).collect(),
    }
}
