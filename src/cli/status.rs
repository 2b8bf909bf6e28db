//! `paraclock status`: is the clock right, how wrong can it be, whom does it follow,
//! since when, and what is wrong.

use std::process::ExitCode;

use super::{Viewing, complain, format, print, sources, to_json};
use crate::core::SourceState;
use crate::wire::control::{BoundReport, Conflict, Disruption, Report, Source};

/// Prints the summary; the exit code is success only while the clock can be relied on.
pub(super) fn show(viewing: &Viewing) -> ExitCode {
    let report = match viewing.report() {
        Ok(report) => report,
        Err(error) => return complain(&error),
    };
    let printed = print(&if viewing.json { to_json(&summary(&report)) } else { render(&report) });
    if printed == ExitCode::SUCCESS && !is_right(&report) { ExitCode::FAILURE } else { printed }
}

/// What `--json` prints: the report without its per-source and platform detail.
#[derive(serde::Serialize)]
struct Summary {
    right: bool,
    status: String,
    status_since: f64,
    line: BoundReport,
    clock: BoundReport,
    reference_name: String,
    stratum: u8,
    disruption: Option<Disruption>,
    conflict: Option<Conflict>,
    problems: Vec<String>,
    rejected: Vec<Rejected>,
}

/// A source that cannot be used, and why.
#[derive(serde::Serialize)]
struct Rejected {
    source: String,
    state: String,
    reason: String,
}

fn summary(report: &Report) -> Summary {
    let t = &report.tracking;
    Summary {
        right: is_right(report),
        status: t.status.clone(),
        status_since: t.status_since,
        line: t.line,
        clock: t.clock,
        reference_name: t.reference_name.clone(),
        stratum: t.stratum,
        disruption: report.disruption.clone(),
        conflict: report.conflict.clone(),
        problems: report.problems.clone(),
        rejected: rejected(report)
            .map(|s| Rejected { source: s.name.clone(), state: s.state.clone(), reason: sources::reason(s) })
            .collect(),
    }
}

/// The clock follows sources, or did until lately and its bound still says how wrong it is.
fn is_right(report: &Report) -> bool {
    matches!(report.tracking.status.as_str(), "synchronised" | "holdover") && report.tracking.clock.error.is_some()
}

/// Sources that the selection could not use, though it was meant to.
fn rejected(report: &Report) -> impl Iterator<Item = &Source> {
    report.sources.iter().filter(|source| matches!(source.mark, 'x' | '~' | '?') && source.state != SourceState::Noselect.as_str())
}

/// Five lines, one for the last disruption, and one more for each thing that is wrong.
pub(super) fn render(report: &Report) -> String {
    let t = &report.tracking;
    let ago = format::span(report.time - t.status_since);
    let mut wrong: Vec<String> = report.problems.clone();
    wrong.extend(rejected(report).map(|source| format!("{} is not used: {}", source.name, sources::reason(source))));
    let problems = if wrong.is_empty() { "none".to_owned() } else { wrong.join("\n          ") };
    let broken = report.disruption.as_ref().map(disruption).unwrap_or_default();
    format!(
        "Clock     {}\nError     {}\nSource    {}\nSince     {} ({ago} ago)\n{broken}Problems  {problems}\n",
        verdict(report),
        error(report),
        source(report),
        format::iso_date(t.status_since),
    )
}

/// The last disruption, in a line of its own.
fn disruption(event: &Disruption) -> String {
    let who = event.witnesses.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let end = match (event.recovered_after, event.stepped) {
        (None, _) => "sources have not agreed on the time since".to_owned(),
        (Some(after), Some(step)) => {
            format!("right again after {}, stepped by {step:+.3} s", format::magnitude(after))
        }
        (Some(after), None) => format!("verified after {}, no step was needed", format::magnitude(after)),
    };
    format!("Disrupted {} ago: {} (told by {who}); {end}\n", format::span(event.age), event.kind)
}

