//! The kvm-clock page as an observer of the hypervisor: it knows no time of day.
//!
//! It counts nanoseconds since the VM was made, so its readings carry no time but a count of the
//! changes seen in its *line* (time against the counter). KVM rewrites the page harmlessly (every
//! 300 s by default), so its version proves nothing; a new multiplier, a jump of the line or a
//! stopped guest does.

use std::fmt;
use std::time::Duration;

use crate::core::{Generation, ReadError, Reading};
use crate::refclock::Refclock;
use crate::sys::pvclock::{GUEST_STOPPED, Observation, PageError, Reader};
use crate::wire::control::Pvclock;

/// A harmless rewrite moves the line by no more than this ...
const JUMP: Duration = Duration::from_millis(1);
/// ... and by this much of the time since the page was written, as the counter's true frequency
/// differs from the nominal one: 200 ppm.
const RATE_DIVISOR: u64 = 5_000;

/// How the page's line changed between two observations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineChange {
    /// Another multiplier or shift: the counter has another frequency, so this is another host.
    Frequency,
    /// The page's time jumped against the counter.
    Jump {
        /// By how much; positive forward.
        nanos: i64,
    },
    /// The host stopped the guest and let it go on.
    Stopped,
}

impl fmt::Display for LineChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frequency => write!(f, "the counter has another frequency: the guest was migrated or restored"),
            Self::Jump { nanos } => write!(f, "the hypervisor's line jumped by {nanos} ns: the guest was migrated or restored"),
            Self::Stopped => write!(f, "the host stopped the guest and let it go on"),
        }
    }
}

/// Compares the lines of two observations; `None` for the same line, however often rewritten.
#[must_use]
pub fn change(from: &Observation, to: &Observation) -> Option<LineChange> {
    let (old, new) = (&from.page, &to.page);
    if (old.mul, old.shift) != (new.mul, new.shift) {
        return Some(LineChange::Frequency);
    }
    let expected = old.system_time_at(to.counter);
    let found = new.system_time_at(to.counter);
    let age = expected.saturating_sub(old.system_time);
    let allowed = age / RATE_DIVISOR + u64::try_from(JUMP.as_nanos()).unwrap_or(u64::MAX);
    if found.abs_diff(expected) > allowed {
        let nanos = i128::from(found) - i128::from(expected);
        return Some(LineChange::Jump { nanos: i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }) });
    }
    let stopped = |flags: u8| flags & GUEST_STOPPED != 0;
    (stopped(new.flags) && !stopped(old.flags)).then_some(LineChange::Stopped)
}

/// The kvm-clock page of this guest.
#[derive(Debug, Default)]
pub struct KvmClock {
    reader: Option<Reader>,
    last: Option<Observation>,
    changes: u64,
    last_change: Option<LineChange>,
}

const NAME: &str = "kvm-clock page";

impl KvmClock {
    /// Touches nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the page and compares its line with the last one.
    ///
    /// # Errors
    /// `Absent` with the reason, or `Invalid` if the page makes no sense just now.
    pub fn observe(&mut self) -> Result<Pvclock, ReadError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            vacant => vacant.insert(Reader::find().map_err(refuse)?),
        };
        let observation = reader.observe().map_err(refuse)?;
        self.admit(observation);
        Ok(Pvclock::from(&observation.page))
    }

    /// What the last change was.
    #[must_use]
    pub const fn last_change(&self) -> Option<LineChange> {
        self.last_change
    }

    /// The number of changes of the line seen so far.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        Generation { disruption_marker: self.changes, vm_generation: None }
    }

    fn admit(&mut self, observation: Observation) {
        if let Some(change) = self.last.as_ref().and_then(|last| change(last, &observation)) {
            self.changes += 1;
            self.last_change = Some(change);
        }
        self.last = Some(observation);
    }
}

fn refuse(error: PageError) -> ReadError {
    match error {
        PageError::Absent(reason) => ReadError::Absent { device: NAME.to_owned(), reason },
        error => ReadError::Invalid { device: NAME.to_owned(), reason: error.to_string() },
    }
}

impl Refclock for KvmClock {
    /// Never a time: `SignalOnly` with the count of line changes, or why the page cannot be read.
    fn read(&mut self) -> Result<Reading, ReadError> {
        self.observe()?;
        Err(ReadError::SignalOnly { device: NAME.to_owned(), generation: self.generation() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pvclock::Page;
    use crate::units::Instant;

    /// A 1 GHz counter: mul 2^31, shift 1.
    fn observation(version: u32, tsc: u64, system_time: u64, counter: u64) -> Observation {
        let page = Page { version, tsc_timestamp: tsc, system_time, mul: 1 << 31, shift: 1, flags: 1 };
        Observation { before: Instant::ZERO, counter, after: Instant::ZERO, page }
    }

    #[test]
    fn a_harmless_rewrite_is_no_change() {
        let first = observation(2, 0, 1_000, 10);
        assert_eq!(change(&first, &observation(2, 0, 1_000, 5_000_000_000)), None);
        // Rewritten after 300 s with the 30 ppm by which the counter runs wrong.
        let second = observation(4, 300_000_000_000, 300_009_001_000, 300_000_000_100);
        assert_eq!(change(&first, &second), None);
        // Written again at the very same place.
        assert_eq!(change(&second, &observation(6, 300_000_000_000, 300_009_001_000, 300_000_000_200)), None);
    }

    #[test]
    fn jumps_both_ways_another_frequency_and_a_stop_are_changes() {
        let first = observation(2, 0, 5_000_000_000, 0);
        assert_eq!(change(&first, &observation(4, 0, 5_002_000_000, 10)), Some(LineChange::Jump { nanos: 2_000_000 }));
        assert_eq!(change(&first, &observation(4, 0, 1_000_000_000, 10)), Some(LineChange::Jump { nanos: -4_000_000_000 }));
        // A counter that starts again under an unchanged page time.
        let late = observation(2, 0, 1_000, 900_000_000_000);
        assert!(matches!(change(&late, &observation(4, 50, 900_000_001_000, 60)), Some(LineChange::Jump { .. })));
        let mut other = observation(4, 0, 5_000_000_000, 10);
        other.page.mul += 1;
        assert_eq!(change(&first, &other), Some(LineChange::Frequency));
        let mut stopped = observation(4, 0, 5_000_000_000, 10);
        stopped.page.flags |= GUEST_STOPPED;
        assert_eq!(change(&first, &stopped), Some(LineChange::Stopped));
        assert_eq!(change(&stopped, &stopped), None);
    }

    #[test]
    fn the_marker_counts_changes_alone() {
        let mut clock = KvmClock::new();
        clock.admit(observation(2, 0, 1_000, 10));
        clock.admit(observation(4, 0, 1_000, 10));
        assert_eq!(clock.generation(), Generation::default());
        clock.admit(observation(6, 0, 9_000_000_000, 10));
        clock.admit(observation(8, 0, 9_000_000_000, 20));
        assert_eq!(clock.generation().disruption_marker, 1);
        assert!(clock.last_change().is_some_and(|change| change.to_string().contains("jumped")));
    }

    #[test]
    fn this_machine_s_page_is_steady_or_absent() {
        let mut clock = KvmClock::new();
        for _ in 0..3 {
            match clock.read() {
                Err(ReadError::SignalOnly { generation, .. }) => assert_eq!(generation.disruption_marker, 0),
                Err(ReadError::Absent { reason, .. }) => eprintln!("{reason}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
