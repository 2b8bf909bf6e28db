//! Any sequence of inputs to the whole agent: no panic, no endless output, no wake-up that spins.
#![no_main]

use std::path::{Path, PathBuf};
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use paraclock::agent::{Agent, Input, Output, Setup, Surroundings};
use paraclock::config::{Files, parse_directives};
use paraclock::core::{Applied, Course, Generation, Reading, Signal, SourceId};
use paraclock::ntp::{Packet, Token};
use paraclock::units::{Instant, Offset, Ppm, Timestamp};

#[derive(Arbitrary, Debug)]
enum Step {
    Wait(u32),
    Answer { bytes: Vec<u8>, ours: bool, received: Option<i64> },
    Read { before: i64, width: u32, reference: i64, marker: u8 },
    Set(i64),
    Sleep(u32),
    Clocksource,
}

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> Result<String, String> {
        Err("none".to_owned())
    }
    fn list(&self, _: &Path, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let lines = ["refclock PHC /dev/ptp0 poll 0", "server 192.0.2.1 minpoll 0 maxpoll 3 iburst", "makestep 1 3"].map(str::to_owned);
    let config = parse_directives(&lines, &NoFiles).expect("a good configuration");
    let course =
        Course { at: Instant::ZERO, time: Timestamp::from_parts(1_800_000_000, 0), rate: Ppm::ZERO, until: None, error: Duration::ZERO };
    let mut agent = Agent::new(Setup { watch: true, ..Setup::from_config(&config, course) }, Instant::ZERO);
    let mut now = Instant::from_nanos(1);
    let mut last = (Token(0), Packet::from_iter([0; 48]));
    for step in steps.iter().take(200) {
        match step {
            Step::Wait(millis) => {
                now = now + Duration::from_millis(u64::from(*millis % 100_000));
                agent.handle(now, Input::Timer);
                assert!(agent.next_wake().is_none_or(|next| next > now), "it would spin");
            }
            Step::Answer { bytes, ours, received } => {
                let mut bytes = bytes.clone();
                if *ours && bytes.len() >= 48 {
                    bytes[24..32].copy_from_slice(&last.1[40..48]);
                }
                let from = "192.0.2.1:123".parse().expect("an address");
                let to = "192.0.2.9".parse().expect("an address");
                let received = received.map(Instant::from_nanos);
                agent.handle(
                    now,
                    Input::Datagram { token: last.0, from, to, received, by: paraclock::ntp::StampedBy::Kernel, bytes: &bytes },
                );
            }
            Step::Read { before, width, reference, marker } => {
                let before = Instant::from_nanos(*before);
                let reading = Reading {
                    before,
                    after: before + Duration::from_nanos(u64::from(*width)),
                    reference: Timestamp::from_nanos(*reference),
                    max_error: Duration::ZERO,
                    tai_offset: None,
                    timescale: None,
                    leap: paraclock::units::Leap::Normal,
                    generation: Some(Generation { disruption_marker: u64::from(*marker), vm_generation: None }),
                };
                agent.handle(now, Input::Reading { source: SourceId(0), result: Ok(reading) });
            }
            Step::Set(nanos) => {
                let course = Course { at: now, time: Timestamp::from_nanos(*nanos), rate: Ppm::ZERO, until: None, error: Duration::ZERO };
                agent.handle(now, Input::Signal(Signal::ClockSet { by: Offset::from_nanos(*nanos), course }));
            }
            Step::Sleep(millis) => {
                agent.handle(now, Input::Signal(Signal::Suspended { slept: Duration::from_millis(u64::from(*millis)) }));
            }
            Step::Clocksource => agent.handle(now, Input::Signal(Signal::ClocksourceChanged)),
        }
        let mut count = 0;
        while let Some(output) = agent.poll() {
            count += 1;
            assert!(count < 200, "endless output");
            match output {
                Output::Send { token, bytes, .. } => last = (token, bytes),
                Output::Apply(_) => {
                    let course = Course { at: now, ..*agent.core().course() };
                    agent.handle(now, Input::Applied(Ok(Applied { course, stepped: None })));
                }
                _ => {}
            }
        }
        let report = agent.report(now, &Surroundings::default());
        assert!(report.tracking.frequency_ppm.is_finite());
    }
});
