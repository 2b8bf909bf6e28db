//! Directives about the clock itself: drift file, steps, slews, leap seconds, local mode.

use super::line::{Line, Parsed, quoted};
use super::suggest::did_you_mean;
use super::{Config, Driftfile, ForeignStep, LeapSecondMode, Local, Makestep, say};
use crate::units::{Ppm, Stratum, duration};

/// The drift file is written at least this often, seconds.
const LONGEST_INTERVAL: f64 = 3600.0;

/// `driftfile FILE [interval SECONDS]`.
pub(super) fn driftfile(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let path = line.path("driftfile", "a file")?;
    let longest = duration(LONGEST_INTERVAL);
    let mut interval = longest;
    if line.peek().is_some_and(|word| word.keyword() == "interval") {
        line.next();
        interval = line.seconds("interval")?;
    }
    line.end()?;
    if interval > longest {
        line.note_unserved(format!("`interval` (the drift file is written every {} at least)", say::span(longest)));
    }
    let meaning = format!(
        "keep the clock's frequency in {}, written every {} and when it becomes known much better",
        path.display(),
        say::span(interval.min(longest))
    );
    config.driftfile = Some(Driftfile { path, interval });
    Ok(meaning)
}

/// `makestep THRESHOLD LIMIT`; a negative limit means always.
pub(super) fn makestep(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let threshold = line.seconds("makestep")?;
    let limit = line.integer("makestep", i32::MIN..=i32::MAX)?;
    line.end()?;
    let limit = u32::try_from(limit).ok();
    config.makestep = Some(Makestep { threshold, limit });
    let threshold = say::span(threshold);
    Ok(match limit {
        None => format!("step the clock whenever it is wrong by more than {threshold}"),
        Some(0) => "do not step the clock, unless time was disrupted or somebody else set it".to_owned(),
        Some(updates) => {
            format!("step the clock when it is wrong by more than {threshold}, in the first {}", say::many(updates, "update"))
        }
    })
}

/// `maxdistance SECONDS`.
pub(super) fn maxdistance(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    config.max_distance = line.seconds("maxdistance")?;
    line.end()?;
    Ok(format!("do not follow sources with a root distance above {}", say::span(config.max_distance)))
}

/// `minsources COUNT`.
pub(super) fn minsources(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    config.min_sources = line.integer("minsources", 1..=u16::MAX)?;
    line.end()?;
    Ok(format!("do not touch the clock unless {} agree", say::many(config.min_sources, "source")))
}

/// `maxslewrate PPM`.
pub(super) fn maxslewrate(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    config.max_slew_rate = ppm(line, "maxslewrate")?;
    Ok(format!("slew the clock by at most {} ppm", say::rounded(config.max_slew_rate.ppm())))
}

/// `maxdrift PPM`.
pub(super) fn maxdrift(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    config.max_drift = ppm(line, "maxdrift")?;
    Ok(format!("believe a frequency error of the clock of at most {} ppm", say::rounded(config.max_drift.ppm())))
}

/// `maxclockerror PPM`.
pub(super) fn maxclockerror(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    config.max_clock_error = ppm(line, "maxclockerror")?;
    Ok(format!("suppose that the clock left alone drifts by up to {} ppm", say::rounded(config.max_clock_error.ppm())))
}

/// One frequency and the end of the line.
fn ppm(line: &mut Line<'_>, name: &str) -> Parsed<Ppm> {
    let value = line.number(name, "ppm", 0.0..=1e6)?;
    line.end()?;
    Ok(Ppm::new(value))
}

/// `leapsecmode MODE`.
pub(super) fn leapsecmode(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    use LeapSecondMode::{Ignore, Slew, Step, System};
    config.leap_second_mode = line.choice("leapsecmode", &[("system", System), ("step", Step), ("slew", Slew), ("ignore", Ignore)])?;
    line.end()?;
    let meaning = match config.leap_second_mode {
        System => "let the kernel insert or delete leap seconds",
        Step => "step the clock at a leap second",
        Slew => "slew the clock after a leap second",
        Ignore => "do nothing at a leap second and correct the clock afterwards",
    };
    Ok(meaning.to_owned())
}

/// `rtcsync`.
pub(super) fn rtcsync(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    line.end()?;
    config.rtc_sync = true;
    Ok("let the kernel copy the time to the hardware clock every 11 min".to_owned())
}

/// `foreignstep MODE`.
pub(super) fn foreignstep(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    use ForeignStep::{Accept, Slew, Undo};
    config.foreign_step = line.choice("foreignstep", &[("undo", Undo), ("slew", Slew), ("accept", Accept)])?;
    line.end()?;
    Ok(match config.foreign_step {
        Undo => "when somebody else sets the clock, step it back at once",
        Slew => "when somebody else sets the clock, slew it back",
        Accept => "when somebody else sets the clock, keep that time until the sources say otherwise",
    }
    .to_owned())
}

/// Options of `local`.
const LOCAL_OPTIONS: &[&str] = &["stratum", "orphan", "distance", "activate", "waitsynced", "waitunsynced"];

/// `local [stratum N] [orphan] [distance D] [activate A] [waitsynced W] [waitunsynced W]`.
pub(super) fn local(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let zero = duration(0.0);
    let mut local =
        Local { stratum: Stratum::new(10), orphan: false, distance: duration(1.0), activate: zero, wait_synced: zero, wait_unsynced: zero };
    let mut wait_unsynced = None;
    while let Some(word) = line.next() {
        let name = word.keyword();
        match name.as_str() {
            "stratum" => local.stratum = Stratum::new(line.integer(&name, 1..=15)?),
            "orphan" => local.orphan = true,
            "distance" => local.distance = line.seconds(&name)?,
            "activate" => local.activate = line.seconds(&name)?,
            "waitsynced" => local.wait_synced = line.seconds(&name)?,
            "waitunsynced" => wait_unsynced = Some(line.seconds(&name)?),
            _ => {
                let guess = did_you_mean(&name, LOCAL_OPTIONS.iter().copied());
                line.note(word.problem(format!("unknown option {} of `local`{guess}", quoted(word.text))));
            }
        }
    }
    local.wait_unsynced = wait_unsynced.unwrap_or(if local.orphan { duration(300.0) } else { zero });
    config.local = Some(local);
    let mut clauses = vec![format!("serve our own time as stratum {} when no source can be followed", local.stratum.get())];
    clauses.push(format!("begin when the root distance exceeds {}", say::span(local.distance)));
    if local.activate > zero {
        clauses.push(format!("but not before it was below {} once", say::span(local.activate)));
    }
    if local.wait_synced > zero {
        clauses.push(format!("wait {} after the last update", say::span(local.wait_synced)));
    }
    if local.wait_unsynced > zero {
        clauses.push(format!("wait {} after the start for a first update", say::span(local.wait_unsynced)));
    }
    if local.orphan {
        clauses.push("agree with other such servers on one to follow".to_owned());
    }
    Ok(clauses.join("; "))
}
