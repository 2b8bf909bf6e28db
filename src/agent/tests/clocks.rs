//! Local clocks that come, go, hang, are preempted, or answer from before a disruption.

use super::*;
use crate::config::RefclockDirective;
use crate::core::Signal;

fn directive(line: &str) -> Box<RefclockDirective> {
    Box::new(setup(&[line]).refclocks.remove(0))
}

fn names(agent: &Agent) -> Vec<String> {
    agent.report(at(0.0), &Surroundings::default()).sources.into_iter().map(|s| s.name).collect()
}

fn source(agent: &Agent, index: usize, seconds: f64) -> crate::wire::control::Source {
    agent.report(at(seconds), &Surroundings::default()).sources.remove(index)
}

/// Reads the first clock once a second, in windows of so many nanoseconds, each truthful to its middle.
fn read(agent: &mut Agent, from: u32, widths: &[u64]) {
    for (second, &width) in (from..).zip(widths) {
        let seconds = f64::from(second);
        agent.handle(at(seconds), Input::Timer);
        outputs(agent);
        agent.handle(at(seconds), Input::Reading { source: SourceId(0), result: Ok(torn(seconds, 0.25, width)) });
        for output in outputs(agent) {
            if let Output::Apply(adjustment) = output {
                let course = match adjustment.correction {
                    Correction::Step { offset, frequency } => {
                        let now = agent.core().course().at(at(seconds)) + offset;
                        Course { at: at(seconds), time: now, rate: frequency, until: None, error: Duration::ZERO }
                    }
                    _ => *agent.core().course(),
                };
                agent.handle(at(seconds), Input::Applied(Ok(Applied { course, stepped: None })));
            }
        }
    }
}

/// A reading whose window is `width` nanoseconds wide around the instant it is true of.
fn torn(seconds: f64, ahead: f64, width: u64) -> Reading {
    let half = Duration::from_nanos(width / 2);
    let good = reading(seconds, ahead);
    let middle = good.before.midpoint(good.after);
    Reading { before: middle + Offset::from_seconds(-half.as_secs_f64()), after: middle + half, ..good }
}

#[test]
fn a_clock_that_is_found_gets_a_name_and_one_that_is_gone_gives_it_back() {
    let mut agent = agent(&["refclock PHC /dev/ptp0 poll 0", "refclock KVM poll 0", "server 192.0.2.1"]);
    outputs(&mut agent);
    agent.handle(at(1.0), Input::Found(directive("refclock PHC KVM_virtual_PTP poll 0")));
    let opened = outputs(&mut agent)
        .into_iter()
        .find_map(|o| if let Output::Open { source, directive } = o { Some((source, directive)) } else { None });
    let (id, line) = opened.unwrap();
    assert_eq!((id, line), (SourceId(3), directive("refclock PHC KVM_virtual_PTP poll 0")));
    assert_eq!(names(&agent), ["PHC0", "KVM1", "192.0.2.1", "PHC2"]);
    agent.handle(at(1.0), Input::Timer);
    assert!(outputs(&mut agent).contains(&Output::Read(id)), "it is read at once");
    agent.handle(at(2.0), Input::Gone(SourceId(0)));
    assert_eq!(names(&agent), ["KVM1", "192.0.2.1", "PHC2"]);
    // The answer of a reading that was under way.
    agent.handle(at(2.0), Input::Reading { source: SourceId(0), result: Ok(reading(2.0, 0.0)) });
    agent.handle(at(3.0), Input::Found(directive("refclock PHC hyperv poll 0")));
    assert_eq!(names(&agent), ["KVM1", "192.0.2.1", "PHC2", "PHC0"]);
}

#[test]
fn more_clocks_than_sources_are_followed_are_not_taken() {
    let mut agent = agent(&[]);
    for _ in 0..100 {
        agent.handle(at(1.0), Input::Found(directive("refclock PHC hyperv poll 0")));
    }
    let opened = outputs(&mut agent).iter().filter(|o| matches!(o, Output::Open { .. })).count();
    assert_eq!((opened, names(&agent).len()), (64, 64));
}

#[test]
fn a_device_that_is_gone_is_not_waited_for_and_is_read_at_once_when_it_is_back() {
    let mut agent = agent(&["refclock PHC /dev/ptp0 poll 0"]);
    read(&mut agent, 1, &[200; 5]);
    assert_eq!(source(&agent, 0, 5.0).state, "selected");
    agent.handle(at(6.0), Input::Timer);
    let absent = ReadError::Absent { device: "/dev/ptp0".to_owned(), reason: "unplugged".to_owned() };
    agent.handle(at(6.0), Input::Reading { source: SourceId(0), result: Err(absent) });
    assert_eq!(source(&agent, 0, 6.0).state, "unreachable");
    assert_eq!(agent.published().status, Status::Holdover);
    outputs(&mut agent);
    agent.handle(at(6.2), Input::Back(SourceId(0)));
    assert_eq!(agent.next_wake(), Some(at(6.2)));
    agent.handle(at(6.2), Input::Timer);
    assert!(outputs(&mut agent).contains(&Output::Read(SourceId(0))));
}

#[test]
fn a_device_that_hangs_is_missed_like_a_server_that_does_not_answer() {
    let mut agent = agent(&["refclock PHC /dev/ptp0 poll 0"]);
    read(&mut agent, 1, &[200; 5]);
    let mut asked = 0;
    for second in 6..30 {
        agent.handle(at(f64::from(second)), Input::Timer);
        asked += outputs(&mut agent).iter().filter(|o| matches!(o, Output::Read(_))).count();
    }
    assert_eq!(asked, 1, "the reading is still under way");
    let silent = source(&agent, 0, 30.0);
    assert_eq!((silent.state.as_str(), silent.reach, silent.received), ("unreachable", 0, 5));
}

