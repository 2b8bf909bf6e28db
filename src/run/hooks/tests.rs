//! Real programs, and an agent that loses and finds the time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc as StdArc;
use std::time::Duration;

use super::*;
use crate::agent::{Input, Setup, Surroundings};
use crate::config::{Config, Files, Origin, parse_directives};
use crate::core::{Applied, Course, Reading, Signal, SourceId};
use crate::units::{Leap, Ppm, Timestamp};

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> Result<String, String> {
        Err("no files here".to_owned())
    }
    fn list(&self, _: &Path, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

fn config(lines: &[String]) -> Config {
    parse_directives(lines, &NoFiles).unwrap()
}

/// A place for scripts and what they write.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn script(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap_or_default()
    }
}

fn hook(event: HookEvent, command: &str) -> Hook {
    let mut words = command.split(' ').map(str::to_owned);
    let origin = Origin { file: StdArc::from("test"), line: 1, column: 1 };
    Hook { origin, event, program: words.next().unwrap().into(), arguments: words.collect() }
}

fn facts(event: HookEvent) -> Facts {
    Facts {
        event,
        status: Status::Disrupted,
        cause: "restore",
        since: 1_800_000_000.0,
        lasted: None,
        offset: 0.5,
        bound: None,
        stepped: 0.0,
        source: String::new(),
    }
}

const QUICK: Limits = Limits { run: Duration::from_millis(200), grace: Duration::from_millis(200) };

fn alone<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Runs one command as it would be run on a disruption.
fn run(command: &str, limits: Limits) -> (Outcome, Option<String>) {
    alone(process::run(&hook(HookEvent::Disruption, command), &facts(HookEvent::Disruption), limits))
}

#[test]
fn a_program_gets_the_facts_and_nothing_else_of_ours() {
    let place = Place::new();
    let script = place.script("hook", "/usr/bin/env > $1\necho args=$# >> $1\n/bin/cat >> $1");
    let (outcome, said) = run(&format!("{script} {} $HOME", place.file("out")), Limits::default());
    assert_eq!((outcome, said), (Outcome::Success, None));
    let out = place.text("out");
    let mut names: Vec<&str> = out.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // The shell of the script adds these.
    names.retain(|name| !matches!(*name, "_" | "PWD" | "OLDPWD" | "SHLVL"));
    names.sort_unstable();
    let expected = [
        "PARACLOCK_BOUND_SECONDS",
        "PARACLOCK_CAUSE",
        "PARACLOCK_EVENT",
        "PARACLOCK_LASTED_SECONDS",
        "PARACLOCK_OFFSET_SECONDS",
        "PARACLOCK_SINCE",
        "PARACLOCK_SOURCE",
        "PARACLOCK_STATUS",
        "PARACLOCK_STEPPED_SECONDS",
        "PATH",
        "args",
    ];
    assert_eq!(names, expected, "{out}");
    for line in ["PARACLOCK_EVENT=disruption", "PARACLOCK_STATUS=disrupted", "PARACLOCK_CAUSE=restore", "args=2"] {
        assert!(out.lines().any(|found| found == line), "{line} is missing in {out}");
    }
}

#[test]
fn what_came_of_it_is_said() {
    let place = Place::new();
    let (outcome, said) = run(&place.script("three", "exit 3"), Limits::default());
    assert_eq!((outcome, said.as_deref()), (Outcome::Failure, Some("ended with exit code 3")));
    let (outcome, said) = run(&place.script("signal", "kill -9 $$"), Limits::default());
    assert_eq!((outcome, said.as_deref()), (Outcome::Failure, Some("was ended by signal 9")));
    let (outcome, said) = run("/nonexistent/hook", Limits::default());
    assert_eq!(outcome, Outcome::Error);
    assert!(said.unwrap().starts_with("cannot be started: "));
}

/// Whether this process is gone, or dead and not yet waited for by its parent.
fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
}

