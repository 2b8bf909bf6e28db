//! A small trace of two sources, told; and files that are none.

use std::fs;
use std::time::Duration;

use super::*;
use crate::config::SelectOptions;
use crate::core::{CoreOptions, Course, Event, Generation, Sample, SourceId, SourceState, Status};
use crate::trace::{Beginning, Decided, FORMAT, Heading, Record, RunId, TracedSource};
use crate::units::{Instant, Leap, Offset, Ppm, ReferenceId, Stratum, Timescale};

const EPOCH: i64 = 1_795_176_000;

fn at(seconds: i64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

/// What a source shows at so many seconds; the clock is 2 ms behind.
fn sample(source: u32, seconds: i64, wrong: f64) -> Event {
    Event::Sample(Sample {
        source: SourceId(source),
        at: at(seconds),
        reference: Timestamp::from_parts(EPOCH + seconds, 2_000_000) + Offset::from_seconds(wrong),
        delay: Duration::from_micros(200),
        dispersion: Duration::from_micros(1),
        root_delay: Duration::ZERO,
        root_dispersion: Duration::ZERO,
        stratum: Stratum::new(1),
        leap: Leap::Normal,
        reference_id: ReferenceId::NONE,
        timescale: Timescale::Utc,
        asks_us: false,
    })
}

/// A trace of a core that follows two sources for a while, then hears of a foreign step.
fn trace() -> String {
    let course = Course { at: at(0), time: Timestamp::from_parts(EPOCH, 0), rate: Ppm::ZERO, until: None, error: Duration::ZERO };
    let core = Beginning { options: CoreOptions::default(), at: at(0), course, drift: None, clock_is_a_guess: false, tai_offset: None };
    let mut text = String::new();
    let mut running = core.core();
    let run = RunId { at: at(0), time: course.time };
    Record::Heading(Box::new(Heading { format: FORMAT, program: "0.1.0".into(), run, before: 0, core, sources: Vec::new() }))
        .emit(&mut text);
    let started = running.start(at(0));
    Record::Start { at: at(0), decision: Decided::new(started, &running) }.emit(&mut text);
    for (id, name) in [(0, "192.0.2.1"), (1, "ntp2.example.com")] {
        running.add_source(SourceId(id), SelectOptions::default(), false);
        let source = TracedSource { id: SourceId(id), name: name.to_owned(), options: SelectOptions::default(), local: false };
        Record::Add { at: at(0), source }.emit(&mut text);
    }
    let mut events: Vec<(i64, Event)> = Vec::new();
    for second in (16..=160).step_by(16) {
        events.push((second, sample(0, second, 0.0)));
        events.push((second, sample(1, second, if second == 160 { 0.000_15 } else { 1e-6 })));
    }
    let moved = Course { at: at(170), time: Timestamp::from_parts(EPOCH + 175, 0), ..course };
    events.push((170, Event::Signal(Signal::ClockSet { by: Offset::from_seconds(5.0), course: moved })));
    for (second, what) in events {
        let decision = running.handle(at(second), what);
        Record::Event { at: at(second), what, decision: Decided::new(decision, &running) }.emit(&mut text);
    }
    text
}

fn replayed(texts: &[&str]) -> Result<Replayed, Failure> {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let path = dir.path().join(format!("trace.{number}"));
            fs::write(&path, text).unwrap();
            path
        })
        .collect();
    let mut replayed = replay(&paths)?;
    replayed.files = (0..texts.len()).map(|number| format!("trace.{number}")).collect();
    Ok(replayed)
}

const GOLDEN_HEAD: &str = "\
trace.0: 24 records, 2026-11-20 12:00:00.000 to 2026-11-20 12:02:50.002 (2 min)
22 decisions, all as recorded

Time (UTC)                Line      What happened
==============================================================================
2026-11-20 12:00:00.000   1         the program starts (paraclock 0.1.0)
2026-11-20 12:00:00.000   3         192.0.2.1 is added
2026-11-20 12:00:00.000   4         ntp2.example.com is added
";

#[test]
fn a_trace_is_told() {
    let text = render(&replayed(&[&trace()]).unwrap());
    assert!(text.starts_with(GOLDEN_HEAD), "{text}");
    assert!(text.contains("\n2026-11-20 12:00:16.002   6         status unsynchronised -> synchronised\n"), "{text}");
    assert!(text.contains("\n2026-11-20 12:02:50.002   25        somebody else moved the clock by +5000ms\n"), "{text}");
    assert!(text.contains("\n2026-11-20 12:02:40.002   24        ntp2.example.com            "), "its last sample is the farthest: {text}");
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("192.0.2.1 ") || l.starts_with("ntp2.example.com ")).collect();
    assert!(rows.len() == 2 && rows.iter().all(|row| row.contains("      10      ") && row.contains(" 200us  ")), "{text}");
    assert!(text.contains("\nAt 2026-11-20 12:02:50.002 UTC: synchronised, error at most 5.0 s (line "), "{text}");
    assert!(text.contains("\nThe clock is 5.0 s ahead of the line, whose frequency is "), "{text}");
    assert!(text.lines().all(|line| line.len() <= 140));
}

