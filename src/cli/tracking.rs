//! `paraclock tracking`: the state of the clock, line for line as chronyc prints it.

use clap::Args;

use super::{Viewing, format};
use crate::wire::control::{BoundReport, Conflict, Report};

/// Options of `tracking`.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Also print status, error bounds and the kind of clock
    #[arg(short, long)]
    pub(super) verbose: bool,
    #[command(flatten)]
    pub(super) viewing: Viewing,
}

/// The table; `verbose` adds our own lines after chronyc's.
pub(super) fn render(report: &Report, verbose: bool) -> String {
    let t = &report.tracking;
    let system = if t.system_offset > 0.0 { "fast" } else { "slow" };
    let frequency = if t.frequency_ppm > 0.0 { "fast" } else { "slow" };
    let mut lines = vec![
        ("Reference ID", format!("{} ({})", t.reference_id, t.reference_name)),
        ("Stratum", t.stratum.to_string()),
        ("Ref time (UTC)", format::long_date(t.reference_time)),
        ("System time", format!("{:.9} seconds {system} of NTP time", t.system_offset.abs())),
        ("Last offset", format!("{:+.9} seconds", t.last_offset)),
        ("RMS offset", format!("{:.9} seconds", t.rms_offset)),
        ("Frequency", format!("{:.3} ppm {frequency}", t.frequency_ppm.abs())),
        ("Residual freq", format!("{:+.3} ppm", t.residual_frequency_ppm)),
        ("Skew", format!("{:.3} ppm", t.skew_ppm)),
        ("Root delay", format!("{:.9} seconds", t.root_delay)),
        ("Root dispersion", format!("{:.9} seconds", t.root_dispersion)),
        ("Update interval", format!("{:.1} seconds", t.update_interval)),
        ("Leap status", t.leap.clone()),
    ];
    if verbose {
        lines.extend([
            ("Status", format!("{} since {}", t.status, format::iso_date(t.status_since))),
            ("Line error", bound(t.line)),
            ("Clock error", bound(t.clock)),
            ("Clock kind", t.clock_kind.clone()),
            ("Slewing", format!("{:+.3} ppm", t.slewing_ppm)),
        ]);
        let act = |conflict: &Conflict| format!("{} {}", if conflict.yielding { "yielding to" } else { "undoing" }, conflict.name());
        lines.extend(report.conflict.as_ref().map(|conflict| ("Conflict", act(conflict))));
    }
    lines.into_iter().map(|(label, value)| format!("{label:<16}: {value}\n")).collect()
}

fn bound(bound: BoundReport) -> String {
    match bound.error {
        Some(error) => format!("at most {error:.9} seconds, growing by {:.3} ppm", bound.growth_ppm),
        None => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;

    const GOLDEN: &str = "\
Reference ID    : 50484330 (PHC0)
Stratum         : 1
Ref time (UTC)  : Fri Nov 20 12:06:21 2026
System time     : 0.000001234 seconds slow of NTP time
Last offset     : +0.000000063 seconds
RMS offset      : 0.000000758 seconds
Frequency       : 12.345 ppm slow
Residual freq   : +0.000 ppm
Skew            : 0.087 ppm
Root delay      : 0.000001945 seconds
Root dispersion : 0.000003670 seconds
Update interval : 8.0 seconds
Leap status     : Normal
";

    const GOLDEN_MORE: &str = "\
Status          : synchronised since 2026-11-20 11:06:25 UTC
Line error      : at most 0.000004100 seconds, growing by 1.500 ppm
Clock error     : at most 0.000005400 seconds, growing by 2.500 ppm
Clock kind      : kernel
Slewing         : +0.125 ppm
";

    #[test]
    fn the_lines_are_chronycs() {
        assert_eq!(render(&sample::report(), false), GOLDEN);
        assert_eq!(render(&sample::report(), true), format!("{GOLDEN}{GOLDEN_MORE}"));
    }

    #[test]
    fn an_unsynchronised_clock_has_no_reference() {
        let text = render(&sample::unsynchronised(), true);
        assert!(
            text.starts_with("Reference ID    : 00000000 ()\nStratum         : 16\nRef time (UTC)  : Thu Jan 01 00:00:00 1970\n"),
            "{text}"
        );
        assert!(text.contains("Leap status     : Not synchronised\n") && text.contains("Clock error     : unknown\n"), "{text}");
    }

    #[test]
    fn a_conflict_has_a_line() {
        let mut report = sample::report();
        report.conflict = Some(Conflict { program: "unknown".into(), pid: None, unit: None, yielding: false });
        assert!(render(&report, true).ends_with("Conflict        : undoing an unknown program\n"));
        assert_eq!(render(&report, false), GOLDEN);
    }

    #[test]
    fn signs_become_words() {
        let mut report = sample::report();
        report.tracking.system_offset = 0.5;
        report.tracking.frequency_ppm = 3.0;
        let text = render(&report, false);
        assert!(text.contains("0.500000000 seconds fast of NTP time") && text.contains("3.000 ppm fast"), "{text}");
    }
}