#[test]
fn a_slow_program_is_ended_with_its_children() {
    let place = Place::new();
    let script = place.script("slow", "/bin/sleep 1000 & echo $! > $1\nwait");
    let (outcome, said) = run(&format!("{script} {}", place.file("child")), Limits { grace: Duration::from_secs(30), ..QUICK });
    assert_eq!(outcome, Outcome::Timeout);
    assert!(said.unwrap().contains("was still running after 0.2 s and was ended"));
    let child = place.text("child");
    assert!(!child.is_empty());
    // The signal was sent to all before the leader was seen to end; the last moments of the child are its own.
    for _ in 0..10_000 {
        if is_gone(&child) {
            return;
        }
        std::thread::yield_now();
    }
    panic!("the child {child} lives on");
}

#[test]
fn a_deaf_program_is_killed_and_a_noisy_one_does_not_stretch_its_time() {
    let place = Place::new();
    let (outcome, said) = run(&place.script("deaf", "trap '' TERM\nwhile :; do :; done"), QUICK);
    assert_eq!(outcome, Outcome::Timeout);
    assert!(said.unwrap().ends_with("did not end when told to, and was killed"));
    let (outcome, said) = run(&place.script("noisy", "while :; do echo noise; done"), QUICK);
    assert_eq!(outcome, Outcome::Timeout);
    assert!(said.unwrap().contains("was ended"));
}