fn verdict(report: &Report) -> String {
    let left_to = report.conflict.as_ref().filter(|conflict| conflict.yielding);
    let subject = match (report.tracking.clock_kind.as_str(), left_to) {
        ("kernel", _) => "the system clock".to_owned(),
        ("shadow", Some(conflict)) => format!("yielding to {}, the shadow clock", conflict.name()),
        ("shadow", None) => "the shadow clock (the system clock is left alone)".to_owned(),
        _ => "the simulated clock".to_owned(),
    };
    let state = match report.tracking.status.as_str() {
        _ if report.tracking.clock.error.is_none() => "is not known to be right",
        "synchronised" => "is right",
        "holdover" => "is still right, but no source can be followed just now",
        "disrupted" => "may be wrong: something disturbed time, and no source has confirmed it since",
        _ => "is not known to be right",
    };
    format!("{}: {subject} {state}", report.tracking.status)
}

fn error(report: &Report) -> String {
    let t = &report.tracking;
    match (t.clock.error, t.line.error) {
        (Some(clock), Some(line)) => format!(
            "at most {} now ({} for Paraclock's own time); {} off and being corrected",
            format::magnitude(clock),
            format::magnitude(line),
            format::magnitude(t.system_offset),
        ),
        (Some(clock), None) => format!("at most {} now", format::magnitude(clock)),
        (None, _) => "unknown, it may be any".into(),
    }
}

fn source(report: &Report) -> String {
    let t = &report.tracking;
    let answering = report.sources.iter().filter(|source| source.reach != 0).count();
    let known = report.sources.len();
    let combined = report.sources.iter().filter(|source| source.mark == '+').count();
    if t.reference_name.is_empty() {
        return format!("none; {answering} of {known} sources answer");
    }
    let with = match combined {
        0 => String::new(),
        1 => " with 1 other".into(),
        n => format!(" with {n} others"),
    };
    format!("{}{with}, so this is stratum {}; {answering} of {known} sources answer", t.reference_name, t.stratum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;

    #[test]
    fn a_well_clock_in_six_lines() {
        let mut report = sample::report();
        report.sources.truncate(2);
        assert_eq!(
            render(&report),
            "\
Clock     synchronised: the system clock is right
Error     at most 5.4 us now (4.1 us for Paraclock's own time); 1.2 us off and being corrected
Source    PHC0 with 1 other, so this is stratum 1; 2 of 2 sources answer
Since     2026-11-20 11:06:25 UTC (60 min ago)
Disrupted 60 min ago: restore (told by kvm-clock, vmclock, vmgenid); right again after 12.0 ms, stepped by +60.000 s
Problems  none
"
        );
        assert!(is_right(&report));
    }

    #[test]
    fn rejected_sources_are_named_with_the_reason() {
        let text = render(&sample::report());
        assert!(text.ends_with(
            "\
Problems  a-rather-long-name.of-a-server.example.net is not used: its time disagrees with the majority
          2001:db8:1234:5678:9abc:def0:1234:5678 is not used: no answer in the last eight polls (sending failed: network is unreachable)
"
        ));
    }

    #[test]
    fn a_source_set_aside_on_purpose_is_no_problem() {
        let mut report = sample::report();
        for source in &mut report.sources[2..] {
            source.state = "noselect".into();
            source.mark = '?';
        }
        assert!(render(&report).ends_with("Problems  none\n"));
    }

    #[test]
    fn who_has_the_clock_instead_is_said() {
        let mut report = sample::report();
        report.tracking.clock_kind = "shadow".into();
        report.conflict = Some(Conflict { program: "chronyd".into(), pid: Some(812), unit: Some("chrony.service".into()), yielding: true });
        let text = render(&report);
        let expected = "Clock     synchronised: yielding to chronyd (chrony.service, pid 812), the shadow clock is right\n";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(summary(&report).conflict, report.conflict);
    }

    #[test]
    fn an_unknown_clock_says_so() {
        let report = sample::unsynchronised();
        let text = render(&report);
        assert!(text.starts_with("Clock     unsynchronised: the system clock is not known to be right\nError     unknown"), "{text}");
        assert!(text.contains("\nProblems  no source answers: check that UDP port 123 is open\n          PHC0 is not used"), "{text}");
        assert!(!is_right(&report) && !summary(&report).right);
    }
}
