//! Lines as chrony 4.3 was seen to write them, and files that cannot be written or go away.

use super::*;
use crate::config::SelectOptions;
use crate::core::SourceState;
use crate::units::{Ppm, Reach, ReferenceId, Stratum, duration};
use std::time::Duration;

fn time() -> Timestamp {
    Timestamp::from_parts(1_795_180_250, 901_308_999)
}

fn address() -> Label {
    Label::Address("127.0.0.3".parse().unwrap())
}

fn line(of: impl FnOnce(&mut String) -> Written) -> String {
    let mut line = String::new();
    of(&mut line).unwrap();
    line
}

fn answer() -> Measured {
    Measured {
        time: time(),
        label: address(),
        fault: None,
        leap: Leap::Normal,
        stratum: 8,
        poll: -2,
        server_poll: 0,
        score: 1.0,
        offset: -4.567e-6,
        delay: duration(12.9e-6),
        dispersion: duration(201e-9),
        root_delay: Duration::ZERO,
        root_dispersion: Duration::ZERO,
        reference_id: ReferenceId([0x7f, 0x7f, 1, 1]),
    }
}

fn update() -> Updated {
    Updated {
        time: time(),
        label: address(),
        stratum: Stratum::new(9),
        frequency: Ppm::new(-6.934),
        skew: Ppm::new(211.033),
        offset: -2.515e-7,
        leap: Leap::Normal,
        combined: 1,
        offset_sigma: 1.686e-7,
        remaining: -1.57e-6,
        root_delay: duration(6667e-9),
        root_dispersion: duration(173.1e-6),
        max_error: Some(duration(0.8605)),
    }
}

#[test]
fn measurements_have_chronys_columns() {
    let expected = "2026-11-20 13:10:50 127.0.0.3       N  8 111 111 1111  -2  0 1.00 -4.567e-06  1.290e-05  2.010e-07  0.000e+00  0.000e+00 7F7F0101 4B K D\n";
    assert_eq!(line(|l| measured(l, &answer(), ('K', 'D'))), expected);
    let late = Measured { fault: Some(Rejection::Delay), leap: Leap::Unsynchronised, ..answer() };
    assert!(line(|l| measured(l, &late, ('K', 'K'))).contains(" ?  8 111 111 0111 "));
    for fault in Rejection::ALL {
        let tests = line(|l| measured(l, &Measured { fault: Some(fault), ..answer() }, ('K', 'K')));
        assert_eq!(tests.len(), expected.len(), "{fault:?}");
        assert!(tests[40..53].contains('0'), "{fault:?}");
    }
}

#[test]
fn statistics_have_chronys_columns() {
    let note = Estimated {
        time: time(),
        label: address(),
        deviation: 5.393e-8,
        offset: 1.57e-6,
        offset_sigma: 3.708e-8,
        frequency: Ppm::new(0.8121),
        skew: Ppm::new(1253.0),
        stress: 4.1e-4,
        samples: 3,
        runs: 3,
    };
    assert_eq!(
        line(|l| estimated(l, &note)),
        "2026-11-20 13:10:50 127.0.0.3        5.393e-08  1.570e-06  3.708e-08  8.121e-07  1.253e-03 4.1e-04   3   0   3  0.00\n"
    );
}

#[test]
fn tracking_has_chronys_columns() {
    assert_eq!(
        line(|l| updated(l, &update())),
        "2026-11-20 13:10:50 127.0.0.3        9     -6.934    211.033 -2.515e-07 N  1  1.686e-07 -1.570e-06  6.667e-06  1.731e-04  8.605e-01\n"
    );
    let lost = Updated { label: Label::Nobody, stratum: Stratum::new(0), leap: Leap::Unsynchronised, max_error: None, ..update() };
    let lost = line(|l| updated(l, &lost));
    assert!(lost.contains(" 0.0.0.0          0 ") && lost.contains(" ?  1 ") && lost.ends_with(" 1.600e+01\n"), "{lost}");
}

#[test]
fn refclocks_have_chronys_columns() {
    let clock = Label::Clock(ReferenceId::from_name("GPS").unwrap());
    let note = Read { time: time(), label: clock, leap: Leap::Normal, raw: 1e-3, cooked: -1e-3, dispersion: Duration::from_nanos(20) };
    assert_eq!(
        line(|l| read(l, &note)),
        "2026-11-20 13:10:50.901308 GPS     0 N 0  1.000000e-03 -1.000000e-03  2.000e-08\n\
         2026-11-20 13:10:50.901308 GPS     - N -       -       -1.000000e-03  2.000e-08\n"
    );
}

