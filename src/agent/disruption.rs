//! One disruption, whoever tells of it: what was seen, when, and how it ended.
//!
//! A restore is told by up to four witnesses within milliseconds. The first makes the event; what another says within
//! [`ONE_EVENT`] belongs to it. A witness that tells twice has seen two.

use std::time::Duration;

use super::{Agent, Kind, Output, WATCH};
use crate::core::{Event, Signal, Status};
use crate::units::{Instant, Offset};

/// Different witnesses tell of the same event within this: the slowest is read once a second or so.
const ONE_EVENT: Duration = Duration::from_secs(5);

/// Who tells of disruptions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Witness {
    /// The vmclock device's disruption counters.
    Vmclock,
    /// The kernel's word that the VM generation id changed.
    GenerationId,
    /// The line of the kvm-clock page.
    KvmClock,
    /// The growth of `CLOCK_BOOTTIME - CLOCK_MONOTONIC`.
    Suspend,
    /// The sources, as many of which jumped as did not.
    Sources,
}

impl Witness {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Vmclock, Self::GenerationId, Self::KvmClock, Self::Suspend, Self::Sources];

    /// Lower-case word for logs, metrics and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vmclock => "vmclock",
            Self::GenerationId => "vmgenid",
            Self::KvmClock => "kvm-clock",
            Self::Suspend => "suspend",
            Self::Sources => "sources",
        }
    }
}

/// What kind of event it was, as far as its witnesses know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisruptionKind {
    /// The machine was restored from a snapshot.
    Restore,
    /// It was migrated or restored: its witnesses cannot tell which.
    Migration,
    /// It slept.
    Suspend,
    /// The sources jumped, and nothing said why.
    Jump,
}

impl DisruptionKind {
    /// Lower-case word for logs, metrics and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Migration => "migration",
            Self::Suspend => "suspend",
            Self::Jump => "jump",
        }
    }

    /// A plain sentence for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Restore => "the machine was restored from a snapshot",
            Self::Migration => "the machine was migrated or restored",
            Self::Suspend => "the machine was suspended",
            Self::Jump => "the sources' time jumped, or the machine stood still, and nothing said so",
        }
    }
}

/// A disruption: open until the first agreement of sources.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Disruption {
    /// Counted from one.
    pub number: u64,
    /// What it was.
    pub kind: DisruptionKind,
    /// When the first witness told.
    pub since: Instant,
    /// When the time was right again; `None` while it is not.
    pub recovered: Option<Instant>,
    /// The step that was needed, if any.
    pub stepped: Option<Offset>,
    told: [Option<Instant>; Witness::ALL.len()],
    counted: bool,
}

impl Disruption {
    /// The first witness tells.
    fn new(number: u64, witness: Witness, kind: DisruptionKind, now: Instant) -> Self {
        let mut told = [None; Witness::ALL.len()];
        told[witness as usize] = Some(now);
        Self { number, kind, since: now, recovered: None, stepped: None, told, counted: false }
    }

    /// True if what another witness tells is this event, which is now better known.
    fn is_told_again(&mut self, witness: Witness, kind: DisruptionKind, now: Instant) -> bool {
        let told = &mut self.told[witness as usize];
        if told.is_some() || now > self.since + ONE_EVENT {
            return false;
        }
        *told = Some(now);
        if kind == DisruptionKind::Restore || matches!(self.kind, DisruptionKind::Jump | DisruptionKind::Suspend) {
            self.kind = kind;
        }
        true
    }

    /// True once: when everything is known of what it was.
    fn is_to_be_counted(&mut self, now: Instant, superseded: bool) -> bool {
        let known = superseded || now > self.since + ONE_EVENT;
        let news = known && !self.counted;
        self.counted |= known;
        news
    }

    /// Who told, and how long after the first.
    pub fn witnesses(&self) -> impl Iterator<Item = (Witness, Duration)> + '_ {
        Witness::ALL.into_iter().zip(self.told).filter_map(|(witness, at)| Some((witness, at?.elapsed_since(self.since))))
    }
}

/// What a signal of a device or the kernel says of disruptions; `kvm` if it comes from the kvm-clock page.
const fn told_by(signal: &Signal, kvm: bool) -> Option<(Witness, DisruptionKind)> {
    match signal {
        Signal::Generation { from, to } => {
            let restored = match (from.vm_generation, to.vm_generation) {
                (Some(from), Some(to)) => from != to,
                _ => false,
            };
            let witness = if kvm { Witness::KvmClock } else { Witness::Vmclock };
            Some((witness, if restored { DisruptionKind::Restore } else { DisruptionKind::Migration }))
        }
        Signal::Restored => Some((Witness::GenerationId, DisruptionKind::Restore)),
        Signal::Suspended { .. } => Some((Witness::Suspend, DisruptionKind::Suspend)),
        Signal::ClockSet { .. } | Signal::Stalled { .. } | Signal::ClocksourceChanged => None,
    }
}

