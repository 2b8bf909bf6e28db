//! Devices that come, go, are slow, or rationed.

use std::fs;
use std::path::Path;
use std::sync::mpsc as plain;

use super::*;
use crate::agent::{Agent, Input, Setup, Surroundings};
use crate::clock::{Clock, Shadow};
use crate::config::parse_directives;
use crate::refclock::Label;
use crate::run::config_files::ConfigFiles;
use crate::run::executor::{Departure, Executor, Shared};
use crate::units::Leap;

/// A device that answers when it is told to, or at once.
#[derive(Default)]
struct Fake {
    /// Each reading waits for one word here.
    gate: Option<plain::Receiver<()>>,
    /// Whoever wants to know that a reading has begun.
    begun: Option<plain::Sender<()>>,
    path: &'static str,
    least: Option<Duration>,
    within: Option<Duration>,
    absent: bool,
    resets: u32,
}

impl Refclock for Fake {
    fn read(&mut self) -> Result<Reading, ReadError> {
        let before = time::raw();
        if let Some(begun) = &self.begun {
            begun.send(()).unwrap();
        }
        if let Some(gate) = &self.gate {
            // Shut until somebody opens it once, or goes away: in the loop's own thread it would stay shut.
            let _ = gate.recv();
        }
        if self.absent {
            return Err(ReadError::Absent { device: "fake".to_owned(), reason: "unplugged".to_owned() });
        }
        Ok(Reading {
            before,
            after: time::raw(),
            reference: time::realtime(),
            max_error: Duration::ZERO,
            tai_offset: None,
            timescale: None,
            leap: Leap::Normal,
            generation: None,
        })
    }

    fn label(&self) -> Option<Label> {
        (!self.absent).then(|| Label { path: self.path.into(), name: "fake".to_owned(), smearing_hint: "" })
    }

    fn least_interval(&self) -> Option<Duration> {
        self.least
    }

    fn disruption_within(&self) -> Option<Duration> {
        self.within
    }

    fn on_clocksource_change(&mut self) {
        self.resets += 1;
    }
}

fn lines(text: &[&str]) -> Vec<RefclockDirective> {
    let text: Vec<String> = text.iter().map(|&line| line.to_owned()).collect();
    parse_directives(&text, &ConfigFiles).unwrap().refclocks
}

fn plug(root: &Path, number: u32, name: &str) {
    let class = root.join(format!("sys/class/ptp/ptp{number}"));
    fs::create_dir_all(&class).unwrap();
    fs::write(class.join("clock_name"), name).unwrap();
    fs::create_dir_all(root.join("dev")).unwrap();
    fs::write(root.join(format!("dev/ptp{number}")), "").unwrap();
}

fn unplug(root: &Path, number: u32) {
    fs::remove_dir_all(root.join(format!("sys/class/ptp/ptp{number}"))).unwrap();
    fs::remove_file(root.join(format!("dev/ptp{number}"))).unwrap();
}

#[test]
fn what_appears_is_found_and_what_was_found_goes() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut devices = Devices::at(root, &[], 0, true);
    assert_eq!(devices.look(time::raw()), []);
    plug(root, 3, "KVM virtual PTP");
    // A network card's clock may hold any time.
    plug(root, 4, "igb_ptp0");
    let line = lines(&["refclock PHC KVM_virtual_PTP poll 0"]).remove(0);
    assert_eq!(devices.look(time::raw()), [Change::Found(line.clone())]);
    devices.open(SourceId(7), &line);
    assert_eq!(devices.look(time::raw()), []);
    // Another number is the same clock.
    unplug(root, 3);
    plug(root, 0, "KVM virtual PTP");
    assert_eq!(devices.look(time::raw()), []);
    unplug(root, 0);
    assert_eq!(devices.look(time::raw()), [Change::Gone(SourceId(7))]);
    devices.close(SourceId(7));
    assert_eq!(devices.look(time::raw()), []);
    assert!(devices.read(SourceId(7)).is_some_and(|done| matches!(done.result, Err(ReadError::Absent { .. }))));
    fs::write(root.join("dev/vmclock0"), "").unwrap();
    let device = root.join("dev/vmclock0");
    let found = lines(&[&format!("refclock VMCLOCK {} poll 0", device.display())]);
    assert_eq!(devices.look(time::raw()), [Change::Found(found[0].clone())]);
}

