//! `refclock`: local clocks. Each kind has a file that parses what follows its word;
//! the options that all kinds share are parsed here. A new kind is a file, a variant of
//! [`RefclockKind`] and a word in [`KINDS`].

mod kvm;
mod phc;
mod vmclock;

use super::line::{Line, Parsed, Word, quoted};
use super::server::{poll, say_select, select_option, unserved_option};
use super::suggest::did_you_mean;
use super::{Config, RefclockDirective, RefclockKind, SelectOptions, say};
use crate::units::{Offset, Poll, ReferenceId, Stratum, Timescale, duration};

/// A kind of clock that is served.
struct Kind {
    /// The word after `refclock`, in lower case.
    word: &'static str,
    /// Parses the kind's own parameter; the sentence's beginning goes with it.
    parse: fn(&mut Line<'_>) -> Parsed<(RefclockKind, String)>,
}

/// Every kind that is served.
const KINDS: &[Kind] =
    &[Kind { word: "phc", parse: phc::parse }, Kind { word: "kvm", parse: kvm::parse }, Kind { word: "vmclock", parse: vmclock::parse }];

/// chrony's other drivers.
const UNSERVED_KINDS: &[&str] = &["pps", "rtc", "shm", "sock"];

/// Options with an effect.
const SERVED: &[&str] =
    &["poll", "dpoll", "offset", "stratum", "refid", "delay", "precision", "tai", "timescale", "prefer", "trust", "require", "noselect"];

/// Options that are accepted with a warning, and how many words follow each.
const UNSERVED: &[(&str, usize)] = &[
    ("filter", 1),
    ("local", 0),
    ("lock", 1),
    ("maxdispersion", 1),
    ("maxlockage", 1),
    ("maxsamples", 1),
    ("maxunreach", 1),
    ("minsamples", 1),
    ("pps", 0),
    ("rate", 1),
    ("width", 1),
];

/// Parses what follows `refclock`.
pub(super) fn parse(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let word = line.required("refclock", "a kind of clock: `PHC`, `KVM` or `VMCLOCK`")?;
    let name = word.keyword();
    if UNSERVED_KINDS.contains(&name.as_str()) {
        line.skip_rest();
        line.note_unserved(format!("`refclock {}` (this clock is not read)", word.text));
        return Ok(format!("a clock of chrony's {} driver; not served yet, so it is not read", word.text));
    }
    let Some(kind) = KINDS.iter().find(|kind| kind.word == name) else {
        let names = KINDS.iter().map(|kind| kind.word).chain(UNSERVED_KINDS.iter().copied());
        let guess = did_you_mean(&name, names);
        return Err(word.problem(format!("unknown kind of clock {}: use `PHC`, `KVM` or `VMCLOCK`{guess}", quoted(word.text))));
    };
    let (kind, beginning) = (kind.parse)(line)?;
    let mut clock = RefclockDirective {
        origin: line.origin(),
        kind,
        poll: Poll::new(4),
        dpoll: Poll::new(0),
        offset: Offset::ZERO,
        stratum: Stratum::REFCLOCK,
        refid: None,
        delay: duration(1e-9),
        precision: None,
        timescale: None,
        select: SelectOptions::default(),
    };
    while let Some(word) = line.next() {
        if let Err(problem) = option(line, word, &mut clock) {
            line.note(problem);
        }
    }
    clock.dpoll = clock.dpoll.min(clock.poll);
    let meaning = meaning(&clock, beginning);
    config.refclocks.push(clock);
    Ok(meaning)
}

/// Parses one option; `word` is its name.
fn option(line: &mut Line<'_>, word: Word<'_>, clock: &mut RefclockDirective) -> Parsed<()> {
    let name = word.keyword();
    match name.as_str() {
        "poll" => clock.poll = poll(line, &name)?,
        "dpoll" => clock.dpoll = poll(line, &name)?,
        "offset" => clock.offset = Offset::from_seconds(line.number(&name, "seconds", f64::NEG_INFINITY..=f64::INFINITY)?),
        "stratum" => clock.stratum = Stratum::new(line.integer(&name, 0..=15)?),
        "refid" => {
            let what = "one to four ASCII characters";
            let id = line.required(&name, what)?;
            let parsed = ReferenceId::from_name(id.text);
            clock.refid = Some(parsed.ok_or_else(|| id.problem(format!("`refid` needs {what}, not {}", quoted(id.text))))?);
        }
        "delay" => clock.delay = line.seconds(&name)?,
        "precision" => clock.precision = Some(line.seconds(&name)?),
        "tai" => timescale(clock, Timescale::Tai, word)?,
        "timescale" => {
            let scales = [Timescale::Utc, Timescale::Tai, Timescale::Smeared, Timescale::Unknown].map(|scale| (scale.as_str(), scale));
            let scale = line.choice(&name, &scales)?;
            timescale(clock, scale, word)?;
        }
        _ if select_option(&mut clock.select, &name) => {}
        _ => return unserved_option(line, word, UNSERVED, SERVED),
    }
    Ok(())
}

/// `tai` and `timescale` may both be said if they agree.
fn timescale(clock: &mut RefclockDirective, scale: Timescale, word: Word<'_>) -> Parsed<()> {
    match clock.timescale.replace(scale) {
        Some(other) if other != scale => {
            let message = format!("the clock cannot keep both {} and {}: say one timescale", other.as_str(), scale.as_str());
            Err(word.problem(message))
        }
        _ => Ok(()),
    }
}

/// The sentence for `check`.
fn meaning(clock: &RefclockDirective, beginning: String) -> String {
    // A filter of its own takes in every reading: nothing is gathered for `poll`.
    let mut clauses = vec![format!("{beginning} {}", say::every(clock.dpoll))];
    match clock.timescale {
        Some(Timescale::Utc) => clauses.push("it keeps UTC".to_owned()),
        Some(Timescale::Tai) => clauses.push("it keeps TAI".to_owned()),
        Some(Timescale::Smeared) => clauses.push("it smears leap seconds".to_owned()),
        Some(Timescale::Unknown) => clauses.push("its timescale is not known".to_owned()),
        None => {}
    }
    say_select(clock.select, &mut clauses);
    if clock.offset != Offset::ZERO {
        clauses.push(format!("add {} to what it says", say::seconds(clock.offset.seconds())));
    }
    if clock.stratum > Stratum::REFCLOCK {
        clauses.push(format!("it claims stratum {}", clock.stratum.get()));
    }
    if let Some(name) = clock.refid.and_then(|id| id.name()) {
        clauses.push(format!("show it as {name}"));
    }
    if clock.delay != duration(1e-9) {
        clauses.push(format!("its root delay is {}", say::span(clock.delay)));
    }
    if let Some(precision) = clock.precision {
        clauses.push(format!("its precision is {}", say::span(precision)));
    }
    clauses.join("; ")
}