impl Agent {
    pub(super) fn on_signal(&mut self, now: Instant, signal: Signal, kvm: bool) {
        self.core.pass_leap(now);
        match signal {
            // The kernel itself sets the clock when it wakes from a suspend.
            Signal::ClockSet { .. } if self.woke.is_some_and(|woke| now < woke + WATCH) => {}
            // And when a leap second comes that it was told of.
            Signal::ClockSet { .. } if self.core.leaped().is_some_and(|at| now < at + WATCH * 2) => {}
            Signal::ClockSet { .. } => self.totals.foreign_steps += 1,
            Signal::Suspended { .. } => self.woke = Some(now),
            Signal::Stalled { .. } => self.totals.stalls += 1,
            Signal::ClocksourceChanged => self.totals.clocksource_changes += 1,
            Signal::Generation { .. } | Signal::Restored => {}
        }
        let Some((witness, kind)) = told_by(&signal, kvm) else {
            self.consult(now, Event::Signal(signal));
            return;
        };
        let slept_only = self.disruption.is_some_and(|event| event.kind == DisruptionKind::Suspend);
        let known = self.disruption.as_mut().is_some_and(|event| event.is_told_again(witness, kind, now));
        // How long the machine slept must be known even if it is known that something happened; and that it woke elsewhere.
        if !known || slept_only || kind == DisruptionKind::Suspend {
            if !known {
                self.begin_disruption(now, witness, kind);
            }
            self.consult(now, Event::Signal(signal));
        }
    }

    fn begin_disruption(&mut self, now: Instant, witness: Witness, kind: DisruptionKind) {
        self.count_disruption(now, true);
        let number = self.disruption.map_or(1, |event| event.number + 1);
        self.disruption = Some(Disruption::new(number, witness, kind, now));
    }

    /// The core may have found a disruption by itself, or seen the end of one. Whoever reads what is published hears of it
    /// before the clock and the sources do.
    pub(super) fn follow_disruption(&mut self, now: Instant) {
        let (status, since) = self.core.status();
        let before = self.published.status;
        if status == Status::Disrupted {
            if before != Status::Disrupted || self.published.since != since {
                // What devices told has been noted before the core was asked.
                if self.disruption.is_none_or(|event| event.since < since) {
                    self.begin_disruption(now, Witness::Sources, DisruptionKind::Jump);
                }
                self.publish(now);
            }
        } else if let Some(event) = self.disruption.as_mut().filter(|event| event.recovered.is_none()) {
            if status == Status::Synchronised {
                event.recovered = Some(now);
            }
        }
    }

    pub(super) fn count_disruption(&mut self, now: Instant, superseded: bool) {
        let Some(event) = &mut self.disruption else { return };
        if event.is_to_be_counted(now, superseded) {
            let total = match event.kind {
                DisruptionKind::Restore => &mut self.totals.restores,
                DisruptionKind::Migration => &mut self.totals.migrations,
                DisruptionKind::Suspend => &mut self.totals.suspends,
                DisruptionKind::Jump => &mut self.totals.jumps,
            };
            *total += 1;
        }
    }

    /// The last disruption.
    #[must_use]
    pub const fn disruption(&self) -> Option<&Disruption> {
        self.disruption.as_ref()
    }

    pub(super) fn ask_everybody(&mut self, now: Instant) {
        for source in &mut self.sources {
            match &mut source.kind {
                Kind::Ntp(association) => self.outputs.extend(association.hurry(now).map(Output::Close)),
                Kind::Local(clock) => clock.hurry(now),
            }
        }
        for i in 0..self.sources.len() {
            self.poll_source(now, i);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn what_several_tell_is_one_event_and_what_one_tells_twice_is_two() {
        let mut event = Disruption::new(1, Witness::Vmclock, DisruptionKind::Migration, at(1000));
        assert!(event.is_told_again(Witness::GenerationId, DisruptionKind::Restore, at(1003)));
        assert!(event.is_told_again(Witness::KvmClock, DisruptionKind::Migration, at(1900)));
        assert_eq!(event.kind, DisruptionKind::Restore, "who knows better names it");
        let told: Vec<_> = event.witnesses().collect();
        let ms = Duration::from_millis;
        assert_eq!(told, [(Witness::Vmclock, ms(0)), (Witness::GenerationId, ms(3)), (Witness::KvmClock, ms(900))]);
        assert!(!event.is_told_again(Witness::Vmclock, DisruptionKind::Migration, at(2000)));
        assert!(!event.is_told_again(Witness::Sources, DisruptionKind::Jump, at(9000)));
    }

    #[test]
    fn it_is_counted_once_when_it_is_known() {
        let mut event = Disruption::new(1, Witness::Vmclock, DisruptionKind::Migration, at(0));
        assert!(!event.is_to_be_counted(at(4000), false));
        assert!(event.is_to_be_counted(at(5001), false));
        assert!(!event.is_to_be_counted(at(9000), true));
        assert!(Disruption::new(2, Witness::Suspend, DisruptionKind::Suspend, at(0)).is_to_be_counted(at(1), true));
    }
}
