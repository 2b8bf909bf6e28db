//! The clock's ownership: what the loop does when another program steers it, as `conflict` decides.

use std::path::Path;

use super::Executor;
use crate::clock::{Clock, Kernel, Shadow};
use crate::core::{Course, Signal};
use crate::platform::daemons::{self, TimeDaemon};
use crate::run::conflict::{self, Act, Conflict, Verdict};
use crate::sys::{time, timex};
use crate::units::Instant;

impl Executor {
    /// Settles disputes over the clock by this policy and state.
    pub fn settle_disputes(&mut self, conflict: Conflict) {
        self.conflict = conflict;
        self.tell_of_steering();
    }

    /// Somebody else did something to the clock, which was on `course` before. True if the clock has been left to them: then
    /// nothing happened to ours.
    pub(super) fn is_left_to_another(&mut self, signal: &Signal, course: &Course) -> bool {
        let act = match signal {
            _ if self.clock.was_seized() => Act::Rate,
            Signal::ClockSet { .. } => Act::Step,
            _ => return false,
        };
        let verdict = self.conflict.on_act(time::raw(), act, suspects);
        let Some(report) = self.conflict.report().filter(|_| verdict != Verdict::Undo) else { return false };
        tracing::warn!("{}", conflict::problem(&report));
        if verdict == Verdict::Yield {
            self.clock.let_go();
            self.clock = Box::new(Shadow::starting(*course));
        }
        self.tell_of_steering();
        verdict == Verdict::Yield
    }

    /// Looks whether the clock is ours again.
    pub(super) fn look_at_dispute(&mut self, now: Instant) {
        if self.conflict.is_peace() {
            return;
        }
        let touched = self.conflict.yields() && self.was_touched();
        let root = Path::new("/");
        if self.conflict.on_look(now, touched, |daemon| daemon.still_runs(root), || daemons::rivals(root)) {
            self.take_back();
        }
        self.tell_of_steering();
    }

    fn was_touched(&mut self) -> bool {
        let Ok(state) = timex::read() else { return false };
        self.touched.replace(state).is_some_and(|before| state.was_touched_since(&before))
    }

    fn take_back(&mut self) {
        let frequency = self.shared.agent().core().line().frequency();
        match Kernel::new(Some(frequency)) {
            Ok(kernel) => {
                let course = kernel.course();
                let by = course.time.since(self.clock.course().at(course.at));
                tracing::info!("nobody else steers the system clock now: steering it again, from {:+.6} s off", by.seconds());
                self.clock = Box::new(kernel);
                self.touched = None;
                self.tell(crate::agent::Input::Signal(Signal::ClockSet { by, course }));
            }
            Err(error) => tracing::warn!("{error}; keeping a shadow clock"),
        }
    }

    /// For reports.
    pub(super) fn tell_of_steering(&mut self) {
        self.narrator.disputed(!self.conflict.is_peace());
        self.shared.set_steering(self.clock.kind(), self.conflict.report());
    }
}

fn suspects() -> Vec<TimeDaemon> {
    if proc_is_ours() { daemons::suspects(Path::new("/")) } else { Vec::new() }
}

/// Programs that steer the clock that we are about to steer, and have begun to, or may.
#[must_use]
pub fn rivals_at_start() -> Vec<TimeDaemon> {
    if proc_is_ours() { daemons::rivals(Path::new("/")) } else { Vec::new() }
}

/// Whether the processes that we see live by the clock that we steer.
fn proc_is_ours() -> bool {
    time::up().is_some_and(|up| daemons::proc_tells_of(Path::new("/"), time::realtime(), up))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::agent::{Agent, Setup};
    use crate::clock::Pair;
    use crate::config::{Config, Conflict as Policy};
    use crate::core::{Adjustment, Applied, ClockError};
    use crate::run::devices::Devices;
    use crate::run::executor::{Departure, Shared};
    use crate::units::{Offset, Ppm, Timestamp};

    /// A kernel's clock whose rate somebody else changes before every look.
    struct Seized {
        course: Course,
        let_go: Rc<Cell<bool>>,
    }

    impl Clock for Seized {
        fn kind(&self) -> &'static str {
            "kernel"
        }

        fn pair(&self) -> Pair {
            let now = time::raw();
            Pair { before: now, time: self.course.at(now), after: now }
        }

        fn course(&self) -> Course {
            self.course
        }

        fn apply(&mut self, _: &Adjustment) -> Result<Applied, ClockError> {
            Ok(Applied { course: self.course, stepped: None })
        }

        fn watch(&mut self) -> Option<Signal> {
            self.course.rate = Ppm::new(self.course.rate.ppm() + 10.0);
            Some(Signal::ClockSet { by: Offset::ZERO, course: self.course })
        }

        fn was_seized(&mut self) -> bool {
            true
        }

        fn let_go(&mut self) {
            self.let_go.set(true);
        }

        fn instant_of(&mut self, _: Timestamp) -> Option<Instant> {
            None
        }
    }

    fn executor(policy: Policy) -> (Executor, Rc<Cell<bool>>) {
        let time = Timestamp::from_parts(1_800_000_000, 0);
        let course = Course { at: time::raw(), time, rate: Ppm::ZERO, until: None, error: Duration::ZERO };
        let agent = Agent::new(Setup::from_config(&Config::default(), course), time::raw());
        let let_go = Rc::new(Cell::new(false));
        let clock = Seized { course, let_go: Rc::clone(&let_go) };
        let mut executor = Executor::new(Shared::new(agent), Box::new(clock), Devices::new(Vec::new()), Departure::default(), None);
        executor.settle_disputes(Conflict::new(policy));
        (executor, let_go)
    }

    #[test]
    fn a_clock_that_is_seized_again_is_let_go_and_a_shadow_kept() {
        let (mut executor, let_go) = executor(Policy::Refuse);
        assert_eq!(executor.shared.steering(), ("kernel", None));
        // Once may be enough, if a time daemon runs where this test does.
        executor.look_at_clock();
        executor.look_at_clock();
        assert!(let_go.get());
        let (kind, conflict) = executor.shared.steering();
        assert!(kind == "shadow" && conflict.is_some_and(|conflict| conflict.yielding));
        assert!(executor.clock.course().rate.ppm() < 25.0, "it goes on as before");
        let counted = executor.shared.agent().totals().foreign_steps;
        assert!(counted <= 1, "nothing happened to the shadow clock");
    }

    #[test]
    fn who_takes_over_keeps_it() {
        let (mut executor, let_go) = executor(Policy::Takeover);
        for _ in 0..5 {
            executor.look_at_clock();
        }
        assert!(!let_go.get());
        let (kind, conflict) = executor.shared.steering();
        assert!(kind == "kernel" && conflict.is_some_and(|conflict| !conflict.yielding));
        assert_eq!(executor.shared.agent().totals().foreign_steps, 5, "each is undone");
    }
}