#[test]
fn torn_readings_are_set_aside_and_their_windows_seem_torn() {
    let mut agent = agent(&["refclock PHC /dev/ptp0 poll 0"]);
    read(&mut agent, 1, &[200; 10]);
    assert!(agent.seems_torn(SourceId(0), &torn(11.0, 0.25, 3_000_000)));
    assert!(!agent.seems_torn(SourceId(0), &torn(11.0, 0.25, 900)));
    assert!(!agent.seems_torn(SourceId(9), &torn(11.0, 0.25, 3_000_000)));
    let before = *agent.core().last_sample(SourceId(0)).unwrap();
    read(&mut agent, 11, &[3_000_000, 3_000_000]);
    assert_eq!(*agent.core().last_sample(SourceId(0)).unwrap(), before);
    let clock = source(&agent, 0, 12.0);
    assert_eq!((clock.preempted, clock.received, clock.reach), (2, 12, 255));
    read(&mut agent, 13, &[200]);
    assert_ne!(*agent.core().last_sample(SourceId(0)).unwrap(), before);
}

#[test]
fn a_clock_whose_windows_became_wide_for_good_is_heard() {
    let mut agent = agent(&["refclock PHC /dev/ptp0 poll 0"]);
    read(&mut agent, 1, &[200; 10]);
    read(&mut agent, 11, &[3_000_000; 30]);
    let clock = source(&agent, 0, 40.0);
    assert_eq!((clock.preempted, clock.state.as_str()), (3, "selected"));
    assert!(clock.last_sample_age.unwrap() < 1.0);
}

#[test]
fn a_torn_reading_that_contradicts_is_heard() {
    let mut agent = agent(&["refclock PHC /dev/ptp0 poll 0"]);
    read(&mut agent, 1, &[200; 10]);
    agent.handle(at(11.0), Input::Timer);
    // The host's clock jumped by a second: 3 ms of window do not explain it.
    agent.handle(at(11.0), Input::Reading { source: SourceId(0), result: Ok(torn(11.0, 1.25, 3_000_000)) });
    assert_eq!(source(&agent, 0, 11.0).preempted, 0);
    assert_eq!(agent.core().last_sample(SourceId(0)).unwrap().delay, Duration::from_millis(3));
}

#[test]
fn a_reading_from_before_a_disruption_tells_nothing_and_another_is_made() {
    let mut agent = agent(&["refclock PHC /dev/ptp0 poll 0", "makestep 1 -1"]);
    read(&mut agent, 1, &[200; 5]);
    agent.handle(at(6.0), Input::Timer);
    assert!(outputs(&mut agent).contains(&Output::Read(SourceId(0))));
    // It is under way on its thread when the machine is restored.
    let generation = |marker| Generation { disruption_marker: marker, vm_generation: None };
    agent.handle(at(6.5), Input::Signal(Signal::Generation { from: generation(1), to: generation(2) }));
    outputs(&mut agent);
    agent.handle(at(6.6), Input::Reading { source: SourceId(0), result: Ok(torn(6.3, 0.25, 600_000_000)) });
    assert_eq!(agent.published().status, Status::Disrupted);
    assert_eq!(agent.next_wake(), Some(at(6.6)));
    agent.handle(at(6.6), Input::Timer);
    assert!(outputs(&mut agent).contains(&Output::Read(SourceId(0))));
    agent.handle(at(6.6), Input::Reading { source: SourceId(0), result: Ok(reading(6.6, 60.25)) });
    assert_eq!(agent.published().status, Status::Synchronised);
}

#[test]
fn a_reading_of_another_age_tells_nothing() {
    let mut agent = agent(&["refclock PHC /dev/ptp0 poll 0"]);
    outputs(&mut agent);
    for seconds in [8.0e9, -8.0e9, 8.0e9, 8.0e9, 8.0e9, 2.5, -86_500.0] {
        agent.handle(at(1.0), Input::Reading { source: SourceId(0), result: Ok(torn(seconds, 0.25, 100)) });
        outputs(&mut agent);
        assert_eq!(source(&agent, 0, 1.0).samples, 0, "{seconds}");
    }
    agent.handle(at(1.0), Input::Reading { source: SourceId(0), result: Ok(torn(1.0, 0.25, 100)) });
    assert_eq!(source(&agent, 0, 1.0).samples, 1);
}

#[test]
fn a_foreign_step_is_undone_once_though_more_is_heard_before() {
    let mut agent = agent(&["refclock PHC /dev/ptp0 poll 0"]);
    read(&mut agent, 1, &[200; 5]);
    let by = Offset::from_seconds(-746.0);
    let course = Course { at: at(6.0), time: agent.core().line().at(at(6.0)) + by, ..*agent.core().course() };
    agent.handle(at(6.0), Input::Signal(Signal::ClockSet { by, course }));
    // The executor tells all that it sees before it steps the clock.
    agent.handle(at(6.0), Input::Reading { source: SourceId(0), result: Ok(torn(6.0, 0.25, 200)) });
    agent.handle(at(6.0), Input::Timer);
    let moves: Vec<f64> = outputs(&mut agent)
        .iter()
        .filter_map(|output| match output {
            Output::Apply(Adjustment { correction: Correction::Step { offset, .. } | Correction::Slew { offset, .. }, .. }) => {
                Some(offset.seconds())
            }
            _ => None,
        })
        .filter(|offset| offset.abs() > 1e-3)
        .collect();
    assert!(matches!(moves[..], [way] if (way - 746.0).abs() < 1e-3), "{moves:?}");
}