#[test]
fn what_somebody_configured_is_not_found_again_and_not_given_up() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    plug(root, 0, "KVM virtual PTP");
    let line = format!("refclock PHC {}", root.join("dev/ptp0").display());
    let mut devices = Devices::at(root, &lines(&[&line]), 1, true);
    assert_eq!(devices.look(time::raw()), []);
    unplug(root, 0);
    assert_eq!(devices.look(time::raw()), []);
    let done = devices.read(SourceId(0)).unwrap();
    assert!(matches!(done.result, Err(ReadError::Absent { .. })));
    assert_eq!(devices.look(time::raw()), []);
    plug(root, 0, "KVM virtual PTP");
    assert_eq!(devices.look(time::raw()), [Change::Back(SourceId(0))]);
    // Without detection nothing is found.
    let mut devices = Devices::at(root, &[], 0, false);
    plug(root, 1, "hyperv");
    assert_eq!(devices.look(time::raw()), []);
}

#[test]
fn a_device_that_vanishes_is_told_of_once() {
    let mut devices = Devices::new(vec![Box::new(Fake { path: "/dev/ptp0", ..Fake::default() })]);
    assert!(devices.read(SourceId(0)).is_some_and(|done| done.result.is_ok() && !done.vanished));
    devices.entries[0].device = Some(Box::new(Fake { absent: true, ..Fake::default() }));
    assert!(devices.read(SourceId(0)).is_some_and(|done| done.vanished));
    assert!(devices.read(SourceId(0)).is_some_and(|done| !done.vanished));
}

#[test]
fn what_a_rationed_device_gives_is_shared() {
    let rationed = || Box::new(Fake { path: "/dev/ptp1", least: Some(Duration::from_millis(10)), ..Fake::default() });
    let mut devices = Devices::new(vec![rationed(), Box::new(Fake { path: "/dev/ptp0", ..Fake::default() }), rationed()]);
    let rations = |devices: &mut Devices, id: u32| devices.read(SourceId(id)).unwrap().rations;
    assert_eq!(rations(&mut devices, 0), [(SourceId(0), Duration::from_millis(10))]);
    assert_eq!(rations(&mut devices, 0), [], "said once");
    assert_eq!(rations(&mut devices, 1), []);
    let twenty = Duration::from_millis(20);
    assert_eq!(rations(&mut devices, 2), [(SourceId(0), twenty), (SourceId(2), twenty)]);
}

#[test]
fn a_ration_slows_the_agent_down() {
    let mut agent = agent(&["refclock PHC fake poll -7 dpoll -7", "refclock PHC other poll 0"]);
    let poll = |agent: &Agent| agent.report(time::raw(), &Surroundings::default()).sources[0].poll;
    assert_eq!(poll(&agent), -7);
    // Of 125 readings a second 100, one by one: 64 times a second.
    agent.handle(time::raw(), Input::Rationed { source: SourceId(0), interval: Duration::from_millis(10) });
    assert_eq!(poll(&agent), -6);
    // Twenty-five in one go: twice a second.
    agent.handle(time::raw(), Input::Rationed { source: SourceId(0), interval: Duration::from_millis(250) });
    assert_eq!(poll(&agent), -2);
    agent.handle(time::raw(), Input::Rationed { source: SourceId(0), interval: Duration::from_millis(10) });
    assert_eq!(poll(&agent), -2);
}