#[test]
fn what_a_child_in_the_background_keeps_open_is_not_waited_for() {
    let place = Place::new();
    let script = place.script("background", "/bin/sleep 1000 & echo $! > $1");
    let (outcome, _) = run(&format!("{script} {}", place.file("child")), Limits::default());
    assert_eq!(outcome, Outcome::Success);
    let child = place.text("child").trim().parse().unwrap();
    assert!(!is_gone(&place.text("child")), "it was meant to go on");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_run_that_is_dropped_ends_its_program() {
    let place = Place::new();
    let script = place.script("endless", "echo $$ > $1\nexec /bin/sleep 1000");
    let command = hook(HookEvent::Sync, &format!("{script} {}", place.file("pid")));
    let facts = facts(HookEvent::Sync);
    alone(async {
        let run = process::run(&command, &facts, Limits::default());
        let begun = async {
            while !place.text("pid").ends_with('\n') {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = run => panic!("it does not end by itself"),
            () = begun => {}
        }
        // While the loop lives: tokio cannot give a program back that was being started when its runtime ended.
        let end = time::raw() + Duration::from_secs(20);
        while !is_gone(&place.text("pid")) {
            assert!(time::raw() < end, "it lives on");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// An agent with one local clock, its hooks, and a clock that obeys.
struct Machine {
    agent: Agent,
    hooks: Hooks,
    now: Instant,
}

impl Machine {
    fn new(board: Board) -> Self {
        let lines = ["refclock PHC /dev/ptp0 poll 0".to_owned()];
        let now = time::raw();
        let course = Course { at: now, time: Timestamp::from_parts(1_800_000_000, 0), rate: Ppm::ZERO, until: None, error: Duration::ZERO };
        let agent = Agent::new(Setup::from_config(&config(&lines), course), now);
        Self { agent, hooks: Hooks::new(board), now }
    }

    fn give(&mut self, input: Input<'_>) {
        self.agent.handle(self.now, input);
        self.execute();
    }

    fn execute(&mut self) {
        while let Some(output) = self.agent.poll() {
            match output {
                crate::agent::Output::Publish => self.hooks.published(&self.agent),
                crate::agent::Output::Apply(adjustment) => {
                    let mut course = *self.agent.core().course();
                    course = Course { at: self.now, time: course.at(self.now), ..course };
                    let mut stepped = None;
                    if let crate::core::Correction::Step { offset, .. } = adjustment.correction {
                        course.time = course.time + offset;
                        stepped = Some(offset);
                        self.hooks.stepped(offset);
                    }
                    self.agent.handle(self.now, Input::Applied(Ok(Applied { course, stepped })));
                }
                _ => {}
            }
        }
        self.hooks.settle(&self.agent);
    }

    /// The local clock reads `ahead` seconds more than the system clock began with.
    fn read(&mut self, ahead: f64) {
        for _ in 0..8 {
            self.now = self.now + Duration::from_secs(1);
            self.give(Input::Timer);
            let elapsed = self.agent.core().course().at(self.now);
            let reference =
                if self.agent.published().status == Status::Synchronised { elapsed } else { elapsed + Offset::from_seconds(ahead) };
            let reading = Reading {
                before: self.now,
                after: self.now,
                reference,
                max_error: Duration::from_micros(1),
                tai_offset: None,
                timescale: None,
                leap: Leap::Normal,
                generation: None,
            };
            self.give(Input::Reading { source: SourceId(0), result: Ok(reading) });
        }
    }
}

/// Waits until so many runs have ended.
async fn ended(board: &Board, runs: u64) {
    let count = |board: &Board| board.report().iter().flat_map(|h| h.runs.values()).sum::<u64>();
    while count(board) < runs {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn losing_and_finding_the_time_runs_the_programs_in_order() {
    let place = Place::new();
    let script = place.script(
        "log",
        "echo $1 $PARACLOCK_EVENT $PARACLOCK_STATUS $PARACLOCK_CAUSE ${PARACLOCK_STEPPED_SECONDS%.*} ${PARACLOCK_SOURCE:-none} >> $2",
    );
    let out = place.file("out");
    let lines = [format!("onsync {script} c {out}"), format!("ondisruption {script} a {out}"), format!("ondisruption {script} b {out}")];
    let board = Board::new(config(&lines).hooks);
    alone(async {
        let mut machine = Machine::new(board.clone());
        machine.execute();
        machine.read(0.0);
        assert_eq!(machine.agent.published().status, Status::Synchronised);
        ended(&board, 1).await;
        machine.give(Input::Signal(Signal::Suspended { slept: Duration::from_secs(60) }));
        assert_eq!(machine.agent.published().status, Status::Disrupted);
        // The same disruption again is no news.
        machine.give(Input::Signal(Signal::Suspended { slept: Duration::from_secs(1) }));
        machine.read(61.0);
        assert_eq!(machine.agent.published().status, Status::Synchronised);
        ended(&board, 4).await;
    });
    let expected = "\
c sync synchronised start 0 PHC0
a disruption disrupted suspend 0 none
b disruption disrupted suspend 0 none
c sync synchronised suspend 61 PHC0
";
    assert_eq!(place.text("out"), expected);
    let report = board.report();
    assert_eq!((report[0].hook.as_str(), report[0].runs["success"], report[0].runs["timeout"]), ("onsync", 2, 0));
    assert!(board.problems().is_empty());
}

#[test]
fn a_hook_that_fails_is_a_problem_until_it_succeeds() {
    let place = Place::new();
    let script = place.script("picky", "test -e $1");
    let board = Board::new(config(&[format!("onsync {script} {}", place.file("flag"))]).hooks);
    alone(async {
        board.post(HookEvent::Sync, facts(HookEvent::Sync));
        ended(&board, 1).await;
        assert_eq!(board.problems(), [format!("onsync {script} {}: ended with exit code 1", place.file("flag"))]);
        fs::write(place.file("flag"), "").unwrap();
        board.post(HookEvent::Sync, facts(HookEvent::Sync));
        ended(&board, 2).await;
        assert!(board.problems().is_empty());
    });
    let agent = Agent::new(Setup::from_config(&Config::default(), Machine::new(board.clone()).agent.published().course), time::raw());
    let report = agent.report(time::raw(), &Surroundings { hooks: board.report(), ..Surroundings::default() });
    assert_eq!(report.hooks[0].runs["failure"], 1);
}