#[test]
fn another_decision_is_shown_with_the_one_recorded() {
    let text = trace();
    let (before, last) = text.split_at(text.trim_end().rfind('\n').unwrap());
    let text = before.to_owned() + &last.replace("\"status\":\"synchronised\"", "\"status\":\"holdover\"");
    let replayed = replayed(&[&text]).unwrap();
    assert_eq!(replayed.story.different, 1, "what was decided then is another, the inputs are the same");
    let told = render(&replayed);
    assert!(told.contains("1 of 22 decisions differ, first at trace.0:25: ") && told.contains("\n  then {\"adjustment\":"), "{told}");
}

#[test]
fn several_files_are_told_by_number_and_torn_ends_are_named() {
    let whole = trace();
    let torn = &whole[..whole.len() - 5];
    let again = whole.replace("\"run\":{\"at\":0", "\"run\":{\"at\":1");
    let text = render(&replayed(&[torn, &again]).unwrap());
    assert!(text.starts_with("trace.0, trace.1: 47 records"), "{text}");
    assert!(text.contains("\ntrace.0:25: torn where the program was ended; left out\n"), "{text}");
    assert!(text.contains("   2:1       the program starts"), "{text}");
}

#[test]
fn what_is_no_trace_is_refused_with_its_place() {
    let told = |texts: &[&str]| replayed(texts).unwrap_err().to_string();
    assert!(
        told(&["hello\nworld\n"])
            .ends_with("trace.0:1: column 1: expected value; the line is damaged or no trace: take the file as the program wrote it")
    );
    assert!(told(&[""]).contains("there is no record in it: a trace is written with `log trace` and `logdir`"));
    assert!(told(&["\u{1f}"]).contains("trace.0") && told(&[&trace(), "{}\n{}\n"]).contains("trace.1:1: "));
    let dir = tempfile::tempdir().unwrap();
    let packed = dir.path().join("trace.log.gz");
    fs::write(&packed, [0x1f, 0x8b, 8, 0]).unwrap();
    assert!(replay(std::slice::from_ref(&packed)).unwrap_err().to_string().contains("it is compressed: replay it with `zcat "));
    let missing = replay(&[dir.path().join("nothing")]).unwrap_err().to_string();
    assert!(missing.contains("nothing: No such file"), "{missing}");
}

#[test]
fn a_picture_is_well_formed_and_shows_what_happened() {
    let replayed = replayed(&[&trace()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("night.svg");
    draw(&replayed, Some(&path)).unwrap();
    let svg = fs::read_to_string(&path).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
    for words in
        ["trace.0, from 2026-11-20 12:00:00.000 UTC", ">192.0.2.1<", ">ntp2.example.com<", "somebody else moved the clock by +5000ms"]
    {
        assert!(svg.contains(words), "{words}: {svg}");
    }
    let open = svg.matches("<text").count() + svg.matches("<title").count();
    assert_eq!(open, svg.matches("</text>").count() + svg.matches("</title>").count());
    assert!(picture::draw("a <b> & c", &replayed.story).contains("a &lt;b&gt; &amp; c"));
    assert!(draw(&replayed, Some(&dir.path().join("no/such/night.svg"))).unwrap_err().to_string().contains("cannot be written"));
}

#[test]
fn every_happening_has_words() {
    let restored = Generation { disruption_marker: 1, vm_generation: Some(1) };
    let migrated = Generation { disruption_marker: 2, vm_generation: Some(1) };
    let told: Vec<String> = [
        Happening::Gap { missing: 7 },
        Happening::Selected { from: Some("a".into()), to: None },
        Happening::Source { name: "a".into(), from: SourceState::Combined, to: SourceState::Falseticker },
        Happening::Removed { name: "a".into() },
        Happening::Stepped { by: Offset::from_seconds(-0.3) },
        Happening::Status { from: Status::Synchronised, to: Status::Holdover },
        Happening::Signal(Signal::Suspended { slept: Duration::from_secs(30) }),
        Happening::Signal(Signal::Generation { from: restored, to: migrated }),
        Happening::Signal(Signal::Generation { from: Generation::default(), to: restored }),
        Happening::Signal(Signal::Stalled { late: Duration::from_secs(3) }),
        Happening::Signal(Signal::ClocksourceChanged),
    ]
    .iter()
    .map(words)
    .collect();
    assert_eq!(
        told,
        [
            "7 records are missing: the core begins cold, decisions are not compared",
            "selected a -> nobody",
            "a: combined -> falseticker (its time disagrees with the majority)",
            "a is removed",
            "we step the clock by -300ms",
            "status synchronised -> holdover",
            "the machine slept for 30.0 s",
            "the machine was migrated",
            "the machine was restored from a snapshot",
            "the program ran 3.0 s late",
            "the kernel changed its clocksource",
        ]
    );
}