#[test]
fn an_announcement_and_the_device_are_shown() {
    let within = Some(Duration::from_secs(3600));
    let mut devices = Devices::new(vec![Box::new(Fake { path: "/dev/vmclock0", within, ..Fake::default() })]);
    assert!(devices.read(SourceId(0)).is_some());
    let mut shown = Vec::new();
    devices.show(&mut shown);
    let agent = agent(&["refclock VMCLOCK poll 0"]);
    let report = agent.report(time::raw(), &Surroundings { devices: shown, ..Surroundings::default() });
    assert_eq!(report.platform.announced_disruption, Some(3600.0));
    assert_eq!((report.sources[0].device.as_str(), report.sources[0].clock_name.as_str()), ("/dev/vmclock0", "fake"));
    assert!(report.sources[0].reading_seconds.is_some() && !report.sources[0].own_thread);
}

fn agent(directives: &[&str]) -> Agent {
    let text: Vec<String> = directives.iter().map(|&line| line.to_owned()).collect();
    let config = parse_directives(&text, &ConfigFiles).unwrap();
    Agent::new(Setup::from_config(&config, Shadow::new().course()), time::raw())
}

fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A device whose last reading was stuck, which takes until the gate is opened from now on.
fn slow() -> (Devices, plain::Sender<()>, plain::Receiver<()>) {
    let (open, gate) = plain::channel();
    let (tell, begun) = plain::channel();
    let fake = Fake { gate: Some(gate), begun: Some(tell), path: "/dev/ptp0", ..Fake::default() };
    let mut devices = Devices::new(vec![Box::new(fake)]);
    devices.entries[0].pace.take_in(Duration::from_millis(500));
    (devices, open, begun)
}

#[test]
fn a_slow_device_is_read_on_a_thread_of_its_own() {
    let (mut devices, open, begun) = slow();
    on_one_thread(async {
        for _ in 0..3 {
            assert!(devices.read(SourceId(0)).is_none(), "under way");
            begun.recv().unwrap();
            // Asked again, the same reading answers.
            assert!(devices.read(SourceId(0)).is_none());
            devices.on_clocksource_change();
            open.send(()).unwrap();
            let done = devices.returned().await.unwrap();
            assert!(done.source == SourceId(0) && done.result.is_ok());
        }
        assert!(devices.entries[0].facts.as_ref().is_some_and(|facts| facts.apart));
    });
}

#[test]
fn a_device_that_has_become_quick_needs_no_thread_any_more() {
    let (mut devices, open, begun) = slow();
    on_one_thread(async {
        for _ in 0..60 {
            assert!(devices.read(SourceId(0)).is_none());
            begun.recv().unwrap();
            open.send(()).unwrap();
            assert!(devices.returned().await.is_some());
        }
        // Waking threads may take long on a busy machine: then it is not called quick yet.
        let quick = !devices.entries[0].pace.is_slow();
        assert_eq!(devices.entries[0].apart.is_none(), quick);
    });
}

#[test]
fn the_loop_answers_while_a_device_hangs() {
    let (devices, open, begun) = slow();
    on_one_thread(async {
        let shared = Shared::new(agent(&["refclock PHC fake poll -2 dpoll -2 noselect"]));
        let mut executor = Executor::new(shared.clone(), Box::new(Shadow::new()), devices, Departure::default(), None);
        let wakeups = || shared.agent().totals().wakeups;
        let watched = async {
            // The reading has begun on its thread, and the gate is shut: nobody but the loop moves on.
            while begun.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            let before = wakeups();
            while wakeups() < before + 8 {
                tokio::task::yield_now().await;
            }
            let source = shared.agent().report(time::raw(), &Surroundings::default()).sources.remove(0);
            assert_eq!((source.sent, source.received), (1, 0), "one reading, still under way");
            open.send(()).unwrap();
            while shared.agent().report(time::raw(), &Surroundings::default()).sources[0].received == 0 {
                tokio::task::yield_now().await;
            }
            // The next may begin at any time, and must find its gate open.
            drop(open);
        };
        executor.run(watched).await;
    });
}