#[test]
fn selection_has_chronys_columns() {
    let mut reach = Reach::default();
    for _ in 0..8 {
        reach.poll();
        reach.answered();
    }
    let options = SelectOptions { prefer: true, trust: true, ..SelectOptions::default() };
    let state = SourceState::Selected;
    let note = Considered { time: time(), label: address(), state, options, reach, age: 3.778e-5, low: -2.073e-6, high: 5.205e-6 };
    assert_eq!(line(|l| considered(l, &note)), "2026-11-20 13:10:50 127.0.0.3       * --PT-  377  1.00  3.778e-05 -2.073e-06  5.205e-06\n");
}

#[test]
fn headings_fit_their_lines() {
    let titles = |columns| heading(columns).lines().nth(1).unwrap().to_owned();
    assert_eq!(titles(SELECTION), "   Date (UTC) Time     IP Address   S EOpts Reach Score Last sample  Low end   High end");
    for (columns, line) in [(MEASUREMENTS, line(|l| measured(l, &answer(), ('K', 'K')))), (TRACKING, line(|l| updated(l, &update())))] {
        let heading = heading(columns);
        let widths: Vec<usize> = heading.lines().map(str::len).collect();
        assert_eq!(widths, [line.len() - 1; 3], "{heading}{line}");
    }
}

#[test]
fn numbers_look_like_those_of_c() {
    let shown = [0.0, -0.0, 1.0, -12_345.6, 9.9999e-6, 1e-123].map(|value| scientific(value, 3));
    assert_eq!(shown, ["0.000e+00", "-0.000e+00", "1.000e+00", "-1.235e+04", "1.000e-05", "1.000e-123"]);
}

#[test]
fn a_heading_stands_above_every_32_lines_and_a_moved_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/yet/there");
    let mut logs = Logs::open(&dir, &[LogKind::Tracking, LogKind::Rtc]).unwrap();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "only what was asked for");
    let path = dir.join("tracking.log");
    for _ in 0..33 {
        logs.write(&Note::Updated(update()));
        logs.write(&Note::Measured(answer()));
    }
    let text = fs::read_to_string(&path).unwrap();
    let rules: Vec<usize> = text.lines().enumerate().filter(|(_, line)| line.starts_with("===")).map(|(number, _)| number).collect();
    assert_eq!(rules, [0, 2, 35, 37]);
    assert_eq!(text.lines().count(), 33 + 2 * 3);
    fs::rename(&path, dir.join("tracking.log.1")).unwrap();
    for _ in 0..32 {
        logs.write(&Note::Updated(update()));
    }
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
    // Another start appends.
    drop(logs);
    let mut logs = Logs::open(&dir, &[LogKind::Tracking]).unwrap();
    logs.write(&Note::Updated(update()));
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 8);
}

#[test]
fn what_cannot_be_opened_or_written_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(Logs::open(&dir.path().join("file/logs"), &[LogKind::Tracking]).is_none());
    fs::create_dir(dir.path().join("tracking.log")).unwrap();
    assert!(Logs::open(dir.path(), &[LogKind::Tracking]).is_none());
    let logs = Logs::open(dir.path(), &[LogKind::Tracking, LogKind::RawStatistics]).unwrap();
    assert!(logs.tracking.is_none() && logs.statistics.is_some());
    let mut full = LogFile::open("/dev/full".into(), TRACKING).unwrap();
    full.append("line\n");
    full.append("line\n");
    assert!(full.failed);
}

#[test]
fn stamps_are_those_of_the_last_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut logs = Logs::open(dir.path(), &[LogKind::RawMeasurements]).unwrap();
    logs.stamped(StampedBy::Kernel, StampedBy::Daemon);
    logs.write(&Note::Measured(Measured { time: Timestamp::from_nanos(-1), ..answer() }));
    let text = fs::read_to_string(dir.path().join("measurements.log")).unwrap();
    assert!(text.lines().last().unwrap().starts_with("1970-01-01 ") && text.ends_with(" 4B K D\n"), "{text}");
}
