//! Random configurations, as a person would write them.

use std::net::IpAddr;

use super::generator::{Dice, addresses, rounded};

/// `server` and `pool` lines for a guest, and the names in them.
pub(super) fn servers(dice: &mut Dice, number: usize, guests: usize, servers: usize) -> (Vec<String>, Vec<(String, Vec<IpAddr>)>) {
    let mut text = Vec::new();
    let mut names = Vec::new();
    // Every server is used by most guests; some of them behind names.
    let used: Vec<usize> = (0..servers).filter(|_| dice.happens(0.9)).collect();
    let mut left = used.as_slice();
    if left.len() >= 2 && dice.happens(0.15) {
        let (pool, rest) = left.split_at(2 + dice.below(left.len() - 1).min(left.len() - 2));
        left = rest;
        names.push(("pool.example".to_owned(), addresses(pool)));
        text.push(format!("pool pool.example maxsources {}{}", 1 + dice.below(6), options(dice)));
    }
    for &server in left {
        if dice.happens(0.15) {
            let name = format!("ntp{}.example", server + 1);
            text.push(format!("server {name}{}", options(dice)));
            names.push((name, addresses(&[server])));
        } else {
            text.push(format!("server 10.0.0.{}{}", server + 1, options(dice)));
        }
    }
    for other in (0..guests).filter(|&other| other != number) {
        // Mostly those before ask nobody behind; sometimes they ask each other.
        if dice.happens(if other < number { 0.7 } else { 0.1 }) {
            text.push(format!("server 10.0.1.{}{}", other + 1, options(dice)));
        }
    }
    (text, names)
}

fn options(dice: &mut Dice) -> String {
    let mut text = String::new();
    if dice.happens(0.6) {
        text.push_str(" iburst");
    }
    if dice.happens(0.7) {
        let min = dice.pick(&[2_i8, 3, 4, 4, 5, 6, 6]);
        let max = min + dice.pick(&[0_i8, 0, 1, 2, 4]);
        text.push_str(&format!(" minpoll {min} maxpoll {max}"));
    }
    if dice.happens(0.05) {
        text.push_str(" burst");
    }
    if dice.happens(0.05) {
        text.push_str(" version 3");
    }
    if dice.happens(0.05) {
        text.push_str(&format!(" minstratum {}", 1 + dice.below(10)));
    }
    if dice.happens(0.05) {
        text.push_str(&format!(" maxdelay {}", rounded(dice.decades(1e-2, 3.0))));
    }
    text.push_str(selection(dice));
    text
}

fn selection(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        " prefer",
        " prefer",
        " trust",
        " require",
        " noselect",
        " prefer trust",
    ])
}

/// `refclock` lines.
pub(super) fn refclocks(dice: &mut Dice, clocks: usize, leap: bool) -> Vec<String> {
    (0..clocks)
        .map(|i| {
            // The first clock tells the time; others may only tell of disruptions.
            let kind = if i > 0 && dice.happens(0.2) {
                "KVM".to_owned()
            } else if dice.happens(0.2) {
                format!("VMCLOCK /dev/vmclock{i}")
            } else {
                format!("PHC /dev/ptp{i}")
            };
            let poll = dice.pick(&[0_i8, 0, 1, 2, 3, 4]);
            let mut text = format!("refclock {kind} poll {poll} dpoll {}", dice.pick(&[0_i8, 0, 0, -2, 1, 2, 4]).min(poll));
            if dice.happens(0.1) {
                text.push_str(&format!(" precision {}", rounded(dice.decades(1e-8, 1e-5))));
            }
            if dice.happens(0.1) {
                text.push_str(&format!(" delay {}", rounded(dice.decades(1e-9, 1e-4))));
            }
            if kind.starts_with("PHC") && dice.happens(0.15) {
                // A clock that keeps TAI does not leap, and nobody tells the agent how far it is off then.
                text.push_str(if leap { " timescale utc" } else { " tai" });
            }
            text.push_str(selection(dice));
            text
        })
        .collect()
}

/// Everything else.
pub(super) fn directives(dice: &mut Dice) -> Vec<String> {
    let mut text = Vec::new();
    if dice.happens(0.6) {
        text.push(
            dice.pick(&["makestep 1 3", "makestep 0.1 -1", "makestep 0.001 10", "makestep 1 -1", "makestep 0 1", "makestep 10 0"])
                .to_owned(),
        );
    }
    if dice.happens(0.2) {
        text.push(format!("maxdistance {}", rounded(dice.decades(0.01, 16.0))));
    }
    if dice.happens(0.25) {
        text.push(format!("minsources {}", 1 + dice.below(4)));
    }
    if dice.happens(0.25) {
        text.push(format!("maxslewrate {}", rounded(dice.decades(10.0, 99_000.0))));
    }
    if dice.happens(0.15) {
        text.push(format!("maxdrift {}", rounded(dice.decades(50.0, 500_000.0))));
    }
    if dice.happens(0.15) {
        text.push(format!("maxclockerror {}", rounded(dice.decades(0.1, 100.0))));
    }
    if dice.happens(0.3) {
        text.push(format!("leapsecmode {}", dice.pick(&["system", "step", "slew", "ignore"])));
    }
    if dice.happens(0.3) {
        text.push(format!("foreignstep {}", dice.pick(&["undo", "slew", "accept"])));
    }
    text
}
