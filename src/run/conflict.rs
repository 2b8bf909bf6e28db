//! What to do when another program steers the clock: a pure machine. What was done to the clock and who runs goes in, whether to
//! yield, to undo or to come back comes out.
//!
//! One step by hand (`date -s`) is no conflict; it is undone and forgotten. Steps that repeat, or a rate that somebody else sets, are.

use std::time::Duration;

use arrayvec::ArrayVec;

use crate::config::Conflict as Policy;
use crate::platform::daemons::TimeDaemon;
use crate::units::Instant;
use crate::wire::control::Conflict as Report;

/// What was done longer ago has been forgotten.
const MEMORY: Duration = Duration::from_secs(60);
/// So many steps within [`MEMORY`] are no accident, and so many if a time daemon runs beside us.
const STEPS: (usize, usize) = (5, 3);
/// The same for changes of the rate.
const RATES: (usize, usize) = (2, 1);
/// How often a program that has the clock is looked for.
const LOOK: Duration = Duration::from_secs(10);
/// An unknown program that leaves the clock alone for so long has gone; twice as long each time it comes back.
const QUIET: Duration = Duration::from_secs(60);
/// And never longer than this.
const LONGEST_QUIET: Duration = Duration::from_secs(3600);
/// While we undo what another does, it is said no more often than this.
const SAY: Duration = Duration::from_secs(60);
/// A conflict in which nothing has happened for so long is over.
const OVER: Duration = Duration::from_secs(600);

/// What somebody else did to the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// It was set.
    Step,
    /// Its rate was changed, or the kernel's own discipline put to use.
    Rate,
}

/// What to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Undo it as always.
    Undo,
    /// Undo it, and say that there is a conflict.
    UndoAndSay,
    /// Leave the clock to the other.
    Yield,
}

/// The conflict, or the lack of one.
#[derive(Clone, Debug)]
pub struct Conflict {
    policy: Policy,
    acts: ArrayVec<(Instant, Act), 8>,
    state: State,
    /// How long an unknown program must leave the clock alone.
    quiet: Duration,
    /// When we came back last.
    back: Option<Instant>,
}

#[derive(Clone, Debug)]
enum State {
    /// Nobody disputes the clock.
    Peace,
    /// We undo what the other does.
    Disputed { with: Option<TimeDaemon>, last: Instant, said: Instant },
    /// The other has it.
    Yielded { to: Option<TimeDaemon>, last: Instant, next: Instant },
}

impl Default for Conflict {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl Conflict {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, acts: ArrayVec::new(), state: State::Peace, quiet: QUIET, back: None }
    }

    /// The clock is left to this one from the start.
    pub(super) fn begin_yielding(&mut self, now: Instant, to: TimeDaemon) {
        self.state = State::Yielded { to: Some(to), last: now, next: now + LOOK };
    }

    /// Somebody did something to the clock that we steer. `suspects` is asked only if that matters.
    pub(super) fn on_act(&mut self, now: Instant, act: Act, suspects: impl FnOnce() -> Vec<TimeDaemon>) -> Verdict {
        self.acts.retain(|(at, _)| now < *at + MEMORY);
        if self.acts.is_full() {
            self.acts.remove(0);
        }
        self.acts.push((now, act));
        if let State::Disputed { last, said, .. } = &mut self.state {
            *last = now;
            let again = now >= *said + SAY;
            if again {
                *said = now;
            }
            return if again { Verdict::UndoAndSay } else { Verdict::Undo };
        }
        let count = |wanted: Act| self.acts.iter().filter(|(_, act)| *act == wanted).count();
        let (steps, rates) = (count(Act::Step), count(Act::Rate));
        if steps < STEPS.1 && rates < RATES.1 {
            return Verdict::Undo;
        }
        let who = suspects().into_iter().next();
        let keeps_time = who.as_ref().is_some_and(|daemon| daemon.keeps_time);
        if !keeps_time && steps < STEPS.0 && rates < RATES.0 {
            return Verdict::Undo;
        }
        self.acts.clear();
        if self.policy == Policy::Takeover {
            self.state = State::Disputed { with: who, last: now, said: now };
            return Verdict::UndoAndSay;
        }
        // One that comes back soon after we did was only resting.
        let relapse = self.back.is_some_and(|back| now < back + LONGEST_QUIET);
        self.quiet = if relapse { (self.quiet * 2).min(LONGEST_QUIET) } else { QUIET };
        self.state = State::Yielded { to: who, last: now, next: now + LOOK };
        Verdict::Yield
    }

    /// Time passes; true if the clock is ours again. `touched` says whether somebody wrote to it since the last look.
    pub(super) fn on_look(
        &mut self,
        now: Instant,
        touched: bool,
        runs: impl FnOnce(&TimeDaemon) -> bool,
        rivals: impl FnOnce() -> Vec<TimeDaemon>,
    ) -> bool {
        match &mut self.state {
            State::Peace => false,
            State::Disputed { last, .. } => {
                if now >= *last + OVER {
                    self.state = State::Peace;
                }
                false
            }
            State::Yielded { to, last, next } => {
                if touched {
                    *last = now;
                }
                if now < *next {
                    return false;
                }
                *next = now + LOOK;
                let keeps_time = to.as_ref().is_some_and(|daemon| daemon.keeps_time);
                if keeps_time && to.as_ref().is_some_and(runs) {
                    return false;
                }
                // It has gone; another may have come in its place, or show itself now.
                if let Some(found) = rivals().into_iter().next() {
                    *to = Some(found);
                    return false;
                }
                if !keeps_time && now < *last + self.quiet {
                    return false;
                }
                self.state = State::Peace;
                self.back = Some(now);
                true
            }
        }
    }

    /// True while another has the clock.
    pub(super) const fn yields(&self) -> bool {
        matches!(self.state, State::Yielded { .. })
    }

    /// True if nothing is to be looked at.
    pub(super) const fn is_peace(&self) -> bool {
        matches!(self.state, State::Peace)
    }

    /// For log and report; `None` in peace.
    pub(super) fn report(&self) -> Option<Report> {
        let (who, yielding) = match &self.state {
            State::Peace => return None,
            State::Disputed { with, .. } => (with, false),
            State::Yielded { to, .. } => (to, true),
        };
        Some(Report {
            program: who.as_ref().map_or_else(|| "unknown".to_owned(), |daemon| daemon.name.clone()),
            pid: who.as_ref().map(|daemon| daemon.pid),
            unit: who.as_ref().and_then(|daemon| daemon.unit.clone()),
            yielding,
        })
    }
}

