//! The agent without a world: names and pools, and inputs that nobody should send.

use super::*;
use crate::config::{Files, LogKind};
use crate::core::Signal;
use crate::core::{Course, Generation, ReadError, Reading};
use crate::units::{NtpTimestamp, Offset, Timestamp};
use crate::wire::ntp::{Header, NtpShort};
use proptest::prelude::*;
use std::path::PathBuf;

mod clocks;

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &std::path::Path) -> Result<String, String> {
        Err("no files here".to_owned())
    }
    fn list(&self, _: &std::path::Path, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

fn setup(lines: &[&str]) -> Setup {
    let lines: Vec<String> = lines.iter().map(|&l| l.to_owned()).collect();
    let config = crate::config::parse_directives(&lines, &NoFiles).unwrap();
    let course =
        Course { at: Instant::ZERO, time: Timestamp::from_parts(1_800_000_000, 0), rate: Ppm::ZERO, until: None, error: Duration::ZERO };
    Setup { watch: true, ..Setup::from_config(&config, course) }
}

fn agent(lines: &[&str]) -> Agent {
    Agent::new(setup(lines), Instant::ZERO)
}

fn at(seconds: f64) -> Instant {
    Instant::ZERO + Offset::from_seconds(seconds)
}

fn outputs(agent: &mut Agent) -> Vec<Output> {
    std::iter::from_fn(|| agent.poll()).collect()
}

/// Lets time pass; returns the addresses asked and how often names were looked up.
fn live(agent: &mut Agent, from: f64, to: f64) -> (Vec<IpAddr>, usize) {
    let (mut asked, mut looked_up) = (Vec::new(), 0);
    let mut now = at(from);
    while now < at(to) {
        agent.handle(now, Input::Timer);
        for output in outputs(agent) {
            match output {
                Output::Send { to, .. } => asked.push(to.ip()),
                Output::Resolve(_) => looked_up += 1,
                _ => {}
            }
        }
        let next = agent.next_wake().expect("a steered clock is looked after");
        assert!(next > now, "the next wake-up lies in the past: the loop would spin");
        now = next;
    }
    (asked, looked_up)
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[test]
fn a_pool_keeps_maxsources_alive() {
    let mut agent = agent(&["pool pool.example minpoll 4 maxpoll 4 maxsources 3"]);
    let (asked, looked_up) = live(&mut agent, 0.0, 1.0);
    assert_eq!((asked.len(), looked_up), (0, 1));
    assert_eq!(agent.host(NameId(0)), Some("pool.example"));
    let all: Vec<IpAddr> = (1..=5).map(ip).collect();
    agent.handle(at(1.0), Input::Resolved { name: NameId(0), addresses: &all });
    let (mut asked, _) = live(&mut agent, 1.0, 10.0);
    asked.sort();
    assert_eq!(asked, [ip(1), ip(2), ip(3)]);
    // Nobody answers: the silent ones make room for the spare ones, then the name is looked up again.
    let (asked, looked_up) = live(&mut agent, 10.0, 1000.0);
    assert!(asked.contains(&ip(4)) && asked.contains(&ip(5)), "{asked:?}");
    assert!(looked_up > 0 && looked_up < 20, "looked up {looked_up} times");
    assert_eq!(agent.states().count(), 3);
}

#[test]
fn a_name_that_does_not_resolve_is_tried_less_and_less() {
    let mut agent = agent(&["server nowhere.example"]);
    let mut tries = Vec::new();
    let mut now = at(0.0);
    while now < at(4000.0) {
        agent.handle(now, Input::Timer);
        for output in outputs(&mut agent) {
            if let Output::Resolve(name) = output {
                tries.push(now.since(Instant::ZERO).seconds());
                agent.handle(now, Input::Resolved { name, addresses: &[] });
            }
        }
        now = agent.next_wake().unwrap();
    }
    assert!(tries.len() > 8 && tries.len() < 20, "{tries:?}");
    let report = agent.report(now, &Surroundings::default());
    assert!(report.problems.iter().any(|p| p.contains("nowhere.example cannot be resolved")), "{:?}", report.problems);
}

#[test]
fn a_server_that_falls_silent_is_looked_up_again() {
    let mut agent = agent(&["server moving.example minpoll 4 maxpoll 4"]);
    live(&mut agent, 0.0, 0.5);
    agent.handle(at(0.5), Input::Resolved { name: NameId(0), addresses: &[ip(1)] });
    let (_, looked_up) = live(&mut agent, 0.5, 300.0);
    assert!(looked_up >= 1, "eight silent polls are reason enough");
    agent.handle(at(300.0), Input::Resolved { name: NameId(0), addresses: &[ip(9)] });
    let (asked, _) = live(&mut agent, 300.0, 400.0);
    assert!(asked.contains(&ip(9)), "{asked:?}");
    assert!(!asked[2..].contains(&ip(1)), "{asked:?}");
}

#[test]
fn every_request_has_a_socket_and_every_socket_is_closed() {
    let mut agent = agent(&["server 192.0.2.1 iburst minpoll 4 maxpoll 4", "server 192.0.2.2 burst"]);
    let mut open = std::collections::HashSet::new();
    let mut now = at(0.0);
    while now < at(2000.0) {
        agent.handle(now, Input::Timer);
        for output in outputs(&mut agent) {
            match output {
                Output::Send { token, .. } => assert!(open.insert(token)),
                Output::Close(token) => assert!(open.remove(&token), "closed twice"),
                _ => {}
            }
        }
        assert!(open.len() <= 2, "{} sockets for two servers", open.len());
        now = agent.next_wake().unwrap();
    }
}

#[test]
fn the_frequency_is_saved_at_the_end_only_if_it_is_known() {
    let mut agent = agent(&["server 192.0.2.1"]);
    agent.handle(at(1.0), Input::Farewell);
    assert!(!outputs(&mut agent).iter().any(|o| matches!(o, Output::Save { .. })));
}

/// A reading of the local clock that is `ahead` seconds ahead of the agent's first idea of time.
fn reading(seconds: f64, ahead: f64) -> Reading {
    let before = at(seconds);
    let reference = Timestamp::from_parts(1_800_000_000, 0) + before.since(Instant::ZERO) + Offset::from_seconds(ahead);
    Reading {
        before,
        after: before,
        reference,
        max_error: Duration::ZERO,
        tai_offset: None,
        generation: None,
        leap: Leap::Normal,
        timescale: None,
    }
}

fn noting(lines: &[&str], notes: Vec<LogKind>) -> Agent {
    Agent::new(Setup { notes, ..setup(lines) }, Instant::ZERO)
}

/// What is noted of three readings, 0.5 s ahead; corrections are not carried out.
fn notes_of_readings(notes: Vec<LogKind>) -> Vec<Note> {
    let mut agent = noting(&["refclock PHC /dev/ptp0 poll 0 refid GPS offset 0.25 prefer"], notes);
    let mut found = Vec::new();
    for second in 1..=3 {
        let seconds = f64::from(second);
        agent.handle(at(seconds), Input::Timer);
        agent.handle(at(seconds), Input::Reading { source: SourceId(0), result: Ok(reading(seconds, 0.25)) });
        found.extend(outputs(&mut agent).into_iter().filter_map(|o| if let Output::Note(note) = o { Some(note) } else { None }));
    }
    found
}

#[test]
fn nothing_is_noted_unless_asked_for() {
    assert_eq!(notes_of_readings(Vec::new()), []);
    assert_eq!(notes_of_readings(vec![LogKind::Rtc, LogKind::Measurements]), []);
}

#[test]
fn readings_are_noted_against_the_corrected_clock() {
    let notes = notes_of_readings(vec![LogKind::Refclocks, LogKind::Tracking]);
    let reads: Vec<&Read> = notes.iter().filter_map(|n| if let Note::Read(read) = n { Some(read) } else { None }).collect();
    assert_eq!(reads.len(), 3);
    assert_eq!(reads[0].label, Label::Clock(ReferenceId::from_name("GPS").unwrap()));
    // Raw: as the device said, against the clock as it runs.
    assert!(reads.iter().all(|r| (r.raw - 0.25).abs() < 1e-6), "{reads:?}");
    // Cooked: the correction included, and once the line is known nothing is left.
    assert!((reads[0].cooked - 0.5).abs() < 1e-6 && reads[2].cooked.abs() < 1e-6, "{reads:?}");
    let updates: Vec<&Updated> = notes.iter().filter_map(|n| if let Note::Updated(update) = n { Some(update) } else { None }).collect();
    assert!(!updates.is_empty());
    let (first, last) = (updates[0], updates[updates.len() - 1]);
    assert!((first.offset + 0.5).abs() < 1e-6 && first.remaining.abs() < 1e-6 && first.max_error.is_none(), "{first:?}");
    assert!(last.offset.abs() < 1e-6 && (last.remaining - 0.5).abs() < 1e-6 && last.max_error.is_some(), "{last:?}");
    assert_eq!((last.stratum.get(), last.combined, last.leap), (1, 1, Leap::Normal));
}

#[test]
fn estimates_and_selections_are_noted() {
    let notes = notes_of_readings(vec![LogKind::Statistics, LogKind::Selection]);
    let raw = notes_of_readings(vec![LogKind::RawStatistics]);
    let count = |notes: &[Note]| notes.iter().filter(|n| matches!(n, Note::Estimated(_))).count();
    assert_eq!((count(&notes), count(&raw)), (1, 3), "a frequency needs three samples");
    let Some(Note::Considered(last)) = notes.last() else { panic!("{notes:?}") };
    assert_eq!((last.state, last.options.prefer, last.reach.bits()), (SourceState::Selected, true, 0b111));
    assert!(last.low <= 0.0 && last.high >= 0.0 && last.high - last.low < 1e-3 && last.age.abs() < 1e-9, "{last:?}");
}

#[test]
fn answers_are_noted_and_rejected_ones_only_raw() {
    for (kind, expected) in [(LogKind::Measurements, 1), (LogKind::RawMeasurements, 2)] {
        let mut agent = noting(&["server 192.0.2.1 iburst"], vec![kind]);
        let mut notes = Vec::new();
        for root_delay in [NtpShort(0), NtpShort(u32::MAX)] {
            let (now, sent) = loop {
                let now = agent.next_wake().unwrap();
                agent.handle(now, Input::Timer);
                let sent = outputs(&mut agent).into_iter().find_map(|o| match o {
                    Output::Send { token, to, bytes } => Some((token, to, bytes)),
                    _ => None,
                });
                if let Some(sent) = sent {
                    break (now, sent);
                }
            };
            let (token, from, request) = sent;
            let (asked, _) = Header::parse(&request).unwrap();
            let served =
                NtpTimestamp::from_utc(Timestamp::from_parts(1_800_000_000, 0) + now.since(Instant::ZERO) + Offset::from_seconds(0.5));
            let answer = Header {
                mode: crate::wire::ntp::Mode::Server,
                stratum: 2,
                poll: 6,
                precision: -20,
                root_delay,
                origin: asked.transmit,
                receive: served,
                transmit: served,
                ..asked
            };
            let received = now + Duration::from_millis(10);
            agent.handle(
                received,
                Input::Datagram {
                    token,
                    from,
                    to: ip(9),
                    received: Some(received),
                    by: crate::ntp::StampedBy::Kernel,
                    bytes: &answer.emit(),
                },
            );
            notes.extend(outputs(&mut agent).into_iter().filter_map(|o| if let Output::Note(note) = o { Some(note) } else { None }));
        }
        let measured: Vec<&Measured> = notes.iter().filter_map(|n| if let Note::Measured(m) = n { Some(m) } else { None }).collect();
        assert_eq!((measured.len(), notes.len()), (expected, expected), "{notes:?}");
        let good = measured[0];
        assert_eq!((good.label, good.fault, good.stratum, good.poll, good.server_poll), (Label::Address(ip(1)), None, 2, 6, 6));
        assert_eq!(good.delay, Duration::from_millis(10));
        assert!((good.offset - 0.495).abs() < 1e-6, "{good:?}");
        if let Some(bad) = measured.get(1) {
            assert_eq!(bad.fault, Some(crate::ntp::Rejection::RootDistance));
        }
    }
}

#[test]
fn a_report_tells_why_each_source_is_used_or_not() {
    let mut agent = agent(&["refclock PHC /dev/ptp0 poll 0 refid GPS prefer", "refclock KVM poll 0", "server 192.0.2.1 noselect"]);
    for second in 1..=3 {
        let seconds = f64::from(second);
        agent.handle(at(seconds), Input::Timer);
        agent.handle(at(seconds), Input::Reading { source: SourceId(0), result: Ok(reading(seconds, 0.5)) });
    }
    let report = agent.report(at(4.0), &Surroundings::default());
    let letters: Vec<char> = report.sources.iter().map(|s| s.letter).collect();
    assert_eq!(letters, ['*', 'N', 'N']);
    let (gps, kvm, server) = (&report.sources[0], &report.sources[1], &report.sources[2]);
    let (low, high) = gps.interval.unwrap();
    assert!(low < gps.offset && gps.offset < high && (gps.offset + 0.5).abs() < 1e-5, "the clock is behind: {gps:?}");
    assert_eq!(
        (gps.leap.as_str(), gps.options.as_slice(), gps.effective_options.as_slice()),
        ("Normal", &["prefer".to_owned()][..], &["prefer".to_owned()][..])
    );
    assert!((gps.score - 1.0).abs() < 1e-9 && !gps.authenticated);
    // It carries no time, whatever the configuration says.
    assert_eq!((kvm.options.len(), kvm.effective_options.as_slice()), (0, &["noselect".to_owned()][..]));
    assert_eq!((server.interval, server.leap.as_str(), server.reason.as_str()), (None, "Not synchronised", "configured with noselect"));
}

#[derive(Clone, Debug)]
enum Anything {
    Wait(u32),
    Datagram(Vec<u8>, bool, i64),
    Reading(i64, u32, i64, u64),
    Clock(i64),
    Slept(u32),
    Stalled,
    Source,
    Refused,
}

fn anything() -> impl Strategy<Value = Anything> {
    prop_oneof![
        (0_u32..100_000).prop_map(Anything::Wait),
        (proptest::collection::vec(any::<u8>(), 0..80), any::<bool>(), any::<i64>()).prop_map(|(b, v, i)| Anything::Datagram(b, v, i)),
        (any::<i64>(), any::<u32>(), any::<i64>(), 0_u64..3).prop_map(|(a, w, r, g)| Anything::Reading(a, w, r, g)),
        any::<i64>().prop_map(Anything::Clock),
        any::<u32>().prop_map(Anything::Slept),
        Just(Anything::Stalled),
        Just(Anything::Source),
        Just(Anything::Refused),
    ]
}

fn give(agent: &mut Agent, now: Instant, what: &Anything) {
    match what {
        Anything::Wait(_) => agent.handle(now, Input::Timer),
        Anything::Datagram(bytes, valid, instant) => {
            let mut bytes = bytes.clone();
            let mut token = Token(1 << 32);
            agent.handle(now, Input::Timer);
            for output in outputs(agent) {
                // The worst server is one that answers our own request with whatever it likes.
                if let Output::Send { token: sent, bytes: request, .. } = output {
                    token = sent;
                    if *valid && bytes.len() >= 48 {
                        bytes[0] = bytes[0] & 0xc0 | 0x24;
                        bytes[24..32].copy_from_slice(&request[40..48]);
                    }
                }
            }
            let from = SocketAddr::new(ip(1), 123);
            agent.handle(
                now,
                Input::Datagram {
                    token,
                    from,
                    to: ip(9),
                    received: Some(Instant::from_nanos(*instant)),
                    by: crate::ntp::StampedBy::Kernel,
                    bytes: &bytes,
                },
            );
        }
        Anything::Reading(before, width, reference, generation) => {
            let before = Instant::from_nanos(*before);
            let reading = Reading {
                before,
                after: before + Duration::from_nanos(u64::from(*width)),
                reference: Timestamp::from_nanos(*reference),
                max_error: Duration::ZERO,
                tai_offset: Some(37),
                timescale: None,
                leap: Leap::Normal,
                generation: Some(Generation { disruption_marker: *generation, vm_generation: None }),
            };
            agent.handle(now, Input::Reading { source: SourceId(0), result: Ok(reading) });
        }
        Anything::Clock(nanos) => {
            let course =
                Course { at: now, time: Timestamp::from_nanos(*nanos), rate: Ppm::new(-90_000.0), until: Some(now), error: Duration::ZERO };
            agent.handle(now, Input::Signal(Signal::ClockSet { by: Offset::from_nanos(*nanos), course }));
        }
        Anything::Slept(millis) => {
            agent.handle(now, Input::Signal(Signal::Suspended { slept: Duration::from_millis(u64::from(*millis)) }));
        }
        Anything::Stalled => {
            agent.handle(now, Input::Signal(Signal::ClocksourceChanged));
            agent.handle(now, Input::Signal(Signal::Stalled { late: Duration::from_secs(9) }));
        }
        Anything::Source => agent.handle(now, Input::SendFailed { token: Token(1 << 32) }),
        Anything::Refused => agent.handle(now, Input::Applied(Err(ClockError::Denied))),
    }
}

proptest! {
    /// Whatever comes in: no panic, no NaN, no wake-up in the past for ever, no output without end.
    #[test]
    fn nothing_that_comes_in_breaks_it(inputs in proptest::collection::vec(anything(), 1..60)) {
        let notes = vec![LogKind::RawMeasurements, LogKind::RawStatistics, LogKind::Tracking, LogKind::Refclocks, LogKind::Selection];
        let mut agent = noting(&["refclock PHC /dev/ptp0 poll 0", "server 192.0.2.1 minpoll 0 maxpoll 2"], notes);
        let mut now = at(1.0);
        for input in &inputs {
            if let Anything::Wait(millis) = input {
                now = now + Duration::from_millis(u64::from(*millis));
            }
            give(&mut agent, now, input);
            let out = outputs(&mut agent);
            prop_assert!(out.len() < 64, "{} outputs at once", out.len());
            for output in &out {
                if let Output::Apply(adjustment) = output {
                    let seconds = match adjustment.correction {
                        Correction::Slew { frequency, .. } | Correction::Step { frequency, .. } => frequency.ppm(),
                        Correction::Hold => 0.0,
                    };
                    prop_assert!(seconds.is_finite() && seconds.abs() <= 500_000.0);
                    let course = Course { at: now, ..*agent.core().course() };
                    agent.handle(now, Input::Applied(Ok(Applied { course, stepped: None })));
                }
            }
            let published = agent.published();
            prop_assert!(published.line.growth.ppm().is_finite() && published.clock.growth.ppm().is_finite());
            let report = agent.report(now, &Surroundings::default());
            prop_assert!(serde_json::to_string(&report).is_ok());
            let text = crate::wire::control::Response::Report(Box::new(report));
            prop_assert!(!serde_json::to_string(&text).unwrap().contains("NaN"));
        }
    }
}
