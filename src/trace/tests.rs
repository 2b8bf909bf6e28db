//! Records survive being written, and headings follow them.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{ForeignStep, Makestep, SelectOptions};
use crate::core::{
    Adjustment, Announcement, Applied, CoreOptions, Correction, Course, Event, Generation, Sample, Signal, SourceId, Status,
};
use crate::units::{Bound, Instant, Leap, Offset, Ppm, ReferenceId, Stratum, Timescale, Timestamp};

fn instant() -> impl Strategy<Value = Instant> {
    any::<i64>().prop_map(Instant::from_nanos)
}

fn nanos() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

/// An error that may be unknown.
fn error() -> impl Strategy<Value = Duration> {
    prop_oneof![nanos(), Just(Duration::MAX)]
}

/// Any rate that a course can have, to the last bit.
fn ppm() -> impl Strategy<Value = Ppm> {
    prop_oneof![(-1.0_f64..1.0), (-1e-9_f64..1e-9), (-999_999.0_f64..999_999.0)].prop_map(Ppm::new)
}

fn bound() -> impl Strategy<Value = Bound> {
    (instant(), error(), ppm()).prop_map(|(as_of, error, growth)| Bound { as_of, error, growth })
}

fn course() -> impl Strategy<Value = Course> {
    (instant(), any::<i64>(), ppm(), proptest::option::of(instant()), nanos()).prop_map(|(at, time, rate, until, error)| Course {
        at,
        time: Timestamp::from_nanos(time),
        rate,
        until,
        error,
    })
}

fn generation() -> impl Strategy<Value = Generation> {
    (any::<u64>(), any::<Option<u64>>()).prop_map(|(disruption_marker, vm_generation)| Generation { disruption_marker, vm_generation })
}

