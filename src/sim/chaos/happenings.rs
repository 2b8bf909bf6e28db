//! What happens to a random world while it runs.

use super::generator::{Dice, is_told, path, steal};
use crate::sim::Action;
use crate::sim::scenario::Scenario;
use crate::sim::server::Kiss;
use crate::units::{Leap, Offset, Ppm, duration};

/// One action; `None` if there is nothing that it could happen to.
pub(super) fn draw(dice: &mut Dice, scenario: &Scenario) -> Option<Action> {
    let guest = dice.below(scenario.guests.len());
    match dice.weighed(&[0.4, 0.4, 0.2]) {
        0 => Some(to_guest(dice, scenario, guest)),
        1 => {
            let servers = scenario.servers.len();
            (servers > 0).then(|| {
                let server = dice.below(servers);
                to_server(dice, guest, server)
            })
        }
        _ => {
            let phcs = scenario.guests[guest].phcs.len();
            (phcs > 0).then(|| {
                let phc = dice.below(phcs);
                to_phc(dice, scenario, guest, phc)
            })
        }
    }
}

fn to_guest(dice: &mut Dice, scenario: &Scenario, guest: usize) -> Action {
    // Another host's counter differs by what the core supposes at most: six times 50 ppm.
    let frequency = scenario.guests[guest].oscillator.frequency + dice.normal(4e-5).clamp(-1.4e-4, 1.4e-4);
    let away = |dice: &mut Dice| duration(dice.decades(0.01, 2_000.0));
    match dice.below(9) {
        0 => Action::StepClock { guest, by: Offset::from_seconds(dice.either_side(1e-6, 1e5)) },
        1 => Action::TuneClock { guest, by: Ppm::from_ratio(dice.either_side(1e-8, 1e-2)) },
        2 => Action::Retune { guest, frequency },
        3 => Action::Clocksource { guest, frequency },
        4 => Action::Suspend { guest, away: duration(dice.decades(0.06, 2_000.0)) },
        5 => Action::Restore { guest, away: away(dice), frequency },
        6 => Action::Migrate { guest, away: away(dice), frequency, signalled: is_told(&scenario.guests[guest]) && dice.happens(0.8) },
        7 => Action::Migrate { guest, away: away(dice), frequency, signalled: false },
        _ => Action::Steal { guest, steal: if dice.happens(0.5) { steal(dice) } else { crate::sim::Steal::default() } },
    }
}

fn to_server(dice: &mut Dice, guest: usize, server: usize) -> Action {
    match dice.below(11) {
        0 => Action::Serve { server, alive: false },
        1 | 2 => Action::Serve { server, alive: true },
        3 => Action::Restart { server, away: duration(dice.decades(1.0, 1_000.0)), unsynchronised: duration(dice.decades(1.0, 1_000.0)) },
        4 => Action::Mislead { server, error: Offset::from_seconds(dice.either_side(1e-5, 1e5)) },
        5 | 6 => Action::Mislead { server, error: Offset::ZERO },
        7 => Action::Drift { server, drift: if dice.happens(0.5) { dice.either_side(1e-9, 1e-4) } else { 0.0 } },
        8 => Action::Announce { server, leap: dice.pick(&[Leap::Normal, Leap::Normal, Leap::Unsynchronised, Leap::Insert, Leap::Delete]) },
        9 => Action::Kiss { server, kiss: dice.pick(&[None, None, Some(Kiss::Rate), Some(Kiss::Deny)]) },
        _ => Action::Route { guest, server, path: path(dice) },
    }
}

fn to_phc(dice: &mut Dice, scenario: &Scenario, guest: usize, phc: usize) -> Action {
    let right = scenario.guests[guest].phcs[phc].error;
    match dice.below(5) {
        0 => Action::MisleadPhc { guest, phc, error: right + Offset::from_seconds(dice.either_side(1e-7, 1e4)) },
        1 => Action::MisleadPhc { guest, phc, error: right },
        2 => Action::DriftPhc { guest, phc, drift: if dice.happens(0.5) { dice.either_side(1e-9, 1e-4) } else { 0.0 } },
        3 => Action::ShowPhc { guest, phc, present: false },
        _ => Action::ShowPhc { guest, phc, present: true },
    }
}