/// What is wrong, and what to do.
pub(super) fn problem(conflict: &Report) -> String {
    let name = conflict.name();
    let stop = match (&conflict.unit, conflict.pid) {
        (Some(unit), _) => format!("stop it (systemctl disable --now {unit})"),
        (None, Some(pid)) => format!("stop it (kill {pid}, and see what starts it)"),
        (None, None) => "find it (a daemon of the host or of a container, or a tool of the hypervisor), stop it".to_owned(),
    };
    if conflict.yielding {
        format!("{name} steers the system clock, which is left to it: {stop}, or stop Paraclock, or write `conflict takeover`")
    } else {
        format!("{name} also steers the system clock, and what it does is undone: {stop}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn chronyd() -> Vec<TimeDaemon> {
        vec![TimeDaemon { pid: 812, name: "chronyd".into(), unit: Some("chrony.service".into()), started: 5, keeps_time: true }]
    }

    fn nobody() -> Vec<TimeDaemon> {
        Vec::new()
    }

    fn unasked() -> Vec<TimeDaemon> {
        panic!("a look at all processes was not called for")
    }

    #[test]
    fn a_step_now_and_then_is_no_conflict() {
        let mut conflict = Conflict::new(Policy::Refuse);
        for minute in 0..10 {
            assert_eq!(conflict.on_act(at(minute * 40), Act::Step, unasked), Verdict::Undo);
        }
        assert!(conflict.is_peace() && conflict.report().is_none());
    }

    #[test]
    fn steps_that_repeat_are() {
        let mut conflict = Conflict::new(Policy::Refuse);
        assert_eq!(conflict.on_act(at(0), Act::Step, unasked), Verdict::Undo);
        assert_eq!(conflict.on_act(at(10), Act::Step, unasked), Verdict::Undo);
        let mut beside_chronyd = conflict.clone();
        assert_eq!(beside_chronyd.on_act(at(20), Act::Step, chronyd), Verdict::Yield);
        assert_eq!(conflict.on_act(at(20), Act::Step, nobody), Verdict::Undo);
        assert_eq!(conflict.on_act(at(30), Act::Step, nobody), Verdict::Undo);
        assert_eq!(conflict.on_act(at(40), Act::Step, nobody), Verdict::Yield);
        let report = conflict.report().unwrap();
        assert_eq!((report.program.as_str(), report.pid, report.yielding), ("unknown", None, true));
    }

    #[test]
    fn a_rate_set_once_is_a_conflict_only_if_a_daemon_runs() {
        let mut conflict = Conflict::new(Policy::Yield);
        assert_eq!(conflict.on_act(at(0), Act::Rate, nobody), Verdict::Undo, "somebody tried adjtimex by hand");
        assert_eq!(conflict.on_act(at(100), Act::Rate, chronyd), Verdict::Yield);
        assert_eq!(conflict.report().unwrap().name(), "chronyd (chrony.service, pid 812)");
        let mut conflict = Conflict::new(Policy::Refuse);
        assert_eq!(conflict.on_act(at(0), Act::Rate, nobody), Verdict::Undo);
        assert_eq!(conflict.on_act(at(30), Act::Rate, nobody), Verdict::Yield);
    }

    #[test]
    fn the_clock_is_ours_again_when_the_other_has_gone() {
        let mut conflict = Conflict::new(Policy::Refuse);
        conflict.on_act(at(0), Act::Rate, chronyd);
        assert!(!conflict.on_look(at(5), true, |_| panic!("too early"), unasked));
        assert!(!conflict.on_look(at(10), true, |daemon| daemon.pid == 812, unasked));
        // Another one took its place.
        let ntpd = || vec![TimeDaemon { pid: 900, name: "ntpd".into(), unit: None, started: 6, keeps_time: true }];
        assert!(!conflict.on_look(at(20), true, |_| false, ntpd));
        assert_eq!(conflict.report().unwrap().pid, Some(900));
        assert!(conflict.on_look(at(30), false, |_| false, nobody));
        assert!(conflict.is_peace() && !conflict.yields());
    }

    #[test]
    fn a_tool_that_may_have_done_it_is_named_but_not_waited_for() {
        let tool = || vec![TimeDaemon { pid: 3, name: "vmtoolsd".into(), unit: None, started: 1, keeps_time: false }];
        let mut conflict = Conflict::new(Policy::Refuse);
        assert_eq!(conflict.on_act(at(0), Act::Rate, tool), Verdict::Undo, "it is always there");
        assert_eq!(conflict.on_act(at(1), Act::Rate, tool), Verdict::Yield);
        assert_eq!(conflict.report().unwrap().program, "vmtoolsd");
        assert!(!conflict.on_look(at(11), true, |_| true, nobody));
        assert!(conflict.on_look(at(71), false, |_| true, nobody), "it runs on, but leaves the clock alone");
    }

    #[test]
    fn an_unknown_hand_must_rest_longer_each_time() {
        let mut conflict = Conflict::new(Policy::Refuse);
        let mut now = 0;
        let mut rests = Vec::new();
        for _ in 0..9 {
            assert_eq!(conflict.on_act(at(now), Act::Rate, nobody), Verdict::Undo);
            now += 1;
            assert_eq!(conflict.on_act(at(now), Act::Rate, nobody), Verdict::Yield);
            let begun = now;
            // It works for half a minute more.
            while !conflict.on_look(at(now), now < begun + 30, |_| panic!("nobody is known"), nobody) {
                now += 1;
            }
            rests.push(now - begun);
        }
        assert!(rests[0] >= 60 + 29 && rests[0] <= 60 + 40, "{rests:?}");
        assert!(rests.windows(2).all(|two| two[1] >= two[0]), "{rests:?}");
        assert!(rests[8] >= 3600 && rests[8] <= 3640, "{rests:?}");
    }

    #[test]
    fn one_who_takes_over_undoes_and_says_so_once_a_minute() {
        let mut conflict = Conflict::new(Policy::Takeover);
        assert_eq!(conflict.on_act(at(0), Act::Rate, chronyd), Verdict::UndoAndSay);
        assert!(!conflict.yields());
        let said = (1..180).filter(|&s| conflict.on_act(at(s), Act::Rate, unasked) == Verdict::UndoAndSay).count();
        assert_eq!(said, 2);
        assert!(!conflict.report().unwrap().yielding);
        assert!(problem(&conflict.report().unwrap()).contains("systemctl disable --now chrony.service"));
        assert!(!conflict.on_look(at(179 + 599), false, |_| true, unasked) && !conflict.is_peace());
        assert!(!conflict.on_look(at(179 + 600), false, |_| true, unasked) && conflict.is_peace());
    }

    #[test]
    fn one_that_was_there_first_is_waited_for() {
        let mut conflict = Conflict::new(Policy::Yield);
        conflict.begin_yielding(at(0), chronyd().remove(0));
        assert!(conflict.yields());
        assert!(!conflict.on_look(at(10), false, |_| true, unasked));
        assert!(conflict.on_look(at(20), false, |_| false, nobody));
    }
}