fn sample() -> impl Strategy<Value = Sample> {
    let leap = prop_oneof![Just(Leap::Normal), Just(Leap::Insert), Just(Leap::Delete), Just(Leap::Unsynchronised)];
    let scale = prop_oneof![Just(Timescale::Utc), Just(Timescale::Tai), Just(Timescale::Smeared), Just(Timescale::Unknown)];
    let durations = (nanos(), nanos(), nanos(), nanos());
    (any::<u32>(), instant(), any::<i64>(), durations, any::<u8>(), leap, any::<[u8; 4]>(), scale, any::<bool>()).prop_map(
        |(source, at, reference, (delay, dispersion, root_delay, root_dispersion), stratum, leap, id, timescale, asks_us)| Sample {
            source: SourceId(source),
            at,
            reference: Timestamp::from_nanos(reference),
            delay,
            dispersion,
            root_delay,
            root_dispersion,
            stratum: Stratum::new(stratum),
            leap,
            reference_id: ReferenceId(id),
            timescale,
            asks_us,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let signal = prop_oneof![
        (generation(), generation()).prop_map(|(from, to)| Signal::Generation { from, to }),
        (any::<i64>(), course()).prop_map(|(by, course)| Signal::ClockSet { by: Offset::from_nanos(by), course }),
        nanos().prop_map(|slept| Signal::Suspended { slept }),
        nanos().prop_map(|late| Signal::Stalled { late }),
        Just(Signal::ClocksourceChanged),
    ];
    prop_oneof![
        sample().prop_map(Event::Sample),
        any::<u32>().prop_map(|id| Event::Unreachable(SourceId(id))),
        any::<u32>().prop_map(|id| Event::Unsynchronised(SourceId(id))),
        signal.prop_map(Event::Signal),
        (course(), any::<Option<i64>>()).prop_map(|(course, by)| Event::Applied(Applied { course, stepped: by.map(Offset::from_nanos) })),
        course().prop_map(Event::Course),
        Just(Event::Tick),
    ]
}

fn decision() -> impl Strategy<Value = Decided> {
    let correction = prop_oneof![
        Just(Correction::Hold),
        (any::<i64>(), nanos(), ppm()).prop_map(|(offset, over, frequency)| Correction::Slew {
            offset: Offset::from_nanos(offset),
            over,
            frequency
        }),
        (any::<i64>(), ppm()).prop_map(|(offset, frequency)| Correction::Step { offset: Offset::from_nanos(offset), frequency }),
    ];
    let announcement =
        (any::<bool>(), error(), error(), any::<Option<i16>>()).prop_map(|(synchronised, max_error, est_error, tai_offset)| Announcement {
            synchronised,
            max_error,
            est_error,
            leap: Leap::Insert,
            tai_offset,
        });
    let adjustment = (correction, announcement).prop_map(|(correction, announcement)| Adjustment { correction, announcement });
    let status = prop_oneof![Just(Status::Unsynchronised), Just(Status::Synchronised), Just(Status::Holdover), Just(Status::Disrupted)];
    (proptest::option::of(adjustment), status, bound(), proptest::option::of(instant()))
        .prop_map(|(adjustment, status, line, next)| Decided { adjustment, next, status, line })
}

fn source() -> impl Strategy<Value = TracedSource> {
    (any::<u32>(), ".{0,40}", any::<[bool; 5]>()).prop_map(|(id, name, [prefer, trust, require, noselect, local])| TracedSource {
        id: SourceId(id),
        name,
        options: SelectOptions { prefer, trust, require, noselect },
        local,
    })
}

fn heading() -> impl Strategy<Value = Heading> {
    let positive = || (0.0_f64..1e6).prop_map(Ppm::new);
    let makestep = (nanos(), any::<Option<u32>>()).prop_map(|(threshold, limit)| Makestep { threshold, limit });
    let options = (proptest::option::of(makestep), nanos(), any::<usize>(), positive(), any::<bool>()).prop_map(
        |(makestep, max_distance, min_sources, max_drift, flag)| CoreOptions {
            makestep,
            max_distance,
            min_sources,
            max_drift,
            foreign_step: if flag { ForeignStep::Accept } else { ForeignStep::Slew },
            clock_leaps: flag,
            ..CoreOptions::default()
        },
    );
    let core = (options, instant(), course(), proptest::option::of((ppm(), positive())), any::<bool>(), any::<Option<i16>>()).prop_map(
        |(options, at, course, drift, clock_is_a_guess, tai_offset)| Beginning { options, at, course, drift, clock_is_a_guess, tai_offset },
    );
    (core, any::<u64>(), proptest::collection::vec(source(), 0..5)).prop_map(|(core, before, sources)| Heading {
        format: FORMAT,
        program: "1.2.3".to_owned(),
        run: RunId { at: core.at, time: core.course.time },
        before,
        core,
        sources,
    })
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        heading().prop_map(|heading| Record::Heading(Box::new(heading))),
        (instant(), decision()).prop_map(|(at, decision)| Record::Start { at, decision }),
        (instant(), source()).prop_map(|(at, source)| Record::Add { at, source }),
        (instant(), any::<u32>()).prop_map(|(at, id)| Record::Remove { at, id: SourceId(id) }),
        (instant(), any::<u32>()).prop_map(|(at, id)| Record::Ignore { at, id: SourceId(id) }),
        (instant(), event(), decision()).prop_map(|(at, what, decision)| Record::Event { at, what, decision }),
    ]
}

proptest! {
    /// Every record is one line, and is read as it was written, to the last bit.
    #[test]
    fn what_is_written_is_read(record in record()) {
        let mut text = String::new();
        record.emit(&mut text);
        prop_assert_eq!(text.matches('\n').count(), 1);
        prop_assert!(text.len() < MAX_LINE);
        prop_assert_eq!(Record::parse(text.trim_end_matches('\n')), Ok(record));
    }

    /// Whatever stands there: a record or a fault that says what to do.
    #[test]
    fn any_text_is_a_record_or_a_fault(text in ".{0,200}", prefix in 0_usize..4) {
        let prefix = ["", "{\"event\":{\"at\":1,\"what\":", "{\"heading\":{\"format\":1,", "{\"heading\":{\"format\":7"][prefix];
        if let Err(fault) = Record::parse(&format!("{prefix}{text}")) {
            prop_assert!(fault.to_string().contains("as ") || fault.to_string().contains("replay it with"), "{fault}");
        }
    }

    /// No sequence of good records breaks the core, or the story of it.
    #[test]
    fn any_records_are_replayed_or_refused(heading in heading(), records in proptest::collection::vec(record(), 0..40)) {
        let heading = Heading { before: 0, ..heading };
        let mut at = heading.core.at;
        let (mut replay, mut story) = (Replay::default(), Story::default());
        for (line, record) in std::iter::once(Record::Heading(Box::new(heading))).chain(records).enumerate() {
            // In order, so that most are accepted.
            at = at + Duration::from_millis(u64::try_from(line).unwrap() * 700);
            let record = match record {
                Record::Event { what, decision, .. } => Record::Event { at, what, decision },
                Record::Add { source, .. } => Record::Add { at, source },
                Record::Remove { id, .. } => Record::Remove { at, id },
                other => other,
            };
            let located = Located { file: 0, line: u64::try_from(line).unwrap() + 1, record };
            if let Ok(moment) = replay.take(&located) {
                story.see(&located, &moment, &replay);
            }
            if let Some(core) = replay.core() {
                prop_assert!(core.line().frequency().ppm().is_finite());
            }
        }
        prop_assert!(serde_json::to_string(&story).is_ok());
    }
}

#[test]
fn headings_follow_the_records() {
    let course = Course { at: Instant::ZERO, time: Timestamp::UNIX_EPOCH, rate: Ppm::ZERO, until: None, error: Duration::ZERO };
    let core = Beginning {
        options: CoreOptions::default(),
        at: Instant::ZERO,
        course,
        drift: Some((Ppm::new(3.0), Ppm::new(1.0))),
        clock_is_a_guess: true,
        tai_offset: Some(37),
    };
    let run = RunId { at: Instant::ZERO, time: Timestamp::UNIX_EPOCH };
    let first = Heading { format: FORMAT, program: "x".to_owned(), run, before: 0, core, sources: Vec::new() };
    let mut recorder = Recorder::default();
    assert_eq!(recorder.heading(), None);
    recorder.note(&Record::Heading(Box::new(first.clone())));
    assert_eq!(recorder.heading(), Some(&first));
    let at = Instant::from_nanos(5);
    let named = |id, noselect| TracedSource {
        id: SourceId(id),
        name: format!("source {id}"),
        options: SelectOptions { noselect, ..SelectOptions::default() },
        local: false,
    };
    for id in 0..3 {
        recorder.note(&Record::Add { at, source: named(id, false) });
    }
    recorder.note(&Record::Remove { at, id: SourceId(1) });
    recorder.note(&Record::Ignore { at, id: SourceId(2) });
    let moved = Course { rate: Ppm::new(7.0), ..course };
    let decision = Decided { adjustment: None, next: None, status: Status::Unsynchronised, line: Bound::UNKNOWN };
    recorder.note(&Record::Event { at, what: Event::Course(moved), decision });
    let expected = Heading {
        before: 6,
        core: Beginning { at, course: moved, drift: None, clock_is_a_guess: false, ..first.core.clone() },
        sources: vec![named(0, false), named(2, true)],
        ..first
    };
    assert_eq!(recorder.heading(), Some(&expected));
}
