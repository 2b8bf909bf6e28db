//! A report for tests: the same that the repository's tests of dashboards use.

use crate::wire::control::Report;

/// Everything published by a well machine with one liar and one silent server among its sources.
pub(crate) fn report() -> Report {
    let everything: Report = serde_json::from_str(include_str!("../../tests/data/report.json")).unwrap();
    Report { conflict: None, ..everything }
}

/// The same machine just after its start.
pub(crate) fn unsynchronised() -> Report {
    let mut report = report();
    let tracking = &mut report.tracking;
    tracking.status = "unsynchronised".into();
    tracking.reference_id = "00000000".into();
    tracking.reference_name = String::new();
    tracking.stratum = 16;
    tracking.reference_time = 0.0;
    tracking.leap = "Not synchronised".into();
    tracking.line.error = None;
    tracking.clock.error = None;
    for source in &mut report.sources {
        source.state = "unreachable".into();
        source.mark = '?';
        source.reason = "no answer in the last eight polls".into();
    }
    report.problems = vec!["no source answers: check that UDP port 123 is open".into()];
    report
}
