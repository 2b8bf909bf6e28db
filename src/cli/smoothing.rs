//! `paraclock smoothing`: how far the served time is from the line on purpose, in the lines of `chronyc smoothing`.

use crate::wire::control::Report;

pub(super) fn render(report: &Report) -> String {
    let Some(smoothing) = &report.smoothing else {
        return "Time is served as it is (`smoothtime` changes that)\n".to_owned();
    };
    let active = match (smoothing.active, smoothing.leap_only) {
        (false, _) => "No",
        (true, true) => "Yes (leap second only)",
        (true, false) => "Yes",
    };
    let rows = [
        ("Active", active.to_owned()),
        ("Offset", format!("{:+.9} seconds", smoothing.offset)),
        ("Frequency", format!("{:+.6} ppm", smoothing.frequency_ppm)),
        ("Wander", format!("{:+.6} ppm per second", smoothing.wander_ppm)),
        ("Last update", smoothing.last_update_age.map_or_else(|| "none".to_owned(), |age| format!("{age:.1} seconds ago"))),
        ("Remaining time", format!("{:.1} seconds", smoothing.remaining)),
    ];
    rows.iter().map(|(name, value)| format!("{name:<15}: {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;
    use crate::wire::control::SmoothingReport;

    #[test]
    fn a_second_under_way() {
        let smoothing = SmoothingReport {
            active: true,
            leap_only: true,
            offset: 0.92,
            frequency_ppm: -400.0,
            wander_ppm: 0.0,
            last_update_age: Some(400.0),
            remaining: 2500.0,
        };
        let text = render(&Report { smoothing: Some(smoothing), ..sample::report() });
        for line in
            ["Active         : Yes (leap second only)\n", "Offset         : +0.920000000 seconds\n", "Remaining time : 2500.0 seconds\n"]
        {
            assert!(text.contains(line), "{line}{text}");
        }
        let plain = Report { smoothing: None, ..sample::report() };
        assert!(render(&plain).starts_with("Time is served as it is"));
    }
}
